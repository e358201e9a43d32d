//! Finds the processes of a supervisor that died: by process id and time of birth, or by their environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::journal::Process;
use crate::domain::ids::AttemptName;

/// Length of the clock tick in which `/proc` gives the birth of a process, in milliseconds (`USER_HZ` is 100 on every
/// architecture that we run on).
const TICK: u64 = 10;

/// Milliseconds since boot, by the clock that `/proc` uses.
pub fn since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0)
}

/// Names this boot of the system; empty when the system does not say.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Whether the process still runs, and is not another one with the same id.
pub fn is_alive(process: &Process) -> bool {
    process.boot == boot_id()
        && stat(process.pid)
            .is_some_and(|stat| !stat.is_gone && (process.from.saturating_sub(TICK)..=process.to).contains(&stat.born))
}

/// The processes of attempts that were launched by a supervisor that had no time to write down their ids: a leader of a
/// process group whose environment says which attempt it is.
pub fn find_lost(wanted: &BTreeSet<AttemptName>) -> BTreeMap<AttemptName, Process> {
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return found;
    }
    let boot = boot_id();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Some(stat) = stat(pid).filter(|stat| stat.group == pid && !stat.is_gone) else { continue };
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if let Some(attempt) = attempt_of(&environment).filter(|attempt| wanted.contains(attempt)) {
            found.insert(attempt, Process { pid, from: stat.born, to: stat.born, boot: boot.clone() });
        }
    }
    found
}

/// The attempt that an environment, as `/proc/PID/environ` gives it, belongs to.
fn attempt_of(environment: &[u8]) -> Option<AttemptName> {
    let value = |name: &str| {
        let prefix = format!("{name}=");
        let var = environment.split(|byte| *byte == 0).find(|var| var.starts_with(prefix.as_bytes()))?;
        std::str::from_utf8(&var[prefix.len()..]).ok()
    };
    AttemptName::parse(&format!("{}-{}", value("TIDEGATE_RUN")?, value("TIDEGATE_ATTEMPT")?))
}

/// What `/proc/PID/stat` says.
struct Stat {
    /// It is a zombie that nobody reaps, or about to vanish.
    is_gone: bool,
    group: i32,
    /// Milliseconds since boot.
    born: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, also parentheses.
    let after = text.iter().rposition(|byte| *byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(&text[after..]).ok()?.split_ascii_whitespace().collect();
    Some(Stat {
        is_gone: matches!(*fields.first()?, "Z" | "X"),
        group: fields.get(2)?.parse().ok()?,
        born: fields.get(19)?.parse::<u64>().ok()? * TICK,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_id_and_birth() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let born = stat(pid).unwrap().born;
        let this = Process { pid, from: born, to: born, boot: boot_id() };
        assert!(is_alive(&this));
        assert!(!is_alive(&Process { from: born + 2 * TICK, to: born + 3 * TICK, ..this.clone() }));
        assert!(!is_alive(&Process { boot: "another".to_owned(), ..this }));
        assert!(born <= since_boot());
    }

    #[test]
    fn an_environment_names_its_attempt() {
        let name = "00000000000000000000000000000007-2";
        let environment = b"PATH=/bin\0TIDEGATE_RUN=00000000000000000000000000000007\0TIDEGATE_ATTEMPT=2\0";
        assert_eq!(attempt_of(environment).map(|attempt| attempt.to_string()).as_deref(), Some(name));
        assert_eq!(attempt_of(b"TIDEGATE_RUN=x\0"), None);
    }
}
