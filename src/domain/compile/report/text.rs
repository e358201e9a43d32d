//! For people: code and message, `file:line:column`, the line with a caret, help.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Colour, Shown, Sources, summary};
use crate::domain::compile::text::{escape, is_hostile};
use crate::domain::diagnostic::Severity;

/// Longest line that is shown; of longer ones only the place is told.
const MAX_LINE: usize = 400;

pub(super) fn render(all: &[Shown], sources: &Sources<'_>, colour: Colour) -> String {
    let renderer = match colour {
        Colour::Never => Renderer::plain(),
        Colour::Always => Renderer::styled(),
    }
    .decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for one in all {
        out.push_str(&renderer.render(&[group(one, sources)]));
        out.push_str("\n\n");
    }
    out.push_str(&summary(all));
    out.push('\n');
    out
}

fn group<'a>(one: &'a Shown, sources: &Sources<'a>) -> Group<'a> {
    let level = if one.severity == Severity::Error { Level::ERROR } else { Level::WARNING };
    let mut group = Group::with_title(level.primary_title(one.message.as_str()).id(one.code.as_str()));
    let caret = AnnotationKind::Primary;
    group = match excerpt(sources, &one.path, one.line, one.column, one.end_column) {
        Some((line, span)) => group.element(
            Snippet::source(line).line_start(one.line as usize).path(one.file.as_str()).annotation(caret.span(span)),
        ),
        None => group.element(origin(&one.file, one.line, one.column)),
    };
    for other in &one.related {
        group = match excerpt(sources, &other.path, other.line, other.column, other.column) {
            Some((line, span)) => group.element(
                Snippet::source(line)
                    .line_start(other.line as usize)
                    .path(other.file.as_str())
                    .annotation(AnnotationKind::Context.span(span).label(other.why.as_str())),
            ),
            None => group.element(origin(&other.file, other.line, other.column)),
        };
    }
    if one.help.is_empty() { group } else { group.element(Level::HELP.message(one.help.as_str())) }
}

fn origin(file: &str, line: u32, column: u32) -> Origin<'_> {
    match line {
        0 => Origin::path(file),
        line => Origin::path(file).line(line as usize).char_column(column as usize),
    }
}

/// A line with its hostile characters escaped, and the bytes that the caret is under.
fn excerpt(
    sources: &Sources<'_>,
    path: &str,
    line: u32,
    column: u32,
    end: u32,
) -> Option<(String, std::ops::Range<usize>)> {
    let text = sources.line(path, line)?;
    if text.chars().nth(MAX_LINE).is_some() {
        return None;
    }
    let (mut out, mut start, mut stop) = (String::new(), None, None);
    for (i, c) in text.chars().enumerate() {
        let at = i as u32 + 1;
        if at == column {
            start = Some(out.len());
        }
        if at == end {
            stop = Some(out.len());
        }
        // The renderer widens tabs by itself.
        if is_hostile(c) && c != '\t' { out.push_str(&escape(c.encode_utf8(&mut [0; 4]))) } else { out.push(c) }
    }
    let start = start.unwrap_or(out.len());
    let stop = stop.unwrap_or(if end > column { out.len() } else { start }).max(start);
    let one_more = out[start..].chars().next().map_or(0, char::len_utf8);
    let stop = if stop == start { start + one_more } else { stop };
    Some((out, start..stop))
}
