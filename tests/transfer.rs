//! `dunlin export` and `dunlin import` as their user meets them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use dunlin::store::{Bucket, Record};
use dunlin::{Server, StoreHandle};
use serde_json::json;
use tempfile::TempDir;

fn dunlin(arguments: &[&str]) -> (Option<i32>, String, String) {
    common::run(&[], arguments)
}

async fn server(data: &Path) -> Server {
    Server::builder().data_dir(data).port(0).bind().await.unwrap()
}

/// Two buckets with definitions that refer to one another, a query, and records of every kind of content.
async fn fill(store: &StoreHandle) {
    let id = json!({"type": "string"});
    let users = json!({"key": "id", "schema": {"id": id, "n": {"type": "number", "generated": "autoincrement"},
        "boss": {"type": "string", "ref": "users"}, "team": {"type": "string", "ref": "Teams/1"}}, "indexes": ["boss"]});
    let teams = json!({"key": "id", "schema": {"id": id, "lead": {"type": "string", "ref": "users"}}});
    store.define_bucket("users", users).await.unwrap();
    store.define_bucket("Teams/1", teams).await.unwrap();
    store.define_query("bosses", json!({"bucket": "users", "filter": {"boss": null}})).await.unwrap();
    store
        .insert("users", json!({"id": "a", "text": "ü \"quoted\"\n\u{1F600}", "deep": {"x": [1, 2.5, null]}}))
        .await
        .unwrap();
    store.insert("Teams/1", json!({"id": "t", "lead": "a"})).await.unwrap();
    store.insert("users", json!({"id": "b", "boss": "a", "team": "t"})).await.unwrap();
    store.update("users", json!("a"), json!({"team": "t"})).await.unwrap();
}

fn lines(bucket: &Bucket) -> Vec<String> {
    bucket.iter().map(Record::json).map(str::to_owned).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn what_is_exported_is_imported_as_it_was() {
    let dir = TempDir::new().unwrap();
    let (from, to, out) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("out"));
    let missing = dunlin(&["export", "--data-dir", text(&from), "--out", text(&out)]);
    assert_eq!(missing.0, Some(1));
    assert!(missing.2.contains("there are no data"), "{}", missing.2);
    assert!(!from.exists() && !out.exists(), "nothing is made by looking");
    let running = server(&from).await;
    fill(&running.store()).await;
    let before = running.store().snapshot();

    let busy = dunlin(&["export", "--data-dir", text(&from), "--out", text(&out)]);
    assert_eq!(busy.0, Some(1));
    assert!(busy.2.contains("in use"), "{}", busy.2);
    running.stop(Duration::ZERO).await.unwrap();

    let exported = dunlin(&["export", "--data-dir", text(&from), "--out", text(&out)]);
    assert_eq!((exported.0, exported.2.as_str()), (Some(0), "users: 2 records\nTeams/1: 1 records\n"));
    let users = fs::read_to_string(out.join("users.jsonl")).unwrap();
    assert_eq!(users.lines().map(str::to_owned).collect::<Vec<_>>(), lines(before.bucket("users").unwrap()));
    let again = dunlin(&["export", "--data-dir", text(&from), "--out", text(&out)]);
    assert_eq!(again.0, Some(1));
    assert!(again.2.contains("is not empty"), "{}", again.2);
    let alone = dunlin(&["export", "--data-dir", text(&from), "--out", "-", "--bucket", "users"]);
    assert_eq!((alone.0, alone.1), (Some(0), users));

    let imported = dunlin(&["import", text(&out), "--data-dir", text(&to)]);
    assert_eq!(imported.0, Some(0), "{}", imported.2);
    let running = server(&to).await;
    let after = running.store().snapshot();
    for name in ["users", "Teams/1"] {
        assert_eq!(lines(after.bucket(name).unwrap()), lines(before.bucket(name).unwrap()));
        assert_eq!(after.bucket(name).unwrap().config(), before.bucket(name).unwrap().config());
    }
    assert!(after.query("bosses").is_ok());
    let next = running.store().insert("users", json!({"id": "c"})).await.unwrap();
    assert_eq!(next.to_value()["n"], json!(3), "the counter goes on behind what was imported");
    running.stop(Duration::ZERO).await.unwrap();

    let twice = dunlin(&["import", text(&out), "--data-dir", text(&to)]);
    assert_eq!(twice.0, Some(1));
    assert!(twice.2.contains("already exists"), "{}", twice.2);
    let replaced = dunlin(&["import", text(&out), "--data-dir", text(&to), "--replace"]);
    assert_eq!(replaced.0, Some(0), "{}", replaced.2);
    let running = server(&to).await;
    assert_eq!(
        lines(running.store().snapshot().bucket("users").unwrap()),
        lines(before.bucket("users").unwrap())
    );
    running.stop(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn one_bad_line_refuses_its_bucket_and_is_named() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let running = server(&data).await;
    let schema = json!({"id": {"type": "string"}, "n": {"type": "number", "unique": true}});
    running.store().define_bucket("points", json!({"key": "id", "schema": schema})).await.unwrap();
    running.store().insert("points", json!({"id": "old", "n": 0})).await.unwrap();
    running.stop(Duration::ZERO).await.unwrap();

    for (bad, told) in [
        (
            r#"{"id":"c","n":"x"}"#,
            "Record 3 for bucket \"points\" was refused, and nothing was imported: Validation",
        ),
        (
            r#"{"id":"c","n":1}"#,
            "Record 3 for bucket \"points\" was refused, and nothing was imported: Unique",
        ),
        (r#"{"id":"old","n":9}"#, "already exists"),
        (
            "{\"id\":\"c\"",
            "Record 3 for bucket \"points\" was refused, and nothing was imported: Validation failed",
        ),
        ("[1]", "not one JSON object on a line"),
        ("{\"n\":5}", "Field is required"),
    ] {
        let file = dir.path().join("points.jsonl");
        fs::write(
            &file,
            format!("{{\"id\":\"a\",\"n\":1}}\n\n{{\"id\":\"b\",\"n\":2}}\n{bad}\n{{\"id\":\"d\",\"n\":4}}"),
        )
        .unwrap();
        let refused = dunlin(&["import", text(&file), "--bucket", "points", "--data-dir", text(&data)]);
        assert_eq!(refused.0, Some(1), "{bad}");
        assert!(refused.2.contains(told), "{bad}: {}", refused.2);
    }
    let file = dir.path().join("points.jsonl");
    fs::write(&file, "{\"id\":\"a\",\"_version\":4,\"_createdAt\":7}\n").unwrap();
    assert_eq!(dunlin(&["import", text(&file), "--bucket", "points", "--data-dir", text(&data)]).0, Some(0));
    assert_eq!(dunlin(&["import", text(&file), "--bucket", "nobody", "--data-dir", text(&data)]).0, Some(1));

    let running = server(&data).await;
    let snapshot = running.store().snapshot();
    let points = snapshot.bucket("points").unwrap();
    assert_eq!(points.len(), 2);
    let a = points.get(&json!("a")).unwrap();
    assert_eq!((a.version(), a.created_at()), (4, 7));
    running.stop(Duration::ZERO).await.unwrap();
}
