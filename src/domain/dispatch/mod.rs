//! The state machine: the only door to it.
//!
//! `decide` says what a command comes to, `State::apply` takes the events in, `schedule` says what then happens by
//! itself, `outbox` what is owed to the outside, `explain` why something does not happen. Time and ids are inputs, the
//! same history gives the same decisions, and what was decided is stored before anybody hears of it.

mod agents;
pub mod cached;
pub mod command;
mod deadlines;
mod decide;
pub mod event;
mod explain;
mod facts;
mod forget;
mod gates;
#[cfg(test)]
mod growth;
pub mod history;
mod hooks;
mod hours;
mod index;
mod invariants;
mod lines;
mod lives;
pub mod observation;
mod outbox;
mod pass;
mod patience;
mod pipelines;
mod places;
mod policy;
mod preparing;
mod queues;
mod recent;
mod schedules;
mod shapes;
pub mod snapshot;
mod state;
pub mod status;
mod table;
mod tree;
mod views;

pub use decide::{Decision, FIRST_RETRY, LONGEST_RETRY, decide};
pub use explain::{Blocker, explain, never_fits};
pub use forget::AGENT_FORGOTTEN;
pub use outbox::{Owed, outbox};
pub use pass::{PASS_CHUNK, next_wakeup, schedule, schedule_some};
pub use patience::{PATIENCE, SKIPS};
pub use policy::Applied;
pub use preparing::Awaits;
pub use state::State;
pub use table::MAX_RUNS;
pub use views::{AgentView, QueueView, RunView};
