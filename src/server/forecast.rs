//! When a waiting run may expect to start: what the history says of durations, given to the dispatcher that runs ahead.

use std::collections::BTreeMap;

use super::Api;
use super::error::ApiError;
use super::views::ForecastView;
use crate::domain::dispatch::history::{MAX_PAGE, RunFilter, RunRow};
use crate::domain::dispatch::status::Status;
use crate::domain::ids::RunId;
use crate::domain::simulate::{Confidence, Durations, FORECAST_RUNS, Forecast, forecast};
use crate::domain::time::Span;
use crate::engine::wall_clock;

/// Forecasts the start of a run; `None` when it does not wait, or there is nothing to go by.
pub(super) async fn of_run(api: &Api, run: RunId) -> Result<Option<ForecastView>, ApiError> {
    let statuses = vec![Status::Succeeded, Status::Failed];
    let ended = RunFilter { statuses, limit: MAX_PAGE, ..RunFilter::default() };
    let statuses = vec![Status::Starting, Status::Running, Status::Warning];
    let running = RunFilter { statuses, limit: MAX_PAGE, ..RunFilter::default() };
    let engine = api.control.engine().clone();
    let found = api
        .history(move |history| {
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
            let for_so_long = running.iter().filter_map(|row| Some((row.id, now.since(row.started_at?))));
            Ok(forecast(&state, now, &durations, &for_so_long.collect::<BTreeMap<_, _>>(), run))
        })
        .await?;
    Ok(found.map(view))
}

fn took(row: &RunRow) -> Option<Span> {
    Some(row.finished_at?.since(row.started_at?))
}

fn view(forecast: Forecast) -> ForecastView {
    let Forecast { p50, p90, samples, confidence } = forecast;
    let word = match confidence {
        Confidence::Low => "low",
        Confidence::Fair => "fair",
        Confidence::Good => "good",
    };
    let sentence = match (p50, p90) {
        (Some(p50), Some(p90)) => format!("it may expect to start in {p50}, nine times of ten within {p90}"),
        (Some(p50), None) => format!("it may expect to start in {p50}, or much later"),
        (None, _) => "as things are it does not start".to_owned(),
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
