//! What is lost between two lives of a server: its mirror, its data, an agent's memory; and agents that never answer.

use std::path::Path;
use std::process::Command;

use crate::scenarios::{Followed, HELD};
use crate::site::{Server, Site, workflow};
use tidegate::domain::dispatch::observation::LOST;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::AgentName;
use tidegate::domain::kubernetes::gone::{MAX_GONE, REMEMBERED};
use tidegate::domain::time::Span;
use tidegate::engine::wall_clock;

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[test]
fn scenario_28_a_restored_backup_takes_over_and_starts_nothing() {
    let all = Followed::after(|site| site.workflow("train", HELD, "echo 1"));
    let all = all.restart(|site| copy(&site.path().join("data"), &site.path().join("backup")));
    all.site.workflow("train", HELD, "echo 2");
    assert_eq!(all.push("after the backup"), 1);
    let head = all.site.git(&["rev-parse", "HEAD"]);
    let all = all.restart(|site| {
        std::fs::remove_dir_all(site.path().join("data")).unwrap();
        copy(&site.path().join("backup"), &site.path().join("data"));
        std::fs::write(site.path().join("data/restored"), "").unwrap();
    });
    all.server.until_applied(&head);
    all.server.until("it is taken over", |server| {
        server.0.sync_status().summary.contains("adopted 1 workflows, 0 runs started")
    });
    assert_eq!(all.server.runs().len(), 0);
    assert!(!all.site.path().join("data/restored").exists());
    all.site.workflow("train", HELD, "echo 3");
    assert_eq!(all.push("as usual"), 1);
}

#[test]
fn a_lost_mirror_is_fetched_again_and_starts_nothing_twice() {
    let all = Followed::after(|site| site.workflow("train", HELD, "echo 1"));
    all.site.workflow("train", HELD, "echo 2");
    assert_eq!(all.push("change"), 1);
    // Also when the data directory stands elsewhere afterwards.
    let all = all.restart(|site| {
        std::fs::remove_dir_all(site.path().join("data/mirror")).unwrap();
        std::fs::rename(site.path().join("data"), site.path().join("moved")).unwrap();
        copy(&site.path().join("moved"), &site.path().join("data"));
    });
    all.server.until("what is applied is known again", |_| all.has("p/train"));
    assert_eq!(all.server.runs().len(), 1);
    assert_eq!(all.push("nothing"), 0);
}

#[test]
fn an_attempt_that_its_agent_has_lost_ends_and_is_not_tried_again() {
    let all = Followed::after(|_| {});
    let text = workflow("long", "here/slow", "sleep 600")
        .replace("operation:\n", "operation:\n  termination: {maxRetries: 3}\n");
    all.site.write("projects/p/workflows/long.yaml", &text);
    assert_eq!(all.push("long"), 1);
    all.server.until("it runs", |server| server.runs()[0].status == Status::Running);
    // Its supervisor notices that the directory is gone and ends what it had.
    let all = all.restart(|site| std::fs::remove_dir_all(site.path().join("data/agents/here")).unwrap());
    all.server.until("it is over", |server| server.runs()[0].status.is_final());
    let run = &all.server.runs()[0];
    assert_eq!(run.status, Status::Failed);
    assert_eq!(run.cause.as_ref().unwrap().reason, LOST);
    // Its slot is free.
    all.site.workflow("next", "here/slow", "true");
    assert_eq!(all.push("next"), 1);
    all.server.until("the next one runs", |server| {
        server.runs().iter().any(|run| run.name == "next" && run.status == Status::Succeeded)
    });
}

#[test]
fn an_agent_that_cannot_be_reached_says_why_and_blocks_nobody() {
    let all = Followed::after(|site| {
        site.write("agents/far.yaml", "version: 1.1\nkind: agent\nname: far\nkubernetes: {namespace: ml, kubeconfig: \"file:/nowhere/kubeconfig\"}\n");
    });
    all.site.workflow("a-far", "far/default", "true");
    all.site.workflow("near", "here/fast", "echo {{ globals.owner_name }}");
    assert_eq!(all.push("one for each"), 2);
    all.server.until("the near one runs", |server| {
        server.runs().iter().any(|run| run.name == "near" && run.status == Status::Succeeded)
    });
    let runs = all.server.runs();
    let near = runs.iter().find(|run| run.name == "near").unwrap();
    assert_eq!(std::fs::read_to_string(all.server.0.log_file(near).unwrap()).unwrap(), "acme\n");
    let far = AgentName::parse("far").unwrap();
    all.server.until("it says why the far one is away", |server| {
        server.0.agent_trouble(&far).is_some_and(|why| why.contains("/nowhere/kubeconfig"))
    });
    assert!(all.server.0.agent_trouble(&AgentName::parse("here").unwrap()).is_none());
    assert!(all.server.0.engine().read(|state| state.agents().all(|agent| agent.up != (*agent.name == far))));
    assert!(runs.iter().any(|run| run.name == "a-far" && run.status == Status::Queued));
}

#[test]
fn a_cluster_that_was_given_up_is_looked_out_for_a_month_and_not_longer() {
    let all = Followed::after(|_| {});
    let now = wall_clock();
    let target =
        r#"{"kubernetes":{"namespace":"ml","kubeconfig":"file:/nowhere/kubeconfig","managed":{"quota":{"pods":"7"}}}}"#;
    let remember = |site: &Site, agent: &str, text: &str| {
        let dir = site.path().join("data/agents").join(agent);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("gone.json"), text).unwrap();
    };
    let given_up = |ago: Span| format!(r#"{{"since":{},"target":{target}}}"#, now.0 - ago.0 as i64);
    let minute = Span::seconds(60);
    let all = all.restart(|site| {
        remember(site, "late", &given_up(REMEMBERED));
        remember(site, "lasting", &given_up(Span(REMEMBERED.0 - 10 * minute.0)));
        // As earlier versions wrote it: it counts from now.
        remember(site, "undated", target);
        remember(site, "broken", "{");
    });
    let names = |server: &Server| server.0.gone_agents().keys().map(ToString::to_string).collect::<Vec<_>>();
    let left = |site: &Site, agent: &str| site.path().join("data/agents").join(agent).join("gone.json").exists();
    all.server.until("they are remembered", |server| names(server) == ["lasting", "undated"]);
    assert!(!left(&all.site, "late") && left(&all.site, "lasting") && left(&all.site, "undated"));
    let lasting = AgentName::parse("lasting").unwrap();
    all.server.until("it says why the cluster is away", |server| {
        server.0.agent_trouble(&lasting).is_some_and(|why| why.contains("/nowhere/kubeconfig"))
    });
    assert!(all.server.0.engine().read(|state| state.agents().all(|agent| agent.name.as_str() == "here")));
    let undated = all.server.0.gone_agents()[&AgentName::parse("undated").unwrap()].clone();
    assert!(undated.since >= now);

    // The date stays over a restart; those that were given up first make room for newer ones.
    let all = all.restart(|site| {
        (1..MAX_GONE as u64).for_each(|i| remember(site, &format!("gone-{i:02}"), &given_up(Span(i * minute.0))));
    });
    all.server.until("the oldest makes room", |server| names(server).len() == MAX_GONE && !left(&all.site, "lasting"));
    assert_eq!(all.server.0.gone_agents()[&AgentName::parse("undated").unwrap()], undated);
    // Declared again, it is not gone any more.
    all.site.write("agents/gone-01.yaml", "version: 1.1\nkind: agent\nname: gone-01\nlocal: {}\n");
    assert_eq!(all.push("back"), 0);
    all.server.until("it is back", |server| names(server).len() == MAX_GONE - 1 && !left(&all.site, "gone-01"));
    all.server.until("it is up", |server| {
        server.0.engine().read(|state| state.agents().any(|agent| agent.name.as_str() == "gone-01" && agent.up))
    });
}
