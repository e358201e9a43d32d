//! The loop of one agent: connects, watches, carries out what is delivered, reports what is seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use kube::Client;
use kube::runtime::watcher;
use serde_json::{Map, Value};
use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::sync::watch;

use super::Settings;
use super::attempt::{Attempt, INQUIRY, Log, STOPPED};
use super::connect::{Connection, connect, namespace_exists, within};
use super::gate::Gate;
use super::logs::{Logs, Reading};
use super::requests::{Answer, Foreground, Request};
use super::trouble::{Trouble, of_status, trouble_of};
use super::watches::{Sight, Source, Watches, open};
use crate::domain::dispatch::observation::{Cause, Observation, Seen};
use crate::domain::ids::AttemptName;
use crate::domain::kubernetes::names::{MAIN, selector};
use crate::domain::kubernetes::render::{Assignment, RootKind, UNSUPPORTED_KIND, objects};
use crate::domain::time::Timestamp;
use crate::target::{Effect, Launch, Report, ReportSink};

/// Requests that are under way at the same time: enough to hide 10 ms of latency behind some thousand requests a
/// second, and far below what the fair queueing of an API server gives one client.
const IN_FLIGHT: usize = 64;
/// Sights that are taken together before anything else gets its turn.
const BATCH: usize = 500;
/// How often is looked at what time alone changes.
const TICK: Duration = Duration::from_millis(500);
/// How often everything is listed anew, whatever the watches say.
const RELIST: Duration = Duration::from_secs(600);
/// Pauses between attempts to connect: the first and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Wait before a request is sent again: the first and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Tries of a request before its trouble is shown as a warning of its run.
const SILENT_TRIES: u32 = 2;
/// How long the removal of an ended attempt waits for its log.
const LOG_PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for the answer of a probe: a slow cluster is not one that is gone.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Failures of watches in a row after which a session begins anew although the cluster answers.
const MAX_FAILURES: u32 = 10;
/// Inquiries of one tick.
const MAX_INQUIRIES: usize = 8;
/// The reason of an attempt that was stopped before it had objects.
const NEVER_STARTED: &str = "NeverStarted";

/// What a session is told.
#[derive(Debug)]
pub enum Message {
    /// Effects to carry out.
    Deliver(Vec<Effect>),
    /// A log was read to its end.
    LogKept(AttemptName, String),
    /// End.
    Close,
}

/// Why a session ended.
enum End {
    /// It was told to.
    Closed,
    /// It is time to list everything anew.
    Relist,
    /// The agent cannot work.
    Trouble(String),
}

/// Keeps a session until the target is closed.
pub async fn run(
    settings: &Settings,
    gate: &Arc<Gate>,
    sink: &ReportSink,
    inbox: WeakUnboundedSender<Message>,
    mut receive: UnboundedReceiver<Message>,
) {
    let mut pause = PAUSE.0;
    let mut last_words = None;
    // What cannot be seen from a list is looked at before the next session when it ended the one before.
    let mut suspicious = false;
    loop {
        let connecting = async {
            let connection = connect(&settings.spec, gate).await?;
            if suspicious {
                namespace_exists(&connection.client, &connection.namespace).await?;
            }
            Ok::<Connection, String>(connection)
        };
        let end = match or_closed(connecting, &mut receive).await {
            None => return,
            Some(Ok(connection)) => {
                let mut session = Session::new(settings, gate, sink, inbox.clone(), connection);
                let end = session.run(&mut receive).await;
                if session.ready {
                    (pause, last_words) = (PAUSE.0, None);
                }
                end
            }
            Some(Err(why)) => End::Trouble(why),
        };
        match end {
            End::Closed => return,
            End::Relist => continue,
            End::Trouble(why) => {
                suspicious = true;
                // Said once, not at every try.
                if last_words.as_ref() != Some(&why) {
                    sink(Report::Down(settings.agent.clone(), why.clone()));
                    last_words = Some(why);
                }
            }
        }
        if or_closed(tokio::time::sleep(pause), &mut receive).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// What a future gives, unless the target is closed before. Effects that come meanwhile are dropped: what is owed is
/// delivered again once the agent is up.
async fn or_closed<T>(future: impl Future<Output = T>, receive: &mut UnboundedReceiver<Message>) -> Option<T> {
    futures::pin_mut!(future);
    loop {
        tokio::select! {
            value = &mut future => return Some(value),
            message = receive.recv() => if let None | Some(Message::Close) = message { return None },
        }
    }
}

type Probe = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Flight = Pin<Box<dyn Future<Output = (Request, u32, Result<Answer, Trouble>)> + Send>>;

struct Session<'a> {
    settings: &'a Settings,
    gate: &'a Arc<Gate>,
    sink: &'a ReportSink,
    inbox: WeakUnboundedSender<Message>,
    client: Client,
    namespace: String,
    kinds: Vec<RootKind>,
    attempts: BTreeMap<AttemptName, Attempt>,
    /// Requests to be sent, with the number of earlier tries.
    queue: VecDeque<(Request, u32)>,
    /// Requests to be sent again.
    delayed: Vec<(Instant, Request, u32)>,
    flying: FuturesUnordered<Flight>,
    logs: Logs,
    /// Tells readers of logs that their pods have ended, by the uid of the pod.
    over: BTreeMap<String, watch::Sender<bool>>,
    /// Lists that are not complete yet: when they began, and what they have shown so far.
    lists: BTreeMap<Source, (Instant, BTreeSet<String>)>,
    out: Vec<Observation>,
    /// Whether all first lists are complete.
    ready: bool,
    failures: u32,
    probe: Option<Probe>,
    end: Option<End>,
}

impl<'a> Session<'a> {
    fn new(
        settings: &'a Settings,
        gate: &'a Arc<Gate>,
        sink: &'a ReportSink,
        inbox: WeakUnboundedSender<Message>,
        connection: Connection,
    ) -> Self {
        let Connection { client, namespace, kinds } = connection;
        let logs = Logs::new(settings.logs.clone(), client.clone(), &namespace);
        let begun = Instant::now();
        let sources = kinds.iter().map(|kind| Source::Roots(*kind)).chain([Source::Pods]);
        let lists = sources.map(|source| (source, (begun, BTreeSet::new()))).collect();
        Self {
            settings,
            gate,
            sink,
            inbox,
            client,
            namespace,
            kinds,
            attempts: BTreeMap::new(),
            queue: VecDeque::new(),
            delayed: Vec::new(),
            flying: FuturesUnordered::new(),
            logs,
            over: BTreeMap::new(),
            lists,
            out: Vec::new(),
            ready: false,
            failures: 0,
            probe: None,
            end: None,
        }
    }

    async fn run(&mut self, receive: &mut UnboundedReceiver<Message>) -> End {
        let selector = selector(&self.settings.instance);
        let mut watches: Watches = open(&self.client, &self.namespace, &selector, &self.kinds);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let begun = Instant::now();
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                Some(seen) = watches.next() => {
                    self.see(seen);
                    for _ in 0..BATCH {
                        let Some(Some(seen)) = watches.next().now_or_never() else { break };
                        self.see(seen);
                    }
                }
                Some((request, tries, answer)) = self.flying.next(), if !self.flying.is_empty() => {
                    self.answered(request, tries, answer);
                }
                message = receive.recv() => match message {
                    None | Some(Message::Close) => return End::Closed,
                    Some(Message::LogKept(attempt, pod)) => self.log_kept(attempt, &pod),
                    Some(Message::Deliver(effects)) => waiting.extend(effects),
                },
                _ = tick.tick() => self.tick(),
                answer = answer_of(&mut self.probe) => {
                    self.probe = None;
                    if let Err(why) = answer {
                        self.end = Some(End::Trouble(why));
                    }
                }
            }
            // What is owed is carried out only with full sight of what is there.
            if self.ready {
                waiting.drain(..).for_each(|effect| self.carry_out(effect));
            }
            self.send();
            self.flush();
            if let Some(end) = self.end.take() {
                return end;
            }
            if self.ready
                && begun.elapsed() >= RELIST
                && self.flying.is_empty()
                && self.queue.is_empty()
                && waiting.is_empty()
            {
                return End::Relist;
            }
        }
    }

    // ---- what is seen ----

    fn see(&mut self, (source, listed, sight): (Source, bool, Sight)) {
        if !matches!(sight, Sight::Trouble(_)) {
            self.failures = 0;
        }
        if let (true, Some((_, shown))) = (listed, self.lists.get_mut(&source)) {
            match &sight {
                Sight::Root(_, root, _) => drop(shown.insert(root.uid.clone())),
                Sight::Pod(_, uid, _) => drop(shown.insert(uid.clone())),
                _ => {}
            }
        }
        match sight {
            Sight::Begins => drop(self.lists.insert(source, (Instant::now(), BTreeSet::new()))),
            Sight::Complete => self.listed(source),
            Sight::Root(name, root, ttl) => {
                let attempt = self.attempt(name, root.kind);
                attempt.kind = root.kind;
                attempt.ttl = ttl;
                attempt.watched = true;
                attempt.gone = false;
                attempt.root = Some(root);
                self.look_at(name);
            }
            Sight::RootGone(name, uid) => self.root_gone(name, &uid),
            Sight::Pod(name, uid, pod) => {
                self.attempt(name, RootKind::Job).pods.insert(uid, *pod);
                self.look_at(name);
            }
            Sight::PodGone(name, uid) => self.pod_gone(name, &uid),
            Sight::Trouble(error) => self.watch_failed(&error),
            Sight::Stranger => {}
        }
    }

    fn attempt(&mut self, name: AttemptName, kind: RootKind) -> &mut Attempt {
        self.attempts.entry(name).or_insert_with(|| Attempt::new(kind, Instant::now()))
    }

    /// A list is complete: what it does not show is not there.
    fn listed(&mut self, source: Source) {
        let Some((begun, shown)) = self.lists.remove(&source) else { return };
        let mut gone = Vec::new();
        for (name, attempt) in &self.attempts {
            match source {
                Source::Roots(kind) => {
                    let root = attempt
                        .root
                        .as_ref()
                        .filter(|root| attempt.kind == kind && !attempt.gone && !shown.contains(&root.uid));
                    // What was made after the list began need not be in it.
                    gone.extend(
                        root.filter(|_| attempt.watched || attempt.since < begun).map(|root| (*name, root.uid.clone())),
                    );
                }
                Source::Pods => {
                    gone.extend(attempt.pods.keys().filter(|uid| !shown.contains(*uid)).map(|uid| (*name, uid.clone())))
                }
            }
        }
        for (name, uid) in gone {
            match source {
                Source::Roots(_) => self.root_gone(name, &uid),
                Source::Pods => self.pod_gone(name, &uid),
            }
        }
        if !self.ready && self.lists.is_empty() {
            self.ready = true;
            let agent = self.settings.agent.clone();
            (self.sink)(Report::Up(agent.clone()));
            (self.sink)(Report::Known(agent, self.attempts.keys().copied().collect()));
            let names: Vec<AttemptName> = self.attempts.keys().copied().collect();
            for name in names {
                // A pod whose root is not there any more: nobody else ends it.
                self.attempts.entry(name).and_modify(|attempt| attempt.gone |= attempt.root.is_none());
                self.end_orphans(name);
                self.look_at(name);
            }
        }
    }

    fn root_gone(&mut self, name: AttemptName, uid: &str) {
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        if attempt.root.as_ref().is_some_and(|root| root.uid != uid) {
            return;
        }
        attempt.gone = true;
        if attempt.forgotten.is_some() && !attempt.has_live_pods() {
            self.drop_attempt(name);
            return;
        }
        self.end_orphans(name);
        self.look_at(name);
    }

    /// Ends pods that have lost their root and were not told to go.
    fn end_orphans(&mut self, name: AttemptName) {
        let Some(attempt) = self.attempts.get(&name).filter(|attempt| attempt.gone) else { return };
        let orphans = attempt.pods.values().filter(|pod| !pod.deleting && !pod.is_over());
        self.queue.extend(orphans.map(|pod| (Request::RemovePod(name, pod.name.clone()), 0)));
    }

    fn pod_gone(&mut self, name: AttemptName, uid: &str) {
        self.over.remove(uid).map(|over| over.send(true));
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        let Some(pod) = attempt.pods.get_mut(uid) else { return };
        if !pod.is_over() {
            pod.deleting = true;
            pod.status.phase = "Failed".to_owned();
        }
        if attempt.forgotten.is_some() && attempt.gone && !attempt.has_live_pods() {
            self.drop_attempt(name);
            return;
        }
        self.look_at(name);
    }

    fn drop_attempt(&mut self, name: AttemptName) {
        if let Some(attempt) = self.attempts.remove(&name) {
            attempt.pods.keys().for_each(|uid| drop(self.over.remove(uid)));
        }
    }

    fn watch_failed(&mut self, error: &watcher::Error) {
        self.failures += 1;
        let trouble = match error {
            // The watch begins anew with a list by itself.
            watcher::Error::WatchError(status) if status.code == 410 => return,
            watcher::Error::WatchError(status) => of_status(status),
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => trouble_of(error),
            watcher::Error::NoResourceVersion => Trouble::Agent(error.to_string()),
        };
        match trouble {
            Trouble::Agent(why) => self.end = Some(End::Trouble(why)),
            trouble if self.failures >= MAX_FAILURES => {
                self.end = Some(End::Trouble(format!("its watches fail again and again: {}", trouble.message())))
            }
            _ => self.look_whether_it_answers(),
        }
    }

    fn look_whether_it_answers(&mut self) {
        if self.probe.is_none() {
            self.probe = Some(Box::pin(probe(self.client.clone())));
        }
    }

    /// Looks at an attempt after something changed: reports, reads logs, removes.
    fn look_at(&mut self, name: AttemptName) {
        if !self.ready {
            return;
        }
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        if let Some(seen) = attempt.news(name, Instant::now()) {
            self.out.push(Observation { attempt: name, at: wall_clock(), seen });
        }
        self.read_logs(name);
        self.clean_up(name);
    }

    fn read_logs(&mut self, name: AttemptName) {
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        let alone = attempt.kind == RootKind::Job;
        for (uid, pod) in &attempt.pods {
            let ended = pod.is_over() || pod.main_has_ended();
            let log = attempt.logs.entry(uid.clone()).or_default();
            if *log == Log::Unread && pod.has_log() {
                *log = Log::Reading;
                let (send, over) = watch::channel(ended);
                self.over.insert(uid.clone(), send);
                let container = pod.main_container().unwrap_or(MAIN).to_owned();
                let prefix = (!alone).then(|| format!("[{}] ", pod.name));
                let reading = Reading { attempt: name, pod: pod.name.clone(), container, prefix, over };
                let (logs, inbox, uid) = (self.logs.clone(), self.inbox.clone(), uid.clone());
                tokio::spawn(async move {
                    logs.read(reading).await;
                    if let Some(inbox) = inbox.upgrade() {
                        let _ = inbox.send(Message::LogKept(name, uid));
                    }
                });
            } else if *log == Log::Reading
                && ended
                && let Some(over) = self.over.get(uid)
            {
                over.send_if_modified(|over| !std::mem::replace(over, true));
            }
        }
    }

    fn log_kept(&mut self, name: AttemptName, pod: &str) {
        self.over.remove(pod);
        if let Some(attempt) = self.attempts.get_mut(&name) {
            attempt.logs.insert(pod.to_owned(), Log::Kept);
            self.clean_up(name);
        }
    }

    /// Removes the objects of an attempt whose end is saved, once its log is.
    fn clean_up(&mut self, name: AttemptName) {
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        let Some(since) = attempt.forgotten.filter(|_| !attempt.removing) else { return };
        if attempt.creating || (!attempt.logs_kept() && since.elapsed() < LOG_PATIENCE) {
            return;
        }
        if !attempt.is_there() {
            self.drop_attempt(name);
            return;
        }
        attempt.removing = true;
        let ttl = attempt.ttl.filter(|ttl| ttl.0 > 0 && attempt.kind == RootKind::Job && !attempt.stopping);
        let request = match ttl {
            Some(ttl) => Request::Expire(name, ttl),
            None => Request::Remove(name, attempt.kind, Foreground::No),
        };
        self.queue.push_back((request, 0));
    }

    // ---- what is owed ----

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Launch(launch) => self.launch(&launch),
            Effect::Stop { attempt, .. } => self.stop(attempt),
            Effect::Forget(attempt) => {
                if let Some(known) = self.attempts.get_mut(&attempt) {
                    known.forgotten.get_or_insert(Instant::now());
                    known.ended = true;
                    self.clean_up(attempt);
                }
            }
        }
    }

    fn launch(&mut self, launch: &Launch) {
        let name = launch.attempt;
        // It was delivered before; what is known of it was or will be reported.
        if self.attempts.contains_key(&name) {
            return;
        }
        let run = serde_json::to_value(&launch.run).unwrap_or(Value::Null);
        let assignment = Assignment {
            attempt: name,
            epoch: launch.epoch,
            instance: &self.settings.instance,
            project: &launch.project,
            run_name: &launch.run_name,
            namespace: &self.namespace,
            service_account: self.settings.spec.service_account.as_deref(),
            run: &run,
            env: &launch.env,
            timeout: launch.timeout,
            ttl: launch.ttl,
        };
        let objects = objects(&assignment).and_then(|objects| match objects.kind.operator() {
            Some(operator) if !self.kinds.contains(&objects.kind) => {
                let (group, version, kind, _) = objects.kind.api();
                let message = format!("the cluster does not know {kind} ({group}/{version}): install {operator} there");
                Err(Cause::new(UNSUPPORTED_KIND, message))
            }
            _ => Ok(objects),
        });
        match objects {
            Ok(objects) => {
                let attempt = self.attempt(name, objects.kind);
                attempt.creating = true;
                attempt.ttl = launch.ttl;
                self.queue.push_back((Request::Create(name, Arc::new(objects)), 0));
            }
            Err(cause) => self.failed(name, cause),
        }
    }

    fn failed(&mut self, name: AttemptName, cause: Cause) {
        let seen = Seen::Failed { cause, exit_code: None, outputs: Map::new() };
        let seen = self.attempt(name, RootKind::Job).say(seen);
        self.out.extend(seen.map(|seen| Observation { attempt: name, at: wall_clock(), seen }));
    }

    fn stop(&mut self, name: AttemptName) {
        let waits = |request: &Request| matches!(request, Request::Create(waiting, _) if *waiting == name);
        let before = self.queue.len() + self.delayed.len();
        self.queue.retain(|(request, _)| !waits(request));
        self.delayed.retain(|(_, request, _)| !waits(request));
        let unsent = self.queue.len() + self.delayed.len() < before;
        let attempt = self.attempt(name, RootKind::Job);
        if unsent {
            attempt.creating = false;
        }
        attempt.stopping = true;
        if attempt.creating || attempt.ended {
            return;
        }
        if !attempt.is_there() {
            let cause = if attempt.gone {
                Cause::new(STOPPED, "its objects in the cluster were deleted and its pods have ended")
            } else {
                Cause::new(NEVER_STARTED, "stopped before it was put into the cluster")
            };
            let seen = attempt.say(Seen::Stopped(cause));
            self.out.extend(seen.map(|seen| Observation { attempt: name, at: wall_clock(), seen }));
            return;
        }
        let deleting = attempt.gone || attempt.root.as_ref().is_some_and(|root| root.deleting);
        if !deleting && !attempt.removing {
            attempt.removing = true;
            let kind = attempt.kind;
            self.queue.push_back((Request::Remove(name, kind, Foreground::Yes), 0));
        }
    }

    fn send(&mut self) {
        if !self.ready || self.gate.closed_until().is_some() {
            return;
        }
        while self.flying.len() < IN_FLIGHT {
            let Some((request, tries)) = self.queue.pop_front() else { return };
            let (client, namespace) = (self.client.clone(), self.namespace.clone());
            self.flying.push(Box::pin(async move {
                let answer = request.send(&client, &namespace).await;
                (request, tries, answer)
            }));
        }
    }

    fn answered(&mut self, request: Request, tries: u32, answer: Result<Answer, Trouble>) {
        let name = request.attempt();
        match answer {
            Ok(answer) => self.done(&request, answer),
            Err(Trouble::Agent(why)) => self.end = Some(End::Trouble(why)),
            Err(Trouble::Later(cause)) => {
                if tries >= SILENT_TRIES && matches!(request, Request::Create(..)) {
                    let seen = self.attempt(name, RootKind::Job).say(Seen::Warning(cause));
                    self.out.extend(seen.map(|seen| Observation { attempt: name, at: wall_clock(), seen }));
                }
                self.again(request, tries);
            }
            Err(Trouble::Unreachable(why)) => {
                tracing::debug!(agent = %self.settings.agent, attempt = %name, why, "a request was not answered");
                self.look_whether_it_answers();
                self.again(request, tries);
            }
            Err(trouble) => match &request {
                Request::Create(..) => {
                    self.attempt(name, RootKind::Job).creating = false;
                    let cause = match trouble {
                        Trouble::Refused(cause) => cause,
                        other => Cause::new(
                            UNSUPPORTED_KIND,
                            format!("the cluster does not take its object: {}", other.message()),
                        ),
                    };
                    self.failed(name, cause);
                }
                // Somebody forbids what was allowed at the beginning of the session.
                Request::Remove(..) | Request::Expire(..) | Request::RemovePod(..) => {
                    tracing::warn!(agent = %self.settings.agent, attempt = %name, why = trouble.message(), "an object cannot be removed");
                    self.again(request, tries);
                }
                Request::Inquire(..) => {}
            },
        }
    }

    /// Sends a request again, later and later.
    fn again(&mut self, request: Request, tries: u32) {
        if matches!(request, Request::Inquire(..)) {
            return;
        }
        let wait = AGAIN.0.saturating_mul(1 << tries.min(10)).min(AGAIN.1);
        self.delayed.push((Instant::now() + wait, request, tries + 1));
    }

    fn done(&mut self, request: &Request, answer: Answer) {
        let name = request.attempt();
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        match (request, answer) {
            (Request::Create(_, objects), Answer::Made(uid)) => {
                attempt.creating = false;
                attempt.made(objects.kind, uid);
                if attempt.stopping && !attempt.removing {
                    attempt.removing = true;
                    let kind = attempt.kind;
                    self.queue.push_back((Request::Remove(name, kind, Foreground::Yes), 0));
                }
            }
            (Request::Remove(..) | Request::Expire(..), Answer::Absent) => {
                attempt.gone = true;
                if attempt.forgotten.is_some() && !attempt.has_live_pods() {
                    self.drop_attempt(name);
                    return;
                }
                self.end_orphans(name);
            }
            (Request::Inquire(..), Answer::Found(cause)) => attempt.found = cause,
            _ => {}
        }
        self.look_at(name);
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.delayed.drain(..).partition(|(at, ..)| *at <= now);
        self.delayed = later;
        self.queue.extend(due.into_iter().map(|(_, request, tries)| (request, tries)));
        if !self.ready {
            return;
        }
        let looks = |attempt: &Attempt| attempt.wakes() || attempt.forgotten.is_some();
        let names: Vec<AttemptName> =
            self.attempts.iter().filter(|(_, attempt)| looks(attempt)).map(|(name, _)| *name).collect();
        names.into_iter().for_each(|name| self.look_at(name));
        let asking = self.attempts.iter_mut().filter(|(_, attempt)| attempt.inquires(now)).take(MAX_INQUIRIES);
        for (name, attempt) in asking {
            attempt.inquiry = now + INQUIRY * 4;
            let pods = attempt.pods.iter().filter(|(_, pod)| !pod.is_over()).map(|(uid, _)| uid.clone());
            let uids = pods.chain(attempt.root.as_ref().map(|root| root.uid.clone())).collect();
            self.queue.push_back((Request::Inquire(*name, uids), 0));
        }
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            (self.sink)(Report::Seen(self.settings.agent.clone(), std::mem::take(&mut self.out)));
        }
    }
}

/// The answer of a probe; never, when there is none.
async fn answer_of(probe: &mut Option<Probe>) -> Result<(), String> {
    match probe {
        Some(probe) => probe.await,
        None => pending().await,
    }
}

/// Whether the cluster answers at all.
async fn probe(client: Client) -> Result<(), String> {
    // What was only a hiccup is over by then.
    tokio::time::sleep(Duration::from_millis(200)).await;
    match tokio::time::timeout(PROBE_TIMEOUT, within(client.apiserver_version())).await {
        Ok(Ok(_) | Err(Trouble::Later(_))) => Ok(()),
        Ok(Err(trouble)) => Err(format!("the cluster does not answer: {}", trouble.message())),
        Err(_) => Err(format!("the cluster does not answer within {} s", PROBE_TIMEOUT.as_secs())),
    }
}

/// Now, by the clock of this machine.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
