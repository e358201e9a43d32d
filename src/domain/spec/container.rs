//! A container with the fields of Kubernetes, as polyaxonfiles write it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::quantity::Resources;

/// How a command line may be written: a list of texts, or one text.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // read by the schema
pub(super) enum Lines {
    /// A list.
    List(Vec<Value>),
    /// One text.
    Text(String),
}

/// A container, with the fields of Kubernetes; those that are not needed here are passed through.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// Its name in the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Word>")]
    pub name: Option<String>,
    /// The image. A local agent has no containers: it runs `command` on the machine itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Word>")]
    pub image: Option<String>,
    /// The program and its first arguments; a text is a list of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "command")]
    #[schemars(with = "Option<AnyLines>", example = &["sh", "-c"])]
    pub command: Vec<Value>,
    /// Further arguments; a text is split at white space after rendering.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AnyLines>")]
    pub args: Option<Value>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<EnvVars>")]
    pub env: Vec<EnvVar>,
    /// The directory to start in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Word>")]
    pub working_dir: Option<String>,
    /// What it asks for and what it may use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Resourced>")]
    pub resources: Option<ResourceRequests>,
    /// Environment variables from config maps and secrets; only in Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_from: Option<Value>,
    /// Ports of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Value>,
    /// Where volumes are mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_mounts: Option<Value>,
    /// Raw block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_devices: Option<Value>,
    /// How to see that it hangs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Value>,
    /// How to see that it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Value>,
    /// How to see that it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Value>,
    /// What to do after its start and before its stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Value>,
    /// Where it writes its last words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_message_path: Option<Value>,
    /// Where its last words are taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_message_policy: Option<Value>,
    /// When the image is pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<Value>,
    /// Security settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Value>,
    /// Whether it has an input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Value>,
    /// Whether its input closes after the first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin_once: Option<Value>,
    /// Whether it has a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<Value>,
    /// What a change of its resources does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize_policy: Option<Value>,
    /// When it is restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<Value>,
    /// When it is restarted, by its exit codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy_rules: Option<Value>,
}

/// A shape below the first level of a Kubernetes object. The original looks no deeper, so what does not fit is told as
/// a warning (`compile::oddities`), and the schema helps editors only.
macro_rules! loose {
    ($(#[$about:meta])* $name:ident $inner:ty) => {
        $(#[$about])*
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "anyOf": [generator.subschema_for::<$inner>(), true] })
            }
        }
    };
}

loose! {
    /// A text.
    Word String
}
loose! {
    /// A list of texts, or one text.
    AnyLines Lines
}
loose! {
    /// Environment variables.
    EnvVars Vec<EnvVar>
}
loose! {
    /// What a container asks for and may use.
    Resourced ResourceRequests
}

/// Reads a command: a list, or a text that is a list of one.
fn command<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    })
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Where its value comes from; only in Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<Value>,
}

/// What a container asks for and what it may use at most. A limit without a request is also the request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRequests {
    /// What it asks for; counts against quota and capacity.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub requests: Resources,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub limits: Resources,
    /// Kubernetes resource claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Value>,
}
