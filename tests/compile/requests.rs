//! Runs by hand: a polyaxonfile that is not in the repository, or a workflow with other params.

use indexmap::IndexMap;
use serde_json::{Value, json};
use tidegate::domain::compile::{Request, RequestSource, compile_request};
use tidegate::domain::ids::ProjectName;

use crate::repo::over_base;

fn request(path: &str, content: &str) -> Request {
    Request {
        source: RequestSource::Text {
            path: path.into(),
            content: content.into(),
            project: Some(ProjectName::parse("vision").unwrap()),
            beside: Vec::new(),
        },
        params: IndexMap::new(),
        queue: None,
        presets: Vec::new(),
    }
}

fn with_param(name: &str, value: Value, request: Request) -> Request {
    Request { params: IndexMap::from([(name.to_owned(), value)]), ..request }
}

/// Place and message of each problem.
fn problems(request: &Request) -> Vec<String> {
    let found = compile_request(&over_base(""), request).unwrap_err();
    found
        .iter()
        .map(|problem| {
            format!("{}:{}:{} {}", problem.place.file, problem.place.line, problem.place.column, problem.message)
        })
        .collect()
}

const COMPONENT: &str = "version: 1.1
kind: component
inputs:
  - {name: lr, type: float}
run:
  kind: job
  container:
    image: a
    command: [train, '{{ lr }}']
";

#[test]
fn a_file_may_be_called_as_it_likes() {
    for path in ["simple_job.yml", "My File (2).yaml", "../up/Simple-Job.yaml"] {
        let asked = with_param("lr", json!(0.5), request(path, COMPONENT));
        assert!(compile_request(&over_base(""), &asked).is_ok(), "{path}");
    }
}

#[test]
fn problems_stand_at_their_place_in_the_file_that_was_sent() {
    let wrong = COMPONENT.replace("image: a", "imge: a");
    let asked = with_param("lr", json!(0.5), request("simple_job.yml", &wrong));
    assert_eq!(problems(&asked), ["simple_job.yml:8:5 unknown field `imge`"]);
    // What is given by hand stands in no line: the file as a whole is named.
    let asked = with_param("lr", json!("fast"), request("simple_job.yml", COMPONENT));
    let found = problems(&asked);
    assert!(matches!(&found[..], [one] if one.starts_with("simple_job.yml:1:1 ") && one.contains("lr")), "{found:?}");
    assert!(problems(&request("simple_job.yml", COMPONENT))[0].starts_with("simple_job.yml:"));
}

#[test]
fn what_it_refers_to_is_sent_beside_it_and_stays_in_its_project() {
    let operation = "version: 1.1\nkind: operation\npathRef: ../shared/train.yaml\nparams: {lr: {value: 0.5}}\n";
    let sent = |beside: &[(&str, &str)]| {
        let mut asked = request("op.yaml", operation);
        let RequestSource::Text { beside: files, .. } = &mut asked.source else { unreachable!() };
        *files = beside.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        asked
    };
    let asked = sent(&[("../shared/train.yaml", COMPONENT)]);
    let workflow = compile_request(&over_base(""), &asked).unwrap().workflow;
    assert_eq!(workflow.operation.read().run["container"]["command"], json!(["train", "{{ lr }}"]));
    assert!(problems(&sent(&[]))[0].contains("no spec lies at"), "{:?}", problems(&sent(&[])));
    // What decides over others is not a file's to bring along.
    for far in
        ["./queue.yaml", "../../../queues/us-east/gpu.yaml", "../../../../etc/x.yaml", "../project.yaml", "/etc/passwd"]
    {
        let found = problems(&sent(&[(far, "version: 1.1\nkind: queue\nname: a\nagent: us-east\n")]));
        assert!(found[0].contains("too far away"), "{found:?}");
    }
    let many: Vec<(String, &str)> = (0..101).map(|i| (format!("{i}.yaml"), "")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    assert!(problems(&sent(&many))[0].contains("more than 100 files"));
}
