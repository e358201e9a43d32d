//! How one value is merged over another: Polyaxon's four strategies.

use serde_json::{Map, Value};

use crate::domain::spec::PatchStrategy;

/// The keys of free mappings: these are taken whole by `replace` and `isnull`; every other mapping is a section that
/// is always walked field by field.
const FREE: [&str; 6] = ["labels", "annotations", "nodeSelector", "params", "limits", "requests"];

/// Merges the entries of `new` over `current`.
pub(super) fn merge<'v>(
    current: &mut Map<String, Value>,
    new: impl IntoIterator<Item = (&'v String, &'v Value)>,
    strategy: PatchStrategy,
) {
    for (key, patch) in new {
        match current.get_mut(key) {
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
            let other_kind = ours.get("kind").zip(theirs.get("kind")).is_some_and(|(a, b)| a != b);
            if other_kind {
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

/// The strategy that a partial operation names, or another.
pub(super) fn strategy_of(spec: &Map<String, Value>, default: PatchStrategy) -> PatchStrategy {
    let word = spec.get("patchStrategy").filter(|word| word.is_string());
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
