//! Virtual time: a state, the moment, and the ends of what runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::domain::dispatch::command::Command;
use crate::domain::dispatch::event::Event;
use crate::domain::dispatch::observation::{Observation, Seen};
use crate::domain::dispatch::{State, decide, next_wakeup, schedule_some};
use crate::domain::ids::{AttemptName, RunId};
use crate::domain::time::{Span, Timestamp};

/// A state in virtual time.
pub(super) struct Clockwork {
    pub state: State,
    pub now: Timestamp,
    /// What runs, by its end; then in the order in which it started.
    ends: BinaryHeap<Reverse<(Timestamp, u64, AttemptName)>>,
    started: u64,
    budget: Option<Budget>,
}

/// Starts that may be made, as a bucket that fills evenly.
pub(super) struct Budget {
    /// Thousandths of a start.
    held: f64,
    burst: f64,
    /// Starts in a millisecond.
    rate: f64,
    at: Timestamp,
}

impl Budget {
    /// So many starts a second, and so many saved up at most; full at the beginning.
    pub fn new(per_second: f64, burst: u32, at: Timestamp) -> Self {
        Self { held: f64::from(burst), burst: f64::from(burst), rate: per_second / 1000.0, at }
    }

    fn fill(&mut self, now: Timestamp) {
        self.held = (self.held + now.since(self.at).0 as f64 * self.rate).min(self.burst.max(1.0));
        self.at = now;
    }

    /// When the next start can be made. A little is added, so that rounding never makes it wait twice.
    fn next(&self) -> Timestamp {
        let wait = ((1.0 - self.held) / self.rate - 1e-9).ceil().max(1.0);
        self.at.after(Span(wait as u64))
    }
}

impl Clockwork {
    pub fn new(state: State, now: Timestamp, budget: Option<Budget>) -> Self {
        Self { state, now, ends: BinaryHeap::new(), started: 0, budget }
    }

    /// Something runs until a moment.
    pub fn ends_at(&mut self, attempt: AttemptName, at: Timestamp) {
        self.started += 1;
        self.ends.push(Reverse((at, self.started, attempt)));
    }

    /// Carries a command out; its events are shown.
    pub fn exec(&mut self, command: &Command, see: &mut dyn FnMut(Timestamp, &Event)) {
        for event in decide(&self.state, self.now, command).events {
            self.state.apply(self.now, &event);
            see(self.now, &event);
        }
    }

    /// Ends what ends at this moment, and starts what may. What starts runs for as long as is said.
    pub fn pass(&mut self, takes: &mut dyn FnMut(RunId) -> Span, see: &mut dyn FnMut(Timestamp, &Event)) {
        while let Some(Reverse((at, _, attempt))) = self.ends.peek().copied()
            && at <= self.now
        {
            self.ends.pop();
            let seen = Seen::Succeeded { outputs: serde_json::Map::new() };
            self.exec(&Command::Observe(Observation { attempt, at, seen }), see);
        }
        loop {
            let most = match &mut self.budget {
                None => usize::MAX,
                Some(budget) => {
                    budget.fill(self.now);
                    (budget.held + 1e-9) as usize
                }
            };
            let (events, again) = schedule_some(&mut self.state, self.now, most);
            for event in &events {
                see(self.now, event);
                if let Event::RunScheduled { run, attempt } = event {
                    self.ends_at(AttemptName { run: *run, attempt: *attempt }, self.now.after(takes(*run)));
                    if let Some(budget) = &mut self.budget {
                        budget.held -= 1.0;
                    }
                }
            }
            if !again || events.is_empty() {
                return;
            }
        }
    }

    /// When something happens next by itself.
    pub fn next(&self) -> Option<Timestamp> {
        let end = self.ends.peek().map(|Reverse((at, ..))| *at);
        // With an empty bucket something may wait for nothing else than it.
        let budget = self.budget.as_ref().filter(|budget| budget.held < 1.0 && self.state.could_start());
        let next = end.into_iter().chain(next_wakeup(&self.state)).chain(budget.map(Budget::next));
        next.min().map(|at| at.max(self.now))
    }
}
