//! Logs are read to their end, then the objects of what is over go.

use std::time::Duration;

use tokio::sync::watch;

use super::{Message, Session};
use crate::domain::ids::AttemptName;
use crate::domain::kubernetes::names::MAIN;
use crate::domain::kubernetes::render::RootKind;
use crate::target::kubernetes::attempt::Log;
use crate::target::kubernetes::logs::Reading;
use crate::target::kubernetes::requests::{Foreground, Request};

/// How long the removal of an ended attempt waits for its log.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

impl Session<'_> {
    pub(super) fn read_logs(&mut self, name: AttemptName) {
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        let alone = attempt.kind == RootKind::Job;
        for (uid, pod) in &attempt.pods {
            let ended = pod.is_over() || pod.main_has_ended();
            let log = attempt.logs.entry(uid.clone()).or_default();
            if *log == Log::Unread && pod.has_log() {
                *log = Log::Reading;
                let (send, over) = watch::channel(ended);
                self.over.insert(uid.clone(), send);
                let container = pod.main_container().unwrap_or(MAIN).to_owned();
                let prefix = (!alone).then(|| format!("[{}] ", pod.name));
                let reading = Reading { attempt: name, pod: pod.name.clone(), container, prefix, over };
                let (logs, inbox, uid) = (self.logs.clone(), self.inbox.clone(), uid.clone());
                tokio::spawn(async move {
                    logs.read(reading).await;
                    if let Some(inbox) = inbox.upgrade() {
                        let _ = inbox.send(Message::LogKept(name, uid));
                    }
                });
            } else if *log == Log::Reading
                && ended
                && let Some(over) = self.over.get(uid)
            {
                over.send_if_modified(|over| !std::mem::replace(over, true));
            }
        }
    }

    pub(super) fn log_kept(&mut self, name: AttemptName, pod: &str) {
        self.over.remove(pod);
        if let Some(attempt) = self.attempts.get_mut(&name) {
            attempt.logs.insert(pod.to_owned(), Log::Kept);
            self.clean_up(name);
        }
    }

    /// Removes the objects of an attempt whose end is saved, once its log is.
    pub(super) fn clean_up(&mut self, name: AttemptName) {
        if !self.hold.may_remove() {
            return;
        }
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        let Some(since) = attempt.forgotten.filter(|_| !attempt.removing) else { return };
        if attempt.creating || (!attempt.logs_kept() && since.elapsed() < LOG_PATIENCE) {
            return;
        }
        if !attempt.is_there() {
            self.drop_if_left(name);
            return;
        }
        attempt.removing = true;
        // A Job whose sidecars go on has not finished for the cluster: its time to live would never begin.
        let finished = attempt.kind == RootKind::Job && !attempt.stopping && !attempt.has_live_pods();
        let ttl = attempt.ttl.filter(|ttl| ttl.0 > 0 && finished);
        let request = match ttl {
            Some(ttl) => Request::Expire(name, ttl),
            None => Request::Remove(name, attempt.kind, Foreground::No),
        };
        self.line.push(request);
    }
}
