//! The state as stored: a cache of the fold over the log. One of another version is thrown away, and the log is folded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cached::{CacheAsk, Cached, Kept};
use super::deadlines::Deadlines;
use super::event::{Armed, Cursor, OrganizationLimits};
use super::gates::GateOwner;
use super::hooks::Hooks;
use super::observation::Cause;
use super::patience::Patience;
use super::policy::{Applied, Draining};
use super::preparing::Preparing;
use super::state::State;
use super::status::Status;
use super::table::{Pipeline, Run, RunIx};
use crate::domain::catalog::{AgentPolicy, ProjectPolicy, QueuePolicy};
use crate::domain::ids::{AgentName, Digest, ProjectName, QueueName, RunId, WorkflowName};
use crate::domain::quantity::Resources;
use crate::domain::spec::{Limit, Priority};
use crate::domain::time::Timestamp;
use crate::domain::windows::Opening;

/// The version of the form below.
pub const SNAPSHOT_VERSION: u32 = 6;

/// The stored form.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    limits: OrganizationLimits,
    served: u64,
    order: u64,
    /// Names of resources in the order of their first appearance.
    resources: Vec<String>,
    agents: Vec<AgentSnapshot>,
    queues: Vec<QueueSnapshot>,
    projects: BTreeMap<ProjectName, ProjectPolicy>,
    cursors: BTreeMap<WorkflowName, Cursor>,
    overrides: BTreeMap<QueueName, (QueuePolicy, String)>,
    applied: Option<Applied>,
    gates: Vec<GateSnapshot>,
    runs: Vec<RunSnapshot>,
    recent: Vec<(RunId, u32)>,
    /// Schedules and what each has done, as a list because a digest is no key of JSON.
    armed: Vec<(WorkflowName, Digest, Armed)>,
    /// How pipelines that are stopping will end.
    ending: BTreeMap<RunId, (Status, Cause)>,
    deadlines: Deadlines,
    preparing: Preparing,
    hooks: Hooks,
    /// Outcomes that other runs may take over, oldest first.
    #[serde(default)]
    cached: Vec<(Digest, Kept)>,
    /// The unfinished runs whose outcome will be one.
    #[serde(default)]
    caching: Vec<(RunId, CacheAsk)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AgentSnapshot {
    name: AgentName,
    policy: AgentPolicy,
    last_served: u64,
    removed: bool,
    patience: Vec<(Priority, PatienceSnapshot)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct QueueSnapshot {
    name: QueueName,
    policy: QueuePolicy,
    opening: Opening,
    last_served: u64,
    removed: bool,
    patience: Option<PatienceSnapshot>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PatienceSnapshot {
    run: RunId,
    skips: u32,
    since: Timestamp,
}

fn passed_over(state: &State, known: &Patience) -> PatienceSnapshot {
    PatienceSnapshot { run: state.runs[known.run].id, skips: known.skips, since: known.since }
}

#[derive(Debug, Serialize, Deserialize)]
struct GateSnapshot {
    owner: GateOwnerSnapshot,
    limit: Limit,
    /// Place of the parent in the list, which is sorted parents first.
    parent: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
enum GateOwnerSnapshot {
    Project(ProjectName),
    Group(ProjectName, String),
    Pipeline(RunId),
    Controller(RunId),
}

#[derive(Debug, Serialize, Deserialize)]
struct RunSnapshot {
    id: RunId,
    status: Status,
    order: u64,
    attempt: u32,
    max_retries: u32,
    queue: QueueName,
    request: Resources,
    gate: Option<usize>,
    pipeline: Option<(usize, usize)>,
    passed: bool,
    #[serde(default)]
    noted: bool,
    retry_at: Option<Timestamp>,
}

/// Takes the state down.
pub fn take(state: &State) -> Snapshot {
    let queues = &state.queues;
    // Sorted by what things are and never by where they lie: equal states have equal snapshots.
    let mut gates: Vec<u32> = state.gates.iter().map(|(ix, _)| ix).collect();
    gates.sort_by_key(|ix| (state.gates.chain(*ix, false).len(), state.gates[*ix].owner.clone()));
    let place: BTreeMap<u32, usize> = gates.iter().enumerate().map(|(i, ix)| (*ix, i)).collect();
    let mut runs: Vec<&Run> = state.runs.iter().map(|(_, run)| run).collect();
    runs.sort_by_key(|run| run.order);
    let (cached, caching) = (state.cached.kept(), state.cached.asking());
    Snapshot {
        cached,
        caching,
        limits: queues.limits,
        served: queues.served,
        order: state.order,
        resources: queues.dims.names().to_vec(),
        agents: queues
            .agent_of
            .values()
            .map(|ix| &queues.agents[*ix])
            .map(|agent| AgentSnapshot {
                name: agent.name.clone(),
                policy: agent.policy.clone(),
                last_served: agent.last_served,
                removed: agent.removed,
                patience: agent.patience.iter().map(|(rank, known)| (rank.0, passed_over(state, known))).collect(),
            })
            .collect(),
        queues: queues
            .queue_of
            .values()
            .map(|ix| &queues.queues[*ix])
            .map(|queue| QueueSnapshot {
                name: queue.name.clone(),
                policy: queue.policy.clone(),
                opening: queue.opening,
                last_served: queue.last_served,
                removed: queue.removed,
                patience: queue.patience.map(|known| passed_over(state, &known)),
            })
            .collect(),
        projects: state.projects.clone(),
        cursors: state.cursors.clone(),
        overrides: state.overrides.clone(),
        applied: state.applied.clone(),
        gates: gates
            .iter()
            .map(|ix| {
                let gate = &state.gates[*ix];
                let owner = match gate.owner.clone() {
                    GateOwner::Project(project) => GateOwnerSnapshot::Project(project),
                    GateOwner::Group(project, group) => GateOwnerSnapshot::Group(project, group),
                    GateOwner::Pipeline(run) => GateOwnerSnapshot::Pipeline(run),
                    GateOwner::Controller(run) => GateOwnerSnapshot::Controller(run),
                };
                GateSnapshot { owner, limit: gate.limit, parent: gate.parent.map(|parent| place[&parent]) }
            })
            .collect(),
        runs: runs
            .into_iter()
            .map(|run| RunSnapshot {
                id: run.id,
                status: run.status,
                order: run.order,
                attempt: run.attempt,
                max_retries: run.max_retries,
                queue: queues.queues[run.queue].name.clone(),
                request: queues.dims.resources_of(&queues.shapes[run.shape].request),
                gate: run.gate.map(|gate| place[&gate]),
                pipeline: run.pipeline.map(|p| (place[&p.direct], place[&p.controller])),
                passed: run.passed,
                noted: run.noted,
                retry_at: state.retry_at.get(&run.id).copied(),
            })
            .collect(),
        recent: state.recent.iter().collect(),
        ending: state.ending.clone(),
        deadlines: state.deadlines.clone(),
        preparing: state.preparing.clone(),
        hooks: state.hooks.clone(),
        armed: state
            .armed
            .iter()
            .flat_map(|(name, all)| all.iter().map(|(of, armed)| (name.clone(), *of, armed.clone())))
            .collect(),
    }
}

/// Builds the state again. Counters are not stored: they are recounted from the runs.
pub fn restore(snapshot: Snapshot) -> State {
    let mut state = State { projects: snapshot.projects, cursors: snapshot.cursors, ..State::default() };
    (state.applied, state.order) = (snapshot.applied, snapshot.order);
    state.queues.set_limits(snapshot.limits);
    snapshot.resources.iter().for_each(|name| _ = state.queues.dims.intern(name));
    for agent in &snapshot.agents {
        state.queues.set_agent(&state.runs, &agent.name, agent.policy.clone());
    }
    for queue in &snapshot.queues {
        state.queues.set_queue(&state.runs, &queue.name, queue.policy.clone());
        state.queues.set_opening(state.queues.queue_of[&queue.name], queue.opening);
    }
    let gates = restore_gates(&mut state, snapshot.gates);
    for run in snapshot.runs {
        restore_run(&mut state, run, &gates);
    }
    state.queues.served = snapshot.served;
    restore_turns(&mut state, snapshot.agents, snapshot.queues);
    state.overrides = snapshot.overrides;
    for (name, of, armed) in snapshot.armed {
        state.armed.entry(name).or_default().insert(of, armed);
    }
    for (run, how) in snapshot.ending {
        state.ending.insert(run, how);
        state.runs.find(run).into_iter().for_each(|ix| state.note_emptied(ix));
    }
    state.cached = Cached::restore(snapshot.cached, snapshot.caching);
    (state.deadlines, state.preparing, state.hooks) =
        (snapshot.deadlines.restored(), snapshot.preparing, snapshot.hooks);
    snapshot.recent.into_iter().for_each(|(id, attempt)| state.recent.push(id, attempt));
    state
}

/// Whose turn it is, and who was passed over.
fn restore_turns(state: &mut State, agents: Vec<AgentSnapshot>, queues: Vec<QueueSnapshot>) {
    let passed_over = |state: &State, stored: &PatienceSnapshot| {
        let run = state.runs.find(stored.run)?;
        Some(Patience { run, shape: state.runs[run].shape, skips: stored.skips, since: stored.since })
    };
    for agent in agents {
        let ix = state.queues.agent_of[&agent.name];
        let patience = agent
            .patience
            .iter()
            .filter_map(|(level, stored)| Some((std::cmp::Reverse(*level), passed_over(state, stored)?)));
        let patience = patience.collect();
        let item = &mut state.queues.agents[ix];
        (item.last_served, item.removed, item.patience) = (agent.last_served, agent.removed, patience);
        if agent.removed {
            state.drain(Draining::Agent(agent.name));
        }
    }
    for queue in queues {
        let ix = state.queues.queue_of[&queue.name];
        let patience = queue.patience.and_then(|stored| passed_over(state, &stored));
        state.queues.unlist(ix);
        let item = &mut state.queues.queues[ix];
        (item.last_served, item.removed, item.patience) = (queue.last_served, queue.removed, patience);
        state.queues.list(ix);
        if queue.removed {
            state.drain(Draining::Queue(queue.name));
        }
    }
    for ix in state.queues.agent_of.values().copied().collect::<Vec<_>>() {
        state.queues.close(ix);
        state.queues.refresh_agent(ix);
    }
}

fn restore_gates(state: &mut State, gates: Vec<GateSnapshot>) -> Vec<u32> {
    let mut places: Vec<u32> = Vec::new();
    for gate in gates {
        let owner = match gate.owner {
            GateOwnerSnapshot::Project(project) => GateOwner::Project(project),
            GateOwnerSnapshot::Group(project, group) => GateOwner::Group(project, group),
            GateOwnerSnapshot::Pipeline(run) => GateOwner::Pipeline(run),
            GateOwnerSnapshot::Controller(run) => GateOwner::Controller(run),
        };
        let parent = gate.parent.map(|parent| places[parent]);
        places.push(state.gates.open(&state.runs, owner, gate.limit, parent));
    }
    places
}

fn restore_run(state: &mut State, stored: RunSnapshot, gates: &[u32]) {
    let queue = state.queues.queue_of[&stored.queue];
    let request = state.queues.dims.request(&stored.request);
    let shape = state.queues.join(queue, &request);
    let mut run = Run::new(stored.id, stored.order, queue, shape, stored.max_retries);
    (run.status, run.attempt, run.passed) = (stored.status, stored.attempt, stored.passed);
    run.noted = stored.noted;
    run.gate = stored.gate.map(|gate| gates[gate]);
    if let Some(gate) = run.gate {
        state.gates.hold(gate);
    }
    run.pipeline =
        stored.pipeline.map(|(direct, controller)| Pipeline { direct: gates[direct], controller: gates[controller] });
    if let Some(pipeline) = run.pipeline {
        state.gates.hold(pipeline.direct);
        state.gates.hold(pipeline.controller);
    }
    let (gate, pipeline, passed, status) = (run.gate, run.pipeline.is_some(), run.passed, run.status);
    let ix: RunIx = state.runs.insert(run);
    match (status, gate) {
        (Status::Compiled, Some(gate)) => state.gates.wait(&mut state.runs, ix, gate),
        (Status::Queued, _) => state.queues.wait(&mut state.runs, ix),
        (Status::Retrying, _) => {
            if let Some(until) = stored.retry_at {
                state.retries.insert((until, stored.id));
                state.retry_at.insert(stored.id, until);
            }
        }
        (status, _) if status.holds_slot() && !pipeline => state.queues.take_slot(&state.runs, ix),
        _ => {}
    }
    if let Some(agent) = state.owed_at(ix) {
        state.owed.insert((agent, stored.id));
    }
    state.admit(ix);
    if let Some(gate) = gate.filter(|_| passed) {
        state.gates.enter(&state.runs, gate, pipeline);
    }
}
