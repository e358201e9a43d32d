//! The compiled operation in the original's form: `kind: compiled_operation`, the component with the operation merged
//! over it, and its inputs with their values.

use serde_json::{Map, Value, json};

use super::codes;
use super::inputs::Bound;
use super::load::Source;
use super::value::{flag, is_template};
use crate::domain::diagnostic::{Diagnostic, Diagnostics};

/// The fields of a compiled operation, in the order in which they are written.
const ORDER: [&str; 28] = [
    "version",
    "kind",
    "name",
    "description",
    "tags",
    "queue",
    "namespace",
    "cache",
    "termination",
    "plugins",
    "build",
    "hooks",
    "isApproved",
    "cost",
    "mount",
    "schedule",
    "events",
    "matrix",
    "joins",
    "dependencies",
    "trigger",
    "conditions",
    "skipOnUpstreamSkip",
    "inputs",
    "outputs",
    "contexts",
    "template",
    "run",
];

/// Makes the document from a component with an operation merged over it, and what its inputs are bound to.
pub(super) fn document(mut whole: Map<String, Value>, operation: &Map<String, Value>, bound: &Bound) -> Value {
    whole.insert("version".to_owned(), json!(1.1));
    whole.insert("kind".to_owned(), json!("compiled_operation"));
    for section in ["inputs", "outputs"] {
        for io in whole.get_mut(section).and_then(Value::as_array_mut).into_iter().flatten() {
            with_value(io, operation, bound);
        }
    }
    whole.insert("contexts".to_owned(), contexts(operation, &whole));
    let mut ordered = Map::new();
    for key in ORDER {
        ordered.extend(whole.shift_remove(key).filter(|value| !value.is_null()).map(|value| (key.to_owned(), value)));
    }
    without_nulls(&mut ordered);
    Value::Object(ordered)
}

/// Gives an input what its param says.
fn with_value(io: &mut Value, operation: &Map<String, Value>, bound: &Bound) {
    let Some(io) = io.as_object_mut() else { return };
    let name = io.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let param = operation.get("params").and_then(|params| params.get(&name));
    let Some(param) = param else {
        if io.contains_key("value") && !io.contains_key("isOptional") {
            io.insert("isOptional".to_owned(), json!(true));
        }
        return;
    };
    io.insert("isOptional".to_owned(), json!(true));
    if param.get("ref").is_none()
        && let Some(value) = bound.inputs.get(&name)
    {
        io.insert("value".to_owned(), value.clone());
    }
    for key in ["connection", "toInit", "toEnv"] {
        let long = param.as_object().filter(|map| crate::domain::spec::is_long_form(map));
        if let Some(value) = long.and_then(|param| param.get(key)).filter(|value| !value.is_null()) {
            io.insert(key.to_owned(), value.clone());
        }
    }
}

/// The params and results of joins that are template variables only, as inputs of their own.
fn contexts(operation: &Map<String, Value>, whole: &Map<String, Value>) -> Value {
    let declared = |name: &str| {
        let all = ["inputs", "outputs"].iter().filter_map(|section| whole.get(*section)?.as_array()).flatten();
        all.filter_map(|io| io.get("name")?.as_str()).any(|known| known == name)
    };
    let mut found = Vec::new();
    let mut add = |name: &String, param: &Value, of_join: bool| {
        if param.get("contextOnly").and_then(flag) != Some(true) || declared(name) {
            return;
        }
        let mut io = Map::from_iter([("name".to_owned(), json!(name))]);
        for key in ["toInit", "toEnv", "connection", "value"] {
            let value = param.get(key).filter(|value| !(value.is_null() || of_join && key == "value"));
            io.extend(value.map(|value| (key.to_owned(), value.clone())));
        }
        if of_join {
            io.insert("isList".to_owned(), json!(true));
        }
        io.insert("isOptional".to_owned(), json!(true));
        found.push(Value::Object(io));
    };
    let params = operation.get("params").and_then(Value::as_object).into_iter().flatten();
    params.for_each(|(name, param)| add(name, param, false));
    let joins = operation.get("joins").and_then(Value::as_array).into_iter().flatten();
    let of_joins = joins.filter_map(|join| join.get("params")?.as_object()).flatten();
    of_joins.for_each(|(name, param)| add(name, param, true));
    Value::Array(found)
}

/// Takes out what is written as nothing: it means the default.
fn without_nulls(map: &mut Map<String, Value>) {
    map.retain(|_, value| !value.is_null());
    for (key, value) in map.iter_mut() {
        // Values of inputs are data, where nothing means nothing.
        if key == "value" {
            continue;
        }
        match value {
            Value::Object(inner) => without_nulls(inner),
            Value::Array(list) => list.iter_mut().filter_map(Value::as_object_mut).for_each(without_nulls),
            _ => {}
        }
    }
}

/// Sandboxes and ssh are for services.
pub(super) fn plugins_fit(
    component: &Map<String, Value>,
    operation: &Map<String, Value>,
    at: &Source<'_>,
    problems: &mut Diagnostics,
) {
    let kind = component.get("run").and_then(|run| run.get("kind")).and_then(Value::as_str).unwrap_or_default();
    if kind == "service" {
        return;
    }
    for name in ["sandbox", "ssh"] {
        // A template may turn out to be true.
        let set = |map: &Map<String, Value>| {
            let value = map.get("plugins")?.get(name)?;
            flag(value).or(is_template(value).then_some(true))
        };
        if set(operation).or(set(component)) == Some(true) {
            let message = format!("`plugins.{name}` is for services, and this is `{kind}`");
            let problem = Diagnostic::error(codes::OTHER_VALUE, at.place(&format!("/plugins/{name}")), message);
            problems.push(problem.help("write `run.kind: service`, or remove it"));
        }
    }
}
