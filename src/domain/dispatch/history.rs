//! What readers see: rows of history, and how each event changes them. Every store keeps the same rows by [`project`].
//!
//! The state holds only what decisions need; lists, timelines and reports are read from these rows, which are written
//! in the same transaction as the events.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{Event, NewRun, Origin};
use super::observation::Cause;
use super::status::Status;
use crate::domain::ids::{
    AgentName, Attempt, CommitId, Digest, Name, ProjectName, QueueName, RunId, Seq, WorkflowName,
};
use crate::domain::quantity::Resources;
use crate::domain::query::{Field, Query, SortKey, compare};
use crate::domain::time::Timestamp;

/// Runs on a page when nobody says how many.
pub const DEFAULT_PAGE: usize = 100;
/// Most rows of one answer: about a megabyte of JSON, which a browser and a reading transaction bear.
pub const MAX_PAGE: usize = 1000;

/// A run, as lists and reports show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    /// Position of its creation in the log: runs are ordered by it, pages continue behind it.
    pub seq: Seq,
    /// Its identifier.
    pub id: RunId,
    /// Its project.
    pub project: ProjectName,
    /// The workflow that it came from.
    pub workflow: Option<Name>,
    /// Its name, for people.
    pub name: String,
    /// Its kind, as Polyaxon labels it.
    pub kind: String,
    /// For queries.
    pub tags: Vec<String>,
    /// The commit that it is pinned to.
    pub commit: Option<CommitId>,
    /// The compiled operation, by the digest of its stored body.
    pub spec: Digest,
    /// Its queue, by the name that the queue has now or had when the run ended.
    pub queue: QueueName,
    /// What an attempt asks for.
    pub request: Resources,
    /// What started it.
    pub origin: Origin,
    /// The group within its project that it belongs to.
    pub group: Option<String>,
    /// The pipeline that it is a direct child of.
    pub parent: Option<RunId>,
    /// Where it is in its life.
    pub status: Status,
    /// Its newest attempt; 0 before the first.
    pub attempt: Attempt,
    /// Why it has this status, where there is more to say.
    pub cause: Option<Cause>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it first stood in its queue.
    pub queued_at: Option<Timestamp>,
    /// When its first attempt first ran, by the clock of the target.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the clock of the target.
    pub finished_at: Option<Timestamp>,
    /// Exit code of its main process, when it had one.
    pub exit_code: Option<i32>,
    /// What it was given, as far as it is short.
    pub inputs: BTreeMap<String, Value>,
    /// What it reported.
    pub outputs: Map<String, Value>,
}

/// A step in the life of a run: one line of its timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionRow {
    /// The run.
    pub run: RunId,
    /// Position in the log.
    pub seq: Seq,
    /// The status that began; `None` when the run kept its status.
    pub status: Option<Status>,
    /// The attempt, for steps of one.
    pub attempt: Option<Attempt>,
    /// Why, where there is more to say.
    pub cause: Option<Cause>,
    /// When, by the clock of whoever saw it.
    pub at: Timestamp,
}

/// A commit that became what is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncRow {
    /// Position in the log.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// The commit.
    pub commit: CommitId,
    /// Its subject line.
    pub subject: String,
    /// The plan that was carried out.
    pub plan: Digest,
    /// Runs started, runs not started, for people.
    pub note: String,
}

/// What an event does to the rows.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOp {
    /// Adds a run; replaces what had the same id.
    Insert(Box<RunRow>),
    /// Changes a run; nothing when there is no such run.
    Update(RunId, Box<RunPatch>),
    /// Adds a line to the timeline of a run: at most one line of one run for each event; nothing when there is no such run.
    Condition(ConditionRow),
    /// Gives unfinished runs the new names of their queues, all at once: old → new.
    Rename(BTreeMap<QueueName, QueueName>),
    /// Removes a run and its timeline.
    Delete(RunId),
    /// Adds an applied commit.
    Sync(SyncRow),
}

/// Some fields of a run that change together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunPatch {
    /// The new status and why.
    pub step: Option<(Status, Option<Cause>)>,
    /// The new attempt.
    pub attempt: Option<Attempt>,
    /// The new queue.
    pub queue: Option<QueueName>,
    /// The operation with its values.
    pub spec: Option<Digest>,
    /// When it stood in its queue; the first one stays.
    pub queued_at: Option<Timestamp>,
    /// When it ran; the first one stays.
    pub started_at: Option<Timestamp>,
    /// How it ended.
    pub end: Option<RunEnd>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnd {
    /// When.
    pub at: Timestamp,
    /// Exit code of its main process, when it had one.
    pub exit_code: Option<i32>,
    /// What it reported.
    pub outputs: Map<String, Value>,
}

impl RunPatch {
    /// This change followed by a later one.
    pub fn then(&mut self, later: Self) {
        self.step = later.step.or(self.step.take());
        self.attempt = later.attempt.or(self.attempt);
        self.queue = later.queue.or(self.queue.take());
        self.spec = later.spec.or(self.spec);
        self.queued_at = self.queued_at.or(later.queued_at);
        self.started_at = self.started_at.or(later.started_at);
        self.end = later.end.or(self.end.take());
    }

    /// Changes a row.
    pub fn apply(self, row: &mut RunRow) {
        if let Some((status, cause)) = self.step {
            (row.status, row.cause) = (status, cause);
        }
        row.attempt = self.attempt.unwrap_or(row.attempt);
        if let Some(queue) = self.queue {
            row.queue = queue;
        }
        row.spec = self.spec.unwrap_or(row.spec);
        row.queued_at = row.queued_at.or(self.queued_at);
        row.started_at = row.started_at.or(self.started_at);
        if let Some(end) = self.end {
            (row.finished_at, row.exit_code, row.outputs) = (Some(end.at), end.exit_code, end.outputs);
        }
    }
}

/// Appends what an event does to the rows. `at` is the time of its batch, `seq` its position in the log.
pub fn project(at: Timestamp, seq: Seq, event: &Event, out: &mut Vec<RowOp>) {
    let mut steps = Steps { seq, out };
    match event {
        Event::QueueChanged { .. }
        | Event::QueueGone { .. }
        | Event::QueueTurned { .. }
        | Event::AgentGone { .. }
        | Event::SchedulesArmed { .. }
        | Event::ScheduleFired { .. }
        | Event::RunFollowed { .. } => {}
        Event::RevisionApplied(revision) => {
            if !revision.renamed.is_empty() {
                out.push(RowOp::Rename(revision.renamed.clone()));
            }
            out.push(RowOp::Sync(SyncRow {
                seq,
                at,
                commit: revision.commit.clone(),
                subject: revision.subject.clone(),
                plan: revision.plan,
                note: revision.note.clone(),
            }));
        }
        Event::RunCreated(run) => {
            let row = created(at, seq, run);
            let (run, status, cause) = (row.id, row.status, row.cause.clone());
            steps.out.push(RowOp::Insert(Box::new(row)));
            steps.condition(run, Some(status), None, cause, at);
        }
        Event::RunApproved { run, by } => {
            let cause = Some(Cause::new("Approved", format!("Approved by {by}.")));
            steps.step(*run, Status::Compiled, None, cause, at, RunPatch::default());
        }
        Event::RunPrepared { run, spec, needs_approval } => {
            let status = if *needs_approval { Status::Created } else { Status::Compiled };
            steps.step(*run, status, None, None, at, RunPatch { spec: Some(*spec), ..RunPatch::default() });
        }
        Event::RunBuilding { run, spec, build } => {
            let cause = Some(Cause::new("Building", format!("Its image is built first, by run {build}.")));
            let patch = RunPatch { spec: Some(*spec), ..RunPatch::default() };
            steps.step(*run, Status::Created, None, cause, at, patch);
        }
        Event::RunQueued { run } => {
            steps.step(*run, Status::Queued, None, None, at, RunPatch { queued_at: Some(at), ..RunPatch::default() });
        }
        Event::RunMoved { run, queue } => {
            let cause = Cause::new("Moved", format!("Moved to queue {queue}."));
            steps.condition(*run, None, None, Some(cause), at);
            steps.update(*run, RunPatch { queue: Some(queue.clone()), ..RunPatch::default() });
        }
        Event::RunScheduled { run, attempt } => {
            steps.step(*run, Status::Scheduled, Some(*attempt), None, at, RunPatch::default());
        }
        Event::RunProgressed { run, attempt, status, cause, at } => {
            let started_at = (*status == Status::Running).then_some(*at);
            let patch = RunPatch { started_at, ..RunPatch::default() };
            steps.step(*run, *status, Some(*attempt), cause.clone(), *at, patch);
        }
        Event::RunStopping { run, cause } => {
            steps.step(*run, Status::Stopping, None, Some(cause.clone()), at, RunPatch::default());
        }
        Event::PipelineStopping { run, end: _, cause } => {
            steps.step(*run, Status::Stopping, None, Some(cause.clone()), at, RunPatch::default());
        }
        Event::RunNoted { run, note } => steps.condition(*run, None, None, Some(note.clone()), at),
        Event::RunRetrying { run, attempt, until: _, cause } => {
            steps.step(*run, Status::Retrying, Some(*attempt), Some(cause.clone()), at, RunPatch::default());
        }
        Event::RunFinished { run, status, cause, exit_code, outputs, at } => {
            // A very short run may end before anybody saw it run; that it ran is known from how it ended.
            let ran = *status == Status::Succeeded || exit_code.is_some();
            let end = RunEnd { at: *at, exit_code: *exit_code, outputs: outputs.clone() };
            let patch = RunPatch { started_at: ran.then_some(*at), end: Some(end), ..RunPatch::default() };
            let cause = Some(cause.clone()).filter(|cause| *cause != Cause::default());
            steps.step(*run, *status, None, cause, *at, patch);
        }
        Event::RunDeleted { run } => out.push(RowOp::Delete(*run)),
    }
}

struct Steps<'a> {
    seq: Seq,
    out: &'a mut Vec<RowOp>,
}

impl Steps<'_> {
    /// A new status: a line of the timeline and a change of the row.
    fn step(
        &mut self,
        run: RunId,
        status: Status,
        attempt: Option<Attempt>,
        cause: Option<Cause>,
        at: Timestamp,
        patch: RunPatch,
    ) {
        self.condition(run, Some(status), attempt, cause.clone(), at);
        self.update(run, RunPatch { step: Some((status, cause)), attempt, ..patch });
    }

    fn condition(
        &mut self,
        run: RunId,
        status: Option<Status>,
        attempt: Option<Attempt>,
        cause: Option<Cause>,
        at: Timestamp,
    ) {
        self.out.push(RowOp::Condition(ConditionRow { run, seq: self.seq, status, attempt, cause, at }));
    }

    fn update(&mut self, run: RunId, patch: RunPatch) {
        self.out.push(RowOp::Update(run, Box::new(patch)));
    }
}

fn created(at: Timestamp, seq: Seq, run: &NewRun) -> RunRow {
    RunRow {
        seq,
        id: run.id,
        project: run.project.clone(),
        workflow: run.workflow.clone(),
        name: run.name.clone(),
        kind: run.kind.clone(),
        tags: run.tags.clone(),
        commit: run.commit.clone(),
        spec: run.spec,
        queue: run.queue.clone(),
        request: run.request.clone(),
        origin: run.origin.clone(),
        group: run.group.as_ref().map(|policy| policy.group.clone()),
        parent: run.parent,
        status: if run.needs_approval || run.unprepared { Status::Created } else { Status::Compiled },
        attempt: run.resumes.as_ref().map_or(Attempt(0), |resumed| resumed.attempt),
        cause: run.resumes.as_ref().map(|resumed| Cause::new("Resumed", format!("Resumed by {}.", resumed.by))),
        created_at: run.resumes.as_ref().map_or(at, |resumed| resumed.created_at),
        queued_at: None,
        started_at: None,
        finished_at: None,
        exit_code: None,
        inputs: run.inputs.clone(),
        outputs: Map::new(),
    }
}

/// Which runs a reader wants; what is absent does not narrow.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFilter {
    /// Runs of this project.
    pub project: Option<ProjectName>,
    /// Runs of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Runs that have one of these statuses; any when empty.
    pub statuses: Vec<Status>,
    /// Runs of this queue.
    pub queue: Option<QueueName>,
    /// Runs of this agent's queues.
    pub agent: Option<AgentName>,
    /// Runs pinned to a commit whose id begins so.
    pub commit: Option<String>,
    /// Runs that are part of this, or of nothing.
    pub parent: Parent,
    /// Runs whose name has this in it.
    pub name_contains: Option<String>,
    /// Runs created then or later.
    pub created_after: Option<Timestamp>,
    /// Runs created earlier than that.
    pub created_before: Option<Timestamp>,
    /// Runs that this wants.
    pub query: Option<Query>,
    /// Which runs come first.
    pub order: RunOrder,
    /// What runs are sorted by before `order` tells; no `cursor` goes with it.
    pub sort: Vec<SortKey>,
    /// The last run of the page before this one; the first page when absent. Not looked at when counting.
    pub cursor: Option<Seq>,
    /// How many runs are left out before the page. Not looked at when counting.
    pub skip: usize,
    /// Most runs of the page; more than [`MAX_PAGE`] is read as that. Not looked at when counting.
    pub limit: usize,
}

/// Of which pipeline a reader wants the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parent {
    /// Of any, and of none.
    #[default]
    Any,
    /// The outermost runs, which are part of no pipeline.
    None,
    /// The direct children of this one.
    Is(RunId),
}

impl Parent {
    fn wants(self, parent: Option<RunId>) -> bool {
        match self {
            Self::Any => true,
            Self::None => parent.is_none(),
            Self::Is(wanted) => parent == Some(wanted),
        }
    }
}

/// Which runs come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunOrder {
    /// The run that was created last.
    #[default]
    NewestFirst,
    /// The run that was created first.
    OldestFirst,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self {
            project: None,
            workflow: None,
            statuses: Vec::new(),
            queue: None,
            agent: None,
            commit: None,
            parent: Parent::Any,
            name_contains: None,
            created_after: None,
            created_before: None,
            query: None,
            order: RunOrder::default(),
            sort: Vec::new(),
            cursor: None,
            skip: 0,
            limit: DEFAULT_PAGE,
        }
    }
}

impl RunFilter {
    /// The keys of the sort, and which run comes first when they do not tell. The order of creation needs no keys.
    pub fn ordering(&self) -> (&[SortKey], RunOrder) {
        match self.sort.first() {
            Some(SortKey { field: Field::CreatedAt, descending: true }) => (&[], RunOrder::NewestFirst),
            Some(SortKey { field: Field::CreatedAt, descending: false }) => (&[], RunOrder::OldestFirst),
            _ => (&self.sort, self.order),
        }
    }

    /// Which of two runs comes first.
    pub fn compare(&self, a: &RunRow, b: &RunRow) -> Ordering {
        let (keys, order) = self.ordering();
        compare(keys, a, b).then_with(|| match order {
            RunOrder::NewestFirst => b.seq.cmp(&a.seq),
            RunOrder::OldestFirst => a.seq.cmp(&b.seq),
        })
    }

    /// Whether a run is wanted, whatever its page.
    pub fn wants(&self, run: &RunRow) -> bool {
        self.project.as_ref().is_none_or(|project| run.project == *project)
            && self
                .workflow
                .as_ref()
                .is_none_or(|w| run.project == w.project && run.workflow.as_ref() == Some(&w.workflow))
            && (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.queue.as_ref().is_none_or(|queue| run.queue == *queue)
            && self.agent.as_ref().is_none_or(|agent| run.queue.agent == *agent)
            && self.commit.as_ref().is_none_or(|id| run.commit.as_ref().is_some_and(|c| c.as_str().starts_with(id)))
            && self.parent.wants(run.parent)
            && self.name_contains.as_ref().is_none_or(|part| run.name.contains(part))
            && self.created_after.is_none_or(|after| run.created_at >= after)
            && self.created_before.is_none_or(|before| run.created_at < before)
            && self.query.as_ref().is_none_or(|query| query.wants(run))
    }
}
