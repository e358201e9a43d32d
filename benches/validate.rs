//! Validates 10,000 files of about 40 lines, cold, beside a bare typed parse of the same files in the same run.
//!
//! Bars (design §13): at least 15,000 files per CPU second, and at least 75 % of the bare parse. `TIDEGATE_BENCH_FILES` sets
//! another number of files: twice as many should take twice as long.

use std::fmt::Write;
use std::time::Instant;

use granit_parser::Parser;
use serde::Deserialize;
use tidegate::domain::compile::compile;
use tidegate::domain::compile::parse::parse;
use tidegate::domain::diagnostic::Diagnostics;
use tidegate::domain::files::{FileContent, FileSet, SourceFile};
use tidegate::domain::ids::CommitId;
use tidegate::domain::spec::Operation;
use tidegate::domain::time::Timestamp;

const ROUNDS: usize = 5;

fn main() {
    let count = std::env::var("TIDEGATE_BENCH_FILES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let files = repository(count);
    let bytes: usize = texts(&files).map(<[u8]>::len).sum();
    let lines: usize = texts(&files).map(|text| text.iter().filter(|b| **b == b'\n').count()).sum();
    println!("{} files, {} lines and {} bytes each on average", files.files.len(), lines / count, bytes / count);
    let compiled = compile(&files);
    assert_eq!(compiled.diagnostics.errors(), 0, "{:?}", compiled.diagnostics.iter().next());
    assert_eq!(compiled.catalog.map(|catalog| catalog.workflows.len()), Some(count));

    // Rounds take turns, so that both sides meet the same machine; the best of each counts.
    let (mut floor, mut ours) = (f64::MAX, f64::MAX);
    let (mut events, mut documents) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        floor = floor.min(timed(|| texts(&files).for_each(|text| drop(typed(text)))));
        events = events.min(timed(|| {
            std::hint::black_box(texts(&files).map(count_events).sum::<usize>());
        }));
        documents = documents.min(timed(|| {
            texts(&files).for_each(|text| drop(parse("file.yaml", text, &mut Diagnostics::default())));
        }));
        ours = ours.min(timed(|| drop(compile(&files))));
    }
    let rate = |seconds: f64| count as f64 / seconds;
    println!("bare typed parse        {:>9.0} files per CPU second", rate(floor));
    println!("validate, cold          {:>9.0} files per CPU second (bar 15000)", rate(ours));
    println!("  events of the parser  {:>9.0} files per CPU second", rate(events));
    println!("  documents with places {:>9.0} files per CPU second", rate(documents));
    println!("validate of bare parse  {:>8.0} % (bar 75 %)", 100.0 * floor / ours);
}

/// What a program does that only wants the values: YAML to typed structs, nothing checked, no places.
fn typed(text: &[u8]) -> Option<Operation> {
    let text = std::str::from_utf8(text).ok()?;
    serde_yaml::Deserializer::from_str(text).next().and_then(|document| Operation::deserialize(document).ok())
}

/// The parser alone.
fn count_events(text: &[u8]) -> usize {
    std::str::from_utf8(text).map_or(0, |text| Parser::new_from_str(text).count())
}

/// CPU seconds of this thread's work; the process has only one.
fn timed(work: impl FnOnce()) -> f64 {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    work();
    match (cpu, cpu_seconds()) {
        (Some(before), Some(after)) if after > before => after - before,
        _ => wall.elapsed().as_secs_f64(),
    }
}

/// CPU seconds of this thread so far, from the scheduler's own count of nanoseconds.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}

fn texts(files: &FileSet) -> impl Iterator<Item = &[u8]> {
    files.files.iter().filter_map(|file| match &file.content {
        FileContent::Text(bytes) => Some(bytes.as_slice()),
        _ => None,
    })
}

fn repository(count: usize) -> FileSet {
    let mut files = vec![
        file(
            "tidegate.yaml".to_owned(),
            "version: 1.1\nkind: organization\nname: acme\ndefaultQueue: east/gpu\n".to_owned(),
        ),
        file("agents/east.yaml".to_owned(), "version: 1.1\nkind: agent\nname: east\nlocal: {}\n".to_owned()),
        file(
            "queues/gpu.yaml".to_owned(),
            "version: 1.1\nkind: queue\nname: gpu\nagent: east\nconcurrency: 8\n".to_owned(),
        ),
    ];
    files.extend((0..count).map(|i| file(format!("projects/p{}/workflows/w{i}.yaml", i % 50), workflow(i))));
    FileSet {
        commit: CommitId::new("worktree"),
        message: String::new(),
        author: String::new(),
        time: Timestamp::default(),
        files,
        tree: Vec::new(),
    }
}

fn file(path: String, text: String) -> SourceFile {
    SourceFile { path, content: FileContent::Text(text.into_bytes()) }
}

fn workflow(i: usize) -> String {
    let mut text = String::new();
    write!(
        text,
        "# Trains model {i}\nversion: 1.1\nkind: operation\nname: train-{i}\ndescription: Trains model number {i}.\n\
tags: [vision, nightly]\nqueue: east/gpu\ntermination:\n  maxRetries: {}\n  timeout: 3600\nparams:\n  lr: 0.{}1\n  \
epochs: {{value: {}}}\n  data: s3://bucket/set-{i}\ncomponent:\n  name: train\n  inputs:\n    - name: lr\n      type: float\n    \
- name: epochs\n      type: int\n      value: 10\n    - name: data\n      type: str\n  run:\n    kind: job\n    \
environment:\n      nodeSelector:\n        pool: gpu\n    container:\n      image: registry.example.org/train:{i}\n      \
command: [python, train.py]\n      args: [\"--lr={{{{ lr }}}}\", \"--epochs={{{{ epochs }}}}\"]\n      env:\n        \
- name: SEED\n          value: \"{i}\"\n      resources:\n        requests:\n          cpu: 500m\n          memory: 2Gi\n",
        i % 4,
        i % 9,
        i % 100 + 1
    )
    .expect("a String takes everything");
    text
}
