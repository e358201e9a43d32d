//! Sections: what the original's schema of each accepts, a document with that section accepts.

use serde_json::{Value, json};
use tidegate::domain::spec::matrix::{GaussianProcess, Utility};
use tidegate::domain::spec::reading::certain;
use tidegate::domain::spec::{Distribution, EarlyStopping, EventTrigger, Fault, JoinSpec, Matrix, Schedule};

use crate::data::{folder, records, shape_errors, text};
use crate::rates::Rates;

/// What is wrong with a section that has a type of its own; `None` for the others.
fn typed(schema: &str, value: &Value) -> Option<Vec<Fault>> {
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
        "V1EventTrigger" => written(EventTrigger::read(value).err()),
        "V1Join" => written(JoinSpec::read(value).err()),
        _ => return None,
    };
    Some(faults)
}

/// What does not wait for templates to be filled in.
fn written(faults: Option<Vec<Fault>>) -> Vec<Fault> {
    faults.into_iter().flatten().filter(|fault| !fault.message.contains("has not been filled in")).collect()
}

/// A document with the section in its place; `None` for sections that stand in no file.
fn document(schema: &str, value: &Value) -> Option<Value> {
    let component = json!({"inputs": [{"name": "a"}], "run": {"kind": "job", "container": {"image": "a"}}});
    let operation = |key: &str, value: Value| json!({"version": 1.1, "kind": "operation", key: value, "component": component.clone()});
    let with_run = |run: Value| json!({"version": 1.1, "kind": "component", "run": run});
    let with_kind = |value: &Value, kind: &str| {
        let mut value = value.clone();
        if let Some(map) = value.as_object_mut() {
            map.entry("kind").or_insert_with(|| json!(kind));
        }
        value
    };
    let whole = |value: &Value, kind: &str| {
        let mut value = with_kind(value, kind);
        if let Some(map) = value.as_object_mut() {
            map.insert("version".to_owned(), json!(1.1));
        }
        value
    };
    Some(match schema {
        "V1Build" => operation("build", value.clone()),
        "V1Cache" => operation("cache", value.clone()),
        "V1Plugins" => operation("plugins", value.clone()),
        "V1Termination" => operation("termination", value.clone()),
        "V1Culling" => operation("termination", json!({"culling": value})),
        "V1ActivityProbe" => operation("termination", json!({"probe": value})),
        "V1Hook" => operation("hooks", json!([value])),
        "V1Notification" => operation("plugins", json!({"notifications": [value]})),
        "V1Param" => operation("params", json!({"a": value})),
        "V1Environment" => with_run(json!({"kind": "job", "environment": value})),
        "V1Init" => with_run(json!({"kind": "job", "init": [value]})),
        "V1Job" => with_run(with_kind(value, "job")),
        "V1Dag" => with_run(with_kind(value, "dag")),
        "V1IO" => json!({"version": 1.1, "kind": "component", "inputs": [value], "run": {"kind": "job"}}),
        "V1Component" => whole(value, "component"),
        "V1Operation" => with_run(json!({"kind": "dag", "operations": [value]})),
        _ => return None,
    })
}

#[test]
fn sections_are_read_as_by_the_schemas_of_the_original() {
    let Some(folder) = folder("sections_are_read_as_by_the_schemas_of_the_original") else { return };
    let mut rates = Rates::default();
    for case in records(&folder.join("schema-cases.jsonl")) {
        let (schema, value) = (text(&case, "schema"), &case["value"]);
        let said = match (typed(schema, value), document(schema, value)) {
            (Some(faults), _) => faults.iter().map(|fault| format!("{fault:?}")).collect::<Vec<_>>().join("; "),
            (None, Some(document)) => shape_errors(&document),
            (None, None) => continue,
        };
        rates.add(schema, text(&case, "expect") == "valid", said.is_empty(), false, || {
            let why = text(&case, "error").chars().take(200).collect::<String>();
            format!("{value} is {} ({why}); we say {said}", text(&case, "expect"))
        });
    }
    rates.finish("sections");
}
