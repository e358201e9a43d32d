//! Canonical bytes and their digests: keys sorted, one form for a number, nothing that only people read.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::domain::ids::Digest;

/// The digest of a value, whatever the order of its keys.
pub fn digest_of(value: &Value) -> Digest {
    Canonical::default().value(value).digest()
}

/// Values in canonical form, one after the other; each says by itself where it ends.
pub(super) struct Canonical(String);

impl Default for Canonical {
    fn default() -> Self {
        Self(String::with_capacity(1024))
    }
}

impl Canonical {
    /// Adds a value.
    pub fn value(mut self, value: &Value) -> Self {
        canonical(value, &mut self.0);
        self
    }

    /// Adds a text.
    pub fn text(mut self, text: &str) -> Self {
        string(text, &mut self.0);
        self
    }

    /// Adds a mapping, by its entries in any order.
    pub fn mapping<'v>(mut self, entries: impl Iterator<Item = (&'v String, &'v Value)>) -> Self {
        mapping(entries.collect(), &mut self.0);
        self
    }

    /// Adds a mapping of texts, by its entries in any order.
    pub fn texts<'t>(mut self, texts: impl Iterator<Item = (&'t String, &'t String)>) -> Self {
        let sorted: BTreeMap<&String, &String> = texts.collect();
        for (key, text) in sorted {
            string(key, &mut self.0);
            string(text, &mut self.0);
        }
        self.0.push(';');
        self
    }

    /// The digest of all that was added.
    pub fn digest(self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

/// Writes a value with sorted keys and without spaces; `1.0` is written as `1`.
fn canonical(value: &Value, out: &mut String) {
    // Writing to a text never fails.
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 9e15 => _ = write!(out, "{}", f as i64),
            _ => _ = write!(out, "{n}"),
        },
        Value::String(text) => string(text, out),
        Value::Array(list) => {
            out.push('[');
            for (i, one) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(one, out);
            }
            out.push(']');
        }
        Value::Object(map) => mapping(map.iter().collect(), out),
    }
}

/// Writes entries sorted by key.
fn mapping(mut entries: Vec<(&String, &Value)>, out: &mut String) {
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (i, (key, one)) in entries.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        string(key, out);
        out.push(':');
        canonical(one, out);
    }
    out.push('}');
}

/// A text between quotes. Only quotes and backslashes are escaped: enough for two texts never to look alike.
fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\')) {
        out.push_str(&rest[..at]);
        out.push('\\');
        out.push_str(&rest[at..=at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(value: &Value) -> Digest {
        Canonical::default().value(value).digest()
    }

    #[test]
    fn the_order_of_keys_and_the_form_of_numbers_do_not_matter() {
        assert_eq!(digest(&json!({"a": 1, "b": [2.0, "x"]})), digest(&json!({"b": [2, "x"], "a": 1.0})));
        assert_ne!(digest(&json!({"a": 1})), digest(&json!({"a": "1"})));
        assert_ne!(digest(&json!(["a\",\"b"])), digest(&json!(["a", "b"])));
    }
}
