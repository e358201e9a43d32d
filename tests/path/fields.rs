//! Fields of operations on a local agent: what a process is given, what is prepared before it, and what is said of the rest.

use std::fs;

use serde_json::{Value, json};
use tidegate::domain::dispatch::history::{ConditionRow, RunRow};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::honour::NO_EFFECT;

use crate::site::{Server, Site};

/// Runs one operation on the queue `here/fast` to its end.
pub fn run(site: &Site, server: &Server, name: &str, operation: &Value) -> RunRow {
    site.write(&format!("projects/p/workflows/{name}.yaml"), &operation.to_string());
    let commit = site.push(name);
    server.until_seen(&commit);
    let problems: Vec<String> = server.0.diagnostics().iter().map(|problem| format!("{problem:?}")).collect();
    server.until(&format!("{name} ends: {problems:#?}"), |server| {
        server.runs().iter().any(|run| run.name == name && run.status.is_final())
    });
    server.runs().into_iter().find(|run| run.name == name).unwrap()
}

fn log(server: &Server, run: &RunRow) -> String {
    fs::read_to_string(server.0.log_file(run).unwrap()).unwrap_or_default()
}

fn notes(server: &Server, run: &RunRow) -> Vec<ConditionRow> {
    let conditions = server.0.engine().history().conditions(run.id).unwrap();
    conditions.into_iter().filter(|row| row.cause.as_ref().is_some_and(|cause| cause.reason == NO_EFFECT)).collect()
}

fn started() -> (Site, Server) {
    let site = Site::new();
    let first = site.push("first");
    let server = site.start();
    server.until_seen(&first);
    (site, server)
}

#[test]
fn inputs_reach_the_process_as_flags_arguments_variables_and_prepared_files() {
    let (site, server) = started();
    let operation = json!({
        "version": 1.1, "kind": "operation",
        "params": {"verbose": true, "note": {"value": "hi", "contextOnly": true, "toEnv": "NOTE"}},
        "component": {
            "inputs": [
                {"name": "verbose", "type": "bool", "isFlag": true},
                {"name": "quiet", "type": "bool", "isFlag": true, "value": false},
                {"name": "lr", "type": "float", "value": 0.5, "toEnv": "LR"},
                {"name": "alpha", "type": "int", "value": 2, "connection": "data"},
                {"name": "script", "type": "file", "toInit": true,
                 "value": {"filename": "it's.sh", "content": "echo from a file: $1", "chmod": "755"}},
            ],
            "plugins": {"logLevel": "DEBUG"},
            "run": {"kind": "job", "container": {
                "command": ["sh", "-c",
                    "echo \"[$1][$2][$3] lr=$LR note=$NOTE level=$POLYAXON_LOG_LEVEL\"; shift 3; echo \"$*\"; \
                     sh \"{{ globals.artifacts_path }}/it's.sh\" x; \
                     echo '{\"ok\": true}' > \"$TIDEGATE_OUTPUTS\"; touch {{ globals.run_outputs_path }}/model", "sh"],
                "args": ["{{ verbose }}", "{{ quiet }}", "{{ params.alpha.type }} {{ params.alpha.connection }}",
                    "{{ params.as_args }}"],
            }},
        },
    });
    let run = run(&site, &server, "inputs", &operation);
    assert_eq!(run.status, Status::Succeeded, "{:?}\n{}", run.cause, log(&server, &run));
    assert_eq!(run.outputs["ok"], true);
    let said = log(&server, &run);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "[--verbose][][int data] lr=0.5 note=hi level=DEBUG");
    // In the order in which they are declared.
    let arguments = lines[1].split(" --script").next().unwrap();
    assert_eq!(arguments, "--verbose --lr=0.5 --alpha=2");
    assert_eq!(lines[2], "from a file: x");
}

#[test]
fn steps_of_init_come_before_the_program_and_their_failure_is_its_end() {
    let (site, server) = started();
    let bare = site.bare();
    let operation = |inits: Value, command: &str| {
        json!({"version": 1.1, "kind": "component", "run": {"kind": "job", "init": inits,
            "container": {"command": ["sh", "-c", command], "workingDir": "{{ globals.artifacts_path }}/bare"}}})
    };
    let inits = json!([
        {"git": {"url": bare.to_str().unwrap(), "revision": "main"}},
        {"file": {"filename": "bare/extra", "content": "$(id) `id` ' \" \\ x"}},
        {"dockerfile": {"image": "python:3.12", "run": ["pip install x"]}, "path": "{{ globals.artifacts_path }}/bare"},
        {"container": {"command": ["sh", "-c", "echo $WHO > \"$0\"", "{{ globals.artifacts_path }}/bare/who"],
                       "env": [{"name": "WHO", "value": "init"}]}},
    ]);
    let good = run(&site, &server, "good", &operation(inits, "cat tidegate.yaml extra who Dockerfile"));
    let said = log(&server, &good);
    assert_eq!(good.status, Status::Succeeded, "{said}");
    let want =
        "version: 1.1\nkind: organization\nname: acme\n$(id) `id` ' \" \\ xinit\nFROM python:3.12\nRUN pip install x\n";
    assert!(said.ends_with(want), "{said}");

    let failing = json!([{"container": {"command": ["sh", "-c", "echo no; exit 7"]}}]);
    let bad = run(&site, &server, "bad", &operation(failing, "echo never"));
    assert_eq!((bad.status, bad.exit_code), (Status::Failed, Some(7)));
    assert_eq!(log(&server, &bad), "no\ninit[0] failed with exit code 7\n");
    let nothing = run(&site, &server, "store", &operation(json!([{"artifacts": {"files": ["a"]}}]), "true"));
    assert_eq!(nothing.status, Status::Failed);
    assert!(nothing.cause.unwrap().message.contains("needs a store of artifacts"));
}

#[test]
fn what_has_no_effect_is_warned_of_at_its_place_and_said_once_in_the_timeline() {
    let (site, server) = started();
    let operation = json!({
        "version": 1.1, "kind": "operation", "termination": {"maxRetries": 0},
        "plugins": {"tmux": true, "collectLogs": true},
        "component": {"run": {"kind": "service", "ports": [80], "environment": {"labels": {"a": "b"}},
            "container": {"image": "busybox", "command": ["true"]}, "sidecars": [{"image": "b"}]}},
    });
    let run = run(&site, &server, "quiet", &operation);
    assert_eq!(run.status, Status::Succeeded);
    let said: Vec<String> = notes(&server, &run).into_iter().map(|row| row.cause.unwrap().message).collect();
    let sorted = |list: &mut dyn Iterator<Item = String>| list.collect::<std::collections::BTreeSet<String>>();
    let warned = sorted(&mut server.0.diagnostics().iter().map(|problem| problem.message.clone()));
    assert_eq!(sorted(&mut said.iter().cloned()), warned, "the timeline says what the warnings said");
    let fields = ["plugins.tmux", "run.ports", "run.environment", "run.sidecars", "run.container.image"];
    assert_eq!(said.len(), fields.len(), "{said:#?}");
    for (field, message) in fields.iter().zip(&said) {
        assert!(message.starts_with(&format!("`{field}` has no effect on a local agent")), "{message}");
    }
    // Launched again by another server, it is not said again.
    drop(server);
    let server = site.start();
    server.until("the run is there", |server| !server.runs().is_empty());
    assert_eq!(notes(&server, &run).len(), fields.len());
}
