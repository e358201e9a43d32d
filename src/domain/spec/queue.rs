//! `kind: queue`: a line of work on one agent, with its priority and limits (level 2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limit, Priority, Version};
use crate::domain::ids::{AgentName, Name, QueueName};
use crate::domain::quantity::Resources;
use crate::domain::time::Duration;

/// A line of work on one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Queue {
    /// The version of the specification, always 1.1.
    pub version: Version,
    /// Always `queue`.
    #[schemars(extend("const" = "queue"))]
    pub kind: String,
    /// The name of the queue within its agent.
    pub name: Name,
    /// The agent that the queue belongs to.
    pub agent: AgentName,
    /// The name that the queue had before; its runs and history move along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_name: Option<Name>,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people and queries; changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The level of the queue; absent or -1 is the highest, among the others a larger number goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Most operations of the queue running at once; absent or -1 is unlimited, 0 holds the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
    /// What its running operations may ask together: cpu, memory, nvidia.com/gpu, any other resource, cost.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub quota: Resources,
    /// Its share among the queues of its level, against theirs. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: Option<u32>,
    /// Whether an operation that does not fit blocks those behind it.
    #[serde(default)]
    pub order: Order,
    /// Whether nothing is dispatched for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// When the queue may dispatch; always when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// What becomes of its waiting runs when the queue is removed.
    #[serde(default)]
    pub on_remove: OnRemove,
}

/// Whether an operation that does not fit blocks those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// The next operation that fits may pass one that does not.
    #[default]
    Backfill,
    /// The first in line blocks the line until it fits.
    Strict,
}

/// A time in which the queue may dispatch: from each match of `cron` for `duration`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// When it begins: five fields, as in crontab.
    #[schemars(example = &"0 20 * * *")]
    pub cron: String,
    /// How long it lasts.
    pub duration: Duration,
    /// An IANA time zone; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// What becomes of the waiting runs of a removed queue. What runs is never stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
#[schemars(with = "OnRemoveText")]
pub enum OnRemove {
    /// They are finished first; the queue takes no new ones and then goes.
    #[default]
    Drain,
    /// They move to another queue.
    MoveTo(QueueName),
    /// They are stopped.
    Cancel,
}

/// How [`OnRemove`] is written: `drain`, `cancel`, `{moveTo: agent/queue}` or `"moveTo: agent/queue"`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OnRemoveText {
    /// `drain`, `cancel`, or `moveTo: agent/queue`.
    Word(#[schemars(regex(pattern = r"^(drain|cancel|moveTo: ?[a-z0-9-]+/[a-z0-9-]+)$"))] String),
    /// Where they go.
    Move(MoveTo),
}

/// Names the queue that takes over.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MoveTo {
    /// The queue that takes over, `agent/queue`.
    move_to: String,
}

impl Serialize for OnRemove {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Drain => serializer.serialize_str("drain"),
            Self::Cancel => serializer.serialize_str("cancel"),
            Self::MoveTo(queue) => MoveTo { move_to: queue.to_string() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OnRemove {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let to = |text: &str| QueueName::parse(text.trim()).map(Self::MoveTo).map_err(serde::de::Error::custom);
        match OnRemoveText::deserialize(deserializer)? {
            OnRemoveText::Move(MoveTo { move_to }) => to(&move_to),
            OnRemoveText::Word(word) => match (word.as_str(), word.strip_prefix("moveTo:")) {
                ("drain", _) => Ok(Self::Drain),
                ("cancel", _) => Ok(Self::Cancel),
                (_, Some(queue)) => to(queue),
                _ => Err(serde::de::Error::custom(format!("`{word}` is none of drain, cancel, moveTo: agent/queue"))),
            },
        }
    }
}
