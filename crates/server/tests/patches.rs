//! Live queries beyond protocol 1.0.0: patches, positions, coming back. `spec/extensions.md`, "Live queries".
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Client, address, define_items, eventually, memory, memory_with, metric, patch};
use dunlin_server::{Server, ServerBuilder};
use dunlin_store::Intent;
use serde_json::{Value, json};

/// A subscriber in patch mode.
struct Subscriber {
    client: Client,
    id: Value,
    epoch: Value,
    position: u64,
    state: Value,
}

/// What a subscriber has when it comes back.
struct Seen {
    epoch: Value,
    position: u64,
    state: Value,
}

impl Subscriber {
    async fn new(server: &Server, query: Value) -> Self {
        let mut client = Client::connect(address(server)).await;
        let told = client.data(json!({"type": "store.subscribe", "query": query, "mode": "patch"})).await;
        assert_eq!(told["resumed"], false);
        Self {
            id: told["subscriptionId"].clone(),
            epoch: told["epoch"].clone(),
            position: told["position"].as_u64().unwrap(),
            state: told["data"].clone(),
            client,
        }
    }

    /// Takes the next push.
    async fn take(&mut self) -> Value {
        let push = self.client.message().await;
        assert_eq!((&push["channel"], &push["subscriptionId"]), (&json!("subscription"), &self.id), "{push}");
        let position = push["position"].as_u64().unwrap();
        assert!(position > self.position, "{push} after {}", self.position);
        self.position = position;
        patch::apply(&mut self.state, &push["patch"]);
        push["patch"].clone()
    }

    async fn leave(self) -> Seen {
        self.client.close().await;
        Seen { epoch: self.epoch, position: self.position, state: self.state }
    }
}

/// Asks for what was missed; the whole answer.
async fn resume(server: &Server, query: Value, seen: &Seen) -> Value {
    let mut client = Client::connect(address(server)).await;
    let resume = json!({"epoch": seen.epoch, "position": seen.position});
    let wish = json!({"type": "store.subscribe", "query": query, "mode": "patch", "resume": resume});
    client.data(wish).await
}

/// It was told exactly what it had missed, and so knows this.
fn resumed(mut seen: Seen, told: &Value, truth: &Value) {
    assert_eq!((&told["resumed"], told.get("data")), (&json!(true), None), "{told}");
    patch::apply(&mut seen.state, &told["patch"]);
    assert_eq!(seen.state, *truth, "{told}");
}

async fn items(server: &Server) -> Value {
    let mut client = Client::connect(address(server)).await;
    client.data(json!({"type": "store.all", "bucket": "items"})).await
}

async fn put(server: &Server, id: &str, n: u64) {
    // Longer than what a patch says of a number.
    let tag = "a tag ".repeat(50);
    server.store().upsert("items", json!({"id": id, "n": n, "tag": tag})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_tells_what_has_changed_and_no_more() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    for id in ["a", "b", "c"] {
        put(&server, id, 1).await;
    }
    let sorted = json!({"bucket": "items", "sort": {"n": "asc", "id": "asc"}, "limit": 2});
    let mut all = Subscriber::new(&server, json!("all-items")).await;
    let mut first = Subscriber::new(&server, sorted).await;
    let mut count = Subscriber::new(&server, json!("item-count")).await;
    assert_eq!((count.state.clone(), first.state.as_array().unwrap().len()), (json!(3), 2));

    put(&server, "c", 2).await;
    let told = all.take().await;
    let paths: Vec<&str> = told.as_array().unwrap().iter().map(|op| op["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/2/n", "/2/_version", "/2/_updatedAt"]);
    put(&server, "b", 0).await;
    assert_eq!(first.take().await[0], json!({"op": "move", "from": "/1", "path": "/0"}));
    server.store().delete("items", json!("b")).await.unwrap();
    let told = first.take().await;
    assert_eq!((&told[0], &told[1]["op"]), (&json!({"op": "remove", "path": "/0"}), &json!("add")), "{told}");
    assert_eq!(count.take().await, json!([{"op": "replace", "path": "", "value": 2}]));
    all.take().await;
    all.take().await;
    assert_eq!(all.state, items(&server).await);
    assert_eq!(first.state, all.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_is_told_exactly_what_it_has_missed() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    for n in 0..20 {
        put(&server, &format!("i{n}"), n).await;
    }
    let mut subscriber = Subscriber::new(&server, json!("all-items")).await;
    put(&server, "i3", 33).await;
    subscriber.take().await;
    let seen = subscriber.leave().await;
    // Nothing yet.
    let told = resume(&server, json!("all-items"), &seen).await;
    assert_eq!((&told["resumed"], &told["patch"]), (&json!(true), &json!([])));

    let count = Subscriber::new(&server, json!("item-count")).await.leave().await;
    put(&server, "i4", 44).await;
    put(&server, "i4", 45).await;
    server.store().delete("items", json!("i5")).await.unwrap();
    put(&server, "new", 1).await;
    server.store().delete("items", json!("new")).await.unwrap();
    put(&server, "i5", 55).await;
    let told = resume(&server, json!("all-items"), &seen).await;
    assert!(told["patch"].to_string().len() < 700, "{told}");
    resumed(seen, &told, &items(&server).await);
    // Twenty of them there were, and are.
    assert_eq!(count.state, 20);
    let told = resume(&server, json!("item-count"), &count).await;
    assert_eq!(told["patch"], json!([]));
    resumed(count, &told, &json!(20));
    assert_eq!(metric(address(&server), "dunlin_live_not_resumed_total").await, 0);
    assert_eq!(metric(address(&server), "dunlin_live_resumed_total").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_from_more_positions_than_are_remembered_is_told_the_same() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    put(&server, "a", 0).await;
    let seen = Subscriber::new(&server, json!("all-items")).await.leave().await;
    let commits = 20 + dunlin_server::limits::KNOWN_GAPS as u64;
    for n in 1..=commits {
        put(&server, "a", n).await;
    }
    let mut client = Client::connect(address(&server)).await;
    let truth = items(&server).await;
    for position in seen.position..seen.position + commits {
        let resume = json!({"epoch": seen.epoch, "position": position});
        let wish =
            json!({"type": "store.subscribe", "query": "all-items", "mode": "patch", "resume": resume});
        let told = client.data(wish).await;
        assert_eq!(told["resumed"], true, "{told}");
        if position == seen.position {
            let mut state = seen.state.clone();
            patch::apply(&mut state, &told["patch"]);
            assert_eq!(state, truth);
        }
        let id = &told["subscriptionId"];
        client.data(json!({"type": "store.unsubscribe", "subscriptionId": id})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_what_was_missed_is_not_known_the_whole_result_is_told() {
    let server = memory_with(|config| config.live.history_commits = 3).bind().await.unwrap();
    define_items(&server).await;
    put(&server, "a", 0).await;
    let seen = Subscriber::new(&server, json!("all-items")).await.leave().await;
    let lost = async |query: Value, seen: &Seen| {
        let told = resume(&server, query, seen).await;
        assert_eq!((&told["resumed"], told.get("patch")), (&json!(false), None), "{told}");
        assert_eq!(told["data"], items(&server).await);
    };
    let strange = Seen { epoch: json!("another history"), position: seen.position, state: Value::Null };
    lost(json!("all-items"), &strange).await;
    let future = Seen { epoch: seen.epoch.clone(), position: seen.position + 1, state: Value::Null };
    lost(json!("all-items"), &future).await;
    for n in 1..=3 {
        put(&server, "a", n).await;
    }
    resumed(
        Seen { epoch: seen.epoch.clone(), position: seen.position, state: seen.state.clone() },
        &resume(&server, json!("all-items"), &seen).await,
        &items(&server).await,
    );
    put(&server, "a", 4).await;
    lost(json!("all-items"), &seen).await;

    // A query of the same name that is another one, and a bucket that was emptied at one blow.
    let seen = Subscriber::new(&server, json!("all-items")).await.leave().await;
    server.store().execute(Intent::UndefineQuery { name: "all-items".into() }).await.unwrap();
    server.store().define_query("all-items", json!({"bucket": "items", "filter": {}})).await.unwrap();
    lost(json!("all-items"), &seen).await;
    let seen = Subscriber::new(&server, json!("all-items")).await.leave().await;
    server.store().execute(Intent::Clear { bucket: "items".into() }).await.unwrap();
    lost(json!("all-items"), &seen).await;
}

fn durable(dir: &tempfile::TempDir) -> ServerBuilder {
    Server::builder().data_dir(dir.path()).port(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_restart_what_the_log_holds_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let server = durable(&dir).bind().await.unwrap();
    define_items(&server).await;
    put(&server, "a", 1).await;
    let old = Subscriber::new(&server, json!("all-items")).await.leave().await;
    put(&server, "a", 2).await;
    let newest = Subscriber::new(&server, json!("all-items")).await.leave().await;
    server.stop(Duration::ZERO).await.unwrap();
    drop(server);

    let server = durable(&dir).bind().await.unwrap();
    let told = resume(&server, json!("all-items"), &newest).await;
    assert_eq!((&told["resumed"], &told["patch"], &told["epoch"]), (&json!(true), &json!([]), &newest.epoch));
    let told = resume(&server, json!("all-items"), &old).await;
    assert_eq!(&told["resumed"], &json!(true), "the past comes back with the log");
    resumed(old, &told, &items(&server).await);
    // What happens from now on is known again.
    put(&server, "a", 3).await;
    resumed(
        newest,
        &resume(
            &server,
            json!("all-items"),
            &Seen {
                epoch: told["epoch"].clone(),
                position: told["position"].as_u64().unwrap(),
                state: Value::Null,
            },
        )
        .await,
        &items(&server).await,
    );
    server.stop(Duration::ZERO).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_worked_out_once_and_written_once_for_all_who_watch() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut subscribers = Vec::new();
    for mode in ["full", "patch"].iter().cycle().take(20) {
        let mut client = Client::connect(address(&server)).await;
        client.data(json!({"type": "store.subscribe", "query": "all-items", "mode": mode})).await;
        // Of these no change is of any concern, and nothing is done for them.
        let other = json!({"type": "store.subscribe", "query": "items-by-tag", "params": {"tag": format!("other {mode}")}});
        client.data(other).await;
        subscribers.push(client);
    }
    let counted = async || {
        let count = async |name| metric(address(&server), name).await;
        (count("dunlin_live_views_evaluated_total").await, count("dunlin_live_payloads_encoded_total").await)
    };
    assert_eq!(metric(address(&server), "dunlin_live_views").await, 3);
    let (evaluated, encoded) = counted().await;
    for n in 0..10 {
        put(&server, "a", n).await;
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.message().await["type"], "push");
        }
    }
    assert_eq!(counted().await, (evaluated + 10, encoded + 20), "one result and one patch for each change");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_no_index_can_tell_are_counted_and_capped() {
    let server = memory_with(|config| config.live.max_unindexed_tests = 2).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let watch = |n: u64| json!({"type": "store.subscribe", "query": {"bucket": "items", "filter": {"n": {"$neq": n}}}});
    let first = client.data(watch(1)).await["subscriptionId"].clone();
    client.data(watch(2)).await;
    client.data(watch(2)).await;
    let refused = client.call(watch(3)).await;
    assert_eq!(refused["code"], "RATE_LIMITED", "{refused}");
    assert_eq!(metric(address(&server), "dunlin_live_views_unindexed").await, 2);
    // One that an index can tell is not meant, and who leaves makes room.
    client
        .data(json!({"type": "store.subscribe", "query": {"bucket": "items", "filter": {"n": {"$gt": 3}}}}))
        .await;
    client.data(json!({"type": "store.unsubscribe", "subscriptionId": first})).await;
    eventually("its place is free", async || {
        metric(address(&server), "dunlin_live_views_unindexed").await == 1
    })
    .await;
    client.data(watch(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_live_queries_hold_is_counted_and_bounded() {
    let server = memory_with(|config| config.live.max_bytes = 60_000).bind().await.unwrap();
    define_items(&server).await;
    for n in 0..20 {
        put(&server, &format!("i{n}"), n).await;
    }
    let held = async || metric(address(&server), "dunlin_live_views_bytes").await;
    let mut client = Client::connect(address(&server)).await;
    let watch = |n: u64| json!({"type": "store.subscribe", "query": {"bucket": "items", "filter": {"n": {"$gte": n}}}});
    let first = client.data(watch(0)).await;
    let (id, text) = (first["subscriptionId"].clone(), first["data"].to_string());
    eventually("it is counted", async || held().await == (20 * 24 + text.len()) as u64).await;
    let mut others = Vec::new();
    let refused = loop {
        let answer = client.call(watch(others.len() as u64 + 1)).await;
        if answer["type"] == "error" {
            break answer;
        }
        others.push(answer["data"]["subscriptionId"].clone());
    };
    assert_eq!(refused["code"], "RATE_LIMITED", "{refused}");
    assert!(others.len() > 4, "{} were opened", others.len());
    // Those that there are go on, and those that go make room.
    put(&server, "i0", 100).await;
    client.push(&id).await;
    for id in &others {
        client.data(json!({"type": "store.unsubscribe", "subscriptionId": id})).await;
    }
    eventually("there is room", async || held().await < 20_000).await;
    client.data(watch(19)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_query_can_be_explained() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let mut other = Client::connect(address(&server)).await;
    let by_tag = json!({"type": "store.subscribe", "query": "items-by-tag", "params": {"tag": "red"}});
    let id = client.data(by_tag.clone()).await["subscriptionId"].clone();
    other.data(by_tag).await;
    for tag in ["red", "blue"] {
        client.data(json!({"type": "store.insert", "bucket": "items", "data": {"tag": tag}})).await;
    }
    client.push(&id).await;
    let explained = client.data(json!({"type": "store.explain", "subscriptionId": id})).await;
    let expected = json!({
        "query": "items-by-tag", "bucket": "items", "matching": [{"equal": ["tag"]}], "maintenance": "rows",
        "held": 1, "evaluations": 2, "encodings": 2, "position": explained["position"], "subscribers": 2, "pushes": 1,
    });
    assert_eq!(explained, expected);
    let query = json!({"type": "store.explain", "query": "items-by-tag", "params": {"tag": "red"}});
    assert_eq!(client.data(query).await["live"]["subscribers"], 2);
    let query = json!({"type": "store.explain", "query": "items-by-tag", "params": {"tag": "green"}});
    assert_eq!(client.data(query).await.get("live"), None);
}
