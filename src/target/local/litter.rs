//! What attempts leave that says nothing, an empty directory and an empty log: removed when nothing is being launched.
//!
//! A removal behind each end would take its time from the next launch, and what is freed makes new files slower (see
//! [`super::layout`]).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::domain::ids::AttemptName;

/// How long nothing was launched when things are quiet.
const QUIET: Duration = Duration::from_secs(2);
/// Attempts that may wait to be tidied: a directory takes a block, so these take 40 MiB.
const MAX_LEFT: usize = 10_000;
/// Attempts that are tidied before somebody looks again whether things are quiet: some milliseconds.
const AT_ONCE: usize = 200;

/// The attempts that have ended and were not tidied, and the moment of the newest launch.
#[derive(Debug)]
pub struct Litter {
    left: VecDeque<AttemptName>,
    launched: Instant,
}

impl Litter {
    /// Nothing is left, and something may be launched at any moment.
    pub fn new(now: Instant) -> Self {
        Self { left: VecDeque::new(), launched: now }
    }

    /// Something is launched.
    pub fn launch(&mut self, now: Instant) {
        self.launched = now;
    }

    /// An attempt has ended. When too many wait, the oldest is to be tidied at once.
    pub fn add(&mut self, attempt: AttemptName) -> Option<AttemptName> {
        self.left.push_back(attempt);
        if self.left.len() > MAX_LEFT { self.left.pop_front() } else { None }
    }

    /// Whether nothing was launched lately.
    pub fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.launched) >= QUIET
    }

    /// What is to be tidied now.
    pub fn take(&mut self, now: Instant) -> Vec<AttemptName> {
        let count = if self.is_quiet(now) { self.left.len().min(AT_ONCE) } else { 0 };
        self.left.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Attempt, RunId};

    #[test]
    fn nothing_is_tidied_between_launches_unless_too_much_is_left() {
        let name = |n: usize| AttemptName { run: RunId(uuid::Uuid::from_u128(n as u128)), attempt: Attempt(1) };
        let begin = Instant::now();
        let mut litter = Litter::new(begin);
        assert!((0..MAX_LEFT).all(|n| litter.add(name(n)).is_none()));
        assert_eq!(litter.add(name(MAX_LEFT)), Some(name(0)));
        let soon = begin + QUIET / 2;
        litter.launch(soon);
        assert!(litter.take(begin + QUIET).is_empty());
        assert_eq!(litter.take(soon + QUIET), (1..=AT_ONCE).map(name).collect::<Vec<_>>());
        litter.launch(soon + QUIET);
        assert!(litter.take(soon + QUIET).is_empty(), "a launch is not held up by what is left");
    }
}
