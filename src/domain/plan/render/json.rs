//! The plan for programs: one document, a line for each fact, or patches. All three are the model as it stands.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::escape;
use crate::domain::plan::model::{FORMAT_VERSION, Plan};

/// The document: the version, then the plan.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    /// Version of this format: an addition is a minor one, anything else a major one. Refuse an unknown major one.
    format_version: &'static str,
    #[serde(flatten)]
    plan: &'a Plan,
}

/// The JSON Schema of the document, as published in `schemas/plan.json`.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Document<'static>);
    schema.insert("title".into(), "The plan of a change".into());
    schema.insert("$id".into(), "https://tidegate.dev/schemas/plan.json".into());
    schema.into()
}

/// One document.
pub(super) fn document(plan: &Plan) -> String {
    let document = Document { format_version: FORMAT_VERSION, plan };
    let text = serde_json::to_string_pretty(&document).expect("a plan is plain data with text keys");
    escape::json(&text) + "\n"
}

/// A line for each fact.
pub(super) fn lines(plan: &Plan) -> String {
    let mut out = String::new();
    let mut line = |kind: &str, body: &dyn erased::Fact| {
        let mut value = json!({"type": kind});
        if let (Some(line), Value::Object(body)) = (value.as_object_mut(), body.value()) {
            line.extend(body);
        }
        out.push_str(&escape::json(&value.to_string()));
        out.push('\n');
    };
    line("version", &json!({"format": FORMAT_VERSION}));
    line("compared", &plan.compared);
    plan.objects.iter().for_each(|object| line("object", object));
    plan.division.iter().for_each(|level| line("level", level));
    plan.starts.iter().for_each(|start| line("start", start));
    plan.skips.iter().for_each(|skip| line("skip", skip));
    plan.guards.iter().for_each(|guard| line("guard", guard));
    plan.problems.iter().for_each(|problem| line("problem", problem));
    let end = json!({
        "summary": plan.summary, "adopted": plan.adopted, "reversibility": plan.reversibility,
        "digest": plan.digest, "exitCode": plan.exit_code,
    });
    line("summary", &end);
    out
}

/// RFC 6902, object by object.
pub(super) fn patch(plan: &Plan) -> String {
    let patched = plan.objects.iter().filter(|object| !object.patch.is_empty());
    let one = |object: &crate::domain::plan::model::ObjectChange| json!({"address": object.address, "action": object.action, "movedFrom": object.moved_from, "patch": object.patch});
    let all: Vec<Value> = patched.map(one).collect();
    escape::json(&serde_json::to_string_pretty(&all).expect("plain data with text keys")) + "\n"
}

mod erased {
    //! What can be a line: `Serialize` cannot be a trait object itself.
    pub(super) trait Fact {
        fn value(&self) -> serde_json::Value;
    }
    impl<T: serde::Serialize> Fact for T {
        fn value(&self) -> serde_json::Value {
            serde_json::to_value(self).expect("plain data with text keys")
        }
    }
}
