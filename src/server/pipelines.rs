//! A pipeline looked at: its operations or runs, how far it is, and when it will have ended.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::error::ApiError;
use super::extract::OneRun;
use super::views::PipelineView;
use crate::domain::catalog::CompiledOperation;
use crate::domain::dispatch::history::{MAX_PAGE, Parent, RunFilter, RunOrder, RunRow};
use crate::domain::ids::Digest;
use crate::engine::wall_clock;
use crate::store::{History, StoreError};

/// Children that are read for one answer; beyond it only counts are exact.
const MOST: usize = 20_000;

pub(super) async fn get(State(api): State<Api>, OneRun(run): OneRun) -> Result<Json<PipelineView>, ApiError> {
    let known = run.clone();
    let read = move |history: &dyn History| -> Result<_, StoreError> {
        let operation = operation(history, known.spec)?;
        let mut children: Vec<RunRow> = Vec::new();
        loop {
            let (parent, order) = (Parent::Is(known.id), RunOrder::OldestFirst);
            let cursor = children.last().map(|row| row.seq);
            let page = history.runs(&RunFilter { parent, order, cursor, limit: MAX_PAGE, ..RunFilter::default() })?;
            let last = page.len() < MAX_PAGE;
            children.extend(page);
            if last || children.len() >= MOST {
                break;
            }
        }
        let best = operation.as_ref().map(|of| PipelineView::best_of(of, &children)).unwrap_or_default();
        let best = best.into_iter().map(|row| Ok((row.clone(), operation_of(history, row)?)));
        let best = best.collect::<Result<Vec<_>, StoreError>>()?;
        Ok((operation, children, best))
    };
    let (operation, children, best) = api.history(read).await?;
    let Some(operation) = operation.filter(|operation| operation.pipeline().is_some()) else {
        return Err(ApiError::conflict(format!("run {} is no pipeline", run.id)));
    };
    Ok(Json(PipelineView::of(&run, &operation, &children, &best, wall_clock())))
}

fn operation_of(history: &dyn History, row: &RunRow) -> Result<CompiledOperation, StoreError> {
    Ok(operation(history, row.spec)?.unwrap_or_default())
}

fn operation(history: &dyn History, spec: Digest) -> Result<Option<CompiledOperation>, StoreError> {
    Ok(history.body(spec)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
