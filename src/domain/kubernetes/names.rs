//! How the objects of an attempt are called and marked, so that they are found again and nobody else's are touched.

use std::collections::BTreeMap;

use crate::domain::ids::{Attempt, AttemptName, RunId};

/// Who the API server says owns the fields that we write.
pub const FIELD_MANAGER: &str = "tidegate";
/// The value of `app.kubernetes.io/managed-by` on everything that we make.
pub const MANAGED_BY: &str = "tidegate";
/// Label: which installation of Tidegate owns the object. What bears another value, or none, is never touched.
pub const INSTANCE: &str = "tidegate.dev/instance";
/// Label: for which agent the object is kept.
pub const AGENT: &str = "tidegate.dev/agent";
/// Label: the run, as 32 hexadecimal digits.
pub const RUN: &str = "tidegate.dev/run";
/// Label: which attempt of the run.
pub const ATTEMPT: &str = "tidegate.dev/attempt";
/// Label: the project of the run.
pub const PROJECT: &str = "tidegate.dev/project";
/// Label: the role of a pod in a run of many pods.
pub const REPLICA: &str = "tidegate.dev/replica";
/// Annotation: the term of the server that made the object.
pub const EPOCH: &str = "tidegate.dev/epoch";
/// Annotation: the name of the run, for people.
pub const RUN_NAME: &str = "tidegate.dev/run-name";
/// Annotation: how long the root stays after its end, in milliseconds.
pub const TTL: &str = "tidegate.dev/ttl";
/// Label: what the run is about, by Kubernetes' conventions.
pub const NAME: &str = "app.kubernetes.io/name";
/// Label: who manages the object, by Kubernetes' conventions.
pub const MANAGER: &str = "app.kubernetes.io/managed-by";
/// The container that does the work, and whose end is the end of the run.
pub const MAIN: &str = "main";
/// Longest value of a label, in characters (Kubernetes).
pub const MAX_LABEL: usize = 63;

/// The name of every object of an attempt. Jobs name their pods after themselves, so that it stays below 63 characters.
pub fn object_name(attempt: AttemptName) -> String {
    format!("tidegate-{attempt}")
}

/// The attempt that labels name; `None` for objects that are not ours.
pub fn attempt_of(labels: &BTreeMap<String, String>) -> Option<AttemptName> {
    let run = RunId::parse(labels.get(RUN)?)?;
    let attempt: u32 = labels.get(ATTEMPT)?.parse().ok()?;
    Some(AttemptName { run, attempt: Attempt(attempt) })
}

/// The selector of everything that an installation made.
pub fn selector(instance: &str) -> String {
    format!("{INSTANCE}={instance}")
}

/// A text as the value of a label: what Kubernetes does not take becomes `-`, and it is cut at 63 characters.
pub fn label_value(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let cut: String = text.chars().map(fits).take(MAX_LABEL).collect();
    cut.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_an_object_name_its_attempt() {
        let attempt = AttemptName { run: RunId(uuid::Uuid::from_u128(9)), attempt: Attempt(4_000_000_000) };
        let labels =
            BTreeMap::from([(RUN.to_owned(), attempt.run.to_string()), (ATTEMPT.to_owned(), "4000000000".to_owned())]);
        assert_eq!(attempt_of(&labels), Some(attempt));
        assert!(object_name(attempt).len() <= MAX_LABEL, "{}", object_name(attempt));
        assert_eq!(attempt_of(&BTreeMap::new()), None);
    }

    #[test]
    fn any_text_becomes_a_label() {
        for (text, label) in [("a b", "a-b"), ("ünï", "n"), ("--x--", "x"), ("", ""), ("run 1 (copy)", "run-1--copy")]
        {
            assert_eq!(label_value(text), label);
        }
        assert_eq!(label_value(&"y".repeat(100)).len(), MAX_LABEL);
    }
}
