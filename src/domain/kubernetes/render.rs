//! The objects that an attempt becomes: a root, whose end is the end of the attempt, and what belongs to it.
//!
//! What a person wrote in Kubernetes' words is passed through; what Polyaxon allows beyond them (a command as a text,
//! numbers as quantities, an unnamed container) is brought into form.

mod connections;
mod distributed;
mod template;

pub use connections::UNKNOWN_CONNECTION;
pub use template::CONTEXT_PATH;

use serde_json::{Map, Value, json};

use super::names::{
    ATTEMPT, EPOCH, INSTANCE, MANAGED_BY, MANAGER, NAME, PROJECT, RUN, RUN_NAME, TTL, label_value, object_name,
};
use crate::domain::dispatch::observation::Cause;
use crate::domain::ids::{AttemptName, Epoch, ProjectName};
use crate::domain::spec::Connection;
use crate::domain::time::Span;

/// The reason of an attempt with a section that this target cannot carry out.
pub const UNSUPPORTED_FIELD: &str = "UnsupportedField";
/// The reason of an attempt of a kind that makes no objects in a cluster.
pub const UNSUPPORTED_KIND: &str = "UnsupportedKind";
/// Port of a service that names none (the original's default).
pub const DEFAULT_PORT: u16 = 6006;

/// What is to be put into a cluster.
#[derive(Debug, Clone)]
pub struct Assignment<'a> {
    /// The name of the attempt.
    pub attempt: AttemptName,
    /// The term of the server.
    pub epoch: Epoch,
    /// Which installation of Tidegate owns it.
    pub instance: &'a str,
    /// The project of the run.
    pub project: &'a ProjectName,
    /// The name of the run, for people.
    pub run_name: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The service account of pods that name none.
    pub service_account: Option<&'a str>,
    /// What the agent lends.
    pub connections: &'a [Connection],
    /// The `run` section, rendered, as written.
    pub run: &'a Value,
    /// Sections beside `run` that decide about its objects: `plugins`, `termination`.
    pub sections: &'a Map<String, Value>,
    /// Environment variables beside those of the container.
    pub env: &'a [(String, String)],
    /// How long it may take.
    pub timeout: Option<Span>,
    /// How long its objects stay after its end.
    pub ttl: Option<Span>,
}

/// The kinds whose end is the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the names are those of Kubernetes and the operators
pub enum RootKind {
    Job,
    Deployment,
    TfJob,
    PyTorchJob,
    MpiJob,
    RayCluster,
    RayJob,
    DaskCluster,
}

impl RootKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Job,
        Self::Deployment,
        Self::TfJob,
        Self::PyTorchJob,
        Self::MpiJob,
        Self::RayCluster,
        Self::RayJob,
        Self::DaskCluster,
    ];

    /// API group, version, kind and plural.
    pub const fn api(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Job => ("batch", "v1", "Job", "jobs"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::TfJob => ("kubeflow.org", "v1", "TFJob", "tfjobs"),
            Self::PyTorchJob => ("kubeflow.org", "v1", "PyTorchJob", "pytorchjobs"),
            Self::MpiJob => ("kubeflow.org", "v2beta1", "MPIJob", "mpijobs"),
            Self::RayCluster => ("ray.io", "v1", "RayCluster", "rayclusters"),
            Self::RayJob => ("ray.io", "v1", "RayJob", "rayjobs"),
            Self::DaskCluster => ("kubernetes.dask.org", "v1", "DaskCluster", "daskclusters"),
        }
    }

    /// Whether it ends only when it is told to.
    pub const fn is_endless(self) -> bool {
        matches!(self, Self::Deployment | Self::RayCluster | Self::DaskCluster)
    }

    /// The operator without which the cluster does not know the kind; `None` for Kubernetes' own.
    pub const fn operator(self) -> Option<&'static str> {
        match self {
            Self::Job | Self::Deployment => None,
            Self::TfJob | Self::PyTorchJob => Some("the Kubeflow training operator"),
            Self::MpiJob => Some("the Kubeflow MPI operator"),
            Self::RayCluster | Self::RayJob => Some("KubeRay"),
            Self::DaskCluster => Some("the Dask operator"),
        }
    }
}

/// The objects of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// The kind of the root.
    pub kind: RootKind,
    /// The root.
    pub root: Value,
    /// Objects that belong to the root and go with it: made after it, with it as their owner.
    pub belongings: Vec<Value>,
}

/// The objects of an attempt; the cause says why there are none.
pub fn objects(assignment: &Assignment<'_>) -> Result<Objects, Cause> {
    let kind = assignment.run.get("kind").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "job" | "notifier" | "tuner" | "cleaner" => job(assignment),
        "service" => service(assignment),
        "tfjob" | "pytorchjob" | "mpijob" | "raycluster" | "daskcluster" => distributed::objects(assignment, kind),
        other => Err(Cause::new(UNSUPPORTED_KIND, format!("a run of kind `{other}` makes no objects in a cluster"))),
    }
}

fn job(assignment: &Assignment<'_>) -> Result<Objects, Cause> {
    let (mut metadata, mut pod) = template::pod(assignment, assignment.run, None)?;
    let restart = pod.get("restartPolicy").and_then(Value::as_str).unwrap_or("Never").to_owned();
    pod.insert("restartPolicy".into(), Value::from(if restart == "OnFailure" { "OnFailure" } else { "Never" }));
    // Another attempt is the dispatcher's to make: it passes the queue, and its Job bears another name.
    let mut spec = Map::new();
    spec.insert("backoffLimit".into(), Value::from(if restart == "OnFailure" { 6 } else { 0 }));
    if let Some(timeout) = assignment.timeout {
        spec.insert("activeDeadlineSeconds".into(), Value::from(seconds(timeout)));
    }
    let policy = assignment.sections.get("termination").and_then(|section| section.get("podFailurePolicy"));
    if let Some(policy) = policy.filter(|policy| !policy.is_null()) {
        spec.insert("podFailurePolicy".into(), policy.clone());
    }
    metadata.remove("namespace");
    spec.insert("template".into(), json!({ "metadata": metadata, "spec": pod }));
    Ok(Objects { kind: RootKind::Job, root: root(assignment, RootKind::Job, &spec.into()), belongings: Vec::new() })
}

fn service(assignment: &Assignment<'_>) -> Result<Objects, Cause> {
    let (metadata, mut pod) = template::pod(assignment, assignment.run, None)?;
    pod.insert("restartPolicy".into(), "Always".into());
    let replicas = assignment.run.get("replicas").and_then(Value::as_u64).unwrap_or(1);
    let given = assignment.run.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let given: Vec<u64> = given.iter().filter_map(Value::as_u64).collect();
    let given = if given.is_empty() { vec![u64::from(DEFAULT_PORT)] } else { given };
    if let Some(main) = pod.get_mut("containers").and_then(|containers| containers[0].as_object_mut()) {
        main.entry("ports").or_insert_with(|| given.iter().map(|port| json!({ "containerPort": port })).collect());
    }
    let selector = selector(assignment);
    let spec = json!({
        "replicas": replicas,
        "selector": { "matchLabels": selector },
        "template": { "metadata": metadata, "spec": pod },
    });
    let ports: Vec<Value> = given
        .iter()
        .map(|port| json!({ "name": format!("port-{port}"), "port": port, "targetPort": port, "protocol": "TCP" }))
        .collect();
    let service = |name: String, kind: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "namespace": assignment.namespace, "labels": labels(assignment) },
            "spec": { "type": kind, "selector": selector, "ports": ports },
        })
    };
    let name = object_name(assignment.attempt);
    let mut belongings = vec![service(name.clone(), "ClusterIP")];
    if truth(assignment.run.get("isExternal")) {
        belongings.push(service(format!("{name}-ext"), "LoadBalancer"));
    }
    Ok(Objects { kind: RootKind::Deployment, root: root(assignment, RootKind::Deployment, &spec), belongings })
}

/// An object of a kind with our name and marks.
fn root(assignment: &Assignment<'_>, kind: RootKind, spec: &Value) -> Value {
    let (group, version, kind_name, _) = kind.api();
    json!({
        "apiVersion": format!("{group}/{version}"),
        "kind": kind_name,
        "metadata": {
            "name": object_name(assignment.attempt),
            "namespace": assignment.namespace,
            "labels": labels(assignment),
            "annotations": annotations(assignment),
        },
        "spec": spec,
    })
}

/// What finds the pods of an attempt.
fn selector(assignment: &Assignment<'_>) -> Value {
    json!({ RUN: assignment.attempt.run.to_string(), ATTEMPT: assignment.attempt.attempt.to_string() })
}

/// Our labels.
fn labels(assignment: &Assignment<'_>) -> Map<String, Value> {
    let mut labels = Map::new();
    let name = label_value(assignment.run_name);
    if !name.is_empty() {
        labels.insert(NAME.into(), name.into());
    }
    labels.insert(MANAGER.into(), MANAGED_BY.into());
    labels.insert(INSTANCE.into(), assignment.instance.into());
    labels.insert(PROJECT.into(), assignment.project.to_string().into());
    labels.insert(RUN.into(), assignment.attempt.run.to_string().into());
    labels.insert(ATTEMPT.into(), assignment.attempt.attempt.to_string().into());
    labels
}

fn annotations(assignment: &Assignment<'_>) -> Map<String, Value> {
    let mut annotations = Map::new();
    annotations.insert(EPOCH.into(), assignment.epoch.0.to_string().into());
    annotations.insert(RUN_NAME.into(), assignment.run_name.into());
    if let Some(ttl) = assignment.ttl {
        annotations.insert(TTL.into(), ttl.0.to_string().into());
    }
    annotations
}

/// A span in whole seconds, rounded up: Kubernetes knows no shorter ones.
fn seconds(span: Span) -> u64 {
    span.0.div_ceil(1000).max(1)
}

/// `true`, as a truth value or a text.
fn truth(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) => matches!(text.as_str(), "true" | "True" | "1"),
        _ => false,
    }
}

fn unsupported(message: impl Into<String>) -> Cause {
    Cause::new(UNSUPPORTED_FIELD, message)
}
