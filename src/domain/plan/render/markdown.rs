//! The report as a comment on a pull request. What does not fit goes in this order: fields, objects, lists.

use super::escape;
use super::report::{Report, Section};
use super::summary;
use super::text::{Body, entry};
use crate::domain::plan::model::Plan;

/// Longest comment, in bytes; GitHub takes 65,536 characters.
pub const MAX_MARKDOWN: usize = 65_000;
/// By which a bot finds its earlier comment.
pub const MARKER: &str = "<!-- tidegate:plan -->";
/// Columns of the text in code blocks.
const WIDTH: usize = 100;

/// Lays out the report.
pub(super) fn render(plan: &Plan, report: &Report) -> String {
    let mut head = format!("{MARKER}\n### Plan: {}\n\n", escape::markdown(&summary::line(plan)));
    for (label, text) in &report.frame {
        head.push_str(&format!("- **{label}** {}\n", escape::markdown(text)));
    }
    head.push('\n');
    let closing: Vec<String> = report.closing.iter().map(|line| escape::markdown(line)).collect();
    let closing = format!("{}\n", closing.join("  \n"));
    let mut sections: Vec<String> = report.sections.iter().map(section).collect();
    let mut objects: Vec<String> = report.objects.iter().map(|object| details(object, Body::Full)).collect();

    let (mut fieldless, mut dropped, mut shortened) = (0, 0, 0);
    // The notes about what is left out need room themselves.
    let room = MAX_MARKDOWN - 400;
    let size = |parts: &[String]| parts.iter().map(String::len).sum::<usize>();
    let mut total = head.len() + closing.len() + size(&sections) + size(&objects);
    for (object, full) in report.objects.iter().zip(&mut objects).rev() {
        if total <= room || object.fields.is_empty() {
            continue;
        }
        let brief = details(object, Body::EffectsOnly);
        total = total - full.len() + brief.len();
        *full = brief;
        fieldless += 1;
    }
    while total > room
        && let Some(last) = objects.pop()
    {
        total -= last.len();
        dropped += 1;
    }
    while total > room
        && let Some(longest) = (0..sections.len()).max_by_key(|&i| sections[i].len())
    {
        total -= sections.remove(longest).len();
        shortened += 1;
    }
    let mut out = head + &objects.concat();
    for (count, what) in
        [(fieldless, "objects without their fields"), (dropped, "objects not shown"), (shortened, "lists not shown")]
    {
        if count > 0 {
            out.push_str(&format!("_Too long for a comment: {count} {what}. The text rendering has them all._\n\n"));
        }
    }
    out + &sections.concat() + &closing
}

fn details(object: &super::report::Entry, body: Body) -> String {
    let text = entry(object, WIDTH, body);
    let (_, below) = text.split_once('\n').unwrap_or((&text, ""));
    let place = object.place.as_deref().map_or(String::new(), |place| format!(" ({})", escape::markdown(place)));
    let head = escape::markdown(&object.head);
    if below.trim().is_empty() {
        return format!("- {head}{place}\n\n");
    }
    format!("<details><summary>{head}{place}</summary>\n\n{}\n</details>\n\n", fenced(below))
}

fn section(section: &Section) -> String {
    let title = escape::markdown(&section.title);
    if section.lines.is_empty() {
        return format!("**{title}**\n\n");
    }
    format!("**{title}**\n\n{}\n", fenced(&(section.lines.join("\n") + "\n")))
}

/// A code block whose fence is longer than any in its text.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}{fence}\n")
}
