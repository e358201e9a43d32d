//! `agents`: where operations run, with their use.

use clap::Subcommand;

use super::client::{Client, encode};
use super::show::{self, Column, OutputArgs, note, out};
use super::{Exit, Result};
use crate::server::views::{AgentView, DoneView, GoneView};

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub enum Agents {
    /// List the agents with their use
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show an agent and its levels
    Get {
        /// The agent
        agent: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Give up what an agent holds whose cluster is gone for good
    Forget {
        /// The agent
        agent: String,
        /// Do it; without, only what would be lost is said
        #[arg(long)]
        yes: bool,
    },
}

const COLUMNS: [Column<AgentView>; 8] = [
    ("AGENT", |agent| agent.name.clone()),
    ("TARGET", |agent| agent.target.clone()),
    ("UP", |agent| if agent.up { "yes".into() } else { "no".into() }),
    ("RUNNING", |agent| agent.running.to_string()),
    ("LIMIT", |agent| agent.concurrency.to_string()),
    ("QUEUED", |agent| agent.queued.to_string()),
    ("USED", |agent| agent.used.to_string()),
    ("TROUBLE", |agent| agent.trouble.clone().unwrap_or_default()),
];

/// Carries it out.
pub fn run(verb: Agents, client: &Client) -> Result {
    match verb {
        Agents::Ls { output } => {
            let agents: Vec<AgentView> = client.get("/agents")?;
            show::list(output.output, &agents, &COLUMNS, |agent| agent.name.clone())?;
            let gone: Vec<GoneView> = client.get("/gone-agents")?;
            gone.iter().for_each(|agent| note(&looked_out_for(agent)));
        }
        Agents::Forget { agent, yes } => {
            let path = format!("/agents/{}", encode(&agent));
            let view: AgentView = client.get(&path)?;
            if !yes && !view.up {
                note(&what_is_lost(&view));
                return Ok(Exit::Blocked);
            }
            let done: DoneView = client.post(&format!("{path}/forget"), &serde_json::json!({}))?;
            let ended = if done.changed { view.running } else { 0 };
            out(&format!("agent {agent} is forgotten: {ended} operations ended as failed\n"))?;
        }
        Agents::Get { agent, output } => {
            let agent: AgentView = client.get(&format!("/agents/{}", encode(&agent)))?;
            let level = |level: &crate::server::views::LevelView| {
                let budget = level.budget.map_or_else(|| "unlimited".to_owned(), |budget| budget.to_string());
                format!("{}: {} of {budget}", level.priority, level.running)
            };
            let fields = [
                ("Agent", Some(agent.name.clone())),
                ("Target", Some(agent.target.clone())),
                ("Up", Some(if agent.up { "yes" } else { "no" }.to_owned())),
                ("Trouble", agent.trouble.clone()),
                ("Concurrency", Some(agent.concurrency.to_string())),
                ("Capacity", Some(agent.capacity.to_string())),
                ("Running", Some(agent.running.to_string())),
                ("Queued", Some(agent.queued.to_string())),
                ("Used", Some(agent.used.to_string())),
                ("Levels", Some(agent.levels.iter().map(level).collect::<Vec<_>>().join(", "))),
                ("State", agent.removed.then(|| "removed, finishing".to_owned())),
            ];
            show::one(output.output, &agent, &agent.name, &fields)?;
        }
    }
    Ok(Exit::Fine)
}

/// What is still done about an agent that is not there any more, in words.
fn looked_out_for(agent: &GoneView) -> String {
    let day = |moment: &str| moment.chars().take(10).collect::<String>();
    let GoneView { name, since, until, trouble } = agent;
    let tried = trouble.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!(
        "{name} went on {}; until {} its cluster is looked out for{tried}: when it is there, what is left of it there is deleted",
        day(since),
        day(until)
    )
}

/// What giving up an agent costs, in words.
fn what_is_lost(agent: &AgentView) -> String {
    let AgentView { name, running, queued, .. } = agent;
    let trouble = agent.trouble.as_deref().unwrap_or("it is not known yet why");
    format!(
        "agent {name} cannot be reached: {trouble}\n\
         {running} operations hold slots there. Forgetting it ends them as failed, with what they have reported so far: their\n\
         later logs and outputs are lost, and so is whether they succeeded. Whether they still run there is not known; should\n\
         the cluster come back, they are deleted there. {queued} wait in its queues and stay in line.\n\
         Nothing was done: say `tidegate agents forget {name} --yes`"
    )
}
