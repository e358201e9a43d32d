//! What a change does: to running work, to queued work, to other objects, to the budgets of levels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, Spot};
use crate::domain::ids::{AgentName, QueueName, RunId, WorkflowName};
use crate::domain::spec::{Limit, Priority};

/// What a change does to work and to other objects.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effects {
    /// On running work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningEffect>,
    /// On queued work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<QueuedEffect>,
    /// Other objects that refer to this one, at most [`MAX_LISTED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// How many refer to it in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub references_total: usize,
}

/// Most runs or references that a plan lists for one object; the totals are always exact.
pub const MAX_LISTED: usize = 100;

impl Effects {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What a change does to running work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunningEffect {
    /// How many run.
    pub now: u32,
    /// The new limit; absent when the object goes.
    pub limit: Option<Limit>,
    /// How many more run than the limit allows. They go on.
    pub over_limit: u32,
    /// Resources of which they use more than is allowed. They go on.
    pub over_quota: Vec<Overuse>,
    /// How many are cancelled.
    pub cancelled: u32,
}

/// More used than is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overuse {
    /// The resource.
    pub resource: String,
    /// What is used.
    pub used: String,
    /// What is allowed.
    pub limit: String,
}

/// What a change does to queued work.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuedEffect {
    /// How many wait.
    pub now: u64,
    /// Whether only the first of them were looked at, so that the counts are at least these.
    pub partial: bool,
    /// Runs that can never start from now on, at most [`MAX_LISTED`].
    pub unschedulable: Vec<Unschedulable>,
    /// How many can never start in all.
    pub unschedulable_total: u64,
    /// How many are cancelled.
    pub cancelled: u64,
    /// Where they move, when they do.
    #[schemars(with = "Option<String>")]
    pub moved_to: Option<QueueName>,
    /// Whether they all wait from now on, or no longer.
    pub hold: Option<HoldChange>,
    /// Queues with waiting runs whose order to this one changes, at most [`MAX_LISTED`].
    pub order: Vec<OrderChange>,
    /// How many runs change their place among queues.
    pub reordered: u64,
}

/// A queue that is held from now on, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldChange {
    /// Nothing starts from now on.
    Held,
    /// Its runs start again.
    Released,
    /// It takes no more, finishes what it has, then goes.
    Drains,
}

/// A run that can never start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unschedulable {
    /// The run.
    #[schemars(with = "String")]
    pub run: RunId,
    /// What people call it.
    pub name: String,
    /// What started it.
    #[schemars(with = "Option<String>")]
    pub workflow: Option<WorkflowName>,
    /// What it asks too much of.
    pub resource: String,
    /// What it asks.
    pub need: String,
    /// What is allowed.
    pub have: String,
    /// Where the workflow says so.
    pub place: Option<Spot>,
}

/// A queue whose order to this one changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderChange {
    /// The other queue.
    #[schemars(with = "String")]
    pub queue: QueueName,
    /// Where this one stands from now on.
    pub becomes: Rank,
    /// How many wait in the other one.
    pub queued: u64,
}

/// How one queue stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// It goes first.
    Ahead,
    /// Both are of one level.
    Level,
    /// It goes later.
    Behind,
}

/// Another object that refers to this one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// The other object.
    pub address: Address,
    /// As what.
    pub role: String,
    /// Where.
    pub place: Option<Spot>,
}

/// A level of an agent whose budget changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LevelChange {
    /// The agent.
    #[schemars(with = "String")]
    pub agent: AgentName,
    /// The level: -1 is the highest.
    pub level: Priority,
    /// Its slots so far.
    pub before: Share,
    /// Its slots from now on.
    pub after: Share,
}

/// The slots of a level; `None` stands for unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// What it may use when all levels are busy.
    pub slots: Option<u64>,
    /// The sum of the limits of its queues.
    pub limits: Option<u64>,
    /// What all levels of the agent have together.
    pub of: Option<u64>,
}
