//! Says when to look again: after a push into a local repository, an edit in a working tree, a poll, a nudge.
//!
//! It is a hint and never a fact: what has happened is found out by looking. So events may be merged, doubled or lost;
//! the poll catches what file events miss.

mod eyes;
mod pace;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::Event;

use super::Result;
use super::error::SourceError;
use eyes::Eyes;
use pace::Pace;

/// However long a burst lasts, a hint leaves after this many quiet times.
const LONGEST_BURST: u32 = 10;
/// The least time between two nudges that are passed on: a thousand webhooks in a second become three looks.
const NUDGE_GAP: Duration = Duration::from_millis(500);
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
