//! When a run may expect to start: the real dispatcher, run ahead from copies of the state with durations drawn from
//! those that ended lately.
//!
//! It is as honest as it can be: what comes later and goes first is not foreseen, the children that pipelines will make
//! are not there yet, and every attempt is taken to end well. So it says what it rests on.

use std::collections::BTreeMap;

use super::clock::Clockwork;
use crate::domain::dispatch::State;
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Attempt, AttemptName, QueueName, RunId};
use crate::domain::time::{Span, Timestamp};

/// How often the future is played, each time with other durations.
const FUTURES: u64 = 20;
/// Events of all futures together: about half a second of work.
pub const FORECAST_EVENTS: usize = 200_000;
/// Unfinished runs beyond which nothing is copied: the copy would hold up the loop for too long.
pub const FORECAST_RUNS: usize = 50_000;
/// How far ahead is played: who has not started by then may wait for something that does not come by itself. Without
/// an end, windows that open and close would be played for ever.
pub const FORECAST_HORIZON: Span = Span::seconds(30 * 86_400);
/// Durations below which a forecast is weak, and from which it is fair.
const FEW: usize = 5;
const MANY: usize = 50;

/// How long runs took lately, by queue.
#[derive(Debug, Clone, Default)]
pub struct Durations {
    by_queue: BTreeMap<QueueName, Vec<Span>>,
    all: Vec<Span>,
}

impl Durations {
    /// Notes how long a run of a queue took.
    pub fn add(&mut self, queue: QueueName, took: Span) {
        self.by_queue.entry(queue).or_default().push(took);
        self.all.push(took);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// What one that has run for so long has still to go: drawn by a number from those that took longer.
    pub(super) fn left(&self, queue: &QueueName, for_so_long: Span, number: u64) -> Span {
        let longer: Vec<u64> = self.of(queue).iter().filter(|took| **took > for_so_long).map(|took| took.0).collect();
        if longer.is_empty() {
            // It takes longer than any before: as long again is the usual guess.
            return Span(for_so_long.0.max(1));
        }
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let drawn = longer[((mixed ^ (mixed >> 31)) % longer.len() as u64) as usize];
        Span((drawn - for_so_long.0).max(1))
    }

    /// Those of a queue; of all queues while that has none.
    fn of(&self, queue: &QueueName) -> &[Span] {
        self.by_queue.get(queue).map_or(&self.all, |some| some)
    }
}

/// How far a forecast can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// A handful of durations, or those of other queues.
    Low,
    /// Some durations of its queue.
    Fair,
    /// Many durations of its queue.
    Good,
}

/// When a run may expect to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Half of the futures had it started after that; `None` when fewer did at all within [`FORECAST_HORIZON`].
    pub p50: Option<Span>,
    /// Nine of ten had.
    pub p90: Option<Span>,
    /// How many durations of its queue (or of all, when it has none) this rests on.
    pub samples: usize,
    /// How far to rely on it.
    pub confidence: Confidence,
    /// Whether no future could be played up to its start or its end: there is too much before it, and nothing is known.
    pub too_much: bool,
}

/// Plays the future of a waiting run. `running_for` says how long those that run have run. `None` when there is nothing to
/// go by: the run does not wait, nothing has ended lately, or there are more than [`FORECAST_RUNS`] runs.
pub fn forecast(
    state: &State,
    now: Timestamp,
    durations: &Durations,
    running_for: &BTreeMap<RunId, Span>,
    run: RunId,
) -> Option<Forecast> {
    forecast_within(FORECAST_EVENTS, state, now, durations, running_for, run)
}

/// As [`forecast`], with so many events of all futures together.
pub fn forecast_within(
    mut events: usize,
    state: &State,
    now: Timestamp,
    durations: &Durations,
    running_for: &BTreeMap<RunId, Span>,
    run: RunId,
) -> Option<Forecast> {
    let view = state.run(run)?;
    let waits = matches!(view.status, Status::Compiled | Status::Queued | Status::Retrying);
    let samples = durations.of(view.queue).len();
    if !waits || samples == 0 || state.unfinished() > FORECAST_RUNS {
        return None;
    }
    let own = durations.by_queue.contains_key(view.queue);
    let queues: BTreeMap<RunId, &QueueName> = state.runs().map(|view| (view.id, view.queue)).collect();
    let mut played = 0;
    let mut starts: Vec<u64> = Vec::new();
    while played < FUTURES && events > 0 {
        let mut future = Future { durations, queues: &queues, random: played.wrapping_mul(0x9E37_79B9_7F4A_7C15) };
        match future.play(state, now, running_for, run, &mut events) {
            End::Starts(after) => starts.push(after.0),
            End::Never => {}
            End::BrokenOff => break,
        }
        played += 1;
    }
    starts.sort_unstable();
    let at = |percent: u64| {
        let place = (played * percent).div_ceil(100).max(1) as usize;
        starts.get(place - 1).filter(|_| played > 0).map(|millis| Span(*millis))
    };
    let confidence = match samples {
        _ if !own || played < FUTURES => Confidence::Low,
        ..FEW => Confidence::Low,
        FEW..MANY => Confidence::Fair,
        _ => Confidence::Good,
    };
    Some(Forecast { p50: at(50), p90: at(90), samples, confidence, too_much: played == 0 })
}

struct Future<'a> {
    durations: &'a Durations,
    queues: &'a BTreeMap<RunId, &'a QueueName>,
    random: u64,
}

/// What a run comes to in one future.
enum End {
    Starts(Span),
    /// Not before nothing happens any more, or before the horizon.
    Never,
    /// It was not played to an end, so it says nothing.
    BrokenOff,
}

impl Future<'_> {
    fn play(
        &mut self,
        state: &State,
        now: Timestamp,
        running_for: &BTreeMap<RunId, Span>,
        run: RunId,
        events: &mut usize,
    ) -> End {
        let (queues, horizon) = (self.queues, now.after(FORECAST_HORIZON));
        let mut clock = Clockwork::new(state.clone(), now, None);
        for view in state.runs().filter(|view| view.status.holds_slot() && !view.pipeline) {
            let for_so_long = running_for.get(&view.id).copied().unwrap_or_default();
            let left = self.left(view.queue, for_so_long);
            clock.ends_at(AttemptName { run: view.id, attempt: Attempt(view.attempt) }, now.after(left));
        }
        let mut started = None;
        loop {
            let mut takes = |id: RunId| queues.get(&id).map_or(Span(0), |queue| self.left(queue, Span(0)));
            clock.pass(&mut takes, &mut |at, event| {
                *events = events.saturating_sub(1);
                if matches!(event, Event::RunScheduled { run: id, .. } if *id == run) {
                    started.get_or_insert(at.since(now));
                }
            });
            match (started, clock.next().filter(|next| *next <= horizon)) {
                (Some(after), _) => return End::Starts(after),
                (None, None) => return End::Never,
                (None, Some(_)) if *events == 0 => return End::BrokenOff,
                (None, Some(next)) => clock.now = next,
            }
        }
    }

    fn left(&mut self, queue: &QueueName, for_so_long: Span) -> Span {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.durations.left(queue, for_so_long, self.random)
    }
}
