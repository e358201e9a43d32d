//! One suite over every store: what the engine and the readers rely on, whatever keeps the data.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::json;
use tempfile::TempDir;
use tidegate::domain::catalog::SupersedePolicy;
use tidegate::domain::dispatch::event::{EVENT_VERSION, Event, NewRun, Origin, RevisionApplied};
use tidegate::domain::dispatch::history::{MAX_PAGE, Parent, RunFilter, RunOrder, RunRow};
use tidegate::domain::dispatch::observation::Cause;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::ids::{
    AgentName, Attempt, CommitId, Digest, Epoch, Name, ProjectName, QueueName, RunId, Seq, WorkflowName,
};
use tidegate::domain::quantity::{Quantity, Resources};
use tidegate::domain::spec::WhenBusy;
use tidegate::domain::time::Timestamp;
use tidegate::store::memory::Fault;
use tidegate::store::{Batch, History, MAX_FOUND, MemoryStore, Snapshot, SqliteStore, Store, StoreError};

/// A place where a store's data lies, so that it can be closed and opened again.
enum Place {
    Memory(MemoryStore),
    Sqlite(TempDir),
}

impl Place {
    fn all() -> [Self; 2] {
        [Self::Memory(MemoryStore::default()), Self::Sqlite(tempfile::tempdir().unwrap())]
    }

    fn open(&self) -> Box<dyn Store> {
        match self {
            Self::Memory(store) => Box::new(store.clone()),
            Self::Sqlite(dir) => Box::new(SqliteStore::open(dir.path()).unwrap()),
        }
    }

    fn make_newer(&self, seq: Seq) {
        match self {
            Self::Memory(store) => store.make_newer(seq),
            Self::Sqlite(dir) => {
                let changed =
                    raw(dir).execute("UPDATE events SET version = version + 1 WHERE seq = ?", [seq.0]).unwrap();
                assert_eq!(changed, 1);
            }
        }
    }
}

fn database(dir: &TempDir) -> PathBuf {
    dir.path().join("tidegate.db")
}

fn raw(dir: &TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(database(dir)).unwrap()
}

/// A writer that knows where the log ends.
struct Writer {
    store: Box<dyn Store>,
    epoch: Epoch,
    last: Seq,
    now: Timestamp,
}

impl Writer {
    fn open(place: &Place) -> Self {
        let mut store = place.open();
        let epoch = store.open_epoch().unwrap();
        let last = store.load().unwrap().last;
        Self { store, epoch, last, now: Timestamp(1_000) }
    }

    fn batch(&self, events: Vec<Event>) -> Batch {
        Batch { expected: self.last, epoch: self.epoch, at: self.now, events, bodies: Vec::new() }
    }

    /// Appends and lets a second pass.
    fn append(&mut self, events: Vec<Event>) {
        self.last = self.store.append(&self.batch(events)).unwrap();
        self.now.0 += 1_000;
    }

    fn history(&self) -> std::sync::Arc<dyn History> {
        self.store.reader()
    }

    fn replayed(&mut self, after: Seq) -> Vec<(Seq, Timestamp, Event)> {
        let mut all = Vec::new();
        self.store.replay(after, &mut |seq, at, event| all.push((seq, at, event))).unwrap();
        all
    }
}

fn id(n: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(n))
}

fn queue(text: &str) -> QueueName {
    QueueName::parse(text).unwrap()
}

fn new_run(n: u128) -> NewRun {
    NewRun {
        workflow: Some(Name::parse("train").unwrap()),
        commit: Some(CommitId::new("8c1d2f0e4b5a69788c1d2f0e4b5a69788c1d2f0e")),
        spec: Digest::of(b"spec"),
        request: Resources(BTreeMap::from([("cpu".into(), Quantity::from_millis(500))])),
        max_retries: 1,
        group: Some(SupersedePolicy { group: "vision/train".into(), limit: 1, when_busy: WhenBusy::Queue }),
        tags: vec!["nightly".into(), "größe: \"9\"".into()],
        origin: Origin::Push { reason: "changed".into() },
        ..NewRun::bare(id(n), ProjectName::parse("vision").unwrap(), format!("train-{n}"), queue("us-east/gpu"))
    }
}

fn created(run: NewRun) -> Event {
    Event::RunCreated(Box::new(run))
}

fn scheduled(n: u128, attempt: u32) -> Event {
    Event::RunScheduled { run: id(n), attempt: Attempt(attempt) }
}

fn progressed(n: u128, attempt: u32, status: Status, at: i64) -> Event {
    Event::RunProgressed { run: id(n), attempt: Attempt(attempt), status, cause: None, at: Timestamp(at) }
}

fn finished(n: u128, status: Status, exit_code: Option<i32>, at: i64) -> Event {
    let outputs =
        if status == Status::Succeeded { json!({"loss": 0.25, "nested": {"a": [1, null]}}) } else { json!({}) };
    let cause = if status == Status::Succeeded { Cause::default() } else { Cause::new("Error", "It failed.") };
    let outputs = outputs.as_object().cloned().unwrap();
    Event::RunFinished { run: id(n), status, cause, exit_code, outputs, at: Timestamp(at) }
}

fn revision(commit: &str, renamed: &[(&str, &str)]) -> Event {
    Event::RevisionApplied(Box::new(RevisionApplied {
        commit: CommitId::new(commit),
        policy: CommitId::new(commit),
        subject: format!("Subject of {commit}"),
        plan: Digest::of(commit.as_bytes()),
        organization: None,
        agents: BTreeMap::new(),
        queues: BTreeMap::from([(queue("us-east/old"), None)]),
        projects: BTreeMap::new(),
        renamed: renamed.iter().map(|(old, new)| (queue(old), queue(new))).collect(),
        cursors: BTreeMap::new(),
        note: "1 started".into(),
    }))
}

fn names(rows: &[RunRow]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

/// The sentence for the person who reads the log, with its causes.
fn sentence(error: StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[test]
fn replay_gives_back_what_was_appended_after_reopening() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        let first = vec![created(new_run(1)), Event::RunQueued { run: id(1) }];
        let second = vec![scheduled(1, 1), finished(1, Status::Succeeded, Some(0), 2_500), revision("c1", &[])];
        writer.append(first.clone());
        writer.append(Vec::new());
        writer.append(second.clone());
        assert_eq!(writer.last, Seq(5));
        drop(writer);

        let mut writer = Writer::open(&place);
        assert_eq!(writer.last, Seq(5));
        let all = writer.replayed(Seq(0));
        let stored = first.into_iter().map(|e| (1_000, e)).chain(second.into_iter().map(|e| (3_000, e)));
        let expected: Vec<_> = stored.zip(1..).map(|((at, event), seq)| (Seq(seq), Timestamp(at), event)).collect();
        assert_eq!(all, expected);
        assert_eq!(writer.replayed(Seq(3)), expected[3..]);
        assert_eq!(writer.replayed(Seq(99)), []);
        assert_eq!(writer.history().events(Seq(1), 2).unwrap(), expected[1..3]);
        assert_eq!(writer.history().events(Seq(u64::MAX), 2).unwrap(), []);
        writer.append(vec![Event::RunDeleted { run: id(1) }]);
        assert_eq!(writer.last, Seq(6));
    }
}

#[test]
fn a_batch_that_does_not_follow_the_log_is_refused_whole() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        writer.append(vec![created(new_run(1))]);
        for expected in [Seq(0), Seq(2)] {
            let batch = Batch { expected, ..writer.batch(vec![created(new_run(2))]) };
            let error = writer.store.append(&batch).unwrap_err();
            assert!(matches!(error, StoreError::Gap { actual: Seq(1), .. }), "{error}");
        }
        assert_eq!(writer.history().run(id(2)).unwrap(), None);
        assert_eq!(writer.store.load().unwrap().last, Seq(1));
        writer.append(vec![created(new_run(2))]);
    }
}

#[test]
fn an_older_writer_is_fenced() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        writer.append(vec![created(new_run(1))]);
        let newer = writer.store.open_epoch().unwrap();
        assert_eq!(newer, Epoch(writer.epoch.0 + 1));
        let error = writer.store.append(&writer.batch(vec![created(new_run(2))])).unwrap_err();
        assert!(
            matches!(error, StoreError::Fenced { current, own } if current == newer && own == writer.epoch),
            "{error}"
        );
        writer.epoch = newer;
        writer.append(vec![created(new_run(2))]);
        drop(writer);
        assert_eq!(Writer::open(&place).epoch, Epoch(newer.0 + 1), "a term is taken for good");
    }
}

#[test]
fn the_newest_two_snapshots_are_kept_and_the_tail_follows() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        assert_eq!(writer.store.load().unwrap().snapshot, None);
        for n in 1..=4 {
            writer.append(vec![created(new_run(n))]);
            writer.store.save_snapshot(writer.last, 7, format!("state {n}").as_bytes()).unwrap();
        }
        writer.append(vec![Event::RunQueued { run: id(4) }]);
        let error = writer.store.save_snapshot(Seq(6), 7, b"ahead of the log").unwrap_err();
        assert!(matches!(error, StoreError::Gap { actual: Seq(5), expected: Seq(6) }), "{error}");
        drop(writer);

        let mut writer = Writer::open(&place);
        let loaded = writer.store.load().unwrap();
        assert_eq!(loaded.last, Seq(5));
        assert_eq!(loaded.snapshot, Some(Snapshot { seq: Seq(4), version: 7, data: b"state 4".to_vec() }));
        assert_eq!(writer.replayed(Seq(4)).len(), 1);
        writer.store.save_snapshot(Seq(4), 8, b"").unwrap();
        let again = Snapshot { seq: Seq(4), version: 8, data: Vec::new() };
        assert_eq!(writer.store.load().unwrap().snapshot, Some(again));
        drop(writer);
        if let Place::Sqlite(dir) = &place {
            let kept = raw(dir).query_row("SELECT group_concat(seq) FROM snapshots", (), |row| row.get::<_, String>(0));
            assert_eq!(kept.unwrap(), "3,4");
        }
    }
}

#[test]
fn a_large_snapshot_comes_back_whole() {
    let data: Vec<u8> = (0..(130 << 20)).map(|i: u32| (i >> 12) as u8).collect();
    let place = Place::Sqlite(tempfile::tempdir().unwrap());
    let mut writer = Writer::open(&place);
    writer.store.save_snapshot(Seq(0), 1, &data).unwrap();
    assert!(writer.store.load().unwrap().snapshot.unwrap().data == data);
}

#[test]
fn history_tells_the_whole_life_of_a_run() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        let run = NewRun { needs_approval: true, parent: Some(id(9)), ..new_run(1) };
        writer.append(vec![created(run)]); // 1 s
        assert_eq!(writer.history().run(id(1)).unwrap().unwrap().status, Status::Created);
        writer.append(vec![Event::RunApproved { run: id(1), by: "ana".into() }, Event::RunQueued { run: id(1) }]);
        writer.append(vec![scheduled(1, 1), progressed(1, 1, Status::Starting, 3_100)]);
        writer.append(vec![progressed(1, 1, Status::Running, 3_900)]);
        let cause = Cause::new("OOMKilled", "It used more than its memory.");
        let retrying =
            Event::RunRetrying { run: id(1), attempt: Attempt(1), until: Timestamp(9_000), cause: cause.clone() };
        writer.append(vec![retrying]); // 5 s
        let row = writer.history().run(id(1)).unwrap().unwrap();
        assert_eq!((row.status, row.cause, row.finished_at), (Status::Retrying, Some(cause.clone()), None));
        writer.append(vec![Event::RunQueued { run: id(1) }, scheduled(1, 2), progressed(1, 2, Status::Running, 6_200)]);
        writer.append(vec![finished(1, Status::Succeeded, Some(0), 6_900)]);

        let row = writer.history().run(id(1)).unwrap().unwrap();
        let expected = RunRow {
            seq: Seq(1),
            id: id(1),
            project: ProjectName::parse("vision").unwrap(),
            workflow: Some(Name::parse("train").unwrap()),
            name: "train-1".into(),
            kind: "job".into(),
            tags: vec!["nightly".into(), "größe: \"9\"".into()],
            commit: Some(CommitId::new("8c1d2f0e4b5a69788c1d2f0e4b5a69788c1d2f0e")),
            spec: Digest::of(b"spec"),
            queue: queue("us-east/gpu"),
            request: Resources(BTreeMap::from([("cpu".into(), Quantity::from_millis(500))])),
            origin: Origin::Push { reason: "changed".into() },
            group: Some("vision/train".into()),
            parent: Some(id(9)),
            status: Status::Succeeded,
            attempt: Attempt(2),
            cause: None,
            created_at: Timestamp(1_000),
            queued_at: Some(Timestamp(2_000)),
            started_at: Some(Timestamp(3_900)),
            finished_at: Some(Timestamp(6_900)),
            exit_code: Some(0),
            inputs: Default::default(),
            outputs: json!({"loss": 0.25, "nested": {"a": [1, null]}}).as_object().cloned().unwrap(),
        };
        assert_eq!(row, expected);

        let timeline = writer.history().conditions(id(1)).unwrap();
        let shown: Vec<_> = timeline.iter().map(|c| (c.seq.0, c.status.unwrap(), c.at.0)).collect();
        assert_eq!(
            shown,
            [
                (1, Status::Created, 1_000),
                (2, Status::Compiled, 2_000),
                (3, Status::Queued, 2_000),
                (4, Status::Scheduled, 3_000),
                (5, Status::Starting, 3_100),
                (6, Status::Running, 3_900),
                (7, Status::Retrying, 5_000),
                (8, Status::Queued, 6_000),
                (9, Status::Scheduled, 6_000),
                (10, Status::Running, 6_200),
                (11, Status::Succeeded, 6_900),
            ]
        );
        assert_eq!((timeline[6].attempt, &timeline[6].cause), (Some(Attempt(1)), &Some(cause)));

        writer.append(vec![Event::RunDeleted { run: id(1) }]);
        assert_eq!(writer.history().run(id(1)).unwrap(), None);
        assert_eq!(writer.history().conditions(id(1)).unwrap(), []);
        assert_eq!(writer.history().count(&RunFilter::default()).unwrap(), 0);
    }
}

#[test]
fn a_run_that_nobody_saw_running_started_when_it_ended_if_it_ran_at_all() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        let started = |writer: &Writer, n| writer.history().run(id(n)).unwrap().unwrap().started_at;
        writer.append((1..=3).map(|n| created(new_run(n))).collect());
        writer.append(vec![scheduled(1, 1), scheduled(2, 1), scheduled(3, 1)]);
        writer.append(vec![finished(1, Status::Succeeded, None, 2_700), finished(2, Status::Failed, Some(1), 2_800)]);
        writer.append(vec![finished(3, Status::Stopped, None, 2_900)]);
        assert_eq!(started(&writer, 1), Some(Timestamp(2_700)));
        assert_eq!(started(&writer, 2), Some(Timestamp(2_800)));
        assert_eq!(started(&writer, 3), None);
    }
}

#[test]
fn renaming_queues_moves_unfinished_runs_all_at_once() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        let run = |n, name| created(NewRun { queue: queue(name), ..new_run(n) });
        writer.append(vec![run(1, "a/x"), run(2, "a/y"), run(3, "a/x"), finished(3, Status::Skipped, None, 500)]);
        // The fourth run and a move stand in the batch of the renaming itself, before it and after it.
        writer.append(vec![
            run(4, "a/x"),
            revision("c1", &[("a/x", "a/y"), ("a/y", "a/x")]),
            run(5, "a/x"),
            Event::RunMoved { run: id(2), queue: queue("b/z") },
        ]);
        let queues =
            writer.history().runs(&RunFilter { order: RunOrder::OldestFirst, ..RunFilter::default() }).unwrap();
        let queues: Vec<_> = queues.iter().map(|row| row.queue.to_string()).collect();
        assert_eq!(queues, ["a/y", "b/z", "a/x", "a/y", "a/x"]);
        let moved = writer.history().conditions(id(2)).unwrap().pop().unwrap();
        assert_eq!((moved.status, moved.cause.unwrap().message.as_str()), (None, "Moved to queue b/z."));
    }
}

#[test]
fn applied_commits_are_listed_newest_first() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        for commit in ["c1", "c2", "c3"] {
            writer.append(vec![revision(commit, &[])]);
        }
        let all = writer.history().syncs(None, 10).unwrap();
        let shown: Vec<_> = all.iter().map(|sync| (sync.seq.0, sync.at.0, sync.commit.as_str())).collect();
        assert_eq!(shown, [(3, 3_000, "c3"), (2, 2_000, "c2"), (1, 1_000, "c1")]);
        assert_eq!(
            (all[0].subject.as_str(), all[0].plan, all[0].note.as_str()),
            ("Subject of c3", Digest::of(b"c3"), "1 started")
        );
        assert_eq!(writer.history().syncs(Some(Seq(3)), 1).unwrap(), all[1..2]);
    }
}

#[test]
fn filters_narrow_and_agree_with_counts() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        let project = |name| ProjectName::parse(name).unwrap();
        writer.append(vec![created(new_run(1)), Event::RunQueued { run: id(1) }]); // 1 s
        writer.append(vec![created(NewRun { project: project("audio"), workflow: None, ..new_run(2) })]); // 2 s
        writer.append(vec![created(NewRun { queue: queue("us-east-2/gpu"), ..new_run(3) })]); // 3 s
        writer.append(vec![created(NewRun {
            commit: None,
            parent: Some(id(1)),
            name: "100%_'x".into(),
            ..new_run(4)
        })]);
        writer.append(vec![finished(3, Status::Failed, Some(2), 4_500), Event::RunQueued { run: id(2) }]);

        let any = RunFilter::default;
        let workflow = |text| Some(WorkflowName::parse(text).unwrap());
        let agent = |text| Some(AgentName::parse(text).unwrap());
        let cases = [
            (any(), vec!["100%_'x", "train-3", "train-2", "train-1"]),
            (RunFilter { order: RunOrder::OldestFirst, limit: 2, ..any() }, vec!["train-1", "train-2"]),
            (RunFilter { project: Some(project("audio")), ..any() }, vec!["train-2"]),
            (RunFilter { workflow: workflow("vision/train"), ..any() }, vec!["100%_'x", "train-3", "train-1"]),
            (RunFilter { workflow: workflow("audio/train"), ..any() }, vec![]),
            (RunFilter { statuses: vec![Status::Queued], ..any() }, vec!["train-2", "train-1"]),
            (RunFilter { statuses: vec![Status::Failed, Status::Compiled], ..any() }, vec!["100%_'x", "train-3"]),
            (RunFilter { statuses: vec![Status::Running], ..any() }, vec![]),
            (RunFilter { queue: Some(queue("us-east-2/gpu")), ..any() }, vec!["train-3"]),
            (RunFilter { agent: agent("us-east"), ..any() }, vec!["100%_'x", "train-2", "train-1"]),
            (RunFilter { commit: Some("8c1d2f0".into()), ..any() }, vec!["train-3", "train-2", "train-1"]),
            (RunFilter { commit: Some("c1d2f0".into()), ..any() }, vec![]),
            (RunFilter { parent: Parent::Is(id(1)), ..any() }, vec!["100%_'x"]),
            (RunFilter { parent: Parent::None, ..any() }, vec!["train-3", "train-2", "train-1"]),
            (RunFilter { name_contains: Some("%_'".into()), ..any() }, vec!["100%_'x"]),
            (RunFilter { name_contains: Some("Train".into()), ..any() }, vec![]),
            (RunFilter { created_after: Some(Timestamp(3_000)), ..any() }, vec!["100%_'x", "train-3"]),
            (RunFilter { created_before: Some(Timestamp(3_000)), ..any() }, vec!["train-2", "train-1"]),
            (RunFilter { project: Some(project("audio")), statuses: vec![Status::Queued], ..any() }, vec!["train-2"]),
        ];
        for (filter, expected) in cases {
            assert_eq!(names(&writer.history().runs(&filter).unwrap()), expected, "{filter:?}");
            let all = writer.history().runs(&RunFilter { limit: MAX_PAGE, ..filter.clone() }).unwrap().len() as u64;
            assert_eq!(writer.history().count(&filter).unwrap(), all, "{filter:?}");
        }
    }
}

#[test]
fn pages_hold_every_run_once_while_new_ones_arrive() {
    for place in Place::all() {
        for order in [RunOrder::NewestFirst, RunOrder::OldestFirst] {
            let mut writer = Writer::open(&place);
            let before = writer.history().count(&RunFilter::default()).unwrap() as u128;
            // All at one moment: a page must not end between runs by time alone.
            writer.append((0..25).map(|n| created(new_run(100 + before + n))).collect());
            let expected =
                writer.history().runs(&RunFilter { order, limit: MAX_PAGE, ..RunFilter::default() }).unwrap();
            let mut seen = Vec::new();
            let mut filter = RunFilter { order, limit: 7, ..RunFilter::default() };
            while seen.len() < expected.len() {
                let page = writer.history().runs(&filter).unwrap();
                assert!(page.len() <= 7, "a page has at most what was asked for");
                filter.cursor = Some(page.last().expect("pages until all are seen").seq);
                seen.extend(page);
                if order == RunOrder::NewestFirst {
                    let n = 1_000_000 + writer.last.0 as u128;
                    writer.append(vec![created(new_run(n))]);
                }
            }
            assert_eq!(seen, expected);
        }
        let too_many = RunFilter { limit: usize::MAX, ..RunFilter::default() };
        let mut writer = Writer::open(&place);
        writer.append((0..MAX_PAGE as u128).map(|n| created(new_run(2_000_000 + n))).collect());
        assert_eq!(writer.history().runs(&too_many).unwrap().len(), MAX_PAGE);
    }
}

#[test]
fn people_find_runs_by_the_beginning_of_their_id() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        let near = 0x0190_a1b2_c3d4_7000_8000_0000_0000_0000;
        writer.append((0..20).map(|n| created(new_run(near + n))).collect());
        writer.append(vec![created(new_run(near << 4))]);
        let find = |prefix: &str| writer.history().find(prefix).unwrap();
        assert_eq!(find("0190A1B2-c3d4-7000-8000-000000000003"), [id(near + 3)]);
        assert_eq!(find("190"), [id(near << 4)]);
        assert_eq!(find("0190a1").len(), MAX_FOUND);
        assert_eq!(find("0190a1b2c3d4700080000000000000000"), [], "too long for an id");
        for bad in ["", "-", "xyz", "%", "1*"] {
            assert_eq!(find(bad), [], "{bad}");
        }
    }
}

#[test]
fn bodies_lie_once_and_stay() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        let digest = Digest::of(b"content");
        for _ in 0..2 {
            let bodies = vec![(digest, b"content".to_vec()), (digest, b"content".to_vec())];
            writer.last = writer.store.append(&Batch { bodies, ..writer.batch(Vec::new()) }).unwrap();
        }
        drop(writer);
        let writer = Writer::open(&place);
        assert_eq!(writer.history().body(digest).unwrap(), Some(b"content".to_vec()));
        assert_eq!(writer.history().body(Digest::of(b"other")).unwrap(), None);
        if let Place::Sqlite(dir) = &place {
            let count = raw(dir).query_row("SELECT count(*) FROM bodies", (), |row| row.get::<_, i64>(0));
            assert_eq!(count.unwrap(), 1);
        }
    }
}

#[test]
fn readers_see_appends_from_any_thread_and_outlive_the_writer() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        let history = writer.history();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let history = history.clone();
                scope.spawn(move || {
                    let mut seen = 0;
                    while seen < 200 {
                        let now = history.count(&RunFilter::default()).unwrap();
                        assert!(now >= seen && now % 2 == 0, "a batch is seen whole: {seen}, then {now}");
                        seen = now;
                    }
                });
            }
            for n in 0..100 {
                writer.append(vec![created(new_run(2 * n)), created(new_run(2 * n + 1))]);
            }
        });
        drop(writer);
        assert_eq!(history.count(&RunFilter::default()).unwrap(), 200);
    }
}

#[test]
fn an_event_of_a_newer_release_stops_with_a_sentence() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        writer.append(vec![created(new_run(1)), created(new_run(2)), created(new_run(3))]);
        drop(writer);
        place.make_newer(Seq(2));
        let mut writer = Writer::open(&place);
        let mut seen = 0;
        let error = writer.store.replay(Seq(0), &mut |_, _, _| seen += 1).unwrap_err();
        assert_eq!(seen, 1);
        let newer = EVENT_VERSION + 1;
        let expected = format!(
            "event 2 of the log cannot be read: event version {newer} is newer than this release, which reads up to \
             {EVENT_VERSION}: use the release that wrote it"
        );
        assert_eq!(sentence(error), expected);
        assert!(writer.history().events(Seq(0), 10).is_err());
        assert_eq!(writer.replayed(Seq(2)).len(), 1);
    }
}

#[test]
fn an_append_in_memory_can_fail_before_or_after() {
    let store = MemoryStore::default();
    let mut writer = Writer::open(&Place::Memory(store.clone()));
    for (fault, last) in [(Fault::Before, Seq(0)), (Fault::After, Seq(1))] {
        store.fail_next_append(fault);
        let error = writer.store.append(&writer.batch(vec![created(new_run(1))])).unwrap_err();
        assert!(matches!(error, StoreError::Injected));
        assert_eq!(writer.store.load().unwrap().last, last);
        assert_eq!(writer.history().run(id(1)).unwrap().is_some(), fault == Fault::After);
    }
    writer.last = Seq(1);
    writer.append(vec![created(new_run(2))]);
}

// What only a file can do.

#[test]
fn a_second_server_on_one_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(dir.path()).unwrap();
    let error = SqliteStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)));
    assert!(sentence(error).contains("is in use by another server"));
    drop(first);
    SqliteStore::open(dir.path()).unwrap();
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let mut store = SqliteStore::open(&dir).unwrap();
    store.open_epoch().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "the log beside the database is looked at, too: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_damaged_or_newer_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(database(&dir), "this is not a database, but long enough to look like one".repeat(100)).unwrap();
    let error = SqliteStore::open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { path, .. } if *path == database(&dir)), "{error:?}");

    let dir = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(dir.path()).unwrap());
    raw(&dir).pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let place = Place::Sqlite(dir);
    let mut writer = Writer::open(&place);
    writer.append(vec![created(new_run(1)), created(new_run(2)), created(new_run(3))]);
    drop(writer);
    let Place::Sqlite(dir) = &place else { unreachable!() };
    raw(dir).execute("DELETE FROM events WHERE seq = 2", ()).unwrap();
    let error = place.open().replay(Seq(0), &mut |_, _, _| ()).unwrap_err();
    assert!(matches!(error, StoreError::Missing(Seq(2))), "{error}");
}

/// Set in the child process that is killed; names its data directory.
const CHILD: &str = "TIDEGATE_TEST_STORE_CHILD";

#[test]
fn what_was_acknowledged_survives_kill() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return append_until_killed(Path::new(&dir));
    }
    let place = Place::Sqlite(tempfile::tempdir().unwrap());
    let Place::Sqlite(dir) = &place else { unreachable!() };
    let mut acknowledged = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_acknowledged_survives_kill", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut numbers = lines.filter_map(|line| line.strip_prefix("appended ")?.parse::<u64>().ok());
        acknowledged = numbers.by_ref().nth(10 * round).expect("a child appends until it is killed");
        child.kill().unwrap();
        acknowledged = numbers.last().unwrap_or(acknowledged);
        child.wait().unwrap();
    }
    let mut writer = Writer::open(&place);
    assert!(writer.last.0 >= acknowledged, "{} events, {acknowledged} acknowledged", writer.last.0);
    assert_eq!(writer.last.0 % 2, 0, "no half of a batch");
    assert_eq!(writer.replayed(Seq(0)).len() as u64, writer.last.0);
    let all = RunFilter { statuses: vec![Status::Queued], ..RunFilter::default() };
    assert_eq!(writer.history().count(&all).unwrap() * 2, writer.last.0, "history is that of the log");
}

fn append_until_killed(dir: &Path) {
    let mut store = SqliteStore::open(dir).unwrap();
    let epoch = store.open_epoch().unwrap();
    let mut expected = store.load().unwrap().last;
    loop {
        let n = u128::from(expected.0);
        let events = vec![created(new_run(n)), Event::RunQueued { run: id(n) }];
        expected = store.append(&Batch { expected, epoch, at: Timestamp(1), events, bodies: Vec::new() }).unwrap();
        println!("appended {}", expected.0);
    }
}

#[test]
fn a_hundred_thousand_events_replay() {
    for place in Place::all() {
        let mut writer = Writer::open(&place);
        for group in 0..100 {
            let runs = (0..200).map(|n| 1_000 * group + n);
            let lives = runs.flat_map(|n| {
                let started = progressed(n, 1, Status::Running, 1);
                let ended = finished(n, Status::Succeeded, Some(0), 2);
                [created(new_run(n)), Event::RunQueued { run: id(n) }, scheduled(n, 1), started, ended]
            });
            writer.append(lives.collect());
        }
        let start = Instant::now();
        let mut last = Seq(0);
        let end = writer.store.replay(Seq(0), &mut |seq, _, _| {
            assert_eq!(seq.0, last.0 + 1);
            last = seq;
        });
        let name = if matches!(place, Place::Memory(_)) { "memory" } else { "sqlite" };
        println!("{name}: {} events replayed in {:?}", last.0, start.elapsed());
        assert_eq!((end.unwrap(), last), (Seq(100_000), Seq(100_000)));
        assert_eq!(
            writer.history().count(&RunFilter { statuses: vec![Status::Succeeded], ..RunFilter::default() }).unwrap(),
            20_000
        );
    }
}

/// Any event about one of few runs and queues, likely or not: stores need not know what is legal.
fn any_event() -> impl Strategy<Value = Event> {
    let queues = prop::sample::select(vec!["a/x", "a/y", "b/x"]);
    let status = prop::sample::select(Status::ALL.to_vec());
    let cause = prop::option::of(("[A-Z][a-z]{0,5}", ".{0,10}").prop_map(|(r, m)| Cause { reason: r, message: m }));
    let some = || cause.clone().prop_map(Option::unwrap_or_default);
    let pairs = prop::sample::select(vec![vec![], vec![("a/x", "a/y")], vec![("a/x", "b/x"), ("b/x", "a/x")]]);
    let (n, t) = (0..6u128, 0..100_000i64);
    prop_oneof![
        4 => (n.clone(), queues.clone(), any::<bool>(), ".{0,5}", prop::option::of(n.clone())).prop_map(
            |(n, q, needs_approval, name, parent)| created(NewRun {
                queue: queue(q), needs_approval, name, parent: parent.map(id), ..new_run(n)
            })),
        2 => n.clone().prop_map(|n| Event::RunQueued { run: id(n) }),
        1 => n.clone().prop_map(|n| Event::RunApproved { run: id(n), by: "ana".into() }),
        2 => (n.clone(), queues).prop_map(|(n, q)| Event::RunMoved { run: id(n), queue: queue(q) }),
        2 => (n.clone(), 0..3u32).prop_map(|(n, attempt)| scheduled(n, attempt)),
        4 => (n.clone(), 0..3u32, status.clone(), cause.clone(), t.clone()).prop_map(|(n, attempt, status, cause, at)| {
            Event::RunProgressed { run: id(n), attempt: Attempt(attempt), status, cause, at: Timestamp(at) }
        }),
        1 => (n.clone(), some()).prop_map(|(n, cause)| Event::RunStopping { run: id(n), cause }),
        1 => (n.clone(), some()).prop_map(|(n, cause)| Event::PipelineStopping { run: id(n), end: Status::Failed, cause }),
        1 => (n.clone(), some(), 0..3u32).prop_map(|(n, cause, attempt)| {
            Event::RunRetrying { run: id(n), attempt: Attempt(attempt), until: Timestamp(0), cause }
        }),
        2 => (n.clone(), status, prop::option::of(any::<i32>()), t).prop_map(|(n, s, code, at)| finished(n, s, code, at)),
        1 => n.clone().prop_map(|n| Event::RunNoted { run: id(n), note: Cause::new("NoEffect", "x") }),
        1 => n.prop_map(|n| Event::RunDeleted { run: id(n) }),
        1 => pairs.prop_map(|pairs| revision("c", &pairs)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/stores.regressions"))),
        ..ProptestConfig::default()
    })]

    /// However events are cut into batches, every store tells the same history.
    #[test]
    fn stores_agree_on_history(batches in prop::collection::vec(prop::collection::vec(any_event(), 0..12), 1..8)) {
        let one_by_one = MemoryStore::default();
        let mut reference = Writer::open(&Place::Memory(one_by_one));
        for place in Place::all() {
            let mut writer = Writer::open(&place);
            for batch in &batches {
                if matches!(place, Place::Memory(_)) {
                    let now = reference.now;
                    for event in batch {
                        reference.now = now;
                        reference.append(vec![event.clone()]);
                    }
                    reference.now = Timestamp(now.0 + 1_000);
                }
                writer.append(batch.clone());
            }
            let (history, expected) = (writer.history(), reference.history());
            for order in [RunOrder::NewestFirst, RunOrder::OldestFirst] {
                let all = RunFilter { order, ..RunFilter::default() };
                prop_assert_eq!(history.runs(&all).unwrap(), expected.runs(&all).unwrap());
            }
            for n in 0..6 {
                prop_assert_eq!(history.conditions(id(n)).unwrap(), expected.conditions(id(n)).unwrap());
            }
            prop_assert_eq!(history.syncs(None, 100).unwrap(), expected.syncs(None, 100).unwrap());
            prop_assert_eq!(writer.replayed(Seq(0)), reference.replayed(Seq(0)));
        }
    }
}
