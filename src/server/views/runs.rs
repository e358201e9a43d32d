//! Runs and what starts them.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DiagnosticView, moment};
use crate::domain::dispatch::history::{ConditionRow, RunRow};
use crate::domain::ids::ProjectName;
use crate::domain::quantity::Resources;

view! {
    /// One run.
    RunView {
        /// Its id.
        uuid: String,
        /// Its project.
        project: String,
        /// The workflow that it came from.
        workflow: Option<String>,
        /// Its name, for people.
        name: String,
        /// The commit that it is pinned to.
        commit: Option<String>,
        /// Its queue, `agent/queue`.
        queue: String,
        /// The agent of its queue.
        agent: String,
        /// Where it is in its life.
        status: String,
        /// When it was asked for.
        created_at: String,
        /// When its first attempt first ran.
        started_at: Option<String>,
        /// When it ended.
        finished_at: Option<String>,
        /// When it first stood in its queue.
        queued_at: Option<String>,
        /// Its newest attempt; 0 before the first.
        attempt: u32,
        /// Its kind (`job`, `dag`, …).
        kind: String,
        /// For queries.
        tags: Vec<String>,
        /// What an attempt asks for.
        request: Resources,
        /// The pipeline that it is a direct child of.
        parent: Option<String>,
        /// Exit code of its main process.
        exit_code: Option<i32>,
        /// Why it has this status: one word.
        reason: Option<String>,
        /// Why it has this status: one sentence.
        message: Option<String>,
        /// What it reported, by name.
        outputs: Map<String, Value>,
        /// What started it.
        origin: Value,
    }
}

view! {
    /// One step in the life of a run.
    ConditionView {
        /// Position in the log: greater is later.
        seq: u64,
        /// The run.
        uuid: String,
        /// The status that began; absent when the run kept its status.
        status: Option<String>,
        /// The attempt, for steps of one.
        attempt: Option<u32>,
        /// One word.
        reason: Option<String>,
        /// One sentence.
        message: Option<String>,
        /// When.
        at: String,
    }
}

view! {
    /// Why a run is not running now.
    ExplainView {
        /// The run.
        uuid: String,
        /// Where it is in its life.
        status: String,
        /// The blocker, by its kind in `blocker`; absent for a run that has ended.
        blocker: Option<Value>,
        /// The same as a sentence, with what would mend it.
        sentence: String,
        /// When it may expect to start; absent when it does not wait, or nothing has ended lately to go by.
        forecast: Option<ForecastView>,
    }
}

view! {
    /// What those that wait may expect as things are, and after a change of policy; both times with the same durations.
    WhatIfView {
        /// How many recent durations this rests on; with none every run is taken to last a minute.
        samples: u64,
        /// Whether there was too much to play to the end: what is left may start all the same.
        cut: bool,
        /// The commit that is applied.
        applied: Option<String>,
        /// Whether the policies of the files differ from those that are applied.
        differs: bool,
        /// The queues in which somebody waits now, by name.
        queues: Vec<QueueWaitsView>,
        /// Problems of the files.
        diagnostics: Vec<DiagnosticView>,
    }
}

view! {
    /// What those that wait in one queue may expect.
    QueueWaitsView {
        /// The queue in which they stand now, `agent/queue`.
        queue: String,
        /// As things are.
        before: WaitsView,
        /// After the change.
        after: WaitsView,
    }
}

view! {
    /// What becomes of those that wait in a queue; waits are in seconds from now, of those that start.
    WaitsView {
        /// How many start.
        started: u64,
        /// How many are stopped, because their queue is removed.
        stopped: u64,
        /// How many do not start.
        left: u64,
        /// The mean wait.
        mean_seconds: Option<f64>,
        /// Nine of ten wait no longer.
        p90_seconds: Option<f64>,
        /// The wait of the last.
        last_seconds: Option<f64>,
    }
}

view! {
    /// When a waiting run may expect to start, by the real dispatcher run ahead with recent durations. What comes later
    /// and goes first is not foreseen.
    ForecastView {
        /// Half of the futures had it started by then, in seconds from now; absent when fewer did.
        p50_seconds: Option<f64>,
        /// Nine of ten had.
        p90_seconds: Option<f64>,
        /// How many durations this rests on.
        samples: u64,
        /// How far to rely on it: `low`, `fair` or `good`.
        confidence: String,
        /// The same as a sentence.
        sentence: String,
    }
}

/// What to start: exactly one of `workflow` and `file`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StartBody {
    /// The id of the run; asking again with the same one makes no second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The project; may be absent when the workflow says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// A workflow of the applied commit: `project/workflow`, or its name within `project`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// A polyaxonfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileText>,
    /// Files that the polyaxonfile refers to by path, as seen from it: `./train.yaml`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<FileText>,
    /// Values for inputs.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub params: IndexMap<String, Value>,
    /// The queue, in place of the one that would be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The name, in place of the operation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Presets to merge over it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub presets: Vec<String>,
}

/// How to run an earlier run again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgainBody {
    /// The id of the new run; asking again with the same one makes no second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The queue, in place of that of the earlier run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The name, in place of that of the earlier run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A file as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileText {
    /// Its path, for messages and for what it refers to.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl From<RunRow> for RunView {
    fn from(row: RunRow) -> Self {
        let (reason, message) = row.cause.map(|cause| (cause.reason, cause.message)).unzip();
        Self {
            uuid: row.id.to_string(),
            project: row.project.to_string(),
            workflow: row.workflow.as_ref().map(ToString::to_string),
            name: row.name,
            commit: row.commit.as_ref().map(ToString::to_string),
            queue: row.queue.to_string(),
            agent: row.queue.agent.to_string(),
            status: row.status.to_string(),
            created_at: row.created_at.to_string(),
            started_at: moment(row.started_at),
            finished_at: moment(row.finished_at),
            queued_at: moment(row.queued_at),
            attempt: row.attempt.0,
            kind: row.kind,
            tags: row.tags,
            request: row.request,
            parent: row.parent.as_ref().map(ToString::to_string),
            exit_code: row.exit_code,
            reason,
            message,
            outputs: row.outputs,
            origin: serde_json::to_value(&row.origin).unwrap_or_default(),
        }
    }
}

impl From<ConditionRow> for ConditionView {
    fn from(row: ConditionRow) -> Self {
        let (reason, message) = row.cause.map(|cause| (cause.reason, cause.message)).unzip();
        Self {
            seq: row.seq.0,
            uuid: row.run.to_string(),
            status: row.status.map(|status| status.to_string()),
            attempt: row.attempt.map(|attempt| attempt.0),
            reason,
            message,
            at: row.at.to_string(),
        }
    }
}
