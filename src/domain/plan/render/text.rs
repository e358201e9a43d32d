//! The report for a terminal, at a width. Colour repeats what the marks `+ ~ - ! =` say.

use super::Style;
use super::report::{Entry, Report, Row};
use crate::domain::plan::model::Action;

/// Narrowest text that is laid out.
const MIN_WIDTH: usize = 40;

/// Lays out the report.
pub(super) fn render(report: &Report, style: Style) -> String {
    let width = style.width.max(MIN_WIDTH);
    let mut out = String::new();
    for (label, text) in &report.frame {
        wrapped(&mut out, &format!("{label:<11}"), text, width);
    }
    for object in &report.objects {
        out.push('\n');
        out.push_str(&painted(&entry(object, width, Body::Full), object.action, style.colour));
    }
    for section in &report.sections {
        out.push('\n');
        wrapped(&mut out, "", &section.title, width);
        section.lines.iter().for_each(|line| wrapped(&mut out, "  ", line, width));
    }
    out.push('\n');
    report.closing.iter().for_each(|line| wrapped(&mut out, "", line, width));
    out
}

/// How much of an object is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Everything.
    Full,
    /// Everything but the fields.
    EffectsOnly,
}

/// One object, with its first line.
pub(super) fn entry(entry: &Entry, width: usize, body: Body) -> String {
    let mut out = String::new();
    placed(&mut out, "", &entry.head, entry.place.as_deref(), width);
    if let Some(note) = &entry.note {
        wrapped(&mut out, "    ", note, width);
    }
    if body == Body::Full {
        let names = entry.fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0).min(width / 3);
        entry.fields.iter().for_each(|field| row(&mut out, field, names, width));
    }
    for (label, lines) in &entry.effects {
        let label = format!("  {label:<9} ");
        for (i, line) in lines.iter().enumerate() {
            if i == 0 {
                wrapped(&mut out, &label, line, width);
            } else {
                wrapped(&mut out, &" ".repeat(label.len() + 2), line, width);
            }
        }
    }
    out
}

fn row(out: &mut String, field: &Row, names: usize, width: usize) {
    let label = format!("    {:<names$}  ", field.name);
    placed(out, &label, &field.change, field.place.as_deref(), width);
    for line in &field.lines {
        out.push_str("      | ");
        out.push_str(line);
        out.push('\n');
    }
}

/// A line with its place at the right edge, or below when there is no room.
fn placed(out: &mut String, label: &str, text: &str, place: Option<&str>, width: usize) {
    let used = label.chars().count() + text.chars().count();
    match place {
        Some(place) if used + 2 + place.chars().count() <= width => {
            let gap = width - used - place.chars().count();
            out.push_str(&format!("{label}{text}{}{place}\n", " ".repeat(gap)));
        }
        place => {
            wrapped(out, label, text, width);
            if let Some(place) = place {
                let gap = width.saturating_sub(place.chars().count());
                out.push_str(&format!("{}{place}\n", " ".repeat(gap)));
            }
        }
    }
}

/// A text broken at spaces; what follows the first line stands below its beginning.
fn wrapped(out: &mut String, label: &str, text: &str, width: usize) {
    let own = text.len() - text.trim_start().len();
    let indent = label.chars().count() + own + if label.trim().is_empty() { 2 } else { 0 };
    let mut line = format!("{label}{}", " ".repeat(own));
    let mut length = line.chars().count();
    let mut empty = true;
    for word in text.trim_start().split(' ') {
        let size = word.chars().count();
        if !empty && length + 1 + size > width {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(indent);
            length = indent;
            empty = true;
        }
        if !empty {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += size;
        empty = empty && word.is_empty();
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Colours the first line of an object by its action.
fn painted(entry: &str, action: Action, colour: bool) -> String {
    if !colour {
        return entry.to_owned();
    }
    let code = match action {
        Action::Create => "32",
        Action::Update | Action::Move => "33",
        Action::Remove => "31",
        Action::Drift => "35",
    };
    let (head, rest) = entry.split_once('\n').unwrap_or((entry, ""));
    format!("\u{1b}[{code}m{head}\u{1b}[0m\n{rest}")
}
