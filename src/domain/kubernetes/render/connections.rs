//! Connections of the agent, as volumes of a pod and as mounts and variables of its containers.

use serde_json::{Value, json};

use super::Assignment;
use super::template::{Fields, list, text};
use crate::domain::dispatch::observation::Cause;
use crate::domain::spec::{Connection, Lent};

/// The reason of an attempt that names a connection which its agent does not declare, or not as it is used.
pub const UNKNOWN_CONNECTION: &str = "UnknownConnection";

/// The connections that a section names; one that is named twice is lent once.
pub fn named<'a>(assignment: &Assignment<'a>, section: &Value) -> Result<Vec<&'a Connection>, Cause> {
    let mut found: Vec<&Connection> = Vec::new();
    for name in list(section, "connections") {
        let connection = find(assignment, &text(&name))?;
        if found.iter().all(|other| other.name != connection.name) {
            found.push(connection);
        }
    }
    Ok(found)
}

/// The connection of a name.
pub fn find<'a>(assignment: &Assignment<'a>, name: &str) -> Result<&'a Connection, Cause> {
    assignment.connections.iter().find(|connection| connection.name.as_str() == name).ok_or_else(|| {
        wrong(format!(
            "its agent has no connection `{name}`: add it to `kubernetes.connections` in the agent's file, or correct the name"
        ))
    })
}

/// The volumes of a connection.
pub fn volumes(connection: &Connection) -> Result<Vec<Value>, Cause> {
    let Connection { name, schema, .. } = connection;
    let lacks = |field: &str| wrong(format!("connection `{name}` is a {} and lacks `schema.{field}`", connection.kind));
    let mut volumes = Vec::new();
    match connection.kind.as_str() {
        "volume_claim" => {
            let claim = schema.volume_claim.as_ref().ok_or_else(|| lacks("volumeClaim"))?;
            let mut source = json!({ "claimName": claim });
            if schema.read_only {
                source["readOnly"] = true.into();
            }
            volumes.push(json!({ "name": name, "persistentVolumeClaim": source }));
        }
        "host_path" => {
            let path = schema.host_path.as_ref().ok_or_else(|| lacks("hostPath"))?;
            volumes.push(json!({ "name": name, "hostPath": { "path": path } }));
        }
        _ => {}
    }
    if is_volume(connection) && schema.mount_path.is_none() {
        return Err(lacks("mountPath"));
    }
    let items = |lent: &Lent| -> Value { lent.items.iter().map(|item| json!({ "key": item, "path": item })).collect() };
    let files = |lent: &&Lent| lent.mount_path.is_some();
    for (lent, suffix, source, key) in [
        (&connection.secret, "secret", "secret", "secretName"),
        (&connection.config_map, "config", "configMap", "name"),
    ] {
        let Some(lent) = lent.as_ref().filter(files) else { continue };
        let mut body = json!({ key: lent.name });
        if !lent.items.is_empty() {
            body["items"] = items(lent);
        }
        volumes.push(json!({ "name": format!("{name}-{suffix}"), source: body }));
    }
    Ok(volumes)
}

/// Gives a container what a connection lends: mounts where it has a path, variables otherwise.
pub fn lend(container: &mut Fields, connection: &Connection) {
    let Connection { name, schema, .. } = connection;
    let mut mount = |volume: String, path: &str, read_only: bool| {
        let mut mount = json!({ "name": volume, "mountPath": path });
        if read_only {
            mount["readOnly"] = true.into();
        }
        push(container, "volumeMounts", mount);
    };
    if let Some(path) = schema.mount_path.as_deref().filter(|_| is_volume(connection)) {
        mount(name.to_string(), path, schema.read_only);
    }
    for (lent, suffix) in [(&connection.secret, "secret"), (&connection.config_map, "config")] {
        if let Some(path) = lent.as_ref().and_then(|lent| lent.mount_path.as_deref()) {
            mount(format!("{name}-{suffix}"), path, true);
        }
    }
    for (lent, whole, one) in
        [(&connection.secret, "secretRef", "secretKeyRef"), (&connection.config_map, "configMapRef", "configMapKeyRef")]
    {
        let Some(lent) = lent.as_ref().filter(|lent| lent.mount_path.is_none()) else { continue };
        if lent.items.is_empty() {
            push(container, "envFrom", json!({ whole: { "name": lent.name } }));
        }
        for item in &lent.items {
            let from = json!({ one: { "name": lent.name, "key": item } });
            push(container, "env", json!({ "name": item, "valueFrom": from }));
        }
    }
    for variable in &connection.env {
        let mut fields = Fields::new();
        fields.insert("name".into(), variable.name.clone().into());
        if let Some(value) = &variable.value {
            fields.insert("value".into(), text(value).into());
        }
        if let Some(from) = &variable.value_from {
            fields.insert("valueFrom".into(), from.clone());
        }
        push(container, "env", fields.into());
    }
}

/// An attempt that cannot be made as its connections are.
pub fn wrong(message: String) -> Cause {
    Cause::new(UNKNOWN_CONNECTION, message)
}

fn is_volume(connection: &Connection) -> bool {
    matches!(connection.kind.as_str(), "volume_claim" | "host_path")
}

fn push(container: &mut Fields, list: &str, item: Value) {
    if let Some(list) = container.entry(list).or_insert_with(|| json!([])).as_array_mut() {
        list.push(item);
    }
}
