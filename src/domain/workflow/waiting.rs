//! The runs that hang on others: which of them may be ready, because something they name has moved.

use std::collections::{BTreeMap, BTreeSet};

use super::conductor::{Records, Unreadable};
use super::prepare::{Prepared, hangs_on, prepared};
use crate::domain::dispatch::command::Prepare;
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
    pub fn steps(&mut self, waits: impl Fn(RunId) -> bool, records: &dyn Records) -> Vec<Prepared> {
        let mut ready = Vec::new();
        for run in std::mem::take(&mut self.due) {
            if !waits(run) {
                continue;
            }
            match self.step(run, records) {
                Ok(step) => ready.extend(step),
                Err(Unreadable::Now(why)) => {
                    tracing::warn!(%run, why, "a run cannot be prepared now");
                    self.due.insert(run);
                }
                Err(Unreadable::Lost(why)) => {
                    let cause = Cause::new("InvalidOperation", format!("what it is made of cannot be read: {why}"));
                    let (spec, body) = (Digest::of(b"{}"), b"{}".to_vec());
                    ready.push((Prepare { run, spec, ended: Some((Status::Failed, cause)) }, (spec, body)));
                }
            }
        }
        ready
    }

    fn step(&mut self, run: RunId, records: &dyn Records) -> Result<Option<Prepared>, Unreadable> {
        let row = records.run(run)?;
        let operation = records.operation(row.spec)?;
        let step = prepared(&row, &operation, records)?;
        if step.is_none() {
            // It is looked at again when one of these moves; what moved meanwhile is told after this.
            hangs_on(&operation).into_iter().for_each(|of| _ = self.watched.entry(of).or_default().insert(run));
        }
        Ok(step)
    }
}
