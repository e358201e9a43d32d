//! Runs the `git` program: hardened, without prompts, within limits of time, size and output.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::super::error::{SourceError, classify, printable, redact};
use super::super::url::{RepoUrl, Transport};
use super::super::{Result, limits};
use super::Options;

/// How often the size of the mirror is looked at while `git` writes it.
const SIZE_CHECK: Duration = Duration::from_millis(250);
/// How long we read on after `git` has ended: a background process of `ssh` may keep standard error open for ever.
const DRAIN: Duration = Duration::from_millis(500);

/// Variables of git that a user sets on purpose; all others (`GIT_DIR`, `GIT_INDEX_FILE`, …) would redirect us.
const KEPT: [&str; 14] = [
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_ASKPASS",
    "GIT_EXEC_PATH",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_COUNT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_PROXY_SSL_CAINFO",
];

/// Settings that win over every configuration file. The user's and the machine's own files stay in force for the rest:
/// credential helpers, certificates and proxies live there. The repository at the other side has no say at all.
const SETTINGS: [&str; 24] = [
    // nothing that a repository or a habit brings along is executed
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "transfer.bundleURI=false",
    "maintenance.auto=false",
    "gc.auto=0",
    // credentials go to the origin they are for: no redirects
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "protocol.version=2",
    // the mirror can be made again, so it needs no flush to the disk
    "core.fsync=none",
    "fetch.writeCommitGraph=false",
    // objects are checked, except for blemishes that old honest repositories have
    "fetch.fsckObjects=true",
    "fetch.fsck.zeroPaddedFilemode=warn",
    "fetch.fsck.missingSpaceBeforeDate=warn",
    "fetch.fsck.missingSpaceBeforeEmail=warn",
    "fetch.fsck.missingNameBeforeEmail=warn",
    "fetch.fsck.missingEmail=warn",
    "fetch.fsck.badName=warn",
    "fetch.fsck.badEmail=warn",
    "fetch.fsck.badTimezone=warn",
    "fetch.fsck.badDateOverflow=warn",
    "protocol.allow=never",
];

/// A hardened `git --git-dir=<mirror>`, to which the caller adds a verb.
pub(super) fn command(options: &Options, git_dir: &Path, url: Option<&RepoUrl>) -> Command {
    let mut command = Command::new(&options.git);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let numbered = text.starts_with("GIT_CONFIG_KEY_") || text.starts_with("GIT_CONFIG_VALUE_");
        if text.starts_with("GIT_") && !numbered && !KEPT.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C").env_remove("LANGUAGE").env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_LAZY_FETCH", "1");
    for (name, value) in [
        ("GIT_ASKPASS", ""),
        ("SSH_ASKPASS", "false"),
        ("SSH_ASKPASS_REQUIRE", "force"),
        ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=20"),
    ] {
        let own_ssh = name == "GIT_SSH_COMMAND" && (is_set("GIT_SSH") || has_own_ssh_command());
        if !is_set(name) && !own_ssh {
            command.env(name, value);
        }
    }
    command.arg("--git-dir").arg(git_dir);
    for setting in SETTINGS {
        command.arg("-c").arg(setting);
    }
    if let Some(url) = url {
        let scheme = match url.transport() {
            Transport::Https => "https",
            Transport::HttpLoopback => "http",
            Transport::Ssh => "ssh",
            Transport::Local => "file",
        };
        command.arg("-c").arg(format!("protocol.{scheme}.allow=always"));
        // By the environment, which only this user can read, never as an argument.
        if let Some((origin, header)) = url.authorization() {
            let set = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
            command
                .env("GIT_CONFIG_COUNT", (set + 1).to_string())
                .env(format!("GIT_CONFIG_KEY_{set}"), format!("http.{origin}.extraHeader"))
                .env(format!("GIT_CONFIG_VALUE_{set}"), header);
        }
    }
    command.current_dir(git_dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

fn has_own_ssh_command() -> bool {
    git2::Config::open_default().is_ok_and(|config| config.get_string("core.sshCommand").is_ok())
}

/// Runs a command to its end and gives its standard output (bounded), or the error that its standard error tells.
pub(super) fn run(
    mut command: Command,
    options: &Options,
    git_dir: &Path,
    url: &RepoUrl,
    reference: &str,
) -> Result<Vec<u8>> {
    let subject = url.to_string();
    let no_git = |cause| SourceError::NoGit { program: options.git.to_string_lossy().into_owned(), cause };
    let mut child = command.spawn().map_err(no_git)?;
    let stdout = drain(child.stdout.take(), limits::STDOUT_BYTES);
    let stderr = drain(child.stderr.take(), limits::STDERR_BYTES);
    let status = supervise(child, options, git_dir, &subject)?;
    let output = stdout.recv_timeout(DRAIN).unwrap_or_default();
    if status.success() {
        return Ok(output);
    }
    let said = stderr.recv_timeout(DRAIN).unwrap_or_default();
    let said = redact(&printable(&String::from_utf8_lossy(&said), limits::STDERR_BYTES), &url.secrets());
    Err(classify(&subject, reference, &said))
}

/// Waits for the end within the limits; past them the whole process group is killed.
fn supervise(mut child: Child, options: &Options, git_dir: &Path, subject: &str) -> Result<ExitStatus> {
    let group = rustix::process::Pid::from_child(&child);
    let (send, ended) = mpsc::channel();
    let waiter = std::thread::spawn(move || drop(send.send(child.wait())));
    let deadline = Instant::now() + options.time_limit;
    let over = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match ended.recv_timeout(left.min(SIZE_CHECK)) {
            Ok(status) => {
                return status.map_err(SourceError::io("wait for git in", git_dir));
            }
            Err(RecvTimeoutError::Disconnected) => {
                break SourceError::Timeout { subject: subject.into(), after: options.time_limit };
            }
            Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                break SourceError::Timeout { subject: subject.into(), after: options.time_limit };
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = check_size(git_dir, options.size_limit, subject) {
                    break error;
                }
            }
        }
    };
    // A group that has ended in this very moment is no failure.
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _ = waiter.join();
    Err(over)
}

/// Refuses a mirror that has grown past its limit.
pub(super) fn check_size(git_dir: &Path, limit: u64, subject: &str) -> Result<()> {
    if size_of(git_dir) > limit {
        return Err(SourceError::TooLarge { subject: format!("the mirror of {subject}"), limit, unit: "bytes" });
    }
    Ok(())
}

/// Bytes of all files below; what vanishes meanwhile does not count.
fn size_of(dir: &Path) -> u64 {
    let mut total = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => open.push(entry.path()),
                Ok(data) => total += data.len(),
                Err(_) => {}
            }
        }
    }
    total
}

/// Reads a stream to its end in a thread, keeps its first `limit` bytes.
fn drain(stream: Option<impl Read + Send + 'static>, limit: usize) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.by_ref().take(limit as u64).read_to_end(&mut kept);
            let _ = send.send(kept);
            let _ = io::copy(&mut stream, &mut io::sink());
        }
    });
    receive
}

/// Names of the refs in the output of `ls-remote`, with what they stand at.
pub(super) fn listed(output: &[u8]) -> impl Iterator<Item = (&str, git2::Oid)> {
    let text = std::str::from_utf8(output).unwrap_or_default();
    text.lines().filter_map(|line| {
        let (id, name) = line.split_once('\t')?;
        Some((name, git2::Oid::from_str(id).ok()?))
    })
}
