//! The embedded store: one SQLite file, one writing connection, a few reading ones.
//!
//! Write-ahead log with `synchronous=FULL`: an append is on the disk when it returns, and readers never wait for it.
//! The cost of a commit is the flush, so that large batches are cheap: see `benches/store.rs`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock};

use self::read::Readers;
use super::{Batch, History, KEPT_SNAPSHOTS, Loaded, Snapshot, Store, StoreError};
use crate::domain::dispatch::event::{EVENT_VERSION, Event, decode};
use crate::domain::dispatch::history::project;
use crate::domain::ids::{Epoch, Seq};
use crate::domain::time::Timestamp;

mod query;
mod read;
mod write;

/// The database within the data directory.
const DATABASE: &str = "tidegate.db";
/// The file whose lock says that a server uses the data directory.
const LOCK: &str = "lock";
/// The layouts, oldest first; `user_version` counts those that a database has. Append, never change.
const MIGRATIONS: [&str; 4] =
    [include_str!("0001.sql"), include_str!("0002.sql"), include_str!("0003.sql"), include_str!("0004.sql")];
/// How long a connection waits for another one: longer than a checkpoint of the largest write-ahead log.
const BUSY: Duration = Duration::from_secs(10);
/// Different statements of one connection that stay prepared: all of the writer's, most of a reader's.
const PREPARED: usize = 32;
/// Bytes of a snapshot in one row: far below SQLite's limit of 10^9, and few rows for usual sizes.
const PART: usize = 64 << 20;
/// For every connection. The caches are small because the operating system's is there, too.
const SETTINGS: &str = "PRAGMA cache_size=-8192; PRAGMA temp_store=MEMORY;";
/// For the writer. It changes rows all over the tables, and what is in its own cache it need not read again: up to 64 MiB,
/// as far as they are used. A checkpoint writes every changed page once however often it changed, while appends wait: every
/// 160 MB of write-ahead log, of which 64 MB stay on the disk.
const WRITER_SETTINGS: &str = "PRAGMA cache_size=-65536; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=40000; \
                               PRAGMA journal_size_limit=67108864;";

/// The embedded store of one data directory.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    readers: Arc<Readers>,
    /// Held as long as the store lives.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store of a data directory, which is made when it is not there. Fails when another server uses it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { action, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make", dir))?;
        let private = |path: &Path| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(failed("open", path))
        };
        let lock = private(&dir.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => StoreError::InUse(dir.to_owned()),
            other => failed("lock", &dir.join(LOCK))(other.into()),
        })?;
        let path = dir.join(DATABASE);
        // SQLite gives its other files the permissions of this one.
        private(&path)?;
        let connection = open_writer(&path)?;
        let readers = Arc::new(Readers::open(&path)?);
        Ok(Self { path, connection, readers, _lock: lock })
    }
}

fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let opened = || -> rusqlite::Result<(Connection, i64)> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.execute_batch(WRITER_SETTINGS)?;
        let version = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
        Ok((connection, version))
    };
    let (mut connection, found) = opened().map_err(in_database("open the database", path))?;
    let known = MIGRATIONS.len() as i64;
    let done = usize::try_from(found).ok().filter(|_| found <= known);
    let done = done.ok_or_else(|| StoreError::TooNew { path: path.to_owned(), found, known })?;
    migrate(&mut connection, done).map_err(in_database("bring the layout up to date", path))?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, done: usize) -> rusqlite::Result<()> {
    for (layout, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", layout as i64 + 1)?;
        step.commit()?;
    }
    Ok(())
}

fn connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    connection.execute_batch(SETTINGS)?;
    // Without this promise, statements that a partial index might serve are prepared anew for each value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    query::add_functions(&connection)?;
    Ok(connection)
}

/// Says what was tried in which file; a damaged file has its own sentence.
fn in_database(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, source },
        _ => StoreError::Database { action, path, source },
    }
}

impl Store for SqliteStore {
    fn open_epoch(&mut self) -> Result<Epoch, StoreError> {
        let next = "UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value";
        let epoch: Result<u64, _> = self.connection.query_row(next, (), |row| row.get(0));
        epoch.map(Epoch).map_err(in_database("take a term", &self.path))
    }

    fn append(&mut self, batch: &Batch) -> Result<Seq, StoreError> {
        let failed = || in_database("append events", &self.path);
        let payloads = Payloads::of(&batch.events)?;
        // Dropped without a commit, a transaction is rolled back.
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let (current, actual) = position(&tx).map_err(failed())?;
        if batch.epoch != current {
            return Err(StoreError::Fenced { current, own: batch.epoch });
        }
        if batch.expected != actual {
            return Err(StoreError::Gap { actual, expected: batch.expected });
        }
        write_batch(&tx, batch, &payloads).map_err(failed())?;
        tx.commit().map_err(failed())?;
        Ok(Seq(actual.0 + batch.events.len() as u64))
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let failed = || in_database("read the snapshot", &self.path);
        let tx = self.connection.transaction().map_err(failed())?;
        let (_, last) = position(&tx).map_err(failed())?;
        let snapshot = newest_snapshot(&tx).map_err(failed())?;
        Ok(Loaded { last, snapshot })
    }

    fn replay(&mut self, after: Seq, each: &mut dyn FnMut(Seq, Timestamp, Event)) -> Result<Seq, StoreError> {
        visit_events(&self.connection, &self.path, after, i64::MAX, each)
    }

    fn save_snapshot(&mut self, seq: Seq, version: u32, data: &[u8]) -> Result<(), StoreError> {
        let failed = || in_database("save a snapshot", &self.path);
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let (_, actual) = position(&tx).map_err(failed())?;
        if seq > actual {
            return Err(StoreError::Gap { actual, expected: seq });
        }
        write_snapshot(&tx, seq, version, data).map_err(failed())?;
        tx.commit().map_err(failed())
    }

    fn reader(&self) -> Arc<dyn History> {
        self.readers.clone()
    }
}

/// The term and the last event.
fn position(connection: &Connection) -> rusqlite::Result<(Epoch, Seq)> {
    connection
        .prepare_cached("SELECT value, (SELECT coalesce(max(seq), 0) FROM events) FROM meta WHERE key = 'epoch'")?
        .query_row((), |row| Ok((Epoch(row.get(0)?), Seq(row.get(1)?))))
}

/// The events of a batch as JSON, one after the other, made before the transaction begins.
struct Payloads {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Payloads {
    fn of(events: &[Event]) -> Result<Self, StoreError> {
        let mut all = Self { text: Vec::new(), ends: Vec::with_capacity(events.len()) };
        for event in events {
            serde_json::to_writer(&mut all.text, event).map_err(StoreError::Encode)?;
            all.ends.push(all.text.len());
        }
        Ok(all)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

fn write_batch(tx: &Connection, batch: &Batch, payloads: &Payloads) -> rusqlite::Result<()> {
    let mut rows = write::Rows::new(tx);
    let (mut ops, mut stored) = (Vec::new(), Vec::with_capacity(batch.events.len()));
    for ((event, payload), seq) in batch.events.iter().zip(payloads.iter()).zip(batch.expected.0 + 1..) {
        project(batch.at, Seq(seq), event, &mut ops);
        let mut before = None;
        for op in ops.drain(..) {
            before = rows.apply(op)?.or(before);
        }
        stored.push((seq, payload, before));
    }
    rows.flush()?;
    write::insert(tx, "events (seq, at, version, payload, before)", &stored, |(seq, payload, before), row| {
        row.bind(*seq)?;
        row.bind(batch.at.0)?;
        row.bind(EVENT_VERSION)?;
        row.bind(ToSqlOutput::Borrowed(ValueRef::Text(payload)))?;
        row.bind(before.map(|seq| seq.0))
    })?;
    let mut body = tx.prepare_cached("INSERT INTO bodies (digest, data) VALUES (?, ?) ON CONFLICT DO NOTHING")?;
    batch.bodies.iter().try_for_each(|(digest, data)| body.execute(params![digest.as_bytes(), data]).map(|_| ()))
}

fn write_snapshot(tx: &Connection, seq: Seq, version: u32, data: &[u8]) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM snapshots WHERE seq = ?", [seq.0])?;
    // An empty snapshot has one empty part.
    let parts = data.chunks(PART).chain(data.is_empty().then_some(data));
    let mut insert = tx.prepare_cached("INSERT INTO snapshots (seq, part, version, data) VALUES (?, ?, ?, ?)")?;
    for (part, bytes) in parts.enumerate() {
        insert.execute(params![seq.0, part as i64, version, bytes])?;
    }
    let old = "DELETE FROM snapshots WHERE seq NOT IN (SELECT DISTINCT seq FROM snapshots ORDER BY seq DESC LIMIT ?)";
    tx.execute(old, [KEPT_SNAPSHOTS as i64]).map(|_| ())
}

fn newest_snapshot(connection: &Connection) -> rusqlite::Result<Option<Snapshot>> {
    let newest = "SELECT seq, version FROM snapshots ORDER BY seq DESC LIMIT 1";
    let newest = connection.query_row(newest, (), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((seq, version)) = newest else { return Ok(None) };
    let mut snapshot = Snapshot { seq: Seq(seq), version, data: Vec::new() };
    let mut parts = connection.prepare("SELECT data FROM snapshots WHERE seq = ? ORDER BY part")?;
    let mut rows = parts.query([seq])?;
    while let Some(row) = rows.next()? {
        snapshot.data.extend_from_slice(row.get_ref(0)?.as_blob()?);
    }
    Ok(Some(snapshot))
}

/// Hands over events in order, at most `limit`, and gives the seq of the last (`after` when there is none).
fn visit_events(
    connection: &Connection,
    path: &Path,
    after: Seq,
    limit: i64,
    each: &mut dyn FnMut(Seq, Timestamp, Event),
) -> Result<Seq, StoreError> {
    let failed = || in_database("read events", path);
    let query = "SELECT seq, at, version, payload FROM events WHERE seq > ? ORDER BY seq LIMIT ?";
    let mut query = connection.prepare_cached(query).map_err(failed())?;
    // A position beyond every possible event is like one beyond the last.
    let start = i64::try_from(after.0).unwrap_or(i64::MAX);
    let mut rows = query.query([start, limit]).map_err(failed())?;
    let mut last = after;
    while let Some(row) = rows.next().map_err(failed())? {
        let (seq, at, event) = read_event(row, path)?;
        if seq.0 != last.0 + 1 {
            return Err(StoreError::Missing(Seq(last.0 + 1)));
        }
        each(seq, at, event);
        last = seq;
    }
    Ok(last)
}

/// An event from `seq, at, version, payload`.
fn read_event(row: &Row<'_>, path: &Path) -> Result<(Seq, Timestamp, Event), StoreError> {
    let read = || Ok((Seq(row.get(0)?), Timestamp(row.get(1)?), row.get(2)?, row.get_ref(3)?.as_bytes()?));
    let (seq, at, version, payload) = read().map_err(in_database("read events", path))?;
    let event = decode(version, payload).map_err(|source| StoreError::Event { seq, source })?;
    Ok((seq, at, event))
}

/// A text parameter, or NULL.
fn text(value: Option<String>) -> Value {
    value.map_or(Value::Null, Value::Text)
}
