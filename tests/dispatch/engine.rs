//! The loop around the dispatcher when its store fails: nothing that may start waits for somebody else to speak.

use std::sync::mpsc::channel;
use std::time::Duration;

use tidegate::domain::dispatch::command::{Command, Outcome};
use tidegate::domain::dispatch::event::Event;
use tidegate::domain::dispatch::status::Status;
use tidegate::engine::Engine;
use tidegate::store::MemoryStore;
use tidegate::store::memory::Fault;

use crate::world::{World, agent_name, agent_policy, policy, queue_name};

/// Far less than the longest sleep of the loop, which would hide that it slept.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_start_whose_append_failed_is_told_of_at_once_whether_it_was_stored_or_not() {
    for fault in [Fault::Before, Fault::After] {
        let store = MemoryStore::default();
        let (tell, told) = channel();
        let sink = move |_, _, events: &[Event]| events.iter().for_each(|event| drop(tell.send(event.clone())));
        let (engine, thread) = Engine::start(Box::new(store.clone()), Box::new(sink)).unwrap();
        let mut world = World::new();
        let (mut revision, run) = (world.revision(), world.new_run("a/q"));
        revision.agents.insert(agent_name("a"), Some(agent_policy(-1, "")));
        revision.queues.insert(queue_name("a/q"), Some(policy(1, -1)));
        let (revision, id) = (Box::new(revision), run.id);
        let apply = Command::ApplyRevision { based_on: None, revision, starts: vec![run], stops: vec![] };
        assert_eq!(engine.ask_blocking(apply, Vec::new()).unwrap(), Outcome::Done);
        assert_eq!(engine.read(|state| state.run(id).unwrap().status), Status::Queued);

        store.fail_next_append(fault);
        engine.set_agent_up(agent_name("a"), true);
        let starts = std::iter::from_fn(|| told.recv_timeout(SOON).ok())
            .find(|event| matches!(event, Event::RunScheduled { .. }));
        assert!(matches!(starts, Some(Event::RunScheduled { run, .. }) if run == id), "{fault:?}: nobody hears of it");
        assert_eq!(engine.read(|state| state.run(id).unwrap().status), Status::Scheduled);
        engine.stop();
        thread.join().unwrap();
        let again = told.try_iter().filter(|event| matches!(event, Event::RunScheduled { .. })).count();
        assert_eq!(again, 0, "{fault:?}: it is told of once");
    }
}
