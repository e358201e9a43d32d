//! Small scenarios, each by its name.

use tidegate::domain::catalog::{QueuePolicy, SupersedePolicy};
use tidegate::domain::dispatch::command::{Advance, Command, NewChild, Outcome, PipelineEnd, Rejection};
use tidegate::domain::dispatch::event::NewRun;
use tidegate::domain::dispatch::observation::{Cause, Seen};
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Blocker, FIRST_RETRY, Owed, never_fits, next_wakeup};
use tidegate::domain::ids::RunId;
use tidegate::domain::spec::{OnRemove, Order, Sharing, WhenBusy, Window};
use tidegate::domain::time::{Duration, Timestamp};

use crate::world::{World, limit, policy, queue_name, resources};

/// One agent `a` with the queue `a/q`.
fn world(agent_limit: i64, policy: QueuePolicy) -> World {
    let mut world = World::new();
    world.agent("a", agent_limit, "").queue("a/q", policy);
    world
}

/// Three levels of 4, 4 and 4 behind an agent of 6, each with 6 in line; the levels of the first `n` starts, and of
/// the next ones as always the oldest ends.
fn levels(sharing: Sharing) -> String {
    let mut world = World::new();
    world.organization(-1, sharing).agent("a", 6, "").up("a", false);
    let queues = [("a/low", 1), ("a/mid", 2), ("a/top", -1)];
    let mut letter = std::collections::BTreeMap::new();
    for (queue, priority) in queues {
        world.queue(queue, policy(priority, 4));
        letter.extend(world.submit_all(queue, 6).into_iter().map(|run| (run, queue.as_bytes()[2] as char)));
    }
    world.up("a", true);
    for next in 0..6 {
        world.finish(world.started[next]);
    }
    world.started.iter().map(|run| letter[run]).collect()
}

#[test]
fn levels_behind_a_full_agent_start_as_each_sharing_says() {
    assert_eq!(levels(Sharing::Waterfall), "ttttmmttmmmm");
    assert_eq!(levels(Sharing::Proportional), "ttmmllttmmll");
    assert_eq!(levels(Sharing::Floor), "ttmmllttmmll");
}

#[test]
fn what_a_level_does_not_use_is_lent_and_returned_at_the_next_finish() {
    let mut world = World::new();
    world.organization(-1, Sharing::Proportional).agent("a", 4, "");
    world.queue("a/top", policy(2, 4)).queue("a/low", policy(1, 4));
    let low = world.submit_all("a/low", 6);
    assert_eq!(world.started, low[..4]);
    let top = world.submit_all("a/top", 3);
    world.finish(low[0]);
    world.finish(low[1]);
    world.finish(low[2]);
    assert_eq!(world.started[4..], [top[0], top[1], low[4]], "each level has its two again");
}

#[test]
fn first_come_first_served_and_least_used_share_first() {
    let mut world = World::new();
    world.agent("a", 0, "").queue("a/x", policy(1, -1)).queue("a/y", QueuePolicy { weight: 2, ..policy(1, -1) });
    let (x, y) = (world.submit_all("a/x", 4), world.submit_all("a/y", 4));
    world.agent("a", 6, "");
    assert_eq!(world.started, [x[0], y[0], y[1], x[1], y[2], y[3]]);
}

#[test]
fn a_strict_queue_is_blocked_by_its_first_and_backfill_is_not() {
    for (order, second) in [(Order::Strict, Status::Queued), (Order::Backfill, Status::Scheduled)] {
        let mut world = world(-1, QueuePolicy { order, quota: resources("cpu=4"), ..policy(1, -1) });
        let running = world.submit_as("a/q", |run| run.request = resources("cpu=3"));
        let wide = world.submit_as("a/q", |run| run.request = resources("cpu=2"));
        let small = world.submit_as("a/q", |run| run.request = resources("cpu=1"));
        assert_eq!((world.status(wide), world.status(small)), (Some(Status::Queued), Some(second)));
        if order == Order::Strict {
            assert!(matches!(world.explain(small), Blocker::StrictOrder { first, ahead: 1, .. } if first == wide));
        }
        world.finish(running);
        assert_eq!(world.status(wide), Some(Status::Scheduled));
    }
}

#[test]
fn each_resource_of_a_quota_binds() {
    for name in ["cpu", "memory", "gpu", "example.com/fpga", "cost"] {
        let quota = resources(&format!("{name}=2"));
        let mut world = world(-1, QueuePolicy { quota, ..policy(1, -1) });
        let ask = resources(&format!("{name}=1500m"));
        let runs: Vec<_> = (0..2).map(|_| world.submit_as("a/q", |run| run.request = ask.clone())).collect();
        assert_eq!(world.running("a/q"), 1, "{name}");
        assert!(matches!(world.explain(runs[1]), Blocker::QueueQuota { .. }), "{name}");
        world.finish(runs[0]);
        assert_eq!(world.status(runs[1]), Some(Status::Scheduled), "{name}");
    }
}

#[test]
fn capacity_and_organization_limit_hold_over_queues_and_agents() {
    let mut world = World::new();
    world.organization(3, Sharing::Waterfall).agent("a", -1, "cpu=2").agent("b", -1, "");
    world.queue("a/q", policy(1, -1)).queue("a/r", policy(1, -1)).queue("b/q", policy(1, -1));
    let one = |world: &mut World, queue| world.submit_as(queue, |run| run.request = resources("cpu=1"));
    let (q, _r, third) = (one(&mut world, "a/q"), one(&mut world, "a/r"), one(&mut world, "a/r"));
    assert!(matches!(world.explain(third), Blocker::AgentCapacity { .. }));
    let b = world.submit_all("b/q", 2);
    assert_eq!(world.status(b[1]), Some(Status::Queued));
    assert_eq!(world.explain(b[1]), Blocker::Organization { limit: 3, running: 3 });
    world.finish(q);
    assert_eq!(world.state.organization().1, 3);
}

#[test]
fn lowering_a_limit_stops_nothing_and_starts_nothing_until_below() {
    let mut world = world(-1, policy(1, 8));
    let runs = world.submit_all("a/q", 6);
    world.queue("a/q", policy(1, 2));
    let more = world.submit_all("a/q", 2);
    for run in &runs[..4] {
        world.finish(*run);
        assert_eq!(world.status(more[0]), Some(Status::Queued));
    }
    world.finish(runs[4]);
    assert_eq!((world.status(more[0]), world.status(more[1])), (Some(Status::Scheduled), Some(Status::Queued)));
    world.queue("a/q", policy(1, 3));
    assert_eq!(world.running("a/q"), 3);
}

#[test]
fn a_queue_with_windows_dispatches_while_one_is_open() {
    let windows = |cron: &str| {
        let duration = Duration::parse("2h").unwrap();
        vec![Window { cron: cron.to_owned(), duration, time_zone: Some("UTC".to_owned()) }]
    };
    // The world begins sixteen minutes after midnight.
    let mut world = world(-1, QueuePolicy { windows: windows("0 1 * * *"), ..policy(1, 1) });
    let runs = world.submit_all("a/q", 3);
    let opens = Timestamp(3_600_000);
    assert_eq!(world.explain(runs[0]), Blocker::QueueClosed { queue: queue_name("a/q"), until: Some(opens) });
    assert_eq!(next_wakeup(&world.state), Some(opens));
    world.tick(2599);
    assert_eq!(world.running("a/q"), 0);
    world.tick(1);
    assert_eq!(world.running("a/q"), 1);
    assert_eq!(next_wakeup(&world.state), Some(Timestamp(3 * 3_600_000)), "it closes");
    world.crash();
    world.finish(runs[0]);
    assert_eq!(world.status(runs[1]), Some(Status::Scheduled));
    // What runs goes on when the window closes; what waits, waits for tomorrow's, or for other windows.
    world.tick(2 * 3600);
    assert_eq!(world.status(runs[1]), Some(Status::Scheduled));
    world.finish(runs[1]);
    assert!(matches!(world.explain(runs[2]), Blocker::QueueClosed { .. }));
    world.queue("a/q", QueuePolicy { windows: windows("0 2 * * *"), ..policy(1, 1) });
    assert_eq!(world.status(runs[2]), Some(Status::Scheduled));
    world.queue("a/q", policy(1, 1));
    assert_eq!(next_wakeup(&world.state), None);
}

#[test]
fn hold_and_zero_start_nothing_and_minus_one_everything() {
    for stopped in [QueuePolicy { hold: true, ..policy(1, -1) }, policy(1, 0)] {
        let mut world = world(-1, stopped);
        let run = world.submit("a/q");
        assert_eq!(world.explain(run), Blocker::QueueHeld { queue: queue_name("a/q") });
        world.queue("a/q", policy(1, -1));
        world.submit_all("a/q", 100);
        assert_eq!(world.running("a/q"), 101);
    }
}

#[test]
fn two_pipelines_never_stand_in_a_queue_beyond_their_concurrency() {
    let mut world = world(0, policy(1, -1));
    let pipelines: Vec<RunId> = (0..2).map(|_| world.submit_as("a/q", |run| run.pipeline = Some(limit(3)))).collect();
    let children: Vec<_> = pipelines.iter().flat_map(|p| (0..5).map(|_| *p)).collect();
    let children: Vec<_> = children.into_iter().map(|parent| world.child(parent, "a/q", None)).collect();
    assert_eq!(world.queued("a/q"), 6);
    assert_eq!(world.explain(children[3]), Blocker::Pipeline { pipeline: pipelines[0], limit: 3 });
    world.stop(children[0]);
    assert_eq!((world.queued("a/q"), world.status(children[3])), (6, Some(Status::Queued)));
}

#[test]
fn a_controller_counts_leaves_and_does_not_deadlock_on_nested_pipelines() {
    let mut world = world(-1, policy(1, -1));
    let root = world.submit_as("a/q", |run| run.pipeline = Some(limit(4)));
    let nested: Vec<_> = (0..5).map(|_| world.child(root, "a/q", Some(2))).collect();
    assert_eq!(world.status(nested[3]), Some(Status::Running));
    assert_eq!(world.status(nested[4]), Some(Status::Compiled), "the direct gate holds the fifth");
    for parent in &nested[..4] {
        (0..3).for_each(|_| _ = world.child(*parent, "a/q", None));
    }
    while let Some(run) = world.started.iter().copied().find(|run| world.status(*run).is_some()) {
        let beyond = world.running("a/q") + world.queued("a/q");
        assert!(beyond <= 4, "{beyond} leaves are queued or beyond");
        world.finish(run);
    }
    assert_eq!(world.started.len(), 12, "four nested pipelines have run all they have");
    world.stop(nested[0]);
    assert_eq!(world.status(nested[4]), Some(Status::Running));
}

#[test]
fn a_group_does_what_its_policy_says_when_it_is_busy() {
    let group = |when_busy| Some(SupersedePolicy { group: "g".to_owned(), limit: 1, when_busy });
    for busy in [WhenBusy::Queue, WhenBusy::ReplaceQueued, WhenBusy::CancelRunning, WhenBusy::Skip] {
        let mut world = world(1, policy(1, -1));
        let run: Vec<_> = (0..3).map(|_| world.submit_as("a/q", |run| run.group = group(busy))).collect();
        let statuses: Vec<_> = run.iter().map(|run| world.status(*run)).collect();
        let expected = match busy {
            WhenBusy::Queue => [Some(Status::Scheduled), Some(Status::Compiled), Some(Status::Compiled)],
            WhenBusy::ReplaceQueued => [Some(Status::Scheduled), None, Some(Status::Compiled)],
            WhenBusy::CancelRunning => [Some(Status::Stopping), None, Some(Status::Compiled)],
            WhenBusy::Skip => [Some(Status::Scheduled), None, None],
        };
        assert_eq!(statuses, expected, "{busy:?}");
        world.finish(run[0]);
    }
}

#[test]
fn a_group_sees_the_runs_of_its_own_batch() {
    let mut world = world(0, policy(1, -1));
    let group = SupersedePolicy { group: "g".to_owned(), limit: 1, when_busy: WhenBusy::ReplaceQueued };
    let runs: Vec<_> = (0..3).map(|_| world.new_run("a/q")).collect();
    let runs: Vec<_> = runs
        .into_iter()
        .map(|run| {
            let mut run = run;
            run.group = Some(group.clone());
            run
        })
        .collect();
    let last = runs[2].id;
    world.exec(Command::Submit(runs));
    assert_eq!(world.state.runs().map(|run| run.id).collect::<Vec<_>>(), [last]);
}

#[test]
fn a_project_limit_counts_queued_and_beyond() {
    let mut world = world(1, policy(1, -1));
    world.project("p", 2);
    let runs = world.submit_all("a/q", 3);
    assert_eq!((world.running("a/q"), world.queued("a/q")), (1, 1));
    assert!(matches!(world.explain(runs[2]), Blocker::Project { limit: 2, .. }));
}

#[test]
fn nothing_starts_without_the_approval_that_it_needs() {
    let mut world = world(-1, policy(1, -1));
    let run = world.submit_as("a/q", |run| run.needs_approval = true);
    let pipeline = world.submit_as("a/q", |run| (run.needs_approval, run.pipeline) = (true, Some(limit(1))));
    assert_eq!(world.explain(run), Blocker::Approval);
    assert_eq!(world.status(pipeline), Some(Status::Created));
    for id in [run, pipeline] {
        assert_eq!(world.exec(Command::Approve { run: id, by: "ann".to_owned() }), Outcome::Done);
    }
    assert_eq!((world.status(run), world.status(pipeline)), (Some(Status::Scheduled), Some(Status::Running)));
    let again = world.exec(Command::Approve { run, by: "ann".to_owned() });
    assert_eq!(again, Outcome::Refused(Rejection::NotWaiting(run)));
}

#[test]
fn a_gate_stays_for_a_run_that_waits_for_approval() {
    let mut world = world(-1, policy(1, -1));
    let group = || Some(SupersedePolicy { group: "g".to_owned(), limit: 1, when_busy: WhenBusy::Queue });
    let waiting = world.submit_as("a/q", |run| (run.group, run.needs_approval) = (group(), true));
    let other = world.submit_as("a/q", |run| run.group = group());
    world.finish(other);
    world.crash();
    world.exec(Command::Approve { run: waiting, by: "ann".to_owned() });
    assert_eq!(world.status(waiting), Some(Status::Scheduled));
}

#[test]
fn stopping_holds_its_slot_until_it_has_stopped() {
    let mut world = world(-1, policy(1, 1));
    let (first, second) = (world.submit("a/q"), world.submit("a/q"));
    assert_eq!(world.stop(first), Outcome::Done);
    assert_eq!((world.status(second), world.owed("a")), (Some(Status::Queued), vec![Owed::Stop(world.attempt(first))]));
    assert_eq!(world.stop(first), Outcome::Already);
    world.fail(first, "Killed");
    assert_eq!(world.ended(first), Some((Status::Stopped, "Killed".to_owned())));
    assert_eq!(world.status(second), Some(Status::Scheduled));
    assert_eq!(world.stop(first), Outcome::Refused(Rejection::NoSuchRun(first)));
}

#[test]
fn stopping_a_pipeline_stops_what_is_below_it() {
    let mut world = world(1, policy(1, -1));
    let root = world.submit_as("a/q", |run| run.pipeline = Some(limit(9)));
    let nested = world.child(root, "a/q", Some(9));
    let leaves: Vec<_> = (0..2).map(|_| world.child(nested, "a/q", None)).collect();
    world.stop(root);
    assert!([root, nested, leaves[0]].into_iter().all(|run| world.status(run) == Some(Status::Stopping)));
    assert_eq!(world.status(leaves[1]), None);
    assert_eq!(world.stop(root), Outcome::Already);
    let late = world.new_run("a/q");
    let late = NewRun { parent: Some(nested), ..late };
    assert_eq!(world.exec(Command::Submit(vec![late])), Outcome::Refused(Rejection::NoSuchPipeline(nested)));
    world.fail(leaves[0], "Killed");
    assert!([root, nested].into_iter().all(|run| world.status(run).is_none()));
    assert_eq!(world.ended(root), Some((Status::Stopped, "StoppedByUser".to_owned())));
}

#[test]
fn a_step_of_a_pipeline_makes_children_once_and_ends_it_when_all_have_ended() {
    let mut world = world(-1, policy(1, -1));
    let root = world.submit_as("a/q", |run| run.pipeline = Some(limit(9)));
    let runs: Vec<NewRun> = (0..3).map(|_| NewRun { parent: Some(root), ..world.new_run("a/q") }).collect();
    let skipped = Some((Status::Skipped, Cause::new("ConditionsCheckFailed", "")));
    let children = runs.iter().zip([None, skipped, None]);
    let children: Vec<_> = children.map(|(run, ended)| NewChild { run: run.clone(), ended }).collect();
    let step = |children: &[NewChild], end: Option<(Status, bool)>| {
        let end = end.map(|(status, stop_children)| PipelineEnd {
            status,
            cause: Cause::new("Goal", ""),
            outputs: serde_json::Map::from_iter([("loss".to_owned(), 1.into())]),
            stop_children,
        });
        Command::Advance(Box::new(Advance { pipeline: root, children: children.to_vec(), stops: Vec::new(), end }))
    };
    assert_eq!(world.exec(step(&children, Some((Status::Succeeded, false)))), Outcome::Done);
    assert_eq!(world.exec(step(&children, None)), Outcome::Already, "asking twice makes nothing twice");
    assert_eq!(world.ended(runs[1].id), Some((Status::Skipped, "ConditionsCheckFailed".to_owned())));
    world.finish(runs[0].id);
    assert_eq!(world.exec(step(&[], Some((Status::Succeeded, false)))), Outcome::Already, "one child is left");
    assert_eq!(world.exec(step(&[], Some((Status::Failed, true)))), Outcome::Done);
    assert_eq!((world.status(root), world.status(runs[2].id)), (Some(Status::Stopping), Some(Status::Stopping)));
    world.crash();
    world.fail(runs[2].id, "Killed");
    assert_eq!(world.ended(root), Some((Status::Failed, "Goal".to_owned())));
    assert_eq!(world.exec(step(&children, None)), Outcome::Already, "a pipeline that has ended makes nothing");
}

#[test]
fn failed_attempts_are_tried_again_with_back_off_unless_hopeless() {
    let mut world = world(-1, policy(1, 1));
    let run = world.submit_as("a/q", |run| run.max_retries = 2);
    let first = world.attempt(run);
    world.fail(run, "Error");
    assert_eq!(next_wakeup(&world.state), Some(world.now.after(FIRST_RETRY)));
    assert_eq!(world.running("a/q"), 0, "the slot is free meanwhile");
    world.tick(9);
    assert_eq!(world.status(run), Some(Status::Retrying));
    world.tick(1);
    assert_eq!(world.attempt(run).attempt.0, 2);
    assert_eq!(world.see(first, Seen::Succeeded { outputs: Default::default() }), Outcome::Already, "an old attempt");
    world.fail(run, "DeadlineExceeded");
    assert_eq!(world.ended(run).map(|end| end.0), Some(Status::Failed));
}

#[test]
fn observations_only_go_forwards() {
    let mut world = world(-1, policy(1, 1));
    let run = world.submit("a/q");
    let attempt = world.attempt(run);
    assert_eq!(world.see(attempt, Seen::Running), Outcome::Done);
    assert_eq!(world.see(attempt, Seen::Starting), Outcome::Already);
    assert_eq!(world.see(attempt, Seen::Running), Outcome::Already);
    assert_eq!(world.see(attempt, Seen::Warning(Cause::new("OOM", ""))), Outcome::Done);
    world.finish(run);
    assert_eq!(world.see(attempt, Seen::Running), Outcome::Already);
    assert!(world.owed("a").is_empty());
}

#[test]
fn a_removed_queue_drains_hands_on_or_cancels() {
    let to = OnRemove::MoveTo(queue_name("a/r"));
    for (on_remove, second) in [(OnRemove::Drain, true), (to, true), (OnRemove::Cancel, false)] {
        let mut world = world(-1, QueuePolicy { on_remove: on_remove.clone(), ..policy(1, 1) });
        world.queue("a/r", QueuePolicy { hold: true, ..policy(1, 1) });
        let (first, waiting) = (world.submit("a/q"), world.submit_all("a/q", 2));
        world.remove_queue("a/q");
        let late = world.new_run("a/q");
        assert_eq!(
            world.exec(Command::Submit(vec![late])),
            Outcome::Refused(Rejection::QueueRemoved(queue_name("a/q")))
        );
        assert_eq!(world.status(waiting[0]).is_some(), second, "{on_remove:?}");
        if matches!(on_remove, OnRemove::MoveTo(_)) {
            let line: Vec<_> = world.state.line(&queue_name("a/r")).iter().map(|run| run.id).collect();
            assert_eq!(line, waiting, "in the order in which they stood");
        }
        world.finish(first);
        let drains = on_remove == OnRemove::Drain;
        assert_eq!(world.has_queue("a/q"), drains, "{on_remove:?}");
        if drains {
            waiting.iter().for_each(|run| world.finish(*run));
            assert!(!world.has_queue("a/q"));
        }
    }
}

#[test]
fn queues_are_renamed_and_swapped_with_what_they_hold() {
    let mut world = world(-1, policy(1, 1));
    world.queue("a/r", policy(1, 1));
    let (q, r) = (world.submit("a/q"), world.submit("a/r"));
    world.commit(|revision| {
        revision.renamed.insert(queue_name("a/q"), queue_name("a/r"));
        revision.renamed.insert(queue_name("a/r"), queue_name("a/q"));
    });
    assert_eq!(world.state.run(q).unwrap().queue, &queue_name("a/r"));
    world.crash();
    world.finish(r);
    assert_eq!((world.running("a/q"), world.running("a/r")), (0, 1));
}

#[test]
fn a_removed_agent_goes_with_its_last_run_and_may_come_back() {
    let mut world = world(-1, policy(1, 1));
    let run = world.submit("a/q");
    let gone = |world: &mut World| {
        world.commit(|revision| {
            revision.queues.insert(queue_name("a/q"), None);
            revision.agents.insert(crate::world::agent_name("a"), None);
        });
    };
    gone(&mut world);
    world.agent("a", -1, "").queue("a/q", policy(1, 2));
    let second = world.submit("a/q");
    gone(&mut world);
    world.finish(run);
    assert_eq!(world.state.agents().count(), 1);
    world.finish(second);
    assert_eq!(world.state.agents().count(), 0, "in the same pass as its queue");
}

#[test]
fn an_agent_that_is_down_blocks_only_itself() {
    let mut world = world(-1, policy(-1, -1));
    world.agent("b", -1, "").queue("b/q", policy(1, -1)).up("a", false);
    let (a, b) = (world.submit("a/q"), world.submit("b/q"));
    assert!(matches!(world.explain(a), Blocker::AgentDown { .. }));
    assert_eq!(world.status(b), Some(Status::Scheduled));
    world.up("a", true);
    assert_eq!(world.status(a), Some(Status::Scheduled));
}

#[test]
fn what_can_never_fit_is_said_and_looked_at_again_when_the_quota_grows() {
    let mut world = world(-1, QueuePolicy { quota: resources("cpu=1"), order: Order::Strict, ..policy(1, -1) });
    let wide = world.submit_as("a/q", |run| run.request = resources("cpu=2"));
    let small = world.submit_as("a/q", |run| run.request = resources("cpu=1"));
    assert!(matches!(never_fits(&world.state, wide), Some(Blocker::NeverFits { .. })));
    assert_eq!(world.status(small), Some(Status::Scheduled), "it blocks nobody, not even in strict order");
    world.queue("a/q", QueuePolicy { quota: resources("cpu=3"), ..policy(1, -1) });
    assert_eq!(world.status(wide), Some(Status::Scheduled));
}

#[test]
fn drift_is_healed_by_the_next_commit_and_a_stale_plan_is_refused() {
    let mut world = world(-1, policy(1, 1));
    let change =
        Command::ChangeQueue { queue: queue_name("a/q"), policy: Box::new(policy(1, 5)), by: "ann".to_owned() };
    assert_eq!(world.exec(change.clone()), Outcome::Done);
    assert_eq!(world.exec(change), Outcome::Already);
    world.submit_all("a/q", 5);
    assert_eq!(world.running("a/q"), 5);
    world.crash();
    world.project("p", -1);
    let view = world.state.queues().next().unwrap();
    assert_eq!((view.policy.concurrency, view.declared.is_none()), (limit(1), true));
    let revision = Box::new(world.revision());
    let stale = Command::ApplyRevision { based_on: None, revision, starts: vec![], stops: vec![] };
    assert!(matches!(world.exec(stale), Outcome::Refused(Rejection::Stale { .. })));
}

#[test]
fn asking_again_for_a_run_makes_one_run_also_after_it_ended() {
    let mut world = world(-1, policy(1, 1));
    let run = world.new_run("a/q");
    assert_eq!(world.exec(Command::Submit(vec![run.clone(), run.clone()])), Outcome::Done);
    assert_eq!(world.exec(Command::Submit(vec![run.clone()])), Outcome::Already);
    world.finish(run.id);
    world.crash();
    assert_eq!(world.exec(Command::Submit(vec![run])), Outcome::Already);
    assert_eq!(world.started.len(), 1);
}

#[test]
fn amounts_at_the_edge_of_numbers_neither_wrap_nor_leak() {
    let mut world = world(-1, policy(1, -1));
    let most = resources("cpu=9007199254740992");
    let runs: Vec<_> = (0..5).map(|_| world.submit_as("a/q", |run| run.request = most.clone())).collect();
    runs.into_iter().for_each(|run| world.finish(run));
    let quota = QueuePolicy { quota: most.clone(), ..policy(1, -1) };
    world.queue("a/q", quota);
    let runs: Vec<_> = (0..2).map(|_| world.submit_as("a/q", |run| run.request = most.clone())).collect();
    assert_eq!((world.status(runs[0]), world.status(runs[1])), (Some(Status::Scheduled), Some(Status::Queued)));
}

#[test]
fn a_finish_brings_the_whole_level_back_within_its_budget() {
    let mut world = World::new();
    world.organization(-1, Sharing::Proportional).agent("a", 4, "");
    world.queue("a/top", policy(2, 4)).queue("a/x", policy(1, 2)).queue("a/y", policy(1, 2));
    let x = world.submit_all("a/x", 2);
    let top = world.submit_all("a/top", 4);
    let y = world.submit("a/y");
    assert_eq!(world.status(top[2]), Some(Status::Queued));
    world.finish(x[0]);
    assert_eq!(world.status(y), Some(Status::Scheduled), "another queue of the level has what the first gave back");
}

#[test]
fn every_blocker_has_its_sentence() {
    let mut world = world(1, QueuePolicy { quota: resources("cpu=4"), ..policy(1, 2) });
    world.project("r", 1).queue("a/held", QueuePolicy { hold: true, ..policy(1, 1) }).queue("a/other", policy(1, 1));
    let mut text = String::new();
    let mut say = |world: &World, run| {
        text.push_str(&world.explain(run).sentence());
        text.push('\n');
    };
    let first = world.submit_as("a/q", |run| (run.request, run.max_retries) = (resources("cpu=3"), 1));
    say(&world, first);
    let second = world.submit_as("a/q", |run| run.request = resources("cpu=2"));
    say(&world, second);
    let other = world.submit("a/other");
    say(&world, other);
    let never = world.submit_as("a/q", |run| run.request = resources("cpu=5"));
    say(&world, never);
    let held = world.submit("a/held");
    say(&world, held);
    let approval = world.submit_as("a/q", |run| run.needs_approval = true);
    say(&world, approval);
    let root = world.submit_as("a/q", |run| run.pipeline = Some(limit(1)));
    let nested = world.child(root, "a/q", Some(2));
    let leaves: Vec<_> = (0..2).map(|_| world.child(nested, "a/q", None)).collect();
    say(&world, leaves[1]);
    let direct = world.child(root, "a/q", None);
    say(&world, direct);
    let group = || Some(SupersedePolicy { group: "g".to_owned(), limit: 1, when_busy: WhenBusy::Queue });
    let grouped: Vec<_> = (0..2).map(|_| world.submit_as("a/q", |run| run.group = group())).collect();
    say(&world, grouped[1]);
    let in_project: Vec<_> =
        (0..2).map(|_| world.submit_as("a/q", |run| run.project = crate::world::project_name("r"))).collect();
    say(&world, in_project[1]);
    world.organization(1, Sharing::Waterfall).agent("a", -1, "cpu=4");
    say(&world, other);
    world.organization(-1, Sharing::Waterfall);
    world.up("a", false);
    world.queue("a/third", policy(1, 1));
    let down = world.submit("a/third");
    say(&world, down);
    world.fail(first, "Error");
    say(&world, first);
    insta::assert_snapshot!(text);
}
