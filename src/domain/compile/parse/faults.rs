//! What is wrong with a text, in words and at its place.

use std::sync::Arc;

use granit_parser::{Event, ScanError, Span, Tag};
use serde_json::Value;

use super::{MAX_DEPTH, MAX_NODES, MAX_PROBLEMS, Reader, Stop};
use crate::domain::compile::codes;
use crate::domain::compile::document::{Position, number};
use crate::domain::compile::scalar::{Scalar, resolve};
use crate::domain::compile::text::shown;
use crate::domain::diagnostic::{Code, Diagnostic, Place, Severity};

impl Reader<'_> {
    pub(super) fn plain_key(&mut self, text: &str, span: &Span) {
        match resolve(text) {
            Scalar::Text => {}
            Scalar::OnlyText(other) => self.differs(text, None, other, span),
            _ => self.error(
                codes::KEY_NOT_TEXT,
                span,
                format!("the key `{}` is not a text", shown(text)),
                &format!("quote it: `\"{}\":`", shown(text)),
            ),
        }
    }

    /// Warns that YAML 1.1 reads a scalar otherwise than as a text or, here, as a number.
    pub(super) fn differs(&mut self, text: &str, number: Option<&Value>, other: &str, span: &Span) {
        let ours = if number.is_none() { "a text" } else { "a number" };
        let message = format!("`{}` is {ours} here, but {other} to readers of YAML 1.1", shown(text));
        let help = match number {
            None => format!("quote it (`\"{}\"`), or write what you mean", shown(text)),
            Some(value) => format!("write `{value}` if the number is meant, or quote it"),
        };
        let problem = Diagnostic::warning(codes::YAML_1_1, self.place(span), message).help(help);
        self.add(problem);
    }

    pub(super) fn not_a_key(&mut self, event: &Event<'_>, start: &Span, span: &Span) {
        let template = matches!(event, Event::MappingStart(..))
            && start.byte_range().is_some_and(|range| self.text[range.start..].starts_with("{{"));
        if template {
            let message = "a template without quotes is read as a mapping".to_owned();
            self.error(codes::UNQUOTED_TEMPLATE, start, message, "quote the template: `\"{{ name }}\"`");
        } else {
            self.error(codes::KEY_NOT_TEXT, span, "a key must be a text".to_owned(), "");
        }
    }

    pub(super) fn tag(&mut self, tag: Option<&Tag>, core: &str, span: &Span) {
        if let Some(tag) = tag.filter(|tag| tag.core_suffix() != Some(core)) {
            self.custom(&tag.original(), span);
        }
    }

    pub(super) fn custom(&mut self, tag: &str, span: &Span) {
        self.error(codes::CUSTOM_TAG, span, format!("the tag `{}` has no meaning here", shown(tag)), "remove the tag");
    }

    pub(super) fn syntax(&mut self, error: &ScanError) -> Stop {
        let marker = error.marker();
        let column = number(marker.col()) + 1;
        let place = Place { file: Arc::clone(&self.file), line: number(marker.line()), column, end_column: column };
        let why = error.kind().to_string();
        if matches!(error.kind(), granit_parser::ErrorKind::RecursionLimitExceeded) {
            let problem =
                Diagnostic::error(codes::TOO_DEEP, place, format!("nested more than {MAX_DEPTH} levels deep"));
            self.add(problem);
            return Stop::File;
        }
        let line = self.text.lines().nth(marker.line().saturating_sub(1)).unwrap_or_default();
        let bare = |before: &str| line.contains(&format!("{before} {{{{"));
        let (code, help) = if bare(":") || bare("-") {
            (codes::UNQUOTED_TEMPLATE, "quote the template: `\"{{ name }}\"`")
        } else if line.trim_start_matches(' ').starts_with('\t') {
            (codes::SYNTAX, "indent with spaces: YAML has no tabs there")
        } else {
            (codes::SYNTAX, "")
        };
        self.add(Diagnostic::error(code, place, format!("this is not YAML: {why}")).help(help));
        Stop::Document
    }

    pub(super) fn too_many(&mut self, span: &Span) -> Stop {
        let message = format!("the file has more than {MAX_NODES} values");
        self.limit(codes::TOO_MANY_NODES, span, message, "split it into several files")
    }

    pub(super) fn too_deep(&mut self, span: &Span) -> Stop {
        self.limit(codes::TOO_DEEP, span, format!("nested more than {MAX_DEPTH} levels deep"), "")
    }

    pub(super) fn limit(&mut self, code: Code, span: &Span, message: String, help: &str) -> Stop {
        self.error(code, span, message, help);
        Stop::File
    }

    pub(super) fn error(&mut self, code: Code, span: &Span, message: String, help: &str) {
        let problem = Diagnostic::error(code, self.place(span), message).help(help);
        self.add(problem);
    }

    pub(super) fn add(&mut self, problem: Diagnostic) {
        self.sound &= problem.severity != Severity::Error;
        if self.problems.len() <= MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    pub(super) fn place(&self, span: &Span) -> Place {
        Position::of(span).place(&self.file)
    }

    /// The place of the n-th key among the siblings whose marks begin at `first`.
    pub(super) fn key_of(&self, first: usize, n: usize) -> Place {
        let mut at = first;
        for _ in 0..n {
            at += self.marks[at].size as usize;
        }
        self.marks[at].key.place(&self.file)
    }
}
