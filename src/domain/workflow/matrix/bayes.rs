//! `bayes`: points drawn at random first, then where a Gaussian process promises most.
//!
//! Features are sorted by name: a list is one column for each value, anything else one column from 0 to 1 (Polyaxon
//! takes the numbers as they are, under which one length for all of them means nothing). The metric is taken with mean
//! 0 and deviation 1, and grows with how good a point is. While runs are pending, they count as what is expected of
//! them, so that a `concurrency` above one spreads out.

use std::collections::BTreeSet;

use super::draw::{Stream, value_at};
use super::process::Process;
use super::random::Random;
use super::{Failure, Next, Outcome, Params, Past, Suggestion, grid};
use crate::domain::spec::Distribution;
use crate::domain::spec::matrix::{self, Acquisition};

/// A discrete space of at most so many points is looked at whole.
const WHOLE_SPACE: u64 = 2048;
/// Random points that are looked at, at least.
const WARMUP: u64 = 256;
/// Climbs from the best of them, at most: each costs some hundred looks.
const MAX_CLIMBS: u64 = 32;
/// Random points that are looked at, at most.
const MAX_WARMUP: u64 = 20_000;

/// Points where a Gaussian process promises most.
#[derive(Debug, Clone)]
pub struct Bayes {
    spec: matrix::Bayes,
    seed: u64,
    /// Most runs that are pending after the first ones.
    at_once: u64,
    first: Random,
    /// The params by name.
    axes: Vec<(String, Axis)>,
}

/// A param as columns of features.
#[derive(Debug, Clone)]
enum Axis {
    /// One column for each of so many values.
    List(Distribution, u64),
    /// One column for so many values in a row.
    Row(Distribution, u64),
    /// One column from the one end to the other.
    Even(f64, f64),
}

/// A place on each axis: an index, or 0.0..=1.0.
type Spot = Vec<f64>;

impl Bayes {
    /// The points of a search.
    pub fn new(spec: matrix::Bayes, seed: u64, concurrency: Option<u64>) -> Self {
        let seed = spec.seed.unwrap_or(seed);
        let first = Random::new(&spec.params, spec.num_initial_runs, seed);
        let mut axes: Vec<(String, Axis)> =
            spec.params.iter().map(|(name, of)| (name.clone(), axis_of(of.clone()))).collect();
        axes.sort_by(|a, b| a.0.cmp(&b.0));
        Self { spec, seed, at_once: concurrency.unwrap_or(1).max(1), first, axes }
    }

    /// How many suggestions there are at most.
    pub fn total(&self) -> u64 {
        let all = self.first.total().saturating_add(self.spec.max_iterations);
        all.min(grid::size(&self.spec.params).unwrap_or(u64::MAX))
    }

    pub(super) fn next(&mut self, past: &Past<'_>, free: u64) -> Next {
        let taken = past.trials.len() as u64;
        if taken < self.first.total() {
            let total = self.first.total();
            return match super::sequence(past, free, total, |index| self.first.point(index)) {
                Next::Suggest(mut made) => {
                    made.iter_mut().for_each(|one| one.iteration = 0);
                    Next::Suggest(made)
                }
                other => other,
            };
        }
        let (first, later) = past.trials.split_at(self.first.total() as usize);
        if first.iter().any(|trial| trial.outcome == Outcome::Pending) {
            return Next::Wait;
        }
        if !past.trials.iter().any(|trial| matches!(trial.outcome, Outcome::Observed(_))) {
            let pending = later.iter().any(|trial| trial.outcome == Outcome::Pending);
            return if pending { Next::Wait } else { Next::Fail(Failure::NothingObserved) };
        }
        if taken >= self.total() {
            return Next::Done;
        }
        let pending = later.iter().filter(|trial| trial.outcome == Outcome::Pending).count() as u64;
        let many = free.min(self.at_once.saturating_sub(pending)).min(self.total() - taken);
        if many == 0 {
            return Next::Wait;
        }
        let made = self.promising(past, many);
        if made.is_empty() { Next::Done } else { Next::Suggest(made) }
    }

    /// The most promising points, none of which has been taken.
    fn promising(&self, past: &Past<'_>, many: u64) -> Vec<Suggestion> {
        let mut seen = Vec::new();
        let mut waiting = Vec::new();
        let mut tried = BTreeSet::new();
        for trial in past.trials {
            let Some(spot) = self.spot(&trial.params) else { continue };
            tried.insert(key(&spot));
            match trial.outcome {
                Outcome::Observed(value) => seen.push((spot, self.spec.metric.optimization.score(value))),
                Outcome::Pending => waiting.push(spot),
                Outcome::Lost => {}
            }
        }
        let mut made = Vec::new();
        for index in past.taken..past.taken + many {
            let stream = Stream::of(self.seed, "bayes", index);
            let Some(spot) = self.best(&seen, &waiting, &tried, stream) else { break };
            tried.insert(key(&spot));
            made.push(Suggestion {
                index,
                iteration: index - self.first.total() + 1,
                bracket_iteration: None,
                params: self.params(&spot),
                resumes: None,
            });
            waiting.push(spot);
        }
        made
    }

    fn best(
        &self,
        seen: &[(Spot, f64)],
        waiting: &[Spot],
        tried: &BTreeSet<Vec<u64>>,
        mut stream: Stream,
    ) -> Option<Spot> {
        let scores: Vec<f64> = seen.iter().map(|(_, score)| *score).collect();
        let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        let variance = scores.iter().map(|score| (score - mean) * (score - mean)).sum::<f64>();
        let deviation = libm::sqrt(variance / scores.len().max(1) as f64);
        let deviation = if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 };
        let mut points: Vec<Vec<f64>> = seen.iter().map(|(spot, _)| self.features(spot)).collect();
        let mut values: Vec<f64> = scores.iter().map(|score| (score - mean) / deviation).collect();
        let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let process = &self.spec.utility.process;
        let mut starts = vec![process.length_scale];
        let restarts = process.num_restarts_optimizer.min(16);
        starts.extend((0..restarts).map(|_| libm::exp(-4.0 + 6.0 * stream.unit())));
        let mut fitted = Process::fit_best(process, &starts, &points, &values);
        for spot in waiting {
            let features = self.features(spot);
            values.push(fitted.as_ref().map_or(0.0, |fitted| fitted.expect(&features).0));
            points.push(features);
        }
        if !waiting.is_empty() {
            fitted = Process::fit_best(process, &[process.length_scale], &points, &values);
        }
        let promise = |spot: &Spot| {
            let (mean, sd) = fitted.as_ref().map_or((0.0, 1.0), |fitted| fitted.expect(&self.features(spot)));
            promise(self.spec.utility.acquisition, mean, sd, top, deviation)
        };
        self.search(promise, seen, tried, &mut stream)
    }

    /// The spot with the largest promise among those that have not been tried.
    fn search(
        &self,
        promise: impl Fn(&Spot) -> f64,
        seen: &[(Spot, f64)],
        tried: &BTreeSet<Vec<u64>>,
        stream: &mut Stream,
    ) -> Option<Spot> {
        let fresh = |spot: &Spot| !tried.contains(&key(spot));
        if let Some(size) = grid::size(&self.spec.params).filter(|size| *size <= WHOLE_SPACE) {
            let all = (0..size).map(|index| self.spot_at(index)).filter(fresh);
            return all.map(|spot| (promise(&spot), spot)).reduce(better).map(|(_, spot)| spot);
        }
        let warmup = self.spec.utility.num_warmup.clamp(WARMUP, MAX_WARMUP);
        let mut found: Vec<(f64, Spot)> = (0..warmup)
            .map(|_| self.axes.iter().map(|(_, axis)| axis.draw(stream)).collect::<Spot>())
            // The best so far has neighbours worth a look.
            .chain(seen.iter().reduce(|a, b| if b.1 > a.1 { b } else { a }).map(|(spot, _)| spot.clone()))
            .map(|spot| (promise(&spot), spot))
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let climbs = self.spec.utility.num_iterations.clamp(1, MAX_CLIMBS) as usize;
        let climbed: Vec<(f64, Spot)> =
            found.iter().take(climbs).map(|(value, spot)| self.climb(*value, spot.clone(), &promise)).collect();
        climbed.into_iter().chain(found).filter(|(_, spot)| fresh(spot)).reduce(better).map(|(_, spot)| spot)
    }

    /// Climbs along one axis after another, with ever smaller steps.
    fn climb(&self, mut value: f64, mut spot: Spot, promise: &impl Fn(&Spot) -> f64) -> (f64, Spot) {
        let mut step = 0.25;
        while step > 0.002 {
            let before = value;
            for (i, (_, axis)) in self.axes.iter().enumerate() {
                for place in axis.beside(spot[i], step) {
                    let old = std::mem::replace(&mut spot[i], place);
                    let there = promise(&spot);
                    if there > value {
                        value = there;
                    } else {
                        spot[i] = old;
                    }
                }
            }
            if value <= before {
                step /= 2.0;
            }
        }
        (value, spot)
    }

    fn spot_at(&self, index: u64) -> Spot {
        let mut rest = index;
        let place = |(_, axis): &(String, Axis)| {
            let size = axis.size().max(1);
            let place = rest % size;
            rest /= size;
            place as f64
        };
        self.axes.iter().map(place).collect()
    }

    /// The spot of some params; `None` when they are not of this space.
    fn spot(&self, params: &Params) -> Option<Spot> {
        self.axes.iter().map(|(name, axis)| axis.place(params.get(name)?)).collect()
    }

    /// The params of a spot, in the order in which they are written.
    fn params(&self, spot: &Spot) -> Params {
        let value = |name: &String| {
            let at = self.axes.iter().position(|(other, _)| other == name)?;
            Some((name.clone(), self.axes[at].1.value(spot[at])))
        };
        self.spec.params.keys().filter_map(value).collect()
    }

    fn features(&self, spot: &Spot) -> Vec<f64> {
        let mut features = Vec::new();
        for ((_, axis), place) in self.axes.iter().zip(spot) {
            match axis {
                Axis::List(_, size) => {
                    features.extend((0..*size).map(|i| if i as f64 == *place { 1.0 } else { 0.0 }));
                }
                Axis::Row(_, size) => features.push(if *size > 1 { place / (size - 1) as f64 } else { 0.0 }),
                Axis::Even(..) => features.push(*place),
            }
        }
        features
    }
}

fn better(a: (f64, Spot), b: (f64, Spot)) -> (f64, Spot) {
    if b.0 > a.0 { b } else { a }
}

/// A spot as something that can be looked up.
fn key(spot: &Spot) -> Vec<u64> {
    spot.iter().map(|place| (place + 0.0).to_bits()).collect()
}

fn axis_of(of: Distribution) -> Axis {
    match of {
        Distribution::Uniform { low, high } => Axis::Even(low, high),
        Distribution::Choice { ref values } => {
            let size = values.len() as u64;
            Axis::List(of, size)
        }
        other => {
            let size = other.size().unwrap_or(1);
            Axis::Row(other, size)
        }
    }
}

impl Axis {
    fn size(&self) -> u64 {
        match self {
            Self::List(_, size) | Self::Row(_, size) => *size,
            Self::Even(..) => 1,
        }
    }

    fn draw(&self, stream: &mut Stream) -> f64 {
        match self {
            Self::List(_, size) | Self::Row(_, size) => stream.below(*size) as f64,
            Self::Even(..) => stream.unit(),
        }
    }

    /// Places to try from a place, a step (of the whole axis) away.
    fn beside(&self, place: f64, step: f64) -> Vec<f64> {
        match self {
            Self::List(_, size) => (0..(*size).min(64)).map(|i| i as f64).filter(|i| *i != place).collect(),
            Self::Row(_, size) => {
                let last = (size - 1) as f64;
                let step = libm::round(step * last).max(1.0);
                [place - step, place + step].into_iter().filter(|at| (0.0..=last).contains(at)).collect()
            }
            Self::Even(..) => [place - step, place + step].map(|at| at.clamp(0.0, 1.0)).to_vec(),
        }
    }

    fn value(&self, place: f64) -> serde_json::Value {
        match self {
            Self::List(of, _) | Self::Row(of, _) => value_at(of, place as u64),
            Self::Even(low, high) => super::draw::number(low + (high - low) * place),
        }
    }

    /// The place of a value.
    fn place(&self, value: &serde_json::Value) -> Option<f64> {
        match self {
            Self::List(of, _) | Self::Row(of, _) => super::draw::index_of(of, value).map(|index| index as f64),
            Self::Even(low, high) if high == low => Some(0.0),
            Self::Even(low, high) => Some(((value.as_f64()? - low) / (high - low)).clamp(0.0, 1.0)),
        }
    }
}

/// How promising a point is, from mean and deviation there and the best so far; `scale` is that of the metric.
fn promise(acquisition: Acquisition, mean: f64, sd: f64, top: f64, scale: f64) -> f64 {
    let improvement = |eps: f64| mean - top - eps / scale;
    match acquisition {
        Acquisition::Ucb { kappa } => mean + kappa * sd,
        Acquisition::Ei { eps } if sd > 0.0 => {
            let z = improvement(eps) / sd;
            improvement(eps) * below(z) + sd * libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * std::f64::consts::PI)
        }
        Acquisition::Ei { eps } => improvement(eps).max(0.0),
        Acquisition::Poi { eps } if sd > 0.0 => below(improvement(eps) / sd),
        Acquisition::Poi { eps } => f64::from(u8::from(improvement(eps) > 0.0)),
    }
}

/// The part of the standard normal distribution below a value.
pub(super) fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::spec::matrix::{GaussianProcess, Kernel};

    /// The worked example of the original: what its process expects at one point, and what its formulas make of it.
    #[test]
    fn expectations_and_promises_are_those_of_the_original() {
        let spec = GaussianProcess { kernel: Kernel::Matern, length_scale: 1.0, nu: 1.9, num_restarts_optimizer: 0 };
        let points = [vec![1.0, 0.0, 0.1, 10.0], vec![0.0, 1.0, 0.5, 30.0], vec![1.0, 0.0, 0.9, 50.0]];
        let values = [-0.9, -0.2, -0.5];
        let process = Process::fit(&spec, 1.0, &points, &values).unwrap();
        let (mean, sd) = process.expect(&[1.0, 0.0, 0.3, 20.0]);
        assert!((mean + 1.766e-7).abs() < 5e-11, "{mean}");
        assert!((sd - 1.0).abs() < 1e-9, "{sd}");
        let at = |acquisition| promise(acquisition, mean, sd, -0.2, 1.0);
        assert!((at(Acquisition::Ucb { kappa: 2.576 }) - 2.5759998).abs() < 5e-8);
        assert!((at(Acquisition::Ei { eps: 0.01 }) - 0.5011215).abs() < 5e-8);
        assert!((at(Acquisition::Poi { eps: 0.01 }) - 0.5753454).abs() < 5e-8);
    }
}
