//! Hostile text: each ends in a diagnostic, in little time and memory.

use std::time::{Duration, Instant};

use tidegate::domain::compile::{codes, compile};
use tidegate::domain::diagnostic::Code;
use tidegate::domain::files::{FileContent, SourceFile};

use crate::repo::over_base;

/// Generous for an unoptimised build on a busy machine (optimised, each takes milliseconds); without limits these take
/// minutes to centuries, and gigabytes.
const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn refused(text: String, code: Code) {
    let mut files = over_base("");
    files.files.push(SourceFile { path: "queues/x.yaml".to_owned(), content: FileContent::Text(text.into_bytes()) });
    let started = Instant::now();
    let compiled = compile(&files);
    let took = started.elapsed();
    let found: Vec<String> = compiled.diagnostics.iter().map(|d| d.code.to_string()).collect();
    assert!(found.contains(&code.to_string()), "wanted {code}, found {found:?}");
    assert!(compiled.catalog.is_none());
    assert!(took < PATIENCE, "took {took:?}");
}

#[test]
fn a_billion_laughs() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for i in 1..=9 {
        let aliases = vec![format!("*a{}", i - 1); 9].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    refused(text, codes::ALIAS_BOMB);
}

#[test]
fn a_large_anchor_with_many_aliases() {
    let items = vec!["x"; 10_000].join(", ");
    let aliases = vec!["*a"; 10_000].join(", ");
    refused(format!("a: &a [{items}]\nb: [{aliases}]\n"), codes::ALIAS_BOMB);
}

#[test]
fn a_long_text_with_many_aliases() {
    let aliases = vec!["*a"; 2000].join(", ");
    refused(format!("a: &a {}\nb: [{aliases}]\n", "x".repeat(1_000_000)), codes::ALIAS_BOMB);
}

#[test]
fn merge_keys_multiply_no_less() {
    let mut text = "a0: &a0 {k0: v}\n".to_owned();
    for i in 1..=40 {
        text.push_str(&format!("a{i}: &a{i} {{<<: *a{}, x{i}: *a{}, y{i}: *a{}}}\n", i - 1, i - 1, i - 1));
    }
    refused(text, codes::ALIAS_BOMB);
}

#[test]
fn deep_nesting_of_every_kind() {
    refused("[".repeat(10_000), codes::TOO_DEEP);
    refused("{a: ".repeat(80_000), codes::TOO_DEEP);
    refused("- ".repeat(100_000), codes::TOO_DEEP);
    refused("? ".repeat(100_000), codes::TOO_DEEP);
}

#[test]
fn more_values_than_anyone_writes() {
    refused(format!("a: [{}]\n", "1,".repeat(300_000)), codes::TOO_MANY_NODES);
}

#[test]
fn more_documents_than_anyone_writes() {
    refused("--- 1\n".repeat(5000), codes::TOO_MANY_DOCUMENTS);
}

#[test]
fn a_file_beyond_the_limit() {
    refused("#".repeat(2 << 20), codes::TOO_LARGE);
}

#[test]
fn many_problems_are_cut_short() {
    let keys: String = (0..50_000).map(|i| format!("{i}: x\n")).collect();
    let mut files = over_base("");
    files.files.push(SourceFile { path: "queues/x.yaml".to_owned(), content: FileContent::Text(keys.into_bytes()) });
    assert!(compile(&files).diagnostics.errors() < 300);
}
