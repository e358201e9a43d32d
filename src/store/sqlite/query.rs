//! Queries and sorts as SQL: the same as [`Query::wants`] and [`RunFilter::compare`], to which `tests/stores.rs` holds
//! them. What a person wrote only goes in as parameters.

use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;
use rusqlite::{Connection, Error};

use super::super::id_range;
use crate::domain::dispatch::history::{RunFilter, RunOrder};
use crate::domain::dispatch::status::Status;
use crate::domain::quantity::Quantity;
use crate::domain::query::{Condition, Field, Match, Query, SortKey, Term};

/// Gives a connection `thousandths(quantity)`: SQL has no word for `16Gi`.
pub(super) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("thousandths", 1, flags, |context| {
        let Some(text) = context.get::<Option<String>>(0)? else { return Ok(None) };
        let amount = Quantity::parse(&text).map_err(|error| Error::UserFunctionError(error.into()))?;
        Ok(i64::try_from(amount.millis()).ok())
    })
}

/// The parameters of a statement, named by their numbers.
#[derive(Debug, Default)]
pub(super) struct Values(pub(super) Vec<Value>);

impl Values {
    /// Adds a parameter and gives its name.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("?{}", self.0.len())
    }
}

/// A query as a condition, which is true or false of every row.
pub(super) fn clause(query: &Query, values: &mut Values) -> String {
    let mut joined = |parts: &[Query], word: &str| {
        let parts: Vec<String> = parts.iter().map(|part| clause(part, values)).collect();
        format!("({})", parts.join(word))
    };
    match query {
        Query::All(all) if all.is_empty() => "true".to_owned(),
        Query::All(all) => joined(all, " AND "),
        Query::Any(any) => joined(any, " OR "),
        Query::Term(term) => of_term(term, values),
    }
}

/// What runs are sorted by.
pub(super) fn order(filter: &RunFilter, values: &mut Values) -> String {
    let (keys, order) = filter.ordering();
    let direction = |down| if down { "DESC" } else { "ASC" };
    let mut parts: Vec<String> = Vec::new();
    for SortKey { field, descending } in keys {
        let by = match Reported::of(field, values) {
            Some(reported) => reported.rank(),
            None => expression(field, values),
        };
        parts.push(format!("{by} {} NULLS LAST", direction(*descending)));
    }
    parts.push(format!("seq {}", direction(order == RunOrder::NewestFirst)));
    parts.join(", ")
}

fn of_term(Term { field, negated, condition }: &Term, values: &mut Values) -> String {
    let holds = holds(field, condition, values);
    if *negated {
        // What is not known does not hold.
        return format!("NOT coalesce({holds}, false)");
    }
    match condition {
        // True of these anyway; said so that the index of unfinished runs is used.
        Condition::Among(any) if *field == Field::Status && any.iter().all(is_unfinished) => {
            format!("({holds} AND finished_at IS NULL)")
        }
        // Said to be likely of what stands in rows of status: thought rare, these would be gone through first, in no order.
        _ if of_status(field) => format!("likely({holds})"),
        _ => holds,
    }
}

/// Whether a field is part of the status of a run.
fn of_status(field: &Field) -> bool {
    use Field::{Attempt, Duration, ExitCode, FinishedAt, Output, QueuedAt, Reason, StartedAt, UpdatedAt, WaitTime};
    let of_its_step = matches!(field, Field::Status | Reason | Attempt | ExitCode | Output(_));
    of_its_step || matches!(field, QueuedAt | StartedAt | FinishedAt | UpdatedAt | Duration | WaitTime)
}

fn is_unfinished(word: &Match) -> bool {
    matches!(word, Match::Is(word) if Status::parse(word).is_some_and(|status| !status.is_final()))
}

fn holds(field: &Field, condition: &Condition, values: &mut Values) -> String {
    let reported = Reported::of(field, values);
    match (condition, reported) {
        (Condition::Nil, Some(of)) => format!("coalesce({}, 'null') = 'null'", of.kind()),
        (Condition::Nil, None) => format!("{} IS NULL", expression(field, values)),
        (Condition::Number(comparison, bound), Some(of)) => of.number(comparison.sign(), *bound, values),
        (Condition::Within(low, high), None) => {
            let (low, high) = (values.bind(*low), values.bind(*high));
            format!("{} BETWEEN {low} AND {high}", expression(field, values))
        }
        (Condition::Among(any), Some(of)) => either(any, |one| of.matches(one, values)),
        (Condition::Among(any), None) if *field == Field::Tags => {
            format!("EXISTS (SELECT 1 FROM json_each(tags) WHERE {})", either(any, |one| text("value", one, values)))
        }
        (Condition::Among(any), None) => either(any, |one| of_column(field, one, values)),
        // No field takes these.
        (Condition::Number(..), None) | (Condition::Within(..), Some(_)) => "false".to_owned(),
    }
}

fn either(any: &[Match], one: impl FnMut(&Match) -> String) -> String {
    format!("({})", any.iter().map(one).collect::<Vec<_>>().join(" OR "))
}

/// A text in a column; ids go through their index.
fn of_column(field: &Field, one: &Match, values: &mut Values) -> String {
    let column = match field {
        Field::Uuid => Some("id"),
        Field::Pipeline => Some("parent"),
        _ => None,
    };
    let range = match one {
        Match::Is(digits) | Match::Begins(digits) => id_range(digits),
        _ => None,
    };
    match column.zip(range) {
        Some((column, (low, high))) => {
            let [low, high] = [low, high].map(|id| values.bind(id.0.as_bytes().to_vec()));
            format!("{column} BETWEEN {low} AND {high}")
        }
        None => text(&expression(field, values), one, values),
    }
}

/// Whether a text matches.
fn text(expression: &str, one: &Match, values: &mut Values) -> String {
    let (Match::Is(part) | Match::Begins(part) | Match::Ends(part) | Match::Contains(part)) = one;
    let (length, part) = (part.chars().count(), values.bind(part.clone()));
    match one {
        Match::Is(_) => format!("{expression} = {part}"),
        Match::Begins(_) => format!("substr(lower({expression}), 1, {length}) = {part}"),
        Match::Ends(_) => format!("substr(lower({expression}), -{length}) = {part}"),
        Match::Contains(_) => format!("instr(lower({expression}), {part}) > 0"),
    }
}

/// What a row has for a field that is not one of the reported.
fn expression(field: &Field, values: &mut Values) -> String {
    let plain = match field {
        Field::Uuid => "lower(hex(id))",
        Field::Pipeline => "CASE WHEN parent IS NOT NULL THEN lower(hex(parent)) END",
        Field::Original => {
            "CASE WHEN origin ->> '$.by' IN ('restart', 'copy') THEN replace(origin ->> '$.of', '-', '') END"
        }
        Field::CloningKind => "CASE WHEN origin ->> '$.by' IN ('restart', 'copy') THEN origin ->> '$.by' END",
        Field::User => "origin ->> '$.user'",
        Field::ScheduleAt => "CASE WHEN origin ->> '$.by' = 'schedule' THEN origin ->> '$.at' END",
        Field::Name => "name",
        Field::Project => "project",
        Field::Workflow => "workflow",
        Field::Kind => "kind",
        Field::Status => "status",
        Field::Reason => "reason",
        Field::Commit => "commit_id",
        Field::Queue => "queue",
        Field::Agent => "substr(queue, 1, instr(queue, '/') - 1)",
        Field::Tags => "tags",
        Field::CreatedAt => "created_at",
        Field::QueuedAt => "queued_at",
        Field::StartedAt => "started_at",
        Field::FinishedAt => "finished_at",
        Field::UpdatedAt => {
            "max(created_at, coalesce(queued_at, created_at), coalesce(started_at, created_at), \
             coalesce(finished_at, created_at))"
        }
        Field::Duration => "(finished_at - started_at)",
        Field::WaitTime => "(started_at - created_at)",
        Field::Attempt => "attempt",
        Field::ExitCode => "exit_code",
        Field::Amount(name) => return format!("thousandths(request ->> {})", values.bind(path(name))),
        // `Reported` has these.
        Field::Input(_) | Field::Output(_) => "NULL",
    };
    plain.to_owned()
}

/// A value that was given or reported: a column of JSON and the path in it.
struct Reported {
    column: &'static str,
    path: String,
}

impl Reported {
    fn of(field: &Field, values: &mut Values) -> Option<Self> {
        let (column, name) = match field {
            Field::Input(name) => ("inputs", name),
            Field::Output(name) => ("outputs", name),
            _ => return None,
        };
        Some(Self { column, path: values.bind(path(name)) })
    }

    fn kind(&self) -> String {
        format!("json_type({}, {})", self.column, self.path)
    }

    fn value(&self) -> String {
        format!("json_extract({}, {})", self.column, self.path)
    }

    fn number(&self, sign: &str, bound: f64, values: &mut Values) -> String {
        let bound = values.bind(bound);
        format!("({} IN ('integer', 'real') AND CAST({} AS REAL) {sign} {bound})", self.kind(), self.value())
    }

    fn matches(&self, one: &Match, values: &mut Values) -> String {
        let mut any = vec![format!("({} = 'text' AND {})", self.kind(), text(&self.value(), one, values))];
        any.extend(one.number().map(|number| self.number("=", number, values)));
        if let Match::Is(flag) = one
            && matches!(flag.as_str(), "true" | "false")
        {
            any.push(format!("{} = '{flag}'", self.kind()));
        }
        format!("({})", any.join(" OR "))
    }

    /// What it counts in a sort: numbers before texts, flags as 0 and 1.
    fn rank(&self) -> String {
        let (kind, value) = (self.kind(), self.value());
        format!(
            "CASE {kind} WHEN 'text' THEN {value} WHEN 'integer' THEN CAST({value} AS REAL) WHEN 'real' THEN {value} \
             WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 END"
        )
    }
}

/// The path of a name; names have no `"` and no `\`.
fn path(name: &str) -> String {
    format!("$.\"{name}\"")
}
