//! What follows the end of a run: its hooks, those whose trigger and conditions suit how it ended, as runs of their own.

use serde_json::{Value, json};

use super::helper::About;
use super::render::Globals;
use super::start::{Circumstances, of_operation};
use crate::domain::catalog::{CompiledOperation, Hook};
use crate::domain::dispatch::command::{Follow, NewChild};
use crate::domain::dispatch::event::Origin;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Digest, RunId};
use crate::domain::time::Timestamp;

/// What follows a run that has ended, with the bodies of its runs.
pub fn following(row: &RunRow, operation: &CompiledOperation) -> (Follow, Vec<(Digest, Vec<u8>)>) {
    let about = about(row, operation);
    let mut follow = Follow { of: row.id, runs: Vec::new() };
    let mut bodies = Vec::new();
    for (place, hook) in operation.hooks.iter().enumerate() {
        let Some(child) = one(row, hook, &about) else { continue };
        let (bound, ended) = child;
        let circumstances = Circumstances {
            id: hook_id(row, place),
            project: row.project.clone(),
            workflow: row.workflow.clone(),
            commit: row.commit.clone(),
            queue: hook.queue.clone(),
            group: None,
            origin: Origin::Hook { of: row.id },
        };
        let mut start = of_operation(&bound, circumstances);
        start.run.name = format!("{}-{}", row.name, hook.name);
        start.run.needs_approval &= ended.is_none();
        follow.runs.push(NewChild { run: start.run, ended });
        bodies.push(start.body);
    }
    (follow, bodies)
}

/// The ids that the hooks of a run have, as far as they fired.
pub fn hook_ids(row: &RunRow, operation: &CompiledOperation) -> Vec<RunId> {
    (0..operation.hooks.len()).map(|place| hook_id(row, place)).collect()
}

/// The hooks of a run that has gone on are others than those of its life before.
fn hook_id(row: &RunRow, place: usize) -> RunId {
    RunId::derived(row.id, &format!("hook {place} after {}", row.attempt))
}

/// A hook with its values, or how it ends without a start; `None` when it does not follow.
fn one(row: &RunRow, hook: &Hook, about: &About) -> Option<(CompiledOperation, Option<(Status, Cause)>)> {
    let suits = hook.trigger.as_deref().is_none_or(|word| word == "done" || word == row.status.word());
    if !suits {
        return None;
    }
    let failed = |cause: Cause| Some((hook.operation.clone(), Some((Status::Failed, cause))));
    if let Some(text) = &hook.conditions {
        match about.condition(text) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(cause) => return failed(cause),
        }
    }
    let mut bound = match about.told(&hook.operation) {
        Ok(bound) => bound,
        Err(cause) => return failed(cause),
    };
    if hook.informed {
        about.inform(&mut bound);
    }
    Some((bound, None))
}

/// What templates of hooks know of the run that has ended (Polyaxon's names).
fn about(row: &RunRow, operation: &CompiledOperation) -> About {
    let seconds = |from: Option<Timestamp>, to: Option<Timestamp>| {
        from.zip(to).map(|(from, to)| (to.0 - from.0).max(0) as f64 / 1000.0)
    };
    let (reason, message) = row.cause.as_ref().map(|cause| (&cause.reason[..], &cause.message[..])).unwrap_or_default();
    let known = [
        ("name", json!(row.name)),
        ("uuid", json!(row.id.to_string())),
        ("kind", json!(row.kind)),
        ("status", json!(row.status.word())),
        ("condition", json!({ "type": row.status.word(), "reason": reason, "message": message })),
        ("wait_time", json!(seconds(Some(row.created_at), row.started_at.or(row.finished_at)))),
        ("runtime", json!(seconds(row.started_at, row.finished_at))),
        ("duration", json!(seconds(Some(row.created_at), row.finished_at))),
        ("inputs", json!(operation.inputs)),
        ("outputs", Value::Object(row.outputs.clone())),
    ];
    let inputs = known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let globals = Globals {
        project_name: row.project.to_string(),
        name: row.name.clone(),
        uuid: row.id.to_string(),
        status: row.status.word().to_owned(),
        created_at: row.created_at.to_string(),
        iteration: operation.point.as_ref().map_or(0, |point| point.iteration),
        ..Globals::default()
    };
    About::new(inputs, globals)
}
