//! Buckets as collections of a Rust type.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, memory};
use dunlin_server::{Server, TypedError};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    n: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

fn item(id: &str, n: u32) -> Item {
    Item { id: Some(id.to_owned()), n, tag: None }
}

async fn with_items() -> Server {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn values_go_in_and_come_out() {
    let server = with_items().await;
    let items = server.store().bucket::<Item>("items");
    let generated = items.insert(&Item { id: None, n: 1, tag: None }).await.unwrap();
    assert!(generated.id.as_ref().is_some_and(|id| id.len() == 36), "{generated:?}");
    assert_eq!((generated.version, generated.expires_at), (1, None));
    let key = generated.id.clone().unwrap();
    items.delete(key.as_str()).await.unwrap();

    let both = items.insert_many(&[item("a", 1), item("b", 2)]).await.unwrap();
    assert_eq!(both[1].value, item("b", 2));
    let updated = items.update("a", &json!({"tag": "x"})).await.unwrap();
    assert_eq!((updated.tag.as_deref(), updated.version), (Some("x"), 2));
    assert!(updated.updated_at >= updated.created_at);
    items.upsert(&item("b", 20)).await.unwrap();
    items.upsert(&item("c", 30)).await.unwrap();

    assert_eq!(items.get("b").unwrap().unwrap().value, item("b", 20));
    assert!(items.get("nobody").unwrap().is_none());
    let ids = |found: Vec<dunlin_server::Stored<Item>>| -> Vec<String> {
        found.into_iter().map(|stored| stored.value.id.unwrap()).collect()
    };
    assert_eq!(ids(items.find(json!({"n": {"$gte": 20}})).unwrap()), ["b", "c"]);
    assert_eq!(ids(items.all().unwrap()), ["a", "b", "c"]);
    assert_eq!(items.find_one(json!({"tag": "x"})).unwrap().unwrap().n, 1);
    assert!(items.find_one(json!({"tag": "y"})).unwrap().is_none());
    assert_eq!((items.count(json!({"n": 30})).unwrap(), items.count(json!(null)).unwrap()), (1, 3));
    assert!(items.delete("a").await.unwrap() && !items.delete("a").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_fit_fails_the_call_that_meets_it_and_keeps_its_text() {
    let server = with_items().await;
    let items = server.store().bucket::<Item>("items");
    items.insert(&item("a", 1)).await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let odd = client
        .data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "odd", "n": -1.5}}))
        .await;
    let TypedError::Decode(error) = items.get("odd").unwrap_err() else { panic!("another error") };
    assert_eq!(serde_json::from_str::<serde_json::Value>(&error.json).unwrap(), odd);
    assert!(error.to_string().contains("bucket \"items\"") && error.to_string().contains("-1.5"), "{error}");
    assert!(matches!(items.all().unwrap_err(), TypedError::Decode(_)));
    assert_eq!(items.get("a").unwrap().unwrap().n, 1, "the others are read as before");
    assert_eq!(items.find(json!({"n": {"$gt": 0}})).unwrap().len(), 1);
    assert_eq!(items.count(json!({})).unwrap(), 2, "nothing is decoded to be counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_those_of_the_store() {
    let server = with_items().await;
    let store = server.store();
    let items = store.bucket::<Item>("items");
    items.insert(&item("a", 1)).await.unwrap();
    let refused = items.insert(&item("a", 2)).await.unwrap_err();
    assert!(
        matches!(&refused, TypedError::Write(_)) && refused.to_string().contains("already exists"),
        "{refused}"
    );
    let nowhere = store.bucket::<Item>("nowhere");
    assert_eq!(nowhere.all().unwrap_err().to_string(), "Bucket \"nowhere\" is not defined");
    assert_eq!(items.find(json!([])).unwrap_err().to_string(), "The filter must be a JSON object");
    assert!(matches!(items.find(json!({"n": {"$near": 1}})).unwrap_err(), TypedError::Read(_)));
    let numbers = store.bucket::<u32>("items");
    assert_eq!(numbers.insert(&5).await.unwrap_err().to_string(), "The record must be a JSON object");
    let keys = store.bucket::<std::collections::BTreeMap<(u8, u8), u8>>("items");
    let unwritable = keys.insert(&[((1, 2), 3)].into()).await.unwrap_err();
    assert!(matches!(unwritable, TypedError::Encode { .. }), "{unwritable}");
}
