//! What the watches show of each attempt.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Session;
use crate::domain::ids::AttemptName;
use crate::domain::kubernetes::pace::Stage;
use crate::domain::kubernetes::render::RootKind;
use crate::target::Report;
use crate::target::kubernetes::requests::Request;
use crate::target::kubernetes::watches::{Sight, Source};

impl Session<'_> {
    pub(super) fn see(&mut self, (source, listed, sight): (Source, bool, Sight)) {
        if !matches!(sight, Sight::Trouble(_)) {
            self.failures = 0;
        }
        if let (true, Some((_, shown))) = (listed, self.lists.get_mut(&source)) {
            match &sight {
                Sight::Root(_, root, _) => drop(shown.insert(root.uid.clone())),
                Sight::Pod(_, uid, _) => drop(shown.insert(uid.clone())),
                _ => {}
            }
        }
        match sight {
            Sight::Begins => drop(self.lists.insert(source, (Instant::now(), BTreeSet::new()))),
            Sight::Complete => self.listed(source),
            Sight::Root(name, root, ttl) => {
                let attempt = self.attempt(name, root.kind);
                attempt.kind = root.kind;
                attempt.ttl = ttl;
                attempt.watched = true;
                attempt.gone = false;
                attempt.root = Some(root);
                self.look_at(name);
            }
            Sight::RootGone(name, uid) => self.root_gone(name, &uid),
            Sight::Pod(name, uid, pod) => {
                let attempt = self.attempt(name, RootKind::Job);
                attempt.absent.remove(&uid);
                attempt.pods.insert(uid, *pod);
                if let Some(took) = attempt.pod_came(Instant::now()) {
                    self.paces.took(Stage::Pod, took);
                }
                self.look_at(name);
            }
            Sight::PodGone(name, uid) => self.pod_gone(name, &uid),
            Sight::Trouble(error) => self.watch_failed(&error),
            Sight::Stranger => {}
        }
    }

    /// A list is complete: what it does not show is not there.
    fn listed(&mut self, source: Source) {
        let Some((begun, shown)) = self.lists.remove(&source) else { return };
        let mut gone = Vec::new();
        for (name, attempt) in &self.attempts {
            match source {
                Source::Roots(kind) => {
                    let root = attempt
                        .root
                        .as_ref()
                        .filter(|root| attempt.kind == kind && !attempt.gone && !shown.contains(&root.uid));
                    // What was made after the list began need not be in it.
                    gone.extend(
                        root.filter(|_| attempt.watched || attempt.since < begun).map(|root| (*name, root.uid.clone())),
                    );
                }
                Source::Pods => {
                    gone.extend(attempt.pods.keys().filter(|uid| !shown.contains(*uid)).map(|uid| (*name, uid.clone())))
                }
            }
        }
        for (name, uid) in gone {
            match source {
                Source::Roots(_) => self.root_gone(name, &uid),
                Source::Pods => self.pod_gone(name, &uid),
            }
        }
        if !self.ready && self.lists.is_empty() {
            self.ready = true;
            let agent = self.settings.agent.clone();
            (self.sink)(Report::Up(agent.clone()));
            (self.sink)(Report::Known(agent, self.attempts.keys().copied().collect()));
            let names: Vec<AttemptName> = self.attempts.keys().copied().collect();
            for name in names {
                // A pod whose root is not there any more: nobody else ends it.
                self.attempts.entry(name).and_modify(|attempt| attempt.gone |= attempt.root.is_none());
                self.end_orphans(name);
                self.look_at(name);
            }
        }
    }

    fn root_gone(&mut self, name: AttemptName, uid: &str) {
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        if attempt.root.as_ref().is_some_and(|root| root.uid != uid) {
            return;
        }
        attempt.gone = true;
        if self.drop_if_left(name) {
            return;
        }
        self.end_orphans(name);
        self.look_at(name);
    }

    /// Ends pods that have lost their root and were not told to go.
    pub(super) fn end_orphans(&mut self, name: AttemptName) {
        let Some(attempt) = self.attempts.get(&name).filter(|attempt| attempt.gone) else { return };
        let orphans = attempt.pods.values().filter(|pod| !pod.deleting && !pod.is_over());
        orphans.for_each(|pod| self.line.push(Request::RemovePod(name, pod.name.clone())));
    }

    fn pod_gone(&mut self, name: AttemptName, uid: &str) {
        self.over.remove(uid).map(|over| over.send(true));
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        let Some(pod) = attempt.pods.get_mut(uid) else { return };
        attempt.absent.insert(uid.to_owned());
        if !pod.is_over() {
            pod.deleting = true;
            pod.status.phase = "Failed".to_owned();
        }
        if self.drop_if_left(name) {
            return;
        }
        self.look_at(name);
    }

    /// Forgets an attempt that may be forgotten, once nothing of it is left: what is still shown of its pods afterwards
    /// would be taken for news.
    pub(super) fn drop_if_left(&mut self, name: AttemptName) -> bool {
        let done = self.attempts.get(&name).is_some_and(|known| known.forgotten.is_some() && known.has_left());
        if done && let Some(attempt) = self.attempts.remove(&name) {
            attempt.pods.keys().for_each(|uid| drop(self.over.remove(uid)));
        }
        done
    }
}
