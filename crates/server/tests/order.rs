//! In which order things happen: `docs/actors.md`, "Order".
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, memory};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_in_the_order_they_came_and_reads_see_the_writes_before_them() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    // Writes, reads, refusals and frames that cannot be parsed, all at once.
    let requests = (0..300u64).map(|n| match n % 5 {
        0 | 1 => json!({"type": "store.insert", "bucket": "items", "data": {"n": n}}),
        2 => json!({"type": "store.count", "bucket": "items"}),
        3 => json!({"type": "store.insert", "bucket": "nowhere", "data": {}}),
        _ => json!({"type": "no.such.operation"}),
    });
    let ids = client.send_all(requests).await;
    let mut inserted = 0;
    for (n, id) in ids.into_iter().enumerate() {
        let answer = client.message().await;
        assert_eq!(answer["id"], json!(id), "answer {n}");
        match n % 5 {
            0 | 1 => {
                assert_eq!(answer["data"]["n"], json!(n));
                inserted += 1;
            }
            2 => assert_eq!(answer["data"], json!(inserted)),
            3 => assert_eq!(answer["code"], "BUCKET_NOT_DEFINED"),
            _ => assert_eq!(answer["code"], "UNKNOWN_OPERATION"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_cannot_be_attributed_keeps_its_place() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.send(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    client.text("{broken").await;
    client.send(json!({"type": "store.count", "bucket": "items"})).await;
    let order: Vec<Value> = [client.message().await, client.message().await, client.message().await]
        .iter()
        .map(|message| message["id"].clone())
        .collect();
    assert_eq!(order, [json!(1), json!(0), json!(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_a_write_precedes_the_push_it_causes() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
    for n in 1..=200u64 {
        let id = client.send(json!({"type": "store.insert", "bucket": "items", "data": {"n": n}})).await;
        let (first, second) = (client.message().await, client.message().await);
        assert_eq!(first["id"], json!(id), "{first}");
        assert_eq!((&second["type"], &second["data"]), (&json!("push"), &json!(n)), "{second}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w12_a_subscription_starts_without_a_gap_and_without_a_repetition() {
    // Others write all the time; each subscriber's counts must grow by pushes from exactly what its result said.
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let address = address(&server);
    let writer = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        for n in 0..500u64 {
            client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": n}})).await;
        }
    });
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(address).await;
        client.send(json!({"type": "store.subscribe", "query": "item-count"})).await;
        // The very first frame after the request is its result: no push overtakes it.
        let first = client.message().await;
        assert_eq!(first["type"], "result", "{first}");
        let at = first["data"]["data"].as_u64().unwrap();
        subscribers.push((client, at));
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    for (mut client, mut at) in subscribers {
        while at < 500 {
            let push = client.message().await;
            let next = push["data"].as_u64().unwrap();
            assert!(next > at, "a push shows a newer state than the one before it: {at} then {next}");
            at = next;
        }
        client.silent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w12_subscribing_runs_the_query_once() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let evaluations = async || {
        let text = common::http_get(address(&server), "/metrics").await;
        let line = text.lines().find(|line| line.starts_with("dunlin_live_views_evaluated_total ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let before = evaluations().await;
    client.data(json!({"type": "store.subscribe", "query": "all-items"})).await;
    assert_eq!(evaluations().await, before + 1);
    // A second watcher of the same query shares the view; the store has not changed, so nothing is run at all.
    client.data(json!({"type": "store.subscribe", "query": "all-items"})).await;
    assert_eq!(evaluations().await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_one_group_of_writes_that_are_larger_than_the_buffer_keep_their_order() {
    let mut config = dunlin_server::Config::default();
    config.backpressure.max_buffered_bytes = 64 * 1024;
    let server = dunlin_server::Server::builder().config(config).memory().port(0).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
    let tag = "x".repeat(20_000);
    let inserts =
        (0..60u64).map(|n| json!({"type": "store.insert", "bucket": "items", "data": {"n": n, "tag": tag}}));
    for (n, id) in client.send_all(inserts).await.into_iter().enumerate() {
        let mut answer = client.message().await;
        while answer["type"] == "push" {
            // Of an earlier group; never one that this write has caused.
            assert!(answer["data"].as_u64().unwrap() <= n as u64, "{answer}");
            answer = client.message().await;
        }
        assert_eq!((&answer["id"], &answer["data"]["n"]), (&json!(id), &json!(n)));
    }
}
