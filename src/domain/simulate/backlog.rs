//! What a change of policy would do to those that wait now: the present backlog, played twice from a copy of the state,
//! once under the policy as it is and once as it would be.
//!
//! Both times every run takes as long, drawn by its id from the durations of its queue, so that a difference is one of the
//! policy. As with a forecast, what comes later is not foreseen and every attempt is taken to end well.

use std::collections::BTreeMap;

use super::clock::Clockwork;
use super::forecast::{Durations, FORECAST_EVENTS};
use crate::domain::dispatch::State;
use crate::domain::dispatch::event::{Event, RevisionApplied};
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Attempt, AttemptName, QueueName, RunId};
use crate::domain::time::{Span, Timestamp};

/// What the runs that wait in (or for) one queue now may expect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many of them started.
    pub started: u64,
    /// How many were stopped without having started, because their queue is removed.
    pub stopped: u64,
    /// How many do not start as things are.
    pub left: u64,
    /// The mean of the waits from now on, of those that started.
    pub mean: Option<Span>,
    /// Nine of ten of those that started waited no longer.
    pub p90: Option<Span>,
    /// When the last of those that started did.
    pub last: Option<Span>,
}

/// The waits of each queue, by the name that it has now, and whether the play was broken off before its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// By queue.
    pub queues: BTreeMap<QueueName, Waits>,
    /// Whether there was too much to play to the end; what is left may start all the same.
    pub cut: bool,
}

/// Plays until nothing happens any more, from a copy of the state, after a change of policy if there is one.
pub fn backlog(
    state: &State,
    now: Timestamp,
    durations: &Durations,
    running_for: &BTreeMap<RunId, Span>,
    change: Option<&RevisionApplied>,
) -> Backlog {
    let mut clock = Clockwork::new(state.clone(), now, None);
    let queues: BTreeMap<RunId, QueueName> = state.runs().map(|view| (view.id, view.queue.clone())).collect();
    let takes = |run: RunId, so_far| match queues.get(&run) {
        Some(queue) => durations.left(queue, so_far, (run.0.as_u128() ^ (run.0.as_u128() >> 64)) as u64),
        None => Span(1),
    };
    let mut waiting: BTreeMap<RunId, QueueName> = BTreeMap::new();
    for view in state.runs().filter(|view| !view.pipeline) {
        if view.status.holds_slot() {
            let left = takes(view.id, running_for.get(&view.id).copied().unwrap_or_default());
            clock.ends_at(AttemptName { run: view.id, attempt: Attempt(view.attempt) }, now.after(left));
        } else if matches!(view.status, Status::Compiled | Status::Queued | Status::Retrying) {
            waiting.insert(view.id, view.queue.clone());
        }
    }
    if let Some(revision) = change {
        clock.state.apply(now, &Event::RevisionApplied(Box::new(revision.clone())));
        // An agent that is new is taken to be there; one that cannot be reached now stays so.
        let known = |name| state.agents().any(|agent| agent.name == name);
        let new = revision.agents.iter().filter(|(name, policy)| policy.is_some() && !known(*name));
        new.for_each(|(name, _)| clock.state.set_agent_up(name, true));
    }
    play(clock, waiting, &takes)
}

fn play(mut clock: Clockwork, mut waiting: BTreeMap<RunId, QueueName>, takes: &dyn Fn(RunId, Span) -> Span) -> Backlog {
    let now = clock.now;
    let mut found = Backlog::default();
    let mut waits: BTreeMap<QueueName, Vec<u64>> = BTreeMap::new();
    let mut events = 0usize;
    while !waiting.is_empty() {
        clock.pass(&mut |run| takes(run, Span(0)), &mut |at, event| {
            events += 1;
            match event {
                Event::RunScheduled { run, .. } => {
                    if let Some(queue) = waiting.remove(run) {
                        waits.entry(queue).or_default().push(at.since(now).0);
                    }
                }
                Event::RunFinished { run, .. } => {
                    if let Some(queue) = waiting.remove(run) {
                        found.queues.entry(queue).or_default().stopped += 1;
                    }
                }
                _ => {}
            }
        });
        found.cut = events >= FORECAST_EVENTS;
        match clock.next().filter(|_| !found.cut) {
            Some(next) => clock.now = next,
            None => break,
        }
    }
    waiting.into_values().for_each(|queue| found.queues.entry(queue).or_default().left += 1);
    for (queue, mut waits) in waits {
        waits.sort_unstable();
        let n = waits.len();
        let item = found.queues.entry(queue).or_default();
        item.started = n as u64;
        item.mean = Some(Span(waits.iter().sum::<u64>() / n as u64));
        item.p90 = waits.get((n * 90).div_ceil(100) - 1).map(|wait| Span(*wait));
        item.last = waits.last().map(|wait| Span(*wait));
    }
    found
}
