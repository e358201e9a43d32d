//! Leads pipelines: from what has happened to the steps that follow, each of which may be asked for twice.
//!
//! A pipeline's programme is its compiled operation; how far it has come is what its children are, so that it is built
//! again from their rows after any crash. The id of a child is made of the pipeline and the child's place in it: a step
//! that was asked for and not heard of is asked for again and makes nothing twice. Children are made as slots come
//! free, a few more than may run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::children::child_id;
use super::led::{Led, Made};
use super::render::Globals;
use crate::domain::catalog::{CompiledOperation, Join};
use crate::domain::dispatch::command::{Advance, PipelineEnd};
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{AgentName, Attempt, Digest, ProjectName, RunId};

/// Children of one step at most, so that a step does not hold up the others.
const STEP: usize = 256;
/// What was written down: the same at every later look, and after a crash.
pub trait Records {
    /// A compiled operation.
    fn operation(&self, digest: Digest) -> Result<Arc<CompiledOperation>, Unreadable>;
    /// A run.
    fn run(&self, id: RunId) -> Result<RunRow, Unreadable>;
    /// The statuses that a run has been in, in their order; the last one is that which it has.
    fn statuses(&self, id: RunId) -> Result<Vec<Status>, Unreadable>;
    /// The runs of a project that a join finds, without the run that asks; the inner error says why it finds none.
    fn joined(&self, project: &ProjectName, own: RunId, join: &Join) -> Result<Result<Vec<RunRow>, Cause>, Unreadable>;
    /// What the templates of runs on an agent know of where they run.
    fn surroundings(&self, agent: &AgentName) -> Globals;
    /// All direct children of a pipeline, in the order in which they were made.
    fn children(&self, pipeline: RunId, each: &mut dyn FnMut(RunRow)) -> Result<(), Unreadable>;
}

/// Why records cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unreadable {
    /// They will never be: what needs them fails.
    #[error("{0}")]
    Lost(String),
    /// Not now: it is tried again.
    #[error("{0}")]
    Now(String),
}

/// A step to ask for, with the contents that its runs refer to.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The step.
    pub advance: Advance,
    /// Compiled operations by digest.
    pub bodies: Vec<(Digest, Vec<u8>)>,
}

/// Everything that is known of the pipelines that run.
#[derive(Debug, Default)]
pub struct Conductor {
    led: BTreeMap<RunId, Led>,
    /// Pipelines that do not run yet.
    waiting: BTreeSet<RunId>,
    /// Unfinished children: their pipeline and place.
    of: BTreeMap<RunId, (RunId, u32)>,
    /// Pipelines for which there may be something to do.
    due: BTreeSet<RunId>,
}

impl Conductor {
    /// Takes up the unfinished pipelines that a starting server finds; the flag says whether each runs.
    pub fn take_up(&mut self, pipelines: impl IntoIterator<Item = (RunId, bool)>) {
        for (pipeline, runs) in pipelines {
            if runs {
                self.due.insert(pipeline)
            } else {
                self.waiting.insert(pipeline)
            };
        }
    }

    /// Takes in what was saved.
    pub fn saw(&mut self, event: &Event) {
        match event {
            Event::RunCreated(run) if run.pipeline.is_some() => {
                self.waiting.insert(run.id);
            }
            Event::RunScheduled { run, .. } => self.child(*run, Status::Scheduled, None),
            Event::RunProgressed { run, status, .. } => {
                if *status == Status::Running && self.waiting.remove(run) {
                    self.due.insert(*run);
                }
                self.child(*run, *status, None);
            }
            Event::RunRetrying { run, .. } => self.child(*run, Status::Retrying, None),
            Event::RunStopping { run, .. } => self.child(*run, Status::Stopping, None),
            Event::PipelineStopping { run, .. } => {
                self.forget(*run);
                self.child(*run, Status::Stopping, None);
            }
            Event::RunFinished { run, status, outputs, .. } => {
                self.forget(*run);
                self.child(*run, *status, Some(outputs));
                self.of.remove(run);
            }
            _ => {}
        }
    }

    /// Whether there may be something to do.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The steps that follow from what was seen so far. Those for which records cannot be read now stay due.
    pub fn steps(&mut self, records: &dyn Records) -> Vec<Asked> {
        let mut asked = Vec::new();
        for pipeline in std::mem::take(&mut self.due) {
            match self.step(pipeline, records) {
                Ok(step) => asked.extend(step),
                Err(Unreadable::Now(why)) => {
                    tracing::warn!(%pipeline, why, "a pipeline cannot be taken forward now");
                    self.rebuild(pipeline);
                }
                Err(Unreadable::Lost(why)) => {
                    self.forget(pipeline);
                    let message = format!("what it is made of cannot be read: {why}");
                    let advance = broken(pipeline, Cause::new("InvalidOperation", message));
                    asked.push(Asked { advance, bodies: Vec::new() });
                }
            }
        }
        asked
    }

    /// A step may not have happened: the pipeline is built again from its rows.
    pub fn rebuild(&mut self, pipeline: RunId) {
        self.forget(pipeline);
        self.due.insert(pipeline);
    }

    /// A step was refused, and would be again: the pipeline fails.
    pub fn refused(&mut self, pipeline: RunId, why: String) {
        if let Some(led) = self.led.get_mut(&pipeline) {
            led.broken = Some(Cause::new("Refused", why));
            self.due.insert(pipeline);
        }
    }

    /// The runs whose reports are wanted while they run.
    pub fn to_measure(&self) -> Vec<RunId> {
        self.led.values().flat_map(Led::to_measure).collect()
    }

    /// A run has reported something while it runs.
    pub fn measured(&mut self, run: RunId, attempt: Attempt, reports: &[Map<String, Value>]) {
        let Some((pipeline, place)) = self.of.get(&run).copied() else { return };
        if let Some(led) = self.led.get_mut(&pipeline) {
            led.measured(place, attempt, reports);
            self.due.insert(pipeline);
        }
    }

    /// How many children are known, for tests of what a large pipeline costs.
    pub fn known_children(&self) -> usize {
        self.of.len()
    }

    fn forget(&mut self, pipeline: RunId) {
        self.waiting.remove(&pipeline);
        self.due.remove(&pipeline);
        if let Some(led) = self.led.remove(&pipeline) {
            led.open().for_each(|(child, _)| _ = self.of.remove(&child));
        }
    }

    fn child(&mut self, run: RunId, status: Status, outputs: Option<&Map<String, Value>>) {
        let Some((pipeline, place)) = self.of.get(&run).copied() else { return };
        let Some(led) = self.led.get_mut(&pipeline) else { return };
        led.saw(place, status, outputs);
        self.due.insert(pipeline);
    }

    fn step(&mut self, pipeline: RunId, records: &dyn Records) -> Result<Option<Asked>, Unreadable> {
        if !self.led.contains_key(&pipeline) {
            let Some(led) = Led::load(pipeline, records)? else { return Ok(None) };
            self.of.extend(led.open().map(|(child, place)| (child, (pipeline, place))));
            self.led.insert(pipeline, led);
        }
        let Some(led) = self.led.get_mut(&pipeline) else { return Ok(None) };
        if let Some(cause) = led.broken.take() {
            self.forget(pipeline);
            return Ok(Some(Asked { advance: broken(pipeline, cause), bodies: Vec::new() }));
        }
        let mut made = Made::default();
        if led.make(records, STEP, &mut made)? {
            self.due.insert(pipeline);
        }
        self.of.extend(made.open.into_iter().map(|(child, place)| (child, (pipeline, place))));
        let advance = Advance { pipeline, children: made.children, stops: led.losers(), end: led.end(records)? };
        let nothing = advance.children.is_empty() && advance.stops.is_empty() && advance.end.is_none();
        Ok((!nothing).then_some(Asked { advance, bodies: made.bodies }))
    }
}

/// The id of the run of a point of a search.
pub fn point_id(search: &RunRow, index: u64) -> RunId {
    child_id(search.id, &format!("{}-{index}", search.name))
}

/// The step that ends a pipeline which cannot go on.
fn broken(pipeline: RunId, cause: Cause) -> Advance {
    let end = PipelineEnd { status: Status::Failed, cause, outputs: Default::default(), stop_children: true };
    Advance { pipeline, children: Vec::new(), stops: Vec::new(), end: Some(end) }
}
