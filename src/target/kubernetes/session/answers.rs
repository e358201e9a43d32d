//! What comes of requests.

use std::time::Instant;

use super::End;
use super::{Session, wall_clock};
use crate::domain::dispatch::observation::{Cause, Observation, Seen};
use crate::domain::kubernetes::render::{RootKind, UNSUPPORTED_KIND};
use crate::target::kubernetes::line::Asked;
use crate::target::kubernetes::requests::{Answer, Foreground, Request};
use crate::target::kubernetes::trouble::Trouble;

/// Tries of a request before its trouble is shown.
const SILENT_TRIES: u32 = 2;

impl Session<'_> {
    pub(super) fn answered(&mut self, asked: Asked, answer: Result<Answer, Trouble>) {
        let request = &asked.request;
        let name = request.attempt();
        match answer {
            Ok(answer) => self.done(request, answer),
            Err(Trouble::Agent(why)) => self.end = Some(End::Trouble(why)),
            Err(Trouble::Later(cause)) => {
                if asked.tries >= SILENT_TRIES && matches!(request, Request::Create(..)) {
                    let seen = self.attempt(name, RootKind::Job).say(Seen::Delayed(cause));
                    self.out.extend(seen.map(|seen| Observation { attempt: name, at: wall_clock(), seen }));
                }
                self.line.again(asked);
            }
            Err(Trouble::Unreachable(why)) => {
                tracing::debug!(agent = %self.settings.agent, attempt = %name, why, "a request was not answered");
                self.look_whether_it_answers();
                self.line.again(asked);
            }
            Err(trouble) => match request {
                Request::Create(..) => {
                    self.attempt(name, RootKind::Job).creating = false;
                    let cause = match trouble {
                        Trouble::Refused(cause) => cause,
                        other => Cause::new(
                            UNSUPPORTED_KIND,
                            format!("the cluster does not take its object: {}", other.message()),
                        ),
                    };
                    self.failed(name, cause);
                }
                // Somebody forbids what was allowed at the beginning of the session.
                Request::Remove(..) | Request::Expire(..) | Request::RemovePod(..) => {
                    tracing::warn!(agent = %self.settings.agent, attempt = %name, why = trouble.message(), "an object cannot be removed");
                    self.line.again(asked);
                }
                Request::Inquire(..) => {}
            },
        }
    }

    fn done(&mut self, request: &Request, answer: Answer) {
        let name = request.attempt();
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        match (request, answer) {
            (Request::Create(_, objects), Answer::Made(uid)) => {
                attempt.creating = false;
                attempt.made(objects.kind, uid);
                if attempt.stopping && !attempt.removing {
                    attempt.removing = true;
                    let kind = attempt.kind;
                    self.line.push(Request::Remove(name, kind, Foreground::Yes));
                }
            }
            (Request::Remove(..) | Request::Expire(..), Answer::Absent) => {
                attempt.gone = true;
                if self.drop_if_left(name) {
                    return;
                }
                self.end_orphans(name);
            }
            (Request::Inquire(..), Answer::Found(cause)) => {
                if let Some((stage, waited)) = attempt.learns(cause, Instant::now()) {
                    self.paces.took(stage, waited);
                }
            }
            _ => {}
        }
        self.look_at(name);
    }
}
