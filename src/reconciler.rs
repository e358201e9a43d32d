//! The git side: look at the source, compile, plan, apply; one thread, one commit at a time.
//!
//! Level-triggered: whatever the reason to look, the newest commit is compared with what is applied, and nothing
//! happens when they are the same. A commit that cannot be read or used changes nothing; the last good state stays.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, PoisonError, RwLock};

use crate::control::{HeldPlan, SyncStatus};
use crate::domain::catalog::Catalog;
use crate::domain::compile::{CompileCache, Compiled, compile_with};
use crate::domain::diagnostic::Diagnostics;
use crate::domain::dispatch::command::{Command, Outcome, Rejection};
use crate::domain::dispatch::event::{NewRun, Origin};
use crate::domain::dispatch::history::RunFilter;
use crate::domain::dispatch::status::Status;
use crate::domain::files::FileSet;
use crate::domain::ids::{CommitId, Digest, RunId, WorkflowName};
use crate::domain::plan::{Overrides, Plan, PlanInput, Revision, SourceRef, Standing, overrides, plan};
use crate::domain::spec::{FirstSync, WorkflowOnRemove};
use crate::domain::workflow::start::{Circumstances, of_workflow};
use crate::effects::Effects;
use crate::engine::{Engine, wall_clock};
use crate::revision;
use crate::source::{Mirror, SourceError, SourceSpec, Watcher, read_worktree};

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

/// What the reconciler is told.
pub enum Nudge {
    /// Something may have changed.
    Look,
    /// Somebody wants a look even if nothing seems to have changed.
    Now,
    /// Follow this revision in place of the branch; `None`: the branch again.
    Pin(Option<String>, tokio::sync::oneshot::Sender<Result<CommitId, String>>),
    /// Start what a guard held, if the plan is still this one.
    Approve(Digest, tokio::sync::oneshot::Sender<Result<usize, String>>),
    /// End.
    Stop,
}

/// What others may see of the git side.
#[derive(Default)]
pub struct Shared {
    /// How it stands.
    pub status: RwLock<SyncStatus>,
    /// What is applied, with the files that it was made of.
    pub applied: RwLock<Option<Arc<Wanted>>>,
    /// The plan of the last sync.
    pub plan: RwLock<Option<Arc<Plan>>>,
    /// The problems of the newest commit.
    pub diagnostics: RwLock<Arc<Diagnostics>>,
}

/// A catalog with what it was made of.
pub struct Wanted {
    /// What it says.
    pub catalog: Catalog,
    /// Which commit it is.
    pub revision: Revision,
    /// The files.
    pub files: FileSet,
}

/// Writes a lock that cannot be poisoned by a reader.
pub fn set<T>(lock: &RwLock<T>, value: T) {
    *lock.write().unwrap_or_else(PoisonError::into_inner) = value;
}

/// Reads what a lock holds.
pub fn get<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

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
    /// Compiled documents of unchanged files.
    pub cache: CompileCache,
    /// A revision that is followed in place of the branch.
    pub pinned: Option<String>,
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
    #[error("{errors} errors in the files of {commit}; what was applied before stays")]
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
        let mut pending = Some(Nudge::Look);
        loop {
            let Some(nudge) = pending.take().or_else(|| nudges.recv().ok()) else { return };
            let paused = get(&self.shared.status).paused;
            match nudge {
                Nudge::Stop => return,
                Nudge::Look if paused => {}
                Nudge::Look | Nudge::Now => {
                    let result = self.sync(nudge_is_now(&nudge), Permission::Usual);
                    self.told(result.map(|_| ()), watcher);
                }
                Nudge::Pin(revision, answer) => {
                    self.pinned = revision;
                    let result = self.sync(true, Permission::Usual);
                    let said = result.as_ref().map(|(commit, _)| commit.clone()).map_err(ToString::to_string);
                    if said.is_err() {
                        self.pinned = None;
                    }
                    self.told(result.map(|_| ()), watcher);
                    let _ = answer.send(said);
                }
                Nudge::Approve(digest, answer) => {
                    let result = self.sync(true, Permission::Approved(digest));
                    let said = result.as_ref().map(|(_, starts)| *starts).map_err(ToString::to_string);
                    self.told(result.map(|_| ()), watcher);
                    let _ = answer.send(said);
                }
            }
        }
    }

    /// After a start of the server: what is applied is read again from the mirror, and its agents are opened.
    fn resume(&mut self) {
        let agents = self.engine.read(|state| state.agents().map(|a| (a.name.clone(), a.policy.clone())).collect());
        self.effects.set_agents(agents);
        let Some(applied) = self.engine.read(|state| state.applied().cloned()) else { return };
        if let Followed::Repository(mirror) = &self.followed
            && let Ok(mut files) = mirror.read_specs(&applied.commit)
        {
            if applied.policy != applied.commit
                && let Ok(policy) = mirror.read_specs(&applied.policy)
            {
                files = with_policy_of(&files, &policy);
            }
            let compiled = compile_with(&files, &mut self.cache);
            if let Some(catalog) = compiled.catalog {
                let revision = revision_of(&files, &get(&self.shared.status).reference, Vec::new());
                set(&self.shared.applied, Some(Arc::new(Wanted { catalog, revision, files })));
            }
        }
    }

    fn told(&self, result: Result<(), SyncError>, watcher: &Watcher) {
        match &result {
            Ok(()) => watcher.succeeded(),
            Err(SyncError::Source(error)) => watcher.failed(error),
            Err(_) => {}
        }
        let mut status = self.shared.status.write().unwrap_or_else(PoisonError::into_inner);
        status.error = result.as_ref().err().map(|error| error_chain(error));
        status.pinned = self.pinned.as_ref().and(status.seen.clone());
        if result.is_ok() {
            status.checked_at = Some(wall_clock());
        } else if let Some(error) = &status.error {
            tracing::warn!(error, "sync");
        }
    }

    /// One look: the commit, and how many runs were started.
    fn sync(&mut self, even_unchanged: bool, permission: Permission) -> Result<(CommitId, usize), SyncError> {
        let applied = self.engine.read(|state| state.applied().map(|applied| applied.commit.clone()));
        let (files, dirty) = match &self.followed {
            Followed::Repository(mirror) => {
                let fetched = mirror.fetch()?;
                let commit = match &self.pinned {
                    Some(revision) => mirror.resolve(revision)?,
                    None => fetched.commit,
                };
                self.seen(&commit);
                let again = even_unchanged || get(&self.shared.status).error.is_some();
                if applied.as_ref() == Some(&commit) && !again {
                    return Ok((commit, 0));
                }
                (mirror.read_specs(&commit)?, Vec::new())
            }
            Followed::Worktree(dir) => {
                let mut files = read_worktree(dir)?;
                files.commit = worktree_commit(&files);
                self.seen(&files.commit);
                if applied.as_ref() == Some(&files.commit) && !even_unchanged && get(&self.shared.applied).is_some() {
                    return Ok((files.commit, 0));
                }
                let head = crate::source::head_of(dir)?;
                (files, head.map(|head| head.dirty).unwrap_or_default())
            }
        };
        self.apply(files, dirty, permission)
    }

    fn seen(&self, commit: &CommitId) {
        self.shared.status.write().unwrap_or_else(PoisonError::into_inner).seen = Some(commit.clone());
    }

    fn apply(&mut self, files: FileSet, dirty: Vec<String>, permission: Permission) -> Result<(CommitId, usize), SyncError> {
        let commit = files.commit.clone();
        let Compiled { catalog, diagnostics, .. } = compile_with(&files, &mut self.cache);
        set(&self.shared.diagnostics, Arc::new(diagnostics.clone()));
        {
            let mut status = self.shared.status.write().unwrap_or_else(PoisonError::into_inner);
            (status.errors, status.warnings) = (diagnostics.errors(), diagnostics.warnings());
        }
        let base = get(&self.shared.applied);
        let (catalog, files, policy) = match (catalog, &base) {
            (Some(catalog), _) => (catalog, files, commit.clone()),
            // The policy of this commit is not sound: the last good policy stays, and sound workflows go on with it.
            (None, Some(good)) => {
                let files = with_policy_of(&files, &good.files);
                let policy = self.engine.read(|state| state.applied().map(|applied| applied.policy.clone()));
                match compile_with(&files, &mut self.cache).catalog {
                    Some(catalog) => (catalog, files, policy.unwrap_or_else(|| commit.clone())),
                    None => return Err(SyncError::Invalid { commit, errors: diagnostics.errors() }),
                }
            }
            (None, None) => return Err(SyncError::Invalid { commit, errors: diagnostics.errors() }),
        };
        let unsound_policy = policy != commit;
        let reference = get(&self.shared.status).reference;
        let wanted = Wanted { catalog, revision: revision_of(&files, &reference, dirty), files };
        let mut exceptions = overrides(&wanted.files.message);
        let plan = self.plan(base.as_deref(), &wanted, exceptions, &diagnostics);
        let plan = match permission {
            Permission::Approved(digest) if plan.digest != digest => {
                return Err(SyncError::Guard(format!("plan {} is no longer what would be done: look again", digest.short())));
            }
            Permission::Approved(_) => {
                (exceptions.allow_starts, exceptions.allow_removals) = (Some(u32::MAX), Some(u32::MAX));
                self.plan(base.as_deref(), &wanted, exceptions, &diagnostics)
            }
            Permission::Usual => plan,
        };
        let held = plan.guards.iter().find(|guard| !guard.ok).map(|guard| HeldPlan {
            commit: commit.clone(),
            plan: plan.digest,
            reason: format!("{}: {}", guard.words, guard.remedy),
        });
        let plan = Arc::new(plan);
        set(&self.shared.plan, Some(plan.clone()));
        self.shared.status.write().unwrap_or_else(PoisonError::into_inner).held = held.clone();
        if let Some(refusing) = plan.guards.iter().find(|guard| !guard.ok && guard.id.refuses()) {
            return Err(SyncError::Guard(format!("{} ({})", refusing.words, refusing.remedy)));
        }
        let started = self.carry_out(&plan, &wanted, base.as_deref(), policy)?;
        let summary = summary_line(&plan, started);
        tracing::info!(commit = %commit.short(), summary, "synced");
        {
            let mut status = self.shared.status.write().unwrap_or_else(PoisonError::into_inner);
            (status.applied, status.summary) = (Some(commit.clone()), summary);
        }
        let errors = diagnostics.errors();
        set(&self.shared.applied, Some(Arc::new(wanted)));
        if unsound_policy { Err(SyncError::Invalid { commit, errors }) } else { Ok((commit, started)) }
    }

    fn plan(&self, base: Option<&Wanted>, wanted: &Wanted, overrides: Overrides, diagnostics: &Diagnostics) -> Plan {
        let mut desired = wanted.catalog.clone();
        if let Some(first_sync) = self.first_sync {
            desired.organization.item.first_sync = first_sync;
        }
        against_live(&self.engine, &self.shared, base, &desired, &wanted.revision, overrides, Standing::Followed, diagnostics)
    }

    /// Applies a plan that no guard refuses; gives the number of runs started.
    fn carry_out(&self, plan: &Plan, wanted: &Wanted, base: Option<&Wanted>, policy: CommitId) -> Result<usize, SyncError> {
        let mut bodies = Vec::new();
        let mut starts: Vec<NewRun> = Vec::new();
        for start in plan.admitted() {
            let workflow = &wanted.catalog.workflows[&start.workflow].item;
            let started = of_workflow(
                workflow,
                Circumstances {
                    id: new_run_id(),
                    project: start.workflow.project.clone(),
                    workflow: Some(start.workflow.workflow.clone()),
                    commit: Some(wanted.revision.commit.clone()),
                    queue: workflow.queue.clone(),
                    group: None,
                    origin: Origin::Push { reason: start.reason.clone() },
                },
            );
            bodies.push(started.body);
            starts.push(started.run);
        }
        let count = starts.len();
        let (based_on, revision) = self.engine.read(|state| {
            let based_on = state.applied().map(|applied| applied.commit.clone());
            (based_on, revision::revision(state, wanted, plan, policy, summary_line(plan, count)))
        });
        let stops = self.runs_to_stop(base, &wanted.catalog);
        let command = Command::ApplyRevision { based_on, revision: Box::new(revision), starts, stops };
        match self.engine.ask_blocking(command, bodies)? {
            Outcome::Refused(rejection) => Err(SyncError::Refused(rejection)),
            Outcome::Done | Outcome::Already => {
                let agents = wanted.catalog.agents.iter().map(|(name, agent)| (name.clone(), agent.item.clone()));
                self.effects.set_agents(agents.collect::<BTreeMap<_, _>>());
                Ok(count)
            }
        }
    }

    /// Runs of removed workflows that say what becomes of them.
    fn runs_to_stop(&self, base: Option<&Wanted>, desired: &Catalog) -> Vec<RunId> {
        let gone = |name: &&WorkflowName| !desired.workflows.contains_key(name) && !desired.unsound.contains_key(name);
        let mut stops = Vec::new();
        for (name, workflow) in base.iter().flat_map(|base| &base.catalog.workflows).filter(|(name, _)| gone(name)) {
            let statuses: Vec<Status> = Status::ALL
                .into_iter()
                .filter(|status| match workflow.item.on_remove {
                    WorkflowOnRemove::Keep => false,
                    WorkflowOnRemove::CancelQueued => !status.is_final() && !status.holds_slot(),
                    WorkflowOnRemove::CancelAll => !status.is_final(),
                })
                .collect();
            if !statuses.is_empty() {
                let filter = RunFilter { workflow: Some(name.clone()), statuses, ..RunFilter::default() };
                let rows = self.engine.all_runs(&filter, usize::MAX).unwrap_or_default();
                stops.extend(rows.iter().map(|row| row.id));
            }
        }
        stops
    }
}

/// Compares files with what is applied and live.
#[expect(clippy::too_many_arguments, reason = "each is one side of the comparison")]
pub fn against_live(
    engine: &Engine,
    shared: &Shared,
    base: Option<&Wanted>,
    desired: &Catalog,
    desired_info: &Revision,
    overrides: Overrides,
    standing: Standing,
    diagnostics: &Diagnostics,
) -> Plan {
    let status = get(&shared.status);
    let (live, admissions) = revision::live(engine);
    plan(&PlanInput {
        source: &SourceRef { id: status.source, git_ref: status.reference },
        base: base.map(|base| &base.catalog),
        desired,
        base_info: base.map(|base| &base.revision),
        desired_info,
        live: Some(&live),
        admissions: Some(&admissions),
        overrides,
        standing,
        now: wall_clock(),
        diagnostics,
    })
}

fn nudge_is_now(nudge: &Nudge) -> bool {
    matches!(nudge, Nudge::Now)
}

/// A new run's id; sorts by the time of its making.
pub fn new_run_id() -> RunId {
    RunId(uuid::Uuid::now_v7())
}

/// Files of a working tree have no commit; the id is made of what they hold.
fn worktree_commit(files: &FileSet) -> CommitId {
    let mut bytes = Vec::new();
    for file in &files.tree {
        bytes.extend(file.path.as_bytes());
        bytes.push(0);
        bytes.extend(file.id.as_bytes());
        bytes.push(0);
    }
    CommitId::new(&format!("worktree-{}", Digest::of(&bytes).short()))
}

/// What a revision is called in plans.
pub fn revision_of(files: &FileSet, label: &str, dirty: Vec<String>) -> Revision {
    Revision {
        commit: files.commit.clone(),
        label: label.to_owned(),
        dirty,
        message: files.message.clone(),
        time: Some(files.time),
    }
}

/// The files of one revision with the policy files of another.
fn with_policy_of(files: &FileSet, good: &FileSet) -> FileSet {
    let mut mixed = files.clone();
    mixed.files.retain(|file| !is_policy_file(&file.path));
    mixed.files.extend(good.files.iter().filter(|file| is_policy_file(&file.path)).cloned());
    mixed.files.sort_by(|a, b| a.path.cmp(&b.path));
    mixed
}

/// Whether a file is of those that apply all or none: by the folders of design §2.
fn is_policy_file(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["tidegate.yaml"] => true,
        ["agents" | "queues" | "presets", ..] => true,
        ["projects", _, "project.yaml" | "project.yml"] => true,
        _ => false,
    }
}

fn summary_line(plan: &Plan, started: usize) -> String {
    let summary = &plan.summary;
    let mut line = format!(
        "{} added, {} changed, {} removed, {started} runs started",
        summary.add, summary.change, summary.remove
    );
    if let Some(adopted) = plan.adopted {
        line.push_str(&format!("; first sync: adopted {adopted} workflows, 0 runs started"));
    }
    if summary.held > 0 {
        line.push_str(&format!(", {} runs held", summary.held));
    }
    line
}

/// An error and its causes in one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

/// The way to tell the reconciler something.
pub type Nudges = Sender<Nudge>;
