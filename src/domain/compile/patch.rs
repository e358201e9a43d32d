//! `runPatch`: a partial run that is merged over that of a component. Of a distributed run it may also be a partial
//! replica, which then patches every replica.

use serde_json::{Map, Value, json};

use super::merge::{merge, strategy_of};
use super::runs;
use super::schema::Shape;
use super::violation;
use crate::domain::spec::PatchStrategy;

/// The replicas of each distributed kind; those of Ray are in `workers` beside `head`.
const REPLICAS: [(&str, &[&str]); 5] = [
    ("tfjob", &["chief", "ps", "worker", "evaluator"]),
    ("pytorchjob", &["master", "worker"]),
    ("mpijob", &["launcher", "worker"]),
    ("daskcluster", &["worker", "scheduler"]),
    ("raycluster", &["head"]),
];

/// Merges the `runPatch` of an operation over the `run` of a component; what does not fit, as sentences.
pub(super) fn run(
    whole: &mut Map<String, Value>,
    operation: &Map<String, Value>,
    default: PatchStrategy,
) -> Vec<String> {
    let Some(patch) = operation.get("runPatch").and_then(Value::as_object).filter(|patch| !patch.is_empty()) else {
        return Vec::new();
    };
    let Some(run) = whole.get_mut("run").and_then(Value::as_object_mut) else { return Vec::new() };
    match (fitted(patch, run), runs::unfit_init(patch)) {
        (Ok(_), Some(why)) => vec![why],
        (Ok(patch), None) => {
            merge(run, &patch, strategy_of(operation, default));
            violation::sentences(&Value::Object(run.clone()), Shape::Run)
        }
        (Err(why), _) => why,
    }
}

/// Merges a partial run over one whose kind may not be known yet; what does not fit is left for the check of the whole.
pub(super) fn apply(run: &mut Map<String, Value>, patch: Option<&Map<String, Value>>, strategy: PatchStrategy) {
    let Some(patch) = patch else { return };
    let distributed = run.get("kind").is_some_and(|kind| REPLICAS.iter().any(|(of, _)| kind == *of));
    match fitted(patch, run) {
        Ok(fitted) if distributed => merge(run, &fitted, strategy),
        _ => merge(run, patch, strategy),
    }
}

/// The patch as a partial run of the kind, if it is one.
fn fitted(patch: &Map<String, Value>, run: &Map<String, Value>) -> Result<Map<String, Value>, Vec<String>> {
    let kind = run.get("kind").cloned().unwrap_or_default();
    if let Some(other) = patch.get("kind").filter(|other| **other != kind) {
        return Err(vec![format!("{} is another kind than {}", violation::quoted(other), violation::quoted(&kind))]);
    }
    let as_run = |patch: &Map<String, Value>| {
        let mut partial = patch.clone();
        partial.insert("kind".to_owned(), kind.clone());
        violation::renamed(Value::Object(partial), Shape::Run)
    };
    let whole = as_run(patch);
    let Err(why) = whole else { return Ok(without_kind(whole)) };
    let Some((_, names)) = REPLICAS.iter().find(|(of, _)| kind == *of) else { return Err(why) };
    let mut each = Map::new();
    for name in names.iter().filter(|name| run.get(**name).is_some_and(Value::is_object)) {
        each.insert((*name).to_owned(), json!(patch));
    }
    if let Some(workers) = run.get("workers").and_then(Value::as_object) {
        let of_workers: Map<String, Value> = workers.keys().map(|name| (name.clone(), json!(patch))).collect();
        each.insert("workers".to_owned(), Value::Object(of_workers));
    }
    // Of a run without replicas nothing is patched, but it must be one that could be.
    let none = each.is_empty();
    if none {
        each.extend(names.first().map(|name| ((*name).to_owned(), json!(patch))));
    }
    let whole = as_run(&each).map(|whole| if none { json!({}) } else { whole });
    if whole.is_ok() { Ok(without_kind(whole)) } else { Err(why) }
}

fn without_kind(run: Result<Value, Vec<String>>) -> Map<String, Value> {
    match run {
        Ok(Value::Object(mut run)) => {
            run.shift_remove("kind");
            run
        }
        _ => Map::new(),
    }
}
