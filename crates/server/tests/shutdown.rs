//! How a server ends: `docs/actors.md`, "Stopping", and `spec/protocol.md` §12.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Client, PATIENCE, Raw, UPGRADE, address, define_items, eventually, memory, memory_with};
use dunlin_server::{ServeError, Server, ServerBuilder, StartError, WriteError};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough to be noticed if anybody waited for its end.
const LONG: Duration = Duration::from_secs(3600);

/// Begins to stop, and returns when it has begun.
async fn stopping(server: &Arc<Server>, grace: Duration) -> JoinHandle<Result<(), ServeError>> {
    let task = tokio::spawn({
        let server = Arc::clone(server);
        async move { server.stop(grace).await }
    });
    eventually("it stops", async || !server.is_running()).await;
    task
}

async fn finished(task: JoinHandle<Result<(), ServeError>>) {
    tokio::time::timeout(PATIENCE, task).await.expect("it stops").unwrap().unwrap();
}

fn durable(dir: &tempfile::TempDir) -> ServerBuilder {
    Server::builder().data_dir(dir.path().join("data")).port(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_grace_all_are_closed_at_once_and_not_warned() {
    let server = memory().bind().await.unwrap();
    let address = address(&server);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(address).await);
    }
    assert!(server.is_running());
    let reading = tokio::spawn(async move {
        for client in &mut clients {
            assert_eq!(client.next().await, None, "no warning");
            assert_eq!(client.closed().await, (1000, "server_shutdown".to_owned()));
        }
    });
    tokio::time::timeout(PATIENCE, server.stop(Duration::ZERO)).await.expect("it stops").unwrap();
    assert!(!server.is_running());
    eventually("their places are free", async || server.connection_count() == 0).await;
    assert!(TcpStream::connect(address).await.is_err(), "it does not listen any more");
    reading.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_grace_clients_are_warned_and_served_until_they_leave() {
    let server = Arc::new(memory().bind().await.unwrap());
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let watched = common::subscribe(&mut client, "item-count").await;
    let mut other = Client::connect(address(&server)).await;
    let stop = stopping(&server, LONG).await;
    for client in [&mut client, &mut other] {
        let warning = client.system().await;
        assert_eq!(warning, json!({"type": "system", "event": "shutdown", "gracePeriodMs": 3_600_000}));
    }
    eventually("nobody new is let in", async || TcpStream::connect(address(&server)).await.is_err()).await;
    // Reads, writes and pushes go on.
    other.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    assert_eq!(client.push(&watched).await, 1);
    assert_eq!(client.data(json!({"type": "store.count", "bucket": "items"})).await, 1);
    assert!(!stop.is_finished());
    other.close().await;
    eventually("one has left", async || server.connection_count() == 1).await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 2}})).await;
    assert!(!stop.is_finished());
    // The last one leaves, and nobody waits for the end of the hour.
    client.close().await;
    finished(stop).await;
    assert_eq!(server.store().snapshot().bucket("items").unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_grace_and_nobody_there_it_ends_at_once() {
    let server = Arc::new(memory().bind().await.unwrap());
    finished(stopping(&server, LONG).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_grace_period_is_over_all_are_closed() {
    let server = memory().bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let stop = tokio::spawn(async move { server.stop(Duration::from_millis(100)).await });
    assert_eq!(client.message().await, json!({"type": "system", "event": "shutdown", "gracePeriodMs": 100}));
    assert_eq!(client.closed().await, (1000, "server_shutdown".to_owned()));
    finished(stop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stop_does_nothing() {
    let server = Arc::new(memory().bind().await.unwrap());
    let client = Client::connect(address(&server)).await;
    let first = stopping(&server, LONG).await;
    tokio::time::timeout(PATIENCE, server.stop(Duration::ZERO)).await.expect("it returns").unwrap();
    assert_eq!(server.connection_count(), 1, "the grace period goes on");
    client.close().await;
    finished(first).await;
    tokio::time::timeout(PATIENCE, server.stop(LONG)).await.expect("it returns").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_a_write_is_refused_and_reads_go_on() {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let store = server.store();
    store.insert("items", json!({"id": "a", "n": 1})).await.unwrap();
    server.stop(Duration::ZERO).await.unwrap();
    let late =
        tokio::time::timeout(PATIENCE, store.insert("items", json!({"n": 2}))).await.expect("an answer");
    assert!(matches!(late, Err(WriteError::Interrupted)), "{late:?}");
    assert_eq!(store.snapshot().bucket("items").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_until_stops_with_the_configured_grace() {
    let server = memory_with(|config| config.shutdown_grace_ms = 3_600_000).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let (signal, signalled) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(async {
        let _ = signalled.await;
    }));
    client.data(json!({"type": "store.buckets"})).await;
    signal.send(()).unwrap();
    assert_eq!(client.system().await["gracePeriodMs"], 3_600_000);
    client.close().await;
    finished(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_survives_a_stop_in_the_middle_of_writing() {
    let dir = tempfile::tempdir().unwrap();
    let server = durable(&dir).bind().await.unwrap();
    define_items(&server).await;
    let writes_begun = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for writer in 0..8 {
        let mut raw = Raw::upgraded(address(&server), None).await;
        let writes_begun = Arc::clone(&writes_begun);
        writers.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for round in 0u64.. {
                // Some alone, some in groups that a stop may cut in two.
                let size = if writer % 2 == 0 { 1 } else { 20 };
                let group: Vec<u8> = (0..size)
                    .flat_map(|n| {
                        let data = json!({"id": format!("{writer}-{round}-{n}"), "n": round});
                        common::request(
                            &json!({"id": n, "type": "store.insert", "bucket": "items", "data": data}),
                        )
                    })
                    .collect();
                raw.write(&group).await;
                for _ in 0..size {
                    match raw.frame().await {
                        Some((1, payload)) => {
                            let answer: Value = serde_json::from_slice(&payload).unwrap();
                            assert_eq!(answer["type"], "result", "{answer}");
                            acknowledged.push(answer["data"].clone());
                            writes_begun.fetch_add(1, Ordering::Relaxed);
                        }
                        Some((8, payload)) => {
                            assert_eq!(&payload[2..], b"server_shutdown");
                            return acknowledged;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            acknowledged
        }));
    }
    eventually("writes are under way", async || writes_begun.load(Ordering::Relaxed) > 200).await;
    server.stop(Duration::ZERO).await.unwrap();
    let published = server.store().snapshot();
    drop(server);
    let again = durable(&dir).bind().await.unwrap();
    let recovered = again.store().snapshot();
    assert_eq!(recovered.position(), published.position(), "what was visible is what is there");
    let items = recovered.bucket("items").unwrap();
    let mut acknowledged = 0;
    for writer in writers {
        for record in writer.await.unwrap() {
            let kept = items.get(&record["id"]).unwrap_or_else(|| panic!("{record} is lost"));
            assert_eq!(serde_json::from_str::<Value>(kept.json()).unwrap(), record);
            acknowledged += 1;
        }
    }
    assert!(items.len() >= acknowledged);
    again.stop(Duration::ZERO).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_and_definitions_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = durable(&dir).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let schema = json!({"id": {"type": "string"}, "n": {"type": "number", "required": true}});
    let config = json!({"key": "id", "schema": schema, "indexes": ["n"]});
    client.data(json!({"type": "store.defineBucket", "name": "kept", "config": config})).await;
    client.data(json!({"type": "store.defineQuery", "name": "big", "config": {"bucket": "kept", "filter": {"n": 7}}})).await;
    let record =
        client.data(json!({"type": "store.insert", "bucket": "kept", "data": {"id": "a", "n": 6}})).await;
    let updated =
        client.data(json!({"type": "store.update", "bucket": "kept", "key": "a", "data": {"n": 7}})).await;
    assert_eq!((&record["_version"], &updated["_version"]), (&json!(1), &json!(2)));
    let stop = tokio::spawn(async move {
        server.stop(Duration::ZERO).await.unwrap();
    });
    assert_eq!(client.closed().await.0, 1000);
    drop(client);
    stop.await.unwrap();

    let server = durable(&dir).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    assert_eq!(client.data(json!({"type": "store.get", "bucket": "kept", "key": "a"})).await, updated);
    let subscribed = client.data(json!({"type": "store.subscribe", "query": "big"})).await;
    assert_eq!(subscribed["data"], json!([updated]));
    let kept = client.data(json!({"type": "store.getBucketSchema", "name": "kept"})).await;
    assert_eq!(kept["config"], config);
    assert_eq!(
        client.code(json!({"type": "store.insert", "bucket": "kept", "data": {"id": "b"}})).await,
        "VALIDATION_ERROR"
    );
    let again =
        client.data(json!({"type": "store.update", "bucket": "kept", "key": "a", "data": {"n": 8}})).await;
    assert_eq!(again["_version"], 3, "and it goes on where it was");
    assert_eq!(client.push(&subscribed["subscriptionId"]).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_has_let_go_of_its_data() {
    let dir = tempfile::tempdir().unwrap();
    // Kept, so that nothing but the stop can have closed them.
    let mut stopped = Vec::new();
    for n in 0..10 {
        let server = durable(&dir).bind().await.unwrap();
        if n == 0 {
            define_items(&server).await;
        }
        server.store().insert("items", json!({"n": n})).await.unwrap();
        server.stop(Duration::ZERO).await.unwrap();
        stopped.push(server);
    }
    assert_eq!(stopped[9].store().snapshot().bucket("items").unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_directory_is_for_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let first = durable(&dir).bind().await.unwrap();
    let Err(refused) = durable(&dir).bind().await.map(drop) else { panic!("two servers share their data") };
    assert!(matches!(refused, StartError::Journal(_)), "{refused:?}");
    assert_eq!(refused.code(), "JOURNAL_LOCKED");
    let said = refused.to_string();
    assert!(
        said.contains("in use by another dunlin") && said.contains(dir.path().to_str().unwrap()),
        "{said}"
    );
    // The first one has not noticed; and when it has stopped, another one can take its place at once.
    define_items(&first).await;
    first.stop(Duration::ZERO).await.unwrap();
    let second = durable(&dir).bind().await.unwrap();
    assert!(second.store().snapshot().bucket("items").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_told() {
    let first = memory().bind().await.unwrap();
    let Err(refused) = memory().port(address(&first).port()).bind().await.map(drop) else {
        panic!("two on one port")
    };
    assert_eq!(refused.code(), "LISTEN");
    assert!(refused.to_string().contains(&address(&first).to_string()), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_in_one_process_do_not_know_each_other() {
    let (one, other) = (memory().bind().await.unwrap(), memory().bind().await.unwrap());
    define_items(&one).await;
    define_items(&other).await;
    let mut on_one = Client::connect(address(&one)).await;
    let mut on_other = Client::connect(address(&other)).await;
    let watched = common::subscribe(&mut on_other, "item-count").await;
    on_one.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    assert_eq!(on_other.data(json!({"type": "store.count", "bucket": "items"})).await, 0);
    assert_eq!((one.connection_count(), other.connection_count()), (1, 1));
    let stop = tokio::spawn(async move { one.stop(Duration::ZERO).await });
    assert_eq!(on_one.closed().await, (1000, "server_shutdown".to_owned()));
    drop(on_one);
    finished(stop).await;
    on_other.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    assert_eq!(on_other.push(&watched).await, 1, "the first push: nothing came from the other server");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_server_frees_its_port_its_data_and_its_connections() {
    let dir = tempfile::tempdir().unwrap();
    let server = durable(&dir).bind().await.unwrap();
    define_items(&server).await;
    let address = address(&server);
    let mut client = Client::connect(address).await;
    let mut idle = Raw::connect(address).await;
    idle.write(&UPGRADE.as_bytes()[..20]).await;
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    drop(server);
    assert_eq!(client.closed().await, (1000, "server_shutdown".to_owned()));
    idle.ended().await;
    drop(client);
    let again = async || durable(&dir).port(address.port()).bind().await;
    let mut second = None;
    eventually("port and data are free", async || {
        second = again().await.ok();
        second.is_some()
    })
    .await;
    assert_eq!(second.unwrap().store().snapshot().bucket("items").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_stopped_leaves_no_task_behind() {
    let tasks = tokio::runtime::Handle::current().metrics();
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(address(&server)).await;
        common::subscribe(&mut client, "all-items").await;
        clients.push(client);
    }
    let reading = tokio::spawn(async move {
        for client in &mut clients {
            client.closed().await;
        }
    });
    server.stop(Duration::ZERO).await.unwrap();
    reading.await.unwrap();
    eventually("all have ended", async || tasks.num_alive_tasks() == 0).await;
}
