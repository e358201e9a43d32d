//! A YAML document as values with places.
//!
//! It is a JSON value and, beside it, a mark for every node in the order of the text; a place is found by walking both,
//! so that a sound document pays for its places only seven numbers a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use granit_parser::Span;
use serde_json::Value;

use super::field::Lookup;
use crate::domain::diagnostic::Place;
use crate::domain::places::FieldPlaces;

/// One YAML document.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file it stands in.
    pub file: Arc<str>,
    /// Which document of the file, from 0.
    pub index: usize,
    /// What it says.
    pub value: Value,
    /// Whether the parser found no error in it.
    pub sound: bool,
    /// A mark for every node of `value`, parents first.
    pub(super) marks: Vec<Mark>,
}

/// Where a node stands; lines and columns from 1, 0 when it has no key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub value: Position,
    pub key: Position,
    /// How many marks the node and everything below it has.
    pub size: u32,
}

/// A line, and the columns of the first character and behind the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    line: u32,
    column: u32,
    end: u32,
}

impl Position {
    pub fn of(span: &Span) -> Self {
        let column = number(span.start.col()) + 1;
        let end = if span.end.line() == span.start.line() { number(span.end.col()) + 1 } else { column };
        Self { line: number(span.start.line()), column, end }
    }

    /// A part of one line, from a column to the one behind its end.
    pub fn on_line(line: u32, column: u32, end: u32) -> Self {
        Self { line, column, end }
    }

    /// The column of its first character, from 1; 0 when it is no place.
    pub fn column(self) -> u32 {
        self.column
    }

    /// The place in front of its first character.
    pub fn beginning(self) -> Self {
        Self { end: self.column, ..self }
    }

    pub fn place(self, file: &Arc<str>) -> Place {
        Place { file: Arc::clone(file), line: self.line, column: self.column, end_column: self.end }
    }
}

/// A count as a line or column; nothing that large is ever read.
pub(super) fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Document {
    /// The value under a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        pointer.split('/').skip(1).try_fold(&self.value, |value, token| match value {
            Value::Object(map) => map.field(&unescape_token(token)),
            Value::Array(list) => list.get(token.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The place of the value under a JSON pointer, or of the nearest thing around it that exists.
    pub fn place(&self, pointer: &str) -> Place {
        self.mark(pointer).value.place(&self.file)
    }

    /// The place of the key under a JSON pointer; of the value where there is no key (in a list).
    pub fn key_place(&self, pointer: &str) -> Place {
        let mark = self.mark(pointer);
        if mark.key.line == 0 { mark.value } else { mark.key }.place(&self.file)
    }

    /// The places of all values down to a depth.
    pub fn fields(&self, depth: usize) -> FieldPlaces {
        let (fields, bytes) = size(&self.value, 0, depth);
        let mut found = FieldPlaces::with_capacity(Arc::clone(&self.file), fields, bytes);
        self.collect(&self.value, 0, &mut String::with_capacity(64), depth, &mut found);
        found
    }

    /// Renames a key; the order of keys stays, so that the places stay right.
    pub(super) fn rename_key(&mut self, parent: &str, from: &str, to: &str) {
        if let Some(Value::Object(map)) = self.value.pointer_mut(parent) {
            let renamed = std::mem::take(map).into_iter();
            *map =
                renamed.map(|(key, value)| if key == from { (to.to_owned(), value) } else { (key, value) }).collect();
        }
    }

    /// Another value in the place of this one. `moved` says, by the beginning of a pointer in it, where that part stands
    /// in the text; the longest beginning counts.
    pub(super) fn moved(&self, value: Value, moved: &BTreeMap<String, String>) -> Self {
        fn walk(value: &Value, pointer: &mut String, at: &dyn Fn(&str) -> Mark, marks: &mut Vec<Mark>) {
            let own = marks.len();
            marks.push(at(pointer));
            let mut child = |key: &str, value: &Value, marks: &mut Vec<Mark>| {
                let before = pointer.len();
                pointer.push('/');
                pointer.push_str(&escape_token(key));
                walk(value, pointer, at, marks);
                pointer.truncate(before);
            };
            match value {
                Value::Object(map) => map.iter().for_each(|(key, value)| child(key, value, marks)),
                Value::Array(list) => {
                    list.iter().enumerate().for_each(|(i, value)| child(&i.to_string(), value, marks));
                }
                _ => {}
            }
            marks[own].size = number(marks.len() - own);
        }
        let at = |pointer: &str| {
            let mut head = pointer;
            loop {
                if let Some(to) = moved.get(head) {
                    return self.mark(&format!("{to}{}", &pointer[head.len()..]));
                }
                match head.rfind('/') {
                    Some(end) => head = &head[..end],
                    None => return self.mark(pointer),
                }
            }
        };
        let mut marks = Vec::new();
        walk(&value, &mut String::new(), &at, &mut marks);
        Self { value, marks, file: Arc::clone(&self.file), ..*self }
    }

    fn mark(&self, pointer: &str) -> Mark {
        let (mut at, mut value) = (0, &self.value);
        for token in pointer.split('/').skip(1) {
            let child = match value {
                Value::Object(map) => {
                    let key = unescape_token(token);
                    map.iter().enumerate().find(|(_, (k, _))| **k == *key).map(|(i, (_, v))| (i, v))
                }
                Value::Array(list) => token.parse().ok().and_then(|i: usize| list.get(i).map(|v| (i, v))),
                _ => None,
            };
            let Some((index, next)) = child else { break };
            at += 1;
            for _ in 0..index {
                at += self.marks[at].size as usize;
            }
            value = next;
        }
        self.marks[at]
    }

    fn collect(&self, value: &Value, at: usize, path: &mut String, depth: usize, found: &mut FieldPlaces) {
        if depth == 0 {
            return;
        }
        let mut child = at + 1;
        let mut add = |key: &str, value: &Value, path: &mut String, found: &mut FieldPlaces| {
            let before = path.len();
            path.push('/');
            path.push_str(&escape_token(key));
            let Position { line, column, end } = self.marks[child].value;
            found.add(path, line, column, end);
            self.collect(value, child, path, depth - 1, found);
            path.truncate(before);
            child += self.marks[child].size as usize;
        };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| add(key, value, path, found)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(i, value)| add(&i.to_string(), value, path, found));
            }
            _ => {}
        }
    }
}

/// How many values there are below one down to a depth, and how long their pointers are together, but for what must be
/// escaped.
fn size(value: &Value, pointer: usize, depth: usize) -> (usize, usize) {
    let below = |key: usize, value: &Value| {
        let own = pointer + 1 + key;
        let (fields, bytes) = if depth > 1 { size(value, own, depth - 1) } else { (0, 0) };
        (fields + 1, bytes + own)
    };
    let sum = |(fields, bytes), (more, longer)| (fields + more, bytes + longer);
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| below(key.len(), value)).fold((0, 0), sum),
        Value::Array(list) => list.iter().map(|value| below(1, value)).fold((0, 0), sum),
        _ => (0, 0),
    }
}

/// The key that a step of a JSON pointer means.
fn unescape_token(token: &str) -> std::borrow::Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

/// Escapes a key for a JSON pointer.
pub(super) fn escape_token(key: &str) -> std::borrow::Cow<'_, str> {
    if key.bytes().any(|byte| matches!(byte, b'~' | b'/')) {
        key.replace('~', "~0").replace('/', "~1").into()
    } else {
        key.into()
    }
}
