//! JSON: one object with all diagnostics, or one diagnostic a line and a last line with the counts.

use serde_json::json;

use super::Shown;
use crate::domain::diagnostic::Severity;

pub(super) fn document(all: &[Shown]) -> String {
    let (errors, warnings) = counts(all);
    let document = json!({ "version": 1, "errors": errors, "warnings": warnings, "diagnostics": all });
    format!("{document:#}\n")
}

pub(super) fn lines(all: &[Shown]) -> String {
    let (errors, warnings) = counts(all);
    let mut out = String::new();
    for one in all {
        let mut line = json!(one);
        line["type"] = json!("diagnostic");
        out.push_str(&format!("{line}\n"));
    }
    out.push_str(&format!("{}\n", json!({ "type": "summary", "version": 1, "errors": errors, "warnings": warnings })));
    out
}

fn counts(all: &[Shown]) -> (usize, usize) {
    let errors = all.iter().filter(|one| one.severity == Severity::Error).count();
    (errors, all.len() - errors)
}
