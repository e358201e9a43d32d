//! What an agent declares of its namespace: made, shown when somebody changes it, healed by a sync; nobody else's is touched.

use std::time::Duration;

use serde_json::Value;

use crate::serving::{Serving, agent_file, place, program, site_of};
use crate::stand::Fate;
use crate::world::{World, clusters, clusters_alone};

const MANAGED: &str = "serviceAccount: runs
managed:
  namespace: {labels: {team: vision}}
  serviceAccount: {annotations: {example.org/role: reader}}
  quota: {requests.cpu: \"64\", requests.memory: 1Ti, pods: 200}
  limits:
    - {type: Container, defaultRequest: {cpu: 100m, memory: 128Mi}, max: {memory: 64Gi}}
";

fn object(world: &World, args: &[&str]) -> Option<Value> {
    let (ok, text) = world.kubectl("a", &[&["get", "-o", "json"], args].concat(), "");
    ok.then(|| serde_json::from_str(&text).unwrap())
}

#[test]
fn what_is_declared_is_made_drift_is_shown_and_a_sync_heals_it() {
    let Some((world, _guard)) = clusters() else { return };
    // Nobody has made it: the agent declares it.
    let namespace = format!("made-{}", std::process::id());
    let site = site_of(&(place(&world.kubeconfig, "a", &namespace) + MANAGED));
    site.push("an agent with a quota");
    let server = Serving::start(&site, program());
    server.until_up("a");
    let quota = || object(world, &["resourcequota", "tidegate-a", "-n", &namespace]);
    let made = server.until("the quota", quota);
    assert_eq!(made["spec"]["hard"]["pods"], "200");
    let found = server.until("the limits", || object(world, &["limitrange", "tidegate-a", "-n", &namespace]));
    assert_eq!(found["spec"]["limits"][0]["max"]["memory"], "64Gi");
    assert_eq!(object(world, &["namespace", &namespace]).unwrap()["metadata"]["labels"]["team"], "vision");
    let account = object(world, &["serviceaccount", "runs", "-n", &namespace]).unwrap();
    assert_eq!(account["metadata"]["annotations"]["example.org/role"], "reader");
    // It is a namespace to work in.
    site.write("projects/p/workflows/one.yaml", &Fate::new("succeed").workflow("one", "a/q"));
    site.push("a run");
    server.until_status("one", "succeeded");

    let (code, text, _) = server.run(&["diff"]);
    assert_eq!(code, 0, "nothing has changed: {text}");

    // Somebody raises the quota by hand and adds to it, relabels the namespace, and deletes the limits.
    let patch = r#"{"spec":{"hard":{"pods":"1000","secrets":"3"}}}"#;
    world.ok("a", &["patch", "resourcequota", "tidegate-a", "-n", &namespace, "--type", "merge", "-p", patch]);
    world.ok("a", &["label", "namespace", &namespace, "team=pirates", "other=stays", "--overwrite"]);
    world.ok("a", &["delete", "limitrange", "tidegate-a", "-n", &namespace]);
    let (code, text, _) = server.run(&["diff", "--width", "160"]);
    assert_eq!(code, 2, "{text}");
    for part in ["managed.quota.pods", "200", "1000", "managed.quota.secrets", "pirates", "managed.limits", "drift"] {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    assert_eq!(quota().unwrap()["spec"]["hard"]["secrets"], "3", "a diff changes nothing");

    let (code, _, error) = server.run(&["sync", "now"]);
    assert_eq!(code, 0, "{error}");
    server.until("the quota as declared", || {
        quota().filter(|quota| quota["spec"]["hard"]["pods"] == "200" && quota["spec"]["hard"]["secrets"].is_null())
    });
    server.until("the limits again", || object(world, &["limitrange", "tidegate-a", "-n", &namespace]));
    let labels = object(world, &["namespace", &namespace]).unwrap()["metadata"]["labels"].clone();
    assert_eq!((&labels["team"], &labels["other"]), (&"vision".into(), &"stays".into()), "others' labels stay");
    let (code, text, _) = server.run(&["diff"]);
    assert_eq!(code, 0, "healed: {text}");

    // What is not declared any more goes; the namespace and the account stay.
    agent_file(&site, "a", &(place(&world.kubeconfig, "a", &namespace) + "serviceAccount: runs\n"));
    site.push("no quota");
    server.until("the end of the quota", || quota().is_none().then_some(()));
    assert!(object(world, &["serviceaccount", "runs", "-n", &namespace]).is_some());
    assert!(object(world, &["namespace", &namespace]).unwrap()["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn what_somebody_else_made_is_left_alone_and_named() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("theirs");
    world.ok("a", &["create", "serviceaccount", "runs", "-n", &namespace]);
    world.ok("a", &["create", "quota", "tidegate-a", "--hard=pods=7", "-n", &namespace]);
    let managed = "serviceAccount: runs\nmanaged:\n  serviceAccount: {annotations: {x: y}}\n  quota: {pods: 200}\n";
    let site = site_of(&(place(&world.kubeconfig, "a", &namespace) + managed));
    site.push("an agent");
    let server = Serving::start(&site, program());
    server.until_up("a");
    server.until("the reason", || server.said().contains("was not made for this agent").then_some(()));
    std::thread::sleep(Duration::from_secs(1));
    let quota = object(world, &["quota", "tidegate-a", "-n", &namespace]).unwrap();
    assert_eq!(quota["spec"]["hard"]["pods"], "7");
    let account = object(world, &["serviceaccount", "runs", "-n", &namespace]).unwrap();
    assert!(account["metadata"]["annotations"].is_null() && account["metadata"]["labels"].is_null(), "{account}");
    // The difference stays in sight.
    assert_eq!(server.run(&["diff"]).0, 2);
}

#[test]
fn an_agent_that_cannot_be_read_makes_a_plan_incomplete() {
    let Some((world, _guard)) = clusters_alone() else { return };
    let namespace = world.namespace("unread");
    let site = site_of(&(place(&world.kubeconfig, "a", &namespace) + "managed:\n  quota: {pods: 200}\n"));
    site.push("an agent with a quota");
    let server = Serving::start(&site, program());
    server.until("the quota", || object(world, &["resourcequota", "tidegate-a", "-n", &namespace]));
    assert_eq!(server.run(&["diff"]).0, 0);
    world.part("a", "kube-apiserver", "kill");
    let (code, text, error) = server.run(&["diff"]);
    world.part("a", "kube-apiserver", "start");
    assert_eq!(code, 5, "{text}{error}");
    assert!(text.contains("not read") || text.contains("could not be read"), "{text}");
    assert!(!text.contains("managed.quota"), "what was not read is not said to be absent: {text}");
    server.until("a whole plan again", || (server.run(&["diff"]).0 == 0).then_some(()));
}

#[test]
fn what_an_agent_kept_goes_with_it_and_nothing_else() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = format!("leaves-{}", std::process::id());
    let site = site_of(&(place(&world.kubeconfig, "a", &namespace) + MANAGED));
    site.push("an agent with a quota");
    let server = Serving::start(&site, program());
    server.until_up("a");
    let there = |kind: &str, name: &str| object(world, &[kind, name, "-n", &namespace]).is_some();
    server.until("the quota", || (there("quota", "tidegate-a") && there("limitrange", "tidegate-a")).then_some(()));
    // A quota of somebody else, and one that another agent of ours might keep here.
    world.ok("a", &["create", "quota", "theirs", "--hard=pods=7", "-n", &namespace]);
    world.ok("a", &["create", "quota", "another", "--hard=pods=8", "-n", &namespace]);
    let instance = std::fs::read_to_string(site.path().join("data/instance")).unwrap();
    let instance = format!("tidegate.dev/instance={}", instance.trim());
    world.ok("a", &["label", "quota", "another", &instance, "tidegate.dev/agent=another", "-n", &namespace]);

    for path in ["agents/a.yaml", "queues/a/q.yaml", "projects/p/project.yaml"] {
        site.remove(path);
    }
    site.write("agents/other.yaml", "version: 1.1\nkind: agent\nname: other\nlocal: {}\n");
    site.git(&["add", "-A"]);
    let (_, text, _) = server.run(&["diff", "--width", "250"]);
    for part in [
        format!("its quota and limits in namespace {namespace} go with it"),
        format!(
            "stays: namespace {namespace} and service account runs (`kubectl delete serviceaccount runs -n {namespace}`)"
        ),
    ] {
        assert!(text.contains(&part), "no `{part}` in: {text}");
    }
    assert!(there("quota", "tidegate-a"), "a diff changes nothing");

    site.push("no agent\n\nAllow-Removals: 20");
    server.until("the end of the agent", || {
        let agents = server.json(&["agents", "ls"]);
        agents.as_array().unwrap().iter().all(|agent| agent["name"] != "a").then_some(())
    });
    let left = || there("quota", "tidegate-a") || there("limitrange", "tidegate-a");
    server.until("the end of what it kept", || (!left()).then_some(()));
    for (kind, name) in [("quota", "theirs"), ("quota", "another"), ("serviceaccount", "runs")] {
        assert!(there(kind, name), "{kind} {name} is gone");
    }
    assert!(object(world, &["namespace", &namespace]).unwrap()["metadata"]["deletionTimestamp"].is_null());
    // Nothing is looked out for any more.
    let remembered = site.path().join("data/agents/a/gone.json");
    server.until("the end of the lookout", || (!remembered.exists()).then_some(()));
}
