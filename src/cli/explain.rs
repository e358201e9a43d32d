//! `explain`: the page of a code (`TG0104`), or of a kind or field (`queue.concurrency`), from the schemas.

use clap::Args;
use serde_json::Value;

use crate::domain::compile::codes;
use crate::domain::compile::schema::{PUBLISHED, fields, follow, schema_of};
use crate::domain::diagnostic::{Severity, did_you_mean};

/// What to explain.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// A code such as `TG0104`, a kind such as `queue`, or a field such as `queue.concurrency`
    pub topic: String,
}

/// The page, or why there is none.
pub fn run(args: &ExplainArgs) -> Result<String, String> {
    let topic = args.topic.trim();
    if let Some(entry) = codes::parse(topic).and_then(codes::entry) {
        return Ok(code_page(entry));
    }
    let digits = topic.strip_prefix("TG").or_else(|| topic.strip_prefix("tg"));
    if digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("there is no code `{topic}`"));
    }
    field_page(topic)
}

fn code_page(entry: &codes::Entry) -> String {
    let severity = if entry.severity == Severity::Error { "error" } else { "warning" };
    let indent = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "{} ({severity}): {}\n\n{}\n\nInstead of\n\n{}\nwrite\n\n{}",
        entry.code,
        entry.title,
        entry.explanation,
        indent(entry.bad),
        indent(entry.good)
    )
}

fn field_page(topic: &str) -> Result<String, String> {
    let mut path = topic.split('.');
    let kind = path.next().unwrap_or_default();
    let names = PUBLISHED.map(|(name, _)| name);
    let Some((_, shape)) = PUBLISHED.iter().find(|(name, _)| *name == kind) else {
        return Err(unknown("kind or code", kind, names.into_iter()));
    };
    let root = schema_of(*shape);
    let mut schema = root.clone();
    for name in path {
        let below = fields(root, &schema);
        let Some(field) = below.get(name) else {
            return Err(unknown("field", name, below.keys().map(String::as_str)));
        };
        schema = field.clone();
    }
    // What is optional is a choice between its type and nothing: its type says the rest.
    let branches = follow(root, &schema).get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let levels: Vec<&Value> =
        [&schema, follow(root, &schema)].into_iter().chain(branches.map(|b| follow(root, b))).collect();
    let text = |key: &str| levels.iter().find_map(|level| level.get(key));
    let mut page = format!("{topic}: {}\n\n", type_of(root, &schema));
    if let Some(about) = text("description").and_then(Value::as_str) {
        page.push_str(&format!("{about}\n"));
    }
    if let Some(words) = text("enum").and_then(Value::as_array) {
        page.push_str(&format!("\nOne of: {}\n", list(words)));
    }
    for (word, key) in [("Default", "default"), ("At least", "minimum"), ("At most", "maximum"), ("Form", "pattern")] {
        if let Some(value) = text(key).filter(|value| !value.is_null()) {
            page.push_str(&format!("\n{word}: {}\n", plain(value)));
        }
    }
    if let Some(examples) = text("examples").and_then(Value::as_array) {
        page.push_str(&format!("\nFor example: {}\n", list(examples)));
    }
    let below = fields(root, &schema);
    if !below.is_empty() {
        page.push_str("\nFields:\n\n");
        let width = below.keys().map(String::len).max().unwrap_or(0);
        for (name, field) in &below {
            let about = field.get("description").or_else(|| follow(root, field).get("description"));
            let about = about.and_then(Value::as_str).unwrap_or_default();
            page.push_str(&format!("    {name:width$}  {about}\n"));
        }
    }
    Ok(page)
}

fn unknown<'a>(what: &str, word: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let word = word.escape_debug();
    match did_you_mean(&word.to_string(), names.iter().copied()) {
        Some(near) => format!("there is no {what} `{word}`; did you mean `{near}`?"),
        None if names.is_empty() => format!("there is no {what} `{word}`; nothing lies below"),
        None => format!("there is no {what} `{word}`; there are {}", names.join(", ")),
    }
}

/// `integer`, `list of text`, `mapping` …
fn type_of(root: &Value, schema: &Value) -> String {
    let schema = follow(root, schema);
    if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
        let mut names: Vec<String> =
            branches.iter().map(|branch| type_of(root, branch)).filter(|name| name != "null").collect();
        names.dedup();
        return names.join(" or ");
    }
    let word = |name: &str| match name {
        "object" => "mapping".to_owned(),
        "string" => "text".to_owned(),
        "array" => {
            let items = schema.get("items").map_or("anything".to_owned(), |items| type_of(root, items));
            format!("list of {items}")
        }
        other => other.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(name)) => word(name),
        Some(Value::Array(names)) => {
            let names: Vec<String> =
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").map(word).collect();
            names.join(" or ")
        }
        _ => schema.get("const").map_or("anything".to_owned(), plain),
    }
}

fn list(values: &[Value]) -> String {
    values.iter().map(plain).collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
