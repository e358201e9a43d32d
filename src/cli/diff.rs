//! `diff`: what a change would do. Between two revisions without a server, or against what a server has applied.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::client::Client;
use super::show::{self, note, out};
use super::{Exit, Result};
use crate::domain::compile::report::{Colour, Format as ReportFormat, Sources, render as render_problems};
use crate::domain::compile::{Compiled, compile};
use crate::domain::diagnostic::Diagnostics;
use crate::domain::files::FileSet;
use crate::domain::plan::{Format, Mood, Plan, PlanInput, SourceRef, Standing, Style, overrides, plan, render};
use crate::engine::wall_clock;
use crate::reconciler::revision_of;
use crate::server::views::{PlanBody, PlanView};
use crate::source::{head_of, read_revision, read_worktree};

/// What to compare, and how to say it.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The repository, or a folder of specs
    #[arg(long, default_value = ".", value_name = "PATH")]
    repo: PathBuf,
    /// Compare with this revision instead of asking a server
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// The revision that is wanted
    #[arg(long, value_name = "REF", conflicts_with = "worktree")]
    head: Option<String>,
    /// What is wanted are the files as they are on disk; so without --head
    #[arg(long)]
    worktree: bool,
    /// How the plan is written
    #[arg(short, long, default_value = "text", value_parser = format_of, value_name = "text|json|jsonl|markdown|github|patch|summary")]
    output: Named,
    /// Write a further rendering to a file; may be repeated
    #[arg(long, value_parser = file_of, value_name = "FORMAT=PATH")]
    output_file: Vec<(Named, PathBuf)>,
    /// Columns of the text; those of the terminal when absent
    #[arg(long, value_parser = clap::value_parser!(u16).range(40..=1000))]
    width: Option<u16>,
    /// Exit with 0 when the only news is that something differs
    #[arg(long)]
    exit_zero_on_changes: bool,
}

/// A format with its word.
type Named = (&'static str, Format);

fn format_of(word: &str) -> Result<Named, String> {
    let words = || Format::ALL.map(|(word, _)| word).join(", ");
    Format::ALL.into_iter().find(|(known, _)| *known == word).ok_or_else(|| format!("the formats are {}", words()))
}

fn file_of(text: &str) -> Result<(Named, PathBuf), String> {
    let (word, path) = text.split_once('=').ok_or("write FORMAT=PATH")?;
    Ok((format_of(word)?, PathBuf::from(path)))
}

/// Carries it out.
pub fn run(args: DiffArgs, client: impl FnOnce() -> Result<Client>) -> Result {
    let (files, label, dirty) = wanted(&args)?;
    let width = args.width.map_or_else(show::width, usize::from);
    let exit = match &args.base {
        Some(base) => between(&args, base, &files, &label, dirty, width)?,
        None => against_server(&args, &files, width, &client()?)?,
    };
    Ok(if exit == Exit::Changes && args.exit_zero_on_changes { Exit::Fine } else { exit })
}

/// The files that are wanted, how the person named them, and which of them are not committed.
fn wanted(args: &DiffArgs) -> Result<(FileSet, String, Vec<String>)> {
    match &args.head {
        Some(head) => {
            let files =
                read_revision(&args.repo, head).with_context(|| format!("cannot read {}", show::plain(head)))?;
            Ok((files, head.clone(), Vec::new()))
        }
        None => {
            let files = read_worktree(&args.repo)
                .with_context(|| format!("cannot read the files in {}", args.repo.display()))?;
            let dirty = head_of(&args.repo)?.map(|head| head.dirty).unwrap_or_default();
            Ok((files, "worktree".to_owned(), dirty))
        }
    }
}

/// Compares two revisions; the server's side is not known and not guessed.
fn between(args: &DiffArgs, base: &str, files: &FileSet, label: &str, dirty: Vec<String>, width: usize) -> Result {
    let base_files = read_revision(&args.repo, base).with_context(|| format!("cannot read {}", show::plain(base)))?;
    let Compiled { catalog: base_catalog, diagnostics: base_problems } = compile(&base_files);
    let Compiled { catalog, diagnostics } = compile(files);
    let Some(desired) = catalog else {
        problems(&diagnostics, files)?;
        return Ok(Exit::Invalid);
    };
    if base_catalog.is_none() && !base_files.files.is_empty() {
        problems(&base_problems, &base_files)?;
        note(&format!("the policy of {} has errors: there is nothing sound to compare with", show::plain(base)));
        return Ok(Exit::Stale);
    }
    let plan = plan(&PlanInput {
        source: &SourceRef { id: "git".to_owned(), git_ref: label.to_owned() },
        base: base_catalog.as_ref(),
        desired: &desired,
        base_info: Some(&revision_of(&base_files, base, Vec::new())),
        desired_info: &revision_of(files, label, dirty),
        live: None,
        between: &[],
        admissions: None,
        overrides: overrides(&files.message),
        standing: Standing::Unmerged,
        now: wall_clock(),
        diagnostics: &diagnostics,
    });
    write(args, |(_, format), colour| Ok(rendered(&plan, format, width, colour)))?;
    if diagnostics.errors() > 0 {
        let text = render_problems(ReportFormat::Text, &diagnostics, &Sources::of(files), Colour::Never);
        note(text.trim_end());
    }
    Ok(Exit::of(crate::server::exit_code(plan.exit_code)))
}

/// Asks a server what the files would do to what it has applied and to what runs.
fn against_server(args: &DiffArgs, files: &FileSet, width: usize, client: &Client) -> Result {
    let mut formats: Vec<String> = args.output_file.iter().map(|((word, _), _)| (*word).to_owned()).collect();
    formats.push(args.output.0.to_owned());
    formats.sort();
    formats.dedup();
    let answer: PlanView = client.post("/plan", &PlanBody::of(files, formats, width, show::colour()))?;
    if answer.digest.is_none() {
        answer.diagnostics.iter().for_each(|problem| note(&show::problem(problem)));
        return Ok(Exit::Invalid);
    }
    write(args, |(word, _), _| {
        answer.outputs.get(word).cloned().with_context(|| format!("the server made no {word}"))
    })?;
    answer.diagnostics.iter().for_each(|problem| note(&show::problem(problem)));
    Ok(Exit::of(answer.exit_code))
}

/// Writes the rendering to stdout and the others to their files.
fn write(args: &DiffArgs, render: impl Fn(Named, bool) -> Result<String>) -> Result<()> {
    let mut text = render(args.output, show::colour())?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    out(&text)?;
    for (format, path) in &args.output_file {
        write_file(path, &render(*format, false)?)?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    if path.as_os_str().is_empty() {
        bail!("--output-file: the path is missing");
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn rendered(plan: &Plan, format: Format, width: usize, colour: bool) -> String {
    render(plan, format, Style { width, colour, mood: Mood::DryRun })
}

fn problems(found: &Diagnostics, files: &FileSet) -> Result<()> {
    out(&render_problems(ReportFormat::Text, found, &Sources::of(files), show::report_colour()))
}
