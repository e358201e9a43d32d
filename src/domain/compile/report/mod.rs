//! Diagnostics for people and machines: one list, seven renderings, the same bytes for the same input.
//!
//! Texts of others are escaped once, here, before any rendering sees them.

mod github;
mod gitlab;
mod json;
mod junit;
mod sarif;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use super::codes;
use super::text::escape;
use crate::domain::diagnostic::{Diagnostics, Place, Severity, counted};
use crate::domain::files::{FileContent, FileSet};

/// A rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// For people, with the line and a caret.
    Text,
    /// One JSON object.
    Json,
    /// A JSON object a line.
    Jsonl,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, for test reports.
    Junit,
    /// Workflow commands of GitHub Actions.
    Github,
    /// GitLab's code quality report.
    Gitlab,
}

impl Format {
    /// Every format, by its word.
    pub const ALL: [(&'static str, Self); 7] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("jsonl", Self::Jsonl),
        ("sarif", Self::Sarif),
        ("junit", Self::Junit),
        ("github", Self::Github),
        ("gitlab", Self::Gitlab),
    ];

    /// Reads the word of a format.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, format)| *format)
    }
}

/// Whether a text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain.
    Never,
    /// With escape sequences of terminals.
    Always,
}

/// The texts that places point into.
#[derive(Debug, Default)]
pub struct Sources<'f>(BTreeMap<&'f str, &'f [u8]>);

impl<'f> Sources<'f> {
    /// The texts of a commit.
    pub fn of(files: &'f FileSet) -> Self {
        Self::of_files(&files.files)
    }

    /// The texts of some files.
    pub fn of_files(files: &'f [crate::domain::files::SourceFile]) -> Self {
        let text = |file: &'f crate::domain::files::SourceFile| match &file.content {
            FileContent::Text(bytes) => Some((file.path.as_str(), bytes.as_slice())),
            _ => None,
        };
        Self(files.iter().filter_map(text).collect())
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A line of a file, from 1.
    fn line(&self, file: &str, line: u32) -> Option<&'f str> {
        let bytes = self.0.get(file)?;
        let line = bytes.split(|byte| *byte == b'\n').nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
        let text = std::str::from_utf8(line).ok()?;
        Some(text.strip_suffix('\r').unwrap_or(text).trim_start_matches('\u{feff}'))
    }
}

/// Renders all diagnostics; ends with a line feed unless it is empty.
pub fn render(format: Format, diagnostics: &Diagnostics, sources: &Sources<'_>, colour: Colour) -> String {
    let all = shown(diagnostics);
    match format {
        Format::Text => text::render(&all, sources, colour),
        Format::Json => json::document(&all),
        Format::Jsonl => json::lines(&all),
        Format::Sarif => sarif::render(&all),
        Format::Junit => junit::render(&all, sources),
        Format::Github => github::render(&all),
        Format::Gitlab => gitlab::render(&all),
    }
}

/// A diagnostic whose texts are safe to show.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    code: String,
    severity: Severity,
    title: &'static str,
    file: String,
    line: u32,
    column: u32,
    end_column: u32,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    help: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    object: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<Related>,
    /// The file as it is called, to find its text.
    #[serde(skip)]
    path: std::sync::Arc<str>,
}

/// Another place that matters.
#[derive(Debug, Serialize)]
struct Related {
    file: String,
    line: u32,
    column: u32,
    why: String,
    #[serde(skip)]
    path: std::sync::Arc<str>,
}

fn shown(diagnostics: &Diagnostics) -> Vec<Shown> {
    let related = |(place, why): &(Place, String)| Related {
        file: escape(&place.file),
        line: place.line,
        column: place.column,
        why: escape(why),
        path: place.file.clone(),
    };
    let one = |problem: &crate::domain::diagnostic::Diagnostic| Shown {
        code: problem.code.to_string(),
        severity: problem.severity,
        title: codes::entry(problem.code).map_or("", |entry| entry.title),
        file: escape(&problem.place.file),
        line: problem.place.line,
        column: problem.place.column,
        end_column: problem.place.end_column,
        message: escape(&problem.message),
        help: escape(&problem.help),
        object: escape(&problem.object),
        related: problem.related.iter().map(related).collect(),
        path: problem.place.file.clone(),
    };
    diagnostics.iter().map(one).collect()
}

/// `2 errors, 1 warning`.
fn summary(all: &[Shown]) -> String {
    let errors = all.iter().filter(|one| one.severity == Severity::Error).count();
    format!("{}, {}", counted(errors, "error"), counted(all.len() - errors, "warning"))
}
