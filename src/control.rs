//! The control plane: introduces source, store, engine and targets to one another, and offers what the API needs.
//!
//! Nothing in here decides: it fetches what a decision needs, asks the engine, and shows what came of it.

mod starting;

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::conductor::{Conducting, Outside};
use crate::domain::catalog::Catalog;
use crate::domain::compile::compile;
use crate::domain::diagnostic::{Diagnostics, counted};
use crate::domain::dispatch::command::Rejection;
use crate::domain::dispatch::event::RevisionApplied;
use crate::domain::dispatch::history::RunRow;
use crate::domain::files::FileSet;
use crate::domain::ids::{AgentName, AttemptName, CommitId, Digest};
use crate::domain::plan::{Plan, Standing, overrides};
use crate::domain::spec::FirstSync;
use crate::domain::time::Timestamp;
use crate::effects::{Effects, Unstarted};
use crate::engine::{Engine, EngineError};
use crate::reconciler::{Desired, Followed, LastPlan, Nudge, Nudges, Reconciler, Shared, Sides, get, revision_of, set};
use crate::revision::policies;
use crate::source::{Mirror, SourceError, SourceSpec, Watch, Watcher};
use crate::store::{SqliteStore, StoreError};
use crate::switches::Switches;
use crate::timekeeper::Timekeeper;

pub use starting::{Again, StartRequest, StartSource};

/// How often a source is looked at without a hint.
pub const POLL_INTERVAL: Duration = Duration::from_secs(60);

/// What a server is made of.
pub struct Settings {
    /// What it follows.
    pub source: SourceSetting,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// The binary that local agents are supervised with.
    pub program: PathBuf,
    /// What the first sync does, when it is not what the organization says.
    pub first_sync: Option<FirstSync>,
    /// How often the source is looked at without a hint.
    pub poll: Duration,
}

/// What a server follows.
pub enum SourceSetting {
    /// A ref of a repository.
    Repository(SourceSpec),
    /// The files of a directory as they are on disk.
    Worktree(PathBuf),
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot make the data directory {}", .0.display())]
    DataDir(PathBuf, #[source] std::io::Error),
    /// What people told the git side cannot be read.
    #[error("cannot read what was paused and pinned in {}", .0.display())]
    Switches(PathBuf, #[source] std::io::Error),
    /// The store cannot be opened or read.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// The source cannot be opened.
    #[error("the source cannot be opened")]
    Source(#[from] SourceError),
}

/// Why something that was asked for did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What was sent has errors.
    #[error("what was sent has {}", counted(.0.errors(), "error"))]
    Invalid(Diagnostics),
    /// The state machine refused.
    #[error("{0}")]
    Refused(#[from] Rejection),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Conflict(String),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The history cannot be read.
    #[error("the history cannot be read: {0}")]
    History(#[from] StoreError),
    /// The git side failed.
    #[error("{0}")]
    Source(String),
}

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
    /// Errors of the newest commit.
    pub errors: usize,
    /// Warnings of the newest commit.
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

/// The control plane; cheap to clone.
#[derive(Clone)]
pub struct ControlPlane(Arc<Inner>);

struct Inner {
    engine: Engine,
    effects: Effects,
    conducting: Conducting,
    timing: Sender<()>,
    shared: Arc<Shared>,
    nudges: Nudges,
    watcher: Arc<Watcher>,
    last_plan: LastPlan,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl ControlPlane {
    /// Opens everything and starts the threads: engine, courier, reconciler, watcher.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings { source, data_dir, program, first_sync, poll } = settings;
        std::fs::create_dir_all(&data_dir).map_err(|error| StartError::DataDir(data_dir.clone(), error))?;
        let data_dir = data_dir.canonicalize().map_err(|error| StartError::DataDir(data_dir.clone(), error))?;
        let store = SqliteStore::open(&data_dir)?;
        let switches = Switches::load(&data_dir).map_err(|error| StartError::Switches(data_dir.clone(), error))?;
        let last_plan = LastPlan::of(&data_dir);
        let unstarted = Unstarted::new();
        let effects = unstarted.handle();
        let unled = crate::conductor::Unstarted::new();
        let conducting = unled.handle();
        let (owing, leading) = (effects.clone(), conducting.clone());
        let sink = move |_, _, events: &[_]| {
            owing.saved(events);
            leading.saved(events);
        };
        let (engine, engine_thread) = Engine::start(Box::new(store), Box::new(sink))?;
        let conductor = {
            let (effects, named) = (effects.clone(), effects.clone());
            let metrics = Box::new(move |agent: &_, attempt| effects.metrics_file(agent, attempt));
            unled.start(engine.clone(), Outside { metrics, owner: Box::new(move || named.owner()) })
        };
        let courier = unstarted.start(engine.clone(), data_dir.clone(), program);
        let (followed, watch) = match source {
            SourceSetting::Repository(spec) => {
                let watch = spec.url.local_path().map_or(Watch::Clock, |path| Watch::Refs(path.to_owned()));
                (Followed::Repository(Box::new(Mirror::open(data_dir.join("mirror"), spec)?)), watch)
            }
            SourceSetting::Worktree(dir) => (Followed::Worktree(dir.clone()), Watch::Files(dir)),
        };
        let shared = Arc::new(Shared::default());
        let (source, reference) = followed.shown();
        set(&shared.status, SyncStatus { source, reference, ..SyncStatus::default() });
        let (nudges, receive) = channel();
        let hints = nudges.clone();
        let watcher = Arc::new(Watcher::start(
            watch,
            poll,
            |trouble| tracing::warn!(error = &trouble as &dyn std::error::Error, "changes are only seen by polling"),
            move |_| drop(hints.send(Nudge::Look)),
        )?);
        let reconciler = Reconciler {
            followed,
            engine: engine.clone(),
            effects: effects.clone(),
            shared: shared.clone(),
            first_sync,
            last_plan: last_plan.clone(),
            switches,
            settled: None,
        };
        let watching = watcher.clone();
        let git = std::thread::spawn(move || reconciler.run(&receive, &watching));
        let (timing, timekeeper) = Timekeeper::start(engine.clone(), shared.clone());
        let threads = Mutex::new(vec![timekeeper, git, conductor, courier, engine_thread]);
        Ok(Self(Arc::new(Inner { engine, effects, conducting, timing, shared, nudges, watcher, last_plan, threads })))
    }

    /// Ends the threads, in the order in which they need one another; what runs on agents goes on.
    pub fn stop(&self) {
        let _ = self.0.nudges.send(Nudge::Stop);
        let _ = self.0.timing.send(());
        self.0.conducting.stop();
        self.0.effects.stop();
        self.0.engine.stop();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Where decisions are made.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// What is applied.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        get(&self.0.shared.applied).map(|applied| Arc::clone(&applied.catalog))
    }

    /// How the git side stands.
    pub fn sync_status(&self) -> SyncStatus {
        let mut status = get(&self.0.shared.status);
        status.applied = self.0.engine.read(|state| state.applied().map(|applied| applied.commit.clone()));
        status
    }

    /// Problems of the newest commit.
    pub fn diagnostics(&self) -> Diagnostics {
        get(&self.0.shared.diagnostics).as_ref().clone()
    }

    /// The plan of the last sync; `None` before the first.
    pub fn last_plan(&self) -> std::io::Result<Option<Plan>> {
        self.0.last_plan.read()
    }

    /// Looks at the source soon, even if it is paused, and heals what was changed behind git's back.
    pub fn sync_now(&self) {
        let _ = self.0.nudges.send(Nudge::Now);
    }

    /// Something may have changed (a webhook): looks soon; many hints in a short time become few looks.
    pub fn hint(&self) {
        self.0.watcher.nudge();
    }

    /// Leaves new commits alone, or takes them again; also after a restart.
    pub fn set_paused(&self, paused: bool) {
        self.0.shared.status.write().unwrap_or_else(PoisonError::into_inner).paused = paused;
        let _ = self.0.nudges.send(Nudge::Pause(paused));
    }

    /// Follows a revision in place of the branch, also after a restart; with `None` the branch again.
    pub async fn rollback(&self, revision: Option<String>) -> Result<CommitId, ControlError> {
        let (answer, reply) = tokio::sync::oneshot::channel();
        self.0.nudges.send(Nudge::Pin(revision, answer)).map_err(|_| EngineError::Stopped)?;
        reply.await.map_err(|_| EngineError::Stopped)?.map_err(ControlError::Source)
    }

    /// Starts what a guard held, if the plan is still this one; gives the number of runs started.
    pub async fn approve_plan(&self, plan: Digest) -> Result<usize, ControlError> {
        let (answer, reply) = tokio::sync::oneshot::channel();
        self.0.nudges.send(Nudge::Approve(plan, answer)).map_err(|_| EngineError::Stopped)?;
        reply.await.map_err(|_| EngineError::Stopped)?.map_err(ControlError::Conflict)
    }

    /// What applying these files would do; no plan when their policy is not sound.
    pub fn plan(&self, files: &FileSet) -> (Option<Plan>, Diagnostics) {
        let compiled = compile(files);
        let base = get(&self.0.shared.applied);
        let plan = compiled.catalog.map(|desired| {
            Sides::now(&self.0.engine, &self.0.effects, &self.0.shared).compare(
                base.as_deref(),
                &Desired { catalog: &desired, revision: &revision_of(files, "", Vec::new()), between: &[] },
                overrides(&files.message),
                Standing::Unmerged,
                &compiled.diagnostics,
            )
        });
        (plan, compiled.diagnostics)
    }

    /// What the policies of some files would change in the state as it is, if they are sound.
    pub fn policies(&self, files: &FileSet) -> (Option<RevisionApplied>, Diagnostics) {
        let compiled = compile(files);
        let catalog = compiled.catalog;
        let change = catalog.map(|catalog| self.0.engine.read(|state| policies(state, &catalog)));
        (change, compiled.diagnostics)
    }

    /// Requests that were sent to the cluster of an agent since this server began, if it is one.
    pub fn agent_requests(&self, agent: &AgentName) -> Option<u64> {
        self.0.effects.requests(agent)
    }

    /// Why an agent cannot be reached, when it cannot and that is known.
    pub fn agent_trouble(&self, agent: &AgentName) -> Option<String> {
        self.0.effects.trouble(agent)
    }

    /// Agents that were given up while their cluster was away, and that are looked out for.
    pub fn gone_agents(&self) -> std::collections::BTreeMap<AgentName, crate::domain::kubernetes::gone::Gone> {
        self.0.effects.gone()
    }

    /// The file with the log of a run's newest attempt, when its agent runs on this machine.
    pub fn log_file(&self, run: &RunRow) -> Option<PathBuf> {
        let attempt = AttemptName { run: run.id, attempt: run.attempt };
        (run.attempt.0 > 0).then(|| self.0.effects.log_file(&run.queue.agent, attempt)).flatten()
    }
}
