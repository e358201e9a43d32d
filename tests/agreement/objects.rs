//! Rendered objects: field by field what the original puts into a cluster, but for a list of differences with their reasons.
//!
//! The original hands a custom resource to its operator, which makes the objects; ours makes the objects. Both are
//! brought into one form here: pods by role, and in them containers, variables, mounts and volumes by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tidegate::domain::catalog::CompiledOperation;
use tidegate::domain::compile::{Request, RequestSource, compile_request};
use tidegate::domain::files::{FileContent, FileSet, SourceFile};
use tidegate::domain::ids::{Attempt, AttemptName, CommitId, Epoch, ProjectName, RunId};
use tidegate::domain::kubernetes::render::{Assignment, CONTEXT_PATH, Objects, RootKind, objects};
use tidegate::domain::spec::Connection;
use tidegate::domain::time::Timestamp;
use tidegate::domain::workflow::render::{Globals, render};

use crate::compare::{differences, matches};
use crate::data::{folder, records, text};

/// The run of the records.
const RUN: u128 = 0x8aac_02e3_a62a_4f0a_aa25_7c59_da5e_ab80;

/// Files that ours refuses to put into a cluster, with a part of what it says, and why that is right.
const REFUSED: [(&str, &str, &str); 4] = [
    (
        "files/polyaxon-examples/in_cluster/sklearn/iris/streamlit-polyaxonfile.yml",
        "needs a store of artifacts",
        "there is no artifacts store to take a model from",
    ),
    (
        "files/cli-python-fixtures/services__get_fxt_service.json",
        "needs a `url`",
        "the original clones nothing from a connection that is a volume, in silence",
    ),
    ("files/cli-python-fixtures/services__get_fxt_service_with_inputs.json", "needs a `url`", "the same"),
    (
        "files/polyaxon-quick-start/scheduling/hooks/slack-hook.yaml",
        "no component is called `slack`",
        "its hook names a component of a public hub, of which there is no copy",
    ),
];

/// Where the two may differ, by the beginning of a JSON pointer, and why.
const DELIBERATE: [(&str, &str); 27] = [
    ("/roles/*/template/metadata/labels/app.kubernetes.io", "ours name the installation, the run and the attempt"),
    ("/roles/*/template/metadata/labels/operation.polyaxon.com", "the same"),
    ("/roles/*/template/metadata/labels/tidegate.dev", "the same"),
    ("/roles/*/template/metadata/annotations/operation.polyaxon.com", "the same"),
    ("/roles/*/template/metadata/annotations/tidegate.dev", "the same"),
    ("/roles/*/template/metadata/name", "pods are named after their owner by Kubernetes"),
    ("/roles/*/template/metadata/namespace", "a template has the namespace of its owner"),
    ("/roles/*/template/spec/containers/polyaxon-sidecar", "logs are read through the API server"),
    ("/roles/*/template/spec/containers/*/env/POLYAXON_*", "for Polyaxon's own library and its server"),
    ("/roles/*/template/spec/containers/*/env/TIDEGATE_*", "which run, attempt, project and replica it is"),
    (
        "/roles/*/template/spec/containers/*/volumeMounts//plx-context",
        "one volume, mounted above all of Polyaxon's paths",
    ),
    ("/roles/*/template/spec/containers/*/volumeMounts//dev/shm/name", "ours bear our name, so that none is taken"),
    ("/roles/*/template/spec/volumes/tidegate-*", "the same"),
    ("/roles/*/template/spec/volumes/artifacts-context", "the same"),
    ("/roles/*/template/spec/volumes/configs-context", "the same"),
    ("/roles/*/template/spec/volumes/shm", "the same"),
    ("/roles/*/template/spec/volumes/store", "there is no artifacts store"),
    ("/roles/*/template/spec/containers/*/terminationMessagePolicy", "a failure is told with its last lines"),
    ("/ttlSecondsAfterFinished", "set once the end of the run and its log are saved, not before"),
    ("/backoffLimit", "another attempt is the dispatcher's to make: it passes the queue"),
    ("/roles/scheduler/template/spec/containers/main/args", "no proxy stands in front of the dashboard"),
    ("/roles/scheduler/template/spec/containers/main/livenessProbe/httpGet/path", "the same"),
    ("/roles/scheduler/template/spec/containers/main/readinessProbe/httpGet/path", "the same"),
    ("/roles/main/template/spec/containers/main/volumeMounts//artifacts-store", "there is no artifacts store"),
    ("/roles/*/template/spec/initContainers/*/*/volumeMounts", "containers of one's own see the volume too"),
    ("/roles/main/template/spec/containers/main/args", "a text is split at white space, as documented"),
    ("/roles/default/m*", "without bounds a group of workers keeps its size"),
];

/// The file whose `args` are one text.
const TEXT_OF_ARGUMENTS: &str = "files/cli/typing/required_outputs.yml";

#[test]
fn rendered_objects_equal_those_of_the_original() {
    let Some(folder) = folder("rendered_objects_equal_those_of_the_original") else { return };
    let mut wrong = Vec::new();
    let mut excused: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut fields, mut files, mut refused) = (0, 0, 0);
    for record in records(&folder.join("k8s-golden.jsonl")).iter().filter(|record| record["pipeline"] == false) {
        let file = text(record, "file");
        files += 1;
        let refusal = REFUSED.iter().find(|(refused, ..)| *refused == file);
        let outcome = made(&folder, file);
        // One known file; anywhere else a difference in arguments is wrong.
        let excuses = |pattern: &str| !pattern.ends_with("main/args") || file == TEXT_OF_ARGUMENTS;
        let made = match (outcome, refusal) {
            (Ok(made), None) => made,
            (Err(why), Some((_, part, _))) if why.contains(part) => {
                refused += 1;
                continue;
            }
            (Ok(_), Some(_)) => {
                wrong.push(format!("{file} is not refused"));
                continue;
            }
            (Err(why), _) => {
                wrong.push(format!("{file}: {why}"));
                continue;
            }
        };
        let mut found = Vec::new();
        fields += differences(&of_theirs(&record["resource"]), &of_ours(&made), "", &mut found);
        for (pointer, theirs, ours) in found {
            match DELIBERATE
                .iter()
                .find(|(pattern, _)| matches(pattern, &pointer) && (pattern.contains("scheduler") || excuses(pattern)))
            {
                Some((pattern, _)) => *excused.entry(pattern).or_default() += 1,
                None => wrong.push(format!("{file} {pointer}: {theirs} there, {ours} here")),
            }
        }
    }
    let differ: u32 = excused.values().sum();
    println!("{files} files ({refused} refused), {fields} fields compared, {differ} differ on purpose: {excused:#?}");
    let idle: Vec<_> = DELIBERATE.iter().filter(|(pattern, _)| !excused.contains_key(pattern)).collect();
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
    assert!(idle.is_empty(), "nothing differs so any more: {idle:#?}");
}

/// The connections of the agent of the records.
fn connections() -> Vec<Connection> {
    ["foo", "my-training-dataset"]
        .map(|name| {
            let schema = json!({ "volumeClaim": format!("pvc-{name}"), "mountPath": format!("/mnt/{name}") });
            serde_json::from_value(json!({ "name": name, "kind": "volume_claim", "schema": schema })).unwrap()
        })
        .to_vec()
}

/// The objects that the file of a record becomes, by the way of a run by hand.
fn made(folder: &Path, file: &str) -> Result<Objects, String> {
    let operation = operation(folder, file)?;
    let run_name = operation.name.clone().unwrap_or_else(|| "run1".into());
    let connections = connections();
    let globals = Globals {
        owner_name: "acme".into(),
        project_name: "proj".into(),
        name: run_name.clone(),
        uuid: format!("{RUN:032x}"),
        namespace: "plx".into(),
        context_path: CONTEXT_PATH.into(),
        artifacts_path: format!("{CONTEXT_PATH}/artifacts"),
        ..Globals::default()
    };
    let rendered = render(&operation, &globals).map_err(|cause| cause.message)?;
    let run = serde_json::to_value(&rendered.run).unwrap();
    let assignment = Assignment {
        attempt: AttemptName { run: RunId(uuid::Uuid::from_u128(RUN)), attempt: Attempt(1) },
        epoch: Epoch(1),
        instance: "instance",
        project: &ProjectName::parse("proj").unwrap(),
        run_name: &run_name,
        namespace: "plx",
        service_account: Some("runs-sa"),
        connections: &connections,
        run: &run,
        sections: &rendered.sections,
        env: &rendered.env,
        timeout: operation.timeout,
        ttl: operation.ttl,
    };
    objects(&assignment).map_err(|cause| cause.message)
}

fn operation(folder: &Path, file: &str) -> Result<CompiledOperation, String> {
    let policy = [
        ("tidegate.yaml", "version: 1.1\nkind: organization\nname: acme\n"),
        ("agents/plx.yaml", "version: 1.1\nkind: agent\nname: plx\nkubernetes: {namespace: plx}\n"),
        ("projects/proj/project.yaml", "version: 1.1\nkind: project\nname: proj\n"),
    ];
    let mut files: Vec<SourceFile> = policy.iter().map(|(path, text)| source(path, text.as_bytes().to_vec())).collect();
    let path = folder.join("open").join(file);
    copies(&folder.join("open/_refs"), "refs", &mut files);
    copies(path.parent().unwrap(), "projects/proj/workflows", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let set = FileSet {
        commit: CommitId::new("worktree"),
        message: String::new(),
        author: String::new(),
        time: Timestamp(0),
        files,
        tree: Vec::new(),
    };
    let request = Request {
        source: RequestSource::Text {
            beside: Vec::new(),
            path: format!("projects/proj/workflows/{}", path.file_name().unwrap().to_str().unwrap()),
            content: std::fs::read_to_string(&path).unwrap(),
            project: None,
        },
        params: Default::default(),
        queue: Some("plx/default".into()),
        presets: Vec::new(),
    };
    let requested = compile_request(&set, &request)
        .map_err(|problems| problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; "))?;
    Ok(requested.workflow.operation.read())
}

fn source(path: &str, bytes: Vec<u8>) -> SourceFile {
    SourceFile { path: path.into(), content: FileContent::Text(bytes) }
}

/// The files of a folder of this machine, as files of a repository.
fn copies(folder: &Path, to: &str, files: &mut Vec<SourceFile>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let path = format!("{to}/{}", entry.file_name().unwrap().to_str().unwrap());
        match entry.is_dir() {
            true => copies(&entry, &path, files),
            false => files.push(source(&path, std::fs::read(&entry).unwrap())),
        }
    }
}

// ---- one form for both ----

fn of_theirs(resource: &Value) -> Value {
    let mut form = resource["termination"].as_object().cloned().unwrap_or_default();
    let mut roles: Vec<(String, Value)> = Vec::new();
    match text(resource, "kind") {
        "Job" => roles.push(("main".into(), resource["batchJobSpec"].clone())),
        "Service" => {
            let service = &resource["serviceSpec"];
            form.insert("ports".into(), service["ports"].clone());
            form.insert("external".into(), json!(service["isExternal"] == true));
            roles.push(("main".into(), service.clone()));
        }
        _ => {
            let kinds = ["tfJobSpec", "pytorchJobSpec", "mpiJobSpec", "rayClusterSpec", "daskClusterSpec"];
            let spec = kinds.iter().map(|key| &resource[*key]).find(|spec| !spec.is_null()).unwrap();
            for (key, value) in spec.as_object().unwrap() {
                match key.as_str() {
                    "replicaSpecs" => roles.extend(lower(value)),
                    "head" => roles.push(("head".into(), value.clone())),
                    "workers" => roles.extend(groups(value)),
                    "service" => {}
                    // A text of JSON on both sides.
                    "runtimeEnv" => drop(form.insert(key.clone(), parsed(value))),
                    _ => drop(form.insert(key.clone(), value.clone())),
                }
            }
        }
    }
    whole(form, roles)
}

fn of_ours(objects: &Objects) -> Value {
    let spec = &objects.root["spec"];
    let mut form = Map::new();
    let mut roles: Vec<(String, Value)> = Vec::new();
    match objects.kind {
        RootKind::Job | RootKind::Deployment => {
            for key in ["activeDeadlineSeconds", "backoffLimit"] {
                form.extend(spec.get(key).map(|value| (key.to_owned(), value.clone())));
            }
            roles.push(("main".into(), spec.clone()));
        }
        RootKind::TfJob | RootKind::PyTorchJob | RootKind::MpiJob => {
            for (key, value) in spec.as_object().unwrap() {
                match key.as_str() {
                    "runPolicy" => form.extend(value.as_object().unwrap().clone()),
                    _ if key.ends_with("ReplicaSpecs") => roles.extend(lower(value)),
                    _ => drop(form.insert(key.clone(), value.clone())),
                }
            }
        }
        RootKind::RayCluster | RootKind::RayJob => {
            let cluster = spec.get("rayClusterSpec").unwrap_or(spec);
            form.insert("rayVersion".into(), cluster["rayVersion"].clone());
            form.insert("entrypoint".into(), spec["entrypoint"].clone());
            form.insert("runtimeEnv".into(), parsed(&spec["runtimeEnvYAML"]));
            roles.push(("head".into(), cluster["headGroupSpec"].clone()));
            roles.extend(groups(&cluster["workerGroupSpecs"]));
        }
        RootKind::DaskCluster => {
            if let Some(autoscaler) = objects.belongings.first() {
                form.insert("minReplicas".into(), autoscaler["spec"]["minimum"].clone());
                form.insert("maxReplicas".into(), autoscaler["spec"]["maximum"].clone());
            }
            let part = |role: &str| json!({ "replicas": spec[role]["replicas"], "template": spec[role] });
            roles.extend(["scheduler", "worker"].map(|role| (role.to_owned(), part(role))));
        }
    }
    if objects.kind == RootKind::Deployment {
        let ports = objects.belongings[0]["spec"]["ports"].as_array().unwrap().iter().map(|port| port["port"].clone());
        form.insert("ports".into(), ports.collect());
        form.insert("external".into(), json!(objects.belongings.len() > 1));
    }
    whole(form, roles)
}

fn whole(mut form: Map<String, Value>, roles: Vec<(String, Value)>) -> Value {
    form.insert("roles".into(), roles.into_iter().map(|(role, spec)| (role, role_form(&spec))).collect());
    canonical(&Value::Object(form))
}

fn lower(replicas: &Value) -> Vec<(String, Value)> {
    replicas.as_object().unwrap().iter().map(|(role, spec)| (role.to_lowercase(), spec.clone())).collect()
}

fn groups(workers: &Value) -> Vec<(String, Value)> {
    let workers = workers.as_array().into_iter().flatten();
    workers.map(|worker| (text(worker, "groupName").to_owned(), worker.clone())).collect()
}

fn parsed(text: &Value) -> Value {
    text.as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
}

/// One role: how many pods, of which form. What the operators take for granted is written out.
fn role_form(spec: &Value) -> Value {
    let pod = &spec["template"]["spec"];
    let mut template = spec["template"].clone();
    template["spec"]["containers"] = by("name", &pod["containers"]);
    template["spec"]["initContainers"] = inits(&pod["initContainers"]);
    template["spec"]["volumes"] = by("name", &pod["volumes"]);
    // Where it restarts is compared as the policy of the role.
    let of_pod = template["spec"].as_object_mut().unwrap().remove("restartPolicy");
    let policy = spec.get("restartPolicy").cloned().or(of_pod).filter(|policy| *policy != "Always");
    for key in ["replicas", "labels"] {
        template.as_object_mut().unwrap().remove(key);
    }
    json!({
        "replicas": spec["replicas"].as_u64().unwrap_or(1),
        "restartPolicy": policy.unwrap_or_else(|| "Never".into()),
        "minReplicas": spec["minReplicas"], "maxReplicas": spec["maxReplicas"], "rayStartParams": spec["rayStartParams"],
        "template": { "metadata": template["metadata"], "spec": template["spec"] },
    })
}

/// What a person asked to prepare, in order, by what it does; what the original prepares for itself is left out.
fn inits(list: &Value) -> Value {
    let words = |container: &Value, key: &str| -> Vec<String> {
        container[key].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let forms = list.as_array().into_iter().flatten().filter_map(|container| {
        let name = text(container, "name");
        let args = words(container, "args");
        let flag = |flag: &str| args.iter().find_map(|arg| arg.strip_prefix(flag)).map(str::to_owned);
        Some(match name {
            "polyaxon-init-auth" | "polyaxon-init-artifacts-default" => return None,
            _ if name.starts_with("polyaxon-init-git") => {
                json!({ "git": flag("--url="), "path": flag("--repo-path="), "revision": flag("--revision=") })
            }
            _ if name.starts_with("polyaxon-init-file") => {
                let file = parsed(&json!(flag("--file-context=").unwrap()));
                let path = format!("{}/{}", flag("--filepath=").unwrap(), text(&file, "filename"));
                json!({ "file": path, "content": file["content"], "chmod": file["chmod"] })
            }
            _ if words(container, "command").iter().any(|word| word.contains("git clone")) => {
                json!({ "git": args[0], "path": args[1], "revision": Some(&args[2]).filter(|revision| !revision.is_empty()) })
            }
            _ if words(container, "command").iter().any(|word| word.contains("chmod")) => {
                json!({ "file": args[0], "content": args[1], "chmod": Some(&args[2]).filter(|mode| *mode != "644") })
            }
            _ => by("name", &json!([container])),
        })
    });
    let numbered = forms.enumerate().map(|(index, form)| (index.to_string(), form));
    Value::Object(numbered.collect())
}

/// A list as a mapping by a field of its items.
fn by(field: &str, list: &Value) -> Value {
    let items = list.as_array().into_iter().flatten();
    let named = items.map(|item| {
        let mut item = item.clone();
        for (inner, key) in [("env", "name"), ("volumeMounts", "mountPath")] {
            if let Some(list) = item.get(inner).cloned() {
                item[inner] = by(key, &list);
            }
        }
        let name = text(&item, field).replace("polyaxon-main", "main");
        if field == "name" && item.get("image").is_some() {
            item["name"] = name.clone().into();
        }
        (name, item)
    });
    Value::Object(named.collect())
}

/// Without nothing: what is null, and what is empty.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(key, value)| (key.clone(), canonical(value)));
            Value::Object(
                kept.filter(|(_, value)| !value.is_null() && *value != json!([]) && *value != json!({})).collect(),
            )
        }
        Value::Array(list) => Value::Array(list.iter().map(canonical).collect()),
        other => other.clone(),
    }
}
