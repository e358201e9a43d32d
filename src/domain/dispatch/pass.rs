//! The pass: after each batch of commands, everything that may happen now does. It ends when nothing more may.

use std::collections::BTreeSet;

use super::decide::begins;
use super::event::Event;
use super::observation::Cause;
use super::pipelines::stop;
use super::policy::Draining;
use super::state::State;
use super::status::Status;
use super::table::{Ix, RunIx};
use crate::domain::ids::{Attempt, QueueName};
use crate::domain::spec::OnRemove;
use crate::domain::time::Timestamp;

/// Most operations that one pass lets through gates, and most that it hands over, so that a raised limit cannot hold up the loop; the rest follows in the
/// next pass, which is due at once.
pub const PASS_CHUNK: usize = 1024;

/// Applies and returns what happens now by itself: retries that are due, gates that open, operations that start,
/// removed things that are empty. The flag says that the chunk was full and another pass is due.
pub fn schedule(state: &mut State, now: Timestamp) -> (Vec<Event>, bool) {
    schedule_some(state, now, usize::MAX)
}

/// As [`schedule`], but hands over at most so many operations, for a simulation whose control plane is slow. The flag
/// does not speak of operations that only this number holds back.
pub fn schedule_some(state: &mut State, now: Timestamp, most: usize) -> (Vec<Event>, bool) {
    let mut events = Vec::new();
    let mut emit = |state: &mut State, known: Option<RunIx>, event: Event| {
        state.apply_to(known, now, &event);
        events.push(event);
    };
    while let Some(event) = state.queues.turn(now) {
        emit(state, None, event);
    }
    let mut readied = 0;
    while readied < PASS_CHUNK
        && let Some((until, run)) = state.retries.first().copied()
        && until <= now
    {
        emit(state, None, Event::RunQueued { run });
        readied += 1;
    }
    let mut settled = 0;
    while settled < PASS_CHUNK {
        if let Some(event) = super::pipelines::emptied(state, now) {
            emit(state, None, event);
            settled += 1;
            continue;
        }
        if let Some(events) = super::deadlines::expired(state, now) {
            settled += events.len();
            events.into_iter().for_each(|event| emit(state, None, event));
            continue;
        }
        let Some(draining) = state.stirred.pop_first() else { break };
        // It may be the last that something else waited for, which is stirred by these events in turn.
        let (events, more) = settle(state, now, &draining, PASS_CHUNK - settled);
        settled += events.len();
        if more {
            state.stirred.insert(draining);
        }
        events.into_iter().for_each(|event| emit(state, None, event));
    }
    while readied < PASS_CHUNK
        && let Some(ix) = state.gates.next()
    {
        readied += 1;
        let (run, pipeline) = (state.runs[ix].id, state.runs[ix].pipeline.is_some());
        emit(state, Some(ix), Event::RunQueued { run });
        if pipeline {
            let attempt = state.runs[ix].attempt;
            emit(state, Some(ix), begins(run, attempt, now));
        }
    }
    let mut handed_over = 0;
    while handed_over < PASS_CHUNK.min(most)
        && let Some(ix) = state.queues.next()
    {
        let (run, attempt) = (state.runs[ix].id, Attempt(state.runs[ix].attempt + 1));
        emit(state, Some(ix), Event::RunScheduled { run, attempt });
        handed_over += 1;
    }
    if cfg!(debug_assertions) && cfg!(test) {
        state.check();
    }
    (events, handed_over == PASS_CHUNK || readied == PASS_CHUNK || settled >= PASS_CHUNK)
}

/// When the next thing is due by itself, if anything is.
pub fn next_wakeup(state: &State) -> Option<Timestamp> {
    let retry = state.retries.first().map(|(until, _)| *until);
    let hours = state.queues.hours.first().map(|(until, ..)| *until);
    retry.into_iter().chain(hours).chain(state.deadlines.first()).min()
}

/// What becomes of the waiting runs of a removed queue, at most so many at once, or of a removed thing that has nothing
/// left. The flag says that there is more to do.
fn settle(state: &State, now: Timestamp, draining: &Draining, most: usize) -> (Vec<Event>, bool) {
    match draining {
        Draining::Queue(name) => match state.queues.queue_of.get(name) {
            Some(ix) => settle_queue(state, now, name, *ix, most),
            None => (Vec::new(), false),
        },
        Draining::Agent(name) => {
            let ix = state.queues.agent_of.get(name);
            let empty = ix.is_some_and(|ix| state.queues.agents[*ix].queues.is_empty());
            (empty.then(|| Event::AgentGone { agent: name.clone() }).into_iter().collect(), false)
        }
    }
}

fn settle_queue(state: &State, now: Timestamp, name: &QueueName, ix: Ix, most: usize) -> (Vec<Event>, bool) {
    let queue = &state.queues.queues[ix];
    if queue.runs == 0 {
        return (vec![Event::QueueGone { queue: name.clone() }], false);
    }
    if queue.runs == queue.used {
        return (Vec::new(), false);
    }
    match state.on_remove(name) {
        OnRemove::Drain => (Vec::new(), false),
        OnRemove::MoveTo(to) => {
            let open = state.queues.queue_of.get(&to).is_some_and(|to| !state.queues.queues[*to].removed);
            let waiting = state.waiting_for(ix).take(if open { most } else { 0 });
            let moved = waiting.map(|run| Event::RunMoved { run: state.runs[run].id, queue: to.clone() });
            let moved: Vec<Event> = moved.collect();
            let full = moved.len() == most;
            (moved, full)
        }
        OnRemove::Cancel => {
            let cause = Cause::new("QueueRemoved", format!("queue {name} was removed with onRemove: cancel"));
            let waiting: Vec<_> = state.waiting_for(ix).take(most).collect();
            // What stands below a pipeline is stopped with it, and must not be stopped again.
            let mut ended = BTreeSet::new();
            let ids = waiting.iter().map(|run| state.runs[*run].id);
            let stopped = ids.filter_map(|run| stop(state, now, run, Status::Stopped, &cause)).flatten();
            let stopped = stopped.filter(|event| match event {
                Event::RunFinished { run, .. }
                | Event::RunStopping { run, .. }
                | Event::PipelineStopping { run, .. } => ended.insert(*run),
                _ => true,
            });
            (stopped.collect(), waiting.len() == most)
        }
    }
}
