//! Decisions of the dispatcher (an operation ends, the next one starts) in memory, at several sizes, beside a floor
//! measured in the same run: one pop and one push of an ordered map as large as the line.
//!
//! `cargo bench --bench dispatch [-- QUEUED…]`; 10,000 and 1,000,000 by default.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use tidegate::domain::catalog::{AgentPolicy, QueuePolicy};
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::{Event, NewRun, Origin, RevisionApplied};
use tidegate::domain::dispatch::observation::{Observation, Seen};
use tidegate::domain::dispatch::{State, decide, schedule};
use tidegate::domain::ids::{AgentName, AttemptName, CommitId, Digest, Name, ProjectName, QueueName, RunId};
use tidegate::domain::quantity::{Quantity, Resources};
use tidegate::domain::spec::{Limit, LocalTarget, Priority, TargetSpec};
use tidegate::domain::time::Timestamp;

const NOW: Timestamp = Timestamp(0);
/// Finishes in each measurement.
const EVENTS: usize = 100_000;
/// Slots of each queue.
const SLOTS: u32 = 4;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10_000, 1_000_000] } else { sizes };
    println!(
        "queued queues shapes what-binds | decisions per CPU second, p50 p99 (us) | bytes/run | floor per CPU second"
    );
    for queued in sizes {
        for (queues, shapes, agent_binds) in
            [(100, 1, ""), (1_000, 1, ""), (1_000, 100, ""), (1_000, 1, "slots"), (1_000, 100, "capacity")]
        {
            measure(queued, queues, shapes, agent_binds);
        }
    }
}

fn measure(queued: usize, queues: usize, shapes: usize, binds: &str) {
    let before = resident();
    let (mut state, running) = world(queued, queues, shapes, binds);
    let bytes = resident().saturating_sub(before) / queued as u64;
    let events = EVENTS.min(queued / 2);
    let mut running = std::collections::VecDeque::from(running);
    let mut times: Vec<u64> = Vec::with_capacity(events);
    let begin = cpu();
    for _ in 0..events {
        let attempt = running.pop_front().expect("something runs");
        let start = Instant::now();
        let seen = Seen::Succeeded { outputs: serde_json::Map::new() };
        let decision = decide(&state, NOW, &Command::Observe(Observation { attempt, at: NOW, seen }));
        decision.events.iter().for_each(|event| state.apply(NOW, event));
        let (events, _) = schedule(&mut state, NOW);
        times.push(start.elapsed().as_nanos() as u64);
        running.extend(events.iter().filter_map(started));
    }
    let rate = events as f64 / (cpu() - begin);
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100] as f64 / 1000.0;
    let binds = if binds.is_empty() { "queues" } else { binds };
    println!(
        "{queued:>8} {queues:>5} {shapes:>4} {binds:>9} | {rate:>10.0} {:>7.2} {:>7.2} | {bytes:>5} | {:>10.0}",
        at(50),
        at(99),
        floor(queued)
    );
}

fn started(event: &Event) -> Option<AttemptName> {
    match event {
        Event::RunScheduled { run, attempt } => Some(AttemptName { run: *run, attempt: *attempt }),
        _ => None,
    }
}

/// A pop of the first and a push of a later one in an ordered map of that size.
fn floor(size: usize) -> f64 {
    let mut map: BTreeMap<u64, u64> = (0..size as u64).map(|n| (n, n)).collect();
    let begin = cpu();
    for n in 0..EVENTS as u64 {
        black_box(map.pop_first());
        map.insert(size as u64 + n, n);
    }
    EVENTS as f64 / (cpu() - begin)
}

/// Seconds of processor that this process has had: other work on the machine does not count against it.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// Pages that the process holds, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn world(queued: usize, queues: usize, shapes: usize, binds: &str) -> (State, Vec<AttemptName>) {
    let amount = |n: usize| Quantity::parse(&n.to_string()).expect("a number is a quantity");
    let dims = ["cpu", "memory", "nvidia.com/gpu", "cost"];
    let resources = |n: usize| Resources(dims.iter().map(|name| ((*name).to_owned(), amount(n))).collect());
    let agent = AgentName::parse("a").expect("a name");
    let queue = |n: usize| QueueName::parse(&format!("a/q{n}")).expect("a name");
    let agent_policy = AgentPolicy {
        concurrency: if binds == "slots" { Limit::At(queues as u32) } else { Limit::Unlimited },
        capacity: if binds == "capacity" { resources(queues * 50) } else { Resources::default() },
        default_queue: Name::parse("default").expect("a name"),
        target: TargetSpec::Local(LocalTarget::default()),
    };
    let policy = |n: usize| QueuePolicy {
        priority: Priority::At((n % 4) as u32),
        concurrency: Limit::At(SLOTS),
        quota: resources(1_000),
        ..QueuePolicy::default()
    };
    let revision = RevisionApplied {
        commit: CommitId::new("c"),
        policy: CommitId::new("bench"),
        subject: String::new(),
        plan: Digest::of(b""),
        organization: None,
        agents: [(agent.clone(), Some(agent_policy))].into(),
        queues: (0..queues).map(|n| (queue(n), Some(policy(n)))).collect(),
        projects: BTreeMap::new(),
        renamed: BTreeMap::new(),
        cursors: BTreeMap::new(),
        note: String::new(),
    };
    let mut state = State::default();
    state.apply(NOW, &Event::RevisionApplied(Box::new(revision)));
    state.set_agent_up(&agent, true);
    let mut running = Vec::new();
    let extra = queues * SLOTS as usize;
    for n in 0..queued + extra {
        let run = NewRun {
            id: RunId(uuid::Uuid::from_u128(n as u128 + 1)),
            project: ProjectName::parse("p").expect("a name"),
            workflow: None,
            name: String::new(),
            kind: "job".to_owned(),
            commit: None,
            spec: Digest::of(b""),
            queue: queue(n % queues),
            request: resources(1 + n / queues % shapes),
            max_retries: 0,
            needs_approval: false,
            parent: None,
            pipeline: None,
            group: None,
            tags: Vec::new(),
            origin: Origin::Request { user: String::new() },
        };
        state.apply(NOW, &Event::RunCreated(Box::new(run)));
        if n % 512 == 0 {
            pass(&mut state, &mut running);
        }
    }
    pass(&mut state, &mut running);
    (state, running)
}

fn pass(state: &mut State, running: &mut Vec<AttemptName>) {
    loop {
        let (events, again) = schedule(state, NOW);
        running.extend(events.iter().filter_map(started));
        if !again {
            return;
        }
    }
}
