//! What is measured: one agent, its queues over four levels, and so many runs in line beside those that run.

use std::collections::{BTreeMap, VecDeque};

use tidegate::domain::catalog::{AgentPolicy, QueuePolicy};
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::{Event, NewRun, RevisionApplied};
use tidegate::domain::dispatch::observation::{Observation, Seen};
use tidegate::domain::dispatch::{State, decide, schedule};
use tidegate::domain::ids::{AgentName, AttemptName, CommitId, Digest, Name, ProjectName, QueueName, RunId};
use tidegate::domain::quantity::{Quantity, Resources};
use tidegate::domain::spec::{Limit, LocalTarget, Priority, TargetSpec};
use tidegate::domain::time::Timestamp;

pub const NOW: Timestamp = Timestamp(0);
/// Operations that run when the measurement begins, about.
const RUNNING: usize = 20_000;

/// What binds: the limits of the queues, the slots of the agent, or its capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binds {
    Queues,
    Slots,
    Capacity,
}

impl Binds {
    pub fn word(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::Slots => "slots",
            Self::Capacity => "capacity",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub queued: usize,
    pub queues: usize,
    pub dims: usize,
    pub shapes: usize,
    pub binds: Binds,
}

impl Case {
    /// `QUEUED/QUEUES/DIMENSIONS/SHAPES[/slots|/capacity]`.
    pub fn parse(word: &str) -> Option<Self> {
        let parts: Vec<&str> = word.split('/').collect();
        let number = |n: usize| parts.get(n)?.parse().ok().filter(|n: &usize| *n > 0);
        let binds = match parts.get(4) {
            None | Some(&"queues") => Binds::Queues,
            Some(&"slots") => Binds::Slots,
            Some(&"capacity") => Binds::Capacity,
            Some(_) => return None,
        };
        let dims = number(2).filter(|dims| *dims <= RESOURCES.len())?;
        Some(Self { queued: number(0)?, queues: number(1)?, dims, shapes: number(3)?, binds })
    }

    pub fn word(&self) -> String {
        format!("{}/{}/{}/{}/{}", self.queued, self.queues, self.dims, self.shapes, self.binds.word())
    }

    /// Slots of each queue.
    pub fn slots(&self) -> usize {
        (RUNNING.min(self.queued) / self.queues).max(2)
    }

    /// All runs that it makes.
    pub fn runs(&self) -> usize {
        self.queued + self.queues * self.slots()
    }

    /// Bytes that measuring it may take: the state twice, for what will be touched is found out on a copy, and an
    /// ordered map as large as the line. Rounded up from what was measured.
    pub fn memory(&self) -> u64 {
        let shapes = (self.queues * self.shapes).min(self.runs());
        let state = self.runs() * 120 + shapes * 400 + self.queues * 3_000;
        (2 * state + self.queued * 40 + (512 << 20)) as u64
    }
}

const RESOURCES: [&str; 4] = ["cpu", "memory", "nvidia.com/gpu", "cost"];

/// The n-th run of a case; its id says which it is.
pub fn run(case: &Case, n: usize, queue: &QueueName, request: &Resources) -> NewRun {
    let high = (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let id = RunId(uuid::Uuid::from_u64_pair(high, n as u64));
    debug_assert!(n < case.runs());
    NewRun {
        request: request.clone(),
        ..NewRun::bare(id, ProjectName::parse("p").expect("a name"), String::new(), queue.clone())
    }
}

/// Which run of its case an id is of.
pub fn number_of(id: RunId) -> usize {
    id.0.as_u64_pair().1 as usize
}

/// The queues and the requests of a case; the n-th run stands in the queue and asks for what this says.
pub struct Kinds {
    case: Case,
    queues: Vec<QueueName>,
    requests: Vec<Resources>,
}

impl Kinds {
    pub fn of(case: Case) -> Self {
        let queues = (0..case.queues).map(queue).collect();
        let requests = (1..=case.shapes).map(|n| resources(case.dims, n)).collect();
        Self { case, queues, requests }
    }

    pub fn run(&self, n: usize) -> NewRun {
        let Case { queues, shapes, .. } = self.case;
        run(&self.case, n, &self.queues[n % queues], &self.requests[n / queues % shapes])
    }
}

fn queue(n: usize) -> QueueName {
    QueueName::parse(&format!("a/q{n}")).expect("a name")
}

fn resources(dims: usize, n: usize) -> Resources {
    let amount = Quantity::parse(&n.to_string()).expect("a number is a quantity");
    Resources(RESOURCES[..dims].iter().map(|name| ((*name).to_owned(), amount)).collect())
}

pub fn world(case: Case) -> (State, VecDeque<AttemptName>) {
    let (mut state, mut running) = (State::default(), VecDeque::new());
    build(case, &mut state, &mut |event| running.extend(started(event)));
    (state, running)
}

/// Makes it, and shows each event.
pub fn build(case: Case, state: &mut State, see: &mut impl FnMut(&Event)) {
    let apply = |state: &mut State, event: Event, see: &mut dyn FnMut(&Event)| {
        state.apply(NOW, &event);
        see(&event);
    };
    apply(state, Event::RevisionApplied(Box::new(revision(case))), see);
    state.set_agent_up(&AgentName::parse("a").expect("a name"), true);
    let kinds = Kinds::of(case);
    for n in 0..case.runs() {
        apply(state, Event::RunCreated(Box::new(kinds.run(n))), see);
        if n % 512 == 0 {
            schedule(state, NOW).0.iter().for_each(&mut *see);
        }
    }
    loop {
        let (events, again) = schedule(state, NOW);
        events.iter().for_each(&mut *see);
        if !again {
            return;
        }
    }
}

fn revision(case: Case) -> RevisionApplied {
    let Case { queues, dims, shapes, binds, .. } = case;
    let running = case.slots() * queues;
    let agent_policy = AgentPolicy {
        concurrency: if binds == Binds::Slots { Limit::At(running as u32 / 2) } else { Limit::Unlimited },
        capacity: match binds {
            Binds::Capacity => resources(dims, running / 2 * shapes.div_ceil(2)),
            _ => Resources::default(),
        },
        default_queue: Name::parse("default").expect("a name"),
        target: TargetSpec::Local(LocalTarget::default()),
    };
    let policy = |n: usize| QueuePolicy {
        priority: Priority::At((n % 4) as u32),
        concurrency: Limit::At(case.slots() as u32),
        quota: resources(dims, case.slots() * 1_000),
        ..QueuePolicy::default()
    };
    RevisionApplied {
        commit: CommitId::new("c"),
        policy: CommitId::new("bench"),
        subject: String::new(),
        plan: Digest::of(b""),
        organization: None,
        agents: [(AgentName::parse("a").expect("a name"), Some(agent_policy))].into(),
        queues: (0..queues).map(|n| (queue(n), Some(policy(n)))).collect(),
        projects: BTreeMap::new(),
        renamed: BTreeMap::new(),
        cursors: BTreeMap::new(),
        note: String::new(),
    }
}

/// An operation ends well, and what may start does.
pub fn finish(state: &mut State, attempt: AttemptName, see: &mut impl FnMut(&Event)) {
    let seen = Seen::Succeeded { outputs: serde_json::Map::new() };
    let decision = decide(state, NOW, &Command::Observe(Observation { attempt, at: NOW, seen }));
    for event in &decision.events {
        state.apply(NOW, event);
        see(event);
    }
    schedule(state, NOW).0.iter().for_each(see);
}

pub fn started(event: &Event) -> Option<AttemptName> {
    match event {
        Event::RunScheduled { run, attempt } => Some(AttemptName { run: *run, attempt: *attempt }),
        _ => None,
    }
}
