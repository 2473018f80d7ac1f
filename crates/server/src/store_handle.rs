//! The door to the store for everybody in this process: connections, and services that embed the server.

use std::sync::Arc;

use dunlin_protocol::TopicPattern;
use dunlin_store::{Intent, Outcome, Record, Snapshot, Step};
use ractor::ActorRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::events::{EventBus, Events};
use crate::limits;
use crate::published::Published;
use crate::rules::Work;
use crate::store_actor::{StoreMessage, WriteError, WriteGroup, Written};
use crate::typed::TypedBucket;

/// Reads and writes the store of a running server from the same process. Cheap to clone.
///
/// Writes go the same way as those of clients: an answer means durable. Permissions do not apply; the embedder is trusted.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dunlin_server::Server;
/// use serde_json::json;
///
/// let server = Server::builder().memory().port(0).bind().await?;
/// let store = server.store();
/// store.define_bucket("notes", json!({"key": "id", "schema": {"id": {"type": "string"}, "text": {"type": "string"}}})).await?;
/// let record = store.insert("notes", json!({"id": "n1", "text": "hello"})).await?;
/// assert_eq!(record.version(), 1);
/// assert_eq!(store.snapshot().bucket("notes")?.len(), 1);
/// server.stop(std::time::Duration::ZERO).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StoreHandle {
    published: Arc<Published>,
    events: Arc<EventBus>,
    /// The running `StoreActor`; `None` while it is being restarted.
    actor: watch::Receiver<Option<ActorRef<StoreMessage>>>,
    embedded: Arc<Semaphore>,
}

impl StoreHandle {
    pub(crate) fn new(
        published: Arc<Published>,
        events: Arc<EventBus>,
        actor: watch::Receiver<Option<ActorRef<StoreMessage>>>,
    ) -> Self {
        Self { published, events, actor, embedded: Arc::new(Semaphore::new(limits::EMBEDDED_WRITES)) }
    }

    /// The newest durable state. It does not change any more: take a new one to see later writes.
    pub fn snapshot(&self) -> Snapshot {
        self.published.snapshot()
    }

    /// What happens to records from now on, as far as its topic `bucket.<name>.<inserted|updated|deleted>` matches `pattern`:
    /// `bucket.users.*`, `bucket.*.deleted`, `*`. See [`TopicPattern::matches_change`] about buckets with dots in their names.
    ///
    /// An event is told after its commit is durable and visible, in commit order.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use dunlin_server::{EventKind, Server};
    /// # use serde_json::json;
    /// # let server = Server::builder().memory().port(0).bind().await?;
    /// # let store = server.store();
    /// # store.define_bucket("notes", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await?;
    /// let mut events = store.events("bucket.notes.*");
    /// store.insert("notes", json!({"id": "n1"})).await?;
    /// store.delete("notes", json!("n1")).await?;
    /// for expected in ["bucket.notes.inserted", "bucket.notes.deleted"] {
    ///     let event = events.next().await.ok_or("the server has stopped")??;
    ///     assert_eq!((event.topic().as_str(), &event.key), (expected, &json!("n1")));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self, pattern: impl Into<TopicPattern>) -> Events {
        self.events.subscribe(pattern.into())
    }

    /// A bucket as a collection of values of the type `T`.
    pub fn bucket<T: Serialize + DeserializeOwned>(&self, name: &str) -> TypedBucket<T> {
        TypedBucket::new(self.clone(), name)
    }

    /// Inserts `record`, a JSON object, and returns it as stored.
    pub async fn insert(&self, bucket: &str, record: Value) -> Result<Record, WriteError> {
        let data = object("record", record)?;
        self.record(Intent::Insert { bucket: bucket.to_owned(), data }).await
    }

    /// Inserts `records`, JSON objects: all of them or none. Returns them as stored, in the same order.
    pub async fn insert_many(
        &self,
        bucket: &str,
        records: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Record>, WriteError> {
        let data: Result<Vec<_>, _> = records.into_iter().map(|record| object("record", record)).collect();
        match self.execute(Intent::InsertMany { bucket: bucket.to_owned(), data: data? }).await? {
            Outcome::Records(records) => Ok(records),
            _ => Err(WriteError::Interrupted),
        }
    }

    /// Updates the record whose key `record` has, or inserts it. Returns it as stored.
    pub async fn upsert(&self, bucket: &str, record: Value) -> Result<Record, WriteError> {
        let data = object("record", record)?;
        self.record(Intent::Upsert { bucket: bucket.to_owned(), data }).await
    }

    /// Changes the members in `changes` of all records that match `filter`, both JSON objects: of all or of none. How many.
    pub async fn update_many(
        &self,
        bucket: &str,
        filter: Value,
        changes: Value,
    ) -> Result<usize, WriteError> {
        let (filter, changes) = (object("filter", filter)?, object("changes", changes)?);
        self.count(Intent::UpdateMany { bucket: bucket.to_owned(), filter, changes }).await
    }

    /// Removes all records that match `filter`, a JSON object: all or none. How many.
    pub async fn delete_many(&self, bucket: &str, filter: Value) -> Result<usize, WriteError> {
        let filter = object("filter", filter)?;
        self.count(Intent::DeleteMany { bucket: bucket.to_owned(), filter }).await
    }

    /// Carries several operations out on one state: all of them or none. Returns what came of each, in order.
    pub async fn transaction(&self, operations: Vec<Step>) -> Result<Vec<Outcome>, WriteError> {
        match self.execute(Intent::Transaction { operations }).await? {
            Outcome::Transaction(outcomes) => Ok(outcomes),
            _ => Err(WriteError::Interrupted),
        }
    }

    /// Changes the members in `changes`, a JSON object, of the record `key` and returns it as stored.
    pub async fn update(&self, bucket: &str, key: Value, changes: Value) -> Result<Record, WriteError> {
        let changes = object("changes", changes)?;
        self.record(Intent::Update { bucket: bucket.to_owned(), key, changes }).await
    }

    /// Removes the record `key`; whether it was there.
    pub async fn delete(&self, bucket: &str, key: Value) -> Result<bool, WriteError> {
        self.deleted(Intent::Delete { bucket: bucket.to_owned(), key }).await
    }

    /// [`update`](Self::update), if the record has this `_version` by then; else [`StoreError::VersionConflict`] tells the one
    /// that it has. So nothing is lost that somebody else wrote since the record was read.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use dunlin_server::Server;
    /// # use serde_json::json;
    /// # let server = Server::builder().memory().port(0).bind().await?;
    /// # let store = server.store();
    /// # store.define_bucket("notes", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await?;
    /// let note = store.insert("notes", json!({"id": "n1", "stars": 1})).await?;
    /// let changed = store.update_if("notes", json!("n1"), json!({"stars": 2}), note.version()).await?;
    /// assert_eq!(changed.version(), 2);
    /// assert!(store.update_if("notes", json!("n1"), json!({"stars": 3}), note.version()).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`StoreError::VersionConflict`]: dunlin_store::StoreError::VersionConflict
    pub async fn update_if(
        &self,
        bucket: &str,
        key: Value,
        changes: Value,
        version: u64,
    ) -> Result<Record, WriteError> {
        let changes = object("changes", changes)?;
        let update = Intent::Update { bucket: bucket.to_owned(), key, changes };
        self.record(update.if_version(version)).await
    }

    /// [`delete`](Self::delete), if the record has this `_version` by then, 0 if it is not there; else
    /// [`StoreError::VersionConflict`](dunlin_store::StoreError::VersionConflict). Whether there was anything to delete.
    pub async fn delete_if(&self, bucket: &str, key: Value, version: u64) -> Result<bool, WriteError> {
        self.deleted(Intent::Delete { bucket: bucket.to_owned(), key }.if_version(version)).await
    }

    /// Executes a write of records or a transaction once, however often it is asked for with the same `scope` and `key`: a
    /// repeat changes nothing and gives [`Outcome::Repeated`] with the first answer, for `idempotency.ttlMs` and over
    /// restarts. Another write with the same key is refused, see [`Intent::idempotent`]. Clients have the scopes
    /// `user:<id>` and `address:<ip>`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use dunlin_server::Server;
    /// # use dunlin_store::{Intent, Outcome};
    /// # use serde_json::json;
    /// # let server = Server::builder().memory().port(0).bind().await?;
    /// # let store = server.store();
    /// # let schema = json!({"id": {"type": "string", "generated": "uuid"}});
    /// # store.define_bucket("payments", json!({"key": "id", "schema": schema})).await?;
    /// let data = json!({"amount": 10}).as_object().cloned().unwrap_or_default();
    /// let payment = Intent::Insert { bucket: "payments".into(), data };
    /// let first = store.execute_once("job:billing", "2026-11", payment.clone()).await?;
    /// let again = store.execute_once("job:billing", "2026-11", payment).await?;
    /// assert!(matches!(&again, Outcome::Repeated(_)));
    /// assert_eq!(first.to_json(), again.to_json());
    /// assert_eq!(store.snapshot().bucket("payments")?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn execute_once(&self, scope: &str, key: &str, write: Intent) -> Result<Outcome, WriteError> {
        self.execute(write.idempotent(scope, key)).await
    }

    /// Defines a bucket; `config` as in `store.defineBucket`.
    pub async fn define_bucket(&self, name: &str, config: Value) -> Result<(), WriteError> {
        let config = object("config", config)?;
        self.execute(Intent::DefineBucket { name: name.to_owned(), config }).await.map(drop)
    }

    /// Defines a declarative query; `config` as in `store.defineQuery`.
    pub async fn define_query(&self, name: &str, config: Value) -> Result<(), WriteError> {
        let config = object("config", config)?;
        self.execute(Intent::DefineQuery { name: name.to_owned(), config }).await.map(drop)
    }

    /// Executes any write.
    pub async fn execute(&self, intent: Intent) -> Result<Outcome, WriteError> {
        self.run(intent.into()).await
    }

    /// Does one piece of work.
    pub(crate) async fn run(&self, work: Work) -> Result<Outcome, WriteError> {
        let _permit = self.embedded.acquire().await.map_err(|_| WriteError::Interrupted)?;
        let written = self.carry_out(vec![work]).await.pop().unwrap_or(Err(WriteError::Interrupted));
        written.map(|done| done.outcome)
    }

    async fn deleted(&self, intent: Intent) -> Result<bool, WriteError> {
        match self.execute(intent).await? {
            Outcome::Deleted { existed } => Ok(existed),
            _ => Err(WriteError::Interrupted),
        }
    }

    async fn count(&self, intent: Intent) -> Result<usize, WriteError> {
        match self.execute(intent).await? {
            Outcome::Count(count) => Ok(count),
            _ => Err(WriteError::Interrupted),
        }
    }

    async fn record(&self, intent: Intent) -> Result<Record, WriteError> {
        match self.execute(intent).await? {
            Outcome::Record(record) => Ok(record),
            _ => Err(WriteError::Interrupted),
        }
    }

    /// Carries a group out in order; an empty answer means that it was interrupted.
    pub(crate) async fn carry_out(&self, works: Vec<Work>) -> Vec<Written> {
        let (reply, written) = oneshot::channel();
        let mut message = StoreMessage::Write(WriteGroup { works, reply });
        let mut running = self.actor.clone();
        loop {
            let actor = running.borrow_and_update().clone();
            if let Some(actor) = actor {
                match actor.cast(message) {
                    Ok(()) => return written.await.unwrap_or_default(),
                    // Not taken: the actor is gone. The group comes back and waits for the next one.
                    Err(ractor::MessagingErr::SendErr(back)) => message = back,
                    Err(_) => return Vec::new(),
                }
            }
            let restart = tokio::time::timeout(limits::STORE_RESTART_WAIT, running.changed()).await;
            if !matches!(restart, Ok(Ok(()))) {
                return Vec::new();
            }
        }
    }
}

fn object(what: &'static str, value: Value) -> Result<Map<String, Value>, WriteError> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(WriteError::NotAnObject { what }),
    }
}
