//! Runs and pipelines that are told to go on, to run again, or have had their time.

use tidegate::control::{Again, StartRequest, StartSource};
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::history::RunRow;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::RunId;

use crate::{Server, begun, children, ended, named, push, script, words};

fn resume(server: &Server, run: RunId) -> Result<bool, String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(server.0.resume_run(run, "ann")).map_err(|error| error.to_string())
}

fn again(server: &Server, run: RunId, how: Again) -> RunId {
    let source = StartSource::Run { run, how };
    let (project, params) = Default::default();
    let request = StartRequest { id: None, project, source, params, queue: None, name: None, presets: Vec::new() };
    tokio::runtime::Runtime::new().unwrap().block_on(server.0.start_run(request, "ann")).unwrap()
}

fn stop(server: &Server, run: RunId) {
    server.0.engine().ask_blocking(Command::Stop { run, by: "ann".to_owned() }, Vec::new()).unwrap();
}

fn row(server: &Server, run: RunId) -> RunRow {
    server.0.engine().history().run(run).unwrap().unwrap()
}

fn until_final(server: &Server, run: RunId) -> RunRow {
    server.until("it ends", |server| row(server, run).status.is_final());
    row(server, run)
}

/// A graph `a → b → c`, with `d` beside them; `b` fails until there is a file.
const GRAPH: &str = r#"
component:
  run:
    kind: dag
    operations:
      - {name: a, component: SAY}
      - {name: b, dependencies: [a], component: TRY}
      - {name: c, dependencies: [b], component: SAY}
      - name: inner
        component:
          run:
            kind: dag
            operations:
              - {name: x, component: SAY}
              - {name: y, component: TRY}
"#;

#[test]
fn a_graph_goes_on_with_what_had_not_succeeded_also_over_restarts() {
    let (site, server) = begun();
    let (log, mend) = (site.path().join("log"), site.path().join("mended"));
    let say = script(&format!("echo $TIDEGATE_RUN $TIDEGATE_ATTEMPT >> {}", log.display()));
    let try_ = script(&format!(
        "echo $TIDEGATE_RUN $TIDEGATE_ATTEMPT >> {}; sleep 0.05; test -e {}",
        log.display(),
        mend.display()
    ));
    push(&site, "goes-on", &GRAPH.replace("SAY", &say).replace("TRY", &try_));
    let run = ended(&server, "goes-on");
    assert_eq!(run.status, Status::Failed);
    let first = words(&[("a", "succeeded"), ("b", "failed"), ("c", "upstream_failed"), ("inner", "failed")]);
    assert_eq!(children(&server, &run), first);
    let lines = || std::fs::read_to_string(&log).unwrap().lines().count();
    assert_eq!(lines(), 4, "a, b, x, y");

    assert!(resume(&server, named(&server, "b").unwrap().id).unwrap_err().contains("resume that"));
    assert_eq!(resume(&server, run.id), Ok(true));
    let once_more = until_final(&server, run.id);
    assert_eq!((once_more.status, children(&server, &once_more)), (Status::Failed, first), "nothing was mended");
    assert_eq!(lines(), 6, "b and y once more");

    std::fs::write(&mend, "").unwrap();
    let b = named(&server, "b").unwrap();
    assert_eq!(resume(&server, run.id), Ok(true));
    // Asked twice, and with a server that stops and starts while it goes on.
    let _ = resume(&server, run.id);
    drop(server);
    let server = site.start();
    let last = until_final(&server, run.id);
    assert_eq!(last.status, Status::Succeeded);
    let all = words(&[("a", "succeeded"), ("b", "succeeded"), ("c", "succeeded"), ("inner", "succeeded")]);
    assert_eq!(children(&server, &last), all);
    assert_eq!(lines(), 9, "b, c and y, and nothing that had succeeded: {}", std::fs::read_to_string(&log).unwrap());
    let text = std::fs::read_to_string(&log).unwrap();
    let attempts: std::collections::BTreeSet<&str> = text.lines().collect();
    assert_eq!(attempts.len(), 9, "no attempt runs twice");
    assert_eq!((row(&server, b.id).attempt.0, row(&server, run.id).created_at), (3, run.created_at));
    let timeline = server.0.engine().history().conditions(run.id).unwrap();
    let resumed = timeline.iter().filter(|line| line.cause.as_ref().is_some_and(|cause| cause.reason == "Resumed"));
    assert_eq!(resumed.count(), 2);
    assert!(resume(&server, run.id).unwrap_err().contains("has succeeded"));
}

#[test]
fn a_sweep_that_was_stopped_goes_on_where_it_was_and_restarts_from_the_beginning() {
    let (site, server) = begun();
    let (log, go) = (site.path().join("log"), site.path().join("go"));
    let values: Vec<String> = (0..6).map(|i| format!("{{a: {i}}}")).collect();
    let operation = format!(
        "matrix: {{kind: mapping, concurrency: 2, values: [{}]}}\ncomponent:\n  inputs: [{{name: a, type: int}}]\n  run: {{kind: job, container: {{command: [sh, -ec], args: ['if test {{{{ a }}}} -gt 1; then while ! test -e {}; do sleep 0.02; done; fi; echo {{{{ a }}}} >> {}']}}}}\n",
        values.join(", "),
        go.display(),
        log.display()
    );
    push(&site, "sweep", &operation);
    server.until("the third runs", |server| crate::status(server, "sweep-2") == Some(Status::Running));
    let run = named(&server, "sweep").unwrap();
    stop(&server, run.id);
    assert_eq!(until_final(&server, run.id).status, Status::Stopped);
    std::fs::write(&go, "").unwrap();
    assert_eq!(resume(&server, run.id), Ok(true));
    assert_eq!(until_final(&server, run.id).status, Status::Succeeded);
    let lines = || {
        let text = std::fs::read_to_string(&log).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(), ["0", "1", "2", "3", "4", "5"]);
    for how in [Again::Restart, Again::Copy] {
        std::fs::remove_file(&log).unwrap();
        let new = again(&server, run.id, how);
        assert_ne!(new, run.id);
        assert_eq!(until_final(&server, new).status, Status::Succeeded);
        assert_eq!(lines(), ["0", "1", "2", "3", "4", "5"], "{how:?}: all of it, once");
        assert_eq!(children(&server, &row(&server, new)).len(), 6);
    }
}

#[test]
fn a_lone_run_goes_on_as_itself_with_its_attempts_counted_further() {
    let (site, server) = begun();
    let mend = site.path().join("mended");
    let component = script(&format!("test -e {}", mend.display()));
    push(&site, "lone", &format!("component: {component}\n"));
    let run = ended(&server, "lone");
    assert_eq!((run.status, run.attempt.0), (Status::Failed, 1));
    std::fs::write(&mend, "").unwrap();
    assert_eq!(resume(&server, run.id), Ok(true));
    let later = until_final(&server, run.id);
    assert_eq!((later.status, later.attempt.0, later.created_at), (Status::Succeeded, 2, run.created_at));
    assert_eq!(server.runs().len(), 1);
    // What has succeeded may go on too: it is the same run, and may have more to do.
    assert_eq!(resume(&server, run.id), Ok(true));
    assert_eq!(until_final(&server, run.id).attempt.0, 3);
}

#[test]
fn a_pipeline_ends_with_all_below_it_when_its_time_is_over() {
    let (site, server) = begun();
    let wait = script("sleep 60");
    let operation = format!(
        r#"
termination: {{timeout: 2}}
component:
  run:
    kind: dag
    operations:
      - {{name: quick, component: {quick}}}
      - name: deep
        termination: {{timeout: 600}}
        component:
          run:
            kind: dag
            operations:
              - {{name: long, termination: {{timeout: 600}}, component: {wait}}}
              - {{name: later, dependencies: [long], component: {wait}}}
"#,
        quick = script("true"),
    );
    push(&site, "late", &operation);
    server.until("the long one runs", |server| crate::status(server, "long") == Some(Status::Running));
    // The time goes on while the server does not.
    drop(server);
    let server = site.start();
    let run = ended(&server, "late");
    let cause = run.cause.clone().unwrap();
    assert_eq!((run.status, &cause.reason[..]), (Status::Failed, "DeadlineExceeded"));
    assert_eq!(cause.message, "it took longer than its timeout of 2s");
    assert_eq!(children(&server, &run), words(&[("deep", "stopped"), ("quick", "succeeded")]));
    assert_eq!(crate::status(&server, "long"), Some(Status::Stopped));
    assert_eq!(server.0.engine().read(|state| state.runs().count()), 0);
}
