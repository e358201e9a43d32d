//! Pipelines from text to finished operations: compiled, led, run as real processes on the local agent.

#![allow(clippy::unwrap_used)] // a test that cannot unwrap fails, which is what it should do

mod builds;
mod dags;
mod hooks;
mod limits;
mod lives;
mod open;
#[path = "../path/process.rs"]
mod process;
mod schedules;
#[path = "../path/site.rs"]
#[allow(dead_code)] // the room of another test, of which this one needs a part
mod site;
mod sweeps;

use site::{Server, Site};
use tidegate::domain::dispatch::history::RunRow;
use tidegate::domain::dispatch::status::Status;

/// A site whose first commit is applied.
fn begun() -> (Site, Server) {
    let site = Site::new();
    let first = site.push("first");
    let server = site.start();
    server.until_seen(&first);
    (site, server)
}

/// Pushes a workflow of project `p`; its text is the operation, with its component inline.
fn push(site: &Site, name: &str, operation: &str) {
    let text = format!("version: 1.1\nkind: operation\nname: {name}\n{operation}");
    site.write(&format!("projects/p/workflows/{name}.yaml"), &text);
    site.push(name);
}

/// A component that runs a script.
fn script(text: &str) -> String {
    format!("{{run: {{kind: job, container: {{command: [sh, -ec, '{}']}}}}}}", text.replace('\'', "''"))
}

fn named(server: &Server, name: &str) -> Option<RunRow> {
    server.runs().into_iter().find(|run| run.name == name)
}

fn status(server: &Server, name: &str) -> Option<Status> {
    named(server, name).map(|run| run.status)
}

/// Waits until a run of this name has ended.
fn ended(server: &Server, name: &str) -> RunRow {
    server.until(&format!("{name} ends"), |server| status(server, name).is_some_and(Status::is_final));
    let run = named(server, name).unwrap();
    let problems: Vec<_> = server.0.diagnostics().iter().map(|problem| problem.message.clone()).collect();
    assert!(problems.is_empty(), "{problems:?}");
    run
}

/// The direct children of a run: names and statuses, by name.
fn children(server: &Server, of: &RunRow) -> Vec<(String, &'static str)> {
    let all = server.runs().into_iter().filter(|run| run.parent == Some(of.id));
    let mut children: Vec<_> = all.map(|run| (run.name, run.status.word())).collect();
    children.sort();
    children
}

fn words(list: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    list.iter().map(|(name, word)| ((*name).to_owned(), *word)).collect()
}
