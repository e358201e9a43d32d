//! A small world around the dispatcher, so that a case is ten lines.

use tidegate::domain::catalog::{AgentPolicy, ProjectPolicy, QueuePolicy};
use tidegate::domain::dispatch::command::{Command, Outcome};
use tidegate::domain::dispatch::event::{Event, NewRun, OrganizationLimits, Origin, RevisionApplied};
use tidegate::domain::dispatch::observation::{Cause, Observation, Seen};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Blocker, Owed, State, decide, explain, outbox, schedule, snapshot};
use tidegate::domain::ids::{AgentName, Attempt, AttemptName, CommitId, Digest, Name, ProjectName, QueueName, RunId};
use tidegate::domain::quantity::{Quantity, Resources};
use tidegate::domain::spec::{Limit, LocalTarget, Priority, Sharing, TargetSpec};
use tidegate::domain::time::{Span, Timestamp};

use crate::coverage::{Coverage, Glance};
use crate::oracle::Oracle;
use crate::reasons::said;

pub struct World {
    pub state: State,
    pub oracle: Oracle,
    pub log: Vec<(Timestamp, Event)>,
    /// The runs in the order in which they got their slots.
    pub started: Vec<RunId>,
    pub now: Timestamp,
    /// Events of its history.
    pub events: usize,
    ids: u128,
    /// A second server that crashes after every event.
    crashing: Option<State>,
    /// What its history reaches, when that is counted.
    pub coverage: Option<Coverage>,
}

/// Runs of which `explain` is asked after each pass, at most about.
const CROWD: usize = 12;

pub fn queue_name(text: &str) -> QueueName {
    QueueName::parse(text).unwrap()
}

pub fn agent_name(text: &str) -> AgentName {
    AgentName::parse(text).unwrap()
}

pub fn project_name(text: &str) -> ProjectName {
    ProjectName::parse(text).unwrap()
}

/// `-1` is unlimited.
pub fn limit(n: i64) -> Limit {
    u32::try_from(n).map_or(Limit::Unlimited, Limit::At)
}

/// `cpu=2,memory=1Gi`.
pub fn resources(text: &str) -> Resources {
    let mut all = Resources::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, amount) = part.split_once('=').unwrap();
        all.add(name, Quantity::parse(amount).unwrap());
    }
    all
}

pub fn policy(priority: i64, concurrency: i64) -> QueuePolicy {
    let priority = u32::try_from(priority).map_or(Priority::Highest, Priority::At);
    QueuePolicy { priority, concurrency: limit(concurrency), ..QueuePolicy::default() }
}

pub fn agent_policy(concurrency: i64, capacity: &str) -> AgentPolicy {
    AgentPolicy {
        concurrency: limit(concurrency),
        capacity: resources(capacity),
        default_queue: Name::parse("default").unwrap(),
        target: TargetSpec::Local(LocalTarget::default()),
    }
}

pub fn project_policy(concurrency: i64) -> ProjectPolicy {
    ProjectPolicy { default_queue: None, default_preset: None, queues: None, concurrency: limit(concurrency) }
}

pub fn json(state: &State) -> String {
    serde_json::to_string(&snapshot::take(state)).unwrap()
}

/// Two states are one; shown are the parts where they begin to differ.
fn assert_same(one: &str, other: &str, what: &str) {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| text.chars().skip(same.saturating_sub(200)).take(400).collect::<String>();
    assert!(one == other, "{what}:\n{}\n{}", part(one), part(other));
}

/// Whether what follows is comparable after a crash: that a pipeline runs is said in the same breath as that it passed
/// its gate, and runs of several removed queues move in the order in which these are looked at.
fn may_break_off(rest: &[Event]) -> bool {
    !matches!(rest.first(), Some(Event::RunProgressed { .. }))
        && !rest.iter().any(|event| matches!(event, Event::RunMoved { .. }))
}

/// What becomes of removed queues, in any order, for a restarted server looks at all of them anew; then the rest of a
/// pass, in its order.
fn apart(events: &[Event]) -> (Vec<String>, Vec<&Event>) {
    use Event::{AgentGone, PipelineStopping, QueueGone, RunFinished, RunStopping};
    let (settled, others): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| {
        matches!(
            event,
            QueueGone { .. } | AgentGone { .. } | RunFinished { .. } | RunStopping { .. } | PipelineStopping { .. }
        )
    });
    let mut settled: Vec<String> = settled.into_iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    settled.sort();
    (settled, others)
}

impl World {
    pub fn new() -> Self {
        let (state, oracle, now) = (State::default(), Oracle::default(), Timestamp(1_000_000));
        let (log, started, crashing, coverage) = (Vec::new(), Vec::new(), None, None);
        Self { state, oracle, log, started, now, events: 0, ids: 0, crashing, coverage }
    }

    /// One agent `a` and its queue `a/q`.
    pub fn of(agent_limit: i64, policy: QueuePolicy) -> Self {
        let mut world = Self::new();
        world.agent("a", agent_limit, "").queue("a/q", policy);
        world
    }

    /// From now on a second server takes every event in, crashes after each, and is started again from its snapshot:
    /// wherever that happens, it goes on with exactly the decisions that the first one makes.
    pub fn crash_after_every_event(&mut self) {
        self.crashing = Some(self.restarted(&self.state));
    }

    fn restarted(&self, state: &State) -> State {
        let mut state = snapshot::restore(serde_json::from_str(&json(state)).unwrap());
        self.oracle.up.iter().for_each(|agent| state.set_agent_up(agent, true));
        state
    }

    /// A command, then a pass.
    pub fn exec(&mut self, command: Command) -> Outcome {
        let outcome = self.exec_without_pass(command);
        self.pass();
        outcome
    }

    pub fn exec_without_pass(&mut self, command: Command) -> Outcome {
        let decision = decide(&self.state, self.now, &command);
        if matches!(decision.outcome, Outcome::Refused(_)) {
            assert!(decision.events.is_empty(), "a refusal decides nothing");
        }
        for event in decision.events {
            self.state.apply(self.now, &event);
            self.take(event);
        }
        decision.outcome
    }

    pub fn pass(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        self.oracle.now = self.now;
        loop {
            let (events, again) = schedule(&mut self.state, self.now);
            all.extend(events.iter().cloned());
            for (n, event) in events.iter().enumerate() {
                self.take(event.clone());
                if let Some(mut crashed) = self.crashing.clone().filter(|_| may_break_off(&events[n + 1..])) {
                    let rest = schedule(&mut crashed, self.now).0;
                    let (goes_on, rest) = (apart(&events[n + 1..]), apart(&rest));
                    assert_eq!(rest, goes_on, "after a crash the pass goes on as it would have");
                }
            }
            if !again {
                break;
            }
        }
        if let Some(crashing) = &self.crashing {
            assert_same(&json(crashing), &json(&self.state), "crashes leave no trace");
        }
        self.state.check();
        assert_eq!(self.oracle.next_at_gates(), None, "nobody who may pass waits at a gate");
        assert_eq!(self.oracle.next_to_start(), None, "nobody who may start stands in a queue");
        for run in &self.oracle.runs {
            assert!(run.status != Status::Retrying || run.until > self.now, "no retry is overdue");
            let late = run.new.pipeline.is_some() && run.status == Status::Running && run.until <= self.now;
            assert!(!late, "no pipeline runs beyond its timeout");
            let view = self.state.run(run.new.id).expect("both know the same runs");
            assert_eq!((view.status, view.attempt, view.queue), (run.status, run.attempt, &run.new.queue));
        }
        assert_eq!(self.state.runs().count(), self.oracle.runs.len(), "both know the same runs");
        assert!(self.state.to_follow().eq(self.oracle.followed.iter().copied()), "both know what is to follow");
        self.check_reasons();
        all
    }

    /// `explain` says of each run, or of so many of a crowd, what the rules say.
    fn check_reasons(&mut self) {
        let step = 1 + self.oracle.runs.len() / CROWD;
        for run in self.oracle.runs.iter().skip(self.events % step).step_by(step) {
            let reason = self.oracle.reason(run);
            let blocker = self.explain(run.new.id);
            assert_eq!(said(&blocker), reason, "run {} of {}: {}", run.new.id, run.new.queue, blocker.sentence());
            assert_ne!(reason.0, "line", "after a pass nobody only waits for its turn");
            self.coverage.iter_mut().for_each(|coverage| coverage.blocks(reason.0));
        }
    }

    fn take(&mut self, event: Event) {
        let before = self.coverage.is_some().then(|| Glance::at(&self.oracle, &event));
        self.oracle.apply(self.now, &event);
        if let (Some(coverage), Some(before)) = (&mut self.coverage, before) {
            coverage.saw(&before, &event, &self.oracle);
        }
        match &event {
            Event::RunScheduled { run, .. } => self.started.push(*run),
            // If it comes back it has to be seen anew.
            Event::AgentGone { agent } => drop(self.oracle.up.remove(agent)),
            _ => {}
        }
        if let Some(mut crashing) = self.crashing.take() {
            crashing.apply(self.now, &event);
            self.crashing = Some(self.restarted(&crashing));
        }
        self.log.push((self.now, event));
        self.events += 1;
    }

    /// Forgets everything but the log and the snapshot, which must come to the same.
    pub fn crash(&mut self) {
        self.coverage.iter_mut().for_each(|coverage| coverage.crashed(&self.oracle));
        let mut folded = State::default();
        self.log.iter().for_each(|(at, event)| folded.apply(*at, event));
        let text = json(&self.state);
        let restored = snapshot::restore(serde_json::from_str(&text).unwrap());
        assert_same(&json(&folded), &text, "the log folds to the state");
        assert_same(&json(&restored), &text, "the snapshot restores the state");
        self.state = if self.log.len().is_multiple_of(2) { folded } else { restored };
        self.state.check();
        for agent in self.oracle.up.clone() {
            self.state.set_agent_up(&agent, true);
        }
    }

    pub fn revision(&self) -> RevisionApplied {
        RevisionApplied {
            commit: CommitId::new(&format!("{:040}", self.log.len())),
            policy: CommitId::new("policy"),
            subject: String::new(),
            plan: Digest::of(b""),
            organization: None,
            agents: Default::default(),
            queues: Default::default(),
            projects: Default::default(),
            renamed: Default::default(),
            cursors: Default::default(),
            note: String::new(),
        }
    }

    pub fn commit(&mut self, change: impl FnOnce(&mut RevisionApplied)) -> Outcome {
        let mut revision = self.revision();
        change(&mut revision);
        let based_on = self.state.applied().map(|applied| applied.commit.clone());
        self.exec(Command::ApplyRevision { based_on, revision: Box::new(revision), starts: vec![], stops: vec![] })
    }

    pub fn organization(&mut self, concurrency: i64, sharing: Sharing) -> &mut Self {
        let limits = OrganizationLimits { concurrency: limit(concurrency), sharing };
        self.commit(|revision| revision.organization = Some(limits));
        self
    }

    pub fn agent(&mut self, name: &str, concurrency: i64, capacity: &str) -> &mut Self {
        let policy = agent_policy(concurrency, capacity);
        self.commit(|revision| drop(revision.agents.insert(agent_name(name), Some(policy))));
        self.up(name, true);
        self
    }

    pub fn up(&mut self, name: &str, up: bool) -> &mut Self {
        let servers = [Some(&mut self.state), self.crashing.as_mut()];
        servers.into_iter().flatten().for_each(|state| state.set_agent_up(&agent_name(name), up));
        if up && self.state.agents().any(|agent| agent.name.as_str() == name) {
            self.oracle.up.insert(agent_name(name));
        } else {
            self.oracle.up.remove(&agent_name(name));
        }
        self.pass();
        self
    }

    pub fn queue(&mut self, name: &str, policy: QueuePolicy) -> &mut Self {
        self.commit(|revision| drop(revision.queues.insert(queue_name(name), Some(policy))));
        self
    }

    pub fn remove_queue(&mut self, name: &str) -> &mut Self {
        self.commit(|revision| drop(revision.queues.insert(queue_name(name), None)));
        self
    }

    pub fn project(&mut self, name: &str, concurrency: i64) -> &mut Self {
        self.commit(|revision| drop(revision.projects.insert(project_name(name), Some(project_policy(concurrency)))));
        self
    }

    pub fn new_run(&mut self, queue: &str) -> NewRun {
        self.ids += 1;
        NewRun {
            origin: Origin::Request { user: "ann".to_owned() },
            ..NewRun::bare(
                RunId(uuid::Uuid::from_u128(self.ids)),
                project_name("p"),
                format!("run-{}", self.ids),
                queue_name(queue),
            )
        }
    }

    /// Submits one run that is made from the usual one.
    pub fn submit_as(&mut self, queue: &str, change: impl FnOnce(&mut NewRun)) -> RunId {
        let mut run = self.new_run(queue);
        change(&mut run);
        let id = run.id;
        assert_eq!(self.exec(Command::Submit(vec![run])), Outcome::Done);
        id
    }

    /// Submits one run that asks for something.
    pub fn submit_asking(&mut self, queue: &str, request: &str) -> RunId {
        self.submit_as(queue, |run| run.request = resources(request))
    }

    pub fn submit(&mut self, queue: &str) -> RunId {
        self.submit_as(queue, |_| {})
    }

    pub fn submit_all(&mut self, queue: &str, n: usize) -> Vec<RunId> {
        (0..n).map(|_| self.submit(queue)).collect()
    }

    pub fn child(&mut self, parent: RunId, queue: &str, pipeline: Option<i64>) -> RunId {
        self.submit_as(queue, |run| (run.parent, run.pipeline) = (Some(parent), pipeline.map(limit)))
    }

    pub fn status(&self, run: RunId) -> Option<Status> {
        self.state.run(run).map(|view| view.status)
    }

    pub fn attempt(&self, run: RunId) -> AttemptName {
        AttemptName { run, attempt: Attempt(self.state.run(run).map_or(0, |view| view.attempt)) }
    }

    pub fn see(&mut self, attempt: AttemptName, seen: Seen) -> Outcome {
        self.exec(Command::Observe(Observation { attempt, at: self.now, seen }))
    }

    pub fn finish(&mut self, run: RunId) {
        let attempt = self.attempt(run);
        assert_eq!(self.see(attempt, Seen::Succeeded { outputs: Default::default() }), Outcome::Done);
    }

    pub fn fail(&mut self, run: RunId, reason: &str) {
        let (attempt, cause) = (self.attempt(run), Cause::new(reason, ""));
        self.see(attempt, Seen::Failed { cause, exit_code: Some(1), outputs: Default::default() });
    }

    pub fn stop(&mut self, run: RunId) -> Outcome {
        self.exec(Command::Stop { run, by: "ann".to_owned() })
    }

    pub fn tick(&mut self, seconds: u64) {
        self.now = self.now.after(Span::seconds(seconds));
        self.pass();
    }

    pub fn explain(&self, run: RunId) -> Blocker {
        explain(&self.state, run).expect("the run is not finished")
    }

    pub fn owed(&self, agent: &str) -> Vec<Owed> {
        outbox(&self.state, &agent_name(agent))
    }

    pub fn running(&self, queue: &str) -> u32 {
        self.state.queues().find(|view| *view.name == queue_name(queue)).map_or(0, |view| view.running)
    }

    pub fn queued(&self, queue: &str) -> u32 {
        self.state.queues().find(|view| *view.name == queue_name(queue)).map_or(0, |view| view.queued)
    }

    pub fn has_queue(&self, queue: &str) -> bool {
        self.state.queues().any(|view| *view.name == queue_name(queue))
    }

    /// How a run ended, from the log.
    pub fn ended(&self, run: RunId) -> Option<(Status, String)> {
        self.log.iter().find_map(|(_, event)| match event {
            Event::RunFinished { run: id, status, cause, .. } if *id == run => Some((*status, cause.reason.clone())),
            _ => None,
        })
    }
}
