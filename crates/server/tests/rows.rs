//! Row and field rules over the wire: what a session does not see does not exist, also when its rights change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, eventually, metric};
use dunlin_server::{Config, Policy, Server};
use serde_json::{Value, json};

fn policy() -> Value {
    json!({
        "rows": [
            {"role": "customer", "bucket": "orders", "read": {"ownerId": "{{ session.userId }}"}, "write": {"open": true}, "hide": ["cost"]},
            {"role": "team", "bucket": "orders", "read": {"team": "{{ session.metadata.team }}"}},
        ],
    })
}

/// Orders of Ada and Bob, each of whom is a customer, two members of a team, and an admin.
async fn shop() -> Server {
    let session = |user: &str, roles: Value, metadata: Value| json!({"userId": user, "roles": roles, "metadata": metadata});
    let tokens = json!({
        "ada": session("ada", json!(["writer", "customer"]), Value::Null),
        "bob": session("bob", json!(["writer", "customer"]), Value::Null),
        "red-1": session("r1", json!(["reader", "team"]), json!({"team": "red"})),
        "red-2": session("r2", json!(["reader", "team"]), json!({"team": "red"})),
        "none": session("n", json!(["reader", "team"]), json!({})),
        "admin": session("root", json!(["admin"]), Value::Null),
    });
    let config = json!({"auth": {"tokens": tokens, "permissions": policy()}, "storage": {"kind": "memory"}, "port": 0});
    let config = Config::parse("test.json", &config.to_string()).unwrap().config;
    let server = Server::builder().config(config).bind().await.unwrap();
    let store = server.store();
    let fields = json!({
        "id": {"type": "string"}, "ownerId": {"type": "string"}, "team": {"type": "string"},
        "open": {"type": "boolean", "default": true}, "n": {"type": "number"}, "cost": {"type": "number"},
    });
    store.define_bucket("orders", json!({"key": "id", "schema": fields})).await.unwrap();
    store.define_query("orders", json!({"bucket": "orders"})).await.unwrap();
    store
        .define_query("total", json!({"bucket": "orders", "aggregate": {"function": "sum", "field": "n"}}))
        .await
        .unwrap();
    for (id, owner, team, n) in [("a1", "ada", "red", 1), ("a2", "ada", "blue", 2), ("b1", "bob", "red", 4)] {
        store
            .insert("orders", json!({"id": id, "ownerId": owner, "team": team, "n": n, "cost": 9}))
            .await
            .unwrap();
    }
    server
}

async fn logged_in(server: &Server, token: &str) -> Client {
    let mut client = Client::connect(address(server)).await;
    client.data(json!({"type": "auth.login", "token": token})).await;
    client
}

fn ids(records: &Value) -> Vec<&str> {
    records.as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap()).collect()
}

fn on(operation: &str, more: &Value) -> Value {
    let mut request = json!({"type": operation, "bucket": "orders"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

async fn watch(client: &mut Client, query: &str) -> (Value, Value) {
    let answer = client.data(json!({"type": "store.subscribe", "query": query})).await;
    (answer["subscriptionId"].clone(), answer["data"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_seen_does_not_exist() {
    let server = shop().await;
    let mut ada = logged_in(&server, "ada").await;
    let all = ada.data(on("store.all", &json!({}))).await;
    assert_eq!(ids(&all), ["a1", "a2"]);
    assert!(!all.to_string().contains("cost"), "{all}");
    assert_eq!(ada.data(on("store.get", &json!({"key": "b1"}))).await, Value::Null);
    assert_eq!(ada.data(on("store.count", &json!({}))).await, 2);
    assert_eq!(ada.data(on("store.sum", &json!({"field": "n"}))).await, 3);
    assert_eq!(ada.data(on("store.delete", &json!({"key": "b1"}))).await, json!({"deleted": true}));
    assert_eq!(ada.code(on("store.update", &json!({"key": "b1", "data": {"n": 0}}))).await, "NOT_FOUND");
    let updated = ada.data(on("store.update", &json!({"key": "a1", "data": {"n": 5}}))).await;
    assert_eq!((&updated["n"], updated.get("cost")), (&json!(5), None));
    for refused in [
        on("store.insert", &json!({"data": {"id": "x", "ownerId": "bob"}})),
        on("store.insert", &json!({"data": {"id": "x", "ownerId": "ada", "cost": 0}})),
        on("store.update", &json!({"key": "a1", "data": {"ownerId": "bob"}})),
        on("store.where", &json!({"filter": {"cost": {"$gt": 1}}})),
        on("store.sum", &json!({"field": "cost"})),
        on("store.explain", &json!({})),
        on("store.clear", &json!({})),
    ] {
        assert_eq!(ada.code(refused.clone()).await, "FORBIDDEN", "{refused}");
    }
    assert_eq!(
        ada.data(json!({"type": "store.stats"})).await["records"],
        json!({"total": 0, "perBucket": {}})
    );
    let mut admin = logged_in(&server, "admin").await;
    let all = admin.data(on("store.all", &json!({}))).await;
    assert_eq!((ids(&all), &all[2]["n"], &all[2]["cost"]), (vec!["a1", "a2", "b1"], &json!(4), &json!(9)));
    // Somebody without the value that the rule asks for sees nothing.
    let mut none = logged_in(&server, "none").await;
    assert_eq!(none.data(on("store.all", &json!({}))).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_query_shows_what_its_watcher_sees_and_is_shared_by_all_who_see_the_same() {
    let server = shop().await;
    let mut ada = logged_in(&server, "ada").await;
    let mut one = logged_in(&server, "red-1").await;
    let mut two = logged_in(&server, "red-2").await;
    let (hers, data) = watch(&mut ada, "orders").await;
    assert_eq!(ids(&data), ["a1", "a2"]);
    let (first, data) = watch(&mut one, "orders").await;
    assert_eq!(ids(&data), ["a1", "b1"]);
    let (second, _) = watch(&mut two, "orders").await;
    assert_eq!(metric(address(&server), "dunlin_live_views").await, 2);
    server.store().insert("orders", json!({"id": "b2", "ownerId": "bob", "team": "red"})).await.unwrap();
    for (client, id) in [(&mut one, &first), (&mut two, &second)] {
        assert_eq!(ids(&client.push(id).await), ["a1", "b1", "b2"]);
    }
    server.store().update("orders", json!("b2"), json!({"ownerId": "ada"})).await.unwrap();
    let pushed = ada.push(&hers).await;
    assert_eq!(ids(&pushed), ["a1", "a2", "b2"]);
    assert!(!pushed.to_string().contains("cost"));
    ada.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_policy_takes_records_away_and_brings_others() {
    let server = shop().await;
    let mut ada = logged_in(&server, "ada").await;
    let mut admin = logged_in(&server, "admin").await;
    let (orders, _) = watch(&mut ada, "orders").await;
    let (total, sum) = watch(&mut ada, "total").await;
    let (all, _) = watch(&mut admin, "orders").await;
    assert_eq!(sum, 3);
    let narrower = json!({"rows": [{"role": "customer", "bucket": "orders", "read": {"ownerId": "{{ session.userId }}", "team": "red"}}]});
    server.set_policy(Policy::parse(&narrower).unwrap());
    let pushed = ada.push(&orders).await;
    assert_eq!((ids(&pushed), &pushed[0]["cost"]), (vec!["a1"], &json!(9)));
    assert_eq!(ada.push(&total).await, 1);
    server.set_policy(Policy::parse(&json!({})).unwrap());
    assert_eq!(ids(&ada.push(&orders).await), ["a1", "a2", "b1"]);
    assert_eq!(ada.push(&total).await, 7);
    admin.silent().await;
    server.store().delete("orders", json!("b1")).await.unwrap();
    assert_eq!(ids(&admin.push(&all).await), ["a1", "a2"]);
    eventually("one view each", async || metric(address(&server), "dunlin_live_views").await == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_counts_positions_begins_anew_under_other_rights() {
    let server = shop().await;
    let mut ada = logged_in(&server, "ada").await;
    let subscribe = json!({"type": "store.subscribe", "query": "orders", "mode": "patch"});
    let begun = ada.data(subscribe.clone()).await;
    let told = json!({"epoch": begun["epoch"], "position": begun["position"]});
    let resume = |resume: &Value| {
        let mut request = subscribe.clone();
        request["resume"] = resume.clone();
        request
    };
    server.store().insert("orders", json!({"id": "b9", "ownerId": "bob"})).await.unwrap();
    server.store().insert("orders", json!({"id": "a9", "ownerId": "ada"})).await.unwrap();
    let resumed = ada.data(resume(&told)).await;
    assert_eq!(resumed["resumed"], true);
    assert!(resumed["patch"].to_string().contains("a9") && !resumed["patch"].to_string().contains("b9"));

    server.set_policy(Policy::parse(&json!({})).unwrap());
    for _ in 0..2 {
        let ended = ada.system().await;
        assert_eq!((&ended["event"], &ended["code"]), (&json!("subscription_ended"), &json!("FORBIDDEN")));
    }
    let again = ada.data(resume(&told)).await;
    assert_eq!((&again["resumed"], again["data"].as_array().unwrap().len()), (&json!(false), 5));
    // Neither does the history of everything say what somebody has seen of it under rules.
    server.set_policy(Policy::parse(&policy()).unwrap());
    ada.system().await;
    let whole = json!({"epoch": again["epoch"], "position": again["position"]});
    assert_eq!(ada.data(resume(&whole)).await["resumed"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_logged_in_has_no_user_id_that_a_rule_could_ask_for() {
    let rows = json!([{"role": "guest", "bucket": "orders", "read": {"ownerId": "{{ session.userId }}"}}]);
    let rules = json!([{"role": "guest", "allow": "store.*"}]);
    let auth = json!({
        "tokens": {"t": {"userId": "anonymous", "roles": ["guest"]}},
        "required": false, "anonymous": "guest",
        "permissions": {"rules": rules, "rows": rows},
    });
    let config = json!({"auth": auth, "storage": {"kind": "memory"}, "port": 0});
    let config = Config::parse("test.json", &config.to_string()).unwrap().config;
    let server = Server::builder().config(config).bind().await.unwrap();
    let fields = json!({"id": {"type": "string"}, "ownerId": {"type": "string"}});
    server.store().define_bucket("orders", json!({"key": "id", "schema": fields})).await.unwrap();
    server.store().insert("orders", json!({"id": "a", "ownerId": "anonymous"})).await.unwrap();
    let mut nobody = Client::connect(address(&server)).await;
    assert_eq!(nobody.data(on("store.all", &json!({}))).await, json!([]));
    let mut called_so = logged_in(&server, "t").await;
    assert_eq!(ids(&called_so.data(on("store.all", &json!({}))).await), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_writing_alone_is_none_for_who_reads() {
    let server = shop().await;
    let write_only = json!({"rows": [{"role": "customer", "bucket": "orders", "write": {"open": true}}]});
    server.set_policy(Policy::parse(&write_only).unwrap());
    let mut ada = logged_in(&server, "ada").await;
    let mut admin = logged_in(&server, "admin").await;
    let subscribe = json!({"type": "store.subscribe", "query": "orders", "mode": "patch"});
    let hers = ada.data(subscribe.clone()).await;
    admin.data(subscribe).await;
    assert_eq!(metric(address(&server), "dunlin_live_views").await, 1);
    let stats = ada.data(json!({"type": "store.stats"})).await;
    assert_eq!(stats["records"], json!({"total": 3, "perBucket": {"orders": 3}}), "she sees it whole");
    server.set_policy(Policy::parse(&json!({})).unwrap());
    server.store().delete("orders", json!("b1")).await.unwrap();
    let pushed = ada.message().await;
    assert_eq!(
        (&pushed["type"], &pushed["subscriptionId"]),
        (&json!("push"), &hers["subscriptionId"]),
        "{pushed}"
    );
}
