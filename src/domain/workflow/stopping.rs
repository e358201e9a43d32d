//! Which runs of a pipeline a policy of `earlyStopping` stops, because they do badly beside the others.

use crate::domain::spec::early_stopping::{Against, Policy};
use crate::domain::spec::matrix::Optimization;

/// What one run has reported of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The number by which the caller knows the run.
    pub run: u64,
    /// Whether it goes on; only such a run can be stopped.
    pub running: bool,
    /// Whether it has succeeded.
    pub succeeded: bool,
    /// What it reported, in order; the last is the value of the run.
    pub values: Vec<f64>,
}

/// The runs that a policy stops now, by their numbers: each is compared with what the others had reported by the same
/// step.
pub fn outdone(policy: &Policy, optimization: Optimization, curves: &[Curve]) -> Vec<u64> {
    let scores: Vec<Vec<f64>> =
        curves.iter().map(|curve| curve.values.iter().map(|value| optimization.score(*value)).collect()).collect();
    let best = |scores: &[f64]| scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let asked = |i: usize| {
        let seen = scores[i].len() as u64;
        curves[i].running && seen > 0 && seen >= policy.min_interval && seen.is_multiple_of(policy.evaluation_interval)
    };
    let mut stopped = Vec::new();
    for i in (0..curves.len()).filter(|i| asked(*i)) {
        let step = scores[i].len();
        // The others, up to the step that this one has reached.
        let others: Vec<&[f64]> = (0..curves.len())
            .filter(|j| *j != i && scores[*j].len() >= step)
            .filter(|j| curves[*j].running || curves[*j].succeeded)
            .filter(|j| match policy.against {
                Against::Truncation { include_succeeded, .. } => curves[*j].running || include_succeeded,
                _ => true,
            })
            .map(|j| &scores[j][..step])
            .collect();
        if others.is_empty() || (others.len() as u64) < policy.min_samples {
            continue;
        }
        let mine = best(&scores[i]);
        let average = |scores: &&[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
        let mut averages: Vec<f64> = others.iter().map(average).collect();
        averages.sort_by(f64::total_cmp);
        let top = others.iter().map(|scores| best(scores)).fold(f64::NEG_INFINITY, f64::max);
        let worse = match policy.against {
            Against::Median => {
                let middle = averages.len() / 2;
                let even = averages.len().is_multiple_of(2);
                let median = if even { (averages[middle - 1] + averages[middle]) / 2.0 } else { averages[middle] };
                is_below(mine, median)
            }
            Against::Average => is_below(mine, averages.iter().sum::<f64>() / averages.len() as f64),
            Against::Diff { percent } => top - mine > top.abs() * percent / 100.0,
            Against::Truncation { percent, .. } => {
                // The worst so many of all, this one among them; of equals none.
                let all = others.len() + 1;
                let cut = (all as f64 * percent / 100.0).floor() as usize;
                let below = others.iter().filter(|scores| best(scores) <= mine).count();
                below < cut
            }
        };
        if worse {
            stopped.push(curves[i].run);
        }
    }
    stopped
}

/// Whether one number is below another by more than what is lost when an average is taken.
fn is_below(mine: f64, other: f64) -> bool {
    mine < other - other.abs() * 1e-9
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn curve(run: u64, values: &[f64]) -> Curve {
        Curve { run, running: true, succeeded: false, values: values.to_vec() }
    }

    #[test]
    fn equals_are_not_outdone_by_what_an_average_loses() {
        let tenths = vec![0.1; 10];
        let curves: Vec<Curve> = (0..3).map(|run| curve(run, &tenths)).collect();
        for kind in ["median", "average"] {
            let policy = Policy::read(&json!({"kind": kind, "evaluationInterval": 1})).unwrap();
            for optimization in [Optimization::Minimize, Optimization::Maximize] {
                assert_eq!(outdone(&policy, optimization, &curves), [0; 0], "{kind}");
            }
        }
    }

    #[test]
    fn each_policy_stops_those_that_are_outdone() {
        let curves = [
            curve(0, &[0.9, 0.8]),
            curve(1, &[0.5, 0.4]),
            curve(2, &[0.5, 0.3]),
            Curve { running: false, succeeded: true, ..curve(3, &[0.4, 0.2]) },
            Curve { running: false, ..curve(4, &[9.0, 9.0]) },
        ];
        let stopped = |written: Value| outdone(&Policy::read(&written).unwrap(), Optimization::Minimize, &curves);
        assert_eq!(stopped(json!({"kind": "median", "evaluationInterval": 1})), [0]);
        assert_eq!(stopped(json!({"kind": "average", "evaluationInterval": 1})), [0]);
        assert_eq!(stopped(json!({"kind": "diff", "evaluationInterval": 1, "percent": 120})), [0]);
        assert_eq!(stopped(json!({"kind": "diff", "evaluationInterval": 1, "percent": 60})), [0, 1]);
        assert_eq!(stopped(json!({"kind": "truncation", "evaluationInterval": 1, "percent": 34})), [0]);
        let with_succeeded =
            json!({"kind": "truncation", "evaluationInterval": 1, "percent": 50, "includeSucceeded": true});
        assert_eq!(stopped(with_succeeded), [0, 1]);
        // Looked at every third observation, after five, or beside five others: not now.
        assert_eq!(stopped(json!({"kind": "median", "evaluationInterval": 3})), [0; 0]);
        assert_eq!(stopped(json!({"kind": "median", "evaluationInterval": 1, "minInterval": 5})), [0; 0]);
        assert_eq!(stopped(json!({"kind": "median", "evaluationInterval": 1, "minSamples": 5})), [0; 0]);
    }
}
