//! A disk that is full, does not sync or may not be written while the server runs: writers get an error, everything else goes on,
//! and when the disk is well again so is the server, by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod common;
#[path = "full_disk/disk.rs"]
mod disk;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Client, address, define_items, eventually, http_get, metric, subscribe};
use disk::{BadDisk, Faults};
use dunlin_journal::{
    Batch, Description, DiskJournal, Durability, FileJournal, Journal, JournalError, Options, Past,
};
use dunlin_server::Server;
use dunlin_store::Snapshot;
use serde_json::{Value, json};

/// What befalls the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Full,
    SyncFails,
    ReadOnly,
}

impl Trouble {
    fn begin(self, faults: &Faults, used: u64) {
        match self {
            Self::Full => faults.budget.store(used, Ordering::SeqCst),
            Self::SyncFails => faults.sync_fails.store(true, Ordering::SeqCst),
            Self::ReadOnly => faults.read_only.store(true, Ordering::SeqCst),
        }
    }

    fn end(self, faults: &Faults) {
        match self {
            Self::Full => faults.budget.store(u64::MAX, Ordering::SeqCst),
            Self::SyncFails => faults.sync_fails.store(false, Ordering::SeqCst),
            Self::ReadOnly => faults.read_only.store(false, Ordering::SeqCst),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Full => "JOURNAL_DISK_FULL",
            Self::SyncFails => "JOURNAL_IO",
            Self::ReadOnly => "JOURNAL_PERMISSION",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Full => "the server's disk is full",
            Self::SyncFails => "the server's disk has failed",
            Self::ReadOnly => "the server may not write to its disk",
        }
    }
}

/// The journal of a server, which its test can get at.
struct Shared(Arc<DiskJournal>);

impl Journal for Shared {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        self.0.recover()
    }

    fn take_past(&self) -> Option<Past> {
        self.0.take_past()
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        self.0.append(batch)
    }

    fn when_failed(&self, tell: Box<dyn Fn() + Send + Sync>) {
        self.0.when_failed(tell);
    }

    fn blocks(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        self.0.describe()
    }
}

/// A server on a disk that can get bad.
struct World {
    server: Server,
    journal: Arc<DiskJournal>,
    disk: Arc<BadDisk>,
}

impl World {
    async fn start(dir: &Path, durability: Durability) -> Self {
        let disk = Arc::new(BadDisk::new(dir));
        let mut options = Options::new(durability, "first");
        options.sizes.reserve_bytes = 4096;
        let journal = Arc::new(DiskJournal::open(Arc::<BadDisk>::clone(&disk), &options).unwrap());
        let server = Server::builder().port(0).journal(Shared(Arc::clone(&journal))).bind().await.unwrap();
        Self { server, journal, disk }
    }

    async fn ready(&self) -> String {
        http_get(address(&self.server), "/ready").await
    }
}

fn insert(id: &str) -> Value {
    let data = json!({"id": id, "n": 1, "tag": "x".repeat(500)});
    json!({"type": "store.insert", "bucket": "items", "data": data})
}

fn keyed(mut request: Value) -> Value {
    request["idempotencyKey"] = json!("key");
    request
}

async fn ids(client: &mut Client) -> Vec<String> {
    names(&client.data(json!({"type": "store.all", "bucket": "items"})).await)
}

fn names(records: &Value) -> Vec<String> {
    records.as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

/// What the directory holds after the server, in a process without any of the faults.
fn reopened(dir: &Path) -> Vec<String> {
    let journal = FileJournal::open(dir, &Options::new(Durability::Group, "other")).unwrap();
    let state = journal.recover().unwrap();
    assert_eq!(state.epoch(), "first");
    let records = state.bucket("items").unwrap().iter().map(|record| record.to_value()["id"].clone());
    records.map(|id| id.as_str().unwrap().to_owned()).collect()
}

async fn a_bad_disk_is_outlived(trouble: Trouble, durability: Durability) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), durability).await;
    let at = address(&world.server);
    define_items(&world.server).await;
    let mut client = Client::connect(at).await;
    client.answer_pings = true;
    let mut watcher = Client::connect(at).await;
    watcher.answer_pings = true;
    let subscription = subscribe(&mut watcher, "all-items").await;
    let mut there = vec!["kept".to_owned()];
    client.data(insert("kept")).await;
    assert_eq!(names(&watcher.push(&subscription).await), there);

    // The disk gets bad. Space that was taken ahead, and writes that need no sync, are no lie: what is acknowledged is there.
    trouble.begin(&world.disk.faults, world.disk.used());
    let silent = trouble == Trouble::SyncFails && durability != Durability::Group;
    let mut first = Value::Null;
    for n in 0..100 {
        let id = format!("n{n}");
        let answer = client.call(insert(&id)).await;
        if answer["type"] == "error" {
            first = answer;
            break;
        }
        there.push(id);
        if silent {
            // What the thread of a `FileJournal` does after the interval.
            world.journal.sync().unwrap_err();
            break;
        }
    }
    eventually("the server knows", async || world.ready().await.starts_with("HTTP/1.1 503 ")).await;
    let ready = world.ready().await;
    assert!(
        ready.contains(&format!("storage: writes cannot be made durable ({})", trouble.code())),
        "{ready}"
    );
    assert!(http_get(at, "/health").await.starts_with("HTTP/1.1 200 "));
    let position = world.server.store().snapshot().position();

    // Writers are told what is wrong and what to do.
    let transfer = json!([
        {"op": "update", "bucket": "items", "key": "kept", "data": {"n": 2}},
        {"op": "insert", "bucket": "items", "data": {"id": "other"}},
    ]);
    let writes = [
        keyed(insert("keyed")),
        json!({"type": "store.transaction", "operations": transfer}),
        json!({"type": "store.delete", "bucket": "items", "key": "kept"}),
        json!({"type": "store.defineQuery", "name": "new", "config": {"bucket": "items"}}),
    ];
    let mut refused: Vec<Value> = Some(first).filter(|first| !first.is_null()).into_iter().collect();
    assert_eq!(refused.is_empty(), silent, "a write that was not made durable was acknowledged");
    for write in writes {
        refused.push(client.call(write).await);
    }
    for answer in refused {
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("error"), &json!("INTERNAL_ERROR")),
            "{answer}"
        );
        assert_eq!(answer["details"], json!({"storage": trouble.code()}));
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(trouble.in_words()) && message.contains("repeat it"), "{message}");
        assert!(!message.contains(dir.path().to_str().unwrap()), "clients need not know: {message}");
    }

    // Nothing of it is seen, and whoever reads notices nothing.
    assert_eq!(ids(&mut client).await, there);
    assert_eq!(client.data(json!({"type": "store.get", "bucket": "items", "key": "kept"})).await["n"], 1);
    if there.len() > 1 {
        // Several may have come as one.
        while names(&watcher.push(&subscription).await) != there {}
    }
    let another = watcher.data(json!({"type": "store.subscribe", "query": "item-count"})).await;
    assert_eq!(another["data"], there.len());
    watcher.silent().await;
    assert!(metric(at, "dunlin_journal_failures_total").await > 0 || silent);

    // The disk is well again, and nobody writes.
    trouble.end(&world.disk.faults);
    eventually("the server has recovered", async || world.ready().await.starts_with("HTTP/1.1 200 ")).await;
    assert_eq!(ids(&mut client).await, there);
    assert_eq!(world.server.store().snapshot().position(), position, "nothing has happened");
    watcher.silent().await;

    // The key is free: another request may have it.
    there.push("another".to_owned());
    let written = client.data(keyed(insert("another"))).await;
    assert_eq!(client.data(keyed(insert("another"))).await, written);
    assert_eq!(names(&watcher.push(&subscription).await), there);
    assert_eq!(watcher.push(&another["subscriptionId"]).await, there.len());
    world.server.stop(Duration::ZERO).await.unwrap();
    drop(world);
    assert_eq!(reopened(dir.path()), there);
}

const INTERVAL: Durability = Durability::Interval(Duration::from_millis(1));

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_outlived() {
    a_bad_disk_is_outlived(Trouble::Full, Durability::Group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_outlived_with_syncs_in_the_background() {
    a_bad_disk_is_outlived(Trouble::Full, INTERVAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_sync_is_outlived() {
    a_bad_disk_is_outlived(Trouble::SyncFails, Durability::Group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_sync_in_the_background_is_noticed_and_outlived() {
    a_bad_disk_is_outlived(Trouble::SyncFails, INTERVAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_read_only_is_outlived() {
    a_bad_disk_is_outlived(Trouble::ReadOnly, Durability::Group).await;
    a_bad_disk_is_outlived(Trouble::ReadOnly, INTERVAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_server_that_ends_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), Durability::Group).await;
    define_items(&world.server).await;
    let mut client = Client::connect(address(&world.server)).await;
    Trouble::Full.begin(&world.disk.faults, world.disk.used());
    let mut there = Vec::new();
    for n in 0..100 {
        let id = format!("n{n}");
        if client.call(insert(&id)).await["type"] == "error" {
            break;
        }
        there.push(id);
    }
    assert!(there.len() < 100, "it is full");
    client.code(insert("refused")).await;
    world.server.stop(Duration::ZERO).await.unwrap();
    drop(world);
    assert_eq!(reopened(dir.path()), there);
}

#[test]
fn a_directory_that_may_not_be_written_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(Durability::Group, "first");
    let refused = || {
        let disk = BadDisk::new(dir.path());
        disk.faults.read_only.store(true, Ordering::SeqCst);
        let error = DiskJournal::open(Arc::new(disk), &options).unwrap_err();
        assert_eq!(error.code(), "JOURNAL_PERMISSION", "{error}");
        assert!(error.to_string().contains("make it writable for the user of this process"), "{error}");
    };
    refused();
    DiskJournal::open(Arc::new(BadDisk::new(dir.path())), &options).unwrap();
    refused();
}
