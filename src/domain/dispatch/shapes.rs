//! Requests as vectors of whole numbers, and whether one fits beside what is used.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::table::{Ix, Slab};
use super::tree::{Sum, Tree};
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

/// What an attempt asks for; only what is not zero, ordered. All that ask for the same share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Request(pub Arc<[(Dim, u64)]>);

/// What running operations ask together; wide enough that no number of requests can overflow it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Used(Vec<u128>);

impl Used {
    pub fn get(&self, dim: Dim) -> u128 {
        self.0.get(dim as usize).copied().unwrap_or(0)
    }

    pub fn add(&mut self, request: &Request) {
        for (dim, amount) in request.0.iter() {
            if self.0.len() <= *dim as usize {
                self.0.resize(*dim as usize + 1, 0);
            }
            self.0[*dim as usize] += u128::from(*amount);
        }
    }

    pub fn sub(&mut self, request: &Request) {
        for (dim, amount) in request.0.iter() {
            self.0[*dim as usize] -= u128::from(*amount);
        }
    }
}

/// What may be asked together, by place of the resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ceiling(Vec<u64>);

/// The amount of a resource that is not limited; above every legal amount.
const NO_LIMIT: u64 = u64::MAX;

/// The first resource of a request that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    pub dim: Dim,
    pub need: u64,
    pub have: u64,
}

impl Ceiling {
    pub fn of(dims: &mut Dims, resources: &Resources) -> Self {
        let mut ceiling = Vec::new();
        for (name, amount) in &resources.0 {
            let dim = dims.intern(name) as usize;
            if ceiling.len() <= dim {
                ceiling.resize(dim + 1, NO_LIMIT);
            }
            // Two spellings of one resource: the smaller amount holds.
            ceiling[dim] = ceiling[dim].min(amount.millis());
        }
        Self(ceiling)
    }

    /// Whether it limits nothing.
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// What stands in the way of the request beside what is used, if anything.
    pub fn shortage(&self, used: &Used, request: &Request) -> Option<Shortage> {
        self.room(used).shortage(request)
    }

    /// What is left beneath it.
    pub fn room<'a>(&'a self, used: &'a Used) -> Room<'a> {
        Room { ceiling: self, used, kept: Used::default() }
    }
}

/// What is left beneath a ceiling, beside what is used and what is kept for somebody.
#[derive(Debug, Clone)]
pub(super) struct Room<'a> {
    ceiling: &'a Ceiling,
    used: &'a Used,
    kept: Used,
}

impl Room<'_> {
    /// Keeps what a request asks for from everybody else.
    pub fn keep(&mut self, request: &Request) {
        self.kept.add(request);
    }

    fn of(&self, dim: Dim) -> u64 {
        match self.ceiling.0.get(dim as usize) {
            None | Some(&NO_LIMIT) => NO_LIMIT,
            Some(limit) => {
                let taken = self.used.get(dim).saturating_add(self.kept.get(dim));
                u64::try_from(u128::from(*limit).saturating_sub(taken)).unwrap_or(NO_LIMIT)
            }
        }
    }

    /// What stands in the way of a request, if anything.
    pub fn shortage(&self, request: &Request) -> Option<Shortage> {
        request.0.iter().find_map(|(dim, need)| {
            let have = self.of(*dim);
            (*need > have).then_some(Shortage { dim: *dim, need: *need, have })
        })
    }

    pub fn fits(&self, request: &Request) -> bool {
        self.shortage(request).is_none()
    }

    /// The amounts that [`Need`] is compared with.
    pub fn bound(&self) -> Bound {
        Bound(std::array::from_fn(|dim| below(self.of(dim as Dim))))
    }
}

/// Resources by which a search is narrowed, the first that anybody named; the others are looked at in the end.
const BOUNDED: usize = 4;

/// An amount in half the room, in the same order: exact below 2²⁶ thousandths, and beyond that the next smaller amount of
/// 26 binary digits.
fn below(amount: u64) -> u32 {
    let shift = (u64::BITS - amount.leading_zeros()).saturating_sub(26);
    (shift << 25) + (amount >> shift) as u32
}

/// As [`below`], but not smaller than the amount.
fn above(amount: u64) -> u32 {
    let shift = (u64::BITS - amount.leading_zeros()).saturating_sub(26);
    below(amount) + u32::from(amount & ((1 << shift) - 1) != 0)
}

/// What is left of the resources that searches are narrowed by, not more than there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound([u32; BOUNDED]);

impl Bound {
    /// The smaller of both, resource by resource.
    pub fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|dim| self.0[dim].min(other.0[dim])))
    }
}

/// What a set of lines asks for at least and at most, and of which classes their requests are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    least: [u32; BOUNDED],
    most: [u32; BOUNDED],
    pub classes: Classes,
}

impl Need {
    pub fn of(request: &Request, classes: Classes) -> Self {
        let (mut least, mut most) = ([0; BOUNDED], [0; BOUNDED]);
        for (dim, amount) in request.0.iter() {
            match least.get_mut(*dim as usize) {
                Some(least) => (*least, most[*dim as usize]) = (below(*amount), above(*amount)),
                // Who asks for a resource that is not looked at here never fits for certain.
                None => most = [u32::MAX; BOUNDED],
            }
        }
        Self { least, most, classes }
    }

    /// Whether all of it fits: never wrong when it says yes.
    fn all_fit(&self, bound: &Bound) -> bool {
        self.most.iter().zip(&bound.0).all(|(most, left)| most <= left)
    }

    /// Whether something of it may fit: never wrong when it says no.
    pub fn may_fit(&self, bound: &Bound) -> bool {
        self.least.iter().zip(&bound.0).all(|(least, left)| least <= left)
    }
}

impl Sum for Need {
    fn join(&mut self, other: &Self) {
        self.least = std::array::from_fn(|dim| self.least[dim].min(other.least[dim]));
        self.most = std::array::from_fn(|dim| self.most[dim].max(other.most[dim]));
        self.classes.join(&other.classes);
    }
}

/// A set of classes of requests, a bit for each. Different requests of one agent are of different classes as long as
/// there are at most 64; beyond that some share one, and a search may look at a queue in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Classes(u64);

impl Classes {
    /// The class of the n-th request.
    pub fn nth(n: u32) -> Self {
        Self(1 << (n % 64))
    }

    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it holds everything of another.
    pub fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Sum for Classes {
    fn join(&mut self, other: &Self) {
        self.add(*other);
    }
}

/// The different requests of the runs of one agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Menu {
    items: Slab<Item>,
    of: BTreeMap<Request, Ix>,
    /// By the amount of the first resource, then by place.
    sizes: Tree<(u64, Ix), Need>,
}

#[derive(Debug, Clone)]
struct Item {
    request: Request,
    /// Shapes that ask for it.
    shapes: u32,
}

impl Menu {
    /// One more shape asks for it; answers its place, and the request as all share it.
    pub fn join(&mut self, request: &Request) -> (Ix, Request) {
        if let Some((shared, ix)) = self.of.get_key_value(request) {
            self.items[*ix].shapes += 1;
            return (*ix, shared.clone());
        }
        let ix = self.items.insert(Item { request: request.clone(), shapes: 1 });
        self.of.insert(request.clone(), ix);
        self.sizes.insert(Self::size(request, ix), ix, Need::of(request, Classes::nth(ix)));
        (ix, request.clone())
    }

    /// A shape is gone.
    pub fn part(&mut self, ix: Ix) {
        self.items[ix].shapes -= 1;
        if self.items[ix].shapes == 0 {
            let item = self.items.remove(ix);
            self.of.remove(&item.request);
            self.sizes.remove(&Self::size(&item.request, ix));
        }
    }

    /// The classes of the requests that fit.
    pub fn fitting(&self, room: &Room<'_>) -> Classes {
        collect(&self.sizes, &room.bound(), |ix| room.fits(&self.items[ix].request))
    }

    fn size(request: &Request, ix: Ix) -> (u64, Ix) {
        (request.0.first().map_or(0, |(_, amount)| *amount), ix)
    }
}

/// The classes of the items that do: parts that fit as a whole are taken as a whole, and those that can add nothing are
/// not looked at.
pub(super) fn collect<K: Ord>(tree: &Tree<K, Need>, bound: &Bound, does: impl Fn(Ix) -> bool) -> Classes {
    let found = std::cell::Cell::new(Classes::default());
    let add = |classes| {
        let mut more = found.get();
        more.add(classes);
        found.set(more);
    };
    let mut may = |need: &Need| {
        let whole = need.all_fit(bound);
        if whole {
            add(need.classes);
        }
        !whole && need.may_fit(bound) && !found.get().covers(need.classes)
    };
    tree.each(&mut may, &mut |item, need: &Need| {
        if does(item) {
            add(need.classes);
        }
    });
    found.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn narrow_amounts_keep_the_order_and_never_err_to_the_wrong_side(a in any::<u64>(), b in any::<u64>(), by in 0u32..64) {
            for (a, b) in [(a, b), (a >> by, b >> by), (a, a >> by), (a >> by, (a >> by).saturating_add(1))] {
                prop_assert!(below(a.min(b)) <= below(a.max(b)));
                prop_assert!(below(a) <= above(a) && above(a) < u32::MAX);
                prop_assert!(above(a) > below(b) || a <= b, "what fits for certain fits: {} {}", a, b);
                prop_assert!(a >= 1 << 26 || u64::from(below(a)) == a && below(a) == above(a));
            }
        }
    }
}
