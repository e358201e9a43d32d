//! Names of branches, tags, commits and revisions, checked before git sees them.

use std::fmt;

use super::error::{SourceError, printable};
use crate::domain::ids::CommitId;

/// The ref that a source follows. The names inside were checked by git's own rules (`git check-ref-format`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ref {
    /// The repository's default branch.
    Default,
    /// A branch.
    Branch(RefName),
    /// A tag.
    Tag(RefName),
    /// One commit for ever.
    Commit(CommitId),
}

/// A checked name of a branch or tag, without `refs/heads/` or `refs/tags/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefName(String);

/// Longest name of a ref: a file name's, since git keeps refs as files.
const REF_LEN: usize = 255;
/// Longest revision expression.
const REV_LEN: usize = 512;

impl Ref {
    /// Reads `main`, `branch:main`, `refs/heads/main`, `tag:v1`, `refs/tags/v1`, `commit:<id>`, a bare 40-digit id, or
    /// `HEAD` for the default branch.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        if let Some(id) = text.strip_prefix("commit:") {
            return commit(id).ok_or_else(|| refused(text, "write all 40 hexadecimal digits of the commit"));
        }
        if text == "HEAD" {
            return Ok(Self::Default);
        }
        if let Some(found) = commit(text) {
            return Ok(found);
        }
        for (prefix, make) in [
            ("branch:", Self::Branch as fn(RefName) -> Self),
            ("tag:", Self::Tag),
            ("refs/heads/", Self::Branch),
            ("refs/tags/", Self::Tag),
        ] {
            if let Some(name) = text.strip_prefix(prefix) {
                return ref_name(name).map(make).map_err(|reason| refused(text, reason));
            }
        }
        if text.starts_with("refs/") {
            return Err(refused(text, "only branches and tags can be followed"));
        }
        ref_name(text).map(Self::Branch).map_err(|reason| refused(text, reason))
    }

    /// The whole name at the other side.
    pub(super) fn full_name(&self) -> String {
        match self {
            Self::Default => "HEAD".into(),
            Self::Branch(name) => format!("refs/heads/{}", name.0),
            Self::Tag(name) => format!("refs/tags/{}", name.0),
            Self::Commit(id) => id.to_string(),
        }
    }

    /// Whether a person who writes `name` means this ref.
    pub(super) fn is_called(&self, name: &str) -> bool {
        match self {
            Self::Default => false,
            Self::Branch(RefName(own)) => {
                [own.clone(), format!("origin/{own}"), format!("refs/heads/{own}")].iter().any(|n| n == name)
            }
            Self::Tag(RefName(own)) => own == name || format!("refs/tags/{own}") == name,
            Self::Commit(_) => false,
        }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("the default branch"),
            Self::Branch(name) => f.pad(&format!("branch {}", name.0)),
            Self::Tag(name) => f.pad(&format!("tag {}", name.0)),
            Self::Commit(id) => f.pad(&format!("commit {}", id.short())),
        }
    }
}

impl std::str::FromStr for Ref {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        Self::parse(text)
    }
}

fn commit(id: &str) -> Option<Ref> {
    let whole = id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| Ref::Commit(CommitId::new(&id.to_ascii_lowercase())))
}

fn ref_name(name: &str) -> Result<RefName, &'static str> {
    if name.is_empty() || name.len() > REF_LEN {
        return Err("it is empty or too long");
    }
    if name.starts_with('-') {
        return Err("it begins with `-`, like an option");
    }
    if name.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c)) {
        return Err("it contains characters that git does not permit");
    }
    if name.contains("..") || name.contains("@{") || matches!(name, "@" | "HEAD") || name.ends_with('.') {
        return Err("it contains a sequence that git does not permit");
    }
    if name
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.to_ascii_lowercase().ends_with(".lock"))
    {
        return Err("one of its parts is empty, begins with `.` or ends with `.lock`");
    }
    Ok(RefName(name.to_owned()))
}

/// Checks a revision expression of a person (`main~2`, `v1^{}`, `3f2a1c`) and splits it into the name and what follows.
/// Searches through messages and reflogs are refused: they cost as much as the repository is large.
pub(super) fn revision(rev: &str) -> Result<(&str, &str), SourceError> {
    let reason = if rev.is_empty() || rev.len() > REV_LEN {
        "it is empty or too long"
    } else if rev.starts_with('-') {
        "it begins with `-`, like an option"
    } else if rev.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "it contains spaces or control characters"
    } else if rev.contains("..") || rev.contains("@{") || rev.contains("^{/") || rev.contains(':') {
        "write one commit: a branch, a tag or an id, with `~n` or `^` after it"
    } else {
        return Ok(rev.split_at(rev.find(['~', '^']).unwrap_or(rev.len())));
    };
    Err(refused(rev, reason))
}

fn refused(text: &str, reason: &'static str) -> SourceError {
    SourceError::Ref { text: printable(&text.replace('\n', " "), 100), reason }
}
