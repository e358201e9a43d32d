//! The git side: look at the source, compile, plan, apply; one thread, one commit at a time.
//!
//! Level-triggered: whatever the reason to look, the newest commit is compared with what is applied, and nothing
//! happens when they are the same. A commit that cannot be read or used changes nothing; the last good state stays.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, PoisonError, RwLock};

use crate::control::{HeldPlan, SyncStatus};
use crate::domain::catalog::Catalog;
use crate::domain::compile::{CompileCache, Compiled, compile_with, is_policy};
use crate::domain::diagnostic::Diagnostics;
use crate::domain::dispatch::command::{Command, Outcome, Rejection};
use crate::domain::dispatch::event::{NewRun, Origin};
use crate::domain::dispatch::history::RunFilter;
use crate::domain::dispatch::status::Status;
use crate::domain::files::FileSet;
use crate::domain::ids::{CommitId, Digest, RunId, WorkflowName};
use crate::domain::plan::{
    Admissions, Live, Overrides, Plan, PlanInput, Revision, SourceRef, Standing, overrides, plan,
};
use crate::domain::spec::{FirstSync, WorkflowOnRemove};
use crate::domain::workflow::start::{Circumstances, of_workflow};
use crate::effects::Effects;
use crate::engine::{Engine, error_chain, wall_clock};
use crate::revision;
use crate::source::{Mirror, SourceError, SourceSpec, Watcher, read_worktree};
use crate::store::StoreError;
use crate::switches::{Positions, Switches};

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
    /// Leave new commits alone, or take them again.
    Pause(bool),
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
    pub catalog: Arc<Catalog>,
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
        self.recall();
        if let Some(applied) = get(&self.shared.applied) {
            self.effects.set_owner(applied.catalog.organization.item.name.to_string());
        }
        let agents = self.engine.read(|state| state.agents().map(|a| (a.name.clone(), a.policy.clone())).collect());
        self.effects.set_agents(agents);
        self.show_switches();
    }

    /// Makes the applied catalog again from its commits, if they are in the mirror.
    fn recall(&mut self) {
        let Some(applied) = self.engine.read(|state| state.applied().cloned()) else { return };
        if let Followed::Repository(mirror) = &self.followed
            && let Ok(mut files) = mirror.read_specs(&applied.commit)
        {
            if applied.policy != applied.commit {
                let Ok(policy) = mirror.read_specs(&applied.policy) else { return };
                files = with_policy_of(&files, &policy);
            }
            let compiled = compile_with(&files, &mut self.cache);
            if let Some(catalog) = compiled.catalog {
                let revision = revision_of(&files, &get(&self.shared.status).reference, Vec::new());
                set(&self.shared.applied, Some(Arc::new(Wanted { catalog: Arc::new(catalog), revision, files })));
            }
        }
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
        match self.look(even_unchanged, permission) {
            Err(SyncError::Refused(Rejection::Stale { .. })) => self.look(even_unchanged, permission),
            other => other,
        }
    }

    fn look(&mut self, even_unchanged: bool, permission: Permission) -> Result<(CommitId, usize), SyncError> {
        let pinned = self.switches.positions().pinned.clone();
        let (files, dirty) = match &self.followed {
            Followed::Repository(mirror) => {
                let commit = match pinned {
                    Some(commit) if mirror.commit_info(&commit).is_ok() => commit,
                    Some(commit) => mirror.fetch().map(|_| commit)?,
                    None => mirror.fetch()?.commit,
                };
                self.seen(&commit);
                if self.settled.as_ref() == Some(&commit) && !even_unchanged {
                    return Ok((commit, 0));
                }
                self.keep(mirror, &commit)?;
                (mirror.read_specs(&commit)?, Vec::new())
            }
            Followed::Worktree(dir) => {
                let mut files = read_worktree(dir)?;
                files.commit = worktree_commit(&files);
                self.seen(&files.commit);
                if self.settled.as_ref() == Some(&files.commit) && !even_unchanged {
                    return Ok((files.commit, 0));
                }
                let head = crate::source::head_of(dir)?;
                (files, head.map(|head| head.dirty).unwrap_or_default())
            }
        };
        self.settled = None;
        if get(&self.shared.applied).is_none() {
            // The mirror may have been made anew, and have the applied commit only now.
            self.recall();
        }
        let result = self.apply(files, dirty, even_unchanged, permission);
        // What is held is looked at again: a freeze ends by itself.
        if let Ok((commit, _)) = &result
            && get(&self.shared.status).held.is_none()
        {
            self.settled = Some(commit.clone());
        }
        result
    }

    /// Before a commit is applied: it, and what is applied until then, cannot be lost to rewritten history.
    fn keep(&self, mirror: &Mirror, commit: &CommitId) -> Result<(), SyncError> {
        let applied = self.engine.read(|state| state.applied().cloned());
        let mut commits = vec![commit.clone()];
        for old in applied.into_iter().flat_map(|applied| [applied.commit, applied.policy]) {
            // Those of another repository or a lost mirror cannot be kept any more.
            if !commits.contains(&old) && mirror.commit_info(&old).is_ok() {
                commits.push(old);
            }
        }
        Ok(mirror.keep(&commits)?)
    }

    fn seen(&self, commit: &CommitId) {
        self.shared.status.write().unwrap_or_else(PoisonError::into_inner).seen = Some(commit.clone());
    }

    fn apply(
        &mut self,
        files: FileSet,
        dirty: Vec<String>,
        heal: bool,
        permission: Permission,
    ) -> Result<(CommitId, usize), SyncError> {
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
        let mut wanted = Wanted { catalog: Arc::new(catalog), revision: revision_of(&files, &reference, dirty), files };
        let mut exceptions = overrides(&wanted.files.message);
        let plan = self.plan(base.as_deref(), &wanted, exceptions, &diagnostics);
        let plan = match permission {
            Permission::Approved(digest) if plan.digest != digest => {
                return Err(SyncError::Guard(format!(
                    "plan {} is no longer what would be done: look again",
                    digest.short()
                )));
            }
            Permission::Approved(_) => {
                (exceptions.allow_starts, exceptions.allow_removals) = (Some(u32::MAX), Some(u32::MAX));
                self.plan(base.as_deref(), &wanted, exceptions, &diagnostics)
            }
            Permission::Usual => plan,
        };
        let plan = Arc::new(plan);
        set(&self.shared.plan, Some(plan.clone()));
        if let Some(refusing) = plan.guards.iter().find(|guard| !guard.ok && guard.id.refuses()) {
            self.hold(&plan);
            return Err(SyncError::Guard(format!("{} ({})", refusing.words, refusing.remedy)));
        }
        let started = self.carry_out(&plan, &wanted, base.as_deref(), policy, heal)?;
        if let Some(base) = &base {
            keep_last_good(Arc::make_mut(&mut wanted.catalog), &base.catalog);
        }
        if self.switches.was_restored() {
            tracing::warn!("restored from a backup: what changed in git since was taken over, and starts nothing");
            self.switches.is_caught_up()?;
        }
        let summary = summary_line(&plan, started);
        tracing::info!(commit = %commit.short(), summary, "synced");
        {
            let mut status = self.shared.status.write().unwrap_or_else(PoisonError::into_inner);
            (status.applied, status.summary) = (Some(commit.clone()), summary);
        }
        let errors = diagnostics.errors();
        let wanted = Arc::new(wanted);
        set(&self.shared.applied, Some(wanted.clone()));
        match plan.guards.iter().any(|guard| !guard.ok) {
            // The definitions are applied: what waits for approval is the plan from here on.
            true => self.hold(&self.plan(Some(&wanted), &wanted, overrides(&wanted.files.message), &diagnostics)),
            false => self.hold(&plan),
        }
        if unsound_policy { Err(SyncError::Invalid { commit, errors }) } else { Ok((commit, started)) }
    }

    /// Shows what a guard of this plan holds, or that nothing is held.
    fn hold(&self, plan: &Plan) {
        let held = plan.guards.iter().find(|guard| !guard.ok).map(|guard| HeldPlan {
            commit: plan.compared.desired.commit.clone(),
            plan: plan.digest,
            reason: format!("{}: {}", guard.words, guard.remedy),
        });
        self.shared.status.write().unwrap_or_else(PoisonError::into_inner).held = held;
    }

    fn plan(&self, base: Option<&Wanted>, wanted: &Wanted, overrides: Overrides, diagnostics: &Diagnostics) -> Plan {
        let mut desired = Catalog::clone(&wanted.catalog);
        if let Some(first_sync) = self.first_sync {
            desired.organization.item.first_sync = first_sync;
        }
        let standing = Standing::Followed;
        let mut sides = Sides::now(&self.engine, &self.shared);
        if self.switches.was_restored() {
            sides.admissions.baseline = false;
            desired.organization.item.first_sync = FirstSync::Adopt;
        }
        sides.compare(base, &desired, &wanted.revision, overrides, standing, diagnostics)
    }

    /// Applies a plan that no guard refuses; gives the number of runs started.
    fn carry_out(
        &self,
        plan: &Plan,
        wanted: &Wanted,
        base: Option<&Wanted>,
        policy: CommitId,
        heal: bool,
    ) -> Result<usize, SyncError> {
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
        let stops = self.runs_to_stop(base, &wanted.catalog)?;
        let (applied, revision, drifted) = self.engine.read(|state| {
            let revision = revision::revision(state, wanted, plan, policy, summary_line(plan, count));
            (state.applied().cloned(), revision, state.queues().any(|queue| queue.declared.is_some()))
        });
        let same = applied.as_ref().is_some_and(|at| (&at.commit, &at.policy) == (&revision.commit, &revision.policy));
        // Looking again and finding nothing is nothing that has happened.
        if !(same && starts.is_empty() && stops.is_empty() && revision.changes_nothing() && !(heal && drifted)) {
            let based_on = applied.map(|applied| applied.commit);
            let command = Command::ApplyRevision { based_on, revision: Box::new(revision), starts, stops };
            if let Outcome::Refused(rejection) = self.engine.ask_blocking(command, bodies)? {
                return Err(SyncError::Refused(rejection));
            }
        }
        self.effects.set_owner(wanted.catalog.organization.item.name.to_string());
        let agents = wanted.catalog.agents.iter().map(|(name, agent)| (name.clone(), agent.item.clone()));
        self.effects.set_agents(agents.collect());
        Ok(count)
    }

    /// Runs of removed workflows that say what becomes of them.
    fn runs_to_stop(&self, base: Option<&Wanted>, desired: &Catalog) -> Result<Vec<RunId>, StoreError> {
        let renamed: BTreeSet<WorkflowName> = desired
            .workflows
            .iter()
            .filter_map(|(name, workflow)| {
                let workflow = workflow.item.previous_name.clone()?;
                Some(WorkflowName { project: name.project.clone(), workflow })
            })
            .collect();
        let gone = |name: &&WorkflowName| {
            !desired.workflows.contains_key(name) && !desired.unsound.contains_key(name) && !renamed.contains(name)
        };
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
                let rows = self.engine.all_runs(&filter, usize::MAX)?;
                stops.extend(rows.iter().map(|row| row.id));
            }
        }
        Ok(stops)
    }
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

/// What is not sound keeps its last good definition.
fn keep_last_good(catalog: &mut Catalog, before: &Catalog) {
    for name in catalog.unsound.keys() {
        if let Some(last) = before.workflows.get(name) {
            catalog.workflows.entry(name.clone()).or_insert_with(|| last.clone());
        }
    }
}

/// The server's sides of a comparison.
pub struct Sides {
    source: SourceRef,
    live: Live,
    /// What was admitted so far.
    pub admissions: Admissions,
}

impl Sides {
    /// As things are.
    pub fn now(engine: &Engine, shared: &Shared) -> Self {
        let status = get(&shared.status);
        let (live, admissions) = revision::live(engine);
        Self { source: SourceRef { id: status.source, git_ref: status.reference }, live, admissions }
    }

    /// Compares files with what is applied and live.
    pub fn compare(
        &self,
        base: Option<&Wanted>,
        desired: &Catalog,
        desired_info: &Revision,
        overrides: Overrides,
        standing: Standing,
        diagnostics: &Diagnostics,
    ) -> Plan {
        plan(&PlanInput {
            source: &self.source,
            base: base.map(|base| &*base.catalog),
            desired,
            base_info: base.map(|base| &base.revision),
            desired_info,
            live: Some(&self.live),
            admissions: Some(&self.admissions),
            overrides,
            standing,
            now: wall_clock(),
            diagnostics,
        })
    }
}

/// A new run's id. Random, so that its first digits are enough to tell it from its neighbours.
pub fn new_run_id() -> RunId {
    RunId(uuid::Uuid::new_v4())
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
    mixed.files.retain(|file| !is_policy(file));
    // A file may have become policy, or have been.
    let taken: BTreeSet<String> = mixed.files.iter().map(|file| file.path.clone()).collect();
    mixed.files.extend(good.files.iter().filter(|file| is_policy(file) && !taken.contains(&file.path)).cloned());
    mixed.files.sort_by(|a, b| a.path.cmp(&b.path));
    mixed
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

/// The way to tell the reconciler something.
pub type Nudges = Sender<Nudge>;
