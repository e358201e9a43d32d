//! What is known of one attempt: its objects as last seen, what was asked for, what was said about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::domain::dispatch::observation::{Cause, Seen};
use crate::domain::ids::AttemptName;
use crate::domain::kubernetes::names::object_name;
use crate::domain::kubernetes::pace::{Paces, Stage};
use crate::domain::kubernetes::pod::Pod;
use crate::domain::kubernetes::render::RootKind;
use crate::domain::kubernetes::verdict::{Root, RootStatus, deleted, verdict};
use crate::domain::time::Span;

/// How long the end of a Job waits for the word of its pod, which comes over another watch.
const PATIENCE: Duration = Duration::from_secs(2);
/// The reason of an attempt that was stopped.
pub const STOPPED: &str = "Stopped";

/// Where the log of an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Log {
    /// Nobody reads it.
    #[default]
    Unread,
    /// It is being read.
    Reading,
    /// All of it was read, or it cannot be.
    Kept,
}

/// One attempt.
#[derive(Debug)]
pub struct Attempt {
    /// The kind of its root.
    pub kind: RootKind,
    /// Its root, once it was seen.
    pub root: Option<Root>,
    /// Whether a watch has shown the root: before that, its absence from a list means nothing.
    pub watched: bool,
    /// Its root was there and is not any more.
    pub gone: bool,
    /// Its pods, by their uid; those that are gone stay as they were last seen.
    pub pods: BTreeMap<String, Pod>,
    /// Those of its pods that are not in the cluster any more.
    pub absent: BTreeSet<String>,
    /// A request to make its objects is under way.
    pub creating: bool,
    /// It was told to stop.
    pub stopping: bool,
    /// Its removal was asked for.
    pub removing: bool,
    /// Its end is saved, since then.
    pub forgotten: Option<Instant>,
    /// Its end was reported.
    pub ended: bool,
    /// How long the root stays after its end.
    pub ttl: Option<Span>,
    /// Its log, by the uid of the pod.
    pub logs: BTreeMap<String, Log>,
    /// When it was first heard of here.
    pub since: Instant,
    /// What it waits for before it runs.
    pub wait: Wait,
    /// What an inquiry found.
    pub found: Option<Cause>,
    said: Option<Seen>,
    waiting: Option<Instant>,
}

/// How long an attempt waits for its pods to come and to start.
#[derive(Debug)]
pub struct Wait {
    stage: Stage,
    since: Instant,
    /// When it was last asked why it lasts.
    asked: Option<Instant>,
    /// Whether its length says how quick the cluster is: its beginning was seen, and nothing is known to stand in its way.
    counts: bool,
    /// An inquiry has found nothing wrong.
    unexplained: bool,
}

impl Wait {
    fn new(stage: Stage, since: Instant, counts: bool) -> Self {
        Self { stage, since, asked: None, counts, unexplained: false }
    }
}

impl Attempt {
    /// An attempt of which nothing was seen yet.
    pub fn new(kind: RootKind, now: Instant) -> Self {
        Self {
            kind,
            root: None,
            watched: false,
            gone: false,
            pods: BTreeMap::new(),
            absent: BTreeSet::new(),
            creating: false,
            stopping: false,
            removing: false,
            forgotten: None,
            ended: false,
            ttl: None,
            logs: BTreeMap::new(),
            since: now,
            wait: Wait::new(Stage::Pod, now, false),
            found: None,
            said: None,
            waiting: None,
        }
    }

    /// The cluster has its root.
    pub fn made(&mut self, kind: RootKind, uid: String) {
        self.kind = kind;
        self.since = Instant::now();
        if self.pods.is_empty() {
            self.wait = Wait::new(Stage::Pod, self.since, true);
        }
        self.root.get_or_insert_with(|| Root { kind, uid, deleting: false, status: RootStatus::default() });
    }

    /// Whether something of it may still run.
    pub fn has_live_pods(&self) -> bool {
        self.pods.values().any(|pod| !pod.is_over())
    }

    /// Whether the cluster has shown that nothing of it is left there.
    pub fn has_left(&self) -> bool {
        (self.root.is_none() || self.gone) && self.pods.keys().all(|uid| self.absent.contains(uid))
    }

    /// Whether it has objects in the cluster.
    pub fn is_there(&self) -> bool {
        (self.root.is_some() && !self.gone) || self.has_live_pods()
    }

    /// What is to be reported now, if that is news.
    pub fn news(&mut self, name: AttemptName, now: Instant) -> Option<Seen> {
        if self.ended {
            return None;
        }
        let seen = self.judge(name, now)?;
        self.say(seen)
    }

    /// Reports something, if it is news.
    pub fn say(&mut self, seen: Seen) -> Option<Seen> {
        if self.ended || self.said.as_ref() == Some(&seen) {
            return None;
        }
        self.ended = matches!(seen, Seen::Succeeded { .. } | Seen::Failed { .. } | Seen::Stopped(_));
        self.said = Some(seen.clone());
        Some(seen)
    }

    fn judge(&mut self, name: AttemptName, now: Instant) -> Option<Seen> {
        if self.gone {
            // The slot is free only when nothing of it runs.
            if self.has_live_pods() {
                return None;
            }
            return Some(if self.stopping {
                Seen::Stopped(Cause::new(STOPPED, "its objects in the cluster were deleted and its pods have ended"))
            } else {
                deleted(&object_name(name), self.kind)
            });
        }
        let root = self.root.as_ref()?;
        let pods: Vec<&Pod> = self.pods.values().collect();
        if let Some(seen) = verdict(root, &pods, true) {
            self.waiting = None;
            return Some(match (seen, &self.found) {
                (Seen::Starting, Some(found)) => Seen::Warning(found.clone()),
                (seen, _) => seen,
            });
        }
        if root.deleting {
            return None;
        }
        let since = *self.waiting.get_or_insert(now);
        if now < since + PATIENCE { None } else { verdict(root, &pods, false) }
    }

    /// When [`Attempt::news`] may have something to say without anything being seen.
    pub fn wakes(&self) -> bool {
        self.waiting.is_some() && !self.ended
    }

    /// Whether every log that there is was read.
    pub fn logs_kept(&self) -> bool {
        let has_log = |uid: &String| self.pods.get(uid).is_some_and(Pod::has_log);
        self.pods.keys().filter(|uid| has_log(uid)).all(|uid| self.logs.get(uid) == Some(&Log::Kept))
    }

    /// A pod of it is there; gives how long the first one took to come, if that counts.
    pub fn pod_came(&mut self, now: Instant) -> Option<Span> {
        if self.wait.stage == Stage::Start {
            return None;
        }
        let took = self.wait.counts.then(|| span(now - self.wait.since));
        self.wait = Wait::new(Stage::Start, now, self.wait.counts);
        self.found = None;
        took
    }

    /// Something was said of it that is news; gives how long its pods took to start, if they have and that counts.
    pub fn was_said(&mut self, seen: &Seen, now: Instant) -> Option<Span> {
        match seen {
            Seen::Starting => return None,
            Seen::Running => self.found = None,
            _ => {}
        }
        let started = matches!(seen, Seen::Running | Seen::Succeeded { .. } | Seen::Failed { .. });
        let counts = std::mem::take(&mut self.wait.counts);
        (counts && started && self.wait.stage == Stage::Start).then(|| span(now - self.wait.since))
    }

    /// Whether it is time to ask why its pods do not come or do not start.
    pub fn inquires(&self, paces: &Paces, now: Instant) -> bool {
        let waits = match &self.said {
            Some(Seen::Starting) => true,
            Some(Seen::Warning(cause)) => self.found.as_ref() == Some(cause),
            _ => false,
        };
        let there = self.root.is_some() && !self.gone && !self.stopping && !self.ended;
        let Wait { stage, since, asked, .. } = self.wait;
        waits && there && paces.asks(stage, span(now - since), asked.map(|asked| span(now - asked)))
    }

    /// It is asked; gives the identities of what may know why. The Job of a pod that is there has nothing more to say.
    pub fn inquire(&mut self, now: Instant) -> Vec<String> {
        self.wait.asked = Some(now);
        let pods = self.pods.iter().filter(|(_, pod)| !pod.is_over()).map(|(uid, _)| uid.clone());
        let root = self.root.iter().map(|root| root.uid.clone());
        let quiet = self.kind == RootKind::Job && self.has_live_pods();
        pods.chain(root.filter(|_| !quiet)).collect()
    }

    /// What an inquiry has found; when that is nothing for the first time, gives what lasts, and how long: the cluster is
    /// at least that slow.
    pub fn learns(&mut self, found: Option<Cause>, now: Instant) -> Option<(Stage, Span)> {
        let slow = found.is_none() && self.wait.counts && !self.wait.unexplained;
        self.wait.unexplained |= found.is_none();
        self.found = found;
        slow.then(|| (self.wait.stage, span(now - self.wait.since)))
    }
}

fn span(time: Duration) -> Span {
    Span(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
