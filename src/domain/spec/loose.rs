//! Shapes of values that may also be templates, or that Polyaxon reads leniently. They exist for the schemas: the
//! values themselves are kept as written until a run is compiled.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// A value of type `T`, or a text with a template in it.
#[derive(Debug)]
pub struct Templated<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Templated<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("TemplateOr{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<T>(), generator.subschema_for::<TemplateText>(), {"type": "null"}] })
    }
}

/// A component or operation inside another document: it needs neither version nor kind, as the document itself does.
#[derive(Debug)]
pub struct Inline<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Inline<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Inline{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        // Nothing looks at its version.
        let mut version = PlainAmount::json_schema(generator);
        if let Some(Value::Object(fields)) = schema.get_mut("properties") {
            version.insert("description".to_owned(), "Of no meaning here: that of the document counts.".into());
            fields.insert("version".to_owned(), version.into());
        }
        schema
    }
}

macro_rules! shape {
    ($(#[doc = $doc:literal] $type:ident { $($schema:tt)* })*) => {$(
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ $($schema)*, "description": $doc.trim() })
            }
        }
    )*};
}

shape! {
    /// A text with a template such as `{{ x }}` in it.
    TemplateText { "type": "string", "pattern": r"\{\{\s*.+\s*\}\}", "examples": ["{{ lr }}"] }
    /// Letters, digits, `-` and `_`; or a template.
    EntityName { "type": ["string", "null"], "pattern": r"^[-a-zA-Z0-9_]+$|\{\{.+\}\}", "examples": ["train"] }
    /// `true` or `false`, in any of Polyaxon's spellings; or a template.
    Flag {
        "type": ["boolean", "integer", "string", "null"], "minimum": 0, "maximum": 1,
        "pattern": r"^(?i:true|false|yes|no|on|off|y|n|t|f|0|1)$|\{\{.+\}\}", "examples": [true, false]
    }
    /// A number; or a template.
    Amount {
        "type": ["number", "boolean", "string", "null"],
        "pattern": r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$|\{\{.+\}\}", "examples": [2.5]
    }
    /// A whole number, not as a text; or a template.
    Exact { "type": ["integer", "string", "null"], "pattern": r"\{\{\s*.+\s*\}\}", "examples": [7] }
    /// A whole number, not as a text; or a template. Never nothing.
    Interval { "type": ["integer", "string"], "pattern": r"\{\{\s*.+\s*\}\}", "examples": [1] }
    /// A mapping of texts; anything else counts as its text in JSON.
    Texts {
        "type": ["object", "null"],
        "additionalProperties": { "type": ["string", "number", "boolean", "array", "object"] },
        "examples": [{"team": "vision"}]
    }
    /// `true` or `false`, in any of Polyaxon's spellings; no template.
    Switch {
        "type": ["boolean", "integer", "string", "null"], "minimum": 0, "maximum": 1,
        "pattern": r"^(?i:true|false|yes|no|on|off|y|n|t|f|0|1)$", "examples": [true, false]
    }
    /// A whole number, or a text that is one.
    WholeNumber {
        "type": ["integer", "boolean", "string", "null"], "pattern": r"^\s*[-+]?[0-9_]+(\.0*)?\s*$", "examples": [1000]
    }
    /// A whole number, or a text that is one; or a template.
    Whole {
        "type": ["integer", "boolean", "string", "null"],
        "pattern": r"^\s*[-+]?[0-9_]+(\.0*)?\s*$|\{\{\s*.+\s*\}\}", "examples": [7]
    }
    /// A number; no template.
    PlainAmount {
        "type": ["number", "boolean", "string", "null"],
        "pattern": r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$", "examples": [2.5]
    }
    /// A whole number above 0; or a template.
    Count {
        "type": ["integer", "boolean", "string", "null"], "minimum": 1, "not": { "const": false },
        "pattern": r"^\s*[+]?0*[1-9][0-9_]*(\.0*)?\s*$|\{\{\s*.+\s*\}\}", "examples": [4]
    }
    /// A whole number above 0, not as a text; or a template.
    ExactCount {
        "type": ["integer", "boolean", "string", "null"], "minimum": 1, "not": { "const": false },
        "pattern": r"\{\{\s*.+\s*\}\}", "examples": [4]
    }
    /// A moment: an ISO 8601 text, or seconds since 1970; or a template.
    Moment { "type": ["string", "number"], "examples": ["2026-01-31T12:00:00Z"] }
    /// A length of time: seconds, ISO 8601 (`PT1H`), `1 day` or `01:00:00`; or a template.
    Frequency {
        "type": ["number", "boolean", "string"],
        "pattern": r"^[-+]?P[0-9A-Z.]+$|^[-+]?[0-9]+ ?(?i:d|day|days),? ?([0-9:.]+)?$|^[-+]?[0-9]+:[0-9:.]+$|\{\{.+\}\}",
        "examples": [3600, "PT1H"]
    }
}
