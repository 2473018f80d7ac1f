//! `rules.emit`, the facts, the statistics.

use serde_json::json;

use super::common::{Client, address, memory};
use super::{client, emit, has_members, register, relay, ruled};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_answered_as_it_happened() {
    let (_server, mut client) = client().await;
    let event = client.data(emit("order.created", &json!({"id": 1}))).await;
    assert!(has_members(&event, &["id", "topic", "data", "timestamp", "source"]), "{event}");
    assert_eq!(
        (&event["topic"], &event["data"], &event["source"]),
        (&json!("order.created"), &json!({"id": 1}), &json!("api"))
    );
    let told = json!({"type": "rules.emit", "topic": "t", "data": null, "correlationId": "c-1", "causationId": "e-1"});
    let event = client.data(told).await;
    assert_eq!(
        (&event["data"], &event["correlationId"], &event["causationId"]),
        (&json!({}), &json!("c-1"), &json!("e-1"))
    );
    // A cause without a story is not kept.
    let event = client.data(json!({"type": "rules.emit", "topic": "t", "causationId": "e-1"})).await;
    assert!(has_members(&event, &["id", "topic", "data", "timestamp", "source"]), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_answered_when_the_rules_that_it_set_off_have_run() {
    let (_server, mut client) = client().await;
    let rule = json!({"id": "r", "name": "r", "trigger": {"type": "event", "topic": "a"},
        "actions": [{"type": "set_fact", "key": "seen:${event.n}", "value": {"ref": "event.n"}}]});
    client.data(register(&rule)).await;
    let ids = client
        .send_all([emit("a", &json!({"n": 7})), json!({"type": "rules.getFact", "key": "seen:7"})])
        .await;
    client.answer(ids[0]).await;
    assert_eq!(client.answer(ids[1]).await["data"], 7, "a read waits for what its connection wrote");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_keys_are_bounded_and_records_topics_are_not_for_everybody() {
    let (_server, mut client) = client().await;
    for topic in ["bucket.users.inserted".to_owned(), "x".repeat(513), "a.".repeat(32) + "a"] {
        assert_eq!(client.code(emit(&topic, &json!({}))).await, "VALIDATION_ERROR", "{topic}");
    }
    for key in ["x".repeat(513), "a:".repeat(32) + "a"] {
        let set = json!({"type": "rules.setFact", "key": key, "value": 1});
        assert_eq!(client.code(set).await, "VALIDATION_ERROR");
    }
    for pattern in ["a:**", "**"] {
        let query = json!({"type": "rules.queryFacts", "pattern": pattern});
        assert_eq!(client.code(query).await, "VALIDATION_ERROR", "{pattern}");
    }
    for pattern in ["a..b", "**", "bucket.users.*"] {
        let subscribe = json!({"type": "rules.subscribe", "pattern": pattern});
        assert_eq!(client.code(subscribe).await, "VALIDATION_ERROR", "{pattern}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_set_found_and_deleted() {
    let (_server, mut client) = client().await;
    let set = |key: &str, value| json!({"type": "rules.setFact", "key": key, "value": value});
    let get = |key: &str| json!({"type": "rules.getFact", "key": key});
    assert_eq!(client.data(json!({"type": "rules.getAllFacts"})).await, json!([]));
    assert_eq!(client.data(get("u:1:name")).await, json!(null));
    let fact = client.data(set("u:1:name", json!("Ada"))).await;
    assert!(has_members(&fact, &["key", "value", "timestamp", "source", "version"]), "{fact}");
    assert_eq!(
        (&fact["value"], &fact["source"], &fact["version"]),
        (&json!("Ada"), &json!("api"), &json!(1))
    );
    for (key, value) in [
        ("u:2:name", json!("Bob")),
        ("u:2:age", json!(7)),
        ("x", json!(null)),
        ("u:1:name", json!({"a": [1]})),
    ] {
        client.data(set(key, value)).await;
    }
    assert_eq!(client.data(get("u:1:name")).await, json!({"a": [1]}));
    assert_eq!(client.data(get("x")).await, json!(null));
    let all = client.data(json!({"type": "rules.getAllFacts"})).await;
    let keys = |facts: &serde_json::Value| -> Vec<String> {
        facts.as_array().unwrap().iter().map(|fact| fact["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&all), ["u:1:name", "u:2:name", "u:2:age", "x"], "setting a fact again keeps its place");
    assert_eq!((&all[0]["version"], &all[3]["value"]), (&json!(2), &json!(null)));
    assert!(
        all.as_array()
            .unwrap()
            .iter()
            .all(|fact| has_members(fact, &["key", "value", "timestamp", "source", "version"]))
    );
    for (pattern, found) in [
        ("u:*:name", vec!["u:1:name", "u:2:name"]),
        ("u:2:*", vec!["u:2:name", "u:2:age"]),
        ("*", vec!["x"]),
        ("*:2:age", vec!["u:2:age"]),
        ("u:2:age", vec!["u:2:age"]),
        ("u:*", vec![]),
        ("nothing", vec![]),
    ] {
        let facts = client.data(json!({"type": "rules.queryFacts", "pattern": pattern})).await;
        assert_eq!(keys(&facts), found, "{pattern}");
    }
    let delete = json!({"type": "rules.deleteFact", "key": "x"});
    assert_eq!(client.data(delete.clone()).await, json!({"deleted": true}));
    assert_eq!(client.data(delete).await, json!({"deleted": false}));
    assert_eq!(client.data(set("x", json!(1))).await["version"], 1, "it begins anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_records_that_clients_read_and_do_not_write() {
    let (_server, mut client) = client().await;
    client.data(json!({"type": "rules.setFact", "key": "a", "value": 5})).await;
    let found = client.data(json!({"type": "store.where", "bucket": "_facts", "filter": {"value": 5}})).await;
    assert_eq!(found[0]["key"], "a");
    // As `rules.queryFacts` looks for them.
    let explain =
        json!({"type": "store.explain", "bucket": "_facts", "filter": {"key": {"$startsWith": "a"}}});
    let explained = client.data(explain).await;
    assert_eq!(explained["access"], "range", "{explained}");
    let query = json!({"type": "store.subscribe", "query": {"bucket": "_facts", "filter": {"key": {"$startsWith": "a"}}}});
    let watching = client.data(query).await;
    client.data(json!({"type": "rules.setFact", "key": "ab", "value": 6})).await;
    assert_eq!(client.push(&watching["subscriptionId"]).await[1]["value"], 6);
    assert_eq!(client.data(json!({"type": "store.buckets"})).await, json!({"count": 0, "names": []}));
    let insert = json!({"type": "store.insert", "bucket": "_facts", "data": {"key": "b", "value": 1}});
    assert_eq!(client.code(insert).await, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_the_same_key_sets_nothing_off_again() {
    let (_server, mut client) = client().await;
    client.data(register(&relay("r", "a"))).await;
    let heard =
        client.data(json!({"type": "rules.subscribe", "pattern": "output.*"})).await["subscriptionId"]
            .clone();
    let mut once = emit("a", &json!({"n": 1}));
    once["idempotencyKey"] = json!("k-1");
    let first = client.data(once.clone()).await;
    assert_eq!(client.data(once.clone()).await, first);
    once["data"] = json!({"n": 2});
    assert_eq!(client.code(once).await, "CONFLICT");
    client.push(&heard).await;
    client.data(emit("a", &json!({"n": 3}))).await;
    assert_eq!(client.push(&heard).await["event"]["data"]["from"], 3, "there was none between");
    let mut set = json!({"type": "rules.setFact", "key": "f", "value": 1, "idempotencyKey": "k-2"});
    assert_eq!(client.data(set.clone()).await, client.data(set.clone()).await);
    set["type"] = json!("rules.deleteFact");
    assert_eq!(client.code(set).await, "CONFLICT");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_those_of_the_protocol_and_more_if_asked_for() {
    let (server, mut client) = client().await;
    let plain = [
        "rulesCount",
        "factsCount",
        "timersCount",
        "eventsProcessed",
        "rulesExecuted",
        "avgProcessingTimeMs",
        "tracing",
    ];
    client.data(register(&relay("r", "a"))).await;
    client.data(json!({"type": "rules.setFact", "key": "f", "value": 1})).await;
    client.data(emit("a", &json!({}))).await;
    let stats = client.data(json!({"type": "rules.stats"})).await;
    assert!(has_members(&stats, &plain), "{stats}");
    assert_eq!(
        (&stats["rulesCount"], &stats["factsCount"], &stats["timersCount"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!((&stats["eventsProcessed"], &stats["rulesExecuted"]), (&json!(2), &json!(1)));
    assert!(has_members(&stats["tracing"], &["enabled", "entriesCount", "maxEntries"]));
    let more = client.data(json!({"type": "rules.stats", "details": true})).await;
    assert!(plain.iter().all(|name| more.get(*name).is_some()) && more.get("outbox").is_some(), "{more}");
    let of_server = client.data(json!({"type": "server.stats"})).await;
    assert_eq!((&of_server["rulesEnabled"], &of_server["rules"]), (&json!(true), &stats));
    assert_eq!(server.stats().await.unwrap()["rules"], stats);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_every_operation_says_so_even_one_that_does_not_exist() {
    let server = memory().bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    for operation in ["emit", "setFact", "subscribe", "unsubscribe", "getRules", "history", "nonexistent"] {
        let answer = client.call(json!({"type": format!("rules.{operation}")})).await;
        assert_eq!(
            (&answer["code"], &answer["message"]),
            (&json!("RULES_NOT_AVAILABLE"), &json!("Rule engine is not configured")),
            "{operation}"
        );
    }
    let stats = client.data(json!({"type": "server.stats"})).await;
    assert_eq!((&stats["rulesEnabled"], &stats["rules"]), (&json!(false), &json!(null)));
    assert!(server.rules().emit("a", json!({})).await.is_err());
    drop(server);
    let server = ruled().bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let answer = client.call(json!({"type": "rules.nonexistent"})).await;
    assert_eq!(answer["message"], "Unknown rules operation \"rules.nonexistent\"");
}
