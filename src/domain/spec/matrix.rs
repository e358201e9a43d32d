//! `matrix:` of an operation: many runs with different params. Polyaxon's kinds and fields, typed.

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::distribution::Distribution;
use super::early_stopping::EarlyStopping;
use super::extras::by_kind;
use super::reading::{Fault, Fields, count, flag, integer, natural, number, text, whole, word};

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

const OPTIMIZATIONS: [(&str, Optimization); 2] =
    [("maximize", Optimization::Maximize), ("minimize", Optimization::Minimize)];
const ALGORITHMS: [(&str, Algorithm); 3] =
    [("tpe", Algorithm::Tpe), ("rand", Algorithm::Rand), ("anneal", Algorithm::Anneal)];
const KERNELS: [(&str, Kernel); 2] = [("matern", Kernel::Matern), ("rbf", Kernel::Rbf)];

impl Matrix {
    /// Reads `matrix:`, complete and ready to be run; the faults say where.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let kind = fields.required("kind", text);
        let concurrency = fields.optional("concurrency", count);
        let early_stopping = fields.sections("earlyStopping", EarlyStopping::read);
        let search = kind.and_then(|kind| Self::search(&kind, &mut fields));
        fields.finish(search.map(|search| Self { search, concurrency, early_stopping }))
    }

    /// The names of the params that its runs are given; `None` when they are not known before it runs.
    pub fn names(written: &Value) -> Option<Vec<String>> {
        let mut names: Vec<String> = match written.get("values") {
            Some(Value::Array(values)) => {
                values.iter().filter_map(Value::as_object).flat_map(|map| map.keys().cloned()).collect()
            }
            Some(_) => return None,
            None => match written.get("params") {
                Some(Value::Object(params)) => params.keys().cloned().collect(),
                _ => return None,
            },
        };
        if written.get("kind").and_then(Value::as_str) == Some("iterative") {
            return None;
        }
        names.extend(written.pointer("/resource/name").and_then(Value::as_str).map(str::to_owned));
        Some(names)
    }

    fn search(kind: &str, fields: &mut Fields<'_>) -> Option<Search> {
        let seed = fields.optional("seed", integer).filter(|seed| *seed != 0).map(i64::cast_unsigned);
        let tuner = fields.section("tuner", Tuner::read);
        Some(match kind {
            "mapping" => {
                let values = fields.required_section("values", |value| match value {
                    Value::Array(list) if list.is_empty() => Err(vec![Fault::new("", "the list is empty")]),
                    Value::Array(list) => list.iter().enumerate().map(point).collect::<Result<_, _>>(),
                    other => Err(vec![whole(other, "a list")]),
                });
                Search::Mapping(Mapping { values: values? })
            }
            "grid" => {
                let params = space(fields, true, |of| of.is_discrete().then_some(()).ok_or(NOT_IN_GRID));
                let num_runs = fields.optional("numRuns", count);
                Search::Grid(Grid { params: params?, num_runs })
            }
            "random" => {
                let (params, num_runs) = (space(fields, true, |_| Ok(())), fields.required("numRuns", count));
                Search::Random(Random { params: params?, num_runs: num_runs?, seed })
            }
            "hyperband" => {
                let params = space(fields, true, |_| Ok(()));
                let max_iterations = fields.required("maxIterations", count);
                let eta = fields.required("eta", number);
                let resource = fields.required_section("resource", Resource::read);
                let metric = fields.required_section("metric", Metric::read);
                let resume = fields.optional("resume", flag).unwrap_or_default();
                if eta.is_some_and(|eta| eta < 0.0) {
                    fields.faults.push(Fault::new("/eta", "the smallest value is 0"));
                } else if eta.is_some_and(|eta| eta <= 1.0) {
                    fields.faults.push(Fault::late("/eta", ETA));
                }
                Search::Hyperband(Hyperband {
                    params: params?,
                    max_iterations: max_iterations?,
                    eta: eta?,
                    resource: resource?,
                    metric: metric?,
                    resume,
                    seed,
                    tuner,
                })
            }
            "bayes" => {
                let params = space(fields, true, |of| of.is_even().then_some(()).ok_or(NOT_IN_BAYES));
                let num_initial_runs = fields.required("numInitialRuns", count);
                let max_iterations = fields.required("maxIterations", count);
                let metric = fields.required_section("metric", Metric::read);
                let utility = fields.section("utilityFunction", Utility::read).unwrap_or_default();
                Search::Bayes(Bayes {
                    params: params?,
                    num_initial_runs: num_initial_runs?,
                    max_iterations: max_iterations?,
                    metric: metric?,
                    utility,
                    seed,
                    tuner,
                })
            }
            "hyperopt" | "tpe" => {
                let params = space(fields, true, |_| Ok(()));
                let algorithm = match kind {
                    "tpe" => Some(Algorithm::Tpe),
                    _ => fields.required("algorithm", word(&ALGORITHMS)),
                };
                let num_runs = fields.required("numRuns", count);
                let max_iterations = fields.optional("maxIterations", count);
                let metric = fields.required_section("metric", Metric::read);
                Search::Hyperopt(Hyperopt {
                    params: params?,
                    algorithm: algorithm?,
                    num_runs: num_runs?,
                    max_iterations,
                    metric: metric?,
                    seed,
                    tuner,
                })
            }
            "iterative" => {
                let params = space(fields, false, |_| Ok(())).unwrap_or_default();
                let max_iterations = fields.required("maxIterations", count);
                Search::Iterative(Iterative { params, max_iterations: max_iterations?, seed, tuner })
            }
            other => {
                fields.faults.push(Fault::new("/kind", format!("`{other}` is no kind of matrix")));
                return None;
            }
        })
    }
}

/// Why hyperband wants more than Polyaxon's schema.
const ETA: &str = "hyperband keeps one of `eta` runs: it must be greater than 1 to run";
/// Why a distribution cannot stand in a grid.
const NOT_IN_GRID: &str = "a distribution has no end of values: it cannot be used with grid search";
/// Why a distribution cannot stand in bayes.
const NOT_IN_BAYES: &str = "only lists, ranges and `uniform` can be used with bayesian optimization";

fn point((i, value): (usize, &Value)) -> Result<Map<String, Value>, Vec<Fault>> {
    match value {
        Value::Object(map) => Ok(map.clone()),
        other => Err(vec![whole(other, "a mapping of params").below(&format!("/{i}"))]),
    }
}

/// Reads `params`, each of which must suit the kind of search.
fn space(
    fields: &mut Fields<'_>,
    required: bool,
    suits: impl Fn(&Distribution) -> Result<(), &'static str>,
) -> Option<Space> {
    let read = |value: &Value| {
        let Value::Object(map) = value else { return Err(vec![whole(value, "a mapping of params")]) };
        let (mut space, mut faults) = (Space::new(), Vec::new());
        if map.is_empty() && required {
            faults.push(Fault::new("", "there is no param"));
        }
        for (name, written) in map {
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            match Distribution::read(written) {
                Ok(of) => {
                    faults.extend(suits(&of).err().map(|why| Fault::new(format!("{pointer}/kind"), why)));
                    space.insert(name.clone(), of);
                }
                Err(inner) => faults.extend(inner.into_iter().map(|fault| fault.below(&pointer))),
            }
        }
        if faults.is_empty() { Ok(space) } else { Err(faults) }
    };
    if required { fields.required_section("params", read) } else { fields.section("params", read) }
}

impl Metric {
    /// Reads `metric:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let name = fields.required("name", text);
        let optimization = fields.optional("optimization", word(&OPTIMIZATIONS));
        let made = name.map(|name| Self { name, optimization: optimization.unwrap_or_default() });
        fields.finish(made)
    }
}

/// Reads `optimization:`.
pub(super) fn optimization(value: &Value) -> Result<Optimization, String> {
    word(&OPTIMIZATIONS)(value)
}

impl Resource {
    /// Reads `resource:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let name = fields.required("name", text);
        let whole = fields.optional("type", word(&[("int", true), ("float", false)]));
        // Polyaxon's own default.
        let made = name.map(|name| Self { name, whole: whole.unwrap_or(true) });
        fields.finish(made)
    }
}

impl Utility {
    /// Reads `utilityFunction:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let kinds = [("ucb", "ucb"), ("ei", "ei"), ("poi", "poi")];
        let function = fields.optional("acquisitionFunction", word(&kinds)).unwrap_or("ucb");
        let (kappa, eps) = (fields.optional("kappa", number), fields.optional("eps", number));
        let process = fields.section("gaussianProcess", GaussianProcess::read).unwrap_or_default();
        let num_warmup = fields.optional("numWarmup", natural).unwrap_or(5);
        let num_iterations = fields.optional("numIterations", natural).unwrap_or(10);
        let needed = if function == "ucb" { "kappa" } else { "eps" };
        if fields.raw(needed).is_none() {
            let why = format!("the acquisition function `{function}` requires a parameter `{needed}`");
            fields.faults.push(Fault::new("", why));
        }
        let acquisition = match (function, kappa, eps) {
            ("ucb", Some(kappa), _) => Some(Acquisition::Ucb { kappa }),
            ("ei", _, Some(eps)) => Some(Acquisition::Ei { eps }),
            ("poi", _, Some(eps)) => Some(Acquisition::Poi { eps }),
            _ => None,
        };
        fields.finish(acquisition.map(|acquisition| Self { acquisition, process, num_warmup, num_iterations }))
    }
}

impl GaussianProcess {
    /// Reads `gaussianProcess:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let kernel = fields.optional("kernel", word(&KERNELS)).unwrap_or(Kernel::Matern);
        let length_scale = fields.optional("lengthScale", positive).unwrap_or(1.0);
        let nu = fields.optional("nu", positive).unwrap_or(1.5);
        let num_restarts_optimizer = fields.optional("numRestartsOptimizer", natural).unwrap_or(0);
        fields.finish(Some(Self { kernel, length_scale, nu, num_restarts_optimizer }))
    }
}

fn positive(value: &Value) -> Result<f64, String> {
    match number(value)? {
        number if number > 0.0 => Ok(number),
        number => Err(format!("`{number}` must be greater than 0")),
    }
}

impl Tuner {
    /// Reads `tuner:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let hub_ref = fields.required("hubRef", text);
        let presets = fields.optional("presets", |value| match value {
            Value::Array(list) => list.iter().map(text).collect(),
            other => text(other).map(|all| all.split(',').map(|one| one.trim().to_owned()).collect()),
        });
        let (queue, namespace) = (fields.optional("queue", text), fields.optional("namespace", text));
        let params = fields.optional("params", |value| value.as_object().cloned().ok_or("expected a mapping".into()));
        let made = hub_ref.map(|hub_ref| Self {
            hub_ref,
            presets: presets.unwrap_or_default(),
            queue,
            namespace,
            params: params.unwrap_or_default(),
        });
        fields.finish(made)
    }
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
