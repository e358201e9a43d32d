//! One look at the source: which commit it is, what its files hold, and what was applied before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use super::shared::{Followed, Wanted, get, set};
use super::{Permission, Reconciler, SyncError};
use crate::domain::catalog::{Catalog, PushTrigger};
use crate::domain::compile::{compile, is_policy};
use crate::domain::files::FileSet;
use crate::domain::ids::{CommitId, Digest, WorkflowName};
use crate::domain::plan::{Between, Revision, overrides};
use crate::domain::spec::Fires;
use crate::source::{CommitInfo, Mirror, read_worktree};

/// Commits of one push that a workflow which fires on every commit runs for at most, the newest ones: a branch that was
/// merged whole is not a reason for a thousand runs.
const EVERY_COMMIT: usize = 100;

impl Reconciler {
    pub(super) fn look(
        &mut self,
        even_unchanged: bool,
        permission: Permission,
    ) -> Result<(CommitId, usize), SyncError> {
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
        let last_good = self.engine.read(|state| {
            let applied = get(&self.shared.applied);
            let unsound = applied.iter().flat_map(|applied| applied.catalog.unsound.keys());
            unsound.filter_map(|name| state.cursors().get(name)).map(|cursor| cursor.commit.clone()).collect::<Vec<_>>()
        });
        for old in applied.into_iter().flat_map(|applied| [applied.commit, applied.policy]).chain(last_good) {
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

    /// Makes the applied catalog again from its commits, if they are in the mirror.
    pub(super) fn recall(&mut self) {
        let Some(applied) = self.engine.read(|state| state.applied().cloned()) else { return };
        if let Followed::Repository(mirror) = &self.followed
            && let Ok(mut files) = mirror.read_specs(&applied.commit)
        {
            if applied.policy != applied.commit {
                let Ok(policy) = mirror.read_specs(&applied.policy) else { return };
                files = with_policy_of(&files, &policy);
            }
            let compiled = compile(&files);
            if let Some(mut catalog) = compiled.catalog {
                self.recall_last_good(&mut catalog);
                let revision = revision_of(&files, &get(&self.shared.status).reference, Vec::new());
                set(
                    &self.shared.applied,
                    Some(Arc::new(Wanted { catalog: Arc::new(catalog), revision, files, between: Vec::new() })),
                );
            }
        }
    }

    /// The commits before this one that a workflow which fires on every commit has not seen, with that workflow as they
    /// have it. None where history was rewritten beyond recognition, or there is none.
    pub(super) fn between(&mut self, desired: &Catalog, commit: &CommitId) -> Vec<Between> {
        let Followed::Repository(mirror) = &self.followed else { return Vec::new() };
        let fires_always = |push: &PushTrigger| push.fires == Fires::EveryCommit;
        let named =
            desired.workflows.iter().filter(|(_, workflow)| workflow.item.push.as_ref().is_some_and(fires_always));
        let seen: Vec<(WorkflowName, CommitId)> = self.engine.read(|state| {
            named.filter_map(|(name, _)| Some((name.clone(), state.cursors().get(name)?.commit.clone()))).collect()
        });
        let mut lines: Vec<(WorkflowName, Vec<CommitInfo>)> = Vec::new();
        for (name, last) in seen.into_iter().filter(|(_, last)| last != commit) {
            lines.push((name, mirror.first_parent_between(&last, commit, EVERY_COMMIT).unwrap_or_default()));
        }
        // The longest line holds the others.
        lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.len()));
        let mut unseen: Vec<(CommitInfo, Vec<WorkflowName>)> = Vec::new();
        for (name, line) in lines {
            for info in line.into_iter().rev().filter(|info| info.id != *commit) {
                match unseen.iter_mut().find(|(known, _)| known.id == info.id) {
                    Some((_, names)) => names.push(name.clone()),
                    None => unseen.push((info, vec![name.clone()])),
                }
            }
        }
        let mut between = Vec::new();
        for (info, names) in unseen {
            let Ok(files) = mirror.read_specs(&info.id) else { continue };
            let Some(mut then) = compile(&files).catalog else { continue };
            let workflows = names.into_iter().filter_map(|name| Some((then.workflows.remove(&name)?.item, name)));
            let workflows = workflows.map(|(item, name)| (name, item)).collect();
            between.push(Between { commit: info.id, overrides: overrides(&info.message), workflows });
        }
        between
    }

    /// What was not sound in the applied commit is taken from the commit in which it last was.
    fn recall_last_good(&self, catalog: &mut Catalog) {
        let Followed::Repository(mirror) = &self.followed else { return };
        let cursors = self.engine.read(|state| state.cursors().clone());
        let mut by_commit: BTreeMap<CommitId, Vec<WorkflowName>> = BTreeMap::new();
        for name in catalog.unsound.keys().filter(|name| !catalog.workflows.contains_key(name)) {
            if let Some(cursor) = cursors.get(name) {
                by_commit.entry(cursor.commit.clone()).or_default().push(name.clone());
            }
        }
        for (commit, names) in by_commit {
            let Ok(files) = mirror.read_specs(&commit) else { continue };
            let Some(mut before) = compile(&files).catalog else { continue };
            for name in names {
                catalog.workflows.extend(before.workflows.remove(&name).map(|workflow| (name, workflow)));
            }
        }
    }
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
pub(super) fn with_policy_of(files: &FileSet, good: &FileSet) -> FileSet {
    let mut mixed = files.clone();
    mixed.files.retain(|file| !is_policy(file));
    // A file may have become policy, or have been.
    let taken: BTreeSet<String> = mixed.files.iter().map(|file| file.path.clone()).collect();
    mixed.files.extend(good.files.iter().filter(|file| is_policy(file) && !taken.contains(&file.path)).cloned());
    mixed.files.sort_by(|a, b| a.path.cmp(&b.path));
    mixed
}
