//! Sessions that are ended from outside: `Server::revoke_session`, `server.revokeSessions`, and who is kept out afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Client, Raw, address, define_items, eventually, memory_with, metric, request, subscribe};
use dunlin_server::config::TokenSession;
use dunlin_server::{Authentication, Login, Revocation, Server, ServerBuilder, Session};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const CLOSED: (u16, &str) = (4002, "session_revoked");

fn builder() -> ServerBuilder {
    let users = [("ada", "admin"), ("bob", "writer"), ("ben", "writer"), ("rex", "reader")];
    memory_with(|_| {}).tokens(users.map(|(user, role)| {
        let mut session = TokenSession::new(user);
        session.roles = vec![role.to_owned()];
        (format!("t-{user}"), session)
    }))
}

async fn login(client: &mut Client, token: &str) -> Value {
    client.call(json!({"type": "auth.login", "token": token})).await
}

async fn logged_in(server: &Server, user: &str) -> Client {
    let mut client = Client::connect(address(server)).await;
    assert_eq!(login(&mut client, &format!("t-{user}")).await["data"]["userId"], user);
    client
}

/// The client is told why, and then closed.
async fn is_closed(client: &mut Client) {
    let notice = client.message().await;
    assert_eq!(
        notice,
        json!({"type": "system", "event": "session_revoked", "reason": "Session revoked by administrator"})
    );
    let (code, reason) = client.closed().await;
    assert_eq!((code, reason.as_str()), CLOSED);
}

fn of(user: Option<&str>, role: Option<&str>) -> Revocation {
    Revocation { user_id: user.map(str::to_owned), role: role.map(str::to_owned) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_of_a_user_is_closed_and_no_other() {
    let server = builder().bind().await.unwrap();
    let (mut one, mut two) = (logged_in(&server, "bob").await, logged_in(&server, "bob").await);
    let (mut other, mut nobody) = (logged_in(&server, "ben").await, Client::connect(address(&server)).await);
    assert_eq!(server.revoke_session("bob"), 2);
    is_closed(&mut one).await;
    is_closed(&mut two).await;
    other.data(json!({"type": "store.buckets"})).await;
    assert_eq!(login(&mut nobody, "t-rex").await["type"], "result");
    assert_eq!(metric(address(&server), "dunlin_sessions_revoked_total").await, 2);
    eventually("they are gone", async || server.connection_count() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_revoked_cannot_log_in_until_forgiven() {
    let server = builder().bind().await.unwrap();
    assert_eq!(server.revoke_session("bob"), 0, "also who is not there is kept out");
    let mut client = Client::connect(address(&server)).await;
    let refused = login(&mut client, "t-bob").await;
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("SESSION_REVOKED"), &json!("Session has been revoked"))
    );
    assert!(server.forgive("bob") && !server.forgive("bob"));
    assert_eq!(login(&mut client, "t-bob").await["type"], "result");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_ends_the_session_before_and_its_live_queries() {
    let server = builder().bind().await.unwrap();
    define_items(&server).await;
    let mut client = logged_in(&server, "ben").await;
    let subscription = subscribe(&mut client, "all-items").await;
    server.revoke_session("bob");
    assert_eq!(login(&mut client, "t-bob").await["code"], "SESSION_REVOKED");
    let ended = client.message().await;
    assert_eq!((&ended["event"], &ended["subscriptionId"]), (&json!("subscription_ended"), &subscription));
    assert_eq!(client.data(json!({"type": "auth.whoami"})).await, json!({"authenticated": false}));
    assert_eq!(client.code(json!({"type": "store.buckets"})).await, "UNAUTHORIZED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_blacklist_is_configured() {
    let server = {
        let mut config = dunlin_server::Config::default();
        config.revocation.blacklist_ttl_ms = 1;
        let builder = Server::builder().config(config).memory().port(0);
        builder.tokens([("t-bob".to_owned(), TokenSession::new("bob"))]).bind().await.unwrap()
    };
    server.revoke_session("bob");
    let mut client = Client::connect(address(&server)).await;
    eventually("its time is over", async || login(&mut client, "t-bob").await["type"] == "result").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_by_user_and_role_takes_who_fits_both() {
    for (which, gone) in [
        (of(None, Some("writer")), ["bob", "ben"].as_slice()),
        (of(Some("bob"), Some("writer")), &["bob"]),
        (of(Some("bob"), Some("reader")), &[]),
        (of(Some("rex"), None), &["rex"]),
        (of(None, None), &["ada", "bob", "ben", "rex"]),
    ] {
        let server = builder().bind().await.unwrap();
        let mut nobody = Client::connect(address(&server)).await;
        let mut clients = Vec::new();
        for user in ["ada", "bob", "ben", "rex"] {
            clients.push((user, logged_in(&server, user).await));
        }
        assert_eq!(server.revoke_sessions(&which), gone.len(), "{which:?}");
        for (user, client) in &mut clients {
            if gone.contains(user) {
                is_closed(client).await;
                assert_eq!(login(&mut nobody, &format!("t-{user}")).await["code"], "SESSION_REVOKED");
            } else {
                client.data(json!({"type": "store.buckets"})).await;
                assert_eq!(
                    login(&mut nobody, &format!("t-{user}")).await["type"],
                    "result",
                    "{which:?} {user}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_revokes_over_the_wire_and_himself_behind_his_answer() {
    let server = builder().bind().await.unwrap();
    let (mut admin, mut writer) = (logged_in(&server, "ada").await, logged_in(&server, "bob").await);
    let everybody = json!({"type": "server.revokeSessions"});
    assert_eq!(writer.code(everybody.clone()).await, "FORBIDDEN");
    let by = |user: &str| json!({"type": "server.revokeSessions", "userId": user});
    assert_eq!(admin.data(by("bob")).await, json!({"revoked": 1}));
    is_closed(&mut writer).await;
    assert_eq!(admin.data(by("bob")).await, json!({"revoked": 0}));
    assert_eq!(admin.code(json!({"type": "server.revokeSessions", "role": 1})).await, "VALIDATION_ERROR");
    // What is sent behind it is not carried out.
    let ids = admin
        .send_all([
            everybody,
            json!({"type": "store.defineBucket", "name": "late", "config":
        {"key": "id", "schema": {"id": {"type": "string"}}}}),
        ])
        .await;
    let answer = admin.message().await;
    assert_eq!((&answer["id"], &answer["data"]), (&json!(ids[0]), &json!({"revoked": 1})));
    is_closed(&mut admin).await;
    assert!(server.store().snapshot().bucket("late").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn w13_what_was_sent_and_not_begun_is_dropped() {
    let (entered, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (at_door, opened) = (Arc::clone(&entered), Arc::clone(&go));
    let slow = move |login: Login| {
        let (at_door, opened) = (Arc::clone(&at_door), Arc::clone(&opened));
        async move {
            if login.token == "again" {
                at_door.add_permits(1);
                let _permit = opened.acquire().await;
            }
            Authentication::Ok(Some(Session::new("mallory").with_role("writer")))
        }
    };
    let server = memory_with(|_| {}).authenticator(slow).bind().await.unwrap();
    define_items(&server).await;
    let mut raw = Raw::upgraded(address(&server), None).await;
    raw.write(&request(&json!({"id": 1, "type": "auth.login", "token": "t"}))).await;
    assert_eq!(raw.message().await["type"], "result");
    let insert =
        |id: u64| request(&json!({"id": id, "type": "store.insert", "bucket": "items", "data": {"n": id}}));
    let batch =
        [request(&json!({"id": 2, "type": "auth.login", "token": "again"})), insert(3), insert(4)].concat();
    raw.write(&batch).await;
    // The connection is in the middle of its batch, and more waits in its socket.
    let _ = tokio::time::timeout(Duration::from_secs(20), entered.acquire()).await.expect("it asks").unwrap();
    raw.write(&insert(5)).await;
    assert_eq!(server.revoke_session("mallory"), 1);
    go.add_permits(1);
    let (code, reason) = raw.closed().await;
    assert_eq!((code, reason.as_str()), CLOSED);
    raw.write(&insert(6)).await;
    raw.ended().await;
    eventually("it is gone", async || server.connection_count() == 0).await;
    assert_eq!(server.store().snapshot().bucket("items").unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_under_way_does_not_slip_through() {
    let (entered, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (at_door, opened) = (Arc::clone(&entered), Arc::clone(&go));
    let slow = move |_: Login| {
        let (at_door, opened) = (Arc::clone(&at_door), Arc::clone(&opened));
        async move {
            at_door.add_permits(1);
            let _permit = opened.acquire().await;
            Authentication::Ok(Some(Session::new("mallory")))
        }
    };
    let server = memory_with(|_| {}).authenticator(slow).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    client.send(json!({"type": "auth.login", "token": "t"})).await;
    let _ = tokio::time::timeout(Duration::from_secs(20), entered.acquire()).await.expect("it asks").unwrap();
    assert_eq!(server.revoke_session("mallory"), 0);
    go.add_permits(1);
    assert_eq!(client.message().await["code"], "SESSION_REVOKED");
    assert_eq!(client.data(json!({"type": "auth.whoami"})).await, json!({"authenticated": false}));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_logins_there_is_nothing_to_revoke() {
    let server = memory_with(|_| {}).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    assert_eq!(server.revoke_session("ada"), 0);
    assert_eq!(server.revoke_sessions(&Revocation::default()), 0);
    assert!(!server.forgive("ada"));
    assert_eq!(client.data(json!({"type": "server.revokeSessions"})).await, json!({"revoked": 0}));
}
