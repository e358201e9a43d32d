//! Sources over real repositories, made and changed with the `git` program.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail loudly, as tests do")]

mod fetching;
mod hostile;
mod mending;
mod names;
mod program;
mod watching;
mod worktree;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate::domain::files::{FileContent, FileSet};
use tidegate::domain::ids::CommitId;
use tidegate::source::{
    EntryMode, Hint, Mirror, Options, Ref, RepoUrl, SourceError, SourceSpec, Watch, Watcher, head_of, read_revision,
    read_worktree,
};

/// A scratch directory with a bare repository `origin.git`, a working copy `work` and room for a mirror.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        git(bench.path(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
        git(bench.path(), &["init", "-q", "-b", "main", "work"]);
        git(&bench.work(), &["remote", "add", "origin", "../origin.git"]);
        bench
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    fn origin(&self) -> PathBuf {
        self.path().join("origin.git")
    }

    fn write(&self, path: &str, text: &str) {
        let full = self.work().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
    }

    /// Commits one file and pushes `main`; gives the commit.
    fn push(&self, path: &str, text: &str) -> CommitId {
        self.write(path, text);
        self.commit_and_push(&format!("change {path}"))
    }

    fn commit_and_push(&self, message: &str) -> CommitId {
        git(&self.work(), &["add", "-A"]);
        git(&self.work(), &["commit", "-q", "-m", message]);
        git(&self.work(), &["push", "-q", "--force", "origin", "HEAD:main"]);
        self.at("HEAD")
    }

    fn at(&self, rev: &str) -> CommitId {
        CommitId::new(&git(&self.work(), &["rev-parse", rev]))
    }

    fn spec(&self, reference: &str) -> SourceSpec {
        SourceSpec {
            url: RepoUrl::parse(self.origin().to_str().unwrap()).unwrap(),
            reference: Ref::parse(reference).unwrap(),
        }
    }

    fn mirror(&self, reference: &str) -> Mirror {
        Mirror::open(self.path().join("mirror"), self.spec(reference)).unwrap()
    }

    fn mirror_with(&self, program: &Path) -> Mirror {
        let options = Options { git: program.into(), ..Options::default() };
        Mirror::open_with(self.path().join("mirror"), self.spec("main"), options).unwrap()
    }

    fn objects(&self) -> PathBuf {
        self.path().join("mirror/git/objects")
    }

    /// An executable script in place of `git`.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn git_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        command.env(format!("GIT_{who}_DATE"), "2026-01-02T03:04:05Z");
    }
    command
}

#[track_caller]
fn git(dir: &Path, args: &[&str]) -> String {
    git_with(dir, args, b"")
}

#[track_caller]
fn git_with(dir: &Path, args: &[&str], input: &[u8]) -> String {
    let mut command = git_command(dir, args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn content<'a>(set: &'a FileSet, path: &str) -> &'a FileContent {
    let found = set.files.iter().find(|file| file.path == path);
    &found.unwrap_or_else(|| panic!("no {path} in {:?}", paths(set))).content
}

fn paths(set: &FileSet) -> Vec<&str> {
    set.files.iter().map(|file| file.path.as_str()).collect()
}

fn tree_paths(set: &FileSet) -> Vec<&str> {
    set.tree.iter().map(|file| file.path.as_str()).collect()
}

/// A tree object with entries that no git command would write, and a commit of it.
fn raw_commit(repo: &Path, entries: &[(&str, &[u8], &str)]) -> String {
    let tree = raw_tree(repo, entries);
    git(repo, &["commit-tree", "-m", "made by hand", &tree])
}

fn raw_tree(repo: &Path, entries: &[(&str, &[u8], &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(format!("{mode} ").as_bytes());
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend((0..40).step_by(2).map(|i| u8::from_str_radix(&id[i..i + 2], 16).unwrap()));
    }
    git_with(repo, &["hash-object", "-w", "--literally", "-t", "tree", "--stdin"], &bytes)
}

fn raw_blob(repo: &Path, text: &str) -> String {
    git_with(repo, &["hash-object", "-w", "--stdin"], text.as_bytes())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
