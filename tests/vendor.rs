//! `vendor`: copies of what URLs name, with their digests, through the program itself.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

const COMPONENT: &str = "version: 1.1\nkind: component\nrun: {kind: job, container: {command: [\"true\"]}}\n";

/// A server of one text, which may change; returns its address.
fn serve(text: Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = text.lock().unwrap().clone();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    address
}

fn tidegate(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(args).current_dir(dir).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_copy_is_kept_with_its_digest_and_a_change_of_it_is_seen() {
    let text = Arc::new(Mutex::new(COMPONENT.to_owned()));
    let url = format!("{}/parts/train.yaml", serve(Arc::clone(&text)));
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
        std::fs::write(at.join(path), text).unwrap();
    };
    write("tidegate.yaml", "version: 1.1\nkind: organization\nname: acme\n");
    write("agents/here.yaml", "version: 1.1\nkind: agent\nname: here\nlocal: {}\n");
    write("projects/p/workflows/train.yaml", &format!("version: 1.1\nkind: operation\nurlRef: {url}\n"));
    let (code, said) = tidegate(at, &["validate"]);
    assert!(code == 3 && said.contains("TG0213"), "{said}");

    let (code, said) = tidegate(at, &["vendor", &url]);
    assert!(code == 0 && said.contains("new"), "{said}");
    let sums = std::fs::read_to_string(at.join("refs/SHA256SUMS")).unwrap();
    let (digest, name) = sums.trim_end().split_once("  ").unwrap();
    assert_eq!(digest.len(), 64);
    assert!(name.starts_with("url/127.0.0.1_") && name.ends_with("/parts/train.yaml"), "{name}");
    assert_eq!(std::fs::read_to_string(at.join("refs").join(name)).unwrap(), COMPONENT);
    assert_eq!(tidegate(at, &["validate"]).0, 0);
    assert!(tidegate(at, &["vendor", &url]).1.contains("unchanged"));

    // Somebody edits the copy by hand.
    write(&format!("refs/{name}"), &COMPONENT.replace("true", "false"));
    let (code, said) = tidegate(at, &["validate"]);
    assert!(code == 3 && said.contains("TG0224"), "{said}");

    // What is no component, and what is too large, leave the copy as it is.
    *text.lock().unwrap() = "version: 1.1\nkind: component\nrun: {kind: jobs}\n".to_owned();
    assert_eq!(tidegate(at, &["vendor", &url]).0, 3);
    *text.lock().unwrap() = format!("{COMPONENT}# {}", "x".repeat(2 << 20));
    let (code, said) = tidegate(at, &["vendor", &url]);
    assert!(code == 1 && said.contains("larger than 1024 KiB"), "{said}");
    assert_eq!(std::fs::read_to_string(at.join("refs/SHA256SUMS")).unwrap(), sums);

    *text.lock().unwrap() = COMPONENT.replace("true", "sleep");
    assert!(tidegate(at, &["vendor", &url]).1.contains("changed"));
    assert_eq!(tidegate(at, &["validate"]).0, 0);
    assert_eq!(tidegate(at, &["vendor", "file:///etc/passwd"]).0, 1);
}
