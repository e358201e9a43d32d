//! Texts of others inside our own sentences: short, and without anything that a terminal would obey.

/// Longest quotation of a text of others, in characters.
const MAX_SHOWN: usize = 60;

/// A text of others, shortened for a message.
pub(super) fn shown(text: &str) -> String {
    if text.chars().nth(MAX_SHOWN).is_none() {
        return escape(text);
    }
    let mut short: String = text.chars().take(MAX_SHOWN).collect();
    short.push('…');
    escape(&short)
}

/// Replaces control characters and those that reorder text by their escapes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// Whether a character would move the cursor, change colours, hide, or reorder what is shown.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `a, b or c`, each in back quotes.
pub(super) fn alternatives<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{}`", shown(word))).collect();
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
