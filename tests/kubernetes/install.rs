//! The server with the rights that the manifests of `deploy/` give, and no more; and every way to say where a cluster is.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::serving::{PROGRAM, Serving, agent_file, place, program, site_of};
use crate::stand::Fate;
use crate::world::{World, clusters};

fn deploy(what: &str) -> String {
    format!("{}/deploy/{what}", env!("CARGO_MANIFEST_DIR"))
}

/// The kubeconfig of the tests, as a value.
fn kubeconfig(world: &World) -> Value {
    serde_yaml::from_str(&std::fs::read_to_string(&world.kubeconfig).unwrap()).unwrap()
}

/// A cluster of the kubeconfig: its address and the certificate of its authority, in base64.
fn cluster<'v>(config: &'v Value, name: &str) -> (&'v str, &'v str) {
    let cluster = config["clusters"].as_array().unwrap().iter().find(|cluster| cluster["name"] == name).unwrap();
    (cluster["cluster"]["server"].as_str().unwrap(), cluster["cluster"]["certificate-authority-data"].as_str().unwrap())
}

/// The program in a mount namespace of its own, where a pod's service account lies at its place.
fn as_pod(world: &World, token: &str, dir: &Path) -> Command {
    use std::io::Write;
    let config = kubeconfig(world);
    let (server, authority) = cluster(&config, "a");
    std::fs::write(dir.join("token"), token.trim()).unwrap();
    std::fs::write(dir.join("namespace"), "tidegate").unwrap();
    let mut decode = Command::new("base64")
        .arg("-d")
        .stdin(std::process::Stdio::piped())
        .stdout(std::fs::File::create(dir.join("ca.crt")).unwrap())
        .spawn()
        .unwrap();
    decode.stdin.take().unwrap().write_all(authority.as_bytes()).unwrap();
    assert!(decode.wait().unwrap().success());
    let (host, port) = server.strip_prefix("https://").unwrap().split_once(':').unwrap();
    let script = "set -eu; mount -t tmpfs tmpfs \"$(readlink -f /var/run)\"; \
        mkdir -p /var/run/secrets/kubernetes.io/serviceaccount; cp \"$1\"/* /var/run/secrets/kubernetes.io/serviceaccount/; \
        shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(dir).arg(PROGRAM);
    command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
    command
}

#[test]
fn the_manifests_give_the_server_what_it_needs_and_no_more() {
    let Some((world, _guard)) = clusters() else { return };
    world.ok("a", &["apply", "-k", &deploy("in-cluster")]);
    // The rights for `managed` are of an account of the agent's namespace; here they go to the server's.
    let more = world.ok("a", &["kustomize", &deploy("agent-managed")]);
    let more = more.replace("  name: tidegate\n  namespace: ml\n", "  name: tidegate\n  namespace: tidegate\n");
    world.apply("a", &more);

    // Its pod keeps to the strictest standard, which is enforced there: a pod that does not is refused.
    let server = world.ok("a", &["get", "statefulset", "tidegate", "-n", "tidegate", "-o", "json"]);
    let server: Value = serde_json::from_str(&server).unwrap();
    let mut spec = server["spec"]["template"]["spec"].clone();
    spec["volumes"].as_array_mut().unwrap().push(json!({ "name": "data", "emptyDir": {} }));
    let pod = |name: &str, spec: &Value| {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "tidegate" }, "spec": spec }).to_string()
    };
    let create = |text: &str| world.kubectl("a", &["create", "--dry-run=server", "-f", "-"], text);
    let (ok, said) = create(&pod("as-declared", &spec));
    assert!(ok, "{said}");
    let mut privileged = spec.clone();
    privileged["hostNetwork"] = true.into();
    let (ok, said) = create(&pod("privileged", &privileged));
    assert!(!ok && said.contains("violates PodSecurity"), "{said}");

    // The server, as that account. What it does not need it may not do.
    let token = world.ok("a", &["create", "token", "tidegate", "-n", "tidegate"]);
    let may = |verb: &str, what: &str, namespace: &str| {
        let account = "--as=system:serviceaccount:tidegate:tidegate";
        world.kubectl("a", &["auth", "can-i", verb, what, "-n", namespace, account], "").0
    };
    assert!(may("create", "jobs", "ml"));
    for (verb, what, namespace) in [
        ("get", "secrets", "ml"),
        ("create", "pods", "ml"),
        ("create", "jobs", "default"),
        ("delete", "namespaces", "ml"),
        ("create", "pods/exec", "ml"),
    ] {
        assert!(!may(verb, what, namespace), "it may {verb} {what} in {namespace}");
    }
    let site = site_of("inCluster: true\nnamespace: ml\nmanaged:\n  quota: {pods: 500}\n");
    site.push("an agent in the same cluster");
    let files = tempfile::tempdir().unwrap();
    let server = Serving::start(&site, as_pod(world, &token, files.path()));
    server.until_up("a");
    let fate = Fate::new("succeed").with("message", r#"{"loss": 1}"#);
    site.write("projects/p/workflows/one.yaml", &fate.workflow("one", "a/q"));
    let service = Fate::new("hang").workflow("web", "a/q").replace("kind: job", "kind: service");
    site.write("projects/p/workflows/web.yaml", &service);
    site.push("a job and a service");
    let one = server.until_status("one", "succeeded");
    assert_eq!(one["outputs"]["loss"], 1);
    let web = server.until_status("web", "running");
    assert_eq!(world.list("a", "services", "ml").len(), 1);
    let (code, _, error) = server.run(&["ops", "stop", web["uuid"].as_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    server.until_status("web", "stopped");
    server.until("the quota", || (world.list("a", "resourcequotas", "ml").len() == 1).then_some(()));
    server.until("an empty namespace", || world.list("a", "jobs,deployments", "ml").is_empty().then_some(()));
}

#[test]
fn a_cluster_is_found_by_file_by_variable_and_through_a_plugin_for_credentials() {
    let Some((world, _guard)) = clusters() else { return };
    let namespace = world.namespace("found");
    let config = kubeconfig(world);
    let token = |name: &str| {
        let user = config["users"].as_array().unwrap().iter().find(|user| user["name"] == name).unwrap();
        user["user"]["token"].as_str().unwrap().to_owned()
    };
    let site = site_of(&place(&world.kubeconfig, "a", &namespace));
    // A program that gives the credentials, as those of the large clouds do.
    let plugin = site.path().join("credentials");
    let answer = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": { "token": token("b") },
    });
    std::fs::write(&plugin, format!("#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")).unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o700)).unwrap();
    let (server, authority) = cluster(&config, "b");
    let with_user = |user: Value| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": server, "certificate-authority-data": authority } }],
            "users": [{ "name": "c", "user": user }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
        })
        .to_string()
    };
    let exec = json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": plugin, "interactiveMode": "Never" } });
    let file = site.path().join("exec.json");
    std::fs::write(&file, with_user(exec)).unwrap();
    agent_file(&site, "plugin", &format!("kubeconfig: file:{}\nnamespace: {namespace}\n", file.display()));
    // A namespace of its own: two agents that share one would see each other's runs.
    let other = world.namespace("found-too");
    agent_file(&site, "variable", &format!("kubeconfig: env:TIDEGATE_TEST_TEXT\nnamespace: {other}\n"));
    agent_file(&site, "missing", "kubeconfig: env:TIDEGATE_TEST_NOTHING\n");
    for agent in ["plugin", "variable"] {
        let queue = format!("{agent}/default");
        site.write(
            &format!("projects/p/workflows/on-{agent}.yaml"),
            &Fate::new("succeed").workflow(&format!("on-{agent}"), &queue),
        );
    }
    site.push("agents");
    let mut command = program();
    command.env("TIDEGATE_TEST_TEXT", with_user(json!({ "token": token("b") })));
    let server = Serving::start(&site, command);
    for agent in ["a", "plugin", "variable"] {
        server.until_up(agent);
    }
    for agent in ["plugin", "variable"] {
        let (code, _, error) = server.run(&["run", &format!("p/on-{agent}")]);
        assert_eq!(code, 0, "{error}");
        server.until_status(&format!("on-{agent}"), "succeeded");
    }
    let missing = server.json(&["agents", "get", "missing"]);
    assert!(missing["trouble"].as_str().unwrap().contains("TIDEGATE_TEST_NOTHING is not set"), "{missing}");
}

#[test]
fn the_unit_of_systemd_is_sound() {
    let unit = std::fs::read_to_string(deploy("systemd/tidegate.service")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidegate.service");
    // The program need not be installed here.
    std::fs::write(&file, unit.replace("/usr/local/bin/tidegate", PROGRAM)).unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        eprintln!("left out: the_unit_of_systemd_is_sound (no systemd-analyze)");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("tidegate.service"), "{said}");
}
