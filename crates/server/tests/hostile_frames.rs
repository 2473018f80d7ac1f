//! Hostile frames: each costs its connection the right close code, and nobody else anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::hostile::{announcing, with_innocent};
use common::{
    BINARY, Client, PATIENCE, Raw, TEXT, address, eventually, masked, memory, memory_with, request,
};
use serde_json::json;

/// A payload limit that is quick to reach.
const MOST: usize = 4096;

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
        // Also where no operation looks: the bound is the message's.
        client.text(&format!(r#"{{"id":8,"type":"store.buckets","unknown":{data}}}"#)).await;
        assert_eq!(client.message().await["code"], "VALIDATION_ERROR");
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
