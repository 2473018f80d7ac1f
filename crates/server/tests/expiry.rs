//! Records with a time: they leave by push, also after a restart, and what cannot leave holds nobody up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Client, PATIENCE, address, eventually, memory, metric, subscribe};
use dunlin_journal::{Batch, Description, Journal, JournalError, MemoryJournal};
use dunlin_server::limits::EXPIRY_GROUP;
use dunlin_server::{EventKind, Removal, Server, StoreHandle};
use dunlin_store::Snapshot;
use serde_json::{Value, json};

/// Far enough away not to come during a test.
const FAR: u64 = 3_600_000;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// `sessions` live an hour if nobody says otherwise; `visits` refer to them and keep them from leaving.
async fn define(store: &StoreHandle) {
    let sessions =
        json!({"key": "id", "ttl": "1h", "schema": {"id": {"type": "string"}, "n": {"type": "number"}}});
    store.define_bucket("sessions", sessions).await.unwrap();
    let visits = json!({"key": "id", "schema": {
        "id": {"type": "string"},
        "session": {"type": "string", "ref": "sessions", "onDelete": "restrict"},
    }});
    store.define_bucket("visits", visits).await.unwrap();
    store.define_query("sessions", json!({"bucket": "sessions"})).await.unwrap();
}

async fn with_sessions() -> Server {
    let server = memory().bind().await.unwrap();
    define(&server.store()).await;
    server
}

/// A session that ends in so many milliseconds.
async fn session(store: &StoreHandle, id: &str, ms: u64) -> u64 {
    let end = now() + ms;
    store.insert("sessions", json!({"id": id, "_expiresAt": end})).await.unwrap();
    end
}

fn sessions(store: &StoreHandle) -> usize {
    store.snapshot().bucket("sessions").unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_leaves_by_push_when_its_time_is_over() {
    let server = with_sessions().await;
    let store = server.store();
    let mut client = Client::connect(address(&server)).await;
    let stamped =
        client.data(json!({"type": "store.insert", "bucket": "sessions", "data": {"id": "stays"}})).await;
    assert_eq!(stamped["_expiresAt"], json!(stamped["_createdAt"].as_u64().unwrap() + FAR));
    let subscription = subscribe(&mut client, "sessions").await;
    let mut events = server.events("bucket.sessions.deleted");
    // The later one first: the timer has to be set anew for the earlier one.
    let late = session(&store, "late", 400).await;
    let early = session(&store, "early", 200).await;
    let mut left = Vec::new();
    for end in [early, late] {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        assert!(now() >= end, "never before its time");
        let EventKind::Deleted { cause, .. } = event.kind else { panic!("{event:?}") };
        assert_eq!(cause, Removal::Expired);
        left.push(event.key);
    }
    assert_eq!(left, ["early", "late"]);
    let mut push = client.push(&subscription).await;
    while push.as_array().unwrap().len() != 1 {
        push = client.push(&subscription).await;
    }
    assert_eq!(push[0]["id"], "stays");
    assert_eq!(metric(address(&server), "dunlin_expired_records_total").await, 2);
    let stats = client.data(json!({"type": "store.stats"})).await;
    assert_eq!(stats["ttl"], json!({"enabled": true, "checkIntervalMs": 1000}));
}

#[tokio::test(flavor = "multi_thread")]
async fn w19_a_transaction_gives_a_record_its_time_too() {
    let server = with_sessions().await;
    let mut client = Client::connect(address(&server)).await;
    let subscription = subscribe(&mut client, "sessions").await;
    let operations = json!([
        {"op": "insert", "bucket": "sessions", "data": {"id": "hour"}},
        {"op": "insert", "bucket": "sessions", "data": {"id": "soon", "_expiresAt": now() + 100}},
    ]);
    let results = client.data(json!({"type": "store.transaction", "operations": operations})).await;
    let hour = &results["results"][0]["data"];
    assert_eq!(hour["_expiresAt"], json!(hour["_createdAt"].as_u64().unwrap() + FAR));
    assert_eq!(client.push(&subscription).await.as_array().unwrap().len(), 2);
    assert_eq!(client.push(&subscription).await.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_can_give_a_record_more_time() {
    let server = with_sessions().await;
    let store = server.store();
    session(&store, "kept", 150).await;
    store.update("sessions", json!("kept"), json!({"_expiresAt": now() + FAR})).await.unwrap();
    session(&store, "other", 200).await;
    eventually("the other one leaves", async || sessions(&store) == 1).await;
    assert!(store.snapshot().bucket("sessions").unwrap().get(&json!("kept")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_survives_a_restart_also_one_that_passes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::builder().data_dir(dir.path()).port(0).bind();
    let server = start().await.unwrap();
    let store = server.store();
    define(&store).await;
    let past = session(&store, "past", 50).await;
    session(&store, "future", 1500).await;
    session(&store, "far", FAR).await;
    server.stop(Duration::ZERO).await.unwrap();
    drop((server, store));
    tokio::time::sleep(Duration::from_millis(past.saturating_sub(now()) + 1)).await;

    let server = start().await.unwrap();
    let store = server.store();
    let mut client = Client::connect(address(&server)).await;
    eventually("the one whose time passed while nobody was there", async || sessions(&store) <= 2).await;
    let watched = client.data(json!({"type": "store.subscribe", "query": "sessions"})).await;
    if watched["data"].as_array().unwrap().len() == 2 {
        let push = client.push(&watched["subscriptionId"]).await;
        assert_eq!((push.as_array().unwrap().len(), &push[0]["id"]), (1, &json!("far")));
    }
    server.stop(Duration::ZERO).await.unwrap();
    drop((server, store));
    let server = start().await.unwrap();
    assert_eq!(sessions(&server.store()), 1, "an expiry is as durable as any write");
    server.stop(Duration::ZERO).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_others_hold_stays_and_goes_when_it_is_free() {
    let server = with_sessions().await;
    let store = server.store();
    let mut client = Client::connect(address(&server)).await;
    // More of them than one group commit tries, and all of them due before the free one.
    let held: Vec<Value> = (0..EXPIRY_GROUP + 50)
        .map(|n| json!({"id": format!("held{n}"), "_expiresAt": now() + 100}))
        .collect();
    let visits: Vec<Value> =
        (0..held.len()).map(|n| json!({"id": format!("v{n}"), "session": format!("held{n}")})).collect();
    let count = held.len();
    store.insert_many("sessions", held).await.unwrap();
    store.insert_many("visits", visits).await.unwrap();
    session(&store, "free", 150).await;
    let gone = |id: &'static str| store.snapshot().bucket("sessions").unwrap().get(&json!(id)).is_none();
    eventually("the free one leaves", async || gone("free")).await;
    assert_eq!(sessions(&store), count, "none of those that are held");
    session(&store, "later", 1).await;
    eventually("others leave while they stay", async || gone("later")).await;
    let refused = client.call(json!({"type": "store.delete", "bucket": "sessions", "key": "held0"})).await;
    assert_eq!(refused["code"], "CONFLICT", "{refused}");
    assert_eq!(store.delete_many("visits", json!({"id": {"$neq": "v7"}})).await.unwrap(), count - 1);
    eventually("the free ones leave", async || sessions(&store) == 1).await;
    assert!(!gone("held7"));
    store.delete("visits", json!("v7")).await.unwrap();
    eventually("the last one leaves", async || sessions(&store) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_writers_do_not_keep_records_from_expiring_nor_the_other_way_round() {
    let server = with_sessions().await;
    let store = server.store();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, stop) = (server.store(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut written = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let id = format!("{writer}-{}", written % 10);
                    store.upsert("visits", json!({"id": id})).await.unwrap();
                    written += 1;
                }
                written
            })
        })
        .collect();
    let end = now() + 100;
    let many: Vec<Value> =
        (0..5 * EXPIRY_GROUP).map(|n| json!({"id": format!("s{n}"), "_expiresAt": end})).collect();
    store.insert_many("sessions", many).await.unwrap();
    let before = store.snapshot().position();
    eventually("all of them leave", async || sessions(&store) == 0).await;
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    let removed = 5 * EXPIRY_GROUP as u64;
    assert!(written > 0 && store.snapshot().position() > before + removed, "writes went on meanwhile");
}

/// A journal that can be told to refuse.
struct Moody {
    inner: MemoryJournal,
    refuses: Arc<AtomicBool>,
    appends: Arc<AtomicU64>,
}

impl Journal for Moody {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        self.inner.recover()
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(JournalError::Poisoned { dir: "somewhere".into() });
        }
        self.inner.append(batch)
    }

    fn blocks(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_refuses_is_not_asked_again_and_again() {
    let (refuses, appends) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let journal = Moody {
        inner: MemoryJournal::new("test"),
        refuses: Arc::clone(&refuses),
        appends: Arc::clone(&appends),
    };
    let server = memory().journal(journal).bind().await.unwrap();
    let store = server.store();
    define(&store).await;
    session(&store, "a", 100).await;
    refuses.store(true, Ordering::SeqCst);
    let before = appends.load(Ordering::SeqCst);
    eventually("it was tried", async || appends.load(Ordering::SeqCst) > before).await;
    let tried = tokio::time::Instant::now();
    eventually("it was tried again", async || appends.load(Ordering::SeqCst) > before + 1).await;
    assert!(tried.elapsed() > Duration::from_millis(500), "not at once");
    assert_eq!(sessions(&store), 1, "what is not durable has not happened");
    refuses.store(false, Ordering::SeqCst);
    eventually("it leaves when the journal works again", async || sessions(&store) == 0).await;
}
