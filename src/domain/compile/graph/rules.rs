//! What holds for every graph, in a lone file and in a repository: its operations and components have names of their own,
//! what is named exists, nothing waits for itself, and no graph stands in itself.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::compile::checks::near;
use crate::domain::compile::codes;
use crate::domain::compile::inputs::{Siblings, check_declarations};
use crate::domain::compile::load::Source;
use crate::domain::compile::text::shown;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use crate::domain::waiting_order::waiting_order;

/// Graphs inside graphs at most; a deeper nesting is a mistake or an attack.
const MAX_NESTING: usize = 16;

/// Where the component of a graph stands: its file, and the pointer there.
pub(in crate::domain::compile) type Standing = (String, String);

/// A graph without operations.
pub(in crate::domain::compile) fn empty(place: Place) -> Diagnostic {
    Diagnostic::error(codes::EMPTY_GRAPH, place, "the graph has no operations").help("add at least one to `operations`")
}

/// Why a graph cannot stand within others, outermost first, if so.
pub(in crate::domain::compile) fn within(around: &[Standing], here: &Standing, place: Place) -> Option<Diagnostic> {
    if !around.contains(here) && around.len() < MAX_NESTING {
        return None;
    }
    let files: Vec<String> = around.iter().chain([here]).map(|(path, _)| format!("`{}`", shown(path))).collect();
    let message = format!("this graph stands in itself: {}", files.join(" → "));
    Some(Diagnostic::error(codes::CYCLE, place, message).help("let one of them hold something else"))
}

/// The components of a graph (`components` of its `run`) by name, each with what is wrong with its declarations.
pub(in crate::domain::compile) fn components<'d>(
    run: &Source<'d>,
    problems: &mut Diagnostics,
) -> BTreeMap<&'d str, Source<'d>> {
    let mut components: BTreeMap<&str, Source<'d>> = BTreeMap::new();
    let list = run.map().and_then(|run| run.get("components")).and_then(Value::as_array);
    for (i, component) in list.into_iter().flatten().enumerate() {
        let at = run.at(&format!("/components/{i}"));
        let Some(map) = component.as_object() else { continue };
        check_declarations(map, &at, problems);
        let Some(name) = map.get("name").and_then(Value::as_str) else { continue };
        if let Some(first) = components.insert(name, at.clone()) {
            problems.push(twice("components", name, &first, &at));
        }
    }
    components
}

/// The component of the graph that a `dagRef` names.
pub(in crate::domain::compile) fn component<'d>(
    wanted: &str,
    components: &BTreeMap<&'d str, Source<'d>>,
    at: &Source<'d>,
) -> Result<Source<'d>, Box<Diagnostic>> {
    components.get(wanted).cloned().ok_or_else(|| {
        let message = format!("the graph has no component `{}`", shown(wanted));
        let help = near(wanted, components.keys().copied(), "components of the graph");
        Box::new(Diagnostic::error(codes::NOT_IN_GRAPH, at.place("/dagRef"), message).help(help))
    })
}

/// The operations of a graph by name, with their place in the list. `judge` says how bad two of one name are.
pub(in crate::domain::compile) fn siblings<'d>(
    operations: &[Source<'d>],
    judge: impl Fn(&Source<'d>, &Source<'d>) -> Severity,
    problems: &mut Diagnostics,
) -> Siblings<'d> {
    let mut siblings = Siblings::new();
    for (i, at) in (0..).zip(operations) {
        let Some(name) = at.map().and_then(|map| map.get("name")).and_then(Value::as_str).filter(|n| !n.is_empty())
        else {
            let problem =
                Diagnostic::error(codes::NAMELESS_OPERATION, at.place(""), "an operation of a graph needs a name");
            problems.push(problem.help("write `name: …`"));
            continue;
        };
        if let Some(first) = siblings.insert(name, i) {
            let first = &operations[first as usize];
            let problem = twice("operations", name, first, at);
            problems.push(match judge(first, at) {
                Severity::Error => problem,
                severity => Diagnostic { severity, code: codes::FAILS_LATER, ..problem },
            });
        }
    }
    siblings
}

/// Two of one name.
pub(in crate::domain::compile) fn twice(what: &str, name: &str, first: &Source<'_>, second: &Source<'_>) -> Diagnostic {
    let message = format!("two {what} of the graph are called `{}`", shown(name));
    let problem = Diagnostic::error(codes::SAME_OPERATION, second.place("/name"), message);
    problem.help("give each a name of its own").see(first.place("/name"), "the first one")
}

/// An operation is named that is not there.
pub(in crate::domain::compile) fn unknown(wanted: &str, siblings: &Siblings<'_>, place: Place) -> Diagnostic {
    let message = format!("the graph has no operation `{}`", shown(wanted));
    let help = near(wanted, siblings.keys().copied(), "operations of the graph");
    Diagnostic::error(codes::UNKNOWN_OPERATION, place, message).help(help)
}

/// Checks that no operation waits for itself; `after` has for each the places of those that it waits for.
pub(in crate::domain::compile) fn circles<'n>(
    after: &[Vec<u32>],
    of: impl Fn(usize) -> (&'n str, Place),
    problems: &mut Diagnostics,
) {
    let Some(circle) = circle(after) else { return };
    let names: Vec<String> = circle.iter().chain(circle.first()).map(|i| format!("`{}`", shown(of(*i).0))).collect();
    let message = format!("operations wait for one another: {}", names.join(" → "));
    let (_, place) = of(circle[0]);
    problems
        .push(Diagnostic::error(codes::GRAPH_CIRCLE, place, message).help("let one of them not depend on the next"));
}

/// Operations each of which waits for the next, and the last for the first.
fn circle(after: &[Vec<u32>]) -> Option<Vec<usize>> {
    let waits_forever = waiting_order(after).waits_forever;
    // Who is left waits for somebody who is left: following one of those comes round.
    let mut at = waits_forever.iter().position(|forever| *forever)?;
    let mut way = Vec::new();
    while !way.contains(&at) {
        way.push(at);
        at = after[at].iter().map(|of| *of as usize).find(|of| waits_forever[*of])?;
    }
    let start = way.iter().position(|i| *i == at)?;
    Some(way.split_off(start))
}
