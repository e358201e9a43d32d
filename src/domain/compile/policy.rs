//! Organization, agents, queues and projects: as written, and with their defaults as policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::codes;
use super::document::Document;
use super::load::{Loaded, Room, Spec};
use super::schema::Shape;
use crate::domain::catalog::{
    AgentPolicy, DEFAULT_MAX_REMOVALS, DEFAULT_MAX_STARTS, Declared, OrganizationPolicy, ProjectPolicy, QueuePolicy,
};
use crate::domain::diagnostic::{Diagnostic, Diagnostics};
use crate::domain::ids::{AgentName, DEFAULT_QUEUE, Name, ProjectName, QueueName};
use crate::domain::quantity::Resources;
use crate::domain::spec::{Agent, Kind, Organization, Project, Queue, TargetSpec};

/// The depth to which the places of policy fields are kept: deep enough for every field that they have.
const FIELD_DEPTH: usize = 4;

/// The policy documents of a commit, typed.
#[derive(Debug, Default)]
pub(super) struct Written<'d> {
    pub organizations: Vec<(Organization, &'d Document)>,
    pub agents: Vec<(Agent, &'d Document)>,
    pub queues: Vec<(Queue, &'d Document)>,
    pub projects: Vec<(Project, &'d Document)>,
    /// Presets by name.
    pub presets: Vec<(String, &'d Document)>,
    /// The queues that exist, with the `default` of every agent.
    pub queue_names: BTreeSet<QueueName>,
    /// Whether a document declares the organization, but has errors.
    pub unsound_organization: bool,
    /// Projects that only a folder names.
    pub folders: BTreeSet<ProjectName>,
}

/// The policy with its defaults: what workflows are resolved against.
#[derive(Debug)]
pub(super) struct Policy {
    pub organization: Declared<OrganizationPolicy>,
    pub agents: BTreeMap<AgentName, Declared<AgentPolicy>>,
    pub queues: BTreeMap<QueueName, Declared<QueuePolicy>>,
    pub projects: BTreeMap<ProjectName, Declared<ProjectPolicy>>,
}

impl<'d> Written<'d> {
    /// Types the policy documents of a commit; says whether all of them are sound.
    pub fn read(files: &'d BTreeMap<String, Arc<Loaded>>, problems: &mut Diagnostics) -> (Self, bool) {
        let mut written = Self::default();
        let mut sound = true;
        for (path, loaded) in files {
            if let Some(Ok(project)) = loaded.folder.project.as_deref().map(ProjectName::parse) {
                written.folders.insert(project);
            }
            let policy_room = matches!(loaded.folder.room, Room::Policy | Room::Presets);
            sound &= !(policy_room && loaded.problems.errors() > 0);
            for spec in &loaded.specs {
                let document = &spec.document;
                let policy = matches!(
                    spec.shape,
                    Some(
                        Shape::Preset | Shape::Document(Kind::Organization | Kind::Agent | Kind::Queue | Kind::Project)
                    )
                );
                sound &= spec.sound || !policy;
                match spec.shape {
                    Some(Shape::Document(Kind::Organization)) => {
                        let good = push(&mut written.organizations, spec, problems);
                        written.unsound_organization |= !good;
                        sound &= good;
                    }
                    Some(Shape::Document(Kind::Agent)) => sound &= push(&mut written.agents, spec, problems),
                    Some(Shape::Document(Kind::Queue)) => sound &= push(&mut written.queues, spec, problems),
                    Some(Shape::Document(Kind::Project)) => sound &= push(&mut written.projects, spec, problems),
                    Some(Shape::Preset) => written.presets.push((preset_name(document, path), document)),
                    _ => {}
                }
            }
        }
        let declared = written.queues.iter().map(|(queue, _)| queue_name(queue));
        let implicit = written.agents.iter().map(|(agent, _)| QueueName::default_of(&agent.name));
        written.queue_names = declared.chain(implicit).collect();
        (written, sound)
    }

    /// The agents that exist.
    pub fn agent_names(&self) -> BTreeSet<&AgentName> {
        self.agents.iter().map(|(agent, _)| &agent.name).collect()
    }

    /// A queue as a person wrote it: `agent/queue`, or `queue` of the only agent or the organization's default agent.
    pub fn full_queue_name(&self, text: &str) -> Result<QueueName, String> {
        let text = text.trim();
        if text.contains(['/', '.']) {
            return QueueName::parse(text).map_err(|why| why.to_string());
        }
        let queue = Name::parse(text).map_err(|why| why.to_string())?;
        let default = self.organizations.first().and_then(|(organization, _)| organization.default_queue.as_deref());
        let agent = match (&self.agents[..], default.and_then(|text| QueueName::parse(text).ok())) {
            ([(only, _)], _) => only.name.clone(),
            (_, Some(default)) => default.agent,
            _ => return Err(format!("`{text}` could be a queue of any agent")),
        };
        Ok(QueueName { agent, queue })
    }

    /// The policy with its defaults. Call it only when every check has passed.
    pub fn policy(&self) -> Option<Policy> {
        let (written, document) = self.organizations.first()?;
        let default_queue = |text: &Option<String>| text.as_ref().and_then(|text| self.full_queue_name(text).ok());
        let organization = declared(
            OrganizationPolicy {
                name: written.name.clone(),
                concurrency: written.concurrency.unwrap_or_default(),
                default_queue: default_queue(&written.default_queue),
                default_preset: written.default_preset.clone(),
                sharing: written.sharing,
                first_sync: written.sync.first_sync,
                max_starts: written.sync.max_starts.unwrap_or(DEFAULT_MAX_STARTS),
                max_removals: written.sync.max_removals.unwrap_or(DEFAULT_MAX_REMOVALS),
                freeze: written.sync.freeze.clone(),
            },
            document,
        );
        let agents =
            self.agents.iter().map(|(agent, document)| (agent.name.clone(), declared(agent_policy(agent), document)));
        let implicit = self
            .agents
            .iter()
            .map(|(agent, _)| (QueueName::default_of(&agent.name), Declared::implicit(QueuePolicy::default())));
        let queues =
            self.queues.iter().map(|(queue, document)| (queue_name(queue), declared(queue_policy(queue), document)));
        let folders = self.folders.iter().map(|name| {
            let policy = ProjectPolicy {
                default_queue: None,
                default_preset: None,
                queues: None,
                concurrency: crate::domain::spec::Limit::Unlimited,
            };
            (name.clone(), Declared::implicit(policy))
        });
        let projects = self.projects.iter().map(|(project, document)| {
            let policy = ProjectPolicy {
                default_queue: default_queue(&project.default_queue),
                default_preset: project.default_preset.clone(),
                queues: project.queues.clone(),
                concurrency: project.concurrency.unwrap_or_default(),
            };
            (project.name.clone(), declared(policy, document))
        });
        Some(Policy {
            organization,
            agents: agents.collect(),
            queues: implicit.chain(queues).collect(),
            projects: folders.chain(projects).collect(),
        })
    }
}

/// The full name of a queue.
pub(super) fn queue_name(queue: &Queue) -> QueueName {
    QueueName { agent: queue.agent.clone(), queue: queue.name.clone() }
}

/// A preset's name: its `name`, else that of its file.
fn preset_name(document: &Document, path: &str) -> String {
    let stem = path.rsplit('/').next().and_then(|file| file.split('.').next()).unwrap_or(path);
    document.value.get("name").and_then(serde_json::Value::as_str).unwrap_or(stem).to_owned()
}

fn push<'d, T: DeserializeOwned>(
    list: &mut Vec<(T, &'d Document)>,
    spec: &'d Spec,
    problems: &mut Diagnostics,
) -> bool {
    if !spec.sound {
        return false;
    }
    match T::deserialize(&spec.document.value) {
        Ok(item) => {
            list.push((item, &spec.document));
            true
        }
        Err(why) => {
            let problem =
                Diagnostic::error(codes::NOT_VALID, spec.document.place(""), super::text::shown(&why.to_string()));
            problems.push(problem);
            false
        }
    }
}

/// A thing with the places of its text.
pub(super) fn declared<T>(item: T, document: &Document) -> Declared<T> {
    Declared { item, place: Some(document.place("")), fields: document.fields(FIELD_DEPTH) }
}

fn agent_policy(agent: &Agent) -> AgentPolicy {
    AgentPolicy {
        concurrency: agent.concurrency.unwrap_or_default(),
        capacity: limits(&agent.capacity),
        default_queue: agent
            .default_queue
            .clone()
            .unwrap_or_else(|| Name::parse(DEFAULT_QUEUE).expect("`default` is a name")),
        target: match (&agent.kubernetes, &agent.local) {
            (Some(kubernetes), _) => TargetSpec::Kubernetes(Box::new(kubernetes.clone())),
            (None, local) => TargetSpec::Local(local.clone().unwrap_or_default()),
        },
    }
}

fn queue_policy(queue: &Queue) -> QueuePolicy {
    QueuePolicy {
        priority: queue.priority.unwrap_or_default(),
        concurrency: queue.concurrency.unwrap_or_default(),
        quota: limits(&queue.quota),
        weight: queue.weight.unwrap_or(1),
        order: queue.order,
        hold: queue.hold,
        windows: queue.windows.clone(),
        on_remove: queue.on_remove.clone(),
        previous_name: queue.previous_name.clone(),
    }
}

/// Limits by canonical name. Unlike in a request, a zero stays: it forbids, where absence allows everything.
fn limits(written: &Resources) -> Resources {
    let mut all = Resources::default();
    written.0.iter().for_each(|(name, amount)| all.add(name, *amount));
    all
}
