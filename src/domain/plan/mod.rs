//! Two catalogs and the live state become one value with every difference and every effect; [`render`] shows it.
//!
//! [`plan`] is total and deterministic: the same input gives the same plan, the same plan the same bytes. Reading
//! order: [`model`] (what a plan says), [`live`] (what a server says), `changes` and `fields` (what differs),
//! `effects` and `division` (what that does), `starts` (which runs), `guards` (whether it may).

pub mod build;
mod changes;
mod division;
mod effects;
mod fields;
mod guards;
pub mod live;
mod mask;
pub mod model;
pub mod render;
mod starts;
pub mod trailers;

pub use live::{Admissions, Admitted, Live, LiveAgent, LiveOrganization, LiveQueue, LiveRun, WorkflowUse};
pub use model::{Plan, PlanExit, Revision};
pub use render::{Format, Mood, Style, render};
pub use trailers::{Overrides, overrides};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::catalog::{Catalog, Declared, ResolvedWorkflow};
use crate::domain::diagnostic::Diagnostics;
use crate::domain::ids::{CommitId, Digest, WorkflowName};
use crate::domain::time::Timestamp;
use model::{Action, Class, Effects, Frame, GuardId, Hold, LiveFrame, ObjectChange, Reversibility, Summary};

/// Everything that a plan depends on.
#[derive(Debug, Clone)]
pub struct PlanInput<'a> {
    /// What is followed.
    pub source: &'a SourceRef,
    /// What was applied last; `None` when nothing was.
    pub base: Option<&'a Catalog>,
    /// What the files want.
    pub desired: &'a Catalog,
    /// Which commit `base` is.
    pub base_info: Option<&'a Revision>,
    /// Which commit `desired` is.
    pub desired_info: &'a Revision,
    /// The server's side; `None` when two commits are compared without one.
    pub live: Option<&'a Live>,
    /// Commits between what was admitted and `desired`, oldest first, for workflows that fire on every commit.
    pub between: &'a [Between],
    /// What was admitted so far; `None` without a server: then the base counts as admitted.
    pub admissions: Option<&'a Admissions>,
    /// What overrides the usual course, usually [`overrides`] of the commit message.
    pub overrides: Overrides,
    /// Whether the commit is on the branch that is followed.
    pub standing: Standing,
    /// The moment at which freeze windows are read.
    pub now: Timestamp,
    /// Problems of the files of `desired`.
    pub diagnostics: &'a Diagnostics,
}

/// A commit that came in together with later ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Between {
    /// Which commit.
    pub commit: CommitId,
    /// What its message asks for.
    pub overrides: Overrides,
    /// The workflows that have not seen it yet, as it has them.
    pub workflows: BTreeMap<WorkflowName, ResolvedWorkflow>,
}

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRef {
    /// The name of the source.
    pub id: String,
    /// Its ref.
    pub git_ref: String,
}

/// Whether a commit is on the branch that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It is: applying starts its runs.
    #[default]
    Followed,
    /// Not yet (a pull request): the plan says what a merge would start, and admits nothing.
    Unmerged,
}

/// Compares, and says everything that follows.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let mut objects = changes::objects(input);
    effects::add(input, &mut objects);
    let mut transitions = starts::transitions(input);
    let guards = guards::guards(input, &objects, &transitions);
    let blocks = |id: GuardId| guards.iter().any(|guard| guard.id == id && !guard.ok);
    for (holds, why) in [
        (guards.iter().any(|guard| !guard.ok && guard.id.refuses()), Hold::Refused),
        (input.standing == Standing::Unmerged, Hold::Unmerged),
        (blocks(GuardId::Freeze), Hold::Freeze),
        (blocks(GuardId::MaxStarts), Hold::MaxStarts),
    ] {
        if holds {
            starts::hold(&mut transitions, why);
        }
    }
    if input.standing == Standing::Unmerged || guards.iter().any(|guard| !guard.ok && guard.id.refuses()) {
        transitions.cursors.clear();
    }
    let objects: Vec<ObjectChange> = objects.into_iter().map(|(_, change)| change).collect();
    let division = division::division(input);
    let held = transitions.starts.iter().filter(|start| start.hold.is_some()).count() as u64;
    let mut summary = Summary {
        starts: transitions.starts.len() as u64 - held,
        held,
        blocked: guards.iter().filter(|guard| !guard.ok).count() as u64,
        errors: input.diagnostics.errors() as u64,
        ..Summary::default()
    };
    objects.iter().for_each(|change| count(&mut summary, change));
    let complete = input.live.is_none_or(|live| live.complete && live.unread_agents.is_empty());
    let changed = !objects.is_empty() || !transitions.starts.is_empty();
    let exit_code = match () {
        () if !complete => PlanExit::Incomplete,
        () if summary.errors > 0 => PlanExit::Invalid,
        () if summary.blocked > 0 => PlanExit::Blocked,
        () if changed => PlanExit::Changes,
        () => PlanExit::Unchanged,
    };
    Plan {
        compared: frame(input),
        objects,
        division,
        starts: transitions.starts,
        skips: transitions.skips,
        adopted: transitions.adopted,
        guards,
        problems: input.diagnostics.iter().map(Into::into).collect(),
        reversibility: match summary.cancelled {
            0 => Reversibility::Full,
            cancelled => Reversibility::ExceptCancelled(cancelled),
        },
        summary,
        digest: digest(input),
        exit_code,
        cursors: transitions.cursors,
    }
}

fn frame(input: &PlanInput<'_>) -> Frame {
    Frame {
        desired: input.desired_info.clone(),
        base: input.base_info.filter(|_| input.base.is_some()).cloned(),
        live: input.live.map(|live| LiveFrame {
            complete: live.complete && live.unread_agents.is_empty(),
            agents: live.agents.keys().chain(&live.unread_agents).collect::<std::collections::BTreeSet<_>>().len(),
            unread_agents: live.unread_agents.clone(),
        }),
    }
}

fn count(summary: &mut Summary, change: &ObjectChange) {
    match change.action {
        Action::Create => summary.add += 1,
        Action::Update => summary.change += 1,
        Action::Remove => summary.remove += 1,
        Action::Move => summary.moved += 1,
        Action::Drift => {}
    }
    if change.action == Action::Drift || change.fields.iter().any(|field| field.class != Class::Git) {
        summary.drift += 1;
    }
    let Effects { running, queued, .. } = &change.effects;
    if let Some(running) = running {
        summary.cancelled += u64::from(running.cancelled);
        summary.over_limit += u64::from(running.over_limit);
    }
    if let Some(queued) = queued {
        summary.cancelled += queued.cancelled;
        summary.unschedulable += queued.unschedulable_total;
        summary.reordered += queued.reordered;
    }
}

/// See [`Plan::digest`].
fn digest(input: &PlanInput<'_>) -> Digest {
    let mut bytes = Vec::new();
    put(&mut bytes, &(&input.source.id, &input.source.git_ref, input.standing == Standing::Followed, input.overrides));
    put(&mut bytes, &input.desired_info.commit);
    input.between.iter().for_each(|one| put(&mut bytes, &(&one.commit, one.workflows.keys().collect::<Vec<_>>())));
    for catalog in [input.base, Some(input.desired)] {
        put(&mut bytes, &catalog.is_some());
        if let Some(catalog) = catalog {
            put(&mut bytes, &catalog.organization.item);
            put_all(&mut bytes, &catalog.projects);
            put_all(&mut bytes, &catalog.agents);
            put_all(&mut bytes, &catalog.queues);
            put_all(&mut bytes, &catalog.presets);
            put_all(&mut bytes, &catalog.workflows);
            put(&mut bytes, &catalog.unsound.keys().collect::<Vec<_>>());
        }
    }
    put(&mut bytes, &input.live.is_some());
    if let Some(live) = input.live {
        put(&mut bytes, &(live.complete, &live.unread_agents, live.organization.concurrency));
        live.agents.iter().for_each(|(name, agent)| put(&mut bytes, &(name, &agent.policy)));
        live.queues.iter().for_each(|(name, queue)| put(&mut bytes, &(name, &queue.policy, queue.draining)));
    }
    put(&mut bytes, &input.admissions);
    Digest::of(&bytes)
}

fn put_all<K: Serialize, T: Serialize>(bytes: &mut Vec<u8>, all: &std::collections::BTreeMap<K, Declared<T>>) {
    put(bytes, &all.len());
    all.iter().for_each(|(name, declared)| put(bytes, &(name, &declared.item)));
}

/// JSON has no two readings of adjacent values that begin with different brackets; the newline parts the others.
fn put(bytes: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *bytes, value).expect("plain data with text keys, written to memory");
    bytes.push(b'\n');
}
