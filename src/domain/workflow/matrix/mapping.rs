//! `mapping`: the params that are listed, in this order.

use super::{Next, Past, sequence};
use crate::domain::spec::matrix;

/// The params that are listed.
#[derive(Debug, Clone)]
pub struct Mapping {
    spec: matrix::Mapping,
}

impl Mapping {
    /// The points of a mapping.
    pub fn new(spec: matrix::Mapping) -> Self {
        Self { spec }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.spec.values.len() as u64
    }

    pub(super) fn next(&self, past: &Past<'_>, free: u64) -> Next {
        sequence(past, free, self.total(), |index| self.spec.values.get(usize::try_from(index).ok()?).cloned())
    }
}
