//! Clusters that break: nothing is lost, nothing is doubled, and what is wrong is said.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::AgentName;

use crate::outcomes::{newest, stop_all};
use crate::site::Server;
use crate::stand::{Fate, agent, site};
use crate::world::{PATIENCE, World, clusters, clusters_alone};

/// Waits until an agent is down and gives the reason that people are shown.
fn until_down(server: &Server, agent: &str) -> String {
    let name = AgentName::parse(agent).unwrap();
    let begun = Instant::now();
    loop {
        if let Some(why) = server.0.agent_trouble(&name).filter(|_| !server.is_up(agent)) {
            return why;
        }
        assert!(begun.elapsed() < PATIENCE, "agent {agent} stays up");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts the API server again, also when the test has failed.
pub struct Again(pub &'static World, pub &'static str);

impl Drop for Again {
    fn drop(&mut self) {
        self.0.part(self.1, "kube-apiserver", "start");
    }
}

/// How often the object of each attempt was made, from the API server's own record (audit log).
pub fn jobs_made(world: &World, cluster: &str, namespace: &str) -> BTreeMap<String, usize> {
    let log = std::fs::read_to_string(world.dir.as_ref().unwrap().join(cluster).join("audit.log")).unwrap();
    let mut made = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(namespace)) {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let reference = &event["objectRef"];
        let created =
            event["verb"] == "create" && reference["resource"] == "jobs" && reference["namespace"] == namespace;
        if created && event["responseStatus"]["code"] == 201 {
            let name = reference["name"].as_str().unwrap_or_default().to_owned();
            *made.entry(name).or_default() += 1;
        }
    }
    made
}

#[test]
fn an_api_server_that_is_killed_loses_and_doubles_nothing_and_blocks_nobody_else() {
    let Some((world, _guard)) = clusters_alone() else { return };
    let namespace = world.namespace("killed");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    server.until_up("b");
    for number in 0..20 {
        let fate = Fate::new("succeed").with("run", "12s");
        site.write(
            &format!("projects/p/workflows/before-{number}.yaml"),
            &fate.workflow(&format!("before-{number}"), "a/q"),
        );
    }
    site.push("before");
    server.until_status("before-0", Status::Running);
    // What the API server has not yet written to its audit log when it is killed, nobody can count.
    let begun = Instant::now();
    while jobs_made(world, "a", &namespace).len() < 20 {
        assert!(begun.elapsed() < PATIENCE, "not all are made");
        std::thread::sleep(Duration::from_millis(50));
    }
    let _again = Again(world, "a");
    world.part("a", "kube-apiserver", "kill");
    let why = until_down(&server, "a");
    assert!(why.contains("does not answer"), "{why}");
    // The other cluster goes on; what runs on the lost one keeps its slots.
    for (name, queue) in [("elsewhere", "b/q"), ("waits", "a/q")] {
        site.write(&format!("projects/p/workflows/{name}.yaml"), &Fate::new("succeed").workflow(name, queue));
    }
    site.push("more");
    server.until_status("elsewhere", Status::Succeeded);
    assert_eq!(server.run_of("before-0").unwrap().status, Status::Running);
    assert_eq!(server.run_of("waits").unwrap().status, Status::Queued);
    let held = server.0.engine().read(|state| state.agents().find(|agent| agent.name.as_str() == "a").unwrap().running);
    assert_eq!(held, 20);
    world.part("a", "kube-apiserver", "start");
    for number in 0..20 {
        server.until_status(&format!("before-{number}"), Status::Succeeded);
    }
    server.until_status("waits", Status::Succeeded);
    let made = jobs_made(world, "a", &namespace);
    assert_eq!(made.len(), 21, "{made:?}");
    assert!(made.values().all(|count| *count == 1), "{made:?}");
    stop_all(&server);
}

#[test]
fn a_namespace_that_is_missing_is_named_and_runs_start_once_it_is_there() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = format!("late-{}", std::process::id());
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    let start = Fate::new("succeed").with("run", "10ms");
    site.write("projects/p/workflows/two.yaml", &start.workflow("two", "a/q"));
    site.push("two");
    let why = until_down(&server, "a");
    assert!(
        why.contains(&format!("namespace {namespace} does not exist")) || why.contains("its namespace does not exist"),
        "{why}"
    );
    world.ok("a", &["create", "namespace", &namespace]);
    server.until_status("two", Status::Succeeded);
}

#[test]
fn a_namespace_that_is_deleted_takes_its_runs_along_and_work_goes_on_in_the_next_one() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("deleted");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    site.write("projects/p/workflows/long.yaml", &Fate::new("hang").workflow("long", "a/q"));
    site.push("long");
    server.until_status("long", Status::Running);
    world.ok("a", &["delete", "namespace", &namespace, "--wait=false"]);
    let why = until_down(&server, "a");
    assert!(why.contains("being deleted") || why.contains("does not exist"), "{why}");
    world.ok("a", &["wait", "--for=delete", &format!("namespace/{namespace}"), "--timeout=120s"]);
    site.write("projects/p/workflows/next.yaml", &Fate::new("succeed").workflow("next", "a/q"));
    site.push("next");
    server.until("it waits", |server| server.run_of("next").is_some());
    world.ok("a", &["create", "namespace", &namespace]);
    server.until_status("next", Status::Succeeded);
    // Which of the two the cluster deletes first is its own business.
    server.until("what was there has ended", |server| server.run_of("long").is_some_and(|run| run.status.is_final()));
    let end = newest(&server, "long");
    assert!(["JobDeleted", "PodDeleted"].contains(&end.reason.as_str()), "{end:?}");
    let made = jobs_made(world, "a", &namespace);
    assert!(made.len() == 2 && made.values().all(|count| *count == 1), "{made:?}");
}

#[test]
fn rights_that_are_taken_away_are_named_and_nothing_is_lost() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("rights");
    // The rights that `deploy/agent` gives, in a namespace of our own, as an overlay of a user's would.
    let overlay = tempfile::tempdir().unwrap();
    let base = overlay.path().join("base");
    std::fs::create_dir(&base).unwrap();
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/agent")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), base.join(file.file_name())).unwrap();
    }
    let kustomization = format!("namespace: {namespace}\nresources: [base]\n");
    std::fs::write(overlay.path().join("kustomization.yaml"), kustomization).unwrap();
    let bind = || world.ok("a", &["apply", "-k", overlay.path().to_str().unwrap()]);
    bind();
    let token = world.ok("a", &["create", "token", "tidegate", "-n", &namespace]);
    let config = std::fs::read_to_string(&world.kubeconfig).unwrap();
    let site = site(world, &namespace);
    // The same cluster, as somebody with few rights.
    let limited = site.path().join("kubeconfig");
    let mut value: serde_json::Value = serde_yaml::from_str(&config).unwrap();
    for user in value["users"].as_array_mut().unwrap() {
        user["user"] = serde_json::json!({ "token": token.trim() });
    }
    std::fs::write(&limited, serde_json::to_string(&value).unwrap()).unwrap();
    let text = agent(world, "a", &namespace).replace(world.kubeconfig.to_str().unwrap(), limited.to_str().unwrap());
    site.write("agents/a.yaml", &text);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    site.write("projects/p/workflows/one.yaml", &Fate::new("succeed").with("run", "5s").workflow("one", "a/q"));
    site.push("one");
    server.until_status("one", Status::Running);
    world.ok("a", &["delete", "rolebinding", "tidegate", "-n", &namespace]);
    site.write("projects/p/workflows/two.yaml", &Fate::new("succeed").workflow("two", "a/q"));
    site.push("two");
    let why = until_down(&server, "a");
    assert!(why.contains("lacks a right") || why.contains("its account may not"), "{why}");
    std::thread::sleep(Duration::from_secs(1));
    let why = until_down(&server, "a");
    assert!(why.contains("its account may not create jobs"), "{why}");
    assert_eq!(server.run_of("one").unwrap().status, Status::Running);
    bind();
    server.until_status("one", Status::Succeeded);
    server.until_status("two", Status::Succeeded);
}

#[test]
fn a_policy_that_refuses_fails_the_run_and_a_webhook_that_is_down_is_waited_for() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("refused");
    world.ok("a", &["label", "namespace", &namespace, &format!("guarded={namespace}")]);
    let policy = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: {namespace}}}\nspec:\n  matchConstraints:\n    namespaceSelector: {{matchLabels: {{guarded: {namespace}}}}}\n    resourceRules: [{{apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}}]\n  validations: [{{expression: \"!('refuse-me' in object.spec.template.metadata.labels)\", message: \"not on a Friday\"}}]\n---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: {namespace}}}\nspec: {{policyName: {namespace}, validationActions: [Deny]}}\n"
    );
    world.apply("a", &policy);
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    // A policy takes a moment to be known to the API server.
    let begun = Instant::now();
    loop {
        let probe = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: probe}\nspec: {template: {metadata: {labels: {refuse-me: x}}, spec: {restartPolicy: Never, containers: [{name: x, image: x}]}}}\n";
        if !world.kubectl("a", &["create", "--dry-run=server", "-n", &namespace, "-f", "-"], probe).0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(200));
    }
    let fate = Fate::new("succeed")
        .run("environment:\n  labels: {refuse-me: 'yes'}\n")
        .operation("termination: {maxRetries: 3}");
    site.write("projects/p/workflows/refused.yaml", &fate.workflow("refused", "a/q"));
    site.push("refused");
    server.until_status("refused", Status::Failed);
    let cause = newest(&server, "refused");
    assert_eq!(cause.reason, "AdmissionDenied");
    assert!(cause.message.contains("not on a Friday"), "{}", cause.message);
    assert_eq!(server.run_of("refused").unwrap().attempt.0, 1, "trying again would only repeat it");
    // Nobody listens where this webhook points.
    let webhook = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{name: {namespace}}}\nwebhooks:\n- name: down.tests.tidegate.dev\n  clientConfig: {{url: \"https://127.0.0.1:1/\"}}\n  rules: [{{apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}}]\n  namespaceSelector: {{matchLabels: {{guarded: {namespace}}}}}\n  sideEffects: None\n  admissionReviewVersions: [v1]\n  timeoutSeconds: 1\n  failurePolicy: Fail\n"
    );
    world.apply("a", &webhook);
    std::thread::sleep(Duration::from_secs(2));
    site.write("projects/p/workflows/waits.yaml", &Fate::new("succeed").workflow("waits", "a/q"));
    site.push("waits");
    server.until("its trouble is shown", |server| {
        server.run_of("waits").is_some() && newest(server, "waits").reason == "WebhookFailed"
    });
    assert_eq!(server.run_of("waits").unwrap().status, Status::Scheduled, "nothing of it is there");
    assert!(server.is_up("a"), "the trouble of some objects is not that of the agent");
    world.ok("a", &["delete", "validatingwebhookconfiguration", &namespace]);
    server.until_status("waits", Status::Succeeded);
    world.ok("a", &["delete", "validatingadmissionpolicybinding", &namespace]);
    world.ok("a", &["delete", "validatingadmissionpolicy", &namespace]);
}

#[test]
fn what_is_not_ours_is_left_alone_and_our_orphans_are_swept() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("orphans");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    let instance = std::fs::read_to_string(site.path().join("data/instance")).unwrap();
    let job = |name: &str, instance: &str, run: u32| {
        let labels = format!(
            "{{tidegate.dev/instance: '{instance}', tidegate.dev/run: '{run:032x}', tidegate.dev/attempt: '1'}}"
        );
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}\nspec: {{template: {{metadata: {{annotations: {{tests.tidegate.dev/outcome: hang}}, labels: {labels}}}, spec: {{restartPolicy: Never, containers: [{{name: main, image: x}}]}}}}}}\n"
        )
    };
    // As a server that was paused for an hour would make it: the run of this name is over, or never was.
    let orphan = format!("tidegate-{:032x}-1", 7);
    world.apply("a", &format!("{}---\n{}", job(&orphan, instance.trim(), 7), job("another-installation", "0123", 8)));
    let begun = Instant::now();
    while world.list("a", "jobs", &namespace).iter().any(|job| job["metadata"]["name"] == orphan) {
        assert!(begun.elapsed() < PATIENCE, "the orphan stays");
        std::thread::sleep(Duration::from_millis(100));
    }
    let left = world.list("a", "jobs", &namespace);
    assert_eq!(left.len(), 1, "{left:#?}");
    assert_eq!(left[0]["metadata"]["name"], "another-installation");
    assert!(left[0]["metadata"]["deletionTimestamp"].is_null());
}
