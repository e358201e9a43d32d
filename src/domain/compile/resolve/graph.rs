//! Graphs: the operations of `run: {kind: dag}`, each resolved like a workflow of its own, and what comes before what.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Resolving;
use super::build::with_build;
use super::follow::{kind_of, reference_problems};
use super::merged::Merged;
use super::open::statuses;
use crate::domain::catalog::{CompiledOperation, Dag, Node, NodeEvent, ParamRef, RefFrom};
use crate::domain::compile::checks::near;
use crate::domain::compile::codes;
use crate::domain::compile::field::Lookup;
use crate::domain::compile::graph::rules;
use crate::domain::compile::inputs::{Scope, Siblings, bind, declared, template_ref, text_of};
use crate::domain::compile::load::Source;
use crate::domain::compile::merge::merge;
use crate::domain::compile::sections;
use crate::domain::compile::text::shown;
use crate::domain::compile::value::flag;
use crate::domain::diagnostic::{Place, Severity};
use crate::domain::ids::QueueName;
use crate::domain::spec::{EarlyStopping, Limit, PatchStrategy, Trigger};

/// Operations of one workflow at most, counted through all graphs: components that name one another multiply.
const MAX_OPERATIONS: usize = 20_000;

/// What a graph hands down to its operations: each keeps what it says itself.
const HANDED_DOWN: [&str; 3] = ["cache", "termination", "plugins"];
const HANDED_DOWN_RUN: [&str; 3] = ["environment", "connections", "volumes"];

/// The graphs that stand around an operation, and how many operations there are so far.
#[derive(Default)]
pub(super) struct Around {
    /// File and place of the component of each graph, outermost first.
    chain: Vec<rules::Standing>,
    operations: usize,
}

/// An operation of a graph while its edges are looked for.
struct Found<'d> {
    node: Node,
    at: Source<'d>,
    component: &'d Map<String, Value>,
}

impl<'d> Resolving<'_, 'd> {
    /// The graph of an operation; `None` when there is something wrong with it.
    pub(super) fn graph(&mut self, merged: &Merged<'d>, run: &Value, queue: &QueueName) -> Option<Dag> {
        let here = merged.component_at.clone();
        let key = (here.place("").file.to_string(), here.base.clone());
        if let Some(problem) = rules::within(&self.around.chain, &key, here.key_place("/run/operations")) {
            self.problems.push(problem);
            return None;
        }
        self.around.chain.push(key);
        let dag = self.graph_within(merged, &here, run, queue);
        self.around.chain.pop();
        dag
    }

    fn graph_within(&mut self, merged: &Merged<'d>, here: &Source<'d>, run: &Value, queue: &QueueName) -> Option<Dag> {
        let before = self.problems.errors();
        let operations = here.at("/run/operations");
        let count = here.map()?.field("run")?.field("operations").and_then(Value::as_array).map_or(0, Vec::len);
        if count == 0 {
            self.problems.push(rules::empty(here.key_place("/run")));
            return None;
        }
        self.around.operations += count;
        if self.around.operations > MAX_OPERATIONS {
            let message = format!("the graphs of this workflow have more than {MAX_OPERATIONS} operations together");
            self.error(codes::LARGE_GRAPH, operations.place(""), message, "use a matrix for many alike");
            return None;
        }
        let components = rules::components(&here.at("/run"), &mut self.problems);
        let places: Vec<Source<'d>> = (0..count).map(|i| operations.at(&format!("/{i}"))).collect();
        let siblings = rules::siblings(&places, |_, _| Severity::Error, &mut self.problems);
        if self.problems.errors() > before {
            return None;
        }
        let mut nodes = Vec::new();
        for at in places {
            if self.around.operations > MAX_OPERATIONS {
                return None;
            }
            nodes.extend(self.node(at, &components, &siblings, merged, run, queue));
        }
        if self.problems.errors() > before {
            return None;
        }
        self.check_refs(&nodes, merged);
        let after: Vec<Vec<u32>> = nodes.iter().map(|found| found.node.after.clone()).collect();
        let of = |i: usize| (nodes[i].node.name.as_str(), nodes[i].at.place("/name"));
        rules::circles(&after, of, &mut self.problems);
        let outputs = self.outputs(merged, &siblings);
        let concurrency = run.field("concurrency").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        (self.problems.errors() == before).then(|| Dag {
            nodes: nodes.into_iter().map(|found| found.node).collect(),
            concurrency: concurrency.map_or(Limit::Unlimited, Limit::At),
            early_stopping: early_stopping(run),
            outputs,
        })
    }

    fn node(
        &mut self,
        at: Source<'d>,
        components: &BTreeMap<&'d str, Source<'d>>,
        siblings: &Siblings<'_>,
        above: &Merged<'d>,
        above_run: &Value,
        above_queue: &QueueName,
    ) -> Option<Found<'d>> {
        let before = self.problems.errors();
        let map = at.map()?;
        let name = text_of(&at.document.value.pointer(&at.base).cloned().unwrap_or_default(), "name")?.to_owned();
        self.problems.extend(reference_problems(map, &at));
        let mut merged = match map.field("dagRef").and_then(Value::as_str) {
            Some(reference) => {
                let component = match rules::component(reference, components, &at) {
                    Ok(component) => component,
                    Err(problem) => {
                        self.problems.push(*problem);
                        return None;
                    }
                };
                self.merged(std::borrow::Cow::Borrowed(map), at.clone(), component.map()?, component)?
            }
            None if self.problems.errors() > before => return None,
            None => {
                let path = at.place("").file.to_string();
                self.operation(at.clone(), &path, false)?
            }
        };
        hand_down(&mut merged.whole, &above.whole, above_run);
        sections::check(&merged.operation, &merged.at, &mut self.problems);
        let mut bound =
            bind(&merged.operation, &merged.at, merged.component, &Scope::Among(siblings), &mut self.problems);
        sections::check_params(&merged.operation, merged.component, &merged.at, &mut self.problems);
        let run = self.patched_run(&mut merged);
        let queue = match merged.whole.field("queue").and_then(Value::as_str) {
            Some(_) => self.queue_of(None, &merged)?,
            None => above_queue.clone(),
        };
        if let Some(why) = self.unrunnable(&merged, &run, Some(&queue)) {
            self.later.get_or_insert(format!("operation `{name}`: {why}"));
        }
        let request = self.request(&merged, &run)?;
        self.fits(&queue, &request, &merged);
        self.honours(&queue, &merged, &run);
        self.stands_in_graph(&merged);
        let is_graph = kind_of_run(&run) == "dag";
        let dag = if is_graph { Some(self.graph(&merged, &run, &queue)?) } else { None };
        let (after, events) = self.edges(&merged, &bound.refs, siblings);
        let trigger = self.trigger(&merged, &name);
        let whole = &merged.whole;
        let skip = whole.field("skipOnUpstreamSkip").and_then(flag) == Some(true);
        let conditions = whole.field("conditions").and_then(Value::as_str).map(str::to_owned);
        let component = merged.component;
        let (hooks, joins) = (self.hooks(&merged, &queue), self.joins(&merged, &mut bound));
        let (tuner, build) = (self.tuner(&merged, &queue).map(Box::new), self.build(&merged, &run, &queue));
        let compiled = with_build(super::compiled(merged.whole, bound, run, request, dag), build);
        let operation = CompiledOperation { hooks, joins, tuner, ..compiled };
        (self.problems.errors() == before).then_some(Found {
            node: Node { name, after, trigger, skip_on_upstream_skip: skip, conditions, events, queue, operation },
            at,
            component,
        })
    }

    /// The operations before one: named as dependencies, by the refs of params, and by events.
    fn edges(
        &mut self,
        merged: &Merged<'d>,
        refs: &BTreeMap<String, ParamRef>,
        siblings: &Siblings<'_>,
    ) -> (Vec<u32>, Vec<NodeEvent>) {
        let mut after: BTreeSet<u32> = BTreeSet::new();
        after.extend(refs.values().filter_map(|reference| match reference.from {
            RefFrom::Op(place) => Some(place),
            _ => None,
        }));
        let whole = merged.whole.clone();
        match whole.field("dependencies") {
            None | Some(Value::Null) => {}
            Some(Value::Array(names)) => {
                for (i, name) in names.iter().enumerate() {
                    let place = merged.at.place(&format!("/dependencies/{i}"));
                    after.extend(name.as_str().and_then(|name| self.sibling(name, siblings, place)));
                }
            }
            Some(_) => drop(self.later.get_or_insert("`dependencies` as a template cannot be run yet".to_owned())),
        }
        let mut events = Vec::new();
        for (i, event) in whole.field("events").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let place = merged.at.place(&format!("/events/{i}/ref"));
            let Some(name) = text_of(event, "ref").and_then(|reference| reference.strip_prefix("ops.")) else {
                let help = "an event of a graph comes from one of its operations";
                self.error(codes::BAD_REF, place, "the ref of an event is `ops.NAME`", help);
                continue;
            };
            let Some(of) = self.sibling(name, siblings, place) else { continue };
            after.insert(of);
            events.push(NodeEvent { of, statuses: statuses(event) });
        }
        (after.into_iter().collect(), events)
    }

    fn sibling(&mut self, name: &str, siblings: &Siblings<'_>, place: Place) -> Option<u32> {
        let found = siblings.get(name).copied();
        if found.is_none() {
            self.problems.push(rules::unknown(name, siblings, place));
        }
        found
    }

    fn trigger(&mut self, merged: &Merged<'d>, name: &str) -> Option<Trigger> {
        let word = merged.whole.field("trigger").filter(|word| !word.is_null())?;
        let trigger = serde_json::from_value(word.clone()).ok();
        if trigger.is_none() {
            self.later.get_or_insert(format!("operation `{name}`: `trigger` as a template cannot be run yet"));
        }
        trigger
    }

    /// What refs mean must be declared, and of a type that the input takes.
    fn check_refs(&mut self, nodes: &[Found<'d>], graph: &Merged<'d>) {
        for found in nodes {
            for (name, reference) in &found.node.operation.refs {
                let (component, whose) = match reference.from {
                    RefFrom::Op(place) => {
                        (nodes[place as usize].component, format!("operation `{}`", nodes[place as usize].node.name))
                    }
                    RefFrom::Dag => (graph.component, "the graph".to_owned()),
                    RefFrom::Run(_) => continue,
                };
                let Some((section @ ("inputs" | "outputs"), wanted)) = reference.path.split_once('.') else { continue };
                let io = declared(component, section).find(|io| text_of(io, "name") == Some(wanted));
                let pointer = format!("/params/{}", crate::domain::compile::document::escape_token(name));
                let place = found.at.key_place(&pointer);
                let Some(io) = io else {
                    let known = declared(component, section).filter_map(|io| text_of(io, "name"));
                    let help = near(wanted, known, &format!("{section} of {whose}"));
                    let message = format!("{whose} declares no {} `{}`", &section[..section.len() - 1], shown(wanted));
                    self.error(codes::UNKNOWN_VALUE, place, message, help);
                    continue;
                };
                let Some(input) = found.node.operation.late.get(name) else { continue };
                let (from, to) = (text_of(io, "type").unwrap_or("any"), text_of(input, "type").unwrap_or("any"));
                let list = |io: &Value| io.field("isList").and_then(flag) == Some(true);
                if !flows(from, to) || list(io) != list(input) && from != "any" && to != "any" {
                    let kind = |word: &str, io| if list(io) { format!("a list of {word}") } else { word.to_owned() };
                    let (from, to) = (kind(from, io), kind(to, input));
                    let message =
                        format!("`{}` takes {to}, and `{}` of {whose} is {from}", shown(name), reference.path);
                    self.error(codes::WRONG_VALUE, place, message, "let both declare the same type");
                }
            }
        }
    }

    /// The outputs of the graph that are those of its operations: `value: "{{ ops.NAME.outputs.X }}"`.
    fn outputs(&mut self, merged: &Merged<'d>, siblings: &Siblings<'_>) -> BTreeMap<String, ParamRef> {
        let mut outputs = BTreeMap::new();
        for (i, io) in declared(merged.component, "outputs").enumerate() {
            let Some((reference, path)) = io.field("value").and_then(template_ref) else { continue };
            let (Some(name), Some(of)) = (text_of(io, "name"), reference.strip_prefix("ops.")) else { continue };
            let place = merged.component_at.place(&format!("/outputs/{i}/value"));
            if let Some(of) = self.sibling(of, siblings, place) {
                outputs.insert(name.to_owned(), ParamRef { from: RefFrom::Op(of), path: path.to_owned() });
            }
        }
        outputs
    }
}

/// The rules of early stopping; what is wrong with them has been told.
fn early_stopping(run: &Value) -> Vec<EarlyStopping> {
    let rules = run.field("earlyStopping").and_then(Value::as_array).into_iter().flatten();
    rules.filter_map(|rule| EarlyStopping::read(rule).ok()).collect()
}

/// What the graph says lies under what its operation says.
fn hand_down(whole: &mut Map<String, Value>, above: &Map<String, Value>, above_run: &Value) {
    let fields = above.iter().filter(|(key, value)| HANDED_DOWN.contains(&key.as_str()) && !value.is_null());
    merge(whole, fields, PatchStrategy::PreMerge);
    let fields = above_run.as_object().into_iter().flatten();
    let fields = fields.filter(|(key, value)| HANDED_DOWN_RUN.contains(&key.as_str()) && !value.is_null());
    if let Some(Value::Object(run)) = whole.get_mut("run") {
        merge(run, fields, PatchStrategy::PreMerge);
    }
}

/// Whether a value of one type may be given to an input of another (§1.5 of the reference; `int` for `float` and
/// `metric` for `float`, which the original refuses by mistake, are accepted).
fn flows(from: &str, to: &str) -> bool {
    const PATHS: [&str; 5] = ["str", "path", "s3", "gcs", "wasb"];
    const NUMBERS: [&str; 3] = ["int", "float", "metric"];
    from == to
        || from == "any"
        || to == "any"
        || PATHS.contains(&from) && PATHS.contains(&to)
        || NUMBERS.contains(&from) && ["float", "metric"].contains(&to)
}

/// The word in `run.kind`.
pub(super) fn kind_of_run(run: &Value) -> &str {
    run.as_object().and_then(kind_of).unwrap_or_default()
}

/// The `run` of a graph without what its compiled form holds.
pub(super) fn without_operations(mut run: Value) -> Value {
    if let Some(run) = run.as_object_mut() {
        ["operations", "components"].iter().for_each(|key| _ = run.shift_remove(*key));
    }
    run
}

/// The digest-worthy form of a graph.
pub(super) fn meaning(operation: &CompiledOperation) -> Value {
    match &operation.dag {
        Some(dag) => serde_json::to_value(dag).unwrap_or_else(|_| json!(null)),
        None => Value::Null,
    }
}
