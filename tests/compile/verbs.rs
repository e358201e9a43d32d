//! `validate`, `schema` and `explain` as functions.

use std::path::{Path, PathBuf};

use tidegate::cli::{explain, schema, validate};
use tidegate::domain::compile::report::{Colour, Format};
use tidegate::domain::compile::schema::{PUBLISHED, fields, schema_of};
use tidegate::domain::files::{FileContent, FileSet, SourceFile};

use crate::repo::{alone, over_base};

/// Reads a folder; the real reader belongs to `source`.
fn read(root: &Path) -> anyhow::Result<FileSet> {
    fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                walk(root, &path, files)?;
            } else {
                let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
                files.push(SourceFile { path: name, content: FileContent::Text(std::fs::read(&path)?) });
            }
        }
        Ok(())
    }
    let mut set = alone("");
    walk(root, root, &mut set.files)?;
    Ok(set)
}

fn written(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in over_base(text).files {
        let path = folder.path().join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let FileContent::Text(bytes) = file.content {
            std::fs::write(path, bytes).unwrap();
        }
    }
    folder
}

fn run(paths: &[PathBuf], output: Format, output_file: Vec<(Format, PathBuf)>) -> (u8, String, String) {
    let args = validate::ValidateArgs { paths: paths.to_vec(), output, output_file, refs: None };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = validate::run(&args, read, Colour::Never, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn a_sound_repository_is_valid_and_a_bad_file_is_not() {
    let good = written("");
    assert_eq!(
        run(&[good.path().into()], Format::Text, Vec::new()),
        (0, "0 errors, 0 warnings\n".into(), String::new())
    );
    let bad = written("--- queues/x.yaml\nversion: 1.1\nkind: queue\nname: x\nagent: us-east\nconcurrency: many\n");
    let report = bad.path().join("report.sarif");
    let (code, out, _) = run(&[bad.path().into()], Format::Jsonl, vec![(Format::Sarif, report.clone())]);
    assert_eq!(code, validate::INVALID);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["file"], &lines[0]["line"], &lines[0]["column"]),
        (&"queues/x.yaml".into(), &5.into(), &14.into())
    );
    assert_eq!(lines[1]["errors"], 1);
    assert!(std::fs::read_to_string(report).unwrap().contains("\"version\": \"2.1.0\""));
}

#[test]
fn one_file_is_judged_within_its_repository() {
    let bad = written("--- queues/x.yaml\nversion: 1.1\nkind: queue\nname: x\nagent: nobody\n");
    let (code, out, _) = run(&[bad.path().join("queues/x.yaml")], Format::Text, Vec::new());
    assert_eq!(code, validate::INVALID);
    assert!(out.contains("no agent is called `nobody`") && out.contains("4 | agent: nobody"), "{out}");
    assert_eq!(run(&[bad.path().join("presets/spot.yaml")], Format::Text, Vec::new()).0, validate::VALID);
}

#[test]
fn a_file_without_a_repository_is_judged_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("polyaxonfile.yaml");
    std::fs::write(&path, "version: 1.1\nkind: component\nrun: {kind: job, container: {image: a}}\n").unwrap();
    assert_eq!(run(std::slice::from_ref(&path), Format::Text, Vec::new()).0, validate::VALID);
    // Whoever starts it must give the input; as a definition it is sound.
    std::fs::write(&path, "version: 1.1\nkind: component\ninputs: [{name: a}]\nrun: {kind: job}\n").unwrap();
    assert_eq!(run(std::slice::from_ref(&path), Format::Text, Vec::new()).0, validate::VALID);
    std::fs::write(&path, "version: 1.1\nkind: component\ninputs: [{name: a}]\nrun: {kind: jobs}\n").unwrap();
    assert_eq!(run(std::slice::from_ref(&path), Format::Text, Vec::new()).0, validate::INVALID);
    let (code, _, err) = run(&[folder.path().join("nothing")], Format::Text, Vec::new());
    assert!(code == validate::FAILED && err.contains("neither a folder nor a file"), "{err}");
}

#[test]
fn the_page_of_a_code_and_of_a_field() {
    let page = |topic: &str| explain::run(&explain::ExplainArgs { topic: topic.to_owned() });
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("explain_code", page("TG0104").unwrap());
        insta::assert_snapshot!("explain_field", page("queue.concurrency").unwrap());
        insta::assert_snapshot!("explain_kind", page("queue").unwrap());
        insta::assert_snapshot!("explain_deep", page("operation.component.run.container.resources.requests").unwrap());
    });
    assert_eq!(page("queue.concurency").unwrap_err(), "there is no field `concurency`; did you mean `concurrency`?");
    assert_eq!(page("quue").unwrap_err(), "there is no kind or code `quue`; did you mean `queue`?");
    assert!(page("TG9999").is_err());
    assert!(page("tägliche").is_err());
}

#[test]
fn every_field_of_every_kind_can_be_explained() {
    for (name, shape) in PUBLISHED {
        let root = schema_of(shape);
        for field in fields(root, root).keys() {
            let topic = format!("{name}.{field}");
            let page = explain::run(&explain::ExplainArgs { topic: topic.clone() }).unwrap();
            assert!(page.lines().count() > 2, "{topic}: {page}");
        }
    }
}

#[test]
fn schemas_are_printed_by_kind() {
    let print =
        |kind: Option<&str>, draft_07| schema::run(&schema::SchemaArgs { kind: kind.map(str::to_owned), draft_07 });
    assert!(print(Some("queue"), false).unwrap().contains("2020-12"));
    assert!(print(None, true).unwrap().contains("draft-07"));
    assert_eq!(print(Some("queues"), false).unwrap_err(), "there is no kind `queues`; did you mean `queue`?");
}
