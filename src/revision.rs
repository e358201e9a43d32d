//! Between plans and the state machine: what is live as a plan sees it, and a plan as the event that carries it out.
//!
//! The event is made by comparing the wanted catalog with the *state*, not with the last catalog: whatever the reason for
//! a difference, applying removes it.

use std::collections::BTreeMap;

use crate::domain::catalog::Catalog;
use crate::domain::dispatch::State;
use crate::domain::dispatch::event::{Cursor, OrganizationLimits, RevisionApplied};
use crate::domain::dispatch::history::{RunFilter, RunOrder};
use crate::domain::dispatch::status::Status;
use crate::domain::ids::{CommitId, Digest, QueueName, WorkflowName};
use crate::domain::plan::{
    Admissions, Admitted, Live, LiveAgent, LiveOrganization, LiveQueue, LiveRun, Plan, WorkflowUse,
};
use crate::engine::Engine;
use crate::reconciler::Wanted;

/// Waiting runs of a queue that a plan looks at one by one; of longer queues only the count is exact.
const LISTED_RUNS: usize = 10_000;

/// The event that makes the state what the catalog wants.
pub fn revision(state: &State, wanted: &Wanted, plan: &Plan, policy: CommitId, note: String) -> RevisionApplied {
    let subject: String = wanted.files.message.lines().next().unwrap_or_default().chars().take(200).collect();
    let (commit, plan_digest) = (wanted.revision.commit.clone(), plan.digest);
    let mut event =
        RevisionApplied { commit, policy, subject, plan: plan_digest, note, ..policies(state, &wanted.catalog) };
    for (name, admitted) in &plan.cursors {
        let cursor =
            Cursor { spec: admitted.spec_digest, inputs: admitted.inputs_digest, commit: admitted.commit.clone() };
        if state.cursors().get(name) != Some(&cursor) {
            event.cursors.insert(name.clone(), cursor);
        }
    }
    event
}

/// The policies of a catalog, as far as the state has others; of no commit yet.
pub fn policies(state: &State, catalog: &Catalog) -> RevisionApplied {
    let organization = &catalog.organization.item;
    let limits = OrganizationLimits { concurrency: organization.concurrency, sharing: organization.sharing };
    let mut event = RevisionApplied {
        commit: CommitId::new("wanted"),
        policy: CommitId::new("wanted"),
        subject: String::new(),
        plan: Digest::of(b""),
        organization: (state.organization().0 != limits).then_some(limits),
        agents: BTreeMap::new(),
        queues: BTreeMap::new(),
        projects: BTreeMap::new(),
        renamed: BTreeMap::new(),
        cursors: BTreeMap::new(),
        note: String::new(),
    };
    let live_agents: BTreeMap<_, _> = state.agents().map(|agent| (agent.name.clone(), agent)).collect();
    for (name, agent) in &catalog.agents {
        if live_agents.get(name).is_none_or(|live| live.removed || *live.policy != agent.item) {
            event.agents.insert(name.clone(), Some(agent.item.clone()));
        }
    }
    for (name, live) in &live_agents {
        if !catalog.agents.contains_key(name) && !live.removed {
            event.agents.insert(name.clone(), None);
        }
    }
    let live_queues: BTreeMap<QueueName, _> = state.queues().map(|queue| (queue.name.clone(), queue)).collect();
    for (name, queue) in &catalog.queues {
        let old = queue.item.previous_name.clone().map(|old| QueueName { agent: name.agent.clone(), queue: old });
        if let Some(old) = old
            && live_queues.contains_key(&old)
            && !live_queues.contains_key(name)
            && !catalog.queues.contains_key(&old)
        {
            event.renamed.insert(old, name.clone());
            event.queues.insert(name.clone(), Some(queue.item.clone()));
            continue;
        }
        let declared =
            |live: &crate::domain::dispatch::QueueView<'_>| live.declared.unwrap_or(live.policy) == &queue.item;
        if live_queues.get(name).is_none_or(|live| live.removed || !declared(live)) {
            event.queues.insert(name.clone(), Some(queue.item.clone()));
        }
    }
    for (name, live) in &live_queues {
        if !catalog.queues.contains_key(name) && !live.removed && !event.renamed.contains_key(name) {
            event.queues.insert(name.clone(), None);
        }
    }
    for (name, project) in &catalog.projects {
        if state.projects().get(name) != Some(&project.item) {
            event.projects.insert(name.clone(), Some(project.item.clone()));
        }
    }
    for name in state.projects().keys() {
        if !catalog.projects.contains_key(name) {
            event.projects.insert(name.clone(), None);
        }
    }
    event
}

/// The server's side of a plan.
pub fn live(engine: &Engine) -> (Live, Admissions) {
    let (mut live, admissions) = engine.read(|state| (of_state(state), admissions(state)));
    add_waiting(engine, &mut live);
    (live, admissions)
}

fn of_state(state: &State) -> Live {
    let (limits, running) = state.organization();
    let queues = state.queues().map(|queue| {
        let live = LiveQueue {
            policy: queue.policy.clone(),
            changed_by: queue.changed_by.map(str::to_owned),
            running: queue.running,
            used: queue.used.clone(),
            queued: Vec::new(),
            queued_total: u64::from(queue.queued),
            draining: queue.removed,
        };
        (queue.name.clone(), live)
    });
    let agents = state.agents().map(|agent| {
        let live =
            LiveAgent { policy: agent.policy.clone(), running: agent.running, used: agent.used.clone(), up: agent.up };
        (agent.name.clone(), live)
    });
    Live {
        queues: queues.collect(),
        agents: agents.collect(),
        organization: LiveOrganization { concurrency: limits.concurrency, running },
        workflows: BTreeMap::new(),
        complete: true,
        unread_agents: Vec::new(),
    }
}

fn admissions(state: &State) -> Admissions {
    let cursors = state.cursors().iter().map(|(name, cursor)| {
        let admitted =
            Admitted { spec_digest: cursor.spec, inputs_digest: cursor.inputs, commit: cursor.commit.clone() };
        (name.clone(), admitted)
    });
    Admissions { cursors: cursors.collect(), baseline: state.applied().is_some() }
}

/// What waits and runs, from the history: names and requests are not part of the state.
fn add_waiting(engine: &Engine, live: &mut Live) {
    let statuses: Vec<Status> = Status::ALL.into_iter().filter(|status| !status.is_final()).collect();
    let order = RunOrder::OldestFirst;
    let Ok(rows) = engine.all_runs(&RunFilter { statuses, order, ..RunFilter::default() }, LISTED_RUNS) else {
        live.complete = false;
        return;
    };
    for row in &rows {
        let workflow = row.workflow.clone().map(|name| WorkflowName { project: row.project.clone(), workflow: name });
        if let Some(name) = &workflow {
            let uses: &mut WorkflowUse = live.workflows.entry(name.clone()).or_default();
            if row.status.holds_slot() {
                uses.running += 1;
            } else {
                uses.queued += 1;
            }
        }
        if row.status == Status::Queued
            && let Some(queue) = live.queues.get_mut(&row.queue)
        {
            queue.queued.push(LiveRun {
                run: row.id,
                name: row.name.clone(),
                workflow,
                project: row.project.clone(),
                request: row.request.clone(),
                created_at: row.created_at,
            });
        }
    }
}
