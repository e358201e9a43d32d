//! Kubernetes' side of a run, as rules on values: which objects an attempt becomes, and what their state means.
//!
//! Everything here is text in, text out; [`crate::target::kubernetes`] is the one that talks to a cluster.

pub mod gone;
pub mod lease;
pub mod managed;
pub mod names;
pub mod pace;
pub mod pod;
pub mod render;
pub mod verdict;
