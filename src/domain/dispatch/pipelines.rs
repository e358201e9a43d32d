//! Pipelines in the state machine: the steps that their conductor may ask for, and how one stops with all below it.

use super::command::{Advance, Rejection};
use super::decide::{Decided, Draft, create, finished};
use super::event::Event;
use super::observation::Cause;
use super::preparing::stop_build;
use super::state::State;
use super::status::Status;
use super::table::RunIx;
use crate::domain::ids::RunId;
use crate::domain::time::Timestamp;

/// Makes children, and ends the pipeline when it is over.
pub(super) fn advance(state: &State, now: Timestamp, step: &Advance) -> Decided {
    let Some(ix) = state.runs.find(step.pipeline) else { return Ok(Vec::new()) };
    let run = &state.runs[ix];
    let pipeline = run.pipeline.ok_or(Rejection::NoSuchPipeline(step.pipeline))?;
    if run.status != Status::Running {
        return Ok(Vec::new());
    }
    let mut draft = Draft::new(state, now);
    for child in &step.children {
        let new = create(&mut draft, &child.run, None)?;
        if let Some((status, cause)) = child.ended.as_ref().filter(|_| new) {
            draft.finish(child.run.id, *status, cause.clone());
        }
    }
    for (child, cause) in &step.stops {
        let direct = state.runs.find(*child).filter(|child| state.runs[*child].gate == Some(pipeline.direct));
        if direct.is_some() {
            draft.stop(*child, cause);
        }
    }
    let mut events = draft.events;
    if let Some(end) = &step.end {
        let open = state.gates.children(pipeline.direct) as usize + draft.made.len() - draft.ended.len();
        if open == 0 {
            let (status, cause, outputs) = (end.status, end.cause.clone(), end.outputs.clone());
            events.push(Event::RunFinished { run: step.pipeline, status, cause, exit_code: None, outputs, at: now });
        } else if end.stop_children {
            events.extend(stop(state, now, step.pipeline, end.status, &end.cause).into_iter().flatten());
        }
    }
    Ok(events)
}

/// Stops a run; a pipeline together with everything below it. A pipeline of which something still runs ends later, as
/// `end`. `None` when there is no such unfinished run.
pub(super) fn stop(state: &State, now: Timestamp, id: RunId, end: Status, cause: &Cause) -> Option<Vec<Event>> {
    let ix = state.runs.find(id)?;
    let mut events = Vec::new();
    if state.runs[ix].pipeline.is_none() {
        stop_leaf(state, now, ix, cause, &mut events);
        return Some(events);
    }
    stop_pipeline(state, now, ix, end, cause, &mut events);
    Some(events)
}

/// Whether the pipeline is still unfinished after these events.
fn stop_pipeline(
    state: &State,
    now: Timestamp,
    ix: RunIx,
    end: Status,
    cause: &Cause,
    events: &mut Vec<Event>,
) -> bool {
    let run = &state.runs[ix];
    // What is below one that is stopping has been told so.
    if run.status == Status::Stopping {
        return true;
    }
    let children = run.pipeline.map(|pipeline| state.members(pipeline.direct));
    let mut left = false;
    for child in children.into_iter().flatten() {
        left |= match state.runs[child].pipeline {
            Some(_) => stop_pipeline(state, now, child, Status::Stopped, cause, events),
            None => stop_leaf(state, now, child, cause, events),
        };
    }
    stop_build(state, now, ix, cause, events);
    events.push(match left {
        true => Event::PipelineStopping { run: run.id, end, cause: cause.clone() },
        false => finished(run.id, end, cause.clone(), now),
    });
    left
}

/// Whether the operation is still unfinished after these events.
pub(super) fn stop_leaf(state: &State, now: Timestamp, ix: RunIx, cause: &Cause, events: &mut Vec<Event>) -> bool {
    let run = &state.runs[ix];
    match run.status {
        Status::Stopping => {}
        status if status.holds_slot() => events.push(Event::RunStopping { run: run.id, cause: cause.clone() }),
        _ => {
            stop_build(state, now, ix, cause, events);
            events.push(finished(run.id, Status::Stopped, cause.clone(), now));
        }
    }
    run.status.holds_slot()
}

/// The end of a stopping pipeline that has nothing unfinished below it any more, if there is one.
pub(super) fn emptied(state: &State, now: Timestamp) -> Option<Event> {
    let run = *state.emptied.first()?;
    let (end, cause) = state.ending.get(&run).cloned()?;
    Some(finished(run, end, cause, now))
}

impl State {
    /// Remembers that a stopping pipeline can end, if it can.
    pub(super) fn note_emptied(&mut self, ix: RunIx) {
        let run = &self.runs[ix];
        let Some(pipeline) = run.pipeline else { return };
        if run.status == Status::Stopping && self.gates.children(pipeline.direct) == 0 {
            self.emptied.insert(run.id);
        }
    }
}
