//! Where the files of a local agent lie. What belongs to an attempt lies below `runs`, in a folder that is named by the
//! first two digits of its run, as git keeps its objects.
//!
//! The folders are for ext4: before it gives a new file its inode, it looks at every one of the same block group that was
//! freed in the last minutes. Ten thousand short runs in one folder would make one another five times as slow; folders
//! below one that is marked as the top of a tree are spread over the groups.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::domain::ids::AttemptName;

/// The folder of the attempts.
const RUNS: &str = "runs";
/// How the name of a log ends.
const LOG: &str = ".log";

/// The directory of one local agent.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directory where it is missing; only its owner may enter.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let runs = dir.join(RUNS);
        DirBuilder::new().recursive(true).mode(0o700).create(&runs)?;
        spread(&runs);
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
        dir.join(below(attempt, ""))
    }

    /// The working directory of an attempt.
    pub fn run(&self, attempt: AttemptName) -> PathBuf {
        Self::run_in(&self.root, attempt)
    }

    /// Where what is prepared for an attempt of an agent in a directory is put: templates know it before the agent does.
    pub fn context(dir: &Path, attempt: AttemptName) -> PathBuf {
        dir.join(below(attempt, "/context"))
    }

    /// Standard output and standard error of an attempt. Empty or missing when nothing was written.
    pub fn log(&self, attempt: AttemptName) -> PathBuf {
        self.root.join(below(attempt, LOG))
    }

    /// Where an attempt may write its outputs.
    pub fn outputs(&self, attempt: AttemptName) -> PathBuf {
        self.root.join(below(attempt, ".json"))
    }

    /// Where an attempt may write metrics while it runs, by the directory of its agent.
    pub fn metrics_in(dir: &Path, attempt: AttemptName) -> PathBuf {
        dir.join(below(attempt, ".metrics.jsonl"))
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
        let entries = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
        let files = entries(self.root.join(RUNS)).flat_map(move |folder| entries(folder.path()));
        let names = files.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| AttemptName::parse(name.strip_suffix(LOG).unwrap_or(&name)))
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

/// The path of what belongs to an attempt, from the directory of its agent: the attempt's own name and what follows it.
fn below(attempt: AttemptName, rest: &str) -> String {
    let name = attempt.to_string();
    format!("{RUNS}/{}/{name}{rest}", &name[..2])
}

/// Marks a folder as the top of a tree. A file system that knows no such mark does without.
fn spread(top: &Path) {
    let mark = |top: File| ioctl_setflags(&top, ioctl_getflags(&top)? | IFlags::TOPDIR);
    let _ = File::open(top).map(mark);
}
