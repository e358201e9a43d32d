//! `kind: component`: a reusable definition of inputs, outputs and what to run. Polyaxon's words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extras::{Build, Hook, Mount};
use super::loose::{Amount, EntityName, Exact, Flag, Switch, Templated};
use super::operation::{Cache, Plugins, Template, Termination};
use super::run::Run;

/// A reusable definition: inputs, outputs and what to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// The version of the specification, 1.1; an inline component needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<super::Version>")]
    pub version: Option<f64>,
    /// Always `component`; an inline component needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["component", null]))]
    pub kind: Option<String>,
    /// The name of the component; letters, digits, `-` and `_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<EntityName>")]
    pub name: Option<String>,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people and queries; changes nothing. A list, or words with commas between.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "words")]
    #[schemars(with = "Option<Words>")]
    pub tags: Vec<String>,
    /// Names of presets that are merged over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "words")]
    #[schemars(with = "Option<Words>")]
    pub presets: Vec<String>,
    /// The queue of operations that name none: it throttles all who reference this component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The Kubernetes namespace to run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whether a result of an equal earlier run may be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Cache>>")]
    pub cache: Option<Cache>,
    /// Retries, timeout and clean-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Termination>")]
    pub termination: Option<Termination>,
    /// Switches of what accompanies the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Plugins>>")]
    pub plugins: Option<Plugins>,
    /// An image to build first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Build>>")]
    pub build: Option<Value>,
    /// What to start when the run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<Hook>>>")]
    pub hooks: Option<Value>,
    /// `false`: the run waits until somebody approves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub is_approved: Option<Value>,
    /// What one run costs, in the organization's unit; counts against the quota `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Amount>")]
    pub cost: Option<Value>,
    /// Hints for uploads from the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Mount>>")]
    pub mount: Option<Value>,
    /// Marks it as a form to be filled in: it starts nothing by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// What it must be given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Io>>")]
    pub inputs: Vec<Io>,
    /// What it reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Io>>")]
    pub outputs: Vec<Io>,
    /// What to run.
    pub run: Run,
}

/// How a list of words may be written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // the fields are read by the schema and by `words`
pub(super) enum Words {
    /// A list.
    List(Vec<String>),
    /// Words with commas between.
    Text(String),
}

/// Reads a list of words, or a text with commas between.
pub(super) fn words<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Option::<Words>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::List(list)) => list,
        Some(Words::Text(text)) => {
            text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        }
    })
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Io {
    /// Its name; also the template variable.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The type of its value; anything when absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"float")]
    pub io_type: Option<IoType>,
    /// The value when none is given; makes it optional.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Whether it may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub is_optional: Option<bool>,
    /// Whether it takes a list of values of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub is_list: Option<bool>,
    /// Whether it is written as a flag on a command line; only for `bool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub is_flag: Option<bool>,
    /// How it is written on a command line, as a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"--lr={{ lr }}")]
    pub arg_format: Option<String>,
    /// The connection that it is read through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Whether it is prepared by an init container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub to_init: Option<bool>,
    /// The environment variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_env: Option<String>,
    /// Rules for its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<IoValidation>,
    /// Whether its value is checked only when the run starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Switch>")]
    pub delay_validation: Option<bool>,
    /// Old place of `validation.options`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("deprecated" = true))]
    pub options: Option<Value>,
}

/// The type of an input or output, by its word (`int`, `float`, `str`, `bool`, `dict`, `list`, `uri`, `uuid`, …).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct IoType(pub String);

/// Rules for a value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs)] // the names are the rules
pub struct IoValidation {
    /// Greater than.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Amount>")]
    pub gt: Option<f64>,
    /// Greater than or equal to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Amount>")]
    pub ge: Option<f64>,
    /// Less than.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Amount>")]
    pub lt: Option<f64>,
    /// Less than or equal to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Amount>")]
    pub le: Option<f64>,
    /// A multiple of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Amount>")]
    pub multiple_of: Option<f64>,
    /// Fewest digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Exact>")]
    pub min_digits: Option<i64>,
    /// Most digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Exact>")]
    pub max_digits: Option<i64>,
    /// Most digits after the point.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Exact>")]
    pub decimal_places: Option<i64>,
    /// A regular expression that matches from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Fewest characters or elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Exact>")]
    pub min_length: Option<i64>,
    /// Most characters or elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Exact>")]
    pub max_length: Option<i64>,
    /// What must be in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<Value>,
    /// What must not be in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excludes: Option<Value>,
    /// The only values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Value>,
    /// Fewest elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Exact>")]
    pub min_items: Option<i64>,
    /// Most elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Exact>")]
    pub max_items: Option<i64>,
    /// Exactly these keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<String>>>")]
    pub keys: Option<Vec<String>>,
    /// At least these keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<String>>>")]
    pub contains_keys: Option<Vec<String>>,
    /// None of these keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<String>>>")]
    pub excludes_keys: Option<Vec<String>>,
    /// The same as `delayValidation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Flag>")]
    pub delay: Option<bool>,
}
