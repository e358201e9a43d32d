//! `kind: component`: a reusable definition of inputs, outputs and what to run. Polyaxon's words.
//!
//! The run kind `job` is typed here; the others are recognised by name and kept as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extras::{Build, Environment, Hook, Init, Mount, ServiceRun, by_kind};
use super::loose::{Amount, EntityName, Flag, Templated};
use super::operation::{Cache, Plugins, Template, Termination};
use crate::domain::quantity::Resources;

/// A reusable definition: inputs, outputs and what to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// The version of the specification, 1.1; an inline component needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<super::Version>")]
    pub version: Option<f64>,
    /// Always `component`; an inline component needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["component", null]))]
    pub kind: Option<String>,
    /// The name of the component; letters, digits, `-` and `_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<EntityName>")]
    pub name: Option<String>,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people and queries; changes nothing. A list, or words with commas between.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "words")]
    #[schemars(with = "Option<Words>")]
    pub tags: Vec<String>,
    /// Names of presets that are merged over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "words")]
    #[schemars(with = "Option<Words>")]
    pub presets: Vec<String>,
    /// The queue of operations that name none: it throttles all who reference this component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The Kubernetes namespace to run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whether a result of an equal earlier run may be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Cache>>")]
    pub cache: Option<Cache>,
    /// Retries, timeout and clean-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Termination>>")]
    pub termination: Option<Termination>,
    /// Switches of what accompanies the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Plugins>>")]
    pub plugins: Option<Plugins>,
    /// An image to build first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Build>>")]
    pub build: Option<Value>,
    /// What to start when the run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<Hook>>>")]
    pub hooks: Option<Value>,
    /// `false`: the run waits until somebody approves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub is_approved: Option<Value>,
    /// What one run costs, in the organization's unit; counts against the quota `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Amount>")]
    pub cost: Option<Value>,
    /// Hints for uploads from the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Mount>>")]
    pub mount: Option<Value>,
    /// Marks it as a form to be filled in: it starts nothing by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// What it must be given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Io>>")]
    pub inputs: Vec<Io>,
    /// What it reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Io>>")]
    pub outputs: Vec<Io>,
    /// What to run.
    pub run: Run,
}

/// How a list of words may be written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // the fields are read by the schema and by `words`
pub(super) enum Words {
    /// A list.
    List(Vec<String>),
    /// Words with commas between.
    Text(String),
}

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

/// Reads a list of words, or a text with commas between.
pub(super) fn words<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Option::<Words>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::List(list)) => list,
        Some(Words::Text(text)) => {
            text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        }
    })
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Io {
    /// Its name; also the template variable.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The type of its value; anything when absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"float")]
    pub io_type: Option<IoType>,
    /// The value when none is given; makes it optional.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Whether it may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub is_optional: Option<bool>,
    /// Whether it takes a list of values of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub is_list: Option<bool>,
    /// Whether it is written as a flag on a command line; only for `bool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub is_flag: Option<bool>,
    /// How it is written on a command line, as a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"--lr={{ lr }}")]
    pub arg_format: Option<String>,
    /// The connection that it is read through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Whether it is prepared by an init container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_init: Option<bool>,
    /// The environment variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_env: Option<String>,
    /// Rules for its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<IoValidation>,
    /// Whether its value is checked only when the run starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_validation: Option<bool>,
    /// Old place of `validation.options`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("deprecated" = true))]
    pub options: Option<Vec<Value>>,
}

/// The type of an input or output, by its word (`int`, `float`, `str`, `bool`, `dict`, `list`, `uri`, `uuid`, …).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct IoType(pub String);

/// Rules for a value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs)] // the names are the rules
pub struct IoValidation {
    /// Greater than.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gt: Option<f64>,
    /// Greater than or equal to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ge: Option<f64>,
    /// Less than.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lt: Option<f64>,
    /// Less than or equal to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub le: Option<f64>,
    /// A multiple of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple_of: Option<f64>,
    /// Fewest digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_digits: Option<u32>,
    /// Most digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_digits: Option<u32>,
    /// Most digits after the point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal_places: Option<u32>,
    /// A regular expression that matches from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Fewest characters or elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u32>,
    /// Most characters or elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// What must be in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<Value>,
    /// What must not be in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excludes: Option<Value>,
    /// The only values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<Value>>,
    /// Fewest elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_items: Option<u32>,
    /// Most elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
    /// Exactly these keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// At least these keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains_keys: Option<Vec<String>>,
    /// None of these keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excludes_keys: Option<Vec<String>>,
    /// The same as `delayValidation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<bool>,
}

/// The kinds of what can run, by the word in `run.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// A container that ends.
    Job,
    /// A container that listens.
    Service,
    /// A graph of operations.
    Dag,
    /// TensorFlow replicas.
    TfJob,
    /// PyTorch replicas.
    PytorchJob,
    /// MPI replicas.
    MpiJob,
    /// A Ray cluster.
    RayCluster,
    /// A Dask cluster.
    DaskCluster,
    /// Sends notifications.
    Notifier,
    /// Makes suggestions for a search.
    Tuner,
    /// Removes artifacts.
    Cleaner,
}

/// What to run. Only `job` is typed; any other kind keeps its fields as written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Run {
    /// A container that ends.
    Job(Box<JobRun>),
    /// A kind that is recognised by its name.
    Other(OtherRun),
}

impl JsonSchema for Run {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Run".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let kinds =
            [("job", generator.subschema_for::<JobRun>()), ("service", generator.subschema_for::<ServiceRun>())];
        let others =
            ["dag", "tfjob", "pytorchjob", "mpijob", "raycluster", "daskcluster", "notifier", "tuner", "cleaner"];
        by_kind("What to run; `kind` decides the fields.", &others, &kinds)
    }
}

impl Run {
    /// The kind of what runs.
    pub fn kind(&self) -> RunKind {
        match self {
            Self::Job(_) => RunKind::Job,
            Self::Other(other) => other.kind,
        }
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let error = |e: serde_json::Error| serde::de::Error::custom(e);
        if value.get("kind").and_then(Value::as_str) == Some("job") {
            serde_json::from_value(value).map(|job| Self::Job(Box::new(job))).map_err(error)
        } else {
            serde_json::from_value(value).map(Self::Other).map_err(error)
        }
    }
}

/// A run kind that is recognised by its name, with its fields as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OtherRun {
    /// Which kind.
    pub kind: RunKind,
    /// Its fields.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// A container that ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobRun {
    /// Always `job`.
    #[schemars(extend("const" = "job"))]
    pub kind: String,
    /// Labels, node selector, tolerations and other pod settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Environment>>")]
    pub environment: Option<Value>,
    /// Names of connections to mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Templated<Vec<String>>>")]
    pub connections: Vec<String>,
    /// Kubernetes volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Templated<Vec<Value>>>")]
    pub volumes: Vec<Value>,
    /// What is prepared before the main container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Templated<Vec<Init>>>")]
    pub init: Vec<Value>,
    /// Containers beside the main one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Templated<Vec<Container>>>")]
    pub sidecars: Vec<Value>,
    /// The main container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Container>>")]
    pub container: Option<Container>,
}

/// A container, with the fields of Kubernetes; those that are not needed here are passed through.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// Its name in the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The image. A local agent has no containers: it runs `command` on the machine itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The program and its first arguments; a text is a list of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "command")]
    #[schemars(with = "Option<Lines>", example = &["sh", "-c"])]
    pub command: Vec<Value>,
    /// Further arguments; a text is split at white space after rendering.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Lines>")]
    pub args: Option<Value>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Templated<Vec<EnvVar>>>")]
    pub env: Vec<EnvVar>,
    /// The directory to start in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// What it asks for and what it may use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<ResourceRequests>>")]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
