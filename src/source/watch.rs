//! Says when to look again: after a push into a local repository, an edit in a working tree, a poll, a nudge.
//!
//! It is a hint and never a fact: what has happened is found out by looking. So events may be merged, doubled or lost;
//! the poll catches what file events miss.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use git2::{Repository, RepositoryOpenFlags};
use notify::event::{CreateKind, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::error::SourceError;
use super::{Result, worktree};

/// A push writes a few files in a few milliseconds; then the ref is in its place.
const REFS_QUIET: Duration = Duration::from_millis(5);
/// A push that makes a new directory of refs: its file may come before the directory is watched.
const NEW_DIR_QUIET: Duration = Duration::from_millis(50);
/// Editors and checkouts write in bursts.
const FILES_QUIET: Duration = Duration::from_millis(100);
/// However long a burst lasts, a hint leaves after this many quiet times.
const LONGEST_BURST: u32 = 10;
/// The least time between two nudges that are passed on: a thousand webhooks in a second become three looks.
const NUDGE_GAP: Duration = Duration::from_millis(500);
/// The first wait after a failure; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// The longest wait after failures, unless the poll interval itself is longer.
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);
/// Most directories of a working tree that are watched; the system's own limit is shared by all programs of the user.
const WATCHED_DIRS: usize = 8192;

/// What is watched besides the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// Nothing: the repository is elsewhere.
    Clock,
    /// The refs of a repository on this machine, bare or not.
    Refs(PathBuf),
    /// The files of a working tree.
    Files(PathBuf),
}

/// Why to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Refs of the local repository have changed.
    Refs,
    /// Files of the working tree have changed.
    Files,
    /// It is time.
    Poll,
    /// Somebody asked: a webhook, `sync now`.
    Nudge,
}

/// A thread that gives hints until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    send: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Event(notify::Result<Event>),
    Nudge,
    Succeeded,
    Failed { transient: bool },
    Stop,
}

impl Watcher {
    /// Begins to watch and to poll about every `interval` (± 20 %). `on_hint` is called on the watcher's own thread; hints
    /// that arrive meanwhile are merged.
    ///
    /// If file events cannot be had the poll goes on alone, and [`SourceError::Watch`] tells why through `on_trouble`.
    pub fn start(
        watch: Watch,
        interval: Duration,
        mut on_trouble: impl FnMut(SourceError) + Send + 'static,
        on_hint: impl FnMut(Hint) + Send + 'static,
    ) -> Result<Self> {
        let (send, receive) = mpsc::channel();
        let mut eyes = Eyes::new(watch, send.clone());
        // Before this returns, so that what happens afterwards is not missed.
        if let Err(trouble) = eyes.open() {
            on_trouble(trouble);
        }
        let mut keeper = Keeper {
            pace: Pace::new(interval),
            eyes,
            on_hint,
            on_trouble,
            pending: None,
            nudged: None,
            nudge_due: None,
        };
        let thread = std::thread::Builder::new()
            .name("tidegate-watch".into())
            .spawn(move || keeper.run(&receive))
            .map_err(SourceError::io("start a thread for", Path::new("watching")))?;
        Ok(Self { send, thread: Some(thread) })
    }

    /// Asks for a hint soon; many in a short time become few.
    pub fn nudge(&self) {
        let _ = self.send.send(Message::Nudge);
    }

    /// Tells that looking has succeeded: the poll returns to its interval.
    pub fn succeeded(&self) {
        let _ = self.send.send(Message::Succeeded);
    }

    /// Tells that looking has failed: the next poll comes sooner, and ever later if that fails too.
    pub fn failed(&self, error: &SourceError) {
        let _ = self.send.send(Message::Failed { transient: error.is_transient() });
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.send.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// The state of the watcher's thread.
struct Keeper<H, T> {
    pace: Pace,
    eyes: Eyes,
    on_hint: H,
    on_trouble: T,
    /// A burst of events: which hint, when it leaves at the latest, and when if all stays quiet.
    pending: Option<(Hint, Instant, Instant)>,
    nudged: Option<Instant>,
    nudge_due: Option<Instant>,
}

impl<H: FnMut(Hint), T: FnMut(SourceError)> Keeper<H, T> {
    fn run(&mut self, receive: &Receiver<Message>) {
        loop {
            let burst_ends = self.pending.map(|(_, latest, quiet)| quiet.min(latest));
            let next =
                [Some(self.pace.due), burst_ends, self.nudge_due].into_iter().flatten().min().unwrap_or(self.pace.due);
            match receive.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.give(Instant::now());
        }
    }

    fn take(&mut self, message: Message) {
        let now = Instant::now();
        match message {
            Message::Event(Ok(event)) => {
                if let Some((hint, quiet)) = self.eyes.judge(&event) {
                    let latest = self.pending.map_or(now + quiet * LONGEST_BURST, |(_, latest, _)| latest);
                    // Never earlier than an event before has asked for.
                    let until = self.pending.map_or(now, |(_, _, until)| until).max(now + quiet);
                    self.pending = Some((hint, latest, until));
                }
            }
            Message::Event(Err(error)) => (self.on_trouble)(self.eyes.trouble(&error)),
            Message::Nudge => {
                let earliest = self.nudged.map_or(now, |last| last + NUDGE_GAP);
                self.nudge_due.get_or_insert(earliest.max(now));
            }
            Message::Succeeded => self.pace.succeeded(now),
            Message::Failed { transient } => self.pace.failed(now, transient),
            Message::Stop => {}
        }
    }

    /// Gives the hints that are due; any of them begins the wait for the next poll anew.
    fn give(&mut self, now: Instant) {
        if let Some((hint, latest, quiet)) = self.pending
            && quiet.min(latest) <= now
        {
            self.pending = None;
            self.hint(hint);
        }
        if self.nudge_due.is_some_and(|due| due <= now) {
            self.nudge_due = None;
            self.nudged = Some(now);
            self.hint(Hint::Nudge);
        }
        if self.pace.due <= now {
            // A directory that was replaced by another has silenced the events.
            if self.eyes.are_stale()
                && let Err(trouble) = self.eyes.open()
            {
                (self.on_trouble)(trouble);
            }
            self.hint(Hint::Poll);
        }
    }

    fn hint(&mut self, hint: Hint) {
        (self.on_hint)(hint);
        self.pace.wait(Instant::now());
    }
}

/// When the next poll is due.
struct Pace {
    interval: Duration,
    failures: u32,
    ticks: u64,
    due: Instant,
}

impl Pace {
    fn new(interval: Duration) -> Self {
        let now = Instant::now();
        let mut pace = Self {
            interval: interval.max(Duration::from_millis(10)),
            failures: 0,
            ticks: u64::from(std::process::id()),
            due: now,
        };
        pace.wait(now);
        pace
    }

    fn wait(&mut self, now: Instant) {
        self.ticks = self.ticks.wrapping_add(1);
        self.due = now + jittered(self.delay(), self.ticks);
    }

    fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        self.wait(now);
    }

    /// What only a person can mend is tried again at the slowest pace.
    fn failed(&mut self, now: Instant, transient: bool) {
        self.failures = if transient { self.failures.saturating_add(1) } else { u32::MAX };
        self.wait(now);
    }

    fn delay(&self) -> Duration {
        match self.failures {
            0 => self.interval,
            n => {
                let first = FIRST_RETRY.min(self.interval);
                first
                    .saturating_mul(1u32.checked_shl((n - 1).min(30)).unwrap_or(u32::MAX))
                    .min(LONGEST_RETRY.max(self.interval))
            }
        }
    }
}

/// A delay made up to a fifth shorter or longer, so that many servers do not ask at the same moment (splitmix64).
fn jittered(delay: Duration, tick: u64) -> Duration {
    let mut x = tick.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    delay.mul_f64(0.8 + 0.4 * (x >> 11) as f64 / (1u64 << 53) as f64)
}

/// The file events of what is watched.
struct Eyes {
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
    fn new(watch: Watch, send: Sender<Message>) -> Self {
        Self { watch, send, notify: None, identity: None, dirs: BTreeSet::new(), refs: Vec::new(), ignore: None }
    }

    fn root(&self) -> Option<&Path> {
        match &self.watch {
            Watch::Clock => None,
            Watch::Refs(path) | Watch::Files(path) => Some(path),
        }
    }

    fn trouble(&self, error: &notify::Error) -> SourceError {
        SourceError::Watch { path: self.root().unwrap_or(Path::new("")).to_owned(), detail: error.to_string() }
    }

    fn are_stale(&self) -> bool {
        let blind = matches!(self.watch, Watch::Refs(_)) && self.refs.is_empty();
        self.root().is_some_and(|root| blind || self.identity.is_none() || identity(root) != self.identity)
    }

    fn open(&mut self) -> Result<()> {
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
    fn judge(&mut self, event: &Event) -> Option<(Hint, Duration)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_spread_and_stay_near_their_interval() {
        let all: BTreeSet<Duration> = (0..1000).map(|tick| jittered(Duration::from_secs(100), tick)).collect();
        assert!(all.len() > 990);
        assert!(all.iter().all(|delay| (80.0..=120.0).contains(&delay.as_secs_f64())));
        assert!(all.first().unwrap().as_secs_f64() < 85.0 && all.last().unwrap().as_secs_f64() > 115.0);
    }

    #[test]
    fn failures_are_retried_soon_and_then_ever_later() {
        let mut pace = Pace::new(Duration::from_secs(180));
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..10 {
            pace.failed(now, true);
            delays.push(pace.delay().as_secs());
        }
        assert_eq!(delays, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        pace.succeeded(now);
        assert_eq!(pace.delay(), Duration::from_secs(180));
        pace.failed(now, false);
        assert_eq!(pace.delay(), LONGEST_RETRY);
    }
}
