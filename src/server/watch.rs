//! Server-sent events: what was saved, as it is saved.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event as Sent, KeepAlive, KeepAliveStream, Sse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::Api;
use super::error::ApiError;
use super::extract::Params;
use super::views::{AppliedView, ConditionView};
use crate::domain::dispatch::history::{RowOp, project};
use crate::domain::ids::Seq;

/// Events that wait for a slow reader; then the sender waits, and reads from the store again later.
const AHEAD: usize = 64;
/// Events that are read from the store at once.
const READ: usize = 1000;

/// Which changes are wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Changes after this position in the log; those from now on when absent. The header `Last-Event-ID` says the same.
    after: Option<u64>,
    /// Only changes of this run: its id or the beginning of it.
    run: Option<String>,
}

/// The changes of runs (`run`) and applied commits (`sync`).
pub(super) async fn events(
    State(api): State<Api>,
    headers: HeaderMap,
    Params(query): Params<EventsQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let run = match query.run {
        Some(text) => Some(api.find_run(text).await?.id),
        None => None,
    };
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let mut saved = api.control.engine().saved();
    let mut after = last_seen.or(query.after).map_or(*saved.borrow(), Seq);
    let own = api.clone();
    api.stream(async move |stream| {
        loop {
            saved.borrow_and_update();
            let Ok(batch) = own.history(move |history| history.events(after, READ)).await else { return };
            let full = batch.len() == READ;
            let mut rows = Vec::new();
            for (seq, at, event) in batch {
                after = seq;
                project(at, seq, &event, &mut rows);
                for row in rows.drain(..) {
                    let sent = match row {
                        RowOp::Condition(row) if run.is_none_or(|run| run == row.run) => {
                            stream.send("run", Some(seq), &ConditionView::from(row)).await
                        }
                        RowOp::Sync(row) if run.is_none() => {
                            stream.send("sync", Some(seq), &AppliedView::from(row)).await
                        }
                        _ => true,
                    };
                    if !sent {
                        return;
                    }
                }
            }
            if !full && !stream.until(saved.changed()).await {
                return;
            }
        }
    })
}

/// The sending end of a stream of events; a permit of [`super::MAX_STREAMS`] goes with it.
pub(super) struct Stream {
    send: mpsc::Sender<Result<Sent, Infallible>>,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// Sends an event; false when nobody reads any more or the server stops.
    pub async fn send(&self, kind: &str, id: Option<Seq>, data: &impl Serialize) -> bool {
        let Ok(event) = Sent::default().event(kind).json_data(data) else { return false };
        let event = match id {
            Some(seq) => event.id(seq.0.to_string()),
            None => event,
        };
        let mut stopping = self.stopping.clone();
        tokio::select! {
            sent = self.send.send(Ok(event)) => sent.is_ok(),
            _ = stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// Waits for something; false when nobody reads any more or the server stops before it comes.
    pub async fn until<E>(&self, coming: impl Future<Output = Result<(), E>>) -> bool {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            came = coming => came.is_ok(),
            () = self.send.closed() => false,
            _ = stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// Waits for a while; as [`Stream::until`].
    pub async fn pause(&self, length: Duration) -> bool {
        self.until(async {
            tokio::time::sleep(length).await;
            Ok::<(), Infallible>(())
        })
        .await
    }
}

impl Api {
    /// Opens a stream of events and lets `work` fill it.
    pub(super) fn stream<F: Future<Output = ()> + Send + 'static>(
        &self,
        work: impl FnOnce(Stream) -> F,
    ) -> Result<Sse<KeepAliveStream<ReceiverStream<Result<Sent, Infallible>>>>, ApiError> {
        let permit = self.streams.clone().try_acquire_owned();
        let permit = permit.map_err(|_| ApiError::busy("as many streams are open as may be: close one"))?;
        let (send, receive) = mpsc::channel(AHEAD);
        tokio::spawn(work(Stream { send, stopping: self.stopping.clone(), _permit: permit }));
        Ok(Sse::new(ReceiverStream::new(receive)).keep_alive(KeepAlive::default()))
    }
}
