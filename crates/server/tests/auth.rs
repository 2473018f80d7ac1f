//! Who may do what: the embedder's callbacks, the built-in tiers, and what a change of identity ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Client, address, define_items, eventually, memory, memory_with, subscribe};
use dunlin_protocol::Resource;
use dunlin_server::{Access, Authentication, Login, Server, ServerBuilder, Session};
use serde_json::{Value, json};

/// An operation and what it touches, as a permission callback sees it.
type Touched = (String, Vec<String>);

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Tokens are `user:role,role`; some words do something else.
async fn table(login: Login) -> Authentication {
    assert!(login.remote_address.is_loopback());
    match login.token.as_str() {
        "panic" => panic!("a buggy callback"),
        "fault" => Err("the password of the database is hunter2")?,
        "late" => std::future::pending().await,
        "gone" => Ok(Some(Session::new("gone").with_role("admin").expiring_at(now() - 1))),
        "soon" => Ok(Some(Session::new("soon").with_role("admin").expiring_at(now() + 300))),
        token => Ok(token.split_once(':').map(|(user, roles)| {
            let session = Session::new(user).with_metadata(json!({"secret": "of the session"}));
            roles.split(',').filter(|role| !role.is_empty()).fold(session, Session::with_role)
        })),
    }
}

fn with_table() -> ServerBuilder {
    memory().authenticator(table)
}

async fn login(client: &mut Client, token: &str) -> Value {
    client.call(json!({"type": "auth.login", "token": token})).await
}

async fn logged_in(server: &Server, token: &str) -> Client {
    let mut client = Client::connect(address(server)).await;
    let answer = login(&mut client, token).await;
    assert_eq!(answer["type"], "result", "{answer}");
    client
}

fn error(code: &str, message: &str) -> impl Fn(&Value) -> bool {
    let (code, message) = (json!(code), json!(message));
    move |answer| answer["type"] == "error" && answer["code"] == code && answer["message"] == message
}

async fn ended(client: &mut Client) -> (Value, Value) {
    let ended = client.system().await;
    assert_eq!(ended["event"], "subscription_ended", "{ended}");
    (ended["subscriptionId"].clone(), ended["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_becomes_a_session_or_is_refused() {
    let server = with_table().bind().await.unwrap();
    let mut client = Client::connect_raw(address(&server)).await;
    assert_eq!(client.message().await["requiresAuth"], true);
    let who = json!({"type": "auth.whoami"});
    let accepted = json!({"userId": "ada", "roles": ["writer", "x"], "expiresAt": null});
    assert_eq!(login(&mut client, "ada:writer,x").await["data"], accepted, "and not the metadata");
    let table = [
        (json!("nonsense"), error("UNAUTHORIZED", "Invalid token")),
        (json!("gone"), error("UNAUTHORIZED", "Token has expired")),
        (
            json!("fault"),
            error("INTERNAL_ERROR", "Authentication failed by a fault of the server; try again"),
        ),
        (json!(""), error("VALIDATION_ERROR", "Missing or invalid \"token\": expected non-empty string")),
        (json!(5), error("VALIDATION_ERROR", "Missing or invalid \"token\": expected non-empty string")),
    ];
    for (token, expected) in table {
        let answer = client.call(json!({"type": "auth.login", "token": token})).await;
        assert!(expected(&answer), "{token}: {answer}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
        // A failed login leaves the old session in place.
        assert_eq!(client.data(who.clone()).await["userId"], "ada");
    }
    let info = server.connections();
    assert_eq!((info[0].user_id.as_deref(), info[0].authenticated), (Some("ada"), true));
    assert_eq!(client.code(json!({"type": "auth.nope"})).await, "UNKNOWN_OPERATION");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_authenticator_costs_the_connection_and_logs_nobody_in() {
    let server = with_table().bind().await.unwrap();
    let mut other = logged_in(&server, "ada:admin").await;
    let mut client = Client::connect(address(&server)).await;
    client.send(json!({"type": "auth.login", "token": "panic"})).await;
    assert_eq!(client.closed().await, (1011, "internal_error".to_owned()));
    eventually("its place is free", async || server.connection_count() == 1).await;
    other.data(json!({"type": "store.buckets"})).await;
    logged_in(&server, "bob:admin").await;
}

/// In one thread, with a clock that jumps to the next thing that is waited for.
#[tokio::test]
async fn a_late_authenticator_is_refused() {
    let server = memory_with(|config| config.heartbeat.interval_ms = 86_400_000)
        .authenticator(table)
        .bind()
        .await
        .unwrap();
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "auth.whoami"})).await;
    tokio::time::pause();
    let answer = login(&mut client, "late").await;
    tokio::time::resume();
    assert!(error("INTERNAL_ERROR", "Authentication took too long; try again")(&answer), "{answer}");
    assert_eq!(client.data(json!({"type": "auth.whoami"})).await, json!({"authenticated": false}));
    assert_eq!(login(&mut client, "ada:admin").await["type"], "result", "and it can try again");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_login_nothing_is_possible() {
    let server = with_table().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let required = error("UNAUTHORIZED", "Authentication required");
    let operations = [
        "store.get",
        "store.insert",
        "store.clear",
        "store.subscribe",
        "store.defineBucket",
        "store.buckets",
        "store.nope",
        "server.stats",
        "server.connections",
        "server.backup",
        "rules.emit",
        "identity.whoami",
        "audit.query",
        "nope",
        "Auth.login",
    ];
    for operation in operations {
        let answer = client.call(json!({"type": operation, "bucket": "items", "name": "items"})).await;
        assert!(required(&answer), "{operation}: {answer}");
    }
    assert!(server.store().snapshot().bucket("items").is_ok());
    assert_eq!(client.data(json!({"type": "auth.whoami"})).await, json!({"authenticated": false}));
    assert_eq!(client.data(json!({"type": "auth.logout"})).await, json!({"loggedOut": true}));
    assert_eq!(client.code(json!({"type": "ping"})).await, "UNKNOWN_OPERATION");
    client.text("{").await;
    assert_eq!(client.message().await["code"], "PARSE_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authenticator_there_is_no_auth() {
    let server = memory().permissions(|_| false).bind().await.unwrap();
    let mut client = Client::connect_raw(address(&server)).await;
    assert_eq!(client.message().await["requiresAuth"], false);
    for operation in ["auth.login", "auth.logout", "auth.whoami"] {
        assert_eq!(client.code(json!({"type": operation, "token": "x"})).await, "UNKNOWN_OPERATION");
    }
    client.data(json!({"type": "store.buckets"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_judged_by_who_is_logged_in_at_their_turn() {
    let server = with_table().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let insert = || json!({"type": "store.insert", "bucket": "items", "data": {}});
    let login = |token: &str| json!({"type": "auth.login", "token": token});
    let ids = client
        .send_all([
            insert(),
            login("ada:writer"),
            insert(),
            insert(),
            login("bob:reader"),
            insert(),
            json!({"type": "auth.logout"}),
            insert(),
        ])
        .await;
    let mut outcomes = Vec::new();
    for id in ids {
        let answer = client.answer(id).await;
        outcomes.push(answer["code"].as_str().unwrap_or("fine").to_owned());
    }
    let expected = ["UNAUTHORIZED", "fine", "fine", "fine", "fine", "FORBIDDEN", "fine", "UNAUTHORIZED"];
    assert_eq!(outcomes, expected);
    assert_eq!(server.store().snapshot().bucket("items").unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn w1_permissions_see_what_an_operation_really_touches() {
    let seen: Arc<Mutex<Vec<Touched>>> = Arc::default();
    let record = Arc::clone(&seen);
    let server = with_table()
        .permissions(move |access: &Access<'_>| {
            assert_eq!(
                (access.session.user_id.as_str(), &access.session.metadata["secret"]),
                ("ada", &json!("of the session"))
            );
            let resources = access.resources.iter().map(|resource| match resource {
                Resource::Bucket(name) => format!("bucket {name}"),
                Resource::Query(name) => format!("query {name}"),
                other => format!("{other:?}"),
            });
            record.lock().unwrap().push((access.operation.to_owned(), resources.collect()));
            false
        })
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let mut client = logged_in(&server, "ada:admin").await;
    let table: Vec<(&str, Value, &[&str])> = vec![
        ("store.get", json!({"key": 1}), &["bucket items"]),
        ("store.insert", json!({"data": {}}), &["bucket items"]),
        ("store.update", json!({"key": 1, "data": {}}), &["bucket items"]),
        ("store.delete", json!({"key": 1}), &["bucket items"]),
        ("store.clear", json!({}), &["bucket items"]),
        ("store.all", json!({}), &["bucket items"]),
        ("store.where", json!({"filter": {}}), &["bucket items"]),
        ("store.findOne", json!({"filter": {}}), &["bucket items"]),
        ("store.count", json!({}), &["bucket items"]),
        ("store.first", json!({"n": 1}), &["bucket items"]),
        ("store.last", json!({"n": 1}), &["bucket items"]),
        ("store.paginate", json!({"limit": 1}), &["bucket items"]),
        ("store.sum", json!({"field": "n"}), &["bucket items"]),
        ("store.avg", json!({"field": "n"}), &["bucket items"]),
        ("store.min", json!({"field": "n"}), &["bucket items"]),
        ("store.max", json!({"field": "n"}), &["bucket items"]),
        ("store.defineBucket", json!({"name": "new", "config": {}}), &["bucket new"]),
        ("store.dropBucket", json!({"name": "items"}), &["bucket items"]),
        ("store.updateBucket", json!({"name": "items", "updates": {}}), &["bucket items"]),
        ("store.getBucketSchema", json!({"name": "items"}), &["bucket items"]),
        (
            "store.defineQuery",
            json!({"name": "q", "config": {"bucket": "secret"}}),
            &["query q", "bucket secret"],
        ),
        ("store.undefineQuery", json!({"name": "all-items"}), &["query all-items", "bucket items"]),
        ("store.subscribe", json!({"query": "all-items"}), &["query all-items", "bucket items"]),
        ("store.subscribe", json!({"query": "nowhere"}), &["query nowhere"]),
        ("store.buckets", json!({}), &["Server"]),
        ("store.stats", json!({}), &["Server"]),
        ("store.listQueries", json!({}), &["Server"]),
        ("server.stats", json!({}), &["Server"]),
        ("server.connections", json!({}), &["Server"]),
        ("server.backup", json!({}), &["Server"]),
    ];
    for (operation, fields, touches) in table {
        let mut request = json!({"type": operation});
        // Decoys in every field that the operation itself does not use.
        for decoy in
            ["bucket", "name", "query", "topic", "subscriptionId", "resource", "operation", "session"]
        {
            request[decoy] = json!("decoy");
        }
        if touches == ["bucket items"] && fields.get("name").is_none() {
            request["bucket"] = json!("items");
        }
        for (field, value) in fields.as_object().unwrap() {
            request[field] = value.clone();
        }
        let answer = client.call(request).await;
        assert_eq!(answer["code"], "FORBIDDEN", "{operation}: {answer}");
        let touches: Vec<String> = touches.iter().map(|touched| (*touched).to_owned()).collect();
        assert_eq!(seen.lock().unwrap().drain(..).collect::<Vec<_>>(), [(operation.to_owned(), touches)]);
    }
    // Never asked about: what concerns only the connection itself.
    assert_eq!(
        client.code(json!({"type": "store.unsubscribe", "subscriptionId": "sub-1"})).await,
        "NOT_FOUND"
    );
    client.data(json!({"type": "auth.whoami"})).await;
    client.data(json!({"type": "auth.logout"})).await;
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_decide_request_by_request() {
    let server = with_table()
        .permissions(|access: &Access<'_>| {
            access.operation == "store.unsubscribe" || access.touches_bucket("items")
        })
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    server.store().define_bucket("secret", config).await.unwrap();
    server.store().define_query("all-secrets", json!({"bucket": "secret"})).await.unwrap();
    // They replace the tiers: a role that means nothing may do what the closure allows.
    let mut client = logged_in(&server, "ada:").await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {}})).await;
    let id = subscribe(&mut client, "all-items").await;
    client.data(json!({"type": "store.unsubscribe", "subscriptionId": id})).await;
    let refused =
        client.call(json!({"type": "store.subscribe", "query": "all-secrets", "bucket": "items"})).await;
    assert!(
        error("FORBIDDEN", "No permission for store.subscribe on all-secrets, secret")(&refused),
        "{refused}"
    );
    let refused = client.call(json!({"type": "store.all", "bucket": "secret"})).await;
    assert!(error("FORBIDDEN", "No permission for store.all on secret")(&refused), "{refused}");
    let refused = client.call(json!({"type": "store.buckets"})).await;
    assert!(error("FORBIDDEN", "No permission for store.buckets on *")(&refused), "{refused}");
    // A mixed group: each write is judged by itself.
    let ids = client
        .send_all(
            [("items", "k"), ("secret", "k"), ("items", "l")]
                .map(|(bucket, id)| json!({"type": "store.insert", "bucket": bucket, "data": {"id": id}})),
        )
        .await;
    let mut codes = Vec::new();
    for id in ids {
        codes.push(client.answer(id).await["code"].clone());
    }
    assert_eq!(codes, [Value::Null, json!("FORBIDDEN"), Value::Null]);
}

#[tokio::test(flavor = "multi_thread")]
async fn w15_roles_reach_their_tier_and_unknown_roles_administer_nothing() {
    let server = with_table().bind().await.unwrap();
    define_items(&server).await;
    let reads = ["store.get", "store.all", "store.count", "store.subscribe", "store.buckets", "store.stats"];
    let writes = ["store.insert", "store.update", "store.delete", "store.clear"];
    let admin = [
        "store.defineBucket",
        "store.dropBucket",
        "store.updateBucket",
        "store.getBucketSchema",
        "store.defineQuery",
        "store.undefineQuery",
        "store.listQueries",
        "server.stats",
        "server.connections",
        "server.backup",
    ];
    let table = [
        ("u:reader", 1),
        ("u:writer", 2),
        ("u:admin", 3),
        ("u:reader,admin", 3),
        ("u:auditor,writer", 2),
        // What these roles are nobody has said: they have logged in, and no more.
        ("u:", 2),
        ("u:auditor", 2),
        ("u:Admin", 2),
        ("u:admin ", 2),
    ];
    for (token, reached) in table {
        let mut client = logged_in(&server, token).await;
        for (tier, operations) in [(1, &reads[..]), (2, &writes), (3, &admin)] {
            for operation in operations {
                // Complete, but of a bucket that is not there: what is allowed does nothing.
                let request = json!({
                    "type": operation, "bucket": "nowhere", "name": "nowhere", "query": "nowhere", "key": 1, "data": {},
                    "config": {"bucket": "nowhere"}, "updates": {},
                });
                let answer = client.call(request).await;
                let name = ["", "read", "write", "admin"][tier];
                let message = format!("Role level insufficient for {operation} (requires {name})");
                let told = answer["message"].as_str().unwrap_or_default();
                let refused = answer["code"] == "FORBIDDEN" && told.starts_with(&message);
                assert_eq!(refused, tier > reached, "{token} {operation}: {answer}");
            }
        }
        assert_eq!(client.code(json!({"type": "store.nope"})).await, "UNKNOWN_OPERATION");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_says() {
    let server = with_table().bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let accepted = login(&mut client, "soon").await;
    let end = accepted["data"]["expiresAt"].as_u64().unwrap();
    let request = json!({"type": "store.buckets"});
    let mut answer = client.call(request.clone()).await;
    eventually("the session ends", async || {
        answer = client.call(request.clone()).await;
        answer["type"] == "error"
    })
    .await;
    assert!(now() > end, "not before its time");
    // Whoever notices first, the request or the clock: it is told as the protocol says.
    let (expired, required) =
        (error("UNAUTHORIZED", "Session expired"), error("UNAUTHORIZED", "Authentication required"));
    assert!(expired(&answer), "{answer}");
    assert!(required(&client.call(request.clone()).await));
    assert_eq!(client.data(json!({"type": "auth.whoami"})).await, json!({"authenticated": false}));
    assert_eq!(login(&mut client, "ada:reader").await["type"], "result");
    client.data(request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w10_a_session_that_ended_is_told_nothing_more() {
    let server = with_table().bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let accepted = login(&mut client, "soon").await;
    let end = accepted["data"]["expiresAt"].as_u64().unwrap();
    let watched = subscribe(&mut client, "item-count").await;
    // It asks for nothing any more; the world goes on.
    let over = tokio::spawn(async move {
        let mut last = 0;
        loop {
            let message = client.message().await;
            if message["type"] == "push" {
                last = message["data"].as_u64().unwrap();
            } else {
                assert_eq!(message["event"], "subscription_ended", "{message}");
                assert_eq!(
                    (&message["subscriptionId"], &message["code"]),
                    (&watched, &json!("UNAUTHORIZED"))
                );
                return (client, last);
            }
        }
    });
    while !over.is_finished() {
        server.store().insert("items", json!({})).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(now() < end + 15_000, "pushes go on and on");
    }
    let (mut client, _) = over.await.unwrap();
    assert!(now() >= end);
    server.store().insert("items", json!({})).await.unwrap();
    client.silent().await;
    assert_eq!(server.stats().await.unwrap()["store"]["queries"]["activeSubscriptions"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn w10_another_login_ends_the_live_queries_of_the_one_before() {
    let server = with_table().bind().await.unwrap();
    define_items(&server).await;
    let mut client = logged_in(&server, "ada:writer").await;
    let (first, second) =
        (subscribe(&mut client, "item-count").await, subscribe(&mut client, "all-items").await);
    // The same user again, also with other roles: nothing ends.
    assert_eq!(login(&mut client, "ada:writer,x").await["type"], "result");
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {}})).await;
    assert_eq!(client.push(&first).await, 1);
    client.push(&second).await;
    // Another one.
    assert_eq!(login(&mut client, "bob:writer").await["type"], "result");
    let told = [ended(&mut client).await, ended(&mut client).await];
    assert_eq!(told, [(first.clone(), json!("UNAUTHORIZED")), (second, json!("UNAUTHORIZED"))]);
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {}})).await;
    client.silent().await;
    assert_eq!(client.code(json!({"type": "store.unsubscribe", "subscriptionId": first})).await, "NOT_FOUND");
    let totals = &server.stats().await.unwrap()["connections"];
    assert_eq!(totals["totalStoreSubscriptions"], 0, "the slots are free");
    // A login that fails ends nothing.
    let third = subscribe(&mut client, "item-count").await;
    assert_eq!(login(&mut client, "nonsense").await["type"], "error");
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {}})).await;
    assert_eq!(client.push(&third).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn w10_a_logout_ends_the_live_queries() {
    let server = with_table().bind().await.unwrap();
    define_items(&server).await;
    let mut client = logged_in(&server, "ada:admin").await;
    let watched = subscribe(&mut client, "item-count").await;
    assert_eq!(client.data(json!({"type": "auth.logout"})).await, json!({"loggedOut": true}));
    assert_eq!(ended(&mut client).await, (watched, json!("UNAUTHORIZED")));
    server.store().insert("items", json!({})).await.unwrap();
    client.silent().await;
    assert!(!server.connections()[0].authenticated);
    assert_eq!(client.code(json!({"type": "store.buckets"})).await, "UNAUTHORIZED");
    assert_eq!(client.data(json!({"type": "auth.logout"})).await, json!({"loggedOut": true}), "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn w10_no_push_overtakes_a_logout() {
    // Somebody writes all the time: whatever is being pushed at the moment of the logout, nothing comes behind its answer.
    let server = with_table().bind().await.unwrap();
    define_items(&server).await;
    let store = server.store();
    let (enough, is_enough) = tokio::sync::watch::channel(false);
    let writer = tokio::spawn(async move {
        while !*is_enough.borrow() {
            store.insert("items", json!({})).await.unwrap();
        }
    });
    let mut client = Client::connect(address(&server)).await;
    for round in 0..200 {
        login(&mut client, "ada:admin").await;
        subscribe(&mut client, "item-count").await;
        let id = client.send(json!({"type": "auth.logout"})).await;
        let marker = client.send(json!({"type": "auth.whoami"})).await;
        let mut over = false;
        loop {
            let message = client.message().await;
            assert!(!over || message["type"] != "push", "round {round}: {message}");
            over |= message["id"] == id;
            if message["id"] == marker {
                break;
            }
        }
    }
    enough.send_replace(true);
    writer.await.unwrap();
}
