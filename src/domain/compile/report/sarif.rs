//! SARIF 2.1.0, which code scanning of GitHub and others reads.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Shown;
use crate::domain::compile::codes;
use crate::domain::diagnostic::Severity;

pub(super) fn render(all: &[Shown]) -> String {
    let used: BTreeSet<&str> = all.iter().map(|one| one.code.as_str()).collect();
    let rules: Vec<Value> = codes::TABLE
        .iter()
        .filter(|entry| used.contains(entry.code.to_string().as_str()))
        .map(|entry| {
            json!({
                "id": entry.code,
                "shortDescription": { "text": entry.title },
                "fullDescription": { "text": entry.explanation },
                "help": { "text": format!("Instead of\n{}\nwrite\n{}", entry.bad, entry.good) },
            })
        })
        .collect();
    let results: Vec<Value> = all
        .iter()
        .map(|one| {
            let text =
                if one.help.is_empty() { one.message.clone() } else { format!("{} ({})", one.message, one.help) };
            let mut result = json!({
                "ruleId": one.code,
                "level": if one.severity == Severity::Error { "error" } else { "warning" },
                "message": { "text": text },
                "locations": [location(&one.file, one.line, one.column, one.end_column)],
            });
            if !one.related.is_empty() {
                let related = one.related.iter().map(|other| {
                    let mut place = location(&other.file, other.line, other.column, other.column);
                    place["message"] = json!({ "text": other.why });
                    place
                });
                result["relatedLocations"] = related.collect();
            }
            result
        })
        .collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "tidegate", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn location(file: &str, line: u32, column: u32, end: u32) -> Value {
    let mut place = json!({ "artifactLocation": { "uri": uri(file) } });
    if line > 0 {
        place["region"] = json!({ "startLine": line, "startColumn": column });
        if end > column {
            place["region"]["endColumn"] = json!(end);
        }
    }
    json!({ "physicalLocation": place })
}

/// A path as a relative URI reference.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/@+=,".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}
