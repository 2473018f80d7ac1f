//! The whole state as one immutable value.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::Serialize;
use serde_json::Map;

use crate::answers::Answers;
use crate::{Bucket, BucketId, OnDelete, Query, RowId, StoreError};

/// A picture of all buckets and queries at one position of history. Immutable for everybody who holds a clone; a clone
/// costs a few reference counts, as everything is shared.
///
/// ```
/// let empty = dunlin_store::Snapshot::new("epoch-1");
/// assert_eq!((empty.epoch(), empty.position()), ("epoch-1", 0));
/// assert_eq!(empty.buckets().count(), 0);
/// ```
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) epoch: Arc<str>,
    pub(crate) position: u64,
    /// The next bucket id; ids are never given twice.
    pub(crate) next_bucket: u32,
    pub(crate) buckets: OrdMap<BucketId, Arc<Bucket>>,
    pub(crate) bucket_names: OrdMap<Arc<str>, BucketId>,
    /// Queries by the number of their definition, ascending.
    pub(crate) queries: OrdMap<u64, Arc<Query>>,
    pub(crate) query_names: OrdMap<Arc<str>, u64>,
    pub(crate) next_query: u64,
    /// Which fields of which buckets refer to the bucket of a name, whether that is defined or not.
    pub(crate) referrers: OrdMap<Arc<str>, Arc<[Referrer]>>,
    /// The earliest deadline of each bucket that has any.
    pub(crate) deadlines: OrdSet<(u64, BucketId)>,
    /// What is remembered for repeated requests. Behind one more pointer, so that a clone pays for it with one count.
    pub(crate) answers: Arc<Answers>,
    /// What the server keeps for itself, by key.
    pub(crate) entries: OrdMap<Arc<str>, Arc<str>>,
}

/// A field that refers to records of another bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Referrer {
    pub(crate) bucket: BucketId,
    /// The field's place in the schema.
    pub(crate) slot: usize,
    pub(crate) on_delete: OnDelete,
}

const _: () = {
    const fn shareable_between_threads<T: Send + Sync>() {}
    shareable_between_threads::<Snapshot>();
};

impl Snapshot {
    /// The empty state at position 0 of the history called `epoch`.
    pub fn new(epoch: impl Into<Arc<str>>) -> Self {
        Self {
            epoch: epoch.into(),
            position: 0,
            next_bucket: 0,
            buckets: OrdMap::new(),
            bucket_names: OrdMap::new(),
            queries: OrdMap::new(),
            query_names: OrdMap::new(),
            next_query: 0,
            referrers: OrdMap::new(),
            deadlines: OrdSet::new(),
            answers: Arc::new(Answers::new()),
            entries: OrdMap::new(),
        }
    }

    /// Number of the last commit in it; 0 if there is none.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Name of the history it belongs to. Positions of different histories cannot be compared.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The id that the next defined bucket gets.
    pub fn next_bucket(&self) -> u32 {
        self.next_bucket
    }

    /// The bucket of this name.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub fn bucket(&self, name: &str) -> Result<&Bucket, StoreError> {
        self.bucket_names
            .get(name)
            .and_then(|id| self.bucket_by_id(*id))
            .ok_or_else(|| StoreError::BucketNotDefined { bucket: name.into() })
    }

    /// The bucket of this id.
    pub fn bucket_by_id(&self, id: BucketId) -> Option<&Bucket> {
        self.buckets.get(&id).map(|bucket| &**bucket)
    }

    /// The first bucket whose id is this one or a later one.
    pub fn bucket_from(&self, id: BucketId) -> Option<&Bucket> {
        self.buckets.range(id..).next().map(|(_, bucket)| &**bucket)
    }

    /// All buckets, in the order of their definition.
    pub fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.values().map(|bucket| &**bucket)
    }

    /// The query of this name.
    ///
    /// # Errors
    /// [`StoreError::QueryNotDefined`].
    pub fn query(&self, name: &str) -> Result<&Arc<Query>, StoreError> {
        self.query_names
            .get(name)
            .and_then(|number| self.queries.get(number))
            .ok_or_else(|| StoreError::QueryNotDefined { query: name.into() })
    }

    /// All queries, in the order of their definition.
    pub fn queries(&self) -> impl Iterator<Item = &Arc<Query>> {
        self.queries.values()
    }

    /// The text that the server keeps under a key: state of its own that is written by
    /// [`Intent::System`](crate::Intent::System) and durable like records.
    ///
    /// ```
    /// # use dunlin_store::{Context, IdSource, Intent, Snapshot, SystemWrite};
    /// # struct Ids(u128);
    /// # impl IdSource for Ids {
    /// #     fn next(&mut self) -> u128 {
    /// #         self.0 += 1;
    /// #         self.0
    /// #     }
    /// # }
    /// let (mut state, mut ids) = (Snapshot::new("epoch-1"), Ids(0));
    /// let entries = vec![("t/a".into(), Some("1".into())), ("t/b".into(), Some("2".into()))];
    /// let noted = Intent::System(SystemWrite { entries, ..SystemWrite::default() });
    /// state.execute(noted, &mut Context::new(1_000, &mut ids))?;
    /// assert_eq!(state.entry("t/a").map(|text| &**text), Some("1"));
    /// assert_eq!(state.entries("t/").count(), 2);
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    pub fn entry(&self, key: &str) -> Option<&Arc<str>> {
        self.entries.get(key)
    }

    /// The entries whose key begins with `prefix`, ascending by key.
    pub fn entries<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)> {
        self.entries_from(prefix).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The entries from a key on, ascending by key.
    pub fn entries_from(&self, key: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.entries.range::<_, str>((Bound::Included(key), Bound::Unbounded))
    }

    /// When the next record is due to be removed, Unix milliseconds; `None` if none ever is.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.get_min().map(|(time, _)| *time)
    }

    /// When the next [answer](crate::Answer) is due to be forgotten, Unix milliseconds. There is no hurry: one whose time is
    /// over is given to nobody. See [`Intent::ForgetAnswers`](crate::Intent::ForgetAnswers).
    pub fn next_answer_deadline(&self) -> Option<u64> {
        self.answers.first_due()
    }

    /// The records that are due at `now`, each for an [`Intent::Expire`](crate::Intent::Expire). Lazy: what is not looked
    /// at costs nothing.
    pub fn due(&self, now: u64) -> impl Iterator<Item = (BucketId, RowId)> {
        let buckets = self.deadlines.range(..=(now, BucketId(u32::MAX)));
        let buckets = buckets.filter_map(|(_, id)| self.bucket_by_id(*id));
        buckets.flat_map(move |bucket| bucket.due(now).map(|row| (bucket.id(), row)))
    }

    /// The fields that refer to records of the bucket of this name.
    pub(crate) fn referrers(&self, bucket: &str) -> &[Referrer] {
        self.referrers.get(bucket).map(|list| &**list).unwrap_or_default()
    }

    /// How many records can be changed, at most, because records of the bucket of this name are removed: all of the buckets
    /// that refer to it with a cascade or to clear their fields, and of those that refer to these. Costs one step per such
    /// bucket, whatever they hold.
    pub fn dependents(&self, bucket: &str) -> usize {
        let mut seen: Vec<BucketId> = Vec::new();
        let mut names = vec![bucket];
        while let Some(name) = names.pop() {
            for referrer in
                self.referrers(name).iter().filter(|referrer| referrer.on_delete != OnDelete::Restrict)
            {
                if let Some(source) = self.bucket_by_id(referrer.bucket)
                    && !seen.contains(&referrer.bucket)
                {
                    seen.push(referrer.bucket);
                    names.push(source.name());
                }
            }
        }
        seen.iter().filter_map(|id| self.bucket_by_id(*id)).map(Bucket::len).sum()
    }

    /// How much there is, without what belongs to the server. Costs one step per bucket.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            buckets: BucketStats { count: 0, names: Vec::with_capacity(self.buckets.len()) },
            records: CountStats::default(),
            indexes: CountStats::default(),
            queries: QueryStats { defined: self.queries.len() },
        };
        for bucket in self.buckets().filter(|bucket| !bucket.is_system()) {
            stats.buckets.count += 1;
            stats.buckets.names.push(bucket.name().to_string());
            stats.records.add(bucket.name(), bucket.len());
            stats.indexes.add(bucket.name(), bucket.index_count());
        }
        stats
    }
}

/// What the store knows of the statistics of protocol 1.0.0 (`store.stats`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The buckets.
    pub buckets: BucketStats,
    /// Records.
    pub records: CountStats,
    /// Indexed fields, unique ones included.
    pub indexes: CountStats,
    /// The queries.
    pub queries: QueryStats,
}

/// How many buckets, and which.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BucketStats {
    /// How many.
    pub count: usize,
    /// Their names, in the order of their definition.
    pub names: Vec<String>,
}

/// A number for each bucket, and their sum.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CountStats {
    /// The sum.
    pub total: usize,
    /// Bucket name to number, in the order of definition.
    pub per_bucket: Map<String, serde_json::Value>,
}

impl CountStats {
    fn add(&mut self, bucket: &str, count: usize) {
        self.total += count;
        self.per_bucket.insert(bucket.to_owned(), count.into());
    }
}

/// How many queries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueryStats {
    /// Declarative queries defined.
    pub defined: usize,
}
