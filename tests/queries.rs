//! Queries and sorts mean the same in every store: SQL answers what `Query::wants` and `RunFilter::compare` say.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};
use tidegate::domain::dispatch::event::{Event, NewRun, Origin};
use tidegate::domain::dispatch::history::{RunFilter, RunRow};
use tidegate::domain::dispatch::observation::Cause;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{Attempt, CommitId, Digest, Name, ProjectName, QueueName, RunId, Seq};
use tidegate::domain::quantity::{Quantity, Resources};
use tidegate::domain::query::{MAX_DEPTH, MAX_QUERY, MAX_VALUES, Query, parse_sort};
use tidegate::domain::time::Timestamp;
use tidegate::store::{Batch, MemoryStore, SqliteStore, Store};

/// 2026-03-01T12:00:00Z
const NOW: Timestamp = Timestamp(1_772_366_400_000);

fn id(n: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(0xab12_0000_0000_4000_8000_0000_0000_0000 + n))
}

fn query(text: &str) -> Query {
    Query::parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn run(n: u128) -> NewRun {
    NewRun {
        workflow: Some(Name::parse("train").unwrap()),
        commit: Some(CommitId::new("8c1d2f0e4b5a69788c1d2f0e4b5a69788c1d2f0e")),
        spec: Digest::of(b"spec"),
        origin: Origin::Push { reason: "changed".into() },
        ..NewRun::bare(
            id(n),
            ProjectName::parse("vision").unwrap(),
            format!("Train-{n}"),
            QueueName::parse("us-east/gpu").unwrap(),
        )
    }
}

/// Both stores with the same history, a second between batches.
fn stores(batches: &[Vec<Event>]) -> (tempfile::TempDir, [Box<dyn Store>; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let mut stores: [Box<dyn Store>; 2] =
        [Box::new(MemoryStore::default()), Box::new(SqliteStore::open(dir.path()).unwrap())];
    for store in &mut stores {
        let epoch = store.open_epoch().unwrap();
        let (mut expected, mut at) = (Seq(0), Timestamp(NOW.0 - 3_600_000));
        for events in batches {
            let batch = Batch { expected, epoch, at, events: events.clone(), bodies: Vec::new() };
            expected = store.append(&batch).unwrap();
            at.0 += 1_000;
        }
    }
    (dir, stores)
}

fn created(run: NewRun) -> Event {
    Event::RunCreated(Box::new(run))
}

fn ended(n: u128, status: Status, loss: Value) -> [Event; 2] {
    let at = Timestamp(NOW.0 - 1_800_000);
    [
        Event::RunProgressed { run: id(n), attempt: Attempt(1), status: Status::Running, cause: None, at },
        Event::RunFinished {
            run: id(n),
            status,
            cause: Cause::new("Error", "It said so."),
            exit_code: Some(n as i32),
            outputs: serde_json::Map::from_iter([("loss".to_owned(), loss)]),
            at: Timestamp(at.0 + 1_000 * n as i64),
        },
    ]
}

#[test]
fn a_query_finds_runs_in_every_store() {
    let mut batches = vec![vec![
        created(NewRun { tags: vec!["nightly".into(), "größe".into()], ..run(1) }),
        created(NewRun { queue: QueueName::parse("us-west/cpu").unwrap(), workflow: None, commit: None, ..run(2) }),
        created(NewRun {
            inputs: BTreeMap::from([("lr".into(), json!(0.05)), ("optimizer".into(), json!("Adam"))]),
            parent: Some(id(1)),
            request: Resources(BTreeMap::from([
                ("nvidia.com/gpu".into(), Quantity::from_millis(8_000)),
                ("memory".into(), Quantity::parse("16Gi").unwrap()),
            ])),
            ..run(3)
        }),
        created(NewRun { origin: Origin::Copy { of: id(1), user: "ana".into() }, ..run(4) }),
        created(NewRun { origin: Origin::Schedule { at: Timestamp(NOW.0 - 86_400_000) }, ..run(5) }),
        created(NewRun { origin: Origin::Pipeline { of: id(1) }, kind: "dag".into(), ..run(6) }),
    ]];
    batches.push(ended(1, Status::Succeeded, json!(0.25)).into());
    batches.push(ended(2, Status::Failed, json!("nan")).into());
    batches.push(ended(3, Status::Succeeded, json!(2)).into());
    let (_dir, stores) = stores(&batches);
    let cases = [
        ("", "", "6 5 4 3 2 1"),
        ("status:succeeded", "", "3 1"),
        ("status:compiled", "", "6 5 4"),
        ("status:~compiled|failed", "created_at", "1 3"),
        ("uuid:ab12000000004000800000000000000", "", "6 5 4 3 2 1"),
        ("uuid:ab120000-0000-4000-8000-000000000003", "", "3"),
        ("uuid:%003", "", "3"),
        ("pipeline:ab12000000004000800000000000000", "", "3"),
        ("pipeline:%1", "", "3"),
        ("original:%01, cloning_kind:copy", "", "4"),
        ("user:ana", "", "4"),
        ("user:~nil", "", "4"),
        ("workflow:nil", "", "2"),
        ("workflow:~train", "", "2"),
        ("queue:cpu", "", "2"),
        ("queue:us-east/gpu, agent:us-east, uuid:%1", "", "1"),
        ("name:train-%", "name", "1 2 3 4 5 6"),
        ("name:%N-3|Train-4", "", "4 3"),
        ("tags:nightly", "", "1"),
        ("tags:~nightly|x, status:succeeded", "", "3"),
        ("tags:%röß%", "", "1"),
        ("tags:nil", "", "6 5 4 3 2"),
        ("params.lr:<0.1", "", "3"),
        ("params.lr:~nil", "", "3"),
        ("params.optimizer:%da%", "", "3"),
        ("metrics.loss:<=0.25", "", "1"),
        ("metrics.loss:2.0|nan", "", "3 2"),
        ("metrics.loss:nil", "", "6 5 4"),
        ("metrics.loss:~<1", "", "6 5 4 3 2"),
        ("gpu:8, memory:>1Gi", "", "3"),
        ("gpu:nil", "", "6 5 4 2 1"),
        ("created_at:last_week", "-metrics.loss", "2 3 1 6 5 4"),
        ("", "metrics.loss, -name", "1 3 2 6 5 4"),
        ("", "-gpu,uuid", "3 1 2 4 5 6"),
        ("schedule_at:2026-02-28", "", "5"),
        ("duration:>=2, duration:<3", "", "2"),
        ("wait_time:>10m, exit_code:3", "", "3"),
        ("updated_at:>2026-03-01 11:05", "-updated_at", "3 2 1"),
        ("reason:Error, kind:~dag", "duration", "1 2 3"),
        ("attempt:1 OR kind:dag", "", "6 3 2 1"),
        ("(status:failed OR status:succeeded) AND metrics.loss:<1", "", "1"),
    ];
    for store in &stores {
        for (text, sort, expected) in cases {
            let filter =
                RunFilter { query: Some(query(text)), sort: parse_sort(sort).unwrap(), ..RunFilter::default() };
            let rows = store.reader().runs(&filter).unwrap();
            let found: Vec<_> = rows.iter().map(|row| row.id.0.as_u128() & 0xff).map(|n| n.to_string()).collect();
            assert_eq!(found.join(" "), expected, "{text} by {sort}");
            assert_eq!(store.reader().count(&filter).unwrap(), rows.len() as u64, "{text}");
        }
    }
}

#[test]
fn runs_of_the_oldest_layout_keep_all_that_is_known_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let raw = rusqlite::Connection::open(dir.path().join("tidegate.db")).unwrap();
    raw.execute_batch(include_str!("../src/store/sqlite/0001.sql")).unwrap();
    raw.execute_batch(
        "PRAGMA user_version = 1;
         INSERT INTO bodies VALUES (zeroblob(32), CAST('{\"inputs\": {\"lr\": 0.5, \"word\": \"x\"}}' AS BLOB));
         INSERT INTO bodies VALUES (x'01', CAST('no JSON' AS BLOB));
         INSERT INTO runs (seq, id, project, name, kind, spec, queue, origin, status, attempt, created_at)
         VALUES (1, randomblob(16), 'vision', 'old', 'job', zeroblob(32), 'a/b', '{\"by\":\"push\",\"reason\":\"\"}',
                 'compiled', 0, 0),
                (2, randomblob(16), 'vision', 'bare', 'job', randomblob(32), 'a/b', '{\"by\":\"push\",\"reason\":\"\"}',
                 'compiled', 0, 0);
         INSERT INTO runs (seq, id, project, name, kind, spec, queue, origin, status, attempt, reason, message, created_at,
                           queued_at, started_at, finished_at, exit_code, outputs)
         VALUES (3, randomblob(16), 'vision', 'over', 'job', randomblob(32), 'a/b', '{\"by\":\"push\",\"reason\":\"\"}',
                 'failed', 2, 'ExitCode', 'it exited', 0, 1, 2, 3, 7, '{\"loss\": 1}');",
    )
    .unwrap();
    let over: [u8; 16] = raw.query_row("SELECT id FROM runs WHERE seq = 3", (), |row| row.get(0)).unwrap();
    let over = RunId(uuid::Uuid::from_bytes(over));
    for (seq, event, status) in [
        (4, Event::RunQueued { run: over }, Status::Queued),
        (5, Event::QueueGone { queue: QueueName::parse("a/c").unwrap() }, Status::Queued),
        (6, Event::RunScheduled { run: over, attempt: Attempt(1) }, Status::Scheduled),
    ] {
        let payload = serde_json::to_string(&event).unwrap();
        raw.execute("INSERT INTO events VALUES (?, ?, 5, ?)", (seq, 10 * seq, payload)).unwrap();
        if !matches!(event, Event::QueueGone { .. }) {
            let row = (over.0.as_bytes(), seq, status.word(), 10 * seq);
            raw.execute("INSERT INTO conditions (run, seq, status, at) VALUES (?, ?, ?, ?)", row).unwrap();
        }
    }
    drop(raw);
    let store = SqliteStore::open(dir.path()).unwrap();
    let filter = RunFilter { query: Some(query("params.lr:0.5, params.word:x")), ..RunFilter::default() };
    let names: Vec<String> = store.reader().runs(&filter).unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["old"]);
    assert_eq!(store.reader().count(&RunFilter::default()).unwrap(), 3);
    let filter = RunFilter { query: Some(query("status:failed, metrics.loss:1, exit_code:7")), ..RunFilter::default() };
    let timeline = store.reader().conditions(over).unwrap();
    let timeline: Vec<_> = timeline.iter().map(|line| (line.seq.0, line.status.unwrap(), line.at.0)).collect();
    assert_eq!(timeline, [(4, Status::Queued, 40), (6, Status::Scheduled, 60)]);
    let over = &store.reader().runs(&filter).unwrap()[0];
    let moments = [over.queued_at, over.started_at, over.finished_at].map(|at| at.unwrap().0);
    assert_eq!((moments, over.attempt.0, over.cause.as_ref().unwrap().message.as_str()), ([1, 2, 3], 2, "it exited"));
}

#[test]
fn errors_say_what_is_wrong_where_and_how_to_mend_it() {
    let long = format!("name:{}", "a".repeat(MAX_QUERY));
    let many = vec!["name:a"; MAX_VALUES + 1].join(",");
    let deep = format!("{}name:a", "(".repeat(MAX_DEPTH + 1));
    let cases = [
        "status:runing",
        "stauts:running",
        "status:",
        "status:running,",
        "status:running name:x",
        "running",
        "status",
        ":running",
        "status:run%",
        "metrics:<0.1",
        "metrics.loss:<abc",
        "metrics.loss:<nan",
        "teams:a",
        "created_at:yesterday",
        "created_at:2026-13-01",
        "created_at:2026-01-01|2026-01-02",
        "created_at:2026-01-01..",
        "duration:soon",
        "memory:>1Gb",
        "attempt:1.5",
        "name:<3",
        "uuid:train",
        "(status:running",
        "status:running)",
        "name:\"a",
        "name:\"a\"b",
        "name:a||b",
        "status:running OR",
        "name:\u{1b}[31m, größe:1",
        "name:x status:running",
    ];
    let mut said = String::new();
    for case in cases.into_iter().chain([long.as_str(), many.as_str(), deep.as_str()]) {
        match Query::parse(case, NOW) {
            Ok(query) => said.push_str(&format!("{case}\n  read as {query:?}\n\n")),
            Err(error) if case.len() > 100 => said.push_str(&format!("{error}\n\n")),
            Err(error) => said.push_str(&format!("{error}\n{}\n  {}\n\n", error.underlined(case), error.help)),
        }
    }
    insta::assert_snapshot!(said);
}

fn any_run() -> impl Strategy<Value = NewRun> {
    let value = || {
        prop_oneof![
            (-3i32..3).prop_map(Value::from),
            prop::sample::select(vec![0.5, 1.0, 1.5, -2.0]).prop_map(Value::from),
            prop::sample::select(vec!["1", "Adam", "true", "", "größe", "%"]).prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
            Just(json!([1])),
        ]
    };
    let inputs =
        prop::collection::btree_map(prop::sample::select(vec!["a".to_owned(), "b.c".to_owned()]), value(), 0..3);
    let amount = prop_oneof![Just(500u64), Just(1000), Just(8000)].prop_map(Quantity::from_millis);
    let request =
        prop::collection::btree_map(prop::sample::select(vec!["cpu".to_owned(), "memory".to_owned()]), amount, 0..3);
    let origin = prop_oneof![
        Just(Origin::Push { reason: "r".into() }),
        Just(Origin::Request { user: "ana".into() }),
        Just(Origin::Restart { of: id(1), user: "ben".into() }),
        (0..5i64).prop_map(|n| Origin::Schedule { at: Timestamp(NOW.0 - n * 86_400_000) }),
    ];
    let tags = prop::collection::vec(prop::sample::select(vec!["x".to_owned(), "Y".to_owned()]), 0..2);
    let names = prop::sample::select(vec!["a", "A", "train-1", "Train-2", "größe", ""]);
    (names, inputs, request, origin, tags, prop::option::of(0..3u128), any::<bool>()).prop_map(
        |(name, inputs, request, origin, tags, parent, has_workflow)| NewRun {
            name: name.to_owned(),
            inputs,
            request: Resources(request),
            origin,
            tags,
            parent: parent.map(id),
            workflow: has_workflow.then(|| Name::parse("train").unwrap()),
            ..run(0)
        },
    )
}

fn any_query() -> impl Strategy<Value = String> {
    let terms = vec![
        "name:a",
        "name:%a%",
        "name:train%",
        "name:%-1|A",
        "name:%%",
        "name:nil",
        "name:größe|%SSE",
        "status:compiled|failed",
        "status:~queued",
        "status:queued",
        "uuid:ab12",
        "uuid:%2",
        "pipeline:nil",
        "pipeline:~ab12",
        "pipeline:%0",
        "original:nil",
        "original:ab",
        "user:ana|be%",
        "user:~ana",
        "cloning_kind:restart",
        "workflow:train",
        "workflow:nil",
        "queue:gpu",
        "agent:us-east",
        "tags:x",
        "tags:~x|Y",
        "tags:nil",
        "tags:%y",
        "created_at:last_day",
        "created_at:>2026-03-01 11:00",
        "schedule_at:>=2026-02-27",
        "schedule_at:nil",
        "started_at:nil",
        "finished_at:<2026-03-02",
        "updated_at:~nil",
        "duration:>1s",
        "duration:~<=1",
        "wait_time:nil",
        "attempt:>0",
        "exit_code:nil",
        "exit_code:<2",
        "cpu:500m",
        "cpu:~>=1",
        "memory:nil",
        "memory:<8",
        "params.a:1",
        "params.a:~1",
        "params.a:true|Adam",
        "params.a:<1",
        "params.a:~>=0.5",
        "params.a:nil",
        "params.a:%da%",
        "params.b.c:1.5|größe",
        "params.b.c:~nil",
        "params.missing:nil",
        "params.a:\"\"",
        "metrics.loss:<=1",
        "metrics.loss:nil",
        "metrics.loss:~=1",
        "reason:Error",
        "reason:nil",
        "kind:job",
    ];
    let term = prop::sample::select(terms).prop_map(str::to_owned);
    term.prop_recursive(3, 8, 3, |inner| {
        (inner.clone(), inner, prop::sample::select(vec![", ", " AND ", " OR "]))
            .prop_map(|(a, b, word)| format!("({a}{word}{b})"))
    })
}

fn any_sort() -> impl Strategy<Value = String> {
    let fields = vec![
        "name",
        "uuid",
        "params.a",
        "params.b.c",
        "metrics.loss",
        "cpu",
        "status",
        "created_at",
        "updated_at",
        "duration",
        "user",
        "queue",
        "schedule_at",
        "pipeline",
        "original",
    ];
    let key = (prop::sample::select(fields), any::<bool>())
        .prop_map(|(field, down)| format!("{}{field}", if down { "-" } else { "" }));
    prop::collection::vec(key, 0..3).prop_map(|keys| keys.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/queries.regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn stores_agree_on_every_query(
        runs in prop::collection::vec(any_run(), 0..10),
        ends in prop::collection::vec((0..10u128, prop::sample::select(vec![json!(1), json!(0.5), json!("x"), json!(null)])), 0..6),
        asked in prop::collection::vec((any_query(), any_sort()), 12),
    ) {
        let mut batches: Vec<Vec<Event>> = Vec::new();
        for (n, run) in (0..).zip(runs) {
            batches.push(vec![created(NewRun { id: id(n), ..run })]);
        }
        batches.extend(ends.into_iter().map(|(n, loss)| ended(n, Status::Failed, loss).into()));
        let (_dir, [memory, sqlite]) = stores(&batches);
        let (memory, sqlite) = (memory.reader(), sqlite.reader());
        for (text, sort) in asked {
            let filter = RunFilter { query: Some(query(&text)), sort: parse_sort(&sort).unwrap(), ..RunFilter::default() };
            let expected = memory.runs(&filter).unwrap();
            prop_assert_eq!(&sqlite.runs(&filter).unwrap(), &expected, "{} by {}", text, sort);
            prop_assert_eq!(sqlite.count(&filter).unwrap(), expected.len() as u64, "{}", text);
            // Pages hold each run once.
            let mut paged: Vec<RunRow> = Vec::new();
            while paged.len() < expected.len() {
                let page = sqlite.runs(&RunFilter { skip: paged.len(), limit: 3, ..filter.clone() }).unwrap();
                prop_assert!(!page.is_empty());
                paged.extend(page);
            }
            prop_assert_eq!(paged, expected);
        }
    }
}
