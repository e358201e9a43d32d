//! `kind: project`: a room for workflows, with its default queue and the queues it may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limit, Version};
use crate::domain::ids::ProjectName;

/// A room for workflows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// The version of the specification, always 1.1.
    pub version: Version,
    /// Always `project`.
    #[schemars(extend("const" = "project"))]
    pub kind: String,
    /// The name of the project.
    pub name: ProjectName,
    /// For people; changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people and queries; changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The queue of its operations that name none, `agent/queue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"us-east/gpu")]
    pub default_queue: Option<String>,
    /// The preset that is merged under each of its operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_preset: Option<String>,
    /// The only queues that its operations may use, as `agent/queue` with `*`; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<String>>,
    /// Most operations of the project queued or beyond at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
}
