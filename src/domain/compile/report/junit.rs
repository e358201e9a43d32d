//! JUnit XML: a test case for each file with problems, so that any CI shows them.

use std::collections::BTreeMap;

use super::{Shown, Sources};
use crate::domain::diagnostic::Severity;

pub(super) fn render(all: &[Shown], sources: &Sources<'_>) -> String {
    let mut files: BTreeMap<&str, Vec<&Shown>> = BTreeMap::new();
    all.iter().for_each(|one| files.entry(&one.file).or_default().push(one));
    let sound = sources.len().saturating_sub(files.len());
    let errors: usize = files.values().filter(|list| list.iter().any(|one| one.severity == Severity::Error)).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str(&format!(
        "<testsuites name=\"tidegate validate\" tests=\"{0}\" failures=\"{errors}\">\n  <testsuite name=\"specs\" tests=\"{0}\" failures=\"{errors}\">\n",
        sound + files.len()
    ));
    for (file, list) in files {
        out.push_str(&format!("    <testcase classname=\"specs\" name=\"{}\">\n", xml(file)));
        let (bad, fine): (Vec<&Shown>, Vec<&Shown>) = list.into_iter().partition(|one| one.severity == Severity::Error);
        let text = |list: &[&Shown]| list.iter().map(|one| line(one)).collect::<Vec<_>>().join("\n");
        if let Some(first) = bad.first() {
            let message = xml(&format!("{}: {}", first.code, first.message));
            out.push_str(&format!(
                "      <failure message=\"{message}\" type=\"{}\">{}</failure>\n",
                first.code,
                xml(&text(&bad))
            ));
        }
        if !fine.is_empty() {
            out.push_str(&format!("      <system-out>{}</system-out>\n", xml(&text(&fine))));
        }
        out.push_str("    </testcase>\n");
    }
    if sound > 0 {
        out.push_str(&format!("    <!-- {sound} more without problems -->\n"));
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn line(one: &Shown) -> String {
    let help = if one.help.is_empty() { String::new() } else { format!(" ({})", one.help) };
    format!("{}:{}:{}: {}: {}{help}", one.file, one.line, one.column, one.code, one.message)
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;")
}
