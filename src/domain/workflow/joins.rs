//! Values from the results of earlier runs: each param of a join is a list with one element for each run that its query
//! finds. They are taken at the moment at which the operation starts, and pinned with it.

use serde_json::Value;

use super::bind::{Facts, set};
use super::conductor::{Records, Unreadable};
use crate::domain::catalog::CompiledOperation;
use crate::domain::dispatch::observation::Cause;
use crate::domain::ids::{ProjectName, RunId};

/// Bytes of JSON that one join may give: what many runs reported becomes part of one operation.
const MAX_JOINED_BYTES: usize = 4 << 20;

/// The operation with what its joins give it; the cause says why there is none.
pub(super) fn with_joins(
    mut operation: CompiledOperation,
    project: &ProjectName,
    own: RunId,
    records: &dyn Records,
) -> Result<Result<CompiledOperation, Cause>, Unreadable> {
    for join in std::mem::take(&mut operation.joins) {
        let rows = match records.joined(project, own, &join)? {
            Ok(rows) => rows,
            Err(cause) => return Ok(Err(cause)),
        };
        let wants_inputs = join.params.values().any(|path| path.starts_with("inputs") || path.starts_with("io"));
        let mut lists: Vec<Vec<Value>> = vec![Vec::new(); join.params.len()];
        let mut bytes = 0;
        for row in &rows {
            let of = if wants_inputs { records.operation(row.spec)? } else { Default::default() };
            let facts = Facts::of(row, &of);
            for (list, path) in lists.iter_mut().zip(join.params.values()) {
                // A run without the value keeps its place.
                let value = facts.value(path).unwrap_or_default();
                bytes += value.to_string().len();
                list.push(value);
            }
            if bytes > MAX_JOINED_BYTES {
                let message = format!(
                    "what its join over `{}` gives is larger than {MAX_JOINED_BYTES} bytes: ask for fewer runs, or for single values",
                    join.query
                );
                return Ok(Err(Cause::new("JoinTooLarge", message)));
            }
        }
        for (name, list) in join.params.keys().zip(lists) {
            if let Err(cause) = set(&mut operation, name, &Value::Array(list)) {
                return Ok(Err(cause));
            }
        }
    }
    Ok(Ok(operation))
}
