//! Who may use the API: anybody on this machine, or whoever has a token.
//!
//! Without tokens the server is only for programs of this machine, and browsers must not become their tools: the
//! `Host` must be a loopback name (a page of another site whose name was rebound to 127.0.0.1 keeps its own name), and
//! a request that changes something must not come from a page of another origin.

use std::path::{Path, PathBuf};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::Api;
use super::error::ApiError;
use super::extract::Actor;

/// The header in which a client says who uses it, where no token says so.
pub const ACTOR_HEADER: &str = "tidegate-actor";
/// Longest name that a client may give itself.
const MAX_ACTOR: usize = 64;
/// Largest file of tokens: some thousands of them.
const MAX_TOKEN_FILE: u64 = 1 << 20;
/// Shortest token: 16 random characters of base64 hold 96 bits.
const MIN_TOKEN: usize = 16;

/// Who may use the API.
#[derive(Debug, Clone, Default)]
pub struct Access {
    tokens: Vec<(String, [u8; 32])>,
}

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the tokens in {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// A line is not `NAME TOKEN` or `NAME sha256:HEX`.
    #[error(
        "{}, line {line}: write `NAME sha256:HEX` (64 digits), or `NAME TOKEN` with a token of at least {MIN_TOKEN} characters",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file has no token.
    #[error("{} has no token: write one line `NAME sha256:HEX` for each", .0.display())]
    Empty(PathBuf),
}

impl Access {
    /// Reads a file of tokens: one a line, `NAME sha256:HEX` or `NAME TOKEN`; `#` begins a comment.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let read = std::fs::metadata(path).and_then(|data| match data.len() {
            0..=MAX_TOKEN_FILE => std::fs::read_to_string(path),
            _ => Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "the file is larger than 1 MiB")),
        });
        let text = read.map_err(|error| TokenError::Read(path.to_owned(), error))?;
        let mut tokens = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                let bad = || TokenError::Line { path: path.to_owned(), line: number + 1 };
                tokens.push(token(line).ok_or_else(bad)?);
            }
        }
        if tokens.is_empty() { Err(TokenError::Empty(path.to_owned())) } else { Ok(Self { tokens }) }
    }

    /// Whether no token is needed.
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whose token it is. Looks at every token to its end, so that the time says nothing about them.
    fn owner(&self, token: &str) -> Option<&str> {
        let given = digest(token);
        let mut owner = None;
        for (name, known) in &self.tokens {
            let differing = known.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
            if std::hint::black_box(differing) == 0 {
                owner = Some(name.as_str());
            }
        }
        owner
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn token(line: &str) -> Option<(String, [u8; 32])> {
    let (name, token) = line.split_once(char::is_whitespace)?;
    let token = token.trim();
    let digest = match token.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.is_ascii() => {
            let mut bytes = [0; 32];
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
            }
            bytes
        }
        Some(_) => return None,
        None if token.len() < MIN_TOKEN || token.contains(char::is_whitespace) => return None,
        None => digest(token),
    };
    Some((actor_name(name)?, digest))
}

/// Lets a request in, or says why not; leaves who asks in the request.
pub(super) async fn check(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/healthz" || path == "/readyz" {
        return next.run(request).await;
    }
    match admit(&api.access, request.method(), request.uri(), request.headers()) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn admit(access: &Access, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Actor, ApiError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|a| a.as_str()));
    let forbidden = |message: &str| ApiError::new(StatusCode::FORBIDDEN, "forbidden", message);
    if access.is_open() && !host.is_some_and(is_loopback) {
        return Err(forbidden("this server only answers to loopback names (127.0.0.1, localhost, [::1])")
            .help("use such a name, or start the server with --token-file"));
    }
    let changes = !(method.is_safe());
    if changes && let Some(origin) = headers.get(header::ORIGIN) {
        let own = |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
        if !origin.to_str().is_ok_and(own) {
            return Err(forbidden("a page of another origin may not change anything here"));
        }
    }
    if access.is_open() {
        let claimed = headers.get(ACTOR_HEADER).and_then(|name| name.to_str().ok()).and_then(actor_name);
        return Ok(Actor(claimed.unwrap_or_else(|| "api".to_owned())));
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        bearer.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let owner = token.and_then(|(_, token)| access.owner(token.trim()));
    owner.map(|name| Actor(name.to_owned())).ok_or_else(|| {
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "a token is needed, or the one given is not known")
            .help("set TIDEGATE_TOKEN, or send `Authorization: Bearer TOKEN`")
    })
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn actor_name(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
    (!text.is_empty() && text.len() <= MAX_ACTOR && text.chars().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(access: &Access, method: Method, headers: &[(&str, &str)]) -> Result<String, StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(header::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let admitted = admit(access, &method, &Uri::from_static("/api/v1/runs"), &map);
        admitted.map(|actor| actor.0).map_err(|error| error.into_response().status())
    }

    #[test]
    fn without_tokens_only_loopback_names_are_answered() {
        let open = Access::default();
        for host in ["127.0.0.1:7878", "localhost", "LOCALHOST:1", "[::1]:7878", "127.9.9.9"] {
            assert!(verdict(&open, Method::GET, &[("host", host)]).is_ok(), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "localhost.evil", "[::2]:1", ""] {
            assert_eq!(verdict(&open, Method::GET, &[("host", host)]), Err(StatusCode::FORBIDDEN), "{host}");
        }
        assert_eq!(verdict(&open, Method::GET, &[]), Err(StatusCode::FORBIDDEN));
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let open = Access::default();
        let from = |origin| [("host", "127.0.0.1:7878"), ("origin", origin)];
        assert!(verdict(&open, Method::POST, &from("http://127.0.0.1:7878")).is_ok());
        assert!(verdict(&open, Method::GET, &from("http://evil.example")).is_ok());
        for origin in ["http://evil.example", "null", "http://127.0.0.1:9999"] {
            assert_eq!(verdict(&open, Method::POST, &from(origin)), Err(StatusCode::FORBIDDEN), "{origin}");
            assert_eq!(verdict(&open, Method::PATCH, &from(origin)), Err(StatusCode::FORBIDDEN), "{origin}");
        }
    }

    #[test]
    fn a_token_names_who_asks_and_others_are_refused() {
        let access =
            Access { tokens: vec![token("ci 0123456789abcdef").unwrap(), token("ada fedcba9876543210").unwrap()] };
        let with = |value| [("host", "tide.example"), ("authorization", value), (ACTOR_HEADER, "mallory")];
        assert_eq!(verdict(&access, Method::POST, &with("Bearer fedcba9876543210")), Ok("ada".to_owned()));
        for bad in ["Bearer nope", "Basic fedcba9876543210", "fedcba9876543210", ""] {
            assert_eq!(verdict(&access, Method::GET, &with(bad)), Err(StatusCode::UNAUTHORIZED), "{bad}");
        }
    }

    #[test]
    fn tokens_are_read_plain_or_hashed() {
        let hex = crate::domain::ids::Digest::of(b"0123456789abcdef");
        assert_eq!(token(&format!("ci sha256:{hex}")), token("ci 0123456789abcdef"));
        for bad in ["ci", "ci short", "ci sha256:12", "c i 0123456789abcdef", "\u{1b} 0123456789abcdef"] {
            assert!(token(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_a_client_calls_itself_is_checked() {
        let open = Access::default();
        let named = |name| verdict(&open, Method::POST, &[("host", "localhost"), (ACTOR_HEADER, name)]);
        assert_eq!(named("ada"), Ok("ada".to_owned()));
        assert_eq!(named("a b"), Ok("api".to_owned()));
        assert_eq!(named(&"x".repeat(65)), Ok("api".to_owned()));
    }
}
