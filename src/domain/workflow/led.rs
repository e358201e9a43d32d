//! One pipeline that runs: its programme, how far it has come, and the children that it makes next.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::bind::{Facts, taken, with_refs};
use super::conductor::{Records, Unreadable};
use super::dag::{Progress, Step};
use super::render::{Globals, condition};
use super::start::{Circumstances, of_operation};
use crate::domain::catalog::{CompiledOperation, Dag, Node, RefFrom};
use crate::domain::dispatch::command::{NewChild, PipelineEnd};
use crate::domain::dispatch::event::Origin;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Digest, QueueName, RunId};
use crate::domain::spec::Limit;

/// Children without a slot that a pipeline has at least, if it has so much work: enough that one that ends is followed
/// at once, although making the next takes a round through the store.
const LEAST_AHEAD: u32 = 4;
/// And at most.
const MOST_AHEAD: u32 = 1024;

/// A pipeline that runs.
#[derive(Debug)]
pub(super) struct Led {
    row: RunRow,
    operation: Arc<CompiledOperation>,
    work: Progress,
    /// Unfinished children by place, and whether each has had a slot.
    open: BTreeMap<u32, bool>,
    /// How many of them have not.
    ahead: u32,
    /// Why it cannot go on.
    pub broken: Option<Cause>,
}

/// What a step makes.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub children: Vec<NewChild>,
    pub bodies: Vec<(Digest, Vec<u8>)>,
    /// Those that have not ended already, with their places.
    pub open: Vec<(RunId, u32)>,
}

impl Led {
    /// A pipeline as its rows say; `None` when it does not run.
    pub fn load(pipeline: RunId, records: &dyn Records) -> Result<Option<Self>, Unreadable> {
        let row = records.run(pipeline)?;
        if row.status != Status::Running {
            return Ok(None);
        }
        let operation = records.operation(row.spec)?;
        let dag = graph(&operation)?;
        let places: BTreeMap<&str, u32> = (0..).zip(&dag.nodes).map(|(i, node)| (node.name.as_str(), i)).collect();
        let mut known = Vec::new();
        let mut open = BTreeMap::new();
        records.children(pipeline, &mut |child| {
            // What is not one of its operations was not made by it (a hook).
            let Some(place) = places.get(child.name.as_str()).copied() else { return };
            if child.id != child_id(pipeline, &child.name) {
                return;
            }
            let ran = child.started_at.map(|_| Status::Running);
            known.push((place, ran.into_iter().chain([child.status]).collect()));
            if !child.status.is_final() {
                open.insert(place, child.attempt.0 > 0);
            }
        })?;
        let work = Progress::new(dag, &known);
        let ahead = open.values().filter(|had| !**had).count() as u32;
        Ok(Some(Self { row, operation, work, open, ahead, broken: None }))
    }

    /// The unfinished children.
    pub fn open(&self) -> impl Iterator<Item = (RunId, u32)> {
        let dag = self.operation.dag.as_deref();
        let id = move |place: &u32| dag.map(|dag| child_id(self.row.id, &dag.nodes[*place as usize].name));
        self.open.keys().filter_map(move |place| Some((id(place)?, *place)))
    }

    /// A child has a new status.
    pub fn saw(&mut self, place: u32, status: Status, _outputs: Option<&Map<String, Value>>) {
        if status.holds_slot()
            && let Some(had) = self.open.get_mut(&place)
            && !std::mem::replace(had, true)
        {
            self.ahead -= 1;
        }
        if status.is_final() && self.open.remove(&place) == Some(false) {
            self.ahead -= 1;
        }
        if let Some(dag) = self.operation.dag.as_deref() {
            self.work.reached(dag, place, status);
        }
    }

    /// Makes children while there is room for them; the flag says that there is more to make at once.
    pub fn make(&mut self, records: &dyn Records, most: usize, made: &mut Made) -> Result<bool, Unreadable> {
        let operation = self.operation.clone();
        let dag = graph(&operation)?;
        while made.children.len() < most {
            let room = self.ahead < ahead(dag.concurrency);
            let Some(step) = self.work.next(room) else { return Ok(false) };
            let (place, ended) = match step {
                Step::Settle(place, status, cause) => (place, Some((status, cause))),
                Step::Make(place) => (place, None),
            };
            let node = &dag.nodes[place as usize];
            let (bound, ended) = match ended {
                Some(ended) => (node.operation.clone(), Some(ended)),
                None => self.bound(dag, node, records)?,
            };
            let ends_at_once = ended.as_ref().map(|(status, _)| *status);
            self.child(&node.name, &node.queue, bound, ended, made);
            match ends_at_once {
                Some(status) => self.work.reached(dag, place, status),
                None => {
                    made.open.push((child_id(self.row.id, &node.name), place));
                    self.open.insert(place, false);
                    self.ahead += 1;
                }
            }
        }
        Ok(true)
    }

    /// How it ends, when all has ended that it makes.
    pub fn end(&self, records: &dyn Records) -> Result<Option<PipelineEnd>, Unreadable> {
        let dag = graph(&self.operation)?;
        let Some((mut status, mut cause)) = self.work.end(dag).filter(|_| self.open.is_empty()) else {
            return Ok(None);
        };
        let mut outputs = Map::new();
        if status == Status::Succeeded {
            for (name, reference) in &dag.outputs {
                let value = match self.facts(dag, &reference.from, records)? {
                    Ok(facts) => taken(name, reference, &facts, None),
                    Err(cause) => Err(cause),
                };
                match value {
                    Ok(value) => drop(outputs.insert(name.clone(), value)),
                    Err(why) => (status, cause) = (Status::Failed, why),
                }
            }
        }
        Ok(Some(PipelineEnd { status, cause, outputs, stop_children: false }))
    }

    /// The operation with its values, or how it ends without them.
    #[allow(clippy::type_complexity)]
    fn bound(
        &self,
        dag: &Dag,
        node: &Node,
        records: &dyn Records,
    ) -> Result<(CompiledOperation, Option<(Status, Cause)>), Unreadable> {
        let mut not_now = None;
        let bound = with_refs(&node.operation, &mut |from| match self.facts(dag, from, records) {
            Ok(facts) => facts,
            Err(why) => {
                let cause = Cause::new("Unreadable", why.to_string());
                not_now = Some(why);
                Err(cause)
            }
        });
        if let Some(why) = not_now {
            return Err(why);
        }
        let bound = match bound {
            Ok(bound) => bound,
            Err(cause) => return Ok((node.operation.clone(), Some((Status::Failed, cause)))),
        };
        let ended = match &node.conditions {
            None => None,
            Some(text) => match condition(&bound, text, &self.globals(&node.name)) {
                Ok(true) => None,
                Ok(false) => {
                    let message = format!("`{text}` is not true");
                    Some((Status::Skipped, Cause::new("ConditionsCheckFailed", message)))
                }
                Err(cause) => Some((Status::Failed, cause)),
            },
        };
        Ok((bound, ended))
    }

    /// What others may ask of a run; the inner error says that there is no such run.
    fn facts(&self, dag: &Dag, from: &RefFrom, records: &dyn Records) -> Result<Result<Facts, Cause>, Unreadable> {
        let run = match from {
            RefFrom::Dag => return Ok(Ok(Facts::of(&self.row, &self.operation))),
            RefFrom::Op(place) => child_id(self.row.id, &dag.nodes[*place as usize].name),
            RefFrom::Run(run) => *run,
        };
        let row = match records.run(run) {
            Ok(row) => row,
            Err(Unreadable::Lost(why)) => return Ok(Err(Cause::new("MissingValue", why))),
            Err(now) => return Err(now),
        };
        let operation = records.operation(row.spec)?;
        Ok(Ok(Facts::of(&row, &operation)))
    }

    fn globals(&self, name: &str) -> Globals {
        let id = child_id(self.row.id, name).to_string();
        Globals { project_name: self.row.project.to_string(), name: name.to_owned(), uuid: id, ..Globals::default() }
    }

    fn child(
        &self,
        name: &str,
        queue: &QueueName,
        operation: CompiledOperation,
        ended: Option<(Status, Cause)>,
        made: &mut Made,
    ) {
        let circumstances = Circumstances {
            id: child_id(self.row.id, name),
            project: self.row.project.clone(),
            workflow: self.row.workflow.clone(),
            commit: self.row.commit.clone(),
            // What never starts stands in the queue of its pipeline, which is there.
            queue: if ended.is_some() { self.row.queue.clone() } else { queue.clone() },
            group: None,
            origin: Origin::Pipeline { of: self.row.id },
        };
        let mut start = of_operation(&operation, circumstances);
        (start.run.name, start.run.parent) = (name.to_owned(), Some(self.row.id));
        start.run.needs_approval &= ended.is_none();
        made.children.push(NewChild { run: start.run, ended });
        made.bodies.push(start.body);
    }
}

/// The id of a child by its name within its pipeline.
pub fn child_id(pipeline: RunId, name: &str) -> RunId {
    RunId::derived(pipeline, name)
}

fn graph(operation: &CompiledOperation) -> Result<&Dag, Unreadable> {
    operation.dag.as_deref().ok_or_else(|| Unreadable::Lost("it is no pipeline".to_owned()))
}

/// How many children without a slot a pipeline may have.
fn ahead(limit: Limit) -> u32 {
    match limit {
        Limit::At(limit) => limit.clamp(LEAST_AHEAD, MOST_AHEAD),
        Limit::Unlimited => MOST_AHEAD,
    }
}
