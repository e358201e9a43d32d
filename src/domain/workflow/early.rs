//! Early stopping: when a pipeline ends before its last run.

use serde_json::{Map, Value};

use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::spec::EarlyStopping;

/// The rules of one pipeline, and what they have seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Early {
    rules: Vec<EarlyStopping>,
    /// Children that failed, or could not start because others had.
    failed: u64,
    stop: Option<(Status, Cause)>,
}

impl Early {
    pub fn new(rules: Vec<EarlyStopping>) -> Self {
        Self { rules, failed: 0, stop: None }
    }

    /// A child has ended, of a pipeline that has so many children in all.
    pub fn ended(&mut self, status: Status, outputs: Option<&Map<String, Value>>, total: u64) {
        self.failed += u64::from(matches!(status, Status::Failed | Status::UpstreamFailed));
        if self.stop.is_some() {
            return;
        }
        for rule in &self.rules {
            match rule {
                EarlyStopping::Failure { percent } => {
                    let share = self.failed as f64 * 100.0 / total.max(1) as f64;
                    if self.failed > 0 && share >= *percent {
                        let message = format!("{} of {total} have failed, and {percent} % are too many", self.failed);
                        // The documentation of the original says failed, its code stopped.
                        self.stop = Some((Status::Failed, Cause::new("FailureEarlyStopping", message)));
                    }
                }
                EarlyStopping::Metric { metric, value, optimization, policy: None } => {
                    let seen = outputs.and_then(|outputs| outputs.get(metric)).and_then(Value::as_f64);
                    if let Some(seen) = seen.filter(|seen| optimization.score(*seen) >= optimization.score(*value)) {
                        let message = format!("`{metric}` is {seen}, and {value} is good enough");
                        self.stop = Some((Status::Stopped, Cause::new("MetricEarlyStopping", message)));
                    }
                }
                // Policies look at what runs report while they run (`super::curves`).
                EarlyStopping::Metric { policy: Some(_), .. } => {}
            }
            if self.stop.is_some() {
                return;
            }
        }
    }

    /// How the pipeline shall end now, if a rule says so.
    pub fn stop(&self) -> Option<&(Status, Cause)> {
        self.stop.as_ref()
    }
}
