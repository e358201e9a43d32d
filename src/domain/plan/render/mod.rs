//! One plan, many renderings. [`report`] says every fact in words once; the formats only lay them out.

pub mod escape;
mod github;
mod json;
mod markdown;
mod report;
mod summary;
mod text;

pub use json::schema;

use super::model::Plan;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// One document; its schema is `schemas/plan.json`.
    Json,
    /// A line for each fact, the first one with the version.
    Jsonl,
    /// For a comment on a pull request.
    Markdown,
    /// Workflow commands of GitHub Actions.
    Github,
    /// RFC 6902, object by object.
    Patch,
    /// One line of at most 140 characters, for a commit status.
    Summary,
}

impl Format {
    /// All formats, with their names on the command line.
    pub const ALL: [(&'static str, Self); 7] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("jsonl", Self::Jsonl),
        ("markdown", Self::Markdown),
        ("github", Self::Github),
        ("patch", Self::Patch),
        ("summary", Self::Summary),
    ];
}

/// How to write for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the text; at least 40.
    pub width: usize,
    /// Whether to colour the text; colour says nothing that the text does not.
    pub colour: bool,
    /// Whether the plan is asked about, decided or carried out.
    pub mood: Mood,
}

impl Default for Style {
    fn default() -> Self {
        Self { width: 100, colour: false, mood: Mood::DryRun }
    }
}

/// Whether a plan is asked about, decided or carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It would happen.
    DryRun,
    /// It will happen.
    Approved,
    /// It did happen.
    Applied,
}

impl Mood {
    /// A verb in this mood: `would start`, `will start`, `started`.
    pub(super) fn verb(self, verb: &str, past: &str) -> String {
        match self {
            Self::DryRun => format!("would {verb}"),
            Self::Approved => format!("will {verb}"),
            Self::Applied => past.to_owned(),
        }
    }
}

/// The plan in a format. Text formats end with a newline, except the summary.
pub fn render(plan: &Plan, format: Format, style: Style) -> String {
    match format {
        Format::Text => text::render(&report::report(plan, style.mood), style),
        Format::Json => json::document(plan),
        Format::Jsonl => json::lines(plan),
        Format::Markdown => markdown::render(plan, &report::report(plan, style.mood)),
        Format::Github => github::render(plan, &report::report(plan, style.mood)),
        Format::Patch => json::patch(plan),
        Format::Summary => summary::line(plan),
    }
}
