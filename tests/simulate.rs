//! `tidegate simulate`: workloads that others publish times for, and small ones whose times are known by hand.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate::control::{ControlPlane, POLL_INTERVAL, Settings, SourceSetting};
use tidegate::domain::compile::read_workload;
use tidegate::domain::simulate::{SimulationResult, simulate};
use tidegate::domain::spec::FirstSync;
use tidegate::server::{self, access::Access};

fn tidegate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(args).output().unwrap()
}

fn shipped(name: &str, write_budget: Option<f64>) -> SimulationResult {
    let path = format!("{}/benches/workloads/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let (workload, problems) = read_workload(&path, &std::fs::read(&path).unwrap());
    assert_eq!(problems.iter().count(), 0, "{problems:?}");
    let mut workload = workload.unwrap();
    workload.write_budget = write_budget;
    let result = simulate(&workload);
    println!(
        "{name} {write_budget:?}: {:.3} s, {:?}, {:#?}",
        result.makespan_seconds, result.utilization, result.classes
    );
    result
}

fn play(text: &str) -> SimulationResult {
    let (workload, problems) = read_workload("w.yaml", text.as_bytes());
    simulate(&workload.unwrap_or_else(|| panic!("{problems:?}")))
}

fn mean(result: &SimulationResult, class: &str) -> f64 {
    result.classes.iter().find(|found| found.name == class).unwrap().mean_wait_seconds
}

#[test]
fn the_baseline_of_kueue_takes_little_more_than_its_lower_bound() {
    let result = shipped("kueue-baseline", None);
    assert_eq!((result.count, result.left), (15_000, 0));
    assert!(result.makespan_seconds <= 67.3, "{}", result.makespan_seconds);
    assert!(result.makespan_seconds >= 66.0, "faster than the work divided by the capacity");
    assert!(result.utilization.unwrap() > 0.97);
}

#[test]
fn the_large_workload_of_kueue_takes_little_more_than_its_lower_bound() {
    let result = shipped("kueue-large-scale", None);
    assert_eq!((result.count, result.left), (50_000, 0));
    assert!(result.makespan_seconds <= 4.7, "{}", result.makespan_seconds);
    assert!(result.makespan_seconds >= 4.0, "faster than the work divided by the capacity");
}

#[test]
fn with_the_write_budget_of_kueue_order_alone_serves_the_top_classes() {
    let result = shipped("kueue-baseline", Some(42.5));
    assert_eq!(result.count, 15_000);
    assert!(mean(&result, "large") <= 0.4, "{}", mean(&result, "large"));
    assert!(mean(&result, "medium") <= 40.0, "{}", mean(&result, "medium"));
    assert!(result.makespan_seconds >= (15_000.0 - 100.0) / 42.5, "faster than its budget");
}

const HEAD: &str = "version: 1.1\nkind: workload\nname: w\n";

#[test]
fn a_small_workload_is_as_worked_out_by_hand() {
    // Two slots; four operations of 10 s at once, and one of the highest level at 5 s.
    let result = play(&format!(
        "{HEAD}agents: [{{name: a, concurrency: 2, capacity: {{cpu: 4}}, queues: [{{name: q, priority: 1}}, {{name: top}}]}}]
classes:
  - {{name: many, queue: a/q, count: 4, duration: 10s, request: {{cpu: 1}}}}
  - {{name: urgent, queue: a/top, count: 1, interval: 5s, duration: 10s, request: {{cpu: 2}}}}
"
    ));
    assert_eq!(result.makespan_seconds, 30.0, "0-10, 0-10, urgent 10-20, 10-20, 20-30");
    assert_eq!((mean(&result, "urgent"), mean(&result, "many")), (5.0, (10.0 + 20.0) / 4.0));
    let work = 4.0 * 10.0 + 2.0 * 10.0;
    assert_eq!(result.utilization, Some(work / (4.0 * 30.0)));
    assert_eq!(result.curve.last().unwrap().waiting, 0);
    let drawn: f64 = result.curve.iter().map(|point| point.used).sum::<f64>() / result.curve.len() as f64;
    assert!((drawn - result.utilization.unwrap()).abs() < 1e-6, "the curve has the same area");
}

#[test]
fn a_write_budget_spaces_the_starts() {
    let text = "agents: [{name: a, queues: [{name: q}]}]\nclasses: [{name: c, queue: a/q, count: 5, duration: 1s}]\n";
    let result = play(&format!("{HEAD}writeBudget: 2\n{text}"));
    assert_eq!((result.makespan_seconds, mean(&result, "c")), (3.0, 1.0), "at 0, 0.5, 1, 1.5 and 2 s");
    let result = play(&format!("{HEAD}writeBudget: 2\nwriteBurst: 5\n{text}"));
    assert_eq!((result.makespan_seconds, mean(&result, "c")), (1.0, 0.0));
}

#[test]
fn what_never_starts_is_counted() {
    let result = play(&format!(
        "{HEAD}agents: [{{name: a, capacity: {{cpu: 1}}, queues: [{{name: q}}, {{name: held, concurrency: 0}}]}}]
classes:
  - {{name: wide, queue: a/q, count: 3, duration: 1s, request: {{cpu: 2}}}}
  - {{name: held, queue: a/held, count: 2, duration: 1s}}
"
    ));
    assert_eq!((result.count, result.left, result.makespan_seconds), (0, 5, 0.0));
}

#[test]
fn the_verb_writes_a_table_json_and_a_drawing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.yaml");
    let text = "agents: [{name: a, capacity: {cpu: 1}, queues: [{name: q}]}]\nclasses: [{name: c, queue: a/q, count: 3, duration: 2s, request: {cpu: 1}}]\n";
    std::fs::write(&file, format!("{HEAD}{text}")).unwrap();
    let (file, svg) = (file.to_str().unwrap().to_owned(), dir.path().join("w.svg"));
    let said = tidegate(&["simulate", &file, "-o", "json", "--svg", svg.to_str().unwrap()]);
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(json["makespanSeconds"], 6.0);
    assert_eq!(json["utilization"], 1.0);
    assert_eq!(json["classes"][0]["count"], 3);
    assert_eq!(json["classes"][0]["meanWaitSeconds"], 2.0);
    assert_eq!(json["classes"][0]["p99WaitSeconds"], 2.0);
    let drawing = std::fs::read_to_string(&svg).unwrap();
    assert!(drawing.starts_with("<svg") && drawing.contains("3 operations in 6.0 s"), "{drawing}");
    let table = String::from_utf8(tidegate(&["simulate", &file]).stdout).unwrap();
    assert!(table.contains("3 operations in 6.000s, cpu 100.0%"), "{table}");
    assert_eq!(tidegate(&["simulate", &file]).stdout, tidegate(&["simulate", &file]).stdout);
    assert!(!Path::new(&dir.path().join("nothing.svg")).exists());
}

#[test]
fn what_is_wrong_with_a_workload_is_said_at_its_place() {
    let text = format!(
        "{HEAD}agents: [{{name: a, queues: [{{name: gpu}}]}}]
classes:
  - {{name: c, queue: a/gpo, count: 3, duration: 2s}}
  - {{name: c, queue: a/gpu, count: 3, duration: 2s, requests: {{}}}}
"
    );
    let (workload, problems) = read_workload("w.yaml", text.as_bytes());
    assert!(workload.is_none());
    let said: Vec<String> = problems.iter().map(|p| format!("{}: {} ({})", p.place, p.message, p.help)).collect();
    assert_eq!(said, ["w.yaml:7:53: unknown field `requests` (did you mean `request`?)"]);
    let text = text.replace(", requests: {}", "");
    let (_, problems) = read_workload("w.yaml", text.as_bytes());
    let said: Vec<String> = problems.iter().map(|p| format!("{}: {} ({})", p.place, p.message, p.help)).collect();
    assert_eq!(
        said,
        ["w.yaml:6:22: there is no queue a/gpo (did you mean `a/gpu`?)", "w.yaml:7:12: class c is there twice ()"]
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.yaml");
    std::fs::write(&file, &text).unwrap();
    let said = tidegate(&["simulate", file.to_str().unwrap()]);
    assert_eq!(said.status.code(), Some(3));
    assert!(String::from_utf8(said.stdout).unwrap().contains("there is no queue a/gpo"));
    for empty in ["", "[]", "a: b: c"] {
        let (workload, problems) = read_workload("w.yaml", empty.as_bytes());
        assert!(workload.is_none() && problems.errors() > 0, "{empty:?}");
    }
}

fn git(dir: &Path, args: &[&str]) {
    let mut git = Command::new("git");
    git.current_dir(dir).args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]);
    assert!(git.args(args).output().unwrap().status.success(), "git {args:?}");
}

fn queue(name: &str, more: &str) -> String {
    format!("version: 1.1\nkind: queue\nname: {name}\nagent: here\n{more}")
}

/// A server that follows the folder `followed`, a repository `work` that says the same, and three runs that wait in
/// `here/late` and two in `here/shut`: nothing runs, so that times are whole.
struct Waiting {
    dir: tempfile::TempDir,
    url: String,
    control: ControlPlane,
    _runtime: tokio::runtime::Runtime,
}

impl Waiting {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("tidegate.yaml", "version: 1.1\nkind: organization\nname: acme\n"),
            ("agents/here.yaml", "version: 1.1\nkind: agent\nname: here\nlocal: {}\n"),
            ("queues/here/late.yaml", &queue("late", "hold: true\n")),
            ("queues/here/shut.yaml", &queue("shut", "hold: true\n")),
            ("projects/p/project.yaml", "version: 1.1\nkind: project\nname: p\n"),
        ] {
            for folder in ["followed", "work"] {
                let file = dir.path().join(folder).join(path);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
        }
        let work = dir.path().join("work");
        git(&work, &["init", "-q", "-b", "main"]);
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", "first"]);
        let control = ControlPlane::start(Settings {
            source: SourceSetting::Worktree(dir.path().join("followed")),
            data_dir: dir.path().join("data"),
            program: env!("CARGO_BIN_EXE_tidegate").into(),
            first_sync: Some(FirstSync::Adopt),
            poll: POLL_INTERVAL,
        });
        let control = control.unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let access = Access::default();
        let listener = runtime.block_on(server::listen("127.0.0.1:0".parse().unwrap(), &access)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(server::serve(listener, control.clone(), access, std::future::pending()));
        let begun = Instant::now();
        while control.catalog().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the first sync");
            std::thread::sleep(Duration::from_millis(5));
        }
        let site = Self { dir, url, control, _runtime: runtime };
        let file = site.dir.path().join("nap.yaml");
        let nap = "version: 1.1\nkind: operation\ncomponent:\n  run: {kind: job, container: {command: [sleep, '1']}}\n";
        std::fs::write(&file, nap).unwrap();
        for queue in ["here/late", "here/late", "here/late", "here/shut", "here/shut"] {
            let said = site.ask(&["run", file.to_str().unwrap(), "--project", "p", "--queue", queue]);
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
        site
    }

    fn work(&self) -> std::path::PathBuf {
        self.dir.path().join("work")
    }

    /// A branch on which `here/late` is something else.
    fn branch(&self, name: &str, late: &str) {
        git(&self.work(), &["switch", "-q", "-c", name]);
        std::fs::write(self.work().join("queues/here/late.yaml"), queue("late", late)).unwrap();
        git(&self.work(), &["commit", "-q", "-a", "-m", name]);
        git(&self.work(), &["switch", "-q", "main"]);
    }

    fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(args).current_dir(self.work()).env("TIDEGATE_SERVER", &self.url).env("COLUMNS", "120");
        command.env_remove("TIDEGATE_TOKEN").output().unwrap()
    }

    /// What is said to people on both streams, and the exit code.
    fn said(&self, args: &[&str]) -> String {
        let said = self.ask(args);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        format!(
            "$ tidegate {}\n{}{}exit code {}\n\n",
            args.join(" "),
            text(&said.stdout),
            text(&said.stderr),
            said.status.code().unwrap()
        )
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.control.stop();
    }
}

#[test]
fn another_policy_is_tried_on_what_waits() {
    let site = Waiting::new();
    site.branch("open", "concurrency: 1\n");
    site.branch("unsound", "priority: many\n");
    let mut all = site.said(&["simulate", "--repo", ".", "--head", "open"]);
    all += &site.said(&["simulate", "--head", "open", "-o", "json"]);
    all += &site.said(&["simulate", "--head", "open", "-o", "name"]);
    all += &site.said(&["simulate", "--repo", "."]);
    all += &site.said(&["simulate", "--head", "nowhere"]);
    all += &site.said(&["simulate", "--repo", "nowhere"]);
    all += &site.said(&["simulate", "--head", "unsound"]);
    all += &site.said(&["simulate", "--head", "open", "--server", "http://127.0.0.1:9"]);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"worktree-[0-9a-f]{12}", "worktree-DIGEST");
    settings.bind(|| insta::assert_snapshot!(all));
    let waiting: Value =
        serde_json::from_slice(&site.ask(&["queues", "get", "here/late", "-o", "json"]).stdout).unwrap();
    assert_eq!(waiting["queued"], 3, "nothing was changed: {waiting}");
}
