//! The state machine: commands in, events out.

pub mod observation;
