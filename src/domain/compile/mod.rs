//! Text → catalog or diagnostics: parse, schema, defaults, resolve, checks.

pub mod codes;
pub mod parse;
mod scalar;
pub mod schema;
pub mod text;
mod violation;
