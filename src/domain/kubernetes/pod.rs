//! A pod as far as its state matters here, and what that state means for the run: table in `polyaxon.md` §6.4, with
//! reasons that say how to mend.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::names::MAIN;
use crate::domain::dispatch::observation::Cause;

/// Bytes of a message that are kept: Kubernetes' own limit for termination messages.
pub const MAX_MESSAGE: usize = 4096;
/// The exit code of a process that was killed at once (128 + SIGKILL).
const KILLED: i32 = 137;

/// What is read of a pod's `spec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node that it was bound to.
    pub node_name: Option<String>,
    /// Whether a container that has ended is started again: `Never`, `OnFailure` or `Always`.
    pub restart_policy: Option<String>,
    /// Its containers.
    pub containers: Vec<ContainerSpec>,
    /// Those that run before them.
    pub init_containers: Vec<ContainerSpec>,
}

/// What is read of a container's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSpec {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// What it may use.
    pub resources: ContainerResources,
}

/// What a container may use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerResources {
    /// At most, as Kubernetes writes amounts.
    pub limits: BTreeMap<String, Value>,
}

/// What is read of a pod's `status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// One word, when the node ended it (`Evicted`).
    pub reason: Option<String>,
    /// A sentence with it.
    pub message: Option<String>,
    /// What holds of it.
    pub conditions: Vec<Condition>,
    /// The state of its init containers.
    pub init_container_statuses: Vec<ContainerStatus>,
    /// The state of its containers.
    pub container_statuses: Vec<ContainerStatus>,
}

/// One thing that holds of an object, or does not.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Which thing.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: Option<String>,
    /// One sentence.
    pub message: Option<String>,
}

/// The state of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// How often it was started again.
    pub restart_count: u32,
    /// Whether it answers.
    pub ready: bool,
    /// What it does.
    pub state: ContainerState,
    /// What its life before this one came to.
    pub last_state: ContainerState,
}

/// What a container does: at most one of three.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerState {
    /// It waits.
    pub waiting: Option<Waiting>,
    /// It runs.
    pub running: Option<Map<String, Value>>,
    /// It has ended.
    pub terminated: Option<Terminated>,
}

/// Why a container waits.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Waiting {
    /// One word.
    pub reason: Option<String>,
    /// One sentence.
    pub message: Option<String>,
}

/// How a container ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// Its exit code.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// One word (`Error`, `OOMKilled`).
    pub reason: Option<String>,
    /// What it wrote as its last words.
    pub message: Option<String>,
}

/// A pod of an attempt.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Whether it was told to go.
    pub deleting: bool,
    /// What was asked for.
    pub spec: PodSpec,
    /// How it is.
    pub status: PodStatus,
}

/// What the state of one pod means.
#[derive(Debug, Clone, PartialEq)]
pub enum PodView {
    /// It is being prepared.
    Starting,
    /// Its main container runs.
    Running,
    /// Trouble that is not final.
    Warning(Cause),
    /// It ended well.
    Succeeded(Map<String, Value>),
    /// It ended badly.
    Failed {
        /// Why.
        cause: Cause,
        /// Exit code of the main container.
        exit_code: Option<i32>,
        /// What it reported.
        outputs: Map<String, Value>,
    },
}

impl Pod {
    /// What its state means.
    pub fn view(&self) -> PodView {
        match self.status.phase.as_str() {
            "Succeeded" => PodView::Succeeded(self.outputs()),
            "Failed" => self.failed(),
            _ => {
                // What ends the run is the end of its main container, whatever its sidecars do.
                if let Some(end) = self.main().and_then(|main| main.state.terminated.as_ref())
                    && !self.deleting
                {
                    match end.exit_code {
                        0 => return PodView::Succeeded(self.outputs()),
                        _ if self.spec.restart_policy.as_deref() == Some("Never") => return self.failed(),
                        _ => {}
                    }
                }
                self.trouble().map_or_else(|| self.progress(), PodView::Warning)
            }
        }
    }

    /// Whether its log has something to say: its main container has run, or runs.
    pub fn has_log(&self) -> bool {
        self.main().is_some_and(|main| main.state.running.is_some() || main.state.terminated.is_some())
    }

    /// Whether its main container has ended for good, whatever its sidecars do.
    pub fn main_has_ended(&self) -> bool {
        self.main().is_some_and(|main| main.state.terminated.is_some())
    }

    /// The name of its main container.
    pub fn main_container(&self) -> Option<&str> {
        self.main().map(|main| main.name.as_str())
    }

    /// Whether nothing of it runs, ever again.
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    fn progress(&self) -> PodView {
        match self.main() {
            Some(main) if main.state.running.is_some() => PodView::Running,
            _ => PodView::Starting,
        }
    }

    fn main(&self) -> Option<&ContainerStatus> {
        let named = self.status.container_statuses.iter().find(|container| is_main(&container.name));
        named.or(match self.status.container_statuses.as_slice() {
            [only] => Some(only),
            _ => None,
        })
    }

    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// What the main container wrote to its termination message, when that is a JSON object.
    pub fn outputs(&self) -> Map<String, Value> {
        let end = self.main().and_then(|main| main.state.terminated.as_ref());
        let text = end.and_then(|end| end.message.as_deref()).unwrap_or_default();
        match serde_json::from_str(text) {
            Ok(Value::Object(outputs)) => outputs,
            _ => Map::new(),
        }
    }

    fn failed(&self) -> PodView {
        let main = self.main().and_then(|main| main.state.terminated.as_ref());
        let outputs = self.outputs();
        let said = if outputs.is_empty() { last_words(main) } else { String::new() };
        let failed = |cause, exit_code| PodView::Failed { cause, exit_code, outputs: outputs.clone() };
        let node = self.spec.node_name.as_deref().unwrap_or("?");
        let own = self.status.message.as_deref().unwrap_or_default();
        // The node, or somebody above it, ended the pod.
        match self.status.reason.as_deref() {
            Some("Evicted") => {
                let message = format!(
                    "node {node} evicted the pod: {} Ask for what the run really uses (resources.requests), so that it is placed where there is room.",
                    sentence(own)
                );
                return failed(Cause::new("Evicted", message), None);
            }
            Some(reason)
                if reason.starts_with("OutOf") || reason == "NodeAffinity" || reason == "UnexpectedAdmissionError" =>
            {
                let message = format!(
                    "node {node} did not take the pod ({reason}): {} Another attempt is placed anew.",
                    sentence(own)
                );
                return failed(Cause::new(reason, message), None);
            }
            Some("NodeLost" | "Shutdown" | "Terminated" | "NodeShutdown") => {
                let message = format!(
                    "node {node} went away under the pod: {} Another attempt is placed on another node.",
                    sentence(own)
                );
                return failed(Cause::new("NodeLost", message), None);
            }
            _ => {}
        }
        if let Some(target) = self.condition("DisruptionTarget").filter(|condition| condition.status == "True") {
            let (reason, why) = match target.reason.as_deref() {
                Some("PreemptionByScheduler") => {
                    ("Preempted", "the scheduler gave its place to a pod of a higher priority class")
                }
                Some("DeletionByPodGC" | "DeletionByTaintManager") => {
                    ("NodeLost", "its node is gone or has a taint that the pod does not tolerate")
                }
                Some("EvictionByEvictionAPI") => ("Evicted", "somebody evicted it (a drain of its node, most likely)"),
                _ => ("Disrupted", "the cluster ended it"),
            };
            let detail = target.message.as_deref().unwrap_or_default();
            return failed(
                Cause::new(
                    reason,
                    format!(
                        "the pod on node {node} did not fail by itself: {why}: {} With termination.maxRetries it is tried again.",
                        sentence(detail)
                    ),
                ),
                main.map(|end| end.exit_code),
            );
        }
        // An init container failed: the main one never ran.
        let ended = |status: &&ContainerStatus| status.state.terminated.as_ref().is_some_and(|end| end.exit_code != 0);
        if let Some(init) = self.status.init_container_statuses.iter().find(ended) {
            let end = init.state.terminated.as_ref();
            let code = end.map_or(0, |end| end.exit_code);
            let message = format!(
                "init container {} ended with exit code {code}, so the main container never ran: check what `init` names.{}",
                init.name,
                last_words(end)
            );
            return failed(Cause::new("InitContainerFailed", message), None);
        }
        let Some(end) = main else {
            let reason = self.status.reason.as_deref().unwrap_or("PodFailed");
            return failed(
                Cause::new(reason, format!("the pod failed before its main container ran: {}", sentence(own))),
                None,
            );
        };
        // A sidecar that fails fails the pod, also when the main container did well.
        if end.exit_code == 0 {
            let side = self.status.container_statuses.iter().find(|status| !is_main(&status.name) && ended(status));
            let name = side.map_or("?", |side| side.name.as_str());
            let message = format!(
                "the main container ended well, but the sidecar {name} failed: let it end with 0 when its work is done.{}",
                last_words(side.and_then(|side| side.state.terminated.as_ref()))
            );
            return failed(Cause::new("SidecarFailed", message), Some(0));
        }
        let code = end.exit_code;
        let (reason, message) = match end.reason.as_deref() {
            Some("OOMKilled") => (
                "OOMKilled",
                format!(
                    "killed for using more memory than its limit{}: raise resources.limits.memory, or use less.",
                    self.memory_limit()
                ),
            ),
            Some("ContainerCannotRun" | "StartError" | "RunContainerError") => (
                "CannotStart",
                format!("its program could not be started (exit code {code}): check `command` and the image."),
            ),
            Some("DeadlineExceeded") => ("DeadlineExceeded", "took longer than its timeout".to_owned()),
            _ if code == KILLED => {
                let message = "killed by signal 9 (exit code 137), without the node saying that memory ran out. It may have all the same: \
                               compare resources.limits.memory with what it uses.";
                ("Killed", message.to_owned())
            }
            _ if (129..=192).contains(&code) => {
                let signal = code - 128;
                let message = format!(
                    "ended by signal {signal} (exit code {code}): it was told to go, from outside or by a program of its own. With \
                     termination.maxRetries it is tried again."
                );
                ("Killed", message)
            }
            _ if said.is_empty() => {
                ("ExitCode", format!("ended with exit code {code}; `tidegate ops logs` has what it printed."))
            }
            _ => ("ExitCode", format!("ended with exit code {code}.")),
        };
        failed(Cause::new(reason, cut(&format!("{message}{said}"))), Some(code))
    }

    fn memory_limit(&self) -> String {
        let main = self.spec.containers.iter().find(|container| is_main(&container.name));
        main.and_then(|main| main.resources.limits.get("memory")).map_or_else(String::new, |limit| {
            format!(" of {}", limit.as_str().map_or_else(|| limit.to_string(), str::to_owned))
        })
    }

    /// What keeps it from running, when that is known and time alone does not mend it.
    fn trouble(&self) -> Option<Cause> {
        if let Some(condition) = self.condition("PodScheduled").filter(|condition| condition.status == "False") {
            if condition.reason.as_deref() == Some("Unschedulable") {
                let why = condition.message.as_deref().unwrap_or("no node fits");
                let message = format!(
                    "no node takes the pod: {} It starts by itself once one does; see resources.requests, nodeSelector and tolerations.",
                    sentence(why)
                );
                return Some(Cause::new("Unschedulable", message));
            }
            if condition.reason.as_deref() == Some("SchedulingGated") {
                return Some(Cause::new("SchedulingGated", "the pod waits for its scheduling gates to be removed"));
            }
        }
        if let Some(ready) = self.condition("Ready").filter(|ready| ready.status != "True")
            && (matches!(ready.reason.as_deref(), Some("NodeStatusUnknown" | "NodeStatusNeverUpdated"))
                || self.status.phase == "Unknown")
        {
            let node = self.spec.node_name.as_deref().unwrap_or("?");
            let message = format!(
                "node {node} does not answer: the pod may still run there, so its slot is kept. When the node is gone for good, delete it (kubectl delete node {node})."
            );
            return Some(Cause::new("NodeUnreachable", message));
        }
        let inits = self.status.init_container_statuses.iter().map(|status| (status, true));
        let mains = self.status.container_statuses.iter().map(|status| (status, false));
        inits.chain(mains).find_map(|(status, init)| self.waits(status, init))
    }

    fn waits(&self, status: &ContainerStatus, init: bool) -> Option<Cause> {
        let waiting = status.state.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let said = sentence(waiting.message.as_deref().unwrap_or_default());
        let which = format!("{}container {}", if init { "init " } else { "" }, status.name);
        let asked = if init { &self.spec.init_containers } else { &self.spec.containers };
        let image = asked.iter().find(|asked| asked.name == status.name).map_or("", |asked| &asked.image);
        let message = match reason {
            "ImagePullBackOff" | "ErrImagePull" | "ImageInspectError" | "ErrImageNeverPull" | "RegistryUnavailable" => {
                format!(
                    "the image {image} of {which} cannot be pulled: {said} Check its name and tag, and environment.imagePullSecrets for a private registry."
                )
            }
            "InvalidImageName" => {
                format!("the image {image} of {which} is not a name of an image: {said} Correct its `image`.")
            }
            "CreateContainerConfigError" => format!(
                "{which} lacks something that it refers to: {said} Make that secret or config map, or correct its name."
            ),
            "CreateContainerError" | "RunContainerError" => {
                format!("{which} cannot be made: {said} Check its `command`, `volumeMounts` and `resources`.")
            }
            "CrashLoopBackOff" => {
                let last = status.last_state.terminated.as_ref();
                let code = last.map_or_else(String::new, |last| format!(" with exit code {}", last.exit_code));
                format!(
                    "{which} ended{code} {} times and is started again after a while; stop the run to correct it.{}",
                    status.restart_count,
                    last_words(last)
                )
            }
            _ => return None,
        };
        // The two spell the same trouble and alternate; one word keeps the timeline short.
        let reason = if reason == "ErrImagePull" { "ImagePullBackOff" } else { reason };
        Some(Cause::new(&if init { format!("InitContainer{reason}") } else { reason.to_owned() }, cut(&message)))
    }
}

/// Whether a container is the one that does the work, by its name (Kubeflow's operators demand theirs).
fn is_main(name: &str) -> bool {
    matches!(name, MAIN | "tensorflow" | "pytorch")
}

/// What a container said last, as the end of a sentence.
fn last_words(end: Option<&Terminated>) -> String {
    let text = end.and_then(|end| end.message.as_deref()).unwrap_or_default().trim();
    if text.is_empty() { String::new() } else { format!(" Its last words: {text}") }
}

/// A text that ends with a full stop.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// A text of at most [`MAX_MESSAGE`] bytes.
pub fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
