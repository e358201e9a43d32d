//! From what an agent declares to a client: kubeconfig contexts, references, the pod's own account, exec plugins; and
//! whether that account may do what is needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::gate::{Gate, GateLayer};
use super::trouble::{Trouble, trouble_of};
use crate::domain::kubernetes::render::RootKind;
use crate::domain::spec::KubernetesTarget as Spec;

/// Longest wait for a connection; a cluster next door answers in milliseconds, one on another continent in half a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer to one request. Watches and logs are open longer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What must be allowed: verb, group, resource, subresource.
const NEEDED: [(&str, &str, &str, &str); 7] = [
    ("create", "batch", "jobs", ""),
    ("delete", "batch", "jobs", ""),
    ("watch", "batch", "jobs", ""),
    ("watch", "", "pods", ""),
    ("get", "", "pods", "log"),
    ("create", "coordination.k8s.io", "leases", ""),
    ("update", "coordination.k8s.io", "leases", ""),
];

/// A cluster that can be talked to.
pub struct Connection {
    /// The way to it.
    pub client: Client,
    /// The namespace of the agent.
    pub namespace: String,
    /// The kinds of roots that the cluster knows.
    pub kinds: Vec<RootKind>,
}

/// Connects, and looks whether what is needed is there and allowed.
pub async fn connect(spec: &Spec, gate: &Arc<Gate>) -> Result<Connection, String> {
    let (client, namespace, url) = client_of(spec, gate).await?;
    let groups = within(client.list_api_groups()).await.map_err(|trouble| format!("{url}: {}", trouble.message()))?;
    let served = |kind: &RootKind| {
        let (group, version, ..) = kind.api();
        let versions = groups.groups.iter().filter(|known| known.name == group).flat_map(|known| &known.versions);
        kind.operator().is_none() || versions.into_iter().any(|known| known.version == version)
    };
    let kinds = RootKind::ALL.into_iter().filter(served).collect();
    may_do(&client, &namespace).await?;
    Ok(Connection { client, namespace, kinds })
}

/// A client, the namespace of the agent, and where the cluster is. Nothing is sent yet.
pub async fn client_of(spec: &Spec, gate: &Arc<Gate>) -> Result<(Client, String, String), String> {
    let mut config = config_of(spec).await?;
    // Retries are decided by us: a create that is repeated in silence for minutes is a run that nobody can explain.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let namespace = spec.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let url = config.cluster_url.to_string();
    let builder = ClientBuilder::try_from(config).map_err(|error| format!("no client for {url}: {}", chain(&error)))?;
    let client = builder.with_layer(&GateLayer(gate.clone())).build();
    Ok((client, namespace, url))
}

async fn config_of(spec: &Spec) -> Result<Config, String> {
    if spec.in_cluster {
        return Config::incluster()
            .map_err(|error| format!("`inCluster` is for servers in a pod with a service account: {}", chain(&error)));
    }
    let kubeconfig = match spec.kubeconfig.as_deref().map(|reference| (reference, reference.split_once(':'))) {
        Some((_, Some(("file", path)))) => from_file(path)?,
        Some((reference, Some(("env", name)))) => {
            let value = std::env::var(name).map_err(|_| format!("`kubeconfig: {reference}`: {name} is not set"))?;
            from_variable(&value)?
        }
        Some((reference, _)) => return Err(format!("`kubeconfig: {reference}` is neither file:PATH nor env:NAME")),
        None => Kubeconfig::read().map_err(|error| format!("the kubeconfig cannot be read: {}", chain(&error)))?,
    };
    let options = KubeConfigOptions { context: spec.context.clone(), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| {
        let context = spec.context.as_deref().unwrap_or("its current one");
        format!("the context ({context}) of the kubeconfig cannot be used: {}", chain(&error))
    })
}

fn from_file(path: &str) -> Result<Kubeconfig, String> {
    Kubeconfig::read_from(PathBuf::from(path)).map_err(|error| format!("kubeconfig {path}: {}", chain(&error)))
}

/// A variable holds paths, as `KUBECONFIG` does, or the text of a kubeconfig.
fn from_variable(value: &str) -> Result<Kubeconfig, String> {
    if value.contains('\n') || value.trim_start().starts_with('{') {
        return Kubeconfig::from_yaml(value).map_err(|error| format!("the kubeconfig in it: {}", chain(&error)));
    }
    let mut merged = Kubeconfig::default();
    for path in std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()) {
        let next = from_file(&path.display().to_string())?;
        merged = merged.merge(next).map_err(|error| format!("kubeconfig {}: {}", path.display(), chain(&error)))?;
    }
    Ok(merged)
}

/// Asks the API server what our account may do, and says what it may not.
async fn may_do(client: &Client, namespace: &str) -> Result<(), String> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let reviews = &reviews;
    let asked = NEEDED.map(|(verb, group, resource, subresource)| async move {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace.to_owned()),
                    verb: Some(verb.to_owned()),
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = within(reviews.create(&PostParams::default(), &review)).await?;
        let what = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
        Ok::<_, Trouble>((!answer.status.is_some_and(|status| status.allowed)).then(|| format!("{verb} {what}")))
    });
    let answers = join_all(asked).await.into_iter().collect::<Result<Vec<_>, _>>();
    let denied: Vec<String> = answers.map_err(|trouble| trouble.message())?.into_iter().flatten().collect();
    if denied.is_empty() {
        return Ok(());
    }
    Err(format!(
        "its account may not {} in namespace {namespace}: give it the role of deploy/agent (kubectl apply -k deploy/agent)",
        denied.join(", ")
    ))
}

/// Whether the namespace is there; an account that may not look is not told, and then nothing is said.
pub async fn namespace_exists(client: &Client, namespace: &str) -> Result<(), String> {
    match within(Api::<Namespace>::all(client.clone()).get(namespace)).await {
        Err(Trouble::NotFound) => {
            Err(format!("namespace {namespace} does not exist: make it (kubectl create namespace {namespace})"))
        }
        Err(Trouble::Unreachable(why)) => Err(why),
        Ok(found) if found.metadata.deletion_timestamp.is_some() => {
            Err(format!("namespace {namespace} is being deleted"))
        }
        _ => Ok(()),
    }
}

/// The answer to a request, which is not waited for longer than [`REQUEST_TIMEOUT`].
pub async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Trouble> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|error| trouble_of(&error)),
        Err(_) => Err(Trouble::Unreachable(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))),
    }
}

/// An error with its causes, in one line, each once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
