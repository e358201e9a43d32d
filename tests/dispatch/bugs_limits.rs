//! Bugs of others, first class: a limit exceeded, or quota made out of nothing. The numbers are those of the systems.

use tidegate::domain::catalog::{QueuePolicy, SupersedePolicy};
use tidegate::domain::dispatch::event::Event;
use tidegate::domain::dispatch::observation::{Cause, Seen};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::RunId;
use tidegate::domain::quantity::{MAX_UNITS, Quantity};
use tidegate::domain::spec::{Sharing, WhenBusy};

use crate::world::{World, agent_name, policy, queue_name, resources};

fn agent_running(world: &World) -> u32 {
    world.state.agents().find(|agent| *agent.name == agent_name("a")).unwrap().running
}

#[test]
fn argo_10286_11098_a_restart_forgets_no_holder() {
    let mut world = World::of(-1, policy(1, 1));
    let runs = world.submit_all("a/q", 3);
    for (n, run) in runs.iter().enumerate() {
        world.crash();
        world.pass();
        assert_eq!((world.running("a/q"), world.started.len()), (1, n + 1));
        let attempt = world.attempt(*run);
        for seen in [Seen::Starting, Seen::Running] {
            world.see(attempt, seen);
            world.crash();
            world.pass();
            assert_eq!((world.running("a/q"), world.started.len()), (1, n + 1));
        }
        world.finish(*run);
    }
}

#[test]
fn argo_16405_a_slot_is_given_back_whatever_became_of_the_limit() {
    let mut world = World::of(2, policy(1, 1));
    let run = world.submit("a/q");
    world.queue("a/q", policy(1, 0)).remove_queue("a/q");
    world.finish(run);
    assert_eq!(agent_running(&world), 0);
    assert!(!world.has_queue("a/q"));
}

#[test]
fn argo_15558_the_end_of_a_run_wakes_who_waits_in_another_queue() {
    let mut world = World::of(1, policy(1, -1));
    world.queue("a/r", policy(1, -1));
    let first = world.submit("a/q");
    let second = world.submit("a/r");
    world.finish(first);
    assert_eq!(world.status(second), Some(Status::Scheduled));
}

#[test]
fn argo_15239_who_has_its_slot_stands_in_no_line() {
    let mut world = World::of(-1, policy(1, -1));
    world.submit_all("a/q", 3);
    assert_eq!((world.running("a/q"), world.queued("a/q")), (3, 0));
    assert!(world.state.line(&queue_name("a/q")).is_empty());
}

#[test]
fn argo_14467_everything_that_a_run_holds_is_released() {
    let mut world = World::of(1, policy(1, 1));
    world.organization(1, Sharing::Waterfall).project("p", 1);
    let grouped = |run: &mut tidegate::domain::dispatch::event::NewRun| {
        run.request = resources("cpu=1");
        run.group = Some(SupersedePolicy { group: "g".to_owned(), limit: 1, when_busy: WhenBusy::Queue });
    };
    world.queue("a/q", QueuePolicy { quota: resources("cpu=1"), ..policy(1, 1) }).agent("a", 1, "cpu=1");
    let runs: Vec<RunId> = (0..3).map(|_| world.submit_as("a/q", grouped)).collect();
    for run in runs {
        assert_eq!(world.status(run), Some(Status::Scheduled));
        world.finish(run);
    }
}

#[test]
fn argo_14606_what_runs_is_not_admitted_again_after_a_restart() {
    let mut world = World::of(-1, policy(1, -1));
    world.project("p", 2);
    let runs = world.submit_all("a/q", 2);
    world.project("p", 1);
    let said = world.log.len();
    world.crash();
    world.pass();
    assert_eq!(world.log.len(), said, "nothing happens to them");
    assert!(runs.iter().all(|run| world.status(*run) == Some(Status::Scheduled)));
}

#[test]
fn airflow_1275_a_limit_below_its_use_is_no_unlimited_one() {
    let mut world = World::of(-1, policy(1, 4));
    let runs = world.submit_all("a/q", 9);
    world.queue("a/q", policy(1, 2));
    for (n, run) in runs.iter().take(2).enumerate() {
        world.finish(*run);
        assert_eq!((world.running("a/q"), world.started.len()), (3 - n as u32, 4));
    }
    world.finish(runs[2]);
    assert_eq!((world.running("a/q"), world.started.len()), (2, 5));
}

#[test]
fn airflow_15399_15426_wide_operations_count_as_wide() {
    let mut world = World::of(-1, QueuePolicy { quota: resources("cpu=5"), ..policy(1, -1) });
    let runs: Vec<RunId> = (0..4).map(|_| world.submit_asking("a/q", "cpu=2")).collect();
    assert_eq!(world.running("a/q"), 2);
    runs.iter().for_each(|run| world.finish(*run));
    assert_eq!(world.running("a/q"), 0, "and it neither goes below nothing nor stalls");
}

#[test]
fn airflow_15793_a_slot_counts_from_the_decision_on() {
    let mut world = World::of(-1, policy(1, 1));
    let runs = (0..5).map(|_| world.new_run("a/q")).collect();
    world.exec(tidegate::domain::dispatch::command::Command::Submit(runs));
    assert_eq!((world.running("a/q"), world.queued("a/q")), (1, 4));
}

#[test]
fn airflow_69187_volcano_5130_5100_every_status_between_counts_once() {
    let mut world = World::of(-1, policy(1, 2));
    let runs = world.submit_all("a/q", 3);
    let attempt = world.attempt(runs[0]);
    let warning = Seen::Warning(Cause::new("ImagePullBackOff", ""));
    for seen in [Seen::Starting, warning.clone(), Seen::Running, warning, Seen::Running] {
        world.see(attempt, seen);
        assert_eq!((world.running("a/q"), world.queued("a/q")), (2, 1));
    }
    world.stop(runs[0]);
    assert_eq!((world.running("a/q"), world.queued("a/q")), (2, 1), "stopping counts as well");
}

#[test]
fn airflow_23143_a_queue_beyond_its_limit_blocks_no_other() {
    let mut world = World::of(-1, policy(1, 3));
    world.submit_all("a/q", 3);
    world.queue("a/q", policy(1, 1)).queue("a/r", policy(1, 1));
    let other = world.submit("a/r");
    assert_eq!(world.status(other), Some(Status::Scheduled));
}

#[test]
fn prefect_14869_one_free_slot_starts_one() {
    let mut world = World::of(-1, policy(1, 1));
    let runs = world.submit_all("a/q", 5);
    world.finish(runs[0]);
    assert_eq!((world.started.len(), world.running("a/q")), (2, 1));
}

#[test]
fn prefect_10771_the_limit_holds_on_every_way_into_a_queue() {
    let mut world = World::of(1, policy(1, 1));
    world.queue("a/default", QueuePolicy::default()).queue("a/old", policy(1, -1));
    let first = world.submit_as("a/q", |run| run.max_retries = 1);
    let moved = world.submit("a/old");
    let in_default = world.submit("a/default");
    world.commit(|revision| {
        revision.renamed.insert(queue_name("a/old"), queue_name("a/new"));
    });
    world.fail(first, "Error");
    world.tick(3600);
    for next in [in_default, moved, first] {
        assert_eq!(agent_running(&world), 1);
        world.finish(*world.started.last().unwrap());
        assert!(world.state.run(next).is_none_or(|run| run.status != Status::Created));
    }
    assert_eq!(agent_running(&world), 0);
}

#[test]
fn kueue_822_who_borrows_stays_within_what_all_have() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=4").queue("a/x", policy(1, -1)).queue("a/y", policy(2, -1));
    for n in 0..10 {
        world.submit_asking(["a/x", "a/y"][n % 2], "cpu=1");
    }
    assert_eq!(agent_running(&world), 4);
}

#[test]
fn kueue_2873_2879_a_resource_taken_out_of_a_quota_frees_nothing() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=4");
    world.queue("a/q", QueuePolicy { quota: resources("cpu=4"), ..policy(1, -1) });
    for _ in 0..6 {
        world.submit_asking("a/q", "cpu=2");
    }
    world.queue("a/q", policy(1, -1));
    assert_eq!(agent_running(&world), 2, "the capacity still counts what runs");
    world.agent("a", -1, "").agent("a", -1, "cpu=4");
    assert_eq!(agent_running(&world), 6);
    world.finish(world.started[0]);
    assert_eq!(agent_running(&world), 5, "what ran without a capacity counts in the new one");
}

#[test]
fn kueue_6027_10797_what_is_gone_has_no_part_of_the_division_any_more() {
    let mut world = World::new();
    world.organization(-1, Sharing::Proportional).agent("a", 4, "");
    world.queue("a/x", policy(2, 4)).queue("a/y", policy(1, 4));
    let budgets = |world: &World| -> Vec<u64> {
        world.state.agents().flat_map(|agent| agent.levels).map(|(_, budget, _)| budget).collect()
    };
    assert_eq!(budgets(&world), [2, 2]);
    world.remove_queue("a/x");
    assert_eq!(budgets(&world), [4]);
    world.crash();
    assert_eq!(budgets(&world), [4]);
}

#[test]
fn kueue_11139_11140_11182_14113_no_sum_of_requests_wraps() {
    let most = format!("cpu={MAX_UNITS}");
    let mut world = World::of(-1, QueuePolicy { quota: resources(&most), ..policy(1, -1) });
    let runs: Vec<RunId> = (0..3000).step_by(1000).map(|_| world.submit_asking("a/q", &most)).collect();
    assert_eq!(world.running("a/q"), 1);
    world.queue("a/q", policy(1, -1));
    assert_eq!(world.running("a/q"), 3);
    world.queue("a/q", QueuePolicy { quota: resources(&most), ..policy(1, -1) });
    let more = world.submit_asking("a/q", "cpu=1");
    runs.into_iter().for_each(|run| {
        assert_eq!(world.status(more), Some(Status::Queued));
        world.finish(run);
    });
    assert_eq!(world.status(more), Some(Status::Scheduled));
}

#[test]
fn kueue_13392_there_are_no_negative_requests() {
    for text in ["-1", "-500m", "-0.1", "- 1", "1e-400", "99999999999999999999", "9e18", "NaN"] {
        assert!(Quantity::parse(text).is_err(), "{text}");
    }
}

#[test]
fn kueue_1651_nothing_starts_after_a_hold() {
    let mut world = World::of(-1, policy(1, 1));
    let runs = world.submit_all("a/q", 3);
    world.queue("a/q", QueuePolicy { hold: true, ..policy(1, 9) });
    world.finish(runs[0]);
    world.crash();
    world.pass();
    assert_eq!(world.started, runs[..1]);
}

#[test]
fn kueue_7944_6711_who_may_not_run_is_not_started_for_a_moment_either() {
    let mut world = World::of(-1, policy(1, -1));
    let waits = world.submit_as("a/q", |run| run.needs_approval = true);
    let stopped = world.submit_as("a/q", |run| run.needs_approval = true);
    world.stop(stopped);
    world.crash();
    world.pass();
    let told = |(_, event): &(_, Event)| match event {
        Event::RunQueued { run } | Event::RunScheduled { run, .. } => *run == waits || *run == stopped,
        _ => false,
    };
    assert!(!world.log.iter().any(told));
}

#[test]
fn armada_4879_what_runs_below_is_not_free_for_those_above() {
    let mut world = World::new();
    world.agent("a", -1, "cpu=2").queue("a/low", policy(1, -1)).queue("a/top", policy(-1, -1));
    let low = world.submit_asking("a/low", "cpu=2");
    let top = world.submit_asking("a/top", "cpu=1");
    assert_eq!(world.status(top), Some(Status::Queued));
    world.finish(low);
    assert_eq!(world.status(top), Some(Status::Scheduled));
}

#[test]
fn volcano_dceaa6cc_an_end_that_is_told_twice_frees_one_slot() {
    let mut world = World::of(-1, policy(1, 2));
    let runs = world.submit_all("a/q", 6);
    let attempt = world.attempt(runs[0]);
    for _ in 0..3 {
        world.see(attempt, Seen::Succeeded { outputs: Default::default() });
        assert_eq!((world.running("a/q"), world.started.len()), (2, 3));
    }
}

#[test]
fn slurm_23_02_4_every_kind_of_resource_counts() {
    for kind in ["nvidia.com/gpu", "licences", "cost", "memory", "example.org/fpga"] {
        let mut world = World::of(-1, QueuePolicy { quota: resources(&format!("{kind}=3")), ..policy(1, -1) });
        for _ in 0..5 {
            world.submit_asking("a/q", &format!("{kind}=1"));
        }
        assert_eq!(world.running("a/q"), 3, "{kind}");
    }
}

#[test]
fn slurm_backfill_does_not_oversubscribe_licences() {
    let mut world = World::new();
    world.agent("a", -1, "licences=4").queue("a/q", policy(1, -1));
    world.submit_asking("a/q", "licences=3");
    world.submit_asking("a/q", "licences=2");
    for _ in 0..8 {
        world.submit_asking("a/q", "licences=1");
    }
    for n in 0..9 {
        let used = world.state.agents().next().unwrap().used.0.get("licences").map_or(0, |n| n.millis());
        assert!(used <= 4000, "{used}");
        world.finish(world.started[n]);
    }
}

#[test]
fn nomad_27284_looking_again_while_starts_are_under_way_starts_no_more() {
    let mut world = World::of(2, policy(1, -1));
    world.submit_all("a/q", 9);
    for _ in 0..5 {
        world.up("a", true);
        world.queue("a/q", policy(1, -1));
        world.pass();
        assert_eq!(agent_running(&world), 2);
    }
}
