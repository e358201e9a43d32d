//! A site for tests: a bare repository, a clone to work in, and a control plane that follows it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate::control::{ControlPlane, POLL_INTERVAL, Settings, SourceSetting, StartError};
use tidegate::domain::dispatch::history::{RunFilter, RunRow};
use tidegate::source::{Ref, RepoUrl, SourceSpec};
use tidegate::store::StoreError;

pub struct Site {
    pub dir: tempfile::TempDir,
}

/// Longest wait for something that takes milliseconds: generous, since machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(60);

impl Site {
    /// A repository with one organization, one local agent `here`, queues `fast` (8) and `slow` (1), project `p`.
    pub fn new() -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        site.git_in(site.dir.path(), &["init", "-q", "--bare", "-b", "main", "bare.git"]);
        site.git_in(site.dir.path(), &["init", "-q", "-b", "main", "work"]);
        site.git(&["remote", "add", "origin", "../bare.git"]);
        site.write("tidegate.yaml", "version: 1.1\nkind: organization\nname: acme\n");
        site.write("agents/here.yaml", "version: 1.1\nkind: agent\nname: here\nlocal: {}\n");
        site.write("queues/here/fast.yaml", &queue("fast", 8));
        site.write("queues/here/slow.yaml", &queue("slow", 1));
        site.write("projects/p/project.yaml", "version: 1.1\nkind: project\nname: p\ndefaultQueue: here/fast\n");
        site
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, path: &str, text: &str) {
        let file = self.path().join("work").join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.path().join("work").join(path)).unwrap();
    }

    /// A workflow of project `p` that runs a shell script.
    pub fn workflow(&self, name: &str, queue: &str, script: &str) {
        self.write(&format!("projects/p/workflows/{name}.yaml"), &workflow(name, queue, script));
    }

    pub fn push(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["push", "-q", "-f", "origin", "main"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.path().join("work"), args)
    }

    fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(dir)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn bare(&self) -> PathBuf {
        self.path().join("bare.git")
    }

    pub fn start(&self) -> Server {
        self.start_following("main")
    }

    pub fn start_following(&self, reference: &str) -> Server {
        let spec = SourceSpec {
            url: RepoUrl::parse(self.bare().to_str().unwrap()).unwrap(),
            reference: Ref::parse(reference).unwrap(),
        };
        let settings = || Settings {
            source: SourceSetting::Repository(spec.clone()),
            data_dir: self.path().join("data"),
            program: env!("CARGO_BIN_EXE_tidegate").into(),
            first_sync: None,
            poll: POLL_INTERVAL,
        };
        let begun = Instant::now();
        loop {
            match ControlPlane::start(settings()) {
                Ok(control) => return Server(control),
                // A child that another test has just forked holds all our locks until it becomes another program.
                Err(StartError::Store(StoreError::InUse(_))) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

pub fn queue(name: &str, concurrency: u32) -> String {
    format!("version: 1.1\nkind: queue\nname: {name}\nagent: here\nconcurrency: {concurrency}\n")
}

pub fn workflow(name: &str, queue: &str, script: &str) -> String {
    format!(
        "version: 1.1\nkind: workflow\nname: {name}\nqueue: {queue}\noperation:\n  component:\n    run:\n      kind: job\n      container:\n        command: [sh, -c]\n        args:\n          - |\n            {}\n",
        script.replace('\n', "\n            ")
    )
}

/// A control plane that stops with its test.
pub struct Server(pub ControlPlane);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Server {
    pub fn runs(&self) -> Vec<RunRow> {
        self.0.engine().all_runs(&RunFilter::default(), usize::MAX).unwrap()
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "{what}: {:#?}\n{:#?}", self.0.sync_status(), self.runs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a commit is applied; its runs exist from that moment.
    pub fn until_applied(&self, commit: &str) {
        self.until("the commit is applied", |server| {
            server.0.sync_status().applied.is_some_and(|applied| applied.as_str() == commit)
        });
    }

    /// Waits until a commit has been looked at (applied or not).
    pub fn until_seen(&self, commit: &str) {
        self.until("the commit is seen", |server| {
            let status = server.0.sync_status();
            status.seen.is_some_and(|seen| seen.as_str() == commit)
                && (status.applied.is_some_and(|applied| applied.as_str() == commit) || status.error.is_some())
        });
    }
}
