//! Where fields stand: an operation around a field of each type, and the types that are treated as a whole.

use serde_json::{Value, json};

/// Sections whose fields are shown by tests of their own, with all fields that they have.
pub const ELSEWHERE: [(&str, &str, &str); 27] = [
    ("AnySchedule", "tests/pipelines/schedules.rs", "kind"),
    ("CronSchedule", "tests/pipelines/schedules.rs", "kind cron timeZone startAt endAt maxRuns dependsOnPast catchup"),
    ("IntervalSchedule", "tests/pipelines/schedules.rs", "kind frequency startAt endAt maxRuns dependsOnPast catchup"),
    ("DatetimeSchedule", "tests/pipelines/schedules.rs", "kind startAt"),
    ("Matrix", "tests/matrix.rs", "kind"),
    ("MappingMatrix", "tests/matrix.rs", "kind values concurrency earlyStopping"),
    ("GridMatrix", "tests/matrix.rs", "kind params numRuns concurrency earlyStopping"),
    ("RandomMatrix", "tests/matrix.rs", "kind params numRuns seed concurrency earlyStopping"),
    (
        "HyperbandMatrix",
        "tests/matrix.rs",
        "kind params maxIterations eta resource metric resume seed concurrency tuner earlyStopping",
    ),
    (
        "BayesMatrix",
        "tests/matrix.rs",
        "kind params numInitialRuns maxIterations metric utilityFunction seed concurrency tuner earlyStopping",
    ),
    (
        "HyperoptMatrix",
        "tests/matrix.rs",
        "kind algorithm params numRuns maxIterations metric seed concurrency tuner earlyStopping",
    ),
    ("IterativeMatrix", "tests/matrix.rs", "kind maxIterations params seed concurrency tuner earlyStopping"),
    ("Distribution", "tests/matrix.rs", "kind value"),
    ("OptimizationResource", "tests/matrix.rs", "name type"),
    ("OptimizationMetric", "tests/matrix.rs", "name optimization"),
    ("TunerRef", "tests/pipelines/sweeps.rs", "hubRef presets queue namespace params"),
    ("UtilityFunction", "tests/matrix.rs", "acquisitionFunction gaussianProcess kappa eps numWarmup numIterations"),
    ("GaussianProcessFields", "tests/matrix.rs", "kernel lengthScale nu numRestartsOptimizer"),
    ("EarlyStopping", "tests/pipelines/sweeps.rs", "kind"),
    ("MetricStopping", "tests/pipelines/sweeps.rs", "kind metric value optimization policy"),
    ("FailureStopping", "tests/pipelines/sweeps.rs", "kind percent"),
    ("StoppingPolicy", "tests/pipelines/sweeps.rs", "kind"),
    ("MedianPolicy", "tests/pipelines/sweeps.rs", "kind evaluationInterval minInterval minSamples"),
    ("AveragePolicy", "tests/pipelines/sweeps.rs", "kind evaluationInterval minInterval minSamples"),
    ("DiffPolicy", "tests/pipelines/sweeps.rs", "kind percent evaluationInterval minInterval minSamples"),
    (
        "TruncationPolicy",
        "tests/pipelines/sweeps.rs",
        "kind percent evaluationInterval minInterval minSamples includeSucceeded",
    ),
    ("Event", "tests/pipelines/dags.rs", "kinds ref"),
];

/// Types that have the fields of another one, in the same meaning.
pub const ALIKE: [(&str, &str); 3] = [("NotifierRun", "JobRun"), ("TunerRun", "JobRun"), ("CleanerRun", "JobRun")];

/// Objects of Kubernetes whose fields are passed through as they are, where they may stand.
pub const PASSED: [(&str, &str); 12] = [
    ("Volume", "/component/run/volumes/0"),
    ("Affinity", "/component/run/environment/affinity"),
    ("Toleration", "/component/run/environment/tolerations/0"),
    ("HostAlias", "/component/run/environment/hostAliases/0"),
    ("SecurityContext", "/component/run/environment/securityContext"),
    ("DnsConfig", "/component/run/environment/dnsConfig"),
    ("PodFailurePolicy", "/termination/podFailurePolicy"),
    ("ElasticPolicy", "pytorchjob/component/run/elasticPolicy"),
    ("SchedulingPolicy", "tfjob/component/run/schedulingPolicy"),
    ("RayAutoscaler", "raycluster/component/run/autoscalerOptions"),
    ("ResourceRequirements", "raycluster/component/run/autoscalerOptions/resources"),
    ("ResourceRequests", "/component/run/container/resources"),
];

/// Parts of sections that no agent does anything with: each field is said with its section.
pub const IGNORED: [(&str, &str); 7] = [
    ("Culling", "/termination/culling"),
    ("Probe", "/termination/probe"),
    ("ExecAction", "/termination/probe/exec"),
    ("HttpAction", "/termination/probe/http"),
    ("SidecarSettings", "/plugins/sidecar"),
    ("Notification", "/plugins/notifications/0"),
    ("MountPaths", "/mount/0"),
];

/// Any value of a field that is passed through.
pub fn sample(field: &str) -> Value {
    match field {
        "stdin" | "stdinOnce" | "tty" => json!(true),
        "envFrom" | "ports" | "volumeMounts" | "volumeDevices" | "resizePolicy" | "restartPolicyRules" | "rules"
        | "claims" => {
            json!([{"name": "x"}])
        }
        "limits" | "requests" => json!({"cpu": "7"}),
        "resources" => json!({"limits": {"cpu": "7"}}),
        "standalone" => json!(true),
        "rdvzConf" | "Metrics" => json!([{"a": "b"}]),
        "minReplicas"
        | "maxReplicas"
        | "rdvzPort"
        | "nProcPerNode"
        | "maxRestarts"
        | "minAvailable"
        | "minResources"
        | "scheduleTimeoutSeconds" => json!(7),
        _ => json!("Passed"),
    }
}

/// An operation in which a field of a type can stand, and where.
pub fn around(of: &str, field: &str) -> (Value, String) {
    let op = |more: Value, run: Value| {
        let mut operation = json!({"version": 1.1, "kind": "operation", "component": {"run": run}});
        operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        operation
    };
    let job = || json!({"kind": "job", "container": {"image": "a", "command": ["c"]}});
    let with_init = |init: Value| {
        let mut run = job();
        run["init"] = json!([init]);
        op(json!({}), run)
    };
    let with_input = |params: Value, input: Value| {
        let mut operation = op(json!({"params": params}), job());
        operation["component"]["inputs"] = json!([input]);
        // What templates can know of an input.
        operation["component"]["run"]["container"]["args"] =
            json!(["{{ params.lr.as_arg }} {{ lr }} {{ params.lr.connection }} {{ params.lr.type }}"]);
        operation
    };
    let pod = || json!({"container": {"image": "a"}});
    let distributed = |kind: &str| match kind {
        "raycluster" => {
            json!({"kind": kind, "entrypoint": "python a.py", "head": pod(), "autoscalerOptions": {"resources": {}}})
        }
        // Without a most there is no autoscaler, and a least says nothing.
        "daskcluster" => json!({"kind": kind, "worker": pod(), "scheduler": pod(), "maxReplicas": 5}),
        "mpijob" => json!({"kind": kind, "launcher": pod()}),
        "pytorchjob" => json!({"kind": kind, "master": pod(), "elasticPolicy": {}}),
        _ => json!({"kind": kind, "chief": pod(), "schedulingPolicy": {}}),
    };
    let at = |pointer: &str| pointer.to_owned();
    if let Some((_, pointer)) = PASSED.iter().find(|(name, _)| *name == of) {
        let (kind, pointer) = pointer.split_at(pointer.find('/').unwrap());
        let mut run = if kind.is_empty() { job() } else { distributed(kind) };
        if kind.is_empty() {
            run["volumes"] = json!([{"name": "v"}]);
            run["environment"] = json!({"affinity": {}, "tolerations": [{}], "hostAliases": [{"ip": "1.2.3.4"}], "securityContext": {}, "dnsConfig": {}});
            run["container"]["resources"] = json!({});
        }
        return (op(json!({"termination": {"podFailurePolicy": {"rules": []}}}), run), at(pointer));
    }
    if let Some((_, pointer)) = IGNORED.iter().find(|(name, _)| *name == of) {
        let sections = json!({"mount": [{}], "plugins": {"sidecar": {}, "notifications": [{"connections": ["a"]}]},
            "termination": {"culling": {}, "probe": {"exec": {}, "http": {"port": 80}}}});
        return (op(sections, job()), at(pointer));
    }
    match of {
        "Operation" if field == "patchStrategy" => {
            (op(json!({"runPatch": {"container": {"command": ["z"]}}}), job()), at(""))
        }
        "InlineOperation" if field == "patchStrategy" => {
            let patched = json!({"name": "b", "dagRef": "same", "runPatch": {"container": {"command": ["z"]}}});
            let run = json!({"kind": "dag", "operations": [patched], "components": [{"name": "same", "run": job()}]});
            (op(json!({}), run), at("/component/run/operations/0"))
        }
        "JoinedParam" => {
            let param = match field {
                "contextOnly" => json!({"value": "outputs.x"}),
                _ => json!({"value": "outputs.x", "contextOnly": true}),
            };
            let join = json!({"query": "status:succeeded", "params": {"x": param}});
            (op(json!({ "joins": [join] }), job()), at("/joins/0/params/x"))
        }
        "ParamSpec" if field == "contextOnly" => {
            (op(json!({"params": {"other": {"value": 1}}}), job()), at("/params/other"))
        }
        "Io" if field == "delayValidation" => {
            let mut operation = op(json!({}), job());
            operation["component"]["inputs"] = json!([{"name": "lr", "type": "float"}]);
            (operation, at("/component/inputs/0"))
        }
        "Io" if field == "toInit" => {
            let mut operation = op(json!({}), job());
            operation["component"]["inputs"] = json!([{"name": "f", "type": "file", "value": {"content": "a"}}]);
            (operation, at("/component/inputs/0"))
        }
        "Init" if field == "path" => (with_init(json!({"file": {"content": "a"}})), at("/component/run/init/0")),
        "Operation" => (op(json!({}), job()), at("")),
        "InlineComponent" => (op(json!({}), job()), at("/component")),
        "Cache" => {
            let mut operation = op(json!({"cache": {}}), job());
            operation["component"]["inputs"] = json!([{"name": "lr", "value": 1}, {"name": "note", "value": 2}]);
            (operation, at("/cache"))
        }
        "Termination" => (op(json!({"termination": {}}), job()), at("/termination")),
        // Sandboxes and ssh are for services.
        "Plugins" => (
            op(json!({"plugins": {}}), json!({"kind": "service", "container": {"image": "a", "command": ["c"]}})),
            at("/plugins"),
        ),
        "Template" => (op(json!({"template": {}}), job()), at("/template")),
        "Hook" => (op(json!({"hooks": [{"hubRef": "train"}]}), job()), at("/hooks/0")),
        "Build" if field == "patchStrategy" => {
            let build = json!({"hubRef": "train", "runPatch": {"container": {"image": "other"}}});
            (op(json!({"build": build}), job()), at("/build"))
        }
        "Build" => (op(json!({"build": {"hubRef": "train"}}), job()), at("/build")),
        "Join" => (op(json!({"joins": [{"query": "status:succeeded", "params": {}}]}), job()), at("/joins/0")),
        "ParamSpec" => {
            (with_input(json!({"lr": {"value": 0.1}}), json!({"name": "lr", "type": "float"})), at("/params/lr"))
        }
        "Io" => {
            (with_input(json!({}), json!({"name": "lr", "type": "str", "value": "abc"})), at("/component/inputs/0"))
        }
        "JobRun" => (op(json!({}), job()), at("/component/run")),
        "ServiceRun" => (
            op(json!({}), json!({"kind": "service", "container": {"image": "a", "command": ["c"]}})),
            at("/component/run"),
        ),
        "TfJobRun" => (op(json!({}), distributed("tfjob")), at("/component/run")),
        "PytorchJobRun" => (op(json!({}), distributed("pytorchjob")), at("/component/run")),
        "MpiJobRun" => (op(json!({}), distributed("mpijob")), at("/component/run")),
        "RayClusterRun" => (op(json!({}), distributed("raycluster")), at("/component/run")),
        "DaskClusterRun" => (op(json!({}), distributed("daskcluster")), at("/component/run")),
        "Replica" => (op(json!({}), distributed("tfjob")), at("/component/run/chief")),
        "RayReplica" => {
            let mut run = distributed("raycluster");
            run["workers"] = json!({"w": pod()});
            (op(json!({}), run), at("/component/run/workers/w"))
        }
        "DagRun" | "InlineOperation" => {
            let run = json!({"kind": "dag", "operations": [{"name": "a", "dagRef": "same"}, {"name": "b", "dagRef": "same"}],
                "components": [{"name": "same", "run": job()}]});
            let place = if of == "DagRun" { "/component/run" } else { "/component/run/operations/1" };
            (op(json!({}), run), at(place))
        }
        "Environment" => {
            let mut run = job();
            run["environment"] = json!({});
            (op(json!({}), run), at("/component/run/environment"))
        }
        "Init" => (with_init(json!({})), at("/component/run/init/0")),
        "Git" => (with_init(json!({"git": {"url": "u"}})), at("/component/run/init/0/git")),
        "Artifacts" => (with_init(json!({"artifacts": {}})), at("/component/run/init/0/artifacts")),
        "Tensorboard" => (with_init(json!({"tensorboard": {}})), at("/component/run/init/0/tensorboard")),
        "FileToWrite" => (with_init(json!({"file": {"content": "a"}})), at("/component/run/init/0/file")),
        // Some of its fields mean something beside others only.
        "Dockerfile" => (
            with_init(json!({"dockerfile": {"image": "a", "uid": 1, "gid": 2, "workdirPath": "p"}})),
            at("/component/run/init/0/dockerfile"),
        ),
        "Container" => (op(json!({}), job()), at("/component/run/container")),
        "EnvVar" => {
            let mut run = job();
            run["container"]["env"] = json!([{"name": "A"}]);
            (op(json!({}), run), at("/component/run/container/env/0"))
        }
        other => panic!("nothing says where a field of {other} stands"),
    }
}
