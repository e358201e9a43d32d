//! Two values side by side: what differs, and where.

use std::collections::BTreeSet;

use serde_json::Value;

/// Compares two values; what differs, with its pointer. Returns how many fields were looked at.
pub fn differences(theirs: &Value, ours: &Value, pointer: &str, found: &mut Vec<(String, String, String)>) -> usize {
    let shown =
        |value: Option<&Value>| value.map_or("nothing".to_owned(), |v| v.to_string().chars().take(120).collect());
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let mut count = 0;
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let pointer = format!("{pointer}/{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => count += differences(a, b, &pointer, found),
                    (a, b) => {
                        count += 1;
                        found.push((pointer, shown(a), shown(b)));
                    }
                }
            }
            count
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().map(|(i, (a, b))| differences(a, b, &format!("{pointer}/{i}"), found)).sum()
        }
        (a, b) => {
            if a != b {
                found.push((pointer.to_owned(), shown(Some(a)), shown(Some(b))));
            }
            1
        }
    }
}

/// Whether a pointer begins with a pattern; `*` stands for any step, or for the rest of one.
pub fn matches(pattern: &str, pointer: &str) -> bool {
    let fits = |step: &str, found: &str| match step.strip_suffix('*') {
        Some(start) => found.starts_with(start),
        None => step == found,
    };
    let mut steps = pointer.split('/');
    pattern.split('/').all(|step| steps.next().is_some_and(|found| fits(step, found)))
}
