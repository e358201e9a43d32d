//! The scenarios of `gitops.md` §6.5 by their numbers, end to end. Runs stand in a queue on hold: only their birth counts.

use crate::site::{Server, Site, queue, workflow};
use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::ids::WorkflowName;

/// A server that follows a site; the server goes first.
pub struct Followed {
    pub server: Server,
    pub site: Site,
}

/// A queue that hands out nothing.
pub const HELD: &str = "here/held";

impl Followed {
    /// A site after its first sync.
    pub fn after(prepare: impl FnOnce(&Site)) -> Self {
        let site = quiet();
        prepare(&site);
        let first = site.push("first");
        let server = site.start();
        server.until_applied(&first);
        server.until("it can be asked", |server| server.0.catalog().is_some());
        assert_eq!(server.runs().len(), 0, "a first sync starts nothing");
        Self { server, site }
    }

    /// Commits and pushes; says how many runs that starts.
    pub fn push(&self, message: &str) -> usize {
        let before = self.server.runs().len();
        let commit = self.site.push(message);
        self.server.until_applied(&commit);
        self.server.runs().len() - before
    }

    /// Stops the server and starts another one in its place.
    pub fn restart(self, meanwhile: impl FnOnce(&Site)) -> Self {
        let Self { server, site } = self;
        drop(server);
        meanwhile(&site);
        Self { server: site.start(), site }
    }

    pub fn has(&self, workflow: &str) -> bool {
        let name = WorkflowName::parse(workflow).unwrap();
        self.server.0.catalog().is_some_and(|catalog| catalog.workflows.contains_key(&name))
    }
}

fn quiet() -> Site {
    let site = Site::new();
    site.write("queues/here/held.yaml", &(queue("held", 8) + "hold: true\n"));
    site
}

fn one(site: &Site) {
    site.workflow("train", HELD, "echo 1");
}

fn path(name: &str) -> String {
    format!("projects/p/workflows/{name}.yaml")
}

#[test]
fn scenario_01_first_sync_of_500_files() {
    let all = Followed::after(|site| (0..500).for_each(|i| site.workflow(&format!("w{i}"), HELD, "true")));
    all.server.until("it says so", |server| {
        server.0.sync_status().summary.contains("first sync: adopted 500 workflows, 0 runs started")
    });
}

#[test]
fn scenario_01_first_sync_starts_when_asked() {
    let site = quiet();
    site.write("tidegate.yaml", "version: 1.1\nkind: organization\nname: acme\nsync: {firstSync: start}\n");
    (0..3).for_each(|i| site.workflow(&format!("w{i}"), HELD, "true"));
    let first = site.push("first");
    let server = site.start();
    server.until_applied(&first);
    assert_eq!(server.runs().len(), 3);
}

#[test]
fn scenarios_02_03_04_07_08_of_one_workflow() {
    let all = Followed::after(|_| {});
    one(&all.site);
    assert_eq!(all.push("scenario 2: new"), 1);
    assert_eq!(all.push("nothing at all"), 0);
    all.site.workflow("train", HELD, "echo 2");
    assert_eq!(all.push("scenario 3: another script"), 1);
    let text = workflow("train", HELD, "echo 2");
    let other =
        text.replace("kind: job", "\"kind\": 'job'").replace("name: train\n", "description: new\nname: train # x\n");
    all.site.write(&path("train"), &format!("# a comment\n\n{other}"));
    assert_eq!(all.push("scenario 4: another text"), 0);
    all.site.write("README.md", "hello");
    assert_eq!(all.push("scenario 7: elsewhere"), 0);
    all.site.git(&["mv", &path("train"), &path("moved")]);
    assert_eq!(all.push("scenario 8: git mv"), 0);
    assert!(all.has("p/train"));
    assert!(all.server.runs().iter().all(|run| matches!(run.origin, Origin::Push { .. })));
}

#[test]
fn scenario_05_preset_of_30_workflows_is_held_until_approved() {
    let preset = |retries: u32| {
        format!("version: 1.1\nkind: operation\nisPreset: true\ntermination:\n  maxRetries: {retries}\n")
    };
    let all = Followed::after(|site| {
        site.write("presets/spot.yaml", &preset(1));
        for i in 0..30 {
            let text = workflow(&format!("w{i}"), HELD, "true");
            site.write(&path(&format!("w{i}")), &text.replace("operation:\n", "operation:\n  presets: [spot]\n"));
        }
    });
    all.site.write("presets/spot.yaml", &preset(2));
    assert_eq!(all.push("twice as many retries"), 0);
    all.server.until("it is held", |server| server.0.sync_status().held.is_some());
    let held = all.server.0.sync_status().held.unwrap();
    assert!(held.reason.contains("starts 30 (limit 20)"), "{held:?}");

    // Held work is held after a restart too, by the same digest, and looking again is no event.
    let all = all.restart(|_| {});
    all.server.until("it is held still", |server| server.0.sync_status().held.is_some());
    assert_eq!(all.server.0.sync_status().held.unwrap().plan, held.plan);
    let saved = *all.server.0.engine().saved().borrow();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let wrong = tidegate::domain::ids::Digest::of(b"another plan");
    assert!(runtime.block_on(all.server.0.approve_plan(wrong)).is_err());
    assert_eq!(*all.server.0.engine().saved().borrow(), saved, "nothing has happened");
    assert_eq!(runtime.block_on(all.server.0.approve_plan(held.plan)).unwrap(), 30);
    assert_eq!(all.server.runs().len(), 30);
    assert!(all.server.0.sync_status().held.is_none());
    assert_eq!(all.push("an unrelated push"), 0);
}

#[test]
fn scenarios_06_07_watched_files() {
    let all = Followed::after(|site| {
        site.write("models/a.txt", "a");
        let text = workflow("train", HELD, "true");
        site.write(&path("train"), &(text + "triggers:\n  - push:\n      paths: [\"models/**\"]\n"));
    });
    all.site.write("models/a.txt", "b");
    assert_eq!(all.push("scenario 6: a watched file"), 1);
    all.site.write("docs/a.txt", "b");
    assert_eq!(all.push("scenario 7: another file"), 0);
}

#[test]
fn scenario_09_another_name() {
    let all = Followed::after(one);
    all.site.remove(&path("train"));
    all.site.workflow("train-2", HELD, "echo 1");
    assert_eq!(all.push("deleted and created"), 1);
    all.site.remove(&path("train-2"));
    let text = workflow("train-3", HELD, "echo 1") + "previousName: train-2\nonRemove: cancelAll\n";
    all.site.write(&path("train-3"), &text);
    assert_eq!(all.push("moved"), 0);
    assert!(all.server.runs().iter().all(|run| !run.status.is_final()), "its queued run stays");
    all.site.write(&path("train-3"), &text.replace("echo 1", "echo 2"));
    assert_eq!(all.push("changed after the move"), 1);
}

#[test]
fn scenarios_11_12_there_and_back() {
    let all = Followed::after(one);
    all.site.remove(&path("train"));
    assert_eq!(all.push("scenario 11: deleted"), 0);
    all.server.until("it is gone", |_| !all.has("p/train"));
    one(&all.site);
    assert_eq!(all.push("and restored"), 0);

    all.site.workflow("train", HELD, "echo 2");
    all.site.git(&["commit", "-aqm", "to B"]);
    one(&all.site);
    assert_eq!(all.push("scenario 12: A → B → A in one push"), 0);
    all.site.workflow("train", HELD, "echo 2");
    assert_eq!(all.push("B"), 1);
    one(&all.site);
    assert_eq!(all.push("A again, in a push of its own"), 1);
}

#[test]
fn scenarios_13_14_rewritten_history() {
    let all = Followed::after(one);
    let orphan = |branch: &str| {
        all.site.git(&["checkout", "-q", "--orphan", branch]);
        all.site.git(&["add", "-A"]);
        all.site.git(&["commit", "-qm", "unrelated"]);
        all.site.git(&["branch", "-M", "main"]);
    };
    orphan("x");
    assert_eq!(all.push("scenario 13: the same tree of unrelated history"), 0);
    orphan("y");
    let bare = all.site.bare();
    all.site.git(&["-C", bare.to_str().unwrap(), "update-ref", "-d", "refs/heads/main"]);
    all.site.git(&["-C", bare.to_str().unwrap(), "gc", "-q", "--prune=now"]);
    all.site.workflow("train", HELD, "echo 2");
    all.site.workflow("same", HELD, "true");
    assert_eq!(all.push("scenario 14: the old commit is gone; one is changed, one is new"), 2);
    assert_eq!(all.push("no change"), 0);
}

#[test]
fn scenario_15_one_push_told_of_many_times_and_a_restart() {
    let mut all = Followed::after(one);
    for round in 2..6 {
        all.site.workflow("train", HELD, &format!("echo {round}"));
        let commit = all.site.push("change");
        let tell = |server: &Server| {
            for _ in 0..50 {
                server.0.hint();
                server.0.sync_now();
            }
        };
        tell(&all.server);
        // Sooner or later in the work of the sync.
        std::thread::sleep(std::time::Duration::from_millis(3 * round));
        all = all.restart(|_| {});
        tell(&all.server);
        all.server.until_applied(&commit);
        all = all.restart(|_| {});
        all.server.until("it has looked", |server| server.0.sync_status().checked_at.is_some());
        assert_eq!(all.server.runs().len() as u64, round - 1);
    }
}

#[test]
fn scenario_16_one_identity_in_two_files() {
    let all = Followed::after(one);
    all.site.write(&path("other"), &workflow("train", HELD, "echo 2"));
    assert_eq!(all.push("twice"), 0);
    all.server.until("both are errors", |server| server.0.diagnostics().errors() >= 2);
    all.server.until("the last good one stays", |_| all.has("p/train"));
    let all = all.restart(|_| {});
    all.server.until("a restart finds the last good one again", |_| all.has("p/train"));
    all.site.remove(&path("other"));
    assert_eq!(all.push("once"), 0);
}

#[test]
fn scenarios_17_21_22_many_files_in_one_push() {
    let all = Followed::after(|_| {});
    all.site.workflow("a", HELD, "true");
    all.site.workflow("b", HELD, "true");
    assert_eq!(all.push("scenario 17: one content, two names"), 2);

    all.site.git(&["checkout", "-qb", "topic"]);
    for i in 0..40 {
        all.site.workflow("a", HELD, &format!("echo {i}"));
        all.site.workflow("b", HELD, &format!("echo {i}"));
        all.site.git(&["commit", "-aqm", "step"]);
    }
    all.site.workflow("b", HELD, "true");
    all.site.git(&["commit", "-aqm", "back"]);
    all.site.git(&["checkout", "-q", "main"]);
    all.site.git(&["merge", "-q", "--no-ff", "-m", "merge", "topic"]);
    assert_eq!(all.push("scenario 21: 40 commits, one net change"), 1);

    (0..5).for_each(|i| all.site.workflow(&format!("w{i}"), HELD, "true"));
    assert_eq!(all.push("five"), 5);
    (0..4).for_each(|i| all.site.workflow(&format!("w{i}"), HELD, "echo changed"));
    all.site.write(&path("w4"), "version: 1.1\nkind: workflow\nname: w4\noperation: [\n");
    assert_eq!(all.push("scenario 22: four good, one malformed"), 4);
    all.server.until("the last good definition stays", |_| all.has("p/w4"));
    all.site.workflow("w4", HELD, "true");
    assert_eq!(all.push("it is back as it was"), 0);
}

#[test]
fn scenarios_23_24_bad_policy() {
    let all = Followed::after(|site| {
        one(site);
        // A policy document may lie anywhere.
        site.write("teams/vision.yaml", &queue("vision", 2));
    });
    all.site.write("teams/vision.yaml", &queue("vision", 2).replace("concurrency: 2", "concurrency: -2"));
    all.site.workflow("train", HELD, "echo 2");
    assert_eq!(all.push("scenario 23: malformed queue, changed workflow"), 1);
    all.server.until("it says so", |server| server.0.sync_status().error.is_some());
    let problems = all.server.0.diagnostics();
    assert!(problems.iter().all(|problem| problem.place.to_string().starts_with("teams/vision.yaml")), "{problems:?}");
    let saved = *all.server.0.engine().saved().borrow();
    all.server.0.sync_now();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(*all.server.0.engine().saved().borrow(), saved, "looking again at the same trouble is no event");
    let all = all.restart(|_| {});
    all.server.until("it says so after a restart too", |server| server.0.sync_status().error.is_some());
    all.site.write("teams/vision.yaml", &queue("vision", 3));
    assert_eq!(all.push("mended"), 0);
    all.server.until("no error sticks", |server| server.0.sync_status().error.is_none());

    // The project's default queue goes while a workflow uses it by name and another by default.
    all.site.remove("queues/here/held.yaml");
    all.site.workflow("other", "here/fast", "true");
    let before = all.server.runs().len();
    let commit = all.site.push("scenario 24: a queue that is used goes");
    all.server.until("it is seen", |server| {
        let status = server.0.sync_status();
        status.seen.is_some_and(|seen| seen.as_str() == commit) && status.error.is_some()
    });
    let held = tidegate::domain::ids::QueueName::parse(HELD).unwrap();
    assert!(
        all.server.0.engine().read(|state| state.queues().any(|queue| *queue.name == held && !queue.removed)),
        "the queue stays: {:?}",
        all.server.0.diagnostics()
    );
    assert_eq!(all.server.runs().len(), before);
}

#[test]
fn a_bad_queue_is_not_echoed_by_those_who_name_it() {
    let all = Followed::after(|site| {
        site.write("projects/p/project.yaml", "version: 1.1\nkind: project\nname: p\ndefaultQueue: here/fast\n");
    });
    all.site.write("queues/here/fast.yaml", &queue("fast", 8).replace("concurrency", "concurency"));
    all.site.push("a slip");
    all.server.until("it is said", |server| server.0.diagnostics().errors() > 0);
    let problems = all.server.0.diagnostics();
    assert_eq!(problems.errors(), 1, "{problems:?}");
}

#[test]
fn scenario_25_runs_skip() {
    let all = Followed::after(one);
    all.site.workflow("train", HELD, "echo 2");
    assert_eq!(all.push("Retune\n\nRuns: skip"), 0);
    let plan = all.server.0.last_plan().unwrap().unwrap();
    assert!(plan.skips.iter().any(|skip| skip.words.contains("Runs: skip")), "{:?}", plan.skips);
    assert_eq!(all.push("an unrelated push"), 0);
    let all = all.restart(|_| {});
    all.site.workflow("train", HELD, "echo 3");
    assert_eq!(all.push("for real"), 1);
}

#[test]
fn scenario_26_freeze() {
    let organization = |sync: &str| format!("version: 1.1\nkind: organization\nname: acme\n{sync}");
    let all = Followed::after(|site| {
        one(site);
        site.write("tidegate.yaml", &organization("sync:\n  freeze:\n    - cron: \"* * * * *\"\n      duration: 1h\n"));
    });
    for i in 2..5 {
        all.site.workflow("train", HELD, &format!("echo {i}"));
        assert_eq!(all.push("frozen"), 0);
    }
    let all = all.restart(|_| {});
    all.server.0.sync_now();
    all.server.until("it is held", |server| server.0.sync_status().held.is_some());
    assert_eq!(all.server.runs().len(), 0);
    let held = all.server.0.sync_status().held.unwrap().plan;
    let said = tokio::runtime::Runtime::new().unwrap().block_on(all.server.0.approve_plan(held));
    assert!(said.is_err_and(|why| why.to_string().contains("freeze")), "a freeze is not approved away");
    all.site.write("tidegate.yaml", &organization(""));
    assert_eq!(all.push("released"), 1);
    all.server.until("nothing is held", |server| server.0.sync_status().held.is_none());
}

#[test]
fn scenario_27_branch_deleted() {
    let all = Followed::after(one);
    let bare = all.site.bare();
    let git = |args: &[&str]| all.site.git(&[&["-C", bare.to_str().unwrap()], args].concat());
    let head = git(&["rev-parse", "main"]);
    git(&["update-ref", "-d", "refs/heads/main"]);
    all.server.0.sync_now();
    all.server.until("it is told", |server| server.0.sync_status().error.is_some());
    assert!(all.has("p/train"));
    let all = all.restart(|_| {});
    all.server.until("it is told after a restart", |server| server.0.sync_status().error.is_some());
    assert!(all.has("p/train"));
    all.site.git(&["-C", bare.to_str().unwrap(), "update-ref", "refs/heads/main", &head]);
    all.server.0.sync_now();
    all.server.until("the error goes", |server| server.0.sync_status().error.is_none());
    assert_eq!(all.server.runs().len(), 0);
    all.site.workflow("train", HELD, "echo 2");
    assert_eq!(all.push("on it goes"), 1);
}

#[test]
fn scenario_29_an_unmerged_branch_is_only_planned() {
    let all = Followed::after(one);
    all.site.git(&["checkout", "-qb", "topic"]);
    all.site.workflow("train", HELD, "echo 2");
    let files = tidegate::source::read_worktree(&all.site.path().join("work")).unwrap();
    let plan = all.server.0.plan(&files).0.unwrap();
    assert_eq!((plan.starts.len(), plan.admitted().count(), plan.cursors.len()), (1, 0, 0));
    all.site.git(&["commit", "-aqm", "topic"]);
    all.site.git(&["push", "-q", "origin", "topic"]);
    all.server.0.sync_now();
    all.site.git(&["checkout", "-q", "main"]);
    assert_eq!(all.push("elsewhere"), 0);
    all.site.git(&["merge", "-q", "--no-ff", "-m", "merge", "topic"]);
    assert_eq!(all.push("merged"), 1);
}

#[test]
fn scenario_30_a_tag_that_moves() {
    let site = quiet();
    one(&site);
    let first = site.push("first");
    site.git(&["tag", "-a", "-m", "one", "stable"]);
    site.git(&["push", "-q", "origin", "stable"]);
    let server = site.start_following("refs/tags/stable");
    server.until_applied(&first);
    site.workflow("train", HELD, "echo 2");
    let second = site.push("second");
    server.0.sync_now();
    site.git(&["tag", "-f", "-a", "-m", "two", "stable"]);
    assert_eq!(server.runs().len(), 0);
    site.git(&["push", "-qf", "origin", "stable"]);
    server.until_applied(&second);
    assert_eq!(server.runs().len(), 1);
}

#[test]
fn a_workflow_that_fires_on_every_commit_runs_for_each_of_a_push() {
    let every =
        |script: &str| format!("{}triggers:\n  - push: {{fires: everyCommit}}\n", workflow("train", HELD, script));
    let all = Followed::after(|site| site.write(&path("train"), &every("echo 1")));
    let commit = |all: &Followed, file: &str, message: &str| {
        all.site.write(file, message);
        all.site.git(&["add", "-A"]);
        all.site.git(&["commit", "-q", "-m", message]);
        all.site.git(&["rev-parse", "HEAD"])
    };
    let first = commit(&all, "notes/a.md", "a note");
    all.site.write(&path("train"), &every("echo 2"));
    let second = commit(&all, "notes/b.md", "another meaning");
    let _skipped = commit(&all, "notes/c.md", "not this one\n\nRuns: skip");
    let last = {
        all.site.write("notes/d.md", "d");
        assert_eq!(all.push("the last"), 3);
        all.site.git(&["rev-parse", "HEAD"])
    };
    let commits: Vec<_> = all.server.runs().iter().filter_map(|run| run.commit.clone()).collect();
    let mut found: Vec<&str> = commits.iter().map(|commit| commit.as_str()).collect();
    found.sort_unstable();
    let mut wanted = [first.as_str(), second.as_str(), last.as_str()];
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    let all = all.restart(|_| {});
    all.server.0.sync_now();
    all.site.write("notes/e.md", "e");
    assert_eq!(all.push("one more"), 1);
}
