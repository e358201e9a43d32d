//! What changes the meaning of a workflow, and what does not.

use tidegate::domain::catalog::ResolvedWorkflow;
use tidegate::domain::compile::compile;
use tidegate::domain::files::{FileContent, FileSet};
use tidegate::domain::ids::WorkflowName;

use crate::repo::{BASE, alone, over_base};

fn workflow(files: &FileSet, name: &str) -> ResolvedWorkflow {
    let compiled = compile(files);
    let catalog = compiled.catalog.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics));
    let name = WorkflowName::parse(name).unwrap();
    catalog.workflows.get(&name).unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics)).item.clone()
}

fn nightly(text: &str) -> ResolvedWorkflow {
    workflow(&over_base(text), "vision/nightly")
}

const FILE: &str = "--- projects/vision/workflows/nightly.yaml\n";

#[test]
fn form_changes_nothing() {
    let base = nightly("");
    for (what, text) in [
        ("comments", "# hello\nversion: 1.1\nkind: workflow # x\nname: nightly\ntriggers: [push: {paths: [\"models/**\"]}]\noperation: {hubRef: train, params: {epochs: 5}}\n"),
        ("key order", "operation: {params: {epochs: 5}, hubRef: train}\nname: nightly\nkind: workflow\nversion: 1.1\ntriggers: [push: {paths: [\"models/**\"]}]\n"),
        ("anchors", "version: 1.1\nkind: workflow\nname: nightly\ntriggers: [push: {paths: [\"models/**\"]}]\noperation: {hubRef: train, params: {epochs: &n 5, note: {value: *n, contextOnly: true}}}\n".replace(", note: {value: *n, contextOnly: true}", "").as_str()),
        ("description and tags", "version: 1.1\nkind: workflow\nname: nightly\ndescription: new\ntags: [a]\ntriggers: [push: {paths: [\"models/**\"]}]\noperation: {hubRef: train, description: d, tags: [t], params: {epochs: 5}}\n"),
        ("long form", "version: 1.1\nkind: workflow\nname: nightly\ntriggers: [push: {paths: [\"models/**\"]}]\noperation: {hubRef: train, params: {epochs: {value: 5.0}}}\n"),
        ("json", "{\"version\": 1.1, \"kind\": \"workflow\", \"name\": \"nightly\", \"triggers\": [{\"push\": {\"paths\": [\"models/**\"]}}], \"operation\": {\"hubRef\": \"train\", \"params\": {\"epochs\": 5}}}\n"),
    ] {
        let other = nightly(&format!("{FILE}{text}"));
        assert_eq!(other.spec_digest, base.spec_digest, "{what}");
        assert_eq!(other.trigger_digest, base.trigger_digest, "{what}");
        assert_eq!(other.inputs_digest, base.inputs_digest, "{what}");
    }
}

#[test]
fn a_moved_file_and_crlf_change_nothing() {
    let base = nightly("");
    let moved = BASE.replace("projects/vision/workflows/nightly.yaml", "projects/vision/workflows/deep/elsewhere.yaml");
    let moved = workflow(&alone(&moved), "vision/nightly");
    assert_eq!((moved.spec_digest, moved.trigger_digest), (base.spec_digest, base.trigger_digest));
    let mut crlf = over_base("");
    for file in &mut crlf.files {
        if let FileContent::Text(bytes) = &mut file.content {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes();
        }
    }
    assert_eq!(workflow(&crlf, "vision/nightly").spec_digest, base.spec_digest);
}

#[test]
fn meaning_changes_the_digest() {
    let base = nightly("");
    let text = |extra: &str, epochs: u32| {
        format!(
            "{FILE}version: 1.1\nkind: workflow\nname: nightly\n{extra}\ntriggers: [push: {{paths: [\"models/**\"]}}]\noperation: {{hubRef: train, params: {{epochs: {epochs}}}}}\n"
        )
    };
    let component = BASE.split("--- components/train.yaml\n").nth(1).unwrap().split("---").next().unwrap();
    for (what, files) in [
        ("a param", text("", 6)),
        ("the queue", text("queue: us-east/default", 5)),
        (
            "the component",
            format!("--- components/train.yaml\n{}", component.replace("workingDir: /", "workingDir: /tmp")),
        ),
        (
            "a default preset",
            "--- tidegate.yaml\nversion: 1.1\nkind: organization\nname: acme\ndefaultPreset: spot\n".to_owned(),
        ),
    ] {
        let other = nightly(&files);
        assert_ne!(other.spec_digest, base.spec_digest, "{what}");
        assert_eq!(other.trigger_digest, base.trigger_digest, "{what}");
    }
    let named = "--- projects/vision/workflows/nightly.yaml\nversion: 1.1\nkind: workflow\nname: nightly\noperation: {hubRef: train, presets: [spot], params: {epochs: 5}}\n";
    let preset = "--- presets/spot.yaml\nversion: 1.1\nkind: operation\nisPreset: true\nrunPatch: {environment: {nodeSelector: {pool: other}}}\n";
    assert_ne!(nightly(named).spec_digest, nightly(&format!("{named}{preset}")).spec_digest, "an edit of a preset");
}

#[test]
fn triggers_have_a_digest_of_their_own() {
    let base = nightly("");
    let other = nightly(&format!(
        "{FILE}version: 1.1\nkind: workflow\nname: nightly\ntriggers: [dispatch: {{}}]\noperation: {{hubRef: train, params: {{epochs: 5}}}}\n"
    ));
    assert_eq!(other.spec_digest, base.spec_digest);
    assert_ne!(other.trigger_digest, base.trigger_digest);
    assert_eq!(other.push, None);
}

#[test]
fn watched_files_change_the_digest_of_the_inputs_and_no_others() {
    let base = nightly("");
    let watched = nightly("--- models/a.bin\nx\n");
    assert_ne!(watched.inputs_digest, base.inputs_digest);
    assert_ne!(nightly("--- models/a.bin\ny\n").inputs_digest, watched.inputs_digest);
    assert_eq!(nightly("--- data/a.bin\nx\n").inputs_digest, base.inputs_digest);
    assert_eq!(watched.spec_digest, base.spec_digest);
}
