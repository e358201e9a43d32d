//! A source that is followed: each push is planned against what was applied and admitted, then applied.

use crate::*;

#[test]
fn scenario_01_first_sync_adopts_and_starts_nothing() {
    let plan = Followed::unseen().push(many(500, 1), "first");
    assert_eq!((plan.adopted, plan.starts.len(), plan.cursors.len()), (Some(500), 0, 500));
    assert_eq!(plan.summary.add, 500 + 2, "500 workflows, the organization and the agent");
}

#[test]
fn scenario_01_first_sync_starts_when_asked_and_within_the_guard() {
    let start = |count| many(count, 1).organization(|o| o.first_sync = FirstSync::Start);
    assert_eq!(Followed::unseen().push(start(20), "first").admitted().count(), 20);
    let held = Followed::unseen().push(start(21), "first");
    assert_eq!((held.admitted().count(), held.summary.held, held.exit_code), (0, 21, PlanExit::Blocked));
}

#[test]
fn scenario_02_new_file_with_push_trigger() {
    let mut source = Followed::after(one());
    assert_eq!(source.starts(one().workflow("vision/eval", |_| {})), 1);
    assert_eq!(source.starts(one().workflow("vision/eval", |_| {})), 0);
}

#[test]
fn scenario_03_spec_field_edit() {
    let mut source = Followed::after(one());
    let plan = source.push(one().workflow("vision/train", edit(2)), "retune");
    assert_eq!(plan.admitted().count(), 1);
    assert_eq!(plan.objects[0].fields[0].name, "operation.inputs.epochs");
}

#[test]
fn scenario_04_comment_or_format_edit() {
    let mut source = Followed::after(one());
    let moved_lines = one().with(|catalog| {
        let workflow = catalog.workflows.get_mut(&WorkflowName::parse("vision/train").unwrap()).unwrap();
        workflow.place.as_mut().unwrap().line += 3;
    });
    let plan = source.push(moved_lines, "comment");
    assert_eq!((plan.starts.len(), plan.objects.len(), plan.exit_code), (0, 0, PlanExit::Unchanged));
    assert_eq!(reasons(&plan), [SkipReason::DigestUnchanged]);
}

#[test]
fn scenario_05_preset_used_by_30_workflows_is_held() {
    let preset = |value: i64, all: Builder| all.preset("spot", json!({"isPreset": true, "epochs": value}));
    let mut source = Followed::after(preset(1, many(30, 1)));
    let edited = || preset(2, many(30, 2));
    let plan = source.push(edited(), "edit the preset");
    assert_eq!((plan.summary.change, plan.admitted().count(), plan.summary.held), (31, 0, 30));
    assert_eq!(plan.exit_code, PlanExit::Blocked);
    assert!(plan.cursors.is_empty(), "what is held is seen again");
    // Somebody allows it, with an otherwise empty commit.
    let allowed = source.push(edited(), "go\n\nAllow-Starts: 30");
    assert_eq!((allowed.admitted().count(), allowed.exit_code), (30, PlanExit::Changes));
    assert_eq!(source.starts(edited()), 0);
}

fn watching(files: &str) -> Builder {
    one().workflow("vision/train", |workflow| {
        workflow.push = Some(PushTrigger { paths: vec!["models/**".into()], fires: Fires::OnChange });
        workflow.inputs_digest = Digest::of(files.as_bytes());
    })
}

#[test]
fn scenario_06_file_under_paths_edited() {
    let mut source = Followed::after(watching("a"));
    let plan = source.push(watching("b"), "data");
    assert_eq!((plan.admitted().count(), plan.objects.len()), (1, 0));
    assert_eq!(plan.starts[0].reason, "files that it watches changed");
}

#[test]
fn scenario_07_file_elsewhere_edited() {
    let mut source = Followed::after(watching("a"));
    let plan = source.push(watching("a"), "readme");
    assert_eq!((plan.starts.len(), plan.skips.len(), plan.exit_code), (0, 0, PlanExit::Unchanged));
}

#[test]
fn scenario_08_git_mv_of_the_file() {
    let mut source = Followed::after(one());
    let moved = one().with(|catalog| {
        let workflow = catalog.workflows.get_mut(&WorkflowName::parse("vision/train").unwrap()).unwrap();
        workflow.place.as_mut().unwrap().file = "elsewhere.yaml".into();
    });
    let plan = source.push(moved, "mv");
    assert_eq!((plan.starts.len(), plan.objects.len()), (0, 0));
    assert_eq!(plan.skips[0].words, "its file moved; its meaning is unchanged");
}

#[test]
fn scenario_09_name_changed() {
    let renamed = || org().workflow("vision/train-2", edit(1));
    let plan = Followed::after(one()).push(renamed(), "rename");
    let actions: Vec<Action> = plan.objects.iter().map(|object| object.action).collect();
    assert_eq!((actions, plan.admitted().count()), (vec![Action::Remove, Action::Create], 1));

    let with_previous = || {
        renamed().workflow("vision/train-2", |workflow| workflow.previous_name = Some(Name::parse("train").unwrap()))
    };
    let mut source = Followed::after(one());
    let plan = source.push(with_previous(), "move");
    assert_eq!(plan.objects[0].action, Action::Move);
    assert_eq!((plan.admitted().count(), reasons(&plan)), (0, vec![SkipReason::Moved]));
    assert_eq!(source.starts(with_previous()), 0);
    assert_eq!(source.starts(with_previous().workflow("vision/train-2", edit(2))), 1);
}

#[test]
fn scenario_10_deleted_with_queued_and_running_work() {
    let base = one().build();
    let mut live = idle(&base);
    live.workflows.insert(WorkflowName::parse("vision/train").unwrap(), WorkflowUse { running: 1, queued: 3 });
    let plan = compare(&base, &org().build(), Some(&live));
    assert_eq!((plan.starts.len(), plan.summary.remove, plan.summary.cancelled), (0, 1, 0));
    assert!(!text(&plan).contains("be cancelled"));

    let cancelling = one().workflow("vision/train", |w| w.on_remove = WorkflowOnRemove::CancelQueued).build();
    let plan = compare(&cancelling, &org().build(), Some(&live));
    assert_eq!((plan.summary.cancelled, plan.reversibility), (3, Reversibility::ExceptCancelled(3)));
    assert!(text(&plan).contains("3 queued; 3 would be cancelled"), "{}", text(&plan));
}

#[test]
fn scenario_11_deleted_then_restored_unchanged() {
    let mut source = Followed::after(one());
    assert_eq!(source.starts(org()), 0);
    let plan = source.push(one(), "restore");
    assert_eq!((plan.admitted().count(), reasons(&plan)), (0, vec![SkipReason::Restored]));
}

#[test]
fn scenario_12_there_and_back() {
    let b = || one().workflow("vision/train", edit(2));
    assert_eq!(Followed::after(one()).starts(one()), 0, "in one push nothing is seen");
    let mut source = Followed::after(one());
    assert_eq!((source.starts(b()), source.starts(one())), (1, 1), "in two pushes there are two transitions");
}

#[test]
fn scenario_13_force_push_to_the_same_tree() {
    let mut source = Followed::after(one());
    source.commits = 77;
    assert_eq!(source.starts(one()), 0);
}

#[test]
fn scenario_14_force_push_with_one_difference_needs_no_old_commit() {
    let two = || one().workflow("vision/eval", |_| {});
    let mut source = Followed::after(two());
    source.commits = 77;
    source.base = None;
    assert_eq!(source.starts(two().workflow("vision/eval", edit(5))), 1);
}

#[test]
fn scenario_15_the_same_push_has_the_same_key() {
    let source = Followed::after(one());
    let desired = one().workflow("vision/train", edit(2)).build();
    let (first, again) = (source.look(&desired, "x"), source.look(&desired, "x"));
    assert_eq!(first.starts[0].run_key, again.starts[0].run_key);
    let other = one().workflow("vision/train", edit(3)).build();
    assert_ne!(first.starts[0].run_key, source.look(&other, "x").starts[0].run_key);
}

#[test]
fn scenario_17_same_content_under_two_names() {
    let mut source = Followed::after(org());
    let plan = source.push(org().workflow("vision/a", edit(1)).workflow("vision/b", edit(1)), "two");
    assert_eq!(plan.admitted().count(), 2);
    assert_ne!(plan.starts[0].run_key, plan.starts[1].run_key);
}

#[test]
fn scenario_18_an_edit_of_the_schedule_starts_nothing() {
    let at = |cron: &str| {
        let schedule = Schedule::cron(cron);
        one().workflow("vision/train", move |workflow| workflow.schedules = vec![schedule])
    };
    let mut source = Followed::after(at("0 2 * * *"));
    let plan = source.push(at("0 3 * * *"), "later");
    assert_eq!((plan.admitted().count(), reasons(&plan), plan.summary.change), (0, vec![SkipReason::TriggersOnly], 1));
}

#[test]
fn a_push_trigger_added_later_does_not_start_what_is_known() {
    let silent = || one().workflow("vision/train", |workflow| workflow.push = None);
    let mut source = Followed::after(silent());
    assert_eq!(source.starts(silent().workflow("vision/train", edit(2))), 0);
    assert_eq!(source.starts(one().workflow("vision/train", edit(2))), 0);
    assert_eq!(source.starts(one().workflow("vision/train", edit(3))), 1);
}

#[test]
fn scenario_21_many_commits_with_one_net_change() {
    let mut source = Followed::after(many(10, 1));
    source.commits += 40;
    assert_eq!(source.starts(many(10, 1).workflow("vision/w003", edit(9))), 1);
}

#[test]
fn scenario_22_one_file_malformed_and_four_good_changed() {
    let mut source = Followed::after(many(5, 1));
    let place = Place { file: "projects/vision/workflows/w000.yaml".into(), line: 3, column: 7, end_column: 9 };
    source.problems.push(Diagnostic::error(Code(102), place, "`imge` is not a field"));
    let plan = source.push(many(5, 2).unsound("vision/w000"), "edit");
    assert_eq!((plan.admitted().count(), plan.summary.remove, plan.exit_code), (4, 0, PlanExit::Invalid));
    assert_eq!(reasons(&plan), [SkipReason::Unsound]);
    // Mended, it is seen as the change that it is.
    source.problems = Diagnostics::default();
    assert_eq!(source.starts(many(5, 2)), 1);
}

#[test]
fn scenario_25_runs_skip() {
    let mut source = Followed::after(one());
    let edited = || one().workflow("vision/train", edit(2));
    let plan = source.push(edited(), "retune\n\nRuns: skip");
    assert_eq!((plan.admitted().count(), reasons(&plan), plan.summary.change), (0, vec![SkipReason::Requested], 1));
    assert!(plan.skips[0].words.contains("trailer \"Runs: skip\""));
    assert_eq!(source.starts(edited()), 0, "an unrelated push does not bring it back");
}

#[test]
fn scenario_26_freeze_lets_only_the_last_change_start() {
    let frozen = |value| {
        let cron = "0 18 * * 5".to_owned();
        let freeze = Freeze { cron, duration: Duration::parse("62h").unwrap(), time_zone: Some("Europe/Paris".into()) };
        one().organization(|o| o.freeze = vec![freeze]).workflow("vision/train", edit(value))
    };
    let mut source = Followed::after(frozen(1));
    source.now = moment("2025-11-22T10:00:00Z");
    for value in 2..5 {
        let plan = source.push(frozen(value), "change");
        assert_eq!((plan.admitted().count(), plan.exit_code), (0, PlanExit::Blocked));
        assert_eq!(plan.starts[0].hold, Some(Hold::Freeze));
        assert_eq!(plan.summary.change, 1, "the definition changes all the same");
    }
    source.now = moment("2025-11-24T07:00:00Z");
    assert_eq!(source.starts(frozen(4)), 1);
    assert_eq!(source.starts(frozen(4)), 0);
}

#[test]
fn scenario_28_a_source_without_baseline_is_adopted_again() {
    let mut source = Followed::after(one());
    source.admissions = Admissions::default();
    assert_eq!(source.starts(one().workflow("vision/train", edit(2))), 0);
}

#[test]
fn scenario_29_a_pull_request_is_planned_and_admits_nothing() {
    let mut source = Followed::after(one());
    source.standing = Standing::Unmerged;
    let plan = source.look(&one().workflow("vision/train", edit(2)).build(), "wip");
    assert_eq!((plan.admitted().count(), plan.starts.len(), plan.cursors.len()), (0, 1, 0));
    assert_eq!(plan.starts[0].hold, Some(Hold::Unmerged));
    source.standing = Standing::Followed;
    assert_eq!(source.starts(one().workflow("vision/train", edit(2))), 1);
}

#[test]
fn each_fires_does_what_it_says() {
    let fires = |fires, value| {
        let trigger = PushTrigger { paths: Vec::new(), fires };
        one().workflow("vision/train", |w| w.push = Some(trigger)).workflow("vision/train", edit(value))
    };
    for (kind, expected) in [
        (Fires::OnChange, [0, 1, 1]),
        (Fires::OnCreate, [0, 0, 1]),
        (Fires::EveryCommit, [1, 1, 1]),
        (Fires::Never, [0; 3]),
    ] {
        let mut source = Followed::after(fires(kind, 1));
        let same = source.starts(fires(kind, 1));
        let changed = source.starts(fires(kind, 2));
        let mut fresh = Followed::after(org());
        assert_eq!([same, changed, fresh.starts(fires(kind, 1))], expected, "{kind:?}");
    }
}

#[test]
fn what_cannot_run_says_why_and_starts_nothing() {
    let mut source = Followed::after(org());
    let plan = source.push(one().workflow("vision/train", |w| w.unrunnable = Some("dag is not known".into())), "new");
    assert_eq!((plan.admitted().count(), plan.skips[0].words.as_str()), (0, "cannot run: dag is not known"));
}
