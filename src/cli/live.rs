//! The live view: agents and queues as bars, the newest runs below; redrawn in place, or one line for each change.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::Result;
use super::show::{colour, out, plain, short, telling_length, width};
use crate::domain::dispatch::State;
use crate::domain::dispatch::history::{RowOp, RunFilter, RunRow, project};
use crate::domain::ids::{RunId, Seq};
use crate::domain::spec::Limit;
use crate::domain::time::Timestamp;
use crate::engine::{Engine, wall_clock};

/// Runs that are shown.
const RUNS: usize = 15;
/// Characters of an id on a line of its own: those of the millisecond in which it was made.
const LINE_ID: usize = 12;
/// Cells of a bar.
const BAR: u32 = 20;
/// Shortest time between two drawings: quick enough for the eye, cheap for the machine.
const REDRAW: Duration = Duration::from_millis(200);

/// Shows what an engine does until `done` says so; `headline` is the first line.
pub fn watch(engine: &Engine, headline: impl Fn() -> String, mut done: impl FnMut() -> bool) -> Result<()> {
    if std::io::stdout().is_terminal() { redraw(engine, headline, &mut done) } else { lines(engine, &mut done) }
}

fn redraw(engine: &Engine, headline: impl Fn() -> String, done: &mut dyn FnMut() -> bool) -> Result<()> {
    let mut drawn = 0;
    loop {
        let last = done();
        let rows = engine.history().runs(&RunFilter { limit: RUNS, ..RunFilter::default() })?;
        let body = engine.read(|state| frame(state, &rows, wall_clock(), width()));
        let text = format!("{}\n{body}", cut(&plain(&headline()), width()));
        let mut screen = String::new();
        if drawn > 0 {
            // Back to the first line of what was drawn before, and clear from there.
            screen.push_str(&format!("\u{1b}[{drawn}A\u{1b}[J"));
        }
        text.lines().for_each(|line| screen.push_str(&(paint(line) + "\n")));
        drawn = text.lines().count();
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(screen.as_bytes())?;
        stdout.flush()?;
        drop(stdout);
        if last {
            return Ok(());
        }
        std::thread::sleep(REDRAW);
    }
}

/// One line for each change of a run's status.
fn lines(engine: &Engine, done: &mut dyn FnMut() -> bool) -> Result<()> {
    let mut after = Seq::default();
    let mut names: BTreeMap<RunId, String> = BTreeMap::new();
    loop {
        let last = done();
        loop {
            let batch = engine.history().events(after, 1000)?;
            let Some((end, _, _)) = batch.last() else { break };
            after = *end;
            let mut rows = Vec::new();
            for (seq, at, event) in &batch {
                project(*at, *seq, event, &mut rows);
            }
            for row in rows {
                match row {
                    // Its name is needed for as long as it runs.
                    RowOp::Insert(run) => drop(names.insert(run.id, run.name)),
                    RowOp::Condition(step) => {
                        let Some(status) = step.status else { continue };
                        let name = names.get(&step.run).cloned().unwrap_or_default();
                        if status.is_final() {
                            names.remove(&step.run);
                        }
                        let why = step.cause.map(|cause| cause.message).unwrap_or_default();
                        let line = format!(
                            "{}  {}  {:<15}  {}  {}",
                            step.at,
                            short(&step.run.to_string(), LINE_ID),
                            status,
                            plain(&name),
                            plain(&why)
                        );
                        out(&(line.trim_end().to_owned() + "\n"))?;
                    }
                    RowOp::Sync(sync) => {
                        out(&format!("{}  applied {}  {}\n", sync.at, plain(sync.commit.short()), plain(&sync.note)))?
                    }
                    RowOp::Update(..) | RowOp::Rename(_) | RowOp::Delete(_) => {}
                }
            }
        }
        if last {
            return Ok(());
        }
        std::thread::sleep(REDRAW);
    }
}

/// The view as lines of at most `width` columns, without colour.
pub fn frame(state: &State, rows: &[RunRow], now: Timestamp, width: usize) -> String {
    let mut lines = Vec::new();
    let queues: Vec<_> = state.queues().collect();
    let name_width = queues.iter().map(|queue| queue.name.to_string().len()).max().unwrap_or_default();
    for agent in state.agents() {
        let up = if agent.up { "" } else { "  not reachable" };
        let waiting: u32 = queues.iter().filter(|q| q.name.agent == *agent.name).map(|q| q.queued).sum();
        let name = agent.name.to_string();
        lines.push(gauge(&name, name_width, agent.running, agent.policy.concurrency, waiting, up));
        for queue in queues.iter().filter(|queue| queue.name.agent == *agent.name) {
            let word = match (queue.policy.hold, queue.removed, queue.changed_by) {
                (_, true, _) => "  removed",
                (true, _, _) => "  held",
                (_, _, Some(_)) => "  changed",
                _ => "",
            };
            let name = format!("  {}", queue.name.queue);
            lines.push(gauge(&name, name_width, queue.running, queue.policy.concurrency, queue.queued, word));
        }
    }
    lines.push(String::new());
    let rows = &rows[..rows.len().min(RUNS)];
    let ids: Vec<String> = rows.iter().map(|run| run.id.to_string()).collect();
    let length = telling_length(ids.iter().map(String::as_str));
    for (run, id) in rows.iter().zip(&ids) {
        let end = run.finished_at.unwrap_or(now);
        let age = run.started_at.map_or_else(|| "-".to_owned(), |from| end.since(from).to_string());
        let why = run.cause.as_ref().map(|cause| plain(&cause.message)).unwrap_or_default();
        let name = format!("{}/{}", run.project, plain(&run.name));
        lines.push(format!(
            "{}  {:<15} {:>7}  {:<20}  {name}  {why}",
            short(id, length),
            run.status.word(),
            age,
            run.queue.to_string()
        ));
    }
    lines.iter().map(|line| cut(line.trim_end(), width) + "\n").collect()
}

fn gauge(name: &str, name_width: usize, running: u32, limit: Limit, queued: u32, word: &str) -> String {
    let (bar, limit) = match limit {
        Limit::At(limit) => {
            let full = if limit == 0 { 0 } else { (u64::from(running) * u64::from(BAR)).div_ceil(u64::from(limit)) };
            (full.min(u64::from(BAR)) as usize, limit.to_string())
        }
        Limit::Unlimited => (running.min(BAR) as usize, "∞".to_owned()),
    };
    let bar = format!("{}{}", "█".repeat(bar), "░".repeat(BAR as usize - bar));
    format!("{name:<name_width$}  {bar}  {:>9}  {queued} queued{word}", format!("{running}/{limit}"))
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Colours the words of statuses.
fn paint(line: &str) -> String {
    use anstyle::{AnsiColor, Style};
    if !colour() {
        return line.to_owned();
    }
    let style = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    let words = [
        ("succeeded", AnsiColor::Green),
        ("running", AnsiColor::Cyan),
        ("upstream_failed", AnsiColor::Red),
        ("failed", AnsiColor::Red),
        ("stopped", AnsiColor::Yellow),
        ("stopping", AnsiColor::Yellow),
        ("retrying", AnsiColor::Yellow),
        ("warning", AnsiColor::Yellow),
    ];
    // The status is the second word of a run's line.
    let status = line.split_whitespace().nth(1).unwrap_or_default();
    match words.iter().find(|(word, _)| *word == status) {
        Some((word, colour)) => {
            let style = style(*colour);
            line.replacen(word, &format!("{style}{word}{style:#}"), 1)
        }
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::{AgentPolicy, QueuePolicy};
    use crate::domain::dispatch::event::{Event, NewRun, Origin, RevisionApplied};
    use crate::domain::dispatch::history::{RowOp, project};
    use crate::domain::dispatch::schedule;
    use crate::domain::ids::{AgentName, CommitId, Digest, Name, ProjectName, QueueName};
    use crate::domain::spec::{LocalTarget, TargetSpec};

    #[test]
    fn the_view_shows_use_and_runs() {
        let agent = AgentName::parse("here").unwrap();
        let gpu = QueueName::parse("here/gpu").unwrap();
        let policy = AgentPolicy {
            concurrency: Limit::At(4),
            capacity: Default::default(),
            default_queue: Name::parse("default").unwrap(),
            target: TargetSpec::Local(LocalTarget::default()),
        };
        let queue = |concurrency, hold| Some(QueuePolicy { concurrency, hold, ..QueuePolicy::default() });
        let revision = RevisionApplied {
            commit: CommitId::new("c"),
            policy: CommitId::new("c"),
            subject: String::new(),
            plan: Digest::of(b""),
            organization: None,
            agents: [(agent.clone(), Some(policy))].into(),
            queues: [
                (QueueName::default_of(&agent), queue(Limit::Unlimited, true)),
                (gpu.clone(), queue(Limit::At(2), false)),
            ]
            .into(),
            projects: Default::default(),
            renamed: Default::default(),
            cursors: Default::default(),
            note: String::new(),
        };
        let mut events = vec![Event::RevisionApplied(Box::new(revision))];
        for i in 0..3u128 {
            events.push(Event::RunCreated(Box::new(NewRun {
                origin: Origin::Push { reason: String::new() },
                ..NewRun::bare(
                    RunId(uuid::Uuid::from_u128((i + 1) << 96)),
                    ProjectName::parse("vision").unwrap(),
                    format!("train-{i}\u{1b}[2J"),
                    gpu.clone(),
                )
            })));
        }
        let (mut state, at) = (State::default(), Timestamp(60_000));
        events.iter().for_each(|event| state.apply(at, event));
        state.set_agent_up(&agent, true);
        loop {
            let (more, again) = schedule(&mut state, at);
            events.extend(more);
            if !again {
                break;
            }
        }
        let mut rows: BTreeMap<RunId, RunRow> = BTreeMap::new();
        for (seq, event) in events.iter().enumerate() {
            let mut ops = Vec::new();
            project(at, Seq(seq as u64 + 1), event, &mut ops);
            for op in ops {
                match op {
                    RowOp::Insert(row) => drop(rows.insert(row.id, *row)),
                    RowOp::Update(run, patch) => patch.apply(rows.get_mut(&run).unwrap()),
                    _ => {}
                }
            }
        }
        let rows: Vec<RunRow> = rows.into_values().collect();
        insta::assert_snapshot!(frame(&state, &rows, Timestamp(95_000), 100), @r"
        here          ██████████░░░░░░░░░░        2/4  1 queued
          default     ░░░░░░░░░░░░░░░░░░░░        0/∞  0 queued  held
          gpu         ████████████████████        2/2  1 queued

        00000001  scheduled             -  here/gpu              vision/train-0\u{1b}[2J
        00000002  scheduled             -  here/gpu              vision/train-1\u{1b}[2J
        00000003  queued                -  here/gpu              vision/train-2\u{1b}[2J
        ");
        assert!(frame(&state, &rows, Timestamp(95_000), 40).lines().all(|line| line.chars().count() <= 40));
    }
}
