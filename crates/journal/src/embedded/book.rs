//! What the journal must know to write the next batch: which buckets and queries there are, and under which keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;

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
    /// `persistent: false`: only the definition is stored.
    pub(super) volatile: bool,
}

impl Bucket {
    /// A bucket with this definition, JSON text.
    pub(super) fn new(name: Arc<str>, generation: u32, config: &str) -> Self {
        #[derive(Deserialize)]
        struct Persistence {
            persistent: Option<bool>,
        }
        // Definitions come from the store, which has read them; one that cannot be read is refused when it is restored.
        let persistence = serde_json::from_str(config).ok();
        let volatile = persistence.is_some_and(|Persistence { persistent }| persistent == Some(false));
        Self { name, generation, volatile }
    }
}
