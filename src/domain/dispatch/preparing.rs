//! Runs that are not what they will be yet: values of other runs, a condition or an event decide what they run, and
//! whether, or their image is to be built. Such a run stands nowhere before somebody has read all that
//! ([`super::command::Prepare`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::{ComesTo, Prepare};
use super::decide::{Decided, Draft, begins, create, finished};
use super::event::{Event, NewRun};
use super::observation::Cause;
use super::pipelines::stop_leaf;
use super::state::State;
use super::table::RunIx;
use crate::domain::ids::RunId;
use crate::domain::time::Timestamp;

/// A run that is not prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub stage: Stage,
    /// Whether somebody must approve it when it is prepared.
    approval_follows: bool,
}

/// How far a run is that is not prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Somebody must approve it first.
    Approval,
    /// It can be prepared as soon as what it hangs on is known.
    Values,
    /// This run builds its image.
    Build(RunId),
}

impl Open {
    /// That of a new run, unless it needs no preparing. Who builds an image is asked for approval after that.
    pub fn of(new: &NewRun) -> Option<Self> {
        let stage = if new.needs_approval && !new.builds { Stage::Approval } else { Stage::Values };
        new.unprepared.then_some(Self { stage, approval_follows: new.needs_approval && new.builds })
    }
}

/// What an unprepared run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// What it hangs on.
    Values,
    /// The end of the run that builds its image.
    Build(RunId),
}

/// The runs that are not prepared.
pub(super) type Preparing = BTreeMap<RunId, Open>;

/// A run is what it will be, or ends without a start, or its image is built; nothing happens to one that does not wait
/// for this.
pub(super) fn prepare(state: &State, now: Timestamp, prepare: &Prepare) -> Decided {
    let (run, spec) = (prepare.run, prepare.spec);
    let Some((ix, open)) = state.runs.find(run).zip(state.preparing.get(&run)) else { return Ok(Vec::new()) };
    match (&prepare.comes_to, open.stage) {
        (_, Stage::Approval) | (ComesTo::Building(_), Stage::Build(_)) => Ok(Vec::new()),
        (ComesTo::Ended(status, cause), _) => {
            let mut events = Vec::new();
            stop_build(state, now, ix, cause, &mut events);
            events.push(finished(run, *status, cause.clone(), now));
            Ok(events)
        }
        (ComesTo::Building(build), Stage::Values) => {
            let mut draft = Draft::new(state, now);
            draft.events.push(Event::RunBuilding { run, spec, build: build.id });
            create(&mut draft, build, None)?;
            Ok(draft.events)
        }
        (ComesTo::Ready, _) => {
            let needs_approval = open.approval_follows;
            let mut events = vec![Event::RunPrepared { run, spec, needs_approval }];
            if !needs_approval && state.begins_at_once(ix) {
                events.push(begins(run, state.runs[ix].attempt, now));
            }
            Ok(events)
        }
    }
}

/// Stops the run that builds the image of a run that ends, if there is one and it has not ended.
pub(super) fn stop_build(state: &State, now: Timestamp, ix: RunIx, cause: &Cause, events: &mut Vec<Event>) {
    if let Some(Stage::Build(build)) = state.preparing.get(&state.runs[ix].id).map(|open| open.stage)
        && let Some(build) = state.runs.find(build)
    {
        stop_leaf(state, now, build, cause, events);
    }
}

impl State {
    /// What a run waits for that can be prepared.
    pub fn awaits(&self, run: RunId) -> Option<Awaits> {
        match self.preparing.get(&run)?.stage {
            Stage::Approval => None,
            Stage::Values => Some(Awaits::Values),
            Stage::Build(build) => Some(Awaits::Build(build)),
        }
    }

    /// The runs that can be prepared.
    pub fn to_prepare(&self) -> impl Iterator<Item = RunId> {
        self.preparing.iter().filter(|(_, open)| open.stage != Stage::Approval).map(|(run, _)| *run)
    }

    pub(super) fn approve_preparing(&mut self, run: RunId) -> bool {
        let open = self.preparing.get_mut(&run);
        open.map(|open| open.stage = Stage::Values).is_some()
    }

    pub(super) fn begin_build(&mut self, run: RunId, build: RunId) {
        if let Some(open) = self.preparing.get_mut(&run) {
            open.stage = Stage::Build(build);
        }
    }
}
