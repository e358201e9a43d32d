//! The binary: hands the arguments to [`tidegate::cli`] and sets the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::main()
}
