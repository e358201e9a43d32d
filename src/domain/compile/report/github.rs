//! Workflow commands of GitHub Actions: annotations on the lines of a pull request.

use super::{Shown, summary};
use crate::domain::diagnostic::Severity;

pub(super) fn render(all: &[Shown]) -> String {
    let mut out = String::new();
    for one in all {
        let command = if one.severity == Severity::Error { "error" } else { "warning" };
        let mut properties = format!("file={}", property(&one.file));
        if one.line > 0 {
            properties.push_str(&format!(",line={},col={}", one.line, one.column));
            if one.end_column > one.column {
                properties.push_str(&format!(",endColumn={}", one.end_column));
            }
        }
        properties.push_str(&format!(",title={}", property(&format!("{} {}", one.code, one.title))));
        let text = if one.help.is_empty() { one.message.clone() } else { format!("{}\n{}", one.message, one.help) };
        out.push_str(&format!("::{command} {properties}::{}\n", data(&text)));
    }
    // Plain output: a command would need escaping, and this is for the log.
    out + &summary(all) + "\n"
}

/// Escapes the text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
