//! Matrices on the local agent: points as params, limits, searches that learn, searches inside graphs and around them.

use std::collections::BTreeSet;

use tidegate::domain::dispatch::status::Status;

use crate::{begun, children, ended, named, push, script, status, words};

/// A component with the inputs `lr` and `units` that reports `loss`.
const TRAIN: &str = r#"
component:
  inputs: [{name: lr, type: float, value: 1.0}, {name: units, type: int, value: 7}]
  outputs: [{name: loss, type: float}]
  run: {kind: job, container: {command: [sh, -ec], args: ['echo "{{ lr }} {{ units }}" >> LOG; echo "{\"loss\": {{ lr }}}" > "$TIDEGATE_OUTPUTS"']}}
"#;

fn train(log: &std::path::Path) -> String {
    TRAIN.replace("LOG", &log.display().to_string())
}

fn lines(log: &std::path::Path) -> Vec<String> {
    let mut lines: Vec<String> = std::fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_grid_gives_each_point_its_params_as_the_inputs_want_them() {
    let (site, server) = begun();
    let log = site.path().join("log");
    let matrix = "matrix:\n  kind: grid\n  concurrency: 2\n  params: {lr: {kind: choice, value: [0.1, 0.01]}, units: {kind: range, value: [1, 4, 1]}}\n";
    push(&site, "grid", &format!("{matrix}{}", train(&log)));
    let run = ended(&server, "grid");
    assert_eq!((run.status, &run.kind[..]), (Status::Succeeded, "matrix"));
    assert_eq!(lines(&log), ["0.01 1", "0.01 2", "0.01 3", "0.1 1", "0.1 2", "0.1 3"]);
    let all: Vec<(String, &str)> = (0..6).map(|i| (format!("grid-{i}"), "succeeded")).collect();
    assert_eq!(children(&server, &run), all);
}

#[test]
fn a_mapping_may_name_different_params_and_what_nothing_gives_fails_alone() {
    let (site, server) = begun();
    let operation = r#"
matrix: {kind: mapping, concurrency: 1, values: [{a: 1, b: 2}, {a: 3}, {a: 4, b: 5, c: 6}]}
component:
  inputs: [{name: a, type: int}, {name: b, type: int}]
  run: {kind: job, container: {command: ["test", "{{ a }}", "-lt", "{{ b }}"]}}
"#;
    push(&site, "map", operation);
    let run = ended(&server, "map");
    assert_eq!(run.cause.as_ref().unwrap().message, "1 of 3 runs failed");
    assert_eq!(children(&server, &run), words(&[("map-0", "succeeded"), ("map-1", "failed"), ("map-2", "succeeded")]));
    let why = named(&server, "map-1").unwrap().cause.unwrap().message;
    assert_eq!(why, "the input `b` has no default, and this point does not give it");
}

#[test]
fn hyperband_goes_through_its_brackets_also_when_the_server_restarts() {
    let (site, mut server) = begun();
    let log = site.path().join("log");
    let matrix = "matrix:\n  kind: hyperband\n  seed: 5\n  concurrency: 3\n  maxIterations: 9\n  eta: 3\n  resource: {name: units, type: int}\n  metric: {name: loss, optimization: minimize}\n  params: {lr: {kind: uniform, value: [0, 1]}}\n";
    push(&site, "band", &format!("{matrix}{}", train(&log)));
    let mut restarts = 0;
    while status(&server, "band").is_none_or(|status| !status.is_final()) {
        std::thread::sleep(std::time::Duration::from_millis(60));
        if restarts < 5 && server.runs().len() > restarts * 4 {
            restarts += 1;
            drop(server);
            server = site.start();
        }
    }
    let run = ended(&server, "band");
    assert_eq!(run.status, Status::Succeeded);
    assert!(restarts > 0, "it was interrupted");
    // R=9 η=3: 9 → 3 → 1, 5 → 1 (and one more rung of its own), 3: as the tables of the original.
    let lines = lines(&log);
    let of = |units: &str| lines.iter().filter(|line| line.ends_with(&format!(" {units}"))).count();
    assert_eq!((of("1"), of("3"), of("9")), (9, 3 + 5, 1 + 1 + 3), "{lines:#?}");
    let different: BTreeSet<&String> = lines.iter().collect();
    assert_eq!(different.len(), lines.len(), "no suggestion runs twice");
    let best: f64 =
        lines.iter().map(|line| line.split(' ').next().unwrap().parse::<f64>().unwrap()).fold(9.0, f64::min);
    assert_eq!(run.outputs["loss"].as_f64(), Some(best));
    assert_eq!(run.outputs["best"]["params"]["lr"].as_f64(), Some(best));
}

#[test]
fn a_search_in_a_graph_and_a_graph_in_a_search() {
    let (site, server) = begun();
    let log = site.path().join("log");
    let ok = script("true");
    let inner = train(&log).trim().replace('\n', "\n        ");
    let operation = format!(
        r#"
matrix: {{kind: mapping, concurrency: 2, values: [{{base: 1}}, {{base: 2}}]}}
component:
  inputs: [{{name: base, type: int}}]
  run:
    kind: dag
    operations:
      - {{name: before, component: {ok}}}
      - name: search
        dependencies: [before]
        params: {{units: {{ref: dag, value: inputs.base}}}}
        matrix: {{kind: bayes, seed: 3, numInitialRuns: 2, maxIterations: 2, metric: {{name: loss, optimization: minimize}}, params: {{lr: {{kind: uniform, value: [0, 1]}}}}}}
        {inner}
      - name: after
        params: {{loss: {{ref: ops.search, value: outputs.loss}}}}
        component:
          inputs: [{{name: loss, type: float}}]
          outputs: [{{name: seen, type: float}}]
          run: {{kind: job, container: {{command: [sh, -ec], args: ['echo "{{\"seen\": {{{{ loss }}}}}}" > "$TIDEGATE_OUTPUTS"']}}}}
"#
    );
    push(&site, "deep", &operation);
    let run = ended(&server, "deep");
    assert_eq!(run.status, Status::Succeeded, "{:#?}", server.runs());
    let runs = server.runs();
    let kinds = |kind: &str| runs.iter().filter(|run| run.kind == kind).count();
    // Two graphs of three, each with a search of four.
    assert_eq!((kinds("matrix"), kinds("dag"), kinds("job")), (3, 2, 2 * (1 + 4 + 1)));
    for (i, after) in runs.iter().filter(|run| run.name == "after").enumerate() {
        let graph = runs.iter().find(|run| Some(run.id) == after.parent).unwrap();
        let search = runs.iter().find(|run| run.name == "search" && run.parent == Some(graph.id)).unwrap();
        assert_eq!(after.outputs["seen"], search.outputs["loss"], "{i}");
    }
    assert_eq!(lines(&log).iter().filter(|line| line.ends_with(" 2")).count(), 4);
}

#[test]
fn a_good_enough_metric_or_too_many_failures_end_a_search_early() {
    let (site, server) = begun();
    let log = site.path().join("log");
    let stop = "earlyStopping: [{kind: metric_early_stopping, metric: loss, value: 0.5, optimization: minimize}]";
    let params = "{lr: {kind: choice, value: [0.9, 0.8, 0.4, 0.7, 0.6, 0.3, 0.2, 0.1]}}";
    let matrix = format!("matrix:\n  kind: grid\n  concurrency: 1\n  {stop}\n  params: {params}\n");
    push(&site, "enough", &format!("{matrix}{}", train(&log)));
    let run = ended(&server, "enough");
    assert_eq!(run.status, Status::Stopped);
    assert_eq!(run.cause.as_ref().unwrap().message, "`loss` is 0.4, and 0.5 is good enough");
    assert!(lines(&log).len() <= 5, "at most those that were under way: {:?}", lines(&log));

    let fails = script("exit 1");
    let stop = "earlyStopping: [{kind: failure_early_stopping, percent: 20}]";
    push(
        &site,
        "fails",
        &format!("matrix:\n  kind: grid\n  concurrency: 1\n  {stop}\n  params: {params}\ncomponent: {fails}\n"),
    );
    let run = ended(&server, "fails");
    assert_eq!(run.status, Status::Failed);
    assert_eq!(run.cause.as_ref().unwrap().message, "2 of 8 have failed, and 20 % are too many");
}

#[test]
fn a_tuner_of_ones_own_suggests_round_after_round_also_over_restarts() {
    let (site, mut server) = begun();
    let log = site.path().join("log");
    // Halves the best so far; its protocol is its inputs and the output `suggestions`.
    site.write(
        "components/halver.yaml",
        r#"version: 1.1
kind: component
name: halver
inputs:
  - {name: start, type: float}
  - {name: iteration, type: int}
  - {name: configs, type: dict, isList: true}
  - {name: metrics, type: float, isList: true}
run:
  kind: job
  container:
    command: [sh, -ec]
    args: ['if test {{ iteration }} = 0; then lr={{ start }}; else lr=$(echo "{{ metrics | last | default(0) }}" | awk "{print \$1 / 2}"); fi; echo "{\"suggestions\": [{\"lr\": $lr, \"units\": {{ configs | length }}}, {\"lr\": $lr, \"units\": 99}]}" > "$TIDEGATE_OUTPUTS"']
"#,
    );
    let matrix = "matrix:\n  kind: bayes\n  numInitialRuns: 1\n  maxIterations: 3\n  concurrency: 1\n  metric: {name: loss, optimization: minimize}\n  params: {lr: {kind: uniform, value: [0, 1]}}\n  utilityFunction: {acquisitionFunction: ucb, kappa: 1.0}\n  tuner: {hubRef: halver, params: {start: {value: 0.8}}}\n";
    push(&site, "own", &format!("{matrix}{}", train(&log)));
    let (mut restarts, begun) = (0, std::time::Instant::now());
    while status(&server, "own").is_none_or(|status| !status.is_final()) {
        std::thread::sleep(std::time::Duration::from_millis(80));
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "{:?}", server.0.diagnostics());
        if restarts < 4 && server.runs().len() > restarts * 2 {
            restarts += 1;
            drop(server);
            server = site.start();
        }
    }
    let run = ended(&server, "own");
    assert_eq!(run.status, Status::Succeeded, "{:?}", run.cause);
    assert_eq!(lines(&log), ["0.2 4", "0.2 99", "0.4 2", "0.4 99", "0.8 0", "0.8 99"]);
    let names: Vec<String> = children(&server, &run).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("own-tuner-")).count(), 3, "{names:?}");
    assert_eq!(run.outputs["loss"].as_f64(), Some(0.2));

    let iterative = "matrix: {kind: iterative, maxIterations: 2, params: {lr: {kind: uniform, value: [0, 1]}}, tuner: {hubRef: silent}}\n";
    site.write(
        "components/silent.yaml",
        "version: 1.1\nkind: component\nname: silent\nrun: {kind: job, container: {command: [\"true\"]}}\n",
    );
    push(&site, "nothing", &format!("{iterative}{}", train(&log)));
    let run = ended(&server, "nothing");
    let why = run.cause.unwrap().message;
    assert_eq!(
        (run.status, &why[..]),
        (Status::Failed, "the tuner has not reported `suggestions`, a list of mappings from params to values")
    );
}

#[test]
fn templates_in_a_matrix_are_filled_in_and_its_limit_holds() {
    let (site, server) = begun();
    let log = site.path().join("log");
    let operation = r#"
params: {lr: 0.5, units: 3, many: {value: 2, contextOnly: true}}
matrix: {kind: grid, concurrency: "{{ many }}", params: {seed: {kind: range, value: "0:{{ units }}:1"}}}
"#;
    let component = train(&log)
        .replace("inputs: [", "inputs: [{name: seed, type: int, value: 0}, ")
        .replace("{{ lr }} {{ units }}", "{{ lr }} {{ seed }}");
    push(&site, "filled", &format!("{operation}{component}"));
    let run = ended(&server, "filled");
    assert_eq!(run.status, Status::Succeeded, "{:?}", run.cause);
    assert_eq!(lines(&log), ["0.5 0", "0.5 1", "0.5 2"]);
}

#[test]
fn hyperband_with_resume_goes_on_from_the_runs_that_it_keeps() {
    let (site, server) = begun();
    let log = site.path().join("log");
    let script = r#"seen=$(cat "${TIDEGATE_PREVIOUS:-/nowhere}/epochs" 2>/dev/null || echo 0); echo "{{ units }} $seen" >> LOG; echo {{ units }} > epochs; echo "{\"loss\": {{ lr }}}" > "$TIDEGATE_OUTPUTS""#;
    let operation = format!(
        "matrix: {{kind: hyperband, resume: true, seed: 5, concurrency: 3, maxIterations: 9, eta: 3, resource: {{name: units, type: int}}, metric: {{name: loss, optimization: minimize}}, params: {{lr: {{kind: uniform, value: [0, 1]}}}}}}\ncomponent:\n  inputs: [{{name: lr, type: float}}, {{name: units, type: int}}]\n  run: {{kind: job, container: {{command: [sh, -ec], args: ['{}']}}}}\n",
        script.replace("LOG", &log.display().to_string()).replace('\'', "''")
    );
    push(&site, "resumes", &operation);
    assert_eq!(ended(&server, "resumes").status, Status::Succeeded);
    let lines = lines(&log);
    let count = |line: &str| lines.iter().filter(|other| *other == line).count();
    // 9 → 3 → 1; 5 → 1; 3.
    assert_eq!((count("1 0"), count("3 1"), count("9 3"), count("3 0"), count("9 0")), (9, 3, 2, 5, 3), "{lines:#?}");
}

#[test]
fn a_policy_stops_the_runs_that_do_badly_beside_the_others_while_they_run() {
    let (site, mut server) = begun();
    let log = site.path().join("log");
    // Each reports its own loss ten times; the median of the others stops the bad ones long before their end.
    let script = r#"for i in $(seq 60); do echo "{\"loss\": {{ lr }}}" >> "$TIDEGATE_METRICS"; sleep 0.1; done; echo {{ lr }} >> LOG; echo "{\"loss\": {{ lr }}}" > "$TIDEGATE_OUTPUTS""#;
    let operation = format!(
        "matrix:\n  kind: grid\n  concurrency: 4\n  earlyStopping: [{{kind: metric_early_stopping, metric: loss, value: 0, optimization: minimize, policy: {{kind: median, evaluationInterval: 1, minInterval: 5, minSamples: 3}}}}]\n  params: {{lr: {{kind: choice, value: [0.1, 0.1, 0.1, 0.9]}}}}\ncomponent:\n  inputs: [{{name: lr, type: float}}]\n  run: {{kind: job, container: {{command: [sh, -ec], args: ['{}']}}}}\n",
        script.replace("LOG", &log.display().to_string()).replace('\'', "''")
    );
    push(&site, "curves", &operation);
    server.until("they run", |server| status(server, "curves-3") == Some(Status::Running));
    // What was reported is read again by the next server.
    drop(server);
    server = site.start();
    let run = ended(&server, "curves");
    assert_eq!(run.status, Status::Succeeded, "{:?}", run.cause);
    let expected =
        [("curves-0", "succeeded"), ("curves-1", "succeeded"), ("curves-2", "succeeded"), ("curves-3", "stopped")];
    assert_eq!(children(&server, &run), words(&expected));
    let timeline = server.0.engine().history().conditions(named(&server, "curves-3").unwrap().id).unwrap();
    let why =
        timeline.into_iter().filter_map(|line| line.cause).find(|cause| cause.reason == "MetricEarlyStopping").unwrap();
    assert!(
        why.message.starts_with("its `loss` of 0.9 at step ")
            && why.message.ends_with("is worse than the median of the others"),
        "{why:?}"
    );
    assert_eq!(lines(&log), ["0.1", "0.1", "0.1"]);
}
