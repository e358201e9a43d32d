//! Limits on what one sync may do, so that a slip of the hand does not start a thousand runs or remove every queue.

use super::live::Live;
use super::model::{Action, Guard, GuardId, ObjectChange};
use super::starts::Transitions;
use super::{PlanInput, changes::Subject};
use crate::domain::catalog::Catalog;
use crate::domain::cron;
use crate::domain::ids::{AgentName, QueueName};

/// All guards, those that pass too: a reader sees how near a limit is.
pub(super) fn guards(
    input: &PlanInput<'_>,
    objects: &[(Subject, ObjectChange)],
    transitions: &Transitions,
) -> Vec<Guard> {
    let removed = || objects.iter().filter(|(_, change)| change.action == Action::Remove);
    let mut guards = Vec::new();
    guards.extend(empty(input));
    guards.push(removals(input, removed().count() as u64));
    guards.push(starts(input, transitions.starts.len() as u64));
    guards.extend(freeze(input, transitions.starts.len() as u64));
    for (subject, change) in removed() {
        match subject {
            Subject::Agent(name) => guards.extend(input.live.and_then(|live| agent_removal(live, name))),
            Subject::Queue { name, .. } => {
                guards.extend(move_target(input, change));
                guards.extend(queue_in_use(input, name));
            }
            _ => {}
        }
    }
    guards.sort_by(|a, b| (a.id, &a.words).cmp(&(b.id, &b.words)));
    guards
}

/// How many objects files declare, without the organization, which is always there.
fn declared(catalog: &Catalog) -> usize {
    catalog.agents.values().filter(|d| d.place.is_some()).count()
        + catalog.queues.values().filter(|d| d.place.is_some()).count()
        + catalog.projects.values().filter(|d| d.place.is_some()).count()
        + catalog.presets.len()
        + catalog.workflows.len()
}

fn empty(input: &PlanInput<'_>) -> Option<Guard> {
    let before = declared(input.base?);
    let nothing = declared(input.desired) == 0 && input.desired.unsound.is_empty() && before > 0;
    nothing.then(|| Guard {
        id: GuardId::Empty,
        actual: 0,
        limit: None,
        ok: false,
        overridden: false,
        words: format!("nothing is declared any more, where {before} objects were"),
        remedy: "an empty source changes nothing; remove objects in several commits, or stop following the source"
            .into(),
    })
}

fn removals(input: &PlanInput<'_>, removed: u64) -> Guard {
    let total = input.base.map_or(0, declared);
    let policy = input.desired.organization.item.max_removals;
    let limit = policy.of(total) as u64;
    let allowed = input.overrides.allow_removals.map_or(limit, u64::from).max(limit);
    Guard {
        id: GuardId::MaxRemovals,
        actual: removed,
        limit: Some(limit),
        ok: removed <= allowed,
        overridden: removed > limit && removed <= allowed,
        words: format!("removals {removed} of {total} objects (limit {limit})"),
        remedy: if removed > allowed {
            format!("add the trailer `Allow-Removals: {removed}` to the commit, or raise `sync.maxRemovals`")
        } else {
            String::new()
        },
    }
}

fn starts(input: &PlanInput<'_>, starts: u64) -> Guard {
    let limit = u64::from(input.desired.organization.item.max_starts);
    let allowed = input.overrides.allow_starts.map_or(limit, u64::from).max(limit);
    Guard {
        id: GuardId::MaxStarts,
        actual: starts,
        limit: Some(limit),
        ok: starts <= allowed,
        overridden: starts > limit && starts <= allowed,
        words: format!("starts {starts} (limit {limit})"),
        remedy: if starts > allowed {
            format!("approve the plan by its digest, or add the trailer `Allow-Starts: {starts}` to the commit")
        } else {
            String::new()
        },
    }
}

/// The freeze window that is open, if one is. One whose crontab or zone cannot be read counts as open: it was meant
/// to hold something.
fn freeze(input: &PlanInput<'_>, starts: u64) -> Option<Guard> {
    let windows = &input.desired.organization.item.freeze;
    let open = windows.iter().find_map(|window| {
        match cron::active(&window.cron, window.duration.0, window.time_zone.as_deref(), input.now) {
            Ok(false) => None,
            Ok(true) => {
                let zone = window.time_zone.as_deref().unwrap_or("UTC");
                Some(format!("freeze `{}` for {} ({zone}) is on", window.cron, window.duration))
            }
            Err(problem) => Some(format!("freeze cannot be read: {problem}")),
        }
    })?;
    let held = match starts {
        0 => String::new(),
        _ => format!(", {starts} held"),
    };
    Some(Guard {
        id: GuardId::Freeze,
        actual: starts,
        limit: Some(0),
        ok: starts == 0,
        overridden: false,
        words: format!("{open}{held}"),
        remedy: if starts > 0 { "what is still different starts when the window closes".into() } else { String::new() },
    })
}

fn agent_removal(live: &Live, name: &AgentName) -> Option<Guard> {
    let down = live.agents.get(name).is_some_and(|agent| !agent.up && agent.running > 0);
    let running = live.agents.get(name).map_or(0, |agent| u64::from(agent.running));
    let queued: u64 = live.queues.iter().filter(|(q, _)| q.agent == *name).map(|(_, queue)| queue.queued_total).sum();
    (running + queued > 0).then(|| Guard {
        id: GuardId::AgentRemoval,
        actual: running + queued,
        limit: Some(0),
        ok: false,
        overridden: false,
        words: format!(
            "agent {name} goes with {running} running and {queued} queued{}",
            if down { ", and cannot be reached" } else { "" }
        ),
        remedy: if down {
            format!("if its cluster is gone for good: `tidegate agents forget {name}`; queues go with `onRemove: cancel` or `moveTo`")
        } else {
            "remove its queues first and let them drain, then the agent".into()
        },
    })
}

/// A removed queue whose runs move to a queue that is not there.
fn move_target(input: &PlanInput<'_>, change: &ObjectChange) -> Option<Guard> {
    let to = change.effects.queued.as_ref()?.moved_to.as_ref()?;
    (!input.desired.queues.contains_key(to)).then(|| Guard {
        id: GuardId::MoveTarget,
        actual: change.effects.queued.as_ref().map_or(0, |queued| queued.now),
        limit: Some(0),
        ok: false,
        overridden: false,
        words: format!("{} moves its runs to queue {to}, which is not declared", change.address),
        remedy: "set its `onRemove` to a queue that stays, one commit before removing it".into(),
    })
}

/// A removed queue that workflows of the same commit still name: they are unsound now, and the remover is to blame.
fn queue_in_use(input: &PlanInput<'_>, queue: &QueueName) -> Option<Guard> {
    let workflows = input.base.into_iter().flat_map(|base| &base.workflows);
    let users: Vec<String> = workflows
        .filter(|(name, workflow)| workflow.item.queue == *queue && input.desired.unsound.contains_key(*name))
        .map(|(name, _)| name.to_string())
        .collect();
    (!users.is_empty()).then(|| Guard {
        id: GuardId::QueueInUse,
        actual: users.len() as u64,
        limit: Some(0),
        ok: false,
        overridden: false,
        words: format!("queue {queue} is removed, and workflow {} still names it", users.join(", ")),
        remedy: "give those workflows another queue in the same commit".into(),
    })
}
