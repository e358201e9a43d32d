//! What a command comes to: events, or a refusal. Deciding changes nothing.

use super::command::{Command, Outcome, Rejection};
use super::event::{Event, NewRun, RevisionApplied};
use super::gates::GateOwner;
use super::observation::{Cause, DEADLINE_EXCEEDED, Observation, Seen};
use super::state::State;
use super::status::Status;
use super::table::{MAX_RUNS, RunIx};
use crate::domain::ids::{Attempt, CommitId, RunId};
use crate::domain::spec::WhenBusy;
use crate::domain::time::{Span, Timestamp};

/// Wait before the second attempt; each further wait is twice as long (Kubernetes' back-off of Jobs).
pub const FIRST_RETRY: Span = Span::seconds(10);
/// Longest wait between attempts (Kubernetes' back-off of Jobs).
pub const LONGEST_RETRY: Span = Span::seconds(360);

/// Reasons of a failure that another attempt would only repeat.
const HOPELESS: [&str; 5] = [DEADLINE_EXCEEDED, "NoCommand", "CannotStart", "UnsupportedKind", "UnsupportedField"];

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What has happened; to be applied and stored in this order.
    pub events: Vec<Event>,
    /// What the command came to.
    pub outcome: Outcome,
}

impl Decision {
    fn events(events: Vec<Event>) -> Self {
        let outcome = if events.is_empty() { Outcome::Already } else { Outcome::Done };
        Self { events, outcome }
    }

    fn refused(rejection: Rejection) -> Self {
        Self { events: Vec::new(), outcome: Outcome::Refused(rejection) }
    }
}

/// Decides on one command.
pub fn decide(state: &State, now: Timestamp, command: &Command) -> Decision {
    let result = match command {
        Command::ApplyRevision { based_on, revision, starts, stops } => {
            apply(state, now, based_on, revision, starts, stops)
        }
        Command::Submit(runs) => submit(state, now, runs, None),
        Command::Stop { run, by } => stop(state, now, *run, &Cause::new("StoppedByUser", format!("stopped by {by}")))
            .ok_or(Rejection::NoSuchRun(*run)),
        Command::Approve { run, by } => approve(state, *run, by),
        Command::ChangeQueue { queue, policy, by } => match state.queues.queue_of.get(queue) {
            None => Err(Rejection::NoSuchQueue(queue.clone())),
            Some(ix) if state.queues.queues[*ix].removed => Err(Rejection::QueueRemoved(queue.clone())),
            Some(ix) if state.queues.queues[*ix].policy == **policy => Ok(Vec::new()),
            Some(_) => {
                Ok(vec![Event::QueueChanged { queue: queue.clone(), policy: (**policy).clone(), by: by.clone() }])
            }
        },
        Command::Delete { run } => match state.runs.find(*run) {
            Some(_) => Err(Rejection::NotFinished(*run)),
            None => Ok(vec![Event::RunDeleted { run: *run }]),
        },
        Command::Observe(observation) => Ok(observe(state, now, observation)),
    };
    result.map_or_else(Decision::refused, Decision::events)
}

type Decided = Result<Vec<Event>, Rejection>;

fn apply(
    state: &State,
    now: Timestamp,
    based_on: &Option<CommitId>,
    revision: &RevisionApplied,
    starts: &[NewRun],
    stops: &[RunId],
) -> Decided {
    let applied = state.applied().map(|applied| applied.commit.clone());
    if applied != *based_on {
        return Err(Rejection::Stale { planned: based_on.clone(), applied });
    }
    let gone = Cause::new("WorkflowRemoved", "its workflow was removed with onRemove");
    let mut events = vec![Event::RevisionApplied(Box::new(revision.clone()))];
    events.extend(stops.iter().filter_map(|run| stop(state, now, *run, &gone)).flatten());
    events.extend(submit(state, now, starts, Some(revision))?);
    Ok(events)
}

/// Starts runs; those that are known already are passed over, so that asking twice is harmless.
fn submit(state: &State, now: Timestamp, runs: &[NewRun], with: Option<&RevisionApplied>) -> Decided {
    if state.runs.len() + runs.len() > MAX_RUNS {
        return Err(Rejection::TooManyRuns(state.runs.len()));
    }
    let mut events = Vec::new();
    for run in runs {
        if state.runs.find(run.id).is_some() || state.finished_recently(run.id) {
            continue;
        }
        let made = with.is_some_and(|revision| matches!(revision.queues.get(&run.queue), Some(Some(_))));
        match state.queues.queue_of.get(&run.queue) {
            None if !made => return Err(Rejection::NoSuchQueue(run.queue.clone())),
            Some(ix) if state.queues.queues[*ix].removed && !made => {
                return Err(Rejection::QueueRemoved(run.queue.clone()));
            }
            _ => {}
        }
        if let Some(parent) = run.parent
            && state.runs.find(parent).is_none_or(|ix| state.runs[ix].pipeline.is_none())
        {
            return Err(Rejection::NoSuchPipeline(parent));
        }
        let superseded = supersede(state, now, run);
        events.push(Event::RunCreated(Box::new(run.clone())));
        match superseded {
            Supersession::Goes(others) => events.splice(events.len() - 1..events.len() - 1, others).for_each(drop),
            Supersession::Skipped(cause) => {
                events.push(finished(run.id, Status::Skipped, cause, now));
                continue;
            }
        }
        if run.pipeline.is_some() && run.parent.is_none() && run.group.is_none() {
            events.push(Event::RunProgressed {
                run: run.id,
                attempt: Attempt(1),
                status: Status::Running,
                cause: None,
                at: now,
            });
        }
    }
    Ok(events)
}

/// What a new run does to those of its group.
enum Supersession {
    /// It goes on, after these events.
    Goes(Vec<Event>),
    /// It does not start.
    Skipped(Cause),
}

fn supersede(state: &State, now: Timestamp, run: &NewRun) -> Supersession {
    let Some(group) = &run.group else { return Supersession::Goes(Vec::new()) };
    let owner = GateOwner::Group(run.project.clone(), group.group.clone());
    let Some(gate) = state.gates.find(&owner) else { return Supersession::Goes(Vec::new()) };
    let waiting = state.gates[gate].leaves.iter(&state.runs).chain(state.gates[gate].pipelines.iter(&state.runs));
    let waiting: Vec<RunId> = waiting.map(|ix| state.runs[ix].id).collect();
    if state.gates[gate].inflight as usize + waiting.len() < group.limit as usize {
        return Supersession::Goes(Vec::new());
    }
    let cause = Cause::new("Superseded", format!("run {} of group {} took its place", run.id, group.group));
    let stop_all =
        |runs: Vec<RunId>| runs.into_iter().filter_map(|id| stop(state, now, id, &cause)).flatten().collect();
    match group.when_busy {
        WhenBusy::Queue => Supersession::Goes(Vec::new()),
        WhenBusy::ReplaceQueued => Supersession::Goes(stop_all(waiting)),
        WhenBusy::CancelRunning => {
            let passed = state.runs.iter().filter(|(_, other)| other.gate == Some(gate)).map(|(_, other)| other.id);
            Supersession::Goes(stop_all(passed.collect()))
        }
        WhenBusy::Skip => Supersession::Skipped(Cause::new(
            "GroupBusy",
            format!("group {} has {} unfinished, its limit", group.group, group.limit),
        )),
    }
}

/// Stops a run; `None` when there is no such unfinished run.
pub(super) fn stop(state: &State, now: Timestamp, id: RunId, cause: &Cause) -> Option<Vec<Event>> {
    let ix = state.runs.find(id)?;
    Some(match state.runs[ix].status {
        Status::Stopping => Vec::new(),
        status if status.holds_slot() && state.runs[ix].pipeline.is_none() => {
            vec![Event::RunStopping { run: id, cause: cause.clone() }]
        }
        _ => vec![finished(id, Status::Stopped, cause.clone(), now)],
    })
}

fn approve(state: &State, id: RunId, by: &str) -> Decided {
    let ix = state.runs.find(id).ok_or(Rejection::NoSuchRun(id))?;
    match state.runs[ix].status {
        Status::Created => Ok(vec![Event::RunApproved { run: id, by: by.to_owned() }]),
        _ => Err(Rejection::NotWaiting(id)),
    }
}

fn finished(run: RunId, status: Status, cause: Cause, at: Timestamp) -> Event {
    Event::RunFinished { run, status, cause, exit_code: None, outputs: serde_json::Map::new(), at }
}

/// Takes the word of a target: only about the present attempt of a run that holds a slot, and only forwards.
fn observe(state: &State, now: Timestamp, observation: &Observation) -> Vec<Event> {
    let current = |ix: &RunIx| {
        let run = &state.runs[*ix];
        run.attempt == observation.attempt.attempt.0 && run.status.holds_slot() && run.pipeline.is_none()
    };
    let Some(ix) = state.runs.find(observation.attempt.run).filter(current) else { return Vec::new() };
    let (run, attempt) = (observation.attempt.run, observation.attempt.attempt);
    let progressed = |status, cause| vec![Event::RunProgressed { run, attempt, status, cause, at: observation.at }];
    let status = state.runs[ix].status;
    let ended = |status, cause: &Cause, exit_code, outputs: &serde_json::Map<_, _>| {
        let (cause, outputs) = (cause.clone(), outputs.clone());
        vec![Event::RunFinished { run, status, cause, exit_code, outputs, at: observation.at }]
    };
    match &observation.seen {
        Seen::Starting if status == Status::Scheduled => progressed(Status::Starting, None),
        Seen::Running if matches!(status, Status::Scheduled | Status::Starting | Status::Warning) => {
            progressed(Status::Running, None)
        }
        Seen::Warning(cause) if !matches!(status, Status::Stopping | Status::Warning) => {
            progressed(Status::Warning, Some(cause.clone()))
        }
        Seen::Starting | Seen::Running | Seen::Warning(_) => Vec::new(),
        Seen::Succeeded { outputs } => ended(Status::Succeeded, &Cause::default(), Some(0), outputs),
        Seen::Failed { cause, exit_code, outputs } if status == Status::Stopping => {
            ended(Status::Stopped, cause, *exit_code, outputs)
        }
        Seen::Failed { cause, exit_code, outputs } => {
            let again = attempt.0 <= state.runs[ix].max_retries && !HOPELESS.contains(&cause.reason.as_str());
            if again {
                vec![Event::RunRetrying { run, attempt, until: now.after(back_off(attempt)), cause: cause.clone() }]
            } else {
                ended(Status::Failed, cause, *exit_code, outputs)
            }
        }
        Seen::Stopped(cause) => ended(Status::Stopped, cause, None, &serde_json::Map::new()),
    }
}

/// The wait after a failed attempt.
fn back_off(attempt: Attempt) -> Span {
    let doubled = FIRST_RETRY.0.saturating_mul(1u64.checked_shl(attempt.0.saturating_sub(1)).unwrap_or(u64::MAX));
    Span(doubled.min(LONGEST_RETRY.0))
}
