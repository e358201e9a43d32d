//! `hyperopt`: rounds of suggestions by tpe, at random, or by annealing (Bergstra et al. 2011 and their library).
//!
//! A round begins when all runs of the one before have ended. Of tpe's first ten observations all are drawn at random;
//! then the better fifth of the runs makes one density for each param, the others another, and of 24 draws from the
//! good one the one is taken that is likelier there than among the others. Annealing draws near one of the best, ever
//! nearer the more is known.

use std::collections::BTreeSet;

use super::draw::Stream;
use super::parzen::{Axis, Density};
use super::random::Random;
use super::{Failure, Next, Outcome, Params, Past, Suggestion, grid};
use crate::domain::spec::matrix::{self, Algorithm};

/// Observations before tpe learns.
const STARTUP: usize = 10;
/// Draws of which tpe takes the best.
const CANDIDATES: usize = 24;
/// The part of the runs that counts as good.
const GOOD: f64 = 0.2;
/// How fast annealing comes nearer: the range after T observations is 1 / (1 + T · this) of the whole.
const SHRINK: f64 = 0.1;
/// Draws until the space counts as used up.
const MAX_TRIES: usize = 256;
/// The largest space that is looked through for points that are left.
const MAX_LEFT: u64 = 1 << 16;

/// Rounds of suggestions.
#[derive(Debug, Clone)]
pub struct Hyperopt {
    spec: matrix::Hyperopt,
    seed: u64,
    axes: Vec<(String, Axis)>,
    random: Random,
}

impl Hyperopt {
    /// The suggestions of a search.
    pub fn new(spec: matrix::Hyperopt, seed: u64) -> Self {
        let seed = spec.seed.unwrap_or(seed);
        let axes = spec.params.iter().map(|(name, of)| (name.clone(), Axis::of(of))).collect();
        let all = spec.num_runs.saturating_mul(spec.max_iterations.unwrap_or(1));
        let random = Random::new(&spec.params, all, seed);
        Self { spec, seed, axes, random }
    }

    /// How many suggestions there are at most.
    pub fn total(&self) -> u64 {
        self.random.total()
    }

    pub(super) fn next(&mut self, past: &Past<'_>, free: u64) -> Next {
        let taken = past.trials.len() as u64;
        let pending = past.trials.iter().any(|trial| trial.outcome == Outcome::Pending);
        let observed = past.trials.iter().any(|trial| matches!(trial.outcome, Outcome::Observed(_)));
        let (round, begun) = (taken / self.spec.num_runs, taken % self.spec.num_runs);
        if begun == 0 && taken > 0 {
            if pending {
                return Next::Wait;
            }
            if !observed {
                return Next::Fail(Failure::NothingObserved);
            }
        }
        if taken >= self.total() {
            return Next::Done;
        }
        // What a round knows is what had ended before it: its suggestions do not depend on when slots become free.
        let known = &past.trials[..(taken - begun) as usize];
        let many = free.min(self.spec.num_runs - begun).min(self.total() - taken);
        if many == 0 {
            return Next::Wait;
        }
        let mut tried: BTreeSet<String> = past.trials.iter().map(|trial| self.key(&trial.params)).collect();
        let mut seen: Vec<(f64, Vec<f64>)> = Vec::new();
        for trial in known {
            let Outcome::Observed(value) = trial.outcome else { continue };
            let places = self.axes.iter().map(|(name, axis)| axis.place(trial.params.get(name)?));
            if let Some(places) = places.collect::<Option<Vec<f64>>>() {
                seen.push((self.spec.metric.optimization.score(value), places));
            }
        }
        // The best first; of equals, the older.
        seen.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut made = Vec::new();
        for index in taken..taken + many {
            let mut stream = Stream::of(self.seed, "hyperopt", index);
            let Some(params) = self.fresh(index, &seen, &tried, &mut stream) else { break };
            tried.insert(self.key(&params));
            made.push(Suggestion { index, iteration: round, bracket_iteration: None, params, resumes: None });
        }
        match (made.is_empty(), pending) {
            (false, _) => Next::Suggest(made),
            (true, true) => Next::Wait,
            (true, false) => Next::Done,
        }
    }

    /// Params that have not been tried.
    fn fresh(
        &mut self,
        index: u64,
        seen: &[(f64, Vec<f64>)],
        tried: &BTreeSet<String>,
        stream: &mut Stream,
    ) -> Option<Params> {
        let learned = {
            let is_new = |params: &Params| !tried.contains(&self.key(params));
            match self.spec.algorithm {
                Algorithm::Tpe if seen.len() >= STARTUP => self.tpe(seen, stream, is_new),
                Algorithm::Anneal if !seen.is_empty() => (0..MAX_TRIES).map(|_| self.anneal(seen, stream)).find(is_new),
                _ => None,
            }
        };
        if learned.is_some() {
            return learned;
        }
        let drawn = self.random.point(index);
        let is_new = |params: &Params| !tried.contains(&self.key(params));
        let space = &self.spec.params;
        let draw = |stream: &mut Stream| space.iter().map(|(name, of)| (name.clone(), stream.value(of))).collect();
        let again = || (0..MAX_TRIES).map(|_| draw(stream)).find(is_new);
        // A small space is looked through for what is left.
        let rest = || {
            let size = grid::size(space).filter(|size| *size <= MAX_LEFT)?;
            (0..size).map(|index| grid::point(space, index)).find(is_new)
        };
        drawn.filter(is_new).or_else(again).or_else(rest)
    }

    fn tpe(&self, seen: &[(f64, Vec<f64>)], stream: &mut Stream, is_new: impl Fn(&Params) -> bool) -> Option<Params> {
        let (good, bad) = seen.split_at((libm::ceil(GOOD * seen.len() as f64) as usize).min(seen.len()));
        let density = |runs: &[(f64, Vec<f64>)], i: usize, axis: &Axis| {
            Density::of(axis, &runs.iter().map(|(_, places)| places[i]).collect::<Vec<_>>())
        };
        let pairs: Vec<(Density, Density)> = self
            .axes
            .iter()
            .enumerate()
            .map(|(i, (_, axis))| (density(good, i, axis), density(bad, i, axis)))
            .collect();
        let mut best: Option<(f64, Params)> = None;
        for drawn in 0..MAX_TRIES {
            if drawn >= CANDIDATES && best.is_some() {
                break;
            }
            let places: Vec<f64> = pairs.iter().map(|(good, _)| good.draw(stream)).collect();
            let gain: f64 = pairs.iter().zip(&places).map(|((good, bad), at)| good.log(*at) - bad.log(*at)).sum();
            if best.as_ref().is_none_or(|(most, _)| gain > *most) {
                let params = self.params(&places);
                if is_new(&params) {
                    best = Some((gain, params));
                }
            }
        }
        best.map(|(_, params)| params)
    }

    fn anneal(&self, seen: &[(f64, Vec<f64>)], stream: &mut Stream) -> Params {
        // The best with probability ½, the second with ¼, …
        let mut rank = 0;
        while rank + 1 < seen.len() && stream.unit() < 0.5 {
            rank += 1;
        }
        let part = 1.0 / (1.0 + SHRINK * seen.len() as f64);
        let near = |((_, axis), at): (&(String, Axis), &f64)| match axis {
            Axis::List(..) if stream.unit() >= part => *at,
            Axis::List(..) => Density::of(axis, &[]).draw(stream),
            Axis::Line(line) if line.normal => (at + part * line.width * stream.normal()).clamp(line.low, line.high),
            Axis::Line(line) => {
                let half = part * (line.high - line.low) / 2.0;
                // At an end of the line the range is moved, not cut.
                let middle = at.clamp(line.low + half, line.high - half);
                middle + half * (2.0 * stream.unit() - 1.0)
            }
        };
        let places: Vec<f64> = self.axes.iter().zip(&seen[rank].1).map(near).collect();
        self.params(&places)
    }

    fn params(&self, places: &[f64]) -> Params {
        self.axes.iter().zip(places).map(|((name, axis), at)| (name.clone(), axis.value(*at))).collect()
    }

    /// Params as something that can be looked up: in the order of the search, numbers in one form.
    fn key(&self, params: &Params) -> String {
        let part = |(name, _): &(String, Axis)| match params.get(name) {
            None => String::new(),
            Some(value) => value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string()),
        };
        self.axes.iter().map(part).collect::<Vec<_>>().join("\n")
    }
}
