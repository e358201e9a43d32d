//! What the outside reports about one attempt. Every observation names its attempt; an old attempt's word is ignored.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::ids::AttemptName;
use crate::domain::time::Timestamp;

/// One report about one attempt. It may come late, twice, never or out of order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The attempt that it is about.
    pub attempt: AttemptName,
    /// When it happened, by the clock of whoever saw it.
    pub at: Timestamp,
    /// What was seen.
    pub seen: Seen,
}

/// What was seen of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// The target could not take it on yet, and tries again (a quota that is full, a webhook that is down): nothing of
    /// it is there, so that it stays owed.
    Delayed(Cause),
    /// The target knows the attempt and prepares it.
    Starting,
    /// Its process runs.
    Running,
    /// Trouble that is not final (an image that cannot be pulled, a pod that fits nowhere).
    Warning(Cause),
    /// It ended well.
    Succeeded {
        /// What it reported, by name.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        outputs: Map<String, Value>,
    },
    /// It ended badly, or could not be started.
    Failed {
        /// Why.
        cause: Cause,
        /// Exit code of its main process, when it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// What it reported, by name.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        outputs: Map<String, Value>,
    },
    /// It ended because it was told to stop, or it is known never to start.
    Stopped(Cause),
}

/// A reason for machines (`OOMKilled`) and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cause {
    /// One word in CamelCase.
    pub reason: String,
    /// One sentence, which says how to mend it where that is known.
    pub message: String,
}

impl Cause {
    /// A reason and a sentence.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

/// The reason of an attempt that its agent had taken on and does not know any more. It is not tried again by itself:
/// what was lost is the knowledge of it, and it may still run.
pub const LOST: &str = "Lost";

/// The reason of an attempt that took longer than its `termination.timeout`; it is not tried again (Kubernetes'
/// `activeDeadlineSeconds` takes precedence over `backoffLimit`).
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
