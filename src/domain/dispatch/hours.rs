//! Opening hours: queues with `windows` dispatch only while one of these is open.
//!
//! That a queue opens or closes is an event, although the policy and the moment say it: who is passed over while a queue
//! is closed is remembered, and a fold of the log must come to the same. What runs goes on when a queue closes.

use super::event::Event;
use super::queues::Queues;
use super::table::Ix;
use crate::domain::ids::QueueName;
use crate::domain::time::Timestamp;
use crate::domain::windows::{Opening, open_at};

/// Due at the next pass, whenever that is.
const AT_ONCE: Timestamp = Timestamp(i64::MIN);

impl Queues {
    /// The policy of a queue was set: until the next pass has looked at its windows, it is closed when it has any.
    pub fn set_hours(&mut self, ix: Ix) {
        let opening = match self.queues[ix].policy.windows.is_empty() {
            true => Opening::Open(None),
            false => Opening::Closed(Some(AT_ONCE)),
        };
        self.forget_hours(ix);
        self.queues[ix].opening = opening;
        self.note_hours(ix);
    }

    /// Its next change is waited for.
    pub fn note_hours(&mut self, ix: Ix) {
        let queue = &self.queues[ix];
        self.hours.extend(queue.opening.until().map(|until| (until, queue.name.clone(), ix)));
    }

    /// Its next change is waited for no longer.
    pub fn forget_hours(&mut self, ix: Ix) {
        let queue = &self.queues[ix];
        if let Some(until) = queue.opening.until() {
            self.hours.remove(&(until, queue.name.clone(), ix));
        }
    }

    /// A queue opens or closes.
    pub fn set_opening(&mut self, ix: Ix, opening: Opening) {
        self.forget_hours(ix);
        self.queues[ix].opening = opening;
        self.note_hours(ix);
        let agent = self.queues[ix].agent;
        self.list(ix);
        self.set_budgets(agent);
    }

    /// The next queue that opens or closes now.
    pub fn turn(&self, now: Timestamp) -> Option<Event> {
        let (_, _, ix) = self.hours.first().filter(|(until, ..)| *until <= now)?;
        let queue = &self.queues[*ix];
        // A moment that does not lie ahead would be due again and again.
        let opening = match open_at(&queue.policy.windows, now) {
            Opening::Open(until) => Opening::Open(until.filter(|until| *until > now)),
            Opening::Closed(until) => Opening::Closed(until.filter(|until| *until > now)),
        };
        let queue: QueueName = queue.name.clone();
        Some(Event::QueueTurned { queue, opening })
    }
}
