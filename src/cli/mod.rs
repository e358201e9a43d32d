//! TODO-cli
pub mod explain;
pub mod schema;
pub mod validate;

pub mod init;
use std::process::ExitCode;
/// Entry.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let [verb, flag, dir] = args.as_slice()
        && verb == "supervise"
        && flag == "--dir"
        && let Err(error) = crate::target::local::supervise(dir.as_ref())
    {
        eprintln!("{:#}", anyhow::Error::from(error));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
