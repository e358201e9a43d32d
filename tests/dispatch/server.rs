//! A server without its threads, for simulations of pipelines: it works, is told late, and dies where it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::domain::catalog::{CompiledOperation, Dag, Join, Node};
use tidegate::domain::dispatch::command::{Command, Outcome};
use tidegate::domain::dispatch::event::{Event, Origin};
use tidegate::domain::dispatch::history::{RowOp, RunRow, project};
use tidegate::domain::dispatch::observation::{Cause, Observation, Seen};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{State, decide, schedule, snapshot};
use tidegate::domain::ids::{AgentName, Attempt, AttemptName, Digest, ProjectName, RunId, Seq};
use tidegate::domain::spec::Limit;
use tidegate::domain::time::Timestamp;
use tidegate::domain::workflow::conductor::{Conductor, Records, Unreadable};
use tidegate::domain::workflow::render::Globals;
use tidegate::domain::workflow::start::{Circumstances, of_operation};

use crate::world::{World, agent_name, policy, project_name, queue_name};

#[derive(Default)]
pub struct Library {
    pub rows: BTreeMap<RunId, RunRow>,
    pub bodies: BTreeMap<Digest, Vec<u8>>,
}

impl Records for Library {
    fn operation(&self, digest: Digest) -> Result<Arc<CompiledOperation>, Unreadable> {
        Ok(Arc::new(serde_json::from_slice(&self.bodies[&digest]).unwrap()))
    }

    fn run(&self, id: RunId) -> Result<RunRow, Unreadable> {
        self.rows.get(&id).cloned().ok_or_else(|| Unreadable::Lost(format!("no run {id}")))
    }

    fn statuses(&self, id: RunId) -> Result<Vec<Status>, Unreadable> {
        self.run(id).map(|row| vec![row.status])
    }

    fn joined(&self, _: &ProjectName, _: RunId, _: &Join) -> Result<Result<Vec<RunRow>, Cause>, Unreadable> {
        Ok(Ok(Vec::new()))
    }

    fn surroundings(&self, _: &AgentName) -> Globals {
        Globals::default()
    }

    fn children(&self, pipeline: RunId, each: &mut dyn FnMut(RunRow)) -> Result<(), Unreadable> {
        let mut children: Vec<&RunRow> = self.rows.values().filter(|row| row.parent == Some(pipeline)).collect();
        children.sort_by_key(|row| row.seq);
        children.into_iter().cloned().for_each(each);
        Ok(())
    }
}

/// A server without its threads.
pub struct Server {
    pub state: State,
    pub log: Vec<(Timestamp, Event)>,
    pub library: Library,
    pub conductor: Conductor,
    /// What the conductor has not heard yet, and when it will.
    unheard: Vec<(i64, Event)>,
    /// After how many ticks the conductor hears of an event.
    latency: i64,
    /// How often each run was created.
    pub created: BTreeMap<RunId, u32>,
    /// When each operation ends.
    ends: BTreeMap<AttemptName, i64>,
    pub now: i64,
    random: u64,
    /// When it dies.
    pub deaths: Deaths,
    /// Moments at which it could have died so far: it has heard of an event, is about to ask, has asked.
    pub moments: u64,
}

/// When a server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deaths {
    Never,
    /// Now and then.
    Sometimes,
    /// At this moment, once.
    At(u64),
    /// At every moment at which it has heard of an event or has asked.
    Always,
}

impl Server {
    /// One agent, one queue, nothing else limited.
    pub fn new(latency: i64, seed: u64) -> Self {
        let mut world = World::new();
        world.agent("a", -1, "").queue("a/q", policy(1, -1));
        let (state, log, now) = (world.state, world.log, world.now.0);
        let (conductor, library) = (Conductor::default(), Library::default());
        let (unheard, created, ends) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (deaths, moments) = (Deaths::Never, 0);
        Self { state, log, library, conductor, unheard, latency, created, ends, now, random: seed, deaths, moments }
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % n
    }

    pub fn start(&mut self, operation: &CompiledOperation) -> RunId {
        let id = RunId(uuid::Uuid::from_u128(7 + self.created.len() as u128));
        let start = of_operation(
            operation,
            Circumstances {
                id,
                project: project_name("p"),
                workflow: None,
                commit: None,
                queue: queue_name("a/q"),
                group: None,
                origin: Origin::Request { user: "ann".to_owned() },
            },
        );
        self.ask(&Command::Submit(vec![start.run]), vec![start.body]);
        id
    }

    /// Decides, applies, writes rows; the conductor will hear of it.
    pub fn ask(&mut self, command: &Command, bodies: Vec<(Digest, Vec<u8>)>) -> Outcome {
        let at = Timestamp(self.now);
        let decision = decide(&self.state, at, command);
        self.library.bodies.extend(bodies);
        decision.events.iter().for_each(|event| self.state.apply(at, event));
        let mut events = decision.events;
        loop {
            let (more, again) = schedule(&mut self.state, at);
            events.extend(more);
            if !again {
                break;
            }
        }
        for event in events {
            if let Event::RunCreated(run) = &event {
                *self.created.entry(run.id).or_default() += 1;
            }
            let mut ops = Vec::new();
            project(at, Seq(self.log.len() as u64 + 1), &event, &mut ops);
            for op in ops {
                match op {
                    RowOp::Insert(row) => drop(self.library.rows.insert(row.id, *row)),
                    RowOp::Update(run, patch) => patch.apply(self.library.rows.get_mut(&run).unwrap()),
                    _ => {}
                }
            }
            self.log.push((at, event.clone()));
            self.unheard.push((self.now + self.latency, event));
        }
        decision.outcome
    }

    /// What runs goes on; `took` ticks after its start an operation ends, some of them badly.
    pub fn work(&mut self, took: i64, fails: u64) {
        let scheduled: Vec<AttemptName> = self
            .state
            .runs()
            .filter(|run| run.status == Status::Scheduled)
            .map(|run| AttemptName { run: run.id, attempt: Attempt(run.attempt) })
            .collect();
        for attempt in scheduled {
            self.ends.insert(attempt, self.now + took);
            self.see(attempt, Seen::Running);
        }
        let over: Vec<AttemptName> =
            self.ends.iter().filter(|(_, at)| **at <= self.now).map(|(name, _)| *name).collect();
        for attempt in over {
            self.ends.remove(&attempt);
            let value = (attempt.run.0.as_u128() >> 100) as f64;
            let outputs = serde_json::Map::from_iter([("loss".to_owned(), json!(value))]);
            let cause = Cause::new("Error", "");
            // Which ones fail does not hang on what has died before.
            let fails = fails > 0 && ((attempt.run.0.as_u128() >> 64) as u64).is_multiple_of(fails);
            self.see(
                attempt,
                match fails {
                    true => Seen::Failed { cause, exit_code: Some(1), outputs },
                    false => Seen::Succeeded { outputs },
                },
            );
        }
    }

    pub fn see(&mut self, attempt: AttemptName, seen: Seen) {
        self.ask(&Command::Observe(Observation { attempt, at: Timestamp(self.now), seen }), Vec::new());
    }

    /// Whether it dies at this moment; `rarely` is one in how many when it dies sometimes.
    fn dies(&mut self, rarely: u64) -> bool {
        self.moments += 1;
        match self.deaths {
            Deaths::Never => false,
            Deaths::Sometimes => self.below(rarely) == 0,
            Deaths::At(moment) => moment == self.moments,
            Deaths::Always => true,
        }
    }

    /// The conductor hears what it can by now, and asks for what follows.
    pub fn lead(&mut self) {
        let now = self.now;
        let unheard = std::mem::take(&mut self.unheard);
        let (heard, later): (Vec<_>, Vec<_>) = unheard.into_iter().partition(|(at, _)| *at <= now);
        self.unheard = later;
        for (_, event) in heard {
            self.conductor.saw(&event);
            if self.dies(8) {
                self.crash();
            }
        }
        while self.conductor.is_due() {
            let mut died = false;
            for step in self.conductor.steps(&self.library) {
                // One that dies whenever it is about to ask would never ask for anything.
                if self.deaths != Deaths::Always && self.dies(12) {
                    died = true;
                    break;
                }
                let pipeline = step.advance.pipeline;
                let outcome = self.ask(&Command::Advance(Box::new(step.advance)), step.bodies);
                // It never hears the answer.
                if self.dies(12) {
                    died = true;
                    break;
                }
                if let Outcome::Refused(why) = outcome {
                    self.conductor.refused(pipeline, why.to_string());
                }
            }
            if died {
                self.crash();
                if self.deaths == Deaths::Always {
                    return;
                }
            }
        }
    }

    /// Works and leads until everything has ended, or for so many ticks.
    pub fn run(&mut self, took: i64, fails: u64, ticks: usize, mut look: impl FnMut(&Self)) {
        for _ in 0..ticks {
            self.work(took, fails);
            look(self);
            self.lead();
            look(self);
            self.now += 1;
            if self.state.runs().count() == 0 {
                return;
            }
        }
    }

    /// Everything but the log and the rows is lost.
    pub fn crash(&mut self) {
        let mut folded = State::default();
        if self.below(2) == 0 {
            self.log.iter().for_each(|(at, event)| folded.apply(*at, event));
        } else {
            let text = serde_json::to_string(&snapshot::take(&self.state)).unwrap();
            folded = snapshot::restore(serde_json::from_str(&text).unwrap());
        }
        self.state = folded;
        self.state.set_agent_up(&agent_name("a"), true);
        self.unheard.clear();
        self.conductor = Conductor::default();
        let pipelines = self.state.runs().filter(|run| run.pipeline && run.status != Status::Stopping);
        let found: Vec<(RunId, bool)> = pipelines.map(|run| (run.id, run.status == Status::Running)).collect();
        self.conductor.take_up(found);
    }

    /// Operations that are queued or beyond.
    pub fn beyond(&self) -> usize {
        let beyond = |status: Status| status == Status::Queued || status.holds_slot();
        self.state.runs().filter(|run| !run.pipeline && beyond(run.status)).count()
    }

    pub fn rows_of(&self, parent: RunId) -> Vec<&RunRow> {
        self.library.rows.values().filter(|row| row.parent == Some(parent)).collect()
    }
}

pub fn job() -> CompiledOperation {
    CompiledOperation { run: json!({"kind": "job"}), ..CompiledOperation::default() }
}

pub fn node(name: String, after: Vec<u32>, operation: CompiledOperation) -> Node {
    let (trigger, skip_on_upstream_skip, conditions, events) = (None, false, None, Vec::new());
    let queue = queue_name("a/q");
    Node { name, after, trigger, skip_on_upstream_skip, conditions, events, queue, operation }
}

pub fn graph(concurrency: Limit, nodes: Vec<Node>) -> CompiledOperation {
    let dag = Dag { nodes, concurrency, early_stopping: Vec::new(), outputs: BTreeMap::new() };
    CompiledOperation { run: json!({"kind": "dag"}), dag: Some(Box::new(dag)), ..CompiledOperation::default() }
}

pub fn matrix(written: Value) -> CompiledOperation {
    CompiledOperation { matrix: Some(written), ..job() }
}
