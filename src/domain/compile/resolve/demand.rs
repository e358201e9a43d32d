//! What a workflow asks of the dispatcher: a queue that its project may use, and resources.

use std::collections::BTreeMap;

use globset::GlobSet;
use serde_json::Value;

use super::merged::Merged;
use super::{Draft, Resolving};
use crate::domain::compile::checks::{find_queue, near};
use crate::domain::compile::field::Lookup;
use crate::domain::compile::load::Source;
use crate::domain::compile::policy::Policy;
use crate::domain::compile::text::shown;
use crate::domain::compile::value::is_template;
use crate::domain::compile::{codes, violation};
use crate::domain::diagnostic::{Diagnostic, Place};
use crate::domain::honour::each_pod;
use crate::domain::ids::{ProjectName, QueueName};
use crate::domain::quantity::{COST, Quantity, Resources};

/// The queues that projects may use, where they may not use all; made once, because every workflow asks.
pub(in crate::domain::compile) fn allowed_queues(policy: &Policy) -> BTreeMap<&ProjectName, GlobSet> {
    let set = |globs: &[String]| {
        let mut set = GlobSet::builder();
        let glob = |text: &String| globset::GlobBuilder::new(text).literal_separator(true).build().ok();
        for glob in globs.iter().filter_map(glob) {
            set.add(glob);
        }
        set.build().ok()
    };
    let limited = policy.projects.iter().filter_map(|(name, project)| Some((name, project.item.queues.as_ref()?)));
    limited.filter_map(|(name, globs)| Some((name, set(globs)?))).collect()
}

impl<'d> Resolving<'_, 'd> {
    /// The queue of a workflow.
    pub(super) fn queue(&mut self, draft: &Draft<'d>, merged: &Merged<'d>) -> Option<QueueName> {
        let own = draft.source.document.value.field("queue").and_then(Value::as_str).filter(|_| !draft.bare);
        self.queue_of(own.map(|own| (own, draft.source.place("/queue"))), merged)
    }

    /// The queue of an operation, unless its workflow names one.
    pub(super) fn queue_of(&mut self, own: Option<(&str, Place)>, merged: &Merged<'d>) -> Option<QueueName> {
        let written = self.context.written;
        let policy = self.context.policy;
        let merged_queue = merged.whole.field("queue").and_then(Value::as_str);
        let (text, place) = match (own, merged_queue) {
            (Some((own, place)), _) => (own, place),
            (None, Some(text)) => {
                let says = |source: &Source<'_>| {
                    source.map().and_then(|map| map.field("queue")).and_then(Value::as_str) == Some(text)
                };
                let place = if says(&merged.component_at) && !says(&merged.at) {
                    merged.component_at.place("/queue")
                } else {
                    merged.at.place("/queue")
                };
                (text, place)
            }
            (None, None) => {
                let project =
                    policy.projects.get(&self.name.project).and_then(|project| project.item.default_queue.clone());
                let only = || match policy.agents.iter().next() {
                    Some((name, agent)) if policy.agents.len() == 1 => {
                        Some(QueueName { agent: name.clone(), queue: agent.item.default_queue.clone() })
                    }
                    _ => None,
                };
                let chosen = project.or_else(|| policy.organization.item.default_queue.clone()).or_else(only);
                if chosen.is_none() {
                    let help = "write `queue: agent/queue`, or a `defaultQueue` for the project or the organization";
                    self.error(codes::NO_QUEUE, merged.at.place(""), "nothing says which queue this goes to", help);
                }
                return chosen.filter(|queue| self.allowed(queue, &merged.at.place("")));
            }
        };
        if is_template(&Value::from(text)) {
            let help = "write the queue itself: runs are ordered before their templates are filled in";
            self.error(codes::UNKNOWN_QUEUE, place, format!("`{}` is not a queue", shown(text)), help);
            return None;
        }
        match find_queue(written, text, &place) {
            Ok(queue) => Some(queue).filter(|queue| self.allowed(queue, &place)),
            Err(problem) => {
                self.problems.push(*problem);
                None
            }
        }
    }

    /// Whether the project may use a queue; says so when not.
    pub(super) fn allowed(&mut self, queue: &QueueName, place: &Place) -> bool {
        let policy = self.context.policy;
        let project = &self.name.project;
        let Some(set) = self.context.queues.get(project).filter(|set| !set.is_match(queue.to_string())) else {
            return true;
        };
        let names: Vec<String> =
            policy.queues.keys().map(ToString::to_string).filter(|name| set.is_match(name)).collect();
        let project = policy.projects.get(project);
        let globs = project.and_then(|project| project.item.queues.as_deref()).unwrap_or_default();
        let message = format!("the project `{}` may not use the queue `{queue}`", self.name.project);
        let help = match names.len() {
            0 => format!("`queues` of the project allows {}, and no queue is like that", globs.join(", ")),
            _ => near(&queue.to_string(), names.iter().map(String::as_str), "queues that it may use"),
        };
        let mut problem = Diagnostic::error(codes::QUEUE_NOT_ALLOWED, place.clone(), message).help(help);
        if let Some(where_) = project.and_then(|project| project.fields.get("/queues")) {
            problem = problem.see(where_, "what the project may use");
        }
        self.problems.push(problem);
        false
    }

    /// What one attempt asks for: requests of all containers of all replicas, limits where there is no request, and the cost.
    pub(super) fn request(&mut self, merged: &Merged<'d>, run: &Value) -> Option<Resources> {
        let mut request = Resources::default();
        let mut containers = Vec::new();
        each_pod(run, &mut |_, pod| {
            let replicas = pod.field("replicas").and_then(Value::as_u64).unwrap_or(1);
            let sidecars = pod.field("sidecars").and_then(Value::as_array).into_iter().flatten();
            containers
                .extend(pod.field("container").into_iter().chain(sidecars).map(|container| (container, replicas)));
        });
        let mut sound = true;
        let resources = containers.into_iter().filter_map(|(container, n)| Some((container.field("resources")?, n)));
        for (resources, replicas) in resources {
            let mut asked: BTreeMap<&str, &Value> = BTreeMap::new();
            for section in ["limits", "requests"] {
                let amounts = resources.field(section).and_then(Value::as_object);
                asked.extend(amounts.into_iter().flatten().map(|(name, amount)| (name.as_str(), amount)));
            }
            for (name, amount) in asked {
                match quantity(amount) {
                    Ok(amount) => request.add(name, amount.times(replicas)),
                    Err(why) => {
                        let place = merged.component_at.place("/run/container/resources");
                        self.error(codes::BAD_QUANTITY, place, format!("{}: {why}", shown(name)), "");
                        sound = false;
                    }
                }
            }
        }
        if let Some(cost) = merged.whole.field("cost").filter(|cost| !cost.is_null() && !cost.is_boolean()) {
            match quantity(cost) {
                Ok(cost) => request.add(COST, cost),
                Err(why) => {
                    self.error(
                        codes::BAD_QUANTITY,
                        merged.at.place("/cost"),
                        format!("cost: {why}"),
                        "write a number that is not negative",
                    );
                    sound = false;
                }
            }
        }
        request.0.retain(|_, amount| *amount != Quantity::ZERO);
        sound.then_some(request)
    }

    /// Warns when the request is larger than what its queue or agent can ever give.
    pub(super) fn fits(&mut self, queue: &QueueName, request: &Resources, merged: &Merged<'d>) {
        let policy = self.context.policy;
        let quota = policy.queues.get(queue).map(|item| (&item.item.quota, "quota of the queue"));
        let capacity = policy.agents.get(&queue.agent).map(|item| (&item.item.capacity, "capacity of the agent of"));
        for (limits, what) in quota.into_iter().chain(capacity) {
            for (name, asked) in &request.0 {
                if let Some(limit) = limits.0.get(name).filter(|limit| asked > limit) {
                    let place = merged.component_at.place("/run/container/resources");
                    let message = format!(
                        "this asks for {asked} of `{}`, and the {what} `{queue}` is {limit}: it would wait for ever",
                        shown(name)
                    );
                    self.problems.push(
                        Diagnostic::warning(codes::NEVER_FITS, place, message)
                            .help("ask for less, or choose another queue"),
                    );
                }
            }
        }
    }
}

pub(super) fn quantity(value: &Value) -> Result<Quantity, String> {
    match value {
        Value::String(text) => Quantity::parse(text.trim()),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        other => Err(format!("{} is not a quantity", violation::quoted(other))),
    }
}
