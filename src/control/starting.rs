//! Runs that somebody asks for: a workflow, a polyaxonfile, an earlier run again or further.

use indexmap::IndexMap;
use serde_json::Value;

use super::{ControlError, ControlPlane};
use crate::domain::catalog::{Catalog, CompiledOperation};
use crate::domain::compile::{Request, RequestSource, Requested, compile_request};
use crate::domain::dispatch::command::{Command, Outcome};
use crate::domain::dispatch::event::{NewRun, Origin};
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Digest, ProjectName, RunId, WorkflowName};
use crate::domain::workflow::start::{Circumstances, of_ended, of_operation, of_workflow};
use crate::reconciler::{get, new_run_id};

/// A run that somebody asks for.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Its id; asking again with the same one makes no second run.
    pub id: Option<RunId>,
    /// Its project; that of the workflow, or the only one, when absent.
    pub project: Option<ProjectName>,
    /// What to run.
    pub source: StartSource,
    /// Values for inputs.
    pub params: IndexMap<String, Value>,
    /// The queue, in place of the one that would be chosen.
    pub queue: Option<String>,
    /// Its name, in place of the operation's.
    pub name: Option<String>,
    /// Presets to merge over it, in order.
    pub presets: Vec<String>,
}

/// What to run.
#[derive(Debug, Clone)]
pub enum StartSource {
    /// A workflow of the applied catalog.
    Workflow(WorkflowName),
    /// A polyaxonfile that the client sent.
    Text {
        /// Its path, for messages and relative references.
        path: String,
        /// What it holds.
        content: String,
        /// Files that it refers to by path, as seen from it, and what they hold.
        beside: Vec<(String, String)>,
    },
    /// An earlier run, as it was pinned.
    Run {
        /// Which run.
        run: RunId,
        /// How it is run again.
        how: Again,
    },
}

/// How an earlier run is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// As a new run of the same spec.
    Restart,
    /// As a new run of the same spec that is marked as a copy.
    Copy,
}

/// A run to submit, with the stored form of its operation unless the store has it.
type Submission = (NewRun, Option<(Digest, Vec<u8>)>);

impl ControlPlane {
    /// Starts a run.
    pub async fn start_run(&self, request: StartRequest, by: &str) -> Result<RunId, ControlError> {
        let id = request.id.unwrap_or_else(new_run_id);
        if let Some(known) = self.0.engine.history().run(id)? {
            return Ok(known.id);
        }
        let (run, body) = match &request.source {
            StartSource::Run { run, how } => self.again(id, *run, *how, by, &request)?,
            StartSource::Workflow(_) | StartSource::Text { .. } => self.compiled(id, by, &request)?,
        };
        match self.0.engine.ask(Command::Submit(vec![run]), body.into_iter().collect()).await? {
            Outcome::Refused(rejection) => Err(rejection.into()),
            Outcome::Done | Outcome::Already => Ok(id),
        }
    }

    /// Lets an ended run go on as the same run; `false` when it has not ended. Of a pipeline, what had succeeded stays.
    pub async fn resume_run(&self, id: RunId, by: &str) -> Result<bool, ControlError> {
        let (row, operation) = self.pinned(id)?;
        if !row.status.is_final() {
            return Ok(false);
        }
        if let Some(parent) = row.parent {
            let message = format!("run {id} is part of pipeline {parent}: resume that, or restart this one by itself");
            return Err(ControlError::Conflict(message));
        }
        if row.status == Status::Succeeded && operation.pipeline().is_some() {
            let message = format!("all of pipeline {id} has succeeded: restart it to run it anew");
            return Err(ControlError::Conflict(message));
        }
        let start = of_ended(&row, &operation, by);
        match self.0.engine.ask(Command::Submit(vec![start.run]), vec![start.body]).await? {
            Outcome::Refused(rejection) => Err(rejection.into()),
            Outcome::Done => Ok(true),
            Outcome::Already => Ok(false),
        }
    }

    /// A run with the operation that it is pinned to.
    fn pinned(&self, id: RunId) -> Result<(RunRow, CompiledOperation), ControlError> {
        let history = self.0.engine.history();
        let row = history.run(id)?.ok_or_else(|| ControlError::NotFound(format!("there is no run {id}")))?;
        let operation = history.body(row.spec)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let missing = || ControlError::Conflict(format!("the operation of run {id} is not in the store"));
        Ok((row, operation.ok_or_else(missing)?))
    }

    fn compiled(&self, id: RunId, by: &str, request: &StartRequest) -> Result<Submission, ControlError> {
        let applied = get(&self.0.shared.applied)
            .ok_or_else(|| ControlError::Conflict("nothing is applied yet: the first sync has not succeeded".into()))?;
        let asked = Request {
            source: match &request.source {
                StartSource::Workflow(name) => {
                    let place = applied.catalog.workflows.get(name).and_then(|workflow| workflow.place.clone());
                    let unknown = || format!("there is no sound workflow {name} in what is applied");
                    let place = place.ok_or_else(|| ControlError::NotFound(unknown()))?;
                    RequestSource::Workflow { name: name.clone(), place }
                }
                StartSource::Text { path, content, beside } => RequestSource::Text {
                    beside: beside.clone(),
                    path: path.clone(),
                    content: content.clone(),
                    project: request.project.clone().or_else(|| only_project(&applied.catalog)),
                },
                StartSource::Run { .. } => return Err(ControlError::Conflict("a run is not compiled again".into())),
            },
            params: request.params.clone(),
            queue: request.queue.clone(),
            presets: request.presets.clone(),
        };
        let Requested { project, workflow, .. } =
            compile_request(&applied.files, &asked).map_err(ControlError::Invalid)?;
        if let Some(why) = &workflow.unrunnable {
            return Err(ControlError::Conflict(why.clone()));
        }
        let name = match &request.source {
            StartSource::Workflow(name) => Some(name.workflow.clone()),
            _ => None,
        };
        let circumstances = Circumstances {
            id,
            project,
            commit: Some(applied.revision.commit.clone()),
            queue: workflow.queue.clone(),
            group: None,
            origin: Origin::Request { user: by.to_owned() },
            workflow: name,
        };
        let started = if circumstances.workflow.is_some() {
            of_workflow(&workflow, circumstances)
        } else {
            of_operation(&workflow.operation.read(), circumstances)
        };
        let mut run = started.run;
        run.name = request.name.clone().unwrap_or(run.name);
        Ok((run, Some(started.body)))
    }

    /// The same spec once more: what the earlier run was pinned to, not what git says now.
    fn again(
        &self,
        id: RunId,
        of: RunId,
        how: Again,
        by: &str,
        request: &StartRequest,
    ) -> Result<Submission, ControlError> {
        let (row, operation) = self.pinned(of)?;
        if !request.params.is_empty() || !request.presets.is_empty() {
            return Err(ControlError::Conflict("a run that is run again keeps its params and presets".into()));
        }
        let user = by.to_owned();
        let origin = match how {
            Again::Restart => Origin::Restart { of, user },
            Again::Copy => Origin::Copy { of, user },
        };
        let queue = match &request.queue {
            Some(queue) => {
                crate::domain::ids::QueueName::parse(queue).map_err(|e| ControlError::Conflict(e.to_string()))?
            }
            None => row.queue.clone(),
        };
        let circumstances = Circumstances {
            id,
            project: row.project.clone(),
            workflow: row.workflow.clone(),
            commit: row.commit.clone(),
            queue,
            group: None,
            origin,
        };
        let started = of_operation(&operation, circumstances);
        let mut run = started.run;
        run.name = request.name.clone().unwrap_or(row.name);
        Ok((run, Some(started.body)))
    }
}

fn only_project(catalog: &Catalog) -> Option<ProjectName> {
    let mut names = catalog.projects.keys();
    names.next().filter(|_| names.next().is_none()).cloned()
}
