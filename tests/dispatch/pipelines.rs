//! Pipelines led by the real rules over the real state machine, in virtual time: the conductor hears late, dies between
//! any two events, and asks again for what it had asked for already.

use std::collections::BTreeSet;

use serde_json::json;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::spec::Limit;
use tidegate::domain::workflow::conductor::Records;

use crate::server::{Deaths, Server, graph, job, matrix, node};

#[test]
fn five_nested_pipelines_never_have_more_than_their_controllers_four_whatever_dies() {
    for seed in 1..=12 {
        let mut server = Server::new(seed % 4, seed as u64);
        server.deaths = Deaths::Sometimes;
        let leaves =
            |n: u32| (0..n).map(|i| node(format!("n{i}"), if i % 5 == 4 { vec![i - 1] } else { vec![] }, job()));
        let nested = (0..5).map(|i| node(format!("p{i}"), vec![], graph(Limit::At(10), leaves(12).collect())));
        let root = server.start(&graph(Limit::At(4), nested.collect()));
        let mut most = 0;
        for _ in 0..4000 {
            server.work(3, 0);
            most = most.max(server.beyond());
            assert!(server.beyond() <= 4, "seed {seed}: {} operations are queued or beyond", server.beyond());
            server.lead();
            assert!(server.beyond() <= 4, "seed {seed}");
            server.now += 1;
            if server.state.runs().count() == 0 {
                break;
            }
        }
        assert_eq!(server.library.rows[&root].status, Status::Succeeded, "seed {seed}");
        assert_eq!(most, 4, "the limit is used");
        assert_eq!(server.library.rows.len(), 1 + 5 + 5 * 12, "seed {seed}: nothing is left out and nothing doubled");
        assert!(server.created.values().all(|times| *times == 1));
    }
}

#[test]
fn an_endless_backlog_keeps_a_limit_in_use_and_costs_memory_for_the_limit() {
    let range = json!({"kind": "range", "value": [0, 1000, 1]});
    let grid = json!({"kind": "grid", "concurrency": 10, "params": {"a": range, "b": range}});
    // A finished operation is followed after ten ticks, half as long as an operation takes.
    let mut server = Server::new(10, 1);
    server.start(&matrix(grid));
    let (mut used, mut ticks, mut largest) = (0, 0, 0);
    for tick in 0..1500 {
        server.work(20, 0);
        server.lead();
        if tick > 50 {
            (used, ticks) = (used + server.state.organization().1, ticks + 1);
        }
        largest = largest.max(server.state.runs().count() + server.conductor.known_children());
        server.now += 1;
    }
    let share = f64::from(used) / f64::from(ticks * 10);
    assert!(share >= 0.95, "{share} of the limit is in use");
    assert!(largest <= 50, "a million points, ten at once, and {largest} things in memory");
}

#[test]
fn a_hyperband_that_dies_everywhere_makes_the_same_suggestions_once() {
    let search = |seed: u64| {
        json!({"kind": "hyperband", "seed": seed, "maxIterations": 27, "eta": 3, "concurrency": 4,
            "resource": {"name": "epochs", "type": "int"}, "metric": {"name": "loss", "optimization": "minimize"},
            "params": {"lr": {"kind": "uniform", "value": [0, 1]}, "act": {"kind": "choice", "value": ["relu", "tanh"]}}})
    };
    let points = |crashes: bool, seed: u64| {
        let mut server = Server::new(2, seed);
        server.deaths = if crashes { Deaths::Sometimes } else { Deaths::Never };
        let root = server.start(&matrix(search(9)));
        for _ in 0..20_000 {
            server.work(2, 0);
            server.lead();
            server.now += 1;
            if server.state.runs().count() == 0 {
                break;
            }
        }
        assert_eq!(server.library.rows[&root].status, Status::Succeeded);
        assert!(server.created.values().all(|times| *times == 1));
        let mut points: Vec<(u64, String)> = server
            .rows_of(root)
            .iter()
            .map(|row| server.library.operation(row.spec).unwrap().point.clone().unwrap())
            .map(|point| (point.index, serde_json::to_string(&point).unwrap()))
            .collect();
        points.sort();
        points
    };
    let quiet = points(false, 1);
    let different: BTreeSet<&String> = quiet.iter().map(|(_, point)| point).collect();
    assert_eq!((quiet.len(), different.len()), (27 + 9 + 3 + 1 + 12 + 4 + 1 + 6 + 2 + 4, quiet.len()));
    for seed in 2..6 {
        assert_eq!(points(true, seed), quiet, "seed {seed}");
    }
}

#[test]
fn a_graph_in_which_things_fail_ends_the_same_whatever_dies() {
    for seed in 1..=20u64 {
        let mut server = Server::new((seed % 3) as i64, seed);
        server.deaths = Deaths::Sometimes;
        let nodes = (0..40u32).map(|i| {
            let after: Vec<u32> = (0..i).filter(|j| (i * 7 + j * 3) % 11 == 0).collect();
            node(format!("n{i}"), after, job())
        });
        let root = server.start(&graph(Limit::At(3), nodes.collect()));
        for _ in 0..5000 {
            server.work(2, 6);
            server.lead();
            server.now += 1;
            if server.state.runs().count() == 0 {
                break;
            }
        }
        let rows = server.rows_of(root);
        assert_eq!(rows.len(), 40, "seed {seed}: every operation is recorded");
        assert!(server.created.values().all(|times| *times == 1));
        let failed = rows.iter().any(|row| row.status == Status::Failed);
        let root = &server.library.rows[&root];
        assert_eq!(root.status, if failed { Status::Failed } else { Status::Succeeded }, "seed {seed}");
    }
}
