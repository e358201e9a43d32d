//! Sources over real repositories, made and changed with the `git` program.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail loudly, as tests do")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate::domain::files::{FileContent, FileSet};
use tidegate::domain::ids::CommitId;
use tidegate::source::{
    EntryMode, Hint, Mirror, Options, Ref, RepoUrl, SourceError, SourceSpec, Watch, Watcher, head_of, read_revision,
    read_worktree,
};

// ---- helpers ------------------------------------------------------------------------------------------------------

/// A scratch directory with a bare repository `origin.git`, a working copy `work` and room for a mirror.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        git(bench.path(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
        git(bench.path(), &["init", "-q", "-b", "main", "work"]);
        git(&bench.work(), &["remote", "add", "origin", "../origin.git"]);
        bench
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    fn origin(&self) -> PathBuf {
        self.path().join("origin.git")
    }

    fn write(&self, path: &str, text: &str) {
        let full = self.work().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
    }

    /// Commits one file and pushes `main`; gives the commit.
    fn push(&self, path: &str, text: &str) -> CommitId {
        self.write(path, text);
        self.commit_and_push(&format!("change {path}"))
    }

    fn commit_and_push(&self, message: &str) -> CommitId {
        git(&self.work(), &["add", "-A"]);
        git(&self.work(), &["commit", "-q", "-m", message]);
        git(&self.work(), &["push", "-q", "--force", "origin", "HEAD:main"]);
        self.at("HEAD")
    }

    fn at(&self, rev: &str) -> CommitId {
        CommitId::new(&git(&self.work(), &["rev-parse", rev]))
    }

    fn spec(&self, reference: &str) -> SourceSpec {
        SourceSpec {
            url: RepoUrl::parse(self.origin().to_str().unwrap()).unwrap(),
            reference: Ref::parse(reference).unwrap(),
        }
    }

    fn mirror(&self, reference: &str) -> Mirror {
        Mirror::open(self.path().join("mirror"), self.spec(reference)).unwrap()
    }

    fn mirror_with(&self, program: &Path) -> Mirror {
        let options = Options { git: program.into(), ..Options::default() };
        Mirror::open_with(self.path().join("mirror"), self.spec("main"), options).unwrap()
    }

    fn objects(&self) -> PathBuf {
        self.path().join("mirror/git/objects")
    }

    /// An executable script in place of `git`.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn git_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        command.env(format!("GIT_{who}_DATE"), "2026-01-02T03:04:05Z");
    }
    command
}

#[track_caller]
fn git(dir: &Path, args: &[&str]) -> String {
    git_with(dir, args, b"")
}

#[track_caller]
fn git_with(dir: &Path, args: &[&str], input: &[u8]) -> String {
    let mut command = git_command(dir, args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn content<'a>(set: &'a FileSet, path: &str) -> &'a FileContent {
    let found = set.files.iter().find(|file| file.path == path);
    &found.unwrap_or_else(|| panic!("no {path} in {:?}", paths(set))).content
}

fn paths(set: &FileSet) -> Vec<&str> {
    set.files.iter().map(|file| file.path.as_str()).collect()
}

fn tree_paths(set: &FileSet) -> Vec<&str> {
    set.tree.iter().map(|file| file.path.as_str()).collect()
}

/// A tree object with entries that no git command would write, and a commit of it.
fn raw_commit(repo: &Path, entries: &[(&str, &[u8], &str)]) -> String {
    let tree = raw_tree(repo, entries);
    git(repo, &["commit-tree", "-m", "made by hand", &tree])
}

fn raw_tree(repo: &Path, entries: &[(&str, &[u8], &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(format!("{mode} ").as_bytes());
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend((0..40).step_by(2).map(|i| u8::from_str_radix(&id[i..i + 2], 16).unwrap()));
    }
    git_with(repo, &["hash-object", "-w", "--literally", "-t", "tree", "--stdin"], &bytes)
}

fn raw_blob(repo: &Path, text: &str) -> String {
    git_with(repo, &["hash-object", "-w", "--stdin"], text.as_bytes())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// ---- names --------------------------------------------------------------------------------------------------------

#[test]
fn addresses_outside_the_grammar_are_refused() {
    let long = format!("https://h/{}", "x".repeat(3000));
    let refused = [
        "",
        "-",
        "--upload-pack=touch /tmp/pwned",
        "-oProxyCommand=touch /tmp/pwned",
        "ext::sh -c 'touch /tmp/pwned'",
        "fd::17",
        "transport::address",
        "git://host/repo",
        "ftp://host/repo",
        "HTTPS://host/repo",
        "javascript://host/repo",
        "git+ssh://host/repo",
        "http://example.org/repo",
        "http://127.0.0.1.example.org/repo",
        "http://localhost.example.org/repo",
        "http://10.0.0.1/repo",
        "https://host",
        "https://host/",
        "https:///repo",
        "https://-host/repo",
        "https://host:0/repo",
        "https://host:99999/repo",
        "https://host:22;id/repo",
        "https://ho st/repo",
        "https://host/re po",
        "https://host/repo?x=1",
        "https://host/repo#x",
        "https://host/repo\nHost: other",
        "https://host/a%0d%0aHost:%20other",
        "https://host/a%00b",
        "https://host/a%zz",
        "https://user%0aname:pw@host/repo",
        "https://user:p%0aw@host/repo",
        "https://-user@host/repo",
        "https://@host/repo",
        "https://[::1/repo",
        "https://[zz]/repo",
        "ssh://-oProxyCommand=id/repo",
        "ssh://-oProxyCommand=id@host/repo",
        "ssh://user@-host/repo",
        "ssh://user:password@host/repo",
        "ssh://host",
        "ssh://ho`id`st/repo",
        "ssh://us$(id)er@host/repo",
        "ssh://host/re'po",
        "-user@host:repo",
        "user@-host:repo",
        "user@host:-repo",
        "user@host:",
        "user@host:re`id`po",
        "user;id@host:repo",
        "user:pw@host:repo",
        "host:repo",
        "file://host/path",
        "file://relative",
        "file:///a%00b",
        "/a\u{0}b",
        "/a\nb",
        "/a\u{1b}[2Jb",
        &long,
    ];
    for text in refused {
        assert!(matches!(RepoUrl::parse(text), Err(SourceError::Url { .. })), "{text:?}");
    }
    for (text, shown) in [
        ("https://github.com/team/specs.git", "https://github.com/team/specs.git"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("http://127.0.0.1:3000/a/b", "http://127.0.0.1:3000/a/b"),
        ("http://[::1]/a", "http://[::1]/a"),
        ("http://localhost:80/a", "http://localhost:80/a"),
        ("ssh://git@host:2222/~team/x.git", "ssh://git@host:2222/~team/x.git"),
        ("git@github.com:team/specs.git", "git@github.com:team/specs.git"),
        ("git@host:/srv/x.git", "git@host:/srv/x.git"),
        ("file:///srv/a%20b.git", "/srv/a b.git"),
        ("/srv/x.git", "/srv/x.git"),
        ("/srv/with space/ext::x", "/srv/with space/ext::x"),
    ] {
        assert_eq!(RepoUrl::parse(text).unwrap().to_string(), shown);
    }
    assert!(RepoUrl::parse("specs").unwrap().local_path().unwrap().is_absolute());
}

#[test]
fn refs_and_revisions_outside_the_grammar_are_refused() {
    let long = "x".repeat(300);
    let refused = [
        "",
        "-",
        "--upload-pack=id",
        "-x",
        "branch:-x",
        "tag:--exec=id",
        "refs/heads/-x",
        "a..b",
        "a@{1}",
        "@{u}",
        "@",
        "a b",
        "a\tb",
        "a\nb",
        "a\u{0}b",
        "a\u{7f}b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.",
        "a.lock",
        "a.LOCK",
        "a.lock/b",
        "refs/notes/x",
        "refs/",
        "branch:",
        "commit:abc",
        "commit:HEAD",
        "branch:HEAD",
        &long,
        "+refs/heads/*:refs/heads/*",
        "refs/heads/main:refs/heads/evil",
    ];
    for text in refused {
        assert!(matches!(Ref::parse(text), Err(SourceError::Ref { .. })), "{text:?}");
    }
    for good in ["main", "feature/x-1", "branch:main", "tag:v1.0", "refs/tags/v1", "HEAD", "käse", "con"] {
        assert!(Ref::parse(good).is_ok(), "{good}");
    }
    assert!(matches!(Ref::parse(&"A".repeat(40)), Ok(Ref::Commit(id)) if id.as_str() == "a".repeat(40)));

    let bench = Bench::new();
    let first = bench.push("a.yaml", "a: 1");
    bench.push("a.yaml", "a: 2");
    let mirror = bench.mirror("main");
    mirror.fetch().unwrap();
    for rev in [
        "",
        "-x",
        "--all",
        "main..HEAD",
        "HEAD@{1}",
        ":/change",
        "HEAD^{/change}",
        "HEAD:a.yaml",
        "a b",
        "a\nb",
        &"x".repeat(600),
    ] {
        assert!(matches!(mirror.resolve(rev), Err(SourceError::Ref { .. })), "{rev:?}");
    }
    for rev in ["main~1", "HEAD^", "origin/main~", "refs/heads/main~1", first.as_str(), &first.as_str()[..9]] {
        assert_eq!(mirror.resolve(rev).unwrap(), first, "{rev}");
    }
    assert!(matches!(mirror.resolve("other"), Err(SourceError::NotFound { .. })));
}

// ---- fetching -----------------------------------------------------------------------------------------------------

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

// ---- mending ------------------------------------------------------------------------------------------------------

#[test]
fn leftovers_of_an_aborted_fetch_mend() {
    let bench = Bench::new();
    bench.push("a.yaml", "1");
    bench.mirror("main").fetch().unwrap();
    let git_dir = bench.path().join("mirror/git");
    let leftovers = [
        "shallow.lock",
        "packed-refs.lock",
        "config.lock",
        "HEAD.lock",
        "refs/tidegate/head.lock",
        "gc.pid",
        "objects/pack/tmp_pack_aB3dEf",
        "objects/pack/tmp_idx_x",
        "objects/tmp_obj_x",
        "objects/ab/tmp_obj_y",
        "objects/tmp_objdir-incoming-x/pack/y",
    ];
    for name in leftovers {
        let path = git_dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    fs::create_dir_all(bench.path().join("mirror/git.new/objects")).unwrap();
    let second = bench.push("a.yaml", "2");
    let mirror = bench.mirror("main");
    for name in leftovers {
        assert!(!git_dir.join(name).exists(), "{name}");
    }
    assert!(!bench.path().join("mirror/git.new").exists());
    assert_eq!(mirror.fetch().unwrap().commit, second);
}

#[test]
fn a_damaged_mirror_mends() {
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 9] = [
        ("HEAD is rubbish", |dir| fs::write(dir.join("HEAD"), [0xff, 0, 1]).unwrap()),
        ("no HEAD", |dir| fs::remove_file(dir.join("HEAD")).unwrap()),
        ("no objects", |dir| fs::remove_dir_all(dir.join("objects")).unwrap()),
        ("no refs", |dir| fs::remove_dir_all(dir.join("refs")).unwrap()),
        ("the ref is cut", |dir| fs::write(dir.join("refs/tidegate/head"), "").unwrap()),
        ("the ref names nothing", |dir| fs::write(dir.join("refs/tidegate/head"), "1".repeat(40)).unwrap()),
        ("the config runs programs", |dir| {
            fs::write(dir.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tsshCommand = id\n")
                .unwrap();
        }),
        ("objects are empty", |dir| {
            for file in files_below(&dir.join("objects")) {
                fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(file, "").unwrap();
            }
        }),
        ("the mirror is a file", |dir| {
            fs::remove_dir_all(dir).unwrap();
            fs::write(dir, "x").unwrap();
        }),
    ];
    for (name, damage) in damages {
        let bench = Bench::new();
        bench.push("a.yaml", "1");
        let head = bench.push("b.yaml", "2");
        bench.mirror("main").fetch().unwrap();
        damage(&bench.path().join("mirror/git"));
        let mirror = bench.mirror("main");
        assert_eq!(mirror.fetch().unwrap_or_else(|error| panic!("{name}: {error}")).commit, head, "{name}");
        assert_eq!(paths(&mirror.read_specs(&head).unwrap()), ["a.yaml", "b.yaml"], "{name}");
        let left: Vec<_> = fs::read_dir(bench.path().join("mirror")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{name}: {left:?}");
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn damage_found_while_reading_mends_with_the_next_fetch() {
    let bench = Bench::new();
    let head = bench.push("a.yaml", "some text that is long enough to be damaged");
    let mirror = bench.mirror("main");
    mirror.fetch().unwrap();
    damage(&bench.objects(), |bytes| {
        let end = bytes.len() - 20;
        bytes[12..end].iter_mut().for_each(|byte| *byte ^= 0x55);
    });
    assert!(matches!(mirror.read_specs(&head), Err(SourceError::Corrupt { .. })), "{:?}", mirror.read_specs(&head));
    assert_eq!(mirror.fetch().unwrap().commit, head);
    assert!(mirror.read_specs(&head).is_ok());
    // Damage that hides all objects.
    let second = bench.push("a.yaml", "another text");
    mirror.fetch().unwrap();
    damage(&bench.objects(), Vec::clear);
    assert_eq!(mirror.fetch().unwrap().commit, second);
    assert!(mirror.read_specs(&second).is_ok());
}

/// Changes the bytes of every pack.
fn damage(objects: &Path, change: impl Fn(&mut Vec<u8>)) {
    for file in files_below(objects).into_iter().filter(|file| file.extension().is_some_and(|end| end == "pack")) {
        let mut bytes = fs::read(&file).unwrap();
        change(&mut bytes);
        // A new file: the old may be mapped.
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_mirror_has_one_owner_and_one_repository() {
    let bench = Bench::new();
    let head = bench.push("a.yaml", "1");
    let mirror = bench.mirror("main");
    mirror.fetch().unwrap();
    assert!(matches!(Mirror::open(bench.path().join("mirror"), bench.spec("main")), Err(SourceError::Locked { .. })));
    drop(mirror);
    assert_eq!(bench.mirror("main").head().unwrap(), Some(head));
    let other = Bench::new();
    other.push("b.yaml", "1");
    let mirror = Mirror::open(bench.path().join("mirror"), other.spec("main")).unwrap();
    assert_eq!(mirror.head().unwrap(), None, "what another repository left is not ours");
    assert!(mirror.fetch().unwrap().moved());
}

// ---- hostile repositories -----------------------------------------------------------------------------------------

#[test]
fn hostile_names_never_become_paths() {
    let bench = Bench::new();
    bench.push("a.yaml", "1");
    let repo = bench.origin();
    let blob = raw_blob(&repo, "kind: queue");
    let inner = raw_tree(&repo, &[("100644", b"inner.yaml", &blob)]);
    let gitlink = "1111111111111111111111111111111111111111";
    let long = [b'x'; 260];
    let commit = raw_commit(
        &repo,
        &[
            ("40000", b"..", &inner),
            ("40000", b".GIT", &inner),
            ("40000", b".git", &inner),
            ("40000", b"GIT~1", &inner),
            ("40000", b"a/b", &inner),
            ("100644", b"back\\slash.yaml", &blob),
            ("100644", b"bell\x07.yaml", &blob),
            ("100644", b"caf\xe9.bin", &blob),
            ("100644", b"caf\xe9.yaml", &blob),
            ("40000", &long, &inner),
            ("120000", b"link.yaml", &blob),
            ("160000", b"module", gitlink),
            ("100644", b"plain.yaml", &blob),
            ("40000", b"projects", &raw_tree(&repo, &[("160000", b"p", gitlink), ("120000", b"q", &blob)])),
        ],
    );
    let set = read_revision(&repo, &commit).unwrap();
    let bad = set.files.iter().filter(|file| file.content == FileContent::BadName).map(|file| file.path.clone());
    let mut bad: Vec<String> = bad.collect();
    bad.retain(|path| !path.starts_with("xxx"));
    assert_eq!(bad, ["..", ".GIT", ".git", "GIT~1", "a/b", "back\\\\slash.yaml", "bell\\x07.yaml", "caf\\xe9.yaml"]);
    assert_eq!(set.files.iter().filter(|file| file.content == FileContent::BadName).count(), 9);
    assert_eq!(content(&set, "link.yaml"), &FileContent::Symlink);
    assert_eq!(content(&set, "projects/p"), &FileContent::Submodule);
    assert_eq!(content(&set, "projects/q"), &FileContent::Symlink);
    assert_eq!(content(&set, "plain.yaml"), &FileContent::Text(b"kind: queue".into()));
    assert_eq!(tree_paths(&set), ["link.yaml", "module", "plain.yaml", "projects/p", "projects/q"]);

    // Over the wire such a tree does not even arrive, and the last head stays.
    let mirror = bench.mirror("main");
    let head = mirror.fetch().unwrap().commit;
    git(&repo, &["update-ref", "refs/heads/main", &commit]);
    assert!(mirror.fetch().is_err());
    assert_eq!(mirror.head().unwrap(), Some(head));
}

#[test]
fn a_tree_with_a_name_twice_is_refused() {
    let bench = Bench::new();
    let repo = bench.origin();
    let (one, two) = (raw_blob(&repo, "a: 1"), raw_blob(&repo, "a: 2"));
    let commit = raw_commit(&repo, &[("100644", b"a.yaml", &one), ("100644", b"a.yaml", &two)]);
    assert!(matches!(read_revision(&repo, &commit), Err(SourceError::BadTree { .. })));
    let tree = raw_tree(&repo, &[("100644", b"a.yaml", &two)]);
    let commit = raw_commit(&repo, &[("100644", b"a.yaml", &one), ("40000", b"a.yaml", &tree)]);
    assert!(matches!(read_revision(&repo, &commit), Err(SourceError::BadTree { .. })));
    let commit = raw_commit(&repo, &[("100644", b"a.yaml", &tree)]);
    assert!(matches!(read_revision(&repo, &commit), Err(SourceError::BadTree { .. })), "a tree that says it is a file");
}

#[test]
fn a_bomb_of_nested_trees_is_refused_quickly() {
    let bench = Bench::new();
    let repo = bench.origin();
    let blob = raw_blob(&repo, "x");
    let names: Vec<String> = (0..10).map(|i| format!("d{i}")).collect();
    let mut tree =
        raw_tree(&repo, &names.iter().map(|name| ("100644", name.as_bytes(), blob.as_str())).collect::<Vec<_>>());
    for _ in 0..9 {
        let entries: Vec<_> = names.iter().map(|name| ("40000", name.as_bytes(), tree.as_str())).collect();
        tree = raw_tree(&repo, &entries);
    }
    let commit = git(&repo, &["commit-tree", "-m", "10^10 files", &tree]);
    let started = Instant::now();
    assert!(matches!(read_revision(&repo, &commit), Err(SourceError::TooLarge { .. })));
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_is_no_text_is_said_by_its_kind() {
    let bench = Bench::new();
    bench.write("big.yaml", &"# filler\n".repeat(120_000));
    bench.write("lfs.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n");
    bench.write("projects/p/workflows/a.json", "{}");
    bench.write("data.json", "{}");
    std::os::unix::fs::symlink("/etc/passwd", bench.work().join("link.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc", bench.work().join("queues")).unwrap();
    std::os::unix::fs::symlink("/etc", bench.work().join("elsewhere")).unwrap();
    let head = bench.commit_and_push("kinds");
    let mirror = bench.mirror("main");
    mirror.fetch().unwrap();
    let set = mirror.read_specs(&head).unwrap();
    let worktree = read_worktree(&bench.work()).unwrap();
    for set in [&set, &worktree] {
        assert_eq!(paths(set), ["big.yaml", "lfs.yaml", "link.yaml", "projects/p/workflows/a.json", "queues"]);
        assert_eq!(content(set, "big.yaml"), &FileContent::TooLarge { bytes: 1_080_000 });
        assert_eq!(content(set, "lfs.yaml"), &FileContent::LfsPointer);
        assert_eq!(content(set, "link.yaml"), &FileContent::Symlink);
        assert_eq!(content(set, "queues"), &FileContent::Symlink);
    }
    assert_eq!(set.tree, worktree.tree);

    let tree = mirror.files(&head, |path| path.starts_with('l') || path == "data.json").unwrap();
    let seen: Vec<_> = tree.iter().map(|entry| (entry.path.as_str(), entry.mode, entry.size)).collect();
    assert_eq!(
        seen,
        [
            ("data.json", EntryMode::Regular, 2),
            ("lfs.yaml", EntryMode::Regular, 65),
            ("link.yaml", EntryMode::Symlink, 11)
        ]
    );
    assert_eq!(mirror.read_blob(&tree[0].oid).unwrap(), b"{}");
    assert_eq!(mirror.read_blob(&tree[2].oid).unwrap(), b"/etc/passwd");
    for absent in ["", "-x", "1111111111111111111111111111111111111111", head.as_str()] {
        assert!(matches!(mirror.read_blob(absent), Err(SourceError::NotFound { .. })), "{absent}");
    }
}

#[test]
fn a_repository_can_make_us_run_nothing() {
    let bench = Bench::new();
    let marks = bench.path().join("marks");
    fs::create_dir(&marks).unwrap();
    let trap = bench.script("trap", &format!("touch '{}'/$(basename \"$0\")-$$\nexit 0", marks.display()));
    bench.push("a.yaml", "1");
    let trap_name = trap.to_str().unwrap();
    for repo in [bench.origin(), bench.work().join(".git")] {
        for hook in [
            "post-checkout",
            "reference-transaction",
            "post-update",
            "pre-auto-gc",
            "fsmonitor-watchman",
            "post-index-change",
        ] {
            fs::copy(&trap, repo.join("hooks").join(hook)).unwrap();
        }
        for (key, value) in [
            ("core.fsmonitor", trap_name),
            ("core.sshCommand", trap_name),
            ("core.alternateRefsCommand", trap_name),
            ("core.pager", trap_name),
            ("core.askPass", trap_name),
            ("credential.helper", trap_name),
            ("uploadpack.packObjectsHook", trap_name),
            ("filter.evil.smudge", trap_name),
            ("filter.evil.clean", trap_name),
            ("diff.external", trap_name),
            ("remote.origin.uploadpack", trap_name),
            (&format!("url.ext::{trap_name} .insteadOf"), "/"),
        ] {
            git(&bench.path().join("work"), &["config", "--file", repo.join("config").to_str().unwrap(), key, value]);
        }
    }
    bench.write(".gitattributes", "* filter=evil\n");
    bench.write("a.yaml", "22");
    read_worktree(&bench.work()).unwrap();
    head_of(&bench.work()).unwrap();
    for repo in [bench.origin(), bench.work()] {
        let url = RepoUrl::parse(repo.to_str().unwrap()).unwrap();
        let mirror = Mirror::open(
            bench.path().join(format!("mirror-{}", repo.file_name().unwrap().display())),
            SourceSpec { url, reference: Ref::parse("main").unwrap() },
        );
        let mirror = mirror.unwrap();
        let commit = mirror.fetch().unwrap().commit;
        mirror.read_specs(&commit).unwrap();
        read_revision(&repo, "main").unwrap();
    }
    let ran: Vec<_> = fs::read_dir(&marks).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(ran.is_empty(), "{ran:?}");
    // The traps do work.
    assert!(Command::new(&trap).status().unwrap().success() && fs::read_dir(&marks).unwrap().count() == 1);
}

// ---- limits and secrets of the git program ------------------------------------------------------------------------

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

// ---- working trees ------------------------------------------------------------------------------------------------

#[test]
fn a_working_tree_is_read_with_its_changes_and_without_what_is_ignored() {
    let bench = Bench::new();
    bench.write(".gitignore", "ignored/\n*.tmp.yaml\n");
    bench.write("a.yaml", "a: 1");
    bench.write("b.yaml", "b: 1");
    bench.write("gone.yaml", "x");
    let head = bench.push("models/m.bin", "1");
    bench.write("a.yaml", "a: 2");
    bench.write("new/c.yaml", "c: 1");
    bench.write("staged.yaml", "s: 1");
    git(&bench.work(), &["add", "staged.yaml"]);
    bench.write("ignored/x.yaml", "x");
    bench.write("y.tmp.yaml", "y");
    bench.write(".tidegate/state.yaml", "z");
    fs::remove_file(bench.work().join("gone.yaml")).unwrap();

    let set = read_worktree(&bench.work()).unwrap();
    assert_eq!(set.commit.as_str(), "worktree");
    assert_eq!(paths(&set), ["a.yaml", "b.yaml", "new/c.yaml", "staged.yaml"]);
    assert_eq!(content(&set, "a.yaml"), &FileContent::Text(b"a: 2".into()));
    assert_eq!(tree_paths(&set), [".gitignore", "a.yaml", "b.yaml", "models/m.bin", "new/c.yaml", "staged.yaml"]);
    for path in ["a.yaml", "models/m.bin"] {
        let id = git(&bench.work(), &["hash-object", path]);
        assert_eq!(set.tree.iter().find(|file| file.path == path).unwrap().id, id, "{path}");
    }
    assert_eq!(set, read_worktree(&bench.work()).unwrap(), "the same files give the same set");

    let state = head_of(&bench.work()).unwrap().unwrap();
    assert_eq!((state.commit, state.branch.as_deref()), (Some(head), Some("main")));
    assert_eq!(state.dirty, [".tidegate/state.yaml", "a.yaml", "gone.yaml", "new/c.yaml", "staged.yaml"]);

    // A folder of the working tree stands for itself, also when it is ignored.
    let part = read_worktree(&bench.work().join("new")).unwrap();
    assert_eq!((paths(&part), tree_paths(&part)), (vec!["c.yaml"], vec!["c.yaml"]));
    assert_eq!(paths(&read_worktree(&bench.work().join("ignored")).unwrap()), ["x.yaml"]);
}

#[test]
fn a_directory_without_git_is_read_without_following_links() {
    let dir = tempfile::tempdir().unwrap();
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("secret.yaml"), "password").unwrap();
    for (path, text) in
        [("a.yaml", "a: 1"), ("d/b.yml", "b: 1"), ("target/t.yaml", "t"), (".tidegate/s.yaml", "s"), ("d/x.txt", "x")]
    {
        let full = dir.path().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
    }
    std::os::unix::fs::symlink(secret.path(), dir.path().join("agents")).unwrap();
    std::os::unix::fs::symlink(secret.path().join("secret.yaml"), dir.path().join("link.yaml")).unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("d/loop")).unwrap();
    fs::write(dir.path().join("bell\u{7}.yaml"), "x").unwrap();
    let set = read_worktree(dir.path()).unwrap();
    assert_eq!(paths(&set), ["a.yaml", "agents", "bell\\x07.yaml", "d/b.yml", "link.yaml"]);
    assert_eq!(content(&set, "agents"), &FileContent::Symlink);
    assert_eq!(content(&set, "bell\\x07.yaml"), &FileContent::BadName);
    assert!(!format!("{set:?}").contains("password"));
    assert_eq!(tree_paths(&set), ["a.yaml", "agents", "d/b.yml", "d/loop", "d/x.txt", "link.yaml"]);
    assert_eq!(head_of(dir.path()).unwrap(), None);
    assert!(matches!(read_worktree(&dir.path().join("absent")), Err(SourceError::Io { .. })));
}

#[test]
fn a_revision_is_read_from_any_local_repository() {
    let bench = Bench::new();
    let first = bench.push("a.yaml", "1");
    bench.push("a.yaml", "2");
    git(&bench.work(), &["fetch", "-q", "origin"]);
    git(&bench.work(), &["checkout", "-q", "--detach"]);
    git(&bench.work(), &["branch", "-q", "-D", "main"]);
    assert_eq!(
        read_revision(&bench.work(), "main~1").unwrap().commit,
        first,
        "a checkout of CI has `origin/main` only"
    );
    assert_eq!(read_revision(&bench.origin(), first.as_str()).unwrap().commit, first);
    assert!(matches!(read_revision(&bench.origin(), "absent"), Err(SourceError::NotFound { .. })));
    assert!(matches!(read_revision(&bench.origin(), "--help"), Err(SourceError::Ref { .. })));
    assert!(matches!(read_revision(&bench.path().join("absent"), "main"), Err(SourceError::NotFound { .. })));
}

// ---- watching -----------------------------------------------------------------------------------------------------

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
