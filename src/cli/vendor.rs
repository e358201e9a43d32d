//! `vendor`: keeps a copy of what a `urlRef` names in the repository, with its digest. The only verb that fetches specs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::show::{self, note, out};
use super::{Exit, Result, local};
use crate::domain::compile::library::{SUMS, url_path};
use crate::domain::compile::parse::MAX_FILE_BYTES;
use crate::domain::compile::report::{Format, Sources, render};
use crate::domain::compile::{Asked, Depth, compile_alone};
use crate::domain::files::{FileContent, SourceFile};
use crate::domain::ids::Digest;

/// Longest time that a copy may take, connection and redirections counted.
const FETCH_TIME: Duration = Duration::from_secs(30);
/// Redirections that are followed.
const MAX_REDIRECTS: u32 = 5;

/// What to copy.
#[derive(Debug, Args)]
pub struct VendorArgs {
    /// What `urlRef` names: the address of a component
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// The repository; by default the one around the current folder
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
}

/// Carries it out.
pub fn run(args: &VendorArgs) -> Result {
    let start = args.repo.as_deref().unwrap_or(Path::new("."));
    let Some((root, _)) = local::root_of(start)? else {
        bail!("no tidegate.yaml lies above {}: copies are kept in a repository", start.display());
    };
    for url in &args.urls {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            bail!("`{}` is no address: write https://…", show::plain(url));
        }
        let path = url_path(url).with_context(|| format!("`{}` is no address of a file", show::plain(url)))?;
        let bytes = fetch(url).with_context(|| format!("cannot fetch {}", show::plain(url)))?;
        if let Some(problems) = problems_of(&path, &bytes) {
            out(&problems)?;
            note(&format!("{} is not a component that can be used; no copy is kept", show::plain(url)));
            return Ok(Exit::Invalid);
        }
        let target = root.join(&path);
        let folder = target.parent().context("a copy lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        std::fs::write(&target, &bytes).with_context(|| format!("writing {}", target.display()))?;
        let digest = Digest::of(&bytes).to_string();
        let before = write_sum(&root.join(SUMS), &path, &digest)?;
        let change = match before.as_deref() {
            None => "new",
            Some(same) if same == digest => "unchanged",
            Some(_) => "changed",
        };
        out(&format!("{path}  sha256:{digest}  {change}\n"))?;
    }
    Ok(Exit::Fine)
}

/// Reads what lies at an address, within limits of size and time.
fn fetch(url: &str) -> anyhow::Result<Vec<u8>> {
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(FETCH_TIME))
        .max_redirects(MAX_REDIRECTS)
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls);
    let agent: ureq::Agent = config.build().into();
    let mut response = agent.get(url).call()?;
    let limit = MAX_FILE_BYTES as u64;
    response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => anyhow::anyhow!("it is larger than {} KiB", limit >> 10),
        other => other.into(),
    })
}

/// What is wrong with a copy, for people; `None` for a sound component.
fn problems_of(path: &str, bytes: &[u8]) -> Option<String> {
    let file = SourceFile { path: path.to_owned(), content: FileContent::Text(bytes.to_vec()) };
    let alone = compile_alone(file, &Asked::default(), Depth::Shape, false, &|_| None);
    let kind = serde_yaml::from_slice::<serde_json::Value>(bytes).ok();
    let is_component = kind.is_some_and(|value| value.get("kind").is_some_and(|kind| kind == "component"));
    if alone.diagnostics.errors() == 0 && is_component {
        return None;
    }
    Some(render(Format::Text, &alone.diagnostics, &Sources::of_files(&alone.files), show::report_colour()))
}

/// Writes the digest of a copy down, in the form of `sha256sum`; the digest that stood there before.
fn write_sum(sums: &Path, path: &str, digest: &str) -> anyhow::Result<Option<String>> {
    let text = match std::fs::read_to_string(sums) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", sums.display())),
    };
    let mut entries: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name.trim().to_owned(), digest.to_owned()))
        .collect();
    let name = path.strip_prefix("refs/").unwrap_or(path);
    let before = entries.insert(name.to_owned(), digest.to_owned());
    let text: String = entries.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
    std::fs::write(sums, text).with_context(|| format!("writing {}", sums.display()))?;
    Ok(before)
}
