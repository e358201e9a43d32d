//! Carries what is owed to the targets, and what they see to the engine.
//!
//! What is owed is read off the state, so that starting, retrying and recovering are one way: a saved batch releases its
//! own effects, and an agent that can be reached (again) is given everything that is owed to it.

mod gone;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};

use self::gone::Gone;
use crate::domain::catalog::{AgentPolicy, CompiledOperation};
use crate::domain::dispatch::command::Command;
use crate::domain::dispatch::event::{Event, Origin};
use crate::domain::dispatch::history::{RunFilter, RunRow};
use crate::domain::dispatch::observation::{Cause, Observation, Seen};
use crate::domain::dispatch::status::Status;
use crate::domain::dispatch::{Owed, outbox};
use crate::domain::honour::{NO_EFFECT, unhonoured};
use crate::domain::ids::{AgentName, Attempt, AttemptName, Digest, Epoch, RunId};
use crate::domain::kubernetes::lease::Holder;
use crate::domain::kubernetes::render::{CONTEXT_PATH, variables};
use crate::domain::spec::{KubernetesTarget as KubernetesSpec, TargetKind, TargetSpec};
use crate::domain::time::Span;
use crate::domain::workflow::conductor::point_id;
use crate::domain::workflow::render::{Globals, Rendered, render};
use crate::engine::{Engine, error_chain, wall_clock};
use crate::target::kubernetes::{self, KubernetesTarget};
use crate::target::local::LocalTarget;
use crate::target::{ContextPaths, Effect, Launch, Report, ReportSink, Target};

/// Time between asking an operation to stop and killing it (Kubernetes' default is 30 s; people at a terminal wait).
const STOP_GRACE: Span = Span::seconds(10);
/// Compiled operations that are kept at hand, since the runs of a workflow share one.
const BODIES: usize = 256;

/// The variable that names the directory of the attempt that one goes on from.
const PREVIOUS: &str = "TIDEGATE_PREVIOUS";

/// The file of the data directory that holds the id of this installation.
const INSTANCE_FILE: &str = "instance";

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
        Self { effects: Effects { send, targets: Arc::default(), troubles: Arc::default(), owner }, receive }
    }

    /// The way to it; what is sent waits for [`Unstarted::start`].
    pub fn handle(&self) -> Effects {
        self.effects.clone()
    }

    /// Starts the courier. `data_dir` holds a directory for each local agent, `program` is the binary to supervise with.
    pub fn start(self, engine: Engine, data_dir: PathBuf, program: PathBuf) -> std::thread::JoinHandle<()> {
        let Self { effects, receive } = self;
        let epoch = engine.epoch();
        let (bodies, flying, opened, moving, gone) = Default::default();
        let holder = Holder { place: place_of(&data_dir), process: uuid::Uuid::new_v4().simple().to_string() };
        let courier =
            Courier { engine, data_dir, program, epoch, holder, effects, bodies, flying, opened, moving, gone };
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

    /// Why an agent cannot be reached, if that is known.
    pub fn trouble(&self, agent: &AgentName) -> Option<String> {
        self.troubles.read().unwrap_or_else(PoisonError::into_inner).get(agent).cloned()
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
    /// Agents that went while their cluster could not be reached.
    gone: Gone,
}

/// Effects to deliver, by agent.
type Outgoing = BTreeMap<AgentName, Vec<Effect>>;

impl Courier {
    fn run(mut self, receive: &Receiver<Message>) {
        self.recall_gone();
        while let Ok(first) = receive.recv() {
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
                self.effects.set_trouble(agent.clone(), None);
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

    /// Prepares a launch; what cannot be prepared has failed.
    fn launch(&mut self, attempt: AttemptName, outgoing: &mut Outgoing) {
        let Some(row) = self.row(attempt.run) else { return };
        let agent = row.queue.agent.clone();
        match self.prepare(&row, attempt) {
            Ok(launch) => {
                self.flying.insert(attempt.run, (agent.clone(), attempt.attempt));
                outgoing.entry(agent).or_default().push(Effect::Launch(Box::new(launch)));
            }
            Err(cause) => {
                let seen = Seen::Failed { cause, exit_code: None, outputs: serde_json::Map::new() };
                self.engine.observe(vec![Observation { attempt, at: wall_clock(), seen }]);
            }
        }
    }

    fn prepare(&mut self, row: &RunRow, attempt: AttemptName) -> Result<Launch, Cause> {
        let operation = self.body(row.spec)?;
        // A container finds what was prepared at Polyaxon's place.
        let target = self.opened.get(&row.queue.agent).map_or(TargetKind::Local, TargetSpec::kind);
        let root = match target {
            TargetKind::Kubernetes => CONTEXT_PATH.to_owned(),
            TargetKind::Local => LocalTarget::context(&self.agent_dir(&row.queue.agent), attempt).display().to_string(),
        };
        let artifacts = format!("{root}/artifacts");
        let outputs = format!("{artifacts}/{}/outputs", row.id);
        let cluster = match self.opened.get(&row.queue.agent) {
            Some(TargetSpec::Kubernetes(cluster)) => Some(cluster),
            _ => None,
        };
        let globals = Globals {
            owner_name: self.effects.owner.read().unwrap_or_else(PoisonError::into_inner).clone(),
            project_name: row.project.to_string(),
            name: row.name.clone(),
            uuid: row.id.to_string(),
            status: String::new(),
            namespace: cluster.and_then(|cluster| cluster.namespace.clone()).unwrap_or_default(),
            connections: cluster.map(|cluster| variables(&cluster.connections)).unwrap_or_default(),
            iteration: operation.point.as_ref().map_or(0, |point| point.iteration),
            created_at: row.created_at.to_string(),
            artifacts_path: artifacts.clone(),
            context_path: root.clone(),
        };
        let mut rendered = render(&operation, &globals)?;
        if target == TargetKind::Local {
            let previous = self.previous(row, attempt, &operation).filter(|dir| dir.is_dir());
            rendered.env.extend(previous.map(|dir| (PREVIOUS.to_owned(), dir.display().to_string())));
        }
        self.note(row.id, &rendered, target);
        Ok(Launch {
            attempt,
            epoch: self.epoch,
            project: row.project.clone(),
            run_name: row.name.clone(),
            run: rendered.run,
            env: rendered.env,
            sections: rendered.sections,
            context: ContextPaths { root, artifacts, outputs },
            timeout: operation.timeout,
            ttl: operation.ttl,
        })
    }

    /// Says in the timeline of a run what its target does nothing with.
    fn note(&self, run: RunId, rendered: &Rendered, target: TargetKind) {
        let section = serde_json::to_value(&rendered.run).unwrap_or_default();
        let fields = unhonoured(&rendered.sections, &section, target);
        let notes: Vec<Cause> = fields.into_iter().map(|field| Cause::new(NO_EFFECT, field.message)).collect();
        if !notes.is_empty() {
            // Nobody waits for the answer: what cannot be said now is said when the attempt is launched again.
            drop(self.engine.ask_later(Command::Note { run, notes }, Vec::new()));
        }
    }

    fn agent_dir(&self, agent: &AgentName) -> PathBuf {
        self.data_dir.join("agents").join(agent.as_str())
    }

    /// The directory of the attempt that this one goes on from: that before it, the newest of the run that it is a copy
    /// of, or of the run whose point hyperband promoted.
    fn previous(&self, row: &RunRow, attempt: AttemptName, operation: &CompiledOperation) -> Option<PathBuf> {
        if attempt.attempt.0 > 1 {
            let before = AttemptName { run: attempt.run, attempt: Attempt(attempt.attempt.0 - 1) };
            return Some(LocalTarget::worked_in(&self.agent_dir(&row.queue.agent), before));
        }
        let resumed = || Some(point_id(&self.row(row.parent?)?, operation.point.as_ref()?.resumes?));
        let of = match &row.origin {
            Origin::Copy { of, .. } => *of,
            _ => resumed()?,
        };
        let of = self.row(of)?;
        Some(LocalTarget::worked_in(&self.agent_dir(&of.queue.agent), AttemptName { run: of.id, attempt: of.attempt }))
    }

    fn body(&mut self, digest: Digest) -> Result<Arc<CompiledOperation>, Cause> {
        if let Some(operation) = self.bodies.get(&digest) {
            return Ok(operation.clone());
        }
        let missing =
            |why: String| Cause::new("InvalidOperation", format!("its stored operation cannot be read: {why}"));
        let bytes = self.engine.history().body(digest).map_err(|error| missing(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| missing("it is not in the store".to_owned()))?;
        let operation: CompiledOperation =
            serde_json::from_slice(&bytes).map_err(|error| missing(error.to_string()))?;
        if self.bodies.len() >= BODIES {
            self.bodies.pop_first();
        }
        let operation = Arc::new(operation);
        self.bodies.insert(digest, operation.clone());
        Ok(operation)
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

    fn set_agents(&mut self, agents: BTreeMap<AgentName, AgentPolicy>) {
        for (name, policy) in agents {
            match self.opened.get(&name) {
                Some(spec) if *spec == policy.target => {
                    self.moving.remove(&name);
                    self.targets(|targets| targets.get(&name).cloned()).iter().for_each(|target| target.heal());
                }
                // The same place seen with other eyes: what runs there stays in sight.
                Some(spec) if spec.same_place(&policy.target) => {
                    self.moving.remove(&name);
                    self.open_elsewhere(name, policy.target);
                }
                // What runs there would be lost sight of: nothing new starts until it has ended.
                Some(_) if self.holds_runs(&name) => {
                    let why = "it is to point elsewhere, and waits for what runs where it points now".to_owned();
                    self.engine.set_agent_up(name.clone(), false);
                    self.effects.set_trouble(name.clone(), Some(why));
                    self.moving.insert(name, policy.target);
                }
                Some(_) => self.open_elsewhere(name, policy.target),
                None => {
                    self.is_back(&name);
                    self.open(name, policy.target);
                }
            }
        }
    }

    /// Whether anything runs, or may run, on an agent.
    fn holds_runs(&self, agent: &AgentName) -> bool {
        self.engine.read(|state| state.agents().any(|known| known.name == agent && known.running > 0))
    }

    /// Points agents elsewhere that wait for it and have nothing left.
    fn finish_moves(&mut self) {
        let free: Vec<AgentName> = self.moving.keys().filter(|agent| !self.holds_runs(agent)).cloned().collect();
        for agent in free {
            if let Some(spec) = self.moving.remove(&agent) {
                self.open_elsewhere(agent, spec);
            }
        }
    }

    fn open_elsewhere(&mut self, agent: AgentName, spec: TargetSpec) {
        self.engine.set_agent_up(agent.clone(), false);
        self.effects.set_trouble(agent.clone(), None);
        self.close(&agent);
        self.open(agent, spec);
    }

    fn close(&mut self, agent: &AgentName) {
        self.opened.remove(agent);
        let gone = self.effects.targets.write().unwrap_or_else(PoisonError::into_inner).remove(agent);
        if let Some(target) = gone {
            target.close();
        }
    }

    fn open(&mut self, name: AgentName, spec: TargetSpec) {
        let target = match &spec {
            TargetSpec::Local(_) => {
                let dir = self.agent_dir(&name);
                LocalTarget::open(name.clone(), dir, self.program.clone(), self.effects.sink())
                    .map(|target| Arc::new(target) as Arc<dyn Target>)
                    .map_err(|error| error_chain(&error))
            }
            TargetSpec::Kubernetes(kubernetes) => self.open_cluster(&name, kubernetes),
        };
        match target {
            Ok(target) => {
                self.opened.insert(name.clone(), spec);
                self.effects.targets.write().unwrap_or_else(PoisonError::into_inner).insert(name, target);
            }
            Err(why) => {
                tracing::error!(agent = %name, why, "agent cannot be opened");
                self.effects.set_trouble(name, Some(why));
            }
        }
    }

    fn open_cluster(&self, name: &AgentName, spec: &KubernetesSpec) -> Result<Arc<dyn Target>, String> {
        let instance = instance_of(&self.data_dir)
            .map_err(|error| format!("the id of this installation cannot be read or written: {error}"))?;
        let settings = kubernetes::Settings {
            agent: name.clone(),
            spec: spec.clone(),
            instance,
            epoch: self.epoch,
            holder: self.holder.clone(),
            logs: self.agent_dir(name).join("logs"),
        };
        let target = KubernetesTarget::open(settings, self.effects.sink());
        Ok(Arc::new(target.map_err(|error| format!("its thread cannot be started: {error}"))?))
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

/// Where a data directory is: two servers of one place cannot live at the same time, as the store in it is locked.
fn place_of(data_dir: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    // Changes with every start of the machine, and is the machine's own.
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    match (machine, std::fs::metadata(data_dir)) {
        (Ok(machine), Ok(dir)) => {
            format!("{}-{:x}-{:x}", machine.trim().replace('-', ""), dir.dev(), dir.ino())
        }
        // Nobody else is there, as far as one can know.
        _ => uuid::Uuid::new_v4().simple().to_string(),
    }
}

/// The id of this installation, made at its first use. It marks everything that is put into clusters, so that two
/// installations never touch what is the other's; it belongs to the data directory, and moves with it.
fn instance_of(data_dir: &Path) -> std::io::Result<String> {
    let path = data_dir.join(INSTANCE_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if uuid::Uuid::try_parse(text.trim()).is_ok() => Ok(text.trim().to_owned()),
        Ok(_) => Err(std::io::Error::other(format!("{} holds no id", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let new = path.with_extension("new");
            std::fs::write(&new, format!("{id}\n"))?;
            std::fs::File::open(&new)?.sync_all()?;
            std::fs::rename(&new, &path)?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}
