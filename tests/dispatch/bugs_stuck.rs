//! Bugs of others, second class: stuck although there is room, or slots kept or taken away wrongly.

use tidegate::domain::catalog::QueuePolicy;
use tidegate::domain::dispatch::observation::{Cause, LOST, Seen};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Blocker, Owed, State, schedule};
use tidegate::domain::ids::RunId;
use tidegate::domain::spec::Sharing;

use crate::world::{World, agent_name, policy, resources};

#[test]
fn nomad_17278_who_waits_for_capacity_is_woken_by_it_although_there_is_a_quota() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=1").queue("a/q", QueuePolicy { quota: resources("cpu=9,memory=9Gi"), ..policy(1, -1) });
    let first = world.submit_asking("a/q", "cpu=1,memory=1Gi");
    let second = world.submit_asking("a/q", "cpu=1,memory=1Gi");
    assert!(matches!(world.explain(second), Blocker::AgentCapacity { .. }));
    world.finish(first);
    assert_eq!(world.status(second), Some(Status::Scheduled));
}

#[test]
fn nomad_26710_a_history_that_breaks_off_anywhere_goes_on() {
    let mut world = World::of(-1, policy(1, 1));
    let runs = world.submit_all("a/q", 2);
    world.finish(runs[0]);
    for end in 0..=world.log.len() {
        let mut state = State::default();
        world.log[..end].iter().for_each(|(at, event)| state.apply(*at, event));
        state.set_agent_up(&agent_name("a"), true);
        while schedule(&mut state, world.now).1 {}
        state.check();
        let waiting = state.runs().filter(|run| !run.status.holds_slot()).count();
        let running = state.runs().filter(|run| run.status.holds_slot()).count();
        assert_eq!(running, (running + waiting).min(1), "cut at {end}: what is there and may start has started");
    }
}

#[test]
fn kueue_13969_why_it_waits_is_never_stored() {
    let mut world = World::of(-1, QueuePolicy { quota: resources("cpu=1"), ..policy(1, -1) });
    world.submit_asking("a/q", "cpu=1");
    let waits = world.submit_asking("a/q", "cpu=1");
    assert!(matches!(world.explain(waits), Blocker::QueueQuota { .. }));
    world.queue("a/q", QueuePolicy { hold: true, ..policy(1, -1) });
    world.crash();
    assert!(matches!(world.explain(waits), Blocker::QueueHeld { .. }));
    world.queue("a/q", policy(1, -1));
    assert_eq!(world.status(waits), Some(Status::Scheduled));
}

#[test]
fn kueue_6929_6947_7101_an_impossible_first_blocks_nobody_and_makes_no_noise() {
    let mut world = World::of(-1, QueuePolicy { quota: resources("cpu=2"), ..policy(1, -1) });
    let never = world.submit_asking("a/q", "cpu=3");
    let after = world.submit_asking("a/q", "cpu=2");
    assert_eq!(world.status(after), Some(Status::Scheduled));
    assert!(matches!(world.explain(never), Blocker::NeverFits { .. }));
    for _ in 0..3 {
        assert!(world.pass().is_empty(), "nothing is tried again and again");
    }
}

#[test]
fn kueue_13320_a_wide_run_is_not_passed_for_ever() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=8").queue("a/hero", policy(2, -1)).queue("a/low", policy(1, -1));
    for _ in 0..8 {
        world.submit_asking("a/low", "cpu=1");
    }
    let hero = world.submit_asking("a/hero", "cpu=8");
    for _ in 0..100 {
        world.submit_asking("a/low", "cpu=1");
    }
    let mut n = 0;
    while world.status(hero) == Some(Status::Queued) {
        world.finish(world.started[n]);
        n += 1;
    }
    assert!(n < 40, "{n} ended before it");
}

#[test]
fn kueue_9661_a_priority_changes_also_for_those_who_wait() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=1").queue("a/x", policy(1, -1)).queue("a/y", policy(2, -1));
    let first = world.submit_asking("a/x", "cpu=1");
    let (x, y) = (world.submit_asking("a/x", "cpu=1"), world.submit_asking("a/y", "cpu=1"));
    world.queue("a/x", policy(3, -1));
    world.finish(first);
    assert_eq!((world.status(x), world.status(y)), (Some(Status::Scheduled), Some(Status::Queued)));
}

#[test]
fn kueue_9598_9639_a_run_stands_in_one_place() {
    let mut world = World::of(-1, QueuePolicy { quota: resources("cpu=1"), ..policy(1, -1) });
    let runs: Vec<RunId> = (0..4).map(|_| world.submit_asking("a/q", "cpu=1")).collect();
    // Made impossible, possible again, moved to and fro: the recount after each pass finds each of them once.
    for quota in ["cpu=500m", "cpu=1", "cpu=500m", "cpu=2"] {
        world.queue("a/q", QueuePolicy { quota: resources(quota), ..policy(1, -1) });
        world.crash();
    }
    assert_eq!(world.started, runs[..2]);
}

#[test]
fn kueue_13687_13734_a_limit_that_grows_wakes_those_that_it_held() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=1").queue("a/q", QueuePolicy { quota: resources("cpu=1"), ..policy(1, -1) });
    let run = world.submit_asking("a/q", "cpu=2");
    world.agent("a", -1, "cpu=2");
    assert!(matches!(world.explain(run), Blocker::NeverFits { .. }), "the quota still says no");
    world.queue("a/q", QueuePolicy { quota: resources("cpu=2"), ..policy(1, -1) });
    assert_eq!(world.status(run), Some(Status::Scheduled));
}

#[test]
fn kueue_3612_a_new_leader_goes_on_where_the_old_one_stopped() {
    let mut world = World::of(-1, policy(1, 1));
    let runs = world.submit_all("a/q", 2);
    let attempt = world.attempt(runs[0]);
    let seen = Seen::Succeeded { outputs: Default::default() };
    let at = world.now;
    // The end is stored, and the server dies before the pass.
    world.exec_without_pass(tidegate::domain::dispatch::command::Command::Observe(
        tidegate::domain::dispatch::observation::Observation { attempt, at, seen },
    ));
    world.crash();
    world.pass();
    assert_eq!(world.status(runs[1]), Some(Status::Scheduled));
}

#[test]
fn volcano_3670_a_thousand_that_want_one_agent_do_not_block_another() {
    let mut world = World::new();
    world.agent("a", 1, "").agent("b", 1, "").queue("a/q", policy(1, -1)).queue("b/q", policy(1, -1));
    world.up("b", false).submit_all("a/q", 100);
    world.up("b", true);
    let other = world.submit("b/q");
    assert_eq!(world.status(other), Some(Status::Scheduled));
}

#[test]
fn volcano_2110b5b3_a_queue_that_can_do_nothing_stops_no_other() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=4").queue("a/q", policy(1, -1));
    for (name, bad) in [
        ("a/zero", policy(-1, 0)),
        ("a/tiny", QueuePolicy { quota: resources("cpu=1m"), ..policy(-1, -1) }),
        ("a/held", QueuePolicy { hold: true, ..policy(-1, -1) }),
    ] {
        world.queue(name, bad);
        world.submit_asking(name, "cpu=1");
    }
    let good = world.submit_asking("a/q", "cpu=1");
    assert_eq!(world.status(good), Some(Status::Scheduled));
}

#[test]
fn yunikorn_3092_no_reservation_outlives_its_owner() {
    for way in 0..3 {
        let mut world = World::new();
        world.agent("a", -1, "cpu=2").queue("a/wide", policy(2, -1)).queue("a/low", policy(1, -1));
        world.queue("a/elsewhere", policy(2, 0));
        for _ in 0..2 {
            world.submit_asking("a/low", "cpu=1");
        }
        let wide = world.submit_asking("a/wide", "cpu=2");
        for _ in 0..60 {
            world.submit_asking("a/low", "cpu=1");
        }
        let mut n = 0;
        while world.running("a/low") == 2 {
            world.finish(world.started[n]);
            n += 1;
        }
        match way {
            0 => drop(world.stop(wide)),
            1 => drop(world.queue("a/wide", policy(2, 0))),
            _ => drop(world.remove_queue("a/wide").stop(wide)),
        }
        assert_eq!(world.running("a/low"), 2, "way {way}");
    }
}

#[test]
fn yunikorn_2273_a_middle_without_a_limit_is_no_fault() {
    let mut world = World::new();
    world.organization(2, Sharing::Waterfall).agent("a", -1, "").queue("a/q", policy(1, 5));
    world.submit_all("a/q", 4);
    assert_eq!(world.running("a/q"), 2);
}

#[test]
fn slurm_what_asks_for_exactly_what_there_is_starts() {
    for amount in ["100m", "0.1", "1", "3333333m", "1.5Gi", "0.0001"] {
        let quota = resources(&format!("memory={amount}"));
        let mut world = World::of(-1, QueuePolicy { quota, ..policy(1, -1) });
        let run = world.submit_asking("a/q", &format!("memory={amount}"));
        assert_eq!(world.status(run), Some(Status::Scheduled), "{amount}");
    }
}

#[test]
fn dagster_32560_33643_a_stopped_run_gives_its_slot_back() {
    let mut world = World::of(-1, policy(1, 1));
    let runs = world.submit_all("a/q", 2);
    world.stop(runs[0]);
    assert_eq!(world.status(runs[1]), Some(Status::Queued), "not before it has stopped");
    let attempt = world.attempt(runs[0]);
    world.see(attempt, Seen::Stopped(Cause::new("Stopped", "")));
    assert_eq!(world.status(runs[1]), Some(Status::Scheduled));
}

#[test]
fn dagster_25109_the_first_run_needs_nothing_that_only_a_run_could_make() {
    let mut world = World::of(1, policy(1, 1));
    world.organization(1, Sharing::Floor).project("p", 1);
    let run = world.submit("a/q");
    assert_eq!(world.status(run), Some(Status::Scheduled));
}

#[test]
fn prefect_9895_17415_21794_what_is_lost_is_said_once_and_frees_one_slot() {
    let mut world = World::of(-1, policy(1, 1));
    let runs: Vec<RunId> = (0..3).map(|_| world.submit_as("a/q", |run| run.max_retries = 3)).collect();
    world.fail(runs[0], LOST);
    world.crash();
    world.pass();
    assert_eq!(world.ended(runs[0]).map(|(status, _)| status), Some(Status::Failed), "it may still run: no retry");
    assert_eq!((world.running("a/q"), world.status(runs[1])), (1, Some(Status::Scheduled)));
}

#[test]
fn infrahub_9856_a_start_that_nobody_saw_is_owed_until_somebody_does() {
    let mut world = World::of(-1, policy(1, 1));
    let run = world.submit("a/q");
    for _ in 0..3 {
        assert_eq!(world.owed("a"), [Owed::Launch(world.attempt(run))], "under one name, so that it starts once");
        world.up("a", false).up("a", true).crash();
    }
}

#[test]
fn prefect_18893_18942_19068_21925_an_agent_out_of_reach_loses_nothing() {
    let mut world = World::of(-1, policy(1, 1));
    let runs = world.submit_all("a/q", 2);
    let attempt = world.attempt(runs[0]);
    world.see(attempt, Seen::Running);
    let said = world.log.len();
    world.up("a", false).tick(86_400);
    assert_eq!(world.log.len(), said, "nothing is stopped, failed or started again");
    assert!(world.owed("a").is_empty());
    world.up("a", true);
    world.finish(runs[0]);
    assert_eq!(world.status(runs[1]), Some(Status::Scheduled));
}
