//! The API over real HTTP on loopback, in front of a real control plane that follows a folder.
#![allow(clippy::unwrap_used)] // a test that cannot unwrap has failed

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::control::{ControlPlane, POLL_INTERVAL, Settings, SourceSetting};
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::spec::FirstSync;
use tidegate::server::access::Access;
use tidegate::server::{self, MAX_BODY, ServerError};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Site {
    dir: tempfile::TempDir,
    address: SocketAddr,
    control: ControlPlane,
    /// Serves for as long as it lives.
    _runtime: tokio::runtime::Runtime,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Site {
    fn start() -> Self {
        Self::with(Access::default())
    }

    fn with(access: Access) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let specs = dir.path().join("specs");
        for (path, text) in [
            ("tidegate.yaml", "version: 1.1\nkind: organization\nname: acme\n"),
            ("agents/here.yaml", "version: 1.1\nkind: agent\nname: here\nlocal: {}\n"),
            (
                "queues/here/gpu.yaml",
                "version: 1.1\nkind: queue\nname: gpu\nagent: here\npriority: 10\nconcurrency: 8\n",
            ),
            ("queues/here/held.yaml", "version: 1.1\nkind: queue\nname: held\nagent: here\nhold: true\n"),
            ("projects/p/project.yaml", "version: 1.1\nkind: project\nname: p\n"),
            ("projects/p/workflows/echo.yaml", &workflow("echo", "gpu", "echo hello; echo there")),
            ("projects/p/workflows/wait.yaml", &workflow("wait", "held", "true")),
            ("projects/p/workflows/sleep.yaml", &workflow("sleep", "gpu", "echo on; sleep 600")),
        ] {
            write(&specs, path, text);
        }
        let control = ControlPlane::start(Settings {
            source: SourceSetting::Worktree(specs),
            data_dir: dir.path().join("data"),
            program: env!("CARGO_BIN_EXE_tidegate").into(),
            first_sync: Some(FirstSync::Adopt),
            poll: POLL_INTERVAL,
        })
        .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(server::listen("127.0.0.1:0".parse().unwrap(), &access)).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(server::serve(listener, control.clone(), access, std::future::pending()));
        let site = Self { dir, address, control, _runtime: runtime };
        site.until("the first sync", |site| site.control.catalog().is_some());
        site
    }

    /// One request with exactly these headers beside the length of the body.
    fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses early closes early.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
        Answer { status, head: head.to_owned(), body }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let host = self.address.to_string();
        let headers = [("host", host.as_str()), ("content-type", "application/json"), ("tidegate-actor", "ada")];
        self.raw(method, path, &headers, &if body.is_null() { String::new() } else { body.to_string() })
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", &format!("/api/v1{path}"), &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", &format!("/api/v1{path}"), &body)
    }

    fn start_run(&self, workflow: &str) -> String {
        let answer = self.post("/runs", json!({"workflow": format!("p/{workflow}")}));
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()["uuid"].as_str().unwrap().to_owned()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come about: {:?}", self.control.sync_status());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn until_status(&self, run: &str, status: &str) {
        self.until(status, |site| site.get(&format!("/runs/{run}"))["status"] == status);
    }
}

impl Drop for Site {
    /// What still runs ends with its site, and its supervisor with it.
    fn drop(&mut self) {
        let engine = self.control.engine();
        let runs: Vec<_> = engine.read(|state| state.runs().map(|run| run.id).collect());
        for run in runs {
            let _ = engine.ask_blocking(Command::Stop { run, by: "test".into() }, Vec::new());
        }
        let begun = Instant::now();
        while engine.read(|state| state.runs().next().is_some()) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.control.stop();
    }
}

fn workflow(name: &str, queue: &str, script: &str) -> String {
    format!(
        "version: 1.1\nkind: workflow\nname: {name}\nqueue: here/{queue}\ntriggers:\n  - push: {{}}\noperation:\n  component:\n    \
         inputs:\n      - {{name: n, type: int, value: 1, isOptional: true}}\n    run:\n      kind: job\n      container:\n        \
         image: busybox\n        command: [sh, -c, \"{script}\"]\n"
    )
}

fn write(dir: &Path, path: &str, text: &str) {
    let path: PathBuf = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

#[test]
fn runs_are_started_listed_and_filtered() {
    let site = Site::start();
    assert_eq!(site.get("/runs"), json!([]), "the first sync starts nothing");
    let first = site.start_run("echo");
    site.until_status(&first, "succeeded");
    let waiting = site.start_run("wait");

    let run = site.get(&format!("/runs/{}", &first[..28]));
    for key in [
        "uuid",
        "project",
        "workflow",
        "name",
        "commit",
        "queue",
        "agent",
        "status",
        "createdAt",
        "startedAt",
        "finishedAt",
    ] {
        assert!(run[key].is_string(), "{key}: {run}");
    }
    assert_eq!(run["queue"], "here/gpu");
    assert_eq!(run["origin"], json!({"by": "request", "user": "ada"}));
    assert_eq!(run["exitCode"], 0);

    let ids = |query: &str| -> Vec<String> {
        let runs = site.get(&format!("/runs{query}"));
        runs.as_array().unwrap().iter().map(|run| run["uuid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(""), [waiting.clone(), first.clone()], "the newest first");
    assert_eq!(ids("?status=queued"), [waiting.as_str()]);
    assert_eq!(ids("?status=queued&status=succeeded").len(), 2);
    assert_eq!(ids("?queue=here/gpu"), [first.as_str()]);
    assert_eq!(ids("?project=p&workflow=wait"), [waiting.as_str()]);
    assert!(ids("?agent=elsewhere").is_empty());
    assert_eq!(ids("?limit=1"), [waiting.as_str()]);
    assert_eq!(ids(&format!("?before={waiting}")), [first.as_str()]);
    for bad in ["?stauts=queued", "?status=quued", "?limit=0", "?before=zz"] {
        let answer = site.send("GET", &format!("/api/v1/runs{bad}"), &Value::Null);
        assert!(matches!(answer.status, 400 | 404), "{bad}: {}", answer.body);
        assert!(answer.json()["error"]["message"].is_string());
    }
    let missing = site.send("GET", "/api/v1/runs/ffffffff", &Value::Null);
    assert_eq!((missing.status, missing.json()["error"]["code"].clone()), (404, json!("notFound")));

    let timeline = site.get(&format!("/runs/{first}/conditions"));
    let statuses: Vec<_> = timeline.as_array().unwrap().iter().filter_map(|step| step["status"].as_str()).collect();
    assert!(
        statuses.starts_with(&["compiled", "queued", "scheduled"]) && statuses.ends_with(&["succeeded"]),
        "{statuses:?}"
    );
}

#[test]
fn asking_twice_with_one_id_makes_one_run() {
    let site = Site::start();
    let body = json!({"workflow": "p/wait", "uuid": "0190a0a0-0000-7000-8000-000000000001"});
    let (one, two) = (site.post("/runs", body.clone()), site.post("/runs", body));
    assert_eq!((one.status, two.status), (201, 201));
    assert_eq!(one.json()["uuid"], two.json()["uuid"]);
    assert_eq!(site.get("/runs").as_array().unwrap().len(), 1);
}

#[test]
fn what_is_sent_is_checked() {
    let site = Site::start();
    for (body, status) in [
        (json!({}), 400),
        (json!({"workflow": "p/echo", "file": {"path": "a.yaml", "text": ""}}), 400),
        (json!({"workflow": "echo"}), 400),
        (json!({"workflow": "p/none"}), 404),
        (json!({"workflow": "p/echo", "surprise": 1}), 400),
        (json!({"workflow": "p/echo", "uuid": "x"}), 400),
        (json!({"workflow": "p/echo", "params": {"n": "many"}}), 422),
        (json!({"workflow": "p/echo", "queue": "here/none"}), 422),
    ] {
        let answer = site.post("/runs", body.clone());
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    let answer = site.post("/runs", json!({"workflow": "p/echo", "params": {"n": "many"}}));
    assert!(answer.json()["error"]["diagnostics"][0]["code"].as_str().unwrap().starts_with("TG"), "{}", answer.body);
    assert_eq!(site.get("/runs"), json!([]), "nothing was started");
    assert_eq!(site.send("GET", "/nowhere", &Value::Null).status, 404);
    assert_eq!(site.send("PUT", "/api/v1/runs", &Value::Null).status, 405);
}

#[test]
fn a_waiting_run_is_explained_stopped_and_deleted() {
    let site = Site::start();
    let run = site.start_run("wait");
    site.until_status(&run, "queued");
    let why = site.get(&format!("/runs/{run}/explain"));
    assert_eq!(why["blocker"]["blocker"], "queueHeld", "{why}");
    assert!(why["sentence"].as_str().unwrap().contains("here/held is held"), "{why}");
    // In a held queue nothing starts, and without a past there is nothing to go by.
    assert_eq!(why["forecast"], Value::Null, "{why}");
    let done = site.start_run("echo");
    site.until_status(&done, "succeeded");
    let forecast = &site.get(&format!("/runs/{run}/explain"))["forecast"];
    assert_eq!((&forecast["p50Seconds"], &forecast["samples"]), (&Value::Null, &json!(1)), "{forecast}");
    let line = site.get("/queues/here/held/line");
    assert_eq!((line[0]["uuid"].as_str(), line[0]["position"].as_u64()), (Some(run.as_str()), Some(1)));

    let path = format!("/api/v1/runs/{run}");
    assert_eq!(site.send("DELETE", &path, &Value::Null).status, 409, "it has not ended");
    assert_eq!(site.post(&format!("/runs/{run}/approve"), json!({})).status, 409);
    assert_eq!(
        site.post(&format!("/runs/{run}/resume"), json!({})).json(),
        json!({"changed": false}),
        "it has not ended"
    );
    assert_eq!(site.post(&format!("/runs/{run}/stop"), json!({})).json(), json!({"changed": true}));
    site.until_status(&run, "stopped");
    assert!(site.get(&path["/api/v1".len()..])["message"].as_str().unwrap().contains("ada"));
    assert_eq!(site.send("DELETE", &path, &Value::Null).status, 200);
    assert_eq!(site.send("GET", &path, &Value::Null).status, 404);
}

#[test]
fn logs_are_read_in_pieces_and_followed() {
    let site = Site::start();
    let run = site.start_run("echo");
    site.until_status(&run, "succeeded");
    let piece = |query: &str| site.send("GET", &format!("/api/v1/runs/{run}/logs{query}"), &Value::Null);
    let whole = piece("");
    assert_eq!(whole.body, "hello\nthere\n");
    assert!(whole.head.contains("tidegate-log-next: 12"), "{}", whole.head);
    assert!(whole.head.contains("content-type: text/plain"), "{}", whole.head);
    assert_eq!(piece("?from=6&max=3").body, "the");
    assert!(piece("?from=12").head.contains("tidegate-log-end: true"));

    let followed = site.send("GET", &format!("/api/v1/runs/{run}/logs/follow"), &Value::Null);
    assert!(followed.body.contains(r#""text":"hello\nthere\n""#), "{}", followed.body);
    assert!(followed.body.contains("event: end\ndata: \"succeeded\""), "{}", followed.body);

    let again = site.post(&format!("/runs/{run}/restart"), json!({"name": "once-more"}));
    assert_eq!(again.status, 201, "{}", again.body);
    assert_eq!(again.json()["origin"]["of"], Value::String(uuid::Uuid::parse_str(&run).unwrap().to_string()));
    site.until_status(again.json()["uuid"].as_str().unwrap(), "succeeded");
}

#[test]
fn a_running_run_is_stopped_and_its_changes_are_seen() {
    let site = Site::start();
    let run = site.start_run("sleep");
    site.until_status(&run, "running");
    assert_eq!(site.post(&format!("/runs/{run}/stop"), json!({})).status, 200);
    site.until_status(&run, "stopped");
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /api/v1/events?after=0&run={run} HTTP/1.1\r\nhost: {}\r\n\r\n", site.address).unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    while !seen.contains("\"stopped\"") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(seen.contains("content-type: text/event-stream") && seen.contains("\"running\""), "{seen}");
}

#[test]
fn a_queue_is_changed_until_the_next_commit() {
    let site = Site::start();
    let patch = |body: Value| site.send("PATCH", "/api/v1/queues/here/gpu", &body);
    let changed = patch(json!({"concurrency": 2, "hold": true}));
    assert_eq!(changed.status, 200, "{}", changed.body);
    let queue = site.get("/queues/here/gpu");
    assert_eq!((queue["concurrency"].as_i64(), queue["hold"].as_bool()), (Some(2), Some(true)), "{queue}");
    assert_eq!(queue["declared"]["concurrency"], 8, "{queue}");
    assert_eq!(queue["changedBy"], "ada");
    assert_eq!(queue["priority"], 10, "what is not named stays");
    for bad in [json!({}), json!({"concurrency": -2}), json!({"colour": "red"}), json!({"hold": "yes"})] {
        assert_eq!(patch(bad.clone()).status, 400, "{bad}");
    }
    assert_eq!(site.send("PATCH", "/api/v1/queues/here/none", &json!({"hold": true})).status, 404);
    let names: Vec<_> =
        site.get("/queues").as_array().unwrap().iter().map(|q| q["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["here/default", "here/gpu", "here/held"]);
    assert_eq!(site.get("/agents")[0]["target"], "local");
    assert_eq!(site.get("/projects")[0]["workflows"], json!(["echo", "sleep", "wait"]));
    assert_eq!(site.get("/workflows/p/echo")["place"], "projects/p/workflows/echo.yaml:1:1");
}

#[test]
fn a_plan_is_made_against_what_is_applied() {
    let site = Site::start();
    let files = tidegate::source::read_worktree(&site.dir.path().join("specs")).unwrap();
    let formats = vec!["text".to_owned(), "json".to_owned()];
    let body = server::views::PlanBody::of(&files, formats, 100, false);
    let same = site.post("/plan", serde_json::to_value(&body).unwrap());
    assert_eq!((same.status, same.json()["exitCode"].clone()), (200, json!(0)), "{}", same.body);

    let with = |old: &str, new: &str| {
        let mut body = body.clone();
        let queue = body.files.iter_mut().find(|file| file.path == "queues/here/gpu.yaml").unwrap();
        let server::views::WireContent::Text(text) = &mut queue.content else { panic!("a queue file is text") };
        *text = text.replace(old, new);
        site.post("/plan", serde_json::to_value(&body).unwrap()).json()
    };
    let lowered = with("concurrency: 8", "concurrency: 2");
    assert_eq!(lowered["exitCode"], 2, "{lowered}");
    assert!(lowered["outputs"]["text"].as_str().unwrap().contains("here/gpu"), "{lowered}");
    let wrong = with("concurrency", "concurency");
    assert_eq!((wrong["exitCode"].clone(), wrong["digest"].clone()), (json!(3), Value::Null), "{wrong}");
    let errors = wrong["diagnostics"].as_array().unwrap().iter().filter(|found| found["severity"] == "error");
    assert_eq!(errors.map(|error| &error["file"]).collect::<Vec<_>>(), ["queues/here/gpu.yaml"], "{wrong}");
}

#[test]
fn the_git_side_is_shown_and_paused() {
    let site = Site::start();
    let status = site.get("/sync");
    assert_eq!((status["errors"].as_u64(), status["paused"].as_bool()), (Some(0), Some(false)), "{status}");
    assert!(status["applied"].is_string(), "{status}");
    let history = site.get("/sync/history");
    assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
    assert_eq!(site.post("/sync/pause", json!({})).json()["paused"], true);
    assert_eq!(site.post("/sync/resume", json!({})).json()["paused"], false);
    assert!(matches!(site.post("/sync/approve", json!({"plan": "0".repeat(64)})).status, 404 | 409));
    assert_eq!(site.send("GET", "/readyz", &Value::Null).status, 200);
    let metrics = site.send("GET", "/metrics", &Value::Null).body;
    assert!(metrics.contains("tidegate_queue_concurrency{queue=\"here/gpu\"} 8"), "{metrics}");
}

#[test]
fn other_names_other_origins_and_large_bodies_are_refused() {
    let site = Site::start();
    let status =
        |method: &str, headers: &[(&str, &str)], body: &str| site.raw(method, "/api/v1/runs", headers, body).status;
    assert_eq!(status("GET", &[("host", "localhost:1")], ""), 200);
    assert_eq!(status("GET", &[("host", "evil.example")], ""), 403);
    assert_eq!(site.raw("GET", "/healthz", &[("host", "10.0.0.1")], "").status, 200);
    let json = ("content-type", "application/json");
    let body = r#"{"workflow": "p/wait"}"#;
    assert_eq!(status("POST", &[("host", "localhost"), json, ("origin", "http://evil.example")], body), 403);
    // A page can send forms to other sites, but no JSON without asking first.
    assert_eq!(status("POST", &[("host", "localhost"), ("content-type", "text/plain")], body), 400);
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(MAX_BODY));
    assert_eq!(status("POST", &[("host", "localhost"), json], &large), 413);
    assert_eq!(site.get("/runs"), json!([]), "nothing was started");
}

#[test]
fn tokens_guard_and_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, "# who may\ngrace 0123456789abcdef0123\n").unwrap();
    let site = Site::with(Access::read(&path).unwrap());
    let with = |token: &str| {
        let headers = [
            ("host", "tide.example"),
            ("content-type", "application/json"),
            ("authorization", token),
            ("tidegate-actor", "mallory"),
        ];
        site.raw("POST", "/api/v1/runs", &headers, r#"{"workflow": "p/wait"}"#)
    };
    assert_eq!(with("Bearer wrong").status, 401);
    let started = with("Bearer 0123456789abcdef0123");
    assert_eq!(started.status, 201, "{}", started.body);
    assert_eq!(started.json()["origin"]["user"], "grace");
    assert_eq!(site.raw("GET", "/metrics", &[("host", "tide.example")], "").status, 401);
}

#[test]
fn other_addresses_need_tokens() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = runtime.block_on(server::listen(everywhere, &Access::default()));
    assert!(matches!(refused, Err(ServerError::Open(_))), "{refused:?}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, "ci 0123456789abcdef\n").unwrap();
    assert!(runtime.block_on(server::listen(everywhere, &Access::read(&path).unwrap())).is_ok());
    for bad in ["", "ci short\n", "one\n"] {
        std::fs::write(&path, bad).unwrap();
        assert!(Access::read(&path).is_err(), "{bad:?}");
    }
}
