//! Runs that start or do not, and why; and the guards that limit what one sync may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Spot;
use crate::domain::ids::{CommitId, Digest, QueueName, WorkflowName};

/// A run that starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// What starts.
    #[schemars(with = "String")]
    pub workflow: WorkflowName,
    /// Where it waits.
    #[schemars(with = "String")]
    pub queue: QueueName,
    /// The commit that it is pinned to, when that is not the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub commit: Option<CommitId>,
    /// What starts it.
    pub trigger: String,
    /// Why, in words.
    pub reason: String,
    /// Its key: a second admission of the same key is the same run.
    #[schemars(with = "String")]
    pub run_key: Digest,
    /// Why it does not start now, if so; its cursor stays where it is.
    pub hold: Option<Hold>,
    /// Why it can never leave its queue, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never: Option<String>,
    /// Where the workflow stands.
    pub place: Option<Spot>,
}

/// Why a start is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// More starts than `sync.maxStarts`.
    MaxStarts,
    /// A freeze window is open.
    Freeze,
    /// The commit is not on the branch that is followed yet.
    Unmerged,
    /// A guard refuses the commit.
    Refused,
}

/// A run that does not start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Skip {
    /// What does not start.
    #[schemars(with = "String")]
    pub workflow: WorkflowName,
    /// Why, for programs.
    pub reason: SkipReason,
    /// Why, in words.
    pub words: String,
    /// Where the workflow stands.
    pub place: Option<Spot>,
}

/// Why a workflow that something changed about does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// Its text changed, its meaning did not.
    DigestUnchanged,
    /// Only its triggers or rules for runs changed.
    TriggersOnly,
    /// It has another name and the same meaning.
    Moved,
    /// It is back with the meaning that was last admitted.
    Restored,
    /// It has no push trigger.
    NoPushTrigger,
    /// Its push trigger fires never, or only when it is new.
    Fires,
    /// The commit message asks to start nothing.
    Requested,
    /// It cannot run.
    Unrunnable,
    /// Its file has an error; the last good definition stays.
    Unsound,
}

/// Limits on what one sync may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// Which one.
    pub id: GuardId,
    /// What the plan does.
    pub actual: u64,
    /// What is allowed; absent where there is no number.
    pub limit: Option<u64>,
    /// Whether it lets the plan pass.
    pub ok: bool,
    /// Whether it does so only because the commit says so.
    pub overridden: bool,
    /// What it found, in words.
    pub words: String,
    /// How to go on when it blocks; empty when it does not.
    pub remedy: String,
}

/// The guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuardId {
    /// Nothing is declared any more.
    Empty,
    /// More removals than `sync.maxRemovals`.
    MaxRemovals,
    /// More starts than `sync.maxStarts`.
    MaxStarts,
    /// A freeze window is open.
    Freeze,
    /// An agent with work goes.
    AgentRemoval,
    /// Runs move to a queue that does not exist.
    MoveTarget,
    /// A queue goes that workflows still name.
    QueueInUse,
}

impl GuardId {
    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::MaxRemovals => "removals",
            Self::MaxStarts => "starts",
            Self::Freeze => "freeze",
            Self::AgentRemoval => "agent-removal",
            Self::MoveTarget => "move-target",
            Self::QueueInUse => "queue-in-use",
        }
    }

    /// Whether it refuses the commit as a whole, instead of holding its starts.
    pub const fn refuses(self) -> bool {
        !matches!(self, Self::MaxStarts | Self::Freeze)
    }
}
