//! A server with rules whose clock, journal and services the test holds.
#![allow(dead_code, reason = "not every test needs all of it")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dunlin_journal::{Batch, Description, Durability, FileJournal, Journal, JournalError, Options, Past};
use dunlin_server::{RulesOptions, Server, ServerBuilder, ServiceError};
use dunlin_store::Snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What befalls the journal.
#[derive(Default)]
pub struct Faults {
    pub fail_before: AtomicBool,
    pub fail_after: AtomicBool,
    pub panic_before: AtomicBool,
    pub panic_after: AtomicBool,
    /// Commits of each append.
    pub appends: Mutex<Vec<usize>>,
}

struct Faulty {
    inner: FileJournal,
    faults: Arc<Faults>,
}

impl Journal for Faulty {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        self.inner.recover()
    }

    fn take_past(&self) -> Option<Past> {
        self.inner.take_past()
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        let told = |what: &AtomicBool| what.swap(false, Ordering::SeqCst);
        assert!(!told(&self.faults.panic_before), "told to panic before the append");
        let broken = || JournalError::Poisoned { dir: "told to fail".into() };
        if told(&self.faults.fail_before) {
            return Err(broken());
        }
        let commits = batch.commits.len();
        self.inner.append(batch)?;
        self.faults.appends.lock().unwrap().push(commits);
        assert!(!told(&self.faults.panic_after), "told to panic after the append");
        if told(&self.faults.fail_after) { Err(broken()) } else { Ok(()) }
    }

    fn when_failed(&self, tell: Box<dyn Fn() + Send + Sync>) {
        self.inner.when_failed(tell);
    }

    fn blocks(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

/// What stays when a server is gone.
pub struct World {
    _dir: TempDir,
    data: PathBuf,
    pub faults: Arc<Faults>,
    /// Unix milliseconds.
    pub now: Arc<AtomicU64>,
    /// What the service `s` was called with, in order.
    pub calls: Arc<Mutex<Vec<Value>>>,
    /// So many calls of it fail.
    pub failing: Arc<AtomicUsize>,
}

impl World {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self {
            data: dir.path().join("data"),
            _dir: dir,
            faults: Arc::default(),
            now: Arc::new(AtomicU64::new(1_800_000_000_000)),
            calls: Arc::default(),
            failing: Arc::default(),
        }
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn builder(&self) -> ServerBuilder {
        let inner = FileJournal::open(&self.data, &Options::new(Durability::Group, "first")).unwrap();
        let journal = Faulty { inner, faults: Arc::clone(&self.faults) };
        let (now, calls, failing) =
            (Arc::clone(&self.now), Arc::clone(&self.calls), Arc::clone(&self.failing));
        let clock = move || now.load(Ordering::SeqCst);
        Server::builder()
            .port(0)
            .journal(journal)
            .clock(clock)
            .rules(RulesOptions::on())
            .service("s", "note", move |args: Vec<Value>| {
                calls.lock().unwrap().push(args.into());
                let fails =
                    failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
                async move { if fails { Err(ServiceError::again("not now")) } else { Ok(json!("noted")) } }
            })
            .service("s", "hangs", |_| std::future::pending())
            .service("s", "panics", |_| async { panic!("on purpose") })
            .service("s", "level", |args: Vec<Value>| async move {
                let gold = args.first() == Some(&json!("ada"));
                Ok(json!({"level": if gold { "gold" } else { "none" }}))
            })
    }

    pub async fn start(&self) -> Server {
        self.builder().bind().await.unwrap()
    }

    /// Time passes.
    pub fn pass(&self, time: Duration) {
        self.now.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// The server ends like a process that is killed: nothing is worked off, and its data can be opened again.
    pub async fn kill(&self, server: Server) {
        drop(server);
        super::common::eventually("the data are free", async || {
            FileJournal::open(&self.data, &Options::new(Durability::Group, "first")).is_ok()
        })
        .await;
    }

    pub fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap().clone()
    }
}

/// A rule on events of a topic.
pub fn on(id: &str, topic: &str, actions: Value) -> Value {
    json!({"id": id, "name": id, "trigger": {"type": "event", "topic": topic}, "actions": actions})
}

/// An action that sets a fact to the number of times that it was carried out, told by a record: exactly once must mean once.
pub fn count(bucket: &str) -> Value {
    json!({"type": "store_insert", "bucket": bucket, "data": {"of": {"ref": "event.id"}}})
}

pub fn fact(key: &str, value: Value) -> Value {
    json!({"type": "set_fact", "key": key, "value": value})
}

/// A bucket in which rules note what they did.
pub async fn define_notes(server: &Server) {
    let schema = json!({"id": {"type": "string", "generated": "uuid"}, "of": {"type": "any"}});
    server.store().define_bucket("notes", json!({"key": "id", "schema": schema})).await.unwrap();
}

/// What stands there, in order.
pub fn notes(server: &Server) -> Vec<Value> {
    let snapshot = server.store().snapshot();
    let notes = snapshot.bucket("notes").unwrap();
    notes.iter().map(|note| note.to_value()["of"].clone()).collect()
}
