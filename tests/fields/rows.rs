//! The rows: for each field a value, and how its effect shows.

use serde_json::{Value, json};

use crate::places::sample;
use Shows::*;

/// How the effect of a field shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shows {
    /// The compiled workflow is another one: what the dispatcher and the conductor go by.
    Compiled,
    /// The objects in a cluster are others.
    Object,
    /// The objects in a cluster are others, and a local agent is warned to do nothing with it.
    ObjectOnly,
    /// No agent does anything with it, and both say so.
    Nowhere,
    /// A value that breaks it is refused.
    Refuses,
    /// A run fails and says which connection or store of artifacts is missing.
    NeedsStore,
    /// It is recognised for the cache by its value.
    Cached,
    /// It is told that it stands in no graph.
    NeedsGraph,
    /// It is told that it stands in a graph.
    NotInGraph,
    /// What was refused without it is accepted.
    Allows,
    /// Compiled for a part that may not run yet, of which a warning tells then.
    Kept,
    /// It is for people, as its description says.
    People,
}

/// A field, a value for it, and how its effect shows.
pub struct Row {
    pub of: &'static str,
    pub field: &'static str,
    pub value: Value,
    pub shows: Shows,
}

/// A row for each field that is not passed through as it is.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut all = |of: &'static str, list: Vec<(&'static str, Value, Shows)>| {
        rows.extend(list.into_iter().map(|(field, value, shows)| Row { of, field, value, shows }));
    };
    let hub = |more: Value| {
        let mut map = json!({"hubRef": "other"});
        map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        map
    };
    let shared = || {
        vec![
            ("name", json!("named"), Compiled),
            ("description", json!("x"), People),
            ("tags", json!(["x"]), Compiled),
            ("presets", json!(["spot"]), Compiled),
            ("queue", json!("there/other"), Compiled),
            ("namespace", json!("x"), Nowhere),
            ("cache", json!({}), Cached),
            ("termination", json!({"timeout": 5}), Compiled),
            ("plugins", json!({"logLevel": "DEBUG"}), Object),
            ("build", hub(json!({})), Compiled),
            ("hooks", json!([hub(json!({}))]), Compiled),
            ("isApproved", json!(false), Compiled),
            ("cost", json!(2), Compiled),
            ("mount", json!(["a:b"]), Nowhere),
            ("template", json!({"enabled": true}), Compiled),
        ]
    };
    let mut operation = shared();
    operation.extend([
        ("params", json!({"x": {"value": 1, "contextOnly": true, "toEnv": "X"}}), Object),
        ("schedule", json!({"kind": "cron", "cron": "0 2 * * *"}), Compiled),
        ("events", json!([{"kinds": ["run_status_running"], "ref": "runs.fcc462d764104eb698d3cca509f34154"}]), Kept),
        ("matrix", json!({"kind": "mapping", "values": [{"a": 1}]}), Compiled),
        ("joins", json!([{"query": "status:succeeded", "params": {}}]), Kept),
        ("dependencies", json!(["a"]), NeedsGraph),
        ("trigger", json!("all_done"), NeedsGraph),
        ("conditions", json!("{{ true }}"), Kept),
        ("skipOnUpstreamSkip", json!(true), NeedsGraph),
        ("hubRef", json!("other"), Compiled),
        ("dagRef", json!("a"), Refuses),
        ("urlRef", json!("https://example.org/a.yaml"), Refuses),
        ("pathRef", json!("../../../components/other.yaml"), Compiled),
        ("component", json!({"run": {"kind": "job", "container": {"image": "b"}}}), Object),
        ("patchStrategy", json!("replace"), Compiled),
        ("isPreset", json!(true), Compiled),
        ("runPatch", json!({"container": {"args": ["x"]}}), Object),
    ]);
    all("Operation", operation);
    let mut component = shared();
    component.extend([
        ("inputs", json!([{"name": "x", "value": 1, "toEnv": "X"}]), Object),
        ("outputs", json!([{"name": "x", "delayValidation": false}]), Refuses),
        ("run", json!({"kind": "service", "container": {"image": "a"}}), Object),
    ]);
    all("InlineComponent", component);
    let mut node = shared();
    node.retain(|(field, _, _)| !["name", "template", "isApproved", "cache", "plugins"].contains(field));
    node.extend([
        ("name", json!("renamed"), Compiled),
        ("isApproved", json!(false), Compiled),
        ("cache", json!({}), Compiled),
        ("plugins", json!({"logLevel": "DEBUG"}), Compiled),
        ("template", json!({"description": "x"}), NotInGraph),
        ("params", json!({"x": {"value": 1, "contextOnly": true}}), Compiled),
        ("schedule", json!({"kind": "cron", "cron": "0 2 * * *"}), NotInGraph),
        ("events", json!([{"kinds": ["run_status_running"], "ref": "ops.a"}]), Compiled),
        ("matrix", json!({"kind": "mapping", "values": [{"a": 1}]}), Compiled),
        ("joins", json!([{"query": "status:succeeded", "params": {}}]), Kept),
        ("dependencies", json!(["a"]), Compiled),
        ("trigger", json!("all_done"), Compiled),
        ("conditions", json!("{{ true }}"), Compiled),
        ("skipOnUpstreamSkip", json!(true), Compiled),
        ("hubRef", json!("other"), Compiled),
        ("dagRef", json!("nothing"), Refuses),
        ("urlRef", json!("https://example.org/a.yaml"), Refuses),
        ("pathRef", json!("../../../components/other.yaml"), Compiled),
        ("component", json!({"run": {"kind": "job", "container": {"image": "b"}}}), Compiled),
        ("patchStrategy", json!("replace"), Compiled),
        ("isPreset", json!(true), NotInGraph),
        ("runPatch", json!({"container": {"args": ["x"]}}), Compiled),
    ]);
    all("InlineOperation", node);
    all(
        "Cache",
        vec![
            ("disable", json!(true), Cached),
            ("ttl", json!(60), Cached),
            ("io", json!(["lr"]), Cached),
            ("sections", json!(["containers"]), Cached),
        ],
    );
    all(
        "Termination",
        vec![
            ("maxRetries", json!(3), Compiled),
            ("ttl", json!(60), Object),
            ("timeout", json!(60), Object),
            ("culling", json!({"timeout": 5}), Nowhere),
            ("probe", json!({"exec": {"command": ["x"]}}), Nowhere),
            ("podFailurePolicy", json!({"rules": []}), ObjectOnly),
        ],
    );
    all(
        "Plugins",
        vec![
            ("auth", json!(true), Nowhere),
            ("docker", json!(true), Object),
            ("shm", json!(false), ObjectOnly),
            ("tmux", json!(true), Nowhere),
            ("sandbox", json!(true), Nowhere),
            ("ssh", json!(true), Nowhere),
            ("mountArtifactsStore", json!(true), Nowhere),
            ("collectArtifacts", json!(true), Nowhere),
            ("collectLogs", json!(false), Nowhere),
            ("collectResources", json!(true), Nowhere),
            ("syncStatuses", json!(false), Nowhere),
            ("autoResume", json!(true), Nowhere),
            ("logLevel", json!("DEBUG"), Object),
            ("externalHost", json!(true), Nowhere),
            ("sidecar", json!({"image": "a"}), Nowhere),
            ("notifications", json!([{"connections": ["slack"]}]), Nowhere),
        ],
    );
    all(
        "Template",
        vec![
            ("enabled", json!(true), Compiled),
            ("description", json!("x"), People),
            ("fields", json!(["params.lr"]), People),
        ],
    );
    let part = |of: &'static str| {
        let mut list = vec![
            ("connection", json!("x"), Compiled),
            ("presets", json!(["spot"]), Compiled),
            ("queue", json!("there/other"), Compiled),
            ("namespace", json!("x"), Compiled),
            ("params", json!({"a": {"value": 1, "contextOnly": true}}), Compiled),
            ("hubRef", json!("other"), Compiled),
        ];
        list.extend(match of {
            "Hook" => vec![
                ("trigger", json!("failed"), Compiled),
                ("conditions", json!("{{ true }}"), Compiled),
                ("disableDefaults", json!(true), Compiled),
            ],
            _ => vec![
                ("cache", json!({"disable": true}), Compiled),
                ("runPatch", json!({"container": {"args": ["x"]}}), Compiled),
                ("patchStrategy", json!("pre_merge"), Compiled),
            ],
        });
        list
    };
    all("Hook", part("Hook"));
    all("Build", part("Build"));
    all(
        "Join",
        ["query", "sort", "limit", "offset", "params", "ref"]
            .map(|field| {
                let value = match field {
                    "limit" | "offset" => json!(1),
                    "params" => json!({"x": {"value": "outputs.x", "contextOnly": true}}),
                    "query" => json!("status:failed"),
                    _ => json!("created_at"),
                };
                (field, value, if field == "ref" { People } else { Kept })
            })
            .to_vec(),
    );
    all(
        "JoinedParam",
        vec![
            ("value", json!("outputs.y"), Kept),
            ("contextOnly", json!(true), Allows),
            ("connection", json!("store"), Kept),
            ("toInit", json!(true), Kept),
            ("toEnv", json!("X"), Kept),
            ("ref", json!("x"), People),
        ],
    );
    all(
        "ParamSpec",
        vec![
            ("value", json!(0.7), Object),
            ("ref", json!("ops.a"), Refuses),
            ("contextOnly", json!(true), Allows),
            ("connection", json!("data"), Object),
            ("toInit", json!(true), Refuses),
            ("toEnv", json!("LR"), Object),
        ],
    );
    all(
        "Io",
        vec![
            ("name", json!("other"), Compiled),
            ("description", json!("x"), People),
            ("type", json!("bool"), Refuses),
            ("value", json!(0.7), Object),
            ("isOptional", json!(false), Refuses),
            ("isList", json!(true), Refuses),
            ("isFlag", json!(true), Refuses),
            ("argFormat", json!("-l {{ lr }}"), Object),
            ("connection", json!("data"), Object),
            ("toInit", json!(true), Object),
            ("toEnv", json!("LR"), Object),
            ("validation", json!({"minLength": 9}), Refuses),
            ("delayValidation", json!(true), Allows),
            ("options", json!([1, 2]), Refuses),
        ],
    );
    all(
        "IoValidation",
        vec![
            ("gt", json!(12345.5), Refuses),
            ("ge", json!(99999), Refuses),
            ("lt", json!(1), Refuses),
            ("le", json!(1), Refuses),
            ("multipleOf", json!(7), Refuses),
            ("minDigits", json!(9), Refuses),
            ("maxDigits", json!(1), Refuses),
            ("decimalPlaces", json!(0), Refuses),
            ("regex", json!("^x"), Refuses),
            ("minLength", json!(9), Refuses),
            ("maxLength", json!(1), Refuses),
            ("contains", json!("zz"), Refuses),
            ("excludes", json!("b"), Refuses),
            ("options", json!(["zz"]), Refuses),
            ("minItems", json!(9), Refuses),
            ("maxItems", json!(1), Refuses),
            ("keys", json!(["z"]), Refuses),
            ("containsKeys", json!(["z"]), Refuses),
            ("excludesKeys", json!(["a"]), Refuses),
            ("delay", json!(true), Kept),
        ],
    );
    let pod = |of: &'static str| {
        let noted = if of == "job" { ObjectOnly } else { Object };
        vec![
            ("environment", json!({"labels": {"a": "b"}}), noted),
            ("connections", json!(["data"]), NeedsStore),
            ("volumes", json!([{"name": "v", "emptyDir": {}}]), noted),
            ("init", json!([{"git": {"url": "u"}}]), Object),
            ("sidecars", json!([{"image": "b"}]), noted),
            ("container", json!({"image": "b", "command": ["d"]}), Object),
        ]
    };
    all("JobRun", pod("job"));
    let mut service = pod("job");
    service.extend([
        ("ports", json!([80]), ObjectOnly),
        ("rewritePath", json!(true), Nowhere),
        ("isExternal", json!(true), ObjectOnly),
        ("replicas", json!(3), ObjectOnly),
    ]);
    all("ServiceRun", service);
    let mut replica = pod("tfjob");
    replica.push(("replicas", json!(3), Object));
    all("Replica", replica.clone());
    replica.extend([
        ("minReplicas", json!(0), Object),
        ("maxReplicas", json!(9), Object),
        ("rayStartParams", json!({"num-cpus": "1"}), Object),
    ]);
    all("RayReplica", replica);
    all(
        "DagRun",
        vec![
            ("operations", json!([{"name": "z", "dagRef": "same"}]), Compiled),
            ("components", json!([]), Refuses),
            ("environment", json!({"labels": {"a": "b"}}), Compiled),
            ("connections", json!(["data"]), Compiled),
            ("volumes", json!([{"name": "v", "emptyDir": {}}]), Compiled),
            ("concurrency", json!(2), Compiled),
            ("earlyStopping", json!([{"kind": "failure_early_stopping", "percent": 50}]), Compiled),
        ],
    );
    let one = || json!({"container": {"image": "b"}});
    let policy = || ("cleanPodPolicy", json!("All"), Object);
    let gang = || ("schedulingPolicy", json!({"queue": "x"}), Object);
    all(
        "TfJobRun",
        vec![
            policy(),
            gang(),
            ("enableDynamicWorker", json!(true), Object),
            ("successPolicy", json!("AllWorkers"), Object),
            ("chief", one(), Object),
            ("ps", one(), Object),
            ("worker", one(), Object),
            ("evaluator", one(), Object),
        ],
    );
    all(
        "PytorchJobRun",
        vec![
            policy(),
            gang(),
            ("elasticPolicy", json!({"minReplicas": 1}), Object),
            ("nProcPerNode", json!(2), Object),
            ("master", one(), Object),
            ("worker", one(), Object),
        ],
    );
    all(
        "MpiJobRun",
        vec![
            policy(),
            gang(),
            ("slotsPerWorker", json!(2), Object),
            ("launcher", one(), Object),
            ("worker", one(), Object),
        ],
    );
    all(
        "RayClusterRun",
        vec![
            ("entrypoint", json!("python b.py"), Object),
            ("runtimeEnv", json!({"pip": ["x"]}), Object),
            ("metadata", json!({"a": "b"}), Object),
            ("rayVersion", json!("2.9"), Object),
            ("head", one(), Object),
            ("workers", json!({"w": {"container": {"image": "c"}}}), Object),
            ("enableInTreeAutoscaling", json!(true), Object),
            ("autoscalerOptions", json!({"upscalingMode": "Default"}), Object),
        ],
    );
    all(
        "DaskClusterRun",
        vec![
            ("worker", one(), Object),
            ("scheduler", one(), Object),
            ("minReplicas", json!(1), Object),
            ("maxReplicas", json!(2), Object),
        ],
    );
    all(
        "Environment",
        [
            ("labels", json!({"a": "b"})),
            ("annotations", json!({"a": "b"})),
            ("nodeSelector", json!({"a": "b"})),
            ("affinity", json!({"nodeAffinity": {}})),
            ("tolerations", json!([{"key": "a"}])),
            ("nodeName", json!("n")),
            ("serviceAccountName", json!("s")),
            ("hostAliases", json!([{"ip": "1.2.3.4", "hostnames": ["a"]}])),
            ("securityContext", json!({"runAsUser": 1})),
            ("imagePullSecrets", json!(["s"])),
            ("hostNetwork", json!(true)),
            ("hostPID", json!(true)),
            ("dnsPolicy", json!("Default")),
            ("dnsConfig", json!({"searches": ["a"]})),
            ("schedulerName", json!("s")),
            ("priorityClassName", json!("p")),
            ("priority", json!(5)),
            ("restartPolicy", json!("OnFailure")),
        ]
        .map(|(field, value)| (field, value, ObjectOnly))
        .to_vec(),
    );
    all(
        "Init",
        vec![
            ("artifacts", json!({"files": ["a"]}), NeedsStore),
            ("paths", json!("a"), NeedsStore),
            ("git", json!({"url": "u"}), Object),
            ("dockerfile", json!({"image": "a"}), Object),
            ("file", json!({"content": "a"}), Object),
            ("tensorboard", json!({"port": 1}), NeedsStore),
            ("lineageRef", json!("a"), NeedsStore),
            ("modelRef", json!("a"), NeedsStore),
            ("artifactRef", json!("a"), NeedsStore),
            ("connection", json!("a"), NeedsStore),
            ("path", json!("/x"), Object),
            ("container", json!({"image": "i"}), Object),
        ],
    );
    for of in ["Artifacts", "Tensorboard"] {
        let fields: &[&'static str] = match of {
            "Artifacts" => &["files", "dirs", "workers"],
            _ => &["port", "uuids", "useNames", "pathPrefix", "plugins"],
        };
        let value = |field: &str| match field {
            "port" | "workers" => json!(1),
            "useNames" => json!(true),
            "uuids" => json!(["fcc462d7-6410-4eb6-98d3-cca509f34154"]),
            "pathPrefix" => json!("a"),
            _ => json!(["a"]),
        };
        all(of, fields.iter().map(|field| (*field, value(field), NeedsStore)).collect());
    }
    all(
        "Git",
        vec![
            ("url", json!("https://example.org/x"), Object),
            ("revision", json!("main"), Object),
            ("flags", json!(["--depth 1"]), Object),
        ],
    );
    all(
        "FileToWrite",
        vec![
            ("content", json!("b"), Object),
            ("filename", json!("f"), Object),
            ("chmod", json!("+x"), Object),
            ("kind", json!("model"), Nowhere),
        ],
    );
    all(
        "Dockerfile",
        vec![
            ("image", json!("b"), Object),
            ("env", json!({"A": "b"}), Object),
            ("path", json!(["/x"]), Object),
            ("copy", json!(["a"]), Object),
            ("postRunCopy", json!(["a"]), Object),
            ("run", json!(["a"]), Object),
            ("langEnv", json!("C"), Object),
            ("uid", json!(7), Object),
            ("gid", json!(7), Object),
            ("username", json!("u"), Object),
            ("userHome", json!("/u"), Object),
            ("filename", json!("f"), Object),
            ("workdir", json!("/w"), Object),
            ("workdirPath", json!("w"), Object),
            ("shell", json!("/bin/bash"), Object),
        ],
    );
    all(
        "Container",
        [
            ("name", json!("n"), Nowhere),
            ("image", json!("b"), ObjectOnly),
            ("command", json!(["d"]), Object),
            ("args", json!(["d"]), Object),
            ("env", json!([{"name": "A", "value": "b"}]), Object),
            ("workingDir", json!("/w"), Object),
            ("resources", json!({"limits": {"cpu": 1}}), Compiled),
        ]
        .to_vec(),
    );
    let passed = [
        "envFrom",
        "ports",
        "volumeMounts",
        "volumeDevices",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
        "securityContext",
        "stdin",
        "stdinOnce",
        "tty",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
    ];
    all("Container", passed.iter().map(|field| (*field, sample(field), ObjectOnly)).collect());
    all(
        "EnvVar",
        vec![
            ("name", json!("B"), Object),
            ("value", json!("x"), Object),
            ("valueFrom", json!({"fieldRef": {"fieldPath": "metadata.name"}}), Object),
        ],
    );
    rows
}
