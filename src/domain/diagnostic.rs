//! A problem in what a person wrote: where, what, how to mend it. Problems are collected, never thrown.
//!
//! The table of codes is [`crate::domain::compile::codes`]; the renderings are in [`crate::domain::compile::report`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document is used, but probably not as meant.
    Warning,
}

/// The stable number of a kind of problem; written `TG0123`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("TG{:04}", self.0))
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A place in a file; lines and columns count from 1, columns in characters; 0 where the file as a whole is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Path from the root of the repository, with `/`.
    pub file: Arc<str>,
    /// Line of the first character.
    pub line: u32,
    /// Column of the first character.
    pub column: u32,
    /// Column after the last character, on the same line; equal to `column` when unknown.
    pub end_column: u32,
}

impl Place {
    /// A file as a whole.
    pub fn file(path: &str) -> Self {
        Self { file: path.into(), line: 0, column: 0, end_column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => f.pad(&self.file),
            (line, column) => f.pad(&format!("{}:{line}:{column}", self.file)),
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Diagnostic {
    /// Where it is.
    pub place: Place,
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of problem it is.
    pub code: Code,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// How to mend it, one sentence; empty when the message says it all.
    pub help: String,
    /// Other places that matter, each with a word on why (the first of two duplicates).
    pub related: Vec<(Place, String)>,
    /// Which object it is about, `queue us-east/gpu`; empty when the file is not that far.
    pub object: String,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            severity: Severity::Error,
            code,
            message: message.into(),
            help: String::new(),
            related: Vec::new(),
            object: String::new(),
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, message) }
    }

    /// Says how to mend it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Points to another place.
    pub fn see(mut self, place: Place, why: impl Into<String>) -> Self {
        self.related.push((place, why.into()));
        self
    }
}

/// All problems of an input, sorted by place, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(BTreeSet<Diagnostic>);

impl Diagnostics {
    /// Adds a problem.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.insert(diagnostic);
    }

    /// Adds all problems of another collection.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The problems in order of place.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// The same with another name for a file: as the person knows it.
    pub fn with_file_called(self, from: &str, to: &str) -> Self {
        let called = |mut place: Place| {
            if &*place.file == from {
                place.file = to.into();
            }
            place
        };
        let rename = |problem: Diagnostic| Diagnostic {
            place: called(problem.place),
            related: problem.related.into_iter().map(|(place, why)| (called(place), why)).collect(),
            ..problem
        };
        Self(self.0.into_iter().map(rename).collect())
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }

    /// Whether there is neither error nor warning.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::collections::btree_set::IntoIter<Diagnostic>;

    /// The problems in order of place.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A number of things: `1 error`, `2 errors`.
pub fn counted(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// The candidate nearest to a misspelt word, if any is near enough to be meant.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insert, delete, replace, swap of neighbours (optimal string alignment distance).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let fields = ["concurrency", "priority", "quota", "agent"];
        assert_eq!(did_you_mean("concurency", fields), Some("concurrency"));
        assert_eq!(did_you_mean("Quota", fields), Some("quota"));
        assert_eq!(did_you_mean("prioirty", fields), Some("priority"));
        assert_eq!(did_you_mean("zebra", fields), None);
    }
}
