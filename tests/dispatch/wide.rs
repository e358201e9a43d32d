//! Histories of wide and narrow operations under quota and capacity, with backlogs long enough that the wide ones are
//! passed over until something is kept for them; and what may come in between while it is.

use tidegate::domain::catalog::QueuePolicy;
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{AgentName, QueueName, RunId};
use tidegate::domain::spec::{OnRemove, Order, Sharing, Window};
use tidegate::domain::time::Duration;

use crate::coverage::Keeper;
use crate::simulation::Simulation;
use crate::world::{agent_policy, policy, queue_name, resources};

const AGENTS: [&str; 2] = ["a", "b"];
const QUEUES: [&str; 5] = ["a/q", "a/r", "a/s", "b/q", "b/r"];
/// Steps of a history: most of them end an operation.
const STEPS: usize = 260;
/// Operations that stand in line, as long as more are asked for.
const BACKLOG: usize = 24;
/// Operations of a history before nobody waits for such a line any more: where nothing has a limit there never is one.
const MOST: usize = 1_000;

impl Simulation {
    /// One such history.
    pub fn run_wide(&mut self) {
        let sharing = self.random.of(&[Sharing::Waterfall, Sharing::Proportional, Sharing::Floor]);
        self.world.organization(-1, sharing);
        for agent in AGENTS {
            let (concurrency, capacity) = self.wide_agent();
            self.world.agent(agent, concurrency, capacity);
        }
        for queue in QUEUES {
            let policy = self.wide_policy();
            self.world.queue(queue, policy);
        }
        // Patience ends by the clock or by the count, whichever comes first.
        let ticks: &[u64] = if self.random.chance(50) { &[1] } else { &[1, 20, 61] };
        for _ in 0..STEPS {
            while self.standing().len() < BACKLOG && self.world.oracle.runs.len() < MOST {
                self.ask_for_some();
            }
            match self.random.below(100) {
                0..66 => self.end_one(),
                66..72 => {
                    let seconds = self.random.of(ticks);
                    self.world.tick(seconds);
                }
                72..78 => self.disturb(),
                78..82 => self.mend(),
                82..88 => self.world.crash(),
                88..90 => {
                    let standing = self.standing();
                    if !standing.is_empty() {
                        let run = self.random.of(&standing);
                        self.world.stop(run);
                    }
                }
                _ => self.ask_for_some(),
            }
        }
    }

    fn wide_agent(&mut self) -> (i64, &'static str) {
        let capacity = self.random.of(&["", "cpu=4", "cpu=4", "cpu=6,memory=4Gi", "cpu=5,gpu=2"]);
        (self.random.of(&[-1, -1, -1, 5]), capacity)
    }

    fn wide_policy(&mut self) -> QueuePolicy {
        let (priority, concurrency) = (self.random.of(&[1, 1, 2, 3]), self.random.of(&[-1, -1, -1, 3]));
        let on_remove = match self.random.below(3) {
            0 => OnRemove::Drain,
            1 => OnRemove::Cancel,
            _ => OnRemove::MoveTo(queue_name(self.random.of(&QUEUES))),
        };
        QueuePolicy {
            quota: resources(self.random.of(&["", "", "cpu=4", "cpu=4", "cpu=3,gpu=1"])),
            weight: 1 + self.random.below(2) as u32,
            order: self.random.of(&[Order::Backfill, Order::Backfill, Order::Backfill, Order::Strict]),
            on_remove,
            ..policy(priority, concurrency)
        }
    }

    fn standing(&self) -> Vec<RunId> {
        let standing = self.world.oracle.runs.iter().filter(|run| run.status == Status::Queued);
        standing.map(|run| run.new.id).collect()
    }

    /// Mostly narrow ones; they come to queues that there are.
    fn ask_for_some(&mut self) {
        let known: Vec<QueueName> =
            self.world.state.queues().filter(|queue| !queue.removed).map(|queue| queue.name.clone()).collect();
        if known.is_empty() {
            return self.mend();
        }
        let n = 1 + self.random.below(4);
        let runs = (0..n).map(|_| {
            let mut run = self.world.new_run(&self.random.of(&known).to_string());
            let shapes = ["cpu=1", "cpu=1", "cpu=1", "cpu=1", "cpu=2", "cpu=4", "cpu=3", "gpu=1", "cpu=3,memory=3Gi"];
            run.request = resources(self.random.of(&shapes));
            run
        });
        let runs = runs.collect();
        self.world.exec(Command::Submit(runs));
    }

    /// The one that has run longest ends, or now and then any.
    fn end_one(&mut self) {
        let running = self.world.oracle.runs.iter().filter(|run| run.status.holds_slot());
        let running: Vec<RunId> = running.map(|run| run.new.id).collect();
        if let Some(first) = running.first().copied() {
            let run = if self.random.chance(80) { first } else { self.random.of(&running) };
            self.world.finish(run);
        }
    }

    /// Something comes in between, where something is kept if it is anywhere.
    fn disturb(&mut self) {
        let kept = self.world.oracle.passed_over().into_iter().filter(|(_, known)| known.keeps());
        let kept: Vec<(Keeper, RunId)> = kept.map(|(keeper, known)| (keeper, known.run)).collect();
        if kept.is_empty() {
            return self.end_one();
        }
        let owner = self.random.of(&kept).1;
        let queue = self.world.oracle.queue_of(owner).expect("it stands in one").clone();
        let (name, agent) = (queue.name.clone(), queue.name.agent.clone());
        let minute = || Duration::parse("1m").expect("a duration");
        let windows = vec![Window { cron: "*/3 * * * *".to_owned(), duration: minute(), time_zone: None }];
        match self.random.below(12) {
            0 => _ = self.world.stop(owner),
            1 => self.change(&name, QueuePolicy { hold: true, ..queue.policy }),
            2 => {
                let policy = self.wide_policy();
                self.change(&name, policy);
            }
            3 => self.change(&name, QueuePolicy { quota: resources("cpu=8,gpu=1"), ..queue.policy }),
            4 => self.change(&name, QueuePolicy { windows, ..queue.policy }),
            5 => self.capacity(&agent, "cpu=8,gpu=2,memory=8Gi"),
            6 => self.capacity(&agent, "cpu=3"),
            7 => _ = self.world.up(agent.as_str(), false),
            8 => _ = self.world.remove_queue(&name.to_string()),
            9 => _ = self.world.organization(3, Sharing::Proportional),
            10 => self.world.crash(),
            // Somebody of another queue, perhaps of another level, comes in between.
            _ => self.ask_for_some(),
        }
    }

    fn change(&mut self, queue: &QueueName, policy: QueuePolicy) {
        let policy = Box::new(policy);
        self.world.exec(Command::ChangeQueue { queue: queue.clone(), policy, by: "ann".to_owned() });
    }

    fn capacity(&mut self, agent: &AgentName, capacity: &str) {
        let concurrency = self.random.of(&[-1, -1, 5]);
        self.world.commit(|revision| {
            drop(revision.agents.insert(agent.clone(), Some(agent_policy(concurrency, capacity))));
        });
    }

    /// What was disturbed is as it was, or another.
    fn mend(&mut self) {
        self.world.organization(-1, Sharing::Waterfall);
        let agent = self.random.of(&AGENTS);
        let (concurrency, capacity) = self.wide_agent();
        if self.random.chance(30) {
            self.world.agent(agent, concurrency, capacity);
        }
        for agent in AGENTS {
            self.world.up(agent, true);
        }
        let queue = self.random.of(&QUEUES);
        for other in QUEUES {
            if other == queue || !self.open(other) {
                let policy = self.wide_policy();
                self.world.queue(other, policy);
            }
        }
    }

    /// Whether a queue takes runs and may hand them over as far as its policy goes.
    fn open(&self, queue: &str) -> bool {
        let mut queues = self.world.state.queues();
        queues.any(|known| {
            let policy = known.policy;
            *known.name == queue_name(queue) && !known.removed && !policy.hold && policy.windows.is_empty()
        })
    }
}
