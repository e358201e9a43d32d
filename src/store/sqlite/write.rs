//! Rows of history, written with few statements, because a statement costs more than the row that it writes: what one
//! batch does to one run becomes one change, and rows that are only added go many to a statement.

use indexmap::IndexMap;
use rusqlite::{Connection, Statement, ToSql, params};
use serde::Serialize;

use super::text;
use crate::domain::dispatch::history::{ConditionRow, RowOp, RunEnd, RunPatch, RunRow, SyncRow};
use crate::domain::dispatch::observation::Cause;
use crate::domain::ids::{QueueName, RunId};

/// Rows of one INSERT statement: with more the gain is small, and statements for fewer rows are rarer.
const TOGETHER: usize = 32;

/// Changes that are not written yet; runs in order of their first change.
pub(super) struct Rows<'a> {
    tx: &'a Connection,
    runs: IndexMap<RunId, Change>,
    conditions: Vec<ConditionRow>,
}

enum Change {
    Insert(Box<RunRow>),
    Update(Box<RunPatch>),
}

impl<'a> Rows<'a> {
    pub(super) fn new(tx: &'a Connection) -> Self {
        Self { tx, runs: IndexMap::new(), conditions: Vec::new() }
    }

    /// Takes a change; it is written at the next [`Rows::flush`] at the latest.
    pub(super) fn apply(&mut self, op: RowOp) -> rusqlite::Result<()> {
        match op {
            RowOp::Insert(row) => {
                self.runs.insert(row.id, Change::Insert(row));
            }
            RowOp::Update(id, patch) => match self.runs.get_mut(&id) {
                Some(Change::Insert(row)) => patch.apply(row),
                Some(Change::Update(earlier)) => earlier.then(*patch),
                None => {
                    self.runs.insert(id, Change::Update(patch));
                }
            },
            RowOp::Condition(row) => self.conditions.push(row),
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
            RowOp::Delete(id) => {
                self.flush()?;
                delete_run(self.tx, id)?;
                self.tx.prepare_cached("DELETE FROM conditions WHERE run = ?")?.execute([id.0.as_bytes()])?;
            }
        }
        Ok(())
    }

    /// Writes all changes.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        for (id, change) in self.runs.drain(..) {
            match change {
                Change::Insert(row) => insert_run(self.tx, &row)?,
                Change::Update(patch) => update_run(self.tx, id, *patch)?,
            }
        }
        let table = "conditions (run, seq, status, attempt, reason, message, at)";
        insert(self.tx, table, &self.conditions, bind_condition)?;
        self.conditions.clear();
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

fn bind_condition(row: &ConditionRow, values: &mut Binder<'_, '_>) -> rusqlite::Result<()> {
    let (reason, message) = parts(row.cause.as_ref());
    values.bind(row.run.0.as_bytes())?;
    values.bind(row.seq.0)?;
    values.bind(row.status.map(|status| status.word()))?;
    values.bind(row.attempt.map(|attempt| attempt.0))?;
    values.bind(reason)?;
    values.bind(message)?;
    values.bind(row.at.0)
}

fn insert_run(tx: &Connection, run: &RunRow) -> rusqlite::Result<()> {
    let (reason, message) = parts(run.cause.as_ref());
    let mut run_spec = tx.prepare_cached(
        "INSERT OR FAIL INTO run_spec (seq, id, project, workflow, name, kind, tags, commit_id, spec, queue, request, origin,
         group_name, parent, created_at, inputs) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
    )?;
    let values = params![
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
    ];
    if run_spec.execute(values)? == 0 {
        // Another one had its id.
        delete_run(tx, run.id)?;
        run_spec.execute(values)?;
    }
    let mut run_status = tx.prepare_cached(
        "INSERT OR FAIL INTO run_status (seq, status, attempt, reason, message, queued_at, started_at, finished_at, exit_code,
         outputs) VALUES (?,?,?,?,?,?,?,?,?,?)",
    )?;
    run_status.execute(params![
        run.seq.0,
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

fn delete_run(tx: &Connection, id: RunId) -> rusqlite::Result<()> {
    let id = id.0.as_bytes();
    tx.prepare_cached("DELETE FROM run_status WHERE seq = (SELECT seq FROM run_spec WHERE id = ?)")?.execute([id])?;
    tx.prepare_cached("DELETE FROM run_spec WHERE id = ?")?.execute([id]).map(|_| ())
}

/// A statement a part, because SQLite rewrites the index entries of every column that a statement names.
fn update_run(tx: &Connection, id: RunId, patch: RunPatch) -> rusqlite::Result<()> {
    let RunPatch { step, attempt, queue, spec, queued_at, started_at, end } = patch;
    if let Some(queue) = queue {
        set_queue(tx, id, &queue)?;
    }
    if let Some(spec) = spec {
        let mut update = tx.prepare_cached("UPDATE OR FAIL run_spec SET spec = ?2 WHERE id = ?1")?;
        update.execute(params![id.0.as_bytes(), spec.as_bytes()])?;
    }
    let Some((status, cause)) = step else { return Ok(()) };
    let (reason, message) = parts(cause.as_ref());
    let id = id.0.as_bytes();
    let (attempt, queued_at, started_at) = (attempt.map(|a| a.0), queued_at.map(|at| at.0), started_at.map(|at| at.0));
    let Some(RunEnd { at, exit_code, outputs }) = end else {
        let mut update = tx.prepare_cached(
            "UPDATE OR FAIL run_status SET status = ?2, reason = ?3, message = ?4, attempt = coalesce(?5, attempt),
             queued_at = coalesce(queued_at, ?6), started_at = coalesce(started_at, ?7)
             WHERE seq = (SELECT seq FROM run_spec WHERE id = ?1)",
        )?;
        update.execute(params![id, status.word(), reason, message, attempt, queued_at, started_at])?;
        return Ok(());
    };
    let outputs = text((!outputs.is_empty()).then(|| json(&outputs)).transpose()?);
    let mut update = tx.prepare_cached(
        "UPDATE OR FAIL run_status SET status = ?2, reason = ?3, message = ?4, attempt = coalesce(?5, attempt),
         queued_at = coalesce(queued_at, ?6), started_at = coalesce(started_at, ?7),
         finished_at = ?8, exit_code = ?9, outputs = ?10 WHERE seq = (SELECT seq FROM run_spec WHERE id = ?1)",
    )?;
    let status = status.word();
    update.execute(params![id, status, reason, message, attempt, queued_at, started_at, at.0, exit_code, outputs])?;
    Ok(())
}

fn set_queue(tx: &Connection, id: RunId, queue: &QueueName) -> rusqlite::Result<()> {
    let mut update = tx.prepare_cached("UPDATE OR FAIL run_spec SET queue = ?2 WHERE id = ?1")?;
    update.execute(params![id.0.as_bytes(), queue.to_string()]).map(|_| ())
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
