//! What happens to operations in queues: they come, leave, get their slot and give it back; and who is next.
//!
//! Every one of these touches the path from the operation to the organization and nothing beside it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::agents::{AgentKey, ReadyKey};
use super::queues::{Queue, Queues};
use super::shapes::{Classes, Request, Room, collect};
use super::table::{Ix, RunIx, Table};
use crate::domain::ids::AgentName;
use crate::domain::spec::Order;
use crate::domain::time::Timestamp;

impl Queues {
    /// A run joins the line of its queue, as the last.
    pub fn wait(&mut self, runs: &mut Table, run: RunIx) {
        let (queue, shape) = (runs[run].queue, runs[run].shape);
        self.shapes[shape].line.push(runs, run);
        self.queues[queue].waiting += 1;
        runs[run].place = self.queues[queue].places.stand();
        self.list_shape(runs, queue, shape);
        self.list(queue);
        self.refresh_agent(self.queues[queue].agent);
    }

    /// A run leaves its line, from wherever it stands.
    pub fn leave_line(&mut self, runs: &mut Table, run: RunIx) {
        let queue = runs[run].queue;
        self.unline(runs, run);
        self.list(queue);
        self.refresh_agent(self.queues[queue].agent);
    }

    fn unline(&mut self, runs: &mut Table, run: RunIx) {
        let (queue, shape) = (runs[run].queue, runs[run].shape);
        self.shapes[shape].line.remove(runs, run);
        self.queues[queue].waiting -= 1;
        self.queues[queue].places.leave(runs[run].place);
        self.forget(queue, run);
        self.list_shape(runs, queue, shape);
    }

    /// The first of a line takes its slot.
    pub fn hand_over(&mut self, runs: &mut Table, run: RunIx, at: Timestamp) {
        self.note_skips(runs, run, at);
        self.unline(runs, run);
        self.take_slot(runs, run);
    }

    /// A run that stands in no line takes its slot.
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
        let rank = queue.rank();
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
        let rank = queue.rank();
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

    /// The next operation that may start, by the rules of the module `queues`.
    pub fn next(&mut self) -> Option<RunIx> {
        if !self.limits.concurrency.admits(self.used) {
            return None;
        }
        while let Some((_, _, _, ix)) = self.open.first() {
            let ix = *ix;
            if let Some(run) = self.next_of_agent(ix) {
                return Some(run);
            }
            self.agents[ix].parked = true;
            self.refresh_agent(ix);
        }
        None
    }

    /// Puts an agent among the open ones if and only if it could hand over an operation now.
    pub fn refresh_agent(&mut self, ix: Ix) {
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
            let key: AgentKey = (top, agent.last_served, agent.name.clone(), ix);
            agent.listed = Some(key.clone());
            self.open.insert(key);
        }
    }

    pub fn close(&mut self, ix: Ix) {
        if let Some(key) = self.agents[ix].listed.take() {
            self.open.remove(&key);
        }
    }

    fn next_of_agent(&self, ix: Ix) -> Option<RunIx> {
        let agent = &self.agents[ix];
        let first = |shape: Ix| self.shapes[shape].line.first();
        if agent.capacity.is_open() {
            let (_, queue) = agent.levels.get(&agent.ranks().next()?)?.ready.first()?;
            return self.line(&self.queues[queue], None).and_then(|(_, shape)| first(shape));
        }
        // Without reservations every level sees the same.
        let plain = agent.patience.values().all(|patience| !patience.is_due());
        let mut seen: Option<(Room<'_>, Classes)> = None;
        for rank in agent.ranks() {
            if !plain || seen.is_none() {
                let room = self.room_for_level(ix, rank, true);
                let fitting = agent.menu.fitting(&room);
                seen = Some((room, fitting));
            }
            let Some((room, fitting)) = &seen else { continue };
            let ready = &agent.levels[&rank].ready;
            let found = ready.find(&mut |classes| classes.meets(*fitting), &mut |_, queue| {
                self.line(&self.queues[queue], Some(room)).is_some()
            });
            let found = found.and_then(|(key, queue)| Some((key, self.line(&self.queues[queue], Some(room))?)));
            // For whom something is kept may take it.
            let owner = self.reserved_in_level(ix, rank).and_then(|shape| {
                let fits = self.room_for_level(ix, rank, false).fits(&self.shapes[shape].request);
                let queue = &self.queues[self.shapes[shape].queue];
                let order = self.shapes[shape].listed.filter(|_| fits)?;
                Some((queue.listed.as_ref()?, (order, shape)))
            });
            if let Some((_, (_, shape))) = found.into_iter().chain(owner).min() {
                return first(shape);
            }
        }
        None
    }

    /// Whether the quota of its queue has room for a shape beside what is used and kept.
    pub fn fits_queue(&self, queue: &Queue, shape: Ix) -> bool {
        let mut room = queue.quota.room(&queue.used_of);
        if let Some(kept) = self.reserved_in_queue(queue).filter(|kept| *kept != shape) {
            room.keep(&self.shapes[kept].request);
        }
        room.fits(&self.shapes[shape].request)
    }

    /// The line, with its order, whose first operation the queue would hand over to an agent that has so much room; a
    /// strict queue only ever looks at the very first.
    pub fn line(&self, queue: &Queue, agent: Option<&Room<'_>>) -> Option<(u64, Ix)> {
        let agent_fits = |request: &Request| agent.is_none_or(|room| room.fits(request));
        let quota = queue.quota.room(&queue.used_of);
        if queue.policy.order == Order::Strict {
            let (order, shape) = queue.lines.first()?;
            let request = &self.shapes[shape].request;
            return (quota.fits(request) && agent_fits(request)).then_some((*order, shape));
        }
        let kept = self.reserved_in_queue(queue);
        let mut left = quota.clone();
        if let Some(shape) = kept {
            left.keep(&self.shapes[shape].request);
        }
        let mut bound = left.bound();
        if let Some(room) = agent {
            bound = bound.and(room.bound());
        }
        let found = queue.lines.find(&mut |need| need.may_fit(&bound), &mut |_, shape| {
            let request = &self.shapes[shape].request;
            left.fits(request) && agent_fits(request)
        });
        let owner = kept.filter(|shape| {
            let request = &self.shapes[*shape].request;
            quota.fits(request) && agent_fits(request)
        });
        let owner = owner.and_then(|shape| Some((self.shapes[shape].listed?, shape)));
        found.map(|(order, shape)| (*order, shape)).into_iter().chain(owner).min()
    }

    /// The classes of the lines that a queue could hand over now as far as it goes; empty when there is none.
    fn classes(&self, queue: &Queue) -> Classes {
        let capped = !self.agents[queue.agent].capacity.is_open();
        if queue.policy.order == Order::Backfill && queue.quota.is_open() {
            return queue.lines.sum().map_or(Classes::default(), |need| need.classes);
        }
        if queue.policy.order == Order::Strict || !capped {
            return self.line(queue, None).map_or(Classes::default(), |(_, shape)| self.class_of(shape));
        }
        let mut left = queue.quota.room(&queue.used_of);
        let kept = self.reserved_in_queue(queue);
        let owner = kept.filter(|shape| left.fits(&self.shapes[*shape].request));
        if let Some(shape) = kept {
            left.keep(&self.shapes[shape].request);
        }
        let mut all = collect(&queue.lines, &left.bound(), |shape| left.fits(&self.shapes[shape].request));
        owner.into_iter().for_each(|shape| all.add(self.class_of(shape)));
        all
    }

    /// The operations that stand before this one in its queue: how many, and the first that can fit some day.
    pub fn ahead(&self, runs: &Table, run: RunIx) -> (u64, Option<RunIx>) {
        let queue = &self.queues[runs[run].queue];
        let first = queue.lines.first().and_then(|(_, shape)| self.shapes[shape].line.first());
        (queue.places.before(runs[run].place), first.filter(|first| runs[*first].order < runs[run].order))
    }

    /// The operations of a queue in the order of their arrival.
    pub fn line_of<'a>(&'a self, runs: &'a Table, queue: Ix) -> impl Iterator<Item = RunIx> + 'a {
        let mut lines: Vec<_> = Vec::new();
        let mut firsts = BinaryHeap::new();
        for shape in self.queues[queue].shape_of.values() {
            let mut line = self.shapes[*shape].line.iter(runs);
            if let Some(first) = line.next() {
                firsts.push(Reverse((runs[first].order, first, lines.len())));
                lines.push(line);
            }
        }
        std::iter::from_fn(move || {
            let Reverse((_, first, line)) = firsts.pop()?;
            if let Some(next) = lines[line].next() {
                firsts.push(Reverse((runs[next].order, next, line)));
            }
            Some(first)
        })
    }

    pub fn list_shape(&mut self, runs: &Table, queue: Ix, shape: Ix) {
        let item = &self.shapes[shape];
        let order = item.line.first().filter(|_| item.never.is_none()).map(|run| runs[run].order);
        if item.listed == order {
            return;
        }
        let need = self.need_of(shape);
        let item = &mut self.shapes[shape];
        let lines = &mut self.queues[queue].lines;
        // In this order, so that the set is not thrown away between when it holds but one line.
        order.into_iter().for_each(|order| lines.insert(order, shape, need.clone()));
        item.listed.map(|order| lines.remove(&order));
        item.listed = order;
    }

    /// Puts the queue into the set of its level if and only if it could hand over an operation now. The agent's own
    /// place is refreshed by the caller, once for all that one event does.
    pub fn list(&mut self, ix: Ix) {
        let queue = &self.queues[ix];
        let may = !queue.policy.hold && queue.opening.is_open() && queue.policy.concurrency.admits(queue.used);
        let classes = if may { self.classes(queue) } else { Classes::default() };
        let open = classes != Classes::default();
        let agent = &self.agents[queue.agent];
        // A parked agent wakes for what it has room for, not for one more that it cannot take.
        let wakes = open && agent.parked && {
            let room = agent.capacity.room(&agent.used_of);
            self.line(queue, Some(&room)).is_some()
        };
        if wakes {
            self.agents[queue.agent].parked = false;
        }
        let queue = &self.queues[ix];
        match &queue.listed {
            None if !open => return,
            Some(key) if open && key.used == queue.used && key.last_served == queue.last_served => {
                if queue.classes != classes {
                    let queue = &mut self.queues[ix];
                    queue.classes = classes;
                    let (Some(key), Some(agent)) = (&queue.listed, Some(queue.agent)) else { return };
                    if let Some(level) = self.agents[agent].levels.get_mut(&key.level) {
                        level.ready.change(key, classes);
                    }
                }
                return;
            }
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
                level: queue.rank(),
            };
            (queue.listed, queue.classes) = (Some(key.clone()), classes);
            let agent = &mut self.agents[queue.agent];
            let rank = key.level;
            agent.levels.entry(rank).or_default().ready.insert(key, ix, classes);
            agent.sort_level(rank);
        }
    }

    pub fn unlist(&mut self, ix: Ix) {
        let queue = &mut self.queues[ix];
        if let Some(key) = queue.listed.take() {
            let agent = &mut self.agents[queue.agent];
            if let Some(level) = agent.levels.get_mut(&key.level) {
                level.ready.remove(&key);
            }
            agent.sort_level(key.level);
            // Its reservation rests: what was kept is there for others.
            agent.parked &= agent.patience.is_empty();
        }
    }
}
