//! From a launch to a task: the program, arguments and environment of a process, or why there is none.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::dispatch::observation::Cause;
use crate::domain::spec::{Container, Run};
use crate::domain::time::Span;
use crate::target::Launch;

/// The reason of an attempt without a command.
pub const NO_COMMAND: &str = "NoCommand";
/// The reason of an attempt of another kind than `job`.
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

/// Translates a launch.
pub fn task_of(launch: &Launch) -> Result<Task, Cause> {
    let Run::Job(job) = &launch.run else {
        let kind = serde_json::to_value(launch.run.kind()).unwrap_or_default();
        let message = format!("a local agent runs only `kind: job`, not {kind}; use a queue of a Kubernetes agent");
        return Err(Cause::new(UNSUPPORTED_KIND, message));
    };
    for (field, list) in [("init", &job.init), ("sidecars", &job.sidecars)] {
        if !list.is_empty() {
            return Err(unsupported(&format!("`run.{field}` means containers, which a local agent does not have")));
        }
    }
    let argv = match &job.container {
        Some(container) => argv_of(container)?,
        None => Vec::new(),
    };
    let container = job.container.as_ref().filter(|_| !argv.is_empty()).ok_or_else(|| {
        Cause::new(
            NO_COMMAND,
            "a local agent has no containers, so it needs `run.container.command`: the program to run",
        )
    })?;
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
    env.extend(launch.env.iter().cloned());
    env.push(("TIDEGATE_RUN".to_owned(), launch.attempt.run.to_string()));
    env.push(("TIDEGATE_ATTEMPT".to_owned(), launch.attempt.attempt.to_string()));
    env.push(("TIDEGATE_PROJECT".to_owned(), launch.project.to_string()));
    if let Some((name, _)) = env.iter().find(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(unsupported(&format!("`{}` cannot be the name of an environment variable", name.escape_debug())));
    }
    Ok(Task { argv, env, dir: dir_of(container)?, timeout: launch.timeout })
}

fn argv_of(container: &Container) -> Result<Vec<String>, Cause> {
    let mut argv = Vec::new();
    for word in &container.command {
        argv.push(text_of(word, || "a word of `command`".to_owned())?);
    }
    let command = argv.len();
    match &container.args {
        None | Some(Value::Null) => {}
        Some(Value::Array(words)) => {
            for word in words {
                argv.push(text_of(word, || "a word of `args`".to_owned())?);
            }
        }
        Some(Value::String(text)) => argv.extend(text.split_whitespace().map(str::to_owned)),
        Some(other) => argv.push(text_of(other, || "`args`".to_owned())?),
    }
    // Without a command, `args` are for the entry point of an image; there is none here.
    Ok(if command == 0 || argv[0].is_empty() { Vec::new() } else { argv })
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
