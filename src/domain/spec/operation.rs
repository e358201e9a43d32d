//! `kind: operation`: an invocation of a component, and presets (partial operations). Polyaxon's words.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Version;
use super::component::{Component, Words, words};
use super::extras::{AnyMap, Build, CacheSection, Culling, Hook, Mount, Notification, Probe, SidecarSettings};
use super::kubernetes::PodFailurePolicy;
use super::links::{Event, Join};
use super::loose::{Amount, EntityName, Flag, Inline, Switch, Templated};
use super::matrix::Matrix;
use super::schedule::AnySchedule;

/// An invocation of a component: a reference or an inline component, with its params.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// The version of the specification, 1.1; an inline operation needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Version>")]
    pub version: Option<f64>,
    /// Always `operation`; an inline operation and a preset need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["operation", null]))]
    pub kind: Option<String>,
    /// The name of the operation; letters, digits, `-` and `_`.
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
    /// Names of presets that are merged over it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "words")]
    #[schemars(with = "Option<Words>")]
    pub presets: Vec<String>,
    /// The queue, `agent/queue`, or `queue` of the only agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"us-east/gpu")]
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
    #[schemars(with = "Option<Termination>")]
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
    /// Values for the inputs of the component, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "Option<IndexMap<String, Param>>")]
    pub params: IndexMap<String, Param>,
    /// When it is started again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AnySchedule>")]
    pub schedule: Option<Value>,
    /// Events of other operations that start it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<Event>>>")]
    pub events: Option<Value>,
    /// Many runs with different params.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Matrix>")]
    pub matrix: Option<Value>,
    /// Params made from the results of earlier runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<Join>>>")]
    pub joins: Option<Value>,
    /// Names of the operations of the same graph that come before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<String>>>")]
    pub dependencies: Option<Value>,
    /// What must have become of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Trigger>>")]
    pub trigger: Option<Trigger>,
    /// An expression that must be true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<String>,
    /// Whether it is skipped when one before it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub skip_on_upstream_skip: Option<bool>,
    /// A component of this repository, by name or `name:tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub_ref: Option<String>,
    /// A component of the same graph, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dag_ref: Option<String>,
    /// A component at a URL, of which the repository keeps a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_ref: Option<String>,
    /// A component in a file, relative to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"./train.yaml")]
    pub path_ref: Option<String>,
    /// The component itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Inline<Component>>")]
    pub component: Option<Box<Component>>,
    /// How it is merged over what it patches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_strategy: Option<PatchStrategy>,
    /// Marks it as a preset: a partial operation that others name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub is_preset: Option<bool>,
    /// A partial `run` that is merged over the component's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AnyMap>")]
    pub run_patch: Option<Value>,
}

/// A preset is a partial operation with `isPreset: true`.
pub type Preset = Operation;

/// A value for an input: the value itself, or the long form.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Param {
    /// The long form.
    Spec(ParamSpec),
    /// The value itself.
    Literal(Value),
}

/// The keys of which one makes a mapping the long form of a param.
pub const LONG_FORM: [&str; 6] = ["value", "ref", "contextOnly", "connection", "toInit", "toEnv"];
/// The same in the old spelling.
const OLD_LONG_FORM: [&str; 3] = ["context_only", "to_init", "to_env"];

/// Whether a mapping is the long form of a param, not a value.
pub fn is_long_form(map: &serde_json::Map<String, Value>) -> bool {
    map.is_empty() || map.keys().any(|key| LONG_FORM.iter().chain(&OLD_LONG_FORM).any(|known| key == known))
}

impl JsonSchema for Param {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Param".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long: Vec<Value> =
            LONG_FORM.iter().chain(&OLD_LONG_FORM).map(|key| serde_json::json!({ "required": [key] })).collect();
        schemars::json_schema!({
            "description": "A value for an input: the value itself, or the long form.",
            "if": { "type": "object", "anyOf": long },
            "then": { "allOf": [
                generator.subschema_for::<ParamSpec>(),
                {
                    "if": { "properties": { "ref": { "type": "string" } }, "required": ["ref"] },
                    "then": {
                        "properties": { "value": { "type": "string", "description": "The path of what is referred to." } },
                        "required": ["value"],
                    },
                },
            ] },
        })
    }
}

impl<'de> Deserialize<'de> for Param {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match &value {
            Value::Object(map) if is_long_form(map) => {
                serde_json::from_value(value).map(Self::Spec).map_err(serde::de::Error::custom)
            }
            _ => Ok(Self::Literal(value)),
        }
    }
}

/// The long form of a param.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParamSpec {
    /// The value, a template, or with `ref` the path of what is referred to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// `ops.NAME`, `runs.UUID` or `dag`.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Whether it is only a template variable and no input.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub context_only: Option<bool>,
    /// The connection that it is read through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Whether it is prepared by an init container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub to_init: Option<bool>,
    /// The environment variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_env: Option<String>,
}

/// How two values are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PatchStrategy {
    /// The patch wins; mappings are merged, lists appended.
    #[default]
    PostMerge,
    /// What is patched wins; mappings are merged, lists prepended.
    PreMerge,
    /// The patch wins; mappings and lists are replaced whole.
    Replace,
    /// The patch only fills what is absent.
    Isnull,
}

/// What must have become of the operations before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the words say it
pub enum Trigger {
    AllSucceeded,
    AllFailed,
    AllDone,
    OneSucceeded,
    OneFailed,
    OneDone,
}

/// Retries, timeout and clean-up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Termination {
    /// How often a failed run is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<i64>>")]
    pub max_retries: Option<Value>,
    /// Seconds that a finished run's objects are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<i64>>")]
    pub ttl: Option<Value>,
    /// Seconds that one attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<i64>>")]
    pub timeout: Option<Value>,
    /// When an idle service is shut down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Culling>")]
    pub culling: Option<Value>,
    /// How idleness is found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Probe>")]
    pub probe: Option<Value>,
    /// Kubernetes' own policy for failed pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PodFailurePolicy>")]
    pub pod_failure_policy: Option<Value>,
}

/// Whether a result of an equal earlier run may be taken.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cache {
    /// Switches it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub disable: Option<bool>,
    /// Seconds that a result stays good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<i64>>")]
    pub ttl: Option<i64>,
    /// The inputs that count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<String>>>")]
    pub io: Option<Vec<String>>,
    /// The sections that count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<CacheSection>>>")]
    pub sections: Option<Vec<String>>,
}

/// Switches of what accompanies the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plugins {
    /// Whether the run is given a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub auth: Option<Value>,
    /// Whether the Docker socket is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub docker: Option<Value>,
    /// Whether shared memory is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub shm: Option<Value>,
    /// Whether the container runs in tmux.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub tmux: Option<Value>,
    /// Whether it is a sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub sandbox: Option<Value>,
    /// Whether it is reached by ssh.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub ssh: Option<Value>,
    /// Whether the store of artifacts is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub mount_artifacts_store: Option<Value>,
    /// Whether artifacts are collected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub collect_artifacts: Option<Value>,
    /// Whether logs are collected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub collect_logs: Option<Value>,
    /// Whether the use of resources is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub collect_resources: Option<Value>,
    /// Whether statuses are reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub sync_statuses: Option<Value>,
    /// Whether it is resumed by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub auto_resume: Option<Value>,
    /// How much is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub log_level: Option<Value>,
    /// Whether the address from outside is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub external_host: Option<Value>,
    /// Settings of the sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<SidecarSettings>>")]
    pub sidecar: Option<Value>,
    /// Who is told about its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<Notification>>>")]
    pub notifications: Option<Value>,
}

/// Marks a file as a form to be filled in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// Whether it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub enabled: Option<bool>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The fields to fill in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<String>>>")]
    pub fields: Option<Vec<String>>,
}
