//! What the runs of a search report while they run, and which of them the policies of early stopping stop.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::stopping::{Curve, outdone};
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::Attempt;
use crate::domain::spec::EarlyStopping;
use crate::domain::spec::early_stopping::{Against, Policy};
use crate::domain::spec::matrix::Optimization;

/// Values of one metric of one run that are kept at most: far more steps than a policy looks at.
const MOST_VALUES: usize = 100_000;

/// The curves of one pipeline, for each of its policies.
#[derive(Debug, Clone, Default)]
pub(super) struct Curves {
    watched: Vec<Watched>,
    /// Children that were told to stop.
    stopped: BTreeSet<u32>,
    /// Those that are to be told, and why.
    losers: Vec<(u32, Cause)>,
}

#[derive(Debug, Clone)]
struct Watched {
    metric: String,
    optimization: Optimization,
    policy: Policy,
    /// By the place of the run.
    curves: BTreeMap<u32, (Attempt, Curve)>,
}

impl Curves {
    pub fn new(rules: &[EarlyStopping]) -> Self {
        let watched = rules.iter().filter_map(|rule| match rule {
            EarlyStopping::Metric { metric, optimization, policy: Some(policy), .. } => Some(Watched {
                metric: metric.clone(),
                optimization: *optimization,
                policy: policy.clone(),
                curves: BTreeMap::new(),
            }),
            _ => None,
        });
        Self { watched: watched.collect(), ..Self::default() }
    }

    /// Whether there is a policy at all.
    pub fn are_watched(&self) -> bool {
        !self.watched.is_empty()
    }

    /// A run has reported something more. Each value is judged at its own step, however many come at once.
    pub fn measured(&mut self, place: u32, attempt: Attempt, reports: &[Map<String, Value>]) {
        for watched in &mut self.watched {
            for value in reports.iter().filter_map(|report| report.get(&watched.metric)?.as_f64()) {
                let entry = watched.curves.entry(place).or_insert_with(|| (attempt, begun(place)));
                if entry.0 != attempt {
                    // Another attempt begins anew.
                    *entry = (attempt, begun(place));
                }
                if !value.is_finite() || entry.1.values.len() >= MOST_VALUES {
                    continue;
                }
                entry.1.values.push(value);
                let curves: Vec<Curve> = watched.curves.values().map(|(_, curve)| curve.clone()).collect();
                let loses = outdone(&watched.policy, watched.optimization, &curves).contains(&u64::from(place));
                if loses && self.stopped.insert(place) {
                    let message = format!(
                        "its `{}` of {value} at step {} is {}",
                        watched.metric,
                        watched.curves[&place].1.values.len(),
                        beside(watched.policy.against)
                    );
                    self.losers.push((place, Cause::new("MetricEarlyStopping", message)));
                }
            }
        }
    }

    /// A run has ended.
    pub fn ended(&mut self, place: u32, status: Status) {
        for watched in &mut self.watched {
            if let Some((_, curve)) = watched.curves.get_mut(&place) {
                (curve.running, curve.succeeded) = (false, status == Status::Succeeded);
            }
        }
    }

    /// The runs to stop now.
    pub fn losers(&mut self) -> Vec<(u32, Cause)> {
        std::mem::take(&mut self.losers)
    }
}

fn begun(place: u32) -> Curve {
    Curve { run: u64::from(place), running: true, succeeded: false, values: Vec::new() }
}

fn beside(against: Against) -> String {
    match against {
        Against::Median => "worse than the median of the others".to_owned(),
        Against::Average => "worse than the average of the others".to_owned(),
        Against::Diff { percent } => format!("more than {percent} % behind the best"),
        Against::Truncation { percent, .. } => format!("among the worst {percent} %"),
    }
}
