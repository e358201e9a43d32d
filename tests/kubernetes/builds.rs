//! An image that is built before its run, on a real control plane: two jobs, the second of what the first has made.

use serde_json::json;
use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::dispatch::status::Status;

use crate::stand::{Fate, agent, site};
use crate::world::clusters;

/// A builder like Polyaxon's kaniko; its pod lives as long as the test says.
const KANIKO: &str = r#"version: 1.1
kind: component
name: kaniko
inputs: [{name: context, type: str, isOptional: true}]
outputs: [{name: destination, type: image}]
run:
  kind: job
  connections: ["{{ params.destination.connection }}"]
  environment:
    annotations: {tests.tidegate.dev/outcome: OUTCOME, tests.tidegate.dev/run: 2s}
  container:
    image: gcr.io/kaniko-project/executor:latest
    args: ["-c", "{{ context or globals.artifacts_path }}", "-d", "{{ connections[params.destination.connection].url + '/' + destination }}"]
"#;

#[test]
fn an_image_is_built_by_one_job_and_run_by_the_next() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("builds");
    let site = site(world, &namespace);
    let registry = "  connections: [{name: docker, kind: registry, schema: {url: registry.example.org/acme}, env: [{name: REGISTRY, value: yes}]}]\n";
    site.write("agents/a.yaml", &(agent(world, "a", &namespace) + &registry.replace("yes", "'yes'")));
    site.write("components/kaniko.yaml", &KANIKO.replace("OUTCOME", "succeed"));
    site.write("components/broken.yaml", &KANIKO.replace("OUTCOME", "fail").replace("name: kaniko", "name: broken"));
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    for (workflow, builder) in [("one", "kaniko"), ("two", "broken")] {
        let fate = Fate::new("succeed")
            .with("run", "4s")
            .operation(&format!("build: {{hubRef: {builder}, connection: docker}}\n"));
        site.write(&format!("projects/p/workflows/{workflow}.yaml"), &fate.workflow(workflow, "a/q"));
    }
    site.push("two workflows");
    let build = server.until_status("one-build", Status::Running);
    let image = format!("registry.example.org/acme/p:{}", build.id);
    let jobs = world.list("a", "jobs", &namespace);
    let job = jobs.iter().find(|job| job["metadata"]["labels"]["tidegate.dev/run"] == build.id.to_string()).unwrap();
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["args"][3], image);
    let variables = pod["containers"][0]["env"].as_array().unwrap();
    let lent = variables.iter().filter(|variable| variable["name"] == "REGISTRY").count();
    assert_eq!(lent, 1, "the connection is lent once: {variables:?}");
    assert_eq!(server.run_of("one").unwrap().status, Status::Created);
    let run = server.until_status("one", Status::Running);
    assert_eq!(build.origin, Origin::Build { of: run.id });
    let jobs = world.list("a", "jobs", &namespace);
    let job = jobs.iter().find(|job| job["metadata"]["labels"]["tidegate.dev/run"] == run.id.to_string()).unwrap();
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], json!(image));
    server.until_status("one", Status::Succeeded);
    let failed = server.until_status("two", Status::Failed);
    let build = server.until_status("two-build", Status::Failed);
    assert!(failed.cause.unwrap().message.contains(&build.id.to_string()));
    assert_eq!(server.runs().len(), 4);
}
