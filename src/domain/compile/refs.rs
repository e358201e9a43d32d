//! Params that come from other runs: what their refs and joins may mean, and whether that fits the input.

use serde_json::{Map, Value};

use super::checks::later;
use super::field::Lookup;
use super::inputs::{Scope, Siblings, declared, is_list, text_of, type_of};
use super::load::Source;
use super::text::shown;
use super::value::flag;
use super::{codes, document};
use crate::domain::catalog::RefFrom;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::domain::ids::RunId;

/// Where a ref points to, once it is known to be sound.
pub(super) fn points_to(reference: &str, siblings: Option<&Siblings<'_>>) -> Option<RefFrom> {
    match reference.split_once('.') {
        None => Some(RefFrom::Dag),
        Some(("ops", name)) => siblings?.get(name).copied().map(RefFrom::Op),
        Some((_, id)) => RunId::parse(id).map(RefFrom::Run),
    }
}

/// Checks a reference to another run, and that what it means fits the input.
pub(super) fn check(
    reference: &str,
    written: &str,
    wanted: Option<(Option<&str>, bool)>,
    pointer: &str,
    at: &Source<'_>,
    scope: &Scope<'_>,
    problems: &mut Diagnostics,
) {
    // As in the original: what only a template variable of an operation in a graph is given is not looked at before.
    let late = matches!(scope, Scope::Graph(_)) && wanted.is_none() && reference.contains(['.', '{']);
    let mut push = |problem| problems.push(if late { only_later(problem) } else { problem });
    let siblings = scope.siblings();
    let place = at.place(&format!("{pointer}/ref"));
    let bad = |why: &str| Diagnostic::error(codes::BAD_REF, place.clone(), format!("`{}`: {why}", shown(reference)));
    let parts: Vec<&str> = reference.split('.').collect();
    let inner = inside(written);
    let path: Vec<&str> = inner.unwrap_or(written).split('.').map(str::trim).collect();
    match parts[..] {
        ["dag"] if siblings.is_some() => {
            if path[0] == "outputs" {
                push(bad("the outputs of the graph are not known before it ends"));
            }
        }
        ["ops", name] if siblings.is_some_and(|siblings| siblings.contains_key(name)) => {}
        ["dag"] | ["ops", _] => {
            // What is in a template, and which artifacts there are, is not known before it runs.
            // What goes into a template variable only is looked for when it runs.
            if let (Some(siblings), ["ops", name]) = (siblings, &parts[..]) {
                push(super::graph::rules::unknown(name, siblings, place.clone()));
            } else if let (Scope::Alone, None, true, true) = (scope, inner, path[0] != "artifacts", wanted.is_some()) {
                let message = format!("`{}` means a graph, and this operation stands in none", shown(reference));
                push(Diagnostic::error(codes::REF_OUTSIDE, place.clone(), message).help("give the value itself"));
            }
        }
        ["runs", id] if uuid::Uuid::try_parse(id).is_ok() => {}
        ["runs", _] => push(bad("this is not the UUID of a run")),
        _ => push(bad("a ref is `ops.NAME`, `runs.UUID` or `dag`")),
    }
    let place = at.place(&format!("{pointer}/value"));
    let known = match path[..] {
        ["outputs"] => reference != "dag",
        _ => is_path(&path),
    };
    if !known {
        push(
            Diagnostic::error(codes::BAD_REF, place, "the value of a ref is a path such as `outputs.NAME`")
                .help("write `inputs.NAME`, `outputs.NAME`, `globals.NAME` or `artifacts.NAME`"),
        );
        return;
    }
    let (Scope::Graph(found), None, ["dag"] | ["ops", _], Some((io_type, is_list))) =
        (scope, inner, &parts[..], wanted)
    else {
        return;
    };
    match found.get(&format!("{reference}.{written}")) {
        // Artifacts are known only when the other run has ended.
        None if path[0] == "artifacts" => {}
        None => {
            let prefix = format!("{reference}.");
            let names = found.keys().filter_map(|name| name.strip_prefix(&prefix));
            let help = did_you_mean(written, names).map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            let message = format!("`{}` has nothing that is called `{}`", shown(reference), shown(written));
            push(Diagnostic::error(codes::BAD_REF, place, message).help(help));
        }
        Some(known) => {
            if !compatible(io_type, known.io_type.as_deref()) || is_list != known.is_list {
                let word = |io_type: Option<&str>, is_list: bool| {
                    let word = shown(io_type.unwrap_or("any"));
                    if is_list { format!("a list of `{word}`") } else { format!("`{word}`") }
                };
                let given = word(known.io_type.as_deref(), known.is_list);
                let message = format!(
                    "`{}` of `{}` is {given}, and the input takes {}",
                    shown(written),
                    shown(reference),
                    word(io_type, is_list)
                );
                push(Diagnostic::error(codes::WRONG_VALUE, place, message).help("declare the same type on both sides"));
            }
        }
    }
}

/// A problem with a ref or a join as one that is found when the run is made.
fn only_later(problem: Diagnostic) -> Diagnostic {
    match problem.code {
        codes::BAD_REF | codes::BAD_LINK => later(problem),
        _ => problem,
    }
}

/// What stands between the braces of a template.
fn inside(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("{{")?;
    let (inner, _) = rest.rsplit_once("}}")?;
    (!inner.is_empty()).then(|| inner.trim())
}

/// Whether a path means something of a run: a section, or one of its values.
fn is_path(path: &[&str]) -> bool {
    match path {
        [section] => ["inputs", "outputs", "io", "artifacts"].contains(section),
        [section, _] => ["inputs", "outputs", "globals", "artifacts"].contains(section),
        [section, _, _] => *section == "artifacts",
        _ => false,
    }
}

/// Whether a value of one type may be given to an input of another.
fn compatible(to: Option<&str>, from: Option<&str>) -> bool {
    const TEXTS: [&str; 5] = ["str", "path", "s3", "gcs", "wasb"];
    to == from || [to, from].iter().all(|word| word.is_some_and(|word| TEXTS.contains(&word)))
}

/// Checks that the inputs which joins give lists to take lists.
pub(super) fn check_joins(
    operation: &Map<String, Value>,
    component: &Map<String, Value>,
    at: &Source<'_>,
    scope: &Scope<'_>,
    problems: &mut Diagnostics,
) {
    let unknown = |pointer: String| {
        let message = "which params the join gives must be written, and this is a template";
        Diagnostic::error(codes::BAD_LINK, at.place(&pointer), message).help("write a template in a field of a join")
    };
    if operation.field("joins").is_some_and(Value::is_string) {
        problems.push(unknown("/joins".to_owned()));
    }
    let own = |name: &String| operation.field("params").is_some_and(|params| params.field(name).is_some());
    for (i, join) in operation.field("joins").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(params) = join.field("params").filter(|params| !params.is_null()) else {
            let message = "the join gives nothing: it has no `params`";
            let problem = Diagnostic::error(codes::BAD_LINK, at.place(&format!("/joins/{i}")), message);
            problems.push(problem.help("write for example `params: {losses: {value: outputs.loss}}`"));
            continue;
        };
        if params.is_string() {
            problems.push(unknown(format!("/joins/{i}/params")));
        }
        for (name, param) in params.as_object().into_iter().flatten().filter(|(name, _)| !own(name)) {
            let pointer = format!("/joins/{i}/params/{}", document::escape_token(name));
            let mut all = ["inputs", "outputs"].iter().flat_map(|section| declared(component, section));
            let only_context = param.field("contextOnly").and_then(flag) == Some(true);
            match all.find(|io| text_of(io, "name") == Some(name)) {
                Some(io) if !is_list(io) && type_of(io) != Some("artifacts") => {
                    let message = format!("a join gives `{}` a list, and the input takes one value", shown(name));
                    let problem = Diagnostic::error(codes::WRONG_VALUE, at.place(&pointer), message);
                    problems.push(problem.help("write `isList: true` at the input"));
                }
                None if !only_context => {
                    let message = format!("the component has no input `{}`", shown(name));
                    let problem = Diagnostic::error(codes::UNKNOWN_PARAM, at.key_place(&pointer), message);
                    problems.push(problem.help("`contextOnly: true` makes it a template variable"));
                    continue;
                }
                _ => {}
            }
            let value = param.field("value").unwrap_or(&Value::Null);
            let fits = match value {
                Value::String(text) => {
                    let path: Vec<&str> = inside(text).unwrap_or(text).split('.').map(str::trim).collect();
                    is_path(&path)
                }
                value => value.is_object(),
            };
            if !fits {
                let message = format!("{} is no value of a run", super::violation::quoted(value));
                let problem = Diagnostic::error(codes::BAD_LINK, at.place(&format!("{pointer}/value")), message);
                let problem =
                    problem.help("write for example `outputs.loss`, `inputs.lr`, `globals.uuid` or `artifacts`");
                let late = matches!(scope, Scope::Graph(_)) && only_context;
                problems.push(if late { only_later(problem) } else { problem });
            }
        }
    }
}
