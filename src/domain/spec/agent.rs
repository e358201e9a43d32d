//! `kind: agent`: one namespace of one cluster, or this machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, Limit, Managed, Version};
use crate::domain::ids::{AgentName, Name};
use crate::domain::quantity::Resources;

/// Where operations run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agent {
    /// The version of the specification, always 1.1.
    pub version: Version,
    /// Always `agent`.
    #[schemars(extend("const" = "agent"))]
    pub kind: String,
    /// The name of the agent.
    pub name: AgentName,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people and queries; changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Most operations running at once on this agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
    /// What all its running operations may ask together.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub capacity: Resources,
    /// The queue of operations that name only this agent; `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_queue: Option<Name>,
    /// Run operations as processes of the machine of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalTarget>,
    /// Run operations as objects of a Kubernetes cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesTarget>,
}

/// What an agent dispatches to: exactly one of `local` and `kubernetes` is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetSpec {
    /// Processes of this machine.
    Local(LocalTarget),
    /// A namespace of a cluster.
    Kubernetes(Box<KubernetesTarget>),
}

/// The kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// Processes of a machine.
    Local,
    /// Objects of a cluster.
    Kubernetes,
}

impl TargetKind {
    /// How an agent with such a target is called.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kubernetes => "Kubernetes",
        }
    }
}

impl TargetSpec {
    /// Which kind it is.
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::Local(_) => TargetKind::Local,
            Self::Kubernetes(_) => TargetKind::Kubernetes,
        }
    }
}

/// Operations as processes of this machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalTarget {}

/// Operations as objects of one namespace of a Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesTarget {
    /// The context of the kubeconfig; its current one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace in which operations run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Use the service account of the pod that the server runs in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_cluster: bool,
    /// A kubeconfig, by reference: `file:/path` or `env:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(file|env):.+$"), example = &"env:KUBECONFIG")]
    pub kubeconfig: Option<String>,
    /// The service account of operations that name none; the namespace's `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// What operations may name in `connections`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<Connection>,
    /// Objects of the cluster that are made and kept as declared here.
    #[serde(default, skip_serializing_if = "Managed::is_empty")]
    pub managed: Managed,
}

impl TargetSpec {
    /// Whether both point to the same place, so that what runs there stays in sight.
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(_), Self::Local(_)) => true,
            (Self::Kubernetes(one), Self::Kubernetes(two)) => one.place() == two.place(),
            _ => false,
        }
    }
}

impl KubernetesTarget {
    /// Which namespace of which cluster, as far as it is written: two that are equal are the same one, two that are not may
    /// still be.
    pub fn place(&self) -> NamespacePlace<'_> {
        match self.in_cluster {
            true => NamespacePlace::OwnCluster { namespace: self.namespace.as_deref() },
            false => NamespacePlace::Context {
                kubeconfig: self.kubeconfig.as_deref(),
                context: self.context.as_deref(),
                namespace: self.namespace.as_deref(),
            },
        }
    }
}

/// A namespace of a cluster, by the words that lead there; a word that is absent means the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamespacePlace<'a> {
    /// In the cluster that the server runs in.
    OwnCluster {
        /// The namespace; that of the server's pod when absent.
        namespace: Option<&'a str>,
    },
    /// In the cluster of a context.
    Context {
        /// The kubeconfig, by reference.
        kubeconfig: Option<&'a str>,
        /// The context in it.
        context: Option<&'a str>,
        /// The namespace; that of the context when absent.
        namespace: Option<&'a str>,
    },
}

impl NamespacePlace<'_> {
    /// The namespace, if one is written.
    pub const fn namespace(&self) -> Option<&str> {
        match self {
            Self::OwnCluster { namespace } | Self::Context { namespace, .. } => *namespace,
        }
    }
}
