//! Nested limits and kill -9, with real processes. What the processes write themselves is the witness.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tidegate::domain::dispatch::status::Status;

use crate::process::{Pauses, ServerProcess};
use crate::site::{Site, queue};
use crate::{begun, ended, push};

/// A script that writes when it starts and when it ends, each in one write.
fn witness(log: &std::path::Path, seconds: &str) -> String {
    crate::script(&format!(
        "echo start $(date +%s%N) >> {0}; sleep {seconds}; echo end $(date +%s%N) >> {0}",
        log.display()
    ))
}

/// The most at once, and the share of so many slots that was in use between the first start and the last one.
fn usage(log: &std::path::Path, slots: i128) -> (i128, f64) {
    let text = std::fs::read_to_string(log).unwrap();
    let mut moments: Vec<(i128, i128)> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(what, at)| (at.parse().unwrap(), if what == "start" { 1 } else { -1 }))
        .collect();
    // At equal times the end counts first: the records overlap less than the processes did.
    moments.sort_unstable();
    let last = moments.iter().filter(|(_, change)| *change == 1).map(|(at, _)| *at).max().unwrap();
    let (mut now, mut most, mut used, mut before) = (0, 0, 0, moments[0].0);
    for (at, change) in &moments {
        used += now * (at.min(&last) - before).max(0);
        before = *at;
        now += change;
        most = most.max(now);
    }
    (most, used as f64 / (slots * (last - moments[0].0)) as f64)
}

#[test]
fn five_nested_graphs_stay_within_their_controllers_four_and_use_them() {
    let (site, server) = begun();
    let log = site.path().join("log");
    let job = witness(&log, "0.4");
    let leaves: String = (0..8).map(|i| format!("\n              - {{name: n{i}, component: {job}}}")).collect();
    let nested: String = (0..5)
        .map(|i| format!("\n      - name: p{i}\n        component:\n          run:\n            kind: dag\n            concurrency: 8\n            operations: {leaves}"))
        .collect();
    push(
        &site,
        "five",
        &format!(
            "queue: here/default\ncomponent:\n  run:\n    kind: dag\n    concurrency: 4\n    operations: {nested}\n"
        ),
    );
    let mut beyond = 0;
    server.until("it ends", |server| {
        let runs = server.runs();
        let queued = |status: Status| status == Status::Queued || status.holds_slot();
        beyond = beyond.max(runs.iter().filter(|run| run.kind == "job" && queued(run.status)).count());
        runs.iter().any(|run| run.name == "five" && run.status.is_final())
    });
    assert_eq!(ended(&server, "five").status, Status::Succeeded);
    assert_eq!(beyond, 4, "never more than four are queued or beyond");
    let (most, share) = usage(&log, 4);
    println!(
        "controller 4, five nested graphs of 8: at most {most} at once, {:.1} % of the limit in use",
        share * 100.0
    );
    assert_eq!(most, 4);
    assert!(share > 0.8, "{share} of the limit is in use, although processes take time to start");
}

#[test]
fn kill_dash_nine_in_the_middle_of_a_hyperband() {
    let site = Site::new();
    site.write("queues/here/fast.yaml", &queue("fast", 3));
    site.push("first");
    let mut server = ServerProcess::start(&site);
    server.until_applied(&site);
    let log = site.path().join("log");
    let operation = format!(
        r#"queue: here/fast
matrix:
  kind: hyperband
  seed: 5
  concurrency: 3
  maxIterations: 9
  eta: 3
  resource: {{name: units, type: int}}
  metric: {{name: loss, optimization: minimize}}
  params: {{lr: {{kind: uniform, value: [0, 1]}}}}
component:
  inputs: [{{name: lr, type: float}}, {{name: units, type: int}}]
  run: {{kind: job, container: {{command: [sh, -ec], args: ['echo "{{{{ units }}}} {{{{ lr }}}} $TIDEGATE_RUN" >> {}; sleep 0.1; echo "{{\"loss\": {{{{ lr }}}}}}" > "$TIDEGATE_OUTPUTS"']}}}}
"#,
        log.display()
    );
    push(&site, "band", &operation);
    let (mut kills, mut pauses, begun) = (0, Pauses::new(), Instant::now());
    let run = loop {
        let runs = server.ask(&["ops", "ls", "--name", "band", "--limit", "1000"]);
        let band = runs.as_array().into_iter().flatten().find(|run| run["name"] == "band").cloned();
        if let Some(band) =
            band.filter(|run| ["succeeded", "failed", "stopped"].iter().any(|word| run["status"] == *word))
        {
            break band;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{runs:#}");
        pauses.sleep();
        if kills < 12 {
            server.kill_and_restart(&site);
            kills += 1;
        }
    };
    assert_eq!(run["status"], "succeeded");
    let shown = server.ask(&["ops", "get", run["uuid"].as_str().unwrap()]);
    drop(server);
    let text = std::fs::read_to_string(&log).unwrap();
    let mut rungs: BTreeMap<&str, usize> = BTreeMap::new();
    text.lines().for_each(|line| *rungs.entry(line.split(' ').next().unwrap()).or_default() += 1);
    // R=9 η=3: 9 → 3 → 1; 5 → 1; 3.
    assert_eq!(rungs, BTreeMap::from([("1", 9), ("3", 3 + 5), ("9", 1 + 1 + 3)]), "{kills} kills:\n{text}");
    let suggestions: BTreeSet<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(suggestions.len(), text.lines().count(), "no suggestion runs twice");
    assert!(kills > 0);
    let best = &shown["pipeline"]["best"][0];
    let least = text.lines().map(|line| line.split(' ').nth(1).unwrap().parse::<f64>().unwrap()).fold(9.0, f64::min);
    assert_eq!((best["value"].as_f64(), best["params"]["lr"].as_f64()), (Some(least), Some(least)));
    assert_eq!(shown["pipeline"]["total"], 9 + 3 + 1 + 5 + 1 + 3);
}
