//! `earlyStopping:` of a matrix or a graph: when it ends before its last run. Polyaxon's kinds, and `average`.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extras::by_kind;
use super::matrix::{Optimization, optimization};
use super::reading::{Fault, Fields, flag, number, text};

/// When a pipeline ends before its last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum EarlyStopping {
    /// When too many of its runs have failed.
    Failure {
        /// Of all its runs, in percent.
        percent: f64,
    },
    /// When a metric is good enough; or single runs, when they do badly beside the others.
    Metric {
        /// The name of the output.
        metric: String,
        /// What is good enough.
        value: f64,
        /// Which value is better.
        optimization: Optimization,
        /// Stops single runs instead of the pipeline.
        policy: Option<Policy>,
    },
}

/// When a single run is stopped because of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// What it is compared with.
    pub against: Against,
    /// Every how many observations it is looked at; at least one.
    pub evaluation_interval: u64,
    /// Observations of a run before it may be stopped.
    pub min_interval: u64,
    /// Runs that must have been observed.
    pub min_samples: u64,
}

/// What a run is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Against {
    /// The median of the others.
    Median,
    /// The average of the others.
    Average,
    /// The best, less a percentage of it.
    Diff {
        /// How far, in percent of the best.
        percent: f64,
    },
    /// The worst percentage of all.
    #[serde(rename_all = "camelCase")]
    Truncation {
        /// How many are stopped, in percent.
        percent: f64,
        /// Whether runs that have succeeded are ranked too.
        include_succeeded: bool,
    },
}

impl EarlyStopping {
    /// Reads one rule of `earlyStopping:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let made = match fields.required("kind", text).as_deref() {
            Some("failure_early_stopping") => {
                fields.required("percent", number).map(|percent| Self::Failure { percent })
            }
            Some("metric_early_stopping") => {
                let (metric, value) = (fields.required("metric", text), fields.required("value", number));
                let optimization = match fields.raw("optimization") {
                    Some(Value::Number(number)) => {
                        let message = format!("`{number}` says neither `maximize` nor `minimize`");
                        fields.faults.push(Fault::late("/optimization", message));
                        None
                    }
                    _ => fields.required("optimization", optimization),
                };
                let policy = fields.section("policy", Policy::read);
                let all = metric.zip(value).zip(optimization);
                all.map(|((metric, value), optimization)| Self::Metric { metric, value, optimization, policy })
            }
            Some(other) => {
                let message = format!("`{other}` is no kind of early stopping");
                fields.faults.push(Fault::new("/kind", message));
                None
            }
            None => None,
        };
        fields.finish(made)
    }
}

impl Policy {
    /// Reads `policy:`.
    pub fn read(written: &Value) -> Result<Self, Vec<Fault>> {
        let mut fields = Fields::of(written);
        let against = match fields.required("kind", text).as_deref() {
            Some("median") => Some(Against::Median),
            Some("average") => Some(Against::Average),
            Some("diff") => fields.required("percent", number).map(|percent| Against::Diff { percent }),
            Some("truncation") => {
                let include_succeeded = fields.optional("includeSucceeded", flag).unwrap_or_default();
                let percent = fields.required("percent", number);
                percent.map(|percent| Against::Truncation { percent, include_succeeded })
            }
            Some(other) => {
                fields.faults.push(Fault::new("/kind", format!("`{other}` is no kind of policy")));
                None
            }
            None => None,
        };
        let evaluation_interval = fields.at_least(0, "evaluationInterval").unwrap_or(1);
        let min_interval = fields.at_least(0, "minInterval").unwrap_or(0);
        let min_samples = fields.at_least(0, "minSamples").unwrap_or(0);
        let made = against.map(|against| Self {
            against,
            evaluation_interval: evaluation_interval.max(1),
            min_interval,
            min_samples,
        });
        fields.finish(made)
    }
}

impl JsonSchema for EarlyStopping {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EarlyStopping".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds = [
            ("metric_early_stopping", generator.subschema_for::<super::searches::MetricStopping>()),
            ("failure_early_stopping", generator.subschema_for::<super::searches::FailureStopping>()),
        ];
        by_kind("When it is ended before its last run.", &[], &kinds)
    }
}
