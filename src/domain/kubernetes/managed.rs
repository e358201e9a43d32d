//! The objects that an agent declares of its namespace: what they shall be, whose they are, and what was found of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::names::{AGENT, FIELD_MANAGER, INSTANCE, MANAGED_BY, MANAGER};
use crate::domain::ids::AgentName;
use crate::domain::quantity::{Quantity, Resources};
use crate::domain::spec::{KubernetesTarget, LimitRangeItem, Managed, Marks};

/// The kinds of objects that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the names are Kubernetes'
pub enum ManagedKind {
    Namespace,
    ServiceAccount,
    ResourceQuota,
    LimitRange,
}

impl ManagedKind {
    /// Every kind, in the order in which they are made.
    pub const ALL: [Self; 4] = [Self::Namespace, Self::ServiceAccount, Self::ResourceQuota, Self::LimitRange];

    /// Its name and plural; all are of the core group, version 1.
    pub const fn api(self) -> (&'static str, &'static str) {
        match self {
            Self::Namespace => ("Namespace", "namespaces"),
            Self::ServiceAccount => ("ServiceAccount", "serviceaccounts"),
            Self::ResourceQuota => ("ResourceQuota", "resourcequotas"),
            Self::LimitRange => ("LimitRange", "limitranges"),
        }
    }

    /// Whether it is deleted when it is not declared any more. A namespace would take everything in it along, and pods may
    /// still run as an account.
    pub const fn goes(self) -> bool {
        matches!(self, Self::ResourceQuota | Self::LimitRange)
    }
}

/// An object that an agent declares.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagedObject {
    /// Its kind.
    pub kind: ManagedKind,
    /// Its name.
    pub name: String,
    /// All that is declared of it, for server-side apply.
    pub value: Value,
}

/// Whose objects are kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping<'a> {
    /// Which installation of Tidegate.
    pub instance: &'a str,
    /// Which agent.
    pub agent: &'a AgentName,
    /// Its namespace.
    pub namespace: &'a str,
}

impl Keeping<'_> {
    /// Whether an object is kept for this agent, by its labels; any other is never touched.
    pub fn owns(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        label(INSTANCE) == Some(self.instance) && label(AGENT) == Some(self.agent.as_str())
    }

    /// The selector of everything that is kept for this agent.
    pub fn selector(&self) -> String {
        format!("{INSTANCE}={},{AGENT}={}", self.instance, self.agent)
    }

    /// The name of the objects that are the agent's alone.
    pub fn own_name(&self) -> String {
        format!("{FIELD_MANAGER}-{}", self.agent)
    }

    /// The namespace as it is before anything is said of it, for one that is not there yet.
    pub fn bare_namespace(&self) -> Value {
        self.object(ManagedKind::Namespace, self.namespace, &Marks::default(), Map::new()).value
    }

    /// What is declared, in the order in which it is made.
    pub fn wanted(&self, spec: &KubernetesTarget) -> Vec<ManagedObject> {
        let Managed { namespace, service_account, quota, limits } = &spec.managed;
        let mut objects = Vec::new();
        if let Some(marks) = namespace {
            objects.push(self.object(ManagedKind::Namespace, self.namespace, marks, Map::new()));
        }
        if let (Some(marks), Some(name)) = (service_account, &spec.service_account) {
            objects.push(self.object(ManagedKind::ServiceAccount, name, marks, Map::new()));
        }
        let none = Marks::default();
        if !quota.is_empty() {
            let spec = Map::from_iter([("spec".to_owned(), json!({ "hard": quota }))]);
            objects.push(self.object(ManagedKind::ResourceQuota, &self.own_name(), &none, spec));
        }
        if !limits.is_empty() {
            let spec = Map::from_iter([("spec".to_owned(), json!({ "limits": limits }))]);
            objects.push(self.object(ManagedKind::LimitRange, &self.own_name(), &none, spec));
        }
        objects
    }

    fn object(&self, kind: ManagedKind, name: &str, marks: &Marks, body: Map<String, Value>) -> ManagedObject {
        let mut labels = marks.labels.clone();
        let ours = [(MANAGER, MANAGED_BY), (INSTANCE, self.instance), (AGENT, self.agent.as_str())];
        labels.extend(ours.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let mut metadata = json!({ "name": name, "labels": labels });
        if !marks.annotations.is_empty() {
            metadata["annotations"] = json!(marks.annotations);
        }
        if kind != ManagedKind::Namespace {
            metadata["namespace"] = self.namespace.into();
        }
        let mut value = json!({ "apiVersion": "v1", "kind": kind.api().0, "metadata": metadata });
        value.as_object_mut().into_iter().for_each(|fields| fields.extend(body.clone()));
        ManagedObject { kind, name: name.to_owned(), value }
    }
}

/// What was found in the cluster, in the words of the declaration. Labels, annotations and limits that the declaration
/// does not speak of are others' business, and left out; everything of a quota is ours.
pub fn actual(declared: &Managed, found: &BTreeMap<ManagedKind, Value>) -> Managed {
    let marks = |kind, declared: &Option<Marks>| {
        let (object, declared) = (found.get(&kind)?, declared.as_ref()?);
        let of = |field: &str, wanted: &BTreeMap<String, String>| {
            let found = &object["metadata"][field];
            let text = |key: &String| Some((key.clone(), found[key].as_str()?.to_owned()));
            wanted.keys().filter_map(text).collect()
        };
        Some(Marks { labels: of("labels", &declared.labels), annotations: of("annotations", &declared.annotations) })
    };
    let quota = found.get(&ManagedKind::ResourceQuota).map(|quota| amounts(&quota["spec"]["hard"]));
    let limits = found.get(&ManagedKind::LimitRange).and_then(|range| range["spec"]["limits"].as_array().cloned());
    Managed {
        namespace: marks(ManagedKind::Namespace, &declared.namespace),
        service_account: marks(ManagedKind::ServiceAccount, &declared.service_account),
        quota: quota.unwrap_or_default(),
        limits: limits_of(&declared.limits, &limits.unwrap_or_default()),
    }
}

/// Entries in the order of the declaration, with the resources that it names; those of other types follow as they are.
fn limits_of(declared: &[LimitRangeItem], found: &[Value]) -> Vec<LimitRangeItem> {
    let mut left: Vec<LimitRangeItem> = found.iter().filter_map(limit_of).collect();
    let mut limits = Vec::new();
    for wanted in declared {
        let Some(index) = left.iter().position(|item| item.kind == wanted.kind) else { continue };
        let item = left.remove(index);
        // The API server fills in what follows from the rest.
        let only = |found: &Resources, wanted: &Resources| {
            Resources(
                found.0.iter().filter(|(name, _)| wanted.0.contains_key(*name)).map(|(n, q)| (n.clone(), *q)).collect(),
            )
        };
        limits.push(LimitRangeItem {
            kind: item.kind,
            default: only(&item.default, &wanted.default),
            default_request: only(&item.default_request, &wanted.default_request),
            max: only(&item.max, &wanted.max),
            min: only(&item.min, &wanted.min),
        });
    }
    limits.extend(left);
    limits
}

fn limit_of(item: &Value) -> Option<LimitRangeItem> {
    Some(LimitRangeItem {
        kind: Deserialize::deserialize(&item["type"]).ok()?,
        default: amounts(&item["default"]),
        default_request: amounts(&item["defaultRequest"]),
        max: amounts(&item["max"]),
        min: amounts(&item["min"]),
    })
}

/// Amounts by resource; one that cannot be read is as if it were not there, and differs from any that is declared.
fn amounts(value: &Value) -> Resources {
    let amounts = value.as_object().into_iter().flatten();
    let read = |(name, amount): (&String, &Value)| Some((name.clone(), Quantity::parse(amount.as_str()?).ok()?));
    Resources(amounts.filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> KubernetesTarget {
        serde_json::from_value(json!({
            "namespace": "ml", "serviceAccount": "runs",
            "managed": {
                "namespace": { "labels": { "team": "ml" } },
                "serviceAccount": { "annotations": { "role": "reader" } },
                "quota": { "requests.cpu": "64", "requests.memory": "1Ti", "pods": "200" },
                "limits": [{ "type": "Container", "max": { "memory": "64Gi" } }],
            },
        }))
        .unwrap()
    }

    fn found(spec: &KubernetesTarget, keeping: &Keeping<'_>) -> BTreeMap<ManagedKind, Value> {
        keeping.wanted(spec).into_iter().map(|object| (object.kind, object.value)).collect()
    }

    #[test]
    fn what_was_made_as_declared_is_found_as_declared() {
        let (spec, agent) = (declared(), AgentName::parse("a").unwrap());
        let keeping = Keeping { instance: "i", agent: &agent, namespace: "ml" };
        let mut found = found(&spec, &keeping);
        assert_eq!(found.len(), 4);
        assert!(found.values().all(|object| keeping.owns(object)));
        // Others write too, and the API server spells amounts in its own way and fills in defaults.
        found.get_mut(&ManagedKind::Namespace).unwrap()["metadata"]["labels"]["other"] = "x".into();
        found.get_mut(&ManagedKind::ResourceQuota).unwrap()["spec"]["hard"]["requests.memory"] = "1024Gi".into();
        let limit = &mut found.get_mut(&ManagedKind::LimitRange).unwrap()["spec"]["limits"][0];
        limit["default"] = json!({ "memory": "64Gi" });
        limit["defaultRequest"] = json!({ "memory": "64Gi" });
        assert_eq!(actual(&spec.managed, &found), spec.managed);
    }

    #[test]
    fn what_others_changed_is_seen() {
        let (spec, agent) = (declared(), AgentName::parse("a").unwrap());
        let keeping = Keeping { instance: "i", agent: &agent, namespace: "ml" };
        let mut found = found(&spec, &keeping);
        let hard = &mut found.get_mut(&ManagedKind::ResourceQuota).unwrap()["spec"]["hard"];
        hard["pods"] = "1000".into();
        hard["count/jobs.batch"] = "7".into();
        found.get_mut(&ManagedKind::Namespace).unwrap()["metadata"]["labels"] = json!({ "team": "other" });
        found.remove(&ManagedKind::ServiceAccount);
        let actual = actual(&spec.managed, &found);
        assert_eq!(actual.quota.0["pods"], Quantity::parse("1000").unwrap());
        assert!(actual.quota.0.contains_key("count/jobs.batch"));
        assert_eq!(actual.namespace.unwrap().labels["team"], "other");
        assert_eq!(actual.service_account, None);
        assert_eq!(actual.limits, spec.managed.limits);
        assert!(!keeping.owns(&found[&ManagedKind::Namespace]));
    }
}
