//! A pipeline in the terminal: a graph by levels with states, a matrix as a table of its best runs, with progress.

use super::show::{plain, short, took};
use crate::domain::time::Span;
use crate::server::views::{OperationView, PipelineView, TrialView};

/// Lines of a graph at most: larger ones show each level as one line.
const LINES: usize = 60;
/// Cells of the progress bar.
const BAR: u64 = 30;
/// Characters of an id.
const ID: usize = 12;
/// Names of operations in a row at most: those before one, those of a level that failed.
const NAMES: usize = 4;
/// Characters of a value in the table of a matrix.
const VALUE: usize = 14;

/// The pipeline, as text that ends with a line feed.
pub fn drawn(view: &PipelineView) -> String {
    let mut text = progress(view);
    if !view.operations.is_empty() {
        text += &graph(&view.operations);
    }
    if !view.best.is_empty() {
        text += &trials(view);
    }
    text
}

fn progress(view: &PipelineView) -> String {
    let ended: u64 = ["succeeded", "failed", "upstream_failed", "stopped", "skipped"]
        .iter()
        .filter_map(|word| view.counts.get(*word))
        .sum();
    let counts: Vec<String> = view.counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let eta = view.eta_seconds.map(|eta| format!(", about {} left", Span::seconds(eta))).unwrap_or_default();
    match view.total.filter(|total| *total > 0) {
        Some(total) => {
            let full = (ended.min(total) * BAR / total) as usize;
            let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR as usize - full));
            format!("{bar}  {ended}/{total}  {}{eta}\n", counts.join(", "))
        }
        None => format!("{ended} ended  {}{eta}\n", counts.join(", ")),
    }
}

fn sign(status: &str) -> char {
    match status {
        "succeeded" => '✔',
        "failed" => '✖',
        "upstream_failed" => '▲',
        "stopped" => '■',
        "skipped" => '⊘',
        "waiting" => '○',
        "created" | "compiled" | "queued" | "retrying" => '◌',
        _ => '●',
    }
}

fn graph(operations: &[OperationView]) -> String {
    let mut text = String::new();
    let width = operations.iter().map(|one| one.name.chars().count()).max().unwrap_or(0).min(40);
    let whole = operations.len() <= LINES;
    for (n, level) in operations.chunk_by(|a, b| a.level == b.level).enumerate() {
        if n >= LINES {
            let last = operations.last().map_or(0, |one| one.level);
            text += &format!("… {} more levels\n", u64::from(last) + 1 - n as u64);
            break;
        }
        if !whole {
            text += &format!("{:>4} ─ {}\n", n + 1, summary(level));
            continue;
        }
        for (i, one) in level.iter().enumerate() {
            let edge = match (i, level.len()) {
                (0, 1) => "─",
                (0, _) => "┬",
                (i, len) if i + 1 == len => "└",
                _ => "├",
            };
            let number = if i == 0 { (n + 1).to_string() } else { String::new() };
            let after = if one.after.is_empty() { String::new() } else { format!("← {}", names(&one.after)) };
            let time = if one.started_at.is_some() {
                took(one.started_at.as_deref(), one.finished_at.as_deref())
            } else {
                String::new()
            };
            let line = format!(
                "{number:>4} {edge} {} {:<width$}  {:<15} {time:>7}  {after}",
                sign(&one.status),
                plain(&one.name),
                one.status
            );
            text += line.trim_end();
            text.push('\n');
        }
    }
    text
}

/// A level of a large graph in one line.
fn summary(level: &[OperationView]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for one in level {
        match counts.iter_mut().find(|(status, _)| *status == one.status) {
            Some((_, n)) => *n += 1,
            None => counts.push((&one.status, 1)),
        }
    }
    let words: Vec<String> = counts.iter().map(|(status, n)| format!("{} {n} {status}", sign(status))).collect();
    let failed: Vec<String> = level.iter().filter(|one| one.status == "failed").map(|one| one.name.clone()).collect();
    let failed = if failed.is_empty() { String::new() } else { format!("  ✖ {}", names(&failed)) };
    words.join("  ") + &failed
}

/// The first of some names, and how many there are beside them.
fn names(all: &[String]) -> String {
    let shown = plain(&all[..all.len().min(NAMES)].join(", "));
    if all.len() > NAMES { format!("{shown} and {} more", all.len() - NAMES) } else { shown }
}

fn trials(view: &PipelineView) -> String {
    let mut names: Vec<&String> = view.best.iter().flat_map(|trial| trial.params.keys()).collect();
    let mut known = std::collections::BTreeSet::new();
    names.retain(|name| known.insert(name.as_str()));
    let mut table: Vec<Vec<String>> = Vec::new();
    let mut head = vec!["RUN".to_owned(), "NAME".to_owned(), "STATUS".to_owned()];
    head.extend(view.metric.iter().map(|metric| metric.to_uppercase()));
    head.extend(names.iter().map(|name| (*name).clone()));
    table.push(head);
    for trial in &view.best {
        table.push(line(trial, view.metric.is_some(), &names));
    }
    let widths: Vec<usize> =
        (0..table[0].len()).map(|i| table.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &table {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn line(trial: &TrialView, metric: bool, names: &[&String]) -> Vec<String> {
    let mut cells = vec![short(&trial.uuid, ID), plain(&trial.name), trial.status.clone()];
    if metric {
        cells.push(trial.value.map_or("-".to_owned(), |value| cut(&value.to_string())));
    }
    cells.extend(names.iter().map(|name| match trial.params.get(*name) {
        None => "-".to_owned(),
        Some(serde_json::Value::String(text)) => cut(&plain(text)),
        Some(other) => cut(&other.to_string()),
    }));
    cells
}

fn cut(text: &str) -> String {
    text.chars().take(VALUE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_drawn_by_levels_and_a_large_one_in_bounds() {
        let one = |name: &str, status: &str, level, after: &[&str]| OperationView {
            name: name.to_owned(),
            status: status.to_owned(),
            level,
            after: after.iter().map(|name| (*name).to_owned()).collect(),
            uuid: None,
            started_at: None,
            finished_at: None,
            message: None,
        };
        let mut view = PipelineView {
            uuid: "1".repeat(32),
            kind: "dag".to_owned(),
            status: "running".to_owned(),
            total: Some(4),
            counts: [("succeeded".to_owned(), 1), ("running".to_owned(), 2), ("waiting".to_owned(), 1)].into(),
            eta_seconds: Some(12),
            operations: vec![
                one("fetch", "succeeded", 0, &[]),
                one("train-a", "running", 1, &["fetch"]),
                one("train-b", "running", 1, &["fetch"]),
                one("report", "waiting", 2, &["train-a", "train-b"]),
            ],
            metric: None,
            best: Vec::new(),
        };
        insta::assert_snapshot!(drawn(&view), @r"
        ███████░░░░░░░░░░░░░░░░░░░░░░░  1/4  2 running, 1 succeeded, 1 waiting, about 12s left
           1 ─ ✔ fetch    succeeded
           2 ┬ ● train-a  running                  ← fetch
             └ ● train-b  running                  ← fetch
           3 ─ ○ report   waiting                  ← train-a, train-b
        ");
        view.operations = (0..10_000).map(|i| one(&format!("n{i}"), "waiting", i / 10, &[])).collect();
        assert_eq!(drawn(&view).lines().count(), LINES + 2, "a line for progress, one for what is left out");
        let many: Vec<String> = (0..7).map(|i| format!("n{i}")).collect();
        view.operations[9_999].after = many;
        (3..9).for_each(|i| view.operations[i].status = "failed".to_owned());
        let first = drawn(&view).lines().nth(1).unwrap().to_owned();
        assert_eq!(first, "   1 ─ ○ 4 waiting  ✖ 6 failed  ✖ n3, n4, n5, n6 and 2 more");
        view.operations.drain(..9_999);
        assert!(drawn(&view).trim_end().ends_with("← n0, n1, n2, n3 and 3 more"), "{}", drawn(&view));
        view.operations.clear();
        view.metric = Some("loss".to_owned());
        view.best = vec![TrialView {
            uuid: "2".repeat(32),
            name: "sweep-3".to_owned(),
            status: "succeeded".to_owned(),
            value: Some(0.125),
            params: serde_json::Map::from_iter([("lr".to_owned(), 0.1.into()), ("act".to_owned(), "relu".into())]),
        }];
        let text = drawn(&view);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            ["RUN           NAME     STATUS     LOSS   lr   act", "222222222222  sweep-3  succeeded  0.125  0.1  relu"]
        );
    }
}
