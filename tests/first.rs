//! The server as the first process of a container: it has to bury those who lose their parent.
//!
//! The tests make a namespace of process ids (`unshare`), and say that they are left out where the machine does not allow it.
#![allow(clippy::unwrap_used)] // a test that cannot unwrap has failed

#[allow(dead_code)] // other tests use the rest
#[path = "path/process.rs"]
mod process;
#[allow(dead_code)] // other tests use the rest
#[path = "path/site.rs"]
mod site;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::ServerProcess;
use crate::site::Site;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
const PATIENCE: Duration = Duration::from_secs(60);

/// A command whose program is the first process of a namespace of its own; none where that is not allowed.
fn contained(program: &str) -> Option<Command> {
    let root = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let user = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let allowed = |words: &[&str]| {
        let tried = Command::new("unshare").args(words).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let words = [&root[..], &user[..]].into_iter().find(|words| allowed(words));
    if words.is_none() {
        eprintln!("left out: this machine allows no namespace of process ids");
    }
    let mut command = Command::new("unshare");
    command.args(words?).arg(program);
    Some(command)
}

/// Processes with a parent: their ids, and whether each has ended.
fn children(parent: u32) -> Vec<(u32, bool)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name, in brackets, may hold anything.
        let rest: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        if rest.get(1).and_then(|text| text.parse().ok()) == Some(parent) {
            found.push((id, rest[0] == "Z"));
        }
    }
    found
}

/// A server in a namespace of its own; none where that is not allowed.
fn started(site: &Site) -> Option<ServerProcess> {
    Some(ServerProcess::start_by(site, contained(PROGRAM)?))
}

/// The first process of such a server's namespace, by its id out here.
fn first(server: &ServerProcess) -> u32 {
    let [(first, _)] = children(server.id())[..] else { panic!("unshare has one child") };
    first
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A site with runs that each leave processes behind which outlive them, in sessions of their own; each writes a file at its end.
fn messy(site: &Site, runs: usize) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for number in 0..runs {
        let file = site.path().join(format!("left-{number}"));
        // What is still in the group of a run ends with it.
        let (left, code) = (file.display(), if number == 0 { 3 } else { 0 });
        let script = format!(
            "setsid sh -c 'touch {left}.began; sleep 0.5; touch {left}' &\nwhile [ ! -e {left}.began ]; do sleep 0.01; done\nexit {code}"
        );
        site.workflow(&format!("run-{number}"), "here/fast", &script);
        files.push(file);
    }
    site.push("empty");
    files
}

#[test]
fn what_local_runs_leave_behind_is_waited_for_and_no_end_is_lost() {
    let site = Site::new();
    site.push("empty");
    let Some(server) = started(&site) else { return };
    let files = messy(&site, 5);
    let ended = |server: &ServerProcess, status: &str| {
        let runs = server.ask(&["ops", "ls"]);
        runs.as_array().into_iter().flatten().filter(|run| run["status"] == status).count()
    };
    until("the runs end as they did", || (ended(&server, "succeeded"), ended(&server, "failed")) == (4, 1));
    until("what they left behind ends", || files.iter().all(|file| Path::exists(file)));
    let first = first(&server);
    until("nobody is left unburied", || children(first).iter().all(|(_, ended)| !ended));
}

#[test]
fn the_first_process_passes_on_what_it_is_told_and_ends_as_the_server_does() {
    let site = Site::new();
    site.push("empty");
    for signal in ["TERM", "INT"] {
        let Some(mut server) = started(&site) else { return };
        let told = Command::new("kill").args(["-s", signal, &first(&server).to_string()]).status().unwrap();
        assert!(told.success());
        assert_eq!(server.wait().code(), Some(0), "after {signal}");
    }
    // A server that cannot start says so with its own code.
    let mut refused = contained(PROGRAM).unwrap();
    refused.args(["serve", "--repo", "/nowhere", "--listen", "0.0.0.0:0", "--data-dir"]).arg(site.path().join("other"));
    assert_eq!(refused.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap().code(), Some(1));
}
