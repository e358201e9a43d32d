//! Agreement with Polyaxon's own verdicts, on the cases that its reference implementation was run on.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use tidegate::domain::compile::{Depth, check_alone};

/// The groups of cases that this version reads completely.
const GROUPS: [&str; 15] = [
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
];
/// Cases on which we differ on purpose, by id, with the reason.
const DELIBERATE: [(&str, &str); 1] = [("op-235", "the original crashes on joins without params; they are empty here")];

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
