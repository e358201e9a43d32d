//! Compiled operations as a catalog holds them: in the form in which they are stored.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::CompiledOperation;

/// A compiled operation as JSON. A catalog holds thousands of them and few are ever looked into: like this they take a
/// fifth of the memory.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredOperation(Box<[u8]>);

/// Bytes that most operations do not exceed.
const USUAL: usize = 2048;

impl StoredOperation {
    /// Stores an operation.
    pub fn of(operation: &CompiledOperation) -> Self {
        let mut text = Vec::with_capacity(USUAL);
        serde_json::to_writer(&mut text, operation).expect("a compiled operation is plain data with text keys");
        Self(text.into())
    }

    /// The operation.
    pub fn read(&self) -> CompiledOperation {
        serde_json::from_slice(&self.0).expect("what was written can be read")
    }

    /// Changes the operation.
    pub fn change(&mut self, change: impl FnOnce(&mut CompiledOperation)) {
        let mut operation = self.read();
        change(&mut operation);
        *self = Self::of(&operation);
    }
}

impl fmt::Debug for StoredOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for StoredOperation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).expect("it is JSON");
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredOperation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CompiledOperation::deserialize(deserializer).map(|operation| Self::of(&operation))
    }
}
