//! A server that dies at every single event: pipelines and schedules come to what they would have come to without it.

use std::collections::BTreeMap;

use serde_json::json;
use tidegate::domain::catalog::CompiledOperation;
use tidegate::domain::dispatch::command::{Command, Fire};
use tidegate::domain::dispatch::event::{Event, Origin};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{State, decide};
use tidegate::domain::ids::{Digest, RunId, WorkflowName};
use tidegate::domain::spec::{Limit, Schedule, Trigger};
use tidegate::domain::time::Timestamp;
use tidegate::domain::workflow::conductor::Records;
use tidegate::domain::workflow::firing::{Firing, next};

use crate::server::{Deaths, Server, graph, job, matrix, node};
use crate::world::World;

/// What a pipeline came to: every run below it by its name, with its status and its params.
type Came = BTreeMap<String, (Status, String)>;

/// Runs a pipeline to its end.
fn came(operation: &CompiledOperation, deaths: Deaths, fails: u64, look: impl FnMut(&Server)) -> (Came, u64) {
    let mut server = Server::new(1, 7);
    server.deaths = deaths;
    let root = server.start(operation);
    server.run(2, fails, 4000, look);
    assert_eq!(server.state.runs().count(), 0, "{deaths:?}: everything ends");
    assert!(server.created.values().all(|times| *times == 1), "{deaths:?}: nothing is made twice");
    let rows = server.library.rows.values().filter(|row| row.id != root);
    let name = |row: &tidegate::domain::dispatch::history::RunRow| {
        let above = row.parent.map(|parent| server.library.rows[&parent].name.clone()).unwrap_or_default();
        format!("{above}/{}", row.name)
    };
    let point = |digest| serde_json::to_string(&server.library.operation(digest).unwrap().point).unwrap();
    let came = rows.map(|row| (name(row), (row.status, point(row.spec)))).collect();
    (came, server.moments)
}

/// Dies at each moment in turn, then at all of them.
fn dies_everywhere(operation: &CompiledOperation, fails: u64, look: impl Fn(&Server) + Copy) -> u64 {
    let (quiet, moments) = came(operation, Deaths::Never, fails, look);
    for moment in 1..=moments {
        assert_eq!(came(operation, Deaths::At(moment), fails, look).0, quiet, "it dies at moment {moment}");
    }
    assert_eq!(came(operation, Deaths::Always, fails, look).0, quiet, "it dies always");
    moments
}

fn five_nested(leaves: u32) -> CompiledOperation {
    let after = |i: u32| if i % 5 == 4 { vec![i - 1] } else { vec![] };
    let nodes = || (0..leaves).map(|i| node(format!("n{i}"), after(i), job())).collect();
    let nested = (0..5).map(|i| node(format!("p{i}"), vec![], graph(Limit::At(10), nodes())));
    graph(Limit::At(4), nested.collect())
}

#[test]
fn a_controller_of_four_with_five_nested_graphs() {
    let within = |server: &Server| {
        assert!(server.beyond() <= 4, "{} operations are queued or beyond", server.beyond());
    };
    let moments = dies_everywhere(&five_nested(6), 0, within);
    assert!(moments > 100, "only {moments} moments");
}

#[test]
fn a_controllers_limit_is_in_use_while_there_is_a_backlog_although_the_server_dies_at_every_event() {
    for deaths in [Deaths::Never, Deaths::Sometimes, Deaths::Always] {
        let mut server = Server::new(1, 3);
        server.deaths = deaths;
        server.start(&five_nested(120));
        let (mut used, mut ticks) = (0, 0);
        for tick in 0..400 {
            server.work(20, 0);
            server.lead();
            assert!(server.beyond() <= 4, "{deaths:?}");
            if tick > 40 {
                (used, ticks) = (used + server.state.organization().1, ticks + 1);
            }
            server.now += 1;
        }
        let share = f64::from(used) / f64::from(ticks * 4);
        println!("controller 4, five nested graphs, {deaths:?}: {:.1} % of the limit in use", share * 100.0);
        assert!(share >= 0.95, "{deaths:?}: {share} of the limit is in use");
    }
}

#[test]
fn a_hyperband() {
    let search = json!({"kind": "hyperband", "seed": 9, "maxIterations": 9, "eta": 3, "concurrency": 4,
        "resource": {"name": "epochs", "type": "int"}, "metric": {"name": "loss", "optimization": "minimize"},
        "params": {"lr": {"kind": "uniform", "value": [0, 1]}}});
    let moments = dies_everywhere(&matrix(search), 5, |_| {});
    assert!(moments > 100, "only {moments} moments");
}

#[test]
fn a_graph_with_every_trigger() {
    let triggers = [
        None,
        Some(Trigger::AllSucceeded),
        Some(Trigger::AllFailed),
        Some(Trigger::AllDone),
        Some(Trigger::OneSucceeded),
        Some(Trigger::OneFailed),
        Some(Trigger::OneDone),
    ];
    let nodes = (0..28u32).map(|i| {
        let after: Vec<u32> = (i.saturating_sub(9)..i).filter(|j| (i * 7 + j * 3) % 4 == 0).collect();
        let mut node = node(format!("n{i}"), after, job());
        node.trigger = triggers[i as usize % triggers.len()];
        node.skip_on_upstream_skip = i % 6 == 5;
        node
    });
    let graph = graph(Limit::At(3), nodes.collect());
    let quiet = came(&graph, Deaths::Never, 3, |_| {}).0;
    let count = |status: Status| quiet.values().filter(|(other, _)| *other == status).count();
    let kinds = [Status::Succeeded, Status::Failed, Status::UpstreamFailed].map(count);
    assert!(kinds.iter().all(|count| *count > 0), "all ends occur: {kinds:?}");
    let moments = dies_everywhere(&graph, 3, |server| assert!(server.beyond() <= 3));
    assert!(moments > 100, "only {moments} moments");
}

/// The times that a schedule fires for while a day goes by, when the server dies at a moment; and how many there are.
fn fires(written: &serde_json::Value, dies_at: Option<u64>) -> (Vec<Timestamp>, u64) {
    let schedule = Schedule::read(written).unwrap();
    let (workflow, of) = (WorkflowName::parse("p/w").unwrap(), Digest::of(b"schedule"));
    let mut world = World::new();
    world.agent("a", -1, "").queue("a/q", crate::world::policy(1, -1));
    let mut log = world.log.clone();
    let (mut state, mut moments, mut now) = (world.state.clone(), 0, world.now);
    let mut ask = |state: &mut State, log: &mut Vec<(Timestamp, Event)>, now: Timestamp, command: Command| {
        for moment in 0..2 {
            // Before it is asked, and after it without having heard.
            moments += 1;
            if moment == 1 {
                for event in decide(state, now, &command).events {
                    state.apply(now, &event);
                    log.push((now, event));
                }
            }
            if Some(moments) == dies_at {
                *state = State::default();
                log.iter().for_each(|(at, event)| state.apply(*at, event));
                return;
            }
        }
    };
    let end = Timestamp(now.0 + 86_400_000);
    while now < end {
        let wanted = BTreeMap::from([(workflow.clone(), [of].into())]);
        if state.armed(&workflow, of).is_none() {
            ask(&mut state, &mut log, now, Command::Arm(wanted));
        }
        while let Some(Firing::Now(planned)) = state.armed(&workflow, of).map(|armed| next(&schedule, armed, now)) {
            let id = RunId::derived(RunId(uuid::Uuid::nil()), &format!("{planned}"));
            let mut run = world.new_run("a/q");
            (run.id, run.origin) = (id, Origin::Schedule { at: planned });
            let fire = Fire { workflow: workflow.clone(), schedule: of, planned, run };
            ask(&mut state, &mut log, now, Command::Fire(Box::new(fire)));
        }
        now = Timestamp(now.0 + 600_000);
    }
    let created = log.iter().filter_map(|(_, event)| match event {
        Event::RunCreated(run) => Some(&run.origin),
        _ => None,
    });
    let times = created.map(|origin| match origin {
        Origin::Schedule { at } => *at,
        other => panic!("{other:?}"),
    });
    (times.collect(), moments)
}

#[test]
fn schedules() {
    for written in [
        json!({"cron": "0 */2 * * *", "catchup": "all"}),
        json!({"frequency": 5400, "startAt": "1970-01-01T02:00:00Z"}),
        json!({"cron": "*/30 * * * *", "maxRuns": 7}),
    ] {
        let (quiet, moments) = fires(&written, None);
        assert!(quiet.len() >= 7, "{written}: {quiet:?}");
        for moment in 1..=moments {
            let (times, _) = fires(&written, Some(moment));
            assert_eq!(times, quiet, "{written}: it dies at moment {moment}");
        }
    }
}
