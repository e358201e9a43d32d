//! From `git push` to finished run, with real git, a real store and real processes.

#![allow(clippy::unwrap_used)] // a test that cannot unwrap fails, which is what it should do

mod caching;
mod fields;
mod kill;
mod outages;
mod people;
mod process;
mod removals;
mod scenarios;
mod site;

use site::{Server, Site, queue};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::QueueName;

fn succeeded(server: &Server, name: &str) -> usize {
    server.runs().iter().filter(|run| run.name == name && run.status == Status::Succeeded).count()
}

#[test]
fn the_first_sync_starts_nothing_and_a_push_starts_one_run() {
    let site = Site::new();
    for i in 0..5 {
        site.workflow(&format!("old-{i}"), "here/fast", "true");
    }
    let first = site.push("first");
    let server = site.start();
    server.until_seen(&first);
    assert_eq!(server.runs().len(), 0);
    server.until("it says so", |server| server.0.sync_status().summary.contains("adopted 5 workflows, 0 runs started"));

    site.workflow("new", "here/fast", "echo hello; echo '{\"loss\": 0.5}' > \"$TIDEGATE_OUTPUTS\"");
    let second = site.push("a new workflow");
    server.until("the run succeeds", |server| succeeded(server, "new") == 1);
    let run = &server.runs()[0];
    assert_eq!(run.commit.as_ref().map(|commit| commit.as_str()), Some(second.as_str()));
    assert_eq!(run.outputs["loss"], 0.5);
    let log = std::fs::read_to_string(server.0.log_file(run).unwrap()).unwrap();
    assert_eq!(log, "hello\n");

    // A comment starts nothing, a change of meaning one run, the same again nothing.
    let text = site::workflow("new", "here/fast", "echo hello again");
    site.write("projects/p/workflows/new.yaml", &format!("# a comment\n{text}"));
    site.push("another meaning");
    server.until("the second run succeeds", |server| succeeded(server, "new") == 2);
    site.write("projects/p/workflows/new.yaml", &text);
    let last = site.push("only the comment");
    server.until_seen(&last);
    assert_eq!(server.runs().len(), 2);
}

#[test]
fn bad_policy_keeps_the_last_good_one_and_good_workflows_go_on() {
    let site = Site::new();
    let first = site.push("first");
    let server = site.start();
    server.until_seen(&first);

    site.write("queues/here/fast.yaml", &queue("fast", 8).replace("concurrency", "concurency"));
    site.write("queues/here/slow.yaml", &queue("slow", 3));
    site.workflow("good", "here/fast", "true");
    let bad = site.push("bad queue");
    server.until("the good workflow runs", |server| succeeded(server, "good") == 1);
    server.until_seen(&bad);
    let problems = server.0.diagnostics();
    assert!(problems.iter().any(|problem| problem.place.to_string() == "queues/here/fast.yaml:5:1"), "{problems:?}");
    let slow = QueueName::parse("here/slow").unwrap();
    let limit = |server: &Server| {
        server.0.engine().read(|state| state.queues().find(|q| *q.name == slow).map(|q| q.policy.concurrency.max()))
    };
    assert_eq!(limit(&server), Some(1), "no part of a bad policy is applied");

    site.write("queues/here/fast.yaml", &queue("fast", 8));
    site.workflow("better", "here/fast", "true");
    site.write("projects/p/workflows/broken.yaml", "version: 1.1\nkind: workflow\nname: broken\noperation: {}\n");
    site.push("mended, and a broken workflow");
    server.until("the better workflow runs", |server| succeeded(server, "better") == 1);
    assert_eq!(limit(&server), Some(3));
    assert_eq!(server.runs().iter().filter(|run| run.name == "broken").count(), 0);
}

#[test]
fn a_lowered_limit_stops_nothing_and_starts_nothing_until_it_holds() {
    let site = Site::new();
    let first = site.push("first");
    let server = site.start();
    server.until_seen(&first);
    let gate = site.path().join("go");
    for i in 0..9 {
        site.workflow(
            &format!("w{i}"),
            "here/fast",
            &format!("while ! test -e {}; do sleep 0.05; done", gate.display()),
        );
    }
    site.write("queues/here/fast.yaml", &queue("fast", 6));
    site.push("nine runs, six at once");
    let running = |server: &Server| server.runs().iter().filter(|run| run.status == Status::Running).count();
    server.until("six run", |server| running(server) == 6);

    site.write("queues/here/fast.yaml", &queue("fast", 2));
    let files = tidegate::source::read_worktree(&site.path().join("work")).unwrap();
    let (plan, _) = server.0.plan(&files);
    let text = tidegate::domain::plan::render(
        &plan.unwrap(),
        tidegate::domain::plan::Format::Text,
        tidegate::domain::plan::Style::default(),
    );
    assert!(text.contains("6 running, limit 2: 4 over"), "{text}");
    let lowered = site.push("two at once");
    server.until_seen(&lowered);
    assert_eq!(running(&server), 6, "nothing is stopped");
    std::fs::write(&gate, "").unwrap();
    server.until("all succeed", |server| {
        let runs = server.runs();
        runs.len() == 9 && runs.iter().all(|run| run.status == Status::Succeeded)
    });
}

#[test]
fn a_restart_of_the_server_adopts_what_runs() {
    let site = Site::new();
    let first = site.push("first");
    let gate = site.path().join("go");
    {
        let server = site.start();
        server.until_seen(&first);
        let script =
            format!("echo started >> {0}/starts; while ! test -e {0}/go; do sleep 0.05; done", site.path().display());
        site.workflow("long", "here/fast", &script);
        site.push("long");
        server.until("it runs", |server| server.runs().iter().any(|run| run.status == Status::Running));
    }
    let server = site.start();
    server.until("the agent is up", |server| server.0.engine().read(|state| state.agents().all(|agent| agent.up)));
    std::fs::write(&gate, "").unwrap();
    server.until("it succeeds", |server| succeeded(server, "long") == 1);
    assert_eq!(std::fs::read_to_string(site.path().join("starts")).unwrap(), "started\n");
    assert_eq!(server.runs().len(), 1);
}
