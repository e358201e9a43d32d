//! From workflows to runs: what a start asks for, and what a launch is made of.

pub mod render;
pub mod start;
