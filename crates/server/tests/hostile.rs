//! Hostile upgrades and frames: each costs its sender an HTTP status or a close code, and nobody else anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{
    BINARY, Client, Innocent, PATIENCE, Raw, TEXT, UPGRADE, address, define_items, eventually, http_raw,
    masked, memory, memory_with, metric, request,
};
use dunlin_server::Server;
use serde_json::{Value, json};
use tokio::sync::watch;

/// A payload limit that is quick to reach.
const MOST: usize = 4096;

async fn with_innocent(server: &Server) -> Innocent {
    define_items(server).await;
    let mut innocent = Innocent::connect(server).await;
    innocent.is_served().await;
    innocent
}

/// [`UPGRADE`] with one part replaced.
fn upgrade_with(part: &str, by: &str) -> String {
    assert!(UPGRADE.contains(part));
    UPGRADE.replacen(part, by, 1)
}

/// The status code of an HTTP response; 0 if there was none.
fn status(response: &str) -> u16 {
    response.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).unwrap_or(0)
}

/// Keeps an innocent client busy until the returned sender says that it is enough.
fn keep_served(mut innocent: Innocent) -> (watch::Sender<bool>, tokio::task::JoinHandle<Innocent>) {
    let (enough, is_enough) = watch::channel(false);
    let task = tokio::spawn(async move {
        while !*is_enough.borrow() {
            innocent.is_served().await;
        }
        innocent
    });
    (enough, task)
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
fn announcing(first: u8, length: u64) -> Vec<u8> {
    let mut frame = vec![first, 0xff];
    frame.extend(length.to_be_bytes());
    frame.extend([1, 2, 3, 4]);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_frame_costs_its_connection_the_right_close_code() {
    let server = memory_with(|config| config.max_payload_bytes = MOST).bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let fragments = |parts: &[(u8, &[u8])]| -> Vec<u8> {
        parts.iter().flat_map(|(first, payload)| masked(*first, payload)).collect()
    };
    let long = vec![b' '; MOST];
    let table: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("unmasked", b"\x81\x02{}".to_vec(), 1002, ""),
        ("first reserved bit", masked(0xc1, b"{}"), 1002, ""),
        ("second reserved bit", masked(0xa1, b"{}"), 1002, ""),
        ("third reserved bit", masked(0x91, b"{}"), 1002, ""),
        ("unknown opcode", masked(0x83, b"{}"), 1002, ""),
        ("unknown control opcode", masked(0x8b, b"{}"), 1002, ""),
        ("fragmented ping", masked(0x09, b"x"), 1002, ""),
        ("fragmented close", masked(0x08, &1000u16.to_be_bytes()), 1002, ""),
        ("long ping", masked(0x89, &[0; 126]), 1002, ""),
        ("continuation of nothing", masked(0x80, b"{}"), 1002, ""),
        ("a message inside a message", fragments(&[(0x01, b"{"), (0x81, b"}")]), 1002, ""),
        ("close with half a code", masked(0x88, b"\x03"), 1002, ""),
        ("bad UTF-8", masked(TEXT, b"{\"a\":\"\xc3\x28\"}"), 1007, ""),
        ("half a character", masked(TEXT, b"\xe2\x98"), 1007, ""),
        ("a surrogate", masked(TEXT, b"\xed\xa0\x80"), 1007, ""),
        ("bad UTF-8 over fragments", fragments(&[(0x01, b"\xe2\x98"), (0x80, b"\x28")]), 1007, ""),
        ("half a character over fragments", fragments(&[(0x01, b"\xe2"), (0x80, b"\x98")]), 1007, ""),
        ("one byte too many", masked(TEXT, &[&long[..], b" "].concat()), 1009, ""),
        ("one byte too many in fragments", fragments(&[(0x01, &long), (0x80, b" ")]), 1009, ""),
        (
            "many fragments",
            fragments(&[&[(0x01, &b"abc"[..])], &[(0x00, &long[..1000]); 5][..]].concat()),
            1009,
            "",
        ),
        ("one byte too many, announced", announcing(TEXT, MOST as u64 + 1), 1009, ""),
        ("2^62 bytes announced", announcing(TEXT, 1 << 62), 1009, ""),
        ("2^63 bytes announced", announcing(TEXT, 1 << 63), 1009, ""),
        ("2^64 - 1 bytes announced", announcing(TEXT, u64::MAX), 1009, ""),
        ("binary", masked(BINARY, b"{}"), 1003, "binary_not_supported"),
        ("binary, empty", masked(BINARY, b""), 1003, "binary_not_supported"),
        ("binary in fragments", fragments(&[(0x02, b"a"), (0x80, b"b")]), 1003, "binary_not_supported"),
    ];
    for (what, bad, code, reason) in table {
        let mut raw = Raw::upgraded(address(&server), None).await;
        raw.write(&bad).await;
        assert_eq!(raw.closed().await, (code, reason.to_owned()), "{what}");
        raw.ended().await;
        innocent.is_served().await;
    }
    eventually("their places are free", async || server.connection_count() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_exactly_the_longest_length_is_served() {
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let most = 1024 * 1024;
    let of_length = |length: usize| {
        let bare = json!({"id": 7, "type": "store.buckets", "padding": ""}).to_string();
        let padding = "x".repeat(length - bare.len());
        json!({"id": 7, "type": "store.buckets", "padding": padding}).to_string().into_bytes()
    };
    let in_fragments = |payload: &[u8]| -> Vec<u8> {
        let (first, rest) = payload.split_at(1000);
        let (middle, last) = rest.split_at(500_000);
        [masked(0x01, first), masked(0x00, middle), masked(0x89, b"ping"), masked(0x80, last)].concat()
    };
    let mut raw = Raw::upgraded(address(&server), None).await;
    raw.write(&masked(TEXT, &of_length(most))).await;
    assert_eq!(raw.message().await["id"], 7, "in one frame");
    raw.write(&in_fragments(&of_length(most))).await;
    assert_eq!(raw.message().await["id"], 7, "in fragments, with a ping between them");
    raw.write(&in_fragments(&of_length(most + 1))).await;
    assert_eq!(raw.closed().await, (1009, String::new()), "one more, in fragments");
    let mut raw = Raw::upgraded(address(&server), None).await;
    raw.write(&masked(TEXT, &of_length(most + 1))).await;
    assert_eq!(raw.closed().await, (1009, String::new()), "one more, in one frame");
    innocent.is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_odd_but_sound_are_served() {
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let mut raw = Raw::upgraded(address(&server), None).await;
    // A character cut in two by fragments, an empty fragment between them, pings and pongs nobody asked for.
    let text = json!({"id": 1, "type": "store.where", "bucket": "items", "filter": {"tag": "☃"}}).to_string();
    let cut = text.find('☃').unwrap() + 1;
    raw.write(&masked(0x01, &text.as_bytes()[..cut])).await;
    raw.write(&masked(0x00, b"")).await;
    raw.write(&masked(0x8a, b"unasked")).await;
    raw.write(&masked(0x89, b"are you there")).await;
    assert_eq!(raw.frame().await.unwrap(), (10, b"are you there".to_vec()));
    raw.write(&masked(0x80, &text.as_bytes()[cut..])).await;
    assert_eq!(raw.message().await, json!({"id": 1, "type": "result", "data": []}));
    // One byte at a time.
    for byte in request(&json!({"id": 2, "type": "store.buckets"})) {
        raw.write(&[byte]).await;
    }
    assert_eq!(raw.message().await["id"], 2);
    innocent.is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_or_broken_json_is_answered_and_the_connection_stays() {
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let deep = 300_000;
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(deep), close.repeat(deep));
    for data in [nested("[", "]"), "{\"a\":".repeat(150_000) + "1" + &"}".repeat(150_000)] {
        client.text(&data).await;
        assert_eq!(
            client.message().await["code"],
            if data.starts_with('[') { "PARSE_ERROR" } else { "INVALID_REQUEST" }
        );
        client
            .text(&format!(r#"{{"id":5,"type":"store.insert","bucket":"items","data":{{"n":{data}}}}}"#))
            .await;
        let answer = client.message().await;
        assert_eq!((&answer["id"], &answer["code"]), (&json!(5), &json!("VALIDATION_ERROR")));
        let filter = format!(r#"{{"id":6,"type":"store.where","bucket":"items","filter":{{"n":{data}}}}}"#);
        client.text(&filter).await;
        assert_eq!(client.message().await["code"], "VALIDATION_ERROR");
        client
            .text(&format!(r#"{{"id":7,"type":"store.subscribe","query":"items-by-tag","params":{data}}}"#))
            .await;
        assert_eq!(client.message().await["code"], "VALIDATION_ERROR");
        // Where no operation looks, it is skipped.
        client.text(&format!(r#"{{"id":8,"type":"store.buckets","unknown":{data}}}"#)).await;
        assert_eq!(client.message().await["type"], "result");
        // Never closed.
        client.text(&data[..deep]).await;
        assert_eq!(client.message().await["code"], "PARSE_ERROR");
    }
    for text in ["", " ", "\0", "{", "null", "[]", "{\"id\":1e999,\"type\":\"x\"}", "\u{feff}{}"] {
        client.text(text).await;
        let answer = client.message().await;
        assert_eq!((&answer["id"], &answer["type"]), (&json!(0), &json!("error")), "{text:?}");
    }
    innocent.is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tiny_frames_at_once_are_answered_in_order() {
    let server = memory().bind().await.unwrap();
    let mut innocent = with_innocent(&server).await;
    let mut raw = Raw::upgraded(address(&server), None).await;
    let flood: Vec<u8> = (0..10_000)
        .flat_map(|n| match n % 3 {
            0 => masked(TEXT, b""),
            1 => request(&json!({"id": n, "type": "x"})),
            _ => masked(0x8a, b""),
        })
        .collect();
    let (mut from, mut to) = raw.stream.split();
    let sent = async {
        tokio::io::AsyncWriteExt::write_all(&mut to, &flood).await.unwrap();
    };
    // Both at once: the server does not read on while its answers are not taken.
    let read = async {
        let mut answers = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        while String::from_utf8_lossy(&answers[answers.len().saturating_sub(200)..])
            .find("\"id\":9997,")
            .is_none()
        {
            let n = tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read(&mut from, &mut chunk));
            let n = n.await.expect("answers come").unwrap();
            assert!(n > 0, "closed");
            answers.extend_from_slice(&chunk[..n]);
        }
        answers
    };
    let (answers, ()) = tokio::join!(read, sent);
    let text = String::from_utf8_lossy(&answers);
    assert_eq!(text.matches("PARSE_ERROR").count(), 3334);
    let ids: Vec<u32> = text
        .split("{\"id\":")
        .filter_map(|rest| rest.split_once(',')?.0.parse().ok())
        .filter(|id| *id > 0)
        .collect();
    assert_eq!(ids, (0..10_000).filter(|n| n % 3 == 1).collect::<Vec<_>>());
    innocent.is_served().await;
}

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
    let closed = "dunlin_connections_closed_total{by=\"server\",code=\"4001\"}";
    eventually("the heartbeat closes it", async || metric(address(&server), closed).await > 0).await;
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
    // Though it still does not read: only the task that tidies up metrics is left of the server.
    let tasks = tokio::runtime::Handle::current().metrics();
    eventually("no task is left", async || tasks.num_alive_tasks() <= 1).await;
    greedy.ended().await;
}

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
