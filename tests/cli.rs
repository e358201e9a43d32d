//! The command line as a process: help, exit codes, and what needs no server.
#![allow(clippy::unwrap_used)] // a test that cannot unwrap has failed

use std::path::Path;
use std::process::{Command, Output};

fn tidegate(args: &[&str]) -> Output {
    tidegate_in(Path::new("."), args)
}

fn tidegate_in(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).current_dir(dir).env("COLUMNS", "100").env_remove("TIDEGATE_TOKEN");
    // Nobody listens on the port of "discard".
    command.env("TIDEGATE_SERVER", "http://127.0.0.1:9").output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const VERBS: [&[&str]; 34] = [
    &[],
    &["init"],
    &["up"],
    &["serve"],
    &["validate"],
    &["diff"],
    &["run"],
    &["schema"],
    &["explain"],
    &["completions"],
    &["ops"],
    &["ops", "ls"],
    &["ops", "get"],
    &["ops", "statuses"],
    &["ops", "logs"],
    &["ops", "explain"],
    &["ops", "stop"],
    &["ops", "restart"],
    &["ops", "resume"],
    &["ops", "copy"],
    &["ops", "approve"],
    &["ops", "delete"],
    &["queues"],
    &["queues", "set"],
    &["agents"],
    &["projects"],
    &["workflows"],
    &["sync"],
    &["sync", "now"],
    &["sync", "status"],
    &["sync", "history"],
    &["sync", "pause"],
    &["sync", "rollback"],
    &["sync", "approve"],
];

#[test]
fn every_verb_has_help() {
    let mut all = String::new();
    for verb in VERBS {
        let mut args = verb.to_vec();
        args.push("-h");
        let output = tidegate(&args);
        assert_eq!(code(&output), 0, "{verb:?}");
        all.push_str(&format!("$ tidegate {}\n{}\n", args.join(" "), stdout(&output)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_is_not_understood_is_a_usage_error() {
    for args in [
        &["ops"][..],
        &["nonsense"],
        &["ops", "ls", "--nonsense"],
        &["ops", "ls", "-o", "xml"],
        &["ops", "ls", "-q", "status:runing"],
        &["ops", "ls", "--sort", "tags"],
        &["ops", "ls", "--status", "runing"],
        &["ops", "statuses"],
        &["queues", "set", "here/gpu"],
        &["serve"],
        &["serve", "--repo", ".", "--poll", "1ms"],
        &["serve", "--repo", ".", "--listen", "nowhere"],
        &["diff", "--head", "a", "--worktree"],
        &["diff", "-o", "html"],
        &["run", "a.yaml", "--watch", "--dry-run"],
        &[],
    ] {
        let output = tidegate(args);
        assert_eq!(code(&output), 64, "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
    assert_eq!(code(&tidegate(&["--version"])), 0);
}

#[test]
fn without_a_server_it_says_how_to_start_one() {
    for args in [
        &["ops", "ls"][..],
        &["queues", "ls", "-o", "json"],
        &["sync", "status"],
        &["run", "p/w"],
        &["ops", "logs", "-f", "ab"],
    ] {
        let output = tidegate(args);
        assert_eq!(code(&output), 1, "{args:?}");
        let told = "error: no server at http://127.0.0.1:9: start one with `tidegate up` or `tidegate serve`\n";
        assert_eq!(stderr(&output), told, "{args:?}");
        assert_eq!(stdout(&output), "");
    }
    let output = tidegate(&["ops", "ls", "--server", "tide"]);
    assert!(stderr(&output).contains("is not the address of a server"), "{}", stderr(&output));
}

#[test]
fn a_server_for_everybody_needs_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let output =
        tidegate_in(dir.path(), &["serve", "--repo", "https://example.invalid/x.git", "--listen", "0.0.0.0:0"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("refusing to listen on 0.0.0.0:0 without tokens"), "{}", stderr(&output));
    assert!(!dir.path().join("tidegate-data").exists(), "nothing was touched");
}

#[test]
fn completions_and_man_pages_are_made() {
    let output = tidegate(&["completions", "bash"]);
    assert!(code(&output) == 0 && stdout(&output).contains("_tidegate"));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(code(&tidegate(&["man", dir.path().to_str().unwrap()])), 0);
    let page = std::fs::read_to_string(dir.path().join("tidegate-ops-ls.1")).unwrap();
    assert!(page.contains(".TH"), "{page}");
}

fn git(dir: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(args).current_dir(dir);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "tidegate.yaml", "version: 1.1\nkind: organization\nname: acme\n");
    write(at, "agents/here.yaml", "version: 1.1\nkind: agent\nname: here\nlocal: {}\n");
    write(at, "queues/here/gpu.yaml", "version: 1.1\nkind: queue\nname: gpu\nagent: here\nconcurrency: 8\n");
    write(at, "projects/p/project.yaml", "version: 1.1\nkind: project\nname: p\ndefaultQueue: here/gpu\n");
    write(at, "projects/p/workflows/echo.yaml", ECHO);
    git(at, &["init", "-q", "-b", "main"]);
    git(at, &["add", "."]);
    git(at, &["commit", "-q", "-m", "first"]);
    dir
}

const ECHO: &str = "version: 1.1\nkind: operation\nname: echo\ncomponent:\n  inputs:\n    - {name: lr, type: float, value: 0.5, isOptional: true}\n  \
run:\n    kind: job\n    container: {image: busybox, command: [echo, '{{ lr }}']}\n";

#[test]
fn diff_between_revisions_needs_no_server() {
    let dir = repository();
    let at = dir.path();
    let diff = |args: &[&str]| {
        let mut all = vec!["diff", "--base", "main"];
        all.extend(args);
        tidegate_in(at, &all)
    };
    let same = diff(&[]);
    assert_eq!(code(&same), 0, "{}{}", stdout(&same), stderr(&same));

    git(at, &["switch", "-q", "-c", "lower"]);
    write(at, "queues/here/gpu.yaml", "version: 1.1\nkind: queue\nname: gpu\nagent: here\nconcurrency: 2\n");
    let uncommitted = diff(&["--output-file", "json=plan.json", "-o", "summary"]);
    assert_eq!(code(&uncommitted), 2, "{}", stderr(&uncommitted));
    assert_eq!(stdout(&uncommitted).lines().count(), 1);
    let plan: serde_json::Value = serde_json::from_slice(&std::fs::read(at.join("plan.json")).unwrap()).unwrap();
    std::fs::remove_file(at.join("plan.json")).unwrap();
    assert!(plan.is_object());
    git(at, &["commit", "-q", "-a", "-m", "lower"]);
    let committed = diff(&["--head", "lower"]);
    assert_eq!(code(&committed), 2);
    assert!(stdout(&committed).contains("here/gpu") && stdout(&committed).contains('8'), "{}", stdout(&committed));
    assert_eq!(stdout(&committed), stdout(&diff(&["--head", "lower"])), "the same input, the same bytes");
    assert_eq!(code(&diff(&["--head", "lower", "--exit-zero-on-changes"])), 0);

    write(at, "queues/here/gpu.yaml", "version: 1.1\nkind: queue\nname: gpu\nagent: here\nconcurency: 2\n");
    let wrong = diff(&["--worktree"]);
    assert_eq!(code(&wrong), 3, "{}", stderr(&wrong));
    assert!(stdout(&wrong).contains("queues/here/gpu.yaml:5:1"), "{}", stdout(&wrong));
    assert_eq!(code(&diff(&["--head", "nowhere"])), 1);
    assert_eq!(code(&diff(&["--head", "--upload-pack=x"])), 64);
}

#[test]
fn a_dry_run_compiles_and_prints() {
    let dir = repository();
    let at = dir.path();
    let file = "projects/p/workflows/echo.yaml";
    let output = tidegate_in(at, &["run", file, "-P", "lr=0.25", "--dry-run", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let shown: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&shown["kind"], &shown["queue"]), (&"compiled_operation".into(), &"here/gpu".into()));
    assert_eq!((&shown["inputs"][0]["name"], &shown["inputs"][0]["value"]), (&"lr".into(), &0.25.into()));
    let by_name = tidegate_in(&at.join("projects"), &["run", "p/echo", "--dry-run", "-o", "json", "--name", "other"]);
    assert_eq!(code(&by_name), 0, "{}", stderr(&by_name));
    let shown: serde_json::Value = serde_json::from_str(&stdout(&by_name)).unwrap();
    assert_eq!(shown["name"], "other");
    let wrong = tidegate_in(at, &["run", file, "-P", "lr=many", "--dry-run"]);
    assert_eq!(code(&wrong), 3, "{}{}", stdout(&wrong), stderr(&wrong));
    let alone = tempfile::tempdir().unwrap();
    let output = tidegate_in(alone.path(), &["run", "p/echo", "--dry-run"]);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    assert!(stderr(&output).contains("no tidegate.yaml lies above"), "{}", stderr(&output));
}

#[test]
fn a_dry_run_of_a_lone_file_prints_the_compiled_operation() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "op.yaml", "version: 1.1\nkind: operation\nhubRef: train:2\nparams: {lr: 0.5}\n");
    write(
        at,
        "copies/hub/train/2.yaml",
        "version: 1.1\nkind: component\ninputs: [{name: lr, type: float}]\nrun: {kind: job, container: {image: a, args: [\"--lr={{ lr }}\", \"{{ globals.uuid }}\"]}}\n",
    );
    let output = tidegate_in(at, &["run", "op.yaml", "--dry-run", "--refs", "copies", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let shown: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(shown["kind"], "compiled_operation");
    // What only a run has stays a template.
    assert_eq!(shown["run"]["container"]["args"], serde_json::json!(["--lr=0.5", "{{ globals.uuid }}"]));
    let without = tidegate_in(at, &["run", "op.yaml", "--dry-run"]);
    assert_eq!(code(&without), 3, "{}{}", stdout(&without), stderr(&without));
    assert_eq!(code(&tidegate_in(at, &["validate", "op.yaml"])), 0);
    assert_eq!(code(&tidegate_in(at, &["validate", "op.yaml", "--refs", "."])), 3);
    write(at, "spot.yaml", "isPreset: true\nqueue: us-east/spot\n");
    let preset = tidegate_in(at, &["run", "op.yaml", "--dry-run", "--refs", "copies", "--preset", "spot.yaml"]);
    assert!(stdout(&preset).contains("queue: us-east/spot"), "{}", stdout(&preset));
}

#[test]
fn up_runs_a_folder_to_its_end() {
    let dir = repository();
    let output = tidegate_in(dir.path(), &["up", "--once", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let lines = stdout(&output);
    assert!(lines.lines().any(|line| line.contains("succeeded") && line.contains("echo")), "{lines}");
    assert!(stderr(&output).starts_with("serving http://127.0.0.1:"), "{}", stderr(&output));
    assert!(stderr(&output).ends_with("ended: 1 succeeded\n"), "{}", stderr(&output));
}
