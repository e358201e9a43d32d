//! From a launch to a task: the program, arguments and environment of a process, or why there is none.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prelude::{self, Prelude};
use crate::domain::dispatch::observation::Cause;
use crate::domain::honour::refusal;
use crate::domain::prepare;
use crate::domain::spec::{Container, Run, TargetKind};
use crate::domain::time::Span;
use crate::target::Launch;

/// The reason of an attempt without a command.
pub const NO_COMMAND: &str = "NoCommand";
/// The reason of an attempt of a kind that is more than one process.
pub const UNSUPPORTED_KIND: &str = "UnsupportedKind";
/// The reason of an attempt with a field that means something only in Kubernetes.
pub const UNSUPPORTED_FIELD: &str = "UnsupportedField";

/// What a supervisor needs to know to run something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// Environment variables beside those of the supervisor; a later one wins.
    pub env: Vec<(String, String)>,
    /// Where to start: absolute, or below the attempt's own directory, which it is when absent.
    pub dir: Option<String>,
    /// How long it may take.
    pub timeout: Option<Span>,
}

/// Translates a launch. Fields that mean nothing here are passed over: what they are was said when it was launched.
pub fn task_of(launch: &Launch) -> Result<Task, Cause> {
    let (container, init) = match &launch.run {
        Run::Job(run) => (&run.container, &run.init),
        Run::Service(run) => (&run.container, &run.init),
        Run::Notifier(run) => (&run.container, &run.init),
        Run::Tuner(run) => (&run.container, &run.init),
        Run::Cleaner(run) => (&run.container, &run.init),
        other => {
            let kind = serde_json::to_value(other.kind()).unwrap_or_default();
            let why = refusal(kind.as_str().unwrap_or_default(), TargetKind::Local);
            let why = why.unwrap_or_else(|| format!("a local agent cannot run {kind}"));
            return Err(Cause::new(UNSUPPORTED_KIND, why));
        }
    };
    let argv = match container {
        Some(container) => argv_of(container)?,
        None => Vec::new(),
    };
    let container = container.as_ref().filter(|_| !argv.is_empty()).ok_or_else(|| {
        Cause::new(
            NO_COMMAND,
            "a local agent has no containers, so it needs `run.container.command`: the program to run",
        )
    })?;
    let mut env = env_of(container)?;
    env.extend(launch.env.iter().cloned());
    env.push(("TIDEGATE_RUN".to_owned(), launch.attempt.run.to_string()));
    env.push(("TIDEGATE_ATTEMPT".to_owned(), launch.attempt.attempt.to_string()));
    env.push(("TIDEGATE_PROJECT".to_owned(), launch.project.to_string()));
    if let Some((name, _)) = env.iter().find(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(unsupported(&format!("`{}` cannot be the name of an environment variable", name.escape_debug())));
    }
    let before = steps(launch, init, &argv, &env)?;
    let (dir, timeout) = (dir_of(container)?, launch.timeout);
    Ok(match before.is_empty() {
        true => Task { argv, env, dir, timeout },
        // A directory that a step makes is entered after it.
        false => Task { argv: prelude::wrapped(&before, &argv, dir.as_deref()), env, dir: None, timeout },
    })
}

/// What happens before the program: the folders that it was told of are made, and its `init` is done.
fn steps(launch: &Launch, init: &[Value], argv: &[String], env: &[(String, String)]) -> Result<Vec<Prelude>, Cause> {
    let context = &launch.context;
    let told = || argv.iter().chain(env.iter().map(|(_, value)| value)).any(|text| text.contains(&context.root));
    let mut steps = Vec::new();
    if !context.root.is_empty() && (!init.is_empty() || told()) {
        let argv = words(&["mkdir", "-p", &context.outputs]);
        steps.push(Prelude { name: "making its folders".to_owned(), argv, ..Prelude::default() });
    }
    for (index, init) in init.iter().enumerate() {
        steps.push(step(index, init, &context.artifacts)?);
    }
    Ok(steps)
}

/// A step of `init`: a script of ours, or the command of its container.
fn step(index: usize, init: &Value, place: &str) -> Result<Prelude, Cause> {
    let name = format!("init[{index}]");
    if let Some(step) = prepare::step(index, init, place).map_err(|why| unsupported(&why))? {
        let mut argv = words(&["sh", "-c", step.script, "sh"]);
        argv.extend(step.arguments);
        return Ok(Prelude { name, argv, ..Prelude::default() });
    }
    let container: Container = serde_json::from_value(init.get("container").cloned().unwrap_or_default())
        .map_err(|error| unsupported(&format!("`run.{name}.container` is no container: {error}")))?;
    let argv = argv_of(&container)?;
    if argv.is_empty() {
        let message = format!("a local agent has no containers, so `run.{name}.container` needs a `command`");
        return Err(Cause::new(NO_COMMAND, message));
    }
    Ok(Prelude { name, argv, env: env_of(&container)?, dir: dir_of(&container)? })
}

fn env_of(container: &Container) -> Result<Vec<(String, String)>, Cause> {
    let mut env = Vec::new();
    for var in &container.env {
        if var.value_from.is_some() {
            let message =
                format!("`valueFrom` of the environment variable `{}` needs Kubernetes; write a `value`", var.name);
            return Err(unsupported(&message));
        }
        let what = || format!("the value of the environment variable `{}`", var.name);
        env.push((var.name.clone(), var.value.as_ref().map_or(Ok(String::new()), |value| text_of(value, what))?));
    }
    Ok(env)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn argv_of(container: &Container) -> Result<Vec<String>, Cause> {
    let mut argv = Vec::new();
    for word in container.command.iter().flat_map(spread) {
        argv.push(text_of(word, || "a word of `command`".to_owned())?);
    }
    let command = argv.len();
    match &container.args {
        None | Some(Value::Null) => {}
        Some(Value::Array(words)) => {
            for word in words.iter().flat_map(spread) {
                argv.push(text_of(word, || "a word of `args`".to_owned())?);
            }
        }
        Some(Value::String(text)) => argv.extend(text.split_whitespace().map(str::to_owned)),
        Some(other) => argv.push(text_of(other, || "`args`".to_owned())?),
    }
    // Without a command, `args` are for the entry point of an image; there is none here.
    Ok(if command == 0 || argv[0].is_empty() { Vec::new() } else { argv })
}

/// A list among the words is spread, as a template that gives one means it.
fn spread(word: &Value) -> &[Value] {
    match word {
        Value::Array(words) => words,
        one => std::slice::from_ref(one),
    }
}

fn text_of(value: &Value, what: impl Fn() -> String) -> Result<String, Cause> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(unsupported(&format!("{} must be a text, a number or a truth value, not {value}", what()))),
    }
}

fn dir_of(container: &Container) -> Result<Option<String>, Cause> {
    let Some(dir) = container.working_dir.as_ref().filter(|dir| !dir.is_empty()) else { return Ok(None) };
    let path = Path::new(dir);
    if path.is_relative() && path.components().any(|part| part == Component::ParentDir) {
        return Err(unsupported("a relative `workingDir` lies in the run's own directory and must not contain `..`"));
    }
    Ok(Some(dir.clone()))
}

fn unsupported(message: &str) -> Cause {
    Cause::new(UNSUPPORTED_FIELD, message)
}
