//! Where a run lies in the slab, by its id: four bytes and a tag for each run, because the ids lie in the slab.
//!
//! Many small tables instead of one, so that no table that grows holds up the loop.

use std::hash::{DefaultHasher, Hash, Hasher};

use hashbrown::HashTable;

use super::table::RunIx;
use crate::domain::ids::RunId;

/// How many tables: with 10⁷ runs each has about 2,500, which are moved in some ten microseconds.
const PARTS: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    parts: Vec<HashTable<RunIx>>,
    len: usize,
}

/// The same in every process: nothing iterates over the index, but equal histories should cost the same.
fn hash(id: RunId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The tables use the low bits themselves.
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

impl Index {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn find(&self, id: RunId, is: impl Fn(RunIx) -> bool) -> Option<RunIx> {
        let hash = hash(id);
        self.parts.get(part(hash))?.find(hash, |ix| is(*ix)).copied()
    }

    /// Puts in an id that is not there; `id_of` says the ids of those that are.
    pub fn insert(&mut self, id: RunId, ix: RunIx, id_of: impl Fn(RunIx) -> RunId) {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, HashTable::new);
        }
        let hash_of = hash(id);
        self.parts[part(hash_of)].insert_unique(hash_of, ix, |ix| hash(id_of(*ix)));
        self.len += 1;
    }

    pub fn remove(&mut self, id: RunId, ix: RunIx) {
        let hash = hash(id);
        if let Some(part) = self.parts.get_mut(part(hash))
            && let Ok(entry) = part.find_entry(hash, |other| *other == ix)
        {
            entry.remove();
            self.len -= 1;
        }
    }
}
