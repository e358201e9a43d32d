//! The plan in one line.

use crate::domain::plan::model::{Plan, PlanExit};

/// Longest line, in characters: what a commit status of a forge shows.
pub const MAX_SUMMARY: usize = 140;

/// Counts that are not zero, the most important first.
pub(super) fn line(plan: &Plan) -> String {
    let s = &plan.summary;
    let end = match plan.exit_code {
        PlanExit::Unchanged => return adopted(plan).unwrap_or_else(|| "no changes".to_owned()),
        PlanExit::Changes => "",
        PlanExit::Invalid => " (invalid, exit 3)",
        PlanExit::Blocked => " (blocked, exit 4)",
        PlanExit::Incomplete => " (server not read completely, exit 5)",
    };
    let counts = [
        (s.errors, "errors"),
        (s.add, "to add"),
        (s.change, "to change"),
        (s.moved, "to move"),
        (s.remove, "to remove"),
        (s.drift, "drifted"),
        (s.cancelled, "cancelled"),
        (s.over_limit, "over limit"),
        (s.unschedulable, "can never start"),
        (s.reordered, "reordered"),
        (s.starts, "starts"),
        (s.held, "held"),
    ];
    let mut line = String::new();
    for (count, word) in counts.into_iter().filter(|(count, _)| *count > 0) {
        let next = format!("{}{count} {word}", if line.is_empty() { "" } else { ", " });
        if line.len() + next.len() + end.len() > MAX_SUMMARY {
            break;
        }
        line.push_str(&next);
    }
    if line.is_empty() {
        line.push_str("no changes");
    }
    line + end
}

fn adopted(plan: &Plan) -> Option<String> {
    plan.adopted.map(|count| format!("{count} workflows adopted, 0 runs started"))
}
