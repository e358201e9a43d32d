//! What the server says: the policies in force, what runs, what waits, and which changes were admitted already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::catalog::{AgentPolicy, QueuePolicy};
use crate::domain::ids::{AgentName, CommitId, Digest, ProjectName, QueueName, RunId, WorkflowName};
use crate::domain::quantity::Resources;
use crate::domain::spec::Limit;
use crate::domain::time::Timestamp;

/// The server's side of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// Policies in force and their use, by queue.
    pub queues: BTreeMap<QueueName, LiveQueue>,
    /// Policies in force and their use, by agent.
    pub agents: BTreeMap<AgentName, LiveAgent>,
    /// The limit in force and its use.
    pub organization: LiveOrganization,
    /// Runs by the workflow that started them; a workflow without runs may be absent.
    pub workflows: BTreeMap<WorkflowName, WorkflowUse>,
    /// Whether everything could be read.
    pub complete: bool,
    /// Agents that could not be read; nothing is concluded about their queues.
    pub unread_agents: Vec<AgentName>,
}

/// A queue of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveQueue {
    /// The policy in force.
    pub policy: QueuePolicy,
    /// Who last changed it past git, if somebody did.
    pub changed_by: Option<String>,
    /// Operations that hold a slot.
    pub running: u32,
    /// What they ask together.
    pub used: Resources,
    /// Runs that wait, first in line first; may be only the first of [`Self::queued_total`].
    pub queued: Vec<LiveRun>,
    /// How many wait in all.
    pub queued_total: u64,
    /// Whether it was removed already and finishes what it has.
    pub draining: bool,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveRun {
    /// The run.
    pub run: RunId,
    /// What people call it.
    pub name: String,
    /// What started it, if a workflow did.
    pub workflow: Option<WorkflowName>,
    /// Its project.
    pub project: ProjectName,
    /// What one attempt asks for; canonical names.
    pub request: Resources,
    /// When it was created.
    pub created_at: Timestamp,
}

/// An agent of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveAgent {
    /// The policy in force.
    pub policy: AgentPolicy,
    /// Operations that hold a slot.
    pub running: u32,
    /// What they ask together.
    pub used: Resources,
    /// Whether it answers.
    pub up: bool,
}

/// The organization on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveOrganization {
    /// The limit in force.
    pub concurrency: Limit,
    /// Operations that hold a slot.
    pub running: u32,
}

/// Runs of one workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowUse {
    /// Runs that hold a slot.
    pub running: u32,
    /// Runs that wait.
    pub queued: u64,
}

/// What was admitted from a source so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admissions {
    /// The last admission of each workflow, also of those that are deleted by now.
    pub cursors: BTreeMap<WorkflowName, Admitted>,
    /// Whether the source has had its first sync.
    pub baseline: bool,
}

/// The meaning of a workflow that was last admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admitted {
    /// What it meant.
    pub spec_digest: Digest,
    /// The files that it watched.
    pub inputs_digest: Digest,
    /// The commit that said so.
    pub commit: CommitId,
}
