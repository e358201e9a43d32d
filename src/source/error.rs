//! What can go wrong with a source, told apart by what is to be done about it; and the masking of secrets in texts.

use std::path::PathBuf;
use std::time::Duration;

/// Why a source could not be named, fetched or read. No variant ever holds a password.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An address outside the grammar that is permitted.
    #[error("cannot follow `{text}`: {reason}")]
    Url {
        /// The address, masked and escaped.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A ref or revision outside the grammar that is permitted.
    #[error("`{text}` does not name a branch, tag or commit: {reason}")]
    Ref {
        /// The name, escaped.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The repository, ref or revision does not exist (or is hidden from us, which servers show alike).
    #[error("{what} was not found: {detail}")]
    NotFound {
        /// What was looked for.
        what: String,
        /// What was said.
        detail: String,
    },
    /// The server wants other credentials.
    #[error("{subject} refused our credentials: {detail}")]
    Auth {
        /// The repository.
        subject: String,
        /// What was said.
        detail: String,
    },
    /// The server did not prove who it is (ssh host key, TLS certificate). Trying again is no remedy.
    #[error("{subject} could not prove its identity, so nothing was read: {detail}")]
    HostKey {
        /// The repository.
        subject: String,
        /// What was said.
        detail: String,
    },
    /// `git` took too long and was ended.
    #[error("git did not finish within {} s for {subject}", after.as_secs_f32())]
    Timeout {
        /// The repository.
        subject: String,
        /// The limit.
        after: Duration,
    },
    /// More than a named limit permits.
    #[error("{subject} has more than {limit} {unit}")]
    TooLarge {
        /// What is too large.
        subject: String,
        /// The limit.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// The repository has no commits.
    #[error("{subject} has no commits yet")]
    Empty {
        /// The repository.
        subject: String,
    },
    /// Another process uses the mirror.
    #[error("the mirror {} is in use by another process", dir.display())]
    Locked {
        /// The mirror's directory.
        dir: PathBuf,
    },
    /// The `git` program cannot be started.
    #[error("cannot start `{program}`, which is needed to fetch: {cause}")]
    NoGit {
        /// The program.
        program: String,
        /// Why.
        cause: std::io::Error,
    },
    /// A tree that no honest git writes.
    #[error("the tree at `{path}` cannot be trusted: {reason}")]
    BadTree {
        /// Where.
        path: String,
        /// Why.
        reason: String,
    },
    /// Objects that should be there are missing or damaged.
    #[error("cannot read {what} from git's objects: {detail}")]
    Corrupt {
        /// What was to be read.
        what: String,
        /// What libgit2 says.
        detail: String,
    },
    /// A file operation failed.
    #[error("cannot {operation} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// File changes cannot be watched.
    #[error("cannot watch {}: {detail}", path.display())]
    Watch {
        /// What.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// Anything else that `git` says: network down, server trouble.
    #[error("git failed for {subject}: {detail}")]
    Other {
        /// The repository.
        subject: String,
        /// What was said.
        detail: String,
    },
}

impl SourceError {
    /// Whether the same try may succeed later without a person doing something.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. } | Self::Other { .. } | Self::Io { .. } | Self::Locked { .. } | Self::Corrupt { .. }
        )
    }

    pub(super) fn io(operation: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { operation, path, cause }
    }

    pub(super) fn corrupt(what: impl std::fmt::Display) -> impl FnOnce(git2::Error) -> Self {
        move |cause| Self::Corrupt { what: what.to_string(), detail: printable(cause.message(), 300) }
    }
}

/// Sorts what `git` said on standard error (in English: the locale is set) into the errors that differ for us.
///
/// Only the words of `git` and `ssh` themselves decide about identity and credentials; the server's own (`remote: `)
/// can at most say that something is not there.
pub(super) fn classify(subject: &str, reference: &str, stderr: &str) -> SourceError {
    let own: String = stderr.lines().filter(|line| !line.starts_with("remote:")).collect::<Vec<_>>().join("\n");
    let says = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    let subject = subject.to_owned();
    let detail = match stderr.trim() {
        "" => "it gave no reason".to_owned(),
        text if says(
            text,
            &["returned error: 301", "returned error: 302", "returned error: 307", "returned error: 308"],
        ) =>
        {
            format!("{text} (redirects are not followed: write the repository's final address, often ending in `.git`)")
        }
        text => text.to_owned(),
    };
    if says(
        &own,
        &[
            "Host key verification failed",
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            "no matching host key",
            "SSL certificate problem",
            "certificate verification failed",
            "does not match target host name",
        ],
    ) {
        SourceError::HostKey { subject, detail }
    } else if says(&own, &["couldn't find remote ref", "not our ref", "no such remote ref"]) {
        SourceError::NotFound { what: format!("{reference} of {subject}"), detail }
    } else if says(
        &own,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "Permission denied (",
            "returned error: 401",
            "returned error: 403",
        ],
    ) {
        SourceError::Auth { subject, detail }
    } else if says(
        stderr,
        &[
            "not found",
            "does not appear to be a git repository",
            "does not exist",
            "could not be found",
            "returned error: 404",
        ],
    ) {
        SourceError::NotFound { what: subject, detail }
    } else {
        SourceError::Other { subject, detail }
    }
}

/// Takes the userinfo out of everything that looks like a URL, and the given secrets out of everything.
pub(super) fn redact(text: &str, secrets: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '\'' | '"')).unwrap_or(after.len());
        let host = after[..end].rfind('@').map_or(0, |at| at + 1);
        if host > 0 {
            out.push_str("***@");
        }
        rest = &after[host..];
    }
    out.push_str(rest);
    secrets.iter().fold(out, |text, secret| text.replace(secret.as_str(), "***"))
}

/// Text from outside as it may be shown: no control characters but line ends, bounded.
pub(super) fn printable(text: &str, limit: usize) -> String {
    let clean = |c: char| {
        if c == '\n' {
            Some(c)
        } else if c.is_control() {
            (c == '\t').then_some(' ')
        } else {
            Some(c)
        }
    };
    text.chars().filter_map(clean).take(limit).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_leave_every_text() {
        let secrets = ["s3cr3t!".to_owned()];
        for (text, clean) in [
            ("fatal: 'https://u:s3cr3t!@h/x' not found", "fatal: 'https://***@h/x' not found"),
            ("https://tok@h/ and http://a:b@c:1/", "https://***@h/ and http://***@c:1/"),
            ("password s3cr3t! leaked", "password *** leaked"),
            ("no secret at https://h/x@y", "no secret at https://h/x@y"),
            ("https://a@b@h/", "https://***@h/"),
        ] {
            assert_eq!(redact(text, &secrets), clean);
        }
    }

    #[test]
    fn what_git_says_is_sorted_by_what_to_do() {
        let sorted = |text: &str| match classify("s", "r", text) {
            SourceError::NotFound { .. } => "not found",
            SourceError::Auth { .. } => "auth",
            SourceError::HostKey { .. } => "host key",
            SourceError::Other { .. } => "other",
            _ => "?",
        };
        for (text, kind) in [
            ("fatal: couldn't find remote ref refs/heads/x", "not found"),
            ("remote: Repository not found.\nfatal: repository 'https://h/x/' not found", "not found"),
            ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", "not found"),
            ("fatal: '/x' does not appear to be a git repository", "not found"),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", "auth"),
            ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "auth"),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", "host key"),
            ("remote: Host key verification failed.\nfatal: early EOF", "other"),
            ("fatal: unable to access 'https://h/': Could not resolve host: h", "other"),
            ("fatal: unable to access 'https://h/': SSL certificate problem: self signed", "host key"),
            ("", "other"),
        ] {
            assert_eq!(sorted(text), kind, "{text}");
        }
    }
}
