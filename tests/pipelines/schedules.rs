//! Schedules by a real clock; the tables of times are tested beside the rules, by a simulated one.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::dispatch::status::Status;

use crate::{Server, begun};

/// The times that runs were started for; fails when one is there twice.
fn planned(server: &Server, name: &str) -> BTreeSet<i64> {
    let runs = server.runs().into_iter().filter(|run| run.name == name);
    let times: Vec<i64> = runs
        .filter_map(|run| match run.origin {
            Origin::Schedule { at } => Some(at.0),
            _ => None,
        })
        .collect();
    let different: BTreeSet<i64> = times.iter().copied().collect();
    assert_eq!(times.len(), different.len(), "no time fires twice: {times:?}");
    different
}

fn every(seconds: &str, more: &str) -> String {
    format!(
        "version: 1.1\nkind: workflow\nname: tick\ntriggers: [{{schedule: {{frequency: {seconds}{more}}}}}]\noperation: {{component: {{run: {{kind: job, container: {{command: [\"true\"]}}}}}}}}\n"
    )
}

#[test]
fn a_schedule_goes_on_after_a_restart_is_armed_anew_when_edited_and_gone_when_removed() {
    let (site, server) = begun();
    site.write("projects/p/workflows/tick.yaml", &every("1", ", catchup: all"));
    let commit = site.push("every second");
    server.until_applied(&commit);
    assert_eq!(server.runs().len(), 0, "arming starts nothing");
    server.until("it fires", |server| planned(server, "tick").len() >= 2);
    drop(server);
    std::thread::sleep(Duration::from_millis(2500));
    let server = site.start();
    server.until("what was missed is made up for", |server| planned(server, "tick").len() >= 6);
    let times: Vec<i64> = planned(&server, "tick").into_iter().collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1000), "every second, without gaps: {times:?}");

    // Edited: the old times are over, the new ones count from now. Its own beginning is an hour away.
    site.write("projects/p/workflows/tick.yaml", &every("3600", ""));
    let commit = site.push("every hour");
    server.until_applied(&commit);
    std::thread::sleep(Duration::from_millis(1100));
    let before = planned(&server, "tick").len();
    std::thread::sleep(Duration::from_millis(2300));
    assert_eq!(planned(&server, "tick").len(), before);

    site.write("projects/p/workflows/tick.yaml", &every("1", ", maxRuns: 2"));
    let commit = site.push("twice more");
    server.until_applied(&commit);
    server.until("it fires twice more", |server| planned(server, "tick").len() == before + 2);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(planned(&server, "tick").len(), before + 2);
    assert!(server.runs().iter().all(|run| run.status != Status::Failed));

    site.write("projects/p/workflows/tick.yaml", &every("1", ""));
    let commit = site.push("and again");
    server.until_applied(&commit);
    server.until("it fires", |server| planned(server, "tick").len() > before + 2);
    // A pause of the git side holds schedules too.
    server.0.set_paused(true);
    std::thread::sleep(Duration::from_millis(300));
    let paused = planned(&server, "tick").len();
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(planned(&server, "tick").len(), paused);
    server.0.set_paused(false);
    server.until("one run makes up for all that was missed", |server| planned(server, "tick").len() > paused);
    site.remove("projects/p/workflows/tick.yaml");
    site.workflow("other", "here/fast", "true");
    let commit = site.push("no more");
    server.until_applied(&commit);
    std::thread::sleep(Duration::from_millis(1100));
    let last = planned(&server, "tick").len();
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(planned(&server, "tick").len(), last, "a removed schedule is gone");
}

#[test]
fn one_that_depends_on_the_past_waits_for_its_last_run() {
    let (site, server) = begun();
    let go = site.path().join("go");
    let text = every("1", ", dependsOnPast: true").replace(
        "command: [\"true\"]",
        &format!("command: [sh, -c, 'while ! test -e {}; do sleep 0.05; done']", go.display()),
    );
    site.write("projects/p/workflows/tick.yaml", &text);
    site.push("one after another");
    server.until("the first runs", |server| server.runs().iter().any(|run| run.status == Status::Running));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(planned(&server, "tick").len(), 1);
    std::fs::write(&go, "").unwrap();
    server.until("the next ones follow", |server| planned(server, "tick").len() >= 2);
}
