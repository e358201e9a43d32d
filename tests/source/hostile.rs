//! Repositories that mean harm: names, bombs, what git could be made to run.

use crate::*;

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
