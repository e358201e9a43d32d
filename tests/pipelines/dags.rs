//! Graphs of operations on the local agent.

use tidegate::domain::dispatch::status::Status;

use crate::{begun, children, ended, named, push, script, status, words};

#[test]
fn outputs_become_params_and_the_order_is_that_of_the_graph() {
    let (site, server) = begun();
    let log = site.path().join("order");
    let say = |name: &str, more: &str| script(&format!("echo {name} >> {}; {more}", log.display()));
    let operation = format!(
        r#"
component:
  inputs: [{{name: base, type: int, value: 40}}]
  outputs: [{{name: best, type: int, value: "{{{{ ops.sum.outputs.total }}}}"}}]
  run:
    kind: dag
    components:
      - name: add
        inputs: [{{name: a, type: int}}, {{name: b, type: int, value: 1}}]
        outputs: [{{name: total, type: int}}]
        run: {{kind: job, container: {{command: [sh, -ec], args: ['echo add >> {log}; echo "{{\"total\": $(({{{{ a }}}} + {{{{ b }}}}))}}" > "$TIDEGATE_OUTPUTS"']}}}}
    operations:
      - name: sum
        dagRef: add
        params: {{a: {{ref: ops.one, value: outputs.total}}, b: "{{{{ ops.one.outputs.total }}}}"}}
      - name: one
        dagRef: add
        params: {{a: {{ref: dag, value: inputs.base}}}}
      - name: last
        dependencies: [sum]
        component: {last}
"#,
        log = log.display(),
        last = say("last", "true"),
    );
    push(&site, "adds", &operation);
    let run = ended(&server, "adds");
    assert_eq!((run.status, &run.kind[..]), (Status::Succeeded, "dag"));
    assert_eq!(children(&server, &run), words(&[("last", "succeeded"), ("one", "succeeded"), ("sum", "succeeded")]));
    assert_eq!(named(&server, "sum").unwrap().outputs["total"], 82);
    assert_eq!(run.outputs["best"], 82);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "add\nadd\nlast\n");
}

#[test]
fn failures_skips_triggers_and_conditions_go_down_the_graph() {
    let (site, server) = begun();
    let (ok, bad) = (script("true"), script("exit 3"));
    let operation = format!(
        r#"
component:
  run:
    kind: dag
    operations:
      - {{name: good, component: {ok}}}
      - {{name: bad, component: {bad}}}
      - {{name: after-bad, dependencies: [bad, good], component: {ok}}}
      - {{name: far-behind, dependencies: [after-bad], component: {ok}}}
      - {{name: cleanup, dependencies: [after-bad], trigger: all_done, component: {ok}}}
      - {{name: alarm, dependencies: [bad, good], trigger: one_failed, component: {ok}}}
      - {{name: not-now, conditions: "{{{{ 1 > 2 }}}}", dependencies: [good], component: {ok}}}
      - {{name: after-skip, dependencies: [not-now], component: {ok}}}
      - {{name: skips-too, dependencies: [not-now], skipOnUpstreamSkip: true, component: {ok}}}
      - {{name: all-bad, dependencies: [bad], trigger: all_failed, component: {ok}}}
      - {{name: first-done, dependencies: [bad, good], trigger: one_done, component: {ok}}}
"#
    );
    push(&site, "triggers", &operation);
    let run = ended(&server, "triggers");
    assert_eq!(run.status, Status::Failed);
    assert_eq!(run.cause.as_ref().unwrap().message, "1 of 11 operations failed: bad");
    let expected = [
        ("after-bad", "upstream_failed"),
        ("after-skip", "succeeded"),
        ("alarm", "succeeded"),
        ("all-bad", "succeeded"),
        ("bad", "failed"),
        ("cleanup", "succeeded"),
        ("far-behind", "upstream_failed"),
        ("first-done", "succeeded"),
        ("good", "succeeded"),
        ("not-now", "skipped"),
        ("skips-too", "skipped"),
    ];
    assert_eq!(children(&server, &run), words(&expected));
    let why = |name| named(&server, name).unwrap().cause.unwrap().message;
    assert_eq!(why("after-bad"), "`bad` ended failed, and this starts when all before it have succeeded");
    assert_eq!(why("skips-too"), "`not-now`, before it, was skipped");
}

#[test]
fn a_graph_in_a_graph_keeps_both_limits_and_stops_as_a_whole() {
    let (site, server) = begun();
    let wait = script(&format!("while ! test -e {}/go; do sleep 0.02; done", site.path().display()));
    let many =
        |n: usize| -> String { (0..n).map(|i| format!("\n          - {{name: n{i}, component: {wait}}}")).collect() };
    let operation = format!(
        r#"
component:
  run:
    kind: dag
    concurrency: 3
    operations:
      - {{name: alone, component: {wait}}}
      - name: inner
        component:
          run:
            kind: dag
            concurrency: 2
            operations: {many}
"#,
        many = many(6).replace("\n          -", "\n              -"),
    );
    push(&site, "nested", &operation);
    let running = |server: &crate::Server| {
        let runs = server.runs();
        runs.iter().filter(|run| run.kind == "job" && run.status == Status::Running).count()
    };
    server.until("three run", |server| running(server) == 3);
    let inner = named(&server, "inner").unwrap();
    let beyond = |server: &crate::Server| {
        let waits = |status| matches!(status, Status::Created | Status::Compiled);
        let leaves = server.runs().into_iter().filter(|run| run.kind == "job");
        leaves.filter(|run| !run.status.is_final() && !waits(run.status)).count()
    };
    assert_eq!(beyond(&server), 3, "one alone and two of the inner graph");
    let (root, id) = (named(&server, "nested").unwrap(), inner.id);
    server
        .0
        .engine()
        .ask_blocking(
            tidegate::domain::dispatch::command::Command::Stop { run: root.id, by: "ann".to_owned() },
            Vec::new(),
        )
        .unwrap();
    let root = ended(&server, "nested");
    assert_eq!(root.status, Status::Stopped);
    assert_eq!(status(&server, "inner"), Some(Status::Stopped));
    assert!(server.runs().iter().filter(|run| run.parent == Some(id)).all(|run| run.status == Status::Stopped));
    assert_eq!(server.0.engine().read(|state| state.runs().count()), 0);
}

#[test]
fn a_restart_goes_on_where_the_graph_was() {
    let (site, server) = begun();
    let go = site.path().join("go");
    let wait = script(&format!(
        "echo $TIDEGATE_RUN >> {0}/starts; while ! test -e {0}/go; do sleep 0.02; done",
        site.path().display()
    ));
    let chain: String =
        (1..30).map(|i| format!("\n      - {{name: n{i}, dependencies: [n{}], component: {wait}}}", i - 1)).collect();
    let operation =
        format!("component:\n  run:\n    kind: dag\n    operations:\n      - {{name: n0, component: {wait}}}{chain}\n");
    push(&site, "chain", &operation);
    server.until("the first runs", |server| status(server, "n0") == Some(Status::Running));
    drop(server);
    std::fs::write(&go, "").unwrap();
    for _ in 0..4 {
        let server = site.start();
        std::thread::sleep(std::time::Duration::from_millis(150));
        drop(server);
    }
    let server = site.start();
    let run = ended(&server, "chain");
    assert_eq!(run.status, Status::Succeeded);
    let starts = std::fs::read_to_string(site.path().join("starts")).unwrap();
    let unique: std::collections::BTreeSet<&str> = starts.lines().collect();
    assert_eq!((starts.lines().count(), unique.len()), (30, 30), "each starts once");
}

#[test]
fn a_value_that_nobody_reported_fails_what_needs_it() {
    let (site, server) = begun();
    let ok = script("true");
    let operation = format!(
        r#"
component:
  run:
    kind: dag
    operations:
      - name: silent
        component:
          outputs: [{{name: loss, type: float}}]
          run: {{kind: job, container: {{command: ["true"]}}}}
      - name: needs
        params: {{loss: {{ref: ops.silent, value: outputs.loss}}}}
        component:
          inputs: [{{name: loss, type: float}}]
          run: {{kind: job, container: {{command: ["true"]}}}}
      - {{name: behind, dependencies: [needs], component: {ok}}}
"#
    );
    push(&site, "silence", &operation);
    let run = ended(&server, "silence");
    assert_eq!(run.status, Status::Failed);
    let needs = named(&server, "needs").unwrap();
    assert_eq!((needs.status, needs.attempt.0), (Status::Failed, 0));
    assert_eq!(needs.cause.unwrap().message, "`loss` is `outputs.loss` of `silent`, which has no such value");
    assert_eq!(status(&server, "behind"), Some(Status::UpstreamFailed));
}

#[test]
fn outputs_that_are_known_beforehand_are_there_unless_others_are_reported() {
    let (site, server) = begun();
    let operation = r#"
component:
  run:
    kind: dag
    components:
      - name: made
        outputs: [{name: given, type: int}, {name: usual, type: str, value: none}, {name: said, type: int, value: 1}]
        run: {kind: job, container: {command: [sh, -ec], args: ['echo "{\"said\": 2}" > "$TIDEGATE_OUTPUTS"']}}
    operations:
      - {name: first, dagRef: made, params: {given: {value: 7}}}
      - name: second
        params:
          given: {ref: ops.first, value: outputs.given}
          usual: {ref: ops.first, value: outputs.usual}
          said: {ref: ops.first, value: outputs.said}
        component:
          inputs: [{name: given, type: int}, {name: usual, type: str}, {name: said, type: int}]
          run: {kind: job, container: {command: [sh, -ec], args: ['echo "{\"all\": \"{{ given }} {{ usual }} {{ said }}\"}" > "$TIDEGATE_OUTPUTS"']}}
"#;
    push(&site, "known", operation);
    let run = ended(&server, "known");
    assert_eq!(run.status, Status::Succeeded, "{:?}", run.cause);
    assert_eq!(named(&server, "second").unwrap().outputs["all"], "7 none 2");
}
