//! A workload from its first operation to its last.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;

use super::clock::{Budget, Clockwork};
use crate::domain::catalog::{AgentPolicy, QueuePolicy};
use crate::domain::dispatch::State;
use crate::domain::dispatch::command::Command;
use crate::domain::dispatch::event::{Event, NewRun, OrganizationLimits, RevisionApplied};
use crate::domain::ids::{AgentName, CommitId, DEFAULT_QUEUE, Digest, Name, ProjectName, QueueName, RunId};
use crate::domain::quantity::{COST, Resources};
use crate::domain::spec::{LocalTarget, OnRemove, TargetSpec, Workload, WorkloadClass, WorkloadQueue};
use crate::domain::time::{Span, Timestamp};

/// Points of the curve of use.
const POINTS: usize = 400;

/// What a workload came to. Times are in seconds of virtual time from the beginning.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SimulationResult {
    /// The name of the workload.
    pub name: String,
    /// The operations that ended.
    pub count: u64,
    /// The operations that can never start, or not as long as limits are what they are.
    pub left: u64,
    /// From the beginning to the last end.
    pub makespan_seconds: f64,
    /// How much of what the agents have was used over that time, of the resource that was used most; `null` when no agent
    /// has a capacity.
    pub utilization: Option<f64>,
    /// The same for each resource that an agent has a capacity of.
    pub utilization_by_resource: BTreeMap<String, f64>,
    /// What each class came to, as they are written.
    pub classes: Vec<ClassResult>,
    /// Use over time, for drawing.
    #[serde(skip)]
    pub curve: Vec<Point>,
}

/// What a class of operations came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassResult {
    /// The name of the class.
    pub name: String,
    /// How many of it started.
    pub count: u64,
    /// The mean of the waits from coming to starting.
    pub mean_wait_seconds: f64,
    /// Half of them waited no longer.
    pub p50_wait_seconds: f64,
    /// 99 of 100 waited no longer.
    pub p99_wait_seconds: f64,
    /// The longest wait.
    pub max_wait_seconds: f64,
}

/// A moment of the curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Seconds from the beginning.
    pub seconds: f64,
    /// How much of the resource that is used most was used since the point before; 0 to 1.
    pub used: f64,
    /// How many operations wait.
    pub waiting: u64,
}

/// One queue of one class: a source of operations.
struct Source {
    class: usize,
    queue: QueueName,
    made: u64,
}

/// Plays a workload to its end.
pub fn simulate(workload: &Workload) -> SimulationResult {
    let begin = Timestamp(0);
    let budget = workload.write_budget.map(|rate| Budget::new(rate, workload.write_burst.unwrap_or(1), begin));
    let mut clock = Clockwork::new(State::default(), begin, budget);
    let mut sources = lay_out(workload, &mut clock);
    let mut arrivals: BinaryHeap<Reverse<(Timestamp, usize)>> = BinaryHeap::new();
    for (n, source) in sources.iter().enumerate() {
        arrivals.push(Reverse((comes(&workload.classes[source.class], 1), n)));
    }
    // By the number of the run: its class, and when it came.
    let mut runs: Vec<(u32, Timestamp)> = Vec::new();
    let mut waits: Vec<Vec<u64>> = vec![Vec::new(); workload.classes.len()];
    let mut changes: Vec<(Timestamp, i64, bool, usize)> = Vec::new();
    let mut last = begin;
    loop {
        let next = arrivals.peek().map(|Reverse((at, _))| *at).into_iter().chain(clock.next()).min();
        let Some(now) = next else { break };
        clock.now = now;
        let mut batch = Vec::new();
        while let Some(Reverse((at, n))) = arrivals.peek().copied()
            && at <= now
        {
            arrivals.pop();
            let source = &mut sources[n];
            let class = &workload.classes[source.class];
            runs.push((source.class as u32, now));
            batch.push(new_run(runs.len(), source, class));
            source.made += 1;
            changes.push((now, 1, true, source.class));
            if source.made < class.count {
                arrivals.push(Reverse((comes(class, source.made + 1), n)));
            }
        }
        if !batch.is_empty() {
            clock.exec(&Command::Submit(batch), &mut |_, _| {});
        }
        let class_of = |run: RunId| runs[run.0.as_u128() as usize - 1];
        let takes = |run: RunId| workload.classes[class_of(run).0 as usize].duration.0;
        clock.pass(&mut { takes }, &mut |at, event| match event {
            Event::RunScheduled { run, .. } => {
                let (class, came) = class_of(*run);
                waits[class as usize].push(at.since(came).0);
                changes.push((at, -1, true, class as usize));
                changes.push((at, 1, false, class as usize));
            }
            Event::RunFinished { run, at, .. } => {
                changes.push((*at, -1, false, class_of(*run).0 as usize));
                last = last.max(*at);
            }
            _ => {}
        });
    }
    sum_up(workload, &clock.state, waits, changes, last)
}

/// When the n-th operation of a class comes.
fn comes(class: &WorkloadClass, n: u64) -> Timestamp {
    let interval = class.interval.map_or(0, |interval| interval.0.0);
    Timestamp(0).after(Span(interval.saturating_mul(n)))
}

/// Makes the agents and queues, and says where operations come from.
fn lay_out(workload: &Workload, clock: &mut Clockwork) -> Vec<Source> {
    let mut revision = RevisionApplied {
        commit: CommitId::new("workload"),
        policy: CommitId::new("workload"),
        subject: workload.name.to_string(),
        plan: Digest::of(b""),
        organization: Some(OrganizationLimits {
            concurrency: workload.concurrency.unwrap_or_default(),
            sharing: workload.sharing,
        }),
        agents: BTreeMap::new(),
        queues: BTreeMap::new(),
        projects: BTreeMap::new(),
        renamed: BTreeMap::new(),
        cursors: BTreeMap::new(),
        note: String::new(),
    };
    let mut sources = Vec::new();
    for agent in &workload.agents {
        for agent_name in copies(agent.name.as_str(), agent.copies) {
            let Ok(name) = AgentName::parse(&agent_name) else { continue };
            let policy = AgentPolicy {
                concurrency: agent.concurrency.unwrap_or_default(),
                capacity: agent.capacity.canonical(),
                default_queue: Name::parse(DEFAULT_QUEUE).expect("it is a name"),
                target: TargetSpec::Local(LocalTarget::default()),
            };
            revision.agents.insert(name, Some(policy));
            for queue in &agent.queues {
                for queue_name in copies(queue.name.as_str(), queue.copies) {
                    let Ok(full) = QueueName::parse(&format!("{agent_name}/{queue_name}")) else { continue };
                    revision.queues.insert(full.clone(), Some(policy_of(queue)));
                    for (n, class) in workload.classes.iter().enumerate() {
                        if class.queue != format!("{}/{}", agent.name, queue.name) {
                            continue;
                        }
                        let mut own = full.clone();
                        if let Some(priority) = class.priority {
                            let Ok(name) = QueueName::parse(&format!("{full}-{}", class.name)) else { continue };
                            let policy = QueuePolicy { priority, ..policy_of(queue) };
                            revision.queues.insert(name.clone(), Some(policy));
                            own = name;
                        }
                        sources.push(Source { class: n, queue: own, made: 0 });
                    }
                }
            }
        }
    }
    let agents: Vec<AgentName> = revision.agents.keys().cloned().collect();
    let command =
        Command::ApplyRevision { based_on: None, revision: Box::new(revision), starts: vec![], stops: vec![] };
    clock.exec(&command, &mut |_, _| {});
    agents.iter().for_each(|agent| clock.state.set_agent_up(agent, true));
    // In the order in which the classes are written, whatever queue they come to.
    sources.sort_by_key(|source| source.class);
    sources
}

fn copies(name: &str, copies: Option<u32>) -> Vec<String> {
    match copies {
        None => vec![name.to_owned()],
        Some(n) => (0..n).map(|i| format!("{name}-{i}")).collect(),
    }
}

fn policy_of(queue: &WorkloadQueue) -> QueuePolicy {
    QueuePolicy {
        priority: queue.priority.unwrap_or_default(),
        concurrency: queue.concurrency.unwrap_or_default(),
        quota: queue.quota.canonical(),
        weight: queue.weight.unwrap_or(1),
        order: queue.order,
        hold: false,
        windows: Vec::new(),
        on_remove: OnRemove::Drain,
        previous_name: None,
    }
}

fn new_run(number: usize, source: &Source, class: &WorkloadClass) -> NewRun {
    NewRun {
        spec: Digest::from_bytes([0; 32]),
        request: class.request.canonical(),
        ..NewRun::bare(
            RunId(uuid::Uuid::from_u128(number as u128)),
            ProjectName::parse("simulation").expect("it is a name"),
            class.name.to_string(),
            source.queue.clone(),
        )
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.since(Timestamp(0)).0 as f64 / 1000.0
}

fn sum_up(
    workload: &Workload,
    state: &State,
    waits: Vec<Vec<u64>>,
    changes: Vec<(Timestamp, i64, bool, usize)>,
    last: Timestamp,
) -> SimulationResult {
    let makespan = seconds(last);
    let mut capacity: BTreeMap<String, f64> = BTreeMap::new();
    for agent in state.agents() {
        for (name, amount) in &agent.policy.capacity.0 {
            *capacity.entry(name.clone()).or_default() += amount.millis() as f64;
        }
    }
    capacity.retain(|name, amount| name != COST && *amount > 0.0);
    let asks = |class: usize, name: &str| amount(&workload.classes[class].request.canonical(), name);
    let share = |(name, capacity): (&String, &f64)| {
        let work = (0..waits.len()).map(|class| {
            waits[class].len() as f64 * asks(class, name) * workload.classes[class].duration.0.0 as f64 / 1000.0
        });
        (name.clone(), work.sum::<f64>() / (capacity * makespan.max(0.001)))
    };
    let by_resource: BTreeMap<String, f64> = capacity.iter().map(share).collect();
    let most = by_resource.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(name, used)| (name.clone(), *used));
    let used = |class: usize| most.as_ref().map_or(0.0, |(name, _)| asks(class, name) / capacity[name]);
    let classes = workload.classes.iter().zip(&waits).map(|(class, waits)| {
        let mut sorted = waits.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get(sorted.len().saturating_sub(1) * percent / 100).map_or(0.0, |w| *w as f64);
        ClassResult {
            name: class.name.to_string(),
            count: sorted.len() as u64,
            mean_wait_seconds: sorted.iter().sum::<u64>() as f64 / sorted.len().max(1) as f64 / 1000.0,
            p50_wait_seconds: at(50) / 1000.0,
            p99_wait_seconds: at(99) / 1000.0,
            max_wait_seconds: at(100) / 1000.0,
        }
    });
    SimulationResult {
        name: workload.name.to_string(),
        count: waits.iter().map(|waits| waits.len() as u64).sum(),
        left: state.runs().count() as u64,
        makespan_seconds: makespan,
        utilization: most.as_ref().map(|(_, used)| *used),
        utilization_by_resource: by_resource.clone(),
        classes: classes.collect(),
        curve: curve(changes, used, makespan),
    }
}

fn amount(resources: &Resources, name: &str) -> f64 {
    resources.0.get(name).map_or(0.0, |amount| amount.millis() as f64)
}

/// The mean use between points at even distances, and how many wait at each.
fn curve(mut changes: Vec<(Timestamp, i64, bool, usize)>, used: impl Fn(usize) -> f64, makespan: f64) -> Vec<Point> {
    changes.sort_by_key(|(at, ..)| *at);
    let mut points = Vec::with_capacity(POINTS);
    let (mut next, mut now, mut level, mut waiting, mut area) = (changes.into_iter().peekable(), 0.0, 0.0, 0i64, 0.0);
    for n in 1..=POINTS {
        let (from, until) = (now, makespan * n as f64 / POINTS as f64);
        while let Some((at, by, waits, class)) = next.next_if(|(at, ..)| seconds(*at) <= until) {
            area += level * (seconds(at) - now);
            now = seconds(at);
            if waits {
                waiting += by;
            } else {
                level += used(class) * by as f64;
            }
        }
        area += level * (until - now);
        now = until;
        points.push(Point { seconds: until, used: area / (until - from).max(1e-9), waiting: waiting.max(0) as u64 });
        area = 0.0;
    }
    points
}
