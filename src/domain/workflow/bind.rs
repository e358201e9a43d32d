//! Values that are known only when an operation is made: taken from other runs, typed as its inputs say, checked.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::domain::catalog::{CompiledOperation, ParamRef, RefFrom};
use crate::domain::compile::late;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::observation::Cause;

/// What other operations may ask of a run.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// How people call it.
    pub name: String,
    /// The values that it ran with.
    pub inputs: BTreeMap<String, Value>,
    /// What it reported, over what was known beforehand.
    pub outputs: Map<String, Value>,
    /// Its globals.
    pub globals: Map<String, Value>,
}

impl Facts {
    /// The facts of a run, from its row and the operation that it was made of.
    pub fn of(row: &RunRow, operation: &CompiledOperation) -> Self {
        let time = |at: Option<crate::domain::time::Timestamp>| at.map(|at| at.to_string());
        let globals = json!({
            "name": row.name, "uuid": row.id.to_string(), "status": row.status.word(), "project_name": row.project,
            "iteration": operation.point.as_ref().map(|point| point.iteration), "created_at": row.created_at.to_string(),
            "started_at": time(row.started_at), "finished_at": time(row.finished_at),
        });
        let globals = match globals {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let mut outputs = Map::from_iter(operation.outputs.clone());
        outputs.extend(row.outputs.clone());
        Self { name: row.name.clone(), inputs: operation.inputs.clone(), outputs, globals }
    }

    /// A value by its path; `None` when there is none.
    pub fn value(&self, path: &str) -> Option<Value> {
        let inputs = || Map::from_iter(self.inputs.clone());
        match path.split_once('.') {
            None => match path {
                "inputs" => Some(Value::Object(inputs())),
                "outputs" => Some(Value::Object(self.outputs.clone())),
                "io" => Some(json!({ "inputs": inputs(), "outputs": self.outputs })),
                "globals" => Some(Value::Object(self.globals.clone())),
                _ => None,
            },
            Some(("inputs", name)) => self.inputs.get(name).cloned(),
            Some(("outputs", name)) => self.outputs.get(name).cloned(),
            Some(("globals", name)) => self.globals.get(name).cloned(),
            Some(_) => None,
        }
    }
}

/// The operation with the values of its references; the cause says which of them there is none of.
pub fn with_refs(
    operation: &CompiledOperation,
    facts: &mut dyn FnMut(&RefFrom) -> Result<Facts, Cause>,
) -> Result<CompiledOperation, Cause> {
    let mut bound = operation.clone();
    for (name, reference) in std::mem::take(&mut bound.refs) {
        let facts = facts(&reference.from)?;
        let value = taken(&name, &reference, &facts, bound.late.get(&name))?;
        set(&mut bound, &name, &value)?;
    }
    Ok(bound)
}

/// The value that a reference means.
pub fn taken(name: &str, reference: &ParamRef, facts: &Facts, io: Option<&Value>) -> Result<Value, Cause> {
    let optional = io.is_none_or(|io| io.get("value").is_some() || io.get("isOptional") == Some(&json!(true)));
    match facts.value(&reference.path) {
        Some(value) => Ok(value),
        None if optional => Ok(io.and_then(|io| io.get("value")).cloned().unwrap_or_default()),
        None => {
            let message = format!("`{name}` is `{}` of `{}`, which has no such value", reference.path, facts.name);
            Err(Cause::new("MissingValue", message))
        }
    }
}

/// Gives an input its value, which is no template any more.
pub fn set(operation: &mut CompiledOperation, name: &str, value: &Value) -> Result<(), Cause> {
    operation.templated.remove(name);
    let Some(io) = operation.late.get(name) else {
        operation.inputs.insert(name.to_owned(), value.clone());
        return Ok(());
    };
    let (value, argument) =
        late(io, name, value).map_err(|why| Cause::new("InvalidParam", format!("`{name}`: {why}")))?;
    // An empty form keeps the place that the order of declaration gives.
    operation.as_arg.insert(name.to_owned(), argument);
    operation.inputs.insert(name.to_owned(), value);
    Ok(())
}
