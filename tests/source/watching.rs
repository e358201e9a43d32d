//! Changes are seen: pushes, edits, polls, nudges.

use crate::*;

fn watch(what: Watch, interval: Duration) -> (Watcher, mpsc::Receiver<(Hint, Instant)>) {
    let (send, hints) = mpsc::channel();
    let trouble = |error: SourceError| eprintln!("{error}");
    let watcher = Watcher::start(what, interval, trouble, move |hint| {
        let _ = send.send((hint, Instant::now()));
    });
    (watcher.unwrap(), hints)
}

const LONG: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_push_into_a_bare_repository_is_seen_quickly() {
    let bench = Bench::new();
    bench.push("a.yaml", "1");
    let (watcher, hints) = watch(Watch::Refs(bench.origin()), LONG);
    for i in 2..6 {
        bench.push("a.yaml", &i.to_string());
        let pushed = Instant::now();
        let (hint, at) = hints.recv_timeout(PATIENCE).expect("a hint");
        assert_eq!(hint, Hint::Refs);
        assert!(at.saturating_duration_since(pushed) < Duration::from_secs(2));
        while hints.recv_timeout(Duration::from_millis(100)).is_ok() {}
    }
    // Reading is not a change.
    read_revision(&bench.origin(), "main").unwrap();
    git(&bench.origin(), &["log", "--oneline"]);
    assert_eq!(hints.recv_timeout(Duration::from_millis(300)).ok().map(|(hint, _)| hint), None);
    // A ref in a new folder, and packed refs.
    git(&bench.work(), &["push", "-q", "origin", "HEAD:refs/heads/deep/er/x"]);
    assert_eq!(hints.recv_timeout(PATIENCE).expect("a hint").0, Hint::Refs);
    while hints.recv_timeout(Duration::from_millis(200)).is_ok() {}
    git(&bench.origin(), &["pack-refs", "--all"]);
    assert_eq!(hints.recv_timeout(PATIENCE).expect("a hint").0, Hint::Refs);
    drop(watcher);
    assert!(
        matches!(hints.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected)),
        "dropping ends the thread"
    );
}

#[test]
fn an_edit_in_a_working_tree_is_seen_and_a_burst_is_one_hint() {
    let bench = Bench::new();
    bench.write(".gitignore", "ignored/\n");
    bench.write("ignored/x.yaml", "x");
    bench.push("a.yaml", "1");
    let (_watcher, hints) = watch(Watch::Files(bench.work()), LONG);
    for i in 0..20 {
        bench.write("a.yaml", &i.to_string());
    }
    assert_eq!(hints.recv_timeout(PATIENCE).expect("a hint").0, Hint::Files);
    assert!(hints.recv_timeout(Duration::from_millis(400)).is_err(), "one hint for the burst");
    bench.write("new/deep/b.yaml", "1");
    assert_eq!(hints.recv_timeout(PATIENCE).expect("a hint").0, Hint::Files);
    while hints.recv_timeout(Duration::from_millis(300)).is_ok() {}
    bench.write("new/deep/b.yaml", "2");
    assert_eq!(hints.recv_timeout(PATIENCE).expect("a hint in a new folder").0, Hint::Files);
    while hints.recv_timeout(Duration::from_millis(300)).is_ok() {}
    bench.write("ignored/x.yaml", "2");
    git(&bench.work(), &["tag", "x"]);
    assert!(hints.recv_timeout(Duration::from_millis(400)).is_err(), "neither ignored files nor git's own");
}

#[test]
fn polls_go_on_and_a_storm_of_nudges_becomes_few() {
    let (_watcher, hints) = watch(Watch::Clock, Duration::from_millis(40));
    for _ in 0..3 {
        assert_eq!(hints.recv_timeout(PATIENCE).expect("a poll").0, Hint::Poll);
    }
    let (watcher, hints) = watch(Watch::Clock, LONG);
    let started = Instant::now();
    for _ in 0..1000 {
        watcher.nudge();
        std::thread::sleep(Duration::from_micros(200));
    }
    let storm = started.elapsed();
    std::thread::sleep(Duration::from_millis(700));
    let seen: Vec<Hint> = hints.try_iter().map(|(hint, _)| hint).collect();
    assert!(seen.iter().all(|hint| *hint == Hint::Nudge) && !seen.is_empty());
    assert!(seen.len() as u128 <= storm.as_millis() / 500 + 2, "{} nudges in {storm:?}", seen.len());
}

#[test]
fn failures_bring_the_next_poll_forward() {
    let (watcher, hints) = watch(Watch::Clock, LONG);
    watcher.failed(&SourceError::Other { subject: "x".into(), detail: "network down".into() });
    assert_eq!(hints.recv_timeout(PATIENCE).expect("a retry").0, Hint::Poll);
    watcher.succeeded();
    assert!(hints.recv_timeout(Duration::from_millis(300)).is_err());
}

#[test]
fn a_repository_that_is_made_anew_is_watched_again() {
    let bench = Bench::new();
    bench.push("a.yaml", "1");
    let (_watcher, hints) = watch(Watch::Refs(bench.origin()), Duration::from_millis(400));
    fs::remove_dir_all(bench.origin()).unwrap();
    git(bench.path(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
    // Two polls later the new directory is under watch.
    let mut polls = 0;
    while polls < 3 {
        polls += usize::from(hints.recv_timeout(PATIENCE).expect("a poll").0 == Hint::Poll);
    }
    bench.push("a.yaml", "2");
    wait_until("a hint of the new repository", || hints.try_iter().any(|(hint, _)| hint == Hint::Refs));
}
