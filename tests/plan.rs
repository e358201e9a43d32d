//! The plan from outside: scenarios of git, effects on live work, every rendering, and what no rendering may show.
// Helpers outside of a test function are not known as tests to clippy.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::domain::catalog::{Catalog, PushTrigger, ResolvedWorkflow};
use tidegate::domain::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use tidegate::domain::ids::{AgentName, CommitId, Digest, Name, ProjectName, QueueName, RunId, WorkflowName};
use tidegate::domain::plan::build::{Builder, org, resources};
use tidegate::domain::plan::model::{Action, GuardId, Hold, Rank, Reversibility, SkipReason};
use tidegate::domain::plan::render::schema;
use tidegate::domain::plan::{
    Admissions, Format, Live, LiveAgent, LiveOrganization, LiveQueue, LiveRun, Mood, Overrides, Plan, PlanExit,
    PlanInput, Revision, SourceRef, Standing, Style, WorkflowUse, overrides, plan, render,
};
use tidegate::domain::quantity::Resources;
use tidegate::domain::spec::{Fires, FirstSync, Freeze, Limit, OnRemove, Priority, Schedule, WorkflowOnRemove};
use tidegate::domain::time::{Duration, Timestamp};

// ---------------------------------------------------------------------------------------------------------------------
// A source that is followed: each push is planned against what was applied and admitted, then applied.

struct Followed {
    base: Option<Catalog>,
    admissions: Admissions,
    commits: usize,
    now: Timestamp,
    problems: Diagnostics,
    standing: Standing,
}

impl Followed {
    /// A source after its first sync.
    fn after(catalog: Builder) -> Self {
        let mut source = Self::unseen();
        assert_eq!(source.push(catalog, "first").admitted().count(), 0, "a first sync starts nothing");
        source
    }

    fn unseen() -> Self {
        Self {
            base: None,
            admissions: Admissions::default(),
            commits: 0,
            now: moment("2025-11-19T12:00:00Z"),
            problems: Diagnostics::default(),
            standing: Standing::Followed,
        }
    }

    fn look(&self, desired: &Catalog, message: &str) -> Plan {
        let info = revision(&format!("{:040x}", self.commits + 1), message);
        let source = SourceRef { id: "specs".into(), git_ref: "refs/heads/main".into() };
        plan(&PlanInput {
            source: &source,
            base: self.base.as_ref(),
            desired,
            base_info: None,
            desired_info: &info,
            live: None,
            between: &[],
            admissions: Some(&self.admissions),
            overrides: overrides(message),
            standing: self.standing,
            now: self.now,
            diagnostics: &self.problems,
        })
    }

    fn push(&mut self, desired: Builder, message: &str) -> Plan {
        let mut desired = desired.build();
        let plan = self.look(&desired, message);
        self.commits += 1;
        self.admissions.baseline = true;
        self.admissions.cursors.extend(plan.cursors.iter().cloned());
        // As the engine does: what is not sound keeps its last good definition.
        for name in desired.unsound.keys() {
            if let Some(last) = self.base.as_ref().and_then(|base| base.workflows.get(name)) {
                desired.workflows.insert(name.clone(), last.clone());
            }
        }
        desired.unsound.clear();
        self.base = Some(desired);
        plan
    }

    /// How many runs a push starts.
    fn starts(&mut self, desired: Builder) -> usize {
        self.push(desired, "change").admitted().count()
    }
}

fn moment(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn revision(commit: &str, message: &str) -> Revision {
    Revision {
        commit: CommitId::new(commit),
        label: "main".into(),
        dirty: Vec::new(),
        message: message.into(),
        time: None,
    }
}

fn edit(value: i64) -> impl Fn(&mut ResolvedWorkflow) {
    move |workflow| {
        workflow.operation.inputs.insert("epochs".into(), json!(value));
    }
}

fn one() -> Builder {
    org().workflow("vision/train", edit(1))
}

fn reasons(plan: &Plan) -> Vec<SkipReason> {
    plan.skips.iter().map(|skip| skip.reason).collect()
}

fn many(count: usize, value: i64) -> Builder {
    (0..count).fold(org(), |all, i| all.workflow(&format!("vision/w{i:03}"), edit(value)))
}

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

// ---------------------------------------------------------------------------------------------------------------------
// Effects and guards.

fn idle(catalog: &Catalog) -> Live {
    let queue =
        |(name, queue): (&QueueName, &tidegate::domain::catalog::Declared<_>)| (name.clone(), empty(&queue.item));
    let agent =
        |(name, agent): (&AgentName, &tidegate::domain::catalog::Declared<tidegate::domain::catalog::AgentPolicy>)| {
            let live = LiveAgent { policy: agent.item.clone(), running: 0, used: Resources::default(), up: true };
            (name.clone(), live)
        };
    Live {
        queues: catalog.queues.iter().map(queue).collect(),
        agents: catalog.agents.iter().map(agent).collect(),
        organization: LiveOrganization { concurrency: catalog.organization.item.concurrency, running: 0 },
        workflows: BTreeMap::new(),
        complete: true,
        unread_agents: Vec::new(),
    }
}

fn empty(policy: &tidegate::domain::catalog::QueuePolicy) -> LiveQueue {
    LiveQueue {
        policy: policy.clone(),
        changed_by: None,
        running: 0,
        used: Resources::default(),
        queued: Vec::new(),
        queued_total: 0,
        draining: false,
    }
}

fn queue<'a>(live: &'a mut Live, name: &str) -> &'a mut LiveQueue {
    live.queues.get_mut(&QueueName::parse(name).unwrap()).unwrap()
}

fn wait(live: &mut Live, name: &str, count: u64, request: &Resources) {
    let workflow = WorkflowName::parse("vision/train").unwrap();
    let queue = queue(live, name);
    for _ in 0..count {
        queue.queued.push(LiveRun {
            run: RunId::parse(&format!("{:032x}", 0x7f21_0000_u64 + queue.queued_total)).unwrap(),
            name: "train".into(),
            workflow: Some(workflow.clone()),
            project: ProjectName::parse("vision").unwrap(),
            request: request.clone(),
            created_at: Timestamp(0),
        });
        queue.queued_total += 1;
    }
}

fn compare(base: &Catalog, desired: &Catalog, live: Option<&Live>) -> Plan {
    let problems = Diagnostics::default();
    plan(&PlanInput {
        source: &SourceRef { id: "specs".into(), git_ref: "refs/heads/main".into() },
        base: Some(base),
        desired,
        base_info: Some(&revision("41aa90e000000000000000000000000000000000", "")),
        desired_info: &Revision {
            dirty: vec!["queues/us/gpu.yaml".into()],
            label: "worktree".into(),
            ..revision("9f3c2d1000000000000000000000000000000000", "Make room for etl")
        },
        live,
        between: &[],
        admissions: None,
        overrides: Overrides::default(),
        standing: Standing::Followed,
        now: Timestamp(0),
        diagnostics: &problems,
    })
}

fn text(plan: &Plan) -> String {
    render(plan, Format::Text, Style::default())
}

fn gpus() -> Builder {
    org().queue("us/gpu", |q| q.concurrency = Limit::At(8)).workflow("vision/train", |w| {
        w.queue = QueueName::parse("us/gpu").unwrap();
    })
}

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
    let hungry = base.clone().workflow("vision/train", |w| w.operation.request = resources(&[("gpu", "32")]));
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

// ---------------------------------------------------------------------------------------------------------------------
// Renderings of one rich example.

const SCRIPT: &str = "set -e\necho prepare\npython train.py --lr 0.1\necho done\n";

fn rich_base() -> Builder {
    let script = |text: &str| {
        json!({"kind": "job", "container": {"image": "trainer:1", "command": ["sh", "-c", text],
        "env": [{"name": "HF_TOKEN", "value": "hf_abcdef"}, {"name": "LR", "value": "0.1"}]}})
    };
    org()
        .organization(|o| o.concurrency = Limit::At(40))
        .agent("us", |a| a.concurrency = Limit::At(12))
        .queue("us/gpu", |q| {
            q.concurrency = Limit::At(8);
            q.priority = Priority::At(10);
        })
        .queue("us/etl", |q| {
            q.concurrency = Limit::At(6);
            q.priority = Priority::At(20);
        })
        .queue("us/default", |q| q.concurrency = Limit::At(2))
        .queue("us/legacy", |q| q.concurrency = Limit::At(1))
        .preset("spot", json!({"isPreset": true, "termination": {"maxRetries": 1}}))
        .project("vision", |p| p.default_queue = Some(QueueName::parse("us/gpu").unwrap()))
        .workflow("vision/train", |w| {
            w.queue = QueueName::parse("us/gpu").unwrap();
            w.operation.run = script(SCRIPT);
            w.operation.request = resources(&[("gpu", "2")]);
        })
        .workflow("vision/tidy", edit(1))
}

fn rich() -> (Catalog, Catalog, Live) {
    let desired = rich_base()
        .queue("us/gpu", |q| {
            q.concurrency = Limit::At(2);
            q.priority = Priority::At(30);
            q.quota = resources(&[("gpu", "16")]);
        })
        .without("queue us/legacy")
        .preset("spot", json!({"isPreset": true, "termination": {"maxRetries": 3}}))
        .workflow("vision/train", |w| {
            let container = &mut w.operation.run["container"];
            container["command"][2] = json!(SCRIPT.replace("0.1", "0.01"));
            container["env"][0]["value"] = json!("hf_fedcba");
        })
        .workflow("vision/eval", |w| w.queue = QueueName::parse("us/etl").unwrap())
        .with(|c| {
            let tidy = c.workflows.get_mut(&WorkflowName::parse("vision/tidy").unwrap()).unwrap();
            tidy.place.as_mut().unwrap().line = 2;
        });
    let (base, desired) = (rich_base().build(), desired.build());
    let mut live = idle(&base);
    let gpu = queue(&mut live, "us/gpu");
    (gpu.running, gpu.used) = (6, resources(&[("gpu", "12")]));
    wait(&mut live, "us/gpu", 29, &resources(&[("gpu", "2")]));
    wait(&mut live, "us/gpu", 2, &resources(&[("gpu", "32")]));
    let etl = queue(&mut live, "us/etl");
    (etl.running, etl.policy.concurrency, etl.changed_by) = (9, Limit::At(12), Some("alice".into()));
    wait(&mut live, "us/etl", 3, &Resources::default());
    queue(&mut live, "us/legacy").running = 1;
    wait(&mut live, "us/legacy", 4, &Resources::default());
    (base, desired, live)
}

fn rich_plan() -> Plan {
    let (base, desired, live) = rich();
    compare(&base, &desired, Some(&live))
}

#[test]
fn the_rich_example_in_every_format() {
    let plan = rich_plan();
    for width in [80, 100, 120] {
        let shown = render(&plan, Format::Text, Style { width, ..Style::default() });
        for line in shown.lines().filter(|line| !line.trim_start().starts_with('|')) {
            assert!(line.chars().count() <= width, "{line}");
        }
        insta::assert_snapshot!(format!("text_{width}"), shown);
    }
    for (name, format) in Format::ALL.into_iter().filter(|(_, format)| *format != Format::Text) {
        insta::assert_snapshot!(name, render(&plan, format, Style::default()));
    }
    let applied = render(&plan, Format::Text, Style { mood: Mood::Applied, ..Style::default() });
    assert!(!applied.contains("would") && applied.contains("returned to 6"), "{applied}");
}

#[test]
fn colour_carries_nothing() {
    let plan = rich_plan();
    let painted = render(&plan, Format::Text, Style { colour: true, ..Style::default() });
    let mut plain = painted.clone();
    for code in ["\u{1b}[0m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[35m"] {
        plain = plain.replace(code, "");
    }
    assert_ne!(painted, plain);
    assert_eq!(plain, text(&plan));
}

#[test]
fn the_published_schema_is_that_of_the_types_and_takes_what_is_written() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/plan.json");
    let wanted = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("TIDEGATE_WRITE_SCHEMAS").is_some() {
        std::fs::write(file, &wanted).unwrap();
    }
    let published = std::fs::read_to_string(file).unwrap();
    assert_eq!(published, wanted, "write it with TIDEGATE_WRITE_SCHEMAS=1 cargo test --test plan");
    let validator = jsonschema::validator_for(&serde_json::from_str(&published).unwrap()).unwrap();
    for plan in [rich_plan(), Followed::unseen().push(many(3, 1), "first")] {
        let document: Value = serde_json::from_str(&render(&plan, Format::Json, Style::default())).unwrap();
        let problems: Vec<String> = validator.iter_errors(&document).map(|problem| problem.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?}");
        let mut wrong = document.clone();
        wrong["objects"][0]["action"] = json!("explode");
        assert!(!validator.is_valid(&wrong));
        let again: Plan = serde_json::from_value(document).unwrap();
        assert_eq!(again, Plan { cursors: Vec::new(), ..plan });
    }
}

#[test]
fn every_line_of_jsonl_is_an_object_with_a_type() {
    let lines = render(&rich_plan(), Format::Jsonl, Style::default());
    let types: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((types[0].as_str(), types.last().map(String::as_str)), ("version", Some("summary")));
}

#[test]
fn the_patch_turns_the_base_into_what_is_wanted() {
    let (base, desired) = (
        gpus().build(),
        gpus()
            .queue("us/gpu", |q| {
                q.quota = resources(&[("cpu", "1")]);
                q.hold = true;
            })
            .build(),
    );
    let plan = compare(&base, &desired, None);
    let patches: Value = serde_json::from_str(&render(&plan, Format::Patch, Style::default())).unwrap();
    let name = QueueName::parse("us/gpu").unwrap();
    let mut value = serde_json::to_value(&base.queues[&name].item).unwrap();
    for op in patches[0]["patch"].as_array().unwrap() {
        let path = op["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match op["op"].as_str().unwrap() {
            "remove" => drop(parent.shift_remove(key)),
            _ => drop(parent.insert(key.replace("~1", "/"), op["value"].clone())),
        }
    }
    assert_eq!(value, serde_json::to_value(&desired.queues[&name].item).unwrap());
}

#[test]
fn a_comment_never_outgrows_its_forge() {
    let long = "line of text that repeats itself\n".repeat(30);
    let all = |suffix: &str| {
        (0..400).fold(org(), |all, i| {
            let text = format!("{long}{suffix}{i}");
            all.workflow(&format!("vision/w{i}"), move |w| w.operation.run["container"]["command"] = json!([text]))
        })
    };
    let plan = compare(&all("a").build(), &all("b").build(), None);
    let comment = render(&plan, Format::Markdown, Style::default());
    assert!(comment.len() <= 65_000 && comment.contains("objects without their fields"), "{}", comment.len());
    assert!(comment.starts_with("<!-- tidegate:plan -->") && comment.contains("Guards"));
    assert_eq!(comment.matches("<details>").count(), comment.matches("</details>").count());
}

#[test]
fn a_summary_fits_a_commit_status() {
    assert!(render(&rich_plan(), Format::Summary, Style::default()).chars().count() <= 140);
}

// ---------------------------------------------------------------------------------------------------------------------
// What holds for every input.

fn all_formats(plan: &Plan) -> String {
    let shown = Format::ALL.map(|(_, format)| render(plan, format, Style { width: 80, ..Style::default() }));
    shown.join("\n")
}

fn catalog(queues: &[(u8, u32, u32)], values: &[i64]) -> Catalog {
    let mut all = org();
    for (name, limit, priority) in queues {
        all = all.queue(&format!("us/q{name}"), |q| {
            q.concurrency = if *limit == 9 { Limit::Unlimited } else { Limit::At(*limit) };
            q.priority = if *priority == 9 { Priority::Highest } else { Priority::At(*priority) };
        });
    }
    for (i, value) in values.iter().enumerate() {
        all = all.workflow(&format!("vision/w{i}"), edit(*value));
    }
    all.build()
}

fn catalogs() -> impl Strategy<Value = Catalog> {
    (prop::collection::vec((0u8..6, 0u32..10, 0u32..10), 0..6), prop::collection::vec(0i64..3, 0..6))
        .prop_map(|(queues, values)| catalog(&queues, &values))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_differs_from_itself(x in catalogs()) {
        let plan = compare(&x, &x, Some(&idle(&x)));
        prop_assert!(plan.objects.is_empty() && plan.starts.is_empty() && plan.division.is_empty());
        prop_assert_eq!(plan.exit_code, PlanExit::Unchanged);
    }

    #[test]
    fn the_same_input_gives_the_same_bytes_and_another_input_another_digest(a in catalogs(), b in catalogs()) {
        let (one, two) = (compare(&a, &b, Some(&idle(&a))), compare(&a.clone(), &b.clone(), Some(&idle(&a))));
        prop_assert_eq!(all_formats(&one), all_formats(&two));
        let back = compare(&b, &a, Some(&idle(&b)));
        prop_assert_eq!(one.digest == back.digest, a == b);
    }

    #[test]
    fn a_plan_is_empty_after_it_was_applied(a in catalogs(), b in catalogs()) {
        let mut source = Followed::unseen();
        source.base = Some(a);
        source.admissions.baseline = true;
        let again = b.clone();
        source.push(org().with(|c| *c = b), "apply");
        let plan = source.look(&again, "again");
        prop_assert!(plan.objects.is_empty());
    }

    #[test]
    fn no_rendering_shows_a_secret(secret in "[a-zA-Z0-9+/]{12,24}", old in "[a-zA-Z0-9+/]{12,24}") {
        let with = |secret: &str| {
            let command = format!("export DB_PASSWORD={secret}\ncurl https://me:{secret}@host/ --token {secret}\n");
            let run = json!({"container": {
                "env": [{"name": "API_TOKEN", "value": secret}],
                "command": ["sh", "-c", command], "args": ["--api-key", secret, format!("--secret={secret}")],
            }});
            one().workflow("vision/train", |w| {
                w.operation.run = run;
                w.operation.inputs.insert("password".into(), json!(secret));
                w.operation.inputs.insert("plain".into(), json!(secret));
                w.operation.to_env.insert("PLAIN_TOKEN".into(), "plain".into());
            }).build()
        };
        let empty = org().build();
        for plan in [compare(&with(&old), &with(&secret), None), compare(&empty, &with(&secret), None)] {
            let shown = all_formats(&plan);
            prop_assert!(!shown.contains(&secret), "{}", shown);
            prop_assert!(!shown.contains(&old), "{}", shown);
            prop_assert_eq!(plan.starts.len(), 1);
        }
    }

    #[test]
    fn no_rendering_passes_on_what_a_terminal_would_obey(evil in "[\\x00-\\x1f\\x7f-\\x9f\\u{202a}-\\u{202e}\\u{2066}-\\u{2069}a@<`|*%:,-]{1,40}") {
        let value = evil.clone();
        let plan = compare(
            &one().build(),
            &one().preset("p", json!({ "x": value })).workflow("vision/train", |w| {
                w.operation.inputs.insert(evil.clone(), json!(evil));
                w.operation.run["container"]["command"] = json!([evil.clone() + "\nsecond line"]);
                w.unrunnable = Some(evil.clone());
            }).build(),
            None,
        );
        for (name, format) in Format::ALL {
            let shown = render(&plan, format, Style::default());
            let bad = shown.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c) || ('\u{2066}'..='\u{2069}').contains(c));
            prop_assert!(bad.is_none(), "{name}: {bad:?} in {shown}");
        }
        // A command of the runner begins a line; none may begin inside of a value.
        let commands = render(&plan, Format::Github, Style::default());
        prop_assert!(commands.lines().all(|line| ["::notice ", "::warning ", "::error "].iter().any(|c| line.starts_with(c))));
    }
}
