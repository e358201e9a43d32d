//! The statuses of a run, with Polyaxon's words and sets.

use serde::{Deserialize, Serialize};

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Stored; nothing else has happened, for example because it waits for approval.
    Created,
    /// Ready to be queued; waits at a gate (pipeline, group, project).
    Compiled,
    /// Stands in its queue.
    Queued,
    /// Has its slot; is being handed to its target.
    Scheduled,
    /// The target prepares it.
    Starting,
    /// Its process runs.
    Running,
    /// Trouble on the target that is not final.
    Warning,
    /// Was told to stop; holds its slot until it has.
    Stopping,
    /// Failed; waits to be tried again.
    Retrying,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Could not start because something before it failed.
    UpstreamFailed,
    /// Ended because somebody or a rule said so.
    Stopped,
    /// Never started because a rule said so.
    Skipped,
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 14] = [
        Self::Created,
        Self::Compiled,
        Self::Queued,
        Self::Scheduled,
        Self::Starting,
        Self::Running,
        Self::Warning,
        Self::Stopping,
        Self::Retrying,
        Self::Succeeded,
        Self::Failed,
        Self::UpstreamFailed,
        Self::Stopped,
        Self::Skipped,
    ];

    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::UpstreamFailed | Self::Stopped | Self::Skipped)
    }

    /// Whether the run holds a slot of its queue and agent.
    pub const fn holds_slot(self) -> bool {
        matches!(self, Self::Scheduled | Self::Starting | Self::Running | Self::Warning | Self::Stopping)
    }

    /// The word, as Polyaxon writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Compiled => "compiled",
            Self::Queued => "queued",
            Self::Scheduled => "scheduled",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Warning => "warning",
            Self::Stopping => "stopping",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::UpstreamFailed => "upstream_failed",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}
