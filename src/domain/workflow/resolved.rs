//! A compiled operation with its templates filled in as far as values are known before there is a run.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::Value;

use super::render::text_of;

/// Instructions of one template at most.
const FUEL: u64 = 100_000;
/// The sections that are rendered: what is run, and what decides where, when and how.
const RENDERED: [&str; 12] = [
    "run",
    "queue",
    "namespace",
    "cost",
    "cache",
    "termination",
    "plugins",
    "isApproved",
    "presets",
    "conditions",
    "matrix",
    "schedule",
];

/// Fills in the templates of a compiled operation. What names something that only a run has (`globals.uuid`) stays a
/// template; the operations of a graph stay as they are until their turn.
pub fn resolved(operation: &Value) -> Value {
    let mut variables: BTreeMap<String, minijinja::Value> = BTreeMap::new();
    let mut params: BTreeMap<String, minijinja::Value> = BTreeMap::new();
    for section in ["inputs", "outputs", "contexts"] {
        for io in operation.get(section).and_then(Value::as_array).into_iter().flatten() {
            let (Some(name), Some(value)) = (io.get("name").and_then(Value::as_str), io.get("value")) else { continue };
            // A flag is written as on a command line, or not at all.
            let variable = match (io.get("isFlag"), value) {
                (Some(Value::Bool(true)), Value::Bool(true)) => minijinja::Value::from(format!("--{name}")),
                (Some(Value::Bool(true)), Value::Bool(false) | Value::Null) => minijinja::Value::from(""),
                _ => minijinja::Value::from(Serde(value)),
            };
            variables.insert(name.to_owned(), variable);
            let param = context! { value => Serde(value), type => Serde(&io["type"]), as_str => text_of(value) };
            params.insert(name.to_owned(), param);
        }
    }
    variables.insert("params".to_owned(), minijinja::Value::from(params));
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let known = minijinja::Value::from(variables);
    let is_graph = operation.pointer("/run/kind").and_then(Value::as_str) == Some("dag");
    let mut operation = operation.clone();
    for (key, section) in operation.as_object_mut().into_iter().flatten() {
        if RENDERED.contains(&key.as_str()) && !(is_graph && key == "run") {
            fill(section, &environment, &known);
        }
    }
    operation
}

fn fill(value: &mut Value, environment: &Environment<'_>, known: &minijinja::Value) {
    match value {
        Value::String(text) if text.contains("{{") || text.contains("{%") => {
            if let Some(filled) = rendered(text, environment, known) {
                *value = filled;
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|one| fill(one, environment, known)),
        Value::Object(map) => map.values_mut().for_each(|one| fill(one, environment, known)),
        _ => {}
    }
}

/// A template that is one expression keeps the form of its value; `None` when something is not known yet.
fn rendered(template: &str, environment: &Environment<'_>, known: &minijinja::Value) -> Option<Value> {
    let lone = template.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    match lone.filter(|inner| !inner.contains("{{") && !inner.contains("}}")) {
        Some(expression) => {
            let value = environment.compile_expression(expression).ok()?.eval(known).ok()?;
            (!value.is_undefined()).then(|| serde_json::to_value(&value).ok())?
        }
        None => environment.render_str(template, known).ok().map(Value::String),
    }
}
