//! What sessions may do: rules of the configuration, callbacks, and rights that change while somebody is at work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Client, address, eventually};
use dunlin_server::{
    Access, Authentication, Config, Login, OwnedAccess, PermissionFault, Policy, Server, ServerBuilder,
    Session, Verdict,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};

/// A server whose tokens are `user:role,role`.
fn with(auth: &Value) -> ServerBuilder {
    let roles = ["admin", "writer", "reader", "user", "guest", "keeper", "mine", "mine,writer", "mine,admin"];
    let tokens: serde_json::Map<String, Value> = roles
        .iter()
        .map(|roles| {
            let session = json!({"userId": "u1", "roles": roles.split(',').collect::<Vec<_>>()});
            ((*roles).to_owned(), session)
        })
        .collect();
    let mut auth = auth.clone();
    auth["tokens"] = tokens.into();
    let text = json!({"auth": auth, "storage": {"kind": "memory"}, "port": 0}).to_string();
    Server::builder().config(Config::parse("test.json", &text).unwrap().config)
}

/// Buckets `mine` and `other` with a record each, and a query on each.
async fn started(builder: ServerBuilder) -> Server {
    let server = builder.bind().await.unwrap();
    let store = server.store();
    for name in ["mine", "other"] {
        let fields = json!({"id": {"type": "string"}, "n": {"type": "number"}});
        store.define_bucket(name, json!({"key": "id", "schema": fields})).await.unwrap();
        store.define_query(&format!("all-{name}"), json!({"bucket": name})).await.unwrap();
        store.insert(name, json!({"id": "a", "n": 1})).await.unwrap();
    }
    server
}

fn stored(server: &Server, bucket: &str, key: &str) -> Option<Value> {
    let snapshot = server.store().snapshot();
    snapshot.bucket(bucket).unwrap().get(&json!(key)).map(dunlin_store::Record::to_value)
}

async fn logged_in(server: &Server, token: &str) -> Client {
    let mut client = Client::connect(address(server)).await;
    client.data(json!({"type": "auth.login", "token": token})).await;
    client
}

/// May do everything, but only with the bucket `mine`.
fn only_mine() -> Value {
    json!({"permissions": {"default": "deny", "rules": [
        {"role": "admin", "allow": "*"},
        {"role": "mine", "allow": "*", "buckets": ["mine"]},
    ]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn w1_stray_fields_open_nothing() {
    let server = started(with(&only_mine())).await;
    let mut client = logged_in(&server, "mine").await;
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    let attempts = [
        json!({"type": "store.transaction", "bucket": "mine", "operations": [{"op": "get", "bucket": "other", "key": "a"}]}),
        json!({"type": "store.transaction", "bucket": "mine", "operations": [
            {"op": "insert", "bucket": "mine", "data": {"id": "x"}},
            {"op": "delete", "bucket": "other", "key": "a"},
        ]}),
        json!({"type": "store.dropBucket", "bucket": "mine", "name": "other"}),
        json!({"type": "store.updateBucket", "bucket": "mine", "name": "other", "updates": {}}),
        json!({"type": "store.defineBucket", "bucket": "mine", "name": "third", "config": config}),
        // Whoever writes a field that refers to a bucket learns which keys there are.
        json!({"type": "store.updateBucket", "name": "mine", "updates": {"addFields": {"to": {"type": "string", "ref": "other"}}}}),
        json!({"type": "store.updateBucket", "name": "mine", "updates": {"changeFields": {"n": {"type": "string", "ref": "other"}}}}),
        json!({"type": "store.defineQuery", "bucket": "mine", "name": "q", "config": {"bucket": "other"}}),
        json!({"type": "store.getBucketSchema", "bucket": "mine", "name": "other"}),
        json!({"type": "store.undefineQuery", "bucket": "mine", "name": "all-other"}),
        json!({"type": "store.subscribe", "bucket": "mine", "query": "all-other"}),
        json!({"type": "store.subscribe", "bucket": "mine", "query": {"bucket": "other"}}),
        json!({"type": "store.explain", "query": "all-other"}),
        json!({"type": "store.subscribe", "query": "nowhere"}),
        json!({"type": "server.stats", "bucket": "mine"}),
        json!({"type": "server.connections", "bucket": "mine"}),
        json!({"type": "store.listQueries", "bucket": "mine"}),
    ];
    for attempt in attempts {
        assert_eq!(client.code(attempt.clone()).await, "FORBIDDEN", "{attempt}");
    }
    for allowed in [
        json!({"type": "store.transaction", "operations": [{"op": "get", "bucket": "mine", "key": "a"}]}),
        json!({"type": "store.subscribe", "query": "all-mine"}),
        json!({"type": "store.defineQuery", "name": "q", "config": {"bucket": "mine"}}),
        json!({"type": "store.undefineQuery", "name": "q"}),
    ] {
        client.data(allowed).await;
    }
    assert_eq!(stored(&server, "other", "a").unwrap()["n"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn w2_a_query_is_as_closed_as_what_it_reads() {
    let rules = json!({"permissions": {"default": "deny", "rules": [
        {"role": "admin", "allow": "*"},
        {"role": "mine", "allow": ["store.defineQuery", "store.subscribe"], "buckets": ["mine"]},
    ]}});
    let server = started(with(&rules)).await;
    let mut admin = logged_in(&server, "admin").await;
    let field = json!({"addFields": {"to": {"type": "string", "ref": "other"}}});
    admin.data(json!({"type": "store.updateBucket", "name": "mine", "updates": field})).await;
    let mut client = logged_in(&server, "mine").await;
    // What it would show lies in a bucket behind a reference.
    let joined = json!({"bucket": "mine", "include": {"their": {"ref": "to"}}});
    for request in [
        json!({"type": "store.subscribe", "query": joined}),
        json!({"type": "store.defineQuery", "name": "joined", "config": joined}),
    ] {
        assert_eq!(client.code(request.clone()).await, "FORBIDDEN", "{request}");
    }
    client.data(json!({"type": "store.subscribe", "query": {"bucket": "mine"}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_no_way_around_what_may_not_be_done_alone() {
    let rules = json!({"permissions": {"default": "deny", "rules": [
        {"role": "mine", "allow": ["store.transaction", "store.insert", "store.get"], "buckets": ["mine"]},
    ]}});
    let server = started(with(&rules)).await;
    let mut client = logged_in(&server, "mine").await;
    let transaction = |operation: Value| json!({"type": "store.transaction", "operations": [operation]});
    client.data(transaction(json!({"op": "insert", "bucket": "mine", "data": {"id": "b"}}))).await;
    for operation in [
        json!({"op": "delete", "bucket": "mine", "key": "a"}),
        json!({"op": "update", "bucket": "mine", "key": "a", "data": {"n": 2}}),
        json!({"op": "where", "bucket": "mine", "filter": {}}),
    ] {
        assert_eq!(client.code(transaction(operation.clone())).await, "FORBIDDEN", "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w14_names_and_numbers_are_shown_of_visible_buckets_only() {
    let server = started(with(&only_mine())).await;
    let mut client = logged_in(&server, "mine").await;
    assert_eq!(client.data(json!({"type": "store.buckets"})).await, json!({"count": 1, "names": ["mine"]}));
    let stats = client.data(json!({"type": "store.stats"})).await;
    assert_eq!(stats["buckets"], json!({"count": 1, "names": ["mine"]}));
    assert_eq!(stats["records"], json!({"total": 1, "perBucket": {"mine": 1}}));
    assert_eq!(stats["queries"]["defined"], 1);
    assert!(!stats.to_string().contains("other"));
    let mut admin = logged_in(&server, "admin").await;
    assert_eq!(admin.data(json!({"type": "store.stats"})).await["records"]["total"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn w15_nobody_gets_anything_that_was_not_given() {
    let guest = json!({"required": false, "anonymous": "guest", "permissions": {"rules": [
        {"role": "guest", "allow": "store.get", "buckets": ["mine"]},
    ]}});
    let server = started(with(&guest)).await;
    let mut nobody = Client::connect(address(&server)).await;
    assert_eq!(nobody.data(json!({"type": "store.get", "bucket": "mine", "key": "a"})).await["n"], 1);
    for request in [
        json!({"type": "store.get", "bucket": "other", "key": "a"}),
        json!({"type": "store.all", "bucket": "mine"}),
        json!({"type": "store.dropBucket", "name": "mine"}),
    ] {
        assert_eq!(nobody.code(request.clone()).await, "FORBIDDEN", "{request}");
    }
    // A role without a meaning, by a policy whose default allows.
    let mut user = logged_in(&server, "user").await;
    for request in [
        json!({"type": "store.get", "bucket": "mine", "key": "a"}),
        json!({"type": "store.buckets"}),
        json!({"type": "store.dropBucket", "name": "mine"}),
    ] {
        assert_eq!(user.code(request.clone()).await, "FORBIDDEN", "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w16_an_async_callback_is_waited_for_and_its_failures_deny() {
    let asked = |access: OwnedAccess| async move {
        tokio::task::yield_now().await;
        match &*access.as_access().session.user_id {
            _ if access.as_access().touches_bucket("other") => Ok(Verdict::Deny),
            _ if access.operation == "store.clear" => Err(PermissionFault::from("the directory is down")),
            _ if access.operation == "store.count" => Ok(Verdict::Abstain),
            _ => Ok(Verdict::Allow),
        }
    };
    let server = started(with(&json!({})).permissions_async(asked)).await;
    let mut client = logged_in(&server, "user").await;
    let on = |operation: &str, bucket: &str| json!({"type": operation, "bucket": bucket});
    client.data(on("store.all", "mine")).await;
    assert_eq!(client.code(on("store.all", "other")).await, "FORBIDDEN");
    assert_eq!(client.code(on("store.clear", "mine")).await, "FORBIDDEN");
    assert_eq!(
        client.code(on("store.count", "mine")).await,
        "FORBIDDEN",
        "nobody gave the role user anything"
    );
    assert_eq!(client.data(json!({"type": "store.buckets"})).await["names"], json!(["mine"]));
    let both =
        json!([{"op": "get", "bucket": "mine", "key": "a"}, {"op": "get", "bucket": "other", "key": "a"}]);
    assert_eq!(client.code(json!({"type": "store.transaction", "operations": both})).await, "FORBIDDEN");
    // Answers keep their order behind one that took its time.
    let ids = client
        .send_all([on("store.all", "mine"), json!({"type": "auth.whoami"}), on("store.all", "mine")])
        .await;
    for id in ids {
        assert_eq!(client.message().await["id"], id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_never_answers_denies() {
    let never = |_: OwnedAccess| std::future::pending::<Result<bool, PermissionFault>>();
    let server = with(&json!({})).permissions_async(never).build().await.unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    server.serve_stream(theirs, [127, 0, 0, 1].into());
    let mut client = tokio_tungstenite::WebSocketStream::from_raw_socket(
        ours,
        tokio_tungstenite::tungstenite::protocol::Role::Client,
        None,
    )
    .await;
    for request in
        [json!({"id": 1, "type": "auth.login", "token": "admin"}), json!({"id": 2, "type": "store.buckets"})]
    {
        client.send(request.to_string().into()).await.unwrap();
    }
    let refused = loop {
        let message: Value =
            serde_json::from_str(client.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
        if message["id"] == 2 {
            break message;
        }
    };
    assert_eq!(refused["code"], "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_policy_ends_what_is_no_longer_allowed() {
    let server = started(with(&only_mine())).await;
    let mut client = logged_in(&server, "mine").await;
    let mut admin = logged_in(&server, "admin").await;
    let watch = json!({"type": "store.subscribe", "query": "all-mine"});
    let id = client.data(watch.clone()).await["subscriptionId"].clone();
    let kept = admin.data(watch.clone()).await["subscriptionId"].clone();
    server.set_policy(Policy::parse(&json!({})).unwrap());
    let ended = client.system().await;
    assert_eq!(
        (&ended["event"], &ended["subscriptionId"], &ended["code"]),
        (&json!("subscription_ended"), &id, &json!("FORBIDDEN"))
    );
    server.store().insert("mine", json!({"id": "b"})).await.unwrap();
    assert_eq!(admin.push(&kept).await.as_array().unwrap().len(), 2);
    client.silent().await;
    assert_eq!(client.code(watch).await, "FORBIDDEN");
    eventually("its slot is free", async || {
        server.stats().await.unwrap()["connections"]["totalStoreSubscriptions"] == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_changes_its_mind_is_asked_again_when_it_says_so() {
    let open = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&open);
    let server =
        started(with(&json!({})).permissions(move |_: &Access<'_>| gate.load(Ordering::SeqCst))).await;
    let mut client = logged_in(&server, "user").await;
    let watch = json!({"type": "store.subscribe", "query": "all-mine"});
    let id = client.data(watch.clone()).await["subscriptionId"].clone();
    server.rights_changed();
    client.data(json!({"type": "store.count", "bucket": "mine"})).await;
    client.silent().await;
    open.store(false, Ordering::SeqCst);
    server.rights_changed();
    assert_eq!(client.system().await["subscriptionId"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_only_the_connection_needs_no_right_of_a_callback_either() {
    let callback = |access: &Access<'_>| access.operation == "store.subscribe";
    let server = started(with(&json!({})).permissions(callback)).await;
    let mut client = logged_in(&server, "user").await;
    let watch = json!({"type": "store.subscribe", "query": "all-mine"});
    let id = client.data(watch).await["subscriptionId"].clone();
    client.data(json!({"type": "store.explain", "subscriptionId": id})).await;
    assert_eq!(client.code(json!({"type": "store.explain", "bucket": "mine"})).await, "FORBIDDEN");
    client.data(json!({"type": "store.unsubscribe", "subscriptionId": id})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w10_another_login_of_the_same_user_is_another_set_of_rights() {
    let server = started(with(&only_mine())).await;
    let mut client = logged_in(&server, "admin").await;
    let other =
        client.data(json!({"type": "store.subscribe", "query": "all-other"})).await["subscriptionId"].clone();
    let mine =
        client.data(json!({"type": "store.subscribe", "query": "all-mine"})).await["subscriptionId"].clone();
    client.data(json!({"type": "auth.login", "token": "mine"})).await;
    let ended = client.system().await;
    assert_eq!((&ended["subscriptionId"], &ended["code"]), (&other, &json!("FORBIDDEN")));
    server.store().insert("other", json!({"id": "b"})).await.unwrap();
    server.store().insert("mine", json!({"id": "b"})).await.unwrap();
    assert_eq!(client.push(&mine).await.as_array().unwrap().len(), 2);
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_query_that_ends_in_the_batch_in_which_it_begins_ends_behind_its_result() {
    let server = started(with(&only_mine())).await;
    let mut client = logged_in(&server, "mine").await;
    let watch = json!({"type": "store.subscribe", "query": "all-mine"});
    let whole = json!({"type": "auth.login", "token": "keeper"});
    for ends in [whole, json!({"type": "auth.logout"})] {
        client.data(json!({"type": "auth.login", "token": "mine"})).await;
        let ids = client.send_all([watch.clone(), ends]).await;
        let begun = client.message().await;
        assert_eq!(begun["id"], ids[0], "{begun}");
        let ended = client.message().await;
        assert_eq!(ended["subscriptionId"], begun["data"]["subscriptionId"], "{ended}");
        assert_eq!(client.message().await["id"], ids[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_are_judged_when_their_turn_comes() {
    let server = Arc::new(
        started(with(&only_mine()).query("slow", |ctx, _| {
            std::thread::sleep(Duration::from_millis(300));
            Ok(json!(ctx.bucket("mine")?.count(&dunlin_store::Filter::default())))
        }))
        .await,
    );
    let mut client = logged_in(&server, "mine").await;
    let ids = client
        .send_all([
            json!({"type": "store.subscribe", "query": "slow"}),
            json!({"type": "store.insert", "bucket": "mine", "data": {"id": "late"}}),
        ])
        .await;
    // The first is being worked out when the second loses its right.
    eventually("it is under way", async || {
        server.stats().await.unwrap()["connections"]["totalStoreSubscriptions"] == 1
    })
    .await;
    server.set_policy(
        Policy::parse(&json!({"rules": [{"role": "mine", "allow": "store.subscribe"}]})).unwrap(),
    );
    assert_eq!(client.answer(ids[0]).await["type"], "result");
    assert_eq!(client.answer(ids[1]).await["code"], "FORBIDDEN");
    assert_eq!(stored(&server, "mine", "late"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_decides_where_a_callback_abstains() {
    let callback = |access: &Access<'_>| (access.operation == "store.clear").then_some(true);
    let authenticator =
        |login: Login| async move { Authentication::Ok(Some(Session::new("u1").with_role(login.token))) };
    let policy = json!({"rules": [{"role": "keeper", "allow": "store.count"}]});
    let builder = Server::builder()
        .memory()
        .port(0)
        .authenticator(authenticator)
        .permissions(callback)
        .policy(Policy::parse(&policy).unwrap());
    let server = started(builder).await;
    let mut client = logged_in(&server, "keeper").await;
    let on = |operation: &str| json!({"type": operation, "bucket": "mine"});
    client.data(on("store.count")).await;
    assert_eq!(client.code(on("store.all")).await, "FORBIDDEN");
    client.data(on("store.clear")).await;
    assert_eq!(client.data(on("store.count")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_brings_new_rules() {
    let server = started(with(&only_mine())).await;
    let mut client = logged_in(&server, "mine").await;
    let id =
        client.data(json!({"type": "store.subscribe", "query": "all-mine"})).await["subscriptionId"].clone();
    let text = |permissions: Value| {
        let tokens = json!({"mine": {"userId": "u1", "roles": ["mine"]}});
        let auth = json!({"tokens": tokens, "permissions": permissions, "roles": {"mine": ["guest"]}});
        Config::parse(
            "test.json",
            &json!({"auth": auth, "storage": {"kind": "memory"}, "port": 0}).to_string(),
        )
        .unwrap()
    };
    let new = text(
        json!({"default": "deny", "rules": [{"role": "guest", "allow": "store.count", "buckets": ["other"]}]}),
    );
    let done = server.reconfigure(&new.config).unwrap();
    assert_eq!(
        (done.applied, done.needs_restart),
        (vec!["auth.tokens", "auth.roles", "auth.permissions"], vec![])
    );
    assert_eq!(client.system().await["subscriptionId"], id);
    assert_eq!(client.data(json!({"type": "store.count", "bucket": "other"})).await, 1);
    assert_eq!(client.code(json!({"type": "store.count", "bucket": "mine"})).await, "FORBIDDEN");
}
