//! The catalog: everything one commit declares, defaulted, resolved and validated. Ordered, digestible, immutable.
//!
//! Nothing in here is optional that has a default: whoever reads a catalog never guesses. A catalog exists only for a
//! commit whose policy (organization, agents, queues, projects, presets) is sound; a workflow that is not sound is
//! absent and its diagnostics say why.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::diagnostic::Place;
use crate::domain::ids::{AgentName, Digest, Name, OrganizationName, ProjectName, QueueName, WorkflowName};
use crate::domain::places::FieldPlaces;
use crate::domain::quantity::Resources;
use crate::domain::spec::{
    Fires, FirstSync, Freeze, Limit, OnRemove, Order, Priority, Removals, Schedule, Sharing, TargetSpec, WhenBusy,
    Window, WorkflowOnRemove,
};
use crate::domain::time::Span;

mod following;
mod pipeline;
mod stored;
pub use following::{Build, Hook, Join, RunEvent, TunerRun};
pub use pipeline::{Dag, Node, NodeEvent, ParamRef, Point, RefFrom};
pub use stored::StoredOperation;

/// Default of `sync.maxStarts`.
pub const DEFAULT_MAX_STARTS: u32 = 20;
/// Default of `sync.maxRemovals`.
pub const DEFAULT_MAX_REMOVALS: Removals = Removals::Percent(25);

/// Everything one commit declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    /// Defaults and the global limit.
    pub organization: Declared<OrganizationPolicy>,
    /// Where operations run.
    pub agents: BTreeMap<AgentName, Declared<AgentPolicy>>,
    /// Lines of work, with the implicit `default` of every agent.
    pub queues: BTreeMap<QueueName, Declared<QueuePolicy>>,
    /// Rooms for workflows, with those that only a folder names.
    pub projects: BTreeMap<ProjectName, Declared<ProjectPolicy>>,
    /// Presets by name. They are already merged into the workflows; kept to show what changed.
    pub presets: BTreeMap<String, Declared<Value>>,
    /// What can start runs.
    pub workflows: BTreeMap<WorkflowName, Declared<ResolvedWorkflow>>,
    /// Workflows that a file declares but that are not sound: they keep their last good definition, and are not
    /// removed. Those whose name cannot be read are not in here.
    pub unsound: BTreeMap<WorkflowName, Place>,
}

/// A thing with the places of its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared<T> {
    /// The thing.
    pub item: T,
    /// Where its text begins; `None` for what no file declares (implicit queues and projects).
    pub place: Option<Place>,
    /// Where its fields stand, by JSON pointer into the document (`/quota/cpu`), as the place of the value.
    pub fields: FieldPlaces,
}

impl<T> Declared<T> {
    /// A thing that no file declares.
    pub fn implicit(item: T) -> Self {
        Self { item, place: None, fields: FieldPlaces::default() }
    }
}

/// Defaults and the global limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationPolicy {
    /// Its name.
    pub name: OrganizationName,
    /// Level 1 of the limits.
    pub concurrency: Limit,
    /// The queue of operations that name none.
    pub default_queue: Option<QueueName>,
    /// The preset under every operation.
    pub default_preset: Option<String>,
    /// How a binding limit is divided among levels.
    pub sharing: Sharing,
    /// What the first sync does.
    pub first_sync: FirstSync,
    /// Most runs that one sync may start.
    pub max_starts: u32,
    /// Most objects that one sync may remove.
    pub max_removals: Removals,
    /// Times without starts.
    pub freeze: Vec<Freeze>,
}

/// Where operations run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPolicy {
    /// Most operations at once.
    pub concurrency: Limit,
    /// What they may ask together; canonical names.
    pub capacity: Resources,
    /// The queue of operations that name only this agent.
    pub default_queue: Name,
    /// What it dispatches to.
    pub target: TargetSpec,
}

/// A line of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuePolicy {
    /// Its level.
    pub priority: Priority,
    /// Most operations at once.
    pub concurrency: Limit,
    /// What they may ask together; canonical names.
    pub quota: Resources,
    /// Its share among the queues of its level; at least 1.
    pub weight: u32,
    /// Whether the first in line blocks.
    pub order: Order,
    /// Whether nothing is dispatched.
    pub hold: bool,
    /// When it may dispatch; always when empty.
    pub windows: Vec<Window>,
    /// What becomes of its runs when it is removed.
    pub on_remove: OnRemove,
    /// The name that it had before.
    pub previous_name: Option<Name>,
}

impl Default for QueuePolicy {
    /// The implicit queue `default`: highest level, unlimited.
    fn default() -> Self {
        Self {
            priority: Priority::Highest,
            concurrency: Limit::Unlimited,
            quota: Resources::default(),
            weight: 1,
            order: Order::Backfill,
            hold: false,
            windows: Vec::new(),
            on_remove: OnRemove::Drain,
            previous_name: None,
        }
    }
}

/// A room for workflows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectPolicy {
    /// The queue of operations that name none.
    pub default_queue: Option<QueueName>,
    /// The preset under its operations.
    pub default_preset: Option<String>,
    /// The only queues that it may use, as globs; any when `None`.
    pub queues: Option<Vec<String>>,
    /// Most operations queued or beyond.
    pub concurrency: Limit,
}

/// What can start runs: an operation with everything that it refers to merged in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedWorkflow {
    /// The queue of its runs.
    pub queue: QueueName,
    /// The component with operation, presets and params merged in.
    pub operation: StoredOperation,
    /// Whether and when a commit starts it; `None` without a push trigger.
    pub push: Option<PushTrigger>,
    /// The times that start it.
    pub schedules: Vec<Schedule>,
    /// How its own runs stand to one another.
    pub supersede: Option<SupersedePolicy>,
    /// What becomes of its runs when the file goes.
    pub on_remove: WorkflowOnRemove,
    /// The name that it had before.
    pub previous_name: Option<Name>,
    /// Why it cannot run here although its text is sound (`matrix` before pipelines are known), if so.
    pub unrunnable: Option<String>,
    /// What it means: queue and compiled operation, canonical, without triggers, descriptions and tags.
    pub spec_digest: Digest,
    /// What starts it.
    pub trigger_digest: Digest,
    /// The files that it watches; constant without `paths`.
    pub inputs_digest: Digest,
}

/// A push trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushTrigger {
    /// Globs of files to watch.
    pub paths: Vec<String>,
    /// Which changes start a run.
    pub fires: Fires,
}

/// How the runs of a group stand to one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupersedePolicy {
    /// The group, filled in.
    pub group: String,
    /// Most runs queued or beyond; at least 1.
    pub limit: u32,
    /// What becomes of a new run when the group is full.
    pub when_busy: WhenBusy,
}

/// An operation with everything merged in and its params typed; its templates are not rendered yet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompiledOperation {
    /// The name that the operation gives itself.
    pub name: Option<String>,
    /// For queries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The values of the inputs and context params, by name.
    pub inputs: BTreeMap<String, Value>,
    /// Environment variables that inputs ask for (`toEnv`): variable → input.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub to_env: BTreeMap<String, String>,
    /// Values of outputs that are known before it runs: given by params, or declared. What it reports has the last word.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Value>,
    /// Inputs whose values are templates over the run itself, filled in when it is launched. What comes from other runs is
    /// never read as a template.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub templated: BTreeSet<String>,
    /// Command-line forms of the inputs (`params.x.as_arg`), in order of declaration.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub as_arg: IndexMap<String, String>,
    /// What is said of inputs beside their values; those of which nothing is said are not in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forms: BTreeMap<String, InputForm>,
    /// What to run, as a `run` section.
    pub run: Value,
    /// What one attempt asks for; canonical names, with `cost`.
    pub request: Resources,
    /// How often a failed run is tried again.
    pub max_retries: u32,
    /// How long one attempt may take.
    pub timeout: Option<Span>,
    /// How long a finished run's objects are kept.
    pub ttl: Option<Span>,
    /// Whether somebody must approve it first.
    pub needs_approval: bool,
    /// Inputs whose values are taken from elsewhere when the run is made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refs: BTreeMap<String, ParamRef>,
    /// The declarations of inputs that get their values when the run is made or launched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late: BTreeMap<String, Value>,
    /// The operations of a graph, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag: Option<Box<Dag>>,
    /// The matrix that makes runs of it, as written; a matrix makes runs of the graph, when both are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Value>,
    /// Sections beside `run` that a target looks at, as written (`crate::domain::honour::SECTIONS`).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub sections: Map<String, Value>,
    /// A template that must come to true when it is about to start; that of a graph's operation stands in its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<String>,
    /// Statuses of other runs, any of which it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<RunEvent>,
    /// Values from the results of earlier runs, taken when it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<Join>,
    /// The component that suggests the points of its matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuner: Option<Box<TunerRun>>,
    /// What builds its image before it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Box<Build>>,
    /// What follows its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Which point of a matrix it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
}

/// What is said of an input beside its value: by its declaration, and by the param that gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputForm {
    /// The word of its type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub io_type: Option<String>,
    /// Whether it is there or not, like a flag of a command line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_flag: bool,
    /// Whether its value is prepared by an init container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub to_init: bool,
    /// The connection that it is read through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
}
