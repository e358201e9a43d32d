//! What is owed to the outside, read off the state: starting, retrying and recovering after a crash are one way.

use super::state::State;
use super::status::Status;
use crate::domain::ids::{AgentName, Attempt, AttemptName, RunId};

/// Something owed for one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// It shall be launched; nobody has seen it yet.
    Launch(AttemptName),
    /// It shall end.
    Stop(AttemptName),
}

/// Everything that is owed to an agent, by run id. Delivering it again is harmless.
pub fn outbox(state: &State, agent: &AgentName) -> Vec<Owed> {
    let Some(agent) = state.queues.agent_of.get(agent).copied() else { return Vec::new() };
    let of_agent = state.owed.range((agent, RunId(uuid::Uuid::nil()))..=(agent, RunId(uuid::Uuid::max())));
    of_agent
        .filter_map(|(_, id)| {
            let run = &state.runs[state.runs.find(*id)?];
            let name = AttemptName { run: run.id, attempt: Attempt(run.attempt) };
            match run.status {
                Status::Scheduled => Some(Owed::Launch(name)),
                Status::Stopping => Some(Owed::Stop(name)),
                _ => None,
            }
        })
        .collect()
}
