//! Reads the values that a param may take, from each of their three forms.

use serde_json::Value;

use super::Distribution;
use crate::domain::spec::reading::{
    Fault, Fields, When, date, integer, is_template, milliseconds, moment, number, text, whole,
};

/// The words of `kind`, with the fields of `value` in the order of a list; those after `|` may be left out.
pub(super) const KINDS: [(&str, &str); 16] = [
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
pub(super) fn fields_of(kind: &str) -> Option<(Vec<&'static str>, Vec<&'static str>)> {
    let (_, fields) = KINDS.iter().find(|(word, _)| *word == kind)?;
    let (required, optional) = fields.split_once('|').unwrap_or((fields, ""));
    Some((required.split_whitespace().collect(), optional.split_whitespace().collect()))
}

impl Distribution {
    /// Reads `{kind, value}`; the faults say where.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let kind = fields.required("kind", text);
        let made = kind.and_then(|kind| fields.section("value", |value| Self::of(&kind, value)));
        if fields.raw("value").is_none() {
            fields.faults.push(Fault::late("", "it has no values"));
        }
        fields.finish(made)
    }

    fn of(kind: &str, value: &Value) -> Result<Self, Vec<Fault>> {
        let Some((required, optional)) = fields_of(kind) else {
            let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
            return Err(vec![Fault::new("", format!("`{kind}` is no kind of values: {}", words.join(", ")))]);
        };
        match kind {
            "choice" => match value {
                Value::Array(values) if values.is_empty() => Err(vec![Fault::late("", "the list is empty")]),
                Value::Array(values) => Ok(Self::Choice { values: values.clone() }),
                other => Err(vec![whole(other, "a list")]),
            },
            "pchoice" => pchoice(value),
            _ => {
                let named = named(kind, value, &required, &optional)?;
                let mut fields = Fields::strict(&named);
                let made = Self::ranged(kind, &mut fields);
                // The whole may be a template, a part of it may not.
                fields
                    .faults
                    .iter_mut()
                    .filter(|fault| fault.when == When::Filled)
                    .for_each(|fault| fault.when = When::Written);
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
                fields.demand("num");
                let num = fields.at_least(0, "num");
                if num == Some(0) {
                    fields.faults.push(Fault::new("/num", "it may not be zero"));
                }
                let base = fields.optional("base", integer);
                let (start, stop) = ordered(start?, stop?, fields)?;
                let num = num?;
                match kind {
                    "linspace" => Self::LinSpace { start, stop, num },
                    "logspace" => Self::LogSpace { start, stop, num, base: base.map_or(10.0, |base| base as f64) },
                    _ if start * stop <= 0.0 => {
                        fields.faults.push(Fault::late("/start", "a geometric series does not touch zero"));
                        return None;
                    }
                    _ => Self::GeomSpace { start, stop, num },
                }
            }
            "daterange" => {
                let (start, stop) = (fields.required("start", date), fields.required("stop", date));
                let step = fields.required("step", integer);
                let (start, stop) = ordered(start?, stop?, fields)?;
                Self::DateRange { start, stop, step: a_step(step?, fields)? }
            }
            "datetimerange" => {
                let (start, stop) = (fields.required("start", moment), fields.required("stop", moment));
                let step = fields.required("step", milliseconds);
                let zoned = |key: &str| fields.raw(key).is_some_and(names_a_zone);
                if zoned("start") != zoned("stop") {
                    fields.faults.push(Fault::new("/stop", "one of the two names a time zone, and the other does not"));
                }
                let (start, stop) = ordered(start?, stop?, fields)?;
                Self::DateTimeRange { start, stop, step: a_step(step?, fields)? }
            }
            "uniform" | "quniform" | "loguniform" | "qloguniform" => {
                fields.optional("size", integer);
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
                fields.optional("size", integer);
                let (loc, scale) = (fields.required("loc", number), fields.required("scale", number));
                let q = kind.starts_with('q').then(|| fields.required("q", not_zero));
                let (loc, scale) = (loc?, scale?);
                if scale < 0.0 {
                    fields.faults.push(Fault::late("/scale", "a standard deviation is not negative"));
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

/// Whether a moment says where it is meant; seconds since 1970 do.
fn names_a_zone(moment: &Value) -> bool {
    let text = moment.as_str().unwrap_or("0").trim();
    text.parse::<f64>().is_ok() || text.parse::<jiff::Timestamp>().is_ok()
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
        faults.push(Fault::late("", "the list is empty"));
    }
    // Tenths do not add up exactly.
    if sum > 1.0 + 1e-9 {
        faults.push(Fault::new("", format!("the probabilities add up to {sum}, which is more than 1")));
    }
    if faults.is_empty() { Ok(Distribution::PChoice { values }) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
