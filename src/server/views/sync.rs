//! The git side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment;
use crate::control::SyncStatus;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::domain::dispatch::history::SyncRow;

view! {
    /// How the git side stands.
    SyncView {
        /// What is followed, without credentials.
        source: String,
        /// The branch, tag or commit.
        reference: String,
        /// The commit that is applied.
        applied: Option<String>,
        /// The newest commit that was seen.
        seen: Option<String>,
        /// When the source was last looked at with success.
        checked_at: Option<String>,
        /// Why the last look or apply failed.
        error: Option<String>,
        /// Whether new commits are left alone.
        paused: bool,
        /// The commit that is followed in place of the branch.
        pinned: Option<String>,
        /// A plan that a guard holds until somebody approves.
        held: Option<HeldView>,
        /// Errors of the newest commit.
        errors: usize,
        /// Warnings of the newest commit.
        warnings: usize,
        /// What the last sync came to.
        summary: String,
    }
}

view! {
    /// A plan that waits for approval.
    HeldView {
        /// Its commit.
        commit: String,
        /// Its digest: what is approved is exactly this.
        plan: String,
        /// Why it is held.
        reason: String,
    }
}

view! {
    /// A commit that was applied.
    AppliedView {
        /// Position in the log: greater is later.
        seq: u64,
        /// When.
        at: String,
        /// The commit.
        commit: String,
        /// Its subject line.
        subject: String,
        /// The plan that was carried out.
        plan: String,
        /// Runs started and not started.
        note: String,
    }
}

view! {
    /// A problem in a file.
    DiagnosticView {
        /// `error` or `warning`.
        severity: String,
        /// The kind of problem, `TG0123`.
        code: String,
        /// The file.
        file: String,
        /// Line, from 1; 0 for the file as a whole.
        line: u32,
        /// Column, from 1, in characters.
        column: u32,
        /// What is wrong.
        message: String,
        /// How to mend it; may be empty.
        help: String,
        /// What it is about, `queue us-east/gpu`; may be empty.
        object: String,
    }
}

/// Follows a revision in place of the branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackBody {
    /// The commit, tag or branch.
    pub revision: String,
}

/// Approves a held plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproveBody {
    /// The digest of the plan that is meant.
    pub plan: String,
}

view! {
    /// What an approval came to.
    ApprovedView {
        /// Runs that were started.
        started: usize,
    }
}

view! {
    /// What following another revision came to.
    FollowView {
        /// The commit that is applied now.
        commit: String,
    }
}

impl From<SyncRow> for AppliedView {
    fn from(row: SyncRow) -> Self {
        Self {
            seq: row.seq.0,
            at: row.at.to_string(),
            commit: row.commit.to_string(),
            subject: row.subject,
            plan: row.plan.to_string(),
            note: row.note,
        }
    }
}

impl From<SyncStatus> for SyncView {
    fn from(status: SyncStatus) -> Self {
        Self {
            source: status.source,
            reference: status.reference,
            applied: status.applied.as_ref().map(ToString::to_string),
            seen: status.seen.as_ref().map(ToString::to_string),
            checked_at: moment(status.checked_at),
            error: status.error,
            paused: status.paused,
            pinned: status.pinned.as_ref().map(ToString::to_string),
            held: status.held.map(|held| HeldView {
                commit: held.commit.to_string(),
                plan: held.plan.to_string(),
                reason: held.reason,
            }),
            errors: status.errors,
            warnings: status.warnings,
            summary: status.summary,
        }
    }
}

impl From<&Diagnostic> for DiagnosticView {
    fn from(problem: &Diagnostic) -> Self {
        Self {
            severity: match problem.severity {
                Severity::Error => "error".to_owned(),
                Severity::Warning => "warning".to_owned(),
            },
            code: problem.code.to_string(),
            file: problem.place.file.to_string(),
            line: problem.place.line,
            column: problem.place.column,
            message: problem.message.clone(),
            help: problem.help.clone(),
            object: problem.object.clone(),
        }
    }
}

/// All problems, in order of place.
pub fn diagnostics(found: &Diagnostics) -> Vec<DiagnosticView> {
    found.iter().map(Into::into).collect()
}
