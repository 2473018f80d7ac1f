//! What happened to records, told to whoever in this process wants to know.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_protocol::TopicPattern;
use dunlin_store::{Bucket, BucketId, Cause, Change, Commit, Key, Record, RowId, Snapshot};
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::limits;

/// One change of one record, durable and visible when it is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The bucket.
    pub bucket: Arc<str>,
    /// The record's primary key.
    pub key: Value,
    /// Number of the commit that did it. All events of one transaction have the same.
    pub position: u64,
    /// When, Unix milliseconds.
    pub at: u64,
}

/// What happened to a record.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// It is new.
    Inserted {
        /// The record.
        record: Record,
    },
    /// It was changed. Several changes by one transaction are one event.
    Updated {
        /// The record as it was.
        before: Record,
        /// The record as it is.
        after: Record,
    },
    /// It is gone.
    Deleted {
        /// The record as it was.
        record: Record,
        /// Why.
        cause: Removal,
    },
}

/// Why a record is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// Somebody asked for it.
    Deleted,
    /// The record that it referred to was removed.
    Cascaded,
    /// Its time was over.
    Expired,
    /// The bucket was full, and it was the oldest.
    Evicted,
    /// Its bucket was cleared.
    Cleared,
}

impl Event {
    /// `bucket.<name>.<inserted|updated|deleted>`.
    pub fn topic(&self) -> String {
        format!("bucket.{}.{}", self.bucket, self.kind.as_str())
    }
}

impl EventKind {
    /// `inserted`, `updated` or `deleted`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Inserted { .. } => INSERTED,
            Self::Updated { .. } => UPDATED,
            Self::Deleted { .. } => DELETED,
        }
    }
}

const INSERTED: &str = "inserted";
const UPDATED: &str = "updated";
const DELETED: &str = "deleted";

impl Removal {
    fn of(cause: Cause) -> Self {
        match cause {
            Cause::Cascaded => Self::Cascaded,
            Cause::Expired => Self::Expired,
            Cause::Evicted => Self::Evicted,
            _ => Self::Deleted,
        }
    }
}

/// Commits whose events this receiver has not seen: it was too slow, or the store was interrupted. What the records are now
/// is in the [snapshot](crate::StoreHandle::snapshot).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lagged {
    /// How many commits.
    pub commits: u64,
}

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the events of {} commits were missed; read the present state from a snapshot, and receive faster",
            self.commits
        )
    }
}

impl std::error::Error for Lagged {}

/// The events that match a pattern, in commit order, from the moment of [subscribing](crate::StoreHandle::events) on.
///
/// A receiver that falls behind by more than [`limits::EVENT_COMMITS`] is told how many commits it has missed and goes on
/// with the oldest that is still there. Nobody waits for it.
pub struct Events {
    pattern: TopicPattern,
    receiver: broadcast::Receiver<Told>,
    current: Option<Unfolding>,
}

impl Events {
    /// The next event; `None` when the server has stopped. Safe to cancel: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Event, Lagged>> {
        loop {
            if let Some(event) = self.current.as_mut().and_then(|current| current.next(&self.pattern)) {
                return Some(Ok(event));
            }
            self.current = match self.receiver.recv().await {
                Ok(Told::Commit(happened)) => Some(Unfolding::of(happened)),
                Ok(Told::Gap(commits)) | Err(RecvError::Lagged(commits)) => {
                    return Some(Err(Lagged { commits }));
                }
                Err(RecvError::Closed) => return None,
            };
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

/// A commit whose events are given out one by one: one that clears a large bucket is never a large list of events.
struct Unfolding {
    happened: Arc<Happened>,
    /// The next change to look at.
    at: usize,
    /// The rows that a `clear` has removed, still to be told.
    cleared: std::vec::IntoIter<Record>,
    cleared_bucket: BucketId,
}

impl Unfolding {
    fn of(happened: Arc<Happened>) -> Self {
        Self { happened, at: 0, cleared: Vec::new().into_iter(), cleared_bucket: BucketId(0) }
    }

    fn next(&mut self, pattern: &TopicPattern) -> Option<Event> {
        loop {
            if let Some(record) = self.cleared.next() {
                let kind = EventKind::Deleted { record, cause: Removal::Cleared };
                if let Some(event) = self.happened.event(self.cleared_bucket, kind) {
                    return Some(event);
                }
                continue;
            }
            let happened = Arc::clone(&self.happened);
            let change = happened.commit()?.changes.get(self.at)?;
            self.at += 1;
            let (bucket, kind) = match change {
                Change::Put { bucket, row, record } => {
                    let kind = match happened.before(*bucket, *row) {
                        None => EventKind::Inserted { record: record.clone() },
                        Some(before) => EventKind::Updated { before, after: record.clone() },
                    };
                    (*bucket, kind)
                }
                Change::Remove { bucket, row, cause } => {
                    let Some(record) = happened.before(*bucket, *row) else { continue };
                    (*bucket, EventKind::Deleted { record, cause: Removal::of(*cause) })
                }
                Change::Clear { bucket } => {
                    let cleared = happened.before.bucket_by_id(*bucket);
                    let heard = cleared.filter(|bucket| pattern.matches_change(bucket.name(), DELETED));
                    let records: Vec<Record> = heard.into_iter().flat_map(Bucket::iter).cloned().collect();
                    self.cleared = records.into_iter();
                    self.cleared_bucket = *bucket;
                    continue;
                }
                _ => continue,
            };
            let heard = |bucket: &Bucket| pattern.matches_change(bucket.name(), kind.as_str());
            if happened.bucket(bucket).is_some_and(heard) {
                return happened.event(bucket, kind);
            }
        }
    }
}

/// What is sent to every receiver: commits as they are, unfolded by whoever receives them.
#[derive(Clone)]
enum Told {
    Commit(Arc<Happened>),
    /// So many commits happened that nobody can tell of.
    Gap(u64),
}

/// One commit of a group, with the states around it.
struct Happened {
    commits: Arc<Vec<Commit>>,
    index: usize,
    before: Snapshot,
    after: Snapshot,
}

impl Happened {
    fn commit(&self) -> Option<&Commit> {
        self.commits.get(self.index)
    }

    fn before(&self, bucket: BucketId, row: RowId) -> Option<Record> {
        self.before.bucket_by_id(bucket)?.row(row).cloned()
    }

    fn bucket(&self, id: BucketId) -> Option<&Bucket> {
        self.after.bucket_by_id(id).or_else(|| self.before.bucket_by_id(id))
    }

    fn event(&self, bucket: BucketId, kind: EventKind) -> Option<Event> {
        let (commit, bucket) = (self.commit()?, self.bucket(bucket)?);
        let (EventKind::Inserted { record }
        | EventKind::Updated { after: record, .. }
        | EventKind::Deleted { record, .. }) = &kind;
        let key = bucket.key_of(record).map_or(Value::Null, Key::to_value);
        Some(Event { kind, bucket: Arc::clone(bucket.name()), key, position: commit.position, at: commit.at })
    }
}

/// The road from the `StoreActor` to all [`Events`]. While nobody listens it costs one uncontended lock for each
/// group commit.
#[derive(Default)]
pub(crate) struct EventBus(Mutex<Bus>);

#[derive(Default)]
enum Bus {
    /// Nobody has ever listened.
    #[default]
    Unheard,
    Open(broadcast::Sender<Told>),
    /// The server has stopped.
    Closed,
}

impl EventBus {
    pub(crate) fn subscribe(&self, pattern: TopicPattern) -> Events {
        let mut bus = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = match &*bus {
            Bus::Open(sender) => sender.subscribe(),
            Bus::Unheard => {
                let (sender, receiver) = broadcast::channel(limits::EVENT_COMMITS);
                *bus = Bus::Open(sender);
                receiver
            }
            // Its sender is gone at once, so that it ends.
            Bus::Closed => broadcast::channel(1).1,
        };
        Events { pattern, receiver, current: None }
    }

    /// Ends all receivers, each behind what it has not received yet.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Bus::Closed;
    }

    /// Begins to watch a group of writes on `state`, if anybody listens.
    pub(crate) fn watch(&self, state: &Snapshot) -> Watched {
        Watched(self.listeners().map(|_| vec![state.clone()]).unwrap_or_default())
    }

    /// Tells of commits that are durable and published.
    pub(crate) fn tell(&self, commits: &Arc<Vec<Commit>>, watched: &Watched) {
        let Some(sender) = self.listeners() else { return };
        for (index, states) in watched.0.windows(2).enumerate() {
            if let [before, after] = states {
                let (commits, before, after) = (Arc::clone(commits), before.clone(), after.clone());
                // If all listeners have left meanwhile, nobody misses it.
                let _ = sender.send(Told::Commit(Arc::new(Happened { commits, index, before, after })));
            }
        }
    }

    /// The state went from one position to another by a way that nobody could watch.
    pub(crate) fn skipped(&self, from: u64, to: u64) {
        if let Some(sender) = self.listeners().filter(|_| to > from) {
            let _ = sender.send(Told::Gap(to - from));
        }
    }

    fn listeners(&self) -> Option<broadcast::Sender<Told>> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Bus::Open(sender) if sender.receiver_count() > 0 => Some(sender.clone()),
            _ => None,
        }
    }
}

/// The states before, between and behind the commits of one group; empty if nobody listens.
pub(crate) struct Watched(Vec<Snapshot>);

impl Watched {
    /// Only so many commits stand, the others were taken back.
    pub(crate) fn back_to(&mut self, commits: usize) {
        self.0.truncate(commits + 1);
    }

    /// One more commit has led to `state`.
    pub(crate) fn saw(&mut self, state: &Snapshot) {
        if !self.0.is_empty() {
            self.0.push(state.clone());
        }
    }
}
