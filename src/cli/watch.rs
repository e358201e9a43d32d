//! Following a run until it ends.

use super::Result;
use super::client::{Client, encode, event_data};
use super::show::{or_dash, out, plain};
use crate::domain::dispatch::status::Status;
use crate::server::views::{AppliedView, ConditionView, RunView};

/// Writes the timeline of a run; when it is `watched`, goes on until the run has ended. Gives the run at the end.
pub fn timeline(client: &Client, run: &str, watched: bool) -> Result<RunView> {
    let path = format!("/runs/{}", encode(run));
    let mut last = 0;
    for step in client.get::<Vec<ConditionView>>(&format!("{path}/conditions"))? {
        last = step.seq;
        out(&step_line(&step, None))?;
    }
    let now: RunView = client.get(&path)?;
    if !watched || ended(&now.status) && last > 0 {
        return Ok(now);
    }
    for event in client.events(&format!("/events?run={}&after={last}", now.uuid))? {
        let event = event?;
        if event.kind == "run" {
            let step: ConditionView = event_data(&event)?;
            out(&step_line(&step, None))?;
            if step.status.as_deref().is_some_and(ended) {
                break;
            }
        }
    }
    let now: RunView = client.get(&path)?;
    if ended(&now.status) { Ok(now) } else { anyhow::bail!("the server closed the stream before run {} ended", now.uuid) }
}

/// Writes the changes of all runs, and the commits that are applied, until the server goes.
pub fn everything(client: &Client) -> Result<()> {
    for event in client.events("/events")? {
        let event = event?;
        match event.kind.as_str() {
            "run" => {
                let step: ConditionView = event_data(&event)?;
                out(&step_line(&step, Some(&step.uuid)))?;
            }
            "sync" => {
                let applied: AppliedView = event_data(&event)?;
                let commit: String = applied.commit.chars().take(7).collect();
                out(&format!("{}  applied {}  {}\n", applied.at, plain(&commit), plain(&applied.note)))?;
            }
            _ => {}
        }
    }
    anyhow::bail!("the server closed the stream")
}

/// Whether a status is final.
pub fn ended(status: &str) -> bool {
    Status::parse(status).is_some_and(Status::is_final)
}

fn step_line(step: &ConditionView, run: Option<&str>) -> String {
    let run = run.map(|run| run.to_owned() + "  ").unwrap_or_default();
    let attempt = step.attempt.map(|attempt| format!("#{attempt}"));
    let why = [step.reason.as_deref(), step.message.as_deref()].into_iter().flatten().filter(|text| !text.is_empty());
    let why = plain(&why.collect::<Vec<_>>().join(": "));
    let line = format!("{}  {run}{:<15}  {:<3}  {why}", step.at, or_dash(step.status.as_ref()), or_dash(attempt));
    line.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_line_that_no_terminal_obeys() {
        let step = ConditionView {
            seq: 7,
            uuid: "ab".into(),
            status: Some("failed".into()),
            attempt: Some(1),
            reason: Some("Error".into()),
            message: Some("exit 3\n\u{1b}[2J".into()),
            at: "2026-01-01T00:00:00.000Z".into(),
        };
        let line = "2026-01-01T00:00:00.000Z  failed           #1   Error: exit 3\\n\\u{1b}[2J\n";
        assert_eq!(step_line(&step, None), line);
    }
}
