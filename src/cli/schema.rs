//! `schema`: prints the JSON Schema of a kind, or of all kinds together.

use clap::Args;

use crate::domain::compile::schema::{ANY, Draft, PUBLISHED, render};
use crate::domain::diagnostic::did_you_mean;

/// Which schema.
#[derive(Debug, Clone, Args)]
pub struct SchemaArgs {
    /// organization, agent, queue, project, component, workflow, operation, preset, workload or compiled_operation; without it, any of them
    pub kind: Option<String>,
    /// Write draft 7, which more editors know, instead of 2020-12
    #[arg(long)]
    pub draft_07: bool,
}

/// The text of the schema, or why there is none.
pub fn run(args: &SchemaArgs) -> Result<String, String> {
    let draft = if args.draft_07 { Draft::Draft7 } else { Draft::Draft2020 };
    let name = args.kind.as_deref().unwrap_or(ANY);
    let schema = render(name, draft).ok_or_else(|| {
        let names = PUBLISHED.map(|(name, _)| name);
        match did_you_mean(name, names) {
            Some(near) => format!("there is no kind `{}`; did you mean `{near}`?", name.escape_debug()),
            None => format!("there is no kind `{}`; the kinds are {}", name.escape_debug(), names.join(", ")),
        }
    })?;
    Ok(format!("{schema:#}\n"))
}
