//! What a client can ask for beyond protocol 1.0.0: `hello`, positions, queries given inline, patches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, memory, memory_with, subscribe};
use dunlin_protocol::Resource;
use dunlin_server::{Access, Server, Session};
use serde_json::{Value, json};

async fn hello(client: &mut Client, extensions: Value) -> Value {
    client.data(json!({"type": "hello", "client": "test/1", "extensions": extensions})).await
}

/// The next push, whole.
async fn push(client: &mut Client) -> Value {
    let push = client.message().await;
    assert_eq!(push["type"], "push", "{push}");
    push
}

fn position(answer: &Value) -> u64 {
    answer["position"].as_u64().unwrap_or_else(|| panic!("no position in {answer}"))
}

async fn with_items() -> (Server, Client) {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let client = Client::connect(address(&server)).await;
    (server, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_says_who_is_here_and_within_which_bounds() {
    let server = memory_with(|config| {
        config.max_payload_bytes = 12_345;
        config.connection_limits.max_subscriptions_per_connection = 6;
        config.heartbeat.interval_ms = 7_000;
        config.backpressure.slow_consumer_ms = 8_000;
    })
    .bind()
    .await
    .unwrap();
    let mut client = Client::connect(address(&server)).await;
    let answer = hello(&mut client, json!(["position", "telepathy"])).await;
    let snapshot = server.store().snapshot();
    let expected = json!({
        "server": "dunlin",
        "version": env!("CARGO_PKG_VERSION"),
        "epoch": snapshot.epoch(),
        "position": 0,
        "extensions": ["hello", "position", "patch", "resume", "inline-query", "idempotency", "if-version"],
        "limits": {
            "maxPayloadBytes": 12_345,
            "maxDepth": 128,
            "maxRecordBytes": 16 * 1024 * 1024,
            "maxOperations": 10_000,
            "maxInserted": 100_000,
            "maxSubscriptionsPerConnection": 6,
            "maxTotalSubscriptions": 10_000,
            "heartbeatIntervalMs": 7_000,
            "heartbeatTimeoutMs": 10_000,
            "idempotencyTtlMs": 86_400_000,
            "slowConsumerMs": 8_000,
            "loginTimeoutMs": 60_000,
            "rateLimit": null,
        },
    });
    assert_eq!(answer, expected);
    define_items(&server).await;
    assert_eq!(client.data(json!({"type": "hello"})).await["position"], 4, "two definitions and two more");
    for wrong in [json!({"extensions": "position"}), json!({"extensions": [1]}), json!({"client": {}})] {
        let mut request = wrong.clone();
        request["type"] = json!("hello");
        assert_eq!(client.code(request).await, "VALIDATION_ERROR", "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_comes_before_a_login_and_gives_no_rights() {
    let server = memory()
        .authenticator(async |_| Ok(Some(Session::new("ada").with_role("reader"))))
        .bind()
        .await
        .unwrap();
    let mut client = Client::connect(address(&server)).await;
    assert_eq!(hello(&mut client, json!([])).await["server"], "dunlin");
    assert_eq!(client.code(json!({"type": "store.buckets"})).await, "UNAUTHORIZED");
    client.data(json!({"type": "auth.login", "token": "t"})).await;
    assert_eq!(hello(&mut client, json!(["position"])).await["server"], "dunlin");
    assert_eq!(client.data(json!({"type": "store.buckets"})).await["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_told_to_whoever_asks_and_to_nobody_else() {
    let (server, mut client) = with_items().await;
    let mut plain = Client::connect(address(&server)).await;
    hello(&mut client, json!(["position"])).await;
    hello(&mut plain, json!(["patch"])).await;
    let (ours, theirs) =
        (subscribe(&mut client, "all-items").await, subscribe(&mut plain, "all-items").await);

    let before = server.store().snapshot().position();
    let record = json!({"id": "a", "n": 1});
    let inserted = client.call(json!({"type": "store.insert", "bucket": "items", "data": record})).await;
    assert_eq!(position(&inserted), before + 1);
    let pushed = push(&mut client).await;
    assert_eq!((position(&pushed), &pushed["subscriptionId"]), (before + 1, &ours));
    let pushed = push(&mut plain).await;
    assert_eq!((pushed.get("position"), &pushed["subscriptionId"]), (None, &theirs));

    // What changes nothing shows the commit before it.
    let nothing = client.call(json!({"type": "store.delete", "bucket": "items", "key": "none"})).await;
    assert_eq!(position(&nothing), before + 1);
    let define = json!({"type": "store.defineQuery", "name": "q", "config": {"bucket": "items"}});
    assert_eq!(position(&client.call(define).await), before + 2);
    let operations =
        json!([{"op": "delete", "bucket": "items", "key": "a"}, {"op": "count", "bucket": "items"}]);
    let done = client.call(json!({"type": "store.transaction", "operations": operations})).await;
    assert_eq!((position(&done), position(&push(&mut client).await)), (before + 3, before + 3));
    push(&mut plain).await;

    // Reads, refusals and all that others get are as in protocol 1.0.0.
    let read = client.call(json!({"type": "store.count", "bucket": "items"})).await;
    let refused = client.call(json!({"type": "store.clear", "bucket": "none"})).await;
    let written = plain.call(json!({"type": "store.insert", "bucket": "items", "data": {"id": "b"}})).await;
    for answer in [read, refused, written] {
        assert_eq!(answer.get("position"), None, "{answer}");
    }
    assert_eq!(position(&push(&mut client).await), before + 4);

    // The last hello counts.
    hello(&mut client, json!([])).await;
    let cleared = client.call(json!({"type": "store.clear", "bucket": "items"})).await;
    assert_eq!((cleared.get("position"), push(&mut client).await.get("position")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_one_batch_have_positions_of_their_own() {
    let (server, mut client) = with_items().await;
    let before = server.store().snapshot().position();
    let insert = |n: u64| json!({"type": "store.insert", "bucket": "items", "data": {"n": n}});
    let asks = json!({"type": "hello", "extensions": ["position"]});
    let ids = client.send_all([asks, insert(1), insert(2), insert(3)]).await;
    for (nth, id) in (1..).zip(&ids[1..]) {
        assert_eq!(position(&client.answer(*id).await), before + nth);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_can_be_given_inline() {
    let (server, mut client) = with_items().await;
    let query = json!({"bucket": "items", "filter": {"tag": "{{ params.tag }}"}, "fields": ["n"]});
    let wish = json!({"type": "store.subscribe", "query": query, "params": {"tag": "x"}});
    let subscribed = client.data(wish.clone()).await;
    assert_eq!(subscribed, json!({"subscriptionId": subscribed["subscriptionId"], "data": []}));
    let insert = json!({"type": "store.insert", "bucket": "items", "data": {"n": 5, "tag": "x"}});
    client.data(insert).await;
    assert_eq!(client.push(&subscribed["subscriptionId"]).await, json!([{"n": 5}]));
    let stats = server.stats().await.unwrap();
    assert_eq!(stats["store"]["queries"], json!({"defined": 3, "activeSubscriptions": 1}));
    // It belongs to nobody but its subscription: there is nothing of it to list or to undefine.
    let listed = client.data(json!({"type": "store.listQueries"})).await;
    assert_eq!(listed["queries"].as_array().unwrap().len(), 3);
    client.data(json!({"type": "store.dropBucket", "name": "items"})).await;
    let ended = client.system().await;
    assert_eq!(
        (&ended["subscriptionId"], &ended["code"]),
        (&subscribed["subscriptionId"], &json!("BUCKET_NOT_DEFINED"))
    );
    assert_eq!(client.code(wish).await, "BUCKET_NOT_DEFINED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_inline_query_is_told_with_its_place() {
    let (_server, mut client) = with_items().await;
    for (query, params, field) in [
        (json!({}), json!(null), "bucket"),
        (json!({"bucket": "items", "filter": {"n": {"$more": 1}}}), json!(null), "filter.n.$more"),
        (json!({"bucket": "items", "sort": {"n": "up"}}), json!(null), "sort.n"),
        (json!({"bucket": "items", "include": {"x": {"ref": "tag"}}}), json!(null), "include.x.ref"),
        (json!({"bucket": "items", "filter": {"n": "{{ params.n }}"}}), json!({}), "params.n"),
        (json!({"bucket": "items", "colour": 1}), json!(null), "colour"),
    ] {
        let wish = json!({"type": "store.subscribe", "query": query, "params": params});
        let answer = client.call(wish).await;
        assert_eq!(answer["code"], "VALIDATION_ERROR", "{query}: {answer}");
        assert_eq!(answer["details"][0]["field"], field, "{query}: {answer}");
    }
    for query in [json!(5), json!([]), json!("")] {
        assert_eq!(client.code(json!({"type": "store.subscribe", "query": query})).await, "VALIDATION_ERROR");
    }
    // None of them has taken a place.
    let stats = client.data(json!({"type": "server.stats"})).await;
    assert_eq!(stats["connections"]["totalStoreSubscriptions"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inline_query_takes_the_rights_on_all_that_it_reads() {
    let allowed = |access: &Access<'_>| {
        access.operation != "store.subscribe"
            || access.resources.iter().all(|resource| match resource {
                Resource::Bucket(name) => name != "secrets",
                Resource::Query(_) => false,
                _ => true,
            })
    };
    let server = memory()
        .authenticator(async |_| Ok(Some(Session::new("ada").with_role("admin"))))
        .permissions(allowed)
        .bind()
        .await
        .unwrap();
    let store = server.store();
    let id = json!({"type": "string"});
    store.define_bucket("secrets", json!({"key": "id", "schema": {"id": id}})).await.unwrap();
    let schema = json!({"id": id, "secret": {"type": "string", "ref": "secrets"}});
    store.define_bucket("open", json!({"key": "id", "schema": schema})).await.unwrap();
    store.define_query("named", json!({"bucket": "open"})).await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let open = json!({"type": "store.subscribe", "query": {"bucket": "open"}});
    assert_eq!(client.code(open.clone()).await, "UNAUTHORIZED");
    client.data(json!({"type": "auth.login", "token": "t"})).await;
    client.data(open).await;
    for query in [
        json!("named"),
        json!({"bucket": "secrets"}),
        json!({"bucket": "open", "include": {"more": {"ref": "secret"}}}),
    ] {
        assert_eq!(
            client.code(json!({"type": "store.subscribe", "query": query})).await,
            "FORBIDDEN",
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_patch_mode_the_answer_has_a_place_in_history_and_pushes_are_patches() {
    let (server, mut client) = with_items().await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "a", "n": 1}})).await;
    let snapshot = server.store().snapshot();
    let wish = json!({"type": "store.subscribe", "query": "item-count", "mode": "patch"});
    let subscribed = client.data(wish).await;
    let id = subscribed["subscriptionId"].clone();
    let place = json!({"subscriptionId": id, "data": 1, "epoch": snapshot.epoch(),
        "position": snapshot.position(), "resumed": false});
    assert_eq!(subscribed, place);
    client.data(json!({"type": "store.delete", "bucket": "items", "key": "a"})).await;
    let patch = json!([{"op": "replace", "path": "", "value": 0}]);
    let expected = json!({"type": "push", "channel": "subscription", "subscriptionId": id,
        "position": snapshot.position() + 1, "patch": patch});
    assert_eq!(push(&mut client).await, expected);

    // Whoever comes back with something this server cannot continue from gets everything.
    let resume = json!({"epoch": "of another life", "position": 5});
    let wish = json!({"type": "store.subscribe", "query": "item-count", "resume": resume});
    let resumed = client.data(wish).await;
    assert_eq!((&resumed["data"], &resumed["resumed"]), (&json!(0), &json!(false)));
    assert_eq!(position(&resumed), snapshot.position() + 1);

    // The smallest of nothing is nothing; a patch needs a value to change.
    let smallest = json!({"bucket": "items", "aggregate": {"function": "min", "field": "n"}});
    let wish = json!({"type": "store.subscribe", "query": smallest, "mode": "patch"});
    assert_eq!(client.data(wish).await["data"], Value::Null);
    for wrong in
        [json!({"mode": "delta"}), json!({"mode": 1}), json!({"resume": {"epoch": 1, "position": 1}})]
    {
        let mut request = json!({"type": "store.subscribe", "query": "item-count"});
        request.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(client.code(request).await, "VALIDATION_ERROR", "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ones_own_subscription_can_be_explained() {
    let (server, mut client) = with_items().await;
    let mut other = Client::connect(address(&server)).await;
    let ours = subscribe(&mut client, "all-items").await;
    let theirs = subscribe(&mut other, "all-items").await;
    let explained = client.data(json!({"type": "store.explain", "subscriptionId": ours})).await;
    assert_eq!(explained["bucket"], "items");
    for id in [theirs, json!("sub-0"), json!("x")] {
        assert_eq!(
            client.code(json!({"type": "store.explain", "subscriptionId": id})).await,
            "NOT_FOUND",
            "{id}"
        );
    }
    assert_eq!(client.code(json!({"type": "store.explain", "subscriptionId": 5})).await, "VALIDATION_ERROR");
}
