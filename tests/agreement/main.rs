//! Agreement with Polyaxon: its verdicts and its compiled operations, on files and cases that it was run on itself.
#![allow(clippy::unwrap_used)]

mod data;
mod golden;
mod rates;
mod sections;
mod verdicts;
