//! The Kubernetes target: each attempt is an object of an agent's namespace, and its pods tell how it goes.
//!
//! ```text
//! KubernetesTarget ─ inbox ─▶ session: attempts ─ requests ─▶ API server (create, delete: many in flight)
//!                                 ▲  ▲    └─ logs ──────────▶   … pods/log
//!                                 │  └───── watch of pods ────   one watch each, by the label of our installation
//!                                 └──────── watch of roots ───
//! ```
//!
//! One thread, client and session per agent, so that a cluster that does not answer holds up nobody else. A session
//! begins with full lists and ends with the first trouble that a probe confirms; between sessions the agent is down, its
//! runs keep their slots, and what is owed is delivered anew once it is up. An attempt is one object of one name:
//! making it twice is refused by the API server. Its requests: one to make it, one for its log, one to remove it.
//! Nothing is sent unless the lease of the namespace is ours: an older server that still lives, or a second agent that
//! leads to the same namespace, changes nothing.

mod attempt;
mod connect;
mod fence;
mod gate;
mod keeper;
mod line;
mod logs;
mod managed;
mod requests;
mod session;
mod trouble;
mod watches;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

pub use attempt::STOPPED;
pub use trouble::{INVALID, REFUSED};

use self::gate::Gate;
use self::keeper::keep;
use self::logs::Logs;
use self::managed::{Ask, uphold};
use self::session::Message;
use crate::domain::dispatch::observation::Seen;
use crate::domain::ids::{AgentName, AttemptName, Epoch};
use crate::domain::kubernetes::gone::LONGEST_PAUSE;
use crate::domain::kubernetes::lease::Holder;
use crate::domain::kubernetes::names::object_name;
use crate::domain::kubernetes::render::RootKind;
use crate::domain::kubernetes::verdict::deleted;
use crate::domain::spec::{KubernetesTarget as Spec, TargetSpec};
use crate::target::{Effect, ReportSink, Target};

/// Longest wait for a look at the objects that an agent declares: a person waits for the plan that needs it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// What a target is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which agent it is.
    pub agent: AgentName,
    /// What the agent declares.
    pub spec: Spec,
    /// The id of this installation: objects that bear another one are nobody's business here.
    pub instance: String,
    /// The term of this server.
    pub epoch: Epoch,
    /// Which server it is, among those that might take themselves for the only one.
    pub holder: Holder,
    /// Where logs are kept.
    pub logs: PathBuf,
    /// What it is there for.
    pub duty: Duty,
}

/// What a target is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// To run what is owed, and to keep what the agent declares.
    Work,
    /// To end what is left of an agent that has gone, its quota and limits too: now, or once its cluster is back. Nobody waits
    /// for it.
    LookOut,
}

impl Duty {
    /// Longest pause between two tries to connect.
    fn longest_pause(self) -> Duration {
        match self {
            Self::Work => Duration::from_secs(5),
            Self::LookOut => Duration::from_millis(LONGEST_PAUSE.0),
        }
    }
}

/// The operations of one namespace of a cluster. Dropping it is like closing it: what runs goes on.
pub struct KubernetesTarget {
    settings: Settings,
    gate: Arc<Gate>,
    inbox: UnboundedSender<Message>,
    managed: UnboundedSender<Ask>,
}

impl KubernetesTarget {
    /// Connects to the cluster and goes on doing so until the target is closed. Returns before that has happened: `Up`
    /// and `Down` say how it goes.
    ///
    /// Errors: a thread cannot be started.
    pub fn open(settings: Settings, sink: ReportSink) -> std::io::Result<Self> {
        // The first one wins; another target has installed the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (inbox, receive) = unbounded_channel();
        let gate = Arc::new(Gate::default());
        let (managed, asked) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (own, own_gate, own_inbox) = (settings.clone(), gate.clone(), inbox.downgrade());
        thread::Builder::new().name(format!("k8s {}", settings.agent)).spawn(move || {
            runtime.block_on(async {
                let (ours, held) = watch::channel(None);
                let keeping = keep(&own, &own_gate, &sink, &ours, own_inbox, receive);
                tokio::join!(keeping, uphold(&own, &own_gate, &sink, held, asked));
            });
        })?;
        Ok(Self { settings, gate, inbox, managed })
    }
}

impl Target for KubernetesTarget {
    fn deliver(&self, effects: Vec<Effect>) {
        // A session that has ended owes nothing.
        let _ = self.inbox.send(Message::Deliver(effects));
    }

    fn log_file(&self, attempt: AttemptName) -> Option<PathBuf> {
        Some(Logs::file(&self.settings.logs, attempt))
    }

    /// The log: what a pod prints is there while it runs, and objects of JSON among its lines are reports. Of runs with
    /// several pods each line names its pod, and is none.
    fn metrics_file(&self, attempt: AttemptName) -> Option<PathBuf> {
        self.log_file(attempt)
    }

    fn lost(&self, attempt: AttemptName) -> Seen {
        deleted(&object_name(attempt), RootKind::Job)
    }

    fn requests(&self) -> Option<u64> {
        Some(self.gate.sent())
    }

    fn heal(&self) {
        if !self.settings.spec.managed.is_empty() {
            let _ = self.managed.send(Ask::Heal);
        }
    }

    fn actual(&self) -> Option<Result<TargetSpec, String>> {
        if self.settings.spec.managed.is_empty() {
            return None;
        }
        let (answer, reply) = std::sync::mpsc::sync_channel(1);
        let _ = self.managed.send(Ask::Look(answer));
        let managed = reply.recv_timeout(LOOK_TIMEOUT).unwrap_or_else(|_| {
            Err(format!("the cluster did not say within {} s how things are there", LOOK_TIMEOUT.as_secs()))
        });
        Some(managed.map(|managed| TargetSpec::Kubernetes(Box::new(Spec { managed, ..self.settings.spec.clone() }))))
    }

    fn close(&self) {
        let _ = self.managed.send(Ask::Close);
        let _ = self.inbox.send(Message::Close);
    }
}

impl Drop for KubernetesTarget {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for KubernetesTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesTarget").field("settings", &self.settings).finish_non_exhaustive()
    }
}
