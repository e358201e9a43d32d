//! Many runs over two clusters, and a server that is killed again and again meanwhile. A witness in each cluster counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate::domain::catalog::CompiledOperation;
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::dispatch::history::RunFilter;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{ProjectName, QueueName};
use tidegate::domain::workflow::start::{Circumstances, of_operation};
use tidegate::reconciler::new_run_id;

use crate::process::{Pauses, ServerProcess};
use crate::site::Site;
use crate::stand::{Fate, agent, site};
use crate::witness::{GROUP, Witness};
use crate::world::{World, clusters};

/// Runs over both clusters, unless `TIDEGATE_CLUSTER_RUNS` says otherwise (the long version: 2000).
const RUNS: usize = 300;
/// Kills of the server, unless `TIDEGATE_CLUSTER_KILLS` says otherwise.
const KILLS: usize = 10;
/// Longest wait for all runs, for each of them: a busy machine takes some 50 ms.
const PATIENCE_EACH: Duration = Duration::from_millis(600);

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Queues by cluster and name, with the most that may run there at once. The last two come from a quota of cpu.
const QUEUES: [(&str, &str, usize); 4] =
    [("a", "wide", 12), ("b", "wide", 12), ("a", "metered", 4), ("b", "metered", 4)];
/// The most of an agent, and of the organization.
const AGENT: usize = 14;
const ALL: usize = 24;

/// Agents, queues and an organization with limits; those of the quotas, the agents and the organization bind.
fn limited(world: &World, namespace: &str) -> Site {
    let site = site(world, namespace);
    site.write("tidegate.yaml", &format!("version: 1.1\nkind: organization\nname: acme\nconcurrency: {ALL}\n"));
    for cluster in ["a", "b"] {
        site.remove(&format!("queues/{cluster}/q.yaml"));
        let text =
            agent(world, cluster, namespace).replace("kubernetes:", &format!("concurrency: {AGENT}\nkubernetes:"));
        site.write(&format!("agents/{cluster}.yaml"), &text);
    }
    for (cluster, name, most) in QUEUES {
        let limit =
            if name == "wide" { format!("concurrency: {most}") } else { format!("quota: {{cpu: '{}'}}", most * 2) };
        site.write(
            &format!("queues/{cluster}/{name}.yaml"),
            &format!("version: 1.1\nkind: queue\nname: {name}\nagent: {cluster}\n{limit}\n"),
        );
    }
    site.write("projects/p/project.yaml", "version: 1.1\nkind: project\nname: p\ndefaultQueue: a/wide\n");
    site
}

/// Asserts what the witnesses saw, and says it.
fn held_to_limits(witnesses: &[(&str, Witness)], runs: usize) {
    let mut made = 0;
    for (cluster, witness) in witnesses {
        let tally = witness.nothing_was_doubled();
        println!("cluster {cluster}: {} pods, at most at once: {:?}", tally.pods.len(), tally.most);
        made += tally.pods.len();
        for (of, name, most) in QUEUES {
            let seen = tally.most.get(name).copied().unwrap_or_default();
            assert!(of != *cluster || seen <= most, "{of}/{name}: {seen} at once, {most} are allowed");
        }
        assert!(tally.most["all"] <= AGENT, "{cluster}: {} at once, {AGENT} are allowed", tally.most["all"]);
    }
    assert_eq!(made, runs, "each run had one pod");
}

#[test]
fn many_runs_over_two_clusters_keep_to_every_limit() {
    let Some((world, _guard)) = clusters() else { return };
    let runs = number("TIDEGATE_CLUSTER_RUNS", RUNS);
    let namespace = world.namespace("many");
    let site = limited(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    server.until_up("b");
    let witnesses = ["a", "b"].map(|cluster| (cluster, Witness::new(world, cluster, &namespace)));
    let begun = Instant::now();
    let mut bodies = BTreeMap::new();
    let starts = (0..runs).map(|number| {
        let (cluster, queue, _) = QUEUES[number % QUEUES.len()];
        let operation = CompiledOperation {
            name: Some("one".to_owned()),
            run: json!({
                "kind": "job",
                "environment": {
                    "labels": {GROUP: queue},
                    "annotations": {"tests.tidegate.dev/run": "300ms"},
                },
                "container": {"image": "x", "command": ["x"], "resources": {"requests": {"cpu": "2"}}},
            }),
            request: serde_json::from_value(json!({"cpu": "2"})).unwrap(),
            ..CompiledOperation::default()
        };
        let started = of_operation(
            &operation,
            Circumstances {
                id: new_run_id(),
                project: ProjectName::parse("p").unwrap(),
                workflow: None,
                commit: None,
                queue: QueueName::parse(&format!("{cluster}/{queue}")).unwrap(),
                group: None,
                origin: Origin::Request { user: "test".to_owned() },
            },
        );
        bodies.insert(queue, started.body);
        started.run
    });
    let command = Command::Submit(starts.collect());
    server.0.engine().ask_blocking(command, bodies.into_values().collect()).unwrap();
    let mut most = 0;
    while server.0.engine().read(|state| state.runs().next().is_some()) {
        let used = server.0.engine().read(|state| state.agents().map(|agent| agent.running as usize).sum());
        most = most.max(used);
        assert!(
            begun.elapsed() < PATIENCE_EACH * u32::try_from(runs).unwrap(),
            "{:?}",
            witnesses.map(|(_, w)| w.tally())
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    let succeeded = RunFilter { statuses: vec![Status::Succeeded], ..RunFilter::default() };
    assert_eq!(server.0.engine().history().count(&succeeded).unwrap() as usize, runs);
    println!(
        "{runs} runs over two clusters in {took:.1?} ({:.1}/s), {most} slots at most",
        runs as f64 / took.as_secs_f64()
    );
    assert!(most <= ALL, "{most} of {ALL}");
    held_to_limits(&witnesses, runs);
    let requests: u64 = ["a", "b"]
        .map(|agent| server.0.agent_requests(&tidegate::domain::ids::AgentName::parse(agent).unwrap()).unwrap())
        .iter()
        .sum();
    let each = requests as f64 / runs as f64;
    println!("requests to the API servers: {each:.2} for each run");
    assert!(each <= 4.0, "{each} requests for each run");
}

#[test]
fn a_server_that_is_killed_at_random_loses_and_doubles_nothing_in_clusters() {
    let Some((world, _guard)) = clusters() else { return };
    let (runs, kills) = (number("TIDEGATE_CLUSTER_RUNS", RUNS), number("TIDEGATE_CLUSTER_KILLS", KILLS));
    let namespace = world.namespace("kill");
    let site = limited(world, &namespace);
    site.push("first");
    let mut server = ServerProcess::start(&site);
    server.until_applied(&site);
    let witnesses = ["a", "b"].map(|cluster| (cluster, Witness::new(world, cluster, &namespace)));
    for number in 0..runs {
        let (cluster, queue, _) = QUEUES[number % QUEUES.len()];
        let fate = Fate::new("succeed")
            .with("run", if number % 3 == 0 { "20ms" } else { "700ms" })
            .run(&format!("environment:\n  labels: {{{GROUP}: {queue}}}\n"))
            .container("resources: {requests: {cpu: '2'}}\n");
        let name = format!("run-{number}");
        site.write(&format!("projects/p/workflows/{name}.yaml"), &fate.workflow(&name, &format!("{cluster}/{queue}")));
    }
    site.push(&format!("many\n\nAllow-Starts: {runs}"));
    let mut pauses = Pauses::new();
    let ended = |server: &ServerProcess| {
        let listed = server.ask(&["ops", "ls", "--status", "succeeded", "--limit", "10000"]);
        listed.as_array().map_or(0, Vec::len)
    };
    let mut during = 0;
    for _ in 0..kills {
        // Sometimes at once, sometimes after some seconds of work.
        for _ in 0..8 {
            pauses.sleep();
        }
        during += usize::from(ended(&server) < runs);
        server.kill_and_restart(&site);
    }
    assert!(during * 2 > kills, "only {during} of {kills} kills came while there was work");
    let begun = Instant::now();
    while ended(&server) < runs {
        let wait = PATIENCE_EACH * u32::try_from(runs).unwrap();
        assert!(begun.elapsed() < wait, "{} of {runs} have succeeded", ended(&server));
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("{runs} runs, {kills} kills, {during} of them under load");
    held_to_limits(&witnesses, runs);
}
