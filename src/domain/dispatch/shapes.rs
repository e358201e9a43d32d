//! Requests as vectors of whole numbers, and whether one fits beside what is used.

use std::collections::BTreeMap;

use crate::domain::quantity::{Quantity, Resources, canonical_resource};

/// Place of a resource in vectors.
pub(super) type Dim = u16;

/// The resources that anybody has named, in order of first appearance.
#[derive(Debug, Clone, Default)]
pub(super) struct Dims {
    names: Vec<String>,
    by_name: BTreeMap<String, Dim>,
}

impl Dims {
    /// The place of a resource, given out when it is new. Beyond 65,535 resources the last place is shared, which
    /// only makes requests look larger.
    pub fn intern(&mut self, name: &str) -> Dim {
        let name = canonical_resource(name);
        if let Some(dim) = self.by_name.get(name) {
            return *dim;
        }
        let dim = Dim::try_from(self.names.len()).unwrap_or(Dim::MAX);
        self.names.push(name.to_owned());
        self.by_name.insert(name.to_owned(), dim);
        dim
    }

    /// All names, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn name(&self, dim: Dim) -> &str {
        &self.names[dim as usize]
    }

    pub fn request(&mut self, resources: &Resources) -> Request {
        let mut needs: Vec<(Dim, u64)> = Vec::new();
        for (name, amount) in &resources.canonical().0 {
            needs.push((self.intern(name), amount.millis()));
        }
        needs.sort_unstable();
        Request(needs.into())
    }

    pub fn resources_of(&self, request: &Request) -> Resources {
        let named = request.0.iter().map(|(dim, n)| (self.names[*dim as usize].clone(), Quantity::from_millis(*n)));
        Resources(named.collect())
    }

    pub fn resources(&self, used: &Used) -> Resources {
        let named = used.0.iter().enumerate().filter(|(_, amount)| **amount > 0);
        let amount = |n: &u128| Quantity::from_millis(u64::try_from(*n).unwrap_or(u64::MAX));
        Resources(named.map(|(dim, n)| (self.names[dim].clone(), amount(n))).collect())
    }
}

/// What an attempt asks for; only what is not zero, ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Request(pub Box<[(Dim, u64)]>);

/// What running operations ask together; wide enough that no number of requests can overflow it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Used(Vec<u128>);

impl Used {
    pub fn get(&self, dim: Dim) -> u128 {
        self.0.get(dim as usize).copied().unwrap_or(0)
    }

    pub fn add(&mut self, request: &Request) {
        for (dim, amount) in &request.0 {
            if self.0.len() <= *dim as usize {
                self.0.resize(*dim as usize + 1, 0);
            }
            self.0[*dim as usize] += u128::from(*amount);
        }
    }

    pub fn sub(&mut self, request: &Request) {
        for (dim, amount) in &request.0 {
            self.0[*dim as usize] -= u128::from(*amount);
        }
    }
}

/// What may be asked together; a resource that is not named is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ceiling(BTreeMap<Dim, u64>);

/// The first resource of a request that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    pub dim: Dim,
    pub need: u64,
    pub have: u64,
}

impl Ceiling {
    pub fn of(dims: &mut Dims, resources: &Resources) -> Self {
        let mut ceiling = BTreeMap::new();
        for (name, amount) in &resources.0 {
            // Two spellings of one resource: the smaller amount holds.
            let entry = ceiling.entry(dims.intern(name)).or_insert(u64::MAX);
            *entry = (*entry).min(amount.millis());
        }
        Self(ceiling)
    }

    /// What stands in the way of the request beside what is used, if anything.
    pub fn shortage(&self, used: &Used, request: &Request) -> Option<Shortage> {
        request.0.iter().find_map(|(dim, need)| {
            let free = u128::from(*self.0.get(dim)?).saturating_sub(used.get(*dim));
            let have = u64::try_from(free).unwrap_or(u64::MAX);
            (*need > have).then_some(Shortage { dim: *dim, need: *need, have })
        })
    }
}
