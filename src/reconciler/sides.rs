//! The server's sides of a comparison: what is applied, live and admitted.

use super::shared::{Shared, Wanted, get};
use crate::domain::catalog::Catalog;
use crate::domain::diagnostic::Diagnostics;
use crate::domain::plan::{Admissions, Between, Live, Overrides, Plan, PlanInput, Revision, SourceRef, Standing, plan};
use crate::effects::Effects;
use crate::engine::{Engine, wall_clock};
use crate::revision;

/// The server's sides of a comparison.
pub struct Sides {
    source: SourceRef,
    live: Live,
    /// What was admitted so far.
    pub admissions: Admissions,
}

/// The side of the files.
pub struct Desired<'a> {
    /// What they say.
    pub catalog: &'a Catalog,
    /// Which commit they are of.
    pub revision: &'a Revision,
    /// The commits before it that some workflow has not seen, oldest first.
    pub between: &'a [Between],
}

impl Sides {
    /// As things are.
    pub fn now(engine: &Engine, effects: &Effects, shared: &Shared) -> Self {
        let status = get(&shared.status);
        let (mut live, admissions) = revision::live(engine);
        for (agent, actual) in effects.actual() {
            match (actual, live.agents.get_mut(&agent)) {
                (Ok(target), Some(known)) => known.policy.target = target,
                (Err(why), Some(_)) => {
                    tracing::warn!(%agent, why, "what the agent declares cannot be read; the plan says so");
                    live.unread_agents.push(agent);
                }
                (_, None) => {}
            }
        }
        Self { source: SourceRef { id: status.source, git_ref: status.reference }, live, admissions }
    }

    /// Compares files with what is applied and live.
    pub fn compare(
        &self,
        base: Option<&Wanted>,
        desired: &Desired<'_>,
        overrides: Overrides,
        standing: Standing,
        diagnostics: &Diagnostics,
    ) -> Plan {
        plan(&PlanInput {
            source: &self.source,
            base: base.map(|base| &*base.catalog),
            desired: desired.catalog,
            base_info: base.map(|base| &base.revision),
            desired_info: desired.revision,
            live: Some(&self.live),
            between: desired.between,
            admissions: Some(&self.admissions),
            overrides,
            standing,
            now: wall_clock(),
            diagnostics,
        })
    }
}
