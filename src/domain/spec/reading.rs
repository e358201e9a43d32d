//! Reading typed values from sections that are kept as written until a run is compiled: every fault, at its place.

use serde_json::{Map, Value};

use crate::domain::time::Timestamp;

/// Something that cannot be read, in a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, as a JSON pointer from the section.
    pub pointer: String,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// When it is one.
    pub when: When,
}

/// When something that cannot be read is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as it is written.
    Written,
    /// When the run is made, which then fails: the original reads the file, and finds out as late.
    Made,
    /// When the run is made, if at all: a template, which is filled in by then, or a missing field, of which the schema
    /// says whether a file may lack it.
    Filled,
}

impl Fault {
    /// A fault at a place.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), when: When::Written }
    }

    /// A fault that only matters when the run is made, and does.
    pub fn late(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { when: When::Made, ..Self::new(pointer, message) }
    }

    /// The same fault, seen from the section around.
    pub fn below(mut self, pointer: &str) -> Self {
        self.pointer.insert_str(0, pointer);
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.pointer.trim_start_matches('/').replace('/', ".");
        if place.is_empty() { f.write_str(&self.message) } else { write!(f, "`{place}`: {}", self.message) }
    }
}

/// The faults that are certain as soon as the file is written.
pub fn certain<T>(read: Result<T, Vec<Fault>>) -> Vec<Fault> {
    read.err().unwrap_or_default().into_iter().filter(|fault| fault.when == When::Written).collect()
}

/// Whether a value is a text with a template in it.
pub fn is_template(value: &Value) -> bool {
    let inner = value.as_str().and_then(|text| text.split_once("{{")).map(|(_, rest)| rest);
    // Between the braces stands something.
    inner.is_some_and(|inner| inner.char_indices().nth(1).is_some_and(|(at, _)| inner[at..].contains("}}")))
}

/// The fields of a mapping, read one after another; faults are gathered.
pub(super) struct Fields<'v> {
    map: Option<&'v Map<String, Value>>,
    /// Whether a missing field is certain to be a fault, since no schema tells it.
    strict: bool,
    /// What could not be read.
    pub faults: Vec<Fault>,
}

impl<'v> Fields<'v> {
    /// The fields of a value that should be a mapping.
    pub fn of(value: &'v Value) -> Self {
        let mut faults = Vec::new();
        let map = match value {
            Value::Object(map) => Some(map),
            other => {
                faults.push(whole(other, "a mapping"));
                None
            }
        };
        Self { map, strict: false, faults }
    }

    /// The same, where no schema tells which fields must be there.
    pub fn strict(value: &'v Value) -> Self {
        Self { strict: true, ..Self::of(value) }
    }

    /// Notes that a field must be there.
    pub fn demand(&mut self, key: &str) {
        if self.map.is_some() && self.raw(key).is_none() {
            let fault = Fault::new("", format!("the field `{key}` is missing"));
            let when = if self.strict { When::Written } else { When::Filled };
            self.faults.push(Fault { when, ..fault });
        }
    }

    /// The value of a field, if it is there and not null.
    pub fn raw(&self, key: &str) -> Option<&'v Value> {
        self.map?.get(key).filter(|value| !value.is_null())
    }

    /// A field that may be absent.
    pub fn optional<T>(&mut self, key: &str, read: impl FnOnce(&'v Value) -> Result<T, String>) -> Option<T> {
        let value = self.raw(key)?;
        match read(value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault { pointer: format!("/{key}"), message, when: when_known(value) });
                None
            }
        }
    }

    /// A field that must be there.
    pub fn required<T>(&mut self, key: &str, read: impl FnOnce(&'v Value) -> Result<T, String>) -> Option<T> {
        self.demand(key);
        self.optional(key, read)
    }

    /// A whole number whose size matters only when the run is made.
    pub fn at_least(&mut self, least: i64, key: &str) -> Option<u64> {
        let number = self.optional(key, integer)?;
        if number < least {
            let message = format!("`{number}` is too small: the smallest value is {least}");
            self.faults.push(Fault::late(format!("/{key}"), message));
        }
        u64::try_from(number).ok()
    }

    /// A section in a field that may be absent, with faults of its own.
    pub fn section<T>(&mut self, key: &str, read: impl FnOnce(&'v Value) -> Result<T, Vec<Fault>>) -> Option<T> {
        let value = self.raw(key)?;
        if is_template(value) {
            self.faults.push(Fault { when: When::Filled, ..Fault::new(format!("/{key}"), TEMPLATE) });
            return None;
        }
        match read(value) {
            Ok(section) => Some(section),
            Err(faults) => {
                let pointer = format!("/{key}");
                self.faults.extend(faults.into_iter().map(|fault| fault.below(&pointer)));
                None
            }
        }
    }

    /// A section that must be there.
    pub fn required_section<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&'v Value) -> Result<T, Vec<Fault>>,
    ) -> Option<T> {
        self.demand(key);
        self.section(key, read)
    }

    /// A list of sections.
    pub fn sections<T>(&mut self, key: &str, read: impl Fn(&'v Value) -> Result<T, Vec<Fault>>) -> Vec<T> {
        let list = self.section(key, |value| match value {
            Value::Array(list) => Ok(list),
            other => Err(vec![whole(other, "a list")]),
        });
        let mut found = Vec::new();
        for (i, value) in list.into_iter().flatten().enumerate() {
            match read(value) {
                Ok(section) => found.push(section),
                Err(faults) => {
                    let pointer = format!("/{key}/{i}");
                    self.faults.extend(faults.into_iter().map(|fault| fault.below(&pointer)));
                }
            }
        }
        found
    }

    /// What was made of the fields, unless something could not be read.
    pub fn finish<T>(self, made: Option<T>) -> Result<T, Vec<Fault>> {
        match made {
            Some(made) if self.faults.is_empty() => Ok(made),
            _ => Err(self.faults),
        }
    }
}

/// What is said of a template where a value is needed.
const TEMPLATE: &str = "it is a template that has not been filled in";

/// The fault of a whole section.
pub(super) fn whole(value: &Value, wanted: &str) -> Fault {
    Fault { when: when_known(value), ..Fault::new("", expected(wanted, value)) }
}

fn when_known(value: &Value) -> When {
    if is_template(value) { When::Filled } else { When::Written }
}

fn expected(wanted: &str, value: &Value) -> String {
    let got = match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::String(_) if is_template(value) => return TEMPLATE.to_owned(),
        Value::String(text) => {
            let mut text: String = text.escape_debug().take(60).collect();
            if text.len() == 60 {
                text.push('…');
            }
            format!("the text `{text}`")
        }
        other => format!("`{other}`"),
    };
    format!("expected {wanted}, got {got}")
}

/// A number, or a text that is one, or a truth value as 0 or 1; finite.
pub(super) fn number(value: &Value) -> Result<f64, String> {
    let read = match value {
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    read.filter(|number: &f64| number.is_finite()).ok_or_else(|| expected("a number", value))
}

/// A whole number, or a text that is one (`2.0` too), or a truth value as 0 or 1.
pub(super) fn integer(value: &Value) -> Result<i64, String> {
    let read = match value {
        Value::Bool(b) => Some(i64::from(*b)),
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(exact)),
        Value::String(text) => {
            let text = text.trim();
            let whole = text.split_once('.').filter(|(_, rest)| rest.chars().all(|c| c == '0')).map(|(whole, _)| whole);
            whole.unwrap_or(text).parse().ok()
        }
        _ => None,
    };
    read.ok_or_else(|| expected("a whole number", value))
}

fn exact(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

/// A whole number of at least one.
pub(super) fn count(value: &Value) -> Result<u64, String> {
    match integer(value)? {
        number if number >= 1 => Ok(number.unsigned_abs()),
        number => Err(format!("`{number}` is too small: the smallest value is 1")),
    }
}

/// A text.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(text) if !is_template(value) => Ok(text.to_owned()),
        _ => Err(expected("a text", value)),
    }
}

/// One of some words, by what each stands for.
pub(super) fn word<'w, T: Copy>(words: &'w [(&'w str, T)]) -> impl Fn(&Value) -> Result<T, String> + 'w {
    move |value| {
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, meaning)| *meaning);
        found.ok_or_else(|| {
            let names: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            expected(&format!("one of {}", names.join(", ")), value)
        })
    }
}

/// Polyaxon's lenient booleans.
pub(super) fn flag(value: &Value) -> Result<bool, String> {
    let read = match value {
        Value::Bool(b) => Some(*b),
        Value::Number(number) => match number.as_f64() {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
        Value::String(text) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
            "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    };
    read.ok_or_else(|| expected("`true` or `false`", value))
}

/// A civil date.
pub(super) fn date(value: &Value) -> Result<jiff::civil::Date, String> {
    // A moment at midnight is a date as well.
    let midnight = |moment: Timestamp| {
        let moment = jiff::Timestamp::from_millisecond(moment.0).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
        (moment.time() == jiff::civil::Time::midnight()).then(|| moment.date())
    };
    moment(value).ok().and_then(midnight).ok_or_else(|| expected("a date, `YYYY-MM-DD`", value))
}

/// A moment: an ISO 8601 text (UTC when it names no zone), a date, or seconds since 1970; a number as a text too.
pub(super) fn moment(value: &Value) -> Result<Timestamp, String> {
    let wanted = || expected("a moment, `YYYY-MM-DDTHH:MM:SSZ`", value);
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    if let Some(number) = number {
        // Larger ones count in milliseconds, as in the original.
        let milliseconds = if number.abs() > 2e10 { number } else { number * 1000.0 };
        let in_time = (-62_135_596_800_000.0..=253_402_300_799_999.0).contains(&milliseconds);
        return in_time.then_some(Timestamp(milliseconds as i64)).ok_or_else(wanted);
    }
    let text = value.as_str().ok_or_else(wanted)?.trim();
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(moment.as_millisecond()));
    }
    let civil: jiff::civil::DateTime = text.parse().map_err(|_| wanted())?;
    let moment = jiff::tz::TimeZone::UTC.to_timestamp(civil).map_err(|_| wanted())?;
    Ok(Timestamp(moment.as_millisecond()))
}

/// A length of time in milliseconds, which may be negative: seconds, ISO 8601 (`PT1H`), `1 day`, `1 day, 02:00:00`
/// or `01:00:00`.
pub(crate) fn milliseconds(value: &Value) -> Result<i64, String> {
    let wanted = || expected("a length of time: seconds, `PT1H`, `1 day` or `01:00:00`", value);
    if let Some(seconds) = value.as_f64().or(value.as_bool().map(|one| f64::from(u8::from(one)))) {
        return Ok((seconds * 1000.0) as i64);
    }
    let text = value.as_str().ok_or_else(wanted)?.trim_end();
    let (sign, bare) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let seconds = if bare.starts_with('P') { iso_duration(bare) } else { days_and_clock(bare) };
    let seconds = seconds.map(|seconds| sign * seconds);
    seconds.map(|seconds| (seconds * 1000.0) as i64).ok_or_else(wanted)
}

/// `P1DT2H` in seconds; a month has 30 days and a year 365.
fn iso_duration(text: &str) -> Option<f64> {
    let span: jiff::Span = text.parse().ok()?;
    let days = i64::from(span.get_years()) * 365 + i64::from(span.get_months()) * 30;
    let rest = span.try_years(0).and_then(|span| span.try_months(0)).ok()?;
    let seconds = rest.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours())).ok()?;
    Some(days as f64 * 86_400.0 + seconds)
}

/// `1 day`, `2d`, `2 days, 01:00:00`, `01:00` in seconds.
fn days_and_clock(text: &str) -> Option<f64> {
    let after = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: f64 = text[..text.len() - after.len()].parse().ok()?;
    let after = after.strip_prefix(' ').unwrap_or(after);
    let Some(rest) = after.strip_prefix(['d', 'D']) else {
        // An hour has two digits when no days are said.
        return (text.find(':') != Some(1)).then(|| clock(text)).flatten();
    };
    let word =
        ["ays", "ay"].iter().find(|word| rest.get(..word.len()).is_some_and(|end| end.eq_ignore_ascii_case(word)));
    let rest = &rest[word.map_or(0, |word| word.len())..];
    let rest = rest.strip_prefix(',').unwrap_or(rest);
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let seconds = if rest.is_empty() { 0.0 } else { clock(rest).filter(|seconds| *seconds < 86_400.0)? };
    Some(number * 86_400.0 + seconds)
}

fn clock(text: &str) -> Option<f64> {
    let digits = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
    let parts: Vec<f64> = text.split(':').map(|part| Some(part).filter(digits)?.parse().ok()).collect::<Option<_>>()?;
    match parts[..] {
        [hours, minutes] if minutes < 60.0 => Some(hours * 3600.0 + minutes * 60.0),
        [hours, minutes, seconds] if minutes < 60.0 && seconds < 60.0 => {
            Some(hours * 3600.0 + minutes * 60.0 + seconds)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lengths_of_time_are_read_in_every_form() {
        for (text, seconds) in [
            (json!(3600), 3600),
            (json!(2.5), 2),
            (json!("PT1H"), 3600),
            (json!("P1DT2H"), 93_600),
            (json!("1 day"), 86_400),
            (json!("2 days, 01:00:30"), 176_430),
            (json!("01:00:00"), 3600),
            (json!("-01:00"), -3600),
        ] {
            assert_eq!(milliseconds(&text).unwrap() / 1000, seconds, "{text}");
        }
        for bad in [json!("120"), json!("soon"), json!(null), json!("1 day of rest")] {
            assert!(milliseconds(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_read_in_every_form() {
        for (text, expected) in [
            (json!("2019-06-24T21:20:07+02:00"), "2019-06-24T19:20:07.000Z"),
            (json!("2019-06-24T21:20:07"), "2019-06-24T21:20:07.000Z"),
            (json!("2019-06-24 21:20"), "2019-06-24T21:20:00.000Z"),
            (json!("2019-06-24"), "2019-06-24T00:00:00.000Z"),
            (json!(1561411207), "2019-06-24T21:20:07.000Z"),
        ] {
            assert_eq!(moment(&text).unwrap().to_string(), expected, "{text}");
        }
        assert!(moment(&json!("foo")).is_err());
    }
}
