//! Addresses of repositories: a grammar of what is permitted, and passwords that cannot be shown.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{SourceError, printable, redact};

/// An address that `git` may be given: `https://`, `http://` to this machine, `ssh://`, `user@host:path`, `file://` or a
/// local path. Shown without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct RepoUrl {
    /// What git is given: without a password; a local path is absolute.
    address: String,
    transport: Transport,
    credentials: Option<Credentials>,
}

/// How the repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Https,
    /// Unencrypted, so only to this machine.
    HttpLoopback,
    Ssh,
    Local,
}

/// Who we say we are to an http server; deliberately without `Debug`.
#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    user: String,
    /// Absent: git asks its credential helpers for this user's.
    password: Option<String>,
}

/// Longest address; no real one comes near.
const URL_LEN: usize = 2048;

impl RepoUrl {
    /// Reads an address. A relative path is taken from the current directory.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        parse(text).map_err(|reason| SourceError::Url { text: masked(text), reason })
    }

    /// The repository's directory, when it is on this machine's disk.
    pub fn local_path(&self) -> Option<&Path> {
        (self.transport == Transport::Local).then(|| Path::new(&self.address))
    }

    /// The operand for `git`: no password in it, since arguments can be seen by everybody on the machine.
    pub(super) fn operand(&self) -> String {
        match &self.credentials {
            Some(Credentials { user, password: None }) => {
                self.address.replacen("://", &format!("://{}@", encode(user)), 1)
            }
            _ => self.address.clone(),
        }
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    /// The http header that carries the credentials, and the only origin that it may be sent to.
    pub(super) fn authorization(&self) -> Option<(&str, String)> {
        let Credentials { user, password: Some(password) } = self.credentials.as_ref()? else { return None };
        let host_end = self.address.match_indices('/').nth(2).map_or(self.address.len(), |(at, _)| at + 1);
        Some((
            &self.address[..host_end],
            format!("Authorization: Basic {}", base64(format!("{user}:{password}").as_bytes())),
        ))
    }

    /// The texts that must appear in no message: the password in every spelling, and users that look like tokens.
    pub(super) fn secrets(&self) -> Vec<String> {
        let Some(Credentials { user, password }) = &self.credentials else { return Vec::new() };
        let token = (user.len() >= 16).then_some(user);
        let mut secrets: Vec<String> = password.iter().chain(token).flat_map(|s| [s.clone(), encode(s)]).collect();
        secrets.extend(self.authorization().and_then(|(_, header)| header.rsplit(' ').next().map(str::to_owned)));
        secrets.retain(|secret| secret.len() >= 4);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        secrets
    }

    /// The address without any credentials: equal for the same repository.
    pub(super) fn identity(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credentials {
            Some(_) => f.pad(&self.address.replacen("://", "://***@", 1)),
            None => f.pad(&self.address),
        }
    }
}

impl fmt::Debug for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepoUrl({self})")
    }
}

impl std::str::FromStr for RepoUrl {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        Self::parse(text)
    }
}

fn parse(text: &str) -> Result<RepoUrl, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > URL_LEN {
        return Err("it is too long");
    }
    if text.chars().any(char::is_control) {
        return Err("it contains control characters");
    }
    if text.starts_with('-') {
        return Err("it begins with `-`, like an option");
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme {
            "https" => http("https", rest),
            "http" => http("http", rest),
            "ssh" => ssh(rest),
            "file" => file(rest),
            _ => Err("use `https://`, `ssh://`, `user@host:path`, `file://` or a path"),
        };
    }
    match text.find(':').filter(|colon| !text[..*colon].contains('/')) {
        Some(colon) if text[colon..].starts_with("::") => Err("addresses that name a helper program are not permitted"),
        Some(colon) => scp(&text[..colon], &text[colon + 1..]),
        None => local(Path::new(text)),
    }
}

fn http(scheme: &'static str, rest: &str) -> Result<RepoUrl, &'static str> {
    let (authority, path) = rest.split_once('/').ok_or("it has no path")?;
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let name = host_and_port(host)?;
    url_path(path)?;
    let loopback = name == "localhost"
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    let transport = match scheme {
        "https" => Transport::Https,
        _ if loopback => Transport::HttpLoopback,
        _ => return Err("`http://` is permitted to this machine only; use `https://`"),
    };
    let credentials = userinfo.map(read_credentials).transpose()?;
    Ok(RepoUrl { address: format!("{scheme}://{host}/{path}"), transport, credentials })
}

fn read_credentials(userinfo: &str) -> Result<Credentials, &'static str> {
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (userinfo, None),
    };
    if user.is_empty() && password.is_none_or(str::is_empty) || user.starts_with('-') {
        return Err("its user name is empty or begins with `-`");
    }
    // A line end in here would speak to the credential helper, or add an http header, in our name.
    let user = decode(user)?;
    if user.contains(':') {
        return Err("its user name contains `:`");
    }
    Ok(Credentials { user, password: password.map(decode).transpose()? })
}

fn ssh(rest: &str) -> Result<RepoUrl, &'static str> {
    let (authority, path) = rest.split_once('/').ok_or("it has no path")?;
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            ssh_user(user)?;
            host
        }
        None => authority,
    };
    host_and_port(host)?;
    url_path(path)?;
    Ok(RepoUrl { address: format!("ssh://{rest}"), transport: Transport::Ssh, credentials: None })
}

fn scp(authority: &str, path: &str) -> Result<RepoUrl, &'static str> {
    let (user, host) = authority.split_once('@').ok_or("write `user@host:path`, or `./path` for a local path")?;
    ssh_user(user)?;
    if host.contains(':') {
        return Err("its host name is malformed");
    }
    host_and_port(host)?;
    if path.starts_with('-') {
        return Err("its path begins with `-`, like an option");
    }
    url_path(path.trim_start_matches('/'))?;
    Ok(RepoUrl { address: format!("{authority}:{path}"), transport: Transport::Ssh, credentials: None })
}

fn file(rest: &str) -> Result<RepoUrl, &'static str> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err("a `file://` address is `file:///absolute/path`");
    }
    local(Path::new(&decode(path)?))
}

fn local(path: &Path) -> Result<RepoUrl, &'static str> {
    // Absolute, so that nothing in it can be taken for an option, a host or a scheme.
    let absolute: PathBuf = std::path::absolute(path).map_err(|_| "the current directory is not known")?;
    let address = absolute.into_os_string().into_string().map_err(|_| "the current directory is not UTF-8")?;
    Ok(RepoUrl { address, transport: Transport::Local, credentials: None })
}

/// Checks `host` or `host:port`; gives the host.
fn host_and_port(text: &str) -> Result<&str, &'static str> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            address.parse::<std::net::Ipv6Addr>().map_err(|_| "its IPv6 address is malformed")?;
            (&text[..address.len() + 2], port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let named = host.starts_with('[')
        || !host.is_empty()
            && host.len() <= 253
            && host.split('.').all(|label| !label.is_empty() && !label.starts_with('-'))
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if !named {
        return Err("its host name is malformed");
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(host),
        Some(digits)
            if digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(host)
        }
        _ => Err("its port is malformed"),
    }
}

fn ssh_user(user: &str) -> Result<(), &'static str> {
    if user.contains(':') {
        return Err("ssh takes no password in an address; use a key");
    }
    let named = !user.is_empty()
        && !user.starts_with('-')
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'));
    if named { Ok(()) } else { Err("its user name is malformed") }
}

/// Checks the path of a URL (without its leading `/`): nothing that a shell, a log or a header could misread.
fn url_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it has no path");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~+-%@:,=".contains(&b);
    if !path.bytes().all(plain) {
        return Err("its path contains characters that are not permitted; percent-encode them");
    }
    decode(path).map(drop)
}

/// Percent-decodes; refuses what hides control characters.
fn decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let byte = if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2).ok_or("it has a malformed `%` sequence")?;
            rest = tail;
            let digits = std::str::from_utf8(digits).map_err(|_| "it has a malformed `%` sequence")?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err("it has a malformed `%` sequence");
            }
            u8::from_str_radix(digits, 16).map_err(|_| "it has a malformed `%` sequence")?
        } else {
            *first
        };
        bytes.push(byte);
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    if text.chars().any(char::is_control) { Err("it contains control characters") } else { Ok(text) }
}

fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let word = chunk.iter().chain(&[0, 0]).take(3).fold(0usize, |word, byte| word << 8 | usize::from(*byte));
        (0..4usize).map(move |i| (i, word)).collect::<Vec<_>>()
    };
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            group(chunk)
                .into_iter()
                .map(|(i, word)| if i > chunk.len() { '=' } else { char::from(ALPHABET[word >> (18 - 6 * i) & 63]) })
        })
        .collect()
}

/// A refused address as it may be shown: it was not understood, so all before its last `@` could be a secret.
fn masked(text: &str) -> String {
    let shown = match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((user, host))) if user.contains(':') => format!("***@{host}"),
        _ => redact(text, &[]),
    };
    printable(&shown.replace('\n', " "), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("a:b", "YTpi")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn credentials_go_to_their_own_origin_and_into_no_text() {
        let url = RepoUrl::parse("https://bob:p%40ss-word@git.example:8443/team/specs.git").unwrap();
        assert_eq!(url.to_string(), "https://***@git.example:8443/team/specs.git");
        assert_eq!(format!("{url:?}"), "RepoUrl(https://***@git.example:8443/team/specs.git)");
        assert_eq!(url.operand(), "https://git.example:8443/team/specs.git");
        let (origin, header) = url.authorization().unwrap();
        assert_eq!(
            (origin, header.as_str()),
            ("https://git.example:8443/", "Authorization: Basic Ym9iOnBAc3Mtd29yZA==")
        );
        assert!(url.secrets().contains(&"p@ss-word".to_owned()));
        let named = RepoUrl::parse("https://bob@git.example/x").unwrap();
        assert_eq!((named.operand().as_str(), named.authorization().is_none()), ("https://bob@git.example/x", true));
        assert_eq!(named.to_string(), "https://***@git.example/x");
    }

    #[test]
    fn a_refused_address_is_shown_without_its_password() {
        let error = RepoUrl::parse("https://bob:hunter22@-evil/x").unwrap_err().to_string();
        assert!(!error.contains("hunter22"), "{error}");
        let error = RepoUrl::parse("gopher://bob:hunter22@h/x").unwrap_err().to_string();
        assert!(!error.contains("hunter22"), "{error}");
    }
}
