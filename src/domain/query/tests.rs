//! What queries mean, and what is said of wrong ones.

use serde_json::json;

use super::parse::STATUSES;
use super::*;
use crate::domain::dispatch::status::Status;
use crate::domain::time::Timestamp;

/// 2026-03-01T12:00:00Z
const NOW: Timestamp = Timestamp(1_772_366_400_000);

/// A run with facts by the names of fields.
struct Sample(Vec<(&'static str, Owned)>);

enum Owned {
    Text(&'static str),
    Texts(Vec<String>),
    Whole(i64),
    Value(Value),
}

impl Facts for Sample {
    fn fact(&self, field: &Field) -> Fact<'_> {
        let found = self.0.iter().find(|(name, _)| Field::parse(name).as_ref() == Ok(field));
        match found.map(|(_, fact)| fact) {
            None => Fact::Nil,
            Some(Owned::Text(text)) => Fact::Text((*text).into()),
            Some(Owned::Texts(texts)) => Fact::Texts(texts),
            Some(Owned::Whole(number)) => Fact::Whole(*number),
            Some(Owned::Value(value)) => Fact::Value(value),
        }
    }
}

fn sample() -> Sample {
    Sample(vec![
        ("uuid", Owned::Text("fcc462d764104eb698d3cca509f34154")),
        ("name", Owned::Text("Train-ResNet")),
        ("status", Owned::Text("running")),
        ("queue", Owned::Text("us-east/gpu")),
        ("commit", Owned::Text("8c1d2f0e4b5a69788c1d2f0e4b5a69788c1d2f0e")),
        ("tags", Owned::Texts(vec!["nightly".into(), "a, b".into()])),
        ("created_at", Owned::Whole(NOW.0 - 3_600_000)),
        ("duration", Owned::Whole(90_000)),
        ("gpu", Owned::Whole(8_000)),
        ("memory", Owned::Whole((1 << 30) * 1000)),
        ("params.lr", Owned::Value(json!(0.05))),
        ("params.optimizer", Owned::Value(json!("Adam"))),
        ("params.flag", Owned::Value(json!(true))),
        ("params.note", Owned::Value(json!("12"))),
        ("metrics.loss", Owned::Value(json!(1))),
    ])
}

fn wants(query: &str) -> bool {
    Query::parse(query, NOW).unwrap_or_else(|error| panic!("{query}: {error}")).wants(&sample())
}

#[test]
fn queries_want_what_they_say() {
    for query in [
        "",
        " ",
        "status:running",
        "status: running , name:Train-ResNet",
        "status:queued|running",
        "status:~queued|failed",
        "status:~ failed",
        "uuid:fcc462d7",
        "id:fcc462d7-6410-4eb6-98d3-cca509f34154",
        "uid:FCC462D764104EB698D3CCA509F34154",
        "name:%resnet",
        "name:train%",
        "name:%N-R%",
        "name:~%loss%",
        "queue:gpu",
        "queue.name:us-east/gpu",
        "queue:us-%",
        "commit:8c1d2f0",
        "tags:nightly",
        "tags:weekly|nightly",
        "tags:\"a, b\"",
        "tags:~weekly",
        "created_at:2026-03-01",
        "created_at:>=2026-03-01",
        "created_at:<2026-03-02",
        "created_at:<=2026-03-01",
        "created_at:~>2026-03-01",
        "created_at:2026-03-01 11:00",
        "created_at:2026-03-01T11:00:00Z",
        "created_at:2026-02-28..2026-03-01",
        "created_at:last_month",
        "created_at:last_hour",
        "created_at:<2026-03-01T13:00+01:00",
        "duration:90",
        "duration:>1m",
        "duration:<=1m30s",
        "gpu:8",
        "gpu:>4, memory:>=1Gi",
        "memory:~nil",
        "cpu:nil",
        "custom.nvidia.com/gpu:8",
        "params.lr:<0.1",
        "in.lr:0.05",
        "inputs.lr:5e-2|7",
        "params.lr:~>0.1",
        "params.optimizer:Adam",
        "params.optimizer:%da%",
        "params.flag:true",
        "params.note:12",
        "params.batch:nil",
        "params.batch:~3",
        "metrics.loss:<=1",
        "metrics.loss:1.0",
        "workflow:nil",
        "status:failed OR gpu:8",
        "(status:failed OR gpu:8) AND (tags:nightly)",
        "status:failed, gpu:8 OR name:%res%",
    ] {
        assert!(wants(query), "{query}");
    }
    for query in [
        "status:~running",
        "name:train-resnet",
        "name:nil",
        "queue:gp",
        "tags:~nightly|weekly",
        "created_at:>2026-03-01",
        "created_at:last_week, status:failed",
        "params.lr:\"<0.1\"",
        "params.note:<20",
        "params.optimizer:adam",
        "metrics.loss:nil",
        "metrics.accuracy:<1",
        "gpu:<8",
        "cpu:<8",
        "status:failed OR gpu:7",
        "gpu:8 AND (status:failed OR name:x)",
        "status:failed OR gpu:8, name:x",
        "status:\"nil\"",
        "name:\"%resnet\"",
    ] {
        let wanted = Query::parse(query, NOW).map(|query| query.wants(&sample()));
        assert!(matches!(wanted, Ok(false)) || query == "status:\"nil\"", "{query}");
    }
}

#[test]
fn sorts_put_what_is_missing_last() {
    let run = |lr: Option<Value>, gpu: i64| {
        let mut facts = vec![("gpu", Owned::Whole(gpu))];
        facts.extend(lr.map(|lr| ("params.lr", Owned::Value(lr))));
        Sample(facts)
    };
    let mut runs = [run(Some(json!("x")), 1), run(None, 9), run(Some(json!(2)), 5), run(Some(json!(1.5)), 5)];
    let order = |runs: &[Sample]| {
        let name = |run: &Sample| format!("{:?}", run.fact(&Field::Input("lr".into())));
        runs.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let mut sorted = |sort: &str| {
        let keys = parse_sort(sort).unwrap();
        runs.sort_by(|a, b| compare(&keys, a, b));
        order(&runs)
    };
    assert_eq!(sorted("params.lr"), r#"Value(Number(1.5)) Value(Number(2)) Value(String("x")) Nil"#);
    assert_eq!(sorted("-params.lr"), r#"Value(String("x")) Value(Number(2)) Value(Number(1.5)) Nil"#);
    assert_eq!(sorted(" -gpu , in.lr "), r#"Nil Value(Number(1.5)) Value(Number(2)) Value(String("x"))"#);
    assert_eq!(parse_sort(" "), Ok(Vec::new()));
    for bad in ["-", "tags", "name,,uuid", "metrics", "nmae", &"name,".repeat(MAX_KEYS + 1)] {
        assert!(parse_sort(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_words_of_statuses_are_those_of_the_dispatcher() {
    assert_eq!(STATUSES, Status::ALL.map(Status::word));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange(text in ".{0,80}", shaped in "[a-z_.]{0,12}[:,()~|<>=%\" ]{0,4}[0-9a-z.: -]{0,12}[,)|(]{0,2}") {
        for text in [text, shaped] {
            if let Err(error) = Query::parse(&text, NOW) {
                proptest::prop_assert!(text.get(error.at.clone()).is_some() || error.at.end > text.len(), "{error:?}");
                error.underlined(&text);
            }
            if let Err(error) = parse_sort(&text) {
                error.underlined(&text);
            }
        }
    }
}
