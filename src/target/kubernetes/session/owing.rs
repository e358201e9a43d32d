//! What is delivered becomes requests.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::{Session, wall_clock};
use crate::domain::dispatch::observation::{Cause, Observation, Seen};
use crate::domain::ids::AttemptName;
use crate::domain::kubernetes::render::{Assignment, RootKind, UNSUPPORTED_KIND, objects};
use crate::target::kubernetes::attempt::STOPPED;
use crate::target::kubernetes::requests::{Foreground, Request};
use crate::target::{Effect, Launch};

/// The reason of an attempt that was stopped before it had objects.
const NEVER_STARTED: &str = "NeverStarted";

impl Session<'_> {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Launch(launch) => self.launch(&launch),
            Effect::Stop { attempt, .. } => self.stop(attempt),
            Effect::Forget(attempt) => {
                if let Some(known) = self.attempts.get_mut(&attempt) {
                    known.forgotten.get_or_insert(Instant::now());
                    known.ended = true;
                    self.clean_up(attempt);
                }
            }
        }
    }

    fn launch(&mut self, launch: &Launch) {
        let name = launch.attempt;
        // It was delivered before; what is known of it was or will be reported.
        if self.attempts.contains_key(&name) {
            return;
        }
        let run = serde_json::to_value(&launch.run).unwrap_or(Value::Null);
        let assignment = Assignment {
            attempt: name,
            epoch: launch.epoch,
            instance: &self.settings.instance,
            project: &launch.project,
            run_name: &launch.run_name,
            namespace: &self.namespace,
            service_account: self.settings.spec.service_account.as_deref(),
            connections: &self.settings.spec.connections,
            run: &run,
            sections: &launch.sections,
            env: &launch.env,
            timeout: launch.timeout,
            ttl: launch.ttl,
        };
        let objects = objects(&assignment).and_then(|objects| match objects.kind.operator() {
            Some(operator) if !self.kinds.contains(&objects.kind) => {
                let (group, version, kind, _) = objects.kind.api();
                let message = format!("the cluster does not know {kind} ({group}/{version}): install {operator} there");
                Err(Cause::new(UNSUPPORTED_KIND, message))
            }
            _ => Ok(objects),
        });
        match objects {
            Ok(objects) => {
                let attempt = self.attempt(name, objects.kind);
                attempt.creating = true;
                attempt.ttl = launch.ttl;
                self.line.push(Request::Create(name, Arc::new(objects)));
            }
            Err(cause) => self.failed(name, cause),
        }
    }

    pub(super) fn failed(&mut self, name: AttemptName, cause: Cause) {
        let seen = Seen::Failed { cause, exit_code: None, outputs: Map::new() };
        let seen = self.attempt(name, RootKind::Job).say(seen);
        self.out.extend(seen.map(|seen| Observation { attempt: name, at: wall_clock(), seen }));
    }

    fn stop(&mut self, name: AttemptName) {
        let unsent = self.line.take_back_create(name);
        let attempt = self.attempt(name, RootKind::Job);
        if unsent {
            attempt.creating = false;
        }
        attempt.stopping = true;
        if attempt.creating || attempt.ended {
            return;
        }
        if !attempt.is_there() {
            let cause = if attempt.gone {
                Cause::new(STOPPED, "its objects in the cluster were deleted and its pods have ended")
            } else {
                Cause::new(NEVER_STARTED, "stopped before it was put into the cluster")
            };
            let seen = attempt.say(Seen::Stopped(cause));
            self.out.extend(seen.map(|seen| Observation { attempt: name, at: wall_clock(), seen }));
            return;
        }
        let deleting = attempt.gone || attempt.root.as_ref().is_some_and(|root| root.deleting);
        if !deleting && !attempt.removing {
            attempt.removing = true;
            let kind = attempt.kind;
            self.line.push(Request::Remove(name, kind, Foreground::Yes));
        }
    }
}
