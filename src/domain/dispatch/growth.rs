//! The work of one event hardly grows with what waits: counted in steps through the ordered sets, and not in time.

use std::collections::{BTreeMap, VecDeque};

use super::command::Command;
use super::event::{Event, NewRun, RevisionApplied};
use super::observation::{Observation, Seen};
use super::tree::steps::TAKEN;
use super::{State, decide, schedule};
use crate::domain::catalog::{AgentPolicy, QueuePolicy};
use crate::domain::ids::{AgentName, Attempt, AttemptName, CommitId, Digest, Name, ProjectName, QueueName, RunId};
use crate::domain::quantity::{Quantity, Resources};
use crate::domain::spec::{Limit, LocalTarget, Priority, TargetSpec};
use crate::domain::time::Timestamp;

const NOW: Timestamp = Timestamp(0);

/// What waits, and whether the capacity of the agent binds rather than the limits of its queues.
#[derive(Debug, Clone, Copy)]
struct Size {
    runs: usize,
    queues: usize,
    shapes: usize,
    capacity: bool,
}

fn cpu(n: usize) -> Resources {
    Resources([("cpu".to_owned(), Quantity::parse(&n.to_string()).unwrap())].into())
}

fn queue(n: usize) -> QueueName {
    QueueName::parse(&format!("a/q{n}")).unwrap()
}

fn revision(size: Size) -> RevisionApplied {
    let agent = AgentPolicy {
        concurrency: Limit::Unlimited,
        capacity: if size.capacity { cpu(size.queues * size.shapes / 2 + size.shapes) } else { Resources::default() },
        default_queue: Name::parse("default").unwrap(),
        target: TargetSpec::Local(LocalTarget::default()),
    };
    let policy = |n: usize| QueuePolicy {
        priority: Priority::At((n % 4) as u32),
        concurrency: if size.capacity { Limit::Unlimited } else { Limit::At(2) },
        quota: cpu(4 * size.shapes),
        ..QueuePolicy::default()
    };
    RevisionApplied {
        commit: CommitId::new("c"),
        policy: CommitId::new("c"),
        subject: String::new(),
        plan: Digest::of(b""),
        organization: None,
        agents: [(AgentName::parse("a").unwrap(), Some(agent))].into(),
        queues: (0..size.queues).map(|n| (queue(n), Some(policy(n)))).collect(),
        projects: BTreeMap::new(),
        renamed: BTreeMap::new(),
        cursors: BTreeMap::new(),
        note: String::new(),
    }
}

fn run(size: Size, n: usize) -> NewRun {
    let (id, project) = (RunId(uuid::Uuid::from_u128(n as u128 + 1)), ProjectName::parse("p").unwrap());
    let request = cpu(1 + n / size.queues % size.shapes);
    NewRun { request, ..NewRun::bare(id, project, "", queue(n % size.queues)) }
}

/// Steps for each operation that ends and is followed by what may start, on average and at most.
fn steps(size: Size) -> (u64, u64) {
    let (mut state, mut running) = (State::default(), VecDeque::new());
    let start = |state: &mut State, running: &mut VecDeque<AttemptName>| {
        let mut again = true;
        while again {
            let (events, more) = schedule(state, NOW);
            running.extend(events.iter().filter_map(|event| match event {
                Event::RunScheduled { run, attempt } => Some(AttemptName { run: *run, attempt: *attempt }),
                _ => None,
            }));
            again = more;
        }
    };
    state.apply(NOW, &Event::RevisionApplied(Box::new(revision(size))));
    state.set_agent_up(&AgentName::parse("a").unwrap(), true);
    (0..size.runs).for_each(|n| state.apply(NOW, &Event::RunCreated(Box::new(run(size, n)))));
    start(&mut state, &mut running);
    let (mut all, mut most) = (0, 0);
    for _ in 0..EVENTS {
        let attempt: AttemptName = running.pop_front().unwrap();
        assert!(attempt.attempt >= Attempt(1));
        TAKEN.with(|taken| taken.set(0));
        let seen = Seen::Succeeded { outputs: serde_json::Map::new() };
        let end = Command::Observe(Observation { attempt, at: NOW, seen });
        decide(&state, NOW, &end).events.iter().for_each(|event| state.apply(NOW, event));
        start(&mut state, &mut running);
        let taken = TAKEN.with(std::cell::Cell::get);
        (all, most) = (all + taken, most.max(taken));
    }
    (all / EVENTS, most)
}

const EVENTS: u64 = 100;

#[test]
fn what_waits_hardly_adds_to_the_work_of_an_event() {
    for capacity in [false, true] {
        let small = steps(Size { runs: 600, queues: 30, shapes: 4, capacity });
        for (what, size) in [
            ("sixteen times the runs", Size { runs: 9_600, queues: 30, shapes: 4, capacity }),
            ("and as many queues", Size { runs: 9_600, queues: 480, shapes: 4, capacity }),
            ("and as many shapes", Size { runs: 9_600, queues: 30, shapes: 64, capacity }),
        ] {
            let large = steps(size);
            println!("capacity binds: {capacity}; {what}: {small:?} became {large:?} steps");
            assert!(large.0 <= 3 * small.0 + 20, "{what}: {small:?} became {large:?} steps, {size:?}");
        }
    }
}
