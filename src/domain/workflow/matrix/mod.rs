//! Suggestions of a matrix: which params the next runs of a search get.
//!
//! A [`Tuner`] is a function of the search, a seed and what has happened so far ([`Past`]): a server that was killed
//! asks again and gets what it would have got. Points are made one by one as slots become free; a grid of a million
//! points is an index. All randomness is drawn from streams named by seed and number, with arithmetic that gives the
//! same bits on every machine.

pub mod bayes;
mod draw;
pub mod grid;
pub mod hyperband;
pub mod hyperopt;
pub mod iterative;
pub mod mapping;
mod parzen;
mod permutation;
mod process;
pub mod random;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::spec::Search;
use crate::domain::spec::matrix::{self, Metric};

/// The params of one run of a search.
pub type Params = Map<String, Value>;

/// A run that a search asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// Its number among the suggestions of the search, from 0 and without gaps: a run of this number is this one.
    pub index: u64,
    /// `globals.iteration`: the bracket of hyperband, the round of bayes, hyperopt and iterative, else the index.
    pub iteration: u64,
    /// The rung of a hyperband bracket, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bracket_iteration: Option<u64>,
    /// The params, all of them.
    pub params: Params,
    /// The suggestion whose run it goes on from (hyperband with `resume`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<u64>,
}

/// A suggestion that has been taken: what was asked and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The params that it was given.
    pub params: Params,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing yet.
    Pending,
    /// It has succeeded with this value of the metric.
    Observed(f64),
    /// It has ended and there is no value: it failed, was stopped or skipped, or did not report a finite number.
    Lost,
}

/// What has happened so far in a search.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// How many suggestions have been taken.
    pub taken: u64,
    /// All of them, by index; searches that do not need them ([`Tuner::needs_trials`]) may be given none.
    pub trials: &'a [Trial],
    /// What the user's tuner has answered, one list for each time that it was asked.
    pub answers: &'a [Vec<Params>],
}

impl<'a> Past<'a> {
    /// A past of which only the number of suggestions is known.
    pub fn count(taken: u64) -> Self {
        Self { taken, trials: &[], answers: &[] }
    }

    /// A past with all its trials.
    pub fn of(trials: &'a [Trial]) -> Self {
        Self { taken: trials.len() as u64, trials, answers: &[] }
    }
}

/// What a search wants now.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// These runs, in this order; at least one and at most as many as slots are free.
    Suggest(Vec<Suggestion>),
    /// Nothing until a run has ended (or a slot is free).
    Wait,
    /// The answer of the user's tuner to this question, counted from 0.
    Ask(u64),
    /// Nothing any more: the search is complete when its runs have ended.
    Done,
    /// It cannot go on.
    Fail(Failure),
}

/// Why a search cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No run has reported the metric, so that nothing can be learned.
    NothingObserved,
    /// The user's tuner suggested nothing.
    EmptyIteration,
}

/// Makes the suggestions of one search.
#[derive(Debug, Clone)]
pub struct Tuner {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Mapping(mapping::Mapping),
    Grid(grid::Grid),
    Random(random::Random),
    Hyperband(hyperband::Hyperband),
    Bayes(Box<bayes::Bayes>),
    Hyperopt(hyperopt::Hyperopt),
    Iterative(iterative::Iterative),
}

impl Tuner {
    /// The tuner of a search. The seed is used when the search has none of its own: it should be one of the run.
    /// `concurrency` is that of the matrix: bayes has at most so many pending after the first ones, 1 for `None`. A
    /// search with a `tuner` of the user asks it.
    pub fn new(search: &Search, seed: u64, concurrency: Option<u64>) -> Self {
        if let Some((_, rounds)) = asks(search) {
            return Self { kind: Kind::Iterative(iterative::Iterative::new(rounds)) };
        }
        let kind = match search {
            Search::Mapping(spec) => Kind::Mapping(mapping::Mapping::new(spec.clone())),
            Search::Grid(spec) => Kind::Grid(grid::Grid::new(spec.clone())),
            Search::Random(spec) => {
                Kind::Random(random::Random::new(&spec.params, spec.num_runs, spec.seed.unwrap_or(seed)))
            }
            Search::Hyperband(spec) => Kind::Hyperband(hyperband::Hyperband::new(spec.clone(), seed)),
            Search::Bayes(spec) => Kind::Bayes(Box::new(bayes::Bayes::new(spec.clone(), seed, concurrency))),
            Search::Iterative(spec) => Kind::Iterative(iterative::Iterative::new(spec.max_iterations)),
            Search::Hyperopt(spec) => Kind::Hyperopt(hyperopt::Hyperopt::new(spec.clone(), seed)),
        };
        Self { kind }
    }

    /// What the search wants now, with so many free slots.
    pub fn next(&mut self, past: &Past<'_>, free: u64) -> Next {
        match &mut self.kind {
            Kind::Mapping(mapping) => mapping.next(past, free),
            Kind::Grid(grid) => grid.next(past, free),
            Kind::Random(random) => random.next(past, free),
            Kind::Hyperband(hyperband) => hyperband.next(past, free),
            Kind::Bayes(bayes) => bayes.next(past, free),
            Kind::Hyperopt(hyperopt) => hyperopt.next(past, free),
            Kind::Iterative(iterative) => iterative.next(past, free),
        }
    }

    /// Whether [`Tuner::next`] looks at the trials, and not only at their number.
    pub fn needs_trials(&self) -> bool {
        !matches!(self.kind, Kind::Mapping(_) | Kind::Grid(_) | Kind::Random(_))
    }

    /// How many suggestions there will be at most, if that is known.
    pub fn total(&self) -> Option<u64> {
        match &self.kind {
            Kind::Mapping(mapping) => Some(mapping.total()),
            Kind::Grid(grid) => Some(grid.total()),
            Kind::Random(random) => Some(random.total()),
            Kind::Hyperband(hyperband) => Some(hyperband.total()),
            Kind::Bayes(bayes) => Some(bayes.total()),
            Kind::Hyperopt(hyperopt) => Some(hyperopt.total()),
            Kind::Iterative(_) => None,
        }
    }
}

/// The metric that a search looks at, if it does.
pub fn metric(search: &Search) -> Option<&Metric> {
    match search {
        Search::Hyperband(spec) => Some(&spec.metric),
        Search::Bayes(spec) => Some(&spec.metric),
        Search::Hyperopt(spec) => Some(&spec.metric),
        Search::Mapping(_) | Search::Grid(_) | Search::Random(_) | Search::Iterative(_) => None,
    }
}

/// The component of the user that a search asks, and how often at most.
pub fn asks(search: &Search) -> Option<(&matrix::Tuner, u64)> {
    let (tuner, rounds) = match search {
        Search::Mapping(_) | Search::Grid(_) | Search::Random(_) => return None,
        Search::Hyperband(spec) => (spec.tuner.as_ref(), spec.max_iterations),
        Search::Bayes(spec) => (spec.tuner.as_ref(), spec.max_iterations),
        Search::Hyperopt(spec) => (spec.tuner.as_ref(), spec.max_iterations.unwrap_or(1)),
        Search::Iterative(spec) => (spec.tuner.as_ref(), spec.max_iterations),
    };
    tuner.map(|tuner| (tuner, rounds))
}

/// Suggestions `taken..` of a sequence of known length, as many as slots are free.
fn sequence(past: &Past<'_>, free: u64, total: u64, mut point: impl FnMut(u64) -> Option<Params>) -> Next {
    if past.taken >= total {
        return Next::Done;
    }
    let end = total.min(past.taken.saturating_add(free));
    let suggestion = |index: u64| {
        let params = point(index)?;
        Some(Suggestion { index, iteration: index, bracket_iteration: None, params, resumes: None })
    };
    let made: Vec<Suggestion> = (past.taken..end).map_while(suggestion).collect();
    match (made.is_empty(), free) {
        (false, _) => Next::Suggest(made),
        (true, 0) => Next::Wait,
        (true, _) => Next::Done,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::spec::Matrix;

    pub(super) fn search(written: Value) -> Search {
        Matrix::read(&written).unwrap_or_else(|faults| panic!("{written}: {faults:?}")).search
    }

    fn all(written: Value, seed: u64) -> Vec<Params> {
        match Tuner::new(&search(written), seed, None).next(&Past::count(0), 10_000) {
            Next::Suggest(suggestions) => suggestions.into_iter().map(|suggestion| suggestion.params).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mapping_is_taken_in_order() {
        let points = all(json!({"kind": "mapping", "values": [{"a": 1}, {"b": "x", "a": 2}]}), 0);
        assert_eq!(json!(points), json!([{"a": 1}, {"b": "x", "a": 2}]));
    }

    /// The worked example of Polyaxon.
    #[test]
    fn a_grid_goes_through_the_last_param_fastest() {
        let params = json!({
            "lr": {"kind": "choice", "value": [0.1, 0.01]}, "units": {"kind": "range", "value": [1, 4, 1]},
        });
        let expected = json!([
            {"lr": 0.1, "units": 1.0}, {"lr": 0.1, "units": 2.0}, {"lr": 0.1, "units": 3.0},
            {"lr": 0.01, "units": 1.0}, {"lr": 0.01, "units": 2.0}, {"lr": 0.01, "units": 3.0},
        ]);
        assert_eq!(json!(all(json!({"kind": "grid", "params": params}), 0)), expected);
        let four = all(json!({"kind": "grid", "params": params, "numRuns": 4}), 0);
        assert_eq!(json!(four), json!(expected.as_array().unwrap()[..4]));
    }

    #[test]
    fn a_grid_of_a_million_points_costs_an_index() {
        let digit = json!({"kind": "range", "value": [0, 10, 1]});
        let params: Map<String, Value> = (0..6).map(|i| (format!("d{i}"), digit.clone())).collect();
        let mut tuner = Tuner::new(&search(json!({"kind": "grid", "params": params})), 0, None);
        assert_eq!(tuner.total(), Some(1_000_000));
        let Next::Suggest(ten) = tuner.next(&Past::count(123_456), 10) else { panic!("ten slots are free") };
        assert_eq!(json!(ten[0].params), json!({"d0": 1.0, "d1": 2.0, "d2": 3.0, "d3": 4.0, "d4": 5.0, "d5": 6.0}));
        assert_eq!((ten.len(), ten[9].index), (10, 123_465));
        assert_eq!(tuner.next(&Past::count(999_999), 0), Next::Wait);
        assert_eq!(tuner.next(&Past::count(1_000_000), 10), Next::Done);
    }

    #[test]
    fn a_random_search_of_a_small_space_finds_every_point_once() {
        for params in [
            json!({"a": {"kind": "choice", "value": [1, 2, 3]}, "b": {"kind": "range", "value": [0, 4, 1]}}),
            json!({"a": {"kind": "pchoice", "value": [[1, 0.98], [2, 0.01], [3, 0.01]]}, "b": {"kind": "linspace", "value": [0, 3, 4]}}),
        ] {
            let points = all(json!({"kind": "random", "numRuns": 100, "params": params}), 5);
            let distinct: BTreeSet<String> = points.iter().map(|point| json!(point).to_string()).collect();
            assert_eq!((points.len(), distinct.len()), (12, 12), "{params}");
        }
        // Coarse draws have an end too, although nobody says how many there are.
        let coarse = json!({"a": {"kind": "quniform", "value": [0, 10, 2]}});
        let points = all(json!({"kind": "random", "numRuns": 100, "params": coarse}), 5);
        assert_eq!(points.len(), 5, "{points:?}");
    }

    #[test]
    fn another_seed_is_another_search() {
        let random = json!({"kind": "random", "numRuns": 5, "params": {"a": {"kind": "uniform", "value": [0, 1]}}});
        assert_ne!(all(random.clone(), 1), all(random.clone(), 2));
        let mut seeded = random;
        seeded["seed"] = json!(9);
        assert_eq!(all(seeded.clone(), 1), all(seeded, 2));
    }

    fn distribution() -> impl Strategy<Value = Value> {
        prop_oneof![
            (1usize..5).prop_map(|n| json!({"kind": "choice", "value": (0..n).collect::<Vec<_>>()})),
            (1u32..6).prop_map(|n| json!({"kind": "range", "value": [0, n, 1]})),
            (1u32..4).prop_map(|n| json!({"kind": "quniform", "value": [0, n, 0.5]})),
            Just(json!({"kind": "pchoice", "value": [["a", 0.1], ["b", 0.2], ["c", 0.7]]})),
            Just(json!({"kind": "uniform", "value": [0, 1]})),
            Just(json!({"kind": "qnormal", "value": [0, 1, 0.25]})),
        ]
    }

    proptest! {
        /// Asked piece by piece, by a tuner that is made anew each time, the suggestions are the same; none comes
        /// twice.
        #[test]
        fn an_interrupted_search_goes_on_as_if_it_had_not_been(
            params in prop::collection::btree_map("[a-z]", distribution(), 1..4),
            seed: u64, pieces in prop::collection::vec(1u64..5, 1..12), num_runs in 1u64..30,
        ) {
            let search = search(json!({"kind": "random", "params": params, "numRuns": num_runs}));
            let Next::Suggest(whole) = Tuner::new(&search, seed, None).next(&Past::count(0), 1000) else {
                panic!("there is at least one point");
            };
            let mut taken = Vec::new();
            for free in pieces {
                match Tuner::new(&search, seed, None).next(&Past::count(taken.len() as u64), free) {
                    Next::Suggest(more) => taken.extend(more),
                    other => prop_assert_eq!(other, Next::Done),
                }
            }
            prop_assert_eq!(&whole[..taken.len()], &taken[..]);
            let distinct: BTreeSet<String> = whole.iter().map(|one| json!(one.params).to_string()).collect();
            prop_assert_eq!(distinct.len(), whole.len());
        }
    }
}
