//! Stage 2: organization → agent → level of priority → queue → shape → first come, first served.
//!
//! A queue stands in the ordered set of its level if and only if it could hand over an operation now as far as its own
//! limits go; a full ancestor parks itself, never its children. Operations of one queue that ask for exactly the same
//! share a line (a *shape*): when the first of a line does not fit, none of it does. This file has the parts and what a
//! change of policy does to them; `lines` has what operations do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::agents::{Agent, AgentKey, ReadyKey};
use super::event::OrganizationLimits;
use super::patience::Patience;
use super::places::Places;
use super::shapes::{Ceiling, Classes, Dims, Need, Request, Shortage, Used};
use super::table::{Ix, Line, Slab, Table};
use super::tree::Tree;
use crate::domain::catalog::{AgentPolicy, QueuePolicy};
use crate::domain::ids::{AgentName, QueueName};
use crate::domain::time::Timestamp;
use crate::domain::windows::Opening;

pub(super) use super::agents::Rank;

/// A line of work.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub name: QueueName,
    pub agent: Ix,
    pub policy: QueuePolicy,
    pub quota: Ceiling,
    /// Whether its file is gone: it takes no more and finishes what it has.
    pub removed: bool,
    pub used: u32,
    pub used_of: Used,
    /// Operations that stand in it.
    pub waiting: u32,
    /// Unfinished runs that name it, wherever they stand.
    pub runs: u32,
    pub last_served: u64,
    /// Whether its windows are open.
    pub opening: Opening,
    pub shape_of: BTreeMap<Request, Ix>,
    /// Lines that are not empty and can fit some day, by the order of their first.
    pub lines: Tree<u64, Need>,
    pub places: Places,
    /// Whom the quota keeps waiting while others pass.
    pub patience: Option<Patience>,
    pub listed: Option<ReadyKey>,
    /// What it could hand over, as it stands in the set of its level.
    pub classes: Classes,
}

impl Queue {
    pub fn rank(&self) -> Rank {
        Reverse(self.policy.priority)
    }

    pub fn is_listed(&self) -> bool {
        self.listed.is_some()
    }
}

/// Operations of one queue that ask for exactly the same.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub request: Request,
    pub queue: Ix,
    pub line: Line,
    /// Why it can never fit while limits are what they are.
    pub never: Option<Box<NeverFits>>,
    /// Under which order it stands among the lines of its queue.
    pub listed: Option<u64>,
    /// Place of the request on the menu of the agent.
    item: Ix,
    /// Unfinished runs of it.
    runs: u32,
}

impl Shape {
    pub fn is_listed(&self) -> bool {
        self.listed.is_some()
    }
}

/// What an operation asks more of than there will ever be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NeverFits {
    pub shortage: Shortage,
    pub within: Within,
}

/// Whose amount it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Quota,
    Capacity,
}

/// The tree of stage 2.
#[derive(Debug, Clone, Default)]
pub(super) struct Queues {
    pub limits: OrganizationLimits,
    pub used: u32,
    pub dims: Dims,
    pub agents: Slab<Agent>,
    pub agent_of: BTreeMap<AgentName, Ix>,
    pub queues: Slab<Queue>,
    pub queue_of: BTreeMap<QueueName, Ix>,
    pub shapes: Slab<Shape>,
    /// How many operations have been handed over, ever.
    pub served: u64,
    /// Agents that could hand over an operation now.
    pub open: BTreeSet<AgentKey>,
    /// When queues with windows open or close next; by name, for places differ after a restart.
    pub hours: BTreeSet<(Timestamp, QueueName, Ix)>,
}

impl Queues {
    pub fn set_limits(&mut self, limits: OrganizationLimits) {
        self.limits = limits;
        for agent in self.agent_of.values().copied().collect::<Vec<_>>() {
            self.set_budgets(agent);
        }
    }

    pub fn set_budgets(&mut self, agent: Ix) {
        self.agents[agent].set_budgets(self.limits.sharing, self.limits.concurrency);
        self.refresh_agent(agent);
    }

    /// Sets an agent's policy. Its lines are looked at again only when its capacity is another.
    pub fn set_agent(&mut self, runs: &Table, name: &AgentName, policy: AgentPolicy) {
        let capacity = Ceiling::of(&mut self.dims, &policy.capacity);
        let Some(ix) = self.agent_of.get(name).copied() else {
            let ix = self.agents.insert(Agent::new(name.clone(), policy, capacity));
            self.agent_of.insert(name.clone(), ix);
            return;
        };
        let agent = &mut self.agents[ix];
        let changed = agent.capacity != capacity;
        (agent.policy, agent.capacity, agent.removed) = (policy, capacity, false);
        if changed {
            for queue in self.agents[ix].queues.clone() {
                self.judge_shapes(runs, queue);
                self.list(queue);
            }
        }
        self.set_budgets(ix);
    }

    /// Sets a queue's policy; its agent is known. Only this queue and the budgets of its agent are looked at.
    pub fn set_queue(&mut self, runs: &Table, name: &QueueName, policy: QueuePolicy) {
        let agent = self.agent_of[&name.agent];
        let quota = Ceiling::of(&mut self.dims, &policy.quota);
        let (rank, limit) = (Reverse(policy.priority), policy.concurrency);
        let Some(ix) = self.queue_of.get(name).copied() else {
            let queue = Queue {
                name: name.clone(),
                agent,
                policy,
                quota,
                removed: false,
                used: 0,
                used_of: Used::default(),
                waiting: 0,
                runs: 0,
                last_served: 0,
                opening: Opening::Open(None),
                shape_of: BTreeMap::new(),
                lines: Tree::default(),
                places: Places::default(),
                patience: None,
                listed: None,
                classes: Classes::default(),
            };
            let ix = self.queues.insert(queue);
            self.queue_of.insert(name.clone(), ix);
            self.agents[agent].queues.insert(ix);
            self.set_hours(ix);
            self.agents[agent].seat(rank, limit, 0);
            self.set_budgets(agent);
            return;
        };
        self.unlist(ix);
        self.forget_hours(ix);
        let queue = &mut self.queues[ix];
        let agent = queue.agent;
        self.agents[agent].unseat(queue.rank(), queue.policy.concurrency, queue.used);
        let changed = queue.quota != quota;
        (queue.policy, queue.quota, queue.removed) = (policy, quota, false);
        self.set_hours(ix);
        let queue = &self.queues[ix];
        self.agents[agent].seat(rank, limit, queue.used);
        if changed {
            self.judge_shapes(runs, ix);
        }
        self.list(ix);
        self.set_budgets(agent);
    }

    pub fn remove_queue(&mut self, ix: Ix) {
        self.unlist(ix);
        self.forget_hours(ix);
        let queue = self.queues.remove(ix);
        self.queue_of.remove(&queue.name);
        self.agents[queue.agent].queues.remove(&ix);
        self.agents[queue.agent].unseat(queue.rank(), queue.policy.concurrency, queue.used);
        self.set_budgets(queue.agent);
    }

    pub fn remove_agent(&mut self, ix: Ix) {
        self.close(ix);
        let agent = self.agents.remove(ix);
        self.agent_of.remove(&agent.name);
    }

    /// Gives queues new names, all at once so that names may be swapped. `false`, and nothing has happened, when two
    /// would have the same name (one that is still being removed keeps its name).
    pub fn rename(&mut self, renamed: &BTreeMap<QueueName, QueueName>) -> bool {
        let news: BTreeSet<&QueueName> = renamed.values().collect();
        let taken = |new: &&QueueName| self.queue_of.contains_key(*new) && !renamed.contains_key(*new);
        if news.len() < renamed.len() || news.iter().any(taken) {
            return false;
        }
        let moved: Vec<_> = renamed.iter().filter_map(|(old, new)| Some((self.queue_of.remove(old)?, new))).collect();
        for (ix, _) in &moved {
            self.unlist(*ix);
            self.forget_hours(*ix);
        }
        for (ix, new) in moved {
            self.queues[ix].name = new.clone();
            self.note_hours(ix);
            self.queue_of.insert(new.clone(), ix);
            self.list(ix);
            self.refresh_agent(self.queues[ix].agent);
        }
        true
    }

    /// Whether each line of a queue can fit some day.
    fn judge_shapes(&mut self, runs: &Table, queue: Ix) {
        for shape in self.queues[queue].shape_of.values().copied().collect::<Vec<_>>() {
            self.shapes[shape].never = self.never_fits(queue, &self.shapes[shape].request).map(Box::new);
            self.list_shape(runs, queue, shape);
        }
    }

    fn never_fits(&self, queue: Ix, request: &Request) -> Option<NeverFits> {
        let queue = &self.queues[queue];
        let nothing = Used::default();
        let quota = queue.quota.shortage(&nothing, request).map(|s| (s, Within::Quota));
        let capacity = || self.agents[queue.agent].capacity.shortage(&nothing, request).map(|s| (s, Within::Capacity));
        quota.or_else(capacity).map(|(shortage, within)| NeverFits { shortage, within })
    }

    /// The shape of a request in a queue; made when it is new. Counts one more run of both.
    pub fn join(&mut self, queue: Ix, request: &Request) -> Ix {
        let shape = match self.queues[queue].shape_of.get(request) {
            Some(shape) => *shape,
            None => {
                let never = self.never_fits(queue, request).map(Box::new);
                let (item, request) = self.agents[self.queues[queue].agent].menu.join(request);
                let line = Line::default();
                let shape = Shape { request: request.clone(), queue, line, never, listed: None, item, runs: 0 };
                let ix = self.shapes.insert(shape);
                self.queues[queue].shape_of.insert(request, ix);
                ix
            }
        };
        self.shapes[shape].runs += 1;
        self.queues[queue].runs += 1;
        shape
    }

    /// The counterpart of [`Queues::join`], once the run has ended or moved.
    pub fn part(&mut self, queue: Ix, shape: Ix) {
        self.queues[queue].runs -= 1;
        self.shapes[shape].runs -= 1;
        if self.shapes[shape].runs == 0 {
            let shape = self.shapes.remove(shape);
            self.queues[queue].shape_of.remove(&shape.request);
            self.agents[self.queues[queue].agent].menu.part(shape.item);
        }
    }

    pub fn class_of(&self, shape: Ix) -> Classes {
        Classes::nth(self.shapes[shape].item)
    }

    pub fn need_of(&self, shape: Ix) -> Need {
        Need::of(&self.shapes[shape].request, self.class_of(shape))
    }
}
