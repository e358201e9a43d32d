//! Names and identifiers: a newtype for each, so that none can stand in for another.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest name of a spec, in characters; the limit of a Kubernetes label value and DNS label.
pub const MAX_NAME: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text is longer than [`MAX_NAME`].
    #[error("a name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// The text has a character that names do not have, or begins or ends with a dash.
    #[error("`{0}` is not a name: use lower-case letters, digits and `-`, beginning and ending with a letter or digit")]
    Malformed(String),
    /// The text is not `agent/queue`.
    #[error("`{0}` is not a queue: write `agent/queue`, or `queue` for a queue of the only agent")]
    NotAQueue(String),
}

/// Checks a text against `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most [`MAX_NAME`] characters.
pub fn check_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.iter().all(|c| plain(*c) || *c == b'-') || !plain(bytes[0]) || !plain(bytes[bytes.len() - 1]) {
        return Err(NameError::Malformed(text.chars().take(MAX_NAME + 1).collect()));
    }
    if bytes.len() > MAX_NAME {
        return Err(NameError::TooLong(bytes.len()));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name, or why the text is none.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check_name(text)?;
                Ok(Self(text.into()))
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                "Name".into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
                    "maxLength": MAX_NAME,
                    "description": "Lower-case letters, digits and dashes; at most 63 characters.",
                })
            }
        }
    };
}

name!(
    /// The name of an agent: one namespace of one cluster, or this machine.
    AgentName
);
name!(
    /// The name of a project.
    ProjectName
);
name!(
    /// The name of an organization.
    OrganizationName
);
name!(
    /// A name without a room of its own type: a queue within its agent, a workflow within its project.
    Name
);

impl Name {
    /// The name nearest to a text of other rules: in lower case, a dash for every run of other characters, at most
    /// [`MAX_NAME`] characters. An error when nothing is left of it.
    pub fn nearest(text: &str) -> Result<Self, NameError> {
        let mut near = String::with_capacity(text.len().min(MAX_NAME));
        for c in text.chars() {
            match c.to_ascii_lowercase() {
                c if c.is_ascii_lowercase() || c.is_ascii_digit() => near.push(c),
                _ if near.is_empty() || near.ends_with('-') => {}
                _ => near.push('-'),
            }
            if near.len() == MAX_NAME {
                break;
            }
        }
        near.truncate(near.trim_end_matches('-').len());
        // Nothing is left: the message shows what was written.
        Self::parse(if near.is_empty() { text } else { &near })
    }
}

/// A queue's full name, `agent/queue`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName {
    /// The agent that the queue belongs to.
    pub agent: AgentName,
    /// The queue within its agent.
    pub queue: Name,
}

/// The name of the queue that every agent has.
pub const DEFAULT_QUEUE: &str = "default";

impl QueueName {
    /// Reads `agent/queue` (or Polyaxon's `agent.queue`).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (agent, queue) =
            text.split_once(['/', '.']).ok_or_else(|| NameError::NotAQueue(text.chars().take(130).collect()))?;
        Ok(Self { agent: AgentName::parse(agent)?, queue: Name::parse(queue)? })
    }

    /// The queue `default` of an agent.
    pub fn default_of(agent: &AgentName) -> Self {
        Self { agent: agent.clone(), queue: Name(DEFAULT_QUEUE.into()) }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.agent, self.queue))
    }
}

impl TryFrom<String> for QueueName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> String {
        name.to_string()
    }
}

/// A workflow's identity: its project and its name. File paths are provenance, not identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkflowName {
    /// The project that the workflow stands in.
    pub project: ProjectName,
    /// The workflow within its project.
    pub workflow: Name,
}

impl WorkflowName {
    /// Reads `project/workflow`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (project, workflow) =
            text.split_once('/').ok_or_else(|| NameError::Malformed(text.chars().take(130).collect()))?;
        Ok(Self { project: ProjectName::parse(project)?, workflow: Name::parse(workflow)? })
    }
}

impl fmt::Display for WorkflowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.project, self.workflow))
    }
}

impl TryFrom<String> for WorkflowName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<WorkflowName> for String {
    fn from(name: WorkflowName) -> String {
        name.to_string()
    }
}

/// A run's identifier: a random UUID, or one that is made of the run that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub uuid::Uuid);

impl RunId {
    /// Reads a UUID in any of its usual spellings.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(Self)
    }

    /// The id of what a run makes, by its name within that run: the same one at every asking (a UUID of version 8).
    pub fn derived(from: Self, name: &str) -> Self {
        let digest = Digest::of(&[from.0.as_bytes(), name.as_bytes()].concat());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.0[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for RunId {
    /// 32 hexadecimal digits, as Polyaxon writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// Which try of a run: 1 for the first, 0 before any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of one attempt towards the outside: the same name is never launched twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptName {
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: Attempt,
}

impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.attempt)
    }
}

impl AttemptName {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (run, attempt) = text.rsplit_once('-')?;
        Some(Self { run: RunId::parse(run)?, attempt: Attempt(attempt.parse().ok()?) })
    }
}

/// Position of an event in the log; the first event has 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Seq(pub u64);

/// Term of the server that writes the log; a store refuses an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A git commit, as its hexadecimal object id, or `worktree` for uncommitted files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitId(Arc<str>);

impl CommitId {
    /// Wraps an object id that git gave.
    pub fn new(hex: &str) -> Self {
        Self(hex.into())
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 7 characters, for people.
    pub fn short(&self) -> &str {
        if self.0.len() >= 40 { &self.0[..7] } else { &self.0 }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// SHA-256 of canonical bytes; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest that was made before, from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every stored event has some: two digits at a time through the formatter would be most of its cost.
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            (pair[0], pair[1]) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        }
        f.pad(std::str::from_utf8(&hex).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(hex: String) -> Result<Self, String> {
        let mut bytes = [0u8; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(format!("`{hex}` is not a digest"));
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| format!("`{hex}` is not a digest"))?;
        }
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern_of_kubernetes_labels() {
        for good in ["a", "0", "a-b", "us-east-1", &"x".repeat(63)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "ä", "a\u{0}", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_one_and_a_name_is_its_own() {
        for (text, near) in [
            ("train", "train"),
            ("My_Flow", "my-flow"),
            ("site__docs__L17", "site-docs-l17"),
            ("-a (2).b-", "a-2-b"),
            ("ä", "ä"),
            (&"x_".repeat(60), &"x-".repeat(32)[..63]),
        ] {
            match Name::nearest(text) {
                Ok(name) => assert_eq!(name.as_str(), near),
                Err(error) => assert_eq!(error, NameError::Malformed(text.into())),
            }
        }
        assert_eq!(Name::nearest(""), Err(NameError::Empty));
    }

    #[test]
    fn a_queue_name_reads_what_it_writes() {
        let name = QueueName::parse("us-east/gpu").unwrap();
        assert_eq!(QueueName::parse(&name.to_string()), Ok(name));
        assert!(QueueName::parse("gpu").is_err());
        assert!(QueueName::parse("a/b/c").is_err());
    }

    #[test]
    fn an_attempt_name_reads_what_it_writes() {
        let name = AttemptName { run: RunId(uuid::Uuid::from_u128(7)), attempt: Attempt(3) };
        assert_eq!(AttemptName::parse(&name.to_string()), Some(name));
    }
}
