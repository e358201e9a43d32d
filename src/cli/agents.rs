//! `agents`: where operations run, with their use.

use clap::Subcommand;

use super::client::{Client, encode};
use super::show::{self, Column, OutputArgs};
use super::{Exit, Result};
use crate::server::views::AgentView;

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
