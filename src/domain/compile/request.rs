//! A run that somebody asks for by hand: a workflow with other params, or a polyaxonfile that is not in the repository.
//!
//! The request is worked into the document, and the document is compiled in the place of the repository where it
//! belongs, so that a run by hand follows exactly the rules of a run by push.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::{codes, compile, parse, resolve};
use crate::domain::catalog::ResolvedWorkflow;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::domain::files::{FileContent, FileSet, SourceFile};
use crate::domain::ids::{ProjectName, WorkflowName};

/// What to run, and what is different from what is written.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to run.
    pub source: RequestSource,
    /// Values for inputs, over those that are written.
    pub params: IndexMap<String, Value>,
    /// The queue, in place of the one that is written.
    pub queue: Option<String>,
    /// Presets after those that are written.
    pub presets: Vec<String>,
}

/// What to run.
#[derive(Debug, Clone)]
pub enum RequestSource {
    /// A workflow of the repository.
    Workflow {
        /// Its name.
        name: WorkflowName,
        /// Where its document begins.
        place: Place,
    },
    /// A document that is not, or not so, in the repository.
    Text {
        /// Its path, for messages; relative references start from it when it lies in `projects/NAME/workflows`.
        path: String,
        /// What it holds.
        content: String,
        /// Its project, when the path does not say.
        project: Option<ProjectName>,
    },
}

/// Compiles what is asked for against the policy and the components of some files.
pub fn compile_request(files: &FileSet, request: &Request) -> Result<(ProjectName, ResolvedWorkflow), Diagnostics> {
    let (path, document) = match &request.source {
        RequestSource::Workflow { name, place } => (place.file.to_string(), of_workflow(files, name, place)?),
        RequestSource::Text { path, content, project } => of_text(path, content, project.as_ref())?,
    };
    let text = worked_in(document, request).to_string();
    let mut compiled = compile(&with_only(files, &path, text));
    let project = |name: &WorkflowName| name.project.clone();
    let found = compiled.catalog.take().and_then(|catalog| {
        let ours = |place: &Option<Place>| place.as_ref().is_some_and(|place| *place.file == *path);
        catalog.workflows.into_iter().find(|(_, workflow)| ours(&workflow.place))
    });
    match found {
        Some((name, workflow)) => Ok((project(&name), workflow.item)),
        None => Err(compiled.diagnostics),
    }
}

fn of_workflow(files: &FileSet, name: &WorkflowName, place: &Place) -> Result<Value, Diagnostics> {
    let file = files.files.iter().find(|file| file.path == *place.file);
    let mut problems = Diagnostics::default();
    let documents = match file.map(|file| &file.content) {
        Some(FileContent::Text(bytes)) => parse::parse(&place.file, bytes, &mut problems),
        _ => Vec::new(),
    };
    let document = documents.into_iter().find(|document| document.place("").line == place.line);
    let Some(document) = document else {
        problems.push(Diagnostic::error(codes::BAD_IDENTITY, place.clone(), format!("workflow {name} is not here")));
        return Err(problems);
    };
    let mut value = document.value.clone();
    // A bare polyaxonfile may get its name from its file; as a document of its own it says it.
    if let Some(map) = value.as_object_mut() {
        map.entry("name").or_insert_with(|| json!(name.workflow));
    }
    Ok(value)
}

fn of_text(path: &str, content: &str, project: Option<&ProjectName>) -> Result<(String, Value), Diagnostics> {
    let mut problems = Diagnostics::default();
    let documents = parse::parse(path, content.as_bytes(), &mut problems);
    if problems.errors() > 0 {
        return Err(problems);
    }
    let [document] = &documents[..] else {
        let message = format!("one document is expected, and there are {}", documents.len());
        problems.push(
            Diagnostic::error(codes::BAD_IDENTITY, Place::file(path), message).help("send one document at a time"),
        );
        return Err(problems);
    };
    let parts: Vec<&str> = path.split('/').collect();
    let placed = match (parts.as_slice(), project) {
        (["projects", own, "workflows", ..], None) if ProjectName::parse(own).is_ok() => path.to_owned(),
        (["projects", own, "workflows", ..], Some(project)) if *own == project.as_str() => path.to_owned(),
        (_, Some(project)) => format!("projects/{project}/workflows/{}.yaml", resolve::stem(path)),
        (_, None) => {
            let message = "the file lies in no project, so the run needs one";
            problems
                .push(Diagnostic::error(codes::BAD_IDENTITY, Place::file(path), message).help("say `--project NAME`"));
            return Err(problems);
        }
    };
    Ok((placed, document.value.clone()))
}

/// The document with the request in it.
fn worked_in(mut document: Value, request: &Request) -> Value {
    if document.get("kind").and_then(Value::as_str) == Some("component") {
        let name = document.get("name").cloned();
        let mut operation =
            Map::from_iter([("version".to_owned(), json!(1.1)), ("kind".to_owned(), json!("operation"))]);
        operation.extend(name.map(|name| ("name".to_owned(), name)));
        operation.insert("component".to_owned(), document);
        document = Value::Object(operation);
    }
    let whole_workflow = document.get("kind").and_then(Value::as_str) == Some("workflow");
    if let (Some(queue), Some(map)) = (&request.queue, document.as_object_mut()) {
        map.insert("queue".to_owned(), json!(queue));
    }
    let operation = if whole_workflow { document.get_mut("operation") } else { Some(&mut document) };
    if let Some(operation) = operation.and_then(Value::as_object_mut) {
        if let Some(queue) = &request.queue {
            operation.insert("queue".to_owned(), json!(queue));
        }
        let params = operation.entry("params").or_insert_with(|| json!({}));
        if let Some(params) = params.as_object_mut() {
            params.extend(request.params.iter().map(|(name, value)| (name.clone(), json!({ "value": value }))));
        }
        if !request.presets.is_empty() {
            let mut presets = match operation.get("presets") {
                Some(Value::Array(list)) => list.clone(),
                Some(Value::String(words)) => words.split(',').map(|word| json!(word.trim())).collect(),
                _ => Vec::new(),
            };
            presets.extend(request.presets.iter().map(|preset| json!(preset)));
            operation.insert("presets".to_owned(), Value::Array(presets));
        }
        operation.shift_remove("template");
    }
    document
}

/// The files with the document in its place, and without workflows that it does not name: they cost time, and the
/// problems of others are not those of this request.
fn with_only(files: &FileSet, path: &str, text: String) -> FileSet {
    let is_workflow = |file: &SourceFile| {
        let parts: Vec<&str> = file.path.split('/').collect();
        matches!(parts.as_slice(), ["projects", _, "workflows", ..])
    };
    let (workflows, mut kept): (Vec<&SourceFile>, Vec<&SourceFile>) =
        files.files.iter().filter(|file| file.path != path).partition(|file| is_workflow(file));
    // References may go on from file to file; a name that stands in none of the texts is not referred to.
    let mut texts: Vec<String> = vec![text.clone()];
    let mut left = workflows;
    while let Some(from) = texts.pop() {
        let (named, others): (Vec<&SourceFile>, Vec<&SourceFile>) =
            left.into_iter().partition(|file| file.path.rsplit('/').next().is_some_and(|name| from.contains(name)));
        for file in &named {
            if let FileContent::Text(bytes) = &file.content {
                texts.push(String::from_utf8_lossy(bytes).into_owned());
            }
        }
        kept.extend(named);
        left = others;
    }
    let mut only: Vec<SourceFile> = kept.into_iter().cloned().collect();
    only.push(SourceFile { path: path.to_owned(), content: FileContent::Text(text.into_bytes()) });
    only.sort_by(|a, b| a.path.cmp(&b.path));
    FileSet { files: only, ..files.clone() }
}
