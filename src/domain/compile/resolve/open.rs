//! How an operation hangs on runs beyond its graph: events of others that it waits for, joins over their results, hooks
//! that follow it, and the tuner of its matrix.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Resolving;
use super::build::with_build;
use super::merged::Merged;
use crate::domain::catalog::{CompiledOperation, Hook, Join, RunEvent, TunerRun};
use crate::domain::compile::codes;
use crate::domain::compile::field::Lookup;
use crate::domain::compile::inputs::{Bound, Scope, bind, declared, text_of};
use crate::domain::compile::load::Source;
use crate::domain::compile::merge::merge;
use crate::domain::compile::sections;
use crate::domain::compile::text::shown;
use crate::domain::compile::value::flag;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::ids::{QueueName, RunId};
use crate::domain::query::{Query, parse_sort};
use crate::domain::spec::reading::When;
use crate::domain::spec::{JoinSpec, PatchStrategy};
use crate::domain::time::Timestamp;

/// Hooks of one operation at most: each is a run for every end.
const MAX_HOOKS: usize = 32;
/// What a tuner is told, when it declares inputs of these names.
const TOLD: &[&str] = &["iteration", "matrix", "configs", "metrics", "outputs", "statuses"];

/// What an operation is started for on behalf of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper {
    Hook,
    Tuner,
    Build,
}

impl<'d> Resolving<'_, 'd> {
    /// The events that an operation outside of a graph waits for.
    pub(super) fn run_events(&mut self, merged: &Merged<'d>) -> Vec<RunEvent> {
        let mut events = Vec::new();
        let list = merged.whole.field("events").and_then(Value::as_array).cloned().unwrap_or_default();
        for (i, event) in list.iter().enumerate() {
            let place = merged.at.place(&format!("/events/{i}/ref"));
            let reference = text_of(event, "ref").unwrap_or_default();
            let Some(of) = reference.strip_prefix("runs.").and_then(RunId::parse) else {
                let message = format!("`{}` is no run, and this operation stands in no graph", shown(reference));
                self.error(codes::BAD_REF, place, message, "the ref of its events is `runs.UUID`");
                continue;
            };
            events.push(RunEvent { of, statuses: statuses(event) });
        }
        events
    }

    /// The hooks of an operation, each resolved like an operation of its own.
    pub(super) fn hooks(&mut self, merged: &Merged<'d>, queue: &QueueName) -> Vec<Hook> {
        let count = |source: &Source<'d>| {
            let list = source.map().and_then(|map| map.field("hooks")).and_then(Value::as_array);
            list.map_or(0, Vec::len)
        };
        let from = if count(&merged.at) > 0 { merged.at.clone() } else { merged.component_at.clone() };
        let written = merged.whole.field("hooks").and_then(Value::as_array).map_or(0, Vec::len);
        let count = count(&from);
        if count != written {
            let why = "`hooks` that are merged from several places are recognised but cannot run yet";
            self.not_yet(&from.at("/hooks"), why.to_owned());
            return Vec::new();
        }
        if count > MAX_HOOKS {
            let message = format!("{count} hooks; at most {MAX_HOOKS} follow one run");
            self.error(codes::OTHER_VALUE, from.key_place("/hooks"), message, "let one of them do more");
            return Vec::new();
        }
        (0..count).filter_map(|i| self.hook(from.at(&format!("/hooks/{i}")), queue)).collect()
    }

    /// Says why what stands here cannot run, and that the workflow therefore does not.
    pub(super) fn not_yet(&mut self, at: &Source<'d>, why: String) {
        let problem = Diagnostic::warning(codes::NOT_YET, at.place(""), why.clone());
        self.problems.push(problem.help("the workflow is declared and starts nothing"));
        self.later.get_or_insert(why);
    }

    fn hook(&mut self, at: Source<'d>, above: &QueueName) -> Option<Hook> {
        let map = at.map()?;
        let (name, queue, operation) = self.helper(&at, Cow::Borrowed(map), above, Helper::Hook)?;
        Some(Hook {
            name,
            trigger: text_in(map, "trigger"),
            conditions: text_in(map, "conditions"),
            informed: map.field("disableDefaults").and_then(flag) != Some(true),
            queue,
            operation,
        })
    }

    /// The tuner of a matrix, if it has one of its own.
    pub(super) fn tuner(&mut self, merged: &Merged<'d>, above: &QueueName) -> Option<TunerRun> {
        merged.whole.field("matrix")?.field("tuner").filter(|tuner| tuner.is_object())?;
        let own = |source: &Source<'d>| source.at("/matrix/tuner").map().is_some();
        let Some(from) = [&merged.at, &merged.component_at].into_iter().find(|source| own(source)) else {
            self.not_yet(&merged.at, "a `tuner` that a preset brings is recognised but cannot run yet".to_owned());
            return None;
        };
        let at = from.at("/matrix/tuner");
        let (_, queue, operation) = self.helper(&at, Cow::Borrowed(at.map()?), above, Helper::Tuner)?;
        Some(TunerRun { queue, operation })
    }

    /// An operation that is started on behalf of another one: `hubRef` with params. What a tuner is told is given to the
    /// inputs that it declares for it, unless a param is.
    pub(super) fn helper(
        &mut self,
        at: &Source<'d>,
        written: Cow<'d, Map<String, Value>>,
        above: &QueueName,
        what: Helper,
    ) -> Option<(String, QueueName, CompiledOperation)> {
        let name = written.field("hubRef").and_then(Value::as_str).unwrap_or("helper").replace([':', '/'], "-");
        let connection = written.field("connection").and_then(Value::as_str).map(str::to_owned);
        let path = at.place("").file.to_string();
        let mut merged = self.referring(written, at.clone(), &path, false)?;
        let says = |key: &&str| merged.component.field(key).is_some_and(|value| !value.is_null());
        if ["hooks", "matrix", "joins"].iter().any(says) {
            self.not_yet(at, format!("`{name}` is started for another run, and has no hooks or runs of its own"));
        } else if what == Helper::Build && says(&"build") {
            self.not_yet(at, format!("`{name}` builds an image, and cannot have one built for itself"));
        }
        // These say when it is started, and nothing about what it runs.
        ["trigger", "conditions", "disableDefaults", "hooks"]
            .iter()
            .for_each(|key| _ = merged.whole.shift_remove(*key));
        if what == Helper::Build {
            // A default preset may bring one, which is meant for others.
            merged.whole.shift_remove("build");
        }
        for name in if what == Helper::Tuner { TOLD } else { &[] } {
            if declared(merged.component, "inputs").any(|io| text_of(io, "name") == Some(*name)) {
                let params = merged.operation.to_mut().entry("params").or_insert_with(|| json!({}));
                if let Some(params) = params.as_object_mut() {
                    params.entry(*name).or_insert_with(|| json!({ "value": format!("{{{{ {name} }}}}") }));
                }
            }
        }
        let before = self.problems.errors();
        let bound = bind(&merged.operation, &merged.at, merged.component, &Scope::Alone, &mut self.problems);
        sections::check_params(&merged.operation, merged.component, &merged.at, &mut self.problems);
        let mut run = self.patched_run(&mut merged);
        if let (Some(connection), Some(run)) = (connection, run.as_object_mut()) {
            merge(run, [(&"connections".to_owned(), &json!([connection]))], PatchStrategy::PostMerge);
        }
        let queue = match merged.whole.field("queue").and_then(Value::as_str) {
            Some(_) => self.queue_of(None, &merged)?,
            None => above.clone(),
        };
        if super::graph::kind_of_run(&run) == "dag" {
            self.not_yet(at, format!("`{name}` is started for another run, and cannot be a graph"));
        } else if let Some(why) = self.unrunnable(&merged, &run, Some(&queue)) {
            self.later.get_or_insert(format!("`{name}`: {why}"));
        }
        let request = self.request(&merged, &run)?;
        self.fits(&queue, &request, &merged);
        self.honours(&queue, &merged, &run);
        let build = self.build(&merged, &run, &queue);
        let mut operation = with_build(super::compiled(merged.whole, bound, run, request, None), build);
        if what != Helper::Build {
            // Its templates are over the run that it is started for, which fills them in.
            operation.templated.clear();
        }
        (self.problems.errors() == before).then_some((name, queue, operation))
    }

    /// The joins of an operation; their queries are read here, so that a mistake is told before anything runs.
    pub(super) fn joins(&mut self, merged: &Merged<'d>, bound: &mut Bound) -> Vec<Join> {
        let list = merged.whole.field("joins").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut joins = Vec::new();
        for (i, written) in list.iter().enumerate() {
            let at = merged.at.at(&format!("/joins/{i}"));
            let read = match JoinSpec::read(written) {
                Ok(read) => read,
                // What is wrong with its shape has been told.
                Err(faults) => {
                    if let Some(fault) = faults.iter().find(|fault| fault.when == When::Made) {
                        self.not_yet(&at, format!("`joins`: {}", fault.message));
                    }
                    continue;
                }
            };
            for (field, problem) in [
                ("query", Query::parse(&read.query, Timestamp::default()).err()),
                ("sort", read.sort.as_deref().and_then(|sort| parse_sort(sort).err())),
            ] {
                if let Some(problem) = problem {
                    let message = shown(&problem.message);
                    self.error(codes::BAD_LINK, at.place(&format!("/{field}")), message, problem.help);
                }
            }
            let mut params = BTreeMap::new();
            for (name, param) in &read.params {
                let path = param.value.as_str().filter(|path| !path.starts_with("artifacts"));
                if path.is_none() || param.connection.is_some() || param.to_init {
                    let why = format!("`{}`: a join of artifacts is recognised but cannot run yet", shown(name));
                    self.not_yet(&at, why);
                }
                bound.to_env.extend(param.to_env.clone().map(|variable| (variable, name.clone())));
                params.extend(path.map(|path| (name.clone(), path.to_owned())));
            }
            let JoinSpec { query, sort, limit, offset, .. } = read;
            joins.push(Join { query, sort, limit, offset, params });
        }
        joins
    }
}

/// The words of the statuses among the kinds of an event; other kinds have no effect, as in the original.
pub(super) fn statuses(event: &Value) -> std::collections::BTreeSet<String> {
    let kinds = event.field("kinds").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    kinds.filter_map(|kind| kind.strip_prefix("run_status_")).map(str::to_owned).collect()
}

fn text_in(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.field(key).and_then(Value::as_str).map(str::to_owned)
}
