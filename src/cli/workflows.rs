//! `workflows`: what can start runs.

use clap::Subcommand;

use super::client::{Client, encode, query};
use super::show::{self, Column, OutputArgs, or_dash};
use super::{Exit, Result};
use crate::server::views::WorkflowView;

/// What to do with workflows.
#[derive(Debug, Subcommand)]
pub enum Workflows {
    /// List the workflows of the applied commit
    Ls {
        /// Only those of this project
        #[arg(short, long)]
        project: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a workflow
    Get {
        /// project/workflow
        workflow: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

const COLUMNS: [Column<WorkflowView>; 5] = [
    ("WORKFLOW", full_name),
    ("QUEUE", |workflow| workflow.queue.clone()),
    ("KIND", |workflow| workflow.kind.clone()),
    ("TRIGGERS", |workflow| or_dash(Some(workflow.triggers.join(", ")).filter(|words| !words.is_empty()))),
    ("FILE", |workflow| or_dash(workflow.place.as_ref())),
];

fn full_name(workflow: &WorkflowView) -> String {
    format!("{}/{}", workflow.project, workflow.name)
}

/// Carries it out.
pub fn run(verb: Workflows, client: &Client) -> Result {
    match verb {
        Workflows::Ls { project, output } => {
            let workflows: Vec<WorkflowView> =
                client.get(&format!("/workflows{}", query(&[("project", project.as_deref())])))?;
            show::list(output.output, &workflows, &COLUMNS, full_name)?;
        }
        Workflows::Get { workflow, output } => {
            let Some((project, name)) = workflow.split_once('/') else {
                anyhow::bail!("a workflow is named `project/workflow`");
            };
            let workflow: WorkflowView = client.get(&format!("/workflows/{}/{}", encode(project), encode(name)))?;
            let inputs = serde_json::Value::from(workflow.inputs.clone()).to_string();
            let fields = [
                ("Workflow", Some(full_name(&workflow))),
                ("Kind", Some(workflow.kind.clone())),
                ("Queue", Some(workflow.queue.clone())),
                ("Triggers", Some(workflow.triggers.join(", "))),
                ("Inputs", (!workflow.inputs.is_empty()).then_some(inputs)),
                ("File", workflow.place.clone()),
                ("Digest", Some(workflow.spec_digest.clone())),
                ("Cannot run", workflow.unrunnable.clone()),
                ("Run", Some(workflow.run.to_string())),
            ];
            show::one(output.output, &workflow, &full_name(&workflow), &fields)?;
        }
    }
    Ok(Exit::Fine)
}
