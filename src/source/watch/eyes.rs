//! The file events of what is watched: which of them concern us, and how long to wait for more.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};

use git2::{Repository, RepositoryOpenFlags};
use notify::event::{CreateKind, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{Hint, Message, Watch};
use crate::source::error::SourceError;
use crate::source::{Result, worktree};

/// A push writes a few files in a few milliseconds; then the ref is in its place.
const REFS_QUIET: Duration = Duration::from_millis(5);
/// A push that makes a new directory of refs: its file may come before the directory is watched.
const NEW_DIR_QUIET: Duration = Duration::from_millis(50);
/// Editors and checkouts write in bursts.
const FILES_QUIET: Duration = Duration::from_millis(100);
/// Most directories of a working tree that are watched; the system's own limit is shared by all programs of the user.
const WATCHED_DIRS: usize = 8192;

/// The file events of what is watched.
pub(super) struct Eyes {
    watch: Watch,
    send: Sender<Message>,
    notify: Option<RecommendedWatcher>,
    /// The watched root: another one there is another directory.
    identity: Option<Identity>,
    /// Directories whose own entries concern us; those of `refs` are watched with all below.
    dirs: BTreeSet<PathBuf>,
    refs: Vec<PathBuf>,
    ignore: Option<Repository>,
}

impl Eyes {
    pub(super) fn new(watch: Watch, send: Sender<Message>) -> Self {
        Self { watch, send, notify: None, identity: None, dirs: BTreeSet::new(), refs: Vec::new(), ignore: None }
    }

    fn root(&self) -> Option<&Path> {
        match &self.watch {
            Watch::Clock => None,
            Watch::Refs(path) | Watch::Files(path) => Some(path),
        }
    }

    pub(super) fn trouble(&self, error: &notify::Error) -> SourceError {
        SourceError::Watch { path: self.root().unwrap_or(Path::new("")).to_owned(), detail: error.to_string() }
    }

    pub(super) fn are_stale(&self) -> bool {
        let blind = matches!(self.watch, Watch::Refs(_)) && self.refs.is_empty();
        self.root().is_some_and(|root| blind || self.identity.is_none() || identity(root) != self.identity)
    }

    /// Watches what is there now.
    pub(super) fn open(&mut self) -> Result<()> {
        (self.notify, self.identity) = (None, None);
        self.dirs.clear();
        self.refs.clear();
        let Some(root) = self.root().map(Path::to_owned) else { return Ok(()) };
        let send = self.send.clone();
        let notify = notify::recommended_watcher(move |event| {
            let _ = send.send(Message::Event(event));
        });
        self.notify = Some(notify.map_err(|error| self.trouble(&error))?);
        match self.watch {
            Watch::Refs(_) => self.open_refs(&root)?,
            _ => self.open_files(&root)?,
        }
        self.identity = identity(&root);
        Ok(())
    }

    /// `refs/` with all below, and the directories of `packed-refs` and `HEAD`.
    fn open_refs(&mut self, root: &Path) -> Result<()> {
        let repo = Repository::open_ext(root, RepositoryOpenFlags::NO_SEARCH, &[] as &[&Path]);
        // A repository that libgit2 cannot open still has its refs in one of these.
        let (own, common) = match &repo {
            Ok(repo) => (repo.path().to_owned(), repo.commondir().to_owned()),
            Err(_) if root.join(".git").is_dir() => (root.join(".git"), root.join(".git")),
            Err(_) => (root.to_owned(), root.to_owned()),
        };
        for dir in [own, common] {
            let dir = dir.canonicalize().map_err(SourceError::io("watch", &dir))?;
            self.look_at(&dir, RecursiveMode::NonRecursive)?;
            for refs in ["refs", "reftable"].map(|name| dir.join(name)) {
                if refs.is_dir() && !self.refs.contains(&refs) {
                    self.look_at(&refs, RecursiveMode::Recursive)?;
                    self.refs.push(refs);
                }
            }
        }
        Ok(())
    }

    /// Every directory that is not ignored.
    fn open_files(&mut self, root: &Path) -> Result<()> {
        let root = root.canonicalize().map_err(SourceError::io("watch", root))?;
        self.ignore = Repository::open_ext(&root, RepositoryOpenFlags::empty(), &[] as &[&Path]).ok();
        if self.ignore.as_ref().is_some_and(|repo| repo.is_path_ignored(&root).unwrap_or(false)) {
            self.ignore = None;
        }
        self.add_dirs(&root)
    }

    fn add_dirs(&mut self, top: &Path) -> Result<()> {
        let mut open = vec![top.to_owned()];
        while let Some(dir) = open.pop() {
            if self.dirs.len() >= WATCHED_DIRS {
                let detail = format!("it has more than {WATCHED_DIRS} directories; those beyond are seen by polling");
                return Err(SourceError::Watch { path: top.to_owned(), detail });
            }
            self.look_at(&dir, RecursiveMode::NonRecursive)?;
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !self.is_ignored(&entry.path()) {
                    open.push(entry.path());
                }
            }
        }
        Ok(())
    }

    fn is_ignored(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match &self.ignore {
            _ if matches!(name.as_ref(), ".git" | ".tidegate") => true,
            Some(repo) => repo.is_path_ignored(path).unwrap_or(false),
            None => worktree::is_skipped(&name) && path.is_dir(),
        }
    }

    fn look_at(&mut self, dir: &Path, mode: RecursiveMode) -> Result<()> {
        let Some(notify) = self.notify.as_mut() else { return Ok(()) };
        match notify.watch(dir, mode) {
            Ok(()) => {
                self.dirs.insert(dir.to_owned());
            }
            // It has vanished meanwhile.
            Err(notify::Error { kind: notify::ErrorKind::PathNotFound, .. }) => {}
            Err(error) => return Err(self.trouble(&error)),
        }
        Ok(())
    }

    /// Whether an event concerns us, and how long to wait for more of its kind.
    pub(super) fn judge(&mut self, event: &Event) -> Option<(Hint, Duration)> {
        if event.need_rescan() {
            return Some((if matches!(self.watch, Watch::Refs(_)) { Hint::Refs } else { Hint::Files }, FILES_QUIET));
        }
        // Reading is no change; and it is we who read.
        if !matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)) {
            return None;
        }
        if matches!(event.kind, EventKind::Remove(_)) && event.paths.iter().any(|path| self.dirs.contains(path)) {
            // Perhaps the whole repository; the next poll looks.
            self.identity = None;
        }
        match self.watch {
            Watch::Clock => None,
            Watch::Refs(_) => {
                let new_dir = event.kind == EventKind::Create(CreateKind::Folder);
                event
                    .paths
                    .iter()
                    .any(|path| self.is_of_refs(path))
                    .then_some((Hint::Refs, if new_dir { NEW_DIR_QUIET } else { REFS_QUIET }))
            }
            Watch::Files(_) => {
                let mut concerns = false;
                for path in &event.paths {
                    if self.is_ignored(path) {
                        continue;
                    }
                    concerns = true;
                    if !matches!(event.kind, EventKind::Remove(_))
                        && path.symlink_metadata().is_ok_and(|data| data.is_dir())
                        && !self.dirs.contains(path)
                    {
                        // Beyond the limit the poll sees it.
                        let _ = self.add_dirs(path);
                    }
                }
                if let EventKind::Remove(_) = event.kind {
                    self.dirs.retain(|dir| !event.paths.contains(dir));
                }
                concerns.then_some((Hint::Files, FILES_QUIET))
            }
        }
    }

    fn is_of_refs(&self, path: &Path) -> bool {
        if path.extension().is_some_and(|end| end == "lock") {
            return false;
        }
        self.refs.iter().any(|refs| path.starts_with(refs))
            || path.file_name().is_some_and(|name| name == "packed-refs" || name == "HEAD")
    }
}

/// Device, inode and birth of a directory; an inode alone is used again at once.
type Identity = (u64, u64, Option<SystemTime>);

fn identity(path: &Path) -> Option<Identity> {
    path.metadata().ok().map(|data| (data.dev(), data.ino(), data.created().ok()))
}
