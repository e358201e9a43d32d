//! What git declares, with its use: queues, agents, projects, workflows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::catalog::{Catalog, Declared, ProjectPolicy, QueuePolicy, ResolvedWorkflow};
use crate::domain::dispatch::{AgentView as Agent, QueueView as Queue};
use crate::domain::ids::{ProjectName, WorkflowName};
use crate::domain::quantity::Resources;
use crate::domain::spec::{Limit, Order, Priority, TargetSpec};

view! {
    /// What may be set of a queue.
    QueueSettings {
        /// Its level; -1 is the highest.
        priority: Priority,
        /// Most operations at once; -1 is unlimited.
        concurrency: Limit,
        /// What its running operations may ask together.
        quota: Resources,
        /// Its share among the queues of its level.
        weight: u32,
        /// Whether the first in line blocks.
        order: Order,
        /// Whether nothing is dispatched.
        hold: bool,
    }
}

view! {
    /// A queue with its use.
    QueueView {
        /// Its full name, `agent/queue`.
        name: String,
        /// Its agent.
        agent: String,
        /// What is in force.
        #[serde(flatten)]
        settings: QueueSettings,
        /// Operations that hold a slot.
        running: u32,
        /// Operations that stand in line.
        queued: u32,
        /// What the running ones ask together.
        used: Resources,
        /// What git says, when somebody changed the queue through the API.
        declared: Option<QueueSettings>,
        /// Who changed it.
        changed_by: Option<String>,
        /// Whether it is removed and only finishes what it has.
        removed: bool,
    }
}

view! {
    /// A place in a queue's line.
    PlaceView {
        /// From 1.
        position: usize,
        /// The run.
        uuid: String,
        /// Its name.
        name: String,
        /// Its project.
        project: String,
        /// What it asks for.
        request: Resources,
        /// When it was asked for.
        created_at: String,
    }
}

/// What to change of a queue; absent fields stay. The next applied commit heals it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueChange {
    /// Whether nothing is dispatched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// Most operations at once; -1 is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Limit>,
    /// Its level; -1 is the highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

view! {
    /// A level of priority of an agent.
    LevelView {
        /// The level; -1 is the highest.
        priority: Priority,
        /// How many operations it may run at once now; absent when nothing limits it.
        budget: Option<u64>,
        /// How many it runs.
        running: u32,
    }
}

view! {
    /// An agent with its use.
    AgentView {
        /// Its name.
        name: String,
        /// What it dispatches to.
        target: String,
        /// Whether it can be reached.
        up: bool,
        /// Why it cannot be reached, when it cannot and that is known.
        trouble: Option<String>,
        /// Most operations at once; -1 is unlimited.
        concurrency: Limit,
        /// What they may ask together.
        capacity: Resources,
        /// Operations that hold a slot.
        running: u32,
        /// Operations that stand in its queues.
        queued: u32,
        /// What the running ones ask together.
        used: Resources,
        /// Its levels, highest first.
        levels: Vec<LevelView>,
        /// Whether it is removed and only finishes what it has.
        removed: bool,
    }
}

view! {
    /// An agent that has gone and left something in its cluster: when that is there, what is left is deleted.
    GoneView {
        /// Its name.
        name: String,
        /// When it went.
        since: String,
        /// Until when its cluster is looked out for.
        until: String,
        /// Why it was not reached at the last try, once that is known.
        trouble: Option<String>,
    }
}

view! {
    /// A project.
    ProjectView {
        /// Its name.
        name: String,
        /// The queue of operations that name none.
        default_queue: Option<String>,
        /// The only queues that it may use, as globs; any when absent.
        queues: Option<Vec<String>>,
        /// Most operations queued or beyond; -1 is unlimited.
        concurrency: Limit,
        /// Its workflows.
        workflows: Vec<String>,
    }
}

view! {
    /// A workflow of the applied commit.
    WorkflowView {
        /// Its project.
        project: String,
        /// Its name within the project.
        name: String,
        /// The queue of its runs.
        queue: String,
        /// What starts it: `push`, `schedule`, or only people.
        triggers: Vec<String>,
        /// Its kind (`job`, `dag`, …).
        kind: String,
        /// Its inputs and their values.
        inputs: Map<String, Value>,
        /// Its file, with line and column.
        place: Option<String>,
        /// The digest of its meaning.
        spec_digest: String,
        /// Why it cannot run here, if so.
        unrunnable: Option<String>,
        /// What it runs, with everything merged in; templates are not filled in.
        run: Value,
    }
}

impl From<&QueuePolicy> for QueueSettings {
    fn from(policy: &QueuePolicy) -> Self {
        Self {
            priority: policy.priority,
            concurrency: policy.concurrency,
            quota: policy.quota.clone(),
            weight: policy.weight,
            order: policy.order,
            hold: policy.hold,
        }
    }
}

impl From<Queue<'_>> for QueueView {
    fn from(queue: Queue<'_>) -> Self {
        Self {
            name: queue.name.to_string(),
            agent: queue.name.agent.to_string(),
            settings: queue.policy.into(),
            running: queue.running,
            queued: queue.queued,
            used: queue.used,
            declared: queue.declared.map(Into::into),
            changed_by: queue.changed_by.map(str::to_owned),
            removed: queue.removed,
        }
    }
}

impl AgentView {
    /// The view of an agent in whose queues so many wait.
    pub fn of(agent: Agent<'_>, queued: u32) -> Self {
        let levels = agent.levels.iter().map(|(priority, budget, running)| LevelView {
            priority: *priority,
            budget: (*budget < u64::from(u32::MAX)).then_some(*budget),
            running: *running,
        });
        Self {
            name: agent.name.to_string(),
            target: match agent.policy.target {
                TargetSpec::Local(_) => "local".to_owned(),
                TargetSpec::Kubernetes(_) => "kubernetes".to_owned(),
            },
            up: agent.up,
            trouble: None,
            concurrency: agent.policy.concurrency,
            capacity: agent.policy.capacity.clone(),
            running: agent.running,
            queued,
            levels: levels.collect(),
            used: agent.used,
            removed: agent.removed,
        }
    }
}

impl ProjectView {
    /// The projects of a catalog.
    pub fn all(catalog: &Catalog) -> Vec<Self> {
        let view = |(name, declared): (&ProjectName, &Declared<ProjectPolicy>)| Self {
            name: name.to_string(),
            default_queue: declared.item.default_queue.as_ref().map(ToString::to_string),
            queues: declared.item.queues.clone(),
            concurrency: declared.item.concurrency,
            workflows: catalog
                .workflows
                .keys()
                .filter(|w| w.project == *name)
                .map(|w| w.workflow.to_string())
                .collect(),
        };
        catalog.projects.iter().map(view).collect()
    }
}

impl WorkflowView {
    /// The view of a workflow.
    pub fn of(name: &WorkflowName, declared: &Declared<ResolvedWorkflow>) -> Self {
        let workflow = &declared.item;
        let push = workflow.push.as_ref().map(|_| "push".to_owned());
        let schedule = (!workflow.schedules.is_empty()).then(|| "schedule".to_owned());
        let operation = workflow.operation.read();
        let kind = operation.run.get("kind").and_then(Value::as_str).unwrap_or("job").to_owned();
        Self {
            project: name.project.to_string(),
            name: name.workflow.to_string(),
            queue: workflow.queue.to_string(),
            triggers: push.into_iter().chain(schedule).collect(),
            kind,
            inputs: operation.inputs.into_iter().collect(),
            place: declared.place.as_ref().map(ToString::to_string),
            spec_digest: workflow.spec_digest.to_string(),
            unrunnable: workflow.unrunnable.clone(),
            run: operation.run,
        }
    }
}
