//! What becomes of a pod, and what a person reads about it.

use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::observation::Cause;
use tidegate::domain::dispatch::status::Status;

use crate::site::Server;
use crate::stand::{Fate, site};
use crate::world::clusters;

struct Row {
    name: &'static str,
    fate: Fate,
    status: Status,
    reason: &'static str,
    /// What the message must say: what happened, and how to mend it where that is known.
    says: &'static [&'static str],
}

fn row(name: &'static str, fate: Fate, status: Status, reason: &'static str, says: &'static [&'static str]) -> Row {
    Row { name, fate, status, reason, says }
}

fn table() -> Vec<Row> {
    use Status::{Failed, Succeeded, Warning};
    let init = "init:\n- container: {name: fetch, image: git}\n";
    vec![
        row("succeeds", Fate::new("succeed"), Succeeded, "", &[]),
        row(
            "exit-code",
            Fate::new("fail").with("exit-code", "3").with("message", "no such file: train.csv"),
            Failed,
            "ExitCode",
            &["exit code 3", "Its last words: no such file: train.csv"],
        ),
        row(
            "out-of-memory",
            Fate::new("oom").container("resources: {limits: {memory: 256Mi}}"),
            Failed,
            "OOMKilled",
            &["its limit of 256Mi", "raise resources.limits.memory"],
        ),
        row("killed", Fate::new("killed"), Failed, "Killed", &["signal 15", "exit code 143"]),
        row(
            "cannot-start",
            Fate::new("cannot-start"),
            Failed,
            "CannotStart",
            &["could not be started", "check `command`"],
        ),
        row(
            "evicted",
            Fate::new("evict"),
            Failed,
            "Evicted",
            &["evicted the pod", "low on resource: memory", "resources.requests"],
        ),
        row("rejected", Fate::new("rejected"), Failed, "OutOfcpu", &["did not take the pod", "placed anew"]),
        row(
            "init-failed",
            Fate::new("init-fail").run(init),
            Failed,
            "InitContainerFailed",
            &["init container fetch", "exit code 128", "repository not found"],
        ),
        row(
            "pull",
            Fate::new("pull"),
            Warning,
            "ImagePullBackOff",
            &["registry.example.org/train:1", "cannot be pulled", "imagePullSecrets"],
        ),
        row("image-name", Fate::new("image-name"), Warning, "InvalidImageName", &["not a name of an image"]),
        row(
            "config",
            Fate::new("config"),
            Warning,
            "CreateContainerConfigError",
            &["secret \"nope\" not found", "Make that secret"],
        ),
        row(
            "crash-loop",
            Fate::new("crash-loop"),
            Warning,
            "CrashLoopBackOff",
            &["with exit code 2 3 times", "no such table"],
        ),
        row(
            "unschedulable",
            Fate::new("succeed").run("environment:\n  nodeSelector: {zone: moon}\n"),
            Warning,
            "Unschedulable",
            &["no node takes the pod", "node affinity/selector", "nodeSelector"],
        ),
        row(
            "too-big",
            Fate::new("succeed").container("resources: {requests: {cpu: \"900\"}}"),
            Warning,
            "Unschedulable",
            &["Insufficient cpu", "resources.requests"],
        ),
        row(
            "no-account",
            Fate::new("succeed").run("environment:\n  serviceAccountName: nobody-here\n"),
            Warning,
            "CannotCreatePod",
            &["nobody-here", "Make the service account"],
        ),
        row(
            "no-class",
            Fate::new("succeed").run("environment:\n  priorityClassName: nothing\n"),
            Warning,
            "CannotCreatePod",
            &["nothing", "Make the priority class"],
        ),
        row(
            "too-late",
            Fate::new("hang").operation("termination: {timeout: 2}"),
            Failed,
            "DeadlineExceeded",
            &["longer than its termination.timeout"],
        ),
        row(
            "invalid",
            Fate::new("succeed").container("ports: [{containerPort: 99999}]"),
            Failed,
            "InvalidObject",
            &["does not take its object", "99999"],
        ),
        row(
            "no-artifacts",
            Fate::new("succeed").run("init:\n- artifacts: {files: [x]}\n"),
            Failed,
            "UnsupportedField",
            &["init[0].artifacts", "container of your own"],
        ),
    ]
}

#[test]
fn every_outcome_of_a_pod_has_a_status_and_says_how_to_mend_it() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("outcomes");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    let table = table();
    assert!(table.len() >= 15);
    for row in &table {
        site.write(&format!("projects/p/workflows/{}.yaml", row.name), &row.fate.workflow(row.name, "a/q"));
    }
    site.push("all");
    for row in &table {
        let run = server.until_status(row.name, row.status);
        let condition = newest(&server, row.name);
        assert_eq!(condition.reason, row.reason, "{}: {}", row.name, condition.message);
        for part in row.says {
            assert!(condition.message.contains(part), "{} says: {}", row.name, condition.message);
        }
        println!("{:14} {:10} {:27} {}", row.name, run.status, condition.reason, condition.message);
    }
    stop_all(&server);
}

#[test]
fn what_people_do_in_the_cluster_is_noticed_and_answered() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("hands");
    let site = site(world, &namespace);
    site.push("empty");
    let server = site.start();
    server.until_up("a");
    for name in ["job-deleted", "job-left-pods", "pod-deleted", "stopped", "suspended"] {
        site.write(&format!("projects/p/workflows/{name}.yaml"), &Fate::new("hang").workflow(name, "a/q"));
    }
    site.push("all");
    let job = |name: &str| format!("job/tidegate-{}-1", server.until_status(name, Status::Running).id);

    world.ok("a", &["delete", "-n", &namespace, &job("job-deleted")]);
    server.until_status("job-deleted", Status::Stopped);
    assert_eq!(newest(&server, "job-deleted").reason, "JobDeleted");
    assert!(newest(&server, "job-deleted").message.contains("restart the run"));

    // Its pods were left behind on purpose: they are ended before the slot is given to another.
    world.ok("a", &["delete", "-n", &namespace, "--cascade=orphan", &job("job-left-pods")]);
    let run = server.until_status("job-left-pods", Status::Stopped);
    let pods = world.list("a", "pods", &namespace);
    let own = |pod: &serde_json::Value| pod["metadata"]["labels"]["tidegate.dev/run"] == run.id.to_string();
    assert!(pods.iter().filter(|pod| own(pod)).all(|pod| pod["status"]["phase"] != "Running"), "{pods:#?}");

    let name = job("pod-deleted").replace("job/", "");
    world.ok("a", &["delete", "pods", "-n", &namespace, "-l", &format!("job-name={name}"), "--wait=false"]);
    server.until_status("pod-deleted", Status::Failed);
    assert_eq!(newest(&server, "pod-deleted").reason, "PodDeleted", "{}", newest(&server, "pod-deleted").message);

    let job_name = job("suspended");
    world.ok("a", &["patch", &job_name, "-n", &namespace, "-p", r#"{"spec":{"suspend":true}}"#]);
    server.until_status("suspended", Status::Warning);
    assert_eq!(newest(&server, "suspended").reason, "Suspended");

    let run = server.until_status("stopped", Status::Running);
    let stop = Command::Stop { run: run.id, by: "ada".into() };
    server.0.engine().ask_blocking(stop, Vec::new()).unwrap();
    server.until_status("stopped", Status::Stopped);
    let jobs = world.list("a", "jobs", &namespace);
    assert!(!jobs.iter().any(|job| job["metadata"]["labels"]["tidegate.dev/run"] == run.id.to_string()));
    stop_all(&server);
}

pub fn newest(server: &Server, workflow: &str) -> Cause {
    let run = server.run_of(workflow).unwrap();
    server.conditions(&run).pop().unwrap().cause.unwrap_or_default()
}

pub fn stop_all(server: &Server) {
    let runs: Vec<_> = server.0.engine().read(|state| state.runs().map(|run| run.id).collect());
    for run in runs {
        let _ = server.0.engine().ask_blocking(Command::Stop { run, by: "test".into() }, Vec::new());
    }
    server.until("everything has stopped", |server| server.0.engine().read(|state| state.runs().next().is_none()));
}
