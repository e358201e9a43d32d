//! Runs of every kind that a cluster carries out: services, and the distributed kinds with a test in place of their operators.

use serde_json::{Value, json};
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::RunId;

use crate::site::Server;
use crate::stand::site;
use crate::world::{World, clusters};

/// Group, version, kind and plural of the custom resources.
const RESOURCES: [(&str, &str, &str, &str); 7] = [
    ("kubeflow.org", "v1", "TFJob", "tfjobs"),
    ("kubeflow.org", "v1", "PyTorchJob", "pytorchjobs"),
    ("kubeflow.org", "v2beta1", "MPIJob", "mpijobs"),
    ("ray.io", "v1", "RayCluster", "rayclusters"),
    ("ray.io", "v1", "RayJob", "rayjobs"),
    ("kubernetes.dask.org", "v1", "DaskCluster", "daskclusters"),
    ("kubernetes.dask.org", "v1", "DaskAutoscaler", "daskautoscalers"),
];

/// Makes the cluster know the custom resources, with a `status` of their own as the operators have it.
fn operators(world: &World, cluster: &str) {
    for (group, version, kind, plural) in RESOURCES {
        let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase() },
                "versions": [{
                    "name": version, "served": true, "storage": true, "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": open, "status": open } } },
                }],
            },
        });
        world.apply(cluster, &definition.to_string());
    }
    for (group, .., plural) in RESOURCES {
        world.ok(cluster, &["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{plural}.{group}")]);
    }
}

/// Waits for the only object of a kind.
fn root(server: &Server, world: &World, plural: &str, namespace: &str) -> Value {
    let begun = std::time::Instant::now();
    loop {
        if let [root] = &world.list("b", plural, namespace)[..] {
            return root.clone();
        }
        assert!(begun.elapsed() < crate::world::PATIENCE, "no {plural}: {:#?}", server.runs());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn gone(world: &World, plural: &str, namespace: &str) {
    let begun = std::time::Instant::now();
    while !world.list("b", plural, namespace).is_empty() {
        assert!(begun.elapsed() < crate::world::PATIENCE, "{plural} stays: {:#?}", world.list("b", plural, namespace));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Says what an operator would say.
fn say(world: &World, plural: &str, root: &Value, status: Value) {
    let (name, namespace) =
        (root["metadata"]["name"].as_str().unwrap(), root["metadata"]["namespace"].as_str().unwrap());
    let patch = json!({ "status": status }).to_string();
    world.ok("b", &["patch", plural, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch]);
}

fn stop(server: &Server, run: RunId) {
    server.0.engine().ask_blocking(Command::Stop { run, by: "test".into() }, Vec::new()).unwrap();
}

fn workflow(name: &str, run: &str) -> String {
    let run: String = run.lines().map(|line| format!("      {line}\n")).collect();
    format!("version: 1.1\nkind: workflow\nname: {name}\nqueue: b/q\noperation:\n  component:\n    run:\n{run}")
}

fn conditions(kinds: &[(&str, &str)]) -> Value {
    let condition =
        |(kind, message): &(&str, &str)| json!({ "type": kind, "status": "True", "reason": kind, "message": message });
    json!({ "conditions": kinds.iter().map(condition).collect::<Vec<_>>() })
}

#[test]
fn the_distributed_kinds_are_carried_out_by_their_operators() {
    let Some((world, _guard)) = clusters() else { return };
    operators(world, "b");
    let namespace = world.namespace("kinds");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("b");
    let replica = "{replicas: 2, container: {image: registry.example.org/train:1}}";
    let runs = [
        ("tf", format!("kind: tfjob\nchief: {replica}\nworker: {replica}\n")),
        ("torch", format!("kind: pytorchjob\nmaster: {replica}\nworker: {replica}\n")),
        ("mpi", format!("kind: mpijob\nslotsPerWorker: 2\nlauncher: {replica}\nworker: {replica}\n")),
        (
            "rayjob",
            format!("kind: raycluster\nentrypoint: python train.py\nhead: {replica}\nworkers: {{small: {replica}}}\n"),
        ),
        ("ray", format!("kind: raycluster\nhead: {replica}\nworkers: {{small: {replica}}}\n")),
        (
            "dask",
            format!("kind: daskcluster\nminReplicas: 1\nmaxReplicas: 4\nscheduler: {replica}\nworker: {replica}\n"),
        ),
    ];
    for (name, run) in &runs {
        site.write(&format!("projects/p/workflows/{name}.yaml"), &workflow(name, run));
    }
    site.push("one of each");

    // Jobs: they run, then succeed or fail by the word of their operator.
    for (name, plural) in [("tf", "tfjobs"), ("torch", "pytorchjobs"), ("mpi", "mpijobs")] {
        let root = root(&server, world, plural, &namespace);
        say(world, plural, &root, conditions(&[("Created", ""), ("Running", "")]));
        server.until_status(name, Status::Running);
        say(world, plural, &root, conditions(&[("Created", ""), ("Restarting", "a worker went away")]));
        server.until_status(name, Status::Warning);
        if name == "mpi" {
            say(world, plural, &root, conditions(&[("Created", ""), ("Failed", "MPIJob has reached the limit")]));
            let run = server.until_status(name, Status::Failed);
            let last = server.conditions(&run).pop().unwrap().cause.unwrap();
            assert!(last.message.contains("reached the limit"), "{last:?}");
        } else {
            say(world, plural, &root, conditions(&[("Created", ""), ("Succeeded", "")]));
            server.until_status(name, Status::Succeeded);
        }
        // What has ended is saved, and goes.
        gone(world, plural, &namespace);
    }
    let job = root(&server, world, "rayjobs", &namespace);
    assert_eq!(job["spec"]["entrypoint"], "python train.py");
    say(world, "rayjobs", &job, json!({ "jobDeploymentStatus": "Running", "jobStatus": "RUNNING" }));
    server.until_status("rayjob", Status::Running);
    say(world, "rayjobs", &job, json!({ "jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED" }));
    server.until_status("rayjob", Status::Succeeded);

    // Clusters: they run until somebody stops them.
    for (name, plural, status) in
        [("ray", "rayclusters", json!({ "state": "ready" })), ("dask", "daskclusters", json!({ "phase": "Running" }))]
    {
        let root = root(&server, world, plural, &namespace);
        server.until_status(name, Status::Starting);
        say(world, plural, &root, status);
        let run = server.until_status(name, Status::Running);
        if name == "dask" {
            let scaler = self::root(&server, world, "daskautoscalers", &namespace);
            assert_eq!((&scaler["spec"]["minimum"], &scaler["spec"]["maximum"]), (&json!(1), &json!(4)));
            assert_eq!(scaler["metadata"]["ownerReferences"][0]["kind"], "DaskCluster");
        }
        stop(&server, run.id);
        server.until_status(name, Status::Stopped);
        gone(world, plural, &namespace);
    }
    gone(world, "daskautoscalers", &namespace);
}

#[test]
fn a_kind_that_the_cluster_does_not_know_names_its_operator() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("unknown");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    let run = workflow("tf", "kind: tfjob\nworker: {container: {image: x}}\n").replace("b/q", "a/q");
    site.write("projects/p/workflows/tf.yaml", &run);
    site.push("a tfjob");
    let run = server.until_status("tf", Status::Failed);
    let last = server.conditions(&run).pop().unwrap().cause.unwrap();
    assert!(last.message.contains("install the Kubeflow training operator"), "{last:?}");
}

#[test]
fn a_service_runs_behind_its_name_until_it_is_stopped() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("service");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("b");
    let run = "kind: service\nports: [8888]\nreplicas: 2\nisExternal: true\nenvironment:\n  annotations: {tests.tidegate.dev/outcome: hang}\ncontainer:\n  image: registry.example.org/notebook:1\n  args: [\"--port={{ globals.ports[0] }}\", \"--base={{ globals.base_url }}\"]\n";
    site.write("projects/p/workflows/notebook.yaml", &workflow("notebook", run));
    site.push("a notebook");
    let run = server.until_status("notebook", Status::Running);
    let deployment = root(&server, world, "deployments", &namespace);
    let main = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(main["args"][0], "--port=8888");
    assert_eq!(main["args"][1], format!("--base=/external/v1/{namespace}/acme/p/runs/{}/8888", run.id));
    assert_eq!(main["ports"][0]["containerPort"], 8888);
    let services = world.list("b", "services", &namespace);
    assert_eq!(services.len(), 2, "{services:#?}");
    for service in &services {
        assert_eq!(service["spec"]["ports"][0]["port"], 8888);
        assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
        assert_eq!(service["metadata"]["ownerReferences"][0]["uid"], deployment["metadata"]["uid"]);
    }
    // Somebody deletes one of its pods: it is made again, and the service goes on.
    let pods = world.list("b", "pods", &namespace);
    assert_eq!(pods.len(), 2);
    let victim = pods[0]["metadata"]["name"].as_str().unwrap();
    world.ok("b", &["delete", "pod", victim, "-n", &namespace, "--wait=false"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let status = server.run_of("notebook").unwrap().status;
    assert!(matches!(status, Status::Running | Status::Starting), "{status}");
    stop(&server, run.id);
    server.until_status("notebook", Status::Stopped);
    for plural in ["deployments", "services", "pods"] {
        gone(world, plural, &namespace);
    }
}
