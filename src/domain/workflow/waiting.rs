//! The runs that hang on others, or whose image is built: which of them may be ready, because something has moved.

use std::collections::{BTreeMap, BTreeSet};

use super::conductor::{Records, Unreadable};
use super::prepare::{Prepared, hangs_on, prepared};
use crate::domain::dispatch::Awaits;
use crate::domain::dispatch::command::{ComesTo, Prepare};
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Digest, RunId};

/// Everything that waits for others.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Runs to look at.
    due: BTreeSet<RunId>,
    /// Runs that others wait for, with those others.
    watched: BTreeMap<RunId, BTreeSet<RunId>>,
}

impl Waiting {
    /// Takes up what a starting server finds.
    pub fn take_up(&mut self, runs: impl IntoIterator<Item = RunId>) {
        self.due.extend(runs);
    }

    /// Takes in what was saved.
    pub fn saw(&mut self, event: &Event) {
        let moved = match event {
            Event::RunCreated(run) if run.unprepared => return self.due.extend([run.id]),
            Event::RunApproved { run, .. } => return self.due.extend([*run]),
            Event::RunBuilding { run, build, .. } => return self.watch(*build, *run),
            Event::RunScheduled { run, .. }
            | Event::RunProgressed { run, .. }
            | Event::RunRetrying { run, .. }
            | Event::RunStopping { run, .. }
            | Event::PipelineStopping { run, .. }
            | Event::RunFinished { run, .. } => run,
            _ => return,
        };
        self.due.extend(self.watched.remove(moved).into_iter().flatten());
    }

    /// Whether there may be something to do.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// What became of those that are ready. Those of which records cannot be read now stay due.
    pub fn steps(&mut self, awaits: impl Fn(RunId) -> Option<Awaits>, records: &dyn Records) -> Vec<Prepared> {
        let mut ready = Vec::new();
        for run in std::mem::take(&mut self.due) {
            let Some(awaits) = awaits(run) else { continue };
            match self.step(run, awaits, records) {
                Ok(step) => ready.extend(step),
                Err(Unreadable::Now(why)) => {
                    tracing::warn!(%run, why, "a run cannot be prepared now");
                    self.due.insert(run);
                }
                Err(Unreadable::Lost(why)) => {
                    let cause = Cause::new("InvalidOperation", format!("what it is made of cannot be read: {why}"));
                    let (spec, body) = (Digest::of(b"{}"), b"{}".to_vec());
                    let comes_to = ComesTo::Ended(Status::Failed, cause);
                    ready.push((Prepare { run, spec, comes_to }, vec![(spec, body)]));
                }
            }
        }
        ready
    }

    fn step(&mut self, run: RunId, awaits: Awaits, records: &dyn Records) -> Result<Option<Prepared>, Unreadable> {
        let row = records.run(run)?;
        let operation = records.operation(row.spec)?;
        let step = prepared(&row, &operation, awaits, records)?;
        if step.is_none() {
            // It is looked at again when one of these moves; what moved meanwhile is told after this.
            match awaits {
                Awaits::Build(build) => self.watch(build, run),
                Awaits::Values => hangs_on(&operation).into_iter().for_each(|of| self.watch(of, run)),
            }
        }
        Ok(step)
    }

    fn watch(&mut self, of: RunId, run: RunId) {
        self.watched.entry(of).or_default().insert(run);
    }
}
