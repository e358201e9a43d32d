//! The schemas of the kinds of `matrix:`, of what stands in them, and of early stopping.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::distribution::Distribution;
use super::early_stopping::EarlyStopping;
use super::extras::{AnyMap, section, words};
use super::loose::{Amount, Count, Exact, ExactCount, Flag, Interval, PlainAmount, Templated, WholeNumber};
use super::operation::ParamSpec;

/// A mapping of distributions by the name of the param.
type Params = Templated<BTreeMap<String, Distribution>>;
/// A list of rules of early stopping.
type Stops = Templated<Vec<EarlyStopping>>;

section! { "These params, in this order." MappingMatrix {
    "kind" = "mapping", "Always `mapping`.";
    "values": Templated<Vec<AnyMap>> | required, "One mapping of params for each run.", serde_json::json!([{"lr": 0.1}, {"lr": 0.01}]);
    "concurrency": Count, "Most runs queued or beyond; unlimited when absent.";
    "earlyStopping": Stops, "When it is ended before its last run.";
} }

section! { "Every combination of the values, the last param fastest." GridMatrix {
    "kind" = "grid", "Always `grid`.";
    "params": Params | required, "The values of each param; no distributions.", serde_json::json!({"lr": {"kind": "choice", "value": [0.1, 0.01]}});
    "numRuns": ExactCount, "Only the first so many.";
    "concurrency": ExactCount, "Most runs queued or beyond; unlimited when absent.";
    "earlyStopping": Stops, "When it is ended before its last run.";
} }

section! { "Drawn at random, none twice." RandomMatrix {
    "kind" = "random", "Always `random`.";
    "params": Params | required, "What each param is drawn from.";
    "numRuns": ExactCount | required, "How many.";
    "seed": Exact, "The beginning of the draws; each search has its own when absent or 0.";
    "concurrency": ExactCount, "Most runs queued or beyond; unlimited when absent.";
    "earlyStopping": Stops, "When it is ended before its last run.";
} }

section! { "Successive halving: many with few resources, the best with more." HyperbandMatrix {
    "kind" = "hyperband", "Always `hyperband`.";
    "params": Option<Params>, "What each param is drawn from.";
    "maxIterations": Count, "The most resource that one run may use.", 81;
    "eta": Amount, "Of how many runs one is kept.", 3;
    "resource": Option<OptimizationResource>, "The param that is the resource.";
    "metric": Option<OptimizationMetric>, "What is compared.";
    "resume": Option<Flag>, "Whether those that are kept go on where they were.";
    "seed": Exact, "The beginning of the draws; each search has its own when absent or 0.";
    "concurrency": Count, "Most runs queued or beyond; unlimited when absent.";
    "tuner": Option<TunerRef>, "The component that makes suggestions instead.";
    "earlyStopping": Stops, "When it is ended before its last run.";
} }

section! { "Where a Gaussian process expects the best." BayesMatrix {
    "kind" = "bayes", "Always `bayes`.";
    "params": Params | required, "Where to look: lists, ranges and `uniform`.";
    "numInitialRuns": Count | required, "How many are drawn at random first.";
    "maxIterations": Count | required, "How many follow, one after another.";
    "metric": OptimizationMetric | required, "What is optimized.";
    "utilityFunction": Option<UtilityFunction>, "How promising a point is.";
    "seed": Exact, "The beginning of the draws; each search has its own when absent or 0.";
    "concurrency": Count, "Most runs queued or beyond; unlimited when absent.";
    "tuner": Option<Templated<TunerRef>>, "The component that makes suggestions instead.";
    "earlyStopping": Stops, "When it is ended before its last run.";
} }

section! { "In the manner of the library hyperopt." HyperoptMatrix {
    "kind" = "hyperopt", "Always `hyperopt`.";
    "algorithm": Option<HyperoptAlgorithm>, "How suggestions are made; `tpe` when absent.";
    "params": Params | required, "Where to look.";
    "numRuns": ExactCount, "How many in each iteration.";
    "maxIterations": Exact, "How many iterations; one when absent.";
    "metric": OptimizationMetric | required, "What is optimized.";
    "seed": Exact, "The beginning of the draws; each search has its own when absent or 0.";
    "concurrency": ExactCount, "Most runs queued or beyond; unlimited when absent.";
    "tuner": Option<TunerRef>, "The component that makes suggestions instead.";
    "earlyStopping": Stops, "When it is ended before its last run.";
} }

section! { "Suggested by a component of the user." IterativeMatrix {
    "kind" = "iterative", "Always `iterative`.";
    "maxIterations": ExactCount | required, "How many iterations.";
    "params": Option<Params>, "What the tuner is told.";
    "seed": Exact, "The beginning of the draws; each search has its own when absent or 0.";
    "concurrency": ExactCount, "Most runs queued or beyond; unlimited when absent.";
    "tuner": Option<TunerRef>, "The component that makes suggestions.";
    "earlyStopping": Stops, "When it is ended before its last run.";
} }

section! { "What is compared or optimized." OptimizationMetric {
    "name": String | required, "The name of the output.", "loss";
    "optimization": Option<OptimizationWord>, "Which value is better; the larger when absent.";
} }

section! { "The param that is the resource of hyperband." OptimizationResource {
    "name": String | required, "The name of the param.", "epochs";
    "type": Option<ResourceType>, "Whether it is cut to a whole number.";
} }

section! { "How promising a point is, from what a Gaussian process expects there." UtilityFunction {
    "acquisitionFunction": Option<AcquisitionFunction>, "The formula; `ucb` when absent.";
    "gaussianProcess": Option<GaussianProcessFields>, "What is assumed between the observations.";
    "kappa": PlainAmount, "How much uncertainty counts; `ucb` needs it.", 2.576;
    "eps": PlainAmount, "The least improvement that counts; `ei` and `poi` need it.", 0.01;
    "numWarmup": Option<WholeNumber>, "Random points that are looked at; 5 when absent.";
    "numIterations": Option<WholeNumber>, "Climbs from the best of them and from random points; 10 when absent.";
} }

section! { "What is assumed between the observations." GaussianProcessFields {
    "kernel": Option<KernelWord>, "How alike near points are; `matern` when absent.";
    "lengthScale": PlainAmount, "Over which distance; 1.0 when absent.", 1.0;
    "nu": PlainAmount, "How smooth matern is; 1.5 when absent.", 1.5;
    "numRestartsOptimizer": Option<WholeNumber>, "Further climbs for the length scale; 0 when absent.";
} }

section! { "A component that makes suggestions." TunerRef {
    "hubRef": String | required, "The component, `name` or `name:tag`.", "my-tuner";
    "presets": Option<Templated<Vec<String>>>, "Names of presets that are merged over it.";
    "queue": Option<String>, "The queue that it goes to.";
    "namespace": Option<String>, "The Kubernetes namespace to run in.";
    "params": Option<Templated<BTreeMap<String, ParamSpec>>>, "Values for its inputs, by name, in their long form.";
} }

section! { "Ends it when a metric is good enough." MetricStopping {
    "kind" = "metric_early_stopping", "Always `metric_early_stopping`.";
    "metric": String | required, "The name of the output.", "loss";
    "value": Amount | required, "What is good enough.", 0.1;
    "optimization": Optimizing | required, "Which value is better.";
    "policy": Option<StoppingPolicy>, "Stops single runs that do badly beside the others instead.";
} }

section! { "Ends it when too many runs have failed." FailureStopping {
    "kind" = "failure_early_stopping", "Always `failure_early_stopping`.";
    "percent": Amount | required, "Of all its runs, in percent.", 30;
} }

section! { "Stops runs that are worse than the median of the others." MedianPolicy {
    "kind" = "median", "Always `median`.";
    "evaluationInterval": Interval, "Every how many observations it is looked at; every one when absent.", 1;
    "minInterval": Exact, "Observations of a run before it may be stopped.";
    "minSamples": Exact, "Runs that must have been observed.";
} }

section! { "Stops runs that are worse than the average of the others." AveragePolicy {
    "kind" = "average", "Always `average`.";
    "evaluationInterval": Interval, "Every how many observations it is looked at; every one when absent.", 1;
    "minInterval": Exact, "Observations of a run before it may be stopped.";
    "minSamples": Exact, "Runs that must have been observed.";
} }

section! { "Stops runs that are further from the best than a percentage of it." DiffPolicy {
    "kind" = "diff", "Always `diff`.";
    "percent": Amount | required, "How far, in percent of the best.", 10;
    "evaluationInterval": Interval | required, "Every how many observations it is looked at.", 1;
    "minInterval": Exact, "Observations of a run before it may be stopped.";
    "minSamples": Exact, "Runs that must have been observed.";
} }

section! { "Stops the worst percentage of the runs." TruncationPolicy {
    "kind" = "truncation", "Always `truncation`.";
    "percent": Amount | required, "How many, in percent.", 50;
    "evaluationInterval": Interval | required, "Every how many observations it is looked at.", 1;
    "minInterval": Exact, "Observations of a run before it may be stopped.";
    "minSamples": Exact, "Runs that must have been observed.";
    "includeSucceeded": Option<Flag>, "Whether runs that have succeeded are ranked too.";
} }

words! { "Which value of a metric is better." OptimizationWord ["maximize", "minimize"] }
/// `maximize` or `minimize`; a number, which Polyaxon takes too, means neither.
#[derive(Debug)]
pub struct Optimizing;

impl JsonSchema for Optimizing {
    fn schema_name() -> Cow<'static, str> {
        "Optimizing".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": ["string", "number"], "pattern": "^(maximize|minimize)$",
            "description": "Which value of a metric is better.", "examples": ["maximize", "minimize"],
        })
    }
}

words! { "The type of a resource." ResourceType ["int", "float"] }
words! { "How promising a point is: upper confidence bound, expected improvement, probability of improvement." AcquisitionFunction ["ucb", "ei", "poi"] }
words! { "How alike near points are." KernelWord ["matern", "rbf"] }
words! { "How suggestions are made." HyperoptAlgorithm ["tpe", "rand", "anneal"] }

/// When a run of a search is stopped because of the others.
#[derive(Debug)]
pub struct StoppingPolicy;

impl JsonSchema for StoppingPolicy {
    fn schema_name() -> Cow<'static, str> {
        "StoppingPolicy".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds = [
            ("median", generator.subschema_for::<MedianPolicy>()),
            ("average", generator.subschema_for::<AveragePolicy>()),
            ("diff", generator.subschema_for::<DiffPolicy>()),
            ("truncation", generator.subschema_for::<TruncationPolicy>()),
        ];
        super::extras::by_kind("When a run is stopped because of the others.", &[], &kinds)
    }
}
