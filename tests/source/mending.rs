//! A mirror that was damaged or left half done mends.

use crate::*;

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
