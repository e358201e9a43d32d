//! What may be asked of the state machine, with every id it needs inside, and how it may refuse.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::event::{NewRun, RevisionApplied};
use super::observation::{Cause, Observation};
use super::status::Status;
use crate::domain::catalog::QueuePolicy;
use crate::domain::ids::{AgentName, CommitId, Digest, QueueName, RunId, WorkflowName};
use crate::domain::time::Timestamp;

/// What may be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Make a commit what is applied and start its runs, in one transaction.
    ApplyRevision {
        /// The commit that the plan was made against; refused when something else is applied by now.
        based_on: Option<CommitId>,
        /// What changes.
        revision: Box<RevisionApplied>,
        /// Runs to start.
        starts: Vec<NewRun>,
        /// Workflows that are gone, with what becomes of their runs.
        stops: Vec<RunId>,
    },
    /// Start runs.
    Submit(Vec<NewRun>),
    /// Take a running pipeline a step forward; nothing happens when it does not run (any more).
    Advance(Box<Advance>),
    /// Settle what a run is made of; nothing happens when it does not wait for that.
    Prepare(Prepare),
    /// Start what follows the end of a run; nothing happens when that was done.
    Follow(Follow),
    /// These are all the schedules that there shall be.
    Arm(BTreeMap<WorkflowName, BTreeSet<Digest>>),
    /// Start the run of a schedule for a time; nothing happens when it has fired for that time or a later one.
    Fire(Box<Fire>),
    /// Stop a run.
    Stop {
        /// Which run.
        run: RunId,
        /// Who says so.
        by: String,
    },
    /// Let a run go on that waits for approval.
    Approve {
        /// Which run.
        run: RunId,
        /// Who says so.
        by: String,
    },
    /// Change a queue without a commit.
    ChangeQueue {
        /// Which queue.
        queue: QueueName,
        /// What it shall be.
        policy: Box<QueuePolicy>,
        /// Who says so.
        by: String,
    },
    /// Put something into the timeline of a run that has a slot; nothing happens when that was done before.
    Note {
        /// Which run.
        run: RunId,
        /// What there is to say.
        notes: Vec<Cause>,
    },
    /// Give up what an agent holds that cannot be reached.
    Forget {
        /// Which agent.
        agent: AgentName,
        /// Who says so.
        by: String,
    },
    /// Delete a finished run from the history.
    Delete {
        /// Which run.
        run: RunId,
    },
    /// A target has seen something.
    Observe(Observation),
}

/// A step of a pipeline: what it makes, and how it ends when it does. Asking twice is harmless.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// Which pipeline.
    pub pipeline: RunId,
    /// Direct children to make; those that are known already are passed over.
    pub children: Vec<NewChild>,
    /// Children to stop, and why.
    pub stops: Vec<(RunId, Cause)>,
    /// How it ends.
    pub end: Option<PipelineEnd>,
}

/// What a run comes to that waited for values, a condition or an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepare {
    /// Which run.
    pub run: RunId,
    /// Its operation as far as it is settled, by the digest of the stored body.
    pub spec: Digest,
    /// What it comes to.
    pub comes_to: ComesTo,
}

/// What preparing a run comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum ComesTo {
    /// It is what it will be.
    Ready,
    /// Another run builds its image first.
    Building(Box<NewRun>),
    /// A final status without a start, and why.
    Ended(Status, Cause),
}

/// What follows the end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Follow {
    /// Which run has ended.
    pub of: RunId,
    /// The runs to start.
    pub runs: Vec<NewChild>,
}

/// A schedule that fires.
#[derive(Debug, Clone, PartialEq)]
pub struct Fire {
    /// Whose schedule.
    pub workflow: WorkflowName,
    /// Which of them, by the digest of what it says.
    pub schedule: Digest,
    /// The time that it fires for.
    pub planned: Timestamp,
    /// The run to start.
    pub run: NewRun,
}

/// A child of a pipeline, or a run that follows another.
#[derive(Debug, Clone, PartialEq)]
pub struct NewChild {
    /// The run.
    pub run: NewRun,
    /// A final status that it has from the beginning, and why: it is recorded and never starts.
    pub ended: Option<(Status, Cause)>,
}

/// How a pipeline ends.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineEnd {
    /// A final status.
    pub status: Status,
    /// Why.
    pub cause: Cause,
    /// What it reports.
    pub outputs: Map<String, Value>,
    /// Whether children that have not ended are stopped first; without it, their presence means that this came too early.
    pub stop_children: bool,
}

/// Why a command was refused; nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Something else was applied in the meantime.
    #[error("the plan was made against {}, but {} is applied by now: plan again", shown(.planned), shown(.applied))]
    Stale {
        /// What the plan was made against.
        planned: Option<CommitId>,
        /// What is applied.
        applied: Option<CommitId>,
    },
    /// There is no such run among those that are not finished.
    #[error("there is no unfinished run {0}")]
    NoSuchRun(RunId),
    /// The run has not ended.
    #[error("run {0} has not ended: stop it first")]
    NotFinished(RunId),
    /// The run does not wait for approval.
    #[error("run {0} does not wait for approval")]
    NotWaiting(RunId),
    /// There is no such queue.
    #[error("there is no queue {0}")]
    NoSuchQueue(QueueName),
    /// The queue is being removed.
    #[error("queue {0} has been removed and only finishes what it has")]
    QueueRemoved(QueueName),
    /// There is no such agent.
    #[error("there is no agent {0}")]
    NoSuchAgent(AgentName),
    /// The agent can be reached: its runs can be stopped.
    #[error("agent {0} can be reached: stop its runs, or remove its queues and let them drain")]
    AgentUp(AgentName),
    /// There is no such pipeline.
    #[error("there is no unfinished pipeline {0}")]
    NoSuchPipeline(RunId),
    /// The server holds as many unfinished runs as it may.
    #[error("{0} runs are unfinished, as many as a server holds: wait for some to end")]
    TooManyRuns(usize),
}

fn shown(commit: &Option<CommitId>) -> &str {
    commit.as_ref().map_or("nothing", CommitId::short)
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was decided.
    Done,
    /// It asked for what is already so (a repeated submission, a run that is already stopping).
    Already,
    /// It was refused.
    Refused(Rejection),
}
