//! What starting a workflow asks for: the run, complete, and the body that it is pinned to.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cache::ask;
use super::render::{Globals, fill};
use crate::domain::catalog::{CompiledOperation, ResolvedWorkflow, SupersedePolicy};
use crate::domain::dispatch::event::{NewRun, Origin, Resumed};
use crate::domain::dispatch::history::RunRow;
use crate::domain::ids::{Attempt, CommitId, Digest, Name, ProjectName, QueueName, RunId};
use crate::domain::time::Timestamp;

/// Longest value of an input that is kept for queries, in bytes of JSON: what a person would ask for is shorter.
const LONGEST_INPUT: usize = 512;
/// Most inputs that are kept for queries: they lie beside every run.
const MOST_INPUTS: usize = 64;

/// A run to submit, with the content that it refers to.
#[derive(Debug, Clone)]
pub struct Start {
    /// The run.
    pub run: NewRun,
    /// The compiled operation as stored bytes, under the digest that the run names.
    pub body: (Digest, Vec<u8>),
}

/// Who or what starts it, where, and under which id.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// The id; the same one again makes no second run.
    pub id: RunId,
    /// The project.
    pub project: ProjectName,
    /// The workflow, when it came from one.
    pub workflow: Option<Name>,
    /// The commit that it is pinned to, when it came from one.
    pub commit: Option<CommitId>,
    /// The queue.
    pub queue: QueueName,
    /// The group that it belongs to.
    pub group: Option<SupersedePolicy>,
    /// What started it.
    pub origin: Origin,
}

/// What starting a workflow asks for.
pub fn of_workflow(workflow: &ResolvedWorkflow, circumstances: Circumstances) -> Start {
    of_operation(&workflow.operation.read(), Circumstances { group: workflow.supersede.clone(), ..circumstances })
}

/// What starting an operation asks for.
pub fn of_operation(operation: &CompiledOperation, circumstances: Circumstances) -> Start {
    let filled = with_filled_matrix(operation);
    let operation = filled.as_ref().unwrap_or(operation);
    let body = serde_json::to_vec(operation).expect("a compiled operation is plain data with text keys");
    let digest = Digest::of(&body);
    let (kind, pipeline) = (operation.kind().to_owned(), operation.pipeline());
    let Circumstances { id, project, workflow, commit, queue, group, origin } = circumstances;
    // A run of a workflow is called by the workflow: the operation's own name may be that of a shared component.
    let name = workflow.as_ref().map(|name| name.as_str().to_owned()).or_else(|| operation.name.clone());
    let run = NewRun {
        id,
        name: name.unwrap_or_else(|| kind.clone()),
        project: project.clone(),
        workflow,
        kind,
        commit,
        spec: digest,
        queue,
        // A pipeline stands in no queue, and asks for nothing itself.
        request: if pipeline.is_none() { operation.request.clone() } else { Default::default() },
        max_retries: if pipeline.is_none() { operation.max_retries } else { 0 },
        needs_approval: operation.needs_approval,
        cache: ask(operation, &project).filter(|_| {
            // Who runs something again wants it to run, and what is still open cannot be compared.
            !operation.is_open() && !matches!(origin, Origin::Restart { .. } | Origin::Copy { .. })
        }),
        parent: None,
        pipeline,
        group,
        tags: operation.tags.clone(),
        inputs: short(&operation.inputs),
        origin,
        timeout: operation.timeout.filter(|_| pipeline.is_some()),
        resumes: None,
        unprepared: operation.is_open(),
        builds: operation.build.is_some(),
        followed: !operation.hooks.is_empty(),
    };
    Start { run, body: (digest, body) }
}

/// The operation with the templates of its matrix filled in, when it has some whose values are known.
fn with_filled_matrix(operation: &CompiledOperation) -> Option<CompiledOperation> {
    let written = operation.matrix.as_ref()?;
    let filled = fill(operation, written, "matrix", &Globals::default()).ok().filter(|filled| filled != written)?;
    Some(CompiledOperation { matrix: Some(filled), ..operation.clone() })
}

/// The inputs that queries may ask for.
fn short(inputs: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let is_short = |value: &Value| match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.len() <= LONGEST_INPUT,
        Value::Array(_) | Value::Object(_) => value.to_string().len() <= LONGEST_INPUT,
    };
    let short = inputs.iter().filter(|(_, value)| is_short(value)).take(MOST_INPUTS);
    short.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What a run was when it ended that is to go on.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The operation that it was pinned to.
    pub spec: Digest,
    attempt: Attempt,
    created_at: Timestamp,
    started: bool,
}

impl Ended {
    /// From its row.
    pub fn of(row: &RunRow) -> Self {
        let started = row.started_at.is_some() || row.attempt.0 > 0;
        Self { spec: row.spec, attempt: row.attempt, created_at: row.created_at, started }
    }

    /// Makes a run go on from this: its attempts are counted further, and nobody is asked again who has approved.
    pub fn go_on(&self, run: &mut NewRun, by: String) {
        run.resumes = Some(Resumed { attempt: self.attempt, created_at: self.created_at, by });
        run.needs_approval &= !self.started;
        if run.pipeline.is_none() {
            run.max_retries = run.max_retries.saturating_add(self.attempt.0);
        }
    }
}

/// What letting an ended run go on asks for: the same run, of the operation that it was pinned to.
pub fn of_ended(row: &RunRow, operation: &CompiledOperation, by: &str) -> Start {
    let circumstances = Circumstances {
        id: row.id,
        project: row.project.clone(),
        workflow: row.workflow.clone(),
        commit: row.commit.clone(),
        queue: row.queue.clone(),
        group: None,
        origin: row.origin.clone(),
    };
    let mut start = of_operation(operation, circumstances);
    start.run.name = row.name.clone();
    Ended::of(row).go_on(&mut start.run, by.to_owned());
    start
}
