//! How a binding limit is divided among the levels of priority (design §5). The dispatcher and the plan both ask here.

use std::collections::BinaryHeap;

use crate::domain::spec::{Priority, Sharing};

/// What one level of priority could use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelDemand {
    /// The level.
    pub priority: Priority,
    /// The sum of the limits of its queues; `None` when one of them is unlimited.
    pub limit_sum: Option<u64>,
}

/// The slots of each level, for levels given highest first.
///
/// `cap` is the binding limit, `None` when there is none. An unlimited level counts as the cap, and as `u64::MAX` when
/// there is no cap. The budgets add up to the smaller of the cap and the sum of the levels, and no budget is larger
/// than its level's sum.
pub fn budgets(sharing: Sharing, cap: Option<u64>, levels: &[LevelDemand]) -> Vec<u64> {
    let sums: Vec<u64> = levels.iter().map(|level| level.limit_sum.or(cap).unwrap_or(u64::MAX)).collect();
    let total: u128 = sums.iter().map(|sum| u128::from(*sum)).sum();
    let Some(slots) = cap.filter(|cap| u128::from(*cap) < total) else { return sums };
    match sharing {
        Sharing::Waterfall => waterfall(slots, &sums),
        Sharing::Proportional => proportional(slots, &sums, total),
        Sharing::Floor => with_floor(slots, &sums, total),
    }
}

/// From the highest level down, each takes what it can use.
fn waterfall(slots: u64, sums: &[u64]) -> Vec<u64> {
    let mut left = slots;
    let take = |sum: &u64| {
        let taken = left.min(*sum);
        left -= taken;
        taken
    };
    sums.iter().map(take).collect()
}

/// Slots · sum / total, rounded down; the slots that rounding leaves go to the largest remainders, then to the higher
/// level. Exact: a product of two `u64` fits into a `u128`.
fn proportional(slots: u64, sums: &[u64], total: u128) -> Vec<u64> {
    let share = |sum: &u64| u128::from(slots) * u128::from(*sum);
    let floor = |sum: &u64| u64::try_from(share(sum) / total).expect("at most `slots`, because sum <= total");
    let mut budgets: Vec<u64> = sums.iter().map(floor).collect();
    let left = slots - budgets.iter().sum::<u64>();
    let mut by_remainder: Vec<usize> = (0..sums.len()).collect();
    by_remainder.sort_by_key(|&level| (std::cmp::Reverse(share(&sums[level]) % total), level));
    for &level in by_remainder.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        budgets[level] += 1;
    }
    budgets
}

/// As [`proportional`], with one slot for every level that can use one; the largest budgets give them.
fn with_floor(slots: u64, sums: &[u64], total: u128) -> Vec<u64> {
    let wanting = sums.iter().filter(|sum| **sum > 0).count() as u64;
    if slots <= wanting {
        return waterfall(slots, &sums.iter().map(|sum| (*sum).min(1)).collect::<Vec<_>>());
    }
    let mut budgets = proportional(slots, sums, total);
    let mut givers: BinaryHeap<(u64, usize)> = budgets.iter().enumerate().map(|(level, b)| (*b, level)).collect();
    for level in 0..sums.len() {
        if sums[level] > 0 && budgets[level] == 0 {
            let (most, giver) = givers.pop().expect("there is a level above zero, because slots > levels");
            budgets[giver] -= 1;
            budgets[level] = 1;
            givers.push((most - 1, giver));
        }
    }
    budgets
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Sharing; 3] = [Sharing::Waterfall, Sharing::Proportional, Sharing::Floor];

    fn levels(sums: &[Option<u64>]) -> Vec<LevelDemand> {
        let level = |(i, sum): (usize, &Option<u64>)| LevelDemand {
            priority: Priority::At(u32::MAX - u32::try_from(i).unwrap()),
            limit_sum: *sum,
        };
        sums.iter().enumerate().map(level).collect()
    }

    #[test]
    fn the_three_readings_differ_only_when_a_cap_binds() {
        let sums = levels(&[Some(10), Some(4), Some(8)]);
        for sharing in ALL {
            assert_eq!(budgets(sharing, Some(22), &sums), [10, 4, 8]);
            assert_eq!(budgets(sharing, None, &sums), [10, 4, 8]);
        }
        assert_eq!(budgets(Sharing::Waterfall, Some(12), &sums), [10, 2, 0]);
        assert_eq!(budgets(Sharing::Proportional, Some(12), &sums), [6, 2, 4]);
        assert_eq!(budgets(Sharing::Floor, Some(12), &levels(&[Some(1000), Some(1), Some(1)])), [10, 1, 1]);
        assert_eq!(budgets(Sharing::Floor, Some(2), &sums), [1, 1, 0]);
    }

    #[test]
    fn an_unlimited_level_counts_as_the_cap() {
        let sums = levels(&[None, Some(4)]);
        assert_eq!(budgets(Sharing::Waterfall, Some(10), &sums), [10, 0]);
        assert_eq!(budgets(Sharing::Proportional, Some(10), &sums), [7, 3]);
        assert_eq!(budgets(Sharing::Waterfall, None, &sums), [u64::MAX, 4]);
    }

    #[test]
    fn equal_remainders_go_to_the_higher_level() {
        assert_eq!(budgets(Sharing::Proportional, Some(1), &levels(&[Some(1), Some(1)])), [1, 0]);
    }

    proptest! {
        #[test]
        fn budgets_add_up_and_stay_below_their_sums(
            sums in prop::collection::vec(prop::option::of(prop_oneof![0u64..50, Just(u64::MAX)]), 0..8),
            cap in prop_oneof![0u64..100, Just(u64::MAX)],
        ) {
            let demands = levels(&sums);
            let counted: Vec<u128> = sums.iter().map(|s| u128::from(s.unwrap_or(cap))).collect();
            let expected = counted.iter().sum::<u128>().min(u128::from(cap));
            for sharing in ALL {
                let given = budgets(sharing, Some(cap), &demands);
                prop_assert_eq!(given.iter().map(|b| u128::from(*b)).sum::<u128>(), expected);
                prop_assert!(given.iter().zip(&counted).all(|(b, s)| u128::from(*b) <= *s));
            }
        }

        #[test]
        fn a_new_lower_level_takes_nothing_from_a_higher_one_in_a_waterfall(
            sums in prop::collection::vec(prop::option::of(0u64..50), 0..8), lower in prop::option::of(0u64..50), cap in 0u64..100,
        ) {
            let before = budgets(Sharing::Waterfall, Some(cap), &levels(&sums));
            let more: Vec<_> = sums.iter().copied().chain([lower]).collect();
            let after = budgets(Sharing::Waterfall, Some(cap), &levels(&more));
            prop_assert_eq!(&after[..before.len()], &before[..]);
        }

        #[test]
        fn one_more_slot_of_a_limit_is_at_most_one_more_slot_in_all(
            sums in prop::collection::vec(0u64..50, 1..8), at in any::<prop::sample::Index>(), cap in 0u64..200,
        ) {
            let at = at.index(sums.len());
            let mut more = sums.clone();
            more[at] += 1;
            for sharing in ALL {
                let sum = |s: &[u64]| -> u64 {
                    budgets(sharing, Some(cap), &levels(&s.iter().copied().map(Some).collect::<Vec<_>>())).iter().sum()
                };
                prop_assert!(sum(&more) - sum(&sums) <= 1);
            }
        }

        #[test]
        fn floor_leaves_no_level_without_a_slot_when_there_are_enough(
            sums in prop::collection::vec(1u64..1000, 1..8), extra in 0u64..100,
        ) {
            let cap = sums.len() as u64 + extra;
            let demands = levels(&sums.iter().copied().map(Some).collect::<Vec<_>>());
            prop_assert!(budgets(Sharing::Floor, Some(cap), &demands).iter().all(|b| *b > 0));
        }
    }
}
