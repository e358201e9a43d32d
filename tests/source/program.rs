//! The git program: ended when it hangs, bounded, and told no secret aloud.

use crate::*;

#[test]
fn a_git_that_hangs_is_ended_with_all_its_children() {
    let bench = Bench::new();
    let kept = bench.push("a.yaml", "1");
    bench.mirror("main").fetch().unwrap();
    bench.push("a.yaml", "2");
    let pids = bench.path().join("pids");
    let body = format!(
        "touch \"$2/objects/pack/tmp_pack_left\" \"$2/shallow.lock\"\nsleep 300 & echo $! >> '{0}'; echo $$ >> '{0}'\nsleep 300",
        pids.display()
    );
    let options = Options {
        git: bench.script("slow-git", &body).into(),
        time_limit: Duration::from_millis(600),
        ..Options::default()
    };
    let mirror = Mirror::open_with(bench.path().join("mirror"), bench.spec("main"), options).unwrap();
    let started = Instant::now();
    let error = mirror.fetch().unwrap_err();
    assert!(matches!(error, SourceError::Timeout { .. }) && error.is_transient(), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    let pids = fs::read_to_string(&pids).unwrap();
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        // A killed orphan may wait for init to reap it; it is no longer running.
        let gone = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z') || rest.starts_with('X')),
            Err(_) => true,
        };
        wait_until("the end of the process group", gone);
    }
    assert!(!bench.objects().join("pack/tmp_pack_left").exists(), "leftovers go at once");
    assert!(!bench.path().join("mirror/git/shallow.lock").exists());
    assert_eq!(mirror.head().unwrap(), Some(kept));
}

#[test]
fn a_mirror_that_grows_too_large_is_refused_while_it_grows() {
    let bench = Bench::new();
    bench.push("a.yaml", "1");
    let body = "head -c 3000000 /dev/zero > \"$2/objects/pack/tmp_pack_big\"\nsleep 300";
    let options = Options { git: bench.script("big-git", body).into(), size_limit: 1_000_000, ..Options::default() };
    let mirror = Mirror::open_with(bench.path().join("mirror"), bench.spec("main"), options).unwrap();
    let started = Instant::now();
    assert!(matches!(mirror.fetch(), Err(SourceError::TooLarge { .. })));
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(!bench.objects().join("pack/tmp_pack_big").exists());
}

#[test]
fn no_secret_reaches_arguments_or_messages() {
    let bench = Bench::new();
    let seen = bench.path().join("seen");
    let body = format!(
        "echo \"$@\" >> '{}'\nenv | grep -q '^GIT_CONFIG_VALUE_.*Authorization: Basic' && echo header >> '{0}'\n\
         printf 'fatal: https://bob:c4nary%%40t0ken@git.invalid/x said c4nary@t0ken and c4nary%%40t0ken \\033[31mred\\033[0m Ym9iOmM0bmFyeUB0MGtlbg==\\n' >&2\nexit 128",
        seen.display()
    );
    let spec = SourceSpec {
        url: RepoUrl::parse("https://bob:c4nary%40t0ken@git.invalid/x").unwrap(),
        reference: Ref::parse("main").unwrap(),
    };
    let options = Options { git: bench.script("telling-git", &body).into(), ..Options::default() };
    let mirror = Mirror::open_with(bench.path().join("mirror"), spec, options).unwrap();
    let error = mirror.fetch().unwrap_err();
    let texts = [
        error.to_string(),
        format!("{error:?}"),
        format!("{mirror:?}"),
        format!("{:?} {}", mirror.spec(), mirror.spec().url),
        fs::read_to_string(&seen).unwrap(),
        fs::read_to_string(bench.path().join("mirror/git/config")).unwrap(),
    ];
    for text in &texts {
        for secret in ["c4nary", "Ym9iOmM0bmFyeUB0MGtlbg"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    assert!(texts[0].contains("***"), "{}", texts[0]);
    assert!(texts[4].contains("header"), "the header goes by the environment: {}", texts[4]);
}

#[test]
fn what_a_server_says_is_bounded_and_sorted() {
    let bench = Bench::new();
    bench.push("a.yaml", "1");
    for (body, expected) in [
        ("echo \"fatal: couldn't find remote ref refs/heads/main\" >&2", "NotFound"),
        ("echo 'fatal: Authentication failed for x' >&2", "Auth"),
        ("echo 'Host key verification failed.' >&2", "HostKey"),
        ("head -c 1000000 /dev/zero | tr '\\0' 'y' >&2", "Other"),
        ("true", "Other"),
    ] {
        let program = bench.script("failing-git", &format!("{body}\nexit 128"));
        let options = Options { git: program.into(), ..Options::default() };
        let mirror = Mirror::open_with(bench.path().join("mirror"), bench.spec("main"), options).unwrap();
        let error = mirror.fetch().unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{body}: {error:?}");
        assert!(error.to_string().len() < 10_000);
    }
    let options = Options { git: "/nonexistent/git".into(), ..Options::default() };
    let mirror = Mirror::open_with(bench.path().join("mirror"), bench.spec("main"), options).unwrap();
    assert!(matches!(mirror.fetch(), Err(SourceError::NoGit { .. })));
}
