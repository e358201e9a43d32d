//! A site whose agents are namespaces of the two clusters.

use std::time::Instant;

use tidegate::domain::dispatch::history::{ConditionRow, RunRow};
use tidegate::domain::dispatch::status::Status;

use crate::site::{Server, Site};
use crate::world::{PATIENCE, World};

/// A pod that lives as the test says; see `tests/cluster/stages.yaml`.
#[derive(Default, Clone)]
pub struct Fate {
    pub annotations: Vec<(&'static str, String)>,
    /// More of the `run` section, as lines of YAML.
    pub run: String,
    /// More of the operation, as lines of YAML.
    pub operation: String,
    pub container: String,
}

impl Fate {
    pub fn new(outcome: &str) -> Self {
        Self { annotations: vec![("outcome", outcome.to_owned())], ..Self::default() }
    }

    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.annotations.push((key, value.to_owned()));
        self
    }

    pub fn run(mut self, lines: &str) -> Self {
        self.run.push_str(lines);
        self
    }

    pub fn operation(mut self, lines: &str) -> Self {
        self.operation.push_str(lines);
        self
    }

    pub fn container(mut self, lines: &str) -> Self {
        self.container.push_str(lines);
        self
    }

    /// A workflow with this fate.
    pub fn workflow(&self, name: &str, queue: &str) -> String {
        let annotations: String = self
            .annotations
            .iter()
            .map(|(key, value)| format!("          tests.tidegate.dev/{key}: '{value}'\n"))
            .collect();
        // What adds to `environment` stands below it, anything else beside it.
        let (beside, below) = match self.run.strip_prefix("environment:\n") {
            Some(lines) => (String::new(), lines.to_owned()),
            None => (self.run.clone(), String::new()),
        };
        let indent = |text: &str, by: &str| text.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
        format!(
            "version: 1.1\nkind: workflow\nname: {name}\nqueue: {queue}\noperation:\n{}  component:\n    run:\n      kind: job\n      environment:\n{}        annotations:\n{annotations}{}      container:\n        image: registry.example.org/train:1\n        command: [train]\n{}",
            indent(&self.operation, "  "),
            indent(&below, "      "),
            indent(&beside, "      "),
            indent(&self.container, "        "),
        )
    }
}

/// A site with the agents `a` and `b`, each a namespace of its cluster, and their queue `q`.
pub fn site(world: &World, namespace: &str) -> Site {
    let site = Site::new();
    for path in ["agents/here.yaml", "queues/here/fast.yaml", "queues/here/slow.yaml"] {
        site.remove(path);
    }
    for cluster in ["a", "b"] {
        site.write(&format!("agents/{cluster}.yaml"), &agent(world, cluster, namespace));
        site.write(
            &format!("queues/{cluster}/q.yaml"),
            &format!("version: 1.1\nkind: queue\nname: q\nagent: {cluster}\nconcurrency: 50\n"),
        );
    }
    site.write("projects/p/project.yaml", "version: 1.1\nkind: project\nname: p\ndefaultQueue: a/q\n");
    site
}

pub fn agent(world: &World, cluster: &str, namespace: &str) -> String {
    format!(
        "version: 1.1\nkind: agent\nname: {cluster}\nkubernetes:\n  kubeconfig: file:{}\n  context: {cluster}\n  namespace: {namespace}\n",
        world.kubeconfig.display()
    )
}

impl Server {
    /// The newest run of a workflow.
    pub fn run_of(&self, workflow: &str) -> Option<RunRow> {
        self.runs().into_iter().filter(|run| run.name == workflow).max_by_key(|run| run.created_at)
    }

    /// Waits until the run of a workflow has a status, and gives it.
    pub fn until_status(&self, workflow: &str, status: Status) -> RunRow {
        let begun = Instant::now();
        loop {
            if let Some(run) = self.run_of(workflow).filter(|run| run.status == status) {
                return run;
            }
            if begun.elapsed() > PATIENCE {
                let run = self.run_of(workflow);
                let conditions = run.as_ref().map(|run| self.conditions(run));
                panic!("{workflow} is not {status}: {run:#?} {conditions:#?}");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    pub fn conditions(&self, run: &RunRow) -> Vec<ConditionRow> {
        self.0.engine().history().conditions(run.id).unwrap()
    }

    pub fn is_up(&self, agent: &str) -> bool {
        self.0.engine().read(|state| state.agents().any(|known| known.name.as_str() == agent && known.up))
    }

    pub fn until_up(&self, agent: &str) {
        let begun = Instant::now();
        while !self.is_up(agent) {
            assert!(
                begun.elapsed() < PATIENCE,
                "agent {agent} does not come up: {:?}",
                self.0.agent_trouble(&tidegate::domain::ids::AgentName::parse(agent).unwrap())
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
