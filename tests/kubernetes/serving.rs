//! The program as people run it: `serve` as a process of its own, and the other verbs against it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::site::Site;
use crate::world::PATIENCE;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

pub struct Serving {
    child: Child,
    address: String,
    work: std::path::PathBuf,
    said: Arc<Mutex<String>>,
}

impl Serving {
    /// Serves a site; `command` is the program, or what starts it in other circumstances.
    pub fn start(site: &Site, mut command: Command) -> Self {
        let mut child = command
            .args(["serve", "--poll", "1s", "--listen", "127.0.0.1:0", "--repo"])
            .arg(site.path().join("bare.git"))
            .arg("--data-dir")
            .arg(site.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server ended: {}", said.lock().unwrap())).unwrap();
            said.lock().unwrap().push_str(&format!("{line}\n"));
            if let Some((_, address)) = line.split_once("serving ") {
                break address.trim().to_owned();
            }
        };
        let keep = said.clone();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| keep.lock().unwrap().push_str(&format!("{line}\n")));
        });
        Self { child, address, work: site.path().join("work"), said }
    }

    /// A verb against this server: exit code, standard output and error.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(PROGRAM)
            .args(args)
            .env("TIDEGATE_SERVER", &self.address)
            .env_remove("TIDEGATE_TOKEN")
            .current_dir(&self.work)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    pub fn json(&self, args: &[&str]) -> Value {
        self.asked(args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    fn asked(&self, args: &[&str]) -> Result<Value, String> {
        let (code, out, error) = self.run(&[args, &["-o", "json"]].concat());
        if code == 0 { Ok(serde_json::from_str(&out).unwrap()) } else { Err(error) }
    }

    /// Waits until something holds.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} does not come about; the server said: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn until_up(&self, agent: &str) {
        // Before the first sync it is not known.
        let up = || self.asked(&["agents", "get", agent]).is_ok_and(|known| known["up"] == true).then_some(());
        self.until(&format!("agent {agent} up"), up);
    }

    /// The newest run of a name, once it has a status.
    pub fn until_status(&self, name: &str, status: &str) -> Value {
        self.until(&format!("{name} {status}"), || {
            let runs = self.json(&["ops", "ls"]);
            runs.as_array().unwrap().iter().find(|run| run["name"] == name && run["status"] == status).cloned()
        })
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program itself.
pub fn program() -> Command {
    Command::new(PROGRAM)
}

/// A site with one agent `a`, whose `kubernetes` section is given as lines of YAML.
pub fn site_of(kubernetes: &str) -> Site {
    let site = Site::new();
    for path in ["agents/here.yaml", "queues/here/fast.yaml", "queues/here/slow.yaml"] {
        site.remove(path);
    }
    agent_file(&site, "a", kubernetes);
    site.write("queues/a/q.yaml", "version: 1.1\nkind: queue\nname: q\nagent: a\nconcurrency: 50\nonRemove: cancel\n");
    site.write("projects/p/project.yaml", "version: 1.1\nkind: project\nname: p\ndefaultQueue: a/q\n");
    site
}

pub fn agent_file(site: &Site, name: &str, kubernetes: &str) {
    let lines: String = kubernetes.lines().map(|line| format!("  {line}\n")).collect();
    site.write(
        &format!("agents/{name}.yaml"),
        &format!("version: 1.1\nkind: agent\nname: {name}\nkubernetes:\n{lines}"),
    );
}

/// Where a cluster of the tests is, as lines of YAML.
pub fn place(kubeconfig: &Path, cluster: &str, namespace: &str) -> String {
    format!("kubeconfig: file:{}\ncontext: {cluster}\nnamespace: {namespace}\n", kubeconfig.display())
}
