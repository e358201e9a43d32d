//! Pipelines led by the real rules over the real state machine, in virtual time: the conductor hears late, dies between
//! any two events, and asks again for what it had asked for already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::domain::catalog::{CompiledOperation, Dag, Node};
use tidegate::domain::dispatch::command::{Command, Outcome};
use tidegate::domain::dispatch::event::{Event, Origin};
use tidegate::domain::dispatch::history::{RowOp, RunRow, project};
use tidegate::domain::dispatch::observation::{Cause, Observation, Seen};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{State, decide, schedule, snapshot};
use tidegate::domain::ids::{Attempt, AttemptName, Digest, RunId, Seq};
use tidegate::domain::spec::Limit;
use tidegate::domain::time::Timestamp;
use tidegate::domain::workflow::conductor::{Conductor, Records, Unreadable};
use tidegate::domain::workflow::start::{Circumstances, of_operation};

use crate::world::{World, agent_name, policy, project_name, queue_name};

#[derive(Default)]
struct Library {
    rows: BTreeMap<RunId, RunRow>,
    bodies: BTreeMap<Digest, Vec<u8>>,
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

    fn children(&self, pipeline: RunId, each: &mut dyn FnMut(RunRow)) -> Result<(), Unreadable> {
        let mut children: Vec<&RunRow> = self.rows.values().filter(|row| row.parent == Some(pipeline)).collect();
        children.sort_by_key(|row| row.seq);
        children.into_iter().cloned().for_each(each);
        Ok(())
    }
}

/// A server without its threads.
struct Server {
    state: State,
    log: Vec<(Timestamp, Event)>,
    library: Library,
    conductor: Conductor,
    /// What the conductor has not heard yet, and when it will.
    unheard: Vec<(i64, Event)>,
    /// After how many ticks the conductor hears of an event.
    latency: i64,
    /// How often each run was created.
    created: BTreeMap<RunId, u32>,
    /// When each operation ends.
    ends: BTreeMap<AttemptName, i64>,
    now: i64,
    random: u64,
}

impl Server {
    /// One agent, one queue, nothing else limited.
    fn new(latency: i64, seed: u64) -> Self {
        let mut world = World::new();
        world.agent("a", -1, "").queue("a/q", policy(1, -1));
        let (state, log, now) = (world.state, world.log, world.now.0);
        let (conductor, library) = (Conductor::default(), Library::default());
        let (unheard, created, ends) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { state, log, library, conductor, unheard, latency, created, ends, now, random: seed }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % n
    }

    fn start(&mut self, operation: &CompiledOperation) -> RunId {
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
    fn ask(&mut self, command: &Command, bodies: Vec<(Digest, Vec<u8>)>) -> Outcome {
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
    fn work(&mut self, took: i64, fails: u64) {
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
            let fails = fails > 0 && self.below(fails) == 0;
            self.see(
                attempt,
                match fails {
                    true => Seen::Failed { cause, exit_code: Some(1), outputs },
                    false => Seen::Succeeded { outputs },
                },
            );
        }
    }

    fn see(&mut self, attempt: AttemptName, seen: Seen) {
        self.ask(&Command::Observe(Observation { attempt, at: Timestamp(self.now), seen }), Vec::new());
    }

    /// The conductor hears what it can by now, and asks for what follows. With `crashes`, it may die anywhere.
    fn lead(&mut self, crashes: bool) {
        let now = self.now;
        let unheard = std::mem::take(&mut self.unheard);
        let (heard, later): (Vec<_>, Vec<_>) = unheard.into_iter().partition(|(at, _)| *at <= now);
        self.unheard = later;
        for (_, event) in heard {
            self.conductor.saw(&event);
            if crashes && self.below(8) == 0 {
                self.crash();
            }
        }
        while self.conductor.is_due() {
            for step in self.conductor.steps(&self.library) {
                if crashes && self.below(6) == 0 {
                    // Asked for nothing, or asked and never heard the answer.
                    if self.below(2) == 0 {
                        self.ask(&Command::Advance(Box::new(step.advance)), step.bodies);
                    }
                    self.crash();
                    break;
                }
                let pipeline = step.advance.pipeline;
                let outcome = self.ask(&Command::Advance(Box::new(step.advance)), step.bodies);
                if let Outcome::Refused(why) = outcome {
                    self.conductor.refused(pipeline, why.to_string());
                }
            }
        }
    }

    /// Everything but the log and the rows is lost.
    fn crash(&mut self) {
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
    fn beyond(&self) -> usize {
        let beyond = |status: Status| status == Status::Queued || status.holds_slot();
        self.state.runs().filter(|run| !run.pipeline && beyond(run.status)).count()
    }

    fn rows_of(&self, parent: RunId) -> Vec<&RunRow> {
        self.library.rows.values().filter(|row| row.parent == Some(parent)).collect()
    }
}

fn job() -> CompiledOperation {
    CompiledOperation { run: json!({"kind": "job"}), ..CompiledOperation::default() }
}

fn node(name: String, after: Vec<u32>, operation: CompiledOperation) -> Node {
    let (trigger, skip_on_upstream_skip, conditions, events) = (None, false, None, Vec::new());
    let queue = queue_name("a/q");
    Node { name, after, trigger, skip_on_upstream_skip, conditions, events, queue, operation }
}

fn graph(concurrency: Limit, nodes: Vec<Node>) -> CompiledOperation {
    let dag = Dag { nodes, concurrency, early_stopping: Vec::new(), outputs: BTreeMap::new() };
    CompiledOperation { run: json!({"kind": "dag"}), dag: Some(Box::new(dag)), ..CompiledOperation::default() }
}

fn matrix(written: Value) -> CompiledOperation {
    CompiledOperation { matrix: Some(written), ..job() }
}

#[test]
fn five_nested_pipelines_never_have_more_than_their_controllers_four_whatever_dies() {
    for seed in 1..=12 {
        let mut server = Server::new(seed % 4, seed as u64);
        let leaves =
            |n: u32| (0..n).map(|i| node(format!("n{i}"), if i % 5 == 4 { vec![i - 1] } else { vec![] }, job()));
        let nested = (0..5).map(|i| node(format!("p{i}"), vec![], graph(Limit::At(10), leaves(12).collect())));
        let root = server.start(&graph(Limit::At(4), nested.collect()));
        let mut most = 0;
        for _ in 0..4000 {
            server.work(3, 0);
            most = most.max(server.beyond());
            assert!(server.beyond() <= 4, "seed {seed}: {} operations are queued or beyond", server.beyond());
            server.lead(true);
            assert!(server.beyond() <= 4, "seed {seed}");
            server.now += 1;
            if server.state.runs().count() == 0 {
                break;
            }
        }
        assert_eq!(server.library.rows[&root].status, Status::Succeeded, "seed {seed}");
        assert_eq!(most, 4, "the limit is used");
        assert_eq!(server.library.rows.len(), 1 + 5 + 5 * 12, "seed {seed}: nothing is left out and nothing doubled");
        assert!(server.created.values().all(|times| *times == 1));
    }
}

#[test]
fn an_endless_backlog_keeps_a_limit_in_use_and_costs_memory_for_the_limit() {
    let range = json!({"kind": "range", "value": [0, 1000, 1]});
    let grid = json!({"kind": "grid", "concurrency": 10, "params": {"a": range, "b": range}});
    // A finished operation is followed after ten ticks, half as long as an operation takes.
    let mut server = Server::new(10, 1);
    server.start(&matrix(grid));
    let (mut used, mut ticks, mut largest) = (0, 0, 0);
    for tick in 0..1500 {
        server.work(20, 0);
        server.lead(false);
        if tick > 50 {
            (used, ticks) = (used + server.state.organization().1, ticks + 1);
        }
        largest = largest.max(server.state.runs().count() + server.conductor.known_children());
        server.now += 1;
    }
    let share = f64::from(used) / f64::from(ticks * 10);
    assert!(share >= 0.95, "{share} of the limit is in use");
    assert!(largest <= 50, "a million points, ten at once, and {largest} things in memory");
}

#[test]
fn a_hyperband_that_dies_everywhere_makes_the_same_suggestions_once() {
    let search = |seed: u64| {
        json!({"kind": "hyperband", "seed": seed, "maxIterations": 27, "eta": 3, "concurrency": 4,
            "resource": {"name": "epochs", "type": "int"}, "metric": {"name": "loss", "optimization": "minimize"},
            "params": {"lr": {"kind": "uniform", "value": [0, 1]}, "act": {"kind": "choice", "value": ["relu", "tanh"]}}})
    };
    let points = |crashes: bool, seed: u64| {
        let mut server = Server::new(2, seed);
        let root = server.start(&matrix(search(9)));
        for _ in 0..20_000 {
            server.work(2, 0);
            server.lead(crashes);
            server.now += 1;
            if server.state.runs().count() == 0 {
                break;
            }
        }
        assert_eq!(server.library.rows[&root].status, Status::Succeeded);
        assert!(server.created.values().all(|times| *times == 1));
        let mut points: Vec<(u64, String)> = server
            .rows_of(root)
            .iter()
            .map(|row| server.library.operation(row.spec).unwrap().point.clone().unwrap())
            .map(|point| (point.index, serde_json::to_string(&point).unwrap()))
            .collect();
        points.sort();
        points
    };
    let quiet = points(false, 1);
    let different: BTreeSet<&String> = quiet.iter().map(|(_, point)| point).collect();
    assert_eq!((quiet.len(), different.len()), (27 + 9 + 3 + 1 + 12 + 4 + 1 + 6 + 2 + 4, quiet.len()));
    for seed in 2..6 {
        assert_eq!(points(true, seed), quiet, "seed {seed}");
    }
}

#[test]
fn a_graph_in_which_things_fail_ends_the_same_whatever_dies() {
    for seed in 1..=20u64 {
        let mut server = Server::new((seed % 3) as i64, seed);
        let nodes = (0..40u32).map(|i| {
            let after: Vec<u32> = (0..i).filter(|j| (i * 7 + j * 3) % 11 == 0).collect();
            node(format!("n{i}"), after, job())
        });
        let root = server.start(&graph(Limit::At(3), nodes.collect()));
        for _ in 0..5000 {
            server.work(2, 6);
            server.lead(true);
            server.now += 1;
            if server.state.runs().count() == 0 {
                break;
            }
        }
        let rows = server.rows_of(root);
        assert_eq!(rows.len(), 40, "seed {seed}: every operation is recorded");
        assert!(server.created.values().all(|times| *times == 1));
        let failed = rows.iter().any(|row| row.status == Status::Failed);
        let root = &server.library.rows[&root];
        assert_eq!(root.status, if failed { Status::Failed } else { Status::Succeeded }, "seed {seed}");
    }
}
