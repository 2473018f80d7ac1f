//! `dunlin backup`, `dunlin restore` and `dunlin inspect` as their user meets them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dunlin::store::{Record, Snapshot};
use dunlin::{Server, StoreHandle};
use serde_json::{Value, json};
use tempfile::TempDir;

fn dunlin(arguments: &[&str]) -> (Option<i32>, String, String) {
    common::run(&[], arguments)
}

async fn server(data: &Path) -> Server {
    Server::builder().data_dir(data).port(0).bind().await.unwrap()
}

async fn fill(store: &StoreHandle) {
    let schema = json!({"id": {"type": "string"}, "n": {"type": "number", "generated": "autoincrement"}});
    store.define_bucket("points", json!({"key": "id", "schema": schema})).await.unwrap();
    store.define_query("all", json!({"bucket": "points"})).await.unwrap();
    for n in 0..100 {
        store.insert("points", json!({"id": format!("p{n}")})).await.unwrap();
    }
}

fn lines(state: &Snapshot) -> Vec<String> {
    state.bucket("points").unwrap().iter().map(Record::json).map(str::to_owned).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A data directory with some records, and a backup of it.
async fn backed_up() -> (TempDir, PathBuf, PathBuf) {
    let dir = TempDir::new().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("saved"));
    let running = server(&data).await;
    fill(&running.store()).await;
    running.stop(Duration::ZERO).await.unwrap();
    let saved = dunlin(&["backup", "--data-dir", text(&data), "--out", text(&file)]);
    assert_eq!(saved.0, Some(0), "{}", saved.2);
    (dir, data, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_writing_server_is_restored_as_another_history() {
    let dir = TempDir::new().unwrap();
    let (from, to, file) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("saved"));
    let missing = dunlin(&["backup", "--data-dir", text(&from), "--out", text(&file)]);
    assert_eq!(missing.0, Some(1));
    assert!(missing.2.contains("there are no data"), "{}", missing.2);
    assert!(!from.exists() && !file.exists(), "nothing is made by looking");

    let running = server(&from).await;
    fill(&running.store()).await;
    let before = running.store().snapshot();
    let enough = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, enough) = (running.store(), Arc::clone(&enough));
        async move {
            let mut n = 100;
            while !enough.load(Ordering::Relaxed) {
                store.insert("points", json!({"id": format!("p{n}")})).await.unwrap();
                n += 1;
            }
        }
    });
    let arguments =
        ["backup", "--data-dir", text(&from), "--out", text(&file), "--progress"].map(str::to_owned);
    let saved = tokio::task::spawn_blocking(move || dunlin(&arguments.each_ref().map(String::as_str)));
    let saved = saved.await.unwrap();
    enough.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    assert_eq!(saved.0, Some(0), "{}", saved.2);
    assert!(saved.1.starts_with(&format!("wrote {}: position ", file.display())), "{}", saved.1);
    assert!(saved.2.contains(" records, "), "{}", saved.2);
    let after = running.store().snapshot();
    running.stop(Duration::ZERO).await.unwrap();

    let restored = dunlin(&["restore", text(&file), "--data-dir", text(&to)]);
    assert_eq!(restored.0, Some(0), "{}", restored.2);
    let running = server(&to).await;
    let there = running.store().snapshot();
    assert_ne!(there.epoch(), before.epoch());
    assert!((before.position()..=after.position()).contains(&there.position()));
    let (first, all) = (lines(&there), lines(&after));
    assert!(first.len() >= lines(&before).len());
    assert_eq!(first, all[..first.len()], "one moment of it, whole");
    assert!(there.query("all").is_ok());
    let next = running.store().insert("points", json!({"id": "next"})).await.unwrap();
    assert_eq!(next.to_value()["n"], json!(first.len() + 1), "the counter goes on");
    running.stop(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_backup_of_a_stopped_server_has_its_position() {
    let (dir, data, file) = backed_up().await;
    let to = dir.path().join("to");
    assert_eq!(dunlin(&["restore", text(&file), "--data-dir", text(&to)]).0, Some(0));
    let (from, to) = (server(&data).await, server(&to).await);
    let (before, after) = (from.store().snapshot(), to.store().snapshot());
    assert_eq!((after.position(), lines(&after)), (before.position(), lines(&before)));
    assert_ne!(after.epoch(), before.epoch());
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let (dir, data, file) = backed_up().await;
    let again = dunlin(&["backup", "--data-dir", text(&data), "--out", text(&file)]);
    assert_eq!(again.0, Some(1));
    assert!(again.2.contains("exists already and is left as it is"), "{}", again.2);

    let into_data = dunlin(&["restore", text(&file), "--data-dir", text(&data)]);
    assert_eq!(into_data.0, Some(1));
    assert!(into_data.2.contains("is not empty"), "{}", into_data.2);
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("notes"), "mine").unwrap();
    let into_other = dunlin(&["restore", text(&file), "--data-dir", text(&other)]);
    let told = format!(
        "dunlin: {} is not empty (notes); a backup is restored into an empty or a new directory\n",
        other.display()
    );
    assert_eq!((into_other.0, into_other.2), (Some(1), told));
    let memory = dunlin(&["restore", text(&file), "--memory"]);
    assert_eq!(memory.0, Some(1));
    assert!(memory.2.contains("data in memory"), "{}", memory.2);
}

#[tokio::test]
async fn a_damaged_or_newer_backup_is_refused_with_the_place() {
    let (dir, _, file) = backed_up().await;
    let to = dir.path().join("to");
    let whole = fs::read(&file).unwrap();
    let restore = || dunlin(&["restore", text(&file), "--data-dir", text(&to)]);

    let mut bytes = whole.clone();
    bytes[2_000..2_100].fill(b'x');
    fs::write(&file, &bytes).unwrap();
    let damaged = restore();
    assert_eq!(damaged.0, Some(1));
    let place = format!("dunlin: the backup is damaged at {}, byte ", file.display());
    assert!(damaged.2.starts_with(&place) && damaged.2.contains("checksum"), "{}", damaged.2);
    let inspected = dunlin(&["inspect", text(&file)]);
    assert_eq!(inspected.0, Some(1));
    assert!(inspected.1.contains("(not mendable)"), "{}", inspected.1);

    fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    assert_eq!(restore().0, Some(1));
    assert!(!to.exists(), "nothing is made of it");

    // One byte is mended, and told.
    let mut bytes = whole;
    bytes[2_000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mended = restore();
    assert_eq!(mended.0, Some(0));
    assert!(mended.2.contains("1 damaged bytes"), "{}", mended.2);
    assert_eq!(dunlin(&["inspect", "--data-dir", text(&to)]).0, Some(0));

    fs::write(to.join("FORMAT"), "dunlin data, format 3\n").unwrap();
    let newer = dunlin(&["backup", "--data-dir", text(&to), "--out", text(&dir.path().join("x"))]);
    assert_eq!(newer.0, Some(1));
    assert!(newer.2.contains("have format 3, this dunlin reads 2"), "{}", newer.2);
}

#[tokio::test]
async fn inspect_tells_people_and_programs() {
    let (dir, data, file) = backed_up().await;
    let (code, told, errors) = dunlin(&["inspect", text(&data)]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(told.starts_with(&format!("Data directory {}\n  format    2\n", data.display())), "{told}");
    assert!(
        told.ends_with("Buckets, 1; queries, 1\n  points  100 records\nIt can be read whole.\n"),
        "{told}"
    );

    let running = server(&data).await;
    let beside = dunlin(&["inspect", "--data-dir", text(&data), "--json"]);
    running.stop(Duration::ZERO).await.unwrap();
    assert_eq!(beside.0, Some(0), "{}", beside.2);
    let told: Value = serde_json::from_str(&beside.1).unwrap();
    assert_eq!((&told["kind"], &told["position"]), (&json!("directory"), &json!(102)));
    assert_eq!(told["buckets"], json!([{"name": "points", "records": 100}]));
    assert_eq!(told["problem"], Value::Null);

    let (code, told, _) = dunlin(&["inspect", text(&file), "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["kind"], &told["position"]), (Some(0), &json!("backup"), &json!(102)));

    let nothing = dunlin(&["inspect", text(&dir.path().join("nowhere"))]);
    assert_eq!(nothing.0, Some(1));
    assert_eq!(dunlin(&["inspect", text(dir.path())]).0, Some(1), "a directory of something else");
}
