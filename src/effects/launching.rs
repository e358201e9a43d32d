//! What a launch is made of: the run's operation with its values, its directories, its environment.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Courier, Outgoing};
use crate::domain::catalog::CompiledOperation;
use crate::domain::dispatch::command::Command;
use crate::domain::dispatch::event::Origin;
use crate::domain::dispatch::history::RunRow;
use crate::domain::dispatch::observation::{Cause, Observation, Seen};
use crate::domain::honour::{NO_EFFECT, unhonoured};
use crate::domain::ids::{AgentName, Attempt, AttemptName, Digest, RunId};
use crate::domain::kubernetes::render::CONTEXT_PATH;
use crate::domain::spec::{TargetKind, TargetSpec};
use crate::domain::workflow::conductor::point_id;
use crate::domain::workflow::render::{Globals, Rendered, render};
use crate::engine::wall_clock;
use crate::target::local::LocalTarget;
use crate::target::{ContextPaths, Effect, Launch};

/// Compiled operations that are kept at hand, since the runs of a workflow share one.
const BODIES: usize = 256;
/// The variable that names the directory of the attempt that one goes on from.
const PREVIOUS: &str = "TIDEGATE_PREVIOUS";

impl Courier {
    /// Prepares a launch; what cannot be prepared has failed.
    pub(super) fn launch(&mut self, attempt: AttemptName, outgoing: &mut Outgoing) {
        let Some(row) = self.row(attempt.run) else { return };
        let agent = row.queue.agent.clone();
        match self.prepare(&row, attempt) {
            Ok(launch) => {
                self.flying.insert(attempt.run, (agent.clone(), attempt.attempt));
                outgoing.entry(agent).or_default().push(Effect::Launch(Box::new(launch)));
            }
            Err(cause) => {
                let seen = Seen::Failed { cause, exit_code: None, outputs: serde_json::Map::new() };
                self.engine.observe(vec![Observation { attempt, at: wall_clock(), seen }]);
            }
        }
    }

    pub(super) fn prepare(&mut self, row: &RunRow, attempt: AttemptName) -> Result<Launch, Cause> {
        let operation = self.body(row.spec)?;
        // A container finds what was prepared at Polyaxon's place.
        let target = self.opened.get(&row.queue.agent).map_or(TargetKind::Local, TargetSpec::kind);
        let root = match target {
            TargetKind::Kubernetes => CONTEXT_PATH.to_owned(),
            TargetKind::Local => LocalTarget::context(&self.agent_dir(&row.queue.agent), attempt).display().to_string(),
        };
        let artifacts = format!("{root}/artifacts");
        let outputs = format!("{artifacts}/{}/outputs", row.id);
        let globals = Globals {
            project_name: row.project.to_string(),
            name: row.name.clone(),
            uuid: row.id.to_string(),
            iteration: operation.point.as_ref().map_or(0, |point| point.iteration),
            created_at: row.created_at.to_string(),
            artifacts_path: artifacts.clone(),
            context_path: root.clone(),
            ..Globals::of_target(self.opened.get(&row.queue.agent), self.effects.owner())
        };
        let mut rendered = render(&operation, &globals)?;
        if target == TargetKind::Local {
            let previous = self.previous(row, attempt, &operation).filter(|dir| dir.is_dir());
            rendered.env.extend(previous.map(|dir| (PREVIOUS.to_owned(), dir.display().to_string())));
        }
        self.note(row.id, &rendered, target);
        Ok(Launch {
            attempt,
            epoch: self.epoch,
            project: row.project.clone(),
            run_name: row.name.clone(),
            run: rendered.run,
            env: rendered.env,
            sections: rendered.sections,
            context: ContextPaths { root, artifacts, outputs },
            timeout: operation.timeout,
            ttl: operation.ttl,
        })
    }

    /// Says in the timeline of a run what its target does nothing with.
    pub(super) fn note(&self, run: RunId, rendered: &Rendered, target: TargetKind) {
        let section = serde_json::to_value(&rendered.run).unwrap_or_default();
        let fields = unhonoured(&rendered.sections, &section, target);
        let notes: Vec<Cause> = fields.into_iter().map(|field| Cause::new(NO_EFFECT, field.message)).collect();
        if !notes.is_empty() {
            // Nobody waits for the answer: what cannot be said now is said when the attempt is launched again.
            drop(self.engine.ask_later(Command::Note { run, notes }, Vec::new()));
        }
    }

    pub(super) fn agent_dir(&self, agent: &AgentName) -> PathBuf {
        self.data_dir.join("agents").join(agent.as_str())
    }

    /// The directory of the attempt that this one goes on from: that before it, the newest of the run that it is a copy
    /// of, or of the run whose point hyperband promoted.
    pub(super) fn previous(
        &self,
        row: &RunRow,
        attempt: AttemptName,
        operation: &CompiledOperation,
    ) -> Option<PathBuf> {
        if attempt.attempt.0 > 1 {
            let before = AttemptName { run: attempt.run, attempt: Attempt(attempt.attempt.0 - 1) };
            return Some(LocalTarget::worked_in(&self.agent_dir(&row.queue.agent), before));
        }
        let resumed = || Some(point_id(&self.row(row.parent?)?, operation.point.as_ref()?.resumes?));
        let of = match &row.origin {
            Origin::Copy { of, .. } => *of,
            _ => resumed()?,
        };
        let of = self.row(of)?;
        Some(LocalTarget::worked_in(&self.agent_dir(&of.queue.agent), AttemptName { run: of.id, attempt: of.attempt }))
    }

    pub(super) fn body(&mut self, digest: Digest) -> Result<Arc<CompiledOperation>, Cause> {
        if let Some(operation) = self.bodies.get(&digest) {
            return Ok(operation.clone());
        }
        let missing =
            |why: String| Cause::new("InvalidOperation", format!("its stored operation cannot be read: {why}"));
        let bytes = self.engine.history().body(digest).map_err(|error| missing(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| missing("it is not in the store".to_owned()))?;
        let operation: CompiledOperation =
            serde_json::from_slice(&bytes).map_err(|error| missing(error.to_string()))?;
        if self.bodies.len() >= BODIES {
            self.bodies.pop_first();
        }
        let operation = Arc::new(operation);
        self.bodies.insert(digest, operation.clone());
        Ok(operation)
    }
}
