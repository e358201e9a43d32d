//! Where the files of a local agent lie.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::domain::ids::AttemptName;

/// The directory of one local agent.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directory where it is missing; only its owner may enter.
    pub fn create(dir: &Path) -> io::Result<Self> {
        for part in ["runs", "logs", "outputs"] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir.join(part))?;
        }
        Ok(Self { root: fs::canonicalize(dir)? })
    }

    /// The directory itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file whose lock the one supervisor holds.
    pub fn lock(&self) -> PathBuf {
        self.root.join("supervisor.lock")
    }

    /// What the supervisor has to say that no server heard.
    pub fn supervisor_log(&self) -> PathBuf {
        self.root.join("supervisor.log")
    }

    /// The record of what was launched and how it ended.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }

    /// Where the supervisor listens.
    pub fn socket(&self) -> PathBuf {
        self.root.join("supervisor.sock")
    }

    /// A path of the socket that is short however deep the directory lies (`sun_path` has 108 bytes): it leads
    /// through the open directory, which must stay open while the path is used.
    pub fn short_socket(&self) -> io::Result<(File, PathBuf)> {
        let root = File::open(&self.root)?;
        let path = format!("/proc/self/fd/{}/supervisor.sock", root.as_raw_fd());
        Ok((root, path.into()))
    }

    /// The working directory of an attempt, by the directory of its agent.
    pub fn run_in(dir: &Path, attempt: AttemptName) -> PathBuf {
        dir.join(format!("runs/{attempt}"))
    }

    /// The working directory of an attempt.
    pub fn run(&self, attempt: AttemptName) -> PathBuf {
        Self::run_in(&self.root, attempt)
    }

    /// Where what is prepared for an attempt of an agent in a directory is put: templates know it before the agent does.
    pub fn context(dir: &Path, attempt: AttemptName) -> PathBuf {
        dir.join(format!("runs/{attempt}/context"))
    }

    /// Standard output and standard error of an attempt. Empty or missing when nothing was written.
    pub fn log(&self, attempt: AttemptName) -> PathBuf {
        self.root.join(format!("logs/{attempt}.log"))
    }

    /// Where an attempt may write its outputs.
    pub fn outputs(&self, attempt: AttemptName) -> PathBuf {
        self.root.join(format!("outputs/{attempt}.json"))
    }

    /// Where an attempt may write metrics while it runs, by the directory of its agent.
    pub fn metrics_in(dir: &Path, attempt: AttemptName) -> PathBuf {
        dir.join(format!("outputs/{attempt}.metrics.jsonl"))
    }

    /// Removes what an attempt that has ended left and that says nothing: an empty directory, an empty log.
    pub fn tidy(&self, attempt: AttemptName) {
        let _ = fs::remove_dir(self.run(attempt));
        let log = self.log(attempt);
        if fs::metadata(&log).is_ok_and(|meta| meta.len() == 0) {
            let _ = fs::remove_file(log);
        }
    }

    /// The attempts of which there is a directory or a log, some of them twice; what cannot be read is left out.
    pub fn attempts(&self) -> impl Iterator<Item = AttemptName> {
        let entries = ["runs", "logs"].into_iter().filter_map(|part| fs::read_dir(self.root.join(part)).ok()).flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| AttemptName::parse(name.strip_suffix(".log").unwrap_or(&name)))
    }

    /// Removes what an attempt has left; what is not there is no trouble.
    pub fn remove(&self, attempt: AttemptName) -> io::Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        gone(fs::remove_file(self.log(attempt)))?;
        gone(fs::remove_file(self.outputs(attempt)))?;
        gone(fs::remove_file(Self::metrics_in(&self.root, attempt)))?;
        gone(fs::remove_dir_all(self.run(attempt)))
    }
}
