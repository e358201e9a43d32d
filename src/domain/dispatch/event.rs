//! What has happened: the stored types. They are owned here and are never used for the API.
//!
//! An event says what was *decided*, so that replay is a fold of [`super::State::apply`]. A stored event is JSON with a
//! version; [`decode`] brings old ones up to today's form. Change nothing here without a step there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cached::CacheAsk;
use super::observation::Cause;
use super::status::Status;
use crate::domain::catalog::{AgentPolicy, ProjectPolicy, QueuePolicy, SupersedePolicy};
use crate::domain::ids::{AgentName, Attempt, CommitId, Digest, Name, ProjectName, QueueName, RunId, WorkflowName};
use crate::domain::quantity::Resources;
use crate::domain::spec::{Limit, Sharing};
use crate::domain::time::{Span, Timestamp};
use crate::domain::windows::Opening;

/// The version that [`Event`] is written with.
pub const EVENT_VERSION: u32 = 5;

/// One thing that was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A commit became what is applied.
    RevisionApplied(Box<RevisionApplied>),
    /// Somebody changed a queue through the API; the next applied commit heals it.
    QueueChanged {
        /// Which queue.
        queue: QueueName,
        /// What it is now.
        policy: QueuePolicy,
        /// Who did it.
        by: String,
    },
    /// A queue with windows opened or closed.
    QueueTurned {
        /// Which queue.
        queue: QueueName,
        /// What it is from now on, and until when.
        opening: Opening,
    },
    /// A removed queue has finished what it had.
    QueueGone {
        /// Which queue.
        queue: QueueName,
    },
    /// A removed agent has finished what it had.
    AgentGone {
        /// Which agent.
        agent: AgentName,
    },
    /// A run was asked for.
    RunCreated(Box<NewRun>),
    /// Somebody approved a run.
    RunApproved {
        /// Which run.
        run: RunId,
        /// Who did it.
        by: String,
    },
    /// What a run is made of is settled: its values are taken, its condition is true, its event has come.
    RunPrepared {
        /// Which run.
        run: RunId,
        /// Its operation with its values, by the digest of the stored body.
        spec: Digest,
        /// Whether somebody must approve it now.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        needs_approval: bool,
    },
    /// The image of a run is built first, by a run that is created in the same transaction.
    RunBuilding {
        /// Which run.
        run: RunId,
        /// Its operation with its values, by the digest of the stored body.
        spec: Digest,
        /// The run that builds.
        build: RunId,
    },
    /// A run passed its gates and stands in its queue.
    RunQueued {
        /// Which run.
        run: RunId,
    },
    /// A waiting run moved to another queue.
    RunMoved {
        /// Which run.
        run: RunId,
        /// The queue that it stands in now.
        queue: QueueName,
    },
    /// A run got its slot: its attempt is owed to the target.
    RunScheduled {
        /// Which run.
        run: RunId,
        /// Which attempt begins.
        attempt: Attempt,
    },
    /// A target reported progress.
    RunProgressed {
        /// Which run.
        run: RunId,
        /// Which attempt.
        attempt: Attempt,
        /// Starting, running or warning; scheduled again, with the cause, when its target could not take it on yet.
        status: Status,
        /// Why, where there is more to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// When it was seen, by the clock of the target.
        at: Timestamp,
    },
    /// A run was told to stop.
    RunStopping {
        /// Which run.
        run: RunId,
        /// Who or what said so.
        cause: Cause,
    },
    /// A pipeline makes nothing more; it ends when all that is below it has.
    PipelineStopping {
        /// Which run.
        run: RunId,
        /// How it will end.
        end: Status,
        /// Who or what said so.
        cause: Cause,
    },
    /// There is something to say about a run that changes nothing: fields that its target does nothing with.
    RunNoted {
        /// Which run.
        run: RunId,
        /// What there is to say.
        note: Cause,
    },
    /// An attempt failed and another one will follow.
    RunRetrying {
        /// Which run.
        run: RunId,
        /// The attempt that failed.
        attempt: Attempt,
        /// When it may stand in its queue again.
        until: Timestamp,
        /// Why it failed.
        cause: Cause,
    },
    /// A run came to its end.
    RunFinished {
        /// Which run.
        run: RunId,
        /// A final status.
        status: Status,
        /// Why.
        cause: Cause,
        /// Exit code of its main process, when it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// What it reported.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        outputs: Map<String, Value>,
        /// When it ended, by the clock of the target.
        at: Timestamp,
    },
    /// What follows the end of a run was started; those runs are created in the same transaction.
    RunFollowed {
        /// Which run.
        run: RunId,
    },
    /// A finished run was deleted from the history.
    RunDeleted {
        /// Which run.
        run: RunId,
    },
    /// These are now all the schedules of some workflows; those that are new count from this moment.
    SchedulesArmed {
        /// What each says, by its digest; none for a workflow that has no schedules any more.
        schedules: BTreeMap<WorkflowName, BTreeSet<Digest>>,
    },
    /// A schedule fired; the run is created in the same transaction.
    ScheduleFired {
        /// Whose schedule.
        workflow: WorkflowName,
        /// Which of them.
        schedule: Digest,
        /// The time that it fired for.
        planned: Timestamp,
        /// The run.
        run: RunId,
    },
}

/// What a schedule has done since it was armed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// When it was armed: it invents nothing before.
    pub since: Timestamp,
    /// The last time that it fired for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// How often it has fired.
    pub fires: u64,
    /// The run that it started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// A commit became what is applied: only what changed, and the cursors that moved with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionApplied {
    /// The commit.
    pub commit: CommitId,
    /// The commit that the policy is of: an earlier one while that of this commit is not sound.
    pub policy: CommitId,
    /// Its subject line, for people.
    pub subject: String,
    /// The plan that was carried out.
    pub plan: Digest,
    /// The organization's limits, when they changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationLimits>,
    /// Agents that changed; `None` for a removed one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<AgentName, Option<AgentPolicy>>,
    /// Queues that changed; `None` for a removed one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<QueueName, Option<QueuePolicy>>,
    /// Projects that changed; `None` for a removed one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub projects: BTreeMap<ProjectName, Option<ProjectPolicy>>,
    /// Queues that have a new name: old → new.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<QueueName, QueueName>,
    /// Cursors of workflows that moved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cursors: BTreeMap<WorkflowName, Cursor>,
    /// Runs started, runs not started, for people.
    pub note: String,
}

impl RevisionApplied {
    /// Whether everything that it could change stays.
    pub fn changes_nothing(&self) -> bool {
        let Self {
            commit: _,
            policy: _,
            subject: _,
            plan: _,
            note: _,
            organization,
            agents,
            queues,
            projects,
            renamed,
            cursors,
        } = self;
        organization.is_none()
            && agents.is_empty()
            && queues.is_empty()
            && projects.is_empty()
            && renamed.is_empty()
            && cursors.is_empty()
    }
}

/// The limits of the organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OrganizationLimits {
    /// Level 1.
    pub concurrency: Limit,
    /// How a binding limit is divided among levels.
    pub sharing: Sharing,
}

/// The meaning of a workflow that was last admitted; kept after the workflow is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// What it meant.
    pub spec: Digest,
    /// What the files that it watches held.
    pub inputs: Digest,
    /// The commit that said so.
    pub commit: CommitId,
}

/// A run as it was asked for, complete: nothing later is looked up elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewRun {
    /// Its identifier; asking twice with the same one makes one run.
    pub id: RunId,
    /// Its project.
    pub project: ProjectName,
    /// The workflow that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Name>,
    /// Its name, for people.
    pub name: String,
    /// Its kind, as Polyaxon labels it (`job`, `dag`, …).
    pub kind: String,
    /// The commit that it is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// The compiled operation, by the digest of its stored body.
    pub spec: Digest,
    /// The queue that it will stand in.
    pub queue: QueueName,
    /// What an attempt asks for; canonical names.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub request: Resources,
    /// How often it is tried again.
    #[serde(default)]
    pub max_retries: u32,
    /// Whether somebody must approve it first.
    #[serde(default)]
    pub needs_approval: bool,
    /// What it asks of the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheAsk>,
    /// The pipeline that it is a direct child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
    /// Most direct children at once, when it is a pipeline itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Limit>,
    /// The group within its project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<SupersedePolicy>,
    /// For queries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The values of its inputs, for queries: those that are short. All of them stand in the compiled operation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Value>,
    /// What started it.
    pub origin: Origin,
    /// How long it may run from its beginning, when it is a pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// What it goes on from, when it had ended before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<Resumed>,
    /// Whether it is to be prepared before it may stand anywhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unprepared: bool,
    /// Whether preparing it includes building its image: then it is approved after that, if it is to be approved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub builds: bool,
    /// Whether others may follow its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub followed: bool,
}

impl NewRun {
    /// A job that nobody in particular asks for and that asks for nothing: what made-up runs begin from.
    pub fn bare(id: RunId, project: ProjectName, name: impl Into<String>, queue: QueueName) -> Self {
        Self {
            id,
            project,
            workflow: None,
            name: name.into(),
            kind: "job".to_owned(),
            commit: None,
            spec: Digest::of(b""),
            queue,
            request: Resources::default(),
            max_retries: 0,
            needs_approval: false,
            cache: None,
            parent: None,
            pipeline: None,
            group: None,
            tags: Vec::new(),
            inputs: BTreeMap::new(),
            origin: Origin::Request { user: String::new() },
            timeout: None,
            resumes: None,
            unprepared: false,
            builds: false,
            followed: false,
        }
    }
}

/// A run that had ended before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// Its newest attempt until then; 0 when there was none.
    pub attempt: Attempt,
    /// When it was first asked for.
    pub created_at: Timestamp,
    /// Who says that it goes on.
    pub by: String,
}

/// What started a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Origin {
    /// A commit.
    Push {
        /// Why the trigger fired.
        reason: String,
    },
    /// A person or a program.
    Request {
        /// Who.
        user: String,
    },
    /// A restart of another run.
    Restart {
        /// Which run.
        of: RunId,
        /// Who.
        user: String,
    },
    /// A pipeline.
    Pipeline {
        /// Which run.
        of: RunId,
    },
    /// The time.
    Schedule {
        /// The time that it was planned for.
        at: Timestamp,
    },
    /// The end of another run.
    Hook {
        /// Which run.
        of: RunId,
    },
    /// Another run, whose image it builds.
    Build {
        /// Which run.
        of: RunId,
    },
    /// A copy of another run.
    Copy {
        /// Which run.
        of: RunId,
        /// Who.
        user: String,
    },
}

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It was written by a newer release.
    #[error(
        "event version {0} is newer than this release, which reads up to {EVENT_VERSION}: use the release that wrote it"
    )]
    TooNew(u32),
    /// It is damaged.
    #[error("stored event cannot be read")]
    Damaged(#[from] serde_json::Error),
}

/// Reads a stored event of any release.
pub fn decode(version: u32, payload: &[u8]) -> Result<Event, DecodeError> {
    match version {
        // Versions 2 to 5 only added kinds of events, and fields that may be absent: older ones read as they are.
        1..=EVENT_VERSION => Ok(serde_json::from_slice(payload)?),
        other => Err(DecodeError::TooNew(other)),
    }
}
