//! What an agent declares of its namespace itself, to be kept equal in the cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KubernetesTarget;
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

impl KubernetesTarget {
    /// Whether something of what the agent declares goes with it.
    pub fn leaves_objects(&self) -> bool {
        !self.managed.quota.is_empty() || !self.managed.limits.is_empty()
    }

    /// What becomes of the objects that the agent declares when it goes itself, in words for the plan. A namespace would
    /// take everything in it along, and somebody else may use the account.
    pub fn farewell(&self) -> Option<String> {
        let Managed { namespace, service_account, quota, limits } = &self.managed;
        let own = self.namespace.as_deref();
        let place = own.map_or_else(|| "its namespace".to_owned(), |name| format!("namespace {name}"));
        let goes = match (quota.is_empty(), limits.is_empty()) {
            (false, false) => Some("quota and limits"),
            (false, true) => Some("quota"),
            (true, false) => Some("limits"),
            (true, true) => None,
        };
        let goes = goes.map(|what| format!("its {what} in {place} go with it"));
        let account = self.service_account.as_ref().filter(|_| service_account.is_some()).map(|account| {
            let at = own.map_or_else(String::new, |name| format!(" -n {name}"));
            format!("service account {account} (`kubectl delete serviceaccount {account}{at}`)")
        });
        let stays: Vec<String> = namespace.as_ref().map(|_| place).into_iter().chain(account).collect();
        let stays = (!stays.is_empty()).then(|| format!("what others may use stays: {}", stays.join(" and ")));
        let all: Vec<String> = goes.into_iter().chain(stays).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_goes_with_an_agent_and_what_stays_is_said() {
        let said = |change: fn(&mut KubernetesTarget)| {
            let mut spec: KubernetesTarget = serde_json::from_value(json!({
                "namespace": "ml", "serviceAccount": "runs",
                "managed": {
                    "namespace": {}, "serviceAccount": {}, "quota": { "pods": "200" },
                    "limits": [{ "type": "Container", "max": { "memory": "64Gi" } }],
                },
            }))
            .unwrap();
            change(&mut spec);
            (spec.leaves_objects(), spec.farewell().unwrap_or_default())
        };
        let (leaves, all) = said(|_| {});
        assert!(leaves);
        assert_eq!(
            all,
            "its quota and limits in namespace ml go with it; what others may use stays: namespace ml and service account \
             runs (`kubectl delete serviceaccount runs -n ml`)"
        );
        let (leaves, limits) = said(|spec| spec.managed.quota = Resources::default());
        assert!(leaves && limits.starts_with("its limits in namespace ml go with it;"), "{limits}");
        let (leaves, stays) = said(|spec| {
            (spec.managed.quota, spec.managed.limits) = Default::default();
            (spec.managed.service_account, spec.namespace) = Default::default();
        });
        assert_eq!((leaves, stays.as_str()), (false, "what others may use stays: its namespace"));
        assert_eq!(said(|spec| spec.managed = Managed::default()), (false, String::new()));
    }
}
