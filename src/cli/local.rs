//! Specs of this machine: the repository around a path.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Result;

/// The file at the root of every repository of specs.
const ROOT_MARKER: &str = "tidegate.yaml";

/// The root of the repository of specs around a path, and the way from it to the path, with `/`.
pub fn root_of(path: &Path) -> Result<Option<(PathBuf, String)>> {
    let whole = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
    let Some(root) = whole.ancestors().find(|dir| dir.join(ROOT_MARKER).is_file()) else { return Ok(None) };
    let inside = whole.strip_prefix(root).context("a path lies below its ancestors")?;
    Ok(Some((root.to_owned(), inside.to_string_lossy().replace('\\', "/"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_the_marker() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("projects/p/a.yaml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        assert_eq!(root_of(&file).unwrap(), None);
        std::fs::write(dir.path().join(ROOT_MARKER), "").unwrap();
        let (root, inside) = root_of(&file).unwrap().unwrap();
        assert_eq!((root, inside.as_str()), (dir.path().canonicalize().unwrap(), "projects/p/a.yaml"));
        assert!(root_of(&dir.path().join("nothing")).is_err());
    }
}
