//! The plan as a value: every difference and every effect, once. All renderings read this and nothing else.
//!
//! Its JSON form is public (`schemas/plan.json`): an addition is a minor version of [`FORMAT_VERSION`], anything else a
//! major one.

mod impact;
mod objects;
mod starts;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::live::Admitted;
use crate::domain::diagnostic::{Diagnostic, Severity};
use crate::domain::ids::{AgentName, CommitId, Digest, WorkflowName};
use crate::domain::time::Timestamp;

pub use impact::{
    Effects, HoldChange, LevelChange, MAX_LISTED, OrderChange, Overuse, QueuedEffect, Rank, Reference, RunningEffect,
    Share, Unschedulable,
};
pub use objects::{Action, Address, Class, FieldChange, ObjectChange, ObjectKind, PatchOp, Spot};
pub use starts::{Guard, GuardId, Hold, Skip, SkipReason, Start};

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

impl From<&Diagnostic> for Problem {
    fn from(found: &Diagnostic) -> Self {
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
