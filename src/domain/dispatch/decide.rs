//! What a command comes to: events, or a refusal. Deciding changes nothing.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::cached::taken_over;
use super::command::{Command, Outcome, Rejection};
use super::event::{Event, NewRun, RevisionApplied};
use super::forget::forget;
use super::gates::GateOwner;
use super::hooks::follow;
use super::observation::{Cause, DEADLINE_EXCEEDED, LOST, Observation, Seen};
use super::pipelines::{advance, stop};
use super::preparing::{Stage, prepare};
use super::schedules;
use super::state::State;
use super::status::Status;
use super::table::{MAX_RUNS, RunIx};
use crate::domain::ids::{Attempt, CommitId, QueueName, RunId};
use crate::domain::spec::WhenBusy;
use crate::domain::time::{Span, Timestamp};

/// Wait before the second attempt; each further wait is twice as long (Kubernetes' back-off of Jobs).
pub const FIRST_RETRY: Span = Span::seconds(10);
/// Longest wait between attempts (Kubernetes' back-off of Jobs).
pub const LONGEST_RETRY: Span = Span::seconds(360);

/// Reasons of a failure that another attempt would only repeat, or run beside.
const HOPELESS: [&str; 10] = [
    DEADLINE_EXCEEDED,
    LOST,
    "NoCommand",
    "CannotStart",
    "UnsupportedKind",
    "UnsupportedField",
    "NoImage",
    "NoReplicas",
    "AdmissionDenied",
    "InvalidObject",
];

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
        Command::Submit(runs) => submit(Draft::new(state, now), runs, None),
        Command::Advance(step) => advance(state, now, step),
        Command::Prepare(of) => prepare(state, now, of),
        Command::Follow(of) => follow(state, now, of),
        Command::Arm(wanted) => Ok(schedules::arm(state, wanted)),
        Command::Fire(fire) => schedules::fire(state, now, fire),
        Command::Stop { run, by } => {
            let cause = Cause::new("StoppedByUser", format!("stopped by {by}"));
            stop(state, now, *run, Status::Stopped, &cause).ok_or(Rejection::NoSuchRun(*run))
        }
        Command::Approve { run, by } => approve(state, now, *run, by),
        Command::ChangeQueue { queue, policy, by } => match state.queues.queue_of.get(queue) {
            None => Err(Rejection::NoSuchQueue(queue.clone())),
            Some(ix) if state.queues.queues[*ix].removed => Err(Rejection::QueueRemoved(queue.clone())),
            Some(ix) if state.queues.queues[*ix].policy == **policy => Ok(Vec::new()),
            Some(_) => {
                Ok(vec![Event::QueueChanged { queue: queue.clone(), policy: (**policy).clone(), by: by.clone() }])
            }
        },
        Command::Forget { agent, by } => forget(state, now, agent, by),
        Command::Delete { run } => match state.runs.find(*run) {
            Some(_) => Err(Rejection::NotFinished(*run)),
            None => Ok(vec![Event::RunDeleted { run: *run }]),
        },
        Command::Note { run, notes } => Ok(note(state, *run, notes)),
        Command::Observe(observation) => Ok(observe(state, now, observation)),
    };
    result.map_or_else(Decision::refused, Decision::events)
}

pub(super) type Decided = Result<Vec<Event>, Rejection>;

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
    let mut draft = Draft::new(state, now);
    draft.events.push(Event::RevisionApplied(Box::new(revision.clone())));
    stops.iter().for_each(|run| draft.stop(*run, &gone));
    submit(draft, starts, Some(revision))
}

/// What one command has come to so far, so that its later parts see the earlier ones.
pub(super) struct Draft<'a> {
    pub state: &'a State,
    pub now: Timestamp,
    pub events: Vec<Event>,
    /// Runs that it makes.
    pub made: IndexMap<RunId, &'a NewRun>,
    /// Runs that it ends or tells to stop.
    pub ended: BTreeSet<RunId>,
}

impl<'a> Draft<'a> {
    pub fn new(state: &'a State, now: Timestamp) -> Self {
        Self { state, now, events: Vec::new(), made: IndexMap::new(), ended: BTreeSet::new() }
    }

    /// Stops a run, once, wherever it comes from.
    pub fn stop(&mut self, run: RunId, cause: &Cause) {
        if self.ended.contains(&run) {
            return;
        }
        if self.made.contains_key(&run) {
            self.stop_made_below(run, cause);
            self.finish(run, Status::Stopped, cause.clone());
            return;
        }
        for event in stop(self.state, self.now, run, Status::Stopped, cause).into_iter().flatten() {
            let (Event::RunFinished { run, .. } | Event::RunStopping { run, .. } | Event::PipelineStopping { run, .. }) =
                &event
            else {
                continue;
            };
            let run = *run;
            if !self.ended.contains(&run) {
                self.stop_made_below(run, cause);
                self.ended.insert(run);
                self.events.push(event);
            }
        }
    }

    /// Stops the children that this command has made for a pipeline, before the pipeline itself.
    fn stop_made_below(&mut self, pipeline: RunId, cause: &Cause) {
        let below = self.made.values().filter(|run| run.parent == Some(pipeline)).map(|run| run.id);
        below.collect::<Vec<_>>().into_iter().for_each(|child| self.stop(child, cause));
    }

    pub fn finish(&mut self, run: RunId, status: Status, cause: Cause) {
        self.events.push(finished(run, status, cause, self.now));
        self.ended.insert(run);
    }

    /// Whether there is a pipeline of this id that takes children: it runs, at the latest with this command.
    fn has_pipeline(&self, id: RunId) -> bool {
        let takes = |ix: RunIx| self.state.runs[ix].pipeline.is_some() && self.state.runs[ix].status == Status::Running;
        let stored = || self.state.runs.find(id).is_some_and(takes);
        !self.ended.contains(&id) && (self.made.get(&id).is_some_and(|run| begins_at_once(run)) || stored())
    }
}

/// Starts runs; those that are known already are passed over, so that asking twice is harmless.
fn submit<'a>(mut draft: Draft<'a>, runs: &'a [NewRun], with: Option<&RevisionApplied>) -> Decided {
    for run in runs {
        create(&mut draft, run, with)?;
    }
    Ok(draft.events)
}

/// Starts one run; the flag says that it was not known before.
pub(super) fn create<'a>(
    draft: &mut Draft<'a>,
    run: &'a NewRun,
    with: Option<&RevisionApplied>,
) -> Result<bool, Rejection> {
    let state = draft.state;
    if state.runs.find(run.id).is_some() || has_ended(state, run) || draft.made.contains_key(&run.id) {
        return Ok(false);
    }
    if state.runs.len() + draft.made.len() >= MAX_RUNS {
        return Err(Rejection::TooManyRuns(state.runs.len()));
    }
    takes_runs(state, &run.queue, with)?;
    if let Some(parent) = run.parent.filter(|parent| !draft.has_pipeline(*parent)) {
        return Err(Rejection::NoSuchPipeline(parent));
    }
    let skipped = supersede(draft, run);
    draft.events.push(Event::RunCreated(Box::new(run.clone())));
    draft.made.insert(run.id, run);
    if let Some(cause) = skipped {
        draft.finish(run.id, Status::Skipped, cause);
    } else if let Some(kept) = state.cached.hit(run, draft.now) {
        draft.events.push(taken_over(run.id, kept, draft.now));
        draft.ended.insert(run.id);
    } else if begins_at_once(run) {
        let attempt = run.resumes.as_ref().map_or(0, |resumed| resumed.attempt.0);
        draft.events.push(begins(run.id, attempt, draft.now));
    }
    Ok(true)
}

/// Whether a run is known to have ended since it was asked for, or since that which it is to go on from.
fn has_ended(state: &State, run: &NewRun) -> bool {
    let before = run.resumes.as_ref().map(|resumed| resumed.attempt.0);
    state.recent.attempt(run.id).is_some_and(|attempt| before.is_none_or(|before| attempt > before))
}

/// Whether a new run is a pipeline that runs as soon as it is made.
fn begins_at_once(run: &NewRun) -> bool {
    let waits = run.parent.is_some() || run.group.is_some() || run.needs_approval || run.unprepared;
    run.pipeline.is_some() && !waits
}

/// Whether a queue takes runs, once the revision that comes with them is applied.
fn takes_runs(state: &State, queue: &QueueName, with: Option<&RevisionApplied>) -> Result<(), Rejection> {
    let declared = with.and_then(|revision| {
        let known = |old: &QueueName| state.queues.queue_of.contains_key(old);
        let new_name = revision.renamed.iter().any(|(old, new)| new == queue && known(old)).then_some(true);
        let renamed = new_name.or(revision.renamed.contains_key(queue).then_some(false));
        revision.queues.get(queue).map(Option::is_some).or(renamed)
    });
    match (declared, state.queues.queue_of.get(queue)) {
        (Some(true), _) => Ok(()),
        (Some(false), _) => Err(Rejection::QueueRemoved(queue.clone())),
        (None, None) => Err(Rejection::NoSuchQueue(queue.clone())),
        (None, Some(ix)) if state.queues.queues[*ix].removed => Err(Rejection::QueueRemoved(queue.clone())),
        (None, Some(_)) => Ok(()),
    }
}

/// A pipeline runs, for the first time or once more.
pub(super) fn begins(run: RunId, before: u32, at: Timestamp) -> Event {
    Event::RunProgressed { run, attempt: Attempt(before + 1), status: Status::Running, cause: None, at }
}

/// Does to the others of its group what a new run asks for; a cause when the run itself does not start.
fn supersede(draft: &mut Draft<'_>, run: &NewRun) -> Option<Cause> {
    // Who queues does nothing to the others, and there may be many.
    let group = run.group.as_ref().filter(|group| run.parent.is_none() && group.when_busy != WhenBusy::Queue)?;
    let owner = GateOwner::Group(run.project.clone(), group.group.clone());
    let state = draft.state;
    let gate = state.gates.find(&owner);
    let same = |other: &NewRun| {
        other.parent.is_none()
            && other.project == run.project
            && other.group.as_ref().is_some_and(|other| other.group == group.group)
    };
    let of_batch: Vec<RunId> = draft.made.values().filter(|other| same(other)).map(|other| other.id).collect();
    let stored = gate.map_or(0, |ix| {
        let gate = &state.gates[ix];
        gate.inflight as usize + gate.leaves.len() as usize + gate.pipelines.len() as usize
    });
    if stored + of_batch.len() < group.limit as usize {
        return None;
    }
    let members = gate.map(|gate| state.members(gate)).unwrap_or_default();
    let members = members.into_iter().map(|ix| &state.runs[ix]);
    let waits = |status| matches!(status, Status::Created | Status::Compiled | Status::Queued | Status::Retrying);
    let members = members.map(|other| (other.id, waits(other.status), other.status != Status::Created));
    let made = of_batch.into_iter().map(|id| (id, true, !draft.made[&id].needs_approval));
    let members: Vec<_> = members.chain(made).filter(|(id, ..)| !draft.ended.contains(id)).collect();
    if members.iter().filter(|(_, _, counts)| *counts).count() < group.limit as usize {
        return None;
    }
    let cause = Cause::new("Superseded", format!("run {} of group {} took its place", run.id, group.group));
    match group.when_busy {
        WhenBusy::Queue => {}
        WhenBusy::ReplaceQueued => {
            members.iter().filter(|(_, waits, _)| *waits).for_each(|(id, ..)| draft.stop(*id, &cause));
        }
        WhenBusy::CancelRunning => members.iter().for_each(|(id, ..)| draft.stop(*id, &cause)),
        WhenBusy::Skip => {
            let message = format!("group {} has {} unfinished, its limit", group.group, group.limit);
            return Some(Cause::new("GroupBusy", message));
        }
    }
    None
}

fn approve(state: &State, now: Timestamp, id: RunId, by: &str) -> Decided {
    let ix = state.runs.find(id).ok_or(Rejection::NoSuchRun(id))?;
    let run = &state.runs[ix];
    let stage = state.preparing.get(&id).map(|open| open.stage);
    if run.status != Status::Created || stage.is_some_and(|stage| stage != Stage::Approval) {
        return Err(Rejection::NotWaiting(id));
    }
    let mut events = vec![Event::RunApproved { run: id, by: by.to_owned() }];
    if stage.is_none() && state.begins_at_once(ix) {
        events.push(begins(id, run.attempt, now));
    }
    Ok(events)
}

pub(super) fn finished(run: RunId, status: Status, cause: Cause, at: Timestamp) -> Event {
    Event::RunFinished { run, status, cause, exit_code: None, outputs: serde_json::Map::new(), at }
}

/// What is said of a run is said once, however often its attempts are launched.
fn note(state: &State, id: RunId, notes: &[Cause]) -> Vec<Event> {
    let fresh = state.runs.find(id).is_some_and(|ix| !state.runs[ix].noted);
    let notes = notes.iter().filter(|_| fresh);
    notes.map(|note| Event::RunNoted { run: id, note: note.clone() }).collect()
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
        Seen::Delayed(cause) if status == Status::Scheduled => progressed(Status::Scheduled, Some(cause.clone())),
        Seen::Starting if status == Status::Scheduled => progressed(Status::Starting, None),
        Seen::Running if matches!(status, Status::Scheduled | Status::Starting | Status::Warning) => {
            progressed(Status::Running, None)
        }
        Seen::Warning(cause) if !matches!(status, Status::Stopping | Status::Warning) => {
            progressed(Status::Warning, Some(cause.clone()))
        }
        Seen::Delayed(_) | Seen::Starting | Seen::Running | Seen::Warning(_) => Vec::new(),
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
