//! Any bytes as spec files: a catalog or diagnostics, never a panic; and every rendering of them.
//!
//! `fuzz/run [SECONDS]` builds and runs it with a stable compiler.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::domain::compile::report::{Colour, Format, Sources, render};
use tidegate::domain::compile::{Depth, check_alone, compile};
use tidegate::domain::files::{FileContent, FileSet, SourceFile, TreePath};
use tidegate::domain::ids::CommitId;
use tidegate::domain::time::Timestamp;

/// Files of a sound repository, so that what is fuzzed meets something to refer to.
const AROUND: [(&str, &str); 4] = [
    ("tidegate.yaml", "version: 1.1\nkind: organization\nname: acme\n"),
    ("agents/a.yaml", "version: 1.1\nkind: agent\nname: a\nlocal: {}\n"),
    ("components/c.yaml", "version: 1.1\nkind: component\nname: c\nrun: {kind: job, container: {command: [x]}}\n"),
    ("presets/p.yaml", "isPreset: true\nrunPatch: {environment: {labels: {a: b}}}\n"),
];
const PATHS: [&str; 4] =
    ["projects/p/workflows/w.yaml", "projects/p/workflows/v.yaml", "queues/q.yaml", "components/d.yaml"];

fuzz_target!(|data: &[u8]| {
    let file = |path: &str, bytes: &[u8]| SourceFile { path: path.to_owned(), content: FileContent::Text(bytes.to_vec()) };
    let mut files: Vec<SourceFile> = AROUND.iter().map(|(path, text)| file(path, text.as_bytes())).collect();
    // A zero byte ends a file.
    files.extend(PATHS.iter().zip(data.split(|byte| *byte == 0)).map(|(path, bytes)| file(path, bytes)));
    let set = FileSet {
        commit: CommitId::new("worktree"),
        message: String::new(),
        author: String::new(),
        time: Timestamp::default(),
        tree: files.iter().map(|file| TreePath { path: file.path.clone(), id: file.path.clone() }).collect(),
        files,
    };
    let compiled = compile(&set);
    assert!(compiled.catalog.is_some() || compiled.diagnostics.errors() > 0);
    for (_, format) in Format::ALL {
        render(format, &compiled.diagnostics, &Sources::of(&set), Colour::Never);
    }
    check_alone("polyaxonfile.yaml", data, Depth::Params);
});
