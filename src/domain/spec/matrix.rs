//! `matrix:` of an operation: many runs with different params. Polyaxon's kinds and fields, typed.

mod read;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::distribution::Distribution;
use super::early_stopping::EarlyStopping;
use super::extras::by_kind;
pub(super) use read::optimization;

/// The params of a search by name, in the order in which they are written.
pub type Space = IndexMap<String, Distribution>;

/// Many runs with different params.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matrix {
    /// How the params are chosen.
    pub search: Search,
    /// Most direct children queued or beyond; `None` is unlimited.
    pub concurrency: Option<u64>,
    /// When it is ended before its last run.
    pub early_stopping: Vec<EarlyStopping>,
}

/// How the params are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Search {
    /// These, in this order.
    Mapping(Mapping),
    /// Every combination, the last param fastest.
    Grid(Grid),
    /// Drawn at random, none twice.
    Random(Random),
    /// Successive halving: many with few resources, the best with more.
    Hyperband(Hyperband),
    /// Where a Gaussian process expects the best.
    Bayes(Bayes),
    /// In the manner of the library hyperopt: tpe, rand or anneal.
    Hyperopt(Hyperopt),
    /// Suggested by a component of the user.
    Iterative(Iterative),
}

/// These params, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// One mapping of params for each run; the keys may differ.
    pub values: Vec<Map<String, Value>>,
}

/// Every combination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grid {
    /// The values, all discrete.
    pub params: Space,
    /// Only the first so many; at least one.
    pub num_runs: Option<u64>,
}

/// Drawn at random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Random {
    /// What to draw from.
    pub params: Space,
    /// How many; at least one.
    pub num_runs: u64,
    /// The beginning of the draws; `None`: the run's own.
    pub seed: Option<u64>,
}

/// Successive halving.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hyperband {
    /// What to draw from.
    pub params: Space,
    /// The most resource that one run may use, R; at least one.
    pub max_iterations: u64,
    /// Of how many one is kept, η; greater than one.
    pub eta: f64,
    /// The param that is the resource.
    pub resource: Resource,
    /// What is compared.
    pub metric: Metric,
    /// Whether those that are kept go on where they were.
    pub resume: bool,
    /// The beginning of the draws; `None`: the run's own.
    pub seed: Option<u64>,
    /// The component that makes suggestions instead.
    pub tuner: Option<Tuner>,
}

/// Where a Gaussian process expects the best.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bayes {
    /// Where to look: lists, ranges and even draws.
    pub params: Space,
    /// How many are drawn at random first; at least one.
    pub num_initial_runs: u64,
    /// How many follow, one after another; at least one.
    pub max_iterations: u64,
    /// What is optimized.
    pub metric: Metric,
    /// How promising a point is.
    pub utility: Utility,
    /// The beginning of the draws; `None`: the run's own.
    pub seed: Option<u64>,
    /// The component that makes suggestions instead.
    pub tuner: Option<Tuner>,
}

/// In the manner of the library hyperopt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hyperopt {
    /// Where to look.
    pub params: Space,
    /// How suggestions are made.
    pub algorithm: Algorithm,
    /// How many in each iteration; at least one.
    pub num_runs: u64,
    /// How many iterations; `None`: one.
    pub max_iterations: Option<u64>,
    /// What is optimized.
    pub metric: Metric,
    /// The beginning of the draws; `None`: the run's own.
    pub seed: Option<u64>,
    /// The component that makes suggestions instead.
    pub tuner: Option<Tuner>,
}

/// Suggested by a component of the user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Iterative {
    /// What the tuner is told; may be empty.
    pub params: Space,
    /// How many iterations; at least one.
    pub max_iterations: u64,
    /// The beginning of the draws; `None`: the run's own.
    pub seed: Option<u64>,
    /// The component that makes suggestions.
    pub tuner: Option<Tuner>,
}

/// How hyperopt makes suggestions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Tree of Parzen estimators.
    Tpe,
    /// At random.
    Rand,
    /// Ever nearer to the best.
    Anneal,
}

/// What is compared or optimized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// The name of the output.
    pub name: String,
    /// Which is better.
    pub optimization: Optimization,
}

/// Which value of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimization {
    /// The larger.
    #[default]
    Maximize,
    /// The smaller.
    Minimize,
}

impl Optimization {
    /// A number that grows with how good a value is.
    pub fn score(self, value: f64) -> f64 {
        match self {
            Self::Maximize => value,
            Self::Minimize => -value,
        }
    }
}

/// The param that is the resource of hyperband.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// The name of the param.
    pub name: String,
    /// Whether it is cut to a whole number.
    pub whole: bool,
}

/// How promising a point is, from what a Gaussian process expects there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Utility {
    /// The formula.
    pub acquisition: Acquisition,
    /// What is assumed between the observations.
    pub process: GaussianProcess,
    /// Random points that are looked at; 5 when absent.
    pub num_warmup: u64,
    /// Climbs that start from the best and from random points; 10 when absent.
    pub num_iterations: u64,
}

impl Default for Utility {
    fn default() -> Self {
        let acquisition = Acquisition::Ucb { kappa: 2.576 };
        Self { acquisition, process: GaussianProcess::default(), num_warmup: 5, num_iterations: 10 }
    }
}

/// How promising a point is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acquisition {
    /// Upper confidence bound: μ + κσ.
    Ucb {
        /// How much uncertainty counts.
        kappa: f64,
    },
    /// Expected improvement over the best so far and `eps`.
    Ei {
        /// The least improvement that counts.
        eps: f64,
    },
    /// Probability of improvement over the best so far and `eps`.
    Poi {
        /// The least improvement that counts.
        eps: f64,
    },
}

/// What is assumed between the observations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GaussianProcess {
    /// How alike near points are.
    pub kernel: Kernel,
    /// Over which distance; greater than zero.
    pub length_scale: f64,
    /// How smooth matern is; greater than zero.
    pub nu: f64,
    /// Further climbs for the length scale.
    pub num_restarts_optimizer: u64,
}

impl Default for GaussianProcess {
    fn default() -> Self {
        Self { kernel: Kernel::Matern, length_scale: 1.0, nu: 1.5, num_restarts_optimizer: 0 }
    }
}

/// How alike near points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// Matérn with smoothness `nu`.
    Matern,
    /// Squared exponential.
    Rbf,
}

/// A component that makes suggestions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tuner {
    /// The component, `name` or `name:tag`.
    pub hub_ref: String,
    /// Names of presets that are merged over it.
    pub presets: Vec<String>,
    /// The queue that it goes to.
    pub queue: Option<String>,
    /// The Kubernetes namespace to run in.
    pub namespace: Option<String>,
    /// Values for its inputs, by name.
    pub params: Map<String, Value>,
}

impl JsonSchema for Matrix {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Matrix".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        use super::searches::{
            BayesMatrix, GridMatrix, HyperbandMatrix, HyperoptMatrix, IterativeMatrix, MappingMatrix, RandomMatrix,
        };
        let kinds = [
            ("mapping", generator.subschema_for::<MappingMatrix>()),
            ("grid", generator.subschema_for::<GridMatrix>()),
            ("random", generator.subschema_for::<RandomMatrix>()),
            ("hyperband", generator.subschema_for::<HyperbandMatrix>()),
            ("bayes", generator.subschema_for::<BayesMatrix>()),
            ("hyperopt", generator.subschema_for::<HyperoptMatrix>()),
            ("iterative", generator.subschema_for::<IterativeMatrix>()),
        ];
        by_kind("Many runs with different params.", &[], &kinds)
    }
}
