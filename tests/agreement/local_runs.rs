//! Real polyaxonfiles, run unmodified on a local agent: each process gets the words that the original gives its container.
//!
//! What a machine lacks is put in its way, and nothing in the files is changed: programs that only write down how they
//! were called stand on PATH, and git finds the examples' repositories on this machine (`url.….insteadOf`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::data::{folder, records, text};
use crate::process::ServerProcess;
use crate::site::Site;

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Comes {
    /// One process, which succeeds.
    One,
    /// A search with this many runs, which all succeed.
    Search(usize),
    /// A command that is one text with a space: there is no such program, here as in a container.
    NoProgram,
}
use Comes::{NoProgram, One, Search};

const FILES: [(&str, Comes); 50] = [
    ("docs/head/site__docs__guides__iterative-process__iterate-with-cli-git-code__L31.yaml", One),
    ("docs/head/site__docs__guides__iterative-process__iterate-with-cli-local-code__L28.yaml", One),
    ("docs/head/site__docs__guides__iterative-process__iterate-with-inline-scripts__L13.yaml", One),
    ("docs/head/site__docs__guides__iterative-process__iterate-with-inline-scripts__L45.yaml", One),
    ("docs/head/site__docs__guides__passing-params__with-args__L17.yaml", One),
    ("docs/head/site__docs__guides__quick-start__components__L44.yaml", One),
    ("docs/head/site__docs__guides__quick-start__operations__L23.yaml", One),
    ("docs/head/site__docs__guides__quick-start__operations__L46.yaml", One),
    ("docs/head/site__docs__workload__jobs__overview__L12.yaml", One),
    ("docs/head/site__integrations__other__cli-with-argparse__L33.yaml", One),
    ("docs/head/site__integrations__other__cli-with-argparse__L65.yaml", One),
    ("docs/head/site__integrations__other__cli-with-python-fire__L33.yaml", One),
    ("docs/head/site__integrations__other__cli-with-python-fire__L55.yaml", One),
    ("docs/head/site__integrations__other__unsloth-finetuning__L45.yaml", One),
    ("docs/head/site__integrations__tracking__tracking-bokeh__L67.yaml", One),
    ("docs/head/site__integrations__tracking__tracking-vega__L65.yaml", One),
    ("docs/v1.1.0/site__docs__core__quick-start__operations__L33.yaml", One),
    ("docs/v1.1.0/site__docs__core__quick-start__operations__L56.yaml", One),
    ("files/cli-python-fixtures/backfill__get_fxt_backfill_with_inputs_outputs.json", Search(4)),
    ("files/cli-python-fixtures/bo__get_fxt_bo_with_inputs_outputs.json", Search(10)),
    ("files/cli-python-fixtures/grid__get_fxt_grid_with_inputs_outputs.json", Search(2)),
    ("files/cli-python-fixtures/mapping__get_fxt_mapping_with_inputs_outputs.json", Search(2)),
    ("files/cli-python-fixtures/schedule__get_fxt_schedule_with_inputs_outputs.json", Search(10)),
    ("files/cli/plain/job_file_with_environment.yml", One),
    ("files/cli/plain/polyaxonfile_with_quotes.yaml", One),
    ("files/cli/plain/simple_job.yml", NoProgram),
    ("files/cli/plain/simple_job_run_patch.yml", NoProgram),
    ("files/cli/typing/matrix_file_with_int_float_types.yml", Search(4)),
    ("files/polyaxon-examples/in_cluster/ignite/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/keras/bidirectional_lstm/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/keras/bidirectional_lstm/polyaxonfile_gpu.yml", One),
    ("files/polyaxon-examples/in_cluster/lightgbm/wine/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/pytorch_lightning/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/sklearn/boston/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/sklearn/iris/hyper-polyaxonfile.yml", Search(15)),
    ("files/polyaxon-examples/in_cluster/sklearn/iris/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/sklearn/newsgroup/polyaxon_hyperparams.yml", Search(50)),
    ("files/polyaxon-examples/in_cluster/sklearn/newsgroup/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/sklearn/sgd_classifier/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/sklearn/sgd_classifier/polyaxonfile_hyperparams.yml", Search(50)),
    ("files/polyaxon-examples/in_cluster/spacy/train/component.yaml", One),
    ("files/polyaxon-examples/in_cluster/tensorflow/mnist/polyaxonfile.yml", One),
    ("files/polyaxon-examples/in_cluster/xgboost/boston/polyaxonfile.yml", One),
    ("files/polyaxon-quick-start/passing-params/args-static.yaml", One),
    ("files/polyaxon-quick-start/scheduling/experimentation/operation.yaml", One),
    ("files/polyaxon-quick-start/scheduling/experimentation/simple.yaml", One),
    ("files/polyaxon-quick-start/scheduling/git-integration/simple.yaml", One),
    ("files/polyaxon-quick-start/scheduling/optimization/hyperparams_hyperband.yaml", Search(22)),
    ("files/polyaxon-quick-start/scheduling/presets/polyaxonfile.yaml", One),
    ("files/polyaxon-quick-start/scheduling/schedules/recurrent_training.yaml", One),
];

/// Programs that write down how they were called, and a metric.
const STAND_INS: [&str; 5] = ["python", "python3", "train", "build", "echo"];

#[test]
fn real_files_run_unmodified_on_a_local_agent() {
    let Some(data) = folder("real_files_run_unmodified_on_a_local_agent") else { return };
    let site = Site::new();
    site.write("projects/proj/project.yaml", "version: 1.1\nkind: project\nname: proj\ndefaultQueue: here/fast\n");
    copy_refs(&site, &data.join("open/_refs"));
    site.push("the original's references");
    let calls = site.path().join("calls");
    let env = machine(&site, &data, &calls);
    let server = ServerProcess::start_with(&site, &env);
    server.until_applied(&site);

    let mut started = Vec::new();
    for (file, comes) in FILES {
        let path = data.join("open").join(file);
        let run = server.ask(&["run", path.to_str().unwrap(), "--project", "proj", "--queue", "here/fast"]);
        let id = run["uuid"].as_str().unwrap_or_else(|| panic!("{file} is refused: {run}")).to_owned();
        started.push((file, comes, id));
    }
    let runs = until_ended(&server, &started);
    let golden: BTreeMap<String, Value> =
        records(&data.join("k8s-golden.jsonl")).into_iter().map(|r| (text(&r, "file").to_owned(), r)).collect();
    let mut wrong = Vec::new();
    for (file, comes, id) in &started {
        if let Err(why) = as_there(*comes, &runs, id, &calls, &golden[*file]) {
            wrong.push(format!("{file}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a run came to what the original's would.
fn as_there(
    comes: Comes,
    runs: &BTreeMap<String, Value>,
    id: &str,
    calls: &Path,
    golden: &Value,
) -> Result<(), String> {
    let run = &runs[id];
    let expect = |status: &str| match run["status"] == status {
        true => Ok(()),
        false => Err(format!("is {}, {}: {}", run["status"], run["reason"], run["message"])),
    };
    match comes {
        One => {
            expect("succeeded")?;
            let Some(wanted) = words_of(golden) else { return Ok(()) };
            let context = format!("/{}-1/context/artifacts", id.replace('-', ""));
            let own = |word: &str| match word.split_once(&context) {
                Some((_, rest)) => format!("/plx-context/artifacts{rest}"),
                None => word.to_owned(),
            };
            let words: Vec<String> = call(calls, id).iter().map(|word| own(word)).collect();
            if words == wanted { Ok(()) } else { Err(format!("was called as {words:?}, there {wanted:?}")) }
        }
        Search(count) => {
            expect("succeeded")?;
            let below: Vec<&Value> = runs.values().filter(|run| run["parent"] == id).collect();
            let well = below.iter().filter(|run| run["status"] == "succeeded").count();
            let called = below.iter().filter(|run| !call(calls, run["uuid"].as_str().unwrap()).is_empty()).count();
            if (well, called, below.len()) == (count, count, count) {
                Ok(())
            } else {
                Err(format!("has {} runs, {well} succeeded, {called} called", below.len()))
            }
        }
        NoProgram => {
            expect("failed")?;
            let wanted = words_of(golden).is_none() && run["reason"] == "CannotStart";
            if wanted { Ok(()) } else { Err(format!("fails as {}", run["reason"])) }
        }
    }
}

/// How the process that stands in for a program of the original is called: the words of the main container, and of what
/// a shell is told. `None` when no stand-in is called.
fn words_of(golden: &Value) -> Option<Vec<String>> {
    fn main_container(value: &Value) -> Option<&Value> {
        match value {
            Value::Object(map) if map.get("name") == Some(&Value::from("polyaxon-main")) => Some(value),
            Value::Object(map) => map.values().find_map(main_container),
            Value::Array(list) => list.iter().find_map(main_container),
            _ => None,
        }
    }
    let container = main_container(&golden["resource"])?;
    let list = |key: &str| container[key].as_array().into_iter().flatten().filter_map(|word| word.as_str());
    let words: Vec<String> = list("command").chain(list("args")).map(str::to_owned).collect();
    let words = match &words[..] {
        [shell, flag, script, ..] if flag == "-c" && (shell.ends_with("sh")) => {
            script.split_whitespace().map(str::to_owned).collect()
        }
        _ => words,
    };
    words.first().is_some_and(|program| STAND_INS.contains(&program.as_str())).then_some(words)
}

/// What the program of a run was called with; nothing when it was not called.
fn call(calls: &Path, run: &str) -> Vec<String> {
    let said = fs::read_to_string(calls.join(run.replace('-', ""))).unwrap_or_default();
    said.split_terminator('\0').map(str::to_owned).collect()
}

fn until_ended(server: &ServerProcess, started: &[(&str, Comes, String)]) -> BTreeMap<String, Value> {
    let begun = Instant::now();
    loop {
        let listed = server.ask(&["ops", "ls", "--limit", "1000"]);
        let runs: BTreeMap<String, Value> = listed
            .as_array()
            .into_iter()
            .flatten()
            .map(|run| (run["uuid"].as_str().unwrap().to_owned(), run.clone()))
            .collect();
        let open = |id: &String| runs.get(id).is_none_or(|run| run["finishedAt"].is_null());
        let left: Vec<&str> = started.iter().filter(|(_, _, id)| open(id)).map(|(file, _, _)| *file).collect();
        if left.is_empty() {
            return runs;
        }
        assert!(begun.elapsed() < Duration::from_secs(180), "not ended: {left:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The environment of a machine with the stand-ins on PATH, on which git finds the examples without a network.
fn machine(site: &Site, data: &Path, calls: &Path) -> Vec<(&'static str, String)> {
    let (bin, home) = (site.path().join("bin"), site.path().join("home"));
    [&bin, &home, &calls.to_owned()].iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    let script = format!(
        "#!/bin/sh\nprintf '%s\\0' \"${{0##*/}}\" \"$@\" > '{}'/\"$TIDEGATE_RUN\"\n\
         printf '{{\"loss\": 0.5, \"accuracy\": 0.5}}' > \"$TIDEGATE_OUTPUTS\"\n",
        calls.display()
    );
    for name in STAND_INS {
        fs::write(bin.join(name), &script).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let examples = site.path().join("examples");
    for name in ["polyaxon-examples", "polyaxon-quick-start"] {
        copy_folders(&data.join("open/files").join(name), &examples.join(name));
        let commit =
            "git init -q -b master && git add -A && git -c user.name=t -c user.email=t@example.org commit -q -m x";
        let done = Command::new("sh").args(["-c", commit]).current_dir(examples.join(name)).status().unwrap();
        assert!(done.success());
    }
    let instead = format!("[url \"file://{}/\"]\n\tinsteadOf = https://github.com/polyaxon/\n", examples.display());
    fs::write(home.join(".gitconfig"), instead).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    vec![("PATH", format!("{}:{path}", bin.display())), ("HOME", home.display().to_string())]
}

/// The folders of a repository, each with something in it: programs start in them.
fn copy_folders(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::write(to.join(".keep"), "").unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy_folders(&entry.path(), &to.join(entry.file_name()));
        }
    }
}

/// What hubRef and urlRef resolve to, as the copies of a repository, with their digests.
fn copy_refs(site: &Site, refs: &Path) {
    let mut sums = String::new();
    let mut open = vec![refs.to_owned()];
    while let Some(dir) = open.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let (name, text) = (path.strip_prefix(refs).unwrap().display(), fs::read_to_string(&path).unwrap());
            let digest: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            site.write(&format!("refs/{name}"), &text);
            sums += &format!("{digest}  {name}\n");
        }
    }
    site.write("refs/SHA256SUMS", &sums);
}
