//! Outcomes that another run may take over: those of finished runs that asked to be cached, by what they were made of.
//!
//! What is kept here is a cache in every sense: what falls out of it runs again. A run that takes an outcome over is
//! created and ended in one transaction, so that no crash can come between.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{Event, NewRun, Origin};
use super::observation::Cause;
use super::status::Status;
use crate::domain::ids::{Digest, RunId};
use crate::domain::time::{Span, Timestamp};

/// The reason of a run that took over the outcome of another one.
pub const CACHE_HIT: &str = "CacheHit";

/// Outcomes that are kept at most: those of some days of a busy organization.
pub(super) const MAX_KEPT: usize = 10_000;
/// Bytes of outputs that are kept at most, over all outcomes.
const MAX_BYTES: usize = 32 << 20;

/// What a run asks of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheAsk {
    /// What it is made of: equal for runs of which one may stand for the other.
    pub key: Digest,
    /// How old an outcome may be; any age when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// What it comes to whatever it reports itself: who takes its outcome over has this too.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
}

/// An outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Whose it is.
    pub run: RunId,
    /// When that run ended.
    pub at: Timestamp,
    /// What it reported.
    pub outputs: Map<String, Value>,
}

/// The outcomes that are kept, and the unfinished runs whose outcome will be.
#[derive(Debug, Clone, Default)]
pub(super) struct Cached {
    /// With the place of each in the order of age.
    kept: BTreeMap<Digest, (u64, Kept)>,
    /// Oldest first.
    order: BTreeMap<u64, Digest>,
    /// By whose they are: one that went on as another operation may have several.
    of: BTreeMap<RunId, BTreeSet<Digest>>,
    asking: BTreeMap<RunId, CacheAsk>,
    bytes: usize,
}

impl Cached {
    /// The outcome that a new run may take over.
    pub fn hit(&self, new: &NewRun, now: Timestamp) -> Option<&Kept> {
        let waits = new.needs_approval || new.unprepared || new.resumes.is_some();
        let ask = new.cache.as_ref().filter(|_| !waits && new.pipeline.is_none())?;
        let fresh = |kept: &&Kept| ask.ttl.is_none_or(|ttl| now.since(kept.at) < ttl);
        self.kept.get(&ask.key).map(|(_, kept)| kept).filter(fresh)
    }

    /// Takes in what has happened.
    pub fn saw(&mut self, event: &Event) {
        match event {
            Event::RunCreated(new) => {
                let again = matches!(new.origin, Origin::Restart { .. } | Origin::Copy { .. });
                self.asking.extend(new.cache.as_ref().filter(|_| !again).map(|ask| (new.id, ask.clone())));
            }
            Event::RunFinished { run, status, cause, outputs, at, .. } => {
                let ask = self.asking.remove(run);
                if let Some(ask) = ask.filter(|_| *status == Status::Succeeded && cause.reason != CACHE_HIT) {
                    let mut all = ask.outputs;
                    all.extend(outputs.clone());
                    self.keep(ask.key, Kept { run: *run, at: *at, outputs: all });
                }
            }
            Event::RunDeleted { run } => {
                let gone = self.of.get(run).cloned().unwrap_or_default();
                gone.iter().for_each(|key| self.forget(key));
            }
            _ => {}
        }
    }

    fn keep(&mut self, key: Digest, kept: Kept) {
        self.forget(&key);
        self.bytes += size(&kept);
        let turn = self.order.last_key_value().map_or(0, |(turn, _)| turn + 1);
        self.order.insert(turn, key);
        self.of.entry(kept.run).or_default().insert(key);
        self.kept.insert(key, (turn, kept));
        while self.kept.len() > MAX_KEPT || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.order.first_key_value() else { return };
            let oldest = *oldest;
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, key: &Digest) {
        if let Some((turn, gone)) = self.kept.remove(key) {
            self.order.remove(&turn);
            if let Some(keys) = self.of.get_mut(&gone.run) {
                keys.remove(key);
                if keys.is_empty() {
                    self.of.remove(&gone.run);
                }
            }
            self.bytes -= size(&gone);
        }
    }

    /// The outcomes that are kept, oldest first; for a snapshot.
    pub fn kept(&self) -> Vec<(Digest, Kept)> {
        let in_order = self.order.values().filter_map(|key| Some((*key, self.kept.get(key)?.1.clone())));
        in_order.collect()
    }

    /// The runs whose outcome will be kept, and what they asked; for a snapshot.
    pub fn asking(&self) -> Vec<(RunId, CacheAsk)> {
        self.asking.iter().map(|(run, ask)| (*run, ask.clone())).collect()
    }

    /// From a snapshot.
    pub fn restore(kept: Vec<(Digest, Kept)>, asking: Vec<(RunId, CacheAsk)>) -> Self {
        let mut cached = Self { asking: asking.into_iter().collect(), ..Self::default() };
        kept.into_iter().for_each(|(key, kept)| cached.keep(key, kept));
        cached
    }
}

/// The end of a run that takes an outcome over.
pub(super) fn taken_over(run: RunId, kept: &Kept, now: Timestamp) -> Event {
    let message = format!("it did not run: its outputs are those of run {}, which ended at {}", kept.run, kept.at);
    Event::RunFinished {
        run,
        status: Status::Succeeded,
        cause: Cause::new(CACHE_HIT, message),
        exit_code: None,
        outputs: kept.outputs.clone(),
        at: now,
    }
}

fn size(kept: &Kept) -> usize {
    serde_json::to_vec(&kept.outputs).map_or(0, |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_outcomes_make_room() {
        let mut cached = Cached::default();
        let id = |n: usize| RunId(uuid::Uuid::from_u128(n as u128));
        let key = |n: usize| Digest::of(&n.to_le_bytes());
        let kept = |n: usize| Kept { run: id(n), at: Timestamp(n as i64), outputs: Map::new() };
        (0..MAX_KEPT + 5).for_each(|n| cached.keep(key(n), kept(n)));
        assert_eq!(cached.kept.len(), MAX_KEPT);
        assert!(!cached.kept.contains_key(&key(4)) && cached.kept.contains_key(&key(5)));
        let large = Map::from_iter([("text".to_owned(), Value::from("x".repeat(MAX_BYTES)))]);
        cached.keep(key(0), Kept { outputs: large, ..kept(0) });
        assert_eq!((cached.kept.len(), cached.bytes), (0, 0), "what is too large for all is not kept");
        assert!(cached.order.is_empty() && cached.of.is_empty(), "nothing is left of what made room");
    }

    #[test]
    fn a_run_that_succeeded_again_is_as_young_as_its_newest_outcome() {
        let mut cached = Cached::default();
        let kept =
            |n: u128, at: i64| Kept { run: RunId(uuid::Uuid::from_u128(n)), at: Timestamp(at), outputs: Map::new() };
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        [(a, kept(1, 1)), (b, kept(2, 2)), (a, kept(1, 3))].into_iter().for_each(|(key, kept)| cached.keep(key, kept));
        assert_eq!(cached.kept(), [(b, kept(2, 2)), (a, kept(1, 3))], "once, and last");
        cached.saw(&Event::RunDeleted { run: kept(1, 0).run });
        assert_eq!(cached.kept(), [(b, kept(2, 2))]);
    }
}
