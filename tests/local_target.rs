//! The local target with the real supervisor: what it promises about starting, ending, reporting and surviving.
#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::domain::dispatch::observation::{Cause, DEADLINE_EXCEEDED, LOST, Observation, Seen};
use tidegate::domain::ids::{AgentName, Attempt, AttemptName, Epoch, ProjectName, RunId};
use tidegate::domain::time::Span;
use tidegate::target::local::{self, LocalTarget, read_log};
use tidegate::target::{Effect, Launch, Report, Target};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_run_has_its_environment_directory_log_and_outputs() {
    let agent = Agent::new();
    let script = r#"
        echo "cwd=$PWD run=$TIDEGATE_RUN attempt=$TIDEGATE_ATTEMPT project=$TIDEGATE_PROJECT"
        echo "a=$A n=$N extra=$EXTRA secret=$TIDEGATE_SECRET args=$*" >&2
        echo '{"loss": 0.25}' > "$TIDEGATE_OUTPUTS"
        touch kept"#;
    let mut launch = launch(
        1,
        json!({
            "command": ["sh", "-c", script, "sh", 7],
            "args": "one  two",
            "env": [{"name": "A", "value": "x"}, {"name": "N", "value": 3}],
        }),
    );
    launch.env.push(("EXTRA".to_owned(), "y".to_owned()));
    let attempt = launch.attempt;
    agent.target().deliver(vec![Effect::Launch(Box::new(launch))]);
    let story = agent.wait_end(attempt);
    assert_eq!(story[0], Seen::Running);
    assert_eq!(story[1], Seen::Succeeded { outputs: json!({"loss": 0.25}).as_object().unwrap().clone() });
    assert_eq!(story.len(), 2);
    let run = LocalTarget::worked_in(agent.dir(), attempt);
    let log = agent.log(attempt);
    let first = format!("cwd={} run={} attempt=1 project=vision\n", run.display(), attempt.run);
    assert_eq!(log, format!("{first}a=x n=3 extra=y secret= args=7 one two\n"));
    assert!(run.join("kept").exists());
    agent.target().remove_files(attempt).unwrap();
    assert!(!run.exists() && !agent.target().log_file(attempt).unwrap().exists());
}

#[test]
fn what_says_nothing_is_removed_when_nothing_is_launched() {
    let agent = Agent::new();
    let [silent, loud] = [(1, "true"), (2, "echo here; touch kept")].map(|(n, script)| {
        let attempt = agent.launch(n, json!({"command": ["sh", "-c", script]}));
        agent.wait_end(attempt);
        attempt
    });
    let run = |attempt| LocalTarget::worked_in(agent.dir(), attempt);
    let log = |attempt| agent.target().log_file(attempt).unwrap();
    until("what is empty is gone", || !run(silent).exists() && !log(silent).exists());
    assert!(run(loud).join("kept").exists() && log(loud).exists());
}

#[test]
fn a_working_directory_is_absolute_or_below_the_runs_own() {
    let agent = Agent::new();
    let place = tempfile::tempdir().unwrap();
    let there = place.path().canonicalize().unwrap();
    let at = |dir: &str| json!({"command": "pwd", "workingDir": dir});
    let [a, b, c] =
        [(1, at(there.to_str().unwrap())), (2, at("src/deep")), (3, at("../2"))].map(|(n, c)| agent.launch(n, c));
    agent.wait_end(a);
    assert_eq!(agent.log(a).trim(), there.to_str().unwrap());
    agent.wait_end(b);
    assert_eq!(agent.log(b).trim(), LocalTarget::worked_in(agent.dir(), b).join("src/deep").to_str().unwrap());
    assert_eq!(agent.failure(c).reason, local::UNSUPPORTED_FIELD);
}

#[test]
fn ends_are_told_apart() {
    let agent = Agent::new();
    let sh = |script: &str| json!({"command": ["sh", "-c", script]});
    let code = agent.launch(1, sh("exit 3"));
    let signal = agent.launch(2, sh("kill -9 $$"));
    let missing = agent.launch(3, json!({"command": ["no-such-program-anywhere"]}));
    let missing_path = agent.launch(4, json!({"command": ["/no/such/program"]}));
    let none = agent.launch(5, json!({"image": "busybox", "args": ["x"]}));
    let from = agent.launch(6, json!({"command": "true", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {}}}]}));
    let outputs = agent.launch(7, sh("echo '[1]' > $TIDEGATE_OUTPUTS"));
    let large = agent.launch(8, sh("head -c 300000 /dev/zero > $TIDEGATE_OUTPUTS"));
    let pipe = agent.launch(9, sh("mkfifo $TIDEGATE_OUTPUTS"));
    let mut service = launch(10, json!({}));
    service.run = serde_json::from_value(json!({"kind": "tfjob", "worker": {"replicas": 1}})).unwrap();
    let kind = service.attempt;
    agent.target().deliver(vec![Effect::Launch(Box::new(service))]);

    let story = agent.wait_end(code);
    assert!(matches!(&story[1], Seen::Failed { cause, exit_code: Some(3), .. } if cause.reason == local::EXIT_CODE));
    let cause = agent.failure(signal);
    assert!(cause.reason == local::SIGNAL && cause.message.contains("memory"), "{cause:?}");
    for (attempt, word) in [(missing, "no-such-program-anywhere"), (missing_path, "/no/such/program")] {
        let cause = agent.failure(attempt);
        assert!(cause.reason == local::CANNOT_START && cause.message.contains(word), "{cause:?}");
        assert!(cause.message.contains("install it"), "{cause:?}");
    }
    assert_eq!(agent.failure(none).reason, local::NO_COMMAND);
    assert_eq!(agent.failure(from).reason, local::UNSUPPORTED_FIELD);
    assert_eq!(agent.failure(kind).reason, local::UNSUPPORTED_KIND);
    for attempt in [outputs, large, pipe] {
        let story = agent.wait_end(attempt);
        assert!(matches!(&story[1], Seen::Warning(cause) if cause.reason == local::BAD_OUTPUTS), "{story:?}");
        assert!(matches!(&story[2], Seen::Succeeded { outputs } if outputs.is_empty()));
    }
}

#[test]
fn a_stop_asks_and_then_kills() {
    let agent = Agent::new();
    let polite =
        agent.launch(1, json!({"command": ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; sleep 60 & wait"]}));
    let deaf = agent.launch(2, json!({"command": ["sh", "-c", "trap '' TERM; echo up; sleep 60"]}));
    agent.wait_log(polite, "up");
    agent.wait_log(deaf, "up");
    let asked = Instant::now();
    agent.stop(polite, 20_000);
    agent.stop(deaf, 300);
    assert!(matches!(&agent.wait_end(polite)[1], Seen::Stopped(cause) if cause.reason == local::STOPPED));
    assert!(agent.log(polite).ends_with("bye\n"));
    assert!(matches!(&agent.wait_end(deaf)[1], Seen::Stopped(_)));
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn a_timeout_ends_a_run_and_says_so() {
    let agent = Agent::new();
    let mut launch = launch(1, json!({"command": ["sleep", "60"]}));
    launch.timeout = Some(Span(200));
    let attempt = launch.attempt;
    agent.target().deliver(vec![Effect::Launch(Box::new(launch))]);
    let cause = agent.failure(attempt);
    assert_eq!(
        (cause.reason.as_str(), cause.message.as_str()),
        (DEADLINE_EXCEEDED, "it took longer than its timeout of 200ms")
    );
}

#[test]
fn nothing_of_a_group_is_left_when_its_end_is_reported() {
    let agent = Agent::new();
    let stopped = agent.launch(1, json!({"command": ["sh", "-c", "sh -c 'sleep 61 & echo $! ; wait' & sleep 61"]}));
    let ended = agent.launch(2, json!({"command": ["sh", "-c", "sleep 62 >/dev/null & echo $!"]}));
    agent.wait_log(stopped, "\n");
    agent.stop(stopped, 1000);
    for attempt in [stopped, ended] {
        agent.wait_end(attempt);
        let pid: u32 = agent.log(attempt).trim().parse().unwrap();
        until("the grandchild is gone", || !runs(pid));
    }
}

#[test]
fn whatever_is_delivered_twice_or_late_starts_once() {
    let agent = Agent::new();
    let place = tempfile::tempdir().unwrap();
    let count = place.path().join("count");
    let launches: Vec<Launch> = (1..=20)
        .map(|n| launch(n, json!({"command": ["sh", "-c", format!("echo {n} >> {}", count.display())]})))
        .collect();
    let effects = |step: usize| {
        let pick = |i: usize| Effect::Launch(Box::new(launches[i * step % launches.len()].clone()));
        (0..launches.len()).map(pick).collect::<Vec<_>>()
    };
    for step in [1, 3, 7, 1] {
        agent.target().deliver(effects(step));
    }
    launches.iter().for_each(|launch| drop(agent.wait_end(launch.attempt)));
    agent.reconnect();
    agent.target().deliver(effects(9));
    agent.target().deliver(launches[..10].iter().map(|launch| Effect::Forget(launch.attempt)).collect());
    agent.target().deliver(effects(11));
    agent.run(99, json!({"command": "true"}));
    let mut lines: Vec<u32> = fs::read_to_string(&count).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_stop_before_the_launch_wins() {
    let agent = Agent::new();
    let late = launch(1, json!({"command": ["sh", "-c", "echo started"]}));
    let attempt = late.attempt;
    agent.stop(attempt, 1000);
    assert!(matches!(&agent.wait_end(attempt)[0], Seen::Stopped(cause) if cause.reason == local::NEVER_STARTED));
    agent.target().deliver(vec![Effect::Launch(Box::new(late))]);
    agent.run(2, json!({"command": "true"}));
    assert!(!agent.target().log_file(attempt).unwrap().exists());
}

#[test]
fn runs_survive_the_server_and_their_ends_are_told_until_forgotten() {
    let agent = Agent::new();
    let gate = agent.dir().join("gate");
    let wait = format!("echo up; while [ ! -e {} ]; do sleep 0.02; done; echo done; exit 4", gate.display());
    let long = agent.launch(1, json!({"command": ["sh", "-c", wait]}));
    let short = agent.run(2, json!({"command": "true"}));
    agent.wait_log(long, "up");
    let supervisor = agent.supervisor();
    agent.disconnect();
    fs::write(&gate, "").unwrap();
    until("the run ends without a server", || agent.log(long).ends_with("done\n"));
    agent.connect();
    let story = agent.wait_end(long);
    assert!(matches!(&story[1], Seen::Failed { exit_code: Some(4), .. }), "{story:?}");
    assert_eq!(agent.wait_end(short).len(), 2, "an end that was not forgotten is told again");
    assert_eq!(agent.supervisor(), supervisor);
    agent.target().deliver(vec![Effect::Forget(short)]);
    agent.run(3, json!({"command": "true"}));
    agent.reconnect();
    agent.wait_end(long);
    assert_eq!(agent.story(short), []);
}

#[test]
fn a_new_supervisor_adopts_what_the_killed_one_left() {
    let agent = Agent::new();
    let gate = agent.dir().join("gate");
    let wait = format!(
        "echo up; while [ ! -e {} ]; do sleep 0.02; done; echo '{{\"x\":1}}' > $TIDEGATE_OUTPUTS",
        gate.display()
    );
    let survivor = agent.launch(1, json!({"command": ["sh", "-c", wait]}));
    let stopped = agent.launch(2, json!({"command": ["sh", "-c", "echo up; sleep 60"]}));
    let mut timed = launch(3, json!({"command": ["sh", "-c", "echo up; sleep 60"]}));
    timed.timeout = Some(Span(3000));
    let timed_out = timed.attempt;
    agent.target().deliver(vec![Effect::Launch(Box::new(timed))]);
    let died = agent.launch(4, json!({"command": ["sh", "-c", "echo $$; sleep 60"]}));
    let done = agent.run(5, json!({"command": ["sh", "-c", "exit 6"]}));
    [survivor, stopped, timed_out].iter().for_each(|attempt| agent.wait_log(*attempt, "up"));
    agent.wait_log(died, "\n");
    let pid: u32 = agent.log(died).trim().parse().unwrap();
    let old = agent.supervisor();
    agent.disconnect();
    kill(old, "KILL");
    kill(pid, "KILL");
    until("the process is gone", || !runs(pid));
    agent.connect();
    assert_eq!(agent.failure(died).reason, local::SUPERVISOR_LOST);
    assert!(matches!(&agent.wait_end(done)[1], Seen::Failed { exit_code: Some(6), .. }));
    assert_ne!(agent.supervisor(), old);
    assert_eq!(agent.story(survivor), [Seen::Running]);
    agent.stop(stopped, 1000);
    assert!(matches!(agent.wait_end(stopped).last(), Some(Seen::Stopped(_))));
    assert_eq!(agent.failure(timed_out).reason, DEADLINE_EXCEEDED);
    fs::write(&gate, "").unwrap();
    let story = agent.wait_end(survivor);
    let Some(Seen::Failed { cause, outputs, .. }) = story.last() else { panic!("{story:?}") };
    assert_eq!((cause.reason.as_str(), outputs.get("x")), (local::SUPERVISOR_LOST, Some(&json!(1))));
}

#[test]
fn kills_of_the_supervisor_at_any_moment_start_nothing_twice_and_lose_nothing() {
    let agent = Agent::new();
    let count = agent.dir().join("count");
    let mut launches = BTreeMap::new();
    for round in 0..8u32 {
        for n in 0..40 {
            let script = format!("echo {} >> {}", round * 40 + n, count.display());
            let launch = launch(u128::from(round * 40 + n + 1), json!({"command": ["sh", "-c", script]}));
            launches.insert(launch.attempt, launch);
        }
        let owed = || launches.values().map(|launch| Effect::Launch(Box::new(launch.clone()))).collect::<Vec<_>>();
        agent.target().deliver(owed());
        thread::sleep(Duration::from_millis(u64::from(round * 7)));
        kill(agent.supervisor(), "KILL");
        agent.reconnect();
        agent.target().deliver(owed());
    }
    launches.keys().for_each(|attempt| drop(agent.wait_end(*attempt)));
    let mut lines: Vec<u32> = fs::read_to_string(&count).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    let all = lines.len();
    lines.dedup();
    assert_eq!(lines.len(), all, "something was started twice");
    for (attempt, launch) in &launches {
        let succeeded = matches!(agent.wait_end(*attempt).last(), Some(Seen::Succeeded { .. }));
        let n = u32::try_from(launch.attempt.run.0.as_u128() - 1).unwrap();
        assert!(!succeeded || lines.binary_search(&n).is_ok(), "{n} is said to have succeeded, but has not run");
    }
}

#[test]
fn there_is_one_supervisor_however_many_start() {
    let agent = Agent::new();
    let first = agent.supervisor();
    let status = Command::new(PROGRAM).args(["supervise", "--dir"]).arg(agent.dir()).status().unwrap();
    assert!(status.success());
    agent.run(1, json!({"command": "true"}));
    assert_eq!(agent.supervisor(), first);
}

#[test]
fn a_log_is_capped_while_it_grows() {
    let agent = Agent::with(&[("TIDEGATE_SUPERVISOR_MAX_LOG_BYTES", "1000000")]);
    let script = "i=0; while [ $i -lt 40 ]; do head -c 100000 /dev/zero | tr '\\0' x; echo; i=$((i+1)); sleep 0.05; done; echo end";
    let attempt = agent.run(1, json!({"command": ["sh", "-c", script]}));
    let path = agent.target().log_file(attempt).unwrap();
    let used = || std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap()) * 512;
    assert!(used() <= 1_000_000, "{} bytes", used());
    let chunk = read_log(&path, 0, 10_000_000).unwrap();
    assert!(chunk.skipped > 2_000_000 && chunk.bytes.ends_with(b"end\n") && !chunk.bytes.contains(&0));
}

#[test]
fn a_supervisor_without_server_and_work_leaves_and_its_successor_knows_all() {
    let agent = Agent::with(&[("TIDEGATE_SUPERVISOR_IDLE_MS", "100")]);
    let attempt = agent.run(1, json!({"command": "true"}));
    let first = agent.supervisor();
    agent.disconnect();
    until("the supervisor leaves", || !runs(first));
    agent.connect();
    assert_eq!(agent.wait_end(attempt).len(), 2);
}

#[test]
fn the_journal_is_compacted_and_remembers_what_was_forgotten() {
    let agent = Agent::new();
    for n in 1..=300 {
        agent.launch(n, json!({"command": "true"}));
    }
    let attempts: Vec<AttemptName> = (1..=300).map(name).collect();
    attempts.iter().for_each(|attempt| drop(agent.wait_end(*attempt)));
    agent.target().deliver(attempts.iter().map(|attempt| Effect::Forget(*attempt)).collect());
    agent.run(999, json!({"command": "true"}));
    let journal = agent.dir().join("journal.jsonl");
    let before = fs::metadata(&journal).unwrap().len();
    kill(agent.supervisor(), "KILL");
    agent.reconnect();
    let after = fs::metadata(&journal).unwrap().len();
    assert!(after < before / 3, "{before} → {after}");
    let again = agent.launch(1, json!({"command": ["sh", "-c", "echo again"]}));
    agent.run(1000, json!({"command": "true"}));
    // Only a server with an older store asks again; it hears that there is nothing left to tell.
    let story = agent.story(again);
    assert!(matches!(&story[..], [Seen::Failed { cause, .. }] if cause.reason == LOST), "{story:?}");
    assert_eq!(agent.log(again), "");
}

#[test]
fn a_deep_directory_is_no_trouble_for_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a-long-name-of-a-directory/".repeat(8));
    let agent = Agent::at(dir, deep, &[]);
    agent.run(1, json!({"command": "true"}));
}

#[test]
fn an_agent_that_cannot_be_supervised_is_down_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, reports) = std::sync::mpsc::channel();
    let sink = Arc::new(move |report| drop(sender.send(report)));
    let name = AgentName::parse("here").unwrap();
    let target = LocalTarget::open(name, dir.path().join("a"), "/no/such/tidegate".into(), sink).unwrap();
    let Report::Down(_, why) = reports.recv_timeout(PATIENCE).unwrap() else { panic!("not down") };
    assert!(why.contains("/no/such/tidegate"), "{why}");
    target.close();
}

/// A local agent in a directory of its own, and what it has reported.
struct Agent {
    dir: PathBuf,
    target: Mutex<Option<Arc<LocalTarget>>>,
    heard: Mutex<Arc<Heard>>,
    /// A supervisor that was started by hand.
    by_hand: Option<Child>,
    _keep: TempDir,
}

#[derive(Default)]
struct Heard {
    reports: Mutex<Reports>,
    more: Condvar,
}

#[derive(Default)]
struct Reports {
    ups: u32,
    stories: BTreeMap<AttemptName, Vec<Observation>>,
    /// In the order of their ends.
    ended: Vec<AttemptName>,
}

impl Agent {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("agent");
        Self::at(dir, place, env)
    }

    fn at(keep: TempDir, dir: PathBuf, env: &[(&str, &str)]) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        let start = || {
            let mut command = Command::new(PROGRAM);
            command.args(["supervise", "--dir"]).arg(&dir).envs(env.iter().copied());
            command.env("TIDEGATE_SECRET", "not for operations").stdin(Stdio::null()).spawn().unwrap()
        };
        let by_hand = (!env.is_empty()).then(start);
        if by_hand.is_some() {
            until("the supervisor listens", || dir.join("supervisor.sock").exists());
        }
        let heard = Mutex::default();
        let agent = Self { dir, target: Mutex::new(None), heard, by_hand, _keep: keep };
        agent.connect();
        agent
    }

    fn dir(&self) -> &Path {
        &self.dir
    }

    fn target(&self) -> Arc<LocalTarget> {
        self.target.lock().unwrap().clone().expect("it is connected")
    }

    fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard.lock().unwrap())
    }

    fn connect(&self) {
        let heard = self.heard();
        let sink = move |report: Report| heard.hear(report);
        let name = AgentName::parse("here").unwrap();
        let target = LocalTarget::open(name, self.dir.clone(), PROGRAM.into(), Arc::new(sink)).unwrap();
        *self.target.lock().unwrap() = Some(Arc::new(target));
        self.heard().wait("the agent is up", |heard| (heard.ups > 0).then_some(()));
    }

    /// As if the server died: nothing is said, the connection is cut.
    fn disconnect(&self) {
        drop(self.target.lock().unwrap().take());
        // What an old connection still says is not heard.
        *self.heard.lock().unwrap() = Arc::default();
    }

    fn reconnect(&self) {
        self.disconnect();
        self.connect();
    }

    fn launch(&self, n: u128, container: Value) -> AttemptName {
        let launch = launch(n, container);
        let attempt = launch.attempt;
        self.target().deliver(vec![Effect::Launch(Box::new(launch))]);
        attempt
    }

    /// Launches and waits for the end.
    fn run(&self, n: u128, container: Value) -> AttemptName {
        let attempt = self.launch(n, container);
        self.wait_end(attempt);
        attempt
    }

    fn stop(&self, attempt: AttemptName, grace: u64) {
        self.target().deliver(vec![Effect::Stop { attempt, grace: Span(grace) }]);
    }

    fn story(&self, attempt: AttemptName) -> Vec<Seen> {
        let heard = self.heard();
        let heard = heard.reports.lock().unwrap();
        heard.stories.get(&attempt).into_iter().flatten().map(|observation| observation.seen.clone()).collect()
    }

    fn wait_end(&self, attempt: AttemptName) -> Vec<Seen> {
        self.heard().wait(&format!("{attempt} ends"), |heard| {
            let story = heard.stories.get(&attempt)?;
            story.iter().any(|observation| is_end(&observation.seen)).then_some(())
        });
        self.story(attempt)
    }

    fn failure(&self, attempt: AttemptName) -> Cause {
        let story = self.wait_end(attempt);
        let Some(Seen::Failed { cause, .. }) = story.last() else { panic!("{attempt} did not fail: {story:?}") };
        cause.clone()
    }

    fn log(&self, attempt: AttemptName) -> String {
        let chunk = read_log(&LocalTarget::worked_in(&self.dir, attempt).with_extension("log"), 0, 1 << 20).unwrap();
        String::from_utf8(chunk.bytes).unwrap()
    }

    fn wait_log(&self, attempt: AttemptName, text: &str) {
        until("the log says it", || self.log(attempt).contains(text));
    }

    /// The process id of the supervisor: the one that was told this directory.
    fn supervisor(&self) -> u32 {
        let wanted = format!("supervise\0--dir\0{}\0", self.dir.display());
        let mut found = None;
        until("there is one supervisor", || {
            let pids = fs::read_dir("/proc").unwrap().flatten();
            let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
            let of = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mine: Vec<u32> = pids.filter(|pid| of(pid).ends_with(wanted.as_bytes())).collect();
            found = mine.first().copied();
            mine.len() == 1
        });
        found.unwrap()
    }
}

impl Drop for Agent {
    /// Supervisor and operations notice that their directory is gone.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
        if let Some(child) = &mut self.by_hand {
            let _ = child.wait();
        }
    }
}

impl Heard {
    fn hear(&self, report: Report) {
        let mut heard = self.reports.lock().unwrap();
        match report {
            Report::Up(_) => heard.ups += 1,
            Report::Down(..) | Report::Known(..) | Report::Cleared(_) => {}
            Report::Seen(_, seen) => {
                for observation in seen {
                    if is_end(&observation.seen) {
                        heard.ended.push(observation.attempt);
                    }
                    let story = heard.stories.entry(observation.attempt).or_default();
                    // Told again: the same words, or it would not be the same end.
                    if !story.contains(&observation) {
                        story.push(observation);
                    }
                }
            }
        }
        self.more.notify_all();
    }

    fn wait<T>(&self, what: &str, check: impl Fn(&Reports) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.reports.lock().unwrap();
        loop {
            if let Some(found) = check(&heard) {
                return found;
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("waited too long until {what}; heard {:?}", heard.stories));
            heard = self.more.wait_timeout(heard, left).unwrap().0;
        }
    }
}

fn is_end(seen: &Seen) -> bool {
    matches!(seen, Seen::Succeeded { .. } | Seen::Failed { .. } | Seen::Stopped(_))
}

fn name(n: u128) -> AttemptName {
    AttemptName { run: RunId(uuid::Uuid::from_u128(n)), attempt: Attempt(1) }
}

fn launch(n: u128, container: Value) -> Launch {
    Launch {
        attempt: name(n),
        epoch: Epoch(1),
        project: ProjectName::parse("vision").unwrap(),
        run_name: format!("run-{n}"),
        run: serde_json::from_value(json!({"kind": "job", "container": container})).unwrap(),
        env: Vec::new(),
        sections: Default::default(),
        context: Default::default(),
        timeout: None,
        ttl: None,
    }
}

fn until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs; a zombie does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn kill(pid: u32, signal: &str) {
    Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
}
