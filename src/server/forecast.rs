//! When those that wait may expect to start, as things are or under another policy: what the history says of durations,
//! given to the dispatcher that runs ahead.

use std::collections::{BTreeMap, BTreeSet};

use super::Api;
use super::error::ApiError;
use super::views::{ForecastView, QueueWaitsView, WaitsView, WhatIfView};
use crate::domain::dispatch::State;
use crate::domain::dispatch::event::RevisionApplied;
use crate::domain::dispatch::history::{MAX_PAGE, RunFilter, RunRow};
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{QueueName, RunId};
use crate::domain::simulate::{
    Backlog, Confidence, Durations, FORECAST_HORIZON, FORECAST_RUNS, Forecast, Waits, backlog, forecast,
};
use crate::domain::time::{Span, Timestamp};
use crate::engine::wall_clock;

/// Forecasts the start of a run; `None` when it does not wait, or there is nothing to go by.
pub(super) async fn of_run(api: &Api, run: RunId) -> Result<Option<ForecastView>, ApiError> {
    let found = ahead(api, move |state, now, known| forecast(state, now, &known.durations, &known.running_for, run));
    Ok(found.await?.flatten().map(view))
}

/// Forecasts the start of whoever stands last in a queue.
pub(super) async fn of_queue(api: &Api, queue: QueueName) -> Result<Option<ForecastView>, ApiError> {
    let found = ahead(api, move |state, now, known| {
        let last = state.last_in_line(&queue)?;
        forecast(state, now, &known.durations, &known.running_for, last)
    });
    Ok(found.await?.flatten().map(view))
}

/// What a change of policy would do to those that wait.
pub(super) async fn what_if(api: &Api, change: RevisionApplied) -> Result<WhatIfView, ApiError> {
    let found = ahead(api, move |state, now, mut known| {
        let samples = known.durations.count() as u64;
        if samples == 0 {
            state.queues().for_each(|queue| known.durations.add(queue.name.clone(), GUESS));
        }
        let play = |change| backlog(state, now, &known.durations, &known.running_for, change);
        let (before, after) = (play(None), play(Some(&change)));
        let names: BTreeSet<&QueueName> = before.queues.keys().chain(after.queues.keys()).collect();
        let waits = |side: &Backlog, name: &QueueName| waits_view(side.queues.get(name).cloned().unwrap_or_default());
        let of_queue = |name: &QueueName| QueueWaitsView {
            queue: name.to_string(),
            before: waits(&before, name),
            after: waits(&after, name),
        };
        let (queues, cut) = (names.into_iter().map(of_queue).collect(), before.cut || after.cut);
        let applied = state.applied().map(|applied| applied.commit.to_string());
        WhatIfView { samples, cut, applied, differs: !change.changes_nothing(), queues, diagnostics: Vec::new() }
    });
    found.await?.ok_or_else(|| {
        ApiError::conflict(format!("more than {FORECAST_RUNS} runs are unfinished: that is too many to play ahead"))
    })
}

/// How long a run is taken to last while none has ended yet.
const GUESS: Span = Span::seconds(60);

/// What is known of how long runs take.
struct Known {
    durations: Durations,
    running_for: BTreeMap<RunId, Span>,
}

/// Plays ahead from a copy of the state; `None` when there is too much to copy.
async fn ahead<T: Send + 'static>(
    api: &Api,
    play: impl FnOnce(&State, Timestamp, Known) -> T + Send + 'static,
) -> Result<Option<T>, ApiError> {
    let statuses = vec![Status::Succeeded, Status::Failed];
    let ended = RunFilter { statuses, limit: MAX_PAGE, ..RunFilter::default() };
    let statuses = vec![Status::Starting, Status::Running, Status::Warning];
    let running = RunFilter { statuses, limit: MAX_PAGE, ..RunFilter::default() };
    let engine = api.control.engine().clone();
    api.history(move |history| {
        // Copied once, so that the loop is held up for that long and no longer.
        let state = engine.read(|state| (state.unfinished() <= FORECAST_RUNS).then(|| state.clone()));
        let Some(state) = state else { return Ok(None) };
        let now = wall_clock();
        let mut durations = Durations::default();
        for row in history.runs(&ended)? {
            if let Some(took) = took(&row) {
                durations.add(row.queue, took);
            }
        }
        let running = history.runs(&running)?;
        let running_for = running.iter().filter_map(|row| Some((row.id, now.since(row.started_at?)))).collect();
        Ok(Some(play(&state, now, Known { durations, running_for })))
    })
    .await
}

fn waits_view(waits: Waits) -> WaitsView {
    WaitsView {
        started: waits.started,
        stopped: waits.stopped,
        left: waits.left,
        mean_seconds: waits.mean.map(seconds),
        p90_seconds: waits.p90.map(seconds),
        last_seconds: waits.last.map(seconds),
    }
}

fn took(row: &RunRow) -> Option<Span> {
    Some(row.finished_at?.since(row.started_at?))
}

fn view(forecast: Forecast) -> ForecastView {
    let Forecast { p50, p90, samples, confidence, too_much } = forecast;
    let word = match confidence {
        Confidence::Low => "low",
        Confidence::Fair => "fair",
        Confidence::Good => "good",
    };
    let sentence = match (p50, p90) {
        _ if too_much => "too much stands before it to play that far ahead".to_owned(),
        (Some(p50), Some(p90)) => format!("it may expect to start in {p50}, nine times of ten within {p90}"),
        (Some(p50), None) => format!("it may expect to start in {p50}, or much later"),
        (None, _) => format!("as things are it does not start within {FORECAST_HORIZON}"),
    };
    ForecastView {
        p50_seconds: p50.map(seconds),
        p90_seconds: p90.map(seconds),
        samples: samples as u64,
        confidence: word.to_owned(),
        sentence: format!("{sentence} (from {samples} recent durations; confidence {word})"),
    }
}

fn seconds(span: Span) -> f64 {
    span.0 as f64 / 1000.0
}
