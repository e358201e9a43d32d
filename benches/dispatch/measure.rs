//! The measurements of one case, each beside its floor, and of a start from a store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hint::black_box;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use tidegate::domain::dispatch::State;
use tidegate::domain::dispatch::event::Event;
use tidegate::domain::dispatch::snapshot::{self, SNAPSHOT_VERSION};
use tidegate::domain::ids::{Attempt, AttemptName, RunId, Seq};
use tidegate::store::{Batch, SqliteStore, Store};

use super::world::{Binds, Case, Kinds, NOW, build, finish, number_of, started, world};

/// Finishes in each measurement in memory, at most: half of the line.
const FINISHES: usize = 200_000;
/// Finishes in each durable measurement, at most: some checkpoints long.
const DURABLE: usize = 200_000;
/// Finishes of one group of those, at most: as many as come in at the rate of the bar while a group of them is saved (20 ms).
const GROUP: usize = 1_000;

/// What one case came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Measured {
    /// Finishes with what they start, for each second of processor.
    pub rate: f64,
    /// Microseconds of the clock.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub bytes: u64,
    /// Pops and pushes of an ordered map as large, for each second of processor.
    pub floor: f64,
    /// Events made durable in groups, by the clock and for each second of processor.
    pub durable: f64,
    pub durable_cpu: f64,
    /// Milliseconds of the clock until a group is decided and saved.
    pub group_p50: f64,
    pub group_p99: f64,
    /// As many bare rows in groups as large, by the clock.
    pub bare: f64,
}

pub fn measure(case: Case) -> Measured {
    let before = resident();
    let (mut state, mut running) = world(case);
    let bytes = resident().saturating_sub(before) / case.runs() as u64;
    let finishes = FINISHES.min(case.queued / 2);
    let mut times: Vec<u64> = Vec::with_capacity(finishes);
    let begin = cpu();
    for _ in 0..finishes {
        let attempt = running.pop_front().expect("something runs");
        let start = Instant::now();
        finish(&mut state, attempt, &mut |event| running.extend(started(event)));
        times.push(start.elapsed().as_nanos() as u64);
    }
    let rate = finishes as f64 / (cpu() - begin);
    times.sort_unstable();
    let at = |thousandth: usize| times[(times.len() - 1) * thousandth / 1000] as f64 / 1000.0;
    let (durable, durable_cpu, mut waits, events) = durable(case, state, running);
    waits.sort_by(f64::total_cmp);
    Measured {
        rate,
        p50: at(500),
        p99: at(990),
        p999: at(999),
        bytes,
        floor: floor(case.queued),
        durable,
        durable_cpu,
        group_p50: waits[waits.len() / 2],
        group_p99: waits[(waits.len() - 1) * 99 / 100],
        bare: bare_appends(events, events / waits.len()),
    }
}

/// Groups of finishes with what they start; shows the events of each.
fn groups(
    case: &Case,
    state: &mut State,
    running: &mut VecDeque<AttemptName>,
    see: &mut impl FnMut(Vec<Event>, Instant),
) {
    let finishes = DURABLE.min(case.queued / 4);
    let group = (finishes / 100).clamp(1, GROUP);
    for _ in 0..finishes / group {
        let (start, mut events) = (Instant::now(), Vec::new());
        for _ in 0..group.min(running.len()) {
            let attempt = running.pop_front().expect("something runs");
            finish(state, attempt, &mut |event| events.push(event.clone()));
        }
        running.extend(events.iter().filter_map(started));
        see(events, start);
    }
}

/// The same with each group of decisions saved before the next. The store has the rows of all runs that they touch;
/// which these are, the same decisions on a copy say.
fn durable(case: Case, mut state: State, mut running: VecDeque<AttemptName>) -> (f64, f64, Vec<f64>, usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut store = SqliteStore::open(dir.path()).expect("a store");
    let (epoch, mut expected) = (store.open_epoch().expect("a term"), Seq(0));
    let mut touched = BTreeSet::new();
    groups(&case, &mut state.clone(), &mut running.clone(), &mut |events, _| {
        touched.extend(events.iter().filter_map(|event| match event {
            Event::RunFinished { run, .. } | Event::RunScheduled { run, .. } => Some(number_of(*run)),
            _ => None,
        }));
    });
    let (kinds, touched) = (Kinds::of(case), Vec::from_iter(touched));
    for part in touched.chunks(5_000) {
        let events = part.iter().map(|n| Event::RunCreated(Box::new(kinds.run(*n)))).collect();
        expected = store.append(&Batch { expected, epoch, at: NOW, events, bodies: Vec::new() }).expect("saved");
    }
    // Closed and opened again, it has nothing left to do of the rows that were there before.
    drop(store);
    let mut store = SqliteStore::open(dir.path()).expect("a store");
    let epoch = store.open_epoch().expect("a term");
    let mut save = |events| {
        expected = store.append(&Batch { expected, epoch, at: NOW, events, bodies: Vec::new() }).expect("saved");
    };
    let (mut count, mut waits) = (0, Vec::new());
    let (begin, clock) = (cpu(), Instant::now());
    groups(&case, &mut state, &mut running, &mut |events, start| {
        count += events.len();
        save(events);
        waits.push(start.elapsed().as_secs_f64() * 1e3);
    });
    let (processor, elapsed) = (cpu() - begin, clock.elapsed().as_secs_f64());
    (count as f64 / elapsed, count as f64 / processor, waits, count)
}

/// A pop of the first and a push of a later one in an ordered map of that size.
fn floor(size: usize) -> f64 {
    let mut map: BTreeMap<u64, u64> = (0..size as u64).map(|n| (n, n)).collect();
    let begin = cpu();
    for n in 0..FINISHES as u64 {
        black_box(map.pop_first());
        map.insert(size as u64 + n, n);
    }
    FINISHES as f64 / (cpu() - begin)
}

/// Rows of the size of such an event in one table with nothing but its key, as durable.
fn bare_appends(events: usize, group: usize) -> f64 {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut connection = Connection::open(dir.path().join("bare.db")).expect("a database");
    let settings = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=40000;
                    CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER, version INTEGER, payload TEXT);";
    connection.execute_batch(settings).expect("settings");
    let event = Event::RunScheduled { run: RunId(uuid::Uuid::from_u128(1)), attempt: Attempt(1) };
    let payload = serde_json::to_string(&event).expect("JSON");
    let clock = Instant::now();
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
    (events / group * group) as f64 / clock.elapsed().as_secs_f64()
}

/// Starting from a store: once from its log alone and once from its snapshot.
pub fn measure_start(runs: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut store = SqliteStore::open(dir.path()).expect("a store");
    let (epoch, mut expected) = (store.open_epoch().expect("a term"), Seq(0));
    let (mut state, mut group) = (State::default(), Vec::new());
    let queues = 1_000.min(runs / 10).max(1);
    let case = Case { queued: runs, queues, dims: 4, shapes: 100, binds: Binds::Queues };
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
        folded.unfinished(),
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
    assert_eq!(restored.unfinished(), folded.unfinished(), "both come to the same");
    println!(
        "start from a snapshot of {size} MiB, {} live runs: {:.1} s",
        restored.unfinished(),
        clock.elapsed().as_secs_f64()
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
