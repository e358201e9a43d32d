//! How one value is merged over another: Polyaxon's four strategies.

use serde_json::{Map, Value};

use super::field::Lookup;
use crate::domain::spec::PatchStrategy;

/// The keys of free mappings: these are taken whole by `replace` and `isnull`; every other mapping is a section that
/// is always walked field by field.
const FREE: [&str; 9] = [
    "labels",
    "annotations",
    "nodeSelector",
    "params",
    "limits",
    "requests",
    "runtimeEnv",
    "metadata",
    "rayStartParams",
];

/// Merges the entries of `new` over `current`.
pub(super) fn merge<'v>(
    current: &mut Map<String, Value>,
    new: impl IntoIterator<Item = (&'v String, &'v Value)>,
    strategy: PatchStrategy,
) {
    for (key, patch) in new {
        match current.field_mut(key) {
            None => {
                current.insert(key.clone(), patch.clone());
            }
            Some(value) => merge_value(key, value, patch, strategy),
        }
    }
}

fn merge_value(key: &str, current: &mut Value, new: &Value, strategy: PatchStrategy) {
    if current.is_null() {
        *current = new.clone();
        return;
    }
    let keeps = matches!(strategy, PatchStrategy::PreMerge | PatchStrategy::Isnull);
    match (&mut *current, new) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let other_kind = ours.field("kind").zip(theirs.field("kind")).is_some_and(|(a, b)| a != b);
            if key == "container" {
                merge_container(ours, theirs, strategy);
            } else if other_kind {
                if !keeps {
                    *current = new.clone();
                }
            } else if FREE.contains(&key) && strategy == PatchStrategy::Replace {
                *current = new.clone();
            } else if !(FREE.contains(&key) && strategy == PatchStrategy::Isnull) {
                merge(ours, theirs, strategy);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => match strategy {
            PatchStrategy::PostMerge => {
                let more: Vec<_> = theirs.iter().filter(|one| !ours.contains(one)).cloned().collect();
                ours.extend(more);
            }
            PatchStrategy::PreMerge => {
                let old = std::mem::replace(ours, theirs.clone());
                let more: Vec<_> = old.into_iter().filter(|one| !ours.contains(one)).collect();
                ours.extend(more);
            }
            PatchStrategy::Replace => *current = new.clone(),
            PatchStrategy::Isnull => {}
        },
        _ if keeps => {}
        _ => *current = new.clone(),
    }
}

/// Merges a container, an object of Kubernetes: what is nested in it is one value, but for `resources`.
fn merge_container(ours: &mut Map<String, Value>, theirs: &Map<String, Value>, strategy: PatchStrategy) {
    for (key, new) in theirs {
        let keeps = matches!(strategy, PatchStrategy::PreMerge | PatchStrategy::Isnull);
        match ours.field_mut(key) {
            Some(current) if current.is_object() && new.is_object() && key != "resources" => {
                if !keeps {
                    *current = new.clone();
                }
            }
            Some(current) => merge_value(key, current, new, strategy),
            None => drop(ours.insert(key.clone(), new.clone())),
        }
    }
}

/// The strategy that a partial operation names, or another.
pub(super) fn strategy_of(spec: &Map<String, Value>, default: PatchStrategy) -> PatchStrategy {
    let word = spec.field("patchStrategy").filter(|word| word.is_string());
    word.and_then(|word| serde_json::from_value(word.clone()).ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(current: &Value, new: &Value, strategy: PatchStrategy) -> Value {
        let mut current = current.as_object().unwrap().clone();
        merge(&mut current, new.as_object().unwrap(), strategy);
        Value::Object(current)
    }

    #[test]
    fn the_four_strategies_follow_the_table_of_the_reference() {
        let current = json!({"s": 1, "n": null, "labels": {"x": 0, "y": 0}, "list": [1, 2], "termination": {"maxRetries": 5, "ttl": 1}});
        let new = json!({"s": 2, "n": 3, "labels": {"x": 1}, "list": [2, 3], "termination": {"ttl": 99}});
        for (strategy, want) in [
            (
                PatchStrategy::PostMerge,
                json!({"s": 2, "n": 3, "labels": {"x": 1, "y": 0}, "list": [1, 2, 3], "termination": {"maxRetries": 5, "ttl": 99}}),
            ),
            (
                PatchStrategy::PreMerge,
                json!({"s": 1, "n": 3, "labels": {"x": 0, "y": 0}, "list": [2, 3, 1], "termination": {"maxRetries": 5, "ttl": 1}}),
            ),
            (
                PatchStrategy::Replace,
                json!({"s": 2, "n": 3, "labels": {"x": 1}, "list": [2, 3], "termination": {"maxRetries": 5, "ttl": 99}}),
            ),
            (
                PatchStrategy::Isnull,
                json!({"s": 1, "n": 3, "labels": {"x": 0, "y": 0}, "list": [1, 2], "termination": {"maxRetries": 5, "ttl": 1}}),
            ),
        ] {
            assert_eq!(merged(&current, &new, strategy), want, "{strategy:?}");
        }
    }

    /// As version 2.16.4 of the original was seen to do it.
    #[test]
    fn a_container_is_walked_and_what_is_nested_in_it_is_one_value() {
        let current = json!({"container": {
            "image": "a", "args": ["x"], "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}},
            "securityContext": {"runAsUser": 1}, "livenessProbe": {"httpGet": {"path": "/a", "port": 1}},
        }});
        let new = json!({"container": {
            "image": "b", "args": ["y"], "env": [{"name": "A", "value": "2"}], "imagePullPolicy": "Always",
            "resources": {"limits": {"cpu": "2"}, "requests": {"memory": "2Gi"}},
            "securityContext": {"runAsGroup": 2}, "livenessProbe": {"httpGet": {"path": "/b", "port": 1}},
        }});
        let whole = |image: &str, args: Value, env: &[&str], resources: Value, context: Value, path: &str| {
            let env: Vec<Value> = env.iter().map(|value| json!({"name": "A", "value": value})).collect();
            json!({"container": {
                "image": image, "args": args, "env": env, "resources": resources, "securityContext": context,
                "livenessProbe": {"httpGet": {"path": path, "port": 1}}, "imagePullPolicy": "Always",
            }})
        };
        let (user, group) = (json!({"runAsUser": 1}), json!({"runAsGroup": 2}));
        let mixed =
            |cpu: &str| json!({"limits": {"cpu": cpu, "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "2Gi"}});
        for (strategy, want) in [
            (PatchStrategy::PostMerge, whole("b", json!(["x", "y"]), &["1", "2"], mixed("2"), group.clone(), "/b")),
            (PatchStrategy::PreMerge, whole("a", json!(["y", "x"]), &["2", "1"], mixed("1"), user.clone(), "/a")),
            (PatchStrategy::Replace, {
                let resources = json!({"limits": {"cpu": "2"}, "requests": {"memory": "2Gi"}});
                whole("b", json!(["y"]), &["2"], resources, group, "/b")
            }),
            (PatchStrategy::Isnull, {
                let resources = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}});
                whole("a", json!(["x"]), &["1"], resources, user, "/a")
            }),
        ] {
            assert_eq!(merged(&current, &new, strategy), want, "{strategy:?}");
        }
    }

    #[test]
    fn another_kind_is_never_mixed() {
        let (a, b) = (json!({"m": {"kind": "grid", "p": 1}}), json!({"m": {"kind": "random", "q": 2}}));
        assert_eq!(merged(&a, &b, PatchStrategy::PostMerge), b);
        assert_eq!(merged(&a, &b, PatchStrategy::Isnull), a);
    }

    #[test]
    fn a_null_in_a_patch_clears() {
        assert_eq!(merged(&json!({"q": 1}), &json!({"q": null}), PatchStrategy::PostMerge), json!({"q": null}));
    }
}
