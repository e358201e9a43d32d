//! Graphs of lone files: every reference means something, no operation waits for itself, params fit.

pub(super) mod rules;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::codes;
use super::document::escape_token;
use super::field::Lookup;
use super::inputs::{Scope, bind, check_declarations, declared, is_list, text_of, type_of};
use super::library::{Library, Target};
use super::load::Source;
use super::resolve::reference_problems;
use super::sections;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Severity};

/// A graph as it is checked.
pub(super) struct Graph<'l, 'd> {
    /// What references mean.
    pub library: &'l Library<'d>,
    /// The project whose components come first.
    pub project: Option<&'l str>,
    /// The file that the graph stands in; relative paths start there.
    pub path: String,
    /// The `run` section.
    pub run: Source<'d>,
    /// The component whose run it is.
    pub component: &'d Map<String, Value>,
    /// The graphs that it stands in, outermost first: file and place.
    pub around: Vec<rules::Standing>,
}

/// An operation of a graph.
struct Node<'d> {
    name: &'d str,
    at: Source<'d>,
    map: &'d Map<String, Value>,
    /// Its component, when that is known.
    component: Option<Target<'d>>,
}

impl<'d> Graph<'_, 'd> {
    /// Looks for what references mean, and no further: what can be said without values.
    /// With `trust`, references to elsewhere are not looked for.
    pub fn references(&self, trust: bool, problems: &mut Diagnostics) {
        if self.run.map().and_then(|run| run.get("operations")).is_none_or(Value::is_null) {
            problems.push(rules::empty(self.run.place("/operations")));
        }
        written(&self.run, problems);
        let mut found = Diagnostics::default();
        self.nodes(&mut found);
        let late = [codes::UNKNOWN_OPERATION, codes::SAME_OPERATION, codes::NOT_IN_GRAPH];
        let ours = |code| !(late.contains(&code) || trust && super::alone::ELSEWHERE.contains(&code));
        found.iter().filter(|problem| ours(problem.code)).for_each(|problem| problems.push(problem.clone()));
    }

    /// The operations with the components that they refer to in them.
    pub fn embedded(&self) -> Option<Value> {
        let mut operations = self.run.map()?.get("operations")?.as_array()?.clone();
        for (i, operation) in operations.iter_mut().enumerate() {
            let at = self.run.at(&format!("/operations/{i}"));
            let Some(map) = at.map().filter(|map| !has_component(map)) else { continue };
            if let (Some(operation), Some(Ok(target))) =
                (operation.as_object_mut(), self.library.follow(map, &at, &self.path, self.project))
            {
                operation
                    .extend(target.source.map().map(|component| ("component".to_owned(), component.clone().into())));
            }
        }
        Some(Value::Array(operations))
    }

    /// Checks the whole graph.
    pub fn check(&self, problems: &mut Diagnostics) {
        written(&self.run, problems);
        self.compiles(problems);
    }

    /// Checks what its operations come to when they are compiled together.
    fn compiles(&self, problems: &mut Diagnostics) {
        let before = problems.errors();
        let nodes = self.nodes(problems);
        let operations = self.run.map().and_then(|run| run.get("operations"));
        if operations.is_some_and(Value::is_string) {
            return;
        }
        if nodes.is_empty() && operations.and_then(Value::as_array).is_none_or(Vec::is_empty) {
            problems.push(rules::empty(self.run.place("/operations")));
            return;
        }
        edges(&nodes, problems);
        if problems.errors() > before {
            return;
        }
        let known = self.known(&nodes);
        for node in &nodes {
            let Some(target) = &node.component else { continue };
            let Some(component) = target.source.map() else { continue };
            bind(node.map, &node.at, component, &Scope::Graph(&known), problems);
            sections::check_params(node.map, component, &node.at, problems);
            self.inner(node, target, component, problems);
        }
    }

    /// The operations, each with its component.
    fn nodes(&self, problems: &mut Diagnostics) -> Vec<Node<'d>> {
        let components = rules::components(&self.run, problems);
        let operations = self.run.map().and_then(|run| run.get("operations")).and_then(Value::as_array);
        let mut nodes = Vec::new();
        for i in 0..operations.map_or(0, Vec::len) {
            let at = self.run.at(&format!("/operations/{i}"));
            let Some(map) = at.map() else { continue };
            if reference_problems(map, &at).errors() > 0 {
                continue;
            }
            sections::check(map, &at, problems);
            let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
            let component = match map.get("dagRef").and_then(Value::as_str).filter(|_| !has_component(map)) {
                Some(wanted) => match rules::component(wanted, &components, &at) {
                    Ok(source) => Some(Target { path: self.path.clone(), source }),
                    Err(problem) => {
                        problems.push(*problem);
                        None
                    }
                },
                None => match self.library.follow(map, &at, &self.path, self.project) {
                    Some(Ok(target)) => Some(target),
                    Some(Err(problem)) => {
                        problems.push(*problem);
                        None
                    }
                    None => None,
                },
            };
            nodes.push(Node { name, at, map, component });
        }
        nodes
    }

    /// What a ref in the graph may mean, by its full path: the type of the value and whether it is a list.
    fn known(&self, nodes: &[Node<'d>]) -> BTreeMap<String, Known> {
        let mut known = BTreeMap::new();
        let mut add = |path: String, io_type: Option<&str>, is_list: bool| {
            known.insert(path, Known { io_type: io_type.map(str::to_owned), is_list });
        };
        let globals = |prefix: &str, add: &mut dyn FnMut(String, Option<&str>, bool)| {
            add(format!("{prefix}.globals"), Some("str"), false);
            GLOBALS.iter().for_each(|name| add(format!("{prefix}.globals.{name}"), Some("str"), false));
            add(format!("{prefix}.artifacts"), Some("str"), false);
            add(format!("{prefix}.inputs"), Some("dict"), false);
        };
        globals("dag", &mut add);
        for io in declared(self.component, "inputs") {
            let name = text_of(io, "name").unwrap_or_default();
            add(format!("dag.inputs.{name}"), type_of(io), is_list(io));
        }
        for node in nodes {
            let prefix = format!("ops.{}", node.name);
            globals(&prefix, &mut add);
            add(format!("{prefix}.outputs"), Some("dict"), false);
            add(format!("{prefix}.io"), Some("str"), false);
            let component = node.component.as_ref().and_then(|target| target.source.map());
            for (section, io) in ["inputs", "outputs"].iter().flat_map(|section| {
                component.into_iter().flat_map(move |map| declared(map, section)).map(move |io| (section, io))
            }) {
                let name = text_of(io, "name").unwrap_or_default();
                add(format!("{prefix}.{section}.{name}"), type_of(io), is_list(io));
            }
        }
        known
    }

    /// A graph inside the graph. It is compiled only when its turn comes, so what is wrong then is a warning here.
    fn inner(
        &self,
        node: &Node<'d>,
        target: &Target<'d>,
        component: &'d Map<String, Value>,
        problems: &mut Diagnostics,
    ) {
        let run = target.source.at("/run");
        if !is_graph(component) {
            return;
        }
        let mut around = self.around.clone();
        around.push((self.path.clone(), self.run.base.clone()));
        let here = (target.path.clone(), run.base.clone());
        if let Some(problem) = rules::within(&around, &here, node.at.place("")) {
            problems.push(problem);
            return;
        }
        let inner = Graph { path: target.path.clone(), run, component, around, ..*self };
        if !has_component(node.map) {
            written(&inner.run, problems);
        }
        let mut found = Diagnostics::default();
        inner.compiles(&mut found);
        for problem in found.iter() {
            if problem.code == codes::CYCLE {
                problems.push(problem.clone());
            } else {
                let message = format!("this graph cannot be compiled: {}", problem.message);
                let warning = Diagnostic::warning(codes::INNER_GRAPH, problem.place.clone(), message);
                problems.push(warning.help(problem.help.clone()));
            }
        }
    }
}

/// What a ref means: the type of the value.
#[derive(Debug)]
pub(super) struct Known {
    /// Its type, if declared.
    pub io_type: Option<String>,
    /// Whether it is a list of that.
    pub is_list: bool,
}

/// The names that may follow `globals.` in a ref.
pub(super) const GLOBALS: [&str; 21] = [
    "owner_name",
    "project_name",
    "project_unique_name",
    "project_uuid",
    "run_info",
    "name",
    "uuid",
    "status",
    "namespace",
    "iteration",
    "context_path",
    "artifacts_path",
    "created_at",
    "compiled_at",
    "schedule_at",
    "started_at",
    "finished_at",
    "duration",
    "cloning_kind",
    "original_uuid",
    "is_independent",
];

/// Whether a component runs a graph.
pub(super) fn is_graph(component: &Map<String, Value>) -> bool {
    component.field("run").and_then(|run| run.field("kind")).and_then(Value::as_str) == Some("dag")
}

fn has_component(map: &Map<String, Value>) -> bool {
    map.get("component").is_some_and(Value::is_object)
}

/// How the operations of a graph are written, and those of the graphs that stand inside of it: each names one component, and
/// what components declare is sound.
fn written(run: &Source<'_>, problems: &mut Diagnostics) {
    let operations = run.map().and_then(|run| run.get("operations")).and_then(Value::as_array);
    for i in 0..operations.map_or(0, Vec::len) {
        let at = run.at(&format!("/operations/{i}"));
        let Some(map) = at.map() else { continue };
        problems.extend(reference_problems(map, &at));
        let inline = at.at("/component");
        if let Some(component) = inline.map() {
            check_declarations(component, &inline, problems);
            if is_graph(component) {
                written(&inline.at("/run"), problems);
            }
        }
    }
}

/// What each operation waits for: all of it exists, and none waits for itself.
fn edges(nodes: &[Node<'_>], problems: &mut Diagnostics) {
    let places: Vec<Source<'_>> = nodes.iter().map(|node| node.at.clone()).collect();
    // The original notices two of one name when it looks for the components of both.
    let judge =
        |first: &Source<'_>, second: &Source<'_>| match [first, second].map(|at| at.map().is_some_and(has_component)) {
            [false, false] => Severity::Error,
            _ => Severity::Warning,
        };
    let siblings = rules::siblings(&places, judge, problems);
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); nodes.len()];
    for (node, after) in nodes.iter().zip(&mut after) {
        for (pointer, wanted) in waits_for(node.map) {
            match siblings.get(wanted) {
                Some(place) => after.push(*place),
                None => problems.push(rules::unknown(wanted, &siblings, node.at.place(&pointer))),
            }
        }
    }
    rules::circles(&after, |i| (nodes[i].name, nodes[i].at.place("/name")), problems);
}

/// The operations that one waits for, each with where that is said.
fn waits_for(operation: &Map<String, Value>) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let dependencies = operation.get("dependencies").and_then(Value::as_array);
    for (i, name) in dependencies.into_iter().flatten().enumerate() {
        found.extend(name.as_str().map(|name| (format!("/dependencies/{i}"), name)));
    }
    for (name, param) in operation.get("params").and_then(Value::as_object).into_iter().flatten() {
        if let Some(reference) = param.get("ref").and_then(Value::as_str)
            && let Some(wanted) = reference.strip_prefix("ops.")
        {
            found.push((format!("/params/{}/ref", escape_token(name)), wanted));
        }
    }
    for (i, event) in operation.get("events").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if let Some(reference) = event.get("ref").and_then(Value::as_str)
            && let Some(wanted) = reference.strip_prefix("ops.")
        {
            found.push((format!("/events/{i}/ref"), wanted));
        }
    }
    found
}
