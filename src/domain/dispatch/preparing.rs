//! Runs that are not what they will be yet: values of other runs, a condition or an event decide what they run, and
//! whether. Such a run stands nowhere before somebody has read all that ([`super::command::Prepare`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::Prepare;
use super::decide::{Decided, begins, finished};
use super::event::Event;
use super::state::State;
use crate::domain::ids::RunId;
use crate::domain::time::Timestamp;

/// Whether somebody must approve a run before it is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Approval {
    Awaited,
    /// It was given, or nobody asks for it.
    Given,
}

/// The runs that are not prepared.
pub(super) type Preparing = BTreeMap<RunId, Approval>;

/// A run is what it will be, or ends without a start; nothing happens to one that does not wait for this.
pub(super) fn prepare(state: &State, now: Timestamp, prepare: &Prepare) -> Decided {
    let waits = state.preparing.get(&prepare.run) == Some(&Approval::Given);
    let Some(ix) = state.runs.find(prepare.run).filter(|_| waits) else { return Ok(Vec::new()) };
    if let Some((status, cause)) = &prepare.ended {
        return Ok(vec![finished(prepare.run, *status, cause.clone(), now)]);
    }
    let mut events = vec![Event::RunPrepared { run: prepare.run, spec: prepare.spec }];
    if state.begins_at_once(ix) {
        events.push(begins(prepare.run, state.runs[ix].attempt, now));
    }
    Ok(events)
}

impl State {
    /// Whether a run can be prepared.
    pub fn is_to_prepare(&self, run: RunId) -> bool {
        self.preparing.get(&run) == Some(&Approval::Given)
    }

    /// The runs that can be prepared.
    pub fn to_prepare(&self) -> impl Iterator<Item = RunId> {
        self.preparing.iter().filter(|(_, approval)| **approval == Approval::Given).map(|(run, _)| *run)
    }
}
