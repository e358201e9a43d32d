//! The text of a workload for `tidegate simulate`: parsed, checked, typed.

use std::collections::BTreeSet;

use super::codes;
use super::parse::parse;
use super::schema::Shape;
use super::violation;
use crate::domain::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
use crate::domain::spec::Workload;

/// The workload that a file declares, and everything that is wrong with it; `None` when that is an error.
pub fn read_workload(path: &str, bytes: &[u8]) -> (Option<Workload>, Diagnostics) {
    let mut problems = Diagnostics::default();
    let mut documents = parse(path, bytes, &mut problems);
    if documents.len() > 1 {
        let place = documents[1].place("");
        problems.push(Diagnostic::error(codes::TOO_MANY_DOCUMENTS, place, "a workload is one document"));
    }
    let Some(document) = documents.first_mut().filter(|document| document.sound && document.value.is_object()) else {
        if problems.errors() == 0 {
            let message = "a workload is a mapping";
            problems.push(Diagnostic::error(codes::NOT_A_MAPPING, Place::file(path), message));
        }
        return (None, problems);
    };
    violation::check(document, Shape::Workload).into_iter().for_each(|problem| problems.push(problem));
    if problems.errors() > 0 {
        return (None, problems);
    }
    let workload = match serde_json::from_value::<Workload>(document.value.clone()) {
        Ok(workload) => workload,
        Err(error) => {
            problems.push(Diagnostic::error(codes::WRONG_VALUE, document.place(""), error.to_string()));
            return (None, problems);
        }
    };
    let mut queues: Vec<String> = Vec::new();
    let mut agents = BTreeSet::new();
    for (a, agent) in workload.agents.iter().enumerate() {
        if !agents.insert(&agent.name) {
            let place = document.place(&format!("/agents/{a}/name"));
            problems.push(Diagnostic::error(
                codes::DUPLICATE_NAME,
                place,
                format!("agent {} is there twice", agent.name),
            ));
        }
        for (q, queue) in agent.queues.iter().enumerate() {
            let name = format!("{}/{}", agent.name, queue.name);
            if queues.contains(&name) {
                let place = document.place(&format!("/agents/{a}/queues/{q}/name"));
                problems.push(Diagnostic::error(codes::DUPLICATE_NAME, place, format!("queue {name} is there twice")));
            }
            queues.push(name);
        }
    }
    let mut names = BTreeSet::new();
    for (c, class) in workload.classes.iter().enumerate() {
        if !names.insert(&class.name) {
            let place = document.place(&format!("/classes/{c}/name"));
            problems.push(Diagnostic::error(
                codes::DUPLICATE_NAME,
                place,
                format!("class {} is there twice", class.name),
            ));
        }
        let place = document.place(&format!("/classes/{c}/queue"));
        if !queues.contains(&class.queue) {
            let help = match did_you_mean(&class.queue, queues.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the queues are {}", queues.join(", ")),
            };
            let message = format!("there is no queue {}", class.queue);
            problems.push(Diagnostic::error(codes::UNKNOWN_QUEUE, place, message).help(help));
            continue;
        }
        let all = workload.agents.iter().flat_map(|agent| agent.queues.iter().map(move |queue| (agent, queue)));
        let mut same = all.filter(|(agent, queue)| format!("{}/{}", agent.name, queue.name) == class.queue);
        if let Some((_, queue)) = same.next().filter(|_| class.priority.is_some())
            && (queue.concurrency.is_some() || !queue.quota.is_empty())
        {
            let place = document.place(&format!("/classes/{c}/priority"));
            let message =
                format!("queue {} has a limit, which classes of several priorities cannot share", class.queue);
            let help = "give the queue the priority, or take concurrency and quota from it";
            problems.push(Diagnostic::error(codes::WRONG_VALUE, place, message).help(help));
        }
    }
    (Some(workload).filter(|_| problems.errors() == 0), problems)
}
