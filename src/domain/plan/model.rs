//! The plan as a value: every difference and every effect, once. All renderings read this and nothing else.
//!
//! Its JSON form is public (`schemas/plan.json`): an addition is a minor version of [`FORMAT_VERSION`], anything else a
//! major one.

mod impact;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::live::Admitted;
use crate::domain::diagnostic::{Place, Severity};
use crate::domain::ids::{AgentName, CommitId, Digest, QueueName, WorkflowName};
use crate::domain::time::Timestamp;

pub use impact::{
    Effects, HoldChange, LevelChange, MAX_LISTED, OrderChange, Overuse, QueuedEffect, Rank, Reference, RunningEffect,
    Share, Unschedulable,
};

/// Version of the JSON form.
pub const FORMAT_VERSION: &str = "1.0";

/// All differences and effects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What was compared with what.
    pub compared: Frame,
    /// What differs, in the order in which a commit is applied, then by name.
    pub objects: Vec<ObjectChange>,
    /// Budgets of levels that change.
    pub division: Vec<LevelChange>,
    /// Runs that start, or are held although they would.
    pub starts: Vec<Start>,
    /// Runs that do not start, although something about their workflow changed.
    pub skips: Vec<Skip>,
    /// Workflows that a first sync takes over without starting them; absent when this is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<u64>,
    /// Limits on what one sync may do.
    pub guards: Vec<Guard>,
    /// Problems of the files.
    pub problems: Vec<Problem>,
    /// The counts.
    pub summary: Summary,
    /// What a revert brings back.
    pub reversibility: Reversibility,
    /// Names what applying would do: desired, base, policies in force, cursors and overrides. Not how much runs and
    /// waits, which changes every second: a plan that was approved a minute ago is still the same plan.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The exit code.
    pub exit_code: PlanExit,
    /// The cursors that applying advances; internal.
    #[serde(skip)]
    pub cursors: Vec<(WorkflowName, Admitted)>,
}

impl Plan {
    /// Starts that happen when the plan is applied now.
    pub fn admitted(&self) -> impl Iterator<Item = &Start> {
        self.starts.iter().filter(|start| start.hold.is_none())
    }
}

/// What was compared with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    /// What the files want.
    pub desired: Revision,
    /// What was applied last; absent when nothing was.
    pub base: Option<Revision>,
    /// The server; absent when two commits are compared without one.
    pub live: Option<LiveFrame>,
}

/// A state of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The commit, or `worktree`.
    #[schemars(with = "String")]
    pub commit: CommitId,
    /// How the person named it: a branch, `worktree`.
    pub label: String,
    /// Files with uncommitted changes.
    pub dirty: Vec<String>,
    /// The commit message.
    pub message: String,
    /// When it was committed, in milliseconds since 1970.
    #[schemars(with = "Option<i64>")]
    pub time: Option<Timestamp>,
}

/// How much of the server was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveFrame {
    /// Whether everything could be read.
    pub complete: bool,
    /// Agents that are known.
    pub agents: usize,
    /// Agents that could not be read.
    #[schemars(with = "Vec<String>")]
    pub unread_agents: Vec<AgentName>,
}

/// Kinds of objects, in the order in which a commit applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// The organization.
    Organization,
    /// A project.
    Project,
    /// An agent.
    Agent,
    /// A queue.
    Queue,
    /// A preset.
    Preset,
    /// A workflow.
    Workflow,
}

impl ObjectKind {
    /// The word in `kind:`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Project => "project",
            Self::Agent => "agent",
            Self::Queue => "queue",
            Self::Preset => "preset",
            Self::Workflow => "workflow",
        }
    }
}

/// Kind and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The kind.
    pub kind: ObjectKind,
    /// The full name: `us-east/gpu` of a queue, `vision/train` of a workflow.
    pub name: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.name)
    }
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Create,
    /// Files change it.
    Update,
    /// Files no longer declare it.
    Remove,
    /// It gets another name and keeps its runs and history.
    Move,
    /// Files do not change it, but the server differs from them.
    Drift,
}

impl Action {
    /// The mark before the name.
    pub const fn symbol(self) -> char {
        match self {
            Self::Create => '+',
            Self::Update => '~',
            Self::Remove => '-',
            Self::Move => '=',
            Self::Drift => '!',
        }
    }
}

/// A place in a file; lines and columns count from 1, 0 means the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spot {
    /// Path from the root of the repository.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The column of the first character.
    pub column: u32,
    /// The column after the last character.
    pub end_column: u32,
}

impl From<&Place> for Spot {
    fn from(place: &Place) -> Self {
        Self { file: place.file.to_string(), line: place.line, column: place.column, end_column: place.end_column }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One object that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// Which object.
    pub address: Address,
    /// What happens to it.
    pub action: Action,
    /// The name that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// Where it stands; for a removed one, where it stood.
    pub place: Option<Spot>,
    /// What the action alone does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its fields that differ.
    pub fields: Vec<FieldChange>,
    /// What that does to work and to other objects.
    #[serde(default, skip_serializing_if = "Effects::is_empty")]
    pub effects: Effects,
    /// From base to desired, as RFC 6902.
    pub patch: Vec<PatchOp>,
}

/// Who changed a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The files.
    Git,
    /// Somebody on the server.
    Drift,
    /// Both, differently.
    Conflict,
}

/// One field that differs. Values that look secret are `(masked)` in all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// JSON pointer into the object.
    pub path: String,
    /// The same for people: `run.container.env[LR].value`.
    pub name: String,
    /// What was applied last.
    pub base: Option<Value>,
    /// What the files want.
    pub desired: Option<Value>,
    /// What the server has, when it was asked and differs from `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// Who changed it.
    pub class: Class,
    /// `base` in words: `-1 (unlimited)`.
    pub before: String,
    /// `desired` in words.
    pub after: String,
    /// What the server has, in words; absent when it is as `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Who changed the server, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
    /// For text of several lines: the lines that differ with their neighbours, as in a unified diff.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// Where the value stands.
    pub place: Option<Spot>,
}

/// One operation of RFC 6902.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PatchOp {
    /// A value appears.
    Add {
        /// Where.
        path: String,
        /// The value.
        value: Value,
    },
    /// A value goes.
    Remove {
        /// Where.
        path: String,
    },
    /// A value changes.
    Replace {
        /// Where.
        path: String,
        /// The new value.
        value: Value,
    },
}

/// A run that starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// What starts.
    #[schemars(with = "String")]
    pub workflow: WorkflowName,
    /// Where it waits.
    #[schemars(with = "String")]
    pub queue: QueueName,
    /// The commit that it is pinned to, when that is not the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub commit: Option<CommitId>,
    /// What starts it.
    pub trigger: String,
    /// Why, in words.
    pub reason: String,
    /// Its key: a second admission of the same key is the same run.
    #[schemars(with = "String")]
    pub run_key: Digest,
    /// Why it does not start now, if so; its cursor stays where it is.
    pub hold: Option<Hold>,
    /// Why it can never leave its queue, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never: Option<String>,
    /// Where the workflow stands.
    pub place: Option<Spot>,
}

/// Why a start is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// More starts than `sync.maxStarts`.
    MaxStarts,
    /// A freeze window is open.
    Freeze,
    /// The commit is not on the branch that is followed yet.
    Unmerged,
    /// A guard refuses the commit.
    Refused,
}

/// A run that does not start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Skip {
    /// What does not start.
    #[schemars(with = "String")]
    pub workflow: WorkflowName,
    /// Why, for programs.
    pub reason: SkipReason,
    /// Why, in words.
    pub words: String,
    /// Where the workflow stands.
    pub place: Option<Spot>,
}

/// Why a workflow that something changed about does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// Its text changed, its meaning did not.
    DigestUnchanged,
    /// Only its triggers or rules for runs changed.
    TriggersOnly,
    /// It has another name and the same meaning.
    Moved,
    /// It is back with the meaning that was last admitted.
    Restored,
    /// It has no push trigger.
    NoPushTrigger,
    /// Its push trigger fires never, or only when it is new.
    Fires,
    /// The commit message asks to start nothing.
    Requested,
    /// It cannot run.
    Unrunnable,
    /// Its file has an error; the last good definition stays.
    Unsound,
}

/// Limits on what one sync may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// Which one.
    pub id: GuardId,
    /// What the plan does.
    pub actual: u64,
    /// What is allowed; absent where there is no number.
    pub limit: Option<u64>,
    /// Whether it lets the plan pass.
    pub ok: bool,
    /// Whether it does so only because the commit says so.
    pub overridden: bool,
    /// What it found, in words.
    pub words: String,
    /// How to go on when it blocks; empty when it does not.
    pub remedy: String,
}

/// The guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuardId {
    /// Nothing is declared any more.
    Empty,
    /// More removals than `sync.maxRemovals`.
    MaxRemovals,
    /// More starts than `sync.maxStarts`.
    MaxStarts,
    /// A freeze window is open.
    Freeze,
    /// An agent with work goes.
    AgentRemoval,
    /// Runs move to a queue that does not exist.
    MoveTarget,
    /// A queue goes that workflows still name.
    QueueInUse,
}

impl GuardId {
    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::MaxRemovals => "removals",
            Self::MaxStarts => "starts",
            Self::Freeze => "freeze",
            Self::AgentRemoval => "agent-removal",
            Self::MoveTarget => "move-target",
            Self::QueueInUse => "queue-in-use",
        }
    }

    /// Whether it refuses the commit as a whole, instead of holding its starts.
    pub const fn refuses(self) -> bool {
        !matches!(self, Self::MaxStarts | Self::Freeze)
    }
}

/// A problem of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Its stable code, `TG0123`.
    pub code: String,
    /// Whether it is an error.
    pub error: bool,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
    /// Where.
    pub place: Spot,
}

impl From<&crate::domain::diagnostic::Diagnostic> for Problem {
    fn from(found: &crate::domain::diagnostic::Diagnostic) -> Self {
        Self {
            code: found.code.to_string(),
            error: found.severity == Severity::Error,
            message: found.message.clone(),
            help: found.help.clone(),
            place: (&found.place).into(),
        }
    }
}

/// The counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Objects that are new.
    pub add: u64,
    /// Objects that files change.
    pub change: u64,
    /// Objects that go.
    pub remove: u64,
    /// Objects that get another name.
    #[serde(rename = "move")]
    pub moved: u64,
    /// Objects of which the server differs from what was applied.
    pub drift: u64,
    /// Runs that are cancelled.
    pub cancelled: u64,
    /// Runs over a limit; they go on.
    pub over_limit: u64,
    /// Runs that can never start.
    pub unschedulable: u64,
    /// Runs that change their place among queues.
    pub reordered: u64,
    /// Runs that start.
    pub starts: u64,
    /// Runs that are held.
    pub held: u64,
    /// Guards that block.
    pub blocked: u64,
    /// Errors in files.
    pub errors: u64,
}

/// What a revert brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reversibility {
    /// Everything.
    Full,
    /// Everything but this many cancelled runs.
    ExceptCancelled(u64),
}

/// The exit code of a plan; where several hold, 5 before 3 before 4 before 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "u8", try_from = "u8")]
#[schemars(with = "u8")]
pub enum PlanExit {
    /// Nothing differs.
    Unchanged,
    /// Something differs.
    Changes,
    /// Files have errors.
    Invalid,
    /// A guard blocks.
    Blocked,
    /// The server could not be read completely.
    Incomplete,
}

impl PlanExit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unchanged => 0,
            Self::Changes => 2,
            Self::Invalid => 3,
            Self::Blocked => 4,
            Self::Incomplete => 5,
        }
    }
}

impl From<PlanExit> for u8 {
    fn from(exit: PlanExit) -> Self {
        exit.code()
    }
}

impl TryFrom<u8> for PlanExit {
    type Error = String;
    fn try_from(code: u8) -> Result<Self, String> {
        [Self::Unchanged, Self::Changes, Self::Invalid, Self::Blocked, Self::Incomplete]
            .into_iter()
            .find(|exit| exit.code() == code)
            .ok_or_else(|| format!("{code} is no exit code of a plan"))
    }
}
