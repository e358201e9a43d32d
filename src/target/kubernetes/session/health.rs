//! Whether a trouble is that of the whole agent.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::watcher;

use super::{End, Session};
use crate::target::kubernetes::connect::within;
use crate::target::kubernetes::gate::Gate;
use crate::target::kubernetes::trouble::{BUSY, Trouble, of_status, trouble_of};

/// Longest wait for the answer of a probe: a slow cluster is not one that is gone.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Failures of watches in a row after which a session begins anew although the cluster answers.
const MAX_FAILURES: u32 = 10;

/// A question whether the cluster answers.
pub type Probe = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl Session<'_> {
    pub(super) fn watch_failed(&mut self, error: &watcher::Error) {
        self.failures += 1;
        let trouble = match error {
            // The watch begins anew with a list by itself.
            watcher::Error::WatchError(status) if status.code == 410 => return,
            watcher::Error::WatchError(status) => of_status(status),
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => trouble_of(error),
            watcher::Error::NoResourceVersion => Trouble::Agent(error.to_string()),
        };
        match trouble {
            Trouble::Agent(why) => self.end = Some(End::Trouble(why)),
            // It answers: it is busy, and says how long to wait.
            Trouble::Later(cause) if cause.reason == BUSY => {}
            trouble if self.failures >= MAX_FAILURES => {
                self.end = Some(End::Trouble(format!("its watches fail again and again: {}", trouble.message())))
            }
            _ => self.look_whether_it_answers(),
        }
    }

    pub(super) fn look_whether_it_answers(&mut self) {
        if self.probe.is_none() {
            self.probe = Some(Box::pin(probe(self.client.clone(), self.line.gate())));
        }
    }
}

/// The answer of a probe; never, when there is none.
pub async fn answer_of(probe: &mut Option<Probe>) -> Result<(), String> {
    match probe {
        Some(probe) => probe.await,
        None => pending().await,
    }
}

/// Whether the cluster answers at all.
async fn probe(client: Client, gate: Arc<Gate>) -> Result<(), String> {
    // What was only a hiccup is over by then.
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.opened().await;
    match tokio::time::timeout(PROBE_TIMEOUT, within(client.apiserver_version())).await {
        Ok(Ok(_) | Err(Trouble::Later(_))) => Ok(()),
        Ok(Err(trouble)) => Err(format!("the cluster does not answer: {}", trouble.message())),
        Err(_) => Err(format!("the cluster does not answer within {} s", PROBE_TIMEOUT.as_secs())),
    }
}
