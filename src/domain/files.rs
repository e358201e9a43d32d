//! The files of one commit as values: what a source reads and the compiler is given.

use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;

/// What one commit holds.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSet {
    /// The commit.
    pub commit: CommitId,
    /// Its message.
    pub message: String,
    /// Who made it.
    pub author: String,
    /// When it was made.
    pub time: Timestamp,
    /// The files that may be specs, in any order.
    pub files: Vec<SourceFile>,
    /// Every blob of the tree, for the globs of `paths:`.
    pub tree: Vec<TreePath>,
}

/// A file that may be a spec.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFile {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// What stands in it.
    pub content: FileContent,
}

/// What stands under a path.
#[derive(Debug, Clone, PartialEq)]
pub enum FileContent {
    /// Bytes, hopefully text.
    Text(Vec<u8>),
    /// A symbolic link, which is never followed.
    Symlink,
    /// Another repository, which is never entered.
    Submodule,
    /// A pointer to a file in Git LFS.
    LfsPointer,
    /// A file above the limit of the source.
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// An entry whose name no checkout should make (`..`, `.git`, control characters).
    BadName,
}

/// A blob of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePath {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// Its object id.
    pub id: String,
}
