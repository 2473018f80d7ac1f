//! Who hears which events, in which order, and how that ends.

use dunlin_server::RulesOptions;
use serde_json::{Value, json};

use super::common::{Client, address, eventually, memory_with};
use super::{client, emit, register, relay, ruled};

fn subscribe(pattern: &str) -> Value {
    json!({"type": "rules.subscribe", "pattern": pattern})
}

async fn hear(client: &mut Client, pattern: &str) -> Value {
    let answer = client.data(subscribe(pattern)).await;
    assert!(super::has_members(&answer, &["subscriptionId"]), "{answer}");
    answer["subscriptionId"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_that_matches_is_one_push_also_those_of_rules() {
    let (_server, mut client) = client().await;
    client.data(register(&relay("r", "order.created"))).await;
    let (orders, all) = (hear(&mut client, "order.*").await, hear(&mut client, "*").await);
    let event = client.data(emit("order.created", &json!({"n": 1}))).await;
    let expected = json!({"topic": "order.created", "event": event});
    assert_eq!(client.push(&orders).await, expected);
    assert_eq!(client.push(&all).await, expected);
    let of_rule = client.push(&all).await;
    assert_eq!((&of_rule["topic"], &of_rule["event"]["source"]), (&json!("output.r"), &json!("rule")));
    assert_eq!(of_rule["event"].get("causationId"), None, "protocol 1.0.0 knows no cause without a story");
    client.data(emit("order", &json!({}))).await;
    assert_eq!(client.push(&all).await["topic"], "order");
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_the_emitter_comes_before_its_push() {
    let (_server, mut client) = client().await;
    hear(&mut client, "*").await;
    let id = client.send(emit("a", &json!({}))).await;
    assert_eq!(client.message().await["id"], json!(id));
    assert_eq!(client.message().await["channel"], "event");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_before_is_told_and_everything_behind_is_in_order() {
    let (_server, mut client) = client().await;
    for round in 0..20 {
        client.send(emit("n", &json!({"round": round, "n": -1}))).await;
        let heard = hear(&mut client, "n").await;
        client.send_all((0..50).map(|n| emit("n", &json!({"round": round, "n": n})))).await;
        for n in 0..50 {
            let push = client.push(&heard).await;
            assert_eq!(push["event"]["data"], json!({"round": round, "n": n}));
        }
        client.data(json!({"type": "rules.unsubscribe", "subscriptionId": heard})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_positions_is_told_them_and_the_cause_of_everything() {
    let (_server, mut client) = client().await;
    client.data(json!({"type": "hello", "extensions": ["position"]})).await;
    client.data(register(&relay("r", "a"))).await;
    let heard = hear(&mut client, "output.*").await;
    let set = client.call(json!({"type": "rules.setFact", "key": "k", "value": 1})).await;
    let emitted = client.call(emit("a", &json!({"n": 1}))).await;
    assert!(emitted["position"].as_u64() >= set["position"].as_u64(), "{emitted}");
    let push = loop {
        let message = client.message().await;
        if message["type"] == "push" {
            break message;
        }
    };
    assert_eq!((&push["subscriptionId"], &push["position"]), (&heard, &emitted["position"]));
    assert_eq!(push["data"]["event"]["causationId"], emitted["data"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribing_ends_one_and_no_other() {
    let (_server, mut client) = client().await;
    let (first, second) = (hear(&mut client, "a.*").await, hear(&mut client, "a.*").await);
    assert_ne!(first, second);
    let end = |id: &Value| json!({"type": "rules.unsubscribe", "subscriptionId": id});
    assert_eq!(client.data(end(&first)).await, json!({"unsubscribed": true}));
    client.data(emit("a.b", &json!({}))).await;
    client.push(&second).await;
    client.silent().await;
    let gone = client.call(end(&first)).await;
    assert_eq!(gone["message"], json!(format!("Subscription {first} not found")));
    for wrong in [json!("sub-x"), json!("sub-01"), json!("nonsense")] {
        assert_eq!(client.code(end(&wrong)).await, "NOT_FOUND");
    }
    // The other family's operation does not know it.
    let of_store = json!({"type": "store.unsubscribe", "subscriptionId": second});
    assert_eq!(client.code(of_store).await, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_shared_with_live_queries_and_come_before_the_pattern() {
    let server = memory_with(|config| {
        config.rules = RulesOptions::on();
        config.connection_limits.max_subscriptions_per_connection = 2;
        config.connection_limits.max_total_subscriptions = 3;
    })
    .bind()
    .await
    .unwrap();
    super::common::define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.subscribe", "query": "all-items"})).await;
    assert_eq!(client.code(json!({"type": "rules.subscribe"})).await, "VALIDATION_ERROR");
    let heard = hear(&mut client, "a").await;
    let refused = client.call(json!({"type": "rules.subscribe"})).await;
    assert_eq!(refused["message"], "Subscription limit reached (max 2 per connection)");
    let of_store = client.call(json!({"type": "store.subscribe", "query": "all-items"})).await;
    assert_eq!(of_store["code"], "RATE_LIMITED");
    let mut other = Client::connect(address(&server)).await;
    hear(&mut other, "a").await;
    let refused = other.call(subscribe("b")).await;
    assert_eq!(refused["message"], "Global subscription limit reached (max 3)");
    let stats = client.data(json!({"type": "server.stats"})).await;
    assert_eq!(
        (&stats["connections"]["totalStoreSubscriptions"], &stats["connections"]["totalRulesSubscriptions"]),
        (&json!(1), &json!(2))
    );
    let connections = client.data(json!({"type": "server.connections"})).await;
    assert_eq!(
        (&connections[0]["storeSubscriptionCount"], &connections[0]["rulesSubscriptionCount"]),
        (&json!(1), &json!(1))
    );
    client.data(json!({"type": "rules.unsubscribe", "subscriptionId": heard})).await;
    hear(&mut other, "b").await;
    other.close().await;
    eventually("its places are free", async || {
        let stats = server.stats().await.unwrap();
        stats["connections"]["totalRulesSubscriptions"] == json!(0)
    })
    .await;
    hear(&mut client, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_told_that_the_subscription_has_ended() {
    let server = memory_with(|config| {
        config.rules = RulesOptions::on();
        config.rules.subscriber_bytes = 64 * 1024;
    })
    .bind()
    .await
    .unwrap();
    let mut slow = Client::connect(address(&server)).await;
    let heard = hear(&mut slow, "*").await;
    let text = "x".repeat(16 * 1024);
    let mut sent = 0;
    while server.stats().await.unwrap()["connections"]["totalRulesSubscriptions"] != json!(0) {
        server.rules().emit("a", json!({"n": sent, "text": text})).await.unwrap();
        sent += 1;
        assert!(sent < 10_000, "nothing ends it");
    }
    // What came through came in order and without a gap.
    let mut expected = 0;
    let ended = loop {
        let message = slow.message().await;
        if message["type"] == "system" {
            break message;
        }
        assert_eq!(
            (&message["subscriptionId"], &message["data"]["event"]["data"]["n"]),
            (&heard, &json!(expected))
        );
        expected += 1;
    };
    assert!(expected < sent);
    assert_eq!(
        (&ended["event"], &ended["subscriptionId"], &ended["code"]),
        (&json!("subscription_ended"), &heard, &json!("BACKPRESSURE"))
    );
    let again = hear(&mut slow, "*").await;
    slow.data(emit("b", &json!({}))).await;
    assert_eq!(slow.push(&again).await["topic"], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_encoding_serves_all_who_hear_an_event() {
    let server = ruled().bind().await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(address(&server)).await;
        let heard = hear(&mut client, "a.*").await;
        clients.push((client, heard));
    }
    server.rules().emit("a.b", json!({})).await.unwrap();
    server.rules().emit("nobody", json!({})).await.unwrap();
    for (client, heard) in &mut clients {
        client.push(heard).await;
    }
    let encoded = super::common::metric(address(&server), "dunlin_rules_events_encoded_total").await;
    assert_eq!(encoded, 1);
}
