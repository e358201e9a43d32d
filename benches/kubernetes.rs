//! Runs through a real control plane beside a bare loop that makes the same Jobs with the same client in the same run.
//!
//! `cargo bench --bench kubernetes`; the control plane is built by `tests/cluster/build`. `TIDEGATE_BENCH_RUNS` is the
//! size; `TIDEGATE_BENCH_JOBS=10000` measures a restart over so many running Jobs in place of the rest: about six minutes, most
//! of which the control plane needs to start them.

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
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, LogParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tidegate::domain::catalog::CompiledOperation;
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::Origin;
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

/// Removes a namespace, and waits until the cluster has done what that takes: it is not to be measured with what follows.
fn cleared(world: &World, namespace: &str) {
    world.ok("a", &["delete", "namespace", namespace, "--wait=true", "--timeout=15m"]);
}

fn patience(runs: usize) -> Duration {
    Duration::from_millis(500) * u32::try_from(runs).unwrap() + Duration::from_secs(60)
}

/// From the first request to the last pod, in pods per second.
fn rate(witness: &Witness, runs: usize, begun: Instant) -> f64 {
    until("all pods are made", patience(runs), || witness.tally().pods.len() >= runs);
    runs as f64 / witness.tally().span.unwrap().1.min(Instant::now()).duration_since(begun).as_secs_f64()
}

/// The Jobs of runs, as a server makes them.
fn jobs(namespace: &str, runs: usize, outcome: &str) -> Vec<DynamicObject> {
    let run = section(outcome);
    let project = ProjectName::parse("p").unwrap();
    (0..runs)
        .map(|_| {
            let assignment = Assignment {
                attempt: AttemptName { run: new_run_id(), attempt: Attempt(1) },
                epoch: Epoch(1),
                instance: "floor",
                project: &project,
                run_name: "one",
                namespace,
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
        .collect()
}

fn jobs_api(client: kube::Client, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("batch", "v1", "Job"), "jobs");
    Api::namespaced_with(client, namespace, &resource)
}

/// The bare loop: the same objects, made with the same client.
fn floor(world: &World, runs: usize) -> f64 {
    let namespace = world.namespace("floor");
    let witness = Witness::new(world, "a", &namespace);
    let jobs = jobs(&namespace, runs, "hang");
    let runtime = injector::runtime();
    let api = jobs_api(runtime.block_on(injector::client(world, "a")), &namespace);
    let begun = Instant::now();
    runtime.block_on(async {
        let made = futures::stream::iter(&jobs).map(|job| async {
            api.create(&PostParams::default(), job).await.unwrap();
        });
        made.buffer_unordered(IN_FLIGHT).for_each(|()| async {}).await;
    });
    let rate = rate(&witness, runs, begun);
    cleared(world, &namespace);
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
    cleared(world, &namespace);
    let after = floor(world, runs);
    let floor = f64::midpoint(before, after);
    println!(
        "{runs} runs, queued → pod made: {ours:.1}/s; the bare loop {before:.1}/s and {after:.1}/s; ratio {:.2} (bar 0.70)",
        ours / floor
    );
}

/// The bare loop of a whole life: makes the same objects, and when a pod has succeeded reads its log and removes its Job; in
/// ended pods per second. Nothing is kept, decided or saved.
fn floor_of_life(world: &World, runs: usize) -> f64 {
    let namespace = world.namespace("life");
    let jobs = jobs(&namespace, runs, "succeed");
    let runtime = injector::runtime();
    let client = runtime.block_on(injector::client(world, "a"));
    let api = jobs_api(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let begun = Instant::now();
    let took = runtime.block_on(async {
        let make = async {
            let made = futures::stream::iter(&jobs).map(|job| async {
                api.create(&PostParams::default(), job).await.unwrap();
            });
            made.buffer_unordered(IN_FLIGHT).for_each(|()| async {}).await;
        };
        let end = async {
            let (send, ended) = tokio::sync::mpsc::unbounded_channel();
            let watching = pods.clone();
            tokio::spawn(async move {
                let mut seen = std::collections::BTreeSet::new();
                let events = watcher(watching, watcher::Config::default()).default_backoff().applied_objects();
                futures::pin_mut!(events);
                while let Some(pod) = events.next().await {
                    let Ok(pod) = pod else { continue };
                    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                    if phase == Some("Succeeded") && seen.insert(pod.name_any()) {
                        send.send((pod.name_any(), pod.labels()["job-name"].clone(), Instant::now())).unwrap();
                    }
                }
            });
            let ended = futures::stream::unfold(ended, |mut ended| async { Some((ended.recv().await?, ended)) });
            let over = ended.take(runs).map(|(pod, job, at)| {
                let (api, pods) = (&api, &pods);
                async move {
                    pods.logs(&pod, &LogParams::default()).await.unwrap();
                    api.delete(&job, &DeleteParams::background()).await.unwrap();
                    at
                }
            });
            over.buffer_unordered(IN_FLIGHT).fold(begun, |last, at| async move { last.max(at) }).await
        };
        futures::join!(make, end).1.duration_since(begun)
    });
    cleared(world, &namespace);
    runs as f64 / took.as_secs_f64()
}

/// Requests to the API server for each run, from queued to swept, and the pace beside the floor.
fn requests(world: &World, runs: usize) {
    let before = floor_of_life(world, runs);
    let namespace = world.namespace("whole");
    let (_site, server) = begun(world, &namespace, runs);
    let agent = AgentName::parse("a").unwrap();
    let sent = || server.0.agent_requests(&agent).unwrap();
    let (already, start) = (sent(), Instant::now());
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
        (sent() - already) as f64 / runs as f64
    );
    drop(server);
    let after = floor_of_life(world, runs);
    println!(
        "the bare loop of a whole life: {before:.1}/s and {after:.1}/s; ratio {:.2}",
        runs as f64 / took.as_secs_f64() / f64::midpoint(before, after)
    );
}

/// A restart over many running Jobs, some of which end meanwhile. All of them were made by a server that was then killed.
fn restart(world: &World, jobs: usize) {
    let namespace = world.namespace("many");
    let (site, server) = begun(world, &namespace, jobs);
    drop(server);
    let empty = restarted(&site, jobs, |process| status(process.id(), "VmHWM:"));
    // What one server has taken on, another one makes, until it is killed.
    let server = site.start();
    submit(&server, jobs, "hang");
    drop(server);
    let start = Instant::now();
    restarted(&site, jobs, |process| {
        until("all runs are running", patience(jobs), || {
            std::thread::sleep(Duration::from_millis(500));
            figure(process, "tidegate_runs{status=\"running\"}") == jobs as f64
        });
    });
    println!(
        "{jobs} runs are running after {:.0?} ({:.1}/s)",
        start.elapsed(),
        jobs as f64 / start.elapsed().as_secs_f64()
    );
    // One of a hundred ends while no server is there.
    let ended = jobs.div_ceil(100);
    let pods = world.list("a", "pods", &namespace);
    assert_eq!(pods.len(), jobs, "each has its pod");
    let names: Vec<&str> = pods.iter().take(ended).filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
    let ends = ["tests.tidegate.dev/outcome=succeed", "--overwrite", "-n", &namespace];
    world.ok("a", &[&["annotate", "pods"], &names[..], &ends].concat());
    let succeeded = |job: &Value| job["status"]["succeeded"] == 1;
    until("they have ended", patience(jobs), || {
        std::thread::sleep(Duration::from_millis(500));
        world.list("a", "jobs", &namespace).iter().filter(|job| succeeded(job)).count() == ended
    });
    let start = Instant::now();
    let process = process::ServerProcess::start(&site);
    let serving = start.elapsed();
    until("the agent is up", patience(jobs), || figure(&process, "tidegate_agent_up{agent=\"a\"}") == 1.0);
    let (up, requests) = (start.elapsed(), figure(&process, REQUESTS));
    until("what ended is known", patience(jobs), || {
        figure(&process, "tidegate_runs{status=\"succeeded\"}") == ended as f64
    });
    let known = start.elapsed();
    let rest = (jobs - ended) as f64;
    let running = || figure(&process, "tidegate_runs{status=\"running\"}");
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(running(), rest, "none was lost, and none was made again");
    assert_eq!(world.list("a", "jobs", &namespace).iter().filter(|job| !succeeded(job)).count(), jobs - ended);
    println!(
        "restart over {jobs} Jobs: serving after {serving:.2?}, agent up (all of them listed) after {up:.2?} and {requests} requests, the {ended} that had ended meanwhile known after {known:.2?}; {} requests 10 s later; memory {} MB, peak {} MB (with none: {empty} MB)",
        figure(&process, REQUESTS),
        status(process.id(), "VmRSS:"),
        status(process.id(), "VmHWM:"),
    );
}

const REQUESTS: &str = "tidegate_agent_requests_total{agent=\"a\"}";

/// What holds of a server that was just started, with its agent up; it is killed afterwards.
fn restarted<T>(site: &Site, jobs: usize, look: impl FnOnce(&process::ServerProcess) -> T) -> T {
    let process = process::ServerProcess::start(site);
    until("the agent is up", patience(jobs), || figure(&process, "tidegate_agent_up{agent=\"a\"}") == 1.0);
    look(&process)
}

/// A figure of a server; nothing is not a number.
fn figure(process: &process::ServerProcess, name: &str) -> f64 {
    let text = process.metrics();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(f64::NAN)
}

/// A line of the status of a process, in MB.
fn status(process: u32, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
