//! The life of one run in the state: made, let through its gates, moved, ended; and who waits where.

use super::event::NewRun;
use super::gates::GateOwner;
use super::preparing::Open;
use super::state::State;
use super::status::Status;
use super::table::{Ix, Pipeline, Run, RunIx};
use crate::domain::ids::{ProjectName, QueueName, RunId};
use crate::domain::spec::Limit;

impl State {
    pub(super) fn create(&mut self, new: &NewRun) {
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
        if let Some(resumed) = &new.resumes {
            self.runs[ix].attempt = resumed.attempt.0;
        }
        if let Some(limit) = new.timeout.filter(|_| new.pipeline.is_some()) {
            self.deadlines.limit(id, limit);
        }
        if new.followed {
            self.hooks.owners.insert(id);
        }
        match Open::of(new) {
            Some(open) => drop(self.preparing.insert(id, open)),
            None if new.needs_approval => {}
            None => self.wait_at_gate(ix),
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

    /// Whether a pipeline runs as soon as it may: it passes no gate and stands in no queue.
    pub(super) fn begins_at_once(&self, ix: RunIx) -> bool {
        self.runs[ix].pipeline.is_some() && self.runs[ix].gate.is_none()
    }

    pub(super) fn wait_at_gate(&mut self, ix: RunIx) {
        self.runs[ix].status = Status::Compiled;
        // A root pipeline passes no gate and stands in no queue; its next event says that it runs.
        if let Some(gate) = self.runs[ix].gate {
            self.runs[ix].order = self.next_order();
            self.gates.wait(&mut self.runs, ix, gate);
        }
    }

    pub(super) fn pass_gates(&mut self, ix: RunIx) {
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

    pub(super) fn move_to(&mut self, ix: RunIx, queue: &QueueName) {
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

    pub(super) fn finish(&mut self, ix: RunIx) {
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
        self.deadlines.forget(run.id);
        self.preparing.remove(&run.id);
        self.hooks.ended(run.id);
        self.recent.push(run.id, run.attempt);
    }

    /// A run no longer counts in a queue; a removed one that is empty now may go.
    fn part(&mut self, queue: Ix, shape: Ix) {
        self.queues.part(queue, shape);
        self.stir_if_removed(queue);
    }

    /// Takes a run out of wherever it stands: its gate's line, its queue's line, its slot, its timer.
    pub(super) fn leave(&mut self, ix: RunIx) {
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
