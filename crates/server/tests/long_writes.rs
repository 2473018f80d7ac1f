//! A write that takes long holds up nobody but writers: on a runtime of one worker thread, so that whoever blocks that
//! thread blocks everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use common::{Client, PATIENCE, address, define_items, memory_with, subscribe};
use dunlin_server::Server;
use dunlin_server::limits::INLINE_WRITES;
use dunlin_store::Validators;
use serde_json::{Value, json};

/// Holds the writes of records with the tag `slow` until it is told to let them go, and says when it holds one.
struct Gate {
    held: Mutex<Receiver<()>>,
    go: Sender<()>,
}

impl Gate {
    async fn held(self: &Arc<Self>) {
        let gate = Arc::clone(self);
        let wait = move || gate.held.lock().unwrap().recv_timeout(PATIENCE);
        tokio::task::spawn_blocking(wait).await.unwrap().expect("the write has begun");
    }
}

async fn gated() -> (Server, Arc<Gate>) {
    let ((holds, held), (go, goes)) = (channel(), channel());
    let (holds, goes) = (Mutex::new(holds), Mutex::new(goes));
    let validators = Validators::default().bucket("items", move |record| {
        if record.to_value()["tag"] == "slow" && holds.lock().unwrap().send(()).is_ok() {
            goes.lock().unwrap().recv_timeout(PATIENCE).expect("nobody else was served meanwhile");
        }
        Vec::new()
    });
    let builder = memory_with(|config| {
        config.heartbeat.interval_ms = 50;
        config.heartbeat.timeout_ms = 5_000;
    });
    let server = builder.validators(validators).bind().await.unwrap();
    define_items(&server).await;
    let filler = (0..=INLINE_WRITES).map(|n| json!({"id": format!("i{n}"), "n": n}));
    server.store().insert_many("items", filler).await.unwrap();
    (server, Arc::new(Gate { held: Mutex::new(held), go }))
}

/// The other connection gets a ping and an answer while the write is held, then the write is let go.
async fn others_are_served(server: &Server, gate: &Arc<Gate>, write: Value) -> Value {
    let mut writer = Client::connect(address(server)).await;
    let mut other = Client::connect(address(server)).await;
    let id = writer.send(write).await;
    gate.held().await;
    let before = other.data(json!({"type": "store.count", "bucket": "items"})).await;
    assert_eq!(before, INLINE_WRITES + 1, "nothing is seen that is not done");
    while other.message().await["type"] != "ping" {}
    let mut late = Client::connect(address(server)).await;
    assert_eq!(late.data(json!({"type": "store.get", "bucket": "items", "key": "i1"})).await["n"], 1);
    // A write queues up behind it.
    let behind = other
        .send(json!({"type": "store.update", "bucket": "items", "key": "i1", "data": {"tag": "last"}}))
        .await;
    gate.go.send(()).unwrap();
    let answer = writer.answer(id).await;
    assert_eq!(other.answer(behind).await["data"]["tag"], "last", "in the order in which they came");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_write_of_many_records_lets_others_read() {
    let (server, gate) = gated().await;
    let mut watcher = Client::connect(address(&server)).await;
    watcher.answer_pings = true;
    let count = subscribe(&mut watcher, "item-count").await;
    let mut data: Vec<Value> = (0..INLINE_WRITES).map(|n| json!({"n": n})).collect();
    data.push(json!({"id": "x", "tag": "slow"}));
    let write = json!({"type": "store.insertMany", "bucket": "items", "data": data});
    let answer = others_are_served(&server, &gate, write).await;
    assert_eq!(answer["data"].as_array().unwrap().len(), INLINE_WRITES + 1);
    assert_eq!(watcher.push(&count).await, 2 * (INLINE_WRITES + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn so_does_an_update_of_a_large_bucket_and_a_transaction_on_it() {
    let (server, gate) = gated().await;
    let (filter, data) = (json!({"n": 5}), json!({"tag": "slow"}));
    let write = json!({"type": "store.updateMany", "bucket": "items", "filter": filter, "data": data});
    assert_eq!(others_are_served(&server, &gate, write).await["data"], 1);
    let operations = json!([
        {"op": "where", "bucket": "items", "filter": {"tag": "slow"}},
        {"op": "update", "bucket": "items", "key": "i7", "data": {"tag": "slow"}},
    ]);
    let write = json!({"type": "store.transaction", "operations": operations});
    let answer = others_are_served(&server, &gate, write).await;
    assert_eq!(answer["data"]["results"][1]["data"]["id"], "i7", "{answer}");
}
