//! The supervisor's state, always under one lock: what is queued, what runs, what ends when, what is to be told.
//!
//! Processes are signalled and reaped only here, under the lock, so that a signal never meets another process that
//! got the same id.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};
use serde_json::{Map, Value};

use super::journal::{Entry, Journal, Process, Record};
use super::process::{CANNOT_START, Ending, NEVER_STARTED, SUPERVISOR_LOST, meaning};
use super::protocol::Order;
use super::task::Task;
use super::{adopt, note, now};
use crate::domain::dispatch::observation::{Cause, LOST, Observation, Seen};
use crate::domain::ids::{AttemptName, Epoch};
use crate::domain::time::Span;

/// Time between asking and killing when a timeout has passed; the default of Docker and of `systemd` for impatient
/// units. A stop brings its own.
pub const TIMEOUT_GRACE: Span = Span::seconds(10);

/// How often a killed group is killed again until it is gone.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// State of a supervisor.
#[derive(Debug)]
pub struct Roster {
    /// Everything that must be known after a crash.
    pub journal: Journal,
    /// What waits for a spawner.
    pub queue: VecDeque<(AttemptName, Task)>,
    /// What the server was not told yet; nothing while no server listens.
    pub outbox: Option<VecDeque<Observation>>,
    /// Attempts that are taken on and have not ended.
    live: BTreeMap<AttemptName, Live>,
    /// The attempt that each running process belongs to.
    by_pid: BTreeMap<i32, AttemptName>,
    /// The highest term of a server that was heard of.
    epoch: Epoch,
}

/// An attempt that has not ended.
#[derive(Debug, Default)]
struct Live {
    /// Its process, and the descriptor whose end is watched.
    running: Option<(Pid, OwnedFd)>,
    /// Why it is being ended.
    ending: Option<Ending>,
    /// When its time is over: first the timeout, then the grace.
    due: Option<Instant>,
}

impl Roster {
    /// Takes over what an earlier supervisor left. Says which processes are to be watched.
    pub fn recover(journal: Journal) -> Self {
        let mut roster = Self {
            journal,
            queue: VecDeque::new(),
            outbox: None,
            live: BTreeMap::new(),
            by_pid: BTreeMap::new(),
            epoch: Epoch(0),
        };
        let open: Vec<(AttemptName, Entry)> =
            roster.journal.entries().iter().filter(|(_, entry)| !entry.ended).map(|(a, e)| (*a, e.clone())).collect();
        let nameless = open.iter().filter(|(_, entry)| entry.process.is_none()).map(|(attempt, _)| *attempt).collect();
        let mut found = adopt::find_lost(&nameless);
        for (attempt, entry) in open {
            roster.live.insert(attempt, Live::default());
            let known = entry.process.is_some();
            let process = entry.process.or_else(|| found.remove(&attempt));
            // The descriptor first: what it names cannot change while we look whether it is the right one.
            let adopted = process.as_ref().and_then(|process| {
                let pid = Pid::from_raw(process.pid)?;
                let watched = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
                adopt::is_alive(process).then_some((pid, watched))
            });
            match (adopted, process) {
                (Some((pid, watched)), Some(process)) => {
                    let passed = Duration::from_millis(now().since(entry.launched).0);
                    if !known {
                        roster.save_start(attempt, process);
                    }
                    roster.runs(
                        attempt,
                        pid,
                        watched,
                        entry.timeout.map(|t| Duration::from_millis(t.0).saturating_sub(passed)),
                    );
                }
                (_, process) => {
                    let what = if process.is_some() { "while it ran" } else { "while it was being started" };
                    let message = format!("its supervisor died {what}, so its exit code is not known");
                    let cause = Cause::new(SUPERVISOR_LOST, message);
                    roster.end(attempt, vec![Seen::Failed { cause, exit_code: None, outputs: Map::new() }]);
                }
            }
        }
        roster
    }

    /// The processes that run, each with the descriptor to watch.
    pub fn watched(&self) -> impl Iterator<Item = (Pid, &OwnedFd)> {
        self.live.values().filter_map(|live| live.running.as_ref()).map(|(pid, watched)| (*pid, watched))
    }

    /// The attempts that have a process.
    pub fn running(&self) -> Vec<AttemptName> {
        self.by_pid.values().copied().collect()
    }

    /// Whether an attempt is taken on and has not ended.
    pub fn is_live(&self, attempt: AttemptName) -> bool {
        self.live.contains_key(&attempt)
    }

    /// Whether nothing is queued or running.
    pub fn is_idle(&self) -> bool {
        self.live.is_empty()
    }

    /// Begins to collect what a server is to be told, with all that is not forgotten.
    pub fn tell_everything(&mut self) {
        let stories = self.journal.entries().values().flat_map(|entry| entry.story.iter().cloned());
        self.outbox = Some(stories.collect());
    }

    /// The attempts that are taken on and not forgotten.
    pub fn known(&self) -> Vec<AttemptName> {
        let entries = self.journal.entries();
        let unsaved = self.live.keys().filter(|attempt| !entries.contains_key(*attempt));
        entries.keys().chain(unsaved).copied().collect()
    }

    /// Obeys a server. Launches are written down together before any of them is queued.
    pub fn obey(&mut self, orders: Vec<Order>) {
        let mut launches = Vec::new();
        for order in orders {
            if !matches!(order, Order::Launch { .. }) {
                self.take_on(std::mem::take(&mut launches));
            }
            match order {
                Order::Hello(_) => {}
                Order::Launch { attempt, epoch, task } => {
                    self.epoch = self.epoch.max(epoch);
                    if epoch < self.epoch {
                        note(format_args!("{attempt} is not launched: the server has been replaced by a newer one"));
                    } else {
                        launches.push((attempt, task));
                    }
                }
                Order::Refuse { attempt, cause } => {
                    if !self.knows(attempt) {
                        self.end(attempt, vec![Seen::Failed { cause, exit_code: None, outputs: Map::new() }]);
                    }
                }
                Order::Stop { attempt, grace } => self.stop(attempt, grace),
                Order::Forget(attempt) => self.forget(attempt),
            }
        }
        self.take_on(launches);
    }

    fn take_on(&mut self, launches: Vec<(AttemptName, Task)>) {
        let mut fresh: Vec<(AttemptName, Task)> = Vec::new();
        let mut records = Vec::new();
        for (attempt, task) in launches {
            if !self.knows(attempt) && !self.live.contains_key(&attempt) {
                records.push(Record::Launched { attempt, at: now(), timeout: task.timeout });
                self.live.insert(attempt, Live::default());
                fresh.push((attempt, task));
            }
        }
        if fresh.is_empty() {
            return;
        }
        match self.journal.record(records) {
            Ok(()) => self.queue.extend(fresh),
            // What is not written down might be started twice.
            Err(error) => fresh.into_iter().for_each(|(attempt, _)| {
                let message = format!("the journal of the agent cannot be written: {error}");
                self.could_not_start(attempt, Cause::new(CANNOT_START, message));
            }),
        }
    }

    /// Whether the attempt needs no launch; what is known of it is told again.
    fn knows(&mut self, attempt: AttemptName) -> bool {
        if let (Some(entry), Some(outbox)) = (self.journal.entries().get(&attempt), &mut self.outbox) {
            outbox.extend(entry.story.iter().cloned());
        }
        let forgotten = self.journal.was_forgotten(&attempt);
        if forgotten {
            // Whoever still asks for it does not have the end that was saved: its store is older than that.
            let message = "it ran and ended, and the server that saved its end had another store";
            let seen = Seen::Failed { cause: Cause::new(LOST, message), exit_code: None, outputs: Map::new() };
            self.say(Observation { attempt, at: now(), seen });
        }
        forgotten || self.journal.entries().contains_key(&attempt)
    }

    fn stop(&mut self, attempt: AttemptName, grace: Span) {
        let queued = self.queue.iter().any(|(queued, _)| *queued == attempt);
        if self.live.contains_key(&attempt) && !queued {
            self.wind_up(attempt, Ending::Asked, grace);
        } else if queued || !self.knows(attempt) {
            self.queue.retain(|(queued, _)| *queued != attempt);
            let cause = Cause::new(NEVER_STARTED, "it was stopped before it was started");
            self.end(attempt, vec![Seen::Stopped(cause)]);
        }
    }

    fn forget(&mut self, attempt: AttemptName) {
        // The end of what still runs cannot have been saved.
        if !self.live.contains_key(&attempt) && self.journal.entries().contains_key(&attempt) {
            self.save(vec![Record::Forgotten(attempt)]);
        }
    }

    /// Notes the process of a queued attempt. An error leaves it killed and ended.
    pub fn started(&mut self, attempt: AttemptName, process: Process, watched: OwnedFd) {
        let pid = Pid::from_raw(process.pid).expect("a child has an id above 0");
        self.save_start(attempt, process);
        let timeout = self.journal.entries().get(&attempt).and_then(|entry| entry.timeout);
        self.runs(attempt, pid, watched, timeout.map(|timeout| Duration::from_millis(timeout.0)));
    }

    fn save_start(&mut self, attempt: AttemptName, process: Process) {
        let seen = Observation { attempt, at: now(), seen: Seen::Running };
        self.say(seen.clone());
        self.save(vec![Record::Started { attempt, process, seen }]);
    }

    fn runs(&mut self, attempt: AttemptName, pid: Pid, watched: OwnedFd, left: Option<Duration>) {
        let live = self.live.entry(attempt).or_default();
        live.running = Some((pid, watched));
        self.by_pid.insert(pid.as_raw_nonzero().get(), attempt);
        match live.ending {
            // It was stopped while it was being started.
            Some(_) => self.ask(attempt),
            None => live.due = left.and_then(|left| Instant::now().checked_add(left)),
        }
    }

    /// Notes that a queued attempt has no process.
    pub fn could_not_start(&mut self, attempt: AttemptName, cause: Cause) {
        let asked = self.live.get(&attempt).is_some_and(|live| live.ending.is_some());
        let seen = if asked {
            Seen::Stopped(Cause::new(NEVER_STARTED, "it was stopped before it was started"))
        } else {
            Seen::Failed { cause, exit_code: None, outputs: Map::new() }
        };
        self.end(attempt, vec![seen]);
    }

    /// The attempt whose main process has ended, but is not reaped. What is left of its group is killed: its slot is
    /// free when this returns, so nothing of it may go on.
    pub fn ended(&self, pid: i32) -> Option<AttemptName> {
        let attempt = *self.by_pid.get(&pid)?;
        self.signal(attempt, Signal::KILL);
        Some(attempt)
    }

    /// Reaps the main process of an attempt and notes its end.
    pub fn reap(&mut self, attempt: AttemptName, outputs: Map<String, Value>, warning: Option<Seen>) {
        let Some(Live { running: Some((pid, _watched)), ending, .. }) = self.live.get(&attempt) else { return };
        let (pid, ending) = (*pid, *ending);
        // An adopted process is not our child: its exit code is not ours to know.
        let status: Option<WaitIdStatus> = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).ok().flatten();
        self.by_pid.remove(&pid.as_raw_nonzero().get());
        let timeout = self.journal.entries().get(&attempt).and_then(|entry| entry.timeout);
        let end = meaning(status, ending, timeout, outputs);
        self.end(attempt, warning.into_iter().chain([end]).collect());
    }

    /// Does what is due, and says when the next thing is.
    pub fn tick(&mut self, at: Instant) -> Option<Instant> {
        let due: Vec<AttemptName> =
            self.live.iter().filter(|(_, live)| live.due.is_some_and(|due| due <= at)).map(|(a, _)| *a).collect();
        for attempt in due {
            let Some(live) = self.live.get_mut(&attempt) else { continue };
            if live.ending.is_none() {
                self.wind_up(attempt, Ending::Deadline, TIMEOUT_GRACE);
            } else {
                live.due = at.checked_add(KILL_AGAIN);
                self.signal(attempt, Signal::KILL);
            }
        }
        self.live.values().filter_map(|live| live.due).min()
    }

    /// Ends everything at once, when there is nobody left to tell.
    pub fn kill_all(&self) {
        self.live.keys().for_each(|attempt| self.signal(*attempt, Signal::KILL));
    }

    /// Asks an attempt to end and kills it after the grace. Of several causes the first counts, of several graces the
    /// one that is over first.
    fn wind_up(&mut self, attempt: AttemptName, ending: Ending, grace: Span) {
        let Some(live) = self.live.get_mut(&attempt) else { return };
        let kill_at = Instant::now().checked_add(Duration::from_millis(grace.0));
        let first = live.ending.is_none();
        live.due = if first { kill_at } else { live.due.into_iter().chain(kill_at).min() };
        live.ending.get_or_insert(ending);
        if first {
            self.ask(attempt);
        }
    }

    fn ask(&self, attempt: AttemptName) {
        self.signal(attempt, Signal::TERM);
        // A process that was suspended would not hear it.
        self.signal(attempt, Signal::CONT);
    }

    fn signal(&self, attempt: AttemptName, signal: Signal) {
        if let Some(Live { running: Some((pid, _)), .. }) = self.live.get(&attempt) {
            // It fails when nobody is left in the group, which is as good.
            let _ = kill_process_group(*pid, signal);
        }
    }

    fn end(&mut self, attempt: AttemptName, seen: Vec<Seen>) {
        self.live.remove(&attempt);
        let at = now();
        let seen: Vec<_> = seen.into_iter().map(|seen| Observation { attempt, at, seen }).collect();
        seen.iter().cloned().for_each(|seen| self.say(seen));
        self.save(vec![Record::Ended { attempt, seen }]);
    }

    fn say(&mut self, seen: Observation) {
        if let Some(outbox) = &mut self.outbox {
            outbox.push_back(seen);
        }
    }

    /// Writes down what has happened. It has happened even when it cannot be written.
    fn save(&mut self, records: Vec<Record>) {
        let result: io::Result<()> = self.journal.record(records);
        if let Err(error) = result {
            note(format_args!("the journal cannot be written: {error}"));
        }
    }
}
