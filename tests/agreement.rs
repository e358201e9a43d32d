//! Agreement with Polyaxon's own verdicts, on the cases that its reference implementation was run on.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use tidegate::domain::compile::{Depth, check_alone};
use tidegate::domain::spec::matrix::{GaussianProcess, Utility};
use tidegate::domain::spec::reading::certain;
use tidegate::domain::spec::{Distribution, EarlyStopping, EventTrigger, Fault, JoinSpec, Matrix, Schedule};

/// The groups of cases that this version reads completely.
const GROUPS: [&str; 19] = [
    "file",
    "op",
    "io",
    "io-type",
    "io-validation",
    "params",
    "runPatch",
    "name",
    "tags",
    "queue",
    "cost",
    "termination",
    "cache",
    "approval",
    "plugins",
    "matrix",
    "hp",
    "schedule",
    "early-stopping",
];
/// Cases on which we differ on purpose, by id, with the reason.
const DELIBERATE: [(&str, &str); 2] = [
    ("op-235", "the original crashes on joins without params; they are empty here"),
    ("schedule-247", "a crontab line that cannot be read is an error here, and no surprise at two in the morning"),
];

fn data() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/polyaxon");
    let folder = std::env::var_os("TIDEGATE_POLYAXON_DATA").map_or(beside, PathBuf::from);
    folder.join("expectations.jsonl").is_file().then_some(folder)
}

#[test]
fn verdicts_agree_with_those_of_the_original() {
    let Some(folder) = data() else {
        eprintln!(
            "left out: verdicts_agree_with_those_of_the_original (no expectations.jsonl; set TIDEGATE_POLYAXON_DATA)"
        );
        return;
    };
    let text = std::fs::read_to_string(folder.join("expectations.jsonl")).unwrap();
    let mut rates: BTreeMap<(String, &str), (u32, u32)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let field = |key: &str| case[key].as_str().unwrap_or_default();
        if field("split") != "open" || !GROUPS.contains(&field("group")) {
            continue;
        }
        for (depth, key) in [(Depth::Shape, "lint_2_16_4"), (Depth::Params, "check_2_16_4")] {
            let found = check_alone("polyaxonfile.yaml", field("yaml").as_bytes(), depth);
            let agrees = (found.errors() == 0) == (field(key) == "valid");
            let rate = rates.entry((field("group").to_owned(), key)).or_default();
            rate.0 += u32::from(agrees);
            rate.1 += 1;
            if !agrees && !DELIBERATE.iter().any(|(id, _)| *id == field("id")) {
                let said: Vec<String> = found.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
                wrong.push(format!("{} {key} is {}, we say {said:?} ({})", field("id"), field(key), field("why")));
            }
        }
    }
    for ((group, depth), (good, all)) in &rates {
        println!("{group:16} {depth:14} {good}/{all}");
    }
    let (good, all) = rates.values().fold((0, 0), |(a, b), (good, all)| (a + good, b + all));
    println!("total {good}/{all}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Reads a section of the original's schema tests with our own type; `None` for sections that are not typed.
fn read_section(schema: &str, value: &Value) -> Option<Vec<Fault>> {
    let faults = match schema {
        word if word.starts_with("V1Hp") => certain(Distribution::read(value)),
        "V1Mapping" | "V1GridSearch" | "V1RandomSearch" | "V1Hyperband" | "V1Bayes" | "V1Hyperopt" | "V1Iterative" => {
            certain(Matrix::read(value))
        }
        "V1FailureEarlyStopping" | "V1MetricEarlyStopping" => certain(EarlyStopping::read(value)),
        "V1CronSchedule" | "V1IntervalSchedule" | "V1DateTimeSchedule" => certain(Schedule::read(value)),
        "UtilityFunctionConfig" => certain(Utility::read(value)),
        "GaussianProcessConfig" => certain(GaussianProcess::read(value)),
        // What is missing is told by the schema in a file, and by the reader here.
        "V1EventTrigger" => EventTrigger::read(value).err().unwrap_or_default(),
        "V1Join" => JoinSpec::read(value).err().unwrap_or_default(),
        _ => return None,
    };
    Some(faults)
}

#[test]
fn sections_are_read_as_by_the_schemas_of_the_original() {
    let Some(folder) = data().filter(|folder| folder.join("schema-cases.jsonl").is_file()) else {
        eprintln!("left out: sections_are_read_as_by_the_schemas_of_the_original (no schema-cases.jsonl)");
        return;
    };
    let (mut seen, mut wrong) = (0, Vec::new());
    for line in std::fs::read_to_string(folder.join("schema-cases.jsonl")).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let Some(faults) = read_section(case["schema"].as_str().unwrap(), &case["value"]) else { continue };
        seen += 1;
        if faults.is_empty() != (case["expect"] == "valid") {
            wrong.push(format!("{} {} is {}, we say {faults:?}", case["schema"], case["value"], case["expect"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen > 80, "only {seen} cases were looked at");
}
