//! The weak points of the reference server that this one shall not have: `spec/protocol.md`, by number. W5 and W18 are in
//! `hostile_upgrades.rs` and `slow_clients.rs` too, W12 is in `order.rs`, W10 and W11 are in `auth.rs` and `live.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{
    BINARY, Client, PATIENCE, Raw, TEXT, UPGRADE, address, define_items, eventually, farewell, http_get,
    http_raw, masked, memory, memory_with, metric, request,
};
use dunlin_server::{Authentication, Config, Login, Server, Session};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

fn heartbeat(interval_ms: u64, timeout_ms: u64) -> impl FnOnce(&mut Config) {
    move |config| {
        config.heartbeat.interval_ms = interval_ms;
        config.heartbeat.timeout_ms = timeout_ms;
    }
}

fn insert(n: u64) -> Value {
    json!({"id": n, "type": "store.insert", "bucket": "items", "data": {"id": format!("k{n}"), "n": n}})
}

fn count(server: &Server) -> usize {
    server.store().snapshot().bucket("items").unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn w5_no_upgrade_and_no_frame_ends_the_process() {
    let server = memory_with(|config| config.max_connections_per_ip = std::num::NonZeroUsize::new(1))
        .bind()
        .await
        .unwrap();
    for target in ["//", "///", "/\\", "*", "?", "http://", "//[", "/%", "/%ff", "/\u{7f}", "http://%/", ":"]
    {
        for host in ["localhost", "", "[", "a:b:c", "%", "\u{1}", "\u{ff}", "//"] {
            let head = UPGRADE.replacen("GET /", &format!("GET {target}"), 1).replacen("localhost", host, 1);
            let head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
            http_raw(address(&server), &[head.as_bytes(), b"\xff\xff\xff\xff\xff\xff\xff\xff"].concat())
                .await;
        }
    }
    // Whichever of them was let in has left.
    eventually("all are gone", async || server.connection_count() == 0).await;
    let mut client = Client::connect(address(&server)).await;
    let mut refused = Raw::connect(address(&server)).await;
    refused.write(&[UPGRADE.as_bytes(), b"\x81\x01x", &[0xff; 100]].concat()).await;
    refused.head().await;
    assert_eq!(refused.closed().await.0, 4003);
    assert_eq!(client.data(json!({"type": "store.buckets"})).await["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn w6_plain_http_is_answered() {
    let server = memory().bind().await.unwrap();
    let answer = http_get(address(&server), "/").await;
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n"), "{answer}");
    let answer = http_get(address(&server), "/nowhere").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn w6_idle_http_connections_do_not_hold_up_a_stop() {
    let server = memory().bind().await.unwrap();
    // One that has said nothing, one in the middle of its head, one between two requests.
    let silent = Raw::connect(address(&server)).await;
    let mut half = Raw::connect(address(&server)).await;
    half.write(b"GET / HTTP/1.1\r\nHost: loc").await;
    let mut idle = Raw::connect(address(&server)).await;
    idle.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(idle.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
    idle.exactly(3).await;
    tokio::time::timeout(PATIENCE, server.stop(Duration::ZERO)).await.expect("it stops").unwrap();
    for mut raw in [silent, half, idle] {
        raw.ended().await;
    }
}

/// A server whose logins wait until they are let through.
async fn with_slow_logins(config: impl FnOnce(&mut Config)) -> (Server, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let at_the_gate = Arc::clone(&gate);
    let server = memory_with(config)
        .authenticator(move |login: Login| {
            let gate = Arc::clone(&at_the_gate);
            async move {
                gate.acquire().await?.forget();
                Authentication::Ok(Some(Session::new(login.token).with_role("admin")))
            }
        })
        .bind()
        .await
        .unwrap();
    (server, gate)
}

/// Reads on until `pings` pings have come; answers each if told so.
async fn pings(raw: &mut Raw, pings: usize, answered: bool) {
    for _ in 0..pings {
        let ping = raw.message().await;
        assert_eq!(ping["type"], "ping", "{ping}");
        if answered {
            raw.write(&masked(
                TEXT,
                json!({"type": "pong", "timestamp": ping["timestamp"]}).to_string().as_bytes(),
            ))
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_a_request_that_spans_heartbeats_does_not_close_a_healthy_connection() {
    let (server, gate) = with_slow_logins(heartbeat(60, 60)).await;
    let mut raw = Raw::upgraded(address(&server), None).await;
    raw.write(&request(&json!({"id": 1, "type": "auth.login", "token": "u"}))).await;
    // It answers every ping; the server is just not listening while it works.
    pings(&mut raw, 5, true).await;
    gate.add_permits(1);
    loop {
        let message = raw.message().await;
        if message["type"] == "ping" {
            raw.write(&masked(TEXT, json!({"type": "pong", "timestamp": 1}).to_string().as_bytes())).await;
        } else {
            assert_eq!((&message["id"], &message["data"]["userId"]), (&json!(1), &json!("u")));
            break;
        }
    }
    // And it is watched as before: when it falls silent, it is closed.
    assert_eq!(raw.closed().await, (4001, "heartbeat_timeout".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_a_pong_from_the_far_future_does_not_switch_the_heartbeat_off() {
    let server = memory_with(heartbeat(60, 120)).bind().await.unwrap();
    let mut raw = Raw::upgraded(address(&server), None).await;
    for timestamp in ["9e300", "-1", "0", "99999999999999999"] {
        raw.write(&masked(TEXT, format!("{{\"type\":\"pong\",\"timestamp\":{timestamp}}}").as_bytes())).await;
    }
    assert_eq!(raw.closed().await, (4001, "heartbeat_timeout".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_the_timeout_is_honoured() {
    // Pings come every 60 ms. One client is given much longer than that to answer, another one hardly any time.
    let patient = memory_with(heartbeat(60, 3_600_000)).bind().await.unwrap();
    let hasty = memory_with(heartbeat(60, 1)).bind().await.unwrap();
    let mut spared = Raw::upgraded(address(&patient), None).await;
    pings(&mut spared, 1, false).await;
    let started = tokio::time::Instant::now();
    let mut closed = Raw::upgraded(address(&hasty), None).await;
    assert_eq!(closed.closed().await, (4001, "heartbeat_timeout".to_owned()));
    assert!(started.elapsed() >= Duration::from_millis(60), "not before the first ping");
    // A whole timeout after its ping the spared one would have to be gone, were its own not honoured.
    spared.write(&request(&json!({"id": 1, "type": "store.buckets"}))).await;
    assert_eq!(spared.message().await["id"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_any_traffic_is_a_sign_of_life() {
    let server = memory_with(heartbeat(50, 300)).bind().await.unwrap();
    // Each never answers a ping, but says something whenever one comes.
    let talker = async |what: &str, bytes: &[u8]| {
        let mut raw = Raw::upgraded(address(&server), None).await;
        let mut seen = 0;
        while seen < 4 {
            let (opcode, payload) = raw.frame().await.unwrap_or_else(|| panic!("{what}: closed"));
            assert_ne!(opcode, 8, "{what}: closed: {payload:?}");
            if payload.starts_with(b"{\"type\":\"ping\"") {
                seen += 1;
                raw.write(bytes).await;
            }
        }
    };
    let mut raw = Raw::upgraded(address(&server), None).await;
    let long = request(&json!({"id": 9, "type": "x"}));
    let one_byte_at_a_time = async {
        for byte in &long[..4] {
            pings(&mut raw, 1, false).await;
            raw.write(&[*byte]).await;
        }
        raw.write(&long[4..]).await;
        while raw.message().await["id"] != 9 {}
    };
    let requests = request(&json!({"id": 1, "type": "store.buckets"}));
    let (nonsense, asking, answering) = (masked(TEXT, b"nonsense"), masked(0x89, b""), masked(0x8a, b""));
    tokio::join!(
        talker("requests", &requests),
        talker("nonsense", &nonsense),
        talker("ping frames", &asking),
        talker("pong frames", &answering),
        one_byte_at_a_time,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_a_slow_reader_is_alive_as_long_as_it_reads() {
    let server = memory_with(heartbeat(60, 500)).bind().await.unwrap();
    define_items(&server).await;
    let padding = "x".repeat(10_000);
    for n in 0..1500 {
        server.store().insert("items", json!({"n": n, "tag": padding})).await.unwrap();
    }
    // 15 MB that leave in small portions over several heartbeats; it has no time to answer a ping.
    let mut raw = Raw::upgraded(address(&server), Some(16 * 1024)).await;
    raw.write(&request(&json!({"id": 1, "type": "store.all", "bucket": "items"}))).await;
    let mut read = 0;
    for portion in 0..30 {
        read += raw.exactly(400_000).await.len();
        if portion % 3 == 0 {
            // Not a wait for anything: this is how slow it is.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
    assert_eq!(read, 12_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn w13_nothing_behind_a_frame_that_closes_is_executed() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let bad: [(&[u8], u16); 4] = [
        (&masked(BINARY, b"x"), 1003),
        (b"\x81\x01x", 1002),
        (&masked(TEXT, b"\xff"), 1007),
        (&masked(0x83, b""), 1002),
    ];
    for (frame, code) in bad {
        let mut raw = Raw::upgraded(address(&server), None).await;
        let before = count(&server);
        raw.write(&[frame, &request(&insert(1))].concat()).await;
        assert_eq!(raw.closed().await.0, code);
        // Also what it sends after it has seen the close, and in portions.
        raw.write(&request(&insert(2))).await;
        raw.write(&request(&insert(3))).await;
        raw.ended().await;
        drop(raw);
        eventually("its end", async || server.connection_count() == 0).await;
        assert_eq!(count(&server), before, "{frame:x?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w13_what_came_before_the_frame_that_closes_is_executed() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut expected = 0;
    for end in [farewell(), masked(BINARY, b"x"), b"\x81\x01x".to_vec(), Vec::new()] {
        let mut raw = Raw::upgraded(address(&server), None).await;
        let wishes: Vec<u8> = (0..50).flat_map(|n| request(&insert(expected + n))).collect();
        raw.write(&[&wishes, &end, &request(&insert(9999))[..]].concat()).await;
        if end.is_empty() {
            expected += 1;
            drop(raw);
        } else {
            raw.ended().await;
        }
        expected += 50;
        eventually("all of them are done", async || count(&server) as u64 == expected).await;
        eventually("its end", async || server.connection_count() == 0).await;
        assert_eq!(count(&server) as u64, expected, "and nothing behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w13_nothing_is_executed_after_a_heartbeat_timeout() {
    let server = memory_with(heartbeat(60, 60)).bind().await.unwrap();
    define_items(&server).await;
    let mut raw = Raw::upgraded(address(&server), None).await;
    assert_eq!(raw.closed().await, (4001, "heartbeat_timeout".to_owned()));
    raw.write(&request(&insert(1))).await;
    raw.write(&request(&insert(2))).await;
    raw.ended().await;
    drop(raw);
    let closed = "dunlin_connections_closed_total{by=\"server\",code=\"4001\"}";
    eventually("its end", async || metric(address(&server), closed).await > 0).await;
    assert_eq!(count(&server), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn w13_a_stop_executes_exactly_what_it_answers() {
    let (server, gate) = with_slow_logins(|_| {}).await;
    define_items(&server).await;
    let server = Arc::new(server);
    let mut raw = Raw::upgraded(address(&server), None).await;
    // A login is under way, inserts wait behind it, some in its batch and some not; then the server stops.
    raw.write(&request(&json!({"id": 0, "type": "auth.login", "token": "u"}))).await;
    for n in 1..=100 {
        raw.write(&request(&insert(n))).await;
    }
    let stopping = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.stop(Duration::ZERO).await }
    });
    eventually("it is stopping", async || !server.is_running()).await;
    gate.add_permits(1);
    stopping.await.unwrap().unwrap();
    let mut answered = 0;
    let reason = loop {
        match raw.frame().await.unwrap() {
            (8, payload) => break payload,
            (_, payload) => {
                let answer: Value = serde_json::from_slice(&payload).unwrap();
                assert_eq!(answer["type"], "result", "{answer}");
                answered += usize::from(answer["id"] != 0);
            }
        }
    };
    assert_eq!(reason, [&1000u16.to_be_bytes()[..], b"server_shutdown"].concat());
    assert_eq!(count(&server), answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn w18_the_first_message_is_not_lost() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    for n in 0..50 {
        let mut raw = Raw::connect(address(&server)).await;
        raw.upgrade(&request(&insert(n))).await;
        assert_eq!(raw.message().await["data"]["n"], n);
    }
    // And whoever closes in that window leaves nothing behind.
    for _ in 0..50 {
        let mut raw = Raw::connect(address(&server)).await;
        raw.write(&[UPGRADE.as_bytes(), &farewell()].concat()).await;
    }
    eventually("all are gone", async || server.connection_count() == 0).await;
}
