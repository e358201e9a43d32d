//! An agent and its levels of priority: which may hand over something, and in which order.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::patience::Patience;
use super::shapes::{Ceiling, Classes, Menu, Used};
use super::table::Ix;
use super::tree::Tree;
use crate::domain::catalog::AgentPolicy;
use crate::domain::ids::{AgentName, QueueName};
use crate::domain::sharing::{LevelDemand, budgets};
use crate::domain::spec::{Limit, Priority, Sharing};

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
    /// Its queues, also those that are being removed.
    pub queues: BTreeSet<Ix>,
    /// Highest priority first.
    pub levels: BTreeMap<Rank, Level>,
    /// What its runs ask for.
    pub menu: Menu,
    /// Whom the capacity keeps waiting while others pass, for each level.
    pub patience: BTreeMap<Rank, Patience>,
    /// Levels with a ready queue: those within their budget.
    within: BTreeSet<Rank>,
    /// Levels with a ready queue: those that would be lent what others do not use.
    beyond: BTreeSet<Rank>,
    /// Whether the last look at it found nothing that fits its capacity; cleared when that may have changed.
    pub parked: bool,
    /// Under which key it stands among the open agents.
    pub listed: Option<AgentKey>,
}

/// A priority, highest first.
pub(super) type Rank = Reverse<Priority>;

/// The order of open agents: highest ready level first, then least recently served, then by name.
pub(super) type AgentKey = (Rank, u64, AgentName, Ix);

/// The queues of one priority on one agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Level {
    /// Its part of what the agent may run; only binding while another level has work.
    pub budget: u64,
    pub used: u32,
    /// The queues that could hand over something, with the classes of what they could.
    pub ready: Tree<ReadyKey, Classes>,
    queues: u32,
    /// The sum of the limits of those that have one, and how many have none.
    limits: u64,
    unlimited: u32,
}

/// The order of ready queues: least used share first, then least recently served, then by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadyKey {
    pub used: u32,
    pub weight: u32,
    pub last_served: u64,
    pub name: QueueName,
    /// The level in whose set it stands.
    pub level: Rank,
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

impl Agent {
    pub fn new(name: AgentName, policy: AgentPolicy, capacity: Ceiling) -> Self {
        Self {
            name,
            policy,
            capacity,
            used: 0,
            used_of: Used::default(),
            up: false,
            removed: false,
            last_served: 0,
            queues: BTreeSet::new(),
            levels: BTreeMap::new(),
            menu: Menu::default(),
            patience: BTreeMap::new(),
            within: BTreeSet::new(),
            beyond: BTreeSet::new(),
            parked: false,
            listed: None,
        }
    }

    /// Levels with a ready queue in the order in which they are served: those within their budget first, then those
    /// that are lent what is unused; each time the highest first.
    pub fn ranks(&self) -> impl Iterator<Item = Rank> {
        self.within.iter().chain(&self.beyond).copied()
    }

    /// The highest level with a queue that could hand over an operation.
    pub fn top(&self) -> Option<Rank> {
        self.within.first().into_iter().chain(self.beyond.first()).min().copied()
    }

    /// A queue of some use takes part in a level with its limit.
    pub fn seat(&mut self, rank: Rank, limit: Limit, used: u32) {
        let level = self.levels.entry(rank).or_default();
        level.queues += 1;
        level.used += used;
        match limit {
            Limit::At(n) => level.limits += u64::from(n),
            Limit::Unlimited => level.unlimited += 1,
        }
    }

    /// The counterpart of [`Agent::seat`]; its queue is not listed.
    pub fn unseat(&mut self, rank: Rank, limit: Limit, used: u32) {
        if let Some(level) = self.levels.get_mut(&rank) {
            level.queues -= 1;
            level.used -= used;
            match limit {
                Limit::At(n) => level.limits -= u64::from(n),
                Limit::Unlimited => level.unlimited -= 1,
            }
            if level.queues == 0 {
                self.levels.remove(&rank);
            }
            self.sort_level(rank);
        }
    }

    /// Divides the cap among the levels.
    pub fn set_budgets(&mut self, sharing: Sharing, organization: Limit) {
        let demand = |(rank, level): (&Rank, &Level)| LevelDemand {
            priority: rank.0,
            limit_sum: (level.unlimited == 0).then_some(level.limits),
        };
        let demands: Vec<LevelDemand> = self.levels.iter().map(demand).collect();
        let cap = match self.policy.concurrency.min(organization) {
            Limit::At(n) => Some(u64::from(n)),
            Limit::Unlimited => None,
        };
        let ranks: Vec<Rank> = self.levels.keys().copied().collect();
        for (rank, budget) in ranks.into_iter().zip(budgets(sharing, cap, &demands)) {
            self.levels.entry(rank).or_default().budget = budget;
            self.sort_level(rank);
        }
        self.parked = false;
    }

    /// Puts a level among those within their budget or beyond it if and only if it has a ready queue.
    pub fn sort_level(&mut self, rank: Rank) {
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
