//! The smaller sections of polyaxonfiles: hooks, builds, environments.
//! Their types give the schemas; what they mean is the business of whoever runs them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::kubernetes::{Affinity, DnsConfig, HostAlias, SecurityContext, Toleration};
use super::loose::{Flag, Switch, TemplateText, Templated, Texts, WholeNumber};
use super::operation::{Cache, ParamSpec, PatchStrategy};

macro_rules! section {
    ($doc:literal $name:ident { $($field:literal $(= $word:literal)? $(: $type:ty)? $(| $required:ident)?, $about:literal $(, $example:expr)?;)* }) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = serde_json::Map::new();
                #[allow(unused_mut)]
                let mut required: Vec<&str> = Vec::new();
                $({
                    #[allow(unused_mut, unused_assignments)]
                    let mut schema = schemars::json_schema!({});
                    $(schema = schemars::json_schema!({ "const": $word }); required.push($field);)?
                    $(schema = generator.subschema_for::<$type>();)?
                    $(
                        let _ = stringify!($required);
                        required.push($field);
                        // A field that must be there must have a value.
                        schema.insert("not".to_owned(), serde_json::json!({ "type": "null" }));
                    )?
                    schema.insert("description".to_owned(), serde_json::Value::from($about));
                    $(schema.insert("examples".to_owned(), serde_json::json!([$example]));)?
                    properties.insert($field.to_owned(), schema.into());
                })*
                let _ = generator;
                schemars::json_schema!({
                    "type": "object", "description": $doc,
                    "properties": properties, "required": required, "additionalProperties": false,
                })
            }
        }
    };
}
pub(super) use section;

section! { "What to start when the run has ended." Hook {
    "hubRef": String | required, "The component to start.", "notify";
    "connection": Option<String>, "The connection that it uses.";
    "trigger": Option<HookTrigger>, "After which end; any when absent.";
    "conditions": Option<String>, "An expression that must be true.";
    "presets": Option<Vec<String>>, "Names of presets that are merged over it.";
    "queue": Option<String>, "The queue that it goes to.";
    "namespace": Option<String>, "The Kubernetes namespace to run in.";
    "params": Option<Templated<BTreeMap<String, ParamSpec>>>, "Values for its inputs, by name, in their long form.";
    "disableDefaults": Option<Flag>, "Whether it is given nothing about the run that has ended.";
} }

section! { "An image to build first." Build {
    "hubRef": String | required, "The component that builds.", "kaniko";
    "connection": Option<String>, "The registry.";
    "presets": Option<Templated<Vec<String>>>, "Names of presets that are merged over it.";
    "queue": Option<String>, "The queue that it goes to.";
    "namespace": Option<String>, "The Kubernetes namespace to run in.";
    "cache": Option<Templated<Cache>>, "Whether a result of an equal earlier build may be taken.";
    "params": Option<BTreeMap<String, LongParam>>, "Values for its inputs, by name, in their long form.";
    "runPatch": Option<AnyMap>, "A partial `run` that is merged over that of the component.";
    "patchStrategy": Option<Templated<PatchStrategy>>, "How it is merged.";
} }

section! { "The root fields that only the shortcut dialect has; they are lowered onto `run`." Shortcuts {
    "ports": Option<Vec<i64>>, "The ports that it listens on; makes it a service.";
    "container": Option<super::Container>, "The main container.";
    "cmd": Option<Script>, "A shell script, as one text or line by line.", "python train.py";
    "env": Option<super::replicas::OnlyTexts>, "Environment variables.";
    "resources": Option<AnyMap>, "What it asks for and may use: `cpu`, `memory`, `gpu`.";
    "environment": Option<Environment>, "Labels, node selector, tolerations and other pod settings.";
    "init": Option<Vec<super::init::Init>>, "What is prepared before the main container.";
    "connections": Option<Vec<String>>, "Names of connections to mount.", ["data"];
    "sidecars": Option<Vec<super::Container>>, "Containers beside the main one.";
    "volumes": Option<Vec<super::kubernetes::Volume>>, "Kubernetes volumes.";
    "strictParams": Option<Switch>, "Whether params that nothing declares are errors, as in the classic dialect.";
} }

/// A shell script, as one text or line by line.
#[derive(Debug)]
pub struct Script;

impl JsonSchema for Script {
    fn schema_name() -> Cow<'static, str> {
        "Script".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array", "null"], "pattern": r"\S", "minItems": 1,
            "items": { "type": "string", "pattern": r"\S" },
            "description": "A shell script, as one text or line by line.", "examples": ["python train.py"],
        })
    }
}

section! { "What is uploaded to where." MountPaths {
    "from": Option<String>, "The path here.";
    "to": Option<String>, "The path there.";
    "path_from": Option<String>, "The path here.";
    "path_to": Option<String>, "The path there.";
} }

section! { "Labels, node selector, tolerations and other pod settings." Environment {
    "labels": Option<Texts>, "Labels of the pod.";
    "annotations": Option<Texts>, "Annotations of the pod.";
    "nodeSelector": Option<Texts>, "Labels that the node must have.";
    "affinity": Option<Affinity>, "Which nodes are preferred.";
    "tolerations": Option<Vec<Toleration>>, "Which taints of nodes are tolerated.";
    "nodeName": Option<String>, "The node.";
    "serviceAccountName": Option<String>, "The service account.";
    "hostAliases": Option<Vec<HostAlias>>, "Entries of /etc/hosts.";
    "securityContext": Option<SecurityContext>, "Security settings of the pod.";
    "imagePullSecrets": Option<Vec<String>>, "Names of secrets for pulling images.", ["registry"];
    "hostNetwork": Option<Switch>, "Whether the network of the node is used.";
    "hostPID": Option<Switch>, "Whether the processes of the node are seen.";
    "dnsPolicy": Option<String>, "How names are resolved.";
    "dnsConfig": Option<DnsConfig>, "How names are resolved, in detail.";
    "schedulerName": Option<String>, "The scheduler of Kubernetes.";
    "priorityClassName": Option<String>, "The priority class of Kubernetes.";
    "priority": Option<WholeNumber>, "The priority of Kubernetes.";
    "restartPolicy": Option<RestartPolicy>, "When Kubernetes restarts the container.";
} }

macro_rules! words {
    ($doc:literal $name:ident [$($word:literal),*]) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),*], "description": $doc })
            }
        }
    };
}

pub(super) use words;

words! { "The end of a run after which a hook fires." HookTrigger ["succeeded", "failed", "stopped", "skipped", "upstream_failed", "done"] }
words! { "When Kubernetes restarts the container." RestartPolicy ["Always", "OnFailure", "Never", "ExitCode"] }
words! { "The run statuses." Status ["created", "on_schedule", "resuming", "warning", "unschedulable", "compiled", "queued", "scheduled", "starting", "running", "processing", "succeeded", "failed", "upstream_failed", "stopping", "stopped", "skipped", "retrying", "unknown", "done"] }
words! { "A section that counts when results are compared." CacheSection ["init", "connections", "containers"] }
words! { "When an image is pulled." PullPolicy ["Always", "IfNotPresent", "Never"] }

section! { "Who is told about the end of a run." Notification {
    "connections": Vec<String> | required, "The connections that it is told through.", ["slack"];
    "trigger": Option<Status>, "After which status.";
} }

section! { "When an idle service is shut down." Culling {
    "timeout": Option<WholeNumber>, "Seconds of idleness.";
} }

section! { "How idleness is found out." Probe {
    "exec": Option<super::kubernetes::ExecAction>, "A command that fails when it is idle.";
    "http": Option<super::kubernetes::HttpAction>, "A request that fails when it is idle.";
} }

section! { "Settings of the sidecar." SidecarSettings {
    "image": Option<String>, "Its image.";
    "imageTag": Option<String>, "The tag of its image.";
    "imagePullPolicy": Option<PullPolicy>, "When its image is pulled.";
    "sleepInterval": Option<Templated<i64>>, "Seconds between two looks.";
    "syncInterval": Option<Templated<i64>>, "Seconds between two uploads.";
    "monitorLogs": Option<Flag>, "Whether it uploads logs while the run goes on.";
    "monitorSpec": Option<Flag>, "Whether it watches the pod.";
    "noConnections": Option<Flag>, "Whether it is given no connections.";
    "resources": Option<Templated<AnyMap>>, "What it asks for and may use.";
} }

/// What is uploaded to where: `from:to`, or a mapping.
#[derive(Debug)]
pub struct Mount;

impl JsonSchema for Mount {
    fn schema_name() -> Cow<'static, str> {
        "Mount".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let once = |field: &str, old: &str| {
            let about = format!("Another spelling of `{field}`.");
            json_schema!({
                "if": { "required": [field] },
                "then": { "properties": { old: { "not": {}, "description": about } } },
            })
        };
        json_schema!({
            "description": "What is uploaded to where: `from:to`, or a mapping.",
            "anyOf": [
                { "type": "string" },
                { "allOf": [generator.subschema_for::<MountPaths>(), once("from", "path_from"), once("to", "path_to")] },
            ],
        })
    }
}

/// A param in its long form, or a template.
#[derive(Debug)]
pub struct LongParam;

impl JsonSchema for LongParam {
    fn schema_name() -> Cow<'static, str> {
        "LongParam".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A param in its long form, or a template.",
            "anyOf": [generator.subschema_for::<ParamSpec>(), generator.subschema_for::<TemplateText>()],
        })
    }
}

/// A mapping with any keys.
#[derive(Debug)]
pub struct AnyMap;

impl JsonSchema for AnyMap {
    fn schema_name() -> Cow<'static, str> {
        "AnyMap".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "description": "A mapping with any keys." })
    }
}

/// A mapping whose `kind` decides its fields; kinds in `open` are known by name only.
pub(super) fn by_kind(description: &str, open: &[&str], kinds: &[(&str, Schema)]) -> Schema {
    let words: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).chain(open.iter().copied()).collect();
    let rules: Vec<Value> = kinds
        .iter()
        .map(|(kind, schema)| {
            serde_json::json!({
                "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] },
                "then": schema,
            })
        })
        .collect();
    let mut schema = json_schema!({
        "type": "object", "description": description, "required": ["kind"],
        "properties": { "kind": { "enum": words, "description": "Which kind it is; it decides the other fields." } },
    });
    if !rules.is_empty() {
        schema.insert("allOf".to_owned(), rules.into());
    }
    schema
}
