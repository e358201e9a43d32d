//! What `explain` names is what keeps a run waiting: who takes that away, and then what it names next, comes to a start.

use tidegate::domain::catalog::{AgentPolicy, QueuePolicy};
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::{Event, OrganizationLimits};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Blocker, State, decide, explain, schedule};
use tidegate::domain::ids::{QueueName, RunId};
use tidegate::domain::quantity::Resources;
use tidegate::domain::spec::{Limit, Sharing};
use tidegate::domain::time::Timestamp;

use crate::world::World;

/// Follows the advice for a run that stands in a queue, on a copy of the state; says how many steps it took.
pub fn steps_to_start(world: &World, run: RunId) -> usize {
    let (mut state, now) = (world.state.clone(), world.now);
    assert_eq!(world.oracle.next_to_start(), None, "advice is given after a pass");
    let mut last = None;
    // Those that stand before it may have to go one by one.
    for step in 0..world.oracle.runs.len() + 20 {
        if state.run(run).is_none_or(|view| view.status != Status::Queued) {
            return step;
        }
        let blocker = explain(&state, run).expect("it has not ended");
        assert_ne!(Some(&blocker), last.as_ref(), "run {run}: what was taken away is named no more");
        take_away(world, &mut state, now, run, &blocker);
        while schedule(&mut state, now).1 {}
        last = Some(blocker);
    }
    panic!("run {run} does not start whatever is taken away; the last was: {}", last.expect("one").sentence());
}

fn take_away(world: &World, state: &mut State, now: Timestamp, run: RunId, blocker: &Blocker) {
    let name = state.run(run).expect("it has not ended").queue.clone();
    let mut queue = |change: &dyn Fn(&mut QueuePolicy)| {
        let found = state.queues().find(|view| *view.name == name).expect("it stands there");
        let mut policy = found.policy.clone();
        change(&mut policy);
        let mut revision = world.revision();
        revision.queues.insert(name.clone(), Some(policy));
        state.apply(now, &Event::RevisionApplied(Box::new(revision)));
    };
    match blocker {
        Blocker::QueueHeld { .. } => queue(&|policy| {
            policy.hold = false;
            policy.concurrency = if policy.concurrency == Limit::At(0) { Limit::Unlimited } else { policy.concurrency };
        }),
        Blocker::QueueClosed { .. } => queue(&|policy| policy.windows.clear()),
        Blocker::QueueConcurrency { .. } => queue(&|policy| policy.concurrency = Limit::Unlimited),
        Blocker::QueueQuota { .. } => queue(&|policy| policy.quota = Resources::default()),
        Blocker::NeverFits { within, .. } if within.contains("quota") => {
            queue(&|policy| policy.quota = Resources::default());
        }
        Blocker::NeverFits { .. } | Blocker::AgentCapacity { .. } => {
            agent(world, state, now, &name, &|policy| policy.capacity = Resources::default());
        }
        Blocker::AgentConcurrency { .. } => {
            agent(world, state, now, &name, &|policy| policy.concurrency = Limit::Unlimited);
        }
        Blocker::AgentDown { agent } => state.set_agent_up(agent, true),
        Blocker::Organization { .. } => {
            let mut revision = world.revision();
            let limits = OrganizationLimits { concurrency: Limit::Unlimited, sharing: Sharing::Waterfall };
            revision.organization = Some(limits);
            state.apply(now, &Event::RevisionApplied(Box::new(revision)));
        }
        Blocker::Reserved { run: other, .. } | Blocker::StrictOrder { first: other, .. } => {
            assert_ne!(*other, run, "nobody waits for itself");
            for event in decide(state, now, &Command::Stop { run: *other, by: "ann".to_owned() }).events {
                state.apply(now, &event);
            }
        }
        other => panic!("after a pass a run in a queue waits for something else: {}", other.sentence()),
    }
}

fn agent(world: &World, state: &mut State, now: Timestamp, queue: &QueueName, change: &dyn Fn(&mut AgentPolicy)) {
    let found = state.agents().find(|view| *view.name == queue.agent).expect("a queue has an agent");
    let mut policy = found.policy.clone();
    change(&mut policy);
    let mut revision = world.revision();
    revision.agents.insert(queue.agent.clone(), Some(policy));
    state.apply(now, &Event::RevisionApplied(Box::new(revision)));
}
