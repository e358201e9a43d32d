//! Files of this machine as a [`FileSet`]: a working tree with its uncommitted changes, or any revision of a local
//! repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use git2::{ObjectType, Oid, Repository, RepositoryOpenFlags, Status, StatusOptions};

use super::error::SourceError;
use super::git::read::{self, Gathered};
use super::reference::revision;
use super::{Result, limits, names};
use crate::domain::files::{FileContent, FileSet, TreePath};
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;

/// Folders that hold no specs but may hold very many files. In a git repository `.gitignore` says more.
const SKIPPED: [&str; 6] = [".git", ".tidegate", "target", "node_modules", "__pycache__", ".venv"];
/// Mode of a submodule in git's index.
const GITLINK: u32 = 0o160000;

/// Where a working tree stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit checked out; absent before the first.
    pub commit: Option<CommitId>,
    /// The branch checked out; absent when detached.
    pub branch: Option<String>,
    /// Paths of files that differ from the commit (changed, added, deleted, not ignored), sorted.
    pub dirty: Vec<String>,
}

/// Reads a working tree as it is on disk, uncommitted changes included, without what git ignores. The commit is
/// `worktree`. A directory outside any repository is read whole. Links are never followed.
pub fn read_worktree(dir: &Path) -> Result<FileSet> {
    let dir = dir.canonicalize().map_err(SourceError::io("open", dir))?;
    let listed = match repository_of(&dir)? {
        Some((repo, prefix)) => list_repository(&repo, &prefix)?,
        None => list_directory(&dir)?,
    };
    Reader { dir: &dir, plain_parents: BTreeMap::new() }.read(listed)
}

/// Where the repository around a directory stands; absent outside any.
pub fn head_of(dir: &Path) -> Result<Option<Head>> {
    let dir = dir.canonicalize().map_err(SourceError::io("open", dir))?;
    let Some((repo, prefix)) = repository_of(&dir)? else { return Ok(None) };
    let head = repo.head().ok();
    let branch = match repo.find_reference("HEAD").ok().as_ref().map(git2::Reference::symbolic_target) {
        Some(Ok(Some(name))) => name.strip_prefix("refs/heads/").map(str::to_owned),
        _ => None,
    };
    let mut dirty: Vec<String> = statuses(&repo, &prefix, false)?
        .iter()
        .filter(|entry| entry.status() != Status::CURRENT)
        .map(|entry| names::shown_path(entry.path_bytes()))
        .collect();
    dirty.sort();
    let commit = head.and_then(|head| head.peel_to_commit().ok()).map(|commit| read::commit_id(commit.id()));
    Ok(Some(Head { commit, branch, dirty }))
}

/// Reads a revision of a local repository, bare or not; `origin/REV` stands in where only that exists.
pub fn read_revision(repo_dir: &Path, rev: &str) -> Result<FileSet> {
    revision(rev)?;
    let repo = Repository::open_ext(repo_dir, RepositoryOpenFlags::empty(), &[] as &[&Path]).map_err(|error| {
        SourceError::NotFound {
            what: format!("a git repository at {}", repo_dir.display()),
            detail: error.message().into(),
        }
    })?;
    let id = read::resolve(&repo, rev, rev)
        .or_else(|error| read::resolve(&repo, &format!("refs/remotes/origin/{rev}"), rev).map_err(|_| error))?;
    read::file_set(&repo, &read::find_commit(&repo, &id)?)
}

/// The repository whose working tree a directory belongs to, and the way from its root to the directory.
fn repository_of(dir: &Path) -> Result<Option<(Repository, PathBuf)>> {
    let repo = match Repository::open_ext(dir, RepositoryOpenFlags::empty(), &[] as &[&Path]) {
        Ok(repo) => repo,
        Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(None),
        Err(error) => return Err(SourceError::corrupt(format!("the repository around {}", dir.display()))(error)),
    };
    let Some(root) = repo.workdir().and_then(|root| root.canonicalize().ok()) else { return Ok(None) };
    let Ok(prefix) = dir.strip_prefix(&root).map(Path::to_owned) else { return Ok(None) };
    // A directory that its surroundings ignore (a build folder, a scratch folder) stands for itself.
    let ignored = !prefix.as_os_str().is_empty() && repo.is_path_ignored(&prefix).unwrap_or(false);
    Ok((!ignored).then_some((repo, prefix)))
}

/// A file that is to be read, relative to the directory, with its id if git's index has it as it is on disk.
struct Listed {
    name: Vec<u8>,
    id: Option<Oid>,
    submodule: bool,
}

fn statuses<'r>(repo: &'r Repository, prefix: &Path, unmodified: bool) -> Result<git2::Statuses<'r>> {
    let mut options = StatusOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .include_ignored(false)
        .include_unmodified(unmodified)
        .exclude_submodules(true)
        .update_index(false);
    if !prefix.as_os_str().is_empty() {
        options.disable_pathspec_match(true).pathspec(prefix);
    }
    repo.statuses(Some(&mut options)).map_err(SourceError::corrupt("the state of the working tree"))
}

fn list_repository(repo: &Repository, prefix: &Path) -> Result<Vec<Listed>> {
    let index = repo.index().map_err(SourceError::corrupt("git's index"))?;
    let ids: BTreeMap<Vec<u8>, (Oid, u32)> = index.iter().map(|entry| (entry.path, (entry.id, entry.mode))).collect();
    let inside = |path: &[u8]| -> Option<Vec<u8>> {
        let prefix = prefix.as_os_str().as_encoded_bytes();
        let rest = if prefix.is_empty() { path } else { path.strip_prefix(prefix)?.strip_prefix(b"/")? };
        (!rest.starts_with(b".tidegate/")).then(|| rest.to_vec())
    };
    let mut listed = Vec::new();
    for entry in statuses(repo, prefix, true)?.iter() {
        let (path, status) = (entry.path_bytes(), entry.status());
        // A path that ends with `/` is an untracked repository inside this one.
        let gone = status.contains(Status::WT_DELETED)
            || status.contains(Status::INDEX_DELETED) && !status.contains(Status::WT_NEW)
            || path.ends_with(b"/");
        let Some(name) = inside(path).filter(|_| !gone) else { continue };
        let touched =
            Status::WT_NEW | Status::WT_MODIFIED | Status::WT_TYPECHANGE | Status::WT_RENAMED | Status::CONFLICTED;
        let id = if status.intersects(touched) { None } else { ids.get(path).map(|(id, _)| *id) };
        listed.push(Listed { name, id, submodule: false });
        within_entries(listed.len())?;
    }
    for (path, (id, _)) in ids.iter().filter(|(_, (_, mode))| *mode == GITLINK) {
        listed.extend(inside(path).map(|name| Listed { name, id: Some(*id), submodule: true }));
    }
    Ok(listed)
}

fn list_directory(root: &Path) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).map_err(SourceError::io("read", &dir))? {
            let entry = entry.map_err(SourceError::io("read", &dir))?;
            let kind = entry.file_type().map_err(SourceError::io("read", &entry.path()))?;
            if kind.is_dir() {
                if !is_skipped(&entry.file_name().to_string_lossy()) {
                    open.push(entry.path());
                }
            } else if kind.is_file() || kind.is_symlink() {
                let path = entry.path();
                let name = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_encoded_bytes().to_vec();
                listed.push(Listed { name, id: None, submodule: false });
                within_entries(listed.len())?;
            }
        }
    }
    Ok(listed)
}

/// Whether a folder of this name is passed over outside git.
pub(super) fn is_skipped(name: &str) -> bool {
    SKIPPED.contains(&name)
}

fn within_entries(count: usize) -> Result<()> {
    if count <= limits::TREE_ENTRIES {
        return Ok(());
    }
    Err(SourceError::TooLarge {
        subject: "the working tree".into(),
        limit: limits::TREE_ENTRIES as u64,
        unit: "entries",
    })
}

struct Reader<'a> {
    dir: &'a Path,
    /// Whether a directory, and all above it, is a directory and no link.
    plain_parents: BTreeMap<PathBuf, bool>,
}

impl Reader<'_> {
    fn read(mut self, listed: Vec<Listed>) -> Result<FileSet> {
        let (mut files, mut tree, mut newest) = (Gathered::default(), Vec::new(), 0i64);
        let mut seen = BTreeSet::new();
        for Listed { name, id, submodule } in listed {
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some(path) = checked_path(&name) else {
                let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                if names::is_trap(last) || names::has_spec_suffix(last) {
                    files.add(names::shown_path(&name), FileContent::BadName)?;
                }
                continue;
            };
            let full = self.dir.join(&path);
            // Between listing and reading anything may have vanished; then it is not part of the working tree.
            let Ok(data) = full.symlink_metadata() else { continue };
            if !self.is_plain(full.parent().unwrap_or(self.dir)) {
                continue;
            }
            let concerns = read::concerns_specs(&path);
            if submodule || data.is_symlink() {
                if concerns {
                    let content = if submodule { FileContent::Submodule } else { FileContent::Symlink };
                    files.add(path.clone(), content)?;
                }
            } else if !data.is_file() {
                continue;
            } else {
                newest = newest.max(modified(&data));
                if names::is_spec(&path) {
                    files.add_with(path.clone(), data.len(), || read_file(&full))?;
                }
            }
            let id = match id {
                Some(id) => id.to_string(),
                None => id_of(&full, &data)?,
            };
            tree.push(TreePath { path, id });
        }
        tree.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(FileSet {
            commit: CommitId::new("worktree"),
            message: String::new(),
            author: author_of(self.dir),
            time: Timestamp(newest),
            files: files.sorted(),
            tree,
        })
    }

    fn is_plain(&mut self, dir: &Path) -> bool {
        if dir == self.dir {
            return true;
        }
        if let Some(known) = self.plain_parents.get(dir) {
            return *known;
        }
        let plain =
            dir.symlink_metadata().is_ok_and(|data| data.is_dir()) && dir.parent().is_some_and(|up| self.is_plain(up));
        self.plain_parents.insert(dir.to_owned(), plain);
        plain
    }
}

/// A relative path whose every component may be used.
fn checked_path(name: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(name).ok().filter(|path| path.len() < limits::PATH_LEN)?;
    let plain = path.split('/').all(|part| names::component(part.as_bytes()).is_some())
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| path.to_owned())
}

/// Reads a file of which the size was permitted; one that has grown since is cut where it was forbidden to be.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NOFOLLOW
        | rustix::fs::OFlags::CLOEXEC
        | rustix::fs::OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .map_err(|cause| SourceError::io("open", path)(cause.into()))?;
    let mut bytes = Vec::new();
    File::from(file).take(limits::FILE_BYTES).read_to_end(&mut bytes).map_err(SourceError::io("read", path))?;
    Ok(bytes)
}

/// Git's id of the contents; of a huge file, a mark of its size and time.
fn id_of(path: &Path, data: &Metadata) -> Result<String> {
    let failed = |error: git2::Error| SourceError::corrupt(path.display())(error);
    if data.is_symlink() {
        let target = fs::read_link(path).map_err(SourceError::io("read the link", path))?;
        return Oid::hash_object(ObjectType::Blob, target.as_os_str().as_encoded_bytes())
            .map(|id| id.to_string())
            .map_err(failed);
    }
    if !data.is_file() || data.len() > limits::HASHED_BYTES {
        return Ok(format!("{}@{}", data.len(), modified(data)));
    }
    Oid::hash_file(ObjectType::Blob, path).map(|id| id.to_string()).map_err(failed)
}

/// Milliseconds since 1970.
fn modified(data: &Metadata) -> i64 {
    let since = data.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

/// Who would commit here, as far as git's configuration says.
fn author_of(dir: &Path) -> String {
    let config = Repository::open_ext(dir, RepositoryOpenFlags::empty(), &[] as &[&Path])
        .and_then(|repo| repo.config())
        .or_else(|_| git2::Config::open_default());
    let value = |key: &str| config.as_ref().ok().and_then(|config| config.get_string(key).ok());
    match (value("user.name"), value("user.email")) {
        (Some(name), Some(email)) => format!("{name} <{email}>"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => String::new(),
    }
}
