//! `up`: everything on this machine, with a live view.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;

use super::serve::{ListenArgs, stop_signal, with_server};
use super::show::plain;
use super::{Exit, Result, live};
use crate::control::{ControlPlane, POLL_INTERVAL, Settings, SourceSetting};
use crate::domain::dispatch::history::{Parent, RunFilter};
use crate::domain::dispatch::status::Status;
use crate::domain::spec::FirstSync;
use crate::store::SqliteStore;

/// Runs that did not succeed and are named at the end: what fits on a screen.
const NAMED: usize = 10;

/// What to run.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The folder of specs
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where everything is kept; DIR/.tidegate when absent
    #[arg(long, env = "TIDEGATE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// End when all runs have ended, with 2 when one that is part of no pipeline did not succeed and 3 when a file has errors
    #[arg(long)]
    once: bool,
    /// Forget what earlier starts kept in the data directory: everything starts anew
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    listen: ListenArgs,
}

/// Follows the folder and shows what happens, until it is told to stop.
pub fn run(args: UpArgs) -> Result {
    let dir = args.dir.canonicalize().with_context(|| format!("cannot find {}", args.dir.display()))?;
    let data_dir = args.data_dir.unwrap_or_else(|| dir.join(".tidegate"));
    if args.fresh {
        forget(&data_dir)?;
    }
    let settings = Settings {
        data_dir,
        source: SourceSetting::Worktree(dir),
        program: std::env::current_exe().context("cannot find this program")?,
        first_sync: Some(FirstSync::Start),
        poll: POLL_INTERVAL,
    };
    let (ended, stop) = tokio::sync::oneshot::channel::<()>();
    let stopped = Arc::new(AtomicBool::new(false));
    let told = stopped.clone();
    let until = || {
        let asked = stop_signal();
        async move {
            tokio::select! {
                () = asked => {}
                _ = stop => {}
            }
            told.store(true, Ordering::Relaxed);
        }
    };
    let view = |control: &ControlPlane| {
        let done = || stopped.load(Ordering::Relaxed) || args.once && all_ended(control);
        live::watch(control.engine(), || headline(control), done)?;
        drop(ended);
        if args.once { outcome(control) } else { Ok(Exit::Fine) }
    };
    with_server(settings, &args.listen, view, until)
}

/// Removes what a server kept there, and nothing else; not while a server uses it.
fn forget(data_dir: &Path) -> Result<()> {
    if !data_dir.join("tidegate.db").exists() {
        return Ok(());
    }
    drop(SqliteStore::open(data_dir)?);
    for file in ["tidegate.db", "tidegate.db-wal", "tidegate.db-shm"] {
        match std::fs::remove_file(data_dir.join(file)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(anyhow::Error::new(error).context(format!("cannot remove {file}")));
            }
            _ => {}
        }
    }
    // Without its directory a supervisor that still lingers ends.
    match std::fs::remove_dir_all(data_dir.join("agents")) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(anyhow::Error::new(error).context("cannot remove what agents kept"))
        }
        _ => Ok(()),
    }
}

fn headline(control: &ControlPlane) -> String {
    let status = control.sync_status();
    match status.error {
        Some(error) => format!("{}: {error}", status.source),
        None => format!("{}: {}", status.source, status.summary),
    }
}

/// Whether the first sync is over and nothing runs or waits.
fn all_ended(control: &ControlPlane) -> bool {
    let status = control.sync_status();
    let synced = status.applied.is_some() || status.error.is_some();
    synced && control.engine().read(|state| state.runs().next().is_none())
}

/// Says how the outermost runs ended, and which of them need a look. A pipeline answers for what is below it: a branch that
/// was meant for a failure is no failure.
fn outcome(control: &ControlPlane) -> Result {
    let outermost = |statuses: &[Status], limit| RunFilter {
        statuses: statuses.to_vec(),
        parent: Parent::None,
        limit,
        ..RunFilter::default()
    };
    let history = control.engine().history();
    let mut counts = Vec::new();
    for status in Status::ALL.into_iter().filter(|status| status.is_final()) {
        match history.count(&outermost(&[status], 0))? {
            0 => {}
            count => counts.push(format!("{count} {status}")),
        }
    }
    let ended = if counts.is_empty() { "no run was started".to_owned() } else { counts.join(", ") };
    eprintln!("ended: {ended}");
    let unlucky = [Status::Failed, Status::UpstreamFailed, Status::Stopped];
    let count = history.count(&outermost(&unlucky, 0))?;
    for run in history.runs(&outermost(&unlucky, NAMED))? {
        let why = run.cause.map(|cause| format!(": {}", plain(&cause.message))).unwrap_or_default();
        eprintln!("{} {}/{}{why}", run.status, run.project, plain(&run.name));
    }
    if count > NAMED as u64 {
        eprintln!("and {} more", count - NAMED as u64);
    }
    Ok(match () {
        () if control.sync_status().errors > 0 => Exit::Invalid,
        () if count > 0 => Exit::Changes,
        () => Exit::Fine,
    })
}
