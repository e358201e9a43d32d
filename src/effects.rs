//! Carries what is owed to the targets, and what they see to the engine.
//!
//! What is owed is read off the state, so that starting, retrying and recovering are one way: a saved batch releases its
//! own effects, and an agent that can be reached (again) is given everything that is owed to it.

mod agents;
mod gone;
mod identity;
mod launching;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use self::gone::{LOOK, Left};
use self::identity::place_of;
use crate::domain::catalog::{AgentPolicy, CompiledOperation};
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::history::{RunFilter, RunRow};
use crate::domain::dispatch::observation::{Observation, Seen};
use crate::domain::dispatch::status::Status;
use crate::domain::dispatch::{Owed, outbox};
use crate::domain::ids::{AgentName, Attempt, AttemptName, Digest, Epoch, RunId};
use crate::domain::kubernetes::gone::Gone;
use crate::domain::kubernetes::lease::Holder;
use crate::domain::spec::TargetSpec;
use crate::domain::time::Span;
use crate::engine::{Engine, wall_clock};
use crate::target::{Effect, Report, ReportSink, Target};

/// Time between asking an operation to stop and killing it (Kubernetes' default is 30 s; people at a terminal wait).
const STOP_GRACE: Span = Span::seconds(10);

/// What the courier is told.
enum Message {
    /// A batch was saved.
    Saved(Vec<Event>),
    /// A target reports.
    Report(Report),
    /// The agents are these now.
    Agents(BTreeMap<AgentName, AgentPolicy>),
    /// End.
    Stop,
}

/// The way to the courier: one thread that owns the targets.
#[derive(Clone)]
pub struct Effects {
    send: Sender<Message>,
    targets: Arc<RwLock<BTreeMap<AgentName, Arc<dyn Target>>>>,
    /// Why agents cannot be reached.
    troubles: Arc<RwLock<BTreeMap<AgentName, String>>>,
    /// Agents that have gone and left something in a cluster.
    gone: Arc<RwLock<BTreeMap<AgentName, Gone>>>,
    /// The name of the organization, as templates see it.
    owner: Arc<RwLock<String>>,
}

/// The owner in templates before an organization is known.
const NO_OWNER: &str = "default";

/// Effects before their engine exists: the engine needs the way to the courier, and the courier the engine.
pub struct Unstarted {
    effects: Effects,
    receive: Receiver<Message>,
}

impl Unstarted {
    /// A courier that is not under way yet.
    pub fn new() -> Self {
        let (send, receive) = channel();
        let owner = Arc::new(RwLock::new(NO_OWNER.to_owned()));
        let effects = Effects { send, targets: Arc::default(), troubles: Arc::default(), gone: Arc::default(), owner };
        Self { effects, receive }
    }

    /// The way to it; what is sent waits for [`Unstarted::start`].
    pub fn handle(&self) -> Effects {
        self.effects.clone()
    }

    /// Starts the courier. `data_dir` holds a directory for each local agent, `program` is the binary to supervise with.
    pub fn start(self, engine: Engine, data_dir: PathBuf, program: PathBuf) -> std::thread::JoinHandle<()> {
        let Self { effects, receive } = self;
        let epoch = engine.epoch();
        let (bodies, flying, opened, moving, left) = Default::default();
        let holder = Holder { place: place_of(&data_dir), process: uuid::Uuid::new_v4().simple().to_string() };
        let courier =
            Courier { engine, data_dir, program, epoch, holder, effects, bodies, flying, opened, moving, left };
        std::thread::spawn(move || courier.run(&receive))
    }
}

impl Default for Unstarted {
    fn default() -> Self {
        Self::new()
    }
}

impl Effects {
    /// A batch was saved: what it owes leaves now.
    pub fn saved(&self, events: &[Event]) {
        let owes = |event: &&Event| {
            matches!(
                event,
                Event::RunScheduled { .. }
                    | Event::RunStopping { .. }
                    | Event::RunRetrying { .. }
                    | Event::RunFinished { .. }
                    | Event::AgentGone { .. }
            )
        };
        let owing: Vec<Event> = events.iter().filter(owes).cloned().collect();
        if !owing.is_empty() {
            // A courier that has ended owes nothing: the next start reads the outbox.
            let _ = self.send.send(Message::Saved(owing));
        }
    }

    /// Opens targets of new agents, and tells of those that cannot be opened.
    pub fn set_agents(&self, agents: BTreeMap<AgentName, AgentPolicy>) {
        let _ = self.send.send(Message::Agents(agents));
    }

    /// Tells how the organization is called.
    pub fn set_owner(&self, owner: String) {
        *self.owner.write().unwrap_or_else(PoisonError::into_inner) = owner;
    }

    /// How the organization is called.
    pub fn owner(&self) -> String {
        self.owner.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why an agent cannot be reached, if that is known.
    pub fn trouble(&self, agent: &AgentName) -> Option<String> {
        self.troubles.read().unwrap_or_else(PoisonError::into_inner).get(agent).cloned()
    }

    /// Agents that were given up while their cluster was away, and that are looked out for.
    pub fn gone(&self) -> BTreeMap<AgentName, Gone> {
        self.gone.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, agent: AgentName, why: Option<String>) {
        let mut troubles = self.troubles.write().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => troubles.insert(agent, why),
            None => troubles.remove(&agent),
        };
    }

    /// The file with the log of an attempt, when its agent runs on this machine.
    pub fn log_file(&self, agent: &AgentName, attempt: AttemptName) -> Option<PathBuf> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.get(agent).and_then(|target| target.log_file(attempt))
    }

    /// Requests that were sent to the cluster of an agent so far, if it is one.
    pub fn requests(&self, agent: &AgentName) -> Option<u64> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).get(agent).and_then(|target| target.requests())
    }

    /// What agents declare and a cluster keeps, as it really is there; the reason where it could not be read.
    pub fn actual(&self) -> BTreeMap<AgentName, Result<TargetSpec, String>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Clusters that do not answer are waited for at the same time.

        std::thread::scope(|scope| {
            let looks: Vec<_> =
                targets.iter().map(|(name, target)| (name, scope.spawn(move || target.actual()))).collect();
            let found = looks.into_iter().filter_map(|(name, look)| Some((name.clone(), look.join().ok()??)));
            found.collect()
        })
    }

    /// The file with what an attempt reports while it runs, when its agent runs on this machine.
    pub fn metrics_file(&self, agent: &AgentName, attempt: AttemptName) -> Option<PathBuf> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.get(agent).and_then(|target| target.metrics_file(attempt))
    }

    /// Ends the courier and lets go of the targets; what runs goes on.
    pub fn stop(&self) {
        let _ = self.send.send(Message::Stop);
    }

    fn sink(&self) -> ReportSink {
        let send = std::sync::Mutex::new(self.send.clone());
        Arc::new(move |report| {
            let send = send.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = send.send(Message::Report(report));
        })
    }
}

struct Courier {
    engine: Engine,
    data_dir: PathBuf,
    program: PathBuf,
    epoch: Epoch,
    /// How this server calls itself in clusters.
    holder: Holder,
    effects: Effects,
    bodies: BTreeMap<Digest, Arc<CompiledOperation>>,
    /// The attempts that this courier launched, so that their ends need no look into the history.
    flying: BTreeMap<RunId, (AgentName, Attempt)>,
    /// What the targets were opened with.
    opened: BTreeMap<AgentName, TargetSpec>,
    /// Agents that are to point elsewhere once nothing of theirs runs where they point now.
    moving: BTreeMap<AgentName, TargetSpec>,
    /// What is left in the clusters of agents that have gone.
    left: Left,
}

/// Effects to deliver, by agent.
type Outgoing = BTreeMap<AgentName, Vec<Effect>>;

impl Courier {
    fn run(mut self, receive: &Receiver<Message>) {
        self.recall_gone();
        let mut looked = Instant::now();
        loop {
            if looked.elapsed() >= LOOK {
                self.drop_gone();
                looked = Instant::now();
            }
            let first = match receive.recv_timeout(LOOK) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut outgoing = Outgoing::new();
            for message in std::iter::once(first).chain(receive.try_iter()) {
                match message {
                    Message::Saved(events) => {
                        events.iter().for_each(|event| self.owed_by(event, &mut outgoing));
                        self.finish_moves();
                    }
                    Message::Report(report) => self.report(report, &mut outgoing),
                    Message::Agents(agents) => self.set_agents(agents),
                    Message::Stop => {
                        self.deliver(outgoing);
                        self.targets(|targets| targets.values().for_each(|target| target.close()));
                        return;
                    }
                }
            }
            self.deliver(outgoing);
        }
    }

    fn owed_by(&mut self, event: &Event, outgoing: &mut Outgoing) {
        match event {
            Event::RunScheduled { run, attempt } => {
                self.launch(AttemptName { run: *run, attempt: *attempt }, outgoing);
            }
            Event::RunStopping { run, .. } => {
                let attempt = self.engine.read(|state| state.run(*run).map(|run| (run.agent.clone(), run.attempt)));
                if let Some((agent, attempt)) = attempt {
                    let attempt = AttemptName { run: *run, attempt: Attempt(attempt) };
                    outgoing.entry(agent).or_default().push(Effect::Stop { attempt, grace: STOP_GRACE });
                }
            }
            Event::RunRetrying { run, attempt, .. } => {
                if let Some((agent, _)) = self.launched(*run) {
                    let attempt = AttemptName { run: *run, attempt: *attempt };
                    outgoing.entry(agent).or_default().push(Effect::Forget(attempt));
                }
            }
            Event::RunFinished { run, .. } => {
                if let Some((agent, attempt)) = self.launched(*run) {
                    let attempt = AttemptName { run: *run, attempt };
                    outgoing.entry(agent).or_default().push(Effect::Forget(attempt));
                }
            }
            Event::AgentGone { agent } => {
                self.let_go(agent);
                self.moving.remove(agent);
            }
            _ => {}
        }
    }

    fn report(&mut self, report: Report, outgoing: &mut Outgoing) {
        match report {
            Report::Up(agent) => {
                tracing::info!(%agent, "agent is up");
                if !self.moving.contains_key(&agent) {
                    self.effects.set_trouble(agent.clone(), None);
                    self.engine.set_agent_up(agent.clone(), true);
                }
                for owed in self.engine.read(|state| outbox(state, &agent)) {
                    match owed {
                        Owed::Launch(attempt) => self.launch(attempt, outgoing),
                        Owed::Stop(attempt) => {
                            let stop = Effect::Stop { attempt, grace: STOP_GRACE };
                            outgoing.entry(agent.clone()).or_default().push(stop);
                        }
                    }
                }
            }
            Report::Down(agent, why) => {
                tracing::warn!(%agent, why, "agent cannot be reached; its runs keep their slots");
                self.engine.set_agent_up(agent.clone(), false);
                self.effects.set_trouble(agent, Some(why));
            }
            Report::Known(agent, known) => {
                let known = known.into_iter().collect();
                self.find_lost(&agent, &known);
                self.gone_holds(&agent, &known);
            }
            Report::Cleared(agent) => self.gone_cleared(&agent),
            Report::Seen(agent, observations) => {
                self.gone_saw(&agent, &observations);
                // The end of an attempt that is over already was reported again: it is saved, so it may be forgotten.
                // What is not over is an orphan: nobody else would ever end it.
                let ended =
                    |seen: &Seen| matches!(seen, Seen::Succeeded { .. } | Seen::Failed { .. } | Seen::Stopped(_));
                // One look for all of them: each may have to wait for an append.
                let strays: Vec<(AttemptName, bool)> = self.engine.read(|state| {
                    let current = |run| state.run(run).map(|run| run.attempt);
                    let stray = |one: &&Observation| current(one.attempt.run) != Some(one.attempt.attempt.0);
                    observations.iter().filter(stray).map(|one| (one.attempt, ended(&one.seen))).collect()
                });
                if !strays.is_empty() {
                    let effects = outgoing.entry(agent.clone()).or_default();
                    effects.extend(strays.into_iter().map(|(attempt, over)| match over {
                        true => Effect::Forget(attempt),
                        false => {
                            tracing::warn!(%agent, %attempt, "an attempt that nobody owns is ended");
                            Effect::Stop { attempt, grace: STOP_GRACE }
                        }
                    }));
                }
                self.engine.observe(observations);
            }
        }
    }

    /// Ends attempts that the agent had taken on (it said so) and does not know any more: nobody else ever would.
    /// What was not seen there yet is launched again, what is to stop is told so again, and both are answered; an agent
    /// of which no word came is waited for.
    fn find_lost(&self, agent: &AgentName, known: &BTreeSet<AttemptName>) {
        let statuses = vec![Status::Starting, Status::Running, Status::Warning];
        let rows = match self.engine.all_runs(&RunFilter { statuses, ..RunFilter::default() }, usize::MAX) {
            Ok(rows) => rows,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return tracing::error!(%agent, error, "lost runs cannot be looked for until the next connection");
            }
        };
        let held = rows.iter().filter(|row| row.queue.agent == *agent && row.attempt.0 > 0);
        let attempts = held.map(|row| AttemptName { run: row.id, attempt: row.attempt });
        let lost: Vec<AttemptName> = attempts.filter(|attempt| !known.contains(attempt)).collect();
        let pipeline = |run: RunId| self.engine.read(|state| state.run(run).is_none_or(|run| run.pipeline));
        let Some(target) = self.targets(|targets| targets.get(agent).cloned()) else { return };
        for attempt in lost.into_iter().filter(|attempt| !pipeline(attempt.run)) {
            self.engine.observe(vec![Observation { attempt, at: wall_clock(), seen: target.lost(attempt) }]);
        }
    }

    /// The agent and the newest attempt of a run that was launched and is over.
    fn launched(&mut self, run: RunId) -> Option<(AgentName, Attempt)> {
        self.flying.remove(&run).or_else(|| {
            let row = self.row(run).filter(|row| row.attempt.0 > 0)?;
            Some((row.queue.agent, row.attempt))
        })
    }

    fn row(&self, run: RunId) -> Option<RunRow> {
        match self.engine.history().run(run) {
            Ok(row) => row,
            Err(error) => {
                tracing::error!(%run, error = &error as &dyn std::error::Error, "a run cannot be read");
                None
            }
        }
    }

    fn deliver(&self, outgoing: Outgoing) {
        for (agent, effects) in outgoing {
            // An agent without a target is down; what is owed to it is read off the state once it is up.
            if let Some(target) = self.targets(|targets| targets.get(&agent).cloned()) {
                target.deliver(effects);
            }
        }
    }

    fn targets<R>(&self, look: impl FnOnce(&BTreeMap<AgentName, Arc<dyn Target>>) -> R) -> R {
        look(&self.effects.targets.read().unwrap_or_else(PoisonError::into_inner))
    }
}
