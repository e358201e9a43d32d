//! The Dockerfile that an entry of `init` describes. Texts of a person stand in JSON form or on one line of their own, so
//! that no value can begin another instruction.

use serde_json::{Value, json};

/// The text of the Dockerfile.
pub(super) fn of(written: &Value) -> String {
    let text = |key: &str| written.get(key).map(line).filter(|text| !text.is_empty());
    let mut lines = vec![format!("FROM {}", text("image").unwrap_or_default())];
    if let Some(language) = text("langEnv") {
        lines.extend(["LC_ALL", "LANG", "LANGUAGE"].iter().map(|name| format!("ENV {name}={}", quoted(&language))));
    }
    if let Some(shell) = text("shell") {
        lines.push(format!("SHELL {}", json!([shell, "-c"])));
    }
    lines.extend(
        variables(written.get("env")).into_iter().map(|(name, value)| format!("ENV {name}={}", quoted(&value))),
    );
    lines.extend(list(written.get("path")).iter().map(|path| format!("ENV PATH=\"${{PATH}}:{}\"", line(path))));
    lines.extend(text("workdir").map(|dir| format!("WORKDIR {dir}")));
    lines.extend(text("workdirPath").map(|from| copy(&json!([from, text("workdir").unwrap_or(".".to_owned())]))));
    lines.extend(list(written.get("copy")).iter().map(copy));
    lines.extend(list(written.get("run")).iter().map(|command| format!("RUN {}", line(command))));
    lines.extend(list(written.get("postRunCopy")).iter().map(copy));
    if let (Some(uid), Some(gid)) = (text("uid"), text("gid")) {
        let name = text("username").unwrap_or_else(|| "tidegate".to_owned());
        let home = text("userHome").unwrap_or_else(|| format!("/home/{name}"));
        lines.push(format!("RUN groupadd -o -g {gid} {name} && useradd -o -m -d {home} -u {uid} -g {gid} {name}"));
        lines.push(format!("USER {name}"));
    }
    lines.join("\n") + "\n"
}

fn copy(pair: &Value) -> String {
    let paths: Vec<String> = list(Some(pair)).iter().map(line).collect();
    match &paths[..] {
        [one] => format!("COPY {}", json!([one, "."])),
        _ => format!("COPY {}", json!(paths)),
    }
}

/// A mapping, or a list of pairs.
fn variables(env: Option<&Value>) -> Vec<(String, String)> {
    match env {
        Some(Value::Object(map)) => map.iter().map(|(name, value)| (name.clone(), line(value))).collect(),
        Some(Value::Array(pairs)) => {
            let pair = |pair: &Value| Some((line(pair.get(0)?), line(pair.get(1)?)));
            pairs.iter().filter_map(pair).collect()
        }
        _ => Vec::new(),
    }
}

/// A list; one value is a list of one.
fn list(value: Option<&Value>) -> Vec<Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
    }
}

/// A value on one line: a new line of its own would begin another instruction.
fn line(value: &Value) -> String {
    super::text(value).lines().map(str::trim_end).collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_instruction() {
        let written = json!({
            "image": "python:3.12", "env": {"A": "x y", "B": 2}, "path": ["/opt/bin"], "copy": [["a", "/a"], "b"],
            "postRunCopy": ["c"], "run": ["pip install x", "true\nUSER root"], "langEnv": "en_US.UTF-8", "uid": 1, "gid": 2,
            "username": "me", "workdir": "/w", "workdirPath": "src", "shell": "/bin/bash",
        });
        let want = "FROM python:3.12\nENV LC_ALL=\"en_US.UTF-8\"\nENV LANG=\"en_US.UTF-8\"\nENV LANGUAGE=\"en_US.UTF-8\"\n\
            SHELL [\"/bin/bash\",\"-c\"]\nENV A=\"x y\"\nENV B=\"2\"\nENV PATH=\"${PATH}:/opt/bin\"\nWORKDIR /w\n\
            COPY [\"src\",\"/w\"]\nCOPY [\"a\",\"/a\"]\nCOPY [\"b\",\".\"]\nRUN pip install x\nRUN true USER root\n\
            COPY [\"c\",\".\"]\nRUN groupadd -o -g 2 me && useradd -o -m -d /home/me -u 1 -g 2 me\nUSER me\n";
        assert_eq!(of(&written), want);
    }
}
