//! An ordered set that keeps a sum over every part of itself, so that the first item that will do is found without
//! looking at the parts that hold none.
//!
//! A treap: ordered by key, heaped by a number that is mixed from the item, so that its form depends on what is in it
//! and not on how it came there. Every operation walks one path: O(log n) expected.

use super::table::push_tight;

/// What a part of the set comes to.
pub(super) trait Sum: Clone {
    /// Takes another part in.
    fn join(&mut self, other: &Self);
}

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
struct Node<K, S> {
    key: K,
    item: u32,
    left: u32,
    right: u32,
    own: S,
    /// Of this node and everything below it.
    all: S,
}

/// Items (places in some slab) in the order of their keys, which are all different.
#[derive(Debug, Clone)]
pub(super) struct Tree<K, S> {
    nodes: Vec<Node<K, S>>,
    free: Vec<u32>,
    root: u32,
}

impl<K, S> Default for Tree<K, S> {
    fn default() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), root: NONE }
    }
}

/// SplitMix64 of the item.
fn weight(item: u32) -> u64 {
    let z = (u64::from(item) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl<K: Ord, S: Sum> Tree<K, S> {
    pub fn is_empty(&self) -> bool {
        self.root == NONE
    }

    /// The sum of everything.
    pub fn sum(&self) -> Option<&S> {
        self.nodes.get(self.root as usize).map(|node| &node.all)
    }

    /// The smallest key and its item.
    pub fn first(&self) -> Option<(&K, u32)> {
        let mut node = self.nodes.get(self.root as usize)?;
        while node.left != NONE {
            node = &self.nodes[node.left as usize];
        }
        Some((&node.key, node.item))
    }

    pub fn insert(&mut self, key: K, item: u32, own: S) {
        let node = Node { key, item, left: NONE, right: NONE, all: own.clone(), own };
        let new = match self.free.pop() {
            Some(place) => {
                self.nodes[place as usize] = node;
                place
            }
            None => {
                push_tight(&mut self.nodes, node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.root = self.insert_at(self.root, new);
    }

    /// Takes a key out; `false` when it is not there.
    pub fn remove(&mut self, key: &K) -> bool {
        let (root, removed) = self.remove_at(self.root, key);
        self.root = root;
        if self.root == NONE {
            // An empty set holds no memory: there are many that stay empty.
            (self.nodes, self.free) = (Vec::new(), Vec::new());
        }
        removed
    }

    /// Gives a key that is there another sum of its own.
    pub fn change(&mut self, key: &K, own: S) {
        self.change_at(self.root, key, own);
    }

    /// The first item, in order, that is taken; parts whose sum may not hold one are passed over.
    pub fn find(&self, may: &mut impl FnMut(&S) -> bool, take: &mut impl FnMut(&K, u32) -> bool) -> Option<(&K, u32)> {
        self.find_at(self.root, may, take)
    }

    /// Counts a look at a part, for tests of how the work grows.
    fn step() {
        #[cfg(test)]
        steps::TAKEN.with(|taken| taken.set(taken.get() + 1));
    }

    fn find_at(
        &self,
        at: u32,
        may: &mut impl FnMut(&S) -> bool,
        take: &mut impl FnMut(&K, u32) -> bool,
    ) -> Option<(&K, u32)> {
        let node = self.nodes.get(at as usize)?;
        Self::step();
        if !may(&node.all) {
            return None;
        }
        if let Some(found) = self.find_at(node.left, may, take) {
            return Some(found);
        }
        if may(&node.own) && take(&node.key, node.item) {
            return Some((&node.key, node.item));
        }
        self.find_at(node.right, may, take)
    }

    /// Shows every item in order, with its own sum; parts whose sum is of no interest are passed over.
    pub fn each(&self, may: &mut impl FnMut(&S) -> bool, look: &mut impl FnMut(u32, &S)) {
        self.each_at(self.root, may, look);
    }

    fn each_at(&self, at: u32, may: &mut impl FnMut(&S) -> bool, look: &mut impl FnMut(u32, &S)) {
        let Some(node) = self.nodes.get(at as usize) else { return };
        Self::step();
        if may(&node.all) {
            self.each_at(node.left, may, look);
            if may(&node.own) {
                look(node.item, &node.own);
            }
            self.each_at(node.right, may, look);
        }
    }

    fn add_up(&mut self, at: u32) {
        Self::step();
        let (left, right) = (self.nodes[at as usize].left, self.nodes[at as usize].right);
        let mut all = self.nodes[at as usize].own.clone();
        for child in [left, right] {
            if let Some(child) = self.nodes.get(child as usize) {
                all.join(&child.all);
            }
        }
        self.nodes[at as usize].all = all;
    }

    fn heavier(&self, a: u32, b: u32) -> bool {
        weight(self.nodes[a as usize].item) > weight(self.nodes[b as usize].item)
    }

    fn insert_at(&mut self, at: u32, new: u32) -> u32 {
        if at == NONE {
            return new;
        }
        if self.heavier(new, at) {
            let (less, more) = self.split(at, new);
            (self.nodes[new as usize].left, self.nodes[new as usize].right) = (less, more);
            self.add_up(new);
            return new;
        }
        if self.nodes[new as usize].key < self.nodes[at as usize].key {
            self.nodes[at as usize].left = self.insert_at(self.nodes[at as usize].left, new);
        } else {
            self.nodes[at as usize].right = self.insert_at(self.nodes[at as usize].right, new);
        }
        self.add_up(at);
        at
    }

    /// The parts before and after the key of `by`.
    fn split(&mut self, at: u32, by: u32) -> (u32, u32) {
        if at == NONE {
            return (NONE, NONE);
        }
        let parts = if self.nodes[at as usize].key < self.nodes[by as usize].key {
            let (less, more) = self.split(self.nodes[at as usize].right, by);
            self.nodes[at as usize].right = less;
            (at, more)
        } else {
            let (less, more) = self.split(self.nodes[at as usize].left, by);
            self.nodes[at as usize].left = more;
            (less, at)
        };
        self.add_up(at);
        parts
    }

    fn remove_at(&mut self, at: u32, key: &K) -> (u32, bool) {
        let Some(node) = self.nodes.get(at as usize) else { return (NONE, false) };
        let (left, right) = (node.left, node.right);
        let removed = match key.cmp(&node.key) {
            std::cmp::Ordering::Equal => {
                self.free.push(at);
                return (self.merge(left, right), true);
            }
            std::cmp::Ordering::Less => {
                let (left, removed) = self.remove_at(left, key);
                self.nodes[at as usize].left = left;
                removed
            }
            std::cmp::Ordering::Greater => {
                let (right, removed) = self.remove_at(right, key);
                self.nodes[at as usize].right = right;
                removed
            }
        };
        self.add_up(at);
        (at, removed)
    }

    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NONE || right == NONE {
            return left.min(right);
        }
        if self.heavier(left, right) {
            let below = self.nodes[left as usize].right;
            self.nodes[left as usize].right = self.merge(below, right);
            self.add_up(left);
            left
        } else {
            let below = self.nodes[right as usize].left;
            self.nodes[right as usize].left = self.merge(left, below);
            self.add_up(right);
            right
        }
    }

    fn change_at(&mut self, at: u32, key: &K, own: S) {
        let Some(node) = self.nodes.get_mut(at as usize) else { return };
        let (left, right) = (node.left, node.right);
        match key.cmp(&node.key) {
            std::cmp::Ordering::Equal => node.own = own,
            std::cmp::Ordering::Less => self.change_at(left, key, own),
            std::cmp::Ordering::Greater => self.change_at(right, key, own),
        }
        self.add_up(at);
    }
}

/// How many steps were taken through all sets.
#[cfg(test)]
pub(super) mod steps {
    thread_local! {
        pub(in crate::domain::dispatch) static TAKEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    struct Least(u64);

    impl Sum for Least {
        fn join(&mut self, other: &Self) {
            self.0 = self.0.min(other.0);
        }
    }

    proptest! {
        #[test]
        fn it_holds_and_finds_what_an_ordered_map_does(
            steps in prop::collection::vec((0u8..4, 0u32..40, 0u64..20), 0..200), most in 0u64..20,
        ) {
            let (mut tree, mut map) = (Tree::<u32, Least>::default(), BTreeMap::new());
            for (what, key, own) in steps {
                match what {
                    0 | 1 if !map.contains_key(&key) => {
                        tree.insert(key, key + 100, Least(own));
                        map.insert(key, own);
                    }
                    2 if map.contains_key(&key) => {
                        tree.change(&key, Least(own));
                        map.insert(key, own);
                    }
                    _ => prop_assert_eq!(tree.remove(&key), map.remove(&key).is_some()),
                }
                prop_assert_eq!(tree.first().map(|(key, _)| *key), map.keys().next().copied());
                prop_assert_eq!(tree.sum().map(|sum| sum.0), map.values().min().copied());
                let wanted = map.iter().find(|(_, own)| **own <= most).map(|(key, _)| (key, key + 100));
                prop_assert_eq!(tree.find(&mut |sum| sum.0 <= most, &mut |_, _| true), wanted);
            }
            let mut looked = Vec::new();
            tree.find(&mut |_| true, &mut |key, _| { looked.push(*key); false });
            prop_assert_eq!(looked, map.keys().copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_search_looks_at_few_of_many() {
        let mut tree = Tree::default();
        (0..10_000u32).for_each(|n| tree.insert(n, n, Least(u64::from(n != 7_000))));
        let mut looks = 0;
        let found = tree.find(
            &mut |sum| {
                looks += 1;
                sum.0 == 0
            },
            &mut |_, _| true,
        );
        assert_eq!(found.map(|(key, _)| *key), Some(7_000));
        assert!(looks < 200, "{looks} looks");
    }
}
