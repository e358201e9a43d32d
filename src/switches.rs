//! What people told the git side and a restart must not undo: that it is paused, and which commit it is pinned to.
//!
//! A file of the data directory, not part of the log: it says what is looked at, never what was decided.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::ids::CommitId;

/// Its name in the data directory.
const FILE: &str = "sync.json";
/// The file that whoever restores a backup leaves in the data directory; see [`Switches::was_restored`].
const RESTORED: &str = "restored";

/// How the git side is switched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Positions {
    /// Whether new commits are left alone.
    #[serde(default)]
    pub paused: bool,
    /// The commit that is followed in place of the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<CommitId>,
}

/// The positions, with the file that keeps them.
#[derive(Debug)]
pub struct Switches {
    dir: PathBuf,
    positions: Positions,
}

impl Switches {
    /// Reads the positions; all are off when there is no file. One that cannot be read is an error: nobody should be
    /// followed who was switched off.
    pub fn load(data_dir: &Path) -> io::Result<Self> {
        let positions = match fs::read(data_dir.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Positions::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { dir: data_dir.to_owned(), positions })
    }

    /// How it is switched.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Switches; on an error everything is as before.
    pub fn set(&mut self, positions: Positions) -> io::Result<()> {
        if positions == self.positions {
            return Ok(());
        }
        let (path, new) = (self.dir.join(FILE), self.dir.join(format!("{FILE}.new")));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&positions)?)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.dir)?.sync_all()?;
        self.positions = positions;
        Ok(())
    }

    /// Whether the data directory comes from a backup: then the runs of the commits since are lost from the store, not
    /// never started, and the first sync takes everything over and starts nothing.
    pub fn was_restored(&self) -> bool {
        self.dir.join(RESTORED).exists()
    }

    /// The first sync after a restore has been saved.
    pub fn is_caught_up(&self) -> io::Result<()> {
        match fs::remove_file(self.dir.join(RESTORED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
