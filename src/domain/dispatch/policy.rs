//! What is declared, as the state holds it: what an applied revision, a change through the API and a removal do to it.
//!
//! Removed queues and agents drain: they finish what they have, and go when they are empty.

use super::event::RevisionApplied;
use super::gates::GateOwner;
use super::state::State;
use super::table::Ix;
use crate::domain::catalog::{ProjectPolicy, QueuePolicy};
use crate::domain::ids::{AgentName, CommitId, Digest, QueueName};
use crate::domain::spec::{Limit, OnRemove};
use crate::domain::time::Timestamp;

/// What is applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Applied {
    /// The commit.
    pub commit: CommitId,
    /// The commit that the policy is of: an earlier one while that of `commit` is not sound.
    pub policy: CommitId,
    /// Its subject line.
    pub subject: String,
    /// The plan that was carried out.
    pub plan: Digest,
    /// When.
    pub at: Timestamp,
}

/// What finishes what it has and then goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draining {
    Queue(QueueName),
    Agent(AgentName),
}

impl State {
    /// Somebody changed a queue through the API, maybe back to what git says.
    pub(super) fn change_queue(&mut self, queue: &QueueName, policy: &QueuePolicy, by: &str) {
        if let Some(ix) = self.queues.queue_of.get(queue) {
            let declared = self.queues.queues[*ix].policy.clone();
            let entry = self.overrides.entry(queue.clone()).or_insert((declared, String::new()));
            entry.1 = by.to_owned();
            if entry.0 == *policy {
                self.overrides.remove(queue);
            }
            self.queues.set_queue(&self.runs, queue, policy.clone());
            self.stir(queue);
        }
    }

    pub(super) fn forget_queue(&mut self, queue: &QueueName) {
        self.undrain(&Draining::Queue(queue.clone()));
        self.overrides.remove(queue);
        if let Some(ix) = self.queues.queue_of.get(queue) {
            self.queues.remove_queue(*ix);
        }
        self.stir_agent(&queue.agent);
    }

    pub(super) fn forget_agent(&mut self, agent: &AgentName) {
        self.undrain(&Draining::Agent(agent.clone()));
        if let Some(ix) = self.queues.agent_of.get(agent) {
            self.queues.remove_agent(*ix);
        }
    }

    /// The next pass looks at a removed queue.
    pub(super) fn stir(&mut self, queue: &QueueName) {
        let draining = Draining::Queue(queue.clone());
        if self.draining.contains(&draining) {
            self.stirred.insert(draining);
        }
    }

    pub(super) fn stir_if_removed(&mut self, queue: Ix) {
        if self.queues.queues[queue].removed {
            let name = self.queues.queues[queue].name.clone();
            self.stir(&name);
        }
    }

    fn stir_agent(&mut self, agent: &AgentName) {
        let draining = Draining::Agent(agent.clone());
        if self.draining.contains(&draining) {
            self.stirred.insert(draining);
        }
    }

    pub(super) fn drain(&mut self, what: Draining) {
        self.stirred.insert(what.clone());
        self.draining.insert(what);
    }

    fn undrain(&mut self, what: &Draining) {
        self.draining.remove(what);
        self.stirred.remove(what);
    }

    pub(super) fn apply_revision(&mut self, at: Timestamp, revision: &RevisionApplied) {
        if let Some(limits) = revision.organization {
            self.queues.set_limits(limits);
        }
        for (name, policy) in &revision.projects {
            let policy = policy.clone().unwrap_or(ProjectPolicy {
                default_queue: None,
                default_preset: None,
                queues: None,
                concurrency: Limit::Unlimited,
            });
            self.gates.open(&self.runs, GateOwner::Project(name.clone()), policy.concurrency, None);
            match revision.projects[name] {
                Some(_) => self.projects.insert(name.clone(), policy),
                None => self.projects.remove(name),
            };
        }
        for (name, policy) in &revision.agents {
            match policy {
                Some(policy) => {
                    self.undrain(&Draining::Agent(name.clone()));
                    self.queues.set_agent(&self.runs, name, policy.clone());
                }
                None => {
                    if let Some(ix) = self.queues.agent_of.get(name) {
                        self.queues.agents[*ix].removed = true;
                        self.drain(Draining::Agent(name.clone()));
                    }
                }
            }
        }
        // Every applied commit heals what was changed behind its back.
        for (queue, (declared, _)) in std::mem::take(&mut self.overrides) {
            if self.queues.queue_of.get(&queue).is_some_and(|ix| !self.queues.queues[*ix].removed) {
                self.queues.set_queue(&self.runs, &queue, declared);
            }
        }
        if self.queues.rename(&revision.renamed) {
            revision.renamed.keys().for_each(|old| self.undrain(&Draining::Queue(old.clone())));
        } else {
            // The old name's runs follow once the new name's queue can have them.
            revision.renamed.iter().for_each(|(old, new)| self.retire(old, Some(OnRemove::MoveTo(new.clone()))));
        }
        for (name, policy) in &revision.queues {
            match policy {
                Some(policy) => {
                    self.undrain(&Draining::Queue(name.clone()));
                    self.queues.set_queue(&self.runs, name, policy.clone());
                }
                None => self.retire(name, None),
            }
        }
        // What waits for another queue may find it now.
        self.stirred.extend(self.draining.iter().cloned());
        self.cursors.extend(revision.cursors.iter().map(|(name, cursor)| (name.clone(), cursor.clone())));
        self.applied = Some(Applied {
            commit: revision.commit.clone(),
            policy: revision.policy.clone(),
            subject: revision.subject.clone(),
            plan: revision.plan,
            at,
        });
    }

    /// A queue takes no more and finishes what it has, or hands it on.
    fn retire(&mut self, name: &QueueName, on_remove: Option<OnRemove>) {
        if let Some(ix) = self.queues.queue_of.get(name) {
            let queue = &mut self.queues.queues[*ix];
            queue.removed = true;
            queue.policy.on_remove = on_remove.unwrap_or_else(|| queue.policy.on_remove.clone());
            self.drain(Draining::Queue(name.clone()));
        }
    }
}
