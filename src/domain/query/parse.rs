//! Reading a query: from text to [`Query`], or an error at its place.

use std::ops::Range;

use jiff::civil;
use jiff::tz::TimeZone;

use super::{Comparison, Condition, Field, MAX_DEPTH, MAX_QUERY, MAX_VALUES, Match, Query, QueryError, Shape, Term};
use crate::domain::diagnostic::did_you_mean;
use crate::domain::quantity::Quantity;
use crate::domain::time::{Duration, Timestamp};

/// The words of the statuses, which [`Field::Status`] takes; those of `dispatch::status`, where a test compares them.
pub(super) const STATUSES: [&str; 14] = [
    "created",
    "compiled",
    "queued",
    "scheduled",
    "starting",
    "running",
    "warning",
    "stopping",
    "retrying",
    "succeeded",
    "failed",
    "upstream_failed",
    "stopped",
    "skipped",
];

/// Words for a moment, and how many hours they reach back; Polyaxon has the last.
const LAST: [(&str, i64); 4] = [("last_hour", 1), ("last_day", 24), ("last_week", 7 * 24), ("last_month", 30 * 24)];

impl Query {
    /// Reads a query; `now` is what `last_month` counts back from. An empty text wants every run.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, QueryError> {
        if text.len() > MAX_QUERY {
            return Err(QueryError::new(0..0, format!("the query is longer than {MAX_QUERY} bytes")));
        }
        let mut reader = Reader { text, at: 0, now, values: 0 };
        if reader.peek().is_none() {
            return Ok(Self::All(Vec::new()));
        }
        let query = reader.any(0)?;
        match reader.peek() {
            None => Ok(query),
            Some(_) => Err(QueryError::new(reader.here(1), "this `)` closes nothing")
                .help("take it out, or quote the value: `name:\"a)\"`")),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    now: Timestamp,
    values: usize,
}

/// A piece of the text and where it stands; quotes are off.
#[derive(Debug, Clone)]
struct Piece {
    text: String,
    at: Range<usize>,
    quoted: bool,
}

impl Reader<'_> {
    /// What comes next that is not white.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn here(&self, len: usize) -> Range<usize> {
        self.at..(self.at + len).min(self.text.len())
    }

    /// Takes a word like `AND`, when it comes next as a word.
    fn takes(&mut self, word: &str) -> bool {
        self.peek();
        let found = starts_with_word(&self.text[self.at..], word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// `all OR all …`
    fn any(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut parts = vec![self.all(depth)?];
        while self.takes("OR") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Query::Any(parts) })
    }

    /// `one, one AND one …`
    fn all(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut parts = vec![self.one(depth)?];
        loop {
            match self.peek() {
                Some(',') => self.at += 1,
                _ if self.takes("AND") => {}
                _ => break,
            }
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Query::All(parts) })
    }

    /// `(any)` or `field:condition`
    fn one(&mut self, depth: usize) -> Result<Query, QueryError> {
        if self.peek() != Some('(') {
            return self.term();
        }
        let open = self.here(1);
        if depth == MAX_DEPTH {
            return Err(QueryError::new(open, format!("parentheses deeper than {MAX_DEPTH}")));
        }
        self.at += 1;
        let inner = self.any(depth + 1)?;
        match self.peek() {
            Some(')') => self.at += 1,
            _ => return Err(QueryError::new(open, "this `(` is not closed")),
        }
        Ok(inner)
    }

    fn term(&mut self) -> Result<Query, QueryError> {
        self.peek();
        let rest = &self.text[self.at..];
        let end = rest.find([':', ',', '(', ')']).unwrap_or(rest.len());
        let name = rest[..end].trim_end();
        if !rest[end..].starts_with(':') || name.is_empty() {
            let message = match name {
                "" => "here should stand `field:condition`".to_owned(),
                name => format!("{} has no condition", quoted(name)),
            };
            let error = QueryError::new(self.here(name.len().max(1)), message);
            return Err(error.help("write for example `status:running, metrics.loss:<0.1`"));
        }
        let wrong = |(message, help): (String, String)| QueryError::new(self.here(name.len()), message).help(help);
        let field = Field::parse(name).map_err(wrong)?;
        self.at += end + 1;
        self.peek();
        let begin = self.at;
        let negated = self.text[self.at..].starts_with('~');
        self.at += usize::from(negated);
        let pieces = self.alternatives()?;
        if let Some(empty) = pieces.iter().find(|piece| piece.text.is_empty() && !piece.quoted) {
            let message = format!("{} is compared with nothing here", quoted(name));
            let error = QueryError::new(empty.at.start..empty.at.start + 1, message);
            return Err(error.help("write a value, or `nil` for runs without it"));
        }
        self.values += pieces.len();
        if self.values > MAX_VALUES {
            return Err(QueryError::new(begin..self.at, format!("a query has at most {MAX_VALUES} values")));
        }
        let condition = condition(&field, &pieces, self.now)?;
        Ok(Query::Term(Term { field, negated, condition }))
    }

    /// `a|b|"c, d"` up to what ends the term.
    fn alternatives(&mut self) -> Result<Vec<Piece>, QueryError> {
        let mut pieces = Vec::new();
        loop {
            pieces.push(self.piece()?);
            if self.peek() != Some('|') {
                return Ok(pieces);
            }
            self.at += 1;
        }
    }

    fn piece(&mut self) -> Result<Piece, QueryError> {
        self.peek();
        let start = self.at;
        let rest = &self.text[start..];
        if let Some(inside) = rest.strip_prefix('"') {
            let Some(end) = inside.find('"') else {
                return Err(QueryError::new(start..start + 1, "this `\"` is not closed"));
            };
            self.at = start + end + 2;
            if self.peek().is_some_and(|c| !matches!(c, ',' | ')' | '|'))
                && !["AND", "OR"].iter().any(|word| starts_with_word(&self.text[self.at..], word))
            {
                let error = QueryError::new(self.here(1), "something stands behind the quoted value");
                return Err(error.help("put all of the value between the quotes"));
            }
            return Ok(Piece { text: inside[..end].to_owned(), at: start..start + end + 2, quoted: true });
        }
        let ends = |(i, c): (usize, char)| {
            matches!(c, ',' | ')' | '|')
                || c.is_whitespace() && ["AND", "OR"].iter().any(|w| starts_with_word(rest[i..].trim_start(), w))
        };
        let end = rest.char_indices().find(|found| ends(*found)).map_or(rest.len(), |(i, _)| i);
        self.at = start + end;
        let text = rest[..end].trim_end();
        if let Some(second) = second_term(text) {
            let at = start + second;
            let error = QueryError::new(at..at + 1, "another term begins here");
            return Err(error.help("put a comma between two terms, or quote the value"));
        }
        Ok(Piece { text: text.to_owned(), at: start..start + text.len(), quoted: false })
    }
}

/// Where a second `field:` begins in what was read as one value.
fn second_term(text: &str) -> Option<usize> {
    let words = text.match_indices(char::is_whitespace).map(|(i, white)| i + white.len());
    words.into_iter().find(|i| text[*i..].split_once(':').is_some_and(|(name, _)| Field::parse(name).is_ok()))
}

fn starts_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| rest.starts_with(|c: char| c.is_whitespace() || c == '('))
}

/// Reads what stands behind the colon.
fn condition(field: &Field, pieces: &[Piece], now: Timestamp) -> Result<Condition, QueryError> {
    if let [Piece { text, quoted: false, .. }] = pieces
        && text == "nil"
    {
        return Ok(Condition::Nil);
    }
    let shape = field.shape();
    if matches!(shape, Shape::Id | Shape::Word | Shape::Text | Shape::Texts) {
        return pieces
            .iter()
            .map(|piece| matching(field, shape, piece))
            .collect::<Result<_, _>>()
            .map(Condition::Among);
    }
    let first = &pieces[0];
    let comparison = (!first.quoted).then(|| compared(first)).flatten();
    if shape == Shape::Value {
        return match comparison {
            Some((comparison, bound)) if pieces.len() == 1 => {
                let number = bound.text.parse().ok().filter(|number: &f64| number.is_finite());
                let number = number.ok_or_else(|| not_a(&bound, "a number", "write for example `<0.1`"))?;
                Ok(Condition::Number(comparison, number))
            }
            _ => pieces.iter().map(|p| matching(field, shape, p)).collect::<Result<_, _>>().map(Condition::Among),
        };
    }
    if let [_, second, ..] = pieces {
        let error = QueryError::new(second.at.clone(), "times and amounts have no alternatives");
        return Err(error.help("join two terms with `OR`"));
    }
    if let (Shape::Moment, None, Some((from, to))) = (shape, &comparison, first.text.split_once("..")) {
        let part = |text: &str, at: usize| {
            let at = at + (text.len() - text.trim_start().len());
            Piece { text: text.trim().to_owned(), at: at..at + text.trim().len(), quoted: false }
        };
        let from = part(from, first.at.start);
        let to = part(to, first.at.end - to.len());
        return Ok(Condition::Within(moment(&from, now)?.0, moment(&to, now)?.1));
    }
    let (comparison, bound) = comparison.unwrap_or((Comparison::Equal, first.clone()));
    if let (Shape::Moment, Comparison::Equal, Some((_, hours))) =
        (shape, comparison, LAST.iter().find(|(word, _)| *word == bound.text))
    {
        return Ok(Condition::Within(back(now, *hours), i64::MAX));
    }
    let (low, high) = match shape {
        Shape::Moment => moment(&bound, now)?,
        Shape::Span => span(&bound)?,
        Shape::Amount => amount(&bound)?,
        _ => count(&bound)?,
    };
    Ok(match comparison {
        Comparison::Less => Condition::Within(i64::MIN, low.saturating_sub(1)),
        Comparison::AtMost => Condition::Within(i64::MIN, high),
        Comparison::Equal => Condition::Within(low, high),
        Comparison::AtLeast => Condition::Within(low, i64::MAX),
        Comparison::More => Condition::Within(high.saturating_add(1), i64::MAX),
    })
}

/// Takes the sign of a comparison off.
fn compared(piece: &Piece) -> Option<(Comparison, Piece)> {
    use Comparison::{AtLeast, AtMost, Equal, Less, More};
    let comparison = [AtMost, AtLeast, Less, More, Equal].into_iter().find(|c| piece.text.starts_with(c.sign()))?;
    let text = piece.text[comparison.sign().len()..].trim_start().to_owned();
    Some((comparison, Piece { at: piece.at.end - text.len()..piece.at.end, text, quoted: false }))
}

/// One of the texts that a field may be.
fn matching(field: &Field, shape: Shape, piece: &Piece) -> Result<Match, QueryError> {
    let text = piece.text.as_str();
    if piece.quoted {
        return Ok(Match::Is(text.to_owned()));
    }
    if shape != Shape::Value && compared(piece).is_some() {
        let error = QueryError::new(piece.at.clone(), "this field is a text, which is not compared");
        return Err(error.help("write the text itself, or `%part%`; quote it when it begins so"));
    }
    let small = |part: &str| part.to_ascii_lowercase();
    let searched = match (text.strip_prefix('%'), text.strip_suffix('%')) {
        (Some(rest), Some(_)) if text.len() > 1 => Some(Match::Contains(small(&rest[..rest.len() - 1]))),
        (Some(end), None) => Some(Match::Ends(small(end))),
        (None, Some(begin)) => Some(Match::Begins(small(begin))),
        _ => None,
    };
    match (shape, searched) {
        (Shape::Word, Some(_)) => {
            Err(QueryError::new(piece.at.clone(), "this field takes whole words, and no `%`").help(words(field)))
        }
        (_, Some(searched)) => Ok(searched),
        (Shape::Word, None) => word(field, piece),
        (Shape::Id, None) => {
            let digits: String = text.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
            if digits.len() > 32 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(not_a(piece, "the id of a run", "its first digits are enough"));
            }
            Ok(if digits.len() == 32 { Match::Is(digits) } else { Match::Begins(digits) })
        }
        // The name of a queue without its agent.
        _ if *field == Field::Queue && !text.contains('/') => Ok(Match::Ends(format!("/{}", small(text)))),
        // The first digits of a commit are enough.
        _ if *field == Field::Commit => Ok(Match::Begins(small(text))),
        _ => Ok(Match::Is(text.to_owned())),
    }
}

fn word(field: &Field, piece: &Piece) -> Result<Match, QueryError> {
    let known = known(field);
    if known.contains(&piece.text.as_str()) {
        return Ok(Match::Is(piece.text.clone()));
    }
    let help = match did_you_mean(&piece.text, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => words(field),
    };
    let what = if *field == Field::Status { "a status" } else { "a kind of cloning" };
    Err(QueryError::new(piece.at.clone(), format!("{} is not {what}", quoted(&piece.text))).help(help))
}

fn known(field: &Field) -> &'static [&'static str] {
    if *field == Field::Status { &STATUSES } else { &["copy", "restart"] }
}

fn words(field: &Field) -> String {
    format!("it is one of {}", known(field).join(", "))
}

fn back(now: Timestamp, hours: i64) -> i64 {
    now.0.saturating_sub(hours * 3_600_000)
}

/// The first and last millisecond of what a text names: a day, a minute, a second.
fn moment(piece: &Piece, now: Timestamp) -> Result<(i64, i64), QueryError> {
    let text = piece.text.as_str();
    if let Some((_, hours)) = LAST.iter().find(|(word, _)| *word == text) {
        return Ok((back(now, *hours), back(now, *hours)));
    }
    let from = |moment: jiff::Timestamp, length: i64| {
        let start = moment.as_millisecond();
        (start, start.saturating_add(length - 1))
    };
    let local = |at: civil::DateTime, length: i64| TimeZone::UTC.to_timestamp(at).ok().map(|at| from(at, length));
    // `2026-01-01`; `…T10:00`, `… 10:00` and with seconds; the same with `Z` or an offset.
    let seconds = |text: &str| if text.matches(':').count() >= 2 { 1000 } else { 60_000 };
    let found = match text.parse::<jiff::Timestamp>() {
        Ok(at) => Some(from(at, 1000)),
        Err(_) if text.contains(':') => text.parse().ok().and_then(|at| local(at, seconds(text))),
        Err(_) => text.parse::<civil::Date>().ok().and_then(|day| local(day.into(), 86_400_000)),
    };
    let help =
        "write for example `2026-01-31`, `2026-01-31 10:00`, `2026-01-01..2026-01-31` or `last_month`; times are UTC";
    found.ok_or_else(|| not_a(piece, "a day or a time", help))
}

/// A number of seconds, or a duration; at most a millisecond long.
fn span(piece: &Piece) -> Result<(i64, i64), QueryError> {
    let seconds = piece.text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let ms = match seconds {
        // Far above every span of a run.
        Some(seconds) => Some((seconds * 1000.0).round().min(1e18) as i64),
        None => Duration::parse(&piece.text).ok().and_then(|duration| i64::try_from(duration.0.0).ok()),
    };
    let ms = ms.ok_or_else(|| not_a(piece, "a span of time", "write seconds, or for example `1h30m`"))?;
    Ok((ms, ms))
}

fn amount(piece: &Piece) -> Result<(i64, i64), QueryError> {
    let millis = Quantity::parse(&piece.text).ok().and_then(|amount| i64::try_from(amount.millis()).ok());
    let millis = millis.ok_or_else(|| not_a(piece, "an amount", "write for example `2`, `500m` or `16Gi`"))?;
    Ok((millis, millis))
}

fn count(piece: &Piece) -> Result<(i64, i64), QueryError> {
    let count = piece.text.parse().map_err(|_| not_a(piece, "a whole number", ""))?;
    Ok((count, count))
}

fn not_a(piece: &Piece, what: &str, help: &str) -> QueryError {
    QueryError::new(piece.at.clone(), format!("{} is not {what}", quoted(&piece.text))).help(help)
}

/// A piece of a query as messages show it.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().take(64).collect::<String>().escape_debug())
}
