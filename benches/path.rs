//! Whole paths, measured from outside: `git push` → process started, and runs of `/bin/true` end to end beside bare
//! fork-exec in the same run. `cargo bench --bench path`; `TIDEGATE_BENCH_RUNS` and `TIDEGATE_BENCH_PUSHES` set the size.

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

/// Limit of the queue: enough that a slot is filled again before the next one is free.
const IN_FLIGHT: u32 = 64;

fn main() {
    let number = |name: &str, default: usize| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    runs_per_second(number("TIDEGATE_BENCH_RUNS", 2000));
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

fn runs_per_second(runs: usize) {
    let site = site::Site::new();
    site.write("queues/here/fast.yaml", &site::queue("fast", IN_FLIGHT));
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
    let start = || {
        of_operation(
            &operation,
            Circumstances {
                id: new_run_id(),
                project: ProjectName::parse("p").unwrap(),
                workflow: None,
                commit: None,
                queue: QueueName::parse("here/fast").unwrap(),
                group: None,
                origin: Origin::Request { user: "bench".to_owned() },
            },
        )
    };
    let begun = Instant::now();
    let starts: Vec<_> = (0..runs).map(|_| start()).collect();
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
        "{runs} runs of /bin/true, end to end, durable: {rate:.0}/s; floor (spawn + wait, 2 in flight) {floor:.0}/s; ratio {:.2} (bar 0.50)",
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
