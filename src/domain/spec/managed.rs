//! What an agent declares of its namespace itself, to be kept equal in the cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::quantity::Resources;

/// Objects of the cluster that the server makes and keeps as declared. What it did not make it never touches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Managed {
    /// The namespace itself; it is never deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Marks>,
    /// The service account that `serviceAccount` names; it is never deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Marks>,
    /// A ResourceQuota: what all objects of the namespace may ask together, by the names of its `hard`.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub quota: Resources,
    /// A LimitRange: what single containers, pods and claims may ask, and get when they ask nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitRangeItem>,
}

impl Managed {
    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Labels and annotations of an object, beside those that others put there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Marks {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a LimitRange limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)] // the names are Kubernetes'
pub enum LimitType {
    Container,
    Pod,
    PersistentVolumeClaim,
}

/// One entry of a LimitRange, as Kubernetes writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitRangeItem {
    /// What it limits.
    #[serde(rename = "type")]
    pub kind: LimitType,
    /// The limits of what names none.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub default: Resources,
    /// The requests of what names none.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub default_request: Resources,
    /// At most.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub max: Resources,
    /// At least.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub min: Resources,
}
