//! Starts runs by the time: one thread that knows when each schedule of the applied catalog is next due.
//!
//! What a schedule has done is in the log: a time fires in one transaction with the run that it starts, whose id is made
//! of workflow, schedule and time. Whatever dies in between, no time fires twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::domain::catalog::Catalog;
use crate::domain::cron::active;
use crate::domain::dispatch::command::{Command, Fire, Outcome};
use crate::domain::dispatch::event::Origin;
use crate::domain::ids::{Digest, RunId, WorkflowName};
use crate::domain::spec::Schedule;
use crate::domain::time::Timestamp;
use crate::domain::workflow::firing::{Firing, next};
use crate::domain::workflow::start::{Circumstances, of_workflow};
use crate::engine::{Engine, EngineError, wall_clock};
use crate::reconciler::{Shared, Wanted, get};

/// How often it looks whether something else is applied, and whether a run that a schedule waits for has ended.
const LOOK: Duration = Duration::from_secs(1);

/// A schedule, by its workflow and what it says: one that says something else is another one.
type Key = (WorkflowName, Digest);

/// The timekeeper before it is under way, and the way to end it.
pub struct Timekeeper {
    engine: Engine,
    shared: Arc<Shared>,
    /// The applied catalog that the times below are of.
    of: Option<Arc<Wanted>>,
    /// When each schedule is looked at next.
    due: BTreeMap<Key, Timestamp>,
}

impl Timekeeper {
    /// Starts it; the sender ends it.
    pub fn start(engine: Engine, shared: Arc<Shared>) -> (Sender<()>, std::thread::JoinHandle<()>) {
        let (stop, stopped) = channel();
        let own = Self { engine, shared, of: None, due: BTreeMap::new() };
        (stop, std::thread::spawn(move || own.run(&stopped)))
    }

    fn run(mut self, stopped: &Receiver<()>) {
        let mut wait = Duration::ZERO;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
            match self.look() {
                Ok(soon) => wait = soon.clamp(Duration::from_millis(1), LOOK),
                Err(EngineError::Stopped) => return,
                Err(EngineError::Store(why)) => {
                    tracing::warn!(why, "schedules are looked at again");
                    (self.of, wait) = (None, LOOK);
                }
            }
        }
    }

    /// Fires what is due; gives the time until the next look.
    fn look(&mut self) -> Result<Duration, EngineError> {
        let Some(applied) = get(&self.shared.applied) else { return Ok(LOOK) };
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &applied)) {
            self.arm(&applied)?;
        }
        let now = wall_clock();
        // What is due while nothing may start is missed, and made up for as its schedule says.
        if get(&self.shared.status).paused || frozen(&applied.catalog, now) {
            return Ok(LOOK);
        }
        let due: Vec<Key> = self.due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            let at = self.fire(&applied, &key, now)?;
            match at {
                Some(at) => drop(self.due.insert(key, at)),
                None => drop(self.due.remove(&key)),
            }
        }
        let first = self.due.values().min().map(|at| Duration::from_millis(at.since(wall_clock()).0));
        Ok(first.unwrap_or(LOOK))
    }

    /// Arms the schedules of another catalog, and disarms those that are gone.
    fn arm(&mut self, applied: &Arc<Wanted>) -> Result<(), EngineError> {
        let mut wanted: BTreeMap<WorkflowName, BTreeSet<Digest>> = BTreeMap::new();
        for (name, workflow) in &applied.catalog.workflows {
            let item = &workflow.item;
            if !item.schedules.is_empty() && item.unrunnable.is_none() {
                wanted.insert(name.clone(), item.schedules.iter().map(digest).collect());
            }
        }
        // What is not sound and has no last good definition is not gone: it keeps what it has done.
        for name in
            applied.catalog.unsound.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect::<Vec<_>>()
        {
            let known = self.engine.read(|state| state.armed_of(&name).map(|(of, _)| of).collect::<BTreeSet<_>>());
            if !known.is_empty() {
                wanted.insert(name, known);
            }
        }
        self.due = wanted
            .iter()
            .flat_map(|(name, schedules)| schedules.iter().map(|of| ((name.clone(), *of), Timestamp::default())))
            .collect();
        self.engine.ask_blocking(Command::Arm(wanted), Vec::new())?;
        self.of = Some(applied.clone());
        Ok(())
    }

    /// Fires a schedule as often as it wants now; when to look again, if ever.
    fn fire(&self, applied: &Wanted, key: &Key, now: Timestamp) -> Result<Option<Timestamp>, EngineError> {
        let soon = Timestamp(now.0 + LOOK.as_millis() as i64);
        let Some(workflow) = applied.catalog.workflows.get(&key.0) else { return Ok(None) };
        let Some(schedule) = workflow.item.schedules.iter().find(|schedule| digest(schedule) == key.1) else {
            return Ok(None);
        };
        loop {
            let (armed, busy) = self.engine.read(|state| {
                let armed = state.armed(&key.0, key.1).cloned();
                let busy = armed.as_ref().and_then(|armed| armed.run).is_some_and(|run| state.run(run).is_some());
                (armed, busy)
            });
            let Some(armed) = armed else { return Ok(Some(soon)) };
            let planned = match next(schedule, &armed, now) {
                Firing::Never => return Ok(None),
                Firing::At(at) => return Ok(Some(at)),
                Firing::Now(_) if busy && schedule.depends_on_past => return Ok(Some(soon)),
                Firing::Now(planned) => planned,
            };
            let started = of_workflow(
                &workflow.item,
                Circumstances {
                    id: run_id(key, planned),
                    project: key.0.project.clone(),
                    workflow: Some(key.0.workflow.clone()),
                    commit: Some(applied.revision.commit.clone()),
                    queue: workflow.item.queue.clone(),
                    group: None,
                    origin: Origin::Schedule { at: planned },
                },
            );
            let fire = Fire { workflow: key.0.clone(), schedule: key.1, planned, run: started.run };
            match self.engine.ask_blocking(Command::Fire(Box::new(fire)), vec![started.body])? {
                Outcome::Done | Outcome::Already => {}
                Outcome::Refused(why) => {
                    // For example a queue that is going: what is applied next says otherwise.
                    tracing::warn!(workflow = %key.0, %why, "a schedule could not start its run");
                    return Ok(Some(soon));
                }
            }
        }
    }
}

/// What a schedule says, in a few bytes.
fn digest(schedule: &Schedule) -> Digest {
    Digest::of(&serde_json::to_vec(schedule).expect("a schedule is plain data"))
}

/// The id of the run of one time: there is only one.
fn run_id(key: &Key, planned: Timestamp) -> RunId {
    RunId::derived(RunId(uuid::Uuid::nil()), &format!("{} {} {}", key.0, key.1, planned.0))
}

/// Whether a time without starts is on. One that cannot be read counts: it was meant.
fn frozen(catalog: &Catalog, now: Timestamp) -> bool {
    let windows = catalog.organization.item.freeze.iter();
    let mut open = windows.map(|w| active(&w.cron, w.duration.0, w.time_zone.as_deref(), now));
    open.any(|open| open.unwrap_or(true))
}
