//! `idempotencyKey` over real sockets: whoever is not sure whether a write was done sends it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Client, address, define_items, eventually, memory, memory_with, subscribe};
use dunlin_server::{Authentication, Login, Server, Session};
use dunlin_store::{Intent, Outcome};
use serde_json::{Value, json};

async fn with_items() -> (Server, Client) {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let client = Client::connect(address(&server)).await;
    (server, client)
}

/// The same request with a key.
fn keyed(mut request: Value, key: &str) -> Value {
    request["idempotencyKey"] = json!(key);
    request
}

fn insert(data: Value) -> Value {
    let mut request = json!({"type": "store.insert", "bucket": "items"});
    request["data"] = data;
    request
}

fn delete(key: &str) -> Value {
    json!({"type": "store.delete", "bucket": "items", "key": key})
}

fn count(server: &Server) -> usize {
    server.store().snapshot().bucket("items").unwrap().len()
}

fn position(server: &Server) -> u64 {
    server.store().snapshot().position()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_of_records_can_be_repeated_on_another_connection() {
    let (server, mut client) = with_items().await;
    client.data(insert(json!({"id": "a", "n": 1, "tag": "x"}))).await;
    let writes = [
        insert(json!({"n": 2})),
        json!({"type": "store.insertMany", "bucket": "items", "data": [{"n": 3}, {"n": 4}]}),
        json!({"type": "store.update", "bucket": "items", "key": "a", "data": {"n": 5}}),
        json!({"type": "store.update", "bucket": "items", "key": "a", "data": {"n": 6}, "ifVersion": 2}),
        json!({"type": "store.updateMany", "bucket": "items", "filter": {"tag": "x"}, "data": {"tag": "y"}}),
        json!({"type": "store.upsert", "bucket": "items", "data": {"id": "u", "n": 7}}),
        json!({"type": "store.transaction", "operations": [
            {"op": "update", "bucket": "items", "key": "a", "data": {"n": 8}},
            {"op": "get", "bucket": "items", "key": "a"},
            {"op": "where", "bucket": "items", "filter": {"n": {"$gt": 6}}},
            {"op": "count", "bucket": "items"},
            {"op": "groupBy", "bucket": "items", "field": "tag", "aggregate": {"function": "count"}},
            {"op": "insert", "bucket": "items", "data": {"n": 9}},
        ]}),
        delete("nobody"),
        delete("a"),
        json!({"type": "store.deleteMany", "bucket": "items", "filter": {"n": {"$lt": 4}}}),
        json!({"type": "store.clear", "bucket": "items"}),
    ];
    let mut first = Vec::new();
    for (number, write) in writes.iter().enumerate() {
        let before = position(&server);
        first.push(client.data(keyed(write.clone(), &format!("k{number}"))).await);
        assert_eq!(position(&server), before + 1, "{write}");
    }
    client.close().await;
    let mut client = Client::connect(address(&server)).await;
    let before = position(&server);
    for (number, write) in writes.iter().enumerate() {
        let again = client.data(keyed(write.clone(), &format!("k{number}"))).await;
        assert_eq!(again, first[number], "{write}");
    }
    assert_eq!((count(&server), position(&server)), (0, before), "nothing has happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_the_same_in_one_batch_have_one_effect_and_one_push() {
    let (server, mut client) = with_items().await;
    let subscription = subscribe(&mut client, "item-count").await;
    let write = keyed(insert(json!({"n": 1})), "k");
    let ids = client.send_all([write.clone(), write.clone(), insert(json!({"n": 2})), write]).await;
    let mut answers = Vec::new();
    for id in ids {
        answers.push(client.answer(id).await["data"].take());
    }
    assert_eq!((&answers[0], &answers[0]), (&answers[1], &answers[3]));
    assert_ne!(answers[0], answers[2]);
    assert_eq!(count(&server), 2);
    // Both inserts were one group commit.
    assert_eq!(client.push(&subscription).await, 2);
    client.data(keyed(insert(json!({"n": 1})), "k")).await;
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_another_request_is_a_conflict() {
    let (server, mut client) = with_items().await;
    let first = client.data(keyed(insert(json!({"id": "a", "n": 1})), "k")).await;
    let others = [
        insert(json!({"id": "a", "n": 2})),
        insert(json!({"id": "b", "n": 1})),
        json!({"type": "store.upsert", "bucket": "items", "data": {"id": "a", "n": 1}}),
        delete("a"),
        json!({"type": "store.transaction", "operations": [{"op": "insert", "bucket": "items", "data": {"id": "a", "n": 1}}]}),
    ];
    for other in others {
        let refused = client.call(keyed(other, "k")).await;
        assert_eq!(
            (&refused["code"], &refused["details"]),
            (&json!("CONFLICT"), &json!({"key": "k"})),
            "{refused}"
        );
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with("Idempotency key \"k\" was used for another request"), "{message}");
    }
    // The same in other words: order of fields and members, and the writing of a number.
    client
        .text(r#"{"idempotencyKey":"\u006b","data":{"n":1.0,"id":"a"},"bucket":"items","id":900,"type":"store.insert"}"#)
        .await;
    assert_eq!(client.answer(900).await["data"], first);
    assert_eq!(count(&server), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_is_not_remembered() {
    let (server, mut client) = with_items().await;
    assert_eq!(client.code(keyed(insert(json!({"n": "text"})), "k")).await, "VALIDATION_ERROR");
    let update = json!({"type": "store.update", "bucket": "items", "key": "a", "data": {"n": 2}});
    assert_eq!(client.code(keyed(update.clone(), "k")).await, "NOT_FOUND");
    client.data(insert(json!({"id": "a", "n": 1}))).await;
    assert_eq!(client.data(keyed(update.clone(), "k")).await["n"], 2);
    assert_eq!(client.data(keyed(update, "k")).await["_version"], 2);
    assert_eq!(count(&server), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_of_nothing_is_remembered() {
    let (server, mut client) = with_items().await;
    assert_eq!(client.data(keyed(delete("a"), "k")).await, json!({"deleted": true}));
    client.data(insert(json!({"id": "a"}))).await;
    assert_eq!(client.data(keyed(delete("a"), "k")).await, json!({"deleted": true}));
    assert_eq!(count(&server), 1, "what came later stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_tells_the_position_of_the_first() {
    let (server, mut client) = with_items().await;
    client.data(json!({"type": "hello", "extensions": ["position"]})).await;
    let write = keyed(insert(json!({"n": 1})), "k");
    let first = client.call(write.clone()).await;
    assert_eq!(first["position"], json!(position(&server)));
    client.data(insert(json!({"n": 2}))).await;
    let again = client.call(write).await;
    assert_eq!((&again["position"], &again["data"]), (&first["position"], &first["data"]));
}

async fn table(login: Login) -> Authentication {
    let (user, role) = login.token.split_once(':').unwrap();
    Ok(Some(Session::new(user).with_role(role)))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_belong_to_the_user_and_rights_come_first() {
    let server = memory_with(|config| {
        config.auth.required = Some(false);
        config.auth.anonymous = Some("writer".to_owned());
    })
    .authenticator(table)
    .bind()
    .await
    .unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let write = keyed(insert(json!({"n": 1})), "k");
    let mut answers = vec![client.data(write.clone()).await];
    for token in ["ada:writer", "bob:writer"] {
        client.data(json!({"type": "auth.login", "token": token})).await;
        answers.push(client.data(write.clone()).await);
    }
    assert_eq!(count(&server), 3, "nobody, Ada and Bob have a key each");
    // The same users elsewhere.
    let mut other = Client::connect(address(&server)).await;
    assert_eq!(other.data(write.clone()).await, answers[0], "the same address");
    other.data(json!({"type": "auth.login", "token": "ada:writer"})).await;
    assert_eq!(other.data(write.clone()).await, answers[1]);
    // Ada may not write any more, and so is not told what she wrote either.
    other.data(json!({"type": "auth.login", "token": "ada:reader"})).await;
    assert_eq!(other.code(write.clone()).await, "FORBIDDEN");
    other.data(json!({"type": "auth.login", "token": "ada:admin"})).await;
    assert_eq!(other.data(write).await, answers[1]);
    assert_eq!(count(&server), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_forgotten_in_time() {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let read = Arc::clone(&clock);
    let server = memory_with(|config| config.idempotency.ttl_ms = 60_000)
        .clock(move || read.load(Ordering::SeqCst))
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let write = keyed(insert(json!({"n": 1})), "k");
    let first = client.data(write.clone()).await;
    client.data(keyed(delete("nobody"), "other")).await;
    clock.fetch_add(59_999, Ordering::SeqCst);
    assert_eq!(client.data(write.clone()).await, first);
    // Its time is over, though it has not been swept yet.
    clock.fetch_add(1, Ordering::SeqCst);
    let second = client.data(write.clone()).await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(client.data(write.clone()).await, second);
    let remembered = || {
        let snapshot = server.store().snapshot();
        snapshot.answers().map(|answer| answer.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(remembered(), ["other", "k"]);
    clock.fetch_add(1_000, Ordering::SeqCst);
    // Any write makes the store look at the clock.
    client.data(insert(json!({}))).await;
    eventually("the other one is swept", async || remembered() == ["k"]).await;
    clock.fetch_add(60_000, Ordering::SeqCst);
    client.data(insert(json!({}))).await;
    eventually("all are swept", async || remembered().is_empty()).await;
    let settled = position(&server);
    client.data(insert(json!({}))).await;
    assert_eq!(position(&server), settled + 1, "and then nothing more happens");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_is_not_remembered_than_is_configured() {
    let server = memory_with(|config| {
        config.idempotency.max_keys_per_user = 2;
        config.idempotency.max_keys = 3;
    })
    .authenticator(table)
    .bind()
    .await
    .unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "auth.login", "token": "ada:writer"})).await;
    for key in ["1", "2"] {
        client.data(keyed(insert(json!({"n": 1})), key)).await;
    }
    let refused = client.call(keyed(insert(json!({"n": 1})), "3")).await;
    assert_eq!(refused["code"], "RATE_LIMITED", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("(max 2)") && message.contains("without an idempotency key"), "{message}");
    client.data(insert(json!({"n": 1}))).await;
    assert_eq!(client.data(keyed(insert(json!({"n": 1})), "1")).await["_version"], 1);
    assert_eq!(count(&server), 3);
    client.data(json!({"type": "auth.login", "token": "bob:writer"})).await;
    client.data(keyed(delete("nobody"), "1")).await;
    let refused = client.call(keyed(delete("nobody"), "2")).await;
    assert!(refused["message"].as_str().unwrap().contains("(max 3)"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_key_is_refused_and_so_is_a_key_in_a_wrong_place() {
    let (server, mut client) = with_items().await;
    for bad in
        [json!(null), json!(true), json!(1), json!(""), json!(["k"]), json!({}), json!("x".repeat(129))]
    {
        let mut request = insert(json!({}));
        request["idempotencyKey"] = bad.clone();
        let refused = client.call(request).await;
        assert_eq!(refused["code"], "VALIDATION_ERROR", "{bad}: {refused}");
    }
    client.data(keyed(insert(json!({})), &"x".repeat(128))).await;
    for other in [
        json!({"type": "store.get", "bucket": "items", "key": "a"}),
        json!({"type": "store.all", "bucket": "items"}),
        json!({"type": "store.defineBucket", "name": "b", "config": {"key": "id", "schema": {"id": {"type": "string"}}}}),
        json!({"type": "store.dropBucket", "name": "items"}),
        json!({"type": "store.subscribe", "query": "all-items"}),
        json!({"type": "store.transaction", "operations": [
            {"op": "delete", "bucket": "items", "key": "a", "idempotencyKey": "k"},
        ]}),
        json!({"type": "hello"}),
        json!({"type": "server.stats"}),
    ] {
        let request =
            if other["type"] == "store.transaction" { other.clone() } else { keyed(other.clone(), "k") };
        let refused = client.call(request).await;
        assert_eq!(refused["code"], "VALIDATION_ERROR", "{other}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains("\"idempotencyKey\""), "{refused}");
    }
    assert_eq!(count(&server), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_in_this_process_have_keys_too() {
    let (server, mut client) = with_items().await;
    let store = server.store();
    let data = json!({"n": 1}).as_object().unwrap().clone();
    let write = Intent::Insert { bucket: "items".into(), data };
    let first = store.execute_once("job", "k", write.clone()).await.unwrap();
    let again = store.execute_once("job", "k", write.clone()).await.unwrap();
    assert!(matches!(&again, Outcome::Repeated(_)));
    assert_eq!(first.to_json(), again.to_json());
    // On behalf of a client, whose request it then is.
    let scope = "address:127.0.0.1";
    let for_client = store.execute_once(scope, "k", write.clone()).await.unwrap();
    let repeated = client.data(keyed(insert(json!({"n": 1})), "k")).await;
    assert_eq!(
        repeated.to_string(),
        serde_json::from_str::<Value>(&for_client.to_json()).unwrap().to_string()
    );
    assert!(store.execute_once("job", "", write).await.is_err());
    assert_eq!(count(&server), 2);
}
