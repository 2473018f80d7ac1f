//! Hostile upgrades, and what comes with them: each costs its sender an HTTP status or a close code, and nobody else
//! anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::hostile::{announcing, with_innocent};
use common::{
    BINARY, Raw, TEXT, UPGRADE, address, eventually, http_raw, masked, memory, memory_with, request,
};
use serde_json::{Value, json};

/// [`UPGRADE`] with one part replaced.
fn upgrade_with(part: &str, by: &str) -> String {
    assert!(UPGRADE.contains(part));
    UPGRADE.replacen(part, by, 1)
}

/// The status code of an HTTP response; 0 if there was none.
fn status(response: &str) -> u16 {
    response.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_upgrade_costs_an_http_status() {
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let version_7 = upgrade_with("Version: 13", "Version: 7");
    let table: Vec<(&str, String, &[u16])> = vec![
        ("two slashes", upgrade_with("GET / ", "GET // "), &[400, 404]),
        ("dots", upgrade_with("GET / ", "GET /../ "), &[404]),
        ("no slash", upgrade_with("GET / ", "GET evil "), &[400, 404]),
        ("nothing", upgrade_with("GET / ", "GET  "), &[400]),
        ("a percent sign", upgrade_with("GET / ", "GET /%zz%00 "), &[400, 404]),
        ("another path", upgrade_with("GET / ", "GET /other "), &[404]),
        ("absolute form of another path", upgrade_with("GET / ", "GET http://localhost/other "), &[404]),
        ("absolute form of nowhere", upgrade_with("GET / ", "GET http:// "), &[400]),
        ("absolute form, broken", upgrade_with("GET / ", "GET http://[::1/ "), &[400]),
        ("an authority", upgrade_with("GET / ", "CONNECT localhost:80 "), &[400, 404, 405]),
        ("an asterisk", upgrade_with("GET / ", "OPTIONS * "), &[400, 404, 405]),
        ("POST", upgrade_with("GET / ", "POST / "), &[405]),
        ("a method of its own", upgrade_with("GET / ", "BREW / "), &[405]),
        ("HTTP/1.0", upgrade_with("HTTP/1.1", "HTTP/1.0"), &[400, 426]),
        ("HTTP/9.9", upgrade_with("HTTP/1.1", "HTTP/9.9"), &[400, 505]),
        ("no upgrade", upgrade_with("Upgrade: websocket\r\n", ""), &[426]),
        ("another upgrade", upgrade_with("websocket", "h2c"), &[426]),
        ("another version", version_7, &[426]),
        ("no version", upgrade_with("Sec-WebSocket-Version: 13\r\n", ""), &[426]),
        ("a short key", upgrade_with("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), &[400]),
        ("a long key", upgrade_with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==AAAA"), &[400]),
        (
            "a key that is no base64",
            upgrade_with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub2 jZQ=="),
            &[400],
        ),
        ("no key", upgrade_with("Sec-WebSocket-Key: ", "X-Key: "), &[400]),
        ("a header without a colon", upgrade_with("Host: localhost", "Host localhost"), &[400]),
        ("a NUL", upgrade_with("localhost", "local\0host"), &[400]),
        ("no HTTP at all", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\u{fc}\r\n\r\n".to_owned(), &[0, 400]),
        (
            "an oversized head",
            upgrade_with("Host: localhost", &format!("X: {}", "a".repeat(1 << 20))),
            &[0, 400, 431],
        ),
        ("too many headers", upgrade_with("Host: localhost", &"X: y\r\n".repeat(2000)), &[0, 400, 431]),
    ];
    for (what, head, expected) in table {
        let head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let response = http_raw(address(&server), head.as_bytes()).await;
        assert!(expected.contains(&status(&response)), "{what}: {response}");
        innocent.is_served().await;
    }
    assert_eq!(server.connection_count(), 1, "nobody else came in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_host_does_not_keep_anybody_out() {
    // The server has one name-independent endpoint, so it does not look at `Host` at all.
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let table = [
        upgrade_with("Host: localhost", "Host: [::bad"),
        upgrade_with("Host: localhost", "Host: a b/c?d#e@f:99999"),
        upgrade_with("Host: localhost", "Host:"),
        upgrade_with("Host: localhost\r\n", ""),
        upgrade_with("Host: localhost", "Host: one\r\nHost: two"),
        upgrade_with("GET / ", "GET http://somewhere.example/ "),
        upgrade_with("GET / ", "GET /?token=secret&x "),
        upgrade_with("Version: 13", "Version: 8"),
    ];
    for head in table {
        let mut raw = Raw::connect(address(&server)).await;
        raw.write(head.as_bytes()).await;
        let response = raw.head().await;
        assert_eq!(status(&response), 101, "{head}{response}");
        assert_eq!(raw.message().await["type"], "welcome");
        raw.write(&request(&json!({"id": 1, "type": "store.buckets"}))).await;
        assert_eq!(raw.message().await["data"]["count"], 1);
        innocent.is_served().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_holds_up_nobody() {
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let mut unfinished = Vec::new();
    for n in 0..100 {
        let mut raw = Raw::connect(address(&server)).await;
        // Between nothing at all and everything but the last byte.
        raw.write(&UPGRADE.as_bytes()[..n * (UPGRADE.len() - 1) / 99]).await;
        unfinished.push(raw);
    }
    innocent.is_served().await;
    server.stop(Duration::ZERO).await.unwrap();
    for raw in &mut unfinished {
        raw.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w18_what_comes_with_the_handshake_is_the_beginning_of_the_conversation() {
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;

    let mut raw = Raw::connect(address(&server)).await;
    raw.upgrade(&request(&json!({"id": 1, "type": "store.count", "bucket": "nowhere"}))).await;
    assert_eq!(raw.message().await["code"], "BUCKET_NOT_DEFINED");
    raw.write(&request(&json!({"id": 2, "type": "store.buckets"}))).await;
    assert_eq!(raw.message().await["id"], 2);

    // More than any buffer on the way holds.
    let mut raw = Raw::connect(address(&server)).await;
    let padding = "x".repeat(1000);
    let many: Vec<u8> = (0..300)
        .flat_map(|id| request(&json!({"id": id, "type": "store.buckets", "padding": padding})))
        .collect();
    raw.upgrade(&many).await;
    for id in 0..300 {
        assert_eq!(raw.message().await["id"], id);
    }

    // Half a frame; the other half after the welcome.
    let mut raw = Raw::connect(address(&server)).await;
    let whole = request(&json!({"id": 3, "type": "store.buckets"}));
    let (half, other_half) = whole.split_at(whole.len() / 2);
    raw.upgrade(half).await;
    raw.write(other_half).await;
    assert_eq!(raw.message().await["id"], 3);

    // Only the first byte of a frame.
    let mut raw = Raw::connect(address(&server)).await;
    raw.upgrade(&whole[..1]).await;
    raw.write(&whole[1..]).await;
    assert_eq!(raw.message().await["id"], 3);

    // A farewell: the connection is over when it has begun, and nothing of it is left.
    let mut raw = Raw::connect(address(&server)).await;
    raw.upgrade(&common::farewell()).await;
    raw.ended().await;
    eventually("the places are free again", async || {
        drop(raw.stream.try_write(&[]));
        server.connection_count() <= 5
    })
    .await;
    innocent.is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_with_the_handshake_costs_its_connection() {
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let table: [(&[u8], u16); 4] = [
        (b"\x81\x05hello", 1002),
        (&[0xff; 32], 1002),
        (&masked(BINARY, b"{}"), 1003),
        (&masked(TEXT, b"\xff"), 1007),
    ];
    for (bad, code) in table {
        let mut raw = Raw::connect(address(&server)).await;
        raw.write(&[UPGRADE.as_bytes(), bad].concat()).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(raw.closed().await.0, code, "{bad:x?}");
        innocent.is_served().await;
    }
    eventually("their places are free", async || server.connection_count() == 1).await;
}

/// A frame whose head announces more than there is.

#[tokio::test(flavor = "multi_thread")]
async fn w5_whoever_is_refused_can_send_what_he_likes() {
    let server = memory_with(|config| config.max_connections_per_ip = std::num::NonZeroUsize::new(1))
        .bind()
        .await
        .unwrap();
    let mut innocent = with_innocent(&server).await;
    for bad in
        [&b"\xff\xff\xff\xff\xff\xff"[..], b"\x81\x02{}", &masked(BINARY, b"x"), &announcing(TEXT, u64::MAX)]
    {
        // With the handshake, and after it.
        for with_handshake in [true, false] {
            let mut raw = Raw::connect(address(&server)).await;
            let behind = if with_handshake { bad } else { b"" };
            raw.write(&[UPGRADE.as_bytes(), behind].concat()).await;
            assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
            raw.write(bad).await;
            assert_eq!(raw.closed().await, (4003, "too_many_connections".to_owned()));
            raw.write(bad).await;
            innocent.is_served().await;
        }
    }
    let answer: Value = server.stats().await.unwrap();
    assert_eq!(answer["connectionCount"], 1);
}
