//! Canonical bytes and their digests: keys sorted, one form for a number, nothing that only people read.

use serde_json::Value;

use crate::domain::ids::Digest;

/// The digest of a value in canonical form.
pub(super) fn digest(value: &Value) -> Digest {
    let mut bytes = Vec::with_capacity(512);
    canonical(value, &mut bytes);
    Digest::of(&bytes)
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
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
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
    }
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

    #[test]
    fn the_order_of_keys_and_the_form_of_numbers_do_not_matter() {
        assert_eq!(digest(&json!({"a": 1, "b": [2.0, "x"]})), digest(&json!({"b": [2, "x"], "a": 1.0})));
        assert_ne!(digest(&json!({"a": 1})), digest(&json!({"a": "1"})));
        assert_ne!(digest(&json!(["a\",\"b"])), digest(&json!(["a", "b"])));
    }
}
