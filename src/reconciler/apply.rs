//! A commit's files → catalog → plan → one command that makes it what is applied.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::look::{revision_of, with_policy_of};
use super::shared::{Wanted, get, set};
use super::sides::{Desired, Sides};
use super::{Permission, Reconciler, SyncError, new_run_id};
use crate::control::HeldPlan;
use crate::domain::catalog::Catalog;
use crate::domain::compile::{Compiled, compile};
use crate::domain::diagnostic::Diagnostics;
use crate::domain::dispatch::command::{Command, Outcome};
use crate::domain::dispatch::event::{NewRun, Origin};
use crate::domain::dispatch::history::RunFilter;
use crate::domain::dispatch::status::Status;
use crate::domain::files::FileSet;
use crate::domain::ids::{CommitId, RunId, WorkflowName};
use crate::domain::plan::{Overrides, Plan, Standing, overrides};
use crate::domain::spec::{FirstSync, WorkflowOnRemove};
use crate::domain::workflow::start::{Circumstances, of_workflow};
use crate::revision;
use crate::store::StoreError;

impl Reconciler {
    pub(super) fn apply(
        &mut self,
        files: FileSet,
        dirty: Vec<String>,
        heal: bool,
        permission: Permission,
    ) -> Result<(CommitId, usize), SyncError> {
        let commit = files.commit.clone();
        let Compiled { catalog, diagnostics, .. } = compile(&files);
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
                match compile(&files).catalog {
                    Some(catalog) => (catalog, files, policy.unwrap_or_else(|| commit.clone())),
                    None => return Err(SyncError::Invalid { commit, errors: diagnostics.errors() }),
                }
            }
            (None, None) => return Err(SyncError::Invalid { commit, errors: diagnostics.errors() }),
        };
        let unsound_policy = policy != commit;
        let reference = get(&self.shared.status).reference;
        let revision = revision_of(&files, &reference, dirty);
        let between = self.between(&catalog, &commit);
        let mut wanted = Wanted { catalog: Arc::new(catalog), revision, files, between };
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
        if matches!(permission, Permission::Approved(_))
            && let Some(still) = plan.guards.iter().find(|guard| !guard.ok)
        {
            return Err(SyncError::Guard(format!("{}: {}", still.words, still.remedy)));
        }
        if let Err(error) = self.last_plan.keep(&plan) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the plan cannot be shown later");
        }
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
        let mut desired = Cow::Borrowed(&*wanted.catalog);
        if let Some(first_sync) = self.first_sync {
            desired.to_mut().organization.item.first_sync = first_sync;
        }
        let standing = Standing::Followed;
        let mut sides = Sides::now(&self.engine, &self.effects, &self.shared);
        if self.switches.was_restored() {
            sides.admissions.baseline = false;
            desired.to_mut().organization.item.first_sync = FirstSync::Adopt;
        }
        let desired = Desired { catalog: &desired, revision: &wanted.revision, between: &wanted.between };
        sides.compare(base, &desired, overrides, standing, diagnostics)
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
            let (workflow, commit) = wanted.meant(start);
            let started = of_workflow(
                workflow,
                Circumstances {
                    id: new_run_id(),
                    project: start.workflow.project.clone(),
                    workflow: Some(start.workflow.workflow.clone()),
                    commit: Some(commit.clone()),
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

/// What is not sound keeps its last good definition.
fn keep_last_good(catalog: &mut Catalog, before: &Catalog) {
    for name in catalog.unsound.keys() {
        if let Some(last) = before.workflows.get(name) {
            catalog.workflows.entry(name.clone()).or_insert_with(|| last.clone());
        }
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
