//! The ids of runs that ended not long ago, so that asking again for one does not run it twice.
//!
//! Older ids are found in the history by whoever submits; this window covers what is still under way.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::domain::ids::RunId;

/// How many are remembered: minutes of work at thousands of runs a second, for 5 MB.
pub(super) const RECENT_RUNS: usize = 100_000;

/// Only asked and never iterated, so that its order cannot reach a decision.
#[expect(clippy::disallowed_types, reason = "never iterated; the queue beside it is, in order")]
type Ids = std::collections::HashSet<RunId, BuildHasherDefault<DefaultHasher>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    order: VecDeque<RunId>,
    ids: Ids,
}

impl Recent {
    pub fn push(&mut self, id: RunId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > RECENT_RUNS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub fn contains(&self, id: RunId) -> bool {
        self.ids.contains(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = RunId> {
        self.order.iter().copied()
    }
}
