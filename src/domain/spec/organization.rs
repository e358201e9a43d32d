//! `kind: organization`: defaults, the global limit and the rules of a sync. Exactly one, in `tidegate.yaml`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limit, Version};
use crate::domain::ids::OrganizationName;
use crate::domain::time::Duration;

/// The organization: level 1 of the limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Organization {
    /// The version of the specification, always 1.1.
    pub version: Version,
    /// Always `organization`.
    #[schemars(extend("const" = "organization"))]
    pub kind: String,
    /// The name of the organization.
    pub name: OrganizationName,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people and queries; changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Most operations running at once in all agents together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
    /// The queue of operations that name none, `agent/queue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"us-east/default")]
    pub default_queue: Option<String>,
    /// The preset that is merged under every operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_preset: Option<String>,
    /// How a binding limit is divided among the levels of priority.
    #[serde(default)]
    pub sharing: Sharing,
    /// What a sync may do.
    #[serde(default)]
    pub sync: SyncPolicy,
}

/// How a binding limit is divided among the levels of priority (design §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sharing {
    /// From the highest level down, each takes what it can use.
    #[default]
    Waterfall,
    /// In proportion to the sum of the limits of each level; what is unused is lent downwards.
    Proportional,
    /// As `proportional`, with at least one slot for every level.
    Floor,
}

/// What a sync may do on its own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncPolicy {
    /// What the first sync of a source does with the workflows that it finds.
    #[serde(default)]
    pub first_sync: FirstSync,
    /// Most runs that one sync may start; more are held until somebody approves. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_starts: Option<u32>,
    /// Most objects that one sync may remove, as a count or a share. Default `25%` (and never less than 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_removals: Option<Removals>,
    /// Times in which a sync starts no runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<Freeze>,
}

/// What the first sync of a source does with the workflows that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FirstSync {
    /// Takes them over and starts nothing.
    #[default]
    Adopt,
    /// Starts those with a push trigger.
    Start,
}

/// A count of objects, or a share of them such as `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "RemovalsText")]
pub enum Removals {
    /// At most this many.
    Count(u32),
    /// At most this share, in percent (0 to 100).
    Percent(u8),
}

/// How [`Removals`] is written.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum RemovalsText {
    /// A count.
    Count(u32),
    /// A count, or a share such as `25%`.
    Percent(#[schemars(regex(pattern = r"^(100|[0-9]{1,2})%$"))] String),
}

impl Removals {
    /// Most objects of `total` that may go; never less than 5 for a share, so that small repositories can be tidied.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(n) => n as usize,
            Self::Percent(percent) => (total * usize::from(percent) / 100).max(5),
        }
    }
}

impl Serialize for Removals {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(n) => serializer.serialize_u32(*n),
            Self::Percent(p) => serializer.collect_str(&format_args!("{p}%")),
        }
    }
}

impl<'de> Deserialize<'de> for Removals {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bad =
            |text: &str| serde::de::Error::custom(format!("`{text}` is neither a count nor a share such as `25%`"));
        match RemovalsText::deserialize(deserializer)? {
            RemovalsText::Count(n) => Ok(Self::Count(n)),
            RemovalsText::Percent(text) => match text.strip_suffix('%').and_then(|n| n.parse().ok()) {
                Some(percent @ 0..=100) => Ok(Self::Percent(percent)),
                _ => Err(bad(&text)),
            },
        }
    }
}

/// A time in which a sync starts no runs: from each match of `cron` for `duration`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// When it begins: five fields, as in crontab.
    #[schemars(example = &"0 18 * * 5")]
    pub cron: String,
    /// How long it lasts.
    pub duration: Duration,
    /// An IANA time zone; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Europe/Paris")]
    pub time_zone: Option<String>,
}
