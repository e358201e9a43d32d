//! Decisions of the dispatcher (an operation ends, the next one starts), in memory and durable in groups, at many sizes;
//! beside each, measured in the same run, its floor: one pop and one push of an ordered map as large as the line, and
//! bare grouped appends to SQLite of as many rows.
//!
//! ```text
//! cargo bench --bench dispatch                              a bounded choice, about a minute
//! cargo bench --bench dispatch -- 10000000/10000/1/1        QUEUED/QUEUES/DIMENSIONS/SHAPES[/slots|/capacity], any number
//! cargo bench --bench dispatch -- grid                      10⁴…10⁷ queued × 10, 10³, 10⁴ queues × 1, 4 × 1, 100: 12 GB, an hour
//! cargo bench --bench dispatch -- durable                   the durable part alone
//! cargo bench --bench dispatch -- start                     starting from a store with 10⁶ live runs
//! ```
//!
//! Rates are per second of processor time: other work on the machine does not count against them. Percentiles are of
//! the clock, and do suffer from it.

use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};
use tidegate::domain::catalog::{AgentPolicy, QueuePolicy};
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::{Event, NewRun, Origin, RevisionApplied};
use tidegate::domain::dispatch::observation::{Observation, Seen};
use tidegate::domain::dispatch::snapshot::{self, SNAPSHOT_VERSION};
use tidegate::domain::dispatch::{State, decide, schedule};
use tidegate::domain::ids::{AgentName, AttemptName, CommitId, Digest, Name, ProjectName, QueueName, RunId, Seq};
use tidegate::domain::quantity::{Quantity, Resources};
use tidegate::domain::spec::{Limit, LocalTarget, Priority, TargetSpec};
use tidegate::domain::time::Timestamp;
use tidegate::store::{Batch, SqliteStore, Store};

const NOW: Timestamp = Timestamp(0);
/// Finishes in each measurement.
const EVENTS: usize = 200_000;
/// Operations that run when the measurement begins, about.
const RUNNING: usize = 20_000;
/// Finishes of one group of the durable measurement.
const GROUP: usize = 500;
/// What is measured without arguments: `queued, queues, dimensions, shapes, what binds`.
const DEFAULT: [(usize, usize, usize, usize, &str); 6] = [
    (10_000, 1_000, 1, 1, "queues"),
    (10_000, 1_000, 4, 100, "capacity"),
    (1_000_000, 10_000, 1, 1, "queues"),
    (1_000_000, 10_000, 4, 100, "queues"),
    (1_000_000, 10_000, 4, 1, "slots"),
    (1_000_000, 1_000, 4, 100, "capacity"),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mut cases: Vec<Case> = words.iter().filter_map(|word| Case::parse(word)).collect();
    let (mut durable, mut start) =
        (words.iter().any(|word| word == "durable"), words.iter().any(|word| word == "start"));
    if words.iter().any(|word| word == "grid") {
        cases.extend(grid());
    } else if words.is_empty() {
        cases.extend(DEFAULT.map(|(queued, queues, dims, shapes, binds)| Case { queued, queues, dims, shapes, binds }));
        (durable, start) = (true, false);
    }
    if !cases.is_empty() && std::env::var_os(HEADLESS).is_none() {
        println!(
            "  queued queues dims shapes     binds | decisions /CPU s      p50     p99   p99.9 us | B/run | floor /CPU s"
        );
    }
    match cases.as_slice() {
        [case] => measure(*case),
        // Each in a process of its own, so that the memory of one is not that of another.
        _ => cases.iter().for_each(alone),
    }
    if durable {
        measure_durable();
    }
    if start {
        measure_start(1_000_000);
    }
}

/// Set for a process that measures one case for another.
const HEADLESS: &str = "TIDEGATE_BENCH_HEADLESS";

fn alone(case: &Case) {
    let Case { queued, queues, dims, shapes, binds } = case;
    let word = format!("{queued}/{queues}/{dims}/{shapes}/{binds}");
    let own = std::env::current_exe().expect("the bench itself");
    let ended = std::process::Command::new(own).arg(&word).env(HEADLESS, "1").status().expect("it starts again");
    assert!(ended.success(), "{word}: {ended}");
}

#[derive(Debug, Clone, Copy)]
struct Case {
    queued: usize,
    queues: usize,
    dims: usize,
    shapes: usize,
    binds: &'static str,
}

impl Case {
    fn parse(word: &str) -> Option<Self> {
        let parts: Vec<&str> = word.split('/').collect();
        let number = |n: usize| parts.get(n)?.parse().ok();
        let binds = match parts.get(4) {
            Some(&"slots") => "slots",
            Some(&"capacity") => "capacity",
            _ => "queues",
        };
        Some(Self { queued: number(0)?, queues: number(1)?, dims: number(2)?, shapes: number(3)?, binds })
    }

    /// Slots of each queue.
    fn slots(&self) -> usize {
        (RUNNING / self.queues).max(2)
    }
}

fn grid() -> Vec<Case> {
    let mut cases = Vec::new();
    for queued in [10_000, 100_000, 1_000_000, 10_000_000] {
        for queues in [10, 1_000, 10_000] {
            for dims in [1, 4] {
                for shapes in [1, 100] {
                    cases.push(Case { queued, queues, dims, shapes, binds: "queues" });
                }
            }
        }
    }
    cases
}

fn measure(case: Case) {
    let before = resident();
    let (mut state, mut running) = world(case);
    let bytes = resident().saturating_sub(before) / case.queued as u64;
    let events = EVENTS.min(case.queued / 2);
    let mut times: Vec<u64> = Vec::with_capacity(events);
    let begin = cpu();
    for _ in 0..events {
        let attempt = running.pop_front().expect("something runs");
        let start = Instant::now();
        finish(&mut state, attempt, &mut |event| running.extend(started(event)));
        times.push(start.elapsed().as_nanos() as u64);
    }
    let rate = events as f64 / (cpu() - begin);
    times.sort_unstable();
    let at = |thousandth: usize| times[(times.len() - 1) * thousandth / 1000] as f64 / 1000.0;
    let Case { queued, queues, dims, shapes, binds } = case;
    println!(
        "{queued:>8} {queues:>6} {dims:>4} {shapes:>6} {binds:>9} | {rate:>16.0} {:>8.2} {:>7.2} {:>10.2} | {bytes:>5} | {:>12.0}",
        at(500),
        at(990),
        at(999),
        floor(queued)
    );
}

/// An operation ends well, and what may start does.
fn finish(state: &mut State, attempt: AttemptName, see: &mut impl FnMut(&Event)) {
    let seen = Seen::Succeeded { outputs: serde_json::Map::new() };
    let decision = decide(state, NOW, &Command::Observe(Observation { attempt, at: NOW, seen }));
    for event in &decision.events {
        state.apply(NOW, event);
        see(event);
    }
    schedule(state, NOW).0.iter().for_each(see);
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

/// The same with each group of decisions saved before the next, and as many rows appended to a bare table.
fn measure_durable() {
    let case = Case { queued: 200_000, queues: 1_000, dims: 1, shapes: 1, binds: "queues" };
    let (mut state, mut running) = world(case);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut store = SqliteStore::open(dir.path()).expect("a store");
    let (epoch, mut expected) = (store.open_epoch().expect("a term"), Seq(0));
    let (mut events, mut waits) = (0usize, Vec::new());
    let (begin, clock) = (cpu(), Instant::now());
    for _ in 0..100 {
        let (start, mut group) = (Instant::now(), Vec::new());
        for _ in 0..GROUP.min(running.len()) {
            let attempt = running.pop_front().expect("something runs");
            finish(&mut state, attempt, &mut |event| group.push(event.clone()));
        }
        running.extend(group.iter().filter_map(started));
        events += group.len();
        expected = store.append(&Batch { expected, epoch, at: NOW, events: group, bodies: Vec::new() }).expect("saved");
        waits.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (processor, elapsed) = (cpu() - begin, clock.elapsed().as_secs_f64());
    waits.sort_by(f64::total_cmp);
    println!(
        "durable, groups of {GROUP} finishes: {:.0} events/s, {:.0} events/CPU s, group p50 {:.1} ms p99 {:.1} ms",
        events as f64 / elapsed,
        events as f64 / processor,
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100]
    );
    let (rate, processor) = bare_appends(events, events / 100);
    println!("floor, bare rows in such groups:       {rate:.0} events/s, {processor:.0} events/CPU s");
}

/// Rows of the size of such an event in one table with nothing but its key, as durable.
fn bare_appends(events: usize, group: usize) -> (f64, f64) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut connection = Connection::open(dir.path().join("bare.db")).expect("a database");
    let settings = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=10000;
                    CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER, version INTEGER, payload TEXT);";
    connection.execute_batch(settings).expect("settings");
    let event =
        Event::RunScheduled { run: RunId(uuid::Uuid::from_u128(1)), attempt: tidegate::domain::ids::Attempt(1) };
    let payload = serde_json::to_string(&event).expect("JSON");
    let (begin, clock) = (cpu(), Instant::now());
    for _ in 0..events / group {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).expect("a transaction");
        {
            let insert = "INSERT INTO events (at, version, payload) VALUES (?, ?, ?)";
            let mut insert = tx.prepare_cached(insert).expect("a statement");
            for _ in 0..group {
                insert.execute(params![1_790_000_000_000_i64, 1, payload]).expect("an insert");
            }
        }
        tx.commit().expect("a commit");
    }
    (events as f64 / clock.elapsed().as_secs_f64(), events as f64 / (cpu() - begin))
}

/// Starting from a store: once from its snapshot and once from its log alone.
fn measure_start(runs: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut store = SqliteStore::open(dir.path()).expect("a store");
    let (epoch, mut expected) = (store.open_epoch().expect("a term"), Seq(0));
    let (mut state, mut group) = (State::default(), Vec::new());
    let case = Case { queued: runs, queues: 1_000, dims: 4, shapes: 100, binds: "queues" };
    build(case, &mut state, &mut |event| {
        group.push(event.clone());
        if group.len() >= 10_000 {
            let events = std::mem::take(&mut group);
            expected = store.append(&Batch { expected, epoch, at: NOW, events, bodies: Vec::new() }).expect("saved");
        }
    });
    expected = store.append(&Batch { expected, epoch, at: NOW, events: group, bodies: Vec::new() }).expect("saved");
    let clock = Instant::now();
    let mut folded = State::default();
    store.replay(Seq(0), &mut |_, at, event| folded.apply(at, &event)).expect("the log");
    println!(
        "start from a log of {} events, {} live runs: {:.1} s",
        expected.0,
        folded.runs().count(),
        clock.elapsed().as_secs_f64()
    );
    let data = serde_json::to_vec(&snapshot::take(&state)).expect("JSON");
    let size = data.len() >> 20;
    store.save_snapshot(expected, SNAPSHOT_VERSION, &data).expect("saved");
    drop((store, data));
    let clock = Instant::now();
    let mut store = SqliteStore::open(dir.path()).expect("a store");
    let loaded = store.load().expect("a state").snapshot.expect("a snapshot");
    let restored = snapshot::restore(serde_json::from_slice(&loaded.data).expect("JSON"));
    store.replay(loaded.seq, &mut |_, _, _| {}).expect("the log");
    println!(
        "start from a snapshot of {size} MiB: {:.1} s ({} live runs)",
        clock.elapsed().as_secs_f64(),
        restored.runs().count()
    );
}

/// Seconds of processor that this process has had.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// Pages that the process holds, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn world(case: Case) -> (State, VecDeque<AttemptName>) {
    let (mut state, mut running) = (State::default(), VecDeque::new());
    build(case, &mut state, &mut |event| running.extend(started(event)));
    (state, running)
}

/// One agent, its queues over four levels, and so many runs in line beside those that run.
fn build(case: Case, state: &mut State, see: &mut impl FnMut(&Event)) {
    let Case { queued, queues, dims, shapes, binds } = case;
    let amount = |n: usize| Quantity::parse(&n.to_string()).expect("a number is a quantity");
    let names = &["cpu", "memory", "nvidia.com/gpu", "cost"][..dims];
    let resources = |n: usize| Resources(names.iter().map(|name| ((*name).to_owned(), amount(n))).collect());
    let agent = AgentName::parse("a").expect("a name");
    let queue = |n: usize| QueueName::parse(&format!("a/q{n}")).expect("a name");
    let per_run = shapes.div_ceil(2);
    let agent_policy = AgentPolicy {
        concurrency: if binds == "slots" { Limit::At(RUNNING as u32 / 2) } else { Limit::Unlimited },
        capacity: if binds == "capacity" { resources(RUNNING / 2 * per_run) } else { Resources::default() },
        default_queue: Name::parse("default").expect("a name"),
        target: TargetSpec::Local(LocalTarget::default()),
    };
    let policy = |n: usize| QueuePolicy {
        priority: Priority::At((n % 4) as u32),
        concurrency: Limit::At(case.slots() as u32),
        quota: resources(case.slots() * 1_000),
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
    let apply = |state: &mut State, event: Event, see: &mut dyn FnMut(&Event)| {
        state.apply(NOW, &event);
        see(&event);
    };
    apply(state, Event::RevisionApplied(Box::new(revision)), see);
    state.set_agent_up(&agent, true);
    let kinds: Vec<Resources> = (1..=shapes).map(resources).collect();
    let all: Vec<QueueName> = (0..queues).map(queue).collect();
    let project = ProjectName::parse("p").expect("a name");
    for n in 0..queued + queues * case.slots() {
        let run = NewRun {
            id: RunId(uuid::Uuid::from_u128((n as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))),
            project: project.clone(),
            workflow: None,
            name: String::new(),
            kind: "job".to_owned(),
            commit: None,
            spec: Digest::of(b""),
            queue: all[n % queues].clone(),
            request: kinds[n / queues % shapes].clone(),
            max_retries: 0,
            needs_approval: false,
            cache: None,
            parent: None,
            pipeline: None,
            group: None,
            tags: Vec::new(),
            inputs: Default::default(),
            origin: Origin::Request { user: String::new() },
            timeout: None,
            resumes: None,
            unprepared: false,
            builds: false,
            followed: false,
        };
        apply(state, Event::RunCreated(Box::new(run)), see);
        if n % 512 == 0 {
            schedule(state, NOW).0.iter().for_each(&mut *see);
        }
    }
    loop {
        let (events, again) = schedule(state, NOW);
        events.iter().for_each(&mut *see);
        if !again {
            return;
        }
    }
}
