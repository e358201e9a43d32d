//! The local target: operations as processes of this machine, under a supervisor that outlives the server.
//!
//! ```text
//! server                                          supervisor (one per agent, `tidegate supervise --dir DIR`)
//! LocalTarget ─ task: Launch → Task ─ link ═ socket ═ supervisor ─ roster ─ journal      operations,
//!                                                                   └ process ───────────▶ each a process group
//! ```
//!
//! What it promises: an attempt is started at most once, ever; its end is reported until it is forgotten, whatever
//! dies in between; a slot is free only when nothing of the attempt runs in its process group. A process that leaves
//! its group on purpose (`setsid`) leaves our care.
//!
//! Under systemd the server's unit needs `KillMode=process`, or stopping it ends the operations as well.

mod adopt;
mod journal;
mod layout;
mod link;
mod litter;
mod logs;
mod prelude;
mod process;
mod protocol;
mod roster;
mod supervisor;
mod task;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

pub use logs::{LogChunk, MAX_LOG_BYTES, read_log};
pub use process::{
    BAD_OUTPUTS, CANNOT_START, EXIT_CODE, MAX_OUTPUTS_BYTES, NEVER_STARTED, SIGNAL, STOPPED, SUPERVISOR_LOST,
};
pub use roster::TIMEOUT_GRACE;
pub use supervisor::supervise;
pub use task::{NO_COMMAND, UNSUPPORTED_FIELD, UNSUPPORTED_KIND};

use self::layout::Layout;
use self::link::Link;
use self::protocol::Order;
use crate::domain::dispatch::observation::{Cause, LOST, Seen};
use crate::domain::ids::{AgentName, AttemptName};
use crate::domain::time::Timestamp;
use crate::target::{Effect, ReportSink, Target};

/// What goes wrong with a local agent as a whole; trouble of one attempt is an observation.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The agent's directory cannot be used.
    #[error("the directory {path} of a local agent cannot be made or entered")]
    Directory {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread of the server cannot be started.
    #[error("the thread for the local agent {agent} cannot be started")]
    Thread {
        /// Which agent.
        agent: AgentName,
        /// Why.
        source: io::Error,
    },
    /// The supervisor cannot do its work.
    #[error("the supervisor cannot {what}")]
    Supervisor {
        /// What it cannot do.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// The operations of one local agent. Dropping it is like closing it: what runs goes on.
pub struct LocalTarget {
    agent: AgentName,
    layout: Layout,
    link: Arc<Link>,
}

impl LocalTarget {
    /// Connects to the supervisor of the agent in a directory, or starts one from a program (that of `tidegate`), and
    /// goes on doing so until the target is closed. Returns before that has happened: `Up` and `Down` say how it goes.
    ///
    /// Errors: the directory cannot be made, a thread cannot be started.
    pub fn open(agent: AgentName, dir: PathBuf, program: PathBuf, sink: ReportSink) -> Result<Self, LocalError> {
        let layout = Layout::create(&dir).map_err(|source| LocalError::Directory { path: dir, source })?;
        let link = Arc::new(Link::new(agent.clone(), layout.clone(), program, sink));
        let running = Arc::clone(&link);
        thread::Builder::new()
            .name(format!("local {agent}"))
            .spawn(move || running.run())
            .map_err(|source| LocalError::Thread { agent: agent.clone(), source })?;
        Ok(Self { agent, layout, link })
    }

    /// Where what is prepared for an attempt is put (`globals.context_path`), by the directory of the agent.
    pub fn context(dir: &Path, attempt: AttemptName) -> PathBuf {
        Layout::context(dir, attempt)
    }

    /// The working directory of an attempt, by the directory of the agent.
    pub fn worked_in(dir: &Path, attempt: AttemptName) -> PathBuf {
        Layout::run_in(dir, attempt)
    }

    /// Removes log, outputs and working directory of an attempt that has ended. What is not there is no error.
    pub fn remove_files(&self, attempt: AttemptName) -> io::Result<()> {
        self.layout.remove(attempt)
    }
}

impl Target for LocalTarget {
    fn deliver(&self, effects: Vec<Effect>) {
        let orders: Vec<Order> = effects.into_iter().map(order_of).collect();
        self.link.send(&orders);
    }

    fn log_file(&self, attempt: AttemptName) -> Option<PathBuf> {
        Some(self.layout.log(attempt))
    }

    fn metrics_file(&self, attempt: AttemptName) -> Option<PathBuf> {
        Some(Layout::metrics_in(self.layout.root(), attempt))
    }

    fn lost(&self, attempt: AttemptName) -> Seen {
        let message = format!(
            "agent {} had taken it on and does not know it any more (its directory was removed or replaced); \
             it may still run, so it is not tried again by itself: restart it when you know that it does not",
            self.agent
        );
        tracing::error!(agent = %self.agent, %attempt, "the agent does not know an attempt that it had taken on");
        Seen::Failed { cause: Cause::new(LOST, message), exit_code: None, outputs: serde_json::Map::new() }
    }

    fn close(&self) {
        self.link.close();
    }
}

impl Drop for LocalTarget {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl fmt::Debug for LocalTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTarget").field("layout", &self.layout).finish_non_exhaustive()
    }
}

fn order_of(effect: Effect) -> Order {
    match effect {
        Effect::Launch(launch) => match task::task_of(&launch) {
            Ok(task) => Order::Launch { attempt: launch.attempt, epoch: launch.epoch, task },
            Err(cause) => Order::Refuse { attempt: launch.attempt, cause },
        },
        Effect::Stop { attempt, grace } => Order::Stop { attempt, grace },
        Effect::Forget(attempt) => Order::Forget(attempt),
    }
}

/// Now, by the clock of this machine.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A line in the supervisor's log. A log that cannot be written must not stop the supervisor, as `eprintln!` would.
fn note(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{} {what}", now());
}
