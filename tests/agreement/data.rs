//! The recorded data, read where it lies; what a machine lacks is said by name.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate::domain::compile::{Alone, Asked, Depth, Reference, compile_alone};
use tidegate::domain::files::{FileContent, SourceFile};

/// The folder of the data, if it is there.
pub fn folder(test: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/polyaxon");
    let folder = std::env::var_os("TIDEGATE_POLYAXON_DATA").map_or(beside, PathBuf::from);
    let found = folder.join("expectations.jsonl").is_file().then_some(folder);
    if found.is_none() {
        eprintln!("left out: {test} (no data of Polyaxon; set TIDEGATE_POLYAXON_DATA)");
    }
    found
}

/// The records of a file of lines.
pub fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A field of a record as text.
pub fn text<'v>(record: &'v Value, key: &str) -> &'v str {
    record[key].as_str().unwrap_or_default()
}

/// Compiles a file of the data with the references that lie beside it.
pub fn compiled(folder: &Path, path: &Path, depth: Depth) -> Alone {
    let refs = folder.join("open/_refs");
    let read = |reference: Reference<'_>| {
        let path = match reference {
            Reference::File(path) => PathBuf::from(path),
            Reference::Copy(path) => refs.join(path),
        };
        std::fs::read(path).ok().map(FileContent::Text)
    };
    let content = FileContent::Text(std::fs::read(path).unwrap());
    let file = SourceFile { path: path.display().to_string(), content };
    compile_alone(file, &Asked::default(), depth, true, &read)
}

/// Compiles a text of the data.
pub fn compiled_text(text: &str, depth: Depth) -> Alone {
    let file = SourceFile { path: "polyaxonfile.yaml".into(), content: FileContent::Text(text.into()) };
    compile_alone(file, &Asked::default(), depth, false, &|_| None)
}

/// The errors in the shape of a document, whatever it refers to.
pub fn shape_errors(document: &Value) -> String {
    let component = "{version: 1.1, kind: component, run: {kind: job}}";
    let file = SourceFile { path: "polyaxonfile.json".into(), content: FileContent::Text(document.to_string().into()) };
    let read = |_: Reference<'_>| Some(FileContent::Text(component.into()));
    errors(&compile_alone(file, &Asked::default(), Depth::Shape, true, &read))
}

/// The errors of a compiled file in one line.
pub fn errors(alone: &Alone) -> String {
    let errors = alone.diagnostics.iter().filter(|d| d.severity == tidegate::domain::diagnostic::Severity::Error);
    errors.map(|d| format!("{} {}", d.code, d.message)).collect::<Vec<_>>().join("; ")
}
