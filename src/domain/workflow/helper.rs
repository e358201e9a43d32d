//! Operations that are started on behalf of another run and told about it: the hooks that follow it, the tuner of a
//! search. What they are told stands in templates of their inputs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::bind::set;
use super::render::{Globals, condition, fill};
use crate::domain::catalog::CompiledOperation;
use crate::domain::dispatch::observation::Cause;

/// What templates of a helper know.
pub(super) struct About {
    known: CompiledOperation,
    globals: Globals,
}

impl About {
    pub fn new(known: BTreeMap<String, Value>, globals: Globals) -> Self {
        Self { known: CompiledOperation { inputs: known, ..CompiledOperation::default() }, globals }
    }

    /// Whether a condition over what is known is true.
    pub fn condition(&self, text: &str) -> Result<bool, Cause> {
        condition(&self.known, text, &self.globals)
    }

    /// A helper whose inputs are filled in.
    pub fn told(&self, helper: &CompiledOperation) -> Result<CompiledOperation, Cause> {
        let mut told = helper.clone();
        for (name, value) in &helper.inputs {
            let filled = fill(&self.known, value, name, &self.globals)?;
            if filled != *value {
                set(&mut told, name, &filled)?;
            }
        }
        told.late.clear();
        Ok(told)
    }

    /// Everything that is known, for templates beyond the inputs.
    pub fn inform(&self, helper: &mut CompiledOperation) {
        for (name, value) in &self.known.inputs {
            helper.inputs.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// What a tuner suggests: its output `suggestions`, a list of mappings of params.
pub(super) fn suggestions(outputs: Option<&Map<String, Value>>) -> Result<Vec<Map<String, Value>>, String> {
    let wrong = || "the tuner has not reported `suggestions`, a list of mappings from params to values".to_owned();
    let list = outputs.and_then(|outputs| outputs.get("suggestions")).and_then(Value::as_array).ok_or_else(wrong)?;
    list.iter().map(|one| one.as_object().cloned().ok_or_else(wrong)).collect()
}
