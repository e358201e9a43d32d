//! What references mean: the components that a repository holds, and the copies that it keeps of those that it does not.
//!
//! Copies lie in `refs/`: `refs/hub/NAME/TAG.yaml`, and `refs/url/HOST/PATH` with their digests in `refs/SHA256SUMS`.
//! A lone file has its own folder in place of a repository, and the folder of `--refs` in place of `refs/`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::checks::near;
use super::codes;
use super::field::Lookup;
use super::load::{Loaded, Source};
use super::text::shown;
use crate::domain::diagnostic::{Diagnostic, Place, Severity};
use crate::domain::files::{FileContent, FileSet};
use crate::domain::ids::Digest;

/// Where copies of hub components lie.
pub(super) const HUB: &str = "refs/hub/";
/// Where copies of URLs lie.
pub(super) const URL: &str = "refs/url/";
/// The file with the digests of copies, in the form of `sha256sum`.
pub const SUMS: &str = "refs/SHA256SUMS";
/// The version that a `hubRef` without one means.
const LATEST: &str = "latest";

/// A component's project (`None`: the organization) and name, or `name:tag`.
pub(super) type ComponentName = (Option<String>, String);
/// The components that can be named; `None` for one with errors.
pub(super) type Components<'d> = BTreeMap<ComponentName, Option<Source<'d>>>;

/// Everything that can be referred to.
pub(super) struct Library<'d> {
    /// Documents by path.
    pub files: &'d BTreeMap<String, Arc<Loaded>>,
    /// The components that can be named.
    pub components: Components<'d>,
    /// Copies that do not have the digest that was written down for them.
    pub changed: BTreeSet<String>,
    /// Whether paths must stay inside; a lone file's may lead anywhere.
    pub repository: bool,
}

/// A document that a reference means.
#[derive(Clone)]
pub(super) struct Target<'d> {
    /// Its file.
    pub path: String,
    /// The document.
    pub source: Source<'d>,
}

/// Why a reference means nothing.
pub(super) type Missing = Box<Diagnostic>;

impl<'d> Library<'d> {
    /// The document of a `pathRef`, relative to the file `from`.
    pub fn path(&self, from: &str, reference: &str, place: &Place) -> Result<Target<'d>, Missing> {
        let Some(path) = joined(from, reference, self.repository) else {
            let message = format!("`{}` leads out of the repository", shown(reference));
            return Err(problem(codes::OUTSIDE, place, message, "write a path relative to this file"));
        };
        let Some(loaded) = self.files.get(&path) else {
            let help = near(&path, self.files.keys().map(String::as_str), "");
            return Err(problem(codes::NO_SUCH_FILE, place, format!("no spec lies at `{}`", shown(&path)), help));
        };
        Ok(Target { source: only(loaded, &path, place)?, path })
    }

    /// The component of a `hubRef`: of the project, of the organization, else the copy of one of a hub.
    pub fn hub(&self, project: Option<&str>, reference: &str, place: &Place) -> Result<Target<'d>, Missing> {
        if reference.matches(':').count() > 1 {
            let message = format!("`{}` has more than one version", shown(reference));
            return Err(problem(codes::UNKNOWN_COMPONENT, place, message, "write `name` or `name:tag`"));
        }
        let (name, tag) = reference.split_once(':').unwrap_or((reference, LATEST));
        let wanted = [format!("{name}:{tag}"), name.to_owned()];
        // A component without versions is its own `latest`.
        let wanted = if tag == LATEST { &wanted[..] } else { &wanted[..1] };
        let rooms = project.map(|project| Some(project.to_owned())).into_iter().chain([None]);
        let found = rooms.flat_map(|room| wanted.iter().map(move |name| (room.clone(), name.clone())));
        for key in found {
            match self.components.get(&key) {
                Some(Some(source)) => {
                    return Ok(Target { path: source.document.file.to_string(), source: source.clone() });
                }
                Some(None) => {
                    let message = format!("the component `{}` has errors", shown(reference));
                    return Err(problem(codes::UNSOUND_REFERENCE, place, message, "mend the component first"));
                }
                None => {}
            }
        }
        let path = hub_path(reference);
        if let Some(loaded) = self.files.get(&path) {
            return Ok(Target { source: only(loaded, &path, place)?, path });
        }
        let known = self.components.keys().filter(|(of, _)| of.is_none() || of.as_deref() == project);
        let copies = self.files.keys().filter_map(|path| Some(path.strip_prefix(HUB)?.rsplit_once('/')?.0));
        let names: Vec<&str> = known.map(|(_, name)| name.as_str()).chain(copies).collect();
        let help = if self.repository {
            near(reference, names.iter().copied(), "components")
        } else {
            format!("`--refs DIR` names a folder with `{}`", shown(&path.replace("refs/", "")))
        };
        let message = format!("no component is called `{}`", shown(reference));
        Err(problem(codes::UNKNOWN_COMPONENT, place, message, help))
    }

    /// The copy of a `urlRef`.
    pub fn url(&self, url: &str, place: &Place) -> Result<Target<'d>, Missing> {
        let path = url_path(url);
        match path.and_then(|path| Some((self.files.get(&path)?, path))) {
            Some((_, path)) if self.changed.contains(&path) => {
                let help = format!("take it again: `tidegate vendor {}`", shown(url));
                let message = format!("`{}` does not have the digest that `{SUMS}` says", shown(&path));
                Err(problem(codes::CHANGED_COPY, place, message, help))
            }
            Some((loaded, path)) => Ok(Target { source: only(loaded, &path, place)?, path }),
            None if self.repository => {
                let help = format!("keep one: `tidegate vendor {}`", shown(url));
                Err(problem(codes::NEEDS_VENDOR, place, "the repository has no copy of this URL", help))
            }
            None => {
                let help = "`--refs DIR` names a folder with copies, made by `tidegate vendor`";
                Err(problem(codes::NEEDS_VENDOR, place, "there is no copy of this URL", help))
            }
        }
    }

    /// The component that an operation refers to, other than by `dagRef`; `None` when it names none.
    pub fn follow(
        &self,
        operation: &Map<String, Value>,
        at: &Source<'d>,
        path: &str,
        project: Option<&str>,
    ) -> Option<Result<Target<'d>, Missing>> {
        let text = |key: &str| operation.field(key).and_then(Value::as_str);
        if operation.field("component").is_some_and(Value::is_object) {
            return Some(Ok(Target { path: path.to_owned(), source: at.at("/component") }));
        }
        let found = if let Some(name) = text("hubRef") {
            self.hub(project, name, &at.place("/hubRef"))
        } else if let Some(url) = text("urlRef") {
            self.url(url, &at.place("/urlRef"))
        } else {
            let reference = text("pathRef")?;
            self.path(path, reference, &at.place("/pathRef"))
        };
        let field = ["hubRef", "urlRef", "pathRef"].into_iter().find(|key| text(key).is_some()).unwrap_or_default();
        Some(found.and_then(|target| match kind(&target) {
            Some("component") => Ok(target),
            other => {
                let what = other.map_or("no component".to_owned(), |kind| {
                    format!("a document of kind `{}`, not a component", shown(kind))
                });
                let message = format!("`{}` holds {what}", shown(&target.path));
                Err(problem(codes::WRONG_REFERENCE, &at.place(&format!("/{field}")), message, "name a component"))
            }
        }))
    }
}

/// The kind of a document.
pub(super) fn kind<'d>(target: &Target<'d>) -> Option<&'d str> {
    target.source.map()?.field("kind")?.as_str()
}

/// Where the copy of a hub component lies; an owner before the name is no part of it.
pub(super) fn hub_path(reference: &str) -> String {
    let (name, tag) = reference.split_once(':').unwrap_or((reference, LATEST));
    format!("{HUB}{}/{tag}.yaml", name.rsplit('/').next().unwrap_or(name))
}

/// Where the copy of a URL lies: its host and path. A query makes another file of it.
pub fn url_path(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split('#').next().unwrap_or_default().trim_end_matches('/');
    let sound = |part: &str| !part.is_empty() && part != ".." && part != "." && !part.contains(['\\', '\0', '@']);
    rest.split('/').all(sound).then(|| format!("{URL}{}", rest.replace(['?', '&', '=', ':'], "_")))
}

/// The path that a relative one means; `None` when it leads out of a repository.
pub(super) fn joined(from: &str, reference: &str, repository: bool) -> Option<String> {
    if reference.contains(['\\', '\0']) || (repository && reference.starts_with('/')) {
        return None;
    }
    let absolute = reference.starts_with('/');
    let mut parts: Vec<&str> = if absolute { Vec::new() } else { from.split('/').collect() };
    parts.pop();
    for part in reference.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if !matches!(*last, ".." | "") => {
                parts.pop();
            }
            ("..", _) if repository => return None,
            (part, _) => parts.push(part),
        }
    }
    let path = parts.join("/");
    Some(if absolute { format!("/{path}") } else { path })
}

/// The only document of a file.
fn only<'d>(loaded: &'d Loaded, path: &str, place: &Place) -> Result<Source<'d>, Missing> {
    match &loaded.specs[..] {
        [only] if only.sound => Ok(Source::whole(&only.document)),
        [_] | [] => {
            let first = loaded.problems.iter().find(|found| found.severity == Severity::Error);
            let mut found = *problem(
                codes::UNSOUND_REFERENCE,
                place,
                format!("`{}` has errors", shown(path)),
                "mend that file first",
            );
            if let Some(first) = first {
                found = found.see(first.place.clone(), first.message.clone());
            }
            Err(Box::new(found))
        }
        _ => {
            let help = "a reference means the only document of a file";
            Err(problem(codes::WRONG_REFERENCE, place, format!("`{}` holds several documents", shown(path)), help))
        }
    }
}

fn problem(
    code: crate::domain::diagnostic::Code,
    place: &Place,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Missing {
    Box::new(Diagnostic::error(code, place.clone(), message).help(help))
}

/// The name of a component in a folder of components: its own, else its file's. One in a folder of its own name is a
/// version of it: `components/train/2.1.yaml` with the name `train` is `train:2.1`.
pub(super) fn component_name(path: &str, name: Option<&str>) -> String {
    let inside = path.rsplit_once("components/").map_or(path, |(_, inside)| inside);
    let stem = |file: &str| file.rsplit_once('.').map_or(file.to_owned(), |(stem, _)| stem.to_owned());
    match inside.split('/').collect::<Vec<_>>()[..] {
        [.., folder, file] if name.is_none_or(|name| name == folder) && stem(file) != folder => {
            format!("{folder}:{}", stem(file))
        }
        [.., file] => name.map_or_else(|| stem(file), str::to_owned),
        [] => name.unwrap_or_default().to_owned(),
    }
}

/// The copies that do not have the digest that `refs/SHA256SUMS` says.
pub(super) fn changed(files: &FileSet) -> BTreeSet<String> {
    let text = |path: &str| match files.files.iter().find(|file| file.path == path).map(|file| &file.content) {
        Some(FileContent::Text(bytes)) => Some(bytes),
        _ => None,
    };
    let Some(sums) = text(SUMS) else { return BTreeSet::new() };
    let sums = String::from_utf8_lossy(sums);
    let entries = sums.lines().filter_map(|line| line.split_once("  "));
    let differs = |(digest, name): (&str, &str)| {
        let path = format!("refs/{}", name.trim());
        let differs = text(&path).is_some_and(|bytes| Digest::of(bytes).to_string() != digest);
        differs.then_some(path)
    };
    entries.filter_map(differs).collect()
}
