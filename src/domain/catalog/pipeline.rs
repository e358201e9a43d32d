//! What a pipeline is made of: the compiled form of `run: {kind: dag}`, pinned with the run like any operation.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::CompiledOperation;
use crate::domain::ids::{QueueName, RunId};
use crate::domain::spec::{EarlyStopping, Limit, Trigger};

/// A graph of operations, with everything that they refer to worked in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dag {
    /// The operations, in the order of the file.
    pub nodes: Vec<Node>,
    /// Most of them queued or beyond at once.
    pub concurrency: Limit,
    /// When it ends before its last operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early_stopping: Vec<EarlyStopping>,
    /// What the graph itself reports when it ends, by the output of its component: taken from one of its operations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, ParamRef>,
}

/// An operation of a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name, of which there is no other in the graph.
    pub name: String,
    /// The operations before it, by their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u32>,
    /// What must have become of those; all succeeded when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Whether it is skipped when one before it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_on_upstream_skip: bool,
    /// A template that must come to true when it is about to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<String>,
    /// Statuses of operations before it that start it, whatever the others do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<NodeEvent>,
    /// The queue that it goes to.
    pub queue: QueueName,
    /// What it runs.
    pub operation: CompiledOperation,
}

/// Statuses of one operation that start another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeEvent {
    /// The operation, by its place.
    pub of: u32,
    /// The words of the statuses.
    pub statuses: BTreeSet<String>,
}

/// A value that is taken from elsewhere when the run is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParamRef {
    /// From where.
    pub from: RefFrom,
    /// Which of its values: `inputs`, `outputs`, `io`, `globals`, or one of those with `.NAME`.
    pub path: String,
}

/// A point of a matrix: what one of its runs is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Its number among the points, from 0.
    pub index: u64,
    /// `globals.iteration`: the bracket of hyperband, the round of a search that learns, else the number.
    pub iteration: u64,
    /// The rung of a hyperband bracket, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bracket_iteration: Option<u64>,
    /// The params that it gives.
    pub params: Map<String, Value>,
    /// The point whose run it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<u64>,
}

/// Where a value is taken from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefFrom {
    /// An operation of the same graph, by its place.
    Op(u32),
    /// The graph itself.
    Dag,
    /// Any run.
    Run(RunId),
}

impl CompiledOperation {
    /// Most direct children at once, when it is a pipeline.
    pub fn pipeline(&self) -> Option<Limit> {
        match &self.matrix {
            Some(matrix) => {
                let written = matrix.get("concurrency").filter(|limit| !limit.is_null());
                let limit = written.and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
                Some(match (limit, written) {
                    (Some(limit), _) => Limit::At(limit),
                    // A template whose value is not known yet: rather too few than too many.
                    (None, Some(Value::String(_))) => Limit::At(1),
                    (None, _) => Limit::Unlimited,
                })
            }
            None => self.dag.as_ref().map(|dag| dag.concurrency),
        }
    }

    /// What kind of run it makes, as Polyaxon labels it.
    pub fn kind(&self) -> &str {
        if self.matrix.is_some() {
            return "matrix";
        }
        self.run.get("kind").and_then(Value::as_str).unwrap_or("job")
    }
}
