//! Rows of history, written with few statements, because a statement costs more than the row that it writes: what one
//! batch does to one run becomes one change, and rows that are only added go many to a statement.
//!
//! The timeline of a run has no rows of its own: it is the run's events, each with the one before it, and the run has the
//! last.

use indexmap::IndexMap;
use indexmap::map::Entry;
use rusqlite::{Connection, OptionalExtension, Row, Statement, ToSql, params};
use serde::Serialize;

use super::text;
use crate::domain::dispatch::history::{RowOp, RunEnd, RunPatch, RunRow, SyncRow};
use crate::domain::dispatch::observation::Cause;
use crate::domain::ids::{RunId, Seq};

/// Rows of one INSERT statement: with more the gain is small, and statements for fewer rows are rarer.
const TOGETHER: usize = 32;

/// Changes that are not written yet; runs in order of their first change.
pub(super) struct Rows<'a> {
    tx: &'a Connection,
    runs: IndexMap<RunId, Touched>,
}

/// A run that the batch touches.
struct Touched {
    /// That of its row.
    seq: Seq,
    /// Its last event.
    last: Option<Seq>,
    change: Change,
}

enum Change {
    None,
    Insert(Box<RunRow>),
    Update(Box<RunPatch>),
}

impl<'a> Rows<'a> {
    pub(super) fn new(tx: &'a Connection) -> Self {
        Self { tx, runs: IndexMap::new() }
    }

    /// Takes a change; it is written at the next [`Rows::flush`] at the latest. For a line of a run's timeline, it gives
    /// the event before it in the life of that run.
    pub(super) fn apply(&mut self, op: RowOp) -> rusqlite::Result<Option<Seq>> {
        match op {
            RowOp::Insert(row) => {
                let former = self.touched(row.id)?.map(|former| former.last);
                if former.is_some() {
                    self.delete(row.id)?;
                }
                // The timeline of another one that had its id goes on.
                let last = former.flatten();
                self.runs.insert(row.id, Touched { seq: row.seq, last, change: Change::Insert(row) });
            }
            RowOp::Update(id, patch) => {
                if let Some(touched) = self.touched(id)? {
                    match &mut touched.change {
                        Change::Insert(row) => patch.apply(row),
                        Change::Update(earlier) => earlier.then(*patch),
                        none => *none = Change::Update(patch),
                    }
                }
            }
            RowOp::Condition(row) => {
                if let Some(touched) = self.touched(row.run)? {
                    return Ok(touched.last.replace(row.seq));
                }
            }
            RowOp::Sync(row) => insert_sync(self.tx, &row)?,
            RowOp::Rename(names) => {
                self.flush()?;
                // One statement looks at the old names only, so that two queues can change theirs.
                self.tx.execute(
                    "UPDATE OR FAIL run_spec SET queue = (SELECT value FROM json_each(?1) WHERE key = queue)
                     WHERE queue IN (SELECT key FROM json_each(?1))
                     AND seq IN (SELECT seq FROM run_status WHERE finished_at IS NULL)",
                    [json(&names)?],
                )?;
            }
            RowOp::Delete(id) => self.delete(id)?,
        }
        Ok(None)
    }

    /// The run with its changes so far, if there is one of this id.
    fn touched(&mut self, id: RunId) -> rusqlite::Result<Option<&mut Touched>> {
        match self.runs.entry(id) {
            Entry::Occupied(entry) => Ok(Some(entry.into_mut())),
            Entry::Vacant(entry) => {
                let found = |row: &Row<'_>| Ok((Seq(row.get(0)?), row.get::<_, Option<u64>>(1)?.map(Seq)));
                let found = self.tx.prepare_cached(FIND)?.query_row([id.0.as_bytes()], found).optional()?;
                Ok(found.map(|(seq, last)| entry.insert(Touched { seq, last, change: Change::None })))
            }
        }
    }

    /// Removes a run, whether it is written or not.
    fn delete(&mut self, id: RunId) -> rusqlite::Result<()> {
        let Some(Touched { seq, .. }) = self.touched(id)? else { return Ok(()) };
        let seq = seq.0;
        self.runs.swap_remove(&id);
        self.tx.prepare_cached("DELETE FROM run_status WHERE seq = ?")?.execute([seq])?;
        self.tx.prepare_cached("DELETE FROM run_spec WHERE seq = ?")?.execute([seq]).map(|_| ())
    }

    /// Writes all changes.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        for (_, Touched { seq, last, change }) in self.runs.drain(..) {
            match change {
                Change::None => set_last(self.tx, seq, last)?,
                Change::Insert(row) => insert_run(self.tx, &row, last)?,
                Change::Update(patch) => update_run(self.tx, seq, last, *patch)?,
            }
        }
        Ok(())
    }
}

/// Inserts rows into `table (columns)`, [`TOGETHER`] to a statement, then the rest one by one.
pub(super) fn insert<T>(
    tx: &Connection,
    table: &str,
    rows: &[T],
    bind: impl Fn(&T, &mut Binder<'_, '_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let row = format!("({})", vec!["?"; table.split(',').count()].join(", "));
    let (together, rest) = rows.as_chunks::<TOGETHER>();
    for (count, chunks) in [(TOGETHER, together.as_flattened()), (1, rest)] {
        if chunks.is_empty() {
            continue;
        }
        let mut statement =
            tx.prepare_cached(&format!("INSERT OR FAIL INTO {table} VALUES {}", vec![row.as_str(); count].join(", ")))?;
        for chunk in chunks.chunks(count) {
            let mut binder = Binder { statement: &mut statement, next: 1 };
            chunk.iter().try_for_each(|row| bind(row, &mut binder))?;
            statement.raw_execute()?;
        }
    }
    Ok(())
}

/// The row of a run by its id, and its last event.
const FIND: &str = "SELECT seq, last FROM run_spec CROSS JOIN run_status USING (seq) WHERE id = ?";

/// Gives a statement its parameters in order.
pub(super) struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
    next: usize,
}

impl Binder<'_, '_> {
    pub(super) fn bind(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.statement.raw_bind_parameter(self.next, value)?;
        self.next += 1;
        Ok(())
    }
}

fn insert_run(tx: &Connection, run: &RunRow, last: Option<Seq>) -> rusqlite::Result<()> {
    let (reason, message) = parts(run.cause.as_ref());
    let mut run_spec = tx.prepare_cached(
        "INSERT OR FAIL INTO run_spec (seq, id, project, workflow, name, kind, tags, commit_id, spec, queue, request, origin,
         group_name, parent, created_at, inputs) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    )?;
    run_spec.execute(params![
        run.seq.0,
        run.id.0.as_bytes(),
        run.project.as_str(),
        run.workflow.as_ref().map(|name| name.as_str()),
        run.name,
        run.kind,
        text((!run.tags.is_empty()).then(|| json(&run.tags)).transpose()?),
        run.commit.as_ref().map(|commit| commit.as_str()),
        run.spec.as_bytes(),
        run.queue.to_string(),
        text((!run.request.is_empty()).then(|| json(&run.request)).transpose()?),
        json(&run.origin)?,
        run.group,
        run.parent.as_ref().map(|parent| parent.0.as_bytes()),
        run.created_at.0,
        text((!run.inputs.is_empty()).then(|| json(&run.inputs)).transpose()?),
    ])?;
    let mut run_status = tx.prepare_cached(
        "INSERT OR FAIL INTO run_status (seq, last, status, attempt, reason, message, queued_at, started_at, finished_at,
         exit_code, outputs) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
    )?;
    run_status.execute(params![
        run.seq.0,
        last.map(|seq| seq.0),
        run.status.word(),
        run.attempt.0,
        reason,
        message,
        run.queued_at.map(|at| at.0),
        run.started_at.map(|at| at.0),
        run.finished_at.map(|at| at.0),
        run.exit_code,
        text((!run.outputs.is_empty()).then(|| json(&run.outputs)).transpose()?),
    ])?;
    Ok(())
}

/// A statement a part, because SQLite rewrites the index entries of every column that a statement names.
fn update_run(tx: &Connection, seq: Seq, last: Option<Seq>, patch: RunPatch) -> rusqlite::Result<()> {
    let RunPatch { step, attempt, queue, spec, queued_at, started_at, end } = patch;
    if let Some(queue) = queue {
        let mut update = tx.prepare_cached("UPDATE OR FAIL run_spec SET queue = ?2 WHERE seq = ?1")?;
        update.execute(params![seq.0, queue.to_string()])?;
    }
    if let Some(spec) = spec {
        let mut update = tx.prepare_cached("UPDATE OR FAIL run_spec SET spec = ?2 WHERE seq = ?1")?;
        update.execute(params![seq.0, spec.as_bytes()])?;
    }
    let Some((status, cause)) = step else { return set_last(tx, seq, last) };
    let (reason, message) = parts(cause.as_ref());
    let (seq, last, status) = (seq.0, last.map(|seq| seq.0), status.word());
    let (attempt, queued_at, started_at) = (attempt.map(|a| a.0), queued_at.map(|at| at.0), started_at.map(|at| at.0));
    let Some(RunEnd { at, exit_code, outputs }) = end else {
        let mut update = tx.prepare_cached(
            "UPDATE OR FAIL run_status SET last = ?2, status = ?3, reason = ?4, message = ?5, attempt = coalesce(?6, attempt),
             queued_at = coalesce(queued_at, ?7), started_at = coalesce(started_at, ?8) WHERE seq = ?1",
        )?;
        update.execute(params![seq, last, status, reason, message, attempt, queued_at, started_at])?;
        return Ok(());
    };
    let outputs = text((!outputs.is_empty()).then(|| json(&outputs)).transpose()?);
    let mut update = tx.prepare_cached(
        "UPDATE OR FAIL run_status SET last = ?2, status = ?3, reason = ?4, message = ?5, attempt = coalesce(?6, attempt),
         queued_at = coalesce(queued_at, ?7), started_at = coalesce(started_at, ?8),
         finished_at = ?9, exit_code = ?10, outputs = ?11 WHERE seq = ?1",
    )?;
    let at = at.0;
    update
        .execute(params![seq, last, status, reason, message, attempt, queued_at, started_at, at, exit_code, outputs])?;
    Ok(())
}

/// For a run whose timeline goes on and which stays as it is otherwise.
fn set_last(tx: &Connection, seq: Seq, last: Option<Seq>) -> rusqlite::Result<()> {
    let mut update = tx.prepare_cached("UPDATE OR FAIL run_status SET last = ?2 WHERE seq = ?1")?;
    update.execute(params![seq.0, last.map(|seq| seq.0)]).map(|_| ())
}

fn insert_sync(tx: &Connection, row: &SyncRow) -> rusqlite::Result<()> {
    let mut insert =
        tx.prepare_cached("INSERT INTO syncs (seq, at, commit_id, subject, plan, note) VALUES (?, ?, ?, ?, ?, ?)")?;
    let (commit, plan) = (row.commit.as_str(), row.plan.as_bytes());
    insert.execute(params![row.seq.0, row.at.0, commit, row.subject, plan, row.note]).map(|_| ())
}

fn parts(cause: Option<&Cause>) -> (Option<&str>, Option<&str>) {
    cause.map(|cause| (cause.reason.as_str(), cause.message.as_str())).unzip()
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rusqlite::StatementStatus;

    use super::super::{SqliteStore, connect};
    use super::*;

    /// SQLite may prepare a statement anew for each value when there is a partial index that some values would let it use:
    /// that once took more than half of the time of an append.
    #[test]
    fn a_statement_is_prepared_once_whatever_values_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let connection = connect(&store.path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        let mut find = connection.prepare_cached(FIND).unwrap();
        for n in 0..4_u8 {
            assert_eq!(find.query_row([[n; 16]], |_| Ok(())).optional().unwrap(), None);
        }
        assert_eq!(find.get_status(StatementStatus::RePrepare), 0);
    }
}
