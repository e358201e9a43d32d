//! What frees much at once is done in parts, so that no pass holds up the loop.

use tidegate::domain::catalog::QueuePolicy;
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::Event;
use tidegate::domain::dispatch::{PASS_CHUNK, decide, schedule};

use crate::world::{World, policy, queue_name};

#[test]
fn a_raised_limit_starts_what_it_frees_in_parts() {
    // The oracle would look at all of them again and again, so the state is taken out of its world.
    let mut world = World::of(-1, policy(1, 0));
    let (mut state, now) = (world.state.clone(), world.now);
    let runs: Vec<_> = (0..2 * PASS_CHUNK + 400).map(|_| world.new_run("a/q")).collect();
    let order: Vec<_> = runs.iter().map(|run| run.id).collect();
    for event in decide(&state, now, &Command::Submit(runs)).events {
        state.apply(now, &event);
    }
    let mut passes = |change: Option<QueuePolicy>| {
        if let Some(policy) = change {
            state.apply(now, &Event::QueueChanged { queue: queue_name("a/q"), policy, by: "ann".to_owned() });
        }
        let (mut parts, mut started) = (Vec::new(), Vec::new());
        loop {
            let (events, again) = schedule(&mut state, now);
            parts.push(events.len());
            started.extend(events.into_iter().filter_map(|event| match event {
                Event::RunScheduled { run, .. } => Some(run),
                _ => None,
            }));
            if !again {
                return (parts, started);
            }
        }
    };
    let (parts, started) = passes(None);
    assert_eq!((parts, started.len()), (vec![PASS_CHUNK, PASS_CHUNK, 400], 0), "they come through their gate in parts");
    let (parts, started) = passes(Some(policy(1, PASS_CHUNK as i64 + 100)));
    assert_eq!(parts, [PASS_CHUNK, 100], "no more than the limit allows");
    assert_eq!(started, order[..PASS_CHUNK + 100], "in the order in which they came");
    let (parts, started) = passes(Some(policy(1, -1)));
    assert_eq!(parts, [PASS_CHUNK, 300]);
    assert_eq!(started, order[PASS_CHUNK + 100..]);
}
