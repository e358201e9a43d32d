//! The progress of a graph: which operations may start, which never will, and how the graph ends.
//!
//! Each operation counts what has become of those before it, so the end of one costs as much as it has others directly
//! behind it, whatever the size of the graph. Nothing in here asks for anything: [`super::conductor`] does.

use std::collections::VecDeque;

use crate::domain::catalog::{Dag, Node};
use crate::domain::dispatch::observation::Cause;
use crate::domain::dispatch::status::Status;
use crate::domain::spec::Trigger;

/// Names of failed operations that a graph's last word lists.
const NAMED: usize = 3;

/// What shall become of an operation that is not made yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It may start.
    Make(u32),
    /// It is recorded with this end, and never starts.
    Settle(u32, Status, Cause),
}

/// How far a graph has come.
#[derive(Debug, Clone)]
pub struct Progress {
    nodes: Vec<NodeProgress>,
    /// Operations directly behind each.
    behind: Vec<Vec<u32>>,
    /// Operations that listen to the statuses of each, with the place among their events.
    listening: Vec<Vec<(u32, u32)>>,
    /// Operations that may start and were not taken yet.
    due: VecDeque<u32>,
    /// Operations that ended without a start and were not taken yet.
    settled: VecDeque<(u32, Status, Cause)>,
    /// Operations that have not ended.
    left: u32,
    failed: Vec<u32>,
    stopped: u32,
}

#[derive(Debug, Clone, Default)]
struct NodeProgress {
    state: NodeState,
    /// Operations before it: all, those that have ended, that succeeded (or were skipped), that failed.
    before: u32,
    done: u32,
    succeeded: u32,
    failed: u32,
    skipped: bool,
    /// The first of those that did not succeed.
    culprit: Option<(u32, Status)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum NodeState {
    #[default]
    Waiting,
    Due,
    Made,
    Ended(Status),
}

impl Progress {
    /// A graph of which these operations have been made already, with the statuses that each has been seen in; the last
    /// one is that which it has.
    pub fn new(dag: &Dag, known: &[(u32, Vec<Status>)]) -> Self {
        let n = dag.nodes.len();
        let mut progress = Self {
            nodes: vec![NodeProgress::default(); n],
            behind: vec![Vec::new(); n],
            listening: vec![Vec::new(); n],
            due: VecDeque::new(),
            settled: VecDeque::new(),
            left: n as u32,
            failed: Vec::new(),
            stopped: 0,
        };
        for (i, node) in dag.nodes.iter().enumerate() {
            progress.nodes[i].before = node.after.len() as u32;
            node.after.iter().for_each(|before| progress.behind[*before as usize].push(i as u32));
            for (e, event) in node.events.iter().enumerate() {
                progress.listening[event.of as usize].push((i as u32, e as u32));
            }
        }
        known.iter().for_each(|(node, _)| progress.nodes[*node as usize].state = NodeState::Made);
        for (node, seen) in known {
            seen.iter().for_each(|status| progress.reached(dag, *node, *status));
        }
        for node in (0..n as u32).filter(|node| dag.nodes[*node as usize].after.is_empty()) {
            progress.make(node);
        }
        progress
    }

    /// An operation has a new status.
    pub fn reached(&mut self, dag: &Dag, node: u32, status: Status) {
        for i in 0..self.listening[node as usize].len() {
            let (listener, event) = self.listening[node as usize][i];
            let statuses = &dag.nodes[listener as usize].events[event as usize].statuses;
            if statuses.contains(status.word()) || status.is_final() && statuses.contains("done") {
                self.make(listener);
            }
        }
        if status.is_final() {
            self.ended(dag, node, status);
        }
    }

    /// The next thing to do, if anything can be done now; starts only when there is room for one.
    pub fn next(&mut self, room: bool) -> Option<Step> {
        if let Some((node, status, cause)) = self.settled.pop_front() {
            return Some(Step::Settle(node, status, cause));
        }
        let node = if room { self.due.pop_front() } else { None }?;
        self.nodes[node as usize].state = NodeState::Made;
        Some(Step::Make(node))
    }

    /// How the graph ends, once every operation has.
    pub fn end(&self, dag: &Dag) -> Option<(Status, Cause)> {
        if self.left > 0 || !self.settled.is_empty() {
            return None;
        }
        Some(if !self.failed.is_empty() {
            let names: Vec<&str> =
                self.failed.iter().take(NAMED).map(|i| dag.nodes[*i as usize].name.as_str()).collect();
            let more = if self.failed.len() > NAMED { ", …" } else { "" };
            let (failed, all) = (self.failed.len(), self.nodes.len());
            let message = format!("{failed} of {all} operations failed: {}{more}", names.join(", "));
            (Status::Failed, Cause::new("OperationsFailed", message))
        } else if self.stopped as usize == self.nodes.len() && self.stopped > 0 {
            (Status::Stopped, Cause::new("OperationsStopped", "all operations were stopped"))
        } else {
            (Status::Succeeded, Cause::default())
        })
    }

    fn make(&mut self, node: u32) {
        let state = &mut self.nodes[node as usize].state;
        if *state == NodeState::Waiting {
            *state = NodeState::Due;
            self.due.push_back(node);
        }
    }

    fn ended(&mut self, dag: &Dag, node: u32, status: Status) {
        let mut ended = vec![(node, status)];
        while let Some((node, status)) = ended.pop() {
            if let NodeState::Ended(_) = self.nodes[node as usize].state {
                continue;
            }
            self.nodes[node as usize].state = NodeState::Ended(status);
            self.left -= 1;
            match status {
                Status::Failed => self.failed.push(node),
                Status::Stopped => self.stopped += 1,
                _ => {}
            }
            for i in 0..self.behind[node as usize].len() {
                let behind = self.behind[node as usize][i];
                let progress = &mut self.nodes[behind as usize];
                progress.done += 1;
                progress.succeeded += u32::from(matches!(status, Status::Succeeded | Status::Skipped));
                progress.failed += u32::from(status == Status::Failed);
                progress.skipped |= status == Status::Skipped;
                if status != Status::Succeeded {
                    progress.culprit.get_or_insert((node, status));
                }
                if let Some((settled, cause)) = self.judge(dag, behind) {
                    // Its own end is recorded before that of those behind it.
                    self.settled.push_back((behind, settled, cause));
                    ended.push((behind, settled));
                }
            }
        }
    }

    /// What an operation that waits comes to now: it may start, or it ends so.
    fn judge(&mut self, dag: &Dag, at: u32) -> Option<(Status, Cause)> {
        let (node, progress) = (&dag.nodes[at as usize], &self.nodes[at as usize]);
        if progress.state != NodeState::Waiting {
            return None;
        }
        let name = |at: u32| &dag.nodes[at as usize].name;
        if node.skip_on_upstream_skip && progress.skipped {
            let who = progress.culprit.map(|(at, _)| name(at).as_str()).unwrap_or_default();
            return Some((Status::Skipped, Cause::new("UpstreamSkipped", format!("`{who}`, before it, was skipped"))));
        }
        let all = progress.done == progress.before;
        let trigger = node.trigger.unwrap_or(Trigger::AllSucceeded);
        let (decided, go) = match trigger {
            Trigger::AllDone => (all, true),
            Trigger::AllSucceeded => (all, progress.succeeded == progress.before),
            Trigger::AllFailed => (all, progress.failed == progress.before),
            Trigger::OneDone => (true, true),
            Trigger::OneSucceeded => (all || progress.succeeded > 0, progress.succeeded > 0),
            Trigger::OneFailed => (all || progress.failed > 0, progress.failed > 0),
        };
        match (decided, go) {
            (false, _) => None,
            (true, true) => {
                self.make(at);
                None
            }
            (true, false) => Some((Status::UpstreamFailed, Cause::new("UpstreamFailed", unmet(node, progress, name)))),
        }
    }
}

/// Why an operation does not start.
fn unmet<'a>(node: &Node, progress: &NodeProgress, name: impl Fn(u32) -> &'a String) -> String {
    let wants = match node.trigger.unwrap_or(Trigger::AllSucceeded) {
        Trigger::AllSucceeded => "all before it have succeeded",
        Trigger::AllFailed => "all before it have failed",
        Trigger::OneSucceeded => "one before it has succeeded",
        Trigger::OneFailed => "one before it has failed",
        Trigger::AllDone | Trigger::OneDone => "those before it have ended",
    };
    match progress.culprit {
        Some((at, status)) => format!("`{}` ended {status}, and this starts when {wants}", name(at)),
        None => format!("those before it succeeded, and this starts when {wants}"),
    }
}
