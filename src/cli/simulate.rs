//! `simulate`: a workload through the real dispatcher in virtual time; or what a change of policy would do to those that
//! wait on a server now.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::client::Client;
use super::show::{self, Column, Output, OutputArgs, note, out};
use super::{Exit, Result};
use crate::domain::compile::read_workload;
use crate::domain::compile::report::{Format, Sources, render};
use crate::domain::diagnostic::Diagnostics;
use crate::domain::files::{FileContent, FileSet, SourceFile};
use crate::domain::ids::CommitId;
use crate::domain::simulate::{ClassResult, SimulationResult, simulate};
use crate::domain::time::{Span, Timestamp};
use crate::server::views::{PlanBody, QueueWaitsView, WhatIfView};
use crate::source::{read_revision, read_worktree};

/// What to simulate, and how to say what it came to.
#[derive(Debug, Args)]
#[command(after_help = "A workload is one YAML document; `tidegate schema workload` says what may stand in it, and \
benches/workloads/ has two that others publish their times for. The same file gives the same numbers, always.\n\n\
With --repo or --head the server plays what waits on it now twice, under its policies and under those of the files, with \
recent durations: `tidegate simulate --repo . --head my-branch`. Nothing is changed.")]
pub struct SimulateArgs {
    /// The workload, a YAML file
    #[arg(required_unless_present_any = ["repo", "head"], conflicts_with_all = ["repo", "head"])]
    workload: Option<PathBuf>,
    /// Instead of a workload: the repository whose policies to try on what waits on the server now
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,
    /// The revision to try; the files as they are on disk when absent
    #[arg(long, value_name = "REF")]
    head: Option<String>,
    /// Start at most so many operations in a second of virtual time, whatever the workload says
    #[arg(long, value_name = "PER-SECOND", value_parser = budget, conflicts_with_all = ["repo", "head"])]
    write_budget: Option<f64>,
    /// Draw use and line over time
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repo", "head"])]
    svg: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

fn budget(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.001..=1e9).contains(number));
    number.ok_or_else(|| "write a number from 0.001 to 1000000000".to_owned())
}

/// Carries it out.
pub fn run(args: &SimulateArgs, client: impl FnOnce() -> Result<Client>) -> Result {
    match &args.workload {
        Some(workload) => play(args, workload),
        None => what_if(args, &client()?),
    }
}

/// Tries the policies of some files on what waits on a server.
fn what_if(args: &SimulateArgs, client: &Client) -> Result {
    let repo = args.repo.as_deref().unwrap_or(Path::new("."));
    let files = match &args.head {
        Some(head) => read_revision(repo, head).with_context(|| format!("cannot read {}", show::plain(head)))?,
        None => read_worktree(repo).with_context(|| format!("cannot read the files in {}", repo.display()))?,
    };
    let answer: WhatIfView = client.post("/simulate", &PlanBody::of(&files, Vec::new(), show::width(), false))?;
    answer.diagnostics.iter().for_each(|problem| note(&show::problem(problem)));
    match args.output.output {
        Output::Table => {
            if !answer.queues.is_empty() {
                show::list(Output::Table, &answer.queues, &WAITS, |queue| queue.queue.clone())?;
                out("\n")?;
            }
            let tried = show::plain(args.head.as_deref().unwrap_or("the files as they are on disk"));
            out(&format!("{}\n{}\n", compared(&answer, &tried), rests_on(&answer)))?;
        }
        Output::Name => show::list(Output::Name, &answer.queues, &WAITS, |queue| queue.queue.clone())?,
        output => show::one(output, &answer, "what-if", &[])?,
    }
    Ok(Exit::Fine)
}

/// What is compared with what.
fn compared(answer: &WhatIfView, tried: &str) -> String {
    let applied = answer
        .applied
        .as_deref()
        .map_or_else(|| "nothing".to_owned(), |commit| CommitId::new(commit).short().to_owned());
    match answer.differs {
        true => format!("NOW: what is applied, {applied}.  THEN: {tried}."),
        false => format!("The policies of {tried} are those that are applied, {applied}: nothing would change."),
    }
}

const WAITS: [Column<QueueWaitsView>; 8] = [
    ("QUEUE", |queue| queue.queue.clone()),
    ("WAITING", |QueueWaitsView { before, .. }| (before.started + before.stopped + before.left).to_string()),
    ("MEAN NOW", |queue| wait(queue.before.mean_seconds)),
    ("THEN", |queue| wait(queue.after.mean_seconds)),
    ("LAST NOW", |queue| wait(queue.before.last_seconds)),
    ("THEN", |queue| wait(queue.after.last_seconds)),
    ("NEVER NOW", |queue| queue.before.left.to_string()),
    ("THEN", |QueueWaitsView { after, .. }| match after.stopped {
        0 => after.left.to_string(),
        stopped => format!("{}, {stopped} stopped", after.left),
    }),
];

fn wait(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| Span((seconds * 1000.0) as u64).to_string())
}

fn rests_on(answer: &WhatIfView) -> String {
    let mut text = match (answer.queues.is_empty(), answer.samples) {
        (true, _) => "nobody waits".to_owned(),
        (false, 0) => "no run has ended yet: every run is taken to last a minute".to_owned(),
        (false, n) => format!("from {n} recent durations; what comes later is not foreseen"),
    };
    if answer.cut {
        text.push_str("; there was too much to play to the end, so what is left may start all the same");
    }
    text
}

fn play(args: &SimulateArgs, workload: &Path) -> Result {
    let path = workload.display().to_string();
    let bytes = std::fs::read(workload).with_context(|| format!("cannot read {path}"))?;
    let (workload, problems) = read_workload(&path, &bytes);
    let Some(mut workload) = workload else {
        say(&path, bytes, &problems)?;
        return Ok(Exit::Invalid);
    };
    workload.write_budget = args.write_budget.or(workload.write_budget);
    let result = simulate(&workload);
    if let Some(file) = &args.svg {
        write_svg(file, &result)?;
    }
    match args.output.output {
        Output::Table => table(&result)?,
        output => show::one(output, &result, &result.name, &[])?,
    }
    Ok(Exit::Fine)
}

fn say(path: &str, bytes: Vec<u8>, problems: &Diagnostics) -> Result<()> {
    let file = SourceFile { path: path.to_owned(), content: FileContent::Text(bytes) };
    let files = FileSet {
        commit: CommitId::new("worktree"),
        message: String::new(),
        author: String::new(),
        time: Timestamp::default(),
        files: vec![file],
        tree: Vec::new(),
    };
    out(&render(Format::Text, problems, &Sources::of(&files), show::report_colour()))
}

const CLASSES: [Column<ClassResult>; 6] = [
    ("CLASS", |class| class.name.clone()),
    ("STARTED", |class| class.count.to_string()),
    ("MEAN WAIT", |class| format!("{:.3}s", class.mean_wait_seconds)),
    ("P50", |class| format!("{:.3}s", class.p50_wait_seconds)),
    ("P99", |class| format!("{:.3}s", class.p99_wait_seconds)),
    ("LONGEST", |class| format!("{:.3}s", class.max_wait_seconds)),
];

fn table(result: &SimulationResult) -> Result<()> {
    show::list(Output::Table, &result.classes, &CLASSES, |class| class.name.clone())?;
    let used = result.utilization_by_resource.iter().map(|(name, used)| format!(", {name} {:.1}%", used * 100.0));
    out(&format!("\n{} operations in {:.3}s{}\n", result.count, result.makespan_seconds, used.collect::<String>()))?;
    if result.left > 0 {
        note(&format!("{} operations never start: they ask for more than there is, or a limit is 0", result.left));
    }
    Ok(())
}

fn write_svg(file: &Path, result: &SimulationResult) -> Result<()> {
    std::fs::write(file, svg(result)).with_context(|| format!("cannot write {}", file.display()))
}

/// Use as an area, who waits as a line; both over the same time.
fn svg(result: &SimulationResult) -> String {
    let (wide, high, left, top) = (800.0, 240.0, 50.0, 40.0);
    let span = result.makespan_seconds.max(0.001);
    let most = result.curve.iter().map(|point| point.waiting).max().unwrap_or(0).max(1);
    let x = |seconds: f64| left + seconds / span * wide;
    let y = |share: f64| top + (1.0 - share.clamp(0.0, 1.0)) * high;
    let mut area = format!("M{:.1},{:.1}", x(0.0), y(0.0));
    let mut line = String::new();
    let mut from = 0.0;
    for point in &result.curve {
        let _ = write!(area, "L{:.1},{:.1}L{:.1},{:.1}", x(from), y(point.used), x(point.seconds), y(point.used));
        let _ = write!(line, "{:.1},{:.1} ", x(point.seconds), y(point.waiting as f64 / most as f64));
        from = point.seconds;
    }
    let _ = write!(area, "L{:.1},{:.1}Z", x(from), y(0.0));
    let used = result.utilization.map_or_else(|| "-".to_owned(), |used| format!("{:.1}%", used * 100.0));
    format!(
        concat!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 330" font-family="sans-serif" font-size="12">"##,
            r##"<title>{name}</title><rect width="900" height="330" fill="#fff"/>"##,
            r##"<text x="50" y="24" font-size="14">{name}: {count} operations in {span:.1} s, used {used}</text>"##,
            r##"<path d="{area}" fill="#9ec5e8"/><polyline points="{line}" fill="none" stroke="#b5472f" stroke-width="1.5"/>"##,
            r##"<path d="M50,40V280H850" fill="none" stroke="#333"/>"##,
            r##"<text x="44" y="44" text-anchor="end">100%</text><text x="44" y="284" text-anchor="end">0</text>"##,
            r##"<text x="856" y="44" fill="#b5472f">{most}</text>"##,
            r##"<text x="50" y="298">0 s</text><text x="850" y="298" text-anchor="end">{span:.1} s</text>"##,
            r##"<rect x="50" y="308" width="12" height="12" fill="#9ec5e8"/><text x="66" y="318">used</text>"##,
            r##"<path d="M120,314h12" stroke="#b5472f" stroke-width="1.5"/><text x="136" y="318">waiting operations</text></svg>"##,
            "\n"
        ),
        name = result.name,
        count = result.count,
        span = span,
        used = used,
        area = area,
        line = line.trim_end(),
        most = most,
    )
}
