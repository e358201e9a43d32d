//! Hooks: what follows the end of a run, once.

use std::collections::BTreeSet;

use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::dispatch::history::RunRow;
use tidegate::domain::dispatch::status::Status;

use crate::{Server, begun, ended, push, script};

const NOTIFY: &str = r#"version: 1.1
kind: component
name: notify
inputs:
  - {name: text, type: str}
  - {name: loss, type: float, value: 0.0}
run: {kind: job, container: {command: [sh, -ec], args: ['echo "{{ text }} {{ loss }} $TIDEGATE_RUN" >> LOG']}}
"#;

fn hooks(server: &Server, of: &RunRow) -> Vec<RunRow> {
    let all = server.runs().into_iter().filter(|run| run.origin == Origin::Hook { of: of.id });
    let mut hooks: Vec<RunRow> = all.collect();
    hooks.sort_by(|a, b| a.name.cmp(&b.name));
    hooks
}

#[test]
fn hooks_follow_the_end_that_they_are_for_with_what_it_came_to() {
    let (site, server) = begun();
    let log = site.path().join("log");
    site.write("components/notify.yaml", &NOTIFY.replace("LOG", &log.display().to_string()));
    site.write(
        "components/bad.yaml",
        "version: 1.1\nkind: component\nname: bad\nrun: {kind: job, container: {command: [\"false\"]}}\n",
    );
    let report = script("echo '{\"loss\": 0.25}' > \"$TIDEGATE_OUTPUTS\"");
    let operation = format!(
        r#"
hooks:
  - hubRef: notify
    trigger: succeeded
    params: {{text: {{value: "{{{{ globals.name }}}} {{{{ status }}}}"}}, loss: {{value: "{{{{ outputs.loss }}}}"}}}}
  - {{hubRef: notify, trigger: failed, params: {{text: {{value: never}}}}}}
  - {{hubRef: notify, conditions: "{{{{ outputs.loss > 1 }}}}", params: {{text: {{value: never}}}}}}
  - {{hubRef: bad}}
  - {{hubRef: notify, trigger: done, params: {{text: {{value: "{{{{ nothing.like.this }}}}"}}}}}}
component: {report}
"#
    );
    push(&site, "works", &operation);
    let run = ended(&server, "works");
    server.until("its hooks have ended", |server| {
        let hooks = hooks(server, &run);
        hooks.len() == 3 && hooks.iter().all(|hook| hook.status.is_final())
    });
    let hooks = hooks(&server, &run);
    let ends: Vec<(&str, Status)> = hooks.iter().map(|hook| (&hook.name[..], hook.status)).collect();
    assert_eq!(ends[0], ("works-bad", Status::Failed));
    let mut notified = [ends[1].1, ends[2].1];
    notified.sort_by_key(|status| status.word());
    assert_eq!(notified, [Status::Failed, Status::Succeeded], "one has a template that means nothing: {hooks:#?}");
    assert_eq!(ended(&server, "works").status, Status::Succeeded, "a hook changes nothing about its run");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("works succeeded 0.25 ") && text.lines().count() == 1, "{text}");
}

#[test]
fn each_hook_is_started_once_whatever_dies_in_between() {
    let (site, server) = begun();
    let log = site.path().join("log");
    site.write("components/notify.yaml", &NOTIFY.replace("LOG", &log.display().to_string()));
    let component = "{inputs: [{name: n, type: int}], run: {kind: job, container: {command: [\"true\"]}}}";
    let values: Vec<String> = (0..20).map(|n| format!("{{n: {n}}}")).collect();
    let operation = format!(
        "hooks: [{{hubRef: notify, params: {{text: {{value: \"{{{{ globals.name }}}}\"}}}}}}]\nmatrix: {{kind: mapping, concurrency: 3, values: [{}]}}\ncomponent: {component}\n",
        values.join(", ")
    );
    push(&site, "many", &operation);
    server.until("it runs", |server| server.runs().len() > 3);
    drop(server);
    for _ in 0..8 {
        let server = site.start();
        std::thread::sleep(std::time::Duration::from_millis(60));
        drop(server);
    }
    let server = site.start();
    let all = |server: &Server| -> Vec<RunRow> {
        server.runs().into_iter().filter(|run| matches!(run.origin, Origin::Hook { .. })).collect()
    };
    server.until("all hooks have ended", |server| {
        let hooks = all(server);
        hooks.len() == 21 && hooks.iter().all(|hook| hook.status.is_final())
    });
    assert!(all(&server).iter().all(|hook| hook.status == Status::Succeeded && hook.attempt.0 == 1));
    let text = std::fs::read_to_string(&log).unwrap();
    let about: BTreeSet<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!((text.lines().count(), about.len()), (21, 21), "each run is followed once: {text}");
    assert_eq!(server.0.engine().read(|state| state.to_follow().count()), 0);
}
