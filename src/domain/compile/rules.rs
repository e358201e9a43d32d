//! The rules that an input may set for its value (`validation`).

use jsonschema::PatternOptions;
use serde_json::{Map, Value, json};

use super::value::{has_template, is_template};
use super::violation::{kind_of, quoted};

/// Why a value breaks one of the rules, if it does; the end of a sentence that begins with the value.
pub(super) fn broken(io: &Value, value: &Value) -> Option<String> {
    // Without a type no rule has an effect, as in the original; `inputs` warns of that.
    let rules = io.get("validation").and_then(Value::as_object);
    let options = io.get("options").filter(|options| options.is_array());
    let none = rules.is_none_or(Map::is_empty) && options.is_none();
    if none || io.get("type").is_none_or(Value::is_null) || has_template(value) {
        return None;
    }
    let all = rules.into_iter().flatten().map(|(name, rule)| (name.as_str(), rule));
    let mut rules: Vec<(&str, &Value)> = all.filter(|(_, rule)| !rule.is_null() && !has_template(rule)).collect();
    rules.extend(options.map(|options| ("options", options)));
    let elements = match value {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    rules.into_iter().find_map(|(name, rule)| match name {
        // These are about a whole list or text.
        "minLength" | "maxLength" | "minItems" | "maxItems" | "contains" | "excludes" | "keys" | "containsKeys"
        | "excludesKeys" => breaks(name, rule, value),
        _ => elements.iter().find_map(|one| breaks(name, rule, one)),
    })
}

/// Whether the regular expression of a rule is one, and runs in linear time.
pub(super) fn is_regex(pattern: &str) -> bool {
    regex(pattern).is_some()
}

fn regex(pattern: &str) -> Option<jsonschema::Validator> {
    let anchored = json!({ "pattern": format!("^(?:{pattern})") });
    jsonschema::options().with_pattern_options(PatternOptions::regex()).build(&anchored).ok()
}

fn breaks(name: &str, rule: &Value, value: &Value) -> Option<String> {
    let number = value.as_f64();
    let limit = rule.as_f64().or_else(|| rule.as_str()?.trim().parse().ok());
    let compare = |fits: fn(f64, f64) -> bool, words: &str| {
        let (number, limit) = (number?, limit?);
        (!fits(number, limit)).then(|| format!("{} must be {words} {}", quoted(value), quoted(rule)))
    };
    let length = || match value {
        Value::String(text) => Some(text.chars().count()),
        Value::Array(list) => Some(list.len()),
        Value::Object(map) => Some(map.len()),
        _ => None,
    };
    let count = |fits: fn(f64, f64) -> bool, n: Option<usize>, words: &str| {
        let (n, limit) = (n? as f64, limit?);
        (!fits(n, limit)).then(|| format!("{} must have {words} {}", quoted(value), quoted(rule)))
    };
    let names = || rule.as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys = value.as_object();
    let misfits = match value {
        Value::Number(_) => ["minLength", "maxLength", "regex", "contains", "excludes"].contains(&name),
        Value::String(_) => ["multipleOf", "decimalPlaces"].contains(&name),
        _ => false,
    };
    if misfits {
        return Some(format!("the rule `{name}` does not go with {}", kind_of(value)));
    }
    match name {
        "gt" => compare(|n, l| n > l, "greater than"),
        "ge" => compare(|n, l| n >= l, "at least"),
        "lt" => compare(|n, l| n < l, "less than"),
        "le" => compare(|n, l| n <= l, "at most"),
        "multipleOf" => compare(|n, l| l != 0.0 && (n / l - (n / l).round()).abs() < 1e-9, "a multiple of"),
        "minDigits" => count(|n, l| n >= l, number.map(|_| digits(value).0), "digits, at least"),
        "maxDigits" => count(|n, l| n <= l, number.map(|_| digits(value).0), "digits, at most"),
        "decimalPlaces" => count(|n, l| n <= l, number.map(|_| digits(value).1), "digits after the point, at most"),
        "minLength" => count(|n, l| n >= l, length(), "a length of at least"),
        "maxLength" => count(|n, l| n <= l, length(), "a length of at most"),
        "minItems" => count(|n, l| n >= l, value.as_array().map(Vec::len), "entries, at least"),
        "maxItems" => count(|n, l| n <= l, value.as_array().map(Vec::len), "entries, at most"),
        "regex" => {
            let fits = regex(rule.as_str()?)?.is_valid(value);
            (!fits && value.is_string()).then(|| format!("{} does not match {}", quoted(value), quoted(rule)))
        }
        "contains" => (!contains(value, rule)?).then(|| format!("{} does not contain {}", quoted(value), quoted(rule))),
        "excludes" => contains(value, rule)?.then(|| format!("{} contains {}", quoted(value), quoted(rule))),
        "options" => {
            let among = rule.as_array()?.iter().any(|one| same(one, value));
            (!among && !is_template(value)).then(|| format!("{} is not one of {}", quoted(value), quoted(rule)))
        }
        "keys" => {
            let keys = keys?;
            let same = keys.len() == names().count() && names().all(|key| keys.contains_key(key));
            (!same).then(|| format!("the keys must be exactly {}", quoted(rule)))
        }
        "containsKeys" => {
            let keys = keys?;
            names().find(|key| !keys.contains_key(*key)).map(|key| format!("the key `{key}` is missing"))
        }
        "excludesKeys" => {
            let keys = keys?;
            names().find(|key| keys.contains_key(*key)).map(|key| format!("the key `{key}` may not be there"))
        }
        _ => None,
    }
}

/// All digits of a number, and those after the point.
fn digits(value: &Value) -> (usize, usize) {
    let text = value.to_string();
    let (whole, fraction) = text.trim_start_matches('-').split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0').len();
    (whole.trim_start_matches('-').trim_start_matches('0').len() + fraction, fraction)
}

fn contains(value: &Value, part: &Value) -> Option<bool> {
    match (value, part) {
        (Value::String(text), Value::String(part)) => Some(text.contains(part.as_str())),
        (Value::Array(list), part) => Some(list.iter().any(|one| same(one, part))),
        _ => None,
    }
}

/// Equality in which `1` and `1.0` are one number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}
