//! The shortcut dialect (Polyaxon 2.17 and later): `container`, `cmd`, `env`, `resources` and others at the root of a
//! document, without `version` and `kind`. Such a document is rewritten into the classic one that it stands for.
//!
//! A document is of this dialect when it uses something that only this dialect has; everything else is classic.

use serde_json::{Map, Value, json};

use super::codes;
use super::document::Document;
use super::load::Room;
use super::merge::{merge, strategy_of};
use super::patch;
use super::schema::Shape;
use super::text::shown;
use super::value::{flag, is_template};
use super::violation;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::quantity::Quantity;
use crate::domain::spec::{PatchStrategy, is_long_form};

/// The fields that are lowered onto `run`, in this order.
const SHORTCUTS: [&str; 10] =
    ["ports", "container", "cmd", "env", "resources", "environment", "init", "connections", "sidecars", "volumes"];
/// The fields of a component; the others are those of an operation.
const OF_COMPONENT: [&str; 2] = ["inputs", "outputs"];
/// The resource that `gpu` means.
const GPU: &str = "nvidia.com/gpu";

/// Whether a document uses what only this dialect has.
pub(super) fn is_shortcut(document: &Document) -> bool {
    let Value::Object(map) = &document.value else { return false };
    let of_runs = map.get("kind").is_none_or(|kind| matches!(kind.as_str(), Some("component" | "operation")));
    let tpe = map.get("matrix").and_then(|matrix| matrix.get("kind")).and_then(Value::as_str) == Some("tpe");
    of_runs && (tpe || map.contains_key("strictParams") || SHORTCUTS.iter().any(|key| map.contains_key(*key)))
}

/// The classic document that one in this dialect stands for; problems are at their places in the one written.
pub(super) fn lowered(document: &Document, room: Room, problems: &mut Vec<Diagnostic>) -> Option<Document> {
    let Value::Object(map) = &document.value else { return None };
    let before = problems.len();
    let keys = SHORTCUTS.iter().chain(&["strictParams"]);
    let part: Map<String, Value> = keys.filter_map(|key| Some(((*key).to_owned(), map.get(*key)?.clone()))).collect();
    problems.extend(violation::check_part(document, &Value::Object(part), Shape::Shortcuts));
    // Its value means nothing, but it must be a number, or read as one.
    let is_number = |version: &&Value| match version {
        Value::String(text) => text.trim().parse::<f64>().is_ok(),
        other => !other.is_array() && !other.is_object(),
    };
    if let Some(version) = map.get("version").filter(|version| !is_number(version)) {
        let message = format!("version {} is not a number", violation::quoted(version));
        let problem = Diagnostic::error(codes::BAD_VERSION, document.place("/version"), message);
        problems.push(problem.help("leave it out, or write `version: 1.1`"));
    }
    let matrix = map.get("matrix").and_then(Value::as_object);
    let kind = matrix.and_then(|matrix| matrix.get("kind")).and_then(Value::as_str);
    let misfit = match (kind, matrix.is_some_and(|matrix| matrix.contains_key("algorithm"))) {
        (Some("hyperopt"), _) => Some(("/matrix/kind", "`hyperopt` is not of the dialect of the root fields here")),
        (Some("tpe"), true) => Some(("/matrix/algorithm", "unknown field `algorithm`: the kind says it")),
        _ => None,
    };
    if let Some((pointer, message)) = misfit {
        let problem = Diagnostic::error(codes::BAD_MATRIX, document.place(pointer), message);
        problems.push(problem.help("write `kind: tpe` without an algorithm"));
    }
    for (key, amount) in map.get("resources").and_then(Value::as_object).into_iter().flatten() {
        if let Err(why) = limits_of(key, amount) {
            let pointer = format!("/resources/{}", super::document::escape_token(key));
            let problem = Diagnostic::error(codes::BAD_QUANTITY, document.place(&pointer), why);
            problems.push(problem.help("write one amount, or a request and a limit: `500m..1`"));
        }
    }
    if problems.len() > before {
        return None;
    }
    let referred = ["hubRef", "pathRef", "urlRef", "dagRef", "component"];
    let of_operation = ["params", "matrix", "schedule", "joins", "dependencies", "trigger", "conditions", "events"];
    let has = |keys: &[&str]| keys.iter().any(|key| map.get(*key).is_some_and(|value| !value.is_null()));
    let is_preset = map.get("isPreset").and_then(flag) == Some(true) || room == Room::Patch;
    let is_component = match map.get("kind").and_then(Value::as_str) {
        Some("component") => !has(&of_operation),
        Some(_) => false,
        None => room == Room::Components,
    };
    let kept = map.iter().filter(|(key, _)| {
        let key = key.as_str();
        !SHORTCUTS.contains(&key) && !["run", "strictParams", "version", "kind"].contains(&key)
    });
    let mut whole = Map::from_iter([("version".to_owned(), json!(1.1))]);
    let kind = if is_component { "component" } else { "operation" };
    whole.insert("kind".to_owned(), json!(kind));
    whole.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
    // Where each part stood, for places.
    let mut moved: Vec<(String, String)> = Vec::new();
    let run = map.get("run").and_then(Value::as_object).cloned().unwrap_or_default();
    if is_preset || has(&referred) && !has(&["component"]) {
        let mut patched = run;
        apply(&mut patched, map);
        if let Some(own) = map.get("runPatch").and_then(Value::as_object) {
            merge(&mut patched, own, strategy_of(map, PatchStrategy::PostMerge));
        }
        patched.shift_remove("kind");
        whole.insert("runPatch".to_owned(), Value::Object(patched));
        moved.extend(places("/runPatch"));
    } else {
        let inline = whole.shift_remove("component").and_then(|component| component.as_object().cloned());
        let mut component = inline.unwrap_or_default();
        let mut under = component.get("run").and_then(Value::as_object).cloned().unwrap_or_default();
        merge(&mut under, &run, PatchStrategy::PostMerge);
        if !under.contains_key("kind") {
            let kind = if map.get("ports").is_some_and(|ports| !ports.is_null()) { "service" } else { "job" };
            under.insert("kind".to_owned(), json!(kind));
        }
        apply(&mut under, map);
        let parts = OF_COMPONENT.iter().filter_map(|key| Some(((*key).to_owned(), whole.shift_remove(*key)?)));
        component.extend(parts.collect::<Vec<_>>());
        component.insert("run".to_owned(), Value::Object(under));
        let base = if is_component { "" } else { "/component" };
        OF_COMPONENT.iter().for_each(|key| moved.push((format!("{base}/{key}"), format!("/{key}"))));
        moved.extend(places(&format!("{base}/run")));
        if is_component {
            whole.extend(component);
        } else {
            whole.insert("component".to_owned(), Value::Object(component));
        }
    }
    if map.get("strictParams").and_then(flag) != Some(true) {
        loosen(&mut whole);
    }
    if let Some(matrix) = whole.get_mut("matrix").and_then(Value::as_object_mut)
        && matrix.get("kind").and_then(Value::as_str) == Some("tpe")
    {
        matrix.insert("kind".to_owned(), json!("hyperopt"));
        matrix.insert("algorithm".to_owned(), json!("tpe"));
    }
    Some(document.moved(Value::Object(whole), &moved))
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

/// Which part of a run stood at which root field.
fn places(run: &str) -> Vec<(String, String)> {
    let of = |inner: &str, outer: &str| (format!("{run}{inner}"), format!("/{outer}"));
    let mut moved = vec![(run.to_owned(), "/run".to_owned())];
    moved.extend(
        SHORTCUTS
            .iter()
            .filter(|key| !["cmd", "env", "resources"].contains(key))
            .map(|key| of(&format!("/{key}"), key)),
    );
    moved.extend([
        of("/container/command", "cmd"),
        of("/container/args", "cmd"),
        of("/container/env", "env"),
        of("/container/resources", "resources"),
    ]);
    moved
}

/// Lowers the root fields onto a run, one after the other.
fn apply(run: &mut Map<String, Value>, map: &Map<String, Value>) {
    let strategy = strategy_of(map, PatchStrategy::PostMerge);
    for key in SHORTCUTS {
        let Some(value) = map.get(key).filter(|value| !value.is_null()) else { continue };
        let lowered = match key {
            "cmd" => {
                let lines: Vec<&str> = match value {
                    Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
                    one => one.as_str().into_iter().collect(),
                };
                let script = std::iter::once("set -e").chain(lines).collect::<Vec<_>>().join("\n");
                let container = json!({"container": {"command": ["/bin/sh", "-c"], "args": [script]}});
                patch::apply(run, container.as_object(), PatchStrategy::Replace);
                continue;
            }
            "env" => {
                let entry = |(name, value): (&String, &Value)| json!({ "name": name, "value": value });
                let entries: Vec<Value> = value.as_object().into_iter().flatten().map(entry).collect();
                // Of two variables of one name the later one is meant.
                let named = |one: &Value, name: &Value| one.get("name") == Some(name);
                if let Some(list) =
                    run.get_mut("container").and_then(|one| one.get_mut("env")).and_then(Value::as_array_mut)
                {
                    list.retain(|one| !entries.iter().any(|entry| named(one, &entry["name"])));
                }
                json!({"container": {"env": entries}})
            }
            "resources" => json!({"container": {"resources": resources(value)}}),
            _ => json!({ key: value }),
        };
        patch::apply(run, lowered.as_object(), strategy);
    }
}

/// `{cpu: "500m..1", gpu: 1}` as requests and limits.
fn resources(written: &Value) -> Value {
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for (key, amount) in written.as_object().into_iter().flatten() {
        let name = if key == "gpu" { GPU } else { key };
        let (low, high) = limits_of(key, amount).unwrap_or_default();
        requests.extend(low.map(|low| (name.to_owned(), low)));
        limits.extend(high.map(|high| (name.to_owned(), high)));
    }
    let sides = [("requests", requests), ("limits", limits)];
    Value::Object(
        sides
            .into_iter()
            .filter(|(_, side)| !side.is_empty())
            .map(|(key, side)| (key.to_owned(), Value::Object(side)))
            .collect(),
    )
}

/// The request and the limit of a resource: `a..b`; one amount of `cpu` or `memory` is a request, one count of anything
/// else is both. The error is a sentence.
fn limits_of(key: &str, amount: &Value) -> Result<(Option<Value>, Option<Value>), String> {
    if key == GPU {
        return Err(format!("`{GPU}` is written `gpu` here"));
    }
    if !["cpu", "memory", "gpu"].contains(&key) && !key.contains('/') {
        return Err(format!(
            "`{}` is not a resource: `cpu`, `memory`, `gpu`, or one with a `/` in its name",
            shown(key)
        ));
    }
    let counted = !["cpu", "memory"].contains(&key);
    let wrong = || format!("{} is not an amount of `{}`", violation::quoted(amount), shown(key));
    let read = |text: &str| -> Result<Option<Value>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if counted {
            return text.parse::<i64>().ok().filter(|n| *n >= 0).map(|n| Some(json!(n))).ok_or_else(wrong);
        }
        Quantity::parse(text).map(|_| Some(json!(text))).map_err(|_| wrong())
    };
    match amount {
        Value::Number(number) if counted => {
            let count = number.as_u64().ok_or_else(wrong)?;
            Ok((Some(json!(count)), Some(json!(count))))
        }
        Value::Number(number) if number.as_f64().is_some_and(|number| number >= 0.0) => {
            Ok((Some(amount.clone()), None))
        }
        Value::String(text) if !is_template(amount) => match text.split_once("..") {
            None => {
                let one = read(text)?.ok_or_else(wrong)?;
                Ok(if counted { (Some(one.clone()), Some(one)) } else { (Some(one), None) })
            }
            Some((low, high)) => {
                let (low, high) = (read(low)?, read(high)?);
                let amount = |value: &Option<Value>| {
                    let text =
                        value.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))?;
                    Quantity::parse(&text).ok()
                };
                if low.is_none() && high.is_none() {
                    return Err(wrong());
                }
                if amount(&low).zip(amount(&high)).is_some_and(|(low, high)| low > high) {
                    return Err(format!("the request of `{}` is above its limit", shown(key)));
                }
                Ok((low, high))
            }
        },
        _ => Err(wrong()),
    }
}
