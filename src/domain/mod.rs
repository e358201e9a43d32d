//! Every rule of Tidegate. No IO, no clock, no randomness, no async: time, ids and file contents are inputs.
//!
//! Bad input becomes [`diagnostic::Diagnostics`], a refused command a rejection; nothing in here fails otherwise.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod catalog;
pub mod compile;
pub mod cron;
pub mod diagnostic;
pub mod dispatch;
pub mod files;
pub mod honour;
pub mod ids;
pub mod kubernetes;
pub mod places;
pub mod plan;
pub mod prepare;
pub mod quantity;
pub mod query;
pub mod sharing;
pub mod simulate;
pub mod spec;
pub mod time;
pub mod waiting_order;
pub mod windows;
pub mod workflow;
