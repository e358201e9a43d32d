//! Two real clusters for the tests of this file, started once and ended when the tests have.
//!
//! They are built by `tests/cluster/build`; `TIDEGATE_TEST_KUBECONFIG` names a kubeconfig with the contexts `a` and `b` to be
//! used in their place. Without either the tests say that they are left out, unless `TIDEGATE_DEMAND_CLUSTERS` is set.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for something that takes a second or two: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    pub kubeconfig: PathBuf,
    /// Where the clusters are kept; `None` for given ones.
    pub dir: Option<PathBuf>,
    kubectl: PathBuf,
}

static WORLD: OnceLock<Option<World>> = OnceLock::new();
/// Tests that end components of the clusters are alone.
static ALONE: RwLock<()> = RwLock::new(());
static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// The clusters, for a test that leaves them as they are.
pub fn clusters() -> Option<(&'static World, RwLockReadGuard<'static, ()>)> {
    Some((world()?, ALONE.read().unwrap_or_else(PoisonError::into_inner)))
}

/// The clusters, for a test that breaks them.
pub fn clusters_alone() -> Option<(&'static World, RwLockWriteGuard<'static, ()>)> {
    let world = world().filter(|world| world.dir.is_some())?;
    Some((world, ALONE.write().unwrap_or_else(PoisonError::into_inner)))
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster")
}

fn world() -> Option<&'static World> {
    let world = WORLD.get_or_init(|| {
        if let Some(kubeconfig) = std::env::var_os("TIDEGATE_TEST_KUBECONFIG") {
            return Some(World { kubeconfig: kubeconfig.into(), dir: None, kubectl: "kubectl".into() });
        }
        let demanded = std::env::var_os("TIDEGATE_DEMAND_CLUSTERS").is_some();
        let built = Command::new(scripts().join("build")).arg("--look").output().ok()?;
        if !built.status.success() && !demanded {
            return None;
        }
        let dir = std::env::temp_dir().join(format!("tidegate-clusters-{}", std::process::id()));
        let log =
            std::fs::File::create(std::env::temp_dir().join(format!("tidegate-clusters-{}.log", std::process::id())))
                .ok()?;
        let up = Command::new(scripts().join("up"))
            .arg(&dir)
            .args(["--until", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().ok()?)
            .stderr(log)
            .status()
            .expect("tests/cluster/up can be run");
        assert!(up.success(), "the clusters did not come up; see {}.log", dir.display());
        let bin = String::from_utf8_lossy(&built.stdout).trim().to_owned();
        Some(World { kubeconfig: dir.join("kubeconfig"), kubectl: Path::new(&bin).join("kubectl"), dir: Some(dir) })
    });
    if world.is_none() {
        eprintln!("left out: no clusters; `tests/cluster/build` builds them (Go, about ten minutes, once)");
    }
    world.as_ref()
}

impl World {
    /// A new namespace in both clusters.
    pub fn namespace(&self, what: &str) -> String {
        let name = format!("{what}-{}-{}", std::process::id(), NAMESPACES.fetch_add(1, Ordering::Relaxed));
        for cluster in ["a", "b"] {
            self.ok(cluster, &["create", "namespace", &name]);
        }
        name
    }

    pub fn kubectl(&self, cluster: &str, args: &[&str], input: &str) -> (bool, String) {
        use std::io::Write;
        let mut child = Command::new(&self.kubectl)
            .args(["--kubeconfig", self.kubeconfig.to_str().unwrap(), "--context", cluster])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    pub fn ok(&self, cluster: &str, args: &[&str]) -> String {
        let (ok, text) = self.kubectl(cluster, args, "");
        assert!(ok, "kubectl {args:?}: {text}");
        text
    }

    pub fn apply(&self, cluster: &str, text: &str) {
        let (ok, said) = self.kubectl(cluster, &["apply", "-f", "-"], text);
        assert!(ok, "{said}");
    }

    /// Objects of a kind in a namespace.
    pub fn list(&self, cluster: &str, kind: &str, namespace: &str) -> Vec<Value> {
        let text = self.ok(cluster, &["get", kind, "-n", namespace, "-o", "json"]);
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
    }

    /// Ends or starts a component of a cluster.
    pub fn part(&self, cluster: &str, component: &str, what: &str) {
        let dir = self.dir.as_ref().expect("our own clusters");
        let done = Command::new(scripts().join("part"))
            .arg(dir)
            .args([cluster, component, what])
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success());
        if component == "kube-apiserver" && what == "start" {
            let begun = Instant::now();
            while !self.kubectl(cluster, &["get", "--raw", "/readyz"], "").0 {
                assert!(begun.elapsed() < PATIENCE, "the API server does not come back");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}
