//! `dunlin serve` on real file systems that are full or may not be written: a tmpfs and read-only mounts, each in a mount namespace
//! of the server alone, so that nothing is left of them. Where that is not allowed, a line says that it was skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use common::{Running, Socket, eventually, run};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What runs the rest of its arguments after `script`, which finds the directory as `$0`, in a mount namespace.
fn mounted<'a>(script: &'a str, dir: &'a str) -> [&'a str; 6] {
    ["unshare", "--mount", "sh", "-c", script, dir]
}

const TMPFS: &str = r#"mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@""#;
const READ_ONLY: &str = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;

/// Whether mounting is allowed; says so if it is not.
fn may_mount(script: &str) -> bool {
    let dir = TempDir::new().unwrap();
    let words = mounted(script, text(dir.path()));
    let done = Command::new(words[0]).args(&words[1..]).arg("true").output();
    let may = done.is_ok_and(|done| done.status.success());
    if !may {
        println!("skipped: this process may not mount anything");
    }
    may
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_is_outlived() {
    if !may_mount(TMPFS) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let before = mounted(TMPFS, text(dir.path()));
    let server = Running::start(&before, &["--port", "0", "--data-dir", text(&data)]);
    // The directory as the server sees it.
    let inside = format!("/proc/{}/root{}", server.child.id(), text(dir.path()));
    let filler = Path::new(&inside).join("filler");

    let mut socket = Socket::connect(server.address).await.unwrap();
    let mut last = 0;
    let mut call = async |request: Value| -> Value {
        last += 1;
        socket.call(last, request).await.expect("the server is there")
    };
    let config = json!({"key": "id", "schema": {"id": {"type": "number"}}});
    assert_eq!(
        call(json!({"type": "store.defineBucket", "name": "items", "config": config})).await["type"],
        "result"
    );
    let insert = |id: u64, size: usize| {
        let data = json!({"id": id, "text": "x".repeat(size)});
        json!({"type": "store.insert", "bucket": "items", "data": data})
    };
    let count = json!({"type": "store.count", "bucket": "items"});

    let mut file = File::create(&filler).unwrap();
    let full = (0..8192).find_map(|_| file.write_all(&[1; 8 * 1024]).err()).unwrap();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    // The space that was taken ahead lasts for some of these.
    let mut written = 0;
    let refused = loop {
        let answer = call(insert(written, 300 * 1024)).await;
        if answer["type"] == "error" {
            break answer;
        }
        written += 1;
        assert!(written < 100, "it is full");
    };
    assert_eq!(refused["details"], json!({"storage": "JOURNAL_DISK_FULL"}), "{refused}");
    eventually("the server is not ready", || server.get("/ready").starts_with("HTTP/1.1 503 "));
    assert!(server.get("/ready").contains("storage"));
    assert!(server.get("/health").starts_with("HTTP/1.1 200 "));
    assert_eq!(call(insert(1_000, 10)).await["code"], "INTERNAL_ERROR");
    assert_eq!(call(count.clone()).await["data"], written);

    fs::remove_file(&filler).unwrap();
    drop(file);
    eventually("the server is ready again", || server.get("/ready").starts_with("HTTP/1.1 200 "));
    assert_eq!(call(count.clone()).await["data"], written);
    assert_eq!(call(insert(1_000, 10)).await["type"], "result");
    // The mount goes with the process, so it is looked at while that lives.
    let data = format!("{inside}/data");
    let (code, found, _) = run(&[], &["inspect", "--data-dir", &data, "--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((code, &found["problem"]), (Some(0), &Value::Null), "{found}");
    assert_eq!(found["buckets"], json!([{"name": "items", "records": written + 1}]));
    assert_eq!(server.stop(), Some(0));
}

/// It ends with 1 and says what to do.
fn is_refused(before: &[&str], data: &Path) {
    let (code, out, message) = run(before, &["serve", "--port", "0", "--data-dir", text(data)]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{message}");
    assert!(message.starts_with("dunlin: no permission to "), "{message}");
    assert!(message.contains(text(data)) && message.contains("make it writable for the user"), "{message}");
}

#[test]
fn a_read_only_file_system_is_refused_at_the_start() {
    if !may_mount(READ_ONLY) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let before = mounted(READ_ONLY, text(dir.path()));
    is_refused(&before, &data);
    fs::create_dir(&data).unwrap();
    is_refused(&before, &data);
    Running::start(&[], &["--port", "0", "--data-dir", text(&data)]).stop();
    is_refused(&before, &data);
    // What needs no writing works.
    let (code, _, message) = run(&before, &["inspect", "--data-dir", text(&data)]);
    assert_eq!(code, Some(0), "{message}");
    assert_eq!(Running::start(&[], &["--port", "0", "--data-dir", text(&data)]).stop(), Some(0));
}

#[test]
fn a_directory_without_permission_is_refused_at_the_start() {
    let dir = TempDir::new().unwrap();
    let read_only = Permissions::from_mode(0o500);
    fs::set_permissions(dir.path(), read_only.clone()).unwrap();
    if File::create(dir.path().join("probe")).is_ok() {
        println!("skipped: the superuser may write anywhere");
        return;
    }
    is_refused(&[], &dir.path().join("data"));
    is_refused(&[], dir.path());
}
