//! The first process of a container: it starts the server beside itself and buries those who lose their parent.
//!
//! The kernel gives orphans to process 1, and each stays as a zombie until that waits for it. What local runs leave behind
//! are such orphans. A server that waited for everybody would take the ends of its own children (git, supervisors) from
//! those of its threads that wait for them. So it starts itself anew as the only child of a process that does nothing
//! else: it passes on what the server understands, and ends as the server does.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Result, tell};

/// What `kill` and Ctrl-C send, which the server understands.
const PASSED_ON: [Signal; 2] = [Signal::TERM, Signal::INT];

/// Whether this is the first process of its container.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Starts this program anew with the same arguments, and stays until that has ended.
pub fn stand_by() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let ended = runtime.context("cannot listen to signals").and_then(|runtime| runtime.block_on(accompany()));
    ended.unwrap_or_else(|error| tell(&error).into())
}

async fn accompany() -> Result<ExitCode> {
    let mut ends = signal(SignalKind::child()).context("cannot listen to signals")?;
    let passed_on = PASSED_ON.map(|which| Ok((which, signal(SignalKind::from_raw(which.as_raw()))?)));
    let passed_on = passed_on.into_iter().collect::<std::io::Result<Vec<_>>>().context("cannot listen to signals")?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // A terminal tells the whole group of Ctrl-C; the server hears it once, from here.
    let child = command.args(arguments).process_group(0).spawn().context("cannot start the server")?;
    let server = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the server has no process id")?;
    for (which, mut asked) in passed_on {
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                let _ = kill_process(server, which);
            }
        });
    }
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == server {
                return Ok(code_of(ExitStatus::from_raw(status.as_raw())));
            }
        }
        ends.recv().await.context("the end of the server cannot be seen")?;
    }
}

/// The exit code of a process, as shells write it.
fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(Exit::Other.into(), ExitCode::from)
}
