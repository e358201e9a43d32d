//! A session with the cluster of one agent: watches, carries out what is delivered, reports what is seen.
//!
//! | file | what |
//! |---|---|
//! | `seeing` | what the watches show of each attempt |
//! | `owing` | what is delivered becomes requests |
//! | `answers` | what comes of requests |
//! | `ending` | logs are read to their end, then the objects of what is over go |
//! | `health` | whether a trouble is that of the whole agent |

mod answers;
mod ending;
mod health;
mod owing;
mod seeing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::stream::StreamExt;
use kube::Client;
use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::sync::watch;

use self::health::{Probe, answer_of};
use super::Settings;
use super::attempt::Attempt;
use super::connect::Connection;
use super::fence::Fence;
use super::gate::Gate;
use super::line::Line;
use super::logs::Logs;
use super::requests::Request;
use super::watches::{Source, Watches, open};
use crate::domain::dispatch::observation::Observation;
use crate::domain::ids::AttemptName;
use crate::domain::kubernetes::names::selector;
use crate::domain::kubernetes::pace::{Paces, Stage};
use crate::domain::kubernetes::render::RootKind;
use crate::domain::time::Timestamp;
use crate::target::{Effect, Report, ReportSink};

/// Sights that are taken together before anything else gets its turn.
const BATCH: usize = 500;
/// How often is looked at what time alone changes.
const TICK: Duration = Duration::from_millis(500);
/// How often everything is listed anew, whatever the watches say.
const RELIST: Duration = Duration::from_secs(600);
/// Inquiries of one tick: a cluster that begins to be slow is not asked about all that waits at once.
const MAX_INQUIRIES: usize = 1;

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
pub enum End {
    /// It was told to.
    Closed,
    /// It is time to list everything anew.
    Relist,
    /// The agent cannot work.
    Trouble(String),
}

/// What may be done to the namespace.
#[derive(Clone)]
pub struct Hold {
    /// While it holds, requests are sent.
    pub fence: Arc<Fence>,
    /// Before that nothing is removed, so that what another server still sends finds its name taken.
    pub removes_from: Instant,
}

impl Hold {
    /// Whether no other server can still make what would be removed or overwritten.
    pub fn may_remove(&self) -> bool {
        Instant::now() >= self.removes_from
    }
}

/// One session, from the lists with which it begins to its end.
pub struct Session<'a> {
    settings: &'a Settings,
    sink: &'a ReportSink,
    inbox: WeakUnboundedSender<Message>,
    client: Client,
    namespace: String,
    kinds: Vec<RootKind>,
    attempts: BTreeMap<AttemptName, Attempt>,
    /// How long pods take to come and to start here.
    paces: Paces,
    line: Line,
    hold: Hold,
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
    /// A session that has not begun.
    pub fn new(
        settings: &'a Settings,
        gate: &Arc<Gate>,
        sink: &'a ReportSink,
        inbox: WeakUnboundedSender<Message>,
        connection: Connection,
        hold: Hold,
    ) -> Self {
        let Connection { client, namespace, kinds } = connection;
        let logs = Logs::new(settings.logs.clone(), client.clone(), &namespace);
        let begun = Instant::now();
        let sources = kinds.iter().map(|kind| Source::Roots(*kind)).chain([Source::Pods]);
        let lists = sources.map(|source| (source, (begun, BTreeSet::new()))).collect();
        let line = Line::new(gate.clone(), hold.fence.clone(), client.clone(), namespace.clone());
        Self {
            settings,
            sink,
            inbox,
            client,
            namespace,
            kinds,
            attempts: BTreeMap::new(),
            paces: Paces::default(),
            line,
            hold,
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

    /// Whether all was seen once, so that the agent was up.
    pub fn was_ready(&self) -> bool {
        self.ready
    }

    /// Goes on until it is told to end, or has to begin anew.
    pub async fn run(&mut self, receive: &mut UnboundedReceiver<Message>) -> End {
        let selector = selector(&self.settings.instance);
        let mut watches: Watches = open(&self.client, &self.namespace, &selector, &self.kinds);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let begun = Instant::now();
        let mut waiting = Vec::new();
        let keeping = self.hold.fence.clone().keep();
        futures::pin_mut!(keeping);
        loop {
            tokio::select! {
                Some(seen) = watches.next() => {
                    self.see(seen);
                    for _ in 0..BATCH {
                        let Some(Some(seen)) = watches.next().now_or_never() else { break };
                        self.see(seen);
                    }
                }
                Some((asked, answer)) = self.line.next() => self.answered(asked, answer),
                message = receive.recv() => match message {
                    None | Some(Message::Close) => return End::Closed,
                    Some(Message::LogKept(attempt, pod)) => self.log_kept(attempt, &pod),
                    Some(Message::Deliver(effects)) => waiting.extend(effects),
                },
                _ = tick.tick() => self.tick(),
                why = &mut keeping => return End::Trouble(why),
                answer = answer_of(&mut self.probe) => {
                    self.probe = None;
                    if let Err(why) = answer {
                        self.end = Some(End::Trouble(why));
                    }
                }
            }
            // What is owed is carried out only with full sight of what is there.
            if self.ready {
                let may_remove = self.hold.may_remove();
                let (now, later) =
                    waiting.drain(..).partition(|effect: &Effect| may_remove || !matches!(effect, Effect::Stop { .. }));
                waiting = later;
                Vec::into_iter(now).for_each(|effect| self.carry_out(effect));
            }
            if self.ready {
                self.line.send();
            }
            self.flush();
            if let Some(end) = self.end.take() {
                return end;
            }
            if self.ready && begun.elapsed() >= RELIST && self.line.is_idle() && waiting.is_empty() {
                return End::Relist;
            }
        }
    }

    fn attempt(&mut self, name: AttemptName, kind: RootKind) -> &mut Attempt {
        self.attempts.entry(name).or_insert_with(|| Attempt::new(kind, Instant::now()))
    }

    /// Looks at an attempt after something changed: reports, reads logs, removes.
    fn look_at(&mut self, name: AttemptName) {
        if !self.ready {
            return;
        }
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        let now = Instant::now();
        if let Some(seen) = attempt.news(name, now) {
            if let Some(took) = attempt.was_said(&seen, now) {
                self.paces.took(Stage::Start, took);
            }
            self.out.push(Observation { attempt: name, at: wall_clock(), seen });
        }
        self.read_logs(name);
        self.clean_up(name);
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.line.wake(now);
        if !self.ready {
            return;
        }
        let looks = |attempt: &Attempt| attempt.wakes() || attempt.forgotten.is_some();
        let names: Vec<AttemptName> =
            self.attempts.iter().filter(|(_, attempt)| looks(attempt)).map(|(name, _)| *name).collect();
        names.into_iter().for_each(|name| self.look_at(name));
        let late = self.attempts.iter_mut().filter(|(_, attempt)| attempt.inquires(&self.paces, now));
        for (name, attempt) in late.take(MAX_INQUIRIES) {
            self.line.push(Request::Inquire(*name, attempt.inquire(now)));
        }
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            (self.sink)(Report::Seen(self.settings.agent.clone(), std::mem::take(&mut self.out)));
        }
    }
}

/// Now, by the clock of this machine.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
