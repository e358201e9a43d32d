//! References of operations, followed to the component that they mean: in place, in a file, by name.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Resolving;
use super::merged::Merged;
use crate::domain::compile::checks::{self, near};
use crate::domain::compile::codes;
use crate::domain::compile::inputs::check_declarations;
use crate::domain::compile::load::Source;
use crate::domain::compile::merge::{merge, strategy_of};
use crate::domain::compile::text::shown;
use crate::domain::compile::value::flag;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::domain::spec::PatchStrategy;

/// Longest chain of files that refer to one another; a longer one is a mistake or an attack.
const MAX_REFERENCES: usize = 16;

impl<'d> Resolving<'_, 'd> {
    /// A document that is an operation, or a component that stands for one.
    pub(super) fn bare(&mut self, source: &Source<'d>, path: &str) -> Option<Merged<'d>> {
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
        self.merged(Cow::Owned(operation), source.clone(), map, source.clone())
    }

    /// An operation: the one in place, with that of another file under it when `pathRef` names one.
    pub(super) fn operation(&mut self, at: Source<'d>, path: &str) -> Option<Merged<'d>> {
        let mut operation = Cow::Borrowed(at.map()?);
        let mut from = (path.to_owned(), at.clone());
        let mut chain = vec![path.to_owned()];
        loop {
            let component_at = from.1.at("/component");
            if let Some(component) = component_at.map() {
                check_declarations(component, &component_at, &mut self.problems);
                return self.merged(operation, at, component, component_at);
            }
            let reference = |key: &str| operation.get(key).and_then(Value::as_str).map(str::to_owned);
            if let Some(name) = reference("hubRef") {
                let component_at = self.hub(&name, &from.1)?;
                return self.merged(operation, at, component_at.map()?, component_at);
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
                Some("component") => return self.merged(operation, at, map, found),
                Some("operation") => {
                    // The operation here is merged over that of the file, whose reference takes the place of ours.
                    let mut under = map.clone();
                    let strategy = strategy_of(&operation, PatchStrategy::PostMerge);
                    let ours =
                        operation.iter().filter(|(key, _)| !["pathRef", "kind", "component"].contains(&key.as_str()));
                    merge(&mut under, ours, strategy);
                    operation = Cow::Owned(under);
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
    pub(super) fn target(&mut self, from: &str, reference: &str, place: &Place) -> Option<String> {
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
    pub(super) fn file(&mut self, path: &str, place: &Place) -> Option<Source<'d>> {
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
    pub(super) fn hub(&mut self, reference: &str, from: &Source<'d>) -> Option<Source<'d>> {
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

    pub(super) fn reference_rule(&mut self, merged: &Merged<'d>) {
        if let Some(map) = merged.at.map() {
            self.problems.extend(reference_problems(map, &merged.at));
        }
    }
}

/// The problems with the references of an operation: exactly one of them must be there.
pub(in crate::domain::compile) fn reference_problems(operation: &Map<String, Value>, at: &Source<'_>) -> Diagnostics {
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

pub(super) fn kind_of(map: &Map<String, Value>) -> Option<&str> {
    map.get("kind").and_then(Value::as_str)
}

pub(super) fn shown_chain(chain: &[String]) -> String {
    chain.iter().map(|path| format!("`{}`", shown(path))).collect::<Vec<_>>().join(" → ")
}
