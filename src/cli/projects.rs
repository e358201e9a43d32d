//! `projects`: rooms for workflows.

use clap::Subcommand;

use super::client::{Client, encode};
use super::show::{self, Column, OutputArgs, or_dash};
use super::{Exit, Result};
use crate::server::views::ProjectView;

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub enum Projects {
    /// List the projects
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a project
    Get {
        /// The project
        project: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

const COLUMNS: [Column<ProjectView>; 5] = [
    ("PROJECT", |project| project.name.clone()),
    ("DEFAULT QUEUE", |project| or_dash(project.default_queue.as_ref())),
    ("QUEUES", queues),
    ("CONCURRENCY", |project| project.concurrency.to_string()),
    ("WORKFLOWS", |project| project.workflows.len().to_string()),
];

fn queues(project: &ProjectView) -> String {
    project.queues.as_ref().map_or_else(|| "any".to_owned(), |queues| queues.join(", "))
}

/// Carries it out.
pub fn run(verb: Projects, client: &Client) -> Result {
    match verb {
        Projects::Ls { output } => {
            let projects: Vec<ProjectView> = client.get("/projects")?;
            show::list(output.output, &projects, &COLUMNS, |project| project.name.clone())?;
        }
        Projects::Get { project, output } => {
            let project: ProjectView = client.get(&format!("/projects/{}", encode(&project)))?;
            let fields = [
                ("Project", Some(project.name.clone())),
                ("Default queue", project.default_queue.clone()),
                ("Queues", Some(queues(&project))),
                ("Concurrency", Some(project.concurrency.to_string())),
                ("Workflows", Some(project.workflows.join(", "))),
            ];
            show::one(output.output, &project, &project.name, &fields)?;
        }
    }
    Ok(Exit::Fine)
}
