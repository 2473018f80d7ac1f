//! Live queries on the wire: `spec/protocol.md` §6 and the weak points W10 to W12, W23.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, eventually, memory, memory_with, subscribe};
use dunlin_server::Server;
use serde_json::{Value, json};

async fn insert(client: &mut Client, data: Value) -> Value {
    client.data(json!({"type": "store.insert", "bucket": "items", "data": data})).await
}

async fn unsubscribe(client: &mut Client, id: &Value) -> Value {
    client.call(json!({"type": "store.unsubscribe", "subscriptionId": id})).await
}

async fn subscriptions(server: &Server) -> (Value, Value) {
    let stats = server.stats().await.unwrap();
    (
        stats["connections"]["totalStoreSubscriptions"].clone(),
        stats["store"]["queries"]["activeSubscriptions"].clone(),
    )
}

fn ended(id: &Value, code: &str, message: &str) -> Value {
    json!({"type": "system", "event": "subscription_ended", "subscriptionId": id, "code": code, "message": message})
}

#[tokio::test(flavor = "multi_thread")]
async fn w11_dropping_a_bucket_ends_its_live_queries_and_says_so() {
    let server = memory_with(|config| config.connection_limits.max_subscriptions_per_connection = 3)
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let store = server.store();
    store.define_bucket("others", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await.unwrap();
    store.define_query("others", json!({"bucket": "others"})).await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let mut neighbour = Client::connect(address(&server)).await;
    let (all, count) =
        (subscribe(&mut client, "all-items").await, subscribe(&mut client, "item-count").await);
    let others = subscribe(&mut client, "others").await;
    let theirs = subscribe(&mut neighbour, "all-items").await;
    client.data(json!({"type": "store.dropBucket", "name": "items"})).await;
    let gone = "Bucket \"items\" is not defined any more";
    let mut told = [client.system().await, client.system().await];
    told.sort_by_key(|message| message["subscriptionId"].to_string());
    assert_eq!(told, [ended(&all, "BUCKET_NOT_DEFINED", gone), ended(&count, "BUCKET_NOT_DEFINED", gone)]);
    assert_eq!(neighbour.system().await, ended(&theirs, "BUCKET_NOT_DEFINED", gone));
    assert_eq!(subscriptions(&server).await, (json!(1), json!(1)));
    assert_eq!(unsubscribe(&mut client, &all).await["code"], "NOT_FOUND");
    // The definitions of its queries are still there, and say what is missing.
    assert_eq!(
        client.code(json!({"type": "store.subscribe", "query": "all-items"})).await,
        "BUCKET_NOT_DEFINED"
    );
    // Defined again, it is another bucket: the slots are free, and old subscriptions do not come back.
    let schema = json!({"id": {"type": "string", "generated": "uuid"}, "n": {"type": "number"}});
    client
        .data(
            json!({"type": "store.defineBucket", "name": "items", "config": {"key": "id", "schema": schema}}),
        )
        .await;
    let again = subscribe(&mut client, "item-count").await;
    subscribe(&mut client, "all-items").await;
    insert(&mut client, json!({"n": 1})).await;
    assert_eq!(client.push(&again).await, 1);
    client.data(json!({"type": "store.insert", "bucket": "others", "data": {"id": "a"}})).await;
    assert_eq!(client.push(&others).await[0]["id"], "a", "what reads another bucket goes on");
    neighbour.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w11_undefining_a_query_ends_its_subscriptions_and_says_so() {
    let server = memory_with(|config| config.connection_limits.max_subscriptions_per_connection = 2)
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    // The same definition under another name: they share a view, but not an end.
    server.store().define_query("twin", json!({"bucket": "items"})).await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let (watched, twin) = (subscribe(&mut client, "all-items").await, subscribe(&mut client, "twin").await);
    client.data(json!({"type": "store.undefineQuery", "name": "all-items"})).await;
    let gone = "Query \"all-items\" is not defined any more";
    assert_eq!(client.system().await, ended(&watched, "QUERY_NOT_DEFINED", gone));
    assert_eq!(unsubscribe(&mut client, &watched).await["code"], "NOT_FOUND");
    assert_eq!(
        client.code(json!({"type": "store.subscribe", "query": "all-items"})).await,
        "QUERY_NOT_DEFINED"
    );
    subscribe(&mut client, "item-count").await;
    insert(&mut client, json!({"n": 1})).await;
    assert_eq!(client.push(&twin).await[0]["n"], 1);
    assert_eq!(subscriptions(&server).await, (json!(2), json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_defined_anew_is_another_query() {
    // Undefined, defined and subscribed to in one breath: the new subscription does not end with the old query.
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    for round in 1..=200u64 {
        let ids = client
            .send_all([
                json!({"type": "store.undefineQuery", "name": "item-count"}),
                json!({"type": "store.defineQuery", "name": "item-count",
                    "config": {"bucket": "items", "aggregate": {"function": "count"}}}),
                json!({"type": "store.subscribe", "query": "item-count"}),
            ])
            .await;
        let subscribed = client.answer(ids[2]).await["data"].clone();
        assert_eq!(subscribed["data"], json!(round - 1));
        insert(&mut client, json!({})).await;
        let id = &subscribed["subscriptionId"];
        // Whatever comes first about this subscription is its push.
        let told = loop {
            let message = client.message().await;
            if message["subscriptionId"] == *id {
                break message;
            }
        };
        assert_eq!((&told["type"], &told["data"]), (&json!("push"), &json!(round)), "round {round}: {told}");
        assert_eq!(unsubscribe(&mut client, id).await["type"], "result");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_subscribes_while_a_query_is_undefined_is_refused_or_told() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let store = server.store();
    let mut client = Client::connect(address(&server)).await;
    for round in 0..300 {
        let name = format!("q{round}");
        let query = json!({"bucket": "items", "filter": {"n": round}});
        store.define_query(&name, query).await.unwrap();
        let undefine = store.execute(dunlin_store::Intent::UndefineQuery { name: name.clone() });
        let (answer, undefined) =
            tokio::join!(client.call(json!({"type": "store.subscribe", "query": name})), undefine);
        undefined.unwrap();
        if answer["type"] == "error" {
            assert_eq!(answer["code"], "QUERY_NOT_DEFINED", "{answer}");
        } else {
            let told = client.system().await;
            assert_eq!(
                (&told["event"], &told["code"]),
                (&json!("subscription_ended"), &json!("QUERY_NOT_DEFINED"))
            );
            assert_eq!(told["subscriptionId"], answer["data"]["subscriptionId"]);
        }
    }
    assert_eq!(subscriptions(&server).await, (json!(0), json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_limited_per_connection_and_slots_are_freed() {
    let server = memory_with(|config| config.connection_limits.max_subscriptions_per_connection = 2)
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let request = json!({"type": "store.subscribe", "query": "all-items"});
    // What fails takes no slot.
    for wrong in [json!({"type": "store.subscribe"}), json!({"type": "store.subscribe", "query": "nowhere"})]
    {
        for _ in 0..3 {
            client.code(wrong.clone()).await;
        }
    }
    let first = subscribe(&mut client, "all-items").await;
    subscribe(&mut client, "all-items").await;
    let full = client.call(request.clone()).await;
    assert_eq!(
        (&full["code"], &full["message"]),
        (&json!("RATE_LIMITED"), &json!("Subscription limit reached (max 2 per connection)"))
    );
    assert!(full.get("details").is_none());
    // The limit comes before the query.
    assert_eq!(client.code(json!({"type": "store.subscribe", "query": "nowhere"})).await, "RATE_LIMITED");
    // Others have their own.
    let mut other = Client::connect(address(&server)).await;
    subscribe(&mut other, "all-items").await;
    unsubscribe(&mut client, &first).await;
    client.data(request.clone()).await;
    assert_eq!(client.code(request).await, "RATE_LIMITED");
    assert_eq!(server.connections()[0].store_subscription_count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_limited_in_all_and_slots_are_freed() {
    let server =
        memory_with(|config| config.connection_limits.max_total_subscriptions = 2).bind().await.unwrap();
    define_items(&server).await;
    let mut one = Client::connect(address(&server)).await;
    let mut other = Client::connect(address(&server)).await;
    let request = json!({"type": "store.subscribe", "query": "all-items"});
    subscribe(&mut one, "all-items").await;
    let second = subscribe(&mut other, "all-items").await;
    for client in [&mut one, &mut other] {
        let full = client.call(request.clone()).await;
        assert_eq!(full["message"], "Global subscription limit reached (max 2)", "{full}");
        assert_eq!(full["code"], "RATE_LIMITED");
    }
    unsubscribe(&mut other, &second).await;
    one.data(request.clone()).await;
    assert_eq!(other.code(request.clone()).await, "RATE_LIMITED");
    // Whoever leaves gives back all he had.
    one.close().await;
    eventually("the slots are free", async || subscriptions(&server).await == (json!(0), json!(0))).await;
    other.data(request.clone()).await;
    other.data(request.clone()).await;
    assert_eq!(other.code(request).await, "RATE_LIMITED");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ones_own_subscriptions_can_be_given_back_and_only_once() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let mut other = Client::connect(address(&server)).await;
    let mine = subscribe(&mut client, "item-count").await;
    let theirs = subscribe(&mut other, "item-count").await;
    let number = mine.as_str().unwrap().strip_prefix("sub-").unwrap();
    for wrong in [
        theirs.as_str().unwrap().to_owned(),
        "sub-999".to_owned(),
        "sub-".to_owned(),
        number.to_owned(),
        format!("sub-0{number}"),
        format!("sub-+{number}"),
        format!(" sub-{number}"),
        format!("SUB-{number}"),
        format!("sub-{}", u128::MAX),
        "☃".to_owned(),
    ] {
        let answer = unsubscribe(&mut client, &json!(wrong)).await;
        assert_eq!(answer["code"], "NOT_FOUND", "{wrong}: {answer}");
        assert_eq!(answer["message"], format!("Subscription \"{wrong}\" not found"));
    }
    for wrong in [json!(7), json!(null), json!(""), json!({})] {
        assert_eq!(unsubscribe(&mut client, &wrong).await["code"], "VALIDATION_ERROR");
    }
    assert_eq!(unsubscribe(&mut client, &mine).await["data"], json!({"unsubscribed": true}));
    assert_eq!(unsubscribe(&mut client, &mine).await["code"], "NOT_FOUND");
    insert(&mut client, json!({})).await;
    assert_eq!(other.push(&theirs).await, 1, "nobody else's was touched");
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_push_follows_an_unsubscription() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let store = server.store();
    let (enough, is_enough) = tokio::sync::watch::channel(false);
    let writer = tokio::spawn(async move {
        while !*is_enough.borrow() {
            store.insert("items", json!({})).await.unwrap();
        }
    });
    let mut client = Client::connect(address(&server)).await;
    for round in 0..300 {
        let id = subscribe(&mut client, "item-count").await;
        let answered = client.send(json!({"type": "store.unsubscribe", "subscriptionId": id})).await;
        let marker = client.send(json!({"type": "store.buckets"})).await;
        let mut over = false;
        loop {
            let message = client.message().await;
            assert!(!over || message["type"] != "push", "round {round}: {message}");
            over |= message["id"] == answered;
            if message["id"] == marker {
                break;
            }
        }
    }
    enough.send_replace(true);
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_choose_and_wrong_ones_are_refused() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    insert(&mut client, json!({"n": 1, "tag": "a"})).await;
    let request =
        |params: Value| json!({"type": "store.subscribe", "query": "items-by-tag", "params": params});
    let of_a = client.data(request(json!({"tag": "a", "unused": 1}))).await;
    assert_eq!(of_a["data"][0]["n"], 1);
    let of_b = client.data(request(json!({"tag": "b"}))).await;
    assert_eq!(of_b["data"], json!([]));
    insert(&mut client, json!({"n": 2, "tag": "b"})).await;
    assert_eq!(client.push(&of_b["subscriptionId"]).await[0]["n"], 2);
    insert(&mut client, json!({"n": 3, "tag": "a"})).await;
    assert_eq!(client.push(&of_a["subscriptionId"]).await[1]["n"], 3);
    for wrong in [
        json!({}),
        json!(null),
        json!([]),
        json!("a"),
        json!(5),
        json!({"tag": {"$gt": 1}}),
        json!({"Tag": "a"}),
    ] {
        let answer = client.call(request(wrong.clone())).await;
        assert_eq!(answer["code"], "VALIDATION_ERROR", "{wrong}: {answer}");
    }
    // Where none are needed none are missed.
    for params in [json!(null), json!({}), json!({"any": "thing"})] {
        client.data(json!({"type": "store.subscribe", "query": "item-count", "params": params})).await;
    }
    assert_eq!(subscriptions(&server).await, (json!(5), json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_stays_the_same_is_not_pushed() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let store = server.store();
    store.define_query("tags", json!({"bucket": "items", "fields": ["tag"]})).await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let item = insert(&mut client, json!({"n": 1, "tag": "a"})).await;
    let tags = subscribe(&mut client, "tags").await;
    let count = subscribe(&mut client, "item-count").await;
    let twice = subscribe(&mut client, "item-count").await;
    let update =
        |data: Value| json!({"type": "store.update", "bucket": "items", "key": item["id"], "data": data});
    // Nothing that anybody watches: not the tags, and not how many there are.
    client.data(update(json!({"n": 2}))).await;
    client.data(update(json!({}))).await;
    client.data(json!({"type": "store.delete", "bucket": "items", "key": "nobody"})).await;
    client.code(json!({"type": "store.insert", "bucket": "items", "data": {"n": "x"}})).await;
    client.silent().await;
    client.data(update(json!({"tag": "b"}))).await;
    assert_eq!(client.push(&tags).await, json!([{"tag": "b"}]));
    client.silent().await;
    // Subscribed to twice is told twice.
    insert(&mut client, json!({"tag": "c"})).await;
    assert_eq!((client.push(&count).await, client.push(&twice).await), (json!(2), json!(2)));
    unsubscribe(&mut client, &count).await;
    insert(&mut client, json!({"tag": "d"})).await;
    assert_eq!(client.push(&twice).await, 3);
    assert_eq!(client.push(&tags).await.as_array().unwrap().len(), 2);
    assert_eq!(client.push(&tags).await.as_array().unwrap().len(), 3);
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w23_clearing_a_bucket_is_pushed() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    insert(&mut client, json!({"n": 1})).await;
    let (all, count) =
        (subscribe(&mut client, "all-items").await, subscribe(&mut client, "item-count").await);
    assert_eq!(
        client.data(json!({"type": "store.clear", "bucket": "items"})).await,
        json!({"cleared": true})
    );
    assert_eq!((client.push(&all).await, client.push(&count).await), (json!([]), json!(0)));
    // An empty bucket is cleared without news.
    client.data(json!({"type": "store.clear", "bucket": "items"})).await;
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_a_live_query_survives_a_change_of_its_buckets_definition() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let item = insert(&mut client, json!({"n": 1})).await;
    let all = subscribe(&mut client, "all-items").await;
    let updates = json!({"addFields": {"colour": {"type": "string"}}, "addIndexes": ["tag"]});
    client.data(json!({"type": "store.updateBucket", "name": "items", "updates": updates})).await;
    let update =
        json!({"type": "store.update", "bucket": "items", "key": item["id"], "data": {"colour": "red"}});
    let record = client.data(update).await;
    assert_eq!(client.push(&all).await, json!([record]));
    client.silent().await;
    assert_eq!(subscriptions(&server).await, (json!(1), json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_are_scalars_and_the_minimum_of_nothing_is_no_data() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    for function in ["sum", "avg", "min", "max"] {
        let aggregate = json!({"function": function, "field": "n"});
        server
            .store()
            .define_query(function, json!({"bucket": "items", "aggregate": aggregate}))
            .await
            .unwrap();
    }
    let mut client = Client::connect(address(&server)).await;
    let mut watched = Vec::new();
    for (function, of_nothing) in [("sum", Some(0)), ("avg", Some(0)), ("min", None), ("max", None)] {
        let subscribed = client.data(json!({"type": "store.subscribe", "query": function})).await;
        assert_eq!(
            subscribed.get("data"),
            of_nothing.map(|number| json!(number)).as_ref(),
            "{function}: {subscribed}"
        );
        watched.push(subscribed["subscriptionId"].clone());
    }
    insert(&mut client, json!({"tag": "no number"})).await;
    client.silent().await;
    insert(&mut client, json!({"n": 4})).await;
    for id in &watched {
        assert_eq!(client.push(id).await, 4);
    }
    insert(&mut client, json!({"n": 1})).await;
    for (id, expected) in watched[..3].iter().zip([json!(5), json!(2.5), json!(1)]) {
        assert_eq!(client.push(id).await, expected);
    }
    client.silent().await;
    client.data(json!({"type": "store.clear", "bucket": "items"})).await;
    for (id, of_nothing) in watched.iter().zip([Some(0), Some(0), None, None]) {
        let push = client.message().await;
        assert_eq!((&push["type"], &push["subscriptionId"]), (&json!("push"), id));
        assert_eq!(push.get("data"), of_nothing.map(|number| json!(number)).as_ref(), "{push}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_after_a_subscription_is_not_older_than_its_result() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let store = server.store();
    let (enough, is_enough) = tokio::sync::watch::channel(false);
    let writer = tokio::spawn(async move {
        while !*is_enough.borrow() {
            store.insert("items", json!({})).await.unwrap();
        }
    });
    let mut client = Client::connect(address(&server)).await;
    for _ in 0..200 {
        let count = json!({"type": "store.count", "bucket": "items"});
        let watch = json!({"type": "store.subscribe", "query": "item-count"});
        let ids = client.send_all([count.clone(), watch, count]).await;
        let before = client.answer(ids[0]).await["data"].as_u64().unwrap();
        let watched = client.answer(ids[1]).await["data"].clone();
        let after = client.answer(ids[2]).await["data"].as_u64().unwrap();
        let at = watched["data"].as_u64().unwrap();
        assert!(before <= at && at <= after, "{before}, {at}, {after}");
        assert_eq!(unsubscribe(&mut client, &watched["subscriptionId"]).await["type"], "result");
    }
    enough.send_replace(true);
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_writes_is_pushed_as_its_last_state() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let mut other = Client::connect(address(&server)).await;
    let mine = subscribe(&mut client, "item-count").await;
    let theirs = subscribe(&mut other, "item-count").await;
    let ids = client
        .send_all((0..100).map(|n| json!({"type": "store.insert", "bucket": "items", "data": {"n": n}})))
        .await;
    for (client, id) in [(&mut client, mine), (&mut other, theirs)] {
        let mut last = 0;
        while last < 100 {
            let count = client.push(&id).await.as_u64().unwrap();
            assert!(count > last);
            last = count;
        }
    }
    client.answer(ids[99]).await;
}

/// With hardly any history, a large bucket changes faster than a view of it is worked out.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_never_catches_up_beside_the_others_is_made_among_them() {
    let server = memory_with(|config| config.live.history_commits = 0).bind().await.unwrap();
    define_items(&server).await;
    let items: Vec<Value> = (0..30_000).map(|n| json!({"id": format!("i{n}"), "n": n})).collect();
    server.store().insert_many("items", items).await.unwrap();
    let writing = {
        let store = server.store();
        tokio::spawn(async move {
            for n in 0.. {
                store.update("items", json!("i1"), json!({"n": n})).await.unwrap();
            }
        })
    };
    let mut client = Client::connect(address(&server)).await;
    let query = json!({"bucket": "items", "sort": {"n": "desc"}, "limit": 2});
    let asked = client.data(json!({"type": "store.subscribe", "query": query}));
    let told = tokio::time::timeout(std::time::Duration::from_secs(30), asked).await;
    writing.abort();
    assert_eq!(told.expect("it is answered while others write")["data"][0]["n"], 29_999);
}

/// A filter may have very many tests, so that a few thousand records are a lot of work.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_long_on_few_records_holds_up_nobody_else() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let store = server.store();
    store.define_bucket("others", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await.unwrap();
    store.define_query("others", json!({"bucket": "others"})).await.unwrap();
    let items: Vec<Value> = (0..4_000).map(|n| json!({"n": n, "tag": "a usual text"})).collect();
    store.insert_many("items", items).await.unwrap();
    let mut hostile = Client::connect(address(&server)).await;
    let mut neighbour = Client::connect(address(&server)).await;
    let others = subscribe(&mut neighbour, "others").await;

    let branches: Vec<Value> = (0..2_000).map(|n| json!({"tag": {"$contains": format!("x{n}")}})).collect();
    let query = json!({"bucket": "items", "filter": {"$or": branches}});
    let asked = hostile.send(json!({"type": "store.subscribe", "query": query})).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    store.insert("others", json!({"id": "a"})).await.unwrap();
    assert_eq!(neighbour.push(&others).await[0]["id"], "a");
    hostile.silent().await;
    assert_eq!(hostile.answer(asked).await["data"]["data"], json!([]));
}
