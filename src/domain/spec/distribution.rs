//! The values that a param of a matrix may take: `{kind, value}`, where the value is a list, a mapping or `a:b:c`.
//!
//! Polyaxon's kinds and names. Elements of a list beyond the last field are ignored, as there.

mod read;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::time::Timestamp;
use read::{KINDS, fields_of};

/// Most values that a discrete space may have: an index into it stays exact as a float.
pub const MAX_VALUES: u64 = 1 << 53;

/// The values that a param may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Distribution {
    /// One of these, each as likely as another.
    Choice {
        /// The values; at least one.
        values: Vec<Value>,
    },
    /// One of these, each with its own probability; what is missing to one falls to the last.
    PChoice {
        /// The values and their probabilities, in 0.0..1.0.
        values: Vec<(Value, f64)>,
    },
    /// `start`, `start + step`, … below `stop`.
    Range {
        /// The first.
        start: f64,
        /// Above the last.
        stop: f64,
        /// From one to the next; not zero. Negative: there is none.
        step: f64,
    },
    /// `num` values from `start` to `stop`, both included.
    LinSpace {
        /// The first.
        start: f64,
        /// The last.
        stop: f64,
        /// How many.
        num: u64,
    },
    /// `base` to the power of each of a linspace.
    LogSpace {
        /// The first exponent.
        start: f64,
        /// The last exponent.
        stop: f64,
        /// How many.
        num: u64,
        /// The base; 10 when absent.
        base: f64,
    },
    /// `num` values from `start` to `stop`, each the same multiple of the one before.
    GeomSpace {
        /// The first.
        start: f64,
        /// The last.
        stop: f64,
        /// How many.
        num: u64,
    },
    /// Dates from `start` to before `stop`.
    DateRange {
        /// The first.
        start: jiff::civil::Date,
        /// After the last.
        stop: jiff::civil::Date,
        /// Days from one to the next; not zero. Negative: there is none.
        step: i64,
    },
    /// Moments from `start` to before `stop`, as UTC without a zone.
    DateTimeRange {
        /// The first.
        start: Timestamp,
        /// After the last.
        stop: Timestamp,
        /// Milliseconds from one to the next; not zero. Negative: there is none.
        step: i64,
    },
    /// Evenly between `low` and `high`.
    Uniform {
        /// One end.
        low: f64,
        /// The other end.
        high: f64,
    },
    /// The same, down to a multiple of `q`.
    QUniform {
        /// One end.
        low: f64,
        /// The other end.
        high: f64,
        /// The grain; not zero.
        q: f64,
    },
    /// e to the power of an even draw: the ends are logarithms.
    LogUniform {
        /// The logarithm of one end.
        low: f64,
        /// The logarithm of the other end.
        high: f64,
    },
    /// The same, down to a multiple of `q`.
    QLogUniform {
        /// The logarithm of one end.
        low: f64,
        /// The logarithm of the other end.
        high: f64,
        /// The grain; not zero.
        q: f64,
    },
    /// Around `loc`, with standard deviation `scale`.
    Normal {
        /// The mean.
        loc: f64,
        /// The standard deviation.
        scale: f64,
    },
    /// The same, down to a multiple of `q`.
    QNormal {
        /// The mean.
        loc: f64,
        /// The standard deviation.
        scale: f64,
        /// The grain; not zero.
        q: f64,
    },
    /// e to the power of a normal draw.
    LogNormal {
        /// The mean of the logarithm.
        loc: f64,
        /// The standard deviation of the logarithm.
        scale: f64,
    },
    /// The same, down to a multiple of `q`.
    QLogNormal {
        /// The mean of the logarithm.
        loc: f64,
        /// The standard deviation of the logarithm.
        scale: f64,
        /// The grain; not zero.
        q: f64,
    },
}

impl Distribution {
    /// Whether there are finitely many values, which can be counted and taken by index.
    pub fn is_discrete(&self) -> bool {
        self.size().is_some()
    }

    /// Whether values of a kind are a list, or the steps of a range, each as good as another.
    pub fn is_listed(kind: &str) -> bool {
        ["choice", "range", "linspace", "logspace", "geomspace", "daterange", "datetimerange"].contains(&kind)
    }

    /// Whether each value is as likely as another and there is an even draw or a list (what bayes can use).
    pub fn is_even(&self) -> bool {
        (self.is_discrete() && !matches!(self, Self::PChoice { .. })) || matches!(self, Self::Uniform { .. })
    }

    /// Whether its values are always numbers.
    pub fn is_numeric(&self) -> bool {
        !matches!(
            self,
            Self::Choice { .. } | Self::PChoice { .. } | Self::DateRange { .. } | Self::DateTimeRange { .. }
        )
    }

    /// How many values a discrete one has, at most [`MAX_VALUES`]; `None` for a continuous one.
    pub fn size(&self) -> Option<u64> {
        let steps = |span: f64, step: f64| {
            let count = (span / step).ceil();
            if count > 0.0 { (count as u64).min(MAX_VALUES) } else { 0 }
        };
        match self {
            Self::Choice { values } => Some(values.len() as u64),
            Self::PChoice { values } => Some(values.len() as u64),
            Self::Range { start, stop, step } => Some(steps(stop - start, *step)),
            Self::LinSpace { num, .. } | Self::LogSpace { num, .. } | Self::GeomSpace { num, .. } => {
                Some((*num).min(MAX_VALUES))
            }
            Self::DateRange { start, stop, step } => {
                let days = stop.since(*start).map_or(0, |span| i64::from(span.get_days()));
                Some(whole_steps(days, *step))
            }
            Self::DateTimeRange { start, stop, step } => Some(whole_steps(stop.0.saturating_sub(start.0), *step)),
            _ => None,
        }
    }
}

/// How many steps begin within a span; none in the other direction.
fn whole_steps(span: i64, step: i64) -> u64 {
    if span <= 0 || step <= 0 { 0 } else { span.unsigned_abs().div_ceil(step.unsigned_abs()) }
}

impl JsonSchema for Distribution {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Distribution".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let rules: Vec<Value> = KINDS
            .iter()
            .map(|(kind, _)| {
                let types: &[&str] = match *kind {
                    "choice" => &["array", "string"],
                    "datetimerange" => &["array", "object", "string"],
                    "pchoice" => &["array", "string", "null"],
                    _ => &["array", "object", "string", "null"],
                };
                let required: &[&str] = if ["choice", "datetimerange"].contains(kind) { &["value"] } else { &[] };
                json!({
                    "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] },
                    "then": { "required": required, "properties": { "value": { "type": types, "description": about(kind) } } },
                })
            })
            .collect();
        let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
        json_schema!({
            "type": "object", "description": "The values that a param may take.",
            "required": ["kind"], "additionalProperties": false,
            "properties": {
                "kind": { "enum": words, "description": "Which kind of values it is." },
                "value": {
                    "type": ["array", "object", "string", "null"],
                    "description": "The values, as the kind wants them: a list, a mapping, or numbers with colons between; or a template.",
                    "examples": [[0.1, 0.01], { "start": 1, "stop": 10, "step": 2 }, "0:1:0.25"],
                },
            },
            "allOf": rules,
        })
    }
}

/// What the value of a kind is, for the schema.
fn about(kind: &str) -> String {
    match (kind, fields_of(kind)) {
        ("choice", _) => "A list of values.".to_owned(),
        ("pchoice", _) => "A list of values, each with its probability: `[value, 0.5]`.".to_owned(),
        (_, fields) => {
            let (required, optional) = fields.unwrap_or_default();
            let names: Vec<&str> = required.into_iter().chain(optional).collect();
            format!("{}: a list in this order, a mapping, or with colons between.", names.join(", "))
        }
    }
}
