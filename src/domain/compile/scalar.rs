//! What a plain YAML scalar means: the YAML 1.2 core schema, and where YAML 1.1 would read something else.

use serde_json::{Number, Value};

/// What a plain scalar is read as.
pub(super) enum Scalar {
    /// The text itself.
    Text,
    /// A text that YAML 1.1 reads otherwise, with what it would read.
    OnlyText(&'static str),
    /// A value on which YAML 1.1 and 1.2 agree.
    Plain(Value),
    /// The same for a value that is no text.
    Differs(Value, &'static str),
    /// No value that JSON has; the text says why.
    Refused(&'static str),
}

/// Reads a plain (unquoted) scalar.
pub(super) fn resolve(text: &str) -> Scalar {
    // Most scalars are words: a letter that begins none of the special ones decides at once.
    match text.as_bytes().first() {
        None => return Scalar::Plain(Value::Null),
        Some(b'0'..=b'9' | b'-' | b'+' | b'.') => return number(text),
        Some(b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O') if text.len() <= 5 => {}
        Some(_) => return Scalar::Text,
    }
    match text {
        "~" | "null" | "Null" | "NULL" => Scalar::Plain(Value::Null),
        "true" | "True" | "TRUE" => Scalar::Plain(Value::Bool(true)),
        "false" | "False" | "FALSE" => Scalar::Plain(Value::Bool(false)),
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Scalar::OnlyText("`true`"),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Scalar::OnlyText("`false`"),
        _ => Scalar::Text,
    }
}

/// Reads what begins like a number.
fn number(text: &str) -> Scalar {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |digits: &str, radix: u32| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Scalar::Refused("infinity and NaN are not values here");
    }
    if all(unsigned, 10) {
        let Some(value) = integer(text) else {
            return Scalar::Refused("this integer has more digits than a reader keeps; quote it to make it a text");
        };
        return match unsigned.strip_prefix('0') {
            Some(rest) if all(rest, 8) => Scalar::Differs(value, "an octal number"),
            Some(rest) if !rest.is_empty() => Scalar::Differs(value, "a text"),
            _ => Scalar::Plain(value),
        };
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| all(digits, radix)) {
            return match (u64::from_str_radix(digits, radix), radix) {
                (Ok(n), 16) => Scalar::Plain(n.into()),
                (Ok(n), _) => Scalar::Differs(n.into(), "a text"),
                (Err(_), _) => Scalar::Refused("this integer has more digits than a reader keeps; quote it"),
            };
        }
    }
    if is_float(unsigned) {
        let Some(value) = text.parse().ok().and_then(Number::from_f64) else {
            return Scalar::Refused("this number is out of range; quote it to make it a text");
        };
        // YAML 1.1 wants a point before an exponent: `1e3`, and commit ids such as `12345e7`, are texts there.
        return if unsigned.contains(['e', 'E']) && !unsigned.contains('.') {
            Scalar::Differs(value.into(), "a text")
        } else {
            Scalar::Plain(value.into())
        };
    }
    if let Some(digits) = unsigned.strip_prefix("0b").filter(|digits| all(digits, 2)) {
        return Scalar::OnlyText(if digits.len() > 1 { "a binary number" } else { "0 or 1" });
    }
    let is = |test: fn(char) -> bool| unsigned.starts_with(|c: char| c.is_ascii_digit()) && unsigned.chars().all(test);
    if is(|c| c.is_ascii_digit() || c == '_') {
        return Scalar::OnlyText("a number");
    }
    let parts = || unsigned.split(':');
    if is(|c| c.is_ascii_digit() || c == ':')
        && !unsigned.starts_with('0')
        && parts().skip(1).all(|part| matches!(part.len(), 1 | 2) && part < "6")
    {
        return Scalar::OnlyText("a number in base 60");
    }
    Scalar::Text
}

/// A decimal integer, if 64 bits hold it.
fn integer(text: &str) -> Option<Value> {
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
}

/// `[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?` or `\.[0-9]+…`.
fn is_float(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix('.') {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        None => rest.is_empty(),
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_are_yaml_1_2_and_say_where_1_1_differs() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("no-one", json!("no-one")),
            ("12", json!(12)),
            ("-7", json!(-7)),
            ("18446744073709551615", json!(u64::MAX)),
            ("0x1F", json!(31)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("1.0e3", json!(1000.0)),
            ("1.2.3", json!("1.2.3")),
            ("10Gi", json!("10Gi")),
            ("-", json!("-")),
            ("2020-01-01", json!("2020-01-01")),
            ("12:30pm", json!("12:30pm")),
        ] {
            let found = match resolve(text) {
                Scalar::Text => json!(text),
                Scalar::Plain(found) => found,
                _ => panic!("{text}"),
            };
            assert_eq!(found, value, "{text}");
        }
        for (text, value) in [
            ("yes", json!("yes")),
            ("Off", json!("Off")),
            ("010", json!(10)),
            ("089", json!(89)),
            ("12:30", json!("12:30")),
            ("1_000", json!("1_000")),
            ("1e3", json!(1000.0)),
            ("12345e7", json!(123_450_000_000.0)),
            ("0o17", json!(15)),
            ("0b11", json!("0b11")),
        ] {
            let found = match resolve(text) {
                Scalar::OnlyText(_) => json!(text),
                Scalar::Differs(found, _) => found,
                _ => panic!("{text}"),
            };
            assert_eq!(found, value, "{text}");
        }
        for text in [".inf", "-.INF", ".nan", "99999999999999999999999", "1e999"] {
            assert!(matches!(resolve(text), Scalar::Refused(_)), "{text}");
        }
    }
}
