//! Reading commits, trees and blobs from git's object database: no checkout, every name and size checked on the way.

use std::fmt::Display;

use git2::{Commit, ErrorCode, ObjectType, Odb, Oid, Repository, Sort};

use super::super::error::{SourceError, printable};
use super::super::{Result, limits, names};
use super::{CommitInfo, EntryMode, TreeEntry};
use crate::domain::files::{FileContent, FileSet, SourceFile, TreePath};
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;

/// Everything that `compile` needs of a commit.
pub(in super::super) fn file_set(repo: &Repository, commit: &Commit<'_>) -> Result<FileSet> {
    let mut files = Gathered::default();
    let mut tree = Vec::new();
    Walk::new(repo)?.run(commit.tree_id(), &mut |walk, found| {
        let Some(mode) = found.mode else {
            return files.add(found.path, FileContent::BadName);
        };
        match mode {
            EntryMode::Symlink if concerns_specs(&found.path) => files.add(found.path.clone(), FileContent::Symlink)?,
            EntryMode::Submodule if concerns_specs(&found.path) => {
                files.add(found.path.clone(), FileContent::Submodule)?
            }
            EntryMode::Regular | EntryMode::Executable if names::is_spec(&found.path) => {
                let size = walk.size(&found)?;
                files.add_with(found.path.clone(), size, || walk.bytes(found.id, &found.path))?;
            }
            _ => {}
        }
        tree.push(TreePath { path: found.path, id: found.id.to_string() });
        Ok(())
    })?;
    tree.sort_by(|a, b| a.path.cmp(&b.path));
    let CommitInfo { id, message, author, time, .. } = info(commit);
    Ok(FileSet { commit: id, message, author, time, files: files.sorted(), tree })
}

/// Whether a link or submodule at a path hides what a person expects to be read.
pub(in super::super) fn concerns_specs(path: &str) -> bool {
    names::is_spec(path) || names::in_spec_folder(path)
}

/// Spec files as they are found, within the limits of a revision.
#[derive(Default)]
pub(in super::super) struct Gathered {
    files: Vec<SourceFile>,
    bytes: u64,
}

impl Gathered {
    /// Adds what stands in the place of a file.
    pub(in super::super) fn add(&mut self, path: String, content: FileContent) -> Result<()> {
        if self.files.len() >= limits::SPEC_FILES {
            return Err(too_large("the revision", limits::SPEC_FILES as u64, "spec files"));
        }
        self.files.push(SourceFile { path, content });
        Ok(())
    }

    /// Adds a file, which is read if it is not too large.
    pub(in super::super) fn add_with(
        &mut self,
        path: String,
        size: u64,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<()> {
        if size > limits::FILE_BYTES {
            return self.add(path, FileContent::TooLarge { bytes: size });
        }
        self.bytes += size;
        if self.bytes > limits::SPEC_BYTES {
            return Err(too_large("the revision's spec files", limits::SPEC_BYTES, "bytes"));
        }
        let bytes = read()?;
        let content = if is_lfs_pointer(&bytes) { FileContent::LfsPointer } else { FileContent::Text(bytes) };
        self.add(path, content)
    }

    /// The files by path.
    pub(in super::super) fn sorted(mut self) -> Vec<SourceFile> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.files
    }
}

/// Git LFS's own rule: at most 1024 bytes that begin with the version line.
fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.len() <= 1024
        && [&b"version https://git-lfs.github.com/spec/"[..], b"version https://hawser.github.com/spec/"]
            .iter()
            .any(|head| bytes.starts_with(head))
}

/// A walk through all files below a tree, depth first, that counts what it meets.
pub(in super::super) struct Walk<'repo> {
    repo: &'repo Repository,
    odb: Odb<'repo>,
}

/// What the walk meets: a file, or a name (escaped, in `path`) that cannot be used and has no mode.
pub(in super::super) struct Found {
    pub path: String,
    pub mode: Option<EntryMode>,
    pub id: Oid,
}

impl<'repo> Walk<'repo> {
    pub(in super::super) fn new(repo: &'repo Repository) -> Result<Self> {
        Ok(Self { repo, odb: repo.odb().map_err(SourceError::corrupt("the object database"))? })
    }

    /// Visits every file below a tree.
    pub(in super::super) fn run(&self, root: Oid, visit: &mut dyn FnMut(&Self, Found) -> Result<()>) -> Result<()> {
        let (mut entries, mut path_bytes) = (0usize, 0usize);
        let mut open = vec![(String::new(), root)];
        while let Some((prefix, id)) = open.pop() {
            let tree = self.tree(&prefix, id)?;
            refuse_duplicates(&prefix, &tree)?;
            for entry in tree.iter() {
                let name = entry.name_bytes();
                let good = names::component(name).filter(|name| prefix.len() + name.len() < limits::PATH_LEN);
                let path = format!("{prefix}{}", good.map_or_else(|| names::shown(name), str::to_owned));
                (entries, path_bytes) = (entries + 1, path_bytes + path.len());
                if entries > limits::TREE_ENTRIES {
                    return Err(too_large("the tree", limits::TREE_ENTRIES as u64, "entries"));
                }
                if path_bytes > limits::PATH_BYTES {
                    return Err(too_large("the tree", limits::PATH_BYTES as u64, "bytes of paths"));
                }
                let mode = match entry.filemode() {
                    0o040000 if good.is_some() => {
                        open.push((format!("{path}/"), entry.id()));
                        continue;
                    }
                    0o120000 => EntryMode::Symlink,
                    0o160000 => EntryMode::Submodule,
                    0o100755 => EntryMode::Executable,
                    _ => EntryMode::Regular,
                };
                let id = entry.id();
                if good.is_some() {
                    visit(self, Found { path, mode: Some(mode), id })?;
                } else if entry.filemode() == 0o040000 || names::is_trap(name) || names::has_spec_suffix(name) {
                    // An odd name of a file that is no spec (a data file in an old encoding) concerns nobody.
                    visit(self, Found { path, mode: None, id })?;
                }
            }
        }
        Ok(())
    }

    /// The entry of a found file, with its size.
    pub(in super::super) fn entry(&self, found: Found) -> Result<TreeEntry> {
        let bad = || SourceError::BadTree { path: found.path.clone(), reason: "the name cannot be used".into() };
        let mode = found.mode.ok_or_else(bad)?;
        let size = if mode == EntryMode::Submodule { 0 } else { self.size(&found)? };
        Ok(TreeEntry { mode, oid: found.id.to_string(), size, path: found.path })
    }

    fn size(&self, found: &Found) -> Result<u64> {
        let (size, kind) = self.odb.read_header(found.id).map_err(SourceError::corrupt(format!("`{}`", found.path)))?;
        if kind != ObjectType::Blob {
            return Err(SourceError::BadTree {
                path: found.path.clone(),
                reason: format!("it is a {kind}, not a file"),
            });
        }
        Ok(size as u64)
    }

    fn bytes(&self, id: Oid, path: &str) -> Result<Vec<u8>> {
        self.odb.read(id).map(|object| object.data().to_vec()).map_err(SourceError::corrupt(format!("`{path}`")))
    }

    fn tree(&self, prefix: &str, id: Oid) -> Result<git2::Tree<'repo>> {
        let what = || format!("the tree `{prefix}` ({id})");
        let (size, kind) = self.odb.read_header(id).map_err(SourceError::corrupt(what()))?;
        if kind != ObjectType::Tree {
            return Err(SourceError::BadTree { path: prefix.into(), reason: format!("it is a {kind}, not a tree") });
        }
        if size > limits::TREE_OBJECT_BYTES {
            return Err(too_large(&what(), limits::TREE_OBJECT_BYTES as u64, "bytes"));
        }
        self.repo.find_tree(id).map_err(SourceError::corrupt(what()))
    }
}

/// Which of two equal names would count depends on the reader; so neither does.
fn refuse_duplicates(prefix: &str, tree: &git2::Tree<'_>) -> Result<()> {
    let mut names: Vec<Vec<u8>> = tree.iter().map(|entry| entry.name_bytes().to_vec()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(SourceError::BadTree {
            path: format!("{prefix}{}", names::shown(&pair[0])),
            reason: "the name occurs twice in one tree".into(),
        }),
        None => Ok(()),
    }
}

/// Whether a ref's commit, all its trees and the headers of all its blobs can be read.
pub(super) fn is_whole(repo: &Repository, id: Oid) -> bool {
    let walk = || -> Result<()> {
        let commit = repo.find_commit(peel(repo, id)?).map_err(SourceError::corrupt(id))?;
        Walk::new(repo)?.run(commit.tree_id(), &mut |walk, found| match found.mode {
            Some(EntryMode::Submodule) | None => Ok(()),
            Some(_) => walk.size(&found).map(drop),
        })
    };
    !matches!(walk(), Err(SourceError::Corrupt { .. }))
}

/// A blob by its id.
pub(super) fn blob(repo: &Repository, oid: &str) -> Result<Vec<u8>> {
    let missing = |detail: &str| SourceError::NotFound {
        what: format!("the file `{}`", printable(oid, 64)),
        detail: detail.into(),
    };
    let id = Oid::from_str(oid).map_err(|_| missing("it is not an object id"))?;
    let walk = Walk::new(repo)?;
    match walk.odb.read_header(id) {
        Err(error) if error.code() == ErrorCode::NotFound => Err(missing("no such object")),
        Err(error) => Err(SourceError::corrupt(id)(error)),
        Ok((_, kind)) if kind != ObjectType::Blob => Err(missing("it is not a file")),
        Ok((size, _)) if size as u64 > limits::BLOB_BYTES => Err(too_large(oid, limits::BLOB_BYTES, "bytes")),
        Ok(_) => walk.bytes(id, oid),
    }
}

/// A commit by its whole id.
pub(in super::super) fn find_commit<'repo>(repo: &'repo Repository, commit: &CommitId) -> Result<Commit<'repo>> {
    let missing = |error: git2::Error| SourceError::NotFound {
        what: format!("commit {}", printable(commit.as_str(), 64)),
        detail: printable(error.message(), 300),
    };
    let id = Oid::from_str(commit.as_str()).map_err(missing)?;
    repo.find_commit(id).map_err(|error| match error.code() {
        ErrorCode::NotFound => missing(error),
        _ => SourceError::corrupt(format!("commit {commit}"))(error),
    })
}

/// The commit that an object is, or that a tag names.
pub(super) fn peel(repo: &Repository, id: Oid) -> Result<Oid> {
    let object = repo.find_object(id, None).map_err(SourceError::corrupt(id))?;
    let kind = object.kind();
    object.peel_to_commit().map(|commit| commit.id()).map_err(|error| match kind {
        Some(ObjectType::Commit) => SourceError::corrupt(id)(error),
        _ => SourceError::NotFound { what: format!("a commit at {id}"), detail: printable(error.message(), 300) },
    })
}

/// The commit of a checked revision expression; `asked` is what the person wrote.
pub(in super::super) fn resolve(repo: &Repository, rev: &str, asked: &str) -> Result<CommitId> {
    let found = repo.revparse_single(rev).and_then(|object| object.peel_to_commit());
    found.map(|commit| commit_id(commit.id())).map_err(|error| SourceError::NotFound {
        what: format!("the revision `{asked}`"),
        detail: printable(error.message(), 300),
    })
}

pub(super) fn is_ancestor(repo: &Repository, ancestor: Oid, of: Oid) -> Result<bool> {
    Ok(ancestor == of || repo.graph_descendant_of(of, ancestor).map_err(SourceError::corrupt("the history"))?)
}

pub(super) fn first_parents(repo: &Repository, old: Oid, new: Oid, cap: usize) -> Result<Vec<CommitInfo>> {
    let failed = || SourceError::corrupt("the history");
    let mut line = repo.revwalk().map_err(failed())?;
    line.set_sorting(Sort::TOPOLOGICAL).map_err(failed())?;
    line.simplify_first_parent().map_err(failed())?;
    line.push(new).map_err(failed())?;
    line.hide(old).map_err(failed())?;
    line.take(cap).map(|id| Ok(info(&repo.find_commit(id.map_err(failed())?).map_err(failed())?))).collect()
}

/// Who made a commit, when, and why.
pub(in super::super) fn info(commit: &Commit<'_>) -> CommitInfo {
    let message = String::from_utf8_lossy(commit.message_bytes());
    let author = commit.author();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let author = format!("{} <{}>", lossy(author.name_bytes()), lossy(author.email_bytes()));
    CommitInfo {
        id: commit_id(commit.id()),
        message: printable(&message, limits::MESSAGE_BYTES),
        author: printable(&author.replace('\n', " "), 256),
        time: Timestamp(commit.time().seconds().saturating_mul(1000)),
        parents: commit.parent_ids().map(commit_id).collect(),
    }
}

pub(in super::super) fn commit_id(id: impl Display) -> CommitId {
    CommitId::new(&id.to_string())
}

fn too_large(subject: &str, limit: u64, unit: &'static str) -> SourceError {
    SourceError::TooLarge { subject: subject.to_owned(), limit, unit }
}
