//! Text → documents with places, in one parse. Limits are counted while parsing, so that hostile text costs little.

mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::codes;
use super::document::{Document, Mark, Position, number};
use super::plain;
use super::scalar::{Scalar, resolve};
use super::text::shown;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place};

/// Largest file. The largest polyaxonfile seen in the wild has 40 KiB; parsing this much takes about a tenth of a second.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Deepest nesting. Kubernetes objects stay below 20; the validator's and the digest's recursion must stay on the stack.
pub const MAX_DEPTH: usize = 64;
/// Most nodes of a file, copies made by aliases counted: more than a file of [`MAX_FILE_BYTES`] of readable text has.
pub const MAX_NODES: usize = 200_000;
/// Most bytes of text that aliases may copy: a kilobyte that turns into gigabytes is the oldest attack on YAML.
pub const MAX_ALIAS_BYTES: usize = 4 << 20;
/// Most documents of a file.
pub const MAX_DOCUMENTS: usize = 1000;
/// Longest key in bytes; YAML 1.2 lets simple keys have 1024.
pub const MAX_KEY_BYTES: usize = 1024;
/// Most problems that one file reports: beyond them nobody reads, and hostile text would make millions.
pub const MAX_PROBLEMS: usize = 100;

/// Reads all documents of a file. Those with an error are `sound: false`, or absent when nothing of them is left.
pub fn parse(path: &str, bytes: &[u8], problems: &mut Diagnostics) -> Vec<Document> {
    let file: Arc<str> = path.into();
    if bytes.len() > MAX_FILE_BYTES {
        problems.push(too_large(path, bytes.len() as u64));
        return Vec::new();
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = number(before.iter().filter(|b| **b == b'\n').count()) + 1;
            let place = Place { file, line, column: 1, end_column: 1 };
            problems
                .push(Diagnostic::error(codes::NOT_TEXT, place, "the file is not UTF-8 text").help("save it as UTF-8"));
            return Vec::new();
        }
    };
    match plain::read(&file, text) {
        Some(document) => vec![document],
        None => whole_language(file, text, problems),
    }
}

/// Reads a file in whatever way it is written.
pub(super) fn whole_language(file: Arc<str>, text: &str, problems: &mut Diagnostics) -> Vec<Document> {
    Reader::new(file, text).run(problems)
}

/// The diagnostic for a file beyond the limit.
pub(super) fn too_large(path: &str, bytes: u64) -> Diagnostic {
    let limit = MAX_FILE_BYTES >> 10;
    Diagnostic::error(
        codes::TOO_LARGE,
        Place::file(path),
        format!("the file has {bytes} bytes; at most {limit} KiB are read"),
    )
    .help("split it into several files")
}

/// Why the rest of a document is not read.
enum Stop {
    /// A syntax error; the next document may be sound.
    Document,
    /// A limit; nothing more of the file is read.
    File,
}

/// Something with an anchor: its value, its marks, and the bytes of its text.
struct Anchor {
    value: Value,
    marks: Vec<Mark>,
    bytes: usize,
}

struct Reader<'t> {
    file: Arc<str>,
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    marks: Vec<Mark>,
    anchors: BTreeMap<usize, Anchor>,
    /// Nodes of the file so far, copies counted.
    nodes: usize,
    /// Bytes of scalars so far, copies counted.
    bytes: usize,
    /// Bytes copied by aliases so far.
    copied: usize,
    sound: bool,
    problems: Vec<Diagnostic>,
}

impl<'t> Reader<'t> {
    fn new(file: Arc<str>, text: &'t str) -> Self {
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        Self {
            file,
            text,
            parser: Parser::new_from_str_with_options(text, options),
            // Dense text has a node every six characters or so.
            marks: Vec::with_capacity(text.len() / 6),
            anchors: BTreeMap::new(),
            nodes: 0,
            bytes: 0,
            copied: 0,
            sound: true,
            problems: Vec::new(),
        }
    }

    fn run(mut self, problems: &mut Diagnostics) -> Vec<Document> {
        let mut documents = Vec::new();
        loop {
            match self.document(documents.len()) {
                Ok(Some(document)) => documents.push(document),
                Ok(None) => break,
                Err(Stop::File) => break,
                Err(Stop::Document) => {
                    // A document that ends in a syntax error leaves a hole, so that later ones keep their number.
                    documents.push(Document {
                        file: Arc::clone(&self.file),
                        index: documents.len(),
                        value: Value::Null,
                        sound: false,
                        marks: vec![Mark::default()],
                    });
                    if !matches!(self.parser.proceed_next_document(), Ok(true)) {
                        break;
                    }
                }
            }
            if documents.len() >= MAX_DOCUMENTS {
                self.no_more_documents();
                break;
            }
        }
        self.problems.truncate(MAX_PROBLEMS);
        self.problems.into_iter().for_each(|problem| problems.push(problem));
        documents
    }

    /// Says so when another document follows the last that is read.
    fn no_more_documents(&mut self) {
        while let Ok((event, span)) = self.next() {
            match event {
                Event::StreamEnd => return,
                Event::DocumentStart(..) => {
                    let message = format!("the file has more than {MAX_DOCUMENTS} documents");
                    self.limit(codes::TOO_MANY_DOCUMENTS, &span, message, "split it into several files");
                    return;
                }
                _ => {}
            }
        }
    }

    /// Reads one document; `None` at the end of the file.
    fn document(&mut self, index: usize) -> Result<Option<Document>, Stop> {
        loop {
            match self.next()?.0 {
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(..) => break,
                _ => {}
            }
        }
        self.anchors.clear();
        self.marks.clear();
        self.sound = true;
        let (event, span) = self.next()?;
        let value = self.node(event, &span, Position::default(), 0)?;
        let marks = if index == 0 { std::mem::take(&mut self.marks) } else { self.marks.clone() };
        Ok(Some(Document { file: Arc::clone(&self.file), index, value, sound: self.sound, marks }))
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Reads a node and everything below it; pushes its marks.
    fn node(&mut self, event: Event<'t>, span: &Span, key: Position, depth: usize) -> Result<Value, Stop> {
        let at = self.marks.len();
        self.marks.push(Mark { value: Position::of(span), key, size: 1 });
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.too_many(span));
        }
        if depth >= MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        let bytes_before = self.bytes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.bytes += text.len();
                (self.scalar(text.into_owned(), style, tag.as_deref(), span), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), "seq", span);
                (self.sequence(depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), "map", span);
                (self.mapping(span, depth)?, anchor)
            }
            Event::Alias(id) => {
                self.marks.pop();
                return self.alias(id, span, key);
            }
            _ => return Err(Stop::Document),
        };
        self.marks[at].size = number(self.marks.len() - at);
        if anchor != 0 {
            let copy = self.marks[at..].to_vec();
            // A nest of anchors keeps a copy each: they count like those that aliases make.
            self.nodes += copy.len();
            self.anchors.insert(anchor, Anchor { value: value.clone(), marks: copy, bytes: self.bytes - bytes_before });
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(list)),
                (event, span) => list.push(self.node(event, &span, Position::default(), depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, start: &Span, depth: usize) -> Result<Value, Stop> {
        let mut map = Map::with_capacity(4);
        let first = self.marks.len();
        // What `<<` brings, with its marks: added behind the mapping's own keys, which win.
        let mut merged: Vec<(String, Value, Vec<Mark>)> = Vec::new();
        loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd, _) => break,
                key => key,
            };
            let (text, plain) = match event {
                Event::Scalar(text, style, _, tag) => {
                    self.tag(tag.as_deref(), "str", &span);
                    (text.into_owned(), style == ScalarStyle::Plain && tag.is_none())
                }
                event => {
                    self.not_a_key(&event, start, &span);
                    let before = self.marks.len();
                    self.node(event, &span, Position::default(), depth + 1)?;
                    let (event, span) = self.next()?;
                    self.node(event, &span, Position::default(), depth + 1)?;
                    self.marks.truncate(before);
                    continue;
                }
            };
            if text.len() > MAX_KEY_BYTES {
                self.error(
                    codes::LONG_KEY,
                    &span,
                    format!("this key has {} bytes; at most {MAX_KEY_BYTES}", text.len()),
                    "",
                );
            }
            let before = self.marks.len();
            let (event, value_span) = self.next()?;
            let value = self.node(event, &value_span, Position::of(&span), depth + 1)?;
            if plain && text == "<<" {
                self.merge(value, before, &value_span, &mut merged);
                continue;
            }
            if plain {
                self.plain_key(&text, &span);
            }
            match map.entry(text) {
                Entry::Vacant(free) => {
                    free.insert(value);
                }
                Entry::Occupied(taken) => {
                    let text = taken.key().clone();
                    let nth = map.keys().position(|key| *key == text).unwrap_or(0);
                    let problem = Diagnostic::error(
                        codes::DUPLICATE_KEY,
                        self.place(&span),
                        format!("the key `{}` stands twice in this mapping", shown(&text)),
                    );
                    self.add(problem.help("remove one of the two").see(self.key_of(first, nth), "the first one"));
                    self.marks.truncate(before);
                }
            }
        }
        for (key, value, marks) in merged {
            if !map.contains_key(&key) {
                self.marks.extend(marks);
                map.insert(key, value);
            }
        }
        Ok(Value::Object(map))
    }

    /// Takes the value of a merge key, whose marks begin at `before`, apart into its entries.
    fn merge(&mut self, value: Value, before: usize, span: &Span, merged: &mut Vec<(String, Value, Vec<Mark>)>) {
        let mut marks: &[Mark] = &self.marks.split_off(before);
        let sources = match value {
            Value::Object(map) => vec![map],
            Value::Array(list) if list.iter().all(Value::is_object) => {
                marks = &marks[1..];
                list.into_iter().filter_map(|one| if let Value::Object(map) = one { Some(map) } else { None }).collect()
            }
            _ => {
                self.error(
                    codes::BAD_MERGE,
                    span,
                    "`<<` merges a mapping, or a list of mappings".to_owned(),
                    "write `<<: *anchor` with an anchor on a mapping",
                );
                return;
            }
        };
        for source in sources {
            marks = &marks[1..];
            for (key, value) in source {
                let (own, rest) = marks.split_at(marks[0].size as usize);
                marks = rest;
                if !merged.iter().any(|(known, ..)| *known == key) {
                    merged.push((key, value, own.to_vec()));
                }
            }
        }
    }

    fn alias(&mut self, id: usize, span: &Span, key: Position) -> Result<Value, Stop> {
        let Some(anchor) = self.anchors.get(&id) else {
            self.marks.push(Mark { value: Position::of(span), key, size: 1 });
            self.error(codes::SELF_ALIAS, span, "this alias stands inside the thing that it names".to_owned(), "");
            return Ok(Value::Null);
        };
        self.nodes += anchor.marks.len();
        self.bytes += anchor.bytes;
        self.copied += anchor.bytes;
        if self.nodes > MAX_NODES || self.copied > MAX_ALIAS_BYTES {
            let message = "the aliases of this file multiply it beyond every use".to_owned();
            return Err(self.limit(codes::ALIAS_BOMB, span, message, "write the values out, or use a preset"));
        }
        let at = self.marks.len();
        self.marks.extend_from_slice(&anchor.marks);
        self.marks[at].value = Position::of(span);
        self.marks[at].key = key;
        Ok(anchor.value.clone())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Value {
        let core = tag.and_then(Tag::core_suffix).map(str::to_owned);
        match (tag, core.as_deref()) {
            (None, _) if style != ScalarStyle::Plain => return Value::String(text),
            (None, _) => {}
            (Some(_), Some("str")) => return Value::String(text),
            (Some(_), Some(kind @ ("int" | "float" | "bool" | "null"))) => {
                if let Scalar::Plain(value) | Scalar::Differs(value, _) = resolve(&text) {
                    match (kind, &value) {
                        ("int", Value::Number(n)) if !n.is_f64() => return value,
                        ("float", Value::Number(n)) => return n.as_f64().map_or(Value::Null, Value::from),
                        ("bool", Value::Bool(_)) | ("null", Value::Null) => return value,
                        _ => {}
                    }
                }
                self.error(codes::CUSTOM_TAG, span, format!("`{}` is not `!!{kind}`", shown(&text)), "");
                return Value::Null;
            }
            (Some(tag), _) if tag.original() == "!" => return Value::String(text),
            (Some(tag), _) => {
                self.custom(&tag.original(), span);
                return Value::String(text);
            }
        }
        match resolve(&text) {
            Scalar::Text => Value::String(text),
            Scalar::OnlyText(other) => {
                self.differs(&text, None, other, span);
                Value::String(text)
            }
            Scalar::Plain(value) => value,
            Scalar::Differs(value, other) => {
                self.differs(&text, Some(&value), other, span);
                value
            }
            Scalar::Refused(why) => {
                self.error(codes::REFUSED_SCALAR, span, format!("`{}`: {why}", shown(&text)), "");
                Value::Null
            }
        }
    }
}
