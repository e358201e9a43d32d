//! How operations hang on others beyond their params: `joins:` over the results of earlier runs, `events:` of others.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extras::{section, words};
use super::loose::{Exact, Switch, Templated};
use super::reading::{Fault, Fields, flag, is_template, text, whole};

/// Most runs that a join looks at, and how many when it does not say.
pub const MAX_JOINED: u64 = 5000;

/// Params made from the results of earlier runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinSpec {
    /// Which runs, in the query language.
    pub query: String,
    /// Their order, in the query language.
    pub sort: Option<String>,
    /// Most runs; 1..=[`MAX_JOINED`].
    pub limit: u64,
    /// How many to pass over.
    pub offset: u64,
    /// Which of their values become which params; each is a list with one element for each run.
    pub params: IndexMap<String, JoinParam>,
}

/// A value of each run that is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinParam {
    /// The path of the value: `inputs.x`, `outputs.x`, `globals.x`, `artifacts.x`, or a whole section; or files and
    /// folders of each run, as a mapping.
    pub value: Value,
    /// Whether it is only a template variable and no input.
    pub context_only: bool,
    /// The connection that it is read through.
    pub connection: Option<String>,
    /// Whether it is prepared by an init container.
    pub to_init: bool,
    /// The environment variable that holds it.
    pub to_env: Option<String>,
}

/// Events of another operation that start this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventTrigger {
    /// Which events; at least one.
    pub kinds: Vec<String>,
    /// The operation, `ops.NAME`, or `runs.UUID`.
    #[serde(rename = "ref")]
    pub reference: String,
}

impl JoinSpec {
    /// Reads one of `joins:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let (query, sort) = (fields.required("query", text), fields.optional("sort", text));
        let limit = fields.at_least(1, "limit").unwrap_or(MAX_JOINED).min(MAX_JOINED);
        let offset = fields.at_least(0, "offset").unwrap_or(0);
        let params = fields.section("params", |value| {
            let Value::Object(map) = value else { return Err(vec![whole(value, "a mapping")]) };
            let (mut params, mut faults) = (IndexMap::new(), Vec::new());
            for (name, written) in map {
                match JoinParam::read(written) {
                    Ok(param) => drop(params.insert(name.clone(), param)),
                    Err(inner) => faults.extend(inner.into_iter().map(|fault| fault.below(&format!("/{name}")))),
                }
            }
            if faults.is_empty() { Ok(params) } else { Err(faults) }
        });
        let params = params.unwrap_or_default();
        fields.finish(query.map(|query| Self { query, sort, limit, offset, params }))
    }
}

impl JoinParam {
    fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let value = fields.raw("value").filter(|value| value.is_object() || value.is_string()).cloned();
        if value.is_none() {
            fields.faults.push(Fault::late("/value", "a path such as `outputs.loss` is wanted here"));
        }
        let context_only = fields.optional("contextOnly", flag).unwrap_or_default();
        let (connection, to_env) = (fields.optional("connection", text), fields.optional("toEnv", text));
        let to_init = fields.optional("toInit", flag).unwrap_or_default();
        fields.finish(value.map(|value| Self { value, context_only, connection, to_init, to_env }))
    }
}

impl EventTrigger {
    /// Reads one of `events:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let kinds = fields.required("kinds", |value| match value {
            Value::Array(list) => list.iter().filter(|kind| !is_template(kind)).map(text).collect(),
            other => Err(whole(other, "a list").message),
        });
        let reference = fields.required("ref", text);
        fields.finish(kinds.zip(reference).map(|(kinds, reference)| Self { kinds, reference }))
    }

    /// The statuses among its events, by name; `done` stands for every final one.
    pub fn statuses(&self) -> impl Iterator<Item = &str> {
        self.kinds.iter().filter_map(|kind| kind.strip_prefix("run_status_"))
    }

    /// The operation of the same graph that it means, if it does.
    pub fn operation(&self) -> Option<&str> {
        self.reference.strip_prefix("ops.")
    }
}

section! { "Events of another operation that start this one." Event {
    "kinds": Vec<Templated<EventKind>> | required, "Which events.";
    "ref": String | required, "The operation, `ops.NAME`, or a template.", "ops.build";
} }

section! { "Params made from the results of earlier runs." Join {
    "query": String | required, "Which runs.", "status:succeeded";
    "sort": Option<String>, "Their order.", "-created_at";
    "limit": Exact, "Most runs; 5000 when absent, which is also the most.";
    "offset": Exact, "How many to pass over.";
    "params": Option<Templated<BTreeMap<String, JoinedParam>>>, "Which of their values become which params.";
    "ref": Option<String>, "Nothing goes by it here or in Polyaxon: for people.";
} }

section! { "A value of each run that is found." JoinedParam {
    "value": Value, "The path of the value, such as `outputs.loss`; or files and folders of each run.", "outputs.loss";
    "contextOnly": Switch, "Whether it is only a template variable and no input.";
    "connection": Option<String>, "The connection that it is read through.";
    "toInit": Switch, "Whether it is prepared by an init container.";
    "toEnv": Option<String>, "The environment variable that holds it.";
    "ref": Option<String>, "Nothing goes by it here or in Polyaxon: for people.";
} }

words! { "What may happen to a run." EventKind ["run_status_created", "run_status_resuming", "run_status_compiled", "run_status_on_schedule", "run_status_queued", "run_status_scheduled", "run_status_starting", "run_status_running", "run_status_processing", "run_status_stopping", "run_status_failed", "run_status_stopped", "run_status_succeeded", "run_status_skipped", "run_status_warning", "run_status_unschedulable", "run_status_upstream_failed", "run_status_retrying", "run_status_unknown", "run_status_done", "run_approved_actor", "run_invalidated_actor", "run_new_artifacts", "connection_git_commit", "connection_dataset_version", "connection_registry_image", "alert_info", "alert_warning", "alert_critical", "model_version_new_metric", "project_custom_event", "org_custom_event"] }
