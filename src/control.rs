//! The control plane: introduces source, store, engine and targets to one another, and offers what the API needs.
//!
//! Nothing in here decides: it fetches what a decision needs, asks the engine, and shows what came of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;

use crate::domain::catalog::Catalog;
use crate::domain::diagnostic::Diagnostics;
use crate::domain::ids::{CommitId, Digest, RunId};
use crate::domain::time::Timestamp;
use crate::engine::Engine;

/// What the git side of a server is doing.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// What is followed, without credentials.
    pub source: String,
    /// The branch, tag or commit.
    pub reference: String,
    /// The commit that is applied.
    pub applied: Option<CommitId>,
    /// The newest commit that was seen.
    pub seen: Option<CommitId>,
    /// When the source was last looked at with success.
    pub checked_at: Option<Timestamp>,
    /// Why the last look or apply failed, when it did.
    pub error: Option<String>,
    /// Whether new commits are left alone.
    pub paused: bool,
    /// The commit that is followed in place of the branch, after a rollback.
    pub pinned: Option<CommitId>,
    /// A plan with runs that a guard holds back until somebody approves.
    pub held: Option<HeldPlan>,
    /// Errors and warnings of the newest commit.
    pub errors: usize,
    /// See `errors`.
    pub warnings: usize,
    /// What the last sync came to, one line.
    pub summary: String,
}

/// A plan that waits for approval.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldPlan {
    /// Its commit.
    pub commit: CommitId,
    /// Its digest: what is approved is exactly this.
    pub plan: Digest,
    /// Why it is held.
    pub reason: String,
}
