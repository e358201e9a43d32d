//! `sync`: the git side of a running server.

use clap::Subcommand;

use super::client::{Client, nothing, query};
use super::show::{self, Column, Output, OutputArgs, age, note, short};
use super::{Exit, Result};
use crate::domain::diagnostic::counted;
use crate::server::views::{
    AppliedView, ApproveBody, ApprovedView, DiagnosticView, FollowView, RollbackBody, SyncView,
};

/// What to do with the git side.
#[derive(Debug, Subcommand)]
pub enum Sync {
    /// Look at the source soon, and heal what was changed behind git's back
    Now,
    /// Show how the git side stands, with the problems of the newest commit
    Status {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List applied commits, the newest first
    History {
        /// At most so many
        #[arg(short, long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Leave new commits alone
    Pause,
    /// Follow the branch again, after a pause or a rollback
    Resume,
    /// Follow a revision in place of the branch, until `sync resume`
    Rollback {
        /// A commit, tag or branch
        revision: String,
    },
    /// Start the runs of a plan that a guard holds
    Approve {
        /// The digest of the plan, as `sync status` shows it; the plan that is held now when absent
        plan: Option<String>,
    },
}

const COLUMNS: [Column<AppliedView>; 4] = [
    ("COMMIT", |applied| applied.commit.chars().take(if applied.commit.len() >= 40 { 7 } else { 64 }).collect()),
    ("AGE", |applied| age(&applied.at)),
    ("SUBJECT", |applied| applied.subject.clone()),
    ("WHAT", |applied| applied.note.clone()),
];

/// Carries it out.
pub fn run(verb: Sync, client: &Client) -> Result {
    match verb {
        Sync::Now => {
            client.post::<SyncView>("/sync/now", &nothing())?;
            note("the source is looked at");
        }
        Sync::Status { output } => return status(output.output, client),
        Sync::History { limit, output } => {
            let limit = limit.to_string();
            let rows: Vec<AppliedView> = client.get(&format!("/sync/history{}", query(&[("limit", Some(&limit))])))?;
            show::list(output.output, &rows, &COLUMNS, |row| row.commit.clone())?;
        }
        Sync::Pause => {
            client.post::<SyncView>("/sync/pause", &nothing())?;
            note("new commits are left alone until `tidegate sync resume`");
        }
        Sync::Resume => {
            let status: SyncView = client.post("/sync/resume", &nothing())?;
            note(&format!("following {} again", show::plain(&status.reference)));
        }
        Sync::Rollback { revision } => {
            let follow: FollowView = client.post("/sync/rollback", &RollbackBody { revision })?;
            note(&format!("following {} until `tidegate sync resume`", show::plain(&follow.commit)));
        }
        Sync::Approve { plan } => {
            let plan = match plan {
                Some(plan) => plan,
                None => held_plan(client)?,
            };
            let approved: ApprovedView = client.post("/sync/approve", &ApproveBody { plan })?;
            note(&format!("{} runs started", approved.started));
        }
    }
    Ok(Exit::Fine)
}

fn held_plan(client: &Client) -> Result<String> {
    let status: SyncView = client.get("/sync")?;
    match status.held {
        Some(held) => Ok(held.plan),
        None => anyhow::bail!("no plan is held"),
    }
}

/// Fine, or 3 when the newest commit has errors, 4 when a guard holds runs, 5 when the source cannot be read.
fn status(output: Output, client: &Client) -> Result {
    let status: SyncView = client.get("/sync")?;
    let ago = status.checked_at.as_ref().map(|at| format!("{} ago", age(at)));
    let held =
        status.held.as_ref().map(|held| format!("plan {} of {}: {}", short(&held.plan, 12), held.commit, held.reason));
    let fields = [
        ("Source", Some(status.source.clone())),
        ("Follows", Some(status.reference.clone())),
        ("Pinned", status.pinned.clone()),
        ("Paused", status.paused.then(|| "yes".to_owned())),
        ("Applied", status.applied.clone()),
        ("Seen", status.seen.clone()),
        ("Looked", ago),
        ("Error", status.error.clone()),
        ("Held", held),
        ("Problems", Some(format!("{}, {}", counted(status.errors, "error"), counted(status.warnings, "warning")))),
        ("Last sync", Some(status.summary.clone())),
    ];
    show::one(output, &status, status.applied.as_deref().unwrap_or("-"), &fields)?;
    if output == Output::Table && status.errors + status.warnings > 0 {
        let problems: Vec<DiagnosticView> = client.get("/sync/diagnostics")?;
        problems.iter().for_each(|problem| note(&show::problem(problem)));
    }
    Ok(match () {
        () if status.errors > 0 => Exit::Invalid,
        () if status.error.is_some() => Exit::Stale,
        () if status.held.is_some() => Exit::Blocked,
        () => Exit::Fine,
    })
}
