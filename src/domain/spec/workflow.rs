//! `kind: workflow`: a named thing in a project that can start runs: an operation plus its triggers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schedule::Schedule;
use super::{Operation, Version};
use crate::domain::ids::{Name, ProjectName};

/// A named thing in a project that can start runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workflow {
    /// The version of the specification, always 1.1.
    pub version: Version,
    /// Always `workflow`.
    #[schemars(extend("const" = "workflow"))]
    pub kind: String,
    /// The name of the workflow within its project.
    pub name: Name,
    /// The project; that of the folder `projects/NAME/` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// The name that the workflow had before; its cursor and history move along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_name: Option<Name>,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people and queries; changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The queue of its runs, `agent/queue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"us-east/gpu")]
    pub queue: Option<String>,
    /// What starts it; `push` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triggers: Option<Vec<TriggerSpec>>,
    /// How its own runs stand to one another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersede: Option<Supersede>,
    /// What becomes of its runs when the file is removed.
    #[serde(default)]
    pub on_remove: WorkflowOnRemove,
    /// What it runs: an operation, or `pathRef` to a file that holds one.
    pub operation: OperationSource,
}

/// An operation in place, or the file that holds one; kept as written, since its fields may be templates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct OperationSource(#[schemars(with = "Operation")] pub Value);

/// What starts a workflow; exactly one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TriggerSpec {
    /// A commit that changes what it means.
    Push(Push),
    /// The time.
    Schedule(Schedule),
    /// A person or the API.
    Dispatch(Dispatch),
}

impl JsonSchema for TriggerSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Trigger".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let described = |mut schema: schemars::Schema, text: &str| {
            schema.insert("description".to_owned(), text.into());
            schema
        };
        schemars::json_schema!({
            "type": "object",
            "description": "What starts a workflow; exactly one of `push`, `schedule` and `dispatch`.",
            "properties": {
                "push": described(generator.subschema_for::<Push>(), "A commit that changes what it means, or the files that it watches."),
                "schedule": described(generator.subschema_for::<Schedule>(), "The time: by crontab, again and again, or once."),
                "dispatch": described(generator.subschema_for::<Dispatch>(), "A person or the API."),
            },
            "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
        })
    }
}

/// A commit that changes what the workflow means, or the files that it watches.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Push {
    /// Files to watch, as globs from the root of the repository; a change in them starts a run too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = &["models/**"])]
    pub paths: Vec<String>,
    /// Which changes start a run.
    #[serde(default)]
    pub fires: Fires,
}

/// Which changes start a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fires {
    /// Every change of meaning.
    #[default]
    OnChange,
    /// Only the first appearance.
    OnCreate,
    /// Every commit that is synced.
    EveryCommit,
    /// None.
    Never,
}

/// A person or the API.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dispatch {
    /// What may be given, each as a JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Value>,
}

/// How the runs of a workflow (or of a named group) stand to one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Supersede {
    /// The group; `{{project}}` and `{{name}}` are filled in. Default `{{project}}/{{name}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Most runs of the group queued or beyond. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u32>,
    /// What becomes of a new run when the group is full.
    #[serde(default)]
    pub when_busy: WhenBusy,
}

/// What becomes of a new run when its group is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhenBusy {
    /// It waits.
    #[default]
    Queue,
    /// It waits, and takes the place of those that wait.
    ReplaceQueued,
    /// It waits until the others have been stopped.
    CancelRunning,
    /// It is recorded as skipped.
    Skip,
}

/// What becomes of the runs of a removed workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WorkflowOnRemove {
    /// They go on.
    #[default]
    Keep,
    /// Those that wait are stopped.
    CancelQueued,
    /// All are stopped.
    CancelAll,
}
