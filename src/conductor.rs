//! Leads what makes other runs or hangs on them: one thread that reads what was saved, asks the rules what follows, and
//! submits it: the children of pipelines, the values of runs that wait for others, the hooks of those that have ended.
//!
//! Nothing is remembered here that could be lost: what a pipeline has come to is read off its rows at every start, and
//! a step that was asked for and not heard of is asked for again.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::catalog::{CompiledOperation, Join};
use crate::domain::dispatch::State;
use crate::domain::dispatch::command::{ComesTo, Command, Follow, Outcome, Prepare};
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::history::{MAX_PAGE, Parent, RunFilter, RunOrder, RunRow};
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{AgentName, Attempt, AttemptName, Digest, ProjectName, RunId};
use crate::domain::query::{Query, QueryError, parse_sort};
use crate::domain::spec::links::MAX_JOINED;
use crate::domain::workflow::conductor::{Conductor, Records, Unreadable};
use crate::domain::workflow::follow::following;
use crate::domain::workflow::render::Globals;
use crate::domain::workflow::waiting::Waiting;
use crate::engine::{Engine, EngineError, wall_clock};
use crate::store::History;

/// How long is waited after a failure of the store.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is looked what runs report while they run.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of reports of one attempt that are read at most; beyond it nothing more is heard of it before its end.
const MAX_METRICS: u64 = 4 << 20;

/// The file that an attempt writes its reports to while it runs, when it lies on this machine.
pub type MetricsFile = Box<dyn Fn(&AgentName, AttemptName) -> Option<PathBuf> + Send>;

/// What a conductor asks of the world around it.
pub struct Outside {
    /// Where runs report metrics while they run.
    pub metrics: MetricsFile,
    /// How the organization is called.
    pub owner: Box<dyn Fn() -> String + Send>,
}

enum Message {
    Saved(Vec<Event>),
    Stop,
}

/// The way to the conductor; cheap to clone.
#[derive(Clone)]
pub struct Conducting {
    send: Sender<Message>,
    /// Whether this server has runs that lead to others: before it has, nothing needs to be told.
    is_needed: Arc<AtomicBool>,
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
        Self { conducting: Conducting { send, is_needed: Arc::default() }, receive }
    }

    /// The way to it; what is sent waits for [`Unstarted::start`].
    pub fn handle(&self) -> Conducting {
        self.conducting.clone()
    }

    /// Starts it.
    pub fn start(self, engine: Engine, outside: Outside) -> std::thread::JoinHandle<()> {
        let Self { conducting, receive } = self;
        let (conductor, waiting) = Default::default();
        let mut leading =
            Leading { engine, conducting, conductor, waiting, has_ended: true, outside, read: BTreeMap::new() };
        std::thread::spawn(move || leading.run(&receive))
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
        let leads = |event: &Event| matches!(event, Event::RunCreated(run) if run.pipeline.is_some() || run.unprepared || run.followed);
        if !self.is_needed.load(Ordering::Relaxed) {
            if !events.iter().any(leads) {
                return;
            }
            self.is_needed.store(true, Ordering::Relaxed);
        }
        let matters = |event: &&Event| match event {
            Event::RunCreated(_) => leads(event),
            Event::RunApproved { .. }
            | Event::RunBuilding { .. }
            | Event::RunScheduled { .. }
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
    waiting: Waiting,
    /// Whether runs have ended since it was last looked whether something follows them.
    has_ended: bool,
    outside: Outside,
    /// How far the reports of runs have been read, and of which attempt.
    read: BTreeMap<RunId, (Attempt, u64)>,
}

impl Leading {
    fn run(&mut self, receive: &Receiver<Message>) {
        self.take_up();
        loop {
            match self.steps().and_then(|()| self.prepare()).and_then(|()| self.follow()) {
                Ok(()) => {}
                Err(EngineError::Stopped) => return,
                Err(EngineError::Store(why)) => {
                    // What happened and what did not is only known from the rows.
                    tracing::warn!(why, "pipelines, and what waits for others, are taken up anew");
                    std::thread::sleep(PAUSE);
                    (self.conductor, self.waiting) = Default::default();
                    self.take_up();
                }
            }
            let first = match self.conductor.is_due() || self.waiting.is_due() {
                // While somebody reports, it is looked at what; without, only what is told matters.
                false if !self.measure() => receive.recv().ok(),
                false => match receive.recv_timeout(LOOK) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => None,
                },
                true => match receive.try_recv() {
                    Ok(message) => Some(message),
                    Err(TryRecvError::Empty) => continue,
                    Err(TryRecvError::Disconnected) => None,
                },
            };
            let Some(first) = first else { return };
            for message in std::iter::once(first).chain(receive.try_iter()) {
                match message {
                    Message::Saved(events) => events.iter().for_each(|event| {
                        self.conductor.saw(event);
                        self.waiting.saw(event);
                        self.has_ended |= matches!(event, Event::RunFinished { .. });
                    }),
                    Message::Stop => return,
                }
            }
        }
    }

    fn take_up(&mut self) {
        let (found, open, needed) = self.engine.read(|state| {
            let pipelines = state.runs().filter(|run| run.pipeline && run.status != Status::Stopping);
            let found: Vec<(RunId, bool)> = pipelines.map(|run| (run.id, run.status == Status::Running)).collect();
            (found, state.to_prepare().collect::<Vec<_>>(), state.leads_to_others())
        });
        if !found.is_empty() || needed {
            self.conducting.is_needed.store(true, Ordering::Relaxed);
        }
        self.conductor.take_up(found);
        self.waiting.take_up(open);
        self.has_ended = true;
    }

    /// Asks for everything that follows now, and hears what became of it.
    fn steps(&mut self) -> Result<(), EngineError> {
        let steps = self.conductor.steps(&Rows::of(&self.engine, &self.outside));
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
            match heard(answer) {
                Ok(Outcome::Done | Outcome::Already) => {}
                Ok(Outcome::Refused(rejection)) => self.conductor.refused(pipeline, rejection.to_string()),
                Err(error) => drop(failed.insert(pipeline, error)),
            }
        }
        failed.into_values().next().map_or(Ok(()), Err)
    }
}

impl Leading {
    /// Settles what the runs that wait for others are made of, as far as that is known now.
    fn prepare(&mut self) -> Result<(), EngineError> {
        let engine = &self.engine;
        let awaits = |run: RunId| engine.read(|state| state.awaits(run));
        let ready = self.waiting.steps(awaits, &Rows::of(engine, &self.outside));
        if ready.is_empty() && self.waiting.is_due() {
            std::thread::sleep(PAUSE);
        }
        let mut answers = Vec::new();
        for (prepare, bodies) in ready {
            let (run, spec) = (prepare.run, prepare.spec);
            answers.push((run, spec, engine.ask_later(Command::Prepare(prepare), bodies)?));
        }
        for (run, spec, answer) in answers {
            let Outcome::Refused(why) = heard(answer)? else { continue };
            // Its build cannot be started (its queue is gone).
            let cause = Cause::new("Refused", format!("its build cannot be started: {why}"));
            let prepare = Prepare { run, spec, comes_to: ComesTo::Ended(Status::Failed, cause) };
            engine.ask_blocking(Command::Prepare(prepare), Vec::new())?;
        }
        Ok(())
    }

    /// Reads what runs have reported since the last look, where a policy wants it; whether any does.
    fn measure(&mut self) -> bool {
        let wanted = self.conductor.to_measure();
        self.read.retain(|run, _| wanted.contains(run));
        for run in &wanted {
            let found = self.engine.read(|state| state.run(*run).map(|run| (run.agent.clone(), Attempt(run.attempt))));
            let Some((agent, attempt)) = found else { continue };
            let Some(path) = (self.outside.metrics)(&agent, AttemptName { run: *run, attempt }) else { continue };
            let from = self.read.get(run).filter(|(of, _)| *of == attempt).map_or(0, |(_, from)| *from);
            let (reports, until) = new_reports(&path, from);
            self.read.insert(*run, (attempt, until));
            if !reports.is_empty() {
                self.conductor.measured(*run, attempt, &reports);
            }
        }
        !wanted.is_empty()
    }

    /// Starts what follows the runs that have ended.
    fn follow(&mut self) -> Result<(), EngineError> {
        if !std::mem::take(&mut self.has_ended) {
            return Ok(());
        }
        for run in self.engine.read(|state| state.to_follow().collect::<Vec<_>>()) {
            let rows = Rows::of(&self.engine, &self.outside);
            let read = rows.run(run).and_then(|row| rows.operation(row.spec).map(|operation| (row, operation)));
            let (follow, bodies) = match read {
                Ok((row, operation)) => following(&row, &operation),
                Err(Unreadable::Now(why)) => return Err(EngineError::Store(why)),
                Err(Unreadable::Lost(why)) => {
                    tracing::error!(%run, why, "what follows a run cannot be read, and is not started");
                    (Follow { of: run, runs: Vec::new() }, Vec::new())
                }
            };
            self.start_following(follow, bodies)?;
        }
        Ok(())
    }

    /// Starts them; what is refused (its queue is gone) is recorded as failed, as far as that is possible.
    fn start_following(&self, mut follow: Follow, bodies: Vec<(Digest, Vec<u8>)>) -> Result<(), EngineError> {
        let Outcome::Refused(why) = self.engine.ask_blocking(Command::Follow(follow.clone()), bodies.clone())? else {
            return Ok(());
        };
        tracing::warn!(run = %follow.of, %why, "a hook cannot be started");
        let queue = self.engine.history().run(follow.of).ok().flatten().map(|row| row.queue);
        for child in &mut follow.runs {
            child.ended.get_or_insert((Status::Failed, Cause::new("Refused", why.to_string())));
            child.run.queue = queue.clone().unwrap_or_else(|| child.run.queue.clone());
        }
        if let Outcome::Refused(why) = self.engine.ask_blocking(Command::Follow(follow.clone()), bodies)? {
            tracing::error!(run = %follow.of, %why, "hooks are neither started nor recorded");
            follow.runs.clear();
            self.engine.ask_blocking(Command::Follow(follow), Vec::new())?;
        }
        Ok(())
    }
}

/// The whole lines of a file from a place on, those of them that are JSON objects, and where they end.
fn new_reports(path: &Path, from: u64) -> (Vec<Map<String, Value>>, u64) {
    // A run that reports nothing has no file; a pipe that nobody writes to is none either.
    let read = || -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        if std::fs::symlink_metadata(path)?.is_file() {
            let mut file = std::fs::File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            file.take(MAX_METRICS.saturating_sub(from)).read_to_end(&mut text)?;
        }
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let lines = text[..end].split(|byte| *byte == b'\n');
    (lines.filter_map(|line| serde_json::from_slice(line).ok()).collect(), from + end as u64)
}

fn heard(answer: tokio::sync::oneshot::Receiver<crate::engine::Answer>) -> Result<Outcome, EngineError> {
    answer.blocking_recv().unwrap_or(Err(EngineError::Stopped))
}

/// What is recorded, and what else programmes may know.
struct Rows<'h> {
    history: &'h dyn History,
    engine: &'h Engine,
    outside: &'h Outside,
}

impl<'h> Rows<'h> {
    fn of(engine: &'h Engine, outside: &'h Outside) -> Self {
        Self { history: engine.history().as_ref(), engine, outside }
    }
}

impl Records for Rows<'_> {
    fn operation(&self, digest: Digest) -> Result<Arc<CompiledOperation>, Unreadable> {
        let bytes = self.history.body(digest).map_err(|error| Unreadable::Now(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| Unreadable::Lost(format!("operation {digest} is not in the store")))?;
        serde_json::from_slice(&bytes).map(Arc::new).map_err(|error| Unreadable::Lost(error.to_string()))
    }

    fn run(&self, id: RunId) -> Result<RunRow, Unreadable> {
        let row = self.history.run(id).map_err(|error| Unreadable::Now(error.to_string()))?;
        row.ok_or_else(|| Unreadable::Lost(format!("there is no run {id}")))
    }

    fn statuses(&self, id: RunId) -> Result<Vec<Status>, Unreadable> {
        self.run(id)?;
        let timeline = self.history.conditions(id).map_err(|error| Unreadable::Now(error.to_string()))?;
        Ok(timeline.into_iter().filter_map(|condition| condition.status).collect())
    }

    fn joined(&self, project: &ProjectName, own: RunId, join: &Join) -> Result<Result<Vec<RunRow>, Cause>, Unreadable> {
        let wrong =
            |error: QueryError| Cause::new("InvalidJoin", format!("its join cannot be read: {}", error.message));
        let sort = join.sort.as_deref().map_or(Ok(Vec::new()), parse_sort);
        let (query, sort) = match (Query::parse(&join.query, wall_clock()), sort) {
            (Ok(query), Ok(sort)) => (Some(query), sort),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(wrong(error))),
        };
        let most = usize::try_from(join.limit.min(MAX_JOINED)).unwrap_or(usize::MAX);
        let (project, mut rows) = (Some(project.clone()), Vec::new());
        let mut filter = RunFilter { project, query, sort, limit: MAX_PAGE, ..RunFilter::default() };
        filter.skip = usize::try_from(join.offset).unwrap_or(usize::MAX);
        loop {
            let page = self.history.runs(&filter).map_err(|error| Unreadable::Now(error.to_string()))?;
            let last = page.len() < MAX_PAGE;
            filter.skip = filter.skip.saturating_add(page.len());
            rows.extend(page.into_iter().filter(|row| row.id != own));
            if last || rows.len() >= most {
                rows.truncate(most);
                return Ok(Ok(rows));
            }
        }
    }

    fn surroundings(&self, agent: &AgentName) -> Globals {
        let target =
            |state: &State| state.agents().find(|known| known.name == agent).map(|of| of.policy.target.clone());
        Globals::of_target(self.engine.read(target).as_ref(), (self.outside.owner)())
    }

    fn children(&self, pipeline: RunId, each: &mut dyn FnMut(RunRow)) -> Result<(), Unreadable> {
        let mut cursor = None;
        loop {
            let (parent, order, limit) = (Parent::Is(pipeline), RunOrder::OldestFirst, MAX_PAGE);
            let filter = RunFilter { parent, order, cursor, limit, ..RunFilter::default() };
            let page = self.history.runs(&filter).map_err(|error| Unreadable::Now(error.to_string()))?;
            cursor = page.last().map(|row| row.seq);
            let last = page.len() < MAX_PAGE;
            page.into_iter().for_each(&mut *each);
            if last {
                return Ok(());
            }
        }
    }
}
