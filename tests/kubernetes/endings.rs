//! When a run has ended, and for how long its objects stay.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate::domain::dispatch::status::Status;

use crate::outcomes::newest;
use crate::stand::{Fate, site};
use crate::world::{PATIENCE, World, clusters};

/// The objects of a kind that a run has.
fn objects(world: &World, kind: &str, namespace: &str, run: &str) -> Vec<Value> {
    let mut all = world.list("a", kind, namespace);
    all.retain(|object| object["metadata"]["labels"]["tidegate.dev/run"] == run);
    all
}

fn until_gone(world: &World, kind: &str, namespace: &str, run: &str) {
    let begun = Instant::now();
    while !objects(world, kind, namespace, run).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{kind} of {run} stay");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_has_ended_stays_as_long_as_its_ttl_says_and_goes_then() {
    const TTL: i64 = 8;
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("ttl");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    let stays = Fate::new("succeed").operation(&format!("termination: {{ttl: {TTL}}}"));
    site.write("projects/p/workflows/stays.yaml", &stays.workflow("stays", "a/q"));
    site.write("projects/p/workflows/goes.yaml", &Fate::new("succeed").workflow("goes", "a/q"));
    site.push("both");
    let run = server.until_status("stays", Status::Succeeded).id.to_string();
    let ended = loop {
        let [job] = &objects(world, "jobs", &namespace, &run)[..] else { panic!("its Job is gone before its ttl") };
        if let Some(time) = job["status"]["completionTime"].as_str() {
            break time.parse::<jiff::Timestamp>().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let since = || jiff::Timestamp::now().duration_since(ended).as_secs();
    loop {
        let pods = objects(world, "pods", &namespace, &run).len();
        assert!(pods == 1 || since() >= TTL, "its pod has gone after {} s", since());
        let jobs = objects(world, "jobs", &namespace, &run).len();
        assert!(jobs == 1 || since() >= TTL, "its Job has gone after {} s", since());
        if jobs == 0 {
            break;
        }
        assert!(since() < 120, "it stays");
        std::thread::sleep(Duration::from_millis(100));
    }
    until_gone(world, "pods", &namespace, &run);
    let other = server.until_status("goes", Status::Succeeded).id.to_string();
    until_gone(world, "jobs", &namespace, &other);
}

#[test]
fn a_run_ends_with_its_main_container_whatever_its_sidecars_do() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("sidecars");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    let sidecars = "sidecars:\n- {name: proxy, image: registry.example.org/proxy:1}\n";
    let ends = |message: &str| Fate::new("main-ends").with("message", message).run(sidecars);
    let well = ends(r#"{"loss": 0.25}"#).operation("termination: {ttl: 3600}");
    let badly = ends("no such file").with("exit-code", "4").operation("termination: {maxRetries: 1}");
    site.write("projects/p/workflows/well.yaml", &well.workflow("well", "a/q"));
    site.write("projects/p/workflows/badly.yaml", &badly.workflow("badly", "a/q"));
    site.push("both");
    let run = server.until_status("well", Status::Succeeded);
    assert_eq!(run.outputs.get("loss"), Some(&serde_json::json!(0.25)));
    // What is left of it is told to go, as it would stay for ever: for the cluster it has not finished.
    until_gone(world, "pods", &namespace, &run.id.to_string());
    let run = server.until_status("badly", Status::Failed);
    assert_eq!(run.attempt.0, 2, "it is tried again");
    let cause = newest(&server, "badly");
    assert_eq!((cause.reason.as_str(), cause.message.contains("exit code 4")), ("ExitCode", true), "{cause:?}");
    until_gone(world, "pods", &namespace, &run.id.to_string());
}
