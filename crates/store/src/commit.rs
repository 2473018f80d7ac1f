//! What one write did, as data: the only thing that is logged, replayed and pushed.

use std::sync::Arc;

use crate::{Answer, Record};

/// Names a bucket inside one history. Never reused, so that a dropped bucket's rows can never come back under
/// another bucket's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub u32);

/// Names a row inside a bucket. Rows are numbered in the order in which their keys first entered the bucket, so
/// ascending row order is table order. Never reused within a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u64);

/// One step of history: everything one write changed, applied and made durable whole or not at all.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Number of this commit; the first of a history is 1 and there are no gaps.
    pub position: u64,
    /// Wall clock at preparation, Unix milliseconds. Given to the core, never read by it.
    pub at: u64,
    /// What changes, in this order.
    pub changes: Vec<Change>,
}

/// One change of a [`Commit`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Change {
    /// A new, empty bucket. `config` is its definition as given, as JSON text.
    DefineBucket {
        /// Id of the new bucket.
        bucket: BucketId,
        /// Its name.
        name: Arc<str>,
        /// Its definition, JSON text.
        config: Arc<str>,
    },
    /// The bucket's whole new definition; its rows stay.
    UpdateBucket {
        /// The bucket.
        bucket: BucketId,
        /// The complete new definition, JSON text.
        config: Arc<str>,
    },
    /// The bucket and all its rows are gone.
    DropBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// A new declarative query. `config` is its definition as given, as JSON text.
    DefineQuery {
        /// Its name.
        name: Arc<str>,
        /// Its definition, JSON text.
        config: Arc<str>,
    },
    /// The query is gone.
    UndefineQuery {
        /// Its name.
        name: Arc<str>,
    },
    /// A row is added, or replaced in place.
    Put {
        /// The bucket.
        bucket: BucketId,
        /// The row.
        row: RowId,
        /// The whole record as it is from now on.
        record: Record,
    },
    /// A row is removed.
    Remove {
        /// The bucket.
        bucket: BucketId,
        /// The row.
        row: RowId,
        /// Why.
        cause: Cause,
    },
    /// All rows of the bucket are removed; its definition and counters stay.
    Clear {
        /// The bucket.
        bucket: BucketId,
    },
    /// The bucket's counters after this commit.
    Counters {
        /// The bucket.
        bucket: BucketId,
        /// The counters.
        counters: Counters,
    },
    /// An answer is remembered from now on, in the place of the one with its scope and key if there is one. Its position is
    /// that of this commit.
    Answer(Arc<Answer>),
    /// An entry of the server's own is written, or gone.
    Entry {
        /// Its key.
        key: Arc<str>,
        /// Its text; `None` if it is gone.
        value: Option<Arc<str>>,
    },
    /// The answers whose `expires_at` is at most this are forgotten: in the order in which they came, up to the first one that
    /// stays.
    Forget {
        /// Unix milliseconds.
        until: u64,
    },
}

/// Why a record was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody asked for it.
    Deleted,
    /// The record that it referred to was removed.
    Cascaded,
    /// Its time was over.
    Expired,
    /// The bucket was full, and it was the oldest.
    Evicted,
}

/// Numbers of a bucket that must survive the rows they were given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// The next row to hand out.
    pub next_row: u64,
    /// The last `autoincrement` value handed out (or seen in a given key).
    pub autoincrement: u64,
}
