//! What is followed, and what others may see of the git side.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::control::SyncStatus;
use crate::domain::catalog::{Catalog, ResolvedWorkflow};
use crate::domain::diagnostic::Diagnostics;
use crate::domain::files::FileSet;
use crate::domain::ids::CommitId;
use crate::domain::plan::model::Start;
use crate::domain::plan::{Between, Revision};
use crate::source::{Mirror, SourceSpec};

/// What is followed.
pub enum Followed {
    /// A ref of a repository, through a mirror of our own.
    Repository(Box<Mirror>),
    /// The files of a directory as they are on disk.
    Worktree(PathBuf),
}

impl Followed {
    /// How people know it, without credentials.
    pub fn shown(&self) -> (String, String) {
        match self {
            Self::Repository(mirror) => {
                let SourceSpec { url, reference } = mirror.spec();
                (url.to_string(), reference.to_string())
            }
            Self::Worktree(dir) => (dir.display().to_string(), "worktree".to_owned()),
        }
    }
}

/// What others may see of the git side.
#[derive(Default)]
pub struct Shared {
    /// How it stands.
    pub status: RwLock<SyncStatus>,
    /// What is applied, with the files that it was made of.
    pub applied: RwLock<Option<Arc<Wanted>>>,
    /// The problems of the newest commit.
    pub diagnostics: RwLock<Arc<Diagnostics>>,
}

/// A catalog with what it was made of.
pub struct Wanted {
    /// What it says.
    pub catalog: Arc<Catalog>,
    /// Which commit it is.
    pub revision: Revision,
    /// The files.
    pub files: FileSet,
    /// The commits before it that some workflow has not seen, oldest first.
    pub between: Vec<Between>,
}

impl Wanted {
    /// The workflow and the commit that a start of a plan for this means.
    pub fn meant(&self, start: &Start) -> (&ResolvedWorkflow, &CommitId) {
        let earlier = self.between.iter().find(|between| start.commit.as_ref() == Some(&between.commit));
        let earlier = earlier.and_then(|between| Some((between.workflows.get(&start.workflow)?, &between.commit)));
        earlier.unwrap_or_else(|| (&self.catalog.workflows[&start.workflow].item, &self.revision.commit))
    }
}

/// Writes a lock that cannot be poisoned by a reader.
pub fn set<T>(lock: &RwLock<T>, value: T) {
    *lock.write().unwrap_or_else(PoisonError::into_inner) = value;
}

/// Reads what a lock holds.
pub fn get<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}
