//! What `/metrics` says is what has happened; where it is said; and that no client can make it say more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use common::{
    Client, Raw, address, define_items, eventually, http_get, memory, memory_with, metric, metrics, subscribe,
};
use dunlin_server::config::{StorageKind, TokenSession};
use dunlin_server::{Authentication, Config, Login, Server, Session, StartError};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower_service::Service as _;

/// Every series with its value.
async fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let text = http_get(address, "/metrics").await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let lines = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// What has changed between two scrapes.
fn grown(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>, name: &str) -> Vec<(String, f64)> {
    let of_name = after.iter().filter(|(series, _)| {
        series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
    });
    let changes = of_name.map(|(series, value)| (series, value - before.get(series).copied().unwrap_or(0.0)));
    changes
        .filter(|(_, change)| change.abs() > 1e-9)
        .map(|(series, change)| (series[name.len()..].to_owned(), change))
        .collect()
}

fn counts<const N: usize>(expected: [(&str, f64); N]) -> Vec<(String, f64)> {
    expected.map(|(labels, count)| (labels.to_owned(), count)).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_count_by_operation_and_outcome_and_errors_by_code() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let at = address(&server);
    let before = scrape(at).await;
    let mut client = Client::connect(at).await;
    // One batch: reads behind writes behind reads, refusals in between, all in their order.
    let insert =
        |n| json!({"type": "store.insert", "bucket": "items", "data": {"id": format!("i{n}"), "n": n}});
    let get = |n| json!({"type": "store.get", "bucket": "items", "key": format!("i{n}")});
    let wrong = json!({"type": "store.insert", "bucket": "items", "data": {"n": "x"}});
    let requests =
        [get(1), insert(1), wrong, insert(2), json!({"type": "store.fly"}), get(2), get(3), insert(3)];
    for id in client.send_all(requests).await {
        client.answer(id).await;
    }
    client.text("{").await;
    assert_eq!(client.message().await["code"], "PARSE_ERROR");
    client.text(r#"{"type":"pong","timestamp":1}"#).await;
    client.code(json!({"type": "store.get", "bucket": "nothing", "key": "a"})).await;
    let after = scrape(at).await;
    assert_eq!(
        grown(&before, &after, "dunlin_requests_total"),
        counts([
            ("{operation=\"store.get\",outcome=\"error\"}", 1.0),
            ("{operation=\"store.get\",outcome=\"ok\"}", 3.0),
            ("{operation=\"store.insert\",outcome=\"error\"}", 1.0),
            ("{operation=\"store.insert\",outcome=\"ok\"}", 3.0),
            ("{operation=\"unknown\",outcome=\"error\"}", 2.0),
        ])
    );
    assert_eq!(
        grown(&before, &after, "dunlin_request_errors_total"),
        counts([
            ("{code=\"BUCKET_NOT_DEFINED\"}", 1.0),
            ("{code=\"PARSE_ERROR\"}", 1.0),
            ("{code=\"UNKNOWN_OPERATION\"}", 1.0),
            ("{code=\"VALIDATION_ERROR\"}", 1.0),
        ])
    );
    assert_eq!(
        grown(&before, &after, "dunlin_request_seconds_count"),
        counts([
            ("{operation=\"store.get\"}", 4.0),
            ("{operation=\"store.insert\"}", 4.0),
            ("{operation=\"unknown\"}", 2.0),
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn latencies_are_histograms_that_add_up() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    for n in 0..20 {
        client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": n}})).await;
    }
    let text = http_get(address(&server), "/metrics").await;
    assert!(text.contains("# TYPE dunlin_request_seconds histogram\n"), "{text}");
    let buckets: Vec<u64> = text
        .lines()
        .filter(|line| line.starts_with("dunlin_request_seconds_bucket{operation=\"store.insert\",le="))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(buckets.len() > 10 && buckets.is_sorted(), "{buckets:?}");
    assert_eq!(buckets.last(), Some(&20));
    let series = scrape(address(&server)).await;
    let sum = series["dunlin_request_seconds_sum{operation=\"store.insert\"}"];
    assert!(sum > 0.0, "time has passed");
    assert_eq!(series["dunlin_journal_append_seconds_count"], series["dunlin_journal_append_commits_count"]);
    assert!(series["dunlin_journal_append_seconds_count"] >= 20.0);
}

/// Time stands still unless the test moves it, so the latency is known.
#[tokio::test(start_paused = true)]
async fn a_latency_lasts_from_the_socket_to_the_answer() {
    let wait = Duration::from_secs(3);
    let authenticator = move |_: Login| async move {
        tokio::time::sleep(wait).await;
        Authentication::Ok(Some(Session::new("ada")))
    };
    let server = Server::builder().memory().authenticator(authenticator).build().await.unwrap();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    server.serve_stream(theirs, [127, 0, 0, 1].into());
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    client.send(Message::text(r#"{"id":1,"type":"auth.login","token":"t"}"#)).await.unwrap();
    while !client.next().await.unwrap().unwrap().to_text().unwrap().contains("\"result\"") {}
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = server.monitoring_router().call(request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    for line in [
        "dunlin_request_seconds_bucket{operation=\"auth.login\",le=\"2.5\"} 0\n",
        "dunlin_request_seconds_bucket{operation=\"auth.login\",le=\"5\"} 1\n",
        "dunlin_logins_total{outcome=\"ok\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_sends_becomes_a_series() {
    let authenticator = |login: Login| async move { Authentication::Ok(Some(Session::new(login.token))) };
    let mut config = Config::default();
    config.port = 0;
    let server =
        Server::builder().config(config).memory().port(0).authenticator(authenticator).bind().await.unwrap();
    let at = address(&server);
    let mut client = Client::connect(at).await;
    client.data(json!({"type": "auth.login", "token": "first"})).await;
    client.code(json!({"type": "first.operation"})).await;
    let before = scrape(at).await;
    for batch in 0..100 {
        let logins = (0..100).map(|n| json!({"type": "auth.login", "token": format!("user-{batch}-{n}")}));
        let others = (0..100)
            .map(|n| json!({"type": format!("store.made-up-{batch}-{n}"), "bucket": format!("b{n}")}));
        for id in client.send_all(logins.zip(others).flat_map(|(login, other)| [login, other])).await {
            client.answer(id).await;
        }
    }
    let after = scrape(at).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    assert_eq!(
        grown(&before, &after, "dunlin_requests_total"),
        counts([
            ("{operation=\"auth.login\",outcome=\"ok\"}", 10_000.0),
            ("{operation=\"unknown\",outcome=\"error\"}", 10_000.0),
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_show_who_is_logged_in_and_how_they_ended() {
    let server = memory_with(|config| {
        config.max_connections_per_ip = std::num::NonZeroUsize::new(2);
        config.allowed_origins = Some(Vec::new());
        config.auth.tokens = Some([("t".to_owned(), TokenSession::new("ada"))].into());
    })
    .bind()
    .await
    .unwrap();
    let at = address(&server);
    let states = async || {
        let of = |state| format!("dunlin_connections{{state=\"{state}\"}}");
        (metric(at, &of("authenticated")).await, metric(at, &of("anonymous")).await)
    };
    assert_eq!(states().await, (0, 0));
    let mut one = Client::connect(at).await;
    let mut two = Client::connect(at).await;
    assert_eq!(states().await, (0, 2));
    one.data(json!({"type": "auth.login", "token": "t"})).await;
    two.code(json!({"type": "auth.login", "token": "no"})).await;
    assert_eq!(states().await, (1, 1));
    assert_eq!(metric(at, "dunlin_logins_total{outcome=\"ok\"}").await, 1);
    assert_eq!(metric(at, "dunlin_logins_total{outcome=\"refused\"}").await, 1);
    let refused = |reason: &str| format!("dunlin_connections_refused_total{{reason=\"{reason}\"}}");
    // A third one, one of a foreign origin, and one that is no WebSocket.
    let mut third = Client::connect_raw(at).await;
    assert_eq!(third.closed().await.0, 4003);
    let foreign = common::UPGRADE.replacen("\r\n", "\r\nOrigin: https://a.example\r\n", 1);
    let mut raw = Raw::connect(at).await;
    raw.write(foreign.as_bytes()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 403 "));
    http_get(at, "/").await;
    for reason in ["too_many", "origin", "handshake"] {
        assert_eq!(metric(at, &refused(reason)).await, 1, "{reason}");
    }
    assert_eq!(metrics(at, "dunlin_connections_refused_total").await, 3);
    two.frame(Message::binary(vec![1])).await;
    assert_eq!(two.closed().await.0, 1003);
    one.close().await;
    let closed = |labels: &str| format!("dunlin_connections_closed_total{{{labels}}}");
    for labels in ["by=\"client\"", "by=\"server\",code=\"1003\""] {
        eventually(labels, async || metric(at, &closed(labels)).await == 1).await;
    }
    assert_eq!(metrics(at, "dunlin_connections_closed_total").await, 2);
    eventually("nobody is left", async || states().await == (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_an_open_connection_are_seen_and_none_is_counted_twice() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let at = address(&server);
    let mut client = Client::connect(at).await;
    let tag = "x".repeat(100_000);
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "a", "tag": tag}})).await;
    let moved = async || {
        (metric(at, "dunlin_received_bytes_total").await, metric(at, "dunlin_sent_bytes_total").await)
    };
    eventually("it is seen while it is open", async || {
        let (received, sent) = moved().await;
        received > 100_000 && sent > 100_000
    })
    .await;
    client.close().await;
    let closed = "dunlin_connections_closed_total{by=\"client\"}";
    eventually("its end is counted", async || metric(at, closed).await == 1).await;
    let (received, sent) = moved().await;
    assert!(received < 110_000 && sent < 110_000, "{received} and {sent} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_count_by_mode_and_what_waits_is_seen() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let at = address(&server);
    let mut client = Client::connect(at).await;
    let full = subscribe(&mut client, "all-items").await;
    let wish = json!({"type": "store.subscribe", "query": "item-count", "mode": "patch"});
    let patch = client.data(wish).await["subscriptionId"].clone();
    assert_eq!(metric(at, "dunlin_live_subscriptions").await, 2);
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    client.push(&full).await;
    client.push(&patch).await;
    for mode in ["full", "patch"] {
        assert_eq!(metric(at, &format!("dunlin_pushes_sent_total{{mode=\"{mode}\"}}")).await, 1);
        let bytes = metric(at, &format!("dunlin_push_bytes_total{{mode=\"{mode}\"}}")).await;
        assert!((60..400).contains(&bytes), "{mode}: {bytes}");
    }
    // Somebody who does not read: what waits for him is told, and by him alone.
    assert_eq!(metrics(at, "dunlin_outbox_bytes").await, 0);
    let mut slow = Raw::upgraded(at, Some(4096)).await;
    slow.write(&common::request(
        &json!({"id": 1, "type": "store.subscribe", "query": "items-by-tag", "params": {"tag": "big"}}),
    ))
    .await;
    assert_eq!(slow.message().await["type"], "result");
    let pushes = "dunlin_outbox_bytes{of=\"pushes\"}";
    let big = "x".repeat(500_000);
    let mut inserted = 0;
    eventually("something waits", async || {
        // A tag and a long key: the bucket has no other field for text.
        let id = format!("{inserted}{big}");
        server.store().insert("items", json!({"id": id, "tag": "big"})).await.unwrap();
        inserted += 1;
        metric(at, pushes).await > 400_000
    })
    .await;
    // The query goes, and with it the subscription and what waited.
    client.data(json!({"type": "store.undefineQuery", "name": "items-by-tag"})).await;
    let ended = "dunlin_live_subscriptions_ended_total{code=\"QUERY_NOT_DEFINED\"}";
    eventually("it has ended", async || metric(at, ended).await == 1).await;
    assert_eq!(metric(at, pushes).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_count_by_how_they_ended() {
    let authenticator = |login: Login| async move {
        match &*login.token {
            "broken" => Err("the directory is away")?,
            "old" => Ok(Some(Session::new("ada").expiring_at(1))),
            "unknown" => Ok(None),
            _ => Ok(Some(Session::new("ada"))),
        }
    };
    let server = memory().authenticator(authenticator).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    for token in ["broken", "old", "unknown", "right"] {
        client.call(json!({"type": "auth.login", "token": token})).await;
    }
    for (outcome, count) in [("ok", 1), ("refused", 2), ("fault", 1), ("late", 0), ("revoked", 0)] {
        let series = format!("dunlin_logins_total{{outcome=\"{outcome}\"}}");
        assert_eq!(metric(address(&server), &series).await, count, "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.port = 0;
    config.storage.kind = StorageKind::Disk;
    config.storage.dir = dir.path().join("data");
    let server = Server::builder().config(config).bind().await.unwrap();
    define_items(&server).await;
    let before = scrape(address(&server)).await;
    for n in 0..10 {
        server.store().insert("items", json!({"n": n})).await.unwrap();
    }
    let after = scrape(address(&server)).await;
    let grew = |name: &str| after[name] - before[name];
    assert!(grew("dunlin_journal_sync_seconds_count") >= 10.0);
    assert!(grew("dunlin_journal_sync_seconds_sum") <= grew("dunlin_journal_append_seconds_sum"));
    assert!(grew("dunlin_journal_bytes{of=\"log\"}") > 500.0);
    assert_eq!((after["dunlin_storage_writable"], grew("dunlin_commits_total")), (1.0, 10.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_which_program_runs_and_since_when() {
    let server = memory().bind().await.unwrap();
    let series = scrape(address(&server)).await;
    let build = format!("dunlin_build_info{{version=\"{}\",protocol=\"1.0.0\"}}", env!("CARGO_PKG_VERSION"));
    assert!((series[&build] - 1.0).abs() < 1e-9);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = series["dunlin_start_timestamp_seconds"];
    assert!((now - 60.0..=now).contains(&started), "{started} is not just before {now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_can_have_a_port_of_its_own() {
    let server = memory_with(|config| config.metrics.port = Some(0)).bind().await.unwrap();
    let (main, apart) = (address(&server), server.monitoring_addr().unwrap());
    assert_ne!(main, apart);
    for path in ["/health", "/ready", "/metrics"] {
        assert!(http_get(apart, path).await.starts_with("HTTP/1.1 200 "), "{path}");
        assert!(http_get(main, path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    let elsewhere = http_get(apart, "/").await;
    assert!(elsewhere.starts_with("HTTP/1.1 404 ") && elsewhere.contains("/metrics"), "{elsewhere}");
    let client = Client::connect(main).await;
    assert_eq!(metrics(apart, "dunlin_connections").await, 1);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_its_own_is_there_to_the_end_of_a_stop_and_not_longer() {
    let server = memory_with(|config| config.metrics.port = Some(0)).bind().await.unwrap();
    let apart = server.monitoring_addr().unwrap();
    let mut client = Client::connect(address(&server)).await;
    let stopped = AtomicBool::new(false);
    let stop = async {
        server.stop(Duration::from_secs(60)).await.unwrap();
        stopped.store(true, Ordering::Release);
    };
    let watch = async {
        assert_eq!(client.system().await["event"], "shutdown");
        let ready = http_get(apart, "/ready").await;
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("stopping\n"), "{ready}");
        assert_eq!(metrics(apart, "dunlin_connections").await, 1);
        assert!(!stopped.load(Ordering::Acquire));
        client.close().await;
    };
    tokio::join!(stop, watch);
    assert!(TcpStream::connect(apart).await.is_err(), "the port is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_for_monitoring_keeps_the_server_from_starting() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let server = memory_with(|config| config.metrics.port = Some(port)).bind().await;
    let Err(StartError::Listen { address, .. }) = server else { panic!("it started") };
    assert_eq!(address, format!("127.0.0.1:{port}"));
}
