//! What anybody may ask of the state.

use std::collections::BTreeMap;

use super::event::{Cursor, OrganizationLimits};
use super::policy::Applied;
use super::state::State;
use super::status::Status;
use super::table::RunIx;
use crate::domain::catalog::{AgentPolicy, ProjectPolicy, QueuePolicy};
use crate::domain::ids::{AgentName, ProjectName, QueueName, RunId, WorkflowName};
use crate::domain::quantity::Resources;
use crate::domain::spec::{OnRemove, Priority};

impl State {
    /// What is applied, if anything is.
    pub fn applied(&self) -> Option<&Applied> {
        self.applied.as_ref()
    }

    /// The meaning of each workflow that was last admitted.
    pub fn cursors(&self) -> &BTreeMap<WorkflowName, Cursor> {
        &self.cursors
    }

    /// The organization's limits, and how many operations hold a slot.
    pub fn organization(&self) -> (OrganizationLimits, u32) {
        (self.queues.limits, self.queues.used)
    }

    /// The agents, also those that are being removed.
    pub fn agents(&self) -> impl Iterator<Item = AgentView<'_>> {
        self.queues.agent_of.values().map(|ix| {
            let agent = &self.queues.agents[*ix];
            AgentView {
                name: &agent.name,
                policy: &agent.policy,
                up: agent.up,
                removed: agent.removed,
                running: agent.used,
                used: self.queues.dims.resources(&agent.used_of),
                levels: agent.levels.iter().map(|(priority, level)| (priority.0, level.budget, level.used)).collect(),
            }
        })
    }

    /// The queues, also those that are being removed.
    pub fn queues(&self) -> impl Iterator<Item = QueueView<'_>> {
        self.queues.queue_of.values().map(|ix| {
            let queue = &self.queues.queues[*ix];
            let changed = self.overrides.get(&queue.name);
            QueueView {
                name: &queue.name,
                policy: &queue.policy,
                declared: changed.map(|(policy, _)| policy),
                changed_by: changed.map(|(_, by)| by.as_str()),
                removed: queue.removed,
                running: queue.used,
                queued: queue.waiting,
                used: self.queues.dims.resources(&queue.used_of),
            }
        })
    }

    /// Projects that git declares.
    pub fn projects(&self) -> &BTreeMap<ProjectName, ProjectPolicy> {
        &self.projects
    }

    /// The unfinished runs with status and queue, in no meaningful but a fixed order.
    pub fn runs(&self) -> impl Iterator<Item = RunView<'_>> {
        self.runs.iter().map(|(ix, _)| self.view(ix))
    }

    /// How many runs are unfinished.
    pub fn unfinished(&self) -> usize {
        self.runs.len()
    }

    /// One unfinished run.
    pub fn run(&self, id: RunId) -> Option<RunView<'_>> {
        self.runs.find(id).map(|ix| self.view(ix))
    }

    /// The runs that stand in a queue, first in line first.
    pub fn line(&self, queue: &QueueName) -> Vec<RunView<'_>> {
        let ix = self.queues.queue_of.get(queue).into_iter();
        ix.flat_map(|ix| self.queues.line_of(&self.runs, *ix)).map(|ix| self.view(ix)).collect()
    }

    /// The run that stands last in a queue.
    pub fn last_in_line(&self, queue: &QueueName) -> Option<RunId> {
        let shapes = &self.queues.queues[*self.queues.queue_of.get(queue)?].shape_of;
        let lasts = shapes.values().filter_map(|shape| self.queues.shapes[*shape].line.last());
        lasts.max_by_key(|run| self.runs[*run].order).map(|run| self.runs[run].id)
    }

    /// Whether an operation may stand in line that could start now. `false` is certain.
    pub fn could_start(&self) -> bool {
        self.queues.limits.concurrency.admits(self.queues.used) && !self.queues.open.is_empty()
    }

    /// Whether a run of this id was finished not long ago.
    pub fn finished_recently(&self, id: RunId) -> bool {
        self.recent.attempt(id).is_some()
    }

    /// Tells whether an agent's target can be reached. This is not stored: it is told anew after each start.
    pub fn set_agent_up(&mut self, agent: &AgentName, up: bool) {
        self.queues.set_up(agent, up);
    }

    fn view(&self, ix: RunIx) -> RunView<'_> {
        let run = &self.runs[ix];
        let queue = &self.queues.queues[run.queue];
        RunView {
            id: run.id,
            status: run.status,
            attempt: run.attempt,
            queue: &queue.name,
            agent: &self.queues.agents[queue.agent].name,
            pipeline: run.pipeline.is_some(),
        }
    }

    /// What becomes of the runs of a queue that is removed.
    pub(super) fn on_remove(&self, queue: &QueueName) -> OnRemove {
        let ix = self.queues.queue_of.get(queue);
        ix.map_or(OnRemove::Drain, |ix| self.queues.queues[*ix].policy.on_remove.clone())
    }
}

/// An agent, for looking at.
#[derive(Debug)]
#[allow(missing_docs)] // the words are those of the policy and of `Agent`
pub struct AgentView<'a> {
    pub name: &'a AgentName,
    pub policy: &'a AgentPolicy,
    /// Whether its target can be reached.
    pub up: bool,
    /// Whether it only finishes what it has.
    pub removed: bool,
    /// Operations that hold a slot.
    pub running: u32,
    /// What they ask together.
    pub used: Resources,
    /// Priority, budget and use of each level, highest first.
    pub levels: Vec<(Priority, u64, u32)>,
}

/// A queue, for looking at.
#[derive(Debug)]
#[allow(missing_docs)] // the words are those of the policy and of `Queue`
pub struct QueueView<'a> {
    pub name: &'a QueueName,
    pub policy: &'a QueuePolicy,
    /// What git says of it, when somebody changed it through the API.
    pub declared: Option<&'a QueuePolicy>,
    /// Who changed it.
    pub changed_by: Option<&'a str>,
    /// Whether it only finishes what it has.
    pub removed: bool,
    /// Operations that hold a slot.
    pub running: u32,
    /// Operations that stand in it.
    pub queued: u32,
    /// What the running ones ask together.
    pub used: Resources,
}

/// An unfinished run, for looking at.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the words are those of `Run`
pub struct RunView<'a> {
    pub id: RunId,
    pub status: Status,
    pub attempt: u32,
    pub queue: &'a QueueName,
    pub agent: &'a AgentName,
    pub pipeline: bool,
}
