//! The published schemas: equal to the types, valid, and described. `UPDATE_SCHEMAS=1` rewrites the files.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate::domain::compile::schema::{ANY, Draft, PUBLISHED, render};
use tidegate::domain::compile::{Request, RequestSource, compile, compile_request};
use tidegate::domain::workflow::resolved::resolved;
use tidegate::source::read_worktree;

fn folder(draft: Draft) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    if draft == Draft::Draft7 { root.join("draft-07") } else { root }
}

fn all() -> impl Iterator<Item = (&'static str, Draft)> {
    let names = PUBLISHED.map(|(name, _)| name).into_iter().chain([ANY]);
    names.flat_map(|name| [(name, Draft::Draft2020), (name, Draft::Draft7)])
}

#[test]
fn the_files_are_what_the_types_say() {
    for (name, draft) in all() {
        let path = folder(draft).join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&render(name, draft).unwrap()).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::create_dir_all(folder(draft)).unwrap();
            std::fs::write(&path, text).unwrap();
        } else {
            let written = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(written == text, "{} is stale; run `UPDATE_SCHEMAS=1 cargo test --test schemas`", path.display());
        }
    }
}

#[test]
fn each_is_valid_against_its_meta_schema_and_compiles() {
    for (name, draft) in all() {
        let schema = render(name, draft).unwrap();
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{name} {draft:?}: {error}"));
        if name != ANY {
            jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name} {draft:?}: {error}"));
        }
    }
}

#[test]
fn only_known_keywords_stand_in_them() {
    const KEYWORDS: [&str; 30] = [
        "not",
        "$schema",
        "$ref",
        "$defs",
        "definitions",
        "title",
        "description",
        "type",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "enum",
        "const",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "allOf",
        "anyOf",
        "if",
        "then",
        "else",
        "examples",
        "default",
        "deprecated",
        "minProperties",
        "maxProperties",
        "format",
    ];
    fn walk(schema: &Value, path: &str) {
        let Value::Object(map) = schema else { return };
        for (key, value) in map {
            assert!(KEYWORDS.contains(&key.as_str()), "{path}: `{key}` is not a keyword that we use");
            match key.as_str() {
                "properties" | "$defs" | "definitions" => {
                    value.as_object().unwrap().iter().for_each(|(name, inner)| walk(inner, &format!("{path}/{name}")));
                }
                "items" | "additionalProperties" | "if" | "then" | "else" => walk(value, &format!("{path}/{key}")),
                "allOf" | "anyOf" => {
                    value.as_array().unwrap().iter().for_each(|inner| walk(inner, &format!("{path}/{key}")))
                }
                _ => {}
            }
        }
    }
    all().for_each(|(name, draft)| walk(&render(name, draft).unwrap(), name));
}

#[test]
fn every_property_is_described() {
    fn walk(schema: &Value, path: &str, missing: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                for (name, field) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    // A condition (`if`) repeats a property only to look at it.
                    if field.get("description").is_none() && !path.ends_with("/if") {
                        missing.push(format!("{path}/{name}"));
                    }
                }
                map.iter().for_each(|(key, inner)| walk(inner, &format!("{path}/{key}"), missing));
            }
            Value::Array(list) => list.iter().for_each(|inner| walk(inner, path, missing)),
            _ => {}
        }
    }
    for (name, draft) in all() {
        let schema = render(name, draft).unwrap();
        let mut missing = Vec::new();
        walk(&schema, name, &mut missing);
        assert_eq!(missing, Vec::<String>::new());
        assert!(name == ANY || schema.to_string().contains("\"examples\""), "{name} has no example");
    }
}

#[test]
fn what_a_dry_run_prints_is_a_compiled_operation() {
    let files = read_worktree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("example-repo")).unwrap();
    let validators = [Draft::Draft2020, Draft::Draft7]
        .map(|draft| jsonschema::validator_for(&render("compiled_operation", draft).unwrap()).unwrap());
    let workflows = compile(&files).catalog.unwrap().workflows;
    assert!(workflows.len() > 5);
    for (name, workflow) in workflows {
        let source = RequestSource::Workflow { name: name.clone(), place: workflow.place.unwrap() };
        let request = Request { source, params: Default::default(), queue: None, presets: Vec::new() };
        let shown = resolved(&compile_request(&files, &request).unwrap().operation);
        assert_eq!(shown["kind"], "compiled_operation");
        for validator in &validators {
            let wrong: Vec<String> = validator.iter_errors(&shown).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?} {shown:#}");
        }
    }
}
