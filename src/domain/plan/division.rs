//! How a change shifts the budgets of the levels of priority, agent by agent.

use std::collections::{BTreeMap, BTreeSet};

use super::PlanInput;
use super::model::{LevelChange, Share};
use crate::domain::catalog::Catalog;
use crate::domain::ids::AgentName;
use crate::domain::sharing::{LevelDemand, budgets};
use crate::domain::spec::{Limit, Priority};

/// The levels whose budgets differ, by agent, highest level first.
pub(super) fn division(input: &PlanInput<'_>) -> Vec<LevelChange> {
    let Some(base) = input.base else { return Vec::new() };
    let (before, after) = (shares(base), shares(input.desired));
    let mut changes = Vec::new();
    // A new agent has nothing to compare with, and one that goes is said elsewhere.
    for (agent, after) in &after {
        let Some(before) = before.get(agent) else { continue };
        let levels: BTreeSet<Priority> = before.keys().chain(after.keys()).copied().collect();
        for level in levels.into_iter().rev() {
            let none = |of: &BTreeMap<Priority, Share>| Share {
                slots: Some(0),
                limits: Some(0),
                of: of.values().next().and_then(|s| s.of),
            };
            let old = before.get(&level).copied().unwrap_or_else(|| none(before));
            let new = after.get(&level).copied().unwrap_or_else(|| none(after));
            // Limits that shift no slots are said with their queues.
            if (old.slots, old.of) != (new.slots, new.of) {
                changes.push(LevelChange { agent: agent.clone(), level, before: old, after: new });
            }
        }
    }
    changes
}

/// The share of each level of each agent.
fn shares(catalog: &Catalog) -> BTreeMap<AgentName, BTreeMap<Priority, Share>> {
    let mut sums: BTreeMap<&AgentName, BTreeMap<Priority, Option<u64>>> = BTreeMap::new();
    for (name, queue) in &catalog.queues {
        let sum = sums.entry(&name.agent).or_default().entry(queue.item.priority).or_insert(Some(0));
        // A held queue uses nothing, so it claims nothing.
        *sum = match queue.item.concurrency {
            _ if queue.item.hold => *sum,
            Limit::At(n) => sum.map(|sum| sum + u64::from(n)),
            Limit::Unlimited => None,
        };
    }
    let organization = &catalog.organization.item;
    let mut all = BTreeMap::new();
    for (agent, levels) in sums {
        let Some(policy) = catalog.agents.get(agent) else { continue };
        let cap = [policy.item.concurrency, organization.concurrency].into_iter().filter_map(finite).min();
        let demands: Vec<LevelDemand> =
            levels.iter().rev().map(|(priority, sum)| LevelDemand { priority: *priority, limit_sum: *sum }).collect();
        let slots = budgets(organization.sharing, cap, &demands);
        let total = demands.iter().map(|d| d.limit_sum).sum::<Option<u64>>();
        let of = match (total, cap) {
            (Some(total), Some(cap)) => Some(total.min(cap)),
            (total, cap) => total.or(cap),
        };
        let share = |(demand, slots): (&LevelDemand, u64)| {
            let slots = (demand.limit_sum.is_some() || cap.is_some()).then_some(slots);
            (demand.priority, Share { slots, limits: demand.limit_sum, of })
        };
        all.insert(agent.clone(), demands.iter().zip(slots).map(share).collect());
    }
    all
}

fn finite(limit: Limit) -> Option<u64> {
    match limit {
        Limit::At(n) => Some(n.into()),
        Limit::Unlimited => None,
    }
}
