//! Agents that have gone and left something: a quota or limits that they had declared, or, when they were given up while their
//! cluster could not be reached, runs that are nobody's now. Their targets stay open until the cluster has been there once
//! and nothing of ours is left in it, also over a restart, or until they are not looked out for any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;

use super::Courier;
use super::identity::instance_of;
use crate::domain::dispatch::observation::{Observation, Seen};
use crate::domain::ids::{AgentName, AttemptName};
use crate::domain::kubernetes::gone::{Gone, dropped};
use crate::domain::kubernetes::names::selector;
use crate::domain::spec::{Managed, TargetSpec};
use crate::engine::wall_clock;
use crate::target::kubernetes::Duty;

/// The file in the directory of such an agent that says since when it is gone, and where it pointed to.
const GONE_FILE: &str = "gone.json";
/// How often is looked for those that are not looked out for any more: the limit is a month.
pub(super) const LOOK: Duration = Duration::from_secs(3600);

/// What is known to be left in the clusters of such agents.
pub(super) type Left = BTreeMap<AgentName, Remains>;

/// What is known to be left of one; nothing is known before the cluster is there.
#[derive(Default)]
pub(super) struct Remains {
    attempts: Option<BTreeSet<AttemptName>>,
    /// Nothing is left of what it had declared.
    cleared: bool,
}

/// What the file holds; earlier versions wrote no time.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Dated(Gone),
    Undated(TargetSpec),
}

impl Courier {
    /// Takes up again what an earlier server had not finished.
    pub(super) fn recall_gone(&mut self) {
        let agents = std::fs::read_dir(self.data_dir.join("agents")).into_iter().flatten().flatten();
        let mut found = Vec::new();
        for entry in agents {
            let name = entry.file_name().to_str().and_then(|name| AgentName::parse(name).ok());
            let written = std::fs::read(entry.path().join(GONE_FILE)).ok();
            let written = written.and_then(|bytes| serde_json::from_slice::<Written>(&bytes).ok());
            if let (Some(name), Some(written)) = (name, written) {
                found.push((name, written));
            }
        }
        for (name, written) in found {
            match written {
                Written::Dated(gone) => self.look_out(name, gone),
                Written::Undated(target) => self.begin_looking_out(name, target),
            }
        }
        self.drop_gone();
    }

    /// An agent has finished what it had. One that can be reached and leaves nothing is closed; another one is waited for.
    pub(super) fn let_go(&mut self, agent: &AgentName) {
        let away = self.effects.trouble(agent).is_some();
        let leaving =
            |spec: &&TargetSpec| matches!(spec, TargetSpec::Kubernetes(spec) if away || spec.leaves_objects());
        let spec = self.opened.get(agent).filter(leaving).cloned();
        self.effects.set_trouble(agent.clone(), None);
        self.close(agent);
        if let Some(spec) = spec {
            self.begin_looking_out(agent.clone(), spec);
            self.drop_gone();
        }
    }

    fn begin_looking_out(&mut self, agent: AgentName, target: TargetSpec) {
        let gone = Gone { since: wall_clock(), target };
        let file = self.gone_file(&agent);
        let text = serde_json::to_vec(&gone).expect("what an agent declares is plain data with text keys");
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, text));
        if let Err(error) = written {
            tracing::warn!(%agent, %error, "what may be left in its cluster will not be looked for after a restart");
        }
        self.look_out(agent, gone);
    }

    fn look_out(&mut self, agent: AgentName, gone: Gone) {
        tracing::info!(%agent, since = %gone.since, until = %gone.until(), "what is left of an agent that has gone is to be deleted in its cluster, when that is there");
        let mut target = gone.target.clone();
        // It is deleted there, and nothing is kept any more.
        if let TargetSpec::Kubernetes(spec) = &mut target {
            spec.managed = Managed::default();
        }
        self.open(agent.clone(), target, Duty::LookOut);
        self.opened.remove(&agent);
        self.left.insert(agent.clone(), Remains::default());
        self.effects.gone.write().unwrap_or_else(PoisonError::into_inner).insert(agent, gone);
    }

    /// Stops looking out for clusters that have been away for too long, or are too many.
    pub(super) fn drop_gone(&mut self) {
        let over = dropped(self.effects.gone.read().unwrap_or_else(PoisonError::into_inner).iter(), wall_clock());
        for (agent, why) in over {
            let labels = instance_of(&self.data_dir).map(|instance| selector(&instance)).unwrap_or_default();
            tracing::warn!(
                %agent, %why,
                "its cluster is not looked out for any more; should it come back: kubectl delete all,resourcequota,limitrange -l {labels}, in the namespace of the agent"
            );
            self.forget_gone(&agent);
        }
    }

    /// An agent of this name is declared (again): it is not gone any more.
    pub(super) fn is_back(&mut self, agent: &AgentName) {
        if self.left.contains_key(agent) {
            self.forget_gone(agent);
        }
    }

    /// The cluster is back, and this is what it holds of ours. What is told to stop is told so where it is seen.
    pub(super) fn gone_holds(&mut self, agent: &AgentName, known: &BTreeSet<AttemptName>) {
        if let Some(left) = self.left.get_mut(agent) {
            left.attempts = Some(known.clone());
            self.finish_gone(agent);
        }
    }

    /// What it had declared of its place is gone as well.
    pub(super) fn gone_cleared(&mut self, agent: &AgentName) {
        if let Some(left) = self.left.get_mut(agent) {
            left.cleared = true;
            self.finish_gone(agent);
        }
    }

    /// Something was seen there; what has ended is left no more.
    pub(super) fn gone_saw(&mut self, agent: &AgentName, observations: &[Observation]) {
        let ended = |seen: &Seen| matches!(seen, Seen::Succeeded { .. } | Seen::Failed { .. } | Seen::Stopped(_));
        if let Some(left) = self.left.get_mut(agent).and_then(|left| left.attempts.as_mut()) {
            observations.iter().filter(|one| ended(&one.seen)).for_each(|one| {
                left.remove(&one.attempt);
            });
            self.finish_gone(agent);
        }
    }

    fn finish_gone(&mut self, agent: &AgentName) {
        let over = |left: &Remains| left.cleared && left.attempts.as_ref().is_some_and(BTreeSet::is_empty);
        if self.left.get(agent).is_some_and(over) {
            tracing::info!(%agent, "nothing is left in the cluster of an agent that has gone");
            self.forget_gone(agent);
        }
    }

    fn forget_gone(&mut self, agent: &AgentName) {
        self.left.remove(agent);
        self.effects.gone.write().unwrap_or_else(PoisonError::into_inner).remove(agent);
        self.effects.set_trouble(agent.clone(), None);
        self.close(agent);
        // A file that stays is looked into at the next start, and then found to hold nothing.
        let _ = std::fs::remove_file(self.gone_file(agent));
    }

    fn gone_file(&self, agent: &AgentName) -> PathBuf {
        self.data_dir.join("agents").join(agent.as_str()).join(GONE_FILE)
    }
}
