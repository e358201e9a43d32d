//! GitLab's code quality report: a list of findings with stable fingerprints.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Shown;
use crate::domain::diagnostic::Severity;
use crate::domain::ids::Digest;

pub(super) fn render(all: &[Shown]) -> String {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let findings: Vec<Value> = all
        .iter()
        .map(|one| {
            // Without the line: a finding that moves stays the same. The count tells equal ones apart.
            let identity = format!("{}\0{}\0{}", one.code, one.file, one.message);
            let n = seen.entry(identity.clone()).and_modify(|n| *n += 1).or_insert(0);
            let help = if one.help.is_empty() { String::new() } else { format!(" ({})", one.help) };
            json!({
                "description": format!("{}{help}", one.message),
                "check_name": one.code,
                "fingerprint": Digest::of(format!("{identity}\0{n}").as_bytes()).to_string()[..32],
                "severity": if one.severity == Severity::Error { "major" } else { "minor" },
                "location": { "path": one.file, "lines": { "begin": one.line.max(1) } },
            })
        })
        .collect();
    format!("{:#}\n", Value::from(findings))
}
