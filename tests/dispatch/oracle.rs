//! The rules of design §5 once more, written as slowly and plainly as possible: full scans over plain vectors.
//!
//! It shares no code with the dispatcher but the division of a limit among levels, which has tests of its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tidegate::domain::catalog::{AgentPolicy, QueuePolicy};
use tidegate::domain::dispatch::cached::CACHE_HIT;
use tidegate::domain::dispatch::event::{Event, NewRun, OrganizationLimits};
use tidegate::domain::dispatch::observation::DEADLINE_EXCEEDED;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{PATIENCE, SKIPS};
use tidegate::domain::ids::{AgentName, Digest, ProjectName, QueueName, RunId};
use tidegate::domain::quantity::Resources;
use tidegate::domain::sharing::{LevelDemand, budgets};
use tidegate::domain::spec::{Limit, Order, Priority};
use tidegate::domain::time::{Span, Timestamp};
use tidegate::domain::windows::open_at;

#[derive(Debug, Clone)]
pub struct Run {
    pub new: NewRun,
    pub status: Status,
    pub attempt: u32,
    /// The outermost pipeline above it.
    pub root: Option<RunId>,
    pub order: u64,
    passed: bool,
    pub until: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Queue {
    pub name: QueueName,
    pub policy: QueuePolicy,
    last_served: u64,
    pub patience: Option<Patience>,
}

/// Who was passed over, how often, and since when.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub run: RunId,
    pub skips: u32,
    since: Timestamp,
}

impl Patience {
    fn begin(run: RunId, at: Timestamp) -> Self {
        Self { run, skips: 1, since: at }
    }

    fn skip(&mut self, at: Timestamp) {
        self.skips = if at.since(self.since) >= PATIENCE { SKIPS.max(self.skips + 1) } else { self.skips + 1 };
    }
}

#[derive(Debug, Clone)]
pub struct Agent {
    pub name: AgentName,
    pub policy: AgentPolicy,
    last_served: u64,
    pub patience: BTreeMap<Priority, Patience>,
}

#[derive(Debug, Clone, Default)]
pub struct Oracle {
    pub runs: Vec<Run>,
    pub queues: Vec<Queue>,
    pub agents: Vec<Agent>,
    pub up: BTreeSet<AgentName>,
    pub limits: OrganizationLimits,
    projects: BTreeMap<ProjectName, Limit>,
    groups: BTreeMap<(ProjectName, String), u32>,
    pipelines: BTreeMap<RunId, Limit>,
    changed: BTreeMap<QueueName, QueuePolicy>,
    /// The moment, for queues with windows.
    pub now: Timestamp,
    clock: u64,
    /// Runs that have ended, with their newest attempts.
    pub ended: Vec<(NewRun, u32)>,
    /// Those of them that are to be followed.
    pub followed: BTreeSet<RunId>,
    /// The runs whose image is built, with those that build.
    pub building: BTreeMap<RunId, RunId>,
    /// The newest outcome of each key of the cache: whose it is, and since when.
    outcomes: BTreeMap<Digest, (RunId, Timestamp)>,
    /// A run that was made and takes an outcome over, which must be what happens next.
    takes_over: Option<RunId>,
}

pub fn slot(run: &Run) -> bool {
    use Status::{Running, Scheduled, Starting, Stopping, Warning};
    run.new.pipeline.is_none() && matches!(run.status, Scheduled | Starting | Running | Warning | Stopping)
}

pub fn room(limit: Limit, used: usize) -> bool {
    match limit {
        Limit::At(n) => used < n as usize,
        Limit::Unlimited => true,
    }
}

pub fn fits(ceiling: &Resources, used: &[&Run], request: &Resources) -> bool {
    request.0.iter().all(|(name, need)| {
        let have = ceiling.0.get(name).map(|have| u128::from(have.millis()));
        let taken = used.iter().filter_map(|run| run.new.request.0.get(name)).map(|n| u128::from(n.millis()));
        have.is_none_or(|have| taken.sum::<u128>() + u128::from(need.millis()) <= have)
    })
}

impl Oracle {
    /// An unfinished run.
    pub fn find(&self, id: RunId) -> Option<&Run> {
        self.runs.iter().find(|run| run.new.id == id)
    }

    fn run(&mut self, id: RunId) -> &mut Run {
        self.runs.iter_mut().find(|run| run.new.id == id).expect("events name unfinished runs")
    }

    fn turn(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Takes an event in. What the pass decided must be what these rules would have decided.
    pub fn apply(&mut self, at: Timestamp, event: &Event) {
        let takes_over = match event {
            Event::RunFinished { run, cause, .. } if cause.reason == CACHE_HIT => Some(*run),
            Event::RunFinished { run, cause, .. } if cause.reason == "GroupBusy" => {
                self.takes_over.filter(|r| r == run)
            }
            _ => None,
        };
        assert_eq!(self.takes_over.take(), takes_over, "who may take an outcome over does so at once");
        match event {
            Event::RevisionApplied(revision) => {
                self.limits = revision.organization.unwrap_or(self.limits);
                for (name, policy) in &revision.projects {
                    self.projects.insert(name.clone(), policy.as_ref().map_or(Limit::Unlimited, |p| p.concurrency));
                }
                for (name, policy) in &revision.agents {
                    let Some(policy) = policy.clone() else { continue };
                    match self.agents.iter_mut().find(|agent| agent.name == *name) {
                        Some(agent) => agent.policy = policy,
                        None => self.agents.push(Agent {
                            name: name.clone(),
                            policy,
                            last_served: 0,
                            patience: BTreeMap::new(),
                        }),
                    }
                }
                for (name, policy) in std::mem::take(&mut self.changed) {
                    self.queues.iter_mut().filter(|q| q.name == name).for_each(|q| q.policy = policy.clone());
                }
                for queue in &mut self.queues {
                    queue.name = revision.renamed.get(&queue.name).unwrap_or(&queue.name).clone();
                }
                for run in &mut self.runs {
                    run.new.queue = revision.renamed.get(&run.new.queue).unwrap_or(&run.new.queue).clone();
                }
                for (name, policy) in &revision.queues {
                    let Some(policy) = policy.clone() else { continue };
                    match self.queues.iter_mut().find(|queue| queue.name == *name) {
                        Some(queue) => queue.policy = policy,
                        None => self.queues.push(Queue { name: name.clone(), policy, last_served: 0, patience: None }),
                    }
                }
            }
            Event::QueueChanged { queue, policy, .. } => {
                let found = self.queues.iter_mut().find(|q| q.name == *queue).expect("only known queues change");
                let declared = std::mem::replace(&mut found.policy, policy.clone());
                self.changed.entry(queue.clone()).or_insert(declared);
            }
            Event::QueueTurned { queue, opening } => {
                let found = self.queues.iter().find(|q| q.name == *queue).expect("only known queues turn");
                assert_eq!(*opening, open_at(&found.policy.windows, at), "queue {queue}");
            }
            Event::QueueGone { queue } => {
                assert!(self.runs.iter().all(|run| run.new.queue != *queue), "queue {queue} went with runs");
                self.changed.remove(queue);
                self.queues.retain(|q| q.name != *queue);
            }
            Event::AgentGone { agent } => {
                assert!(self.queues.iter().all(|queue| queue.name.agent != *agent), "agent {agent} went with queues");
                self.agents.retain(|a| a.name != *agent);
            }
            Event::RunCreated(new) => {
                assert!(self.runs.iter().all(|run| run.new.id != new.id), "one id is one run");
                let above = new.parent.and_then(|parent| self.runs.iter().find(|run| run.new.id == parent));
                let root = above.map(|run| run.root.unwrap_or(run.new.id));
                if let Some(group) = new.group.as_ref().filter(|_| new.parent.is_none()) {
                    self.groups.insert((new.project.clone(), group.group.clone()), group.limit);
                }
                if let Some(limit) = new.pipeline {
                    self.pipelines.insert(new.id, limit);
                }
                self.takes_over = self.outcome_for(new, at).then_some(new.id);
                let status = if new.needs_approval || new.unprepared { Status::Created } else { Status::Compiled };
                let (order, new, until) = (self.turn(), (**new).clone(), Timestamp::default());
                let attempt = new.resumes.as_ref().map_or(0, |resumed| resumed.attempt.0);
                self.runs.push(Run { new, status, attempt, root, order, passed: false, until });
            }
            Event::RunApproved { run, .. } if self.run(*run).new.unprepared => {
                assert!(!self.run(*run).new.builds, "who builds is asked when it has built");
                self.run(*run).new.needs_approval = false
            }
            Event::RunBuilding { run, build, .. } => {
                assert!(self.run(*run).new.builds && self.run(*run).status == Status::Created);
                assert_eq!(self.building.insert(*run, *build), None, "an image is built once");
            }
            Event::RunPrepared { run, needs_approval: true, .. } => {
                self.building.remove(run);
                let run = self.run(*run);
                assert!(run.new.unprepared && run.new.builds && run.new.needs_approval);
                run.new.unprepared = false;
            }
            Event::RunApproved { run, .. } | Event::RunPrepared { run, .. } => {
                let order = self.turn();
                self.building.remove(run);
                let run = self.run(*run);
                assert!(!run.new.unprepared || !run.new.needs_approval, "who is asked is asked first");
                (run.status, run.order) = (Status::Compiled, order);
            }
            Event::RunQueued { run } => {
                let order = self.turn();
                if self.run(*run).status == Status::Compiled {
                    assert_eq!(self.next_at_gates(), Some(*run), "the gates let through whose turn it is");
                } else {
                    assert_eq!(self.run(*run).status, Status::Retrying);
                    assert!(self.run(*run).until <= at, "nobody is tried again too early");
                }
                let run = self.run(*run);
                run.passed = true;
                run.status = if run.new.pipeline.is_some() { Status::Running } else { Status::Queued };
                run.order = if run.new.pipeline.is_some() { run.order } else { order };
            }
            Event::RunMoved { run, queue } => {
                let order = self.turn();
                let moved = self.run(*run).clone();
                let before = |other: &&Run| other.new.queue == moved.new.queue && other.order < moved.order;
                let waiting = self.runs.iter().filter(|run| run.status == Status::Queued && moved.status == run.status);
                assert_eq!(waiting.filter(before).count(), 0, "who stands first moves first");
                if moved.status == Status::Queued {
                    self.forget(*run);
                }
                let run = self.run(*run);
                run.new.queue = queue.clone();
                run.order = if run.status == Status::Queued { order } else { run.order };
            }
            Event::RunScheduled { run, attempt } => {
                assert_eq!(self.next_to_start(), Some(*run), "the dispatcher starts whose turn it is");
                self.note_skips(*run, at);
                self.forget(*run);
                let served = self.turn();
                let found = self.run(*run);
                assert_eq!(attempt.0, found.attempt + 1, "attempts count up by one");
                (found.status, found.attempt) = (Status::Scheduled, attempt.0);
                let queue = found.new.queue.clone();
                self.queues.iter_mut().filter(|q| q.name == queue).for_each(|q| q.last_served = served);
                self.agents.iter_mut().filter(|a| a.name == queue.agent).for_each(|a| a.last_served = served);
            }
            Event::RunProgressed { run, status, attempt, .. } => {
                let run = self.run(*run);
                run.status = *status;
                if run.new.pipeline.is_some() {
                    assert_eq!(attempt.0, run.attempt + 1, "a pipeline begins once in each of its lives");
                    (run.attempt, run.until) = (attempt.0, at.after(run.new.timeout.unwrap_or(Span(u64::MAX / 4))));
                }
            }
            Event::RunStopping { run, .. } => {
                assert!(slot(self.run(*run)), "only what holds a slot is told to stop");
                self.run(*run).status = Status::Stopping;
            }
            Event::PipelineStopping { run, .. } => {
                let run = self.run(*run);
                assert!(run.new.pipeline.is_some());
                run.status = Status::Stopping;
            }
            Event::RunRetrying { run, until, cause, .. } => {
                let run = self.run(*run);
                assert!(run.attempt <= run.new.max_retries, "nobody is tried more often than it says");
                assert_ne!(cause.reason, DEADLINE_EXCEEDED, "what would only happen again is not tried again");
                assert!(*until > at, "nobody is tried again at once");
                (run.status, run.until) = (Status::Retrying, *until);
            }
            Event::RunFinished { run, status, cause, at, .. } => {
                assert!(status.is_final());
                assert!(self.runs.iter().all(|r| r.new.parent != Some(*run)), "a pipeline ends after what is below it");
                self.forget(*run);
                let run = self.run(*run).clone();
                let asks = run.new.cache.as_ref().filter(|_| *status == Status::Succeeded && cause.reason != CACHE_HIT);
                asks.map(|ask| self.outcomes.insert(ask.key, (run.new.id, *at)));
                self.followed.extend(run.new.followed.then_some(run.new.id));
                self.ended.push((run.new.clone(), run.attempt));
                let run = &run.new.id;
                if let Some(build) = self.building.remove(run).and_then(|build| self.find(build)) {
                    assert_eq!(build.status, Status::Stopping, "a build is stopped before the run that it is for");
                }
                self.runs.retain(|other| other.new.id != *run);
            }
            Event::RunFollowed { run } => assert!(self.followed.remove(run), "what follows a run is started once"),
            Event::RunDeleted { run } => self.outcomes.retain(|_, (of, _)| of != run),
            Event::RunNoted { .. } | Event::SchedulesArmed { .. } | Event::ScheduleFired { .. } => {}
        }
    }

    /// Whether there is an outcome that a new run takes over instead of running.
    fn outcome_for(&self, new: &NewRun, now: Timestamp) -> bool {
        let waits = new.needs_approval || new.unprepared || new.resumes.is_some();
        let outcome = new.cache.as_ref().and_then(|ask| Some((ask, self.outcomes.get(&ask.key)?)));
        !waits && outcome.is_some_and(|(ask, (_, at))| ask.ttl.is_none_or(|ttl| now.since(*at) < ttl))
    }

    /// Design §5, stage 1: whose turn it is at the gates.
    pub fn next_at_gates(&self) -> Option<RunId> {
        let waiting = |run: &&Run| {
            run.status == Status::Compiled
                && (run.new.pipeline.is_none() || run.new.parent.is_some() || run.new.group.is_some())
                && self.gates_admit(run)
        };
        let next = self.runs.iter().filter(waiting).min_by_key(|run| (run.new.pipeline.is_none(), run.order));
        next.map(|run| run.new.id)
    }

    fn gates_admit(&self, run: &Run) -> bool {
        self.gates(run).into_iter().all(|admits| admits)
    }

    /// Whether its direct gate, its controller and its project have room for a run.
    pub fn gates(&self, run: &Run) -> [bool; 3] {
        let count = |counts: &dyn Fn(&Run) -> bool| self.runs.iter().filter(|r| r.passed && counts(r)).count();
        let leaf = run.new.pipeline.is_none();
        let group = |r: &Run| r.new.group.as_ref().filter(|_| r.new.parent.is_none()).map(|group| group.group.clone());
        let direct = match (run.new.parent, group(run)) {
            (Some(parent), _) => room(self.pipelines[&parent], count(&|r| r.new.parent == Some(parent))),
            (None, Some(name)) => {
                let limit = self.groups[&(run.new.project.clone(), name.clone())];
                let same = |r: &Run| r.new.project == run.new.project && group(r).as_ref() == Some(&name);
                room(Limit::At(limit), count(&same))
            }
            (None, None) => true,
        };
        let controller = run.root.is_none_or(|root| {
            !leaf || room(self.pipelines[&root], count(&|r| r.root == Some(root) && r.new.pipeline.is_none()))
        });
        let limit = self.projects.get(&run.new.project).copied().unwrap_or_default();
        let project = !leaf || room(limit, count(&|r| r.new.project == run.new.project && r.new.pipeline.is_none()));
        [direct, controller, project]
    }

    /// Design §5, stage 2: who starts next.
    pub fn next_to_start(&self) -> Option<RunId> {
        if !room(self.limits.concurrency, self.runs.iter().filter(|run| slot(run)).count()) {
            return None;
        }
        let mut agents: Vec<(Priority, &Agent)> = Vec::new();
        for agent in &self.agents {
            let top = self.ready(agent).into_iter().map(|queue| queue.policy.priority).max();
            let open = self.up.contains(&agent.name) && room(agent.policy.concurrency, self.used_of_agent(agent).len());
            agents.extend(top.filter(|_| open).map(|top| (top, agent)));
        }
        agents.sort_by_key(|(top, agent)| (Reverse(*top), agent.last_served, agent.name.clone()));
        agents.into_iter().find_map(|(_, agent)| self.next_of_agent(agent))
    }

    pub fn used_of_agent(&self, agent: &Agent) -> Vec<&Run> {
        self.runs.iter().filter(|run| slot(run) && run.new.queue.agent == agent.name).collect()
    }

    pub fn used_of_queue(&self, queue: &Queue) -> Vec<&Run> {
        self.runs.iter().filter(|run| slot(run) && run.new.queue == queue.name).collect()
    }

    /// The queues of an agent that could hand something over as far as they go.
    fn ready(&self, agent: &Agent) -> Vec<&Queue> {
        let of_agent = self.queues.iter().filter(|queue| queue.name.agent == agent.name);
        let ready = |queue: &&Queue| {
            !queue.policy.hold
                && open_at(&queue.policy.windows, self.now).is_open()
                && room(queue.policy.concurrency, self.used_of_queue(queue).len())
                && self.candidates(queue).iter().any(|run| self.fits_queue(queue, run))
        };
        of_agent.filter(ready).collect()
    }

    /// The operations that a queue looks at, in their order.
    pub fn candidates(&self, queue: &Queue) -> Vec<&Run> {
        let agent = self.agents.iter().find(|agent| agent.name == queue.name.agent).expect("a queue has an agent");
        let mut line: Vec<&Run> = self.runs.iter().filter(|run| run.status == Status::Queued).collect();
        line.retain(|run| run.new.queue == queue.name);
        // What can never fit does not count.
        line.retain(|r| fits(&queue.policy.quota, &[], &r.new.request));
        line.retain(|r| fits(&agent.policy.capacity, &[], &r.new.request));
        line.sort_by_key(|run| run.order);
        if queue.policy.order == Order::Strict {
            line.truncate(1);
        }
        line
    }

    /// For whom a queue keeps something of its quota.
    pub fn kept_in_queue(&self, queue: &Queue) -> Option<&Run> {
        let due = queue.patience.filter(|p| p.skips >= SKIPS && queue.policy.order == Order::Backfill)?;
        self.candidates(queue).into_iter().find(|run| due.run == run.new.id)
    }

    /// Whether the quota has room beside what is used and what is kept for another.
    pub fn fits_queue(&self, queue: &Queue, run: &Run) -> bool {
        let mut used = self.used_of_queue(queue);
        used.extend(self.kept_in_queue(queue).filter(|kept| kept.new.id != run.new.id));
        fits(&queue.policy.quota, &used, &run.new.request)
    }

    pub fn queue_of(&self, run: RunId) -> Option<&Queue> {
        let run = self.runs.iter().find(|other| other.new.id == run)?;
        self.queues.iter().find(|queue| queue.name == run.new.queue)
    }

    /// Whether nothing but capacity can stand in the way of an operation of a level.
    fn lacks_only_capacity(&self, agent: &Agent, level: Priority, run: RunId) -> bool {
        let Some(queue) = self.queue_of(run).filter(|queue| queue.policy.priority == level) else { return false };
        self.ready(agent).iter().any(|ready| ready.name == queue.name)
            && self.candidates(queue).iter().any(|other| other.new.id == run && self.fits_queue(queue, other))
    }

    /// For whom a level keeps something.
    pub fn owner(&self, agent: &Agent, level: Priority) -> Option<&Run> {
        let due = agent.patience.get(&level).filter(|patience| patience.skips >= SKIPS)?;
        let owner = self.runs.iter().find(|run| run.new.id == due.run)?;
        self.lacks_only_capacity(agent, level, due.run).then_some(owner)
    }

    /// The levels of an agent, highest first, with what is in use of their budgets.
    pub fn shares(&self, agent: &Agent) -> Vec<(Priority, u64, u64)> {
        let mut levels: Vec<Priority> = self.queues_of(agent).map(|queue| queue.policy.priority).collect();
        levels.sort();
        levels.dedup();
        levels.reverse();
        let demand = |priority: &Priority| {
            let at = self.queues_of(agent).filter(|queue| queue.policy.priority == *priority);
            let sum = at.map(|queue| match queue.policy.concurrency {
                Limit::At(n) => Some(u64::from(n)),
                Limit::Unlimited => None,
            });
            LevelDemand { priority: *priority, limit_sum: sum.sum() }
        };
        let cap = [agent.policy.concurrency, self.limits.concurrency].into_iter().filter_map(|limit| match limit {
            Limit::At(n) => Some(u64::from(n)),
            Limit::Unlimited => None,
        });
        let demands: Vec<LevelDemand> = levels.iter().map(demand).collect();
        let shares = budgets(self.limits.sharing, cap.min(), &demands);
        let used = |priority: Priority| {
            let queues = self.queues_of(agent).filter(move |queue| queue.policy.priority == priority);
            queues.map(|queue| self.used_of_queue(queue).len() as u64).sum::<u64>()
        };
        levels.into_iter().zip(shares).map(|(level, share)| (level, used(level), share)).collect()
    }

    /// The levels with something to hand over, in the order in which they are served.
    fn level_order(&self, agent: &Agent) -> Vec<Priority> {
        let shares = self.shares(agent).into_iter();
        let mut order: Vec<(bool, Reverse<Priority>)> =
            shares.map(|(level, used, share)| (used >= share, Reverse(level))).collect();
        order.sort();
        let ready: BTreeSet<Priority> = self.ready(agent).iter().map(|queue| queue.policy.priority).collect();
        order.into_iter().map(|(_, level)| level.0).filter(|level| ready.contains(level)).collect()
    }

    /// The ready queues of a level in the order in which they are served.
    fn queue_order(&self, agent: &Agent, level: Priority) -> Vec<&Queue> {
        let mut queues: Vec<&Queue> = self.ready(agent);
        queues.retain(|queue| queue.policy.priority == level);
        queues.sort_by(|a, b| {
            let share = |x: &Queue, y: &Queue| self.used_of_queue(x).len() as u64 * u64::from(y.policy.weight);
            share(a, b).cmp(&share(b, a)).then(a.last_served.cmp(&b.last_served)).then(a.name.cmp(&b.name))
        });
        queues
    }

    fn next_of_agent(&self, agent: &Agent) -> Option<RunId> {
        self.level_order(agent).into_iter().find_map(|level| {
            let above = agent.patience.keys().filter(|other| **other >= level);
            let kept: Vec<&Run> = above.filter_map(|other| self.owner(agent, *other)).collect();
            let queues = self.queue_order(agent, level);
            let all = queues.iter().flat_map(|queue| self.candidates(queue).into_iter().map(move |run| (queue, run)));
            let mut now = all.filter(|(queue, run)| {
                let mut used = self.used_of_agent(agent);
                used.extend(kept.iter().filter(|kept| kept.new.id != run.new.id));
                self.fits_queue(queue, run) && fits(&agent.policy.capacity, &used, &run.new.request)
            });
            now.next().map(|(_, run)| run.new.id)
        })
    }

    /// Whom an operation passes over that gets its slot now, as things stood when it was chosen.
    fn note_skips(&mut self, started: RunId, at: Timestamp) {
        let queue = self.queue_of(started).expect("it stands in one").clone();
        let agent = self.agents.iter().find(|agent| agent.name == queue.name.agent).expect("it has one").clone();
        let of_levels = self.skipped_in_levels(&agent, &queue, started, at);
        if let Some(patience) = self.skipped_in_queue(&queue, started, at) {
            self.queues.iter_mut().filter(|q| q.name == queue.name).for_each(|q| q.patience = Some(patience));
        }
        self.agents.iter_mut().filter(|a| a.name == agent.name).for_each(|a| a.patience = of_levels.clone());
    }

    fn skipped_in_queue(&self, queue: &Queue, started: RunId, at: Timestamp) -> Option<Patience> {
        let line: Vec<(RunId, u64)> = self.candidates(queue).iter().map(|run| (run.new.id, run.order)).collect();
        let known = queue.patience.filter(|patience| line.iter().any(|(id, _)| *id == patience.run));
        let mut next = known.unwrap_or(Patience { skips: 0, ..Patience::begin(line[0].0, at) });
        let order = line.iter().find(|(id, _)| *id == started)?.1;
        let passed = line.iter().any(|(id, other)| *id == next.run && *other < order);
        next.skip(at);
        (passed && queue.policy.order == Order::Backfill).then_some(next)
    }

    fn skipped_in_levels(
        &self,
        agent: &Agent,
        queue: &Queue,
        started: RunId,
        at: Timestamp,
    ) -> BTreeMap<Priority, Patience> {
        let mut patience = agent.patience.clone();
        if agent.policy.capacity.0.is_empty() {
            return patience;
        }
        for level in self.level_order(agent) {
            let queues = self.queue_order(agent, level);
            let own = level == queue.policy.priority;
            let line = queues.iter().flat_map(|queue| {
                let line = self.candidates(queue).into_iter();
                line.filter(|run| self.fits_queue(queue, run)).map(|run| run.new.id).collect::<Vec<_>>()
            });
            let line: Vec<RunId> = line.collect();
            let place = |run: RunId| line.iter().position(|other| *other == run);
            match agent.patience.get(&level).filter(|known| self.lacks_only_capacity(agent, level, known.run)) {
                Some(known) => {
                    let before = place(known.run) < place(started);
                    if known.run != started && (!own || before) {
                        patience.entry(level).and_modify(|known| known.skip(at));
                    }
                }
                None if line[0] != started => drop(patience.insert(level, Patience::begin(line[0], at))),
                None => {}
            }
            if own {
                break;
            }
        }
        patience
    }

    /// Who no longer waits is not passed over any more.
    fn forget(&mut self, run: RunId) {
        for queue in &mut self.queues {
            queue.patience = queue.patience.filter(|patience| patience.run != run);
        }
        for agent in &mut self.agents {
            agent.patience.retain(|_, patience| patience.run != run);
        }
    }

    fn queues_of<'a>(&'a self, agent: &'a Agent) -> impl Iterator<Item = &'a Queue> {
        self.queues.iter().filter(|queue| queue.name.agent == agent.name)
    }
}
