//! Reads `matrix:`: every problem with its place, and nothing left open that a search needs.

use serde_json::{Map, Value};

use super::{
    Acquisition, Algorithm, Bayes, GaussianProcess, Grid, Hyperband, Hyperopt, Iterative, Kernel, Mapping, Matrix,
    Metric, Optimization, Random, Resource, Search, Space, Tuner, Utility,
};
use crate::domain::spec::distribution::Distribution;
use crate::domain::spec::early_stopping::EarlyStopping;
use crate::domain::spec::reading::{Fault, Fields, count, flag, integer, is_template, number, text, whole, word};

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
                    Value::Array(list) if list.is_empty() => Err(vec![Fault::late("", "the list is empty")]),
                    Value::Array(list) => list.iter().enumerate().map(point).collect::<Result<_, _>>(),
                    other => Err(vec![whole(other, "a list")]),
                });
                Search::Mapping(Mapping { values: values? })
            }
            "grid" => {
                let params = space(fields, true, Some(in_grid));
                let num_runs = fields.optional("numRuns", count);
                Search::Grid(Grid { params: params?, num_runs })
            }
            "random" => {
                let (params, num_runs) = (space(fields, true, None), fields.required("numRuns", count));
                Search::Random(Random { params: params?, num_runs: num_runs?, seed })
            }
            "hyperband" => {
                let params = space(fields, true, None);
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
                let params = space(fields, true, Some(in_bayes));
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
                let params = space(fields, true, None);
                let algorithm = match kind {
                    "tpe" => Some(Algorithm::Tpe),
                    _ => fields.optional("algorithm", word(&ALGORITHMS)).or(Some(Algorithm::Tpe)),
                };
                let num_runs = fields.required("numRuns", count);
                let max_iterations = fields.at_least(1, "maxIterations");
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
                let params = space(fields, false, None).unwrap_or_default();
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

/// Whether a search takes values of a kind, or why not.
type Suits = fn(&str) -> Result<(), &'static str>;

/// Reads `params`, each of which must suit the kind of search.
fn space(fields: &mut Fields<'_>, required: bool, suits: Option<Suits>) -> Option<Space> {
    // A search that takes some kinds of values only must see which they are.
    if suits.is_some() && fields.raw("params").is_some_and(is_template) {
        fields.faults.push(Fault::new("/params", "the params of such a search cannot be a template"));
        return None;
    }
    let read = |value: &Value| {
        let Value::Object(map) = value else { return Err(vec![whole(value, "a mapping of params")]) };
        let (mut space, mut faults) = (Space::new(), Vec::new());
        if map.is_empty() && required {
            let message = "there is no param";
            faults.push(if suits.is_some() { Fault::new("", message) } else { Fault::late("", message) });
        }
        for (name, written) in map {
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            let kind = written.get("kind").and_then(Value::as_str);
            let misfit = suits.zip(kind).and_then(|(suits, kind)| suits(kind).err());
            faults.extend(misfit.map(|why| Fault::new(format!("{pointer}/kind"), why)));
            match Distribution::read(written) {
                Ok(of) => drop(space.insert(name.clone(), of)),
                Err(inner) => faults.extend(inner.into_iter().map(|fault| fault.below(&pointer))),
            }
        }
        if faults.is_empty() { Ok(space) } else { Err(faults) }
    };
    if required { fields.required_section("params", read) } else { fields.section("params", read) }
}

fn in_grid(kind: &str) -> Result<(), &'static str> {
    Distribution::is_listed(kind).then_some(()).ok_or(NOT_IN_GRID)
}

fn in_bayes(kind: &str) -> Result<(), &'static str> {
    (kind == "uniform" || Distribution::is_listed(kind)).then_some(()).ok_or(NOT_IN_BAYES)
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
pub(in crate::domain::spec) fn optimization(value: &Value) -> Result<Optimization, String> {
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
        let num_warmup = fields.at_least(0, "numWarmup").unwrap_or(5);
        let num_iterations = fields.at_least(0, "numIterations").unwrap_or(10);
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
        let length_scale = positive("lengthScale", &mut fields).unwrap_or(1.0);
        let nu = positive("nu", &mut fields).unwrap_or(1.5);
        let num_restarts_optimizer = fields.at_least(0, "numRestartsOptimizer").unwrap_or(0);
        fields.finish(Some(Self { kernel, length_scale, nu, num_restarts_optimizer }))
    }
}

fn positive(key: &str, fields: &mut Fields<'_>) -> Option<f64> {
    let number = fields.optional(key, number)?;
    if number <= 0.0 {
        fields.faults.push(Fault::late(format!("/{key}"), format!("`{number}` must be greater than 0")));
    }
    Some(number)
}

impl Tuner {
    /// Reads `tuner:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let hub_ref = fields.required("hubRef", text);
        let presets = fields.optional("presets", |value| match value {
            Value::Array(list) => list.iter().map(text).collect(),
            other => Err(whole(other, "a list").message),
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
