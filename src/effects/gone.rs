//! Agents that went while their cluster could not be reached: they were given up, and what may still run there is nobody's.
//! Their targets stay open until the cluster has come back once and nothing of ours is left in it, also over a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Courier;
use crate::domain::dispatch::observation::{Observation, Seen};
use crate::domain::ids::{AgentName, AttemptName};
use crate::domain::spec::TargetSpec;

/// The file in the directory of such an agent that says where it pointed to.
const GONE_FILE: &str = "gone.json";

/// Such agents, with what is known to be left there; nothing is known before the cluster is back.
pub(super) type Gone = BTreeMap<AgentName, Option<BTreeSet<AttemptName>>>;

impl Courier {
    /// Takes up again what an earlier server had not finished.
    pub(super) fn recall_gone(&mut self) {
        let agents = std::fs::read_dir(self.data_dir.join("agents")).into_iter().flatten().flatten();
        for entry in agents {
            let name = entry.file_name().to_str().and_then(|name| AgentName::parse(name).ok());
            let spec = std::fs::read(entry.path().join(GONE_FILE)).ok();
            let spec = spec.and_then(|bytes| serde_json::from_slice::<TargetSpec>(&bytes).ok());
            if let (Some(name), Some(spec)) = (name, spec) {
                self.open(name.clone(), spec);
                self.opened.remove(&name);
                self.gone.insert(name, None);
            }
        }
    }

    /// An agent has finished what it had. One that can be reached is closed; another one is waited for.
    pub(super) fn let_go(&mut self, agent: &AgentName) {
        let spec = self.opened.get(agent).filter(|spec| matches!(spec, TargetSpec::Kubernetes(_))).cloned();
        let Some(spec) = spec.filter(|_| self.effects.trouble(agent).is_some()) else { return self.close(agent) };
        let file = self.gone_file(agent);
        let text = serde_json::to_vec(&spec).expect("what an agent declares is plain data with text keys");
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, text));
        if let Err(error) = written {
            tracing::warn!(%agent, %error, "what may be left in its cluster will not be looked for after a restart");
        }
        self.opened.remove(agent);
        self.gone.insert(agent.clone(), None);
    }

    /// An agent of this name is declared (again): it is not gone any more.
    pub(super) fn is_back(&mut self, agent: &AgentName) {
        if self.gone.remove(agent).is_some() {
            self.forget_gone(agent);
        }
    }

    /// The cluster is back, and this is what it holds of ours. What is told to stop is told so where it is seen.
    pub(super) fn gone_holds(&mut self, agent: &AgentName, known: &BTreeSet<AttemptName>) {
        if let Some(left) = self.gone.get_mut(agent) {
            *left = Some(known.clone());
            self.finish_gone(agent);
        }
    }

    /// Something was seen there; what has ended is left no more.
    pub(super) fn gone_saw(&mut self, agent: &AgentName, observations: &[Observation]) {
        let ended = |seen: &Seen| matches!(seen, Seen::Succeeded { .. } | Seen::Failed { .. } | Seen::Stopped(_));
        if let Some(Some(left)) = self.gone.get_mut(agent) {
            observations.iter().filter(|one| ended(&one.seen)).for_each(|one| {
                left.remove(&one.attempt);
            });
            self.finish_gone(agent);
        }
    }

    fn finish_gone(&mut self, agent: &AgentName) {
        if self.gone.get(agent).is_some_and(|left| left.as_ref().is_some_and(BTreeSet::is_empty)) {
            tracing::info!(%agent, "nothing is left in the cluster of an agent that was forgotten");
            self.gone.remove(agent);
            self.forget_gone(agent);
        }
    }

    fn forget_gone(&mut self, agent: &AgentName) {
        self.effects.set_trouble(agent.clone(), None);
        self.close(agent);
        // A file that stays is looked into at the next start, and then found to hold nothing.
        let _ = std::fs::remove_file(self.gone_file(agent));
    }

    fn gone_file(&self, agent: &AgentName) -> PathBuf {
        self.data_dir.join("agents").join(agent.as_str()).join(GONE_FILE)
    }
}
