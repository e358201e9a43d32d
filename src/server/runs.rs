//! Runs: listed, looked at, started, stopped.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;

use super::Api;
use super::error::{ApiError, accepted};
use super::extract::{Actor, Body, OneRun, Params};
use super::forecast;
use super::views::{AgainBody, ConditionView, DoneView, ExplainView, RunView, StartBody};
use crate::control::{Again, StartRequest, StartSource};
use crate::domain::dispatch::State as Dispatch;
use crate::domain::dispatch::command::Command;
use crate::domain::dispatch::explain as blocker_of;
use crate::domain::dispatch::history::{MAX_PAGE, Parent, RunFilter, RunRow};
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{AgentName, Name, NameError, ProjectName, QueueName, RunId, WorkflowName};
use crate::domain::query::{Query, QueryError, parse_sort};
use crate::domain::workflow::follow::hook_ids;
use crate::engine::wall_clock;
use crate::store::{History, StoreError};

/// Which runs are wanted. `status` may stand several times.
#[derive(Debug, Default, JsonSchema)]
#[allow(dead_code)] // it is read as pairs, and described by this type
pub struct RunsQuery {
    /// Runs of this project.
    project: Option<String>,
    /// Runs of this workflow: `project/workflow`, or its name beside `project`.
    workflow: Option<String>,
    /// Runs with one of these statuses.
    status: Option<Vec<String>>,
    /// Runs of this queue, `agent/queue`.
    queue: Option<String>,
    /// Runs of this agent.
    agent: Option<String>,
    /// Runs pinned to a commit whose id begins so.
    commit: Option<String>,
    /// Runs whose name has this in it.
    name: Option<String>,
    /// Direct children of this pipeline; `none` for the outermost runs.
    parent: Option<String>,
    /// Runs that this wants: `field:condition` joined by `,`, such as `status:running, metrics.loss:<0.1`.
    query: Option<String>,
    /// What they are sorted by: fields joined by `,`, with `-` before one that goes down. The newest first when absent.
    sort: Option<String>,
    /// Most runs of the answer; 100 when absent, at most 1000.
    limit: Option<usize>,
    /// How many runs are left out before the answer.
    offset: Option<usize>,
    /// The last run of the page before this one; not beside `sort`.
    before: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Json<Vec<RunView>>, ApiError> {
    let (mut filter, before) = filter(&pairs)?;
    if let Some(before) = before {
        filter.cursor = Some(api.find_run(before).await?.seq);
    }
    let rows = api.history(move |history| history.runs(&filter)).await?;
    Ok(Json(rows.into_iter().map(Into::into).collect()))
}

/// Reads the filter; the second part is the run before the page.
fn filter(pairs: &[(String, String)]) -> Result<(RunFilter, Option<String>), ApiError> {
    let bad = |error: NameError| ApiError::bad_request(error.to_string());
    let mut filter = RunFilter::default();
    let (mut workflow, mut before) = (None, None);
    for (name, value) in pairs {
        match name.as_str() {
            "project" => filter.project = Some(ProjectName::parse(value).map_err(bad)?),
            "workflow" => workflow = Some(value.as_str()),
            "status" => {
                let known = Status::parse(value);
                let words = || Status::ALL.map(Status::word).join(", ");
                filter.statuses.push(known.ok_or_else(|| {
                    ApiError::bad_request(format!("there is no such status: use one of {}", words()))
                })?);
            }
            "queue" => filter.queue = Some(QueueName::parse(value).map_err(bad)?),
            "agent" => filter.agent = Some(AgentName::parse(value).map_err(bad)?),
            "commit" => filter.commit = Some(value.clone()),
            "name" => filter.name_contains = Some(value.clone()),
            "parent" => {
                let bad =
                    || ApiError::bad_request("`parent` is the whole id of a run, or `none` for the outermost runs");
                filter.parent = match value.as_str() {
                    "none" => Parent::None,
                    id => Parent::Is(RunId::parse(id).ok_or_else(bad)?),
                };
            }
            "query" => filter.query = Some(Query::parse(value, wall_clock()).map_err(unread("query", value))?),
            "sort" => filter.sort = parse_sort(value).map_err(unread("sort", value))?,
            "offset" => {
                let message = "`offset` is a number of runs";
                filter.skip = value.parse().map_err(|_| ApiError::bad_request(message))?;
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
                let message = format!("`limit` is a number from 1 to {MAX_PAGE}");
                filter.limit = limit.ok_or_else(|| ApiError::bad_request(message))?;
            }
            "before" => before = Some(value.clone()),
            other => {
                let other: String = other.chars().take(64).collect();
                return Err(ApiError::bad_request(format!("there is no parameter `{other}`")));
            }
        }
    }
    if before.is_some() && !filter.sort.is_empty() {
        return Err(
            ApiError::bad_request("`before` is for runs in order of creation").help("use `offset` beside `sort`")
        );
    }
    if let Some(text) = workflow {
        filter.workflow = Some(workflow_name(text, filter.project.as_ref())?);
    }
    Ok((filter, before))
}

/// Says what is wrong with a query or a sort, and at which of its characters.
fn unread(what: &str, text: &str) -> impl FnOnce(QueryError) -> ApiError {
    move |error| {
        let at = text.get(..error.at.start).map_or(0, |before| before.chars().count()) + 1;
        ApiError::bad_request(format!("{error} (character {at} of the {what})")).help(error.help)
    }
}

/// Reads `project/workflow`, or a name within a project.
pub(super) fn workflow_name(text: &str, project: Option<&ProjectName>) -> Result<WorkflowName, ApiError> {
    let bad = |error: NameError| ApiError::bad_request(error.to_string());
    match project {
        Some(project) if !text.contains('/') => {
            Ok(WorkflowName { project: project.clone(), workflow: Name::parse(text).map_err(bad)? })
        }
        None if !text.contains('/') => {
            Err(ApiError::bad_request("a workflow is named `project/workflow`, or by its name beside `project`"))
        }
        _ => WorkflowName::parse(text).map_err(bad),
    }
}

pub(super) async fn get(OneRun(run): OneRun) -> Json<RunView> {
    Json(run.into())
}

pub(super) async fn conditions(
    State(api): State<Api>,
    OneRun(run): OneRun,
) -> Result<Json<Vec<ConditionView>>, ApiError> {
    let rows = api.history(move |history| history.conditions(run.id)).await?;
    Ok(Json(rows.into_iter().map(Into::into).collect()))
}

pub(super) async fn explain(State(api): State<Api>, OneRun(run): OneRun) -> Result<Json<ExplainView>, ApiError> {
    let blocker = api.control.engine().read(|state| blocker_of(state, run.id));
    let sentence = match &blocker {
        Some(blocker) => blocker.sentence(),
        None => format!("it has ended: {}", run.status),
    };
    let sentence = match trouble_of(&api, &run) {
        Some(why) => format!("{sentence}; {why}"),
        None => sentence,
    };
    let forecast = forecast::of_run(&api, run.id).await?;
    Ok(Json(ExplainView {
        uuid: run.id.to_string(),
        status: run.status.to_string(),
        blocker: blocker.and_then(|blocker| serde_json::to_value(blocker).ok()),
        sentence,
        forecast,
    }))
}

/// Why the agent of a run that has not ended cannot be reached, and what may be done about it.
fn trouble_of(api: &Api, run: &RunRow) -> Option<String> {
    let agent = &run.queue.agent;
    let down = |state: &Dispatch| state.agents().any(|known| known.name == agent && !known.up);
    if run.status.is_final() || !api.control.engine().read(down) {
        return None;
    }
    let why = api.control.agent_trouble(agent)?;
    let kept = match run.status.holds_slot() {
        true => format!(
            " Its slot is kept until it is known what became of it; if the cluster is gone for good: tidegate agents forget {agent}"
        ),
        false => String::new(),
    };
    Some(format!("agent {agent} cannot be reached: {}.{kept}", why.trim_end_matches('.')))
}

pub(super) async fn stop(
    State(api): State<Api>,
    Actor(by): Actor,
    OneRun(run): OneRun,
) -> Result<Json<DoneView>, ApiError> {
    api.ask(Command::Stop { run: run.id, by }).await
}

pub(super) async fn approve(
    State(api): State<Api>,
    Actor(by): Actor,
    OneRun(run): OneRun,
) -> Result<Json<DoneView>, ApiError> {
    api.ask(Command::Approve { run: run.id, by }).await
}

pub(super) async fn delete(State(api): State<Api>, OneRun(run): OneRun) -> Result<Json<DoneView>, ApiError> {
    // What a pipeline has come to is read off its rows.
    if let Some(parent) = run.parent.filter(|parent| api.control.engine().read(|state| state.run(*parent).is_some())) {
        let message = format!("pipeline {parent} has not ended, and goes on from what this run came to");
        return Err(ApiError::conflict(message).help("delete it when the pipeline has ended"));
    }
    api.ask(Command::Delete { run: run.id }).await
}

pub(super) async fn resume(
    State(api): State<Api>,
    Actor(by): Actor,
    OneRun(run): OneRun,
) -> Result<Json<DoneView>, ApiError> {
    Ok(Json(DoneView { changed: api.control.resume_run(run.id, &by).await? }))
}

/// The runs that followed the end of a run.
pub(super) async fn hooks(State(api): State<Api>, OneRun(run): OneRun) -> Result<Json<Vec<RunView>>, ApiError> {
    let read = move |history: &dyn History| -> Result<Vec<RunRow>, StoreError> {
        let Some(body) = history.body(run.spec)? else { return Ok(Vec::new()) };
        let ids = serde_json::from_slice(&body).map(|operation| hook_ids(&run, &operation)).unwrap_or_default();
        ids.into_iter().filter_map(|id| history.run(id).transpose()).collect()
    };
    let rows = api.history(read).await?;
    Ok(Json(rows.into_iter().map(Into::into).collect()))
}

pub(super) async fn restart(
    State(api): State<Api>,
    Actor(by): Actor,
    OneRun(run): OneRun,
    Body(body): Body<AgainBody>,
) -> Result<(StatusCode, Json<RunView>), ApiError> {
    api.again(run.id, Again::Restart, body, &by).await
}

pub(super) async fn copy(
    State(api): State<Api>,
    Actor(by): Actor,
    OneRun(run): OneRun,
    Body(body): Body<AgainBody>,
) -> Result<(StatusCode, Json<RunView>), ApiError> {
    api.again(run.id, Again::Copy, body, &by).await
}

pub(super) async fn start(
    State(api): State<Api>,
    Actor(by): Actor,
    Body(body): Body<StartBody>,
) -> Result<(StatusCode, Json<RunView>), ApiError> {
    let source = match (body.workflow, body.file) {
        (Some(workflow), None) => StartSource::Workflow(workflow_name(&workflow, body.project.as_ref())?),
        (None, Some(file)) => StartSource::Text {
            path: file.path,
            content: file.text,
            beside: body.beside.into_iter().map(|file| (file.path, file.text)).collect(),
        },
        _ => return Err(ApiError::bad_request("give either `workflow` or `file`")),
    };
    let request = StartRequest {
        id: run_id(body.uuid.as_deref())?,
        project: body.project,
        source,
        params: body.params,
        queue: body.queue,
        name: body.name,
        presets: body.presets,
    };
    api.started(request, &by).await
}

/// The id that a client chose, so that asking twice makes one run.
fn run_id(text: Option<&str>) -> Result<Option<RunId>, ApiError> {
    let parse = |text| RunId::parse(text).ok_or_else(|| ApiError::bad_request("`uuid` is not a UUID"));
    text.map(parse).transpose()
}

impl Api {
    pub(super) async fn ask(&self, command: Command) -> Result<Json<DoneView>, ApiError> {
        let outcome = self.control.engine().ask(command, Vec::new()).await?;
        Ok(Json(DoneView { changed: accepted(outcome)? }))
    }

    async fn again(
        &self,
        run: RunId,
        how: Again,
        body: AgainBody,
        by: &str,
    ) -> Result<(StatusCode, Json<RunView>), ApiError> {
        let request = StartRequest {
            id: run_id(body.uuid.as_deref())?,
            project: None,
            source: StartSource::Run { run, how },
            params: Default::default(),
            queue: body.queue,
            name: body.name,
            presets: Vec::new(),
        };
        self.started(request, by).await
    }

    /// Starts a run and shows it.
    pub(super) async fn started(
        &self,
        request: StartRequest,
        by: &str,
    ) -> Result<(StatusCode, Json<RunView>), ApiError> {
        let id = self.control.start_run(request, by).await?;
        let row = self.history(move |history| history.run(id)).await?;
        let row = row.ok_or_else(|| ApiError::internal(format!("run {id} was started but cannot be found")))?;
        Ok((StatusCode::CREATED, Json(row.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<RunFilter, ApiError> {
        let pairs: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        filter(&pairs).map(|(filter, _)| filter)
    }

    #[test]
    fn filters_are_read_and_wrong_ones_refused() {
        let good = read(&[("status", "running"), ("status", "queued"), ("project", "vision"), ("workflow", "train")]);
        let good = good.unwrap();
        assert_eq!(good.statuses, [Status::Running, Status::Queued]);
        assert_eq!(good.workflow.map(|name| name.to_string()), Some("vision/train".to_owned()));
        for bad in [
            ("status", "runing"),
            ("stauts", "running"),
            ("limit", "0"),
            ("limit", "x"),
            ("limit", "1001"),
            ("queue", "gpu"),
            ("workflow", "train"),
            ("parent", "ab"),
            ("query", "status:runing"),
            ("sort", "tags"),
            ("offset", "-1"),
        ] {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
        assert!(read(&[("before", "ab"), ("sort", "name")]).is_err(), "a sort has no run before");
        let good = read(&[("query", "status:running, params.lr:<0.1"), ("sort", "-metrics.loss"), ("offset", "7")]);
        assert!(good.is_ok_and(|filter| filter.query.is_some() && filter.sort.len() == 1 && filter.skip == 7));
    }
}
