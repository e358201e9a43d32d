//! What a component runs, by the word in `run.kind`. Polyaxon's words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Operation;
use super::component::Component;
use super::container::Container;
use super::early_stopping::EarlyStopping;
use super::extras::{Environment, by_kind};
use super::init::Init;
use super::kubernetes::Volume;
use super::loose::{Count, Flag, Inline, Templated};
use super::replicas::{DaskClusterRun, MpiJobRun, PytorchJobRun, RayClusterRun, TfJobRun};

/// The kinds of what can run, by the word in `run.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// A container that ends.
    Job,
    /// A container that listens.
    Service,
    /// A graph of operations.
    Dag,
    /// TensorFlow replicas.
    TfJob,
    /// PyTorch replicas.
    PytorchJob,
    /// MPI replicas.
    MpiJob,
    /// A Ray cluster.
    RayCluster,
    /// A Dask cluster.
    DaskCluster,
    /// Sends notifications.
    Notifier,
    /// Makes suggestions for a search.
    Tuner,
    /// Removes artifacts.
    Cleaner,
}

/// A struct with the fields that every pod of an operation has, after its own.
macro_rules! workload {
    ($(#[$about:meta])* $name:ident { $($(#[$of_field:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$of_field])* pub $field: $type,)*
            /// Labels, node selector, tolerations and other pod settings.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(with = "Option<Environment>")]
            pub environment: Option<Value>,
            /// Names of connections to mount.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(with = "Option<Templated<Vec<String>>>")]
            pub connections: Vec<String>,
            /// Kubernetes volumes.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(with = "Option<Vec<Volume>>")]
            pub volumes: Vec<Value>,
            /// What is prepared before the main container.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(with = "Option<Templated<Vec<Init>>>")]
            pub init: Vec<Value>,
            /// Containers beside the main one.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(with = "Option<Vec<Container>>")]
            pub sidecars: Vec<Value>,
            /// The main container.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(with = "Option<Container>")]
            pub container: Option<Container>,
        }
    };
}
pub(super) use workload;

workload! {
    /// A container that ends.
    JobRun {
        /// Always `job`.
        #[schemars(extend("const" = "job"))]
        kind: String,
    }
}

workload! {
    /// A container that listens.
    ServiceRun {
        /// Always `service`.
        #[schemars(extend("const" = "service"))]
        kind: String,
        /// The ports that it listens on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(with = "Option<Templated<Vec<i64>>>")]
        ports: Vec<i64>,
        /// Whether the path of its address is rewritten to `/`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Flag>")]
        rewrite_path: Option<Value>,
        /// Whether it is reached from outside.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Flag>")]
        is_external: Option<Value>,
        /// How many of it; 1 when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Templated<i64>>")]
        replicas: Option<i64>,
    }
}

workload! {
    /// Sends notifications.
    NotifierRun {
        /// Always `notifier`.
        #[schemars(extend("const" = "notifier"))]
        kind: String,
    }
}

workload! {
    /// Makes suggestions for a search.
    TunerRun {
        /// Always `tuner`.
        #[schemars(extend("const" = "tuner"))]
        kind: String,
    }
}

workload! {
    /// Removes artifacts.
    CleanerRun {
        /// Always `cleaner`.
        #[schemars(extend("const" = "cleaner"))]
        kind: String,
    }
}

/// A graph of operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DagRun {
    /// Always `dag`.
    #[schemars(extend("const" = "dag"))]
    pub kind: String,
    /// The operations, each with a name and a reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Inline<Operation>>>")]
    pub operations: Vec<Value>,
    /// Components that `dagRef` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Inline<Component>>>")]
    pub components: Vec<Value>,
    /// Pod settings that all operations inherit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Environment>")]
    pub environment: Option<Value>,
    /// Names of connections that all operations inherit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Templated<Vec<String>>>")]
    pub connections: Vec<String>,
    /// Kubernetes volumes that all operations inherit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Volume>>")]
    pub volumes: Vec<Value>,
    /// Most operations at once; unlimited when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Count>")]
    pub concurrency: Option<Value>,
    /// When it is stopped before its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Templated<Vec<EarlyStopping>>>")]
    pub early_stopping: Option<Value>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs)] // the kinds say it
pub enum Run {
    Job(Box<JobRun>),
    Service(Box<ServiceRun>),
    Dag(Box<DagRun>),
    TfJob(Box<TfJobRun>),
    PytorchJob(Box<PytorchJobRun>),
    MpiJob(Box<MpiJobRun>),
    RayCluster(Box<RayClusterRun>),
    DaskCluster(Box<DaskClusterRun>),
    Notifier(Box<NotifierRun>),
    Tuner(Box<TunerRun>),
    Cleaner(Box<CleanerRun>),
}

impl Run {
    /// The kind of what runs.
    pub fn kind(&self) -> RunKind {
        match self {
            Self::Job(_) => RunKind::Job,
            Self::Service(_) => RunKind::Service,
            Self::Dag(_) => RunKind::Dag,
            Self::TfJob(_) => RunKind::TfJob,
            Self::PytorchJob(_) => RunKind::PytorchJob,
            Self::MpiJob(_) => RunKind::MpiJob,
            Self::RayCluster(_) => RunKind::RayCluster,
            Self::DaskCluster(_) => RunKind::DaskCluster,
            Self::Notifier(_) => RunKind::Notifier,
            Self::Tuner(_) => RunKind::Tuner,
            Self::Cleaner(_) => RunKind::Cleaner,
        }
    }
}

impl JsonSchema for Run {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Run".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Only replicas may have an `init` that is a template as a whole.
        let listed = |run: schemars::Schema| {
            let init = serde_json::json!({ "type": ["array", "null"], "description": "What is prepared first." });
            schemars::json_schema!({ "allOf": [run, { "properties": { "init": init } }] })
        };
        let kinds = [
            ("job", listed(generator.subschema_for::<JobRun>())),
            ("service", listed(generator.subschema_for::<ServiceRun>())),
            ("dag", generator.subschema_for::<DagRun>()),
            ("tfjob", generator.subschema_for::<TfJobRun>()),
            ("pytorchjob", generator.subschema_for::<PytorchJobRun>()),
            ("mpijob", generator.subschema_for::<MpiJobRun>()),
            ("raycluster", generator.subschema_for::<RayClusterRun>()),
            ("daskcluster", generator.subschema_for::<DaskClusterRun>()),
            ("notifier", listed(generator.subschema_for::<NotifierRun>())),
            ("tuner", listed(generator.subschema_for::<TunerRun>())),
            ("cleaner", listed(generator.subschema_for::<CleanerRun>())),
        ];
        by_kind("What to run; `kind` decides the fields.", &[], &kinds)
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = Value::deserialize(deserializer)?;
        let kind = value.get("kind").cloned().unwrap_or_default();
        let kind: RunKind = serde_json::from_value(kind).map_err(D::Error::custom)?;
        fn boxed<T: serde::de::DeserializeOwned, E: Error>(value: Value) -> Result<Box<T>, E> {
            serde_json::from_value(value).map(Box::new).map_err(E::custom)
        }
        Ok(match kind {
            RunKind::Job => Self::Job(boxed(value)?),
            RunKind::Service => Self::Service(boxed(value)?),
            RunKind::Dag => Self::Dag(boxed(value)?),
            RunKind::TfJob => Self::TfJob(boxed(value)?),
            RunKind::PytorchJob => Self::PytorchJob(boxed(value)?),
            RunKind::MpiJob => Self::MpiJob(boxed(value)?),
            RunKind::RayCluster => Self::RayCluster(boxed(value)?),
            RunKind::DaskCluster => Self::DaskCluster(boxed(value)?),
            RunKind::Notifier => Self::Notifier(boxed(value)?),
            RunKind::Tuner => Self::Tuner(boxed(value)?),
            RunKind::Cleaner => Self::Cleaner(boxed(value)?),
        })
    }
}
