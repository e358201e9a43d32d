//! A store in memory, for tests and simulation. A clone is another server on the same data; appends can be made to fail.
//!
//! Events are kept as the bytes that a disk would hold, so that a simulation also tests that they can be written and
//! read.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Batch, History, KEPT_SNAPSHOTS, Loaded, MAX_EVENTS, MAX_FOUND, Snapshot, Store, StoreError, id_range};
use crate::domain::dispatch::event::{EVENT_VERSION, Event, decode};
use crate::domain::dispatch::history::{ConditionRow, MAX_PAGE, RowOp, RunFilter, RunOrder, RunRow, SyncRow, project};
use crate::domain::ids::{Digest, Epoch, RunId, Seq};
use crate::domain::time::Timestamp;

/// When an append that was made to fail does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was stored.
    Before,
    /// Everything was stored, but the writer does not learn of it.
    After,
}

/// A store in memory; clones share the data.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<RwLock<Data>>);

#[derive(Debug, Default)]
struct Data {
    epoch: Epoch,
    events: Vec<StoredEvent>,
    snapshots: BTreeMap<Seq, Snapshot>,
    bodies: BTreeMap<Digest, Vec<u8>>,
    runs: BTreeMap<Seq, RunRow>,
    ids: BTreeMap<RunId, Seq>,
    conditions: BTreeMap<RunId, Vec<ConditionRow>>,
    syncs: Vec<SyncRow>,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct StoredEvent {
    at: Timestamp,
    version: u32,
    payload: Vec<u8>,
}

impl MemoryStore {
    /// Makes the next append fail.
    pub fn fail_next_append(&self, fault: Fault) {
        self.write().fault = Some(fault);
    }

    /// Makes a stored event one of the release after this.
    pub fn make_newer(&self, seq: Seq) {
        let mut data = self.write();
        let stored = (seq.0 as usize).checked_sub(1).and_then(|index| data.events.get_mut(index));
        stored.expect("a stored event").version = EVENT_VERSION + 1;
    }

    fn read(&self) -> RwLockReadGuard<'_, Data> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Data> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn open_epoch(&mut self) -> Result<Epoch, StoreError> {
        let mut data = self.write();
        data.epoch.0 += 1;
        Ok(data.epoch)
    }

    fn append(&mut self, batch: &Batch) -> Result<Seq, StoreError> {
        let mut data = self.write();
        let fault = data.fault.take();
        if fault == Some(Fault::Before) {
            return Err(StoreError::Injected);
        }
        if batch.epoch != data.epoch {
            return Err(StoreError::Fenced { current: data.epoch, own: batch.epoch });
        }
        if batch.expected != data.last() {
            return Err(StoreError::Gap { actual: data.last(), expected: batch.expected });
        }
        let payloads: Result<Vec<_>, _> = batch.events.iter().map(serde_json::to_vec).collect();
        for (event, payload) in batch.events.iter().zip(payloads.map_err(StoreError::Encode)?) {
            data.events.push(StoredEvent { at: batch.at, version: EVENT_VERSION, payload });
            let mut ops = Vec::new();
            project(batch.at, data.last(), event, &mut ops);
            ops.into_iter().for_each(|op| data.apply(op));
        }
        for (digest, body) in &batch.bodies {
            data.bodies.entry(*digest).or_insert_with(|| body.clone());
        }
        if fault.is_some() { Err(StoreError::Injected) } else { Ok(data.last()) }
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let data = self.read();
        Ok(Loaded { last: data.last(), snapshot: data.snapshots.values().next_back().cloned() })
    }

    fn replay(&mut self, after: Seq, each: &mut dyn FnMut(Seq, Timestamp, Event)) -> Result<Seq, StoreError> {
        let data = self.read();
        for (seq, stored) in data.events_after(after) {
            each(seq, stored.at, stored.decode(seq)?);
        }
        Ok(data.last())
    }

    fn save_snapshot(&mut self, seq: Seq, version: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let mut data = self.write();
        if seq > data.last() {
            return Err(StoreError::Gap { actual: data.last(), expected: seq });
        }
        data.snapshots.insert(seq, Snapshot { seq, version, data: bytes.to_vec() });
        while data.snapshots.len() > KEPT_SNAPSHOTS {
            data.snapshots.pop_first();
        }
        Ok(())
    }

    fn reader(&self) -> Arc<dyn History> {
        Arc::new(self.clone())
    }
}

impl History for MemoryStore {
    fn run(&self, id: RunId) -> Result<Option<RunRow>, StoreError> {
        let data = self.read();
        Ok(data.ids.get(&id).and_then(|seq| data.runs.get(seq)).cloned())
    }

    fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let data = self.read();
        let beyond = |run: &&RunRow| match (filter.cursor, filter.order) {
            (None, _) => true,
            (Some(cursor), RunOrder::NewestFirst) => run.seq < cursor,
            (Some(cursor), RunOrder::OldestFirst) => run.seq > cursor,
        };
        let mut wanted: Vec<&RunRow> = data.runs.values().filter(|run| filter.wants(run)).filter(beyond).collect();
        wanted.sort_by(|a, b| filter.compare(a, b));
        let page = wanted.into_iter().skip(filter.skip).take(filter.limit.min(MAX_PAGE));
        Ok(page.cloned().collect())
    }

    fn count(&self, filter: &RunFilter) -> Result<u64, StoreError> {
        Ok(self.read().runs.values().filter(|run| filter.wants(run)).count() as u64)
    }

    fn conditions(&self, run: RunId) -> Result<Vec<ConditionRow>, StoreError> {
        Ok(self.read().conditions.get(&run).cloned().unwrap_or_default())
    }

    fn syncs(&self, before: Option<Seq>, limit: usize) -> Result<Vec<SyncRow>, StoreError> {
        let data = self.read();
        let older = data.syncs.iter().rev().filter(|sync| before.is_none_or(|before| sync.seq < before));
        Ok(older.take(limit.min(MAX_PAGE)).cloned().collect())
    }

    fn body(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().bodies.get(&digest).cloned())
    }

    fn find(&self, prefix: &str) -> Result<Vec<RunId>, StoreError> {
        let Some((low, high)) = id_range(prefix) else { return Ok(Vec::new()) };
        Ok(self.read().ids.range(low..=high).take(MAX_FOUND).map(|(id, _)| *id).collect())
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<(Seq, Timestamp, Event)>, StoreError> {
        let data = self.read();
        let page = data.events_after(after).take(limit.min(MAX_EVENTS));
        page.map(|(seq, stored)| Ok((seq, stored.at, stored.decode(seq)?))).collect()
    }
}

impl Data {
    fn last(&self) -> Seq {
        Seq(self.events.len() as u64)
    }

    fn events_after(&self, after: Seq) -> impl Iterator<Item = (Seq, &StoredEvent)> {
        self.events.iter().zip(1..).map(|(event, seq)| (Seq(seq), event)).skip(after.0 as usize)
    }

    fn apply(&mut self, op: RowOp) {
        match op {
            RowOp::Insert(row) => {
                if let Some(old) = self.ids.insert(row.id, row.seq) {
                    self.runs.remove(&old);
                }
                self.runs.insert(row.seq, *row);
            }
            RowOp::Update(id, patch) => {
                if let Some(row) = self.ids.get(&id).and_then(|seq| self.runs.get_mut(seq)) {
                    patch.apply(row);
                }
            }
            RowOp::Condition(row) => {
                if self.ids.contains_key(&row.run) {
                    self.conditions.entry(row.run).or_default().push(row);
                }
            }
            RowOp::Rename(names) => {
                for row in self.runs.values_mut().filter(|row| row.finished_at.is_none()) {
                    if let Some(name) = names.get(&row.queue) {
                        row.queue = name.clone();
                    }
                }
            }
            RowOp::Delete(id) => {
                if let Some(seq) = self.ids.remove(&id) {
                    self.runs.remove(&seq);
                }
                self.conditions.remove(&id);
            }
            RowOp::Sync(row) => self.syncs.push(row),
        }
    }
}

impl StoredEvent {
    fn decode(&self, seq: Seq) -> Result<Event, StoreError> {
        decode(self.version, &self.payload).map_err(|source| StoreError::Event { seq, source })
    }
}
