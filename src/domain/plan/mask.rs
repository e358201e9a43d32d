//! Hides values that look secret: by the name that they stand under, and inside of texts.

use serde_json::Value;

/// What stands in the place of a secret; the same for every secret, so that not even its length is told.
pub const MASKED: &str = "(masked)";

const SECRET_WORDS: [&str; 12] = [
    "token",
    "secret",
    "secrets",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "credential",
    "credentials",
    "apikey",
    "accesskey",
    "privatekey",
];

/// Whether a name promises a secret: `API_TOKEN`, `dbPassword`, `aws-secret-access-key`. A bare `key` does not, nor
/// does what only refers to a secret (`secretKeyRef`, `secretName`).
pub fn is_secret_name(name: &str) -> bool {
    // Nearly all names are of this kind, and a plan asks for each of them.
    let plain = |word: &str| !SECRET_WORDS.contains(&word);
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()) {
        return !plain(name);
    }
    let words = words(name);
    let last = words.last().map_or("", String::as_str);
    let refers = words.len() > 1 && matches!(last, "ref" | "refs" | "name" | "names");
    let keyed = words.len() > 1 && matches!(last, "key" | "keys");
    !refers && (keyed || words.iter().any(|word| !plain(word)))
}

/// The words of a name, in lower case: at `_`, `-`, `.` and where capitals begin.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower) {
            words.push(String::new());
        }
        lower = c.is_lowercase() || c.is_ascii_digit();
        if c.is_alphanumeric() {
            words.last_mut().expect("one is there from the start").extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A value with its secrets hidden. `secret` says that it stands under a secret name itself.
pub fn masked(value: &Value, secret: bool) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Object(map) => {
            let named = map.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
            let one = |(key, value): (&String, &Value)| {
                (key.clone(), masked(value, is_secret_name(key) || (named && key == "value")))
            };
            Value::Object(map.iter().map(one).collect())
        }
        Value::Array(items) => mask_items(items, secret),
        _ if secret => Value::String(MASKED.into()),
        Value::String(text) => Value::String(mask_text(text)),
        other => other.clone(),
    }
}

/// As [`masked`], for the items of a list; one that is a flag such as `--token` hides the next.
fn mask_items(items: &[Value], secret: bool) -> Value {
    let mut after_flag = false;
    let one = |item: &Value| {
        let shown = masked(item, secret || after_flag);
        after_flag = item.as_str().is_some_and(is_secret_flag);
        shown
    };
    Value::Array(items.iter().map(one).collect())
}

fn is_secret_flag(word: &str) -> bool {
    word.starts_with('-') && !word.contains(['=', ' ', '\n']) && is_secret_name(word)
}

/// A text with its secrets hidden: `NAME=value`, `"name": "value"`, `--name value`, `https://user:password@host`.
pub fn mask_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut hide_next = false;
    let mut quote = None;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let space = &piece[word.len()..];
        if let Some(open) = quote {
            // Inside of a quoted secret that has spaces.
            if word.contains(open) {
                quote = None;
            }
            shown.push_str(space);
            continue;
        }
        if word.is_empty() {
            shown.push_str(space);
            continue;
        }
        let (visible, secret) = if hide_next { ("", Some(word)) } else { split_secret(word) };
        hide_next = false;
        match secret {
            Some("") => {
                shown.push_str(visible);
                hide_next = visible.ends_with([':', '-']) || is_secret_flag(visible);
            }
            Some(secret) => {
                shown.push_str(visible);
                shown.push_str(MASKED);
                let open = secret.chars().next().filter(|c| matches!(c, '"' | '\''));
                quote = open.filter(|open| secret.len() == 1 || !secret[1..].contains(*open));
            }
            None => {
                shown.push_str(visible);
                hide_next = is_secret_flag(word);
            }
        }
        shown.push_str(space);
    }
    shown
}

/// A word as what may be seen and what may not.
fn split_secret(word: &str) -> (&str, Option<&str>) {
    // To the last `@`, because a password may hold anything, `/` too; a path with `:` and `@` is hidden with it.
    if let Some((scheme, rest)) = word.split_once("://")
        && let Some(at) = rest.rfind('@')
        && let Some(colon) = rest[..at].find(':')
    {
        return (&word[..scheme.len() + 3 + colon + 1], Some(&rest[colon + 1..]));
    }
    for (at, sign) in word.match_indices(['=', ':']) {
        let name = word[..at].trim_end_matches(['"', '\'']);
        let start = name
            .rfind(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'))
            .map_or(0, |i| i + name[i..].chars().next().map_or(1, char::len_utf8));
        if is_secret_name(&name[start..]) {
            let end = at + sign.len();
            return (&word[..end], Some(&word[end..]));
        }
    }
    (word, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_that_promise_secrets() {
        for name in ["API_TOKEN", "dbPassword", "aws-secret-access-key", "HF_KEY", "token", "CREDENTIALS"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["key", "max_tokens", "keyboard", "secretKeyRef", "secretName", "monkey", "tokenizer", ""] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn secrets_inside_of_texts_are_hidden() {
        for (text, shown) in [
            ("export API_TOKEN=abc; run", "export API_TOKEN=(masked) run"),
            ("train --password hunter2 --lr 0.1", "train --password (masked) --lr 0.1"),
            ("train --token=abc", "train --token=(masked)"),
            ("git clone https://me:pw@host/x", "git clone https://me:(masked)"),
            ("PASSWORD=\"two words\" next", "PASSWORD=(masked)  next"),
            ("{\"apiKey\": \"abc\"}", "{\"apiKey\": (masked)"),
            ("lr=0.1 epochs=3", "lr=0.1 epochs=3"),
        ] {
            assert_eq!(mask_text(text), shown);
        }
    }

    #[test]
    fn values_under_secret_names_are_hidden_and_references_are_not() {
        let value = json!({
            "env": [{"name": "HF_TOKEN", "value": "abc"}, {"name": "LR", "value": "0.1"},
                    {"name": "PW_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "password": 1234, "args": ["--token", "abc", "--lr", "1"],
        });
        assert_eq!(
            masked(&value, false),
            json!({
                "env": [{"name": "HF_TOKEN", "value": MASKED}, {"name": "LR", "value": "0.1"},
                        {"name": "PW_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "password": MASKED, "args": ["--token", MASKED, "--lr", "1"],
            })
        );
    }
}
