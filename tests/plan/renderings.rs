//! Every rendering of one rich example, and what none of them may show.

use crate::*;

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
            w.operation.change(|operation| {
                operation.run = script(SCRIPT);
                operation.request = resources(&[("gpu", "2")]);
            });
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
            w.operation.change(|operation| {
                let container = &mut operation.run["container"];
                container["command"][2] = json!(SCRIPT.replace("0.1", "0.01"));
                container["env"][0]["value"] = json!("hf_fedcba");
            });
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
            all.workflow(&format!("vision/w{i}"), move |w| {
                w.operation.change(|operation| operation.run["container"]["command"] = json!([text]))
            })
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
