//! Runs through a real control plane beside a bare loop that makes the same Jobs with the same client in the same run.
//!
//! `cargo bench --bench kubernetes`; the control plane is built by `tests/cluster/build`. `TIDEGATE_BENCH_RUNS` is the
//! size; `TIDEGATE_BENCH_JOBS=10000` measures a restart over so many running Jobs in place of the rest.

#![allow(clippy::unwrap_used)] // a benchmark that cannot go on ends

#[allow(dead_code)] // tests use the rest
#[path = "../tests/kubernetes/injector.rs"]
mod injector;
#[allow(dead_code)]
#[path = "../tests/path/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../tests/path/site.rs"]
mod site;
#[allow(dead_code)]
#[path = "../tests/kubernetes/stand.rs"]
mod stand;
#[allow(dead_code)]
#[path = "../tests/kubernetes/witness.rs"]
mod witness;
#[allow(dead_code)]
#[path = "../tests/kubernetes/world.rs"]
mod world;

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tidegate::domain::catalog::CompiledOperation;
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{AgentName, Attempt, AttemptName, Epoch, ProjectName, QueueName};
use tidegate::domain::kubernetes::render::{Assignment, objects};
use tidegate::domain::workflow::start::{Circumstances, of_operation};
use tidegate::reconciler::new_run_id;

use site::{Server, Site};
use witness::Witness;
use world::{World, clusters};

/// Requests that the bare loop has under way: as many as the target.
const IN_FLIGHT: usize = 64;

fn main() {
    let Some((world, _guard)) = clusters() else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("TIDEGATE_BENCH_JOBS") {
        Some(jobs) => restart(world, jobs),
        None => {
            let runs = number("TIDEGATE_BENCH_RUNS").unwrap_or(300);
            throughput(world, runs);
            requests(world, runs);
        }
    }
}

/// A `run` section whose pod lives as `tests/cluster/stages.yaml` says.
fn section(outcome: &str) -> Value {
    json!({
        "kind": "job",
        "environment": {"annotations": {"tests.tidegate.dev/outcome": outcome}},
        "container": {"image": "registry.example.org/train:1", "command": ["train"]},
    })
}

/// A site whose queue takes everything, and its server.
fn begun(world: &World, namespace: &str, limit: usize) -> (Site, Server) {
    let site = stand::site(world, namespace);
    site.write("queues/a/q.yaml", &format!("version: 1.1\nkind: queue\nname: q\nagent: a\nconcurrency: {limit}\n"));
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    (site, server)
}

fn submit(server: &Server, runs: usize, outcome: &str) {
    let operation =
        CompiledOperation { name: Some("one".to_owned()), run: section(outcome), ..CompiledOperation::default() };
    let start = |_| {
        of_operation(
            &operation,
            Circumstances {
                id: new_run_id(),
                project: ProjectName::parse("p").unwrap(),
                workflow: None,
                commit: None,
                queue: QueueName::parse("a/q").unwrap(),
                group: None,
                origin: Origin::Request { user: "bench".to_owned() },
            },
        )
    };
    let starts: Vec<_> = (0..runs).map(start).collect();
    let body = starts[0].body.clone();
    let command = Command::Submit(starts.into_iter().map(|start| start.run).collect());
    server.0.engine().ask_blocking(command, vec![body]).unwrap();
}

fn until(what: &str, wait: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < wait, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn patience(runs: usize) -> Duration {
    Duration::from_millis(500) * u32::try_from(runs).unwrap() + Duration::from_secs(60)
}

/// From the first request to the last pod, in pods per second.
fn rate(witness: &Witness, runs: usize, begun: Instant) -> f64 {
    until("all pods are made", patience(runs), || witness.tally().pods.len() >= runs);
    runs as f64 / witness.tally().span.unwrap().1.min(Instant::now()).duration_since(begun).as_secs_f64()
}

/// The bare loop: the same objects, made with the same client.
fn floor(world: &World, runs: usize) -> f64 {
    let namespace = world.namespace("floor");
    let witness = Witness::new(world, "a", &namespace);
    let run = section("hang");
    let project = ProjectName::parse("p").unwrap();
    let jobs: Vec<DynamicObject> = (0..runs)
        .map(|_| {
            let assignment = Assignment {
                attempt: AttemptName { run: new_run_id(), attempt: Attempt(1) },
                epoch: Epoch(1),
                instance: "floor",
                project: &project,
                run_name: "one",
                namespace: &namespace,
                service_account: None,
                connections: &[],
                run: &run,
                sections: &serde_json::Map::new(),
                env: &[],
                timeout: None,
                ttl: None,
            };
            serde_json::from_value(objects(&assignment).unwrap().root).unwrap()
        })
        .collect();
    let runtime = injector::runtime();
    let client = runtime.block_on(injector::client(world, "a"));
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("batch", "v1", "Job"), "jobs");
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    let begun = Instant::now();
    runtime.block_on(async {
        let made = futures::stream::iter(&jobs).map(|job| async {
            api.create(&PostParams::default(), job).await.unwrap();
        });
        made.buffer_unordered(IN_FLIGHT).for_each(|()| async {}).await;
    });
    let rate = rate(&witness, runs, begun);
    world.ok("a", &["delete", "namespace", &namespace, "--wait=false"]);
    rate
}

/// Runs per second from queued to pod made, durable, beside the floor.
fn throughput(world: &World, runs: usize) {
    let before = floor(world, runs);
    let namespace = world.namespace("bench");
    let (_site, server) = begun(world, &namespace, runs);
    let witness = Witness::new(world, "a", &namespace);
    let start = Instant::now();
    submit(&server, runs, "hang");
    let ours = rate(&witness, runs, start);
    drop(server);
    world.ok("a", &["delete", "namespace", &namespace, "--wait=false"]);
    let after = floor(world, runs);
    let floor = f64::midpoint(before, after);
    println!(
        "{runs} runs, queued → pod made: {ours:.1}/s; the bare loop {before:.1}/s and {after:.1}/s; ratio {:.2} (bar 0.70)",
        ours / floor
    );
}

/// Requests to the API server for each run, from queued to swept.
fn requests(world: &World, runs: usize) {
    let namespace = world.namespace("whole");
    let (_site, server) = begun(world, &namespace, runs);
    let agent = AgentName::parse("a").unwrap();
    let sent = || server.0.agent_requests(&agent).unwrap();
    let (before, start) = (sent(), Instant::now());
    submit(&server, runs, "succeed");
    let idle = |server: &Server| server.0.engine().read(|state| state.runs().next().is_none());
    until("all runs have ended", patience(runs), || idle(&server));
    let took = start.elapsed();
    until("their objects are gone", patience(runs), || {
        std::thread::sleep(Duration::from_millis(500));
        world.list("a", "jobs", &namespace).is_empty()
    });
    println!(
        "{runs} runs, queued → succeeded, logs kept, objects removed: {:.1}/s; {:.2} requests each (bar 4)",
        runs as f64 / took.as_secs_f64(),
        (sent() - before) as f64 / runs as f64
    );
}

/// A restart over many running Jobs: time until the agent is up, and memory.
fn restart(world: &World, jobs: usize) {
    let namespace = world.namespace("many");
    let (site, server) = begun(world, &namespace, jobs);
    drop(server);
    let process = process::ServerProcess::start(&site);
    let up = || until("the agent is up", patience(jobs), || process.ask(&["agents", "get", "a"])["up"] == true);
    up();
    let empty = memory(process.id());
    drop(process);
    let server = site.start();
    server.until_up("a");
    let start = Instant::now();
    submit(&server, jobs, "hang");
    until("all runs are running", patience(jobs), || {
        std::thread::sleep(Duration::from_secs(1));
        server.0.engine().read(|state| state.runs().filter(|run| run.status == Status::Running).count()) == jobs
    });
    println!("{jobs} runs are running after {:.0?}", start.elapsed());
    drop(server);
    let start = Instant::now();
    let process = process::ServerProcess::start(&site);
    let serving = start.elapsed();
    until("the agent is up", patience(jobs), || process.ask(&["agents", "get", "a"])["up"] == true);
    let (up, at_once) = (start.elapsed(), memory(process.id()));
    std::thread::sleep(Duration::from_secs(10));
    println!(
        "restart over {jobs} running Jobs: serving after {serving:.2?}, agent up after {up:.2?}; memory {at_once} MB, {} MB after 10 s, peak {} MB (with none: {empty} MB)",
        memory(process.id()),
        status(process.id(), "VmHWM:"),
    );
}

/// Resident memory of a process in MB.
fn memory(process: u32) -> u64 {
    status(process, "VmRSS:")
}

fn status(process: u32, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
