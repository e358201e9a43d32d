//! The plan of the last sync, in a file of the data directory: that of a first sync is larger than everything else that a
//! server holds, and is asked for seldom.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::domain::plan::Plan;

/// Its name in the data directory.
const FILE: &str = "plan.json";

/// Where the plan of the last sync lies; it tells, and nothing is decided by it.
#[derive(Debug, Clone)]
pub struct LastPlan(PathBuf);

impl LastPlan {
    /// That of a data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FILE))
    }

    /// Puts a plan in the place of the one before.
    pub fn keep(&self, plan: &Plan) -> io::Result<()> {
        let new = self.0.with_extension("json.new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut file = BufWriter::new(file);
        serde_json::to_writer(&mut file, plan)?;
        file.flush()?;
        fs::rename(&new, &self.0)
    }

    /// Reads it; `None` when nothing was planned yet.
    pub fn read(&self) -> io::Result<Option<Plan>> {
        match File::open(&self.0) {
            Ok(file) => Ok(Some(serde_json::from_reader(BufReader::new(file))?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
