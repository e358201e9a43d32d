//! Agents that were given up while their cluster was away: how long it is looked out for, how often, and for how many.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::AgentName;
use crate::domain::spec::TargetSpec;
use crate::domain::time::{Span, Timestamp};

/// How long a cluster is looked out for. One that is repaired is back within days; one that answers again after a month
/// was built anew, holds nothing of ours, and does not take the credentials of then.
pub const REMEMBERED: Span = Span::seconds(30 * 24 * 3600);
/// Clusters that are looked out for at the same time; the one that was given up first makes room. Each costs a thread with
/// its client, about a megabyte, and nobody gives up so many clusters in a month by plan.
pub const MAX_GONE: usize = 16;
/// Longest pause between two tries to reach one: the pauses double up to it. Nobody waits for what is left there, and a
/// name that does not resolve any more is not to be asked for all day.
pub const LONGEST_PAUSE: Span = Span::seconds(600);

/// What is remembered of such an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gone {
    /// When it was given up.
    pub since: Timestamp,
    /// Where it pointed to.
    pub target: TargetSpec,
}

impl Gone {
    /// When it is not looked out for any more.
    pub fn until(&self) -> Timestamp {
        self.since.after(REMEMBERED)
    }
}

/// Why a cluster is not looked out for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It was away for too long.
    Late,
    /// Others were given up since.
    Crowded,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => write!(f, "it has been away for {REMEMBERED}"),
            Self::Crowded => write!(f, "{MAX_GONE} other clusters were given up since"),
        }
    }
}

/// Those that are not looked out for any more.
pub fn dropped<'a>(gone: impl Iterator<Item = (&'a AgentName, &'a Gone)>, now: Timestamp) -> Vec<(AgentName, Dropped)> {
    let (late, mut kept): (Vec<_>, Vec<_>) = gone.partition(|(_, gone)| gone.until() <= now);
    kept.sort_by_key(|(name, gone)| (std::cmp::Reverse(gone.since), *name));
    let crowded = kept.into_iter().skip(MAX_GONE).map(|(name, _)| (name.clone(), Dropped::Crowded));
    late.into_iter().map(|(name, _)| (name.clone(), Dropped::Late)).chain(crowded).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::spec::LocalTarget;

    fn given_up_at(seconds: &[i64]) -> BTreeMap<AgentName, Gone> {
        let gone = |(i, at): (usize, &i64)| {
            let name = AgentName::parse(&format!("a{i:02}")).unwrap();
            (name, Gone { since: Timestamp(at * 1000), target: TargetSpec::Local(LocalTarget {}) })
        };
        seconds.iter().enumerate().map(gone).collect()
    }

    #[test]
    fn a_cluster_is_looked_out_for_a_month_and_not_longer() {
        let gone = given_up_at(&[0, 60]);
        let month = Timestamp(0).after(REMEMBERED);
        assert_eq!(dropped(gone.iter(), Timestamp(month.0 - 1)), Vec::new());
        assert_eq!(dropped(gone.iter(), month), [(AgentName::parse("a00").unwrap(), Dropped::Late)]);
        assert_eq!(dropped(gone.iter(), month.after(Span::seconds(60))).len(), 2);
        assert_eq!(dropped(gone.iter(), Timestamp(-1_000_000)), Vec::new(), "a clock that was put back");
    }

    #[test]
    fn those_given_up_first_make_room() {
        let mut seconds: Vec<i64> = (0..MAX_GONE as i64).collect();
        assert_eq!(dropped(given_up_at(&seconds).iter(), Timestamp(99_000)), Vec::new());
        seconds.push(90);
        let first = AgentName::parse("a00").unwrap();
        assert_eq!(dropped(given_up_at(&seconds).iter(), Timestamp(99_000)), [(first, Dropped::Crowded)]);
    }
}
