//! A push, and what comes of it in the right cluster and namespace.

use std::time::{Duration, Instant};

use serde_json::json;
use tidegate::domain::dispatch::status::Status;

use crate::site::Server;
use crate::stand::{Fate, site};
use crate::world::{PATIENCE, clusters};

/// What each pod of these clusters prints (tests/cluster/up).
const LOG: &str = "epoch 1 loss 0.5\nepoch 2 loss 0.25\n";

#[test]
fn a_push_becomes_a_job_and_comes_back_with_status_outputs_and_log() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("journey");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    server.until_up("b");
    let fate = Fate::new("succeed").with("run", "4s").with("message", r#"{"loss": 0.25}"#);
    site.write("projects/p/workflows/one.yaml", &fate.workflow("one", "a/q"));
    site.write("projects/p/workflows/two.yaml", &fate.workflow("two", "b/q"));
    site.push("two workflows");
    let ways = [("one", "a", "b"), ("two", "b", "a")];
    for (workflow, cluster, other) in ways {
        let run = server.until_status(workflow, Status::Running);
        let jobs = world.list(cluster, "jobs", &namespace);
        let job = jobs.iter().find(|job| job["metadata"]["labels"]["tidegate.dev/run"] == run.id.to_string()).unwrap();
        assert_eq!(job["metadata"]["name"], format!("tidegate-{}-1", run.id));
        assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example.org/train:1");
        let elsewhere = world.list(other, "jobs", &namespace);
        assert!(elsewhere.iter().all(|job| job["metadata"]["labels"]["tidegate.dev/run"] != run.id.to_string()));
    }
    for (workflow, ..) in ways {
        let run = server.until_status(workflow, Status::Succeeded);
        assert_eq!(run.outputs, *json!({"loss": 0.25}).as_object().unwrap());
        let words: Vec<Status> = server.conditions(&run).iter().filter_map(|condition| condition.status).collect();
        assert!(words.ends_with(&[Status::Starting, Status::Running, Status::Succeeded]), "{words:?}");
        let log = server.0.log_file(&run).unwrap();
        let begun = Instant::now();
        while !std::fs::read_to_string(&log).is_ok_and(|text| text == LOG) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", std::fs::read_to_string(&log));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // What has ended, and is saved, does not stay in the cluster.
    let begun = Instant::now();
    while !world.list("a", "jobs", &namespace).is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_log_is_there_while_the_run_goes_and_is_written_once_over_restarts() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("logs");
    let site = site(world, &namespace);
    site.push("empty");
    let mut server = site.start();
    server.until_up("a");
    let fate = Fate::new("succeed").with("run", "12s").with("message", r#"{"loss": 0.25}"#);
    site.write("projects/p/workflows/one.yaml", &fate.workflow("one", "a/q"));
    site.push("one");
    let log = |server: &Server| {
        let run = server.run_of("one").unwrap();
        server.0.log_file(&run).and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    };
    for _ in 0..2 {
        server.until_status("one", Status::Running);
        server.until("its log is streamed", |server| log(server) == LOG);
        assert_eq!(server.run_of("one").unwrap().status, Status::Running, "the log came before the end");
        drop(server);
        server = site.start();
    }
    let run = server.until_status("one", Status::Succeeded);
    assert_eq!((run.attempt.0, run.outputs.get("loss")), (1, Some(&json!(0.25))));
    // The object goes once the log is kept, and the log stays.
    server.until("its object is gone", |_| world.list("a", "jobs", &namespace).is_empty());
    assert_eq!(log(&server), LOG);
}
