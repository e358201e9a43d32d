//! The fields of a mapping, found by comparing keys.
//!
//! What people write has few fields, most of those that are asked for are absent, and comparing a key with a dozen others
//! costs less than hashing it.

use serde_json::{Map, Value};

/// The most fields of a mapping that are compared one by one.
const FEW: usize = 16;

/// Something that may have fields.
pub(super) trait Lookup {
    /// The value of a field.
    fn field(&self, key: &str) -> Option<&Value>;

    /// The value of a field, to be changed.
    fn field_mut(&mut self, key: &str) -> Option<&mut Value>;
}

impl Lookup for Map<String, Value> {
    #[inline]
    fn field(&self, key: &str) -> Option<&Value> {
        if self.len() > FEW {
            return self.get(key);
        }
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    #[inline]
    fn field_mut(&mut self, key: &str) -> Option<&mut Value> {
        if self.len() > FEW {
            return self.get_mut(key);
        }
        self.iter_mut().find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

impl Lookup for Value {
    #[inline]
    fn field(&self, key: &str) -> Option<&Value> {
        self.as_object()?.field(key)
    }

    #[inline]
    fn field_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.as_object_mut()?.field_mut(key)
    }
}
