//! Keeps the objects that an agent declares of its namespace: reads them when asked, and makes them as declared when told
//! to. It works beside the session, on the same thread, so that a namespace that is not there yet can be made. All else is
//! written only while the session holds the lease, and from when it may remove things: an older server, or another agent
//! that leads here too, changes nothing. Of an agent that has gone nothing is declared any more, and what it kept is removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::connect::{client_of, within};
use super::gate::Gate;
use super::session::Hold;
use super::trouble::Trouble;
use super::{Duty, Settings};
use crate::domain::kubernetes::managed::{Keeping, ManagedKind, ManagedObject, actual};
use crate::domain::kubernetes::names::FIELD_MANAGER;
use crate::domain::spec::Managed;
use crate::target::{Report, ReportSink};

/// Wait before what could not be made as declared is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What is asked of it.
#[derive(Debug)]
pub enum Ask {
    /// How things are.
    Look(std::sync::mpsc::SyncSender<Result<Managed, String>>),
    /// Make them as declared.
    Heal,
    /// End.
    Close,
}

/// Why what is declared is not made.
enum Unmade {
    /// The namespace is not ours at this moment.
    NotOurs,
    /// For a reason that a person may have to mend.
    Because(String),
}

impl From<String> for Unmade {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

/// Upholds it until it is closed. What is declared is owed from the beginning.
pub async fn uphold(
    settings: &Settings,
    gate: &Arc<Gate>,
    sink: &ReportSink,
    mut ours: watch::Receiver<Option<Hold>>,
    mut receive: UnboundedReceiver<Ask>,
) {
    let mut holder = Holder { settings, gate, ours: ours.clone(), client: None };
    let mut owed = true;
    loop {
        let mut again = AGAIN;
        if owed {
            ours.mark_unchanged();
            match holder.heal().await {
                Ok(()) => {
                    owed = false;
                    if settings.duty == Duty::LookOut {
                        sink(Report::Cleared(settings.agent.clone()));
                    }
                }
                Err(Unmade::NotOurs) => again = holder.wait(),
                Err(Unmade::Because(why)) => {
                    again = again.max(settings.duty.longest_pause());
                    tracing::warn!(agent = %settings.agent, why, "its namespace cannot be made as the agent declares it")
                }
            }
        }
        let ask = tokio::select! {
            ask = receive.recv() => ask,
            Ok(()) = ours.changed(), if owed => continue,
            () = tokio::time::sleep(again), if owed => continue,
        };
        match ask {
            None | Some(Ask::Close) => return,
            Some(Ask::Heal) => owed = true,
            Some(Ask::Look(answer)) => {
                let found = holder.look().await;
                // Who asked may have gone on.
                let _ = answer.try_send(found);
            }
        }
    }
}

struct Holder<'a> {
    settings: &'a Settings,
    gate: &'a Arc<Gate>,
    /// While the namespace is ours, by what.
    ours: watch::Receiver<Option<Hold>>,
    client: Option<(Client, String)>,
}

impl Holder<'_> {
    /// What is there of what is declared.
    async fn look(&mut self) -> Result<Managed, String> {
        let (client, namespace) = self.client().await?;
        let found = self.found(&client, &namespace).await.map_err(|trouble| self.failed(&trouble))?;
        Ok(actual(&self.settings.spec.managed, &found))
    }

    /// Whether what is there may be overwritten now.
    fn may_write(&self) -> Result<(), Unmade> {
        let ours = self.ours.borrow();
        let holds = ours.as_ref().is_some_and(|hold| hold.fence.holds() && hold.may_remove());
        if holds { Ok(()) } else { Err(Unmade::NotOurs) }
    }

    /// How long it takes at most until it may be, if nothing changes.
    fn wait(&self) -> Duration {
        let from = self.ours.borrow().as_ref().map(|hold| hold.removes_from.saturating_duration_since(Instant::now()));
        from.filter(|wait| !wait.is_zero()).unwrap_or(AGAIN)
    }

    /// Makes everything as declared, and removes what is ours and not declared any more.
    async fn heal(&mut self) -> Result<(), Unmade> {
        let settings = self.settings;
        // Nobody waits for what is left: it is not asked for before the session is there.
        if settings.duty == Duty::LookOut {
            self.may_write()?;
        }
        if settings.spec.managed.service_account.is_some() && settings.spec.service_account.is_none() {
            let why = "`managed.serviceAccount` makes the account that `serviceAccount` names, and that is not written";
            return Err(why.to_owned().into());
        }
        if settings.spec.managed.is_empty() && !self.has_kept().await? {
            return Ok(());
        }
        let (client, namespace) = self.client().await?;
        let keeping = keeping(settings, &namespace);
        let wanted = keeping.wanted(&settings.spec);
        for object in &wanted {
            self.make(&client, &keeping, object).await?;
        }
        for kind in ManagedKind::ALL.into_iter().filter(|kind| kind.goes()) {
            let api = api(&client, &namespace, kind);
            let params = ListParams::default().labels(&keeping.selector());
            let listed = within(api.list(&params)).await.map_err(|trouble| self.failed(&trouble))?;
            let names = listed.items.into_iter().filter_map(|object| object.metadata.name);
            for name in names.filter(|name| !wanted.iter().any(|object| object.kind == kind && object.name == *name)) {
                self.may_write()?;
                match within(api.delete(&name, &DeleteParams::default())).await {
                    Ok(_) | Err(Trouble::NotFound) => {
                        tracing::info!(agent = %settings.agent, name, "no longer declared, removed")
                    }
                    Err(trouble) => return Err(self.failed(&trouble).into()),
                }
            }
        }
        Ok(())
    }

    async fn make(&mut self, client: &Client, keeping: &Keeping<'_>, object: &ManagedObject) -> Result<(), Unmade> {
        let api = api(client, keeping.namespace, object.kind);
        let (kind, _) = object.kind.api();
        match within(api.get(&object.name)).await {
            Err(trouble) if trouble.is_absence() && object.kind == ManagedKind::Namespace => {
                self.begin_namespace(&api, keeping).await?;
            }
            Err(trouble) if trouble.is_absence() => {}
            Err(trouble) => return Err(self.failed(&trouble).into()),
            Ok(found) if keeping.owns(&value_of(&found)) => {}
            Ok(_) => {
                return Err(format!(
                    "{kind} {} is there and was not made for this agent, so it is left alone: take it out of `managed`, or hand it over \
                     (kubectl label {} {} {})",
                    object.name,
                    kind.to_lowercase(),
                    object.name,
                    keeping.selector().replace(',', " "),
                )
                .into());
            }
        }
        self.may_write()?;
        // It is ours: who else writes these fields gives way.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = within(api.patch(&object.name, &params, &Patch::Apply(&object.value))).await;
        let applied = applied.map_err(|trouble| self.failed(&trouble))?;
        // What somebody else added to a specification stays his with server-side apply; in one that is ours it goes.
        if let Some(without) = without_additions(&applied.data["spec"], &object.value["spec"]) {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": without }));
            self.may_write()?;
            within(api.patch(&object.name, &params, &patch)).await.map_err(|trouble| self.failed(&trouble))?;
        }
        Ok(())
    }

    /// Makes a namespace that is not there. No lease can be in it, so that nobody's word counts there yet; one that somebody
    /// makes at the same moment stays as it is.
    async fn begin_namespace(&mut self, api: &Api<DynamicObject>, keeping: &Keeping<'_>) -> Result<(), String> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let bare = serde_json::from_value(keeping.bare_namespace());
        let bare = bare.expect("a namespace with a name and labels is an object");
        match within(api.create(&params, &bare)).await {
            Ok(_) | Err(Trouble::Exists) => Ok(()),
            Err(trouble) => Err(self.failed(&trouble)),
        }
    }

    /// Whether anything was kept here before: an agent that never declared anything needs no rights for it.
    async fn has_kept(&mut self) -> Result<bool, String> {
        let (client, namespace) = self.client().await?;
        let keeping = keeping(self.settings, &namespace);
        let params = ListParams::default().labels(&keeping.selector()).limit(1);
        for kind in ManagedKind::ALL.into_iter().filter(|kind| kind.goes()) {
            match within(api(&client, &namespace, kind).list(&params)).await {
                Ok(listed) if !listed.items.is_empty() => return Ok(true),
                Ok(_) | Err(Trouble::Agent(_) | Trouble::NotFound | Trouble::Refused(_)) => {}
                Err(trouble) => return Err(self.failed(&trouble)),
            }
        }
        Ok(false)
    }

    async fn found(&self, client: &Client, namespace: &str) -> Result<BTreeMap<ManagedKind, Value>, Trouble> {
        let keeping = keeping(self.settings, namespace);
        let mut found = BTreeMap::new();
        for object in keeping.wanted(&self.settings.spec) {
            match within(api(client, namespace, object.kind).get(&object.name)).await {
                Ok(there) => drop(found.insert(object.kind, value_of(&there))),
                Err(trouble) if trouble.is_absence() => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(found)
    }

    /// The client that is at hand, or a new one.
    async fn client(&mut self) -> Result<(Client, String), String> {
        if let Some(known) = &self.client {
            return Ok(known.clone());
        }
        let (client, namespace, _) = client_of(&self.settings.spec, self.gate).await?;
        self.client = Some((client.clone(), namespace.clone()));
        Ok((client, namespace))
    }

    /// What a trouble means here; the next try begins with a new client.
    fn failed(&mut self, trouble: &Trouble) -> String {
        self.client = None;
        match trouble {
            Trouble::Agent(why) if why.contains("lacks a right") => {
                format!("{why} (what `managed` needs stands in deploy/agent-managed)")
            }
            other => other.message(),
        }
    }
}

fn keeping<'a>(settings: &'a Settings, namespace: &'a str) -> Keeping<'a> {
    Keeping { instance: &settings.instance, agent: &settings.agent, namespace }
}

fn api(client: &Client, namespace: &str, kind: ManagedKind) -> Api<DynamicObject> {
    let (name, plural) = kind.api();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", name), plural);
    match kind {
        ManagedKind::Namespace => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

fn value_of(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// The merge patch that takes out of a specification what is not wanted there, at its first two levels; none when there is
/// nothing of the kind.
fn without_additions(found: &Value, wanted: &Value) -> Option<Value> {
    let (found, wanted) = (found.as_object()?, wanted.as_object()?);
    let mut patch = Map::new();
    for (key, found) in found {
        match (found, wanted.get(key)) {
            (_, None) => drop(patch.insert(key.clone(), Value::Null)),
            (Value::Object(found), Some(Value::Object(wanted))) => {
                let added: Map<String, Value> = found
                    .keys()
                    .filter(|key| !wanted.contains_key(*key))
                    .map(|key| (key.clone(), Value::Null))
                    .collect();
                if !added.is_empty() {
                    patch.insert(key.clone(), added.into());
                }
            }
            (Value::Array(found), Some(wanted @ Value::Array(list))) if found.len() != list.len() => {
                patch.insert(key.clone(), wanted.clone());
            }
            _ => {}
        }
    }
    (!patch.is_empty()).then(|| patch.into())
}
