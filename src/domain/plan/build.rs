//! Catalogs made in code, for tests, benchmarks and what-if questions: `org().queue("us/gpu", |q| …).build()`.
//!
//! Every object gets a file and every field a line, as if it had been written. Names are given in code, so a wrong one
//! panics.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::catalog::{
    AgentPolicy, Catalog, CompiledOperation, DEFAULT_MAX_REMOVALS, DEFAULT_MAX_STARTS, Declared, OrganizationPolicy,
    ProjectPolicy, PushTrigger, QueuePolicy, ResolvedWorkflow, StoredOperation,
};
use crate::domain::diagnostic::Place;
use crate::domain::ids::{AgentName, Digest, Name, OrganizationName, ProjectName, QueueName, WorkflowName};
use crate::domain::places::FieldPlaces;
use crate::domain::quantity::{Quantity, Resources};
use crate::domain::spec::{FirstSync, Limit, LocalTarget, Sharing, TargetSpec, WorkflowOnRemove};

/// A catalog in the making.
#[derive(Debug, Clone)]
pub struct Builder(Catalog);

/// An organization `acme` with the agent `us` and its queue `default`.
pub fn org() -> Builder {
    let policy = OrganizationPolicy {
        name: OrganizationName::parse("acme").expect("a name"),
        concurrency: Limit::Unlimited,
        default_queue: None,
        default_preset: None,
        sharing: Sharing::Waterfall,
        first_sync: FirstSync::Adopt,
        max_starts: DEFAULT_MAX_STARTS,
        max_removals: DEFAULT_MAX_REMOVALS,
        freeze: Vec::new(),
    };
    let catalog = Catalog {
        organization: declared(policy, "tidegate.yaml"),
        agents: BTreeMap::new(),
        queues: BTreeMap::new(),
        projects: BTreeMap::new(),
        presets: BTreeMap::new(),
        workflows: BTreeMap::new(),
        unsound: BTreeMap::new(),
    };
    Builder(catalog).agent("us", |_| {})
}

impl Builder {
    /// Changes the organization.
    pub fn organization(mut self, change: impl FnOnce(&mut OrganizationPolicy)) -> Self {
        change(&mut self.0.organization.item);
        self.0.organization = declared(self.0.organization.item, "tidegate.yaml");
        self
    }

    /// Adds or changes an agent; it has the queue `default`.
    pub fn agent(mut self, name: &str, change: impl FnOnce(&mut AgentPolicy)) -> Self {
        let key = AgentName::parse(name).expect("a name");
        let mut item = self.0.agents.remove(&key).map_or_else(local_agent, |declared| declared.item);
        change(&mut item);
        self.0.queues.entry(QueueName::default_of(&key)).or_insert(Declared::implicit(QueuePolicy::default()));
        self.0.agents.insert(key, declared(item, &format!("agents/{name}.yaml")));
        self
    }

    /// Adds or changes a queue.
    pub fn queue(mut self, name: &str, change: impl FnOnce(&mut QueuePolicy)) -> Self {
        let key = QueueName::parse(name).expect("a name");
        let mut item = self.0.queues.remove(&key).map_or_else(QueuePolicy::default, |declared| declared.item);
        change(&mut item);
        self.0.queues.insert(key, declared(item, &format!("queues/{name}.yaml")));
        self
    }

    /// Adds or changes a project.
    pub fn project(mut self, name: &str, change: impl FnOnce(&mut ProjectPolicy)) -> Self {
        let key = ProjectName::parse(name).expect("a name");
        let mut item = self.0.projects.remove(&key).map_or_else(open_project, |declared| declared.item);
        change(&mut item);
        self.0.projects.insert(key, declared(item, &format!("projects/{name}/project.yaml")));
        self
    }

    /// Adds or replaces a preset.
    pub fn preset(mut self, name: &str, value: Value) -> Self {
        self.0.presets.insert(name.to_owned(), declared(value, &format!("presets/{name}.yaml")));
        self
    }

    /// Adds or changes a workflow with a push trigger; its digests follow from what it says. What it watches is
    /// whatever its `inputs_digest` is set to.
    pub fn workflow(mut self, name: &str, change: impl FnOnce(&mut ResolvedWorkflow)) -> Self {
        let key = WorkflowName::parse(name).expect("a name");
        self.0.projects.entry(key.project.clone()).or_insert(Declared::implicit(open_project()));
        let mut item = self.0.workflows.remove(&key).map_or_else(echo_workflow, |declared| declared.item);
        change(&mut item);
        item.spec_digest = digest(&(&item.queue, &item.operation));
        item.trigger_digest = digest(&(&item.push, &item.schedules, &item.supersede, item.on_remove));
        let file = format!("projects/{}/workflows/{}.yaml", key.project, key.workflow);
        self.0.workflows.insert(key, declared(item, &file));
        self
    }

    /// Declares a workflow whose file has an error.
    pub fn unsound(mut self, name: &str) -> Self {
        let key = WorkflowName::parse(name).expect("a name");
        self.0.workflows.remove(&key);
        let file = format!("projects/{}/workflows/{}.yaml", key.project, key.workflow);
        self.0.unsound.insert(key, Place::file(&file));
        self
    }

    /// Takes an object away, by its address: `queue us/gpu`.
    pub fn without(mut self, address: &str) -> Self {
        let (kind, name) = address.split_once(' ').expect("kind and name");
        let gone = match kind {
            "agent" => self.0.agents.remove(&AgentName::parse(name).expect("a name")).is_some(),
            "queue" => self.0.queues.remove(&QueueName::parse(name).expect("a name")).is_some(),
            "project" => self.0.projects.remove(&ProjectName::parse(name).expect("a name")).is_some(),
            "preset" => self.0.presets.remove(name).is_some(),
            "workflow" => self.0.workflows.remove(&WorkflowName::parse(name).expect("a name")).is_some(),
            _ => false,
        };
        assert!(gone, "there is no {address}");
        self
    }

    /// The catalog, to change it in ways that a builder does not know.
    pub fn with(mut self, change: impl FnOnce(&mut Catalog)) -> Self {
        change(&mut self.0);
        self
    }

    /// The catalog.
    pub fn build(self) -> Catalog {
        self.0
    }
}

/// Amounts by name, as in a file.
pub fn resources(amounts: &[(&str, &str)]) -> Resources {
    let mut all = Resources::default();
    for (name, amount) in amounts {
        all.add(name, Quantity::parse(amount).expect("a quantity"));
    }
    all
}

fn local_agent() -> AgentPolicy {
    AgentPolicy {
        concurrency: Limit::Unlimited,
        capacity: Resources::default(),
        default_queue: Name::parse("default").expect("a name"),
        target: TargetSpec::Local(LocalTarget::default()),
    }
}

fn open_project() -> ProjectPolicy {
    ProjectPolicy { default_queue: None, default_preset: None, queues: None, concurrency: Limit::Unlimited }
}

fn echo_workflow() -> ResolvedWorkflow {
    let none = Digest::of(b"");
    ResolvedWorkflow {
        queue: QueueName::parse("us/default").expect("a name"),
        operation: StoredOperation::of(&CompiledOperation {
            run: json!({"kind": "job", "container": {"image": "busybox", "command": ["echo", "hello"]}}),
            ..CompiledOperation::default()
        }),
        push: Some(PushTrigger { paths: Vec::new(), fires: Default::default() }),
        schedules: Vec::new(),
        supersede: None,
        on_remove: WorkflowOnRemove::default(),
        previous_name: None,
        unrunnable: None,
        spec_digest: none,
        trigger_digest: none,
        inputs_digest: none,
    }
}

fn digest(meaning: &impl Serialize) -> Digest {
    Digest::of(&serde_json::to_vec(meaning).expect("plain data"))
}

/// A thing in a file, each of its fields on a line of its own from the fifth.
fn declared<T: Serialize>(item: T, file: &str) -> Declared<T> {
    let place = Place { file: file.into(), line: 1, column: 1, end_column: 1 };
    let mut fields = FieldPlaces::new(Arc::clone(&place.file));
    let value = serde_json::to_value(&item).expect("plain data");
    let mut lines = 5..;
    pointers(&value, String::new(), &mut |pointer| fields.add(&pointer, lines.next().unwrap_or_default(), 1, 1));
    Declared { item, place: Some(place), fields }
}

fn pointers(value: &Value, path: String, found: &mut impl FnMut(String)) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| pointers(value, format!("{path}/{}", escaped(key)), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| pointers(item, format!("{path}/{i}"), found))
        }
        Value::Null => {}
        _ => found(path),
    }
}
