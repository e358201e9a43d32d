//! Stage 2: organization → agent → level of priority → queue → shape → first come, first served.
//!
//! A queue stands in the ordered set of its level if and only if it could hand over an operation now as far as its own
//! limits go; a full ancestor parks itself, never its children. Operations of one queue that ask for exactly the same
//! share a line (a *shape*): when the first of a line does not fit, none of it does.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::shapes::{Ceiling, Dims, Request, Shortage, Used};
use super::table::{Ix, Line, RunIx, Slab, Table};
use crate::domain::catalog::{AgentPolicy, QueuePolicy};
use crate::domain::ids::{AgentName, QueueName};
use crate::domain::sharing::{LevelDemand, budgets};
use crate::domain::spec::{Limit, Order, Priority};

use super::event::OrganizationLimits;

/// One namespace of one cluster.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub name: AgentName,
    pub policy: AgentPolicy,
    pub capacity: Ceiling,
    pub used: u32,
    pub used_of: Used,
    /// Whether its target can be reached; not stored, told anew after each start.
    pub up: bool,
    /// Whether its file is gone: it finishes what it has.
    pub removed: bool,
    pub last_served: u64,
    /// Highest priority first.
    pub levels: BTreeMap<Rank, Level>,
    /// Levels with a ready queue: those within their budget.
    within: BTreeSet<Rank>,
    /// Levels with a ready queue: those that would be lent what others do not use.
    beyond: BTreeSet<Rank>,
    /// Whether the last look at it found nothing that fits its capacity; cleared when that may have changed.
    parked: bool,
    /// Under which key it stands among the open agents.
    listed: Option<AgentKey>,
}

/// A priority, highest first.
pub(super) type Rank = Reverse<Priority>;

/// The order of open agents: highest ready level first, then least recently served, then by name.
type AgentKey = (Rank, u64, AgentName, Ix);

/// The queues of one priority on one agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Level {
    /// Its part of what the agent may run; only binding while another level has work.
    pub budget: u64,
    pub used: u32,
    ready: BTreeSet<ReadyKey>,
}

/// The order of ready queues: least used share first, then least recently served, then by name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReadyKey {
    used: u32,
    weight: u32,
    last_served: u64,
    name: QueueName,
    queue: Ix,
    /// The level in whose set it stands.
    level: Rank,
}

impl Ord for ReadyKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // used/weight as exact fractions.
        let share = |a: &Self, b: &Self| u64::from(a.used) * u64::from(b.weight);
        share(self, other)
            .cmp(&share(other, self))
            .then(self.last_served.cmp(&other.last_served))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for ReadyKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A line of work.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub name: QueueName,
    pub agent: Ix,
    pub policy: QueuePolicy,
    quota: Ceiling,
    /// Whether its file is gone: it takes no more and finishes what it has.
    pub removed: bool,
    pub used: u32,
    pub used_of: Used,
    /// Operations that stand in it.
    pub waiting: u32,
    /// Unfinished runs that name it, wherever they stand.
    pub runs: u32,
    pub last_served: u64,
    shape_of: BTreeMap<Request, Ix>,
    /// Lines that are not empty and can fit some day, by the order of their first.
    lines: BTreeMap<u64, Ix>,
    listed: Option<ReadyKey>,
}

/// Operations of one queue that ask for exactly the same.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub request: Request,
    pub line: Line,
    /// Why it can never fit while limits are what they are.
    pub never: Option<NeverFits>,
    /// Under which order it stands among the lines of its queue.
    listed: Option<u64>,
    /// Unfinished runs of it.
    runs: u32,
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
    open: BTreeSet<AgentKey>,
}

impl Queues {
    pub fn set_limits(&mut self, limits: OrganizationLimits) {
        self.limits = limits;
        for agent in self.agent_of.values().copied().collect::<Vec<_>>() {
            self.set_budgets(agent);
            self.refresh_agent(agent);
        }
    }

    /// Sets an agent's policy; [`Queues::rebuild`] must follow.
    pub fn set_agent(&mut self, name: &AgentName, policy: AgentPolicy) {
        let capacity = Ceiling::of(&mut self.dims, &policy.capacity);
        match self.agent_of.get(name) {
            Some(ix) => {
                let agent = &mut self.agents[*ix];
                (agent.policy, agent.capacity, agent.removed) = (policy, capacity, false);
            }
            None => {
                let agent = Agent {
                    name: name.clone(),
                    policy,
                    capacity,
                    used: 0,
                    used_of: Used::default(),
                    up: false,
                    removed: false,
                    last_served: 0,
                    levels: BTreeMap::new(),
                    within: BTreeSet::new(),
                    beyond: BTreeSet::new(),
                    parked: false,
                    listed: None,
                };
                let ix = self.agents.insert(agent);
                self.agent_of.insert(name.clone(), ix);
            }
        }
    }

    /// Sets a queue's policy; its agent is known, and [`Queues::rebuild`] of it must follow.
    pub fn set_queue(&mut self, name: &QueueName, policy: QueuePolicy) {
        let agent = self.agent_of[&name.agent];
        let quota = Ceiling::of(&mut self.dims, &policy.quota);
        match self.queue_of.get(name) {
            Some(ix) => {
                let queue = &mut self.queues[*ix];
                (queue.policy, queue.quota, queue.removed) = (policy, quota, false);
            }
            None => {
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
                    shape_of: BTreeMap::new(),
                    lines: BTreeMap::new(),
                    listed: None,
                };
                let ix = self.queues.insert(queue);
                self.queue_of.insert(name.clone(), ix);
            }
        }
    }

    pub fn remove_queue(&mut self, ix: Ix) {
        let agent = self.queues[ix].agent;
        self.unlist(ix);
        let queue = self.queues.remove(ix);
        self.queue_of.remove(&queue.name);
        self.set_budgets(agent);
        self.refresh_agent(agent);
    }

    pub fn remove_agent(&mut self, ix: Ix) {
        self.close(ix);
        let agent = self.agents.remove(ix);
        self.agent_of.remove(&agent.name);
    }

    /// Gives queues new names, all at once so that names may be swapped; [`Queues::rebuild`] must follow. `false`, and
    /// nothing has happened, when two would have the same name (one that is still being removed keeps its name).
    pub fn rename(&mut self, renamed: &BTreeMap<QueueName, QueueName>) -> bool {
        let news: BTreeSet<&QueueName> = renamed.values().collect();
        let taken = |new: &&QueueName| self.queue_of.contains_key(*new) && !renamed.contains_key(*new);
        if news.len() < renamed.len() || news.iter().any(taken) {
            return false;
        }
        let moved: Vec<_> = renamed.iter().filter_map(|(old, new)| Some((self.queue_of.remove(old)?, new))).collect();
        for (ix, new) in moved {
            self.queues[ix].name = new.clone();
            self.queue_of.insert(new.clone(), ix);
        }
        true
    }

    /// Works out anew what follows from the policies of an agent and its queues.
    pub fn rebuild(&mut self, runs: &Table, agent: &AgentName) {
        let Some(agent) = self.agent_of.get(agent).copied() else { return };
        let queues: Vec<Ix> = self.queues.iter().filter(|(_, queue)| queue.agent == agent).map(|(ix, _)| ix).collect();
        for ix in &queues {
            self.unlist(*ix);
            for shape in self.queues[*ix].shape_of.values().copied().collect::<Vec<_>>() {
                self.shapes[shape].never = self.never_fits(*ix, &self.shapes[shape].request);
                self.list_shape(runs, *ix, shape);
            }
        }
        let mut levels: BTreeMap<_, Level> = BTreeMap::new();
        for ix in &queues {
            let queue = &self.queues[*ix];
            levels.entry(Reverse(queue.policy.priority)).or_default().used += queue.used;
        }
        self.agents[agent].levels = levels;
        self.agents[agent].within.clear();
        self.agents[agent].beyond.clear();
        self.set_budgets(agent);
        for ix in queues {
            self.list(ix);
        }
        self.refresh_agent(agent);
    }

    /// Divides the agent's cap among its levels.
    fn set_budgets(&mut self, agent: Ix) {
        let mut demands: BTreeMap<Rank, Option<u64>> = BTreeMap::new();
        for (_, queue) in self.queues.iter().filter(|(_, queue)| queue.agent == agent) {
            let sum = demands.entry(Reverse(queue.policy.priority)).or_insert(Some(0));
            *sum = match (*sum, queue.policy.concurrency) {
                (Some(sum), Limit::At(n)) => Some(sum + u64::from(n)),
                _ => None,
            };
        }
        let levels: Vec<LevelDemand> =
            demands.iter().map(|(level, limit_sum)| LevelDemand { priority: level.0, limit_sum: *limit_sum }).collect();
        let cap = match self.agents[agent].policy.concurrency.min(self.limits.concurrency) {
            Limit::At(n) => Some(u64::from(n)),
            Limit::Unlimited => None,
        };
        let shares = budgets(self.limits.sharing, cap, &levels);
        let agent = &mut self.agents[agent];
        agent.levels.retain(|rank, _| demands.contains_key(rank));
        for (level, budget) in demands.keys().zip(shares) {
            agent.levels.entry(*level).or_default().budget = budget;
            agent.sort_level(*level);
        }
        agent.parked = false;
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
                let never = self.never_fits(queue, request);
                let shape = Shape { request: request.clone(), line: Line::default(), never, listed: None, runs: 0 };
                let ix = self.shapes.insert(shape);
                self.queues[queue].shape_of.insert(request.clone(), ix);
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
        }
    }

    /// A run stands at the end of its line.
    pub fn wait(&mut self, runs: &mut Table, run: RunIx) {
        let (queue, shape) = (runs[run].queue, runs[run].shape);
        self.shapes[shape].line.push(runs, run);
        self.queues[queue].waiting += 1;
        self.list_shape(runs, queue, shape);
        self.list(queue);
        self.refresh_agent(self.queues[queue].agent);
    }

    /// A run leaves its line, from wherever it stands.
    pub fn leave_line(&mut self, runs: &mut Table, run: RunIx) {
        let (queue, shape) = (runs[run].queue, runs[run].shape);
        self.shapes[shape].line.remove(runs, run);
        self.queues[queue].waiting -= 1;
        self.list_shape(runs, queue, shape);
        self.list(queue);
        self.refresh_agent(self.queues[queue].agent);
    }

    /// A run that has left its line takes its slot.
    pub fn take_slot(&mut self, runs: &Table, run: RunIx) {
        self.served += 1;
        let (ix, shape) = (runs[run].queue, runs[run].shape);
        let request = &self.shapes[shape].request;
        let queue = &mut self.queues[ix];
        let agent = &mut self.agents[queue.agent];
        (queue.last_served, agent.last_served) = (self.served, self.served);
        queue.used += 1;
        agent.used += 1;
        self.used += 1;
        queue.used_of.add(request);
        agent.used_of.add(request);
        let rank = Reverse(queue.policy.priority);
        agent.levels.entry(rank).or_default().used += 1;
        agent.sort_level(rank);
        let agent = queue.agent;
        self.list(ix);
        self.refresh_agent(agent);
    }

    /// A run gives its slot back.
    pub fn free_slot(&mut self, runs: &Table, run: RunIx) {
        let (ix, shape) = (runs[run].queue, runs[run].shape);
        let request = &self.shapes[shape].request;
        let queue = &mut self.queues[ix];
        let agent = &mut self.agents[queue.agent];
        queue.used -= 1;
        agent.used -= 1;
        self.used -= 1;
        queue.used_of.sub(request);
        agent.used_of.sub(request);
        let rank = Reverse(queue.policy.priority);
        agent.levels.entry(rank).or_default().used -= 1;
        agent.sort_level(rank);
        agent.parked = false;
        let agent = queue.agent;
        self.list(ix);
        self.refresh_agent(agent);
    }

    pub fn set_up(&mut self, agent: &AgentName, up: bool) {
        if let Some(ix) = self.agent_of.get(agent).copied() {
            self.agents[ix].up = up;
            self.refresh_agent(ix);
        }
    }

    /// The next operation that may start, by the rules of the module's first lines.
    pub fn next(&mut self, runs: &Table) -> Option<RunIx> {
        if !self.limits.concurrency.admits(self.used) {
            return None;
        }
        while let Some((_, _, _, ix)) = self.open.first() {
            let ix = *ix;
            if let Some(run) = self.next_of_agent(runs, ix) {
                return Some(run);
            }
            self.agents[ix].parked = true;
            self.refresh_agent(ix);
        }
        None
    }

    /// Puts an agent among the open ones if and only if it could hand over an operation now.
    fn refresh_agent(&mut self, ix: Ix) {
        let agent = &self.agents[ix];
        let open = agent.up && !agent.parked && agent.policy.concurrency.admits(agent.used);
        let top = if open { agent.top() } else { None };
        match (&agent.listed, top) {
            (None, None) => return,
            (Some((rank, served, ..)), Some(top)) if *rank == top && *served == agent.last_served => return,
            _ => {}
        }
        self.close(ix);
        if let Some(top) = top {
            let agent = &mut self.agents[ix];
            let key = (top, agent.last_served, agent.name.clone(), ix);
            agent.listed = Some(key.clone());
            self.open.insert(key);
        }
    }

    fn close(&mut self, ix: Ix) {
        if let Some(key) = self.agents[ix].listed.take() {
            self.open.remove(&key);
        }
    }

    /// Levels within their budget come first, then the others, which are lent what is unused; each time the highest first.
    fn next_of_agent(&self, runs: &Table, agent: Ix) -> Option<RunIx> {
        let agent = &self.agents[agent];
        let ranks = agent.within.iter().chain(&agent.beyond);
        ranks.flat_map(|rank| &agent.levels[rank].ready).find_map(|key| {
            let queue = &self.queues[key.queue];
            self.fitting_line(queue, |request| agent.has_room(request))
                .and_then(|shape| self.shapes[shape].line.first())
                .inspect(|run| debug_assert!(runs[*run].queue == key.queue))
        })
    }

    /// The line whose first operation the queue would hand over; a strict queue only ever looks at the very first.
    fn fitting_line(&self, queue: &Queue, fits: impl Fn(&Request) -> bool) -> Option<Ix> {
        let look = match queue.policy.order {
            Order::Strict => 1,
            Order::Backfill => usize::MAX,
        };
        queue.lines.values().copied().take(look).find(|shape| {
            let request = &self.shapes[*shape].request;
            queue.quota.shortage(&queue.used_of, request).is_none() && fits(request)
        })
    }

    /// What stands in the way of an operation within its own queue, beside its place in line.
    pub fn queue_shortage(&self, queue: &Queue, request: &Request) -> Option<Shortage> {
        queue.quota.shortage(&queue.used_of, request)
    }

    /// The operations that stand before this one in its queue, if any: how many, and the first of them.
    pub fn ahead(&self, runs: &Table, run: RunIx) -> (u64, Option<RunIx>) {
        let (queue, own) = (&self.queues[runs[run].queue], runs[run].order);
        let mut first: Option<RunIx> = None;
        let mut count = 0;
        for shape in queue.lines.values() {
            for other in self.shapes[*shape].line.iter(runs).take_while(|other| runs[*other].order < own) {
                count += 1;
                if first.is_none_or(|first| runs[other].order < runs[first].order) {
                    first = Some(other);
                }
            }
        }
        (count, first)
    }

    /// The operations of a queue in the order of their arrival.
    pub fn line_of(&self, runs: &Table, queue: Ix) -> Vec<RunIx> {
        let shapes = self.queues[queue].shape_of.values();
        let mut line: Vec<RunIx> = shapes.flat_map(|shape| self.shapes[*shape].line.iter(runs)).collect();
        line.sort_by_key(|run| runs[*run].order);
        line
    }

    fn list_shape(&mut self, runs: &Table, queue: Ix, shape: Ix) {
        let item = &mut self.shapes[shape];
        let order = item.line.first().filter(|_| item.never.is_none()).map(|run| runs[run].order);
        if item.listed != order {
            let lines = &mut self.queues[queue].lines;
            item.listed.map(|order| lines.remove(&order));
            order.map(|order| lines.insert(order, shape));
            item.listed = order;
        }
    }

    /// Puts the queue into the set of its level if and only if it could hand over an operation now. The agent's own
    /// place is refreshed by the caller, once for all that one event does.
    fn list(&mut self, ix: Ix) {
        let queue = &self.queues[ix];
        let open = !queue.policy.hold
            && queue.policy.concurrency.admits(queue.used)
            && self.fitting_line(queue, |_| true).is_some();
        let agent = &self.agents[queue.agent];
        // A parked agent wakes for what it has room for, not for one more that it cannot take.
        if open && agent.parked && self.fitting_line(queue, |request| agent.has_room(request)).is_some() {
            self.agents[queue.agent].parked = false;
        }
        match &queue.listed {
            None if !open => return,
            Some(key) if open && key.used == queue.used && key.last_served == queue.last_served => return,
            _ => {}
        }
        self.unlist(ix);
        if open {
            let queue = &mut self.queues[ix];
            let key = ReadyKey {
                used: queue.used,
                weight: queue.policy.weight.max(1),
                last_served: queue.last_served,
                name: queue.name.clone(),
                queue: ix,
                level: Reverse(queue.policy.priority),
            };
            queue.listed = Some(key.clone());
            let agent = &mut self.agents[queue.agent];
            let rank = key.level;
            agent.levels.entry(rank).or_default().ready.insert(key);
            agent.sort_level(rank);
        }
    }

    fn unlist(&mut self, ix: Ix) {
        let queue = &mut self.queues[ix];
        if let Some(key) = queue.listed.take() {
            let agent = &mut self.agents[queue.agent];
            if let Some(level) = agent.levels.get_mut(&key.level) {
                level.ready.remove(&key);
            }
            agent.sort_level(key.level);
        }
    }
}

impl Agent {
    /// The highest level with a queue that could hand over an operation.
    fn top(&self) -> Option<Rank> {
        self.within.first().into_iter().chain(self.beyond.first()).min().copied()
    }

    /// Whether its capacity has room for a request now.
    fn has_room(&self, request: &Request) -> bool {
        self.capacity.shortage(&self.used_of, request).is_none()
    }

    /// Puts a level among those within their budget or beyond it if and only if it has a ready queue.
    fn sort_level(&mut self, rank: Rank) {
        let place = self.levels.get(&rank).filter(|level| !level.ready.is_empty());
        let within = place.map(|level| u64::from(level.used) < level.budget);
        for (set, wanted) in [(&mut self.within, Some(true)), (&mut self.beyond, Some(false))] {
            if within == wanted {
                set.insert(rank);
            } else {
                set.remove(&rank);
            }
        }
    }
}
