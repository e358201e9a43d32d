//! Removing and renaming what still has work.

use crate::scenarios::Followed;
use crate::site::{Server, Site, queue, workflow};
use tidegate::control::{StartRequest, StartSource};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{QueueName, WorkflowName};

fn count(server: &Server, holds: impl Fn(Status) -> bool) -> usize {
    server.runs().iter().filter(|run| holds(run.status)).count()
}

/// A site with one run running and three queued, all of one workflow in `here/slow`.
fn busy(extra: &str, prepare: impl FnOnce(&Site)) -> Followed {
    let all = Followed::after(|site| {
        let script = format!("while ! test -e {}/go; do sleep 0.05; done", site.path().display());
        site.write("projects/p/workflows/train.yaml", &(workflow("train", "here/slow", &script) + extra));
        prepare(site);
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..4 {
        let request = StartRequest {
            id: None,
            project: None,
            source: StartSource::Workflow(WorkflowName::parse("p/train").unwrap()),
            params: Default::default(),
            queue: None,
            name: None,
            presets: Vec::new(),
        };
        all.server.until("it can be started", |server| server.0.catalog().is_some());
        runtime.block_on(all.server.0.start_run(request, "ann")).unwrap();
    }
    all.server.until("one runs", |server| count(server, |status| status == Status::Running) == 1);
    assert_eq!(count(&all.server, |status| status == Status::Queued), 3);
    all
}

fn let_go(all: &Followed) {
    std::fs::write(all.site.path().join("go"), "").unwrap();
}

#[test]
fn scenario_10_a_deleted_workflow_keeps_its_runs() {
    let all = busy("", |_| {});
    all.site.remove("projects/p/workflows/train.yaml");
    assert_eq!(all.push("deleted"), 0);
    assert_eq!(count(&all.server, |status| status == Status::Queued), 3);
    let_go(&all);
    all.server.until("all end well", |server| count(server, |status| status == Status::Succeeded) == 4);
}

#[test]
fn scenario_10_a_deleted_workflow_cancels_when_it_says_so() {
    let all = busy("onRemove: cancelQueued\n", |_| {});
    all.site.remove("projects/p/workflows/train.yaml");
    assert_eq!(all.push("deleted"), 0);
    assert_eq!(count(&all.server, |status| status == Status::Stopped), 3);
    assert_eq!(count(&all.server, |status| status == Status::Running), 1);
    let_go(&all);

    let all = busy("onRemove: cancelAll\n", |_| {});
    // Its last good definition still counts when its text was broken in between.
    all.site.write("projects/p/workflows/train.yaml", "version: 1.1\nkind: workflow\nname: train\noperation: {}\n");
    assert_eq!(all.push("broken"), 0);
    assert_eq!(count(&all.server, |status| !status.is_final()), 4);
    all.site.remove("projects/p/workflows/train.yaml");
    assert_eq!(all.push("deleted"), 0);
    all.server.until("all are stopped", |server| count(server, |status| status == Status::Stopped) == 4);
}

fn has_queue(all: &Followed, name: &str) -> bool {
    let name = QueueName::parse(name).unwrap();
    all.server.0.engine().read(|state| state.queues().any(|queue| *queue.name == name))
}

/// Removes `here/slow` and moves the workflow to `here/fast`.
fn remove_queue(all: &Followed) {
    all.site.remove("queues/here/slow.yaml");
    all.site.workflow("train", "here/fast", "true");
    assert_eq!(all.push("without a queue\n\nRuns: skip"), 0);
}

#[test]
fn a_removed_queue_drains() {
    let all = busy("", |_| {});
    remove_queue(&all);
    assert!(has_queue(&all, "here/slow"));
    assert_eq!(count(&all.server, |status| !status.is_final()), 4);
    let_go(&all);
    all.server.until("all end well", |server| count(server, |status| status == Status::Succeeded) == 4);
    all.server.until("then it goes", |_| !has_queue(&all, "here/slow"));
}

#[test]
fn a_removed_queue_hands_its_runs_on() {
    let all =
        busy("", |site| site.write("queues/here/slow.yaml", &(queue("slow", 1) + "onRemove: {moveTo: here/fast}\n")));
    remove_queue(&all);
    all.server.until("all run", |server| count(server, |status| status == Status::Running) == 4);
    let_go(&all);
    all.server.until("then it goes", |_| !has_queue(&all, "here/slow"));
}

#[test]
fn a_removed_queue_cancels_when_it_says_so() {
    let all = busy("", |site| site.write("queues/here/slow.yaml", &(queue("slow", 1) + "onRemove: cancel\n")));
    remove_queue(&all);
    all.server.until("those that wait are stopped", |server| count(server, |status| status == Status::Stopped) >= 3);
    let_go(&all);
    all.server.until("then it goes", |_| !has_queue(&all, "here/slow"));
}

#[test]
fn a_renamed_queue_takes_its_runs_along() {
    let all = busy("", |_| {});
    all.site.remove("queues/here/slow.yaml");
    all.site.write("queues/here/steady.yaml", &(queue("steady", 2) + "previousName: slow\n"));
    all.site.workflow("train", "here/steady", "true");
    assert_eq!(all.push("another name\n\nRuns: skip"), 0);
    assert!(has_queue(&all, "here/steady") && !has_queue(&all, "here/slow"));
    all.server.until("two run now", |server| count(server, |status| status == Status::Running) == 2);
    assert!(all.server.runs().iter().all(|run| run.queue.to_string() == "here/steady"));
    let all = all.restart(|_| {});
    let_go(&all);
    all.server.until("all end well", |server| count(server, |status| status == Status::Succeeded) == 4);
}
