//! `simulate`: a workload through the real dispatcher in virtual time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::show::{self, Column, Output, OutputArgs, note, out};
use super::{Exit, Result};
use crate::domain::compile::read_workload;
use crate::domain::compile::report::{Format, Sources, render};
use crate::domain::diagnostic::Diagnostics;
use crate::domain::files::{FileContent, FileSet, SourceFile};
use crate::domain::ids::CommitId;
use crate::domain::simulate::{ClassResult, SimulationResult, simulate};
use crate::domain::time::Timestamp;

/// What to simulate, and how to say what it came to.
#[derive(Debug, Args)]
#[command(after_help = "A workload is one YAML document; `tidegate schema workload` says what may stand in it, and \
benches/workloads/ has two that others publish their times for. The same file gives the same numbers, always.")]
pub struct SimulateArgs {
    /// The workload, a YAML file
    workload: PathBuf,
    /// Start at most so many operations in a second of virtual time, whatever the workload says
    #[arg(long, value_name = "PER-SECOND", value_parser = budget)]
    write_budget: Option<f64>,
    /// Draw use and line over time
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

fn budget(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.001..=1e9).contains(number));
    number.ok_or_else(|| "write a number from 0.001 to 1000000000".to_owned())
}

/// Carries it out.
pub fn run(args: &SimulateArgs) -> Result {
    let path = args.workload.display().to_string();
    let bytes = std::fs::read(&args.workload).with_context(|| format!("cannot read {path}"))?;
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
