//! `queues`: their use, their lines, and changes without a commit.

use anyhow::Context;
use clap::{Args, Subcommand};

use super::client::{Client, encode, query};
use super::show::{self, Column, Output, OutputArgs, age, note, out, short, telling_length};
use super::{Exit, Result};
use crate::domain::spec::{Limit, Priority};
use crate::server::views::{ForecastView, PlaceView, QueueChange, QueueView};

/// What to do with queues.
#[derive(Debug, Subcommand)]
pub enum Queues {
    /// List the queues with their use
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a queue
    Get {
        /// agent/queue
        queue: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show who stands in a queue, first in line first
    Line {
        /// agent/queue
        queue: String,
        /// At most so many
        #[arg(short, long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Dispatch nothing from a queue until it is released or the next commit is applied
    Hold {
        /// agent/queue
        queue: String,
    },
    /// Dispatch again
    Release {
        /// agent/queue
        queue: String,
    },
    /// Change a queue until the next commit is applied
    Set(Set),
}

/// What to change.
#[derive(Debug, Args)]
pub struct Set {
    /// agent/queue
    queue: String,
    /// Most operations at once; -1 is unlimited
    #[arg(long, allow_negative_numbers = true, required_unless_present = "priority")]
    concurrency: Option<i64>,
    /// Its level; -1 is the highest
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i64>,
}

/// Carries it out.
pub fn run(verb: Queues, client: &Client) -> Result {
    match verb {
        Queues::Ls { output } => {
            let queues: Vec<QueueView> = client.get("/queues")?;
            show::list(output.output, &queues, &COLUMNS, |queue| queue.name.clone())?;
        }
        Queues::Get { queue, output } => {
            let path = path(&queue)?;
            let queue: QueueView = client.get(&path)?;
            show_queue(output.output, &queue)?;
            if output.output == Output::Table && queue.queued > 0 {
                let last: Option<ForecastView> = client.get(&format!("{path}/forecast"))?;
                last.map_or(Ok(()), |last| out(&format!("\nThe last in line: {}\n", show::plain(&last.sentence))))?;
            }
        }
        Queues::Line { queue, limit, output } => {
            let limit = limit.to_string();
            let mut places: Vec<PlaceView> =
                client.get(&format!("{}/line{}", path(&queue)?, query(&[("limit", Some(&limit))])))?;
            if output.output == Output::Table {
                let length = telling_length(places.iter().map(|place| place.uuid.as_str()));
                places.iter_mut().for_each(|place| place.uuid = short(&place.uuid, length));
            }
            show::list(output.output, &places, &PLACES, |place| place.uuid.clone())?;
        }
        Queues::Hold { queue } => change(client, &queue, QueueChange { hold: Some(true), ..QueueChange::default() })?,
        Queues::Release { queue } => {
            change(client, &queue, QueueChange { hold: Some(false), ..QueueChange::default() })?
        }
        Queues::Set(set) => {
            let concurrency = set.concurrency.map(read::<Limit>).transpose().context("--concurrency")?;
            let priority = set.priority.map(read::<Priority>).transpose().context("--priority")?;
            change(client, &set.queue, QueueChange { hold: None, concurrency, priority })?;
        }
    }
    Ok(Exit::Fine)
}

const COLUMNS: [Column<QueueView>; 7] = [
    ("QUEUE", |queue| queue.name.clone()),
    ("PRIORITY", |queue| queue.settings.priority.to_string()),
    ("RUNNING", |queue| queue.running.to_string()),
    ("LIMIT", |queue| queue.settings.concurrency.to_string()),
    ("QUEUED", |queue| queue.queued.to_string()),
    ("USED", |queue| queue.used.to_string()),
    ("STATE", state),
];

const PLACES: [Column<PlaceView>; 5] = [
    ("PLACE", |place| place.position.to_string()),
    ("UUID", |place| place.uuid.clone()),
    ("NAME", |place| place.name.clone()),
    ("PROJECT", |place| place.project.clone()),
    ("AGE", |place| age(&place.created_at)),
];

fn state(queue: &QueueView) -> String {
    let mut words = Vec::new();
    if queue.settings.hold {
        words.push("held".to_owned());
    }
    if queue.removed {
        words.push("removed, finishing".to_owned());
    }
    if let Some(by) = &queue.changed_by {
        words.push(format!("changed by {by}"));
    }
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn show_queue(output: Output, queue: &QueueView) -> Result<()> {
    let settings = &queue.settings;
    let declared = queue
        .declared
        .as_ref()
        .map(|git| format!("priority {}, concurrency {}, hold {}", git.priority, git.concurrency, git.hold));
    let fields = [
        ("Queue", Some(queue.name.clone())),
        ("Priority", Some(settings.priority.to_string())),
        ("Concurrency", Some(settings.concurrency.to_string())),
        ("Quota", Some(settings.quota.to_string())),
        ("Weight", Some(settings.weight.to_string())),
        ("Order", serde_json::to_value(settings.order)?.as_str().map(str::to_owned)),
        ("Running", Some(queue.running.to_string())),
        ("Queued", Some(queue.queued.to_string())),
        ("Used", Some(queue.used.to_string())),
        ("State", Some(state(queue))),
        ("In git", declared),
    ];
    show::one(output, queue, &queue.name, &fields)
}

fn change(client: &Client, queue: &str, change: QueueChange) -> Result<()> {
    let now: QueueView = client.patch(&path(queue)?, &change)?;
    let settings = &now.settings;
    note(&format!(
        "queue {}: priority {}, concurrency {}, {}; the next applied commit makes it what git says",
        now.name,
        settings.priority,
        settings.concurrency,
        if settings.hold { "held" } else { "not held" }
    ));
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(number: i64) -> Result<T> {
    Ok(serde_json::from_value(number.into())?)
}

fn path(queue: &str) -> Result<String> {
    let (agent, name) = queue.split_once('/').context("a queue is named `agent/queue`")?;
    Ok(format!("/queues/{}/{}", encode(agent), encode(name)))
}
