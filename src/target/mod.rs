//! Where runs go. A target makes an agent's cluster equal to what is owed, and reports what it sees.
//!
//! Targets are level-triggered and repeatable: the same effect may be delivered any number of times, in any order with
//! others, and after every (re)connection all that is owed is delivered again. The name of an attempt is launched at
//! most once, ever, also across crashes of the server.

pub mod kubernetes;
pub mod local;

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::domain::dispatch::observation::{Observation, Seen};
use crate::domain::ids::{AgentName, AttemptName, Epoch, ProjectName};
use crate::domain::spec::{Run, TargetSpec};
use crate::domain::time::Span;

/// What is owed to the outside.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The attempt runs, or has run.
    Launch(Box<Launch>),
    /// The attempt does not run (any more).
    Stop {
        /// Which attempt.
        attempt: AttemptName,
        /// Time between asking and killing.
        grace: Span,
    },
    /// The end of the attempt is saved: the target need not report it again.
    Forget(AttemptName),
}

/// Everything a target needs to launch one attempt; nothing is left to look up.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The name towards the outside.
    pub attempt: AttemptName,
    /// The term of the server that says so.
    pub epoch: Epoch,
    /// The project of the run.
    pub project: ProjectName,
    /// The run's name, for people.
    pub run_name: String,
    /// The `run` section with all templates rendered.
    pub run: Run,
    /// Environment variables beside those of the container.
    pub env: Vec<(String, String)>,
    /// Sections beside `run` that the target looks at, rendered.
    pub sections: Map<String, Value>,
    /// Where what is prepared for the attempt is put, and where it may leave files.
    pub context: ContextPaths,
    /// How long the attempt may take; the target enforces it, also while the server is away.
    pub timeout: Option<Span>,
    /// How long what it leaves on the target stays after its end; where the target keeps nothing, it means nothing.
    pub ttl: Option<Span>,
}

/// The folders that templates know, as the attempt sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextPaths {
    /// `globals.context_path`.
    pub root: String,
    /// `globals.artifacts_path`.
    pub artifacts: String,
    /// `globals.run_outputs_path`.
    pub outputs: String,
}

/// What a target tells the server.
#[derive(Debug, Clone)]
pub enum Report {
    /// The agent can be reached (again): deliver everything that is owed.
    Up(AgentName),
    /// The agent cannot be reached; its runs keep their slots.
    Down(AgentName, String),
    /// Every attempt that the target has taken on and was not told to forget, at the moment at which it could be
    /// reached (again). Comes before anything seen since then.
    Known(AgentName, Vec<AttemptName>),
    /// What was seen, in the order in which it was seen.
    Seen(AgentName, Vec<Observation>),
    /// Nothing is left of what an agent that has gone had declared of its place.
    Cleared(AgentName),
}

/// Where reports go. The call may block for a moment when the server is busy.
pub type ReportSink = std::sync::Arc<dyn Fn(Report) + Send + Sync>;

/// Code that makes an agent's cluster do things.
pub trait Target: Send + Sync {
    /// Takes effects to carry out; returns at once.
    fn deliver(&self, effects: Vec<Effect>);

    /// The file that the log of an attempt is (or will be) written to, when it lies on this machine.
    fn log_file(&self, attempt: AttemptName) -> Option<PathBuf>;

    /// The file in which the reports of an attempt stand while it runs, as objects of JSON among its lines, when it lies on
    /// this machine.
    fn metrics_file(&self, _: AttemptName) -> Option<PathBuf> {
        None
    }

    /// What is to be said of an attempt that the target had taken on and does not know any more.
    fn lost(&self, attempt: AttemptName) -> Seen;

    /// Requests that were sent over the network so far; `None` where there is none.
    fn requests(&self) -> Option<u64> {
        None
    }

    /// Makes what the agent declares of its place as declared, also where somebody else has changed it. Returns at once.
    fn heal(&self) {}

    /// What the agent declares, as it really is; `None` when it declares nothing that is kept anywhere, an error when that
    /// could not be read. Waits for the answer, some seconds at most.
    fn actual(&self) -> Option<Result<TargetSpec, String>> {
        None
    }

    /// Stops watching and delivering; what runs goes on.
    fn close(&self);
}
