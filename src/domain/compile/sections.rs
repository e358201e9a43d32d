//! Sections with a meaning of their own, checked beyond their shape: matrix, schedule, early stopping, joins, events.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::checks::time;
use super::field::Lookup;
use super::inputs::{declared, text_of};
use super::load::Source;
use super::text::{alternatives, escape, shown};
use super::value::is_template;
use super::{codes, document};
use crate::domain::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::domain::spec::reading::{Fault, When};
use crate::domain::spec::{Distribution, EarlyStopping, EventTrigger, JoinSpec, Matrix, Schedule};

/// Longest message of a fault, in characters: it may quote a text of others.
const MAX_MESSAGE: usize = 240;

/// Checks the sections of an operation as they are written; templates are left for later.
pub(super) fn check(operation: &Map<String, Value>, at: &Source<'_>, problems: &mut Diagnostics) {
    let given = |key: &str| operation.field(key).filter(|value| !value.is_null() && !is_template(value));
    if let Some(matrix) = given("matrix") {
        tell(Matrix::read(matrix), codes::BAD_MATRIX, &at.at("/matrix"), problems);
        empty_space(matrix, at, problems);
    }
    if let Some(schedule) = given("schedule") {
        check_schedule(schedule, &at.at("/schedule"), problems);
    }
    for (key, read) in [("joins", join as fn(&Value) -> Result<(), Vec<Fault>>), ("events", event)] {
        for (i, entry) in given(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
            tell(read(entry), codes::BAD_LINK, &at.at(&format!("/{key}/{i}")), problems);
        }
    }
}

/// Checks a schedule, of an operation or of a trigger.
fn check_schedule(schedule: &Value, at: &Source<'_>, problems: &mut Diagnostics) {
    // Lines and zones have codes and help of their own.
    let apart = |mut faults: Vec<Fault>| {
        faults.retain(|fault| !matches!(fault.pointer.as_str(), "/cron" | "/timeZone"));
        faults
    };
    tell(Schedule::read(schedule).map_err(apart), codes::BAD_SCHEDULE, at, problems);
    if schedule.field("cron").is_none_or(|line| !is_template(line)) {
        time(at.document, &at.base, schedule, problems);
    }
}

/// Checks the schedules among the triggers of a workflow.
pub(super) fn check_triggers(workflow: &Map<String, Value>, at: &Source<'_>, problems: &mut Diagnostics) {
    let triggers = workflow.field("triggers").and_then(Value::as_array).into_iter().flatten();
    for (i, trigger) in triggers.enumerate() {
        if let Some(schedule) = trigger.field("schedule") {
            check_schedule(schedule, &at.at(&format!("/triggers/{i}/schedule")), problems);
        }
    }
}

/// Checks `earlyStopping` of a component that is a graph.
pub(super) fn check_run(component: &Map<String, Value>, at: &Source<'_>, problems: &mut Diagnostics) {
    let rules = component.field("run").and_then(|run| run.field("earlyStopping")).and_then(Value::as_array);
    for (i, rule) in rules.into_iter().flatten().enumerate().filter(|(_, rule)| !is_template(rule)) {
        let at = at.at(&format!("/run/earlyStopping/{i}"));
        tell(EarlyStopping::read(rule), codes::BAD_MATRIX, &at, problems);
    }
}

/// Checks that the params of a matrix suit the inputs that they become.
pub(super) fn check_params(
    operation: &Map<String, Value>,
    component: &Map<String, Value>,
    at: &Source<'_>,
    problems: &mut Diagnostics,
) {
    let Some(matrix) = operation.field("matrix").filter(|matrix| matrix.is_object()) else { return };
    needs_itself(matrix, operation, component, at, problems);
    let params = matrix.field("params").and_then(Value::as_object);
    for (name, written) in params.into_iter().flatten() {
        let mut inputs = component.field("inputs").and_then(Value::as_array).into_iter().flatten();
        let input = inputs.rfind(|input| input.field("name").and_then(Value::as_str) == Some(name));
        let word = input.and_then(|input| input.field("type")).and_then(Value::as_str);
        let (Some(kind), true) = (written.field("kind").and_then(Value::as_str), input.is_some()) else { continue };
        let (values, types): (_, &[&str]) = match kind {
            "choice" | "pchoice" => continue,
            "daterange" => ("dates", &["date"]),
            "datetimerange" => ("moments", &["datetime"]),
            _ => ("numbers", &["int", "float"]),
        };
        if !word.is_some_and(|word| types.contains(&word)) {
            let place = at.place(&format!("/matrix/params/{}/kind", document::escape_token(name)));
            let says = word.map_or("has no type".to_owned(), |word| format!("is of type `{}`", shown(word)));
            let message = format!("`{}` {says}, and these are {values}", shown(name));
            let types = alternatives(types.iter().copied());
            let help = format!("declare the input as {types}, or list the values with `choice`");
            problems.push(Diagnostic::error(codes::WRONG_VALUE, place, message).help(help));
        }
    }
}

/// Inputs that only the matrix can give are not in the template that says what it gives; and a tuner must be told which
/// params it makes up.
fn needs_itself(
    matrix: &Value,
    operation: &Map<String, Value>,
    component: &Map<String, Value>,
    at: &Source<'_>,
    problems: &mut Diagnostics,
) {
    let given = |name: &str| operation.field("params").is_some_and(|params| params.field(name).is_some());
    let mut open = declared(component, "inputs").filter_map(|io| text_of(io, "name")).filter(|name| !given(name));
    let message = match matrix.field("params") {
        Some(Value::String(template)) => {
            let mut words = template.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
            let Some(name) = open.find(|name| words.any(|word| word == *name)) else { return };
            format!("`{}` is an input, and its value may come from here", shown(name))
        }
        None | Some(Value::Null) if matrix.field("kind").and_then(Value::as_str) == Some("iterative") => {
            let Some(name) = open.next() else { return };
            format!("nothing says whether the tuner gives `{}`", shown(name))
        }
        _ => return,
    };
    let problem = Diagnostic::error(codes::BAD_MATRIX, at.place("/matrix"), message);
    problems.push(problem.help("write the params of the matrix, each with its kind and its values"));
}

/// The names of params that a matrix and joins will give; `None` when they are not known yet.
pub(super) fn supplied(operation: &Map<String, Value>) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    if let Some(matrix) = operation.field("matrix").filter(|matrix| !matrix.is_null()) {
        names.extend(Matrix::names(matrix)?);
    }
    if let Some(joins) = operation.field("joins").filter(|joins| !joins.is_null()) {
        for join in joins.as_array()? {
            match join.field("params") {
                None | Some(Value::Null) => {}
                Some(params) => names.extend(params.as_object()?.keys().cloned()),
            }
        }
    }
    Some(names)
}

fn join(entry: &Value) -> Result<(), Vec<Fault>> {
    JoinSpec::read(entry).map(drop)
}

fn event(entry: &Value) -> Result<(), Vec<Fault>> {
    EventTrigger::read(entry).map(drop)
}

/// Warns of a search without a single point.
fn empty_space(matrix: &Value, at: &Source<'_>, problems: &mut Diagnostics) {
    for (name, written) in matrix.field("params").and_then(Value::as_object).into_iter().flatten() {
        if Distribution::read(written).is_ok_and(|of| of.size() == Some(0)) {
            let place = at.place(&format!("/matrix/params/{}/value", document::escape_token(name)));
            let message = format!("`{}` has no values: the matrix makes no runs", shown(name));
            problems.push(Diagnostic::warning(codes::EMPTY_SEARCH, place, message));
        }
    }
}

fn tell<T>(read: Result<T, Vec<Fault>>, code: Code, at: &Source<'_>, problems: &mut Diagnostics) {
    for fault in read.err().unwrap_or_default() {
        let message: String = fault.message.chars().take(MAX_MESSAGE).collect();
        let (place, message) = (at.place(&fault.pointer), escape(&message));
        match fault.when {
            When::Written => problems.push(Diagnostic::error(code, place, message)),
            When::Made => problems.push(
                Diagnostic::warning(codes::FAILS_LATER, place, message)
                    .help("the file can be read, but no run can be made of it"),
            ),
            When::Filled => {}
        }
    }
}
