//! The values that a param of a matrix may take: `{kind, value}`, where the value is a list, a mapping or `a:b:c`.
//!
//! Polyaxon's kinds and names. Elements of a list beyond the last field are ignored, as there.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reading::{Fault, Fields, date, integer, is_template, milliseconds, moment, number, whole};
use crate::domain::time::Timestamp;

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

/// The words of `kind`, with the fields of `value` in the order of a list; those after `|` may be left out.
const KINDS: [(&str, &str); 16] = [
    ("choice", ""),
    ("pchoice", ""),
    ("range", "start stop step"),
    ("linspace", "start stop num"),
    ("logspace", "start stop num | base"),
    ("geomspace", "start stop num"),
    ("daterange", "start stop step"),
    ("datetimerange", "start stop step"),
    ("uniform", "low high | size"),
    ("quniform", "low high q | size"),
    ("loguniform", "low high | size"),
    ("qloguniform", "low high q | size"),
    ("normal", "loc scale | size"),
    ("qnormal", "loc scale q | size"),
    ("lognormal", "loc scale | size"),
    ("qlognormal", "loc scale q | size"),
];

/// Required and optional fields of a kind.
fn fields_of(kind: &str) -> Option<(Vec<&'static str>, Vec<&'static str>)> {
    let (_, fields) = KINDS.iter().find(|(word, _)| *word == kind)?;
    let (required, optional) = fields.split_once('|').unwrap_or((fields, ""));
    Some((required.split_whitespace().collect(), optional.split_whitespace().collect()))
}

impl Distribution {
    /// Reads `{kind, value}`; the faults say where.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let kind = fields.required("kind", super::reading::text);
        let made = kind.and_then(|kind| fields.required_section("value", |value| Self::of(&kind, value)));
        fields.finish(made)
    }

    /// Whether there are finitely many values, which can be counted and taken by index.
    pub fn is_discrete(&self) -> bool {
        self.size().is_some()
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

    fn of(kind: &str, value: &Value) -> Result<Self, Vec<Fault>> {
        let Some((required, optional)) = fields_of(kind) else {
            let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
            return Err(vec![Fault::new("", format!("`{kind}` is no kind of values: {}", words.join(", ")))]);
        };
        match kind {
            "choice" => match value {
                Value::Array(values) if values.is_empty() => Err(vec![Fault::new("", "the list is empty")]),
                Value::Array(values) => Ok(Self::Choice { values: values.clone() }),
                other => Err(vec![whole(other, "a list")]),
            },
            "pchoice" => pchoice(value),
            _ => {
                let named = named(kind, value, &required, &optional)?;
                let mut fields = Fields::strict(&named);
                let made = Self::ranged(kind, &mut fields);
                // In a list, a place is an index.
                if value.is_array() {
                    for fault in &mut fields.faults {
                        let field = fault.pointer.trim_start_matches('/');
                        let at = required.iter().chain(&optional).position(|name| *name == field);
                        fault.pointer = at.map(|at| format!("/{at}")).unwrap_or_default();
                    }
                } else if value.is_string() {
                    fields.faults.iter_mut().for_each(|fault| fault.pointer.clear());
                }
                fields.finish(made)
            }
        }
    }

    fn ranged(kind: &str, fields: &mut Fields<'_>) -> Option<Self> {
        let made = match kind {
            "range" => {
                let (start, stop) = (fields.required("start", number), fields.required("stop", number));
                let step = fields.required("step", not_zero);
                let (start, stop) = ordered(start?, stop?, fields)?;
                Self::Range { start, stop, step: step? }
            }
            "linspace" | "geomspace" | "logspace" => {
                let (start, stop) = (fields.required("start", number), fields.required("stop", number));
                let num = fields.required("num", super::reading::natural);
                let base = fields.optional("base", number);
                let (start, stop) = ordered(start?, stop?, fields)?;
                let num = num?;
                match kind {
                    "linspace" => Self::LinSpace { start, stop, num },
                    "logspace" => Self::LogSpace { start, stop, num, base: base.unwrap_or(10.0) },
                    _ if start * stop <= 0.0 => {
                        fields.faults.push(Fault::new("/start", "a geometric series does not touch zero"));
                        return None;
                    }
                    _ => Self::GeomSpace { start, stop, num },
                }
            }
            "daterange" => {
                let (start, stop) = (fields.required("start", date), fields.required("stop", date));
                let step = fields.required("step", integer);
                Self::DateRange { start: start?, stop: stop?, step: a_step(step?, fields)? }
            }
            "datetimerange" => {
                let (start, stop) = (fields.required("start", moment), fields.required("stop", moment));
                let step = fields.required("step", milliseconds);
                Self::DateTimeRange { start: start?, stop: stop?, step: a_step(step?, fields)? }
            }
            "uniform" | "quniform" | "loguniform" | "qloguniform" => {
                let (low, high) = (fields.required("low", number), fields.required("high", number));
                let q = kind.starts_with('q').then(|| fields.required("q", not_zero));
                let (low, high) = (low?, high?);
                match (kind, q) {
                    ("uniform", _) => Self::Uniform { low, high },
                    ("loguniform", _) => Self::LogUniform { low, high },
                    ("quniform", q) => Self::QUniform { low, high, q: q?? },
                    (_, q) => Self::QLogUniform { low, high, q: q?? },
                }
            }
            _ => {
                let (loc, scale) = (fields.required("loc", number), fields.required("scale", number));
                let q = kind.starts_with('q').then(|| fields.required("q", not_zero));
                let (loc, scale) = (loc?, scale?);
                if scale < 0.0 {
                    fields.faults.push(Fault::new("/scale", "a standard deviation is not negative"));
                    return None;
                }
                match (kind, q) {
                    ("normal", _) => Self::Normal { loc, scale },
                    ("lognormal", _) => Self::LogNormal { loc, scale },
                    ("qnormal", q) => Self::QNormal { loc, scale, q: q?? },
                    (_, q) => Self::QLogNormal { loc, scale, q: q?? },
                }
            }
        };
        Some(made)
    }
}

/// How many steps begin within a span; none in the other direction.
fn whole_steps(span: i64, step: i64) -> u64 {
    if span <= 0 || step <= 0 { 0 } else { span.unsigned_abs().div_ceil(step.unsigned_abs()) }
}

fn not_zero(value: &Value) -> Result<f64, String> {
    let read = number(value)?;
    if read == 0.0 { Err("it may not be zero".to_owned()) } else { Ok(read) }
}

fn ordered<T: PartialOrd>(start: T, stop: T, fields: &mut Fields<'_>) -> Option<(T, T)> {
    if start < stop {
        return Some((start, stop));
    }
    fields.faults.push(Fault::new("/stop", "it must be greater than `start`"));
    None
}

fn a_step(step: i64, fields: &mut Fields<'_>) -> Option<i64> {
    if step != 0 {
        return Some(step);
    }
    fields.faults.push(Fault::new("/step", "it may not be zero"));
    None
}

/// A list, a mapping or `a:b:c` as a mapping.
fn named(kind: &str, value: &Value, required: &[&str], optional: &[&str]) -> Result<Value, Vec<Fault>> {
    let all = || required.iter().chain(optional);
    let form = |count: usize| {
        let message = format!("{count} values where {} are wanted: {}", required.len(), required.join(", "));
        vec![Fault::new("", message)]
    };
    let from_list = |list: Vec<Value>| {
        if list.len() < required.len() {
            return Err(form(list.len()));
        }
        Ok(Value::Object(all().map(|name| (*name).to_owned()).zip(list).collect()))
    };
    match value {
        Value::Array(list) => from_list(list.clone()),
        Value::Object(map) => match map.keys().find(|key| !all().any(|name| name == key)) {
            Some(unknown) => {
                let names: Vec<&str> = all().copied().collect();
                let message = format!("unknown field; the fields are {}", names.join(", "));
                Err(vec![Fault::new(format!("/{unknown}"), message)])
            }
            None => Ok(value.clone()),
        },
        // Dates have colons of their own.
        Value::String(text) if !is_template(value) && !kind.starts_with("date") => {
            from_list(text.split(':').map(Value::from).collect())
        }
        other => Err(vec![whole(other, "a list or a mapping")]),
    }
}

fn pchoice(value: &Value) -> Result<Distribution, Vec<Fault>> {
    let Value::Array(list) = value else { return Err(vec![whole(value, "a list")]) };
    let (mut values, mut faults) = (Vec::new(), Vec::new());
    for (i, pair) in list.iter().enumerate() {
        match pair.as_array().map(Vec::as_slice) {
            // The integer 1 is no probability: a certain choice is no choice.
            Some([value, chance]) if chance.as_f64().is_some_and(|p| chance.is_f64() && (0.0..1.0).contains(&p)) => {
                values.push((value.clone(), chance.as_f64().unwrap_or_default()));
            }
            Some([_, _]) => faults.push(Fault::new(format!("/{i}/1"), "a probability is at least 0.0 and below 1.0")),
            _ => faults.push(Fault::new(format!("/{i}"), "expected a value and its probability: `[value, 0.5]`")),
        }
    }
    let sum: f64 = values.iter().map(|(_, chance)| chance).sum();
    if values.is_empty() && faults.is_empty() {
        faults.push(Fault::new("", "the list is empty"));
    }
    // Tenths do not add up exactly.
    if sum > 1.0 + 1e-9 {
        faults.push(Fault::new("", format!("the probabilities add up to {sum}, which is more than 1")));
    }
    if faults.is_empty() { Ok(Distribution::PChoice { values }) } else { Err(faults) }
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
                    "choice" | "pchoice" => &["array", "string"],
                    _ => &["array", "object", "string"],
                };
                json!({
                    "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] },
                    "then": { "properties": { "value": { "type": types, "description": about(kind) } } },
                })
            })
            .collect();
        let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
        json_schema!({
            "type": "object", "description": "The values that a param may take.",
            "required": ["kind", "value"], "additionalProperties": false,
            "properties": {
                "kind": { "enum": words, "description": "Which kind of values it is." },
                "value": {
                    "type": ["array", "object", "string"],
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

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(kind: &str, value: Value) -> Vec<String> {
        let read = Distribution::read(&json!({ "kind": kind, "value": value }));
        read.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_three_forms_of_a_value_are_one() {
        let list = Distribution::read(&json!({ "kind": "range", "value": [1, 10, 2] })).unwrap();
        assert_eq!(list, Distribution::Range { start: 1.0, stop: 10.0, step: 2.0 });
        for other in [json!({"start": 1, "stop": 10, "step": 2}), json!("1:10:2"), json!([1, "10", 2.0, 9])] {
            assert_eq!(Distribution::read(&json!({ "kind": "range", "value": other })).as_ref(), Ok(&list));
        }
        let log = Distribution::read(&json!({ "kind": "logspace", "value": "0:3:4:2" })).unwrap();
        assert_eq!(log, Distribution::LogSpace { start: 0.0, stop: 3.0, num: 4, base: 2.0 });
    }

    #[test]
    fn a_fault_names_its_place() {
        for (kind, value, place) in [
            ("range", json!([1, "b", 2]), "`value.1`: expected a number"),
            ("range", json!({"start": 1, "stop": 5}), "`value`: the field `step` is missing"),
            ("range", json!([5, 1, 1]), "`value.1`: it must be greater than `start`"),
            ("range", json!([1, 5]), "`value`: 2 values where 3 are wanted: start, stop, step"),
            ("quniform", json!([0, 1, 0]), "`value.2`: it may not be zero"),
            ("linspace", json!({"start": 0, "stop": 1, "num": 0.5}), "`value.num`: expected a whole number"),
            ("pchoice", json!([["a", 0.5], ["b", 1]]), "`value.1.1`: a probability"),
            ("uniform", json!({"low": 0, "hig": 1}), "`value.hig`: unknown field"),
            ("choice", json!([]), "`value`: the list is empty"),
        ] {
            let said = faults(kind, value.clone());
            assert!(said.len() == 1 && said[0].starts_with(place), "{kind} {value}: {said:?}");
        }
    }

    #[test]
    fn sizes_are_counted_without_making_the_values() {
        for (kind, value, size) in [
            ("range", json!([1, 10, 2]), Some(5)),
            ("range", json!("0:1:0.25"), Some(4)),
            ("range", json!([1, 10, -1]), Some(0)),
            ("range", json!([0, 1e12, 1]), Some(1_000_000_000_000)),
            ("linspace", json!([0, 1, 5]), Some(5)),
            ("daterange", json!(["2019-06-24", "2019-06-28", 2]), Some(2)),
            ("datetimerange", json!(["2019-06-24T21:20:07+02:00", "2019-06-25T01:20:07+02:00", 3600]), Some(4)),
            ("uniform", json!([0, 1]), None),
        ] {
            let read = Distribution::read(&json!({ "kind": kind, "value": value })).unwrap();
            assert_eq!(read.size(), size, "{kind} {value}");
        }
    }
}
