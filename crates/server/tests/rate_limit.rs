//! How much one may ask, how deep, and how long without a login. In virtual time, unless threads are the point.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::pipe::Pipe;
use common::{define_items, memory_with};
use dunlin_server::{Authentication, Config, Login, Server, ServerBuilder, Session};
use serde_json::{Value, json};

const ADDRESS: &str = "192.0.2.1";

fn limited(max_requests: u32, window_ms: u64) -> ServerBuilder {
    memory_with(|config| limit(config, max_requests, window_ms))
}

fn limit(config: &mut Config, max_requests: u32, window_ms: u64) {
    config.rate_limit.max_requests = Some(max_requests);
    config.rate_limit.window_ms = window_ms;
    config.heartbeat.interval_ms = 86_400_000;
}

/// How long a session of `brief` lasts.
const BRIEF: Duration = Duration::from_millis(500);

/// Tokens are user ids.
async fn anybody(login: Login) -> Authentication {
    let session = Session::new(&login.token).with_role("admin");
    Ok(match &*login.token {
        "nobody" => None,
        "brief" => {
            let end = (SystemTime::now() + BRIEF).duration_since(UNIX_EPOCH).unwrap();
            Some(session.expiring_at(u64::try_from(end.as_millis()).unwrap()))
        }
        _ => Some(session),
    })
}

fn buckets() -> Value {
    json!({"type": "store.buckets"})
}

fn login(token: &str) -> Value {
    json!({"type": "auth.login", "token": token})
}

async fn later(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// The `retryAfterMs` of a refusal, which must be one in all its parts.
fn retry_after(answer: &Value) -> u64 {
    let ms = answer["details"]["retryAfterMs"].as_u64().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("RATE_LIMITED")), "{answer}");
    assert_eq!(answer["message"], format!("Rate limit exceeded. Retry after {ms}ms"));
    ms
}

fn passes(answer: &Value) -> bool {
    answer["code"] != "RATE_LIMITED"
}

#[tokio::test(start_paused = true)]
async fn a_request_passes_exactly_when_it_was_told_to_come_back() {
    let server = limited(3, 60_000).build().await.unwrap();
    let mut client = Pipe::connect(&server, ADDRESS).await;
    assert_eq!(client.ask(buckets()).await["type"], "result");
    later(20_000).await;
    assert_eq!(client.ask(buckets()).await["type"], "result");
    assert_eq!(client.ask(buckets()).await["type"], "result");
    later(30_000).await;
    assert_eq!(retry_after(&client.ask(buckets()).await), 10_000);
    later(9_999).await;
    assert_eq!(retry_after(&client.ask(buckets()).await), 1);
    later(1).await;
    assert_eq!(client.ask(buckets()).await["type"], "result");
    assert_eq!(retry_after(&client.ask(buckets()).await), 20_000);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_sent_counts_but_pongs_and_what_the_limit_has_refused() {
    let server = limited(5, 1000).authenticator(anybody).build().await.unwrap();
    let mut client = Pipe::connect(&server, ADDRESS).await;
    client.send("no JSON").await;
    client.send("[]").await;
    client.send(r#"{"id":7}"#).await;
    client.send(r#"{"type":"pong","timestamp":1}"#).await;
    for (id, code) in [(0, "PARSE_ERROR"), (0, "PARSE_ERROR"), (0, "INVALID_REQUEST")] {
        let answer = client.message().await;
        assert_eq!((&answer["id"], &answer["code"]), (&json!(id), &json!(code)));
    }
    assert_eq!(client.ask(buckets()).await["code"], "UNAUTHORIZED");
    assert_eq!(client.ask(json!({"type": "store.fly"})).await["code"], "UNAUTHORIZED");
    for _ in 0..10 {
        assert_eq!(retry_after(&client.ask(buckets()).await), 1000);
    }
    client.send("no JSON").await;
    let answer = client.message().await;
    assert_eq!((retry_after(&answer), &answer["id"]), (1000, &json!(0)));
    client.send(r#"{"type":"pong"}"#).await;
    assert_eq!(retry_after(&client.message().await), 1000, "a broken pong is no pong");
    later(1000).await;
    assert_eq!(client.ask(buckets()).await["code"], "UNAUTHORIZED");
}

#[tokio::test(start_paused = true)]
async fn refusals_keep_their_place_and_what_is_refused_does_not_happen() {
    let server = limited(3, 1000).build().await.unwrap();
    define_items(&server).await;
    let mut client = Pipe::connect(&server, ADDRESS).await;
    for n in 0..5 {
        client.request(json!({"type": "store.insert", "bucket": "items", "data": {"n": n}})).await;
    }
    for id in 1..=5 {
        let answer = client.message().await;
        assert_eq!((&answer["id"], passes(&answer)), (&json!(id), id <= 3));
    }
    assert_eq!(server.store().snapshot().bucket("items").unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_login_is_charged_to_the_address_and_what_follows_to_the_user() {
    let server = limited(2, 1000).authenticator(anybody).build().await.unwrap();
    let mut ada = Pipe::connect(&server, ADDRESS).await;
    assert_eq!(ada.ask(login("ada")).await["type"], "result");
    assert!(passes(&ada.ask(buckets()).await) && passes(&ada.ask(buckets()).await));
    assert!(!passes(&ada.ask(buckets()).await), "her own two are used");
    // Who guesses has as many guesses as the address has requests.
    let mut guesser = Pipe::connect(&server, ADDRESS).await;
    assert_eq!(guesser.ask(login("nobody")).await["code"], "UNAUTHORIZED");
    assert_eq!(retry_after(&guesser.ask(login("nobody")).await), 1000);
    let mut elsewhere = Pipe::connect(&server, "192.0.2.2").await;
    assert_eq!(elsewhere.ask(login("ada")).await["type"], "result");
    assert!(!passes(&elsewhere.ask(buckets()).await), "a user has one budget, wherever he is");
    assert!(!passes(&elsewhere.ask(json!({"type": "auth.logout"})).await));
    later(1000).await;
    // Logged out she is an address again, and in one batch each request is charged to whom it is.
    for request in [json!({"type": "auth.logout"}), buckets(), buckets(), buckets()] {
        ada.request(request).await;
    }
    let passed = [ada.message().await, ada.message().await, ada.message().await, ada.message().await];
    assert_eq!(passed.map(|answer| passes(&answer)), [true, true, true, false]);
}

/// Sessions end by the wall clock, which no test can move: it is waited for.
#[tokio::test(start_paused = true)]
async fn when_a_session_has_ended_it_is_the_addresss_turn() {
    let server = limited(3, 86_400_000).authenticator(anybody).build().await.unwrap();
    let mut client = Pipe::connect(&server, ADDRESS).await;
    assert_eq!(client.ask(login("brief")).await["type"], "result");
    let end = SystemTime::now() + BRIEF;
    while SystemTime::now() <= end {
        std::thread::sleep(Duration::from_millis(5));
    }
    // The first is charged to the user, who is told so. The address has logged in; that was the first of its three.
    let expected = ["Session expired", "Authentication required", "Authentication required"];
    for message in expected {
        assert_eq!(client.ask(buckets()).await["message"], message);
    }
    assert!(!passes(&client.ask(buckets()).await));
}

#[tokio::test(start_paused = true)]
async fn weights_and_bursts_count() {
    let server = memory_with(|config| {
        limit(config, 10, 60_000);
        config.rate_limit.burst.max_requests = Some(6);
        config.rate_limit.weights = [("store.*".to_owned(), 2), ("store.all".to_owned(), 50)].into();
    });
    let server = server.build().await.unwrap();
    define_items(&server).await;
    let mut client = Pipe::connect(&server, ADDRESS).await;
    let hello = client.ask(json!({"type": "hello"})).await;
    let told = json!({"maxRequests": 10, "windowMs": 60_000, "burst": {"maxRequests": 6, "windowMs": 1000},
        "weights": {"store.*": 2, "store.all": 50}});
    assert_eq!(hello["data"]["limits"]["rateLimit"], told);
    // One so far.
    assert!(passes(&client.ask(buckets()).await) && passes(&client.ask(buckets()).await));
    assert_eq!(retry_after(&client.ask(buckets()).await), 1000, "seven in a burst of six");
    assert!(passes(&client.ask(json!({"type": "hello"})).await));
    later(1000).await;
    assert!(passes(&client.ask(buckets()).await) && passes(&client.ask(buckets()).await));
    assert_eq!(retry_after(&client.ask(json!({"type": "hello"})).await), 59_000, "all ten are used");
    later(60_000).await;
    let all = json!({"type": "store.all", "bucket": "items"});
    assert_eq!(
        client.ask(all.clone()).await["data"],
        json!([]),
        "it is heavier than everything, and passes alone"
    );
    later(1000).await;
    assert_eq!(retry_after(&client.ask(all).await), 59_000);
}

#[tokio::test(start_paused = true)]
async fn the_time_to_wait_is_told_also_where_details_are_not() {
    let server = memory_with(|config| {
        limit(config, 1, 1000);
        config.expose_error_details = false;
    });
    let server = server.build().await.unwrap();
    let mut client = Pipe::connect(&server, ADDRESS).await;
    client.ask(buckets()).await;
    assert_eq!(retry_after(&client.ask(buckets()).await), 1000);
    later(1000).await;
    let bad = json!({"type": "store.defineBucket", "name": "x", "config": {"key": "id", "schema": {"id": {"type": "odd"}}}});
    let answer = client.ask(bad).await;
    assert_eq!((&answer["code"], answer.get("details")), (&json!("VALIDATION_ERROR"), None));
}

#[tokio::test(start_paused = true)]
async fn no_requests_at_all_and_no_limit_at_all() {
    let server = limited(0, 1000).build().await.unwrap();
    let mut client = Pipe::connect(&server, ADDRESS).await;
    assert_eq!(retry_after(&client.ask(buckets()).await), 0);
    assert_eq!(server.stats().await.unwrap()["rateLimitEnabled"], true);
    let server = memory_with(|_| {}).build().await.unwrap();
    let mut client = Pipe::connect(&server, ADDRESS).await;
    assert_eq!(client.ask(json!({"type": "hello"})).await["data"]["limits"]["rateLimit"], Value::Null);
    assert_eq!(server.stats().await.unwrap()["rateLimitEnabled"], false);
}

/// Eight connections of one user, on real threads, as fast as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_budget_is_not_exceeded_by_asking_everywhere_at_once() {
    let server = limited(500, 86_400_000).authenticator(anybody).build().await.unwrap();
    let mut clients = Vec::new();
    for n in 0..8 {
        let mut client = Pipe::connect(&server, &format!("192.0.2.{n}")).await;
        client.ask(login("ada")).await;
        clients.push(tokio::spawn(async move {
            let mut passed = 0;
            for _ in 0..10 {
                for _ in 0..20 {
                    client.request(buckets()).await;
                }
                for _ in 0..20 {
                    passed += u32::from(passes(&client.message().await));
                }
            }
            passed
        }));
    }
    let mut passed = 0;
    for client in clients {
        passed += client.await.unwrap();
    }
    assert_eq!(passed, 500, "of 1600");
}

/// `levels` of arrays.
fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

#[tokio::test(start_paused = true)]
async fn a_message_may_be_so_deep_and_no_deeper() {
    let server = memory_with(|_| {}).build().await.unwrap();
    define_items(&server).await;
    let mut client = Pipe::connect(&server, ADDRESS).await;
    let most = client.ask(json!({"type": "hello"})).await["data"]["limits"]["maxDepth"].as_u64().unwrap();
    assert_eq!(most, 128);
    for (levels, code) in
        [(127, Value::Null), (128, json!("VALIDATION_ERROR")), (200_000, json!("VALIDATION_ERROR"))]
    {
        client.send(format!(r#"{{"id":5,"type":"store.buckets","data":{}}}"#, nested(levels))).await;
        let answer = client.message().await;
        assert_eq!(
            (&answer["id"], &answer["code"]),
            (&json!(5), &code),
            "{levels} levels and the message itself"
        );
        client.send(format!(r#"{{"id":5,"type":"store.buckets","unknown":{}}}"#, nested(levels))).await;
        assert_eq!(client.message().await["code"], code);
    }
    client.send(nested(200_000)).await;
    assert_eq!(client.message().await["code"], "PARSE_ERROR", "it is no object, and that comes first");
    // As deep as a record may be; and brackets in text are none.
    let schema = json!({"id": {"type": "string", "generated": "uuid"}, "tree": {"type": "array"}, "text": {"type": "string"}});
    server.store().define_bucket("trees", json!({"key": "id", "schema": schema})).await.unwrap();
    let tree: Value = serde_json::from_str(&nested(99)).unwrap();
    let data = json!({"tree": tree, "text": "[".repeat(1000)});
    let insert = json!({"op": "insert", "bucket": "trees", "data": data});
    let answer = client.ask(json!({"type": "store.transaction", "operations": [insert]})).await;
    assert_eq!(answer["type"], "result", "{answer}");
}

fn with_login_timeout(ms: u64) -> ServerBuilder {
    memory_with(|config| {
        config.auth.login_timeout_ms = ms;
        config.heartbeat.interval_ms = 86_400_000;
    })
    .authenticator(anybody)
}

/// In how many milliseconds it happens, to the second in which it is noticed.
async fn closed_within(client: &mut Pipe, ms: u64) {
    let begun = tokio::time::Instant::now();
    assert_eq!(client.closed().await, (4005, "login_timeout".to_owned()));
    let passed = u64::try_from(begun.elapsed().as_millis()).unwrap();
    assert!((ms..=ms + 1000).contains(&passed), "{passed} ms");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_log_in_is_closed() {
    let server = with_login_timeout(60_000).build().await.unwrap();
    let mut known = Pipe::connect(&server, ADDRESS).await;
    known.ask(login("ada")).await;
    let mut stranger = Pipe::connect(&server, ADDRESS).await;
    assert_eq!(stranger.ask(login("nobody")).await["code"], "UNAUTHORIZED");
    closed_within(&mut stranger, 60_000).await;
    assert_eq!(known.ask(buckets()).await["type"], "result");
    known.ask(json!({"type": "auth.logout"})).await;
    closed_within(&mut known, 60_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_that_lasts_a_moment_begins_the_time_anew() {
    let server = with_login_timeout(60_000).build().await.unwrap();
    let mut client = Pipe::connect(&server, ADDRESS).await;
    later(30_300).await;
    // Between two looks at the connection.
    client.ask(login("ada")).await;
    client.ask(json!({"type": "auth.logout"})).await;
    closed_within(&mut client, 60_000).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_closed_who_needs_no_login_or_has_all_the_time() {
    let optional = memory_with(|config| config.auth.required = Some(false)).authenticator(anybody);
    for builder in [optional, with_login_timeout(0), memory_with(|_| {})] {
        let server: Server = builder.build().await.unwrap();
        let mut client = Pipe::connect(&server, ADDRESS).await;
        tokio::select! {
            closed = client.closed() => panic!("{closed:?}"),
            () = later(600_000) => {}
        }
    }
}
