//! What runs print while they run: objects of JSON among the lines of their logs are what policies of early stopping judge.

use tidegate::domain::dispatch::status::Status;

use crate::injector::Injector;
use crate::network::through;
use crate::outcomes::stop_all;
use crate::stand::site;
use crate::world::clusters;

const SEARCH: &str = "version: 1.1
kind: operation
name: curves
matrix:
  kind: grid
  concurrency: 4
  earlyStopping:
    - kind: metric_early_stopping
      metric: loss
      value: 0
      optimization: minimize
      policy: {kind: median, evaluationInterval: 1, minInterval: 5, minSamples: 3}
  params: {lr: {kind: choice, value: [0.1, 0.1, 0.1, 0.9]}}
component:
  inputs: [{name: lr, type: float}]
  run:
    kind: job
    environment: {annotations: {tests.tidegate.dev/outcome: hang}}
    container: {image: 'registry.example.org/train:1', command: [train, '{{ lr }}']}
";

#[test]
fn a_policy_stops_the_run_that_does_badly_by_what_its_pod_prints() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("curves");
    let site = site(world, &namespace);
    let injector = Injector::new(world, "a", site.path());
    injector.speaks_for_pods();
    site.write("agents/a.yaml", &through(world, &namespace, &injector.kubeconfig));
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    site.write("projects/p/workflows/curves.yaml", SEARCH);
    site.push("a search");
    let names = ["curves-0", "curves-1", "curves-2", "curves-3"];
    let runs = names.map(|name| server.until_status(name, Status::Running));
    // Steps come with other lines among them; the last line is not whole yet.
    let print = |steps: usize| {
        for run in &runs {
            let lr = &run.inputs["lr"];
            let line = |step| format!("step {step}\n{{\"loss\": {lr}, \"step\": {step}}}\n");
            injector.prints(&run.id.to_string(), (0..steps).map(line).collect::<String>() + "{\"loss\":");
        }
    };
    print(4);
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(server.run_of("curves-3").unwrap().status, Status::Running, "the policy waits for five steps");
    print(6);
    let stopped = server.until_status("curves-3", Status::Stopped);
    let cause = server.conditions(&stopped).into_iter().filter_map(|line| line.cause);
    let cause = cause.into_iter().find(|cause| cause.reason == "MetricEarlyStopping").unwrap();
    assert!(cause.message.starts_with("its `loss` of 0.9 at step "), "{cause:?}");
    server.until("its pod is gone", |_| world.list("a", "pods", &namespace).len() == 3);
    for name in &names[..3] {
        assert_eq!(server.run_of(name).unwrap().status, Status::Running);
    }
    stop_all(&server);
}
