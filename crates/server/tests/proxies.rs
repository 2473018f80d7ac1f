//! Whose connection it is, behind proxies, on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::num::NonZeroUsize;

use common::{Client, Raw, UPGRADE, address, eventually, memory_with, request};
use dunlin_server::{Config, Server};
use serde_json::json;

fn trusting(config: &mut Config, networks: &[&str]) {
    config.trusted_proxies = networks.iter().map(|network| network.parse().unwrap()).collect();
}

async fn behind_a_proxy(networks: &[&str], change: impl FnOnce(&mut Config)) -> Server {
    let server = memory_with(|config| {
        trusting(config, networks);
        change(config);
    });
    server.bind().await.unwrap()
}

/// An upgrade with more headers, or with something before it.
async fn upgrade(server: &Server, before: &[u8], headers: &str) -> Raw {
    let mut raw = Raw::connect(address(server)).await;
    let request = UPGRADE.replacen("\r\n\r\n", &format!("\r\n{headers}\r\n"), 1);
    raw.write(&[before, request.as_bytes()].concat()).await;
    raw
}

/// Up to the welcome.
async fn connected(server: &Server, before: &[u8], headers: &str) -> Raw {
    let mut raw = upgrade(server, before, headers).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(raw.message().await["type"], "welcome");
    raw
}

fn addresses(server: &Server) -> Vec<String> {
    server.connections().into_iter().map(|connection| connection.remote_address).collect()
}

fn v2(command: u8, source: [u8; 4]) -> Vec<u8> {
    let fixed = [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11, 0, 12][..]].concat();
    [&fixed[..], &source, &[127, 0, 0, 1, 0x12, 0x67, 0x1f, 0x90]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_whose_connection_it_is() {
    let server = behind_a_proxy(&["127.0.0.0/8", "10.0.0.0/8"], |_| {}).await;
    let _one = connected(&server, b"", "X-Forwarded-For: 1.1.1.1, 198.51.100.7, 10.0.0.9\r\n").await;
    let _two = connected(&server, b"", "X-Forwarded-For: 2001:db8::7\r\nx-forwarded-for: 10.0.0.9\r\n").await;
    let _three = connected(&server, b"", "").await;
    assert_eq!(addresses(&server), ["198.51.100.7", "2001:db8::7", "127.0.0.1"]);
    let mut client = Client::connect(address(&server)).await;
    let shown = client.data(json!({"type": "server.connections"})).await;
    assert_eq!(shown[0]["remoteAddress"], "198.51.100.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_believed() {
    for networks in [&[][..], &["10.0.0.0/8"]] {
        let server = behind_a_proxy(networks, |_| {}).await;
        let _raw = connected(&server, b"", "X-Forwarded-For: 198.51.100.7\r\n").await;
        assert_eq!(addresses(&server), ["127.0.0.1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_requests_are_counted_for_the_client_and_not_for_the_proxy() {
    let server = behind_a_proxy(&["127.0.0.1/32"], |config| {
        config.max_connections_per_ip = NonZeroUsize::new(1);
        config.rate_limit.max_requests = Some(1);
        config.rate_limit.window_ms = 86_400_000;
    })
    .await;
    let buckets = request(&json!({"id": 1, "type": "store.buckets"}));
    for client in ["198.51.100.7", "198.51.100.8", "2001:db8::1"] {
        let mut raw = connected(&server, b"", &format!("X-Forwarded-For: {client}\r\n")).await;
        raw.write(&buckets.repeat(2)).await;
        assert_eq!(raw.message().await["type"], "result");
        assert_eq!(raw.message().await["code"], "RATE_LIMITED");
        // Of IPv6 the second half is the client's own choice.
        let same = client.replace("::1", "::2");
        let mut second = upgrade(&server, b"", &format!("X-Forwarded-For: {same}\r\n")).await;
        second.head().await;
        assert_eq!(second.closed().await, (4003, "too_many_connections".to_owned()));
        drop(raw);
    }
    eventually("their places are free", async || server.connection_count() == 0).await;
    connected(&server, b"", "X-Forwarded-For: 198.51.100.7\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_names_the_client() {
    let server = behind_a_proxy(&["127.0.0.1/32", "10.0.0.0/8"], |config| config.proxy_protocol = true).await;
    let _binary = connected(&server, &v2(0x21, [198, 51, 100, 7]), "X-Forwarded-For: 1.1.1.1\r\n").await;
    let _text = connected(&server, b"PROXY TCP4 198.51.100.8 127.0.0.1 4711 80\r\n", "").await;
    let _local = connected(&server, &v2(0x20, [198, 51, 100, 9]), "").await;
    // A proxy behind a proxy: the second one is trusted as well.
    let _both = connected(&server, &v2(0x21, [10, 0, 0, 1]), "X-Forwarded-For: 198.51.100.10\r\n").await;
    assert_eq!(addresses(&server), ["198.51.100.7", "198.51.100.8", "127.0.0.1", "198.51.100.10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_proxy_names_nobody_the_client_does_not_name_himself() {
    let server = behind_a_proxy(&["127.0.0.1/32"], |config| config.proxy_protocol = true).await;
    for head in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x20, [198, 51, 100, 9])] {
        let _raw = connected(&server, &head, "X-Forwarded-For: 1.1.1.1\r\n").await;
        assert_eq!(addresses(&server).last().unwrap(), "127.0.0.1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_may_come_byte_by_byte_and_the_handshake_with_it() {
    let server = behind_a_proxy(&["127.0.0.1/32"], |config| config.proxy_protocol = true).await;
    for head in [v2(0x21, [198, 51, 100, 7]), b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\n".to_vec()] {
        let mut raw = Raw::connect(address(&server)).await;
        for byte in head {
            raw.write(&[byte]).await;
            tokio::task::yield_now().await;
        }
        raw.upgrade(&request(&json!({"id": 1, "type": "store.buckets"}))).await;
        assert_eq!(raw.message().await["id"], 1);
        assert_eq!(addresses(&server).last().unwrap(), "198.51.100.7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_without_a_head_is_dropped() {
    let server = behind_a_proxy(&["127.0.0.1/32"], |config| config.proxy_protocol = true).await;
    for before in [&b""[..], b"PROXY TCP4 nonsense\r\n", b"\r\n\r\n\0\r\nQUIT\n\xff\xff\xff\xff"] {
        let mut raw = upgrade(&server, before, "").await;
        assert_eq!(raw.head().await, "", "no answer, only an end");
    }
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_anybody_else_is_a_broken_request() {
    let server = behind_a_proxy(&["10.0.0.0/8"], |config| config.proxy_protocol = true).await;
    for before in [v2(0x21, [198, 51, 100, 7]), b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\n".to_vec()] {
        let mut raw = upgrade(&server, &before, "").await;
        let head = raw.head().await;
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 400 "), "{head}");
    }
    // Without one it is served as it is.
    connected(&server, b"", "").await;
}

/// In one thread, with a clock that jumps to the next thing that is waited for.
#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for_without_end() {
    let server = behind_a_proxy(&["127.0.0.1/32"], |config| config.proxy_protocol = true).await;
    let mut silent = Raw::connect(address(&server)).await;
    let mut half = Raw::connect(address(&server)).await;
    half.write(&v2(0x21, [198, 51, 100, 7])[..20]).await;
    tokio::time::pause();
    silent.ended().await;
    half.ended().await;
}
