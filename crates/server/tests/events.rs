//! What an embedder hears of changes: all of them, in order, once they are durable, and nobody waits for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Client, PATIENCE, address, define_items, memory};
use dunlin_server::limits::EVENT_COMMITS;
use dunlin_server::{Event, EventKind, Events, Lagged, Removal, Server};
use serde_json::{Value, json};

async fn with_items() -> Server {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    server
}

async fn next(events: &mut Events) -> Result<Event, Lagged> {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("an event").expect("the server runs")
}

/// Topic, key and the number `n` of the record as it was and as it is.
async fn told(events: &mut Events) -> (String, Value, Value, Value) {
    let event = next(events).await.unwrap();
    let n = |record: &dunlin_store::Record| record.to_value()["n"].clone();
    let (before, after) = match &event.kind {
        EventKind::Inserted { record } => (Value::Null, n(record)),
        EventKind::Updated { before, after } => (n(before), n(after)),
        EventKind::Deleted { record, .. } => (n(record), Value::Null),
        other => panic!("{other:?}"),
    };
    (event.topic(), event.key, before, after)
}

fn item(
    kind: &str,
    key: &str,
    before: impl Into<Value>,
    after: impl Into<Value>,
) -> (String, Value, Value, Value) {
    (format!("bucket.items.{kind}"), json!(key), before.into(), after.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_in_order_whoever_made_it() {
    let server = with_items().await;
    let mut events = server.events("bucket.items.*");
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "a", "n": 1}})).await;
    client.data(json!({"type": "store.update", "bucket": "items", "key": "a", "data": {"n": 2}})).await;
    client.data(json!({"type": "store.delete", "bucket": "items", "key": "a"})).await;
    client.data(json!({"type": "store.delete", "bucket": "items", "key": "a"})).await;
    client.code(json!({"type": "store.insert", "bucket": "items", "data": {"n": "x"}})).await;
    server.store().insert("items", json!({"id": "b", "n": 3})).await.unwrap();
    assert_eq!(told(&mut events).await, item("inserted", "a", (), 1));
    assert_eq!(told(&mut events).await, item("updated", "a", 1, 2));
    assert_eq!(told(&mut events).await, item("deleted", "a", 2, ()));
    assert_eq!(told(&mut events).await, item("inserted", "b", (), 3), "and nothing of what changed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writes_of_one_batch_keep_their_order_and_their_before() {
    let server = with_items().await;
    let mut events = server.events("*");
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "a", "n": 0}})).await;
    client
        .send_all(
            (1..100)
                .map(|n| json!({"type": "store.update", "bucket": "items", "key": "a", "data": {"n": n}})),
        )
        .await;
    assert_eq!(told(&mut events).await, item("inserted", "a", (), 0));
    let mut position = 0;
    for n in 1..100 {
        let event = next(&mut events).await.unwrap();
        assert!(event.position > position);
        position = event.position;
        let EventKind::Updated { before, after } = event.kind else { panic!("{event:?}") };
        assert_eq!((before.to_value()["n"].clone(), after.to_value()["n"].clone()), (json!(n - 1), json!(n)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_one_event_for_each_record_all_at_one_position() {
    let server = with_items().await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "old", "n": 1}})).await;
    let mut events = server.events("bucket.items.*");
    let operations = json!([
        {"op": "insert", "bucket": "items", "data": {"id": "a", "n": 1}},
        {"op": "update", "bucket": "items", "key": "a", "data": {"n": 2}},
        {"op": "insert", "bucket": "items", "data": {"id": "b", "n": 1}},
        {"op": "delete", "bucket": "items", "key": "b"},
        {"op": "delete", "bucket": "items", "key": "old"},
    ]);
    client.data(json!({"type": "store.transaction", "operations": operations})).await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "z", "n": 9}})).await;
    let (first, second) = (next(&mut events).await.unwrap(), next(&mut events).await.unwrap());
    assert_eq!(first.position, second.position);
    let topics = std::collections::BTreeSet::from([first.topic(), second.topic()]);
    assert_eq!(topics, ["bucket.items.deleted".to_owned(), "bucket.items.inserted".to_owned()].into());
    assert_eq!(told(&mut events).await, item("inserted", "z", (), 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_tells_of_every_record() {
    let server = with_items().await;
    let store = server.store();
    store.insert_many("items", (0..3).map(|n| json!({"id": format!("i{n}"), "n": n}))).await.unwrap();
    let mut deletions = server.events("bucket.*.deleted");
    let mut others = server.events("bucket.items.inserted");
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.clear", "bucket": "items"})).await;
    for n in 0..3 {
        let event = next(&mut deletions).await.unwrap();
        let EventKind::Deleted { record, cause } = event.kind else { panic!("{event:?}") };
        assert_eq!(
            (event.key, record.to_value()["n"].clone(), cause),
            (json!(format!("i{n}")), json!(n), Removal::Cleared)
        );
    }
    store.insert("items", json!({"id": "new", "n": 5})).await.unwrap();
    assert_eq!(told(&mut others).await, item("inserted", "new", (), 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_dots_in_its_name_is_heard_like_any_other() {
    let server = with_items().await;
    let store = server.store();
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    for name in ["shop", "shop.items"] {
        store.define_bucket(name, config.clone()).await.unwrap();
    }
    let mut shop = server.events("bucket.shop.*");
    let mut dotted = server.events("bucket.shop.items.*");
    let mut insertions = server.events("bucket.*.inserted");
    store.insert("shop.items", json!({"id": "a"})).await.unwrap();
    store.insert("shop", json!({"id": "b"})).await.unwrap();
    assert_eq!(next(&mut shop).await.unwrap().key, "b");
    let event = next(&mut dotted).await.unwrap();
    assert_eq!((&*event.bucket, event.topic().as_str()), ("shop.items", "bucket.shop.items.inserted"));
    assert_eq!(next(&mut insertions).await.unwrap().key, "a");
    assert_eq!(next(&mut insertions).await.unwrap().key, "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_behind_is_told_how_far_and_goes_on_and_nobody_waits() {
    let server = with_items().await;
    let mut slow = server.events("bucket.items.*");
    let mut panicking = server.events("*");
    let mut last = server.events("*");
    let consumer = tokio::spawn(async move {
        panicking.next().await;
        panic!("a buggy consumer");
    });
    let store = server.store();
    let total = EVENT_COMMITS as u64 + 100;
    for n in 0..total {
        store.insert("items", json!({"id": format!("i{n}"), "n": n})).await.unwrap();
    }
    assert!(consumer.await.unwrap_err().is_panic());
    // Told behind the answer, so the last of them may be on its way yet.
    let key = json!(format!("i{}", total - 1));
    while !next(&mut last).await.is_ok_and(|event| event.key == key) {}
    let lagged = next(&mut slow).await.unwrap_err();
    assert_eq!(lagged.commits, 100, "{lagged}");
    for n in lagged.commits..total {
        assert_eq!(told(&mut slow).await, item("inserted", &format!("i{n}"), (), n));
    }
    let mut client = Client::connect(address(&server)).await;
    assert_eq!(client.data(json!({"type": "store.count", "bucket": "items"})).await, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_tells_is_visible() {
    let server = with_items().await;
    let store = server.store();
    let mut events = store.events("bucket.items.inserted");
    let mut client = Client::connect(address(&server)).await;
    client
        .send_all((0..200).map(|n| json!({"type": "store.insert", "bucket": "items", "data": {"n": n}})))
        .await;
    for _ in 0..200 {
        let event = next(&mut events).await.unwrap();
        let snapshot = store.snapshot();
        assert!(snapshot.position() >= event.position);
        assert!(snapshot.bucket("items").unwrap().get(&event.key).is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_end_with_the_server_behind_what_they_have_not_heard() {
    let server = with_items().await;
    let store = server.store();
    let mut events = server.events("*");
    store.insert("items", json!({"id": "a", "n": 1})).await.unwrap();
    server.stop(Duration::ZERO).await.unwrap();
    assert_eq!(told(&mut events).await, item("inserted", "a", (), 1));
    assert!(events.next().await.is_none());
    assert!(store.events("*").next().await.is_none());
}
