//! API servers that are busy, slow, silent, or have forgotten: nothing is lost, nothing is doubled, nobody is hammered.

use std::path::Path;
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use tidegate::domain::dispatch::status::Status;

use crate::faults::{Again, jobs_made};
use crate::injector::{Injector, Seen, Weather};
use crate::outcomes::{newest, stop_all};
use crate::site::{Server, Site};
use crate::stand::{Fate, agent, site};
use crate::witness::Witness;
use crate::world::{PATIENCE, World, clusters, clusters_alone};

/// A site whose agent `a` takes a way that can misbehave, and a witness that does not.
fn stand(world: &World, namespace: &str) -> (Site, Injector, Witness) {
    let site = site(world, namespace);
    let injector = Injector::new(world, "a", site.path());
    site.write("agents/a.yaml", &through(world, namespace, &injector.kubeconfig));
    site.push("empty");
    (site, injector, Witness::new(world, "a", namespace))
}

/// The text of agent `a` with another kubeconfig.
pub fn through(world: &World, namespace: &str, kubeconfig: &Path) -> String {
    agent(world, "a", namespace).replace(world.kubeconfig.to_str().unwrap(), kubeconfig.to_str().unwrap())
}

fn push_many(site: &Site, fate: &Fate, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("run-{number}")).collect();
    for name in &names {
        site.write(&format!("projects/p/workflows/{name}.yaml"), &fate.workflow(name, "a/q"));
    }
    site.push(&format!("many\n\nAllow-Starts: {count}"));
    names
}

fn all_succeed_once(server: &Server, witness: &Witness, names: &[String]) {
    for name in names {
        let run = server.until_status(name, Status::Succeeded);
        assert_eq!(run.attempt.0, 1, "{name}");
    }
    let tally = witness.nothing_was_doubled();
    assert_eq!((tally.jobs.len(), tally.pods.len()), (names.len(), names.len()));
}

#[test]
fn a_busy_api_server_is_left_alone_for_as_long_as_it_says() {
    let Some((world, _guard)) = clusters() else { return };
    let (site, injector, witness) = stand(world, &world.namespace("busy"));
    let server = site.start();
    server.until_up("a");
    injector.weather(Weather::Busy(2));
    // Also the watches have to begin anew in it.
    injector.cut_streams();
    let names = push_many(&site, &Fate::new("succeed"), 20);
    server.until_status("run-0", Status::Scheduled);
    std::thread::sleep(Duration::from_secs(9));
    assert!(server.is_up("a"), "{:?}", server.0.agent_trouble(&tidegate::domain::ids::AgentName::parse("a").unwrap()));
    injector.weather(Weather::Fair);
    let seen = injector.seen();
    let refused: Vec<Instant> =
        seen.iter().filter(|seen| seen.status == StatusCode::TOO_MANY_REQUESTS).map(|seen| seen.answered).collect();
    assert!(refused.len() >= 3, "it was busy for four waits: {refused:?}");
    // Once the answer has had the time to arrive, nothing is sent until the wait is over.
    let too_early = seen.iter().filter(|seen| {
        let since = refused.iter().filter(|at| **at <= seen.at).map(|at| seen.at - *at);
        since.into_iter().any(|since| since > Duration::from_millis(300) && since < Duration::from_millis(1900))
    });
    let too_early: Vec<_> = too_early.map(|seen| (&seen.method, &seen.path, seen.at)).collect();
    assert!(too_early.is_empty(), "{too_early:#?}");
    all_succeed_once(&server, &witness, &names);
}

#[test]
fn an_api_server_that_takes_two_seconds_for_every_answer_is_not_taken_for_dead() {
    let Some((world, _guard)) = clusters() else { return };
    let (site, injector, witness) = stand(world, &world.namespace("slow"));
    let server = site.start();
    server.until_up("a");
    injector.weather(Weather::Slow(Duration::from_secs(2)));
    let names = push_many(&site, &Fate::new("succeed"), 30);
    let begun = Instant::now();
    let ended = |server: &Server| server.runs().iter().filter(|run| run.status.is_final()).count();
    while ended(&server) < names.len() {
        assert!(server.is_up("a"), "after {:?}", begun.elapsed());
        assert!(begun.elapsed() < PATIENCE, "{} of {} have ended", ended(&server), names.len());
        std::thread::sleep(Duration::from_millis(50));
    }
    all_succeed_once(&server, &witness, &names);
}

#[test]
fn an_object_whose_making_was_never_answered_is_not_made_twice() {
    let Some((world, _guard)) = clusters() else { return };
    let (site, injector, witness) = stand(world, &world.namespace("deaf"));
    let server = site.start();
    server.until_up("a");
    injector.weather(Weather::Deaf);
    let names = push_many(&site, &Fate::new("succeed").with("run", "2s"), 10);
    for name in &names {
        server.until_status(name, Status::Running);
    }
    injector.weather(Weather::Fair);
    all_succeed_once(&server, &witness, &names);
}

#[test]
fn a_cluster_that_cannot_be_reached_for_a_while_loses_and_doubles_nothing() {
    let Some((world, _guard)) = clusters() else { return };
    let (site, injector, witness) = stand(world, &world.namespace("cut"));
    let server = site.start();
    server.until_up("a");
    let names = push_many(&site, &Fate::new("succeed").with("run", "1s"), 60);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(400));
        injector.weather(Weather::Cut);
        std::thread::sleep(Duration::from_millis(700));
        injector.weather(Weather::Fair);
    }
    all_succeed_once(&server, &witness, &names);
    let most = witness.tally().most["all"];
    assert!(most <= 50, "{most} at once, the queue takes 50");
}

#[test]
fn a_watch_whose_past_is_forgotten_begins_anew_and_misses_nothing() {
    let Some((world, _guard)) = clusters_alone() else { return };
    let namespace = world.namespace("compacted");
    let (site, injector, _witness) = stand(world, &namespace);
    let server = site.start();
    server.until_up("a");
    let names = push_many(&site, &Fate::new("succeed").with("run", "4s"), 5);
    for name in &names {
        server.until_status(name, Status::Running);
    }
    injector.weather(Weather::Silent);
    let _again = Again(world, "a");
    // The cluster goes on while nobody listens, forgets what it was, and keeps only what is.
    let begun = Instant::now();
    while world.list("a", "pods", &namespace).iter().any(|pod| pod["status"]["phase"] != "Succeeded") {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(200));
    }
    world.ok("a", &["create", "configmap", "-n", &namespace, "something-else"]);
    compact(world);
    world.part("a", "kube-apiserver", "kill");
    world.part("a", "kube-apiserver", "start");
    injector.weather(Weather::Fair);
    for name in &names {
        assert_eq!(server.until_status(name, Status::Succeeded).attempt.0, 1);
    }
    assert!(injector.expired() > 0, "no watch was told that its past is gone");
    let made = jobs_made(world, "a", &namespace);
    assert!(made.len() == names.len() && made.values().all(|count| *count == 1), "{made:?}");
}

/// The versions at which the watches of a kind began, and how often it was listed.
fn watches_of(seen: &[Seen], kind: &str) -> (Vec<u64>, usize) {
    let of_kind = seen.iter().filter(|seen| seen.path.split('?').next().is_some_and(|path| path.ends_with(kind)));
    let (watches, lists): (Vec<&Seen>, _) =
        of_kind.filter(|seen| seen.method == http::Method::GET).partition(|seen| seen.path.contains("watch=true"));
    let version = |seen: &&Seen| seen.path.split("resourceVersion=").nth(1)?.split('&').next()?.parse().ok();
    (watches.iter().filter_map(version).collect(), lists.len())
}

#[test]
fn a_quiet_agents_watch_goes_on_from_a_bookmark_without_a_list() {
    let Some((world, _guard)) = clusters() else { return };
    let (site, injector, _witness) = stand(world, &world.namespace("quiet"));
    let server = site.start();
    server.until_up("a");
    let kinds = ["jobs", "pods"];
    let watched = || kinds.map(|kind| watches_of(&injector.seen(), kind));
    let begun = Instant::now();
    while watched().iter().any(|(watches, _)| watches.is_empty()) {
        assert!(begun.elapsed() < PATIENCE, "not both are watched: {:?}", watched());
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = watched();
    // Others are busy, so that what this agent saw last is old soon.
    let elsewhere = world.namespace("loud");
    let noise = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: noise}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}\n";
    let (made, said) = world.kubectl("a", &["create", "-n", &elsewhere, "-f", "-"], noise);
    assert!(made, "{said}");
    world.ok("a", &["wait", "-n", &elsewhere, "--for=condition=complete", "job/noise", "--timeout=120s"]);
    let newest = |kind: &str| -> u64 {
        let [object] = &world.list("a", kind, &elsewhere)[..] else { panic!("one of {kind}") };
        object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    let noise = kinds.map(newest);
    // Bookmarks come about once in a minute. The first after this moment knows of the noise.
    let heard = injector.bookmarks().len();
    let begun = Instant::now();
    let all = |kinds: [&str; 2]| kinds.iter().all(|kind| injector.bookmarks()[heard..].iter().any(|of| of == kind));
    while !all(kinds) {
        assert!(begun.elapsed() < PATIENCE, "no bookmarks of both: {:?}", injector.bookmarks());
        std::thread::sleep(Duration::from_millis(100));
    }
    injector.cut_streams();
    let begun = Instant::now();
    for (index, kind) in kinds.into_iter().enumerate() {
        let (first, lists) = &before[index];
        assert!((first.len(), *lists) == (1, 1), "{kind}: {first:?}, {lists} lists");
        let (again, lists) = loop {
            let (again, lists) = watches_of(&injector.seen(), kind);
            if again.len() > 1 {
                break (again, lists);
            }
            assert!(begun.elapsed() < PATIENCE, "the watch of {kind} does not begin again");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(again[1] >= noise[index] && noise[index] > first[0], "{kind}: {again:?}, the noise is {noise:?}");
        assert_eq!(lists, 1, "{kind} are listed anew");
    }
    assert_eq!(injector.expired(), 0);
    site.write("projects/p/workflows/one.yaml", &Fate::new("succeed").workflow("one", "a/q"));
    site.push("one");
    server.until_status("one", Status::Succeeded);
    assert_eq!(kinds.map(|kind| watches_of(&injector.seen(), kind).1), [1, 1], "nothing is listed anew");
}

/// Makes etcd of cluster `a` forget everything but the newest revision.
fn compact(world: &World) {
    let command = std::fs::read_to_string(world.dir.as_ref().unwrap().join("a/etcd.cmd")).unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    let place = words.iter().position(|word| *word == "--listen-client-urls").unwrap();
    let ask = |what: &str, body: Value| -> Value {
        let url = format!("{}/v3/kv/{what}", words[place + 1]);
        ureq::post(&url).send_json(body).unwrap().body_mut().read_json().unwrap()
    };
    // `AA==` is the key of one zero byte.
    let revision = ask("range", json!({"key": "AA=="}))["header"]["revision"].clone();
    ask("compaction", json!({"revision": revision, "physical": true}));
}

#[test]
fn a_node_that_goes_takes_its_pods_with_it_and_the_run_is_tried_again() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("node");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    let witness = Witness::new(world, "a", &namespace);
    let node = format!("node-{namespace}");
    let made = format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {node}, labels: {{only-for: {namespace}}}}}\nstatus:\n  allocatable: {{cpu: '4', memory: 8Gi, pods: '10'}}\n  capacity: {{cpu: '4', memory: 8Gi, pods: '10'}}\n"
    );
    world.apply("a", &made);
    let fate = Fate::new("hang")
        .run(&format!("environment:\n  nodeSelector: {{only-for: {namespace}}}\n"))
        .operation("termination: {maxRetries: 1}");
    site.write("projects/p/workflows/one.yaml", &fate.workflow("one", "a/q"));
    site.push("one");
    let first = server.until_status("one", Status::Running);
    world.ok("a", &["delete", "node", &node]);
    // Kubernetes waits a while before it gives up the pods of a node that is not there.
    let begun = Instant::now();
    while server.run_of("one").is_none_or(|run| run.attempt.0 < 2) {
        assert!(begun.elapsed() < PATIENCE, "it is not tried again: {:#?}", server.conditions(&first));
        std::thread::sleep(Duration::from_millis(100));
    }
    let said: Vec<String> = server.conditions(&first).into_iter().filter_map(|row| Some(row.cause?.reason)).collect();
    assert!(said.iter().any(|reason| reason == "NodeLost"), "{said:?}");
    server.until_status("one", Status::Warning);
    assert_eq!(newest(&server, "one").reason, "Unschedulable");
    world.apply("a", &made);
    let run = server.until_status("one", Status::Running);
    assert_eq!(run.attempt.0, 2);
    witness.nothing_was_doubled();
    stop_all(&server);
    world.ok("a", &["delete", "node", &node]);
}

#[test]
fn a_job_that_is_edited_by_hand_ends_as_its_edit_says() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("edited");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    for name in ["unlabelled", "shortened"] {
        site.write(&format!("projects/p/workflows/{name}.yaml"), &Fate::new("hang").workflow(name, "a/q"));
    }
    site.push("both");
    let job = |name: &str| format!("job/tidegate-{}-1", server.until_status(name, Status::Running).id);
    // Without our label it is not ours any more: what runs of it is ended, as nobody would count it.
    world.ok("a", &["label", "-n", &namespace, &job("unlabelled"), "tidegate.dev/instance-"]);
    let run = server.until_status("unlabelled", Status::Stopped);
    assert_eq!(newest(&server, "unlabelled").reason, "JobDeleted");
    let pods = world.list("a", "pods", &namespace);
    let own = |pod: &&Value| pod["metadata"]["labels"]["tidegate.dev/run"] == run.id.to_string();
    assert!(pods.iter().filter(own).all(|pod| pod["status"]["phase"] != "Running"), "{pods:#?}");
    let patch = r#"{"spec":{"activeDeadlineSeconds":1}}"#;
    world.ok("a", &["patch", &job("shortened"), "-n", &namespace, "-p", patch]);
    server.until_status("shortened", Status::Failed);
    assert_eq!(newest(&server, "shortened").reason, "DeadlineExceeded");
    stop_all(&server);
}
