//! References of operations, followed to the component that they mean: in place, in a file, by name.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Resolving;
use super::merged::Merged;
use crate::domain::compile::field::Lookup;
use crate::domain::compile::inputs::check_declarations;
use crate::domain::compile::library::{self, Target};
use crate::domain::compile::load::Source;
use crate::domain::compile::merge::{merge, strategy_of};
use crate::domain::compile::text::shown;
use crate::domain::compile::value::flag;
use crate::domain::compile::{checks, codes};
use crate::domain::diagnostic::{Diagnostic, Diagnostics};
use crate::domain::spec::PatchStrategy;

/// Longest chain of files that refer to one another; a longer one is a mistake or an attack.
const MAX_REFERENCES: usize = 16;

impl<'d> Resolving<'_, 'd> {
    /// A document that is an operation, or a component that stands for one.
    pub(super) fn bare(&mut self, source: &Source<'d>, path: &str) -> Option<Merged<'d>> {
        let map = source.map()?;
        if kind_of(map) != Some("component") {
            return self.operation(source.clone(), path, false);
        }
        if flag(source.document.value.pointer("/template/enabled").unwrap_or(&Value::Null)) == Some(true) {
            // A template starts nothing; its name and shape are kept.
            self.problems.push(Diagnostic::warning(
                codes::NOT_YET,
                source.key_place("/template"),
                "a template starts nothing until its fields are filled in",
            ));
        }
        let operation = map.field("name").map(|name| ("name".to_owned(), name.clone())).into_iter().collect();
        self.merged(Cow::Owned(operation), source.clone(), map, source.clone())
    }

    /// An operation with what it refers to. That of a workflow may be in another file; a bare one names a component.
    pub(super) fn operation(&mut self, at: Source<'d>, path: &str, of_workflow: bool) -> Option<Merged<'d>> {
        self.referring(Cow::Borrowed(at.map()?), at, path, of_workflow)
    }

    /// As [`Resolving::operation`], of what stands at a place with something worked into it.
    pub(super) fn referring(
        &mut self,
        mut operation: Cow<'d, Map<String, Value>>,
        at: Source<'d>,
        path: &str,
        of_workflow: bool,
    ) -> Option<Merged<'d>> {
        let mut from = (path.to_owned(), at.clone());
        let mut chain = vec![path.to_owned()];
        loop {
            let text = |key: &str| operation.field(key).and_then(Value::as_str);
            let has_component = from.1.map().and_then(|map| map.field("component")).is_some_and(Value::is_object);
            if of_workflow
                && !has_component
                && text("hubRef").is_none()
                && text("urlRef").is_none()
                && let Some(reference) = text("pathRef")
            {
                let place = from.1.place("/pathRef");
                let target = self.context.library.path(&from.0, reference, &place);
                let target = self.found(target)?;
                if chain.contains(&target.path) || chain.len() >= MAX_REFERENCES {
                    chain.push(target.path);
                    let message = format!("references in a circle: {}", shown_chain(&chain));
                    self.error(codes::CYCLE, place, message, "let one of them hold the component itself");
                    return None;
                }
                if library::kind(&target) == Some("operation") {
                    chain.push(target.path.clone());
                    let map = target.source.map()?;
                    // The operation here is merged over that of the file, whose reference takes the place of ours.
                    let mut under = map.clone();
                    let strategy = strategy_of(&operation, PatchStrategy::PostMerge);
                    let ours =
                        operation.iter().filter(|(key, _)| !["pathRef", "kind", "component"].contains(&key.as_str()));
                    merge(&mut under, ours, strategy);
                    operation = Cow::Owned(under);
                    from = (target.path, target.source);
                    continue;
                }
            }
            let project = Some(self.name.project.as_str());
            let Some(found) = self.context.library.follow(&operation, &from.1, &from.0, project) else {
                if text("dagRef").is_some() {
                    let message = "`dagRef` means a graph, and this stands in none";
                    self.error(codes::DAG_ONLY, from.1.place("/dagRef"), message, "use `hubRef` or `pathRef`");
                } else {
                    let help = "write one of `component`, `pathRef`, `hubRef`, `urlRef`";
                    self.error(codes::ONE_REFERENCE, from.1.place(""), "the operation names no component", help);
                }
                return None;
            };
            let component = self.found(found)?;
            let map = component.source.map()?;
            if has_component {
                check_declarations(map, &component.source, &mut self.problems);
            }
            return self.merged(operation, at, map, component.source);
        }
    }

    /// What a reference means; says why when it means nothing.
    fn found(&mut self, target: Result<Target<'d>, library::Missing>) -> Option<Target<'d>> {
        target.map_err(|problem| self.problems.push(*problem)).ok()
    }

    pub(super) fn reference_rule(&mut self, merged: &Merged<'d>) {
        if let Some(map) = merged.at.map() {
            self.problems.extend(reference_problems(map, &merged.at));
        }
    }
}

/// The problems with the references of an operation: exactly one of them must be there.
pub(in crate::domain::compile) fn reference_problems(operation: &Map<String, Value>, at: &Source<'_>) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let present = |key: &str| operation.field(key).is_some_and(|value| !value.is_null() && value != "");
    let named: Vec<&str> = ["hubRef", "pathRef", "urlRef", "dagRef"].into_iter().filter(|key| present(key)).collect();
    // A preset may name none, and several.
    if kind_of(operation) == Some("component") || operation.field("isPreset").and_then(flag) == Some(true) {
        return problems;
    }
    if named.len() > 1 {
        let message = format!("{} references where one is wanted", named.len());
        let place = at.key_place(&checks::field(named[1]));
        problems.push(Diagnostic::error(codes::ONE_REFERENCE, place, message).help("remove all but one"));
    }
    if named.is_empty() && !present("component") {
        let problem = Diagnostic::error(codes::ONE_REFERENCE, at.place(""), "the operation names no component");
        problems.push(problem.help("write one of `component`, `pathRef`, `hubRef`, `urlRef`"));
    }
    problems
}

pub(super) fn kind_of(map: &Map<String, Value>) -> Option<&str> {
    map.field("kind").and_then(Value::as_str)
}

pub(super) fn shown_chain(chain: &[String]) -> String {
    chain.iter().map(|path| format!("`{}`", shown(path))).collect::<Vec<_>>().join(" → ")
}
