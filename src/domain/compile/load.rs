//! Which files are specs, and what stands in each: text → documents of a known shape, each checked on its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::codes;
use super::document::Document;
use super::field::Lookup;
use super::parse::{MAX_FILE_BYTES, MAX_PROBLEMS, parse, too_large};
use super::schema::Shape;
use super::text::shown;
use super::violation;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place, Severity, did_you_mean};
use crate::domain::files::{FileContent, FileSet, SourceFile};
use crate::domain::spec::Kind;

/// A file of specs.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    /// Where it lies.
    pub folder: Folder,
    /// Its documents.
    pub specs: Vec<Spec>,
    /// What is wrong with it.
    pub problems: Diagnostics,
    /// Names in lines that look like `name: x`, when some of the file cannot be read: what they name is not gone.
    pub lost_names: Vec<String>,
}

/// A document of a known shape.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// Its text as values with places.
    pub document: Document,
    /// What it declares; `None` when that cannot be read.
    pub shape: Option<Shape>,
    /// Whether it has no error of its own.
    pub sound: bool,
}

/// What a path says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// The project, of `projects/NAME/…`.
    pub project: Option<String>,
    /// The nearest folder with a meaning.
    pub room: Room,
}

/// The folders with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// `tidegate.yaml`, `agents/`, `queues/`, `projects/NAME/` itself.
    Policy,
    /// `presets/`.
    Presets,
    /// `components/`.
    Components,
    /// `workflows/`.
    Workflows,
    /// A file that is merged over another as a preset, whatever it says of itself.
    Patch,
    /// `refs/`: copies of what lies elsewhere, read when something refers to them.
    Refs,
    /// No folder of ours.
    Elsewhere,
}

/// A part of a document: where a JSON pointer begins.
#[derive(Debug, Clone)]
pub(super) struct Source<'d> {
    /// The document.
    pub document: &'d Document,
    /// The pointer to the part.
    pub base: String,
}

impl<'d> Source<'d> {
    /// A whole document.
    pub fn whole(document: &'d Document) -> Self {
        Self { document, base: String::new() }
    }

    /// A part of the part.
    pub fn at(&self, pointer: &str) -> Self {
        Self { document: self.document, base: format!("{}{pointer}", self.base) }
    }

    /// The place of a value.
    pub fn place(&self, pointer: &str) -> Place {
        self.document.place(&format!("{}{pointer}", self.base))
    }

    /// The place of a key.
    pub fn key_place(&self, pointer: &str) -> Place {
        self.document.key_place(&format!("{}{pointer}", self.base))
    }

    /// The part itself, if it is a mapping.
    pub fn map(&self) -> Option<&'d Map<String, Value>> {
        self.document.at(&self.base).and_then(Value::as_object)
    }
}

/// Loads all specs of a commit, by path.
pub(super) fn load_all(files: &FileSet) -> BTreeMap<String, Arc<Loaded>> {
    let relevant = files.files.iter().filter_map(|file| folder_of(&file.path).map(|folder| (file, folder)));
    let load = |(file, folder)| load(file, folder).map(|loaded| (file.path.clone(), Arc::new(loaded)));
    relevant.filter_map(load).collect()
}

/// What a path says; `None` for a file that can be no spec by its name.
pub(super) fn folder_of(path: &str) -> Option<Folder> {
    let parts: Vec<&str> = path.split('/').collect();
    let (file, folders) = parts.split_last()?;
    // Hidden folders are other programs' own: `.github/workflows/` holds no workflows of ours.
    if folders.iter().any(|folder| folder.starts_with('.')) {
        return None;
    }
    let project = match folders {
        ["projects", name, ..] => Some((*name).to_owned()),
        _ => None,
    };
    let inner = if project.is_some() { &folders[2..] } else { folders };
    let named = |name: &str| inner.contains(&name);
    let room = match (folders.first(), &project) {
        (None, _) if *file == "tidegate.yaml" => Room::Policy,
        (Some(&("agents" | "queues")), None) => Room::Policy,
        (Some(&"presets"), None) => Room::Presets,
        (Some(&"refs"), None) => Room::Refs,
        _ if named("workflows") => Room::Workflows,
        _ if named("components") && (project.is_some() || folders.first() == Some(&"components")) => Room::Components,
        (_, Some(_)) if inner.is_empty() => Room::Policy,
        _ => Room::Elsewhere,
    };
    let copy = room == Room::Refs && path != super::library::SUMS;
    let yaml = file.ends_with(".yaml") || file.ends_with(".yml");
    let json = file.ends_with(".json") && matches!(room, Room::Workflows | Room::Components);
    (yaml || json || copy).then_some(Folder { project, room })
}

/// Loads one file; `None` when it is left alone.
pub(super) fn load(file: &SourceFile, folder: Folder) -> Option<Loaded> {
    let ours = folder.room != Room::Elsewhere || folder.project.is_some();
    let mut problems = Diagnostics::default();
    let refuse = |code, message: &str, help: &str| {
        let problem = Diagnostic::error(code, Place::file(&file.path), message).help(help);
        ours.then(|| {
            let mut problems = Diagnostics::default();
            problems.push(problem);
            Loaded { folder: folder.clone(), specs: Vec::new(), problems, lost_names: Vec::new() }
        })
    };
    let bytes = match &file.content {
        FileContent::Text(bytes) => bytes,
        FileContent::Symlink => return refuse(codes::SYMLINK, "this is a symbolic link", "put the file itself here"),
        FileContent::Submodule => return refuse(codes::SUBMODULE, "this is a submodule", "copy its files here"),
        FileContent::LfsPointer => {
            return refuse(codes::LFS_POINTER, "this is a pointer to Git LFS", "keep specs out of Git LFS");
        }
        FileContent::BadName => return refuse(codes::BAD_NAME, "this name is refused", "rename the entry"),
        FileContent::TooLarge { bytes } => {
            problems.push(too_large(&file.path, *bytes));
            return ours.then_some(Loaded { folder, specs: Vec::new(), problems, lost_names: Vec::new() });
        }
    };
    if !ours && !looks_like_spec(bytes) {
        return None;
    }
    let documents = parse(&file.path, bytes, &mut problems);
    let mut loaded = load_documents(documents, folder);
    loaded.problems.extend(problems);
    if loaded.specs.is_empty() || loaded.specs.iter().any(|spec| spec.document.value.is_null()) {
        loaded.lost_names = names_in(bytes);
    }
    Some(loaded)
}

/// Loads documents as those of one file.
pub(super) fn load_documents(documents: Vec<Document>, folder: Folder) -> Loaded {
    let mut problems = Diagnostics::default();
    let many = documents.len() > 1;
    let empty =
        |document: &Document| document.sound && document.value.is_null() && (many || folder.room == Room::Elsewhere);
    let mut specs = Vec::with_capacity(1);
    let mut reported = 0;
    for mut document in documents {
        if empty(&document) {
            continue;
        }
        let mut found = Vec::new();
        let mut readable = true;
        if document.sound && super::shortcut::is_shortcut(&document) {
            match super::shortcut::lowered(&document, folder.room, &mut found) {
                Some(lowered) => document = lowered,
                None => readable = false,
            }
        }
        let shape = if !readable {
            None
        } else if document.sound || document.value.is_object() {
            shape_of(&document, folder.room, &mut found)
        } else {
            None
        };
        if let Some(shape) = shape {
            found.extend(violation::check(&mut document, shape));
        }
        let sound =
            document.sound && shape.is_some() && found.iter().all(|problem| problem.severity != Severity::Error);
        if !found.is_empty() {
            let object = label(&document.value);
            let room = MAX_PROBLEMS.saturating_sub(reported);
            reported += found.len();
            found
                .into_iter()
                .take(room)
                .for_each(|problem| problems.push(Diagnostic { object: object.clone(), ..problem }));
        }
        specs.push(Spec { document, shape, sound });
    }
    Loaded { folder, specs, problems, lost_names: Vec::new() }
}

/// The names in lines that look like `name: x`.
fn names_in(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_FILE_BYTES)]);
    let name = |line: &str| line.strip_prefix("name:").map(|rest| rest.trim().trim_matches(['"', '\'']).to_owned());
    text.lines().filter_map(name).take(MAX_PROBLEMS).collect()
}

/// Whether a file belongs to what a commit applies all or none of: it lies in a folder of policy or presets, or one of
/// its documents is of such a kind.
pub fn is_policy(file: &SourceFile) -> bool {
    let Some(folder) = folder_of(&file.path) else { return false };
    let kinds = [Kind::Organization, Kind::Agent, Kind::Queue, Kind::Project].map(Shape::Document);
    let of_policy = |spec: &Spec| spec.shape.is_some_and(|shape| shape == Shape::Preset || kinds.contains(&shape));
    matches!(folder.room, Room::Policy | Room::Presets)
        || load(file, folder).is_some_and(|loaded| loaded.specs.iter().any(of_policy))
}

/// Whether a file outside our folders says that it is a spec, in lines that a person would recognise.
fn looks_like_spec(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(&bytes[..bytes.len().min(64 << 10)]) else { return false };
    let mut first =
        text.trim_start_matches('\u{feff}').lines().skip_while(|line| line.is_empty() || line.starts_with(['#', '%']));
    let head = first
        .next()
        .into_iter()
        .filter(|line| !line.starts_with("---"))
        .chain(first.by_ref().take_while(|line| !line.starts_with("---")));
    let (mut version, mut kind) = (false, false);
    for line in head {
        let value = |key: &str| line.strip_prefix(key).map(|rest| rest.split('#').next().unwrap_or_default().trim());
        version |= value("version:").is_some_and(|value| value == "1.1");
        kind |= value("kind:")
            .is_some_and(|value| Kind::ALL.iter().any(|kind| kind.word() == value.trim_matches(['"', '\''])));
    }
    version && kind
}

/// What a document declares.
fn shape_of(document: &Document, room: Room, problems: &mut Vec<Diagnostic>) -> Option<Shape> {
    let Value::Object(map) = &document.value else {
        let message = format!("a document is a mapping, this is {}", violation::kind_of(&document.value));
        problems.push(Diagnostic::error(codes::NOT_A_MAPPING, document.place(""), message));
        return None;
    };
    let kind = map.field("kind");
    let word = kind.and_then(Value::as_str);
    let known = Kind::ALL.into_iter().find(|kind| Some(kind.word()) == word);
    let preset = map.field("isPreset") == Some(&Value::Bool(true));
    if room == Room::Patch && (kind.is_none() || known == Some(Kind::Operation)) {
        return Some(Shape::Patch);
    }
    match (known, kind) {
        (None | Some(Kind::Operation), _) if preset && (kind.is_none() || known.is_some()) => Some(Shape::Preset),
        (Some(Kind::Operation), _) | (None, None) if room == Room::Presets => {
            let problem = Diagnostic::error(codes::MISPLACED, document.place(""), "a preset carries `isPreset: true`");
            problems.push(problem.help("add `isPreset: true`"));
            None
        }
        (Some(kind), _) => Some(Shape::Document(kind)),
        (None, Some(kind)) => {
            let words = Kind::ALL.map(Kind::word);
            let help = match word.and_then(|word| did_you_mean(word, words)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the kinds are {}", words.join(", ")),
            };
            let message = format!("the kind {} is not known", violation::quoted(kind));
            problems.push(Diagnostic::error(codes::UNKNOWN_KIND, document.place("/kind"), message).help(help));
            None
        }
        (None, None) => {
            let problem = Diagnostic::error(codes::UNKNOWN_KIND, document.place(""), "the field `kind` is missing");
            problems.push(problem.help(format!("the kinds are {}", Kind::ALL.map(Kind::word).join(", "))));
            None
        }
    }
}

/// What a document is about, for people: `queue us-east/gpu`.
pub(super) fn label(value: &Value) -> String {
    let text = |key: &str| value.field(key).and_then(Value::as_str).map(shown);
    let kind = text("kind").unwrap_or_else(|| "preset".to_owned());
    match (kind.as_str(), text("agent"), text("name")) {
        ("queue", Some(agent), Some(name)) => format!("queue {agent}/{name}"),
        (_, _, Some(name)) => format!("{kind} {name}"),
        _ => String::new(),
    }
}
