//! The dispatcher from outside: small scenarios, and random histories beside a slow oracle.
//!
//! Every pass of every test here is watched by the oracle and followed by a recount of the state.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used)]

mod advice;
mod bugs;
mod bugs_double;
mod bugs_limits;
mod bugs_stuck;
mod chunks;
mod coverage;
mod crashes;
mod engine;
mod forecasts;
mod mutations;
mod oracle;
mod pipelines;
mod random;
mod reasons;
mod reservations;
mod scenarios;
mod server;
mod simulation;
mod wide;
mod world;
