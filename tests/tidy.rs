//! The house keeps its own rules: who may name whom, what the domain may not do, and how a file looks.
//!
//! The rules are those of the map in `src/lib.rs`. Every rule is shown to catch a bad sample at the end of this file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Longest file of `src`, in lines: beyond it nobody reads to the end.
const MAX_LINES: usize = 600;
/// Files beyond this are named, so that they are split before they must be.
const CROWDED: usize = 500;

/// What may lie at the top of the repository, beside names that begin with a dot.
const TOP_LEVEL: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "schemas",
    "example-repo",
    "deploy",
    "tests",
    "benches",
    "fuzz",
    "README.md",
    "LICENSE",
    "target",
];

/// The lowest modules of the domain; they may name one another.
const GROUND: [&str; 9] = [
    "domain::ids",
    "domain::time",
    "domain::quantity",
    "domain::diagnostic",
    "domain::files",
    "domain::places",
    "domain::cron",
    "domain::query",
    "domain::waiting_order",
];

/// Who may name whom inside `domain`, beside the ground and themselves.
const DOMAIN: [(&str, &[&str]); 12] = [
    ("domain::spec", &[]),
    ("domain::sharing", &["domain::spec"]),
    ("domain::windows", &["domain::spec"]),
    ("domain::honour", &["domain::spec"]),
    ("domain::prepare", &[]),
    ("domain::catalog", &["domain::spec"]),
    ("domain::compile", &["domain::spec", "domain::honour", "domain::catalog"]),
    ("domain::workflow", WORKFLOW),
    ("domain::dispatch", &["domain::spec", "domain::sharing", "domain::windows", "domain::catalog"]),
    ("domain::simulate", &["domain::spec", "domain::catalog", "domain::dispatch"]),
    ("domain::kubernetes", &["domain::spec", "domain::prepare", "domain::dispatch"]),
    ("domain::plan", &["domain::spec", "domain::sharing", "domain::catalog", "domain::dispatch"]),
];

/// What the making of runs may name.
const WORKFLOW: &[&str] =
    &["domain::spec", "domain::honour", "domain::prepare", "domain::catalog", "domain::compile", "domain::dispatch"];

/// Who may name whom outside, beside themselves.
const SHELL: [(&str, &[&str]); 14] = [
    ("store", &["domain"]),
    ("source", &["domain"]),
    ("target", &["domain"]),
    ("engine", &["domain", "store"]),
    ("effects", &["domain", "store", "target", "engine"]),
    ("conductor", &["domain", "store", "engine"]),
    ("timekeeper", CONTROL),
    // The control plane is these three together.
    ("control", CONTROL),
    ("reconciler", CONTROL),
    ("revision", CONTROL),
    ("switches", &["domain"]),
    ("server", &["domain", "store", "source", "target", "engine", "effects", "control", "reconciler", "revision"]),
    (
        "cli",
        &["domain", "store", "source", "target", "engine", "effects", "control", "reconciler", "revision", "server"],
    ),
    ("main", &["cli"]),
];

/// What the control plane may name.
const CONTROL: &[&str] = &[
    "domain",
    "store",
    "source",
    "target",
    "engine",
    "effects",
    "conductor",
    "timekeeper",
    "control",
    "reconciler",
    "revision",
    "switches",
];

/// Paths that would give the domain a clock, chance or IO.
const IMPURE: [&str; 12] = [
    "tokio",
    "uuid::Uuid::new_v4",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "std::io",
    "std::time::SystemTime",
    "std::time::Instant",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
];

/// Words with which the same comes in by another name.
const IMPURE_WORDS: [&str; 4] = ["SystemTime", "Instant", "async", "await"];

/// Collections whose order differs between replays; an item may have one when it says why nothing iterates over it.
const UNORDERED: [&str; 2] = ["HashMap", "HashSet"];

#[test]
fn every_file_of_the_house_is_tidy() {
    let files = sources();
    assert!(files.len() > 40, "only {} files were found: the checker looks in the wrong place", files.len());
    let problems = check(&files);
    for (path, text) in files.iter().filter(|(path, text)| path.starts_with("src/") && text.lines().count() > CROWDED) {
        println!("crowded: {path} has {} lines", text.lines().count());
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_top_level_holds_what_is_prescribed() {
    let entries = fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("the repository can be listed");
    let names = entries.map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned());
    let strangers: Vec<String> = names.filter(|name| is_stranger(name)).collect();
    assert!(strangers.is_empty(), "these do not belong at the top of the repository: {strangers:?}");
}

fn is_stranger(name: &str) -> bool {
    !name.starts_with('.') && !TOP_LEVEL.contains(&name)
}

/// All Rust files of `src`, `tests`, `benches` and `fuzz`: path from the root and text.
fn sources() -> Vec<(String, String)> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<(String, String)>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    walk(root, &path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("it lies below").to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).expect("a source file is text")));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for dir in ["src", "tests", "benches", "fuzz"] {
        walk(root, &root.join(dir), &mut found);
    }
    found.sort();
    found
}

/// Everything that is wrong with a set of files, `path:line: what`.
fn check(files: &[(String, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut tests = BTreeSet::new();
    let mut modules = Vec::new();
    for (path, text) in files {
        if !text.starts_with("//!") {
            problems.push(format!("{path}:1: the file does not open with `//!` and what it is for"));
        }
        if !path.starts_with("src/") {
            continue;
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            problems.push(format!("{path}: {lines} lines; at most {MAX_LINES}"));
        }
        let module = module_of(path);
        let tokens = without_tests(tokens_of(text), &module, &mut tests);
        modules.push((path, module, tokens));
    }
    for (path, module, tokens) in &modules {
        if tests.iter().any(|test| is_within(module, test)) {
            continue;
        }
        if rule_of(module).is_none() && !matches!(module.as_str(), "lib" | "domain") {
            problems.push(format!("{path}: no rule says whom `{module}` may name; give it one in tests/tidy.rs"));
        }
        check_words(path, module, tokens, &mut problems);
        for (line, named) in paths_of(tokens, module) {
            if let Some(problem) = forbidden(module, &named) {
                problems.push(format!("{path}:{line}: {problem}"));
            }
        }
    }
    problems
}

fn check_words(path: &str, module: &str, tokens: &[Token], problems: &mut Vec<String>) {
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1).map_or("", |t| t.text.as_str());
        let before = if i == 0 { "" } else { tokens[i - 1].text.as_str() };
        let mut problem = |what: &str| problems.push(format!("{path}:{}: {what}", token.line));
        match token.text.as_str() {
            word @ ("todo" | "unimplemented" | "dbg") if next == "!" => {
                problem(&format!("`{word}!` is unfinished work"))
            }
            "unwrap" if before == "." && next == "(" => {
                problem("`unwrap()` outside tests: handle it, or `expect` and say why it holds")
            }
            word if is_within(module, "domain") && IMPURE_WORDS.contains(&word) => {
                problem(&format!("`{word}` in the domain: no clock, no chance, no async, no order of its own"))
            }
            word if is_within(module, "domain") && UNORDERED.contains(&word) && !is_excused(&tokens[..i]) => {
                problem(&format!("`{word}` in the domain has an order of its own: use BTreeMap or IndexMap"))
            }
            _ => {}
        }
    }
}

/// Whether the item that these tokens begin carries `#[expect(clippy::disallowed_types, reason = …)]`.
fn is_excused(before: &[Token]) -> bool {
    let item = before.iter().rev().take_while(|t| !matches!(t.text.as_str(), ";" | "}"));
    item.map(|t| t.text.as_str()).collect::<Vec<_>>().windows(3).any(|w| w == ["disallowed_types", "::", "clippy"])
}

/// Why a module may not name a path, if it may not.
fn forbidden(module: &str, named: &str) -> Option<String> {
    if let Some(inside) = named.strip_prefix("crate::") {
        let (whose, allowed) = rule_of(module)?;
        let (named, _) = rule_of(inside)?;
        let ok = whose == named || allowed.iter().any(|allowed| is_within(named, allowed));
        return (!ok).then(|| format!("`{whose}` must not name `{named}` (the arrows are drawn in src/lib.rs)"));
    }
    let impure = is_within(module, "domain") && IMPURE.iter().any(|impure| is_within(named, impure));
    impure.then(|| format!("`{named}` in the domain: no IO, no clock, no chance, no async"))
}

/// The layer that a module belongs to and the layers that it may name. `None`: the roots, which only declare.
fn rule_of(module: &str) -> Option<(&'static str, Vec<&'static str>)> {
    if let Some(ground) = GROUND.iter().find(|ground| is_within(module, ground)) {
        return Some((ground, GROUND.to_vec()));
    }
    if let Some((layer, allowed)) = DOMAIN.iter().find(|(layer, _)| is_within(module, layer)) {
        return Some((layer, allowed.iter().chain(&GROUND).copied().collect()));
    }
    SHELL.iter().find(|(layer, _)| is_within(module, layer)).map(|(layer, allowed)| (*layer, allowed.to_vec()))
}

/// Whether a path is another or lies below it.
fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// `src/domain/spec/mod.rs` → `domain::spec`.
fn module_of(path: &str) -> String {
    let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    inner.trim_end_matches("/mod").replace('/', "::")
}

/// A word or sign of a program, and its line.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// The words and signs of a program, without comments, texts and characters; `::` is one sign.
fn tokens_of(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        match chars[i] {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && chars[i] != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                while i < chars.len() {
                    match (chars[i], at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => i = end_of_text(&chars, i),
            'r' | 'b' | 'c' if raw_text(&chars, i).is_some() => i = raw_text(&chars, i).unwrap_or(i),
            // A character, unless it is a lifetime.
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < chars.len() && chars[i] != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            c if is_word(c) => {
                while i < chars.len() && is_word(chars[i]) {
                    i += 1;
                }
                tokens.push(Token { text: chars[start..i].iter().collect(), line });
            }
            ':' if at(i + 1) == ':' => {
                i += 2;
                tokens.push(Token { text: "::".to_owned(), line });
            }
            c => {
                i += 1;
                if !c.is_whitespace() {
                    tokens.push(Token { text: c.to_string(), line });
                }
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The place after a text that begins with `"` at `start`.
fn end_of_text(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The place after a raw text (`r"…"`, `br#"…"#`) at `start`, if one begins there.
fn raw_text(chars: &[char], start: usize) -> Option<usize> {
    if start > 0 && (chars[start - 1].is_alphanumeric() || chars[start - 1] == '_') {
        return None;
    }
    let mut i = start;
    while chars.get(i).is_some_and(|c| matches!(c, 'b' | 'c')) {
        i += 1;
    }
    if chars.get(i) != Some(&'r') {
        return None;
    }
    i += 1;
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    i += hashes;
    if chars.get(i) != Some(&'"') {
        return None;
    }
    i += 1;
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(i)
}

/// Leaves out the items marked `#[cfg(test)]`; a module in a file of its own is noted in `tests`.
fn without_tests(tokens: Vec<Token>, module: &str, tests: &mut BTreeSet<String>) -> Vec<Token> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        let is_test = marker.iter().enumerate().all(|(n, sign)| tokens.get(i + n).is_some_and(|t| t.text == *sign));
        if !is_test {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += marker.len();
        let start = i;
        let mut depth = 0i32;
        while i < tokens.len() {
            match tokens[i].text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            i += 1;
            if depth == 0 && matches!(tokens[i - 1].text.as_str(), "}" | ";") {
                break;
            }
        }
        let item = &tokens[start..i];
        if let Some(at) = item.iter().position(|t| t.text == "mod")
            && item.get(at + 2).is_some_and(|t| t.text == ";")
        {
            let parent = if matches!(module, "lib" | "main") { String::new() } else { format!("{module}::") };
            tests.insert(format!("{parent}{}", item[at + 1].text));
        }
    }
    kept
}

/// Every path with `::` that a program names, groups taken apart, `super` and `self` made whole.
fn paths_of(tokens: &[Token], module: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let starts = is_name(&tokens[i].text) && tokens.get(i + 1).is_some_and(|t| t.text == "::");
        if starts {
            i = path_at(tokens, i, &[], module, &mut found);
        } else {
            i += 1;
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads the path at `i` below `above`; answers the place after it.
fn path_at(tokens: &[Token], mut i: usize, above: &[&str], module: &str, found: &mut Vec<(usize, String)>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let line = tokens.get(i).map_or(0, |t| t.line);
    let mut path = above.to_vec();
    loop {
        if !is_name(text(i)) {
            break;
        }
        path.push(text(i));
        i += 1;
        if text(i) != "::" {
            break;
        }
        i += 1;
        if text(i) == "{" {
            i += 1;
            while i < tokens.len() && text(i) != "}" {
                let start = i;
                i = path_at(tokens, i, &path, module, found);
                if text(i) == "as" {
                    i += 2;
                }
                if text(i) == "," || i == start {
                    i += 1;
                }
            }
            return i + 1;
        }
    }
    found.push((line, whole(&path, module)));
    i
}

/// A path from the root: `super::ids` in `domain::spec` → `crate::domain::ids`.
fn whole(path: &[&str], module: &str) -> String {
    let supers = path.iter().take_while(|part| **part == "super").count();
    let here: Vec<&str> = module.split("::").filter(|part| !matches!(*part, "lib" | "main")).collect();
    let base = match path.first() {
        Some(&"super") => &here[..here.len().saturating_sub(supers)],
        Some(&"self") => &here[..],
        _ => return path.join("::"),
    };
    let rest = &path[supers.max(1)..];
    std::iter::once("crate").chain(base.iter().copied()).chain(rest.iter().copied()).collect::<Vec<_>>().join("::")
}

/// What the checker says of one sample, without the path.
fn said(path: &str, text: &str) -> Vec<String> {
    let files = [(path.to_owned(), format!("//! A sample.\n{text}"))];
    check(&files).into_iter().map(|problem| problem.replace(path, "")).collect()
}

#[test]
fn arrows_that_point_the_wrong_way_are_found() {
    let bad = [
        ("src/domain/ids.rs", "use crate::domain::spec::Queue;"),
        ("src/domain/spec/queue.rs", "use crate::domain::{ids::Name, catalog::Catalog};"),
        ("src/domain/spec/queue.rs", "use super::super::compile::parse;"),
        ("src/domain/catalog.rs", "fn f() { crate::domain::plan::plan(); }"),
        ("src/domain/dispatch/state.rs", "use crate::store::Store;"),
        ("src/domain/dispatch/mod.rs", "use super::plan::Plan;"),
        ("src/domain/compile/checks.rs", "use crate::domain::dispatch::State;"),
        ("src/store/sqlite/mod.rs", "use crate::source::Mirror;"),
        ("src/source/mod.rs", "use super::target::Target;"),
        ("src/target/local/mod.rs", "use crate::{domain::ids, store};"),
        ("src/engine.rs", "use crate::server::Server;"),
        ("src/engine.rs", "use crate::effects::Courier;"),
        ("src/effects.rs", "use crate::source::Mirror;"),
        ("src/server/api.rs", "use crate::cli;"),
        ("src/control.rs", "use crate::server;"),
    ];
    for (path, text) in bad {
        let problems = said(path, text);
        assert_eq!(problems.len(), 1, "{path}: {text}: {problems:?}");
        assert!(problems[0].starts_with(":2: ") && problems[0].contains("must not name"), "{problems:?}");
    }
    let good = [
        ("src/domain/spec/queue.rs", "use super::{Limit, Version}; use crate::domain::ids::Name;"),
        ("src/domain/plan/mod.rs", "use crate::domain::catalog::Catalog; use self::render::text;"),
        ("src/engine.rs", "use crate::store::Store; use crate::domain::dispatch;"),
        ("src/cli/up.rs", "use crate::server::serve; // use crate::nothing"),
        ("src/lib.rs", "pub mod cli; pub use crate::domain::ids;"),
    ];
    for (path, text) in good {
        assert_eq!(said(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn a_module_without_a_rule_is_found() {
    for path in ["src/helpers.rs", "src/domain/extra.rs", "src/storehouse.rs"] {
        assert_eq!(said(path, "").len(), 1, "{path}");
    }
}

#[test]
fn the_world_does_not_come_into_the_domain() {
    let bad = [
        "use std::time::SystemTime;",
        "fn f() { std::time::Instant::now(); }",
        "use std::{fs, fmt};",
        "use std::collections::{BTreeMap, HashMap};",
        "use tokio::sync::mpsc;",
        "async fn f() {}",
        "fn f() { uuid::Uuid::new_v4(); }",
        "use std::net::TcpStream;",
        "use std::process::Command;",
        "fn f() -> String { std::env::var(\"HOME\").unwrap_or_default() }",
        "use std::io::Read;",
    ];
    for text in bad {
        assert!(!said("src/domain/dispatch/pass.rs", text).is_empty(), "{text}");
        assert_eq!(said("src/source/watch.rs", text), Vec::<String>::new(), "{text}: the shell may");
    }
    let twice =
        "#[expect(clippy::disallowed_types, reason = \"\")]\ntype A = HashMap<u8, u8>;\ntype B = HashMap<u8, u8>;";
    assert_eq!(said("src/domain/dispatch/pass.rs", twice).len(), 1, "one excuse is for one item");
    let good = [
        "use std::fmt;",
        "// std::fs",
        "const A: &str = \"std::fs async\";",
        "const B: &str = r#\"a \" tokio::x\"#;",
        "#[expect(clippy::disallowed_types, reason = \"never iterated\")]\ntype A = std::collections::HashMap<u8, u8>;",
    ];
    for text in good {
        assert_eq!(said("src/domain/dispatch/pass.rs", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn unfinished_and_careless_work_is_found() {
    for text in
        ["fn f() { todo!() }", "fn f() { unimplemented!(\"x\") }", "fn f() { dbg!(1); }", "fn f() { g().unwrap(); }"]
    {
        assert_eq!(said("src/store/mod.rs", text).len(), 1, "{text}");
        let test = format!("#[cfg(test)]\nmod tests {{ {text} }}");
        assert_eq!(said("src/store/mod.rs", &test), Vec::<String>::new(), "{test}");
        // What comes after the tests is looked at again.
        assert_eq!(said("src/store/mod.rs", &format!("{test}\n{text}")).len(), 1, "{text}");
    }
    assert_eq!(
        said("src/store/mod.rs", "/// g().unwrap()\nfn f<'a>(c: char) -> bool { c == '\"' }"),
        Vec::<String>::new()
    );
}

#[test]
fn a_module_of_tests_in_a_file_of_its_own_is_a_test() {
    let parent = ("src/domain/plan/mod.rs".to_owned(), "//! A.\n#[cfg(test)]\nmod tests;".to_owned());
    let child = ("src/domain/plan/tests.rs".to_owned(), "//! B.\nuse std::fs; fn f() { g().unwrap(); }".to_owned());
    assert_eq!(check(&[parent, child.clone()]), Vec::<String>::new());
    assert_eq!(check(&[child]).len(), 2);
}

#[test]
fn long_and_nameless_files_are_found() {
    let long = (0..MAX_LINES).map(|n| format!("const A{n}: u8 = 0;\n")).collect::<String>();
    assert_eq!(said("src/engine.rs", &long), [format!(": {} lines; at most {MAX_LINES}", MAX_LINES + 1)]);
    let nameless = [("tests/x.rs".to_owned(), "use a;".to_owned())];
    assert_eq!(check(&nameless), ["tests/x.rs:1: the file does not open with `//!` and what it is for"]);
    assert!(is_stranger("notes.txt") && !is_stranger(".ci") && !is_stranger("Cargo.toml"));
}

#[test]
fn lines_are_counted_through_texts_and_comments() {
    let text = "/* one\n/* two */\n*/ const A: &str = \"x\ny\"; const B: char = '\\''; const C: &str = r\"\n\";\nfn f() { g().unwrap() }";
    assert_eq!(
        said("src/store/mod.rs", text),
        [":7: `unwrap()` outside tests: handle it, or `expect` and say why it holds"]
    );
}
