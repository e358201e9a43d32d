//! How an operation hangs on runs beyond its graph: events of others that it waits for, and hooks that follow it.

use serde_json::{Map, Value};

use super::Resolving;
use super::merged::Merged;
use crate::domain::catalog::{CompiledOperation, Hook, RunEvent};
use crate::domain::compile::codes;
use crate::domain::compile::inputs::{Bound, Scope, bind, declared, text_of};
use crate::domain::compile::load::Source;
use crate::domain::compile::sections;
use crate::domain::compile::text::shown;
use crate::domain::compile::value::{flag, has_template};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::ids::{QueueName, RunId};

/// Hooks of one operation at most: each is a run for every end.
const MAX_HOOKS: usize = 32;

impl<'d> Resolving<'_, 'd> {
    /// The events that an operation outside of a graph waits for.
    pub(super) fn run_events(&mut self, merged: &Merged<'d>) -> Vec<RunEvent> {
        let mut events = Vec::new();
        let list = merged.whole.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
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
            let list = source.map().and_then(|map| map.get("hooks")).and_then(Value::as_array);
            list.map_or(0, Vec::len)
        };
        let from = if count(&merged.at) > 0 { merged.at.clone() } else { merged.component_at.clone() };
        let written = merged.whole.get("hooks").and_then(Value::as_array).map_or(0, Vec::len);
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
    fn not_yet(&mut self, at: &Source<'d>, why: String) {
        let problem = Diagnostic::warning(codes::NOT_YET, at.place(""), why.clone());
        self.problems.push(problem.help("the workflow is declared and starts nothing"));
        self.later.get_or_insert(why);
    }

    fn hook(&mut self, at: Source<'d>, above: &QueueName) -> Option<Hook> {
        let map = at.map()?;
        let path = at.place("").file.to_string();
        let mut merged = self.operation(at.clone(), &path, false)?;
        let name = text_of(&Value::Object(map.clone()), "hubRef").unwrap_or("hook").replace([':', '/'], "-");
        if ["hooks", "matrix", "joins"].iter().any(|key| merged.component.get(*key).is_some_and(|v| !v.is_null())) {
            self.not_yet(&at, format!("hook `{name}`: a hook is one run, and has no hooks of its own"));
        }
        // These say when it follows, and nothing about what it runs.
        ["trigger", "conditions", "disableDefaults", "hooks"]
            .iter()
            .for_each(|key| _ = merged.whole.shift_remove(*key));
        if map.get("connection").is_some_and(|connection| !connection.is_null()) {
            self.not_yet(&at, format!("hook `{name}`: `connection` is recognised but cannot run yet"));
        }
        let before = self.problems.errors();
        let mut bound = bind(&merged.operation, &merged.at, merged.component, &Scope::Alone, &mut self.problems);
        sections::check_params(&merged.operation, merged.component, &merged.at, &mut self.problems);
        keep_declarations(&mut bound, merged.component);
        let run = self.patched_run(&mut merged);
        let queue = match merged.whole.get("queue").and_then(Value::as_str) {
            Some(_) => self.queue_of(None, &merged)?,
            None => above.clone(),
        };
        if super::graph::kind_of_run(&run) == "dag" {
            self.not_yet(&at, format!("hook `{name}`: a graph cannot follow a run"));
        } else if let Some(why) = self.unrunnable(&merged, &run, Some(&queue)) {
            self.later.get_or_insert(format!("hook `{name}`: {why}"));
        }
        let request = self.request(&merged, &run)?;
        self.fits(&queue, &request, &merged);
        self.honours(&queue, &merged, &run);
        let operation: CompiledOperation = super::compiled(&merged.whole, bound, run, request, None);
        (self.problems.errors() == before).then(|| Hook {
            name,
            trigger: text_in(map, "trigger"),
            conditions: text_in(map, "conditions"),
            informed: map.get("disableDefaults").and_then(flag) != Some(true),
            queue,
            operation,
        })
    }
}

/// The words of the statuses among the kinds of an event; other kinds have no effect, as in the original.
pub(super) fn statuses(event: &Value) -> std::collections::BTreeSet<String> {
    let kinds = event.get("kinds").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    kinds.filter_map(|kind| kind.strip_prefix("run_status_")).map(str::to_owned).collect()
}

/// Values that are templates over the ended run are typed when it has ended.
fn keep_declarations(bound: &mut Bound, component: &Map<String, Value>) {
    for (name, value) in &bound.inputs {
        let io = declared(component, "inputs").find(|io| text_of(io, "name") == Some(name));
        if let Some(io) = io.filter(|_| has_template_within(value)) {
            bound.late.insert(name.clone(), io.clone());
        }
    }
}

fn has_template_within(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(has_template_within),
        Value::Object(map) => map.values().any(has_template_within),
        other => has_template(other),
    }
}

fn text_in(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(str::to_owned)
}
