//! The table of routes: the router and the OpenAPI document are both made of it, so neither can miss one.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::views::*;
use super::{Api, logs, metrics, openapi, pipelines, policy, runs, sync, watch, workflows};

/// Makes the schema of a type.
pub(super) type Make = fn(&mut SchemaGenerator) -> Schema;

/// One address with one method.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for what varies.
    pub path: &'static str,
    /// The name of the operation, for generated clients.
    pub id: &'static str,
    /// What it does, one sentence.
    pub summary: &'static str,
    pub(super) query: Option<Make>,
    pub(super) body: Option<Make>,
    pub(super) answer: Answer,
    pub(super) handler: MethodRouter<Api>,
}

/// What a route answers with.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Json(Make),
    /// As [`Answer::Json`], with status 201.
    Created(Make),
    /// Plain text.
    Text,
    /// Server-sent events with JSON of a type.
    Events(Make),
}

impl Route {
    fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| generator.subschema_for::<T>());
        self
    }

    fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(|generator| generator.subschema_for::<T>());
        self
    }

    fn json<T: JsonSchema>(mut self) -> Self {
        self.answer = Answer::Json(|generator| generator.subschema_for::<T>());
        self
    }

    fn created<T: JsonSchema>(mut self) -> Self {
        self.answer = Answer::Created(|generator| generator.subschema_for::<T>());
        self
    }

    fn events<T: JsonSchema>(mut self) -> Self {
        self.answer = Answer::Events(|generator| generator.subschema_for::<T>());
        self
    }
}

fn route<H, T>(method: Method, path: &'static str, id: &'static str, summary: &'static str, handler: H) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("the table only has methods that filters know");
    Route { method, path, id, summary, query: None, body: None, answer: Answer::Text, handler: on(filter, handler) }
}

fn get<H: Handler<T, Api>, T: 'static>(path: &'static str, id: &'static str, summary: &'static str, h: H) -> Route {
    route(Method::GET, path, id, summary, h)
}

fn post<H: Handler<T, Api>, T: 'static>(path: &'static str, id: &'static str, summary: &'static str, h: H) -> Route {
    route(Method::POST, path, id, summary, h)
}

/// All routes.
pub fn routes() -> Vec<Route> {
    vec![
        get("/healthz", "health", "Says that the process answers.", metrics::health),
        get("/readyz", "ready", "Says whether the server has applied a commit and follows its source.", metrics::ready),
        get("/metrics", "metrics", "Figures in the text format of Prometheus.", metrics::metrics),
        get("/api/v1/openapi.json", "openapi", "This document.", openapi::answer).json::<serde_json::Value>(),
        get("/api/v1/events", "watchRuns", "Changes of runs as they are saved.", watch::events)
            .query::<watch::EventsQuery>()
            .events::<ConditionView>(),
        get("/api/v1/runs", "listRuns", "Runs, the newest first.", runs::list)
            .query::<runs::RunsQuery>()
            .json::<Vec<RunView>>(),
        post("/api/v1/runs", "startRun", "Starts a workflow or a file.", runs::start)
            .body::<StartBody>()
            .created::<RunView>(),
        get("/api/v1/runs/{uuid}", "getRun", "One run, by its id or the beginning of it.", runs::get).json::<RunView>(),
        route(Method::DELETE, "/api/v1/runs/{uuid}", "deleteRun", "Deletes a finished run from the history.", runs::delete)
            .json::<DoneView>(),
        get("/api/v1/runs/{uuid}/conditions", "listConditions", "The timeline of a run, oldest first.", runs::conditions)
            .json::<Vec<ConditionView>>(),
        get("/api/v1/runs/{uuid}/pipeline", "getPipeline", "What a pipeline has made and will make.", pipelines::get)
            .json::<PipelineView>(),
        get("/api/v1/runs/{uuid}/explain", "explainRun", "Why a run is not running now.", runs::explain)
            .json::<ExplainView>(),
        get(
            "/api/v1/runs/{uuid}/logs",
            "readLogs",
            "A piece of the log of a run's newest attempt; the header tidegate-log-next says where the next one begins, tidegate-log-end whether there will be one.",
            logs::read,
        )
        .query::<logs::LogQuery>(),
        get("/api/v1/runs/{uuid}/logs/follow", "followLogs", "The log as it grows; an event `end` closes it.", logs::follow)
            .query::<logs::FollowQuery>()
            .events::<logs::LogChunk>(),
        post("/api/v1/runs/{uuid}/stop", "stopRun", "Stops a run.", runs::stop).json::<DoneView>(),
        post("/api/v1/runs/{uuid}/approve", "approveRun", "Lets a run go on that waits for approval.", runs::approve)
            .json::<DoneView>(),
        post("/api/v1/runs/{uuid}/restart", "restartRun", "Runs the same spec again.", runs::restart)
            .body::<AgainBody>()
            .created::<RunView>(),
        post("/api/v1/runs/{uuid}/copy", "copyRun", "Runs the same spec again, marked as a copy.", runs::copy)
            .body::<AgainBody>()
            .created::<RunView>(),
        post("/api/v1/runs/{uuid}/resume", "resumeRun", "Lets an ended run go on as the same run.", runs::resume)
            .json::<DoneView>(),
        get("/api/v1/runs/{uuid}/hooks", "listHooks", "The runs that followed the end of a run.", runs::hooks)
            .json::<Vec<RunView>>(),
        get("/api/v1/queues", "listQueues", "The queues with their use.", policy::queues).json::<Vec<QueueView>>(),
        get("/api/v1/queues/{agent}/{queue}", "getQueue", "One queue.", policy::queue).json::<QueueView>(),
        route(
            Method::PATCH,
            "/api/v1/queues/{agent}/{queue}",
            "changeQueue",
            "Changes a queue until the next commit is applied.",
            policy::change_queue,
        )
        .body::<QueueChange>()
        .json::<QueueView>(),
        get("/api/v1/queues/{agent}/{queue}/line", "queueLine", "Who stands in a queue, first in line first.", policy::line)
            .query::<policy::LineQuery>()
            .json::<Vec<PlaceView>>(),
        get(
            "/api/v1/queues/{agent}/{queue}/forecast",
            "queueForecast",
            "When whoever stands last in a queue may expect to start; null when nobody stands there, or nothing has ended \
             lately to go by.",
            policy::queue_forecast,
        )
        .json::<Option<ForecastView>>(),
        get("/api/v1/agents", "listAgents", "The agents with their use.", policy::agents).json::<Vec<AgentView>>(),
        get("/api/v1/agents/{agent}", "getAgent", "One agent.", policy::agent).json::<AgentView>(),
        post(
            "/api/v1/agents/{agent}/forget",
            "forgetAgent",
            "Gives up what an agent holds that cannot be reached: its runs end, their slots come free.",
            policy::forget,
        )
        .json::<DoneView>(),
        get(
            "/api/v1/gone-agents",
            "listGoneAgents",
            "Agents that have gone and left something in a cluster, which is looked out for.",
            policy::gone,
        )
        .json::<Vec<GoneView>>(),
        get("/api/v1/projects", "listProjects", "The projects.", workflows::projects).json::<Vec<ProjectView>>(),
        get("/api/v1/projects/{project}", "getProject", "One project.", workflows::project).json::<ProjectView>(),
        get("/api/v1/workflows", "listWorkflows", "The workflows of the applied commit.", workflows::list)
            .query::<workflows::WorkflowsQuery>()
            .json::<Vec<WorkflowView>>(),
        get("/api/v1/workflows/{project}/{workflow}", "getWorkflow", "One workflow.", workflows::get)
            .json::<WorkflowView>(),
        post("/api/v1/workflows/{project}/{workflow}/start", "startWorkflow", "Starts a workflow.", workflows::start)
            .body::<StartBody>()
            .created::<RunView>(),
        get("/api/v1/sync", "syncStatus", "How the git side stands.", sync::status).json::<SyncView>(),
        get("/api/v1/sync/history", "syncHistory", "Applied commits, the newest first.", sync::history)
            .query::<sync::HistoryQuery>()
            .json::<Vec<AppliedView>>(),
        get("/api/v1/sync/diagnostics", "syncDiagnostics", "Problems of the newest commit.", sync::problems)
            .json::<Vec<DiagnosticView>>(),
        get("/api/v1/sync/plan", "lastPlan", "The plan of the last sync.", sync::last_plan)
            .json::<crate::domain::plan::Plan>(),
        post("/api/v1/sync/now", "syncNow", "Looks at the source soon.", sync::now).json::<SyncView>(),
        post("/api/v1/sync/pause", "syncPause", "Leaves new commits alone.", sync::pause).json::<SyncView>(),
        post("/api/v1/sync/resume", "syncResume", "Follows the branch again.", sync::resume).json::<SyncView>(),
        post("/api/v1/sync/rollback", "syncRollback", "Follows a revision in place of the branch.", sync::rollback)
            .body::<RollbackBody>()
            .json::<FollowView>(),
        post("/api/v1/sync/approve", "syncApprove", "Starts the runs that a guard holds.", sync::approve)
            .body::<ApproveBody>()
            .json::<ApprovedView>(),
        post("/api/v1/plan", "plan", "Says what applying some files would do.", sync::plan)
            .body::<PlanBody>()
            .json::<PlanView>(),
        post("/api/v1/simulate", "simulate", "Says what the policies of some files would do to those that wait.", sync::what_if)
            .body::<PlanBody>()
            .json::<WhatIfView>(),
    ]
}
