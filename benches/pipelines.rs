//! Pipelines: how long a graph of 10,000 operations or of 1,000 levels takes to start, and whether what an operation
//! costs grows with the size of its graph.
//!
//! ```sh
//! cargo bench --bench pipelines
//! ```
//! The rules alone (conductor and state machine, nothing stored), on one thread. The last column of the doubling must
//! stay level.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tidegate::domain::catalog::{CompiledOperation, Dag, Join, Node};
use tidegate::domain::dispatch::event::Event;
use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::dispatch::history::{RowOp, RunRow, project};
use tidegate::domain::dispatch::observation::Cause;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{AgentName, Attempt, Digest, ProjectName, QueueName, RunId, Seq};
use tidegate::domain::spec::Limit;
use tidegate::domain::time::Timestamp;
use tidegate::domain::workflow::conductor::{Conductor, Records, Unreadable};
use tidegate::domain::workflow::render::Globals;
use tidegate::domain::workflow::start::{Circumstances, of_operation};

/// The rows and bodies of one pipeline.
struct Library {
    row: RunRow,
    operation: Arc<CompiledOperation>,
}

impl Records for Library {
    fn operation(&self, _: Digest) -> Result<Arc<CompiledOperation>, Unreadable> {
        Ok(self.operation.clone())
    }
    fn run(&self, _: RunId) -> Result<RunRow, Unreadable> {
        Ok(self.row.clone())
    }
    fn statuses(&self, id: RunId) -> Result<Vec<Status>, Unreadable> {
        self.run(id).map(|row| vec![row.status])
    }
    fn joined(&self, _: &ProjectName, _: RunId, _: &Join) -> Result<Result<Vec<RunRow>, Cause>, Unreadable> {
        Ok(Ok(Vec::new()))
    }
    fn surroundings(&self, _: &AgentName) -> Globals {
        Globals::default()
    }
    fn children(&self, _: RunId, _: &mut dyn FnMut(RunRow)) -> Result<(), Unreadable> {
        Ok(())
    }
}

fn graph(levels: u32, wide: u32) -> CompiledOperation {
    let job = CompiledOperation { run: json!({"kind": "job"}), ..CompiledOperation::default() };
    let queue = QueueName::parse("a/q").expect("a name");
    let node = |level: u32, i: u32| Node {
        name: format!("n{level}-{i}"),
        after: if level == 0 { Vec::new() } else { vec![(level - 1) * wide + i, (level - 1) * wide + (i + 1) % wide] },
        trigger: None,
        skip_on_upstream_skip: false,
        conditions: None,
        events: Vec::new(),
        queue: queue.clone(),
        operation: job.clone(),
    };
    let mut nodes: Vec<Node> =
        (0..levels).flat_map(|level| (0..wide).map(move |i| (level, i))).map(|(l, i)| node(l, i)).collect();
    nodes.iter_mut().for_each(|node| node.after.dedup());
    let (early_stopping, outputs) = (Vec::new(), BTreeMap::new());
    let dag = Dag { nodes, concurrency: Limit::Unlimited, early_stopping, outputs };
    CompiledOperation { run: json!({"kind": "dag"}), dag: Some(Box::new(dag)), ..CompiledOperation::default() }
}

/// Milliseconds until the first operations are asked for, and microseconds for each operation from then on.
fn lead(operation: CompiledOperation) -> (f64, f64) {
    let circumstances = Circumstances {
        id: RunId(uuid::Uuid::from_u128(1)),
        project: ProjectName::parse("p").expect("a name"),
        workflow: None,
        commit: None,
        queue: QueueName::parse("a/q").expect("a name"),
        group: None,
        origin: Origin::Request { user: "ann".to_owned() },
    };
    let total = operation.dag.as_ref().map_or(0, |dag| dag.nodes.len());
    let start = of_operation(&operation, circumstances);
    let mut rows = Vec::new();
    project(Timestamp(1), Seq(1), &Event::RunCreated(Box::new(start.run.clone())), &mut rows);
    let Some(RowOp::Insert(row)) = rows.into_iter().next() else { panic!("a run has a row") };
    let row = RunRow { status: Status::Running, ..*row };
    let mut conductor = Conductor::default();
    let begun = Instant::now();
    // As a server reads it: from its stored bytes.
    let operation: CompiledOperation = serde_json::from_slice(&start.body.1).expect("it was written so");
    let library = Library { row, operation: Arc::new(operation) };
    conductor.take_up([(start.run.id, true)]);
    let mut asked = conductor.steps(&library);
    let first = begun.elapsed().as_secs_f64() * 1e3;
    let (begun, mut ended, mut over) = (Instant::now(), 0, false);
    while !over {
        let mut made = Vec::new();
        for step in asked {
            made.extend(step.advance.children.into_iter().map(|child| child.run.id));
            over |= step.advance.end.is_some();
        }
        for run in made {
            let (at, attempt) = (Timestamp(2), Attempt(1));
            conductor.saw(&Event::RunScheduled { run, attempt });
            conductor.saw(&Event::RunProgressed { run, attempt, status: Status::Running, cause: None, at });
            let (status, cause, outputs) = (Status::Succeeded, Cause::default(), serde_json::Map::new());
            conductor.saw(&Event::RunFinished { run, status, cause, exit_code: Some(0), outputs, at });
            ended += 1;
        }
        asked = conductor.steps(&library);
    }
    assert_eq!(ended, total, "every operation has run");
    (first, begun.elapsed().as_secs_f64() * 1e6 / total as f64)
}

fn main() {
    println!("{:<34} {:>12} {:>16}", "graph", "to start, ms", "each operation, µs");
    for (levels, wide) in [(1, 10_000), (10, 1_000), (100, 100), (1_000, 10), (1_000, 1)] {
        let (first, each) = lead(graph(levels, wide));
        println!("{:<34} {first:>12.1} {each:>16.1}", format!("{levels} levels of {wide}"));
    }
    println!("doubling, 10 wide");
    for levels in [125, 250, 500, 1_000, 2_000] {
        let (first, each) = lead(graph(levels, 10));
        println!("{:<34} {first:>12.1} {each:>16.1}", format!("{} operations", levels * 10));
    }
}
