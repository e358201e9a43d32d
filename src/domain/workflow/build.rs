//! The build of a run's image: a run of its own, made before the run may stand anywhere, and what its end comes to.

use serde_json::{Map, Value, json};

use super::conductor::{Records, Unreadable};
use super::prepare::{Prepared, settled};
use super::render::{Globals, fill, mentioned, text_of};
use super::start::{Circumstances, of_operation};
use crate::domain::catalog::{Build, CompiledOperation};
use crate::domain::dispatch::command::ComesTo;
use crate::domain::dispatch::event::Origin;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::honour::each_pod;
use crate::domain::ids::RunId;

/// The param of a build that says what the image is called, and the output by which it may say so itself.
const DESTINATION: &str = "destination";

/// The run that builds the image of a run whose operation has all its values.
pub(super) fn begun(
    row: &RunRow,
    operation: &CompiledOperation,
    build: &Build,
    records: &dyn Records,
) -> Result<Prepared, Unreadable> {
    let id = free_id(row, records)?;
    let name = format!("{}-build", row.name);
    let mut globals = records.surroundings(&build.queue.agent);
    (globals.project_name, globals.name, globals.uuid) = (row.project.to_string(), name.clone(), id.to_string());
    let mut told = told(&build.operation, operation);
    let image = match aimed(&mut told, &globals) {
        Ok(image) => image,
        Err(cause) => return Ok(settled(row.id, operation, ComesTo::Ended(Status::Failed, cause))),
    };
    let circumstances = Circumstances {
        id,
        project: row.project.clone(),
        workflow: row.workflow.clone(),
        commit: row.commit.clone(),
        queue: build.queue.clone(),
        group: None,
        origin: Origin::Build { of: row.id },
    };
    let mut start = of_operation(&told, circumstances);
    start.run.name = name;
    if let (Some(ask), Some(image)) = (&mut start.run.cache, &image) {
        // Who takes this image over in place of building it again must know what it is called.
        ask.outputs = Map::from_iter([(DESTINATION.to_owned(), Value::from(image.clone()))]);
    }
    let pinned = CompiledOperation { build: Some(Box::new(Build { image, ..build.clone() })), ..operation.clone() };
    let (prepare, mut bodies) = settled(row.id, &pinned, ComesTo::Building(Box::new(start.run)));
    bodies.push(start.body);
    Ok((prepare, bodies))
}

/// What a run comes to whose image is built; `None` while it is.
pub(super) fn ended(
    row: &RunRow,
    operation: &CompiledOperation,
    by: RunId,
    records: &dyn Records,
) -> Result<Option<Prepared>, Unreadable> {
    let build = match records.run(by) {
        Ok(build) if !build.status.is_final() => return Ok(None),
        Ok(build) => build,
        Err(Unreadable::Lost(_)) => {
            let cause = Cause::new("MissingRun", format!("its build, run {by}, is gone from the history"));
            return Ok(Some(settled(row.id, operation, ComesTo::Ended(Status::Failed, cause))));
        }
        Err(now) => return Err(now),
    };
    if build.status != Status::Succeeded {
        let why = build.cause.as_ref().map(|cause| format!(": {}", cause.message)).unwrap_or_default();
        let cause = Cause::new("BuildNotSucceeded", format!("its build, run {by}, ended {}{why}", build.status));
        return Ok(Some(settled(row.id, operation, ComesTo::Ended(build.status, cause))));
    }
    let reported = build.outputs.get(DESTINATION).and_then(Value::as_str).map(str::to_owned);
    let known = operation.build.as_ref().and_then(|build| build.image.clone());
    let Some(image) = reported.or(known) else {
        let message =
            format!("its build, run {by}, has no `{DESTINATION}` and reported none: what it built is not known");
        let cause = Cause::new("NoImage", message);
        return Ok(Some(settled(row.id, operation, ComesTo::Ended(Status::Failed, cause))));
    };
    let mut built = CompiledOperation { build: None, ..operation.clone() };
    put_image(&mut built.run, &image);
    Ok(Some(settled(row.id, &built, ComesTo::Ready)))
}

/// The first id of builds of the run that none of its earlier lives has used.
fn free_id(row: &RunRow, records: &dyn Records) -> Result<RunId, Unreadable> {
    let mut ids = (0u32..).map(|n| RunId::derived(row.id, &format!("build {n}")));
    loop {
        let id = ids.next().ok_or_else(|| Unreadable::Lost("it was built too often".to_owned()))?;
        match records.run(id) {
            Ok(_) => {}
            Err(Unreadable::Lost(_)) => return Ok(id),
            Err(now) => return Err(now),
        }
    }
}

/// An operation with the image that was built for another life of it, if one was.
pub(super) fn with_image_of(mut operation: CompiledOperation, former: &CompiledOperation) -> CompiledOperation {
    let mut image = None;
    each_pod(&former.run, &mut |_, pod| {
        let found = pod.pointer("/container/image").and_then(Value::as_str);
        image = image.take().or(found.map(str::to_owned));
    });
    if let Some(image) = image.filter(|_| former.build.is_none()) {
        operation.build = None;
        put_image(&mut operation.run, &image);
    }
    operation
}

/// Lets the main container of every pod run an image.
fn put_image(run: &mut Value, image: &str) {
    let mut places = Vec::new();
    each_pod(run, &mut |at, _| places.push(at));
    for place in places {
        let pod = run.pointer_mut(place.trim_start_matches("/run")).and_then(Value::as_object_mut);
        let container = pod.map(|pod| pod.entry("container").or_insert_with(|| json!({})));
        if let Some(container) = container {
            match container.as_object_mut() {
                Some(container) => drop(container.insert("image".to_owned(), image.into())),
                None => *container = json!({ "image": image }),
            }
        }
    }
}

/// The building operation with those inputs of the run that its templates speak of and that it has not itself.
fn told(build: &CompiledOperation, of: &CompiledOperation) -> CompiledOperation {
    let mut told = build.clone();
    let inputs = Value::Object(Map::from_iter(build.inputs.clone()));
    let names = mentioned([&inputs, &build.run]);
    let lent = of.inputs.iter().filter(|(name, _)| names.contains(name.as_str()));
    for (name, value) in lent {
        if !told.inputs.contains_key(name) {
            told.inputs.insert(name.clone(), value.clone());
            told.templated.extend(of.templated.get(name).cloned());
        }
    }
    told
}

/// Fills in what the image is called and pins it; what a registry is called stands before it.
fn aimed(build: &mut CompiledOperation, globals: &Globals) -> Result<Option<String>, Cause> {
    let Some(written) = build.inputs.get(DESTINATION).filter(|value| !value.is_null()) else { return Ok(None) };
    let filled = fill(build, written, DESTINATION, globals)?;
    build.inputs.insert(DESTINATION.to_owned(), filled.clone());
    build.templated.remove(DESTINATION);
    let name = text_of(&filled);
    let connection = build.forms.get(DESTINATION).and_then(|form| form.connection.as_ref());
    let connection = connection.and_then(|connection| globals.connections.get(connection));
    let url = connection.and_then(|connection| connection.get("url")).and_then(Value::as_str);
    Ok(Some(url.map_or_else(|| name.clone(), |url| format!("{}/{name}", url.trim_end_matches('/')))))
}
