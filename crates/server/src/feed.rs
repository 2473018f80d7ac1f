//! What changed since the `LiveActor` last looked: the bounded road from the `StoreActor` to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use dunlin_store::{BucketId, Change, ChangedRows, Commit, RowId};
use ractor::ActorRef;

use crate::limits;
use crate::live_actor::LiveMessage;

/// Gathers changes until they are taken. However far the `LiveActor` falls behind, it holds no more than the ids of the
/// buckets, [`limits::CHANGED_ROWS`] rows of each, and the names of the queries; what it then evaluates is the newest state.
#[derive(Default)]
pub(crate) struct ChangeFeed {
    changes: Mutex<Changes>,
    reader: ArcSwapOption<ActorRef<LiveMessage>>,
}

/// What changed, merged.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Everything may have changed.
    pub(crate) everything: bool,
    /// Buckets with changed, cleared or dropped records or definitions, and which rows that are.
    pub(crate) buckets: BTreeMap<BucketId, ChangedRows>,
    /// Some bucket was defined.
    pub(crate) defined: bool,
    /// Queries that were removed (and perhaps defined anew), with the position at which that happened last.
    pub(crate) undefined: BTreeMap<Arc<str>, u64>,
    /// A wake-up is on its way.
    awake: bool,
}

impl ChangeFeed {
    /// Sets who is woken.
    pub(crate) fn set_reader(&self, reader: ActorRef<LiveMessage>) {
        self.reader.store(Some(Arc::new(reader)));
        // A wake-up may have been lost with the reader before.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).awake = false;
        self.everything_changed();
    }

    pub(crate) fn changed(&self, commits: &[Commit]) {
        if !commits.is_empty() {
            self.note(|changes| {
                for commit in commits {
                    commit.changes.iter().for_each(|change| changes.note(commit.position, change));
                }
            });
        }
    }

    pub(crate) fn everything_changed(&self) {
        self.note(|changes| changes.everything = true);
    }

    /// Sends the reader a message. One that is gone is being restarted, and then looks at everything and is told of every
    /// subscription anew; a message with a reply port in it is dropped, which its sender notices.
    pub(crate) fn tell(&self, message: LiveMessage) {
        if let Some(reader) = &*self.reader.load() {
            let _ = reader.cast(message);
        }
    }

    fn note(&self, note: impl FnOnce(&mut Changes)) {
        let wake = {
            let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut changes);
            !std::mem::replace(&mut changes.awake, true)
        };
        if wake {
            self.tell(LiveMessage::Changed);
        }
    }

    /// For the reader, once per wake-up.
    pub(crate) fn take(&self) -> Changes {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Changes {
    fn note(&mut self, position: u64, change: &Change) {
        match change {
            Change::Put { bucket, row, .. } | Change::Remove { bucket, row, .. } => {
                self.row(*bucket, *row);
            }
            Change::UpdateBucket { bucket, .. }
            | Change::DropBucket { bucket }
            | Change::Clear { bucket } => {
                self.buckets.insert(*bucket, ChangedRows::Any);
            }
            Change::DefineBucket { .. } => self.defined = true,
            Change::UndefineQuery { name } => {
                self.undefined.insert(Arc::clone(name), position);
            }
            _ => {}
        }
    }

    fn row(&mut self, bucket: BucketId, row: RowId) {
        let changed = self.buckets.entry(bucket).or_insert_with(|| ChangedRows::These(Vec::new()));
        match changed {
            ChangedRows::These(rows) if rows.len() >= limits::CHANGED_ROWS => *changed = ChangedRows::Any,
            ChangedRows::These(rows) => rows.push(row),
            ChangedRows::Any => {}
        }
    }
}
