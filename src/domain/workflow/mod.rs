//! From workflows to runs: what a start asks for, and what a launch is made of.

mod bind;
mod build;
pub mod cache;
mod children;
pub mod conductor;
mod curves;
pub mod dag;
mod early;
pub mod firing;
pub mod follow;
mod helper;
mod joins;
mod led;
pub mod matrix;
pub mod prepare;
pub mod render;
pub mod resolved;
pub mod start;
pub mod stopping;
mod sweep;
pub mod waiting;
