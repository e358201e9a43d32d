//! The state: its parts, and what each event does to them. No rule decides here; applying never fails.

use std::collections::{BTreeMap, BTreeSet};

use super::cached::Cached;
use super::deadlines::Deadlines;
use super::event::{Armed, Cursor, Event};
use super::gates::Gates;
use super::hooks::Hooks;
use super::observation::Cause;
use super::policy::{Applied, Draining};
use super::preparing::Preparing;
use super::queues::Queues;
use super::recent::Recent;
use super::status::Status;
use super::table::{Ix, RunIx, Table};
use crate::domain::catalog::{ProjectPolicy, QueuePolicy};
use crate::domain::ids::{Digest, ProjectName, QueueName, RunId, WorkflowName};
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
    /// How long pipelines may run.
    pub(super) deadlines: Deadlines,
    /// Runs that are to be prepared before they stand anywhere.
    pub(super) preparing: Preparing,
    /// Runs that others follow.
    pub(super) hooks: Hooks,
    /// Outcomes that other runs may take over.
    pub(super) cached: Cached,
    /// The last place given in any line.
    pub(super) order: u64,
}

impl State {
    /// Takes an event in. Events come from [`super::decide`] and [`super::schedule`], or from the log in the same order.
    pub fn apply(&mut self, at: Timestamp, event: &Event) {
        self.apply_to(None, at, event);
    }

    /// As [`State::apply`], for who knows the place of the run that the event names: finding it is dear among many.
    pub(super) fn apply_to(&mut self, known: Option<RunIx>, at: Timestamp, event: &Event) {
        self.cached.saw(event);
        match event {
            Event::RevisionApplied(revision) => self.apply_revision(at, revision),
            Event::QueueChanged { queue, policy, by } => self.change_queue(queue, policy, by),
            Event::QueueTurned { queue, opening } => {
                if let Some(ix) = self.queues.queue_of.get(queue) {
                    self.queues.set_opening(*ix, *opening);
                }
            }
            Event::QueueGone { queue } => self.forget_queue(queue),
            Event::AgentGone { agent } => self.forget_agent(agent),
            Event::RunCreated(run) => self.create(run),
            Event::RunApproved { run, .. } => self.with(known, *run, |state, ix| {
                if !state.approve_preparing(*run) {
                    state.wait_at_gate(ix);
                }
            }),
            Event::RunPrepared { run, needs_approval, .. } => self.with(known, *run, |state, ix| {
                state.preparing.remove(run);
                if !needs_approval {
                    state.wait_at_gate(ix);
                }
            }),
            Event::RunBuilding { run, build, .. } => self.with(known, *run, |state, _| state.begin_build(*run, *build)),
            Event::RunQueued { run } => self.with(known, *run, Self::pass_gates),
            Event::RunMoved { run, queue } => self.with(known, *run, |state, ix| state.move_to(ix, queue)),
            Event::RunScheduled { run, attempt } => self.with(known, *run, |state, ix| {
                debug_assert!(state.runs[ix].status == Status::Queued, "only who stands in a queue gets a slot");
                state.queues.hand_over(&mut state.runs, ix, at);
                state.runs[ix].status = Status::Scheduled;
                state.runs[ix].attempt = attempt.0;
            }),
            Event::RunProgressed { run, status, attempt, .. } => self.with(known, *run, |state, ix| {
                state.runs[ix].status = *status;
                if state.runs[ix].pipeline.is_some() {
                    state.runs[ix].attempt = attempt.0;
                    state.deadlines.begin(*run, at);
                }
            }),
            Event::RunStopping { run, .. } => {
                self.with(known, *run, |state, ix| state.runs[ix].status = Status::Stopping)
            }
            Event::PipelineStopping { run, end, cause } => self.with(known, *run, |state, ix| {
                state.leave(ix);
                state.runs[ix].status = Status::Stopping;
                state.deadlines.forget(*run);
                state.ending.insert(*run, (*end, cause.clone()));
                state.note_emptied(ix);
            }),
            Event::RunNoted { run, .. } => self.with(known, *run, |state, ix| state.runs[ix].noted = true),
            Event::RunRetrying { run, until, .. } => self.with(known, *run, |state, ix| {
                state.leave(ix);
                state.stir_if_removed(state.runs[ix].queue);
                state.runs[ix].status = Status::Retrying;
                state.retries.insert((*until, *run));
                state.retry_at.insert(*run, *until);
            }),
            Event::RunFinished { run, .. } => self.with(known, *run, Self::finish),
            Event::RunFollowed { run } => {
                self.hooks.due.remove(run);
            }
            Event::RunDeleted { .. } => {}
            Event::SchedulesArmed { schedules } => self.apply_armed(at, schedules),
            Event::ScheduleFired { workflow, schedule, planned, run } => {
                self.apply_fired(workflow, *schedule, *planned, *run);
            }
        }
    }

    fn with(&mut self, known: Option<RunIx>, run: RunId, apply: impl FnOnce(&mut Self, RunIx)) {
        let ix = known.filter(|ix| self.runs.is_at(*ix, run)).or_else(|| self.runs.find(run));
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
}
