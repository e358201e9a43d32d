//! `kind: workload`: made-up work for `tidegate simulate`; not part of a repository of specs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limit, Order, Priority, Sharing, Version};
use crate::domain::ids::{AgentName, Name};
use crate::domain::quantity::Resources;
use crate::domain::time::Duration;

/// Agents, queues, and the operations that come to them, for a simulation in virtual time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// The version of the specification, always 1.1.
    pub version: Version,
    /// Always `workload`.
    #[schemars(extend("const" = "workload"))]
    pub kind: String,
    /// The name of the workload.
    pub name: Name,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Most operations running at once on all agents together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
    /// How a binding limit is divided among levels of priority.
    #[serde(default)]
    pub sharing: Sharing,
    /// Most operations that may be started in a second of virtual time, as with a slow control plane; absent is
    /// unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001, max = 1_000_000_000.0))]
    pub write_budget: Option<f64>,
    /// How many starts of the budget may be saved up; at the beginning it is full. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub write_burst: Option<u32>,
    /// Where operations run.
    pub agents: Vec<WorkloadAgent>,
    /// What comes.
    pub classes: Vec<WorkloadClass>,
}

/// An agent of a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadAgent {
    /// The name of the agent.
    pub name: AgentName,
    /// So many agents like this one: NAME-0, NAME-1, …; without it one, NAME.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub copies: Option<u32>,
    /// Most operations running at once on this agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
    /// What all its running operations may ask together.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub capacity: Resources,
    /// Its queues.
    pub queues: Vec<WorkloadQueue>,
}

/// A queue of a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadQueue {
    /// The name of the queue within its agent.
    pub name: Name,
    /// So many queues like this one: NAME-0, NAME-1, …; without it one, NAME.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub copies: Option<u32>,
    /// The level of the queue; absent or -1 is the highest, among the others a larger number goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Most operations of the queue running at once; absent or -1 is unlimited, 0 holds the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
    /// What its running operations may ask together.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub quota: Resources,
    /// Its share among the queues of its level, against theirs. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: Option<u32>,
    /// Whether an operation that does not fit blocks those behind it.
    #[serde(default)]
    pub order: Order,
}

/// Operations of one kind. Every copy of the queue on every copy of the agent gets `count` of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadClass {
    /// The name of the class.
    pub name: Name,
    /// The queue that they stand in, `agent/queue`, by the names without numbers.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub queue: String,
    /// How many come to each queue.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub count: u64,
    /// The n-th comes at n times this; absent is all at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How long each runs.
    pub duration: Duration,
    /// When given, they stand in a queue of their own, QUEUE-CLASS, of this priority and otherwise like the queue, which
    /// then has neither concurrency nor quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// What each asks for.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub request: Resources,
}
