//! The shortcut dialect (Polyaxon 2.17 and later): `container`, `cmd`, `env`, `resources` and others at the root of a
//! document, without `version` and `kind`; and likewise in every operation and component inside of it. Such a document
//! is rewritten into the classic one that it stands for.
//!
//! A document is of this dialect when it uses something that only this dialect has; everything else is classic.

mod fields;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::codes;
use super::document::Document;
use super::graph::rules::twice;
use super::load::{Room, Source};
use super::merge::{merge, strategy_of};
use super::patch;
use super::schema::Shape;
use super::value::flag;
use super::violation;
use crate::domain::diagnostic::{Code, Diagnostic};
use crate::domain::spec::{PatchStrategy, is_long_form};
use fields::{SHORTCUTS, apply, is_given, limits_of, places};

/// The fields of a component; the others are those of an operation.
const OF_COMPONENT: [&str; 2] = ["inputs", "outputs"];
/// Fields that only an operation has.
const OF_OPERATION: [&str; 11] = [
    "params",
    "matrix",
    "schedule",
    "joins",
    "dependencies",
    "trigger",
    "conditions",
    "events",
    "runPatch",
    "patchStrategy",
    "skipOnUpstreamSkip",
];
/// The fields that name a component.
const REFERENCES: [&str; 4] = ["hubRef", "pathRef", "urlRef", "dagRef"];

/// Whether a document uses what only this dialect has.
pub(super) fn is_shortcut(document: &Document) -> bool {
    let Value::Object(map) = &document.value else { return false };
    let of_runs = map.get("kind").is_none_or(is_kind_of_runs);
    of_runs && uses(map)
}

fn is_kind_of_runs(kind: &Value) -> bool {
    kind.is_null() || matches!(kind.as_str(), Some("component" | "operation"))
}

/// Whether an operation or a component, or one inside of it, uses what only this dialect has.
fn uses(map: &Map<String, Value>) -> bool {
    let is_used_in = |value: &Value| value.as_object().is_some_and(uses);
    map.iter().any(|(key, value)| match key.as_str() {
        "strictParams" => true,
        "matrix" => value.get("kind").and_then(Value::as_str) == Some("tpe"),
        "component" => is_used_in(value),
        "run" => ["operations", "components"]
            .iter()
            .any(|list| value.get(*list).and_then(Value::as_array).is_some_and(|list| list.iter().any(is_used_in))),
        key => SHORTCUTS.contains(&key),
    })
}

/// What the original finds out only when it makes a run: such a document has its shape, but stands for no classic one.
pub(super) const LATE: [Code; 4] = [codes::BAD_PATCH, codes::ONE_REFERENCE, codes::SAME_OPERATION, codes::BAD_SCHEDULE];

/// The classic document that one in this dialect stands for; problems are at their places in the one written.
pub(super) fn lowered(document: &Document, room: Room, problems: &mut Vec<Diagnostic>) -> Option<Document> {
    let Value::Object(map) = &document.value else { return None };
    let before = problems.len();
    let late = |problem: &Diagnostic| LATE.contains(&problem.code);
    let mut lowering = Lowering { document, problems, moved: BTreeMap::new() };
    let whole = lowering.part(map, "", "", Standing::Root(room));
    let moved = lowering.moved;
    problems[before..].iter().all(late).then(|| document.moved(Value::Object(whole), &moved))
}

/// Where something that is lowered stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is the document.
    Root(Room),
    /// It is an operation of a graph.
    Node,
    /// It is the component of an operation, or one of the components of a graph.
    Component,
}

/// A document while it is lowered.
struct Lowering<'a> {
    document: &'a Document,
    problems: &'a mut Vec<Diagnostic>,
    /// Where each part stood, for places.
    moved: BTreeMap<String, String>,
}

impl Lowering<'_> {
    /// The classic form of what was written under the pointer `from`; it will stand under the pointer `to`.
    fn part(&mut self, map: &Map<String, Value>, from: &str, to: &str, standing: Standing) -> Map<String, Value> {
        self.check(map, from);
        let has = |keys: &[&str]| keys.iter().any(|key| is_given(map, key));
        let refers = REFERENCES.iter().any(|key| is_given(map, key) && map[*key] != "");
        let preset = map.get("isPreset").and_then(flag) == Some(true);
        let is_component = match standing {
            Standing::Component => true,
            Standing::Node | Standing::Root(Room::Patch) => false,
            Standing::Root(_) if preset => false,
            Standing::Root(room) => match map.get("kind").and_then(Value::as_str) {
                Some("component") => !has(&OF_OPERATION) && !refers && !has(&["component"]),
                Some(_) => false,
                None => room == Room::Components,
            },
        };
        let kept = map.iter().filter(|(key, _)| {
            let key = key.as_str();
            !SHORTCUTS.contains(&key) && !["run", "strictParams", "version", "kind", "component"].contains(&key)
        });
        let mut whole = Map::new();
        if matches!(standing, Standing::Root(_)) {
            whole.insert("version".to_owned(), json!(1.1));
            whole.insert("kind".to_owned(), json!(if is_component { "component" } else { "operation" }));
        }
        let kept = kept.filter(|(key, _)| !(is_component && *key == "isPreset"));
        whole.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
        // Where presets are kept they are merged over others; anywhere else one that has a run is an operation too.
        let is_patch = standing == Standing::Root(Room::Patch) || preset && standing == Standing::Root(Room::Presets);
        if is_patch || refers && !has(&["component"]) {
            let mut run = map.get("run").and_then(Value::as_object).cloned().unwrap_or_default();
            self.graph(&mut run, &format!("{from}/run"), &format!("{to}/runPatch"));
            run.shift_remove("kind");
            self.patched(&mut whole, run, map, from, to);
        } else {
            self.with_component(&mut whole, map, from, to, standing, is_component);
        }
        let inline = map.get("component").and_then(|component| component.get("strictParams"));
        if ![map.get("strictParams"), inline].iter().any(|strict| strict.and_then(flag) == Some(true)) {
            loosen(&mut whole);
        }
        if let Some(matrix) = whole.get_mut("matrix").and_then(Value::as_object_mut)
            && matrix.get("kind").and_then(Value::as_str) == Some("tpe")
        {
            matrix.insert("kind".to_owned(), json!("hyperopt"));
            matrix.insert("algorithm".to_owned(), json!("tpe"));
        }
        whole
    }

    /// The root fields as a `runPatch`, over a partial run and under the one that is written.
    fn patched(
        &mut self,
        whole: &mut Map<String, Value>,
        mut run: Map<String, Value>,
        map: &Map<String, Value>,
        from: &str,
        to: &str,
    ) {
        apply(&mut run, map);
        if let Some(own) = map.get("runPatch").and_then(Value::as_object) {
            merge(&mut run, own, strategy_of(map, PatchStrategy::PostMerge));
        }
        if run.is_empty() {
            return;
        }
        whole.insert("runPatch".to_owned(), Value::Object(run));
        let base = format!("{to}/runPatch");
        let first = ["runPatch", "run"].into_iter().chain(SHORTCUTS).find(|key| is_given(map, key)).unwrap_or("run");
        self.moved.insert(base.clone(), format!("{from}/{first}"));
        self.moved.extend(places(&base, from, map));
    }

    /// The root fields as parts of the run of a component: of the inline one, or of this one itself.
    fn with_component(
        &mut self,
        whole: &mut Map<String, Value>,
        map: &Map<String, Value>,
        from: &str,
        to: &str,
        standing: Standing,
        is_component: bool,
    ) {
        let base = if is_component { to.to_owned() } else { format!("{to}/component") };
        let inline = map.get("component").and_then(Value::as_object);
        let mut component = match inline {
            Some(inline) => self.part(inline, &format!("{from}/component"), &base, Standing::Component),
            None => Map::new(),
        };
        if inline.is_some() {
            self.moved.entry(base.clone()).or_insert_with(|| format!("{from}/component"));
            self.lifted(&mut component, whole, &format!("{from}/component"), to);
        }
        let written = map.get("run").and_then(Value::as_object);
        let mut run = component.shift_remove("run").and_then(|run| run.as_object().cloned());
        if let Some(written) = written {
            let mut written = written.clone();
            self.graph(&mut written, &format!("{from}/run"), &format!("{base}/run"));
            merge(run.get_or_insert_default(), &written, PatchStrategy::PostMerge);
            self.moved.insert(format!("{base}/run"), format!("{from}/run"));
        }
        let lowers = map.contains_key("container") || SHORTCUTS.iter().any(|key| is_given(map, key));
        let runs = run.is_some();
        if !runs && (lowers || standing != Standing::Component) {
            let kind = if is_given(map, "ports") { "service" } else { "job" };
            run = Some(Map::from_iter([("kind".to_owned(), json!(kind))]));
            self.moved.insert(format!("{base}/run"), format!("{from}/run"));
        }
        if !runs && !lowers && standing != Standing::Component {
            let problem = Diagnostic::error(codes::ONE_REFERENCE, self.document.place(from), "nothing here runs");
            self.problems.push(problem.help("write a `container`, a `cmd` or a `run`, or name a component"));
        }
        if let Some(other) = map.get("run").filter(|run| !run.is_null() && !run.is_object()) {
            // It is no run at all, which is found with the rest.
            component.insert("run".to_owned(), other.clone());
        } else if let Some(run) = run {
            let run = self.onto(run, map, from, standing);
            self.moved.extend(places(&format!("{base}/run"), from, map));
            component.insert("run".to_owned(), Value::Object(run));
        }
        for key in OF_COMPONENT {
            if let Some(list) = whole.shift_remove(key) {
                component.insert(key.to_owned(), list);
                self.moved.insert(format!("{base}/{key}"), format!("{from}/{key}"));
            }
        }
        if is_component {
            component.into_iter().for_each(|(key, value)| {
                whole.entry(key).or_insert(value);
            });
        } else if inline.is_some() || !component.is_empty() {
            whole.insert("component".to_owned(), Value::Object(component));
        }
    }

    /// What an inline component says of its operation goes to that, where it does not say so itself.
    fn lifted(&mut self, component: &mut Map<String, Value>, whole: &mut Map<String, Value>, from: &str, to: &str) {
        if let Some(patch) = component.shift_remove("runPatch") {
            let mut patching = Map::from_iter([("runPatch".to_owned(), patch)]);
            patching.extend(component.shift_remove("patchStrategy").map(|how| ("patchStrategy".to_owned(), how)));
            for why in patch::run(component, &patching, PatchStrategy::PostMerge) {
                let place = self.document.place(&format!("{from}/runPatch"));
                self.problems.push(Diagnostic::error(
                    codes::BAD_PATCH,
                    place,
                    format!("the patch does not fit: {why}"),
                ));
            }
        }
        for key in OF_OPERATION {
            let Some(value) = component.shift_remove(key) else { continue };
            match (whole.get_mut(key), value) {
                (None, value) => {
                    whole.insert(key.to_owned(), value);
                    self.moved.insert(format!("{to}/{key}"), format!("{from}/{key}"));
                }
                (Some(Value::Object(own)), Value::Object(params)) if key == "params" => {
                    for (name, param) in params {
                        own.entry(name).or_insert(param);
                    }
                }
                _ => {}
            }
        }
    }

    /// A run with the root fields on it, when they fit.
    fn onto(
        &mut self,
        run: Map<String, Value>,
        map: &Map<String, Value>,
        from: &str,
        standing: Standing,
    ) -> Map<String, Value> {
        let mut whole = run.clone();
        apply(&mut whole, map);
        let faults = |run: &Map<String, Value>| violation::renamed(Value::Object(run.clone()), Shape::Run).err();
        let is_sound = self.problems.iter().all(|problem| LATE.contains(&problem.code));
        let (fields, mut unfit) = match faults(&whole) {
            // What is wrong with the run itself is found in any case.
            Some(why) if is_sound && faults(&run).is_none() => ("root fields do", why),
            _ => ("patch does", Vec::new()),
        };
        if standing == Standing::Node && unfit.is_empty() {
            let mut patched = Map::from_iter([("run".to_owned(), Value::Object(whole.clone()))]);
            unfit = patch::run(&mut patched, map, PatchStrategy::PostMerge);
        }
        let sound = unfit.is_empty();
        let first = SHORTCUTS.into_iter().find(|key| is_given(map, key)).unwrap_or("runPatch");
        for why in unfit {
            let message = format!("the {fields} not fit: {why}");
            self.problems.push(Diagnostic::error(
                codes::BAD_PATCH,
                self.document.place(&format!("{from}/{first}")),
                message,
            ));
        }
        if sound { whole } else { run }
    }

    /// Lowers the operations and components of a graph.
    fn graph(&mut self, run: &mut Map<String, Value>, from: &str, to: &str) {
        // Inner graphs are looked at when their turn comes.
        if !from.contains("/operations/") {
            self.operations(run, from);
        }
        for (list, standing) in [("operations", Standing::Node), ("components", Standing::Component)] {
            let parts = run.get_mut(list).and_then(Value::as_array_mut);
            for (i, part) in parts.into_iter().flatten().enumerate() {
                let Value::Object(map) = part else { continue };
                let (from, to) = (format!("{from}/{list}/{i}"), format!("{to}/{list}/{i}"));
                self.moved.insert(to.clone(), from.clone());
                *part = Value::Object(self.part(map, &from, &to, standing));
            }
        }
    }

    /// Checks what only this dialect asks of the operations of a graph.
    fn operations(&mut self, run: &Map<String, Value>, from: &str) {
        let mut names = BTreeMap::new();
        for (i, operation) in run.get("operations").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let Some(operation) = operation.as_object() else { continue };
            let at = Source::whole(self.document).at(&format!("{from}/operations/{i}"));
            let name = operation.get("name").and_then(Value::as_str).unwrap_or_default();
            if let Some(first) = names.insert(name, at.clone()).filter(|_| !name.is_empty()) {
                self.problems.push(twice("operations", name, &first, &at));
            }
            if is_given(operation, "schedule") {
                let message = "an operation of a graph has no schedule of its own";
                let problem = Diagnostic::error(codes::BAD_SCHEDULE, at.place("/schedule"), message);
                self.problems.push(problem.help("give the graph a schedule"));
            }
        }
    }

    /// Checks what is gone when something is lowered.
    fn check(&mut self, map: &Map<String, Value>, from: &str) {
        let place = |pointer: &str| self.document.place(&format!("{from}{pointer}"));
        let keys = SHORTCUTS.iter().chain(&["strictParams"]);
        let part: Map<String, Value> =
            keys.filter_map(|key| Some(((*key).to_owned(), map.get(*key)?.clone()))).collect();
        self.problems.extend(violation::check_part(self.document, from, &Value::Object(part), Shape::Shortcuts));
        if let Some(kind) = map.get("kind").filter(|kind| !is_kind_of_runs(kind)) {
            let message = format!("the kind {} is not one of a run", violation::quoted(kind));
            let problem = Diagnostic::error(codes::UNKNOWN_KIND, place("/kind"), message);
            self.problems.push(problem.help("leave it out, or write `component` or `operation`"));
        }
        // Its value means nothing, but it must be a number, or read as one.
        let is_number = |version: &&Value| match version {
            Value::String(text) => text.trim().parse::<f64>().is_ok(),
            other => !other.is_array() && !other.is_object(),
        };
        if let Some(version) = map.get("version").filter(|version| !is_number(version)) {
            let message = format!("version {} is not a number", violation::quoted(version));
            let problem = Diagnostic::error(codes::BAD_VERSION, place("/version"), message);
            self.problems.push(problem.help("leave it out, or write `version: 1.1`"));
        }
        let matrix = map.get("matrix").and_then(Value::as_object);
        let kind = matrix.and_then(|matrix| matrix.get("kind")).and_then(Value::as_str);
        let misfit = match (kind, matrix.is_some_and(|matrix| matrix.contains_key("algorithm"))) {
            (Some("hyperopt"), _) => Some(("/matrix/kind", "`hyperopt` is not of the dialect of the root fields here")),
            (Some("tpe"), true) => Some(("/matrix/algorithm", "unknown field `algorithm`: the kind says it")),
            _ => None,
        };
        if let Some((pointer, message)) = misfit {
            let problem = Diagnostic::error(codes::BAD_MATRIX, place(pointer), message);
            self.problems.push(problem.help("write `kind: tpe` without an algorithm"));
        }
        for (key, amount) in map.get("resources").and_then(Value::as_object).into_iter().flatten() {
            if let Err(why) = limits_of(key, amount) {
                let pointer = format!("/resources/{}", super::document::escape_token(key));
                let problem = Diagnostic::error(codes::BAD_QUANTITY, place(&pointer), why);
                self.problems.push(problem.help("write one amount, or a request and a limit: `500m..1`"));
            }
        }
    }
}

/// Params that nothing declares are template variables here.
fn loosen(whole: &mut Map<String, Value>) {
    for param in whole.get_mut("params").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        match param {
            Value::Object(long) if is_long_form(long) => {
                if long.get("contextOnly").is_none_or(Value::is_null) {
                    long.insert("contextOnly".to_owned(), json!(true));
                }
            }
            value => *value = json!({ "value": value, "contextOnly": true }),
        }
    }
    for join in whole.get_mut("joins").and_then(Value::as_array_mut).into_iter().flatten() {
        let params = join.get_mut("params").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
        for param in params.filter_map(Value::as_object_mut) {
            param.entry("contextOnly").or_insert(json!(true));
        }
    }
}
