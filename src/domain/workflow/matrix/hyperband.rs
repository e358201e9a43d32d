//! `hyperband`: brackets of successive halving (Li et al. 2018), from many runs with few resources to few with many.
//!
//! With R = `maxIterations` and η = `eta`: bracket i has s = s_max − i further rungs, begins with n runs of r
//! resources, and at each rung keeps one of η for η times the resources. The formulas and their roundings are
//! Polyaxon's; what its tuner gets wrong (old resources, reduced twice, one seed for all brackets, a bracket lost to
//! the rounding of logarithms) is not.

use super::random::Random;
use super::{Failure, Next, Outcome, Params, Past, Suggestion, grid};
use crate::domain::spec::matrix;

/// Above a whole number by less than this is that number: powers are not exact.
const DUST: f64 = 1e-9;

/// Brackets of successive halving.
#[derive(Debug, Clone)]
pub struct Hyperband {
    spec: matrix::Hyperband,
    brackets: Vec<Bracket>,
    /// The params of all brackets, each under its own number.
    draws: Random,
}

/// A bracket: how many runs its rungs have at most, and with how many resources.
#[derive(Debug, Clone, PartialEq)]
pub struct Bracket {
    /// The number of its first draw.
    first: u64,
    /// For each rung: how many runs, and the resources of each.
    pub rungs: Vec<(u64, f64)>,
}

impl Hyperband {
    /// The brackets of a search.
    pub fn new(spec: matrix::Hyperband, seed: u64) -> Self {
        let mut params = spec.params.clone();
        // The resource is given, not drawn.
        params.shift_remove(&spec.resource.name);
        let space = grid::size(&params).unwrap_or(u64::MAX);
        let brackets = brackets(spec.max_iterations, spec.eta, space);
        let all = brackets.iter().map(|bracket| bracket.rungs[0].0).sum();
        let draws = Random::new(&params, all, spec.seed.unwrap_or(seed));
        Self { spec, brackets, draws }
    }

    /// The brackets, in order.
    pub fn brackets(&self) -> &[Bracket] {
        &self.brackets
    }

    /// How many suggestions there are at most.
    pub fn total(&self) -> u64 {
        self.brackets.iter().flat_map(|bracket| &bracket.rungs).map(|(runs, _)| runs).sum()
    }

    pub(super) fn next(&mut self, past: &Past<'_>, free: u64) -> Next {
        let taken = past.trials.len() as u64;
        let mut begin = 0u64;
        for i in 0..self.brackets.len() {
            // The first rung: the numbers of draws. A later one: the places of those that were kept, best first.
            let mut members: Vec<(u64, Option<u64>)> = (0..self.brackets[i].rungs[0].0).map(|k| (k, None)).collect();
            for j in 0..self.brackets[i].rungs.len() {
                let end = begin + members.len() as u64;
                if taken < end {
                    return self.suggest(i, j, &members, taken, begin, free);
                }
                let rung = &past.trials[begin as usize..end as usize];
                if rung.iter().any(|trial| trial.outcome == Outcome::Pending) {
                    return Next::Wait;
                }
                let keep = self.brackets[i].rungs.get(j + 1).map_or(0, |(runs, _)| *runs);
                let mut scored: Vec<(f64, u64, u64)> = Vec::new();
                for (place, (trial, (draw, _))) in rung.iter().zip(&members).enumerate() {
                    if let Outcome::Observed(value) = trial.outcome {
                        let score = self.spec.metric.optimization.score(value);
                        scored.push((score, *draw, begin + place as u64));
                    }
                }
                // The best first; of equals, the older.
                scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
                scored.truncate(keep as usize);
                members = scored.into_iter().map(|(_, draw, index)| (draw, Some(index))).collect();
                begin = end;
                if members.is_empty() {
                    break;
                }
            }
        }
        let observed = past.trials.iter().any(|trial| matches!(trial.outcome, Outcome::Observed(_)));
        if observed || taken == 0 { Next::Done } else { Next::Fail(Failure::NothingObserved) }
    }

    fn suggest(
        &mut self,
        i: usize,
        j: usize,
        members: &[(u64, Option<u64>)],
        taken: u64,
        begin: u64,
        free: u64,
    ) -> Next {
        let (first, resources) = (self.brackets[i].first, self.brackets[i].rungs[j].1);
        let mut made = Vec::new();
        for (place, (draw, from)) in members.iter().enumerate().skip((taken - begin) as usize).take(free as usize) {
            let Some(mut params) = self.point(first + draw) else { break };
            let resources = if self.spec.resource.whole { whole(resources) } else { super::draw::number(resources) };
            params.insert(self.spec.resource.name.clone(), resources);
            made.push(Suggestion {
                index: begin + place as u64,
                iteration: i as u64,
                bracket_iteration: Some(j as u64),
                params,
                resumes: from.filter(|_| self.spec.resume),
            });
        }
        if made.is_empty() { Next::Wait } else { Next::Suggest(made) }
    }

    /// A draw; when the space is used up, its points come again.
    fn point(&mut self, draw: u64) -> Option<Params> {
        let size = self.draws.total().max(1);
        let drawn = self.draws.point(draw % size);
        drawn.or_else(|| self.draws.point(draw % self.draws.found()?))
    }
}

/// Cut to a whole number.
fn whole(resources: f64) -> serde_json::Value {
    serde_json::json!(libm::trunc(resources + DUST * resources) as i64)
}

/// The brackets for R and η, in a space of so many points.
fn brackets(most: u64, eta: f64, space: u64) -> Vec<Bracket> {
    let most = most as f64;
    // The largest s with η^s ≤ R. The original cuts a quotient of logarithms, which makes 4 of (243, 3) and loses the
    // bracket that begins with one resource.
    let fits = |s: &i32| libm::pow(eta, f64::from(*s)) <= most * (1.0 + DUST);
    let last = (1..=64).take_while(fits).last().unwrap_or(0);
    let power = |exponent: i32| libm::pow(eta, f64::from(exponent));
    let (mut found, mut first) = (Vec::new(), 0);
    for s in (0..=last).rev() {
        let runs = libm::ceil(f64::from(last + 1) * power(s) / f64::from(s + 1) - DUST) as u64;
        let runs = runs.min(space).max(1);
        let rung = |j: i32| {
            let kept = if j == 0 { runs } else { libm::floor(runs as f64 * power(-j) + DUST) as u64 };
            (kept, most * power(j - s))
        };
        // A rung of nobody ends the bracket.
        let rungs = (0..=s).map(rung).take_while(|(runs, _)| *runs > 0).collect();
        found.push(Bracket { first, rungs });
        first += runs;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(most: u64, eta: f64) -> Vec<Vec<(u64, i64)>> {
        let cut = |(runs, resources): &(u64, f64)| (*runs, whole(*resources).as_i64().unwrap());
        brackets(most, eta, u64::MAX).iter().map(|bracket| bracket.rungs.iter().map(cut).collect()).collect()
    }

    /// The tables of the original.
    #[test]
    fn brackets_and_rungs_are_those_of_the_original() {
        let expected = vec![
            vec![(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
            vec![(34, 3), (11, 9), (3, 27), (1, 81)],
            vec![(15, 9), (5, 27), (1, 81)],
            vec![(8, 27), (2, 81)],
            vec![(5, 81)],
        ];
        assert_eq!(table(81, 3.0), expected);
        assert_eq!(table(9, 3.0), vec![vec![(9, 1), (3, 3), (1, 9)], vec![(5, 3), (1, 9)], vec![(3, 9)]]);
        let firsts = |most, eta| table(most, eta).iter().map(|rungs| rungs[0].0).collect::<Vec<_>>();
        assert_eq!(firsts(27, 3.0), [27, 12, 6, 4]);
        assert_eq!(firsts(16, 2.0), [16, 10, 7, 5, 5]);
        assert_eq!(firsts(64, 4.0), [64, 22, 8, 4]);
        assert_eq!(firsts(100, 4.0), [64, 22, 8, 4]);
        assert_eq!(firsts(243, 3.0).len(), 6, "243 is 3⁵, and not 3⁴ as the original has it");
        let resources = |most, eta| table(most, eta)[0].iter().map(|rung| rung.1).collect::<Vec<_>>();
        assert_eq!(resources(10, 3.0), [1, 3, 10]);
        assert_eq!(resources(100, 4.0), [1, 6, 25, 100]);
    }
}
