//! What a run comes to that hangs on other runs: it waits for them, takes their values, and asks its condition, once,
//! at the moment at which it may start; then its image is built. What it took is pinned with it.

use super::bind::{Facts, with_refs};
use super::build;
use super::conductor::{Records, Unreadable};
use super::joins::with_joins;
use super::render::{Globals, condition};
use crate::domain::catalog::{CompiledOperation, RefFrom};
use crate::domain::dispatch::Awaits;
use crate::domain::dispatch::command::{ComesTo, Prepare};
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{Digest, ProjectName, RunId};

/// What a run comes to, with the body that it is pinned to from then on, and that of the run that builds its image.
pub type Prepared = (Prepare, Vec<(Digest, Vec<u8>)>);

/// The runs that an operation hangs on.
pub fn hangs_on(operation: &CompiledOperation) -> Vec<RunId> {
    let refs = operation.refs.values().filter_map(|reference| match reference.from {
        RefFrom::Run(run) => Some(run),
        RefFrom::Op(_) | RefFrom::Dag => None,
    });
    refs.chain(operation.events.iter().map(|event| event.of)).collect()
}

/// What a run comes to now; `None`: it waits on.
pub fn prepared(
    row: &RunRow,
    operation: &CompiledOperation,
    awaits: Awaits,
    records: &dyn Records,
) -> Result<Option<Prepared>, Unreadable> {
    if let Awaits::Build(by) = awaits {
        return build::ended(row, operation, by, records);
    }
    let bound = match awaited(operation, records)? {
        Awaited::NotYet => return Ok(None),
        Awaited::Never(status, cause) => Err((status, cause)),
        Awaited::Now => bound(row, operation, records)?,
    };
    Ok(Some(match bound {
        Err((status, cause)) => settled(row.id, operation, ComesTo::Ended(status, cause)),
        Ok(bound) => match &bound.build {
            Some(build) => build::begun(row, &bound, build, records)?,
            None => settled(row.id, &bound, ComesTo::Ready),
        },
    }))
}

/// What a run comes to, pinned to an operation.
pub(super) fn settled(run: RunId, operation: &CompiledOperation, comes_to: ComesTo) -> Prepared {
    let body = serde_json::to_vec(operation).expect("a compiled operation is plain data with text keys");
    let spec = Digest::of(&body);
    (Prepare { run, spec, comes_to }, vec![(spec, body)])
}

enum Awaited {
    Now,
    NotYet,
    Never(Status, Cause),
}

fn awaited(operation: &CompiledOperation, records: &dyn Records) -> Result<Awaited, Unreadable> {
    // An event starts it whatever else it hangs on; what it takes then is what there is.
    let mut over: Option<(RunId, Status)> = None;
    for event in &operation.events {
        let seen = match records.statuses(event.of) {
            Err(Unreadable::Lost(why)) => return Ok(Awaited::Never(Status::Failed, Cause::new("MissingRun", why))),
            seen => seen?,
        };
        let done = seen.last().copied().filter(|status| status.is_final());
        let comes = seen.iter().any(|status| event.statuses.contains(status.word()));
        if comes || done.is_some() && event.statuses.contains("done") {
            return Ok(Awaited::Now);
        }
        match done {
            Some(status) => over = Some((event.of, status)),
            None => return Ok(Awaited::NotYet),
        }
    }
    if let Some((run, status)) = over {
        let message = format!("run {run} ended {status}, and this starts at another of its events");
        return Ok(Awaited::Never(Status::UpstreamFailed, Cause::new("UpstreamFailed", message)));
    }
    for run in hangs_on(operation) {
        match records.run(run) {
            Ok(row) if !row.status.is_final() => return Ok(Awaited::NotYet),
            Ok(_) => {}
            Err(Unreadable::Lost(why)) => return Ok(Awaited::Never(Status::Failed, Cause::new("MissingRun", why))),
            Err(now) => return Err(now),
        }
    }
    Ok(Awaited::Now)
}

/// What a reference finds: facts, why there are none, or why they cannot be read now.
type Found = Result<Result<Facts, Cause>, Unreadable>;

/// The operation with the values of its references and joins, for the run `own`; the cause says which there is none of.
pub(super) fn with_values(
    operation: &CompiledOperation,
    (project, own): (&ProjectName, RunId),
    records: &dyn Records,
    facts: &mut dyn FnMut(&RefFrom) -> Found,
) -> Result<Result<CompiledOperation, Cause>, Unreadable> {
    let mut not_now = None;
    let bound = with_refs(operation, &mut |from| match facts(from) {
        Ok(facts) => facts,
        Err(why) => {
            let cause = Cause::new("Unreadable", why.to_string());
            not_now = Some(why);
            Err(cause)
        }
    });
    if let Some(why) = not_now {
        return Err(why);
    }
    match bound {
        Ok(bound) => with_joins(bound, project, own, records),
        Err(cause) => Ok(Err(cause)),
    }
}

/// The operation with its values, when its condition is true.
fn bound(
    row: &RunRow,
    operation: &CompiledOperation,
    records: &dyn Records,
) -> Result<Result<CompiledOperation, (Status, Cause)>, Unreadable> {
    let failed = |cause| (Status::Failed, cause);
    let mut facts = |from: &RefFrom| facts(from, records);
    let mut bound = match with_values(operation, (&row.project, row.id), records, &mut facts)? {
        Ok(bound) => bound,
        Err(cause) => return Ok(Err(failed(cause))),
    };
    bound.events.clear();
    let Some(text) = bound.conditions.take() else { return Ok(Ok(bound)) };
    let globals = Globals {
        project_name: row.project.to_string(),
        name: row.name.clone(),
        uuid: row.id.to_string(),
        created_at: row.created_at.to_string(),
        ..Globals::default()
    };
    Ok(match condition(&bound, &text, &globals) {
        Ok(true) => Ok(bound),
        Ok(false) => Err((Status::Skipped, Cause::new("ConditionsCheckFailed", format!("`{text}` is not true")))),
        Err(cause) => Err(failed(cause)),
    })
}

/// What may be asked of another run; the inner error says that there is no such run.
fn facts(from: &RefFrom, records: &dyn Records) -> Result<Result<Facts, Cause>, Unreadable> {
    let RefFrom::Run(run) = from else {
        return Ok(Err(Cause::new("MissingValue", "it means a graph, and this stands in none")));
    };
    let row = match records.run(*run) {
        Ok(row) => row,
        Err(Unreadable::Lost(why)) => return Ok(Err(Cause::new("MissingValue", why))),
        Err(now) => return Err(now),
    };
    let operation = records.operation(row.spec)?;
    Ok(Ok(Facts::of(&row, &operation)))
}
