//! What one commit (or one working tree) holds, as values: the input of `compile`, made by the shell's `source`.

use super::ids::CommitId;
use super::time::Timestamp;

/// One revision: who made it and what it contains. Both lists are sorted by path, without duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSet {
    /// The commit, or `worktree` for uncommitted files.
    pub commit: CommitId,
    /// The commit message; empty for a working tree.
    pub message: String,
    /// Who wrote it, as `Name <address>`.
    pub author: String,
    /// When it was committed; for a working tree the newest change of a file.
    pub time: Timestamp,
    /// The files that may hold specs, and what stands in their place.
    pub files: Vec<SourceFile>,
    /// Every file of the tree, for `paths:` globs.
    pub tree: Vec<TreePath>,
}

/// A file that may hold specs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path from the root, with `/`; for [`FileContent::BadName`] an escaped form, only to be shown.
    pub path: String,
    /// What it holds.
    pub content: FileContent,
}

/// What stands at a path where a spec could be; everything but text is a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// The bytes, not yet known to be UTF-8.
    Text(Vec<u8>),
    /// A symbolic link; never followed.
    Symlink,
    /// Another repository; never entered.
    Submodule,
    /// A Git LFS pointer in place of the contents; never fetched.
    LfsPointer,
    /// Larger than a spec may be; not read.
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// A name that must not be used as a path: `..`, `.git`, control characters, not UTF-8.
    BadName,
}

/// A file of the tree by its contents' id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePath {
    /// Path from the root, with `/`.
    pub path: String,
    /// Git's object id of the contents; equal ids mean equal contents.
    pub id: String,
}
