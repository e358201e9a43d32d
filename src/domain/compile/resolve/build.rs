//! The build of an operation: the component that makes its image, resolved like an operation of its own.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::Resolving;
use super::graph::kind_of_run;
use super::merged::Merged;
use super::open::Helper;
use crate::domain::catalog::{Build, CompiledOperation};
use crate::domain::compile::codes;
use crate::domain::compile::field::Lookup;
use crate::domain::compile::inputs::{declared, text_of};
use crate::domain::ids::QueueName;
use crate::domain::spec::{TargetKind, is_long_form};

/// The input or output of a building component that says what the image shall be called.
const DESTINATION: &str = "destination";
/// What the image is called when nobody says it; filled in for the run that builds.
const DEFAULT_DESTINATION: &str = "{{ globals.project_name }}:{{ globals.uuid }}";

impl<'d> Resolving<'_, 'd> {
    /// What builds the image of an operation, where it runs in a container. Its queue is that of the operation unless
    /// it names one.
    pub(super) fn build(&mut self, merged: &Merged<'d>, run: &Value, queue: &QueueName) -> Option<Box<Build>> {
        let written = merged.whole.field("build").filter(|build| !build.is_null())?;
        let says = |source: &&_| crate::domain::compile::load::Source::at(source, "/build").map().is_some();
        let from = [&merged.at, &merged.component_at].into_iter().find(says).unwrap_or(&merged.at);
        let at = from.at("/build");
        if kind_of_run(run) == "dag" {
            let help = "write `build` at the operations of the graph that want an image";
            self.error(codes::BUILD_OF_GRAPH, from.key_place("/build"), "a graph has no image to build", help);
            return None;
        }
        if self.target(queue) != Some(TargetKind::Kubernetes) {
            // Passing over it is told with all else that the target does nothing with.
            return None;
        }
        let Some(build) = written.as_object() else {
            self.not_yet(&at, "a `build` that is a template is recognised but cannot run yet".to_owned());
            return None;
        };
        let mut operation = build.clone();
        let connection = operation.field("connection").filter(|connection| !connection.is_null()).cloned();
        let project = self.name.project.to_string();
        let path = at.place("").file.to_string();
        let component = self.context.library.follow(&operation, &at, &path, Some(&project)).and_then(Result::ok);
        if let Some(component) = component.and_then(|target| target.source.map()) {
            aim(&mut operation, component, connection);
        }
        let (_, queue, operation) = self.helper(&at, Cow::Owned(operation), queue, Helper::Build)?;
        Some(Box::new(Build { queue, operation, image: None }))
    }
}

/// An operation whose image is built: no target looks at the section itself.
pub(super) fn with_build(mut operation: CompiledOperation, build: Option<Box<Build>>) -> CompiledOperation {
    if build.is_some() {
        operation.sections.shift_remove("build");
    }
    CompiledOperation { build, ..operation }
}

/// Gives the building component its destination, with the connection to the registry, unless it is given one.
fn aim(operation: &mut Map<String, Value>, component: &Map<String, Value>, connection: Option<Value>) {
    let declares = |section: &str| declared(component, section).any(|io| text_of(io, "name") == Some(DESTINATION));
    let Some(params) = operation.entry("params").or_insert_with(|| json!({})).as_object_mut() else { return };
    if !declares("inputs") && !declares("outputs") && !params.contains_key(DESTINATION) {
        return;
    }
    let given = params.entry(DESTINATION).or_insert_with(|| json!({ "value": DEFAULT_DESTINATION }));
    if !given.as_object().is_some_and(is_long_form) {
        *given = json!({ "value": given.take() });
    }
    if let (Some(given), Some(connection)) = (given.as_object_mut(), connection) {
        given.entry("connection").or_insert(connection);
    }
}
