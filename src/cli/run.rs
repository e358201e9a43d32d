//! `run`: starts a workflow or a file; with `--dry-run` says what would be started.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::client::Client;
use super::show::{self, Output, OutputArgs, note, out};
use super::{Exit, Result, local, lone, ops, watch};
use crate::domain::compile::report::{Format, Sources, render};
use crate::domain::compile::{
    Asked, Depth, Reference, Request, RequestSource, Requested, compile, compile_alone, compile_request,
};
use crate::domain::files::{FileContent, SourceFile};
use crate::domain::ids::{Name, ProjectName, WorkflowName};
use crate::domain::workflow::resolved::resolved;
use crate::reconciler::new_run_id;
use crate::server::views::{FileText, RunView, StartBody};
use crate::source::read_worktree;

/// What to run and how.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A polyaxonfile, or a workflow: project/workflow, or its name beside --project
    #[arg(value_name = "FILE|WORKFLOW")]
    what: String,
    /// A value for an input, read as YAML: lr=0.1, layers=[1, 2]; may be repeated
    #[arg(short = 'P', long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The queue: agent/queue
    #[arg(short, long)]
    queue: Option<String>,
    /// The project
    #[arg(short, long)]
    project: Option<String>,
    /// The name of the run
    #[arg(short, long)]
    name: Option<String>,
    /// Presets to merge over it, in order: names, or files in a dry run outside a repository; may be repeated
    #[arg(long = "presets", visible_alias = "preset", value_name = "PRESET", value_delimiter = ',')]
    presets: Vec<String>,
    /// Follow the run until it ends; exits with 2 when it does not succeed
    #[arg(short, long, conflicts_with = "dry_run")]
    watch: bool,
    /// Compile it and print the compiled operation, without a server; exits with 3 when it is not valid
    #[arg(long)]
    dry_run: bool,
    /// Folder with copies of what a file outside a repository refers to: hub/NAME/TAG.yaml, url/HOST/PATH
    #[arg(long, value_name = "DIR", requires = "dry_run")]
    refs: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is named on the command line.
enum What {
    File(PathBuf),
    Workflow(WorkflowName),
}

/// Carries it out.
pub fn run(args: RunArgs, client: impl FnOnce() -> Result<Client>) -> Result {
    let project = args.project.as_deref().map(ProjectName::parse).transpose().context("--project")?;
    let params = args.params.iter().map(|text| param(text)).collect::<Result<IndexMap<_, _>>>()?;
    let what = what(&args.what, project.as_ref())?;
    if args.dry_run {
        return dry_run(&args, what, project, params);
    }
    let (workflow, file, beside) = match what {
        What::Workflow(name) => (Some(name.to_string()), None, Vec::new()),
        What::File(path) => {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            // In a repository a file is known by its place there: it says the project and what it refers to.
            let inside = local::root_of(&path)?.map(|(_, inside)| inside);
            let beside = if inside.is_some() { Vec::new() } else { beside(&path, &text)? };
            (None, Some(FileText { path: inside.unwrap_or_else(|| file_name(&path)), text }), beside)
        }
    };
    let body = StartBody {
        uuid: Some(new_run_id().to_string()),
        project: project.filter(|_| file.is_some()),
        workflow,
        file,
        beside,
        params,
        queue: args.queue,
        name: args.name,
        presets: args.presets,
    };
    let client = client()?;
    let run: RunView = client.post("/runs", &body)?;
    match args.output.output {
        Output::Table => out(&format!("{}\n", run.uuid))?,
        other => ops::show_run(other, &run)?,
    }
    if !args.watch {
        return Ok(Exit::Fine);
    }
    note(&format!("run {} ({}) in queue {}", run.uuid, show::plain(&run.name), run.queue));
    Ok(ops::outcome(&watch::timeline(&client, &run.uuid, true)?))
}

/// The files that a polyaxonfile outside a repository refers to by path, as seen from it; of them, those that exist.
fn beside(path: &Path, text: &str) -> Result<Vec<FileText>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let read = |reference: Reference<'_>| match reference {
        Reference::File(name) => std::fs::read(folder.join(name)).ok().map(FileContent::Text),
        // What is not beside it is the server's to find.
        Reference::Copy(_) => None,
    };
    let own = SourceFile { path: file_name(path), content: FileContent::Text(text.into()) };
    let found = compile_alone(own, &Asked::default(), Depth::Shape, true, &read).files;
    let texts = found.into_iter().filter(|file| file.path != file_name(path)).filter_map(|file| match file.content {
        FileContent::Text(bytes) => Some(String::from_utf8(bytes).map(|text| FileText { path: file.path, text })),
        _ => None,
    });
    texts.collect::<Result<Vec<_>, _>>().context("what it refers to is no text")
}

/// A file when there is one of that name, or when it is called like one; else a workflow.
fn what(text: &str, project: Option<&ProjectName>) -> Result<What> {
    let path = Path::new(text);
    if path.is_file() || text.ends_with(".yaml") || text.ends_with(".yml") {
        return Ok(What::File(path.to_owned()));
    }
    let name = match project {
        Some(project) if !text.contains('/') => WorkflowName { project: project.clone(), workflow: Name::parse(text)? },
        _ => WorkflowName::parse(text)
            .with_context(|| format!("`{}` is neither a file nor a workflow (project/workflow)", show::plain(text)))?,
    };
    if project.is_some_and(|project| *project != name.project) {
        bail!("workflow {name} is not in the project that --project names");
    }
    Ok(What::Workflow(name))
}

/// Reads `name=value`; the value is YAML, so `0.1` is a number and `"0.1"` a text.
fn param(text: &str) -> Result<(String, Value)> {
    let (name, value) = text.split_once('=').with_context(|| format!("-P {}: write NAME=VALUE", show::plain(text)))?;
    if name.is_empty() {
        bail!("-P {}: the name is missing", show::plain(text));
    }
    // What is no YAML (`a: b: c`, `@x`) is a text.
    let value = serde_yaml::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

fn dry_run(args: &RunArgs, what: What, project: Option<ProjectName>, params: IndexMap<String, Value>) -> Result {
    let start = match &what {
        What::File(path) => path.as_path(),
        What::Workflow(_) => Path::new("."),
    };
    let Some((root, inside)) = local::root_of(start)? else {
        if let What::File(path) = &what {
            return dry_run_alone(args, path, params);
        }
        bail!("no tidegate.yaml lies above {}: a workflow needs the repository around it", start.display());
    };
    let files = read_worktree(&root)?;
    let source = match what {
        What::File(path) => {
            let content = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            RequestSource::Text { path: inside, content, project, beside: Vec::new() }
        }
        What::Workflow(name) => {
            let catalog = compile(&files).catalog;
            let place = catalog.and_then(|mut catalog| catalog.workflows.remove(&name)?.place);
            let place = place.with_context(|| {
                format!("there is no sound workflow {name} in {}: see `tidegate validate`", root.display())
            })?;
            RequestSource::Workflow { name, place }
        }
    };
    let request = Request { source, params, queue: args.queue.clone(), presets: args.presets.clone() };
    match compile_request(&files, &request) {
        Ok(Requested { workflow, mut operation, .. }) => {
            if let (Some(name), Some(operation)) = (&args.name, operation.as_object_mut()) {
                match operation.get_mut("name") {
                    Some(known) => *known = json!(name),
                    None => drop(operation.shift_insert(2, "name".to_owned(), json!(name))),
                }
            }
            show_compiled(args, &operation)?;
            if let Some(why) = &workflow.unrunnable {
                note(&format!("it cannot run here: {}", show::plain(why)));
            }
            Ok(Exit::Fine)
        }
        Err(problems) => {
            out(&render(Format::Text, &problems, &Sources::of(&files), show::report_colour()))?;
            Ok(Exit::Invalid)
        }
    }
}

/// Compiles a file that lies in no repository, and prints the compiled operation.
fn dry_run_alone(args: &RunArgs, path: &Path, params: IndexMap<String, Value>) -> Result {
    let presets = args.presets.iter().map(|preset| lone::preset(preset)).collect::<anyhow::Result<Vec<_>>>()?;
    let asked = Asked { params, queue: args.queue.clone(), name: args.name.clone(), presets };
    let alone = lone::compile(path, args.refs.as_deref(), &asked, Depth::Params)?;
    let shown = render(Format::Text, &alone.diagnostics, &Sources::of_files(&alone.files), show::report_colour());
    let Some(operation) = alone.operation else {
        out(&shown)?;
        return Ok(Exit::Invalid);
    };
    if !alone.diagnostics.is_empty() {
        note(shown.trim_end());
    }
    show_compiled(args, &operation)?;
    Ok(Exit::Fine)
}

/// Prints a compiled operation, with what is known of its values.
fn show_compiled(args: &RunArgs, operation: &Value) -> Result<()> {
    let name = operation.get("name").and_then(Value::as_str).unwrap_or("-");
    let output = if args.output.output == Output::Table { Output::Yaml } else { args.output.output };
    show::one(output, &resolved(operation), name, &[])
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "polyaxonfile.yaml".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_yaml() {
        let value = |text: &str| param(text).unwrap().1;
        assert_eq!(value("lr=0.1"), json!(0.1));
        assert_eq!(value("lr=\"0.1\""), json!("0.1"));
        assert_eq!(value("layers=[1, 2]"), json!([1, 2]));
        assert_eq!(value("on=true"), json!(true));
        assert_eq!(value("text=a=b"), json!("a=b"));
        assert_eq!(value("odd=@x"), json!("@x"));
        assert_eq!(value("none="), Value::Null);
        assert!(param("lr").is_err() && param("=1").is_err());
    }

    #[test]
    fn a_workflow_is_named_with_its_project() {
        let vision = ProjectName::parse("vision").unwrap();
        let name = |text: &str, project| match what(text, project) {
            Ok(What::Workflow(name)) => Some(name.to_string()),
            _ => None,
        };
        assert_eq!(name("vision/train", None).as_deref(), Some("vision/train"));
        assert_eq!(name("train", Some(&vision)).as_deref(), Some("vision/train"));
        assert_eq!(name("train", None), None);
        assert_eq!(name("nlp/train", Some(&vision)), None);
        assert!(matches!(what("missing.yaml", None), Ok(What::File(_))));
    }
}
