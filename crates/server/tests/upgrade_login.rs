//! Logins with the WebSocket handshake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::{Arc, Mutex};

use common::{Raw, UPGRADE, address, eventually, http_raw, memory_with, metric, request};
use dunlin_server::config::TokenSession;
use dunlin_server::{Authentication, Config, HandshakeInfo, Login, Server, ServerBuilder, Session};
use serde_json::{Value, json};

fn with_upgrade(change: impl FnOnce(&mut Config)) -> ServerBuilder {
    let mut admin = TokenSession::new("ada");
    admin.roles = vec!["admin".into()];
    let mut old = TokenSession::new("oz");
    old.expires_at = Some(1000);
    let tokens = [("t-1".to_owned(), admin), ("t-old".to_owned(), old)];
    memory_with(|config| {
        config.auth.upgrade.header = true;
        config.auth.upgrade.query_parameter = Some("access_token".into());
        change(config);
    })
    .tokens(tokens)
}

/// A sound upgrade with this path and these headers, each with its line end.
fn upgrade(path: &str, headers: &str) -> String {
    UPGRADE
        .replace("GET / ", &format!("GET {path} "))
        .replace("Host: localhost\r\n", &format!("Host: localhost\r\n{headers}"))
}

/// Connects with such an upgrade; the connection and its welcome.
async fn connect(server: &Server, path: &str, headers: &str) -> (Raw, Value) {
    let mut raw = Raw::connect(address(server)).await;
    raw.write(upgrade(path, headers).as_bytes()).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let welcome = raw.message().await;
    assert_eq!(welcome["type"], "welcome");
    (raw, welcome)
}

async fn refused(server: &Server, path: &str, headers: &str) -> String {
    http_raw(address(server), upgrade(path, headers).as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_token_is_a_login_from_the_first_request_on() {
    let server = with_upgrade(|_| {}).bind().await.unwrap();
    for (path, headers) in [
        ("/", "Authorization: Bearer t-1\r\n"),
        ("/?access_token=t-1", ""),
        ("/?access%5Ftoken=t%2D1&x=1", "Authorization: Basic dTpw\r\n"),
    ] {
        let (mut raw, welcome) = connect(&server, path, headers).await;
        assert_eq!(welcome["requiresAuth"], false, "nothing more is needed");
        raw.write(&request(&json!({"id": 1, "type": "store.buckets"}))).await;
        assert_eq!(raw.message().await["type"], "result");
        raw.write(&request(&json!({"id": 2, "type": "auth.whoami"}))).await;
        let who = json!({"authenticated": true, "userId": "ada", "roles": ["admin"], "expiresAt": null});
        assert_eq!(raw.message().await["data"], who);
        raw.write(&request(&json!({"id": 3, "type": "auth.logout"}))).await;
        raw.message().await;
        raw.write(&request(&json!({"id": 4, "type": "store.buckets"}))).await;
        assert_eq!(raw.message().await["code"], "UNAUTHORIZED");
    }
    assert!(server.connections().iter().all(|connection| !connection.authenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_401_before_there_is_a_connection() {
    let server = with_upgrade(|_| {}).bind().await.unwrap();
    for (path, headers, reason) in [
        ("/", "Authorization: Bearer nonsense\r\n", "Invalid token"),
        ("/", "Authorization: Bearer \r\n", "Invalid token"),
        ("/?access_token=", "", "Invalid token"),
        ("/?access_token=t-1", "Authorization: Bearer wrong\r\n", "Invalid token"),
        ("/?access_token=t-old", "", "Token has expired"),
    ] {
        let response = refused(&server, path, headers).await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{path} {headers} {response}");
        let challenge = format!(
            "www-authenticate: Bearer realm=\"dunlin\", error=\"invalid_token\", error_description=\"{reason}\""
        );
        assert!(response.contains(&challenge), "{response}");
    }
    assert_eq!(metric(address(&server), "dunlin_connections_refused_total{reason=\"login\"}").await, 5);
    assert_eq!(metric(address(&server), "dunlin_connections_opened_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_token_is_a_login_later_unless_it_is_required() {
    let server = with_upgrade(|_| {}).bind().await.unwrap();
    let (mut raw, welcome) = connect(&server, "/?other=t-1", "").await;
    assert_eq!(welcome["requiresAuth"], true);
    raw.write(&request(&json!({"id": 1, "type": "auth.login", "token": "t-1"}))).await;
    assert_eq!(raw.message().await["type"], "result");

    let strict = with_upgrade(|config| config.auth.upgrade.required = true).bind().await.unwrap();
    let response = refused(&strict, "/", "Authorization: Basic dTpw\r\n").await;
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    assert!(response.contains("www-authenticate: Bearer realm=\"dunlin\"\r\n"), "{response}");
    connect(&strict, "/?access_token=t-1", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_configured_is_not_looked_at() {
    let server =
        with_upgrade(|config| config.auth.upgrade = Config::default().auth.upgrade).bind().await.unwrap();
    let (_, welcome) = connect(&server, "/?access_token=wrong", "Authorization: Bearer wrong\r\n").await;
    assert_eq!(welcome["requiresAuth"], true);
    let alone = memory_with(|config| config.auth.upgrade.header = true).build().await.err().expect("refused");
    assert_eq!(alone.code(), "AUTHENTICATOR");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_revoked_does_not_get_in_and_who_is_in_is_closed() {
    let server = with_upgrade(|_| {}).bind().await.unwrap();
    let (mut raw, _) = connect(&server, "/", "Authorization: Bearer t-1\r\n").await;
    assert_eq!(server.revoke_session("ada"), 1);
    assert_eq!(raw.message().await["event"], "session_revoked");
    assert_eq!(raw.closed().await.0, 4002);
    let response = refused(&server, "/", "Authorization: Bearer t-1\r\n").await;
    assert!(
        response.starts_with("HTTP/1.1 401 ") && response.contains("Session has been revoked"),
        "{response}"
    );
    assert!(server.forgive("ada"));
    connect(&server, "/", "Authorization: Bearer t-1\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_knows_where_a_login_comes_from_and_its_fault_is_503() {
    let seen: Arc<Mutex<Vec<Login>>> = Arc::default();
    let seeing = Arc::clone(&seen);
    let by_name = move |login: Login| {
        seeing.lock().unwrap().push(login.clone());
        async move {
            match login.token.as_str() {
                "fault" => Authentication::Err("the service is down".into()),
                "panic" => panic!("a fault of the callback"),
                name => Ok(Some(Session::new(name))),
            }
        }
    };
    let builder = memory_with(|config| config.auth.upgrade.header = true).authenticator(by_name);
    let server = builder.bind().await.unwrap();
    let about = "Authorization: bearer ada\r\nOrigin: https://app.example\r\nUser-Agent: test\r\n";
    let (mut raw, _) = connect(&server, "/", about).await;
    raw.write(&request(&json!({"id": 1, "type": "auth.login", "token": "bob"}))).await;
    assert_eq!(raw.message().await["data"]["userId"], "bob");
    {
        let seen = seen.lock().unwrap();
        let mut handshake = HandshakeInfo::default();
        assert_eq!((seen[0].connection_id, seen[0].token.as_str()), (None, "ada"));
        handshake.origin = Some("https://app.example".into());
        handshake.user_agent = Some("test".into());
        assert_eq!(seen[0].handshake, Some(handshake));
        assert_eq!(format!("conn-{}", seen[1].connection_id.unwrap()), server.connections()[0].connection_id);
        assert_eq!(seen[1].handshake, None);
        assert!(!format!("{:?}", seen[0]).contains("ada"), "the token is a secret");
    }
    let response = refused(&server, "/", "Authorization: Bearer fault\r\n").await;
    assert!(response.starts_with("HTTP/1.1 503 ") && !response.contains("service is down"), "{response}");
    assert_eq!(metric(address(&server), "dunlin_logins_total{outcome=\"fault\"}").await, 1);
    let response = refused(&server, "/", "Authorization: Bearer panic\r\n").await;
    assert!(!response.contains(" 101 "), "a panic denies, too: {response}");
    connect(&server, "/", "Authorization: Bearer eve\r\n").await;
    drop(raw);
    eventually("it is gone", async || server.connection_count() == 0).await;
}
