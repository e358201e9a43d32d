//! Distributed run kinds: those that their operators of Kubernetes make from replicas.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::container::Container;
use super::extras::{AnyMap, Environment, section, words};
use super::init::Init;
use super::kubernetes::{ResourceRequirements, Volume};
use super::loose::{Flag, Switch, Templated};
use super::run::workload;

workload! {
    /// A replica of a distributed job.
    Replica {
        /// How many of it; 1 when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Templated<i64>>")]
        replicas: Option<i64>,
    }
}

workload! {
    /// A replica of a Ray cluster.
    RayReplica {
        /// How many of it at first; 1 when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Templated<i64>>")]
        replicas: Option<i64>,
        /// Fewest of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Templated<i64>>")]
        min_replicas: Option<i64>,
        /// Most of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Templated<i64>>")]
        max_replicas: Option<i64>,
        /// Arguments of `ray start`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<OnlyTexts>")]
        ray_start_params: Option<BTreeMap<String, String>>,
    }
}

/// A struct of one run kind: its `kind`, and fields that may be left out, kept as written.
macro_rules! distributed {
    ($(#[$about:meta])* $name:ident $kind:literal { $(#[doc = $doc:literal] $field:ident: $type:ty = $schema:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// Which kind it is.
            #[schemars(extend("const" = $kind))]
            pub kind: String,
            $(
                #[doc = $doc]
                #[serde(skip_serializing_if = "Option::is_none")]
                #[schemars(with = $schema)]
                pub $field: Option<$type>,
            )*
        }
    };
}

distributed! {
    /// TensorFlow replicas.
    TfJobRun "tfjob" {
        /// Which pods are removed at its end; `None` when absent.
        clean_pod_policy: String = "Option<CleanPodPolicy>",
        /// How its pods are scheduled together.
        scheduling_policy: Value = "Option<SchedulingPolicy>",
        /// Whether workers may come and go.
        enable_dynamic_worker: Value = "Option<Switch>",
        /// When it has succeeded.
        success_policy: String = "Option<String>",
        /// The replica that coordinates.
        chief: Replica = "Option<Replica>",
        /// The parameter servers.
        ps: Replica = "Option<Replica>",
        /// The workers.
        worker: Replica = "Option<Replica>",
        /// The replica that evaluates.
        evaluator: Replica = "Option<Replica>",
    }
}

distributed! {
    /// PyTorch replicas.
    PytorchJobRun "pytorchjob" {
        /// Which pods are removed at its end; `None` when absent.
        clean_pod_policy: String = "Option<CleanPodPolicy>",
        /// How its pods are scheduled together.
        scheduling_policy: Value = "Option<SchedulingPolicy>",
        /// How many workers may come and go.
        elastic_policy: Value = "Option<ElasticPolicy>",
        /// Processes per node.
        n_proc_per_node: i64 = "Option<Templated<i64>>",
        /// The replica that coordinates.
        master: Replica = "Option<Replica>",
        /// The workers.
        worker: Replica = "Option<Replica>",
    }
}

distributed! {
    /// MPI replicas.
    MpiJobRun "mpijob" {
        /// Which pods are removed at its end; `None` when absent.
        clean_pod_policy: String = "Option<CleanPodPolicy>",
        /// How its pods are scheduled together.
        scheduling_policy: Value = "Option<SchedulingPolicy>",
        /// Processes per worker.
        slots_per_worker: i64 = "Option<Templated<i64>>",
        /// The replica that starts the others.
        launcher: Replica = "Option<Replica>",
        /// The workers.
        worker: Replica = "Option<Replica>",
    }
}

distributed! {
    /// A Ray cluster.
    RayClusterRun "raycluster" {
        /// The command that is submitted to it.
        entrypoint: String = "Option<String>",
        /// The environment of its tasks.
        runtime_env: Value = "Option<Templated<AnyMap>>",
        /// Notes that Ray keeps with the job.
        metadata: Value = "Option<Templated<OnlyTexts>>",
        /// The version of Ray.
        ray_version: String = "Option<String>",
        /// The head.
        head: RayReplica = "Option<RayReplica>",
        /// Groups of workers, by name.
        workers: BTreeMap<String, RayReplica> = "Option<BTreeMap<String, RayReplica>>",
        /// Whether Ray itself scales the workers.
        enable_in_tree_autoscaling: Value = "Option<Flag>",
        /// How it scales them.
        autoscaler_options: Value = "Option<RayAutoscaler>",
    }
}

distributed! {
    /// A Dask cluster.
    DaskClusterRun "daskcluster" {
        /// The workers.
        worker: Replica = "Option<Replica>",
        /// The scheduler.
        scheduler: Replica = "Option<Replica>",
        /// Fewest workers.
        min_replicas: i64 = "Option<Templated<i64>>",
        /// Most workers.
        max_replicas: i64 = "Option<Templated<i64>>",
    }
}

section! { "How the pods of a job are scheduled together." SchedulingPolicy {
    "minAvailable": Option<Templated<i64>>, "Fewest pods that start together.";
    "queue": Option<String>, "The queue of the gang scheduler.";
    "minResources": Option<Templated<i64>>, "Fewest resources that start together.";
    "priorityClass": Option<String>, "The priority class of the gang.";
    "scheduleTimeoutSeconds": Option<Templated<i64>>, "Seconds that the gang may wait.";
} }

section! { "How many workers may come and go." ElasticPolicy {
    "minReplicas": Option<Templated<i64>>, "Fewest workers.";
    "maxReplicas": Option<Templated<i64>>, "Most workers.";
    "rdvzBackend": Option<String>, "How workers find one another.";
    "rdvzPort": Option<Templated<i64>>, "The port where they do.";
    "rdvzHost": Option<String>, "The host where they do.";
    "rdvzId": Option<String>, "The name under which they do.";
    "rdvzConf": Option<Vec<AnyMap>>, "Further settings of that.";
    "standalone": Option<Flag>, "Whether one node does it alone.";
    "nProcPerNode": Option<Templated<i64>>, "Processes per node.";
    "maxRestarts": Option<Templated<i64>>, "Most restarts.";
    "Metrics": Option<Vec<AnyMap>>, "Metrics to scale by.";
} }

section! { "How Ray scales the workers." RayAutoscaler {
    "upscalingMode": Option<String>, "How fast it scales up.";
    "imagePullPolicy": Option<String>, "When the image of the autoscaler is pulled.";
    "resources": Option<ResourceRequirements>, "What the autoscaler asks for and may use.";
} }

words! { "Which pods are removed at the end." CleanPodPolicy ["All", "Running", "None"] }

/// A mapping of texts; numbers are no texts here.
#[derive(Debug)]
pub struct OnlyTexts;

impl JsonSchema for OnlyTexts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OnlyTexts".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["object", "null"], "additionalProperties": { "type": "string" }, "description": "A mapping of texts.",
        })
    }
}
