//! Presets, operation and component merged into one, in the order of the reference (§1.9).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Resolving, words};
use crate::domain::compile::checks::unknown_preset;
use crate::domain::compile::field::Lookup;
use crate::domain::compile::load::Source;
use crate::domain::compile::merge::{merge, strategy_of};
use crate::domain::compile::schema::Shape;
use crate::domain::compile::{codes, patch, violation};
use crate::domain::spec::PatchStrategy;

/// What a component declares about itself: no part of what is run.
const DECLARATIONS: [&str; 5] = ["version", "kind", "inputs", "outputs", "presets"];
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

/// An operation with its references and presets worked in.
pub(super) struct Merged<'d> {
    /// The operation with its presets; borrowed when there are none.
    pub(super) operation: Cow<'d, Map<String, Value>>,
    /// Where the operation stands.
    pub(super) at: Source<'d>,
    /// The component with the operation merged over it.
    pub(super) whole: Map<String, Value>,
    /// The component as declared.
    pub(super) component: &'d Map<String, Value>,
    /// Where the component stands.
    pub(super) component_at: Source<'d>,
}

impl<'d> Resolving<'_, 'd> {
    /// Merges presets, operation and component, in the order of the reference.
    pub(super) fn merged(
        &mut self,
        mut operation: Cow<'d, Map<String, Value>>,
        at: Source<'d>,
        component: &'d Map<String, Value>,
        component_at: Source<'d>,
    ) -> Option<Merged<'d>> {
        let kept = component.iter().filter(|(key, _)| !DECLARATIONS.contains(&key.as_str()));
        let mut whole: Map<String, Value> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        for preset in self.presets(component, &component_at)? {
            over(&mut whole, preset, strategy_of(preset, PatchStrategy::PostMerge));
        }
        for preset in self.presets(&operation, &at)? {
            preset_over(operation.to_mut(), preset, strategy_of(preset, PatchStrategy::PostMerge));
        }
        // Defaults lie under the operation: it keeps what it says itself.
        let project = self.context.policy.projects.get(&self.name.project);
        let defaults = [
            project.and_then(|project| project.item.default_preset.as_deref()),
            self.context.policy.organization.item.default_preset.as_deref(),
        ];
        for name in defaults.into_iter().flatten() {
            if let Some(preset) = self.preset(name) {
                preset_over(operation.to_mut(), preset, strategy_of(preset, PatchStrategy::PreMerge));
            }
        }
        let strategy = strategy_of(&operation, PatchStrategy::PostMerge);
        over(&mut whole, &operation, strategy);
        Some(Merged { operation, at, whole, component, component_at })
    }

    pub(super) fn preset(&self, name: &str) -> Option<&'d Map<String, Value>> {
        let document = self.context.written.presets.iter().find(|(known, _)| known == name)?.1;
        document.value.as_object()
    }

    /// The presets that an operation or a component names.
    fn presets(&mut self, of: &Map<String, Value>, at: &Source<'d>) -> Option<Vec<&'d Map<String, Value>>> {
        let mut found = Vec::new();
        let mut sound = true;
        for name in of.field("presets").map(words).unwrap_or_default() {
            match self.preset(&name) {
                Some(preset) => found.push(preset),
                None => {
                    let names = self.context.written.presets.iter().map(|(name, _)| name.as_str());
                    self.problems.push(unknown_preset(&name, names, at.place("/presets")));
                    sound = false;
                }
            }
        }
        sound.then_some(found)
    }

    /// The `run` section with all patches; a patch must leave it valid.
    pub(super) fn patched_run(&mut self, merged: &mut Merged<'d>) -> Value {
        let run = merged.whole.shift_remove("run").unwrap_or_default();
        if merged.operation.field("runPatch").is_some() || merged.component.field("presets").is_some() {
            for why in violation::sentences(&run, Shape::Run) {
                let place = if merged.operation.field("runPatch").is_some() {
                    merged.at.place("/runPatch")
                } else {
                    merged.component_at.place("/presets")
                };
                self.error(codes::BAD_PATCH, place, format!("the patch does not fit: {why}"), "");
            }
        }
        run
    }
}

/// Merges a file that is given as a preset over an operation.
pub(in crate::domain::compile) fn patch_with(operation: &mut Map<String, Value>, preset: &Map<String, Value>) {
    let strategy = strategy_of(preset, PatchStrategy::PostMerge);
    entries(operation, preset, &["version", "kind", "isPreset", "patchStrategy"], strategy);
}

/// Merges the fields of an operation over those of a component whose `run` is patched already.
pub(in crate::domain::compile) fn merged_over(whole: &mut Map<String, Value>, operation: &Map<String, Value>) {
    whole.retain(|key, _| !["template"].contains(&key.as_str()));
    let strategy = strategy_of(operation, PatchStrategy::PostMerge);
    entries(whole, operation, &OPERATION_ONLY, strategy);
}

/// Merges the fields of an operation over those of a component, its `runPatch` over `run`.
fn over(whole: &mut Map<String, Value>, operation: &Map<String, Value>, strategy: PatchStrategy) {
    entries(whole, operation, &OPERATION_ONLY, strategy);
    if let Some(Value::Object(run)) = whole.field_mut("run") {
        patch::apply(run, operation.field("runPatch").and_then(Value::as_object), strategy);
    }
}

/// Merges a preset over an operation, without the preset's own name and kind.
fn preset_over(operation: &mut Map<String, Value>, preset: &Map<String, Value>, strategy: PatchStrategy) {
    entries(operation, preset, &["version", "kind", "isPreset", "patchStrategy", "name", "description"], strategy);
}

/// Merges all entries but some. Tags that are written as one text become a list first, so that they merge.
fn entries(current: &mut Map<String, Value>, new: &Map<String, Value>, but: &[&str], strategy: PatchStrategy) {
    if let Some(tags) = current.field_mut("tags").filter(|tags| tags.is_string()) {
        *tags = json!(words(tags));
    }
    let text = new.field("tags").filter(|tags| tags.is_string());
    let others = new.iter().filter(|(key, _)| !but.contains(&key.as_str()) && (text.is_none() || *key != "tags"));
    merge(current, others, strategy);
    if let Some(text) = text {
        merge(current, [(&"tags".to_owned(), &json!(words(text)))], strategy);
    }
}
