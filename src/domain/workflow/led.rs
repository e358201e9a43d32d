//! One pipeline that runs: its programme, how far it has come, and the children that it makes next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::bind::{Facts, set, taken};
use super::build::with_image_of;
use super::children::{Children, TUNER, TUNERS, child_id, place_of};
use super::conductor::{Records, Unreadable};
use super::curves::Curves;
use super::dag::{Progress, Step};
use super::early::Early;
use super::helper::About;
use super::prepare::with_values;
use super::render::{Globals, condition, fill};
use super::start::{Circumstances, Ended, of_operation};
use super::sweep::{Sweep, Want};
use crate::domain::catalog::{CompiledOperation, Dag, Node, Point, RefFrom};
use crate::domain::dispatch::command::{NewChild, PipelineEnd};
use crate::domain::dispatch::event::Origin;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Attempt, Digest, QueueName, RunId};
use crate::domain::spec::Limit;
use crate::domain::spec::matrix::Matrix;

/// Runs that a tuner is told of at most, the newest.
const MOST_TOLD: usize = 1000;

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
    limit: Limit,
    work: Work,
    early: Early,
    curves: Curves,
    /// Unfinished children by place, and whether each has had a slot.
    open: BTreeMap<u32, bool>,
    /// How many of them have not.
    ahead: u32,
    /// Children that had ended before the pipeline was told to go on, and go on with it, by place.
    former: BTreeMap<u32, Ended>,
    /// Those of a search that were not made again yet: a graph comes to its own in its order.
    again: VecDeque<u32>,
    /// Why it cannot go on.
    pub broken: Option<Cause>,
}

#[derive(Debug)]
enum Work {
    Graph(Progress),
    Sweep(Box<Sweep>),
}

/// What a step makes.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub children: Vec<NewChild>,
    pub bodies: Vec<(Digest, Vec<u8>)>,
    /// Those that have not ended already, with their places.
    pub open: Vec<(RunId, u32)>,
}

/// An operation that is ready to be made, or the end that it has without a start.
type Bound = (CompiledOperation, Option<(Status, Cause)>);

impl Led {
    /// A pipeline as its rows say; `None` when it does not run.
    pub fn load(pipeline: RunId, records: &dyn Records) -> Result<Option<Self>, Unreadable> {
        let row = records.run(pipeline)?;
        if row.status != Status::Running {
            return Ok(None);
        }
        let operation = records.operation(row.spec)?;
        let limit = operation.pipeline().unwrap_or_default();
        let mut children = Children::default();
        let (work, rules) = match &operation.matrix {
            Some(matrix) => {
                let matrix = fill(&operation, matrix, "matrix", &Globals::default())
                    .map_err(|cause| Unreadable::Lost(cause.message))?;
                let matrix = Matrix::read(&matrix)
                    .map_err(|faults| Unreadable::Lost(faults.into_iter().map(|f| f.message).collect()))?;
                let sweep = Sweep::new(&matrix, pipeline);
                children.read(&row, records, |name| place_of(name.strip_prefix(&row.name)?.strip_prefix('-')?))?;
                children.list.sort_by_key(|child| child.place);
                children.keep_passed_rounds(sweep.needs_points(), records)?;
                (Work::Sweep(Box::new(children.sweep(sweep, records)?)), matrix.early_stopping)
            }
            None => {
                let dag = graph(&operation)?;
                let places: BTreeMap<&str, u32> = (0..).zip(&dag.nodes).map(|(i, n)| (n.name.as_str(), i)).collect();
                children.read(&row, records, |name| places.get(name).copied())?;
                let known: Vec<_> = children.kept().map(|child| (child.place, child.seen())).collect();
                (Work::Graph(Progress::new(dag, &known)), dag.early_stopping.clone())
            }
        };
        let unfinished = children.list.iter().filter(|child| !child.status.is_final());
        let open: BTreeMap<u32, bool> = unfinished.map(|child| (child.place, child.had_slot)).collect();
        let ahead = open.values().filter(|had| !**had).count() as u32;
        let former: BTreeMap<u32, Ended> =
            children.list.iter().filter_map(|child| Some((child.place, child.again.clone()?))).collect();
        let again = if operation.matrix.is_some() { former.keys().copied().collect() } else { VecDeque::new() };
        let (curves, early) = (Curves::new(&rules), Early::new(rules));
        let mut led = Self { row, operation, limit, work, early, curves, open, ahead, former, again, broken: None };
        for child in children.kept().filter(|child| child.status.is_final() && child.place < TUNERS) {
            led.early.ended(child.status, Some(&child.outputs), led.total());
        }
        Ok(Some(led))
    }

    /// The unfinished children.
    pub fn open(&self) -> impl Iterator<Item = (RunId, u32)> {
        self.open.keys().map(|place| (self.id_of(*place), *place))
    }

    /// A child has a new status.
    pub fn saw(&mut self, place: u32, status: Status, outputs: Option<&Map<String, Value>>) {
        if status.holds_slot()
            && let Some(had) = self.open.get_mut(&place)
            && !std::mem::replace(had, true)
        {
            self.ahead -= 1;
        }
        if status.is_final() {
            if self.open.remove(&place) == Some(false) {
                self.ahead -= 1;
            }
            self.curves.ended(place, status);
            if place < TUNERS {
                self.early.ended(status, outputs, self.total());
            }
        }
        self.reached(place, status, outputs);
    }

    /// The children that run and whose reports are wanted while they do.
    pub fn to_measure(&self) -> impl Iterator<Item = RunId> {
        let wanted = self.open.iter().filter(|(place, had_slot)| **had_slot && **place < TUNERS);
        wanted.filter(|_| self.curves.are_watched()).map(|(place, _)| self.id_of(*place))
    }

    /// A child has reported something while it runs.
    pub fn measured(&mut self, place: u32, attempt: Attempt, reports: &[Map<String, Value>]) {
        self.curves.measured(place, attempt, reports);
    }

    /// The children that do badly beside the others, and are to be stopped.
    pub fn losers(&mut self) -> Vec<(RunId, Cause)> {
        let losers = self.curves.losers();
        losers
            .into_iter()
            .filter(|(place, _)| self.open.contains_key(place))
            .map(|(place, why)| (self.id_of(place), why))
            .collect()
    }

    /// Makes children while there is room for them; the flag says that there is more to make at once.
    pub fn make(&mut self, records: &dyn Records, most: usize, made: &mut Made) -> Result<bool, Unreadable> {
        while made.children.len() < most {
            if self.early.stop().is_some() {
                return Ok(false);
            }
            let free = ahead(self.limit).saturating_sub(self.ahead);
            let operation = self.operation.clone();
            let (place, name, queue, (bound, ended)) = match &mut self.work {
                Work::Graph(progress) => {
                    let dag = graph(&operation)?;
                    let Some(step) = progress.next(free > 0) else { return Ok(false) };
                    let (Step::Settle(place, ..) | Step::Make(place)) = step;
                    let node = &dag.nodes[place as usize];
                    let bound = match step {
                        Step::Settle(_, status, cause) => (node.operation.clone(), Some((status, cause))),
                        Step::Make(_) => self.bound(dag, node, records)?,
                    };
                    (place, node.name.clone(), node.queue.clone(), bound)
                }
                Work::Sweep(_) if free > 0 && !self.again.is_empty() => {
                    let Some((place, ended)) = self.again.pop_front().and_then(|at| Some((at, self.former.get(&at)?)))
                    else {
                        return Ok(true);
                    };
                    let of = records.operation(ended.spec)?;
                    (place, self.name_of(place), self.row.queue.clone(), (of.as_ref().clone(), None))
                }
                Work::Sweep(sweep) => match sweep.next(free) {
                    None => return Ok(false),
                    Some(Want::Point(point)) => {
                        let place = u32::try_from(point.index).unwrap_or(TUNERS - 1);
                        (place, self.name_of(place), self.row.queue.clone(), with_point(&operation, point))
                    }
                    Some(Want::Answer(round)) => {
                        let place = u32::try_from(round).map_or(u32::MAX, |round| TUNERS.saturating_add(round));
                        let (queue, bound) = self.question(round, records)?;
                        (place, self.name_of(place), queue, bound)
                    }
                },
            };
            let id = child_id(self.row.id, &name);
            let ends_at_once = ended.as_ref().map(|(status, _)| *status);
            self.child(place, &name, &queue, &bound, ended, made);
            match ends_at_once {
                Some(status) => {
                    self.early.ended(status, None, self.total());
                    self.reached(place, status, None);
                }
                None => {
                    made.open.push((id, place));
                    self.open.insert(place, false);
                    self.ahead += 1;
                }
            }
        }
        Ok(true)
    }

    /// How it ends, when all has ended that it makes, or when a rule says that it is enough.
    pub fn end(&self, records: &dyn Records) -> Result<Option<PipelineEnd>, Unreadable> {
        if let Some((status, cause)) = self.early.stop().cloned() {
            return Ok(Some(PipelineEnd { status, cause, outputs: self.sweep_outputs(), stop_children: true }));
        }
        let end = match &self.work {
            Work::Graph(progress) => progress.end(graph(&self.operation)?),
            Work::Sweep(sweep) => sweep.end(),
        };
        let Some((mut status, mut cause)) = end.filter(|_| self.open.is_empty()) else { return Ok(None) };
        let mut outputs = self.sweep_outputs();
        if let (Work::Graph(_), Status::Succeeded) = (&self.work, status) {
            let dag = graph(&self.operation)?;
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

    fn sweep_outputs(&self) -> Map<String, Value> {
        match &self.work {
            Work::Graph(_) => Map::new(),
            Work::Sweep(sweep) => sweep.outputs(|place| self.id_of(place)),
        }
    }

    fn reached(&mut self, place: u32, status: Status, outputs: Option<&Map<String, Value>>) {
        match (&mut self.work, self.operation.dag.as_deref()) {
            (Work::Graph(progress), Some(dag)) => progress.reached(dag, place, status),
            (Work::Sweep(sweep), _) if status.is_final() && place >= TUNERS => sweep.answered(status, outputs),
            (Work::Sweep(sweep), _) if status.is_final() => sweep.ended(place, status, outputs),
            _ => {}
        }
    }

    /// How many children there will be, as far as that is known.
    fn total(&self) -> u64 {
        match (&self.work, self.operation.dag.as_deref()) {
            (Work::Sweep(sweep), _) => sweep.total().unwrap_or(sweep.taken()),
            (Work::Graph(_), dag) => dag.map_or(0, |dag| dag.nodes.len() as u64),
        }
    }

    fn name_of(&self, place: u32) -> String {
        match (&self.operation.matrix, self.operation.dag.as_deref()) {
            (None, Some(dag)) => dag.nodes[place as usize].name.clone(),
            _ if place >= TUNERS => format!("{}-{TUNER}{}", self.row.name, place - TUNERS),
            _ => format!("{}-{place}", self.row.name),
        }
    }

    fn id_of(&self, place: u32) -> RunId {
        child_id(self.row.id, &self.name_of(place))
    }

    /// The tuner, told what has become of the search: its newest runs, by place.
    fn question(&self, round: u64, records: &dyn Records) -> Result<(QueueName, Bound), Unreadable> {
        let Some(tuner) = &self.operation.tuner else {
            return Err(Unreadable::Lost("the search has no tuner to ask".to_owned()));
        };
        let prefix = format!("{}-", self.row.name);
        let mut rows: BTreeMap<u32, RunRow> = BTreeMap::new();
        records.children(self.row.id, &mut |row| {
            let place = row.name.strip_prefix(&prefix).and_then(place_of).filter(|place| *place < TUNERS);
            rows.extend(place.map(|place| (place, row)));
            if rows.len() > MOST_TOLD {
                rows.pop_first();
            }
        })?;
        let metric = self.operation.matrix.as_ref().and_then(|matrix| matrix.pointer("/metric/name")).cloned();
        let (mut configs, mut metrics, mut outputs, mut statuses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in rows.values() {
            let of = records.operation(row.spec)?;
            configs.push(json!(of.point.as_ref().map(|point| &point.params)));
            let value = metric.as_ref().and_then(Value::as_str).and_then(|name| row.outputs.get(name));
            metrics.push(value.cloned().unwrap_or_default());
            outputs.push(Value::Object(row.outputs.clone()));
            statuses.push(json!(row.status.word()));
        }
        let known = [
            ("iteration", json!(round)),
            ("matrix", self.operation.matrix.clone().unwrap_or_default()),
            ("configs", Value::Array(configs)),
            ("metrics", Value::Array(metrics)),
            ("outputs", Value::Array(outputs)),
            ("statuses", Value::Array(statuses)),
        ];
        let known = known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok((
            tuner.queue.clone(),
            match About::new(known, self.globals(&self.row.name)).told(&tuner.operation) {
                Ok(told) => (told, None),
                Err(cause) => (tuner.operation.clone(), Some((Status::Failed, cause))),
            },
        ))
    }

    /// The operation with its values, or how it ends without them.
    fn bound(&self, dag: &Dag, node: &Node, records: &dyn Records) -> Result<Bound, Unreadable> {
        let own = (&self.row.project, child_id(self.row.id, &node.name));
        let mut facts = |from: &RefFrom| self.facts(dag, from, records);
        let bound = match with_values(&node.operation, own, records, &mut facts)? {
            Ok(bound) => self.with_former_image(bound, &node.name, records)?,
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

    /// The operation with the image that was built for it before its pipeline was told to go on, if one was.
    fn with_former_image(
        &self,
        operation: CompiledOperation,
        name: &str,
        records: &dyn Records,
    ) -> Result<CompiledOperation, Unreadable> {
        let former = self.former.iter().find(|(place, _)| operation.build.is_some() && self.name_of(**place) == name);
        let Some((_, former)) = former else { return Ok(operation) };
        Ok(with_image_of(operation, records.operation(former.spec)?.as_ref()))
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
        place: u32,
        name: &str,
        queue: &QueueName,
        operation: &CompiledOperation,
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
        let mut start = of_operation(operation, circumstances);
        (start.run.name, start.run.parent) = (name.to_owned(), Some(self.row.id));
        if let Some(former) = self.former.get(&place) {
            former.go_on(&mut start.run, format!("pipeline {}", self.row.id));
        }
        start.run.needs_approval &= ended.is_none();
        start.run.unprepared &= ended.is_none();
        start.run.builds &= ended.is_none();
        start.run.cache = start.run.cache.filter(|_| ended.is_none());
        made.children.push(NewChild { run: start.run, ended });
        made.bodies.push(start.body);
    }
}

/// The operation of which a matrix makes runs, with the params of one point.
fn with_point(matrix: &CompiledOperation, point: Point) -> Bound {
    let mut operation = CompiledOperation { matrix: None, tuner: None, needs_approval: false, ..matrix.clone() };
    let mut ended = None;
    for (name, value) in &point.params {
        if let Err(cause) = set(&mut operation, name, value) {
            ended = Some((Status::Failed, cause));
        }
    }
    operation.point = Some(point);
    // What no point gives keeps what it has; what has nothing must be optional.
    let missing = operation.late.iter().find(|(name, io)| {
        let optional = io.get("isOptional").and_then(crate::domain::compile::flag) == Some(true);
        !optional && !operation.inputs.contains_key(*name)
    });
    if let Some((name, _)) = missing {
        let message = format!("the input `{name}` has no default, and this point does not give it");
        ended = Some((Status::Failed, Cause::new("MissingValue", message)));
    }
    operation.late.retain(|name, _| operation.templated.contains(name));
    (operation, ended)
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
