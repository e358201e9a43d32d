//! Why a run does not run, found by full scans: what `explain` says must be the same.

use tidegate::domain::dispatch::Blocker;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::RunId;
use tidegate::domain::spec::{Limit, Order};
use tidegate::domain::windows::open_at;

use crate::oracle::{Agent, Oracle, Queue, Run, fits, room};

/// A blocker as far as the rules say it: which it is, for whom something is kept or who stands first, and how many stand ahead.
pub type Reason = (&'static str, Option<RunId>, Option<u64>);

/// What `explain` answers, in the same form.
pub fn said(blocker: &Blocker) -> Reason {
    match blocker {
        Blocker::Nothing { .. } => ("nothing", None, None),
        Blocker::Approval => ("approval", None, None),
        Blocker::Preparation => ("preparation", None, None),
        Blocker::Build { run } => ("build", Some(*run), None),
        Blocker::Retry { .. } => ("retry", None, None),
        Blocker::Pipeline { pipeline, .. } => ("pipeline", Some(*pipeline), None),
        Blocker::Controller { controller, .. } => ("controller", Some(*controller), None),
        Blocker::Group { .. } => ("group", None, None),
        Blocker::Project { .. } => ("project", None, None),
        Blocker::NeverFits { .. } => ("never fits", None, None),
        Blocker::QueueHeld { .. } => ("queue held", None, None),
        Blocker::QueueClosed { .. } => ("queue closed", None, None),
        Blocker::QueueConcurrency { .. } => ("queue concurrency", None, None),
        Blocker::QueueQuota { .. } => ("queue quota", None, None),
        Blocker::AgentDown { .. } => ("agent down", None, None),
        Blocker::AgentConcurrency { .. } => ("agent concurrency", None, None),
        Blocker::AgentCapacity { .. } => ("agent capacity", None, None),
        Blocker::Organization { .. } => ("organization", None, None),
        Blocker::Reserved { run, within, .. } if within.starts_with("agent") => ("kept on agent", Some(*run), None),
        Blocker::Reserved { run, .. } => ("kept in queue", Some(*run), None),
        Blocker::StrictOrder { first, ahead, .. } => ("strict order", Some(*first), Some(*ahead)),
        Blocker::Line { ahead, .. } => ("line", None, Some(*ahead)),
    }
}

impl Oracle {
    /// The one reason why a run does not run, once a pass has ended.
    pub fn reason(&self, run: &Run) -> Reason {
        match run.status {
            Status::Created => self.reason_before_gates(run),
            Status::Compiled => self.reason_at_gates(run),
            Status::Queued => self.reason_in_queue(run),
            Status::Retrying => ("retry", None, None),
            _ => ("nothing", None, None),
        }
    }

    fn reason_before_gates(&self, run: &Run) -> Reason {
        // Who builds is asked for approval when it has built.
        let builds = run.new.builds && run.new.unprepared;
        match self.building.get(&run.new.id) {
            Some(build) => ("build", Some(*build), None),
            None if run.new.needs_approval && !builds => ("approval", None, None),
            None => ("preparation", None, None),
        }
    }

    fn reason_at_gates(&self, run: &Run) -> Reason {
        let [direct, controller, _] = self.gates(run);
        match (run.new.parent, run.root) {
            (Some(parent), _) if !direct => ("pipeline", Some(parent), None),
            (None, _) if !direct => ("group", None, None),
            (_, Some(root)) if !controller => ("controller", Some(root), None),
            _ => ("project", None, None),
        }
    }

    fn reason_in_queue(&self, run: &Run) -> Reason {
        let queue = self.queues.iter().find(|queue| queue.name == run.new.queue).expect("it stands in one");
        let agent = self.agents.iter().find(|agent| agent.name == queue.name.agent).expect("a queue has an agent");
        let request = &run.new.request;
        if !fits(&queue.policy.quota, &[], request) || !fits(&agent.policy.capacity, &[], request) {
            return ("never fits", None, None);
        }
        // Those that ask for the same share a line: what keeps the first of it keeps them all.
        let same = self.runs.iter().filter(|other| {
            let standing = other.status == Status::Queued && other.new.queue == queue.name;
            standing && other.new.request == *request && queue.policy.order == Order::Backfill
        });
        let run = same.min_by_key(|other| other.order).unwrap_or(run);
        self.reason_of_queue(queue, run).or_else(|| self.reason_of_agent(agent, queue, run)).unwrap_or_else(|| {
            let held = self.runs.iter().filter(|run| crate::oracle::slot(run)).count();
            let word = if room(self.limits.concurrency, held) { "line" } else { "organization" };
            (word, None, None)
        })
    }

    fn reason_of_queue(&self, queue: &Queue, run: &Run) -> Option<Reason> {
        let used = self.used_of_queue(queue);
        let word = if queue.policy.hold || queue.policy.concurrency == Limit::At(0) {
            "queue held"
        } else if !open_at(&queue.policy.windows, self.now).is_open() {
            "queue closed"
        } else if !room(queue.policy.concurrency, used.len()) {
            "queue concurrency"
        } else if let Some(first) = self.candidates(queue).first().filter(|first| first.order < run.order)
            && queue.policy.order == Order::Strict
        {
            return Some(("strict order", Some(first.new.id), Some(self.ahead(run))));
        } else if !fits(&queue.policy.quota, &used, &run.new.request) {
            "queue quota"
        } else {
            let kept = self.kept_in_queue(queue).filter(|_| !self.fits_queue(queue, run))?;
            return Some(("kept in queue", Some(kept.new.id), None));
        };
        Some((word, None, None))
    }

    fn reason_of_agent(&self, agent: &Agent, queue: &Queue, run: &Run) -> Option<Reason> {
        let mut used = self.used_of_agent(agent);
        let word = if !self.up.contains(&agent.name) {
            "agent down"
        } else if !room(agent.policy.concurrency, used.len()) {
            "agent concurrency"
        } else if !fits(&agent.policy.capacity, &used, &run.new.request) {
            "agent capacity"
        } else {
            let levels = agent.patience.keys().rev().filter(|level| **level >= queue.policy.priority);
            let owners = levels.filter_map(|level| self.owner(agent, *level));
            let owners: Vec<&Run> = owners.filter(|owner| owner.new.id != run.new.id).collect();
            used.extend(&owners);
            let kept = owners.first().filter(|_| !fits(&agent.policy.capacity, &used, &run.new.request))?;
            return Some(("kept on agent", Some(kept.new.id), None));
        };
        Some((word, None, None))
    }

    /// How many stand before a run in its queue.
    fn ahead(&self, run: &Run) -> u64 {
        let standing = self.runs.iter().filter(|other| other.status == Status::Queued);
        standing.filter(|other| other.new.queue == run.new.queue && other.order < run.order).count() as u64
    }
}
