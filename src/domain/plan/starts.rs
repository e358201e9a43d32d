//! Which runs a commit starts: state for definitions, transitions for runs (design §3).
//!
//! The meaning last admitted is compared with the meaning wanted; old commits are never needed. A start and the
//! advance of its cursor are one transaction of whoever applies the plan.

use std::collections::BTreeSet;

use super::PlanInput;
use super::changes::{previous_workflow, same_definition};
use super::live::Admitted;
use super::model::{Hold, Skip, SkipReason, Spot, Start};
use crate::domain::catalog::{Declared, PushTrigger, ResolvedWorkflow};
use crate::domain::ids::{CommitId, Digest, WorkflowName};
use crate::domain::spec::{Fires, FirstSync};

/// The trigger of a push, within its workflow.
const PUSH: &str = "push";

/// Starts, non-starts and cursors.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    pub starts: Vec<Start>,
    pub skips: Vec<Skip>,
    pub cursors: Vec<(WorkflowName, Admitted)>,
    pub adopted: Option<u64>,
}

/// What becomes of one workflow.
enum Verdict {
    Start(String),
    Skip(SkipReason, String),
    Quiet,
}

/// All starts, before any guard; guards hold them with [`hold`].
pub(super) fn transitions(input: &PlanInput<'_>) -> Transitions {
    let mut found = Transitions::default();
    let adopting = first_sync(input) && input.desired.organization.item.first_sync == FirstSync::Adopt;
    if adopting {
        found.adopted = Some(input.desired.workflows.len() as u64);
    }
    for (name, workflow) in &input.desired.workflows {
        let previous = previous_workflow(input.desired, name).filter(|old| !input.desired.workflows.contains_key(old));
        let own = admitted(input, name);
        let moved = own.is_none() && previous.is_some();
        let last = own.or_else(|| admitted(input, previous.as_ref()?));
        let now = Admitted {
            spec_digest: workflow.item.spec_digest,
            inputs_digest: workflow.item.inputs_digest,
            commit: input.desired_info.commit.clone(),
        };
        let verdict = if adopting {
            Verdict::Quiet
        } else {
            verdict(input, name, workflow, last.as_ref(), &now, moved && last.is_some())
        };
        let place = workflow.place.as_ref().map(Spot::from);
        match verdict {
            Verdict::Start(reason) => {
                if workflow.item.push.as_ref().is_some_and(fires_always) && last.is_some() {
                    found.starts.extend(earlier(input, name, &place));
                }
                found.starts.push(start(input, name, &workflow.item, None, reason, &now, place));
            }
            Verdict::Skip(reason, words) => found.skips.push(Skip { workflow: name.clone(), reason, words, place }),
            Verdict::Quiet => {}
        }
        if own_cursor_differs(input, name, &now) {
            found.cursors.push((name.clone(), now));
        }
    }
    for (name, place) in &input.desired.unsound {
        let words = "its file has an error; the last good definition stays".to_owned();
        found.skips.push(Skip {
            workflow: name.clone(),
            reason: SkipReason::Unsound,
            words,
            place: Some(place.into()),
        });
    }
    found.skips.sort_by(|a, b| a.workflow.cmp(&b.workflow));
    found
}

/// A start that nothing holds.
fn start(
    input: &PlanInput<'_>,
    name: &WorkflowName,
    workflow: &ResolvedWorkflow,
    commit: Option<CommitId>,
    reason: String,
    now: &Admitted,
    place: Option<Spot>,
) -> Start {
    Start {
        workflow: name.clone(),
        queue: workflow.queue.clone(),
        commit,
        trigger: PUSH.to_owned(),
        reason,
        run_key: run_key(input, name, now),
        hold: None,
        never: never(input, workflow),
        place,
    }
}

/// The starts of a workflow that fires on every commit for those before the newest. A commit in which it did not fire so,
/// could not run, or whose message says so, is passed over.
fn earlier(input: &PlanInput<'_>, name: &WorkflowName, place: &Option<Spot>) -> Vec<Start> {
    let mut found = Vec::new();
    for between in input.between.iter().filter(|between| between.overrides.skip_runs.is_none()) {
        let Some(workflow) = between.workflows.get(name) else { continue };
        if workflow.push.as_ref().is_some_and(fires_always) && workflow.unrunnable.is_none() {
            let now = Admitted {
                spec_digest: workflow.spec_digest,
                inputs_digest: workflow.inputs_digest,
                commit: between.commit.clone(),
            };
            let reason = format!("fires on every commit ({})", between.commit.short());
            found.push(start(input, name, workflow, Some(between.commit.clone()), reason, &now, place.clone()));
        }
    }
    found
}

fn fires_always(push: &PushTrigger) -> bool {
    push.fires == Fires::EveryCommit
}

/// Holds all starts that are not held yet: their cursors stay, so that the next sync sees the transition again.
pub(super) fn hold(found: &mut Transitions, why: Hold) {
    for start in &mut found.starts {
        start.hold.get_or_insert(why);
    }
    let held: BTreeSet<&WorkflowName> = found.starts.iter().map(|start| &start.workflow).collect();
    found.cursors.retain(|(name, _)| !held.contains(name));
}

/// Whether nothing of the source was admitted before.
fn first_sync(input: &PlanInput<'_>) -> bool {
    input.admissions.map_or(input.base.is_none(), |admissions| !admissions.baseline)
}

/// What was last admitted of a workflow; without a server, what the base says.
fn admitted(input: &PlanInput<'_>, name: &WorkflowName) -> Option<Admitted> {
    match (input.admissions, input.base) {
        (Some(admissions), _) => admissions.cursors.get(name).cloned(),
        (None, Some(base)) => base.workflows.get(name).map(|workflow| Admitted {
            spec_digest: workflow.item.spec_digest,
            inputs_digest: workflow.item.inputs_digest,
            commit: input.base_info.map_or_else(|| input.desired_info.commit.clone(), |info| info.commit.clone()),
        }),
        (None, None) => None,
    }
}

/// Whether a cursor has to be written; one that differs only in its commit matters to `everyCommit` alone.
fn own_cursor_differs(input: &PlanInput<'_>, name: &WorkflowName, now: &Admitted) -> bool {
    admitted(input, name).is_none_or(|last| {
        (last.spec_digest, last.inputs_digest) != (now.spec_digest, now.inputs_digest)
            || (last.commit != now.commit && input.desired.workflows[name].item.push.as_ref().is_some_and(fires_always))
    })
}

fn verdict(
    input: &PlanInput<'_>,
    name: &WorkflowName,
    workflow: &Declared<ResolvedWorkflow>,
    last: Option<&Admitted>,
    now: &Admitted,
    moved: bool,
) -> Verdict {
    let item = &workflow.item;
    let (spec, files) = last
        .map_or((true, false), |last| (last.spec_digest != now.spec_digest, last.inputs_digest != now.inputs_digest));
    let Some(push) = &item.push else {
        return match last {
            Some(_) if spec => Verdict::Skip(SkipReason::NoPushTrigger, "no push trigger".into()),
            None => Verdict::Skip(SkipReason::NoPushTrigger, "new, but no push trigger".into()),
            Some(_) => unchanged(input, name, workflow, moved),
        };
    };
    let reason = match (push.fires, last) {
        (Fires::EveryCommit, Some(last)) if last.commit != now.commit => "fires on every commit".to_owned(),
        (_, Some(_)) if !spec && !files => return unchanged(input, name, workflow, moved),
        (Fires::Never, _) => return Verdict::Skip(SkipReason::Fires, "its push trigger fires never".into()),
        (Fires::OnCreate, Some(_)) => {
            return Verdict::Skip(SkipReason::Fires, "changed, but its push trigger fires only when it is new".into());
        }
        (_, None) => "new".to_owned(),
        (_, Some(_)) if spec && files => "its meaning and files that it watches changed".to_owned(),
        (_, Some(_)) if spec => format!("its meaning changed (spec {})", now.spec_digest.short()),
        (_, Some(_)) => "files that it watches changed".to_owned(),
    };
    if let Some(why) = &item.unrunnable {
        return Verdict::Skip(SkipReason::Unrunnable, format!("cannot run: {why}"));
    }
    if let Some(words) = input.overrides.skip_runs {
        return Verdict::Skip(
            SkipReason::Requested,
            format!("{reason}, but {} on {}", words.words(), now.commit.short()),
        );
    }
    Verdict::Start(reason)
}

/// What to say of a workflow with the meaning that was last admitted: nothing, unless something else about it changed.
fn unchanged(
    input: &PlanInput<'_>,
    name: &WorkflowName,
    workflow: &Declared<ResolvedWorkflow>,
    moved: bool,
) -> Verdict {
    if moved {
        return Verdict::Skip(SkipReason::Moved, "has another name and the same meaning".into());
    }
    let Some(base) = input.base else { return Verdict::Quiet };
    let Some(before) = base.workflows.get(name) else {
        return match base.unsound.contains_key(name) {
            true => Verdict::Quiet,
            false => Verdict::Skip(SkipReason::Restored, "is back with the meaning that was last admitted".into()),
        };
    };
    if !same_definition(&before.item, &workflow.item) {
        // The meaning may differ from the base although it is the admitted one: a start that was held and undone.
        return match before.item.spec_digest == workflow.item.spec_digest {
            true => Verdict::Skip(SkipReason::TriggersOnly, "only its triggers changed; they are armed anew".into()),
            false => Verdict::Skip(SkipReason::DigestUnchanged, "has again the meaning that was last admitted".into()),
        };
    }
    let file = |d: &Declared<ResolvedWorkflow>| d.place.as_ref().map(|place| place.file.clone());
    if file(before) != file(workflow) {
        return Verdict::Skip(SkipReason::DigestUnchanged, "its file moved; its meaning is unchanged".into());
    }
    let dirty = |file: std::sync::Arc<str>| input.desired_info.dirty.iter().any(|dirty| **dirty == *file);
    if before.place != workflow.place || before.fields != workflow.fields || file(workflow).is_some_and(dirty) {
        return Verdict::Skip(SkipReason::DigestUnchanged, "only its text changed; its meaning is unchanged".into());
    }
    Verdict::Quiet
}

/// The key under which a start is admitted once and only once.
fn run_key(input: &PlanInput<'_>, name: &WorkflowName, now: &Admitted) -> Digest {
    let parts =
        (&input.source.id, &input.source.git_ref, name, PUSH, &now.commit, &now.spec_digest, &now.inputs_digest);
    Digest::of(&serde_json::to_vec(&parts).expect("a tuple of texts"))
}

/// Why a run of a workflow could never leave its queue: one attempt asks for more than there may ever be.
fn never(input: &PlanInput<'_>, workflow: &ResolvedWorkflow) -> Option<String> {
    let queue = input.desired.queues.get(&workflow.queue)?;
    let agent = input.desired.agents.get(&workflow.queue.agent);
    let limits = [("quota", Some(&queue.item.quota)), ("capacity", agent.map(|agent| &agent.item.capacity))];
    let request = workflow.operation.read().request;
    limits.into_iter().find_map(|(word, limit)| {
        let (resource, need, have) = super::effects::exceeds(&request, limit?)?;
        Some(format!("asks {resource}={need}, {word} {have}"))
    })
}
