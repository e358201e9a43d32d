//! Limits and priorities: whole numbers in which -1 has a meaning of its own.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most operations at once: -1 is unlimited, 0 means nothing starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Limit {
    /// At most this many.
    At(u32),
    /// As many as come.
    #[default]
    Unlimited,
}

impl Limit {
    /// The largest count that the limit allows.
    pub const fn max(self) -> u32 {
        match self {
            Self::At(n) => n,
            Self::Unlimited => u32::MAX,
        }
    }

    /// Whether one more may start beside `used`.
    pub const fn admits(self, used: u32) -> bool {
        used < self.max()
    }
}

/// The level of a queue on its agent: -1 (or absent) is the highest; among the others a larger number goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// A level below the highest.
    At(u32),
    /// The highest level.
    #[default]
    Highest,
}

macro_rules! minus_one {
    ($type:ident, $special:ident, $word:literal, $description:literal, $examples:expr) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::At(n) => f.pad(&n.to_string()),
                    Self::$special => f.pad($word),
                }
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i64(match self {
                    Self::At(n) => i64::from(*n),
                    Self::$special => -1,
                })
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match i64::deserialize(deserializer)? {
                    -1 => Ok(Self::$special),
                    n => u32::try_from(n)
                        .map(Self::At)
                        .map_err(|_| serde::de::Error::custom(format!("{n} is out of range: -1 to {}", u32::MAX))),
                }
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "integer", "minimum": -1, "maximum": u32::MAX,
                    "description": $description, "examples": $examples,
                })
            }
        }
    };
}

minus_one!(Limit, Unlimited, "unlimited", "Most operations at once; -1 = unlimited, 0 = nothing starts.", [-1, 0, 8]);
minus_one!(
    Priority,
    Highest,
    "highest",
    "Level of the queue; -1 = the highest, among the others a larger number goes first.",
    [-1, 10]
);
