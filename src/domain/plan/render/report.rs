//! Every fact of a plan in words, once, in the order in which a reader asks. Text is harmless from here on.

use super::Mood;
use super::escape::plain;
use crate::domain::plan::model::{
    Action, Address, Class, FieldChange, Guard, Hold, HoldChange, LevelChange, ObjectChange, Plan, QueuedEffect, Rank,
    Reversibility, Revision, RunningEffect, Share, Spot, Start,
};
use crate::domain::spec::Limit;

/// Most runs, queues or references that a report names for one object.
const MAX_NAMED: usize = 5;
/// Most fields that a report shows of one object.
const MAX_FIELDS: usize = 24;
/// Most lines of a list of starts or non-starts.
const MAX_LINES: usize = 50;

/// All that a rendering for people says.
pub(super) struct Report {
    /// What was compared with what: label and text.
    pub frame: Vec<(&'static str, String)>,
    /// The objects.
    pub objects: Vec<Entry>,
    /// Division, starts, non-starts, problems, guards.
    pub sections: Vec<Section>,
    /// Summary, reversibility, digest.
    pub closing: Vec<String>,
}

/// One object.
pub(super) struct Entry {
    pub action: Action,
    /// `~ queue us/gpu`.
    pub head: String,
    pub place: Option<String>,
    pub note: Option<String>,
    pub fields: Vec<Row>,
    /// Label and paragraphs; the first line of each is the sentence, the others are a list.
    pub effects: Vec<(&'static str, Vec<String>)>,
}

/// One field.
pub(super) struct Row {
    pub name: String,
    pub change: String,
    pub place: Option<String>,
    pub lines: Vec<String>,
}

/// A titled list.
pub(super) struct Section {
    pub title: String,
    pub lines: Vec<String>,
}

/// Says the plan in words.
pub(super) fn report(plan: &Plan, mood: Mood) -> Report {
    Report {
        frame: frame(plan),
        objects: plan.objects.iter().map(|object| entry(object, mood)).collect(),
        sections: sections(plan, mood),
        closing: closing(plan, mood),
    }
}

/// A count with its noun: `1 run`, `2 runs`.
fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn frame(plan: &Plan) -> Vec<(&'static str, String)> {
    let mut lines = vec![("Comparing", revision(&plan.compared.desired))];
    lines.push((
        "Base",
        match &plan.compared.base {
            Some(base) => format!("last applied {}", revision(base)),
            None => "nothing was applied yet".to_owned(),
        },
    ));
    lines.push((
        "Server",
        match &plan.compared.live {
            None => "not asked: effects on running and queued work are not known".to_owned(),
            Some(live) if live.complete => format!("{} reporting", count(live.agents as u64, "agent")),
            Some(live) if live.unread_agents.is_empty() => {
                "could not be read completely; nothing is guessed".to_owned()
            }
            Some(live) => format!(
                "{}/{} agents reporting; not read, and nothing is guessed about them: {}",
                live.agents.saturating_sub(live.unread_agents.len()),
                live.agents,
                named(live.unread_agents.iter().map(ToString::to_string), live.unread_agents.len())
            ),
        },
    ));
    lines
}

fn revision(revision: &Revision) -> String {
    let mut text = plain(&revision.label);
    let commit = plain(revision.commit.short());
    if text.is_empty() {
        text = commit;
    } else if text != commit {
        text = format!("{text} {commit}");
    }
    if !revision.dirty.is_empty() {
        text.push_str(&format!(" (+{})", count(revision.dirty.len() as u64, "uncommitted file")));
    }
    match revision.message.lines().next() {
        Some(title) if !title.is_empty() => format!("{text}  {}", plain(title)),
        _ => text,
    }
}

fn entry(object: &ObjectChange, mood: Mood) -> Entry {
    let mut head = format!("{} {}", object.action.symbol(), plain(&object.address.to_string()));
    match (&object.moved_from, object.action) {
        (Some(from), _) => head.push_str(&format!("  moved from {}", plain(from))),
        (None, Action::Remove) => head.push_str("  no file declares it any more"),
        (None, Action::Drift) => head.push_str("  drifted"),
        _ => {}
    }
    let mut fields: Vec<Row> = object.fields.iter().take(MAX_FIELDS).map(|field| row(object, field, mood)).collect();
    if let Some(more) = object.fields.len().checked_sub(MAX_FIELDS + 1) {
        let name = format!("... {}", count(more as u64 + 1, "more field"));
        fields.push(Row { name, change: String::new(), place: None, lines: Vec::new() });
    }
    let mut effects = Vec::new();
    if let Some(effect) = &object.effects.running {
        effects.push(("running", vec![running(effect, mood)]));
    }
    if let Some(effect) = &object.effects.queued {
        effects.push(("queued", queued(effect, mood)));
    }
    if object.effects.references_total > 0 {
        effects.push(("used by", vec![references(object)]));
    }
    let place = object.place.as_ref().map(|place| match object.action {
        Action::Remove => format!("was {}", spot(place)),
        _ => spot(place),
    });
    Entry { action: object.action, head, place, note: object.note.as_deref().map(plain), fields, effects }
}

fn spot(place: &Spot) -> String {
    plain(&place.to_string())
}

fn row(object: &ObjectChange, field: &FieldChange, mood: Mood) -> Row {
    let (before, after) = (plain(&field.before), plain(&field.after));
    let by = field.changed_by.as_deref().map_or(String::new(), |who| format!(", set by {}", plain(who)));
    let now = field.now.as_deref().map(plain);
    let change = match (field.class, now) {
        (Class::Drift, Some(now)) => {
            format!("{before} (git)  {now} (live{by})  -> {} to {after}", mood.verb("return", "returned"))
        }
        (Class::Conflict, Some(now)) => format!("{before} -> {after}  conflict: {now} (live{by})"),
        (Class::Git, Some(_)) => format!("{before} -> {after}  (live already{by})"),
        _ if !field.lines.is_empty() => "text changes:".to_owned(),
        _ if before == after => format!("{before} changes"),
        _ if object.action == Action::Create => after,
        _ => format!("{before} -> {after}"),
    };
    let priority =
        if field.path == "/priority" && object.action != Action::Create { "  (higher goes first)" } else { "" };
    Row {
        name: plain(&field.name),
        change: change + priority,
        place: field.place.as_ref().map(spot),
        lines: field.lines.iter().map(|line| plain(line)).collect(),
    }
}

fn running(effect: &RunningEffect, mood: Mood) -> String {
    let now = format!("{} running", effect.now);
    if effect.cancelled > 0 {
        return format!("{now}; {} {}", effect.cancelled, mood.verb("be cancelled", "cancelled"));
    }
    let Some(limit) = effect.limit else {
        return format!("{now}. Nothing is stopped; what runs finishes");
    };
    let limit_words = match limit {
        Limit::Unlimited => "unlimited".to_owned(),
        Limit::At(0) => "limit 0 (held)".to_owned(),
        Limit::At(n) => format!("limit {n}"),
    };
    let quota: Vec<String> = effect
        .over_quota
        .iter()
        .map(|over| format!("{} used of {} {}", over.used, over.limit, plain(&over.resource)))
        .collect();
    let mut text = match effect.over_limit {
        0 => format!("{now}, {limit_words}: none over"),
        over => format!("{now}, {limit_words}: {over} over"),
    };
    if !quota.is_empty() {
        text.push_str(&format!("; over quota: {}", quota.join(", ")));
    }
    if effect.over_limit > 0 {
        text.push_str(". Nothing is stopped; ");
        match limit {
            Limit::At(0) => text.push_str("no new start"),
            _ => text.push_str(&format!("no new start until {} finish", effect.over_limit + 1)),
        }
    } else if !quota.is_empty() {
        text.push_str(". Nothing is stopped; no new start until it fits");
    }
    text
}

fn queued(effect: &QueuedEffect, mood: Mood) -> Vec<String> {
    let mut first = format!("{} queued", effect.now);
    if effect.cancelled > 0 {
        first.push_str(&format!("; {} {}", effect.cancelled, mood.verb("be cancelled", "cancelled")));
    } else if let Some(to) = &effect.moved_to {
        first.push_str(&format!("; they {} to queue {to}", mood.verb("move", "moved")));
    } else {
        match effect.hold {
            Some(HoldChange::Held) => first.push_str("; none starts while the queue is held"),
            Some(HoldChange::Released) => first.push_str("; they can start again"),
            Some(HoldChange::Drains) => first.push_str("; it takes no more, finishes these, then goes"),
            None => {}
        }
    }
    let mut lines = Vec::new();
    if effect.unschedulable_total > 0 {
        let least = if effect.partial { "at least " } else { "" };
        first.push_str(&format!(". {least}{} can never start:", effect.unschedulable_total));
        for run in effect.unschedulable.iter().take(MAX_NAMED) {
            let place = run.place.as_ref().map_or(String::new(), |place| format!("  {}", spot(place)));
            let id = run.run.to_string();
            let short = &id[id.len() - 8..];
            let (name, resource) = (plain(&run.name), plain(&run.resource));
            lines.push(format!("run ..{short} {name}  asks {}, {resource} is {}{place}", run.need, run.have));
        }
        if let Some(more) = effect.unschedulable_total.checked_sub(MAX_NAMED as u64 + 1) {
            lines.push(format!("... {more_runs}", more_runs = count(more + 1, "more run")));
        }
    }
    for rank in [Rank::Ahead, Rank::Level, Rank::Behind] {
        let of: Vec<_> = effect.order.iter().filter(|change| change.becomes == rank).collect();
        if of.is_empty() {
            continue;
        }
        let how = match rank {
            Rank::Ahead => "move ahead of",
            Rank::Level => "share a level with",
            Rank::Behind => "fall behind",
        };
        let names =
            named(of.iter().map(|change| format!("queue {} ({} queued)", change.queue, change.queued)), of.len());
        lines.push(format!("{} {how} {names}", count(effect.reordered, "run")));
    }
    lines.insert(0, first);
    lines
}

fn references(object: &ObjectChange) -> String {
    let name = |address: &Address, role: &str| match role {
        "queue" => plain(&address.to_string()),
        role => format!("{} ({role})", plain(&address.to_string())),
    };
    let names = object.effects.references.iter().map(|reference| {
        let place = reference.place.as_ref().map_or(String::new(), |place| format!(" {}", spot(place)));
        name(&reference.address, &reference.role) + &place
    });
    named(names, object.effects.references_total)
}

/// The first few of a list, and how many more there are.
fn named(names: impl Iterator<Item = String>, total: usize) -> String {
    let mut shown: Vec<String> = names.take(MAX_NAMED).collect();
    if total > shown.len() {
        shown.push(format!("{} more", total - shown.len()));
    }
    shown.join(", ")
}

fn sections(plan: &Plan, mood: Mood) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut add = |title: String, mut lines: Vec<String>| {
        if let Some(more) = lines.len().checked_sub(MAX_LINES + 1) {
            lines.truncate(MAX_LINES);
            lines.push(format!("... {} more", more + 1));
        }
        sections.push(Section { title, lines });
    };
    if !plan.division.is_empty() {
        add("Division among levels, when all are busy".into(), plan.division.iter().map(level).collect());
    }
    if let Some(adopted) = plan.adopted {
        add(format!("First sync: {} adopted, 0 runs started", count(adopted, "workflow")), Vec::new());
    }
    let (starting, held): (Vec<_>, Vec<_>) = plan.starts.iter().partition(|start| start.hold.is_none());
    let title = format!("Runs that {}: {}", mood.verb("start", "started"), starting.len());
    add(title, starting.iter().map(|start| start_line(start)).collect());
    if !held.is_empty() {
        add(format!("Runs that are held: {}", held.len()), held.iter().map(|start| start_line(start)).collect());
    }
    if !plan.skips.is_empty() {
        let title = match mood {
            Mood::DryRun => "Runs that would not start",
            Mood::Approved => "Runs that will not start",
            Mood::Applied => "Runs that did not start",
        };
        let line = |skip: &crate::domain::plan::model::Skip| {
            let place = skip.place.as_ref().map_or(String::new(), |place| format!("  {}", spot(place)));
            format!("  {}  {}{place}", skip.workflow, plain(&skip.words))
        };
        add(format!("{title}: {}", plan.skips.len()), plan.skips.iter().map(line).collect());
    }
    if !plan.problems.is_empty() {
        let line = |problem: &crate::domain::plan::model::Problem| {
            let help = if problem.help.is_empty() { String::new() } else { format!(" ({})", plain(&problem.help)) };
            let severity = if problem.error { "error" } else { "warning" };
            format!("{} {severity} {}: {}{help}", spot(&problem.place), problem.code, plain(&problem.message))
        };
        add("Problems".into(), plan.problems.iter().map(line).collect());
    }
    add("Guards".into(), plan.guards.iter().map(guard).collect());
    sections
}

fn level(change: &LevelChange) -> String {
    let slots = |n: Option<u64>| n.map_or("unlimited".to_owned(), |n| n.to_string());
    let share = |share: &Share| match share.of {
        Some(of) => format!("{} of {of}", slots(share.slots)),
        None => slots(share.slots),
    };
    let mut text = format!(
        "agent {}, priority {}: {} slots (was {})",
        change.agent,
        change.level,
        share(&change.after),
        share(&change.before)
    );
    if change.after.slots == Some(0) && change.after.limits != Some(0) {
        text.push_str("; it starts nothing while the levels above are busy");
    }
    text
}

fn start_line(start: &Start) -> String {
    let place = start.place.as_ref().map_or(String::new(), |place| format!("  {}", spot(place)));
    let never =
        start.never.as_deref().map_or(String::new(), |why| format!("; it can never leave the queue: {}", plain(why)));
    let hold = match start.hold {
        None => "",
        Some(Hold::MaxStarts) => "; held: too many starts",
        Some(Hold::Freeze) => "; held: freeze",
        Some(Hold::Unmerged) => "; starts once merged",
        Some(Hold::Refused) => "; held: a guard refuses the commit",
    };
    let (workflow, trigger) = (&start.workflow, &start.trigger);
    format!("+ {workflow}  {trigger}: {} -> queue {}{hold}{never}{place}", plain(&start.reason), start.queue)
}

fn guard(guard: &Guard) -> String {
    let verdict = match (guard.ok, guard.overridden) {
        (true, false) => "ok",
        (true, true) => "ok, the commit allows it",
        (false, _) => "BLOCKED",
    };
    let remedy = if guard.remedy.is_empty() { String::new() } else { format!("; {}", plain(&guard.remedy)) };
    format!("{}: {verdict}{remedy}", plain(&guard.words))
}

fn closing(plan: &Plan, mood: Mood) -> Vec<String> {
    let s = &plan.summary;
    let (title, to, by) = match mood {
        Mood::DryRun | Mood::Approved => ("Plan", "to ", ["add", "change", "move", "remove"]),
        Mood::Applied => ("Applied", "", ["added", "changed", "moved", "removed"]),
    };
    let counts: Vec<String> =
        by.iter().zip([s.add, s.change, s.moved, s.remove]).map(|(word, n)| format!("{n} {to}{word}")).collect();
    let mut lines = vec![
        format!(
            "{title}: {}, {} drifted.  Effects: {} cancelled, {} over limit, {} can never start, {} reordered, {} {}.",
            counts.join(", "),
            s.drift,
            s.cancelled,
            s.over_limit,
            s.unschedulable,
            s.reordered,
            s.starts,
            if mood == Mood::Applied { "started" } else { "to start" }
        ),
        match plan.reversibility {
            Reversibility::Full => "Reverting this commit restores everything.".to_owned(),
            Reversibility::ExceptCancelled(n) => {
                format!("Reverting this commit restores everything but {}.", count(n, "cancelled run"))
            }
        },
    ];
    let exit = match plan.exit_code.code() {
        0 => "No changes.".to_owned(),
        2 => "Nothing blocks it.".to_owned(),
        3 => format!("{} in files (exit 3).", count(s.errors, "error")),
        4 => format!(
            "{} it (exit 4).",
            if s.blocked == 1 { "1 guard blocks".into() } else { format!("{} guards block", s.blocked) }
        ),
        _ => "The server was not read completely; nothing is decided (exit 5).".to_owned(),
    };
    lines.push(format!("{exit}  plan {}", plan.digest.short()));
    lines
}
