//! `random`: points drawn one by one, none twice.
//!
//! | space | how a point is found | memory |
//! |---|---|---|
//! | lists and ranges | its number in a random order of all points | none |
//! | something continuous | drawn; that 53 bits repeat is not to be expected | none |
//! | unequal chances, or coarse values | drawn again until it is new | 8 bytes a point |

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::draw::Stream;
use super::permutation::Permutation;
use super::{Next, Params, Past, grid, sequence};
use crate::domain::spec::Distribution;
use crate::domain::spec::matrix::Space;

/// How often a point is drawn again before the space counts as used up.
const MAX_TRIES: u64 = 256;
/// The largest space that is put into a random order.
const MAX_ORDERED: u64 = 1 << 62;

/// Points drawn one by one, none twice.
#[derive(Debug, Clone)]
pub struct Random {
    params: Space,
    total: u64,
    seed: u64,
    order: Option<Permutation>,
    /// The points so far, when they may repeat: a digest of each. Made again from the seed when it is not at hand.
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    digests: BTreeSet<u64>,
    points: u64,
}

impl Random {
    /// So many points of a space; fewer when there are not so many.
    pub fn new(space: &Space, num_runs: u64, seed: u64) -> Self {
        let mut params = space.clone();
        params.values_mut().for_each(distinct);
        let size = grid::size(&params);
        let continuous = params.values().any(is_continuous);
        let even = params.values().all(|of| of.is_even());
        let order = size.filter(|size| even && (1..=MAX_ORDERED).contains(size));
        let order = order.map(|size| Permutation::new(size, Stream::of(seed, "order", 0).bits()));
        let seen = (order.is_none() && !continuous).then(Seen::default);
        Self { params, total: num_runs.min(size.unwrap_or(u64::MAX)), seed, order, seen }
    }

    /// How many there are at most.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn next(&mut self, past: &Past<'_>, free: u64) -> Next {
        let total = self.total;
        sequence(past, free, total, |index| self.point(index))
    }

    /// The point of an index; `None` when no new one is found.
    pub(super) fn point(&mut self, index: u64) -> Option<Params> {
        if let Some(order) = &self.order {
            return Some(grid::point(&self.params, order.at(index)));
        }
        if self.seen.is_none() {
            return Some(self.draw(&mut Stream::of(self.seed, "random", index)));
        }
        // Which one is new depends on all before it.
        let mut seen = self.seen.take().unwrap_or_default();
        if seen.points > index {
            seen = Seen::default();
        }
        let mut found = None;
        while seen.points <= index {
            let mut stream = Stream::of(self.seed, "random", seen.points);
            let fresh = (0..MAX_TRIES).map(|_| self.draw(&mut stream)).find(|point| seen.insert(point));
            found = fresh.or_else(|| self.any_other(&mut seen));
            if found.is_none() {
                break;
            }
            seen.points += 1;
        }
        self.seen = Some(seen);
        found
    }

    /// How many points have been found, where one may not be found; `None` before the first.
    pub(super) fn found(&self) -> Option<u64> {
        self.seen.as_ref().map(|seen| seen.points).filter(|points| *points > 0)
    }

    fn draw(&self, stream: &mut Stream) -> Params {
        self.params.iter().map(|(name, of)| (name.clone(), stream.value(of))).collect()
    }

    /// A point of a discrete space that has not been drawn, when the likely ones are used up.
    fn any_other(&self, seen: &mut Seen) -> Option<Params> {
        let size = grid::size(&self.params).filter(|size| (1..=MAX_ORDERED).contains(size))?;
        let order = Permutation::new(size, Stream::of(self.seed, "order", 0).bits());
        (0..size).map(|index| grid::point(&self.params, order.at(index))).find(|point| seen.insert(point))
    }
}

impl Seen {
    /// Notes a point; whether it is new.
    fn insert(&mut self, point: &Params) -> bool {
        let text = serde_json::to_vec(point).expect("plain data has text");
        let digest = Sha256::digest(text);
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        self.digests.insert(u64::from_le_bytes(short))
    }
}

/// Leaves out values of a list that are there twice, or never.
fn distinct(of: &mut Distribution) {
    match of {
        Distribution::Choice { values } => {
            let mut seen = BTreeSet::new();
            values.retain(|value| seen.insert(value.to_string()));
        }
        Distribution::PChoice { values } => values.retain(|(_, chance)| *chance > 0.0),
        _ => {}
    }
}

/// Whether draws do not repeat.
fn is_continuous(of: &Distribution) -> bool {
    match of {
        Distribution::Uniform { low, high } | Distribution::LogUniform { low, high } => low != high,
        Distribution::Normal { scale, .. } | Distribution::LogNormal { scale, .. } => *scale > 0.0,
        _ => false,
    }
}
