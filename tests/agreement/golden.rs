//! Compiled operations: field by field what the original compiles, but for a list of differences with their reasons.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate::domain::compile::Depth;
use tidegate::domain::compile::schema::{Draft, render};
use tidegate::domain::spec::Distribution;
use tidegate::domain::workflow::resolved::resolved;

use crate::compare::{differences, matches};
use crate::data::{compiled, errors, folder, records, text};

/// Where the two may differ, by the beginning of a JSON pointer with `*` for any step, and why.
const DELIBERATE: [(&str, &str); 4] = [
    ("/schedule/startAt", "times are kept as they are written"),
    ("/schedule/endAt", "times are kept as they are written"),
    ("/inputs/*/value", "the original compiles a pipeline without its params, which it gives to each run later"),
    ("/inputs/*/isOptional", "the same"),
];

#[test]
fn compiled_operations_equal_those_of_the_original() {
    let Some(folder) = folder("compiled_operations_equal_those_of_the_original") else { return };
    let mut wrong = Vec::new();
    let schema = jsonschema::validator_for(&render("compiled_operation", Draft::Draft2020).unwrap()).unwrap();
    let mut excused: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut fields, mut files) = (0, 0);
    for record in records(&folder.join("k8s-golden.jsonl")) {
        let file = text(&record, "file");
        let alone = compiled(&folder, &folder.join("open").join(file), Depth::Params);
        let Some(ours) = &alone.operation else {
            wrong.push(format!("{file} does not compile: {}", errors(&alone)));
            continue;
        };
        files += 1;
        // One schema holds for both; what is printed has its templates filled in as well.
        for (whose, one) in [("there", &record["compiled"]), ("here", ours), ("printed", &resolved(ours))] {
            wrong.extend(schema.iter_errors(one).map(|error| {
                let path = error.instance_path().to_string();
                format!("{file} is no compiled operation as it is {whose}: {path}: {error}")
            }));
        }
        let mut theirs = record["compiled"].clone();
        // What the original has resolved has its params in its inputs, as ours has.
        let resolved_inputs = record["resolved"].get("inputs").filter(|_| theirs.get("inputs").is_some()).cloned();
        let is_resolved = resolved_inputs.is_some();
        if let Some(inputs) = resolved_inputs {
            theirs["inputs"] = inputs;
        }
        let mut found = Vec::new();
        fields += differences(&canonical(&theirs), &canonical(ours), "", &mut found);
        for (pointer, theirs, ours) in found {
            let excuse = DELIBERATE.iter().find(|(pattern, _)| matches(pattern, &pointer));
            match excuse.filter(|(pattern, _)| !(is_resolved && pattern.starts_with("/inputs"))) {
                Some((pattern, _)) => *excused.entry(pattern).or_default() += 1,
                None => wrong.push(format!("{file} {pointer}: {theirs} there, {ours} here")),
            }
        }
    }
    println!(
        "{files} files, {fields} fields compared, {} differ on purpose: {excused:?}",
        excused.values().sum::<u32>()
    );
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn commands_are_rendered_as_by_the_original() {
    let Some(folder) = folder("commands_are_rendered_as_by_the_original") else { return };
    let (mut wrong, mut same, mut left) = (Vec::new(), 0, 0);
    for record in records(&folder.join("k8s-golden.jsonl")) {
        let file = text(&record, "file");
        let alone = compiled(&folder, &folder.join("open").join(file), Depth::Params);
        let Some(ours) = alone.operation.as_ref().map(resolved) else { continue };
        for key in ["command", "args", "image", "workingDir"] {
            let pointer = format!("/run/container/{key}");
            let (theirs, ours) = (record["resolved"].pointer(&pointer), ours.pointer(&pointer));
            let (Some(theirs), Some(ours)) = (theirs, ours) else { continue };
            if ours.to_string().contains("{{") {
                left += 1;
            } else if words(theirs) == words(ours) {
                same += 1;
            } else {
                wrong.push(format!("{file} {pointer}: {theirs} there, {ours} here"));
            }
        }
    }
    println!("{same} commands are the same, {left} wait for their run");
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// A command line as words: one text is split at white space, a command of one text is that text.
fn words(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(list) => list.iter().flat_map(words).collect(),
        other => text(other).split_whitespace().map(str::to_owned).collect(),
    }
}

/// One form for what means the same: no nothing, numbers by value, flags as booleans.
fn canonical(value: &Value) -> Value {
    match value {
        // A distribution may be written in three ways.
        Value::Object(map) if map.contains_key("kind") && Distribution::read(value).is_ok() => {
            json!(format!("{:?}", Distribution::read(value)))
        }
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), canonical(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(canonical).collect()),
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}
