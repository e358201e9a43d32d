//! Text → catalog or diagnostics, through the public door.
#![allow(clippy::unwrap_used)]

mod digests;
mod finer;
mod hostile;
mod lone;
mod mutations;
mod problems;
mod repo;
mod requests;
mod resolved;
mod verbs;
mod verdicts;
