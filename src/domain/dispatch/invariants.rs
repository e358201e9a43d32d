//! What is always true of a state. Checked after every pass in tests and simulations.

use std::collections::BTreeMap;

use super::state::State;
use super::status::Status;

impl State {
    /// Checks every invariant of design §5 by a full recount.
    ///
    /// # Panics
    /// When one does not hold; the message says which.
    pub fn check(&self) {
        let mut queue_used: BTreeMap<u32, u32> = BTreeMap::new();
        let mut queue_waiting: BTreeMap<u32, u32> = BTreeMap::new();
        let mut inflight: BTreeMap<u32, u32> = BTreeMap::new();
        let mut lines = 0usize;
        for (_, run) in self.runs.iter() {
            let pipeline = run.pipeline.is_some();
            if run.status.holds_slot() && !pipeline {
                *queue_used.entry(run.queue).or_default() += 1;
            }
            if run.status == Status::Queued {
                *queue_waiting.entry(run.queue).or_default() += 1;
            }
            if let Some(gate) = run.gate {
                if run.passed {
                    for gate in self.gates.chain(gate, pipeline) {
                        *inflight.entry(gate).or_default() += 1;
                    }
                }
                lines += usize::from(run.status == Status::Compiled);
            }
            let timed = self.retry_at.contains_key(&run.id);
            assert_eq!(timed, run.status == Status::Retrying, "run {} has a timer iff it waits to be retried", run.id);
        }
        for (ix, queue) in self.queues.queues.iter() {
            assert_eq!(queue.used, queue_used.get(&ix).copied().unwrap_or(0), "use of {} is a recount", queue.name);
            let waiting = queue_waiting.get(&ix).copied().unwrap_or(0);
            assert_eq!(queue.waiting, waiting, "waiting of {} is a recount", queue.name);
            assert_eq!(
                self.queues.line_of(&self.runs, ix).count(),
                waiting as usize,
                "lines of {} hold them",
                queue.name
            );
        }
        for (ix, agent) in self.queues.agents.iter() {
            let of_agent = self.queues.queues.iter().filter(|(_, queue)| queue.agent == ix);
            assert_eq!(
                agent.used,
                of_agent.map(|(_, queue)| queue.used).sum::<u32>(),
                "use of {} is a sum",
                agent.name
            );
            let levels: u32 = agent.levels.values().map(|level| level.used).sum();
            assert_eq!(agent.used, levels, "levels of {} add up", agent.name);
        }
        assert_eq!(self.queues.used, queue_used.values().sum::<u32>(), "use of the organization is a sum");
        let mut waiting_at_gates = 0;
        for (ix, gate) in self.gates.iter() {
            assert_eq!(gate.inflight, inflight.get(&ix).copied().unwrap_or(0), "{:?} counts who passed", gate.owner);
            waiting_at_gates += (gate.leaves.len() + gate.pipelines.len()) as usize;
        }
        assert_eq!(waiting_at_gates, lines, "who waits at a gate stands in its line");
    }
}
