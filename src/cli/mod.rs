//! The command line: one file a verb. Results go to stdout, progress and notes to stderr.

mod agents;
mod client;
mod diff;
pub mod explain;
mod first;
mod help;
pub mod init;
pub mod live;
mod local;
mod lone;
mod ops;
mod pipeline;
mod projects;
mod queues;
mod run;
pub mod schema;
mod serve;
mod show;
mod simulate;
mod sync;
mod up;
pub mod validate;
mod vendor;
mod watch;
mod workflows;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use client::{Client, ClientError};
use show::{note, out};

/// What a process ends with; the same numbers for every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well; nothing differs.
    Fine = 0,
    /// Anything that no other number says.
    Other = 1,
    /// Something differs, or a watched run did not succeed.
    Changes = 2,
    /// Specs have errors.
    Invalid = 3,
    /// A guard or policy blocks.
    Blocked = 4,
    /// What is known is stale or incomplete.
    Stale = 5,
    /// The command line was not understood.
    Usage = 64,
}

impl Exit {
    /// The exit of a number; [`Exit::Other`] for unknown ones.
    pub fn of(code: u8) -> Self {
        let all = [Self::Fine, Self::Changes, Self::Invalid, Self::Blocked, Self::Stale, Self::Usage];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a verb comes to.
type Result<T = Exit, E = anyhow::Error> = std::result::Result<T, E>;

/// A declarative GitOps reconciler and dispatcher for queues, agents, projects and workflows.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, no changes · 2 changes, or a watched run did not succeed · 3 specs invalid · \
4 a guard or policy blocks · 5 stale or incomplete · 1 anything else · 64 usage";

/// Which server is asked.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Address of the server
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_SERVER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:7878",
        value_name = "URL",
        help_heading = "Server"
    )]
    server: String,
    /// Token for the server; better in the environment than on the command line, where others see it
    #[arg(long, global = true, env = "TIDEGATE_TOKEN", hide_env_values = true, hide = true)]
    token: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lay out a repository of specs with a runnable example
    Init(init::InitArgs),
    /// Run everything on this machine: follow a working tree, start its runs, show what happens
    Up(up::UpArgs),
    /// Run the control plane: follow a repository and dispatch its runs
    Serve(serve::ServeArgs),
    /// Check specs offline and say all that is wrong with them
    Validate(validate::ValidateArgs),
    /// Keep a copy of what a `urlRef` names in the repository, with its digest
    Vendor(vendor::VendorArgs),
    /// Show what a change would do, before it is merged
    Diff(diff::DiffArgs),
    /// Start a workflow or a polyaxonfile
    Run(run::RunArgs),
    /// Runs: list, look at, follow, stop, start again
    #[command(subcommand)]
    Ops(ops::Ops),
    /// Queues: list, look at, hold, change
    #[command(subcommand)]
    Queues(queues::Queues),
    /// Agents: list, look at
    #[command(subcommand)]
    Agents(agents::Agents),
    /// Projects: list, look at
    #[command(subcommand)]
    Projects(projects::Projects),
    /// Workflows: list, look at
    #[command(subcommand)]
    Workflows(workflows::Workflows),
    /// The git side of a running server
    #[command(subcommand)]
    Sync(sync::Sync),
    /// Play a workload through the real dispatcher in virtual time
    Simulate(simulate::SimulateArgs),
    /// Print the JSON Schema of a kind
    Schema(schema::SchemaArgs),
    /// Explain a code (TG0104) or a field (queue.concurrency)
    Explain(explain::ExplainArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        dir: PathBuf,
    },
    /// Supervise the operations of a local agent; started by the server
    #[command(hide = true)]
    Supervise {
        /// The agent's folder
        #[arg(long)]
        dir: PathBuf,
    },
}

/// Runs the verb that the process was given.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Fine };
            // Help that nobody reads any more is no trouble.
            let _ = error.print();
            return exit.into();
        }
    };
    if matches!(cli.verb, Verb::Serve(_) | Verb::Up(_)) && first::is_first() {
        return first::stand_by();
    }
    telemetry(&cli.verb);
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => tell(&error).into(),
    }
}

fn run(cli: Cli) -> Result {
    let client = || Client::new(&cli.server);
    match cli.verb {
        Verb::Init(args) => init::run(&args).map(|()| Exit::Fine),
        Verb::Up(args) => up::run(args),
        Verb::Serve(args) => serve::run(args),
        Verb::Validate(args) => validated(&args),
        Verb::Vendor(args) => vendor::run(&args),
        Verb::Diff(args) => diff::run(args, client),
        Verb::Run(args) => run::run(args, client),
        Verb::Ops(verb) => ops::run(verb, &client()?),
        Verb::Queues(verb) => queues::run(verb, &client()?),
        Verb::Agents(verb) => agents::run(verb, &client()?),
        Verb::Projects(verb) => projects::run(verb, &client()?),
        Verb::Workflows(verb) => workflows::run(verb, &client()?),
        Verb::Sync(verb) => sync::run(verb, &client()?),
        Verb::Simulate(args) => simulate::run(&args, client),
        Verb::Schema(args) => page(schema::run(&args)),
        Verb::Explain(args) => page(explain::run(&args)),
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut text);
            out(&String::from_utf8_lossy(&text))?;
            Ok(Exit::Fine)
        }
        Verb::Man { dir } => help::man(Cli::command(), &dir),
        Verb::Supervise { dir } => {
            crate::target::local::supervise(&dir)?;
            Ok(Exit::Fine)
        }
    }
}

fn validated(args: &validate::ValidateArgs) -> Result {
    let read = |dir: &std::path::Path| Ok(crate::source::read_worktree(dir)?);
    let code = validate::run(args, read, show::report_colour(), &mut std::io::stdout(), &mut std::io::stderr());
    Ok(Exit::of(code))
}

fn page(text: std::result::Result<String, String>) -> Result {
    match text {
        Ok(text) => out(&text).map(|()| Exit::Fine),
        Err(why) => Err(anyhow::anyhow!(why)),
    }
}

/// Says once what went wrong, and what to do about it.
fn tell(error: &anyhow::Error) -> Exit {
    // Whoever read the results (`head`) has seen enough.
    if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        return Exit::Fine;
    }
    note(&format!("error: {}", show::plain(&format!("{error:#}"))));
    match error.downcast_ref::<ClientError>() {
        Some(error) => {
            error.diagnostics().iter().for_each(|problem| note(&show::problem(problem)));
            if let Some(help) = error.help() {
                note(&format!("  help: {}", show::plain(help)));
            }
            error.exit()
        }
        None => Exit::Other,
    }
}

/// What the process says of itself goes to stderr: everything of note from servers, else only trouble.
/// `TIDEGATE_LOG` says otherwise (`debug`, `tidegate::source=trace`), `TIDEGATE_LOG_FORMAT=json` makes it JSON.
fn telemetry(verb: &Verb) {
    use tracing_subscriber::EnvFilter;
    let usual = if matches!(verb, Verb::Serve(_)) { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var("TIDEGATE_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal() && show::colour_wanted()).init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
