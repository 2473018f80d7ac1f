//! `ifVersion` over real sockets: nobody overwrites what he has not seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, memory};
use dunlin_server::{Server, TypedError, WriteError};
use dunlin_store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

async fn with_items() -> (Server, Client) {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "a", "n": 1}})).await;
    (server, client)
}

fn update(key: &str, version: impl Into<Value>) -> Value {
    json!({"type": "store.update", "bucket": "items", "key": key, "data": {"n": 2}, "ifVersion": version.into()})
}

fn delete(key: &str, version: impl Into<Value>) -> Value {
    json!({"type": "store.delete", "bucket": "items", "key": key, "ifVersion": version.into()})
}

/// The request is refused because the record has this version.
async fn conflict(client: &mut Client, request: Value, version: u64) {
    let refused = client.call(request.clone()).await;
    assert_eq!(refused["code"], "CONFLICT", "{request}: {refused}");
    assert_eq!(refused["details"], json!({"bucket": "items", "key": request["key"], "version": version}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_or_delete_happens_in_the_version_it_asks_for_and_in_no_other() {
    let (server, mut client) = with_items().await;
    for wrong in [0, 2, 9_007_199_254_740_993_u64] {
        conflict(&mut client, update("a", wrong), 1).await;
        conflict(&mut client, delete("a", wrong), 1).await;
    }
    conflict(&mut client, update("nobody", 1), 0).await;
    conflict(&mut client, delete("nobody", 1), 0).await;
    assert_eq!(client.code(update("nobody", 0)).await, "NOT_FOUND");
    let plain = json!({"type": "store.update", "bucket": "items", "key": "nobody", "data": {}});
    assert_eq!(client.code(plain).await, "NOT_FOUND");
    assert_eq!(client.data(delete("nobody", 0)).await, json!({"deleted": true}));
    assert_eq!(client.data(update("a", 1)).await["_version"], 2);
    let refused = client.call(update("a", 1)).await;
    assert_eq!(
        refused["message"],
        "Record with key \"a\" in bucket \"items\" has version 2, 1 was expected; read it again and decide anew"
    );
    assert_eq!(client.data(update("a", 2.0)).await["_version"], 3);
    client.data(delete("a", 3)).await;
    conflict(&mut client, delete("a", 3), 0).await;
    assert_eq!(server.store().snapshot().bucket("items").unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_have_read_the_same_one_writes() {
    let (server, _) = with_items().await;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = address(&server);
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let mut won = 0;
                for _ in 0..20 {
                    // Read, add one, write; until nobody was in between.
                    loop {
                        let item =
                            client.data(json!({"type": "store.get", "bucket": "items", "key": "a"})).await;
                        let next = item["n"].as_u64().unwrap() + 1;
                        let answer = client
                            .call(json!({
                                "type": "store.update", "bucket": "items", "key": "a",
                                "data": {"n": next}, "ifVersion": item["_version"],
                            }))
                            .await;
                        if answer["type"] == "result" {
                            won += 1;
                            break;
                        }
                        assert_eq!(answer["code"], "CONFLICT", "{answer}");
                    }
                }
                won
            })
        })
        .collect();
    let mut won = 0;
    for client in clients {
        won += client.await.unwrap();
    }
    let item = server.store().snapshot().bucket("items").unwrap().get(&json!("a")).unwrap().to_value();
    assert_eq!((won, &item["n"], &item["_version"]), (160, &json!(161), &json!(161)), "no update was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_a_transaction_ask_when_it_is_their_turn() {
    let (server, mut client) = with_items().await;
    let transaction = |operations: Value| json!({"type": "store.transaction", "operations": operations});
    let good = json!([
        {"op": "get", "bucket": "items", "key": "a", "ifVersion": 1},
        {"op": "update", "bucket": "items", "key": "a", "data": {"n": 2}, "ifVersion": 1},
        {"op": "update", "bucket": "items", "key": "a", "data": {"n": 3}, "ifVersion": 2},
        {"op": "get", "bucket": "items", "key": "b", "ifVersion": 0},
        {"op": "insert", "bucket": "items", "data": {"id": "b"}, "ifVersion": 0},
        {"op": "get", "bucket": "items", "key": "b", "ifVersion": 1},
        {"op": "delete", "bucket": "items", "key": "b", "ifVersion": 1},
        {"op": "insert", "bucket": "items", "data": {"n": 5}, "ifVersion": 0},
    ]);
    let results = client.data(transaction(good)).await;
    assert_eq!(results["results"][2]["data"]["_version"], 3);
    let before = server.store().snapshot().position();
    for (operation, key, version) in [
        (json!({"op": "get", "bucket": "items", "key": "a", "ifVersion": 3}), "a", 4),
        (json!({"op": "get", "bucket": "items", "key": "a", "ifVersion": 0}), "a", 4),
        (json!({"op": "get", "bucket": "items", "key": "b", "ifVersion": 1}), "b", 0),
        (json!({"op": "update", "bucket": "items", "key": "b", "data": {}, "ifVersion": 1}), "b", 0),
        (json!({"op": "delete", "bucket": "items", "key": "a", "ifVersion": 3}), "a", 4),
        (json!({"op": "insert", "bucket": "items", "data": {"id": "a"}, "ifVersion": 0}), "a", 4),
    ] {
        let first = json!({"op": "update", "bucket": "items", "key": "a", "data": {"n": 9}});
        let refused = client.call(transaction(json!([first, operation]))).await;
        assert_eq!(refused["code"], "CONFLICT", "{operation}: {refused}");
        let details = json!({"bucket": "items", "key": key, "version": version, "index": 1});
        assert_eq!(refused["details"], details, "{operation}");
        assert!(
            refused["message"].as_str().unwrap().starts_with("operations[1]: Record with key"),
            "{refused}"
        );
    }
    let missing = json!([{"op": "update", "bucket": "items", "key": "b", "data": {}, "ifVersion": 0}]);
    assert_eq!(client.code(transaction(missing)).await, "NOT_FOUND");
    assert_eq!(server.store().snapshot().position(), before, "nothing has happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_version_is_refused_and_so_is_one_in_a_wrong_place() {
    let (server, mut client) = with_items().await;
    let before = server.store().snapshot().position();
    for bad in
        [json!(null), json!(true), json!("1"), json!(-1), json!(1.5), json!(1e300), json!([1]), json!({})]
    {
        for request in [update("a", bad.clone()), delete("a", bad.clone())] {
            let refused = client.call(request).await;
            let expected = json!("Invalid \"ifVersion\": expected whole number of 0 or more");
            assert_eq!(
                (&refused["code"], &refused["message"]),
                (&json!("VALIDATION_ERROR"), &expected),
                "{bad}"
            );
        }
    }
    let operation = |operation: Value| json!({"type": "store.transaction", "operations": [operation]});
    for request in [
        json!({"type": "store.insert", "bucket": "items", "data": {}, "ifVersion": 0}),
        json!({"type": "store.insertMany", "bucket": "items", "data": [], "ifVersion": 0}),
        json!({"type": "store.upsert", "bucket": "items", "data": {"id": "a"}, "ifVersion": 1}),
        json!({"type": "store.updateMany", "bucket": "items", "filter": {}, "data": {}, "ifVersion": 1}),
        json!({"type": "store.deleteMany", "bucket": "items", "filter": {}, "ifVersion": 1}),
        json!({"type": "store.clear", "bucket": "items", "ifVersion": 1}),
        json!({"type": "store.get", "bucket": "items", "key": "a", "ifVersion": 1}),
        json!({"type": "store.where", "bucket": "items", "filter": {}, "ifVersion": 1}),
        json!({"type": "store.dropBucket", "name": "items", "ifVersion": 1}),
        json!({"type": "store.transaction", "operations": [{"op": "count", "bucket": "items"}], "ifVersion": 1}),
        operation(json!({"op": "insert", "bucket": "items", "data": {}, "ifVersion": 1})),
        operation(json!({"op": "upsert", "bucket": "items", "data": {"id": "a"}, "ifVersion": 1})),
        operation(json!({"op": "where", "bucket": "items", "filter": {}, "ifVersion": 1})),
        operation(json!({"op": "get", "bucket": "items", "key": "a", "ifVersion": "1"})),
    ] {
        let refused = client.call(request.clone()).await;
        assert_eq!(refused["code"], "VALIDATION_ERROR", "{request}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains("\"ifVersion\""), "{refused}");
    }
    assert_eq!(server.store().snapshot().position(), before);
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    id: String,
    n: u32,
}

#[tokio::test(flavor = "multi_thread")]
async fn services_in_this_process_ask_for_versions_too() {
    let (server, _) = with_items().await;
    let store = server.store();
    let refused = store.update_if("items", json!("a"), json!({"n": 5}), 7).await.unwrap_err();
    let WriteError::Refused(StoreError::VersionConflict { expected, version, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!((expected, version), (7, 1));
    let items = store.bucket::<Item>("items");
    let item = items.get("a").unwrap().unwrap();
    let changed = items.update_if("a", &json!({"n": 5}), item.version).await.unwrap();
    assert_eq!((changed.n, changed.version), (5, 2));
    let refused = items.delete_if("a", item.version).await.unwrap_err();
    assert!(matches!(
        refused,
        TypedError::Write(WriteError::Refused(StoreError::VersionConflict { version: 2, .. }))
    ));
    assert!(items.delete_if("a", 2).await.unwrap());
    assert!(!store.delete_if("items", json!("a"), 0).await.unwrap());
}
