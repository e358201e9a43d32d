//! What server and supervisor say to each other: JSON, one message a line, over a Unix socket.
//!
//! The supervisor outlives the server, also an upgrade of it. So the words are few and plain (a program, not a spec),
//! and both sides begin with their version. Nothing is acknowledged: the server repeats what it is owed after each
//! connection, and the supervisor repeats what was not forgotten.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::task::Task;
use crate::domain::dispatch::observation::{Cause, Observation};
use crate::domain::ids::{AttemptName, Epoch};
use crate::domain::time::Span;

/// The version of this protocol.
pub const VERSION: u32 = 1;

/// Longest line that is read; arguments and environment of a process have at most 2 MiB on Linux, and JSON may write
/// six characters for one.
pub const MAX_LINE: u64 = 16 << 20;

/// The first message of either side.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Hello {
    /// The version that the sender speaks.
    pub version: u32,
}

/// Server to supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// Always first.
    Hello(Hello),
    /// Run it, unless the attempt is known.
    Launch {
        /// Its name.
        attempt: AttemptName,
        /// The term of the server; a supervisor that has heard of a later one does not obey.
        epoch: Epoch,
        /// What to run.
        task: Task,
    },
    /// It cannot be run; record that as its end, unless the attempt is known.
    Refuse {
        /// Its name.
        attempt: AttemptName,
        /// Why.
        cause: Cause,
    },
    /// See that it does not run.
    Stop {
        /// Its name.
        attempt: AttemptName,
        /// Time between asking and killing.
        grace: Span,
    },
    /// Its end need not be reported again.
    Forget(AttemptName),
}

/// Supervisor to server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// Always first.
    Hello(Hello),
    /// The attempts that are taken on and not forgotten, always second; in several parts when they are many.
    Known {
        /// Some of them.
        attempts: Vec<AttemptName>,
        /// Whether there are others.
        more: bool,
    },
    /// Something happened, now or earlier.
    Seen(Observation),
}

/// Attempts in one [`Word::Known`]; keeps a line well below [`MAX_LINE`].
pub const MAX_KNOWN: usize = 10_000;

/// Appends a message as a line.
pub fn write_line<T: Serialize>(line: &mut Vec<u8>, message: &T) {
    serde_json::to_writer(&mut *line, message).expect("messages have only string keys, and a vector takes all bytes");
    line.push(b'\n');
}

/// Waits for the next message; none at the end of the stream.
pub fn read_line<T: DeserializeOwned>(reader: &mut BufReader<UnixStream>) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is cut off or too long"));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Waits for the next message and takes with it those that have already arrived; none at the end of the stream.
pub fn read_lines<T: DeserializeOwned>(reader: &mut BufReader<UnixStream>) -> io::Result<Vec<T>> {
    let mut messages: Vec<T> = read_line(reader)?.into_iter().collect();
    while !messages.is_empty() && reader.buffer().contains(&b'\n') {
        messages.extend(read_line(reader)?);
    }
    Ok(messages)
}

/// Refuses another version than ours; the error names both.
pub fn check_hello(theirs: Hello) -> io::Result<()> {
    if theirs.version == VERSION {
        return Ok(());
    }
    let message = format!("the other side speaks version {} of the protocol, this one {VERSION}", theirs.version);
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}
