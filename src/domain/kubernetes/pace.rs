//! When a pod is late: clearly later than pods of its agent came or started of late. A cluster where everything is slow is
//! so not asked about every pod, and a pod that cannot come or start is found out all the same.
//!
//! The measure is the one by which TCP takes a packet for lost (RFC 6298): the smoothed time and four times its smoothed
//! deviation, between a shortest and a longest wait.

use crate::domain::time::Span;

/// How long nothing may happen at least before it is asked why.
pub const SOONEST: Span = Span::seconds(5);
/// How long at most, however slow the cluster is.
pub const LATEST: Span = Span::seconds(300);
/// How long between two questions about the same thing at least: a pod that is late is rarely mended within seconds.
pub const AGAIN: Span = Span::seconds(20);

/// What an attempt waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its first pod, which the cluster makes of its root: quotas, service accounts and admission stand in its way.
    Pod,
    /// The start of its pods: nodes, volumes and images do.
    Start,
}

/// How long each stage takes of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paces {
    pod: Pace,
    start: Pace,
}

impl Paces {
    /// A stage took so long.
    pub fn took(&mut self, stage: Stage, time: Span) {
        match stage {
            Stage::Pod => self.pod.took(time),
            Stage::Start => self.start.took(time),
        }
    }

    /// Whether it is time to ask why a stage that has lasted so long does not end, when it was last asked so long ago.
    pub fn asks(&self, stage: Stage, waited: Span, asked: Option<Span>) -> bool {
        let patience = match stage {
            Stage::Pod => self.pod.patience(),
            Stage::Start => self.start.patience(),
        };
        waited >= patience && asked.is_none_or(|ago| ago >= patience.max(AGAIN))
    }
}

/// A smoothed time with its smoothed deviation, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Pace(Option<(u64, u64)>);

impl Pace {
    fn took(&mut self, Span(time): Span) {
        let time = time.min(LATEST.0);
        self.0 = Some(match self.0 {
            None => (time, time / 2),
            Some((mean, deviation)) => ((7 * mean + time) / 8, (3 * deviation + mean.abs_diff(time)) / 4),
        });
    }

    fn patience(self) -> Span {
        let usual = self.0.map_or(0, |(mean, deviation)| mean + 4 * deviation);
        Span(usual).clamp(SOONEST, LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wait after which a stage is asked about for the first time.
    fn patience(paces: &Paces, stage: Stage) -> Span {
        let late = (0..=LATEST.0 / 100).map(|tenth| Span(tenth * 100)).find(|waited| paces.asks(stage, *waited, None));
        late.expect("after the longest wait it is always asked")
    }

    fn after(times: impl IntoIterator<Item = u64>) -> Paces {
        let mut paces = Paces::default();
        times.into_iter().for_each(|time| paces.took(Stage::Start, Span(time)));
        paces
    }

    #[test]
    fn nothing_is_asked_before_the_shortest_wait_also_where_all_is_quick() {
        assert_eq!(patience(&Paces::default(), Stage::Start), SOONEST);
        assert_eq!(patience(&after([20; 50]), Stage::Start), SOONEST);
    }

    #[test]
    fn where_everything_is_slow_only_what_is_slower_still_is_late() {
        let even = patience(&after([12_000; 50]), Stage::Start);
        assert!((Span(12_000)..Span(14_000)).contains(&even), "{even}");
        let uneven = patience(&after((0..50).map(|number| 4_000 + number % 5 * 4_000)), Stage::Start);
        assert!((Span(20_000)..Span(45_000)).contains(&uneven), "none of 4 s to 20 s is late: {uneven}");
    }

    #[test]
    fn one_slow_start_is_enough_to_wait_longer_and_quick_ones_make_it_forgotten() {
        assert_eq!(patience(&after([8_000]), Stage::Start), Span(24_000));
        let slow = after([20, 20, 20, 8_000]);
        assert!(patience(&slow, Stage::Start) > Span(8_000));
        assert_eq!(patience(&after([8_000].into_iter().chain([20; 30])), Stage::Start), SOONEST);
    }

    #[test]
    fn what_takes_for_ever_is_asked_about_after_the_longest_wait() {
        assert_eq!(patience(&after([3_600_000; 20]), Stage::Start), LATEST);
    }

    #[test]
    fn slow_starts_do_not_delay_the_question_why_no_pod_comes() {
        assert_eq!(patience(&after([60_000; 10]), Stage::Pod), SOONEST);
    }

    #[test]
    fn the_same_thing_is_asked_again_later() {
        let (quick, slow) = (after([20; 10]), after([100_000; 10]));
        assert!(!quick.asks(Stage::Start, LATEST, Some(Span::seconds(19))));
        assert!(quick.asks(Stage::Start, LATEST, Some(AGAIN)));
        assert!(!slow.asks(Stage::Start, LATEST, Some(AGAIN)));
        assert!(slow.asks(Stage::Start, LATEST, Some(LATEST)));
    }
}
