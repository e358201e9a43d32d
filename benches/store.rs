//! Durable appends: events with their history, in groups, beside bare appends to SQLite of the same bytes.
//!
//! `cargo bench --bench store`. Each line: what a flush costs divides by the size of the group, what history costs does
//! not. In a busy server the steps of one run lie in different groups ("spread"), which is the dear case; in a quiet
//! one a short run lives in one group ("whole lives"). At the end: replaying the log, and what people ask of 100,000 runs
//! (`ops ls -q … --sort …`), beside a bare look at every row of that table.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use tidegate::domain::dispatch::event::{Event, NewRun, Origin};
use tidegate::domain::dispatch::history::RunFilter;
use tidegate::domain::dispatch::observation::Cause;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{Attempt, CommitId, Digest, Name, ProjectName, QueueName, RunId, Seq};
use tidegate::domain::quantity::{Quantity, Resources};
use tidegate::domain::query::{Query, parse_sort};
use tidegate::domain::time::Timestamp;
use tidegate::store::{Batch, SqliteStore, Store};

/// How long each line is measured.
const MEASURED: Duration = Duration::from_secs(3);
/// Runs in flight between two steps of one run, when steps are spread.
const IN_FLIGHT: u64 = 2_000;
/// Events of a life.
const STEPS: u64 = 5;
/// Runs that queries look through.
const QUERIED: u64 = 100_000;
/// How often each query is asked; the middle one counts.
const ASKED: usize = 9;

fn main() {
    println!("{:<12} {:>5} {:>21} {:>21} {:>11} {:>15}", "steps", "group", "bare", "store", "ratio", "store, ms");
    let heads = ["/s", "/CPU s", "/s", "/CPU s"].map(|head| format!("{head:>10}")).join(" ");
    println!("{:<18} {heads} {:>5} {:>5} {:>7} {:>7}", "", "/s", "/CPU", "p50", "p99");
    for (name, spread) in [("spread", IN_FLIGHT), ("whole lives", 0)] {
        for group in [1, 100, 1000] {
            let (bare, store) = (measure(spread, group, bare), measure(spread, group, store));
            let (b, s) = (bare.rates(), store.rates());
            print!("{name:<12} {group:>5} {:>10.0} {:>10.0} {:>10.0} {:>10.0} ", b.0, b.1, s.0, s.1);
            println!(
                "{:>5.2} {:>5.2} {:>7.2} {:>7.2}",
                s.0 / b.0,
                s.1 / b.1,
                store.percentile(50),
                store.percentile(99)
            );
        }
    }
    replay();
    queries();
}

/// Processor time that this thread has had. On a shared machine only this can be compared.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split_whitespace().next().and_then(|n| n.parse().ok()).expect("nanoseconds"))
}

/// Makes a group of events durable.
type Append = Box<dyn FnMut(Vec<Event>)>;

struct Measured {
    events: u64,
    elapsed: Duration,
    processor: Duration,
    appends: Vec<Duration>,
}

impl Measured {
    /// Events a second, and events a second of processor time.
    fn rates(&self) -> (f64, f64) {
        let events = self.events as f64;
        (events / self.elapsed.as_secs_f64(), events / self.processor.as_secs_f64())
    }

    fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.appends.clone();
        sorted.sort_unstable();
        sorted[sorted.len() * percent / 100].as_secs_f64() * 1e3
    }
}

/// Makes groups (not timed) and appends them (timed).
fn measure(spread: u64, group: u64, open: fn(&Path) -> Append) -> Measured {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut append = open(dir.path());
    let mut result = Measured { events: 0, elapsed: Duration::ZERO, processor: Duration::ZERO, appends: Vec::new() };
    // Before the clock starts: until every step of the pattern has runs to work on.
    let mut position = 0;
    while position < STEPS * STEPS * spread {
        append((position..position + 1000).filter_map(|at| step(at, spread)).collect());
        position += 1000;
    }
    while result.elapsed < MEASURED {
        let events: Vec<Event> = (position..position + group).filter_map(|at| step(at, spread)).collect();
        position += group;
        let (start, processor) = (Instant::now(), processor_time());
        append(events);
        let elapsed = start.elapsed();
        result.processor += processor_time() - processor;
        result.elapsed += elapsed;
        result.appends.push(elapsed);
        result.events += group;
    }
    result
}

/// The event at some position of an endless history, in which each step of a run stands `spread` runs after the one
/// before; `None` for steps of runs before the first.
fn step(position: u64, spread: u64) -> Option<Event> {
    let step = position % STEPS;
    let number = (position / STEPS).checked_sub(step * spread)?;
    let run = run_id(number);
    let at = Timestamp(1_790_000_000_000 + number as i64);
    Some(match step {
        0 => Event::RunCreated(Box::new(new_run(number))),
        1 => Event::RunQueued { run },
        2 => Event::RunScheduled { run, attempt: Attempt(1) },
        3 => Event::RunProgressed { run, attempt: Attempt(1), status: Status::Running, cause: None, at },
        _ => Event::RunFinished {
            run,
            status: Status::Succeeded,
            cause: Cause::default(),
            exit_code: Some(0),
            outputs: serde_json::Map::from_iter([("loss".to_owned(), ((number * 7919 % 1000) as f64 / 1000.0).into())]),
            at,
        },
    })
}

/// As version 7 makes them: a moment, then bits without order.
fn run_id(number: u64) -> RunId {
    let noise = Digest::of(&number.to_be_bytes());
    let random: [u8; 10] = noise.as_bytes()[..10].try_into().expect("ten of 32 bytes");
    RunId(uuid::Builder::from_unix_timestamp_millis(1_790_000_000_000 + number / 8, &random).into_uuid())
}

fn new_run(number: u64) -> NewRun {
    NewRun {
        workflow: Some(Name::parse("nightly-sweep").expect("a name")),
        commit: Some(CommitId::new("8c1d2f0e4b5a69788c1d2f0e4b5a69788c1d2f0e")),
        spec: Digest::of(b"spec"),
        request: Resources(BTreeMap::from([("cpu".into(), Quantity::from_millis(4000))])),
        max_retries: 1,
        tags: vec!["nightly".into()],
        origin: Origin::Push { reason: "changed".into() },
        ..NewRun::bare(
            run_id(number),
            ProjectName::parse("vision").expect("a name"),
            format!("nightly-sweep-{number}"),
            QueueName::parse("us-east/gpu").expect("a queue"),
        )
    }
}

fn store(dir: &Path) -> Append {
    let mut store = SqliteStore::open(dir).expect("a store");
    let epoch = store.open_epoch().expect("a term");
    let mut expected = Seq(0);
    Box::new(move |events| {
        let batch = Batch { expected, epoch, at: Timestamp(1_790_000_000_000), events, bodies: Vec::new() };
        expected = store.append(&batch).expect("an append");
    })
}

/// The floor: the same events as JSON into one table with nothing but its key, as durable.
fn bare(dir: &Path) -> Append {
    let mut connection = Connection::open(dir.join("bare.db")).expect("a database");
    let settings = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=40000;
                    CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER, version INTEGER, payload TEXT);";
    connection.execute_batch(settings).expect("settings");
    Box::new(move |events| {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).expect("a transaction");
        {
            let insert = "INSERT INTO events (at, version, payload) VALUES (?, ?, ?)";
            let mut insert = tx.prepare_cached(insert).expect("a statement");
            for event in events {
                let payload = serde_json::to_string(&event).expect("JSON");
                insert.execute(params![1_790_000_000_000_i64, 1, payload]).expect("an insert");
            }
        }
        tx.commit().expect("a commit");
    })
}

fn replay() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut append = store(dir.path());
    for group in 0..100 {
        append((group * 1000..(group + 1) * 1000).filter_map(|at| step(at, 0)).collect());
    }
    drop(append);
    let mut store = SqliteStore::open(dir.path()).expect("a store");
    let start = Instant::now();
    let last = store.replay(Seq(0), &mut |_, _, event| drop(std::hint::black_box(event))).expect("a replay");
    let rate = last.0 as f64 / start.elapsed().as_secs_f64();
    println!("replay of {} events: {rate:.0}/s", last.0);
}

/// What people ask, and as a floor one look at each row.
fn queries() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the bench");
    let mut append = store(dir.path());
    for group in 0..QUERIED * STEPS / 1000 {
        append((group * 1000..(group + 1) * 1000).filter_map(|at| step(at, 0)).collect());
    }
    drop(append);
    let bare = Connection::open(dir.path().join("tidegate.db")).expect("the database");
    let floor = median(|| {
        let count = "SELECT count(*) FROM runs WHERE json_extract(outputs, '$.loss') < 0.5";
        bare.query_row(count, [], |row| row.get::<_, i64>(0)).expect("a count") as usize
    });
    println!("\n{QUERIED} runs; a bare look at a value in each row: {:.1} ms", floor.0);
    let history = SqliteStore::open(dir.path()).expect("a store").reader();
    let now = Timestamp(1_790_000_000_000 + QUERIED as i64);
    for (query, sort) in [
        ("", ""),
        ("status:running", ""),
        ("status:succeeded", ""),
        ("uuid:01a0", ""),
        ("metrics.loss:<0.001", ""),
        ("metrics.loss:<0.5, tags:nightly|weekly", "metrics.loss,-created_at"),
        ("name:%sweep-99%", "-duration"),
        ("(status:failed OR queue:gpu) AND created_at:last_day", "-created_at"),
    ] {
        let filter = || RunFilter {
            query: (!query.is_empty()).then(|| Query::parse(query, now).expect("a query")),
            sort: parse_sort(sort).expect("a sort"),
            limit: 50,
            ..RunFilter::default()
        };
        let (took, found) = median(|| history.runs(&filter()).expect("runs").len());
        println!(
            "{:>8.1} ms {:>5.2} of the bare look, {found:>2} rows  -q '{query}' --sort '{sort}'",
            took,
            took / floor.0
        );
    }
}

/// The middle of several times in milliseconds, and what was found.
fn median(mut ask: impl FnMut() -> usize) -> (f64, usize) {
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..ASKED {
        let start = Instant::now();
        found = ask();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    (times[ASKED / 2], found)
}
