//! `server.backup` and `Server::backup`, over real sockets and real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use common::{Client, address, define_items, eventually, memory, memory_with};
use dunlin_journal::backup;
use dunlin_server::{BackupError, Server};
use dunlin_store::Record;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server in memory whose clients may ask for backups, and the directory of these.
async fn server() -> (Server, TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let backups = dir.path().join("deep/backups");
    let server =
        memory_with(|config| config.storage.backup_dir = Some(backups.clone())).bind().await.unwrap();
    define_items(&server).await;
    (server, dir, backups)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn lines(snapshot: &dunlin_store::Snapshot) -> Vec<String> {
    snapshot.bucket("items").unwrap().iter().map(Record::json).map(str::to_owned).collect()
}

fn insert(n: u64) -> Value {
    json!({"type": "store.insert", "bucket": "items", "data": {"id": format!("item-{n}"), "n": n}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_a_backup_that_can_be_restored() {
    let (server, dir, backups) = server().await;
    let mut client = Client::connect(address(&server)).await;
    for n in 0..50 {
        client.data(insert(n)).await;
    }
    let once =
        json!({"type": "store.insert", "bucket": "items", "idempotencyKey": "k1", "data": {"id": "once"}});
    client.data(once).await;
    let before = server.store().snapshot();
    let id = client.send(json!({"type": "server.backup"})).await;
    let answer = client.answer(id).await;
    let data = &answer["data"];
    let name = format!("backup-{}", before.position());
    let file = backups.join(&name);
    let expected = json!({"name": name, "file": file, "position": before.position(), "epoch": before.epoch(),
        "buckets": 1, "records": 51, "bytes": fs::metadata(&file).unwrap().len(), "durationMs": data["durationMs"]});
    assert_eq!(*data, expected);
    assert!(data["durationMs"].is_u64());
    let mut end = client.system().await;
    while end["records"] != end["total"] {
        end = client.system().await;
    }
    let expected = json!({"type": "system", "event": "backup_progress", "requestId": id, "records": 51, "total": 51,
        "bytes": data["bytes"]});
    assert_eq!(end, expected);

    let restored = dir.path().join("restored");
    backup::restore(&file, &restored, "another").unwrap();
    let after = dunlin_journal::read(&restored).unwrap();
    assert_eq!((after.position(), after.epoch()), (before.position(), "another"));
    assert_eq!(lines(&after), lines(&before));
    assert!(after.query("items-by-tag").is_ok());
    assert_eq!(after.answers().map(|answer| &*answer.key).collect::<Vec<_>>(), ["k1"]);

    assert_eq!(
        client.call(json!({"type": "server.backup"})).await["message"],
        format!("There is a backup \"{name}\" already; choose another name")
    );
    assert_eq!(client.code(json!({"type": "server.backup", "name": name})).await, "CONFLICT");
    let named = client.data(json!({"type": "server.backup", "name": "Monday_1.a-b"})).await;
    assert_eq!(named["file"], json!(backups.join("Monday_1.a-b")));
    assert_eq!(names(&backups), ["Monday_1.a-b", &name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_meanwhile_and_the_backup_is_of_one_moment() {
    let (server, _dir, backups) = server().await;
    let mut writer = Client::connect(address(&server)).await;
    let mut other = Client::connect(address(&server)).await;
    let transaction = |n: u64| {
        let step =
            |half: &str| json!({"op": "insert", "bucket": "items", "data": {"id": format!("{n}-{half}")}});
        json!({"type": "store.transaction", "operations": [step("a"), step("b")]})
    };
    for n in 0..20 {
        writer.data(transaction(n)).await;
    }
    let asked = other.send(json!({"type": "server.backup", "name": "now"})).await;
    for n in 20..40 {
        writer.data(transaction(n)).await;
    }
    let data = other.answer(asked).await["data"].clone();
    let summary = backup::verify(&backups.join("now")).unwrap();
    assert_eq!(json!(summary.position), data["position"]);
    assert!(summary.records >= 40 && summary.records.is_multiple_of(2), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_nowhere_else() {
    let (server, dir, backups) = server().await;
    let mut client = Client::connect(address(&server)).await;
    let long = "x".repeat(65);
    for name in
        ["", ".", "..", "../x", "a/b", "/tmp/x", "a\\b", ".hidden", "x.new", "ä", "a b", "a\0b", "~", &long]
    {
        let answer = client.call(json!({"type": "server.backup", "name": name})).await;
        assert_eq!(answer["code"], "VALIDATION_ERROR", "{name:?}: {answer}");
    }
    for name in [json!(1), json!({}), json!(["x"])] {
        assert_eq!(client.code(json!({"type": "server.backup", "name": name})).await, "VALIDATION_ERROR");
    }
    assert!(names(dir.path()).is_empty(), "not even the directory was made");
    client.data(json!({"type": "server.backup", "name": "x".repeat(64)})).await;
    client.data(json!({"type": "server.backup", "name": null})).await;
    assert_eq!(names(&backups).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_directory_there_are_none() {
    let server = memory().bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let answer = client.call(json!({"type": "server.backup"})).await;
    assert_eq!(answer["code"], "UNKNOWN_OPERATION");
    assert!(answer["message"].as_str().unwrap().contains("storage.backupDir"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_and_leaves_nothing() {
    let (server, dir, backups) = server().await;
    // A file stands where the directory should be.
    fs::write(dir.path().join("deep"), "").unwrap();
    let mut client = Client::connect(address(&server)).await;
    let answer = client.call(json!({"type": "server.backup"})).await;
    assert_eq!(answer["code"], "INTERNAL_ERROR");
    assert!(answer["message"].as_str().unwrap().starts_with("The backup failed: cannot create "), "{answer}");

    fs::remove_file(dir.path().join("deep")).unwrap();
    client.data(json!({"type": "server.backup", "name": "x"})).await;
    assert_eq!(names(&backups), ["x"]);
    let error = server.backup(dir.path().join("missing/y")).await.unwrap_err();
    assert_eq!(error.code(), "JOURNAL_IO");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_leaves_a_whole_file() {
    let (server, _dir, backups) = server().await;
    let mut client = Client::connect(address(&server)).await;
    client.data(insert(1)).await;
    client.send(json!({"type": "server.backup", "name": "left"})).await;
    eventually("it has begun", async || backups.exists() && !names(&backups).is_empty()).await;
    drop(client);
    eventually("it is whole", async || names(&backups) == ["left"]).await;
    assert_eq!(backup::verify(&backups.join("left")).unwrap().records, 1);
}

/// With one thread for everything that blocks, which is busy until the test says otherwise.
#[test]
fn one_backup_at_a_time() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (server, dir, backups) = server().await;
        let mut client = Client::connect(address(&server)).await;
        let (go_on, wait) = mpsc::channel::<()>();
        let blocker = tokio::task::spawn_blocking(move || wait.recv());
        let mut first = Box::pin(server.backup(dir.path().join("first")));
        assert!(futures_util::poll!(&mut first).is_pending());

        assert!(matches!(server.backup(dir.path().join("second")).await, Err(BackupError::Busy)));
        let answer = client.call(json!({"type": "server.backup"})).await;
        assert_eq!(answer["code"], "CONFLICT");
        assert_eq!(answer["message"], "A backup is being written already; wait for its end");
        // Everything else goes on, for the asking client too.
        client.data(insert(1)).await;

        go_on.send(()).unwrap();
        assert_eq!(first.await.unwrap().name, "first");
        blocker.await.unwrap().unwrap();
        client.data(json!({"type": "server.backup", "name": "third"})).await;
        assert_eq!(names(&backups), ["third"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_counted() {
    let (server, dir, _) = server().await;
    let out = dir.path().join("x");
    server.backup(&out).await.unwrap();
    server.backup(&out).await.unwrap_err();
    let metrics = common::http_get(address(&server), "/metrics").await;
    assert!(metrics.contains("dunlin_backups_total 1\n"), "{metrics}");
    assert!(metrics.contains("dunlin_backup_failures_total 1\n"), "{metrics}");
    let time =
        metrics.lines().find_map(|line| line.strip_prefix("dunlin_backup_last_success_timestamp_seconds "));
    assert!(time.unwrap().parse::<f64>().unwrap() > 1e9, "{metrics}");
}
