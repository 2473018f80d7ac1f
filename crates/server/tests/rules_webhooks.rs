//! Webhooks of rules, against a server of our own: sent at least once with one id, tried again, given up, taken up again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod common;
#[path = "rules_durable/world.rs"]
mod world;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::{address, eventually, metrics};
use dunlin_server::{RulesOptions, Server};
use serde_json::{Value, json};
use world::{World, fact, on};

/// Another server, which answers as it is told and remembers what it was asked.
#[derive(Clone, Default)]
struct Target {
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// Statuses to answer with; 200 when there are no more.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Target {
    async fn start() -> (Self, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Self::default();
        let answering = target.clone();
        let router = Router::new().fallback(move |request| answering.clone().answer(request));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (target, address)
    }

    async fn answer(self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let body: Value = serde_json::from_slice(&to_bytes(body, 1 << 16).await.unwrap()).unwrap();
        let id = head.headers["idempotency-key"].to_str().unwrap().to_owned();
        let told = json!({"at": format!("{} {}", head.method, head.uri), "body": body, "x": head.headers.get("x-n").map(|n| n.to_str().unwrap())});
        self.asked.lock().unwrap().push((id, told));
        let status = self.answers.lock().unwrap().pop_front().unwrap_or(200);
        let status = StatusCode::from_u16(status).unwrap();
        (status, [("location", "/elsewhere")], r#"{"fine":true}"#).into_response()
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn start(world: &World, allow: &[String]) -> Server {
    let mut options = RulesOptions::on();
    options.webhooks.allow = allow.to_vec();
    world.builder().rules(options).bind().await.unwrap()
}

async fn calling(server: &Server, url: &str) {
    let hook = json!({"type": "webhook", "url": url, "headers": {"X-N": "${event.n}"}, "body": {"n": {"ref": "event.n"}}});
    server.rules().register(on("hook", "go", json!([hook]))).await.unwrap();
}

fn outbox(server: &Server) -> Vec<Value> {
    let snapshot = server.store().snapshot();
    snapshot.entries("x/").map(|(_, text)| serde_json::from_str(text).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_tried_again_with_the_same_id_until_it_succeeds() {
    let (target, at) = Target::start().await;
    target.answers.lock().unwrap().extend([503, 429]);
    let world = World::new();
    let server = start(&world, &[format!("http://{at}/hooks/")]).await;
    calling(&server, &format!("http://{at}/hooks/${{event.n}}")).await;
    server.rules().emit("go", json!({"n": 7})).await.unwrap();
    eventually("it has succeeded", async || {
        world.pass(Duration::from_secs(1));
        target.asked().len() == 3 && outbox(&server).is_empty()
    })
    .await;
    let asked = target.asked();
    assert_eq!(asked[0].1, json!({"at": "POST /hooks/7", "body": {"n": 7}, "x": "7"}));
    assert!(asked.iter().all(|again| *again == asked[0]), "{asked:?}");
    assert_eq!(metrics(address(&server), "dunlin_rules_calls_total").await, 3);
    assert!(server.rules().dead_letters().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_is_a_dead_letter_that_can_be_sent_again() {
    let (target, at) = Target::start().await;
    let world = World::new();
    let server = start(&world, &[format!("http://{at}/")]).await;
    calling(&server, &format!("http://{at}/x")).await;
    let rules = server.rules();
    for status in [404, 302] {
        target.answers.lock().unwrap().push_back(status);
        rules.emit("go", json!({"n": 1})).await.unwrap();
        eventually("it was given up", async || rules.dead_letters().unwrap().len() == 1).await;
        let dead = rules.dead_letters().unwrap()[0].clone();
        assert!(dead["error"].as_str().unwrap().contains(&status.to_string()), "{dead:?}");
        assert!(outbox(&server).is_empty());
        let id = dead["call"]["id"].as_str().unwrap().to_owned();
        rules.requeue(&id).await.unwrap();
        eventually("it was sent again", async || {
            rules.dead_letters().unwrap().is_empty() && outbox(&server).is_empty()
        })
        .await;
        let asked = target.asked();
        let last_two = &asked[asked.len() - 2..];
        assert!(
            last_two.iter().all(|(sent, _)| *sent == id),
            "with the same id, and no redirect followed: {asked:?}"
        );
    }
    assert_eq!(target.asked().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_whom_the_list_does_not_name() {
    let (target, at) = Target::start().await;
    let world = World::new();
    let server = start(&world, &[format!("http://{at}/hooks/")]).await;
    let rules = server.rules();
    for url in [
        format!("http://{at}/secret"),
        format!("http://{at}/hooks/../secret"),
        "http://localhost/".to_owned(),
    ] {
        let caught = json!({"type": "try_catch", "try": [{"type": "webhook", "url": url, "body": {}}],
            "catch": {"as": "e", "actions": [fact("refused", json!({"ref": "var.e.message"}))]}});
        let rule = on("hook", "go", json!([caught]));
        if rules.rule("hook").unwrap().is_some() {
            rules.update("hook", json!({"actions": rule["actions"]})).await.unwrap();
        } else {
            rules.register(rule).await.unwrap();
        }
        rules.emit("go", json!({})).await.unwrap();
        eventually("it was refused", async || rules.get_fact("refused").unwrap().is_some()).await;
        let refused = rules.get_fact("refused").unwrap().unwrap();
        assert!(refused.as_str().unwrap().contains("rules.webhooks.allow"), "{refused}");
        rules.delete_fact("refused").await.unwrap();
    }
    assert!(target.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_again_and_again_is_left_alone_and_others_are_not() {
    let (target, at) = Target::start().await;
    let (other, elsewhere) = Target::start().await;
    target.answers.lock().unwrap().extend([500; 100]);
    let world = World::new();
    let server = start(&world, &[format!("http://{at}/"), format!("http://{elsewhere}/")]).await;
    calling(&server, "http://${event.at}/x").await;
    let rules = server.rules();
    for n in 0..10 {
        rules.emit("go", json!({"n": n, "at": at.to_string()})).await.unwrap();
    }
    eventually("it is left alone", async || target.asked().len() >= 5).await;
    rules.emit("go", json!({"n": 0, "at": elsewhere.to_string()})).await.unwrap();
    eventually("the other one is not", async || other.asked().len() == 1).await;
    // Those that were under way when it was given up, and no more: eight places of one target.
    assert!(target.asked().len() < 5 + 8, "{}", target.asked().len());
    eventually("the others wait", async || outbox(&server).len() == 10).await;
}
