//! Canonical bytes and their digests: keys sorted, one form for a number, nothing that only people read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::ids::Digest;

/// The digest of a value, whatever the order of its keys.
pub fn digest_of(value: &Value) -> Digest {
    Canonical::default().value(value).digest()
}

/// Values in canonical form, one after the other; each says by itself where it ends.
#[derive(Default)]
pub(super) struct Canonical(Vec<u8>);

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
        self.0.push(b';');
        self
    }

    /// The digest of all that was added.
    pub fn digest(self) -> Digest {
        Digest::of(&self.0)
    }
}

/// Writes a value with sorted keys and without spaces; `1.0` is written as `1`.
fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(b) => out.extend(if *b { &b"true"[..] } else { b"false" }),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 9e15 => out.extend((f as i64).to_string().bytes()),
            _ => out.extend(n.to_string().bytes()),
        },
        Value::String(text) => string(text, out),
        Value::Array(list) => {
            out.push(b'[');
            for (i, one) in list.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                canonical(one, out);
            }
            out.push(b']');
        }
        Value::Object(map) => mapping(map.iter().collect(), out),
    }
}

/// Writes entries sorted by key.
fn mapping(mut entries: Vec<(&String, &Value)>, out: &mut Vec<u8>) {
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push(b'{');
    for (i, (key, one)) in entries.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(key, out);
        out.push(b':');
        canonical(one, out);
    }
    out.push(b'}');
}

/// A text between quotes. Only quotes and backslashes are escaped: enough for two texts never to look alike.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
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
