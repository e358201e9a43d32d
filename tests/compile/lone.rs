//! Polyaxonfiles outside any repository: every problem as a person sees it, and what sound ones compile to.

use indexmap::IndexMap;
use serde_json::{Value, json};
use tidegate::domain::compile::report::{Colour, Format, Sources, render};
use tidegate::domain::compile::{Alone, Asked, Depth, Reference, compile_alone};
use tidegate::domain::files::{FileContent, SourceFile};

const BROKEN: &str = include_str!("broken.txt");

/// Compiles the first file of a text, with the others as what it refers to; `refs/` is the folder of copies.
fn compiled(text: &str, asked: &Asked) -> Alone {
    let files: Vec<(&str, &str)> =
        text.split("--- ").skip(1).map(|part| part.split_once('\n').unwrap_or((part, ""))).collect();
    let content = |text: &str| FileContent::Text(text.as_bytes().to_vec());
    let read = |reference: Reference<'_>| {
        let path = match reference {
            Reference::File(path) => path.to_owned(),
            Reference::Copy(path) => format!("refs/{path}"),
        };
        files.iter().find(|(known, _)| *known == path).map(|(_, text)| content(text))
    };
    let (path, first) = files[0];
    let file = SourceFile { path: path.to_owned(), content: content(first) };
    compile_alone(file, asked, Depth::Params, true, &read)
}

fn operation(text: &str) -> Value {
    let alone = compiled(&format!("--- polyaxonfile.yaml\n{text}"), &Asked::default());
    alone.operation.unwrap_or_else(|| panic!("{:#?}", alone.diagnostics))
}

#[test]
fn broken_files_are_shown_with_place_cause_and_mend() {
    for case in BROKEN.split("=== ").skip(1) {
        let (name, text) = case.split_once('\n').unwrap();
        let alone = compiled(text, &Asked::default());
        assert!(!alone.diagnostics.is_empty(), "{name} has no problem");
        let shown = render(Format::Text, &alone.diagnostics, &Sources::of_files(&alone.files), Colour::Never);
        insta::with_settings!({ description => text, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, shown);
        });
    }
}

#[test]
fn an_operation_beats_its_component_and_params_become_values() {
    let found = operation(
        "version: 1.1\nkind: operation\nqueue: a/b\ntags: [x]\nparams: {lr: 0.5, note: {value: hi, contextOnly: true}}\ncomponent:\n  name: train\n  queue: c/d\n  tags: [y]\n  inputs: [{name: lr, type: float}, {name: n, type: int, value: 2}]\n  run: {kind: job, container: {image: i}}\n",
    );
    assert_eq!(found["kind"], "compiled_operation");
    assert_eq!((&found["queue"], &found["tags"]), (&json!("a/b"), &json!(["y", "x"])));
    assert_eq!(found["inputs"][0], json!({"name": "lr", "type": "float", "isOptional": true, "value": 0.5}));
    assert_eq!(found["contexts"], json!([{"name": "note", "value": "hi", "isOptional": true}]));
}

#[test]
fn presets_are_merged_in_order_by_their_own_strategies() {
    let preset = |text: &str| SourceFile { path: "preset.yaml".into(), content: FileContent::Text(text.into()) };
    let text = "--- polyaxonfile.yaml\nversion: 1.1\nkind: operation\nqueue: q1\ntags: [a, b]\ntermination: {maxRetries: 1, ttl: 10}\ncomponent: {run: {kind: job, container: {image: img, args: [x]}}}\n";
    // The table of the reference, §1.9.
    for (strategy, queue, tags, termination) in [
        ("post_merge", "q2", json!(["a", "b", "z"]), json!({"maxRetries": 1, "ttl": 99, "timeout": 3})),
        ("pre_merge", "q1", json!(["b", "z", "a"]), json!({"maxRetries": 1, "ttl": 10, "timeout": 3})),
        ("replace", "q2", json!(["b", "z"]), json!({"maxRetries": 1, "ttl": 99, "timeout": 3})),
        ("isnull", "q1", json!(["a", "b"]), json!({"maxRetries": 1, "ttl": 10, "timeout": 3})),
    ] {
        let over = preset(&format!(
            "patchStrategy: {strategy}\ntags: [b, z]\nqueue: q2\ntermination: {{ttl: 99, timeout: 3}}\n"
        ));
        let found = compiled(text, &Asked { presets: vec![over], ..Asked::default() }).operation.unwrap();
        assert_eq!((&found["queue"], &found["tags"]), (&json!(queue), &tags), "{strategy}");
        assert_eq!(found["termination"], termination, "{strategy}");
    }
    let asked = Asked { params: IndexMap::from([("a".to_owned(), json!(1))]), ..Asked::default() };
    assert!(compiled(text, &asked).operation.is_none(), "the component declares no input");
}

#[test]
fn a_patch_of_a_distributed_run_may_be_one_of_its_replicas() {
    let found = operation(
        "version: 1.1\nkind: operation\nrunPatch: {environment: {nodeSelector: {pool: gpu}}}\ncomponent:\n  run:\n    kind: tfjob\n    chief: {replicas: 1, container: {image: tf}}\n    worker: {replicas: 4, container: {image: tf}}\n",
    );
    for replica in ["chief", "worker"] {
        assert_eq!(found["run"][replica]["environment"], json!({"nodeSelector": {"pool": "gpu"}}), "{replica}");
    }
    assert_eq!(found["run"].get("ps"), None);
}

#[test]
fn the_shortcut_dialect_stands_for_a_classic_document() {
    let found = operation(
        "name: web\nports: [8080]\ncontainer: {image: app}\ncmd: [make, ./serve]\nenv: {MODE: fast}\nresources: {cpu: \"500m..1\", memory: 1Gi, gpu: 2}\nconnections: [data]\nparams: {free: 1}\n",
    );
    assert_eq!(
        found["run"],
        json!({
            "kind": "service",
            "ports": [8080],
            "container": {
                "image": "app",
                "command": ["/bin/sh", "-c"],
                "args": ["set -e\nmake\n./serve"],
                "env": [{"name": "MODE", "value": "fast"}],
                "resources": {
                    "requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": 2},
                    "limits": {"cpu": "1", "nvidia.com/gpu": 2},
                },
            },
            "connections": ["data"],
        })
    );
    assert_eq!(found["contexts"][0]["name"], "free");
}

#[test]
fn operations_and_components_of_a_graph_are_lowered_in_the_same_way() {
    let found = operation(
        "kind: component\nrun:\n  kind: dag\n  operations:\n  - {name: web, component: {container: {image: app}}, cmd: ./serve}\n  - {name: test, dagRef: test, env: {MODE: fast}}\n  components:\n  - {name: test, cmd: make}\n",
    );
    let run = &found["run"];
    let script = |line: &str| json!({"command": ["/bin/sh", "-c"], "args": [format!("set -e\n{line}")]});
    let mut web = script("./serve");
    web["image"] = json!("app");
    assert_eq!(run["operations"][0]["component"]["run"], json!({"kind": "job", "container": web}));
    let patch = json!({"container": {"env": [{"name": "MODE", "value": "fast"}]}});
    assert_eq!(run["operations"][1]["runPatch"], patch);
    assert_eq!(run["components"][0]["run"], json!({"kind": "job", "container": script("make")}));
}

#[test]
fn components_of_a_hub_and_of_a_url_are_copies_in_the_folder_of_references() {
    let component = "version: 1.1\nkind: component\nrun: {kind: job, container: {image: VERSION}}\n";
    let text = |reference: &str| {
        let of = |version: &str| component.replace("VERSION", version);
        format!(
            "--- polyaxonfile.yaml\nversion: 1.1\nkind: operation\n{reference}\n--- refs/hub/train/latest.yaml\n{}--- refs/hub/train/2.1.yaml\n{}--- refs/url/example.org/a/train.yaml\n{}",
            of("latest"),
            of("two"),
            of("url")
        )
    };
    for (reference, image) in [
        ("hubRef: train", "latest"),
        ("hubRef: acme/train:2.1", "two"),
        ("urlRef: https://example.org/a/train.yaml", "url"),
    ] {
        let found = compiled(&text(reference), &Asked::default());
        assert_eq!(found.operation.unwrap()["run"]["container"]["image"], image, "{reference}");
    }
}
