//! How operations hang on runs that are none of their pipeline: what they wait for, and what follows them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::CompiledOperation;
use crate::domain::ids::{QueueName, RunId};

/// Statuses of a run that start an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    /// The run.
    pub of: RunId,
    /// The words of the statuses.
    pub statuses: BTreeSet<String>,
}

/// Values from the results of earlier runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// Which runs, in the query language.
    pub query: String,
    /// Their order, in the query language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// Most runs; at most [`crate::domain::spec::links::MAX_JOINED`].
    pub limit: u64,
    /// How many to pass over.
    #[serde(default)]
    pub offset: u64,
    /// Which of their values each param is a list of, by the path of the value.
    pub params: BTreeMap<String, String>,
}

/// A component that suggests the points of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunerRun {
    /// The queue that it goes to.
    pub queue: QueueName,
    /// What it runs; its inputs hold templates over the search.
    pub operation: CompiledOperation,
}

/// What builds the image of a run before it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The queue that it goes to.
    pub queue: QueueName,
    /// What it runs; its input `destination` is what the image shall be called.
    pub operation: CompiledOperation,
    /// The whole name of the image, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// What follows the end of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// Its name among those of its run.
    pub name: String,
    /// The word of the final status that it follows; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// A template over the ended run that must come to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<String>,
    /// Whether its templates know of the ended run without being given it (`disableDefaults` is not set).
    pub informed: bool,
    /// The queue that it goes to.
    pub queue: QueueName,
    /// What it runs; its inputs may hold templates over the ended run.
    pub operation: CompiledOperation,
}

impl CompiledOperation {
    /// Whether other runs, a condition or an event decide what it runs, and whether; or its image is to be built.
    pub fn is_open(&self) -> bool {
        self.build.is_some()
            || self.conditions.is_some()
            || !self.events.is_empty()
            || !self.refs.is_empty()
            || !self.joins.is_empty()
    }
}
