//! What the journal must know to write the next batch: which buckets and queries there are, and under which keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Names and keys in use. As large as the definitions, never as the data.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    pub(super) buckets: BTreeMap<u32, Bucket>,
    pub(super) next_bucket: u32,
    /// Name to order of definition.
    pub(super) queries: HashMap<Arc<str>, u64>,
    pub(super) next_query: u64,
    /// (bucket, generation) whose rows are garbage and not all removed yet.
    pub(super) sweeps: BTreeSet<(u32, u32)>,
}

/// A bucket as the journal knows it.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) name: Arc<str>,
    pub(super) generation: u32,
}
