//! Against the starving of wide operations: one reservation for each queue, and one for each level of an agent.
//!
//! Where narrow operations may pass a wide one, they could pass it for ever. So whoever is passed over first is
//! remembered, and once it has been passed [`SKIPS`] times or for [`PATIENCE`], what it asks for is kept: others see
//! only what is left beside it (EASY backfill). From then on nothing that starts takes any of what it lacks, so that
//! it starts when enough of those that ran at that moment have ended. A reservation of a level binds that level and
//! those below; it rests while something else than quota or capacity stands in the way of its owner.

use super::queues::{Queue, Queues, Rank};
use super::shapes::{Room, Shortage};
use super::table::{Ix, RunIx, Table};
use crate::domain::spec::Order;
use crate::domain::time::{Span, Timestamp};

/// How often an operation is passed over before its share is kept for it.
pub const SKIPS: u32 = 16;
/// How long after it was first passed over the next one that passes it is the last.
pub const PATIENCE: Span = Span::seconds(60);

/// Who was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// The first of the line of `shape`, as long as it waits.
    pub run: RunIx,
    pub shape: Ix,
    pub skips: u32,
    pub since: Timestamp,
}

impl Patience {
    fn begin(run: RunIx, shape: Ix, at: Timestamp) -> Self {
        Self { run, shape, skips: 1, since: at }
    }

    fn skip(&mut self, at: Timestamp) {
        self.skips = self.skips.saturating_add(1);
        if at.since(self.since) >= PATIENCE {
            self.skips = self.skips.max(SKIPS);
        }
    }

    pub fn is_due(&self) -> bool {
        self.skips >= SKIPS
    }
}

impl Queues {
    /// The shape whose first operation has a reservation on its queue's quota.
    pub fn reserved_in_queue(&self, queue: &Queue) -> Option<Ix> {
        let due = queue.patience.filter(|patience| patience.is_due() && queue.policy.order == Order::Backfill);
        due.map(|patience| patience.shape).filter(|shape| self.shapes[*shape].is_listed())
    }

    /// The shape whose first operation has a reservation on its agent's capacity, for a level.
    pub fn reserved_in_level(&self, agent: Ix, rank: Rank) -> Option<Ix> {
        let due = self.agents[agent].patience.get(&rank).filter(|patience| patience.is_due())?;
        self.lacks_only_capacity(rank, due.shape).then_some(due.shape)
    }

    /// Whether nothing but its agent can stand in the way of the first operation of a shape.
    fn lacks_only_capacity(&self, rank: Rank, shape: Ix) -> bool {
        let queue = &self.queues[self.shapes[shape].queue];
        let strict = queue.policy.order == Order::Strict;
        let blocked = strict && queue.lines.first().is_none_or(|(_, first)| first != shape);
        !blocked
            && queue.rank() == rank
            && queue.is_listed()
            && self.shapes[shape].is_listed()
            && self.fits_queue(queue, shape)
    }

    /// What an agent has left for a level: without what is kept for higher levels and, when `own` says so, for itself.
    pub fn room_for_level(&self, agent: Ix, rank: Rank, own: bool) -> Room<'_> {
        let item = &self.agents[agent];
        let mut room = item.capacity.room(&item.used_of);
        let above = item.patience.keys().filter(|other| **other < rank || own && **other == rank);
        let kept: Vec<Ix> = above.filter_map(|other| self.reserved_in_level(agent, *other)).collect();
        kept.into_iter().for_each(|shape| room.keep(&self.shapes[shape].request));
        room
    }

    /// What a shape lacks of its queue's quota because of a reservation, and whose that is.
    pub fn kept_in_queue(&self, queue: &Queue, shape: Ix) -> Option<(Shortage, RunIx)> {
        let owner = self.reserved_in_queue(queue).filter(|owner| *owner != shape)?;
        let mut room = queue.quota.room(&queue.used_of);
        room.keep(&self.shapes[owner].request);
        Some((room.shortage(&self.shapes[shape].request)?, self.shapes[owner].line.first()?))
    }

    /// What a shape lacks of its agent's capacity because of reservations, and whose the highest of them is.
    pub fn kept_on_agent(&self, queue: &Queue, shape: Ix) -> Option<(Shortage, RunIx)> {
        let (agent, rank) = (queue.agent, queue.rank());
        let own = self.reserved_in_level(agent, rank) != Some(shape);
        let shortage = self.room_for_level(agent, rank, own).shortage(&self.shapes[shape].request)?;
        let ranks = self.agents[agent].patience.keys().filter(|other| **other <= rank);
        let owner = ranks.filter_map(|rank| self.reserved_in_level(agent, *rank)).find(|owner| *owner != shape)?;
        Some((shortage, self.shapes[owner].line.first()?))
    }

    /// Notes whom an operation passes over that is about to get its slot.
    pub(super) fn note_skips(&mut self, runs: &Table, run: RunIx, at: Timestamp) {
        // The queue may keep something from now on, but what counts is how things stood when the operation was chosen.
        self.note_skips_of_levels(runs, run, at);
        self.note_skips_of_queue(runs, run, at);
    }

    fn note_skips_of_queue(&mut self, runs: &Table, run: RunIx, at: Timestamp) {
        let (ix, order) = (runs[run].queue, runs[run].order);
        let queue = &self.queues[ix];
        if queue.policy.order == Order::Backfill {
            let kept = queue.patience.filter(|patience| self.shapes[patience.shape].is_listed());
            let noted = match kept {
                Some(mut patience) if runs[patience.run].order < order => {
                    patience.skip(at);
                    Some(patience)
                }
                Some(_) => None,
                None => self.first_of(queue).filter(|(_, first)| runs[*first].order < order).map(|(shape, first)| {
                    // The first of all lines that can fit some day.
                    Patience::begin(first, shape, at)
                }),
            };
            if noted.is_some() {
                self.queues[ix].patience = noted;
            }
        }
    }

    fn first_of(&self, queue: &Queue) -> Option<(Ix, RunIx)> {
        let (_, shape) = queue.lines.first()?;
        Some((shape, self.shapes[shape].line.first()?))
    }

    fn note_skips_of_levels(&mut self, runs: &Table, run: RunIx, at: Timestamp) {
        let queue = &self.queues[runs[run].queue];
        let (agent, own) = (queue.agent, queue.rank());
        if self.agents[agent].capacity.is_open() {
            return;
        }
        let mut noted: Vec<(Rank, Patience)> = Vec::new();
        for rank in self.agents[agent].ranks() {
            let known = self.agents[agent].patience.get(&rank).copied();
            let known = known.filter(|patience| self.lacks_only_capacity(rank, patience.shape));
            let patience = match known {
                Some(patience) if patience.run == run => None,
                Some(mut patience) => (rank != own || self.stands_before(runs, patience.run, run)).then(|| {
                    patience.skip(at);
                    patience
                }),
                None => self.first_of_level(agent, rank).and_then(|shape| {
                    let first = self.shapes[shape].line.first().filter(|first| *first != run)?;
                    Some(Patience::begin(first, shape, at))
                }),
            };
            noted.extend(patience.map(|patience| (rank, patience)));
            if rank == own {
                break;
            }
        }
        self.agents[agent].patience.extend(noted);
    }

    /// The line that would go first in a level if there were capacity for everything.
    fn first_of_level(&self, agent: Ix, rank: Rank) -> Option<Ix> {
        let (_, queue) = self.agents[agent].levels.get(&rank)?.ready.first()?;
        self.line(&self.queues[queue], None).map(|(_, shape)| shape)
    }

    /// Whether one stands before another in the order of their level.
    fn stands_before(&self, runs: &Table, one: RunIx, other: RunIx) -> bool {
        let (a, b) = (&self.queues[runs[one].queue], &self.queues[runs[other].queue]);
        (&a.listed, runs[one].order) < (&b.listed, runs[other].order)
    }

    /// Forgets about an operation that no longer waits.
    pub(super) fn forget(&mut self, queue: Ix, run: RunIx) {
        let queue = &mut self.queues[queue];
        queue.patience = queue.patience.filter(|patience| patience.run != run);
        let agent = &mut self.agents[queue.agent];
        if agent.patience.values().any(|patience| patience.run == run) {
            agent.patience.retain(|_, patience| patience.run != run);
            agent.parked = false;
        }
    }
}
