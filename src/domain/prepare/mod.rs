//! What is prepared before the main container, as a step that any target can take: a program with arguments.
//!
//! A script is ours, and what a person wrote are its arguments, never parts of it: a URL is no place to write shell in.

mod dockerfile;

use serde_json::{Map, Value, json};

/// A step before the main container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// A script for `sh -c`.
    pub script: &'static str,
    /// Its arguments, from `$1` on.
    pub arguments: Vec<String>,
}

/// Clones a repository into a new folder and goes to a revision. Further arguments of `git clone` come last.
const CLONE: &str = "set -eu; url=$1; to=$2; at=$3; shift 3; git clone \"$@\" -- \"$url\" \"$to\"; cd \"$to\"; \
    if [ -n \"$at\" ]; then git checkout -q --detach \"$at\" --; fi";
/// Writes a file and gives it a mode.
const WRITE: &str = "set -eu; mkdir -p \"$(dirname \"$1\")\"; printf %s \"$2\" > \"$1\"; chmod \"$3\" \"$1\"";

/// The step of an entry of `init`; none when it is a container of its own. `place` is the folder where things are put
/// when the entry names none. The error is a sentence that says what is missing.
pub fn step(index: usize, init: &Value, place: &str) -> Result<Option<Step>, String> {
    let place = init.get("path").and_then(Value::as_str).unwrap_or(place);
    let set = |field: &str| init.get(field).filter(|value| !value.is_null());
    if let Some(git) = set("git") {
        let url = git.get("url").and_then(Value::as_str);
        let url = url.ok_or_else(|| {
            format!("`run.init[{index}].git` needs a `url`: the agent knows no connection that would name one")
        })?;
        let name = url.trim_end_matches('/').trim_end_matches(".git").rsplit(['/', ':']).next().unwrap_or("repository");
        let revision = git.get("revision").and_then(Value::as_str).unwrap_or_default();
        let mut arguments = vec![url.to_owned(), format!("{place}/{name}"), revision.to_owned()];
        let flags = git.get("flags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        arguments.extend(flags.flat_map(str::split_whitespace).map(str::to_owned));
        return Ok(Some(Step { script: CLONE, arguments }));
    }
    if let Some(file) = set("file") {
        let name = file.get("filename").and_then(Value::as_str).unwrap_or("file");
        let content = file.get("content").and_then(Value::as_str).unwrap_or_default();
        let mode = file.get("chmod").map_or_else(|| "644".to_owned(), text);
        return Ok(Some(write(format!("{place}/{name}"), content.to_owned(), mode)));
    }
    if let Some(written) = set("dockerfile") {
        let name = written.get("filename").and_then(Value::as_str).unwrap_or("Dockerfile");
        return Ok(Some(write(format!("{place}/{name}"), dockerfile::of(written), "644".to_owned())));
    }
    let unknown = ["artifacts", "paths", "tensorboard", "lineageRef", "modelRef", "artifactRef", "connection"];
    if let Some(field) = unknown.into_iter().find(|field| set(field).is_some()) {
        return Err(format!(
            "`run.init[{index}].{field}` needs a store of artifacts, which no agent has: prepare it with a container of \
             your own (`init: [{{container: …}}]`)"
        ));
    }
    match set("container") {
        Some(_) => Ok(None),
        None => Err(format!("`run.init[{index}]` says nothing to prepare")),
    }
}

/// The entry of `init` that an input asks for with `toInit`; none when nothing can be made of it.
pub fn entry(io_type: Option<&str>, value: &Value, connection: Option<&str>) -> Option<Value> {
    let mut entry = Map::new();
    match io_type {
        Some(word @ ("git" | "dockerfile" | "artifacts" | "file" | "tensorboard")) => {
            entry.insert(word.to_owned(), value.clone());
        }
        Some("path") => {
            entry.insert("paths".to_owned(), if value.is_array() { value.clone() } else { json!([value]) });
        }
        _ => {}
    }
    entry.extend(connection.map(|name| ("connection".to_owned(), json!(name))));
    (!entry.is_empty()).then_some(Value::Object(entry))
}

fn write(path: String, content: String, mode: String) -> Step {
    Step { script: WRITE, arguments: vec![path, content, mode] }
}

/// The text of a value: a text is itself, anything else its JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_step_a_container_or_a_sentence() {
        let git = json!({"git": {"url": "https://example.org/a/models.git", "flags": ["--depth 1"]}});
        let step_of = |init: &Value| step(0, init, "/context/artifacts");
        let cloned = step_of(&git).expect("it is sound").expect("it is a step of ours");
        assert_eq!(
            cloned.arguments,
            ["https://example.org/a/models.git", "/context/artifacts/models", "", "--depth", "1"]
        );
        let file = json!({"file": {"content": "a'b\n", "filename": "run.sh", "chmod": "+x"}, "path": "/x"});
        let written = step_of(&file).expect("it is sound").expect("it is a step of ours");
        assert_eq!(written.arguments, ["/x/run.sh", "a'b\n", "+x"]);
        assert_eq!(step_of(&json!({"container": {"image": "a"}})), Ok(None));
        assert!(step_of(&json!({"artifacts": {"files": ["a"]}})).is_err_and(|why| why.contains("artifacts")));
        assert!(step_of(&json!({"git": {"revision": "x"}, "connection": "c"})).is_err_and(|why| why.contains("url")));
        assert!(step_of(&json!({})).is_err());
    }

    #[test]
    fn inputs_become_entries_by_their_type() {
        let url = json!({"url": "https://example.org/m"});
        assert_eq!(entry(Some("git"), &url, Some("hub")), Some(json!({"git": url, "connection": "hub"})));
        assert_eq!(entry(Some("path"), &json!("a"), Some("c")), Some(json!({"paths": ["a"], "connection": "c"})));
        assert_eq!(entry(Some("str"), &json!("a"), Some("c")), Some(json!({"connection": "c"})));
        assert_eq!(entry(Some("str"), &json!("a"), None), None);
    }
}
