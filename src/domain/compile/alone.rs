//! A polyaxonfile by itself, outside any repository: checked as `polyaxon check` does, and compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::checks::later;
use super::graph::{Graph, is_graph};
use super::inputs::{Scope, bind, check_declarations};
use super::library::{Library, Target, hub_path, joined, url_path};
use super::load::{Folder, Loaded, Room, Source, load};
use super::resolve::{merged_over, patch_with, reference_problems};
use super::schema::Shape;
use super::value::flag;
use super::{codes, compiled, patch, sections};
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use crate::domain::files::{FileContent, SourceFile};
use crate::domain::spec::{Kind, PatchStrategy};

/// Most files that one file may lead to: a longer chain of references is a mistake or an attack.
const MAX_FILES: usize = 200;

/// How far a file is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its shape, its declarations and its references: what `polyaxon check --lint` looks at.
    Shape,
    /// Its params as well: what `polyaxon check` looks at.
    Params,
}

/// Something that a file refers to, for the shell to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'r> {
    /// A file beside it, by its path.
    File(&'r str),
    /// A copy of something from elsewhere, by its path in the folder of copies: `hub/NAME/TAG.yaml`, `url/HOST/PATH`.
    Copy(&'r str),
}

/// What is asked of a file beside what it says.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Values for inputs, over those that are written.
    pub params: IndexMap<String, Value>,
    /// The queue, in place of the one that is written.
    pub queue: Option<String>,
    /// The name, in place of the one that is written.
    pub name: Option<String>,
    /// Files that are merged over it, one after the other, each by its own strategy.
    pub presets: Vec<SourceFile>,
}

/// What became of a file.
#[derive(Debug)]
pub struct Alone {
    /// What is wrong with it.
    pub diagnostics: Diagnostics,
    /// The compiled operation, when nothing is wrong and it is one; in the original's form.
    pub operation: Option<Value>,
    /// The file and all that it refers to.
    pub files: Vec<SourceFile>,
}

/// Checks one file without its neighbours; references to elsewhere are taken on trust.
pub fn check_alone(path: &str, bytes: &[u8], depth: Depth) -> Diagnostics {
    let file = SourceFile { path: path.to_owned(), content: FileContent::Text(bytes.to_vec()) };
    compile_alone(file, &Asked::default(), depth, false, &|_| None).diagnostics
}

/// Compiles one file. `read` reads what it refers to; unless `strict`, copies that it cannot read are taken on trust.
pub fn compile_alone(
    file: SourceFile,
    asked: &Asked,
    depth: Depth,
    strict: bool,
    read: &dyn Fn(Reference<'_>) -> Option<FileContent>,
) -> Alone {
    let mut reader = Reader { read, files: BTreeMap::new(), loaded: BTreeMap::new() };
    let path = file.path.clone();
    reader.add(file);
    let presets: Vec<(String, Arc<Loaded>)> = asked.presets.iter().filter_map(Reader::preset).collect();
    reader.follow();
    let Reader { files, mut loaded, .. } = reader;
    let own = loaded.get(&path).cloned();
    let mut problems = Diagnostics::default();
    for loaded in own.iter().chain(presets.iter().map(|(_, preset)| preset)) {
        loaded.problems.iter().for_each(|problem| problems.push(at_depth(problem, depth)));
    }
    if own.as_ref().is_none_or(|own| own.specs.is_empty()) && problems.is_empty() {
        problems.push(Diagnostic::error(codes::NOT_A_MAPPING, Place::file(&path), "the file is empty"));
    }
    loaded.extend(presets.iter().map(|(path, preset)| (path.clone(), Arc::clone(preset))));
    let library =
        Library { files: &loaded, components: BTreeMap::new(), changed: Default::default(), repository: false };
    let lone = Lone { library, asked, depth, trust: !strict, presets: &presets, problems };
    let (diagnostics, operation) = match own {
        Some(own) => lone.documents(&path, &own),
        None => (lone.problems, None),
    };
    Alone { diagnostics, operation, files: files.into_values().chain(asked.presets.iter().cloned()).collect() }
}

/// What is no matter of shape is a warning while only that is looked at.
fn at_depth(problem: &Diagnostic, depth: Depth) -> Diagnostic {
    let is_late = depth == Depth::Shape && super::shortcut::LATE.contains(&problem.code);
    if is_late { later(problem.clone()) } else { problem.clone() }
}

/// Problems with references to what lies elsewhere.
pub(super) const ELSEWHERE: [crate::domain::diagnostic::Code; 2] = [codes::UNKNOWN_COMPONENT, codes::NEEDS_VENDOR];

/// Reads a file and, step by step, all that it refers to.
struct Reader<'r> {
    read: &'r dyn Fn(Reference<'_>) -> Option<FileContent>,
    files: BTreeMap<String, SourceFile>,
    loaded: BTreeMap<String, Arc<Loaded>>,
}

impl Reader<'_> {
    fn add(&mut self, file: SourceFile) {
        if let Some(loaded) = load(&file, Folder { project: None, room: Room::Workflows }) {
            self.loaded.insert(file.path.clone(), Arc::new(loaded));
        }
        self.files.insert(file.path.clone(), file);
    }

    fn preset(file: &SourceFile) -> Option<(String, Arc<Loaded>)> {
        load(file, Folder { project: None, room: Room::Patch }).map(|loaded| (file.path.clone(), Arc::new(loaded)))
    }

    fn follow(&mut self) {
        let mut left: Vec<String> = self.loaded.keys().cloned().collect();
        while let Some(from) = left.pop() {
            let Some(loaded) = self.loaded.get(&from).cloned() else { continue };
            let mut found = Vec::new();
            for spec in &loaded.specs {
                if let Value::Object(map) = &spec.document.value {
                    wanted(map, &from, &mut found);
                }
            }
            for path in found {
                if self.files.contains_key(&path) || self.files.len() >= MAX_FILES {
                    continue;
                }
                let reference = match path.strip_prefix("refs/") {
                    Some(copy) => Reference::Copy(copy),
                    None => Reference::File(&path),
                };
                if let Some(content) = (self.read)(reference) {
                    self.add(SourceFile { path: path.clone(), content });
                    left.push(path);
                }
            }
        }
    }
}

/// Whether an operation by itself names a component.
fn names(map: &Map<String, Value>) -> bool {
    let given = |key: &&str| map.get(*key).is_some_and(|value| !value.is_null() && value != "");
    ["component", "hubRef", "pathRef", "urlRef"].iter().any(given)
}

/// The files that an operation or component refers to.
fn wanted(map: &Map<String, Value>, from: &str, found: &mut Vec<String>) {
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    found.extend(text("hubRef").map(hub_path));
    found.extend(text("urlRef").and_then(url_path));
    found.extend(text("pathRef").and_then(|reference| joined(from, reference, false)));
    if let Some(component) = map.get("component").and_then(Value::as_object) {
        wanted(component, from, found);
    }
    let run = map.get("run").and_then(Value::as_object);
    for list in ["operations", "components"] {
        let inner = run.and_then(|run| run.get(list)).and_then(Value::as_array);
        inner.into_iter().flatten().filter_map(Value::as_object).for_each(|inner| wanted(inner, from, found));
    }
}

/// A file while it is checked.
struct Lone<'l, 'd> {
    library: Library<'d>,
    asked: &'l Asked,
    depth: Depth,
    /// Whether references to elsewhere that mean nothing are taken on trust.
    trust: bool,
    presets: &'d [(String, Arc<Loaded>)],
    problems: Diagnostics,
}

impl<'d> Lone<'_, 'd> {
    fn documents(mut self, path: &str, own: &Loaded) -> (Diagnostics, Option<Value>) {
        let of_runs = |shape: Option<Shape>| {
            matches!(shape, Some(Shape::Document(Kind::Component | Kind::Operation) | Shape::Preset) | None)
        };
        if own.specs.len() > 1 && own.specs.iter().any(|spec| of_runs(spec.shape)) {
            let place = own.specs[1].document.place("");
            let problem = Diagnostic::error(codes::MISPLACED, place, "a polyaxonfile has no other documents beside it");
            self.problems.push(problem.help("give each a file of its own"));
        }
        let Some(loaded) = self.library.files.get(path) else { return (self.problems, None) };
        let mut operation = None;
        // What is wrong with a run only is no matter of shape, and hides nothing that is.
        let late =
            |problem: &Diagnostic| super::shortcut::LATE.contains(&problem.code) || problem.severity != Severity::Error;
        let shapely = self.depth == Depth::Shape && own.problems.iter().all(late);
        for spec in loaded.specs.iter().filter(|spec| spec.sound || shapely && spec.document.sound) {
            let source = Source::whole(&spec.document);
            let Some(map) = source.map() else { continue };
            match spec.shape {
                Some(Shape::Document(Kind::Component)) => {
                    check_declarations(map, &source, &mut self.problems);
                    operation = self.component(&source, map, path);
                }
                Some(Shape::Document(Kind::Operation)) => operation = self.operation(&source, map, path),
                // A preset with a kind and a component is an operation as well.
                Some(Shape::Preset) if map.get("kind").and_then(Value::as_str) == Some("operation") && names(map) => {
                    operation = self.operation(&source, map, path);
                }
                Some(Shape::Preset) => {
                    let problem =
                        Diagnostic::error(codes::ONE_REFERENCE, source.place(""), "a preset cannot run by itself");
                    let help =
                        "keep it in `presets/` and name it in `presets` of an operation, or give it with `--preset`";
                    self.problems.push(problem.help(help));
                }
                _ => {}
            }
        }
        let sound = self.problems.errors() == 0 && self.depth == Depth::Params;
        (self.problems, operation.filter(|_| sound))
    }

    fn component(&mut self, at: &Source<'d>, component: &'d Map<String, Value>, path: &str) -> Option<Value> {
        let name = component.get("name").cloned();
        let mut operation = Map::new();
        operation.extend(name.map(|name| ("name".to_owned(), name)));
        let target = Target { path: path.to_owned(), source: at.clone() };
        self.whole(operation, at, &target, component)
    }

    fn operation(&mut self, at: &Source<'d>, map: &'d Map<String, Value>, path: &str) -> Option<Value> {
        let found = reference_problems(map, at);
        let sound = found.errors() == 0;
        self.problems.extend(found);
        sections::check(map, at, &mut self.problems);
        if !sound {
            return None;
        }
        let target = match self.library.follow(map, at, path, None) {
            Some(Ok(target)) => target,
            // A file beside it is looked for in any case.
            Some(Err(problem)) if self.trust && ELSEWHERE.contains(&problem.code) => return None,
            Some(Err(problem)) => {
                self.problems.push(*problem);
                return None;
            }
            None => {
                let message = "`dagRef` means a graph, and this operation stands in none";
                let problem = Diagnostic::error(codes::DAG_ONLY, at.place("/dagRef"), message);
                self.problems.push(problem.help("use `hubRef` or `pathRef`"));
                return None;
            }
        };
        let component = target.source.map()?;
        if map.contains_key("component") {
            check_declarations(component, &target.source, &mut self.problems);
        }
        self.whole(map.clone(), at, &target, component)
    }

    /// Merges what is asked for, the operation and its component, and gives the inputs their values.
    fn whole(
        &mut self,
        mut operation: Map<String, Value>,
        at: &Source<'d>,
        target: &Target<'d>,
        component: &'d Map<String, Value>,
    ) -> Option<Value> {
        let enabled = component.get("template").and_then(|template| template.get("enabled")).and_then(flag);
        if self.depth == Depth::Params && enabled == Some(true) {
            let message = "a template cannot run before its fields are filled in";
            let problem = Diagnostic::error(codes::OTHER_VALUE, target.source.key_place("/template"), message);
            self.problems.push(problem.help("fill them in, and remove `template` or write `enabled: false`"));
        }
        let run = target.source.at("/run");
        let graph = is_graph(component).then(|| Graph {
            library: &self.library,
            project: None,
            path: target.path.clone(),
            run,
            component,
            around: Vec::new(),
        });
        if !self.asked.params.is_empty() {
            let params = operation.entry("params").or_insert_with(|| json!({}));
            if let Some(params) = params.as_object_mut() {
                params.extend(self.asked.params.iter().map(|(name, value)| (name.clone(), json!({ "value": value }))));
            }
        }
        let replaced = [("queue", &self.asked.queue), ("name", &self.asked.name)];
        operation.extend(replaced.iter().filter_map(|(key, text)| Some(((*key).to_owned(), json!(text.as_ref()?)))));
        for (_, preset) in self.presets {
            for spec in preset.specs.iter().filter(|spec| spec.sound) {
                if let Value::Object(map) = &spec.document.value {
                    patch_with(&mut operation, map);
                }
            }
        }
        let mut whole = component.clone();
        for why in patch::run(&mut whole, &operation, PatchStrategy::PostMerge) {
            let place = if operation.contains_key("runPatch") { at.place("/runPatch") } else { at.place("") };
            let message = format!("the patch does not fit: {why}");
            // Whether it does is no matter of shape.
            self.problems.push(match self.depth {
                Depth::Params => Diagnostic::error(codes::BAD_PATCH, place, message),
                Depth::Shape => Diagnostic::warning(codes::FAILS_LATER, place, message),
            });
        }
        if self.depth == Depth::Shape {
            if let Some(graph) = graph {
                graph.references(self.trust, &mut self.problems);
            }
            return None;
        }
        let mut found = Diagnostics::default();
        let bound = bind(&operation, at, component, &Scope::Alone, &mut found);
        // In a file by itself, that something cannot be prepared is found when its run is launched, as in the original.
        for problem in found.iter() {
            self.problems.push(match problem.code {
                codes::OTHER_VALUE => later(problem.clone()),
                _ => problem.clone(),
            });
        }
        sections::check_params(&operation, component, at, &mut self.problems);
        if let Some(graph) = graph {
            graph.check(&mut self.problems);
            let run = whole.get_mut("run").and_then(Value::as_object_mut);
            if let Some((run, operations)) = run.zip(graph.embedded()) {
                run.insert("operations".to_owned(), operations);
            }
        }
        compiled::plugins_fit(&whole, &operation, at, &mut self.problems);
        merged_over(&mut whole, &operation);
        Some(compiled::document(whole, &operation, &bound))
    }
}
