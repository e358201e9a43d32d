//! The distributed kinds, as the custom resources of their operators.

use serde_json::{Map, Value, json};

use super::super::names::{MAIN, object_name};
use super::template::{container, pod, text};
use super::{Assignment, Objects, RootKind, labels, root, seconds, truth};
use crate::domain::dispatch::observation::Cause;

/// The objects of a distributed run.
pub fn objects(assignment: &Assignment<'_>, kind: &str) -> Result<Objects, Cause> {
    let (kind, spec) = match kind {
        "tfjob" => kubeflow(
            assignment,
            RootKind::TfJob,
            "tfReplicaSpecs",
            &[("chief", "Chief"), ("ps", "PS"), ("worker", "Worker"), ("evaluator", "Evaluator")],
            "tensorflow",
        )?,
        "pytorchjob" => kubeflow(
            assignment,
            RootKind::PyTorchJob,
            "pytorchReplicaSpecs",
            &[("master", "Master"), ("worker", "Worker")],
            "pytorch",
        )?,
        "mpijob" => kubeflow(
            assignment,
            RootKind::MpiJob,
            "mpiReplicaSpecs",
            &[("launcher", "Launcher"), ("worker", "Worker")],
            MAIN,
        )?,
        "raycluster" => ray(assignment)?,
        _ => dask(assignment)?,
    };
    let belongings =
        if kind == RootKind::DaskCluster { autoscaler(assignment).into_iter().collect() } else { Vec::new() };
    Ok(Objects { kind, root: root(assignment, kind, &spec), belongings })
}

fn kubeflow(
    assignment: &Assignment<'_>,
    kind: RootKind,
    field: &str,
    roles: &[(&str, &str)],
    main: &str,
) -> Result<(RootKind, Value), Cause> {
    let mut replicas = Map::new();
    for (word, role) in roles {
        let Some(section) = assignment.run.get(*word).filter(|section| !section.is_null()) else { continue };
        let (metadata, mut spec) = pod(assignment, section, Some(word))?;
        // The operators look for the container by this name.
        if let Some(first) = spec.get_mut("containers").and_then(|containers| containers.get_mut(0)) {
            first["name"] = main.into();
        }
        let restart = spec.remove("restartPolicy").unwrap_or_else(|| "OnFailure".into());
        replicas.insert(
            (*role).to_owned(),
            json!({
                "replicas": section.get("replicas").and_then(Value::as_u64).unwrap_or(1),
                "restartPolicy": restart,
                "template": { "metadata": metadata, "spec": spec },
            }),
        );
    }
    if replicas.is_empty() {
        let words: Vec<&str> = roles.iter().map(|(word, _)| *word).collect();
        return Err(Cause::new("NoReplicas", format!("it names none of its replicas: {}", words.join(", "))));
    }
    let mut policy = Map::new();
    let clean = assignment.run.get("cleanPodPolicy").filter(|value| !value.is_null());
    policy.insert("cleanPodPolicy".into(), clean.cloned().unwrap_or_else(|| "None".into()));
    policy.insert("backoffLimit".into(), 0.into());
    if let Some(timeout) = assignment.timeout {
        policy.insert("activeDeadlineSeconds".into(), seconds(timeout).into());
    }
    if let Some(scheduling) = assignment.run.get("schedulingPolicy").filter(|value| !value.is_null()) {
        policy.insert("schedulingPolicy".into(), scheduling.clone());
    }
    let mut spec = Map::new();
    spec.insert("runPolicy".into(), policy.into());
    spec.insert(field.to_owned(), replicas.into());
    for extra in ["elasticPolicy", "nProcPerNode", "successPolicy", "enableDynamicWorker", "slotsPerWorker"] {
        if let Some(value) = assignment.run.get(extra).filter(|value| !value.is_null()) {
            // The operator reads this one as a text (`auto`, `gpu`, or a number).
            let value = if extra == "nProcPerNode" { text(value).into() } else { value.clone() };
            spec.insert(extra.to_owned(), value);
        }
    }
    Ok((kind, spec.into()))
}

fn ray(assignment: &Assignment<'_>) -> Result<(RootKind, Value), Cause> {
    let run = assignment.run;
    let head = run.get("head").filter(|head| !head.is_null());
    let head = head.ok_or_else(|| Cause::new("NoReplicas", "a raycluster needs its `head`"))?;
    let group = |section: &Value, role: &str| -> Result<Value, Cause> {
        let mut section = section.clone();
        let mut main = container(section.get("container").unwrap_or(&Value::Null))?;
        if role == "head" {
            main.entry("ports").or_insert_with(ray_ports);
        } else {
            // A worker that goes tells the head, so that its tasks are placed elsewhere at once.
            main.entry("lifecycle")
                .or_insert_with(|| json!({ "preStop": { "exec": { "command": ["/bin/sh", "-c", "ray stop"] } } }));
        }
        section["container"] = main.into();
        let section = &section;
        let (metadata, mut spec) = pod(assignment, section, Some(role))?;
        spec.remove("restartPolicy");
        let mut group = Map::new();
        let params = section.get("rayStartParams").filter(|params| !params.is_null());
        let default = if role == "head" { json!({ "dashboard-host": "0.0.0.0" }) } else { json!({}) };
        group.insert("rayStartParams".into(), params.cloned().unwrap_or(default));
        if role != "head" {
            group.insert("groupName".into(), role.into());
            let replicas = section.get("replicas").and_then(Value::as_u64).unwrap_or(1);
            group.insert("replicas".into(), replicas.into());
            group.insert(
                "minReplicas".into(),
                section.get("minReplicas").and_then(Value::as_u64).unwrap_or(replicas).into(),
            );
            group.insert(
                "maxReplicas".into(),
                section.get("maxReplicas").and_then(Value::as_u64).unwrap_or(replicas).into(),
            );
        }
        group.insert("template".into(), json!({ "metadata": metadata, "spec": spec }));
        Ok(group.into())
    };
    let workers = run.get("workers").and_then(Value::as_object);
    let workers: Result<Vec<Value>, Cause> =
        workers.into_iter().flatten().map(|(name, section)| group(section, name)).collect();
    let mut cluster = Map::new();
    if let Some(version) = run.get("rayVersion").filter(|version| !version.is_null()) {
        cluster.insert("rayVersion".into(), version.clone());
    }
    if truth(run.get("enableInTreeAutoscaling")) {
        cluster.insert("enableInTreeAutoscaling".into(), true.into());
    }
    if let Some(options) = run.get("autoscalerOptions").filter(|options| !options.is_null()) {
        cluster.insert("autoscalerOptions".into(), options.clone());
    }
    cluster.insert("headGroupSpec".into(), group(head, "head")?);
    cluster.insert("workerGroupSpecs".into(), workers?.into());
    let Some(entrypoint) = run.get("entrypoint").and_then(Value::as_str) else {
        return Ok((RootKind::RayCluster, cluster.into()));
    };
    let mut job = Map::new();
    job.insert("entrypoint".into(), entrypoint.into());
    // JSON is YAML.
    if let Some(environment) = run.get("runtimeEnv").filter(|environment| !environment.is_null()) {
        job.insert("runtimeEnvYAML".into(), environment.to_string().into());
    }
    if let Some(metadata) = run.get("metadata").filter(|metadata| !metadata.is_null()) {
        job.insert("metadata".into(), metadata.clone());
    }
    job.insert("shutdownAfterJobFinishes".into(), true.into());
    job.insert("backoffLimit".into(), 0.into());
    if let Some(timeout) = assignment.timeout {
        job.insert("activeDeadlineSeconds".into(), seconds(timeout).into());
    }
    job.insert("rayClusterSpec".into(), cluster.into());
    Ok((RootKind::RayJob, job.into()))
}

/// What lets a Dask cluster grow and shrink, when its bounds are given.
fn autoscaler(assignment: &Assignment<'_>) -> Option<Value> {
    let bound = |field: &str| assignment.run.get(field).and_then(Value::as_u64);
    let (minimum, maximum) = (bound("minReplicas"), bound("maxReplicas")?);
    let name = object_name(assignment.attempt);
    Some(json!({
        "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskAutoscaler",
        "metadata": { "name": name, "namespace": assignment.namespace, "labels": labels(assignment) },
        "spec": { "cluster": name, "minimum": minimum.unwrap_or(0), "maximum": maximum },
    }))
}

/// Where a Ray head listens, by KubeRay's names.
fn ray_ports() -> Value {
    let port = |(name, port): (&str, u16)| json!({ "name": name, "containerPort": port, "protocol": "TCP" });
    [("gcs-server", 6379), ("dashboard", 8265), ("client", 10001), ("serve", 8000)].into_iter().map(port).collect()
}

fn dask(assignment: &Assignment<'_>) -> Result<(RootKind, Value), Cause> {
    let name = object_name(assignment.attempt);
    let part = |word: &str, command: &[&str], ports: Value| -> Result<Value, Cause> {
        let mut section = assignment.run.get(word).cloned().unwrap_or(Value::Null);
        if section.is_null() {
            return Err(Cause::new("NoReplicas", format!("a daskcluster needs its `{word}`")));
        }
        let replicas = section.get("replicas").and_then(Value::as_u64).unwrap_or(1);
        let mut main = container(section.get("container").unwrap_or(&Value::Null))?;
        main.entry("args").or_insert_with(|| json!(command));
        main.entry("ports").or_insert(ports);
        if word == "scheduler" {
            for (probe, every) in [("readinessProbe", 5), ("livenessProbe", 15)] {
                main.entry(probe).or_insert_with(|| {
                    json!({
                        "httpGet": { "port": "http-dashboard", "path": "/health" },
                        "initialDelaySeconds": every, "periodSeconds": every,
                    })
                });
            }
        }
        section["container"] = main.into();
        let (metadata, mut spec) = pod(assignment, &section, Some(word))?;
        spec.remove("restartPolicy");
        Ok(json!({ "replicas": replicas, "metadata": metadata, "spec": spec }))
    };
    let worker_ports = json!([{ "name": "http-dashboard", "containerPort": 8788, "protocol": "TCP" }]);
    let worker = part(
        "worker",
        &["dask-worker", "--name", "$(DASK_WORKER_NAME)", "--dashboard", "--dashboard-address", "8788"],
        worker_ports,
    )?;
    let ports = json!([
        { "name": "tcp-comm", "containerPort": 8786, "protocol": "TCP" },
        { "name": "http-dashboard", "containerPort": 8787, "protocol": "TCP" },
    ]);
    let mut scheduler = part("scheduler", &["dask-scheduler"], ports)?;
    let service = json!({
        "type": "ClusterIP",
        "selector": { "dask.org/cluster-name": name, "dask.org/component": "scheduler" },
        "ports": [
            { "name": "tcp-comm", "protocol": "TCP", "port": 8786, "targetPort": "tcp-comm" },
            { "name": "http-dashboard", "protocol": "TCP", "port": 8787, "targetPort": "http-dashboard" },
        ],
    });
    if let Some(scheduler) = scheduler.as_object_mut() {
        // There is one of it.
        scheduler.remove("replicas");
        scheduler.insert("service".into(), service);
    }
    Ok((RootKind::DaskCluster, json!({ "worker": worker, "scheduler": scheduler })))
}
