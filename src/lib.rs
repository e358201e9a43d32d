//! Tidegate: a declarative GitOps reconciler with a built-in dispatcher. This file is the map of the house.
//!
//! # Ten words, one for each thing
//!
//! | word | meaning |
//! |---|---|
//! | **source** | a git repository and ref that is followed |
//! | **document** | one YAML document of one file of a commit |
//! | **catalog** | everything one commit declares: parsed, defaulted, resolved, validated, immutable |
//! | **plan** | the difference between the applied and the wanted catalog, with its effects |
//! | **run** | one execution asked for |
//! | **attempt** | one try of a run |
//! | **command** | what is asked of the state machine |
//! | **event** | what was decided; stored, replayed, never changed |
//! | **effect** | what is owed to the outside (launch, stop), by the name of run and attempt |
//! | **observation** | what the outside reports; always names its attempt |
//!
//! # Who may use whom (A ← B: B may name A, never the other way; `tests/tidy.rs` holds it)
//!
//! ```text
//! ids time quantity diagnostic files places cron query ← spec ← catalog ← compile
//!                  spec ← sharing, honour ← compile, prepare ← workflow; catalog ← dispatch ← workflow, plan, simulate   (all inside domain/)
//! domain ← store · source · target                 each knows domain, none knows another
//! domain, store ← engine ← conductor, effects (which knows target) ← control (which knows source) ← server, cli ← main
//! ```
//!
//! Two halves: [`domain`] holds every rule and has no IO, no clock, no randomness and no async; everything beside it
//! is shell. The way of a `git push`: [`source`] sees a commit and reads its blobs → [`domain::compile`] makes a
//! catalog or diagnostics → [`domain::plan`] compares it with what is applied → [`engine`] hands the command to
//! [`domain::dispatch`], appends the events to the [`store`] in one transaction, and only then lets replies and
//! effects out → [`effects`] carries them to a [`target`] → observations come back as commands.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// Of every program that has this library in it, so that what is measured is what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod cli;
pub mod conductor;
pub mod control;
pub mod domain;
pub mod effects;
pub mod engine;
pub mod reconciler;
pub mod revision;
pub mod server;
pub mod source;
pub mod store;
pub mod switches;
pub mod target;
pub mod timekeeper;
