//! What each kind of target cannot honour: one table, from which `validate` warns and a run says so when it starts.
//!
//! What is not in the table has its effect. What makes a run impossible there is no matter of this table but an error of
//! the attempt ([`refusal`] says so for run kinds before there is one).

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::spec::TargetKind;

/// The reason of a note about such a field in the timeline of a run.
pub const NO_EFFECT: &str = "NoEffect";

/// A field that has no effect where a run goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhonoured {
    /// Where it stands, as a JSON pointer into an operation with its component merged in.
    pub pointer: String,
    /// What becomes of it: the field, the target and the reason, as one sentence.
    pub message: String,
}

/// Which values of a field ask for something.
#[derive(Clone, Copy)]
enum Asks {
    /// Any but nothing.
    Anything,
    /// A true one; false is the way it is.
    True,
    /// A false one; true is the way it is.
    False,
}

/// A field, and why a target does nothing with it; none where it does.
struct Rule {
    /// Steps from the operation; `*` is any element or key, `POD` every part of `run` that becomes a pod.
    at: &'static str,
    asks: Asks,
    local: Option<&'static str>,
    kubernetes: Option<&'static str>,
}

impl Rule {
    fn why(&self, target: TargetKind) -> Option<&'static str> {
        match target {
            TargetKind::Local => self.local,
            TargetKind::Kubernetes => self.kubernetes,
        }
    }
}

const fn both(at: &'static str, asks: Asks, why: &'static str) -> Rule {
    Rule { at, asks, local: Some(why), kubernetes: Some(why) }
}

const fn local(at: &'static str, why: &'static str) -> Rule {
    Rule { at, asks: Asks::Anything, local: Some(why), kubernetes: None }
}

const NO_PODS: &str = "it has no pods";
const NO_CONTAINERS: &str = "the command runs on the machine itself, in no container";
const NO_STORE: &str = "there is no store of artifacts: what a run reports are its outputs";
const NO_LINEAGE: &str = "what files a run has made is not recorded";
const NO_TERMINALS: &str = "nothing leads into a run from outside";
const NO_IDLENESS: &str = "nobody looks whether a service is idle: stop it, or give it a `timeout`";

/// The replicas of distributed kinds that are pods, beside `workers` of Ray.
pub const REPLICAS: [&str; 8] = ["chief", "ps", "worker", "evaluator", "master", "launcher", "head", "scheduler"];

/// Every field that a target does nothing with.
const RULES: &[Rule] = &[
    both("namespace", Asks::Anything, "a run goes to the namespace of its agent: declare an agent for another one"),
    both("mount", Asks::Anything, "nothing is uploaded from a client: let `init` clone it, or put it into the image"),
    both("plugins/auth", Asks::True, "a run is given no token"),
    Rule { at: "plugins/shm", asks: Asks::False, local: Some("the machine has its own /dev/shm"), kubernetes: None },
    both("plugins/tmux", Asks::True, NO_TERMINALS),
    both("plugins/sandbox", Asks::True, NO_TERMINALS),
    both("plugins/ssh", Asks::True, NO_TERMINALS),
    both("plugins/mountArtifactsStore", Asks::True, NO_STORE),
    both("plugins/collectArtifacts", Asks::True, NO_STORE),
    both("plugins/collectLogs", Asks::False, "logs are always kept"),
    both("plugins/collectResources", Asks::True, "the use of resources is not recorded"),
    both("plugins/syncStatuses", Asks::False, "statuses are always reported"),
    both("plugins/autoResume", Asks::True, NO_STORE),
    both("plugins/externalHost", Asks::True, "a run is told no address of the server"),
    both("plugins/sidecar", Asks::Anything, "logs and outputs are read from outside, without a sidecar"),
    both("plugins/notifications", Asks::Anything, "connections to chats and mail are not known: use `hooks`"),
    both("termination/culling", Asks::Anything, NO_IDLENESS),
    both("termination/probe", Asks::Anything, NO_IDLENESS),
    local("termination/podFailurePolicy", NO_PODS),
    local("build", "an image is built for containers, and the command runs on the machine itself"),
    both("run/rewritePath", Asks::True, "no gateway stands before services that could rewrite paths"),
    local("run/ports", "a process opens its ports itself, and nothing leads to them"),
    Rule { at: "run/isExternal", asks: Asks::True, local: Some("nothing leads to its ports"), kubernetes: None },
    local("run/replicas", "one process is started"),
    local("POD/environment", NO_PODS),
    local("POD/connections", "it knows no connections"),
    local("POD/volumes", NO_PODS),
    local("POD/sidecars", "one process is started, and none beside it"),
    local("POD/container/image", NO_CONTAINERS),
    local("POD/container/imagePullPolicy", NO_CONTAINERS),
    both("POD/container/name", Asks::Anything, "the main container is found by a name of its own"),
    local("POD/container/resources/claims", NO_CONTAINERS),
    local("POD/container/envFrom", "config maps and secrets are Kubernetes': write the variables in `env`"),
    local("POD/container/ports", NO_CONTAINERS),
    local("POD/container/volumeMounts", NO_CONTAINERS),
    local("POD/container/volumeDevices", NO_CONTAINERS),
    local("POD/container/livenessProbe", NO_CONTAINERS),
    local("POD/container/readinessProbe", NO_CONTAINERS),
    local("POD/container/startupProbe", NO_CONTAINERS),
    local("POD/container/lifecycle", NO_CONTAINERS),
    local("POD/container/terminationMessagePath", "outputs are read from the file that TIDEGATE_OUTPUTS names"),
    local("POD/container/terminationMessagePolicy", "outputs are read from the file that TIDEGATE_OUTPUTS names"),
    local("POD/container/securityContext", NO_CONTAINERS),
    local("POD/container/stdin", NO_CONTAINERS),
    local("POD/container/stdinOnce", NO_CONTAINERS),
    local("POD/container/tty", NO_CONTAINERS),
    local("POD/container/resizePolicy", NO_CONTAINERS),
    local("POD/container/restartPolicy", NO_CONTAINERS),
    local("POD/container/restartPolicyRules", NO_CONTAINERS),
    local("POD/init/*/container/image", NO_CONTAINERS),
    both("POD/init/*/file/kind", Asks::Anything, NO_LINEAGE),
];

/// The sections beside `run` that the table looks at: an attempt needs no others of them to say what it cannot honour.
/// `cache` is looked at when a run is made.
pub const SECTIONS: [&str; 6] = ["namespace", "mount", "plugins", "termination", "cache", "build"];

/// The fields of an operation that a target does nothing with, in the order of the table. `sections` may hold others than
/// [`SECTIONS`]; nobody looks at them.
pub fn unhonoured(sections: &Map<String, Value>, run: &Value, target: TargetKind) -> Vec<Unhonoured> {
    let mut found = Found { pointers: Vec::new(), at: String::with_capacity(64) };
    let roots = roots();
    for (section, value) in sections.iter().filter(|(section, _)| SECTIONS.contains(&section.as_str())) {
        if let Some(node) = roots.inner(section) {
            found.look(node, value, section);
        }
    }
    if let Some(node) = roots.inner("run") {
        found.look(node, run, "run");
    }
    if let Some(node) = roots.inner("POD") {
        each_pod(run, &mut |at, pod| found.look(node, pod, at.trim_start_matches('/')));
    }
    found.pointers.sort_unstable();
    let pointers = found.pointers.into_iter();
    pointers
        .filter_map(|(rule, pointer)| {
            let why = RULES[rule].why(target)?;
            let field = pointer.trim_start_matches('/').replace('/', ".");
            let message = format!("`{field}` has no effect on a {} agent: {why}", target.word());
            Some(Unhonoured { pointer, message })
        })
        .collect()
}

/// The table as a tree: nearly all of it asks in vain, and an operation is walked once rather than once for each rule.
#[derive(Default)]
struct Node {
    /// The rules of the field that stands here.
    rules: Vec<usize>,
    inner: Vec<(&'static str, Node)>,
}

impl Node {
    fn inner(&self, step: &str) -> Option<&Node> {
        self.inner.iter().find(|(known, _)| *known == step).map(|(_, node)| node)
    }

    fn add(&mut self, rule: usize, steps: &'static str) {
        let (step, rest) = steps.split_once('/').unwrap_or((steps, ""));
        if step.is_empty() {
            return self.rules.push(rule);
        }
        let known = self.inner.iter().position(|(known, _)| *known == step);
        let place = known.unwrap_or_else(|| {
            self.inner.push((step, Node::default()));
            self.inner.len() - 1
        });
        self.inner[place].1.add(rule, rest);
    }
}

fn roots() -> &'static Node {
    static ROOTS: OnceLock<Node> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = Node::default();
        RULES.iter().enumerate().for_each(|(number, rule)| roots.add(number, rule.at));
        roots
    })
}

/// Where rules met a field that asks for something, each the first time: many containers or replicas say it once.
struct Found {
    pointers: Vec<(usize, String)>,
    /// Where the walk is.
    at: String,
}

impl Found {
    fn look(&mut self, node: &Node, value: &Value, step: &str) {
        let before = self.at.len();
        self.at.push('/');
        self.at.push_str(step);
        for rule in &node.rules {
            let is_found = self.pointers.iter().any(|(found, _)| found == rule);
            if !is_found && asks(RULES[*rule].asks, value) {
                self.pointers.push((*rule, self.at.clone()));
            }
        }
        match value {
            Value::Object(map) if !node.inner.is_empty() => {
                for (key, value) in map {
                    if let Some(inner) = node.inner(key) {
                        self.look(inner, value, key);
                    }
                }
            }
            Value::Array(list) => {
                if let Some(inner) = node.inner("*") {
                    list.iter().enumerate().for_each(|(i, one)| self.look(inner, one, &i.to_string()));
                }
            }
            _ => {}
        }
        self.at.truncate(before);
    }
}

/// Why a target cannot run a kind at all, if so.
pub fn refusal(kind: &str, target: TargetKind) -> Option<String> {
    (is_distributed(kind) && target == TargetKind::Local)
        .then(|| format!("a local agent cannot run `kind: {kind}`: use a queue of a Kubernetes agent"))
}

fn is_distributed(kind: &str) -> bool {
    ["tfjob", "pytorchjob", "mpijob", "raycluster", "daskcluster"].contains(&kind)
}

/// Every part of a `run` that becomes a pod, with its pointer in an operation: the run itself, or its replicas; a graph is
/// none.
pub fn each_pod<'v>(run: &'v Value, each: &mut dyn FnMut(String, &'v Value)) {
    let kind = run.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !is_distributed(kind) {
        if kind != "dag" {
            each("/run".to_owned(), run);
        }
        return;
    }
    for name in REPLICAS {
        if let Some(replica) = run.get(name) {
            each(format!("/run/{name}"), replica);
        }
    }
    for (name, replica) in run.get("workers").and_then(Value::as_object).into_iter().flatten() {
        each(format!("/run/workers/{}", name.replace('~', "~0").replace('/', "~1")), replica);
    }
}

fn asks(asks: Asks, value: &Value) -> bool {
    let empty = match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let truth = || match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
            "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
            _ => None,
        },
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        _ => None,
    };
    !empty
        && match asks {
            Asks::Anything => true,
            Asks::True => truth() == Some(true),
            Asks::False => truth() == Some(false),
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_without_effect_is_named_once_per_kind_of_target() {
        let run = json!({"kind": "job", "container": {"image": "a", "command": ["true"]}, "sidecars": []});
        let sections = json!({"plugins": {"collectLogs": false, "auth": false, "shm": true}});
        let sections = sections.as_object().expect("it is a mapping");
        let said =
            |target| -> Vec<String> { unhonoured(sections, &run, target).into_iter().map(|one| one.pointer).collect() };
        assert_eq!(said(TargetKind::Local), ["/plugins/collectLogs", "/run/container/image"]);
        assert_eq!(said(TargetKind::Kubernetes), ["/plugins/collectLogs"]);
    }

    #[test]
    fn replicas_are_looked_into() {
        let run = json!({"kind": "raycluster", "workers": {"a/b": {"volumes": [{"name": "v"}]}}});
        let found = unhonoured(&Map::new(), &run, TargetKind::Local);
        assert_eq!(found[0].pointer, "/run/workers/a~1b/volumes");
        assert!(refusal("raycluster", TargetKind::Local).is_some());
        assert!(refusal("raycluster", TargetKind::Kubernetes).is_none());
    }
}
