//! Workflows: references followed, presets and patches merged, params bound, a queue chosen, digests taken.

mod build;
mod demand;
mod follow;
mod graph;
mod honoured;
mod merged;
mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use globset::GlobSet;
use serde_json::{Map, Value, json};

use crate::domain::catalog::{CompiledOperation, Dag, PushTrigger, ResolvedWorkflow, StoredOperation, SupersedePolicy};
use crate::domain::compile::checks::{self, glob};
use crate::domain::compile::codes;
use crate::domain::compile::digest::Canonical;
use crate::domain::compile::field::Lookup;
use crate::domain::compile::graph::Graph;
use crate::domain::compile::inputs::{Bound, Scope, bind, check_declarations};
use crate::domain::compile::library::{ComponentName, Components, Library, component_name};
use crate::domain::compile::load::{Loaded, Room, Source};
use crate::domain::compile::policy::{Policy, Written};
use crate::domain::compile::schema::Shape;
use crate::domain::compile::sections::{self, check_triggers};
use crate::domain::compile::text::shown;
use crate::domain::compile::value::{flag, has_template};
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::domain::files::TreePath;
use crate::domain::honour::{SECTIONS, refusal};
use crate::domain::ids::{Digest, Name, ProjectName, QueueName, WorkflowName};
use crate::domain::quantity::Resources;
use crate::domain::spec::matrix::{Matrix, Search};
use crate::domain::spec::{Fires, Kind, Schedule, TriggerSpec, Workflow};
use crate::domain::time::Span;
use build::with_build;
pub(in crate::domain::compile) use demand::allowed_queues;
pub(in crate::domain::compile) use follow::reference_problems;
use merged::Merged;
pub(in crate::domain::compile) use merged::{merged_over, patch_with};

/// Fields that only people read, that say when to start, or that have been worked in already: no part of the meaning.
const MEANINGLESS: [&str; 10] =
    ["name", "description", "tags", "schedule", "inputs", "outputs", "run", "queue", "version", "kind"];

/// What workflows are resolved against.
pub(in crate::domain::compile) struct Context<'d> {
    pub written: &'d Written<'d>,
    pub policy: &'d Policy,
    pub tree: &'d [TreePath],
    /// The queues that projects may use, where they may not use all.
    pub queues: BTreeMap<&'d ProjectName, GlobSet>,
    /// What references mean.
    pub library: Library<'d>,
    /// The file whose workflow is wanted in the form of the original too.
    pub shown: Option<&'d str>,
}

/// A workflow that has been resolved.
pub(in crate::domain::compile) struct Resolved {
    pub workflow: ResolvedWorkflow,
    /// Its compiled operation in the form of the original, when that is wanted.
    pub operation: Option<Value>,
}

/// Finds the components that can be named, and checks each once.
pub(in crate::domain::compile) fn components<'d>(
    files: &'d BTreeMap<String, Arc<Loaded>>,
    problems: &mut Diagnostics,
) -> Components<'d> {
    let mut found: BTreeMap<ComponentName, Vec<(bool, Source<'d>)>> = BTreeMap::new();
    for (path, loaded) in files {
        for spec in loaded.specs.iter().filter(|spec| spec.shape == Some(Shape::Document(Kind::Component))) {
            let source = Source::whole(&spec.document);
            let mut own = Diagnostics::default();
            if let Some(map) = source.map().filter(|_| spec.sound) {
                check_declarations(map, &source, &mut own);
            }
            let sound = spec.sound && own.errors() == 0;
            problems.extend(own);
            if loaded.folder.room == Room::Components {
                let name = component_name(path, name_of(&spec.document.value));
                found.entry((loaded.folder.project.clone(), name)).or_default().push((sound, source));
            }
        }
    }
    let names = found.iter().flat_map(|((project, name), sources)| {
        let full = project.as_ref().map_or(name.clone(), |project| format!("{project}/{name}"));
        sources.iter().map(move |(_, source)| (full.clone(), source.document))
    });
    checks::once("component", names, problems);
    let sound = |sources: Vec<(bool, Source<'d>)>| match &sources[..] {
        [(true, only)] => Some(only.clone()),
        _ => None,
    };
    found.into_iter().map(|(key, sources)| (key, sound(sources))).collect()
}

/// A workflow as it is written: a document of kind workflow, or a bare polyaxonfile.
pub(in crate::domain::compile) struct Draft<'d> {
    pub name: WorkflowName,
    pub source: Source<'d>,
    pub path: &'d str,
    pub bare: bool,
}

/// Everything that one workflow gathers while it is resolved.
struct Resolving<'c, 'd> {
    context: &'c Context<'d>,
    name: &'c WorkflowName,
    problems: Diagnostics,
    around: graph::Around,
    /// Why what stands inside its graphs cannot run here, if so.
    later: Option<String>,
    /// The compiled operation in the form of the original, when that is wanted.
    shown: Option<Value>,
}

/// Resolves a workflow; `None` when it has errors. And its problems.
pub(in crate::domain::compile) fn resolve(context: &Context<'_>, draft: &Draft<'_>) -> (Option<Resolved>, Diagnostics) {
    let mut resolving = Resolving {
        context,
        name: &draft.name,
        problems: Diagnostics::default(),
        around: graph::Around::default(),
        later: None,
        shown: None,
    };
    let resolved = resolving.workflow(draft);
    let (operation, problems) = (resolving.shown, resolving.problems);
    let sound = problems.errors() == 0;
    (resolved.filter(|_| sound).map(|workflow| Resolved { workflow, operation }), problems)
}

impl<'d> Resolving<'_, 'd> {
    fn workflow(&mut self, draft: &Draft<'d>) -> Option<ResolvedWorkflow> {
        let workflow = if draft.bare { None } else { self.typed(&draft.source) };
        if !draft.bare && workflow.is_none() {
            return None;
        }
        let mut merged = if draft.bare {
            self.bare(&draft.source, draft.path)?
        } else {
            self.operation(draft.source.at("/operation"), draft.path, true)?
        };
        let before = self.problems.errors();
        self.reference_rule(&merged);
        sections::check(&merged.operation, &merged.at, &mut self.problems);
        let mut bound = bind(&merged.operation, &merged.at, merged.component, &Scope::Alone, &mut self.problems);
        sections::check_params(&merged.operation, merged.component, &merged.at, &mut self.problems);
        let run = self.patched_run(&mut merged);
        let queue = self.queue(draft, &merged);
        let unrunnable = self.unrunnable(&merged, &run, queue.as_ref());
        let (push, schedules) = self.triggers(workflow.as_ref(), &merged);
        let inputs_digest = self.inputs_digest(draft, push.as_ref());
        let request = self.request(&merged, &run);
        let (Some(queue), Some(request), true) = (queue, request, self.problems.errors() == before) else {
            return None;
        };
        self.fits(&queue, &request, &merged);
        self.honours(&queue, &merged, &run);
        self.stands_alone(&merged);
        self.shown = (self.context.shown == Some(draft.path)).then(|| self.shown(&merged, &bound, &run, &queue));
        let is_graph = graph::kind_of_run(&run) == "dag";
        let dag = if is_graph { Some(self.graph(&merged, &run, &queue)?) } else { None };
        let (hooks, events) = (self.hooks(&merged, &queue), self.run_events(&merged));
        let (joins, tuner) = (self.joins(&merged, &mut bound), self.tuner(&merged, &queue).map(Box::new));
        let build = self.build(&merged, &run, &queue);
        let unrunnable = unrunnable.or(self.later.take());
        let whole = &merged.whole;
        let meaning = whole.iter().filter(|(key, value)| !MEANINGLESS.contains(&key.as_str()) && !value.is_null());
        let run = if is_graph { graph::without_operations(run) } else { run };
        let mut spec_digest = Canonical::default()
            .text(&queue.to_string())
            .mapping(bound.inputs.iter())
            .texts(bound.to_env.iter())
            .texts(bound.as_arg.iter().filter(|(name, form)| !(form.is_empty() && bound.late.contains_key(*name))))
            .value(&run)
            .mapping(meaning);
        let conditions = whole.field("conditions").and_then(Value::as_str).map(str::to_owned);
        let compiled = with_build(compiled(merged.whole, bound, run, request, dag), build);
        let operation = CompiledOperation { hooks, events, joins, tuner, conditions, ..compiled };
        if is_graph {
            spec_digest = spec_digest.value(&graph::meaning(&operation));
        }
        if !operation.hooks.is_empty() {
            spec_digest = spec_digest.value(&json!(operation.hooks));
        }
        if !operation.outputs.is_empty() {
            spec_digest = spec_digest.mapping(operation.outputs.iter());
        }
        if let Some(build) = &operation.build {
            spec_digest = spec_digest.value(&json!(build));
        }
        if let Some(tuner) = &operation.tuner {
            spec_digest = spec_digest.value(&json!(tuner));
        }
        let trigger_digest = trigger_digest(push.as_ref(), &schedules);
        let supersede = workflow.as_ref().and_then(|workflow| workflow.supersede.as_ref()).map(|supersede| {
            let group = supersede.group.as_deref().unwrap_or("{{project}}/{{name}}");
            SupersedePolicy {
                group: fill(group, &draft.name),
                limit: supersede.limit.unwrap_or(1),
                when_busy: supersede.when_busy,
            }
        });
        Some(ResolvedWorkflow {
            queue,
            operation: StoredOperation::of(&operation),
            push,
            schedules,
            supersede,
            on_remove: workflow.as_ref().map(|workflow| workflow.on_remove).unwrap_or_default(),
            previous_name: workflow.and_then(|workflow| workflow.previous_name),
            unrunnable,
            spec_digest: spec_digest.digest(),
            trigger_digest,
            inputs_digest,
        })
    }

    /// The compiled operation in the form of the original.
    fn shown(&self, merged: &Merged<'d>, bound: &Bound, run: &Value, queue: &QueueName) -> Value {
        let mut whole = merged.whole.clone();
        whole.shift_remove("template");
        for section in ["inputs", "outputs"] {
            whole.extend(merged.component.field(section).map(|list| (section.to_owned(), list.clone())));
        }
        whole.insert("queue".to_owned(), json!(queue.to_string()));
        let mut run = run.clone();
        let project = self.name.project.to_string();
        let graph = Graph {
            library: &self.context.library,
            project: Some(&project),
            path: merged.component_at.place("").file.to_string(),
            run: merged.component_at.at("/run"),
            component: merged.component,
            around: Vec::new(),
        };
        if let Some(operations) = graph.embedded().filter(|_| graph::kind_of_run(&run) == "dag") {
            run["operations"] = operations;
        }
        whole.insert("run".to_owned(), run);
        crate::domain::compile::compiled::document(whole, &merged.operation, bound)
    }

    fn error(
        &mut self,
        code: crate::domain::diagnostic::Code,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Diagnostic::error(code, place, message).help(help));
    }

    fn typed(&mut self, source: &Source<'d>) -> Option<Workflow> {
        use serde::Deserialize;
        let before = self.problems.errors();
        check_triggers(source.map()?, source, &mut self.problems);
        if self.problems.errors() > before {
            return None;
        }
        match Workflow::deserialize(&source.document.value) {
            Ok(workflow) => Some(workflow),
            Err(why) => {
                self.error(codes::NOT_VALID, source.place(""), shown(&why.to_string()), "");
                None
            }
        }
    }

    fn unrunnable(&mut self, merged: &Merged<'d>, run: &Value, queue: Option<&QueueName>) -> Option<String> {
        let mut reason = None;
        let kind = run.field("kind").and_then(Value::as_str).unwrap_or_default();
        let target = queue.and_then(|queue| self.target(queue));
        if let Some(why) = target.and_then(|target| refusal(kind, target)) {
            reason = Some((why, merged.component_at.place("/run/kind")));
        } else if let Some(why) = merged.whole.field("matrix").filter(|matrix| !matrix.is_null()).and_then(search_later)
        {
            reason = Some((why, merged.at.key_place("/matrix")));
        }
        let (reason, place) = reason?;
        let problem = Diagnostic::warning(codes::NOT_YET, place, reason.clone());
        self.problems.push(problem.help("the workflow is declared and starts nothing"));
        Some(reason)
    }

    fn triggers(&mut self, workflow: Option<&Workflow>, merged: &Merged<'d>) -> (Option<PushTrigger>, Vec<Schedule>) {
        let template = merged
            .whole
            .field("template")
            .or(merged.operation.field("template"))
            .or(merged.component.field("template"));
        let is_form = template.and_then(|template| template.field("enabled")).and_then(flag) == Some(true);
        let mut push = (!is_form).then(|| PushTrigger { paths: Vec::new(), fires: Fires::OnChange });
        let mut schedules = Vec::new();
        if let Some(triggers) = workflow.and_then(|workflow| workflow.triggers.as_ref()) {
            push = None;
            for trigger in triggers {
                match trigger {
                    TriggerSpec::Push(written) => {
                        let entry = push.get_or_insert(PushTrigger { paths: Vec::new(), fires: written.fires });
                        entry.paths.extend(written.paths.iter().cloned());
                    }
                    TriggerSpec::Schedule(schedule) => {
                        schedules.push(schedule.clone());
                    }
                    TriggerSpec::Dispatch(_) => {}
                }
            }
        }
        if let Some(schedule) = merged.operation.field("schedule").filter(|schedule| !schedule.is_null()) {
            // What is wrong with it has been told; a template is filled in too late to start anything.
            schedules.extend(Schedule::read(schedule));
        }
        (push, schedules)
    }

    /// The digest of the files that the push trigger watches.
    fn inputs_digest(&mut self, draft: &Draft<'d>, push: Option<&PushTrigger>) -> Digest {
        if push.is_none_or(|push| push.paths.is_empty()) {
            return Digest::of(b"");
        }
        let mut set = GlobSet::builder();
        let triggers = draft.source.document.value.field("triggers").and_then(Value::as_array);
        for (i, trigger) in triggers.into_iter().flatten().enumerate() {
            let paths = trigger.pointer("/push/paths").and_then(Value::as_array);
            for (j, text) in paths.into_iter().flatten().enumerate() {
                let place = draft.source.place(&format!("/triggers/{i}/push/paths/{j}"));
                if let Some(glob) = text.as_str().and_then(|text| glob(text, &place, &mut self.problems)) {
                    set.add(glob);
                }
            }
        }
        let Ok(set) = set.build() else { return Digest::of(b"") };
        let matched: BTreeSet<(&str, &str)> = self
            .context
            .tree
            .iter()
            .filter(|entry| set.is_match(&entry.path))
            .map(|entry| (entry.path.as_str(), entry.id.as_str()))
            .collect();
        Canonical::default().value(&json!(matched)).digest()
    }
}

/// The digest of what starts a workflow.
fn trigger_digest(push: Option<&PushTrigger>, schedules: &[Schedule]) -> Digest {
    static USUAL: OnceLock<Digest> = OnceLock::new();
    let digest = || Canonical::default().value(&json!([push, schedules])).digest();
    match push {
        // Nearly all are started by every change of their own text, and by nothing else.
        Some(PushTrigger { paths, fires: Fires::OnChange }) if paths.is_empty() && schedules.is_empty() => {
            *USUAL.get_or_init(digest)
        }
        _ => digest(),
    }
}

/// Why a matrix cannot run here, if it cannot. What is a template is read when it starts.
fn search_later(matrix: &Value) -> Option<String> {
    match Matrix::read(matrix) {
        Ok(Matrix { search: Search::Iterative(of), .. }) if of.tuner.is_none() => {
            Some("an iterative search is suggested by its `tuner`, and this has none".to_owned())
        }
        Ok(_) => None,
        Err(_) if has_template(matrix) => None,
        Err(faults) => faults.first().map(|fault| format!("`matrix`: {}", fault.message)),
    }
}

/// An operation with everything merged in.
fn compiled(
    mut whole: Map<String, Value>,
    bound: Bound,
    run: Value,
    request: Resources,
    dag: Option<Dag>,
) -> CompiledOperation {
    let termination = whole.field("termination");
    let seconds = |key: &str| termination.and_then(|termination| termination.field(key)).and_then(Value::as_u64);
    let max_retries = seconds("maxRetries").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let (timeout, ttl) = (seconds("timeout").map(Span::seconds), seconds("ttl").map(Span::seconds));
    CompiledOperation {
        name: whole.field("name").and_then(Value::as_str).map(str::to_owned),
        tags: whole.field("tags").map(words).unwrap_or_default(),
        inputs: bound.inputs,
        to_env: bound.to_env,
        outputs: bound.outputs,
        templated: bound.templated,
        as_arg: bound.as_arg,
        forms: bound.forms,
        run: if dag.is_some() { graph::without_operations(run) } else { run },
        request,
        max_retries,
        timeout,
        ttl,
        needs_approval: whole.field("isApproved").and_then(flag) == Some(false),
        refs: bound.refs,
        late: bound.late,
        dag: dag.map(Box::new),
        matrix: taken(&mut whole, "matrix").map(|(_, matrix)| matrix),
        sections: SECTIONS.iter().filter_map(|section| taken(&mut whole, section)).collect(),
        conditions: None,
        events: Vec::new(),
        joins: Vec::new(),
        tuner: None,
        hooks: Vec::new(),
        build: None,
        point: None,
    }
}

/// Takes a field that says something out of a mapping whose order no longer matters.
fn taken(whole: &mut Map<String, Value>, key: &str) -> Option<(String, Value)> {
    whole.field(key).filter(|value| !value.is_null())?;
    whole.swap_remove_entry(key)
}

/// A list of words, or a text with commas.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => {
            text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        }
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn name_of(value: &Value) -> Option<&str> {
    value.field("name").and_then(Value::as_str)
}

/// The name of a file without folders and extension.
pub(in crate::domain::compile) fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

fn fill(group: &str, name: &WorkflowName) -> String {
    let pairs = [("project", name.project.as_str()), ("name", name.workflow.as_str())];
    pairs.iter().fold(group.to_owned(), |text, (key, value)| {
        text.replace(&format!("{{{{{key}}}}}"), value).replace(&format!("{{{{ {key} }}}}"), value)
    })
}

/// The name of a workflow from what a document or its file says. A polyaxonfile follows Polyaxon's rules for names, which
/// allow more: its workflow has the name nearest to it.
pub(in crate::domain::compile) fn identity(document: &Value, path: &str) -> Result<Name, String> {
    let written = name_of(document).filter(|name| !name.contains("{{"));
    let name = match written {
        Some(name) if document.field("kind").and_then(Value::as_str) == Some("workflow") => Name::parse(name),
        _ => Name::nearest(written.unwrap_or(stem(path))),
    };
    name.map_err(|why| why.to_string())
}
