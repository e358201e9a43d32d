//! What may be named: addresses, refs and revisions.

use crate::*;

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
