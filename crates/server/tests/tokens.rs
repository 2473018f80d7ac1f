//! Logins by the table in the configuration, and servers that work without a login.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, eventually, memory, subscribe};
use dunlin_server::{Authentication, Config, Login, Server, ServerBuilder, Session};
use serde_json::{Value, json};

fn configured(auth: &Value) -> ServerBuilder {
    let text = json!({"auth": auth, "storage": {"kind": "memory"}, "port": 0}).to_string();
    Server::builder().config(Config::parse("test.json", &text).unwrap().config)
}

fn tokens() -> Value {
    json!({
        "t-admin": {"userId": "ada", "roles": ["admin"], "metadata": {"secret": 1}},
        "t-reader": {"userId": "rex", "roles": ["reader"]},
        "t-nobody": {"userId": "bob"},
        "t-gone": {"userId": "gus", "roles": ["admin"], "expiresInMs": -1000},
        "t-old": {"userId": "oz", "roles": ["admin"], "expiresAt": 1000},
        "t-soon": {"userId": "sue", "roles": ["admin"], "expiresInMs": 300},
    })
}

async fn login(client: &mut Client, token: &str) -> Value {
    client.call(json!({"type": "auth.login", "token": token})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_table_becomes_its_session() {
    let server = configured(&json!({"tokens": tokens()})).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect_raw(address(&server)).await;
    assert_eq!(client.message().await["requiresAuth"], true);
    let count = json!({"type": "store.count", "bucket": "items"});
    let clear = json!({"type": "store.clear", "bucket": "items"});
    assert_eq!(client.code(count.clone()).await, "UNAUTHORIZED");
    for token in ["t-Admin", "t-admin ", "ada", "__setup__"] {
        let answer = login(&mut client, token).await;
        assert_eq!((&answer["code"], &answer["message"]), (&json!("UNAUTHORIZED"), &json!("Invalid token")));
    }
    for token in ["t-gone", "t-old"] {
        assert_eq!(login(&mut client, token).await["message"], "Token has expired");
    }
    let accepted = json!({"userId": "ada", "roles": ["admin"], "expiresAt": null});
    assert_eq!(login(&mut client, "t-admin").await["data"], accepted);
    client.data(clear.clone()).await;
    login(&mut client, "t-reader").await;
    assert_eq!(client.data(count.clone()).await, 0);
    assert_eq!(client.code(clear).await, "FORBIDDEN");
    login(&mut client, "t-nobody").await;
    assert_eq!(client.data(count).await, 0);
    assert_eq!(client.code(json!({"type": "store.dropBucket", "name": "items"})).await, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_its_time_after_each_login() {
    let server = configured(&json!({"tokens": tokens()})).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let request = json!({"type": "store.buckets"});
    let mut ends = Vec::new();
    for _ in 0..2 {
        let accepted = login(&mut client, "t-soon").await;
        ends.push(accepted["data"]["expiresAt"].as_u64().unwrap());
        let mut answer = Value::Null;
        eventually("the session ends", async || {
            answer = client.call(request.clone()).await;
            answer["type"] == "error"
        })
        .await;
        assert_eq!(answer["message"], "Session expired");
    }
    assert!(ends[1] >= ends[0] + 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn w15_without_a_login_data_may_be_read_and_written_but_nothing_administered() {
    let server = configured(&json!({"tokens": tokens(), "required": false})).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect_raw(address(&server)).await;
    assert_eq!(client.message().await["requiresAuth"], false);
    assert_eq!(client.data(json!({"type": "auth.whoami"})).await, json!({"authenticated": false}));
    let insert = json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}});
    client.data(insert.clone()).await;
    let transaction =
        json!({"type": "store.transaction", "operations": [{"op": "count", "bucket": "items"}]});
    assert_eq!(client.data(transaction).await["results"][0]["data"], 1);
    let administration =
        ["store.dropBucket", "store.defineBucket", "store.listQueries", "server.stats", "server.connections"];
    for operation in administration {
        let answer = client.call(json!({"type": operation, "name": "items", "config": {}})).await;
        let message = format!("Role level insufficient for {operation} (requires admin)");
        assert_eq!((&answer["code"], &answer["message"]), (&json!("FORBIDDEN"), &json!(message)));
    }
    let watched = subscribe(&mut client, "all-items").await;
    // A login changes who asks: its rights hold instead, and what was asked for before ends.
    login(&mut client, "t-reader").await;
    let ended = client.system().await;
    assert_eq!((&ended["event"], &ended["subscriptionId"]), (&json!("subscription_ended"), &watched));
    assert_eq!(client.code(insert.clone()).await, "FORBIDDEN");
    client.data(json!({"type": "auth.logout"})).await;
    client.data(insert.clone()).await;
    login(&mut client, "t-admin").await;
    client.data(json!({"type": "store.dropBucket", "name": "items"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anonymous_role_can_be_narrowed() {
    let auth = json!({"tokens": tokens(), "required": false, "anonymous": "reader"});
    let server = configured(&auth).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    assert_eq!(client.data(json!({"type": "store.count", "bucket": "items"})).await, 0);
    assert_eq!(client.code(json!({"type": "store.clear", "bucket": "items"})).await, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_is_said_in_one_place() {
    async fn nobody(_: Login) -> Authentication {
        Ok(Some(Session::new("u")))
    }
    let twice = configured(&json!({"tokens": tokens()})).authenticator(nobody).bind().await;
    let error = twice.err().expect("two authenticators");
    assert!(error.to_string().contains("auth.tokens") && !error.to_string().contains("t-admin"), "{error}");
    assert_eq!(error.code(), "AUTHENTICATOR");
    for auth in [json!({"required": true}), json!({"required": false}), json!({"anonymous": "reader"})] {
        let error = configured(&auth).bind().await.err().expect("nobody can log in");
        assert_eq!(error.code(), "AUTHENTICATOR", "{auth}: {error}");
    }
    // With an authenticator in code, the rest of `auth` means the same.
    let server = configured(&json!({"required": false})).authenticator(nobody).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "store.buckets"})).await;
    let plain = memory().bind().await.unwrap();
    let mut client = Client::connect(address(&plain)).await;
    assert_eq!(client.code(json!({"type": "auth.whoami"})).await, "UNKNOWN_OPERATION");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_alone_is_worth_what_is_said_and_nothing_where_roles_have_a_meaning() {
    let on = |operation: &str| json!({"type": operation, "bucket": "items"});
    let table = [
        (json!({"loggedIn": "reader"}), [true, false]),
        (json!({"loggedIn": "nobody"}), [false, false]),
        (json!({"permissions": {}}), [false, false]),
        (json!({"roles": {"lead": ["admin"]}}), [false, false]),
        (json!({"roles": {"lead": ["admin"]}, "loggedIn": "lead"}), [true, true]),
    ];
    for (auth, allowed) in table {
        let mut with_tokens = auth.clone();
        with_tokens["tokens"] = tokens();
        let server = configured(&with_tokens).bind().await.unwrap();
        define_items(&server).await;
        let mut client = Client::connect(address(&server)).await;
        login(&mut client, "t-nobody").await;
        for (operation, allowed) in ["store.count", "store.clear"].into_iter().zip(allowed) {
            assert_eq!(client.call(on(operation)).await["type"] == "result", allowed, "{auth} {operation}");
        }
        login(&mut client, "t-reader").await;
        assert_eq!(client.code(on("store.clear")).await, "FORBIDDEN", "{auth}");
    }
}
