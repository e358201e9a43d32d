//! Man pages: one for each verb.

use std::path::Path;

use anyhow::Context;

use super::{Exit, Result};

/// Writes `tidegate.1`, `tidegate-ops.1`, `tidegate-ops-ls.1` … into a folder.
pub fn man(command: clap::Command, dir: &Path) -> Result {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    clap_mangen::generate_to(command, dir).with_context(|| format!("cannot write man pages to {}", dir.display()))?;
    Ok(Exit::Fine)
}
