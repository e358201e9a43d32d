//! The progress of a matrix: which points have been tried, what came of them, and which come next.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::helper::suggestions;
use super::matrix::{Failure, Next, Outcome, Past, Suggestion, Trial, Tuner, metric};
use crate::domain::catalog::Point;
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::RunId;
use crate::domain::spec::matrix::{Matrix, Metric};

/// The name of the output in which a search reports its best run.
const BEST: &str = "best";

/// What a search wants next.
#[derive(Debug)]
pub(super) enum Want {
    /// A run with these params.
    Point(Point),
    /// The answer of its tuner to this question, counted from 0.
    Answer(u64),
}

/// How far a matrix has come.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    tuner: Tuner,
    metric: Option<Metric>,
    /// How many suggestions have become runs.
    taken: u64,
    /// Those runs by index, when the search learns from them.
    trials: Vec<Trial>,
    /// Suggestions that have not become runs.
    next: VecDeque<Suggestion>,
    /// What the user's tuner has answered, and whether it is being asked.
    answers: Vec<Vec<Map<String, Value>>>,
    asking: bool,
    /// Why its answer is of no use.
    unanswered: Option<String>,
    /// Whether asking again is of no use before a run has ended.
    waits: bool,
    complete: bool,
    failure: Option<Failure>,
    failed: u64,
    stopped: u64,
    ended: u64,
    /// The best run so far: its score, its place and its value.
    best: Option<(f64, u32, f64)>,
}

impl Sweep {
    /// A search of a run, from its beginning.
    pub fn new(matrix: &Matrix, run: RunId) -> Self {
        // A search without a seed of its own has that of its run: another run draws otherwise, the same one never.
        let seed = (run.0.as_u128() >> 64) as u64;
        Self {
            tuner: Tuner::new(&matrix.search, seed, matrix.concurrency),
            metric: metric(&matrix.search).cloned(),
            taken: 0,
            trials: Vec::new(),
            next: VecDeque::new(),
            answers: Vec::new(),
            asking: false,
            unanswered: None,
            waits: false,
            complete: false,
            failure: None,
            failed: 0,
            stopped: 0,
            ended: 0,
            best: None,
        }
    }

    /// Whether it wants to know the params of the runs that there have been.
    pub fn needs_points(&self) -> bool {
        self.tuner.needs_trials()
    }

    /// How many runs there will be at most, if that is known.
    pub fn total(&self) -> Option<u64> {
        self.tuner.total()
    }

    /// How many runs there have been.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// A run that was made before. They come in their order.
    pub fn made(&mut self, point: Option<Point>) {
        self.taken += 1;
        if let Some(point) = point {
            self.trials.push(Trial { params: point.params, outcome: Outcome::Pending });
        }
    }

    /// A run that was made before, and of which nothing is left.
    pub fn gone(&mut self) {
        self.taken += 1;
        self.ended += 1;
        self.trials.push(Trial { params: Map::new(), outcome: Outcome::Lost });
    }

    /// A run has ended.
    pub fn ended(&mut self, place: u32, status: Status, outputs: Option<&Map<String, Value>>) {
        self.waits = false;
        self.ended += 1;
        self.failed += u64::from(status == Status::Failed);
        self.stopped += u64::from(status == Status::Stopped);
        let value = self.metric.as_ref().and_then(|metric| {
            let value = outputs?.get(&metric.name)?.as_f64()?;
            (status == Status::Succeeded && value.is_finite()).then_some((metric.optimization.score(value), value))
        });
        if let Some((score, value)) = value
            && self.best.is_none_or(|(best, _, _)| score > best)
        {
            self.best = Some((score, place, value));
        }
        if let Some(trial) = self.trials.get_mut(place as usize) {
            trial.outcome = value.map_or(Outcome::Lost, |(_, value)| Outcome::Observed(value));
        }
    }

    /// The tuner is being asked.
    pub fn asked(&mut self) {
        self.asking = true;
    }

    /// The tuner has ended.
    pub fn answered(&mut self, status: Status, outputs: Option<&Map<String, Value>>) {
        (self.asking, self.waits) = (false, false);
        match (status, suggestions(outputs)) {
            (Status::Succeeded, Ok(answer)) => self.answers.push(answer),
            (Status::Succeeded, Err(why)) => self.unanswered = Some(why),
            (status, _) => self.unanswered = Some(format!("the tuner has {status}")),
        }
    }

    /// What it wants next, if anything now; so many more runs may be made.
    pub fn next(&mut self, free: u32) -> Option<Want> {
        if free == 0 || self.asking || self.unanswered.is_some() {
            return None;
        }
        if self.next.is_empty() && !self.waits && !self.complete && self.failure.is_none() {
            let past = Past { taken: self.taken, trials: &self.trials, answers: &self.answers };
            match self.tuner.next(&past, u64::from(free)) {
                Next::Suggest(suggestions) => self.next.extend(suggestions),
                Next::Wait => self.waits = true,
                Next::Done => self.complete = true,
                Next::Fail(failure) => self.failure = Some(failure),
                Next::Ask(round) => {
                    self.asked();
                    return Some(Want::Answer(round));
                }
            }
        }
        let Suggestion { index, iteration, bracket_iteration, params, resumes } = self.next.pop_front()?;
        let point = Point { index, iteration, bracket_iteration, params, resumes };
        self.made(self.needs_points().then(|| point.clone()));
        Some(Want::Point(point))
    }

    /// How it ends, once all its runs have and no more come.
    pub fn end(&self) -> Option<(Status, Cause)> {
        if self.ended < self.taken {
            return None;
        }
        if self.asking {
            return None;
        }
        if let Some(why) = &self.unanswered {
            return Some((Status::Failed, Cause::new("NoSuggestions", why.clone())));
        }
        if let Some(failure) = self.failure {
            let message = match failure {
                Failure::NothingObserved => {
                    let name = self.metric.as_ref().map(|metric| metric.name.as_str()).unwrap_or_default();
                    format!("no run has reported the metric `{name}`, so that the next ones cannot be chosen")
                }
                Failure::EmptyIteration => "no next runs were suggested".to_owned(),
            };
            return Some((Status::Failed, Cause::new("NoSuggestions", message)));
        }
        if !self.complete || !self.next.is_empty() {
            return None;
        }
        Some(if self.failed > 0 {
            let message = format!("{} of {} runs failed", self.failed, self.taken);
            (Status::Failed, Cause::new("OperationsFailed", message))
        } else if self.stopped == self.taken && self.taken > 0 {
            (Status::Stopped, Cause::new("OperationsStopped", "all runs were stopped"))
        } else {
            (Status::Succeeded, Cause::default())
        })
    }

    /// What it reports: the best value of its metric and whose it is, so that a search may be part of another.
    pub fn outputs(&self, id: impl Fn(u32) -> RunId) -> Map<String, Value> {
        let (Some(metric), Some((_, place, value))) = (&self.metric, self.best) else { return Map::new() };
        let params = self.trials.get(place as usize).map(|trial| trial.params.clone()).unwrap_or_default();
        let best = json!({ "run": id(place).to_string(), "index": place, "params": params });
        Map::from_iter([(BEST.to_owned(), best), (metric.name.clone(), json!(value))])
    }
}
