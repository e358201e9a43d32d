//! Two agents that lead to one namespace in different words: the cluster itself tells, and the second one stays out.

use std::time::{Duration, Instant};

use crate::injector::Injector;
use crate::serving::{Serving, agent_file, place, program, site_of};
use crate::stand::Fate;
use crate::world::{World, clusters};

const QUOTA: &str = "managed:\n  quota: {pods: 200}\n";

fn has_quota(world: &World, namespace: &str) -> bool {
    world.kubectl("a", &["get", "resourcequota", "tidegate-twin", "-n", namespace], "").0
}

fn trouble(server: &Serving, agent: &str) -> String {
    server.json(&["agents", "get", agent])["trouble"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_second_agent_of_a_namespace_stays_down_and_says_what_to_do() {
    let Some((world, _guard)) = clusters() else { return };
    let (namespace, elsewhere) = (world.namespace("shared"), world.namespace("apart"));
    let site = site_of(&place(&world.kubeconfig, "a", &namespace));
    site.push("one agent");
    let server = Serving::start(&site, program());
    server.until_up("a");

    // Another way to the same cluster: no text tells that it is one.
    let injector = Injector::new(world, "a", site.path());
    agent_file(&site, "twin", &(place(&injector.kubeconfig, "a", &namespace) + QUOTA));
    site.write("queues/twin/q.yaml", "version: 1.1\nkind: queue\nname: q\nagent: twin\n");
    for (name, queue) in [("mine", "a/q"), ("its", "twin/q")] {
        site.write(&format!("projects/p/workflows/{name}.yaml"), &Fate::new("succeed").workflow(name, queue));
    }
    site.push("a second agent");
    assert_eq!(server.run(&["validate", "."]).0, 0, "offline nobody can know");
    let why = server.until("the reason", || {
        let known = server.run(&["agents", "get", "twin"]).0 == 0;
        known.then(|| trouble(&server, "twin")).filter(|why| !why.is_empty())
    });
    for part in
        ["agent a works in this namespace", "give one of them another `namespace`", "Lease tidegate-", &namespace]
    {
        assert!(why.contains(part), "no `{part}` in: {why}");
    }
    let (_, table, _) = server.run(&["agents", "ls"]);
    assert!(table.contains("agent a works in this namespace"), "{table}");
    server.until_status("mine", "succeeded");
    // Longer than a lease lasts: the first one renews it.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(22) {
        assert_eq!(server.json(&["agents", "get", "twin"])["up"], false);
        assert!(!has_quota(world, &namespace), "it writes what it declares");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(server.json(&["agents", "get", "a"])["up"], true);
    server.until_status("its", "queued");

    // Another server: the agent that was there keeps it.
    drop(server);
    let server = Serving::start(&site, program());
    server.until_up("a");
    server.until("the reason again", || trouble(&server, "twin").contains("agent a works").then_some(()));

    // Mended, the second one works without anybody's doing.
    agent_file(&site, "a", &place(&world.kubeconfig, "a", &elsewhere));
    site.push("each has its own");
    server.until_up("twin");
    server.until_status("its", "succeeded");
    server.until("its quota", || has_quota(world, &namespace).then_some(()));
    server.until_up("a");
}
