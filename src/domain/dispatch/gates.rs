//! Stage 1: gates. A run stands in its queue only after every gate above it has room.
//!
//! Gates form a forest. A leaf run passes its direct gate (pipeline, group or project) and every gate above that; a
//! nested pipeline passes its direct gate only (design §5: counting pipelines in their controller could deadlock). A
//! pipeline that is its own controller has two gates: one that counts its direct children, one above it that counts
//! the leaves at any depth.
//!
//! A gate stands in its parent's ordered set if and only if it could hand over a leaf now. A full gate is absent, so
//! nothing scans it and its runs never stand in a queue.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Ix, Line, RunIx, Slab, Table};
use crate::domain::ids::{ProjectName, RunId};
use crate::domain::spec::Limit;

/// What a gate guards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateOwner {
    /// All operations of a project.
    Project(ProjectName),
    /// The runs of a group within a project.
    Group(ProjectName, String),
    /// The direct children of a pipeline.
    Pipeline(RunId),
    /// The leaves at any depth below a controller.
    Controller(RunId),
}

/// A limit and those who wait for it.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub owner: GateOwner,
    pub limit: Limit,
    /// Runs that have passed and not ended.
    pub inflight: u32,
    pub parent: Option<Ix>,
    /// Leaf runs that wait here.
    pub leaves: Line,
    /// Nested pipelines that wait here.
    pub pipelines: Line,
    /// Gates below that could hand over a leaf, by the order of that leaf.
    ready: BTreeSet<(u64, Ix)>,
    /// Under which order it stands in its parent's set.
    listed: Option<u64>,
    /// Under which order it stands among the gates that could hand over a pipeline.
    listed_pipelines: Option<u64>,
    /// Gates below, and runs and pipelines that name it (also those that wait for approval and stand nowhere yet).
    users: u32,
}

/// All gates.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates {
    gates: Slab<Gate>,
    by_owner: BTreeMap<GateOwner, Ix>,
    /// Gates without a parent that could hand over a leaf, by its order.
    open_roots: BTreeSet<(u64, Ix)>,
    /// Gates that could hand over a nested pipeline, by its order.
    open_pipelines: BTreeSet<(u64, Ix)>,
}

impl Gates {
    pub fn find(&self, owner: &GateOwner) -> Option<Ix> {
        self.by_owner.get(owner).copied()
    }

    /// The gate of an owner; made when it is new, with its limit set when it is not.
    pub fn open(&mut self, runs: &Table, owner: GateOwner, limit: Limit, parent: Option<Ix>) -> Ix {
        if let Some(ix) = self.find(&owner) {
            self.set_limit(runs, ix, limit);
            return ix;
        }
        let gate = Gate {
            owner: owner.clone(),
            limit,
            inflight: 0,
            parent,
            leaves: Line::default(),
            pipelines: Line::default(),
            ready: BTreeSet::new(),
            listed: None,
            listed_pipelines: None,
            users: 0,
        };
        let ix = self.gates.insert(gate);
        self.by_owner.insert(owner, ix);
        if let Some(parent) = parent {
            self.gates[parent].users += 1;
        }
        ix
    }

    pub fn set_limit(&mut self, runs: &Table, ix: Ix, limit: Limit) {
        self.gates[ix].limit = limit;
        self.refresh(runs, ix);
    }

    /// Keeps a gate while a run names it or a pipeline needs it.
    pub fn hold(&mut self, ix: Ix) {
        self.gates[ix].users += 1;
    }

    /// Lets go of what [`Gates::hold`] kept.
    pub fn unhold(&mut self, ix: Ix) {
        self.gates[ix].users -= 1;
        self.drop_unused(ix);
    }

    /// The unfinished runs that name the direct gate of a pipeline, beside the pipeline itself.
    pub fn children(&self, direct: Ix) -> u32 {
        self.gates[direct].users - 1
    }

    /// A run begins to wait.
    pub fn wait(&mut self, runs: &mut Table, run: RunIx, ix: Ix) {
        if runs[run].pipeline.is_some() {
            self.gates[ix].pipelines.push(runs, run);
        } else {
            self.gates[ix].leaves.push(runs, run);
        }
        self.refresh(runs, ix);
    }

    /// A run no longer waits.
    pub fn leave_line(&mut self, runs: &mut Table, run: RunIx, ix: Ix) {
        if runs[run].pipeline.is_some() {
            self.gates[ix].pipelines.remove(runs, run);
        } else {
            self.gates[ix].leaves.remove(runs, run);
        }
        self.refresh(runs, ix);
    }

    /// A run that does not wait here (any more) counts in the gates that it passes.
    pub fn enter(&mut self, runs: &Table, ix: Ix, pipeline: bool) {
        let mut next = Some(ix);
        while let Some(gate) = next {
            self.gates[gate].inflight += 1;
            self.refresh(runs, gate);
            next = self.gates[gate].parent.filter(|_| !pipeline);
        }
    }

    /// A run that had passed has ended.
    pub fn exit(&mut self, runs: &Table, ix: Ix, pipeline: bool) {
        let mut next = Some(ix);
        while let Some(gate) = next {
            self.gates[gate].inflight -= 1;
            self.refresh(runs, gate);
            next = self.gates[gate].parent.filter(|_| !pipeline);
        }
    }

    /// The gates that a run passes, nearest first.
    pub fn chain(&self, ix: Ix, pipeline: bool) -> Vec<Ix> {
        let all = std::iter::successors(Some(ix), |gate| self.gates[*gate].parent);
        all.take(if pipeline { 1 } else { usize::MAX }).collect()
    }

    /// The next run that may pass: a nested pipeline first (it only makes work), then the oldest ready leaf.
    pub fn next(&self) -> Option<RunIx> {
        if let Some((_, ix)) = self.open_pipelines.first() {
            return self.gates[*ix].pipelines.first();
        }
        let (_, mut ix) = *self.open_roots.first()?;
        loop {
            let gate = &self.gates[ix];
            match (gate.listed, gate.ready.first()) {
                (Some(order), Some((below, child))) if *below == order => ix = *child,
                _ => return gate.leaves.first(),
            }
        }
    }

    /// Forgets a gate that nobody waits at, has passed or needs. Projects stay: there are few.
    fn drop_unused(&mut self, ix: Ix) {
        let gate = &self.gates[ix];
        let unused = gate.inflight == 0 && gate.users == 0 && gate.leaves.len() == 0 && gate.pipelines.len() == 0;
        if unused && !matches!(gate.owner, GateOwner::Project(_)) {
            let gate = self.gates.remove(ix);
            self.by_owner.remove(&gate.owner);
            if let Some(parent) = gate.parent {
                self.gates[parent].users -= 1;
                self.drop_unused(parent);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Ix, &Gate)> {
        self.gates.iter()
    }

    /// Puts the gate into its parent's set if and only if it could hand over a leaf now; then the parent, while that changes.
    fn refresh(&mut self, runs: &Table, ix: Ix) {
        let gate = &self.gates[ix];
        let open = gate.limit.admits(gate.inflight);
        let own = gate.leaves.first().map(|run| runs[run].order);
        let below = gate.ready.first().map(|(order, _)| *order);
        let listing = if open { own.into_iter().chain(below).min() } else { None };
        let pipelines = gate.pipelines.first().filter(|_| open).map(|run| runs[run].order);
        let (before, pipelines_before, parent) = (gate.listed, gate.listed_pipelines, gate.parent);
        if pipelines_before != pipelines {
            pipelines_before.map(|order| self.open_pipelines.remove(&(order, ix)));
            pipelines.map(|order| self.open_pipelines.insert((order, ix)));
            self.gates[ix].listed_pipelines = pipelines;
        }
        self.gates[ix].listed = listing;
        if before == listing {
            return;
        }
        let set = match parent {
            Some(parent) => &mut self.gates[parent].ready,
            None => &mut self.open_roots,
        };
        before.map(|order| set.remove(&(order, ix)));
        listing.map(|order| set.insert((order, ix)));
        if let Some(parent) = parent {
            self.refresh(runs, parent);
        }
    }
}

impl std::ops::Index<Ix> for Gates {
    type Output = Gate;
    fn index(&self, ix: Ix) -> &Gate {
        &self.gates[ix]
    }
}
