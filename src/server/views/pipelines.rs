//! Pipelines: what one has made and will make.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::catalog::CompiledOperation;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::status::Status;
use crate::domain::spec::matrix::{Matrix, Optimization};
use crate::domain::time::{Span, Timestamp};
use crate::domain::waiting_order::waiting_order;
use crate::domain::workflow::matrix::{Tuner, metric};

/// Runs of a matrix that are shown as the best.
const BEST: usize = 10;

view! {
    /// What a pipeline has made and will make.
    PipelineView {
        /// The pipeline.
        uuid: String,
        /// `dag` or `matrix`.
        kind: String,
        /// Where it is in its life.
        status: String,
        /// How many operations or runs it makes at most, if that is known.
        total: Option<u64>,
        /// Its operations or runs by status; `waiting` for those that are not made yet.
        counts: BTreeMap<String, u64>,
        /// Seconds until it will have ended, by those that have: their mean, what is left, and how many run at once.
        eta_seconds: Option<u64>,
        /// The operations of a graph, in the order of their levels.
        operations: Vec<OperationView>,
        /// The metric of a matrix.
        metric: Option<String>,
        /// The best runs of a matrix, the best first; without a metric those that came last.
        best: Vec<TrialView>,
    }
}

view! {
    /// An operation of a graph.
    OperationView {
        /// Its name.
        name: String,
        /// Where it is in its life; `waiting` when it is not made yet.
        status: String,
        /// How many operations stand before it at most, one after another.
        level: u32,
        /// The operations directly before it.
        after: Vec<String>,
        /// Its run, once that is made.
        uuid: Option<String>,
        /// When it first ran.
        started_at: Option<String>,
        /// When it ended.
        finished_at: Option<String>,
        /// Why it has this status.
        message: Option<String>,
    }
}

view! {
    /// A run of a matrix.
    TrialView {
        /// The run.
        uuid: String,
        /// Its name.
        name: String,
        /// Where it is in its life.
        status: String,
        /// The value of the metric.
        value: Option<f64>,
        /// What it was given.
        params: Map<String, Value>,
    }
}

impl PipelineView {
    /// A pipeline from what is written of it; `best` are the runs that [`PipelineView::best_of`] gave.
    pub fn of(
        run: &RunRow,
        operation: &CompiledOperation,
        children: &[RunRow],
        best: &[(RunRow, CompiledOperation)],
        now: Timestamp,
    ) -> Self {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        children.iter().for_each(|child| *counts.entry(child.status.to_string()).or_default() += 1);
        let matrix = operation.matrix.as_ref().and_then(|matrix| Matrix::read(matrix).ok());
        let total = match (&matrix, &operation.dag) {
            (Some(matrix), _) => Tuner::new(&matrix.search, 0, matrix.concurrency).total(),
            (None, dag) => dag.as_ref().map(|dag| dag.nodes.len() as u64),
        };
        let waiting = total.unwrap_or(0).saturating_sub(children.len() as u64);
        if waiting > 0 && !run.status.is_final() {
            counts.insert("waiting".to_owned(), waiting);
        }
        let name = matrix.as_ref().and_then(|matrix| metric(&matrix.search)).map(|metric| metric.name.clone());
        Self {
            uuid: run.id.to_string(),
            kind: run.kind.clone(),
            status: run.status.to_string(),
            total,
            eta_seconds: eta(run, children, total, now).map(|eta| eta.0 / 1000),
            operations: if matrix.is_none() { operations(operation, children) } else { Vec::new() },
            best: best.iter().map(|(row, of)| trial(row, of, name.as_deref())).collect(),
            metric: name,
            counts,
        }
    }

    /// The runs of a matrix that are worth showing: the best by its metric, or the last.
    pub fn best_of<'r>(operation: &CompiledOperation, children: &'r [RunRow]) -> Vec<&'r RunRow> {
        let Some(matrix) = operation.matrix.as_ref().and_then(|matrix| Matrix::read(matrix).ok()) else {
            return Vec::new();
        };
        let Some(metric) = metric(&matrix.search) else { return children.iter().rev().take(BEST).collect() };
        let mut ranked: Vec<(f64, &RunRow)> = children
            .iter()
            .filter(|row| row.status == Status::Succeeded)
            .filter_map(|row| Some((score(row, &metric.name, metric.optimization)?, row)))
            .collect();
        ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        ranked.into_iter().take(BEST).map(|(_, row)| row).collect()
    }
}

fn score(row: &RunRow, metric: &str, optimization: Optimization) -> Option<f64> {
    row.outputs.get(metric).and_then(Value::as_f64).map(|value| optimization.score(value))
}

fn trial(row: &RunRow, operation: &CompiledOperation, metric: Option<&str>) -> TrialView {
    TrialView {
        uuid: row.id.to_string(),
        name: row.name.clone(),
        status: row.status.to_string(),
        value: metric.and_then(|metric| row.outputs.get(metric)).and_then(Value::as_f64),
        params: operation.point.as_ref().map(|point| point.params.clone()).unwrap_or_default(),
    }
}

/// How long the rest takes when it is as long as what has ended, and as many run at once as now.
fn eta(run: &RunRow, children: &[RunRow], total: Option<u64>, now: Timestamp) -> Option<Span> {
    if run.status != Status::Running {
        return None;
    }
    let took = children.iter().filter_map(|row| Some(row.finished_at?.since(row.started_at?).0));
    let (count, sum) = took.fold((0u64, 0u64), |(count, sum), one| (count + 1, sum + one));
    let mean = sum.checked_div(count)?;
    let open: Vec<&RunRow> = children.iter().filter(|row| row.status.holds_slot()).collect();
    let ended = children.iter().filter(|row| row.status.is_final()).count() as u64;
    let left = total?.saturating_sub(ended);
    let spent: u64 = open.iter().filter_map(|row| Some(now.since(row.started_at?).0.min(mean))).sum();
    Some(Span((left * mean).saturating_sub(spent) / (open.len().max(1) as u64)))
}

fn operations(operation: &CompiledOperation, children: &[RunRow]) -> Vec<OperationView> {
    let Some(dag) = &operation.dag else { return Vec::new() };
    let rows: BTreeMap<&str, &RunRow> = children.iter().map(|row| (row.name.as_str(), row)).collect();
    let levels = levels(&dag.nodes.iter().map(|node| node.after.as_slice()).collect::<Vec<_>>());
    let mut views: Vec<OperationView> = dag
        .nodes
        .iter()
        .zip(levels)
        .map(|(node, level)| {
            let row = rows.get(node.name.as_str());
            OperationView {
                name: node.name.clone(),
                status: row.map_or("waiting".to_owned(), |row| row.status.to_string()),
                level,
                after: node.after.iter().map(|of| dag.nodes[*of as usize].name.clone()).collect(),
                uuid: row.map(|row| row.id.to_string()),
                started_at: super::moment(row.and_then(|row| row.started_at)),
                finished_at: super::moment(row.and_then(|row| row.finished_at)),
                message: row.and_then(|row| row.cause.as_ref()).map(|cause| cause.message.clone()),
            }
        })
        .collect();
    views.sort_by_key(|view| view.level);
    views
}

/// The longest way to each operation.
fn levels(after: &[&[u32]]) -> Vec<u32> {
    let mut levels = vec![0; after.len()];
    for place in waiting_order(after).comes {
        levels[place] = after[place].iter().map(|of| levels[*of as usize] + 1).max().unwrap_or(0);
    }
    levels
}
