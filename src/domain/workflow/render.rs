//! Templates in a compiled operation: rendered once per attempt, strictly and with bounded fuel.
//!
//! A text with `{{` or `{%` is a template (Jinja2); the inputs, `params`, `globals` are its variables. A name that is
//! not known is an error, not an empty text. A command element that is only one `{{ x }}` keeps the form of its value.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::{Map, Value, json};

use super::bind::set;
use crate::domain::catalog::{CompiledOperation, InputForm};
use crate::domain::dispatch::observation::Cause;
use crate::domain::honour::each_pod;
use crate::domain::prepare::entry;
use crate::domain::spec::{Connection, Run, TargetSpec};
use crate::domain::waiting_order::waiting_order;

/// Instructions of one template at most: far beyond any honest command line, and a loop over a million things ends.
const FUEL: u64 = 100_000;
/// Bytes that all rendered texts of an operation make at most.
const MAX_RENDERED: usize = 4 << 20;

/// The variable that `plugins.logLevel` sets, by the original's name: its clients read it.
const LOG_LEVEL: &str = "POLYAXON_LOG_LEVEL";

/// What templates know of the run.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the names are Polyaxon's globals
pub struct Globals {
    pub owner_name: String,
    pub project_name: String,
    pub name: String,
    pub uuid: String,
    /// Known in hooks only.
    pub status: String,
    pub namespace: String,
    pub iteration: u64,
    pub created_at: String,
    pub context_path: String,
    pub artifacts_path: String,
    pub connections: Map<String, Value>,
}

impl Globals {
    /// What templates know of a target, whatever runs there.
    pub fn of_target(target: Option<&TargetSpec>, owner_name: String) -> Self {
        match target {
            Some(TargetSpec::Kubernetes(cluster)) => Self {
                owner_name,
                namespace: cluster.namespace.clone().unwrap_or_default(),
                connections: cluster.connections.iter().map(Connection::variable).collect(),
                ..Self::default()
            },
            _ => Self { owner_name, ..Self::default() },
        }
    }
}

/// A rendered operation.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The `run` section without templates.
    pub run: Run,
    /// Environment variables that inputs and plugins ask for.
    pub env: Vec<(String, String)>,
    /// The other sections that a target looks at, without templates.
    pub sections: Map<String, Value>,
}

/// Renders an operation; the cause says which template is wrong and why.
pub fn render(operation: &CompiledOperation, globals: &Globals) -> Result<Rendered, Cause> {
    let operation = &with_templates_filled(operation, globals)?;
    let mut renderer = Renderer::new(operation, globals);
    let mut run = renderer.value(&operation.run, "run")?;
    prepared(&mut run, operation)?;
    let run: Run = serde_json::from_value(run)
        .map_err(|error| Cause::new("InvalidOperation", format!("the rendered run is not sound: {error}")))?;
    let mut env = Vec::new();
    for (variable, input) in &operation.to_env {
        env.push((variable.clone(), text_of(operation.inputs.get(input).unwrap_or(&Value::Null))));
    }
    let mut sections = Map::new();
    for (name, section) in &operation.sections {
        // Whatever builds its image is another run's, or nobody's.
        let section = if name == "build" { section.clone() } else { renderer.value(section, name)? };
        sections.insert(name.clone(), section);
    }
    if let Some(level) = sections.get("plugins").and_then(|plugins| plugins.get("logLevel")).filter(|l| !l.is_null()) {
        env.push((LOG_LEVEL.to_owned(), text_of(level)));
    }
    Ok(Rendered { run, env, sections })
}

/// The operation with the values of those inputs that are templates, typed as they are declared; those that speak of others
/// come after them.
fn with_templates_filled<'o>(
    operation: &'o CompiledOperation,
    globals: &Globals,
) -> Result<Cow<'o, CompiledOperation>, Cause> {
    if operation.templated.is_empty() {
        return Ok(Cow::Borrowed(operation));
    }
    let mut filled = operation.clone();
    for name in in_order(operation)? {
        if let Some(value) = operation.inputs.get(name) {
            let value = Renderer::new(&filled, globals).value(value, name)?;
            set(&mut filled, name, &value)?;
        }
    }
    Ok(Cow::Owned(filled))
}

/// The inputs that are templates, each behind those that it speaks of.
fn in_order(operation: &CompiledOperation) -> Result<Vec<&String>, Cause> {
    let names: Vec<&String> = operation.templated.iter().collect();
    let spoken_of = |name: &String| {
        let spoken_of = mentioned(operation.inputs.get(name));
        let places = (0u32..).zip(&names).filter(|(_, name)| spoken_of.contains(**name));
        places.map(|(place, _)| place).collect::<Vec<u32>>()
    };
    let order = waiting_order(&names.iter().map(|name| spoken_of(name)).collect::<Vec<_>>());
    if let Some(place) = order.waits_forever.iter().position(|forever| *forever) {
        let message = format!("the template of `{}` speaks of itself, or of one that does", names[place]);
        return Err(Cause::new("TemplateError", message));
    }
    Ok(order.comes.into_iter().map(|place| names[place]).collect())
}

/// Puts what inputs have prepared (`toInit`) before the entries of `init`, in every pod of the run.
fn prepared(run: &mut Value, operation: &CompiledOperation) -> Result<(), Cause> {
    let mut entries = Vec::new();
    for (name, form) in operation.forms.iter().filter(|(_, form)| form.to_init) {
        let Some(value) = operation.inputs.get(name).filter(|value| !value.is_null()) else { continue };
        let made = entry(form.io_type.as_deref(), value, form.connection.as_deref()).ok_or_else(|| {
            let message = format!(
                "`{name}` cannot be prepared (`toInit`): it needs a connection, or the type of a thing to prepare"
            );
            Cause::new("InvalidParam", message)
        });
        entries.push(made?);
    }
    if entries.is_empty() {
        return Ok(());
    }
    let mut places = Vec::new();
    each_pod(run, &mut |at, _| places.push(at));
    for place in places {
        let pod = run.pointer_mut(place.trim_start_matches("/run")).and_then(Value::as_object_mut);
        if let Some(init) = pod.map(|pod| pod.entry("init").or_insert_with(|| json!([]))).and_then(Value::as_array_mut)
        {
            init.splice(0..0, entries.iter().cloned());
        }
    }
    Ok(())
}

/// A section of an operation without templates, as far as its inputs say.
pub fn section(operation: &CompiledOperation, section: &Value, place: &str) -> Result<Value, Cause> {
    Renderer::new(operation, &Globals::default()).value(section, place)
}

/// Whether a condition is true: a template that comes to one of Polyaxon's words for it.
pub fn condition(operation: &CompiledOperation, text: &str, globals: &Globals) -> Result<bool, Cause> {
    let written = &Value::from(text);
    let spoken_of = mentioned([written]);
    let needs = |name: &String| spoken_of.contains(name) || spoken_of.contains("params");
    let operation = match operation.templated.iter().any(needs) {
        true => with_templates_filled(operation, globals)?,
        false => Cow::Borrowed(operation),
    };
    let value = match Renderer::new(&operation, globals).value(written, "conditions")? {
        Value::String(text) => Value::from(text.trim()),
        other => other,
    };
    crate::domain::compile::flag(&value).ok_or_else(|| {
        let message = format!("the condition `{text}` comes to `{}`, which is neither true nor false", text_of(&value));
        Cause::new("InvalidCondition", message)
    })
}

/// A value with its templates filled in.
pub fn fill(operation: &CompiledOperation, value: &Value, place: &str, globals: &Globals) -> Result<Value, Cause> {
    Renderer::new(operation, globals).value(value, place)
}

/// The text of a value: a text is itself, anything else its JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The variables that templates speak of. A template that cannot be read speaks of none: it is told when it is filled in.
pub fn mentioned<'v>(values: impl IntoIterator<Item = &'v Value>) -> BTreeSet<String> {
    let environment = Environment::new();
    let mut names = BTreeSet::new();
    let mut left: Vec<&Value> = values.into_iter().collect();
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) if text.contains("{{") || text.contains("{%") => {
                let template = environment.template_from_str(text);
                names.extend(template.map(|template| template.undeclared_variables(false)).unwrap_or_default());
            }
            Value::Array(items) => left.extend(items),
            Value::Object(map) => left.extend(map.values()),
            _ => {}
        }
    }
    names
}

struct Renderer {
    environment: Environment<'static>,
    context: minijinja::Value,
    left: usize,
}

impl Renderer {
    fn new(operation: &CompiledOperation, globals: &Globals) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let mut variables: BTreeMap<String, minijinja::Value> = BTreeMap::new();
        let mut params: BTreeMap<String, minijinja::Value> = BTreeMap::new();
        let formless = InputForm::default();
        for (name, value) in &operation.inputs {
            let form = operation.forms.get(name).unwrap_or(&formless);
            // A flag is written as on a command line, or not at all.
            let variable = match value {
                Value::Bool(true) if form.is_flag => minijinja::Value::from(format!("--{name}")),
                Value::Bool(false) | Value::Null if form.is_flag => minijinja::Value::from(""),
                _ => minijinja::Value::from(Serde(value)),
            };
            variables.insert(name.clone(), variable);
            let as_arg = operation.as_arg.get(name).cloned().unwrap_or_default();
            let param = context! {
                value => Serde(value), type => form.io_type.clone(), connection => form.connection.clone(),
                as_str => text_of(value), as_arg => as_arg,
            };
            params.insert(name.clone(), param);
        }
        let as_args: Vec<String> = operation.as_arg.values().filter(|arg| !arg.is_empty()).cloned().collect();
        params.insert("as_args".to_owned(), minijinja::Value::from(as_args));
        variables.insert("params".to_owned(), minijinja::Value::from(params));
        variables.insert("globals".to_owned(), globals_value(globals, &operation.run));
        variables.insert("connections".to_owned(), minijinja::Value::from(Serde(&globals.connections)));
        Self { environment, context: minijinja::Value::from(variables), left: MAX_RENDERED }
    }

    fn value(&mut self, value: &Value, place: &str) -> Result<Value, Cause> {
        Ok(match value {
            Value::String(text) if text.contains("{{") || text.contains("{%") => self.text(text, place)?,
            Value::Array(items) => {
                let items = items.iter().enumerate().map(|(i, item)| self.value(item, &format!("{place}[{i}]")));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let fields =
                    map.iter().map(|(key, item)| Ok((key.clone(), self.value(item, &format!("{place}.{key}"))?)));
                Value::Object(fields.collect::<Result<Map<_, _>, Cause>>()?)
            }
            other => other.clone(),
        })
    }

    fn text(&mut self, template: &str, place: &str) -> Result<Value, Cause> {
        let wrong = |error: minijinja::Error| {
            let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            Cause::new("TemplateError", format!("the template at {place} cannot be rendered: {why}: {template}"))
        };
        // A template that is one expression keeps the form of its value (a list stays a list).
        if let Some(expression) = lone_expression(template) {
            let value = self.environment.compile_expression(expression).map_err(wrong)?;
            let value = value.eval(&self.context).map_err(wrong)?;
            if value.is_undefined() {
                return Err(Cause::new("TemplateError", format!("`{expression}` at {place} is not known")));
            }
            let value = serde_json::to_value(&value)
                .map_err(|error| Cause::new("TemplateError", format!("`{expression}` at {place}: {error}")))?;
            self.spend(value.to_string().len(), place)?;
            return Ok(value);
        }
        let text = self.environment.render_str(template, &self.context).map_err(wrong)?;
        self.spend(text.len(), place)?;
        Ok(Value::String(text))
    }

    fn spend(&mut self, bytes: usize, place: &str) -> Result<(), Cause> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            Cause::new("TemplateError", format!("rendered texts are larger than {MAX_RENDERED} bytes at {place}"))
        })?;
        Ok(())
    }
}

/// The expression, when the template is nothing but `{{ expression }}`.
fn lone_expression(template: &str) -> Option<&str> {
    let inner = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then_some(inner.trim())
}

/// What templates see as `globals`; a service knows its ports, and the paths below which it is reached.
fn globals_value(globals: &Globals, run: &Value) -> minijinja::Value {
    let run_info = format!("{}.{}.runs.{}", globals.owner_name, globals.project_name, globals.uuid);
    let run_artifacts = format!("{}/{}", globals.artifacts_path, globals.uuid);
    let ports: Vec<u64> =
        run.get("ports").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64).collect();
    let is = |field: &str| run.get(field).and_then(Value::as_bool) == Some(true);
    let words = [is("rewritePath").then_some("rewrite"), is("isExternal").then_some("external")];
    let word =
        words.into_iter().flatten().chain((!is("isExternal")).then_some("services")).collect::<Vec<_>>().join("-");
    let Globals { namespace, owner_name, project_name, uuid, .. } = globals;
    let base = format!("/{word}/v1/{namespace}/{owner_name}/{project_name}/runs/{uuid}");
    let base_urls: Vec<String> = ports.iter().map(|port| format!("{base}/{port}")).collect();
    context! {
        base_url => base_urls.first(),
        base_urls => base_urls,
        ports => ports,
        run_relative_outputs_path => format!("{uuid}/outputs"),
        owner_name => globals.owner_name.as_str(),
        project_name => globals.project_name.as_str(),
        project_unique_name => format!("{}.{}", globals.owner_name, globals.project_name),
        run_info => run_info,
        name => globals.name.as_str(),
        uuid => globals.uuid.as_str(),
        status => globals.status.as_str(),
        namespace => globals.namespace.as_str(),
        iteration => globals.iteration,
        created_at => globals.created_at.as_str(),
        context_path => globals.context_path.as_str(),
        artifacts_path => globals.artifacts_path.as_str(),
        run_artifacts_path => run_artifacts.as_str(),
        run_outputs_path => format!("{run_artifacts}/outputs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(run: Value, inputs: &[(&str, Value)]) -> CompiledOperation {
        CompiledOperation {
            inputs: inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            to_env: BTreeMap::from([("LR".to_owned(), "lr".to_owned())]),
            as_arg: [("lr".to_owned(), "--lr=0.1".to_owned())].into_iter().collect(),
            run,
            ..CompiledOperation::default()
        }
    }

    fn rendered(args: Value) -> Result<Value, Cause> {
        let run = json!({"kind": "job", "container": {"command": ["echo"], "args": args}});
        let inputs = [("lr", json!(0.1)), ("layers", json!([1, 2])), ("name", json!("a b"))];
        let globals = Globals {
            uuid: "u1".into(),
            owner_name: "acme".into(),
            project_name: "vision".into(),
            ..Globals::default()
        };
        render(&operation(run, &inputs), &globals)
            .map(|r| serde_json::to_value(r.run).unwrap()["container"]["args"].clone())
    }

    #[test]
    fn inputs_params_and_globals_are_variables() {
        let args = json!([
            "--lr={{ lr }}",
            "{{ layers }}",
            "{{ params.lr.as_arg }}",
            "{{ globals.run_info }}",
            "{{ name | upper }}"
        ]);
        assert_eq!(rendered(args), Ok(json!(["--lr=0.1", [1, 2], "--lr=0.1", "acme.vision.runs.u1", "A B"])));
    }

    #[test]
    fn an_input_may_be_a_template_and_has_the_type_that_it_declares() {
        let run =
            json!({"kind": "job", "container": {"command": ["echo"], "args": ["{{ lr }}", "{{ params.lr.as_arg }}"]}});
        let mut operation = operation(run, &[("lr", json!("{{ globals.iteration + rank }}")), ("rank", json!(2))]);
        operation.templated.insert("lr".to_owned());
        operation.late.insert("lr".to_owned(), json!({"name": "lr", "type": "int", "validation": {"le": 3}}));
        let globals = |iteration| Globals { iteration, ..Globals::default() };
        let made = render(&operation, &globals(1)).unwrap();
        let container = serde_json::to_value(made.run).unwrap()["container"].clone();
        assert_eq!((&container["args"], &made.env[0].1), (&json!([3, "--lr=3"]), &"3".to_owned()));
        let cause = render(&operation, &globals(2)).unwrap_err();
        assert!(cause.reason == "InvalidParam" && cause.message.starts_with("`lr`: "), "{cause:?}");
        assert_eq!(condition(&operation, "{{ lr == 3 }}", &globals(1)), Ok(true));
    }

    #[test]
    fn templates_of_inputs_may_speak_of_one_another_but_not_in_a_circle() {
        let run = json!({"kind": "job", "container": {"command": ["echo"], "args": ["{{ lr }}"]}});
        let inputs =
            [("lr", json!("{{ b }}-{{ c }}")), ("b", json!("{{ c }}!")), ("c", json!("{{ globals.iteration }}"))];
        let mut operation = operation(run, &inputs);
        operation.templated.extend(["lr", "b", "c"].map(str::to_owned));
        let made = render(&operation, &Globals::default()).unwrap();
        assert_eq!(serde_json::to_value(made.run).unwrap()["container"]["args"], json!(["0!-0"]));
        operation.inputs.insert("c".to_owned(), json!("{{ lr }}"));
        let cause = render(&operation, &Globals::default()).unwrap_err();
        assert_eq!(cause.message, "the template of `b` speaks of itself, or of one that does");
    }

    /// What another run reports may look like a template, and is read as a text.
    #[test]
    fn a_value_is_never_read_as_a_template_unless_it_was_written_as_one() {
        let run = json!({"kind": "job", "container": {"command": ["echo"], "args": ["{{ lr }}"]}});
        let made = render(&operation(run, &[("lr", json!("{{ globals.uuid }}"))]), &Globals::default()).unwrap();
        let container = serde_json::to_value(made.run).unwrap()["container"].clone();
        assert_eq!(
            (&container["args"][0], &made.env[0].1),
            (&json!("{{ globals.uuid }}"), &"{{ globals.uuid }}".to_owned())
        );
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_its_place() {
        let error = rendered(json!(["x {{ nope }}"])).unwrap_err();
        assert!(error.message.contains("run.container.args[0]"), "{error:?}");
        assert!(rendered(json!(["{{ nope }}"])).is_err());
    }

    #[test]
    fn endless_templates_run_out_of_fuel() {
        assert!(
            rendered(json!(["{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}"]))
                .is_err()
        );
    }
}
