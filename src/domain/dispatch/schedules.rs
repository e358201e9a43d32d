//! Schedules in the state machine: what each has done since it was armed, so that no time fires twice.

use std::collections::{BTreeMap, BTreeSet};

use super::command::Fire;
use super::decide::{Decided, Draft, create};
use super::event::{Armed, Event};
use super::state::State;
use crate::domain::ids::{Digest, RunId, WorkflowName};
use crate::domain::time::Timestamp;

/// Arms what is new, and disarms what is gone.
pub(super) fn arm(state: &State, wanted: &BTreeMap<WorkflowName, BTreeSet<Digest>>) -> Vec<Event> {
    let armed = |name: &WorkflowName| -> BTreeSet<Digest> {
        state.armed.get(name).map(|all| all.keys().copied().collect()).unwrap_or_default()
    };
    let names: BTreeSet<&WorkflowName> = wanted.keys().chain(state.armed.keys()).collect();
    let changed = names.into_iter().filter_map(|name| {
        let wanted = wanted.get(name).cloned().unwrap_or_default();
        (wanted != armed(name)).then(|| (name.clone(), wanted))
    });
    let schedules: BTreeMap<_, _> = changed.collect();
    if schedules.is_empty() { Vec::new() } else { vec![Event::SchedulesArmed { schedules }] }
}

/// Fires once for a time.
pub(super) fn fire(state: &State, now: Timestamp, fire: &Fire) -> Decided {
    let Some(armed) = state.armed(&fire.workflow, fire.schedule) else { return Ok(Vec::new()) };
    if armed.last.is_some_and(|last| last >= fire.planned) {
        return Ok(Vec::new());
    }
    let mut draft = Draft::new(state, now);
    draft.events.push(Event::ScheduleFired {
        workflow: fire.workflow.clone(),
        schedule: fire.schedule,
        planned: fire.planned,
        run: fire.run.id,
    });
    create(&mut draft, &fire.run, None)?;
    Ok(draft.events)
}

impl State {
    /// What a schedule has done; `None` when it is not armed.
    pub fn armed(&self, workflow: &WorkflowName, schedule: Digest) -> Option<&Armed> {
        self.armed.get(workflow)?.get(&schedule)
    }

    /// The schedules of a workflow that are armed.
    pub fn armed_of(&self, workflow: &WorkflowName) -> impl Iterator<Item = (Digest, &Armed)> {
        self.armed.get(workflow).into_iter().flatten().map(|(of, armed)| (*of, armed))
    }

    pub(super) fn apply_armed(&mut self, at: Timestamp, schedules: &BTreeMap<WorkflowName, BTreeSet<Digest>>) {
        for (name, wanted) in schedules {
            let all = self.armed.entry(name.clone()).or_default();
            all.retain(|of, _| wanted.contains(of));
            for of in wanted {
                all.entry(*of).or_insert(Armed { since: at, last: None, fires: 0, run: None });
            }
            if all.is_empty() {
                self.armed.remove(name);
            }
        }
    }

    pub(super) fn apply_fired(&mut self, workflow: &WorkflowName, schedule: Digest, planned: Timestamp, run: RunId) {
        if let Some(armed) = self.armed.get_mut(workflow).and_then(|all| all.get_mut(&schedule)) {
            (armed.last, armed.run) = (Some(planned), Some(run));
            armed.fires += 1;
        }
    }
}
