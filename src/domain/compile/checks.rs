//! What must hold among policy documents: a table of named checks.

use std::collections::BTreeMap;

use globset::Glob;
use serde_json::Value;

use super::codes;
use super::document::{Document, escape_token};
use super::policy::{Written, queue_name};
use super::text::{alternatives, shown};
use crate::domain::cron;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place, Severity, did_you_mean};
use crate::domain::ids::{AgentName, QueueName};
use crate::domain::spec::{NamespacePlace, OnRemove};

/// A check over the policy of a commit.
type Check = fn(&Written<'_>, &mut Diagnostics);

/// Every check, by name. An error of any of them means: no catalog.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("exactly one organization", one_organization),
    ("names are declared once", names_once),
    ("an agent has one target", one_target),
    ("an agent has its namespace alone", own_namespace),
    ("the agent of a queue exists", agents_exist),
    ("queues that are named exist", queues_exist),
    ("presets that are named exist", presets_exist),
    ("times can be read", times),
    ("globs can be read", globs),
];

fn one_organization(written: &Written<'_>, problems: &mut Diagnostics) {
    match &written.organizations[..] {
        [_] => {}
        // One with errors has been reported at its place.
        [] if written.unsound_organization => {}
        [] => problems.push(
            Diagnostic::error(
                codes::NO_ORGANIZATION,
                Place::file("tidegate.yaml"),
                "no document declares the organization",
            )
            .help("add `tidegate.yaml` with `version: 1.1`, `kind: organization` and `name`"),
        ),
        all => once("organization", all.iter().map(|(_, document)| (String::new(), *document)), problems),
    }
}

fn names_once(written: &Written<'_>, problems: &mut Diagnostics) {
    once("agent", written.agents.iter().map(|(agent, document)| (agent.name.to_string(), *document)), problems);
    once("queue", written.queues.iter().map(|(queue, document)| (queue_name(queue).to_string(), *document)), problems);
    once("project", written.projects.iter().map(|(project, document)| (project.name.to_string(), *document)), problems);
    once("preset", written.presets.iter().map(|(name, document)| (name.clone(), *document)), problems);
}

/// Reports every name that several documents declare, at each of them.
pub(super) fn once<'d>(kind: &str, things: impl Iterator<Item = (String, &'d Document)>, problems: &mut Diagnostics) {
    let mut by_name: BTreeMap<String, Vec<&Document>> = BTreeMap::new();
    things.for_each(|(name, document)| by_name.entry(name).or_default().push(document));
    by_name.into_iter().for_each(|(name, documents)| declared_twice(kind, &name, &documents, problems));
}

/// Reports a name that several documents declare, at each of them.
pub(super) fn declared_twice(kind: &str, name: &str, documents: &[&Document], problems: &mut Diagnostics) {
    if documents.len() > 1 {
        let called = if name.is_empty() { kind.to_owned() } else { format!("{kind} `{}`", shown(name)) };
        for (i, document) in documents.iter().enumerate() {
            let place = if document.value.get("name").is_some() { document.place("/name") } else { document.place("") };
            let mut problem = Diagnostic::error(
                codes::DUPLICATE_NAME,
                place,
                format!("the {} is declared {} times; none is applied", called, documents.len()),
            )
            .help("rename or remove all but one");
            for other in documents.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| other).take(3) {
                problem = problem.see(other.place("/name"), "also declared here");
            }
            problem.object = format!("{kind} {}", shown(name)).trim_end().to_owned();
            problems.push(problem);
        }
    }
}

fn one_target(written: &Written<'_>, problems: &mut Diagnostics) {
    for (agent, document) in &written.agents {
        let (message, place) = match (&agent.local, &agent.kubernetes) {
            (None, None) => ("the agent has no target", document.place("/name")),
            (Some(_), Some(_)) => ("the agent has two targets", document.key_place("/kubernetes")),
            _ => continue,
        };
        problems.push(about(
            Diagnostic::error(codes::ONE_TARGET, place, message).help("write either `local: {}` or `kubernetes: {…}`"),
            format!("agent {}", agent.name),
        ));
    }
}

fn own_namespace(written: &Written<'_>, problems: &mut Diagnostics) {
    let mut by_place: BTreeMap<NamespacePlace<'_>, Vec<(&AgentName, &Document)>> = BTreeMap::new();
    for (agent, document) in &written.agents {
        if let Some(target) = &agent.kubernetes {
            by_place.entry(target.place()).or_default().push((&agent.name, document));
        }
    }
    for (place, agents) in by_place {
        let pointer = if place.namespace().is_some() { "/kubernetes/namespace" } else { "/kubernetes" };
        for (i, (name, document)) in agents.iter().enumerate() {
            // One name in two documents is another problem, and told as such.
            let others: Vec<_> = agents
                .iter()
                .enumerate()
                .filter(|(j, (other, _))| *j != i && other != name)
                .map(|(_, other)| other)
                .collect();
            let Some((other, _)) = others.first() else { continue };
            let message = format!("agents `{name}` and `{other}` share a namespace of a cluster");
            let help = "give each agent a namespace of its own, or keep one agent with several queues";
            let mut problem =
                Diagnostic::error(codes::SHARED_NAMESPACE, document.key_place(pointer), message).help(help);
            for (other, document) in others.into_iter().take(3) {
                problem = problem.see(document.key_place(pointer), format!("agent `{other}` is here too"));
            }
            problems.push(about(problem, format!("agent {name}")));
        }
    }
}

fn agents_exist(written: &Written<'_>, problems: &mut Diagnostics) {
    let agents = written.agent_names();
    for (queue, document) in written.queues.iter().filter(|(queue, _)| !agents.contains(&queue.agent)) {
        let message = format!("no agent is called `{}`", queue.agent);
        let help = near(queue.agent.as_str(), agents.iter().map(|agent| agent.as_str()), "agents");
        problems.push(about(
            Diagnostic::error(codes::UNKNOWN_AGENT, document.place("/agent"), message).help(help),
            format!("queue {}", queue_name(queue)),
        ));
    }
}

fn queues_exist(written: &Written<'_>, problems: &mut Diagnostics) {
    for (organization, document) in &written.organizations {
        named_queue(written, organization.default_queue.as_deref(), document, "/defaultQueue", problems);
    }
    for (project, document) in &written.projects {
        named_queue(written, project.default_queue.as_deref(), document, "/defaultQueue", problems);
    }
    for (agent, document) in &written.agents {
        let name = agent.default_queue.as_ref().map(|queue| format!("{}/{queue}", agent.name));
        named_queue(written, name.as_deref(), document, "/defaultQueue", problems);
    }
    for (queue, document) in &written.queues {
        if let OnRemove::MoveTo(to) = &queue.on_remove {
            named_queue(written, Some(&to.to_string()), document, "/onRemove", problems);
            if *to == queue_name(queue) {
                let message = "the queue would hand its runs to itself";
                problems.push(Diagnostic::error(codes::UNKNOWN_QUEUE, document.place("/onRemove"), message));
            }
        }
    }
}

fn named_queue(
    written: &Written<'_>,
    text: Option<&str>,
    document: &Document,
    pointer: &str,
    problems: &mut Diagnostics,
) {
    if let Some(Err(problem)) = text.map(|text| find_queue(written, text, &document.place(pointer))) {
        problems.push(about(*problem, super::load::label(&document.value)));
    }
}

/// The queue that a text names, or the problem with it.
pub(super) fn find_queue(written: &Written<'_>, text: &str, place: &Place) -> Result<QueueName, Box<Diagnostic>> {
    let name = match written.full_queue_name(text) {
        Ok(name) => name,
        Err(why) if !text.contains(['/', '.']) && crate::domain::ids::check_name(text).is_ok() => {
            return Err(Diagnostic::error(codes::FOREIGN_QUEUE, place.clone(), why).help("write `agent/queue`").into());
        }
        Err(why) => {
            return Err(Diagnostic::error(codes::UNKNOWN_QUEUE, place.clone(), why).help("write `agent/queue`").into());
        }
    };
    let queues = &written.queue_names;
    if queues.contains(&name) {
        return Ok(name);
    }
    let names: Vec<String> = queues.iter().map(ToString::to_string).collect();
    let help = near(&name.to_string(), names.iter().map(String::as_str), "queues");
    Err(Diagnostic::error(codes::UNKNOWN_QUEUE, place.clone(), format!("no queue is called `{name}`"))
        .help(help)
        .into())
}

fn presets_exist(written: &Written<'_>, problems: &mut Diagnostics) {
    let organizations =
        written.organizations.iter().map(|(organization, document)| (&organization.default_preset, *document));
    let projects = written.projects.iter().map(|(project, document)| (&project.default_preset, *document));
    for (preset, document) in organizations.chain(projects) {
        if let Some(preset) = preset
            && !written.presets.iter().any(|(name, _)| name == preset)
        {
            let names = written.presets.iter().map(|(name, _)| name.as_str());
            problems.push(unknown_preset(preset, names, document.place("/defaultPreset")));
        }
    }
}

/// The problem with a preset that does not exist.
pub(super) fn unknown_preset<'a>(name: &str, names: impl Iterator<Item = &'a str>, place: Place) -> Diagnostic {
    let message = format!("no preset is called `{}`", shown(name));
    Diagnostic::error(codes::UNKNOWN_PRESET, place, message).help(near(name, names, "presets"))
}

fn times(written: &Written<'_>, problems: &mut Diagnostics) {
    for (_, document) in &written.organizations {
        each(document, "/sync/freeze", |pointer, entry| time(document, pointer, entry, problems));
    }
    for (_, document) in &written.queues {
        each(document, "/windows", |pointer, entry| time(document, pointer, entry, problems));
    }
}

/// Calls a function for each entry of a list, with its pointer.
fn each(document: &Document, list: &str, mut check: impl FnMut(&str, &Value)) {
    for (i, entry) in document.value.pointer(list).and_then(Value::as_array).into_iter().flatten().enumerate() {
        check(&format!("{list}/{i}"), entry);
    }
}

/// Checks `cron` and `timeZone` of a mapping.
pub(super) fn time(document: &Document, pointer: &str, entry: &Value, problems: &mut Diagnostics) {
    if let Some(text) = entry.get("cron").and_then(Value::as_str)
        && let Err(why) = cron::Cron::parse(text)
    {
        let place = document.place(&format!("{pointer}/cron"));
        let message = format!("`{}` is not a crontab line: {why}", shown(text));
        problems.push(
            Diagnostic::error(codes::BAD_CRON, place, message).help("minute, hour, day of month, month, day of week"),
        );
    }
    if let Some(zone) = entry.get("timeZone").and_then(Value::as_str)
        && cron::zone(Some(zone)).is_err()
    {
        let names: Vec<String> = cron::zones().map(|name| name.to_string()).collect();
        let help = near(zone, names.iter().map(String::as_str), "");
        let place = document.place(&format!("{pointer}/timeZone"));
        let message = format!("the time zone `{}` is not known", shown(zone));
        problems.push(Diagnostic::error(codes::UNKNOWN_TIME_ZONE, place, message).help(help));
    }
}

fn globs(written: &Written<'_>, problems: &mut Diagnostics) {
    for (_, document) in &written.projects {
        each(document, "/queues", |pointer, entry| {
            if let Some(text) = entry.as_str() {
                glob(text, &document.place(pointer), problems);
            }
        });
    }
}

/// Reads a glob, or says why it is none.
pub(super) fn glob(text: &str, place: &Place, problems: &mut Diagnostics) -> Option<Glob> {
    let read = globset::GlobBuilder::new(text).literal_separator(true).build();
    if let Err(why) = &read {
        let message = format!("`{}` is not a glob: {}", shown(text), why.kind());
        problems.push(Diagnostic::error(codes::BAD_GLOB, place.clone(), message));
    }
    read.ok()
}

/// "did you mean", or the list when it is short.
pub(super) fn near<'a>(word: &str, names: impl Iterator<Item = &'a str>, what: &str) -> String {
    let names: Vec<&str> = names.collect();
    match did_you_mean(word, names.iter().copied()) {
        Some(near) => format!("did you mean `{}`?", shown(near)),
        None if what.is_empty() => String::new(),
        None if names.is_empty() => format!("there are no {what}"),
        None if names.len() <= 12 => format!("the {what} are {}", alternatives(names)),
        None => String::new(),
    }
}

/// Says which object a problem is about.
pub(super) fn about(problem: Diagnostic, object: String) -> Diagnostic {
    Diagnostic { object, ..problem }
}

/// A problem as one that is found only when the run is made.
pub(super) fn later(problem: Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, code: codes::FAILS_LATER, ..problem }
}

/// The pointer of a field.
pub(super) fn field(key: &str) -> String {
    format!("/{}", escape_token(key))
}
