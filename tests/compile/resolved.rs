//! What a sound repository becomes: defaults, merges, queues, requests, triggers.

use serde_json::{Value, json};
use tidegate::domain::catalog::{Catalog, ResolvedWorkflow};
use tidegate::domain::compile::compile;
use tidegate::domain::ids::{Name, ProjectName, QueueName, WorkflowName};
use tidegate::domain::spec::Limit;
use tidegate::domain::time::Span;

use crate::repo::{alone, over_base};

fn catalog(text: &str) -> Catalog {
    let compiled = compile(&over_base(text));
    assert_eq!(compiled.diagnostics.errors(), 0, "{:#?}", compiled.diagnostics);
    compiled.catalog.unwrap()
}

fn workflow(catalog: &Catalog, name: &str) -> ResolvedWorkflow {
    catalog.workflows[&WorkflowName::parse(name).unwrap()].item.clone()
}

fn queue(text: &str) -> QueueName {
    QueueName::parse(text).unwrap()
}

#[test]
fn defaults_are_filled_in() {
    let catalog = catalog("");
    let gpu = &catalog.queues[&queue("us-east/gpu")];
    assert_eq!(gpu.item.concurrency, Limit::At(8));
    assert_eq!((gpu.item.weight, gpu.item.hold), (1, false));
    assert_eq!(gpu.fields.get("/quota/nvidia.com~1gpu").unwrap().to_string(), "queues/us-east/gpu.yaml:7:36");
    assert!(catalog.queues[&queue("eu-west/default")].place.is_none(), "every agent has a default queue");
    let capacity = &catalog.agents.values().find(|agent| !agent.item.capacity.is_empty()).unwrap().item.capacity;
    assert!(capacity.0.contains_key("nvidia.com/gpu"), "`gpu` is short for its full name");
}

#[test]
fn a_zero_in_a_quota_forbids() {
    let catalog =
        catalog("--- queues/us-east/cpu.yaml\nversion: 1.1\nkind: queue\nname: cpu\nagent: us-east\nquota: {gpu: 0}\n");
    assert_eq!(catalog.queues[&queue("us-east/cpu")].item.quota.to_string(), "nvidia.com/gpu=0");
}

#[test]
fn requests_are_what_containers_ask_or_may_use_at_most() {
    let nightly = workflow(&catalog(""), "vision/nightly");
    assert_eq!(nightly.operation.read().request.to_string(), "cpu=2, memory=1Gi, nvidia.com/gpu=1");
    let two = "--- projects/vision/workflows/a.yaml\nversion: 1.1\nkind: operation\ncost: 2.5\ncomponent:\n  run:\n    kind: job\n    container: {resources: {limits: {cpu: 500m}}}\n    sidecars: [{resources: {requests: {cpu: 1}}}]\n";
    assert_eq!(workflow(&catalog(two), "vision/a").operation.read().request.to_string(), "cost=2500m, cpu=1500m");
}

#[test]
fn inputs_are_typed_and_have_forms_for_command_lines() {
    let nightly = workflow(&catalog(""), "vision/nightly");
    assert_eq!(json!(nightly.operation.read().inputs), json!({"epochs": 5, "lr": 0.1}));
    assert_eq!(json!(nightly.operation.read().as_arg), json!({"epochs": "--epochs=5", "lr": "--lr=0.1"}));
    let flags = "--- projects/vision/workflows/a.yaml\nversion: 1.1\nkind: component\ninputs:\n- {name: v, type: bool, isFlag: true, value: 'yes'}\n- {name: q, type: bool, isFlag: true, value: false}\n- {name: lr, value: 1, argFormat: '-l {{ lr }}', toEnv: LR}\n- {name: list, isList: true, type: int, value: '[1, 2]'}\nrun: {kind: job, container: {command: [x]}}\n";
    let operation = workflow(&catalog(flags), "vision/a").operation.read();
    assert_eq!(json!(operation.as_arg), json!({"v": "--v", "q": "", "lr": "-l 1", "list": "--list=[1,2]"}));
    assert_eq!(json!(operation.to_env), json!({"LR": "lr"}));
}

#[test]
fn a_bare_polyaxonfile_is_a_workflow_called_by_its_name_or_file() {
    let job = "run: {kind: job, container: {command: [x]}}";
    let named = format!(
        "--- projects/audio/workflows/a.yaml\nversion: 1.1\nkind: component\nname: clean\nqueue: us-east/gpu\n{job}\n"
    );
    let one = workflow(&catalog(&named), "audio/clean");
    assert!(one.push.is_some());
    assert_eq!(one.queue, queue("us-east/gpu"), "a component's queue throttles all who run it");
    let catalog = catalog(&named.replace("name: clean\n", "template: {enabled: true}\n"));
    assert!(catalog.projects.contains_key(&ProjectName::parse("audio").unwrap()), "the folder makes the project");
    assert_eq!(workflow(&catalog, "audio/a").push, None, "a form starts nothing");
}

#[test]
fn the_queue_is_the_first_that_is_named() {
    let job = "component: {queue: eu-west/default, run: {kind: job, container: {command: [x]}}}";
    let file =
        |extra: &str| format!("--- projects/audio/workflows/a.yaml\nversion: 1.1\nkind: operation\n{extra}\n{job}\n");
    let of = |text: &str| workflow(&catalog(text), "audio/a").queue.to_string();
    assert_eq!(of(&file("queue: us-east.gpu")), "us-east/gpu");
    assert_eq!(of(&file("")), "eu-west/default");
    assert_eq!(of(&file("queue: us-east/gpu\npatchStrategy: pre_merge")), "eu-west/default");
    let bare = file("").replace("queue: eu-west/default, ", "");
    let project =
        "--- projects/audio/project.yaml\nversion: 1.1\nkind: project\nname: audio\ndefaultQueue: us-east/gpu\n";
    assert_eq!(of(&format!("{bare}{project}")), "us-east/gpu");
    let organization =
        "--- tidegate.yaml\nversion: 1.1\nkind: organization\nname: acme\ndefaultQueue: eu-west/default\n";
    assert_eq!(of(&format!("{bare}{organization}")), "eu-west/default");
    assert_eq!(of(&format!("{}{organization}", file("queue: default"))), "eu-west/default");
    assert_eq!(of(&format!("{bare}--- agents/eu-west.yaml\n!remove\n")), "us-east/default");
}

/// The worked example of the reference, §1.9.
#[test]
fn presets_patch_as_in_the_reference() {
    let run = |strategy: &str, own: &str| {
        let preset = format!(
            "--- presets/p.yaml\nisPreset: true\nname: p\ntags: [b, z]\nqueue: us-east/default\ntermination: {{ttl: 99, timeout: 3}}\nrunPatch:\n  environment: {{nodeSelector: {{n: b, m: c}}}}\n  connections: [c1, c2]\n  container: {{image: img2, args: [y], env: [{{name: A, value: '2'}}, {{name: B, value: '3'}}]}}\n{strategy}\n"
        );
        let operation = format!(
            "--- projects/vision/workflows/base.yaml\nversion: 1.1\nkind: operation\nname: base\ntags: [a, b]\nqueue: us-east/gpu\npresets: [p]\ntermination: {{maxRetries: 1, ttl: 10}}\nrunPatch: {{environment: {{labels: {{x: '1'}}}}}}\n{own}\ncomponent:\n  name: comp\n  tags: [c]\n  cost: 3\n  termination: {{maxRetries: 5, timeout: 7}}\n  run:\n    kind: job\n    environment: {{nodeSelector: {{n: a}}, labels: {{x: '0', y: '0'}}}}\n    container: {{image: img, args: [x], env: [{{name: A, value: '1'}}]}}\n"
        );
        workflow(&catalog(&format!("{preset}{operation}")), "vision/base")
    };
    let seen = |flow: &ResolvedWorkflow| {
        let run = flow.operation.read().run;
        let container = &run["container"];
        (
            flow.queue.to_string(),
            flow.operation.read().tags.join(","),
            (flow.operation.read().max_retries, flow.operation.read().ttl, flow.operation.read().timeout),
            flow.operation.read().run["environment"]["nodeSelector"].clone(),
            container["image"].clone(),
            container["args"].clone(),
        )
    };
    let s = |n: u64| Some(Span::seconds(n));
    let (post, pre) = ("us-east/default".to_owned(), "us-east/gpu".to_owned());
    let both: Value = json!({"n": "b", "m": "c"});
    assert_eq!(
        seen(&run("", "")),
        (post.clone(), "c,a,b,z".into(), (1, s(99), s(3)), both.clone(), json!("img2"), json!(["x", "y"]))
    );
    assert_eq!(
        seen(&run("patchStrategy: pre_merge", "")),
        (pre.clone(), "c,b,z,a".into(), (1, s(10), s(3)), both.clone(), json!("img2"), json!(["x", "y"]))
    );
    assert_eq!(
        seen(&run("patchStrategy: replace", "")),
        (post, "c,b,z".into(), (1, s(99), s(3)), both.clone(), json!("img2"), json!(["x", "y"]))
    );
    assert_eq!(
        seen(&run("patchStrategy: isnull", "")),
        (pre, "c,a,b".into(), (1, s(10), s(3)), both, json!("img2"), json!(["x", "y"]))
    );
}

#[test]
fn references_are_followed_to_files_and_names() {
    let files = "--- projects/vision/ops/op.yaml\nversion: 1.1\nkind: operation\npathRef: ../../../components/train.yaml\nparams: {epochs: 7, lr: 0.5}\n--- projects/vision/workflows/a.yaml\nversion: 1.1\nkind: workflow\nname: a\npreviousName: old\nsupersede: {whenBusy: skip}\noperation: {pathRef: ../ops/op.yaml, params: {epochs: 9}}\n";
    let flow = workflow(&catalog(files), "vision/a");
    assert_eq!(json!(flow.operation.read().inputs), json!({"epochs": 9, "lr": 0.5}));
    assert_eq!(flow.previous_name, Some(Name::parse("old").unwrap()));
    assert_eq!(flow.supersede.unwrap().group, "vision/a");
}

#[test]
fn what_cannot_run_yet_is_declared_and_says_why() {
    let text = "--- projects/vision/workflows/a.yaml\nversion: 1.1\nkind: operation\njoins: [{query: 'status:succeeded', params: {files: {value: artifacts, contextOnly: true}}}]\nparams: {epochs: 1}\nhubRef: train\n";
    let flow = workflow(&catalog(text), "vision/a");
    assert_eq!(flow.unrunnable.as_deref(), Some("`files`: a join of artifacts is recognised but cannot run yet"));
}

/// The compiled build of an operation for a cluster, with all problems.
fn built(build: &str, more: &str) -> (Option<Value>, Vec<String>) {
    let text = format!(
        "--- presets/twice.yaml\nversion: 1.1\nkind: operation\nisPreset: true\ntermination: {{maxRetries: 2}}\n--- components/kaniko.yaml\nversion: 1.1\nkind: component\nname: kaniko\ninputs: [{{name: context, type: str, isOptional: true}}]\noutputs: [{{name: destination, type: image}}]\nrun: {{kind: job, container: {{image: kaniko}}}}\n--- projects/vision/project.yaml\nversion: 1.1\nkind: project\nname: vision\ndefaultQueue: us-east/gpu\n--- projects/vision/workflows/a.yaml\nversion: 1.1\nkind: operation\nqueue: eu-west/default\nbuild: {build}\n{more}\n"
    );
    let compiled = compile(&over_base(&text));
    let problems = compiled.diagnostics.iter().map(|problem| problem.message.clone()).collect();
    let flow = compiled.catalog.unwrap().workflows.get(&WorkflowName::parse("vision/a").unwrap()).cloned();
    (flow.map(|flow| json!(flow.item.operation.read().build)), problems)
}

#[test]
fn a_build_is_an_operation_of_its_own_with_a_destination() {
    let job = "component: {run: {kind: job, container: {image: a}}}";
    let (build, problems) = built("{hubRef: kaniko, connection: registry}", job);
    let build = build.unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(build["queue"], "eu-west/default");
    let operation = &build["operation"];
    assert_eq!(operation["inputs"]["destination"], "{{ globals.project_name }}:{{ globals.uuid }}");
    assert_eq!(operation["forms"]["destination"]["connection"], "registry");
    assert_eq!(operation["run"]["connections"], json!(["registry"]));

    let all = "{hubRef: kaniko, queue: us-east/gpu, presets: [twice], cache: {ttl: 5}, params: {destination: {value: \"acme/x:1\"}, context: {value: here}}, runPatch: {container: {image: other}}, patchStrategy: pre_merge}";
    let (build, problems) = built(all, job);
    let build = build.unwrap();
    assert!(matches!(&problems[..], [one] if one.contains("no effect on a local agent")), "{problems:?}");
    let operation = &build["operation"];
    assert_eq!((&build["queue"], &operation["maxRetries"]), (&json!("us-east/gpu"), &json!(2)));
    assert_eq!(operation["inputs"], json!({"context": "here", "destination": "acme/x:1"}));
    assert_eq!(
        (&operation["run"]["container"]["image"], &operation["sections"]["cache"]),
        (&json!("kaniko"), &json!({"ttl": 5}))
    );
}

#[test]
fn a_graph_has_no_build_and_its_operations_may() {
    let graph = "component: {run: {kind: dag, operations: [{name: one, component: {run: {kind: job, container: {image: a}}}}]}}";
    let (flow, problems) = built("{hubRef: kaniko}", graph);
    assert_eq!((flow, &problems[..]), (None, &["a graph has no image to build".to_owned()][..]));
    let of_operation = graph.replace("name: one,", "name: one, build: {hubRef: kaniko, params: {contxt: {value: 1}}},");
    let (_, problems) = built("", &of_operation);
    assert_eq!(problems, ["the component has no input `contxt`"]);
}

#[test]
fn other_yaml_is_left_alone() {
    let text = "--- deploy/app.yaml\nkind: Deployment\na: [\n--- charts/x.yaml\n{{ if }}\n--- docs/queue.yaml\nversion: 1.1\nkind: queue\nname: docs\nagent: us-east\n--- notes/polyaxon.json\n{}\n";
    let catalog = catalog(text);
    assert!(catalog.queues.contains_key(&queue("us-east/docs")), "the kind decides, not the folder");
}

#[test]
fn nothing_is_no_catalog() {
    let compiled = compile(&alone(""));
    assert!(compiled.catalog.is_none());
    assert_eq!(compiled.diagnostics.errors(), 1);
}

#[test]
fn a_workflow_that_cannot_be_read_is_not_gone() {
    let unsound = |text: &str| -> Vec<String> {
        let catalog = compile(&over_base(text)).catalog.unwrap();
        catalog.unsound.keys().map(ToString::to_string).collect()
    };
    let file = "--- projects/vision/workflows/file.yaml\n";
    assert_eq!(
        unsound(&format!("{file}version: 1.1\nkind: workflow\nname: real\ntags: [a\n")),
        ["vision/file", "vision/real"]
    );
    assert_eq!(unsound(&format!("{file}version: 1.1\nkind: workflow\nname: real\nzebra: 1\n")), ["vision/real"]);
    assert_eq!(unsound(&format!("{file}version: 1.1\nkind: workfow\nname: real\n")), ["vision/real"]);
    assert_eq!(
        unsound(&format!(
            "{file}version: 1.1\nkind: workflow\nname: real\nproject: audio\noperation: {{hubRef: train}}\n"
        )),
        ["vision/real"]
    );
    assert_eq!(unsound(&format!("{file}!lfs\n")), ["vision/file"]);
}
