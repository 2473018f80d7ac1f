//! What a panic costs: `docs/actors.md`, "When one panics", sentence by sentence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::{Client, address, define_items, eventually, http_get, memory};
use dunlin_journal::{Batch, Description, Journal, JournalError, MemoryJournal};
use dunlin_server::{Access, Authentication, Login, ServeError, Session};
use dunlin_store::Snapshot;
use serde_json::json;

/// A journal that panics or fails when it is told to: before the append has any effect, or right after it is durable.
struct Panicking {
    inner: MemoryJournal,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    before: AtomicBool,
    after: AtomicBool,
    always: AtomicBool,
    fail_before: AtomicBool,
    fail_after: AtomicBool,
    unreadable: AtomicBool,
    /// A recovery takes for as long as this is set (and a test can wait).
    slow: AtomicBool,
    recoveries: AtomicU32,
}

impl Journal for Panicking {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        self.faults.recoveries.fetch_add(1, Ordering::SeqCst);
        let begun = std::time::Instant::now();
        while self.faults.slow.load(Ordering::SeqCst) && begun.elapsed() < 2 * common::PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if self.faults.unreadable.load(Ordering::SeqCst) {
            return Err(out_of_service());
        }
        self.inner.recover()
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        let told = self.faults.before.swap(false, Ordering::SeqCst);
        assert!(!told && !self.faults.always.load(Ordering::SeqCst), "told to panic before the append");
        if self.faults.fail_before.swap(false, Ordering::SeqCst) {
            return Err(out_of_service());
        }
        self.inner.append(batch)?;
        if self.faults.fail_after.swap(false, Ordering::SeqCst) {
            return Err(out_of_service());
        }
        assert!(!self.faults.after.swap(false, Ordering::SeqCst), "told to panic after the append");
        Ok(())
    }

    fn blocks(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

fn out_of_service() -> JournalError {
    JournalError::Poisoned { dir: "somewhere".into() }
}

fn panicking() -> (Panicking, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    (Panicking { inner: MemoryJournal::new("test"), faults: Arc::clone(&faults) }, faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_one_connections_handler_costs_that_connection_only() {
    let server = memory()
        .authenticator(|login: Login| async move {
            Authentication::Ok(Some(Session::new(login.token).with_role("admin")))
        })
        .permissions(|access: &Access<'_>| {
            assert!(
                !(access.session.user_id == "victim" && access.operation == "store.clear"),
                "a buggy callback"
            );
            true
        })
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let mut other = Client::connect(address(&server)).await;
    other.data(json!({"type": "auth.login", "token": "other"})).await;
    let watched = other.data(json!({"type": "store.subscribe", "query": "all-items"})).await;

    let mut victim = Client::connect(address(&server)).await;
    victim.data(json!({"type": "auth.login", "token": "victim"})).await;
    victim.data(json!({"type": "store.subscribe", "query": "all-items"})).await;
    victim.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
    assert_eq!(server.stats().await.unwrap()["connections"]["totalStoreSubscriptions"], 3);

    victim.send(json!({"type": "store.clear", "bucket": "items"})).await;
    assert_eq!(victim.closed().await, (1011, "internal_error".to_owned()));
    eventually("the victim's place and subscriptions are freed", async || {
        let stats = server.stats().await.unwrap();
        stats["connections"]["active"] == 1 && stats["store"]["queries"]["activeSubscriptions"] == 1
    })
    .await;

    other.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    let push = other.push(&watched["subscriptionId"]).await;
    assert_eq!(push[0]["n"], 1);
    server.stop(std::time::Duration::ZERO).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_before_the_append_brings_the_store_back_with_everything_acknowledged() {
    let (journal, faults) = panicking();
    let server = memory().journal(journal).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let watched = client.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
    for n in 0..10 {
        client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": n}})).await;
    }
    faults.before.store(true, Ordering::SeqCst);
    let lost = client.call(json!({"type": "store.insert", "bucket": "items", "data": {"n": 10}})).await;
    assert_eq!(lost["code"], "INTERNAL_ERROR");
    assert!(lost["message"].as_str().unwrap().contains("may or may not have happened"), "{lost}");

    let count = json!({"type": "store.count", "bucket": "items"});
    assert_eq!(
        client.data(count.clone()).await,
        10,
        "nothing acknowledged is lost, nothing refused is there"
    );
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 11}})).await;
    assert_eq!(client.data(count).await, 11);
    eventually("the live query goes on", async || client.push(&watched["subscriptionId"]).await == 11).await;
    assert!(faults.recoveries.load(Ordering::SeqCst) >= 2, "the state came from the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_between_append_and_publish_shows_what_the_journal_holds() {
    let (journal, faults) = panicking();
    let server = memory().journal(journal).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let watched = client.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
    let mut events = server.events("bucket.items.*");
    faults.after.store(true, Ordering::SeqCst);
    assert_eq!(
        client.code(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await,
        "INTERNAL_ERROR"
    );
    // The write was durable though it could not be acknowledged: it is there, and subscribers learn of it.
    assert_eq!(client.push(&watched["subscriptionId"]).await, 1);
    assert_eq!(client.data(json!({"type": "store.count", "bucket": "items"})).await, 1);
    // Nobody can tell a listener what that commit did, but that there was one.
    assert_eq!(events.next().await.unwrap().unwrap_err().commits, 1);
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"id": "next"}})).await;
    assert_eq!(events.next().await.unwrap().unwrap().key, "next");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_a_query_that_became_another_one_unseen_is_told() {
    let (journal, faults) = panicking();
    let server = memory().journal(journal).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let watched = client.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
    let same = client.data(json!({"type": "store.subscribe", "query": "all-items"})).await;
    faults.after.store(true, Ordering::SeqCst);
    // One batch and one append: it is kept, and nobody is told what it did.
    let undefine = json!({"type": "store.undefineQuery", "name": "item-count"});
    let config = json!({"bucket": "items", "aggregate": {"function": "sum", "field": "n"}});
    let define = json!({"type": "store.defineQuery", "name": "item-count", "config": config});
    for id in client.send_all([undefine, define]).await {
        assert_eq!(client.answer(id).await["code"], "INTERNAL_ERROR");
    }
    let ended = client.system().await;
    assert_eq!(ended["event"], "subscription_ended");
    assert_eq!(ended["subscriptionId"], watched["subscriptionId"]);
    assert_eq!(ended["code"], "QUERY_NOT_DEFINED");
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
    assert_eq!(client.push(&same["subscriptionId"]).await[0]["n"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_comes_back_clients_come_and_go() {
    let (journal, faults) = panicking();
    let server = common::memory_with(|config| config.max_connections_per_ip = std::num::NonZeroUsize::new(2))
        .journal(journal)
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let mut writer = Client::connect(address(&server)).await;
    faults.slow.store(true, Ordering::SeqCst);
    faults.before.store(true, Ordering::SeqCst);
    writer.data(json!({"type": "store.buckets"})).await;
    let insert = json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}});
    assert_eq!(writer.code(insert.clone()).await, "INTERNAL_ERROR");
    eventually("the store comes back", async || faults.recoveries.load(Ordering::SeqCst) >= 2).await;
    // It takes its time. Reads and live queries are served, and whoever leaves makes place for another one.
    for _ in 0..5 {
        let mut client = Client::connect(address(&server)).await;
        client.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
        client.close().await;
        eventually("the place is free", async || server.connection_count() == 1).await;
        let stats = server.stats().await.unwrap();
        assert_eq!(stats["connections"]["totalStoreSubscriptions"], 0);
    }
    faults.slow.store(false, Ordering::SeqCst);
    writer.data(insert).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_again_and_again_ends_the_server_and_says_so() {
    let (journal, faults) = panicking();
    let server = memory().journal(journal).bind().await.unwrap();
    define_items(&server).await;
    let address = address(&server);
    let running = tokio::spawn(server.run_until(std::future::pending()));
    let mut client = Client::connect(address).await;
    faults.always.store(true, Ordering::SeqCst);
    // One at a time, so that each is a group of its own and a failure of its own.
    let mut failures = 0;
    loop {
        client.send(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
        match client.next().await {
            Some(answer) => assert_eq!(answer["code"], "INTERNAL_ERROR", "{answer}"),
            None => break,
        }
        failures += 1;
        assert!(failures <= dunlin_server::limits::RESTARTS + 1, "it goes on for ever");
    }
    assert_eq!(client.closed().await, (1011, "internal_error".to_owned()));
    let ended = tokio::time::timeout(common::PATIENCE, running).await.expect("ends").unwrap();
    assert!(matches!(ended, Err(ServeError::Broken(_))), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_append_the_journal_says_what_happened() {
    let (journal, faults) = panicking();
    let server = memory().journal(journal).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let insert = |n: u64| json!({"type": "store.insert", "bucket": "items", "data": {"n": n}});
    let count = json!({"type": "store.count", "bucket": "items"});
    client.data(insert(1)).await;

    // It failed before anything was written: the writer is told so, and it is so.
    faults.fail_before.store(true, Ordering::SeqCst);
    let refused = client.call(insert(2)).await;
    assert!(refused["message"].as_str().unwrap().contains("was not done"), "{refused}");
    assert_eq!(client.data(count.clone()).await, 1);

    // It failed after everything was durable: then the write has happened, and is acknowledged.
    faults.fail_after.store(true, Ordering::SeqCst);
    assert_eq!(client.data(insert(3)).await["n"], 3);
    assert_eq!(client.data(count.clone()).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_journal_is_out_of_order_reads_go_on_and_writes_come_back_with_it() {
    let (journal, faults) = panicking();
    let server = memory().journal(journal).bind().await.unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let insert = |n: u64| json!({"type": "store.insert", "bucket": "items", "data": {"n": n}});
    let count = json!({"type": "store.count", "bucket": "items"});
    client.data(insert(1)).await;

    faults.unreadable.store(true, Ordering::SeqCst);
    faults.fail_before.store(true, Ordering::SeqCst);
    let doubtful = client.call(insert(2)).await;
    assert!(doubtful["message"].as_str().unwrap().contains("may or may not have happened"), "{doubtful}");
    assert_eq!(client.code(insert(3)).await, "INTERNAL_ERROR");
    assert_eq!(client.data(count.clone()).await, 1);

    faults.unreadable.store(false, Ordering::SeqCst);
    // It is tried again from time to time.
    let ready = async || http_get(address(&server), "/ready").await.starts_with("HTTP/1.1 200 ");
    eventually("the journal is in order", ready).await;
    client.data(insert(4)).await;
    assert_eq!(client.data(count).await, 2);
}
