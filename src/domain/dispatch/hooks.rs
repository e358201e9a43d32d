//! What follows the end of a run: it is remembered until it is started, in one transaction with being forgotten.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::command::Follow;
use super::decide::{Decided, Draft, create};
use super::event::Event;
use super::state::State;
use crate::domain::ids::RunId;
use crate::domain::time::Timestamp;

/// The runs that something follows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Hooks {
    /// Those that have not ended.
    pub owners: BTreeSet<RunId>,
    /// Those that have, and whose hooks are not started.
    pub due: BTreeSet<RunId>,
}

impl Hooks {
    /// A run has ended.
    pub fn ended(&mut self, run: RunId) {
        if self.owners.remove(&run) {
            self.due.insert(run);
        }
    }
}

/// Starts what follows a run, once.
pub(super) fn follow(state: &State, now: Timestamp, follow: &Follow) -> Decided {
    if !state.hooks.due.contains(&follow.of) {
        return Ok(Vec::new());
    }
    let mut draft = Draft::new(state, now);
    draft.events.push(Event::RunFollowed { run: follow.of });
    for child in &follow.runs {
        let new = create(&mut draft, &child.run, None)?;
        if let Some((status, cause)) = child.ended.as_ref().filter(|_| new) {
            draft.finish(child.run.id, *status, cause.clone());
        }
    }
    Ok(draft.events)
}

impl State {
    /// Whether any run hangs on others, or is followed by some.
    pub fn leads_to_others(&self) -> bool {
        !self.preparing.is_empty() || !self.hooks.owners.is_empty() || !self.hooks.due.is_empty()
    }

    /// The runs that have ended and whose hooks are not started.
    pub fn to_follow(&self) -> impl Iterator<Item = RunId> {
        self.hooks.due.iter().copied()
    }
}
