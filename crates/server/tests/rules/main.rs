//! Rules over the wire and from the embedding program: every sentence of the protocol about `rules.*`, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod administration;
mod embedding;
mod events_and_facts;
mod subscriptions;

use dunlin_server::{RulesOptions, Server, ServerBuilder};
use serde_json::{Value, json};

use common::{Client, address, memory};

/// A server with rules, in memory.
fn ruled() -> ServerBuilder {
    memory().rules(RulesOptions::on())
}

async fn client() -> (Server, Client) {
    let server = ruled().bind().await.unwrap();
    let client = Client::connect(address(&server)).await;
    (server, client)
}

/// A rule that emits `output.<id>` for every event of this topic.
fn relay(id: &str, topic: &str) -> Value {
    json!({
        "id": id, "name": format!("Rule {id}"), "priority": 100, "enabled": true, "tags": ["test"],
        "trigger": {"type": "event", "topic": topic}, "conditions": [],
        "actions": [{"type": "emit_event", "topic": format!("output.{id}"), "data": {"from": {"ref": "event.n"}}}],
    })
}

fn register(rule: &Value) -> Value {
    json!({"type": "rules.registerRule", "rule": rule})
}

fn emit(topic: &str, data: &Value) -> Value {
    json!({"type": "rules.emit", "topic": topic, "data": data})
}

/// Whether the names of an object's members are these, in any order.
fn has_members(object: &Value, names: &[&str]) -> bool {
    let mut found: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let mut names = names.to_vec();
    found.sort_unstable();
    names.sort_unstable();
    found == names
}
