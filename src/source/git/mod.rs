//! A bare mirror of our own: filled by the `git` program, read by libgit2.

mod fetch;
mod mirror;
mod process;
pub(super) mod read;

use std::ffi::OsString;
use std::time::Duration;

use super::limits;
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;

pub use mirror::Mirror;

/// What a mirror may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `git` program.
    pub git: OsString,
    /// How long one call of it may take.
    pub time_limit: Duration,
    /// How many bytes the mirror may take on disk.
    pub size_limit: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { git: "git".into(), time_limit: limits::GIT_TIME, size_limit: limits::MIRROR_BYTES }
    }
}

/// What a fetch found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The commit at which the followed ref stands.
    pub commit: CommitId,
    /// Where this mirror saw it last; absent the first time.
    pub previous: Option<CommitId>,
    /// The previous commit is no ancestor of this one: history was rewritten.
    pub rewritten: bool,
}

impl Fetched {
    /// Whether the ref stands elsewhere than before.
    pub fn moved(&self) -> bool {
        self.previous.as_ref() != Some(&self.commit)
    }
}

/// A commit, without its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its id.
    pub id: CommitId,
    /// Its message, bounded.
    pub message: String,
    /// Who wrote it, as `Name <address>`.
    pub author: String,
    /// When it was committed.
    pub time: Timestamp,
    /// Its parents; the first is the line it was made on.
    pub parents: Vec<CommitId>,
}

/// The files of a commit, sorted by path.
pub type Tree = Vec<TreeEntry>;

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Path from the root, with `/`; every component is checked.
    pub path: String,
    /// What kind of file.
    pub mode: EntryMode,
    /// Git's id of the contents (of the commit, for a submodule); for [`Mirror::read_blob`].
    pub oid: String,
    /// Bytes; 0 for a submodule.
    pub size: u64,
}

/// The kinds of file that git knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryMode {
    /// A file.
    Regular,
    /// A file with the executable bit.
    Executable,
    /// A symbolic link; the blob is its destination.
    Symlink,
    /// A commit of another repository.
    Submodule,
}
