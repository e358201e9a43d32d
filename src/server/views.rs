//! What goes over the wire, and nothing else: camelCase JSON, moments in RFC 3339, ids as 32 hexadecimal digits.
//!
//! The command line reads the same types. Fields are only ever added.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::control::SyncStatus;
use crate::domain::catalog::{Catalog, Declared, QueuePolicy, ResolvedWorkflow};
use crate::domain::diagnostic::{Diagnostic, Diagnostics};
use crate::domain::dispatch::history::{ConditionRow, RunRow, SyncRow};
use crate::domain::dispatch::{AgentView as Agent, QueueView as Queue};
use crate::domain::ids::{ProjectName, WorkflowName};
use crate::domain::quantity::Resources;
use crate::domain::spec::{Limit, Order, Priority, TargetSpec};
use crate::domain::time::Timestamp;

macro_rules! view {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

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
    }
}

view! {
    /// What may be set of a queue.
    QueueSettings {
        /// Its level; -1 is the highest.
        priority: Priority,
        /// Most operations at once; -1 is unlimited.
        concurrency: Limit,
        /// What its running operations may ask together.
        quota: Resources,
        /// Its share among the queues of its level.
        weight: u32,
        /// Whether the first in line blocks.
        order: Order,
        /// Whether nothing is dispatched.
        hold: bool,
    }
}

view! {
    /// A queue with its use.
    QueueView {
        /// Its full name, `agent/queue`.
        name: String,
        /// Its agent.
        agent: String,
        /// What is in force.
        #[serde(flatten)]
        settings: QueueSettings,
        /// Operations that hold a slot.
        running: u32,
        /// Operations that stand in line.
        queued: u32,
        /// What the running ones ask together.
        used: Resources,
        /// What git says, when somebody changed the queue through the API.
        declared: Option<QueueSettings>,
        /// Who changed it.
        changed_by: Option<String>,
        /// Whether it is removed and only finishes what it has.
        removed: bool,
    }
}

view! {
    /// A place in a queue's line.
    PlaceView {
        /// From 1.
        position: usize,
        /// The run.
        uuid: String,
        /// Its name.
        name: String,
        /// Its project.
        project: String,
        /// What it asks for.
        request: Resources,
        /// When it was asked for.
        created_at: String,
    }
}

/// What to change of a queue; absent fields stay. The next applied commit heals it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueChange {
    /// Whether nothing is dispatched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// Most operations at once; -1 is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
    /// Its level; -1 is the highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

view! {
    /// A level of priority of an agent.
    LevelView {
        /// The level; -1 is the highest.
        priority: Priority,
        /// How many operations it may run at once now; absent when nothing limits it.
        budget: Option<u64>,
        /// How many it runs.
        running: u32,
    }
}

view! {
    /// An agent with its use.
    AgentView {
        /// Its name.
        name: String,
        /// What it dispatches to.
        target: String,
        /// Whether it can be reached.
        up: bool,
        /// Most operations at once; -1 is unlimited.
        concurrency: Limit,
        /// What they may ask together.
        capacity: Resources,
        /// Operations that hold a slot.
        running: u32,
        /// Operations that stand in its queues.
        queued: u32,
        /// What the running ones ask together.
        used: Resources,
        /// Its levels, highest first.
        levels: Vec<LevelView>,
        /// Whether it is removed and only finishes what it has.
        removed: bool,
    }
}

view! {
    /// A project.
    ProjectView {
        /// Its name.
        name: String,
        /// The queue of operations that name none.
        default_queue: Option<String>,
        /// The only queues that it may use, as globs; any when absent.
        queues: Option<Vec<String>>,
        /// Most operations queued or beyond; -1 is unlimited.
        concurrency: Limit,
        /// Its workflows.
        workflows: Vec<String>,
    }
}

view! {
    /// A workflow of the applied commit.
    WorkflowView {
        /// Its project.
        project: String,
        /// Its name within the project.
        name: String,
        /// The queue of its runs.
        queue: String,
        /// What starts it: `push`, `schedule`, or only people.
        triggers: Vec<String>,
        /// Its kind (`job`, `dag`, …).
        kind: String,
        /// Its inputs and their values.
        inputs: Map<String, Value>,
        /// Its file, with line and column.
        place: Option<String>,
        /// The digest of its meaning.
        spec_digest: String,
        /// Why it cannot run here, if so.
        unrunnable: Option<String>,
        /// What it runs, with everything merged in; templates are not filled in.
        run: Value,
    }
}

view! {
    /// How the git side stands.
    SyncView {
        /// What is followed, without credentials.
        source: String,
        /// The branch, tag or commit.
        reference: String,
        /// The commit that is applied.
        applied: Option<String>,
        /// The newest commit that was seen.
        seen: Option<String>,
        /// When the source was last looked at with success.
        checked_at: Option<String>,
        /// Why the last look or apply failed.
        error: Option<String>,
        /// Whether new commits are left alone.
        paused: bool,
        /// The commit that is followed in place of the branch.
        pinned: Option<String>,
        /// A plan that a guard holds until somebody approves.
        held: Option<HeldView>,
        /// Errors of the newest commit.
        errors: usize,
        /// Warnings of the newest commit.
        warnings: usize,
        /// What the last sync came to.
        summary: String,
    }
}

view! {
    /// A plan that waits for approval.
    HeldView {
        /// Its commit.
        commit: String,
        /// Its digest: what is approved is exactly this.
        plan: String,
        /// Why it is held.
        reason: String,
    }
}

view! {
    /// A commit that was applied.
    AppliedView {
        /// Position in the log: greater is later.
        seq: u64,
        /// When.
        at: String,
        /// The commit.
        commit: String,
        /// Its subject line.
        subject: String,
        /// The plan that was carried out.
        plan: String,
        /// Runs started and not started.
        note: String,
    }
}

view! {
    /// A problem in a file.
    DiagnosticView {
        /// `error` or `warning`.
        severity: String,
        /// The kind of problem, `TG0123`.
        code: String,
        /// The file.
        file: String,
        /// Line, from 1; 0 for the file as a whole.
        line: u32,
        /// Column, from 1, in characters.
        column: u32,
        /// What is wrong.
        message: String,
        /// How to mend it; may be empty.
        help: String,
        /// What it is about, `queue us-east/gpu`; may be empty.
        object: String,
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

/// Files to compare with what is applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanBody {
    /// What the files are called: a commit, or `worktree`.
    #[serde(default = "worktree")]
    pub commit: String,
    /// The commit message, which may override guards.
    #[serde(default)]
    pub message: String,
    /// The files that may hold specs.
    pub files: Vec<WireFile>,
    /// All files with the ids of their contents, for workflows that watch `paths`.
    #[serde(default)]
    pub tree: Vec<WirePath>,
    /// The formats that are wanted: text, json, jsonl, markdown, github, patch, summary.
    #[serde(default = "text_only")]
    pub formats: Vec<String>,
    /// Columns of the text.
    #[serde(default = "hundred")]
    pub width: usize,
    /// Whether to colour the text.
    #[serde(default)]
    pub colour: bool,
}

fn worktree() -> String {
    "worktree".to_owned()
}

fn text_only() -> Vec<String> {
    vec!["text".to_owned()]
}

fn hundred() -> usize {
    100
}

/// A file that may hold specs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireFile {
    /// Its path from the root.
    pub path: String,
    /// What stands there.
    #[serde(flatten)]
    pub content: WireContent,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WireContent {
    /// A file.
    Text(String),
    /// Something that is no text; nobody looks into it.
    Special(Special),
    /// A file that is too large to be read, with its size.
    TooLarge(u64),
}

/// What is not text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Special {
    /// Bytes that are not UTF-8.
    Binary,
    /// A symbolic link.
    Symlink,
    /// Another repository.
    Submodule,
    /// A pointer to a file in Git LFS.
    LfsPointer,
    /// A name that must not be used as a path.
    BadName,
}

view! {
    /// A file by the id of its contents.
    WirePath {
        /// Its path from the root.
        path: String,
        /// Equal ids mean equal contents.
        id: String,
    }
}

view! {
    /// What applying files would do.
    PlanView {
        /// 0 nothing differs, 2 something does, 3 files have errors, 4 a guard blocks, 5 the server was not complete.
        exit_code: u8,
        /// The digest of the plan; absent when the policy has errors.
        digest: Option<String>,
        /// The plan in each format that was asked for.
        outputs: IndexMap<String, String>,
        /// Problems of the files.
        diagnostics: Vec<DiagnosticView>,
    }
}

/// Follows a revision in place of the branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackBody {
    /// The commit, tag or branch.
    pub revision: String,
}

/// Approves a held plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproveBody {
    /// The digest of the plan that is meant.
    pub plan: String,
}

view! {
    /// What an approval came to.
    ApprovedView {
        /// Runs that were started.
        started: usize,
    }
}

view! {
    /// What following another revision came to.
    FollowView {
        /// The commit that is applied now.
        commit: String,
    }
}

view! {
    /// Whether anything had to be done.
    DoneView {
        /// False when it was so already.
        changed: bool,
    }
}

view! {
    /// The body of every answer that is an error.
    ErrorBody {
        /// The error.
        error: ErrorView,
    }
}

view! {
    /// What went wrong.
    ErrorView {
        /// For programs; stable.
        code: String,
        /// For people.
        message: String,
        /// How to mend it; may be empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        help: String,
        /// Problems of what was sent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        diagnostics: Vec<DiagnosticView>,
    }
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

impl From<SyncRow> for AppliedView {
    fn from(row: SyncRow) -> Self {
        Self {
            seq: row.seq.0,
            at: row.at.to_string(),
            commit: row.commit.to_string(),
            subject: row.subject,
            plan: row.plan.to_string(),
            note: row.note,
        }
    }
}

impl From<&QueuePolicy> for QueueSettings {
    fn from(policy: &QueuePolicy) -> Self {
        Self {
            priority: policy.priority,
            concurrency: policy.concurrency,
            quota: policy.quota.clone(),
            weight: policy.weight,
            order: policy.order,
            hold: policy.hold,
        }
    }
}

impl From<Queue<'_>> for QueueView {
    fn from(queue: Queue<'_>) -> Self {
        Self {
            name: queue.name.to_string(),
            agent: queue.name.agent.to_string(),
            settings: queue.policy.into(),
            running: queue.running,
            queued: queue.queued,
            used: queue.used,
            declared: queue.declared.map(Into::into),
            changed_by: queue.changed_by.map(str::to_owned),
            removed: queue.removed,
        }
    }
}

impl AgentView {
    /// The view of an agent in whose queues so many wait.
    pub fn of(agent: Agent<'_>, queued: u32) -> Self {
        let levels = agent.levels.iter().map(|(priority, budget, running)| LevelView {
            priority: *priority,
            budget: (*budget < u64::from(u32::MAX)).then_some(*budget),
            running: *running,
        });
        Self {
            name: agent.name.to_string(),
            target: match agent.policy.target {
                TargetSpec::Local(_) => "local".to_owned(),
                TargetSpec::Kubernetes(_) => "kubernetes".to_owned(),
            },
            up: agent.up,
            concurrency: agent.policy.concurrency,
            capacity: agent.policy.capacity.clone(),
            running: agent.running,
            queued,
            levels: levels.collect(),
            used: agent.used,
            removed: agent.removed,
        }
    }
}

impl ProjectView {
    /// The projects of a catalog.
    pub fn all(catalog: &Catalog) -> Vec<Self> {
        let view = |(name, declared): (&ProjectName, &Declared<crate::domain::catalog::ProjectPolicy>)| Self {
            name: name.to_string(),
            default_queue: declared.item.default_queue.as_ref().map(ToString::to_string),
            queues: declared.item.queues.clone(),
            concurrency: declared.item.concurrency,
            workflows: catalog
                .workflows
                .keys()
                .filter(|w| w.project == *name)
                .map(|w| w.workflow.to_string())
                .collect(),
        };
        catalog.projects.iter().map(view).collect()
    }
}

impl WorkflowView {
    /// The view of a workflow.
    pub fn of(name: &WorkflowName, declared: &Declared<ResolvedWorkflow>) -> Self {
        let workflow = &declared.item;
        let push = workflow.push.as_ref().map(|_| "push".to_owned());
        let schedule = (!workflow.schedules.is_empty()).then(|| "schedule".to_owned());
        let kind = workflow.operation.run.get("kind").and_then(Value::as_str);
        Self {
            project: name.project.to_string(),
            name: name.workflow.to_string(),
            queue: workflow.queue.to_string(),
            triggers: push.into_iter().chain(schedule).collect(),
            kind: kind.unwrap_or("job").to_owned(),
            inputs: workflow.operation.inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            place: declared.place.as_ref().map(ToString::to_string),
            spec_digest: workflow.spec_digest.to_string(),
            unrunnable: workflow.unrunnable.clone(),
            run: workflow.operation.run.clone(),
        }
    }
}

impl From<SyncStatus> for SyncView {
    fn from(status: SyncStatus) -> Self {
        Self {
            source: status.source,
            reference: status.reference,
            applied: status.applied.as_ref().map(ToString::to_string),
            seen: status.seen.as_ref().map(ToString::to_string),
            checked_at: moment(status.checked_at),
            error: status.error,
            paused: status.paused,
            pinned: status.pinned.as_ref().map(ToString::to_string),
            held: status.held.map(|held| HeldView {
                commit: held.commit.to_string(),
                plan: held.plan.to_string(),
                reason: held.reason,
            }),
            errors: status.errors,
            warnings: status.warnings,
            summary: status.summary,
        }
    }
}

impl From<&Diagnostic> for DiagnosticView {
    fn from(problem: &Diagnostic) -> Self {
        Self {
            severity: match problem.severity {
                crate::domain::diagnostic::Severity::Error => "error".to_owned(),
                crate::domain::diagnostic::Severity::Warning => "warning".to_owned(),
            },
            code: problem.code.to_string(),
            file: problem.place.file.to_string(),
            line: problem.place.line,
            column: problem.place.column,
            message: problem.message.clone(),
            help: problem.help.clone(),
            object: problem.object.clone(),
        }
    }
}

/// All problems, in order of place.
pub fn diagnostics(found: &Diagnostics) -> Vec<DiagnosticView> {
    found.iter().map(Into::into).collect()
}

fn moment(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
