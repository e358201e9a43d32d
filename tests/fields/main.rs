//! Every field of operations and components has its effect, or it is said that it has none: a row for each, and the
//! schemas say which there are, so that a new field without a row fails.
#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod places;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tidegate::domain::catalog::ResolvedWorkflow;
use tidegate::domain::compile::schema::{Draft, render as schema};
use tidegate::domain::compile::{Compiled, codes, compile};
use tidegate::domain::diagnostic::{Diagnostics, Severity};
use tidegate::domain::dispatch::observation::Cause;
use tidegate::domain::files::{FileContent, FileSet, SourceFile};
use tidegate::domain::ids::{Attempt, AttemptName, CommitId, Epoch, ProjectName, RunId};
use tidegate::domain::kubernetes::render::{Assignment, objects};
use tidegate::domain::time::Timestamp;
use tidegate::domain::workflow::cache;
use tidegate::domain::workflow::render::{Globals, render};

use places::{ALIKE, ELSEWHERE, IGNORED, PASSED, around, sample};
use rows::{Row, Shows::*, rows};

/// What an operation comes to on an agent.
struct Come {
    workflow: Option<ResolvedWorkflow>,
    problems: Diagnostics,
    objects: Result<Value, Cause>,
}

fn come(operation: &Value, queue: &str) -> Come {
    let file =
        |path: &str, text: String| SourceFile { path: path.to_owned(), content: FileContent::Text(text.into_bytes()) };
    let small = |text: &str| text.to_owned();
    let mut operation = operation.clone();
    if operation.pointer("/component/queue").is_none() {
        operation.as_object_mut().unwrap().entry("queue").or_insert_with(|| json!(queue));
    }
    // Whatever an operation names instead of a component of its own.
    if ["hubRef", "pathRef", "urlRef", "dagRef"].iter().any(|key| operation.get(*key).is_some()) {
        operation.as_object_mut().unwrap().shift_remove("component");
    }
    let files = vec![
        file("agents/here.yaml", small("version: 1.1\nkind: agent\nname: here\nlocal: {}\n")),
        file("agents/there.yaml", small("version: 1.1\nkind: agent\nname: there\nkubernetes: {namespace: ml}\n")),
        file(
            "components/other.yaml",
            small("version: 1.1\nkind: component\nname: other\nrun: {kind: job, container: {image: o}}\n"),
        ),
        file(
            "components/train.yaml",
            small("version: 1.1\nkind: component\nname: train\nrun: {kind: job, container: {image: t}}\n"),
        ),
        file(
            "presets/spot.yaml",
            small("version: 1.1\nkind: operation\nisPreset: true\nname: spot\ntermination: {timeout: 77}\n"),
        ),
        file("projects/p/workflows/w.yaml", operation.to_string()),
        file("queues/there/other.yaml", small("version: 1.1\nkind: queue\nname: other\nagent: there\n")),
        file("tidegate.yaml", small("version: 1.1\nkind: organization\nname: acme\ndefaultQueue: there/default\n")),
    ];
    let set = FileSet {
        commit: CommitId::new("worktree"),
        message: String::new(),
        author: String::new(),
        time: Timestamp::default(),
        files,
        tree: Vec::new(),
    };
    let Compiled { catalog, diagnostics } = compile(&set);
    let workflow = catalog.and_then(|catalog| catalog.workflows.into_values().next()).map(|declared| declared.item);
    let objects = match &workflow {
        Some(workflow) if workflow.operation.read().pipeline().is_none() => made(workflow),
        _ => Ok(Value::Null),
    };
    Come { workflow, problems: diagnostics, objects }
}

fn made(workflow: &ResolvedWorkflow) -> Result<Value, Cause> {
    let rendered = render(&workflow.operation.read(), &Globals::default())?;
    let run = serde_json::to_value(&rendered.run).unwrap();
    let project = ProjectName::parse("p").unwrap();
    let assignment = Assignment {
        attempt: AttemptName { run: RunId(uuid::Uuid::from_u128(1)), attempt: Attempt(1) },
        epoch: Epoch(1),
        instance: "i",
        project: &project,
        run_name: "w",
        namespace: "ml",
        service_account: None,
        run: &run,
        sections: &rendered.sections,
        connections: &[],
        env: &rendered.env,
        timeout: workflow.operation.read().timeout,
        ttl: workflow.operation.read().ttl,
    };
    let objects = objects(&assignment)?;
    Ok(json!([objects.root, objects.belongings]))
}

/// Everything of a workflow but its digests, which see any change of its text.
fn meaning(come: &Come) -> Value {
    let mut value = come.workflow.as_ref().map_or(Value::Null, |workflow| serde_json::to_value(workflow).unwrap());
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| !key.ends_with("Digest"));
        // Kept as written for those who say what has no effect.
        map["operation"].as_object_mut().unwrap().shift_remove("sections");
    }
    value
}

fn messages(come: &Come, code: tidegate::domain::diagnostic::Code) -> BTreeSet<String> {
    come.problems.iter().filter(|problem| problem.code == code).map(|problem| problem.message.clone()).collect()
}

fn errors(come: &Come) -> usize {
    come.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
}

/// What is wrong with a row, if anything is.
fn fault(row: &Row, description: &str) -> Option<String> {
    if row.of == "IoValidation" {
        return of_rule(row);
    }
    let (base, place) = around(row.of, row.field);
    let mut with = base.clone();
    let target = with.pointer_mut(&place).unwrap_or_else(|| panic!("{place} of {}", row.of));
    if row.of == "InlineOperation" && ["hubRef", "pathRef", "component"].contains(&row.field) {
        target.as_object_mut().unwrap().shift_remove("dagRef");
    }
    target.as_object_mut().unwrap().insert(row.field.to_owned(), row.value.clone());
    let [cluster, cluster_with] = [come(&base, "there/default"), come(&with, "there/default")];
    let [local, local_with] = [come(&base, "here/default"), come(&with, "here/default")];
    let new = |a: &Come, b: &Come, code| &messages(b, code) - &messages(a, code);
    let warned = |a: &Come, b: &Come| new(a, b, codes::NO_EFFECT).into_iter().next();
    let differs = meaning(&cluster) != meaning(&cluster_with);
    let object = cluster_with.objects.is_ok() && cluster.objects != cluster_with.objects;
    let sound = errors(&cluster_with) == 0;
    let (on_local, on_cluster) = (warned(&local, &local_with), warned(&cluster, &cluster_with));
    let good = match row.shows {
        Compiled => sound && differs,
        Object => sound && object,
        // The base of some rows has such a field already, of which is said the same.
        ObjectOnly => sound && object && on_cluster.is_none() && (on_local.is_some() || said(&local_with, row)),
        Nowhere => {
            sound
                && (on_local.is_some() || said(&local_with, row))
                && (on_cluster.is_some() || said(&cluster_with, row))
        }
        Refuses => errors(&cluster_with) > errors(&cluster),
        Allows => errors(&cluster_with) < errors(&cluster),
        NotInGraph => sound && on_cluster.as_ref().is_some_and(|message| message.contains("operation of a graph")),
        NeedsStore => match &cluster_with.objects {
            Err(cause) => sound && ["store of artifacts", "connection"].iter().any(|word| cause.message.contains(word)),
            Ok(_) => false,
        },
        Cached => {
            sound && {
                let ask = |come: &Come| {
                    let operation = &come.workflow.as_ref().unwrap().operation.read();
                    cache::ask(operation, &ProjectName::parse("p").unwrap())
                };
                ask(&cluster) != ask(&cluster_with)
            }
        }
        NeedsGraph => sound && on_cluster.as_ref().is_some_and(|message| message.contains("stands in no graph")),
        Kept => sound && (differs || object || !messages(&cluster_with, codes::NOT_YET).is_empty()),
        People => {
            sound && meaning(&cluster) == meaning(&cluster_with) && description.contains("or people")
                || description.contains("fields to fill in")
        }
    };
    (!good).then(|| {
        format!(
            "{}.{} should show as {:?}: compiled differs {differs}, object differs {object} ({:?}), local says {on_local:?}, cluster says {on_cluster:?}, problems {:?}",
            row.of, row.field, row.shows, cluster_with.objects.as_ref().err(),
            cluster_with.problems.iter().map(|problem| &problem.message).collect::<Vec<_>>()
        )
    })
}

/// Whether a warning names the field, or the section that it stands in.
fn said(come: &Come, row: &Row) -> bool {
    let (_, place) = around(row.of, row.field);
    let whole =
        format!("{place}/{}", row.field).trim_start_matches('/').replace("component/run", "run").replace('/', ".");
    messages(come, codes::NO_EFFECT).iter().any(|message| {
        let named = message.trim_start_matches('`').split('`').next().unwrap_or_default();
        whole == named || whole.starts_with(&format!("{named}."))
    })
}

/// A rule of an input refuses a value that breaks it.
fn of_rule(row: &Row) -> Option<String> {
    let (word, value) = match row.field {
        "regex" | "minLength" | "maxLength" | "contains" | "excludes" | "options" => ("str", json!("abc")),
        "minItems" | "maxItems" => ("list", json!([1, 2, 3])),
        "keys" | "containsKeys" | "excludesKeys" => ("dict", json!({"a": 1, "b": 2})),
        "decimalPlaces" => ("float", json!(1234.5)),
        _ => ("int", json!(1234)),
    };
    // What is checked later may be missing now.
    let params = if row.field == "delay" { json!({}) } else { json!({ "x": value }) };
    let operation = |rules: Value| {
        json!({"version": 1.1, "kind": "operation", "params": params, "component": {
            "inputs": [{"name": "x", "type": word, "validation": rules}], "run": {"kind": "job", "container": {"image": "a"}}}})
    };
    let mut rules = Map::new();
    let before = errors(&come(&operation(Value::Object(rules.clone())), "there/default"));
    rules.insert(row.field.to_owned(), row.value.clone());
    let after = errors(&come(&operation(Value::Object(rules)), "there/default"));
    let good = if row.field == "delay" { before > 0 && after == 0 } else { before == 0 && after > 0 };
    (!good).then(|| format!("IoValidation.{}: {before} errors without, {after} with it", row.field))
}

/// The fields of every type of a schema, with their descriptions.
fn declared() -> BTreeMap<String, BTreeMap<String, String>> {
    let schema = schema("operation", Draft::Draft2020).unwrap();
    let fields = |type_: &Value| -> BTreeMap<String, String> {
        let properties = type_["properties"].as_object().into_iter().flatten();
        properties
            .map(|(name, field)| (name.clone(), field["description"].as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let mut found: BTreeMap<String, BTreeMap<String, String>> =
        schema["$defs"].as_object().unwrap().iter().map(|(name, type_)| (name.clone(), fields(type_))).collect();
    found.insert("Operation".to_owned(), fields(&schema));
    found.retain(|_, fields| !fields.is_empty());
    found
}

/// What decides the shape of a document or section: without it there is none.
fn decides(field: &str) -> bool {
    ["kind", "version"].contains(&field)
}

#[test]
fn every_field_has_a_row_and_shows_what_the_row_says() {
    let declared = declared();
    let mut rows = rows();
    let passed = PASSED.iter().map(|(of, _)| (*of, Object)).chain(IGNORED.iter().map(|(of, _)| (*of, Nowhere)));
    for (of, shows) in passed {
        for field in declared[of].keys() {
            let value = match (of, field.as_str()) {
                ("Notification", "connections") => json!(["b"]),
                ("Notification", "trigger") => json!("failed"),
                ("ExecAction", _) => json!(["x"]),
                ("Probe", "http") => json!({"port": 8080}),
                ("Probe", _) => json!({}),
                ("Culling", _) => json!(7),
                ("SidecarSettings", "sleepInterval" | "syncInterval") => json!(7),
                ("SidecarSettings", "monitorLogs" | "monitorSpec" | "noConnections") => json!(true),
                ("SidecarSettings", "imagePullPolicy") => json!("Always"),
                (_, field) => sample(field),
            };
            rows.push(Row { of, field: field.clone().leak(), value, shows });
        }
    }
    let mut faults = Vec::new();
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for (of, fields) in &declared {
        let of_row = ALIKE.iter().find(|(name, _)| name == of).map_or(of.as_str(), |(_, other)| other);
        if let Some((_, test, listed)) = ELSEWHERE.iter().find(|(name, _, _)| name == of) {
            let listed: BTreeSet<&str> = listed.split(' ').collect();
            let all: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
            if listed != all || !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(test).is_file() {
                faults.push(format!("{of}: {all:?} are declared, {listed:?} are listed for {test}"));
            }
            continue;
        }
        let consists_of_words = of == "Run";
        for (field, description) in
            fields.iter().filter(|(field, _)| !(consists_of_words || decides(field) && of != "FileToWrite"))
        {
            match rows.iter().find(|row| row.of == of_row && row.field == field) {
                None => faults.push(format!("{of}.{field} has no row: what is its effect?")),
                Some(row) => {
                    *shown.entry(format!("{:?}", row.shows)).or_default() += 1;
                    faults.extend(fault(row, description));
                }
            }
        }
    }
    for row in &rows {
        if !declared.get(row.of).is_some_and(|fields| fields.contains_key(row.field)) {
            faults.push(format!("{}.{} has a row and is no field", row.of, row.field));
        }
    }
    println!("{} fields: {shown:?}", shown.values().sum::<usize>());
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// As version 2.16.4 of the original was seen to do it.
#[test]
fn a_patch_of_one_replica_reaches_every_replica_of_a_distributed_run() {
    let patched = |strategy: &str, patch: Value| {
        let operation = json!({"version": 1.1, "kind": "operation", "patchStrategy": strategy, "runPatch": patch, "component": {
            "run": {"kind": "tfjob", "chief": {"replicas": 1, "container": {"image": "a", "args": ["x"]}},
                "worker": {"replicas": 2, "container": {"image": "a", "args": ["x"]}}}}});
        let come = come(&operation, "there/default");
        assert_eq!(errors(&come), 0, "{:?}", come.problems);
        let run = come.workflow.unwrap().operation.read().run;
        ["chief", "worker"].map(|replica| run[replica].clone())
    };
    let replica =
        |n: u32, image: &str, args: Value| json!({"replicas": n, "container": {"image": image, "args": args}});
    let every = json!({"container": {"image": "b", "args": ["y"]}});
    let both = |image: &str, args: Value| [replica(1, image, args.clone()), replica(2, image, args)];
    assert_eq!(patched("post_merge", every.clone()), both("b", json!(["x", "y"])));
    assert_eq!(patched("replace", every.clone()), both("b", json!(["y"])));
    assert_eq!(patched("isnull", every), both("a", json!(["x"])));
    let one = json!({"worker": {"container": {"args": ["z"]}, "replicas": 5}});
    assert_eq!(patched("post_merge", one.clone()), [replica(1, "a", json!(["x"])), replica(5, "a", json!(["x", "z"]))]);
    assert_eq!(patched("replace", one.clone()), [replica(1, "a", json!(["x"])), replica(5, "a", json!(["z"]))]);
    assert_eq!(patched("isnull", one), both("a", json!(["x"])));
}
