//! Connections: what the namespace of an agent lends to the operations that name it. Words and forms are Polyaxon's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EnvVar;
use crate::domain::ids::Name;

/// Something that operations use by its name: a volume, a repository, a bucket with its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// How operations name it.
    pub name: Name,
    /// `volume_claim` and `host_path` are mounted, `git` gives `init` its URL; any other (`s3`, `gcs`, `postgres`, `custom` …)
    /// lends its secret, config map and variables.
    #[schemars(length(min = 1), example = &"volume_claim")]
    pub kind: String,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is made of; templates see it as `connections.NAME`.
    #[serde(default, skip_serializing_if = "ConnectionSchema::is_empty")]
    pub schema: ConnectionSchema,
    /// A secret of the namespace, by its name; its contents are never read here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Lent>,
    /// A config map of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<Lent>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
}

impl Connection {
    /// What templates see as `connections.NAME`.
    pub fn variable(&self) -> (String, Value) {
        (self.name.to_string(), serde_json::to_value(&self.schema).unwrap_or_default())
    }
}

/// What a connection is made of; its kind says which fields matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionSchema {
    /// The claim behind a `volume_claim`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_claim: Option<String>,
    /// The folder of the node behind a `host_path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Where containers find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_path: Option<String>,
    /// Whether containers may only read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The bucket of an object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Where a repository, registry or service is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The revision of a repository that is taken when nothing else is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl ConnectionSchema {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A secret or config map that a connection lends: as files where it has a `mountPath`, as variables otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lent {
    /// Its name in the namespace.
    pub name: String,
    /// Where containers find its entries as files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_path: Option<String>,
    /// Only these entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
}
