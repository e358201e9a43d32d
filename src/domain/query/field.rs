//! What of a run can be asked for, and the names for it.

use crate::domain::diagnostic::did_you_mean;
use crate::domain::quantity::{COST, canonical_resource};

/// What of a run is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// Its id.
    Uuid,
    /// The pipeline that it is a direct child of.
    Pipeline,
    /// The run that it is a restart or a copy of.
    Original,
    /// Its name.
    Name,
    /// Its project.
    Project,
    /// The workflow that it came from.
    Workflow,
    /// Its kind (`job`, `dag`, `matrix`, …).
    Kind,
    /// Where it is in its life.
    Status,
    /// Why it has this status: one word.
    Reason,
    /// The commit that it is pinned to.
    Commit,
    /// Its queue, `agent/queue`.
    Queue,
    /// The agent of its queue.
    Agent,
    /// Who asked for it.
    User,
    /// `restart` or `copy`, when it is one.
    CloningKind,
    /// Its tags.
    Tags,
    /// When it was asked for.
    CreatedAt,
    /// When it was planned for, when a schedule started it.
    ScheduleAt,
    /// When it first stood in its queue.
    QueuedAt,
    /// When it first ran.
    StartedAt,
    /// When it ended.
    FinishedAt,
    /// The latest of these moments.
    UpdatedAt,
    /// From the moment that it first ran to its end.
    Duration,
    /// From the moment that it was asked for to that when it first ran.
    WaitTime,
    /// Its newest attempt.
    Attempt,
    /// Exit code of its main process.
    ExitCode,
    /// What an attempt asks of a resource, by its canonical name.
    Amount(String),
    /// What it was given, by name.
    Input(String),
    /// What it reported, by name.
    Output(String),
}

/// Which conditions a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Ids: texts, of which the beginning is enough.
    Id,
    /// One word of a list.
    Word,
    /// Any text.
    Text,
    /// Several texts.
    Texts,
    /// A moment, in milliseconds since 1970-01-01 UTC.
    Moment,
    /// A span, in milliseconds.
    Span,
    /// An amount, in thousandths.
    Amount,
    /// A count.
    Count,
    /// What was given or reported: a text, number or flag.
    Value,
}

/// The names of the fields that need no second part; the first of each is ours, the others are Polyaxon's too.
const NAMES: [(&[&str], Field); 25] = [
    (&["uuid", "uid", "id"], Field::Uuid),
    (&["pipeline"], Field::Pipeline),
    (&["original"], Field::Original),
    (&["name"], Field::Name),
    (&["project", "project.name"], Field::Project),
    (&["workflow"], Field::Workflow),
    (&["kind", "runtime"], Field::Kind),
    (&["status"], Field::Status),
    (&["reason"], Field::Reason),
    (&["commit"], Field::Commit),
    (&["queue", "queue.name"], Field::Queue),
    (&["agent", "agent.name"], Field::Agent),
    (&["user"], Field::User),
    (&["cloning_kind"], Field::CloningKind),
    (&["tags"], Field::Tags),
    (&["created_at"], Field::CreatedAt),
    (&["schedule_at"], Field::ScheduleAt),
    (&["queued_at"], Field::QueuedAt),
    (&["started_at"], Field::StartedAt),
    (&["finished_at"], Field::FinishedAt),
    (&["updated_at"], Field::UpdatedAt),
    (&["duration"], Field::Duration),
    (&["wait_time"], Field::WaitTime),
    (&["attempt"], Field::Attempt),
    (&["exit_code"], Field::ExitCode),
];

/// Resources that have a field of their own.
const RESOURCES: [&str; 4] = ["cpu", "memory", "gpu", COST];

/// What the fields of Polyaxon are called that runs do not have here.
const ELSEWHERE: [&str; 26] = [
    "artifacts",
    "artifacts_store",
    "backend",
    "component_state",
    "connections",
    "contributors",
    "controller",
    "description",
    "downstream",
    "framework",
    "in_artifact_kind",
    "is_managed",
    "live_state",
    "managed_by",
    "meta_flags",
    "meta_info",
    "meta_values",
    "mine",
    "namespace",
    "out_artifact_kind",
    "pending",
    "role",
    "settings",
    "state",
    "teams",
    "upstream",
];

/// Longest name after the dot of `inputs.NAME`.
const MAX_KEY: usize = 256;

impl Field {
    /// The field of a name; the error says what is wrong and how to mend it.
    pub fn parse(name: &str) -> Result<Self, (String, String)> {
        if let Some((_, field)) = NAMES.iter().find(|(names, _)| names.contains(&name)) {
            return Ok(field.clone());
        }
        if RESOURCES.contains(&name) {
            return Ok(Self::Amount(canonical_resource(name).to_owned()));
        }
        let (head, key) = name.split_once('.').unwrap_or((name, ""));
        let made: Option<fn(&str) -> Self> = match head {
            "inputs" | "params" | "in" => Some(|key| Self::Input(key.to_owned())),
            "outputs" | "metrics" | "out" => Some(|key| Self::Output(key.to_owned())),
            "custom" => Some(|key| Self::Amount(canonical_resource(key).to_owned())),
            _ => None,
        };
        let shown = super::parse::quoted(name);
        match made {
            Some(made) if is_key(key) => Ok(made(key)),
            Some(_) => Err((format!("{shown} does not say which"), format!("write `{head}.NAME`"))),
            None if ELSEWHERE.contains(&head) => {
                Err((format!("runs have no {shown} here"), format!("ask for one of {}", list())))
            }
            None => {
                let help = match did_you_mean(name, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it is one of {}", list()),
                };
                Err((format!("there is no field {shown}"), help))
            }
        }
    }

    /// Which conditions it takes.
    pub const fn shape(&self) -> Shape {
        match self {
            Self::Uuid | Self::Pipeline | Self::Original => Shape::Id,
            Self::Status | Self::CloningKind => Shape::Word,
            Self::Name
            | Self::Project
            | Self::Workflow
            | Self::Kind
            | Self::Reason
            | Self::Commit
            | Self::Queue
            | Self::Agent
            | Self::User => Shape::Text,
            Self::Tags => Shape::Texts,
            Self::CreatedAt
            | Self::ScheduleAt
            | Self::QueuedAt
            | Self::StartedAt
            | Self::FinishedAt
            | Self::UpdatedAt => Shape::Moment,
            Self::Duration | Self::WaitTime => Shape::Span,
            Self::Attempt | Self::ExitCode => Shape::Count,
            Self::Amount(_) => Shape::Amount,
            Self::Input(_) | Self::Output(_) => Shape::Value,
        }
    }
}

/// Names after the dot: whatever an input can be called, but nothing that a path within JSON would read otherwise.
fn is_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len()) && !key.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'))
}

/// Names that stand alone, one for each field.
fn known() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(names, _)| names[0]).chain(RESOURCES)
}

fn list() -> String {
    let alone: Vec<&str> = known().collect();
    format!("{}, params.NAME, outputs.NAME, metrics.NAME, custom.RESOURCE", alone.join(", "))
}
