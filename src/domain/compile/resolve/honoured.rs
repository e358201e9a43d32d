//! Warnings of what the target of an operation does nothing with.

use serde_json::{Map, Value, json};

use super::Resolving;
use super::merged::Merged;
use crate::domain::compile::codes;
use crate::domain::compile::field::Lookup;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::honour::unhonoured;
use crate::domain::ids::QueueName;
use crate::domain::spec::TargetKind;

impl<'d> Resolving<'_, 'd> {
    /// What the agent of a queue runs operations as.
    pub(super) fn target(&self, queue: &QueueName) -> Option<TargetKind> {
        self.context.policy.agents.get(&queue.agent).map(|agent| agent.item.target.kind())
    }

    /// Warns of fields that mean something only in a graph.
    pub(super) fn stands_alone(&mut self, merged: &Merged<'d>) {
        for field in ["dependencies", "trigger", "skipOnUpstreamSkip"] {
            let says = merged.whole.field(field).filter(|value| !value.is_null() && **value != json!([]));
            if says.is_some() {
                let message = format!("`{field}` has no effect: the operation stands in no graph");
                let place = merged.at.key_place(&format!("/{field}"));
                self.problems.push(Diagnostic::warning(codes::NO_EFFECT, place, message));
            }
        }
    }

    /// Warns of fields that mean something only outside of graphs.
    pub(super) fn stands_in_graph(&mut self, merged: &Merged<'d>) {
        let Some(map) = merged.at.map() else { return };
        for field in ["schedule", "template", "isPreset"] {
            if map.field(field).is_some_and(|value| !value.is_null() && *value != json!(false)) {
                let message = format!("`{field}` has no effect: an operation of a graph starts when its turn comes");
                let place = merged.at.key_place(&format!("/{field}"));
                self.problems.push(Diagnostic::warning(codes::NO_EFFECT, place, message));
            }
        }
    }

    /// Warns of fields without effect where the operation goes, each at its place.
    pub(super) fn honours(&mut self, queue: &QueueName, merged: &Merged<'d>, run: &Value) {
        let Some(target) = self.target(queue) else { return };
        for field in unhonoured(&merged.whole, run, target) {
            let patched = field.pointer.replacen("/run/", "/runPatch/", 1);
            let place = if is_written(merged.at.map(), &patched) {
                merged.at.key_place(&patched)
            } else {
                merged.component_at.key_place(&field.pointer)
            };
            self.problems.push(Diagnostic::warning(codes::NO_EFFECT, place, field.message));
        }
    }
}

/// Whether a mapping says something at a pointer.
fn is_written(map: Option<&Map<String, Value>>, pointer: &str) -> bool {
    let mut steps = pointer.split('/').skip(1);
    let first = steps.next().and_then(|step| map?.field(step));
    let inner = first.and_then(|first| {
        steps.try_fold(first, |value, step| match value {
            Value::Object(map) => map.field(step),
            // Lists are appended to: an entry of the whole is somewhere in one of them.
            Value::Array(list) => list.first(),
            _ => None,
        })
    });
    inner.is_some()
}
