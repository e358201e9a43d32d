//! Files as they are on disk.

use crate::*;

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
