//! What people do to the git side: roll back, pause, change a queue by hand; and what a restart makes of it.

use crate::scenarios::{Followed, HELD};
use crate::site::queue;
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::ids::{CommitId, QueueName};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn limit(all: &Followed, name: &str) -> Option<u32> {
    let name = QueueName::parse(name).unwrap();
    all.server
        .0
        .engine()
        .read(|state| state.queues().find(|queue| *queue.name == name).map(|queue| queue.policy.concurrency.max()))
}

#[test]
fn a_rollback_stays_until_it_is_lifted() {
    let all = Followed::after(|_| {});
    let good = all.site.git(&["rev-parse", "HEAD"]);
    all.site.write("queues/here/fast.yaml", &queue("fast", 1));
    assert_eq!(all.push("too low"), 0);
    assert_eq!(limit(&all, "here/fast"), Some(1));
    let commit = runtime().block_on(all.server.0.rollback(Some("main~1".into()))).unwrap();
    assert_eq!(commit.as_str(), good);
    assert_eq!(limit(&all, "here/fast"), Some(8));

    // A newer commit does not move what was meant by `main~1`, and neither does a restart.
    all.site.workflow("new", HELD, "true");
    let newer = all.site.push("newer");
    all.server.0.sync_now();
    let all = all.restart(|_| {});
    all.server.until("it has looked", |server| server.0.sync_status().checked_at.is_some());
    assert_eq!(all.server.0.sync_status().pinned, Some(CommitId::new(&good)));
    assert_eq!((limit(&all, "here/fast"), all.server.runs().len()), (Some(8), 0));
    assert!(runtime().block_on(all.server.0.rollback(Some("nonsense".into()))).is_err());
    assert_eq!(all.server.0.sync_status().pinned, Some(CommitId::new(&good)), "a rollback that fails changes nothing");

    let commit = runtime().block_on(all.server.0.rollback(None)).unwrap();
    assert_eq!(commit.as_str(), newer);
    assert_eq!((limit(&all, "here/fast"), all.server.runs().len()), (Some(1), 1));
    assert_eq!(all.server.0.sync_status().pinned, None);
}

#[test]
fn a_pause_stays_until_it_is_lifted() {
    let all = Followed::after(|_| {});
    all.server.0.set_paused(true);
    all.site.workflow("new", HELD, "true");
    let commit = all.site.push("while paused");
    let all = all.restart(|_| {});
    assert_eq!(all.server.runs().len(), 0);
    all.server.until("it is paused", |server| server.0.sync_status().paused);
    all.server.0.hint();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(all.server.runs().len(), 0);
    all.server.0.set_paused(false);
    all.server.until_applied(&commit);
    assert_eq!(all.server.runs().len(), 1);
}

#[test]
fn drift_is_healed_when_somebody_asks() {
    let all = Followed::after(|_| {});
    let name = QueueName::parse("here/fast").unwrap();
    let mut policy = all.server.0.catalog().unwrap().queues[&name].item.clone();
    policy.hold = true;
    let command = Command::ChangeQueue { queue: name.clone(), policy: Box::new(policy), by: "ann".into() };
    runtime().block_on(all.server.0.engine().ask(command, Vec::new())).unwrap();
    let held = |all: &Followed| {
        all.server.0.engine().read(|state| state.queues().any(|queue| *queue.name == name && queue.policy.hold))
    };
    assert!(held(&all));
    let all = all.restart(|_| {});
    all.server.until("it has looked", |server| server.0.sync_status().checked_at.is_some());
    assert!(held(&all), "an emergency brake is not released by a restart");
    all.server.0.sync_now();
    all.server.until("it is healed", |_| !held(&all));
}
