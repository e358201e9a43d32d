//! The requests of a session on their way: those that wait, those under way, and those that are sent again later.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use kube::Client;

use super::fence::Fence;
use super::gate::Gate;
use super::requests::{Answer, Request};
use super::trouble::Trouble;
use crate::domain::ids::AttemptName;

/// Requests that are under way at the same time: enough to hide 10 ms of latency behind some thousand requests a
/// second, and far below what the fair queueing of an API server gives one client.
const IN_FLIGHT: usize = 64;
/// Wait before a request is sent again: the first and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A request with its history.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// How often it was sent before without an answer that counts.
    pub tries: u32,
}

type Flight = Pin<Box<dyn Future<Output = (Asked, Result<Answer, Trouble>)> + Send>>;

/// All requests of a session.
pub struct Line {
    gate: Arc<Gate>,
    fence: Arc<Fence>,
    client: Client,
    namespace: String,
    waiting: VecDeque<Asked>,
    delayed: Vec<(Instant, Asked)>,
    flying: FuturesUnordered<Flight>,
}

impl Line {
    /// A line in which nobody stands.
    pub fn new(gate: Arc<Gate>, fence: Arc<Fence>, client: Client, namespace: String) -> Self {
        let (waiting, delayed, flying) = Default::default();
        Self { gate, fence, client, namespace, waiting, delayed, flying }
    }

    /// Takes a request, to be sent when its turn comes.
    pub fn push(&mut self, request: Request) {
        self.waiting.push_back(Asked { request, tries: 0 });
    }

    /// Takes a request that was not answered, to be sent again: later and later.
    pub fn again(&mut self, asked: Asked) {
        // What was only a question may be asked by the next one.
        if matches!(asked.request, Request::Inquire(..)) {
            return;
        }
        let wait = AGAIN.0.saturating_mul(1 << asked.tries.min(10)).min(AGAIN.1);
        self.delayed.push((Instant::now() + wait, Asked { tries: asked.tries + 1, ..asked }));
    }

    /// Takes back the request to make an attempt, if it is not under way; gives whether it was there.
    pub fn take_back_create(&mut self, attempt: AttemptName) -> bool {
        let stays = |asked: &Asked| !matches!(asked.request, Request::Create(name, _) if name == attempt);
        let before = self.waiting.len() + self.delayed.len();
        self.waiting.retain(stays);
        self.delayed.retain(|(_, asked)| stays(asked));
        self.waiting.len() + self.delayed.len() < before
    }

    /// Lets requests stand in line again whose wait is over.
    pub fn wake(&mut self, now: Instant) {
        let (due, later): (Vec<_>, Vec<_>) = self.delayed.drain(..).partition(|(at, _)| *at <= now);
        self.delayed = later;
        self.waiting.extend(due.into_iter().map(|(_, asked)| asked));
    }

    /// Sends as many as may be under way, unless the cluster told us to wait or our word does not count.
    pub fn send(&mut self) {
        while self.flying.len() < IN_FLIGHT && self.gate.is_open() && self.fence.holds() {
            let Some(asked) = self.waiting.pop_front() else { return };
            let (client, namespace) = (self.client.clone(), self.namespace.clone());
            self.flying.push(Box::pin(async move {
                let answer = asked.request.send(&client, &namespace).await;
                (asked, answer)
            }));
        }
    }

    /// The next answer; never, while nothing is under way.
    pub async fn next(&mut self) -> Option<(Asked, Result<Answer, Trouble>)> {
        if self.flying.is_empty() { pending().await } else { self.flying.next().await }
    }

    /// What requests pass.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.flying.is_empty() && self.waiting.is_empty()
    }
}
