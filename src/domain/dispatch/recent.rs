//! The runs that ended not long ago, so that asking again for one, or for it to go on, does not run it twice.
//!
//! Older ids are found in the history by whoever submits; this window covers what is still under way.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::domain::ids::RunId;

/// How many are remembered: minutes of work at thousands of runs a second, for 5 MB.
pub(super) const RECENT_RUNS: usize = 100_000;

/// Only asked and never iterated, so that its order cannot reach a decision.
#[expect(clippy::disallowed_types, reason = "never iterated; the queue beside it is, in order")]
type Ids = std::collections::HashMap<RunId, u32, BuildHasherDefault<DefaultHasher>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    order: VecDeque<RunId>,
    /// With the newest attempt of each.
    ids: Ids,
}

impl Recent {
    pub fn push(&mut self, id: RunId, attempt: u32) {
        if self.ids.insert(id, attempt).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > RECENT_RUNS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// The newest attempt of a run that ended not long ago.
    pub fn attempt(&self, id: RunId) -> Option<u32> {
        self.ids.get(&id).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (RunId, u32)> {
        self.order.iter().map(|id| (*id, self.ids.get(id).copied().unwrap_or_default()))
    }
}
