//! The git side: look at the source, compile, plan, apply; one thread, one commit at a time. This file is the thread:
//! what it is told, and what it does about it.
//!
//! Level-triggered: whatever the reason to look, the newest commit is compared with what is applied, and nothing
//! happens when they are the same. A commit that cannot be read or used changes nothing; the last good state stays.

mod apply;
mod last_plan;
mod look;
mod shared;
mod sides;

use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

pub use self::last_plan::LastPlan;
pub use self::look::revision_of;
pub use self::shared::{Followed, Shared, Wanted, get, set};
pub use self::sides::{Desired, Sides};
use crate::domain::diagnostic::counted;
use crate::domain::dispatch::command::Rejection;
use crate::domain::ids::{CommitId, Digest, RunId};
use crate::domain::spec::FirstSync;
use crate::effects::Effects;
use crate::engine::{Engine, error_chain, wall_clock};
use crate::source::{SourceError, Watcher};
use crate::store::StoreError;
use crate::switches::{Positions, Switches};

/// How long memory is free, at most, before the allocator is told: mimalloc gives back what has been free for 100 ms.
const FREE_FOR: Duration = Duration::from_millis(150);

/// What the reconciler is told.
pub enum Nudge {
    /// Something may have changed.
    Look,
    /// Somebody wants a look even if nothing seems to have changed.
    Now,
    /// Follow this revision in place of the branch; `None`: the branch again.
    Pin(Option<String>, tokio::sync::oneshot::Sender<Result<CommitId, String>>),
    /// Leave new commits alone, or take them again.
    Pause(bool),
    /// Start what a guard held, if the plan is still this one.
    Approve(Digest, tokio::sync::oneshot::Sender<Result<usize, String>>),
    /// End.
    Stop,
}

/// The way to tell the reconciler something.
pub type Nudges = Sender<Nudge>;

/// The git side.
pub struct Reconciler {
    /// What is followed.
    pub followed: Followed,
    /// Where decisions are made.
    pub engine: Engine,
    /// Where agents are opened.
    pub effects: Effects,
    /// What others see.
    pub shared: Arc<Shared>,
    /// What the first sync does, when it is not what the organization says.
    pub first_sync: Option<FirstSync>,
    /// Where plans are kept for those who ask.
    pub last_plan: LastPlan,
    /// What people told it.
    pub switches: Switches,
    /// The commit that needs no second look: all that it asks for was done.
    pub settled: Option<CommitId>,
}

/// Why a sync came to nothing.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the commit was not applied: {0}")]
    Engine(#[from] crate::engine::EngineError),
    #[error("the commit was not applied: {0}")]
    Refused(Rejection),
    #[error("the commit was not applied: {0}")]
    Guard(String),
    #[error("the commit was not applied: the runs of removed workflows cannot be read")]
    History(#[from] StoreError),
    #[error("what was asked for cannot be remembered in the data directory")]
    Switches(#[from] std::io::Error),
    #[error("a working tree has no other revision to follow")]
    NoRevisions,
    #[error("{} in the files of {commit}; what was applied before stays", counted(*errors, "error"))]
    Invalid { commit: CommitId, errors: usize },
}

/// How a start that a guard held is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permission {
    /// Guards hold.
    Usual,
    /// Somebody approved exactly this plan.
    Approved(Digest),
}

impl Reconciler {
    /// Runs until it is told to stop.
    pub fn run(mut self, nudges: &Receiver<Nudge>, watcher: &Watcher) {
        self.resume();
        let mut next = Some(Nudge::Look);
        while let Some(nudge) = next.take().or_else(|| nudges.recv().ok()) {
            match nudge {
                Nudge::Stop => return,
                Nudge::Look | Nudge::Now => {
                    let (now, after) = merged(&nudge, nudges);
                    next = after;
                    if now || !self.switches.positions().paused {
                        let result = self.sync(now, Permission::Usual);
                        self.told(result.map(|_| ()), watcher);
                    }
                }
                Nudge::Pause(paused) => {
                    let positions = Positions { paused, ..self.switches.positions().clone() };
                    if let Err(error) = self.switches.set(positions) {
                        self.told(Err(error.into()), watcher);
                    } else if !paused {
                        next = Some(Nudge::Look);
                    }
                }
                Nudge::Pin(revision, answer) => {
                    let result = self.pin(revision.as_deref());
                    let said = result.as_ref().map(|(commit, _)| commit.clone()).map_err(|error| error_chain(error));
                    self.told(result.map(|_| ()), watcher);
                    let _ = answer.send(said);
                }
                Nudge::Approve(digest, answer) => {
                    let result = self.sync(true, Permission::Approved(digest));
                    let said = result.as_ref().map(|(_, starts)| *starts).map_err(|error| error_chain(error));
                    self.told(result.map(|_| ()), watcher);
                    let _ = answer.send(said);
                }
            }
        }
    }

    /// Follows a revision in place of the branch, or the branch again. When that does not succeed it follows what it
    /// followed before.
    fn pin(&mut self, revision: Option<&str>) -> Result<(CommitId, usize), SyncError> {
        let before = self.switches.positions().clone();
        let pinned = match (&self.followed, revision) {
            (_, None) => None,
            (Followed::Worktree(_), Some(_)) => return Err(SyncError::NoRevisions),
            // A rollback must not depend on the network; what is not here yet is asked for.
            (Followed::Repository(mirror), Some(revision)) => Some(match mirror.resolve(revision) {
                Ok(commit) => commit,
                Err(_) => {
                    mirror.fetch()?;
                    mirror.resolve(revision)?
                }
            }),
        };
        // Before it is applied: a server that dies in between must not go back to the branch.
        self.switches.set(Positions { pinned, ..before.clone() })?;
        let result = self.sync(true, Permission::Usual);
        if result.is_err() {
            self.switches.set(before)?;
        }
        result
    }

    /// After a start of the server: what is applied is read again from the mirror, and its agents are opened.
    fn resume(&mut self) {
        apart(|| self.recall());
        if let Some(applied) = get(&self.shared.applied) {
            self.effects.set_owner(applied.catalog.organization.item.name.to_string());
        }
        let agents = self.engine.read(|state| state.agents().map(|a| (a.name.clone(), a.policy.clone())).collect());
        self.effects.set_agents(agents);
        self.show_switches();
    }

    fn show_switches(&self) {
        let mut status = self.shared.status.write().unwrap_or_else(PoisonError::into_inner);
        let Positions { paused, pinned } = self.switches.positions().clone();
        (status.paused, status.pinned) = (paused, pinned);
    }

    fn told(&self, result: Result<(), SyncError>, watcher: &Watcher) {
        match &result {
            Ok(()) => watcher.succeeded(),
            Err(SyncError::Source(error)) => watcher.failed(error),
            Err(_) => {}
        }
        self.show_switches();
        let mut status = self.shared.status.write().unwrap_or_else(PoisonError::into_inner);
        status.error = result.as_ref().err().map(|error| error_chain(error));
        if result.is_ok() {
            status.checked_at = Some(wall_clock());
        } else if let Some(error) = &status.error {
            tracing::warn!(error, "sync");
        }
    }

    /// One look: the commit, and how many runs were started. Plans again when something else was applied meanwhile.
    fn sync(&mut self, even_unchanged: bool, permission: Permission) -> Result<(CommitId, usize), SyncError> {
        apart(|| match self.look(even_unchanged, permission) {
            Err(SyncError::Refused(Rejection::Stale { .. })) => self.look(even_unchanged, permission),
            other => other,
        })
    }
}

/// Works in a thread of its own: at its end the allocator gives back what the work needed for a moment and what has been
/// free for a while. It waits for that no longer than the work took: little work leaves little behind.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        let begun = Instant::now();
        let done = work();
        std::thread::sleep(begun.elapsed().min(FREE_FOR));
        done
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// Many nudges are one look; whether somebody wants it in any case, and what else was said.
fn merged(first: &Nudge, nudges: &Receiver<Nudge>) -> (bool, Option<Nudge>) {
    let mut now = matches!(first, Nudge::Now);
    loop {
        match nudges.try_recv() {
            Ok(Nudge::Look) => {}
            Ok(Nudge::Now) => now = true,
            other => return (now, other.ok()),
        }
    }
}

/// A new run's id. Random, so that its first digits are enough to tell it from its neighbours.
pub fn new_run_id() -> RunId {
    RunId(uuid::Uuid::new_v4())
}
