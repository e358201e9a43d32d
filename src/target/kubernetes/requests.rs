//! The requests that change a cluster. Each is repeatable; none is sent twice by itself.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Event as CoreEvent;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::connect::within;
use super::trouble::Trouble;
use crate::domain::dispatch::observation::Cause;
use crate::domain::ids::AttemptName;
use crate::domain::kubernetes::names::{FIELD_MANAGER, object_name};
use crate::domain::kubernetes::pod::{cut, sentence};
use crate::domain::kubernetes::render::{Objects, RootKind};
use crate::domain::time::Span;

/// Something to be asked of a cluster.
#[derive(Debug, Clone)]
pub enum Request {
    /// Make the objects of an attempt.
    Create(AttemptName, Arc<Objects>),
    /// Remove them; `foreground` keeps the root until nothing of it runs.
    Remove(AttemptName, RootKind, Foreground),
    /// Let the cluster remove them after a while.
    Expire(AttemptName, Span),
    /// End a pod that has lost its root.
    RemovePod(AttemptName, String),
    /// Ask the cluster's events why nothing happens to an object.
    Inquire(AttemptName, Vec<String>),
}

/// Whether the root stays until its pods have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreground {
    /// It does.
    Yes,
    /// They have ended already.
    No,
}

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    /// It is done; a root was made, and has this uid.
    Made(String),
    /// It is done, or was before.
    Done,
    /// What was asked about is not there.
    Absent,
    /// What an inquiry found.
    Found(Option<Cause>),
}

impl Request {
    /// Whose it is.
    pub fn attempt(&self) -> AttemptName {
        match self {
            Self::Create(attempt, _)
            | Self::Remove(attempt, ..)
            | Self::Expire(attempt, _)
            | Self::RemovePod(attempt, _)
            | Self::Inquire(attempt, _) => *attempt,
        }
    }

    /// Sends it.
    pub async fn send(&self, client: &Client, namespace: &str) -> Result<Answer, Trouble> {
        match self {
            Self::Create(attempt, objects) => create(client, namespace, *attempt, objects).await,
            Self::Remove(attempt, kind, foreground) => {
                let params = match foreground {
                    Foreground::Yes => DeleteParams::foreground(),
                    Foreground::No => DeleteParams::background(),
                };
                absent(within(roots(client, namespace, *kind).delete(&object_name(*attempt), &params)).await)
            }
            Self::Expire(attempt, ttl) => {
                let patch = Patch::Merge(json!({ "spec": { "ttlSecondsAfterFinished": ttl.0.div_ceil(1000) } }));
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                let name = object_name(*attempt);
                absent(within(roots(client, namespace, RootKind::Job).patch_metadata(&name, &params, &patch)).await)
            }
            Self::RemovePod(_, pod) => {
                let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), namespace);
                absent(within(pods.delete(pod, &DeleteParams::default())).await)
            }
            Self::Inquire(_, uids) => inquire(client, namespace, uids).await.map(Answer::Found),
        }
    }
}

fn absent<T>(answer: Result<T, Trouble>) -> Result<Answer, Trouble> {
    match answer {
        Ok(_) => Ok(Answer::Done),
        Err(Trouble::NotFound) => Ok(Answer::Absent),
        Err(trouble) => Err(trouble),
    }
}

/// The API of a kind of roots.
pub fn roots(client: &Client, namespace: &str, kind: RootKind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

/// The API resource of a kind of roots.
pub fn resource(kind: RootKind) -> ApiResource {
    let (group, version, kind, plural) = kind.api();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Makes the root, then what belongs to it. What is there already was made by an earlier try: an attempt has one name.
async fn create(client: &Client, namespace: &str, attempt: AttemptName, objects: &Objects) -> Result<Answer, Trouble> {
    let api = roots(client, namespace, objects.kind);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let root = object(&objects.root)?;
    let made = match within(api.create(&params, &root)).await {
        Err(Trouble::Exists) => within(api.get(&object_name(attempt))).await?,
        other => other?,
    };
    let uid = made.metadata.uid.unwrap_or_default();
    for belonging in &objects.belongings {
        let mut belonging = belonging.clone();
        belonging["metadata"]["ownerReferences"] = json!([{
            "apiVersion": objects.root["apiVersion"], "kind": objects.root["kind"],
            "name": object_name(attempt), "uid": uid, "controller": true, "blockOwnerDeletion": true,
        }]);
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &belonging_resource(&belonging));
        match within(api.create(&params, &object(&belonging)?)).await {
            Ok(_) | Err(Trouble::Exists) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(Answer::Made(uid))
}

/// The API resource of something that belongs to a root.
fn belonging_resource(belonging: &Value) -> ApiResource {
    match belonging["kind"].as_str() {
        Some("DaskAutoscaler") => ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("kubernetes.dask.org", "v1", "DaskAutoscaler"),
            "daskautoscalers",
        ),
        _ => ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&()),
    }
}

fn object(value: &Value) -> Result<DynamicObject, Trouble> {
    serde_json::from_value(value.clone()).map_err(|error| {
        Trouble::Refused(Cause::new("InvalidObject", format!("its object cannot be written: {error}")))
    })
}

/// The newest warning that the cluster has about one of some objects.
async fn inquire(client: &Client, namespace: &str, uids: &[String]) -> Result<Option<Cause>, Trouble> {
    let events: Api<CoreEvent> = Api::namespaced(client.clone(), namespace);
    for uid in uids {
        let params = ListParams::default().fields(&format!("involvedObject.uid={uid},type=Warning")).limit(50);
        let found = within(events.list(&params)).await?;
        let newest = found.items.into_iter().max_by_key(|event| {
            event.last_timestamp.as_ref().map(|time| time.0).or(event.event_time.as_ref().map(|time| time.0))
        });
        if let Some(event) = newest {
            return Ok(Some(cause_of(&event)));
        }
    }
    Ok(None)
}

fn cause_of(event: &CoreEvent) -> Cause {
    let reason = event.reason.as_deref().unwrap_or("Warning");
    let said = event.message.as_deref().unwrap_or_default();
    let advice = match reason {
        "FailedCreate" if said.contains("exceeded quota") => {
            " It starts by itself when the quota has room; the agent's `capacity` should be as small as the quota."
        }
        "FailedCreate" if said.contains("serviceaccount") || said.contains("service account") => {
            " Make the service account, or correct environment.serviceAccountName."
        }
        "FailedCreate" if said.contains("PriorityClass") || said.contains("priority class") => {
            " Make the priority class, or correct environment.priorityClassName."
        }
        "FailedMount" | "FailedAttachVolume" => {
            " Check `volumes`: what they name must be in the namespace of the agent."
        }
        _ => "",
    };
    let reason = if reason == "FailedCreate" { "CannotCreatePod" } else { reason };
    Cause::new(reason, cut(&format!("{}{advice}", sentence(said))))
}
