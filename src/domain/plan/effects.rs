//! What a changed policy does to running work, to queued work and to the objects that refer to it.
//!
//! Every waiting run is looked at once for its queue and once for its agent.

use std::collections::BTreeMap;

use super::PlanInput;
use super::changes::Subject;
use super::fields::find_place;
use super::live::{Live, LiveQueue, LiveRun};
use super::model::{
    Action, Address, HoldChange, MAX_LISTED, ObjectChange, ObjectKind, OrderChange, Overuse, QueuedEffect, Rank,
    Reference, RunningEffect, Spot, Unschedulable,
};
use crate::domain::catalog::{Catalog, QueuePolicy};
use crate::domain::diagnostic::Place;
use crate::domain::ids::{AgentName, QueueName, WorkflowName};
use crate::domain::quantity::{Quantity, Resources};
use crate::domain::spec::{Limit, OnRemove, Priority, TargetSpec, WorkflowOnRemove};

/// Adds to each changed object what the change does.
pub(super) fn add(input: &PlanInput<'_>, objects: &mut [(Subject, ObjectChange)]) {
    let order = input.live.map(|live| Order::of(input, live)).unwrap_or_default();
    let users = Users::of(input.desired);
    let users_before = input.base.map(Users::of).unwrap_or_default();
    for (subject, change) in objects {
        match subject {
            Subject::Queue { name, from } => {
                let users = if input.desired.queues.contains_key(name) { &users } else { &users_before };
                references(change, users.0.get(name).map_or(&[], Vec::as_slice));
                if let Some(queue) = input.live.and_then(|live| live.queues.get(from.as_ref().unwrap_or(name))) {
                    queue_effects(input, name, queue, change, &order);
                }
            }
            Subject::Agent(name) => agent_effects(input, name, change),
            Subject::Organization => {
                if let Some(live) = input.live
                    && change.fields.iter().any(|field| field.path == "/concurrency")
                {
                    let limit = input.desired.organization.item.concurrency;
                    change.effects.running = Some(running(live.organization.running, limit, Vec::new()));
                }
            }
            Subject::Workflow(name) => workflow_effects(input, name, change),
            Subject::Other => {}
        }
    }
}

/// The first resource of which a request asks more than a limit allows: its name, need and have.
pub(super) fn exceeds(request: &Resources, limit: &Resources) -> Option<(String, Quantity, Quantity)> {
    limit.0.iter().find_map(|(resource, have)| {
        let need = request.0.get(resource)?;
        (need > have).then(|| (resource.clone(), *need, *have))
    })
}

fn running(now: u32, limit: Limit, over_quota: Vec<Overuse>) -> RunningEffect {
    RunningEffect { now, limit: Some(limit), over_limit: now.saturating_sub(limit.max()), over_quota, cancelled: 0 }
}

fn overuse(used: &Resources, limit: &Resources) -> Vec<Overuse> {
    let over = limit.0.iter().filter_map(|(resource, limit)| {
        let used = used.0.get(resource)?;
        let over = || Overuse { resource: resource.clone(), used: used.to_string(), limit: limit.to_string() };
        (used > limit).then(over)
    });
    over.collect()
}

fn touches(change: &ObjectChange, paths: &[&str]) -> bool {
    change.fields.iter().any(|field| paths.iter().any(|path| field.path.starts_with(path)))
}

fn queue_effects(input: &PlanInput<'_>, name: &QueueName, queue: &LiveQueue, change: &mut ObjectChange, order: &Order) {
    let mut queued = QueuedEffect { now: queue.queued_total, ..QueuedEffect::default() };
    let Some(desired) = input.desired.queues.get(name).map(|declared| &declared.item) else {
        return removed_queue(input, name, queue, change, queued);
    };
    if touches(change, &["/concurrency", "/quota"]) {
        change.effects.running =
            Some(running(queue.running, desired.concurrency, overuse(&queue.used, &desired.quota)));
    }
    queued.hold = hold_change(&queue.policy, desired);
    if touches(change, &["/quota"]) {
        never(input, queue, &mut queued, |run| {
            let before = exceeds(&run.request, &queue.policy.quota);
            exceeds(&run.request, &desired.quota).filter(|_| before.is_none()).map(|found| ("quota", found))
        });
    }
    if touches(change, &["/priority"]) {
        queued.order = order.changes(name, queue.policy.priority, desired.priority);
        queued.reordered = if queued.order.is_empty() { 0 } else { queue.queued_total };
        queued.order.truncate(MAX_LISTED);
    }
    let told = queued.hold.is_some() || queued.unschedulable_total > 0 || queued.reordered > 0;
    if told || (queued.now > 0 && change.effects.running.is_some()) || change.action == Action::Move {
        change.effects.queued = Some(queued);
    }
}

fn removed_queue(
    input: &PlanInput<'_>,
    name: &QueueName,
    queue: &LiveQueue,
    change: &mut ObjectChange,
    mut queued: QueuedEffect,
) {
    let on_remove = input.base.and_then(|base| base.queues.get(name)).map(|declared| &declared.item.on_remove);
    queued.hold = Some(HoldChange::Drains);
    match on_remove.unwrap_or(&OnRemove::Drain) {
        OnRemove::Drain => {}
        OnRemove::MoveTo(to) => queued.moved_to = Some(to.clone()),
        OnRemove::Cancel => queued.cancelled = queue.queued_total,
    }
    change.effects.running = (queue.running > 0).then_some(RunningEffect {
        now: queue.running,
        limit: None,
        over_limit: 0,
        over_quota: Vec::new(),
        cancelled: 0,
    });
    change.effects.queued = Some(queued);
}

fn hold_change(before: &QueuePolicy, after: &QueuePolicy) -> Option<HoldChange> {
    let held = |policy: &QueuePolicy| policy.hold || policy.concurrency == Limit::At(0);
    match (held(before), held(after)) {
        (false, true) => Some(HoldChange::Held),
        (true, false) => Some(HoldChange::Released),
        _ => None,
    }
}

/// Counts and lists the waiting runs of a queue that `check` says can never start.
fn never<'a>(
    input: &PlanInput<'_>,
    queue: &'a LiveQueue,
    effect: &mut QueuedEffect,
    check: impl Fn(&'a LiveRun) -> Option<(&'static str, (String, Quantity, Quantity))>,
) {
    effect.partial |= (queue.queued.len() as u64) < queue.queued_total;
    for run in &queue.queued {
        let Some((limit, (resource, need, have))) = check(run) else { continue };
        effect.unschedulable_total += 1;
        if effect.unschedulable.len() < MAX_LISTED {
            effect.unschedulable.push(Unschedulable {
                run: run.run,
                name: run.name.clone(),
                workflow: run.workflow.clone(),
                place: run.workflow.as_ref().and_then(|workflow| request_place(input, workflow, &resource)),
                resource: format!("{limit}.{resource}"),
                need: need.to_string(),
                have: have.to_string(),
            });
        }
    }
}

/// Where a workflow asks for a resource.
fn request_place(input: &PlanInput<'_>, name: &WorkflowName, resource: &str) -> Option<Spot> {
    let workflow = input.desired.workflows.get(name)?;
    let resource = resource.replace('~', "~0").replace('/', "~1");
    let asked = ["requests", "limits"].map(|word| format!("/operation/run/container/resources/{word}/{resource}"));
    asked
        .iter()
        .find_map(|path| find_place(&workflow.fields, path))
        .or_else(|| workflow.place.clone())
        .as_ref()
        .map(Spot::from)
}

fn agent_effects(input: &PlanInput<'_>, name: &AgentName, change: &mut ObjectChange) {
    if change.action == Action::Remove
        && let Some(TargetSpec::Kubernetes(spec)) =
            input.base.and_then(|base| base.agents.get(name)).map(|declared| &declared.item.target)
    {
        change.note = spec.farewell();
    }
    let Some(live) = input.live else { return };
    let Some(agent) = live.agents.get(name) else { return };
    let of_agent = || live.queues.iter().filter(|(queue, _)| queue.agent == *name);
    let mut queued = QueuedEffect { now: of_agent().map(|(_, q)| q.queued_total).sum(), ..QueuedEffect::default() };
    let Some(desired) = input.desired.agents.get(name).map(|declared| &declared.item) else {
        let running =
            RunningEffect { now: agent.running, limit: None, over_limit: 0, over_quota: Vec::new(), cancelled: 0 };
        change.effects.running = Some(running);
        change.effects.queued = (queued.now > 0).then_some(queued);
        return;
    };
    if touches(change, &["/concurrency", "/capacity"]) {
        change.effects.running =
            Some(running(agent.running, desired.concurrency, overuse(&agent.used, &desired.capacity)));
    }
    if touches(change, &["/capacity"]) {
        for (_, queue) in of_agent() {
            never(input, queue, &mut queued, |run| {
                let before = exceeds(&run.request, &agent.policy.capacity);
                exceeds(&run.request, &desired.capacity).filter(|_| before.is_none()).map(|found| ("capacity", found))
            });
        }
    }
    change.effects.queued = (queued.unschedulable_total > 0).then_some(queued);
}

fn workflow_effects(input: &PlanInput<'_>, name: &WorkflowName, change: &mut ObjectChange) {
    if change.action != Action::Remove {
        return;
    }
    let work = input.live.and_then(|live| live.workflows.get(name)).copied().unwrap_or_default();
    let on_remove = input.base.and_then(|base| base.workflows.get(name)).map(|w| w.item.on_remove).unwrap_or_default();
    let cancelled = match on_remove {
        WorkflowOnRemove::Keep => (0, 0),
        WorkflowOnRemove::CancelQueued => (0, work.queued),
        WorkflowOnRemove::CancelAll => (work.running, work.queued),
    };
    change.effects.running = (work.running > 0).then_some(RunningEffect {
        now: work.running,
        limit: None,
        over_limit: 0,
        over_quota: Vec::new(),
        cancelled: cancelled.0,
    });
    change.effects.queued =
        (work.queued > 0).then(|| QueuedEffect { now: work.queued, cancelled: cancelled.1, ..QueuedEffect::default() });
}

fn references(change: &mut ObjectChange, users: &[Reference]) {
    change.effects.references_total = users.len();
    change.effects.references = users.iter().take(MAX_LISTED).cloned().collect();
}

/// Who refers to each queue.
#[derive(Default)]
struct Users(BTreeMap<QueueName, Vec<Reference>>);

impl Users {
    fn of(catalog: &Catalog) -> Self {
        let mut users: BTreeMap<QueueName, Vec<Reference>> = BTreeMap::new();
        let mut refer = |queue: &QueueName, kind, name: String, role: &str, place: Option<Place>| {
            let reference =
                Reference { address: Address { kind, name }, role: role.into(), place: place.as_ref().map(Spot::from) };
            users.entry(queue.clone()).or_default().push(reference);
        };
        let organization = &catalog.organization;
        if let Some(queue) = &organization.item.default_queue {
            let place = organization.fields.get("/defaultQueue").or_else(|| organization.place.clone());
            refer(queue, ObjectKind::Organization, organization.item.name.to_string(), "default queue", place);
        }
        for (name, project) in &catalog.projects {
            if let Some(queue) = &project.item.default_queue {
                let place = project.fields.get("/defaultQueue").or_else(|| project.place.clone());
                refer(queue, ObjectKind::Project, name.to_string(), "default queue", place);
            }
        }
        for (name, workflow) in &catalog.workflows {
            let place = workflow.fields.get("/queue").or_else(|| workflow.place.clone());
            refer(&workflow.item.queue, ObjectKind::Workflow, name.to_string(), "queue", place);
        }
        Self(users)
    }
}

/// The queues with waiting runs, by agent and by their level before and after.
#[derive(Default)]
struct Order(BTreeMap<AgentName, BTreeMap<(Priority, Priority), Waiting>>);

/// Queues with how many wait in each.
type Waiting = Vec<(QueueName, u64)>;

impl Order {
    fn of(input: &PlanInput<'_>, live: &Live) -> Self {
        let mut order = Self::default();
        for (name, queue) in live.queues.iter().filter(|(_, queue)| queue.queued_total > 0) {
            let before = queue.policy.priority;
            let after = input.desired.queues.get(name).map_or(before, |declared| declared.item.priority);
            let levels = order.0.entry(name.agent.clone()).or_default();
            levels.entry((before, after)).or_default().push((name.clone(), queue.queued_total));
        }
        order
    }

    /// How a queue with waiting runs comes to stand to the others whose order to it changes.
    fn changes(&self, name: &QueueName, before: Priority, after: Priority) -> Vec<OrderChange> {
        let Some(levels) = self.0.get(&name.agent) else { return Vec::new() };
        if !levels.get(&(before, after)).is_some_and(|queues| queues.iter().any(|(queue, _)| queue == name)) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for ((old, new), queues) in levels {
            let becomes = after.cmp(new);
            if before.cmp(old) == becomes || changes.len() > MAX_LISTED {
                continue;
            }
            let becomes = match becomes {
                std::cmp::Ordering::Greater => Rank::Ahead,
                std::cmp::Ordering::Equal => Rank::Level,
                std::cmp::Ordering::Less => Rank::Behind,
            };
            let change =
                |(queue, queued): &(QueueName, u64)| OrderChange { queue: queue.clone(), becomes, queued: *queued };
            changes.extend(queues.iter().filter(|(queue, _)| queue != name).map(change));
        }
        changes.sort_by(|a, b| (a.becomes, &a.queue).cmp(&(b.becomes, &b.queue)));
        changes
    }
}
