//! In which order runs are wanted: `-created_at,metrics.loss`.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Fact, Facts, Field, MAX_KEYS, MAX_QUERY, QueryError, Shape};

/// What runs are sorted by; those that do not have it come last, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// By what.
    pub field: Field,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// Reads a sort: fields with `-` before those that go down, the weightiest first.
pub fn parse_sort(text: &str) -> Result<Vec<SortKey>, QueryError> {
    if text.len() > MAX_QUERY {
        return Err(QueryError::new(0..0, format!("the sort is longer than {MAX_QUERY} bytes")));
    }
    let mut keys = Vec::new();
    if text.trim().is_empty() {
        return Ok(keys);
    }
    let mut start = 0;
    for part in text.split(',') {
        let name = part.trim();
        let at = start + (part.len() - part.trim_start().len());
        let at = at..at + name.len();
        start += part.len() + 1;
        let (name, descending) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name.strip_prefix('+').unwrap_or(name), false),
        };
        let wrong = |(message, help): (String, String)| QueryError::new(at.clone(), message).help(help);
        let field = Field::parse(name).map_err(wrong)?;
        if field.shape() == Shape::Texts {
            return Err(QueryError::new(at, "runs have several tags, and cannot be sorted by them"));
        }
        if keys.len() == MAX_KEYS {
            return Err(QueryError::new(at, format!("a sort has at most {MAX_KEYS} fields")));
        }
        keys.push(SortKey { field, descending });
    }
    Ok(keys)
}

/// Which of two runs comes first; equal when the keys do not tell.
pub fn compare(keys: &[SortKey], a: &impl Facts, b: &impl Facts) -> Ordering {
    let one = |key: &SortKey| {
        let order = match (Rank::of(&a.fact(&key.field)), Rank::of(&b.fact(&key.field))) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (Some(a), Some(b)) => a.compare(&b),
        };
        if key.descending { order.reverse() } else { order }
    };
    keys.iter().map(one).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// What a fact counts in a sort: numbers before texts, flags as 0 and 1, nothing for what is neither.
enum Rank {
    Whole(i64),
    Number(f64),
    Text(String),
}

impl Rank {
    fn of(fact: &Fact<'_>) -> Option<Self> {
        match fact {
            Fact::Text(text) => Some(Self::Text(text.clone().into_owned())),
            Fact::Whole(number) => Some(Self::Whole(*number)),
            Fact::Value(Value::Number(number)) => number.as_f64().map(Self::Number),
            Fact::Value(Value::Bool(flag)) => Some(Self::Number(f64::from(*flag))),
            Fact::Value(Value::String(text)) => Some(Self::Text(text.clone())),
            Fact::Nil | Fact::Texts(_) | Fact::Value(_) => None,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Text(_), _) => Ordering::Greater,
            (_, Self::Text(_)) => Ordering::Less,
            // A field is of one shape: whole numbers meet whole numbers only.
            (Self::Whole(_), Self::Number(_)) | (Self::Number(_), Self::Whole(_)) => Ordering::Equal,
        }
    }
}
