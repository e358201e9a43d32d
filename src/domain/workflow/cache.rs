//! What a run asks of the cache: whether an outcome may stand for it, and by what it is recognised.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::render::{mentioned, section};
use crate::domain::catalog::CompiledOperation;
use crate::domain::compile::{digest_of, flag};
use crate::domain::dispatch::cached::CacheAsk;
use crate::domain::honour::each_pod;
use crate::domain::ids::ProjectName;
use crate::domain::time::Span;

/// What an operation asks of the cache: nothing unless it says `cache` and does not disable it.
pub fn ask(operation: &CompiledOperation, project: &ProjectName) -> Option<CacheAsk> {
    let written = operation.sections.get("cache")?;
    // A template that cannot be filled in is told when the run is launched.
    let cache = section(operation, written, "cache").ok()?;
    let cache = cache.as_object()?;
    if operation.pipeline().is_some() || cache.get("disable").and_then(flag) == Some(true) {
        return None;
    }
    let listed = |key: &str| {
        let list = cache.get(key).and_then(Value::as_array)?;
        Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>())
    };
    let io = listed("io");
    let counts = |name: &str| io.as_ref().is_none_or(|io| io.contains(&name));
    // What the templates of those speak of counts with them.
    let templates = operation.templated.iter().filter(|name| counts(name));
    let spoken_of = mentioned(templates.filter_map(|name| operation.inputs.get(name)));
    let counted = operation.inputs.iter().filter(|(name, _)| counts(name) || spoken_of.contains(*name));
    let inputs: BTreeMap<&String, &Value> = counted.collect();
    let run = match listed("sections") {
        None => operation.run.clone(),
        Some(sections) => parts(&operation.run, &sections),
    };
    let key = digest_of(&json!({ "project": project, "inputs": inputs, "env": operation.to_env, "run": run }));
    Some(CacheAsk { key, ttl: cache.get("ttl").and_then(Value::as_u64).map(Span::seconds), outputs: Map::new() })
}

/// The sections of every pod of a run that count.
fn parts(run: &Value, sections: &[&str]) -> Value {
    let mut found = Map::from_iter([("kind".to_owned(), run["kind"].clone())]);
    each_pod(run, &mut |at, pod| {
        let mut counted = Map::new();
        for section in ["init", "connections"].into_iter().filter(|section| sections.contains(section)) {
            counted.insert(section.to_owned(), pod.get(section).cloned().unwrap_or_default());
        }
        if sections.contains(&"containers") {
            let sidecars = pod.get("sidecars").and_then(Value::as_array).into_iter().flatten();
            let containers = pod.get("container").into_iter().chain(sidecars);
            let lines = containers.map(|container| json!([container.get("command"), container.get("args")]));
            counted.insert("containers".to_owned(), lines.collect());
        }
        found.insert(at, Value::Object(counted));
    });
    Value::Object(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(change: impl FnOnce(&mut CompiledOperation)) -> Option<CacheAsk> {
        let mut operation = CompiledOperation {
            inputs: BTreeMap::from([("lr".to_owned(), json!(0.1)), ("note".to_owned(), json!("a"))]),
            run: json!({"kind": "job", "init": [{"git": {"url": "u"}}],
                "container": {"image": "a", "command": ["train"], "args": ["{{ lr }}"]}}),
            sections: Map::from_iter([("cache".to_owned(), json!({}))]),
            ..CompiledOperation::default()
        };
        change(&mut operation);
        ask(&operation, &ProjectName::parse("vision").expect("it is a name"))
    }

    fn with_cache(cache: Value, change: impl FnOnce(&mut CompiledOperation)) -> Option<CacheAsk> {
        key(|operation| {
            operation.sections.insert("cache".to_owned(), cache);
            change(operation);
        })
    }

    #[test]
    fn a_run_is_recognised_by_what_counts() {
        let base = key(|_| {});
        assert!(base.is_some());
        assert_eq!(key(|o| o.name = Some("other".to_owned())), base);
        assert_ne!(key(|o| _ = o.inputs.insert("lr".to_owned(), json!(0.2))), base);
        assert_ne!(key(|o| o.run["container"]["image"] = json!("b")), base);

        let few = json!({"io": ["lr"], "sections": ["containers"], "ttl": "{{ 60 }}"});
        let base = with_cache(few.clone(), |_| {});
        assert_eq!(base.as_ref().and_then(|ask| ask.ttl), Some(Span::seconds(60)));
        assert_eq!(with_cache(few.clone(), |o| _ = o.inputs.insert("note".to_owned(), json!("b"))), base);
        assert_eq!(with_cache(few.clone(), |o| o.run["container"]["image"] = json!("b")), base);
        assert_eq!(with_cache(few.clone(), |o| o.run["init"] = json!([])), base);
        assert_ne!(with_cache(few.clone(), |o| o.run["container"]["args"] = json!(["x"])), base);
        assert_ne!(with_cache(few, |o| _ = o.inputs.insert("lr".to_owned(), json!(0.2))), base);
    }

    #[test]
    fn nothing_is_asked_without_saying_so() {
        assert_eq!(key(|o| o.sections.clear()), None);
        assert_eq!(with_cache(json!({"disable": "yes"}), |_| {}), None);
        assert!(with_cache(json!({"disable": false}), |_| {}).is_some());
        assert_eq!(key(|o| o.matrix = Some(json!({"kind": "grid"}))), None);
    }
}
