//! A polyaxonfile outside any repository: read with what it refers to.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::domain::compile::parse::MAX_FILE_BYTES;
use crate::domain::compile::{Alone, Asked, Depth, Reference, compile_alone};
use crate::domain::files::{FileContent, SourceFile};

/// Compiles a file; `refs` is a folder with copies of what lies elsewhere. Without it, a check of the shape alone takes
/// references to elsewhere on trust.
pub fn compile(path: &Path, refs: Option<&Path>, asked: &Asked, depth: Depth) -> anyhow::Result<Alone> {
    let content = read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = SourceFile { path: path.display().to_string().replace('\\', "/"), content };
    let find = |reference: Reference<'_>| match reference {
        Reference::File(path) => read(Path::new(path)).ok(),
        Reference::Copy(path) => read(&refs?.join(path)).ok(),
    };
    Ok(compile_alone(file, asked, depth, refs.is_some() || depth == Depth::Params, &find))
}

/// Reads a file that is given as a preset.
pub fn preset(path: &str) -> anyhow::Result<SourceFile> {
    let content = read(Path::new(path)).with_context(|| format!("cannot read {path}"))?;
    Ok(SourceFile { path: PathBuf::from(path).display().to_string(), content })
}

fn read(path: &Path) -> std::io::Result<FileContent> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > MAX_FILE_BYTES as u64 {
        return Ok(FileContent::TooLarge { bytes });
    }
    std::fs::read(path).map(FileContent::Text)
}
