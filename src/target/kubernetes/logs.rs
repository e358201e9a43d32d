//! Logs of pods: streamed while they run, and kept on this machine after the cluster has forgotten them.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod as CorePod;
use kube::api::LogParams;
use kube::{Api, Client};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};

use super::trouble::{Trouble, trouble_of};
use crate::domain::ids::AttemptName;
use crate::target::local::MAX_LOG_BYTES;

/// Logs of one agent that are read at the same time; each is a connection. Others are read when their pods have ended.
const MAX_STREAMS: usize = 128;
/// After the end of a container its stream is over once nothing more came for so long; some kubelets leave it open.
const QUIET: Duration = Duration::from_millis(500);
/// Wait before a log that could not be read is asked for again: doubled each time.
const AGAIN: Duration = Duration::from_millis(500);
/// How often it is asked for while its pod is there, and again when that has ended: a log that nobody may read costs no more.
const TRIES: usize = 4;
/// What stands at the end of a log that was cut.
const CUT: &[u8] = b"\n[tidegate: the rest of this log is not kept]\n";

/// Keeps the logs of an agent in a directory.
#[derive(Clone)]
pub struct Logs {
    dir: PathBuf,
    pods: Api<CorePod>,
    streams: Arc<Semaphore>,
}

/// One log to be read.
pub struct Reading {
    /// Whose it is.
    pub attempt: AttemptName,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// What stands before each line, when several pods write into one log.
    pub prefix: Option<String>,
    /// Whether the pod has ended.
    pub over: watch::Receiver<bool>,
}

impl Reading {
    /// Whether the pod has ended, or nobody looks at it any more.
    fn is_over(&self) -> bool {
        *self.over.borrow() || self.over.has_changed().is_err()
    }
}

impl Logs {
    /// Logs of pods of a namespace.
    pub fn new(dir: PathBuf, client: Client, namespace: &str) -> Self {
        Self { dir, pods: Api::namespaced(client, namespace), streams: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    /// The file of an attempt's log.
    pub fn file(dir: &Path, attempt: AttemptName) -> PathBuf {
        dir.join(format!("{attempt}.log"))
    }

    /// Reads a log to its end. One that cannot be read while its pod is there is read when that has ended.
    pub async fn read(self, mut reading: Reading) {
        if self.has_read(&mut reading).await || reading.is_over() {
            return;
        }
        // An error says that nobody looks at the pod any more.
        let _ = reading.over.wait_for(|over| *over).await;
        self.has_read(&mut reading).await;
    }

    /// Reads a log, and says whether there is nothing more to read.
    async fn has_read(&self, reading: &mut Reading) -> bool {
        let mut wait = AGAIN;
        for _ in 0..TRIES {
            let over = reading.is_over();
            let Ok(permit) = self.streams.acquire().await else { return true };
            match self.stream(reading).await {
                Ok(()) => return true,
                Err(Failure::Gone) => return over,
                Err(Failure::Write(error)) => {
                    tracing::warn!(attempt = %reading.attempt, %error, "a log cannot be written");
                    return true;
                }
                Err(Failure::Read(why)) => {
                    tracing::debug!(attempt = %reading.attempt, why, "a log cannot be read yet");
                }
            }
            drop(permit);
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        false
    }

    async fn stream(&self, reading: &mut Reading) -> Result<(), Failure> {
        let follow = !reading.is_over();
        let container = Some(reading.container.clone());
        let params = LogParams { container, follow, ..LogParams::default() };
        let stream = self.pods.log_stream(&reading.pod, &params).await.map_err(|error| match trouble_of(&error) {
            Trouble::NotFound => Failure::Gone,
            trouble => Failure::Read(trouble.message()),
        })?;
        futures::pin_mut!(stream);
        let mut file = self.open(reading.attempt).await.map_err(Failure::Write)?;
        let size = file.seek(SeekFrom::End(0)).await.map_err(Failure::Write)?;
        // The stream begins at the beginning: what an earlier server wrote is passed over. Pods that share a log are not
        // told apart in it, so that theirs is written anew.
        let mut skip = if reading.prefix.is_none() { size } else { 0 };
        let mut written = size;
        let mut begins = true;
        let mut buffer = vec![0; 16 << 10];
        loop {
            let over = reading.is_over();
            let count = tokio::select! {
                count = stream.read(&mut buffer) => count.map_err(|error| Failure::Read(error.to_string()))?,
                () = tokio::time::sleep(QUIET), if over => 0,
                _ = reading.over.changed(), if !over => continue,
            };
            if count == 0 {
                break;
            }
            let mut bytes = &buffer[..count];
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes = &bytes[skipped..];
            skip -= skipped as u64;
            let text = match &reading.prefix {
                Some(prefix) => prefixed(prefix, bytes, &mut begins),
                None => bytes.to_vec(),
            };
            let room = usize::try_from(MAX_LOG_BYTES.saturating_sub(written)).unwrap_or(usize::MAX);
            if text.len() > room {
                file.write_all(&text[..room]).await.map_err(Failure::Write)?;
                file.write_all(CUT).await.map_err(Failure::Write)?;
                break;
            }
            file.write_all(&text).await.map_err(Failure::Write)?;
            file.flush().await.map_err(Failure::Write)?;
            written += text.len() as u64;
        }
        file.flush().await.map_err(Failure::Write)
    }

    async fn open(&self, attempt: AttemptName) -> std::io::Result<File> {
        tokio::fs::create_dir_all(&self.dir).await?;
        OpenOptions::new().create(true).append(true).open(Self::file(&self.dir, attempt)).await
    }
}

/// Why a log was not read.
enum Failure {
    /// There is no such pod, or its kubelet does not know it yet.
    Gone,
    /// It may be read later.
    Read(String),
    /// The file.
    Write(std::io::Error),
}

/// Bytes with a prefix at the beginning of each line.
fn prefixed(prefix: &str, bytes: &[u8], begins: &mut bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + prefix.len());
    for &byte in bytes {
        if *begins {
            text.extend_from_slice(prefix.as_bytes());
        }
        text.push(byte);
        *begins = byte == b'\n';
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_gets_its_prefix_once() {
        let mut begins = true;
        let mut text = prefixed("[w] ", b"a\nb", &mut begins);
        text.extend(prefixed("[w] ", b"c\n", &mut begins));
        assert_eq!(text, b"[w] a\n[w] bc\n");
    }
}
