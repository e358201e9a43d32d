//! A run that somebody asks for by hand: a workflow with other params, or a polyaxonfile that is not in the repository.
//!
//! The request is worked into the document, and the document is compiled in the place of the repository where it
//! belongs, so that a run by hand follows exactly the rules of a run by push.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::document::Document;
use super::library::joined;
use super::load::is_policy;
use super::text::shown;
use super::{codes, compile_with_document, parse, resolve};
use crate::domain::catalog::ResolvedWorkflow;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::domain::files::{FileContent, FileSet, SourceFile};
use crate::domain::ids::{ProjectName, WorkflowName};

/// Most files that are sent beside a polyaxonfile: the components of a large graph.
pub const MAX_BESIDE: usize = 100;

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
        /// Files that it refers to by path, as seen from it, and what they hold; at most [`MAX_BESIDE`].
        beside: Vec<(String, String)>,
    },
}

/// What is asked for, compiled.
#[derive(Debug)]
pub struct Requested {
    /// The project that it belongs to.
    pub project: ProjectName,
    /// What is to be run.
    pub workflow: ResolvedWorkflow,
    /// The compiled operation in the original's form, for people.
    pub operation: Value,
}

/// Compiles what is asked for against the policy and the components of some files. Problems have their places in the
/// text as it was written.
pub fn compile_request(files: &FileSet, request: &Request) -> Result<Requested, Diagnostics> {
    let (path, document, beside) = match &request.source {
        RequestSource::Workflow { name, place } => {
            (place.file.to_string(), of_workflow(files, name, place)?, Vec::new())
        }
        RequestSource::Text { path, content, project, beside } => {
            let (placed, document) = of_text(path, content, project.as_ref())?;
            let beside = placed_beside(&placed, path, beside)?;
            (placed, document, beside)
        }
    };
    let document = worked_in(document, request);
    let file = Arc::clone(&document.file);
    let mut around = only_named(files, &path, &document.value);
    around.files.retain(|file| beside.iter().all(|sent| sent.path != file.path));
    around.files.extend(beside);
    let (mut compiled, operation) = compile_with_document(&around, &path, document);
    let found = compiled.catalog.take().and_then(|catalog| {
        let ours = |place: &Option<Place>| place.as_ref().is_some_and(|place| place.file == file);
        catalog.workflows.into_iter().find(|(_, workflow)| ours(&workflow.place))
    });
    match found.zip(operation) {
        Some(((name, workflow), operation)) => {
            Ok(Requested { project: name.project, workflow: workflow.item, operation })
        }
        None => Err(match &request.source {
            RequestSource::Workflow { .. } => compiled.diagnostics,
            RequestSource::Text { path: sent, .. } => compiled.diagnostics.with_file_called(&path, sent),
        }),
    }
}

fn of_workflow(files: &FileSet, name: &WorkflowName, place: &Place) -> Result<Document, Diagnostics> {
    let file = files.files.iter().find(|file| file.path == *place.file);
    let mut problems = Diagnostics::default();
    let documents = match file.map(|file| &file.content) {
        Some(FileContent::Text(bytes)) => parse::parse(&place.file, bytes, &mut problems),
        _ => Vec::new(),
    };
    let document = documents.into_iter().find(|document| document.place("").line == place.line);
    document.ok_or_else(|| {
        problems.push(Diagnostic::error(codes::BAD_IDENTITY, place.clone(), format!("workflow {name} is not here")));
        problems
    })
}

/// The document of a text, and the path at which it is compiled.
fn of_text(path: &str, content: &str, project: Option<&ProjectName>) -> Result<(String, Document), Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut documents = parse::parse(path, content.as_bytes(), &mut problems);
    if problems.errors() > 0 {
        return Err(problems);
    }
    let (Some(document), true) = (documents.pop(), documents.is_empty()) else {
        let problem = Diagnostic::error(codes::BAD_IDENTITY, Place::file(path), "one document is expected");
        problems.push(problem.help("send one document at a time"));
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
    // What it refers to is looked for from where it is compiled.
    let document = Document { file: placed.as_str().into(), ..document };
    Ok((placed, document))
}

/// The files that were sent beside a polyaxonfile, where it looks for them. They stay in its project, and are no policy.
fn placed_beside(placed: &str, path: &str, beside: &[(String, String)]) -> Result<Vec<SourceFile>, Diagnostics> {
    let refuse = |message: String| {
        let mut problems = Diagnostics::default();
        problems.push(
            Diagnostic::error(codes::OUTSIDE, Place::file(path), message)
                .help("put what it refers to beside it, or run it from a repository of specs"),
        );
        problems
    };
    if beside.len() > MAX_BESIDE {
        return Err(refuse(format!("it refers to more than {MAX_BESIDE} files")));
    }
    let project = placed.split('/').take(2).chain([""]).collect::<Vec<_>>().join("/");
    let place = |(name, content): &(String, String)| {
        let content = FileContent::Text(content.clone().into_bytes());
        let file = joined(placed, name, true).map(|path| SourceFile { path, content });
        file.filter(|file| file.path.starts_with(&project) && !is_policy(file))
            .ok_or_else(|| refuse(format!("it refers to `{}`, too far away or no component", shown(name))))
    };
    beside.iter().map(place).collect()
}

/// The document with the request in it.
fn worked_in(written: Document, request: &Request) -> Document {
    let mut document = written.value.clone();
    let mut moved = BTreeMap::new();
    if document.get("kind").and_then(Value::as_str) == Some("component") {
        let name = document.get("name").cloned();
        let mut operation =
            Map::from_iter([("version".to_owned(), json!(1.1)), ("kind".to_owned(), json!("operation"))]);
        operation.extend(name.map(|name| ("name".to_owned(), name)));
        operation.insert("component".to_owned(), document);
        document = Value::Object(operation);
        moved.insert("/component".to_owned(), String::new());
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
    written.moved(document, &moved)
}

/// The files without the one at a path, and without workflows that the document does not name: they cost time, and the
/// problems of others are not those of this request.
fn only_named(files: &FileSet, path: &str, document: &Value) -> FileSet {
    let is_workflow = |file: &SourceFile| {
        let parts: Vec<&str> = file.path.split('/').collect();
        matches!(parts.as_slice(), ["projects", _, "workflows", ..])
    };
    let (workflows, mut kept): (Vec<&SourceFile>, Vec<&SourceFile>) =
        files.files.iter().filter(|file| file.path != path).partition(|file| is_workflow(file));
    // References may go on from file to file; a name that stands in none of the texts is not referred to.
    let mut texts: Vec<String> = vec![document.to_string()];
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
    only.sort_by(|a, b| a.path.cmp(&b.path));
    FileSet { files: only, ..files.clone() }
}
