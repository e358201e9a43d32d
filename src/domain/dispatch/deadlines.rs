//! Pipelines that may run only so long: their time begins when they do, and at its end they stop with all below them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::observation::{Cause, DEADLINE_EXCEEDED};
use super::pipelines::stop;
use super::state::State;
use super::status::Status;
use crate::domain::ids::RunId;
use crate::domain::time::{Span, Timestamp};

/// The unfinished pipelines with a timeout.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Deadlines {
    /// How long each may run.
    limits: BTreeMap<RunId, Span>,
    /// Those that run, by the end of their time.
    due: BTreeSet<(Timestamp, RunId)>,
}

impl Deadlines {
    /// A pipeline may run so long, once it runs.
    pub fn limit(&mut self, run: RunId, limit: Span) {
        self.limits.insert(run, limit);
    }

    /// A run begins; one without a limit is none of ours.
    pub fn begin(&mut self, run: RunId, now: Timestamp) {
        if let Some(limit) = self.limits.get(&run) {
            self.due.insert((now.after(*limit), run));
        }
    }

    /// It stops, or has ended.
    pub fn forget(&mut self, run: RunId) {
        if self.limits.remove(&run).is_some() {
            self.due.retain(|(_, other)| *other != run);
        }
    }

    /// When the next one is due.
    pub fn first(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// What becomes of the first pipeline whose time is over, if there is one.
pub(super) fn expired(state: &State, now: Timestamp) -> Option<Vec<Event>> {
    let (at, run) = *state.deadlines.due.first()?;
    let limit = state.deadlines.limits.get(&run).filter(|_| at <= now)?;
    let cause = Cause::new(DEADLINE_EXCEEDED, format!("it took longer than its timeout of {limit}"));
    stop(state, now, run, Status::Failed, &cause)
}
