//! The pod of an attempt: containers, init containers, volumes and the settings of `environment`.

use serde_json::{Map, Value, json};

use super::super::names::{MAIN, REPLICA};
use super::connections::{find, lend, named, volumes, wrong};
use super::{Assignment, annotations, labels, truth, unsupported};
use crate::domain::dispatch::observation::Cause;
use crate::domain::prepare::{Step, step};
use crate::domain::spec::Connection;

/// The fields of an object.
pub type Fields = Map<String, Value>;

/// Where containers find what init containers prepared, and what templates call `globals.context_path`.
pub const CONTEXT_PATH: &str = "/plx-context";
/// Where init containers put it, and what templates call `globals.artifacts_path`.
pub const ARTIFACTS_PATH: &str = "/plx-context/artifacts";
/// The image that clones repositories and writes files before the main container.
pub const TOOLS_IMAGE: &str = "docker.io/alpine/git:v2.49.1";
/// The volume behind [`CONTEXT_PATH`].
const CONTEXT_VOLUME: &str = "tidegate-context";
/// The volume behind `/dev/shm`: data loaders share tensors there, and the default of 64 MiB is too small for them.
const SHM_VOLUME: &str = "tidegate-shm";
/// The volume behind the socket of Docker, for `plugins.docker`.
const DOCKER_VOLUME: &str = "tidegate-docker";
/// Where Docker listens on a node.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Settings of `environment` that are fields of a pod's specification as they are.
const POD_FIELDS: [&str; 12] = [
    "nodeSelector",
    "affinity",
    "tolerations",
    "nodeName",
    "hostAliases",
    "securityContext",
    "hostNetwork",
    "hostPID",
    "dnsPolicy",
    "dnsConfig",
    "schedulerName",
    "priorityClassName",
];

/// Metadata and specification of the pod of a section (a `run`, or one replica of it).
pub fn pod(assignment: &Assignment<'_>, section: &Value, replica: Option<&str>) -> Result<(Fields, Fields), Cause> {
    let environment = section.get("environment").filter(|value| !value.is_null()).cloned().unwrap_or_else(|| json!({}));
    let mut lent = named(assignment, section)?;
    let mut main = container(section.get("container").unwrap_or(&Value::Null))?;
    main.insert("name".into(), MAIN.into());
    if main.get("image").is_none_or(Value::is_null) {
        return Err(Cause::new("NoImage", "a Kubernetes agent needs `run.container.image`: the image to run"));
    }
    mounts(assignment, &mut main);
    outputs_mount(&mut main, assignment);
    lent.iter().for_each(|connection| lend(&mut main, connection));
    environment_of(&mut main, assignment, replica);
    // The last lines of the log of a container that failed without last words become its message.
    main.entry("terminationMessagePolicy").or_insert_with(|| "FallbackToLogsOnError".into());

    let mut containers = vec![Value::from(main)];
    for (index, sidecar) in list(section, "sidecars").iter().enumerate() {
        let mut sidecar = container(sidecar)?;
        sidecar.entry("name").or_insert_with(|| format!("sidecar-{index}").into());
        containers.push(sidecar.into());
    }
    let mut inits = Vec::new();
    for (index, init) in list(section, "init").iter().enumerate() {
        let connection = init.get("connection").and_then(Value::as_str);
        let connection = connection.map(|name| find(assignment, name)).transpose()?;
        inits.push(init_container(assignment, index, init, connection)?);
        lent.extend(connection.filter(|one| lent.iter().all(|known| known.name != one.name)));
    }

    let mut spec = Map::new();
    if !inits.is_empty() {
        spec.insert("initContainers".into(), inits.into());
    }
    spec.insert("containers".into(), containers.into());
    let mut all_volumes = list(section, "volumes");
    for connection in lent {
        all_volumes.extend(volumes(connection)?);
    }
    all_volumes.push(json!({ "name": CONTEXT_VOLUME, "emptyDir": {} }));
    if plugin(assignment, "shm") != Some(false) {
        all_volumes.push(json!({ "name": SHM_VOLUME, "emptyDir": { "medium": "Memory" } }));
    }
    if plugin(assignment, "docker") == Some(true) {
        all_volumes.push(json!({ "name": DOCKER_VOLUME, "hostPath": { "path": DOCKER_SOCKET } }));
    }
    spec.insert("volumes".into(), all_volumes.into());
    for field in POD_FIELDS {
        if let Some(value) = environment.get(field).filter(|value| !value.is_null()) {
            spec.insert(field.into(), value.clone());
        }
    }
    if let Some(priority) = environment.get("priority").filter(|value| !value.is_null()) {
        spec.insert(
            "priority".into(),
            priority.as_str().and_then(|text| text.parse::<i64>().ok()).map_or(priority.clone(), Value::from),
        );
    }
    let account = environment.get("serviceAccountName").and_then(Value::as_str).or(assignment.service_account);
    if let Some(account) = account {
        spec.insert("serviceAccountName".into(), account.into());
    }
    let secrets = list(&environment, "imagePullSecrets");
    if !secrets.is_empty() {
        let named =
            secrets.into_iter().map(|secret| if secret.is_string() { json!({ "name": secret }) } else { secret });
        spec.insert("imagePullSecrets".into(), named.collect());
    }
    if let Some(policy) = environment.get("restartPolicy").and_then(Value::as_str) {
        spec.insert("restartPolicy".into(), policy.into());
    }

    let mut metadata = Map::new();
    // A person's labels and annotations do not displace ours.
    let mut all_labels = texts(environment.get("labels"));
    all_labels.extend(labels(assignment));
    if let Some(replica) = replica {
        all_labels.insert(REPLICA.into(), replica.into());
    }
    let mut all_annotations = texts(environment.get("annotations"));
    all_annotations.extend(annotations(assignment));
    metadata.insert("labels".into(), all_labels.into());
    metadata.insert("annotations".into(), all_annotations.into());
    Ok((metadata, spec))
}

/// A container in Kubernetes' form; fields that are not set are left out.
pub fn container(written: &Value) -> Result<Map<String, Value>, Cause> {
    let mut container = match written {
        Value::Null => Map::new(),
        Value::Object(fields) => fields.clone(),
        other => return Err(unsupported(format!("a container is a mapping, not {other}"))),
    };
    container.retain(|_, value| !value.is_null());
    if let Some(command) = container.remove("command") {
        // A text is a list of one, as in the original: it is a program, not a line for a shell.
        container.insert("command".into(), if command.is_array() { words(&command) } else { words(&json!([command])) });
    }
    if let Some(args) = container.remove("args") {
        let args = match &args {
            Value::String(text) => text.split_whitespace().map(Value::from).collect(),
            Value::Array(_) => words(&args),
            other => words(&json!([other])),
        };
        container.insert("args".into(), args);
    }
    if let Some(Value::Array(env)) = container.get_mut("env") {
        for variable in env.iter_mut().filter_map(Value::as_object_mut) {
            variable.retain(|_, value| !value.is_null());
            if let Some(value) = variable.get_mut("value") {
                *value = text(value).into();
            }
        }
    }
    if let Some(Value::Object(resources)) = container.get_mut("resources") {
        for part in ["requests", "limits"] {
            if let Some(amounts) = resources.get_mut(part).and_then(Value::as_object_mut) {
                amounts.values_mut().for_each(|amount| *amount = text(amount).into());
            }
        }
    }
    Ok(container)
}

/// The container of one entry of `init`.
fn init_container(
    assignment: &Assignment<'_>,
    index: usize,
    init: &Value,
    connection: Option<&Connection>,
) -> Result<Value, Cause> {
    let mut container = container(init.get("container").unwrap_or(&Value::Null))?;
    let init = match connection {
        Some(connection) => lent_to(init, connection),
        None => init.clone(),
    };
    if init.get("git").is_some_and(|git| !git.is_null() && git.get("url").is_none_or(Value::is_null)) {
        let message =
            format!("`run.init[{index}].git` needs a `url`, or a `connection` of kind `git` with `schema.url`");
        return Err(wrong(message));
    }
    if let Some(step) = step(index, &init, ARTIFACTS_PATH).map_err(unsupported)? {
        tool(&mut container, &step);
    }
    container.entry("name").or_insert_with(|| format!("init-{index}").into());
    mounts(assignment, &mut container);
    connection.into_iter().for_each(|connection| lend(&mut container, connection));
    Ok(container.into())
}

/// Runs a script of ours with arguments, in the image of ours unless another one is named.
fn tool(container: &mut Map<String, Value>, step: &Step) {
    container.entry("image").or_insert_with(|| TOOLS_IMAGE.into());
    container.insert("command".into(), json!(["sh", "-c", step.script, "sh"]));
    container.insert("args".into(), json!(step.arguments));
}

/// Mounts what every container shares.
fn mounts(assignment: &Assignment<'_>, container: &mut Map<String, Value>) {
    let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
    let Some(mounts) = mounts.as_array_mut() else { return };
    let shm = (plugin(assignment, "shm") != Some(false)).then_some((SHM_VOLUME, "/dev/shm"));
    let docker = (plugin(assignment, "docker") == Some(true)).then_some((DOCKER_VOLUME, DOCKER_SOCKET));
    for (name, path) in [Some((CONTEXT_VOLUME, CONTEXT_PATH)), shm, docker].into_iter().flatten() {
        let taken = mounts.iter().any(|mount| mount.get("mountPath").and_then(Value::as_str) == Some(path));
        if !taken {
            mounts.push(json!({ "name": name, "mountPath": path }));
        }
    }
}

/// What `plugins` says of a switch, if it does.
fn plugin(assignment: &Assignment<'_>, name: &str) -> Option<bool> {
    let value = assignment.sections.get("plugins")?.get(name).filter(|value| !value.is_null())?;
    Some(truth(Some(value)))
}

/// Mounts the folder that templates call `globals.run_outputs_path`. A mounted part of a volume is made when it is not
/// there, so that a program can write to it without making it first.
fn outputs_mount(main: &mut Map<String, Value>, assignment: &Assignment<'_>) {
    let run = assignment.attempt.run;
    let mount = json!({
        "name": CONTEXT_VOLUME,
        "mountPath": format!("{ARTIFACTS_PATH}/{run}/outputs"),
        "subPath": format!("artifacts/{run}/outputs"),
    });
    if let Some(mounts) = main.get_mut("volumeMounts").and_then(Value::as_array_mut) {
        mounts.push(mount);
    }
}

/// An entry of `init` with what its connection says of a repository, where the entry does not say it itself.
fn lent_to(init: &Value, connection: &Connection) -> Value {
    let mut init = init.clone();
    if let Some(entry) = init.as_object_mut() {
        entry.remove("connection");
        if let Some(git) = entry.get_mut("git").and_then(Value::as_object_mut) {
            for (field, lent) in [("url", &connection.schema.url), ("revision", &connection.schema.revision)] {
                if let (Some(lent), true) = (lent, git.get(field).is_none_or(Value::is_null)) {
                    git.insert(field.into(), lent.clone().into());
                }
            }
        }
    }
    init
}

/// Adds what the run is given beside its own environment variables.
fn environment_of(main: &mut Map<String, Value>, assignment: &Assignment<'_>, replica: Option<&str>) {
    let asks_gpu = main.get("resources").is_some_and(|resources| {
        ["requests", "limits"]
            .iter()
            .filter_map(|part| resources.get(*part)?.as_object())
            .any(|part| part.keys().any(|name| name.ends_with("/gpu")))
    });
    let env = main.entry("env").or_insert_with(|| json!([]));
    let Some(env) = env.as_array_mut() else { return };
    env.extend(assignment.env.iter().map(|(name, value)| json!({ "name": name, "value": value })));
    let own = [
        ("TIDEGATE_RUN", assignment.attempt.run.to_string()),
        ("TIDEGATE_ATTEMPT", assignment.attempt.attempt.to_string()),
        ("TIDEGATE_PROJECT", assignment.project.to_string()),
    ];
    env.extend(own.iter().map(|(name, value)| json!({ "name": name, "value": value })));
    if let Some(replica) = replica {
        env.push(json!({ "name": "TIDEGATE_REPLICA", "value": replica }));
    }
    let named = |name: &str, env: &[Value]| {
        env.iter().any(|variable| variable.get("name").and_then(Value::as_str) == Some(name))
    };
    // Images made for CUDA see every GPU of the node unless they are told not to.
    if !asks_gpu && !named("NVIDIA_VISIBLE_DEVICES", env) {
        env.push(json!({ "name": "NVIDIA_VISIBLE_DEVICES", "value": "none" }));
    }
}

/// The list of a field; empty when there is none.
pub fn list(section: &Value, field: &str) -> Vec<Value> {
    section.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A list of texts; a list in the list is spread, as a template that gives one means it.
fn words(list: &Value) -> Value {
    let spread = list.as_array().into_iter().flatten().flat_map(|word| match word {
        Value::Array(inner) => inner.iter().map(text).collect(),
        Value::Null => Vec::new(),
        other => vec![text(other)],
    });
    spread.map(Value::from).collect()
}

/// The texts of a mapping.
fn texts(map: Option<&Value>) -> Map<String, Value> {
    let map = map.and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key.clone(), text(value).into())).collect()
}

/// The text of a value, as Kubernetes would have it written.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
