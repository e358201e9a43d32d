//! What differs: objects and their fields, each with its place.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Effects;
use crate::domain::diagnostic::Place;

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
