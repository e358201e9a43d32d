//! Which objects differ between the applied and the wanted catalog, and where the server differs from both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::Serialize;
use serde_json::Value;

use super::PlanInput;
use super::fields::{Places, Versions, changes, patch};
use super::model::{Action, Address, Class, Effects, ObjectChange, ObjectKind};
use crate::domain::catalog::{Catalog, Declared, ResolvedWorkflow};
use crate::domain::ids::{AgentName, QueueName, WorkflowName};

/// All objects that differ, with the typed name of each, in the order in which a commit applies them. No effects yet.
pub(super) fn objects(input: &PlanInput<'_>) -> Vec<(Subject, ObjectChange)> {
    let (base, desired) = (input.base, input.desired);
    let mut all: Vec<_> = organization(input).into_iter().collect();

    let projects = Kind { kind: ObjectKind::Project, ..Kind::plain(base.map(|b| &b.projects), &desired.projects) };
    all.extend(projects.compare().into_iter().map(|(_, _, change)| (Subject::Other, change)));

    let live_agent = |name: &AgentName| match input.live {
        Some(live) if !live.unread_agents.contains(name) && live.complete => {
            Seen::Is(live.agents.get(name).map(|a| &a.policy))
        }
        Some(live) => live.agents.get(name).map_or(Seen::Unknown, |agent| Seen::Is(Some(&agent.policy))),
        None => Seen::Unknown,
    };
    let agents =
        Kind { kind: ObjectKind::Agent, live: &live_agent, ..Kind::plain(base.map(|b| &b.agents), &desired.agents) };
    all.extend(agents.compare().into_iter().map(|(name, _, change)| (Subject::Agent(name), change)));

    let live_queue = |name: &QueueName| match input.live {
        Some(live) if !live.unread_agents.contains(&name.agent) && live.complete => {
            Seen::Is(live.queues.get(name).filter(|queue| !queue.draining).map(|queue| &queue.policy))
        }
        Some(live) => live.queues.get(name).map_or(Seen::Unknown, |queue| Seen::Is(Some(&queue.policy))),
        None => Seen::Unknown,
    };
    let changed_by = |name: &QueueName| input.live.and_then(|live| live.queues.get(name)?.changed_by.as_deref());
    let previous_queue = |name: &QueueName| {
        let queue = desired.queues.get(name)?.item.previous_name.clone()?;
        Some(QueueName { agent: name.agent.clone(), queue })
    };
    let queues = Kind {
        kind: ObjectKind::Queue,
        live: &live_queue,
        changed_by: &changed_by,
        previous: &previous_queue,
        ..Kind::plain(base.map(|b| &b.queues), &desired.queues)
    };
    all.extend(queues.compare().into_iter().map(|(name, from, change)| (Subject::Queue { name, from }, change)));
    all.extend(undeclared_queues(input));

    let presets = Kind { kind: ObjectKind::Preset, ..Kind::plain(base.map(|b| &b.presets), &desired.presets) };
    all.extend(presets.compare().into_iter().map(|(_, _, change)| (Subject::Other, change)));

    let previous_workflow = |name: &WorkflowName| previous_workflow(desired, name);
    let keep = |name: &WorkflowName| desired.unsound.contains_key(name);
    let workflows = Kind {
        kind: ObjectKind::Workflow,
        previous: &previous_workflow,
        keep: &keep,
        ..Kind::plain(base.map(|b| &b.workflows), &desired.workflows)
    };
    all.extend(workflows.compare().into_iter().map(|(name, _, change)| (Subject::Workflow(name), change)));
    all
}

/// The name that a workflow says it had before.
pub(super) fn previous_workflow(desired: &Catalog, name: &WorkflowName) -> Option<WorkflowName> {
    let workflow = desired.workflows.get(name)?.item.previous_name.clone()?;
    Some(WorkflowName { project: name.project.clone(), workflow })
}

/// The typed name of a changed object, for its effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Organization,
    Agent(AgentName),
    Queue { name: QueueName, from: Option<QueueName> },
    Workflow(WorkflowName),
    Other,
}

/// What the server has of an object.
enum Seen<'a, T> {
    /// It was not asked, or could not be read: nothing is concluded.
    Unknown,
    /// This, or nothing.
    Is(Option<&'a T>),
}

/// All objects of one kind, and how they relate.
struct Kind<'a, K, T> {
    kind: ObjectKind,
    base: Option<&'a BTreeMap<K, Declared<T>>>,
    desired: &'a BTreeMap<K, Declared<T>>,
    live: &'a dyn Fn(&K) -> Seen<'a, T>,
    changed_by: &'a dyn Fn(&K) -> Option<&'a str>,
    previous: &'a dyn Fn(&K) -> Option<K>,
    keep: &'a dyn Fn(&K) -> bool,
}

impl<'a, K: Ord + Clone + Display, T: Serialize + PartialEq> Kind<'a, K, T> {
    fn plain(base: Option<&'a BTreeMap<K, Declared<T>>>, desired: &'a BTreeMap<K, Declared<T>>) -> Self {
        Self {
            kind: ObjectKind::Project,
            base,
            desired,
            live: &|_| Seen::Unknown,
            changed_by: &|_| None,
            previous: &|_| None,
            keep: &|_| false,
        }
    }

    /// What differs, by name, with the name before when the object moved.
    fn compare(&self) -> Vec<(K, Option<K>, ObjectChange)> {
        let in_base = |name: &K| self.base.and_then(|base| base.get(name));
        let moves: BTreeMap<&K, K> = self
            .desired
            .keys()
            .filter(|name| in_base(name).is_none())
            .filter_map(|name| Some((name, (self.previous)(name)?)))
            .filter(|(_, from)| in_base(from).is_some() && !self.desired.contains_key(from))
            .collect();
        let moved_away: BTreeSet<&K> = moves.values().collect();
        let names: BTreeSet<&K> = self.desired.keys().chain(self.base.into_iter().flat_map(BTreeMap::keys)).collect();
        let mut found = Vec::new();
        for name in names {
            if moved_away.contains(name) {
                continue;
            }
            let from = moves.get(name);
            let (base, desired) = (in_base(from.unwrap_or(name)), self.desired.get(name));
            if desired.is_none() && (self.keep)(name) {
                continue;
            }
            let live = (self.live)(from.unwrap_or(name));
            if let Some(change) = self.one(name, from, base, desired, &live) {
                found.push((name.clone(), from.cloned(), change));
            }
        }
        found
    }

    fn one(
        &self,
        name: &K,
        from: Option<&K>,
        base: Option<&Declared<T>>,
        desired: Option<&Declared<T>>,
        live: &Seen<'_, T>,
    ) -> Option<ObjectChange> {
        let declared = |side: Option<&Declared<T>>| side.is_some_and(|d| d.place.is_some());
        if !declared(base) && !declared(desired) && (base.is_none() || desired.is_none()) {
            return None;
        }
        let same_live = match live {
            Seen::Unknown => true,
            Seen::Is(live) => *live == base.map(|b| &b.item),
        };
        if from.is_none() && same_live && base.map(|b| &b.item) == desired.map(|d| &d.item) {
            return None;
        }
        let value = |item: &T| meaning(serde_json::to_value(item).expect("policies are plain data with text keys"));
        let (old, new) = (base.map(|b| value(&b.item)), desired.map(|d| value(&d.item)));
        let seen = match live {
            Seen::Unknown => old.clone(),
            Seen::Is(live) => live.map(value),
        };
        if desired.is_some() && from.is_none() && old == new && old == seen {
            return None;
        }
        let missing = base.is_some() && desired.is_some() && seen.is_none();
        let versions = Versions {
            base: old.as_ref(),
            desired: new.as_ref(),
            live: if missing { old.as_ref() } else { seen.as_ref() },
        };
        let places = Places { desired: desired.map(|d| &d.fields), base: base.map(|b| &b.fields) };
        let fields = match desired {
            Some(_) => changes(versions, &places, (self.changed_by)(from.unwrap_or(name))),
            None => Vec::new(),
        };
        let action = match (base, desired) {
            (_, Some(_)) if from.is_some() => Action::Move,
            (None, Some(_)) if seen.is_none() => Action::Create,
            (Some(_), Some(_)) if fields.iter().all(|f| f.class == Class::Drift) => Action::Drift,
            (_, Some(_)) => Action::Update,
            (_, None) => Action::Remove,
        };
        let note = match action {
            _ if missing => Some("missing on the server; it is made again".to_owned()),
            Action::Update if base.is_none() => Some("exists on the server already; it is taken over".to_owned()),
            _ => None,
        };
        Some(ObjectChange {
            address: Address { kind: self.kind, name: name.to_string() },
            action,
            moved_from: from.map(K::to_string),
            place: desired.or(base).and_then(|d| d.place.as_ref()).map(Into::into),
            note,
            fields,
            effects: Effects::default(),
            patch: patch(old.as_ref(), new.as_ref()),
        })
    }
}

/// An object without what is no part of its state: digests are derived, the former name is an instruction.
fn meaning(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        for key in ["specDigest", "triggerDigest", "inputsDigest", "previousName"] {
            map.shift_remove(key);
        }
    }
    value
}

/// Whether two versions of a workflow differ in more than the files that they watch.
pub(super) fn same_definition(a: &ResolvedWorkflow, b: &ResolvedWorkflow) -> bool {
    a.spec_digest == b.spec_digest && a.trigger_digest == b.trigger_digest
}

/// The organization; the server knows only its limit.
fn organization(input: &PlanInput<'_>) -> Option<(Subject, ObjectChange)> {
    let desired = &input.desired.organization;
    let base = input.base.map(|base| &base.organization);
    let value = |item: &crate::domain::catalog::OrganizationPolicy| {
        serde_json::to_value(item).expect("policies are plain data with text keys")
    };
    let (old, new) = (base.map(|b| value(&b.item)), value(&desired.item));
    let mut live = old.clone();
    if let (Some(live), Some(server)) = (&mut live, input.live) {
        live["concurrency"] = serde_json::to_value(server.organization.concurrency).expect("a limit is a number");
    }
    if old.as_ref() == Some(&new) && live == old {
        return None;
    }
    let versions = Versions { base: old.as_ref(), desired: Some(&new), live: live.as_ref() };
    let fields = changes(versions, &Places { desired: Some(&desired.fields), base: base.map(|b| &b.fields) }, None);
    let action = match base {
        None => Action::Create,
        Some(_) if fields.iter().all(|f| f.class == Class::Drift) => Action::Drift,
        Some(_) => Action::Update,
    };
    let change = ObjectChange {
        address: Address { kind: ObjectKind::Organization, name: desired.item.name.to_string() },
        action,
        moved_from: None,
        place: desired.place.as_ref().map(Into::into),
        note: None,
        fields,
        effects: Effects::default(),
        patch: patch(old.as_ref(), Some(&new)),
    };
    Some((Subject::Organization, change))
}

/// Queues of the server that no file declares or declared: somebody made them past git.
fn undeclared_queues(input: &PlanInput<'_>) -> Vec<(Subject, ObjectChange)> {
    let known = |name: &QueueName| {
        input.desired.queues.contains_key(name) || input.base.is_some_and(|base| base.queues.contains_key(name))
    };
    let undeclared = input.live.into_iter().flat_map(|live| &live.queues).filter(|(name, queue)| {
        !queue.draining && !known(name) && name.queue.as_str() != crate::domain::ids::DEFAULT_QUEUE
    });
    let change = |(name, queue): (&QueueName, &super::live::LiveQueue)| {
        let by = queue.changed_by.as_deref().map_or(String::new(), |who| format!(" (by {who})"));
        let change = ObjectChange {
            address: Address { kind: ObjectKind::Queue, name: name.to_string() },
            action: Action::Drift,
            moved_from: None,
            place: None,
            note: Some(format!("made past git{by}; no file declares it, so it drains and goes")),
            fields: Vec::new(),
            effects: Effects::default(),
            patch: Vec::new(),
        };
        (Subject::Queue { name: name.clone(), from: None }, change)
    };
    undeclared.map(change).collect()
}
