//! The types of inputs and outputs: which value each accepts, and what it becomes. Polyaxon's rules.

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::schema::Shape;
use super::violation::{self, kind_of};

// A text with a template in it is checked only when the run starts.
pub(super) use crate::domain::spec::reading::is_template;

/// Whether some text in a value has a template in it.
pub(super) fn has_template(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(has_template),
        Value::Object(map) => map.values().any(has_template),
        other => is_template(other),
    }
}

/// Reads Polyaxon's lenient booleans.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => [(0.0, false), (1.0, true)].iter().find(|(k, _)| n.as_f64() == Some(*k)).map(|(_, b)| *b),
        Value::String(text) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
            "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Reads a value as a type, or as a list of them; the error is the end of a sentence.
pub(super) fn read(word: Option<&str>, is_list: bool, value: &Value) -> Result<Value, String> {
    if is_template(value) || value.is_null() {
        return Ok(value.clone());
    }
    let Some(word) = word else { return Ok(value.clone()) };
    if !is_list {
        return read_one(word, value);
    }
    match from_text(value) {
        // Without entries too, the type must be one.
        Value::Array(list) if list.is_empty() && !is_type(word) => {
            Err(format!("`{}` is not a type that values can be checked against", super::text::shown(word)))
        }
        Value::Array(list) => {
            list.iter().map(|one| element(word, one)).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        other => Err(format!("expected a list, got {}", kind_of(&other))),
    }
}

/// Reads an entry of a list or a mapping: never nothing, and a text stands for a number at most, as in the original.
fn element(word: &str, one: &Value) -> Result<Value, String> {
    let no = |wanted: &str| Err(format!("expected {wanted}, got {}", kind_of(one)));
    if let Some(("Optional", inner)) = generic(word) {
        return if one.is_null() { Ok(Value::Null) } else { element(&inner.join(","), one) };
    }
    match (word, one) {
        ("any" | "Any", _) => Ok(one.clone()),
        (_, Value::Null) => no("a value"),
        ("int", Value::String(text)) if !is_template(one) => match whole_number(text) {
            Some(number) => Ok(json!(number)),
            None => no("a whole number"),
        },
        // What JSON cannot write stays a text.
        ("float" | "metric", Value::String(text)) if !is_template(one) => {
            match text.trim().replace('_', "").parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(json!(number)),
                Ok(_) => Ok(one.clone()),
                Err(_) => no("a number"),
            }
        }
        ("dict" | "Dict" | "metadata", Value::String(_)) => no("a mapping"),
        ("list" | "List" | "tuple" | "set", Value::String(_)) => no("a list"),
        (_, Value::String(_)) if generic(word).is_some_and(|(outer, _)| matches!(outer, "List" | "Dict")) => {
            no("a list or a mapping")
        }
        _ => read_one(word, one),
    }
}

/// `12`, `1_000`, `2.0`.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim().replace('_', "");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    if rest.chars().all(|c| c == '0') { whole.parse().ok() } else { None }
}

/// Whether values of a type can be checked at all.
pub(super) fn is_type(word: &str) -> bool {
    generic(word).is_some_and(|(_, inner)| inner.iter().all(|inner| is_type(inner)))
        || matches!(
            word,
            "any"
                | "Any"
                | "List"
                | "Dict"
                | "tuple"
                | "set"
                | "str"
                | "int"
                | "float"
                | "metric"
                | "bool"
                | "dict"
                | "list"
                | "path"
                | "uri"
                | "image"
                | "gcs"
                | "s3"
                | "wasb"
                | "date"
                | "datetime"
                | "timedelta"
                | "uuid"
                | "email"
                | "metadata"
                | "git"
                | "dockerfile"
                | "file"
                | "artifacts"
                | "tensorboard"
                | "event"
        )
}

/// The types whose values may hold a template before it is filled in: it is a text as well.
pub(super) const TEXTUAL: [&str; 5] = ["str", "any", "Any", "path", "image"];
/// The types whose values can be prepared by an init container.
pub(super) const INIT_TYPES: [&str; 5] = ["git", "dockerfile", "file", "artifacts", "tensorboard"];

fn read_one(word: &str, value: &Value) -> Result<Value, String> {
    let no = |wanted: &str| Err(format!("expected {wanted}, got {}", kind_of(value)));
    if is_template(value) {
        return if TEXTUAL.contains(&word) { Ok(value.clone()) } else { no("values, and no templates among them") };
    }
    match (word, value) {
        ("any" | "Any", _) | ("str", Value::String(_)) => return Ok(value.clone()),
        ("str", other) => return Ok(Value::String(other.to_string())),
        _ => {}
    }
    let parsed = from_text(value);
    if let Some((outer, inner)) = generic(word) {
        return match (outer, &inner[..], &parsed) {
            // A list or mapping of texts takes texts only; numbers are not made into them.
            ("List", ["str"], Value::Array(list)) if !list.iter().all(Value::is_string) => no("a list of texts"),
            ("Dict", [_, "str"], Value::Object(map)) if !map.values().all(Value::is_string) => no("a mapping of texts"),
            ("Optional", [inner], _) => read_one(inner, value),
            ("List", [inner], Value::Array(list)) => {
                list.iter().map(|one| element(inner, one)).collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            ("Dict", [key, inner], Value::Object(map)) => {
                let entry = |(k, v): (&String, &Value)| {
                    read_one(key, &Value::from(k.as_str()))?;
                    Ok((k.clone(), element(inner, v)?))
                };
                map.iter().map(entry).collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
            ("List", ..) => no("a list"),
            ("Dict", ..) => no("a mapping"),
            _ => Err(format!("values cannot be checked against the type `{word}`")),
        };
    }
    match word {
        "int" => match &parsed {
            Value::Bool(b) => Ok(json!(i64::from(*b))),
            Value::Number(n) if n.is_i64() || n.is_u64() => Ok(parsed),
            Value::Number(n) => match n.as_f64() {
                Some(f) if f.fract() == 0.0 && f.abs() < 9e15 => Ok(json!(f as i64)),
                _ => no("a whole number"),
            },
            _ => no("a whole number"),
        },
        "float" | "metric" => match &parsed {
            Value::Bool(b) => Ok(json!(if *b { 1.0 } else { 0.0 })),
            Value::Number(n) => Ok(json!(n.as_f64())),
            _ => no("a number"),
        },
        "bool" => flag(value).map_or_else(|| no("`true` or `false`"), |b| Ok(Value::Bool(b))),
        "dict" | "Dict" | "metadata" if parsed.is_object() => Ok(parsed),
        "dict" | "Dict" | "metadata" => no("a mapping"),
        "list" | "List" | "tuple" | "set" if parsed.is_array() => Ok(parsed),
        "list" | "List" | "tuple" | "set" => no("a list"),
        "git" => object(value, parsed, Shape::Git),
        "file" => object(value, parsed, Shape::File),
        "artifacts" => object(value, parsed, Shape::Artifacts),
        "dockerfile" => object(value, parsed, Shape::Dockerfile),
        "tensorboard" => object(value, parsed, Shape::Tensorboard),
        "event" => object(value, parsed, Shape::Event),
        // An image may also be given with the connection to its registry.
        "image" if parsed.get("name").is_some_and(Value::is_string) => {
            read_one(word, &parsed["name"])?;
            Ok(parsed)
        }
        _ => text(word, value),
    }
}

/// A mapping of a certain shape.
fn object(value: &Value, parsed: Value, shape: Shape) -> Result<Value, String> {
    if !parsed.is_object() {
        return Err(format!("expected a mapping, got {}", kind_of(value)));
    }
    violation::renamed(parsed, shape).map_err(|why| why.join("; "))
}

/// The types that are texts of a certain form.
fn text(word: &str, value: &Value) -> Result<Value, String> {
    let no = |wanted: &str| Err(format!("expected {wanted}, got {}", kind_of(value)));
    let ok = || Ok(value.clone());
    if word == "timedelta" && (value.is_number() || value.is_boolean()) {
        return ok();
    }
    if matches!(word, "date" | "datetime")
        && from_text(value).as_f64().is_some_and(|seconds| seconds.rem_euclid(86_400.0) == 0.0)
    {
        return ok();
    }
    if word == "uuid" {
        return uuid_of(value).map_or_else(|| no("a UUID"), |hex| Ok(Value::String(hex)));
    }
    let Value::String(text) = value else {
        return if is_type(word) {
            no("a text")
        } else {
            Err(format!("`{word}` is not a type that values can be checked against"))
        };
    };
    let after = |scheme: &str| text.strip_prefix(scheme);
    let accepted = match word {
        "path" => true,
        "uri" => is_uri(text),
        "image" => is_image(text),
        "gcs" => after("gs://").or(after("gcs://")).is_some_and(|rest| !rest.is_empty()),
        "s3" => after("s3://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
        "wasb" => after("wasbs://").or(after("wasb://")).is_some_and(|rest| {
            rest.split_once('@').is_some_and(|(container, account)| {
                !container.is_empty()
                    && account.split('/').next().is_some_and(|h| h.ends_with(".blob.core.windows.net"))
            })
        }),
        // The original reads a datetime as a date: a time of day other than midnight is refused.
        "date" | "datetime" => is_date(text),
        "timedelta" => crate::domain::spec::reading::milliseconds(value).is_ok(),
        "email" => text.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty()
                && host.contains('.')
                && !host.starts_with('.')
                && !host.ends_with('.')
                && !text.contains(char::is_whitespace)
                && !host.contains('@')
        }),
        _ => return Err(format!("`{}` is not a type that values can be checked against", super::text::shown(word))),
    };
    let wanted = match word {
        "uri" => "an address such as `https://host/path`",
        "image" => "an image without spaces",
        "gcs" => "`gs://bucket/…`",
        "s3" => "`s3://bucket/…`",
        "wasb" => "`wasbs://container@account.blob.core.windows.net/path`",
        "date" | "datetime" => "a date, `YYYY-MM-DD`",
        "timedelta" => "a length of time (seconds, `PT1H`, `1 day`, `01:00:00`)",
        "email" => "a mail address",
        _ => "a text",
    };
    if accepted { ok() } else { no(wanted) }
}

/// A scheme and what follows it; addresses of the web have a host.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let of_web = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https" | "ftp" | "ws" | "wss");
    scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.contains(char::is_whitespace)
        && (!of_web || !rest.trim_start_matches('/').is_empty())
}

/// A name with at most one colon, or two when the first is that of a port.
fn is_image(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let colons = match parts[..] {
        [_] | [_, _] => true,
        [_, middle, _] => middle.contains('/'),
        _ => false,
    };
    colons && !text.is_empty() && !text.contains(char::is_whitespace)
}

/// `YYYY-MM-DD`, with midnight of any zone behind it.
fn is_date(text: &str) -> bool {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let time = time.split(['+', '-', 'Z']).next().unwrap_or_default();
    date.parse::<Date>().is_ok() && date.len() == 10 && time.chars().all(|c| "0:.".contains(c))
}

fn uuid_of(value: &Value) -> Option<String> {
    uuid::Uuid::try_parse(value.as_str()?).ok().map(|id| id.simple().to_string())
}

/// `List[int]` → (`List`, [`int`]).
fn generic(word: &str) -> Option<(&str, Vec<&str>)> {
    let (outer, inner) = word.strip_suffix(']')?.split_once('[')?;
    matches!(outer, "List" | "Dict" | "Union" | "Optional").then(|| (outer, inner.split(',').map(str::trim).collect()))
}

/// A text that is JSON stands for what it says.
fn from_text(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    }
}
