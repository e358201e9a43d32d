//! Leads pipelines in the shell: one thread that reads what was saved, asks the rules what follows, and submits it.
//!
//! Nothing is remembered here that could be lost: what a pipeline has come to is read off its rows at every start, and
//! a step that was asked for and not heard of is asked for again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use crate::domain::catalog::CompiledOperation;
use crate::domain::dispatch::command::{Command, Outcome};
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::history::{MAX_PAGE, Parent, RunFilter, RunOrder, RunRow};
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Digest, RunId};
use crate::domain::workflow::conductor::{Conductor, Records, Unreadable};
use crate::engine::{Engine, EngineError};
use crate::store::History;

/// How long is waited after a failure of the store.
const PAUSE: Duration = Duration::from_millis(200);

enum Message {
    Saved(Vec<Event>),
    Stop,
}

/// The way to the conductor; cheap to clone.
#[derive(Clone)]
pub struct Conducting {
    send: Sender<Message>,
    /// Whether this server has pipelines: before it has, nothing needs to be told.
    has_pipelines: Arc<AtomicBool>,
}

/// A conductor before its engine exists: the engine needs the way to the conductor, and the conductor the engine.
pub struct Unstarted {
    conducting: Conducting,
    receive: Receiver<Message>,
}

impl Unstarted {
    /// A conductor that is not under way yet.
    pub fn new() -> Self {
        let (send, receive) = channel();
        Self { conducting: Conducting { send, has_pipelines: Arc::default() }, receive }
    }

    /// The way to it; what is sent waits for [`Unstarted::start`].
    pub fn handle(&self) -> Conducting {
        self.conducting.clone()
    }

    /// Starts it.
    pub fn start(self, engine: Engine) -> std::thread::JoinHandle<()> {
        let Self { conducting, receive } = self;
        std::thread::spawn(move || Leading { engine, conducting, conductor: Conductor::default() }.run(&receive))
    }
}

impl Default for Unstarted {
    fn default() -> Self {
        Self::new()
    }
}

impl Conducting {
    /// A batch was saved.
    pub fn saved(&self, events: &[Event]) {
        let makes_pipeline = |event: &Event| matches!(event, Event::RunCreated(run) if run.pipeline.is_some());
        if !self.has_pipelines.load(Ordering::Relaxed) {
            if !events.iter().any(makes_pipeline) {
                return;
            }
            self.has_pipelines.store(true, Ordering::Relaxed);
        }
        let matters = |event: &&Event| match event {
            Event::RunCreated(_) => makes_pipeline(event),
            Event::RunScheduled { .. }
            | Event::RunProgressed { .. }
            | Event::RunRetrying { .. }
            | Event::RunStopping { .. }
            | Event::PipelineStopping { .. }
            | Event::RunFinished { .. } => true,
            _ => false,
        };
        let events: Vec<Event> = events.iter().filter(matters).cloned().collect();
        if !events.is_empty() {
            // A conductor that has ended misses nothing: the next start reads the rows.
            let _ = self.send.send(Message::Saved(events));
        }
    }

    /// Ends it after what it was told.
    pub fn stop(&self) {
        let _ = self.send.send(Message::Stop);
    }
}

struct Leading {
    engine: Engine,
    conducting: Conducting,
    conductor: Conductor,
}

impl Leading {
    fn run(mut self, receive: &Receiver<Message>) {
        self.take_up();
        loop {
            match self.steps() {
                Ok(()) => {}
                Err(EngineError::Stopped) => return,
                Err(EngineError::Store(why)) => {
                    // What happened and what did not is only known from the rows.
                    tracing::warn!(why, "pipelines are taken up anew");
                    std::thread::sleep(PAUSE);
                    self.conductor = Conductor::default();
                    self.take_up();
                }
            }
            let first = match self.conductor.is_due() {
                false => receive.recv().ok(),
                true => match receive.try_recv() {
                    Ok(message) => Some(message),
                    Err(TryRecvError::Empty) => continue,
                    Err(TryRecvError::Disconnected) => None,
                },
            };
            let Some(first) = first else { return };
            for message in std::iter::once(first).chain(receive.try_iter()) {
                match message {
                    Message::Saved(events) => events.iter().for_each(|event| self.conductor.saw(event)),
                    Message::Stop => return,
                }
            }
        }
    }

    fn take_up(&mut self) {
        let found: Vec<(RunId, bool)> = self.engine.read(|state| {
            let pipelines = state.runs().filter(|run| run.pipeline && run.status != Status::Stopping);
            pipelines.map(|run| (run.id, run.status == Status::Running)).collect()
        });
        if !found.is_empty() {
            self.conducting.has_pipelines.store(true, Ordering::Relaxed);
        }
        self.conductor.take_up(found);
    }

    /// Asks for everything that follows now, and hears what became of it.
    fn steps(&mut self) -> Result<(), EngineError> {
        let steps = self.conductor.steps(&Rows(self.engine.history().as_ref()));
        if steps.is_empty() && self.conductor.is_due() {
            // Something cannot be read now.
            std::thread::sleep(PAUSE);
        }
        let mut answers = Vec::new();
        for step in steps {
            let pipeline = step.advance.pipeline;
            answers.push((pipeline, self.engine.ask_later(Command::Advance(Box::new(step.advance)), step.bodies)?));
        }
        let mut failed = BTreeMap::new();
        for (pipeline, answer) in answers {
            match answer.blocking_recv().unwrap_or(Err(EngineError::Stopped)) {
                Ok(Outcome::Done | Outcome::Already) => {}
                Ok(Outcome::Refused(rejection)) => self.conductor.refused(pipeline, rejection.to_string()),
                Err(error) => drop(failed.insert(pipeline, error)),
            }
        }
        failed.into_values().next().map_or(Ok(()), Err)
    }
}

struct Rows<'h>(&'h dyn History);

impl Records for Rows<'_> {
    fn operation(&self, digest: Digest) -> Result<Arc<CompiledOperation>, Unreadable> {
        let bytes = self.0.body(digest).map_err(|error| Unreadable::Now(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| Unreadable::Lost(format!("operation {digest} is not in the store")))?;
        serde_json::from_slice(&bytes).map(Arc::new).map_err(|error| Unreadable::Lost(error.to_string()))
    }

    fn run(&self, id: RunId) -> Result<RunRow, Unreadable> {
        let row = self.0.run(id).map_err(|error| Unreadable::Now(error.to_string()))?;
        row.ok_or_else(|| Unreadable::Lost(format!("there is no run {id}")))
    }

    fn children(&self, pipeline: RunId, each: &mut dyn FnMut(RunRow)) -> Result<(), Unreadable> {
        let mut cursor = None;
        loop {
            let (parent, order, limit) = (Parent::Is(pipeline), RunOrder::OldestFirst, MAX_PAGE);
            let filter = RunFilter { parent, order, cursor, limit, ..RunFilter::default() };
            let page = self.0.runs(&filter).map_err(|error| Unreadable::Now(error.to_string()))?;
            cursor = page.last().map(|row| row.seq);
            let last = page.len() < MAX_PAGE;
            page.into_iter().for_each(&mut *each);
            if last {
                return Ok(());
            }
        }
    }
}
