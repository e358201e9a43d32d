//! Wide operations that narrow ones could pass for ever: they start within their reservation.

use tidegate::domain::catalog::QueuePolicy;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Blocker, PATIENCE, SKIPS};
use tidegate::domain::ids::RunId;
use tidegate::domain::spec::Order;

use crate::world::{World, policy, resources};

fn submit(world: &mut World, queue: &str, request: &str) -> RunId {
    world.submit_as(queue, |run| run.request = resources(request))
}

fn narrow(world: &mut World, queue: &str, n: usize) -> Vec<RunId> {
    (0..n).map(|_| submit(world, queue, "cpu=1")).collect()
}

/// Ends, one after the other, what got its slot, oldest first; how many it took until `run` had its own.
fn finishes_until(world: &mut World, from: &mut usize, run: RunId) -> usize {
    for n in 0..1000 {
        if world.status(run) != Some(Status::Queued) {
            return n;
        }
        let next = world.started[*from];
        *from += 1;
        world.finish(next);
    }
    panic!("the wide operation starves");
}

#[test]
fn a_wide_operation_starts_within_its_reservation_on_the_quota() {
    let mut world = World::new();
    world.agent("a", -1, "").queue("a/q", QueuePolicy { quota: resources("cpu=4"), ..policy(1, -1) });
    narrow(&mut world, "a/q", 4);
    let wide = submit(&mut world, "a/q", "cpu=4");
    let line = narrow(&mut world, "a/q", 100);
    let mut from = 0;
    let finishes = finishes_until(&mut world, &mut from, wide);
    assert_eq!(world.started.len(), 4 + SKIPS as usize + 1, "so many passed, and no more");
    assert_eq!(finishes, SKIPS as usize + 4, "then those that ran had to end, and nobody else");
    assert_eq!(world.started.last(), Some(&wide));
    world.finish(wide);
    assert_eq!(world.status(line[SKIPS as usize]), Some(Status::Scheduled), "the others go on as they stood");
}

#[test]
fn patience_also_ends_by_the_clock() {
    let mut world = World::new();
    world.agent("a", -1, "").queue("a/q", QueuePolicy { quota: resources("cpu=2"), ..policy(1, -1) });
    narrow(&mut world, "a/q", 2);
    let wide = submit(&mut world, "a/q", "cpu=2");
    narrow(&mut world, "a/q", 9);
    world.finish(world.started[0]);
    world.tick(PATIENCE.0 / 1000);
    assert_eq!(world.started.len(), 3);
    world.finish(world.started[1]);
    assert_eq!(world.started.len(), 4, "the one that notices is the last to pass");
    world.finish(world.started[2]);
    assert_eq!((world.started.len(), world.queued("a/q")), (4, 8));
    world.finish(world.started[3]);
    assert_eq!(world.started.last(), Some(&wide));
}

#[test]
fn a_reservation_on_the_capacity_binds_its_level_and_those_below() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=4,gpu=1");
    world.queue("a/wide", policy(2, -1)).queue("a/same", policy(2, -1)).queue("a/low", policy(1, -1));
    narrow(&mut world, "a/low", 4);
    let wide = submit(&mut world, "a/wide", "cpu=4");
    let low = narrow(&mut world, "a/low", 50);
    let mut from = 0;
    while world.started.len() < 4 + SKIPS as usize {
        world.finish(world.started[from]);
        from += 1;
    }
    world.finish(world.started[from]);
    assert_eq!(world.started.len(), 4 + SKIPS as usize, "nobody takes what is kept");
    let Blocker::Reserved { run, .. } = world.explain(low[SKIPS as usize]) else { panic!("it says for whom it waits") };
    assert_eq!(run, wide);
    let gpu = submit(&mut world, "a/low", "gpu=1");
    assert_eq!(world.status(gpu), Some(Status::Scheduled), "what the wide one does not ask for is free");
    let same = submit(&mut world, "a/same", "cpu=1");
    assert_eq!(world.status(same), Some(Status::Queued), "its own level waits with it");
    world.queue("a/high", policy(3, -1));
    let high = submit(&mut world, "a/high", "cpu=1");
    assert_eq!(world.status(high), Some(Status::Scheduled), "a higher level need not wait for it");
    world.crash();
    for n in from + 1..from + 4 {
        world.finish(world.started[n]);
    }
    assert_eq!(world.status(wide), Some(Status::Queued));
    world.finish(high);
    assert_eq!(world.status(wide), Some(Status::Scheduled), "it starts when those before its reservation have ended");
}

#[test]
fn a_reservation_rests_while_its_queue_is_held_and_goes_with_its_owner() {
    let mut world = World::new();
    let wide_queue = policy(2, -1);
    world.agent("a", -1, "cpu=2").queue("a/wide", wide_queue.clone()).queue("a/low", policy(1, -1));
    narrow(&mut world, "a/low", 2);
    let wide = submit(&mut world, "a/wide", "cpu=2");
    narrow(&mut world, "a/low", 50);
    for n in 0..=SKIPS as usize {
        world.finish(world.started[n]);
    }
    let kept = world.started.len();
    assert_eq!(kept, 2 + SKIPS as usize);
    world.queue("a/wide", QueuePolicy { hold: true, ..wide_queue.clone() });
    assert_eq!(world.started.len(), kept + 1, "what was kept is there for others");
    world.queue("a/wide", wide_queue);
    world.finish(world.started[kept]);
    assert_eq!(world.started.len(), kept + 1, "it is kept again");
    world.stop(wide);
    assert_eq!(world.started.len(), kept + 2, "nothing is kept for who is gone");
}

#[test]
fn a_strict_queue_needs_no_reservation() {
    let mut world = World::new();
    let strict = QueuePolicy { quota: resources("cpu=4"), order: Order::Strict, ..policy(1, -1) };
    world.agent("a", -1, "").queue("a/q", strict);
    narrow(&mut world, "a/q", 4);
    let wide = submit(&mut world, "a/q", "cpu=4");
    narrow(&mut world, "a/q", 10);
    let mut from = 0;
    assert_eq!(finishes_until(&mut world, &mut from, wide), 4);
    assert_eq!(world.started.len(), 5);
}

#[test]
fn a_strict_queue_and_a_backfill_queue_side_by_side() {
    let mut world = World::new();
    let quota = || resources("cpu=4");
    world
        .agent("a", -1, "cpu=8")
        .queue("a/strict", QueuePolicy { quota: quota(), order: Order::Strict, ..policy(1, -1) });
    world.queue("a/fill", QueuePolicy { quota: quota(), ..policy(1, -1) });
    let mut lines = Vec::new();
    for queue in ["a/strict", "a/fill"] {
        let mut line = narrow(&mut world, queue, 4);
        line.push(submit(&mut world, queue, "cpu=4"));
        line.extend(narrow(&mut world, queue, 40));
        lines.push(line);
    }
    let started_of = |world: &World, line: &[RunId]| -> Vec<RunId> {
        world.started.iter().copied().filter(|run| line.contains(run)).collect()
    };
    for line in &lines {
        let wide = line[4];
        for n in 0.. {
            let started = started_of(&world, line);
            if started.contains(&wide) {
                break;
            }
            world.finish(started[n]);
        }
    }
    let [strict, fill] = [0, 1].map(|n| started_of(&world, &lines[n]));
    assert_eq!(strict, lines[0][..5], "in strict order nobody passes the wide one");
    let passed = 5 + SKIPS as usize;
    assert_eq!(fill[..4], lines[1][..4], "first those before it");
    assert_eq!(fill[4..passed - 1], lines[1][5..passed], "then as many pass it as may");
    assert_eq!(fill[passed - 1..], [lines[1][4]], "then it starts, before everybody else");
}

#[test]
fn what_is_kept_is_kept_while_the_agent_is_away_and_the_server_restarts() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=2").queue("a/q", policy(1, -1));
    narrow(&mut world, "a/q", 2);
    let wide = submit(&mut world, "a/q", "cpu=2");
    narrow(&mut world, "a/q", 40);
    for n in 0..=SKIPS as usize {
        world.finish(world.started[n]);
    }
    let kept = world.started.len();
    assert_eq!(kept, 2 + SKIPS as usize, "from now on nobody passes it");
    world.up("a", false);
    world.crash();
    assert!(matches!(world.explain(wide), Blocker::AgentDown { .. }));
    world.up("a", true);
    assert_eq!(world.started.len(), kept, "nobody takes what is kept");
    world.agent("a", -1, "cpu=3");
    assert_eq!(world.status(wide), Some(Status::Scheduled), "a larger capacity has room for it beside what runs");
    assert_eq!(world.started.len(), kept + 1, "and for nobody else");
}
