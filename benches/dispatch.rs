//! Decisions of the dispatcher (an operation ends, the next one starts), in memory and durable in groups, at many sizes;
//! beside each, measured in the same run, its floor: one pop and one push of an ordered map as large as the line, and
//! bare grouped appends to SQLite of as many rows.
//!
//! `cargo bench --bench dispatch` measures what the bars speak of and says whether they are met: about a minute.
//! `TIDEGATE_BENCH_DISPATCH` names something else, several things with commas between them:
//!
//! ```text
//! bars                                   10⁴ and 10⁷ queued × 10⁴ queues
//! grid                                   10⁴…10⁷ queued × 10, 10³, 10⁴ queues × 1, 4 resources × 1, 100 shapes: an hour
//! 1000000/1000/4/100/capacity            QUEUED/QUEUES/RESOURCES/SHAPES[/slots|/capacity]: what of the agent binds
//! start                                  starting from a store with 10⁶ live runs; start/N with N
//! ```
//!
//! Each case is measured in a process of its own, so that the memory of one is not that of another. The largest of the
//! grid takes about 4 GiB (the state twice); a case that needs more than the machine has left is left out by name.
//!
//! Rates are per second of processor time: other work on the machine does not count against them. Percentiles and what
//! is durable are of the clock, and do suffer from it.

#[path = "dispatch/measure.rs"]
mod measure;
#[path = "dispatch/world.rs"]
mod world;

use std::process::{Command, Stdio};

use measure::{Measured, measure, measure_start};
use world::{Binds, Case};

/// What is measured.
const CHOICE: &str = "TIDEGATE_BENCH_DISPATCH";
/// Set for a process that measures one case for another.
const ALONE: &str = "TIDEGATE_BENCH_ALONE";

/// What the bars speak of: the smallest and the largest line of 10⁴ queues.
const BARS: [Case; 2] = [
    Case { queued: 10_000, queues: 10_000, dims: 1, shapes: 1, binds: Binds::Queues },
    Case { queued: 10_000_000, queues: 10_000, dims: 1, shapes: 1, binds: Binds::Queues },
];

fn main() {
    if let Some(case) = std::env::var(ALONE).ok().and_then(|word| Case::parse(&word)) {
        println!("{}", serde_json::to_string(&measure(case)).expect("JSON"));
        return;
    }
    let choice = std::env::var(CHOICE).unwrap_or_else(|_| "bars".to_owned());
    let (mut cases, mut starts) = (Vec::new(), Vec::new());
    for word in choice.split(',').map(str::trim) {
        match (word, Case::parse(word)) {
            ("bars", _) => cases.extend(BARS),
            ("grid", _) => cases.extend(grid()),
            ("start", _) => starts.push(1_000_000),
            (_, Some(case)) => cases.push(case),
            _ => match word.strip_prefix("start/").and_then(|n| n.parse().ok()) {
                Some(runs) => starts.push(runs),
                None => panic!("{CHOICE}: {word} is none of bars, grid, start, QUEUED/QUEUES/RESOURCES/SHAPES"),
            },
        }
    }
    let mut results = Vec::new();
    for (n, case) in cases.into_iter().enumerate() {
        if n == 0 {
            head();
        }
        results.extend(alone(&case).map(|measured| (case, measured)));
    }
    judge(&results);
    starts.into_iter().for_each(measure_start);
}

fn grid() -> Vec<Case> {
    let mut cases = Vec::new();
    for queued in [10_000, 100_000, 1_000_000, 10_000_000] {
        for queues in [10, 1_000, 10_000] {
            for dims in [1, 4] {
                for shapes in [1, 100] {
                    cases.push(Case { queued, queues, dims, shapes, binds: Binds::Queues });
                }
            }
        }
    }
    cases
}

fn head() {
    println!("{:>37} | {:<54} | durable, groups of events", "", "in memory, finishes with what they start");
    println!(
        "{:>8} {:>6} {:>4} {:>6} {:>9} | {:>9} {:>9} {:>8} {:>8} {:>8} {:>7} | {:>9} {:>9} {:>9} {:>8} {:>8}",
        "queued",
        "queues",
        "dims",
        "shapes",
        "binds",
        "/CPU s",
        "floor",
        "p50 us",
        "p99 us",
        "p99.9",
        "B/run",
        "/s",
        "/CPU s",
        "bare /s",
        "p50 ms",
        "p99 ms"
    );
}

/// Measures a case in a process of its own and prints its line; nothing when the machine has too little memory left.
fn alone(case: &Case) -> Option<Measured> {
    let Case { queued, queues, dims, shapes, binds } = case;
    let what = format!("{queued:>8} {queues:>6} {dims:>4} {shapes:>6} {:>9}", binds.word());
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    if case.memory() > available() {
        println!("{what} | left out: it may need {:.1} GiB, and {:.1} are free", gib(case.memory()), gib(available()));
        return None;
    }
    let own = std::env::current_exe().expect("the bench itself");
    let child = Command::new(own).env(ALONE, case.word()).stderr(Stdio::inherit()).output().expect("it starts again");
    assert!(child.status.success(), "{}: {}", case.word(), child.status);
    let measured: Measured = serde_json::from_slice(&child.stdout).expect("a case answers with JSON");
    let Measured { rate, floor, p50, p99, p999, bytes, durable, durable_cpu, group_p50, group_p99, bare } = measured;
    println!(
        "{what} | {rate:>9.0} {floor:>9.0} {p50:>8.2} {p99:>8.2} {p999:>8.2} {bytes:>7} | {durable:>9.0} {durable_cpu:>9.0} {bare:>9.0} {group_p50:>8.1} {group_p99:>8.1}"
    );
    Some(measured)
}

/// Says of each bar whether it is met.
fn judge(results: &[(Case, Measured)]) {
    let of = |case: &Case| results.iter().find(|(other, _)| other == case).map(|(_, measured)| measured);
    let (Some(small), Some(large)) = (of(&BARS[0]), of(&BARS[1])) else { return };
    let growth = small.rate / large.rate;
    let say = |what: &str, met: bool, found: String| {
        println!("{} {what}: {found}", if met { "met     " } else { "NOT MET " });
    };
    println!();
    say("at least 300,000 decisions per second of processor", large.rate >= 3e5, format!("{:.0}", large.rate));
    say("p99 below 50 us", large.p99 < 50.0, format!("{:.1} us", large.p99));
    say("a decision among 10⁷ takes at most twice one among 10⁴", growth <= 2.0, format!("{growth:.2} times"));
    say("at least 100,000 durable events per second", large.durable >= 1e5, format!("{:.0}", large.durable));
    say("at most 100 bytes for each queued run", large.bytes <= 100, format!("{}", large.bytes));
}

/// Bytes that the machine has left.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib << 10)
}
