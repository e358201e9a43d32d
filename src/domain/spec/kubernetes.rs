//! Objects of Kubernetes inside polyaxonfiles: the fields that each may have. What stands in the fields is Kubernetes'
//! own business, and passed through.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

macro_rules! objects {
    ($(#[doc = $doc:literal] $name:ident [$($field:literal),* $(,)?] $(needs $required:literal)?)*) => {$(
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                object($doc.trim(), &[$($field),*], &[$($required)?])
            }
        }
    )*};
}

/// A mapping with these fields, each of any type; what is needed must have a value.
fn object(description: &str, names: &[&str], needed: &[&str]) -> Schema {
    let field = |name: &&str| {
        let mut about = serde_json::json!({ "description": "As in Kubernetes." });
        if needed.contains(name) {
            about["not"] = serde_json::json!({ "type": "null" });
        }
        ((*name).to_owned(), about)
    };
    let fields: Map<String, Value> = names.iter().map(field).collect();
    let mut schema = json_schema!({
        "type": "object", "description": description, "properties": fields, "additionalProperties": false,
    });
    if !needed.is_empty() {
        schema.insert("required".to_owned(), needed.into());
    }
    schema
}

objects! {
    /// A volume of a pod, as in Kubernetes.
    Volume [
        "name", "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi", "downwardAPI",
        "emptyDir", "ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "hostPath",
        "image", "iscsi", "nfs", "persistentVolumeClaim", "photonPersistentDisk", "portworxVolume", "projected", "quobyte",
        "rbd", "scaleIO", "secret", "storageos", "vsphereVolume",
    ]
    /// Which nodes and neighbours a pod wants, as in Kubernetes.
    Affinity ["nodeAffinity", "podAffinity", "podAntiAffinity"]
    /// A taint of nodes that a pod tolerates, as in Kubernetes.
    Toleration ["effect", "key", "operator", "tolerationSeconds", "value"]
    /// An entry of /etc/hosts, as in Kubernetes.
    HostAlias ["hostnames", "ip"] needs "ip"
    /// Security settings, as in Kubernetes.
    SecurityContext [
        "allowPrivilegeEscalation", "appArmorProfile", "capabilities", "privileged", "procMount",
        "readOnlyRootFilesystem", "runAsGroup", "runAsNonRoot", "runAsUser", "seLinuxOptions", "seccompProfile",
        "windowsOptions", "fsGroup", "fsGroupChangePolicy", "supplementalGroups", "supplementalGroupsPolicy", "sysctls",
        "seLinuxChangePolicy",
    ]
    /// How names are resolved in a pod, as in Kubernetes.
    DnsConfig ["nameservers", "options", "searches"]
    /// A command in a container, as in Kubernetes.
    ExecAction ["command"]
    /// A request to a container, as in Kubernetes.
    HttpAction ["host", "httpHeaders", "path", "port", "scheme"] needs "port"
    /// What failures of pods mean, as in Kubernetes.
    PodFailurePolicy ["rules"] needs "rules"
    /// What a container asks for and may use, as in Kubernetes.
    ResourceRequirements ["claims", "limits", "requests"]
}
