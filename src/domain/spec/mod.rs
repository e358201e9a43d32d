//! What a person may write: one kind a file. These types are also the source of `schemas/`.
//!
//! They mirror the text: an absent field is `None` here and gets its default in [`crate::domain::catalog`].

mod agent;
mod component;
mod connection;
mod container;
pub mod distribution;
pub mod early_stopping;
pub mod extras;
pub mod init;
pub mod kubernetes;
mod limit;
pub mod links;
pub mod loose;
mod managed;
pub mod matrix;
mod operation;
mod organization;
mod project;
mod queue;
pub mod reading;
pub mod replicas;
mod run;
pub mod schedule;
pub mod searches;
mod workflow;
mod workload;

pub use agent::{Agent, KubernetesTarget, LocalTarget, NamespacePlace, TargetKind, TargetSpec};
pub use component::{Component, Io, IoType, IoValidation};
pub use connection::{Connection, ConnectionSchema, Lent};
pub use container::{Container, EnvVar, ResourceRequests};
pub use distribution::Distribution;
pub use early_stopping::{EarlyStopping, Policy};
pub use limit::{Limit, Priority};
pub use links::{EventTrigger, JoinParam, JoinSpec};
pub use managed::{LimitRangeItem, LimitType, Managed, Marks};
pub use matrix::{Matrix, Search};
pub use operation::{
    Cache, Operation, Param, ParamSpec, PatchStrategy, Plugins, Preset, Template, Termination, Trigger, is_long_form,
};
pub use organization::{FirstSync, Freeze, Organization, Removals, Sharing, SyncPolicy};
pub use project::Project;
pub use queue::{OnRemove, Order, Queue, Window};
pub use reading::Fault;
pub use run::{CleanerRun, DagRun, JobRun, NotifierRun, Run, RunKind, ServiceRun, TunerRun};
pub use schedule::{Catchup, Schedule, When};
pub use workflow::{
    Dispatch, Fires, OperationSource, Push, Supersede, TriggerSpec, WhenBusy, Workflow, WorkflowOnRemove,
};
pub use workload::{Workload, WorkloadAgent, WorkloadClass, WorkloadQueue};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kinds of documents, by the word that stands in `kind:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Defaults and the global limit; exactly one in a repository.
    Organization,
    /// One namespace of one cluster, or this machine.
    Agent,
    /// A line of work on one agent.
    Queue,
    /// A room for workflows.
    Project,
    /// A reusable definition: inputs, outputs and what to run.
    Component,
    /// A named thing in a project that can start runs.
    Workflow,
    /// An invocation of a component (a bare polyaxonfile).
    Operation,
}

impl Kind {
    /// Every kind, in the order in which a commit applies them.
    pub const ALL: [Self; 7] =
        [Self::Organization, Self::Project, Self::Agent, Self::Queue, Self::Component, Self::Workflow, Self::Operation];

    /// The word in `kind:`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Agent => "agent",
            Self::Queue => "queue",
            Self::Project => "project",
            Self::Component => "component",
            Self::Workflow => "workflow",
            Self::Operation => "operation",
        }
    }
}

/// The only value that `version:` may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(1.1)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if number == 1.1 {
            Ok(Self)
        } else {
            Err(serde::de::Error::custom(format!("version {number} is not known; the only one is 1.1")))
        }
    }
}

impl JsonSchema for Version {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": 1.1, "description": "The version of the specification, always 1.1." })
    }
}
