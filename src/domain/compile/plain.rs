//! The plain way of writing YAML, read in one pass: mappings and lists by indentation or in brackets on one line, words and
//! quoted texts on one line, comments, printable ASCII.
//!
//! Nearly all spec files keep to it, and it is read several times as fast as YAML is. Whatever is not plainly right (an
//! anchor, a tag, a text of several lines, a tab, a key that stands twice, a number that two readers read in two ways) is
//! left to the parser of the whole language, which also has all the words for what is wrong: this file has none.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::document::{Document, Mark, Position, number};
use super::parse::{MAX_KEY_BYTES, MAX_NODES};
use super::scalar::{Scalar, resolve};

/// Deeper files are left to the parser that counts the levels exactly.
const MAX_DEPTH: usize = 32;

/// Reads a file of one document; `None` when it is not plain.
pub(super) fn read(file: &Arc<str>, text: &str) -> Option<Document> {
    let bytes = text.as_bytes();
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
    // Chunk by chunk, without a branch for every byte.
    if !bytes.chunks(64).all(|chunk| chunk.iter().fold(true, |plain, byte| plain & is_plain(byte))) {
        return None;
    }
    // What people write has a node every ten characters or so.
    let marks = Vec::with_capacity(bytes.len() / 10);
    let (entries, items) = (Vec::with_capacity(32), Vec::with_capacity(8));
    let mut reader = Reader { text, bytes, at: 0, line: 1, line_start: 0, marks, entries, items };
    reader.next_token()?;
    if bytes[reader.at..].starts_with(b"---\n") && reader.column() == 0 {
        reader.at += 3;
        reader.next_token()?;
    }
    let value = reader.collection(Position::default(), 0)?;
    match reader.next_token() {
        None => Some(Document { file: Arc::clone(file), index: 0, value, sound: true, marks: reader.marks }),
        Some(()) => None,
    }
}

/// What stands at the beginning of something.
enum Start<'t> {
    /// A list by indentation.
    Dash,
    /// A mapping by indentation: its first key.
    Key(Key<'t>),
    /// A value that ends on this line.
    Value,
}

/// A key, read up to its colon.
struct Key<'t> {
    text: &'t str,
    position: Position,
}

/// Where a scalar stands, which says what ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    /// By indentation.
    Line,
    /// In brackets or braces.
    Brackets,
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    /// The line of `at`, from 1.
    line: u32,
    /// Where that line begins.
    line_start: usize,
    marks: Vec<Mark>,
    /// The entries so far of the mappings that are being read, innermost last: a mapping is made when their number is
    /// known.
    entries: Vec<(&'t str, Value)>,
    /// The same of lists.
    items: Vec<Value>,
}

impl<'t> Reader<'t> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// The column of `at`, from 0.
    fn column(&self) -> usize {
        self.at - self.line_start
    }

    /// From a place on this line to `at`.
    fn since(&self, start: usize) -> Position {
        Position::on_line(self.line, number(start - self.line_start) + 1, number(self.column()) + 1)
    }

    fn spaces(&mut self) {
        while self.peek(0) == Some(b' ') {
            self.at += 1;
        }
    }

    /// Whether nothing but a comment follows on this line. What stands before it has been read up to its last character.
    fn at_end_of_line(&mut self) -> bool {
        let end = self.at;
        self.spaces();
        match self.peek(0) {
            None | Some(b'\n') => true,
            Some(b'#') => self.at > end,
            Some(_) => false,
        }
    }

    /// Goes to the next thing that is no blank and no comment, from the end of a line or the beginning of one; `None` at
    /// the end of the file.
    fn next_token(&mut self) -> Option<()> {
        loop {
            self.spaces();
            match self.peek(0)? {
                b'\n' => {}
                b'#' => self.at += self.bytes[self.at..].iter().position(|byte| *byte == b'\n')?,
                _ => return Some(()),
            }
            self.at += 1;
            self.line += 1;
            self.line_start = self.at;
        }
    }

    /// Begins a node; its mark says where, and gets its size from [`Self::close`].
    fn open(&mut self, value: Position, key: Position, depth: usize) -> Option<usize> {
        self.marks.push(Mark { value, key, size: 1 });
        (self.marks.len() <= MAX_NODES && depth < MAX_DEPTH).then_some(self.marks.len() - 1)
    }

    fn close(&mut self, mark: usize) {
        self.marks[mark].size = number(self.marks.len() - mark);
    }

    /// Looks at what begins here; a key is read, everything else is not.
    fn start(&mut self) -> Option<Start<'t>> {
        // In the first column these begin or end a document.
        if self.column() == 0 && [&b"---"[..], b"..."].iter().any(|mark| self.bytes[self.at..].starts_with(mark)) {
            return None;
        }
        if self.is_dash() {
            return Some(Start::Dash);
        }
        if matches!(self.peek(0)?, b'[' | b'{') {
            return Some(Start::Value);
        }
        let begin = self.at;
        let text = self.scalar(Around::Line)?;
        let position = self.since(begin);
        self.spaces();
        if self.peek(0) == Some(b':') && is_blank(self.peek(1)) {
            self.at += 1;
            let is_key = is_quote(self.bytes[begin]) || is_plain_key(text);
            return is_key.then_some(Start::Key(Key { text, position }));
        }
        self.at = begin;
        Some(Start::Value)
    }

    /// What stands by indentation at this place, which begins a line or follows a dash.
    fn collection(&mut self, key: Position, depth: usize) -> Option<Value> {
        match self.start()? {
            Start::Dash => self.list(key, depth),
            Start::Key(first) => self.mapping(first, key, depth),
            Start::Value => None,
        }
    }

    /// A list whose first dash is here.
    fn list(&mut self, key: Position, depth: usize) -> Option<Value> {
        let column = self.column();
        let mark = self.open(self.since(self.at), key, depth)?;
        // As far left as its key, it stands where its first value does.
        let is_flush = key.column() as usize == column + 1;
        let first = self.items.len();
        while self.items.len() == first || self.is_dash() {
            self.at += 1;
            let value = if self.at_end_of_line() {
                self.next_token()?;
                if self.column() <= column || (is_flush && self.items.len() == first) {
                    return None;
                }
                self.collection(Position::default(), depth + 1)?
            } else {
                match self.start()? {
                    Start::Dash => self.list(Position::default(), depth + 1)?,
                    Start::Key(first) => self.mapping(first, Position::default(), depth + 1)?,
                    Start::Value => self.value(Position::default(), depth + 1)?,
                }
            };
            self.items.push(value);
            if is_flush && self.items.len() == first + 1 {
                self.marks[mark].value = self.marks[mark + 1].value.beginning();
            }
            if !self.goes_on(column)? {
                break;
            }
        }
        self.close(mark);
        Some(self.list_of(first))
    }

    /// A mapping whose first key has been read.
    fn mapping(&mut self, first: Key<'t>, key: Position, depth: usize) -> Option<Value> {
        let column = first.position.column() as usize - 1;
        let mark = self.open(first.position.beginning(), key, depth)?;
        let begin = self.entries.len();
        let mut next = first;
        loop {
            let value = if self.at_end_of_line() {
                self.next_token()?;
                // A list may stand as far left as its key.
                if self.column() < column + usize::from(!self.is_dash()) {
                    return None;
                }
                self.collection(next.position, depth + 1)?
            } else {
                self.value(next.position, depth + 1)?
            };
            self.entries.push((next.text, value));
            if !self.goes_on(column)? {
                break;
            }
            let Start::Key(following) = self.start()? else { return None };
            next = following;
        }
        self.close(mark);
        self.mapping_of(begin)
    }

    /// The items from a place on as a list.
    fn list_of(&mut self, first: usize) -> Value {
        Value::Array(self.items.drain(first..).collect())
    }

    /// The entries from a place on as a mapping; `None` when a key is long or stands twice.
    fn mapping_of(&mut self, first: usize) -> Option<Value> {
        let mut map = Map::with_capacity(self.entries.len() - first);
        for (key, value) in self.entries.drain(first..) {
            if key.len() > MAX_KEY_BYTES / 2 || map.insert(key.to_owned(), value).is_some() {
                return None;
            }
        }
        Some(Value::Object(map))
    }

    fn is_dash(&self) -> bool {
        self.peek(0) == Some(b'-') && is_blank(self.peek(1))
    }

    /// Goes to the next thing after an entry of what stands in a column, and says whether it stands there too. Further to
    /// the right it would belong to the entry before, which has ended.
    fn goes_on(&mut self, column: usize) -> Option<bool> {
        match self.next_token() {
            None => Some(false),
            Some(()) if self.column() > column => None,
            Some(()) => Some(self.column() == column),
        }
    }

    /// A value that ends on this line, and the end of the line.
    fn value(&mut self, key: Position, depth: usize) -> Option<Value> {
        let value = self.inline(Around::Line, key, depth)?;
        self.at_end_of_line().then_some(value)
    }

    /// A value without indentation.
    fn inline(&mut self, around: Around, key: Position, depth: usize) -> Option<Value> {
        match self.peek(0)? {
            b'[' => self.brackets(key, depth),
            b'{' => self.braces(key, depth),
            quote => {
                let begin = self.at;
                let text = self.scalar(around)?;
                self.open(self.since(begin), key, depth)?;
                if is_quote(quote) {
                    return Some(Value::String(text.to_owned()));
                }
                match resolve(text) {
                    Scalar::Text => Some(Value::String(text.to_owned())),
                    Scalar::Plain(value) => Some(value),
                    _ => None,
                }
            }
        }
    }

    /// A list in brackets.
    fn brackets(&mut self, key: Position, depth: usize) -> Option<Value> {
        let mark = self.bracket(key, depth)?;
        let first = self.items.len();
        while self.has_entry(b']', self.items.len() == first)? {
            let item = self.inline(Around::Brackets, Position::default(), depth + 1)?;
            self.items.push(item);
        }
        self.close(mark);
        Some(self.list_of(first))
    }

    /// A mapping in braces.
    fn braces(&mut self, key: Position, depth: usize) -> Option<Value> {
        let mark = self.bracket(key, depth)?;
        let first = self.entries.len();
        while self.has_entry(b'}', self.entries.len() == first)? {
            let begin = self.at;
            let text = self.scalar(Around::Brackets)?;
            let position = self.since(begin);
            let is_key = is_quote(self.bytes[begin]) || is_plain_key(text);
            if !is_key || self.peek(0) != Some(b':') || self.peek(1) != Some(b' ') {
                return None;
            }
            self.at += 1;
            self.spaces();
            let value = self.inline(Around::Brackets, position, depth + 1)?;
            self.entries.push((text, value));
        }
        self.close(mark);
        self.mapping_of(first)
    }

    fn bracket(&mut self, key: Position, depth: usize) -> Option<usize> {
        self.at += 1;
        self.open(self.since(self.at - 1), key, depth)
    }

    /// Goes to the next entry in brackets, or behind the closing one and says that there is none.
    fn has_entry(&mut self, close: u8, is_first: bool) -> Option<bool> {
        self.spaces();
        let next = self.peek(0)?;
        if next != close && !is_first {
            if next != b',' {
                return None;
            }
            self.at += 1;
            self.spaces();
        } else if next == close {
            self.at += 1;
        }
        Some(next != close)
    }

    /// A word or a quoted text; stops behind its last character.
    fn scalar(&mut self, around: Around) -> Option<&'t str> {
        let begin = self.at;
        match self.peek(0)? {
            quote @ (b'"' | b'\'') => {
                self.at += 1;
                while self.peek(0)? != quote {
                    // What is escaped, and what goes on in the next line, is not plain.
                    if matches!(self.peek(0)?, b'\\' | b'\n') {
                        return None;
                    }
                    self.at += 1;
                }
                self.at += 1;
                let is_escaped = quote == b'\'' && self.peek(0) == Some(quote);
                (!is_escaped).then(|| &self.text[begin + 1..self.at - 1])
            }
            b'-' if !matches!(self.peek(1), Some(b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')) => None,
            b'?' | b':' | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'%' | b'@'
            | b'`' => None,
            _ => {
                self.word(around)?;
                Some(&self.text[begin..self.at])
            }
        }
    }

    /// Goes behind the last character of a word, or of some with spaces between.
    fn word(&mut self, around: Around) -> Option<()> {
        let mut end = self.at;
        loop {
            match self.peek(0) {
                None | Some(b'\n') => break,
                Some(b':') if is_blank(self.peek(1)) => break,
                Some(b'#') if self.bytes[self.at - 1] == b' ' => break,
                Some(b' ') => {
                    self.at += 1;
                    continue;
                }
                Some(b',' | b']' | b'}') if around == Around::Brackets => break,
                Some(b'[' | b'{') if around == Around::Brackets => return None,
                Some(b':')
                    if around == Around::Brackets && matches!(self.peek(1), Some(b',' | b'[' | b']' | b'{' | b'}')) =>
                {
                    return None;
                }
                Some(_) => {}
            }
            self.at += 1;
            end = self.at;
        }
        self.at = end;
        Some(())
    }
}

/// Whether a word may be a key without a word about it: no merge key, no number, and nothing that is one elsewhere.
fn is_plain_key(text: &str) -> bool {
    text != "<<" && matches!(resolve(text), Scalar::Text)
}

fn is_blank(byte: Option<u8>) -> bool {
    matches!(byte, None | Some(b' ' | b'\n'))
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

#[cfg(test)]
mod tests;
