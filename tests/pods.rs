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
            "initContainers": [{ "name": "fetch", "image": "git:2" }],
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

/// Every way for a pod to end badly or to wait, by a name for it.
fn troubles() -> Vec<(&'static str, Pod)> {
    let status = |reason: &str, message: &str| pod(json!({ "phase": "Failed", "reason": reason, "message": message }));
    let disrupted = |reason: &str, message: &str| {
        let condition = json!({ "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message });
        pod(json!({ "phase": "Failed", "conditions": [condition] }))
    };
    let init =
        json!([{ "name": "fetch", "state": { "terminated": { "exitCode": 128, "message": "no such branch" } } }]);
    let side = |phase: &str, code: i32, proxy: Value| {
        let main = json!({ "name": "main", "state": { "terminated": { "exitCode": code } } });
        let mut pod = pod(json!({ "phase": phase, "containerStatuses": [main, { "name": "proxy", "state": proxy }] }));
        pod.spec.restart_policy = Some("Never".to_owned());
        pod
    };
    let waits = |reason: &str, message: &str| {
        let waiting = json!({ "waiting": { "reason": reason, "message": message } });
        pod(json!({ "phase": "Pending", "containerStatuses": main(waiting) }))
    };
    let looping = json!([{
        "name": "main", "restartCount": 5, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        "lastState": { "terminated": { "exitCode": 2, "message": "no such table" } },
    }]);
    let init_waits =
        json!([{ "name": "fetch", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no host" } } }]);
    let placed = |reason: &str, message: &str| {
        let condition = json!({ "type": "PodScheduled", "status": "False", "reason": reason, "message": message });
        pod(json!({ "phase": "Pending", "conditions": [condition] }))
    };
    let silent = json!({ "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown" });
    vec![
        ("its exit code", ended("Failed", json!({ "exitCode": 3 }))),
        ("its exit code, with last words", ended("Failed", json!({ "exitCode": 3, "message": "no file" }))),
        ("its main container, beside a sidecar that goes on", side("Running", 3, json!({ "running": {} }))),
        ("out of memory", ended("Failed", json!({ "exitCode": 137, "reason": "OOMKilled" }))),
        ("killed at once", ended("Failed", json!({ "exitCode": 137 }))),
        ("told to go", ended("Failed", json!({ "exitCode": 143 }))),
        (
            "no such program",
            ended("Failed", json!({ "exitCode": 128, "reason": "StartError", "message": "exec: nope" })),
        ),
        ("evicted by its node", status("Evicted", "The node was low on resource: memory.")),
        ("evicted by somebody", disrupted("EvictionByEvictionAPI", "Eviction API: evicting")),
        ("not taken by its node", status("OutOfmemory", "Node didn't have enough resource: memory")),
        ("its node shut down", status("NodeShutdown", "Pod was rejected as the node is shutting down")),
        ("its node is tainted", disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")),
        (
            "displaced by the scheduler",
            disrupted("PreemptionByScheduler", "preempting to accommodate a higher priority pod"),
        ),
        ("its init container", pod(json!({ "phase": "Failed", "initContainerStatuses": init }))),
        ("its sidecar", side("Failed", 0, json!({ "terminated": { "exitCode": 2, "message": "port taken" } }))),
        ("waits for its image", waits("ErrImagePull", "not found")),
        ("waits for its image, later", waits("ImagePullBackOff", "Back-off pulling image")),
        (
            "waits for the image of an init container",
            pod(json!({ "phase": "Pending", "initContainerStatuses": init_waits })),
        ),
        ("waits, no name of an image", waits("InvalidImageName", "couldn't parse image name")),
        ("waits for a secret", waits("CreateContainerConfigError", "secret \"nope\" not found")),
        ("waits for its container", waits("CreateContainerError", "no command specified")),
        ("starts again and again", pod(json!({ "phase": "Running", "containerStatuses": looping }))),
        ("waits for a node", placed("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu")),
        ("waits for a gate", placed("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")),
        ("its node is silent", pod(json!({ "phase": "Running", "conditions": [silent] }))),
    ]
}

#[test]
fn every_trouble_of_a_pod_has_a_reason_and_says_what_to_do() {
    let mut table = String::new();
    for (what, pod) in troubles() {
        let fails = if matches!(pod.view(), PodView::Failed { .. }) { "failed" } else { "warning" };
        let cause = cause(&pod);
        table += &format!("{what}: {fails} {}\n    {}\n", cause.reason, cause.message);
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_time_alone_mends_is_no_trouble() {
    for reason in ["ContainerCreating", "PodInitializing"] {
        let waiting = main(json!({ "waiting": { "reason": reason } }));
        assert_eq!(pod(json!({ "phase": "Pending", "containerStatuses": waiting })).view(), PodView::Starting);
    }
    // A main container that is started again has not ended, whatever it ended with.
    let mut again =
        pod(json!({ "phase": "Running", "containerStatuses": main(json!({ "terminated": { "exitCode": 3 } })) }));
    again.spec.restart_policy = Some("OnFailure".to_owned());
    assert_eq!(again.view(), PodView::Starting);
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
