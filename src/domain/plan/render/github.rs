//! The plan as workflow commands of GitHub Actions: a mark on each line that matters.

use super::report::{Entry, Report};
use super::{escape, summary};
use crate::domain::plan::model::{Action, ObjectChange, Plan, Spot};

/// A command for each problem, guard that blocks, and object; the summary last.
pub(super) fn render(plan: &Plan, report: &Report) -> String {
    let mut out = String::new();
    for problem in &plan.problems {
        let level = if problem.error { "error" } else { "warning" };
        let help = if problem.help.is_empty() { String::new() } else { format!(" ({})", problem.help) };
        command(&mut out, level, Some(&problem.place), &problem.code, &format!("{}{help}", problem.message));
    }
    for guard in plan.guards.iter().filter(|guard| !guard.ok) {
        command(&mut out, "error", None, guard.id.word(), &format!("{}; {}", guard.words, guard.remedy));
    }
    for (object, entry) in plan.objects.iter().zip(&report.objects) {
        object_commands(&mut out, object, entry);
    }
    for start in plan.starts.iter().filter(|start| start.never.is_some()) {
        let why = start.never.as_deref().unwrap_or_default();
        command(&mut out, "warning", start.place.as_ref(), &format!("{} can never start", start.workflow), why);
    }
    command(&mut out, "notice", None, "plan", &summary::line(plan));
    out
}

/// The effects of an object at its head, each field at its own line.
fn object_commands(out: &mut String, object: &ObjectChange, entry: &Entry) {
    let running = object.effects.running.as_ref();
    let queued = object.effects.queued.as_ref();
    let hurts = running.is_some_and(|r| r.over_limit > 0 || r.cancelled > 0 || !r.over_quota.is_empty())
        || queued.is_some_and(|q| q.unschedulable_total > 0 || q.cancelled > 0);
    let level = if hurts { "warning" } else { "notice" };
    let effects: Vec<String> =
        entry.effects.iter().map(|(label, lines)| format!("{label}: {}", lines.join("\n"))).collect();
    let message: Vec<String> = entry.note.iter().cloned().chain(effects).collect();
    let message = if message.is_empty() { sentence(object.action).to_owned() } else { message.join("\n") };
    command(out, level, object.place.as_ref(), &entry.head, &message);
    for (field, row) in object.fields.iter().zip(&entry.fields).filter(|(field, _)| field.place.is_some()) {
        if object.action != Action::Create {
            command(
                out,
                "notice",
                field.place.as_ref(),
                &object.address.to_string(),
                &format!("{}: {}", row.name, row.change),
            );
        }
    }
}

/// The action as a sentence.
const fn sentence(action: Action) -> &'static str {
    match action {
        Action::Create => "is new",
        Action::Update => "changes",
        Action::Remove => "goes",
        Action::Move => "has another name",
        Action::Drift => "returns to what the files say",
    }
}

fn command(out: &mut String, level: &str, place: Option<&Spot>, title: &str, message: &str) {
    let mut properties = Vec::new();
    if let Some(place) = place {
        properties.push(format!("file={}", property(&place.file)));
        if place.line > 0 {
            properties.push(format!("line={}", place.line));
            properties.push(format!("col={}", place.column));
        }
        if place.end_column > place.column {
            properties.push(format!("endColumn={}", place.end_column));
        }
    }
    properties.push(format!("title={}", property(title)));
    let lines: Vec<String> = message.lines().map(escape::plain).collect();
    out.push_str(&format!("::{level} {}::{}\n", properties.join(","), data(&lines.join("\n"))));
}

/// As the runner reads the text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the runner reads a property of a command.
fn property(text: &str) -> String {
    data(&escape::plain(text)).replace(':', "%3A").replace(',', "%2C")
}
