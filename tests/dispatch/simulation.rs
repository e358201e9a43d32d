//! Random histories: policies, removals, renames, agents that vanish and return, submissions, and a target that tells
//! late, twice, never and out of order. The oracle watches every decision. Beside the dispatcher of every fourth history
//! runs another one that crashes after every event and must come to the same; now and then the first one crashes too,
//! and log, snapshot and state are compared.
//!
//! `mutations.txt` lists faults of the dispatcher that they find, and `mutate` puts these in, one at a time.
//!
//! `TIDEGATE_SIM_SEED` starts at another seed, `TIDEGATE_SIM_COUNT` runs more histories. A failure names its seed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate::domain::catalog::SupersedePolicy;
use tidegate::domain::dispatch::cached::CacheAsk;
use tidegate::domain::dispatch::command::{ComesTo, Command, Follow, NewChild, Outcome, Prepare, Rejection};
use tidegate::domain::dispatch::event::{NewRun, OrganizationLimits, Origin, Resumed};
use tidegate::domain::dispatch::observation::{Cause, Observation, Seen};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Awaits, Owed, outbox};
use tidegate::domain::ids::{Attempt, AttemptName, CommitId, Digest, QueueName, RunId};
use tidegate::domain::spec::{OnRemove, Order, Sharing, WhenBusy, Window};
use tidegate::domain::time::{Duration, Span};

use crate::advice::steps_to_start;
use crate::coverage::Coverage;
use crate::random::Random;
use crate::world::{
    World, agent_name, agent_policy, limit, policy, project_name, project_policy, queue_name, resources,
};

/// Histories by default: about twenty seconds of a debug build.
const COUNT: u64 = 24;
/// After so many histories is said how far it is: some seconds of a release build.
const TOLD: u64 = 250;
/// Of so many histories one has a dispatcher beside it that crashes after every event; it takes ten times as long.
const CRASHING: u64 = 4;
/// Of so many histories one is of wide and narrow operations.
const WIDE: u64 = 3;
/// Runs of each for which the advice of `explain` is followed at its end.
const ADVISED: usize = 6;
/// Commands in each of the others.
const STEPS: usize = 220;

const AGENTS: [&str; 3] = ["a", "b", "c"];
const QUEUES: [&str; 7] = ["a/default", "a/q", "a/r", "b/default", "b/q", "b/r", "c/default"];

#[test]
fn random_histories_agree_with_the_oracle() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (first, count) = (number("TIDEGATE_SIM_SEED", 1), number("TIDEGATE_SIM_COUNT", COUNT));
    let (mut decisions, mut events, mut coverage) = (0, 0, Coverage::default());
    for seed in first..first + count {
        let mut simulation = Simulation::new(seed);
        let result = catch_unwind(AssertUnwindSafe(|| simulation.run()));
        if let Err(panic) = result {
            eprintln!("TIDEGATE_SIM_SEED={seed} TIDEGATE_SIM_COUNT=1 repeats this");
            std::panic::resume_unwind(panic);
        }
        decisions += simulation.world.started.len();
        events += simulation.world.events;
        coverage.add(simulation.world.coverage.as_ref().expect("a simulation counts"));
        if (seed - first + 1).is_multiple_of(TOLD) {
            eprintln!("{} of {count} histories, {events} events: nothing was violated so far", seed - first + 1);
        }
    }
    print!("{}", coverage.table());
    println!("{count} histories, {events} events, {decisions} starts: nothing was violated");
    assert!(decisions as u64 > count * 20, "the histories start enough to mean something: {decisions}");
    // A few that are repeated reach what they reach.
    let lacking = if count < COUNT { Vec::new() } else { coverage.lacking(count) };
    assert!(lacking.is_empty(), "what the histories hardly reach may be wrong:\n{}", lacking.join("\n"));
}

/// Whatever is left under way: a history may end with a delivery, and what it asks then is of how things stand after a
/// pass. Seed 1036 once ended with the last word of all, without one.
#[test]
fn a_delivery_is_followed_by_a_pass_when_it_was_the_last() {
    for seed in 0..16 {
        let mut simulation = Simulation::new(seed);
        simulation.world.agent("a", 1, "").queue("a/q", policy(1, -1));
        let (first, second) = (simulation.world.submit("a/q"), simulation.world.submit("a/q"));
        let attempt = simulation.world.attempt(first);
        simulation.say(attempt, Seen::Succeeded { outputs: Default::default() });
        simulation.deliver();
        assert_eq!(
            simulation.world.status(second),
            Some(Status::Scheduled),
            "seed {seed}: it has the slot of the first"
        );
    }
}

pub struct Simulation {
    seed: u64,
    pub random: Random,
    pub world: World,
    /// What the targets know: how far each attempt has come.
    attempts: BTreeMap<AttemptName, usize>,
    /// What was said and has not arrived, or will arrive again.
    wire: Vec<Observation>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        world.coverage = Some(Coverage::default());
        Self { seed, random: Random(seed), world, attempts: BTreeMap::new(), wire: Vec::new() }
    }

    fn run(&mut self) {
        if self.seed.is_multiple_of(CRASHING) {
            self.world.crash_after_every_event();
        }
        if self.seed.is_multiple_of(WIDE) {
            self.run_wide();
        } else {
            self.run_mixed();
        }
        self.follow_advice();
        self.settle();
    }

    /// Some of those that stand in queues start when what `explain` names is taken away.
    fn follow_advice(&mut self) {
        let standing = self.world.oracle.runs.iter().filter(|run| run.status == Status::Queued);
        let standing: Vec<RunId> = standing.map(|run| run.new.id).collect();
        for _ in 0..ADVISED.min(standing.len()) {
            let run = self.random.of(&standing);
            if steps_to_start(&self.world, run) > 1 {
                self.reach("advice: followed in several steps");
            }
        }
    }

    fn run_mixed(&mut self) {
        let sharing = self.random.of(&[Sharing::Waterfall, Sharing::Proportional, Sharing::Floor]);
        self.world.organization(-1, sharing);
        for agent in AGENTS {
            let concurrency = self.random.of(&[-1, 2, 3, 4, 6]);
            self.world.agent(agent, concurrency, "");
        }
        for queue in QUEUES {
            let policy = self.policy(queue);
            self.world.queue(queue, policy);
        }
        for _ in 0..STEPS {
            self.step();
            if self.random.chance(6) {
                self.world.crash();
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..28 => self.submit(),
            28..62 => self.target(),
            62..80 => self.deliver(),
            80..84 => self.stop(),
            84..86 => self.approve(),
            86..93 => self.commit(),
            93..95 => self.change_queue(),
            95..97 => {
                let (agent, up) = (self.random.of(&AGENTS), self.random.chance(75));
                self.world.up(agent, up);
                if !up && self.random.chance(30) {
                    self.forget(agent);
                }
            }
            97 => self.delete(),
            _ => {
                let seconds = self.random.of(&[1, 10, 60, 400]);
                self.world.tick(seconds);
            }
        }
    }

    fn policy(&mut self, _queue: &str) -> tidegate::domain::catalog::QueuePolicy {
        let priority = self.random.of(&[-1, 1, 1, 2, 3]);
        let concurrency = self.random.of(&[-1, 0, 1, 2, 2, 3, 8]);
        let mut policy = policy(priority, concurrency);
        policy.quota = resources(self.random.of(&["", "", "cpu=4", "cpu=2,memory=4Gi", "gpu=1,cost=3", "cost=2"]));
        policy.weight = 1 + self.random.below(3) as u32;
        policy.order = self.random.of(&[Order::Backfill, Order::Backfill, Order::Strict]);
        policy.hold = self.random.chance(10);
        if self.random.chance(10) {
            let duration = Duration::parse("1m").expect("a duration");
            policy.windows = vec![Window { cron: "*/3 * * * *".to_owned(), duration, time_zone: None }];
        }
        policy.on_remove = match self.random.below(3) {
            0 => OnRemove::Drain,
            1 => OnRemove::Cancel,
            _ => OnRemove::MoveTo(queue_name(self.random.of(&QUEUES))),
        };
        policy
    }

    fn any_queue(&mut self) -> QueueName {
        queue_name(self.random.of(&QUEUES))
    }

    fn any_run(&mut self) -> Option<RunId> {
        let n = self.world.oracle.runs.len();
        (n > 0).then(|| self.world.oracle.runs[self.random.below(n)].new.id)
    }

    fn submit(&mut self) {
        let n = 1 + self.random.below(4);
        let mut runs: Vec<NewRun> = (0..n).map(|_| self.new_run()).collect();
        if self.random.chance(10) {
            runs.push(runs[0].clone());
        }
        if self.random.chance(20) && !self.world.oracle.ended.is_empty() {
            let (mut run, attempt) = self.random.of(&self.world.oracle.ended);
            let (attempt, created_at) = (Attempt(attempt), self.world.now);
            run.resumes = Some(Resumed { attempt, created_at, by: "ann".to_owned() });
            (run.group, run.unprepared, run.builds) = (None, false, false);
            if run.parent.is_none() {
                self.world.exec(Command::Submit(vec![run]));
            }
        }
        self.world.exec(Command::Submit(runs.clone()));
        if self.random.chance(10) {
            self.world.exec(Command::Submit(runs));
        }
    }

    fn new_run(&mut self) -> NewRun {
        let queue = self.any_queue();
        let mut run = self.world.new_run(&queue.to_string());
        run.project = project_name(self.random.of(&["p", "r"]));
        let shapes = ["", "cpu=1", "cpu=1", "cpu=2", "cpu=3,memory=1Gi", "gpu=1", "gpu=1,cost=1500m", "memory=3Gi"];
        run.request = resources(self.random.of(&shapes));
        run.max_retries = self.random.below(3) as u32;
        run.needs_approval = self.random.chance(6);
        (run.unprepared, run.followed) = (self.random.chance(8), self.random.chance(8));
        run.builds = run.unprepared && self.random.chance(50);
        if self.random.chance(15) {
            run.pipeline = Some(limit(self.random.of(&[-1, 1, 2, 4])));
            run.timeout = self.random.of(&[None, None, Some(Span::seconds(90))]);
        }
        if run.pipeline.is_none() && self.random.chance(12) {
            let ttl = self.random.of(&[None, None, Some(Span::seconds(60))]);
            let key = Digest::of(self.random.of(&["x", "y", "z"]).as_bytes());
            run.cache = Some(CacheAsk { key, ttl, outputs: Default::default() });
        }
        let running = |run: &&crate::oracle::Run| run.new.pipeline.is_some() && run.status == Status::Running;
        let pipelines = self.world.oracle.runs.iter().filter(running);
        let pipelines: Vec<_> = pipelines.map(|run| (run.new.id, run.new.project.clone())).collect();
        if !pipelines.is_empty() && self.random.chance(50) {
            let (parent, project) = self.random.of(&pipelines);
            (run.parent, run.project) = (Some(parent), project);
        } else if self.random.chance(20) {
            let busy = [WhenBusy::Queue, WhenBusy::ReplaceQueued, WhenBusy::CancelRunning, WhenBusy::Skip];
            run.group = Some(SupersedePolicy {
                group: self.random.of(&["x", "y"]).to_owned(),
                limit: 1 + self.random.below(2) as u32,
                when_busy: self.random.of(&busy),
            });
        }
        run
    }

    /// A target does some of what is owed, goes on with an attempt, and says so.
    fn target(&mut self) {
        let agent = agent_name(self.random.of(&AGENTS));
        for owed in outbox(&self.world.state, &agent) {
            if self.random.chance(70) {
                match owed {
                    Owed::Launch(attempt) => drop(self.attempts.entry(attempt).or_insert(0)),
                    Owed::Stop(attempt) => {
                        if self.attempts.insert(attempt, 9) != Some(9) || self.random.chance(30) {
                            self.say(attempt, Seen::Stopped(Cause::new("Stopped", "")));
                        }
                    }
                }
            }
        }
        let open: Vec<AttemptName> = self.attempts.iter().filter(|(_, at)| **at < 9).map(|(name, _)| *name).collect();
        if open.is_empty() {
            return;
        }
        for _ in 0..3 {
            let attempt = self.random.of(&open);
            let at = self.attempts[&attempt];
            let seen = match (at, self.random.below(10)) {
                (9, _) => continue,
                (_, 0) => Seen::Warning(Cause::new("ImagePullBackOff", "")),
                (0, _) => Seen::Starting,
                (1, _) => Seen::Running,
                (_, 1..4) => {
                    let cause = Cause::new(if self.random.chance(20) { "DeadlineExceeded" } else { "Error" }, "");
                    Seen::Failed { cause, exit_code: Some(1), outputs: Default::default() }
                }
                _ => Seen::Succeeded { outputs: Default::default() },
            };
            let ended = matches!(seen, Seen::Failed { .. } | Seen::Succeeded { .. });
            self.attempts.insert(attempt, if ended { 9 } else { (at + 1).min(2) });
            self.say(attempt, seen);
        }
    }

    fn say(&mut self, attempt: AttemptName, seen: Seen) {
        let ended = !matches!(seen, Seen::Starting | Seen::Running | Seen::Warning(_));
        if ended || self.random.chance(80) {
            self.wire.push(Observation { attempt, at: self.world.now, seen });
        }
    }

    /// Some of what was said arrives, in any order, perhaps not for the last time; all of it before one pass.
    fn deliver(&mut self) {
        let arrived: Vec<Observation> = (0..4).map_while(|_| self.arrives()).collect();
        for observation in arrived {
            let (before, run) = (self.world.log.len(), observation.attempt.run);
            let present = self.world.attempt(run).attempt;
            self.world.exec_without_pass(Command::Observe(observation.clone()));
            if present != observation.attempt.attempt {
                assert_eq!(before, self.world.log.len(), "the word of an old attempt changes nothing");
                self.reach("fencing: the word of an old attempt");
            }
        }
        self.world.pass();
    }

    /// The next that arrives; `None` when nothing is under way.
    fn arrives(&mut self) -> Option<Observation> {
        if self.wire.is_empty() {
            return None;
        }
        let at = self.random.below(self.wire.len());
        let observation = self.wire[at].clone();
        if self.random.chance(75) {
            self.wire.swap_remove(at);
        }
        Some(observation)
    }

    fn stop(&mut self) {
        if let Some(run) = self.any_run() {
            self.world.stop(run);
        }
    }

    fn approve(&mut self) {
        let waiting = self.world.oracle.runs.iter().find(|run| run.status == Status::Created);
        if let Some(run) = waiting.map(|run| run.new.id) {
            self.world.exec(Command::Approve { run, by: "ann".to_owned() });
        }
        self.lead();
    }

    /// What waits for others is prepared, and what has ended is followed.
    fn lead(&mut self) {
        for run in self.world.state.to_prepare().collect::<Vec<_>>() {
            // An earlier one of this round may have ended it, or it may be building still.
            let comes_to = match self.world.state.awaits(run) {
                None => continue,
                Some(Awaits::Build(build)) if self.world.status(build).is_some() && self.random.chance(95) => continue,
                Some(_) if self.random.chance(30) => {
                    ComesTo::Ended(Status::Skipped, Cause::new("ConditionsCheckFailed", ""))
                }
                Some(Awaits::Values) if self.world.oracle.find(run).is_some_and(|run| run.new.builds) => {
                    let origin = Origin::Build { of: run };
                    let (group, parent, pipeline) = (None, None, None);
                    let build =
                        NewRun { builds: false, unprepared: false, group, parent, pipeline, origin, ..self.new_run() };
                    ComesTo::Building(Box::new(build))
                }
                Some(_) => ComesTo::Ready,
            };
            let prepare = Command::Prepare(Prepare { run, spec: Digest::of(b"bound"), comes_to });
            let Outcome::Refused(_) = self.world.exec(prepare.clone()) else {
                assert_eq!(self.world.exec(prepare), Outcome::Already, "a run is prepared once");
                continue;
            };
        }
        for of in self.world.state.to_follow().collect::<Vec<_>>() {
            let run = NewRun { followed: false, unprepared: false, builds: false, ..self.new_run() };
            let follow = Command::Follow(Follow { of, runs: vec![NewChild { run, ended: None }] });
            if let Outcome::Refused(_) = self.world.exec(follow.clone()) {
                self.world.exec(Command::Follow(Follow { of, runs: Vec::new() }));
            }
            assert_eq!(self.world.exec(follow), Outcome::Already, "it is followed once");
        }
    }

    /// Somebody gives up an agent that cannot be reached; one that can be is not given up.
    fn forget(&mut self, agent: &str) {
        let on_it = |run: &&crate::oracle::Run| run.new.pipeline.is_none() && run.new.queue.agent == agent_name(agent);
        let held = |simulation: &Self| {
            let runs = simulation.world.oracle.runs.iter();
            runs.filter(on_it).filter(|run| run.status.holds_slot()).count()
        };
        let (before, up) = (held(self), self.world.oracle.up.contains(&agent_name(agent)));
        let outcome = self.world.exec(Command::Forget { agent: agent_name(agent), by: "ann".to_owned() });
        match outcome {
            Outcome::Done => {
                assert!(before > 0 && !up, "only what cannot be reached is given up");
                assert_eq!(held(self), 0, "nothing is left of an agent that is given up");
                self.reach("fencing: an agent is given up with what it holds");
            }
            Outcome::Refused(Rejection::AgentUp(_)) => assert!(up),
            _ => assert_eq!(before, 0),
        }
    }

    /// What has ended is deleted; what has not is not.
    fn delete(&mut self) {
        let ended: Vec<RunId> = self.world.oracle.ended.iter().map(|(run, _)| run.id).collect();
        if !ended.is_empty() {
            let run = self.random.of(&ended);
            self.world.exec(Command::Delete { run });
        }
    }

    fn reach(&mut self, what: &'static str) {
        self.world.coverage.iter_mut().for_each(|coverage| coverage.reach(what));
    }

    fn change_queue(&mut self) {
        let queue = self.any_queue();
        let policy = Box::new(self.policy(""));
        self.world.exec(Command::ChangeQueue { queue, policy, by: "ann".to_owned() });
    }

    fn commit(&mut self) {
        let mut revision = self.world.revision();
        match self.random.below(10) {
            0 => {
                let sharing = self.random.of(&[Sharing::Waterfall, Sharing::Proportional, Sharing::Floor]);
                let concurrency = limit(self.random.of(&[-1, 0, 2, 5, 9]));
                revision.organization = Some(OrganizationLimits { concurrency, sharing });
            }
            1..3 => {
                let name = self.random.of(&AGENTS);
                let concurrency = self.random.of(&[-1, 0, 1, 3, 6]);
                let capacity = self.random.of(&["", "cpu=3", "cpu=6,memory=4Gi", "gpu=1", "gpu=2,cpu=8"]);
                revision.agents.insert(agent_name(name), Some(agent_policy(concurrency, capacity)));
            }
            3 => {
                let project = project_name(self.random.of(&["p", "r"]));
                let policy = project_policy(self.random.of(&[-1, 1, 3, 8]));
                revision.projects.insert(project, Some(policy).filter(|_| self.random.chance(80)));
            }
            4 => {
                let queue = self.any_queue();
                if self.world.has_queue(&queue.to_string()) {
                    revision.queues.insert(queue, None);
                }
            }
            5 => {
                let agent = agent_name(self.random.of(&AGENTS));
                let queues = self.world.state.queues().filter(|queue| queue.name.agent == agent);
                revision.queues = queues.map(|queue| (queue.name.clone(), None)).collect();
                if self.world.state.agents().any(|known| *known.name == agent) {
                    revision.agents.insert(agent, None);
                }
            }
            6 => {
                let mut known: Vec<QueueName> =
                    self.world.state.queues().filter(|q| !q.removed).map(|q| q.name.clone()).collect();
                known.retain(|queue| queue.agent == agent_name("a"));
                if known.len() > 1 && self.random.chance(40) {
                    revision.renamed.insert(known[0].clone(), known[1].clone());
                    revision.renamed.insert(known[1].clone(), known[0].clone());
                } else if let Some(old) = known.first()
                    && let Some(new) = QUEUES.iter().find(|q| q.starts_with("a/") && !self.world.has_queue(q))
                {
                    revision.renamed.insert(old.clone(), queue_name(new));
                }
            }
            _ => {
                for _ in 0..2 {
                    let queue = self.any_queue();
                    let policy = self.policy("");
                    revision.queues.insert(queue, Some(policy));
                }
            }
        }
        // A queue needs its agent, which may be gone or going.
        for queue in revision.queues.iter().filter(|(_, policy)| policy.is_some()).map(|(queue, _)| queue) {
            if !self.world.state.agents().any(|agent| *agent.name == queue.agent && !agent.removed) {
                revision.agents.insert(queue.agent.clone(), Some(agent_policy(self.random.of(&[-1, 1, 3, 6]), "")));
            }
        }
        let starts: Vec<NewRun> = (0..self.random.below(3)).map(|_| self.new_run()).collect();
        let stops: Vec<RunId> = (0..self.random.below(2)).filter_map(|_| self.any_run()).collect();
        let based_on = self.world.state.applied().map(|applied| applied.commit.clone());
        if self.random.chance(10) {
            let (based_on, revision) = (Some(CommitId::new("another")), Box::new(revision.clone()));
            let stale = Command::ApplyRevision { based_on, revision, starts: starts.clone(), stops: stops.clone() };
            assert!(matches!(self.world.exec(stale), Outcome::Refused(Rejection::Stale { .. })), "it is planned again");
        }
        self.world.exec(Command::ApplyRevision { based_on, revision: Box::new(revision), starts, stops });
    }

    /// Opens everything and lets everything end: nothing may be left behind.
    fn settle(&mut self) {
        self.world.organization(-1, Sharing::Waterfall);
        for project in ["p", "r"] {
            self.world.project(project, -1);
        }
        for agent in AGENTS {
            self.world.agent(agent, -1, "");
        }
        for queue in QUEUES {
            self.world.queue(queue, policy(1, 4));
        }
        for _ in 0..2_000 {
            let pipelines = self.world.oracle.runs.iter().filter(|run| run.new.pipeline.is_some());
            let pipelines: Vec<RunId> = pipelines.map(|run| run.new.id).collect();
            let other = self.world.oracle.runs.iter().find(|run| run.new.pipeline.is_none()).map(|run| run.new.id);
            let Some(run) = other.or(pipelines.first().copied()) else { break };
            match self.world.status(run) {
                Some(Status::Created) => {
                    self.world.exec(Command::Approve { run, by: "ann".to_owned() });
                    self.world.exec(Command::Prepare(Prepare {
                        run,
                        spec: Digest::of(b"bound"),
                        comes_to: ComesTo::Ready,
                    }));
                }
                Some(Status::Running) if pipelines.contains(&run) => drop(self.world.stop(run)),
                Some(status) if status.holds_slot() => self.world.finish(run),
                Some(Status::Retrying) => self.world.now = self.world.now.after(Span::seconds(400)),
                _ => {
                    let slot =
                        self.world.oracle.runs.iter().find(|run| run.status.holds_slot() && run.new.pipeline.is_none());
                    match slot.map(|run| run.new.id) {
                        Some(slot) => self.world.finish(slot),
                        None => drop(self.world.stop(run)),
                    }
                }
            }
            self.world.pass();
        }
        assert_eq!(self.world.state.runs().count(), 0, "everything ends");
        assert!(AGENTS.iter().all(|agent| self.world.owed(agent).is_empty()), "nothing is owed");
        self.world.crash();
    }
}
