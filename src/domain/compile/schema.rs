//! JSON Schemas: derived from the types of `spec`, tidied for people and editors, compiled once each.
//!
//! `schemas/` holds what [`render`] makes; a test keeps them equal.

use std::sync::OnceLock;

use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::domain::spec::{self, Kind};

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// A document of a kind.
    Document(Kind),
    /// A partial operation with `isPreset: true`.
    Preset,
    /// Made-up work for a simulation; stands in no repository.
    Workload,
    /// An operation with everything merged in, as a dry run prints it; stands in no repository.
    Compiled,
    /// A preset without its mark, given by hand. Not published.
    Patch,
    /// A `run` section alone: what a patch must leave valid. Not published.
    Run,
    /// The root fields of the shortcut dialect alone. Not published.
    Shortcuts,
    /// A value of the type `git`.
    Git,
    /// A value of the type `file`.
    File,
    /// A value of the type `artifacts`.
    Artifacts,
    /// A value of the type `dockerfile`.
    Dockerfile,
    /// A value of the type `tensorboard`.
    Tensorboard,
    /// A value of the type `event`.
    Event,
}

/// How many shapes there are.
const SHAPES: usize = 19;

/// The published schemas by the name of their file, without `tidegate`, which joins them.
pub const PUBLISHED: [(&str, Shape); 10] = [
    ("organization", Shape::Document(Kind::Organization)),
    ("agent", Shape::Document(Kind::Agent)),
    ("queue", Shape::Document(Kind::Queue)),
    ("project", Shape::Document(Kind::Project)),
    ("component", Shape::Document(Kind::Component)),
    ("workflow", Shape::Document(Kind::Workflow)),
    ("operation", Shape::Document(Kind::Operation)),
    ("preset", Shape::Preset),
    ("workload", Shape::Workload),
    ("compiled_operation", Shape::Compiled),
];

/// The dialect that a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draft {
    /// 2020-12, which validation uses.
    Draft2020,
    /// Draft 7, which more editors know.
    Draft7,
}

/// The name of the schema that joins all kinds.
pub const ANY: &str = "tidegate";

/// Renders a schema by name; `None` for an unknown name.
pub fn render(name: &str, draft: Draft) -> Option<Value> {
    let mut schema = if name == ANY {
        any_kind()
    } else {
        let (_, shape) = PUBLISHED.iter().find(|(published, _)| *published == name)?;
        let mut schema = schema_of(*shape).clone();
        if let Some(object) = schema.as_object_mut() {
            object.insert("title".to_owned(), Value::from(name));
        }
        schema
    };
    if draft == Draft::Draft7 {
        to_draft_7(&mut schema, true);
    }
    Some(schema)
}

/// The schema that validation uses for a shape.
pub fn schema_of(shape: Shape) -> &'static Value {
    static SCHEMAS: [OnceLock<Value>; SHAPES] = [const { OnceLock::new() }; SHAPES];
    SCHEMAS[index(shape)].get_or_init(|| generate(shape))
}

/// The compiled schema of a shape.
pub(super) fn validator(shape: Shape) -> &'static Validator {
    static VALIDATORS: [OnceLock<Validator>; SHAPES] = [const { OnceLock::new() }; SHAPES];
    VALIDATORS[index(shape)].get_or_init(|| {
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(schema_of(shape))
            .expect("schemas derived from types are schemas; a test compiles each")
    })
}

fn index(shape: Shape) -> usize {
    match shape {
        Shape::Document(kind) => kind as usize,
        Shape::Preset => 7,
        Shape::Run => 8,
        Shape::Workload => 17,
        Shape::Compiled => 18,
        Shape::Patch => 9,
        Shape::Git => 10,
        Shape::File => 11,
        Shape::Artifacts => 12,
        Shape::Dockerfile => 13,
        Shape::Tensorboard => 14,
        Shape::Event => 15,
        Shape::Shortcuts => 16,
    }
}

fn generate(shape: Shape) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let root = match shape {
        Shape::Document(Kind::Organization) => generator.into_root_schema_for::<spec::Organization>(),
        Shape::Document(Kind::Agent) => generator.into_root_schema_for::<spec::Agent>(),
        Shape::Document(Kind::Queue) => generator.into_root_schema_for::<spec::Queue>(),
        Shape::Document(Kind::Project) => generator.into_root_schema_for::<spec::Project>(),
        Shape::Document(Kind::Component) | Shape::Compiled => generator.into_root_schema_for::<spec::Component>(),
        Shape::Document(Kind::Workflow) => generator.into_root_schema_for::<spec::Workflow>(),
        Shape::Document(Kind::Operation) | Shape::Preset | Shape::Patch => {
            generator.into_root_schema_for::<spec::Operation>()
        }
        Shape::Run => generator.into_root_schema_for::<spec::Run>(),
        Shape::Workload => generator.into_root_schema_for::<spec::Workload>(),
        Shape::Shortcuts => generator.into_root_schema_for::<spec::extras::Shortcuts>(),
        Shape::Git => generator.into_root_schema_for::<spec::init::Git>(),
        Shape::File => generator.into_root_schema_for::<spec::init::FileToWrite>(),
        Shape::Artifacts => generator.into_root_schema_for::<spec::init::Artifacts>(),
        Shape::Dockerfile => generator.into_root_schema_for::<spec::init::Dockerfile>(),
        Shape::Tensorboard => generator.into_root_schema_for::<spec::init::Tensorboard>(),
        Shape::Event => generator.into_root_schema_for::<spec::init::EventValue>(),
    };
    let mut schema = Value::from(root);
    if shape == Shape::Compiled {
        with_operation(&mut schema);
    }
    tidy(&mut schema);
    // An inline component or operation needs neither version nor kind; a document does, and a preset is exempt.
    let required: &[&str] = match shape {
        Shape::Document(Kind::Component | Kind::Operation) | Shape::Compiled => &["version", "kind"],
        Shape::Preset => &["isPreset"],
        _ => &[],
    };
    for field in required {
        match schema.get_mut("required").and_then(Value::as_array_mut) {
            Some(list) => list.insert(0, json!(field)),
            None => schema["required"] = json!([field]),
        }
    }
    let word = match shape {
        Shape::Document(kind) => Some(kind.word()),
        Shape::Workload => Some("workload"),
        Shape::Compiled => Some("compiled_operation"),
        _ => None,
    };
    if let Some(word) = word {
        schema["properties"]["kind"] = json!({ "const": word, "description": format!("Always `{word}`.") });
        schema["properties"]["version"] =
            json!({ "const": 1.1, "description": "The version of the specification, always 1.1." });
    }
    if shape == Shape::Preset {
        schema["description"] = json!("A partial operation that is merged over those that name it.");
        schema["properties"]["isPreset"] = json!({ "const": true, "description": "Always `true`." });
    }
    schema
}

/// The fields of an operation that stay when its component is merged into it.
const OF_OPERATION: [&str; 8] =
    ["schedule", "events", "matrix", "joins", "dependencies", "trigger", "conditions", "skipOnUpstreamSkip"];

/// Adds what an operation says to the schema of a component.
fn with_operation(schema: &mut Value) {
    let operation = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<spec::Operation>();
    let operation = Value::from(operation);
    let field = |name: &str| operation["properties"].get(name).cloned().unwrap_or_default();
    let fields = OF_OPERATION.map(|name| (name.to_owned(), field(name)));
    let mut contexts = schema["properties"]["inputs"].clone();
    contexts["description"] = json!("Params and joins that are variables of templates and no inputs of the component.");
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.extend(fields);
        properties.insert("contexts".to_owned(), contexts);
        properties.shift_remove("presets");
    }
    let definitions = operation.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(known) = schema["$defs"].as_object_mut() {
        definitions.into_iter().for_each(|(name, definition)| _ = known.entry(name).or_insert(definition));
    }
    schema["description"] = json!("An operation with its component and its params merged in, as a dry run prints it.");
}

/// The schema of any document: `kind` decides.
fn any_kind() -> Value {
    let kinds: Vec<&str> = Kind::ALL.map(Kind::word).to_vec();
    let rules: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            json!({
                "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] },
                "then": { "$ref": format!("{kind}.json") },
            })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": ANY,
        "description": "Any document of a repository of specs; `kind` decides which.",
        "type": "object",
        "properties": {
            "version": { "const": 1.1, "description": "The version of the specification, always 1.1." },
            "kind": { "enum": kinds, "description": "What the document declares." },
        },
        "allOf": rules,
        "else": { "$ref": "preset.json" },
        "if": { "required": ["kind"] },
        "then": true,
    })
}

/// Makes a derived schema fit for people: words of an enum as one `enum`, no formats that only Rust knows.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if matches!(
                map.get("format").and_then(Value::as_str),
                Some("uint" | "uint32" | "uint64" | "int64" | "double" | "uint8")
            ) {
                map.shift_remove("format");
            }
            if let Some((words, about)) = map.get("oneOf").and_then(words) {
                map.shift_remove("oneOf");
                let head = map.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
                map.insert("description".to_owned(), format!("{head} {about}").trim().into());
                map.insert("type".to_owned(), "string".into());
                map.insert("enum".to_owned(), words.into());
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// The words of a `oneOf` in which every branch is a word, and a sentence on what each means.
fn words(branches: &Value) -> Option<(Vec<Value>, String)> {
    let (mut words, mut about) = (Vec::new(), Vec::new());
    for branch in branches.as_array()? {
        if let Some(word) = branch.get("const").filter(|word| word.is_string()) {
            let text = branch.get("description").and_then(Value::as_str).unwrap_or_default();
            about.push(format!("`{}`: {text}", word.as_str().unwrap_or_default()));
            words.push(word.clone());
        } else {
            words.extend(branch.get("enum")?.as_array()?.iter().cloned());
        }
    }
    Some((words, about.join(" ")))
}

/// Rewrites a schema for draft 7: `definitions`, and nothing beside a `$ref`.
fn to_draft_7(schema: &mut Value, root: bool) {
    match schema {
        Value::Object(map) => {
            if root {
                map.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
            }
            if let Some(Value::String(target)) = map.get_mut("$ref") {
                *target = target.replace("#/$defs/", "#/definitions/");
            }
            map.values_mut().for_each(|value| to_draft_7(value, false));
            if map.contains_key("$ref") && map.len() > 1 {
                let target = map.shift_remove("$ref").unwrap_or_default();
                map.insert("allOf".to_owned(), json!([{ "$ref": target }]));
            }
            if let Some(definitions) = map.shift_remove("$defs") {
                map.insert("definitions".to_owned(), definitions);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| to_draft_7(value, false)),
        _ => {}
    }
}

/// Follows a `$ref` of a published schema to its definition.
pub fn follow<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The fields of a schema that describes a mapping, through `$ref`, `anyOf` and the branches per kind.
pub fn fields<'s>(root: &'s Value, schema: &'s Value) -> Map<String, Value> {
    let schema = follow(root, schema);
    let mut found = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    for branch in ["anyOf", "allOf"].iter().filter_map(|key| schema.get(key).and_then(Value::as_array)).flatten() {
        for (name, field) in fields(root, branch.get("then").unwrap_or(branch)) {
            found.entry(name).or_insert(field);
        }
    }
    for branch in ["items", "then"].iter().filter_map(|key| schema.get(key)) {
        for (name, field) in fields(root, branch) {
            found.entry(name).or_insert(field);
        }
    }
    found
}
