//! The smaller sections of polyaxonfiles: hooks, builds, environments, init containers.
//! Their types give the schemas; what they mean is the business of whoever runs them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::component::Words;
use super::loose::{Flag, KubernetesObject, Templated, Texts};
use super::operation::{Cache, PatchStrategy};

macro_rules! section {
    ($doc:literal $name:ident { $($field:literal $(= $word:literal)? $(: $type:ty)? $(| $required:ident)?, $about:literal $(, $example:expr)?;)* }) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut properties = serde_json::Map::new();
                #[allow(unused_mut)]
                let mut required: Vec<&str> = Vec::new();
                $({
                    #[allow(unused_mut, unused_assignments)]
                    let mut schema = json_schema!({});
                    $(schema = json_schema!({ "const": $word }); required.push($field);)?
                    $(schema = generator.subschema_for::<$type>();)?
                    $(let _ = stringify!($required); required.push($field);)?
                    schema.insert("description".to_owned(), Value::from($about));
                    $(schema.insert("examples".to_owned(), serde_json::json!([$example]));)?
                    properties.insert($field.to_owned(), schema.into());
                })*
                let _ = generator;
                json_schema!({
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
    "presets": Option<Words>, "Names of presets that are merged over it.";
    "queue": Option<String>, "The queue that it goes to.";
    "namespace": Option<String>, "The Kubernetes namespace to run in.";
    "params": Option<AnyMap>, "Values for its inputs, by name.";
    "disableDefaults": Option<Flag>, "Whether it is given nothing about the run that has ended.";
} }

section! { "An image to build first." Build {
    "hubRef": String | required, "The component that builds.", "kaniko";
    "connection": Option<String>, "The registry.";
    "presets": Option<Words>, "Names of presets that are merged over it.";
    "queue": Option<String>, "The queue that it goes to.";
    "namespace": Option<String>, "The Kubernetes namespace to run in.";
    "cache": Option<Templated<Cache>>, "Whether a result of an equal earlier build may be taken.";
    "params": Option<AnyMap>, "Values for its inputs, by name.";
    "runPatch": Option<AnyMap>, "A partial `run` that is merged over that of the component.";
    "patchStrategy": Option<PatchStrategy>, "How it is merged.";
} }

section! { "What is uploaded to where." MountPaths {
    "from": Option<String>, "The path here.";
    "to": Option<String>, "The path there.";
    "path_from": Option<String>, "The path here.";
    "path_to": Option<String>, "The path there.";
} }

section! { "Labels, node selector, tolerations and other pod settings." Environment {
    "labels": Option<Templated<Texts>>, "Labels of the pod.";
    "annotations": Option<Templated<Texts>>, "Annotations of the pod.";
    "nodeSelector": Option<Templated<Texts>>, "Labels that the node must have.";
    "affinity": Option<KubernetesObject>, "Which nodes are preferred.";
    "tolerations": Option<Templated<Vec<Value>>>, "Which taints of nodes are tolerated.";
    "nodeName": Option<String>, "The node.";
    "serviceAccountName": Option<String>, "The service account.";
    "hostAliases": Option<Templated<Vec<Value>>>, "Entries of /etc/hosts.";
    "securityContext": Option<KubernetesObject>, "Security settings of the pod.";
    "imagePullSecrets": Option<Templated<Vec<String>>>, "Names of secrets for pulling images.";
    "hostNetwork": Option<Flag>, "Whether the network of the node is used.";
    "hostPID": Option<Flag>, "Whether the processes of the node are seen.";
    "dnsPolicy": Option<String>, "How names are resolved.";
    "dnsConfig": Option<KubernetesObject>, "How names are resolved, in detail.";
    "schedulerName": Option<String>, "The scheduler of Kubernetes.";
    "priorityClassName": Option<String>, "The priority class of Kubernetes.";
    "priority": Option<super::loose::Amount>, "The priority of Kubernetes.";
    "restartPolicy": Option<RestartPolicy>, "When Kubernetes restarts the container.";
} }

section! { "What is prepared before the main container: at most one of artifacts, paths, git, dockerfile, file, tensorboard and the refs." Init {
    "artifacts": Option<Templated<AnyMap>>, "Files of earlier runs.";
    "paths": Option<Value>, "Paths of the connection.";
    "git": Option<Templated<AnyMap>>, "A repository.";
    "dockerfile": Option<Templated<Dockerfile>>, "A Dockerfile to generate.";
    "file": Option<Templated<AnyMap>>, "A file to write.";
    "tensorboard": Option<Templated<AnyMap>>, "Runs for Tensorboard.";
    "lineageRef": Option<String>, "An artifact by its lineage.";
    "modelRef": Option<String>, "A version of a model.";
    "artifactRef": Option<String>, "A version of an artifact.";
    "connection": Option<String>, "The connection that it is read through.";
    "path": Option<String>, "Where it is mounted.";
    "container": Option<KubernetesObject>, "Settings of the init container.";
} }

section! { "A Dockerfile to generate." Dockerfile {
    "image": String | required, "The image to start from.";
    "env": Option<Value>, "Environment variables.";
    "path": Option<Value>, "Paths to put on PATH.";
    "copy": Option<Value>, "What is copied in first.";
    "postRunCopy": Option<Value>, "What is copied in last.";
    "run": Option<Value>, "Commands.";
    "langEnv": Option<String>, "The locale.";
    "uid": Option<Value>, "The user id.";
    "gid": Option<Value>, "The group id.";
    "username": Option<String>, "The user.";
    "userHome": Option<String>, "The home of the user.";
    "filename": Option<String>, "The name of the file.";
    "workdir": Option<String>, "The directory to start in.";
    "workdirPath": Option<String>, "What is copied to it.";
    "shell": Option<String>, "The shell.";
} }

section! { "A container that listens." ServiceRun {
    "kind" = "service", "Always `service`.";
    "environment": Option<Templated<Environment>>, "Labels, node selector, tolerations and other pod settings.";
    "connections": Option<Templated<Vec<String>>>, "Names of connections to mount.";
    "volumes": Option<Templated<Vec<Value>>>, "Kubernetes volumes.";
    "init": Option<Templated<Vec<Init>>>, "What is prepared before the main container.";
    "sidecars": Option<Templated<Vec<super::Container>>>, "Containers beside the main one.";
    "container": Option<Templated<super::Container>>, "The main container.";
    "ports": Option<Templated<Vec<i64>>>, "The ports that it listens on.";
    "rewritePath": Option<Flag>, "Whether its path is rewritten.";
    "isExternal": Option<Flag>, "Whether it is reached from outside.";
    "replicas": Option<Templated<i64>>, "How many of it.";
} }

macro_rules! words {
    ($doc:literal $name:ident [$($word:literal),*]) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$($word),*], "description": $doc })
            }
        }
    };
}

pub(super) use words;

words! { "The end of a run after which a hook fires." HookTrigger ["succeeded", "failed", "stopped", "skipped", "upstream_failed", "done"] }
words! { "When Kubernetes restarts the container." RestartPolicy ["Always", "OnFailure", "Never", "ExitCode"] }
/// What is uploaded to where: `from:to`, or a mapping.
#[derive(Debug)]
pub struct Mount;

impl JsonSchema for Mount {
    fn schema_name() -> Cow<'static, str> {
        "Mount".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What is uploaded to where: `from:to`, or a mapping.",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<MountPaths>()],
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
    json_schema!({
        "type": "object", "description": description, "required": ["kind"],
        "properties": { "kind": { "enum": words, "description": "Which kind it is; it decides the other fields." } },
        "allOf": rules,
    })
}
