//! What a schema cannot say of a run: which parts of an init exclude one another; and, as warnings, what Kubernetes would
//! not take although the original passes it on.

use serde_json::{Map, Value};

use super::codes;
use super::field::Lookup;
use super::load::Source;
use super::text::{alternatives, shown};
use super::violation::kind_of;
use crate::domain::diagnostic::{Diagnostic, Diagnostics};

/// What an init prepares: one of these.
const PREPARED: [&str; 9] =
    ["artifacts", "paths", "git", "dockerfile", "file", "tensorboard", "lineageRef", "modelRef", "artifactRef"];

/// Checks the `run` of a component, and those of the components of a graph.
pub(super) fn check(component: &Map<String, Value>, at: &Source<'_>, problems: &mut Diagnostics) {
    let Some(run) = component.field("run").and_then(Value::as_object) else { return };
    let at = at.at("/run");
    pod(run, &at, problems);
    for key in ["chief", "ps", "worker", "evaluator", "master", "launcher", "head", "scheduler"] {
        if let Some(replica) = run.field(key).and_then(Value::as_object) {
            pod(replica, &at.at(&format!("/{key}")), problems);
        }
    }
    for (name, replica) in run.field("workers").and_then(Value::as_object).into_iter().flatten() {
        if let Value::Object(replica) = replica {
            pod(replica, &at.at(&format!("/workers/{}", super::document::escape_token(name))), problems);
        }
    }
}

fn pod(pod: &Map<String, Value>, at: &Source<'_>, problems: &mut Diagnostics) {
    let list = |key: &str| pod.field(key).and_then(Value::as_array).into_iter().flatten().enumerate();
    for (i, init) in list("init") {
        let Value::Object(init) = init else { continue };
        let at = at.at(&format!("/init/{i}"));
        if let Some((key, message, help)) = unfit(init) {
            problems.push(Diagnostic::error(codes::OTHER_VALUE, at.key_place(&format!("/{key}")), message).help(help));
        }
        container(init.field("container"), &at, "/container", problems);
    }
    for (i, volume) in list("volumes").filter(|(_, volume)| !super::value::is_template(volume)) {
        if volume.field("name").is_none_or(Value::is_null) {
            let place = at.place(&format!("/volumes/{i}"));
            let problem = Diagnostic::error(codes::MISSING_FIELD, place, "a volume needs a name");
            problems.push(problem.help("write `name: …`; `volumeMounts` of containers refer to it"));
        }
    }
    container(pod.field("container"), at, "/container", problems);
    list("sidecars").for_each(|(i, sidecar)| container(Some(sidecar), at, &format!("/sidecars/{i}"), problems));
}

/// What is wrong with one of the inits of a partial run, as a sentence.
pub(super) fn unfit_init(patch: &Map<String, Value>) -> Option<String> {
    let inits = patch.field("init").and_then(Value::as_array)?;
    inits.iter().filter_map(Value::as_object).find_map(unfit).map(|(_, message, _)| format!("`init`: {message}"))
}

/// What is wrong with an init, if something is: the field, a sentence and what to do.
fn unfit(init: &Map<String, Value>) -> Option<(&'static str, String, &'static str)> {
    // A mapping is one thing, though nothing is in it.
    let set = |key: &&&str| init.field(key).is_some_and(|value| value.is_object() || !is_empty(value));
    let prepared: Vec<&'static str> = PREPARED.iter().filter(set).copied().collect();
    if let [_, second, ..] = prepared[..] {
        let names = alternatives(prepared.iter().copied()).replace(" or ", " and ");
        let message = format!("{names} in one entry, which prepares one thing");
        return Some((second, message, "make an entry of `init` for each"));
    }
    let git = init.field("git").filter(|git| !git.is_null())?;
    let nowhere = git.field("url").is_none_or(is_empty) && init.field("connection").is_none_or(is_empty);
    let help = "write `url`, or a `connection` beside `git`";
    nowhere.then(|| ("git", "nothing says which repository".to_owned(), help))
}

/// Warns of what Kubernetes would not take in a container, which stands under a pointer.
fn container(container: Option<&Value>, at: &Source<'_>, pointer: &str, problems: &mut Diagnostics) {
    let Some(container) = container.and_then(Value::as_object) else { return };
    for (key, takes_lists) in
        [("name", false), ("image", false), ("workingDir", false), ("command", true), ("args", true)]
    {
        let Some(value) = container.field(key).filter(|value| !value.is_null()) else { continue };
        if !(value.is_string() || takes_lists && value.is_array()) {
            let wanted = if takes_lists { "a list of texts" } else { "a text" };
            let message = format!("Kubernetes takes {wanted} for `{key}`, and this is {}", kind_of(value));
            problems.push(Diagnostic::warning(codes::NOT_KUBERNETES, at.place(&format!("{pointer}/{key}")), message));
        }
    }
    for (key, _) in container.field("resources").and_then(Value::as_object).into_iter().flatten() {
        if !["requests", "limits", "claims"].contains(&key.as_str()) {
            let pointer = format!("{pointer}/resources/{}", super::document::escape_token(key));
            let message = format!("Kubernetes knows no `{}` here, and the amount has no effect", shown(key));
            let problem = Diagnostic::warning(codes::NOT_KUBERNETES, at.key_place(&pointer), message);
            problems.push(
                problem.help(format!("write it under `requests` or `limits`: `requests: {{{}: …}}`", shown(key))),
            );
        }
    }
    let env = container.field("env").filter(|env| !env.is_null());
    let named = |one: &Value| one.field("name").is_some_and(Value::is_string) || super::value::is_template(one);
    if env.is_some_and(|env| !env.as_array().is_some_and(|list| list.iter().all(named))) {
        let message = "environment variables are a list of `name` and `value`";
        let problem = Diagnostic::warning(codes::NOT_KUBERNETES, at.place(&format!("{pointer}/env")), message);
        problems.push(problem.help("write `env: [{name: LR, value: \"0.1\"}]`"));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
