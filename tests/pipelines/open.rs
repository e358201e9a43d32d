//! Operations by themselves that hang on other runs: conditions, values of earlier runs, events of running ones.

use tidegate::domain::dispatch::status::Status;

use crate::{Server, begun, ended, named, push, script, status};

#[test]
fn a_condition_decides_whether_a_lone_operation_runs() {
    let (site, server) = begun();
    let component = "{inputs: [{name: n, type: int, value: 3}], run: {kind: job, container: {command: [\"true\"]}}}";
    for (name, condition, expected) in [
        ("goes", "{{ n > 2 }}", Status::Succeeded),
        ("rests", "{{ n > 3 }}", Status::Skipped),
        ("neither", "n > 3", Status::Failed),
    ] {
        push(&site, name, &format!("conditions: \"{condition}\"\ncomponent: {component}\n"));
        let run = ended(&server, name);
        assert_eq!(run.status, expected, "{name}: {:?}", run.cause);
        assert_eq!(run.attempt.0 > 0, expected == Status::Succeeded);
    }
    assert_eq!(named(&server, "rests").unwrap().cause.unwrap().reason, "ConditionsCheckFailed");
    // A graph as a whole, too.
    let graph = format!(
        "conditions: \"false\"\ncomponent: {{run: {{kind: dag, operations: [{{name: a, component: {}}}]}}}}\n",
        script("true")
    );
    push(&site, "graph", &graph);
    assert_eq!((ended(&server, "graph").status, status(&server, "a")), (Status::Skipped, None));
}

#[test]
fn values_of_an_earlier_run_are_taken_when_it_has_ended_and_are_kept() {
    let (site, server) = begun();
    let go = site.path().join("go");
    let first = script(&format!(
        "while ! test -e {}; do sleep 0.02; done; echo '{{\"loss\": 0.5}}' > \"$TIDEGATE_OUTPUTS\"",
        go.display()
    ));
    push(&site, "first", &format!("component: {first}\n"));
    server.until("it runs", |server| status(server, "first") == Some(Status::Running));
    let of = named(&server, "first").unwrap().id;
    let second = format!(
        "params: {{loss: {{ref: runs.{of}, value: outputs.loss}}}}\ncomponent:\n  inputs: [{{name: loss, type: float}}]\n  run: {{kind: job, container: {{command: [sh, -ec], args: ['echo \"{{\\\"seen\\\": {{{{ loss }}}}}}\" > \"$TIDEGATE_OUTPUTS\"']}}}}\n"
    );
    push(&site, "second", &second);
    server.until("it is there", |server| status(server, "second") == Some(Status::Created));
    drop(server);
    let server = site.start();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(status(&server, "second"), Some(Status::Created), "it waits, also after a restart");
    std::fs::write(&go, "").unwrap();
    let run = ended(&server, "second");
    assert_eq!((run.status, run.outputs["seen"].as_f64()), (Status::Succeeded, Some(0.5)));
    let body = server.0.engine().history().body(run.spec).unwrap().unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(kept["inputs"]["loss"], 0.5, "what it took is pinned with it");

    let nobody = second.replace(&of.to_string(), "00000000-0000-4000-8000-000000000000");
    push(&site, "third", &nobody);
    let run = ended(&server, "third");
    assert_eq!((run.status, run.attempt.0), (Status::Failed, 0));
}

#[test]
fn an_event_of_another_run_starts_one() {
    let (site, server) = begun();
    let go = site.path().join("go");
    let wait = script(&format!("while ! test -e {}; do sleep 0.02; done", go.display()));
    site.workflow("slow", "here/slow", "sleep 0.3");
    push(&site, "blocker", &format!("queue: here/slow\ncomponent: {wait}\n"));
    server.until("it runs", |server| {
        status(server, "blocker") == Some(Status::Running) || status(server, "slow") == Some(Status::Running)
    });
    server.until("it runs", |server| status(server, "blocker") == Some(Status::Running));
    // In a queue of one, this waits; what listens to it waits with it.
    push(&site, "main", &format!("queue: here/slow\ncomponent: {wait}\n"));
    server.until("it is there", |server| named(server, "main").is_some());
    let of = named(&server, "main").unwrap().id;
    let ok = script("true");
    push(&site, "board", &format!("events: [{{kinds: [run_status_running], ref: runs.{of}}}]\ncomponent: {ok}\n"));
    push(&site, "failure", &format!("events: [{{kinds: [run_status_failed], ref: runs.{of}}}]\ncomponent: {ok}\n"));
    server.until("they are there", |server| named(server, "failure").is_some());
    std::thread::sleep(std::time::Duration::from_millis(200));
    let waits = |server: &Server, name| status(server, name) == Some(Status::Created);
    assert!(waits(&server, "board") && waits(&server, "failure"));
    std::fs::write(&go, "").unwrap();
    assert_eq!(ended(&server, "board").status, Status::Succeeded);
    let failure = ended(&server, "failure");
    assert_eq!(failure.status, Status::UpstreamFailed);
    assert!(failure.cause.unwrap().message.ends_with("ended succeeded, and this starts at another of its events"));
}

#[test]
fn a_join_gives_lists_of_what_earlier_runs_came_to_in_and_outside_of_graphs() {
    let (site, server) = begun();
    for (name, loss) in [("one", "0.3"), ("two", "0.1"), ("three", "0.2")] {
        let report = script(&format!("echo '{{\"loss\": {loss}}}' > \"$TIDEGATE_OUTPUTS\""));
        push(&site, name, &format!("tags: [trained]\ncomponent: {report}\n"));
        assert_eq!(ended(&server, name).status, Status::Succeeded);
    }
    let join = "joins: [{query: \"status:succeeded, tags:trained\", sort: metrics.loss, limit: 2, params: {losses: {value: outputs.loss}, who: {value: globals.name, contextOnly: true}}}]";
    let component = "{inputs: [{name: losses, type: float, isList: true}], run: {kind: job, container: {command: [sh, -ec], args: ['echo \"{\\\"seen\\\": {{ losses }}, \\\"best\\\": \\\"{{ who[0] }}\\\"}\" > \"$TIDEGATE_OUTPUTS\"']}}}";
    push(&site, "report", &format!("{join}\ncomponent: {component}\n"));
    let run = ended(&server, "report");
    assert_eq!(run.status, Status::Succeeded, "{:?}", run.cause);
    assert_eq!((run.outputs["seen"].to_string(), run.outputs["best"].as_str()), ("[0.1,0.2]".to_owned(), Some("two")));
    let graph = format!(
        "component:\n  run:\n    kind: dag\n    operations:\n      - name: first\n        component: {}\n      - name: inside\n        dependencies: [first]\n        {join}\n        component: {component}\n",
        script("true")
    );
    push(&site, "graph", &graph);
    assert_eq!(ended(&server, "graph").status, Status::Succeeded);
    assert_eq!(named(&server, "inside").unwrap().outputs["seen"].to_string(), "[0.1,0.2]");

    push(&site, "wrong", &format!("{}\ncomponent: {component}\n", join.replace("status:succeeded", "colour:red")));
    server
        .until("it is told", |server| server.0.diagnostics().iter().any(|problem| problem.message.contains("colour")));
}
