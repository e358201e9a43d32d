//! `serve`: the control plane.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::show::note;
use super::{Exit, Result};
use crate::control::{ControlPlane, Settings, SourceSetting};
use crate::domain::time::Duration as Written;
use crate::server::access::Access;
use crate::source::{Ref, RepoUrl, SourceSpec};

/// What to follow, and where to listen.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The repository of specs: an https, ssh or file URL, or a path
    #[arg(long, value_name = "URL|PATH")]
    repo: String,
    /// The branch to follow; also tag:NAME, commit:ID
    #[arg(long, default_value = "main", value_name = "REF")]
    branch: String,
    /// Where the server keeps everything
    #[arg(
        long,
        default_value = "tidegate-data",
        env = "TIDEGATE_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// How often the repository is looked at when nothing says that it changed
    #[arg(long, default_value = "1m", value_parser = interval)]
    poll: Duration,
    #[command(flatten)]
    listen: ListenArgs,
}

/// Where to listen, and for whom.
#[derive(Debug, Clone, Args)]
pub struct ListenArgs {
    /// Address of the API
    #[arg(long, default_value = "127.0.0.1:7878", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// A file of tokens, one a line: `NAME sha256:HEX` or `NAME TOKEN`; without it only this machine is served
    #[arg(long, env = "TIDEGATE_TOKEN_FILE", hide_env_values = true, value_name = "PATH")]
    pub token_file: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let length = Duration::from_millis(Written::parse(text)?.0.0);
    if length < Duration::from_secs(1) { Err("at least 1s".to_owned()) } else { Ok(length) }
}

impl ListenArgs {
    /// Reads the tokens.
    pub fn access(&self) -> Result<Access> {
        Ok(self.token_file.as_deref().map(Access::read).transpose()?.unwrap_or_default())
    }
}

/// Serves until it is told to stop; what runs goes on.
pub fn run(args: ServeArgs) -> Result {
    let url = local_path_made_whole(&args.repo);
    let source = SourceSpec { url: RepoUrl::parse(&url)?, reference: Ref::parse(&args.branch)? };
    let settings = Settings {
        source: SourceSetting::Repository(source),
        data_dir: args.data_dir,
        program: std::env::current_exe().context("cannot find this program")?,
        first_sync: None,
        poll: args.poll,
    };
    with_server(settings, &args.listen, |_| Ok(()), stop_signal).map(|()| Exit::Fine)
}

/// A path is followed from wherever the server is started.
fn local_path_made_whole(repo: &str) -> String {
    let path = Path::new(repo);
    let whole = if path.exists() { path.canonicalize().ok() } else { None };
    whole.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| repo.to_owned())
}

/// Starts a control plane, serves its API until what `stop` gives is ready, and ends everything in order. `beside` runs on
/// the caller's thread meanwhile; the address is opened before anything else is touched, and who reads it is heard.
pub fn with_server<T, S: Future<Output = ()> + Send + 'static>(
    settings: Settings,
    listen: &ListenArgs,
    beside: impl FnOnce(&ControlPlane) -> Result<T>,
    stop: impl FnOnce() -> S,
) -> Result<T> {
    let access = listen.access()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let listener = runtime.block_on(crate::server::listen(listen.listen, &access))?;
    let address = listener.local_addr().context("cannot tell the address of the API")?;
    let control = ControlPlane::start(settings)?;
    let stop = {
        let _within = runtime.enter();
        stop()
    };
    note(&format!("serving http://{address}"));
    let served = runtime.spawn(crate::server::serve(listener, control.clone(), access, stop));
    let result = beside(&control);
    let served = match &result {
        Ok(_) => runtime.block_on(served).context("the server failed")?.map_err(anyhow::Error::from),
        Err(_) => Ok(()),
    };
    control.stop();
    served.and(result)
}

/// Ready when the process is asked to end, from now on. Called within a runtime.
pub fn stop_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let [terminate, interrupt] =
        [SignalKind::terminate(), SignalKind::interrupt()].map(signal).map(|heard| async move {
            match heard {
                Ok(mut asked) => drop(asked.recv().await),
                Err(_) => std::future::pending().await,
            }
        });
    async {
        tokio::select! {
            () = terminate => {}
            () = interrupt => {}
        }
    }
}
