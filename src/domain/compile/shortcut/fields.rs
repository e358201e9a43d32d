//! The root fields of the shortcut dialect, one by one: what each becomes in a run.

use serde_json::{Map, Value, json};

use super::super::merge::strategy_of;
use super::super::patch;
use super::super::text::shown;
use super::super::value::is_template;
use super::super::violation;
use crate::domain::quantity::Quantity;
use crate::domain::spec::PatchStrategy;

/// The fields that are lowered onto `run`, in this order.
pub(super) const SHORTCUTS: [&str; 10] =
    ["ports", "container", "cmd", "env", "resources", "environment", "init", "connections", "sidecars", "volumes"];
/// The resource that `gpu` means.
const GPU: &str = "nvidia.com/gpu";

/// Whether a field is written, and not as null.
pub(super) fn is_given(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).is_some_and(|value| !value.is_null())
}

/// Which part of a run stood at which root field of what was written.
pub(super) fn places<'a>(
    run: &'a str,
    from: &'a str,
    map: &'a Map<String, Value>,
) -> impl Iterator<Item = (String, String)> + 'a {
    let of = move |key: &'static str| {
        let parts: &[&str] = match key {
            "cmd" => &["/container/command", "/container/args"],
            "env" => &["/container/env"],
            "resources" => &["/container/resources"],
            _ => return vec![(format!("{run}/{key}"), format!("{from}/{key}"))],
        };
        parts.iter().map(|part| (format!("{run}{part}"), format!("{from}/{key}"))).collect()
    };
    SHORTCUTS.into_iter().filter(|key| is_given(map, key)).flat_map(of)
}

/// Lowers the root fields onto a run, one after the other.
pub(super) fn apply(run: &mut Map<String, Value>, map: &Map<String, Value>) {
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
pub(super) fn limits_of(key: &str, amount: &Value) -> Result<(Option<Value>, Option<Value>), String> {
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
