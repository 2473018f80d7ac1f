//! What the port answers to plain HTTP: health, metrics, refusals, the upgrade's own rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use common::{
    Client, Raw, UPGRADE, address, define_items, eventually, http_get, http_raw, memory, memory_with, metric,
    metrics,
};
use dunlin_server::{Server, StartError};
use serde_json::json;
use tokio::net::TcpListener;

/// Sends a request with this method and returns the whole response.
async fn ask(server: &Server, method: &str, path: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    http_raw(address(server), request.as_bytes()).await
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a head").1
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_told() {
    let server = memory().bind().await.unwrap();
    for (path, text) in [("/health", "ok\n"), ("/ready", "ready\n"), ("/health?verbose=1", "ok\n")] {
        let response = ask(&server, "GET", path).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert_eq!(body(&response), text);
        let head = ask(&server, "HEAD", path).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body(&head).is_empty(), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_404_and_what_is_not_possible_405_or_426() {
    let server = memory().bind().await.unwrap();
    for path in ["/nowhere", "/health/", "/HEALTH", "//health", "/metrics/x", "/%68ealth"] {
        let response = ask(&server, "GET", path).await;
        assert!(response.starts_with("HTTP/1.1 404 "), "{path}: {response}");
        assert!(body(&response).contains("WebSocket endpoint is at /."), "it says where to go: {response}");
    }
    for (method, path) in
        [("POST", "/health"), ("DELETE", "/metrics"), ("PUT", "/ready"), ("POST", "/"), ("HEAD", "/")]
    {
        let response = ask(&server, method, path).await;
        assert!(response.starts_with("HTTP/1.1 405 "), "{method} {path}: {response}");
        assert!(response.to_ascii_lowercase().contains("\r\nallow: get"), "{response}");
    }
    let response = ask(&server, "GET", "/").await;
    assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_several_requests_and_then_the_upgrade() {
    let server = memory().bind().await.unwrap();
    let mut raw = Raw::connect(address(&server)).await;
    // The first three pipelined in one segment.
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw.write([get("/health"), get("/ready"), get("/nowhere")].concat().as_bytes()).await;
    for (status, text) in
        [("200", "ok\n"), ("200", "ready\n"), ("404", "Nothing here. The WebSocket endpoint is at /.\n")]
    {
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(raw.exactly(text.len()).await, text.as_bytes());
    }
    raw.write(get("/").as_bytes()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 426 "));
    let refusal = "This is a WebSocket endpoint: connect with a WebSocket client (version 13).\n";
    assert_eq!(raw.exactly(refusal.len()).await, refusal.as_bytes());
    raw.upgrade(&common::request(&json!({"id": 1, "type": "store.buckets"}))).await;
    assert_eq!(raw.message().await["id"], 1);
}

/// The grammar of the Prometheus text format, version 0.0.4, as far as it can be told line by line.
fn is_sample(line: &str) -> bool {
    let name_end = line.find(['{', ' ']).unwrap_or(0);
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    let rest = &line[name_end..];
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => match rest.split_once("} ") {
            Some((labels, value)) => (labels, value),
            None => return false,
        },
        None => ("", rest.trim_start()),
    };
    let sound_labels = labels.split(',').filter(|label| !label.is_empty()).all(|label| {
        let quoted = |value: &str| value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
        label.split_once('=').is_some_and(|(name, value)| is_name(name) && quoted(value))
    });
    is_name(&line[..name_end]) && sound_labels && value.parse::<f64>().is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_prometheus_text() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.subscribe", "query": "all-items"})).await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    client.close().await;
    let closed = "dunlin_connections_closed_total{by=\"client\"}";
    eventually("its end is counted", async || metric(address(&server), closed).await == 1).await;
    let response = http_get(address(&server), "/metrics").await;
    let lower = response.to_ascii_lowercase();
    assert!(lower.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{response}");
    let mut types = Vec::new();
    let mut samples = 0;
    for line in body(&response).lines().filter(|line| !line.is_empty()) {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            assert!(["counter", "gauge", "summary", "histogram"].contains(&kind), "{line}");
            assert!(!types.contains(&name.to_owned()), "declared twice: {line}");
            types.push(name.to_owned());
        } else if !line.starts_with('#') {
            assert!(is_sample(line), "{line}");
            assert!(types.iter().any(|name| line.starts_with(name.as_str())), "no type: {line}");
            samples += 1;
        }
    }
    assert!(samples >= 15, "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happens() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let address = address(&server);
    // Connections and requests of both, since they are counted before their answers leave.
    let figures = async || {
        let mut figures = Vec::new();
        for name in [
            "dunlin_connections",
            "dunlin_connections_opened_total",
            "dunlin_connections_refused_total",
            "dunlin_requests_total",
            "dunlin_request_errors_total",
            "dunlin_commits_total",
            "dunlin_live_views",
            "dunlin_pushes_sent_total",
        ] {
            figures.push(metrics(address, name).await);
        }
        figures
    };
    // The definitions were commits.
    assert_eq!(figures().await, [0, 0, 0, 0, 0, 4, 0, 0]);
    let mut client = Client::connect(address).await;
    let watched = common::subscribe(&mut client, "item-count").await;
    assert_eq!(figures().await, [1, 1, 0, 1, 0, 4, 1, 0]);
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    assert_eq!(client.push(&watched).await, 1);
    assert_eq!(figures().await, [1, 1, 0, 2, 0, 5, 1, 1]);
    client.code(json!({"type": "store.insert", "bucket": "items", "data": {"n": "x"}})).await;
    client.text("{").await;
    client.message().await;
    // A pong is no request.
    client.text(r#"{"type":"pong","timestamp":1}"#).await;
    client.data(json!({"type": "store.unsubscribe", "subscriptionId": watched})).await;
    eventually("the view is closed", async || metric(address, "dunlin_live_views").await == 0).await;
    assert_eq!(figures().await, [1, 1, 0, 5, 2, 5, 0, 1]);
    // Refused upgrades are no connections.
    http_get(address, "/").await;
    client.close().await;
    let closed = "dunlin_connections_closed_total{by=\"client\"}";
    eventually("its end is counted", async || metric(address, closed).await == 1).await;
    eventually("its place is free", async || metrics(address, "dunlin_connections").await == 0).await;
    assert_eq!(figures().await, [0, 1, 1, 5, 2, 5, 0, 1]);
    let (sent, received) = (
        metric(address, "dunlin_sent_bytes_total").await,
        metric(address, "dunlin_received_bytes_total").await,
    );
    assert!(sent > 300 && received > 300, "{sent} and {received} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_in_one_process_count_apart() {
    let (one, other) = (memory().bind().await.unwrap(), memory().bind().await.unwrap());
    let _client = Client::connect(address(&one)).await;
    assert_eq!(metric(address(&one), "dunlin_connections_opened_total").await, 1);
    assert_eq!(metric(address(&other), "dunlin_connections_opened_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_origin_is_kept_out() {
    let ours = "https://app.example.com";
    let server =
        memory_with(|config| config.allowed_origins = Some(vec![ours.to_owned()])).bind().await.unwrap();
    let with_origin = |origin: &str| UPGRADE.replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1);
    for foreign in [
        "https://evil.example.com",
        "https://APP.example.com",
        "null",
        "",
        "https://app.example.com.evil.com",
    ] {
        let response = http_raw(
            address(&server),
            with_origin(foreign).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(response.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{foreign}: {response}");
        assert!(body(&response).is_empty(), "{response}");
    }
    // The check comes before the others, as the protocol says.
    let response =
        http_raw(address(&server), b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: no\r\nConnection: close\r\n\r\n")
            .await;
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    let mut raw = Raw::connect(address(&server)).await;
    raw.write(with_origin(ours).as_bytes()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.message().await["type"], "welcome");
    // Without the header it is no browser.
    Client::connect(address(&server)).await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_its_share_of_connections_and_no_more() {
    let server =
        memory_with(|config| config.max_connections_per_ip = NonZeroUsize::new(2)).bind().await.unwrap();
    let first = Client::connect(address(&server)).await;
    let mut second = Client::connect(address(&server)).await;
    for _ in 0..3 {
        let mut third = Client::connect_raw(address(&server)).await;
        assert_eq!(third.next().await, None, "no welcome");
        assert_eq!(third.closed().await, (4003, "too_many_connections".to_owned()));
    }
    assert_eq!(server.connection_count(), 2, "whoever is refused is not counted");
    second.data(json!({"type": "store.buckets"})).await;
    first.close().await;
    eventually("the place is free", async || server.connection_count() == 1).await;
    let mut third = Client::connect(address(&server)).await;
    third.data(json!({"type": "store.buckets"})).await;
    // Another address has its own share; and so has nobody who only asks for health.
    assert!(ask(&server, "GET", "/health").await.contains(" 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_free_again_however_the_connection_ended() {
    let server =
        memory_with(|config| config.max_connections_per_ip = NonZeroUsize::new(1)).bind().await.unwrap();
    let ends: [&[u8]; 4] =
        [&common::farewell(), b"", b"\xff\xff\xff\xff", &common::masked(common::BINARY, b"")];
    for end in ends {
        let mut raw = Raw::upgraded(address(&server), None).await;
        raw.write(end).await;
        drop(raw);
        eventually("the place is free", async || server.connection_count() == 0).await;
    }
    Client::connect(address(&server)).await.data(json!({"type": "store.buckets"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_subprotocol_offered_is_echoed_and_no_extension_is() {
    let server = memory().bind().await.unwrap();
    let offered =
        "Sec-WebSocket-Protocol: chat.v2, chat.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut raw = Raw::connect(address(&server)).await;
    raw.write(UPGRADE.replacen("\r\n\r\n", &format!("\r\n{offered}\r\n"), 1).as_bytes()).await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("\r\nsec-websocket-protocol: chat.v2\r\n"), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    assert!(head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_can_have_any_path_of_its_own() {
    // Also those that mean something to routers.
    for path in ["/ws", "/a/b/", "/ws/{id}", "/{*rest}", "/:id", "/*all", "/%7Ebob", "/a//b", "/}{"] {
        let server = memory().path(path).bind().await.unwrap();
        let upgrade = |path: &str| UPGRADE.replacen("GET /", &format!("GET {path}"), 1);
        let mut raw = Raw::connect(address(&server)).await;
        raw.write(upgrade(&format!("{path}?x=y")).as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{path}: {head}");
        assert_eq!(raw.message().await["type"], "welcome");
        for other in ["/", "/x", "/ws/7", "/ws/", "/a/b"] {
            let head = upgrade(other).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
            let response = http_raw(address(&server), head.as_bytes()).await;
            assert!(response.starts_with("HTTP/1.1 404 "), "{other} at {path}: {response}");
            assert!(body(&response).contains(path), "{response}");
        }
        assert!(ask(&server, "GET", "/health").await.contains(" 200 "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_cannot_take_the_place_of_health_or_metrics() {
    for path in ["/health", "/ready", "/metrics"] {
        let refused = memory().path(path).bind().await;
        let Err(StartError::Config(error)) = refused.map(drop) else { panic!("{path} was accepted") };
        assert!(error.to_string().contains("path") && error.to_string().contains(path), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_stops_it_is_not_ready_and_newcomers_are_told() {
    // Its own port is closed then; mounted in another server it is still asked.
    let server = Arc::new(memory().build().await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let application = server.router().merge(server.monitoring_router());
    tokio::spawn(async move { axum::serve(listener, application).await });
    assert!(http_get(address, "/ready").await.starts_with("HTTP/1.1 200 "));
    let client = Client::connect(address).await;
    let stopping = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.stop(Duration::from_secs(3600)).await }
    });
    eventually("it stops", async || !server.is_running()).await;
    let response = http_get(address, "/ready").await;
    assert!(response.starts_with("HTTP/1.1 503 ") && body(&response) == "stopping\n", "{response}");
    assert!(http_get(address, "/health").await.starts_with("HTTP/1.1 200 "));
    assert!(http_get(address, "/metrics").await.starts_with("HTTP/1.1 200 "));
    let mut late = Client::connect_raw(address).await;
    assert_eq!(late.next().await, None, "no welcome");
    assert_eq!(late.closed().await, (1001, "server_shutting_down".to_owned()));
    client.close().await;
    stopping.await.unwrap().unwrap();
    let mut late = Client::connect_raw(address).await;
    assert_eq!(late.closed().await, (1001, "server_shutting_down".to_owned()));
}
