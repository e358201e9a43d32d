//! Why a run is not running now: one blocker, found with the same predicates that the pass uses.

use serde::Serialize;

use super::gates::GateOwner;
use super::preparing::Stage;
use super::queues::{NeverFits, Within};
use super::shapes::Shortage;
use super::state::State;
use super::status::Status;
use super::table::RunIx;
use crate::domain::ids::{AgentName, ProjectName, QueueName, RunId};
use crate::domain::quantity::Quantity;
use crate::domain::spec::Order;
use crate::domain::time::Timestamp;
use crate::domain::windows::Opening;

/// The one reason why a run is not running now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "blocker", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs)] // the fields are those of the sentence that `Blocker::sentence` makes of them
pub enum Blocker {
    /// Nothing: it runs, or is about to.
    Nothing { status: &'static str },
    /// Somebody must approve it.
    Approval,
    /// Values of other runs, a condition or an event are not settled.
    Preparation,
    /// Another run builds its image.
    Build { run: RunId },
    /// Its last attempt failed; it waits to be tried again.
    Retry { until: Timestamp },
    /// Its pipeline has as many children queued or beyond as it may.
    Pipeline { pipeline: RunId, limit: u32 },
    /// The outermost pipeline has as many operations below it queued or beyond as it may.
    Controller { controller: RunId, limit: u32 },
    /// Its group has as many runs queued or beyond as it may.
    Group { project: ProjectName, group: String, limit: u32 },
    /// Its project has as many operations queued or beyond as it may.
    Project { project: ProjectName, limit: u32 },
    /// It asks for more than its queue or agent will ever have.
    NeverFits { within: String, resource: String, need: Quantity, have: Quantity },
    /// Its queue is held.
    QueueHeld { queue: QueueName },
    /// No window of its queue is open.
    QueueClosed { queue: QueueName, until: Option<Timestamp> },
    /// Its queue runs as many operations as it may.
    QueueConcurrency { queue: QueueName, limit: u32, running: u32 },
    /// Its queue has too little quota left.
    QueueQuota { queue: QueueName, resource: String, need: Quantity, have: Quantity },
    /// Its agent cannot be reached.
    AgentDown { agent: AgentName },
    /// Its agent runs as many operations as it may.
    AgentConcurrency { agent: AgentName, limit: u32, running: u32 },
    /// Its agent has too little capacity left.
    AgentCapacity { agent: AgentName, resource: String, need: Quantity, have: Quantity },
    /// The organization runs as many operations as it may.
    Organization { limit: u32, running: u32 },
    /// There is room, but it is kept for a wide operation that others have passed often enough.
    Reserved { run: RunId, within: String, resource: String, need: Quantity, have: Quantity },
    /// Others stand before it in a queue that keeps strict order, and the first of them does not fit.
    StrictOrder { queue: QueueName, first: RunId, ahead: u64 },
    /// Others stand before it in its queue.
    Line { queue: QueueName, ahead: u64 },
}

impl Blocker {
    /// What is the matter and what would mend it, in one or two sentences.
    pub fn sentence(&self) -> String {
        match self {
            Self::Nothing { status } => format!("nothing: it is {status}"),
            Self::Approval => "it waits for approval: `tidegate ops approve` lets it go on".to_owned(),
            Self::Preparation => {
                "it waits for the runs that its params, joins and events name; `tidegate ops get` shows them".to_owned()
            }
            Self::Build { run } => {
                format!("it waits for its build, run {run}; `tidegate ops explain {run}` says how that stands")
            }
            Self::Retry { until } => format!("its last attempt failed; the next one may start at {until}"),
            Self::Pipeline { pipeline, limit } => {
                format!(
                    "its pipeline {pipeline} has {limit} children queued or beyond, its concurrency; it goes on when one ends"
                )
            }
            Self::Controller { controller, limit } => format!(
                "its controller {controller} has {limit} operations queued or beyond, its concurrency; it goes on when one ends"
            ),
            Self::Group { project, group, limit } => {
                format!(
                    "group {group} of project {project} has {limit} queued or beyond, its limit; it goes on when one ends"
                )
            }
            Self::Project { project, limit } => {
                format!(
                    "project {project} has {limit} operations queued or beyond, its concurrency; it goes on when one ends"
                )
            }
            Self::NeverFits { within, resource, need, have } => format!(
                "it can never start: it asks for {resource}={need}, and {within} has {have}; ask for less, or raise that"
            ),
            Self::QueueHeld { queue } => format!("queue {queue} is held; it goes on when the hold is taken away"),
            Self::QueueClosed { queue, until: Some(until) } => {
                format!("queue {queue} is outside of its windows; it goes on at {until}")
            }
            Self::QueueClosed { queue, until: None } => {
                format!("queue {queue} is outside of its windows, and none of them opens again; mend its `windows`")
            }
            Self::QueueConcurrency { queue, limit, running } => {
                format!(
                    "queue {queue} runs {running} operations and may run {limit}; it goes on when enough have ended"
                )
            }
            Self::QueueQuota { queue, resource, need, have } => format!(
                "it asks for {resource}={need}, and the quota of queue {queue} has {have} left; it goes on when enough have ended"
            ),
            Self::AgentDown { agent } => format!("agent {agent} cannot be reached; it goes on when the agent is back"),
            Self::AgentConcurrency { agent, limit, running } => {
                format!(
                    "agent {agent} runs {running} operations and may run {limit}; it goes on when enough have ended"
                )
            }
            Self::AgentCapacity { agent, resource, need, have } => format!(
                "it asks for {resource}={need}, and agent {agent} has {have} left; it goes on when enough have ended"
            ),
            Self::Organization { limit, running } => {
                format!(
                    "the organization runs {running} operations and may run {limit}; it goes on when enough have ended"
                )
            }
            Self::Reserved { run, within, resource, need, have } => format!(
                "it asks for {resource}={need}, and {within} has {have} left beside what it keeps for run {run}, which others have passed for long enough; it goes on when that one has started"
            ),
            Self::StrictOrder { queue, first, ahead } => format!(
                "queue {queue} keeps strict order: {ahead} stand before it, and the first of them, {first}, does not fit now"
            ),
            Self::Line { queue, ahead } => {
                format!("{ahead} stand before it in queue {queue} or in queues of its agent")
            }
        }
    }
}

/// The blocker of an unfinished run; `None` when there is no such run.
pub fn explain(state: &State, run: RunId) -> Option<Blocker> {
    let ix = state.runs.find(run)?;
    Some(match state.runs[ix].status {
        Status::Created => match state.preparing.get(&run).map(|open| open.stage) {
            Some(Stage::Values) => Blocker::Preparation,
            Some(Stage::Build(build)) => Blocker::Build { run: build },
            Some(Stage::Approval) | None => Blocker::Approval,
        },
        Status::Compiled => gate_blocker(state, ix),
        Status::Queued => queue_blocker(state, ix),
        Status::Retrying => Blocker::Retry { until: state.retry_at.get(&run).copied().unwrap_or_default() },
        status => Blocker::Nothing { status: status.word() },
    })
}

/// Why a run could never start where it is to stand, if so; said at submission.
pub fn never_fits(state: &State, run: RunId) -> Option<Blocker> {
    let ix = state.runs.find(run)?;
    let shape = &state.queues.shapes[state.runs[ix].shape];
    shape.never.as_deref().map(|never| never_blocker(state, ix, *never))
}

fn gate_blocker(state: &State, ix: RunIx) -> Blocker {
    let run = &state.runs[ix];
    let chain = run.gate.map(|gate| state.gates.chain(gate, run.pipeline.is_some())).unwrap_or_default();
    let full = chain.into_iter().map(|gate| &state.gates[gate]).find(|gate| !gate.limit.admits(gate.inflight));
    let Some(gate) = full else { return Blocker::Nothing { status: run.status.word() } };
    let limit = gate.limit.max();
    match gate.owner.clone() {
        GateOwner::Pipeline(pipeline) => Blocker::Pipeline { pipeline, limit },
        GateOwner::Controller(controller) => Blocker::Controller { controller, limit },
        GateOwner::Group(project, group) => Blocker::Group { project, group, limit },
        GateOwner::Project(project) => Blocker::Project { project, limit },
    }
}

fn queue_blocker(state: &State, ix: RunIx) -> Blocker {
    let queues = &state.queues;
    let run = &state.runs[ix];
    let queue = &queues.queues[run.queue];
    let agent = &queues.agents[queue.agent];
    let shape = &queues.shapes[run.shape];
    let names = |s: Shortage| {
        (queues.dims.name(s.dim).to_owned(), Quantity::from_millis(s.need), Quantity::from_millis(s.have))
    };
    if let Some(never) = shape.never.as_deref().copied() {
        return never_blocker(state, ix, never);
    }
    if queue.policy.hold || queue.policy.concurrency.max() == 0 {
        return Blocker::QueueHeld { queue: queue.name.clone() };
    }
    if let Opening::Closed(until) = queue.opening {
        return Blocker::QueueClosed { queue: queue.name.clone(), until };
    }
    if !queue.policy.concurrency.admits(queue.used) {
        let limit = queue.policy.concurrency.max();
        return Blocker::QueueConcurrency { queue: queue.name.clone(), limit, running: queue.used };
    }
    let (ahead, first) = queues.ahead(&state.runs, ix);
    if queue.policy.order == Order::Strict
        && let Some(first) = first
    {
        return Blocker::StrictOrder { queue: queue.name.clone(), first: state.runs[first].id, ahead };
    }
    if let Some((resource, need, have)) = queue.quota.shortage(&queue.used_of, &shape.request).map(names) {
        return Blocker::QueueQuota { queue: queue.name.clone(), resource, need, have };
    }
    if let Some((shortage, owner)) = queues.kept_in_queue(queue, run.shape) {
        let (resource, need, have) = names(shortage);
        let within = format!("the quota of queue {}", queue.name);
        return Blocker::Reserved { run: state.runs[owner].id, within, resource, need, have };
    }
    if !agent.up {
        return Blocker::AgentDown { agent: agent.name.clone() };
    }
    if !agent.policy.concurrency.admits(agent.used) {
        let limit = agent.policy.concurrency.max();
        return Blocker::AgentConcurrency { agent: agent.name.clone(), limit, running: agent.used };
    }
    if let Some((resource, need, have)) = agent.capacity.shortage(&agent.used_of, &shape.request).map(names) {
        return Blocker::AgentCapacity { agent: agent.name.clone(), resource, need, have };
    }
    if let Some((shortage, owner)) = queues.kept_on_agent(queue, run.shape) {
        let (resource, need, have) = names(shortage);
        let within = format!("agent {}", agent.name);
        return Blocker::Reserved { run: state.runs[owner].id, within, resource, need, have };
    }
    if !queues.limits.concurrency.admits(queues.used) {
        return Blocker::Organization { limit: queues.limits.concurrency.max(), running: queues.used };
    }
    Blocker::Line { queue: queue.name.clone(), ahead }
}

fn never_blocker(state: &State, ix: RunIx, never: NeverFits) -> Blocker {
    let queue = &state.queues.queues[state.runs[ix].queue];
    Blocker::NeverFits {
        within: match never.within {
            Within::Quota => format!("the quota of queue {}", queue.name),
            Within::Capacity => format!("the capacity of agent {}", queue.name.agent),
        },
        resource: state.queues.dims.name(never.shortage.dim).to_owned(),
        need: Quantity::from_millis(never.shortage.need),
        have: Quantity::from_millis(never.shortage.have),
    }
}
