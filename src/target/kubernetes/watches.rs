//! The watches of a session: roots of every kind that the cluster knows, and pods, read down to what matters.

use std::pin::Pin;

use futures::stream::{SelectAll, Stream, StreamExt};
use kube::api::DynamicObject;
use kube::core::{ApiResource, Object};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};

use super::requests::roots;
use crate::domain::ids::AttemptName;
use crate::domain::kubernetes::names::{TTL, attempt_of};
use crate::domain::kubernetes::pod::{Pod, PodSpec, PodStatus};
use crate::domain::kubernetes::render::RootKind;
use crate::domain::kubernetes::verdict::{Root, root_status};
use crate::domain::time::Span;

/// Objects of one page of a list: the API server reads them together.
const PAGE: u32 = 500;

/// Which watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Roots of a kind.
    Roots(RootKind),
    /// Pods.
    Pods,
}

/// What a watch shows.
#[derive(Debug)]
pub enum Sight {
    /// A list begins: until it is done, objects are only known to be there.
    Begins,
    /// A root is there.
    Root(AttemptName, Root, Option<Span>),
    /// A root is gone.
    RootGone(AttemptName, String),
    /// A pod is there.
    Pod(AttemptName, String, Box<Pod>),
    /// A pod is gone.
    PodGone(AttemptName, String),
    /// The list is complete.
    Complete,
    /// The watch failed; it goes on by itself when it can.
    Trouble(watcher::Error),
    /// An object that bears our label but names no attempt.
    Stranger,
}

/// All watches of a session.
pub type Watches = SelectAll<Pin<Box<dyn Stream<Item = (Source, bool, Sight)> + Send>>>;

type PodObject = Object<PodSpec, PodStatus>;

/// Opens the watches.
pub fn open(client: &Client, namespace: &str, selector: &str, kinds: &[RootKind]) -> Watches {
    let config = || watcher::Config::default().labels(selector).page_size(PAGE);
    let mut watches = Watches::new();
    for &kind in kinds {
        let stream = watcher(roots(client, namespace, kind), config()).default_backoff();
        let read = move |event| {
            sight(
                event,
                |object| root(kind, object),
                |object| Some(Sight::RootGone(name_of(object)?, object.uid().unwrap_or_default())),
            )
        };
        watches.push(stream.map(read).map(move |(first, sight)| (Source::Roots(kind), first, sight)).boxed());
    }
    let pods = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
    let pods: Api<PodObject> = Api::namespaced_with(client.clone(), namespace, &pods);
    let stream = watcher(pods, config()).default_backoff();
    let gone =
        |object: &PodObject| Some(Sight::PodGone(attempt_of(object.labels())?, object.uid().unwrap_or_default()));
    watches.push(
        stream.map(move |event| sight(event, pod, gone)).map(|(first, sight)| (Source::Pods, first, sight)).boxed(),
    );
    watches
}

/// An event as a sight, with whether it belongs to a list.
fn sight<K>(
    event: Result<Event<K>, watcher::Error>,
    there: impl Fn(K) -> Option<Sight>,
    gone: impl Fn(&K) -> Option<Sight>,
) -> (bool, Sight) {
    match event {
        Ok(Event::Init) => (true, Sight::Begins),
        Ok(Event::InitApply(object)) => (true, there(object).unwrap_or(Sight::Stranger)),
        Ok(Event::InitDone) => (true, Sight::Complete),
        Ok(Event::Apply(object)) => (false, there(object).unwrap_or(Sight::Stranger)),
        Ok(Event::Delete(object)) => (false, gone(&object).unwrap_or(Sight::Stranger)),
        Err(error) => (false, Sight::Trouble(error)),
    }
}

fn name_of(object: &DynamicObject) -> Option<AttemptName> {
    attempt_of(object.labels())
}

fn root(kind: RootKind, object: DynamicObject) -> Option<Sight> {
    let attempt = name_of(&object)?;
    let ttl = object.annotations().get(TTL).and_then(|text| text.parse().ok()).map(Span);
    let root = Root {
        kind,
        uid: object.uid().unwrap_or_default(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        status: root_status(object.data.get("status")),
    };
    Some(Sight::Root(attempt, root, ttl))
}

fn pod(object: PodObject) -> Option<Sight> {
    let attempt = attempt_of(object.labels())?;
    let pod = Pod {
        name: object.name_any(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        spec: object.spec,
        status: object.status.unwrap_or_default(),
    };
    Some(Sight::Pod(attempt, object.metadata.uid.unwrap_or_default(), Box::new(pod)))
}
