//! Inputs, outputs and params: what a component declares, what an operation gives, and how the two meet.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::field::Lookup;
use super::graph::{Known, is_graph};
use super::load::Source;
use super::text::shown;
use super::value::{INIT_TYPES, TEXTUAL, flag, has_template, is_template, is_type, read};
use super::{codes, refs, rules};
use crate::domain::catalog::{InputForm, ParamRef};
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
use crate::domain::spec::is_long_form;

/// Names that every template has.
const RESERVED: [&str; 3] = ["globals", "params", "connections"];

/// Checks the inputs and outputs that a component declares, with their defaults.
pub(super) fn check_declarations(component: &Map<String, Value>, at: &Source<'_>, problems: &mut Diagnostics) {
    super::runs::check(component, at, problems);
    super::sections::check_run(component, at, problems);
    for section in ["inputs", "outputs"] {
        for (i, io) in declared(component, section).enumerate() {
            let path = |field: &str| format!("/{section}/{i}{field}");
            let name = text_of(io, "name").unwrap_or_default();
            let word = type_of(io);
            if RESERVED.contains(&name) {
                let place = at.place(&path("/name"));
                let message = format!("`{name}` is a variable of every template");
                problems.push(Diagnostic::error(codes::RESERVED_NAME, place, message).help("choose another name"));
            }
            if io.field("isFlag").and_then(flag) == Some(true) && word != Some("bool") {
                let message = format!("`{}` is a flag, but not of type `bool`", shown(name));
                let place = at.place(&path("/isFlag"));
                problems.push(Diagnostic::error(codes::FLAG_NOT_BOOL, place, message).help("write `type: bool`"));
            }
            if let Some(pattern) = io.field("validation").and_then(|rules| rules.field("regex")).and_then(Value::as_str)
                && !rules::is_regex(pattern)
            {
                let message = format!("`{}` is not a regular expression", shown(pattern));
                let place = at.place(&path("/validation/regex"));
                // Without a value nothing is compared with it yet.
                problems.push(match io.field("value").filter(|value| !value.is_null() && word.is_some()) {
                    Some(_) => Diagnostic::error(codes::BAD_REGEX, place, message),
                    None => Diagnostic::warning(codes::FAILS_LATER, place, message),
                });
            }
            let has_rules = io.field("validation").and_then(Value::as_object).is_some_and(|rules| !rules.is_empty());
            if has_rules && word.is_none() {
                let message = format!("`{}` has no type, so its rules have no effect", shown(name));
                let problem = Diagnostic::warning(codes::RULE_WITHOUT_TYPE, at.place(&path("/validation")), message);
                problems.push(problem.help("write `type: …`"));
            }
            let Some(value) = io.field("value") else { continue };
            if io
                .field("isOptional")
                .is_some_and(|word| flag(word) == Some(false) || word.is_null() && !value.is_null())
            {
                let message = format!("`{}` must be given and has a default", shown(name));
                let problem = Diagnostic::error(codes::REQUIRED_WITH_DEFAULT, at.place(&path("/isOptional")), message);
                problems.push(problem.help("remove `isOptional: false`, or the default"));
            }
            // An output of a graph may be that of one of its operations.
            if section == "outputs" && is_graph(component) && template_ref(value).is_some() {
                continue;
            }
            if is_template(value) && word.is_some_and(|word| !TEXTUAL.contains(&word) || is_list(io)) {
                let message = format!("the default of `{}` is a template", shown(name));
                let problem = Diagnostic::error(codes::WRONG_VALUE, at.place(&path("/value")), message);
                problems
                    .push(problem.help("a default is known when the component is written; give templates as params"));
            }
            check_value(io, value, || at.place(&path("/value")), problems);
        }
    }
}

/// Reads a value as the type of its input and checks its rules.
fn check_value(io: &Value, value: &Value, place: impl Fn() -> Place, problems: &mut Diagnostics) -> Option<Value> {
    let name = text_of(io, "name").unwrap_or_default();
    let word = type_of(io);
    match read(word, is_list(io), value) {
        Err(why) => {
            let code = if word.is_some_and(|word| !is_type(word)) { codes::UNKNOWN_TYPE } else { codes::WRONG_VALUE };
            problems.push(Diagnostic::error(code, place(), format!("`{}`: {why}", shown(name))));
            None
        }
        Ok(typed) => {
            if !typed.is_null()
                && let Some(why) = rules::broken(io, &typed)
            {
                problems.push(Diagnostic::error(codes::BROKEN_RULE, place(), format!("`{}`: {why}", shown(name))));
                return None;
            }
            Some(typed)
        }
    }
}

/// The values with which an operation runs.
#[derive(Debug, Default)]
pub(super) struct Bound {
    /// Inputs and context variables by name.
    pub inputs: BTreeMap<String, Value>,
    /// Environment variable → input.
    pub to_env: BTreeMap<String, String>,
    /// Input → its form on a command line, in order of declaration.
    pub as_arg: IndexMap<String, String>,
    /// Input → what is said of it beside its value.
    pub forms: BTreeMap<String, InputForm>,
    /// Values of outputs that are known beforehand.
    pub outputs: BTreeMap<String, Value>,
    /// Inputs whose values are templates.
    pub templated: BTreeSet<String>,
    /// Inputs whose values come from other runs.
    pub refs: BTreeMap<String, ParamRef>,
    /// The declarations of the inputs whose values are known only when the run is made.
    pub late: BTreeMap<String, Value>,
}

/// The operations of a graph by name, with their places.
pub(super) type Siblings<'s> = BTreeMap<&'s str, u32>;

/// Where an operation stands: what its refs may mean.
pub(super) enum Scope<'s> {
    /// Alone: only other runs.
    Alone,
    /// In the graph of a lone file: its operations and the graph itself, by the full path of the ref.
    Graph(&'s BTreeMap<String, Known>),
    /// In a graph of a repository, whose operations are these.
    Among(&'s Siblings<'s>),
}

impl<'s> Scope<'s> {
    pub(super) fn siblings(&self) -> Option<&'s Siblings<'s>> {
        match self {
            Scope::Among(siblings) => Some(siblings),
            _ => None,
        }
    }
}

/// Gives the inputs of a component the params of an operation, with every problem that this has.
pub(super) fn bind(
    operation: &Map<String, Value>,
    at: &Source<'_>,
    component: &Map<String, Value>,
    scope: &Scope<'_>,
    problems: &mut Diagnostics,
) -> Bound {
    let siblings = scope.siblings();
    let mut bound = Bound::default();
    let none = Map::new();
    let params = operation.field("params").and_then(Value::as_object).unwrap_or(&none);
    let find = |name: &str| {
        let named = |io: &&Value| text_of(io, "name") == Some(name);
        let outputs = || declared(component, "outputs").filter(named).last();
        declared(component, "inputs").filter(named).last().or_else(outputs)
    };
    for (name, param) in params {
        let pointer = || format!("/params/{}", super::document::escape_token(name));
        let long = param.as_object().filter(|map| is_long_form(map));
        let value = long.map_or(Some(param), |map| map.field("value")).unwrap_or(&Value::Null);
        let is = |key: &str| long.and_then(|map| map.field(key)).and_then(flag) == Some(true);
        let io = find(name);
        let form = form(io, long);
        if form != InputForm::default() {
            bound.forms.insert(name.clone(), form);
        }
        if io.is_none() && !is("contextOnly") {
            let names: Vec<&str> = ["inputs", "outputs"]
                .iter()
                .flat_map(|section| declared(component, section))
                .filter_map(|io| text_of(io, "name"))
                .collect();
            let help = match did_you_mean(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`contextOnly: true` makes it a template variable".to_owned(),
            };
            let message = format!("the component has no input `{}`", shown(name));
            problems.push(Diagnostic::error(codes::UNKNOWN_PARAM, at.key_place(&pointer()), message).help(help));
            continue;
        }
        let written = long.and_then(|map| map.field("ref")).and_then(Value::as_str);
        // Inside a graph, a value that is only `{{ ops.NAME.outputs.x }}` means the same as a ref.
        let short = siblings.and_then(|_| template_ref(value));
        if let Some((reference, path)) = written.map(|ref_| (ref_, value.as_str().unwrap_or_default())).or(short) {
            let wanted = io.map(|io| (type_of(io), is_list(io)));
            refs::check(reference, path, wanted, &pointer(), at, scope, problems);
            let from = refs::points_to(reference, siblings);
            bound.refs.extend(from.map(|from| (name.clone(), ParamRef { from, path: path.to_owned() })));
            bound.late.extend(io.map(|io| (name.clone(), io.clone())));
            continue;
        }
        if is("toInit")
            && let Some(io) = io
            && !can_init(io, long)
        {
            let message = format!("`{}` cannot be prepared by an init container", shown(name));
            let place = at.place(&pointer());
            let problem = match scope {
                Scope::Graph(_) => Diagnostic::warning(codes::FAILS_LATER, place, message),
                _ => Diagnostic::error(codes::OTHER_VALUE, place, message),
            };
            problems.push(problem.help("it needs a connection, or the type git, dockerfile, file or artifacts"));
        }
        let variable = long.and_then(|map| map.field("toEnv")).and_then(Value::as_str);
        if let Some(variable) = variable {
            bound.to_env.insert(variable.to_owned(), name.clone());
        }
        let is_nothing = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        let typed = match io {
            Some(io) if is_nothing(value) && must_be_given(io) => {
                let message = format!("`{}` is given nothing, and has no default", shown(name));
                let problem = Diagnostic::error(codes::REQUIRED_INPUT, at.place(&pointer()), message);
                problems.push(problem.help("give it a value, or write `isOptional: true` at the input"));
                None
            }
            Some(io) => check_value(io, value, || value_place(at, name, long.is_some()), problems),
            None => Some(value.clone()),
        };
        bound.inputs.extend(typed.map(|typed| (name.clone(), typed)));
    }
    // Points of a matrix and results of joins are params too, known only later.
    let supplied = super::sections::supplied(operation);
    let waits = |name: &str| supplied.as_ref().is_none_or(|names| names.contains(name));
    refs::check_joins(operation, component, at, scope, problems);
    for io in declared(component, "inputs") {
        let name = text_of(io, "name").unwrap_or_default();
        let given = params.contains_key(name);
        match io.field("value") {
            _ if !given && waits(name) => {}
            Some(value) if !given => {
                let typed = read(type_of(io), is_list(io), value);
                bound.inputs.insert(name.to_owned(), typed.unwrap_or_else(|_| value.clone()));
            }
            None if !given && io.field("isOptional").and_then(flag) != Some(true) && !delayed(io, false) => {
                required(name, "input", at, problems);
            }
            None if !given => {
                bound.inputs.insert(name.to_owned(), Value::Null);
            }
            _ => {}
        }
        if waits(name) {
            bound.late.insert(name.to_owned(), io.clone());
        }
        let form = if given { InputForm::default() } else { form(Some(io), None) };
        if form != InputForm::default() {
            bound.forms.insert(name.to_owned(), form);
        }
        if let Some(variable) = text_of(io, "toEnv") {
            bound.to_env.entry(variable.to_owned()).or_insert_with(|| name.to_owned());
        }
        if let Some(value) = bound.inputs.get(name).filter(|value| !value.is_null()) {
            bound.as_arg.insert(name.to_owned(), argument(io, name, value));
        } else if bound.late.contains_key(name) {
            // Its place among the others; the form comes with the value.
            bound.as_arg.insert(name.to_owned(), String::new());
        }
    }
    for io in declared(component, "outputs") {
        let name = text_of(io, "name").unwrap_or_default();
        let optional = io.field("isOptional").and_then(flag) == Some(true) || io.field("value").is_some();
        let given = params.contains_key(name);
        if !delayed(io, true) && !optional && !given {
            required(name, "output", at, problems);
        }
        let is_input = || declared(component, "inputs").any(|input| text_of(input, "name") == Some(name));
        let known = match io.field("value") {
            _ if given => bound.inputs.get(name).filter(|_| !is_input()).cloned(),
            value => value.and_then(|value| read(type_of(io), is_list(io), value).ok()),
        };
        let known = known.filter(|value| !value.is_null() && !has_template(value));
        bound.outputs.extend(known.map(|value| (name.to_owned(), value)));
    }
    for (name, _) in bound.inputs.iter().filter(|(_, value)| has_template(value)) {
        bound.templated.insert(name.clone());
        bound.late.extend(find(name).map(|io| (name.clone(), io.clone())));
    }
    bound
}

/// Whether nothing is no value of an input: it is of a type, and may not be left out.
fn must_be_given(io: &Value) -> bool {
    let optional = io.field("isOptional").and_then(flag) == Some(true) || io.field("value").is_some();
    !optional && type_of(io).is_some()
}

/// What a declaration and a param say of an input; the param has the last word.
fn form(io: Option<&Value>, param: Option<&Map<String, Value>>) -> InputForm {
    let said = |key: &str| {
        let by_param = param.and_then(|param| param.field(key)).filter(|value| !value.is_null());
        by_param.or_else(|| io.and_then(|io| io.field(key)))
    };
    InputForm {
        io_type: io.and_then(|io| type_of(io)).map(str::to_owned),
        is_flag: io.and_then(|io| io.field("isFlag")).and_then(flag) == Some(true),
        to_init: said("toInit").and_then(flag) == Some(true),
        connection: said("connection").and_then(Value::as_str).map(str::to_owned),
    }
}

fn required(name: &str, what: &str, at: &Source<'_>, problems: &mut Diagnostics) {
    let message = format!("the {what} `{}` has no default and is not given", shown(name));
    problems.push(
        Diagnostic::error(codes::REQUIRED_INPUT, at.place("/params"), message)
            .help(format!("write `params: {{{}: …}}`", shown(name))),
    );
}

/// What a text that is only `{{ ops.NAME.PATH }}` or `{{ dag.PATH }}` refers to: the ref and the path.
pub(super) fn template_ref(value: &Value) -> Option<(&str, &str)> {
    let inner = value.as_str()?.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    if !inner.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return None;
    }
    let (reference, path) = match inner.strip_prefix("ops.") {
        Some(rest) => inner.split_at("ops.".len() + rest.find('.')?),
        None => ("dag", inner.strip_prefix("dag")?),
    };
    Some((reference, path.strip_prefix('.')?))
}

/// Whether an input takes a list of values of its type.
pub(super) fn is_list(io: &Value) -> bool {
    io.field("isList").and_then(flag) == Some(true)
}

fn can_init(io: &Value, long: Option<&Map<String, Value>>) -> bool {
    let connection = io.field("connection").or_else(|| long.and_then(|map| map.field("connection")));
    connection.is_some_and(Value::is_string) || type_of(io).is_some_and(|word| INIT_TYPES.contains(&word))
}

fn value_place(at: &Source<'_>, name: &str, long: bool) -> Place {
    let pointer = format!("/params/{}", super::document::escape_token(name));
    at.place(&if long { pointer + "/value" } else { pointer })
}

/// Whether a value is checked only when the run starts.
fn delayed(io: &Value, default: bool) -> bool {
    let written = io
        .field("validation")
        .and_then(|rules| rules.field("delay"))
        .or_else(|| io.field("delayValidation"))
        .and_then(flag);
    written.unwrap_or(default)
}

/// Reads the value that an input got only when its run was made: typed and checked, with its form on a command line. The
/// error is the end of a sentence.
pub fn late(io: &Value, name: &str, value: &Value) -> Result<(Value, String), String> {
    let typed = read(type_of(io), is_list(io), value)?;
    if !typed.is_null()
        && let Some(why) = rules::broken(io, &typed)
    {
        return Err(why);
    }
    let argument = if typed.is_null() { String::new() } else { argument(io, name, &typed) };
    Ok((typed, argument))
}

/// How an input is written on a command line.
fn argument(io: &Value, name: &str, value: &Value) -> String {
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()),
    };
    if let Some(format) = text_of(io, "argFormat") {
        return fill(format, name, &text);
    }
    if io.field("isFlag").and_then(flag) == Some(true) {
        // A template is only known to be true when the run starts.
        return match flag(value) {
            Some(true) => format!("--{name}"),
            Some(false) => String::new(),
            None if has_template(value) => format!("--{name}={text}"),
            None => String::new(),
        };
    }
    format!("--{name}={text}")
}

/// Replaces `{{ name }}` by a text, with any spaces.
fn fill(format: &str, name: &str, text: &str) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        match after.split_once("}}") {
            Some((inner, after)) if inner.trim() == name => {
                out.push_str(text);
                rest = after;
            }
            _ => {
                out.push_str("{{");
                rest = after;
            }
        }
    }
    out + rest
}

pub(super) fn declared<'v>(
    component: &'v Map<String, Value>,
    section: &str,
) -> impl Iterator<Item = &'v Value> + use<'v> {
    component.field(section).and_then(Value::as_array).into_iter().flatten()
}

/// The type of an input, if it has one.
pub(super) fn type_of(io: &Value) -> Option<&str> {
    text_of(io, "type").filter(|word| !word.is_empty())
}

pub(super) fn text_of<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.field(key).and_then(Value::as_str)
}
