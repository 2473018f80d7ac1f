//! What becomes of pushes that a client does not take, and of the client; and that frames stay whole on every way to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{
    Client, PATIENCE, Raw, TEXT, address, define_items, eventually, masked, memory, memory_with, metric,
    request,
};
use dunlin_server::Server;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

const MEGABYTE: usize = 1024 * 1024;

/// One record that is as large as its bucket's live queries are long.
async fn put(server: &Server, n: u64, bytes: usize) {
    // Another text each time, so that a patch has to tell it too.
    let text = if n.is_multiple_of(2) { "x" } else { "y" };
    let data = json!({"id": "it", "n": n, "tag": text.repeat(bytes)});
    server.store().upsert("items", data).await.unwrap();
}

async fn subscriber(server: &Server, wish: Value) -> Raw {
    let mut raw = Raw::upgraded(address(server), Some(16 * 1024)).await;
    raw.write(&request(&wish)).await;
    assert_eq!(raw.message().await["type"], "result");
    raw
}

fn all_items(mode: &str) -> Value {
    json!({"id": 1, "type": "store.subscribe", "query": "all-items", "mode": mode})
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_is_closed_and_counted() {
    // The heartbeat would close it earlier, with a code that says something else.
    let server = memory_with(|config| {
        config.heartbeat.interval_ms = 400;
        config.heartbeat.timeout_ms = 400;
        config.backpressure.slow_consumer_ms = 1500;
    })
    .bind()
    .await
    .unwrap();
    define_items(&server).await;
    // More than the buffers of any kernel hold. They are made at once: a client that is not blocked yet is pinged.
    let records: Vec<_> = (0..20).map(|n| json!({"n": n, "tag": "x".repeat(MEGABYTE)})).collect();
    let mut slow = Raw::upgraded(address(&server), None).await;
    slow.write(&request(&all_items("full"))).await;
    assert_eq!(slow.message().await["type"], "result");
    server.store().insert_many("items", records).await.unwrap();
    eventually("it is noticed", async || metric(address(&server), "dunlin_slow_consumers_total").await == 1)
        .await;
    assert_eq!(slow.closed().await, (4006, "slow_consumer".to_owned()));
    drop(slow);
    let closed = |code: u16| format!("dunlin_connections_closed_total{{by=\"server\",code=\"{code}\"}}");
    eventually("it is gone", async || metric(address(&server), &closed(4006)).await == 1).await;
    assert_eq!((metric(address(&server), &closed(4001)).await, server.connection_count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_it_slowly_is_served() {
    let server = memory_with(|config| {
        config.heartbeat.interval_ms = 100;
        config.heartbeat.timeout_ms = 100;
        config.backpressure.slow_consumer_ms = 600;
    })
    .bind()
    .await
    .unwrap();
    define_items(&server).await;
    put(&server, 0, 16 * MEGABYTE - 1000).await;
    let mut slow = Raw::upgraded(address(&server), None).await;
    slow.write(&request(&json!({"id": 1, "type": "store.all", "bucket": "items"}))).await;
    // Never a pong, and the answer takes far longer than all patience.
    let mut taken = 0;
    let mut buffer = vec![0; 256 * 1024];
    while taken < 15 * MEGABYTE {
        let read = tokio::time::timeout(PATIENCE, slow.stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "it was closed after {taken} bytes");
        taken += read;
        // The kernel asks for more when a good part of its buffer is free, which is megabytes here.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(metric(address(&server), "dunlin_slow_consumers_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_holds_up_nobody_and_gets_the_newest_state_in_the_end() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut full = subscriber(&server, all_items("full")).await;
    let mut patched = subscriber(&server, all_items("patch")).await;
    let mut quick = Client::connect(address(&server)).await;
    let watched = common::subscribe(&mut quick, "all-items").await;
    let updates = 100;
    for n in 0..=updates {
        put(&server, n, 200_000).await;
        assert_eq!(quick.push(&watched).await[0]["n"], n, "one at a time: it sees every state");
    }
    for slow in [&mut full, &mut patched] {
        let (mut pushes, mut position) = (0, 0);
        let mut state = json!([]);
        while state[0]["n"] != updates {
            let push = slow.message().await;
            pushes += 1;
            match push.get("patch") {
                None => state = push["data"].clone(),
                Some(operations) => common::patch::apply(&mut state, operations),
            }
            assert_eq!(state[0]["tag"].as_str().map(str::len), Some(200_000));
            if let Some(next) = push["position"].as_u64() {
                assert!(next > position, "never back: {position} then {next}");
                position = next;
            }
        }
        assert!(pushes < updates, "what was not taken was merged");
    }
    assert!(metric(address(&server), "dunlin_pushes_merged_total").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_pushes_pings_and_answers_do_not_get_mixed_up() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut raw = subscriber(&server, all_items("full")).await;
    let last = 30;
    let writer = async {
        for n in 0..=last {
            // Sizes around what is copied, what is shared, and what no socket takes at once.
            put(&server, n, [10, 1_900, 2_100, 70_000, 3 * MEGABYTE][usize::try_from(n).unwrap() % 5]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let rounds = 200_u64;
    let reader = async {
        let (mut pongs, mut answers, mut newest) = (0, 0, None);
        let mut asked = 0;
        while pongs < rounds || answers < rounds || newest != Some(last) {
            // A few at a time: pongs that are not sent yet are replaced by newer ones.
            if asked < rounds && asked == pongs && asked == answers {
                raw.write(&masked(0x89, asked.to_string().as_bytes())).await;
                raw.write(&request(&json!({"id": asked, "type": "store.count", "bucket": "none"}))).await;
                asked += 1;
            }
            match raw.frame().await.expect("the connection goes on") {
                (1, payload) => {
                    let message: Value = serde_json::from_slice(&payload).unwrap();
                    if message["type"] == "push" {
                        let state = &message["data"][0];
                        let n = state["n"].as_u64().unwrap();
                        assert!(newest.is_none_or(|newest| n > newest));
                        let text = state["tag"].as_str().unwrap().as_bytes();
                        assert!(text.iter().all(|byte| *byte == text[0]));
                        newest = Some(n);
                    } else {
                        assert_eq!((&message["id"], &message["type"]), (&json!(answers), &json!("error")));
                        answers += 1;
                    }
                }
                (10, payload) => {
                    assert_eq!(payload, pongs.to_string().as_bytes());
                    pongs += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(writer, reader);
    raw.write(&common::farewell()).await;
    assert_eq!(raw.closed().await.0, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_in_the_middle_of_a_huge_push_is_answered_behind_it() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let insert = json!({"id": 2, "type": "store.insert", "bucket": "items", "data": {"id": "last"}});
    for before in [Vec::new(), request(&insert)] {
        let mut raw = Raw::upgraded(address(&server), None).await;
        raw.write(&request(&all_items("full"))).await;
        assert_eq!(raw.message().await["type"], "result");
        put(&server, 1, 12 * MEGABYTE).await;
        // Some of it is here: the rest waits for us.
        raw.stream.readable().await.unwrap();
        raw.write(&[before, common::farewell()].concat()).await;
        let (opcode, push) = raw.frame().await.unwrap();
        assert_eq!((opcode, push.len() > 12 * MEGABYTE), (1, true));
        assert_eq!(raw.closed().await.0, 1000);
        drop(raw);
        eventually("its place is free", async || server.connection_count() == 0).await;
        put(&server, 0, 0).await;
    }
    assert_eq!(server.store().snapshot().bucket("items").unwrap().len(), 2, "what it asked for was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_kind_of_length_arrive() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let query = json!({"bucket": "items", "fields": ["tag"]});
    let mut raw = subscriber(&server, json!({"id": 1, "type": "store.subscribe", "query": query})).await;
    put(&server, 0, 0).await;
    let (_, empty) = raw.frame().await.unwrap();
    let shape = String::from_utf8(empty).unwrap();
    for length in [125, 126, 127, 2_047, 2_048, 2_500, 65_535, 65_536, 65_537, 300_000] {
        let tag = "x".repeat(length - shape.len());
        put(&server, 0, tag.len()).await;
        let (opcode, payload) = raw.frame().await.unwrap();
        assert_eq!((opcode, payload.len()), (TEXT & 0x0f, length));
        assert_eq!(String::from_utf8(payload).unwrap(), shape.replace("\"\"", &format!("\"{tag}\"")));
    }
}
