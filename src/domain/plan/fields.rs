//! Three versions of one object, field by field: what was applied, what the files want, what the server has.

use std::collections::BTreeSet;

use serde_json::Value;
use similar::TextDiff;

use super::mask::{MASKED, is_secret_name, mask_text, masked};
use super::model::{Class, FieldChange, PatchOp, Spot};
use crate::domain::diagnostic::Place;
use crate::domain::places::FieldPlaces;
use crate::domain::time::Span;

/// Longest text, in lines, whose lines are compared; the effort grows with its square. No deadline instead: the same
/// input must give the same plan.
const MAX_COMPARED_LINES: usize = 1000;
/// Most lines of a text that a plan shows.
const MAX_SHOWN_LINES: usize = 40;
/// Longest value that a plan shows in words, in characters.
const MAX_SHOWN_VALUE: usize = 120;
/// Deepest nesting that is compared field by field; below it, values are compared whole.
const MAX_DEPTH: usize = 64;

/// The versions of one value; `live` is that of the base when the server was not asked.
#[derive(Clone, Copy)]
pub(super) struct Versions<'a> {
    pub base: Option<&'a Value>,
    pub desired: Option<&'a Value>,
    pub live: Option<&'a Value>,
}

impl<'a> Versions<'a> {
    fn map(self, f: impl Fn(&'a Value) -> Option<&'a Value>) -> Self {
        let get = |side: Option<&'a Value>| side.and_then(&f).filter(|value| !value.is_null());
        Self { base: get(self.base), desired: get(self.desired), live: get(self.live) }
    }

    fn each(self) -> impl Iterator<Item = &'a Value> {
        [self.base, self.desired, self.live].into_iter().flatten()
    }

    fn class(self) -> Option<Class> {
        match (self.base != self.desired, self.base != self.live) {
            (false, false) => None,
            (true, false) => Some(Class::Git),
            (false, true) => Some(Class::Drift),
            (true, true) if self.live == self.desired => Some(Class::Git),
            (true, true) => Some(Class::Conflict),
        }
    }
}

/// Where fields stand: in the desired file, else in the base file.
pub(super) struct Places<'a> {
    pub desired: Option<&'a FieldPlaces>,
    pub base: Option<&'a FieldPlaces>,
}

/// All fields that differ, in the order of their pointers.
pub(super) fn changes(versions: Versions<'_>, places: &Places<'_>, changed_by: Option<&str>) -> Vec<FieldChange> {
    let mut walk = Walk { places, changed_by, secret_inputs: secret_inputs(versions), found: Vec::new() };
    walk.step(versions, "", "", false, 0);
    walk.found
}

/// Inputs that end up in an environment variable with a secret name.
fn secret_inputs(versions: Versions<'_>) -> BTreeSet<&str> {
    let variables = versions.each().filter_map(|value| value.pointer("/operation/toEnv")?.as_object()).flatten();
    variables.filter(|(variable, _)| is_secret_name(variable)).filter_map(|(_, input)| input.as_str()).collect()
}

struct Walk<'a> {
    places: &'a Places<'a>,
    changed_by: Option<&'a str>,
    secret_inputs: BTreeSet<&'a str>,
    found: Vec<FieldChange>,
}

impl Walk<'_> {
    fn step(&mut self, versions: Versions<'_>, path: &str, name: &str, secret: bool, depth: usize) {
        let Some(class) = versions.class() else { return };
        if depth < MAX_DEPTH && versions.each().all(Value::is_object) {
            let empty = versions.each().all(|value| value.as_object().is_some_and(serde_json::Map::is_empty));
            if !(empty && path.starts_with("/target")) {
                return self.object(versions, path, name, depth);
            }
        }
        if depth < MAX_DEPTH && !secret && versions.each().all(Value::is_array) && versions.each().count() == 3 {
            let lengths: BTreeSet<usize> = versions.each().filter_map(Value::as_array).map(Vec::len).collect();
            if versions.each().all(has_names) {
                return self.by_name(versions, path, name, depth);
            }
            if lengths.len() == 1 {
                for i in 0..lengths.first().copied().unwrap_or(0) {
                    let flag = |v: &Value| {
                        i > 0
                            && v.get(i - 1)
                                .and_then(Value::as_str)
                                .is_some_and(|f| f.starts_with('-') && is_secret_name(f))
                    };
                    let hidden = versions.each().any(flag);
                    self.step(
                        versions.map(|v| v.get(i)),
                        &format!("{path}/{i}"),
                        &format!("{name}[{i}]"),
                        hidden,
                        depth + 1,
                    );
                }
                return;
            }
        }
        self.leaf(versions, class, path, name, secret);
    }

    fn object(&mut self, versions: Versions<'_>, path: &str, name: &str, depth: usize) {
        let keys: BTreeSet<&str> =
            versions.each().filter_map(Value::as_object).flat_map(|map| map.keys().map(String::as_str)).collect();
        let named = versions.each().any(|v| v.get("name").and_then(Value::as_str).is_some_and(is_secret_name));
        for key in keys {
            let step = versions.map(|v| v.get(key));
            if step.class().is_none() {
                continue;
            }
            let secret = is_secret_name(key)
                || (named && key == "value")
                || (matches!(path, "/operation/inputs" | "/operation/asArg") && self.secret_inputs.contains(key));
            let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            let name = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
            self.step(step, &path, &name, secret, depth + 1);
        }
    }

    /// Lists whose items have names (environment variables, containers) are compared by them.
    fn by_name(&mut self, versions: Versions<'_>, path: &str, name: &str, depth: usize) {
        let index = |list: &Value, wanted: &str| list.as_array()?.iter().position(|item| item["name"] == wanted);
        let mut seen = BTreeSet::new();
        let items = [versions.desired, versions.base, versions.live].into_iter().flatten();
        for item in items.filter_map(Value::as_array).flatten().filter_map(|item| item["name"].as_str()) {
            if !seen.insert(item) {
                continue;
            }
            let sides = [versions.desired, versions.base, versions.live];
            let at = sides.into_iter().flatten().find_map(|side| index(side, item)).unwrap_or(0);
            let step = versions.map(|list| list.get(index(list, item)?));
            self.step(step, &format!("{path}/{at}"), &format!("{name}[{item}]"), false, depth + 1);
        }
    }

    fn leaf(&mut self, versions: Versions<'_>, class: Class, path: &str, name: &str, secret: bool) {
        let hollow = |value: Option<&Value>| match value {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(map)) => map.is_empty() && !path.starts_with("/target"),
            Some(_) => false,
        };
        if hollow(versions.base) && hollow(versions.desired) && hollow(versions.live) {
            return;
        }
        let show = |value: Option<&Value>| value.map(|value| masked(value, secret));
        let (base, desired) = (show(versions.base), show(versions.desired));
        let live = show(versions.live).filter(|_| versions.live != versions.base);
        let lines = match (versions.base, versions.desired) {
            (Some(Value::String(old)), Some(Value::String(new)))
                if !secret && (old.contains('\n') || new.contains('\n')) =>
            {
                text_lines(&mask_text(old), &mask_text(new))
            }
            _ => Vec::new(),
        };
        self.found.push(FieldChange {
            before: words(base.as_ref(), path),
            after: words(desired.as_ref(), path),
            now: (versions.live != versions.base).then(|| words(live.as_ref(), path)),
            changed_by: (versions.live != versions.base).then(|| self.changed_by.map(str::to_owned)).flatten(),
            path: path.to_owned(),
            name: name.to_owned(),
            class,
            lines,
            place: self.place(path, versions.desired.is_some()),
            base,
            desired,
            live,
        });
    }

    /// The place of a field, or of the nearest field around it.
    fn place(&self, path: &str, in_desired: bool) -> Option<Spot> {
        let (first, second) =
            if in_desired { (self.places.desired, self.places.base) } else { (self.places.base, self.places.desired) };
        [first, second].into_iter().flatten().find_map(|fields| find_place(fields, path)).as_ref().map(Spot::from)
    }
}

/// Finds a field of the resolved object in the text that it came from, which may write it elsewhere.
pub(super) fn find_place(fields: &FieldPlaces, path: &str) -> Option<Place> {
    let mut around = path;
    while !around.is_empty() {
        let place = fields.get(around).or_else(|| match around.strip_prefix("/operation") {
            Some(rest) => in_operation(fields, rest),
            None => fields.get(&format!("/sync{around}")),
        });
        if place.is_some() {
            return place;
        }
        around = &around[..around.rfind('/').unwrap_or(0)];
    }
    None
}

/// A field of an operation, which may stand in its component, and whose inputs are written as params.
fn in_operation(fields: &FieldPlaces, rest: &str) -> Option<Place> {
    let param = rest.strip_prefix("/inputs").map(|input| format!("/params{input}"));
    let spellings = [Some(rest), param.as_deref()];
    let mut candidates = spellings.into_iter().flatten().filter(|rest| !rest.is_empty()).flat_map(|rest| {
        ["/operation/component", "/operation", "/component", ""]
            .into_iter()
            .map(move |before| format!("{before}{rest}"))
    });
    candidates.find_map(|candidate| fields.get(&candidate))
}

fn has_names(list: &Value) -> bool {
    let Some(items) = list.as_array() else { return false };
    let names: BTreeSet<&str> = items.iter().filter_map(|item| item.get("name")?.as_str()).collect();
    !items.is_empty() && names.len() == items.len()
}

/// A value in words, with what a special number means.
fn words(value: Option<&Value>, path: &str) -> String {
    let Some(value) = value else {
        return match path {
            _ if path.starts_with("/quota/") => "- (no quota)".into(),
            _ if path.starts_with("/capacity/") => "- (no limit)".into(),
            _ => "-".into(),
        };
    };
    let text = match (value, path) {
        (Value::Number(n), "/concurrency") if n.as_i64() == Some(-1) => "-1 (unlimited)".into(),
        (Value::Number(n), "/concurrency") if n.as_i64() == Some(0) => "0 (held)".into(),
        (Value::Number(n), "/priority") if n.as_i64() == Some(-1) => "-1 (highest)".into(),
        (Value::Number(n), "/operation/timeout" | "/operation/ttl") => {
            n.as_u64().map_or(n.to_string(), |ms| Span(ms).to_string())
        }
        (Value::String(text), _) if text.is_empty() => "\"\"".into(),
        (Value::String(text), _) => text.clone(),
        _ => value.to_string(),
    };
    shortened(&text)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_VALUE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The lines that differ with one line around, as in a unified diff.
fn text_lines(old: &str, new: &str) -> Vec<String> {
    if old == new {
        return vec![format!("(only what is {MASKED} differs)")];
    }
    let (before, after) = (old.lines().count(), new.lines().count());
    if before.max(after) > MAX_COMPARED_LINES {
        return vec![format!("({before} lines become {after}; too many to compare)")];
    }
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(1) {
        if !lines.is_empty() {
            lines.push(" ...".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            lines.push(format!("{}{}", change.tag(), shortened(change.value().trim_end_matches(['\n', '\r']))));
        }
    }
    if lines.len() > MAX_SHOWN_LINES {
        let more = lines.len() - MAX_SHOWN_LINES;
        lines.truncate(MAX_SHOWN_LINES);
        lines.push(format!(" ... {more} more lines"));
    }
    lines
}

/// From one value to another, as RFC 6902. Secrets are masked: the patch is for reading where they occur.
pub(super) fn patch(base: Option<&Value>, desired: Option<&Value>) -> Vec<PatchOp> {
    let mut ops = Vec::new();
    match (base, desired) {
        (None, Some(value)) => ops.push(PatchOp::Add { path: String::new(), value: masked(value, false) }),
        (Some(_), None) => ops.push(PatchOp::Remove { path: String::new() }),
        (Some(base), Some(desired)) => patch_value(base, desired, "", false, &mut ops),
        (None, None) => {}
    }
    let versions = Versions { base, desired, live: None };
    for input in secret_inputs(versions) {
        for op in &mut ops {
            hide_input(op, input);
        }
    }
    ops
}

/// Hides an input that ends up in a secret environment variable.
fn hide_input(op: &mut PatchOp, input: &str) {
    let (PatchOp::Add { path, value } | PatchOp::Replace { path, value }) = op else { return };
    for section in ["/operation/inputs/", "/operation/asArg/"] {
        let whole = format!("{section}{}", input.replace('~', "~0").replace('/', "~1"));
        let hidden = if path.starts_with(&whole) {
            Some(&mut *value)
        } else {
            whole.strip_prefix(path.as_str()).and_then(|rest| value.pointer_mut(rest))
        };
        if let Some(hidden) = hidden {
            *hidden = Value::String(MASKED.into());
        }
    }
}

fn patch_value(base: &Value, desired: &Value, path: &str, secret: bool, ops: &mut Vec<PatchOp>) {
    if base == desired {
        return;
    }
    match (base, desired) {
        (Value::Object(old), Value::Object(new)) => {
            let named = |map: &serde_json::Map<String, Value>| {
                map.get("name").and_then(Value::as_str).is_some_and(is_secret_name)
            };
            let named = named(old) || named(new);
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let secret = is_secret_name(key) || (named && key == "value");
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => patch_value(old, new, &path, secret, ops),
                    (None, Some(new)) => ops.push(PatchOp::Add { path, value: masked(new, secret) }),
                    (Some(_), None) => ops.push(PatchOp::Remove { path }),
                    (None, None) => {}
                }
            }
        }
        _ => ops.push(PatchOp::Replace { path: path.to_owned(), value: masked(desired, secret) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn between(base: Value, desired: Value, live: Value) -> Vec<(String, Class, String, String)> {
        let versions = Versions { base: Some(&base), desired: Some(&desired), live: Some(&live) };
        let found = changes(versions, &Places { desired: None, base: None }, None);
        found.into_iter().map(|f| (f.name, f.class, f.before, f.after)).collect()
    }

    #[test]
    fn a_field_is_changed_in_git_or_drifted_or_both() {
        let found = between(
            json!({"concurrency": 8, "priority": -1, "weight": 1, "order": "strict"}),
            json!({"concurrency": 0, "priority": -1, "weight": 2, "order": "backfill"}),
            json!({"concurrency": 8, "priority": 5, "weight": 3, "order": "backfill"}),
        );
        let text = |name: &str, class, before: &str, after: &str| (name.to_owned(), class, before.into(), after.into());
        assert_eq!(
            found,
            [
                text("concurrency", Class::Git, "8", "0 (held)"),
                text("order", Class::Git, "strict", "backfill"),
                text("priority", Class::Drift, "-1 (highest)", "-1 (highest)"),
                text("weight", Class::Conflict, "1", "2"),
            ]
        );
    }

    #[test]
    fn lists_with_names_are_compared_by_them() {
        let base = json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        let desired =
            json!({"env": [{"name": "C", "value": "0"}, {"name": "A", "value": "1"}, {"name": "B", "value": "3"}]});
        let names: Vec<String> = between(base.clone(), desired, base).into_iter().map(|f| f.0).collect();
        assert_eq!(names, ["env[C].name", "env[C].value", "env[B].value"]);
    }

    #[test]
    fn texts_of_several_lines_show_the_lines_that_differ() {
        assert_eq!(text_lines("a\nb\nc\nd\n", "a\nb\nx\nd\n"), [" b", "-c", "+x", " d"]);
        let long = "x\n".repeat(MAX_COMPARED_LINES + 1);
        assert_eq!(text_lines(&long, "y\n"), ["(1001 lines become 1; too many to compare)"]);
    }

    #[test]
    fn a_field_is_found_where_its_text_writes_it() {
        let mut fields = FieldPlaces::new("w.yaml".into());
        for (line, field) in (1..).zip(["/sync/maxStarts", "/operation/component/run/container/image", "/params/lr"]) {
            fields.add(field, line, 1, 1);
        }
        let line = |path| find_place(&fields, path).map(|place| place.line);
        assert_eq!(line("/maxStarts"), Some(1));
        assert_eq!(line("/operation/run/container/image"), Some(2));
        assert_eq!(line("/operation/inputs/lr"), Some(3));
        assert_eq!(line("/weight"), None);
    }
}
