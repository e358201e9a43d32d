//! Where the fields of a document stand: a table that every object of a catalog carries.
//!
//! Commits have thousands of objects with dozens of fields each, and a reader asks for few of them: the table is three
//! allocations, not three for every field.

use std::sync::Arc;

use super::diagnostic::Place;

/// The places of the values of one document, by JSON pointer (`/quota/cpu`).
#[derive(Debug, Clone, PartialEq)]
pub struct FieldPlaces {
    file: Arc<str>,
    /// All pointers, one behind the other.
    pointers: String,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq)]
struct Field {
    /// Its pointer's part of `pointers`.
    from: u32,
    to: u32,
    line: u32,
    column: u32,
    end_column: u32,
}

impl Default for FieldPlaces {
    fn default() -> Self {
        Self::new("".into())
    }
}

impl FieldPlaces {
    /// A table without fields.
    pub fn new(file: Arc<str>) -> Self {
        Self { file, pointers: String::new(), fields: Vec::new() }
    }

    /// A table without fields, with room for so many whose pointers have so many bytes together.
    pub(super) fn with_capacity(file: Arc<str>, fields: usize, bytes: usize) -> Self {
        Self { file, pointers: String::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Adds a field.
    pub(super) fn add(&mut self, pointer: &str, line: u32, column: u32, end_column: u32) {
        let from = self.pointers.len() as u32;
        self.pointers.push_str(pointer);
        self.fields.push(Field { from, to: self.pointers.len() as u32, line, column, end_column });
    }

    /// The place of the value under a JSON pointer.
    pub fn get(&self, pointer: &str) -> Option<Place> {
        // Most tables are never asked, and none often: sorting them would cost more than it saves.
        let is_asked = |field: &&Field| self.pointers[field.from as usize..field.to as usize] == *pointer;
        let Field { line, column, end_column, .. } = *self.fields.iter().find(is_asked)?;
        Some(Place { file: Arc::clone(&self.file), line, column, end_column })
    }
}
