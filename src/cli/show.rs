//! How results look: tables, JSON, YAML or names; times as ages; nothing that a terminal would obey.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::Result;
use crate::domain::compile::report::Colour;
use crate::domain::plan::render::escape;
use crate::domain::time::Timestamp;
use crate::engine::wall_clock;
use crate::server::views::DiagnosticView;

pub use crate::domain::plan::render::escape::plain;

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs: a list is an array
    Json,
    /// For programs and people
    Yaml,
    /// Only names or ids, one a line
    Name,
}

/// The option that every listing has.
#[derive(Debug, Clone, clap::Args)]
pub struct OutputArgs {
    /// How the result is written
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// A column of a table: its title, and what it says of an item.
pub type Column<T> = (&'static str, fn(&T) -> String);

/// Writes a list.
pub fn list<T: Serialize>(output: Output, items: &[T], columns: &[Column<T>], name: fn(&T) -> String) -> Result<()> {
    match output {
        Output::Table => out(&table(items, columns)),
        Output::Json | Output::Yaml => document(output, &items),
        Output::Name => out(&items.iter().map(|item| plain(&name(item)) + "\n").collect::<String>()),
    }
}

/// Writes one thing; as a table it is a line for each of `fields`, those without a value left out.
pub fn one<T: Serialize>(output: Output, item: &T, name: &str, fields: &[(&str, Option<String>)]) -> Result<()> {
    match output {
        Output::Table => {
            let width = fields.iter().map(|(title, _)| title.len()).max().unwrap_or_default() + 2;
            let line = |(title, value): &(&str, Option<String>)| {
                let value = value.as_deref().filter(|value| !value.is_empty())?;
                Some(format!("{:<width$}{}\n", format!("{title}:"), plain(value)))
            };
            out(&fields.iter().filter_map(line).collect::<String>())
        }
        Output::Json | Output::Yaml => document(output, item),
        Output::Name => out(&(plain(name) + "\n")),
    }
}

fn document<T: Serialize>(output: Output, item: &T) -> Result<()> {
    let text = match output {
        // YAML's writer escapes what does not print, as JSON's only does after this.
        Output::Yaml => serde_yaml::to_string(item)?,
        _ => escape::json(&serde_json::to_string_pretty(item)?) + "\n",
    };
    out(&text)
}

/// A table without lines, as `kubectl` writes them.
fn table<T>(items: &[T], columns: &[Column<T>]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(title, _)| *title).collect::<Vec<_>>());
    for item in items {
        table.add_row(columns.iter().map(|(_, cell)| plain(&cell(item))).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Writes results to stdout.
pub fn out(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Writes a note to stderr.
pub fn note(text: &str) {
    // When stderr is gone, there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// What was reported by a program: raw into files and pipes, harmless on a terminal.
pub fn foreign(text: &str) -> String {
    if !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    let keep = |line: &str| line.split('\t').map(plain).collect::<Vec<_>>().join("\t");
    text.split('\n').map(|line| keep(line.strip_suffix('\r').unwrap_or(line))).collect::<Vec<_>>().join("\n")
}

/// A problem that a server found.
pub fn problem(problem: &DiagnosticView) -> String {
    let place = match problem.line {
        0 => problem.file.clone(),
        line => format!("{}:{line}:{}", problem.file, problem.column),
    };
    let help = if problem.help.is_empty() { String::new() } else { format!("\n  help: {}", plain(&problem.help)) };
    format!("{}: {}[{}]: {}{help}", plain(&place), problem.severity, problem.code, plain(&problem.message))
}

/// Whether colour is not unwanted (`NO_COLOR`, a dumb terminal).
pub fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether stdout is coloured.
pub fn colour() -> bool {
    std::io::stdout().is_terminal() && colour_wanted()
}

/// As [`colour`], for reports of problems.
pub fn report_colour() -> Colour {
    if colour() { Colour::Always } else { Colour::Never }
}

/// Columns of the terminal; 100 where there is none.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0)).max(40)
}

/// How long ago a moment was: `3m20s`.
pub fn age(moment: &str) -> String {
    parse(moment).map_or_else(|| "?".to_owned(), |at| wall_clock().since(at).to_string())
}

/// The time between two moments, or until now.
pub fn took(from: Option<&str>, to: Option<&str>) -> String {
    let Some(from) = from.and_then(parse) else { return "-".to_owned() };
    to.map_or_else(|| Some(wall_clock()), parse).map_or_else(|| "?".to_owned(), |to| to.since(from).to_string())
}

fn parse(moment: &str) -> Option<Timestamp> {
    moment.parse::<jiff::Timestamp>().ok().map(|moment| Timestamp(moment.as_millisecond()))
}

/// Characters of an id that people see at least.
const SHORT_ID: usize = 8;

/// How many characters of these ids tell them apart; at least 8. Ids that were made within a minute begin alike.
pub fn telling_length<'a>(ids: impl Iterator<Item = &'a str>) -> usize {
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    let shared = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    ids.windows(2).map(|pair| shared(pair) + 1).max().unwrap_or(SHORT_ID).max(SHORT_ID)
}

/// The first characters of an id.
pub fn short(id: &str, length: usize) -> String {
    id.chars().take(length).collect()
}

/// A value that may be absent.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_lines_and_obeys_nothing() {
        let columns: [Column<(&str, u32)>; 2] =
            [("NAME", |row| row.0.to_owned()), ("RUNNING", |row| row.1.to_string())];
        let rows = [("a", 10), ("long\u{1b}[31m\u{202e}", 2)];
        assert_eq!(
            table(&rows, &columns),
            "NAME                     RUNNING\na                        10\nlong\\u{1b}[31m\\u{202e}   2\n"
        );
        assert_eq!(table(&[], &columns), "NAME   RUNNING\n");
    }

    #[test]
    fn ids_are_short_and_spans_read_rfc_3339() {
        let ids = ["019a0a0a0a01ffff", "019a0a0a0a02ffff", "3f00000000000000"];
        assert_eq!(telling_length(ids.into_iter()), 12);
        assert_eq!(telling_length(ids[1..].iter().copied()), 8);
        assert_eq!(telling_length([].into_iter()), 8);
        assert_eq!(short(ids[0], 12), "019a0a0a0a01");
        assert_eq!(took(Some("2026-01-01T00:00:00.000Z"), Some("2026-01-01T00:03:20.000Z")), "3m20s");
        assert_eq!(took(None, None), "-");
    }
}
