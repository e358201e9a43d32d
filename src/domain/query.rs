//! The query language of runs, in Polyaxon's words: `status:running, metrics.loss:<0.1`.
//!
//! A query is read once ([`Query::parse`]: errors name their place) and then only asked. [`Query::wants`] is its meaning;
//! a store may turn it into a question of its own, and `tests/stores.rs` holds the two to the same answer.
//!
//! `field:condition` terms are joined by `,` or `AND`, which bind closer than `OR`; parentheses group; `~` negates. Every
//! term is true or false of every run: what a run does not have is `nil`, and no other condition holds of it.

mod field;
mod parse;
mod sort;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

pub use field::{Field, Shape};
pub use sort::{SortKey, compare, parse_sort};

/// Longest query, in bytes: longer than a person writes, short enough for a line of an access log.
pub const MAX_QUERY: usize = 4096;
/// Most values of one query, alternatives counted: a store makes a condition of each.
pub const MAX_VALUES: usize = 200;
/// Deepest parentheses.
pub const MAX_DEPTH: usize = 16;
/// Most keys of a sort.
pub const MAX_KEYS: usize = 8;

/// Which runs are wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// Those of which all of these hold; every run when empty.
    All(Vec<Self>),
    /// Those of which one of these holds.
    Any(Vec<Self>),
    /// Those of which this holds.
    Term(Term),
}

/// `field:condition`.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// What of a run is looked at.
    pub field: Field,
    /// Whether the condition must not hold.
    pub negated: bool,
    /// What must hold of it.
    pub condition: Condition,
}

/// What must hold of a fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The run does not have it.
    Nil,
    /// It is one of these texts, or has one of them among its own.
    Among(Vec<Match>),
    /// It is a whole number from the first to the second: milliseconds, thousandths of a resource, a count.
    Within(i64, i64),
    /// It is a number that compares so.
    Number(Comparison, f64),
}

/// How a text matches. All but [`Match::Is`] are without regard to the case of ASCII letters, and hold theirs small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// It is this text; a reported value also when it is this number, or `true` or `false`.
    Is(String),
    /// It begins so.
    Begins(String),
    /// It ends so.
    Ends(String),
    /// It has this in it.
    Contains(String),
}

/// How two numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

/// What is known of a run in one respect.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<'a> {
    /// Nothing.
    Nil,
    /// A text.
    Text(Cow<'a, str>),
    /// Several texts.
    Texts(&'a [String]),
    /// A whole number: milliseconds, thousandths of a resource, a count.
    Whole(i64),
    /// What was given or reported.
    Value(&'a Value),
}

/// What can be asked for its facts.
pub trait Facts {
    /// The fact of a field; of the shape that [`Field::shape`] says.
    fn fact(&self, field: &Field) -> Fact<'_>;
}

impl Query {
    /// Whether a run is wanted.
    pub fn wants(&self, run: &impl Facts) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.wants(run)),
            Self::Any(any) => any.iter().any(|one| one.wants(run)),
            Self::Term(term) => term.condition.holds(&run.fact(&term.field)) != term.negated,
        }
    }
}

impl Condition {
    fn holds(&self, fact: &Fact<'_>) -> bool {
        match (self, fact) {
            (Self::Nil, Fact::Nil | Fact::Value(Value::Null)) => true,
            (Self::Nil, Fact::Texts(texts)) => texts.is_empty(),
            (Self::Among(any), Fact::Text(text)) => any.iter().any(|one| one.fits(text)),
            (Self::Among(any), Fact::Texts(texts)) => texts.iter().any(|text| any.iter().any(|one| one.fits(text))),
            (Self::Among(any), Fact::Value(value)) => any.iter().any(|one| one.fits_value(value)),
            (Self::Within(low, high), Fact::Whole(number)) => (low..=high).contains(&number),
            (Self::Number(comparison, bound), Fact::Value(Value::Number(number))) => {
                number.as_f64().is_some_and(|number| comparison.holds(number, *bound))
            }
            _ => false,
        }
    }
}

impl Match {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Is(whole) => text == whole,
            Self::Begins(part) => text.to_ascii_lowercase().starts_with(part),
            Self::Ends(part) => text.to_ascii_lowercase().ends_with(part),
            Self::Contains(part) => text.to_ascii_lowercase().contains(part),
        }
    }

    fn fits_value(&self, value: &Value) -> bool {
        match (value, self) {
            (Value::String(text), _) => self.fits(text),
            (Value::Number(number), Self::Is(_)) => self.number().is_some_and(|own| number.as_f64() == Some(own)),
            (Value::Bool(flag), Self::Is(word)) => *word == flag.to_string(),
            _ => false,
        }
    }

    /// The number that the text also is.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Is(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }
}

impl Comparison {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Less => number < bound,
            Self::AtMost => number <= bound,
            Self::Equal => number == bound,
            Self::AtLeast => number >= bound,
            Self::More => number > bound,
        }
    }

    /// The sign, as a query and SQL write it.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::More => ">",
        }
    }
}

/// Why a query or a sort cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// What is wrong.
    pub message: String,
    /// How to mend it; may be empty.
    pub help: String,
    /// The bytes of the text that it is about.
    pub at: std::ops::Range<usize>,
}

impl QueryError {
    fn new(at: std::ops::Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), help: String::new(), at }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The text with the place underlined, for a terminal.
    pub fn underlined(&self, text: &str) -> String {
        let width = |part: &str| part.chars().count();
        let start = self.at.start.min(text.len());
        let end = self.at.end.clamp(start, text.len());
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let carets = "^".repeat(width(&text[start..end]).max(1));
        format!("  {line}\n  {}{carets}", " ".repeat(width(&text[..start])))
    }
}

impl std::error::Error for QueryError {}

impl fmt::Display for QueryError {
    /// One line, without the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

#[cfg(test)]
mod tests;
