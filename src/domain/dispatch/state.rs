//! The state: its parts, and what each event does to them. No rule decides here; applying never fails.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Armed, Cursor, Event, NewRun, OrganizationLimits, RevisionApplied};
use super::gates::{GateOwner, Gates};
use super::observation::Cause;
use super::queues::Queues;
use super::recent::Recent;
use super::status::Status;
use super::table::{Ix, Pipeline, Run, RunIx, Table};
use crate::domain::catalog::{AgentPolicy, ProjectPolicy, QueuePolicy};
use crate::domain::ids::{AgentName, CommitId, Digest, ProjectName, QueueName, RunId, WorkflowName};
use crate::domain::spec::{Limit, OnRemove};
use crate::domain::time::Timestamp;

/// Everything that decisions need, and no more: finished runs, logs and reports are elsewhere.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(super) runs: Table,
    pub(super) gates: Gates,
    pub(super) queues: Queues,
    pub(super) projects: BTreeMap<ProjectName, ProjectPolicy>,
    pub(super) cursors: BTreeMap<WorkflowName, Cursor>,
    /// Queues that somebody changed through the API, with what git says of them and who it was.
    pub(super) overrides: BTreeMap<QueueName, (QueuePolicy, String)>,
    pub(super) applied: Option<Applied>,
    /// When runs that wait to be tried again may stand in their queue.
    pub(super) retries: BTreeSet<(Timestamp, RunId)>,
    pub(super) retry_at: BTreeMap<RunId, Timestamp>,
    /// Queues and agents that are being removed.
    pub(super) draining: BTreeSet<Draining>,
    /// Those of them that the next pass looks at, because something about them has changed.
    pub(super) stirred: BTreeSet<Draining>,
    /// Runs that wait for something else than their queue, by the queue that they will stand in, and by age.
    pub(super) outside: BTreeSet<(Ix, u64, RunIx)>,
    /// The unfinished runs of groups and pipelines, by their gate.
    pub(super) members: BTreeSet<(Ix, RunIx)>,
    /// Runs for whose attempt something is owed to their agent.
    pub(super) owed: BTreeSet<(Ix, RunId)>,
    pub(super) recent: Recent,
    /// The schedules of workflows, by the digest of what each says, with what each has done.
    pub(super) armed: BTreeMap<WorkflowName, BTreeMap<Digest, Armed>>,
    /// How pipelines that are stopping will end.
    pub(super) ending: BTreeMap<RunId, (Status, Cause)>,
    /// Those of them that have nothing unfinished below them any more.
    pub(super) emptied: BTreeSet<RunId>,
    /// The last place given in any line.
    pub(super) order: u64,
}

/// What is applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Applied {
    /// The commit.
    pub commit: CommitId,
    /// The commit that the policy is of: an earlier one while that of `commit` is not sound.
    pub policy: CommitId,
    /// Its subject line.
    pub subject: String,
    /// The plan that was carried out.
    pub plan: Digest,
    /// When.
    pub at: Timestamp,
}

/// What finishes what it has and then goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draining {
    Queue(QueueName),
    Agent(AgentName),
}

impl State {
    /// Takes an event in. Events come from [`super::decide`] and [`super::schedule`], or from the log in the same order.
    pub fn apply(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::RevisionApplied(revision) => self.apply_revision(at, revision),
            Event::QueueChanged { queue, policy, by } => {
                if let Some(ix) = self.queues.queue_of.get(queue) {
                    let declared = self.queues.queues[*ix].policy.clone();
                    let entry = self.overrides.entry(queue.clone()).or_insert((declared, String::new()));
                    entry.1 = by.clone();
                    if entry.0 == *policy {
                        self.overrides.remove(queue);
                    }
                    self.queues.set_queue(&self.runs, queue, policy.clone());
                    self.stir(queue);
                }
            }
            Event::QueueTurned { queue, opening } => {
                if let Some(ix) = self.queues.queue_of.get(queue) {
                    self.queues.set_opening(*ix, *opening);
                }
            }
            Event::QueueGone { queue } => {
                self.undrain(&Draining::Queue(queue.clone()));
                self.overrides.remove(queue);
                if let Some(ix) = self.queues.queue_of.get(queue) {
                    self.queues.remove_queue(*ix);
                }
                self.stir_agent(&queue.agent);
            }
            Event::AgentGone { agent } => {
                self.undrain(&Draining::Agent(agent.clone()));
                if let Some(ix) = self.queues.agent_of.get(agent) {
                    self.queues.remove_agent(*ix);
                }
            }
            Event::RunCreated(run) => self.create(run),
            Event::RunApproved { run, .. } => self.with(*run, |state, ix| state.wait_at_gate(ix)),
            Event::RunQueued { run } => self.with(*run, Self::pass_gates),
            Event::RunMoved { run, queue } => self.with(*run, |state, ix| state.move_to(ix, queue)),
            Event::RunScheduled { run, attempt } => self.with(*run, |state, ix| {
                debug_assert!(state.runs[ix].status == Status::Queued, "only who stands in a queue gets a slot");
                state.queues.hand_over(&mut state.runs, ix, at);
                state.runs[ix].status = Status::Scheduled;
                state.runs[ix].attempt = attempt.0;
            }),
            Event::RunProgressed { run, status, .. } => self.with(*run, |state, ix| state.runs[ix].status = *status),
            Event::RunStopping { run, .. } => self.with(*run, |state, ix| state.runs[ix].status = Status::Stopping),
            Event::PipelineStopping { run, end, cause } => self.with(*run, |state, ix| {
                state.leave(ix);
                state.runs[ix].status = Status::Stopping;
                state.ending.insert(*run, (*end, cause.clone()));
                state.note_emptied(ix);
            }),
            Event::RunRetrying { run, until, .. } => self.with(*run, |state, ix| {
                state.leave(ix);
                state.stir_if_removed(state.runs[ix].queue);
                state.runs[ix].status = Status::Retrying;
                state.retries.insert((*until, *run));
                state.retry_at.insert(*run, *until);
            }),
            Event::RunFinished { run, .. } => self.with(*run, Self::finish),
            Event::RunDeleted { .. } => {}
            Event::SchedulesArmed { schedules } => self.apply_armed(at, schedules),
            Event::ScheduleFired { workflow, schedule, planned, run } => {
                self.apply_fired(workflow, *schedule, *planned, *run);
            }
        }
    }

    fn with(&mut self, run: RunId, apply: impl FnOnce(&mut Self, RunIx)) {
        let ix = self.runs.find(run);
        debug_assert!(ix.is_some(), "an event names the unfinished run {run}");
        if let Some(ix) = ix {
            let (owed_before, outside_before) = (self.owed_at(ix), self.outside_at(ix));
            apply(self, ix);
            // A run that ended may have left its place to nobody, but never to another run within one event.
            let stays = self.runs.is_at(ix, run);
            let owed_after = self.owed_at(ix).filter(|_| stays);
            if owed_before != owed_after {
                owed_before.map(|agent| self.owed.remove(&(agent, run)));
                owed_after.map(|agent| self.owed.insert((agent, run)));
            }
            let outside_after = self.outside_at(ix).filter(|_| stays);
            if outside_before != outside_after {
                outside_before.map(|(queue, order)| self.outside.remove(&(queue, order, ix)));
                outside_after.map(|(queue, order)| self.outside.insert((queue, order, ix)));
            }
        }
    }

    /// The agent to which something is owed for a run.
    pub(super) fn owed_at(&self, ix: RunIx) -> Option<Ix> {
        let run = self.runs.get(ix)?;
        let owed = run.pipeline.is_none() && matches!(run.status, Status::Scheduled | Status::Stopping);
        owed.then(|| self.queues.queues[run.queue].agent)
    }

    /// The queue that a run is to stand in, while it waits outside of it, and its order.
    pub(super) fn outside_at(&self, ix: RunIx) -> Option<(Ix, u64)> {
        let run = self.runs.get(ix)?;
        matches!(run.status, Status::Created | Status::Compiled | Status::Retrying).then_some((run.queue, run.order))
    }

    /// The next pass looks at a removed queue.
    pub(super) fn stir(&mut self, queue: &QueueName) {
        let draining = Draining::Queue(queue.clone());
        if self.draining.contains(&draining) {
            self.stirred.insert(draining);
        }
    }

    fn stir_agent(&mut self, agent: &AgentName) {
        let draining = Draining::Agent(agent.clone());
        if self.draining.contains(&draining) {
            self.stirred.insert(draining);
        }
    }

    pub(super) fn drain(&mut self, what: Draining) {
        self.stirred.insert(what.clone());
        self.draining.insert(what);
    }

    fn undrain(&mut self, what: &Draining) {
        self.draining.remove(what);
        self.stirred.remove(what);
    }

    fn apply_revision(&mut self, at: Timestamp, revision: &RevisionApplied) {
        if let Some(limits) = revision.organization {
            self.queues.set_limits(limits);
        }
        for (name, policy) in &revision.projects {
            let policy = policy.clone().unwrap_or(ProjectPolicy {
                default_queue: None,
                default_preset: None,
                queues: None,
                concurrency: Limit::Unlimited,
            });
            self.gates.open(&self.runs, GateOwner::Project(name.clone()), policy.concurrency, None);
            match revision.projects[name] {
                Some(_) => self.projects.insert(name.clone(), policy),
                None => self.projects.remove(name),
            };
        }
        for (name, policy) in &revision.agents {
            match policy {
                Some(policy) => {
                    self.undrain(&Draining::Agent(name.clone()));
                    self.queues.set_agent(&self.runs, name, policy.clone());
                }
                None => {
                    if let Some(ix) = self.queues.agent_of.get(name) {
                        self.queues.agents[*ix].removed = true;
                        self.drain(Draining::Agent(name.clone()));
                    }
                }
            }
        }
        // Every applied commit heals what was changed behind its back.
        for (queue, (declared, _)) in std::mem::take(&mut self.overrides) {
            if self.queues.queue_of.get(&queue).is_some_and(|ix| !self.queues.queues[*ix].removed) {
                self.queues.set_queue(&self.runs, &queue, declared);
            }
        }
        if self.queues.rename(&revision.renamed) {
            revision.renamed.keys().for_each(|old| self.undrain(&Draining::Queue(old.clone())));
        } else {
            // The old name's runs follow once the new name's queue can have them.
            revision.renamed.iter().for_each(|(old, new)| self.retire(old, Some(OnRemove::MoveTo(new.clone()))));
        }
        for (name, policy) in &revision.queues {
            match policy {
                Some(policy) => {
                    self.undrain(&Draining::Queue(name.clone()));
                    self.queues.set_queue(&self.runs, name, policy.clone());
                }
                None => self.retire(name, None),
            }
        }
        // What waits for another queue may find it now.
        self.stirred.extend(self.draining.iter().cloned());
        self.cursors.extend(revision.cursors.iter().map(|(name, cursor)| (name.clone(), cursor.clone())));
        self.applied = Some(Applied {
            commit: revision.commit.clone(),
            policy: revision.policy.clone(),
            subject: revision.subject.clone(),
            plan: revision.plan,
            at,
        });
    }

    /// A queue takes no more and finishes what it has, or hands it on.
    fn retire(&mut self, name: &QueueName, on_remove: Option<OnRemove>) {
        if let Some(ix) = self.queues.queue_of.get(name) {
            let queue = &mut self.queues.queues[*ix];
            queue.removed = true;
            queue.policy.on_remove = on_remove.unwrap_or_else(|| queue.policy.on_remove.clone());
            self.drain(Draining::Queue(name.clone()));
        }
    }

    fn create(&mut self, new: &NewRun) {
        let Some(queue) = self.queues.queue_of.get(&new.queue).copied() else {
            debug_assert!(false, "a run is created in a queue that exists");
            return;
        };
        let request = self.queues.dims.request(&new.request);
        let shape = self.queues.join(queue, &request);
        let order = self.next_order();
        let mut run = Run::new(new.id, order, queue, shape, new.max_retries);
        run.gate = self.direct_gate(new);
        if let Some(gate) = run.gate {
            self.gates.hold(gate);
        }
        let id = new.id;
        let ix = self.runs.insert(run);
        if let Some(limit) = new.pipeline {
            self.runs[ix].pipeline = Some(self.open_pipeline(id, limit, new));
        }
        if !new.needs_approval {
            self.wait_at_gate(ix);
        }
        self.admit(ix);
    }

    /// Enters a new run into the indexes.
    pub(super) fn admit(&mut self, ix: RunIx) {
        if let Some((queue, order)) = self.outside_at(ix) {
            self.outside.insert((queue, order, ix));
        }
        if let Some(gate) = self.member_of(ix) {
            self.members.insert((gate, ix));
        }
    }

    /// The gate under which a run is found: that of its group or pipeline. The runs of a project need no index.
    fn member_of(&self, ix: RunIx) -> Option<Ix> {
        let gate = self.runs[ix].gate?;
        (!matches!(self.gates[gate].owner, GateOwner::Project(_))).then_some(gate)
    }

    /// The unfinished runs of a group or directly below a pipeline, oldest first.
    pub(super) fn members(&self, gate: Ix) -> Vec<RunIx> {
        let members = self.members.range((gate, RunIx(0))..=(gate, RunIx(u32::MAX)));
        let mut members: Vec<RunIx> = members.map(|(_, ix)| *ix).collect();
        members.sort_by_key(|ix| self.runs[*ix].order);
        members
    }

    /// The runs of a queue that hold no slot, oldest first.
    pub(super) fn waiting_for(&self, queue: Ix) -> impl Iterator<Item = RunIx> {
        let mut outside = self.outside.range((queue, 0, RunIx(0))..=(queue, u64::MAX, RunIx(u32::MAX))).peekable();
        let mut line = self.queues.line_of(&self.runs, queue).peekable();
        std::iter::from_fn(move || match (outside.peek(), line.peek()) {
            (Some((_, order, _)), Some(first)) if *order > self.runs[*first].order => line.next(),
            (Some(_), _) => outside.next().map(|(_, _, ix)| *ix),
            (None, _) => line.next(),
        })
    }

    fn direct_gate(&mut self, new: &NewRun) -> Option<Ix> {
        if let Some(parent) = new.parent.and_then(|parent| self.runs.find(parent)) {
            return self.runs[parent].pipeline.map(|pipeline| pipeline.direct);
        }
        let project = self.project_gate(&new.project);
        match &new.group {
            Some(group) => {
                let owner = GateOwner::Group(new.project.clone(), group.group.clone());
                Some(self.gates.open(&self.runs, owner, Limit::At(group.limit), Some(project)))
            }
            None => new.pipeline.is_none().then_some(project),
        }
    }

    pub(super) fn project_gate(&mut self, project: &ProjectName) -> Ix {
        let owner = GateOwner::Project(project.clone());
        match self.gates.find(&owner) {
            Some(gate) => gate,
            None => {
                let limit = self.projects.get(project).map_or(Limit::Unlimited, |policy| policy.concurrency);
                self.gates.open(&self.runs, owner, limit, None)
            }
        }
    }

    /// A pipeline without a pipeline above it is its own controller.
    fn open_pipeline(&mut self, id: RunId, limit: Limit, new: &NewRun) -> Pipeline {
        let above = new.parent.and_then(|parent| self.runs.find(parent)).and_then(|parent| self.runs[parent].pipeline);
        let controller = match above {
            Some(above) => above.controller,
            None => {
                let project = self.project_gate(&new.project);
                self.gates.open(&self.runs, GateOwner::Controller(id), limit, Some(project))
            }
        };
        let direct = self.gates.open(&self.runs, GateOwner::Pipeline(id), limit, Some(controller));
        self.gates.hold(direct);
        self.gates.hold(controller);
        Pipeline { direct, controller }
    }

    fn wait_at_gate(&mut self, ix: RunIx) {
        self.runs[ix].status = Status::Compiled;
        // A root pipeline passes no gate and stands in no queue; its next event says that it runs.
        if let Some(gate) = self.runs[ix].gate {
            self.runs[ix].order = self.next_order();
            self.gates.wait(&mut self.runs, ix, gate);
        }
    }

    fn pass_gates(&mut self, ix: RunIx) {
        if let Some(gate) = self.runs[ix].gate.filter(|_| !self.runs[ix].passed) {
            let pipeline = self.runs[ix].pipeline.is_some();
            self.leave(ix);
            self.gates.enter(&self.runs, gate, pipeline);
        } else {
            self.leave(ix);
        }
        self.runs[ix].passed = true;
        if self.runs[ix].pipeline.is_some() {
            self.runs[ix].status = Status::Running;
        } else {
            self.runs[ix].status = Status::Queued;
            self.runs[ix].order = self.next_order();
            self.queues.wait(&mut self.runs, ix);
        }
    }

    fn move_to(&mut self, ix: RunIx, queue: &QueueName) {
        let Some(to) = self.queues.queue_of.get(queue).copied() else {
            debug_assert!(false, "a run moves to a queue that exists");
            return;
        };
        let queued = self.runs[ix].status == Status::Queued;
        if queued {
            self.queues.leave_line(&mut self.runs, ix);
        }
        let (from, shape) = (self.runs[ix].queue, self.runs[ix].shape);
        let request = self.queues.shapes[shape].request.clone();
        self.runs[ix].shape = self.queues.join(to, &request);
        self.runs[ix].queue = to;
        self.part(from, shape);
        if queued {
            self.runs[ix].order = self.next_order();
            self.queues.wait(&mut self.runs, ix);
        }
    }

    fn finish(&mut self, ix: RunIx) {
        self.leave(ix);
        let (queue, shape) = (self.runs[ix].queue, self.runs[ix].shape);
        self.part(queue, shape);
        if let Some(gate) = self.member_of(ix) {
            self.members.remove(&(gate, ix));
        }
        let run = self.runs.remove(ix);
        if let Some(gate) = run.gate {
            if run.passed {
                self.gates.exit(&self.runs, gate, run.pipeline.is_some());
            }
            let parent = match self.gates[gate].owner {
                GateOwner::Pipeline(parent) => self.runs.find(parent),
                _ => None,
            };
            self.gates.unhold(gate);
            parent.into_iter().for_each(|parent| self.note_emptied(parent));
        }
        self.ending.remove(&run.id);
        self.emptied.remove(&run.id);
        if let Some(pipeline) = run.pipeline {
            self.gates.unhold(pipeline.direct);
            self.gates.unhold(pipeline.controller);
        }
        self.recent.push(run.id);
    }

    /// A run no longer counts in a queue; a removed one that is empty now may go.
    fn part(&mut self, queue: Ix, shape: Ix) {
        self.queues.part(queue, shape);
        self.stir_if_removed(queue);
    }

    fn stir_if_removed(&mut self, queue: Ix) {
        if self.queues.queues[queue].removed {
            let name = self.queues.queues[queue].name.clone();
            self.stir(&name);
        }
    }

    /// Takes a run out of wherever it stands: its gate's line, its queue's line, its slot, its timer.
    fn leave(&mut self, ix: RunIx) {
        let run = &self.runs[ix];
        let (id, gate, pipeline) = (run.id, run.gate, run.pipeline.is_some());
        match run.status {
            Status::Compiled => {
                if let Some(gate) = gate {
                    self.gates.leave_line(&mut self.runs, ix, gate);
                }
            }
            Status::Queued => self.queues.leave_line(&mut self.runs, ix),
            Status::Retrying => {
                if let Some(until) = self.retry_at.remove(&id) {
                    self.retries.remove(&(until, id));
                }
            }
            status if status.holds_slot() && !pipeline => self.queues.free_slot(&self.runs, ix),
            Status::Created | Status::Scheduled | Status::Starting | Status::Running | Status::Warning => {}
            Status::Stopping | Status::Succeeded | Status::Failed | Status::UpstreamFailed => {}
            Status::Stopped | Status::Skipped => {}
        }
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}

/// What anybody may ask.
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

    /// Whether an operation may stand in line that could start now. `false` is certain.
    pub fn could_start(&self) -> bool {
        self.queues.limits.concurrency.admits(self.queues.used) && !self.queues.open.is_empty()
    }

    /// Whether a run of this id was finished not long ago.
    pub fn finished_recently(&self, id: RunId) -> bool {
        self.recent.contains(id)
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
    pub used: crate::domain::quantity::Resources,
    /// Priority, budget and use of each level, highest first.
    pub levels: Vec<(crate::domain::spec::Priority, u64, u32)>,
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
    pub used: crate::domain::quantity::Resources,
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
