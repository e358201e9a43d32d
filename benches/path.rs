//! Whole paths, measured from outside: `git push` → process started, and runs of `/bin/true` end to end, through one queue
//! and through three of different priority, beside bare fork-exec and HyperQueue in the same run.
//!
//! `cargo bench --bench path`; `TIDEGATE_BENCH_RUNS` and `TIDEGATE_BENCH_PUSHES` set the size. HyperQueue is that of the
//! Python that `TIDEGATE_BENCH_PYTHON` names (`python3`): `pip install hyperqueue` brings it. Where it is missing the
//! bench says so.

#![allow(clippy::unwrap_used)] // a benchmark that cannot go on ends

#[path = "../tests/path/site.rs"]
#[allow(dead_code)]
mod site;

use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tidegate::domain::catalog::CompiledOperation;
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::dispatch::history::RunFilter;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{ProjectName, QueueName};
use tidegate::domain::workflow::start::{Circumstances, of_operation};
use tidegate::reconciler::new_run_id;

/// Limit of the queues together: enough that a slot is filled again before the next one is free.
const IN_FLIGHT: u32 = 64;

fn main() {
    let number = |name: &str, default: usize| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let runs = number("TIDEGATE_BENCH_RUNS", 10_000);
    runs_per_second(runs, &["fast"]);
    runs_per_second(runs, &["fast", "steady", "idle"]);
    beside(runs);
    push_to_start(number("TIDEGATE_BENCH_PUSHES", 50));
}

/// Spawns and waits for `/bin/true`, two in flight, as the floor of every local run.
fn floor(runs: usize) -> f64 {
    let begun = Instant::now();
    let worker = |n: usize| {
        for _ in 0..n {
            let mut process = Process::new("/bin/true");
            process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            assert!(process.status().expect("/bin/true starts").success());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| worker(runs / 2));
        worker(runs - runs / 2);
    });
    runs as f64 / begun.elapsed().as_secs_f64()
}

/// The same by HyperQueue, where it is installed.
fn beside(runs: usize) {
    let python = std::env::var("TIDEGATE_BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let known = Process::new(&python).args(["-c", "import hyperqueue"]).stderr(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        println!("HyperQueue was left out: {python} does not have it (pip install hyperqueue, TIDEGATE_BENCH_PYTHON)");
        return;
    }
    for outputs in ["files", "silent"] {
        let before = floor(runs);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/path/beside.py");
        let asked = Process::new(&python).args([script, &runs.to_string(), outputs]).output();
        let answer = asked.expect("the Python that was asked before starts");
        assert!(answer.status.success(), "HyperQueue: {}", String::from_utf8_lossy(&answer.stderr));
        let said = String::from_utf8_lossy(&answer.stdout);
        let seconds: f64 =
            said.lines().last().and_then(|line| line.trim().parse().ok()).expect("it prints seconds last");
        let (rate, floor) = (runs as f64 / seconds, f64::midpoint(before, floor(runs)));
        println!(
            "{runs} runs of /bin/true by HyperQueue, output {outputs}: {rate:.0}/s; floor {floor:.0}/s; ratio {:.2}",
            rate / floor
        );
    }
}

/// Runs through these queues of one agent in turn, the first of them with the highest priority.
fn runs_per_second(runs: usize, queues: &[&str]) {
    let site = site::Site::new();
    for (n, name) in queues.iter().enumerate() {
        let limit = IN_FLIGHT.div_ceil(queues.len() as u32);
        let policy = format!("{}priority: {}\n", site::queue(name, limit), queues.len() - n);
        site.write(&format!("queues/here/{name}.yaml"), &policy);
    }
    let first = site.push("first");
    let server = site.start();
    server.until_seen(&first);
    server.until("the agent is up", |server| server.0.engine().read(|state| state.agents().all(|agent| agent.up)));
    let before = floor(runs);
    let operation = CompiledOperation {
        name: Some("true".to_owned()),
        run: json!({"kind": "job", "container": {"command": ["/bin/true"]}}),
        request: Default::default(),
        ..CompiledOperation::default()
    };
    let start = |n: usize| {
        of_operation(
            &operation,
            Circumstances {
                id: new_run_id(),
                project: ProjectName::parse("p").unwrap(),
                workflow: None,
                commit: None,
                queue: QueueName::parse(&format!("here/{}", queues[n % queues.len()])).unwrap(),
                group: None,
                origin: Origin::Request { user: "bench".to_owned() },
            },
        )
    };
    let begun = Instant::now();
    let starts: Vec<_> = (0..runs).map(start).collect();
    let body = starts[0].body.clone();
    let command = Command::Submit(starts.into_iter().map(|start| start.run).collect());
    server.0.engine().ask_blocking(command, vec![body]).unwrap();
    // Looking at the state costs the loop nothing; counting rows would.
    while server.0.engine().read(|state| state.runs().next().is_some()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let rate = runs as f64 / begun.elapsed().as_secs_f64();
    let succeeded = RunFilter { statuses: vec![Status::Succeeded], ..RunFilter::default() };
    assert_eq!(server.0.engine().history().count(&succeeded).unwrap() as usize, runs);
    let after = floor(runs);
    let floor = f64::midpoint(before, after);
    println!(
        "{runs} runs of /bin/true through {} of its queues, end to end, durable: {rate:.0}/s; floor (spawn + wait, 2 in flight) {floor:.0}/s; ratio {:.2} (bar 0.50)",
        queues.len(),
        rate / floor
    );
}

fn push_to_start(pushes: usize) {
    let site = site::Site::new();
    let first = site.push("first");
    let server = site.start();
    server.until_seen(&first);
    server.until("the agent is up", |server| server.0.engine().read(|state| state.agents().all(|agent| agent.up)));
    let (mut from_push, mut from_pushed) = (Vec::new(), Vec::new());
    for i in 0..pushes {
        let stamp = site.path().join(format!("stamp-{i}"));
        site.workflow("w", "here/fast", &format!("date +%s%N > {}", stamp.display()));
        site.git(&["add", "-A"]);
        site.git(&["commit", "-q", "-m", "next"]);
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as i128;
        let begun = now();
        site.git(&["push", "-q", "origin", "main"]);
        let pushed = now();
        let read = || std::fs::read_to_string(&stamp).ok().and_then(|text| text.trim().parse::<i128>().ok());
        let patience = Instant::now();
        let started = loop {
            match read() {
                Some(at) => break at,
                None if patience.elapsed() > Duration::from_secs(30) => panic!("push {i} started nothing"),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        from_push.push((started - begun) as f64 / 1e6);
        from_pushed.push((started - pushed) as f64 / 1e6);
    }
    let at = |list: &mut Vec<f64>, p: f64| {
        list.sort_by(f64::total_cmp);
        list[((list.len() as f64 * p) as usize).min(list.len() - 1)]
    };
    println!(
        "{pushes} pushes → process started: p50 {:.0} ms, p99 {:.0} ms from the start of `git push` (bars 150, 400); \
         p50 {:.0} ms from its end",
        at(&mut from_push, 0.5),
        at(&mut from_push, 0.99),
        at(&mut from_pushed, 0.5)
    );
}
