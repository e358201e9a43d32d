//! The rules that an input may set for its value (`validation`). As in the original they are kept by each element of a
//! list and each value of a mapping; only the number of entries and the keys are those of the whole.

use std::cmp::Ordering;

use jsonschema::PatternOptions;
use serde_json::{Value, json};

use super::field::Lookup;
use super::value::has_template;
use super::violation::{kind_of, quoted};

/// How often a regular expression may try again: validation must end.
const MAX_BACKTRACKS: usize = 100_000;

/// Why a value breaks one of the rules, if it does; the end of a sentence that begins with the value.
pub(super) fn broken(io: &Value, value: &Value) -> Option<String> {
    // Without a type no rule has an effect, as in the original; `inputs` warns of that.
    let old = io.field("options").filter(|options| !options.is_null());
    let rules = io.field("validation").and_then(Value::as_object);
    if rules.is_none() && old.is_none() || has_template(value) || super::inputs::type_of(io).is_none() {
        return None;
    }
    let rules = rules.into_iter().flatten();
    let rules = rules
        .map(|(name, rule)| (name.as_str(), rule))
        .filter(|(name, rule)| !rule.is_null() && *name != "delay" && (*name != "options" || old.is_none()));
    let mut rules = rules.chain(old.map(|options| ("options", options)));
    rules.find_map(|(name, rule)| breaks(name, rule, value))
}

/// Whether the regular expression of a rule is one.
pub(super) fn is_regex(pattern: &str) -> bool {
    regex(pattern).is_some()
}

fn regex(pattern: &str) -> Option<jsonschema::Validator> {
    let anchored = json!({ "pattern": format!("^(?:{pattern})") });
    let engine = PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKS);
    jsonschema::options().with_pattern_options(engine).build(&anchored).ok()
}

fn breaks(name: &str, rule: &Value, value: &Value) -> Option<String> {
    let is_whole = ["minItems", "maxItems", "keys", "containsKeys", "excludesKeys"].contains(&name);
    let compared = match name {
        "contains" | "excludes" | "options" => false,
        "minItems" | "maxItems" => value.is_array() || value.is_object(),
        _ => !is_whole || value.is_object(),
    };
    // Texts are compared with a limit that is a template as with any text.
    let as_texts = ["gt", "ge", "lt", "le"].contains(&name) && value.is_string();
    if compared && has_template(rule) && !as_texts {
        return Some(format!("the rule `{name}` is a template, which nothing can be compared with"));
    }
    match value {
        _ if is_whole => of_whole(name, rule, value),
        Value::Array(list) => list.iter().find_map(|one| of_one(name, rule, one)),
        Value::Object(map) => map.values().find_map(|one| of_one(name, rule, one)),
        one => of_one(name, rule, one),
    }
}

/// Rules about the entries of a list or mapping; other values have none.
fn of_whole(name: &str, rule: &Value, value: &Value) -> Option<String> {
    let keys = value.as_object();
    let names = || rule.as_array().into_iter().flatten().filter_map(Value::as_str);
    match name {
        "minItems" | "maxItems" => {
            let (entries, limit) = (value.as_array().map(Vec::len).or(keys.map(serde_json::Map::len))?, rule.as_f64()?);
            let (fits, word) = match name {
                "minItems" => (entries as f64 >= limit, "least"),
                _ => (entries as f64 <= limit, "most"),
            };
            (!fits).then(|| format!("{} must have entries, at {word} {}", quoted(value), quoted(rule)))
        }
        "keys" => {
            let keys = keys?;
            let same = names().all(|key| keys.contains_key(key)) && keys.keys().all(|key| names().any(|n| n == key));
            (!same).then(|| format!("the keys must be exactly {}", quoted(rule)))
        }
        "containsKeys" => {
            let missing = names().find(|key| keys.is_some_and(|keys| !keys.contains_key(*key)));
            missing.map(|key| format!("the key `{key}` is missing"))
        }
        _ => {
            let there = names().find(|key| keys.is_some_and(|keys| keys.contains_key(*key)));
            there.map(|key| format!("the key `{key}` may not be there"))
        }
    }
}

/// Rules about one value.
fn of_one(name: &str, rule: &Value, value: &Value) -> Option<String> {
    let fits = match fits(name, rule, value) {
        Some(fits) => fits,
        None => return Some(format!("the rule `{name}` does not go with {}", kind_of(value))),
    };
    if fits {
        return None;
    }
    let (value, rule) = (quoted(value), quoted(rule));
    Some(match name {
        "gt" => format!("{value} must be greater than {rule}"),
        "ge" => format!("{value} must be at least {rule}"),
        "lt" => format!("{value} must be less than {rule}"),
        "le" => format!("{value} must be at most {rule}"),
        "multipleOf" => format!("{value} must be a multiple of {rule}"),
        "minDigits" => format!("{value} must have digits, at least {rule}"),
        "maxDigits" => format!("{value} must have digits, at most {rule}"),
        "decimalPlaces" => format!("{value} must have digits after the point, at most {rule}"),
        "minLength" => format!("{value} must have a length of at least {rule}"),
        "maxLength" => format!("{value} must have a length of at most {rule}"),
        "regex" => format!("{value} does not match {rule}"),
        "contains" => format!("{value} does not contain {rule}"),
        "excludes" => format!("{value} contains {rule}"),
        _ => format!("{value} is not one of {rule}"),
    })
}

/// Whether a value keeps a rule; `None` when the two do not go together, on which the original crashes.
fn fits(name: &str, rule: &Value, value: &Value) -> Option<bool> {
    // A limit may be a number as a text.
    let limit_of = |rule: &Value| number(rule).or_else(|| rule.as_str()?.trim().parse().ok());
    let compared = || match (number(value), limit_of(rule)) {
        (Some(value), Some(rule)) => value.partial_cmp(&rule),
        _ => Some(value.as_str()?.cmp(rule.as_str().filter(|_| has_template(rule))?)),
    };
    let limit = || rule.as_f64();
    let length = || match value {
        Value::String(text) => Some(text.chars().count() as f64),
        Value::Array(list) => Some(list.len() as f64),
        Value::Object(map) => Some(map.len() as f64),
        _ => None,
    };
    let digits = || written(value).replace('.', "").chars().count() as f64;
    Some(match name {
        "gt" => compared()? == Ordering::Greater,
        "ge" => compared()? != Ordering::Less,
        "lt" => compared()? == Ordering::Less,
        "le" => compared()? != Ordering::Greater,
        "multipleOf" => {
            // As in the original, 0.3 is no multiple of 0.1: neither is the number that it is written as.
            number(value)? % limit_of(rule).filter(|rule| *rule != 0.0)? == 0.0
        }
        "minDigits" => digits() >= limit()?,
        "maxDigits" => digits() <= limit()?,
        "decimalPlaces" => written(value).split('.').nth(1)?.chars().count() as f64 <= limit()?,
        "minLength" => length()? >= limit()?,
        "maxLength" => length()? <= limit()?,
        "regex" => value.is_string() && regex(rule.as_str()?)?.is_valid(value),
        "contains" => has(value, rule)?,
        "excludes" => !has(value, rule)?,
        "options" => has(rule, value)?,
        _ => true,
    })
}

/// Whether something is in a list, a text or the keys of a mapping.
fn has(whole: &Value, part: &Value) -> Option<bool> {
    match whole {
        Value::String(text) => Some(text.contains(part.as_str()?)),
        Value::Array(list) => Some(list.iter().any(|one| same(one, part))),
        Value::Object(map) => Some(part.as_str().is_some_and(|part| map.contains_key(part))),
        _ => None,
    }
}

/// How the original writes a value.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

/// A number; truth values are 0 and 1.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or(value.as_bool().map(|b| f64::from(u8::from(b))))
}

/// Equality in which `1`, `1.0` and `true` are one number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || number(a).is_some_and(|a| number(b) == Some(a))
}
