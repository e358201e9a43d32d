//! The example repository and what `tidegate init` lays out: both are sound, and their commands work.
#![allow(clippy::unwrap_used)] // a helper of a test may fail as the test itself may

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate::cli::init::{self, InitArgs};
use tidegate::domain::catalog::Catalog;
use tidegate::domain::compile::{Compiled, compile};
use tidegate::domain::spec::Run;
use tidegate::domain::workflow::render::{Globals, render};
use tidegate::source::read_worktree;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example-repo")
}

/// Compiles a directory of which only this must be said.
fn sound(dir: &Path, said: &[&str]) -> Catalog {
    let Compiled { catalog, diagnostics } = compile(&read_worktree(dir).unwrap());
    let problems = diagnostics.iter().map(|d| format!("{}: {}", d.place.file, d.message));
    assert_eq!(problems.collect::<Vec<_>>(), said);
    catalog.expect("without an error there is a catalog")
}

/// Runs the command of every workflow as a local agent would, all at once, and answers the outputs by workflow.
fn run_all(catalog: &Catalog) -> Vec<(String, Option<Value>)> {
    let scratch = tempfile::tempdir().unwrap();
    // Pipelines are led by the server; tests/pipelines runs such.
    let jobs = catalog.workflows.iter().filter(|(_, workflow)| workflow.item.operation.read().pipeline().is_none());
    let started = jobs.enumerate().map(|(n, (name, workflow))| {
        assert_eq!(workflow.item.unrunnable, None, "{name}");
        let rendered =
            render(&workflow.item.operation.read(), &Globals::default()).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let Run::Job(job) = rendered.run else { panic!("{name} is not a job") };
        let container = job.container.unwrap();
        let args = container.args.unwrap_or_else(|| Value::Array(Vec::new()));
        let words: Vec<&str> =
            container.command.iter().chain(args.as_array().unwrap()).map(|word| word.as_str().unwrap()).collect();
        let outputs = scratch.path().join(format!("{n}.json"));
        let child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TIDEGATE_OUTPUTS", &outputs)
            .envs(rendered.env)
            .stdout(std::process::Stdio::null())
            .spawn();
        (name.to_string(), outputs, child.unwrap())
    });
    // All are started before the first is waited for.
    let started: Vec<_> = started.collect();
    let ended = started.into_iter().map(|(name, outputs, mut child)| {
        assert!(child.wait().unwrap().success(), "{name} failed");
        let text = fs::read_to_string(outputs).ok();
        (name, text.map(|text| serde_json::from_str(&text).unwrap()))
    });
    ended.collect()
}

#[test]
fn the_example_is_the_organization_that_the_readme_describes() {
    let catalog = sound(&example(), &[]);
    assert_eq!(catalog.agents.len(), 2);
    let declared: Vec<_> = catalog.queues.iter().filter(|(_, queue)| queue.place.is_some()).collect();
    assert_eq!(declared.len(), 4);
    let levels: BTreeSet<_> = declared.iter().map(|(_, queue)| queue.item.priority).collect();
    assert_eq!(levels.len(), 3);
    assert_eq!(catalog.projects.len(), 2);
    assert_eq!(catalog.workflows.len(), 11);
    assert_eq!(catalog.workflows.values().filter(|workflow| workflow.item.push.is_some()).count(), 10);
    assert_eq!(catalog.presets.len(), 1);
}

/// The first command that the README names. Its graph has a branch that is skipped when all goes well, and a sweep whose
/// points are stopped early: the outermost runs say whether it went well.
#[test]
fn up_runs_the_example_to_its_end() {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["up", "--once", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .arg(example())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn queues_come_from_where_the_comments_say() {
    let catalog = sound(&example(), &[]);
    let queues: Vec<_> = catalog.workflows.iter().map(|(name, w)| format!("{name} {}", w.item.queue)).collect();
    assert_eq!(
        queues,
        [
            "language/build-tokenizer buildbox/build",
            "language/clean-corpus buildbox/build",
            "language/corpus-graph buildbox/build",
            "language/index-docs workstation/batch",
            "language/train-lm workstation/train",
            "vision/evaluate-resnet workstation/batch",
            "vision/nightly-report workstation/batch",
            "vision/smoke-test workstation/debug",
            "vision/train-resnet workstation/train",
            "vision/train-vit workstation/train",
            "vision/tune-resnet workstation/train",
        ]
    );
}

#[test]
fn every_command_of_the_example_ends_well_and_writes_outputs() {
    for (name, outputs) in run_all(&sound(&example(), &[])) {
        assert!(outputs.is_some_and(|outputs| outputs.is_object()), "{name} wrote no outputs");
    }
}

/// The first line of every spec names the schema of its kind, by a path that leads there.
fn schema_lines_hold(dir: &Path) -> usize {
    let files = read_worktree(dir).unwrap().files;
    let specs = files.iter().filter(|file| {
        let top = file.path.split('/').next().unwrap();
        ["tidegate.yaml", "agents", "queues", "presets", "components", "projects"].contains(&top)
    });
    specs
        .map(|file| {
            let path = dir.join(&file.path);
            let text = fs::read_to_string(&path).unwrap();
            let line = text.lines().next().unwrap();
            let target =
                line.strip_prefix("# yaml-language-server: $schema=").unwrap_or_else(|| panic!("{}", file.path));
            let schema = path.parent().unwrap().join(target);
            let schema: Value = serde_json::from_slice(&fs::read(&schema).expect(target)).unwrap();
            let kind = text.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap();
            let title = if text.contains("isPreset: true") { "preset" } else { kind };
            assert_eq!(schema["title"], title, "{}", file.path);
        })
        .count()
}

#[test]
fn editors_find_the_schema_of_every_file_of_the_example() {
    assert_eq!(schema_lines_hold(&example()), 24);
}

fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn what_init_lays_out_is_sound_and_runs() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("Night Shift");
    init::run(&InitArgs { dir: dir.clone(), name: None }).unwrap();
    let catalog = sound(&dir, &[]);
    assert_eq!(catalog.organization.item.name.as_str(), "night-shift");
    assert_eq!(schema_lines_hold(&dir), 8);
    let outputs: Vec<_> = run_all(&catalog).into_iter().map(|(name, outputs)| (name, outputs.is_some())).collect();
    assert_eq!(outputs, [("demo/count".to_owned(), true), ("demo/hello".to_owned(), false)]);

    // In a repository of git too, where hidden files are read from the list of git.
    assert!(Command::new("git").args(["init", "-q"]).current_dir(&dir).status().unwrap().success());
    assert_eq!(sound(&dir, &[]).workflows.len(), 2);
}

#[test]
fn a_second_init_changes_nothing_and_what_was_there_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    fs::write(dir.join(".gitignore"), "mine\n").unwrap();
    std::os::unix::fs::symlink("/nowhere/at-all", dir.join(".editorconfig")).unwrap();
    let args = InitArgs { dir: dir.to_owned(), name: Some("acme".to_owned()) };
    init::run(&args).unwrap();
    fs::remove_file(dir.join(".editorconfig")).unwrap();
    assert_eq!(fs::read_to_string(dir.join(".gitignore")).unwrap(), "mine\n");
    assert!(fs::read_to_string(dir.join("tidegate.yaml")).unwrap().contains("\nname: acme\n"));
    fs::write(dir.join(".editorconfig"), "mine too\n").unwrap();
    let before = files_below(dir);
    init::run(&InitArgs { name: Some("other".to_owned()), ..args }).unwrap();
    assert_eq!(files_below(dir), before);
}

#[test]
fn init_refuses_a_name_that_is_none() {
    let scratch = tempfile::tempdir().unwrap();
    let args = InitArgs { dir: scratch.path().join("x"), name: Some("No Name".to_owned()) };
    let error = init::run(&args).unwrap_err();
    assert!(format!("{error:#}").starts_with("--name: "), "{error:#}");
    assert!(!args.dir.exists(), "nothing is laid out under a wrong name");
}
