//! What the random histories reach, counted: a rule that they hardly touch would hide a fault in it.
//!
//! Counting looks at the oracle before and after each event, and at what blocks whom after each pass.

use std::collections::{BTreeMap, BTreeSet};

use tidegate::domain::dispatch::SKIPS;
use tidegate::domain::dispatch::cached::CACHE_HIT;
use tidegate::domain::dispatch::event::Event;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{AgentName, QueueName, RunId};
use tidegate::domain::spec::Priority;

use crate::oracle::{Oracle, Patience, Run, fits};

/// What is counted, and how often it is reached at least in a hundred histories: about a third of what they do.
const FLOORS: &[(&str, u64)] = &[
    ("blocks: nothing", 3000),
    ("blocks: approval", 300),
    ("blocks: preparation", 300),
    ("blocks: build", 100),
    ("blocks: retry", 100),
    ("blocks: pipeline", 1000),
    ("blocks: controller", 100),
    ("blocks: group", 50),
    ("blocks: project", 200),
    ("blocks: never fits", 400),
    ("blocks: queue held", 400),
    ("blocks: queue closed", 150),
    ("blocks: queue concurrency", 600),
    ("blocks: queue quota", 600),
    ("blocks: strict order", 600),
    ("blocks: agent down", 200),
    ("blocks: agent concurrency", 300),
    ("blocks: agent capacity", 600),
    ("blocks: organization", 150),
    ("blocks: kept in queue", 100),
    ("blocks: kept on agent", 20),
    ("advice: followed in several steps", 50),
    ("cache: taken over", 25),
    ("quota: kept after sixteen", 5),
    ("quota: kept after a minute", 20),
    ("quota: others start beside what is kept", 400),
    ("quota: what was kept rests", 5),
    ("quota: it is kept again", 0),
    ("quota: its owner starts", 30),
    ("quota: its owner is stopped", 5),
    ("capacity: kept after sixteen", 5),
    ("capacity: kept after a minute", 20),
    ("capacity: others start beside what is kept", 100),
    ("capacity: what was kept rests", 8),
    ("capacity: it is kept again", 8),
    ("capacity: its owner starts", 20),
    ("capacity: its owner is stopped", 1),
    ("kept for who moves away", 1),
    ("kept while policy changes", 150),
    ("levels: lent what others leave", 200),
    ("raises: what could never fit may now", 50),
    ("removals: a queue is gone", 40),
    ("removals: an agent is gone", 5),
    ("removals: a run moves", 80),
    ("restarts: with a retry ahead", 100),
    ("restarts: with somebody passed over", 150),
    ("restarts: with something kept of a quota", 60),
    ("restarts: with something kept of a capacity", 20),
    ("retries: an attempt follows", 70),
    ("fencing: the word of an old attempt", 500),
    ("fencing: an agent is given up with what it holds", 5),
    ("windows: one opens for a line", 20),
    ("windows: one closes before a line", 30),
];

/// How often each thing was reached.
#[derive(Debug, Clone, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn reach(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Counts why somebody does not run.
    pub fn blocks(&mut self, reason: &'static str) {
        let known = FLOORS.iter().find(|(what, _)| what.strip_prefix("blocks: ") == Some(reason));
        self.reach(known.map_or(reason, |(what, _)| what));
    }

    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| *self.0.entry(what).or_default() += times);
    }

    /// What was reached less often than it should be in so many histories, for people.
    pub fn lacking(&self, histories: u64) -> Vec<String> {
        let unknown = self.0.keys().filter(|what| FLOORS.iter().all(|(known, _)| known != *what));
        let unknown = unknown.map(|what| format!("{what}: has no floor"));
        let short = FLOORS.iter().filter_map(|(what, floor)| {
            let (times, wanted) = (self.0.get(what).copied().unwrap_or(0), floor * histories / 100);
            (times < wanted).then(|| format!("{what}: {times} times, and not {wanted}"))
        });
        unknown.chain(short).collect()
    }

    pub fn table(&self) -> String {
        let rows = self.0.iter().map(|(what, times)| format!("{times:>9}  {what}\n"));
        rows.collect()
    }
}

/// Where something may be kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeper {
    Queue(QueueName),
    Level(AgentName, Priority),
}

/// Whom somebody is passed over by, how often, and whether it rests or keeps what it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub run: RunId,
    pub skips: u32,
    pub rests: bool,
}

impl Passed {
    pub fn keeps(&self) -> bool {
        self.skips >= SKIPS && !self.rests
    }
}

/// What one event may change, as far as it is counted.
pub struct Glance {
    passed: BTreeMap<Keeper, Passed>,
    never: BTreeSet<RunId>,
}

impl Glance {
    pub fn at(oracle: &Oracle, event: &Event) -> Self {
        let policy = matches!(event, Event::RevisionApplied(_) | Event::QueueChanged { .. });
        let never = if policy { oracle.never_fitting() } else { BTreeSet::new() };
        Self { passed: oracle.passed_over(), never }
    }
}

impl Coverage {
    /// Counts what one event did; `before` is what stood before it.
    pub fn saw(&mut self, before: &Glance, event: &Event, oracle: &Oracle) {
        match event {
            Event::RunScheduled { run, .. } => {
                let lent = oracle.level_of(*run).is_some_and(|(used, budget)| used > budget);
                lent.then(|| self.reach("levels: lent what others leave"));
            }
            Event::RunRetrying { .. } => self.reach("retries: an attempt follows"),
            Event::RunFinished { cause, .. } if cause.reason == CACHE_HIT => self.reach("cache: taken over"),
            Event::QueueTurned { opening, queue } => {
                let line = oracle.runs.iter().any(|run| run.status == Status::Queued && run.new.queue == *queue);
                match opening.is_open() {
                    true if line => self.reach("windows: one opens for a line"),
                    false if line => self.reach("windows: one closes before a line"),
                    _ => {}
                }
            }
            Event::AgentGone { .. } => self.reach("removals: an agent is gone"),
            Event::QueueGone { .. } => self.reach("removals: a queue is gone"),
            Event::RunMoved { .. } => self.reach("removals: a run moves"),
            _ => {}
        }
        let after = Glance::at(oracle, event);
        let unfinished = |run: &&RunId| oracle.runs.iter().any(|other| other.new.id == **run);
        if before.never.difference(&after.never).any(|run| unfinished(&run)) {
            self.reach("raises: what could never fit may now");
        }
        self.saw_patience(before, event, &after);
    }

    fn saw_patience(&mut self, before: &Glance, event: &Event, after: &Glance) {
        for (keeper, now) in &after.passed {
            let was = before.passed.get(keeper).filter(|was| was.run == now.run);
            let due = was.is_none_or(|was| was.skips < SKIPS) && now.skips >= SKIPS;
            let by_clock = was.is_none_or(|was| was.skips + 1 < SKIPS);
            match keeper {
                Keeper::Queue(_) if due && by_clock => self.reach("quota: kept after a minute"),
                Keeper::Queue(_) if due => self.reach("quota: kept after sixteen"),
                Keeper::Level(..) if due && by_clock => self.reach("capacity: kept after a minute"),
                Keeper::Level(..) if due => self.reach("capacity: kept after sixteen"),
                _ => {}
            }
            if was.is_some_and(Passed::keeps) && now.rests {
                self.reach(match is_queue(keeper) {
                    true => "quota: what was kept rests",
                    false => "capacity: what was kept rests",
                });
            }
            if was.is_some_and(|was| was.rests && was.skips >= SKIPS) && now.keeps() {
                self.reach(match is_queue(keeper) {
                    true => "quota: it is kept again",
                    false => "capacity: it is kept again",
                });
            }
        }
        for (keeper, was) in before.passed.iter().filter(|(_, was)| was.keeps()) {
            let gone = after.passed.get(keeper).is_none_or(|now| now.run != was.run);
            let queue = is_queue(keeper);
            match event {
                Event::RunScheduled { run, .. } if *run == was.run && gone => {
                    self.reach(if queue { "quota: its owner starts" } else { "capacity: its owner starts" });
                }
                Event::RunScheduled { .. } if !queue => self.reach("capacity: others start beside what is kept"),
                Event::RunScheduled { .. } => self.reach("quota: others start beside what is kept"),
                Event::RunFinished { run, .. } if *run == was.run => {
                    self.reach(if queue { "quota: its owner is stopped" } else { "capacity: its owner is stopped" });
                }
                Event::RunMoved { run, .. } if *run == was.run => self.reach("kept for who moves away"),
                Event::RevisionApplied(_) | Event::QueueChanged { .. } => self.reach("kept while policy changes"),
                _ => {}
            }
        }
    }

    /// Counts a restart of the server.
    pub fn crashed(&mut self, oracle: &Oracle) {
        let passed = oracle.passed_over();
        let any =
            |wanted: &dyn Fn(&Keeper, &Passed) -> bool| passed.iter().any(|(keeper, known)| wanted(keeper, known));
        any(&|keeper, known| is_queue(keeper) && known.keeps())
            .then(|| self.reach("restarts: with something kept of a quota"));
        any(&|keeper, known| !is_queue(keeper) && known.keeps())
            .then(|| self.reach("restarts: with something kept of a capacity"));
        any(&|_, known| known.skips < SKIPS).then(|| self.reach("restarts: with somebody passed over"));
        let retries = oracle.runs.iter().any(|run| run.status == Status::Retrying);
        retries.then(|| self.reach("restarts: with a retry ahead"));
    }
}

fn is_queue(keeper: &Keeper) -> bool {
    matches!(keeper, Keeper::Queue(_))
}

impl Oracle {
    /// Who is passed over, by whoever may keep something for it.
    pub fn passed_over(&self) -> BTreeMap<Keeper, Passed> {
        let of_queues = self.queues.iter().filter_map(|queue| {
            let Patience { run, skips, .. } = queue.patience?;
            let rests = skips >= SKIPS && self.kept_in_queue(queue).is_none();
            Some((Keeper::Queue(queue.name.clone()), Passed { run, skips, rests }))
        });
        let of_levels = self.agents.iter().flat_map(|agent| {
            agent.patience.iter().map(|(level, Patience { run, skips, .. })| {
                let rests = *skips >= SKIPS && self.owner(agent, *level).is_none();
                (Keeper::Level(agent.name.clone(), *level), Passed { run: *run, skips: *skips, rests })
            })
        });
        of_queues.chain(of_levels).collect()
    }

    /// Who stands in a queue and asks for more than that or its agent will ever have.
    pub fn never_fitting(&self) -> BTreeSet<RunId> {
        let never = |run: &&Run| {
            let queue = self.queues.iter().find(|queue| queue.name == run.new.queue).expect("it stands in one");
            let agent = self.agents.iter().find(|agent| agent.name == queue.name.agent).expect("it has one");
            !fits(&queue.policy.quota, &[], &run.new.request) || !fits(&agent.policy.capacity, &[], &run.new.request)
        };
        let standing = self.runs.iter().filter(|run| run.status == Status::Queued);
        standing.filter(never).map(|run| run.new.id).collect()
    }

    /// What is in use of the budget of the level of a run.
    pub fn level_of(&self, run: RunId) -> Option<(u64, u64)> {
        let queue = self.queue_of(run)?;
        let agent = self.agents.iter().find(|agent| agent.name == queue.name.agent)?;
        let level = self.shares(agent).into_iter().find(|(level, ..)| *level == queue.policy.priority)?;
        Some((level.1, level.2))
    }
}
