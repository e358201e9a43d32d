//! What the objects of an attempt, taken together, mean for the run.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::pod::{Condition, Pod, PodView, cut};
use super::render::RootKind;
use crate::domain::dispatch::observation::{Cause, DEADLINE_EXCEEDED, Seen};

/// The reason of an attempt whose object somebody else deleted.
pub const JOB_DELETED: &str = "JobDeleted";
/// The reason of an attempt whose pod somebody else deleted.
pub const POD_DELETED: &str = "PodDeleted";

/// What is read of the `status` of a root of any kind.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RootStatus {
    /// What holds of it.
    pub conditions: Vec<Condition>,
    /// Replicas of a deployment that answer.
    pub available_replicas: Option<u64>,
    /// The state of a Ray cluster.
    pub state: Option<String>,
    /// What a Ray job says of itself.
    pub job_status: Option<String>,
    /// What its operator says of a Ray job.
    pub job_deployment_status: Option<String>,
    /// A sentence of a Ray job.
    pub message: Option<String>,
    /// The phase of a Dask cluster.
    pub phase: Option<String>,
}

/// The root of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    /// Its kind.
    pub kind: RootKind,
    /// Its identity in the cluster.
    pub uid: String,
    /// Whether it was told to go.
    pub deleting: bool,
    /// How it is.
    pub status: RootStatus,
}

/// What a root says by itself.
#[derive(Debug, Clone, PartialEq)]
enum RootView {
    Open,
    Running,
    Warning(Cause),
    Succeeded,
    Failed(Cause),
}

/// What is to be reported of an attempt; `None` while there is nothing to say. `patient` is false once the pods' own
/// word was waited for and did not come.
pub fn verdict(root: &Root, pods: &[&Pod], patient: bool) -> Option<Seen> {
    let endless = root.kind.is_endless();
    let views: Vec<(&Pod, PodView)> = pods.iter().map(|pod| (*pod, pod.view())).collect();
    let standing = || views.iter().filter(|(pod, _)| !pod.deleting);
    // A Job of ours has one pod, so that its pod's end is its own; it comes one round trip earlier.
    if root.kind == RootKind::Job && !root.deleting {
        for (_, view) in standing() {
            match view {
                PodView::Succeeded(outputs) => return Some(Seen::Succeeded { outputs: outputs.clone() }),
                PodView::Failed { cause, exit_code, outputs } => {
                    return Some(Seen::Failed {
                        cause: cause.clone(),
                        exit_code: *exit_code,
                        outputs: outputs.clone(),
                    });
                }
                _ => {}
            }
        }
    }
    match view_of(root) {
        RootView::Succeeded => {
            let outputs =
                views.iter().find_map(|(pod, view)| matches!(view, PodView::Succeeded(_)).then(|| pod.outputs()));
            match outputs {
                None if patient && root.kind == RootKind::Job => None,
                outputs => Some(Seen::Succeeded { outputs: outputs.unwrap_or_default() }),
            }
        }
        RootView::Failed(cause) => {
            // What a pod that was told to go says of its end is not why it went, unless the cluster sent it away.
            let own = |pod: &Pod, cause: &Cause| {
                !pod.deleting || !matches!(cause.reason.as_str(), "Killed" | "ExitCode" | "PodFailed")
            };
            let of_pod = views.iter().rev().find_map(|(pod, view)| match view {
                PodView::Failed { cause, exit_code, outputs } if own(pod, cause) => {
                    Some((cause.clone(), *exit_code, outputs.clone()))
                }
                _ => None,
            });
            let deleted = views.iter().any(|(pod, view)| pod.deleting && matches!(view, PodView::Failed { .. }));
            if cause.reason == DEADLINE_EXCEEDED {
                return Some(Seen::Failed { cause, exit_code: None, outputs: Map::new() });
            }
            match of_pod {
                None if patient && !deleted && root.kind == RootKind::Job => None,
                None if root.kind == RootKind::Job => {
                    let message = format!(
                        "its pod was deleted by somebody else, or is gone with its node: restart the run to have it again; Kubernetes says: {}",
                        cause.message
                    );
                    let cause = Cause::new(POD_DELETED, message);
                    Some(Seen::Failed { cause, exit_code: None, outputs: Map::new() })
                }
                None => Some(Seen::Failed { cause, exit_code: None, outputs: Map::new() }),
                Some((cause, exit_code, outputs)) => Some(Seen::Failed { cause, exit_code, outputs }),
            }
        }
        _ if root.deleting => None,
        own => {
            let warning = standing().find_map(|(_, view)| match view {
                PodView::Warning(cause) => Some(cause.clone()),
                PodView::Failed { cause, .. } if endless => Some(cause.clone()),
                _ => None,
            });
            let runs = standing().any(|(_, view)| *view == PodView::Running);
            match (warning, own) {
                // One replica in trouble does not hide that the service is there.
                (Some(_), RootView::Running) if endless && runs => Some(Seen::Running),
                (Some(cause), _) | (None, RootView::Warning(cause)) => Some(Seen::Warning(cause)),
                (None, RootView::Running) => Some(Seen::Running),
                (None, _) if runs && !endless => Some(Seen::Running),
                _ => Some(Seen::Starting),
            }
        }
    }
}

fn view_of(root: &Root) -> RootView {
    let status = &root.status;
    let holds =
        |kind: &str| status.conditions.iter().find(|condition| condition.kind == kind && condition.status == "True");
    let cause = |condition: &Condition, fallback: &str| {
        let reason = condition.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or(fallback);
        Cause::new(reason, cut(condition.message.as_deref().unwrap_or_default()))
    };
    match root.kind {
        RootKind::Job => {
            if holds("Complete").is_some() {
                return RootView::Succeeded;
            }
            match holds("Failed") {
                Some(failed) if failed.reason.as_deref() == Some(DEADLINE_EXCEEDED) => RootView::Failed(Cause::new(
                    DEADLINE_EXCEEDED,
                    "took longer than its termination.timeout and was ended by the cluster: raise it if the run needs more",
                )),
                Some(failed) => RootView::Failed(cause(failed, "JobFailed")),
                None if holds("Suspended").is_some() => RootView::Warning(Cause::new(
                    "Suspended",
                    "somebody suspended its Job in the cluster: resume it there, or stop the run",
                )),
                None => RootView::Open,
            }
        }
        RootKind::Deployment => {
            if status.available_replicas.is_some_and(|available| available > 0) {
                return RootView::Running;
            }
            match holds("ReplicaFailure") {
                Some(failure) => RootView::Warning(cause(failure, "ReplicaFailure")),
                None => RootView::Open,
            }
        }
        RootKind::TfJob | RootKind::PyTorchJob | RootKind::MpiJob => {
            if holds("Succeeded").is_some() {
                RootView::Succeeded
            } else if let Some(failed) = holds("Failed") {
                let late = failed.message.as_deref().is_some_and(|message| message.contains("deadline"));
                RootView::Failed(if late {
                    Cause::new(DEADLINE_EXCEEDED, failed.message.clone().unwrap_or_default())
                } else {
                    cause(failed, "JobFailed")
                })
            } else if let Some(restarting) = holds("Restarting") {
                RootView::Warning(cause(restarting, "Restarting"))
            } else if holds("Running").is_some() {
                RootView::Running
            } else {
                RootView::Open
            }
        }
        RootKind::RayJob => match (status.job_status.as_deref(), status.job_deployment_status.as_deref()) {
            (Some("SUCCEEDED"), _) => RootView::Succeeded,
            (Some("FAILED" | "STOPPED"), _) | (_, Some("Failed")) => RootView::Failed(Cause::new(
                "RayJobFailed",
                cut(status.message.as_deref().unwrap_or("the Ray job failed")),
            )),
            (Some("RUNNING"), _) | (_, Some("Running")) => RootView::Running,
            _ => RootView::Open,
        },
        RootKind::RayCluster => match status.state.as_deref() {
            Some("ready") => RootView::Running,
            Some("failed") => {
                RootView::Warning(Cause::new("RayClusterFailed", "the Ray operator says that the cluster failed"))
            }
            _ => RootView::Open,
        },
        RootKind::DaskCluster => match status.phase.as_deref() {
            Some("Running") => RootView::Running,
            Some("Error") => {
                RootView::Warning(Cause::new("DaskClusterFailed", "the Dask operator says that the cluster failed"))
            }
            _ => RootView::Open,
        },
    }
}

/// What is said of an attempt whose object is gone although nobody of ours deleted it.
pub fn deleted(name: &str, kind: RootKind) -> Seen {
    let (_, _, kind, _) = kind.api();
    Seen::Stopped(Cause::new(
        JOB_DELETED,
        format!(
            "somebody else deleted {kind} {name} in the cluster, and its pods with it; restart the run to have it again"
        ),
    ))
}

/// Reads the status of an object; one that cannot be read is as if it were not there yet.
pub fn root_status(status: Option<&Value>) -> RootStatus {
    status.and_then(|status| RootStatus::deserialize(status).ok()).unwrap_or_default()
}
