//! A cluster that is gone for good: its agent is given up by a person's word, and nothing of it lingers.

use crate::serving::{Serving, place, program, site_of};
use crate::stand::Fate;
use crate::world::{World, clusters_alone};

/// Starts the API server again, also when the test has failed.
struct Again(&'static World);

impl Drop for Again {
    fn drop(&mut self) {
        self.0.part("a", "kube-apiserver", "start");
    }
}

#[test]
fn an_agent_whose_cluster_is_gone_is_forgotten_by_a_persons_word() {
    let Some((world, _guard)) = clusters_alone() else { return };
    let namespace = world.namespace("gone");
    let site = site_of(&(place(&world.kubeconfig, "a", &namespace) + "managed:\n  quota: {pods: 200}\n"));
    site.push("an agent");
    let server = Serving::start(&site, program());
    server.until_up("a");
    let has_quota = || world.list("a", "resourcequotas", &namespace).len() == 1;
    server.until("the quota", || has_quota().then_some(()));
    for name in ["one", "two"] {
        site.write(&format!("projects/p/workflows/{name}.yaml"), &Fate::new("hang").workflow(name, "a/q"));
    }
    site.push("two runs");
    let one = server.until_status("one", "running");
    server.until_status("two", "running");

    // As long as it answers there is nothing to forget.
    let (code, _, error) = server.run(&["agents", "forget", "a", "--yes"]);
    assert_ne!(code, 0);
    assert!(error.contains("can be reached: stop its runs"), "{error}");

    let again = Again(world);
    world.part("a", "kube-apiserver", "kill");
    server.until("agent a down", || (server.json(&["agents", "get", "a"])["up"] == false).then_some(()));
    let (_, why, _) = server.run(&["ops", "explain", one["uuid"].as_str().unwrap()]);
    assert!(why.contains("cannot be reached") && why.contains("tidegate agents forget a"), "{why}");

    // Removing it is refused, with the way out.
    for path in ["agents/a.yaml", "queues/a/q.yaml", "projects/p/project.yaml"] {
        site.remove(path);
    }
    for name in ["one", "two"] {
        site.remove(&format!("projects/p/workflows/{name}.yaml"));
    }
    site.write("agents/other.yaml", "version: 1.1\nkind: agent\nname: other\nlocal: {}\n");
    site.push("the cluster is gone\n\nAllow-Removals: 20");
    let (_, text, _) = server.run(&["diff", "--width", "200"]);
    assert!(text.contains("BLOCKED; if its cluster is gone for good: `tidegate agents forget a`"), "{text}");
    server.until("the refusal", || {
        // It ends with the code of what is stale.
        server.run(&["sync", "status"]).1.contains("tidegate agents forget a").then_some(())
    });

    // Without --yes it only says what would be lost.
    let (code, _, words) = server.run(&["agents", "forget", "a"]);
    assert_eq!(code, 4);
    for part in ["2 operations hold slots", "ends them as failed", "Nothing was done", "--yes"] {
        assert!(words.contains(part), "no `{part}` in: {words}");
    }
    server.until_status("one", "running");

    let (code, text, error) = server.run(&["agents", "forget", "a", "--yes"]);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("2 operations ended as failed"), "{text}");
    let one = server.until_status("one", "failed");
    let (_, timeline, _) = server.run(&["ops", "statuses", one["uuid"].as_str().unwrap()]);
    assert!(timeline.contains("AgentForgotten"), "{timeline}");
    // What had waited for it is applied now: the agent goes, though its cluster is away.
    server.until("the end of the agent", || {
        let agents = server.json(&["agents", "ls"]);
        agents.as_array().unwrap().iter().all(|agent| agent["name"] != "a").then_some(())
    });

    // The cluster returns after all, after a restart of the server: what is left there is nobody's, and goes.
    drop(server);
    let server = Serving::start(&site, program());
    assert_eq!(
        std::fs::read_dir(site.path().join("data/agents/a"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name() == "gone.json")
            .count(),
        1
    );
    drop(again);
    assert_eq!(world.list("a", "jobs", &namespace).len(), 2);
    // Its jobs are told to go with their pods; the cluster's own collector takes its time after such an absence.
    server.until("the end of what was left", || {
        let told = |job: &serde_json::Value| !job["metadata"]["deletionTimestamp"].is_null();
        (world.list("a", "jobs", &namespace).iter().all(told) && world.list("a", "pods", &namespace).is_empty())
            .then_some(())
    });
    server.until("the end of its quota", || (!has_quota()).then_some(()));
    assert_eq!(server.until_status("two", "failed")["status"], "failed");
}
