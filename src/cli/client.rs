//! The client of the API: plain blocking HTTP, one request after another.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Method, Request, Response, StatusCode};

use super::{Exit, Result, ServerArgs};
use crate::server::access::ACTOR_HEADER;
use crate::server::views::{DiagnosticView, ErrorBody, ErrorView};

/// Longest wait for an answer; a little longer than the server gives itself.
const ANSWER_TIME: Duration = Duration::from_secs(40);
/// Longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Largest answer: a thousand runs with their outputs.
const MAX_ANSWER: u64 = 64 << 20;
/// Longest line of a stream of events.
const MAX_LINE: u64 = 16 << 20;

/// Why the server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no server at {0}: start one with `tidegate up` or `tidegate serve`")]
    NoServer(String),
    /// It cannot be talked to.
    #[error("cannot talk to the server at {url}")]
    Http {
        /// The server.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// It refused.
    #[error("{}", .0.message)]
    Refused(Box<ErrorView>),
    /// Its answer is not what this program expects.
    #[error("the server at {0} answered with something unexpected: is it a tidegate of another release?")]
    Strange(String, #[source] serde_json::Error),
    /// It stopped while it was listened to.
    #[error("the server at {0} closed the stream")]
    Closed(String),
}

impl ClientError {
    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Refused(view) => Some(view.help.as_str()).filter(|help| !help.is_empty()),
            _ => None,
        }
    }

    /// Problems of what was sent.
    pub fn diagnostics(&self) -> &[DiagnosticView] {
        match self {
            Self::Refused(view) => &view.diagnostics,
            _ => &[],
        }
    }

    /// The exit code that says it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused(view) if view.code == "invalid" => Exit::Invalid,
            Self::Refused(view) if view.code == "stale" => Exit::Stale,
            _ => Exit::Other,
        }
    }
}

/// The way to a server.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
    user: String,
}

/// One event of a stream.
#[derive(Debug, PartialEq)]
pub struct StreamEvent {
    /// What it is.
    pub kind: String,
    /// Its JSON.
    pub data: String,
}

impl Client {
    /// A client for a server; nothing is sent yet.
    pub fn new(args: &ServerArgs) -> Result<Self> {
        let url = args.server.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            anyhow::bail!("`{}` is not the address of a server: write for example http://127.0.0.1:7878", args.server);
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_recv_response(Some(ANSWER_TIME));
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "cli".to_owned());
        let user = if user.bytes().all(|c| c.is_ascii_graphic()) { user } else { "cli".to_owned() };
        Ok(Self { agent: config.build().into(), url, token: args.token.clone(), user })
    }

    /// Reads something.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(self.send(Method::GET, path, None)?)
    }

    /// Asks for something to be done.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.read(self.send(Method::POST, path, Some(self.json(body)?))?)
    }

    /// Changes something.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.read(self.send(Method::PATCH, path, Some(self.json(body)?))?)
    }

    /// Deletes something.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(self.send(Method::DELETE, path, None)?)
    }

    /// Reads a piece of a log, and whether it was the last.
    pub fn log(&self, run: &str, from: u64) -> Result<(Vec<u8>, bool), ClientError> {
        let response = self.send(Method::GET, &format!("/runs/{}/logs?from={from}", encode(run)), None)?;
        let last = response.headers().get("tidegate-log-end").is_some_and(|end| end == "true");
        Ok((self.bytes(response)?, last))
    }

    /// Listens to a stream of events until it ends.
    pub fn events(
        &self,
        path: &str,
    ) -> Result<impl Iterator<Item = Result<StreamEvent, ClientError>> + use<'_>, ClientError> {
        let response = self.send(Method::GET, path, None)?;
        let mut lines = BufReader::new(response.into_body().into_with_config().limit(u64::MAX).reader());
        Ok(std::iter::from_fn(move || self.event(&mut lines).transpose()))
    }

    /// The next event; `None` at the end of the stream.
    fn event(&self, lines: &mut impl BufRead) -> Result<Option<StreamEvent>, ClientError> {
        read_event(lines).map_err(|_| ClientError::Closed(self.url.clone()))
    }

    fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<Response<ureq::Body>, ClientError> {
        let mut request = Request::builder().method(method).uri(format!("{}/api/v1{path}", self.url));
        request = request.header(ACTOR_HEADER, &self.user);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let sent = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body)
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request)),
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request)),
        };
        let response = sent.map_err(|error| self.failed(error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response)) }
    }

    fn json(&self, body: &impl Serialize) -> Result<String, ClientError> {
        serde_json::to_string(body).map_err(|error| ClientError::Strange(self.url.clone(), error))
    }

    fn bytes(&self, mut response: Response<ureq::Body>) -> Result<Vec<u8>, ClientError> {
        response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(|error| self.failed(error))
    }

    fn read<T: DeserializeOwned>(&self, response: Response<ureq::Body>) -> Result<T, ClientError> {
        let bytes = self.bytes(response)?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Strange(self.url.clone(), error))
    }

    fn refused(&self, response: Response<ureq::Body>) -> ClientError {
        let status = response.status();
        match self.bytes(response) {
            Ok(bytes) => match serde_json::from_slice::<ErrorBody>(&bytes) {
                Ok(body) => ClientError::Refused(Box::new(body.error)),
                Err(_) => ClientError::Refused(Box::new(unspoken(status, &self.url))),
            },
            Err(error) => error,
        }
    }

    fn failed(&self, error: ureq::Error) -> ClientError {
        use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused};
        match error {
            ureq::Error::Io(error) if matches!(error.kind(), ConnectionRefused | AddrNotAvailable) => {
                ClientError::NoServer(self.url.clone())
            }
            ureq::Error::ConnectionFailed => ClientError::NoServer(self.url.clone()),
            error => ClientError::Http { url: self.url.clone(), source: Box::new(error) },
        }
    }
}

/// An error whose body is not one of ours (a proxy's, say).
fn unspoken(status: StatusCode, url: &str) -> ErrorView {
    let message = format!("the server at {url} answered {status}");
    ErrorView { code: "unknown".to_owned(), message, help: String::new(), diagnostics: Vec::new() }
}

/// Reads one event of the form of server-sent events; comments are skipped.
fn read_event(lines: &mut impl BufRead) -> std::io::Result<Option<StreamEvent>> {
    let (mut kind, mut data) = (String::new(), Vec::new());
    loop {
        let mut line = Vec::new();
        if std::io::Read::take(&mut *lines, MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            if !data.is_empty() {
                return Ok(Some(StreamEvent { kind, data: data.join("\n") }));
            }
            kind.clear();
        } else if let Some((field, value)) = line.split_once(':') {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut kind),
                "data" => data.push(value.to_owned()),
                _ => {}
            }
        }
    }
}

/// Reads the JSON of an event.
pub fn event_data<T: DeserializeOwned>(event: &StreamEvent) -> Result<T> {
    Ok(serde_json::from_str(&event.data)?)
}

/// A query: pairs with a value, encoded, with `?` in front; empty without any.
pub fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if let Some(value) = value {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            text.push_str(&encode(value));
        }
    }
    text
}

/// A text as one segment of a path or a value of a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// An empty body.
pub fn nothing() -> Value {
    Value::Object(serde_json::Map::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_skipped() {
        let mut text = ": hello\n\nevent: run\nid: 3\ndata: {\"a\":\ndata: 1}\n\nevent: end\ndata: \"x\"\n\n".as_bytes();
        let event = |kind: &str, data: &str| Some(StreamEvent { kind: kind.into(), data: data.into() });
        assert_eq!(read_event(&mut text).unwrap(), event("run", "{\"a\":\n1}"));
        assert_eq!(read_event(&mut text).unwrap(), event("end", "\"x\""));
        assert_eq!(read_event(&mut text).unwrap(), None);
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(query(&[("a", None), ("b", Some("x/y &z")), ("c", Some("1"))]), "?b=x%2Fy%20%26z&c=1");
        assert_eq!(query(&[("a", None)]), "");
    }
}
