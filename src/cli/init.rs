//! `tidegate init`: lays out a repository of specs with a runnable example. Never overwrites a file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::domain::compile::schema::{ANY, Draft, PUBLISHED, render};
use crate::domain::ids::OrganizationName;

/// The name of the organization when the directory has none that would do.
const FALLBACK_NAME: &str = "my-organization";
/// Where the schemas for editors go.
const SCHEMAS: &str = ".tidegate/schemas";
/// The hook must be executable.
const HOOK: &str = ".githooks/pre-commit";

/// What is laid out, by path; `@NAME@` is the organization.
const FILES: [(&str, &str); 15] = [
    ("tidegate.yaml", include_str!("init/organization.yaml")),
    ("agents/local.yaml", include_str!("init/agent.yaml")),
    ("queues/local/urgent.yaml", include_str!("init/urgent.yaml")),
    ("queues/local/normal.yaml", include_str!("init/normal.yaml")),
    ("components/count.yaml", include_str!("init/component.yaml")),
    ("projects/demo/project.yaml", include_str!("init/project.yaml")),
    ("projects/demo/workflows/count.yaml", include_str!("init/workflow.yaml")),
    ("projects/demo/workflows/hello.yaml", include_str!("init/operation.yaml")),
    (".vscode/settings.json", include_str!("init/vscode.json")),
    (".editorconfig", include_str!("init/editorconfig")),
    (".gitignore", include_str!("init/gitignore")),
    (HOOK, include_str!("init/pre-commit.sh")),
    (".pre-commit-config.yaml", include_str!("init/pre-commit.yaml")),
    (".github/workflows/tidegate.yml", include_str!("init/github.yaml")),
    (".gitlab-ci.yml", include_str!("init/gitlab.yaml")),
];

/// The arguments of `tidegate init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Where to lay it out; made when it does not exist
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// The name of the organization; that of the directory when absent
    #[arg(long)]
    pub name: Option<String>,
}

/// Lays out a repository of specs and says what comes next.
pub fn run(args: &InitArgs) -> anyhow::Result<()> {
    let name = match &args.name {
        Some(name) => OrganizationName::parse(name).map_err(anyhow::Error::msg).context("--name")?,
        None => name_of(&args.dir),
    };
    let (written, kept) = lay_out(&args.dir, &name)?;
    for path in &written {
        println!("{path}");
    }
    for path in &kept {
        anstream::eprintln!("left alone, since it is there already: {path}");
    }
    if !written.is_empty() {
        next_steps(&args.dir, &name);
    }
    Ok(())
}

/// Writes the files that are not there; answers the paths of those written and of those left alone.
fn lay_out(dir: &Path, name: &OrganizationName) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let files = FILES.iter().map(|(path, text)| ((*path).to_owned(), text.replace("@NAME@", name.as_str())));
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (path, text) in files.chain(schemas()) {
        let made = write_new(&dir.join(&path), &text, path == HOOK).with_context(|| format!("cannot write {path}"))?;
        if made { &mut written } else { &mut kept }.push(path);
    }
    Ok((written, kept))
}

/// The schemas in the dialect that most editors know.
fn schemas() -> impl Iterator<Item = (String, String)> {
    let names = PUBLISHED.iter().map(|(name, _)| *name).chain([ANY]);
    names.filter_map(|name| {
        let schema = render(name, Draft::Draft7)?;
        Some((format!("{SCHEMAS}/{name}.json"), format!("{schema:#}\n")))
    })
}

/// Writes a file that is not there; `false` when something is.
fn write_new(path: &Path, text: &str, executable: bool) -> anyhow::Result<bool> {
    let parent = path.parent().context("a file lies in a directory")?;
    fs::create_dir_all(parent)?;
    let mode = if executable { 0o777 } else { 0o666 };
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true).map_err(Into::into),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => bail!(error),
    }
}

/// The name of a directory as the name of an organization: small letters, digits and `-`.
fn name_of(dir: &Path) -> OrganizationName {
    let path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let last = path.components().next_back().map(|part| part.as_os_str().to_string_lossy().to_lowercase());
    let plain: String =
        last.unwrap_or_default().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    OrganizationName::parse(plain.trim_matches('-'))
        .unwrap_or_else(|_| OrganizationName::parse(FALLBACK_NAME).expect("the fallback is a name"))
}

fn next_steps(dir: &Path, name: &OrganizationName) {
    let here = dir == Path::new(".");
    let cd = if here { String::new() } else { format!("\n  cd {}", dir.display()) };
    anstream::eprintln!(
        "\nThe organization {name} is laid out. Next:{cd}
  tidegate validate                       check the files
  tidegate up                             run them on this machine and watch
  git init && git config core.hooksPath .githooks && git add -A
                                          check the files before every commit"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_name_when_it_would_do() {
        for (dir, name) in
            [("/a/Our Specs", "our-specs"), ("/a/b/", "b"), ("/a/__", FALLBACK_NAME), ("/", FALLBACK_NAME)]
        {
            assert_eq!(name_of(Path::new(dir)).as_str(), name, "{dir}");
        }
    }
}
