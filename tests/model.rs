//! A model of everything between a submission and a process, explored state by state: two servers of which each may
//! believe that it leads, their log, the wire, and an agent that breaks off and comes back.
//!
//! What decides is real: `decide`, `schedule`, `outbox`, `State::apply`, and the fence of a store (`MemoryStore`, which
//! `tests/stores.rs` holds to the same behaviour as the others). What is modelled is what the dispatcher cannot see: who
//! is cut off, what arrives late, twice or never, and an agent that keeps a journal of its attempts as the local
//! supervisor does and a cluster does by the names of its objects.
//!
//! `TIDEGATE_MODEL_DEPTH=12 cargo test --release --test model -- --nocapture` looks further than the default: 2.8 million
//! different states, some minutes and 5 GB.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use stateright::{Checker, Model, Property};
use tidegate::domain::catalog::{AgentPolicy, QueuePolicy};
use tidegate::domain::dispatch::command::{Command, Outcome};
use tidegate::domain::dispatch::event::{Event, NewRun, RevisionApplied};
use tidegate::domain::dispatch::observation::{Cause, Observation, Seen};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Owed, State, decide, outbox, schedule};
use tidegate::domain::ids::{
    AgentName, AttemptName, CommitId, Digest, Epoch, Name, ProjectName, QueueName, RunId, Seq,
};
use tidegate::domain::quantity::Resources;
use tidegate::domain::spec::{Limit, LocalTarget, TargetSpec};
use tidegate::domain::time::{Span, Timestamp};
use tidegate::store::{Batch, MemoryStore, Store, StoreError};

/// Steps that every history is followed for by default.
const DEPTH: usize = 8;
/// Terms that are opened in one history.
const TERMS: u64 = 3;
/// Messages that are lost or come twice, and times that the agent breaks off, in one history.
const FAULTS: u8 = 2;

#[derive(Debug, Clone)]
struct Entry {
    epoch: Epoch,
    at: Timestamp,
    event: Arc<Event>,
    /// The event, for comparing.
    text: Arc<str>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.epoch, self.at, &self.text) == (other.epoch, other.at, &other.text)
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.epoch.0, self.at.0, &self.text).hash(hasher);
    }
}

/// A server that believes that it leads; its memory is the fold of what it has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Server {
    epoch: u64,
    seen: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    Launch(u128, u32),
    Stop(u128, u32),
    /// Its end is saved, so that the agent need not keep it.
    Forget(u128, u32),
    Told(u128, u32, Story),
}

/// How far an attempt has come, as the journal of the agent has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Story {
    Running,
    Succeeded,
    Failed,
    Stopped,
    /// The journal says that it once knew it.
    Forgotten,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    epoch: u64,
    log: Vec<Entry>,
    servers: [Option<Server>; 2],
    wire: BTreeSet<Message>,
    journal: BTreeMap<(u128, u32), Story>,
    /// Processes that were started, ever.
    starts: BTreeMap<(u128, u32), u8>,
    live: BTreeSet<(u128, u32)>,
    /// Runs whose submission was answered.
    answered: BTreeSet<u128>,
    faults: u8,
    /// A deposed server tried to write, and was refused.
    refused: bool,
    broke_off: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Elect(usize),
    Crash(usize),
    Submit(usize, u128),
    Stop(usize, u128),
    /// A server sends what is owed by its own lights.
    Send(usize),
    Deliver(usize, Message),
    DeliverAndKeep(usize, Message),
    Lose(Message),
    End(u128, u32, Story),
    /// The agent says once more what it knows.
    Tell,
    /// The agent dies with its processes, and comes back with its journal.
    BreakOff,
}

struct Site {
    runs: u128,
}

fn agent() -> AgentName {
    AgentName::parse("a").unwrap()
}

fn name(run: u128, attempt: u32) -> AttemptName {
    AttemptName { run: RunId(uuid::Uuid::from_u128(run)), attempt: tidegate::domain::ids::Attempt(attempt) }
}

fn number(name: AttemptName) -> (u128, u32) {
    (name.run.0.as_u128(), name.attempt.0)
}

impl World {
    fn fold(&self, seen: usize) -> State {
        let mut state = State::default();
        self.log[..seen].iter().for_each(|entry| state.apply(entry.at, &entry.event));
        state.set_agent_up(&agent(), true);
        state
    }

    /// Later than any timer that is in the log.
    fn now(&self) -> Timestamp {
        Timestamp(0).after(Span::seconds(1_000 * self.log.len() as u64))
    }

    /// The real store, with this log in it.
    fn store(&self) -> MemoryStore {
        let mut store = MemoryStore::default();
        let mut epoch = Epoch::default();
        for entry in &self.log {
            while epoch < entry.epoch {
                epoch = store.open_epoch().unwrap();
            }
            let (expected, events) = (store.load().unwrap().last, vec![(*entry.event).clone()]);
            store.append(&Batch { expected, epoch, at: entry.at, events, bodies: Vec::new() }).unwrap();
        }
        while epoch.0 < self.epoch {
            epoch = store.open_epoch().unwrap();
        }
        store
    }

    /// A server decides, saves, and only then knows; one that is fenced off gives up.
    fn exec(&mut self, server: usize, command: &Command) -> Option<Outcome> {
        let leader = self.servers[server].clone()?;
        let (mut state, now) = (self.fold(leader.seen), self.now());
        let decision = decide(&state, now, command);
        decision.events.iter().for_each(|event| state.apply(now, event));
        let events = [decision.events, schedule(&mut state, now).0].concat();
        let batch = Batch {
            expected: Seq(leader.seen as u64),
            epoch: Epoch(leader.epoch),
            at: now,
            events: events.clone(),
            bodies: Vec::new(),
        };
        match self.store().append(&batch) {
            Ok(_) => {
                let entry = |event: Event| {
                    let text = serde_json::to_string(&event).unwrap().into();
                    Entry { epoch: Epoch(leader.epoch), at: now, event: Arc::new(event), text }
                };
                self.log.extend(events.into_iter().map(entry));
                self.servers[server] = Some(Server { seen: self.log.len(), ..leader });
                Some(decision.outcome)
            }
            Err(StoreError::Fenced { .. } | StoreError::Gap { .. }) => {
                self.servers[server] = None;
                self.refused = true;
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn deliver(&mut self, server: usize, message: Message) {
        match message {
            Message::Launch(run, attempt) => match self.journal.get(&(run, attempt)) {
                Some(story) => drop(self.wire.insert(Message::Told(run, attempt, *story))),
                None => {
                    self.journal.insert((run, attempt), Story::Running);
                    self.live.insert((run, attempt));
                    *self.starts.entry((run, attempt)).or_default() += 1;
                }
            },
            Message::Stop(run, attempt) => {
                self.live.remove(&(run, attempt));
                let story = self.journal.entry((run, attempt)).or_insert(Story::Stopped);
                if *story == Story::Running {
                    *story = Story::Stopped;
                }
                let story = *story;
                self.wire.insert(Message::Told(run, attempt, story));
            }
            Message::Forget(run, attempt) => {
                if !self.live.contains(&(run, attempt)) {
                    self.journal.insert((run, attempt), Story::Forgotten);
                }
            }
            Message::Told(run, attempt, story) => {
                let cause = |reason| Cause::new(reason, "");
                let failed =
                    |reason| Seen::Failed { cause: cause(reason), exit_code: None, outputs: Default::default() };
                let seen = match story {
                    Story::Running => Seen::Running,
                    Story::Succeeded => Seen::Succeeded { outputs: Default::default() },
                    Story::Failed => failed("Error"),
                    Story::Stopped => Seen::Stopped(cause("Stopped")),
                    Story::Forgotten => failed("Lost"),
                };
                let at = Timestamp(0);
                self.exec(server, &Command::Observe(Observation { attempt: name(run, attempt), at, seen }));
            }
        }
    }

    /// What a server owes the agent by its own lights.
    fn owed(&self, server: usize) -> Vec<Message> {
        let Some(leader) = &self.servers[server] else { return Vec::new() };
        let state = self.fold(leader.seen);
        let owed = outbox(&state, &agent()).into_iter().map(|owed| match owed {
            Owed::Launch(name) => Message::Launch(number(name).0, number(name).1),
            Owed::Stop(name) => Message::Stop(number(name).0, number(name).1),
        });
        let mut owed: Vec<Message> = owed.collect();
        // What it has saved the end of.
        for entry in &self.log[..leader.seen] {
            let over = match &*entry.event {
                Event::RunScheduled { run, attempt } => Some((run.0.as_u128(), attempt.0)),
                _ => None,
            };
            owed.extend(over.filter(|over| !self.holds_slot(&state, *over)).map(|(run, n)| Message::Forget(run, n)));
        }
        owed
    }

    fn holds_slot(&self, state: &State, (run, attempt): (u128, u32)) -> bool {
        state.run(name(run, attempt).run).is_some_and(|view| view.status.holds_slot() && view.attempt == attempt)
    }

    fn tell(&mut self) {
        self.wire.extend(self.journal.iter().map(|((run, attempt), story)| Message::Told(*run, *attempt, *story)));
    }

    fn finished(&self, id: u128) -> bool {
        let ended = |entry: &Entry| matches!(&*entry.event, Event::RunFinished { run, .. } if run.0.as_u128() == id);
        self.log.iter().any(ended)
    }

    /// From here on nothing goes wrong any more: whether everything that was answered comes to its end.
    fn heals(&self) -> bool {
        let mut world = self.clone();
        world.epoch += 1;
        world.servers = [Some(Server { epoch: world.epoch, seen: world.log.len() }), None];
        for _ in 0..40 {
            if world.answered.iter().all(|run| world.finished(*run)) {
                return true;
            }
            let owed = world.owed(0);
            world.wire.extend(owed);
            for (run, attempt) in std::mem::take(&mut world.live) {
                world.journal.insert((run, attempt), Story::Succeeded);
            }
            world.tell();
            for message in std::mem::take(&mut world.wire) {
                world.deliver(0, message);
            }
        }
        false
    }
}

impl Model for Site {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let policy = AgentPolicy {
            concurrency: Limit::At(1),
            capacity: Resources::default(),
            default_queue: Name::parse("q").unwrap(),
            target: TargetSpec::Local(LocalTarget::default()),
        };
        let revision = RevisionApplied {
            commit: CommitId::new("c"),
            policy: CommitId::new("c"),
            subject: String::new(),
            plan: Digest::of(b""),
            organization: None,
            agents: [(agent(), Some(policy))].into(),
            queues: [(QueueName::parse("a/q").unwrap(), Some(QueuePolicy::default()))].into(),
            projects: BTreeMap::new(),
            renamed: BTreeMap::new(),
            cursors: BTreeMap::new(),
            note: String::new(),
        };
        let mut world = World {
            epoch: 1,
            log: Vec::new(),
            servers: [Some(Server { epoch: 1, seen: 0 }), None],
            wire: BTreeSet::new(),
            journal: BTreeMap::new(),
            starts: BTreeMap::new(),
            live: BTreeSet::new(),
            answered: BTreeSet::new(),
            faults: 0,
            refused: false,
            broke_off: false,
        };
        let (revision, starts, stops) = (Box::new(revision), Vec::new(), Vec::new());
        world.exec(0, &Command::ApplyRevision { based_on: None, revision, starts, stops });
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for (server, leader) in world.servers.iter().enumerate() {
            if world.epoch < TERMS {
                steps.push(Step::Elect(server));
            }
            let Some(leader) = leader else { continue };
            steps.push(Step::Crash(server));
            for run in 1..=self.runs {
                if !world.answered.contains(&run) {
                    steps.push(Step::Submit(server, run));
                } else if !world.finished(run) {
                    steps.push(Step::Stop(server, run));
                }
            }
            if leader.seen > 0 && world.owed(server).iter().any(|message| !world.wire.contains(message)) {
                steps.push(Step::Send(server));
            }
        }
        for message in &world.wire {
            let to = match message {
                Message::Told(..) => {
                    world.servers.iter().enumerate().filter(|(_, s)| s.is_some()).map(|(n, _)| n).collect()
                }
                _ => vec![0],
            };
            for server in to {
                steps.push(Step::Deliver(server, *message));
                if world.faults < FAULTS {
                    steps.push(Step::DeliverAndKeep(server, *message));
                }
            }
            if world.faults < FAULTS {
                steps.push(Step::Lose(*message));
            }
        }
        for (run, attempt) in &world.live {
            steps.push(Step::End(*run, *attempt, Story::Succeeded));
            steps.push(Step::End(*run, *attempt, Story::Failed));
        }
        if !world.journal.is_empty() {
            steps.push(Step::Tell);
        }
        if !world.live.is_empty() && world.faults < FAULTS {
            steps.push(Step::BreakOff);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        match step {
            Step::Elect(server) => {
                next.epoch += 1;
                next.servers[server] = Some(Server { epoch: next.epoch, seen: next.log.len() });
            }
            Step::Crash(server) => next.servers[server] = None,
            Step::Submit(server, run) => {
                let outcome = next.exec(server, &Command::Submit(vec![new_run(run)]));
                if matches!(outcome, Some(Outcome::Done | Outcome::Already)) {
                    next.answered.insert(run);
                }
            }
            Step::Stop(server, run) => {
                next.exec(server, &Command::Stop { run: name(run, 0).run, by: "ann".to_owned() });
            }
            Step::Send(server) => {
                let owed = next.owed(server);
                next.wire.extend(owed);
            }
            Step::Deliver(server, message) => {
                next.wire.remove(&message);
                next.deliver(server, message);
            }
            Step::DeliverAndKeep(server, message) => {
                next.faults += 1;
                next.deliver(server, message);
            }
            Step::Lose(message) => {
                next.faults += 1;
                next.wire.remove(&message);
            }
            Step::End(run, attempt, story) => {
                next.live.remove(&(run, attempt));
                next.journal.insert((run, attempt), story);
                next.wire.insert(Message::Told(run, attempt, story));
            }
            Step::Tell => next.tell(),
            Step::BreakOff => {
                next.faults += 1;
                next.broke_off = true;
                for died in std::mem::take(&mut next.live) {
                    next.journal.insert(died, Story::Failed);
                }
                next.tell();
            }
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no attempt is started twice", |_, world: &World| {
                world.starts.values().all(|starts| *starts == 1)
            }),
            Property::always("what lives holds a slot of the log, and no limit is exceeded", |_, world: &World| {
                let state = world.fold(world.log.len());
                world.live.len() <= 1 && world.live.iter().all(|attempt| world.holds_slot(&state, *attempt))
            }),
            Property::always("what was answered is in the log", |_, world: &World| {
                let state = world.fold(world.log.len());
                world.answered.iter().all(|run| state.run(name(*run, 0).run).is_some() || world.finished(*run))
            }),
            Property::always("one writer at a time: terms never go back", |_, world: &World| {
                world.log.windows(2).all(|pair| pair[0].epoch <= pair[1].epoch)
            }),
            Property::always(
                "no run is lost: when nothing goes wrong any more, all of them end",
                |_, world: &World| world.heals(),
            ),
            Property::sometimes("a deposed server is refused", |_, world: &World| world.refused),
            Property::sometimes("an agent that broke off tells of it", |_, world: &World| {
                world.broke_off && (world.finished(1) || world.finished(2))
            }),
            Property::sometimes("a run succeeds", |_, world: &World| {
                let succeeded =
                    |entry: &Entry| matches!(&*entry.event, Event::RunFinished { status: Status::Succeeded, .. });
                world.log.iter().any(succeeded)
            }),
        ]
    }
}

fn new_run(run: u128) -> NewRun {
    NewRun {
        max_retries: u32::from(run == 1),
        ..NewRun::bare(
            name(run, 0).run,
            ProjectName::parse("p").unwrap(),
            String::new(),
            QueueName::parse("a/q").unwrap(),
        )
    }
}

#[test]
fn nothing_is_started_twice_exceeded_or_lost_whoever_believes_to_lead() {
    let depth = std::env::var("TIDEGATE_MODEL_DEPTH").ok().and_then(|depth| depth.parse().ok()).unwrap_or(DEPTH);
    let checker = Site { runs: 2 }.checker().threads(2).target_max_depth(depth).spawn_bfs().join();
    println!(
        "{} states, {} of them different, to depth {}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}
