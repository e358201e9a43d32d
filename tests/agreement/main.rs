//! Agreement with Polyaxon: its verdicts and its compiled operations, on files and cases that it was run on itself.
#![allow(clippy::unwrap_used)]

mod compare;
mod data;
mod given;
mod golden;
mod local_runs;
mod objects;
#[path = "../path/process.rs"]
#[allow(dead_code)] // the room of another test, of which this one needs a part
mod process;
mod rates;
mod sections;
#[path = "../path/site.rs"]
#[allow(dead_code)] // the same
mod site;
mod verdicts;
