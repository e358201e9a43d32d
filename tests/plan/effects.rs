//! Effects on live work, and the guards.

use crate::*;

#[test]
fn lowering_a_limit_below_what_runs_stops_nothing() {
    let (base, desired) = (gpus().build(), gpus().queue("us/gpu", |q| q.concurrency = Limit::At(2)).build());
    let mut live = idle(&base);
    queue(&mut live, "us/gpu").running = 6;
    let plan = compare(&base, &desired, Some(&live));
    let shown = text(&plan);
    assert!(shown.contains("6 running, limit 2: 4 over. Nothing is stopped; no new start until 5 finish"), "{shown}");
    assert!(!shown.contains("cancelled;") && plan.summary.cancelled == 0);
    assert_eq!((plan.summary.over_limit, plan.exit_code), (4, PlanExit::Changes));
}

#[test]
fn a_quota_names_the_runs_that_can_never_start() {
    let limited = gpus().queue("us/gpu", |q| q.quota = resources(&[("gpu", "16")]));
    let (base, desired) = (gpus().build(), limited.build());
    let mut live = idle(&base);
    wait(&mut live, "us/gpu", 3, &resources(&[("gpu", "16")]));
    wait(&mut live, "us/gpu", 2, &resources(&[("gpu", "32")]));
    let plan = compare(&base, &desired, Some(&live));
    assert_eq!(plan.summary.unschedulable, 2);
    let run = &plan.objects[0].effects.queued.as_ref().unwrap().unschedulable[0];
    assert_eq!((run.resource.as_str(), run.need.as_str(), run.have.as_str()), ("quota.nvidia.com/gpu", "32", "16"));
    assert!(run.place.is_some());
    // What could never start before is not the doing of this change.
    assert_eq!(
        compare(
            &desired,
            &desired,
            Some(&{
                let mut l = live;
                l.queues = idle(&desired).queues;
                l
            })
        )
        .summary
        .unschedulable,
        0
    );
}

#[test]
fn a_smaller_agent_names_the_runs_that_no_longer_fit() {
    let small = gpus().agent("us", |a| a.capacity = resources(&[("cpu", "4")])).build();
    let base = gpus().build();
    let mut live = idle(&base);
    wait(&mut live, "us/gpu", 1, &resources(&[("cpu", "8")]));
    let plan = compare(&base, &small, Some(&live));
    assert_eq!(plan.summary.unschedulable, 1);
}

#[test]
fn a_priority_reorders_only_queues_with_waiting_runs() {
    let levels = |gpu| {
        gpus()
            .queue("us/gpu", |q| q.priority = Priority::At(gpu))
            .queue("us/etl", |q| q.priority = Priority::At(20))
            .queue("us/idle", |q| q.priority = Priority::At(20))
    };
    let (base, desired) = (levels(10).build(), levels(30).build());
    let mut live = idle(&base);
    wait(&mut live, "us/gpu", 12, &Resources::default());
    wait(&mut live, "us/etl", 3, &Resources::default());
    let plan = compare(&base, &desired, Some(&live));
    let effect = plan.objects[0].effects.queued.as_ref().unwrap();
    assert_eq!((effect.reordered, effect.order.len(), effect.order[0].becomes), (12, 1, Rank::Ahead));
    assert!(text(&plan).contains("12 runs move ahead of queue us/etl (3 queued)"));
}

#[test]
fn the_highest_priority_is_minus_one() {
    let levels = |p| gpus().queue("us/gpu", |q| q.priority = p).queue("us/etl", |q| q.priority = Priority::At(20));
    let base = levels(Priority::At(10)).build();
    let mut live = idle(&base);
    wait(&mut live, "us/gpu", 1, &Resources::default());
    wait(&mut live, "us/etl", 1, &Resources::default());
    let plan = compare(&base, &levels(Priority::Highest).build(), Some(&live));
    assert_eq!(plan.objects[0].effects.queued.as_ref().unwrap().order[0].becomes, Rank::Ahead);
    assert!(text(&plan).contains("10 -> -1 (highest)"));
}

#[test]
fn drift_stands_apart_and_conflict_is_named() {
    let limit = |n| gpus().queue("us/gpu", |q| q.concurrency = Limit::At(n)).build();
    let mut live = idle(&limit(8));
    queue(&mut live, "us/gpu").policy.concurrency = Limit::At(12);
    queue(&mut live, "us/gpu").changed_by = Some("alice".into());
    let drifted = compare(&limit(8), &limit(8), Some(&live));
    assert_eq!((drifted.objects[0].action, drifted.summary.drift, drifted.summary.change), (Action::Drift, 1, 0));
    assert!(text(&drifted).contains("8 (git)  12 (live, set by alice)  -> would return to 8"));
    let conflict = compare(&limit(8), &limit(4), Some(&live));
    assert_eq!((conflict.objects[0].action, conflict.summary.drift, conflict.summary.change), (Action::Update, 1, 1));
    assert!(text(&conflict).contains("8 -> 4  conflict: 12 (live, set by alice)"));
    let already = compare(&limit(8), &limit(12), Some(&live));
    assert_eq!((already.summary.drift, already.summary.change), (0, 1));
}

#[test]
fn a_queue_made_past_git_is_shown() {
    let base = org().build();
    let mut live = idle(&gpus().build());
    queue(&mut live, "us/gpu").changed_by = Some("bob".into());
    let plan = compare(&base, &base, Some(&live));
    assert_eq!((plan.objects.len(), plan.objects[0].action), (1, Action::Drift));
    assert!(text(&plan).contains("made past git (by bob)"));
    queue(&mut live, "us/gpu").draining = true;
    assert!(compare(&base, &base, Some(&live)).objects.is_empty(), "a removed queue that still drains is no drift");
}

#[test]
fn what_cannot_be_read_is_not_guessed() {
    let base = gpus().build();
    let mut live = idle(&base);
    live.queues.clear();
    live.agents.clear();
    live.unread_agents = vec![AgentName::parse("us").unwrap()];
    let plan = compare(&base, &base, Some(&live));
    assert!(plan.objects.is_empty(), "{}", text(&plan));
    assert_eq!(plan.exit_code, PlanExit::Incomplete);
    live.complete = false;
    live.unread_agents.clear();
    let plan = compare(&base, &base, Some(&live));
    assert!(plan.objects.is_empty() && plan.exit_code == PlanExit::Incomplete);
}

#[test]
fn a_removed_queue_drains_moves_or_cancels_as_it_says() {
    let leaving = |on_remove| org().queue("us/legacy", |q| q.on_remove = on_remove).queue("us/etl", |_| {}).build();
    let desired = org().queue("us/etl", |_| {}).build();
    let shown = |on_remove| {
        let base = leaving(on_remove);
        let mut live = idle(&base);
        wait(&mut live, "us/legacy", 4, &Resources::default());
        queue(&mut live, "us/legacy").running = 1;
        let plan = compare(&base, &desired, Some(&live));
        (text(&plan), plan)
    };
    let (drain, plan) = shown(OnRemove::Drain);
    assert!(drain.contains("1 running. Nothing is stopped") && drain.contains("4 queued; it takes no more"), "{drain}");
    assert_eq!(plan.exit_code, PlanExit::Changes);
    let (moving, _) = shown(OnRemove::MoveTo(QueueName::parse("us/etl").unwrap()));
    assert!(moving.contains("4 queued; they would move to queue us/etl"), "{moving}");
    let (cancel, plan) = shown(OnRemove::Cancel);
    assert!(cancel.contains("4 queued; 4 would be cancelled"), "{cancel}");
    assert_eq!(plan.summary.cancelled, 4);
    let (_, lost) = shown(OnRemove::MoveTo(QueueName::parse("us/nowhere").unwrap()));
    assert_eq!(lost.exit_code, PlanExit::Blocked);
}

#[test]
fn a_queue_with_another_name_moves() {
    let base = gpus().build();
    let moved = org()
        .queue("us/cuda", |q| {
            q.concurrency = Limit::At(8);
            q.previous_name = Some(Name::parse("gpu").unwrap());
        })
        .workflow("vision/train", |w| w.queue = QueueName::parse("us/cuda").unwrap())
        .build();
    let mut live = idle(&base);
    wait(&mut live, "us/gpu", 4, &Resources::default());
    let plan = compare(&base, &moved, Some(&live));
    assert_eq!((plan.summary.moved, plan.summary.add, plan.summary.remove), (1, 0, 0));
    assert!(text(&plan).contains("= queue us/cuda  moved from us/gpu"));
}

#[test]
fn removing_an_agent_with_work_is_refused() {
    let base = org().agent("eu", |_| {}).build();
    let mut live = idle(&base);
    live.agents.get_mut(&AgentName::parse("eu").unwrap()).unwrap().running = 2;
    let plan = compare(&base, &org().build(), Some(&live));
    assert_eq!(plan.exit_code, PlanExit::Blocked);
    assert!(plan.guards.iter().any(|guard| guard.id == GuardId::AgentRemoval && !guard.ok));
    assert!(compare(&base, &org().build(), Some(&idle(&base))).guards.iter().all(|guard| guard.ok));
}

#[test]
fn an_emptied_source_and_a_large_removal_are_refused() {
    let base = many(30, 1).build();
    let nothing = org()
        .with(|c| {
            c.agents.clear();
            c.queues.clear();
        })
        .build();
    let emptied = compare(&base, &nothing, None);
    assert!(emptied.guards.iter().any(|guard| guard.id == GuardId::Empty && !guard.ok));
    assert!(emptied.cursors.is_empty());
    // 31 objects, a quarter of them is 7.
    assert_eq!(compare(&base, &many(23, 1).build(), None).exit_code, PlanExit::Changes);
    assert_eq!(compare(&base, &many(22, 1).build(), None).exit_code, PlanExit::Blocked);
    let mut source = Followed::after(many(30, 1));
    assert_eq!(source.look(&many(22, 1).build(), "less\n\nAllow-Removals: 8").exit_code, PlanExit::Changes);
    assert_eq!(source.push(many(22, 2), "less and change").admitted().count(), 0, "a refused commit starts nothing");
}

#[test]
fn a_start_that_can_never_leave_its_queue_says_so() {
    let base = gpus().queue("us/gpu", |q| q.quota = resources(&[("gpu", "16")]));
    let hungry = base
        .clone()
        .workflow("vision/train", |w| w.operation.change(|operation| operation.request = resources(&[("gpu", "32")])));
    let plan = compare(&base.build(), &hungry.build(), None);
    assert_eq!(plan.starts[0].never.as_deref(), Some("asks nvidia.com/gpu=32, quota 16"));
}

#[test]
fn a_budget_that_shifts_is_shown() {
    let levels = |high| {
        org()
            .agent("us", |a| a.concurrency = Limit::At(10))
            .queue("us/default", |q| q.concurrency = Limit::At(0))
            .queue("us/a", |q| {
                q.priority = Priority::At(20);
                q.concurrency = Limit::At(high);
            })
            .queue("us/b", |q| {
                q.priority = Priority::At(10);
                q.concurrency = Limit::At(6);
            })
            .build()
    };
    let shown = text(&compare(&levels(6), &levels(10), None));
    assert!(shown.contains("agent us, priority 20: 10 of 10 slots (was 6 of 10)"), "{shown}");
    assert!(shown.contains("agent us, priority 10: 0 of 10 slots (was 4 of 10); it starts nothing while"), "{shown}");
}

#[test]
fn exit_codes_have_their_precedence() {
    let base = many(30, 1).build();
    let mut problems = Diagnostics::default();
    problems.push(Diagnostic::error(Code(1), Place::file("x.yaml"), "bad"));
    let mut live = idle(&base);
    let exit = |desired: &Catalog, live: &Live, problems: &Diagnostics| {
        plan(&PlanInput {
            source: &SourceRef { id: "s".into(), git_ref: "main".into() },
            base: Some(&base),
            desired,
            base_info: None,
            desired_info: &revision("1", ""),
            live: Some(live),
            between: &[],
            admissions: None,
            overrides: Overrides::default(),
            standing: Standing::Followed,
            now: Timestamp(0),
            diagnostics: problems,
        })
        .exit_code
        .code()
    };
    let none = Diagnostics::default();
    assert_eq!(exit(&base, &live, &none), 0);
    assert_eq!(exit(&many(29, 1).build(), &live, &none), 2);
    assert_eq!(exit(&many(2, 1).build(), &live, &none), 4);
    assert_eq!(exit(&many(2, 1).build(), &live, &problems), 3);
    live.complete = false;
    assert_eq!(exit(&many(2, 1).build(), &live, &problems), 5);
}
