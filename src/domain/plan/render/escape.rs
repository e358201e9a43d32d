//! Makes text harmless where it is shown: no control characters, no reordering of letters, no markup, no mentions.

use std::fmt::Write as _;

/// Whether a character could change how what stands around it is read: control characters and escape sequences,
/// overrides of direction, invisible characters, separators of lines.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// For a terminal: dangerous characters as `\n`, `\t`, `\u{1b}`.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            c if is_dangerous(c) => write!(shown, "\\u{{{:x}}}", u32::from(c)).expect("a string takes all"),
            c => shown.push(c),
        }
    }
    shown
}

/// For JSON that was written already: dangerous characters, which can only stand in strings, as `\u001b`.
pub fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        if c != '\n' && is_dangerous(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(shown, "\\u{unit:04x}").expect("a string takes all");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// For Markdown outside of code, of what [`plain`] made: no HTML, no markup, no mention of people or issues, no links.
/// All as character references, which read the same inside of HTML.
pub fn markdown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ':' if rest.as_str().starts_with("//") => shown.push_str("&#58;"),
            '<' | '>' | '&' | '@' | '#' | '"' | '\'' | '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => {
                write!(shown, "&#{};", u32::from(c)).expect("a string takes all");
            }
            // A link begins with these letters.
            'w' if shown.ends_with("ww") => shown.push_str("&#119;"),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        assert_eq!(plain("a\u{1b}[31mb\u{202e}c\nd\u{9b}é"), "a\\u{1b}[31mb\\u{202e}c\\nd\\u{9b}é");
        let value = serde_json::json!({"a": "\u{202e}\u{7f}\u{e0041}\u{1b}é"});
        let shown = json(&value.to_string());
        assert!(shown.chars().all(|c| !is_dangerous(c)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn markdown_sees_only_text() {
        assert_eq!(markdown("@all <b> *x* #1"), "&#64;all &#60;b&#62; &#42;x&#42; &#35;1");
        assert_eq!(markdown("[l](http://e) a:b"), "&#91;l&#93;(http&#58;//e) a:b");
        assert_eq!(markdown("www.example.com"), "ww&#119;.example.com");
    }
}
