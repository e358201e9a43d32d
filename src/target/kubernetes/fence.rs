//! The lease of a namespace: taken before a session begins, renewed while it lasts, looked at before anything is sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use super::Settings;
use super::connect::within;
use super::trouble::Trouble;
use crate::domain::ids::Epoch;
use crate::domain::kubernetes::lease::{self, Claim, LEASE, RENEWAL, claim, lease_name};
use crate::domain::kubernetes::names::{AGENT, FIELD_MANAGER, INSTANCE, MANAGED_BY, MANAGER};
use crate::domain::time::Span;

/// Tries to write the lease while others write it too.
const TRIES: usize = 5;

/// Our hold of a namespace.
pub struct Fence {
    leases: Api<Lease>,
    namespace: String,
    settings: Settings,
    held: Mutex<Held>,
}

struct Held {
    /// The last version that was ours.
    version: Option<String>,
    /// Until when our word counts.
    until: Instant,
}

impl Fence {
    /// Takes the lease of a namespace, and says for how long nothing may be removed.
    ///
    /// Errors: another server or agent holds it, or it cannot be read or written; in words.
    pub async fn take(
        client: &Client,
        namespace: &str,
        settings: &Settings,
        silence: &mut Silence,
    ) -> Result<(Arc<Self>, Duration), String> {
        let held = Mutex::new(Held { version: None, until: Instant::now() });
        let leases = Api::namespaced(client.clone(), namespace);
        let fence = Arc::new(Self { leases, namespace: namespace.to_owned(), settings: settings.clone(), held });
        let wait = fence.claim(silence).await.map_err(|trouble| trouble.message())?;
        Ok((fence, wait))
    }

    /// Whether our word counts at this moment.
    pub fn holds(&self) -> bool {
        Instant::now() < self.held.lock().unwrap_or_else(PoisonError::into_inner).until
    }

    /// Renews the lease again and again; ends with the reason why it is not ours any more.
    pub async fn keep(self: Arc<Self>) -> String {
        loop {
            tokio::time::sleep(duration(RENEWAL.0)).await;
            match self.renew().await {
                Ok(()) => {}
                Err(Trouble::Agent(why)) => return why,
                // Whether the cluster answers at all is found out elsewhere; unrenewed, our word runs out by itself.
                Err(trouble) => {
                    tracing::debug!(agent = %self.settings.agent, why = trouble.message(), "the lease is not renewed");
                }
            }
        }
    }

    async fn renew(&self) -> Result<(), Trouble> {
        let version = self.held.lock().unwrap_or_else(PoisonError::into_inner).version.clone();
        match self.write(version).await {
            Err(Trouble::Later(_) | Trouble::NotFound) => self.claim(&mut Silence::default()).await.map(drop),
            answer => answer,
        }
    }

    /// Reads the lease, and takes it if it may be taken.
    async fn claim(&self, silence: &mut Silence) -> Result<Duration, Trouble> {
        let Settings { agent, epoch, holder, instance, .. } = &self.settings;
        let mut trouble = Trouble::NotFound;
        for _ in 0..TRIES {
            let found = match within(self.leases.get(&lease_name(instance))).await {
                Ok(lease) => Some(lease),
                Err(Trouble::NotFound) => None,
                Err(other) => return Err(other),
            };
            let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
            let term = |spec: &LeaseSpec| Epoch(spec.lease_transitions.and_then(|n| n.try_into().ok()).unwrap_or(0));
            let silent = silence.of(found.as_ref());
            let by = found.as_ref().and_then(|lease| lease.labels().get(AGENT)).map(String::as_str);
            let held = spec.map(|spec| {
                let identity = spec.holder_identity.as_deref().unwrap_or_default();
                lease::Held { identity, term: term(spec), agent: by, silent }
            });
            let wait = match claim(held, holder, agent, *epoch) {
                Claim::Own => Duration::ZERO,
                Claim::Take(wait) => duration(wait.0),
                Claim::Refused(why) => {
                    let (lease, namespace) = (lease_name(instance), &self.namespace);
                    return Err(Trouble::Agent(format!("{why} (Lease {lease} in namespace {namespace})")));
                }
            };
            match self.write(found.and_then(|lease| lease.metadata.resource_version)).await {
                Ok(()) => return Ok(wait),
                // Somebody else has written it meanwhile: what they wrote counts.
                Err(other @ (Trouble::Later(_) | Trouble::NotFound | Trouble::Exists)) => trouble = other,
                Err(other) => return Err(other),
            }
        }
        Err(trouble)
    }

    /// Writes our name into the lease, if it is still of a version; makes it, if that is none.
    async fn write(&self, version: Option<String>) -> Result<(), Trouble> {
        let Settings { agent, epoch, holder, instance, .. } = &self.settings;
        // Our word counts from before it was sent: whenever it arrived, nobody took the lease before that.
        let asked = Instant::now();
        let labels = [(INSTANCE, instance.as_str()), (MANAGER, MANAGED_BY), (AGENT, agent.as_str())];
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(lease_name(instance)),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                resource_version: version.clone(),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.identity()),
                lease_duration_seconds: Some(i32::try_from(LEASE.0 / 1000).unwrap_or(i32::MAX)),
                lease_transitions: Some(i32::try_from(epoch.0).unwrap_or(i32::MAX)),
                renew_time: Some(MicroTime(jiff::Timestamp::now())),
                ..LeaseSpec::default()
            }),
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let written = match version {
            Some(_) => within(self.leases.replace(&lease_name(instance), &params, &lease)).await?,
            None => within(self.leases.create(&params, &lease)).await?,
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Held { version: written.metadata.resource_version, until: asked + duration(LEASE.0) };
        Ok(())
    }
}

/// For how long the lease of somebody else was seen to stay as it is. Clocks of other machines are not asked.
#[derive(Debug, Default)]
pub struct Silence {
    seen: Option<(String, Instant)>,
}

impl Silence {
    fn of(&mut self, lease: Option<&Lease>) -> Span {
        let version = lease.and_then(|lease| lease.metadata.resource_version.clone()).unwrap_or_default();
        let now = Instant::now();
        match &self.seen {
            Some((seen, since)) if *seen == version => {
                Span(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
            }
            _ => {
                self.seen = Some((version, now));
                Span(0)
            }
        }
    }
}

fn duration(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
