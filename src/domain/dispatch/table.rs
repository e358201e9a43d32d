//! The unfinished runs: a slab with an index by id, and the lines (first in, first out) that thread through it.
//!
//! A run stands in at most one line: its links lie in the run itself, so standing in two is impossible by construction.

use super::index::Index;
use super::status::Status;
use crate::domain::ids::RunId;

/// Most unfinished runs that one server holds: at no more than 100 bytes each, 2 GB.
pub const MAX_RUNS: usize = 20_000_000;

/// Place of a run in the slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RunIx(pub u32);

/// Place of a gate, queue or shape in its slab.
pub(super) type Ix = u32;

const NONE: u32 = u32::MAX;

/// What decisions need of an unfinished run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub id: RunId,
    pub status: Status,
    /// Place in the order of arrival; smaller goes first.
    pub order: u64,
    /// Place in the line of its queue, while it stands there.
    pub place: u64,
    pub attempt: u32,
    pub max_retries: u32,
    pub queue: Ix,
    pub shape: Ix,
    /// The gate that it waits at or has passed.
    pub gate: Option<Ix>,
    /// Its own gates, when it is a pipeline.
    pub pipeline: Option<Pipeline>,
    /// Whether it has passed its gates (and counts in them).
    pub passed: bool,
    /// Whether what there is to say about it was said.
    pub noted: bool,
    prev: u32,
    next: u32,
}

/// The gates that a pipeline is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pipeline {
    /// Counts its direct children.
    pub direct: Ix,
    /// Counts the leaves below its controller.
    pub controller: Ix,
}

impl Run {
    pub fn new(id: RunId, order: u64, queue: Ix, shape: Ix, max_retries: u32) -> Self {
        Self {
            id,
            status: Status::Created,
            order,
            place: 0,
            attempt: 0,
            max_retries,
            queue,
            shape,
            gate: None,
            pipeline: None,
            passed: false,
            noted: false,
            prev: NONE,
            next: NONE,
        }
    }
}

/// Runs of a block of the slab: the slab grows by blocks, so that no push ever copies what is there.
const BLOCK: usize = 4096;

/// The unfinished runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    blocks: Vec<Vec<Option<Run>>>,
    free: Vec<RunIx>,
    index: Index,
}

impl Table {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn find(&self, id: RunId) -> Option<RunIx> {
        self.index.find(id, |ix| self.get(ix).is_some_and(|run| run.id == id))
    }

    /// Whether a place is (still) that of a run.
    pub fn is_at(&self, ix: RunIx, id: RunId) -> bool {
        self.get(ix).is_some_and(|run| run.id == id)
    }

    pub fn insert(&mut self, run: Run) -> RunIx {
        let ix = self.free.pop().unwrap_or_else(|| {
            if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
                self.blocks.push(Vec::with_capacity(BLOCK));
            }
            let before = (self.blocks.len() - 1) * BLOCK;
            let block = self.blocks.last_mut().expect("there is one, made above if need be");
            block.push(None);
            RunIx(u32::try_from(before + block.len() - 1).expect("MAX_RUNS is far below u32::MAX"))
        });
        let id = run.id;
        self.blocks[ix.0 as usize / BLOCK][ix.0 as usize % BLOCK] = Some(run);
        let Self { blocks, index, .. } = self;
        index.insert(id, ix, |ix| id_at(blocks, ix));
        ix
    }

    pub fn remove(&mut self, ix: RunIx) -> Run {
        let slot = &mut self.blocks[ix.0 as usize / BLOCK][ix.0 as usize % BLOCK];
        let run = slot.take().expect("the index only names occupied slots");
        self.index.remove(run.id, ix);
        self.free.push(ix);
        run
    }

    pub fn iter(&self) -> impl Iterator<Item = (RunIx, &Run)> {
        let slots = self.blocks.iter().flatten().enumerate();
        slots.filter_map(|(i, slot)| slot.as_ref().map(|run| (RunIx(i as u32), run)))
    }

    /// The run at a place, if there is one.
    pub fn get(&self, ix: RunIx) -> Option<&Run> {
        self.blocks.get(ix.0 as usize / BLOCK)?.get(ix.0 as usize % BLOCK)?.as_ref()
    }
}

fn id_at(blocks: &[Vec<Option<Run>>], ix: RunIx) -> RunId {
    let slot = &blocks[ix.0 as usize / BLOCK][ix.0 as usize % BLOCK];
    slot.as_ref().expect("the index only names occupied slots").id
}

impl std::ops::Index<RunIx> for Table {
    type Output = Run;
    fn index(&self, ix: RunIx) -> &Run {
        self.get(ix).expect("the index only names occupied slots")
    }
}

impl std::ops::IndexMut<RunIx> for Table {
    fn index_mut(&mut self, ix: RunIx) -> &mut Run {
        let slot = &mut self.blocks[ix.0 as usize / BLOCK][ix.0 as usize % BLOCK];
        slot.as_mut().expect("the index only names occupied slots")
    }
}

/// A line of runs, first in, first out; leaving from the middle costs nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for Line {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}

impl Line {
    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn first(&self) -> Option<RunIx> {
        (self.head != NONE).then_some(RunIx(self.head))
    }

    pub fn last(&self) -> Option<RunIx> {
        (self.tail != NONE).then_some(RunIx(self.tail))
    }

    pub fn push(&mut self, runs: &mut Table, ix: RunIx) {
        runs[ix].prev = self.tail;
        runs[ix].next = NONE;
        match self.tail {
            NONE => self.head = ix.0,
            tail => runs[RunIx(tail)].next = ix.0,
        }
        self.tail = ix.0;
        self.len += 1;
    }

    pub fn remove(&mut self, runs: &mut Table, ix: RunIx) {
        let (prev, next) = (runs[ix].prev, runs[ix].next);
        match prev {
            NONE => self.head = next,
            prev => runs[RunIx(prev)].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => runs[RunIx(next)].prev = prev,
        }
        (runs[ix].prev, runs[ix].next) = (NONE, NONE);
        self.len -= 1;
    }

    pub fn iter<'a>(&self, runs: &'a Table) -> impl Iterator<Item = RunIx> + use<'a> {
        let after = |ix: u32| (ix != NONE).then_some(RunIx(ix));
        std::iter::successors(after(self.head), move |ix| after(runs[*ix].next))
    }
}

/// Adds at the end of a vector that grows by a quarter: of what is kept for each run or queue, doubling would leave up
/// to half unused.
pub(super) fn push_tight<T>(items: &mut Vec<T>, item: T) {
    if items.len() == items.capacity() {
        items.reserve_exact(1 + items.len() / 4);
    }
    items.push(item);
}

/// A vector with reusable places.
#[derive(Debug, Clone)]
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<Ix>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, item: T) -> Ix {
        let ix = self.free.pop().unwrap_or_else(|| {
            push_tight(&mut self.slots, None);
            (self.slots.len() - 1) as Ix
        });
        self.slots[ix as usize] = Some(item);
        ix
    }

    pub fn remove(&mut self, ix: Ix) -> T {
        self.free.push(ix);
        self.slots[ix as usize].take().expect("only occupied places are removed")
    }

    pub fn iter(&self) -> impl Iterator<Item = (Ix, &T)> {
        self.slots.iter().enumerate().filter_map(|(i, slot)| slot.as_ref().map(|item| (i as Ix, item)))
    }
}

impl<T> std::ops::Index<Ix> for Slab<T> {
    type Output = T;
    fn index(&self, ix: Ix) -> &T {
        self.slots[ix as usize].as_ref().expect("only occupied places are named")
    }
}

impl<T> std::ops::IndexMut<Ix> for Slab<T> {
    fn index_mut(&mut self, ix: Ix) -> &mut T {
        self.slots[ix as usize].as_mut().expect("only occupied places are named")
    }
}
