//! Health, and figures in the text format of Prometheus.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Api;
use super::error::ApiError;
use super::views::{AgentView, QueueView};
use crate::control::SyncStatus;
use crate::domain::dispatch::history::RunFilter;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{AgentName, Seq};
use crate::domain::spec::Limit;
use crate::domain::time::Timestamp;
use crate::engine::wall_clock;

pub(super) async fn health() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(api): State<Api>) -> (StatusCode, &'static str) {
    match api.control.sync_status().applied {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing is applied yet\n"),
    }
}

pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let counted = api
        .history(|history| {
            let count = |status: Status| {
                let filter = RunFilter { statuses: vec![status], ..RunFilter::default() };
                Ok((status, history.count(&filter)?))
            };
            Status::ALL.into_iter().map(count).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let engine = api.control.engine();
    let (queues, agents) = engine.read(|state| {
        let agents: Vec<AgentView> = state.agents().map(|agent| AgentView::of(agent, 0)).collect();
        (state.queues().map(QueueView::from).collect::<Vec<_>>(), agents)
    });
    let of_cluster = |agent: &AgentView| {
        let requests = AgentName::parse(&agent.name).ok().and_then(|name| api.control.agent_requests(&name))?;
        Some((agent.name.clone(), requests))
    };
    let requests: Vec<(String, u64)> = agents.iter().filter_map(of_cluster).collect();
    let last = *engine.saved().borrow();
    let text = render(&counted, &queues, &agents, &requests, last, &api.control.sync_status(), wall_clock());
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

/// All figures. Names of queues and agents need no escaping: they are lower-case letters, digits, `-` and `/`.
fn render(
    runs: &[(Status, u64)],
    queues: &[QueueView],
    agents: &[AgentView],
    requests: &[(String, u64)],
    last: Seq,
    sync: &SyncStatus,
    now: Timestamp,
) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &mut dyn Iterator<Item = (String, f64)>| {
        let written = writeln!(text, "# HELP tidegate_{name} {help}\n# TYPE tidegate_{name} {kind}");
        written.expect("a string takes all");
        for (labels, value) in samples {
            let value = if value.is_infinite() { "+Inf".to_owned() } else { value.to_string() };
            writeln!(text, "tidegate_{name}{labels} {value}").expect("a string takes all");
        }
    };
    let of_queue = |queue: &QueueView| format!("{{queue=\"{}\"}}", queue.name);
    let of_agent = |agent: &AgentView| format!("{{agent=\"{}\"}}", agent.name);
    let limit = |limit: Limit| match limit {
        Limit::At(limit) => f64::from(limit),
        Limit::Unlimited => f64::INFINITY,
    };
    let mut statuses = runs.iter().map(|(status, count)| (format!("{{status=\"{status}\"}}"), *count as f64));
    family("runs", "gauge", "Runs by status.", &mut statuses);
    let mut values = queues.iter().map(|queue| (of_queue(queue), f64::from(queue.running)));
    family("queue_running", "gauge", "Operations of the queue that hold a slot.", &mut values);
    let mut values = queues.iter().map(|queue| (of_queue(queue), limit(queue.settings.concurrency)));
    family("queue_concurrency", "gauge", "Most operations of the queue at once.", &mut values);
    let mut values = queues.iter().map(|queue| (of_queue(queue), f64::from(queue.queued)));
    family("queue_waiting", "gauge", "Operations that stand in the queue.", &mut values);
    let mut values = queues.iter().map(|queue| (of_queue(queue), f64::from(u8::from(queue.settings.hold))));
    family("queue_held", "gauge", "Whether the queue is held.", &mut values);
    let mut values = agents.iter().map(|agent| (of_agent(agent), f64::from(u8::from(agent.up))));
    family("agent_up", "gauge", "Whether the agent can be reached.", &mut values);
    let mut values = agents.iter().map(|agent| (of_agent(agent), f64::from(agent.running)));
    family("agent_running", "gauge", "Operations of the agent that hold a slot.", &mut values);
    let mut values = requests.iter().map(|(agent, count)| (format!("{{agent=\"{agent}\"}}"), *count as f64));
    family("agent_requests_total", "counter", "Requests to the agent's API server since the start.", &mut values);
    family("events_total", "counter", "Events that were saved.", &mut [(String::new(), last.0 as f64)].into_iter());
    let age = sync.checked_at.map(|at| (String::new(), now.since(at).0 as f64 / 1000.0));
    family("sync_age_seconds", "gauge", "Time since the source was last looked at with success.", &mut age.into_iter());
    let failed = f64::from(u8::from(sync.error.is_some()));
    family(
        "sync_failed",
        "gauge",
        "Whether the last look at the source or apply failed.",
        &mut [(String::new(), failed)].into_iter(),
    );
    let mut problems = [("error", sync.errors), ("warning", sync.warnings)]
        .into_iter()
        .map(|(severity, count)| (format!("{{severity=\"{severity}\"}}"), count as f64));
    family("sync_problems", "gauge", "Problems of the newest commit.", &mut problems);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::QueuePolicy;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let queue = |name: &str, concurrency| QueueView {
            name: name.to_owned(),
            agent: "us".to_owned(),
            settings: (&QueuePolicy { concurrency, ..QueuePolicy::default() }).into(),
            running: 3,
            queued: 7,
            used: Default::default(),
            declared: None,
            changed_by: None,
            removed: false,
        };
        let queues = [queue("us/gpu", Limit::At(8)), queue("us/default", Limit::Unlimited)];
        let sync = SyncStatus { checked_at: Some(Timestamp(1000)), warnings: 2, ..SyncStatus::default() };
        let text =
            render(&[(Status::Running, 3)], &queues, &[], &[("us".to_owned(), 12)], Seq(41), &sync, Timestamp(3500));
        for line in [
            "tidegate_runs{status=\"running\"} 3",
            "tidegate_queue_running{queue=\"us/gpu\"} 3",
            "tidegate_queue_concurrency{queue=\"us/gpu\"} 8",
            "tidegate_queue_concurrency{queue=\"us/default\"} +Inf",
            "tidegate_queue_waiting{queue=\"us/gpu\"} 7",
            "tidegate_agent_requests_total{agent=\"us\"} 12",
            "tidegate_events_total 41",
            "tidegate_sync_age_seconds 2.5",
            "tidegate_sync_problems{severity=\"warning\"} 2",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.starts_with("# ") || line.split(' ').count() == 2), "{text}");
    }
}
