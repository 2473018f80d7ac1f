//! Writes of many records at once, upserts and groups, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, memory, subscribe};
use dunlin_server::Server;
use dunlin_store::{Issue, Validators};
use serde_json::{Value, json};

async fn connected() -> (Server, Client) {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let client = Client::connect(address(&server)).await;
    (server, client)
}

fn many(operation: &str, fields: Value) -> Value {
    let mut request = fields;
    request["type"] = json!(format!("store.{operation}"));
    request["bucket"] = json!("items");
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_are_inserted_in_order_with_one_push() {
    let (_server, mut client) = connected().await;
    let subscription = subscribe(&mut client, "all-items").await;
    let data: Vec<Value> = (0..1000).map(|n| json!({"n": n, "tag": "t"})).collect();
    let inserted = client.data(many("insertMany", json!({"data": data}))).await;
    let numbers: Vec<u64> =
        inserted.as_array().unwrap().iter().map(|record| record["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    assert_eq!(client.push(&subscription).await, inserted);
    assert_eq!(client.data(many("insertMany", json!({"data": []}))).await, json!([]));
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_keeps_all_of_them_out() {
    let (_server, mut client) = connected().await;
    let request = many("insertMany", json!({"data": [{"id": "a", "n": 1}, {"id": "b", "n": "two"}]}));
    let answer = client.call(request).await;
    assert_eq!(
        (&answer["code"], &answer["details"][0]["field"]),
        (&json!("VALIDATION_ERROR"), &json!("n")),
        "{answer}"
    );
    let request = many("insertMany", json!({"data": [{"id": "a"}, {"id": "a"}]}));
    assert_eq!(client.code(request).await, "ALREADY_EXISTS");
    assert_eq!(client.data(many("count", json!({}))).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn matching_records_are_updated_and_deleted() {
    let (_server, mut client) = connected().await;
    let data: Vec<Value> = (0..10).map(|n| json!({"id": format!("i{n}"), "n": n})).collect();
    client.data(many("insertMany", json!({"data": data}))).await;
    let subscription = subscribe(&mut client, "item-count").await;
    let filter = json!({"n": {"$gte": 6}});
    assert_eq!(client.data(many("updateMany", json!({"filter": filter, "data": {"tag": "big"}}))).await, 4);
    assert_eq!(client.data(many("count", json!({"filter": {"tag": "big"}}))).await, 4);
    // The record that does not fit is the last of those that match; the others stay as they were, too.
    assert_eq!(
        client.code(many("updateMany", json!({"filter": filter, "data": {"n": "x"}}))).await,
        "VALIDATION_ERROR"
    );
    assert_eq!(client.data(many("updateMany", json!({"filter": {"n": 99}, "data": {"n": 1}}))).await, 0);
    assert_eq!(client.data(many("deleteMany", json!({"filter": {"tag": "big"}}))).await, 4);
    assert_eq!(client.push(&subscription).await, 6);
    assert_eq!(client.data(many("deleteMany", json!({"filter": {"tag": "big"}}))).await, 0);
    assert_eq!(
        client.code(many("deleteMany", json!({"filter": {"n": {"$near": 1}}}))).await,
        "VALIDATION_ERROR"
    );
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_inserts_or_updates() {
    let (_server, mut client) = connected().await;
    let first = client.data(many("upsert", json!({"data": {"id": "a", "n": 1, "tag": "x"}}))).await;
    let second = client.data(many("upsert", json!({"data": {"id": "a", "n": 2}}))).await;
    assert_eq!((&first["_version"], &second["_version"]), (&json!(1), &json!(2)));
    assert_eq!((&second["n"], &second["tag"]), (&json!(2), &json!("x")), "what is not given stays");
    let third = client.data(many("upsert", json!({"data": {"n": 3}}))).await;
    assert_eq!(third["_version"], 1, "without a key it is an insert");
    assert_eq!(client.data(many("count", json!({}))).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_come_in_order_of_appearance() {
    let (_server, mut client) = connected().await;
    let data = json!([{"tag": "b", "n": 1}, {"tag": "a", "n": 2}, {"tag": "b", "n": 5}, {"n": 7}]);
    client.data(many("insertMany", json!({"data": data}))).await;
    let group = |field: Value, aggregate: Value, filter: Value| {
        many("groupBy", json!({"field": field, "aggregate": aggregate, "filter": filter}))
    };
    let request = group(json!("tag"), json!({"function": "sum", "field": "n"}), Value::Null);
    let expected = json!([{"key": {"tag": "b"}, "value": 6}, {"key": {"tag": "a"}, "value": 2}, {"key": {}, "value": 7}]);
    assert_eq!(client.data(request).await, expected);
    let request = group(json!(["tag", "n"]), json!({"function": "count"}), json!({"tag": "b"}));
    let expected =
        json!([{"key": {"tag": "b", "n": 1}, "value": 1}, {"key": {"tag": "b", "n": 5}, "value": 1}]);
    assert_eq!(client.data(request).await, expected);
    let request = group(json!([]), json!({"function": "max", "field": "n"}), json!({}));
    assert_eq!(client.data(request).await, json!([{"key": {}, "value": 7}]));
    let request = many("groupBy", json!({"field": "tag", "aggregate": {"function": "median", "field": "n"}}));
    assert_eq!(client.code(request).await, "VALIDATION_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_in_code_hold_for_every_way_to_write() {
    let rules = Validators::default().bucket("items", |record| {
        if record.to_value()["n"] == 13 { vec![Issue::custom("n", "Brings bad luck")] } else { Vec::new() }
    });
    let server = memory().validators(rules).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(many("insert", json!({"data": {"id": "a", "n": 1}}))).await;
    let unlucky = json!({"id": "b", "n": 13});
    for request in [
        many("insert", json!({"data": unlucky})),
        many("insertMany", json!({"data": [{"n": 2}, unlucky]})),
        many("update", json!({"key": "a", "data": {"n": 13}})),
        many("updateMany", json!({"filter": {}, "data": {"n": 13}})),
        many("upsert", json!({"data": unlucky})),
        json!({"type": "store.transaction", "operations": [{"op": "insert", "bucket": "items", "data": unlucky}]}),
    ] {
        let answer = client.call(request).await;
        let issue = json!([{"field": "n", "message": "Brings bad luck", "code": "custom"}]);
        assert_eq!((&answer["code"], &answer["details"]), (&json!("VALIDATION_ERROR"), &issue), "{answer}");
    }
    assert!(
        server.store().insert("items", json!({"n": 13})).await.is_err(),
        "the embedder's own writes, too"
    );
    assert_eq!(client.data(many("count", json!({}))).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_from_code() {
    let (server, mut client) = connected().await;
    let store = server.store();
    let subscription = subscribe(&mut client, "item-count").await;
    let records =
        store.insert_many("items", [json!({"id": "a", "n": 1}), json!({"id": "b", "n": 2})]).await.unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(client.push(&subscription).await, 2);
    assert_eq!(store.update_many("items", json!({"n": 1}), json!({"tag": "x"})).await.unwrap(), 1);
    assert_eq!(store.upsert("items", json!({"id": "a", "n": 5})).await.unwrap().version(), 3);
    assert_eq!(store.delete_many("items", json!({})).await.unwrap(), 2);
    let refused = store.insert_many("items", [json!([])]).await.unwrap_err();
    assert_eq!(refused.to_string(), "The record must be a JSON object");
}
