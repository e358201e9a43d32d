//! `kill -9` of the server at random moments under short runs. The processes' own records are the witness: every
//! attempt starts once, none is lost, no limit is exceeded at any moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::process::{Pauses, ServerProcess};
use crate::site::{Site, queue};

/// Kills and runs, unless `TIDEGATE_KILLS` and `TIDEGATE_KILL_RUNS` say otherwise.
const KILLS: usize = 50;
const RUNS: usize = 500;
const LIMIT: usize = 8;

#[test]
fn kill_dash_nine_loses_nothing_and_doubles_nothing() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (kills, runs) = (number("TIDEGATE_KILLS", KILLS), number("TIDEGATE_KILL_RUNS", RUNS));
    let site = Site::new();
    site.write("queues/here/fast.yaml", &queue("fast", LIMIT as u32));
    let records = site.path().join("records");
    site.push("first");
    let mut server = ServerProcess::start(&site);
    server.until_applied(&site);
    for i in 0..runs {
        // One line at the start and one at the end, each a single write of its own.
        let script = format!(
            "echo start $TIDEGATE_RUN $TIDEGATE_ATTEMPT $(date +%s%N) >> {0}\nsleep 0.0{1}\necho end $TIDEGATE_RUN $TIDEGATE_ATTEMPT $(date +%s%N) >> {0}",
            records.display(),
            i % 5
        );
        site.workflow(&format!("w{i}"), "here/fast", &script);
    }
    site.push(&format!("many\n\nAllow-Starts: {runs}"));
    let mut pauses = Pauses::new();
    for _ in 0..kills {
        pauses.sleep();
        server.kill_and_restart(&site);
    }
    let begun = Instant::now();
    loop {
        let ends =
            std::fs::read_to_string(&records).unwrap_or_default().lines().filter(|l| l.starts_with("end")).count();
        if ends == runs && succeeded(&server) == runs {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{ends} of {runs} ended, {} succeeded", succeeded(&server));
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(server);
    check(&std::fs::read_to_string(&records).unwrap(), runs);
}

fn check(records: &str, runs: usize) {
    let mut starts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut moments: Vec<(u128, i32)> = Vec::new();
    for line in records.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, run, attempt, at] = words[..] else { panic!("{line}") };
        if what == "start" {
            *starts.entry((run.to_owned(), attempt.to_owned())).or_default() += 1;
        }
        moments.push((at.parse().unwrap(), if what == "start" { 1 } else { -1 }));
    }
    assert_eq!(starts.len(), runs, "every run has started");
    assert!(starts.values().all(|times| *times == 1), "no attempt has started twice: {starts:?}");
    // At equal times the end counts first: the records overlap less than the processes did.
    moments.sort_unstable();
    let most = moments.iter().scan(0, |now, (_, change)| {
        *now += change;
        Some(*now)
    });
    let most = most.max().unwrap_or(0);
    assert!(most as usize <= LIMIT, "{most} at once, the limit is {LIMIT}");
}

fn succeeded(server: &ServerProcess) -> usize {
    server.ask(&["ops", "ls", "--status", "succeeded", "--limit", "1000"]).as_array().map_or(0, Vec::len)
}
