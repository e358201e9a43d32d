//! Processes: how one is started, and what its end means.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::WaitIdStatus;
use serde_json::{Map, Value};

use super::layout::Layout;
use super::logs;
use super::task::Task;
use crate::domain::dispatch::observation::{Cause, DEADLINE_EXCEEDED, Seen};
use crate::domain::ids::AttemptName;
use crate::domain::time::Span;

/// The reason of an attempt whose program could not be started.
pub const CANNOT_START: &str = "CannotStart";
/// The reason of an attempt that ended with an exit code other than 0.
pub const EXIT_CODE: &str = "ExitCode";
/// The reason of an attempt that was ended by a signal which we did not send.
pub const SIGNAL: &str = "Signal";
/// The reason of a warning: the outputs of a run cannot be read.
pub const BAD_OUTPUTS: &str = "BadOutputs";
/// The reason of an attempt that was stopped.
pub const STOPPED: &str = "Stopped";
/// The reason of an attempt that was stopped before it was launched.
pub const NEVER_STARTED: &str = "NeverStarted";
/// The reason of an attempt whose supervisor died, so that nobody knows how it ended.
pub const SUPERVISOR_LOST: &str = "SupervisorLost";

/// Largest outputs file that is read; outputs are metrics and names, which the state keeps in memory.
pub const MAX_OUTPUTS_BYTES: u64 = 256 << 10;

/// The variables of the supervisor that operations see: those that say where and in which language they are. All
/// others may hold secrets of the server.
const INHERITED: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "SHELL"];

/// Where programs are looked for when nothing says otherwise.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The environment that every operation starts from.
pub fn base_env() -> Vec<(OsString, OsString)> {
    let keeps = |name: &str| INHERITED.contains(&name) || name.starts_with("LC_");
    let mut env: Vec<_> = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(keeps)).collect();
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    env
}

/// Starts a task in a process group of its own and says its process id.
///
/// Everything here keeps to what `posix_spawn` can do, which does not copy the supervisor: an absolute program, no code
/// between fork and exec.
pub fn start(layout: &Layout, base: &[(OsString, OsString)], attempt: AttemptName, task: &Task) -> Result<i32, Cause> {
    let cannot = |what: String| move |error: io::Error| Cause::new(CANNOT_START, format!("{what}: {error}"));
    let run = layout.run(attempt);
    make_dir(&run).map_err(cannot(format!("the directory {} cannot be made", run.display())))?;
    let dir = task.dir.as_ref().map_or_else(|| run.clone(), |dir| run.join(dir));
    let upwards = dir.components().any(|part| part == Component::ParentDir);
    // What lies in the attempt's own directory is made, as a container's is (`{{ globals.artifacts_path }}`).
    if dir.starts_with(&run) && !upwards {
        fs::create_dir_all(&dir).map_err(cannot(format!("the directory {} cannot be made", dir.display())))?;
    } else if !dir.is_dir() {
        let message = format!("`workingDir` {} is not a directory of this machine", dir.display());
        return Err(Cause::new(CANNOT_START, message));
    }
    let name = task.argv.first().ok_or_else(|| Cause::new(CANNOT_START, "there is no program to run"))?;
    let path = task.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, path)| OsString::from(path));
    let path = path.or_else(|| base.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone()));
    let program = find_program(name, &path.unwrap_or_default(), &dir)?;
    let log_path = layout.log(attempt);
    let log = OpenOptions::new().create(true).append(true).open(&log_path);
    let log = log.map_err(cannot(format!("the log {} cannot be written", log_path.display())))?;
    let errors = log.try_clone().map_err(cannot("the log cannot be shared".to_owned()))?;
    let child = Command::new(&program)
        .arg0(name)
        .args(&task.argv[1..])
        .env_clear()
        .envs(base.iter().map(|(name, value)| (name, value)))
        .envs(task.env.iter().map(|(name, value)| (name, value)))
        .env("TIDEGATE_OUTPUTS", layout.outputs(attempt))
        .env("TIDEGATE_METRICS", Layout::metrics_in(layout.root(), attempt))
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|error| cannot_start(&program, &error))?;
    Ok(i32::try_from(child.id()).expect("Linux gives process ids below 2^22"))
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(dir),
        other => other,
    }
}

/// Finds a program as a shell does: a name with a slash from the working directory, any other along the path.
fn find_program(name: &str, path: &OsString, dir: &Path) -> Result<PathBuf, Cause> {
    if name.contains('/') {
        return Ok(dir.join(name));
    }
    let mut denied = None;
    for candidate in std::env::split_paths(path).map(|place| dir.join(place).join(name)) {
        match fs::metadata(&candidate) {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => return Ok(candidate),
            Ok(meta) if meta.is_file() => denied = Some(candidate),
            _ => {}
        }
    }
    let message = match denied {
        Some(file) => format!("{} is not executable: `chmod +x` it", file.display()),
        None => format!(
            "the program `{name}` is not in any directory of PATH ({}): install it, or write its full path",
            path.to_string_lossy()
        ),
    };
    Err(Cause::new(CANNOT_START, message))
}

fn cannot_start(program: &Path, error: &io::Error) -> Cause {
    use rustix::io::Errno;
    let advice = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) if program.exists() => "the interpreter in its first line does not exist: mend that line",
        Some(Errno::NOENT) => "it does not exist on this machine: install it, or mend the path",
        Some(Errno::ACCESS) => "it may not be executed: `chmod +x` it, and see that it is a file",
        Some(Errno::NOEXEC) => "it is no program: begin a script with `#!/bin/sh`",
        Some(Errno::TOOBIG) => "arguments and environment are too long: pass large values in a file",
        Some(Errno::AGAIN) | Some(Errno::NOMEM) => "the machine has no room for another process",
        _ => "see the error",
    };
    Cause::new(CANNOT_START, format!("{} cannot be started, {advice} ({error})", program.display()))
}

/// Reads what a process that has ended reported, and caps its log.
pub fn collect(layout: &Layout, attempt: AttemptName, max_log: u64) -> (Map<String, Value>, Option<Seen>) {
    let log = layout.log(attempt);
    if fs::metadata(&log).is_ok_and(|meta| meta.blocks() * 512 > max_log) {
        let _ = logs::cap(&log, max_log);
    }
    match read_outputs(&layout.outputs(attempt)) {
        Ok(outputs) => (outputs, None),
        Err(why) => (Map::new(), Some(Seen::Warning(Cause::new(BAD_OUTPUTS, why)))),
    }
}

fn read_outputs(path: &Path) -> Result<Map<String, Value>, String> {
    let what = "the file named by TIDEGATE_OUTPUTS";
    // Not to be caught by a pipe that nobody writes to, or a link to somewhere else.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).expect("flags of open are an int");
    let file: File = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        other => other.map_err(|error| format!("{what} cannot be opened: {error}"))?,
    };
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err(format!("{what} is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX_OUTPUTS_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("{what} cannot be read: {error}"))?;
    if text.len() as u64 > MAX_OUTPUTS_BYTES {
        return Err(format!("{what} is larger than {} KiB: report names of files, not files", MAX_OUTPUTS_BYTES >> 10));
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    serde_json::from_slice(&text).map_err(|error| format!("{what} does not hold a JSON object: {error}"))
}

/// Why we ended a process ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server said so.
    Asked,
    /// It took longer than it may.
    Deadline,
}

/// What the end of a process means; no status when it was not our child, or is lost.
pub fn meaning(
    status: Option<WaitIdStatus>,
    ending: Option<Ending>,
    timeout: Option<Span>,
    outputs: Map<String, Value>,
) -> Seen {
    let exit_code = status.as_ref().and_then(WaitIdStatus::exit_status);
    let cause = match (ending, status) {
        (Some(Ending::Asked), _) => return Seen::Stopped(Cause::new(STOPPED, "it was stopped as asked")),
        (Some(Ending::Deadline), _) => {
            let message = format!("it took longer than its timeout of {}", timeout.unwrap_or_default());
            Cause::new(DEADLINE_EXCEEDED, message)
        }
        (None, None) => {
            let kept = if outputs.is_empty() { "" } else { "; the outputs that it wrote are kept" };
            Cause::new(
                SUPERVISOR_LOST,
                format!("its supervisor died while it ran, so its exit code is not known{kept}"),
            )
        }
        (None, Some(status)) => match (exit_code, status.terminating_signal()) {
            (Some(0), _) => return Seen::Succeeded { outputs },
            (Some(code), _) => Cause::new(EXIT_CODE, format!("it exited with code {code}; see its log")),
            (None, signal) => Cause::new(SIGNAL, killed_by(signal.unwrap_or(0))),
        },
    };
    Seen::Failed { cause, exit_code, outputs }
}

fn killed_by(signal: i32) -> String {
    let (name, hint) = match signal {
        2 => ("SIGINT", ""),
        4 => ("SIGILL", ": an illegal instruction, perhaps built for another processor"),
        6 => ("SIGABRT", ": it gave up; see its log"),
        7 => ("SIGBUS", ": a bad access to memory, perhaps a full disk or /dev/shm behind it"),
        8 => ("SIGFPE", ": an arithmetic error"),
        9 => ("SIGKILL", ": by somebody, or by the kernel because the machine ran out of memory (see `dmesg`)"),
        11 => ("SIGSEGV", ": a bad access to memory"),
        13 => ("SIGPIPE", ""),
        15 => ("SIGTERM", ": somebody ended it from outside"),
        24 => ("SIGXCPU", ": its limit of processor time"),
        25 => ("SIGXFSZ", ": its limit of file size"),
        _ => return format!("it was killed by signal {signal}"),
    };
    format!("it was killed by {name}{hint}")
}
