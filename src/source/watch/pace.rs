//! When to look without a hint: about every interval, sooner after a failure and ever later if that fails too.

use std::time::{Duration, Instant};

/// The first wait after a failure; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// The longest wait after failures, unless the poll interval itself is longer.
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);
/// When the next poll is due.
pub(super) struct Pace {
    interval: Duration,
    failures: u32,
    ticks: u64,
    /// When the next poll is due.
    pub(super) due: Instant,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        let mut pace = Self {
            interval: interval.max(Duration::from_millis(10)),
            failures: 0,
            ticks: u64::from(std::process::id()),
            due: now,
        };
        pace.wait(now);
        pace
    }

    pub(super) fn wait(&mut self, now: Instant) {
        self.ticks = self.ticks.wrapping_add(1);
        self.due = now + jittered(self.delay(), self.ticks);
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        self.wait(now);
    }

    /// What only a person can mend is tried again at the slowest pace.
    pub(super) fn failed(&mut self, now: Instant, transient: bool) {
        self.failures = if transient { self.failures.saturating_add(1) } else { u32::MAX };
        self.wait(now);
    }

    fn delay(&self) -> Duration {
        match self.failures {
            0 => self.interval,
            n => {
                let first = FIRST_RETRY.min(self.interval);
                first
                    .saturating_mul(1u32.checked_shl((n - 1).min(30)).unwrap_or(u32::MAX))
                    .min(LONGEST_RETRY.max(self.interval))
            }
        }
    }
}

/// A delay made up to a fifth shorter or longer, so that many servers do not ask at the same moment (splitmix64).
fn jittered(delay: Duration, tick: u64) -> Duration {
    let mut x = tick.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    delay.mul_f64(0.8 + 0.4 * (x >> 11) as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn polls_are_spread_and_stay_near_their_interval() {
        let all: BTreeSet<Duration> = (0..1000).map(|tick| jittered(Duration::from_secs(100), tick)).collect();
        assert!(all.len() > 990);
        assert!(all.iter().all(|delay| (80.0..=120.0).contains(&delay.as_secs_f64())));
        assert!(all.first().unwrap().as_secs_f64() < 85.0 && all.last().unwrap().as_secs_f64() > 115.0);
    }

    #[test]
    fn failures_are_retried_soon_and_then_ever_later() {
        let mut pace = Pace::new(Duration::from_secs(180));
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..10 {
            pace.failed(now, true);
            delays.push(pace.delay().as_secs());
        }
        assert_eq!(delays, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        pace.succeeded(now);
        assert_eq!(pace.delay(), Duration::from_secs(180));
        pace.failed(now, false);
        assert_eq!(pace.delay(), LONGEST_RETRY);
    }
}
