//! The targets of agents: opened, pointed elsewhere, closed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::Courier;
use super::identity::instance_of;
use crate::domain::catalog::AgentPolicy;
use crate::domain::ids::AgentName;
use crate::domain::spec::{KubernetesTarget as KubernetesSpec, TargetSpec};
use crate::engine::error_chain;
use crate::target::Target;
use crate::target::kubernetes::{self, Duty, KubernetesTarget};
use crate::target::local::LocalTarget;

impl Courier {
    pub(super) fn set_agents(&mut self, agents: BTreeMap<AgentName, AgentPolicy>) {
        for (name, policy) in agents {
            match self.opened.get(&name) {
                Some(spec) if *spec == policy.target => {
                    self.moving.remove(&name);
                    self.targets(|targets| targets.get(&name).cloned()).iter().for_each(|target| target.heal());
                }
                // The same place seen with other eyes: what runs there stays in sight.
                Some(spec) if spec.same_place(&policy.target) => {
                    self.moving.remove(&name);
                    self.open_elsewhere(name, policy.target);
                }
                // What runs there would be lost sight of: nothing new starts until it has ended.
                Some(_) if self.holds_runs(&name) => {
                    let why = "it is to point elsewhere, and waits for what runs where it points now".to_owned();
                    self.engine.set_agent_up(name.clone(), false);
                    self.effects.set_trouble(name.clone(), Some(why));
                    self.moving.insert(name, policy.target);
                }
                Some(_) => self.open_elsewhere(name, policy.target),
                None => {
                    self.is_back(&name);
                    self.open(name, policy.target, Duty::Work);
                }
            }
        }
    }

    /// Whether anything runs, or may run, on an agent.
    pub(super) fn holds_runs(&self, agent: &AgentName) -> bool {
        self.engine.read(|state| state.agents().any(|known| known.name == agent && known.running > 0))
    }

    /// Points agents elsewhere that wait for it and have nothing left.
    pub(super) fn finish_moves(&mut self) {
        let free: Vec<AgentName> = self.moving.keys().filter(|agent| !self.holds_runs(agent)).cloned().collect();
        for agent in free {
            if let Some(spec) = self.moving.remove(&agent) {
                self.open_elsewhere(agent, spec);
            }
        }
    }

    pub(super) fn open_elsewhere(&mut self, agent: AgentName, spec: TargetSpec) {
        self.engine.set_agent_up(agent.clone(), false);
        self.effects.set_trouble(agent.clone(), None);
        self.close(&agent);
        self.open(agent, spec, Duty::Work);
    }

    pub(super) fn close(&mut self, agent: &AgentName) {
        self.opened.remove(agent);
        let gone = self.effects.targets.write().unwrap_or_else(PoisonError::into_inner).remove(agent);
        if let Some(target) = gone {
            target.close();
        }
    }

    pub(super) fn open(&mut self, name: AgentName, spec: TargetSpec, duty: Duty) {
        let target = match &spec {
            TargetSpec::Local(_) => {
                let dir = self.agent_dir(&name);
                LocalTarget::open(name.clone(), dir, self.program.clone(), self.effects.sink())
                    .map(|target| Arc::new(target) as Arc<dyn Target>)
                    .map_err(|error| error_chain(&error))
            }
            TargetSpec::Kubernetes(kubernetes) => self.open_cluster(&name, kubernetes, duty),
        };
        match target {
            Ok(target) => {
                self.opened.insert(name.clone(), spec);
                self.effects.targets.write().unwrap_or_else(PoisonError::into_inner).insert(name, target);
            }
            Err(why) => {
                tracing::error!(agent = %name, why, "agent cannot be opened");
                self.effects.set_trouble(name, Some(why));
            }
        }
    }

    fn open_cluster(&self, name: &AgentName, spec: &KubernetesSpec, duty: Duty) -> Result<Arc<dyn Target>, String> {
        let instance = instance_of(&self.data_dir)
            .map_err(|error| format!("the id of this installation cannot be read or written: {error}"))?;
        let settings = kubernetes::Settings {
            agent: name.clone(),
            spec: spec.clone(),
            instance,
            epoch: self.epoch,
            holder: self.holder.clone(),
            logs: self.agent_dir(name).join("logs"),
            duty,
        };
        let target = KubernetesTarget::open(settings, self.effects.sink());
        Ok(Arc::new(target.map_err(|error| format!("its thread cannot be started: {error}"))?))
    }
}
