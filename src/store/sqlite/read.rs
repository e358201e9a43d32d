//! History, read: a few connections that share the work of all readers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::{FromSql, Type, Value};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params_from_iter};
use serde::de::DeserializeOwned;

use super::super::{History, MAX_EVENTS, MAX_FOUND, StoreError, id_range};
use super::query::{self, Values};
use super::{connect, in_database, read_event, visit_events};
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::history::{
    ConditionRow, MAX_PAGE, Parent, RowOp, RunFilter, RunOrder, RunRow, SyncRow, project,
};
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Attempt, CommitId, Digest, Name, ProjectName, QueueName, RunId, Seq};
use crate::domain::time::Timestamp;

/// Reading connections: enough that a slow report does not hold up the web page, few enough to be idle for nothing.
const READERS: usize = 4;

/// In the order of the fields of [`RunRow`].
const RUN: &str = "seq, id, project, workflow, name, kind, tags, commit_id, spec, queue, request, origin, group_name, \
                   parent, status, attempt, reason, message, created_at, queued_at, started_at, finished_at, \
                   exit_code, outputs, inputs";

/// The reading connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map(Mutex::new);
        let connections: rusqlite::Result<_> = (0..READERS).map(open).collect();
        let connections = connections.map_err(in_database("open a reader", path))?;
        Ok(Self { path: path.to_owned(), connections, next: AtomicUsize::new(0) })
    }

    /// A connection that is free, or the next one when it becomes free.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        let free = self.connections.iter().find_map(|connection| connection.try_lock().ok());
        free.unwrap_or_else(|| {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
            // A reader that panicked has left nothing behind but a statement, which its drop has reset.
            self.connections[next].lock().unwrap_or_else(PoisonError::into_inner)
        })
    }

    fn ask<T>(
        &self,
        action: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        question(&self.connection()).map_err(in_database(action, &self.path))
    }
}

impl History for Readers {
    fn run(&self, id: RunId) -> Result<Option<RunRow>, StoreError> {
        self.ask("read a run", |connection| {
            let mut query = connection.prepare_cached(&format!("SELECT {RUN} FROM runs WHERE id = ?"))?;
            query.query_row([id.0.as_bytes()], run_row).optional()
        })
    }

    fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let (mut clauses, mut values) = conditions_of(filter);
        let beyond = match filter.order {
            RunOrder::NewestFirst => "seq <",
            RunOrder::OldestFirst => "seq >",
        };
        if let Some(cursor) = filter.cursor {
            clauses.push(format!("{beyond} {}", values.bind(i64::try_from(cursor.0).unwrap_or(i64::MAX))));
        }
        let order = query::order(filter, &mut values);
        let (limit, skip) = (filter.limit.min(MAX_PAGE), filter.skip.min(i64::MAX as usize));
        let clauses = clauses.join(" AND ");
        let sql = format!("SELECT {RUN} FROM runs WHERE {clauses} ORDER BY {order} LIMIT {limit} OFFSET {skip}");
        self.ask("list runs", |connection| {
            connection.prepare_cached(&sql)?.query_map(params_from_iter(values.0), run_row)?.collect()
        })
    }

    fn count(&self, filter: &RunFilter) -> Result<u64, StoreError> {
        let (clauses, values) = conditions_of(filter);
        let sql = format!("SELECT count(*) FROM runs WHERE {}", clauses.join(" AND "));
        self.ask("count runs", |connection| {
            connection.prepare_cached(&sql)?.query_row(params_from_iter(values.0), |row| row.get(0))
        })
    }

    fn conditions(&self, run: RunId) -> Result<Vec<ConditionRow>, StoreError> {
        let sql = "WITH RECURSIVE life AS (
                SELECT seq, at, version, payload, before FROM events
                WHERE seq = (SELECT last FROM runs WHERE id = ?)
                UNION ALL
                SELECT earlier.seq, earlier.at, earlier.version, earlier.payload, earlier.before
                FROM life JOIN events AS earlier ON earlier.seq = life.before
            ) SELECT seq, at, version, payload FROM life ORDER BY seq";
        let connection = self.connection();
        let failed = || in_database("read a timeline", &self.path);
        let mut query = connection.prepare_cached(sql).map_err(failed())?;
        let mut rows = query.query([run.0.as_bytes()]).map_err(failed())?;
        let (mut ops, mut timeline) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next().map_err(failed())? {
            let (seq, at, event) = read_event(row, &self.path)?;
            project(at, seq, &event, &mut ops);
            timeline.extend(ops.drain(..).filter_map(|op| match op {
                RowOp::Condition(line) => Some(line),
                _ => None,
            }));
        }
        Ok(timeline)
    }

    fn syncs(&self, before: Option<Seq>, limit: usize) -> Result<Vec<SyncRow>, StoreError> {
        let before = before.and_then(|seq| i64::try_from(seq.0).ok()).unwrap_or(i64::MAX);
        self.ask("read the history of commits", |connection| {
            let sql =
                "SELECT seq, at, commit_id, subject, plan, note FROM syncs WHERE seq < ? ORDER BY seq DESC LIMIT ?";
            let mut query = connection.prepare_cached(sql)?;
            query.query_map([before, limit.min(MAX_PAGE) as i64], sync_row)?.collect()
        })
    }

    fn body(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask("read a body", |connection| {
            let mut query = connection.prepare_cached("SELECT data FROM bodies WHERE digest = ?")?;
            query.query_row([digest.as_bytes()], |row| row.get(0)).optional()
        })
    }

    fn find(&self, prefix: &str) -> Result<Vec<RunId>, StoreError> {
        let Some((low, high)) = id_range(prefix) else { return Ok(Vec::new()) };
        self.ask("find runs", |connection| {
            let sql = format!("SELECT id FROM runs WHERE id BETWEEN ? AND ? ORDER BY id LIMIT {MAX_FOUND}");
            let mut query = connection.prepare_cached(&sql)?;
            query.query_map([low.0.as_bytes(), high.0.as_bytes()], |row| row.get(0).map(run_id))?.collect()
        })
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<(Seq, Timestamp, Event)>, StoreError> {
        let mut events = Vec::new();
        let limit = limit.min(MAX_EVENTS) as i64;
        visit_events(&self.connection(), &self.path, after, limit, &mut |seq, at, event| {
            events.push((seq, at, event))
        })?;
        Ok(events)
    }
}

/// A filter as SQL: the same as [`RunFilter::wants`].
fn conditions_of(filter: &RunFilter) -> (Vec<String>, Values) {
    let words = |statuses: &[Status]| statuses.iter().map(|s| format!("'{s}'")).collect::<Vec<_>>().join(", ");
    let mut clauses = vec!["true".to_owned()];
    let mut values = Values::default();
    let mut when = |clause: &str, value: Option<Value>| {
        clauses.extend(value.map(|value| clause.replace('?', &values.bind(value))));
    };
    let workflow = filter.workflow.as_ref();
    when("project = ?", filter.project.as_ref().map(|p| Value::Text(p.to_string())));
    when("project = ?", workflow.map(|w| Value::Text(w.project.to_string())));
    when("workflow = ?", workflow.map(|w| Value::Text(w.workflow.to_string())));
    when("queue = ?", filter.queue.as_ref().map(|q| Value::Text(q.to_string())));
    // Names have no characters that a pattern would read otherwise.
    when("queue GLOB ?", filter.agent.as_ref().map(|a| Value::Text(format!("{a}/*"))));
    when("instr(commit_id, ?) = 1", filter.commit.clone().map(Value::Text));
    when("instr(name, ?) > 0", filter.name_contains.clone().map(Value::Text));
    when("created_at >= ?", filter.created_after.map(|at| Value::Integer(at.0)));
    when("created_at < ?", filter.created_before.map(|at| Value::Integer(at.0)));
    match filter.parent {
        Parent::Any => {}
        Parent::None => clauses.push("parent IS NULL".to_owned()),
        Parent::Is(parent) => clauses.push(format!("parent = {}", values.bind(parent.0.as_bytes().to_vec()))),
    }
    if !filter.statuses.is_empty() {
        let among = format!("status IN ({})", words(&filter.statuses));
        // See `query`: unfinished runs have an index, among all others most are looked at.
        clauses.push(match filter.statuses.iter().any(|status| status.is_final()) {
            true => format!("likely({among})"),
            false => format!("{among} AND finished_at IS NULL"),
        });
    }
    clauses.extend(filter.query.as_ref().map(|query| query::clause(query, &mut values)));
    (clauses, values)
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        seq: Seq(row.get(0)?),
        id: run_id(row.get(1)?),
        project: parsed(row, 2, |text: String| ProjectName::parse(&text))?,
        workflow: optional(row, 3, |text: String| Name::parse(&text))?,
        name: row.get(4)?,
        kind: row.get(5)?,
        tags: json(row, 6)?.unwrap_or_default(),
        commit: row.get::<_, Option<String>>(7)?.map(|id| CommitId::new(&id)),
        spec: Digest::from_bytes(row.get(8)?),
        queue: parsed(row, 9, |text: String| QueueName::parse(&text))?,
        request: json(row, 10)?.unwrap_or_default(),
        origin: parsed(row, 11, |text: String| serde_json::from_str(&text))?,
        group: row.get(12)?,
        parent: row.get::<_, Option<[u8; 16]>>(13)?.map(run_id),
        status: parsed(row, 14, status)?,
        attempt: Attempt(row.get(15)?),
        cause: cause(row, 16)?,
        created_at: Timestamp(row.get(18)?),
        queued_at: row.get::<_, Option<i64>>(19)?.map(Timestamp),
        started_at: row.get::<_, Option<i64>>(20)?.map(Timestamp),
        finished_at: row.get::<_, Option<i64>>(21)?.map(Timestamp),
        exit_code: row.get(22)?,
        outputs: json(row, 23)?.unwrap_or_default(),
        inputs: json(row, 24)?.unwrap_or_default(),
    })
}

fn sync_row(row: &Row<'_>) -> rusqlite::Result<SyncRow> {
    Ok(SyncRow {
        seq: Seq(row.get(0)?),
        at: Timestamp(row.get(1)?),
        commit: CommitId::new(&row.get::<_, String>(2)?),
        subject: row.get(3)?,
        plan: Digest::from_bytes(row.get(4)?),
        note: row.get(5)?,
    })
}

fn run_id(bytes: [u8; 16]) -> RunId {
    RunId(uuid::Uuid::from_bytes(bytes))
}

fn status(word: String) -> Result<Status, String> {
    Status::parse(&word).ok_or_else(|| format!("`{word}` is not a status"))
}

/// A cause that lies in two columns.
fn cause(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Cause>> {
    let (reason, message): (Option<String>, Option<String>) = (row.get(column)?, row.get(column + 1)?);
    Ok(reason.map(|reason| Cause { reason, message: message.unwrap_or_default() }))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    optional(row, column, |text: String| serde_json::from_str(&text))
}

fn parsed<T, S: FromSql, E>(row: &Row<'_>, column: usize, parse: fn(S) -> Result<T, E>) -> rusqlite::Result<T>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let wrong = |error: E| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into());
    parse(row.get(column)?).map_err(wrong)
}

fn optional<T, S: FromSql, E>(row: &Row<'_>, column: usize, parse: fn(S) -> Result<T, E>) -> rusqlite::Result<Option<T>>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => parsed(row, column, parse).map(Some),
    }
}
