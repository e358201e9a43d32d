//! When something is started again and again, or once: `schedule:` of an operation (Polyaxon's words) and of a
//! workflow's triggers, with time zone and catch-up added.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::extras::{by_kind, section};
use super::loose::{Flag, Frequency, Moment, Templated};
use super::reading::{Fault, Fields, flag, integer, milliseconds, moment, text};
use crate::domain::cron::Cron;
use crate::domain::time::{Span, Timestamp};

/// When something is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// At which times.
    pub when: When,
    /// Not before; the times of an interval are counted from it.
    pub start_at: Option<Timestamp>,
    /// Not at or after.
    pub end_at: Option<Timestamp>,
    /// Most runs; `None` is unlimited.
    pub max_runs: Option<u64>,
    /// Whether the run before must have ended.
    pub depends_on_past: bool,
    /// What becomes of times that were missed.
    pub catchup: Catchup,
}

/// At which times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// By crontab.
    Cron {
        /// Five fields, or a short word.
        line: String,
        /// An IANA time zone; UTC when absent.
        time_zone: Option<String>,
    },
    /// After the same time again and again; longer than nothing.
    Every(Span),
    /// Once, at `start_at`.
    Once,
}

/// What becomes of times that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Catchup {
    /// They are forgotten.
    None,
    /// The last one is made up for.
    #[default]
    Last,
    /// The last so many are made up for, the oldest first; 1..=[`Catchup::MOST`].
    All(u32),
}

impl Catchup {
    /// The most times that are made up for.
    pub const MOST: u32 = 1000;
    /// How many `all` stands for.
    pub const ALL: u32 = 100;
}

impl fmt::Display for Catchup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Last => f.write_str("last"),
            Self::All(Self::ALL) => f.write_str("all"),
            Self::All(most) => write!(f, "all({most})"),
        }
    }
}

impl std::str::FromStr for Catchup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is none of none, last, all, all(N) with N up to {}", Self::MOST);
        match text {
            "none" => Ok(Self::None),
            "last" => Ok(Self::Last),
            "all" => Ok(Self::All(Self::ALL)),
            _ => {
                let number = text.strip_prefix("all(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(bad)?;
                let most = number.trim().parse().ok().filter(|most| (1..=Self::MOST).contains(most));
                most.map(Self::All).ok_or_else(bad)
            }
        }
    }
}

impl Serialize for Catchup {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Catchup {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Catchup {
    fn schema_name() -> Cow<'static, str> {
        "Catchup".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": r"^(none|last|all|all\( *[0-9]{1,4} *\))$",
            "description": "What becomes of times that were missed: `none` are forgotten, the `last` is made up for (the default), or `all(N)`, the last N, oldest first.",
            "examples": ["last", "all(10)"],
        })
    }
}

impl Schedule {
    /// Reads a schedule; without `kind`, its fields tell which it is. The faults say where.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let kind = fields.optional("kind", text);
        let kind = kind.unwrap_or_else(|| match (fields.raw("cron"), fields.raw("frequency")) {
            (Some(_), _) => "cron".to_owned(),
            (None, Some(_)) => "interval".to_owned(),
            (None, None) => "datetime".to_owned(),
        });
        let (start_at, end_at) = (fields.optional("startAt", moment), fields.optional("endAt", moment));
        let max_runs = fields.optional("maxRuns", integer).and_then(|most| u64::try_from(most).ok());
        let depends_on_past = fields.optional("dependsOnPast", flag).unwrap_or_default();
        let catchup = fields.optional("catchup", |value| text(value)?.parse()).unwrap_or_default();
        let time_zone = fields.optional("timeZone", |value| {
            let name = text(value)?;
            crate::domain::cron::zone(Some(&name)).map(|_| name)
        });
        let when = match kind.as_str() {
            "cron" => {
                let line = fields.required("cron", |value| {
                    let line = text(value)?;
                    Cron::parse(&line).map(|_| line)
                });
                line.map(|line| When::Cron { line, time_zone })
            }
            "interval" => match fields.required("frequency", milliseconds) {
                Some(length) if length <= 0 => {
                    fields.faults.push(Fault::late("/frequency", "a frequency is longer than nothing"));
                    None
                }
                length => length.map(|length| When::Every(Span(length.unsigned_abs()))),
            },
            "datetime" => fields.required("startAt", moment).map(|_| When::Once),
            other => {
                fields.faults.push(Fault::new("/kind", format!("`{other}` is no kind of schedule")));
                None
            }
        };
        for key in ["cron", "frequency"] {
            if fields.raw(key).is_some() && kind != if key == "cron" { "cron" } else { "interval" } {
                fields.faults.push(Fault::new(format!("/{key}"), format!("a schedule of kind {kind} has no {key}")));
            }
        }
        fields.finish(when.map(|when| Self {
            when,
            start_at,
            end_at,
            max_runs: max_runs.filter(|most| *most > 0),
            depends_on_past,
            catchup,
        }))
    }

    /// A schedule by crontab with nothing else said.
    pub fn cron(line: impl Into<String>) -> Self {
        Self {
            when: When::Cron { line: line.into(), time_zone: None },
            start_at: None,
            end_at: None,
            max_runs: None,
            depends_on_past: false,
            catchup: Catchup::default(),
        }
    }
}

impl Serialize for Schedule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        match &self.when {
            When::Cron { line, time_zone } => {
                put("cron", json!(line));
                time_zone.iter().for_each(|zone| drop(put("timeZone", json!(zone))));
            }
            When::Every(span) => drop(put("frequency", json!(span.0 as f64 / 1000.0))),
            When::Once => {}
        }
        self.start_at.iter().for_each(|at| drop(put("startAt", json!(at.to_string()))));
        self.end_at.iter().for_each(|at| drop(put("endAt", json!(at.to_string()))));
        self.max_runs.iter().for_each(|most| drop(put("maxRuns", json!(most))));
        if self.depends_on_past {
            put("dependsOnPast", json!(true));
        }
        put("catchup", json!(self.catchup));
        map.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        Self::read(&written).map_err(|faults| {
            let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
            serde::de::Error::custom(all.join("; "))
        })
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        TriggerSchedule::json_schema(generator)
    }
}

section! { "The time: by crontab (`cron`), again and again (`frequency`), or once (`startAt` alone)." TriggerSchedule {
    "kind": Option<String>, "`cron`, `interval` or `datetime`; the other fields tell it when absent.", "cron";
    "cron": Option<String>, "Five fields, as in crontab; or `@daily` and the like.", "0 2 * * *";
    "timeZone": Option<String>, "The IANA time zone of the crontab line; UTC when absent.", "Europe/Paris";
    "frequency": Option<Frequency>, "How often.", 3600;
    "startAt": Option<Moment>, "Not before; the only time of a schedule without `cron` and `frequency`.";
    "endAt": Option<Moment>, "Not at or after.";
    "maxRuns": Option<i64>, "Most runs; 0 is unlimited.";
    "dependsOnPast": Option<Flag>, "Whether the run before must have ended.";
    "catchup": Option<Catchup>, "What becomes of times that were missed.";
} }

section! { "By crontab." CronSchedule {
    "kind" = "cron", "Always `cron`.";
    "cron": String | required, "Five fields, as in crontab; or `@daily` and the like.", "0 2 * * *";
    "timeZone": Option<String>, "The IANA time zone; UTC when absent.", "Europe/Paris";
    "startAt": Option<Moment>, "Not before.";
    "endAt": Option<Moment>, "Not at or after.";
    "maxRuns": Option<Templated<i64>>, "Most runs; 0 is unlimited.";
    "dependsOnPast": Option<Flag>, "Whether the run before must have ended.";
    "catchup": Option<Catchup>, "What becomes of times that were missed.";
} }

section! { "Again and again after the same time." IntervalSchedule {
    "kind" = "interval", "Always `interval`.";
    "frequency": Frequency | required, "How often.", 3600;
    "startAt": Option<Moment>, "Not before; the times are counted from it.";
    "endAt": Option<Moment>, "Not at or after.";
    "maxRuns": Option<Templated<i64>>, "Most runs; 0 is unlimited.";
    "dependsOnPast": Option<Flag>, "Whether the run before must have ended.";
    "catchup": Option<Catchup>, "What becomes of times that were missed.";
} }

section! { "Once." DatetimeSchedule {
    "kind" = "datetime", "Always `datetime`.";
    "startAt": Moment | required, "When.";
} }

/// A schedule: `kind` is `cron`, `interval` or `datetime`.
#[derive(Debug)]
pub struct AnySchedule;

impl JsonSchema for AnySchedule {
    fn schema_name() -> Cow<'static, str> {
        "AnySchedule".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds = [
            ("cron", generator.subschema_for::<CronSchedule>()),
            ("interval", generator.subschema_for::<IntervalSchedule>()),
            ("datetime", generator.subschema_for::<DatetimeSchedule>()),
        ];
        by_kind("When it is started again and again.", &[], &kinds)
    }
}
