//! Following a ref: pushes, rewritten history, what is absent.

use crate::*;

#[test]
fn a_branch_is_followed_and_its_history_told() {
    let bench = Bench::new();
    let first = bench.push("queues/us/gpu.yaml", "kind: queue");
    let mirror = bench.mirror("main");
    assert_eq!(mirror.head().unwrap(), None);
    let fetched = mirror.fetch().unwrap();
    assert_eq!((&fetched.commit, &fetched.previous, fetched.rewritten), (&first, &None, false));
    assert!(fetched.moved());

    let second = bench.push("queues/us/cpu.yaml", "kind: queue");
    let third = bench.push("models/net.bin", "0101");
    let fetched = mirror.fetch().unwrap();
    assert_eq!((&fetched.commit, &fetched.previous, fetched.rewritten), (&third, &Some(first.clone()), false));

    let info = mirror.commit_info(&third).unwrap();
    assert_eq!((info.message.as_str(), info.author.as_str()), ("change models/net.bin", "Ada <ada@example.org>"));
    assert_eq!((info.time.to_string().as_str(), info.parents), ("2026-01-02T03:04:05.000Z", vec![second.clone()]));
    assert!(mirror.is_ancestor(&first, &third).unwrap() && !mirror.is_ancestor(&third, &first).unwrap());
    let ids =
        |cap| mirror.first_parent_between(&first, &third, cap).unwrap().into_iter().map(|c| c.id).collect::<Vec<_>>();
    assert_eq!(ids(10), [third.clone(), second]);
    assert_eq!(ids(1), std::slice::from_ref(&third));

    let set = mirror.read_specs(&third).unwrap();
    assert_eq!(paths(&set), ["queues/us/cpu.yaml", "queues/us/gpu.yaml"]);
    assert_eq!(tree_paths(&set), ["models/net.bin", "queues/us/cpu.yaml", "queues/us/gpu.yaml"]);
    assert_eq!(content(&set, "queues/us/gpu.yaml"), &FileContent::Text(b"kind: queue".into()));
    assert_eq!(set.tree[0].id, git(&bench.work(), &["rev-parse", "HEAD:models/net.bin"]));
    assert_eq!(set, read_revision(&bench.origin(), "main").unwrap());
    assert_eq!(set, read_revision(&bench.work(), "HEAD").unwrap());

    // A later life of the process knows the head without asking.
    drop(mirror);
    assert_eq!(bench.mirror("main").head().unwrap(), Some(third));
}

#[test]
fn tags_commits_and_the_default_branch_are_followed() {
    let bench = Bench::new();
    let first = bench.push("a.yaml", "1");
    git(&bench.work(), &["tag", "-a", "v1", "-m", "one"]);
    git(&bench.work(), &["tag", "light"]);
    git(&bench.work(), &["push", "-q", "origin", "v1", "light"]);
    let second = bench.push("a.yaml", "2");
    let fetch = |reference: &str| {
        let mirror =
            Mirror::open(bench.path().join(reference.replace([':', '/'], "_")), bench.spec(reference)).unwrap();
        let fetched = mirror.fetch().unwrap();
        assert!(!mirror.fetch().unwrap().moved(), "{reference}");
        fetched.commit
    };
    assert_eq!(fetch("tag:v1"), first);
    assert_eq!(fetch("tag:light"), first);
    assert_eq!(fetch(first.as_str()), first);
    assert_eq!(fetch(&format!("commit:{second}")), second);
    assert_eq!(fetch("HEAD"), second);

    // A commit that no ref holds any more.
    git(&bench.work(), &["reset", "-q", "--hard", first.as_str()]);
    git(&bench.work(), &["push", "-q", "--force", "origin", "HEAD:main"]);
    let absent = "0123456789012345678901234567890123456789";
    let mirror = Mirror::open(bench.path().join("absent"), bench.spec(absent)).unwrap();
    assert!(matches!(mirror.fetch(), Err(SourceError::NotFound { .. })), "{:?}", mirror.fetch());
}

#[test]
fn a_poll_that_finds_nothing_starts_no_process() {
    let bench = Bench::new();
    bench.push("a.yaml", "1");
    let log = bench.path().join("calls");
    let program = bench.script("counting-git", &format!("echo call >> '{}'\nexec git \"$@\"", log.display()));
    let mirror = bench.mirror_with(&program);
    assert!(mirror.fetch().unwrap().moved());
    let calls = fs::read_to_string(&log).unwrap();
    for _ in 0..5 {
        assert!(!mirror.fetch().unwrap().moved());
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), calls, "a local repository is asked without a process");
    bench.push("a.yaml", "2");
    assert!(mirror.fetch().unwrap().moved());
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

#[test]
fn a_rewritten_history_is_told_and_kept_commits_survive_the_gc_of_the_source() {
    let bench = Bench::new();
    bench.push("a.yaml", "1");
    let applied = bench.push("a.yaml", "2");
    let mirror = bench.mirror("main");
    mirror.fetch().unwrap();
    mirror.keep(std::slice::from_ref(&applied)).unwrap();

    git(&bench.work(), &["reset", "-q", "--hard", "HEAD~1"]);
    let rewritten = bench.push("a.yaml", "3");
    git(&bench.work(), &["reflog", "expire", "--expire=now", "--all"]);
    git(&bench.origin(), &["gc", "-q", "--prune=now"]);
    let fetched = mirror.fetch().unwrap();
    assert_eq!((&fetched.commit, &fetched.previous, fetched.rewritten), (&rewritten, &Some(applied.clone()), true));
    git(&bench.path().join("mirror/git"), &["gc", "-q", "--prune=now"]);
    assert_eq!(content(&mirror.read_specs(&applied).unwrap(), "a.yaml"), &FileContent::Text(b"2".into()));
    assert_eq!(mirror.first_parent_between(&applied, &rewritten, 10).unwrap().len(), 1);

    mirror.keep(std::slice::from_ref(&rewritten)).unwrap();
    git(&bench.path().join("mirror/git"), &["gc", "-q", "--prune=now"]);
    assert!(matches!(mirror.read_specs(&applied), Err(SourceError::NotFound { .. })));
    assert!(mirror.read_specs(&rewritten).is_ok());
}

#[test]
fn a_deleted_branch_is_an_error_that_keeps_the_last_head() {
    let bench = Bench::new();
    let head = bench.push("a.yaml", "1");
    git(&bench.work(), &["push", "-q", "origin", "HEAD:other"]);
    let mirror = bench.mirror("main");
    mirror.fetch().unwrap();
    git(&bench.origin(), &["update-ref", "-d", "refs/heads/main"]);
    let error = mirror.fetch().unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }) && !error.is_transient(), "{error}");
    assert_eq!(mirror.head().unwrap(), Some(head.clone()));
    assert!(mirror.read_specs(&head).is_ok());
    assert!(matches!(bench.mirror_at("fresh").fetch(), Err(SourceError::NotFound { .. })));
}

impl Bench {
    fn mirror_at(&self, dir: &str) -> Mirror {
        Mirror::open(self.path().join(dir), self.spec("main")).unwrap()
    }
}

#[test]
fn an_empty_and_an_absent_repository_are_told_apart() {
    let bench = Bench::new();
    let mirror = bench.mirror("main");
    assert!(matches!(mirror.fetch(), Err(SourceError::Empty { .. })), "{:?}", mirror.fetch());
    fs::remove_dir_all(bench.origin()).unwrap();
    assert!(matches!(mirror.fetch(), Err(SourceError::NotFound { .. })), "{:?}", mirror.fetch());
    assert_eq!(mirror.head().unwrap(), None);
}
