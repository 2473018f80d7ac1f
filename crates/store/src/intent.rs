//! What a caller wants done, and what came of it.

use serde_json::{Map, Value};

use crate::{Commit, Record};

/// One write that somebody asks for. [`Snapshot::prepare`](crate::Snapshot::prepare) turns it into a [`Commit`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Intent {
    /// Add a record. Generated fields and defaults are filled in; its key must be free.
    Insert {
        /// Name of the bucket.
        bucket: String,
        /// The record's members.
        data: Map<String, Value>,
    },
    /// Change members of a record that exists. Its key, generated fields and metadata stay as they are.
    Update {
        /// Name of the bucket.
        bucket: String,
        /// The record's primary key.
        key: Value,
        /// The members that change; nested values are replaced whole.
        changes: Map<String, Value>,
    },
    /// Remove a record, if it is there.
    Delete {
        /// Name of the bucket.
        bucket: String,
        /// The record's primary key.
        key: Value,
    },
    /// Remove all records of a bucket.
    Clear {
        /// Name of the bucket.
        bucket: String,
    },
    /// Create a bucket.
    DefineBucket {
        /// Its name.
        name: String,
        /// Its definition, see [`Definition`](crate::Definition).
        config: Map<String, Value>,
    },
    /// Add fields or indexes to a bucket: `{addFields?, addIndexes?}`.
    UpdateBucket {
        /// Its name.
        name: String,
        /// What is added.
        updates: Map<String, Value>,
    },
    /// Remove a bucket with all its records.
    DropBucket {
        /// Its name.
        name: String,
    },
    /// Define a declarative query.
    DefineQuery {
        /// Its name.
        name: String,
        /// Its definition, see [`Query`](crate::Query).
        config: Map<String, Value>,
    },
    /// Remove a query.
    UndefineQuery {
        /// Its name.
        name: String,
    },
}

/// Time and chance for one write, given by the caller: the store has neither.
pub struct Context<'a> {
    /// Wall clock, Unix milliseconds.
    pub now: u64,
    /// Where generated ids come from.
    pub ids: &'a mut dyn IdSource,
}

/// Gives bits for generated ids. In production they are random; in a simulation they come from the seed.
///
/// ```
/// struct Counting(u128);
/// impl dunlin_store::IdSource for Counting {
///     fn next(&mut self) -> u128 {
///         self.0 += 1;
///         self.0
///     }
/// }
/// ```
pub trait IdSource {
    /// 128 bits that nobody got before.
    fn next(&mut self) -> u128;
}

/// A write worked out against one state, ready to be logged and applied.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What to log and apply; `None` if nothing changes (deleting what is not there, clearing an empty bucket).
    pub commit: Option<Commit>,
    /// What to answer once the commit is durable (or at once if there is none).
    pub outcome: Outcome,
}

/// What a write did, for the answer to whoever asked for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// Inserted or updated: the whole record as it is now.
    Record(Record),
    /// Deleted.
    Deleted {
        /// Whether there was anything to delete.
        existed: bool,
    },
    /// Cleared.
    Cleared {
        /// How many records there were.
        removed: usize,
    },
    /// The bucket is defined.
    BucketDefined,
    /// The bucket has its new definition.
    BucketUpdated,
    /// The bucket is gone.
    BucketDropped,
    /// The query is defined.
    QueryDefined,
    /// The query is gone.
    QueryUndefined,
}
