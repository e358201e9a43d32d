//! Projects and workflows of the applied commit.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::error::ApiError;
use super::extract::{Actor, Body, Params};
use super::runs::{start as start_run, workflow_name};
use super::views::{ProjectView, RunView, StartBody, WorkflowView};
use crate::domain::catalog::Catalog;

/// Which workflows are wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowsQuery {
    /// Those of this project.
    project: Option<String>,
}

pub(super) async fn projects(State(api): State<Api>) -> Json<Vec<ProjectView>> {
    Json(api.control.catalog().map(|catalog| ProjectView::all(&catalog)).unwrap_or_default())
}

pub(super) async fn project(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<ProjectView>, ApiError> {
    let found = ProjectView::all(&*api.applied()?).into_iter().find(|project| project.name == name);
    found.map(Json).ok_or_else(|| ApiError::not_found("there is no such project in what is applied"))
}

pub(super) async fn list(State(api): State<Api>, Params(query): Params<WorkflowsQuery>) -> Json<Vec<WorkflowView>> {
    let Some(catalog) = api.control.catalog() else { return Json(Vec::new()) };
    let wanted = catalog
        .workflows
        .iter()
        .filter(|(name, _)| query.project.as_deref().is_none_or(|project| project == name.project.as_str()));
    Json(wanted.map(|(name, workflow)| WorkflowView::of(name, workflow)).collect())
}

pub(super) async fn get(
    State(api): State<Api>,
    Path((project, workflow)): Path<(String, String)>,
) -> Result<Json<WorkflowView>, ApiError> {
    let name = workflow_name(&format!("{project}/{workflow}"), None)?;
    let catalog = api.applied()?;
    match (catalog.workflows.get(&name), catalog.unsound.get(&name)) {
        (Some(found), _) => Ok(Json(WorkflowView::of(&name, found))),
        (None, Some(place)) => {
            Err(ApiError::not_found(format!("workflow {name} has errors ({place}): see `tidegate sync status`")))
        }
        (None, None) => Err(ApiError::not_found(format!("there is no workflow {name} in what is applied"))),
    }
}

pub(super) async fn start(
    state: State<Api>,
    actor: Actor,
    Path((project, workflow)): Path<(String, String)>,
    Body(body): Body<StartBody>,
) -> Result<(StatusCode, Json<RunView>), ApiError> {
    if body.workflow.is_some() || body.file.is_some() || body.project.is_some() {
        return Err(ApiError::bad_request(
            "the address names the workflow: leave out `project`, `workflow` and `file`",
        ));
    }
    start_run(state, actor, Body(StartBody { workflow: Some(format!("{project}/{workflow}")), ..body })).await
}

impl Api {
    fn applied(&self) -> Result<Arc<Catalog>, ApiError> {
        self.control
            .catalog()
            .ok_or_else(|| ApiError::conflict("nothing is applied yet: the first sync has not succeeded"))
    }
}
