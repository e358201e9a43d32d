//! Giving up what an agent holds, when it cannot be reached and will not be again: the word of a person takes the place
//! of the cluster's. Its runs end and their slots come free; should the cluster return, what is left of them there is an
//! orphan and is swept.

use super::command::Rejection;
use super::decide::{Decided, finished};
use super::observation::Cause;
use super::state::State;
use super::status::Status;
use crate::domain::ids::{AgentName, RunId};
use crate::domain::time::Timestamp;

/// The reason of a run that ended because its agent was given up.
pub const AGENT_FORGOTTEN: &str = "AgentForgotten";

/// Ends every operation that holds a slot of an agent that cannot be reached.
pub(super) fn forget(state: &State, now: Timestamp, agent: &AgentName, by: &str) -> Decided {
    let ix = state.queues.agent_of.get(agent).ok_or_else(|| Rejection::NoSuchAgent(agent.clone()))?;
    if state.queues.agents[*ix].up {
        return Err(Rejection::AgentUp(agent.clone()));
    }
    let held = state.runs.iter().filter(|(_, run)| {
        run.status.holds_slot() && run.pipeline.is_none() && state.queues.queues[run.queue].name.agent == *agent
    });
    let mut held: Vec<(RunId, Status)> = held.map(|(_, run)| (run.id, run.status)).collect();
    held.sort_unstable_by_key(|(id, _)| *id);
    let message =
        format!("{by} gave up agent {agent}, which could not be reached; what became of it there is not known");
    let end = |(run, status)| match status {
        Status::Stopping => finished(run, Status::Stopped, Cause::new(AGENT_FORGOTTEN, message.clone()), now),
        _ => finished(run, Status::Failed, Cause::new(AGENT_FORGOTTEN, message.clone()), now),
    };
    Ok(held.into_iter().map(end).collect())
}
