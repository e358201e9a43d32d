//! The store: the log of events, snapshots of the state, content bodies, and the history that readers see.
//!
//! One writer appends a batch in one transaction: events, bodies and rows of history together, durable on return.
//! Readers go through [`History`] from any thread and never block the writer. `tests/stores.rs` holds every store to
//! the same behaviour.

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::dispatch::event::{DecodeError, Event};
use crate::domain::dispatch::history::{ConditionRow, RunFilter, RunRow, SyncRow};
use crate::domain::ids::{Digest, Epoch, RunId, Seq};
use crate::domain::time::Timestamp;

pub mod memory;
pub mod sqlite;

pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

/// Snapshots that are kept: the newest, and one more in case a release cannot read it.
pub const KEPT_SNAPSHOTS: usize = 2;
/// Most runs that a prefix of an id is resolved to: enough to say that it is ambiguous.
pub const MAX_FOUND: usize = 10;
/// Most events of one answer to a watcher; it asks again for more.
pub const MAX_EVENTS: usize = 10_000;

/// What is appended together or not at all.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The last event before these.
    pub expected: Seq,
    /// The term of the writer.
    pub epoch: Epoch,
    /// When this was decided; never earlier than the batch before.
    pub at: Timestamp,
    /// What was decided, in order.
    pub events: Vec<Event>,
    /// Contents that the events refer to by digest; one that is there already is left as it is.
    pub bodies: Vec<(Digest, Vec<u8>)>,
}

/// What a starting server finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The last event of the log.
    pub last: Seq,
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
}

/// The state at some event, as its owner wrote it. It is a cache: one that cannot be read is thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event that it holds.
    pub seq: Seq,
    /// The form of `data`.
    pub version: u32,
    /// The state.
    pub data: Vec<u8>,
}

/// The one writer; owned by the thread that decides.
pub trait Store: Send {
    /// Takes the next term; every older writer fails from now on.
    fn open_epoch(&mut self) -> Result<Epoch, StoreError>;

    /// Appends a batch in one transaction and gives the seq of its last event. Durable on return. After any error the
    /// batch may or may not be there: rebuild the state from [`Store::load`].
    fn append(&mut self, batch: &Batch) -> Result<Seq, StoreError>;

    /// The end of the log and the newest snapshot.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Hands over every event after `after`, in order, and gives the seq of the last.
    fn replay(&mut self, after: Seq, each: &mut dyn FnMut(Seq, Timestamp, Event)) -> Result<Seq, StoreError>;

    /// Keeps a snapshot of the state at `seq`, and the one before it.
    fn save_snapshot(&mut self, seq: Seq, version: u32, data: &[u8]) -> Result<(), StoreError>;

    /// Readers' access, for any thread.
    fn reader(&self) -> Arc<dyn History>;
}

/// What readers may ask; each answer is consistent in itself.
pub trait History: Send + Sync {
    /// One run.
    fn run(&self, id: RunId) -> Result<Option<RunRow>, StoreError>;

    /// A page of runs.
    fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError>;

    /// How many runs there are on all pages.
    fn count(&self, filter: &RunFilter) -> Result<u64, StoreError>;

    /// The timeline of a run, oldest first.
    fn conditions(&self, run: RunId) -> Result<Vec<ConditionRow>, StoreError>;

    /// Applied commits before some position (or all), newest first; at most
    /// [`MAX_PAGE`](crate::domain::dispatch::history::MAX_PAGE).
    fn syncs(&self, before: Option<Seq>, limit: usize) -> Result<Vec<SyncRow>, StoreError>;

    /// A stored content.
    fn body(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Runs whose id begins so (with or without dashes), in order of id; at most [`MAX_FOUND`].
    fn find(&self, prefix: &str) -> Result<Vec<RunId>, StoreError>;

    /// Events after some position, in order; at most [`MAX_EVENTS`].
    fn events(&self, after: Seq, limit: usize) -> Result<Vec<(Seq, Timestamp, Event)>, StoreError>;
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A second server on one data directory.
    #[error("data directory {} is in use by another server: stop that one, or give this one its own --data-dir", .0.display())]
    InUse(PathBuf),
    /// A file of the data directory.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file is not a database, or is no longer a sound one.
    #[error("{} is damaged or is not a database: move it away and restore a backup", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The database was written by a newer release.
    #[error(
        "{} has layout {found}, this release knows layouts up to {known}: use the release that wrote it",
        path.display()
    )]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest layout of this release.
        known: i64,
    },
    /// Any other trouble with the database.
    #[error("cannot {action} in {}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Another writer has taken over.
    #[error("another server has taken over (term {}, this one has term {}): this one must stop", current.0, own.0)]
    Fenced {
        /// The term of the one that may write.
        current: Epoch,
        /// The term of the one that tried.
        own: Epoch,
    },
    /// The batch does not follow the log, or the snapshot is ahead of it.
    #[error("the log ends at event {}, not at event {}: the state must be rebuilt from it", actual.0, expected.0)]
    Gap {
        /// The last event of the log.
        actual: Seq,
        /// What the writer took for it.
        expected: Seq,
    },
    /// An event cannot be read: nothing after it can be, either.
    #[error("event {} of the log cannot be read", seq.0)]
    Event {
        /// Which event.
        seq: Seq,
        /// Why.
        source: DecodeError,
    },
    /// An event is missing.
    #[error("event {} is missing from the log: restore a backup", .0.0)]
    Missing(Seq),
    /// An event cannot be written.
    #[error("an event cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// A test made this append fail.
    #[error("the append was made to fail")]
    Injected,
}

/// The lowest and highest id that begin with a prefix of hexadecimal digits, dashes left out; `None` for other text.
fn id_range(prefix: &str) -> Option<(RunId, RunId)> {
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    Some((RunId::parse(&format!("{digits:0<32}"))?, RunId::parse(&format!("{digits:f<32}"))?))
}
