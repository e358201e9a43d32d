//! The real dispatcher in virtual time: what a workload would take, and when a run may expect to start.
//!
//! Nothing here decides anything: commands go through `decide`, events through `State::apply`, passes through
//! `schedule`, exactly as in the server. Only the clock and the ends of operations are made up.

mod backlog;
mod clock;
mod forecast;
mod workload;

pub use backlog::{Backlog, Waits, backlog};
pub use forecast::{
    Confidence, Durations, FORECAST_EVENTS, FORECAST_HORIZON, FORECAST_RUNS, Forecast, forecast, forecast_within,
};
pub use workload::{ClassResult, Point, SimulationResult, simulate};
