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
    /// The same by run, so that nothing is looked through; not stored.
    #[serde(skip)]
    end_of: BTreeMap<RunId, Timestamp>,
}

impl Deadlines {
    /// A pipeline may run so long, once it runs.
    pub fn limit(&mut self, run: RunId, limit: Span) {
        self.limits.insert(run, limit);
    }

    /// A run begins; one without a limit is none of ours.
    pub fn begin(&mut self, run: RunId, now: Timestamp) {
        if let Some(limit) = self.limits.get(&run) {
            let end = now.after(*limit);
            if let Some(before) = self.end_of.insert(run, end) {
                self.due.remove(&(before, run));
            }
            self.due.insert((end, run));
        }
    }

    /// It stops, or has ended.
    pub fn forget(&mut self, run: RunId) {
        self.limits.remove(&run);
        if let Some(end) = self.end_of.remove(&run) {
            self.due.remove(&(end, run));
        }
    }

    /// From a snapshot.
    pub fn restored(mut self) -> Self {
        self.end_of = self.due.iter().map(|(end, run)| (*run, *end)).collect();
        self
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
