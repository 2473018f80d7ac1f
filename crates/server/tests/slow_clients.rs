//! Clients that fall silent, never read, or come and go by the thousand: they delay nobody and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::hostile::{announcing, keep_served, with_innocent};
use common::{
    BINARY, Client, Innocent, PATIENCE, Raw, TEXT, UPGRADE, address, define_items, eventually, masked,
    memory, memory_with, metric, request,
};
use dunlin_server::Server;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn half_a_frame_and_then_silence_is_closed_by_the_heartbeat() {
    let server = memory_with(|config| {
        config.heartbeat.interval_ms = 100;
        config.heartbeat.timeout_ms = 400;
    })
    .bind()
    .await
    .unwrap();
    define_items(&server).await;
    let (enough, task) = keep_served(Innocent::connect(&server).await);
    let whole = request(&json!({"id": 3, "type": "store.clear", "bucket": "items"}));
    let mut silent = Vec::new();
    for length in [1, 2, 5, 6, whole.len() / 2, whole.len() - 1] {
        let mut raw = Raw::upgraded(address(&server), None).await;
        raw.write(&whole[..length]).await;
        silent.push(raw);
    }
    // A head that announces a megabyte, and one that never says how long it is.
    for head in [announcing(TEXT, 1 << 20), vec![TEXT, 0xff, 0]] {
        let mut raw = Raw::upgraded(address(&server), None).await;
        raw.write(&head).await;
        silent.push(raw);
    }
    for raw in &mut silent {
        assert_eq!(raw.closed().await, (4001, "heartbeat_timeout".to_owned()));
    }
    eventually("their places are free", async || server.connection_count() == 1).await;
    enough.send_replace(true);
    task.await.unwrap().is_served().await;
}

/// Fills `items` so that the answer to `store.all` has about `bytes`.
async fn fill(server: &Server, bytes: usize) {
    let padding = "x".repeat(10_000);
    for n in 0..bytes / padding.len() {
        server.store().insert("items", json!({"n": n, "tag": padding})).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_much_and_never_reads_is_not_worked_for_and_is_closed() {
    let server = memory_with(|config| {
        config.heartbeat.interval_ms = 100;
        config.heartbeat.timeout_ms = 400;
        config.backpressure.slow_consumer_ms = 500;
        config.backpressure.max_buffered_bytes = 64 * 1024;
    })
    .bind()
    .await
    .unwrap();
    define_items(&server).await;
    fill(&server, 200_000).await;
    let (enough, task) = keep_served(Innocent::connect(&server).await);
    let mut greedy = Raw::upgraded(address(&server), Some(16 * 1024)).await;
    let all = json!({"id": 1, "type": "store.all", "bucket": "items", "padding": "x".repeat(1000)});
    // 400 MB of answers. It may not get rid of all its requests: the server stops reading.
    let wishes = request(&all).repeat(2000);
    let gone = tokio::spawn(async move {
        greedy.write(&wishes).await;
        greedy
    });
    let closed = "dunlin_connections_closed_total{by=\"server\",code=\"4006\"}";
    eventually("it is closed", async || metric(address(&server), closed).await > 0).await;
    eventually("its place is free", async || server.connection_count() == 1).await;
    enough.send_replace(true);
    task.await.unwrap().is_served().await;
    // What was worked out for it is what the kernel's buffers and ours hold, and not what it asked for.
    let sent = metric(address(&server), "dunlin_sent_bytes_total").await;
    assert!(sent < 32 * 1024 * 1024, "{sent} bytes were sent to somebody who does not read");
    drop(gone.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_floods_pings_and_never_reads_is_not_read_from_and_is_closed() {
    let server = memory_with(|config| {
        config.heartbeat.interval_ms = 100;
        config.heartbeat.timeout_ms = 400;
        config.backpressure.slow_consumer_ms = 500;
    })
    .bind()
    .await
    .unwrap();
    define_items(&server).await;
    let (enough, task) = keep_served(Innocent::connect(&server).await);
    let mut flooder = Raw::upgraded(address(&server), Some(16 * 1024)).await;
    // Each ping wants a pong of the same size; none of them is ever taken. 128 MB of pongs must not pile up.
    let pings = masked(0x89, &[b'x'; 125]).repeat(8192);
    let flood = tokio::spawn(async move {
        let mut sent = 0;
        for _ in 0..128 {
            if tokio::io::AsyncWriteExt::write_all(&mut flooder.stream, &pings).await.is_err() {
                return (sent, flooder);
            }
            sent += 1;
        }
        (sent, flooder)
    });
    let (sent, flooder) = tokio::time::timeout(PATIENCE, flood).await.expect("the server closes it").unwrap();
    assert!(sent < 64, "the server took all pings of a client that takes no pong");
    drop(flooder);
    eventually("its place is free", async || server.connection_count() == 1).await;
    enough.send_replace(true);
    task.await.unwrap().is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_who_connect_and_drop_hurt_nobody() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let (enough, task) = keep_served(Innocent::connect(&server).await);
    let address = address(&server);
    let mut floods = Vec::new();
    for flooder in 0..4 {
        floods.push(tokio::spawn(async move {
            for n in 0..600 {
                let Ok(stream) = tokio::net::TcpStream::connect(address).await else { continue };
                // A reset, not a farewell: the nastier end, and it leaves no socket of ours behind.
                let _ = reset_on_drop(&stream);
                let part = match (flooder + n) % 4 {
                    0 => 0,
                    1 => UPGRADE.len() / 2,
                    _ => UPGRADE.len(),
                };
                let _ = stream.try_write(&UPGRADE.as_bytes()[..part]);
            }
        }));
    }
    for flood in floods {
        tokio::time::timeout(PATIENCE, flood).await.expect("connecting goes on").unwrap();
    }
    enough.send_replace(true);
    let mut innocent = task.await.unwrap();
    innocent.is_served().await;
    eventually("all others are gone", async || server.connection_count() == 1).await;
    server.stop(Duration::ZERO).await.unwrap();
}

fn reset_on_drop(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    #[expect(deprecated, reason = "a linger of zero does not block")]
    stream.set_linger(Some(Duration::ZERO))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_stops_reading_delays_nobody_and_ends_with_the_newest_state() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut slow = Raw::upgraded(address(&server), Some(16 * 1024)).await;
    slow.write(&request(&json!({"id": 1, "type": "store.subscribe", "query": "all-items"}))).await;
    assert_eq!(slow.message().await["type"], "result");
    let mut quick = Client::connect(address(&server)).await;
    let watched = common::subscribe(&mut quick, "all-items").await;
    let mut writer = Client::connect(address(&server)).await;
    let padding = "x".repeat(30_000);
    let data = json!({"id": "it", "n": 0, "tag": padding});
    writer.data(json!({"type": "store.insert", "bucket": "items", "data": data})).await;
    assert_eq!(quick.push(&watched).await[0]["n"], 0);
    let updates = 400;
    for n in 1..=updates {
        let update = json!({"type": "store.update", "bucket": "items", "key": "it", "data": {"n": n}});
        writer.data(update).await;
        // One at a time: the quick one sees every state.
        assert_eq!(quick.push(&watched).await[0]["n"], n);
    }
    let mut seen = -1;
    while seen < updates {
        let push = slow.message().await;
        let n = push["data"][0]["n"].as_i64().unwrap();
        assert!(n > seen, "never back: {seen} then {n}");
        seen = n;
    }
    slow.write(&request(&json!({"id": 2, "type": "store.count", "bucket": "items"}))).await;
    assert_eq!(slow.message().await, json!({"id": 2, "type": "result", "data": 1}), "and it is served again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_behind_large_wishes_leaves_nothing_behind() {
    // The answers are more than may wait for a connection, and nobody is there any more to take them.
    let server =
        memory_with(|config| config.backpressure.max_buffered_bytes = 64 * 1024).bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    fill(&server, 200_000).await;
    let all = request(&json!({"id": 1, "type": "store.all", "bucket": "items"}));
    for end in [common::farewell(), Vec::new(), masked(BINARY, b""), b"\xff\xff\xff".to_vec()] {
        let mut raw = Raw::upgraded(address(&server), None).await;
        raw.write(&[all.repeat(10), end].concat()).await;
        drop(raw);
    }
    eventually("their places are free", async || server.connection_count() == 1).await;
    innocent.is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_does_not_hold_up_a_stop() {
    let server =
        memory_with(|config| config.backpressure.max_buffered_bytes = 64 * 1024).bind().await.unwrap();
    define_items(&server).await;
    fill(&server, 200_000).await;
    let mut greedy = Raw::upgraded(address(&server), Some(16 * 1024)).await;
    greedy.write(&request(&json!({"id": 1, "type": "store.all", "bucket": "items"})).repeat(100)).await;
    // The first answers are on their way; there will be more of them than the kernel holds.
    greedy.stream.peek(&mut [0]).await.unwrap();
    server.stop(Duration::ZERO).await.unwrap();
    // Though it still does not read.
    let tasks = tokio::runtime::Handle::current().metrics();
    eventually("no task is left", async || tasks.num_alive_tasks() == 0).await;
    greedy.ended().await;
}
