//! The pass: after each batch of commands, everything that may happen now does. It ends when nothing more may.

use std::collections::BTreeSet;

use super::event::Event;
use super::observation::Cause;
use super::pipelines::stop;
use super::state::{Draining, State};
use super::status::Status;
use crate::domain::ids::Attempt;
use crate::domain::spec::OnRemove;
use crate::domain::time::Timestamp;

/// Most operations that one pass lets through gates, and most that it hands over, so that a raised limit cannot hold up the loop; the rest follows in the
/// next pass, which is due at once.
pub const PASS_CHUNK: usize = 1024;

/// Applies and returns what happens now by itself: retries that are due, gates that open, operations that start,
/// removed things that are empty. The flag says that the chunk was full and another pass is due.
pub fn schedule(state: &mut State, now: Timestamp) -> (Vec<Event>, bool) {
    let mut events = Vec::new();
    let mut emit = |state: &mut State, event: Event| {
        state.apply(now, &event);
        events.push(event);
    };
    let mut readied = 0;
    while readied < PASS_CHUNK
        && let Some((until, run)) = state.retries.first().copied()
        && until <= now
    {
        emit(state, Event::RunQueued { run });
        readied += 1;
    }
    // Again and again, because what is empty now may have been the last that something else waited for.
    loop {
        while let Some(event) = super::pipelines::emptied(state, now) {
            emit(state, event);
        }
        let emptied = empty_queues(state, now);
        if emptied.is_empty() {
            break;
        }
        emptied.into_iter().for_each(|event| emit(state, event));
    }
    while readied < PASS_CHUNK
        && let Some(ix) = state.gates.next()
    {
        readied += 1;
        let (run, pipeline) = (state.runs[ix].id, state.runs[ix].pipeline.is_some());
        emit(state, Event::RunQueued { run });
        if pipeline {
            let running = Status::Running;
            emit(state, Event::RunProgressed { run, attempt: Attempt(1), status: running, cause: None, at: now });
        }
    }
    let mut handed_over = 0;
    while handed_over < PASS_CHUNK
        && let Some(ix) = state.queues.next(&state.runs)
    {
        let (run, attempt) = (state.runs[ix].id, Attempt(state.runs[ix].attempt + 1));
        emit(state, Event::RunScheduled { run, attempt });
        handed_over += 1;
    }
    if cfg!(debug_assertions) && cfg!(test) {
        state.check();
    }
    (events, handed_over == PASS_CHUNK || readied == PASS_CHUNK)
}

/// When the next thing is due by itself, if anything is.
pub fn next_wakeup(state: &State) -> Option<Timestamp> {
    state.retries.first().map(|(until, _)| *until)
}

/// What becomes of the waiting runs of a removed queue, or of a removed thing that has nothing left; one thing at a
/// time, because one may take runs of another with it.
fn empty_queues(state: &State, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    for draining in &state.draining {
        if !events.is_empty() {
            break;
        }
        match draining {
            Draining::Queue(name) => {
                let Some(ix) = state.queues.queue_of.get(name).copied() else { continue };
                let left = state.queues.queues[ix].runs;
                if left == 0 {
                    events.push(Event::QueueGone { queue: name.clone() });
                    continue;
                }
                let waits =
                    |status| matches!(status, Status::Created | Status::Compiled | Status::Queued | Status::Retrying);
                let waiting = || {
                    let all = state.runs.iter().map(|(_, run)| run);
                    let mut waiting: Vec<_> = all.filter(|run| run.queue == ix && waits(run.status)).collect();
                    waiting.sort_by_key(|run| run.order);
                    waiting.into_iter().map(|run| run.id)
                };
                match state.on_remove(name) {
                    // Only operations with a slot are left: nothing to look for.
                    _ if left == state.queues.queues[ix].used => {}
                    OnRemove::Drain => {}
                    OnRemove::MoveTo(to) => {
                        let open = state.queues.queue_of.get(&to).is_some_and(|to| !state.queues.queues[*to].removed);
                        if open {
                            events.extend(waiting().map(|run| Event::RunMoved { run, queue: to.clone() }));
                        }
                    }
                    OnRemove::Cancel => {
                        let cause =
                            Cause::new("QueueRemoved", format!("queue {name} was removed with onRemove: cancel"));
                        // What stands below a pipeline is stopped with it, and must not be stopped again.
                        let mut ended = BTreeSet::new();
                        let stopped = waiting().filter_map(|run| stop(state, now, run, Status::Stopped, &cause));
                        events.extend(stopped.flatten().filter(|event| match event {
                            Event::RunFinished { run, .. }
                            | Event::RunStopping { run, .. }
                            | Event::PipelineStopping { run, .. } => ended.insert(*run),
                            _ => true,
                        }));
                    }
                }
            }
            Draining::Agent(name) => {
                let Some(ix) = state.queues.agent_of.get(name).copied() else { continue };
                if state.queues.queues.iter().all(|(_, queue)| queue.agent != ix) {
                    events.push(Event::AgentGone { agent: name.clone() });
                }
            }
        }
    }
    events
}
