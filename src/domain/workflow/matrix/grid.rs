//! `grid`: every combination, the last param fastest; a point is the digits of its index.

use super::draw::value_at;
use super::{Next, Params, Past, sequence};
use crate::domain::spec::matrix::{self, Space};

/// Every combination of the values of some params.
#[derive(Debug, Clone)]
pub struct Grid {
    params: Space,
    total: u64,
}

impl Grid {
    /// The points of a grid.
    pub fn new(spec: matrix::Grid) -> Self {
        let total = size(&spec.params).unwrap_or(u64::MAX).min(spec.num_runs.unwrap_or(u64::MAX));
        Self { params: spec.params, total }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn next(&self, past: &Past<'_>, free: u64) -> Next {
        sequence(past, free, self.total, |index| Some(point(&self.params, index)))
    }
}

/// How many combinations there are; `None` when a param has no end of values, or when they cannot be counted.
pub(super) fn size(space: &Space) -> Option<u64> {
    space.values().try_fold(1u64, |all, of| all.checked_mul(of.size()?))
}

/// The combination with an index below the size.
pub(super) fn point(space: &Space, index: u64) -> Params {
    let mut rest = index;
    let mut values = Vec::with_capacity(space.len());
    for (name, of) in space.iter().rev() {
        let size = of.size().unwrap_or(1).max(1);
        values.push((name.clone(), value_at(of, rest % size)));
        rest /= size;
    }
    values.into_iter().rev().collect()
}
