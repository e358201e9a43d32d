//! The way to Kubernetes and back, on real control planes: `git push` → object → pod → status, outputs, logs.
#![allow(clippy::unwrap_used)] // a test that cannot unwrap has failed

mod builds;
mod desired;
mod endings;
mod faults;
mod fencing;
mod forget;
mod injector;
mod install;
mod journey;
mod kinds;
mod load;
mod network;
mod outcomes;
#[path = "../path/process.rs"]
mod process;
mod reports;
mod serving;
mod sharing;
#[allow(dead_code)] // other tests use the rest
#[path = "../path/site.rs"]
mod site;
mod stand;
mod witness;
mod world;
