//! `cache`: a run takes over the outcome of an equal one, says so, and never both runs and takes over.

use serde_json::{Value, json};

use crate::process::ServerProcess;
use crate::site::Site;

/// A cached operation that leaves a line for each time that it really runs.
fn operation(site: &Site, name: &str, cache: &Value) -> Value {
    let script = format!(
        "echo {name} >> {}/lines; echo '{{\"loss\": {{{{ lr }}}}}}' > $TIDEGATE_OUTPUTS",
        site.path().display()
    );
    json!({
        "version": 1.1, "kind": "operation", "cache": cache,
        "component": {
            "inputs": [{"name": "lr", "type": "float", "value": 0.5}, {"name": "note", "value": "none"}],
            "run": {"kind": "job", "container": {"command": ["sh", "-c"], "args": [script]}},
        },
    })
}

fn lines(site: &Site) -> usize {
    std::fs::read_to_string(site.path().join("lines")).unwrap_or_default().lines().count()
}

/// Runs a workflow by hand to its end.
fn run(server: &ServerProcess, name: &str, params: &[&str]) -> Value {
    let workflow = format!("p/{name}");
    let mut args = vec!["run", &workflow, "--watch"];
    params.iter().for_each(|param| args.extend(["-P", param]));
    let before = server.ask(&["ops", "ls"]).as_array().map_or(0, Vec::len);
    let begun = std::time::Instant::now();
    // A server that has just started has nothing applied yet, and says so.
    let all = loop {
        server.ask(&args);
        let all = server.ask(&["ops", "ls"]);
        if all.as_array().map_or(0, Vec::len) > before {
            break all;
        }
        assert!(begun.elapsed().as_secs() < 60, "{args:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), before + 1, "{args:?}");
    let newest = all.iter().max_by_key(|run| run["createdAt"].as_str().unwrap().to_owned()).unwrap();
    server.ask(&["ops", "get", newest["uuid"].as_str().unwrap()])
}

fn uuid(run: &Value) -> &str {
    run["uuid"].as_str().unwrap()
}

#[test]
fn an_outcome_is_taken_over_and_named_also_after_kill_dash_nine() {
    let site = Site::new();
    site.write("projects/p/workflows/train.yaml", &operation(&site, "train", &json!({"io": ["lr"]})).to_string());
    site.write("projects/p/workflows/stale.yaml", &operation(&site, "stale", &json!({"ttl": 0})).to_string());
    site.write("projects/p/workflows/plain.yaml", &operation(&site, "plain", &json!({"disable": true})).to_string());
    site.push("first");
    let mut server = ServerProcess::start(&site);
    server.until_applied(&site);

    let first = run(&server, "train", &[]);
    assert_eq!((first["status"].as_str(), lines(&site)), (Some("succeeded"), 1), "{first}");
    server.kill_and_restart(&site);
    let second = run(&server, "train", &["note=other"]);
    assert_eq!((second["status"].as_str(), second["reason"].as_str()), (Some("succeeded"), Some("CacheHit")));
    assert_eq!(second["outputs"], first["outputs"]);
    assert_eq!((second["attempt"].as_u64(), lines(&site)), (Some(0), 1), "it did not run");
    assert!(second["message"].as_str().unwrap().contains(uuid(&first)), "{second}");

    // A third one names the run that ran, not the one that took over; another input counts; a restart runs.
    let third = run(&server, "train", &[]);
    assert!(third["message"].as_str().unwrap().contains(uuid(&first)), "{third}");
    let other = run(&server, "train", &["lr=0.25"]);
    assert_eq!((other["outputs"]["loss"].as_f64(), lines(&site)), (Some(0.25), 2));
    server.ask(&["ops", "restart", uuid(&first)]);
    let begun = std::time::Instant::now();
    while lines(&site) != 3 {
        assert!(begun.elapsed().as_secs() < 60, "a restart runs");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }

    // What has no age, or is switched off, runs each time.
    for name in ["stale", "stale", "plain", "plain"] {
        assert_eq!(run(&server, name, &[])["reason"], Value::Null);
    }
    assert_eq!(lines(&site), 7);
}

#[test]
fn operations_of_a_graph_take_over_when_the_graph_says_so() {
    let site = Site::new();
    let script = format!("echo x >> {}/lines", site.path().display());
    let node = |name: &str, after: &[&str]| json!({"name": name, "dagRef": "same", "dependencies": after});
    let graph = json!({
        "version": 1.1, "kind": "operation", "cache": {"disable": false},
        "component": {"run": {"kind": "dag", "operations": [node("a", &[]), node("b", &["a"]), node("c", &["b"])],
            "components": [{"name": "same", "run": {"kind": "job", "container": {"command": ["sh", "-c", script]}}}]}},
    });
    site.write("projects/p/workflows/graph.yaml", &graph.to_string());
    site.push("first");
    let server = ServerProcess::start(&site);
    server.until_applied(&site);
    server.ask(&["run", "p/graph", "--watch"]);
    let all = server.ask(&["ops", "ls"]);
    let all = all.as_array().unwrap();
    let reason = |name: &str| all.iter().find(|run| run["name"] == name).unwrap()["reason"].clone();
    assert!(all.iter().all(|run| run["status"] == "succeeded"), "{all:#?}");
    assert_eq!([reason("a"), reason("b"), reason("c")], [Value::Null, json!("CacheHit"), json!("CacheHit")]);
    assert_eq!(lines(&site), 1);
}
