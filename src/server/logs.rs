//! The log of a run's newest attempt: in pieces, or as it grows.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::Api;
use super::error::ApiError;
use super::extract::{OneRun, Params};
use super::watch::Stream;
use crate::domain::dispatch::history::RunRow;

/// Bytes of one piece when nobody says how many.
const PIECE: u64 = 256 << 10;
/// Most bytes of one piece.
const MAX_PIECE: u64 = 4 << 20;
/// Bytes of one event of a followed log.
const CHUNK: u64 = 64 << 10;
/// How often a growing log is looked at: a person does not see the difference, and a file costs a `stat`.
const LOOK: Duration = Duration::from_millis(200);

/// Which piece of a log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Where it begins, in bytes; 0 when absent.
    #[serde(default)]
    from: u64,
    /// Most bytes; 256 KiB when absent, at most 4 MiB.
    max: Option<u64>,
}

/// From where a log is followed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowQuery {
    /// In bytes; 0 when absent.
    #[serde(default)]
    from: u64,
}

/// A piece of a followed log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogChunk {
    /// The attempt that wrote it.
    pub attempt: u32,
    /// Where the next piece begins, in bytes.
    pub next: u64,
    /// What it says; bytes that are not UTF-8 are replaced.
    pub text: String,
}

pub(super) async fn read(
    State(api): State<Api>,
    OneRun(run): OneRun,
    Params(query): Params<LogQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let ended = run.status.is_final();
    let bytes = match api.log_of(&run)? {
        Some(path) => piece(&path, query.from, query.max.unwrap_or(PIECE).min(MAX_PIECE)).await?,
        None => Vec::new(),
    };
    let headers = [
        (CONTENT_TYPE.as_str(), "text/plain; charset=utf-8".to_owned()),
        ("tidegate-log-next", (query.from + bytes.len() as u64).to_string()),
        ("tidegate-log-end", (ended && bytes.is_empty()).to_string()),
    ];
    Ok((headers, bytes))
}

pub(super) async fn follow(
    State(api): State<Api>,
    OneRun(run): OneRun,
    Params(query): Params<FollowQuery>,
) -> Result<impl IntoResponse, ApiError> {
    api.log_of(&run)?;
    let own = api.clone();
    api.stream(move |stream| own.send_log(stream, run, query.from))
}

impl Api {
    /// The file of a run's log; `None` before its first attempt.
    fn log_of(&self, run: &RunRow) -> Result<Option<PathBuf>, ApiError> {
        match self.control.log_file(run) {
            None if run.attempt.0 > 0 => Err(ApiError::not_found(format!(
                "the log of run {} is not on this machine: its agent {} is not local, or is gone",
                run.id, run.queue.agent
            ))),
            path => Ok(path),
        }
    }

    /// Sends what the log has and what it gets, through all attempts, until the run has ended.
    async fn send_log(self, stream: Stream, mut run: RunRow, mut from: u64) {
        let mut tail = Vec::new();
        loop {
            // Whether the run has ended is read before its log: what it wrote before is then all there.
            let Ok(Some(now)) = self.history(move |history| history.run(run.id)).await else { return };
            if now.attempt != run.attempt {
                (from, tail) = (0, Vec::new());
            }
            run = now;
            let path = self.control.log_file(&run);
            let bytes = match &path {
                Some(path) => piece(path, from, CHUNK).await.unwrap_or_default(),
                None => Vec::new(),
            };
            from += bytes.len() as u64;
            let last = bytes.is_empty();
            tail.extend(bytes);
            let ended = run.status.is_final() && last;
            let whole = if ended { tail.len() } else { whole_characters(&tail) };
            if whole > 0 {
                let text = String::from_utf8_lossy(&tail[..whole]).into_owned();
                tail.drain(..whole);
                let chunk = LogChunk { attempt: run.attempt.0, next: from - tail.len() as u64, text };
                if !stream.send("log", None, &chunk).await {
                    return;
                }
            }
            if ended {
                stream.send("end", None, &run.status.word()).await;
                return;
            }
            if last && !stream.pause(LOOK).await {
                return;
            }
        }
    }
}

/// A piece of a file; empty when the file is not there yet.
async fn piece(path: &std::path::Path, from: u64, max: u64) -> Result<Vec<u8>, ApiError> {
    let read = async {
        let mut file = tokio::fs::File::open(path).await?;
        file.seek(SeekFrom::Start(from)).await?;
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    match read.await {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(ApiError::internal(format!("the log cannot be read: {error}"))),
    }
}

/// How many bytes can be shown now: all but a character at the end that has only begun.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_not_cut_in_two() {
        assert_eq!(whole_characters("añ".as_bytes()), 3);
        assert_eq!(whole_characters(&"añ".as_bytes()[..2]), 1);
        assert_eq!(whole_characters(&[b'a', 0xff, b'b']), 3);
    }

    #[tokio::test]
    async fn a_file_is_read_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(piece(&path, 0, 10).await.unwrap(), b"");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(piece(&path, 4, 3).await.unwrap(), b"456");
        assert_eq!(piece(&path, 20, 3).await.unwrap(), b"");
    }
}
