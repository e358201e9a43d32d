//! `kill -9` of the server at random moments under short runs. The processes' own records are the witness: every
//! attempt starts once, none is lost, no limit is exceeded at any moment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    let mut server = serve(&site);
    wait_applied(&site, &server.1);
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
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_millis(20 + random % 250));
        server.0.kill().unwrap();
        server.0.wait().unwrap();
        server = serve(&site);
    }
    let begun = Instant::now();
    loop {
        let ends =
            std::fs::read_to_string(&records).unwrap_or_default().lines().filter(|l| l.starts_with("end")).count();
        if ends == runs && succeeded(&server.1) == runs {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{ends} of {runs} ended, {} succeeded",
            succeeded(&server.1)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    server.0.kill().unwrap();
    server.0.wait().unwrap();
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

/// The server as a process of its own, and its address.
fn serve(site: &Site) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--listen", "127.0.0.1:0", "--branch", "main", "--repo"])
        .arg(site.bare())
        .arg("--data-dir")
        .arg(site.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    while !line.starts_with("serving ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the server says where it listens");
    }
    // What else it says is read and thrown away, so that it never waits for a reader.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    (child, line.trim().trim_start_matches("serving ").to_owned())
}

fn ask(address: &str, args: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(args)
        .args(["-o", "json", "--server", address])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn succeeded(address: &str) -> usize {
    ask(address, &["ops", "ls", "--status", "succeeded", "--limit", "1000"]).as_array().map_or(0, Vec::len)
}

fn wait_applied(site: &Site, address: &str) {
    let begun = Instant::now();
    let commit = site.git(&["rev-parse", "HEAD"]);
    while ask(address, &["sync", "status"])["applied"] != commit.as_str() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", ask(address, &["sync", "status"]));
        std::thread::sleep(Duration::from_millis(20));
    }
}
