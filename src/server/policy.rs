//! Queues and agents: their use, their lines, and changes of queues without a commit.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::error::{ApiError, accepted};
use super::extract::{Actor, Body, Params};
use super::forecast;
use super::views::{AgentView, DoneView, ForecastView, GoneView, PlaceView, QueueChange, QueueView};
use crate::domain::dispatch::State as Dispatch;
use crate::domain::dispatch::command::Command;
use crate::domain::dispatch::history::MAX_PAGE;
use crate::domain::ids::{AgentName, QueueName, RunId};
use crate::domain::kubernetes::gone::Gone;

/// Places of a line when nobody says how many.
const PLACES: usize = 100;

/// How much of a line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineQuery {
    /// Most places; 100 when absent, at most 1000.
    limit: Option<usize>,
}

pub(super) async fn queues(State(api): State<Api>) -> Json<Vec<QueueView>> {
    Json(api.control.engine().read(|state| state.queues().map(Into::into).collect()))
}

pub(super) async fn queue(
    State(api): State<Api>,
    Path((agent, queue)): Path<(String, String)>,
) -> Result<Json<QueueView>, ApiError> {
    let name = queue_name(&agent, &queue)?;
    api.queue_view(&name).map(Json)
}

pub(super) async fn change_queue(
    State(api): State<Api>,
    Path((agent, queue)): Path<(String, String)>,
    Actor(by): Actor,
    Body(change): Body<QueueChange>,
) -> Result<Json<QueueView>, ApiError> {
    if change == QueueChange::default() {
        return Err(ApiError::bad_request("nothing to change: give `hold`, `concurrency` or `priority`"));
    }
    let name = queue_name(&agent, &queue)?;
    let engine = api.control.engine();
    let policy =
        engine.read(|state| state.queues().find(|queue| *queue.name == name).map(|queue| queue.policy.clone()));
    let mut policy = policy.ok_or_else(|| no_queue(&name))?;
    policy.hold = change.hold.unwrap_or(policy.hold);
    policy.concurrency = change.concurrency.unwrap_or(policy.concurrency);
    policy.priority = change.priority.unwrap_or(policy.priority);
    let command = Command::ChangeQueue { queue: name.clone(), policy: Box::new(policy), by };
    accepted(engine.ask(command, Vec::new()).await?)?;
    api.queue_view(&name).map(Json)
}

/// When whoever stands last in a queue may expect to start.
pub(super) async fn queue_forecast(
    State(api): State<Api>,
    Path((agent, queue)): Path<(String, String)>,
) -> Result<Json<Option<ForecastView>>, ApiError> {
    let name = queue_name(&agent, &queue)?;
    if !api.control.engine().read(|state| state.queues().any(|queue| *queue.name == name)) {
        return Err(no_queue(&name));
    }
    Ok(Json(forecast::of_queue(&api, name).await?))
}

pub(super) async fn line(
    State(api): State<Api>,
    Path((agent, queue)): Path<(String, String)>,
    Params(query): Params<LineQuery>,
) -> Result<Json<Vec<PlaceView>>, ApiError> {
    let name = queue_name(&agent, &queue)?;
    let limit = query.limit.unwrap_or(PLACES).min(MAX_PAGE);
    let first = |state: &Dispatch| -> Option<Vec<RunId>> {
        state
            .queues()
            .any(|queue| *queue.name == name)
            .then(|| state.line(&name).into_iter().take(limit).map(|run| run.id).collect())
    };
    let ids = api.control.engine().read(first).ok_or_else(|| no_queue(&name))?;
    let rows =
        api.history(move |history| ids.into_iter().map(|id| history.run(id)).collect::<Result<Vec<_>, _>>()).await?;
    let place = |(index, row): (usize, crate::domain::dispatch::history::RunRow)| PlaceView {
        position: index + 1,
        uuid: row.id.to_string(),
        name: row.name,
        project: row.project.to_string(),
        request: row.request,
        created_at: row.created_at.to_string(),
    };
    Ok(Json(rows.into_iter().flatten().enumerate().map(place).collect()))
}

pub(super) async fn agents(State(api): State<Api>) -> Json<Vec<AgentView>> {
    Json(with_troubles(&api, api.control.engine().read(agent_views)))
}

pub(super) async fn agent(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<AgentView>, ApiError> {
    let agents = with_troubles(&api, api.control.engine().read(agent_views));
    let found = agents.into_iter().find(|agent| agent.name == name);
    found.map(Json).ok_or_else(|| ApiError::not_found("there is no such agent"))
}

/// Gives up what an agent holds that cannot be reached. One of which nobody knows yet why is about to be reached.
pub(super) async fn forget(
    State(api): State<Api>,
    Actor(by): Actor,
    Path(name): Path<String>,
) -> Result<Json<DoneView>, ApiError> {
    let agent = AgentName::parse(&name).map_err(|_| ApiError::not_found("there is no such agent"))?;
    let down = |state: &Dispatch| state.agents().any(|known| *known.name == agent && !known.up);
    if api.control.engine().read(down) && api.control.agent_trouble(&agent).is_none() {
        let message = format!("agent {agent} is being tried right now: whether it can be reached is not known yet");
        return Err(ApiError::conflict(message).help("ask again in some seconds"));
    }
    api.ask(Command::Forget { agent, by }).await
}

pub(super) async fn gone(State(api): State<Api>) -> Json<Vec<GoneView>> {
    let view = |(name, gone): (AgentName, Gone)| GoneView {
        since: gone.since.to_string(),
        until: gone.until().to_string(),
        trouble: api.control.agent_trouble(&name),
        name: name.to_string(),
    };
    Json(api.control.gone_agents().into_iter().map(view).collect())
}

/// Says why agents that are down cannot be reached.
fn with_troubles(api: &Api, mut agents: Vec<AgentView>) -> Vec<AgentView> {
    for agent in agents.iter_mut().filter(|agent| !agent.up) {
        agent.trouble = AgentName::parse(&agent.name).ok().and_then(|name| api.control.agent_trouble(&name));
    }
    agents
}

fn agent_views(state: &Dispatch) -> Vec<AgentView> {
    let queued = |agent: &_| state.queues().filter(|queue| queue.name.agent == *agent).map(|queue| queue.queued).sum();
    state
        .agents()
        .map(|agent| {
            let waiting = queued(agent.name);
            AgentView::of(agent, waiting)
        })
        .collect()
}

fn queue_name(agent: &str, queue: &str) -> Result<QueueName, ApiError> {
    QueueName::parse(&format!("{agent}/{queue}")).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn no_queue(name: &QueueName) -> ApiError {
    ApiError::not_found(format!("there is no queue {name}"))
}

impl Api {
    fn queue_view(&self, name: &QueueName) -> Result<QueueView, ApiError> {
        let view = self.control.engine().read(|state| state.queues().find(|queue| queue.name == name).map(Into::into));
        view.ok_or_else(|| no_queue(name))
    }
}
