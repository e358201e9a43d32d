//! Violations of a schema as problems of our own: one sentence, the place of the key or the value, how to mend it.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Rule;
use serde_json::Value;

use super::codes;
use super::document::{Document, escape_token};
use super::parse::MAX_PROBLEMS;
use super::schema::{Shape, fields, schema_of, validator};
use super::text::{alternatives, shown};
use crate::domain::diagnostic::{Diagnostic, did_you_mean};

/// Checks a document against the schema of its shape. Keys in Polyaxon's old snake_case spelling are renamed.
pub(super) fn check(document: &mut Document, shape: Shape) -> Vec<Diagnostic> {
    let validator = validator(shape);
    while !validator.is_valid(&document.value) {
        let faults: Vec<Fault> = faults(&document.value, shape);
        let renames: Vec<_> = faults.iter().flat_map(|fault| fault.old_spellings(&document.value)).collect();
        if renames.is_empty() {
            return faults.into_iter().take(MAX_PROBLEMS).flat_map(|fault| fault.problems(document, "")).collect();
        }
        for (parent, from, to) in renames {
            document.rename_key(&parent, &from, &to);
        }
    }
    Vec::new()
}

/// Checks fields of what stands under a pointer of a document.
pub(super) fn check_part(document: &Document, base: &str, part: &Value, shape: Shape) -> Vec<Diagnostic> {
    if validator(shape).is_valid(part) || renamed(part.clone(), shape).is_ok() {
        return Vec::new();
    }
    faults(part, shape).into_iter().take(MAX_PROBLEMS).flat_map(|fault| fault.problems(document, base)).collect()
}

/// A value that is no document of its own with old spellings renamed; what is wrong with it, as sentences.
pub(super) fn renamed(mut value: Value, shape: Shape) -> Result<Value, Vec<String>> {
    while !validator(shape).is_valid(&value) {
        let renames: Vec<_> =
            faults(&value, shape).iter().flat_map(|fault| fault.old_spellings_at(&value, true)).collect();
        if renames.is_empty() {
            return Err(sentences(&value, shape));
        }
        for (parent, from, to) in renames {
            if let Some(Value::Object(map)) = value.pointer_mut(&parent)
                && let Some(inner) = map.shift_remove(&from)
            {
                map.insert(to, inner);
            }
        }
    }
    Ok(value)
}

/// What is wrong with a value that is no document of its own, as sentences.
pub(super) fn sentences(value: &Value, shape: Shape) -> Vec<String> {
    if validator(shape).is_valid(value) {
        return Vec::new();
    }
    let sentence = |fault: Fault| {
        let at = fault.pointer.trim_start_matches('/').replace('/', ".");
        let at = if at.is_empty() { String::new() } else { format!("`{}`: ", shown(&at)) };
        match fault.unknown.first() {
            None => format!("{at}{}", fault.message),
            Some(key) => match did_you_mean(key, fault.known.iter().map(String::as_str)) {
                Some(near) => format!("{at}unknown field `{}`; did you mean `{near}`?", shown(key)),
                None => format!("{at}unknown field `{}`", shown(key)),
            },
        }
    };
    faults(value, shape).into_iter().map(sentence).collect()
}

/// One violation.
struct Fault {
    /// What is at fault.
    pointer: String,
    code: crate::domain::diagnostic::Code,
    message: String,
    help: String,
    /// The unknown keys, when that is the fault; the places are theirs.
    unknown: Vec<String>,
    /// The fields that may stand there, when keys are unknown.
    known: Vec<String>,
    /// Whether they are those of an object of Kubernetes, whose keys may begin with a capital, or be all capitals.
    of_kubernetes: bool,
}

impl Fault {
    fn problems(self, document: &Document, base: &str) -> Vec<Diagnostic> {
        if self.unknown.is_empty() {
            let place = document.place(&format!("{base}{}", self.pointer));
            return vec![Diagnostic::error(self.code, place, self.message).help(self.help)];
        }
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        let problem = |key: &String| {
            let place = document.key_place(&format!("{base}{}/{}", self.pointer, escape_token(key)));
            let help = match did_you_mean(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => String::new(),
                None if known.len() <= 12 => format!("the fields are {}", alternatives(known.iter().copied())),
                None => match document.value.get("kind").and_then(Value::as_str) {
                    Some(kind) => format!("`tidegate explain {}` lists the fields", shown(kind)),
                    None => String::new(),
                },
            };
            Diagnostic::error(codes::UNKNOWN_FIELD, place, format!("unknown field `{}`", shown(key))).help(help)
        };
        self.unknown.iter().map(problem).collect()
    }

    /// Unknown keys that are known in camelCase, below the top level: where, from, to.
    fn old_spellings(&self, value: &Value) -> Vec<(String, String, String)> {
        self.old_spellings_at(value, false)
    }

    /// The same, at the top level as well when that is below the top level of a document.
    fn old_spellings_at(&self, value: &Value, top: bool) -> Vec<(String, String, String)> {
        let parent = value.pointer(&self.pointer).and_then(Value::as_object);
        let Some(parent) = parent.filter(|_| top || !self.pointer.is_empty()) else { return Vec::new() };
        self.unknown
            .iter()
            .filter_map(|key| {
                // `Metrics` is the one field that begins with a capital.
                let spelt = |name: &String| *name != *key && self.known.contains(name) && !parent.contains_key(name);
                let mut spellings = vec![camel_case(key), camel_case(&format!("_{key}"))];
                if self.of_kubernetes {
                    spellings.push(camel_case(&snake_case(key)));
                }
                let camel = spellings.into_iter().find(spelt)?;
                Some((self.pointer.clone(), key.clone(), camel))
            })
            .collect()
    }
}

/// `imagePullPolicy`, `ImagePullPolicy` and `IMAGEPullPolicy` as `image_pull_policy`.
fn snake_case(key: &str) -> String {
    let letters: Vec<char> = key.chars().collect();
    let mut out = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| letters[i]);
        let small = |c: char| c.is_lowercase() || c.is_ascii_digit();
        let begins = letter.is_uppercase()
            && before
                .is_some_and(|c| small(c) || c.is_uppercase() && letters.get(i + 1).is_some_and(|c| c.is_lowercase()));
        if begins {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut all, word| {
        let mut letters = word.chars();
        all.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        all.push_str(letters.as_str());
        all
    })
}

fn faults(value: &Value, shape: Shape) -> Vec<Fault> {
    let mut found = Vec::new();
    for error in validator(shape).iter_errors(value).take(MAX_PROBLEMS) {
        explain(&error, shape, &mut found);
    }
    found
}

/// Turns one error of the validator into faults, looking into the branches of a choice for the one that was meant.
fn explain(error: &ValidationError<'_>, shape: Shape, found: &mut Vec<Fault>) {
    let root = schema_of(shape);
    let pointer = error.instance_path().as_str().to_owned();
    let keyword = error.schema_path().as_str();
    let schema = keyword.rsplit_once('/').and_then(|(parent, _)| root.pointer(parent)).unwrap_or(root);
    let instance = error.instance().as_ref();
    let field = pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
    let fault = |code, message: String, help: String| Fault {
        pointer: pointer.clone(),
        code,
        message,
        help,
        unknown: Vec::new(),
        known: Vec::new(),
        of_kubernetes: false,
    };
    let about =
        || schema.get("description").and_then(Value::as_str).unwrap_or_default().trim_end_matches('.').to_owned();
    let one = match error.kind() {
        Rule::AnyOf { context } | Rule::OneOfNotValid { context } => {
            let mut expected = Vec::new();
            for branch in context {
                let here = branch.iter().find(|inner| inner.instance_path().as_str() == pointer);
                match here.and_then(|inner| mismatch(inner, root)) {
                    Some(words) => expected.extend(words),
                    // The first branch that takes this type of value is the one that was meant.
                    None => return branch.iter().for_each(|inner| explain(inner, shape, found)),
                }
            }
            expected.dedup();
            wrong_type(&expected, instance, &fault)
        }
        Rule::Type { .. } => wrong_type(&type_words(schema), instance, &fault),
        Rule::AdditionalProperties { unexpected } => {
            let known = fields(root, schema).keys().cloned().collect();
            Fault {
                unknown: unexpected.clone(),
                known,
                of_kubernetes: about().contains("Kubernetes"),
                ..fault(codes::UNKNOWN_FIELD, "unknown field".to_owned(), String::new())
            }
        }
        Rule::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let code = if pointer.is_empty() && name == "version" {
                codes::BAD_VERSION
            } else if pointer.is_empty() && name == "kind" {
                codes::UNKNOWN_KIND
            } else {
                codes::MISSING_FIELD
            };
            let help = fields(root, schema)
                .get(name)
                .and_then(|schema| {
                    schema.get("description").or_else(|| super::schema::follow(root, schema).get("description"))
                })
                .and_then(|about| about.as_str().map(str::to_owned))
                .map(|text| format!("`{name}`: {}", lower_first(text.trim_end_matches('.'))))
                .unwrap_or_default();
            fault(code, format!("the field `{name}` is missing"), help)
        }
        Rule::Constant { expected_value } if field == "version" => {
            let message = format!("version {} is not known", quoted(instance));
            fault(codes::BAD_VERSION, message, format!("write `version: {expected_value}`"))
        }
        Rule::Constant { expected_value } => {
            fault(codes::NOT_A_CHOICE, format!("{} is not {}", quoted(instance), quoted(expected_value)), String::new())
        }
        Rule::Enum { options } => choice(instance, options, &fault),
        Rule::Minimum { limit } | Rule::ExclusiveMinimum { limit } => fault(
            codes::OUT_OF_RANGE,
            format!("{} is too small", quoted(instance)),
            format!("the smallest value is {limit}"),
        ),
        Rule::Maximum { limit } | Rule::ExclusiveMaximum { limit } => fault(
            codes::OUT_OF_RANGE,
            format!("{} is too large", quoted(instance)),
            format!("the largest value is {limit}"),
        ),
        Rule::Pattern { pattern } if pattern.contains(r"\{\{") && pattern.starts_with(r"\{\{") => {
            wrong_type(&["a template".to_owned()], instance, &fault)
        }
        Rule::Pattern { .. } => {
            let examples = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
            let mut texts = examples.filter_map(Value::as_str).filter(|text| !text.is_empty()).peekable();
            let some = texts.peek().is_some();
            let help = if some { format!("for example {}", alternatives(texts)) } else { String::new() };
            let message = if about().is_empty() {
                format!("{} does not have the form of `{field}`", quoted(instance))
            } else {
                format!("{} does not fit: {}", quoted(instance), lower_first(&about()))
            };
            fault(codes::MALFORMED, message, help)
        }
        Rule::MaxLength { limit } => {
            fault(codes::MALFORMED, format!("{} has more than {limit} characters", quoted(instance)), String::new())
        }
        Rule::MinLength { .. } => fault(codes::MALFORMED, format!("`{field}` is empty"), String::new()),
        Rule::MinProperties { .. } | Rule::MaxProperties { .. } => {
            let names: Vec<String> = fields(root, schema).keys().cloned().collect();
            let help = format!("exactly one of {}", alternatives(names.iter().map(String::as_str)));
            let count = instance.as_object().map_or(0, serde_json::Map::len);
            fault(codes::WRONG_COUNT, format!("{count} keys where one is wanted"), help)
        }
        Rule::MinItems { limit } => {
            fault(codes::WRONG_COUNT, format!("`{field}` needs at least {limit} entries"), String::new())
        }
        Rule::MaxItems { limit } => {
            fault(codes::WRONG_COUNT, format!("`{field}` has more than {limit} entries"), String::new())
        }
        Rule::Not { schema } if schema.as_object().is_some_and(serde_json::Map::is_empty) => {
            let message = format!("`{field}` is another spelling of a field that is there");
            fault(codes::WRONG_COUNT, message, "write one of the two".to_owned())
        }
        // Only fields that must have a value say what they may not be.
        Rule::Not { .. } => wrong_type(&["a value".to_owned()], instance, &fault),
        _ => fault(codes::NOT_VALID, shown(&error.masked().to_string()), String::new()),
    };
    found.push(one);
}

/// What a branch of a choice wanted instead of the type of value that is there; `None` when it takes such values.
fn mismatch(error: &ValidationError<'_>, root: &Value) -> Option<Vec<String>> {
    let schema = error.schema_path().as_str().rsplit_once('/').and_then(|(parent, _)| root.pointer(parent));
    match error.kind() {
        Rule::Type { .. } => Some(schema.map(type_words).unwrap_or_default()),
        Rule::Pattern { pattern } if pattern.starts_with(r"\{\{") => Some(vec!["a template".to_owned()]),
        Rule::AnyOf { context } => {
            let branches: Option<Vec<_>> =
                context.iter().map(|branch| branch.first().and_then(|inner| mismatch(inner, root))).collect();
            branches.map(|lists| lists.into_iter().flatten().collect())
        }
        _ => None,
    }
}

fn wrong_type(
    expected: &[String],
    instance: &Value,
    fault: &dyn Fn(crate::domain::diagnostic::Code, String, String) -> Fault,
) -> Fault {
    let expected = match expected.split_last() {
        None => "something else".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    };
    let help = match instance {
        Value::String(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
            "remove the quotes".to_owned()
        }
        Value::Number(_) | Value::Bool(_) if expected.starts_with("a text") => format!("quote it: `\"{instance}\"`"),
        _ => String::new(),
    };
    fault(codes::WRONG_TYPE, format!("expected {expected}, got {}", kind_of(instance)), help)
}

fn choice(
    instance: &Value,
    options: &Value,
    fault: &dyn Fn(crate::domain::diagnostic::Code, String, String) -> Fault,
) -> Fault {
    let words: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let near = instance.as_str().and_then(|word| did_you_mean(word, words.iter().copied()));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write {}", alternatives(words.iter().copied().take(24))),
    };
    fault(codes::NOT_A_CHOICE, format!("{} is not one of the words that may stand here", quoted(instance)), help)
}

fn type_words(schema: &Value) -> Vec<String> {
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let word = |name: &&str| match *name {
        "object" => Some("a mapping"),
        "array" => Some("a list"),
        "string" => Some("a text"),
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "boolean" => Some("`true` or `false`"),
        _ => None,
    };
    names.iter().filter_map(word).map(str::to_owned).collect()
}

/// A value in a sentence: `the text `x``, `a list`.
pub(super) fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(b) => format!("`{b}`"),
        Value::Number(n) => format!("the number `{n}`"),
        Value::String(text) => format!("the text `{}`", shown(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// A value in back quotes, short.
pub(super) fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", shown(text)),
        other => format!("`{}`", shown(&other.to_string())),
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next();
    first.into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}
