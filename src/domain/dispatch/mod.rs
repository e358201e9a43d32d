//! The state machine: commands in, events out.

pub mod command;
pub mod event;
pub mod history;
pub mod observation;
pub mod status;
