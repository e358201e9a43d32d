//! The children of a pipeline: their places, names and ids, and what their rows say of them.

use serde_json::{Map, Value};

use super::conductor::{Records, Unreadable};
use super::start::Ended;
use super::sweep::Sweep;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Digest, RunId};

/// The places of a search's questions to its tuner begin here; far beyond those of its runs.
pub(super) const TUNERS: u32 = 1 << 31;
/// What their names have before their number.
pub(super) const TUNER: &str = "tuner-";

/// The children that a pipeline has made, as their rows say.
#[derive(Default)]
pub(super) struct Children {
    pub list: Vec<Child>,
}

pub(super) struct Child {
    pub place: u32,
    pub status: Status,
    ran: bool,
    pub had_slot: bool,
    spec: Digest,
    pub outputs: Map<String, Value>,
    /// What it goes on from, when it had ended before its pipeline was told to go on.
    pub again: Option<Ended>,
}

impl Child {
    /// The statuses that matter and that it is known to have been in; the last is the present one.
    pub fn seen(&self) -> Vec<Status> {
        self.ran.then_some(Status::Running).into_iter().chain([self.status]).collect()
    }
}

impl Children {
    /// Reads those that its programme made; `place_of` gives their places by their names.
    pub fn read(
        &mut self,
        pipeline: &RunRow,
        records: &dyn Records,
        place_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<(), Unreadable> {
        records.children(pipeline.id, &mut |row| {
            // What is called otherwise was not made by its programme (a hook).
            let Some(place) = place_of(&row.name).filter(|_| row.id == child_id(pipeline.id, &row.name)) else {
                return;
            };
            // Rows are made anew for what goes on: an older child is one of the life before.
            let done = !row.status.is_final() || matches!(row.status, Status::Succeeded | Status::Skipped);
            let again = (row.seq < pipeline.seq && !done).then(|| Ended::of(&row));
            let (ran, had_slot) = (row.started_at.is_some(), row.attempt.0 > 0);
            let (status, spec, outputs) = (row.status, row.spec, row.outputs);
            self.list.push(Child { place, status, ran, had_slot, spec, outputs, again });
        })
    }

    /// The children that are as their rows say, and not to be made again.
    pub fn kept(&self) -> impl Iterator<Item = &Child> {
        self.list.iter().filter(|child| child.again.is_none())
    }

    /// A search that learns has built on what became of its earlier rounds: only the newest one goes on.
    pub fn keep_passed_rounds(&mut self, learns: bool, records: &dyn Records) -> Result<(), Unreadable> {
        if !learns || self.list.iter().all(|child| child.again.is_none()) {
            return Ok(());
        }
        let round = |child: &Child| -> Result<_, Unreadable> {
            let operation = records.operation(child.spec)?;
            Ok(operation.point.as_ref().map(|point| (point.iteration, point.bracket_iteration)))
        };
        let newest = self.list.iter().rfind(|child| child.place < TUNERS).map(round).transpose()?;
        for child in self.list.iter_mut().filter(|child| child.place < TUNERS) {
            if child.again.is_some() && Some(round(child)?) != newest {
                child.again = None;
            }
        }
        Ok(())
    }

    /// The search, as far as its children have come.
    pub fn sweep(&self, mut sweep: Sweep, records: &dyn Records) -> Result<Sweep, Unreadable> {
        for child in self.list.iter().filter(|child| child.place < TUNERS) {
            while sweep.taken() < u64::from(child.place) {
                sweep.gone();
            }
            let point = if sweep.needs_points() { records.operation(child.spec)?.point.clone() } else { None };
            sweep.made(point);
        }
        for child in self.list.iter().filter(|child| child.place >= TUNERS) {
            sweep.asked();
            if child.status.is_final() && child.again.is_none() {
                sweep.answered(child.status, Some(&child.outputs));
            }
        }
        for child in self.kept().filter(|child| child.status.is_final() && child.place < TUNERS) {
            sweep.ended(child.place, child.status, Some(&child.outputs));
        }
        Ok(sweep)
    }
}

/// The place of a run of a search, by its name behind that of the search.
pub(super) fn place_of(name: &str) -> Option<u32> {
    match name.strip_prefix(TUNER) {
        Some(round) => round.parse::<u32>().ok()?.checked_add(TUNERS),
        None => name.parse().ok(),
    }
}

/// The id of a child by its name within its pipeline.
pub(super) fn child_id(pipeline: RunId, name: &str) -> RunId {
    RunId::derived(pipeline, name)
}
