//! Two servers on one agent: the one with the newer term acts, and nothing that the other still wants takes effect.

use std::process::Command as Process;
use std::time::{Duration, Instant};

use tidegate::control::{ControlPlane, POLL_INTERVAL, Settings, SourceSetting};
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::AgentName;
use tidegate::source::{Ref, RepoUrl, SourceSpec};

use crate::faults::jobs_made;
use crate::injector::{Injector, Weather};
use crate::network::through;
use crate::outcomes::{newest, stop_all};
use crate::site::{Server, Site};
use crate::stand::{Fate, site};
use crate::world::{PATIENCE, clusters};

/// A server on a copy of the data directory, as of a machine that was restored from a backup.
fn start_copy(site: &Site, copy: &std::path::Path) -> Server {
    let done = Process::new("cp").arg("-a").arg(site.path().join("data")).arg(copy).status().unwrap();
    assert!(done.success());
    let url = RepoUrl::parse(site.bare().to_str().unwrap()).unwrap();
    let source = SourceSpec { url, reference: Ref::parse("main").unwrap() };
    let settings = Settings {
        source: SourceSetting::Repository(source),
        data_dir: copy.join("data"),
        program: env!("CARGO_BIN_EXE_tidegate").into(),
        first_sync: None,
        poll: POLL_INTERVAL,
    };
    Server(ControlPlane::start(settings).unwrap())
}

#[test]
fn what_an_old_server_still_wants_does_not_take_effect() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("fenced");
    let site = site(world, &namespace);
    let injector = Injector::new(world, "a", site.path());
    let kubeconfig = site.path().join("way.yaml");
    std::fs::copy(&injector.kubeconfig, &kubeconfig).unwrap();
    site.write("agents/a.yaml", &through(world, &namespace, &kubeconfig));
    site.push("empty");
    let old = site.start();
    old.until_up("a");
    site.write("projects/p/workflows/stays.yaml", &Fate::new("hang").workflow("stays", "a/q"));
    site.push("stays");
    let stays = old.until_status("stays", Status::Running);
    // The old server has decided to start a run, and cannot say so.
    injector.weather(Weather::NoJobs);
    site.write("projects/p/workflows/late.yaml", &Fate::new("succeed").workflow("late", "a/q"));
    site.push("late");
    old.until("its trouble is known", |server| {
        server.run_of("late").is_some() && newest(server, "late").reason == "ApiError"
    });
    let late = old.run_of("late").unwrap();
    // Another one takes over, on the straight way, and does what was decided.
    std::fs::copy(&world.kubeconfig, &kubeconfig).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let new = start_copy(&site, copy.path());
    new.until_up("a");
    new.until_status("late", Status::Succeeded);
    let job = |id| format!("tidegate-{id}-1");
    let there = |name: &str| world.list("a", "jobs", &namespace).iter().any(|job| job["metadata"]["name"] == name);
    let begun = Instant::now();
    while there(&job(late.id)) {
        assert!(begun.elapsed() < PATIENCE, "the object of the ended run stays");
        std::thread::sleep(Duration::from_millis(200));
    }
    // Now nothing stands in the way of the old one, and its name is free.
    injector.weather(Weather::Fair);
    let _ = old.0.engine().ask_blocking(Command::Stop { run: stays.id, by: "ada".into() }, Vec::new());
    site.write("projects/p/workflows/own.yaml", &Fate::new("succeed").workflow("own", "a/q"));
    site.push("own");
    let own = new.until_status("own", Status::Succeeded);
    // Longer than the longest wait before a request is sent again.
    std::thread::sleep(Duration::from_secs(35));
    let why = old.0.agent_trouble(&AgentName::parse("a").unwrap()).unwrap_or_default();
    assert!(why.contains("another server holds it with term") && why.contains("delete its Lease"), "{why}");
    assert!(!old.is_up("a"));
    let made = jobs_made(world, "a", &namespace);
    assert!(made.values().all(|count| *count == 1), "{made:?}");
    assert_eq!(made.len(), 3, "{made:?}");
    assert!(made.contains_key(&job(own.id)));
    assert!(there(&job(stays.id)), "the old one has removed it");
    assert_eq!(new.run_of("stays").unwrap().status, Status::Running);
    old.0.stop();
    stop_all(&new);
}

#[test]
fn an_old_server_writes_nothing_of_what_the_agent_declares() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("heals");
    let site = site(world, &namespace);
    let injector = Injector::new(world, "a", site.path());
    let kubeconfig = site.path().join("way.yaml");
    std::fs::copy(&injector.kubeconfig, &kubeconfig).unwrap();
    let managed = "  managed:\n    quota: {pods: 200}\n    limits: [{type: Container, max: {memory: 64Gi}}]\n";
    site.write("agents/a.yaml", &(through(world, &namespace, &kubeconfig) + managed));
    site.push("an agent with a quota");
    let pods = || {
        let (ok, text) = world.kubectl(
            "a",
            &["get", "quota", "tidegate-a", "-n", &namespace, "-o", "jsonpath={.spec.hard.pods}"],
            "",
        );
        ok.then_some(text)
    };
    let until = |what: &str, pods_are: &str| {
        let begun = Instant::now();
        while pods().as_deref() != Some(pods_are) {
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", pods());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let raise = || {
        let patch = r#"{"spec":{"hard":{"pods":"777"}}}"#;
        world.ok("a", &["patch", "quota", "tidegate-a", "-n", &namespace, "--type", "merge", "-p", patch]);
    };
    let old = site.start();
    old.until_up("a");
    until("the quota", "200");
    raise();
    old.0.sync_now();
    until("healed by the one that holds the lease", "200");

    // Another one takes over, on the straight way; nothing stands in the way of the old one.
    std::fs::copy(&world.kubeconfig, &kubeconfig).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let new = start_copy(&site, copy.path());
    new.until_up("a");
    let a = AgentName::parse("a").unwrap();
    old.until("it knows", |old| old.0.agent_trouble(&a).is_some_and(|why| why.contains("another server holds it")));
    // The new one makes it as declared once the word of the old one has run out.
    raise();
    until("healed by the new one", "200");
    raise();
    let since = Instant::now();
    // Longer than what could not be made is left alone.
    while since.elapsed() < Duration::from_secs(25) {
        old.0.sync_now();
        std::thread::sleep(Duration::from_millis(500));
    }
    let (reads, writes): (Vec<_>, Vec<_>) =
        injector.seen().into_iter().filter(|seen| seen.at > since).partition(|seen| seen.method == "GET");
    assert!(reads.iter().any(|seen| seen.path.contains("/resourcequotas/")), "the old one was told to heal: {reads:?}");
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(pods().as_deref(), Some("777"));
    new.0.sync_now();
    until("healed by the new one", "200");
    old.0.stop();
}
