//! What a supervisor must know after its own death: which attempts it has taken on, which process is whose, how they
//! ended, and which of them the server has saved.
//!
//! A record is written before its act (launching) or before its report (the end). Nothing is synced to the disk: the
//! records must survive the death of a process, for which the page cache is enough; no process of ours survives a loss
//! of power.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::note;
use crate::domain::dispatch::observation::Observation;
use crate::domain::ids::AttemptName;
use crate::domain::time::{Span, Timestamp};

/// How many forgotten names are kept, so that a launch that was delivered late starts nothing. A server never sends a
/// launch after a forget; this covers what was on its way through a connection that broke.
pub const FORGOTTEN_KEPT: usize = 4096;

/// The journal is rewritten with what is still needed when it has grown by this many bytes: some 5,000 attempts.
pub const COMPACT_BYTES: u64 = 4 << 20;

/// One line of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// The attempt is taken on; from now on it is never launched again.
    Launched {
        /// Its name.
        attempt: AttemptName,
        /// When.
        at: Timestamp,
        /// How long it may take.
        timeout: Option<Span>,
    },
    /// It has a process.
    Started {
        /// Its name.
        attempt: AttemptName,
        /// Its process.
        process: Process,
        /// What the server is told.
        seen: Observation,
    },
    /// It has ended, or will never start.
    Ended {
        /// Its name.
        attempt: AttemptName,
        /// What the server is told.
        seen: Vec<Observation>,
    },
    /// The server has saved its end.
    Forgotten(AttemptName),
}

/// Which process it was: a process id is used again one day, but not at the same time since boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id, also that of its group.
    pub pid: i32,
    /// Milliseconds since boot, shortly before it began.
    pub from: u64,
    /// Milliseconds since boot, shortly after it began.
    pub to: u64,
    /// Which boot; empty when the system does not say.
    pub boot: String,
}

/// One attempt that is not forgotten.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// When it was taken on.
    pub launched: Timestamp,
    /// How long it may take.
    pub timeout: Option<Span>,
    /// Its process, when it has or had one.
    pub process: Option<Process>,
    /// Everything that the server is told about it, in order.
    pub story: Vec<Observation>,
    /// It does not run any more.
    pub ended: bool,
}

/// The journal and what it says.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes written since the last compaction.
    grown: u64,
    /// The last write failed in the middle of a line.
    torn: bool,
    entries: BTreeMap<AttemptName, Entry>,
    forgotten: BTreeSet<AttemptName>,
    forgotten_order: VecDeque<AttemptName>,
}

impl Journal {
    /// Reads the journal, or begins one, and compacts it. A line that is cut off is left out.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let file = append_to(&path)?;
        let (entries, forgotten, forgotten_order) = Default::default();
        let mut journal = Self { path, file, grown: 0, torn: false, entries, forgotten, forgotten_order };
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(record) => journal.apply(record),
                Err(error) => note(format_args!("a line of the journal is left out: {error}")),
            }
        }
        journal.compact()?;
        Ok(journal)
    }

    /// The attempts that are not forgotten.
    pub fn entries(&self) -> &BTreeMap<AttemptName, Entry> {
        &self.entries
    }

    /// Whether the attempt was forgotten, as far as is remembered.
    pub fn was_forgotten(&self, attempt: &AttemptName) -> bool {
        self.forgotten.contains(attempt)
    }

    /// Writes records and makes them true. What could not be written is true in memory all the same.
    pub fn record(&mut self, records: Vec<Record>) -> io::Result<()> {
        let mut lines = Vec::with_capacity(records.len() * 256);
        if std::mem::take(&mut self.torn) {
            lines.push(b'\n');
        }
        for record in records {
            write_record(&mut lines, &record);
            self.apply(record);
        }
        self.file.write_all(&lines).inspect_err(|_| self.torn = true)?;
        self.grown += lines.len() as u64;
        if self.grown > COMPACT_BYTES {
            self.compact()?;
        }
        Ok(())
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Launched { attempt, at, timeout } => {
                self.entries.insert(attempt, Entry { launched: at, timeout, ..Entry::default() });
            }
            Record::Started { attempt, process, seen } => {
                let entry = self.entries.entry(attempt).or_default();
                entry.process = Some(process);
                entry.story.push(seen);
            }
            Record::Ended { attempt, seen } => {
                let entry = self.entries.entry(attempt).or_default();
                entry.story.extend(seen);
                entry.ended = true;
            }
            Record::Forgotten(attempt) => {
                self.entries.remove(&attempt);
                if self.forgotten.insert(attempt) {
                    self.forgotten_order.push_back(attempt);
                }
                if self.forgotten_order.len() > FORGOTTEN_KEPT
                    && let Some(oldest) = self.forgotten_order.pop_front()
                {
                    self.forgotten.remove(&oldest);
                }
            }
        }
    }

    /// Replaces the file by one that says the same in fewer lines.
    fn compact(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        for attempt in &self.forgotten_order {
            write_record(&mut lines, &Record::Forgotten(*attempt));
        }
        for (attempt, entry) in &self.entries {
            let attempt = *attempt;
            let Entry { launched: at, timeout, process, story, ended } = entry.clone();
            write_record(&mut lines, &Record::Launched { attempt, at, timeout });
            let mut story = story.into_iter();
            if let Some(process) = process
                && let Some(seen) = story.next()
            {
                write_record(&mut lines, &Record::Started { attempt, process, seen });
            }
            if ended {
                write_record(&mut lines, &Record::Ended { attempt, seen: story.collect() });
            }
        }
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, &lines)?;
        fs::rename(&fresh, &self.path)?;
        self.file = append_to(&self.path)?;
        (self.grown, self.torn) = (0, false);
        Ok(())
    }
}

fn write_record(lines: &mut Vec<u8>, record: &Record) {
    super::protocol::write_line(lines, record);
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
