//! Which names in a tree may be used, and which of them may hold specs.

use super::limits;

/// A component of a path, when it is one that may be used: not empty, not `.` or `..`, not `.git` in any of its disguises,
/// no separators, no control characters, UTF-8 of a length that every file system takes.
pub(super) fn component(name: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(name).ok()?;
    let plain = !text.is_empty()
        && text.len() <= limits::COMPONENT_LEN
        && !text.contains(['/', '\\'])
        && !text.chars().any(char::is_control)
        && !is_trap(name);
    plain.then_some(text)
}

/// Whether a name is made to deceive: `.`, `..`, or what some file system takes for `.git` (case, trailing dots and
/// spaces, streams and short names of Windows, characters that macOS ignores).
pub(super) fn is_trap(name: &[u8]) -> bool {
    let text: String = String::from_utf8_lossy(name)
        .chars()
        .filter(
            |c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'),
        )
        .collect::<String>()
        .to_lowercase();
    let stem = text.split(['/', '\\', ':']).next().unwrap_or_default().trim_end_matches([' ', '.']);
    stem.is_empty() && text.chars().all(|c| matches!(c, '.' | ' '))
        || matches!(stem, ".git" | "git~1" | "git~2" | "git~3" | "git~4")
        || text.split(['/', '\\']).any(|part| part == "..")
}

/// Whether a file of this name may hold specs, wherever it lies.
pub(super) fn has_spec_suffix(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.ends_with(b".yaml") || lower.ends_with(b".yml")
}

/// Whether a path may hold specs: YAML anywhere, JSON where workflows lie, and copies of others' in `refs/`.
pub(super) fn is_spec(path: &str) -> bool {
    has_spec_suffix(path.as_bytes()) || path.starts_with("refs/") || {
        let mut parts = path.split('/');
        path.ends_with(".json")
            && parts.next() == Some("projects")
            && parts.next().is_some()
            && parts.next() == Some("workflows")
            && parts.next().is_some()
    }
}

/// Whether a path is or lies in a folder of specs, so that a link or submodule there hides what a person expects read.
pub(super) fn in_spec_folder(path: &str) -> bool {
    matches!(path.split('/').next(), Some("agents" | "queues" | "presets" | "components" | "projects"))
}

/// A name as it can be shown: escaped, bounded.
pub(super) fn shown(name: &[u8]) -> String {
    let text: String = name.escape_ascii().to_string();
    text.chars().take(limits::COMPONENT_LEN).collect()
}

/// A whole path as it can be shown: itself when it is plain, else escaped, component by component.
pub(super) fn shown_path(path: &[u8]) -> String {
    let part = |part: &[u8]| component(part).map_or_else(|| shown(part), str::to_owned);
    path.split(|byte| *byte == b'/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_deceive_are_refused() {
        let long = "x".repeat(256);
        for bad in [
            "",
            ".",
            "..",
            ".git",
            ".GIT",
            ".Git",
            "git~1",
            "GIT~1",
            ".git.",
            ".git ",
            ".git. .",
            ".git::$INDEX_ALLOCATION",
            ".g\u{200c}it",
            "a/b",
            "a\\b",
            "..\\x",
            "a\nb",
            "a\u{0}b",
            "a\u{1b}[31m",
            "...",
            long.as_str(),
        ] {
            assert_eq!(component(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(component(b"caf\xe9.yaml"), None);
        for good in [".github", ".gitignore", "git", "a..b", "queue.yaml", "käse.yaml", ".x", "git~10", "a b"] {
            assert_eq!(component(good.as_bytes()), Some(good));
        }
    }

    #[test]
    fn specs_are_yaml_anywhere_and_json_among_workflows() {
        for good in
            ["tidegate.yaml", "x/y.yml", "A.YAML", "projects/p/workflows/a.json", "projects/p/workflows/d/a.json"]
        {
            assert!(is_spec(good), "{good}");
        }
        for bad in ["a.json", "projects/p/a.json", "projects/workflows/a.json", "yaml", "a.yaml.bak"] {
            assert!(!is_spec(bad), "{bad}");
        }
    }
}
