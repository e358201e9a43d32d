//! What every request of a client passes: it is counted, and when an answer says to wait, all wait.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service};

/// Wait after a `429` that does not say how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// Longest wait that an answer may impose: beyond it the cluster is asked again. Shorter than a request may take, so that
/// one that waited here is still answered.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Counts of requests, and until when none may be sent.
#[derive(Debug, Default)]
pub struct Gate {
    sent: AtomicU64,
    closed_until: Mutex<Option<Instant>>,
}

impl Gate {
    /// How many requests were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether the cluster has not told us to wait.
    pub fn is_open(&self) -> bool {
        self.closed_until().is_none()
    }

    /// Waits until it is open.
    pub async fn opened(&self) {
        while let Some(until) = self.closed_until() {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    fn closed_until(&self) -> Option<Instant> {
        let mut until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| until <= Instant::now()) {
            *until = None;
        }
        *until
    }

    fn close(&self, wait: Duration) {
        let end = Instant::now() + wait.min(LONGEST_WAIT);
        let mut until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Some(until.map_or(end, |until| until.max(end)));
    }
}

/// Puts a [`Gate`] before a client.
#[derive(Debug, Clone)]
pub struct GateLayer(pub Arc<Gate>);

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;
    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.0.clone() }
    }
}

/// A client behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S, A, B> Service<Request<A>> for Gated<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let gate = self.gate.clone();
        // Nothing is sent before the future is polled.
        let answer = self.inner.call(request);
        Box::pin(async move {
            gate.opened().await;
            gate.sent.fetch_add(1, Ordering::Relaxed);
            let answer = answer.await?;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                let said = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
                gate.close(said.map_or(DEFAULT_WAIT, Duration::from_secs));
            }
            Ok(answer)
        })
    }
}
