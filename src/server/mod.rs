//! The HTTP API: what the control plane offers, over loopback or behind tokens.
//!
//! One table ([`routes`]) makes both the router and the OpenAPI document. Handlers are thin: they read the state or the
//! history, or ask the engine, and turn what they get into [`views`], the only types that go over the wire.

pub mod access;
mod error;
mod extract;
mod forecast;
mod logs;
mod metrics;
mod openapi;
mod pipelines;
mod policy;
mod routes;
mod runs;
mod sync;
pub mod views;
mod watch;
mod workflows;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch as channel};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::control::ControlPlane;
use access::Access;
use error::ApiError;
pub use openapi::document;
pub use routes::{Route, routes};
pub use sync::exit_code;

/// Largest body of a request: the specs of 10,000 workflows with room to spare.
pub const MAX_BODY: usize = 8 << 20;
/// Longest time until an answer begins; the slowest honest one, a plan of many thousand objects, takes a second.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Requests that are worked on at once; beyond that the answer is `503` at once, so that nothing piles up unseen.
const MAX_REQUESTS: usize = 256;
/// Streams that are open at once; each costs a task and a socket.
const MAX_STREAMS: usize = 256;

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is for others than this machine, and nothing guards it.
    #[error(
        "refusing to listen on {0} without tokens: anybody who reaches it could start programs; listen on 127.0.0.1, or give --token-file"
    )]
    Open(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// Serving failed.
    #[error("the server failed")]
    Serve(#[source] std::io::Error),
}

/// What every handler has at hand; cheap to clone.
#[derive(Clone)]
pub struct Api {
    control: ControlPlane,
    access: Arc<Access>,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Turns true when the server stops, so that open streams end.
    stopping: channel::Receiver<bool>,
}

/// Opens the address; only a loopback one without tokens.
pub async fn listen(address: SocketAddr, access: &Access) -> Result<TcpListener, ServerError> {
    if access.is_open() && !address.ip().is_loopback() {
        return Err(ServerError::Open(address));
    }
    TcpListener::bind(address).await.map_err(|error| ServerError::Listen(address, error))
}

/// Serves until `stop` is ready, then lets requests that are under way end.
pub async fn serve(
    listener: TcpListener,
    control: ControlPlane,
    access: Access,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let (stopping, stopped) = channel::channel(false);
    let until = async move {
        stop.await;
        stopping.send_replace(true);
    };
    let router = router(control, access, stopped);
    axum::serve(listener, router).with_graceful_shutdown(until).await.map_err(ServerError::Serve)
}

/// The router; `stopping` ends the streams when it turns true.
pub fn router(control: ControlPlane, access: Access, stopping: channel::Receiver<bool>) -> Router {
    let api = Api {
        control,
        access: Arc::new(access),
        requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        stopping,
    };
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.handler);
    }
    // The last layer is the outermost: access is checked before anything is read.
    router
        .fallback(|| async { ApiError::not_found("there is nothing at this address: see /api/v1/openapi.json") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", "this address does not know this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, ANSWER_TIME))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(api.clone(), few))
        .layer(from_fn_with_state(api.clone(), access::check))
        .layer(from_fn(harmless))
        .with_state(api)
}

/// Lets [`MAX_REQUESTS`] in at once.
async fn few(State(api): State<Api>, request: Request, next: Next) -> Response {
    match api.requests.clone().try_acquire_owned() {
        Ok(_permit) => next.run(request).await,
        Err(_) => ApiError::busy("the server works on as many requests as it may: try again soon").into_response(),
    }
}

/// Answers are data: never to be guessed into something else, framed or kept.
async fn harmless(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in
        [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("cache-control", "no-store")]
    {
        headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let what = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = what.unwrap_or("unknown"), "a handler panicked");
    ApiError::internal("the server failed at this request: its log says more").into_response()
}
