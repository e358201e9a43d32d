//! `ops`: runs. A run is named by its id or by the beginning of it.

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueHint};

use super::client::{Client, encode, event_data, nothing, query};
use super::show::{self, Column, Output, OutputArgs, age, note, or_dash, out, short, telling_length, took};
use super::{Exit, Result, pipeline, watch};
use crate::domain::dispatch::history::{DEFAULT_PAGE, MAX_PAGE};
use crate::domain::dispatch::status::Status;
use crate::domain::query::{Query, QueryError, parse_sort};
use crate::engine::wall_clock;
use crate::reconciler::new_run_id;
use crate::server::views::{AgainBody, DoneView, ExplainView, PipelineView, RunView};

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub enum Ops {
    /// List runs, the newest first
    Ls(Ls),
    /// Show a run
    Get {
        /// The run
        run: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show the timeline of a run; without a run and with --watch, the changes of all runs
    Statuses {
        /// The run
        #[arg(required_unless_present = "watch")]
        run: Option<String>,
        /// Go on until it ends; exits with 2 when it does not succeed
        #[arg(short, long)]
        watch: bool,
    },
    /// Show the log of a run's newest attempt
    Logs {
        /// The run
        run: String,
        /// Go on until the run ends
        #[arg(short, long)]
        follow: bool,
    },
    /// Say why a run is not running now
    Explain {
        /// The run
        run: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Stop runs
    Stop(Runs),
    /// Let runs go on that wait for approval
    Approve(Runs),
    /// Delete finished runs from the history
    Delete(Runs),
    /// Run the same spec again
    Restart(AgainArgs),
    /// Run the same spec again, marked as a copy
    Copy(AgainArgs),
    /// Let ended runs go on as the same runs; of a pipeline, what had succeeded stays
    Resume(Runs),
}

/// Which runs to list.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only those of this project
    #[arg(short, long)]
    project: Option<String>,
    /// Only those of this workflow: project/workflow
    #[arg(short, long)]
    workflow: Option<String>,
    /// Only those that a query wants: `status:running, metrics.loss:<0.1`
    ///
    /// Terms `field:condition` are joined by `,` or AND, which bind closer than OR; parentheses group, `~` before a
    /// condition negates it. Texts: `a`, `a|b`, `%part%`, `begins%`, `%ends`; numbers, spans and amounts: `<0.1`, `>=2`,
    /// `>1h30m`, `>16Gi`; times: `2026-01-31`, `>=2026-01-31 10:00`, `2026-01-01..2026-01-31`, `last_month`; `nil` for
    /// runs without it. Fields: uuid, name, project, workflow, kind, status, reason, tags, queue, agent, commit, user,
    /// pipeline, original, cloning_kind, created_at, schedule_at, queued_at, started_at, finished_at, updated_at,
    /// duration, wait_time, attempt, exit_code, cpu, memory, gpu, cost, custom.RESOURCE, params.NAME, outputs.NAME,
    /// metrics.NAME
    #[arg(short, long, value_parser = a_query, value_hint = ValueHint::Other)]
    query: Option<String>,
    /// The order, by fields of queries, `-` before those that go down: `-created_at,metrics.loss`
    #[arg(short, long, value_parser = a_sort, value_hint = ValueHint::Other, allow_hyphen_values = true)]
    sort: Option<String>,
    /// Only those with this status; may be repeated
    #[arg(long, value_parser = PossibleValuesParser::new(Status::ALL.map(Status::word)))]
    status: Vec<String>,
    /// Only those of this queue: agent/queue
    #[arg(long)]
    queue: Option<String>,
    /// Only those of this agent
    #[arg(long)]
    agent: Option<String>,
    /// Only those of commits that begin so
    #[arg(long)]
    commit: Option<String>,
    /// Only those with this in their name
    #[arg(long)]
    name: Option<String>,
    /// At most so many
    #[arg(short, long, default_value_t = DEFAULT_PAGE)]
    limit: usize,
    /// Leave out so many before
    #[arg(long, default_value_t = 0)]
    offset: usize,
    #[command(flatten)]
    output: OutputArgs,
}

/// Some runs.
#[derive(Debug, Args)]
pub struct Runs {
    /// The runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
}

/// A run to run again.
#[derive(Debug, Args)]
pub struct AgainArgs {
    /// The run
    run: String,
    /// Its queue, in place of that of the earlier run: agent/queue
    #[arg(short, long)]
    queue: Option<String>,
    /// Its name, in place of that of the earlier run
    #[arg(short, long)]
    name: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Carries it out.
pub fn run(verb: Ops, client: &Client) -> Result {
    match verb {
        Ops::Ls(args) => list(&args, client)?,
        Ops::Get { run, output } => get(&run, output.output, client)?,
        Ops::Statuses { run: Some(run), watch } => {
            let run = watch::timeline(client, &run, watch)?;
            return Ok(if watch { outcome(&run) } else { Exit::Fine });
        }
        Ops::Statuses { run: None, .. } => watch::everything(client)?,
        Ops::Logs { run, follow: false } => log(&run, client)?,
        Ops::Logs { run, follow: true } => follow(&run, client)?,
        Ops::Explain { run, output } => {
            let why: ExplainView = client.get(&format!("{}/explain", path(&run)))?;
            match output.output {
                Output::Table => {
                    out(&format!("{}\n", show::plain(&why.sentence)))?;
                    if let Some(forecast) = &why.forecast {
                        out(&format!("{}\n", show::plain(&forecast.sentence)))?;
                    }
                }
                other => show::one(other, &why, &why.uuid, &[])?,
            }
        }
        Ops::Stop(runs) => each(&runs, client, "stop", "is stopping", "was stopping or had ended already")?,
        Ops::Approve(runs) => each(&runs, client, "approve", "is approved", "was approved already")?,
        Ops::Resume(runs) => each(&runs, client, "resume", "goes on", "runs already")?,
        Ops::Delete(runs) => {
            for run in &runs.runs {
                client.delete::<DoneView>(&path(run))?;
                note(&format!("run {} is deleted", show::plain(run)));
            }
        }
        Ops::Restart(args) => again(args, client, "restart")?,
        Ops::Copy(args) => again(args, client, "copy")?,
    }
    Ok(Exit::Fine)
}

/// What a watched run comes to.
pub fn outcome(run: &RunView) -> Exit {
    if run.status == "succeeded" { Exit::Fine } else { Exit::Changes }
}

/// A run with what it has made, when it is a pipeline.
#[derive(serde::Serialize)]
struct Whole {
    #[serde(flatten)]
    run: RunView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<PipelineView>,
}

fn get(run: &str, output: Output, client: &Client) -> Result<()> {
    let view: RunView = client.get(&path(run))?;
    if output == Output::Table && WAITING.contains(&view.status.as_str()) {
        let why: ExplainView = client.get(&format!("{}/explain", path(&view.uuid)))?;
        show_run(output, &view)?;
        out(&format!("\n{}\n", show::plain(&why.sentence)))?;
        return why.forecast.map_or(Ok(()), |forecast| out(&format!("{}\n", show::plain(&forecast.sentence))));
    }
    if !PIPELINES.contains(&view.kind.as_str()) {
        show_run(output, &view)?;
        return if output == Output::Table { show_hooks(&view, client) } else { Ok(()) };
    }
    let pipeline: PipelineView = client.get(&format!("{}/pipeline", path(&view.uuid)))?;
    if output == Output::Table {
        show_run(output, &view)?;
        show_hooks(&view, client)?;
        return out(&format!("\n{}", pipeline::drawn(&pipeline)));
    }
    let (uuid, whole) = (view.uuid.clone(), Whole { run: view, pipeline: Some(pipeline) });
    show::one(output, &whole, &uuid, &[])
}

/// The runs that followed the end of a run, a line each.
fn show_hooks(view: &RunView, client: &Client) -> Result<()> {
    let hooks: Vec<RunView> = client.get(&format!("{}/hooks", path(&view.uuid)))?;
    if hooks.is_empty() {
        return Ok(());
    }
    out("\nFollowed by\n")?;
    show::list(Output::Table, &hooks, &HOOKS, |run| run.uuid.clone())
}

const HOOKS: [Column<RunView>; 5] = [
    ("UUID", |run| short(&run.uuid, 12)),
    ("NAME", |run| run.name.clone()),
    ("STATUS", |run| run.status.clone()),
    ("TOOK", |run| took(run.started_at.as_deref(), run.finished_at.as_deref())),
    ("MESSAGE", |run| or_dash(run.message.clone())),
];

/// Statuses of which one wants to know why it lasts.
const WAITING: [&str; 4] = ["created", "compiled", "queued", "retrying"];

/// Kinds of runs that make others.
const PIPELINES: [&str; 2] = ["dag", "matrix"];

/// Shows one run.
pub fn show_run(output: Output, run: &RunView) -> Result<()> {
    let outputs = (!run.outputs.is_empty()).then(|| serde_json::Value::from(run.outputs.clone()).to_string());
    let request = (!run.request.is_empty()).then(|| run.request.to_string());
    let fields = [
        ("Uuid", Some(run.uuid.clone())),
        ("Name", Some(run.name.clone())),
        ("Project", Some(run.project.clone())),
        ("Workflow", run.workflow.clone()),
        ("Kind", Some(run.kind.clone())),
        ("Tags", (!run.tags.is_empty()).then(|| run.tags.join(", "))),
        ("Commit", run.commit.clone()),
        ("Queue", Some(run.queue.clone())),
        ("Request", request),
        ("Status", Some(run.status.clone())),
        ("Reason", run.reason.clone()),
        ("Message", run.message.clone()),
        ("Attempt", Some(run.attempt.to_string())),
        ("Exit code", run.exit_code.map(|code| code.to_string())),
        ("Created", Some(run.created_at.clone())),
        ("Queued", run.queued_at.clone()),
        ("Started", run.started_at.clone()),
        ("Finished", run.finished_at.clone()),
        ("Outputs", outputs),
        ("Origin", Some(run.origin.to_string())),
    ];
    show::one(output, run, &run.uuid, &fields)
}

fn path(run: &str) -> String {
    format!("/runs/{}", encode(run))
}

const COLUMNS: [Column<RunView>; 9] = [
    ("UUID", |run| run.uuid.clone()),
    ("NAME", |run| run.name.clone()),
    ("PROJECT", |run| run.project.clone()),
    ("QUEUE", |run| run.queue.clone()),
    ("STATUS", |run| run.status.clone()),
    ("TRY", |run| run.attempt.to_string()),
    ("COMMIT", |run| or_dash(run.commit.as_ref().map(|commit| commit.chars().take(7).collect::<String>()))),
    ("AGE", |run| age(&run.created_at)),
    ("TOOK", |run| took(run.started_at.as_deref(), run.finished_at.as_deref())),
];

/// A query that can be read, known before a server is asked.
fn a_query(text: &str) -> std::result::Result<String, String> {
    Query::parse(text, wall_clock()).map(|_| text.to_owned()).map_err(|error| drawn(&error, text))
}

/// A sort that can be read.
fn a_sort(text: &str) -> std::result::Result<String, String> {
    parse_sort(text).map(|_| text.to_owned()).map_err(|error| drawn(&error, text))
}

fn drawn(error: &QueryError, text: &str) -> String {
    let help = if error.help.is_empty() { String::new() } else { format!("\n\n  help: {}", error.help) };
    format!("{error}\n\n{}{help}", error.underlined(text))
}

fn list(args: &Ls, client: &Client) -> Result<()> {
    let mut pairs = vec![
        ("query", args.query.as_deref()),
        ("sort", args.sort.as_deref()),
        ("project", args.project.as_deref()),
        ("workflow", args.workflow.as_deref()),
        ("queue", args.queue.as_deref()),
        ("agent", args.agent.as_deref()),
        ("commit", args.commit.as_deref()),
        ("name", args.name.as_deref()),
    ];
    pairs.extend(args.status.iter().map(|status| ("status", Some(status.as_str()))));
    let mut runs: Vec<RunView> = Vec::new();
    while runs.len() < args.limit {
        let page = (args.limit - runs.len()).min(MAX_PAGE);
        // In order of creation a page begins behind a run, so that none is there twice when others are created meanwhile.
        let before = runs.last().filter(|_| args.sort.is_none()).map(|run| run.uuid.clone());
        let skipped = if before.is_some() { 0 } else { args.offset + runs.len() };
        let (limit, offset) = (page.to_string(), (skipped > 0).then(|| skipped.to_string()));
        let mut pairs = pairs.clone();
        pairs.extend([("limit", Some(limit.as_str())), ("offset", offset.as_deref()), ("before", before.as_deref())]);
        let more: Vec<RunView> = client.get(&format!("/runs{}", query(&pairs)))?;
        let last = more.len() < page;
        runs.extend(more);
        if last {
            break;
        }
    }
    if args.output.output == Output::Table {
        let length = telling_length(runs.iter().map(|run| run.uuid.as_str()));
        runs.iter_mut().for_each(|run| run.uuid = short(&run.uuid, length));
    }
    show::list(args.output.output, &runs, &COLUMNS, |run| run.uuid.clone())
}

fn log(run: &str, client: &Client) -> Result<()> {
    let mut from = 0;
    loop {
        let (bytes, _) = client.log(run, from)?;
        if bytes.is_empty() {
            return Ok(());
        }
        from += bytes.len() as u64;
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            out(&show::foreign(&String::from_utf8_lossy(&bytes)))?;
        } else {
            std::io::stdout().lock().write_all(&bytes)?;
        }
    }
}

fn follow(run: &str, client: &Client) -> Result<()> {
    for event in client.events(&format!("{}/logs/follow", path(run)))? {
        let event = event?;
        match event.kind.as_str() {
            "log" => {
                #[derive(serde::Deserialize)]
                struct Chunk {
                    text: String,
                }
                out(&show::foreign(&event_data::<Chunk>(&event)?.text))?;
            }
            "end" => {
                note(&format!("the run has ended: {}", event_data::<String>(&event)?));
                return Ok(());
            }
            _ => {}
        }
    }
    anyhow::bail!("the server closed the stream at {}", wall_clock())
}

fn each(runs: &Runs, client: &Client, verb: &str, done: &str, already: &str) -> Result<()> {
    for run in &runs.runs {
        let answer: DoneView = client.post(&format!("{}/{verb}", path(run)), &nothing())?;
        note(&format!("run {} {}", show::plain(run), if answer.changed { done } else { already }));
    }
    Ok(())
}

fn again(args: AgainArgs, client: &Client, verb: &str) -> Result<()> {
    let body = AgainBody { uuid: Some(new_run_id().to_string()), queue: args.queue, name: args.name };
    let run: RunView = client.post(&format!("{}/{verb}", path(&args.run)), &body)?;
    match args.output.output {
        Output::Table => out(&format!("{}\n", run.uuid)),
        other => show_run(other, &run),
    }
}
