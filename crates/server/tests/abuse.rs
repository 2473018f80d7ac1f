//! One client for each way to be a nuisance, and a neighbour who is served meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::hostile::{keep_served, with_innocent};
use common::pipe::Pipe;
use common::{Client, Raw, address, eventually, memory, memory_with, metric, request};
use dunlin_server::{Authentication, Login, Session, limits};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

fn login(token: &str) -> Value {
    json!({"type": "auth.login", "token": token})
}

/// An authenticator that is slow for some tokens, and how many of these it works on.
#[derive(Clone)]
struct Slow {
    gate: Arc<Semaphore>,
    at_work: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Slow {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), at_work: Arc::default(), most: Arc::default() }
    }

    async fn authenticate(self, login: Login) -> Authentication {
        if login.token == "slow" {
            let now = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let gate = self.gate.acquire().await;
            self.at_work.fetch_sub(1, Ordering::SeqCst);
            gate?.forget();
        }
        Ok(Some(Session::new(login.token).with_role("admin")))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_slow_logins_of_one_address_leave_room_for_another() {
    let slow = Slow::new();
    let of_server = slow.clone();
    let server =
        memory().authenticator(move |login| of_server.clone().authenticate(login)).build().await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..40 {
        let mut client = Pipe::connect(&server, "192.0.2.1").await;
        client.request(login("slow")).await;
        flood.push(client);
    }
    eventually("they fill their places", async || {
        slow.at_work.load(Ordering::SeqCst) == limits::LOGINS_PER_ADDRESS
    })
    .await;
    for n in 2..10 {
        let mut neighbour = Pipe::connect(&server, &format!("192.0.2.{n}")).await;
        assert_eq!(neighbour.ask(login("quick")).await["type"], "result");
        assert_eq!(neighbour.ask(json!({"type": "store.buckets"})).await["type"], "result");
    }
    // One by one the others get their turn.
    slow.gate.add_permits(40);
    for client in &mut flood {
        assert_eq!(client.message().await["data"]["userId"], "slow");
    }
    assert_eq!(slow.most.load(Ordering::SeqCst), limits::LOGINS_PER_ADDRESS);
}

/// In virtual time: the authenticator never answers.
#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_his_turn_to_log_in_is_refused() {
    let slow = Slow::new();
    let of_server = slow.clone();
    let server = memory_with(|config| config.heartbeat.interval_ms = 86_400_000)
        .authenticator(move |login| of_server.clone().authenticate(login))
        .build()
        .await
        .unwrap();
    // Eight are at work; eight more get their places after ten seconds and keep them for ten more.
    let mut flood = Vec::new();
    for _ in 0..2 {
        for _ in 0..limits::LOGINS_PER_ADDRESS {
            let mut client = Pipe::connect(&server, "192.0.2.1").await;
            client.request(login("slow")).await;
            flood.push(client);
        }
        tokio::time::sleep(limits::LOGIN_WAIT / 4).await;
    }
    let mut late = Pipe::connect(&server, "192.0.2.1").await;
    let begun = tokio::time::Instant::now();
    let answer = late.ask(login("quick")).await;
    let expected = (json!("RATE_LIMITED"), json!("Too many logins are under way; try again later"));
    assert_eq!((answer["code"].clone(), answer["message"].clone()), expected);
    assert_eq!(begun.elapsed().as_secs(), limits::LOGIN_WAIT.as_secs());
    for client in &mut flood {
        assert_eq!(client.message().await["message"], "Authentication took too long; try again");
    }
    assert_eq!(late.ask(login("quick")).await["type"], "result", "all have left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_never_reads_costs_its_owner_only() {
    let server = memory_with(|config| {
        config.backpressure.slow_consumer_ms = 500;
        config.backpressure.max_buffered_bytes = 64 * 1024;
    })
    .bind()
    .await
    .unwrap();
    let innocent = with_innocent(&server).await;
    let padding = "x".repeat(10_000);
    for n in 0..20 {
        server.store().insert("items", json!({"n": n, "tag": padding})).await.unwrap();
    }
    let (enough, task) = keep_served(innocent);
    let mut deaf = Raw::upgraded(address(&server), Some(16 * 1024)).await;
    let wishes = request(&json!({"id": 1, "type": "store.all", "bucket": "items"})).repeat(2000);
    let asking = tokio::spawn(async move {
        deaf.write(&wishes).await;
        deaf
    });
    let closed = "dunlin_connections_closed_total{by=\"server\",code=\"4006\"}";
    eventually("it is closed", async || metric(address(&server), closed).await == 1).await;
    enough.send_replace(true);
    task.await.unwrap().is_served().await;
    drop(asking.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_frame_holds_nobody_up() {
    let server = memory_with(|config| {
        config.heartbeat.interval_ms = 100;
        config.heartbeat.timeout_ms = 400;
    })
    .bind()
    .await
    .unwrap();
    let (enough, task) = keep_served(with_innocent(&server).await);
    let whole = request(&json!({"id": 3, "type": "store.clear", "bucket": "items"}));
    let mut silent = Raw::upgraded(address(&server), None).await;
    silent.write(&whole[..whole.len() / 2]).await;
    assert_eq!(silent.closed().await.0, 4001);
    enough.send_replace(true);
    task.await.unwrap().is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_and_unsubscribing_for_ever_leaves_nothing_behind() {
    let server =
        memory_with(|config| config.connection_limits.max_total_subscriptions = 10).bind().await.unwrap();
    let (enough, task) = keep_served(with_innocent(&server).await);
    let mut restless = Client::connect(address(&server)).await;
    restless.answer_pings = true;
    for _ in 0..300 {
        let subscribed = restless.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
        let id = &subscribed["subscriptionId"];
        let ended = restless.data(json!({"type": "store.unsubscribe", "subscriptionId": id})).await;
        assert_eq!(ended["unsubscribed"], true, "{ended}");
    }
    enough.send_replace(true);
    let mut innocent = task.await.unwrap();
    innocent.is_served().await;
    let stats = server.stats().await.unwrap();
    assert_eq!(stats["connections"]["totalStoreSubscriptions"], 1, "the neighbour's");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_of_one_address_take_nothing_from_another() {
    let server = memory_with(|config| {
        config.rate_limit.max_requests = Some(100);
        config.rate_limit.window_ms = 86_400_000;
    })
    .bind()
    .await
    .unwrap();
    common::define_items(&server).await;
    let mut flooder = Pipe::connect(&server, "192.0.2.1").await;
    let mut neighbour = Pipe::connect(&server, "192.0.2.2").await;
    let flood = tokio::spawn(async move {
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..100 {
            for n in 0..100 {
                flooder.request(json!({"type": "store.insert", "bucket": "items", "data": {"n": n}})).await;
            }
            for _ in 0..100 {
                let answer = flooder.message().await;
                if answer["code"] == "RATE_LIMITED" { refused += 1 } else { passed += 1 }
            }
        }
        (passed, refused, flooder)
    });
    for n in 0..100 {
        let data = json!({"id": format!("neighbour-{n}"), "n": n});
        let answer = neighbour.ask(json!({"type": "store.insert", "bucket": "items", "data": data})).await;
        assert_eq!(answer["type"], "result", "{answer}");
    }
    let (passed, refused, mut flooder) = flood.await.unwrap();
    assert_eq!((passed, refused), (100, 9_900));
    assert_eq!(server.store().snapshot().bucket("items").unwrap().len(), 200);
    assert_eq!(metric(address(&server), "dunlin_rate_limited_total").await, 9_900);
    // Who is refused is not thrown out.
    assert_eq!(flooder.ask(json!({"type": "store.buckets"})).await["code"], "RATE_LIMITED");
    assert_eq!(server.connection_count(), 2);
}
