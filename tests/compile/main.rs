//! Text → catalog or diagnostics, through the public door.

mod digests;
mod hostile;
mod problems;
mod repo;
mod resolved;
mod verbs;
