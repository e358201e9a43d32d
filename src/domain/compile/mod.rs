//! Text → catalog or diagnostics: parse, schema, defaults, resolve, checks.
//!
//! | file | does |
//! |---|---|
//! | `parse` `scalar` `document` | text → documents with places, limits counted |
//! | `schema` `violation` | JSON Schemas from the types; what breaks them, as sentences |
//! | `load` | which files are specs, and of which shape |
//! | `policy` `checks` | organization, agents, queues, projects: typed, checked, defaulted |
//! | `inputs` `refs` `value` `rules` | what components declare and operations give |
//! | `sections` | matrix, schedule, early stopping, joins, events: what their shape does not say |
//! | `graph` | graphs of lone files; `graph/rules`: what holds for those of repositories too |
//! | `resolve` `merge` `digest` | workflows: references, presets, patches, queue, digests |
//! | `workload` | the text of a simulation |
//! | `codes` `report` | what a code means; diagnostics as text, JSON, SARIF … |

mod alone;
mod checks;
pub mod codes;
mod compiled;
mod digest;
pub mod document;
mod field;
mod graph;
mod inputs;
pub mod library;
mod load;
mod merge;
pub mod parse;
mod patch;
mod plain;
mod policy;
mod refs;
pub mod report;
mod request;
mod resolve;
mod rules;
mod runs;
mod scalar;
pub mod schema;
mod sections;
mod shortcut;
pub mod text;
mod value;
mod violation;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::domain::catalog::{Catalog, Declared, ResolvedWorkflow};
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
use crate::domain::files::FileSet;
use crate::domain::ids::{Name, ProjectName, WorkflowName};
use crate::domain::spec::Kind;
pub use alone::{Alone, Asked, Depth, Reference, check_alone, compile_alone};
pub use digest::digest_of;
use document::Document;
use field::Lookup;
pub use inputs::late;
use library::Library;
pub use load::is_policy;
use load::{Loaded, Room, Source, folder_of, load_all, load_documents};
use policy::{Policy, Written};
pub use request::{MAX_BESIDE, Request, RequestSource, Requested, compile_request};
use resolve::{Context, Draft, Resolved};
use schema::Shape;
pub use value::flag;
pub use workload::read_workload;

/// The depth to which the places of workflow fields are kept: they are many, and a plan names top-level ones.
const WORKFLOW_FIELD_DEPTH: usize = 2;

/// What became of a commit's text.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// Everything it declares; `None` when its policy is not sound.
    pub catalog: Option<Catalog>,
    /// All problems, by place.
    pub diagnostics: Diagnostics,
}

/// Compiles a commit. Never fails: what is wrong becomes a diagnostic.
pub fn compile(files: &FileSet) -> Compiled {
    build(files, &load_all(files), None).0
}

/// As [`compile`], with a document in the place of the file at a path; and that as a compiled operation.
fn compile_with_document(files: &FileSet, path: &str, document: Document) -> (Compiled, Option<Value>) {
    let mut loaded = load_all(files);
    if let Some(folder) = folder_of(path) {
        loaded.insert(path.to_owned(), Arc::new(load_documents(vec![document], folder)));
    }
    build(files, &loaded, Some(path))
}

/// Compiles what was loaded; and the workflow of a path in the form of the original, when one is to be shown.
fn build(files: &FileSet, loaded: &BTreeMap<String, Arc<Loaded>>, shown: Option<&str>) -> (Compiled, Option<Value>) {
    let mut problems = Diagnostics::default();
    loaded.values().for_each(|file| problems.extend(file.problems.clone()));
    let (written, mut sound) = Written::read(loaded, &mut problems);
    let before = problems.errors();
    let mut found = Diagnostics::default();
    checks::CHECKS.iter().for_each(|(_, check)| check(&written, &mut found));
    let whole = sound;
    let echo = |problem: &Diagnostic| whole || !ECHOES.contains(&problem.code);
    found.into_iter().filter(echo).for_each(|problem| problems.push(problem));
    sound &= problems.errors() == before;
    let components = resolve::components(loaded, &mut problems);
    let (drafts, unsound) = drafts(loaded, &written, &mut problems);
    let Some(policy) = written.policy() else {
        return (Compiled { catalog: None, diagnostics: problems }, None);
    };
    // Workflows are resolved even when the policy is not sound, so that all problems are told at once; those about
    // queues and presets would then be echoes of the policy's own, and are left out.
    let library = Library { files: loaded, components, changed: library::changed(files), repository: true };
    let queues = resolve::allowed_queues(&policy);
    let context = Context { written: &written, policy: &policy, tree: &files.tree, queues, library, shown };
    let (mut workflows, mut operation) = (BTreeMap::new(), None);
    let mut bad = unsound;
    for (name, draft) in &drafts {
        let (resolved, own) = resolve::resolve(&context, draft);
        match resolved {
            Some(Resolved { workflow, operation: shown }) => {
                operation = shown.or(operation);
                workflows.insert(name.clone(), declared(workflow, draft));
            }
            None => {
                bad.insert(name.clone(), draft.source.place(""));
            }
        }
        let echo = |problem: &Diagnostic| sound || !ECHOES.contains(&problem.code);
        let about = |problem| checks::about(problem, format!("workflow {name}"));
        own.into_iter().filter(echo).for_each(|problem| problems.push(about(problem)));
    }
    drop(context);
    let catalog = sound.then(|| catalog(policy, &written, workflows, bad));
    (Compiled { catalog, diagnostics: problems }, operation)
}

/// Problems of workflows that follow from an unsound policy.
const ECHOES: [crate::domain::diagnostic::Code; 4] =
    [codes::UNKNOWN_QUEUE, codes::UNKNOWN_PRESET, codes::NO_QUEUE, codes::FOREIGN_QUEUE];

fn declared(resolved: ResolvedWorkflow, draft: &Draft<'_>) -> Declared<ResolvedWorkflow> {
    let document = draft.source.document;
    Declared { item: resolved, place: Some(document.place("")), fields: document.fields(WORKFLOW_FIELD_DEPTH) }
}

fn catalog(
    policy: Policy,
    written: &Written<'_>,
    workflows: BTreeMap<WorkflowName, Declared<ResolvedWorkflow>>,
    unsound: BTreeMap<WorkflowName, Place>,
) -> Catalog {
    let presets = written.presets.iter();
    Catalog {
        organization: policy.organization,
        agents: policy.agents,
        queues: policy.queues,
        projects: policy.projects,
        presets: presets
            .map(|(name, document)| (name.clone(), policy::declared(document.value.clone(), document)))
            .collect(),
        workflows,
        unsound,
    }
}

/// The workflows that files declare by name, each once; and those that cannot be read but whose name can.
fn drafts<'d>(
    files: &'d BTreeMap<String, Arc<Loaded>>,
    written: &Written<'_>,
    problems: &mut Diagnostics,
) -> (BTreeMap<WorkflowName, Draft<'d>>, BTreeMap<WorkflowName, Place>) {
    let mut found: BTreeMap<WorkflowName, Vec<(Draft<'d>, bool)>> = BTreeMap::new();
    let mut unsound = BTreeMap::new();
    for (path, loaded) in files {
        let folder = loaded.folder.project.as_deref().and_then(|project| ProjectName::parse(project).ok());
        // What cannot be read may have declared the workflow of its lines or of its file's name: that one is not gone.
        let unreadable = loaded.specs.is_empty() || loaded.specs.iter().any(|spec| spec.document.value.is_null());
        if loaded.folder.room == Room::Workflows && loaded.problems.errors() > 0 && unreadable {
            let names = loaded.lost_names.iter().map(String::as_str).chain([resolve::stem(path)]);
            for workflow in names.filter_map(|name| Name::parse(name).ok()) {
                unsound.extend(folder.clone().map(|project| (WorkflowName { project, workflow }, Place::file(path))));
            }
        }
        for spec in &loaded.specs {
            if spec.document.value.is_null() && !spec.sound {
                continue;
            }
            let bare = match spec.shape {
                Some(Shape::Document(Kind::Workflow)) => false,
                // A document of no known kind may have been a workflow: its name is kept.
                Some(Shape::Document(Kind::Operation | Kind::Component)) | None
                    if loaded.folder.room == Room::Workflows =>
                {
                    true
                }
                _ => continue,
            };
            let source = Source::whole(&spec.document);
            let Some(name) = workflow_name(&source, path, folder.as_ref(), bare, written, spec.sound, problems) else {
                // Whatever is wrong with its project, the workflow of this folder is still declared.
                if let (Some(project), Ok(workflow)) = (folder.clone(), resolve::identity(&spec.document.value, path)) {
                    unsound.insert(WorkflowName { project, workflow }, spec.document.place(""));
                }
                continue;
            };
            found.entry(name.clone()).or_default().push((Draft { name, source, path, bare }, spec.sound));
        }
    }
    let twice = found
        .iter()
        .filter(|(_, list)| list.len() > 1)
        .flat_map(|(name, list)| list.iter().map(move |(draft, _)| (name.to_string(), draft.source.document)));
    checks::once("workflow", twice, problems);
    let mut drafts = BTreeMap::new();
    for (name, mut list) in found {
        match (list.pop(), list.is_empty()) {
            (Some((draft, true)), true) => {
                drafts.insert(name, draft);
            }
            (Some((draft, _)), _) => {
                unsound.insert(name, draft.source.place(""));
            }
            (None, _) => {}
        }
    }
    unsound.retain(|name, _| !drafts.contains_key(name));
    (drafts, unsound)
}

/// A workflow's project and name, from its document, its folder and its file. Of an unsound document, what can be read.
fn workflow_name(
    source: &Source<'_>,
    path: &str,
    folder: Option<&ProjectName>,
    bare: bool,
    written: &Written<'_>,
    sound: bool,
    problems: &mut Diagnostics,
) -> Option<WorkflowName> {
    let document = &source.document.value;
    let workflow = match resolve::identity(document, path) {
        Ok(name) => name,
        Err(why) => {
            if sound {
                let problem = Diagnostic::error(codes::BAD_IDENTITY, source.place("/name"), why);
                problems.push(problem.help("a workflow is called by its `name`, or else by its file"));
            }
            return None;
        }
    };
    let project = document.field("project").and_then(Value::as_str).filter(|_| !bare);
    let project = project.and_then(|text| ProjectName::parse(text).ok());
    let known = |project: &ProjectName| {
        written.folders.contains(project) || written.projects.iter().any(|(declared, _)| declared.name == *project)
    };
    let project = match (project, folder) {
        (Some(named), Some(folder)) if named != *folder => {
            let message = format!("the file lies in the folder of project `{folder}` and names `{named}`");
            problems.push(
                Diagnostic::error(codes::OTHER_PROJECT, source.place("/project"), message)
                    .help("remove `project`, or move the file"),
            );
            return None;
        }
        (Some(named), _) if !known(&named) => {
            let names = written.folders.iter().chain(written.projects.iter().map(|(project, _)| &project.name));
            let near = did_you_mean(named.as_str(), names.map(ProjectName::as_str));
            let help = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            let message = format!("no project is called `{named}`");
            problems.push(Diagnostic::error(codes::UNKNOWN_PROJECT, source.place("/project"), message).help(help));
            return None;
        }
        (Some(project), _) => project,
        (None, Some(folder)) => folder.clone(),
        (None, None) => {
            let help = "move the file to `projects/NAME/workflows/`, or write `kind: workflow` with `project: NAME`";
            problems.push(
                Diagnostic::error(codes::NO_PROJECT, source.place(""), "nothing says which project this belongs to")
                    .help(help),
            );
            return None;
        }
    };
    Some(WorkflowName { project, workflow })
}
