//! Where specs come from: git repositories and working trees.
//!
//! ```text
//! RepoUrl + Ref = SourceSpec → Mirror::fetch (the `git` program) → Mirror::read_specs (objects, no checkout) → FileSet
//!                 Watcher: says when to look again; a hint, never a fact
//!                 worktree: the same FileSet from files on this disk, or from any revision of a local repository
//! ```
//!
//! Everything here blocks; call it from a thread that may. Nothing in a repository is ever executed, checked out or
//! followed: names are checked where they are read, and only [`Mirror::fetch`] speaks with another machine.

mod error;
mod git;
mod names;
mod reference;
mod url;
pub mod watch;
pub mod worktree;

pub use error::SourceError;
pub use git::{CommitInfo, EntryMode, Fetched, Mirror, Options, Tree, TreeEntry};
pub use reference::Ref;
pub use url::RepoUrl;
pub use watch::{Hint, Watch, Watcher};
pub use worktree::{Head, head_of, read_revision, read_worktree};

/// What is followed: a repository and the ref in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec {
    /// The repository.
    pub url: RepoUrl,
    /// The branch, tag or commit.
    pub reference: Ref,
}

/// Results of this module.
pub type Result<T, E = SourceError> = std::result::Result<T, E>;

/// How much of a repository is read. A hostile repository may be cheap to make and huge to read.
pub mod limits {
    use std::time::Duration;

    /// Longest file that is read as a spec: 1 MiB, many times the longest that people write.
    pub const FILE_BYTES: u64 = 1 << 20;
    /// Most spec files of a revision; five times the size that the benchmarks promise to be quick at.
    pub const SPEC_FILES: usize = 50_000;
    /// Most bytes of all spec files together; they are held in memory at once.
    pub const SPEC_BYTES: u64 = 256 << 20;
    /// Most files in a tree, the size of the largest monorepos. Nested equal trees make 2^n files out of n objects.
    pub const TREE_ENTRIES: usize = 1_000_000;
    /// Most bytes of all paths together; they are held in memory at once.
    pub const PATH_BYTES: usize = 128 << 20;
    /// Longest path; Linux's own limit.
    pub const PATH_LEN: usize = 4096;
    /// Longest component of a path; the limit of every common file system.
    pub const COMPONENT_LEN: usize = 255;
    /// Largest single tree object: a million entries of ordinary names.
    pub const TREE_OBJECT_BYTES: usize = 64 << 20;
    /// Largest blob that [`super::Mirror::read_blob`] hands out.
    pub const BLOB_BYTES: u64 = 16 << 20;
    /// Longest commit message that is kept.
    pub const MESSAGE_BYTES: usize = 64 << 10;
    /// Files of a working tree that are larger have their id made of size and time instead of their contents.
    pub const HASHED_BYTES: u64 = 64 << 20;

    /// How long one call of `git` may take; a first fetch of a repository of the permitted size fits.
    pub const GIT_TIME: Duration = Duration::from_secs(10 * 60);
    /// How large the mirror of a repository may grow.
    pub const MIRROR_BYTES: u64 = 4 << 30;
    /// How much of what `git` says on standard error is kept.
    pub const STDERR_BYTES: usize = 8 << 10;
    /// How much of the list of refs is read.
    pub const STDOUT_BYTES: usize = 64 << 10;
}
