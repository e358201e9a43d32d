//! THE loop: a batch of commands in, decide, append once, and only then replies and effects out.
//!
//! One plain thread owns the store and is the only writer of the state. Everybody else talks to it through a bounded
//! inbox and reads the state under a read lock; the write lock is held through the append, so nobody sees what is not
//! saved. When an append fails, memory is ahead of the log: the state is built anew from the log under that same lock,
//! what was stored after all is told of as if nothing had happened, and another pass follows at once.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::domain::dispatch::command::{Command, Outcome};
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::history::{MAX_PAGE, RunFilter, RunRow};
use crate::domain::dispatch::observation::Observation;
use crate::domain::dispatch::snapshot::{self, SNAPSHOT_VERSION};
use crate::domain::dispatch::{State, decide, next_wakeup, schedule};
use crate::domain::ids::{AgentName, Digest, Epoch, Seq};
use crate::domain::time::Timestamp;
use crate::store::{Batch, History, Store, StoreError};

/// Commands that wait at most: beyond that, whoever asks waits. Some seconds of work at 100,000 events a second.
const INBOX: usize = 65_536;
/// Commands of one batch at most, so that the first in a batch does not wait long for the last.
const MAX_BATCH: usize = 4096;
/// Events between two snapshots: starting again folds at most this many, in well under a second.
const SNAPSHOT_EVERY: u64 = 100_000;
/// Least time between two appends under load: what arrives meanwhile shares the next one, which costs the disk the same.
/// The first command after a pause does not wait.
const GATHER: Duration = Duration::from_millis(2);
/// Longest sleep of the loop without work.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Why the engine did not do what it was asked, although nothing was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The append failed; whether it happened is not known until the log has been read again.
    #[error("the store failed: {0}")]
    Store(String),
    /// The engine has stopped.
    #[error("the server is stopping")]
    Stopped,
}

/// The answer to a command, given after it is saved.
pub type Answer = Result<Outcome, EngineError>;

/// Receives the events of each saved batch, in order. Must not block for long.
pub type EventSink = Box<dyn FnMut(Seq, Timestamp, &[Event]) + Send>;

enum Message {
    /// In a box: the room for all messages is there from the beginning.
    Ask(Box<Asked>),
    Agent {
        name: AgentName,
        up: bool,
    },
    Stop,
}

struct Asked {
    command: Command,
    bodies: Vec<(Digest, Vec<u8>)>,
    answer: Option<tokio::sync::oneshot::Sender<Answer>>,
}

/// The way to the engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inbox: SyncSender<Message>,
    state: Arc<RwLock<State>>,
    history: Arc<dyn History>,
    saved: tokio::sync::watch::Receiver<Seq>,
    epoch: Epoch,
}

impl Engine {
    /// Loads the state from the store and starts the loop. The second part of the result ends when the loop has.
    pub fn start(
        mut store: Box<dyn Store>,
        sink: EventSink,
    ) -> Result<(Self, std::thread::JoinHandle<()>), StoreError> {
        let epoch = store.open_epoch()?;
        let (state, last, now) = load(store.as_mut())?;
        let history = store.reader();
        let state = Arc::new(RwLock::new(state));
        let (inbox, messages) = sync_channel(INBOX);
        let (saved_tx, saved) = tokio::sync::watch::channel(last);
        let mut own = Loop {
            store,
            epoch,
            last,
            now,
            state: state.clone(),
            sink,
            saved: saved_tx,
            snapshot_at: last,
            appended: None,
        };
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || own.run(&messages)).map_err(
            |source| StoreError::File { action: "start the engine's thread for", path: "store".into(), source },
        )?;
        Ok((Self { inbox, state, history, saved, epoch }, thread))
    }

    /// The term of this server: everything that it hands to targets bears it.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Asks for something and waits until the answer is saved.
    pub async fn ask(&self, command: Command, bodies: Vec<(Digest, Vec<u8>)>) -> Answer {
        let (answer, reply) = tokio::sync::oneshot::channel();
        let message = Message::Ask(Box::new(Asked { command, bodies, answer: Some(answer) }));
        let inbox = self.inbox.clone();
        // A full inbox makes the sender wait, which must not happen on a thread of the runtime.
        let sent = match inbox.try_send(message) {
            Ok(()) => true,
            Err(std::sync::mpsc::TrySendError::Disconnected(_)) => false,
            Err(std::sync::mpsc::TrySendError::Full(message)) => {
                tokio::task::spawn_blocking(move || inbox.send(message).is_ok()).await.unwrap_or(false)
            }
        };
        if !sent {
            return Err(EngineError::Stopped);
        }
        reply.await.unwrap_or(Err(EngineError::Stopped))
    }

    /// As [`Engine::ask`], for threads outside the runtime.
    pub fn ask_blocking(&self, command: Command, bodies: Vec<(Digest, Vec<u8>)>) -> Answer {
        self.ask_later(command, bodies)?.blocking_recv().unwrap_or(Err(EngineError::Stopped))
    }

    /// As [`Engine::ask_blocking`], and hears the answer later, so that several commands share one append.
    pub fn ask_later(
        &self,
        command: Command,
        bodies: Vec<(Digest, Vec<u8>)>,
    ) -> Result<tokio::sync::oneshot::Receiver<Answer>, EngineError> {
        let (answer, reply) = tokio::sync::oneshot::channel();
        let message = Message::Ask(Box::new(Asked { command, bodies, answer: Some(answer) }));
        self.inbox.send(message).map_err(|_| EngineError::Stopped)?;
        Ok(reply)
    }

    /// Hands over what a target has seen; blocks while the inbox is full.
    pub fn observe(&self, observations: Vec<Observation>) {
        for observation in observations {
            let command = Command::Observe(observation);
            let asked = Asked { command, bodies: Vec::new(), answer: None };
            if self.inbox.send(Message::Ask(Box::new(asked))).is_err() {
                return;
            }
        }
    }

    /// Tells whether an agent's target can be reached.
    pub fn set_agent_up(&self, name: AgentName, up: bool) {
        // After the engine has stopped nobody is interested any more.
        let _ = self.inbox.send(Message::Agent { name, up });
    }

    /// Looks at the state; everything in it is saved.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The finished runs and everything else that is not needed for decisions.
    pub fn history(&self) -> &Arc<dyn History> {
        &self.history
    }

    /// Runs of the history on all pages, at most about `cap`.
    pub fn all_runs(&self, filter: &RunFilter, cap: usize) -> Result<Vec<RunRow>, StoreError> {
        let mut rows: Vec<RunRow> = Vec::new();
        loop {
            let cursor = rows.last().map(|row| row.seq);
            let page = self.history.runs(&RunFilter { cursor, limit: MAX_PAGE, ..filter.clone() })?;
            let last = page.len() < MAX_PAGE;
            rows.extend(page);
            if last || rows.len() >= cap {
                return Ok(rows);
            }
        }
    }

    /// The last saved event, as it changes.
    pub fn saved(&self) -> tokio::sync::watch::Receiver<Seq> {
        self.saved.clone()
    }

    /// Saves a snapshot and ends the loop after what is already in the inbox.
    pub fn stop(&self) {
        let _ = self.inbox.send(Message::Stop);
    }
}

/// What the loop owns.
struct Loop {
    store: Box<dyn Store>,
    epoch: Epoch,
    last: Seq,
    /// The time of the last batch; time never goes back.
    now: Timestamp,
    state: Arc<RwLock<State>>,
    sink: EventSink,
    saved: tokio::sync::watch::Sender<Seq>,
    snapshot_at: Seq,
    /// When the last append returned.
    appended: Option<Instant>,
}

/// What the loop does after a batch.
enum Next {
    /// It waits for a message or for what is due by itself.
    Sleep,
    /// Another pass is due at once.
    Again,
    /// This server writes no more.
    End,
}

impl Loop {
    fn run(&mut self, messages: &Receiver<Message>) {
        let mut again = true;
        loop {
            let sleep = if again { Duration::ZERO } else { self.until_wakeup() };
            let mut batch = match messages.recv_timeout(sleep) {
                Ok(message) => vec![message],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => vec![Message::Stop],
            };
            if let Some(since) = self.appended.map(|at| at.elapsed())
                && since < GATHER
                && !batch.is_empty()
            {
                std::thread::sleep(GATHER - since);
            }
            while batch.len() < MAX_BATCH
                && let Ok(message) = messages.try_recv()
            {
                batch.push(message);
            }
            let stop = batch.iter().any(|message| matches!(message, Message::Stop));
            match self.step(batch) {
                Next::Sleep => again = false,
                Next::Again => again = true,
                Next::End => return,
            }
            if stop || self.last.0 - self.snapshot_at.0 >= SNAPSHOT_EVERY {
                self.save_snapshot();
            }
            if stop {
                return;
            }
        }
    }

    /// One batch.
    fn step(&mut self, batch: Vec<Message>) -> Next {
        self.now = self.now.max(wall_clock());
        let now = self.now;
        let (mut events, mut bodies, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        let shared = self.state.clone();
        let mut state = shared.write().unwrap_or_else(PoisonError::into_inner);
        for message in batch {
            match message {
                Message::Ask(asked) => {
                    let Asked { command, bodies: with, answer } = *asked;
                    let decision = decide(&state, now, &command);
                    for event in &decision.events {
                        state.apply(now, event);
                    }
                    if !decision.events.is_empty() {
                        bodies.extend(with);
                    }
                    events.extend(decision.events);
                    answers.extend(answer.map(|answer| (answer, decision.outcome)));
                }
                Message::Agent { name, up } => state.set_agent_up(&name, up),
                Message::Stop => {}
            }
        }
        let (more, again) = schedule(&mut state, now);
        events.extend(more);
        if !events.is_empty() {
            let batch = Batch { expected: self.last, epoch: self.epoch, at: now, events, bodies };
            match self.store.append(&batch) {
                Ok(last) => (self.last, self.appended) = (last, Some(Instant::now())),
                Err(error) => {
                    let missed = self.rebuild(&mut state, &error);
                    drop(state);
                    let failed = || Err(EngineError::Store(error.to_string()));
                    answers.into_iter().for_each(|(answer, _)| drop(answer.send(failed())));
                    let Some(missed) = missed else { return Next::End };
                    self.tell(&missed);
                    std::thread::sleep(Duration::from_millis(100)); // a full disk should not make the loop spin
                    // What the lost pass would have done is still to be done.
                    return Next::Again;
                }
            }
            drop(state);
            self.tell(&batch.events);
        } else {
            drop(state);
        }
        // An answer that nobody waits for any more is no trouble.
        answers.into_iter().for_each(|(answer, outcome)| drop(answer.send(Ok(outcome))));
        if again { Next::Again } else { Next::Sleep }
    }

    /// Tells of what was saved.
    fn tell(&mut self, events: &[Event]) {
        if !events.is_empty() {
            self.saved.send_replace(self.last);
            (self.sink)(self.last, self.now, events);
        }
    }

    fn until_wakeup(&self) -> Duration {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let wait = next_wakeup(&state).map(|at| Duration::from_millis(at.since(wall_clock()).0));
        wait.map_or(LONGEST_SLEEP, |wait| wait.clamp(Duration::from_millis(1), LONGEST_SLEEP))
    }

    /// Builds the state from the log after an append that failed; keeps what is known of the agents. Answers the events
    /// that were stored after all and that nobody has been told of; `None` when this server can go on no more.
    fn rebuild(&mut self, state: &mut State, error: &StoreError) -> Option<Vec<Event>> {
        let cause = error as &dyn std::error::Error;
        tracing::error!(error = cause, "the store failed; the state is built anew");
        if matches!(error, StoreError::Fenced { .. }) {
            return None;
        }
        let mut missed = Vec::new();
        let read = load(self.store.as_mut()).and_then(|loaded| {
            self.store.replay(self.last, &mut |_, _, event| missed.push(event))?;
            Ok(loaded)
        });
        match read {
            Ok((mut fresh, last, now)) => {
                let up = state.agents().filter(|agent| agent.up);
                up.for_each(|agent| fresh.set_agent_up(agent.name, true));
                *state = fresh;
                (self.last, self.now) = (last, self.now.max(now));
                Some(missed)
            }
            Err(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::error!(error = cause, "the log cannot be read: the server stops");
                None
            }
        }
    }

    fn save_snapshot(&mut self) {
        let taken = snapshot::take(&self.state.read().unwrap_or_else(PoisonError::into_inner));
        let saved = serde_json::to_vec(&taken).map_err(|error| error.to_string()).and_then(|data| {
            self.store.save_snapshot(self.last, SNAPSHOT_VERSION, &data).map_err(|error| error.to_string())
        });
        match saved {
            Ok(()) => self.snapshot_at = self.last,
            // A snapshot is only a cache; the log is complete without it.
            Err(error) => tracing::warn!(error, "no snapshot could be saved"),
        }
    }
}

/// The state at the end of the log: the newest readable snapshot and the events after it.
fn load(store: &mut dyn Store) -> Result<(State, Seq, Timestamp), StoreError> {
    let loaded = store.load()?;
    let snapshot = loaded.snapshot.filter(|snapshot| snapshot.version == SNAPSHOT_VERSION);
    let restored = snapshot.and_then(|stored| match serde_json::from_slice(&stored.data) {
        Ok(read) => Some((snapshot::restore(read), stored.seq)),
        Err(error) => {
            tracing::warn!(%error, "the snapshot cannot be read; the whole log is");
            None
        }
    });
    let (mut state, from) = restored.unwrap_or_default();
    let mut now = Timestamp::default();
    let last = store.replay(from, &mut |_, at, event| {
        state.apply(at, &event);
        now = at;
    })?;
    Ok((state, last, now))
}

/// The time by this machine's clock.
pub fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// An error and its causes in one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
