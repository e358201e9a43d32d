//! The mirror's directory: made, locked, mended, made again.
//!
//! ```text
//! <dir>/lock      held exclusively as long as the mirror is open, so that leftovers in it can have no owner
//! <dir>/git/      the bare repository: refs/tidegate/head, refs/tidegate/kept/<id>
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use git2::{Oid, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use super::super::error::SourceError;
use super::super::reference::revision;
use super::super::{Result, SourceSpec};
use super::read::{self, Walk};
use super::{CommitInfo, Fetched, Options, Tree};
use crate::domain::files::FileSet;
use crate::domain::ids::CommitId;

/// The ref that holds the last head seen.
pub(super) const HEAD_REF: &str = "refs/tidegate/head";
/// Below it, one ref for each commit that must not be lost.
const KEPT_REFS: &str = "refs/tidegate/kept/";
/// How long we wait for a predecessor to let go of the lock: that it ends, not that it finishes a fetch.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A bare mirror of a repository in a directory of our own, that survives whatever happens to the repository.
///
/// It can be shared between threads. Reads do not wait for fetches: objects never change.
#[derive(Debug)]
pub struct Mirror {
    dir: PathBuf,
    pub(super) spec: SourceSpec,
    pub(super) options: Options,
    pub(super) fetching: Mutex<FetchState>,
    suspect: AtomicBool,
    _lock: File,
}

/// What fetches, one at a time, remember.
#[derive(Debug, Default)]
pub(super) struct FetchState {
    /// How often something new was fetched since the last tidying.
    pub fetches: u32,
    /// The head at which the mirror was made again.
    remade_at: Option<Oid>,
}

impl FetchState {
    /// Whether a mirror damaged at this head should be made again: not over and over, if it comes damaged from its source.
    pub(super) fn may_remake(&mut self, head: Option<Oid>) -> bool {
        let first = self.remade_at.is_none() || self.remade_at != head;
        self.remade_at = head;
        first
    }
}

impl Mirror {
    /// Opens the mirror in a directory, or makes or mends it. Does not speak with the network.
    ///
    /// Leftovers of aborted fetches are removed; a damaged mirror, or one of another repository, is made again and empty.
    pub fn open(dir: impl Into<PathBuf>, spec: SourceSpec) -> Result<Self> {
        Self::open_with(dir, spec, Options::default())
    }

    /// As [`Mirror::open`], with another `git` program or other limits.
    pub fn open_with(dir: impl Into<PathBuf>, spec: SourceSpec, options: Options) -> Result<Self> {
        let dir = dir.into();
        let dir = std::path::absolute(&dir).map_err(SourceError::io("find", &dir))?;
        fs::create_dir_all(&dir).map_err(SourceError::io("create", &dir))?;
        let lock = lock(&dir)?;
        let mirror =
            Self { dir, spec, options, fetching: Mutex::default(), suspect: AtomicBool::new(false), _lock: lock };
        mirror.remove_leftovers();
        if !mirror.is_sound() {
            mirror.make_again()?;
        }
        Ok(mirror)
    }

    /// What is followed.
    pub fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// The last head that was fetched, also in an earlier life of the process.
    pub fn head(&self) -> Result<Option<CommitId>> {
        let repo = self.repo()?;
        Ok(tip(&repo).and_then(|id| read::peel(&repo, id).ok()).map(read::commit_id))
    }

    /// Asks the repository where the ref stands and gets what is missing. When nothing has changed it reads no objects,
    /// and starts no process if the repository is on this machine.
    ///
    /// On an error the last head and all its objects stay as they were.
    pub fn fetch(&self) -> Result<Fetched> {
        let mut state = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed again at once: libgit2 shares open packs by their path, also that of a pack made again.
        let (head, lost) = {
            let repo = self.repo()?;
            let head = tip(&repo);
            (head, head.is_some_and(|id| read::peel(&repo, id).is_err()))
        };
        if (self.suspect.swap(false, Ordering::Relaxed) || lost) && state.may_remake(head) {
            self.make_again()?;
        }
        self.fetch_now(&mut state)
    }

    /// Keeps these commits through rewritten history and tidying, and no others.
    pub fn keep(&self, commits: &[CommitId]) -> Result<()> {
        let _state = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let repo = self.repo()?;
        let wanted: Vec<String> = commits.iter().map(|commit| format!("{KEPT_REFS}{commit}")).collect();
        let failed = |cause: git2::Error| SourceError::corrupt("the kept refs")(cause);
        for reference in repo.references_glob(&format!("{KEPT_REFS}*")).map_err(failed)? {
            let mut reference = reference.map_err(failed)?;
            if !wanted.iter().any(|name| reference.name().is_ok_and(|own| own == name)) {
                reference.delete().map_err(failed)?;
            }
        }
        for (commit, name) in commits.iter().zip(&wanted) {
            let id = read::find_commit(&repo, commit)?.id();
            repo.reference(name, id, true, "").map_err(failed)?;
        }
        Ok(())
    }

    /// Everything that `compile` needs of a commit.
    pub fn read_specs(&self, commit: &CommitId) -> Result<FileSet> {
        self.reading(|repo| read::file_set(repo, &read::find_commit(repo, commit)?))
    }

    /// The files of a commit that a filter (by path) takes, without their contents.
    pub fn files(&self, commit: &CommitId, mut filter: impl FnMut(&str) -> bool) -> Result<Tree> {
        self.reading(|repo| {
            let mut tree = Vec::new();
            let root = read::find_commit(repo, commit)?.tree_id();
            Walk::new(repo)?.run(root, &mut |walk, found| {
                if filter(&found.path) {
                    tree.push(walk.entry(found)?);
                }
                Ok(())
            })?;
            tree.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(tree)
        })
    }

    /// The contents of a file by its id; at most [`super::super::limits::BLOB_BYTES`].
    pub fn read_blob(&self, oid: &str) -> Result<Vec<u8>> {
        self.reading(|repo| read::blob(repo, oid))
    }

    /// Who made a commit, when, and why.
    pub fn commit_info(&self, commit: &CommitId) -> Result<CommitInfo> {
        self.reading(|repo| Ok(read::info(&read::find_commit(repo, commit)?)))
    }

    /// Whether one commit is another's ancestor, or the same.
    pub fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool> {
        self.reading(|repo| {
            read::is_ancestor(repo, read::find_commit(repo, ancestor)?.id(), read::find_commit(repo, of)?.id())
        })
    }

    /// The commit that a person means by `main`, `main~2`, `v1` or `3f2a1c`.
    pub fn resolve(&self, rev: &str) -> Result<CommitId> {
        let (name, steps) = revision(rev)?;
        let known = if name == "HEAD" || self.spec.reference.is_called(name) { HEAD_REF } else { name };
        self.reading(|repo| read::resolve(repo, &format!("{known}{steps}"), rev))
    }

    /// The commits on the first-parent line of `new` that `old` does not have, newest first, at most `cap`.
    pub fn first_parent_between(&self, old: &CommitId, new: &CommitId, cap: usize) -> Result<Vec<CommitInfo>> {
        self.reading(|repo| {
            let (old, new) = (read::find_commit(repo, old)?.id(), read::find_commit(repo, new)?.id());
            read::first_parents(repo, old, new, cap)
        })
    }

    /// Reads; damage that shows makes the next fetch make the mirror again.
    fn reading<T>(&self, read: impl FnOnce(&Repository) -> Result<T>) -> Result<T> {
        let result = self.repo().and_then(|repo| read(&repo));
        if matches!(result, Err(SourceError::Corrupt { .. })) {
            self.suspect.store(true, Ordering::Relaxed);
        }
        result
    }

    pub(super) fn git_dir(&self) -> PathBuf {
        self.dir.join("git")
    }

    /// Opened anew for each use: cheap, and it sees at once what a fetch has brought.
    pub(super) fn repo(&self) -> Result<Repository> {
        let dir = self.git_dir();
        let flags = RepositoryOpenFlags::BARE | RepositoryOpenFlags::NO_SEARCH;
        Repository::open_ext(&dir, flags, &[] as &[&Path]).map_err(SourceError::corrupt(dir.display()))
    }

    /// Whether this is our mirror of this repository and the last head can be read whole.
    fn is_sound(&self) -> bool {
        let dir = self.git_dir();
        let is = |name: &str, text: &str| fs::read_to_string(dir.join(name)).is_ok_and(|found| found == text);
        if !is("config", &self.config()) || !is("HEAD", &format!("ref: {HEAD_REF}\n")) {
            return false;
        }
        let Ok(repo) = self.repo() else { return false };
        match repo.find_reference(HEAD_REF) {
            Ok(head) => head.target().is_some_and(|id| read::is_whole(&repo, id)),
            Err(error) => error.code() == git2::ErrorCode::NotFound,
        }
    }

    /// An empty mirror in the place of whatever stood there; complete or not at all.
    pub(super) fn make_again(&self) -> Result<()> {
        let (dir, new, old) = (self.git_dir(), self.dir.join("git.new"), self.dir.join("git.old"));
        let make = || -> Result<(), git2::Error> {
            let mut how = RepositoryInitOptions::new();
            Repository::init_opts(&new, how.bare(true).mkpath(true).external_template(false)).map(drop)
        };
        remove(&new);
        make().map_err(SourceError::corrupt(new.display()))?;
        for (name, text) in [("config", self.config()), ("HEAD", format!("ref: {HEAD_REF}\n"))] {
            fs::write(new.join(name), text).map_err(SourceError::io("write", &new.join(name)))?;
        }
        remove(&old);
        if dir.symlink_metadata().is_ok() {
            fs::rename(&dir, &old).map_err(SourceError::io("set aside", &dir))?;
        }
        fs::rename(&new, &dir).map_err(SourceError::io("put in place", &dir))?;
        remove(&old);
        Ok(())
    }

    /// The whole configuration of the mirror; any other makes it not ours. It names the repository, so that another
    /// repository gets another mirror.
    fn config(&self) -> String {
        let address = self.spec.url.identity();
        format!(
            "# Tidegate's mirror of {address}\n# Do not edit: with any other text in this file it is made again.\n\
             [core]\n\trepositoryformatversion = 0\n\tbare = true\n\tlogAllRefUpdates = false\n"
        )
    }

    /// Removes what an aborted `git` leaves: we hold the lock, so nobody is using it.
    pub(super) fn remove_leftovers(&self) {
        for name in ["git.new", "git.old"] {
            remove(&self.dir.join(name));
        }
        let mut open = vec![self.git_dir()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if name.ends_with(".lock") || name.starts_with("tmp_") || name.starts_with(".tmp-") || name == "gc.pid"
                {
                    remove(&path);
                } else if is_dir {
                    open.push(path);
                }
            }
        }
    }
}

/// Where the mirror's own ref stands; a tag is not followed to its commit.
pub(super) fn tip(repo: &Repository) -> Option<Oid> {
    repo.find_reference(HEAD_REF).ok()?.target()
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(SourceError::io("create", &path))?;
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SourceError::Locked { dir: dir.to_owned() }),
            Err(rustix::io::Errno::INTR) => {}
            Err(cause) => return Err(SourceError::io("lock", &path)(cause.into())),
        }
    }
}

/// Removes a file or directory; what cannot be removed shows when its place is needed.
fn remove(path: &Path) {
    let _ = match path.symlink_metadata() {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
}
