//! `validate`: checks specs offline, and says all that is wrong with them at once.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::lone;
use crate::domain::compile::report::{Colour, Format, Sources, render};
use crate::domain::compile::{Asked, Depth, compile};
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::domain::files::FileSet;
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;

/// Everything is valid; warnings are allowed.
pub const VALID: u8 = 0;
/// Something could not be read or written.
pub const FAILED: u8 = 1;
/// At least one spec is not valid.
pub const INVALID: u8 = 3;

/// What to validate, and how to say it.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// Repositories of specs (folders), or single files. A file is checked within its repository when a
    /// `tidegate.yaml` lies above it, else by itself
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// How the result is written
    #[arg(short, long, default_value = "text", value_parser = format_of, value_name = "text|json|jsonl|sarif|junit|github|gitlab")]
    pub output: Format,
    /// Folder with copies of what a lone file refers to: hub/NAME/TAG.yaml, url/HOST/PATH
    #[arg(long, value_name = "DIR")]
    pub refs: Option<PathBuf>,
    /// Write a further rendering to a file; may be repeated
    #[arg(long, value_parser = file_of, value_name = "FORMAT=PATH")]
    pub output_file: Vec<(Format, PathBuf)>,
}

fn format_of(word: &str) -> Result<Format, String> {
    let words = || Format::ALL.map(|(word, _)| word).join(", ");
    Format::parse(word).ok_or_else(|| format!("the formats are {}", words()))
}

fn file_of(text: &str) -> Result<(Format, PathBuf), String> {
    let (word, path) = text.split_once('=').ok_or("write FORMAT=PATH")?;
    Ok((format_of(word)?, PathBuf::from(path)))
}

/// Validates, writes the result to `out` and to the files asked for, and returns the exit code. `read` reads the
/// working tree of a repository; `out` is stdout, `err` stderr.
pub fn run(
    args: &ValidateArgs,
    read: impl Fn(&Path) -> anyhow::Result<FileSet>,
    colour: Colour,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    match validate(args, read, colour, out) {
        Ok(code) => code,
        Err(why) => {
            // Nothing is left to tell if stderr is gone as well.
            let _ = writeln!(err, "error: {why:#}");
            FAILED
        }
    }
}

fn validate(
    args: &ValidateArgs,
    read: impl Fn(&Path) -> anyhow::Result<FileSet>,
    colour: Colour,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let (mut all, mut problems) = (nothing(), Diagnostics::default());
    for path in &args.paths {
        let (mut files, found) = one(path, args.refs.as_deref(), &read)?;
        // Places are relative to each repository; with several, the paths are told from here.
        let prefix = if args.paths.len() > 1 && path.is_dir() { path.display().to_string() } else { String::new() };
        found.iter().for_each(|problem| problems.push(below(problem.clone(), &prefix)));
        for mut file in files.files.drain(..) {
            file.path = join(&prefix, &file.path);
            all.files.push(file);
        }
    }
    let sources = Sources::of(&all);
    out.write_all(render(args.output, &problems, &sources, colour).as_bytes()).context("writing the result")?;
    for (format, path) in &args.output_file {
        let text = render(*format, &problems, &sources, Colour::Never);
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(if problems.errors() > 0 { INVALID } else { VALID })
}

/// Validates a repository, a file within one, or a file by itself.
fn one(
    path: &Path,
    refs: Option<&Path>,
    read: &impl Fn(&Path) -> anyhow::Result<FileSet>,
) -> anyhow::Result<(FileSet, Diagnostics)> {
    if path.is_dir() {
        let files = read(path)?;
        let problems = compile(&files).diagnostics;
        return Ok((files, problems));
    }
    if !path.is_file() {
        bail!("{} is neither a folder nor a file", path.display());
    }
    let full = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
    let root = full.ancestors().skip(1).find(|folder| folder.join("tidegate.yaml").is_file());
    let Some((root, inside)) = root.and_then(|root| Some((root, full.strip_prefix(root).ok()?))) else {
        let alone = lone::compile(path, refs, &Asked::default(), Depth::Shape)?;
        let mut files = nothing();
        files.files.extend(alone.files);
        return Ok((files, alone.diagnostics));
    };
    let inside = inside.to_string_lossy().replace('\\', "/");
    let mut files = read(root)?;
    let all = compile(&files).diagnostics;
    let mut problems = Diagnostics::default();
    // Only what is about this file: its own places, and those of others that point into it.
    all.iter()
        .filter(|problem| {
            *problem.place.file == *inside || problem.related.iter().any(|(place, _)| *place.file == *inside)
        })
        .for_each(|problem| problems.push(problem.clone()));
    files.files.retain(|file| file.path == inside || problems.iter().any(|problem| *problem.place.file == *file.path));
    Ok((files, problems))
}

fn nothing() -> FileSet {
    FileSet {
        commit: CommitId::new("worktree"),
        message: String::new(),
        author: String::new(),
        time: Timestamp::default(),
        files: Vec::new(),
        tree: Vec::new(),
    }
}

fn join(prefix: &str, path: &str) -> String {
    if prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", prefix.trim_end_matches('/')) }
}

fn below(mut problem: Diagnostic, prefix: &str) -> Diagnostic {
    let moved = |place: &Place| Place { file: join(prefix, &place.file).into(), ..place.clone() };
    problem.place = moved(&problem.place);
    problem.related.iter_mut().for_each(|(place, _)| *place = moved(place));
    problem
}
