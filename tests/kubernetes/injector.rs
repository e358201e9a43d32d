//! A way to an API server that misbehaves when told to: plain HTTP on loopback in front, the real cluster behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode};
use futures::StreamExt;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::world::World;

/// How the way behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weather {
    Fair,
    /// Every answer takes so long.
    Slow(Duration),
    /// Everything is answered with `429` and so many seconds of `Retry-After`.
    Busy(u64),
    /// Nothing is answered, and nothing gets through, until the weather changes.
    Silent,
    /// Connections break.
    Cut,
    /// Objects are made, but their maker never hears of it.
    Deaf,
    /// No Job is made: the API server has trouble of its own (`500`).
    NoJobs,
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub answered: Instant,
    pub method: Method,
    pub path: String,
    pub status: StatusCode,
}

struct Shared {
    behind: Client,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u32>,
    seen: Mutex<Vec<Seen>>,
    /// Watches that were told to begin anew (410), as an answer or within the stream.
    expired: Mutex<usize>,
    /// What was watched when the API server said how far it is, without news of it: the last part of the path.
    bookmarks: Mutex<Vec<String>>,
    /// What pods print, by a part of their name, in place of what the cluster says they do.
    printed: watch::Sender<Option<BTreeMap<String, String>>>,
}

pub struct Injector {
    shared: Arc<Shared>,
    pub kubeconfig: std::path::PathBuf,
    _runtime: Runtime,
}

/// A client of a cluster, as its administrator.
pub async fn client(world: &World, cluster: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = KubeConfigOptions { context: Some(cluster.to_owned()), ..KubeConfigOptions::default() };
    let config = Kubeconfig::read_from(&world.kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// A runtime beside the test.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

impl Injector {
    /// A way to a cluster; its kubeconfig is written into a folder, with the cluster's name for a context.
    pub fn new(world: &World, cluster: &str, dir: &std::path::Path) -> Self {
        let runtime = runtime();
        let behind = runtime.block_on(client(world, cluster));
        let (weather, cuts) = (watch::Sender::new(Weather::Fair), watch::Sender::new(0));
        let shared = Arc::new(Shared {
            behind,
            weather,
            cuts,
            seen: Mutex::default(),
            expired: Mutex::default(),
            bookmarks: Mutex::default(),
            printed: watch::Sender::new(None),
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(pass).with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        let kubeconfig = dir.join("injector.yaml");
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: x, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\nusers: [{{name: x, user: {{token: none}}}}]\ncontexts: [{{name: {cluster}, context: {{cluster: x, user: x}}}}]\ncurrent-context: {cluster}\n"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        Self { shared, kubeconfig, _runtime: runtime }
    }

    pub fn weather(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
        if matches!(weather, Weather::Cut | Weather::Silent) {
            self.cut_streams();
        }
    }

    /// Ends all answers that are still being sent: watches and logs.
    pub fn cut_streams(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// From now on pods have printed what the test says, and print on for as long as they run.
    pub fn speaks_for_pods(&self) {
        self.shared.printed.send_modify(|printed| *printed = Some(BTreeMap::new()));
    }

    /// All that the pods with this in their names have printed so far.
    pub fn prints(&self, pods: &str, text: String) {
        self.shared.printed.send_modify(|printed| {
            printed.get_or_insert_default().insert(pods.to_owned(), text);
        });
    }

    pub fn expired(&self) -> usize {
        *self.shared.expired.lock().unwrap()
    }

    pub fn bookmarks(&self) -> Vec<String> {
        self.shared.bookmarks.lock().unwrap().clone()
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let makes = parts.method == Method::POST && parts.uri.path().ends_with("/jobs");
    let mut weather = *shared.weather.borrow();
    if weather == Weather::Silent {
        let _ = shared.weather.subscribe().wait_for(|weather| *weather != Weather::Silent).await;
        weather = *shared.weather.borrow();
    }
    let response = match weather {
        Weather::Cut => broken(),
        Weather::Busy(seconds) => said(429, "TooManyRequests", Some(seconds)),
        Weather::NoJobs if makes => said(500, "InternalError", None),
        _ if parts.uri.path().ends_with("/log") && shared.printed.borrow().is_some() => printing(&shared, &path),
        _ => {
            if let Weather::Slow(time) = weather {
                tokio::time::sleep(time).await;
            }
            let mut forward = http::Request::builder().method(parts.method.clone()).uri(&path);
            for name in ["content-type", "accept"] {
                if let Some(value) = parts.headers.get(name) {
                    forward = forward.header(name, value);
                }
            }
            let forward = forward.body(kube::client::Body::from(body.to_vec())).unwrap();
            match shared.behind.send(forward).await {
                Ok(_) if makes && weather == Weather::Deaf => broken(),
                Ok(response) => passed(&shared, parts.uri.path(), response),
                Err(_) => broken(),
            }
        }
    };
    let status = response.status();
    if status == StatusCode::GONE {
        *shared.expired.lock().unwrap() += 1;
    }
    shared.seen.lock().unwrap().push(Seen { at, answered: Instant::now(), method: parts.method, path, status });
    response
}

/// The log of a pod as the test tells it: what is there, then what comes, without an end.
fn printing(shared: &Arc<Shared>, path: &str) -> Response<Body> {
    let state = (shared.printed.subscribe(), 0, path.to_owned());
    let stream = futures::stream::unfold(state, |(mut printed, sent, path)| async move {
        let of = |all: &Option<BTreeMap<String, String>>| {
            let found = all.as_ref()?.iter().find(|(pods, _)| path.contains(*pods))?.1.clone();
            (found.len() > sent).then_some(found)
        };
        let text = of(&*printed.wait_for(|all| of(all).is_some()).await.ok()?)?;
        let news = text[sent..].to_owned();
        Some((Ok::<_, std::io::Error>(news), (printed, text.len(), path)))
    });
    Response::new(Body::from_stream(stream))
}

/// An answer of the cluster, until it is cut.
fn passed(shared: &Arc<Shared>, path: &str, response: Response<kube::client::Body>) -> Response<Body> {
    let what = path.rsplit('/').next().unwrap_or_default().to_owned();
    let (parts, body) = response.into_parts();
    let mut answer = Response::builder().status(parts.status);
    for name in ["content-type", "retry-after"] {
        if let Some(value) = parts.headers.get(name) {
            answer = answer.header(name, value);
        }
    }
    let stream = Body::new(body).into_data_stream();
    let state = (stream, shared.cuts.subscribe(), shared.clone(), what);
    let stream = futures::stream::unfold(state, |(mut stream, mut cuts, shared, what)| async move {
        tokio::select! {
            bytes = stream.next() => {
                let bytes = bytes?.map_err(std::io::Error::other);
                let says = |text: &str| bytes.as_ref().is_ok_and(|bytes| String::from_utf8_lossy(bytes).contains(text));
                if says("\"code\":410") {
                    *shared.expired.lock().unwrap() += 1;
                }
                if says("\"type\":\"BOOKMARK\"") {
                    shared.bookmarks.lock().unwrap().push(what.clone());
                }
                Some((bytes, (stream, cuts, shared, what)))
            }
            _ = cuts.changed() => Some((Err(std::io::Error::other("cut")), (stream, cuts, shared, what))),
        }
    });
    answer.body(Body::from_stream(stream)).unwrap()
}

/// An answer that breaks off before it says anything.
fn broken() -> Response<Body> {
    Response::new(Body::from_stream(futures::stream::once(async { Err::<Vec<u8>, _>(std::io::Error::other("cut")) })))
}

fn said(code: u16, reason: &str, wait: Option<u64>) -> Response<Body> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the injector says no", "reason": reason, "code": code,
    });
    let mut answer = Response::builder().status(code).header("content-type", "application/json");
    if let Some(seconds) = wait {
        answer = answer.header("retry-after", seconds.to_string());
    }
    answer.body(Body::from(status.to_string())).unwrap()
}
