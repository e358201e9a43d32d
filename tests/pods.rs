//! What states of pods and their owners mean for a run, as a table: no cluster needed.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tidegate::domain::dispatch::observation::{Cause, Seen};
use tidegate::domain::kubernetes::pod::{Pod, PodView};
use tidegate::domain::kubernetes::render::RootKind;
use tidegate::domain::kubernetes::verdict::{Root, root_status, verdict};

fn pod(status: Value) -> Pod {
    Pod {
        name: "pod".into(),
        deleting: false,
        spec: serde_json::from_value(json!({
            "nodeName": "n1",
            "containers": [{ "name": "main", "image": "x:1", "resources": { "limits": { "memory": "256Mi" } } }],
        }))
        .unwrap(),
        status: serde_json::from_value(status).unwrap(),
    }
}

fn main(state: Value) -> Value {
    json!([{ "name": "main", "state": state }])
}

fn ended(phase: &str, end: Value) -> Pod {
    pod(json!({ "phase": phase, "containerStatuses": main(json!({ "terminated": end })) }))
}

fn cause(pod: &Pod) -> Cause {
    match pod.view() {
        PodView::Failed { cause, .. } | PodView::Warning(cause) => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_way_to_end_badly_has_a_reason_and_says_what_to_do() {
    let status = |reason: &str| pod(json!({ "phase": "Failed", "reason": reason, "message": "said" }));
    let disrupted = |reason: &str| {
        let condition = json!({ "type": "DisruptionTarget", "status": "True", "reason": reason, "message": "said" });
        pod(json!({ "phase": "Failed", "conditions": [condition] }))
    };
    let init = json!([{ "name": "fetch", "state": { "terminated": { "exitCode": 128 } } }]);
    let side = json!([
        { "name": "main", "state": { "terminated": { "exitCode": 0 } } },
        { "name": "proxy", "state": { "terminated": { "exitCode": 2 } } },
    ]);
    for (pod, reason, says) in [
        (ended("Failed", json!({ "exitCode": 3 })), "ExitCode", "tidegate ops logs"),
        (
            ended("Failed", json!({ "exitCode": 3, "message": "no file" })),
            "ExitCode",
            "code 3. Its last words: no file",
        ),
        (ended("Failed", json!({ "exitCode": 137, "reason": "OOMKilled" })), "OOMKilled", "limit of 256Mi: raise"),
        (ended("Failed", json!({ "exitCode": 137 })), "Killed", "compare resources.limits.memory"),
        (ended("Failed", json!({ "exitCode": 143 })), "Killed", "maxRetries"),
        (ended("Failed", json!({ "exitCode": 128, "reason": "StartError" })), "CannotStart", "check `command`"),
        (status("Evicted"), "Evicted", "resources.requests"),
        (status("OutOfmemory"), "OutOfmemory", "placed anew"),
        (status("NodeShutdown"), "NodeLost", "another node"),
        (disrupted("PreemptionByScheduler"), "Preempted", "maxRetries"),
        (disrupted("DeletionByTaintManager"), "NodeLost", "maxRetries"),
        (
            pod(json!({ "phase": "Failed", "initContainerStatuses": init })),
            "InitContainerFailed",
            "check what `init` names",
        ),
        (pod(json!({ "phase": "Failed", "containerStatuses": side })), "SidecarFailed", "end with 0"),
    ] {
        let cause = cause(&pod);
        assert_eq!(cause.reason, reason, "{}", cause.message);
        assert!(cause.message.contains(says), "{reason} says: {}", cause.message);
    }
}

#[test]
fn every_way_to_wait_has_a_reason_and_says_what_to_do() {
    let waits = |reason: &str| {
        pod(
            json!({ "phase": "Pending", "containerStatuses": main(json!({ "waiting": { "reason": reason, "message": "said" } })) }),
        )
    };
    for (reason, shown, says) in [
        ("ErrImagePull", "ImagePullBackOff", "imagePullSecrets"),
        ("ImagePullBackOff", "ImagePullBackOff", "imagePullSecrets"),
        ("InvalidImageName", "InvalidImageName", "Correct its `image`"),
        ("CreateContainerConfigError", "CreateContainerConfigError", "Make that secret"),
        ("CreateContainerError", "CreateContainerError", "Check its `command`"),
        ("CrashLoopBackOff", "CrashLoopBackOff", "stop the run to correct it"),
    ] {
        let cause = cause(&waits(reason));
        assert_eq!(cause.reason, shown);
        assert!(cause.message.contains(says), "{reason} says: {}", cause.message);
    }
    assert_eq!(waits("ContainerCreating").view(), PodView::Starting);
    let nowhere =
        json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes" });
    let nowhere = cause(&pod(json!({ "phase": "Pending", "conditions": [nowhere] })));
    assert!(
        nowhere.reason == "Unschedulable" && nowhere.message.contains("0/3 nodes. It starts by itself"),
        "{nowhere:?}"
    );
}

#[test]
fn outputs_are_the_last_words_when_they_are_a_mapping() {
    let told = |message: &str| ended("Succeeded", json!({ "exitCode": 0, "message": message })).view();
    let PodView::Succeeded(outputs) = told(r#"{"loss": 0.5}"#) else { panic!() };
    assert_eq!(outputs["loss"], 0.5);
    for other in ["loss: 0.5", "[1]", "", "{"] {
        assert_eq!(told(other), PodView::Succeeded(serde_json::Map::new()), "{other}");
    }
    // What sidecars do after the end of the work changes nothing.
    let busy = pod(json!({ "phase": "Running", "containerStatuses": [
        { "name": "main", "state": { "terminated": { "exitCode": 0, "message": "{\"x\": 1}" } } },
        { "name": "proxy", "state": { "running": {} } },
    ]}));
    assert!(matches!(busy.view(), PodView::Succeeded(outputs) if outputs["x"] == 1));
}

#[test]
fn the_owner_and_its_pods_together_make_the_verdict() {
    let root =
        |kind, status: Value| Root { kind, uid: "u".into(), deleting: false, status: root_status(Some(&status)) };
    let condition = |kind: &str, reason: &str| json!({ "conditions": [{ "type": kind, "status": "True", "reason": reason, "message": "m" }] });
    let reason = |seen: Option<Seen>| match seen {
        Some(Seen::Failed { cause, .. } | Seen::Warning(cause) | Seen::Stopped(cause)) => cause.reason,
        other => panic!("{other:?}"),
    };
    let failed = ended("Failed", json!({ "exitCode": 9 }));
    // The pod's word comes first, and says more.
    let job = root(RootKind::Job, condition("Failed", "BackoffLimitExceeded"));
    assert_eq!(reason(verdict(&job, &[&failed], true)), "ExitCode");
    // Its absence is waited for; then somebody took it away.
    assert_eq!(verdict(&job, &[], true), None);
    assert_eq!(reason(verdict(&job, &[], false)), "PodDeleted");
    let late = root(RootKind::Job, condition("Failed", "DeadlineExceeded"));
    assert_eq!(reason(verdict(&late, &[], true)), "DeadlineExceeded");
    assert_eq!(reason(verdict(&root(RootKind::Job, condition("Suspended", "x")), &[], true)), "Suspended");
    // A service does not fail by a crash of one of its pods.
    let service = root(RootKind::Deployment, json!({}));
    assert_eq!(reason(verdict(&service, &[&failed], true)), "ExitCode");
    assert!(matches!(verdict(&service, &[&failed], true), Some(Seen::Warning(_))));
    let up = root(RootKind::Deployment, json!({ "availableReplicas": 1 }));
    assert_eq!(verdict(&up, &[], true), Some(Seen::Running));
    for (kind, status, seen) in [
        (RootKind::TfJob, condition("Succeeded", "x"), "Succeeded"),
        (RootKind::MpiJob, condition("Failed", "x"), "Failed"),
        (RootKind::PyTorchJob, condition("Restarting", "x"), "Warning"),
        (RootKind::RayJob, json!({ "jobStatus": "FAILED", "message": "m" }), "Failed"),
        (RootKind::RayJob, json!({ "jobStatus": "RUNNING" }), "Running"),
        (RootKind::RayCluster, json!({ "state": "failed" }), "Warning"),
        (RootKind::DaskCluster, json!({ "phase": "Running" }), "Running"),
        (RootKind::DaskCluster, json!({}), "Starting"),
    ] {
        let said = format!("{:?}", verdict(&root(kind, status), &[], true).unwrap());
        assert!(said.starts_with(seen), "{kind:?}: {said}");
    }
}
