//! The plan of 1,000 objects (bar 50 ms), and with effects on 100,000 queued runs (bar 500 ms).

use std::time::{Duration, Instant};

use serde_json::json;
use tidegate::domain::catalog::Catalog;
use tidegate::domain::diagnostic::Diagnostics;
use tidegate::domain::ids::{CommitId, ProjectName, RunId};
use tidegate::domain::plan::build::{org, resources};
use tidegate::domain::plan::{
    Format, Live, LiveOrganization, LiveQueue, LiveRun, Overrides, PlanInput, Revision, SourceRef, Standing, Style,
    plan, render,
};
use tidegate::domain::quantity::Resources;
use tidegate::domain::spec::{Limit, Priority};
use tidegate::domain::time::Timestamp;

const OBJECTS: usize = 1_000;
const QUEUES: usize = 100;
const QUEUED: usize = 100_000;
const REPEATS: usize = 20;

fn main() {
    let (base, desired) = (catalog(0), catalog(1));
    let live = live(&base);
    // The floor: every object of both catalogs written as JSON once, which the digest of a plan needs anyway.
    let floor = best(|| [&base, &desired].into_iter().for_each(write));
    println!("floor: both catalogs written as JSON           {floor:>10.2?}");
    report("plan of 1,000 objects, all changed", Duration::from_millis(50), || run(&base, &desired, None));
    report("plan of 1,000 objects, none changed", Duration::from_millis(50), || run(&base, &base, None));
    let effects = Duration::from_millis(500);
    report("the same with 100,000 queued runs", effects, || run(&base, &desired, Some(&live)));
}

fn report(what: &str, bar: Duration, work: impl FnMut()) {
    let took = best(work);
    let verdict = if took <= bar { "met" } else { "MISSED" };
    println!("{what:<45} {took:>10.2?}  bar {bar:?} {verdict}");
}

fn best(mut work: impl FnMut()) -> Duration {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..REPEATS).map(once).min().unwrap_or_default()
}

fn write(catalog: &Catalog) {
    let workflows: Vec<_> = catalog.workflows.values().map(|workflow| &workflow.item).collect();
    let queues: Vec<_> = catalog.queues.values().map(|queue| &queue.item).collect();
    std::hint::black_box(serde_json::to_vec(&(workflows, queues)).expect("plain data"));
}

fn run(base: &Catalog, desired: &Catalog, live: Option<&Live>) {
    let info = Revision {
        commit: CommitId::new("1"),
        label: String::new(),
        dirty: Vec::new(),
        message: String::new(),
        time: None,
    };
    let plan = plan(&PlanInput {
        source: &SourceRef { id: "bench".into(), git_ref: "main".into() },
        base: Some(base),
        desired,
        base_info: None,
        desired_info: &info,
        live,
        between: &[],
        admissions: None,
        overrides: Overrides::default(),
        standing: Standing::Followed,
        now: Timestamp(0),
        diagnostics: &Diagnostics::default(),
    });
    std::hint::black_box(render(&plan, Format::Text, Style::default()));
}

fn catalog(step: u32) -> Catalog {
    let mut all = org();
    for i in 0..QUEUES as u32 {
        all = all.queue(&format!("us/q{i}"), |q| {
            q.priority = Priority::At((i * 7 + step * 13) % 20);
            q.concurrency = Limit::At(10 - step);
            q.quota = resources(&[("cpu", if step == 0 { "64" } else { "8" })]);
        });
    }
    for i in QUEUES..OBJECTS {
        all = all.workflow(&format!("p{}/w{i}", i % 10), |w| {
            w.operation.change(|operation| {
                operation.inputs.insert("epochs".into(), json!(step));
                operation.run["container"]["command"] =
                    json!(["sh", "-c", format!("set -e\necho prepare\npython train.py --step {step}\necho done\n")]);
            });
        });
    }
    all.build()
}

fn live(base: &Catalog) -> Live {
    let run = |i: usize| LiveRun {
        run: RunId::parse(&format!("{i:032x}")).expect("32 hexadecimal digits"),
        name: format!("run-{i}"),
        workflow: None,
        project: ProjectName::parse("p0").expect("a name"),
        request: resources(&[("cpu", if i.is_multiple_of(3) { "16" } else { "4" })]),
        created_at: Timestamp(0),
    };
    let each = QUEUED / QUEUES;
    let declared = base.queues.iter().filter(|(_, queue)| queue.place.is_some()).enumerate();
    let queues = declared.map(|(at, (name, queue))| {
        let live = LiveQueue {
            policy: queue.item.clone(),
            changed_by: None,
            running: 10,
            used: Resources::default(),
            queued: (at * each..(at + 1) * each).map(run).collect(),
            queued_total: each as u64,
            draining: false,
        };
        (name.clone(), live)
    });
    Live {
        queues: queues.collect(),
        agents: Default::default(),
        organization: LiveOrganization { concurrency: Limit::Unlimited, running: 0 },
        workflows: Default::default(),
        complete: false,
        unread_agents: Vec::new(),
    }
}
