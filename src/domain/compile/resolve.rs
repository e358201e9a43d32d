//! Workflows: references followed, presets and patches merged, params bound, a queue chosen, digests taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use globset::GlobSet;
use serde_json::{Map, Value, json};

use super::checks::{self, find_queue, glob, near, time, unknown_preset};
use super::digest::digest;
use super::inputs::{Bound, bind, check_declarations};
use super::load::{Loaded, Room, Source};
use super::merge::{merge, strategy_of};
use super::policy::{Policy, Written};
use super::schema::Shape;
use super::text::shown;
use super::value::{flag, is_template};
use super::{codes, violation};
use crate::domain::catalog::{CompiledOperation, PushTrigger, ResolvedWorkflow, SupersedePolicy};
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::domain::files::TreePath;
use crate::domain::ids::{Digest, Name, QueueName, WorkflowName};
use crate::domain::quantity::{COST, Quantity, Resources};
use crate::domain::spec::{Fires, Kind, PatchStrategy, Schedule, TriggerSpec, Workflow};
use crate::domain::time::Span;

/// Longest chain of files that refer to one another; a longer one is a mistake or an attack.
const MAX_REFERENCES: usize = 16;

/// Fields of an operation that a component does not take over.
const OPERATION_ONLY: [&str; 13] = [
    "version",
    "kind",
    "component",
    "hubRef",
    "pathRef",
    "urlRef",
    "dagRef",
    "params",
    "runPatch",
    "patchStrategy",
    "isPreset",
    "template",
    "presets",
];
/// Fields that only people read, that say when to start, or that have been worked in already: no part of the meaning.
const MEANINGLESS: [&str; 10] =
    ["name", "description", "tags", "schedule", "inputs", "outputs", "run", "queue", "version", "kind"];
/// Sections that are understood but cannot be run by this version.
const LATER: [&str; 6] = ["matrix", "joins", "events", "hooks", "build", "conditions"];

/// What workflows are resolved against.
pub(super) struct Context<'d> {
    pub files: &'d BTreeMap<String, Arc<Loaded>>,
    pub written: &'d Written<'d>,
    pub policy: &'d Policy,
    pub tree: &'d [TreePath],
    /// Components by project (`None`: of the organization) and name; `None` for one with errors.
    pub components: BTreeMap<(Option<String>, String), Option<Source<'d>>>,
}

/// Finds the components that can be named, and checks each once.
pub(super) fn components<'d>(
    files: &'d BTreeMap<String, Arc<Loaded>>,
    problems: &mut Diagnostics,
) -> BTreeMap<(Option<String>, String), Option<Source<'d>>> {
    let mut found: BTreeMap<(Option<String>, String), Vec<(bool, Source<'d>)>> = BTreeMap::new();
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
                let name = name_of(&spec.document.value).unwrap_or(stem(path)).to_owned();
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
pub(super) struct Draft<'d> {
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
}

/// Resolves a workflow; `None` when it has errors.
pub(super) fn resolve(
    context: &Context<'_>,
    draft: &Draft<'_>,
    problems: &mut Diagnostics,
) -> Option<ResolvedWorkflow> {
    let mut resolving = Resolving { context, name: &draft.name, problems: Diagnostics::default() };
    let resolved = resolving.workflow(draft);
    let found = resolving.problems;
    let sound = found.errors() == 0;
    let object = format!("workflow {}", draft.name);
    for problem in found.iter() {
        problems.push(checks::about(problem.clone(), object.clone()));
    }
    resolved.filter(|_| sound)
}

/// An operation with its references and presets worked in.
struct Merged<'d> {
    /// The operation's own fields.
    operation: Map<String, Value>,
    /// Where the operation stands.
    at: Source<'d>,
    /// The component with the operation merged over it.
    whole: Map<String, Value>,
    /// The component as declared.
    component: Map<String, Value>,
    /// Where the component stands.
    component_at: Source<'d>,
}

impl<'d> Resolving<'_, 'd> {
    fn workflow(&mut self, draft: &Draft<'d>) -> Option<ResolvedWorkflow> {
        let workflow = if draft.bare { None } else { self.typed(&draft.source) };
        if !draft.bare && workflow.is_none() {
            return None;
        }
        let merged = if draft.bare {
            self.bare(&draft.source, draft.path)?
        } else {
            self.operation(draft.source.at("/operation"), draft.path)?
        };
        let before = self.problems.errors();
        self.reference_rule(&merged);
        let bound = bind(&merged.operation, &merged.at, &merged.component, &mut self.problems);
        let run = self.patched_run(&merged);
        let queue = self.queue(draft, &merged);
        let unrunnable = self.unrunnable(&merged, &bound, &run);
        let (push, schedules) = self.triggers(draft, workflow.as_ref(), &merged);
        let inputs_digest = self.inputs_digest(draft, push.as_ref());
        let request = self.request(&merged, &run);
        let (Some(queue), Some(request), true) = (queue, request, self.problems.errors() == before) else {
            return None;
        };
        self.fits(&queue, &request, &merged);
        let whole = &merged.whole;
        let seconds = |pointer: &str| {
            let value = whole.get("termination").and_then(|termination| termination.get(pointer));
            value.and_then(Value::as_u64)
        };
        let meaning: Map<String, Value> = whole
            .iter()
            .filter(|(key, value)| !MEANINGLESS.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let spec_digest = digest(&json!({
            "queue": queue.to_string(), "inputs": bound.inputs, "toEnv": bound.to_env, "asArg": bound.as_arg,
            "run": run, "operation": meaning,
        }));
        let trigger_digest = digest(&json!({ "push": push, "schedules": schedules }));
        let tags = whole.get("tags").map(words).unwrap_or_default();
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
            operation: CompiledOperation {
                name: whole.get("name").and_then(Value::as_str).map(str::to_owned),
                tags,
                inputs: bound.inputs,
                to_env: bound.to_env,
                as_arg: bound.as_arg,
                run,
                request,
                max_retries: seconds("maxRetries").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
                timeout: seconds("timeout").map(Span::seconds),
                ttl: seconds("ttl").map(Span::seconds),
                needs_approval: whole.get("isApproved").and_then(flag) == Some(false),
            },
            push,
            schedules,
            supersede,
            on_remove: workflow.as_ref().map(|workflow| workflow.on_remove).unwrap_or_default(),
            previous_name: workflow.and_then(|workflow| workflow.previous_name),
            unrunnable,
            spec_digest,
            trigger_digest,
            inputs_digest,
        })
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
        match Workflow::deserialize(&source.document.value) {
            Ok(workflow) => Some(workflow),
            Err(why) => {
                self.error(codes::NOT_VALID, source.place(""), shown(&why.to_string()), "");
                None
            }
        }
    }

    /// A document that is an operation, or a component that stands for one.
    fn bare(&mut self, source: &Source<'d>, path: &str) -> Option<Merged<'d>> {
        let map = source.map()?;
        if kind_of(map) != Some("component") {
            return self.operation(source.clone(), path);
        }
        if flag(source.document.value.pointer("/template/enabled").unwrap_or(&Value::Null)) == Some(true) {
            // A template starts nothing; its name and shape are kept.
            self.problems.push(Diagnostic::warning(
                codes::NOT_YET,
                source.key_place("/template"),
                "a template starts nothing until its fields are filled in",
            ));
        }
        let operation = map.get("name").map(|name| ("name".to_owned(), name.clone())).into_iter().collect();
        self.merged(operation, source.clone(), map.clone(), source.clone())
    }

    /// An operation: the one in place, with that of another file under it when `pathRef` names one.
    fn operation(&mut self, at: Source<'d>, path: &str) -> Option<Merged<'d>> {
        let mut operation = at.map()?.clone();
        let mut from = (path.to_owned(), at.clone());
        let mut chain = vec![path.to_owned()];
        loop {
            if let Some(component) = operation.get("component").and_then(Value::as_object) {
                let component = component.clone();
                let component_at = from.1.at("/component");
                check_declarations(&component, &component_at, &mut self.problems);
                return self.merged(operation, at, component, component_at);
            }
            let reference = |key: &str| operation.get(key).and_then(Value::as_str).map(str::to_owned);
            if let Some(name) = reference("hubRef") {
                let component_at = self.hub(&name, &from.1)?;
                return self.merged(operation, at, component_at.map()?.clone(), component_at);
            }
            if reference("urlRef").is_some() {
                let help = "keep a copy in the repository: `tidegate vendor URL`";
                self.error(
                    codes::NEEDS_VENDOR,
                    from.1.place("/urlRef"),
                    "the repository has no copy of this URL",
                    help,
                );
                return None;
            }
            if reference("dagRef").is_some() {
                let help = "use `hubRef` or `pathRef`";
                self.error(
                    codes::DAG_ONLY,
                    from.1.place("/dagRef"),
                    "`dagRef` means a graph, and this stands in none",
                    help,
                );
                return None;
            }
            let Some(reference) = reference("pathRef") else {
                let help = "write one of `component`, `pathRef`, `hubRef`";
                self.error(codes::ONE_REFERENCE, from.1.place(""), "the operation names no component", help);
                return None;
            };
            let place = from.1.place("/pathRef");
            let target = self.target(&from.0, &reference, &place)?;
            if chain.contains(&target) || chain.len() >= MAX_REFERENCES {
                chain.push(target);
                let message = format!("references in a circle: {}", shown_chain(&chain));
                self.error(codes::CYCLE, place, message, "let one of them hold the component itself");
                return None;
            }
            chain.push(target.clone());
            let found = self.file(&target, &place)?;
            let map = found.map()?;
            match kind_of(map) {
                Some("component") => return self.merged(operation, at, map.clone(), found),
                Some("operation") => {
                    // The operation here is merged over that of the file, whose reference takes the place of ours.
                    let mut under = map.clone();
                    let strategy = strategy_of(&operation, PatchStrategy::PostMerge);
                    operation.shift_remove("pathRef");
                    operation.shift_remove("kind");
                    merge(&mut under, &operation, strategy);
                    operation = under;
                    from = (target, found);
                }
                _ => {
                    let message = format!("`{}` holds neither a component nor an operation", shown(&target));
                    self.error(codes::WRONG_REFERENCE, place, message, "");
                    return None;
                }
            }
        }
    }

    /// The path that a `pathRef` means, from the root of the repository.
    fn target(&mut self, from: &str, reference: &str, place: &Place) -> Option<String> {
        let mut parts: Vec<&str> = from.split('/').collect();
        parts.pop();
        let outside = |parts: &mut Vec<&str>| parts.pop().is_none();
        let mut leaves = reference.starts_with('/') || reference.contains(['\\', '\0']);
        for part in reference.split('/') {
            match part {
                "" | "." => {}
                ".." => leaves |= outside(&mut parts),
                part => parts.push(part),
            }
        }
        if leaves {
            let message = format!("`{}` leads out of the repository", shown(reference));
            self.error(codes::OUTSIDE, place.clone(), message, "write a path relative to this file");
            return None;
        }
        Some(parts.join("/"))
    }

    /// The only document of a file.
    fn file(&mut self, path: &str, place: &Place) -> Option<Source<'d>> {
        let Some(loaded) = self.context.files.get(path) else {
            let help = near(path, self.context.files.keys().map(String::as_str), "");
            let message = format!("no spec lies at `{}`", shown(path));
            self.error(codes::NO_SUCH_FILE, place.clone(), message, help);
            return None;
        };
        match &loaded.specs[..] {
            [only] if only.sound => Some(Source::whole(&only.document)),
            [_] | [] => {
                let message = format!("`{}` has errors", shown(path));
                self.error(codes::UNSOUND_REFERENCE, place.clone(), message, "mend that file first");
                None
            }
            _ => {
                let message = format!("`{}` holds several documents", shown(path));
                self.error(
                    codes::WRONG_REFERENCE,
                    place.clone(),
                    message,
                    "a reference means the only document of a file",
                );
                None
            }
        }
    }

    /// A component by name: of the project, then of the organization.
    fn hub(&mut self, reference: &str, from: &Source<'d>) -> Option<Source<'d>> {
        let name = reference.split(':').next().unwrap_or(reference);
        let project = self.name.project.to_string();
        let components = &self.context.components;
        let found = components
            .get(&(Some(project.clone()), name.to_owned()))
            .or_else(|| components.get(&(None, name.to_owned())));
        match found {
            Some(Some(source)) => Some(source.clone()),
            Some(None) => {
                let message = format!("the component `{}` has errors", shown(name));
                self.error(codes::UNSOUND_REFERENCE, from.place("/hubRef"), message, "mend the component first");
                None
            }
            None => {
                let known = components.keys().filter(|(of, _)| of.as_ref().is_none_or(|of| *of == project));
                let help = near(name, known.map(|(_, name)| name.as_str()), "components");
                let message = format!("no component is called `{}`", shown(name));
                self.error(codes::UNKNOWN_COMPONENT, from.place("/hubRef"), message, help);
                None
            }
        }
    }

    /// Merges presets, operation and component, in the order of the reference.
    fn merged(
        &mut self,
        mut operation: Map<String, Value>,
        at: Source<'d>,
        component: Map<String, Value>,
        component_at: Source<'d>,
    ) -> Option<Merged<'d>> {
        let mut whole = component.clone();
        for preset in self.presets(component.get("presets"), &component_at.at("/presets"))? {
            over(&mut whole, preset, strategy_of(preset, PatchStrategy::PostMerge));
        }
        for preset in self.presets(operation.get("presets"), &at.at("/presets"))? {
            merge(&mut operation, &content(preset), strategy_of(preset, PatchStrategy::PostMerge));
        }
        // Defaults lie under the operation: it keeps what it says itself.
        let project = self.context.policy.projects.get(&self.name.project);
        let defaults = [
            project.and_then(|project| project.item.default_preset.as_deref()),
            self.context.policy.organization.item.default_preset.as_deref(),
        ];
        for name in defaults.into_iter().flatten() {
            if let Some(preset) = self.preset(name) {
                merge(&mut operation, &content(preset), strategy_of(preset, PatchStrategy::PreMerge));
            }
        }
        let strategy = strategy_of(&operation, PatchStrategy::PostMerge);
        over(&mut whole, &operation, strategy);
        Some(Merged { operation, at, whole, component, component_at })
    }

    fn preset(&self, name: &str) -> Option<&'d Map<String, Value>> {
        let document = self.context.written.presets.iter().find(|(known, _)| known == name)?.1;
        document.value.as_object()
    }

    fn presets(&mut self, names: Option<&Value>, at: &Source<'d>) -> Option<Vec<&'d Map<String, Value>>> {
        let mut found = Vec::new();
        let mut sound = true;
        for name in names.map(words).unwrap_or_default() {
            match self.preset(&name) {
                Some(preset) => found.push(preset),
                None => {
                    let names = self.context.written.presets.iter().map(|(name, _)| name.as_str());
                    self.problems.push(unknown_preset(&name, names, at.place("")));
                    sound = false;
                }
            }
        }
        sound.then_some(found)
    }

    fn reference_rule(&mut self, merged: &Merged<'d>) {
        if let Some(map) = merged.at.map() {
            self.problems.extend(reference_problems(map, &merged.at));
        }
    }

    /// The `run` section with all patches; a patch must leave it valid.
    fn patched_run(&mut self, merged: &Merged<'d>) -> Value {
        let run = merged.whole.get("run").cloned().unwrap_or_default();
        if Some(&run) != merged.component.get("run") {
            for why in violation::sentences(&run, Shape::Run) {
                let place = if merged.operation.contains_key("runPatch") {
                    merged.at.place("/runPatch")
                } else {
                    merged.component_at.place("/presets")
                };
                self.error(codes::BAD_PATCH, place, format!("the patch does not fit: {why}"), "");
            }
        }
        run
    }

    fn queue(&mut self, draft: &Draft<'d>, merged: &Merged<'d>) -> Option<QueueName> {
        let written = self.context.written;
        let policy = self.context.policy;
        let own = draft.source.document.value.get("queue").and_then(Value::as_str).filter(|_| !draft.bare);
        let merged_queue = merged.whole.get("queue").and_then(Value::as_str);
        let (text, place) = match (own, merged_queue) {
            (Some(own), _) => (own, draft.source.place("/queue")),
            (None, Some(text)) => {
                let says = |source: &Source<'_>| {
                    source.map().and_then(|map| map.get("queue")).and_then(Value::as_str) == Some(text)
                };
                let place = if says(&merged.component_at) && !says(&merged.at) {
                    merged.component_at.place("/queue")
                } else {
                    merged.at.place("/queue")
                };
                (text, place)
            }
            (None, None) => {
                let project =
                    policy.projects.get(&draft.name.project).and_then(|project| project.item.default_queue.clone());
                let only = || match policy.agents.iter().next() {
                    Some((name, agent)) if policy.agents.len() == 1 => {
                        Some(QueueName { agent: name.clone(), queue: agent.item.default_queue.clone() })
                    }
                    _ => None,
                };
                let chosen = project.or_else(|| policy.organization.item.default_queue.clone()).or_else(only);
                if chosen.is_none() {
                    let help = "write `queue: agent/queue`, or a `defaultQueue` for the project or the organization";
                    self.error(codes::NO_QUEUE, merged.at.place(""), "nothing says which queue this goes to", help);
                }
                return chosen.filter(|queue| self.allowed(queue, &merged.at.place("")));
            }
        };
        if is_template(&Value::from(text)) {
            let help = "write the queue itself: runs are ordered before their templates are filled in";
            self.error(codes::UNKNOWN_QUEUE, place, format!("`{}` is not a queue", shown(text)), help);
            return None;
        }
        match find_queue(written, text, &place) {
            Ok(queue) => Some(queue).filter(|queue| self.allowed(queue, &place)),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// Whether the project may use a queue; says so when not.
    fn allowed(&mut self, queue: &QueueName, place: &Place) -> bool {
        let policy = self.context.policy;
        let Some(project) = policy.projects.get(&self.name.project) else { return true };
        let Some(globs) = &project.item.queues else { return true };
        let mut set = GlobSet::builder();
        for text in globs {
            if let Ok(glob) = globset::GlobBuilder::new(text).literal_separator(true).build() {
                set.add(glob);
            }
        }
        let Ok(set) = set.build() else { return true };
        if set.is_match(queue.to_string()) {
            return true;
        }
        let names: Vec<String> =
            policy.queues.keys().map(ToString::to_string).filter(|name| set.is_match(name)).collect();
        let message = format!("the project `{}` may not use the queue `{queue}`", self.name.project);
        let help = match names.len() {
            0 => format!("`queues` of the project allows {}, and no queue is like that", globs.join(", ")),
            _ => near(&queue.to_string(), names.iter().map(String::as_str), "queues that it may use"),
        };
        let mut problem = Diagnostic::error(codes::QUEUE_NOT_ALLOWED, place.clone(), message).help(help);
        if let Some(where_) = project.fields.get("/queues") {
            problem = problem.see(where_.clone(), "what the project may use");
        }
        self.problems.push(problem);
        false
    }

    fn unrunnable(&mut self, merged: &Merged<'d>, bound: &Bound, run: &Value) -> Option<String> {
        let set =
            |key: &&&str| merged.whole.get(**key).is_some_and(|section| !section.is_null() && *section != json!([]));
        let mut reason = None;
        let kind = run.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind != "job" {
            reason = Some((
                format!("run kind `{kind}` is recognised but cannot run yet"),
                merged.component_at.place("/run/kind"),
            ));
        } else if let Some(section) = LATER.iter().find(set) {
            let source = if merged.at.map().is_some_and(|map| map.contains_key(*section)) {
                &merged.at
            } else {
                &merged.component_at
            };
            reason = Some((
                format!("`{section}` is recognised but cannot run yet"),
                source.key_place(&checks::field(section)),
            ));
        } else if bound.from_runs {
            reason = Some((
                "params from other runs are recognised but cannot run yet".to_owned(),
                merged.at.place("/params"),
            ));
        }
        let (reason, place) = reason?;
        let problem = Diagnostic::warning(codes::NOT_YET, place, reason.clone());
        self.problems.push(problem.help("the workflow is declared and starts nothing"));
        Some(reason)
    }

    fn triggers(
        &mut self,
        draft: &Draft<'d>,
        workflow: Option<&Workflow>,
        merged: &Merged<'d>,
    ) -> (Option<PushTrigger>, Vec<Schedule>) {
        let template =
            merged.whole.get("template").or(merged.operation.get("template")).or(merged.component.get("template"));
        let is_form = template.and_then(|template| template.get("enabled")).and_then(flag) == Some(true);
        let document = draft.source.document;
        let mut push = (!is_form).then(|| PushTrigger { paths: Vec::new(), fires: Fires::OnChange });
        let mut schedules = Vec::new();
        if let Some(triggers) = workflow.and_then(|workflow| workflow.triggers.as_ref()) {
            push = None;
            for (i, trigger) in triggers.iter().enumerate() {
                match trigger {
                    TriggerSpec::Push(written) => {
                        let entry = push.get_or_insert(PushTrigger { paths: Vec::new(), fires: written.fires });
                        entry.paths.extend(written.paths.iter().cloned());
                    }
                    TriggerSpec::Schedule(schedule) => {
                        let pointer = format!("/triggers/{i}/schedule");
                        let entry = json!({ "cron": schedule.cron, "timeZone": schedule.time_zone });
                        time(document, &pointer, &entry, &mut self.problems);
                        self.no_schedules_yet(document.key_place(&pointer));
                        schedules.push(schedule.clone());
                    }
                    TriggerSpec::Dispatch(_) => {}
                }
            }
        }
        if let Some(schedule) = merged.operation.get("schedule").filter(|schedule| !schedule.is_null()) {
            let place = merged.at.key_place("/schedule");
            match schedule.get("cron").and_then(Value::as_str) {
                Some(cron) if !is_template(&Value::from(cron)) => {
                    time(merged.at.document, &format!("{}/schedule", merged.at.base), schedule, &mut self.problems);
                    schedules.push(Schedule { cron: cron.to_owned(), time_zone: None, catchup: Default::default() });
                }
                _ => {
                    if schedule.get("frequency").and_then(Value::as_f64).is_some_and(|seconds| seconds <= 0.0) {
                        let place = merged.at.place("/schedule/frequency");
                        self.error(codes::BAD_SCHEDULE, place, "a frequency is longer than nothing", "");
                    }
                }
            }
            self.no_schedules_yet(place);
        }
        (push, schedules)
    }

    fn no_schedules_yet(&mut self, place: Place) {
        let problem = Diagnostic::warning(codes::NO_SCHEDULES_YET, place, "schedules are kept, but do not fire yet");
        self.problems.push(problem);
    }

    /// The digest of the files that the push trigger watches.
    fn inputs_digest(&mut self, draft: &Draft<'d>, push: Option<&PushTrigger>) -> Digest {
        let Some(push) = push.filter(|push| !push.paths.is_empty()) else { return Digest::of(b"") };
        let mut set = GlobSet::builder();
        let triggers = draft.source.document.value.get("triggers").and_then(Value::as_array);
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
        digest(&json!(matched))
    }

    /// What one attempt asks for: requests of all containers, limits where there is no request, and the cost.
    fn request(&mut self, merged: &Merged<'d>, run: &Value) -> Option<Resources> {
        let mut request = Resources::default();
        let replicas = run.get("replicas").and_then(Value::as_u64).unwrap_or(1);
        let containers =
            run.get("container").into_iter().chain(run.get("sidecars").and_then(Value::as_array).into_iter().flatten());
        let mut sound = true;
        for resources in containers.filter_map(|container| container.get("resources")) {
            let mut asked: BTreeMap<&str, &Value> = BTreeMap::new();
            for section in ["limits", "requests"] {
                let amounts = resources.get(section).and_then(Value::as_object);
                asked.extend(amounts.into_iter().flatten().map(|(name, amount)| (name.as_str(), amount)));
            }
            for (name, amount) in asked {
                match quantity(amount) {
                    Ok(amount) => request.add(name, amount.times(replicas)),
                    Err(why) => {
                        let place = merged.component_at.place("/run/container/resources");
                        self.error(codes::BAD_QUANTITY, place, format!("{}: {why}", shown(name)), "");
                        sound = false;
                    }
                }
            }
        }
        if let Some(cost) = merged.whole.get("cost").filter(|cost| !cost.is_null() && !cost.is_boolean()) {
            match quantity(cost) {
                Ok(cost) => request.add(COST, cost),
                Err(why) => {
                    self.error(
                        codes::BAD_QUANTITY,
                        merged.at.place("/cost"),
                        format!("cost: {why}"),
                        "write a number that is not negative",
                    );
                    sound = false;
                }
            }
        }
        sound.then(|| request.canonical())
    }

    /// Warns when the request is larger than what its queue or agent can ever give.
    fn fits(&mut self, queue: &QueueName, request: &Resources, merged: &Merged<'d>) {
        let policy = self.context.policy;
        let quota =
            policy.queues.get(queue).map(|item| (format!("the quota of the queue `{queue}`"), &item.item.quota));
        let capacity = policy
            .agents
            .get(&queue.agent)
            .map(|item| (format!("the capacity of the agent `{}`", queue.agent), &item.item.capacity));
        for (what, limits) in quota.into_iter().chain(capacity) {
            for (name, asked) in &request.0 {
                if let Some(limit) = limits.0.get(name).filter(|limit| asked > limit) {
                    let place = merged.component_at.place("/run/container/resources");
                    let message = format!(
                        "this asks for {asked} of `{}`, and {what} is {limit}: it would wait for ever",
                        shown(name)
                    );
                    self.problems.push(
                        Diagnostic::warning(codes::NEVER_FITS, place, message)
                            .help("ask for less, or choose another queue"),
                    );
                }
            }
        }
    }
}

/// The problems with the references of an operation: exactly one of them must be there.
pub(super) fn reference_problems(operation: &Map<String, Value>, at: &Source<'_>) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let present = |key: &str| operation.get(key).is_some_and(|value| !value.is_null());
    let named: Vec<&str> = ["hubRef", "pathRef", "urlRef", "dagRef"].into_iter().filter(|key| present(key)).collect();
    if kind_of(operation) == Some("component") {
        return problems;
    }
    if named.len() > 1 {
        let message = format!("{} references where one is wanted", named.len());
        let place = at.key_place(&checks::field(named[1]));
        problems.push(Diagnostic::error(codes::ONE_REFERENCE, place, message).help("remove all but one"));
    }
    if named.is_empty() && !present("component") {
        let problem = Diagnostic::error(codes::ONE_REFERENCE, at.place(""), "the operation names no component");
        problems.push(problem.help("write one of `component`, `pathRef`, `hubRef`"));
    }
    problems
}

/// Merges the fields of an operation over those of a component, its `runPatch` over `run`.
fn over(whole: &mut Map<String, Value>, operation: &Map<String, Value>, strategy: PatchStrategy) {
    let fields: Map<String, Value> = content(operation)
        .into_iter()
        .filter(|(key, _)| !OPERATION_ONLY.contains(&key.as_str()))
        .chain(operation.get("name").map(|name| ("name".to_owned(), name.clone())))
        .collect();
    merge(whole, &fields, strategy);
    if let (Some(Value::Object(run)), Some(patch)) =
        (whole.get_mut("run"), operation.get("runPatch").and_then(Value::as_object))
    {
        merge(run, patch, strategy);
    }
}

/// What a preset brings: not its own name and kind. `tags` written as one text become a list, so that they merge.
fn content(preset: &Map<String, Value>) -> Map<String, Value> {
    preset
        .iter()
        .filter(|(key, _)| {
            !["version", "kind", "isPreset", "patchStrategy", "name", "description"].contains(&key.as_str())
        })
        .map(|(key, value)| {
            let value = if key == "tags" && value.is_string() { json!(words(value)) } else { value.clone() };
            (key.clone(), value)
        })
        .collect()
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

fn quantity(value: &Value) -> Result<Quantity, String> {
    match value {
        Value::String(text) => Quantity::parse(text.trim()),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        other => Err(format!("{} is not a quantity", violation::quoted(other))),
    }
}

fn kind_of(map: &Map<String, Value>) -> Option<&str> {
    map.get("kind").and_then(Value::as_str)
}

fn name_of(value: &Value) -> Option<&str> {
    value.get("name").and_then(Value::as_str)
}

/// The name of a file without folders and extension.
pub(super) fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

fn fill(group: &str, name: &WorkflowName) -> String {
    let pairs = [("project", name.project.as_str()), ("name", name.workflow.as_str())];
    pairs.iter().fold(group.to_owned(), |text, (key, value)| {
        text.replace(&format!("{{{{{key}}}}}"), value).replace(&format!("{{{{ {key} }}}}"), value)
    })
}

fn shown_chain(chain: &[String]) -> String {
    chain.iter().map(|path| format!("`{}`", shown(path))).collect::<Vec<_>>().join(" → ")
}

/// The name of a workflow from what a document or its file says.
pub(super) fn identity(document: &Value, path: &str) -> Result<Name, String> {
    let text = name_of(document).filter(|name| !name.contains("{{")).unwrap_or(stem(path));
    Name::parse(text).map_err(|why| why.to_string())
}
