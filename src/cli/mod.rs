//! TODO-cli
pub mod explain;
pub mod schema;
pub mod validate;

use std::process::ExitCode;
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
