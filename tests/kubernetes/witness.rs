//! A watcher of its own, which trusts nobody: what is really there at each moment, read off raw watches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::injector::{client, runtime};
use crate::world::World;

/// The label by which pods are counted.
pub const GROUP: &str = "counted-as";

#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Pods that have not ended, by group and name.
    active: BTreeMap<String, BTreeSet<String>>,
    /// The most that were active at once, by group; those of all groups as `all`.
    pub most: BTreeMap<String, usize>,
    /// The identities of the pods that each attempt ever had.
    pub pods: BTreeMap<String, BTreeSet<String>>,
    /// The identities of the Jobs that each attempt ever had.
    pub jobs: BTreeMap<String, BTreeSet<String>>,
    /// When the first and the last pod was seen.
    pub span: Option<(std::time::Instant, std::time::Instant)>,
    /// Watches that had to begin anew, so that something may have been missed.
    pub blind: usize,
}

pub struct Witness {
    tally: Arc<Mutex<Tally>>,
    _runtime: Runtime,
}

impl Witness {
    /// Watches a namespace from now on.
    pub fn new(world: &World, cluster: &str, namespace: &str) -> Self {
        let runtime = runtime();
        let tally = Arc::<Mutex<Tally>>::default();
        let client = runtime.block_on(client(world, cluster));
        let (pods, jobs) = (tally.clone(), tally.clone());
        runtime.spawn(follow(client.clone(), namespace.to_owned(), pods, Tally::pod));
        runtime.spawn(follow(client, namespace.to_owned(), jobs, Tally::job));
        Self { tally, _runtime: runtime }
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Fails when an attempt had more than one object, or something was missed.
    pub fn nothing_was_doubled(&self) -> Tally {
        let tally = self.tally();
        assert_eq!(tally.blind, 0, "the witness missed something");
        for (what, made) in [("Job", &tally.jobs), ("pod", &tally.pods)] {
            let doubled: Vec<_> = made.iter().filter(|(_, uids)| uids.len() > 1).collect();
            assert!(doubled.is_empty(), "more than one {what}: {doubled:?}");
        }
        tally
    }
}

impl Tally {
    fn pod(&mut self, pod: &Pod, there: bool) {
        let group = pod.labels().get(GROUP).cloned().unwrap_or_default();
        let name = pod.name_any();
        let attempt = pod.labels().get("job-name").cloned().unwrap_or_default();
        self.pods.entry(attempt).or_default().insert(pod.uid().unwrap_or_default());
        let now = std::time::Instant::now();
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let active = self.active.entry(group.clone()).or_default();
        if there && !matches!(phase, "Succeeded" | "Failed") {
            active.insert(name);
        } else {
            active.remove(&name);
        }
        let (of_group, all) = (active.len(), self.active.values().map(BTreeSet::len).sum());
        for (group, count) in [(group, of_group), ("all".to_owned(), all)] {
            let most = self.most.entry(group).or_default();
            *most = count.max(*most);
        }
    }

    fn job(&mut self, job: &Job, _: bool) {
        self.jobs.entry(job.name_any()).or_default().insert(job.uid().unwrap_or_default());
    }
}

async fn follow<K>(client: Client, namespace: String, tally: Arc<Mutex<Tally>>, note: fn(&mut Tally, &K, bool))
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client, &namespace);
    let mut version = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    loop {
        let Ok(stream) = api.watch(&WatchParams::default().timeout(250), &version).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        futures::pin_mut!(stream);
        while let Some(Ok(event)) = stream.next().await {
            let (object, there) = match &event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
                WatchEvent::Deleted(object) => (object, false),
                WatchEvent::Bookmark(mark) => {
                    version.clone_from(&mark.metadata.resource_version);
                    continue;
                }
                WatchEvent::Error(_) => {
                    tally.lock().unwrap().blind += 1;
                    break;
                }
            };
            version = object.resource_version().unwrap_or(version);
            note(&mut tally.lock().unwrap(), object, there);
        }
    }
}
