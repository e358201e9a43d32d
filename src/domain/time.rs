//! Moments and spans as values. There is no way to ask for now in here: the shell stamps each batch.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This moment and a span later; saturates.
    pub fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }

    /// The span since an earlier moment; zero when it was later.
    pub fn since(self, earlier: Self) -> Span {
        Span(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => f.pad(&format!("{moment:.3}")),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// A length of time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Span(pub u64);

impl Span {
    /// A span of whole seconds; saturates.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
}

impl fmt::Display for Span {
    /// The two largest units, as Kubernetes writes ages: `350ms`, `42s`, `3m20s`, `5h3m`, `2d4h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let pair = |f: &mut fmt::Formatter<'_>, (a, ua): (u64, char), (b, ub): (u64, char)| {
            let text = if b == 0 { format!("{a}{ua}") } else { format!("{a}{ua}{b}{ub}") };
            f.pad(&text)
        };
        match seconds {
            0 if self.0 > 0 => f.pad(&format!("{}ms", self.0)),
            0..60 => f.pad(&format!("{seconds}s")),
            60..3600 => pair(f, (seconds / 60, 'm'), (seconds % 60, 's')),
            3600..86400 => pair(f, (seconds / 3600, 'h'), (seconds % 3600 / 60, 'm')),
            _ => pair(f, (seconds / 86400, 'd'), (seconds % 86400 / 3600, 'h')),
        }
    }
}

/// A duration as a person writes it: `90s`, `15m`, `1h30m`, `2d`, or a bare number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub Span);

impl Duration {
    /// Reads a duration; units are `ms`, `s`, `m`, `h`, `d`, each at most once and from large to small.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a duration: write for example `90s`, `15m` or `1h30m`");
        let mut rest = text;
        let (mut total, mut last) = (0u64, u64::MAX);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
            let unit: String = rest[digits..].chars().take_while(char::is_ascii_alphabetic).collect();
            rest = &rest[digits + unit.len()..];
            let factor = match unit.as_str() {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(bad()),
            };
            if factor >= last {
                return Err(bad());
            }
            last = factor;
            total = number.checked_mul(factor).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
        }
        if last == u64::MAX { Err(bad()) } else { Ok(Self(Span(total))) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = self.0.0;
        let mut text = String::new();
        let mut rest = ms;
        for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= factor {
                text.push_str(&format!("{}{unit}", rest / factor));
                rest %= factor;
            }
        }
        serializer.serialize_str(if text.is_empty() { "0s" } else { &text })
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Ok(Self(Span::seconds(seconds))),
            Written::Text(text) => Self::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer"],
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 1,
            "minimum": 0,
            "description": "A duration such as `90s`, `15m` or `1h30m`; a bare number means seconds.",
            "examples": ["90s", "15m", "1h30m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_refuse() {
        assert_eq!(Duration::parse("1h30m").map(|d| d.0), Ok(Span::seconds(5400)));
        assert_eq!(Duration::parse("250ms").map(|d| d.0), Ok(Span(250)));
        for bad in ["", "1", "m", "1m1h", "1m1m", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(Duration::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        let shown: Vec<_> = [350, 42_000, 200_000, 18_180_000, 187_200_000].map(|ms| Span(ms).to_string()).into();
        assert_eq!(shown, ["350ms", "42s", "3m20s", "5h3m", "2d4h"]);
    }
}
