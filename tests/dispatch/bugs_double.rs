//! Bugs of others, third class: dispatched twice, or an update lost; and what gets slow or starves with many pending.

use tidegate::domain::catalog::QueuePolicy;
use tidegate::domain::dispatch::command::{Command, Outcome};
use tidegate::domain::dispatch::event::{Cursor, Event};
use tidegate::domain::dispatch::observation::Seen;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Owed, decide};
use tidegate::domain::ids::{AttemptName, CommitId, Digest, RunId, Seq, WorkflowName};
use tidegate::domain::time::Timestamp;
use tidegate::store::{Batch, MemoryStore, Store};

use crate::world::{World, policy, resources};

#[test]
fn airflow_57618_armada_5111_two_writers_cannot_both_advance_a_run() {
    let mut store = MemoryStore::default();
    let old = store.open_epoch().unwrap();
    let new = store.open_epoch().unwrap();
    let batch = |epoch, expected| Batch {
        expected: Seq(expected),
        epoch,
        at: Timestamp(0),
        events: vec![Event::RunDeleted { run: RunId(uuid::Uuid::from_u128(1)) }],
        bodies: Vec::new(),
    };
    assert!(store.append(&batch(old, 0)).is_err(), "the older term is fenced");
    assert_eq!(store.append(&batch(new, 0)).unwrap(), Seq(1));
    assert!(store.append(&batch(new, 0)).is_err(), "and nobody writes over what he has not read");
}

#[test]
fn airflow_23520_35676_a_restart_launches_nothing_that_is_known_to_be_there() {
    let mut world = World::of(-1, policy(1, 2));
    let runs = world.submit_all("a/q", 2);
    let attempt = world.attempt(runs[0]);
    world.see(attempt, Seen::Starting);
    world.crash();
    world.pass();
    assert_eq!(world.owed("a"), [Owed::Launch(world.attempt(runs[1]))], "and the other under its old name");
}

#[test]
fn airflow_69760_the_word_of_an_old_attempt_counts_for_nothing() {
    let mut world = World::of(-1, policy(1, 1));
    let run = world.submit_as("a/q", |run| run.max_retries = 1);
    let old = world.attempt(run);
    world.fail(run, "Error");
    world.tick(3600);
    let new = world.attempt(run);
    assert_ne!(old, new);
    let said = world.log.len();
    for seen in [Seen::Starting, Seen::Running, Seen::Succeeded { outputs: Default::default() }] {
        world.see(old, seen);
    }
    assert_eq!(world.log.len(), said);
}

#[test]
fn nomad_27353_one_token_is_one_run() {
    let mut world = World::of(-1, policy(1, -1));
    let run = world.new_run("a/q");
    // Two requests in one batch of the loop, and one more later.
    world.exec_without_pass(Command::Submit(vec![run.clone(), run.clone()]));
    assert_eq!(world.exec_without_pass(Command::Submit(vec![run.clone()])), Outcome::Already);
    world.pass();
    world.finish(run.id);
    assert_eq!(world.exec(Command::Submit(vec![run])), Outcome::Already, "nor does it run again");
    assert_eq!(world.started.len(), 1);
}

#[test]
fn armada_4918_a_cursor_moves_together_with_what_it_stands_for() {
    let mut world = World::of(-1, policy(1, -1));
    let run = world.new_run("a/q");
    let mut revision = world.revision();
    let name = WorkflowName::parse("p/w").unwrap();
    let cursor = Cursor { spec: Digest::of(b"1"), inputs: Digest::of(b"2"), commit: CommitId::new("c") };
    revision.cursors.insert(name, cursor);
    let based_on = world.state.applied().map(|applied| applied.commit.clone());
    let command = Command::ApplyRevision { based_on, revision: Box::new(revision), starts: vec![run], stops: vec![] };
    let decision = decide(&world.state, world.now, &command);
    let kinds: Vec<bool> = decision.events.iter().map(|event| matches!(event, Event::RunCreated(_))).collect();
    assert_eq!(kinds, [false, true], "one decision, and one append");
}

#[test]
fn armada_4970_an_older_sight_never_overwrites_a_newer_one() {
    let mut world = World::of(-1, policy(1, -1));
    let run = world.submit("a/q");
    let attempt = world.attempt(run);
    for seen in [Seen::Running, Seen::Starting] {
        world.see(attempt, seen);
        assert_eq!(world.status(run), Some(Status::Running));
    }
    world.finish(run);
    assert_eq!(world.see(attempt, Seen::Running), Outcome::Already);
}

#[test]
fn kueue_12999_a_connection_that_comes_and_goes_moves_nothing() {
    let mut world = World::of(-1, policy(1, 1));
    let run = world.submit("a/q");
    let attempt = world.attempt(run);
    world.see(attempt, Seen::Running);
    let said = world.log.len();
    for n in 0..10 {
        world.up("a", n % 2 == 1);
    }
    assert_eq!((world.log.len(), world.status(run)), (said, Some(Status::Running)));
    assert_eq!(world.attempt(run), AttemptName { run, attempt: attempt.attempt });
}

#[test]
fn airflow_45636_21473_blocked_runs_in_front_hide_nobody() {
    let mut world = World::of(-1, QueuePolicy { quota: resources("gpu=1,cpu=9"), ..policy(1, -1) });
    for _ in 0..200 {
        world.submit_as("a/q", |run| run.request = resources("gpu=1"));
    }
    let behind = world.submit_as("a/q", |run| run.request = resources("cpu=1"));
    assert_eq!(world.status(behind), Some(Status::Scheduled));
}
