//! Logins by another service, against a real HTTP server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::{Client, address, eventually, memory_with, metric};
use dunlin_server::config::{Secret, TokenSession};
use dunlin_server::{Authenticator, Login, Session, WebhookAuthenticator, WebhookError, WebhookOptions};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// A service that knows tokens, and what it was asked.
#[derive(Clone)]
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Value>>>,
    /// An answer to a token that begins with `wait` takes one of them.
    permits: Arc<Semaphore>,
    /// Once set, every answer is a fault.
    broken: Arc<Mutex<bool>>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self::at(listener.local_addr().unwrap());
        let router = service.router();
        tokio::spawn(async move { axum_serve(listener, router, None).await });
        service
    }

    /// The same over TLS, as `localhost`.
    async fn start_tls() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self::at(listener.local_addr().unwrap());
        let router = service.router();
        let chain = vec![CertificateDer::from_pem_file(file("localhost.crt.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("localhost.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move { axum_serve(listener, router, Some(tls)).await });
        service
    }

    fn at(address: SocketAddr) -> Self {
        let permits = Arc::new(Semaphore::new(0));
        Self { address, asked: Arc::default(), permits, broken: Arc::default() }
    }

    fn router(&self) -> Router {
        let service = self.clone();
        Router::new().fallback(move |request| service.clone().answer(request))
    }

    async fn answer(self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let mut question: Value = serde_json::from_slice(&to_bytes(body, 1 << 16).await.unwrap()).unwrap();
        let token = question["token"].as_str().unwrap().to_owned();
        question["path"] = json!(format!("{} {}", head.method, head.uri));
        if let Some(value) = head.headers.get(header::AUTHORIZATION) {
            question["authorization"] = json!(value.to_str().unwrap());
        }
        self.asked.lock().unwrap().push(question);
        if token.starts_with("wait") {
            self.permits.acquire().await.unwrap().forget();
        }
        if *self.broken.lock().unwrap() {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let status = |code: u16| StatusCode::from_u16(code).unwrap();
        match token.split_once(':') {
            Some(("status", code)) => (status(code.parse().unwrap()), r#"{"userId":"x"}"#).into_response(),
            Some(("body", text)) => text.to_owned().into_response(),
            Some(("away", _)) => (status(302), [(header::LOCATION, "/elsewhere")]).into_response(),
            Some(("large", _)) => format!("{{\"userId\":\"{}\"}}", "x".repeat(100_000)).into_response(),
            _ => json!({"userId": token, "roles": ["writer"], "metadata": {"a": 1}, "more": true})
                .to_string()
                .into_response(),
        }
    }

    fn options(&self) -> WebhookOptions {
        let mut options = WebhookOptions::default();
        options.url = Some(format!("http://{}/dunlin?x=1", self.address));
        // The machines are slow at times.
        options.timeout_ms = 10_000;
        options
    }

    fn times(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/keys", name].iter().collect()
}

async fn axum_serve(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (router, tls) = (TowerToHyperService::new(router.clone()), tls.clone());
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            // A client that breaks off is part of some tests.
            let _ = match tls {
                None => http.serve_connection(TokioIo::new(stream), router).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => http.serve_connection(TokioIo::new(stream), router).await,
                    Err(_) => Ok(()),
                },
            };
        });
    }
}

async fn asked(webhook: &WebhookAuthenticator, token: &str) -> Result<Option<Session>, String> {
    webhook.authenticate(Login::new(token, [127, 0, 0, 1])).await.map_err(|fault| fault.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_told_token_and_address_and_its_answer_is_the_session() {
    let service = Service::start().await;
    let mut options = service.options();
    options.secret = Some(Secret::new("who we are"));
    let webhook = WebhookAuthenticator::new(&options).unwrap();
    let session = asked(&webhook, "ada").await.unwrap().unwrap();
    assert_eq!(session, Session::new("ada").with_role("writer").with_metadata(json!({"a": 1})));
    let question = json!({"token": "ada", "remoteAddress": "127.0.0.1", "path": "POST /dunlin?x=1", "authorization": "Bearer who we are"});
    assert_eq!(*service.asked.lock().unwrap(), [question]);
    let minimal = asked(&webhook, r#"body:{"userId":"u","roles":null,"expiresAt":null}"#).await.unwrap();
    assert_eq!(minimal, Some(Session::new("u")));
    let ending = asked(&webhook, r#"body:{"userId":"u","expiresAt":5}"#).await.unwrap();
    assert_eq!(ending, Some(Session::new("u").expiring_at(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn some_answers_are_no_and_all_others_are_faults() {
    let service = Service::start().await;
    for token in ["body:null", "body: null\n", "status:401", "status:403", "status:404"] {
        // One for each: faults in a row would open the breaker.
        let webhook = WebhookAuthenticator::new(&service.options()).unwrap();
        assert_eq!(asked(&webhook, token).await, Ok(None), "{token}");
    }
    for token in [
        "status:500",
        "status:400",
        "status:204",
        "status:201",
        "away:",
        "large:",
        "body:",
        "body:{}",
        "body:[]",
        "body:true",
        r#"body:{"userId":""}"#,
        r#"body:{"userId":1}"#,
        r#"body:{"userId":"u","roles":"admin"}"#,
        r#"body:{"userId":"u","expiresAt":"soon"}"#,
    ] {
        let webhook = WebhookAuthenticator::new(&service.options()).unwrap();
        let fault = asked(&webhook, token).await.expect_err(token);
        assert!(fault.starts_with("auth.webhook: ") && !fault.contains("admin"), "{fault}");
    }
    assert!(service.asked.lock().unwrap().iter().all(|question| question["path"] != "GET /elsewhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_remembered_yes_and_no_for_the_same_token_from_the_same_address() {
    let service = Service::start().await;
    let webhook = WebhookAuthenticator::new(&service.options()).unwrap();
    for _ in 0..3 {
        assert!(asked(&webhook, "ada").await.unwrap().is_some());
        assert!(asked(&webhook, "status:401").await.unwrap().is_none());
    }
    assert_eq!(service.times(), 2);
    let elsewhere = webhook.authenticate(Login::new("ada", [127, 0, 0, 2])).await.unwrap();
    assert!(elsewhere.is_some() && service.times() == 3, "the service may look at the address");
    for _ in 0..2 {
        assert!(asked(&webhook, "status:500").await.is_err());
        asked(&webhook, r#"body:{"userId":"u","expiresAt":5}"#).await.unwrap();
    }
    assert_eq!(service.times(), 7, "neither faults nor what is over are remembered");

    let mut options = service.options();
    options.cache_ms = 0;
    let webhook = WebhookAuthenticator::new(&options).unwrap();
    for _ in 0..2 {
        asked(&webhook, "ada").await.unwrap();
    }
    assert_eq!(service.times(), 9);
    options.cache_ms = 1;
    let webhook = WebhookAuthenticator::new(&options).unwrap();
    let before = service.times();
    eventually("it is asked again", async || {
        asked(&webhook, "ada").await.unwrap();
        service.times() >= before + 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_is_asked_for_once_at_a_time() {
    let service = Service::start().await;
    let webhook = Arc::new(WebhookAuthenticator::new(&service.options()).unwrap());
    let ask = |token: &'static str| {
        let webhook = Arc::clone(&webhook);
        tokio::spawn(async move { asked(&webhook, token).await })
    };
    let first = ask("wait");
    eventually("it is asked", async || service.times() == 1).await;
    let others = [ask("wait"), ask("wait"), ask("wait")];
    assert!(ask("ada").await.unwrap().unwrap().is_some(), "others do not wait for it");
    // Whoever asked first may leave.
    first.abort();
    service.permits.add_permits(1);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().unwrap().user_id, "wait");
    }
    assert_eq!(service.times(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_denies_and_a_service_that_fails_is_left_alone() {
    let service = Service::start().await;
    let mut options = service.options();
    options.timeout_ms = 50;
    let webhook = WebhookAuthenticator::new(&options).unwrap();
    let late = asked(&webhook, "wait").await.unwrap_err();
    assert!(late.contains("no answer within 50ms"), "{late}");

    let webhook = WebhookAuthenticator::new(&service.options()).unwrap();
    *service.broken.lock().unwrap() = true;
    let before = service.times();
    for n in 0..5 {
        assert!(asked(&webhook, &format!("t{n}")).await.unwrap_err().contains("status 500"));
    }
    *service.broken.lock().unwrap() = false;
    for _ in 0..20 {
        assert!(asked(&webhook, "ada").await.unwrap_err().contains("not asked for a while"));
    }
    assert_eq!(service.times(), before + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_the_service_cannot_make_sense_of_keep_nobody_else_out() {
    let service = Service::start().await;
    let webhook = WebhookAuthenticator::new(&service.options()).unwrap();
    for token in ["status:400", "status:422", "large:", "body:{}", "away:"] {
        for _ in 0..10 {
            assert!(!asked(&webhook, token).await.unwrap_err().contains("not asked for a while"), "{token}");
        }
        assert!(asked(&webhook, &format!("after {token}")).await.unwrap().is_some());
    }
    for _ in 0..5 {
        assert!(asked(&webhook, "status:429").await.is_err());
    }
    assert!(asked(&webhook, "ada").await.unwrap_err().contains("not asked for a while"));
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_held_to_certificates() {
    let service = Service::start_tls().await;
    let mut options = WebhookOptions::default();
    options.url = Some(format!("https://localhost:{}/", service.address.port()));
    options.ca_file = Some(file("ca.pem"));
    let webhook = WebhookAuthenticator::new(&options).unwrap();
    assert_eq!(asked(&webhook, "ada").await.unwrap().unwrap().user_id, "ada");
    options.url = Some(format!("https://127.0.0.1:{}/", service.address.port()));
    let by_another_name = asked(&WebhookAuthenticator::new(&options).unwrap(), "ada").await.unwrap_err();
    assert!(by_another_name.contains("certificate"), "{by_another_name}");
    options.url = Some(format!("https://localhost:{}/", service.address.port()));
    options.ca_file = None;
    // A system may have no certificates at all.
    let stranger = match WebhookAuthenticator::new(&options) {
        Ok(webhook) => asked(&webhook, "ada").await.expect_err("an authority that nobody knows"),
        Err(error) => error.to_string(),
    };
    assert!(stranger.contains("certificate"), "{stranger}");
    assert_eq!(service.times(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_told_at_the_start() {
    let with = |change: fn(&mut WebhookOptions)| {
        let mut options = WebhookOptions::default();
        options.url = Some("http://127.0.0.1:1/".into());
        change(&mut options);
        WebhookAuthenticator::new(&options)
    };
    assert!(with(|_| {}).is_ok());
    for (result, code) in [
        (with(|options| options.url = None), "WEBHOOK_URL"),
        (with(|options| options.url = Some("http://u:p@a.example/".into())), "WEBHOOK_URL"),
        (with(|options| options.secret = Some(Secret::new("a\nb"))), "WEBHOOK_SECRET"),
        (with(|options| options.ca_file = Some(file("nowhere.pem"))), "WEBHOOK_TLS"),
        (with(|options| options.ca_file = Some(file("README.md"))), "WEBHOOK_TLS"),
    ] {
        let error: WebhookError = result.expect_err(code);
        assert_eq!(error.code(), code, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_log_in_by_the_service_behind_the_table() {
    let service = Service::start().await;
    let table = [("t-1".to_owned(), TokenSession::new("bob"))];
    let server = memory_with(|_| {}).tokens(table).webhook(service.options()).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let mut login = async |token: &str| client.call(json!({"type": "auth.login", "token": token})).await;
    assert_eq!(login("t-1").await["data"]["userId"], "bob");
    assert_eq!(service.times(), 0, "the table knows it");
    assert_eq!(login("ada").await["data"]["roles"], json!(["writer"]));
    assert_eq!(login("status:404").await["message"], "Invalid token");
    let fault = login("status:500").await;
    assert_eq!(fault["code"], "INTERNAL_ERROR");
    assert!(!fault.to_string().contains("500"), "what the service says is for the log: {fault}");
    assert_eq!(metric(address(&server), "dunlin_logins_total{outcome=\"fault\"}").await, 1);
    // Also an answer that is remembered is held to the blacklist.
    server.revoke_session("nobody");
    let mut other = Client::connect(address(&server)).await;
    assert_eq!(other.call(json!({"type": "auth.login", "token": "ada"})).await["type"], "result");
    server.revoke_session("ada");
    let mut third = Client::connect(address(&server)).await;
    assert_eq!(third.call(json!({"type": "auth.login", "token": "ada"})).await["code"], "SESSION_REVOKED");
    assert_eq!(service.times(), 3);
}
